"""Prompts dealt over several processes: with engines of a few lines, and once with vLLM's."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iha_eval.errors import UserError
from iha_eval.models.vllm import replicas as replicas_module
from iha_eval.models.vllm.devices import Slice
from iha_eval.models.vllm.replicas import ReplicaError, Replicas

# First token of a prompt: what replica_child.py does when it meets it.
KILLED, FAILS, LETS_GO, LEAVES_A_CHILD, HANGS = 1001, 1002, 1003, 1004, 1005
CHILD = Path(__file__).with_name("replica_child.py")
Start = Callable[..., Replicas]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts fake replicas: `start(count, **arguments)`."""
    monkeypatch.setattr(replicas_module, "HEARTBEAT", 0.05)
    started = []

    def make(count: int = 2, **arguments: Any) -> Replicas:
        found = Replicas(
            {"max_model_len": 64, **arguments},
            [Slice({"CUDA_VISIBLE_DEVICES": str(place)}) for place in range(count)],
            command=[sys.executable, str(CHILD)],
        )
        started.append(found)
        return found

    yield make
    for one in started:
        one.close()


def params(seed: int = 0, n: int = 1) -> Any:
    return SimpleNamespace(n=n, seed=seed, max_tokens=8)


def work(count: int) -> list[tuple[list[int], Any]]:
    """Prompts of mixed lengths, the longest first, each with a seed of its own."""
    return [
        ([1 + place] * (count - place), params(100 + place, 1 + place % 3))
        for place in range(count)
    ]


def run(engines: Replicas, prompts: list[tuple[list[int], Any]]) -> dict[int, Any]:
    outputs: dict[int, Any] = {}
    engines.run(iter(prompts), outputs.__setitem__, lambda: None)
    return outputs


def answers(outputs: dict[int, Any]) -> list[list[list[int]]]:
    """By place; without the process."""
    return [[list(made.token_ids[1:]) for made in outputs[n].outputs] for n in sorted(outputs)]


