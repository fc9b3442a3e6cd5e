"""The report of two training runs at equal steps: one page over all steps, and each pair's own.

For: `write_watch`, from the history alone, so that neither outputs nor checkpoints need be there
any more, and `write_pair`, the comparison at one step.
Not for: evaluating (`watch.py`), nor for how the page looks (`compare/render`).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from iha_eval.nightly.config import BASELINE, Config
from iha_eval.nightly.history import History, HistoryEntry
from iha_eval.nightly.night import STEPS, Night
from iha_eval.nightly.record import NightOutcome
from iha_eval.nightly.trends import MetricSeries, all_series, paired_night, report_form
from iha_eval.statistics import Trend, clear_since, look_confidence
from iha_eval.util.files import sha256
from iha_eval.util.numbers import plain_points
from iha_eval.util.text import clean_all, counted

IHA = "iha"
ROLES = (IHA, BASELINE)

_NOT_CLEAR = "no significant difference"

Steps = Mapping[str, Sequence[HistoryEntry]]


def read_mixing(folder: Path) -> dict[str, float] | None:
    """How far the alphas and collapses of a checkpoint are from the identity; None of a plain one.

    Raises:
        CheckpointError: a file is not readable.
    """
    from model_adapters.inspection import measure_alpha, measure_collapse, read_layers

    layers = read_layers(folder)
    if not layers:
        return None
    distances = {
        name: fmean(measure_alpha(layer.alphas[name]).distance for layer in layers)
        for name in layers[0].alphas
    }
    distances["collapse"] = fmean(measure_collapse(layer.collapse).distance for layer in layers)
    return distances


def keep_mixing(history: History, fingerprint: str, distances: Mapping[str, float] | None) -> None:
    """Keep the distances of a checkpoint, see `read_mixing`, for the page.

    Raises:
        UserError: the history cannot be written.
    """
    if distances is not None:
        history.keep(_mixing_key(fingerprint), distances)


def _mixing_key(fingerprint: str | None) -> str:
    return sha256(["mixing", fingerprint])


def write_pair(config: Config, night: Night, outcome: NightOutcome) -> str:
    """Write the comparison of both runs at one step into its folder.

    Returns:
        Why they cannot be compared; empty if they were.

    Raises:
        UserError: it cannot be written.
    """
    from iha_eval.compare import build_report, write_report
    from iha_eval.compare.inputs.merge import merged
    from iha_eval.errors import UserError

    try:
        iha, baseline = (
            merged([run.results for run in outcome.of(role)], night.folder / "merged" / role)
            for role in ROLES
        )
        report = build_report(iha, baseline, unpaired=config.unpaired)
    except UserError as error:
        return f"NO COMPARISON at step {night.step}: {error}"
    report["title"] = f"{report['title']}, step {night.step:,}"
    write_report(report, night.folder)
    left_out = report["provenance"]["pairing"]["tasks_not_compared"]
    return f"NOT COMPARED at step {night.step}: {', '.join(left_out)}" if left_out else ""


def build_watch(
    config: Config,
    runs: Mapping[str, Path],
    history: History,
    warnings: Sequence[str] = (),
    tokens: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The content of report.json, as `compare.schema.WatchReport` has it.

    Args:
        config: what each step did.
        runs: folders of the two training runs, by `iha` and `baseline`.
        history: where the steps are recorded.
        warnings: sentences besides those on what is missing.
        tokens: of a training step, by the same names, where equal tokens are paired.
    """
    steps = history.read().steps
    series = [each for each in all_series(steps) if each.current and each.watched]
    curves = list(dict.fromkeys((each.task, each.metric) for each in series))
    refused: list[str] = []
    differences = [_differences(steps, history, curve, len(curves), refused) for curve in curves]
    signs = {(each.task, each.metric): each.sign for each in series}
    lines = [line for entries in steps.values() for line in entries]
    report = {
        "schema": 1,
        "kind": "watch",
        "title": f"{runs[IHA].name} against {runs[BASELINE].name} along training",
        "created": max((line.date for line in lines), default=""),
        "runs": {role: str(folder) for role, folder in runs.items()},
        **({"tokens_per_step": dict(tokens)} if tokens else {}),
        "findings": [
            _finding(each, signs[each["task"], each["metric"]])
            for each in differences
            if each["nights"]
        ],
        "error": _error(len(curves)),
        "trend": [_curve(each) for each in series],
        "trend_differences": differences,
        "mixing": _mixing(steps, history),
        "reports": {
            str(entries[0].step): name
            for name, entries in steps.items()
            if (config.output / STEPS / name / "report.html").exists()
        },
        "waiting": list(_waiting(lines)),
        "warnings": [*_failed(lines), *refused, *warnings],
    }
    cleaned: dict[str, Any] = clean_all(report)
    return cleaned


