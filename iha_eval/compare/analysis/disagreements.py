"""The questions on which the two models disagree, and some that both got wrong, with all texts.

For: choosing which are shown, reading those lines once more, and cutting texts to a size for a
page; the whole texts stay in the sample files.
Not for: escaping or drawing.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from iha_eval.compare.analysis.report_rows import PlannedBenchmark, ScoreColumn, metric_name
from iha_eval.compare.inputs.pairing import SIDES, Pairing, Side
from iha_eval.compare.inputs.samples import Key, read_lines
from iha_eval.util.text import clean, shorten

MOST_ROWS = 1000
"""Questions that are shown."""

MOST_BYTES = 5_000_000
"""Size of their texts in a page, escaped."""

MOST_WRONG, WRONG_BYTES = 100, 1_000_000
"""The same of the questions that both models got wrong."""

PROMPT, OUTPUT, GOLD = 2000, 4000, 500
"""Characters of each text that are kept; all answers to a question share those of one output."""


@dataclass(frozen=True)
class _Question:
    """A question that both models have a score for."""

    column: ScoreColumn
    key: Key
    scores: Mapping[Side, float]

    @property
    def direction(self) -> str:
        """Who is ahead: a side, or `neither`."""
        if self.scores["iha"] == self.scores["baseline"]:
            return "neither"
        return "iha" if self.scores["iha"] > self.scores["baseline"] else "baseline"

    @property
    def rank(self) -> tuple[float, int]:
        """The largest difference first, then the order of the documents."""
        return -abs(self.scores["iha"] - self.scores["baseline"]), self.key[1]


def disagreements(pairing: Pairing, benchmarks: Sequence[PlannedBenchmark]) -> dict[str, Any]:
    """The questions whose scores differ in the metric by which their task is judged.

    If there are more than fit, each task and direction has its turn, those with the largest
    differences first. Unpaired tasks have none: nobody says which question is which.

    Args:
        pairing: Two runs.
        benchmarks: What is compared.
    """
    groups: dict[tuple[str, str], list[_Question]] = {}
    for question in _questions(pairing, benchmarks):
        if question.direction != "neither":
            groups.setdefault((question.column.task, question.direction), []).append(question)
    ranked = [sorted(group, key=lambda q: q.rank) for group in groups.values()]
    return _shown(pairing, benchmarks, ranked, MOST_ROWS, MOST_BYTES)


def both_wrong(pairing: Pairing, benchmarks: Sequence[PlannedBenchmark]) -> dict[str, Any]:
    """A sample of the questions that both models score 0 on, spread evenly over each task.

    Args:
        pairing: Two runs.
        benchmarks: What is compared.
    """
    groups: dict[str, list[_Question]] = {}
    for question in _questions(pairing, benchmarks):
        if not any(question.scores.values()):
            groups.setdefault(question.column.task, []).append(question)
    each = -(-MOST_WRONG // max(len(groups), 1))
    spread = [group[:: -(-len(group) // each)] for group in groups.values()]
    made = _shown(pairing, benchmarks, spread, MOST_WRONG, WRONG_BYTES)
    return made | {"total": sum(map(len, groups.values()))}


def _shown(
    pairing: Pairing,
    benchmarks: Sequence[PlannedBenchmark],
    groups: Sequence[Sequence[_Question]],
    most: int,
    size: int,
) -> dict[str, Any]:
    """As many questions of each group as fit, in the form of report.json."""
    chosen = _in_turn(groups)[:most]
    rows = _within(chosen, _texts(pairing, chosen), size)
    tasks = [column.task for benchmark in benchmarks for column in _judged(benchmark)]
    rows.sort(key=lambda row: (tasks.index(row["task"]), row["doc_id"], row["metric"]))
    return {"total": sum(map(len, groups)), "shown": len(rows), "rows": rows}


def _questions(pairing: Pairing, benchmarks: Sequence[PlannedBenchmark]) -> Iterator[_Question]:
    """All questions of the paired tasks that both models have a score for."""
    for benchmark in benchmarks:
        for column in _judged(benchmark):
            if pairing.task(column.task).paired:
                yield from _scored(pairing, column)


def _judged(benchmark: PlannedBenchmark) -> Iterator[ScoreColumn]:
    """One metric for each task: of the last deciding row, else the last vote, else the first."""
    tables = sorted(benchmark.tables, key=lambda table: not any(row.decides for row in table.rows))
    seen: set[str] = set()
    for table in tables:
        voted = [row for row in table.rows if row.metric.startswith("maj@")]
        deciding = [row for row in table.rows if row.decides]
        for row in deciding[-1:] or voted[-1:] or table.rows:
            for column in row.columns:
                if column.task not in seen:
                    seen.add(column.task)
                    yield column


def _scored(pairing: Pairing, column: ScoreColumn) -> Iterator[_Question]:
    task = pairing.task(column.task)
    for key in task.common:
        if key[0] != column.filter:
            continue
        scores = {side: task.side(side)[key].scores.get(column.metric) for side in SIDES}
        known_scores = {side: score for side, score in scores.items() if score is not None}
        if len(known_scores) == len(SIDES) and not any(map(math.isnan, known_scores.values())):
            yield _Question(column, key, known_scores)


def _in_turn(groups: Sequence[Sequence[_Question]]) -> list[_Question]:
    """The first of each group, then the second of each, and so on."""
    longest = max(map(len, groups), default=0)
    return [group[turn] for turn in range(longest) for group in groups if turn < len(group)]


def _texts(
    pairing: Pairing, chosen: Sequence[_Question]
) -> dict[tuple[str, Side], dict[Key, Mapping[str, Any]]]:
    """The texts to be shown, of each task and side, cut."""
    texts: dict[tuple[str, Side], dict[Key, Mapping[str, Any]]] = {}
    for task in {question.column.task: None for question in chosen}:
        keys = [question.key for question in chosen if question.column.task == task]
        for side in SIDES:
            file = pairing.task(task).sides[side]
            places = {key: file.samples[key].place for key in keys}
            lines = read_lines(file.path, places)
            texts[task, side] = {key: _cut(line, side == "iha") for key, line in lines.items()}
    return texts


def _cut(sample: Mapping[str, Any], with_prompt: bool) -> dict[str, str]:
    cut = {"output": _outputs(sample.get("resps"))}
    if with_prompt:
        doc = sample.get("doc")
        doc = doc if isinstance(doc, dict) else {}
        outputs = doc.get("outputs")
        gold = ", ".join(map(str, outputs)) if isinstance(outputs, list) else sample.get("target")
        # The needle of a long document, which is neither in its head nor in its tail.
        needle = str(outputs[0]) if isinstance(outputs, list) and outputs else None
        cut["gold"] = clean(shorten(_plain(gold), GOLD))
        cut["prompt"] = clean(shorten(_prompt(sample), PROMPT, needle))
    return cut


def _prompt(sample: Mapping[str, Any]) -> str:
    """The context of the first request."""
    place: Any = sample.get("arguments")
    for name in ("gen_args_0", "arg_0"):
        place = place.get(name, "") if isinstance(place, dict) else ""
    return _plain(place)


def _outputs(responses: object) -> str:
    """All answers to a question; numbered if there are several."""
    answers = [_plain(response) for response in _leaves(responses)]
    if len(answers) == 1:
        return clean(shorten(answers[0], OUTPUT))
    each = OUTPUT // max(len(answers), 1)
    return "\n\n".join(
        f"[{number} of {len(answers)}] {clean(shorten(answer, each))}"
        for number, answer in enumerate(answers[: OUTPUT // 50], start=1)
    )


def _leaves(value: object) -> Iterator[object]:
    if not isinstance(value, list):
        yield value
        return
    for item in value:
        yield from _leaves(item)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _within(
    chosen: Iterable[_Question],
    texts: Mapping[tuple[str, Side], Mapping[Key, Mapping[str, Any]]],
    most_bytes: int,
) -> list[dict[str, Any]]:
    """As many questions as fit into so many bytes."""
    rows, size = [], 0
    for question in chosen:
        task, key = question.column.task, question.key
        ours, theirs = (texts[task, side].get(key, {}) for side in SIDES)
        row = {
            "task": task,
            "doc_id": key[1],
            "direction": question.direction,
            "metric": metric_name(question.column.metric, question.column.filter),
            "gold": ours.get("gold", ""),
            "prompt": ours.get("prompt", ""),
            "iha_output": ours.get("output", ""),
            "baseline_output": theirs.get("output", ""),
            "iha_score": question.scores["iha"],
            "baseline_score": question.scores["baseline"],
        }
        size += sum(len(escape(text).encode()) for text in row.values() if isinstance(text, str))
        if size > most_bytes:
            break
        rows.append(row)
    return rows
