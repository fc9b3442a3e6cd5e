"""Jobs: which tasks share a process, and the command lines."""

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_nights import FakeNights

from iha_eval.nightly.config import read_config
from iha_eval.nightly.jobs import EMBEDDED, Job, plan, plan_sha256, readable


def jobs(nights: FakeNights, **changes: Any) -> list[Job]:
    return plan(read_config(nights.configure(**changes)))


def test_tasks_with_equal_settings_share_a_process(nights: FakeNights) -> None:
    tasks = ["a", {"task": "b", "limit": 3}, "c", {"task": "d/e", "limit": 3}]
    found = jobs(nights, tasks=tasks)
    assert [(job.role, job.names, job.folder) for job in found] == [
        ("iha", ["a", "c"], "iha/1-a"),
        ("iha", ["b", "d/e"], "iha/2-b"),
        ("baseline", ["a", "c"], "baseline/1-a"),
        ("baseline", ["b", "d/e"], "baseline/2-b"),
    ]


def test_a_file_name_is_made_of_any_task(nights: FakeNights) -> None:
    assert jobs(nights, tasks=["../d e".replace(" ", "\t")])[0].folder == "iha/1-.._d_e"


def test_the_command_says_everything(nights: FakeNights) -> None:
    model = {
        "model": "hf",
        "model_args": {"pretrained": "x", "dtype": "float32"},
        "arguments": ["--batch_size", 4],
        "command": ["python", "-m", "lm_eval", "run"],
    }
    task = {
        "task": "t",
        "limit": 3,
        "metadata": {"lengths": [1024]},
        "num_fewshot": 0,
        "apply_chat_template": True,
    }
    job = jobs(nights, models={"iha": model, "baseline": {"model_args": "a=b"}}, tasks=[task])[0]
    assert job.command(Path("/n")) == [
        *("python", "-m", "lm_eval", "run", "--model", "hf"),
        *("--model_args", '{"dtype": "float32", "pretrained": "x"}', "--tasks", "t"),
        *("--limit", "3", "--metadata", '{"lengths": [1024]}', "--num_fewshot", "0"),
        *("--apply_chat_template", "--batch_size", "4"),
        *("--output_path", "/n/iha/1-t", "--log_samples"),
    ]


def test_lm_eval_understands_the_command(nights: FakeNights) -> None:
    """Its own parser gives back what the configuration says."""
    import argparse

    from lm_eval._cli.harness import HarnessCLI

    settings = {"gen_kwargs": {"until": ["a,b"], "temperature": 0.5}, "limit": 0.5}
    job = jobs(nights, tasks=[{"task": "t", **settings, "apply_chat_template": True}])[0]
    words = job.command(Path("/n"))[2:]
    parser: argparse.ArgumentParser = HarnessCLI()._parser
    found = parser.parse_args(["run", *words])
    assert found.gen_kwargs == settings["gen_kwargs"]
    assert found.model_args == {"pretrained": "iha"}
    assert (found.limit, found.apply_chat_template, found.log_samples) == (0.5, True, True)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"timeout": 5, "regression": {"alpha": 0.01}, "history": "other"}, True),
        ({"tasks": ["math", "more"]}, False),
        ({"tasks": [{"task": "math", "limit": 3}]}, False),
    ],
    ids=["nothing", "rules", "tasks", "limit"],
)
def test_the_plan_is_what_is_run(nights: FakeNights, changes: Any, same: bool) -> None:
    before = plan_sha256(jobs(nights))
    assert (plan_sha256(jobs(nights, **changes)) == before) is same


def test_the_environment_is_part_of_the_plan(nights: FakeNights) -> None:
    models = json.loads(nights.file.read_text())["models"]
    before = plan_sha256(jobs(nights))
    models["iha"]["environment"] = {"A": 1}
    assert plan_sha256(jobs(nights, models=models)) != before


def test_secrets_are_not_shown() -> None:
    words = [sys.executable, "--model_args", '{"token": "geheim", "dtype": "a"}', "--api-key"]
    shown = readable([*words, "geheim"])
    assert "geheim" not in shown
    assert '"dtype": "a"' in shown


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"pretrained": "models/iha", "tokenizer": "tok", "dtype": "tok"},
            {"pretrained": "HERE/models/iha", "tokenizer": "HERE/tok", "dtype": "tok"},
        ),
        ({"pretrained": "org/model"}, {"pretrained": "org/model"}),
        ({"pretrained": "file"}, {"pretrained": "file"}),
        ({"pretrained": "embedded-iha"}, {"pretrained": "embedded-iha"}),
        ({"pretrained": None, "dtype": 3}, {"pretrained": None, "dtype": 3}),
        ({"pretrained": "/"}, {"pretrained": "/"}),
        ({"pretrained": "~"}, {"pretrained": "HERE/home"}),
        ("pretrained=models/iha,dtype=a", "pretrained=HERE/models/iha,dtype=a"),
        ("pretrained=org/model, tokenizer=tok,x", "pretrained=org/model, tokenizer=HERE/tok,x"),
        ('{"pretrained": "tok", "a": "="}', {"pretrained": "HERE/tok", "a": "="}),
        ('{"pretrained"= "tok"', '{"pretrained"= "tok"'),
    ],
    ids=str,
)
def test_folders_are_told_in_full_and_hub_names_stay(
    given: Any, expected: Any, nights: FakeNights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report looks for the checkpoint from wherever it is made."""
    for name in ("models/iha", "tok", "home", "embedded-iha"):
        (nights.folder / name).mkdir(parents=True)
    (nights.folder / "file").touch()
    monkeypatch.setenv("HOME", str(nights.folder / "home"))
    models = {"iha": {"model_args": given}, "baseline": {"model_args": given}}
    found = [job.model.arguments for job in jobs(nights, models=models)]
    assert found == [_in(nights.folder, expected)] * 2


def _in(folder: Path, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _in(folder, one) for name, one in value.items()}
    return value.replace("HERE", str(folder)) if isinstance(value, str) else value


def test_the_embedded_checkpoints_are_those() -> None:
    """Read, not imported: that takes seconds, which is why the names stand twice."""
    text = (Path(__file__).parents[2] / "model_adapters" / "default_checkpoint.py").read_text()
    [names] = [
        ast.literal_eval(one.value)
        for one in ast.parse(text).body
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "(IHA, BASELINE)"
    ]
    assert names == EMBEDDED
