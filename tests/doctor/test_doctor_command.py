"""`iha-eval doctor`: table, JSON, exit codes, and no heavy import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from iha_eval.cli import doctor, main
from iha_eval.doctor import (
    cluster,
    data,
    hook,
    named,
    packages,
    resources,
    serving,
    variables,
)
from iha_eval.doctor.finding import Finding


def test_json_of_this_machine(tmp_path: Path) -> None:
    """Whatever this machine is like, every group has its say and no check fails itself.

    Nor are torch and vLLM imported: what is broken may be what they import.
    """
    code = (
        "import sys; from iha_eval.cli.doctor import main; code = main(['--json']); "
        "assert not {'torch', 'transformers', 'vllm'} & set(sys.modules); sys.exit(code)"
    )
    variables = {name: value for name, value in os.environ.items() if name != "IHA_EVAL_DATA"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=variables | {"IHA_EVAL_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "AssertionError" not in done.stderr
    made = json.loads(done.stdout)
    names = {one["name"] for one in made["findings"]}
    assert {"Python", "vLLM", "lm-eval hook", "memory", "essays", "cache folder"} <= names
    assert not [one for one in made["findings"] if "check failed itself" in one["what"]]
    assert made["ok"] is not any(one["status"] == "problem" for one in made["findings"])
    assert done.returncode == (0 if made["ok"] else 1)
    unhelpful = [
        one
        for one in made["findings"]
        if one["status"] in ("warning", "problem") and not one["remedy"]
    ]
    assert unhelpful == []


@pytest.mark.parametrize(("status", "code"), [("problem", 1), ("warning", 0), ("note", 0)])
def test_only_problems_are_exit_code_1(
    status: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Finding("the [thing]", status, "is [broken]", "mend [it]")
    for group in (packages, hook, serving, resources, cluster, variables, data, named):
        monkeypatch.setattr(group, "CHECKS", ())
    monkeypatch.setattr(packages, "CHECKS", (lambda machine: [found],))
    assert main(["doctor"]) == code
    text = capsys.readouterr().out
    assert "the [thing]" in text
    assert "is [broken]" in text
    assert "→ mend [it]" in text
    assert text.splitlines()[-1] == f"1 {status}"


def test_a_named_checkpoint_is_looked_at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for group in (packages, hook, serving, resources, cluster, variables, data):
        monkeypatch.setattr(group, "CHECKS", ())
    assert main(["doctor", "/nowhere/at/all", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert found[-1]["what"] == "/nowhere/at/all is not a folder here"


def test_usage_is_shown_for_anything_else(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        doctor.main(["--jsn"])
    assert caught.value.code == 2
    assert "usage: iha-eval doctor" in capsys.readouterr().err
