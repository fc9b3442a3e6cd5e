"""A replica's side of the line, in this process."""

import threading
from collections.abc import Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

from iha_eval.models.run_stats import KVCache
from iha_eval.models.vllm.replica_process import Made, plain, serve


class OneStep:
    """Finishes its prompt in a step, in the middle of which `before` is called."""

    most = 1
    non_finite = 0

    def __init__(self, before: Any) -> None:
        self._before = before
        self.given: tuple[Any, bool] = (None, False)
        self.closed = False

    def start(self, arguments: Mapping[str, Any], *, batch_invariant: bool) -> "OneStep":
        self.given = arguments, batch_invariant
        return self

    def facts(self) -> dict[str, Any]:
        return {}

    def kv_cache(self) -> KVCache:
        return KVCache(1, 2)

    def put(self, ids: Any, params: Any) -> int:
        return 7

    def step(self) -> list[tuple[int, Any]]:
        self._before()
        made = SimpleNamespace(token_ids=(3, 4), finish_reason="length", text="never sent")
        found = {"request_id": "7", "prompt_logprobs": None, "outputs": [made], "metrics": None}
        return [(7, SimpleNamespace(**found))]

    def close(self) -> None:
        self.closed = True


def lines() -> tuple[Connection, Connection]:
    here, theirs = Pipe()
    here.send(({"max_model_len": 8}, True))
    here.send(("put", 5, [1, 2], None))
    return here, theirs


def test_it_starts_an_engine_works_and_ends_with_its_parent() -> None:
    here, theirs = lines()
    engine = OneStep(lambda: None)
    thread = threading.Thread(target=serve, args=(theirs, engine.start))
    thread.start()
    assert here.recv() == ("ready", (1, {}, KVCache(1, 2)))
    kind, (place, output, _) = here.recv()
    assert (kind, place, output.outputs) == ("finished", 5, [Made([3, 4], "length")])
    here.close()
    thread.join(30)
    assert not thread.is_alive()
    assert engine.closed
    assert engine.given == ({"max_model_len": 8}, True)


def test_a_parent_that_is_gone_in_the_middle_of_a_step_ends_it_quietly() -> None:
    here, theirs = lines()
    engine = OneStep(here.close)
    serve(theirs, engine.start)
    assert engine.closed


def test_only_what_is_read_is_sent() -> None:
    times = SimpleNamespace(scheduled_ts=1.0, first_token_ts=2.0, last_token_ts=4.0, arrival=0.5)
    made = SimpleNamespace(token_ids=(3,), finish_reason="stop", text="x")
    output = SimpleNamespace(request_id="2", prompt_logprobs=[None], outputs=[made], metrics=times)
    found = plain(output)
    assert vars(found.metrics) == {"scheduled_ts": 1.0, "first_token_ts": 2.0, "last_token_ts": 4.0}
    assert (found.request_id, found.prompt_logprobs, found.finished) == ("2", [None], True)
