"""`iha-eval history`: the trend over all nights, first bad nights, and what changed there.

For: showing what `iha-eval nightly` has recorded, in a table and sentences, and taking a night as
the new normal.
Not for: running anything, nor finding anything out (`iha_eval.nightly.trends`).
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import JustifyMethod
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from iha_eval.nightly.trends import SCALE, Lookback, MetricSeries, SeriesRow
from iha_eval.util.text import counted

SUMMARY = "history DIR: the trend over all nights, first bad nights and what changed there"


def main(arguments: Sequence[str]) -> int:
    """Show a history.

    Returns:
        0, whatever it shows.

    Raises:
        UserError: There is no such folder, or no such night to accept.
    """
    # Slow to import, and not needed for the help of `iha-eval`.
    from iha_eval.errors import UserError
    from iha_eval.nightly.history import History
    from iha_eval.nightly.lock import only_one
    from iha_eval.nightly.trends import look_back
    from iha_eval.util.terminal import CleanConsole

    options = _parser().parse_args(arguments)
    history = History(options.folder.expanduser())
    if not history.folder.is_dir():
        raise UserError(
            f"{history.folder} is not a folder: name the one that history: in the configuration of "
            "iha-eval nightly names."
        )
    if options.accept:
        with only_one(history.folder, "an --accept"):
            history.accept(options.accept)
        print(f"accepted: later nights are held against {options.accept}", file=sys.stderr)
    if options.pin or options.unpin:
        with only_one(history.folder, "a --pin"):
            history.pin(options.pin)
        print(
            f"pinned: later nights are held against {options.pin} too"
            if options.pin
            else "no night is pinned any more",
            file=sys.stderr,
        )
    lookback = look_back(history)
    if options.json:
        print(json.dumps(lookback.as_dict(), indent=1))
        return 0
    rows = [
        row
        for row in lookback.rows
        if row.series.results and (options.all or (row.series.watched and row.series.current))
    ]
    console = CleanConsole()
    count = len(lookback.nights)
    title = f"{history.folder}: {counted(count, 'night')}"
    if rows:
        shown = table(rows, title, console.width)
        console.print(shown, soft_wrap=isinstance(shown, Text))
    else:
        console.print(f"{title}, no results", highlight=False, markup=False)
    for sentence in sentences(rows, lookback):
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iha-eval history", description=SUMMARY)
    parser.add_argument("folder", type=Path, metavar="DIR", help="the history folder")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--all",
        action="store_true",
        help="also metrics that no rule watches, and series that were replaced by other questions",
    )
    parser.add_argument(
        "--accept",
        metavar="NIGHT",
        help="take this night for good: later ones are held against it",
    )
    pinning = parser.add_mutually_exclusive_group()
    pinning.add_argument(
        "--pin",
        metavar="NIGHT",
        help="hold all later nights against this one too, also after the checkpoint has changed",
    )
    pinning.add_argument("--unpin", action="store_true", help="pin no night any more")
    return parser


_NIGHTS = 5
# Measures not judged that are told for each of them.
_SHOWN = 2
_COLUMNS = ("benchmark", "metric", "model", "nights", "last", "first bad")
# Between columns.
_GAP = 2
# Nights of a trend that a table must have room for.
_LEAST = 8
_CAPTION = (
    f"last: % ± standard error; trend: {SCALE:g} standard errors high or more; dots: no result"
)


def table(rows: list[SeriesRow], title: str, width: int) -> Table | Text:
    """A row for each series, those of a task together; scores in percent, with standard errors.

    Args:
        rows: What to show.
        title: What stands above.
        width: Columns of the terminal; what names and numbers leave of it, the trend gets.
    """
    order = {task: place for place, task in enumerate(row.series.task for row in rows[::-1])}
    ranked = sorted(rows, key=lambda row: (-order[row.series.task], row.series.metric))
    fields = [_fields(row) for row in ranked]
    taken = sum(max(map(len, column)) + _GAP for column in zip(_COLUMNS, *fields, strict=True))
    if taken + _LEAST > width:
        return _narrow(ranked, fields, title, width)
    shown = Table(
        title=escape(title),
        caption=_CAPTION,
        box=box.SIMPLE,
        collapse_padding=True,
        pad_edge=False,
    )
    for name in (*_COLUMNS, "trend"):
        side: JustifyMethod = "right" if name in ("nights", "last") else "left"
        # A name that is cut short could be another one.
        shown.add_column(name, justify=side, overflow="fold")
    for row, texts in zip(ranked, fields, strict=True):
        shown.add_row(*map(escape, texts), row.series.sparkline(width - taken))
    return shown


def _narrow(rows: list[SeriesRow], fields: list[tuple[str, ...]], title: str, width: int) -> Text:
    """The same for few columns: benchmark and metric have a line of their own above the models."""
    parts = [texts[2:] for texts in fields]
    columns = list(zip(_COLUMNS[2:], *parts, strict=True))
    widths = [max(map(len, column)) for column in columns]
    rest = width - sum(widths) - _GAP * (len(widths) + 1)
    lines = [title, ""]
    above = None
    for texts, row in zip([_COLUMNS, *fields], [None, *rows], strict=True):
        if texts[:2] != above:
            above = texts[:2]
            lines.append(" ".join(above))
        # Counts and numbers to the right, as in the table.
        sides = zip(texts[2:], widths, "<>><", strict=True)
        cells = [f"{text:{side}{cells}}" for text, cells, side in sides]
        trend = "trend" if row is None else row.series.sparkline(max(_LEAST // 2, rest))
        lines.append((" " * _GAP).join(["", *cells, trend]))
    return Text("\n".join([*lines, "", _CAPTION]))


def _fields(row: SeriesRow) -> tuple[str, ...]:
    series = row.series
    name = series.task if series.version == 1 else f"{series.task} (questions {series.version})"
    bad = row.first_bad.night if row.first_bad else "-"
    return name, series.metric, series.model, _count(series), _last(series), bad


def sentences(rows: list[SeriesRow], lookback: Lookback) -> Iterator[str]:
    """What the table has no room for: first bad nights, steps, failures, what was not judged."""
    for row in rows:
        yield from _steps(row)
    for night in lookback.nights[-_NIGHTS:]:
        for failure in night["failed"]:
            yield f"night {night['night']} lacks {failure}"
        for regression in night["regressions"]:
            yield f"night {night['night']} regressed: {regression}"
        for what in _few(night["not_judged"]):
            yield f"night {night['night']} did not judge {what}"
    yield from lookback.standing
    if lookback.broken:
        lines = counted(lookback.broken, "line")
        yield f"{lines} of the history cannot be read and were passed over"


def _steps(row: SeriesRow) -> Iterator[str]:
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


def _count(series: MetricSeries) -> str:
    gaps = len(series.points) - len(series.results)
    return f"{len(series.results)}" + (f" + {gaps} failed" if gaps else "")


def _last(series: MetricSeries) -> str:
    line = series.results[-1].line
    return f"{100 * (line.mean or 0):.1f} ± {100 * (line.se or 0):.1f}"
