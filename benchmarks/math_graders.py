"""How our grader of math answers compares with others: how often it is wrong, and how fast it is.

For: tables of four kinds. One takes MATH-500's own solutions for what a model wrote, right ones and
those of another question, and names the rows on which graders part. One gives each grader the
pairs of our fixture, one the outputs that users of other graders reported, and both count false
positives and false negatives. The last measures speed (`--speed` alone).
Not for: scores of models.

Run `IHA_EVAL_DATA=folder python benchmarks/math_graders.py`; the folder holds math500/test.jsonl,
without which only what needs no data is printed. The graders of lm-eval are those of
hendrycks_math500 (strings, between the first and the last dollar sign) and of minerva_math500
(sympy after a fixed phrase, and math-verify on the whole text).
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iha_eval.current_model import GeneratedText

TESTS = Path(__file__).parents[1] / "tests" / "answers"
GRADERS = ("ours", "hendrycks", "minerva sympy", "minerva math-verify")
PAIRS = TESTS / "pairs.jsonl"
CASES = {name: TESTS / f"{name}.jsonl" for name in ("cases", "variations", "styles")}

#: The sentence that minerva_math500 looks for; its four worked examples end with it.
CLOSING = "Final Answer: The final answer is ${}$. I hope it is correct."


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of MATH-500."""
    text = (folder / "math500" / "test.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def on_generation(row: dict[str, Any], output: str) -> dict[str, bool]:
    """What each grader says about one generation."""
    from lm_eval.tasks.hendrycks_math import utils as hendrycks
    from lm_eval.tasks.minerva_math import utils as minerva

    from iha_eval.answers import judge

    boxed = minerva.remove_boxed(minerva.last_boxed_only_string(row["solution"]))
    doc = {**row, "answer": minerva.normalize_final_answer(boxed)}
    by_minerva = minerva.process_results(doc, [output])
    by_hendrycks = hendrycks.process_results(dict(row), [output])
    return {
        "ours": judge([output], row["answer"], "math").right[0],
        "hendrycks": bool(by_hendrycks["exact_match"]),
        "minerva sympy": bool(by_minerva["exact_match"]),
        "minerva math-verify": bool(by_minerva["math_verify"]),
    }


def on_pair(pair: dict[str, Any]) -> dict[str, bool]:
    """What each grader says about an answer and a gold answer, with nothing around them."""
    from lm_eval.tasks.hendrycks_math import utils as hendrycks
    from lm_eval.tasks.minerva_math import utils as minerva
    from math_verify import parse, verify

    from iha_eval.answers import judge

    answer, gold = pair["a"], pair["b"]
    output = f"#### {answer}" if pair["kind"] == "number" else f"\\boxed{{{answer}}}"
    normal = minerva.normalize_final_answer
    return {
        "ours": judge([output], gold, pair["kind"]).right[0],
        "hendrycks": bool(hendrycks.is_equiv(answer, gold)),
        "minerva sympy": bool(minerva.is_equiv(normal(answer), normal(gold))),
        "minerva math-verify": bool(verify(parse(f"${gold}$"), parse(f"${answer}$"))),
    }


def table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Columns side by side."""
    cells = [[str(cell) for cell in line] for line in (head, *lines)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def closed(row: dict[str, Any]) -> str:
    """A solution that ends as Minerva's worked examples do."""
    return f"{row['solution']}\n{CLOSING.format(row['answer'])}"


def solutions(documents: Sequence[dict[str, Any]], outputs: Sequence[str], title: str) -> None:
    """Grade one generation per row and print counts and disagreements."""
    from iha_eval.answers import extract

    verdicts = list(map(on_generation, documents, outputs))
    print(f"\n{title}\n")
    lines = []
    for name in GRADERS:
        right = sum(verdict[name] for verdict in verdicts)
        same = sum(verdict[name] == verdict["ours"] for verdict in verdicts)
        lines.append((name, right, len(documents) - right, same, len(documents) - same))
    print(table(("grader", "right", "wrong", "agrees with ours", "disagrees"), lines))
    patterns = Counter(tuple(v[name] for name in GRADERS) for v in verdicts)
    print("\n" + table((*GRADERS, "rows"), [(*p, n) for p, n in patterns.most_common()]))
    for name in GRADERS[1:]:
        apart = [i for i, v in enumerate(verdicts) if v[name] != v["ours"]]
        if not 0 < len(apart) <= 40:
            continue
        print(f"\nours against {name}, disagreeing rows:")
        for i in apart:
            row, judged = documents[i], verdicts[i]
            extracted = extract(outputs[i], "math")
            print(f"  {row['unique_id']}: ours {judged['ours']}, {name} {judged[name]},", end=" ")
            print(f"gold {row['answer']!r}, extracted {extracted!r}")


def print_errors(
    rows: Sequence[dict[str, Any]], verdicts: Sequence[dict[str, bool]], truth: str, right: str
) -> None:
    """A table of each grader's errors.

    Args:
        rows: What was graded.
        verdicts: What each grader says of each row.
        truth: The entry of a row that says whether it is right.
        right: Heading of the last column, for the rows that a grader judges right.
    """
    lines = []
    for name in GRADERS:
        graded = list(zip(rows, verdicts, strict=True))
        positives = sum(v[name] and not row[truth] for row, v in graded)
        negatives = sum(row[truth] and not v[name] for row, v in graded)
        lines.append((name, positives, negatives, len(rows) - positives - negatives))
    print(table(("grader", "false positives", "false negatives", right), lines))


def pairs() -> None:
    """Grade the fixture and print each grader's errors."""
    listed = [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]
    verdicts = [on_pair(pair) for pair in listed]
    equal = sum(pair["equal"] for pair in listed)
    print(f"\npairs: {equal} equal, {len(listed) - equal} different\n")
    print_errors(listed, verdicts, "equal", "as listed")


def on_output(row: dict[str, Any]) -> dict[str, bool]:
    """What each grader says about a whole output and its gold answer."""
    from lm_eval.tasks.hendrycks_math import utils as hendrycks
    from lm_eval.tasks.minerva_math import utils as minerva
    from math_verify import parse, verify

    from iha_eval.answers import judge

    gold, output = row["gold"], row["output"]
    kind = "number" if row["bench"] in ("gsm8k", "number") else "math"
    unnormalized = minerva.get_unnormalized_answer(output)
    normal = minerva.normalize_final_answer
    last = hendrycks.last_boxed_only_string(output)
    answer = hendrycks.remove_boxed(last) if last and last[-1] == "}" else output
    by_verify = verify(parse(f"${gold}$"), parse(output))
    return {
        "ours": judge([GeneratedText(output, cut=row.get("cut"))], gold, kind).right[0],
        "hendrycks": bool(hendrycks.is_equiv(answer, gold)),
        "minerva sympy": bool(minerva.is_equiv(normal(unnormalized), normal(gold))),
        "minerva math-verify": bool(by_verify),
    }


def cases() -> None:
    """Grade outputs that users reported, our variations and whole outputs; print the errors."""
    for name, path in CASES.items():
        text = path.read_text(encoding="utf-8")
        listed = [json.loads(line) for line in text.splitlines()]
        listed = [row for row in listed if not row.get("debatable")]
        verdicts = [_quietly(row) for row in listed]
        right = sum(row["expected"] for row in listed)
        print(f"\n{name}: {right} right outputs, {len(listed) - right} wrong ones\n")
        print_errors(listed, verdicts, "expected", "as expected")


def _quietly(row: dict[str, Any]) -> dict[str, bool]:
    """As on_output; a grader that fails has not taken the output for right."""
    try:
        return on_output(row)
    except Exception:
        from iha_eval.answers import judge

        kind = "number" if row["bench"] in ("gsm8k", "number") else "math"
        ours = judge([GeneratedText(row["output"], cut=row.get("cut"))], row["gold"], kind)
        return {**dict.fromkeys(GRADERS, False), "ours": ours.right[0]}


def speed(folder: Path | None) -> None:
    """Measure how long grading takes, each in a process of its own.

    The samples are made: GSM8K's are two sentences with a number, MATH's the right answer of a row
    and one beside it, as a model writes them. Without the data MATH's golds are of our own making.
    """
    golds = [row["answer"] for row in rows(folder)] if folder else _OWN_GOLDS * 50
    path = json.dumps(golds)
    lines = []
    for name, code in _TIMED.items():
        done = subprocess.run(
            [sys.executable, "-c", code], input=path, capture_output=True, text=True, check=True
        )
        lines.append((name, *done.stdout.split()))
    print("\n" + table(("grading", "seconds", "of processor time here"), lines))


_OWN_GOLDS = ["12", r"\frac{7}{9}", r"3\sqrt{5}", "(2,-1)", "x^2-3x", "[0,4)", r"\pi", "-6", "4,9"]
_START = """
import json, sys, time
golds = json.load(sys.stdin)
from iha_eval.answers import judge
started, spent = time.perf_counter(), time.process_time()
"""
_END = "print(round(time.perf_counter()-started, 2), round(time.process_time()-spent, 2))"
_TIMED = {
    "1,000 GSM8K samples": _START
    + """
for n in range(1000):
    output = f"She has {n} and gets 7 more, so she has {n} + 7 = {n + 7}.\\n#### {n + 7}"
    judge([output], str(n + 7), "number")
"""
    + _END,
    "1,000 MATH samples, from a cold start": _START
    + """
for n in range(500):
    gold, other = golds[n % len(golds)], golds[(n + 1) % len(golds)]
    judge([f"So we get $\\\\boxed{{{gold}}}$.", f"The answer is ${other} + 1$."], gold, "math")
"""
    + _END,
    "10,000 distinct numbers of one question": _START
    + """
judge([f"#### {n}" for n in range(10_000)], "-1", "number")
"""
    + _END,
}


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, help="only the first rows of MATH-500")
    parser.add_argument("--speed", action="store_true", help="measure speed and nothing else")
    options = parser.parse_args()
    named = Path(os.environ.get("IHA_EVAL_DATA", ""))
    folder = named if (named / "math500" / "test.jsonl").is_file() else None
    if options.speed:
        speed(folder)
        return
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    pairs()
    cases()
    if folder is None:
        raise SystemExit("For more, set IHA_EVAL_DATA to a folder with math500/test.jsonl in it.")
    documents = rows(folder)[: options.rows]
    size = f"{len(documents)} rows"
    written = [row["solution"] for row in documents]
    solutions(documents, written, f"{size}, gold solutions: all are right")
    ends = [closed(row) for row in documents]
    solutions(documents, ends, f"{size}, gold solutions with Minerva's closing: all are right")
    alone = [f"${row['answer']}$" for row in documents]
    # What hendrycks_math500 is made for; ours wants a sentence or a box around it.
    alone = [f"The answer is {answer}" for answer in alone]
    solutions(documents, alone, f"{size}, gold answers in one sentence: all are right")
    others = ends[1:] + ends[:1]
    solutions(documents, others, f"{size}, the next row's solution: right only by coincidence")


if __name__ == "__main__":
    main()
