"""Made-up report dicts, the content of report.json, for tests of the page and its figures.

For: `full()`, in which every part is there; `bare()`, in which nothing optional is; `hostile()`,
whose texts try to break out of the page.
Not for: tests of the statistics, or of how a report is made from runs.
"""

import copy
import random
from typing import Any

import report_parts as parts

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


def full(rows: int = 40) -> dict[str, Any]:
    """A report in which every part is there.

    Args:
        rows: how many disagreements.
    """
    rng = random.Random(7)
    return {
        "schema": 1,
        "title": "iha-1b5 against llama-1b5",
        "paired": True,
        "created": "2026-02-18",
        "models": {
            "iha": parts.model("iha-1b5", True),
            "baseline": parts.model("llama-1b5", False),
        },
        "headlines": parts.headlines(),
        "tables": parts.tables(rng),
        "curves": [
            parts.curve(rng, task, label, metric)
            for task, label in (("gsm8k_maj", "GSM8K"), ("math500_maj", "MATH-500"))
            for metric in ("maj", "pass")
        ],
        "depth": [parts.depth(rng)],
        "disagreements": parts.disagreements(rng, rows),
        "trend": parts.trend(rng),
        "maps": parts.maps(rng),
        "warnings": ["3 documents of arc_easy have no score for the baseline and are left out."],
        "provenance": parts.provenance(),
    }


def bare() -> dict[str, Any]:
    """A report of two runs without our provenance, unpaired, in which nothing optional is there."""
    made = full(rows=0)
    nothing = {
        key: None
        for key in made["models"]["iha"]
        if key not in ("name", "command", "versions", "engine_args", "model_args", "notes")
    }
    empty = {"command": [], "versions": {}, "engine_args": {}, "model_args": {}, "notes": []}
    row = parts.empty_cell("arc_easy", "arc_easy", "acc")
    return {
        **made,
        "paired": False,
        "models": {
            role: {"name": name, **nothing, **empty}
            for role, name in (("iha", "first"), ("baseline", "second"))
        },
        "headlines": [made["headlines"][3]],
        "tables": [
            {
                "benchmark": "arc_easy",
                "label": "arc_easy",
                "metric": "acc",
                "metric_label": "acc",
                "rows": [row],
            }
        ],
        "curves": [],
        "depth": [],
        "disagreements": {"total": 0, "shown": 0, "rows": []},
        "trend": None,
        "maps": None,
        "warnings": [],
        "provenance": {"datasets": [], "pairing": {}, "statistics": {}},
    }


def hostile() -> dict[str, Any]:
    """The full report with every free text replaced by one that tries to break out of the page."""
    made = copy.deepcopy(full(rows=8))
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
    made["provenance"]["statistics"]["seed"] = SCRIPT
    return made
