"""Scores for trackers: the mapping, what is sent once, and each client in its offline mode.

The clients are not among the packages that tests need: where one is not installed its test is
skipped, visibly, and a stand-in that notes its calls takes its place in the others.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_nights import FakeNights, quick_page
from lm_eval_runs import FakeTask, lines, write_run

from iha_eval import trackers
from iha_eval.cli import main
from iha_eval.errors import UserError

SCORES: trackers.Scores = {500: {"math/p_at_1/iha": 0.5, "a b/c/points": -3.0}, 1000: {"x": 1.0}}

ROW = {"task": "math", "metric": "p@1", "label": "a", "iha": 0.5, "baseline": None, "points": 2}
ROW |= {"low": -1.0, "high": 5.0, "p_corrected": float("nan")}


def test_the_mapping_of_a_report() -> None:
    report = {"tables": [{"rows": [ROW, {**ROW, "label": "b"}]}]}
    first = {"math/p_at_1/iha": 0.5, "math/p_at_1/points": 2.0}
    first |= {"math/p_at_1/low": -1.0, "math/p_at_1/high": 5.0}
    again = {name.replace("p_at_1/", "p_at_1/b/"): value for name, value in first.items()}
    assert trackers.scores_of(report, 3) == {3: first | again}
    family = {"kind": "family", "members": [{"name": "p2", "rows": [ROW]}]}
    assert trackers.scores_of(family)[0]["p2/math/p_at_1/points"] == 2.0


def test_the_mapping_of_a_watch() -> None:
    nights = [{"step": 500, "mean": 0.5}, {"step": 1000, "mean": None}]
    look = {"step": 500, "points": 1.0, "low": 0.0, "high": 2.0, "looks_low": -1.0, "looks_high": 3}
    report = {
        "kind": "watch",
        "trend": [{"task": "math", "metric": "maj@4", "model": "iha", "nights": nights}],
        "trend_differences": [{"task": "math", "metric": "maj@4", "nights": [look]}],
        "mixing": [{"step": 500, "alpha_q": 0.25}],
    }
    name = "math/maj_at_4"
    assert trackers.scores_of(report) == {
        500: {
            f"{name}/iha": 0.5,
            f"{name}/points": 1.0,
            f"{name}/low": 0.0,
            f"{name}/high": 2.0,
            f"{name}/looks_low": -1.0,
            f"{name}/looks_high": 3.0,
            "mixing/alpha_q": 0.25,
        },
        1000: {},
    }


def test_a_missing_client_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read or run, whatever the command."""
    config = str(FakeNights(tmp_path).file)
    for tracker in trackers.TRACKERS:
        monkeypatch.setitem(sys.modules, tracker, None)
        for words in (
            ["compare", "a", "b", "--out", str(tmp_path / "out")],
            ["nightly", config],
            ["watch", "--iha", "a", "--baseline", "b", config],
        ):
            with pytest.raises(SystemExit) as ended:
                main([*words, "--to", tracker])
            assert ended.value.code == 2
            [sentence] = capsys.readouterr().err.splitlines()
            assert f"--to {tracker} needs its client, which is not installed" in sentence
            assert sentence.endswith(f"pip install 'iha-eval[{tracker}]'")
    assert not (tmp_path / "nights").exists()


class FakeClient(SimpleNamespace):
    """Trackio's calls, noted; `broken` makes it fail."""

    def __init__(self) -> None:
        super().__init__(calls=[], broken=False)

    def init(self, **named: Any) -> None:
        if self.broken:
            raise ConnectionError("no route to host")
        self.calls.append(named)

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.calls.append((step, numbers))

    def finish(self) -> None:
        self.calls.append("finish")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    made = FakeClient()
    monkeypatch.setitem(sys.modules, "trackio", made)
    return made


def test_a_step_is_sent_once_and_to_the_same_run(client: FakeClient, tmp_path: Path) -> None:
    send = ("trackio", "p", "t")
    assert trackers.send_new(*send, {500: SCORES[500]}, tmp_path) == [500]
    assert trackers.send_new(*send, SCORES, tmp_path) == [1000]
    assert trackers.send_new(*send, SCORES, tmp_path) == []
    opened = [call for call in client.calls if isinstance(call, dict)]
    assert len(opened) == 2
    assert opened[0] == opened[1]
    assert [call[0] for call in client.calls if isinstance(call, tuple)] == [500, 1000]
    # Another project has nothing yet.
    assert trackers.send_new("trackio", "q", "t", SCORES, tmp_path) == [500, 1000]


