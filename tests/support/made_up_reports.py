"""Reports of made-up runs, as `build_report` makes them, their pages and their figures.

For: tests of what reads a report. `full()` has every part, `bare()` nothing that is optional,
`hostile()` texts that try to break out of the page. Each is built once however many tests ask.
Not for: tests of how a report is made, which make runs of their own.
"""

import copy
import json
import math
import random
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lm_eval_runs import FakeTask, lines, ruler_task, voting_task, write_run

from iha_eval.compare import build_report
from iha_eval.compare.render import page
from iha_eval.compare.render.figures import Figure, draw_all
from model_adapters import checkpoint, default_checkpoint

#: Texts that must reach the reader as text.
SCRIPT = "</pre></details><script>window.hacked = true; document.title = 'hacked'</script>"
HANDLER = "<img src=x onerror=\"window.hacked = true\"> ' onmouseover='window.hacked = true"
TEMPLATE = "{{ 7 * 7 }} {% raw %} ${7 * 7} <!-- --> ]]> &amp; &#x3c;script&#x3e;"
CONTROLS = (
    "bell \x07, null \x00, escape \x1b[31mred\x1b[0m, delete \x7f, C1 \x9b, tab\t, return\rover"
)
DIRECTIONS = (
    "right-to-left override \u202egnp.exe\u202c, isolate \u2066x\u2069, zero width a\u200bb"
)
BROKEN = "lone surrogates \ud83d and \udc80\udcff, noncharacter \uffff, line separator \u2028 here"
ENDLESS = "x" * 20_000

LENGTHS = ("4k", "8k", "16k")
DOCUMENTS = 20
"""Of each RULER task."""


def full() -> dict[str, Any]:
    """A report in which every part is there, of nightly runs."""
    return copy.deepcopy(_full())


def with_questions(rows: int) -> dict[str, Any]:
    """The full report with so many questions, copies of those that are there."""
    made = full()
    kept = made["disagreements"]["rows"]
    copies = [copy.copy(kept[number % len(kept)]) for number in range(rows)]
    for number, row in enumerate(copies):
        row["doc_id"] = number
    copies.sort(key=lambda row: row["task"])
    made["disagreements"] = {"total": rows, "shown": rows, "rows": copies}
    made["both_wrong"] = {"total": 0, "shown": 0, "rows": []}
    return made


def bare() -> dict[str, Any]:
    """A report of two unpaired runs by lm-eval's own class, which say nothing of themselves."""
    return copy.deepcopy(_bare())


def hostile() -> dict[str, Any]:
    """The full report with every free text replaced by one that tries to break out of the page."""
    made = with_questions(8)
    texts = (SCRIPT, HANDLER, TEMPLATE, CONTROLS, DIRECTIONS, BROKEN, ENDLESS, "")
    for row, text in zip(made["disagreements"]["rows"], texts, strict=True):
        row |= dict.fromkeys(("gold", "prompt", "iha_output", "baseline_output"), text)
        row["task"] = SCRIPT + HANDLER
    made["title"] = made["models"]["iha"]["name"] = SCRIPT + HANDLER
    made["models"]["baseline"]["command"] = [SCRIPT, BROKEN, "$(rm -r x)"]
    made["models"]["baseline"]["versions"] = {SCRIPT: HANDLER}
    made["warnings"] = [SCRIPT, CONTROLS, ENDLESS]
    made["headlines"][0] |= {"label": SCRIPT, "sentence": HANDLER + BROKEN}
    made["tables"][0]["label"] = SCRIPT
    made["tables"][0]["rows"][0] |= {"label": SCRIPT, "variant": HANDLER + BROKEN, "method": SCRIPT}
    made["curves"][0]["label"] = TEMPLATE + SCRIPT + CONTROLS
    made["depth"][0]["metric"] = SCRIPT
    made["trend"][0]["label"] = SCRIPT
    made["trend"][0]["nights"][0] |= {"date": SCRIPT, "commit": HANDLER}
    made["maps"]["layers"][0]["kind"] = SCRIPT
    made["provenance"]["datasets"][0] |= {"source": SCRIPT, "note": BROKEN}
    made["provenance"]["statistics"]["correction"] = SCRIPT
    return made


def row(report: dict[str, Any], label: str) -> dict[str, Any]:
    """The first row of that label."""
    rows = [row for table in report["tables"] for row in table["rows"]]
    found: dict[str, Any] = next(row for row in rows if row["label"] == label)
    return found


@cache
def figures_of(name: str) -> tuple[Figure, ...]:
    """The figures of one of the `MAKERS`."""
    return tuple(draw_all(MAKERS[name]()))


@cache
def page_of(name: str) -> str:
    """The page of one of the `MAKERS`."""
    with patch.object(page, "draw_all", return_value=list(figures_of(name))):
        return page.render(MAKERS[name]())


