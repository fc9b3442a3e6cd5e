"""A model for lm-eval that answers by the dice, and the scores it truly has.

For: tests of sampling tasks without an engine. A `Script` states how likely each answer is; its
true P@1, Maj@k and pass@k come from listing every outcome of k draws, which shares no code and no
formula with what is tested. Not for: prompts (a subclass can look at them).
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import factorial, prod
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from iha_eval.current_model import GeneratedText

RIGHT, UNPARSEABLE = "right", "unparseable"


@dataclass(frozen=True)
class Script:
    """How the answers to a question fall.

    Attributes:
        right: probability of the right answer.
        wrong: probabilities of the wrong answers, each of another value.
        cut: probability that an answer that states none was cut by the budget.

    The rest of the probability goes to answers that state none.
    """

    right: float
    wrong: tuple[float, ...] = ()
    cut: float = 1.0

    @property
    def unparseable(self) -> float:
        """Probability of an answer that states none."""
        return 1.0 - self.right - sum(self.wrong)

    @property
    def outcomes(self) -> dict[str, float]:
        """Outcome -> probability."""
        wrong = {f"wrong {number}": share for number, share in enumerate(self.wrong)}
        return {RIGHT: self.right, **wrong, UNPARSEABLE: self.unparseable}

    def maj(self, k: int) -> float:
        """Probability that k fresh draws elect the right answer, ties decided by lot."""
        total = 0.0
        for counts in _splits(k, 2 + len(self.wrong)):
            right, wrong = counts[0], counts[1:-1]
            if right and right >= max(wrong, default=0):
                total += self._likelihood(counts) / (1 + wrong.count(right))
        return total

    def passes(self, k: int) -> float:
        """Probability that at least one of k fresh draws is right."""
        splits = _splits(k, 2 + len(self.wrong))
        return sum(self._likelihood(counts) for counts in splits if counts[0])

    def draw(self, rng: random.Random, gold: str) -> GeneratedText:
        """One answer; equal values are not always written alike."""
        outcome = rng.choices(list(self.outcomes), list(self.outcomes.values()))[0]
        if outcome == UNPARSEABLE:
            return GeneratedText("I would have to think about", cut=rng.random() < self.cut)
        value = int(gold.replace(",", ""))
        if outcome != RIGHT:
            value += 1 + int(outcome.split()[1])
        written = rng.choice([f"{value}", f"{value:,}", f"{value}.0", f"\\${value}"])
        return GeneratedText(f"Let me see.\nThe answer is \\boxed{{{written}}}.", cut=False)

    def _likelihood(self, counts: tuple[int, ...]) -> float:
        ways = factorial(sum(counts)) // prod(map(factorial, counts))
        shares = self.outcomes.values()
        return ways * prod(p**count for p, count in zip(shares, counts, strict=True))


def _splits(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write `total` as a sum of `parts` counts, in order."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _splits(total - first, parts - 1):
            yield (first, *rest)


class ScriptedModel(LM):  # type: ignore[misc]
    """Answers a question's repeats by its script; the seed and the question decide, not the order.

    Attributes:
        script: document -> script.
        seed: of the run.
        tells: whether answers tell if they were cut, as our own model classes' do.
        prompts: the prompts of the last call.
        arguments: the generation kwargs of the last call.
    """

    tokenizer_name = "scripted"

    def __init__(
        self, script: Callable[[Mapping[str, Any]], Script], seed: int = 0, tells: bool = True
    ) -> None:
        super().__init__()
        self.script, self.seed, self.tells = script, seed, tells
        self.prompts: list[str] = []
        self.arguments: list[dict[str, Any]] = []

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """One answer a request; the requests of one question may stand anywhere."""
        self.prompts = [request.args[0] for request in requests]
        self.arguments = [request.args[1] for request in requests]
        asked: dict[tuple[Any, Any], int] = defaultdict(int)
        answers: list[str] = []
        for request in requests:
            key = (request.task_name, request.doc_id)
            answers.append(self.answer(request.doc, f"{key}|{asked[key]}"))
            asked[key] += 1
        return answers

    def answer(self, document: Mapping[str, Any], place: str) -> str:
        """The answer to a document at a place that no other request has."""
        rng = random.Random(f"{self.seed}|{place}")
        answer = self.script(document).draw(rng, document["answer"])
        return answer if self.tells else str(answer)

    def chat_template(self, chat_template: Any = False) -> str:
        """A name for lm-eval's records."""
        return "scripted"

    def apply_chat_template(
        self, chat: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The messages as JSON, so that a test can look at each."""
        return json.dumps([*chat, {"role": "assistant"}] if add_generation_prompt else chat)

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        """Not asked for here."""
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood
