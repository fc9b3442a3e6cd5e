"""More than two runs: one baseline, one family of p-values; and methods by their training runs."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from lm_eval_runs import FakeTask, lines, write_run

from iha_eval.cli import main
from iha_eval.cli.compare import main as compare_command
from iha_eval.errors import UserError
from tools.report_schema import FILE

QUESTIONS = 200


def quiz(values: Sequence[float]) -> dict[str, FakeTask]:
    return {"quiz": FakeTask(lines("acc", list(values)))}


@pytest.fixture(autouse=True)
def quick_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page in place of each pair's, whose figures take seconds."""
    monkeypatch.setattr("iha_eval.compare.render.page.render", lambda report: "<html>")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run of one model, with a fingerprint of its own; returns its results file."""

    def write(name: str, values: Sequence[float]) -> Path:
        file = write_run(tmp_path / name, quiz(values))
        results = json.loads(file.read_text())
        checkpoint = results["config"]["iha_eval"]["checkpoint"]
        checkpoint |= {"fingerprint": f"{name:x<64}", "name": name}
        file.write_text(json.dumps(results))
        return file

    return write


def compare(out: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    code = main(["compare", *map(str, arguments), "--out", str(out)])
    report: dict[str, Any] = {}
    if code == 0:
        report = json.loads((out / "report.json").read_text())
        jsonschema.validate(report, json.loads(FILE.read_text()))
    return code, report


def share(right: int) -> list[float]:
    """So many right answers, on other questions than those of 100 right answers in all but 97."""
    if right == 100:
        return [1.0] * 100 + [0.0] * 100
    return [0.0] * 3 + [1.0] * right + [0.0] * (QUESTIONS - 3 - right)


def test_each_run_is_compared_with_the_baseline_and_all_are_one_family(
    run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [run(f"m{right}", share(right)) for right in (117, 113, 100)]
    _, family = compare(tmp_path / "out", *runs)
    assert [member["name"] for member in family["members"]] == ["m117", "m113"]
    rows = [member["rows"][0] for member in family["members"]]
    label = "Holm over 2 deciding rows of all tables in 2 comparisons"
    assert [row["correction"] for row in rows] == [label] * 2
    assert rows[0]["p_corrected"] == 2 * rows[0]["p"]
    alone = compare(tmp_path / "alone", runs[0], runs[2])[1]["tables"][0]["rows"][0]
    assert alone["p"] == rows[0]["p"] == alone["p_corrected"]
    printed = capsys.readouterr().out
    assert "m117: quiz: IHA (m117) is better than the baseline (m100)" in printed
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'href="m113/report.html"' in page
    assert "<script" not in page
    assert "[m117](m117/report.md)" in (tmp_path / "out" / "report.md").read_text()
    assert (tmp_path / "out" / "m113" / "report.json").is_file()


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_of_all_fits_the_terminal(
    run: Callable[..., Path],
    tmp_path: Path,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    names = [f"a-model-with-a-long-name-of-number-{right}" for right in (117, 113, 112, 100)]
    runs = [run(name, share(int(name[-3:]))) for name in names]
    compare(tmp_path / "out", *runs)
    printed = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert len(printed) == 4
    assert max(map(len, printed)) <= width
    assert printed[0].split()[-1] == "verdict"
    assert all("points" in line or line.split()[0].startswith("a-model") for line in printed)


def test_the_baseline_may_be_named(run: Callable[..., Path], tmp_path: Path) -> None:
    runs = [run(f"m{right}", share(right)) for right in (100, 117, 113)]
    _, family = compare(tmp_path / "out", *runs, "--baseline", runs[0])
    assert family["baseline"] == "m100"
    assert [member["name"] for member in family["members"]] == ["m117", "m113"]


def drawn(seed: int, shift: float, spread: float = 0.0) -> list[float]:
    """A training run: questions of one difficulty everywhere, a shift of its own, answers drawn."""
    difficulty = np.random.default_rng(0).normal(0, 1.2, QUESTIONS)
    generator = np.random.default_rng(seed)
    skill = difficulty + shift + spread * generator.normal()
    right = generator.random(QUESTIONS) < 1 / (1 + np.exp(-skill))
    return list(right.astype(float))


def seeds(run: Callable[..., Path], name: str, count: int, shift: float, spread: float) -> str:
    start = 100 if name == "iha" else 200
    files = [run(f"{name}{n}", drawn(start + n, shift, spread)) for n in range(count)]
    return f"{name}={','.join(map(str, files))}"


def test_a_method_that_is_better_in_every_training_run_beats_the_other(
    run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = [seeds(run, "iha", 3, 1.5, 0.05), seeds(run, "baseline", 2, 0.0, 0.05)]
    _, family = compare(tmp_path / "out", "--seeds", *groups)
    [row] = family["seeds"]["rows"]
    assert (row["word"], row["seeds_a"], row["seeds_b"], row["n"]) == ("better", 3, 2, QUESTIONS)
    assert "quiz (acc, quiz): iha beats baseline: " in capsys.readouterr().out
    assert "points from training runs, " in row["sentence"]
    assert [member["name"] for member in family["members"]] == ["iha-1", "iha-2"]
    assert "iha beats baseline" in (tmp_path / "out" / "report.html").read_text()
    assert family["title"] == "Training runs: iha (3) against baseline (2)"


def test_training_runs_that_vary_more_than_methods_say_so(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    groups = [seeds(run, "iha", 2, 0.9, 0.6), seeds(run, "baseline", 2, 0.0, 0.6)]
    [row] = compare(tmp_path / "out", "--seeds", *groups)[1]["seeds"]["rows"]
    assert row["word"] == "not enough data"
    assert f"not enough seeds, {row['enough_seeds']} of each would do" in row["sentence"]
    assert row["enough_seeds"] > 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{a}"], "name two runs at least"),
        (["{a}", "--baseline", "{a}"], "no run to compare with the baseline"),
        (["{a}", "{a}", "{b}"], "a run stands there twice"),
        (["--seeds", "iha={a}", "baseline={b}"], "two training runs of one model at least"),
        (["--seeds", "iha={a},{a}", "baseline={b}"], "are of one checkpoint"),
        (["--seeds", "iha={a},{b}"], "beside another one"),
        (["--seeds", "iha"], "as NAME=RUN,RUN,RUN"),
        (["{a}", "--seeds", "iha={a},{b}", "b={b}"], "stands outside --seeds"),
        (["--unpaired", "--seeds", "iha={a},{b}", "b={b}"], "leave out --unpaired"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(
    run: Callable[..., Path], tmp_path: Path, arguments: list[str], words: str
) -> None:
    places = {"a": run("a", share(100)), "b": run("b", share(90))}
    given = [argument.format(**places) for argument in arguments]
    with pytest.raises(UserError, match=words):
        compare_command([*given, "--out", str(tmp_path / "out")])


def test_the_table_of_all_is_written_as_csv_and_latex(
    tmp_path: Path, run: Callable[..., Path]
) -> None:
    runs = [run(name, share(right)) for name, right in (("good", 140), ("a_b", 101), ("base", 100))]
    out = tmp_path / "out"
    _, family = compare(out, *runs, "--csv", "--latex")
    rows = list(csv.DictReader((out / "report.csv").open(encoding="utf-8")))
    members = family["members"]
    assert [row["model"] for row in rows] == [m["name"] for m in members for _ in m["rows"]]
    assert float(rows[0]["points"]) == members[0]["rows"][0]["points"]
    text = (out / "report.tex").read_text()
    assert text.count(r"\begin{tabular}") == text.count(r"\textbf") == 1
    assert "a\\_b & no" in text or "a\\_b & not" in text


def test_the_table_of_training_runs_is_written_as_csv_and_latex(
    tmp_path: Path, run: Callable[..., Path]
) -> None:
    files = [run(f"{name}{n}", share(100 + 2 * n)) for name in ("a", "b") for n in (1, 2)]
    ours, theirs = (",".join(map(str, pair)) for pair in (files[:2], files[2:]))
    out = tmp_path / "out"
    _, family = compare(out, "--seeds", f"iha={ours}", f"baseline={theirs}", "--csv", "--latex")
    [row] = csv.DictReader((out / "report.csv").open(encoding="utf-8"))
    [seeds] = family["seeds"]["rows"]
    assert float(row["seed_error"]) == seeds["seed_error"]
    assert list(map(float, row["means_a"].split())) == seeds["means_a"]
    assert "iha & " in (out / "report.tex").read_text()