def test_a_score_that_comes_later_is_sent_later(client: FakeClient, tmp_path: Path) -> None:
    """A task that failed at first, in a history that an earlier release has written too."""
    known = {"run": "r", "sent": {"trackio/p": [500]}}
    (tmp_path / trackers.FILE).write_text(json.dumps(known))
    send = ("trackio", "p", "t")
    scores: trackers.Scores = {500: {"a": 1.0}, 1000: {"a": 1.0}, 1500: {}}
    assert trackers.send_new(*send, scores, tmp_path) == [1000]
    scores[1000]["b"] = 2.0
    assert trackers.send_new(*send, scores, tmp_path) == [1000]
    assert trackers.send_new(*send, scores, tmp_path) == []
    sent = [call for call in client.calls if isinstance(call, tuple)]
    assert sent == [(1000, {"a": 1.0}), (1000, {"b": 2.0})]


def test_what_could_not_be_sent_is_sent_later(client: FakeClient, tmp_path: Path) -> None:
    client.broken = True
    with pytest.raises(UserError, match=r"not be sent to trackio \(ConnectionError: no route to"):
        trackers.send_new("trackio", "p", "t", SCORES, tmp_path)
    client.broken = False
    (tmp_path / trackers.FILE).write_text("{")
    assert trackers.send_new("trackio", "p", "t", SCORES, tmp_path) == [500, 1000]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick_page(monkeypatch):
        yield


@pytest.mark.usefixtures("pages")
def test_compare_sends(
    client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(tmp_path / name) for name in ("a", "b")]
    for run in runs:
        write_run(Path(run), {"math": FakeTask(lines("p@1", [1.0] * 30 + [0.0] * 10))})
    assert main(["compare", *runs, "--out", str(tmp_path / "out"), "--to", "trackio"]) == 0
    opened, (step, numbers), finish = client.calls
    assert opened["project"] == "iha-eval"
    assert (step, finish) == (0, "finish")
    assert numbers["math/p_at_1/iha"] == 0.75
    assert "sent to trackio, project iha-eval" in capsys.readouterr().out


@pytest.mark.usefixtures("pages")
def test_nights_are_sent_by_their_number(
    client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nights = FakeNights(tmp_path)
    words = ["nightly", str(nights.file), "--to", "trackio", "--project", "mine"]
    client.broken = True
    assert main(words) == 3
    assert "NOT SENT: the scores could not be sent to trackio" in capsys.readouterr().out
    client.broken = False
    assert main(words) == 0
    sent = [call for call in client.calls if isinstance(call, tuple)]
    assert [step for step, _ in sent] == [2]
    assert sent[0][1]["math/p_at_1/points"] == 0.0


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    trackers.send("wandb", "p", "t", SCORES, "0123abcd")
    [written] = tmp_path.rglob("*.wandb")
    # Its own process writes the file, and may be behind.
    for _ in range(600):
        if b"0123abcd" in written.read_bytes():
            break
        time.sleep(0.1)
    for name in (b"math/p_at_1/iha", b"a b/c/points", b"step", b"0123abcd"):
        assert name in written.read_bytes()


def test_mlflow_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    for name in ("sqlalchemy", "alembic"):
        pytest.importorskip(name)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    trackers.send("mlflow", "p", "t", {500: SCORES[500]}, "0123abcd")
    trackers.send("mlflow", "p", "t", {1000: SCORES[1000]}, "0123abcd")
    experiment = mlflow.get_experiment_by_name("p")
    [run] = mlflow.MlflowClient().search_runs([experiment.experiment_id])
    assert run.info.run_name == "t"
    assert run.data.metrics == SCORES[500] | SCORES[1000]
    [entry] = mlflow.MlflowClient().get_metric_history(run.info.run_id, "x")
    assert (entry.step, entry.value) == (1000, 1.0)


def test_trackio_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    pytest.importorskip("trackio")
    trackers.send("trackio", "p", "t", {500: SCORES[500]}, "0123abcd")
    trackers.send("trackio", "p", "t", {1000: SCORES[1000]}, "0123abcd")
    [file] = tmp_path.rglob("*.db")
    with sqlite3.connect(file) as stored:
        rows = list(stored.execute("select run_name, step, metrics from metrics order by step"))
    assert [(name, step) for name, step, _ in rows] == [("t 0123abcd", 500), ("t 0123abcd", 1000)]
    assert json.loads(rows[1][2])["x"] == 1.0
