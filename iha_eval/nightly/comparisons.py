"""One measure of tonight against earlier nights, a pinned night or the baseline.

For: which nights are held against each other (those of the same checkpoint, asked alike, on the
questions of tonight), and what watching them shows (`iha_eval.statistics.watch`). The exit code of
a night and the first bad night of `iha-eval history` both come from here.
Not for: what a drop means for the night, which takes all of them together (`regressions.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from iha_eval.compare.inputs.settings import LENGTH
from iha_eval.nightly.config import BASELINE
from iha_eval.nightly.history import History, HistoryEntry, RecordedDrop
from iha_eval.nightly.measures import Measure
from iha_eval.nightly.missing import ENOUGH, NotJudged, Rule
from iha_eval.statistics import Watch, watch
from iha_eval.statistics.scores import Floats
from iha_eval.util.text import cut_short

# The one setting that the model itself has where it was not given.
_ROOM = f"model_args.{LENGTH}"
# Settings that a sentence names.
_NAMED = 3
# Characters of a fingerprint that a sentence shows.
_SHORT = 12
_NO_HASHES = "some of its samples have no hashes, so nobody knows which questions they are"


@dataclass(frozen=True)
class Tonight:
    """The night that is judged, and how.

    Attributes:
        night: its id.
        date: when it began, ISO 8601.
        fingerprints: of the checkpoints, by model; None or absent if unknown.
        threshold: z from which on there is an alarm.
        least: points that a drop must have at least.
    """

    night: str
    date: str
    fingerprints: Mapping[str, str | None]
    threshold: float
    least: float = 0.0


@dataclass(frozen=True)
class FoundDrop:
    """A drop, by the ids of nights.

    Attributes:
        since: the first night of it.
        alarm: the night that found it.
        before: the last night with a result before it; None against a baseline or pinned night.
        ended: the night on which it counted as mended; None while it stands.
        mended: whether that was shown by a rise; otherwise the drop is not shown any more.
        points: how much worse, in points; above 0.
        z: the statistic of the alarm.
    """

    since: str
    alarm: str
    before: str | None
    ended: str | None
    mended: bool
    points: float
    z: float


@dataclass(frozen=True)
class Check:
    """What a rule shows of one measure.

    Attributes:
        model: name of the model.
        rule: which rule.
        task: name of the task or group.
        metric: name of the metric.
        against: the last good night, the pinned night, or `baseline`.
        nights: number of nights that it was held against.
        points: how much better it is than those: of the drop that stands, or else of tonight alone.
        z: the statistic: of the alarm if a drop stands, or else of tonight.
        threshold: the z from which on there is an alarm.
        drops: all drops on the way here.
        pairs: number of questions that it rests on.
        of: number of tonight's questions.
        worse: whether a drop stands.
        accepted: whether that was accepted.
        regression: whether it counts as one tonight; against the baseline, a drop that stood before
            does not.
    """

    model: str
    rule: Rule
    task: str
    metric: str
    against: str
    nights: int
    points: float
    z: float
    threshold: float
    drops: tuple[FoundDrop, ...]
    pairs: int
    of: int
    worse: bool = False
    accepted: bool = False
    regression: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """Model, task and metric."""
        return self.model, self.task, self.metric

    @property
    def since(self) -> str:
        """The first night of the drop that stands; empty without one."""
        return self.drops[-1].since if self.worse else ""

    @property
    def sentence(self) -> str:
        """The regression in words."""
        return f"REGRESSION: {self._what} {self._evidence}."

    @property
    def standing(self) -> str:
        """A drop against the baseline that is not news, in words; empty if there is none."""
        if not self.worse or self.regression or self.rule == "last_good":
            return ""
        accepted = ", accepted" if self.accepted else ""
        return f"STANDING: {self._what}, as on the nights before {self._evidence}{accepted}."

    @property
    def remark(self) -> str:
        """That it rests on some of the questions only; empty if on all."""
        if self.pairs == self.of:
            return ""
        return (
            f"{self._name} was held against {self._other} on {self.pairs} of {self.of} questions, "
            "those with a score on both sides."
        )

    @property
    def _name(self) -> str:
        return f"{self.task} {self.metric} of {self.model}"

    @property
    def _what(self) -> str:
        points = f"{self._name} is {abs(self.points):.1f} points worse"
        if self.rule == "baseline":
            return f"{points} than the baseline since the night {self.since}"
        return f"{points} since the night {self.since} than on {self._other}"

    @property
    def _evidence(self) -> str:
        return f"(z = {self.z:.1f}, alarm from {self.threshold:.1f})"

    @property
    def _other(self) -> str:
        if self.rule == "baseline":
            return "the baseline"
        if self.rule == "pinned":
            return f"the pinned night {self.against}"
        if self.nights == 1:
            return f"the good night {self.against}"
        return f"the {self.nights} good nights up to {self.against}"

    def brief(self) -> RecordedDrop:
        """What the history keeps of it."""
        against = self.since if self.rule == "last_good" and self.worse else self.against
        since = self.since or None
        return RecordedDrop(
            self.rule, against, self.points, z=self.z, since=since, worse=self.worse
        )


def measure_of(entry: HistoryEntry, history: History) -> Measure | None:
    """A measure as the history keeps it; None if its scores or questions are gone."""
    scores, questions = history.scores(entry), history.questions(entry.documents)
    if scores is None or questions is None or len(scores) != len(questions):
        return None
    return Measure(
        entry.task,
        entry.metric or "",
        tuple(scores),
        entry.documents or "",
        entry.settings or "",
        entry.higher_is_better,
        entry.watched,
        tuple(questions),
        history.settings(entry.settings) or {},
        entry.asked,
        room=entry.room,
    )


def results(
    model: str, nights: Mapping[str, Sequence[HistoryEntry]]
) -> dict[tuple[str, str], list[HistoryEntry]]:
    """The results of a model in all nights, newest first, by task and metric."""
    by_key: dict[tuple[str, str], list[HistoryEntry]] = {}
    for entries in reversed(list(nights.values())):
        for entry in entries:
            if entry.model == model and entry.has_result:
                by_key.setdefault(entry.key, []).append(entry)
    return by_key


def against_nights(
    measure: Measure,
    entries: Sequence[HistoryEntry],
    history: History,
    tonight: Tonight,
    model: str,
) -> Check | NotJudged:
    """Hold a measure against the good nights before it.

    Args:
        measure: measured tonight.
        entries: earlier results of it, newest first.
        history: for their questions, settings and scores.
        tonight: the night.
        model: name of the model.
    """
    alike = _alike(measure, entries, history, tonight.fingerprints.get(model))
    if isinstance(alike, str):
        return NotJudged(model, *measure.key, "last_good", alike)
    # An accepted night is the new normal.
    start = max((place for place, entry in enumerate(alike) if entry.accepted), default=0)
    rows = [(entry, _aligned(measure, entry, history)) for entry in alike[start:]]
    known = [(entry, row) for entry, row in rows if row is not None]
    if not known:
        night = alike[-1].night
        gone = "the scores of the earlier nights are gone from the history"
        other = f"its questions are other ones than those of the night {night}"
        shared = any(_shares(measure, entry, history) for entry in alike[start:])
        return NotJudged(model, *measure.key, "last_good", gone if shared else other)
    own = _row(measure)
    scores = np.array([*(row for _, row in known), own])
    watched = watch(scores, tonight.threshold, least=tonight.least / 100)
    nights = [entry.night for entry, _ in known]
    bad = {
        n
        for d in watched.drops
        for n in range(d.since, len(scores) if d.ended is None else d.ended)
    }
    last = max(n for n in range(len(nights)) if n not in bad)
    pairs = int((~np.isnan(own) & ~np.isnan(scores[:-1]).all(0)).sum())
    if not pairs:
        reason = "no question has a score on both sides"
        return NotJudged(model, *measure.key, "last_good", reason)
    check = _check(
        model, "last_good", measure, nights[last], watched, [*nights, tonight.night], tonight, pairs
    )
    return _counted(check, regression=check.worse)


def against_pinned(
    measure: Measure,
    entries: Sequence[HistoryEntry],
    history: History,
    tonight: Tonight,
    pinned: str,
    model: str,
) -> Check | NotJudged:
    """Hold a measure against the night that the user has pinned.

    It stays the reference when the checkpoint changes. Arguments are those of `against_nights`.
    """
    gone = NotJudged(model, *measure.key, "pinned", f"the pinned night {pinned} has no such result")
    entry = next((entry for entry in entries if entry.night == pinned), None)
    if entry is None:
        return gone
    if different := _different(measure, entry, history):
        reason = f"the pinned night {pinned} asked with other settings, {different}"
        return NotJudged(model, *measure.key, "pinned", reason)
    reference = _aligned(measure, entry, history)
    if reference is None:
        return gone
    alike = _alike(measure, entries, history, tonight.fingerprints.get(model))
    later = [] if isinstance(alike, str) else [e for e in alike if e.moment > entry.moment]
    rows = [(e, row) for e in later if (row := _aligned(measure, e, history)) is not None]
    own = _row(measure)
    scores = np.array([*(row for _, row in rows), own])
    watched = watch(scores, tonight.threshold, reference=reference, least=tonight.least / 100)
    nights = [*(e.night for e, _ in rows), tonight.night]
    pairs = int((~np.isnan(own) & ~np.isnan(reference)).sum())
    check = _check(model, "pinned", measure, pinned, watched, nights, tonight, pairs)
    accepted = _accepted(check, rows)
    return _counted(check, regression=check.worse and not accepted, accepted=accepted)


def against_baseline(
    measure: Measure,
    theirs: Mapping[tuple[str, str], Measure],
    earlier: Mapping[str, Mapping[tuple[str, str], Sequence[HistoryEntry]]],
    history: History,
    tonight: Tonight,
    model: str,
) -> Check | NotJudged:
    """Hold a measure against the baseline, on tonight and the nights before.

    Args:
        measure: measured tonight.
        theirs: what the baseline measured.
        earlier: results of both models, see `results`.
        history: for their questions, settings and scores.
        tonight: the night.
        model: name of the model.
    """
    other = theirs.get(measure.key)
    if other is None:
        return NotJudged(model, *measure.key, "baseline", "the baseline has no such result")
    if different := named_settings(measure, other.asked, other.room):
        reason = f"it was asked with other settings, {different}"
        return NotJudged(model, *measure.key, "baseline", reason)
    if not (measure.hashed and other.hashed):
        return NotJudged(model, *measure.key, "baseline", _NO_HASHES)
    if not {*measure.questions} & {*other.questions}:
        reason = "its questions or prompts are other ones"
        return NotJudged(model, *measure.key, "baseline", reason)
    last = _row(measure) - _onto(measure, other.questions, _row(other))
    if np.isnan(last).all():
        reason = "no question has a score on both sides"
        return NotJudged(model, *measure.key, "baseline", reason)
    rows = _beside(model, measure, other, earlier, history, tonight)
    scores = np.array([*(row for _, row in rows), last])
    reference = np.zeros(len(last))
    watched = watch(
        scores, tonight.threshold, reference=reference, exact=True, least=tonight.least / 100
    )
    nights = [*(entry.night for entry, _ in rows), tonight.night]
    pairs = int((~np.isnan(last)).sum())
    check = _check(model, "baseline", measure, BASELINE, watched, nights, tonight, pairs)
    accepted = _accepted(check, rows)
    # It is news on the whole of its first day, so that a second start is as red as the first.
    dates = {entry.night: entry.date for entry, _ in rows} | {tonight.night: tonight.date}
    news = check.worse and dates[check.drops[-1].alarm][:10] == tonight.date[:10]
    return _counted(check, regression=news and not accepted, accepted=accepted)


def _beside(
    model: str,
    measure: Measure,
    other: Measure,
    earlier: Mapping[str, Mapping[tuple[str, str], Sequence[HistoryEntry]]],
    history: History,
    tonight: Tonight,
) -> list[tuple[HistoryEntry, Floats]]:
    """The differences of both models on earlier nights with both checkpoints, asked alike."""
    sides = []
    for name, side in ((model, measure), (BASELINE, other)):
        entries = earlier.get(name, {}).get(side.key, ())
        alike = _alike(side, entries, history, tonight.fingerprints.get(name))
        sides.append([] if isinstance(alike, str) else alike)
    theirs = {entry.night: entry for entry in sides[1]}
    rows = []
    for entry in sides[0]:
        beside = theirs.get(entry.night)
        mine = _aligned(measure, entry, history)
        against = _aligned(measure, beside, history) if beside else None
        if mine is not None and against is not None:
            rows.append((entry, mine - against))
    return rows


def _accepted(check: Check, rows: Sequence[tuple[HistoryEntry, Floats]]) -> bool:
    """Whether one of the nights of the drop that stands was accepted."""
    if not check.worse:
        return False
    nights = [entry.night for entry, _ in rows]
    start = nights.index(check.since) if check.since in nights else len(nights)
    return any(entry.accepted for entry, _ in rows[start:])


def _check(
    model: str,
    rule: Rule,
    measure: Measure,
    against: str,
    watched: Watch,
    nights: Sequence[str],
    tonight: Tonight,
    pairs: int,
) -> Check:
    """A watch in the words of a night; `nights` are the ids of its rows."""
    drops = tuple(
        FoundDrop(
            nights[drop.since],
            nights[drop.alarm],
            nights[drop.since - 1] if drop.since and rule == "last_good" else None,
            None if drop.ended is None else nights[drop.ended],
            drop.mended,
            100 * drop.points,
            drop.z,
        )
        for drop in watched.drops
    )
    standing = watched.standing
    return Check(
        model,
        rule,
        *measure.key,
        against,
        standing.reference if standing else watched.reference,
        -100 * standing.points if standing else 100 * watched.points,
        standing.z if standing else watched.z,
        tonight.threshold,
        drops,
        pairs,
        len(measure.scores),
        worse=standing is not None,
    )


def _counted(check: Check, *, regression: bool, accepted: bool = False) -> Check:
    return replace(check, regression=regression, accepted=accepted)


def _alike(
    measure: Measure, entries: Sequence[HistoryEntry], history: History, fingerprint: str | None
) -> list[HistoryEntry] | str:
    """The nights that a measure can be held against, oldest first, or why there are none."""
    if not measure.hashed:
        return _NO_HASHES
    if not entries:
        return "no earlier night measured it"
    alike = [entry for entry in entries if not _different(measure, entry, history)]
    if not alike:
        night, what = entries[0].night, _different(measure, entries[0], history)
        return f"the night {night} asked with other settings, {what}"
    same = [entry for entry in alike if _same_checkpoint(entry.fingerprint, fingerprint)]
    if not same:
        old, new = (str(value)[:_SHORT] for value in (alike[0].fingerprint, fingerprint))
        return (
            f"the checkpoint is another one than on the night {alike[0].night} ({old} -> {new}), "
            "so its watch begins anew"
        )
    return same[::-1]


def _same_checkpoint(first: str | None, second: str | None) -> bool:
    return first is None or second is None or first == second


def _row(measure: Measure) -> Floats:
    """Scores of shape (questions,), more is better, NaN where there is none."""
    scores = np.array([np.nan if score is None else score for score in measure.scores], np.float64)
    return scores if measure.higher else -scores


def _onto(measure: Measure, questions: Sequence[str], scores: Floats) -> Floats:
    """Scores in the order of the questions of a measure; NaN for questions that are not there."""
    by_question = dict(zip(questions, scores, strict=True))
    return np.array([by_question.get(name, np.nan) for name in measure.questions], np.float64)


def _aligned(measure: Measure, entry: HistoryEntry, history: History) -> Floats | None:
    """Scores of an earlier night on tonight's questions; None without any."""
    earlier = measure_of(entry, history)
    if earlier is None:
        return None
    if earlier.documents == measure.documents:
        return _row(earlier)
    row = _onto(measure, earlier.questions, _row(earlier))
    return None if np.isnan(row).all() else row


