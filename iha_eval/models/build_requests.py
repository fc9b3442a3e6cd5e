"""lm-eval's instances, read into requests: texts to token ids, kwargs to sampling.

For: the conventions of lm-eval that decide which tokens a model sees.
Not for: running anything, nor for whether it fits (see `length_check.py`).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from lm_eval.api.instance import Instance
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import read_sampling
from iha_eval.models.requests import (
    GenerateRequest,
    ScoreRequest,
    derive_seed,
    pack,
)
from iha_eval.models.tokenizer import PromptTokenizer

Split = Callable[[str, str], tuple[list[int], list[int]]]


@dataclass(frozen=True)
class Defaults:
    """What holds where a task says nothing.

    Attributes:
        budget: generation budget in tokens.
        seed: seed of the run.
    """

    budget: int
    seed: int


def generate_requests(
    instances: Sequence[Instance], text: PromptTokenizer, defaults: Defaults, *, shown: bool
) -> list[GenerateRequest]:
    """Requests for answers, one an instance, in order.

    A document that comes again (lm-eval's `repeats`) shares its token ids and draws from a seed of
    its own each time.

    Raises:
        UserError: generation kwargs that are unknown or cannot be meant, a document that is longer
            than it says of itself, or one that comes again at temperature 0.
    """
    texts = list(dict.fromkeys(instance.args[0] for instance in instances))
    bar = tqdm(text.encode_all(texts), "Tokenizing", len(texts), leave=False, disable=not shown)
    prompts = {
        prompt: pack(ids or [text.prefix_id]) for prompt, ids in zip(texts, bar, strict=True)
    }
    seen: Counter[tuple[str, int | None]] = Counter()
    requests = []
    last: str | None = None
    for index, instance in enumerate(instances):
        prompt, kwargs = instance.args
        task, doc_id = str(instance.task_name), instance.doc_id
        sampling = read_sampling(
            kwargs,
            f"generation_kwargs of task {task}",
            default_budget=defaults.budget,
            seed=defaults.seed,
        )
        words, stop_ids = text.stops(sampling.stop)
        repeat = seen[task, doc_id]
        seen[task, doc_id] += 1
        seed = sampling.seed
        if seed is None and repeat and prompt == last:
            raise _same_again(task)
        last = prompt
        own = None if seed is None else derive_seed(seed, task, doc_id, repeat)
        sampling = replace(sampling, stop=words, stop_ids=stop_ids, seed=own)
        _check_document_limit(instance, len(prompts[prompt]) + sampling.max_tokens)
        ids, thinking = prompts[prompt], text.in_thought(prompt)
        requests.append(GenerateRequest(index, task, doc_id, repeat, ids, sampling, thinking))
    return requests


def score_requests(
    instances: Sequence[Instance], text: PromptTokenizer, split: Split, *, shown: bool
) -> list[ScoreRequest]:
    """Requests for scores, one an instance, in order.

    Args:
        instances: their `args` are context and continuation.
        text: the tokenizer.
        split: lm-eval's way to encode the two so that they join as one text does.
        shown: False draws no progress bar.

    Raises:
        UserError: there is nothing to score.
    """
    requests = []
    bar = tqdm(instances, "Tokenizing", leave=False, disable=not shown)
    for index, instance in enumerate(bar):
        task, doc_id = str(instance.task_name), instance.doc_id
        context, continuation = instance.args
        if context:
            given, scored = split(context, continuation)
        else:
            given, scored = _from_nothing(text, continuation)
        if not scored:
            raise UserError(
                f"Task {task}, document {doc_id}: the continuation {continuation!r} has no token "
                "of its own to be scored; give the task continuations that are not empty."
            )
        requests.append(ScoreRequest(index, task, doc_id, pack(given), pack(scored)))
    return requests


def window_requests(
    instances: Sequence[Instance], text: PromptTokenizer, window: int | None
) -> Iterator[tuple[int, ScoreRequest]]:
    """Requests that together score whole texts, each token once.

    Args:
        instances: their `args` is the text.
        text: the tokenizer.
        window: most tokens scored at a time; None scores each text at once.

    Yields:
        The place of the instance that a request belongs to, and the request.
    """
    index = 0
    for owner, instance in enumerate(instances):
        ids = text.encode(instance.args[0])
        span = window or max(1, len(ids))
        for pair in get_rolling_token_windows(ids, text.prefix_id, span, context_len=1):
            given, scored = make_disjoint_window(pair)
            task, doc_id = str(instance.task_name), instance.doc_id
            yield owner, ScoreRequest(index, task, doc_id, pack(given), pack(scored))
            index += 1


def _same_again(task: str) -> UserError:
    return UserError(
        f"Task {task} asks for several answers to one question at temperature 0, which would all "
        "be the same: set --gen_kwargs temperature=0.6, or ask for one answer."
    )


def _check_document_limit(instance: Instance, total: int) -> None:
    """Hold a document to its own `max_length`, which RULER's documents have, in tokens."""
    limit = instance.doc.get("max_length") if isinstance(instance.doc, dict) else None
    if isinstance(limit, int) and total > limit:
        raise UserError(
            f"Task {instance.task_name}, document {instance.doc_id}: prompt and generation budget "
            f"come to {total} tokens, over the document's own {limit}: it was sized for another "
            "tokenizer, chat template or budget; name the model's own with metadata 'tokenizer'."
        )


def _from_nothing(text: PromptTokenizer, continuation: str) -> tuple[list[int], list[int]]:
    """An empty context: the prefix token stands for it, unless the continuation brings it along."""
    ids = text.encode(continuation, add_special_tokens=False)
    if ids[:1] == [text.prefix_id]:
        return ids[:1], ids[1:]
    return [text.prefix_id], ids
