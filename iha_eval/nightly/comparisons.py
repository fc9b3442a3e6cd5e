"""One measure of tonight against an earlier night or the baseline: a test, or why there is none.

For: pairing tonight's scores with others by question, and the p-value of the difference.
Not for: what a difference means for the night, which takes all of them together (`regressions.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum, hypot

from scipy import stats

from iha_eval.nightly.earlier import find_reference, named_settings
from iha_eval.nightly.history import Line, Store
from iha_eval.nightly.measures import Measure
from iha_eval.nightly.missing import Gap, Rule
from iha_eval.statistics import level, paired_p

BASELINE = "baseline"

_NO_HASHES = "some of its samples have no hashes, so nobody knows which questions they are"


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
        pairs: number of questions that it rests on.
        of: number of tonight's questions.
        worse: whether it is a drop that is significant and large enough.
        regression: whether it counts as one; against the baseline, a drop that stood before does
            not.
    """

    rule: Rule
    task: str
    metric: str
    against: str
    points: float
    p: float
    p_corrected: float
    method: str
    pairs: int
    of: int
    worse: bool = False
    regression: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Task and metric."""
        return self.task, self.metric

    @property
    def sentence(self) -> str:
        """The regression in words."""
        return (
            f"REGRESSION: {self.task} {self.metric} is {abs(self.points):.1f} points worse than "
            f"{self._other} (p = {self.p_corrected:.2g}, {self.method}, Holm-corrected)."
        )

    @property
    def remark(self) -> str:
        """That it rests on some of the questions only; empty if on all."""
        if self.pairs == self.of:
            return ""
        return (
            f"{self.task} {self.metric} was held against {self._other} on {self.pairs} of "
            f"{self.of} questions, those with a score on both sides."
        )

    @property
    def _other(self) -> str:
        return "the baseline" if self.rule == "baseline" else f"the night {self.against}"

    def brief(self) -> dict[str, object]:
        """What the history keeps of a regression."""
        kept = ("rule", "against", "points", "p_corrected")
        return {name: value for name, value in asdict(self).items() if name in kept}


def against_night(
    one: Measure, earlier: Mapping[tuple[str, str], Sequence[Line]], store: Store
) -> Check | Gap:
    """Hold a measure of the IHA model against its own last good night.

    Args:
        one: measured tonight.
        earlier: results of the nights before, see `earlier.results`.
        store: for the questions, settings and scores of those nights.
    """
    if not one.hashed:
        return Gap("iha", *one.key, "last_good", _NO_HASHES)
    found = find_reference(one, earlier, store)
    if isinstance(found, str):
        return Gap("iha", *one.key, "last_good", found)
    if found.scores is None:
        return _apart(one, found.line)
    return _paired("last_good", one, found.scores, found.line["night"])


def against_baseline(one: Measure, theirs: Mapping[tuple[str, str], Measure]) -> Check | Gap:
    """Hold a measure of the IHA model against the baseline of the same night.

    Args:
        one: measured tonight.
        theirs: what the baseline measured.
    """
    other = theirs.get(one.key)
    if other is None:
        return Gap("iha", *one.key, "baseline", "the baseline has no such result")
    if different := named_settings(one, other.asked, other.room):
        return Gap("iha", *one.key, "baseline", f"it was asked with other settings, {different}")
    if not (one.hashed and other.hashed):
        return Gap("iha", *one.key, "baseline", _NO_HASHES)
    if one.documents == other.documents:
        return _paired("baseline", one, other.scores, BASELINE)
    by_question = dict(zip(other.questions, other.scores, strict=True))
    if not by_question.keys() & {*one.questions}:
        return Gap("iha", *one.key, "baseline", "its questions or prompts are other ones")
    return _paired("baseline", one, [by_question.get(name) for name in one.questions], BASELINE)


def _paired(rule: Rule, one: Measure, other: Sequence[float | None], against: str) -> Check | Gap:
    pairs = [
        (mine, theirs)
        for mine, theirs in zip(one.scores, other, strict=True)
        if mine is not None and theirs is not None
    ]
    if not pairs:
        return Gap("iha", *one.key, rule, "no question has a score on both sides")
    points = 100 * fsum(mine - theirs for mine, theirs in pairs) / len(pairs)
    p = paired_p(one.scores, other)
    value = 1.0 if p.value is None else p.value
    return _check(rule, one, against, points, value, p.method, len(pairs))


def _apart(one: Measure, line: Line) -> Check:
    """Without the earlier scores, only the two means are left to compare."""
    now = level(one.scores)
    change = (now.mean or 0.0) - float(line["mean"])
    z = change / hypot(now.error or 1.0, float(line["se"]))
    p = 2 * float(stats.norm.sf(abs(z)))
    method = "two means, unpaired"
    return _check("last_good", one, line["night"], 100 * change, p, method, now.n)


def _check(
    rule: Rule, one: Measure, against: str, points: float, p: float, method: str, pairs: int
) -> Check:
    signed = points if one.higher else -points
    return Check(rule, *one.key, against, signed, p, p, method, pairs, len(one.scores))
