"""Where the documents of a comparison come from, how they were paired, and by which statistics.

For: the entry `provenance` of a report. Not for: the models (models.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from iha_eval.compare.analysis.measured_rows import CORRECTIONS, Correction
from iha_eval.compare.inputs.pairing import Pairing
from iha_eval.compare.inputs.runs import Run
from iha_eval.statistics import ALPHA, CONFIDENCE, POWER

FAMILIES = (
    "the deciding rows, one a benchmark, are one family across all tables; the other rows of each "
    "table are a family of their own; the smallest difference is that of a test at alpha / size of "
    "the family"
)

# The texts that RULER itself uses.
_PUBLISHED = ("essays", "needles")


def provenance(
    pairing: Pairing,
    cells: Sequence[Mapping[str, Any]],
    correction: Correction,
    margin: float,
    commit: str | None,
    compare: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Data, pairing and statistics, in the form of report.json.

    Args:
        pairing: Two runs.
        cells: All rows of all tables.
        correction: How p-values were corrected.
        margin: Points that matter.
        commit: What the user says the commit was.
        compare: `command` and `options` of the comparison itself, where they are known.
    """
    return {
        "commit": commit,
        "compare": {"command": [], "options": {}, **(compare or {})},
        "datasets": [_dataset(pairing.runs["iha"], task.name) for task in pairing.tasks],
        "pairing": {
            "tasks": len(pairing.tasks),
            "documents": pairing.documents,
            "hashes": _hashes(pairing),
            "unpaired_tasks": pairing.unpaired,
            "tasks_not_compared": list(pairing.not_compared),
        },
        "statistics": {
            "intervals": sorted({cell["method"] for cell in cells if cell["method"]}),
            "tests": sorted({cell["p_method"] for cell in cells}),
            "levels": "Wilson's score interval",
            "correction": CORRECTIONS[correction],
            "families": FAMILIES,
            "alpha": ALPHA,
            "confidence": CONFIDENCE,
            "power": POWER,
            "margin_points": margin,
            "seed": 0,
        },
    }


def _hashes(pairing: Pairing) -> str:
    if not pairing.tasks:
        return "not compared"
    if pairing.paired:
        return "equal"
    return "not required" if len(pairing.unpaired) == len(pairing.tasks) else "equal where paired"


def data_warnings(provenance: Mapping[str, Any]) -> list[str]:
    """What a reader must know of the data: that it is not the published one, as one sentence."""
    noted = [one for one in provenance["datasets"] if one["note"]]
    notes = dict.fromkeys(one["note"] for one in noted)
    return [
        f"{', '.join(one['task'] for one in noted if one['note'] == note)}: {note}."
        for note in notes
    ]


def _dataset(run: Run, task: str) -> dict[str, Any]:
    config, metadata = run.part("configs", task), run.part("configs", task, "metadata")
    loaded = run.part("configs", task, "metadata", "dataset")
    source: object
    note = None
    if "documents_sha256" in metadata:
        source, sha256 = f"haystack: {metadata.get('haystack')}", metadata["documents_sha256"]
        if metadata.get("haystack") not in _PUBLISHED:
            note = "another haystack than RULER's essays, not comparable with published numbers"
    elif loaded:
        source, sha256 = loaded.get("source"), loaded.get("sha256")
        if loaded.get("known") is False:
            note = "not the published data, not comparable with published numbers"
    else:
        named = [config.get("dataset_path"), config.get("dataset_name")]
        source = " ".join(str(name) for name in named if name) or None
        sha256 = run.part("task_hashes").get(task)
    return {"task": task, "source": source, "sha256": sha256, "note": note}
