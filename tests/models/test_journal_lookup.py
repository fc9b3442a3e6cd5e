"""The journal as model classes use it, with the tiny Llama on `iha-hf`."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from lm_eval.api.instance import Instance

from iha_eval import current_model
from iha_eval.models import invocation
from iha_eval.models.hf.model import IHAHF
from iha_eval.models.invocation import Invocation

Make = Callable[..., Instance]


@pytest.fixture(autouse=True)
def nothing_published() -> Iterator[None]:
    yield
    current_model.clear()


@pytest.fixture
def asked(ask: Make) -> list[Instance]:
    """Four samples of each of three questions, eight tokens each."""
    instances = [
        ask("hello world " * (1 + doc), doc, temperature=0.9, max_gen_toks=8) for doc in range(3)
    ]
    return [one for one in instances for _ in range(4)]


def test_an_interrupted_call_goes_on_where_it_stood(
    llama: Path,
    asked: list[Instance],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = IHAHF(llama).generate_until(asked)
    model = IHAHF(llama, journal=tmp_path)
    seen: list[object] = []

    def stop(*_: object) -> None:
        seen.append(1)
        if len(seen) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(IHAHF, "_batch_tokens", 64)
    monkeypatch.setattr("iha_eval.models.run_stats.Progress.finish", stop)
    with pytest.raises(KeyboardInterrupt):
        model.generate_until(asked)
    monkeypatch.undo()

    again = IHAHF(llama, journal=str(tmp_path))
    answers = again.generate_until(asked)
    assert answers == expected
    assert [one.cut for one in answers] == [one.cut for one in expected]
    call = again.calls[-1]
    assert (call.recalled, call.requests) == (6, 6)
    assert call.cut == sum(one.cut for one in expected)
    assert "6 of 12 answers are in" in caplog.text
    assert "6 are left to be generated" in caplog.text


def test_a_finished_call_needs_no_model(
    llama: Path, asked: list[Instance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = IHAHF(llama, journal=tmp_path)
    expected = first.generate_until(asked)
    again = IHAHF(llama, journal=tmp_path)
    monkeypatch.setattr(IHAHF, "_prepare", lambda *_: pytest.fail("a model was loaded"))
    assert again.generate_until(asked) == expected
    facts, before = (model.get_model_info()["iha_eval"] for model in (again, first))
    call = facts["summary"][-1]
    assert (call["recalled_from_journal"], call["requests"]) == (12, 0)
    assert call["generated_tokens_of_recalled"] == before["summary"][-1]["generated_tokens"] > 0
    # What the answers were made on is told, though no engine ran.
    for name in ("backend", "dtype", "device", "attention", "max_model_len"):
        assert facts[name] == before[name]


def test_more_samples_begin_with_those_there_are(
    llama: Path, asked: list[Instance], tmp_path: Path
) -> None:
    first = IHAHF(llama, journal=tmp_path)
    few = first.generate_until(asked[:2])
    again = IHAHF(llama, journal=tmp_path)
    assert again.generate_until(asked[:4])[:2] == few
    assert again.calls[-1].recalled == 2


@pytest.mark.parametrize(
    ("arguments", "kwargs", "said"),
    [
        ({"dtype": "bfloat16"}, {}, "belongs to another run (dtype differ): it is not used"),
        ({}, {"temperature": 0.8}, "4 answers in"),
        ({}, {"max_gen_toks": 9}, "4 answers in"),
        ({"seed": 5}, {}, "4 answers in"),
    ],
    ids=["dtype", "temperature", "budget", "seed"],
)
def test_answers_to_something_else_are_not_used_and_that_is_said(
    llama: Path,
    ask: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    arguments: dict[str, object],
    kwargs: dict[str, object],
    said: str,
) -> None:
    plain = {"temperature": 0.9, "max_gen_toks": 8}
    first = IHAHF(llama, journal=tmp_path)
    first.generate_until([ask("hello", 0, **plain)] * 4)
    again = IHAHF(llama, journal=tmp_path, **arguments)
    again.generate_until([ask("hello", 0, **plain | kwargs)] * 4)
    assert again.calls[-1].recalled == 0
    assert said in caplog.text


def test_two_models_of_one_program_may_share_a_journal(
    llama: Path, asked: list[Instance], tmp_path: Path
) -> None:
    """The file is held only while a call lasts."""
    models = [IHAHF(llama, journal=tmp_path, seed=seed) for seed in (0, 1)]
    for model in models:
        model.generate_until(asked[:2])
    assert models[0].generate_until(asked[:2]) != models[1].generate_until(asked[:2])
    assert [model.calls[-1].recalled for model in models] == [2, 2]


def test_running_out_of_memory_may_be_mended_without_losing_answers(
    llama: Path, asked: list[Instance], tmp_path: Path
) -> None:
    """Arguments of memory and scheduling are no part of what an answer is found by."""
    IHAHF(llama, journal=tmp_path, batch_size=2).generate_until(asked[:2])
    again = IHAHF(llama, journal=tmp_path, batch_size=1)
    again.arguments.engine["max_num_seqs"] = 1
    again.generate_until(asked[:2])
    assert again.calls[-1].recalled == 2


def test_without_a_folder_nothing_is_written(
    llama: Path, asked: list[Instance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    IHAHF(llama).generate_until(asked[:2])
    assert list(tmp_path.iterdir()) == []


def test_it_lies_beside_the_output(llama: Path, asked: list[Instance], tmp_path: Path) -> None:
    model = IHAHF(llama)
    with suppress(KeyboardInterrupt), invocation.running(Invocation(output=tmp_path / "out")):
        model.generate_until(asked[:2])
        raise KeyboardInterrupt
    (found,) = (tmp_path / "out").iterdir()
    assert found.name.startswith("journal-")


@pytest.mark.parametrize("journal", [False, ""], ids=["False", "empty"])
def test_it_can_be_done_without(
    llama: Path, asked: list[Instance], tmp_path: Path, journal: object
) -> None:
    with invocation.running(Invocation(output=tmp_path / "out")):
        IHAHF(llama, journal=journal).generate_until(asked[:2])
    assert not (tmp_path / "out").exists()


def test_fresh_begins_anew(llama: Path, asked: list[Instance], tmp_path: Path) -> None:
    for fresh, recalled in ((False, 0), (False, 2), (True, 0)):
        model = IHAHF(llama)
        with suppress(KeyboardInterrupt), invocation.running(Invocation(tmp_path, fresh=fresh)):
            model.generate_until(asked[:2])
            raise KeyboardInterrupt
        assert model.calls[-1].recalled == recalled


def test_fresh_leaves_answers_to_other_questions_alone(
    llama: Path, asked: list[Instance], tmp_path: Path
) -> None:
    for questions, fresh in ((asked[:4], False), (asked[4:6], True), (asked[:4], False)):
        model = IHAHF(llama)
        with suppress(KeyboardInterrupt), invocation.running(Invocation(tmp_path, fresh=fresh)):
            model.generate_until(questions)
            raise KeyboardInterrupt
    assert model.calls[-1].recalled == 4


def test_a_run_that_ends_well_takes_only_its_own_answers_along(
    llama: Path, asked: list[Instance], tmp_path: Path
) -> None:
    with suppress(KeyboardInterrupt), invocation.running(Invocation(tmp_path)):
        IHAHF(llama).generate_until(asked[:4])
        raise KeyboardInterrupt
    ends_well = IHAHF(llama)
    with invocation.running(Invocation(tmp_path)):
        ends_well.generate_until(asked[:2])
        (tmp_path / "model").mkdir()
        facts = ends_well.get_model_info()
        (tmp_path / "model" / "results_now.json").write_text(
            json.dumps({"config": facts}, default=str)
        )
    again = IHAHF(llama)
    with suppress(KeyboardInterrupt), invocation.running(Invocation(tmp_path)):
        again.generate_until(asked[:4])
        raise KeyboardInterrupt
    assert again.calls[-1].recalled == 2


def test_a_folder_of_the_users_own_is_kept(
    llama: Path, asked: list[Instance], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    model = IHAHF(llama, journal=own)
    with invocation.running(Invocation(output=tmp_path / "out")):
        model.generate_until(asked[:2])
    assert len(list(own.iterdir())) == 1
