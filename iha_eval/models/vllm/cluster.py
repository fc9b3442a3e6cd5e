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
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count as counting
from typing import TYPE_CHECKING, Any

from iha_eval.errors import UserError
from iha_eval.models.run_stats import KVCache
from iha_eval.models.vllm.dealing import Dealer, DealtPrompt, EnginePrompt
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

# An actor says where it is before it imports torch and vLLM, which may take minutes over a network.
if TYPE_CHECKING:
    from iha_eval.models.vllm.engine import Output

MISSING = (
    "data_parallel_size above 1 runs on Ray, which is not installed: pip install "
    "'iha-eval[cluster]', or leave data_parallel_size out."
)
ADDRESS = "RAY_ADDRESS"
# Times that Ray may try to start here: its own processes are slow where all cores are busy.
STARTS = 3
# Engines that may fail to start one after the other.
FAILED_STARTS = 3
# Seconds that the cluster has to find a place for the first engine, and an engine to start.
PLACE_SECONDS = 120.0
START_SECONDS = 3600.0
# An engine is silent while it works on one step: seconds that any step may take, seconds a token of
# a step before its own speed is known, and how many times its slowest step so far a step may take.
STEP_SECONDS = 60.0
STEP_SECONDS_A_TOKEN = 0.05
SLOWEST_STEPS = 20
# Seconds after which an engine reports even if nothing is finished.
REPORT_SECONDS = 1.0
# Reports asked for ahead, so that no engine waits for this process between two of them.
REPORTS_AHEAD = 2
# Seconds between two looks at what the cluster has.
LOOK_SECONDS = 5.0
# Seconds that engines have to end by themselves.
CLOSE_SECONDS = 20.0


def start_engine(plan: EnginePlan) -> Any:
    """Start vLLM in this process; see `engine.start_engine`."""
    from iha_eval.models.vllm.engine import start_engine

    return start_engine(plan)


class ClusterError(UserError):
    """The engines cannot go on."""


@dataclass(frozen=True)
class FinishedAnswer:
    """One answer; see vLLM's `CompletionOutput`."""

    token_ids: Sequence[int]
    finish_reason: str | None


@dataclass(frozen=True)
class RequestTimes:
    """When a prompt got on, in seconds of its machine's clock; see vLLM's `RequestStateStats`."""

    scheduled_ts: float
    first_token_ts: float
    last_token_ts: float


@dataclass
class FinishedPrompt:
    """What is read of a finished request, in plain types where it can be; an `engine.Output`.

    Attributes:
        request_id: its number in its own engine.
        prompt_token_ids: empty on the way; the driver has them.
        prompt_logprobs: as vLLM gave them.
        outputs: the answers.
        metrics: its times, where vLLM tells.
        finished: always.
    """

    request_id: str
    prompt_token_ids: Sequence[int]
    prompt_logprobs: Any
    outputs: Sequence[FinishedAnswer]
    metrics: RequestTimes | None
    finished: bool = True


def plain(output: "Output") -> FinishedPrompt:
    """An engine's output, without what nobody reads."""
    stats = output.metrics
    return FinishedPrompt(
        request_id=output.request_id,
        prompt_token_ids=(),
        prompt_logprobs=output.prompt_logprobs,
        outputs=[
            FinishedAnswer(list(answer.token_ids), answer.finish_reason)
            for answer in output.outputs
        ],
        metrics=None
        if stats is None
        else RequestTimes(stats.scheduled_ts, stats.first_token_ts, stats.last_token_ts),
    )


@dataclass(frozen=True)
class StartedEngine:
    """What an engine tells of itself once it runs.

    Attributes:
        most: answers that it is asked for at once.
        max_model_len: longest sequence it takes, in tokens.
        arguments: of `vllm.LLM`.
        facts: what it runs on and with.
        kv_cache: of the engine.
        identity: what must be equal over all engines, such as versions and fingerprint.
        pid: its process.
        step_tokens: most tokens that it works on in one step.
    """

    most: int
    max_model_len: int
    arguments: Mapping[str, Any]
    facts: Mapping[str, Any]
    kv_cache: KVCache
    identity: Mapping[str, Any]
    pid: int
    step_tokens: int


