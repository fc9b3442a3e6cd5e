"""Prompts dealt over the nodes of a simulated cluster, with engines of a few lines.

Ray listens on every address of the machine. So this file runs itself once more in a network of its
own, which has nothing but 127.0.0.1, and the tests below run there alone. All are `long`, since
Ray's own processes give up where a machine is busy; test_cluster_driver.py does without Ray.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import Sampling
from iha_eval.models.arguments import ModelArguments
from iha_eval.models.vllm import cluster as cluster_module
from iha_eval.models.vllm.cluster import ClusterError, EngineCluster
from iha_eval.models.vllm.dealing import EnginePrompt, PoisonPromptError
from iha_eval.models.vllm.devices import EnginePlan
from tests.models import test_resume
from tests.models.vllm import fake_engine

INSIDE = os.environ.get("IHA_TEST_OWN_NETWORK") == "1"
ROOT = Path(__file__).parents[3]
inside = pytest.mark.skipif(not INSIDE, reason="runs inside test_in_a_network_of_its_own")
Start = Callable[..., EngineCluster]


@pytest.mark.skipif(INSIDE, reason="runs the others")
@pytest.mark.long
def test_in_a_network_of_its_own() -> None:
    """Runs the tests of this file that need Ray."""
    pytest.importorskip("ray", reason="the extra 'cluster' is not installed")
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], check=False).returncode:
        pytest.skip("this machine does not allow a network of one's own (unshare -n)")
    options = ["-q", "-rs", "-p", "no:cacheprovider"]
    script = 'ip link set lo up 2>/dev/null || ifconfig lo up; exec "$@"'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "pytest", *options, __file__]
    done = subprocess.run(
        [unshare, "-rn", *command],
        env={**os.environ, "IHA_TEST_OWN_NETWORK": "1", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    if NO_START in done.stdout:
        pytest.skip(NO_START)
    assert " passed" in done.stdout


NO_START = "Ray does not start in time on this machine"


def add_node(cluster: Any, **resources: Any) -> Any:
    """Add a node; skip the test where Ray's own processes take longer than Ray waits, thrice.

    Each has 15 s, which cannot be set, and on a machine that is busy with other things not enough.
    """
    for _ in range(3):
        # Ray may also end the process that starts it.
        with contextlib.suppress(Exception, SystemExit):
            return cluster.add_node(include_dashboard=False, **resources)
    pytest.skip(NO_START)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Three nodes with room for one engine each."""
    from ray.cluster_utils import Cluster

    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SCHEDULER_EVENTS": "0",
        "RAY_AUTH_TOKEN": "0" * 64,
        # On a busy machine its own helper processes are slow to start.
        "RAY_agent_register_timeout_ms": "300000",
        "RAY_raylet_start_wait_time_s": "300",
        # A removed node is noticed within seconds, and a slow one is not taken for removed.
        "RAY_health_check_initial_delay_ms": "0",
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_timeout_ms": "10000",
        "RAY_health_check_failure_threshold": "3",
    }
    cluster = Cluster()
    for _ in range(3):
        add_node(cluster, num_cpus=1)
    os.environ["RAY_ADDRESS"] = cluster.address
    yield cluster
    import ray

    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def start(nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts fake engines: `start(engines, **arguments)`."""
    monkeypatch.setattr(cluster_module, "STEP_SECONDS", 4.0)
    monkeypatch.setattr(cluster_module, "PLACE_SECONDS", 120.0)
    monkeypatch.setattr(cluster_module, "LOOK_SECONDS", 0.5)
    started = []

    def make(engines: int | None = 2, **arguments: Any) -> EngineCluster:
        plan = EnginePlan(tmp_path, tmp_path, ModelArguments(engine=arguments), 64, [64])
        ranks = int(arguments.pop("ranks", 1))
        started.append(EngineCluster(plan, engines, ranks, make=fake_engine.make))
        return started[-1]

    yield make
    for engines in started:
        engines.close()


def prompt(first: int, length: int = 1, seed: int = 0, answers: int = 1) -> EnginePrompt:
    sampling = Sampling(max_tokens=8, seed=seed)
    return EnginePrompt([first] * length, sampling, answers, label=f"document {first}")


def work(count: int) -> list[EnginePrompt]:
    """Prompts of mixed lengths, the longest first, each with a seed of its own."""
    return [prompt(1 + n, count - n, 100 + n, 1 + n % 3) for n in range(count)]


def run(
    engines: EngineCluster, prompts: list[EnginePrompt], beat: Any = lambda: None
) -> dict[int, Any]:
    outputs: dict[int, Any] = {}

    def finished(place: int, output: Any) -> None:
        assert place not in outputs, "answered twice"
        outputs[place] = output

    engines.run(iter(prompts), finished, beat)
    return outputs


def answers(outputs: dict[int, Any]) -> list[list[list[int]]]:
    """By place; without the process."""
    return [[list(made.token_ids[1:]) for made in outputs[n].outputs] for n in sorted(outputs)]


def expected(prompts: list[EnginePrompt]) -> list[list[list[int]]]:
    """What one engine answers."""
    return [
        [[one.ids[0], (one.sampling.seed or 0) + n] for n in range(one.answers)]
        for one in prompts
        if one.sampling is not None
    ]


def processes(outputs: dict[int, Any]) -> list[int]:
    return [outputs[place].outputs[0].token_ids[0] for place in sorted(outputs)]


def wait_for(engines: EngineCluster, count: int) -> None:
    end = time.monotonic() + 120
    while engines.alive < count and time.monotonic() < end:
        engines._tend(lambda *_: None)
    assert engines.alive == count


@inside
def test_nothing_is_lost_whatever_happens_to_engines_and_nodes(
    start: Start, nodes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One set of engines from run to run, since each takes seconds to start."""
    pool = start(None)
    wait_for(pool, 3)
    # Dealt over all of them.
    prompts = work(40)
    outputs = run(pool, prompts)
    assert answers(outputs) == expected(prompts)
    assert len(set(processes(outputs))) == 3
    assert [list(outputs[place].prompt_token_ids) for place in range(40)] == [
        list(one.ids) for one in prompts
    ]
    assert (pool.kv_cache().tokens, pool.kv_cache().bytes) == (300, 3000)
    assert pool.prefix_hits() == 40
    assert pool.facts()["data_parallel_size"] == 3
    assert run(pool, []) == {}
    # They stay.
    assert set(processes(run(pool, prompts))) == set(processes(outputs))
    ends_and_is_replaced(pool, caplog)
    loses_a_node_and_gets_one(pool, nodes)
    names_a_poison(pool)
    # Nothing of a run that ended so is left.
    assert answers(run(pool, prompts)) == expected(prompts)


def ends_and_is_replaced(pool: EngineCluster, caplog: pytest.LogCaptureFixture) -> None:
    """Killed, failed, stopped, and one that passes a prompt over."""
    ends = {
        fake_engine.KILLED_ONCE: "died",
        fake_engine.FAILS_ONCE: "failed (CUDA error: an illegal memory access)",
        fake_engine.STOPS_ONCE: "was silent for",
    }
    prompts = [*(prompt(token, 3) for token in ends), *work(60)]
    assert answers(run(pool, prompts)) == expected(prompts)
    prompts = [prompt(fake_engine.PASSED_OVER_ONCE, 3)]
    prompts += [prompt(2 + n % 7, 1, n) for n in range(3000)]
    assert answers(run(pool, prompts)) == expected(prompts)
    for how in (*ends.values(), "does not get on with document 1005"):
        assert how in caplog.text
    assert "prompts are dealt again" in caplog.text


def loses_a_node_and_gets_one(pool: EngineCluster, nodes: Any) -> None:
    wait_for(pool, 3)
    changed: list[Any] = []
    outputs: dict[int, Any] = {}
    asked: list[EnginePrompt] = []

    def prompts() -> Iterator[EnginePrompt]:
        """As many as it takes until the new node has an engine."""
        while len(asked) < 100 or pool.alive < 3 or len(changed) < 2:
            asked.append(prompt(1 + len(asked) % 50, 1, len(asked)))
            yield asked[-1]

    def beat() -> None:
        if not changed and len(outputs) > 20:
            changed.append(nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False))
        elif len(changed) == 1 and pool.alive == 2:
            changed.append(add_node(nodes, num_cpus=1))

    pool.run(prompts(), outputs.__setitem__, beat)
    assert answers(outputs) == expected(asked)
    assert len(changed) == 2


