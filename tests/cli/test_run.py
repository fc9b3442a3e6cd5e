"""`iha-eval run` hands its arguments to lm-eval."""

import os
import sys

import pytest

from iha_eval.cli import main, run
from iha_eval.errors import UserError
from iha_eval.models.run_stats import JSON_PROGRESS


@pytest.fixture
def received(monkeypatch):
    """What lm-eval's command line finds in sys.argv."""
    seen = []
    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", lambda: seen.append(list(sys.argv)))
    monkeypatch.setattr(
        "iha_eval.lm_eval_plugin.register.register", lambda: seen.append("registered")
    )
    monkeypatch.setattr(sys, "argv", ["pytest"])
    return seen


@pytest.mark.parametrize(
    ("given", "argv"),
    [
        pytest.param(
            ["--model", "iha-vllm", "--tasks", "a,b", "--limit", "2"],
            ["run", "--model", "iha-vllm", "--tasks", "a,b", "--limit", "2"],
            id="options",
        ),
        pytest.param(["run", "--tasks", "a"], ["run", "--tasks", "a"], id="run"),
        pytest.param(["ls", "tasks"], ["ls", "tasks"], id="ls"),
        pytest.param(["validate", "--tasks", "a"], ["validate", "--tasks", "a"], id="validate"),
        pytest.param(["--config=a.yaml"], ["run", "--config=a.yaml"], id="one option"),
        pytest.param(["--help"], ["run", "--help"], id="help"),
        pytest.param([], ["run"], id="nothing"),
    ],
)
def test_arguments(received, given, argv):
    assert run.main(given) == 0
    assert received == ["registered", ["lm_eval", *argv]]


def test_a_mistake_ends_in_one_line(monkeypatch, received, capsys):
    def fail():
        raise UserError("max_model_len 5: use 4224")

    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", fail)
    with pytest.raises(SystemExit) as exit_:
        main(["run", "--tasks", "a"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "iha-eval: max_model_len 5: use 4224\n"


@pytest.mark.parametrize("given", [["--json-progress", "p.json"], ["--json-progress=p.json"]])
def test_json_progress_is_ours(received, given, monkeypatch, tmp_path):
    monkeypatch.setenv(JSON_PROGRESS, "")
    monkeypatch.chdir(tmp_path)
    assert run.main(["--tasks", "a", *given, "--limit", "2"]) == 0
    assert received[1] == ["lm_eval", "run", "--tasks", "a", "--limit", "2"]
    assert os.environ[JSON_PROGRESS] == str(tmp_path / "p.json")
