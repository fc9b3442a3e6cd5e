import pytest

from iha_eval.errors import UserError
from iha_eval.models.vllm.devices import (
    BIND,
    GPUS,
    THREADS,
    Slice,
    check_gpus,
    core_slices,
    visible_gpus,
)


@pytest.mark.parametrize(
    ("engines", "ranks", "visible"), [(2, 1, "01"), (2, 2, "4567"), (1, 2, "abc")]
)
def test_gpus_for_all_engines_are_enough(engines: int, ranks: int, visible: str) -> None:
    check_gpus(engines, ranks, [*visible])


def test_too_few_gpus_are_one_sentence() -> None:
    sentence = r"data_parallel_size=2 with 4 GPUs for each engine needs 8 GPUs, and 4 are visible"
    with pytest.raises(UserError, match=sentence):
        check_gpus(2, 4, ["0", "1", "2", "3"])


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, [({THREADS: "2"}, {0, 1}), ({THREADS: "2"}, {2, 3})]),
        ({THREADS: "7"}, [({}, {0, 1}), ({}, {2, 3})]),
        ({BIND: "nobind"}, [({THREADS: "2"}, None)] * 2),
        ({BIND: "0|2"}, [({BIND: "0"}, None), ({BIND: "2"}, None)]),
        # Made for another number of ranks: vLLM says so.
        ({BIND: "0|1|2"}, [({THREADS: "2"}, None)] * 2),
    ],
    ids=["dealt out", "threads set", "not bound", "named", "named for others"],
)
def test_each_engine_has_cores_of_its_own(
    environment: dict[str, str], expected: list[tuple[dict[str, str], set[int] | None]]
) -> None:
    wanted = [
        Slice(given, None if cores is None else frozenset(cores)) for given, cores in expected
    ]
    assert core_slices(2, 1, [0, 1, 2, 3], environment) == wanted


def test_ranks_of_an_engine_share_its_cores() -> None:
    assert core_slices(2, 2, [0, 1, 2, 3], {BIND: "0|1|2|3"})[1] == Slice({BIND: "2|3"})
    assert core_slices(2, 2, [0, 1, 2, 3], {})[1] == Slice({THREADS: "1"}, frozenset({2, 3}))


def test_more_engines_than_cores_share_them() -> None:
    found = core_slices(3, 1, [4, 5], {})
    assert [sorted(one.cores or ()) for one in found] == [[4], [5], [4]]


def test_gpus_are_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPUS, "2, 3,")
    assert visible_gpus() == ["2", "3"]
    monkeypatch.delenv(GPUS)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert visible_gpus() == ["0", "1"]
