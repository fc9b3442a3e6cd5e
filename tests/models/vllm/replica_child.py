"""A replica with an engine of a few lines instead of vLLM, which does what its prompts say.

For: test_replicas.py. Not for: pytest to collect.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

from iha_eval.errors import UserError
from iha_eval.models.run_stats import KVCache
from iha_eval.models.vllm.replica_process import serve

# First token of a prompt: what the process does when it meets it.
KILLED, FAILS, LETS_GO, LEAVES_A_CHILD, HANGS = 1001, 1002, 1003, 1004, 1005


class FakeEngine:
    """Finishes one prompt a step, the last that came first; answers with its process and prompt."""

    most = 4
    non_finite = 0

    def __init__(self, arguments: Mapping[str, Any], *, batch_invariant: bool) -> None:
        if arguments.get("refused"):
            raise UserError("vLLM does not start: the model is too large.")
        if arguments.get("fails"):
            sys.exit(5)
        self.waiting: list[tuple[int, Sequence[int], Any]] = []
        self.number = 0
        self.batch_invariant = batch_invariant

    def facts(self) -> dict[str, Any]:
        return {"device": "fake", "batch_invariant": self.batch_invariant}

    def kv_cache(self) -> KVCache:
        return KVCache(100, 1000)

    def prefix_hits(self) -> int:
        return self.number

    def put(self, ids: Sequence[int], params: Any) -> int:
        self.waiting.append((self.number, ids, params))
        self.number += 1
        return self.number - 1

    def step(self) -> list[tuple[int, Any]]:
        number, ids, params = self.waiting.pop()
        misbehave(ids[0])
        # The seed alone decides, as with a real engine.
        outputs = [
            SimpleNamespace(
                token_ids=[os.getpid(), ids[0], params.seed + one], finish_reason="stop"
            )
            for one in range(params.n)
        ]
        metrics = SimpleNamespace(scheduled_ts=1.0, first_token_ts=2.0, last_token_ts=3.0)
        return [
            (
                number,
                SimpleNamespace(
                    request_id=str(number),
                    prompt_logprobs=None,
                    outputs=outputs,
                    metrics=metrics if ids[0] % 2 else None,
                ),
            )
        ]

    def drop(self, numbers: Iterable[int]) -> None:
        assert sorted(numbers) == sorted(number for number, _, _ in self.waiting)
        self.waiting.clear()

    def close(self) -> None:
        pass


def misbehave(token: int) -> None:
    if token == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if token == FAILS:
        sys.exit(3)
    if token == LETS_GO:
        socket.socket(fileno=os.dup(LINE.fileno())).shutdown(socket.SHUT_RDWR)
        time.sleep(60)
    if token == LEAVES_A_CHILD:
        if os.fork() == 0:
            time.sleep(3)
        os._exit(4)
    if token == HANGS:
        time.sleep(60)


LINE = Connection(int(sys.argv[1]))
serve(LINE, FakeEngine)
