"""One replica: an engine in a process of its own, which takes prompts from its parent.

For: `replicas.py`, which starts this module as a process and talks to it over a socket.
Not for: dealing prompts out, nor for anything of lm-eval. The process ends when its parent does.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from iha_eval.errors import UserError

Orders = SimpleQueue[tuple[Any, ...] | None]


@dataclass(frozen=True)
class Made:
    """One answer; see vLLM's `CompletionOutput`."""

    token_ids: Sequence[int]
    finish_reason: str | None


@dataclass(frozen=True)
class Times:
    """When a prompt got on, in seconds of the machine's clock; see vLLM's `RequestStateStats`."""

    scheduled_ts: float
    first_token_ts: float
    last_token_ts: float


@dataclass
class ReplicaOutput:
    """What is read of a finished request, in plain types where it can be; an `engine.Output`.

    Attributes:
        request_id: its number in its own engine.
        prompt_token_ids: empty on the way; the parent has them.
        prompt_logprobs: as vLLM gave them.
        outputs: the answers.
        metrics: its times, where vLLM tells.
        finished: always.
    """

    request_id: str
    prompt_token_ids: Sequence[int]
    prompt_logprobs: Any
    outputs: Sequence[Made]
    metrics: Times | None
    finished: bool = True


def plain(output: Any) -> ReplicaOutput:
    """An engine's output, without what nobody reads."""
    stats = output.metrics
    return ReplicaOutput(
        request_id=output.request_id,
        prompt_token_ids=(),
        prompt_logprobs=output.prompt_logprobs,
        outputs=[Made(list(made.token_ids), made.finish_reason) for made in output.outputs],
        metrics=None
        if stats is None
        else Times(stats.scheduled_ts, stats.first_token_ts, stats.last_token_ts),
    )


def serve(line: Connection, start: Callable[..., Any]) -> None:
    """A replica's life: start an engine with what the parent says, then work until it hangs up.

    Args:
        line: to the parent.
        start: makes the engine, from its arguments; `engine.Engine` but in tests.
    """
    try:
        arguments, batch_invariant = line.recv()
        engine = start(arguments, batch_invariant=batch_invariant)
    except UserError as error:
        line.send(("refused", str(error)))
        return
    line.send(("ready", (engine.most, engine.facts(), engine.kv_cache())))
    orders: Orders = SimpleQueue()
    # Always listening: two processes that write to each other at once would both wait for ever.
    threading.Thread(target=_listen, args=(line, orders), daemon=True).start()
    try:
        _work(engine, line, orders)
    except (BrokenPipeError, ConnectionResetError):
        # The parent is gone in the middle of a step.
        pass
    finally:
        engine.close()


def _listen(line: Connection, orders: Orders) -> None:
    try:
        while True:
            orders.put(line.recv())
    except (EOFError, OSError):
        orders.put(None)


def _work(engine: Any, line: Connection, orders: Orders) -> None:
    """Take orders between steps, and wait for them only where there is nothing to do."""
    flying: dict[int, int] = {}
    while True:
        while not flying or not orders.empty():
            order = orders.get()
            if order is None:
                return
            if order[0] == "put":
                _, place, ids, params = order
                flying[engine.put(ids, params)] = place
            elif order[0] == "drop":
                engine.drop(list(flying))
                flying.clear()
                line.send(("dropped", None))
            else:
                line.send(("prefix_hits", engine.prefix_hits()))
        for number, output in engine.step():
            line.send(("finished", (flying.pop(number), plain(output), engine.non_finite)))


def main() -> None:
    """Serve the engine on the socket whose number is the first argument."""
    from iha_eval.models.vllm.engine import Engine

    serve(Connection(int(sys.argv[1])), Engine)


if __name__ == "__main__":
    main()
