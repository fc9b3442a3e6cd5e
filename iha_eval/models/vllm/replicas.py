"""Several engines side by side, each in a process of its own: documents are dealt over them.

For: `data_parallel_size` of `iha-vllm`. It is used as one `engine.Engine` is, stays from task to
task, and gives what one engine gives: a prompt, its seeds and its place do not depend on who
answers it.
Not for: vLLM's own data parallelism, which serves over a network, nor for several machines.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.models.run_stats import HEARTBEAT, KVCache
from iha_eval.models.vllm.devices import Slice
from iha_eval.models.vllm.replica_process import ReplicaOutput
from iha_eval.models.vllm.sample_groups import shares_for_engines
from iha_eval.util.process import end_with_me, environment, in_words

COMMAND = (sys.executable, "-c", "from iha_eval.models.vllm.replica_process import main; main()")
# Seconds that a replica has to end by itself.
PATIENCE = 60.0

# A prompt's place, its token ids, and vLLM's sampling parameters.
_Prompt = tuple[int, tuple[Sequence[int], Any]]


class ReplicaError(UserError):
    """A replica's process ended on its own."""


class _Replica:
    """The parent's end of one.

    Attributes:
        line: to the process.
        flying: what it works on, by place: token ids, answers asked for, weight in tokens.
        most: answers it is asked for at once.
        facts: what its engine runs on.
        kv_cache: of its engine.
        non_finite: places at which its logits were not finite so far.
    """

    def __init__(self, name: str, given: Slice, command: Sequence[str]) -> None:
        """Starts the process."""
        self.name = name
        self.line, theirs = Pipe()
        self._stopped = False
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        end_with_me()
        self._process = subprocess.Popen(
            [*command, str(theirs.fileno())],
            env=environment({"PYTHONPATH": path, **given.environment}),
            pass_fds=[theirs.fileno()],
            # Only the parent is interrupted by the keyboard; it then hangs up.
            start_new_session=True,
        )
        if given.cores is not None:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(self._process.pid, given.cores)
        theirs.close()
        self.flying: dict[int, tuple[Sequence[int], int, int]] = {}
        self.asked = self.load = self.most = self.non_finite = 0
        self.facts: dict[str, Any] = {}
        self.kv_cache = KVCache(None, None)

    def get_ready(self) -> None:
        """Wait for its engine.

        Raises:
            UserError: vLLM refuses.
        """
        kind, said = self.receive()
        if kind == "refused":
            raise UserError(said)
        self.most, self.facts, self.kv_cache = said

    def put(self, place: int, ids: Sequence[int], params: Any) -> None:
        """Hand a prompt over."""
        weight = len(ids) + params.n * params.max_tokens
        self.send(("put", place, array("i", ids), params))
        self.flying[place] = ids, params.n, weight
        self.asked += params.n
        self.load += weight

    def take(self, place: int, output: ReplicaOutput) -> ReplicaOutput:
        """Count a prompt out that is finished."""
        ids, answers, weight = self.flying.pop(place)
        self.asked -= answers
        self.load -= weight
        output.prompt_token_ids = ids
        return output

    def drop(self) -> None:
        """Forget all that is not finished, here and there."""
        self.send(("drop",))
        while self.receive()[0] != "dropped":
            pass
        self.flying.clear()
        self.asked = self.load = 0

    def send(self, order: tuple[Any, ...]) -> None:
        """Say something to the process."""
        try:
            self.line.send(order)
        except OSError as error:
            raise self._death() from error

    def receive(self) -> tuple[str, Any]:
        """What the process says next."""
        try:
            while not self.line.poll(HEARTBEAT):
                self.check()
            said: tuple[str, Any] = self.line.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        return said

    def check(self) -> None:
        """Notice a process that ended while its own children keep the line open.

        Raises:
            ReplicaError: it did, and said nothing more, or this side hung up.
        """
        if self.line.closed:
            raise self._death()
        if self._process.poll() is not None and not self.line.poll():
            raise self._death()

    def hang_up(self) -> None:
        """Let the process end."""
        self.line.close()

    def stop(self) -> None:
        """Wait for the process to end, and end it if it does not. May be called twice."""
        self.hang_up()
        # Its number may be another's by now.
        if self._stopped:
            return
        self._stopped = True
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
        # Its own children too, which would go on holding memory.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _death(self) -> ReplicaError:
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return ReplicaError(f"{self.name} closed its line: run the same command again.")
        how = (
            f"was {in_words(code)}, as the system does where memory runs out"
            if code < 0
            else f"ended with {in_words(code)}, and what it printed above says why"
        )
        return ReplicaError(
            f"{self.name} {how}: with --output_path nothing that was finished is lost, so mend "
            "that (fewer replicas or a smaller max_num_seqs take less memory) and run the same "
            "command again."
        )


