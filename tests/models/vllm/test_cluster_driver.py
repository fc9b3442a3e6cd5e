"""What the driver does when engines and nodes come and go, at the moments that a test chooses.

Ray is a stand-in of a few lines here; test_cluster.py has the real one.
"""

import itertools
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import Sampling
from iha_eval.models.arguments import ModelArguments
from iha_eval.models.vllm import cluster as cluster_module
from iha_eval.models.vllm.cluster import ClusterError, EngineCluster, EngineReport
from iha_eval.models.vllm.dealing import Dealer, EnginePrompt, PoisonPromptError
from iha_eval.models.vllm.devices import BIND, THREADS, EnginePlan, Slice
from tests.models.vllm import fake_engine
from tests.models.vllm.fake_ray import FakeRay, Killed, Stopped


class InProcessEngine(fake_engine.FakeEngine):
    """Dies and stops without taking the test along; knows logits that are not finite."""

    NOT_FINITE = 1100

    def misbehave(self, token: int) -> None:
        if token == fake_engine.POISON:
            raise Killed
        if token == fake_engine.KILLED_ONCE and self.first_time("killed"):
            raise Killed
        if token == fake_engine.FAILS_ONCE and self.first_time("failed"):
            raise RuntimeError("CUDA error: an illegal memory access")
        if token == fake_engine.STOPS_ONCE and self.first_time("stopped"):
            raise Stopped
        self.non_finite += 2 * (token == self.NOT_FINITE)


