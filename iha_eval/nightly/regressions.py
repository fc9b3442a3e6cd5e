"""What counts as a regression of a model, and whether there is one tonight.

For: each model against its own good nights, against a pinned night and against the baseline, on
every metric that is watched. Each of these is a watch, and all watches share the budget of false
alarms. A drop against earlier or pinned nights counts every night until it was mended; one against
the baseline counts on the night on which it is new, and is told as long as it lasts.
Not for: single comparisons (`comparisons.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from iha_eval.nightly.comparisons import (
    Check,
    Tonight,
    against_baseline,
    against_nights,
    against_pinned,
    results,
)
from iha_eval.nightly.config import BASELINE, Rules
from iha_eval.nightly.history import Entries, History
from iha_eval.nightly.measures import Measure
from iha_eval.nightly.missing import NotJudged, lacking, sentences
from iha_eval.statistics import threshold

FIRST = "Nothing was held against an earlier night: there is no earlier night with a result."


@dataclass(frozen=True)
class NightVerdict:
    """What the rules found.

    Attributes:
        checks: all comparisons made.
        gaps: what is watched and was not judged by a rule, or counts as missing.
        remarks: further sentences, on what the night could not be held against.
        alarm: the z from which on there is an alarm.
        watches: number of watches that share the budget of false alarms.
    """

    checks: tuple[Check, ...]
    gaps: tuple[NotJudged, ...] = ()
    remarks: tuple[str, ...] = ()
    alarm: float | None = None
    watches: int = 0

    @property
    def regressions(self) -> list[Check]:
        """The checks that count."""
        return [check for check in self.checks if check.regression]

    @property
    def standing(self) -> list[str]:
        """Sentences on drops that are told and do not count tonight."""
        return [check.standing for check in self.checks if check.standing]

    @property
    def missing(self) -> list[NotJudged]:
        """What counts as missing, so that the night is not whole."""
        return [gap for gap in self.gaps if gap.rule is None]

    @property
    def notes(self) -> tuple[str, ...]:
        """All that must be told besides regressions, each a sentence."""
        return (*sentences(self.gaps), *self.standing, *self.all_remarks)

    @property
    def all_remarks(self) -> tuple[str, ...]:
        """The remarks, and those on comparisons that rest on some of the questions."""
        return (*self.remarks, *(check.remark for check in self.checks if check.remark))


def judge(
    rules: Rules,
    measures: Mapping[str, Sequence[Measure]],
    earlier: Entries,
    history: History,
    night: str,
    date: str,
    fingerprints: Mapping[str, str | None],
) -> NightVerdict:
    """Apply the rules to a night.

    Args:
        rules: what the configuration says.
        measures: what was measured tonight, by model.
        earlier: the nights before.
        history: for the questions, settings and scores of those nights.
        night: id of tonight.
        date: when it began, ISO 8601.
        fingerprints: of the checkpoints, by model.
    """
    missing = [gap for model in measures for gap in lacking(model, measures[model])]
    gone = {gap.key for gap in missing}
    watched = [
        (model, measure)
        for model in measures
        for measure in measures[model]
        if model != BASELINE and measure.watched and (model, *measure.key) not in gone
    ]
    theirs = {
        measure.key: measure
        for measure in measures.get(BASELINE, ())
        if (BASELINE, *measure.key) not in gone
    }
    known = {model: results(model, earlier.nights) for model in (*measures, BASELINE)}
    pinned = earlier.pinned
    alone = rules.last_good + (pinned is not None)
    beside = sum(measure.key in theirs for _, measure in watched) if rules.baseline else 0
    watches = max(1, alone * len(watched) + beside)
    alarm = threshold(rules.false_alarms_per_month / watches)
    tonight = Tonight(night, date, fingerprints, alarm, rules.drop)
    seen_before = any(known[model] for model, _ in watched)
    remarks = (FIRST,) if rules.last_good and watched and not seen_before else ()
    judged: list[Check | NotJudged] = []
    for model, measure in watched:
        entries = known[model].get(measure.key, ())
        if rules.last_good and seen_before:
            judged.append(against_nights(measure, entries, history, tonight, model))
        if pinned is not None:
            judged.append(against_pinned(measure, entries, history, tonight, pinned, model))
    if rules.baseline:
        judged += [
            against_baseline(measure, theirs, known, history, tonight, model)
            for model, measure in watched
        ]
    checks, gaps = _parted(judged)
    return NightVerdict(
        checks=tuple(checks),
        gaps=(*missing, *gaps),
        remarks=remarks,
        alarm=alarm,
        watches=watches,
    )


def _parted(outcomes: Iterable[Check | NotJudged]) -> tuple[list[Check], list[NotJudged]]:
    every = list(outcomes)
    checks = [item for item in every if isinstance(item, Check)]
    return checks, [item for item in every if isinstance(item, NotJudged)]
