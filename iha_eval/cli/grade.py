"""`iha-eval grade`: grade answers without a model, from a file of rows or from a finished run.

For: seeing what the grader finds and thinks, checking it against expected verdicts, and scoring the
answers of an earlier run anew, so that a better grader costs no generation.
Not for: how answers are found and compared, which is `iha_eval.answers`.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from iha_eval.errors import UserError
from iha_eval.util.text import clean

SUMMARY = "grade FILE.jsonl, or RUN --tasks ...: grade answers anew, without a model"

_KINDS = {"math": "math", "math500": "math", "gsm8k": "number", "number": "number"}
_SHOWN = 20


class GradedRow(NamedTuple):
    """A row of a file of answers, graded.

    Attributes:
        row: The row as it was read.
        extracted: Its final answer; None if it states none.
        right: Whether that equals the gold answer.
        undecided: Whether the comparison ran into its limit.
    """

    row: Mapping[str, Any]
    extracted: str | None
    right: bool
    undecided: bool

    @property
    def missed(self) -> bool:
        """Whether the verdict is not the expected one."""
        return self.row.get("expected") not in (None, self.right)


class RegradedTask(NamedTuple):
    """The answers of one task of a run, graded anew.

    Attributes:
        scores: Metric -> mean over the questions.
        before: The same of what the run's samples say, where they have the metric.
        changed: Questions whose share of right answers is another one now.
        questions: How many there are.
        partly_cut: Questions of whose answers only some were cut by the budget. A run does not tell
            which, so all of them are taken for whole.
    """

    scores: dict[str, float]
    before: dict[str, float]
    changed: list[dict[str, Any]]
    questions: int
    partly_cut: int


def main(arguments: Sequence[str]) -> int:
    """Grade and print.

    Returns:
        0; 1 where a row's `expected` is not the verdict.

    Raises:
        UserError: The file or run cannot be read, or has nothing that can be graded.
    """
    options = _parser().parse_args(arguments)
    place = options.place.expanduser()
    if place.is_file() and place.suffix == ".jsonl":
        if options.tasks:
            raise UserError(f"--tasks is for a run of lm-eval, and {place} is a file of answers.")
        return _grade_file(place, options.json)
    return _grade_run(place, options.tasks, options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iha-eval grade", description=SUMMARY)
    parser.add_argument(
        "place",
        type=Path,
        metavar="FILE.jsonl|RUN",
        help="rows of bench (math or gsm8k), gold and output, perhaps cut, expected and kind; or "
        "results_*.json of lm-eval, or its folder, with samples",
    )
    parser.add_argument(
        "--tasks",
        metavar="TASK[,TASK]",
        help="of a run: the tasks to grade (all of GSM8K and MATH)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    return parser


# --- A file of rows ---


def _grade_file(path: Path, as_json: bool) -> int:
    graded = [_graded(row, f"{path}, line {number}") for number, row in _rows(path)]
    missed = [row for row in graded if row.missed]
    if as_json:
        answers = [
            {"extracted": row.extracted, "right": row.right, "undecided": row.undecided}
            for row in graded
        ]
        print(json.dumps({"answers": answers, "kinds": _kinds(graded), "missed": len(missed)}))
    else:
        _print_rows(graded)
    return int(bool(missed))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file with their line numbers."""
    empty = True
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    empty = False
                    yield number, _row(line, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text: {error}.") from error
    if empty:
        raise UserError(f"{path} has no rows: give one JSON object per line.")


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.strip())
    # Brackets too deep for the parser.
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: this is no JSON ({error}); give one object per line.") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: this is no JSON object; give one with bench, gold and output.")
    for name in ("bench", "gold", "output"):
        if not isinstance(row.get(name), str):
            raise UserError(f"{where}: {name!r} is {row.get(name)!r}; give a text.")
    if row["bench"] not in _KINDS:
        raise UserError(f"{where}: bench is {row['bench']!r}; give math or gsm8k.")
    for name in ("cut", "expected"):
        if row.get(name) not in (None, True, False):
            raise UserError(f"{where}: {name!r} is {row[name]!r}; give true or false.")
    return row