def processes(outputs: dict[int, Any]) -> list[int]:
    return [outputs[place].outputs[0].token_ids[0] for place in sorted(outputs)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_answers_do_not_depend_on_the_number_of_replicas(start: Start, count: int) -> None:
    prompts = work(20)
    outputs = run(start(count), prompts)
    assert answers(outputs) == [
        [[ids[0], asked.seed + one] for one in range(asked.n)] for ids, asked in prompts
    ]
    assert len(set(processes(outputs))) == count
    assert [list(outputs[place].prompt_token_ids) for place in range(20)] == [
        ids for ids, _ in prompts
    ]


def test_replicas_stay_from_run_to_run(start: Start) -> None:
    engines = start()
    first = set(processes(run(engines, work(8))))
    assert set(processes(run(engines, work(8)))) == first
    assert run(engines, []) == {}


def test_times_are_handed_on_where_there_are_some(start: Start) -> None:
    outputs = run(start(), [([1], params()), ([2], params())])
    assert (outputs[0].metrics.scheduled_ts, outputs[0].metrics.last_token_ts) == (1.0, 3.0)
    assert outputs[1].metrics is None


def test_more_samples_of_a_document_stay_on_one_replica(start: Start) -> None:
    """But those of the last one, for which the other might wait."""
    prompts = [([1 + doc, 7], params(10 * part)) for doc in range(7) for part in range(5)]
    found = processes(run(start(), prompts))
    assert [len(set(found[5 * doc : 5 * doc + 5])) for doc in range(6)] == [1] * 6
    assert len(set(found)) == 2


@pytest.mark.parametrize(
    ("documents", "samples"), [(1, 64), (2, 8)], ids=["one question", "two questions"]
)
def test_no_replica_is_idle_for_want_of_documents(
    start: Start, documents: int, samples: int
) -> None:
    prompts = [([1 + doc], params(seed)) for doc in range(documents) for seed in range(samples)]
    outputs = run(start(4), prompts)
    assert sorted(Counter(processes(outputs)).values()) == [documents * samples // 4] * 4
    assert answers(outputs) == [[[ids[0], asked.seed]] for ids, asked in prompts]


def test_the_next_prompt_goes_to_whoever_has_the_fewest_tokens_to_do(start: Start) -> None:
    long, *short = processes(
        run(start(), [([1] * 200, params()), *[([2 + n], params()) for n in range(3)]])
    )
    assert set(short) == set(short) - {long}


def test_what_they_have_is_added_up(start: Start) -> None:
    engines = start(3)
    assert (engines.kv_cache().tokens, engines.kv_cache().bytes) == (300, 3000)
    run(engines, work(9))
    assert engines.prefix_hits() == 9
    facts = engines.facts()
    assert (facts["device"], facts["data_parallel_size"]) == ("fake", 3)
    assert facts["engine_start_seconds"] == engines.start_seconds > 0


@pytest.mark.parametrize(
    ("token", "how"),
    [
        (KILLED, "was ended by SIGKILL, as the system does where memory runs out"),
        (FAILS, "ended with exit code 3, and what it printed above says why"),
        (LEAVES_A_CHILD, "ended with exit code 4"),
        (LETS_GO, "closed its line: run the same command again"),
    ],
    ids=["killed", "fails", "leaves a child that keeps the line", "lets go of the line"],
)
def test_a_replica_that_ends_is_one_sentence_and_what_was_finished_is_kept(
    start: Start, monkeypatch: pytest.MonkeyPatch, token: int, how: str
) -> None:
    engines = start()
    kept: dict[int, Any] = {}
    if token == LETS_GO:
        monkeypatch.setattr(replicas_module, "PATIENCE", 0.2)

    def prompts() -> Iterator[tuple[list[int], Any]]:
        yield from work(12)
        # Handed over once the others are under way.
        yield [token], params()

    with pytest.raises(ReplicaError, match=r"^Replica [12] of 2 \(GPUs [01]\) " + how) as caught:
        engines.run(prompts(), kept.__setitem__, lambda: None)
    assert "\n" not in str(caught.value)
    assert kept
    assert all(list(kept[n].outputs[0].token_ids[1:]) == [1 + n, 100 + n] for n in kept)
    # Nothing can be handed to a process that is gone.
    with pytest.raises(ReplicaError, match=r"^Replica [12] of 2"):
        run(engines, work(12))


def test_a_refusal_is_vllms_sentence_and_no_process_is_left(start: Start) -> None:
    with pytest.raises(UserError, match=r"^vLLM does not start: the model is too large\.$"):
        start(refused=True)


def test_a_replica_that_does_not_start_says_so(start: Start) -> None:
    with pytest.raises(ReplicaError, match=r"^Replica 1 of 2 \(GPUs 0\) ended with exit code 5"):
        start(fails=True)


def test_after_an_error_in_between_the_replicas_are_empty_again(start: Start) -> None:
    engines = start()
    handed = []

    def finished(place: int, output: Any) -> None:
        handed.append(place)
        if len(handed) == 3:
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        engines.run(iter(work(12)), finished, lambda: None)
    prompts = work(8)
    assert answers(run(engines, prompts)) == answers(run(start(), prompts))


def test_an_interrupt_while_they_are_emptied_ends_them(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next run would take an old answer for one of its own."""
    engines = start(2)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engines._replicas[0], "drop", interrupt)
    with pytest.raises(KeyboardInterrupt):
        engines.run(iter(work(12)), interrupt, lambda: None)
    with pytest.raises(ReplicaError):
        run(engines, work(2))


@pytest.mark.parametrize("busy", [0, 2])
def test_a_run_after_they_are_closed_is_refused(
    start: Start, busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Busy replicas are dealt nothing, so only the closed line itself can tell."""
    engines = start(2)
    engines.close()
    monkeypatch.setattr(engines._replicas[0], "drop", lambda: pytest.fail("it is closed"))
    for replica in engines._replicas[:busy]:
        replica.asked = replica.most
        replica.flying[0] = [1], 1, 1
    with pytest.raises(ReplicaError):
        run(engines, work(2))


def test_a_replica_that_does_not_end_is_ended(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas_module, "PATIENCE", 0.2)
    engines = start(1)
    monkeypatch.setattr(engines, "_collect", lambda _: (_ for _ in ()).throw(ReplicaError))
    with pytest.raises(ReplicaError):
        run(engines, [([HANGS], params())])
    (process,) = [one._process for one in engines._replicas]
    # It has begun with the prompt once it does not answer.
    time.sleep(0.2)
    engines.close()
    assert process.returncode == -9
    engines.close()


def test_cores_are_kept_to() -> None:
    engines = Replicas(
        {"max_model_len": 64},
        [Slice({}, frozenset({min(os.sched_getaffinity(0))}))],
        command=[sys.executable, str(CHILD)],
    )
    (replica,) = engines._replicas
    found = os.sched_getaffinity(replica._process.pid)
    engines.close()
    assert found == {min(os.sched_getaffinity(0))}