def names_a_poison(pool: EngineCluster) -> None:
    kept: dict[int, Any] = {}
    prompts = [*work(12), prompt(fake_engine.POISON), *work(12)]
    with pytest.raises(PoisonPromptError, match=r"^3 engines died .* document 1004, the last of"):
        pool.run(iter(prompts), kept.__setitem__, lambda: None)
    # All others were answered, before or between.
    assert len(kept) >= 12
    assert 12 not in kept


@inside
def test_a_refusal_is_vllms_sentence(start: Start) -> None:
    with pytest.raises(UserError, match=r"^vLLM does not start: the model is too large\.$"):
        start(2, refused=True)


@inside
@pytest.mark.parametrize(
    ("fault", "how"),
    [("dies_at_start", "died"), ("fails_at_start", r"failed \(no kernel image is available\)")],
    ids=str,
)
def test_three_failed_starts_end_the_run(start: Start, fault: str, how: str) -> None:
    with pytest.raises(ClusterError, match=r"^3 engines failed to start.*" + how) as caught:
        start(2, **{fault: True})
    assert "\n" not in str(caught.value)


@inside
def test_engines_that_are_not_alike_are_refused(start: Start) -> None:
    def both() -> None:
        pool = start(2, differ=True)
        wait_for(pool, 2)

    with pytest.raises(
        ClusterError, match=r"^Engine \d .* has torch \d\.0, and Engine \d .* has \d"
    ):
        both()


