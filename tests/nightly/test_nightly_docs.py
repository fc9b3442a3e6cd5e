"""What the documentation says can be done as it says."""

import re
from pathlib import Path

import pytest
import yaml

from iha_eval.cli import history, nightly
from iha_eval.nightly import config
from iha_eval.nightly.conduct import FINE, MISSING, REGRESSION

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "nightly.md").read_text()


@pytest.mark.parametrize("text", [TEXT, (ROOT / "examples" / "nightly.yaml").read_text()])
def test_every_key_is_explained(text: str) -> None:
    keys = {*config._KEYS, *config._MODEL_KEYS, *config._TASK_KEYS, *config._RULE_KEYS}
    assert {key for key in keys if not re.search(rf"\b{key}\b", text)} == set()


def test_the_workflow_runs_on_schedule_and_by_hand() -> None:
    [workflow] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.S)]
    # YAML reads the word "on" as true.
    assert set(workflow[True]) == {"schedule", "workflow_dispatch"}
    job = workflow["jobs"]["nightly"]
    assert "self-hosted" in job["runs-on"]
    assert [step.get("if") for step in job["steps"][-2:]] == ["always()"] * 2
    assert job["steps"][-1]["uses"].startswith("actions/upload-artifact@")


def test_options_are_those_of_the_commands() -> None:
    helps = nightly._parser().format_help() + history._parser().format_help()
    said = re.findall(r"^\$ iha-eval .*|`--[a-z-]+`", TEXT, re.M)
    options = {option for text in said for option in re.findall(r"--[a-z-]+", text)}
    assert options == {"--fresh", "--dry-run", "--accept", "--all", "--json"}
    assert all(option in helps for option in options)


def test_exit_codes_are_the_real_ones() -> None:
    table = dict(re.findall(r"^\| (\d) \| ([^|]+) \|$", TEXT, re.M))
    assert table[str(FINE)].strip() == "fine"
    assert table[str(REGRESSION)].startswith("a regression")
    assert "a run is missing" in table[str(MISSING)]
