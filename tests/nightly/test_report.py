"""Runs of one model put together: read as one, with everything of each."""

import json
import os
from pathlib import Path

import pytest
from lm_eval_runs import FakeTask, lines, write_run

from iha_eval.compare import build_report
from iha_eval.compare.inputs.runs import load_run
from iha_eval.compare.inputs.samples import read_samples
from iha_eval.compare.inputs.settings import template
from iha_eval.nightly.report import merged


def run(folder: Path, tasks: dict[str, list[float]], stamp: str, **config: object) -> Path:
    fakes = {name: FakeTask(lines("m", scores)) for name, scores in tasks.items()}
    stamp = f"2026-01-02T03-04-{stamp}.5"
    return write_run(folder / stamp, fakes, stamp=stamp, config=config)


def test_one_run_stays_what_it_is(tmp_path: Path) -> None:
    file = run(tmp_path, {"a": [1.0]}, "05")
    assert merged([file], tmp_path / "merged") == file
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_two_runs_are_read_as_one(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:

        def refuse(*_: object) -> None:
            raise OSError("no links here")

        monkeypatch.setattr(os, "link", refuse)
    first = run(tmp_path, {"b": [1.0, 0.0], "both": [1.0]}, "07", limit=3)
    second = run(tmp_path, {"a": [0.0], "both": [0.0]}, "05")
    for _ in range(2):
        file = merged([first, second], tmp_path / "merged")
    whole = load_run(file)
    assert whole.tasks == ["b", "both", "a"]
    assert (whole.warnings, list(whole.samples)) == ((), ["b", "both", "a"])
    scores = {
        task: [one.scores["m"] for one in read_samples(path).samples.values()]
        for task, path in whole.samples.items()
    }
    assert scores == {"b": [1.0, 0.0], "both": [1.0], "a": [0.0]}
    config = json.loads(file.read_text())["config"]
    assert config["limit"] == [3, None]
    assert len(config["iha_eval"]["summary"]) == 2
    assert config["iha_eval"]["command"] == [
        *("lm_eval", "--model", "iha-vllm", "&&", "lm_eval", "--model", "iha-vllm")
    ]
    report = build_report(file, file)
    assert report["models"]["iha"]["seconds"] == 8.0


@pytest.mark.parametrize("reverse", [False, True])
def test_each_task_keeps_its_chat_template(reverse: bool, tmp_path: Path) -> None:
    """What a comparison looks for, with lm-eval's own keys telling what holds for all of it."""
    asked = {"a": ("{{x}}", "sha of x"), "b": (None, None)}
    names = ["b", "a"] if reverse else ["a", "b"]
    files = [
        write_run(
            tmp_path / name,
            {name: FakeTask(lines("m", [1.0])), "both": FakeTask(lines("m", [1.0]))},
            stamp=f"2026-01-02T03-04-0{number}.5",
            chat_template=asked[name][0],
            chat_template_sha=asked[name][1],
            fewshot_as_multiturn=name == "a",
            system_instruction="be brief",
        )
        for number, name in enumerate(names)
    ]
    file = merged(files, tmp_path / "merged")
    content = json.loads(file.read_text())
    assert content["config"]["iha_eval_chat_template_sha"] == {
        "a": "sha of x",
        "b": None,
        # Of a task that two runs have, the first counts.
        "both": asked[names[0]][1],
    }
    keys = ("chat_template", "chat_template_sha", "fewshot_as_multiturn", "system_instruction")
    assert [content[key] for key in keys] == [None, None, None, "be brief"]
    run = load_run(file)
    assert [template(run, task) for task in "ab"] == ["sha of x", None]


def test_one_chat_template_for_all_stays_where_it_is(tmp_path: Path) -> None:
    files = [
        write_run(
            tmp_path / name,
            {name: FakeTask(lines("m", [1.0]))},
            stamp=f"2026-01-02T03-04-0{number}.5",
            chat_template="{{x}}",
            chat_template_sha="sha",
        )
        for number, name in enumerate("ab")
    ]
    content = json.loads(merged(files, tmp_path / "merged").read_text())
    assert (content["chat_template"], content["chat_template_sha"]) == ("{{x}}", "sha")
    assert "iha_eval_chat_template_sha" not in content["config"]


def test_runs_of_other_model_classes(tmp_path: Path) -> None:
    files = [
        write_run(
            tmp_path / name,
            {name: FakeTask(lines("m", [1.0]))},
            stamp=f"2026-01-02T03-04-0{number}.5",
            ours=False,
        )
        for number, name in enumerate("ab")
    ]
    config = json.loads(merged(files, tmp_path / "merged").read_text())["config"]
    assert "iha_eval" not in config
    assert config["limit"] is None
