"""What one run measured: the scores of each question, by task and metric, and what they hang on.

For: reading a results file with its samples. The questions of a group are put together into one
measure more, which sees what no task of it can show alone.
Not for: scores that are no shares between 0 and 1, such as perplexities: those are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import isnan
from pathlib import Path
from typing import Any

from iha_eval.compare.inputs.runs import Run, load_run, non_finite_logits
from iha_eval.compare.inputs.samples import Sample, TaskSamples, read_samples
from iha_eval.compare.inputs.settings import longest_input, task_settings
from iha_eval.util.files import sha256


@dataclass(frozen=True)
class Measure:
    """One metric of one task or group.

    Attributes:
        task: name of the task or group.
        metric: name of the metric, with that of its filter after a comma where it has one.
        scores: one a question, in the order of their numbers; None where there is none.
        documents: hash of questions, prompts and targets: scores of equal ones may be paired.
        settings: hash of how the task was asked.
        higher: whether more is better.
        watched: whether the rules look at it.
        questions: what tells each question, with its prompt and target, from all others.
        asked: how the task was asked.
        expected: number of questions that the run was to ask; None if it does not say.
        hashed: whether all questions have hashes; without, nobody knows which they are.
        room: tokens that the model had room for where no setting says so; None if unknown.
    """

    task: str
    metric: str
    scores: tuple[float | None, ...]
    documents: str
    settings: str
    higher: bool
    watched: bool
    questions: tuple[str, ...] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)
    expected: int | None = None
    hashed: bool = True
    room: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Task and metric."""
        return self.task, self.metric


@dataclass(frozen=True)
class MeasuredRun:
    """A run, measured.

    Attributes:
        measures: in the order of the tasks, groups last.
        facts: name, fingerprint and versions of the model, as far as the results say.
        warnings: what was wrong with the sample files or is not watched, each a sentence.
    """

    measures: tuple[Measure, ...]
    facts: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def measure(results: Path, patterns: Sequence[str] = ()) -> MeasuredRun:
    """Read a run.

    Args:
        results: its results file.
        patterns: patterns of the metrics that are watched; empty for the first of each task.

    Raises:
        UserError: the files cannot be read.
    """
    run = load_run(results)
    read = {task: read_samples(path) for task, path in run.samples.items()}
    warnings = [warning for samples in read.values() for warning in samples.warnings]
    if nonsense := non_finite_logits(run):
        warnings.append(f"{nonsense}.")
    tasks = [
        measured
        for task, samples in read.items()
        for measured in _task(run, task, samples, patterns, warnings)
    ]
    unwatched = read.keys() - {measured.task for measured in tasks if measured.watched}
    if unwatched and not patterns:
        warnings.append(
            f"{', '.join(sorted(unwatched))} has no score between 0 and 1 of which more is better: "
            "not watched."
        )
    return MeasuredRun((*tasks, *_groups(run, tasks)), _facts(run), tuple(warnings))


def _task(
    run: Run, task: str, read: TaskSamples, patterns: Sequence[str], warnings: list[str]
) -> list[Measure]:
    """The measures of a task; what was wrong with their scores is added to the warnings."""
    samples = sorted(read.samples.items())
    better = run.part("higher_is_better", task)
    asked = _asked(run, task)
    settings = sha256(asked)
    expected = run.part("n-samples", task).get("effective")
    measures: list[Measure] = []
    passed_over = []
    for name, filter_name in _metrics((sample for _, sample in samples), list(better)):
        rows = [sample for key, sample in samples if key[0] == filter_name]
        scores = [_score(sample.scores.get(name)) for sample in rows]
        metric = name if filter_name == "none" else f"{name},{filter_name}"
        higher = better.get(name) is not False
        first = not any(measured.watched for measured in measures)
        watched = _matches(name, patterns) if patterns else higher and first
        odd = [score for score in scores if score is not None and not 0 <= score <= 1]
        if odd and (not watched or 2 * len(odd) > len(scores)):
            # A score of another kind, such as a perplexity.
            passed_over += [metric] if watched else []
            continue
        if odd:
            warnings.append(
                f"{task} {metric}: {len(odd)} of {len(scores)} scores are not between 0 and 1 and "
                "count as lost."
            )
        measures.append(
            Measure(
                task=task,
                metric=metric,
                scores=tuple(None if score in odd else score for score in scores),
                documents=sha256([[sample.key[1], sample.hashes] for sample in rows]),
                settings=settings,
                higher=higher,
                watched=watched,
                questions=tuple(_question(sample) for sample in rows),
                asked=asked,
                expected=expected if isinstance(expected, int) else None,
                hashed=not any(None in sample.hashes for sample in rows),
                room=longest_input(run),
            )
        )
    instead = ", ".join(measured.metric for measured in measures if measured.watched)
    if passed_over and instead:
        warnings.append(
            f"{task} {', '.join(passed_over)}: most scores are not between 0 and 1, so only "
            f"{instead} is watched."
        )
    return measures


