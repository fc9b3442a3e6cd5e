"""What counts as a regression of the IHA model, and whether there is one tonight.

For: the IHA model against its own last good night and against tonight's baseline, on every metric
that is watched: a drop counts if it is significant after Holm's correction over all that a rule
looks at, and as large as the configuration asks for.
Not for: slow declines that no two nights show; those are steps of the trend (`series.py`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum, hypot
from typing import Literal

from scipy import stats

from iha_eval.nightly.config import Rules
from iha_eval.nightly.measures import Measure
from iha_eval.nightly.series import all_series
from iha_eval.nightly.store import Line, Store
from iha_eval.statistics import holm, level, paired_p

Rule = Literal["last_good", "baseline"]


@dataclass(frozen=True)
class Check:
    """One comparison that a rule made.

    Attributes:
        rule: which rule.
        task: name of the task or group.
        metric: name of the metric.
        against: id of the earlier night, or `baseline`.
        points: tonight less the other, in points; below 0 is worse, whatever the metric.
        p: two-sided p-value.
        p_corrected: the same after Holm's correction.
        method: the test, in words.
        regression: whether it counts as one.
    """

    rule: Rule
    task: str
    metric: str
    against: str
    points: float
    p: float
    p_corrected: float
    method: str
    regression: bool

    @property
    def sentence(self) -> str:
        """The regression in words."""
        other = "the baseline" if self.rule == "baseline" else f"the night {self.against}"
        return (
            f"REGRESSION: {self.task} {self.metric} is {abs(self.points):.1f} points worse than "
            f"{other} (p = {self.p_corrected:.2g}, {self.method}, Holm-corrected)."
        )

    def brief(self) -> dict[str, object]:
        """What the history keeps of a regression."""
        kept = ("rule", "against", "points", "p_corrected")
        return {name: value for name, value in asdict(self).items() if name in kept}


@dataclass(frozen=True)
class Verdict:
    """What the rules found.

    Attributes:
        checks: all comparisons made.
        notes: sentences on what could not be compared.
    """

    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    @property
    def regressions(self) -> list[Check]:
        """The checks that count."""
        return [check for check in self.checks if check.regression]


def judge(
    rules: Rules,
    iha: Sequence[Measure],
    baseline: Sequence[Measure],
    earlier: Mapping[str, Sequence[Line]],
    store: Store,
) -> Verdict:
    """Apply the rules to a night.

    Args:
        rules: what the configuration says.
        iha: what the IHA model measured tonight.
        baseline: what the baseline measured.
        earlier: the nights before, oldest first.
        store: for the scores of those nights.
    """
    watched = [one for one in iha if one.watched and level(one.scores).n]
    checks: list[Check] = []
    notes: list[str] = []
    if rules.last_good:
        checks += _corrected(rules, _against_nights(watched, earlier, store))
    if rules.baseline:
        checks += _corrected(rules, _against_baseline(watched, baseline, notes.append))
    return Verdict(tuple(checks), tuple(notes))


def _against_nights(
    watched: Sequence[Measure], earlier: Mapping[str, Sequence[Line]], store: Store
) -> Iterator[Check]:
    good: dict[tuple[str, str, str, str], Line] = {}
    for series in all_series(earlier):
        what = series.task, series.metric
        if series.model == "iha":
            for point in series.results:
                if not any(one["rule"] == "last_good" for one in point.line.get("regressions", ())):
                    line = point.line
                    good[(*what, line["documents"], line["settings"])] = line
    for one in watched:
        last = good.get((*one.key, one.documents, one.settings))
        if last is None:
            continue
        then = store.scores(last)
        if then is not None and len(then) == len(one.scores):
            yield _paired("last_good", one, then, last["night"])
        else:
            yield _apart(one, last)


def _against_baseline(
    watched: Sequence[Measure], baseline: Sequence[Measure], note: Callable[[str], None]
) -> Iterator[Check]:
    theirs = {one.key: one for one in baseline}
    for one in watched:
        other = theirs.get(one.key)
        if other is None:
            continue
        if other.documents == one.documents:
            yield _paired("baseline", one, other.scores, "baseline")
        else:
            note(
                f"{one.task} {one.metric} was not held against the baseline, whose questions or "
                "prompts are other ones."
            )


def _paired(rule: Rule, one: Measure, other: Sequence[float | None], against: str) -> Check:
    pairs = [
        (mine, theirs)
        for mine, theirs in zip(one.scores, other, strict=True)
        if mine is not None and theirs is not None
    ]
    points = 100 * fsum(mine - theirs for mine, theirs in pairs) / max(1, len(pairs))
    p = paired_p(one.scores, other)
    return _check(rule, one, against, points, 1.0 if p.value is None else p.value, p.method)


def _apart(one: Measure, line: Line) -> Check:
    """Without the earlier scores, only the two means are left to compare."""
    now = level(one.scores)
    change = (now.mean or 0.0) - float(line["mean"])
    z = change / hypot(now.error or 1.0, float(line["se"]))
    p = 2 * float(stats.norm.sf(abs(z)))
    return _check("last_good", one, line["night"], 100 * change, p, "two means, unpaired")


def _check(rule: Rule, one: Measure, against: str, points: float, p: float, method: str) -> Check:
    signed = points if one.higher else -points
    return Check(rule, one.task, one.metric, against, signed, p, p, method, False)


def _corrected(rules: Rules, made: Iterator[Check]) -> list[Check]:
    checks = list(made)
    corrected = holm([check.p for check in checks])
    return [
        Check(**{**asdict(check), "p_corrected": p, "regression": _counts(rules, check, p)})
        for check, p in zip(checks, corrected, strict=True)
        if p is not None
    ]


def _counts(rules: Rules, check: Check, p: float) -> bool:
    # Where there is no difference at all, p is 1.
    return p <= rules.alpha and -check.points >= rules.drop