@dataclass(frozen=True)
class EngineReport:
    """What an engine finished since its last report.

    Attributes:
        finished: place and output of each finished prompt.
        slowest: seconds that its slowest step took.
        non_finite: at how many places logits were not finite.
    """

    finished: Sequence[tuple[int, FinishedPrompt]]
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
        """Where it runs, as soon as it has a place."""
        return _here()

    def start(self, plan: EnginePlan, make: Callable[[EnginePlan], Any]) -> StartedEngine:
        """Start the engine."""
        self._engine = engine = make(plan)
        return StartedEngine(
            engine.most,
            engine.max_model_len,
            engine.arguments,
            engine.facts(),
            engine.kv_cache(),
            engine.identity(),
            os.getpid(),
            int(engine.facts().get("max_num_batched_tokens") or 0),
        )

    def work(self, prompts: Sequence[tuple[int, EnginePrompt]]) -> EngineReport:
        """Take prompts, and work until something is finished or a second has passed."""
        for place, prompt in prompts:
            self._flying[self._engine.put(prompt)] = place
        end = time.monotonic() + REPORT_SECONDS
        slowest, before = 0.0, self._engine.non_finite
        while self._flying:
            start = time.monotonic()
            outputs = self._engine.step()
            now = time.monotonic()
            slowest = max(slowest, now - start)
            if outputs or now >= end:
                finished = [(self._flying.pop(number), plain(output)) for number, output in outputs]
                return EngineReport(finished, slowest, self._engine.non_finite - before)
        return EngineReport((), slowest, self._engine.non_finite - before)

    def drop(self) -> None:
        """Forget all prompts that are not finished."""
        self._engine.drop(list(self._flying))
        self._flying.clear()

    def prefix_hits(self) -> int:
        """EnginePrompt tokens that the prefix cache has spared."""
        return int(self._engine.prefix_hits())

    def close(self) -> None:
        """Stop the engine."""
        if self._engine is not None:
            self._engine.close()


@dataclass
class _HiredEngine:
    """The driver's end of one engine.

    Attributes:
        name: for messages.
        place: which part of the machine it has.
        actor: Ray's handle.
        group: what Ray keeps for its ranks over nodes; None where it is on one.
        placed: result of its `node`.
        starting: result of its `start`.
        hired: when it was asked for.
        started: what it told; None before it runs.
        reports: results of its `work` that are not there yet, in order.
        heard: when it last reported, or was handed work after a pause.
        slowest: seconds of its slowest step so far.
        prefix_hits: at the last count.
    """

    name: str
    place: int
    actor: Any
    group: Any
    placed: Any
    starting: Any
    hired: float
    node: str | None = None
    started: StartedEngine | None = None
    reports: list[Any] = field(default_factory=list)
    heard: float = 0.0
    slowest: float = 0.0
    prefix_hits: int = 0

    def __str__(self) -> str:
        return self.name if self.node is None else f"{self.name} on {self.node}"

    @property
    def patience(self) -> float:
        """Seconds that it may stay silent while it has work."""
        tokens = 0 if self.started is None else self.started.step_tokens
        known = self.slowest or tokens * STEP_SECONDS_A_TOKEN / SLOWEST_STEPS
        return STEP_SECONDS + SLOWEST_STEPS * known


