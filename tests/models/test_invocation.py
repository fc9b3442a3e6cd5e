import contextlib
import json
from pathlib import Path

import pytest

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import Sampling
from iha_eval.models import invocation
from iha_eval.models.invocation import Invocation
from iha_eval.models.journal import Journal
from iha_eval.models.requests import Answer, GenerateRequest, pack

RESULTS = json.dumps({"config": {"iha_eval": {"checkpoint": {"fingerprint": "abc"}}}})
REQUEST = GenerateRequest(0, "gsm8k", 0, 0, pack([1]), Sampling(8))


def begun(output: Path, **given: bool) -> Invocation:
    """A command with a journal of the model abc, which holds an answer that it asked for."""
    command = Invocation(output=output, **given)
    assert command.folder is not None
    journal = Journal(command.folder, {"checkpoint": "abc"})
    journal.add("key", REQUEST, Answer("text", 1, False))
    journal.used.add("key")
    journal.close()
    command.journals.append(journal)
    return command


def save(path: Path, text: str = RESULTS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


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
    [
        ("out", "model/results_2026.json"),
        ("out/v1.0", "v1.0/model/results_2026.json"),
        ("out/r.json", "r_2026.json"),
    ],
    ids=["folder", "folder with a dot", "file"],
)
def test_once_results_are_saved_the_journal_goes(tmp_path: Path, output: str, saved: str) -> None:
    command = begun(tmp_path / output)
    save(tmp_path / "out" / saved)
    command.finish()
    assert list(tmp_path.rglob("journal-*")) == []


@pytest.mark.parametrize(
    "text",
    [RESULTS.replace("abc", "other"), '{"config": {}}', "[]", "torn"],
    ids=["another model's", "another class's", "no results", "torn"],
)
def test_what_another_run_saved_meanwhile_does_not_count(tmp_path: Path, text: str) -> None:
    command = begun(tmp_path)
    save(tmp_path / "model" / "results_now.json", text)
    with pytest.raises(UserError, match="could not save its results"):
        command.finish()


def test_results_of_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    save(tmp_path / "model" / "results_2025.json")
    command = begun(tmp_path)
    with pytest.raises(UserError, match=r"could not save its results under .* are kept in"):
        command.finish()
    assert command.journals[0].path.is_file()


def test_samples_that_were_asked_for_count_too(tmp_path: Path) -> None:
    command = begun(tmp_path, log_samples=True)
    save(tmp_path / "model" / "results_now.json")
    with pytest.raises(UserError, match="could not save its samples"):
        command.finish()
    save(tmp_path / "model" / "samples_task_now.jsonl", "")
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
    Journal(tmp_path, {"checkpoint": "abc"}).close()


@pytest.mark.parametrize(
    "given",
    [
        {"pretrained": "a,b=c", "hf_token": "zx81secret", "lengths": (1, 2)},
        "pretrained=somewhere,hf_token=zx81secret",
    ],
    ids=["mapping", "text"],
)
def test_secrets_of_model_arguments_are_hidden_and_come_back(given: object) -> None:
    command = Invocation()
    hidden = command.hide(given)
    assert hidden["hf_token"] == "***"
    assert "zx81secret" not in str(hidden)
    shown = command.reveal({**hidden, "batch_size": 1})
    assert shown == {**command.model_args, "batch_size": 1}
    assert shown["hf_token"] == "zx81secret"
