"""Several runs of one model put together into one lm-eval output, which a comparison reads.

For: the jobs of a night, and runs that were split by hand over machines, by tasks or by documents
(`iha-eval merge`). Not for: runs of different models or settings, which are refused by name.
"""

import functools
import json
import math
import os
import shutil
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from iha_eval.compare.inputs.runs import Run, load_run
from iha_eval.compare.inputs.samples import Key, Sample, TaskSamples, read_samples
from iha_eval.compare.inputs.settings import common_settings, differing_settings, template
from iha_eval.errors import UserError
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
        parts = [content[name] for content in contents if isinstance(content.get(name), dict)]
        if parts:
            whole[name] = {key: value for part in reversed(parts) for key, value in part.items()}
    # In the order of the runs, which the reversal above has turned round.
    order = [task for content in contents for task in content["configs"]]
    whole["configs"] = {task: whole["configs"][task] for task in dict.fromkeys(order)}
    whole["config"] = _config([content.get("config") or {} for content in contents])
    _tell_templates(whole, contents)
    return whole


def _tell_templates(whole: dict[str, Any], contents: Sequence[dict[str, Any]]) -> None:
    """What the runs differ in stands by task where a comparison looks for it, and not once for all.

    lm-eval has one chat template and one system instruction a run; a file of several runs has none
    that holds for all of it.
    """
    for name in _TEMPLATES:
        values = [content.get(name) for content in contents]
        if any(value != values[0] for value in values):
            whole[name] = None
    by_run = [content.get("chat_template_sha") for content in contents]
    if any(value != by_run[0] for value in by_run):
        whole["config"]["iha_eval_chat_template_sha"] = {
            task: sha
            for content, sha in reversed(list(zip(contents, by_run, strict=True)))
            for task in content["configs"]
        }


def _config(configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    whole = dict(configs[0])
    for name in ("limit", "gen_kwargs"):
        values = [config.get(name) for config in configs]
        whole[name] = values[0] if all(value == values[0] for value in values) else values
    ours = [config["iha_eval"] for config in configs if isinstance(config.get("iha_eval"), dict)]
    if ours:
        calls = [call for config in ours for call in config.get("summary") or []]
        words = [word for config in ours for word in ("&&", *(config.get("command") or []))]
        whole["iha_eval"] = {**ours[0], "summary": calls, "command": words[1:]}
    return whole


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def merge_runs(places: Sequence[Path | str], out: Path) -> tuple[Path, list[str]]:
    """Put runs of one model together that were split over machines.

    A task may be in several of them, each with documents of its own; those that two runs have must
    be equal. Metrics are means over documents: they and their standard errors are computed anew.

    Args:
        places: results files or their folders, at least two.
        out: folder to write to; new, or empty.

    Returns:
        The results file, and what the user should know, each a sentence.

    Raises:
        UserError: models, settings or documents do not fit, or the folder has something in it.
    """
    if len(places) < 2:
        raise UserError("There is nothing to merge: name two runs or more.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already: name a new folder with --out.")
    runs = [load_run(place) for place in places]
    notes = [warning for run in runs for warning in run.warnings]
    for run in runs[1:]:
        _check_model(runs[0], run)
    stamp = max(run.stamp for run in runs)
    content = _merge([dict(run.results) for run in runs])
    parts = {task: [run for run in runs if task in run.tasks] for task in content["configs"]}
    shared = {task for task, having in parts.items() if len(having) > 1}
    read = functools.cache(read_samples)
    merged_samples = {task: _merged_samples(task, having, read) for task, having in parts.items()}
    for task in shared:
        _score_anew(content, task, parts[task], merged_samples[task], read, notes)
    _drop_groups(content, parts, notes)
    out.mkdir(parents=True, exist_ok=True)
    for task, samples in merged_samples.items():
        if samples:
            _write_samples(out / f"samples_{task}_{stamp}.jsonl", samples)
    file = out / f"results_{stamp}.json"
    write_whole(file, json.dumps(content, ensure_ascii=False))
    load_run(file)
    return file, notes


# Where each sample of a task is: its file and what was read of it.
_Samples = dict[Key, tuple[Path, Sample]]
_Read = Callable[[Path], TaskSamples]


def _check_model(first: Run, other: Run) -> None:
    """Refuse runs of different models, or of different settings of a whole run."""
    ours, theirs = _model(first), _model(other)
    different = [
        f"{name} ({ours[name]} against {theirs[name]})"
        for name in ours
        if ours[name] != theirs[name]
    ]
    if different:
        raise UserError(
            f"{first.path} and {other.path} are not of one model and its settings: they differ in "
            f"{', '.join(different)}. Merge runs that differ in tasks or documents alone."
        )


def _model(run: Run) -> dict[str, Any]:
    ours = run.part("config", "iha_eval")
    given = run.part("config").get("model_args")
    return {
        "model": run.part("config").get("model"),
        "checkpoint": ours.get("checkpoint", {}).get("fingerprint") if ours else str(given),
        "dtype": ours.get("dtype", run.part("config").get("model_dtype")),
        **common_settings(run),
        **{f"version of {name}": version for name, version in ours.get("versions", {}).items()},
    }


def _check_task(task: str, first: Run, other: Run) -> None:
    """Refuse parts of a task that were asked in different ways or of different documents."""
    different = differing_settings(first, other, task)
    if template(first, task) != template(other, task):
        different.append("the chat template")
    for name in ("documents_sha256", "dataset"):
        if _metadata(first, task).get(name) != _metadata(other, task).get(name):
            different.append(f"the documents ({name})")
    if _documents(first, task) != _documents(other, task):
        different.append("the number of documents that there are")
    if different:
        raise UserError(
            f"{task} of {first.path} and of {other.path} cannot be merged: they differ in "
            f"{', '.join(different)}."
        )


def _metadata(run: Run, task: str) -> Mapping[str, Any]:
    return run.part("configs", task, "metadata")


def _documents(run: Run, task: str) -> Any:
    return run.part("n-samples", task).get("original")


def _merged_samples(task: str, runs: Sequence[Run], read: _Read) -> _Samples:
    """The samples of all parts of a task, by filter and document.

    Raises:
        UserError: parts do not fit, or say different things of one document.
    """
    merged: _Samples = {}
    for run in runs:
        if run is not runs[0]:
            _check_task(task, runs[0], run)
        path = run.samples.get(task)
        if path is None:
            if len(runs) > 1:
                raise UserError(
                    f"{run.path} has no samples of {task}, by which it could be merged: run "
                    "lm-eval again with --log_samples."
                )
            continue
        for key, sample in read(path).samples.items():
            if key not in merged:
                merged[key] = path, sample
            elif _content(*merged[key]) != _content(path, sample):
                raise UserError(
                    f"{merged[key][0]} and {path} have document {key[1]} of {task} with different "
                    "content: merge runs that agree, or have no document in common."
                )
    return dict(sorted(merged.items()))


def _line(path: Path, sample: Sample) -> bytes:
    offset, length = sample.place
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length).rstrip(b"\r\n")


