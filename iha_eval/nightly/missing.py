"""What of a night was not judged or not measured, and why, in words.

For: `NotJudged`, and the measures of a finished run that count as missing all the same: without a
score, or of far fewer questions than were to be asked.
Not for: runs that failed (see `record.py`), nor for judging (`regressions.py`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from iha_eval.nightly.history import HistoryEntry
from iha_eval.nightly.measures import Measure
from iha_eval.statistics import level

Rule = Literal["last_good", "pinned", "baseline"]

# Share of the questions that were to be asked; of fewer, the mean is that of another test.
ENOUGH = 0.9

RULE_NAMES: Mapping[str, str] = {
    "last_good": "an earlier night",
    "pinned": "the pinned night",
    "baseline": "its baseline",
}
# Tasks that a sentence names.
_NAMED = 3


@dataclass(frozen=True)
class NotJudged:
    """A watched measure that a rule did not judge, or that is not there.

    Attributes:
        model: name of the model.
        task: name of the task or group.
        metric: name of the metric.
        rule: the rule that did not judge it; None for a measure that is not there.
        reason: why, in words.
        command: hash of the command that was to give it, where that is known.
    """

    model: str
    task: str
    metric: str
    rule: Rule | None
    reason: str
    command: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Model, task and metric."""
        return self.model, self.task, self.metric


def lacking(model: str, measures: Iterable[Measure]) -> Iterator[NotJudged]:
    """The watched measures of a model that count as missing."""
    for measure in measures:
        if measure.watched and (reason := _lacks(measure)):
            yield NotJudged(model, *measure.key, None, reason)


def vanished(
    model: str,
    there: Iterable[Measure],
    commands: Iterable[str],
    earlier: Mapping[str, Sequence[HistoryEntry]],
) -> Iterator[NotJudged]:
    """What the same commands measured the last time and did not tonight.

    It is missed every night from then on, until a night without it is accepted.

    Args:
        model: name of the model.
        there: all that it measured tonight.
        commands: hashes of its commands that have ended well tonight.
        earlier: the nights before, oldest first.
    """
    tonight, ended = {measure.key for measure in there}, set(commands)
    history = list(earlier.values())[::-1]
    for command in sorted(ended):
        nights = (
            [measure for measure in lines if _is_of(measure, model, command)] for lines in history
        )
        for line in next(filter(None, nights), []):
            key = line.key
            done_with = line.lacking and line.accepted
            if line.watched and key not in tonight and not done_with:
                reason = "not in the results of a command that gave it on an earlier night"
                yield NotJudged(model, *key, None, reason, command)


def sentences(gaps: Iterable[NotJudged]) -> Iterator[str]:
    """Gaps in words; those of one kind with one reason share a sentence."""
    alike: dict[tuple[str, Rule | None, str, str], list[str]] = {}
    for gap in gaps:
        kind = gap.model, gap.rule, gap.metric, gap.reason
        alike.setdefault(kind, []).append(gap.task)
    for (model, rule, metric, reason), tasks in alike.items():
        more = f" and {len(tasks) - _NAMED} more" if len(tasks) > _NAMED else ""
        what = f"{', '.join(tasks[:_NAMED])}{more} {metric}".strip() + f" of {model}"
        if rule is None:
            yield f"MISSING: {what}: {reason}."
        else:
            yield f"NOT JUDGED against {RULE_NAMES[rule]}: {what}: {reason}."


def _lacks(measure: Measure) -> str:
    asked = measure.expected or len(measure.scores)
    scored = level(measure.scores).n
    if not scored:
        return f"none of its {len(measure.scores)} questions has a score"
    if len(measure.scores) < ENOUGH * asked:
        return (
            f"only {len(measure.scores)} of the {asked} questions that were asked are in the "
            "samples, so run it again with --fresh"
        )
    if scored < ENOUGH * asked:
        return f"only {scored} of the {asked} questions that were asked have a score"
    return ""


def _is_of(line: HistoryEntry, model: str, command: str) -> bool:
    return (line.model, line.command) == (model, command) and not line.failed
