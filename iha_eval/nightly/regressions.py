"""What counts as a regression of the IHA model, and whether there is one tonight.

For: the IHA model against its own last good night and against tonight's baseline, on every metric
that is watched: a drop counts if it is significant after Holm's correction over all that a rule
looks at, and as large as the configuration asks for. Against the baseline it counts on the night on
which it is new, and is told as long as it lasts (`StandingDrop`).
Not for: single comparisons (`comparisons.py`), nor for slow declines that no two nights show; those
are steps of the trend (`trends.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from iha_eval.nightly.comparisons import (
    Check,
    against_baseline,
    against_night,
    continued_series,
    results,
)
from iha_eval.nightly.config import Rules
from iha_eval.nightly.history import History, HistoryEntry, RecordedDrop
from iha_eval.nightly.measures import Measure
from iha_eval.nightly.missing import NotJudged, lacking, sentences
from iha_eval.statistics import holm


@dataclass(frozen=True)
class StandingDrop:
    """A measure on which the IHA model was worse than the baseline when it was last judged.

    Attributes:
        since: the first night of all those, without one that was not worse between them.
        last: the newest of them.
        accepted: whether one of them was accepted.
        told: what the newest one found: points and p-value.
        asked: documents and settings, the same on all of them.
        day: date of the first of them.
    """

    since: str
    last: str
    accepted: bool
    told: RecordedDrop
    asked: tuple[Any, Any]
    day: str

    def covers(self, asked: tuple[Any, Any], day: str) -> bool:
        """Whether a drop on another night is not news any more.

        Not for other questions or settings, and on the day on which it is new only once accepted,
        so that a night started again does not look better than the first.

        Args:
            asked: documents and settings of that night.
            day: its date.
        """
        return asked == self.asked and (self.accepted or day != self.day)

    @property
    def sentence(self) -> str:
        """What stands, without the measure's name."""
        return (
            f"{abs(self.told.points):.1f} points worse than the baseline "
            f"(p = {self.told.p_corrected:.2g}), as on every night judged since {self.since}"
            + (", accepted" if self.accepted else "")
        )


def standing_drops(
    nights: Mapping[str, Sequence[HistoryEntry]],
) -> dict[tuple[str, str], StandingDrop]:
    """What stands after the last of some nights, by task and metric.

    Other questions or settings are another test, on which nothing stood before.

    Args:
        nights: the lines of each night, oldest first.
    """
    found: dict[tuple[str, str], StandingDrop] = {}
    for night, lines in nights.items():
        for line in lines:
            told = line.baseline if line.model == "iha" else None
            if not told:
                # Not judged: nothing is known to have changed.
                continue
            key, asked = line.key, line.questions
            before = found.pop(key, None)
            if before is not None and before.asked != asked:
                before = None
            if told.worse:
                accepted = line.accepted or (before is not None and before.accepted)
                since = before.since if before else night
                day = before.day if before else line.date[:10]
                found[key] = StandingDrop(since, night, accepted, told, asked, day)
    return found


FIRST = "Nothing was held against an earlier night: there is no earlier night with a result."


@dataclass(frozen=True)
class NightVerdict:
    """What the rules found.

    Attributes:
        checks: all comparisons made.
        gaps: what is watched and was not judged by a rule, or counts as missing.
        standing: sentences on drops against the baseline that are not new.
        remarks: further sentences, on what the night could not be held against.
    """

    checks: tuple[Check, ...]
    gaps: tuple[NotJudged, ...] = ()
    standing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def regressions(self) -> list[Check]:
        """The checks that count."""
        return [check for check in self.checks if check.regression]

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
    iha: Sequence[Measure],
    baseline: Sequence[Measure],
    earlier: Mapping[str, Sequence[HistoryEntry]],
    history: History,
    day: str = "",
) -> NightVerdict:
    """Apply the rules to a night.

    Args:
        rules: what the configuration says.
        iha: what the IHA model measured tonight.
        baseline: what the baseline measured.
        earlier: the nights before, oldest first.
        history: for the questions, settings and scores of those nights.
        day: date of tonight.
    """
    missing = [*lacking("iha", iha), *lacking("baseline", baseline)]
    gone = {gap.key for gap in missing}
    watched = [one for one in iha if one.watched and ("iha", *one.key) not in gone]
    theirs = {one.key: one for one in baseline if ("baseline", *one.key) not in gone}
    known, before_tonight = results("iha", earlier), standing_drops(earlier)
    stood = {
        one.key: found
        for one in watched
        if (found := before_tonight.get(one.key))
        and found.covers(
            (continued_series(one, known.get(one.key, ()), history) or one.documents, one.settings),
            day,
        )
    }
    remarks: tuple[str, ...] = ()
    if rules.last_good and watched and not known:
        remarks = (FIRST,)
    before = watched if rules.last_good and known else ()
    nights, gaps = _parted(against_night(one, known, history) for one in before)
    beside = watched if rules.baseline else ()
    tonight, others = _parted(against_baseline(one, theirs) for one in beside)
    now = [_news(check, stood) for check in _corrected(rules, tonight)]
    return NightVerdict(
        checks=(*_corrected(rules, nights), *now),
        gaps=(*missing, *gaps, *others),
        standing=tuple(_still(check, stood[check.key]) for check in now if _stands(check)),
        remarks=remarks,
    )


def _parted(found: Iterable[Check | NotJudged]) -> tuple[list[Check], list[NotJudged]]:
    every = list(found)
    checks = [one for one in every if isinstance(one, Check)]
    return checks, [one for one in every if isinstance(one, NotJudged)]


def _corrected(rules: Rules, checks: Sequence[Check]) -> list[Check]:
    """All that one rule looked at, with corrected p-values."""
    corrected = holm([check.p for check in checks])
    return [
        replace(check, p_corrected=p, worse=worse, regression=worse)
        for check, p in zip(checks, corrected, strict=True)
        if p is not None
        # Where there is no difference at all, p is 1.
        for worse in [p <= rules.alpha and -check.points >= rules.drop]
    ]


def _news(check: Check, stood: Mapping[tuple[str, str], StandingDrop]) -> Check:
    """Against the baseline, what stood before is no regression any more."""
    return replace(check, regression=check.worse and check.key not in stood)


def _stands(check: Check) -> bool:
    return check.worse and not check.regression


def _still(check: Check, before: StandingDrop) -> str:
    now = replace(before, told=check.brief())
    return f"STANDING: {check.task} {check.metric} is {now.sentence}."