class Replicas:
    """Several running engines, used as one.

    Args:
        arguments: of each engine; see `engine_arguments.build`.
        parts: what of the machine each gets; one engine for each.
        batch_invariant: see `engine.Engine`.
        command: starts a replica's process, with the number of its socket put after it.

    Attributes:
        arguments: the same.
        max_model_len: longest sequence it takes, in tokens.
        start_seconds: how long they took to start, side by side.

    Raises:
        UserError: vLLM refuses the arguments or the checkpoint, or a process ended.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        parts: Sequence[Slice],
        *,
        batch_invariant: bool = False,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Starts all at once, and waits for all."""
        self.arguments = dict(arguments)
        self.max_model_len = int(arguments["max_model_len"])
        start = time.perf_counter()
        self._replicas: list[_Replica] = []
        try:
            for number, part in enumerate(parts, 1):
                gpus = part.environment.get("CUDA_VISIBLE_DEVICES")
                where = f" (GPUs {gpus})" if gpus else ""
                name = f"Replica {number} of {len(parts)}{where}"
                self._replicas.append(_Replica(name, part, command))
            for replica in self._replicas:
                replica.send((self.arguments, batch_invariant))
            for replica in self._replicas:
                replica.get_ready()
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.perf_counter() - start

    def run(
        self,
        prompts: Iterable[tuple[Sequence[int], Any]],
        finished: Callable[[int, Any], None],
        beat: Callable[[], None],
    ) -> None:
        """Work through prompts; returns when all are finished. See `engine.Engine.run`.

        Raises:
            ReplicaError: a process ended, or `close` was called; what was finished has been
                handed on.
        """
        for replica in self._replicas:
            replica.check()
        waiting = shares_for_engines(
            enumerate(prompts),
            len(self._replicas),
            prompt=lambda one: one[1][0],
            answers=lambda one: int(one[1][1].n * one[1][1].max_tokens),
        )
        try:
            while True:
                self._deal(waiting)
                if not any(replica.flying for replica in self._replicas):
                    return
                self._collect(finished)
                beat()
        except ReplicaError:
            raise
        except BaseException:
            # What is left when something went wrong must not turn up in the next run.
            try:
                for replica in self._replicas:
                    replica.drop()
            except BaseException:
                self.close()
                raise
            raise

    def kv_cache(self) -> KVCache:
        """Size of the KV caches together."""
        found = [replica.kv_cache for replica in self._replicas]
        sizes = [one.bytes for one in found if one.bytes is not None]
        return KVCache(sum(one.tokens or 0 for one in found), sum(sizes) if sizes else None)

    def prefix_hits(self) -> int:
        """Prompt tokens that the prefix caches have spared since the start."""
        for replica in self._replicas:
            replica.send(("prefix_hits",))
        return sum(int(replica.receive()[1]) for replica in self._replicas)

    @property
    def non_finite(self) -> int:
        """At how many places logits were not finite in what was handed on so far."""
        return sum(replica.non_finite for replica in self._replicas)

    def facts(self) -> dict[str, Any]:
        """What the engines run on and with, by the first; they are alike."""
        return {
            **self._replicas[0].facts,
            "data_parallel_size": len(self._replicas),
            "engine_start_seconds": self.start_seconds,
        }

    def close(self) -> None:
        """Stop the engines. May be called twice."""
        for replica in self._replicas:
            replica.hang_up()
        for replica in self._replicas:
            replica.stop()

    def _deal(self, waiting: Iterator[list[_Prompt]]) -> None:
        """Hand shares to whoever has the least to do, until all have enough.

        A portion goes whole, though it may be more than a replica runs at once: its prompt is
        cached there.
        """
        while free := [one for one in self._replicas if one.asked < one.most]:
            portion = next(waiting, None)
            if portion is None:
                return
            replica = min(free, key=lambda one: one.load)
            for place, (ids, params) in portion:
                replica.put(place, ids, params)

    def _collect(self, finished: Callable[[int, Any], None]) -> None:
        """Take out what is finished, waiting for the next if nothing is."""
        lines: dict[Any, _Replica] = {one.line: one for one in self._replicas}
        ready = wait(list(lines), HEARTBEAT)
        for line in ready:
            place, output, lines[line].non_finite = lines[line].receive()[1]
            finished(place, lines[line].take(place, output))
        if not ready:
            for replica in self._replicas:
                replica.check()
