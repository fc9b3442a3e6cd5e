"""Several engines side by side, on one machine or many, as actors of Ray.

For: `data_parallel_size` of `iha-vllm`. An `EngineCluster` is used as one `engine.Engine` is, stays
from task to task, and gives what one engine gives: a prompt, its seeds and its place do not depend
on who answers it. An engine that dies is replaced, and its prompts are dealt again.
Not for: who gets which prompt (see `dealing.py`), nor for vLLM's own data parallelism, which serves
over a network.
"""

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count as counting
from types import SimpleNamespace
from typing import Any

from iha_eval.errors import UserError
from iha_eval.models.run_stats import KVCache
from iha_eval.models.vllm.dealing import Dealer, EnginePrompt, Share
from iha_eval.models.vllm.devices import (
    BIND,
    THREADS,
    EnginePlan,
    Slice,
    check_gpus,
    core_slices,
    visible_gpus,
)
from iha_eval.util.log import logger
from iha_eval.util.process import end_with_me
from iha_eval.util.text import counted

MISSING = (
    "data_parallel_size above 1 runs on Ray, which is not installed: pip install "
    "'iha-eval[cluster]', or leave data_parallel_size out."
)
ADDRESS = "RAY_ADDRESS"
RESOURCES = ("GPU", "CPU")
# Times that Ray may try to start here: its own processes are slow where all cores are busy.
STARTS = 3
# Engines that may fail to start one after the other.
FAILED_STARTS = 3
# Seconds that the cluster has to find a place for the first engine, and an engine to start.
PLACE_SECONDS = 120.0
START_SECONDS = 3600.0
# An engine is silent while it works on one step. Seconds that any step may take; beside them how
# many times its slowest so far, whose first may be ten times the usual, or seconds for each token.
STEP_SECONDS = 60.0
SLOWEST_STEPS = 5
TOKEN_SECONDS = 0.05
# Seconds, and answers that ended, after which an engine reports even if no prompt is finished.
REPORT_SECONDS = 1.0
REPORT_ANSWERS = 16
# Reports asked for ahead, so that no engine waits for this process between two of them.
REPORTS_AHEAD = 2
# Seconds that the head of a cluster has to take a connection.
REACH_SECONDS = 20.0
# Seconds between two looks at what the cluster has.
LOOK_SECONDS = 5.0
# Seconds that engines have to end by themselves.
CLOSE_SECONDS = 20.0

# Takes the place of a prompt, and its output.
Take = Callable[[int, Any], None]


class ClusterError(UserError):
    """The engines cannot go on."""


@dataclass(frozen=True)
class StartedEngine:
    """What an engine tells of itself once it runs; see `engine.Engine` for each.

    Attributes:
        identity: what must be equal over all engines, such as versions and device.
    """

    most: int
    max_model_len: int
    arguments: Mapping[str, Any]
    facts: Mapping[str, Any]
    kv_cache: KVCache
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class EngineReport:
    """What an engine did since its last report.

    Attributes:
        finished: place and output of each finished prompt.
        unfinished: answers that are asked of it still.
        slowest: seconds that its slowest step took.
        non_finite: at how many places logits were not finite.
    """

    finished: Sequence[tuple[int, Any]]
    unfinished: int
    slowest: float
    non_finite: int


