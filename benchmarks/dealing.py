"""How well work is dealt to 64 engines, which answer by a cost model instead of running.

Prints, for 4,500 documents of 128k tokens and for 1,319 questions with 16 samples each: the share
of their time that engines are idle before the last answer is there, the processor time of the
driver's dealing for each second of the run, and its memory.

The cost model is that of one engine with continuous batching: a step takes up to 8,192 tokens of
prompts, or one token of each running answer; prompts are computed at a rate, and a step has a least
time. Lengths of answers are drawn (geometric, cut by the budget), the same for every number of
engines. The clock is simulated; Ray, processes and the network are not in it.

    python benchmarks/dealing.py [--engines 64] [--out FILE.json]
"""

import argparse
import heapq
import json
import random
import time
import tracemalloc
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iha_eval.generation_kwargs import Sampling
from iha_eval.models.requests import GenerateRequest
from iha_eval.models.vllm.dealing import Dealer, DealtPrompt, Prompt
from iha_eval.models.vllm.sample_groups import grouped, split_over_engines

# Of one engine: a model of 2.4B parameters on an H200, as orders of magnitude.
PREFILL_TOKENS_A_SECOND = 40_000
STEP_SECONDS = 0.012
# Seconds a step for each running answer, and tokens that the KV cache holds.
ANSWER_SECONDS = 0.00004
CACHE_TOKENS = 1_500_000
MOST = 256


@dataclass
class SimulatedEngine:
    """An engine with continuous batching on a simulated clock.

    Attributes:
        clock: seconds that it has come to.
        busy: seconds of them in which it worked.
        waiting: prompts that have no room yet.
        running: answers left to draw of each running prompt, in tokens, by place.
        finished: places of the prompts that the last `advance` finished.
    """

    clock: float = 0.0
    busy: float = 0.0
    waiting: list[DealtPrompt] = field(default_factory=list)
    running: dict[int, list[int]] = field(default_factory=dict)
    finished: list[int] = field(default_factory=list)
    _sizes: dict[int, int] = field(default_factory=dict)

    def advance(self, lengths: list[list[int]]) -> None:
        """Work until a prompt is finished."""
        start = self.clock
        prefill = 0
        while self.waiting and self._has_room(self.waiting[0].prompt):
            dealt = self.waiting.pop(0)
            prefill += len(dealt.prompt.ids)
            self.running[dealt.place] = list(lengths[dealt.place])
            self._sizes[dealt.place] = dealt.prompt.weight
        answers = sum(len(left) for left in self.running.values())
        # Until the first running prompt has all its answers; each step draws a token of each.
        steps = min(max(left) for left in self.running.values())
        self.clock += prefill / PREFILL_TOKENS_A_SECOND
        self.clock += steps * (STEP_SECONDS + ANSWER_SECONDS * answers)
        self.busy += self.clock - start
        self.finished = []
        for place, left in list(self.running.items()):
            self.running[place] = [rest - steps for rest in left if rest > steps]
            if not self.running[place]:
                del self.running[place], self._sizes[place]
                self.finished.append(place)

    def _has_room(self, prompt: Prompt) -> bool:
        answers = sum(len(left) for left in self.running.values()) + prompt.answers
        tokens = sum(self._sizes.values()) + prompt.weight
        return not self.running or (answers <= MOST and tokens <= CACHE_TOKENS)


def simulate(prompts: Iterable[Prompt], lengths: list[list[int]], engines: int) -> dict[str, Any]:
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
        dealer.join(number, MOST, CACHE_TOKENS)
    in_engines = now = 0.0
    events: list[tuple[float, int]] = []
    active: set[int] = set()
    ended: int | None = None
    while not dealer.done:
        handed = dealer.deal()
        begin = time.process_time()
        for number, dealt in handed.items():
            simulated[number].waiting.extend(dealt)
        for number in {*handed} | ({ended} if ended is not None else set()):
            engine = simulated[number]
            if number not in active and (engine.waiting or engine.running):
                active.add(number)
                engine.clock = max(engine.clock, now)
                engine.advance(lengths)
                heapq.heappush(events, (engine.clock, number))
        in_engines += time.process_time() - begin
        now, ended = heapq.heappop(events)
        active.discard(ended)
        for place in simulated[ended].finished:
            dealer.finish(ended, place)
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


def documents(count: int, tokens: int, budget: int) -> tuple[list[Prompt], list[list[int]]]:
    """RULER-like documents: long prompts of about one length, short answers.

    Ranges stand for token ids: equal to nothing but themselves, and without memory of their own.
    """
    draw = random.Random(0)
    sampling = Sampling(max_tokens=budget)
    sizes = sorted((tokens - draw.randrange(tokens // 50) for _ in range(count)), reverse=True)
    prompts = [Prompt(range(n, n + size), sampling) for n, size in enumerate(sizes)]
    return prompts, [[1 + draw.randrange(budget)] for _ in range(count)]


def questions(count: int, samples: int, engines: int) -> tuple[list[Prompt], list[list[int]]]:
    """GSM8K-like questions: short prompts, many answers of very unequal lengths."""
    draw = random.Random(0)
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
        Prompt(group.first.prompt, group.first.sampling, len(group.members)) for group in groups
    ]
    lengths = [
        [1 + min(511, int(draw.expovariate(1 / 150))) for _ in group.members] for group in groups
    ]
    return prompts, lengths


def main() -> None:
    """Simulate both, print and perhaps write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", type=int, default=64)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = {
        "4,500 documents of 128k": documents(4500, 128 * 1024, 128),
        "1,319 questions, 16 samples": questions(1319, 16, options.engines),
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
