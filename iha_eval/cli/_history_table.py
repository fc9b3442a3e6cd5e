"""How `iha-eval history` lays a history out: a table, then sentences.

For: a terminal. Not for: finding anything out (`iha_eval.nightly.lookback`).
"""

from collections.abc import Iterator

from rich import box
from rich.console import JustifyMethod
from rich.markup import escape
from rich.table import Table

from iha_eval.nightly.lookback import Lookback, Row
from iha_eval.nightly.trends import Series

_NIGHTS = 5
# Measures not judged that are told for each of them.
_SHOWN = 2
_COLUMNS = ("benchmark", "metric", "model", "nights", "last", "first bad")
# Between columns.
_GAP = 2
# Nights of a trend, even where there is no room for them.
_LEAST = 8


def table(rows: list[Row], title: str, width: int) -> Table:
    """A row for each series, those of a task together; scores in percent, with standard errors.

    Args:
        rows: what to show.
        title: what stands above.
        width: columns of the terminal; what names and numbers leave of it, the trend gets.
    """
    order = {task: place for place, task in enumerate(row.series.task for row in rows[::-1])}
    ranked = sorted(rows, key=lambda row: (-order[row.series.task], row.series.metric))
    fields = [_fields(row) for row in ranked]
    columns = zip(_COLUMNS, *fields, strict=True)
    taken = sum(max(map(len, column)) + _GAP for column in columns)
    shown = Table(
        title=escape(title),
        caption="last: percent with standard error; dots: no result",
        box=box.SIMPLE,
        collapse_padding=True,
        pad_edge=False,
    )
    for name in (*_COLUMNS, "trend"):
        side: JustifyMethod = "right" if name in ("nights", "last") else "left"
        # A name that is cut short could be another one.
        shown.add_column(name, justify=side, overflow="fold")
    for row, texts in zip(ranked, fields, strict=True):
        shown.add_row(*map(escape, texts), row.series.sparkline(max(_LEAST, width - taken)))
    return shown


def _fields(row: Row) -> tuple[str, ...]:
    series = row.series
    name = series.task if series.version == 1 else f"{series.task} (questions {series.version})"
    bad = row.first_bad.night if row.first_bad else "-"
    return name, series.metric, series.model, _count(series), _last(series), bad


def sentences(rows: list[Row], found: Lookback) -> Iterator[str]:
    """What the table has no room for: first bad nights, steps, failures, what was not judged."""
    for row in rows:
        yield from _steps(row)
    for night in found.nights[-_NIGHTS:]:
        for failure in night["failed"]:
            yield f"night {night['night']} lacks {failure}"
        for regression in night["regressions"]:
            yield f"night {night['night']} regressed: {regression}"
        for what in _few(night["not_judged"]):
            yield f"night {night['night']} did not judge {what}"
    yield from found.standing
    if found.broken:
        lines = "line" if found.broken == 1 else "lines"
        yield f"{found.broken} {lines} of the history cannot be read and were passed over"


def _steps(row: Row) -> Iterator[str]:
    series, bad = row.series, row.first_bad
    name = f"{series.task} {series.metric}, {series.model}"
    if bad:
        yield (
            f"{name}: bad since {bad.night}, {100 * bad.before:.1f}% -> {100 * bad.after:.1f}% "
            f"(p = {bad.p:.2g}); last good {bad.last_good}; {bad.cause}"
        )
    for step in row.trend.steps:
        if row.trend.first_bad is None or step.night != row.trend.first_bad.night:
            before, after = 100 * series.sign * step.before, 100 * series.sign * step.after
            night = series.points[step.night].night
            yield f"{name}: step on {night}, {before:.1f}% -> {after:.1f}% (p = {step.p:.2g})"


def _few(texts: list[str]) -> Iterator[str]:
    """The first of them; a change of settings concerns all tasks alike."""
    yield from texts[:_SHOWN]
    if len(texts) > _SHOWN:
        yield f"{len(texts) - _SHOWN} more (see --json)"


def _count(series: Series) -> str:
    gaps = len(series.points) - len(series.results)
    return f"{len(series.results)}" + (f" + {gaps} failed" if gaps else "")


def _last(series: Series) -> str:
    line = series.results[-1].line
    return f"{100 * line['mean']:.1f} ± {100 * line['se']:.1f}"