def _graded(row: Mapping[str, Any], where: str) -> GradedRow:
    from iha_eval.answers import judge

    output = _generation(row["output"], row.get("cut"))
    try:
        judged = judge([output], row["gold"], _KINDS[row["bench"]])  # type: ignore[arg-type]
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return GradedRow(row, judged.answers[0], judged.right[0], judged.undecided > 0)


def _generation(text: str, cut: bool | None) -> str:
    from iha_eval.current_model import GeneratedText

    return text if cut is None else GeneratedText(text, cut=cut)


def _kinds(graded: Sequence[GradedRow]) -> dict[str, dict[str, int]]:
    """Kind -> how many rows have an expected verdict, and how many are judged wrong."""
    judged = [graded_row for graded_row in graded if graded_row.row.get("expected") is not None]
    counts = Counter(str(graded_row.row.get("kind", "all")) for graded_row in judged)
    wrong = Counter(
        (str(graded_row.row.get("kind", "all")), graded_row.right)
        for graded_row in judged
        if graded_row.missed
    )
    return {
        kind: {
            "rows": count,
            "false_positives": wrong[kind, True],
            "false_negatives": wrong[kind, False],
        }
        for kind, count in sorted(counts.items())
    }


def _print_rows(graded: Sequence[GradedRow]) -> None:
    for number, graded_row in enumerate(graded, start=1):
        verdict = "right" if graded_row.right else "undecided" if graded_row.undecided else "wrong"
        note = "  (expected: " + ("right" if graded_row.row.get("expected") else "wrong") + ")"
        answer = "no answer" if graded_row.extracted is None else repr(graded_row.extracted)
        gold = repr(graded_row.row["gold"])
        print(f"{number}: {verdict}: {answer}, gold {gold}{note if graded_row.missed else ''}")
    kinds = _kinds(graded)
    if kinds:
        width = max(map(len, kinds))
        print(f"\n{'kind':{width}}  rows  false positives  false negatives")
        for kind, counts in kinds.items():
            positives, negatives = counts["false_positives"], counts["false_negatives"]
            print(f"{clean(kind):{width}}  {counts['rows']:4}  {positives:15}  {negatives:15}")
    right = sum(graded_row.right for graded_row in graded)
    missed = sum(graded_row.missed for graded_row in graded)
    print(f"\n{len(graded)} rows: {right} right, {missed} not as expected")


# --- A run of lm-eval ---


def _grade_run(place: Path, tasks: str | None, as_json: bool) -> int:
    # Slow to import, and not needed for a file of rows.
    from iha_eval.answers import grader_version
    from iha_eval.compare.inputs.runs import load_run

    run = load_run(place)
    for warning in run.warnings:
        print(f"warning: {clean(warning)}", file=sys.stderr)
    names = [name for name in run.tasks if name in run.samples]
    if tasks:
        names = [name for wanted in tasks.split(",") for name in _named(run, wanted.strip())]
    done = {
        name: regraded
        for name in names
        if (regraded := _regrade(run, name, required=tasks is not None)) is not None
    }
    if not done:
        raise UserError(f"{run.path} has no samples of GSM8K or MATH tasks.")
    if as_json:
        print(
            json.dumps(
                {
                    "run": str(run.path),
                    "grader": grader_version(),
                    "tasks": {name: task._asdict() for name, task in done.items()},
                }
            )
        )
        return 0
    print(f"{run.path}\ngraded by {grader_version()}")
    for name, task in done.items():
        _print_task(name, task)
    return 0


def _named(run: Any, wanted: str) -> list[str]:
    """The tasks with samples that a name, a pattern or a group of tasks stands for."""
    members = run.part("group_subtasks").get(wanted)
    if isinstance(members, list) and members:
        return [name for member in members for name in _named(run, str(member))]
    names = [name for name in run.tasks if name in run.samples and fnmatchcase(name, wanted)]
    if not names:
        known = ", ".join(sorted(run.samples)) or "none"
        raise UserError(f"{run.path} has no samples of {wanted!r}; it has those of {known}.")
    return names