def write_watch(config: Config, report: Any, history: History) -> list[Path]:
    """Write the page of both runs below the output folder, and keep it in the history.

    Raises:
        UserError: it cannot be written.
    """
    from iha_eval.compare.render.output import write_files
    from iha_eval.compare.render.page import render_watch

    folder = config.output / STEPS
    texts = {
        "report.html": render_watch(report),
        "report.json": json.dumps(report, ensure_ascii=False, allow_nan=False) + "\n",
    }
    files = write_files(texts, folder)
    history.keep_report(STEPS, folder)
    return files


def _curve(series: MetricSeries) -> dict[str, Any]:
    """A series as figures take it; its rise is no step that somebody must look for."""
    return report_form(series, f"{series.task}, {series.model}", Trend("steady", (), None, ()))


def _differences(
    steps: Steps, history: History, curve: tuple[str, str], curves: int, refused: list[str]
) -> dict[str, Any]:
    """The paired differences of one curve, each look with the interval that it may take."""
    looks: list[dict[str, Any]] = []
    for entries in steps.values():
        sides = {line.model: line for line in entries if line.key == curve and line.has_result}
        if set(sides) < set(ROLES):
            continue
        confidence = look_confidence(len(looks) + 1, curves)
        pair = sides[IHA], sides[BASELINE], history
        plain, corrected = paired_night(*pair), paired_night(*pair, confidence)
        if sides[IHA].settings != sides[BASELINE].settings or not (plain and corrected):
            refused.append(
                f"NOT COMPARED at step {sides[IHA].step:,}: {' '.join(curve)}: the runs answered "
                "other questions, in another setting, or their scores are gone."
            )
        else:
            ends = {"looks_low": corrected["low"], "looks_high": corrected["high"]}
            look = {"step": sides[IHA].step, **ends, "confidence": confidence}
            looks.append({**plain, **look})
    return {"task": curve[0], "metric": curve[1], "nights": looks}


def _finding(difference: Mapping[str, Any], sign: int) -> dict[str, Any]:
    """What a difference comes to as of its last step, and since when."""
    looks = difference["nights"]
    ends = [(sign * look["looks_low"], sign * look["looks_high"]) for look in looks]
    first = clear_since([(min(pair), max(pair)) for pair in ends])
    last, name = looks[-1], f"{difference['task']} {difference['metric']}"
    told = (
        f"{plain_points(last['points'])} points at step {last['step']:,} "
        f"({plain_points(last['looks_low'])} to {plain_points(last['looks_high'])}, allowing for "
        f"all looks; {last['n']} questions)"
    )
    if first is None:
        earlier = " any more" if any(low > 0 or high < 0 for low, high in ends) else ""
        after = counted(len(looks), "look")
        sentence = f"{name}: no clear difference{earlier} after {after}: {told}"
        return {**_named(difference), "word": _NOT_CLEAR, "since": None, "sentence": f"{sentence}."}
    ahead = sign * last["points"] > 0
    since = looks[first]["step"]
    sentence = (
        f"{name}: IHA is {'ahead of' if ahead else 'behind'} the baseline from step {since:,} on, "
        f"at every look since: {told}."
    )
    word = "better" if ahead else "worse"
    return {**_named(difference), "word": word, "since": since, "sentence": sentence}


def _named(difference: Mapping[str, Any]) -> dict[str, Any]:
    return {name: difference[name] for name in ("task", "metric")}


def _error(curves: int) -> str:
    over = f"any of the {curves} curves" if curves > 1 else "the curve"
    return (
        "Looking often makes mistakes: an interval of 95% at every step would soon leave 0 out by "
        "chance. So look k has the level 1 - 0.05 x 10 / ((k + 9) (k + 10))"
        f"{f', the error divided by {curves} curves' if curves > 1 else ''}. Where the runs do not "
        f"differ, the chance that any look at {over} is called clear is 5% at most, however many "
        "steps are still to come."
    )


def _mixing(steps: Steps, history: History) -> list[dict[str, Any]]:
    rows = []
    for entries in steps.values():
        prints = [line.fingerprint for line in entries if line.model == IHA and line.fingerprint]
        distances = history.lookup(_mixing_key(prints[0])) if prints else None
        if isinstance(distances, dict):
            rows.append({"step": entries[0].step, **distances})
    return rows


def _waiting(lines: Sequence[HistoryEntry]) -> list[str]:
    """The steps that one model alone has so far, in words."""
    there = {role: {line.step for line in lines if line.model == role} for role in ROLES}
    sentences = []
    for role, other in (ROLES, ROLES[::-1]):
        alone = sorted(step for step in there[role] - there[other] if step is not None)
        if alone:
            shown = ", ".join(f"{step:,}" for step in alone[:6]) + (", ..." if alone[6:] else "")
            which = f"step{'s' if len(alone) > 1 else ''} {shown}"
            sentences.append(f"{role} alone has {which}; {other} is waited for.")
    return sentences


def _failed(lines: Sequence[HistoryEntry]) -> list[str]:
    return [
        f"MISSING: the run of {line.model} at step {line.step:,} on {line.task} ({line.reason})."
        if line.failed
        else f"MISSING: {line.task} {line.metric} of {line.model} at step {line.step:,}: "
        f"{line.lacking}."
        for line in lines
        if line.failed or (line.lacking and line.watched)
    ]