class EngineActor:
    """An engine in a process of its own; its methods are called from the driver, one at a time."""

    def __init__(self, part: Slice) -> None:
        """Sets what vLLM reads when it is imported."""
        os.environ.update(part.environment)
        if part.cores is not None:
            os.sched_setaffinity(0, part.cores)
        self._flying: dict[int, int] = {}
        self._engine: Any = None

    def node(self) -> str:
        """Where it runs, before vLLM is imported, which may take minutes over a network."""
        address: str = _ray().util.get_node_ip_address()
        return address

    def start(self, plan: EnginePlan, make: Callable[[EnginePlan], Any] | None) -> StartedEngine:
        """Start the engine: vLLM, or what `make` makes."""
        if make is None:
            from iha_eval.models.vllm.engine import start_engine

            make = start_engine
        self._engine = engine = make(plan)
        return StartedEngine(
            engine.most,
            engine.max_model_len,
            engine.arguments,
            engine.facts(),
            engine.kv_cache(),
            engine.identity(),
        )

    def work(self, prompts: Share) -> EngineReport:
        """Take prompts, and work until there is something to report."""
        engine, before, slowest = self._engine, self._engine.non_finite, 0.0
        for place, prompt in prompts:
            self._flying[engine.put(prompt)] = place
        enough = engine.unfinished - REPORT_ANSWERS
        begin = now = time.monotonic()
        outputs: list[Any] = []
        while self._flying and not outputs and now - begin < REPORT_SECONDS:
            start = now
            outputs = engine.step()
            now = time.monotonic()
            slowest = max(slowest, now - start)
            if engine.unfinished <= enough:
                break
        finished = [(self._flying.pop(number), plain(output)) for number, output in outputs]
        return EngineReport(finished, engine.unfinished, slowest, engine.non_finite - before)

    def drop(self) -> None:
        """Forget all prompts that are not finished."""
        self._engine.drop(list(self._flying))
        self._flying.clear()

    def prefix_hits(self) -> int:
        """Prompt tokens that the prefix cache has spared."""
        return int(self._engine.prefix_hits())

    def close(self) -> None:
        """Stop the engine."""
        self._engine.close()


def plain(output: Any) -> SimpleNamespace:
    """What is read of an `engine.Output`, without vLLM's classes; the driver has the prompt."""
    stats = output.metrics
    times = ("scheduled_ts", "first_token_ts", "last_token_ts")
    return SimpleNamespace(
        prompt_logprobs=output.prompt_logprobs and [_logprobs(e) for e in output.prompt_logprobs],
        outputs=[
            SimpleNamespace(token_ids=list(made.token_ids), finish_reason=made.finish_reason)
            for made in output.outputs
        ],
        metrics=stats and SimpleNamespace(**{name: getattr(stats, name) for name in times}),
    )


def _logprobs(entry: dict[int, Any] | None) -> dict[int, SimpleNamespace] | None:
    return entry and {token: SimpleNamespace(logprob=e.logprob) for token, e in entry.items()}


@dataclass(eq=False)
class _HiredEngine:
    """The driver's end of one engine.

    Attributes:
        name: for messages.
        place: which part of the cluster it has.
        actor: Ray's handle.
        group: what Ray keeps for its ranks over nodes; None where it is on one.
        pending: results that are not there yet, in order: of `node`, `start`, then `work`, each
            with the number of answers that went with it.
        heard: when it was last heard of, got its place, or was handed work after a pause.
        node: where it is; None before it has a place.
        started: what it told; None before it runs.
        slowest: seconds of its slowest step so far.
    """

    name: str
    place: int
    actor: Any
    group: Any
    pending: list[tuple[Any, int]]
    heard: float
    node: str | None = None
    started: StartedEngine | None = None
    slowest: float = 0.0

    def __str__(self) -> str:
        return self.name if self.node is None else f"{self.name} on {self.node}"

    @property
    def patience(self) -> float:
        """Seconds that it may be silent while something is expected of it."""
        if self.started is None:
            return START_SECONDS
        tokens = self.started.facts.get("max_num_batched_tokens") or 0
        # Later steps may be longer than any so far: those of short prompts say nothing of them.
        return STEP_SECONDS + max(SLOWEST_STEPS * self.slowest, tokens * TOKEN_SECONDS)


