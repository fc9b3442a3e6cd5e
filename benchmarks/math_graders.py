"""How often our grader of math answers agrees with the two that lm-eval has for MATH.

For: two kinds of tables. One takes MATH-500's own solutions for what a model wrote, right ones and
those of another question, and names the rows on which graders part. The other gives each grader the
pairs of our fixture and counts false positives and false negatives.
Not for: scores of models, nor speed.

Run `IHA_EVAL_DATA=folder python benchmarks/math_graders.py`; the folder holds math500/test.jsonl.
The graders of lm-eval are those of hendrycks_math500 (strings, between the first and the last
dollar sign) and of minerva_math500 (sympy after a fixed phrase, and math-verify on the whole text).
"""

import argparse
import json
import logging
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

GRADERS = ("ours", "hendrycks", "minerva sympy", "minerva math-verify")
PAIRS = Path(__file__).parents[1] / "tests" / "answers" / "pairs.jsonl"

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
            row, said = documents[i], verdicts[i]
            found = extract(outputs[i], "math")
            print(f"  {row['unique_id']}: ours {said['ours']}, {name} {said[name]},", end=" ")
            print(f"gold {row['answer']!r}, extracted {found!r}")


def pairs() -> None:
    """Grade the fixture and print each grader's errors."""
    listed = [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]
    verdicts = [on_pair(pair) for pair in listed]
    equal = sum(pair["equal"] for pair in listed)
    print(f"\npairs: {equal} equal, {len(listed) - equal} different\n")
    lines = []
    for name in GRADERS:
        graded = list(zip(listed, verdicts, strict=True))
        positives = sum(v[name] and not pair["equal"] for pair, v in graded)
        negatives = sum(pair["equal"] and not v[name] for pair, v in graded)
        lines.append((name, positives, negatives, len(listed) - positives - negatives))
    print(table(("grader", "false positives", "false negatives", "as listed"), lines))


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, help="only the first rows of MATH-500")
    options = parser.parse_args()
    folder = os.environ.get("IHA_EVAL_DATA")
    if not folder or not (Path(folder) / "math500" / "test.jsonl").is_file():
        raise SystemExit("Set IHA_EVAL_DATA to a folder with math500/test.jsonl in it.")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    documents = rows(Path(folder))[: options.rows]
    pairs()
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
