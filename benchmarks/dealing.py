"""How well work is dealt to 64 engines, which answer by a cost model instead of running.

Prints, for 4,500 documents of 128k tokens and for 1,319 questions with 16 samples each: the share
of their time that engines are idle before the last answer is there, the processor time of the
driver's dealing for each second of the run, and its memory.

The cost model is that of one engine with continuous batching: prompts are read at a rate, then each
step draws a token of every running answer, in a least time and a little more for each. Lengths of
answers are drawn (even for documents, exponential for questions, cut by the budget). Engines report
as `cluster.py` has them report. The clock is simulated; Ray, processes and the network are not in
it, nor are the prompts' token ids in the memory.

    python benchmarks/dealing.py [--engines 64] [--seed 0] [--out FILE.json]
"""

import argparse
import heapq
import json
import random
import time
import tracemalloc
from array import array
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from iha_eval.generation_kwargs import Sampling
from iha_eval.models.requests import GenerateRequest
from iha_eval.models.vllm.cluster import REPORT_ANSWERS
from iha_eval.models.vllm.dealing import Dealer, EnginePrompt
from iha_eval.models.vllm.engine import AHEAD
from iha_eval.models.vllm.sample_groups import grouped, split_over_engines

# Of one engine: a model of 2.4B parameters on an H200, as orders of magnitude.
PREFILL_TOKENS_A_SECOND = 40_000
STEP_SECONDS = 0.012
# Seconds a step for each running answer, and tokens that the KV cache holds.
ANSWER_SECONDS = 0.00004
CACHE_TOKENS = 1_500_000
MOST = 256


class SimulatedEngine:
    """An engine with continuous batching on a simulated clock.

    Attributes:
        clock: seconds that it has come to.
        busy: seconds of them in which it worked.
        finished: places of the prompts that the last `advance` finished.
    """

    def __init__(self) -> None:
        """It is idle."""
        self.clock = self.busy = 0.0
        self.finished: list[int] = []
        # Prompts of which answers wait for room, with the lengths of those answers.
        self._waiting: deque[tuple[int, list[int]]] = deque()
        # At which step each running answer ends, and its prompt.
        self._running: list[tuple[int, int]] = []
        self._left: dict[int, tuple[EnginePrompt, int]] = {}
        self._steps = self._tokens = 0

    @property
    def has_work(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self._left)

    @property
    def unfinished(self) -> int:
        """Answers that run or wait."""
        return sum(left for _, left in self._left.values())

    def put(self, place: int, prompt: EnginePrompt, lengths: list[int]) -> None:
        """Take a prompt whose answers will have these lengths, in tokens."""
        self._waiting.append((place, list(lengths)))
        self._left[place] = prompt, len(lengths)

    def advance(self) -> None:
        """Work until an answer ends; each step draws a token of each that runs."""
        seconds = self._begin() / PREFILL_TOKENS_A_SECOND
        steps = self._running[0][0] - self._steps
        seconds += steps * (STEP_SECONDS + ANSWER_SECONDS * len(self._running))
        self._steps += steps
        self.clock += seconds
        self.busy += seconds
        self.finished = []
        while self._running and self._running[0][0] == self._steps:
            place = heapq.heappop(self._running)[1]
            prompt, left = self._left[place]
            self._left[place] = prompt, left - 1
            if left == 1:
                del self._left[place]
                self._tokens -= prompt.weight
                self.finished.append(place)

    def _begin(self) -> int:
        """Begin the answers for which there is room; gives the tokens of prompts to read."""
        prefill = 0
        while self._waiting and len(self._running) < MOST:
            place, lengths = self._waiting[0]
            prompt = self._left[place][0]
            if len(lengths) == prompt.answers:
                if self._running and self._tokens + prompt.weight > CACHE_TOKENS:
                    break
                prefill += len(prompt.ids)
                self._tokens += prompt.weight
            heapq.heappush(self._running, (self._steps + lengths.pop(), place))
            if not lengths:
                self._waiting.popleft()
        return prefill