def _regrade(run: Any, task: str, required: bool) -> RegradedTask | None:
    """One task graded anew; None if it has no such answers and is not required to."""
    from iha_eval.reasoning.scoring import score
    from iha_eval.reasoning.settings import read_votes

    config = run.part("configs", task)
    votes = (config.get("metadata") or {}).get("votes")
    totals: Counter[str] = Counter()
    before: dict[str, list[float]] = {}
    changed: list[dict[str, Any]] = []
    count = partly = 0
    for entry in _questions(run.samples[task]):
        parts = _asked(entry)
        if parts is None:
            if not required:
                return None
            raise UserError(
                f"{run.samples[task]}: document {entry.get('doc_id')} has no answer of GSM8K or "
                "MATH, or no generations; grade other tasks."
            )
        gold, kind, texts = parts
        cut = entry.get("cut")
        partly += cut not in (None, 0, 1)
        answers = [_generation(text, bool(cut) if cut in (0, 1) else None) for text in texts]
        voting = len(texts) > 1 or "p@1" in entry
        ks = read_votes([k for k in votes if k <= len(texts)] if votes else None, len(texts), task)
        try:
            scores = score(answers, gold, kind, ks, voting)  # type: ignore[arg-type]
        except UserError as error:
            where = f"{run.samples[task]}: document {entry.get('doc_id')}"
            raise UserError(f"{where}: {error}") from None
        count += 1
        totals.update(scores)
        for name in scores:
            if isinstance(entry.get(name), int | float):
                before.setdefault(name, []).append(float(entry[name]))
        first = "p@1" if voting else "exact_match"
        if isinstance(entry.get(first), int | float) and abs(entry[first] - scores[first]) > 1e-9:
            change = {"doc_id": entry.get("doc_id"), "gold": gold, "metric": first}
            changed.append({**change, "before": float(entry[first]), "after": scores[first]})
    if not count:
        return None
    return RegradedTask(
        {name: total / count for name, total in totals.items()},
        {name: sum(values) / len(values) for name, values in before.items()},
        changed,
        count,
        partly,
    )


def _questions(path: Path) -> Iterator[dict[str, Any]]:
    """The samples of a task, each document once whatever filters it went through."""
    seen = set()
    for entry in _sample_lines(path):
        document = repr(entry.get("doc_id"))
        if document not in seen:
            seen.add(document)
            yield entry


def _sample_lines(path: Path) -> Iterator[dict[str, Any]]:
    from iha_eval.compare.inputs.samples import parse

    broken = 0
    with path.open("rb") as file:
        for line in file:
            entry = parse(line)
            if entry is not None:
                yield entry
            elif line.strip():
                broken += 1
    if broken:
        print(
            f"warning: {clean(path.name)} has {broken} lines that cannot be read; they are left "
            "out",
            file=sys.stderr,
        )


def _asked(entry: Mapping[str, Any]) -> tuple[str, str, list[str]] | None:
    """Gold answer, kind and generations of a sample; None if it is no question of GSM8K or MATH."""
    doc, answers = entry.get("doc"), entry.get("resps")
    texts = answers[0] if isinstance(answers, list) and len(answers) == 1 else answers
    if not isinstance(doc, Mapping) or not isinstance(texts, list) or not texts:
        return None
    if not all(isinstance(text, str) for text in texts) or not isinstance(doc.get("answer"), str):
        return None
    gold = doc["answer"]
    if "####" in gold:
        # GSM8K's own rows, as other tasks have them.
        return gold.rpartition("####")[2].strip(), "number", texts
    is_math = any(name in doc for name in ("subject", "level", "unique_id", "solution"))
    return (gold, "math" if is_math else "number", texts) if "problem" in doc else None


def _print_task(name: str, task: RegradedTask) -> None:
    print(f"\n{clean(name)}, {task.questions} questions")
    width = max(map(len, task.scores))
    for metric, value in task.scores.items():
        earlier = task.before.get(metric)
        note = "" if earlier is None or abs(earlier - value) < 1e-12 else f"  (was {earlier:.4f})"
        print(f"  {clean(metric):{width}}  {value:.4f}{note}")
    if task.partly_cut:
        print(
            f"  {task.partly_cut} questions have some answers that the budget cut; the run does "
            "not tell which, so they are graded as whole"
        )
    print(f"  {len(task.changed)} verdicts changed")
    for change in task.changed[:_SHOWN]:
        print(
            f"    document {change['doc_id']}, gold {change['gold']!r}: {change['metric']} "
            f"{change['before']:g} -> {change['after']:g}"
        )
    if len(task.changed) > _SHOWN:
        print(f"    and {len(task.changed) - _SHOWN} more; --json lists all")
