"""What the documentation says can be done as it says."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from iha_eval.cli import history, nightly, watch
from iha_eval.nightly import config
from iha_eval.nightly.run import FINE, MISSING, REGRESSION

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "nightly.md").read_text()


@pytest.mark.parametrize("text", [TEXT, (ROOT / "examples" / "nightly.yaml").read_text()])
def test_every_key_is_explained(text: str) -> None:
    keys = {*config._KEYS, *config._MODEL_KEYS, *config._TASK_KEYS, *config._RULE_KEYS}
    assert {key for key in keys if not re.search(rf"\b{key}\b", text)} == set()


def _workflow() -> dict[Any, Any]:
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.S)]
    [workflow] = [block for block in blocks if "jobs" in block]
    assert isinstance(workflow, dict)
    return workflow


def test_the_workflow_runs_on_schedule_and_by_hand() -> None:
    workflow = _workflow()
    # YAML reads the word "on" as true.
    assert set(workflow[True]) == {"schedule", "workflow_dispatch"}
    job = workflow["jobs"]["nightly"]
    assert "self-hosted" in job["runs-on"]
    upload = job["steps"][-1]
    assert upload["if"] == "always() && steps.night.outputs.folder"
    assert upload["uses"].startswith("actions/upload-artifact@")
    # Files of that night alone, and no `.unredacted` output among them.
    paths = upload["with"]["path"].splitlines()
    assert [path.partition("}}")[2] for path in paths] == ["/report.*", "/*/*.log"]
    assert all(path.startswith("${{ steps.night.outputs.folder") for path in paths)


@pytest.mark.parametrize(
    ("code", "reported"),
    [(0, True), (1, True), (3, True), (3, False), (2, False), (143, False)],
    ids=str,
)
def test_the_workflow_shows_the_report_of_this_start_or_none(
    code: int, reported: bool, tmp_path: Path
) -> None:
    """`latest` is there from the night before, whatever becomes of tonight."""
    for night in ("old", "tonight"):
        (tmp_path / night).mkdir()
        (tmp_path / night / "report.md").write_text(f"report of {night}\n")
    (tmp_path / "latest").symlink_to("old")
    command = tmp_path / ".venv" / "bin" / "iha-eval"
    command.parent.mkdir(parents=True)
    said = ["night tonight", f"  | {tmp_path}/old/report.md"]
    said += [f"{tmp_path}/tonight/report.{kind}" for kind in ("html", "md", "json") if reported]
    told = "".join(f"echo '{line}'\n" for line in said)
    command.write_text(f'#!/bin/sh\necho "$@" > given\n{told}exit {code}\n')
    command.chmod(0o755)
    [step] = [one for one in _workflow()["jobs"]["nightly"]["steps"] if one.get("id") == "night"]
    assert step["shell"] == "bash"
    script = re.sub(r"\$\{\{.*?\}\}", "--fresh", step["run"])
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "GITHUB_STEP_SUMMARY": "summary",
            "GITHUB_OUTPUT": "output",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (code, said, "")
    assert (tmp_path / "given").read_text() == "nightly nightly.yaml --fresh\n"
    folder = f"{tmp_path}/tonight" if reported else ""
    assert (tmp_path / "output").read_text() == f"folder={folder}\n"
    summary = (tmp_path / "summary").read_text()
    assert summary == ("report of tonight\n" if reported else "\n".join(said) + "\n")


def test_no_line_of_a_service_reads_the_report_of_another_night() -> None:
    """Where `latest` is named, it is said what it is; no command reads it."""
    blocks = TEXT.split("```")[1::2]
    read = [line.strip() for text in blocks for line in text.splitlines() if "latest" in line]
    assert read == [
        "# From what it said, not from `latest`: if no report was made, that is an earlier night's."
    ]


def test_options_are_those_of_the_commands() -> None:
    helps = nightly._parser().format_help() + history._parser().format_help()
    helps += watch._parser().format_help()
    said = re.findall(r"^\$ iha-eval .*|`--[a-z-]+`", TEXT, re.M)
    options = {option for text in said for option in re.findall(r"--[a-z-]+", text)}
    assert options == {
        *("--fresh", "--dry-run", "--accept", "--unpin", "--all", "--json"),
        *("--iha", "--baseline", "--every", "--once", "--project", "--new-engines"),
    }
    assert all(option in helps for option in options)


def test_exit_codes_are_the_real_ones() -> None:
    table = dict(re.findall(r"^\| (\d) \| ([^|]+) \|$", TEXT, re.M))
    assert table[str(FINE)].strip() == "fine"
    assert table[str(REGRESSION)].startswith("a regression")
    assert "a run is missing" in table[str(MISSING)]
