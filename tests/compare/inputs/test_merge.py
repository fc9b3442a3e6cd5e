"""Runs of one model put together: the jobs of a night, and runs split over machines."""

import json
import os
import statistics
from pathlib import Path
from typing import Any

import pytest
from lm_eval_runs import FakeTask, line, lines, write_run

from iha_eval.cli import main
from iha_eval.compare import build_report
from iha_eval.compare.inputs.merge import merge_runs, merged
from iha_eval.compare.inputs.runs import load_run
from iha_eval.compare.inputs.samples import read_samples
from iha_eval.compare.inputs.settings import template
from iha_eval.errors import UserError


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


def part(folder: Path, scores: dict[int, float], second: int = 5, **changes: Any) -> Path:
    """A run of the documents of one task that have a score here, of ten that there are."""
    samples = [line(number, {"m": score}) for number, score in scores.items()]
    mean = sum(scores.values()) / len(scores)
    return write_run(
        folder,
        {"t": FakeTask(samples, changes.pop("task_config", {}), changes.pop("metadata", {}))},
        stamp=f"2026-01-02T03-04-0{second}.5",
        results={"t": {"m,none": mean, "m_stderr,none": 0.1, "sample_len": len(scores)}},
        **{"n-samples": {"t": {"original": 10, "effective": len(scores)}}},
        **changes,
    )


SCORES = {n: float(n % 3 == 0) for n in range(10)}


def halves(tmp_path: Path, **changes: Any) -> list[Path]:
    first = {n: SCORES[n] for n in range(6)}
    second = {n: SCORES[n] for n in range(4, 10)}
    return [part(tmp_path / "one", first), part(tmp_path / "two", second, 7, **changes)]


def test_halves_of_documents_are_the_whole(tmp_path: Path) -> None:
    """Documents 4 and 5 are in both, and equal."""
    whole = part(tmp_path / "whole", SCORES)
    file, notes = merge_runs(halves(tmp_path), tmp_path / "merged")
    assert notes == []
    content = json.loads(file.read_text())
    found = content["results"]["t"]
    assert found["m,none"] == pytest.approx(0.4)
    assert found["m_stderr,none"] == pytest.approx(statistics.stdev(SCORES.values()) / 10**0.5)
    assert (found["sample_len"], content["n-samples"]["t"]["effective"]) == (10, 10)
    (samples,) = file.parent.glob("samples_t_*.jsonl")
    assert samples.read_text() == next(whole.parent.glob("samples_t_*.jsonl")).read_text()
    assert build_report(file, whole)["tables"][0]["rows"][0]["n"] == 10


def test_the_command_says_where_and_how_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "merged"
    assert main(["merge", *map(str, halves(tmp_path)), "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["t: 10 of 10 documents", str(next(out.glob("results_*.json")))]


def test_tasks_are_put_beside_each_other(tmp_path: Path) -> None:
    files = [run(tmp_path, {"a": [1.0, 0.0]}, "05"), run(tmp_path, {"b": [1.0]}, "07")]
    whole = load_run(merge_runs(files, tmp_path / "merged")[0])
    assert whole.tasks == ["a", "b"]
    assert not whole.warnings


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"config": {"model": "hf"}}, r"not of one model .* model \(iha-vllm against hf\)"),
        ({"config": {"fewshot_seed": 7}}, r"fewshot_seed \(0 against 7\)"),
        ({"task_config": {"repeats": 3}}, r"^t of .* cannot be merged: .* repeats"),
        ({"metadata": {"documents_sha256": "e"}}, r"the documents \(documents_sha256\)"),
        ({"chat_template_sha": "other"}, "the chat template"),
    ],
    ids=["model", "seed", "settings", "documents", "template"],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=what):
        merge_runs(halves(tmp_path, **changes), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_documents_on_which_two_runs_differ_are_refused(tmp_path: Path) -> None:
    files = [part(tmp_path / "one", {0: 1.0, 1: 0.0}), part(tmp_path / "two", {1: 1.0}, 7)]
    with pytest.raises(UserError, match="have document 1 of t with different content"):
        merge_runs(files, tmp_path / "merged")


def test_what_is_no_mean_is_left_out_and_so_are_groups(tmp_path: Path) -> None:
    files = halves(tmp_path)
    for file in files:
        content = json.loads(file.read_text())
        content["results"]["t"] |= {"worst,none": 0.25, "worst_stderr,none": 0.1}
        content["results"]["all"] = content["groups"] = {"all": {"m,none": 0.5}}
        content["group_subtasks"] = {"all": ["t"]}
        file.write_text(json.dumps(content))
    made, notes = merge_runs(files, tmp_path / "merged")
    content = json.loads(made.read_text())
    assert set(content["results"]) == {"t"}
    assert set(content["results"]["t"]) >= {"m,none"}
    assert "worst_stderr,none" not in content["results"]["t"]
    assert content["groups"] == {}
    assert notes == [
        "worst of t is no mean over documents: it was left out.",
        "The mean of the group all was left out: its tasks are of several runs.",
    ]


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    files = halves(tmp_path)
    with pytest.raises(UserError, match="is there already"):
        merge_runs(files, tmp_path / "one")
    with pytest.raises(UserError, match="nothing to merge"):
        merge_runs(files[:1], tmp_path / "merged")
