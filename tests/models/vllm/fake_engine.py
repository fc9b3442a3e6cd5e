"""An engine of a few lines instead of vLLM, which does what its prompts say.

For: test_cluster.py. Not for: pytest to collect.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from iha_eval.errors import UserError
from iha_eval.models.run_stats import KVCache
from iha_eval.models.vllm.dealing import EnginePrompt
from iha_eval.models.vllm.devices import EnginePlan

# First token of a prompt: what the engine does when it meets it.
KILLED_ONCE, FAILS_ONCE, STOPS_ONCE, POISON, PASSED_OVER_ONCE = 1001, 1002, 1003, 1004, 1005
STEP_SECONDS = 0.002


class FakeEngine:
    """Finishes one prompt a step, by turns the first and the last; answers with its process.

    `plan.checkpoint` is a folder in which engines of one run share what happened.
    """

    most = 4
    non_finite = 0
    max_model_len = 64

    def __init__(self, plan: EnginePlan) -> None:
        self.notes = plan.checkpoint
        self.arguments = dict(plan.arguments.engine)
        if self.arguments.get("refused"):
            raise UserError("vLLM does not start: the model is too large.")
        if self.arguments.get("dies_at_start"):
            sys.stderr.flush()
            os._exit(5)
        if self.arguments.get("fails_at_start"):
            raise RuntimeError("no kernel image is available")
        self.waiting: list[tuple[int, EnginePrompt]] = []
        self.passed_over: tuple[int, EnginePrompt] | None = None
        self.number = self.steps = 0
        (self.notes / f"started-{os.getpid()}").touch()

    def facts(self) -> dict[str, Any]:
        return {"device": "fake", "max_num_batched_tokens": 8}

    def identity(self) -> dict[str, Any]:
        differs = self.arguments.get("differ") and not self.first_time("identified")
        return {"device": "fake", "torch": "2.0" if differs else "1.0"}

    def kv_cache(self) -> KVCache:
        return KVCache(100, 1000)

    def prefix_hits(self) -> int:
        return self.number

    @property
    def unfinished(self) -> int:
        return sum(prompt.answers for _, prompt in self.waiting)

    def put(self, prompt: EnginePrompt) -> int:
        self.waiting.append((self.number, prompt))
        if prompt.ids[0] == PASSED_OVER_ONCE and self.first_time("passed over"):
            self.passed_over = self.waiting[-1]
        self.number += 1
        return self.number - 1

    def step(self) -> list[tuple[int, Any]]:
        time.sleep(float(self.arguments.get("step_seconds", STEP_SECONDS)))
        self.steps += 1
        # A prompt that is passed over has its turn when nothing else is left.
        places = [n for n, item in enumerate(self.waiting) if item != self.passed_over] or [0]
        chosen = places[-(self.steps % 2)]
        number, prompt = self.waiting.pop(chosen)
        self.misbehave(prompt.ids[0])
        seed = 0 if prompt.sampling is None else int(prompt.sampling.seed or 0)
        # The seed alone decides, as with a real engine.
        outputs = [
            SimpleNamespace(token_ids=[os.getpid(), prompt.ids[0], seed + n], finish_reason="stop")
            for n in range(prompt.answers)
        ]
        metrics = SimpleNamespace(scheduled_ts=1.0, first_token_ts=2.0, last_token_ts=3.0)
        output = SimpleNamespace(
            request_id=str(number),
            prompt_logprobs=None,
            outputs=outputs,
            metrics=metrics if prompt.ids[0] % 2 else None,
        )
        return [(number, output)]

    def misbehave(self, token: int) -> None:
        if token == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        if token == KILLED_ONCE and self.first_time("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        if token == FAILS_ONCE and self.first_time("failed"):
            raise RuntimeError("CUDA error: an illegal memory access")
        if token == STOPS_ONCE and self.first_time("stopped"):
            os.kill(os.getpid(), signal.SIGSTOP)

    def first_time(self, what: str) -> bool:
        try:
            (self.notes / what).open("x").close()
        except FileExistsError:
            return False
        return True

    def drop(self, numbers: Iterable[int]) -> None:
        assert sorted(numbers) == sorted(number for number, _ in self.waiting)
        self.waiting.clear()

    def close(self) -> None:
        (self.notes / f"closed-{os.getpid()}").touch()


def make(plan: EnginePlan) -> FakeEngine:
    """Starts one, as `engine.start_engine` does."""
    Path(plan.checkpoint).mkdir(exist_ok=True)
    return FakeEngine(plan)
