import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lm_eval_runs import FakeTask, lines, write_run

from iha_eval.cli import main
from iha_eval.compare import build_report, to_markdown, write_report
from iha_eval.errors import UserError


@pytest.fixture(autouse=True)
def page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page in place of the real one, whose figures take seconds."""
    module = ModuleType("iha_eval.compare.render.page")
    module.render = lambda report: f"<html>{report['title']}"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "iha_eval.compare.render.page", module)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    quiz = {side: {"quiz": FakeTask(lines("acc", v))} for side, v in (("a", [1.0]), ("b", [0.0]))}
    return write_run(tmp_path / "a", quiz["a"]), write_run(tmp_path / "b", quiz["b"])


def test_three_files_are_written(files: tuple[Path, Path], tmp_path: Path) -> None:
    report = build_report(*files)
    out = tmp_path / "new" / "folder"
    paths = write_report(report, str(out))
    assert [path.name for path in paths] == ["report.html", "report.md", "report.json"]
    assert sorted(out.iterdir()) == sorted(paths)
    assert json.loads(paths[2].read_bytes()) == report
    assert paths[1].read_text(encoding="utf-8") == to_markdown(report)
    assert paths[0].read_text(encoding="utf-8").startswith("<html>")
    assert all(path.stat().st_mode & 0o400 == 0o400 for path in paths)


def test_what_cannot_be_written_leaves_the_old_files(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = build_report(*files)
    [page, *_] = write_report(report, tmp_path / "out")

    def full(path: Path, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match=r"out cannot be written to \(No space left on device\)"):
        write_report({**report, "title": "new"}, tmp_path / "out")
    assert "new" not in page.read_text()
    assert len(list(page.parent.iterdir())) == 3


def test_a_file_in_the_folders_place_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written to"):
        write_report(build_report(*files), files[0])


def _main(*words: object) -> int:
    return main(["compare", *map(str, words)])


def test_the_command_prints_headlines_warnings_and_paths(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert _main(*files, "--out", out, "--title", "T", "--commit", "c", "--correction", "fdr") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(
        "quiz: not enough data to tell IHA (iha ffffffff) from the baseline"
    )
    assert printed[2:4] == ["quiz", printed[3]]
    assert printed[3].split() == ["n", "IHA", "base", "points", "(95%)", "verdict"]
    assert printed[4].startswith("* quiz  1  100.0")
    assert printed[6].startswith("warning: Both runs are of the same checkpoint")
    assert printed[-3:] == [str(out / f"report.{end}") for end in ("html", "md", "json")]
    report: dict[str, Any] = json.loads((out / "report.json").read_bytes())
    assert report["provenance"]["statistics"]["correction"] == "Benjamini-Hochberg"
    assert report["provenance"]["commit"] == "c"
    told = report["provenance"]["compare"]
    assert told["command"][:3] == ["iha-eval", "compare", str(files[0])]
    assert told["command"][-2:] == ["--correction", "fdr"]
    assert told["options"] == {
        "iha_run": str(files[0]),
        "baseline_run": str(files[1]),
        "unpaired": False,
        "correction": "fdr",
        "margin": 5.0,
        "title": "T",
        "commit": "c",
    }
    assert "report by iha-eval compare" in (out / "report.md").read_text()


def test_tables_are_written_as_csv_and_latex_if_asked(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert _main(*files, "--out", out, "--csv", "--latex") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == [str(out / "report.csv"), str(out / "report.tex")]
    assert (out / "report.csv").read_text().splitlines()[1].startswith("quiz,quiz,quiz,quiz,")
    assert r"\toprule" in (out / "report.tex").read_text()


@pytest.mark.parametrize("unpaired", [False, True])
def test_a_refusal_is_one_line_and_exit_code_2(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], unpaired: bool
) -> None:
    other = write_run(tmp_path / "c", {"quiz": FakeTask(lines("acc", [0.0], gold="43"))})
    words = [files[0], other, "--out", tmp_path / "out", *(["--unpaired"] if unpaired else [])]
    if unpaired:
        assert _main(*words) == 0
        assert "warning: UNPAIRED" in capsys.readouterr().out
        return
    with pytest.raises(SystemExit) as stop:
        _main(*words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "differ in task quiz: target of document 0 of 1" in error
    assert not (tmp_path / "out").exists()