@inside
def test_a_cluster_without_room_is_a_sentence(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "PLACE_SECONDS", 2.0)
    monkeypatch.setattr(cluster_module.ClusterRoom, "options", lambda _: {"num_cpus": 8})
    with pytest.raises(
        ClusterError,
        match=r"no room for an engine in \d+ s: each needs a CPU, and 0 of 0 GPUs, [34]",
    ):
        start(1)


@inside
def test_after_an_error_in_between_the_engines_are_empty_again(start: Start) -> None:
    pool = start(2)
    handed = []

    def finished(place: int, output: Any) -> None:
        handed.append(place)
        if len(handed) == 3:
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        pool.run(iter(work(30)), finished, lambda: None)
    prompts = work(20)
    assert answers(run(pool, prompts)) == expected(prompts)


@inside
def test_engines_of_vllm_answer_as_one_does_whatever_happens(
    nodes: Any,
    llama: Path,
    ask: Callable[..., Any],
    weigh: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """To the last bit: an engine killed, stopped, its node gone and one added, all mid-run."""
    from iha_eval.models.vllm.model import IHAVLLM

    asked = [
        ask("hello world " * (1 + doc), doc, max_gen_toks=60 + 4 * doc, temperature=0.9)
        for doc in range(14)
        for _ in range(3)
    ]
    pairs = [weigh("hello " * (1 + doc), "world", doc) for doc in range(6)]
    settings: dict[str, Any] = {"kv_cache_memory_bytes": 32 * 2**20, "max_num_seqs": 4}
    alone = IHAVLLM(llama, journal=False, **settings)
    answers = alone.generate_until(asked)
    scores = alone.loglikelihood(pairs)
    alone.close()
    several = IHAVLLM(llama, journal=False, data_parallel_size=2, **settings)
    try:
        assert several.generate_until(asked) == answers
        assert several.loglikelihood(pairs) == scores
        pool = several._engine
        assert isinstance(pool, EngineCluster)
        work_through = pool.run
        monkeypatch.setattr(cluster_module, "STEP_SECONDS", 20.0)
        monkeypatch.setattr(cluster_module, "TOKEN_SECONDS", 0.0)
        monkeypatch.setattr(cluster_module, "SLOWEST_STEPS", 2)
        for event in ("kill", "stop", "remove a node", "add a node"):
            wait_for(pool, 2)
            processes = {e.name: process(pool, e.actor) for e in pool._running()}
            seen = []

            def happen(event: str = event, processes: dict[str, int] = processes) -> None:
                working = next(name for name, load in pool._dealer.loads.items() if load.flying)
                if event == "kill":
                    os.kill(processes[working], signal.SIGKILL)
                elif event == "stop":
                    os.kill(processes[working], signal.SIGSTOP)
                elif event == "remove a node":
                    nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
                else:
                    add_node(nodes, num_cpus=1)

            def run_with_event(
                prompts: Any, finished: Any, beat: Any, happen: Any = happen, seen: Any = seen
            ) -> None:
                def after_three(place: int, output: Any) -> None:
                    finished(place, output)
                    seen.append(place)
                    if len(seen) == 3:
                        happen()

                work_through(prompts, after_three, beat)

            monkeypatch.setattr(pool, "run", run_with_event)
            assert several.generate_until(asked) == answers, event
            assert len(seen) >= 14
    finally:
        several.close()
    assert "was silent for" in caplog.text
    assert "died (" in caplog.text


def process(pool: EngineCluster, actor: Any) -> int:
    """Id of an engine's process."""
    return int(pool._ray.get(actor.__ray_call__.remote(lambda _: os.getpid())))


@inside
def test_ranks_that_no_node_has_room_for_go_over_nodes(
    nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    gpus = [add_node(nodes, num_cpus=1, num_gpus=1) for _ in range(2)]
    try:
        room = cluster_module.ClusterRoom(None, 2)
        assert not room.fits_a_node
        assert len(room.parts) == 1
        group: PlacementGroup = room.options()["scheduling_strategy"].placement_group
        assert group.wait(30)
        assert group.bundle_specs == [{"GPU": 1.0, "CPU": 1.0}] * 2
        remove_placement_group(group)
    finally:
        for node in gpus:
            nodes.remove_node(node)


@inside
def test_all_engines_are_gone_after_the_driver_is_killed(nodes: Any, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.models.vllm.test_cluster import *\n"
        "folder = Path(sys.argv[1])\n"
        "arguments = ModelArguments(engine={'step_seconds': 0.05})\n"
        "pool = EngineCluster(EnginePlan(folder, folder, arguments, 64, [64]), 2,\n"
        "                     make=fake_engine.make)\n"
        "wait_for(pool, 2)\n"
        "pool.run(iter(work(40) * 100), lambda *_: None, lambda: None)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT)
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("started-*"))) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    engines = [int(note.name.split("-")[1]) for note in tmp_path.glob("started-*")]
    assert len(engines) == 2
    time.sleep(1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    end = time.monotonic() + 30
    while any(alive(pid) for pid in engines) and time.monotonic() < end:
        time.sleep(0.1)
    assert Counter(alive(pid) for pid in engines) == {False: 2}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@inside
def test_a_driver_that_is_killed_goes_on_to_the_answers_of_one_engine(
    nodes: Any, tmp_path: Path
) -> None:
    """lm-eval's command with two engines of vLLM, killed when its journal holds five answers."""

    def command(output: str, engines: int) -> list[str]:
        given = f"pretrained=embedded-iha,data_parallel_size={engines},max_num_seqs=1"
        return [
            *(sys.executable, "-m", "lm_eval", "--model", "iha-vllm"),
            *("--model_args", f"{given},kv_cache_memory_bytes={32 * 2**20}"),
            *("--tasks", "ruler_mk_lengths", "--metadata", '{"lengths": [512]}', "--limit", "8"),
            *("--gen_kwargs", "max_gen_toks=48", "--log_samples"),
            *("--output_path", str(tmp_path / output)),
        ]

    subprocess.run(command("one", 1), cwd=ROOT, check=True)
    driver = subprocess.Popen(command("two", 2), cwd=ROOT)
    test_resume.wait_for(tmp_path / "two", 5)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert not list(tmp_path.glob("two/*/results_*.json"))
    subprocess.run(command("two", 2), cwd=ROOT, check=True)
    one, two = (test_resume.saved(tmp_path / output) for output in ("one", "two"))
    assert two == one
    assert test_resume.summary(tmp_path / "two")["recalled_from_journal"] >= 5
