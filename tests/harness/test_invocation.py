import contextlib
import os
from pathlib import Path

import pytest

from iha_eval.errors import UserError
from iha_eval.harness import invocation
from iha_eval.harness.invocation import Invocation
from iha_eval.harness.journal import Journal


def begun(output: Path, **given: bool) -> Invocation:
    command = Invocation(output=output, **given)
    assert command.folder is not None
    command.journals.append(Journal(command.folder, {"model": "m"}))
    return command


@pytest.mark.parametrize(
    ("output", "folder"),
    [(None, None), ("out", "out"), ("out/r.json", "out"), ("r.json", ".")],
    ids=str,
)
def test_the_folder_of_the_output(output: str | None, folder: str | None) -> None:
    command = Invocation(output=Path(output) if output else None)
    assert command.folder == (Path(folder) if folder else None)


@pytest.mark.parametrize(
    ("output", "saved"),
    [("out", ["model/results_2026.json"]), ("out/r.json", ["r_2026.json"])],
    ids=["folder", "file"],
)
def test_once_results_are_saved_the_journal_goes(
    tmp_path: Path, output: str, saved: list[str]
) -> None:
    command = begun(tmp_path / output)
    for name in saved:
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_text("{}")
    command.finish()
    assert list((tmp_path / "out").glob("journal-*")) == []


def test_results_of_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    command = begun(tmp_path)
    old = tmp_path / "results_2025.json"
    old.write_text("{}")
    os.utime(old, (command.started - 100, command.started - 100))
    with pytest.raises(UserError, match=r"could not save its results under .* are kept in"):
        command.finish()
    assert command.journals[0].path.is_file()
    command.journals[0].close()


def test_samples_that_were_asked_for_count_too(tmp_path: Path) -> None:
    command = begun(tmp_path, log_samples=True)
    (tmp_path / "results_now.json").write_text("{}")
    with pytest.raises(UserError, match="could not save its samples"):
        command.finish()
    (tmp_path / "samples_task_now.jsonl").write_text("")
    command.finish()
    assert list(tmp_path.glob("journal-*")) == []


def test_without_a_journal_nothing_is_checked(tmp_path: Path) -> None:
    Invocation(output=tmp_path / "never made").finish()


def test_a_command_is_current_while_it_runs_and_lets_go_of_its_journals(tmp_path: Path) -> None:
    command = begun(tmp_path)
    assert invocation.current() is None
    with contextlib.suppress(RuntimeError), invocation.running(command):
        assert invocation.current() is command
        raise RuntimeError("boom")
    assert invocation.current() is None
    Journal(tmp_path, {"model": "m"}).close()
