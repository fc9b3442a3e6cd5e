"""Several runs of one model as one run on disk, which is what a comparison reads.

For: tasks whose settings differ, which lm-eval runs in processes of their own.
Not for: runs of different models, nor for the history, which reads each run by itself.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iha_eval.compare.inputs.runs import load_run
from iha_eval.util.files import write_whole

# Parts of a results file that are mappings by task; everything else is one for the run.
_BY_TASK = (
    *("results", "groups", "group_subtasks", "configs", "versions", "n-shot"),
    *("higher_is_better", "n-samples", "task_hashes"),
)

# Of a whole run, and different where jobs were asked for different templates.
_TEMPLATES = (
    *("chat_template", "chat_template_sha", "fewshot_as_multiturn"),
    *("system_instruction", "system_instruction_sha"),
)


def merged(results: Sequence[Path], place: Path) -> Path:
    """One results file for all of them.

    Args:
        results: results files, at least one; of a task that two of them have, the first counts.
        place: folder for the merged files; thrown away and made anew.

    Returns:
        The results file; with one alone, that one itself.

    Raises:
        UserError: one cannot be read.
    """
    if len(results) == 1:
        return results[0]
    runs = [load_run(path) for path in results]
    stamp = max(run.stamp for run in runs)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for run in reversed(runs):
        for task, path in run.samples.items():
            _link(path, place / f"samples_{task}_{stamp}.jsonl")
    file = place / f"results_{stamp}.json"
    content = _merge([dict(run.results) for run in runs])
    write_whole(file, json.dumps(content, ensure_ascii=False))
    return file


def _merge(contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    whole = dict(contents[0])
    for name in _BY_TASK:
        parts = [one[name] for one in contents if isinstance(one.get(name), dict)]
        if parts:
            whole[name] = {key: value for part in reversed(parts) for key, value in part.items()}
    # In the order of the runs, which the reversal above has turned round.
    order = [task for one in contents for task in one["configs"]]
    whole["configs"] = {task: whole["configs"][task] for task in dict.fromkeys(order)}
    whole["config"] = _config([one.get("config") or {} for one in contents])
    _tell_templates(whole, contents)
    return whole


def _tell_templates(whole: dict[str, Any], contents: Sequence[dict[str, Any]]) -> None:
    """What the runs differ in stands by task where a comparison looks for it, and not once for all.

    lm-eval has one chat template and one system instruction a run; a file of several runs has none
    that holds for all of it.
    """
    for name in _TEMPLATES:
        values = [one.get(name) for one in contents]
        if any(value != values[0] for value in values):
            whole[name] = None
    by_run = [one.get("chat_template_sha") for one in contents]
    if any(value != by_run[0] for value in by_run):
        whole["config"]["iha_eval_chat_template_sha"] = {
            task: sha
            for one, sha in reversed(list(zip(contents, by_run, strict=True)))
            for task in one["configs"]
        }


def _config(configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    whole = dict(configs[0])
    for name in ("limit", "gen_kwargs"):
        values = [one.get(name) for one in configs]
        whole[name] = values[0] if all(value == values[0] for value in values) else values
    ours = [one["iha_eval"] for one in configs if isinstance(one.get("iha_eval"), dict)]
    if ours:
        calls = [call for one in ours for call in one.get("summary") or []]
        words = [word for one in ours for word in ("&&", *(one.get("command") or []))]
        whole["iha_eval"] = {**ours[0], "summary": calls, "command": words[1:]}
    return whole


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
