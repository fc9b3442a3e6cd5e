"""Curves of both models: accuracy against length, Maj@k and pass@k against k.

For: tables whose rows have a length, and tasks with several answers to a question.
Not for: accuracy by the depth of the needle (depth.py), nor for nights (trend.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from iha_eval.compare.render.figures import axes, svg
from iha_eval.compare.render.figures.figure import ROLES, Figure, Panel, PanelGroup
from iha_eval.compare.schema import Report, ReportRow, ReportTable, VoteCurve
from iha_eval.util.numbers import levels, percent, there, tokens
from iha_eval.util.text import one_line

Scores = Mapping[str, Sequence[float | None]]
"""`iha`, `iha_low`, `iha_high` and the same of `baseline`, a number for each point."""


def draw_length(report: Report) -> Figure | None:
    """The figure of accuracy against length; None if no variant has scores at two lengths."""
    groups = tuple(
        PanelGroup(one_line(table["label"], 80), panels)
        for number, table in enumerate(report["tables"])
        if (panels := _length_panels(f"length-{number}", table))
    )
    if not groups:
        return None
    caption = (
        "Mean score at each length, with the 95% interval of each model on its own; the axes of a "
        "row of charts are equal and start at 0. Whether a difference is significant does not "
        "follow from intervals that overlap: see the tables."
    )
    return Figure("length", "Accuracy against length", caption, groups, key="models")


def draw_majority(report: Report) -> Figure | None:
    """The figure of Maj@k; None without such a curve."""
    caption = (
        "Share of questions whose most frequent answer among k is right, in expectation over all "
        "choices of k of the answers, with 95% intervals. The axes do not start at 0."
    )
    return _draw(report, "maj", "Maj@k", caption)


def draw_pass(report: Report) -> Figure | None:
    """The figure of pass@k; None without such a curve."""
    caption = (
        "Share of questions with a right answer among k, in expectation over all choices of k of "
        "the answers, with 95% intervals. The axes do not start at 0."
    )
    return _draw(report, "pass", "pass@k", caption)


def _length_panels(name: str, table: ReportTable) -> tuple[Panel, ...]:
    by_variant: dict[str | None, dict[int, ReportRow]] = {}
    for row in table["rows"]:
        if row["length"] is not None:
            by_variant.setdefault(row["variant"], {})[row["length"]] = row
    shown = {
        variant: [rows[length] for length in sorted(rows)]
        for variant, rows in by_variant.items()
        if sum(there(row["iha"]) for row in rows.values()) > 1
    }
    scores = {variant: _scores_of(rows) for variant, rows in shown.items()}
    every = [value for kept in scores.values() for series in kept.values() for value in series]
    top = 100 * max((value for value in every if there(value)), default=1.0)
    return tuple(
        _length_panel(f"{name}-{number}", variant, shown[variant], scores[variant], top)
        for number, variant in enumerate(shown)
    )


def _scores_of(rows: Sequence[Mapping[str, Any]]) -> Scores:
    ends = [f"{side}{end}" for side in ("iha", "baseline") for end in ("", "_low", "_high")]
    return {end: [row[end] for row in rows] for end in ends}


def _length_panel(
    name: str, variant: str | None, rows: list[ReportRow], scores: Scores, top: float
) -> Panel:
    # Rows of several variants have none; `11 of 13 tasks, 4k` says how many there are.
    several = dict.fromkeys(row["label"].rsplit(", ", 1)[0] for row in rows)
    title = one_line(variant or " and ".join(several), 40)
    lengths = [row["length"] or 0 for row in rows]
    with svg.canvas(name, _length_alt(title, lengths, scores)) as canvas:
        _both(canvas.axes, lengths, scores, nudge=1.025)
        axes.from_zero(canvas.axes, top)
        axes.steps_axis(canvas.axes, lengths, [tokens(length) for length in lengths], "tokens")
    return Panel(title, canvas.svg)


def _both(drawn: Axes, places: Sequence[float], scores: Scores, nudge: float) -> list[float]:
    """Both models' points, a little apart, so that whiskers do not hide each other."""
    numbers: list[float] = []
    for side, factor in (("iha", nudge), ("baseline", 1 / nudge)):
        ends = (scores[f"{side}{end}"] for end in ("", "_low", "_high"))
        numbers += axes.series(drawn, side, [place * factor for place in places], *ends)
    return numbers


def _length_alt(title: str, lengths: Sequence[int], scores: Scores) -> str:
    models = []
    for side, name in zip(("iha", "baseline"), ROLES, strict=True):
        ends = (scores[f"{side}{end}"] for end in ("", "_low", "_high"))
        values = ", ".join(
            f"{percent(score)}% ({levels(low, high)}) at {tokens(length)}"
            for length, score, low, high in zip(lengths, *ends, strict=True)
        )
        models.append(f"{name}: {values}")
    return f"Accuracy against length in tokens, {title}. {'; '.join(models)}."


def _draw(report: Report, metric: str, called: str, caption: str) -> Figure | None:
    panels = tuple(
        _panel(f"{metric}-{number}", called, curve)
        for number, curve in enumerate(report["curves"])
        if curve["metric"] == metric
        and len(curve["k"]) > 1
        and axes.drawable([*curve["iha"], *curve["baseline"]])
    )
    if not panels:
        return None
    return Figure(metric, called, caption, (PanelGroup("", panels),), key="models")


def _panel(name: str, called: str, curve: VoteCurve) -> Panel:
    title = one_line(curve["label"], 48).removesuffix(f": {called}")
    kept: Mapping[str, Any] = curve
    scores: Scores = {end: kept[end] for end in kept if end.startswith(("iha", "baseline"))}
    with svg.canvas(name, _alt(called, title, curve)) as canvas:
        drawn = _both(canvas.axes, curve["k"], scores, nudge=1.02)
        axes.percent_axis(canvas.axes, drawn)
        axes.steps_axis(canvas.axes, curve["k"], [f"{k:g}" for k in curve["k"]], "answers k")
    return Panel(title, canvas.svg)


def _alt(called: str, title: str, curve: VoteCurve) -> str:
    models = []
    for scores, name in zip((curve["iha"], curve["baseline"]), ROLES, strict=True):
        pairs = zip(curve["k"], scores, strict=True)
        models.append(f"{name}: " + ", ".join(f"{percent(y)}% at k = {k:g}" for k, y in pairs))
    return f"{called} against k, {title}. {'; '.join(models)}."