def _content(path: Path, sample: Sample) -> Any:
    return json.loads(_line(path, sample))


def _write_samples(target: Path, merged: _Samples) -> None:
    with target.open("wb") as file:
        for path, sample in merged.values():
            file.write(_line(path, sample) + b"\n")


def _score_anew(
    content: dict[str, Any],
    task: str,
    runs: Sequence[Run],
    merged: _Samples,
    read: _Read,
    notes: list[str],
) -> None:
    """Means and standard errors of a task over the documents of all its parts."""
    row = dict(runs[0].part("results", task))
    for name, value in list(row.items()):
        metric, comma, chosen = name.rpartition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        if not all(_is_mean(run, task, name, read) for run in runs):
            del row[name]
            row.pop(f"{metric}_stderr,{chosen}", None)
            notes.append(f"{metric} of {task} is no mean over documents: it was left out.")
            continue
        values = _values((sample for _, sample in merged.values()), metric, chosen)
        row[name] = statistics.fmean(values)
        if f"{metric}_stderr,{chosen}" in row:
            several = len(values) > 1
            error = statistics.stdev(values) / math.sqrt(len(values)) if several else "N/A"
            row[f"{metric}_stderr,{chosen}"] = error
    count = len({document for _, document in merged})
    if "sample_len" in row:
        row["sample_len"] = count
    content["results"][task] = row
    counts = content.get("n-samples", {}).get(task)
    if isinstance(counts, dict):
        content["n-samples"][task] = {**counts, "effective": count}
    content.get("task_hashes", {}).pop(task, None)


def _values(samples: Iterable[Sample], metric: str, chosen: str) -> list[float]:
    values = [sample.scores.get(metric, math.nan) for sample in samples if sample.key[0] == chosen]
    return [value for value in values if not math.isnan(value)]


def _is_mean(run: Run, task: str, name: str, read: _Read) -> bool:
    """Whether what a run says of a metric is the mean of what its samples say."""
    metric, _, chosen = name.rpartition(",")
    stored = run.part("results", task).get(name)
    values = _values(read(run.samples[task]).samples.values(), metric, chosen)
    return (
        bool(values)
        and isinstance(stored, int | float)
        and math.isclose(statistics.fmean(values), stored, rel_tol=1e-6, abs_tol=1e-9)
    )


def _drop_groups(
    content: dict[str, Any], parts: Mapping[str, Sequence[Run]], notes: list[str]
) -> None:
    """Leave out what was said of groups whose tasks are not all whole in one run."""
    for group in list(content.get("groups") or {}):
        tasks = (content.get("group_subtasks") or {}).get(group, [])
        homes = [parts.get(task, ()) for task in tasks]
        whole = [having for having in homes if len(having) == 1]
        if tasks and len(whole) == len(homes) and len({id(having[0]) for having in whole}) == 1:
            continue
        for name in ("groups", "results", "group_subtasks"):
            (content.get(name) or {}).pop(group, None)
        notes.append(f"The mean of the group {group} was left out: its tasks are of several runs.")