def _shares(measure: Measure, entry: HistoryEntry, history: History) -> bool:
    questions = history.questions(entry.documents) or ()
    return entry.documents == measure.documents or bool({*measure.questions} & {*questions})


def continued_series(
    measure: Measure, entries: Sequence[HistoryEntry], history: History
) -> str | None:
    """Documents of an earlier night of which a few are missing tonight, in whose series this is.

    Args:
        measure: measured tonight.
        entries: earlier results of it, newest first.
        history: for questions.

    Returns:
        Their hash; None if no question is missing, or no earlier night asked them.
    """
    if measure.expected is None or len(measure.scores) >= measure.expected:
        return None
    for entry in entries:
        questions = history.questions(entry.documents) or []
        few = len(questions) * ENOUGH <= len(measure.questions) and {*measure.questions} < {
            *questions
        }
        if few and not _different(measure, entry, history):
            return entry.part_of or entry.documents
    return None


def _different(measure: Measure, entry: HistoryEntry, history: History) -> str:
    """The settings that differ, in words; empty if none does."""
    if entry.settings == measure.settings:
        return ""
    settings = history.settings(entry.settings)
    return (
        "which are not known any more"
        if settings is None
        else named_settings(measure, settings, entry.room)
    )


def named_settings(measure: Measure, other: Mapping[str, object], room: object = None) -> str:
    """The settings in which a measure differs from another, in words; empty if in none.

    As in `iha_eval.compare.inputs.settings`, a seed of the engine that one side does not tell is
    not held against it, and the room that a model has of itself counts as given where the other was
    given one.

    Args:
        measure: measured tonight.
        other: how the other was asked.
        room: tokens that its model had room for; None if unknown.
    """
    mine, theirs = _filled(measure.asked, other, measure.room), _filled(other, measure.asked, room)
    differences = [
        f"{name} ({_shown(mine.get(name))} against {_shown(theirs.get(name))})"
        for name in {**mine, **theirs}
        if mine.get(name) != theirs.get(name)
        and not (_is_seed(name) and None in (mine.get(name), theirs.get(name)))
    ]
    more = f" and {len(differences) - _NAMED} more" if len(differences) > _NAMED else ""
    return ", ".join(differences[:_NAMED]) + more


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
    return cut_short("none" if value is None else str(value))