def make(plan: EnginePlan) -> InProcessEngine:
    return InProcessEngine(plan)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    """Three nodes with room for one engine each, and a clock that only waiting moves."""
    fake = FakeRay(3)
    places = itertools.count()
    fake.util = SimpleNamespace(get_node_ip_address=lambda: f"node {next(places)}")
    monkeypatch.setattr(cluster_module, "_ray", lambda: fake)
    monkeypatch.setattr(cluster_module, "time", fake.clock)
    monkeypatch.setattr(cluster_module, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(fake_engine, "STEP_SECONDS", 0.0)
    for name in ("RAY_ADDRESS", BIND, THREADS):
        monkeypatch.setenv(name, "1")
    return fake


@pytest.fixture
def pool(ray: FakeRay, tmp_path: Path) -> EngineCluster:
    plan = EnginePlan(tmp_path, tmp_path, ModelArguments(), 64, [64])
    return EngineCluster(plan, None, make=make)


def prompt(first: int, length: int = 1, seed: int = 0, answers: int = 1) -> EnginePrompt:
    return EnginePrompt(
        [first] * length, Sampling(8, seed=seed), answers, label=f"document {first}"
    )


def work(count: int) -> list[EnginePrompt]:
    """Prompts of mixed lengths, the longest first, each with a seed of its own."""
    return [prompt(1 + n, count - n, 100 + n, 1 + n % 3) for n in range(count)]


def run(
    pool: EngineCluster, prompts: list[EnginePrompt], beat: Callable[[], None] = lambda: None
) -> list[list[list[int]]]:
    outputs: dict[int, Any] = {}

    def finished(place: int, output: Any) -> None:
        assert place not in outputs, "answered twice"
        outputs[place] = output

    pool.run(iter(prompts), finished, beat)
    return [[list(made.token_ids[1:]) for made in outputs[n].outputs] for n in sorted(outputs)]


def expected(prompts: list[EnginePrompt]) -> list[list[list[int]]]:
    """What one engine answers."""
    return [
        [[each.ids[0], (each.sampling.seed or 0) + n] for n in range(each.answers)]
        for each in prompts
        if each.sampling is not None
    ]


def test_everything_is_answered_once_as_one_engine_answers_it(pool: EngineCluster) -> None:
    prompts = work(100)
    assert run(pool, prompts) == expected(prompts)
    assert pool.alive == 3
    assert pool.kv_cache().tokens == 300
    assert run(pool, []) == []


@pytest.mark.parametrize(
    ("token", "how"),
    [
        (fake_engine.KILLED_ONCE, "died (The actor died.)"),
        (fake_engine.FAILS_ONCE, "failed (CUDA error: an illegal memory access)"),
        (fake_engine.STOPS_ONCE, "was silent for 6"),
        (fake_engine.PASSED_OVER_ONCE, "does not get on with document 1005"),
    ],
    ids=["killed", "fails", "stopped", "passes a prompt over"],
)
def test_an_engine_that_ends_is_replaced(
    token: int, how: str, pool: EngineCluster, caplog: pytest.LogCaptureFixture
) -> None:
    prompts = [*work(30), prompt(token, 3), *(prompt(2 + n % 7, 1, n) for n in range(2000))]
    assert run(pool, prompts) == expected(prompts)
    assert how in caplog.text
    assert caplog.text.count("another is started") == 1
    assert run(pool, work(20)) == expected(work(20))
    assert pool.alive == 3


def test_three_deaths_under_one_prompt_name_it(pool: EngineCluster) -> None:
    outputs: dict[int, Any] = {}
    prompts = [*work(12), prompt(fake_engine.POISON), *work(12)]
    with pytest.raises(PoisonPromptError, match=r"^3 engines died .* document 1004, the last of"):
        pool.run(iter(prompts), outputs.__setitem__, lambda: None)
    # It ran last, so that others were answered but for those that were with it when engines died.
    assert 12 not in outputs
    assert len(outputs) >= 20
    assert run(pool, work(20)) == expected(work(20))


def test_nodes_that_go_and_come_cost_no_answer(pool: EngineCluster, ray: FakeRay) -> None:
    asked: list[EnginePrompt] = []
    seen: list[int] = []

    def prompts() -> Iterator[EnginePrompt]:
        while len(asked) < 300 or len(seen) < 60:
            asked.append(prompt(1 + len(asked) % 50, 1, len(asked)))
            yield asked[-1]

    def beat() -> None:
        seen.append(pool.alive)
        if len(seen) == 10:
            ray.alive -= {0, 1}
        if len(seen) == 30:
            ray.alive |= {7, 8, 9}

    outputs: dict[int, Any] = {}
    pool.run(prompts(), outputs.__setitem__, beat)
    answers = [[list(made.token_ids[1:]) for made in outputs[n].outputs] for n in sorted(outputs)]
    assert answers == expected(asked)
    assert min(seen) == 1
    assert seen[-1] == 4


def test_gpus_that_join_a_head_without_any_get_the_engines(
    ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray.alive, sleep = set(), ray.clock.sleep

    def join(seconds: float) -> None:
        sleep(seconds)
        if ray.clock.now > 1010:
            ray.alive |= {7, 8}
            ray.gpus |= {7, 8}

    monkeypatch.setattr(ray.clock, "sleep", join)
    plan = EnginePlan(tmp_path, tmp_path, ModelArguments(), 64, [64])
    pool = EngineCluster(plan, None, make=make)
    assert run(pool, work(40)) == expected(work(40))
    assert pool.alive == pool.wanted == 2
    assert [(actor.alive, actor.options.get("num_gpus")) for actor in ray.actors] == [
        (False, None),
        (True, 1),
        (True, 1),
    ]


def test_an_address_where_nothing_listens_is_a_sentence_at_once(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself would try for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        cluster_module._reach(address)
    # Names that Ray gives a meaning to.
    for named in ("auto", "ray://head:10001"):
        cluster_module._reach(named)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=rf"^Ray does not run at RAY_ADDRESS='{address}' .*refused"):
        cluster_module.describe()


@pytest.mark.parametrize(
    ("nodes", "gpus", "sentence"),
    [
        (
            2,
            {1},
            "2 nodes with 1 GPU (1 free), 2 CPUs (2 free); data_parallel_size=auto runs 1 engine, "
            "with 1 GPU each",
        ),
        (3, {}, "3 nodes with 3 CPUs (3 free); data_parallel_size=auto runs 3 engines, with a CPU"),
        (0, {}, "0 nodes with nothing for engines; data_parallel_size=auto waits for more to join"),
    ],
)
def test_a_cluster_in_words(
    nodes: int, gpus: set[int], sentence: str, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_init", lambda _: None)
    ray.alive, ray.gpus = set(range(nodes)), set(gpus)
    assert cluster_module.describe().startswith(sentence)


def test_engines_that_run_without_gpus_get_company_of_their_kind(
    pool: EngineCluster, ray: FakeRay
) -> None:
    """A node with a GPU that joins them must not end the run as a different device would."""
    ray.alive |= {7}
    ray.gpus |= {7}
    assert run(pool, work(40)) == expected(work(40))
    assert pool.alive == 4
    assert not any("num_gpus" in actor.options for actor in ray.actors)


@pytest.mark.parametrize(
    ("engines", "cpus", "neighbours"),
    [(3, [1, 1, 1], 1), (6, [1, 8, 8], 3), (2, [8], 2), (9, [1, 2], 2), (None, [8, 8], 1)],
)
def test_memory_is_shared_with_the_engines_of_the_same_node(
    engines: int | None,
    cpus: list[int],
    neighbours: int,
    ray: FakeRay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": n}} for n in cpus]
    )
    assert cluster_module.ClusterRoom(engines, 1).neighbours == neighbours
    # On this machine alone all are neighbours.
    monkeypatch.delenv("RAY_ADDRESS")
    assert cluster_module.ClusterRoom(engines, 1).neighbours == (engines or 1)


def test_each_engine_is_told_its_neighbours(ray: FakeRay, tmp_path: Path) -> None:
    told = []

    def note(plan: EnginePlan) -> InProcessEngine:
        told.append(plan.neighbours)
        return InProcessEngine(plan)

    plan = EnginePlan(tmp_path, tmp_path, ModelArguments(), 64, [64])
    run(EngineCluster(plan, 3, make=note), work(40))
    assert told == [1, 1, 1]


def test_an_engine_that_comes_later_must_be_like_the_first(ray: FakeRay, tmp_path: Path) -> None:
    plan = EnginePlan(tmp_path, tmp_path, ModelArguments(engine={"differ": True}), 64, [64])
    pool = EngineCluster(plan, 1, make=make)
    # The first is gone by then.
    ray.alive -= {0}
    with pytest.raises(ClusterError, match=r"^Engine 2 on .* has torch 2\.0, and Engine 1 on .* 1"):
        run(pool, work(10))


def test_after_they_are_closed_a_run_is_refused(pool: EngineCluster, ray: FakeRay) -> None:
    pool.close()
    pool.close()
    with pytest.raises(ClusterError, match=r"^The engines are closed\.$"):
        run(pool, work(2))
    assert not any(actor.alive for actor in ray.actors)


class EngineOfManyAnswers:
    """Ends five answers of one prompt a step, and never the prompt."""

    non_finite = 0
    unfinished = 0

    def put(self, prompt: EnginePrompt) -> int:
        self.unfinished += prompt.answers
        return 0

    def step(self) -> list[Any]:
        self.unfinished -= 5
        return []


def test_an_engine_reports_when_many_answers_ended_though_no_prompt_did() -> None:
    actor = cluster_module.EngineActor(Slice({}))
    actor._engine = EngineOfManyAnswers()
    report = actor.work([(0, prompt(1, answers=60))])
    assert (report.finished, report.unfinished) == ([], 40)
    assert actor.work([(1, prompt(1, answers=10))]).unfinished == 30


def test_an_engine_is_dealt_more_when_most_of_its_answers_ended(pool: EngineCluster) -> None:
    engine = pool._running()[0]
    pool._dealer = Dealer([prompt(n, answers=4) for n in range(4)], lambda: 1)
    pool._join(engine)
    place = pool._dealer.deal()[engine.name][0][0]
    pool._dealer.deal()
    load = pool._dealer.loads[engine.name]
    assert (place, load.answers, load.has_room) == (0, 8, False)
    engine.pending = [(None, 0), (None, 2)]
    pool._take(engine, EngineReport([], 1, 0.0, 0), lambda *_: None)
    # One that it had, and two that went after that.
    assert (load.answers, load.has_room) == (3, True)


def test_an_engines_work_is_counted_in_tokens_that_it_drew(pool: EngineCluster) -> None:
    engine = pool._running()[0]
    pool._dealer = Dealer([prompt(1, 50, answers=2)], lambda: 1)
    pool._join(engine)
    pool._dealer.deal()
    engine.pending = [(None, 0)]
    made = [SimpleNamespace(token_ids=[4, 5, 6]), SimpleNamespace(token_ids=[7])]
    output = SimpleNamespace(outputs=made)
    pool._take(engine, EngineReport([(0, output)], 0, 0.0, 0), lambda *_: None)
    assert pool._dealer.loads[engine.name].drawn_tokens == 4
    assert output.prompt_token_ids == [1] * 50


def test_logits_that_are_not_finite_are_counted_over_engines(pool: EngineCluster) -> None:
    run(pool, [*work(9), *(prompt(InProcessEngine.NOT_FINITE, 1, n) for n in range(5))])
    assert pool.non_finite == 10


def test_a_replacement_that_is_refused_ends_no_engine_that_runs(
    ray: FakeRay, tmp_path: Path
) -> None:
    """A node may be too full for a replacement; what is refused at the very start is told."""
    starts = itertools.count(1)

    def refuse_the_fourth(plan: EnginePlan) -> InProcessEngine:
        if next(starts) == 4:
            raise UserError("Free memory on device is less than desired.")
        return InProcessEngine(plan)

    plan = EnginePlan(tmp_path, tmp_path, ModelArguments(), 64, [64])
    pool = EngineCluster(plan, None, make=refuse_the_fourth)
    prompts = [prompt(fake_engine.KILLED_ONCE, 50), *work(40)]
    assert run(pool, prompts) == expected(prompts)
    assert next(starts) > 5


def test_an_engine_that_waits_for_a_place_gets_that_of_one_that_died(
    ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it has waited: Ray takes a moment for it."""
    ray.alive = {0}
    place, died = ray.place, []

    def placed_a_second_later(options: dict[str, Any]) -> int | None:
        if any(not actor.alive for actor in ray.actors):
            died.append(ray.clock.now)
        return None if died and ray.clock.now < died[0] + 1 else place(options)

    monkeypatch.setattr(ray, "place", placed_a_second_later)
    plan = EnginePlan(tmp_path, tmp_path, ModelArguments(), 64, [64])
    pool = EngineCluster(plan, 2, make=make)
    prompts = [*work(10), prompt(fake_engine.KILLED_ONCE)]
    waits = iter([500.0])
    assert run(pool, prompts, lambda: ray.clock.sleep(next(waits, 0.0))) == expected(prompts)
    assert died


def test_short_steps_do_not_shorten_the_patience_with_long_ones(pool: EngineCluster) -> None:
    run(pool, work(8))
    engine = next(iter(pool._engines.values()))
    assert engine.started is not None
    engine.started.facts["max_num_batched_tokens"] = 4096
    engine.slowest = 0.0
    before = engine.patience
    engine.slowest = 0.02
    assert engine.patience == before > 200


def test_log_probabilities_need_no_class_of_vllm() -> None:
    entry = SimpleNamespace(logprob=-0.5, rank=1, decoded_token="a")
    output = SimpleNamespace(
        request_id="1", prompt_logprobs=[None, {7: entry}], outputs=[], metrics=None
    )
    assert cluster_module.plain(output).prompt_logprobs == [
        None,
        {7: SimpleNamespace(logprob=-0.5)},
    ]
