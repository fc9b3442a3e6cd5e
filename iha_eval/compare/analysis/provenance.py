"""Where a comparison comes from: models, documents, pairing and statistics.

For: the entries `models` and `provenance` of a report, of runs by our model classes and by
lm-eval's own, which say less. Not for: scores.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from iha_eval.compare.analysis.measured_rows import CORRECTIONS, Correction
from iha_eval.compare.inputs.pairing import SIDES, Pairing, Side
from iha_eval.compare.inputs.runs import Run, non_finite_logits
from iha_eval.compare.inputs.settings import arguments
from iha_eval.statistics import ALPHA, CONFIDENCE, POWER
from iha_eval.util.numbers import there
from iha_eval.util.redact import without_secrets

FAMILIES = (
    "the deciding rows are one family across all tables; the other rows of each table are a family "
    "of their own; the smallest difference is that of a test at alpha / number of rows of the "
    "family that could show one"
)

#: The texts that RULER itself uses.
_PUBLISHED = ("essays", "needles", "noise")

_UNKNOWN = "not recorded"

_NOT_PUBLISHED = "not the published data, not comparable with published numbers"


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
    noted = [dataset for dataset in provenance["datasets"] if dataset["note"]]
    notes = dict.fromkeys(dataset["note"] for dataset in noted)
    return [
        f"{', '.join(dataset['task'] for dataset in noted if dataset['note'] == note)}: {note}."
        for note in notes
    ]


def _dataset(run: Run, task: str) -> dict[str, Any]:
    config, metadata = run.part("configs", task), run.part("configs", task, "metadata")
    loaded = run.part("configs", task, "metadata", "dataset")
    source: object
    note = None
    if "documents_sha256" in metadata:
        # cwe, fwe and qa have no haystack.
        haystack, sha256 = metadata.get("haystack"), metadata["documents_sha256"]
        source = f"haystack: {haystack}" if haystack else metadata.get("data_source", "drawn words")
        if haystack and haystack not in _PUBLISHED:
            note = "another haystack than RULER's essays, not comparable with published numbers"
        elif metadata.get("data_known") is False:
            note = _NOT_PUBLISHED
    elif loaded:
        source, sha256 = loaded.get("source"), loaded.get("sha256")
        if loaded.get("known") is False:
            note = _NOT_PUBLISHED
    else:
        named = [config.get("dataset_path"), config.get("dataset_name")]
        source = " ".join(str(name) for name in named if name) or None
        sha256 = run.part("task_hashes").get(task)
    return {"task": task, "source": source, "sha256": sha256, "note": note}


def describe_models(pairing: Pairing) -> dict[Side, dict[str, Any]]:
    """Both models, in the form of report.json; what a run does not tell is None."""
    return {side: _describe(pairing, side) for side in SIDES}


def model_warnings(models: Mapping[Side, Mapping[str, Any]]) -> list[str]:
    """What a reader must know of two models that were not run alike, each a sentence."""
    iha, baseline = (models[side] for side in SIDES)
    warnings = []
    if iha["is_iha"] is False and baseline["is_iha"]:
        warnings.append(
            "The baseline is an IHA checkpoint and the other model is not: the runs were perhaps "
            "given in the wrong order."
        )
    if iha["fingerprint"] and iha["fingerprint"] == baseline["fingerprint"]:
        warnings.append("Both runs are of the same checkpoint: differences are chance or engine.")
    for name, label in (("model_class", "model class"), ("dtype", "dtype"), ("device", "device")):
        values = [model[name] or _UNKNOWN for model in (iha, baseline)]
        if values[0] != values[1]:
            warnings.append(f"The runs differ in {label}: {values[0]} against {values[1]}.")
    versions = iha["versions"], baseline["versions"]
    other = [name for name in versions[0] if versions[0][name] != versions[1].get(name)]
    if other:
        pairs = [[packages.get(name) or _UNKNOWN for packages in versions] for name in other]
        shown = ", ".join(
            f"{name} {a} against {b}" for name, (a, b) in zip(other, pairs, strict=True)
        )
        warnings.append(f"The runs differ in versions: {shown}.")
    for side, model in zip(("IHA", "baseline"), (iha, baseline), strict=True):
        warnings += [f"{side}: {note}" for note in model["notes"]]
    return warnings


def _describe(pairing: Pairing, side: Side) -> dict[str, Any]:
    run = pairing.runs[side]
    config, ours = run.part("config"), run.part("config", "iha_eval")
    checkpoint = run.part("config", "iha_eval", "checkpoint")
    given = without_secrets(arguments(run))
    if ours.get("device"):
        # lm-eval's own --device, which says "cuda:0" on a machine without a GPU.
        given.pop("device", None)
    path = checkpoint.get("path") or given.get("pretrained") or run.results.get("model_name")
    model_class = config.get("model")
    name = checkpoint.get("name") or path or "unknown"
    note = checkpoint.get("note")
    return {
        "name": PurePath(str(name)).name or str(name),
        "path": path,
        "fingerprint": _text(checkpoint.get("fingerprint")),
        "is_iha": checkpoint.get("is_iha"),
        "model_sha": _text(config.get("model_sha")),
        "num_parameters": config.get("model_num_parameters"),
        "model_class": model_class
        if isinstance(model_class, str)
        else run.results.get("model_source"),
        "dtype": ours.get("dtype") or _dtype(config.get("model_dtype") or given.get("dtype")),
        "device": ours.get("device") or _device(run),
        "date": run.date,
        "command": list(command) if isinstance(command := ours.get("command"), list) else [],
        "versions": dict(run.part("config", "iha_eval", "versions") or _versions(run)),
        "engine_args": dict(run.part("config", "iha_eval", "engine_args")),
        "model_args": given,
        **_cache(run.part("config", "iha_eval", "kv_cache")),
        **_work(_calls(ours), _documents(pairing, side)),
        "unparseable": _unparseable(pairing, side),
        "notes": [*filter(None, (note, non_finite_logits(run), _resumed(_calls(ours))))],
    }


def _dtype(recorded: object) -> str | None:
    """As our classes name it; lm-eval's own write `torch.bfloat16`."""
    return str(recorded).removeprefix("torch.") if recorded else None