def simulate(
    prompts: Iterable[EnginePrompt], lengths: list[list[int]], engines: int
) -> dict[str, Any]:
    """Deal prompts over engines until all are finished.

    Args:
        prompts: in the order in which to start.
        lengths: tokens of each prompt's answers.
        engines: how many there are.
    """
    tracemalloc.start()
    began = time.process_time()
    simulated = [SimulatedEngine() for _ in range(engines)]
    dealer: Dealer[int] = Dealer(iter(prompts), lambda: engines)
    for number in range(engines):
        dealer.join(number, MOST + AHEAD, CACHE_TOKENS)
    in_engines = now = 0.0
    events: list[tuple[float, int]] = []
    active: set[int] = set()
    ended: int | None = None
    told = [0] * engines
    while not dealer.done:
        handed = dealer.deal()
        begin = time.process_time()
        for number, share in handed.items():
            for place, prompt in share:
                simulated[number].put(place, prompt, lengths[place])
                told[number] += prompt.answers
        for number in {*handed} | ({ended} if ended is not None else set()):
            engine = simulated[number]
            if number not in active and engine.has_work:
                active.add(number)
                engine.clock = max(engine.clock, now)
                engine.advance()
                heapq.heappush(events, (engine.clock, number))
        in_engines += time.process_time() - begin
        now, ended = heapq.heappop(events)
        active.discard(ended)
        engine = simulated[ended]
        if engine.finished or told[ended] - engine.unfinished >= REPORT_ANSWERS:
            for place in engine.finished:
                dealer.loads[ended].finish(place, sum(lengths[place]))
            dealer.loads[ended].answers = told[ended] = engine.unfinished
    seconds = time.process_time() - began - in_engines
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    end = max(engine.clock for engine in simulated)
    busy = sum(engine.busy for engine in simulated)
    return {
        "engines": engines,
        "prompts": len(lengths),
        "simulated_seconds": round(end, 1),
        "idle_share": round(1 - busy / (engines * end), 4),
        "driver_cores": round(seconds / end, 5),
        "driver_ms_a_prompt": round(1e3 * seconds / len(lengths), 3),
        "driver_mib": round(peak / 2**20, 1),
    }


def documents(
    count: int, tokens: int, budget: int, seed: int
) -> tuple[list[EnginePrompt], list[list[int]]]:
    """RULER-like documents: long prompts of about one length, short answers.

    Ranges stand for token ids: equal to nothing but themselves, and without memory of their own.
    """
    draw = random.Random(seed)
    sampling = Sampling(max_tokens=budget)
    sizes = sorted((tokens - draw.randrange(tokens // 50) for _ in range(count)), reverse=True)
    prompts = [EnginePrompt(range(n, n + size), sampling) for n, size in enumerate(sizes)]
    return prompts, [[1 + draw.randrange(budget)] for _ in range(count)]


def questions(
    count: int, samples: int, engines: int, seed: int
) -> tuple[list[EnginePrompt], list[list[int]]]:
    """GSM8K-like questions: short prompts, many answers of very unequal lengths."""
    draw = random.Random(seed)
    sizes = sorted((60 + draw.randrange(120) for _ in range(count)), reverse=True)
    requests = [
        GenerateRequest(
            0,
            "gsm8k",
            doc,
            repeat,
            array("i", [doc] * size),
            Sampling(512, seed=100 * doc + repeat),
        )
        for doc, size in enumerate(sizes)
        for repeat in range(samples)
    ]
    groups = list(split_over_engines(grouped(requests), engines))
    prompts = [
        EnginePrompt(group.first.prompt, group.first.sampling, len(group.members))
        for group in groups
    ]
    lengths = [
        [1 + min(511, int(draw.expovariate(1 / 150))) for _ in group.members] for group in groups
    ]
    return prompts, lengths


def main() -> None:
    """Simulate both, print and perhaps write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0, help="of lengths of documents and answers")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = {
        "4,500 documents of 128k": documents(4500, 128 * 1024, 128, options.seed),
        "1,319 questions, 16 samples": questions(1319, 16, options.engines, options.seed),
    }
    figures = {
        name: simulate(prompts, lengths, options.engines)
        for name, (prompts, lengths) in rows.items()
    }
    print(json.dumps(figures, indent=1))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