def _asked(run: Run, task: str) -> dict[str, Any]:
    """The settings of a task, without those that its questions and prompts tell by themselves."""
    told = ("limit", "chat_template_sha")
    return {name: value for name, value in task_settings(run, task).items() if name not in told}


def _question(sample: Sample) -> str:
    return sha256([sample.key[1], sample.hashes])[:16]


def _metrics(samples: Iterable[Sample], order: list[str]) -> list[tuple[str, str]]:
    """Metric and filter of all samples, metrics in lm-eval's order."""
    pairs = dict.fromkeys((name, sample.key[0]) for sample in samples for name in sample.scores)
    rank = {name: position for position, name in enumerate(order)}
    return sorted(pairs, key=lambda pair: rank.get(pair[0], len(rank)))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _score(value: float | None) -> float | None:
    return None if value is None or isnan(value) else value


def _groups(run: Run, tasks: Sequence[Measure]) -> list[Measure]:
    """The outermost groups, for each metric that all their tasks have."""
    inside = {
        name: list(part) for name, part in run.part("group_subtasks").items() if part is not None
    }
    held = {name for part in inside.values() for name in part}
    pooled = []
    for group in inside:
        leaves = _leaves(group, inside)
        parts: dict[str, list[Measure]] = {}
        for measured in tasks:
            if measured.task in leaves:
                parts.setdefault(measured.metric, []).append(measured)
        if group not in held and len(leaves) > 1:
            # A group of which some tasks could not be made says so: `ruler_all_4k (11 of 13)`.
            alias = str(run.part("results", group).get("alias"))
            name = alias if alias.startswith(f"{group} (") else group
            pooled += [_pooled(name, part) for part in parts.values() if len(part) == len(leaves)]
    return pooled


def _leaves(name: str, inside: Mapping[str, Sequence[str]]) -> set[str]:
    if not inside.get(name):
        return {name}
    return {leaf for part in inside[name] for leaf in _leaves(part, inside)}


def _pooled(group: str, parts: Sequence[Measure]) -> Measure:
    parts = sorted(parts, key=lambda measured: measured.task)
    return Measure(
        task=group,
        metric=parts[0].metric,
        scores=tuple(score for measured in parts for score in measured.scores),
        documents=sha256([[measured.task, measured.documents] for measured in parts]),
        settings=sha256([[measured.task, measured.settings] for measured in parts]),
        higher=parts[0].higher,
        watched=all(measured.watched for measured in parts),
        questions=tuple(
            f"{measured.task} {name}" for measured in parts for name in measured.questions
        ),
        asked={
            f"{name} of {measured.task}": v
            for measured in parts
            for name, v in measured.asked.items()
        },
        expected=_sum([measured.expected for measured in parts]),
        hashed=all(measured.hashed for measured in parts),
        room=parts[0].room,
    )


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _facts(run: Run) -> dict[str, Any]:
    checkpoint = run.part("config", "iha_eval", "checkpoint")
    config = run.part("config")
    versions = dict(run.part("config", "iha_eval", "versions"))
    if not versions:
        # Runs of lm-eval's own model classes.
        named = {"lm_eval": "lm_eval_version", "transformers": "transformers_version"}
        versions = {name: run.results.get(key) for name, key in named.items()}
    return {
        "name": checkpoint.get("name") or run.results.get("model_name"),
        "fingerprint": checkpoint.get("fingerprint") or config.get("model_sha") or None,
        "versions": versions,
    }