class ClusterRoom:
    """What the cluster, or this machine, has for engines.

    Args:
        engines: how many there should be; None is as many as there is room for.
        ranks: processes of each.

    Attributes:
        parts: what each engine gets.
        fits_a_node: whether a node has a GPU for each rank of an engine.

    Raises:
        UserError: this machine has too few GPUs.
    """

    def __init__(self, engines: int | None, ranks: int) -> None:
        """Looks at once."""
        self._engines, self._ranks = engines, ranks
        self._joined = bool(os.environ.get(ADDRESS))
        self._on_gpus, self.fits_a_node = False, True
        self.parts: list[Slice] = []
        self.look()

    def look(self, *, settled: bool = False) -> bool:
        """See what there is now; a cluster grows and shrinks.

        Args:
            settled: whether engines run already: others must have the same kind of device.

        Returns:
            Whether engines are to be asked for in another way than before.
        """
        before, gpus = (self._on_gpus, self.fits_a_node), _sizes("GPU")
        if gpus and (self._on_gpus or not settled):
            self._on_gpus, self.fits_a_node = True, max(gpus) >= self._ranks
        if self._joined:
            self.parts = [self._part()] * (self._engines or self._fitting())
        elif not self.parts and self._on_gpus:
            visible = visible_gpus()
            engines = self._engines or max(1, len(visible) // self._ranks)
            check_gpus(engines, self._ranks, visible)
            # Ray shows each actor its own GPUs.
            self.parts = [Slice({})] * engines
        elif not self.parts:
            cores = sorted(os.sched_getaffinity(0))
            self.parts = core_slices(self._engines or 1, self._ranks, cores, os.environ)
        return before != (self._on_gpus, self.fits_a_node)

    @property
    def neighbours(self) -> int:
        """Most engines that share the memory of one node."""
        if not self._joined:
            return len(self.parts)
        # They are spread evenly, and each takes a CPU.
        cpus, most = _sizes("CPU"), 1
        while most < max(cpus, default=1) and sum(min(n, most) for n in cpus) < len(self.parts):
            most += 1
        return most

    def __str__(self) -> str:
        """What an engine needs."""
        return counted(self._ranks, "GPU") if self._on_gpus else "a CPU"

    def options(self) -> dict[str, Any]:
        """What Ray is asked for one engine."""
        if not self.fits_a_node:
            return self._over_nodes()
        options: dict[str, Any] = {"num_cpus": 1}
        if self._on_gpus:
            # On this machine alone nothing else runs that would have to be kept off.
            options = {"num_cpus": int(self._joined), "num_gpus": self._ranks}
        return options | ({"scheduling_strategy": "SPREAD"} if self._joined else {})

    def _fitting(self) -> int:
        """Engines for which there is room, one a node without GPUs; one at least is waited for."""
        if not self._on_gpus:
            return max(1, len(_sizes("CPU")))
        whole = sum(size // self._ranks for size in _sizes("GPU"))
        return max(1, whole or sum(_sizes("GPU")) // self._ranks)

    def _part(self) -> Slice:
        """What of the driver's environment an engine on another node needs too."""
        environment = {name: text for name, text in os.environ.items() if name.startswith("VLLM_")}
        if not self._on_gpus:
            # Two engines of a node would bind to the same cores.
            environment.setdefault(BIND, "nobind")
            processes = (self._engines or self._fitting()) * self._ranks
            threads = max(1, sum(_sizes("CPU")) // processes)
            environment[THREADS] = os.environ.get(THREADS, str(threads))
        return Slice(environment)

    def _over_nodes(self) -> dict[str, Any]:
        """A place for ranks that no single node has room for; vLLM's Ray executor finds it."""
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        group = placement_group([{"GPU": 1, "CPU": 1}] * self._ranks, strategy="PACK")
        strategy = PlacementGroupSchedulingStrategy(
            group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
        )
        return {"num_cpus": 1, "scheduling_strategy": strategy}


class EngineCluster:
    """Several running engines, used as one.

    Args:
        plan: what each engine is started with.
        engines: how many; None is as many as the cluster has room for, now and later.
        ranks: processes of each, on a GPU each where there are GPUs.
        make: starts an engine in the actor's process, if that is not to be vLLM.

    Attributes:
        arguments: of the first engine.
        max_model_len: longest sequence it takes, in tokens.
        start_seconds: how long the first engine took to start.
        non_finite: at how many places logits were not finite in what was handed on so far.

    Raises:
        UserError: Ray is missing, vLLM refuses, or there is no room.
    """

    def __init__(
        self,
        plan: EnginePlan,
        engines: int | None,
        ranks: int = 1,
        *,
        make: Callable[[EnginePlan], Any] | None = None,
    ) -> None:
        """Hires all engines, and waits for the first."""
        self._plan, self._make = plan, make
        self._engines: dict[str, _HiredEngine] = {}
        self._numbers = counting(1)
        self._hits: dict[str, int] = {}
        self._failed = self.non_finite = 0
        self._closed = False
        self._looked = 0.0
        # When an engine last had a place.
        self._placed = time.monotonic()
        # Set by the first engine that runs.
        self._first: tuple[str, StartedEngine]
        self._dealer: Dealer[str] = Dealer([], lambda: 1)
        start = time.perf_counter()
        self._ray = _ray()
        if not self._ray.is_initialized():
            _init(engines)
        self._room = ClusterRoom(engines, ranks)
        try:
            while not self._running():
                self._tend(lambda *_: None)
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.perf_counter() - start
        self.arguments = dict(self._first[1].arguments)
        self.max_model_len = self._first[1].max_model_len

    def run(
        self, prompts: Iterable[EnginePrompt], finished: Take, beat: Callable[[], None]
    ) -> None:
        """Work through prompts; returns when all are finished. See `engine.Engine.run`.

        Raises:
            ClusterError: no engine is left and none can be started, or `close` was called; what
                was finished has been handed on.
        """
        if self._closed:
            raise ClusterError("The engines are closed.")
        self._dealer = Dealer(prompts, lambda: max(1, self.wanted))
        for engine in self._running():
            self._join(engine)
        try:
            while not self._dealer.done:
                for name, share in self._dealer.deal().items():
                    self._send(self._engines[name], share)
                self._tend(finished)
                beat()
        finally:
            if not self._dealer.done:
                # What is left of a run must not turn up in the next one.
                for engine in self._running():
                    engine.actor.drop.remote()
            for engine in self._running():
                engine.pending.clear()
            self._dealer = Dealer([], lambda: 1)

    @property
    def alive(self) -> int:
        """Engines that run now."""
        return len(self._running())

    @property
    def wanted(self) -> int:
        """Engines that there should be."""
        return len(self._room.parts)

    def kv_cache(self) -> KVCache:
        """Size of the KV caches together."""
        caches = [engine.started.kv_cache for engine in self._running() if engine.started]
        sizes = [cache.bytes for cache in caches if cache.bytes is not None]
        return KVCache(sum(cache.tokens or 0 for cache in caches), sum(sizes) if sizes else None)

    def prefix_hits(self) -> int:
        """Prompt tokens that the prefix caches have spared, those of engines that ended too."""
        counts = {engine: engine.actor.prefix_hits.remote() for engine in self._running()}
        for engine, count in counts.items():
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._hits[engine.name] = self._ray.get(count, timeout=engine.patience)
        return sum(self._hits.values())

    def facts(self) -> dict[str, Any]:
        """What the engines run on and with, by the first; all are alike."""
        return {
            **self._first[1].facts,
            "data_parallel_size": self.wanted,
            "engine_start_seconds": self.start_seconds,
        }

    def close(self) -> None:
        """Stop the engines; Ray stays for the next ones. May be called twice."""
        self._closed = True
        engines = list(self._engines.values())
        closing = [engine.actor.close.remote() for engine in engines if engine.started]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
        for engine in engines:
            self._end(engine)

    def _running(self) -> list[_HiredEngine]:
        return [engine for engine in self._engines.values() if engine.started is not None]

    def _join(self, engine: _HiredEngine) -> None:
        """Let the dealer deal to an engine that runs."""
        assert engine.started is not None
        self._dealer.join(engine.name, engine.started.most, engine.started.kv_cache.tokens)

    def _send(self, engine: _HiredEngine, share: Share) -> None:
        """Hand prompts over, and ask for the next report."""
        if not engine.pending:
            engine.heard = time.monotonic()
        answers = sum(prompt.answers for _, prompt in share)
        engine.pending.append((engine.actor.work.remote(share), answers))

    def _tend(self, take: Take) -> None:
        """One round: hire who is missing, ask for reports, take what is there, find who hangs."""
        self._look_for_places()
        self._hire()
        for name, load in self._dealer.loads.items():
            while load.flying and len(self._engines[name].pending) < REPORTS_AHEAD:
                self._send(self._engines[name], [])
        for engine, result in self._arrived():
            try:
                self._take(engine, self._ray.get(result), take)
            except self._ray.exceptions.RayTaskError as error:
                # A replacement that is refused may have come to a bad node; others still run.
                replaces = engine.started is None and hasattr(self, "_first")
                if isinstance(error.cause, UserError) and not replaces:
                    raise error.cause from error
                self._lose(engine, f"failed ({_line(error.cause)})")
            except self._ray.exceptions.RayError as error:
                self._lose(engine, f"died ({_line(error)})")
        for engine in list(self._engines.values()):
            self._check(engine)

    def _arrived(self) -> list[tuple[_HiredEngine, Any]]:
        """Results that are there, waiting for the first for a moment; the first of each engine."""
        waiting = {e.pending[0][0]: e for e in self._engines.values() if e.pending}
        if not waiting:
            time.sleep(REPORT_SECONDS / 10)
            return []
        self._ray.wait(list(waiting), num_returns=1, timeout=REPORT_SECONDS / 2)
        ready, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        return [(waiting[result], result) for result in ready]

    def _take(self, engine: _HiredEngine, result: Any, take: Take) -> None:
        """What an engine says: where it is, that it runs, or what it finished."""
        engine.pending.pop(0)
        engine.heard = time.monotonic()
        if isinstance(result, str):
            engine.node = result
        elif isinstance(result, StartedEngine):
            self._check_equal(engine, result)
            engine.started = result
            self._failed = 0
            logger.info("%s runs (%s).", engine, result.facts.get("device"))
            self._join(engine)
        else:
            engine.slowest = max(engine.slowest, result.slowest)
            self.non_finite += result.non_finite
            load = self._dealer.loads[engine.name]
            for place, output in result.finished:
                drawn = sum(len(made.token_ids) for made in output.outputs)
                output.prompt_token_ids = load.finish(place, drawn).ids
                take(place, output)
            # Of a prompt's many answers most end before the last does.
            load.answers = result.unfinished + sum(answers for _, answers in engine.pending)

    def _check_equal(self, engine: _HiredEngine, started: StartedEngine) -> None:
        """Refuse an engine that is not like the first that ran.

        Raises:
            ClusterError: versions or device differ.
        """
        if not hasattr(self, "_first"):
            self._first = str(engine), started
        first, like = self._first
        for name, value in like.identity.items():
            if started.identity.get(name) != value:
                raise ClusterError(
                    f"{engine} has {name} {started.identity.get(name)}, and {first} has {value}: "
                    "answers may depend on it, so use nodes that are alike."
                )

    def _look_for_places(self) -> None:
        """See what the cluster has now.

        Raises:
            ClusterError: no engine has had a place for long.
        """
        now = time.monotonic()
        if any(engine.node is not None for engine in self._engines.values()):
            self._placed = now
        elif now - self._placed > PLACE_SECONDS:
            free, total = self._ray.available_resources(), self._ray.cluster_resources()
            free = ", ".join(f"{free.get(n, 0):g} of {total.get(n, 0):g} {n}s" for n in RESOURCES)
            raise ClusterError(
                f"The cluster has found no room for an engine in {now - self._placed:.0f} s: each "
                f"needs {self._room}, and {free} are free. Wait until other work has ended, add "
                "nodes, or use a smaller tensor_parallel_size."
            )
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            if self._room.look(settled=hasattr(self, "_first")):
                # GPUs joined a head without any, or larger nodes did: ask for those.
                for engine in [e for e in self._engines.values() if e.started is None]:
                    self._end(engine)

    def _hire(self) -> None:
        """Start an engine for each that is missing: at the start, after a death, after growth."""
        taken = {engine.place for engine in self._engines.values()}
        for place in {*range(self.wanted)} - taken:
            options = self._room.options()
            remote = self._ray.remote(EngineActor).options(max_restarts=0, **options)
            actor = remote.remote(self._room.parts[place])
            plan = replace(self._plan, neighbours=self._room.neighbours)
            plan = plan if self._room.fits_a_node else plan.over_nodes()
            pending = [(actor.node.remote(), 0), (actor.start.remote(plan, self._make), 0)]
            group = getattr(options.get("scheduling_strategy"), "placement_group", None)
            name = f"Engine {next(self._numbers)}"
            self._engines[name] = _HiredEngine(
                name, place, actor, group, pending, heard=time.monotonic()
            )

    def _check(self, engine: _HiredEngine) -> None:
        """End an engine that neither starts, nor answers, nor gets on with one of its prompts."""
        expected = engine.pending and engine.node is not None
        silent = time.monotonic() - engine.heard if expected else 0.0
        load = self._dealer.loads.get(engine.name)
        prompt = None if load is None else load.overdue()
        if silent > engine.patience:
            self._lose(engine, f"was silent for {silent:.0f} s")
        elif prompt is not None:
            self._lose(engine, f"does not get on with {prompt.label}")

    def _lose(self, engine: _HiredEngine, how: str) -> None:
        """Go on without an engine; its prompts are dealt again.

        Raises:
            ClusterError: three engines failed to start one after the other.
            PoisonPromptError: three engines died under one prompt.
        """
        self._end(engine)
        load = self._dealer.loads.get(engine.name)
        prompts = len(load.flying) if load else 0
        logger.warning(
            "%s %s: another is started, and %d prompts are dealt again.", engine, how, prompts
        )
        if load:
            self._dealer.leave(engine.name)
        if engine.started is None:
            self._failed += 1
            if self._failed >= FAILED_STARTS:
                raise ClusterError(
                    f"{FAILED_STARTS} engines failed to start one after the other; the last, "
                    f"{engine}, {how}. What it printed above says why; with --output_path the "
                    "same command goes on."
                )

    def _end(self, engine: _HiredEngine) -> None:
        """End an engine's process; Ray does so within seconds, also where it was stopped."""
        del self._engines[engine.name]
        with contextlib.suppress(Exception):
            self._ray.kill(engine.actor, no_restart=True)
            if engine.group is not None:
                self._ray.util.remove_placement_group(engine.group)


def describe() -> str:
    """What the cluster, or this machine, has for engines of one process, in words.

    Raises:
        UserError: Ray is missing, or there is no cluster where one is named.
    """
    _init(None)
    ray, room = _ray(), ClusterRoom(None, 1)
    nodes = counted(sum(bool(node["Alive"]) for node in ray.nodes()), "node")
    free, total = ray.available_resources(), ray.cluster_resources()
    has = ", ".join(
        f"{counted(int(total[n]), n)} ({free.get(n, 0):g} free)" for n in RESOURCES if total.get(n)
    )
    if not has:
        return f"{nodes} with nothing for engines; data_parallel_size=auto waits for more to join"
    engines = counted(len(room.parts), "engine")
    return f"{nodes} with {has}; data_parallel_size=auto runs {engines}, with {room} each"


def _ray() -> Any:
    """Ray, imported when it is needed: it takes seconds.

    Raises:
        UserError: it is not installed.
    """
    # Read when Ray is imported: no statistics leave the machine.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(MISSING) from error
    return ray


def _init(engines: int | None) -> None:
    """Join the cluster of RAY_ADDRESS, or start one on this machine that ends with this process.

    Raises:
        UserError: there is no cluster at that address.
    """
    ray = _ray()
    address = os.environ.get(ADDRESS)
    options: dict[str, Any] = {"logging_level": "ERROR"}
    if not address:
        options |= {"include_dashboard": False, "num_cpus": engines or 1}
        # Ray's own processes too, should this one be killed.
        end_with_me()
        # Its own processes have 30 s to start, which is not enough on a busy machine.
        os.environ.setdefault("RAY_agent_register_timeout_ms", "300000")
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")
        # Else Ray leaves a token in the home folder.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    for attempts in reversed(range(1 if address else STARTS)):
        try:
            if address:
                # Ray itself tries for minutes.
                _reach(address)
            # Without "local" Ray joins whatever cluster of the user it finds a record of.
            ray.init(address=address or "local", **options)
            return
        # A node that does not start is a plain Exception of Ray's.
        except Exception as error:
            if attempts:
                continue
            where = f"at {ADDRESS}={address!r}" if address else "on this machine"
            raise UserError(
                f"Ray does not run {where} ({_line(error)}): start a cluster and name it in "
                f"{ADDRESS}, or unset {ADDRESS} to use this machine alone."
            ) from error


def _reach(address: str) -> None:
    """Raises an OSError where nothing listens at `host:port`; other addresses are Ray's to read."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()


def _sizes(resource: str) -> list[int]:
    """How many of a resource each node has that has any."""
    nodes = [node["Resources"] for node in _ray().nodes() if node["Alive"]]
    return [int(node[resource]) for node in nodes if node.get(resource)]


def _line(error: BaseException | None) -> str:
    """The first line of what an error says."""
    text = str(error).strip() or repr(error)
    return text.splitlines()[0]