class ClusterRoom:
    """What the cluster, or this machine, has for engines.

    Args:
        engines: how many there should be; None is as many as there is room for.
        ranks: processes of each.

    Attributes:
        parts: what each engine gets.
        fits_a_node: whether a node has a GPU for each rank of an engine.
        need: what an engine needs, in words.

    Raises:
        UserError: this machine has too few GPUs.
    """

    def __init__(self, engines: int | None, ranks: int) -> None:
        """Looks at once."""
        self._engines, self._ranks = engines, ranks
        self._joined = bool(os.environ.get(ADDRESS))
        self._on_gpus = _total("GPU") > 0
        self.parts: list[Slice] = []
        self.look()
        sizes = [int(node["Resources"].get("GPU", 0)) for node in _nodes()]
        self.fits_a_node = not self._on_gpus or max(sizes) >= ranks
        self.need = f"{ranks} GPUs" if self._on_gpus else f"{self._cores} CPUs"

    def look(self) -> None:
        """See what there is now; a cluster grows and shrinks."""
        if self._joined:
            self.parts = [self._part()] * self._count()
        elif not self.parts and self._on_gpus:
            visible = visible_gpus()
            engines = self._engines or max(1, len(visible) // self._ranks)
            check_gpus(engines, self._ranks, visible)
            # Ray shows each actor its own GPUs.
            self.parts = [Slice({})] * engines
        elif not self.parts:
            cores = sorted(os.sched_getaffinity(0))
            self.parts = core_slices(self._engines or 1, self._ranks, cores, os.environ)

    def options(self) -> dict[str, Any]:
        """What Ray is asked for one engine."""
        if not self.fits_a_node:
            return self._over_nodes()
        strategy = {"scheduling_strategy": "SPREAD"} if self._joined else {}
        if self._on_gpus:
            # On this machine alone nothing else runs that would have to be kept off.
            return {"num_gpus": self._ranks, "num_cpus": int(self._joined), **strategy}
        return {"num_cpus": self._cores, **strategy}

    @property
    def _cores(self) -> int:
        """CPUs of one engine where there are no GPUs."""
        if not self._joined:
            return 1
        sizes = [int(size) for node in _nodes() if (size := node["Resources"].get("CPU", 0)) >= 1]
        if self._engines is None:
            return min(sizes, default=1)
        # As many each as leave room for all of them.
        return next(
            (
                cores
                for cores in range(max(sizes, default=1), 0, -1)
                if sum(size // cores for size in sizes) >= self._engines
            ),
            1,
        )

    def _count(self) -> int:
        return self._fitting() if self._engines is None else self._engines

    def _fitting(self) -> int:
        """Engines for which there is room; at least one is waited for."""
        if not self._on_gpus:
            return max(1, sum(1 for node in _nodes() if node["Resources"].get("CPU", 0)))
        sizes = [int(node["Resources"].get("GPU", 0)) for node in _nodes()]
        whole = sum(size // self._ranks for size in sizes)
        return max(1, whole or sum(sizes) // self._ranks)

    def _part(self) -> Slice:
        """What of the driver's environment an engine on another node needs too."""
        environment = {name: text for name, text in os.environ.items() if name.startswith("VLLM_")}
        if not self._on_gpus:
            # Two engines of a node would bind to the same cores.
            environment.setdefault(BIND, "nobind")
            environment[THREADS] = os.environ.get(THREADS, str(max(1, self._cores // self._ranks)))
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
        make: starts an engine in the actor's process.

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
        make: Callable[[EnginePlan], Any] = start_engine,
    ) -> None:
        """Hires all engines, and waits for the first."""
        self._plan, self._engines, self._ranks, self._make = plan, engines, ranks, make
        self._workers: dict[str, _HiredEngine] = {}
        self._numbers = counting(1)
        self._failed = 0
        self._closed = False
        self._looked = self._checked = 0.0
        self._dealer: Dealer[str] | None = None
        self._lost_hits = self.non_finite = 0
        # Of the first engine that ran.
        self._identity: tuple[str, Mapping[str, Any]] | None = None
        start = time.perf_counter()
        ray = _ray()
        if not ray.is_initialized():
            _init(engines)
        self._room = ClusterRoom(engines, ranks)
        try:
            while not self._ready():
                self._tend(lambda *_: None)
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.perf_counter() - start
        first = self._ready()[0].started
        assert first is not None
        self.arguments = dict(first.arguments)
        self.max_model_len = first.max_model_len
        self._facts = first.facts

    def run(
        self,
        prompts: Iterable[EnginePrompt],
        finished: Callable[[int, Any], None],
        beat: Callable[[], None],
    ) -> None:
        """Work through prompts; returns when all are finished. See `engine.Engine.run`.

        Raises:
            ClusterError: no engine is left and none can be started, or `close` was called; what
                was finished has been handed on.
        """
        if self._closed:
            raise ClusterError("The engines are closed.")
        dealer: Dealer[str] = Dealer(prompts, lambda: max(1, self.wanted))
        self._dealer = dealer
        for worker in self._ready():
            # What is left to come of the last run came long ago.
            worker.heard = time.monotonic()
            self._join(worker)

        def take(place: int, output: FinishedPrompt, prompt: EnginePrompt) -> None:
            output.prompt_token_ids = prompt.ids
            finished(place, output)

        try:
            while not dealer.done:
                for name, dealt in dealer.deal().items():
                    self._send(self._workers[name], dealt)
                self._tend(take)
                beat()
        except BaseException:
            self._forget()
            raise
        finally:
            self._dealer = None

    @property
    def alive(self) -> int:
        """Engines that run now."""
        return len(self._ready())

    @property
    def wanted(self) -> int:
        """Engines that there should be."""
        return len(self._room.parts)

    def kv_cache(self) -> KVCache:
        """Size of the KV caches together."""
        caches = [worker.started.kv_cache for worker in self._ready() if worker.started]
        sizes = [cache.bytes for cache in caches if cache.bytes is not None]
        return KVCache(sum(cache.tokens or 0 for cache in caches), sum(sizes) if sizes else None)

    def prefix_hits(self) -> int:
        """EnginePrompt tokens that the prefix caches have spared since the start."""
        for worker in self._ready():
            with contextlib.suppress(_ray().exceptions.RayError):
                worker.prefix_hits = _ray().get(
                    worker.actor.prefix_hits.remote(), timeout=worker.patience
                )
        return self._lost_hits + sum(worker.prefix_hits for worker in self._workers.values())

    def facts(self) -> dict[str, Any]:
        """What the engines run on and with, by the first; all are alike."""
        return {
            **self._facts,
            "data_parallel_size": self.wanted,
            "engine_start_seconds": self.start_seconds,
        }

    def close(self) -> None:
        """Stop the engines; Ray stays for the next ones. May be called twice."""
        ray = _ray()
        self._closed = True
        workers, self._workers = list(self._workers.values()), {}
        closing = [worker.actor.close.remote() for worker in workers if worker.started]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
        for worker in workers:
            _end(worker)

    def _ready(self) -> list[_HiredEngine]:
        return [worker for worker in self._workers.values() if worker.started is not None]

    def _join(self, worker: _HiredEngine) -> None:
        """Let the dealer deal to an engine that runs."""
        if self._dealer is not None and worker.started is not None:
            self._dealer.join(worker.name, worker.started.most, worker.started.kv_cache.tokens)

    def _send(self, worker: _HiredEngine, dealt: Sequence[DealtPrompt] = ()) -> None:
        """Hand prompts over, and ask for the next report."""
        if not worker.reports:
            worker.heard = time.monotonic()
        prompts = [(item.place, item.prompt) for item in dealt]
        worker.reports.append(worker.actor.work.remote(prompts))

    def _forget(self) -> None:
        """Empty the engines: what is left of a run must not turn up in the next one."""
        for worker in self._ready():
            worker.reports.clear()
            worker.actor.drop.remote()

    def _tend(self, take: Callable[[int, FinishedPrompt, EnginePrompt], None]) -> None:
        """One round: hire who is missing, ask for reports, take what is there, find who hangs."""
        self._hire()
        if self._dealer is not None:
            for name, load in self._dealer.loads.items():
                worker = self._workers[name]
                while load.flying and len(worker.reports) < REPORTS_AHEAD:
                    self._send(worker)
        for worker, result in self._arrived():
            try:
                self._take(worker, _ray().get(result), take)
            except _ray().exceptions.RayTaskError as error:
                if isinstance(error.cause, UserError):
                    raise error.cause from error
                self._lose(worker, f"failed ({_line(error.cause)})")
            except _ray().exceptions.RayError as error:
                self._lose(worker, f"died ({_line(error)})")
        self._end_the_stuck()

    def _arrived(self) -> list[tuple[_HiredEngine, Any]]:
        """Results that are there, waiting for the first for a moment; the first of each engine."""
        results = {}
        for worker in self._workers.values():
            if worker.started is None:
                results[worker.placed if worker.node is None else worker.starting] = worker
            elif worker.reports:
                results[worker.reports[0]] = worker
        if not results:
            time.sleep(REPORT_SECONDS / 10)
            return []
        ready, _ = _ray().wait(list(results), num_returns=1, timeout=REPORT_SECONDS / 2)
        if len(results) > 1:
            ready, _ = _ray().wait(list(results), num_returns=len(results), timeout=0)
        return [(results[result], result) for result in ready]

    def _take(
        self,
        worker: _HiredEngine,
        said: Any,
        take: Callable[[int, FinishedPrompt, EnginePrompt], None],
    ) -> None:
        """What an engine says: where it is, that it runs, or what it finished."""
        if isinstance(said, str):
            worker.node = said
        elif isinstance(said, StartedEngine):
            self._check_equal(worker, said)
            worker.started = said
            self._failed = 0
            logger.info("%s runs (%s).", worker, said.facts.get("device"))
            self._join(worker)
        else:
            worker.reports.pop(0)
            worker.heard = time.monotonic()
            worker.slowest = max(worker.slowest, said.slowest)
            self.non_finite += said.non_finite
            assert self._dealer is not None, "reports of an ended run are forgotten"
            for place, output in said.finished:
                take(place, output, self._dealer.finish(worker.name, place))

    def _check_equal(self, worker: _HiredEngine, started: StartedEngine) -> None:
        """Refuse an engine that is not like the first that ran.

        Raises:
            ClusterError: versions, device or checkpoint differ.
        """
        if self._identity is None:
            self._identity = (str(worker), started.identity)
        first, identity = self._identity
        for name, value in identity.items():
            if started.identity.get(name) != value:
                raise ClusterError(
                    f"{worker} has {name} {started.identity.get(name)}, and {first} has {value}: "
                    "answers may depend on it, so use nodes that are alike."
                )

    def _hire(self) -> None:
        """Start an engine for each that is missing: at the start, after a death, after growth."""
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            self._room.look()
        taken = {worker.place for worker in self._workers.values()}
        for place in range(self.wanted):
            if place not in taken:
                worker = self._hired(place)
                self._workers[worker.name] = worker

    def _hired(self, place: int) -> _HiredEngine:
        options = self._room.options()
        remote = _ray().remote(EngineActor).options(max_restarts=0, **options)
        actor = remote.remote(self._room.parts[place])
        name = f"Engine {next(self._numbers)}"
        plan = self._plan if self._room.fits_a_node else self._plan.over_nodes()
        placed, starting = actor.node.remote(), actor.start.remote(plan, self._make)
        group = getattr(options.get("scheduling_strategy"), "placement_group", None)
        return _HiredEngine(name, place, actor, group, placed, starting, time.monotonic())

    def _lose(self, worker: _HiredEngine, how: str) -> None:
        """Go on without an engine; its prompts are dealt again.

        Raises:
            ClusterError: three engines failed to start one after the other.
            PoisonPromptError: three engines died under one prompt.
        """
        del self._workers[worker.name]
        _end(worker, stuck=True)
        if worker.started is None:
            self._failed += 1
            if self._failed >= FAILED_STARTS:
                raise ClusterError(
                    f"{FAILED_STARTS} engines failed to start one after the other; the last, "
                    f"{worker}, {how}. What it printed above says why; with --output_path the "
                    "same command goes on."
                )
            logger.warning("%s %s before it ran: another is started.", worker, how)
            return
        self._lost_hits += worker.prefix_hits
        dealing = self._dealer is not None and worker.name in self._dealer.loads
        prompts = len(self._dealer.loads[worker.name].flying) if self._dealer and dealing else 0
        logger.warning(
            "%s %s: its %d prompts are dealt again, and another engine is started.",
            worker,
            how,
            prompts,
        )
        if self._dealer is not None and dealing:
            self._dealer.leave(worker.name)

    def _end_the_stuck(self) -> None:
        """End engines that neither start, nor answer, nor get on with one of their prompts."""
        now = time.monotonic()
        if now - self._checked < REPORT_SECONDS:
            return
        self._checked = now
        for worker in list(self._workers.values()):
            if worker.started is None:
                self._check_start(worker, now - worker.hired)
            elif worker.reports and now - worker.heard > worker.patience:
                self._lose(worker, f"was silent for {now - worker.heard:.0f} s")
            elif self._dealer is not None and worker.name in self._dealer.loads:
                dealt = self._dealer.loads[worker.name].overdue()
                if dealt is not None:
                    self._lose(worker, f"does not get on with {dealt.prompt.label}")

    def _check_start(self, worker: _HiredEngine, seconds: float) -> None:
        if worker.node is None and not self._ready() and seconds > PLACE_SECONDS:
            raise ClusterError(
                f"The cluster has found no room for an engine in {seconds:.0f} s: each needs "
                f"{self._room.need}, and {_free()}. Wait until other work has ended, add nodes, or "
                "use a smaller tensor_parallel_size."
            )
        if worker.node is not None and seconds > START_SECONDS:
            self._lose(worker, f"did not start in {seconds:.0f} s")


def describe() -> str:
    """What the cluster, or this machine, has for engines of one process, in words.

    Raises:
        UserError: Ray is missing, or there is no cluster where one is named.
    """
    _init(None)
    room = ClusterRoom(None, 1)
    nodes = len(_nodes())
    has = ", ".join(f"{_total(name):g} {name}s" for name in ("GPU", "CPU") if _total(name))
    return (
        f"{nodes} node{'s' if nodes > 1 else ''} with {has or 'nothing for engines'}; "
        f"data_parallel_size=auto runs {len(room.parts)} engines, with {room.need} each"
    )


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
        # Without "local" Ray joins whatever cluster of the user it finds a record of.
        address = "local"
        options |= {"include_dashboard": False, "num_cpus": engines or 1}
        # Ray's own processes too, should this one be killed.
        end_with_me()
        # Its own processes have 30 s to start, which is not enough on a busy machine.
        os.environ.setdefault("RAY_agent_register_timeout_ms", "300000")
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")
        # Else Ray leaves a token in the home folder.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    for attempt in range(STARTS):
        try:
            ray.init(address=address, **options)
        # A node that does not start is a plain Exception of Ray's.
        except Exception as error:
            if address == "local" and attempt + 1 < STARTS:
                continue
            where = "on this machine" if address == "local" else f"at {ADDRESS}={address!r}"
            raise UserError(
                f"Ray does not run {where} ({_line(error)}): start a cluster and name it in "
                f"{ADDRESS}, or unset {ADDRESS} to use this machine alone."
            ) from error
        return


def _end(worker: _HiredEngine, *, stuck: bool = False) -> None:
    """End an engine's process, also one that was stopped and takes no message."""
    ray = _ray()
    with contextlib.suppress(Exception):
        ray.kill(worker.actor, no_restart=True)
        if worker.group is not None:
            ray.util.remove_placement_group(worker.group)
    if stuck and worker.started is not None and worker.node == _here():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(worker.started.pid, signal.SIGKILL)


def _here() -> str:
    address: str = _ray().util.get_node_ip_address()
    return address


def _nodes() -> list[dict[str, Any]]:
    return [node for node in _ray().nodes() if node["Alive"]]


def _total(resource: str) -> float:
    return sum(float(node["Resources"].get(resource, 0)) for node in _nodes())


def _free() -> str:
    free, total = _ray().available_resources(), _ray().cluster_resources()
    return ", ".join(
        f"{free.get(name, 0):g} of {total[name]:g} {name}s are free"
        for name in ("GPU", "CPU")
        if name in total
    )


def _line(error: BaseException | None) -> str:
    """The first line of what an error says."""
    text = str(error).strip() or repr(error)
    return text.splitlines()[0]