@cache
def _full() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        sides = [
            _run(Path(folder) / name, name, random.Random(7), gain)
            for name, gain in (("iha-1b5", 0.25), ("llama-1b5", 0.0))
        ]
        made: dict[str, Any] = build_report(*sides, command=["iha-eval", "compare", "a b", "b"])
    made["trend"] = trend()
    made["trend_differences"] = [
        {
            "task": "gsm8k_maj",
            "metric": "p@1",
            "nights": [
                {
                    "date": iha["date"],
                    "points": 100 * (iha["mean"] - baseline["mean"]),
                    "low": 100 * (iha["mean"] - baseline["mean"]) - 2.5,
                    "high": 100 * (iha["mean"] - baseline["mean"]) + 2.5,
                    "n": 200,
                }
                for iha, baseline in zip(*(one["nights"] for one in trend()), strict=True)
                if not iha["failed"]
            ],
        }
    ]
    made["night"] = {
        "id": "2026-02-18",
        "started": "2026-02-18T03:00:00+00:00",
        "regressions": ["REGRESSION: GSM8K P@1, IHA: 61.0 to 52.0, first on 2026-02-12."],
        "missing": [],
        "not_judged": [],
        "standing": [],
        "remarks": [],
        "checks": [
            {
                "rule": rule,
                "task": "gsm8k_maj",
                "metric": "p@1",
                "against": against,
                "points": points,
                "pairs": 120,
                "worse": points < 0,
                "regression": points < 0,
            }
            for rule, against, points in (
                ("last_good", "2026-02-11", -9.0),
                ("baseline", "baseline", 16.0),
            )
        ],
    }
    return made


def _run(folder: Path, name: str, rng: random.Random, gain: float) -> Path:
    """One side: RULER at three lengths, two voting tasks, and two of lm-eval's own."""
    is_iha = gain > 0
    tasks = {
        f"ruler_mk_multikey_{variant}_{length}": _ruler(rng, 0.8 - 0.2 * step, gain * variant / 2)
        for variant in (1, 2, 3)
        for step, length in enumerate(LENGTHS)
    }
    tasks["gsm8k_maj"] = voting_task(_right(rng, 120, 0.5, -gain), k=16, votes=(1, 2, 4, 8, 16))
    tasks["math500_maj"] = voting_task(
        _right(rng, 30, 0.3, 0.0), k=16, votes=(1, 4, 16), benchmark="math500"
    )
    tasks["arc_easy"] = FakeTask(lines("acc", [float(n % 3 > 0) for n in range(600)]))
    tasks["arc_challenge"] = FakeTask(lines("acc", [1.0 if is_iha else math.nan] * 3))
    file = write_run(folder, tasks)
    results = json.loads(file.read_text(encoding="utf-8"))
    ours = results["config"]["iha_eval"]
    embedded = default_checkpoint.folder("embedded-iha" if is_iha else "embedded-baseline")
    ours["checkpoint"] = {
        "name": name,
        "path": str(embedded),
        "fingerprint": checkpoint.read(embedded).fingerprint,
        "is_iha": is_iha,
    }
    ours["command"] = ["lm_eval", "--model", "iha-vllm", "--output_path", "a b"]
    ours["versions"]["vllm"] = "0.32.0" if is_iha else "0.31.0"
    file.write_text(json.dumps(results), encoding="utf-8")
    return file


def _ruler(rng: random.Random, level: float, gain: float) -> FakeTask:
    values = [float(rng.random() < level + gain - 0.2) for _ in range(DOCUMENTS)]
    return ruler_task(values)


def _right(rng: random.Random, questions: int, level: float, gain: float) -> list[int]:
    """Right answers of 16 to each question."""
    return [
        sum(rng.random() < min(1.0, max(0.0, 2 * hard * (level + gain))) for _ in range(16))
        for hard in (number / questions for number in range(questions))
    ]


def trend() -> list[dict[str, Any]]:
    """Both models over 18 nights: one falls and has a night that failed, the other does not."""
    rng = random.Random(7)
    nights = [
        {
            "date": f"2026-02-{day:02d}T03:00:00+00:00",
            "mean": (0.61 if day < 12 else 0.52) + rng.gauss(0, 0.008),
            "se": 0.011,
            "fingerprint": "a1" * 8 if day < 12 else "b2" * 8,
            "commit": f"{day:07x}",
            "failed": False,
        }
        for day in range(1, 19)
    ]
    nights[6] |= {"mean": None, "se": None, "failed": True}
    step = {"night": 11, "previous": 10, "before": 0.61, "after": 0.52, "p": 0.00002}
    quiet = [
        {**night, "mean": 0.35 + rng.gauss(0, 0.006), "se": 0.013, "failed": False}
        for night in nights
    ]
    common = {"label": "gsm8k_maj", "task": "gsm8k_maj", "metric": "p@1"}
    return [
        {**common, "model": "iha", "nights": nights, "steps": [step], "first_bad": 11},
        {**common, "model": "baseline", "nights": quiet, "steps": [], "first_bad": None},
    ]


@cache
def _bare() -> dict[str, Any]:
    nothing = dict.fromkeys(("model_num_parameters", "model_dtype", "device"))
    with tempfile.TemporaryDirectory() as folder:
        sides = [
            write_run(
                Path(folder) / name,
                {"ruler_mk_multikey_1_4k": _without_scores(name)},
                ours=False,
                config={**nothing, "model_args": {"pretrained": name}},
                lm_eval_version=None,
                transformers_version=None,
            )
            for name in ("first", "second")
        ]
        made: dict[str, Any] = build_report(*sides, unpaired=True)
    # What the runs lack is not what these tests are about.
    made["warnings"] = []
    return made


def _without_scores(run: str) -> FakeTask:
    task = ruler_task([None] * 12)
    for sample in task.samples:
        sample["doc_hash"] = run
        sample["doc"].pop("depth")
    return task


MAKERS = {"full": full, "bare": bare, "hostile": hostile}
