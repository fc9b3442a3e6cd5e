"""One measure of tonight against an earlier night or the baseline: a test, or why there is none.

For: finding the earlier night (the newest good one with the same questions asked alike, or the one
that shares the most of them), pairing tonight's scores with others by question, and the p-value of
the difference.
Not for: what a difference means for the night, which takes all of them together (`regressions.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, hypot

from scipy import stats

from iha_eval.compare.inputs.settings import LENGTH
from iha_eval.nightly.history import History, HistoryEntry, RecordedDrop
from iha_eval.nightly.measures import Measure
from iha_eval.nightly.missing import ENOUGH, NotJudged, Rule
from iha_eval.statistics import level, paired_p

# The one setting that the model itself has where it was not given.
_ROOM = f"model_args.{LENGTH}"
# Settings that a sentence names.
_NAMED = 3
# Characters of a setting's value that a sentence shows.
_LONG = 40


@dataclass(frozen=True)
class Reference:
    """What a measure of tonight is held against.

    Attributes:
        line: the night, as the history has it.
        scores: its scores, in the order of tonight's questions, None where it has none; None
            altogether if they are gone from the history.
        common: number of tonight's questions that it asked too.
    """

    line: HistoryEntry
    scores: tuple[float | None, ...] | None
    common: int


def results(
    model: str, nights: Mapping[str, Sequence[HistoryEntry]]
) -> dict[tuple[str, str], list[HistoryEntry]]:
    """The results of a model in all nights, newest first, by task and metric."""
    found: dict[tuple[str, str], list[HistoryEntry]] = {}
    for lines in reversed(list(nights.values())):
        for line in lines:
            if line.model == model and line.has_result:
                found.setdefault(line.key, []).append(line)
    return found


def find_reference(
    one: Measure, earlier: Mapping[tuple[str, str], Sequence[HistoryEntry]], history: History
) -> Reference | str:
    """The night that a measure is held against, or why there is none, in words.

    A night with a regression against an earlier one is no measure for later ones.

    Args:
        one: measured tonight.
        earlier: see `results`.
        history: for questions, settings and scores.
    """
    lines = earlier.get(one.key, ())
    if not lines:
        return "no earlier night measured it"
    alike = [line for line in _one_of_each(lines) if not _different(one, line, history)]
    if not alike:
        night, what = lines[0].night, _different(one, lines[0], history)
        return f"the night {night} asked with other settings, {what}"
    shared: list[tuple[int, HistoryEntry]] = []
    for line in alike:
        common = _common(one, line, history)
        shared.append((common, line))
        if common == len(one.scores):
            break
    # The newest of equals, which comes first.
    common, line = max(shared, key=lambda pair: pair[0])
    if not common:
        return f"its questions are other ones than those of the night {line.night}"
    scores = _aligned(one, line, history)
    if scores is None and line.documents != one.documents:
        return f"the scores of the night {line.night} are gone from the history"
    return Reference(line, scores, common)


def continued_series(one: Measure, lines: Sequence[HistoryEntry], history: History) -> str | None:
    """Documents of an earlier night of which a few are missing tonight, in whose series this is.

    Args:
        one: measured tonight.
        lines: earlier results of it, newest first.
        history: for questions.

    Returns:
        Their hash; None if no question is missing, or no earlier night asked them.
    """
    if one.expected is None or len(one.scores) >= one.expected:
        return None
    for line in _one_of_each(lines):
        then = _questions(line, history)
        few = len(then) * ENOUGH <= len(one.questions) and {*one.questions} < {*then}
        if few and not _different(one, line, history):
            return line.part_of or line.documents
    return None


def _one_of_each(lines: Sequence[HistoryEntry]) -> Iterator[HistoryEntry]:
    """The newest good night of each set of questions asked in one way."""
    seen = set()
    for line in lines:
        what = line.documents, line.settings
        bad = any(drop.rule == "last_good" for drop in line.regressions)
        if what not in seen and not bad:
            seen.add(what)
            yield line


def _different(one: Measure, line: HistoryEntry, history: History) -> str:
    """The settings that differ, in words; empty if none does."""
    if line.settings == one.settings:
        return ""
    then = history.lookup(line.settings)
    if not isinstance(then, dict):
        return "which are not known any more"
    return named_settings(one, then, line.room)


def named_settings(one: Measure, other: Mapping[str, object], room: object = None) -> str:
    """The settings in which a measure differs from another, in words; empty if in none.

    As in `iha_eval.compare.inputs.settings`, a seed of the engine that one side does not tell is
    not held against it, and the room that a model has of itself counts as given where the other was
    given one.

    Args:
        one: measured tonight.
        other: how the other was asked.
        room: tokens that its model had room for; None if unknown.
    """
    mine, theirs = _filled(one.asked, other, one.room), _filled(other, one.asked, room)
    found = [
        f"{name} ({_shown(mine.get(name))} against {_shown(theirs.get(name))})"
        for name in {**mine, **theirs}
        if mine.get(name) != theirs.get(name)
        and not (_is_seed(name) and None in (mine.get(name), theirs.get(name)))
    ]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more


def _filled(
    asked: Mapping[str, object], other: Mapping[str, object], room: object
) -> dict[str, object]:
    # Of a group, it is that of one of its tasks.
    rooms = [name for name in other if name == _ROOM or name.startswith(f"{_ROOM} of ")]
    return {**dict.fromkeys(rooms if room else (), room), **asked}


def _is_seed(name: str) -> bool:
    # Of a group, it is that of one of its tasks.
    return name == "seed" or name.startswith("seed of ")


def _shown(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def _questions(line: HistoryEntry, history: History) -> list[str]:
    found = history.lookup(line.documents)
    return found if isinstance(found, list) else []


def _common(one: Measure, line: HistoryEntry, history: History) -> int:
    if line.documents == one.documents:
        return len(one.scores)
    return len({*one.questions} & {*_questions(line, history)})


def _aligned(one: Measure, line: HistoryEntry, history: History) -> tuple[float | None, ...] | None:
    then = history.scores(line)
    same = line.documents == one.documents
    questions = one.questions if same else _questions(line, history)
    if then is None or len(then) != (len(one.scores) if same else len(questions)):
        return None
    if same:
        return tuple(then)
    by_question = dict(zip(questions, then, strict=True))
    return tuple(by_question.get(name) for name in one.questions)


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

    def brief(self) -> RecordedDrop:
        """What the history keeps of it."""
        return RecordedDrop(self.rule, self.against, self.points, self.p_corrected, self.worse)


def against_night(
    one: Measure, earlier: Mapping[tuple[str, str], Sequence[HistoryEntry]], history: History
) -> Check | NotJudged:
    """Hold a measure of the IHA model against its own last good night.

    Args:
        one: measured tonight.
        earlier: results of the nights before, see `earlier.results`.
        history: for the questions, settings and scores of those nights.
    """
    if not one.hashed:
        return NotJudged("iha", *one.key, "last_good", _NO_HASHES)
    found = find_reference(one, earlier, history)
    if isinstance(found, str):
        return NotJudged("iha", *one.key, "last_good", found)
    if found.scores is None:
        return _apart(one, found.line)
    return _paired("last_good", one, found.scores, found.line.night)


def against_baseline(one: Measure, theirs: Mapping[tuple[str, str], Measure]) -> Check | NotJudged:
    """Hold a measure of the IHA model against the baseline of the same night.

    Args:
        one: measured tonight.
        theirs: what the baseline measured.
    """
    other = theirs.get(one.key)
    if other is None:
        return NotJudged("iha", *one.key, "baseline", "the baseline has no such result")
    if different := named_settings(one, other.asked, other.room):
        return NotJudged(
            "iha", *one.key, "baseline", f"it was asked with other settings, {different}"
        )
    if not (one.hashed and other.hashed):
        return NotJudged("iha", *one.key, "baseline", _NO_HASHES)
    if one.documents == other.documents:
        return _paired("baseline", one, other.scores, BASELINE)
    by_question = dict(zip(other.questions, other.scores, strict=True))
    if not by_question.keys() & {*one.questions}:
        return NotJudged("iha", *one.key, "baseline", "its questions or prompts are other ones")
    return _paired("baseline", one, [by_question.get(name) for name in one.questions], BASELINE)


def _paired(
    rule: Rule, one: Measure, other: Sequence[float | None], against: str
) -> Check | NotJudged:
    pairs = [
        (mine, theirs)
        for mine, theirs in zip(one.scores, other, strict=True)
        if mine is not None and theirs is not None
    ]
    if not pairs:
        return NotJudged("iha", *one.key, rule, "no question has a score on both sides")
    points = 100 * fsum(mine - theirs for mine, theirs in pairs) / len(pairs)
    p = paired_p(one.scores, other)
    value = 1.0 if p.value is None else p.value
    return _check(rule, one, against, points, value, p.method, len(pairs))


def _apart(one: Measure, line: HistoryEntry) -> Check:
    """Without the earlier scores, only the two means are left to compare."""
    now = level(one.scores)
    change = (now.mean or 0.0) - (line.mean or 0.0)
    z = change / hypot(now.error or 1.0, (line.se or 0.0))
    p = 2 * float(stats.norm.sf(abs(z)))
    method = "two means, unpaired"
    return _check("last_good", one, line.night, 100 * change, p, method, now.n)


def _check(
    rule: Rule, one: Measure, against: str, points: float, p: float, method: str, pairs: int
) -> Check:
    signed = points if one.higher else -points
    return Check(rule, *one.key, against, signed, p, p, method, pairs, len(one.scores))
