"""Which earlier night a measure is held against.

For: finding the newest good night with the same questions asked alike, or the one that shares the
most of them, or saying why there is none.
Not for: testing the difference (`regressions.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from iha_eval.compare.inputs.arguments import LENGTH
from iha_eval.nightly.history import Line, Store
from iha_eval.nightly.measures import Measure
from iha_eval.nightly.missing import ENOUGH

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

    line: Line
    scores: tuple[float | None, ...] | None
    common: int


def results(model: str, nights: Mapping[str, Sequence[Line]]) -> dict[tuple[str, str], list[Line]]:
    """The results of a model in all nights, newest first, by task and metric."""
    found: dict[tuple[str, str], list[Line]] = {}
    for lines in reversed(list(nights.values())):
        for line in lines:
            whole = not (line.get("failed") or line.get("lacking")) and line["mean"] is not None
            if line["model"] == model and whole:
                found.setdefault((line["task"], line["metric"]), []).append(line)
    return found


def find_reference(
    one: Measure, earlier: Mapping[tuple[str, str], Sequence[Line]], store: Store
) -> Reference | str:
    """The night that a measure is held against, or why there is none, in words.

    A night with a regression against an earlier one is no measure for later ones.

    Args:
        one: measured tonight.
        earlier: see `results`.
        store: for questions, settings and scores.
    """
    lines = earlier.get(one.key, ())
    if not lines:
        return "no earlier night measured it"
    alike = [line for line in _one_of_each(lines) if not _different(one, line, store)]
    if not alike:
        night, what = lines[0]["night"], _different(one, lines[0], store)
        return f"the night {night} asked with other settings, {what}"
    shared: list[tuple[int, Line]] = []
    for line in alike:
        common = _common(one, line, store)
        shared.append((common, line))
        if common == len(one.scores):
            break
    # The newest of equals, which comes first.
    common, line = max(shared, key=lambda pair: pair[0])
    if not common:
        return f"its questions are other ones than those of the night {line['night']}"
    scores = _aligned(one, line, store)
    if scores is None and line["documents"] != one.documents:
        return f"the scores of the night {line['night']} are gone from the history"
    return Reference(line, scores, common)


def part_of(one: Measure, lines: Sequence[Line], store: Store) -> str | None:
    """Documents of an earlier night of which a few are missing tonight, in whose series this is.

    Args:
        one: measured tonight.
        lines: earlier results of it, newest first.
        store: for questions.

    Returns:
        Their hash; None if no question is missing, or no earlier night asked them.
    """
    if one.expected is None or len(one.scores) >= one.expected:
        return None
    for line in _one_of_each(lines):
        then = _questions(line, store)
        few = len(then) * ENOUGH <= len(one.questions) and {*one.questions} < {*then}
        if few and not _different(one, line, store):
            return str(line.get("part_of") or line["documents"])
    return None


def _one_of_each(lines: Sequence[Line]) -> Iterator[Line]:
    """The newest good night of each set of questions asked in one way."""
    seen = set()
    for line in lines:
        what = line.get("documents"), line.get("settings")
        bad = any(one["rule"] == "last_good" for one in line.get("regressions", ()))
        if what not in seen and not bad:
            seen.add(what)
            yield line


def _different(one: Measure, line: Line, store: Store) -> str:
    """The settings that differ, in words; empty if none does."""
    if line.get("settings") == one.settings:
        return ""
    then = store.recall(line.get("settings"))
    if not isinstance(then, dict):
        return "which are not known any more"
    return named_settings(one, then, line.get("room"))


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


def _questions(line: Line, store: Store) -> list[str]:
    found = store.recall(line.get("documents"))
    return found if isinstance(found, list) else []


def _common(one: Measure, line: Line, store: Store) -> int:
    if line.get("documents") == one.documents:
        return len(one.scores)
    return len({*one.questions} & {*_questions(line, store)})


def _aligned(one: Measure, line: Line, store: Store) -> tuple[float | None, ...] | None:
    then = store.scores(line)
    same = line.get("documents") == one.documents
    questions = one.questions if same else _questions(line, store)
    if then is None or len(then) != (len(one.scores) if same else len(questions)):
        return None
    if same:
        return tuple(then)
    by_question = dict(zip(questions, then, strict=True))
    return tuple(by_question.get(name) for name in one.questions)