def _device(run: Run) -> Any:
    """What lm-eval's own classes ran on, which fall back to a CPU where there is no GPU."""
    asked = run.part("config").get("device")
    without = "Is CUDA available: False" in str(run.results.get("pretty_env_info"))
    return "cpu" if without and str(asked).startswith("cuda") else asked


def _versions(run: Run) -> dict[str, Any]:
    names = {"lm_eval": "lm_eval_version", "transformers": "transformers_version"}
    return {name: run.results.get(place) for name, place in names.items()}


def _cache(kv_cache: Mapping[str, Any]) -> dict[str, Any]:
    tokens, size = _number(kv_cache.get("tokens")), _number(kv_cache.get("bytes"))
    return {
        "kv_tokens": tokens,
        "kv_bytes": size,
        "kv_bytes_per_token": size / tokens if tokens and size else None,
    }


def _calls(ours: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    calls = ours.get("summary")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _work(calls: Sequence[Mapping[str, Any]], documents: int) -> dict[str, Any]:
    """Rates over all calls; none of a run that went on from a journal.

    What was left then is another choice of documents than the other run's, and of other lengths.
    """
    total = _totals(calls)
    answers = total["requests"] + total["recalled_from_journal"]
    computed = total["prompt_tokens"] - total["prompt_tokens_from_prefix_cache"]
    rates = {
        "prefill_tokens_per_second": _ratio(computed, total["prefill_seconds"]),
        "generation_tokens_per_second": _ratio(
            total["generated_tokens"] - total["requests"], total["generation_seconds"]
        ),
        "documents_per_minute": _ratio(60 * documents if answers else 0, total["seconds"]),
    }
    return {
        **(dict.fromkeys(rates) if total["recalled_from_journal"] else rates),
        "seconds": total["seconds"] if calls else None,
        "documents": documents,
        "cut": total["cut_by_budget"] / answers if answers else None,
    }


def _totals(calls: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Requests, tokens and seconds over all calls."""
    return {
        name: sum(_number(call.get(name)) or 0 for call in calls)
        for name in (
            *("requests", "recalled_from_journal", "cut_by_budget", "seconds"),
            *("prompt_tokens", "prompt_tokens_from_prefix_cache", "generated_tokens"),
            *("prefill_seconds", "generation_seconds"),
        )
    }


def answer_cost(run: Run) -> dict[str, float] | None:
    """Seconds and tokens of one answer, on average over all of a run; None if it does not tell.

    Of a run that went on from a journal, what was computed in it counts.
    """
    total = _totals(_calls(run.part("config", "iha_eval")))
    if not (total["requests"] and total["seconds"]):
        return None
    tokens = total["prompt_tokens"] + total["generated_tokens"]
    return {
        "seconds": total["seconds"] / total["requests"],
        "tokens": tokens / total["requests"],
    }


def _resumed(calls: Sequence[Mapping[str, Any]]) -> str:
    """What is to be said of a run that went on from a journal; empty for any other."""
    recalled = sum(_number(call.get("recalled_from_journal")) or 0 for call in calls)
    return f"{recalled:,} answers were in the journal already, so no rates are given" * (
        recalled > 0
    )


def _number(value: object) -> int | float | None:
    """A number of a file that anybody may have changed; None if it is none."""
    # Larger numbers are no counts or sizes, and integers may be too large for a float.
    return value if there(value) and abs(value) < 1e18 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _ratio(amount: float, seconds: float) -> float | None:
    return amount / seconds if seconds > 0 and amount > 0 else None


def _documents(pairing: Pairing, side: Side) -> int:
    return sum(len({number for _, number in task.side(side)}) for task in pairing.tasks)


def _unparseable(pairing: Pairing, side: Side) -> float | None:
    """Share of all answers of the tasks that tell; each document has as many as its task draws."""
    share = weight = 0.0
    for task in pairing.tasks:
        repeats = pairing.runs[side].part("configs", task.name).get("repeats")
        answers = _number(repeats) or 1
        for sample in task.side(side).values():
            value = sample.scores.get("unparseable")
            # NaN is not equal to itself.
            if value is not None and value == value:
                share += answers * value
                weight += answers
    return share / weight if weight else None
