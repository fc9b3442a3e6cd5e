import json
import os
from pathlib import Path

import pytest
from lm_eval_runs import STAMP, FakeTask, lines, samples_file, write_run

from iha_eval.compare.inputs.runs import load_run
from iha_eval.errors import UserError

QUIZ = {"quiz": FakeTask(lines("acc", [1.0, 0.0]))}
LATER = "2026-01-03T00-00-00.000001"


@pytest.mark.parametrize("named", ["file", "folder", "folder above"])
def test_a_run_is_found(tmp_path: Path, named: str) -> None:
    file = write_run(tmp_path, QUIZ)
    run = load_run({"file": file, "folder": file.parent, "folder above": str(tmp_path)}[named])
    assert run.path == file
    assert run.stamp == STAMP
    assert run.tasks == ["quiz"]
    assert run.samples == {"quiz": samples_file(file, "quiz")}
    assert run.date == "2026-01-02T03:04:05+00:00"
    assert run.warnings == ()


def test_output_path_that_ends_in_json(tmp_path: Path) -> None:
    file = write_run(tmp_path, QUIZ)
    named = file.rename(file.with_name(f"mine_{STAMP}.json"))
    assert load_run(tmp_path).path == named


def test_of_several_runs_the_newest_counts_and_a_warning_says_so(tmp_path: Path) -> None:
    late = write_run(tmp_path, QUIZ, stamp=LATER)
    early = write_run(tmp_path, QUIZ)
    os.utime(early, (4e9, 4e9))
    run = load_run(tmp_path)
    assert run.path == late
    [warning] = run.warnings
    assert "holds 2 runs" in warning
    assert late.name in warning


def test_a_run_without_a_date_inside_has_that_of_its_name(tmp_path: Path) -> None:
    assert load_run(write_run(tmp_path, QUIZ, date=None)).date == "2026-01-02T03:04:05"


def test_a_task_without_samples_is_left_out_with_a_warning(tmp_path: Path) -> None:
    file = write_run(tmp_path, {**QUIZ, "lost": FakeTask([])})
    samples_file(file, "lost").unlink()
    run = load_run(file)
    assert list(run.samples) == ["quiz"]
    assert "no sample file for lost" in run.warnings[0]


@pytest.mark.parametrize("age", [-1, 1])
def test_a_journal_that_is_newer_than_the_results_is_told(tmp_path: Path, age: int) -> None:
    file = write_run(tmp_path, QUIZ)
    journal = tmp_path / "journal-0123456789ab.jsonl"
    journal.write_text("{}\n")
    when = file.stat().st_mtime + 60 * age
    os.utime(journal, (when, when))
    warnings = load_run(tmp_path).warnings
    assert ["has not ended" in warning for warning in warnings] == ([True] if age > 0 else [])


def _nothing(folder: Path) -> Path:
    return folder / "nowhere"


def _empty(folder: Path) -> Path:
    return folder


def _crashed(folder: Path) -> Path:
    (folder / "journal-0123456789ab.jsonl").write_text("{}\n")
    return folder


def _without_samples(folder: Path) -> Path:
    return write_run(folder, QUIZ, samples=False)


def _torn(folder: Path) -> Path:
    file = write_run(folder, QUIZ)
    file.write_bytes(file.read_bytes()[:100])
    return file


def _nested(folder: Path) -> Path:
    file = write_run(folder, QUIZ)
    file.write_text("[" * 100_000)
    return file


def _foreign(folder: Path) -> Path:
    file = write_run(folder, QUIZ)
    file.write_text(json.dumps({"configs": []}))
    return file


def _of_nothing(folder: Path) -> Path:
    return write_run(folder, {})


def _renamed(folder: Path) -> Path:
    return write_run(folder, QUIZ).rename(folder / "results.json")


def _folder(folder: Path) -> Path:
    place = folder / f"results_{STAMP}.json"
    place.mkdir()
    return place


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_nothing, "does not exist"),
        (_empty, "--output_path"),
        (_crashed, "start the same command again"),
        (_without_samples, "--log_samples"),
        (_torn, "is not whole"),
        (_nested, "is not whole"),
        (_foreign, "is no results file"),
        (_of_nothing, "has results of no task, for its 'configs' is empty"),
        (_renamed, "keep the name"),
        (_folder, "--output_path"),
    ],
)
def test_what_is_no_run_is_refused_in_a_sentence(tmp_path: Path, make, words: str) -> None:
    with pytest.raises(UserError, match=words) as refusal:
        load_run(make(tmp_path))
    assert "\n" not in str(refusal.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch) -> None:
    file = write_run(tmp_path, QUIZ)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied"):
        load_run(file)


@pytest.mark.parametrize(
    "place", ["x" * 300_000, f"{'x/' * 150_000}y", "~no-such-user-here/out", "a\0b"]
)
def test_paths_that_no_file_system_takes_are_refused_in_one_sentence(place: str) -> None:
    with pytest.raises(UserError, match=r"cannot be looked up|does not exist"):
        load_run(place)


CACHED = {"quiz": FakeTask(lines("acc", [1.0] * 20), {"repeats": 2})}


def with_cache(folder: Path, *, ours: bool, effective: int) -> Path:
    """A run that had lm-eval's cache; our classes made 10 answers in it."""
    counts = {"quiz": {"original": 20, "effective": effective}}
    file = write_run(folder, CACHED, ours=ours, **{"n-samples": counts})
    results = json.loads(file.read_text())
    results["config"]["use_cache"] = "cache/answers"
    file.write_text(json.dumps(results))
    return file


def test_a_run_with_answers_of_another_model_is_refused(tmp_path: Path) -> None:
    file = with_cache(tmp_path, ours=True, effective=20)
    words = r"at least 40 answers, of which its model gave 10: .* \(--use_cache cache/answers\)"
    with pytest.raises(UserError, match=words):
        load_run(file)


@pytest.mark.parametrize(("ours", "effective"), [(True, 5), (False, 20)])
def test_a_run_that_may_have_them_is_told_of(tmp_path: Path, ours: bool, effective: int) -> None:
    run = load_run(with_cache(tmp_path, ours=ours, effective=effective))
    assert "was run with --use_cache" in run.warnings[-1]
