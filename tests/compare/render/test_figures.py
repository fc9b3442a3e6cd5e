"""The figures: which are drawn, what they say in words, and that their bytes are fixed."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import made_up_reports
import pytest
from made_up_reports import figures_of

from iha_eval.compare.render.figures import FIGURES, Figure, draw_all

NAMES = (
    "forest length tasks depth maj pass trend throughput kv alpha collapse".split()  # noqa: SIM905
)


DRAW = dict(zip(NAMES, FIGURES, strict=True))


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return {figure.name: figure for figure in figures_of("full")}


def drawings(figure: Figure) -> list[str]:
    """All SVG elements of a figure."""
    panels = [panel for group in figure.groups for panel in group.panels]
    return [str(svg) for panel in panels for svg in (panel.svg, panel.narrow) if svg is not None]


def drawn(name: str, report: dict[str, Any]) -> Figure:
    """One figure of a report."""
    figure = DRAW[name](report)
    assert figure is not None
    return figure


def alt(figure: Figure, panel: int = 0) -> str:
    """The text alternative of a drawing."""
    return ElementTree.fromstring(drawings(figure)[panel]).attrib["aria-label"]


def test_all_figures_in_the_order_of_the_page(figures: dict[str, Figure]) -> None:
    # The made-up report has none of RULER's other tasks.
    assert list(figures) == [name for name in NAMES if name != "tasks"]
    assert len(FIGURES) == len(NAMES)


def test_figures_without_data_are_left_out() -> None:
    assert draw_all(made_up_reports.bare()) == []


def empty_trend(report: dict[str, Any]) -> None:
    for series in report["trend"]:
        for night in series["nights"]:
            night["mean"] = None


def empty_depth(report: dict[str, Any]) -> None:
    for grid in report["depth"]:
        grid |= {"iha": [[None]], "baseline": [[None]]}


def one_length(report: dict[str, Any]) -> None:
    for table in report["tables"]:
        for row in table["rows"]:
            row["length"] = 4096


def one_k(report: dict[str, Any]) -> None:
    for curve in report["curves"]:
        for key in set(curve) - {"task", "label", "metric"}:
            curve[key] = curve[key][:1]


def no_points(report: dict[str, Any]) -> None:
    for table in report["tables"]:
        for row in table["rows"]:
            row["points"] = None


def no_rates(report: dict[str, Any]) -> None:
    for model in report["models"].values():
        for key in (
            "prefill_tokens_per_second",
            "generation_tokens_per_second",
            "documents_per_minute",
            "kv_bytes",
            "kv_bytes_per_token",
        ):
            model[key] = None


def no_matrices(report: dict[str, Any]) -> None:
    for layer in report["maps"]["layers"]:
        layer |= dict.fromkeys(("alpha_q", "alpha_k", "alpha_v", "collapse"))


@pytest.mark.parametrize(
    ("empty", "gone"),
    [
        (empty_trend, ["trend"]),
        (empty_depth, ["depth"]),
        (one_length, ["length"]),
        (one_k, ["maj", "pass"]),
        (no_points, ["forest"]),
        (no_rates, ["throughput", "kv"]),
        (no_matrices, ["alpha", "collapse"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_figure_whose_numbers_are_all_missing_is_left_out(
    figures: dict[str, Figure], empty: Callable[[dict[str, Any]], None], gone: list[str]
) -> None:
    report = made_up_reports.full()
    empty(report)
    for name in gone:
        assert name in figures
        assert DRAW[name](report) is None


def test_identifiers_are_unique_over_all_figures_and_references_resolve(
    figures: dict[str, Figure],
) -> None:
    text = "".join(svg for figure in figures.values() for svg in drawings(figure))
    names = re.findall(r' id="([^"]+)"', text)
    assert len(names) == len(set(names))
    wanted = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert wanted == set(names)


def test_drawings_follow_the_theme_and_keep_text_as_text(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        for svg in drawings(figure):
            assert "#0f00" not in svg
            assert "font-family" not in svg
            assert "<style" not in svg
            assert re.findall(r"(?:fill|stroke): (#\w+)", svg) == []
    assert "<text" in drawings(figures["forest"])[0]
    assert "var(--iha)" in drawings(figures["forest"])[0]


def test_drawings_fit_a_phone_or_have_one_that_does(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        for panel in (panel for group in figure.groups for panel in group.panels):
            shown = ElementTree.fromstring(panel.narrow or panel.svg)
            assert float(shown.attrib["width"]) <= 358


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("forest", "all variants, 4k: +20.0 (+11.8 to +31.8), better"),
        ("forest", "intervals. RULER multi-key retrieval: string match multikey_1, 4k: +10.0"),
        ("length", "IHA: 90.0% (69.9\N{EN DASH}97.2) at 4k"),
        ("depth", "8k: 83 at 5%, 33 at 15%, 100 at 25%"),
        ("maj", "Maj@k against k, gsm8k_maj. IHA: 25.1% at k = 1"),
        ("trend", "1 without a result; step on 2026-02-12 from 61.0% to 52.0%, p <"),
        ("trend", "Score over 18 nights, Baseline, gsm8k maj, p@1; first 34.5%"),
        ("throughput", "Prefill, tokens a second: IHA 400, Baseline 400."),
        ("kv", "KV cache, bytes a token: IHA 4\N{NO-BREAK SPACE}B"),
        ("alpha", "alpha, query: 4 by 4, mean"),
        ("collapse", "collapse: 4 by 8, mean"),
    ],
)
def test_text_alternative_holds_the_numbers(
    figures: dict[str, Figure], name: str, words: str
) -> None:
    assert words in alt(figures[name])


@pytest.mark.parametrize(
    ("word", "mark"),
    [
        ("better", "fill: var(--iha)"),
        ("worse", "fill: var(--baseline)"),
        ("not enough data", "fill: var(--surface)"),
    ],
)
def test_mark_of_a_difference_says_its_word(word: str, mark: str) -> None:
    report = made_up_reports.full()
    table = report["tables"][0]
    report["tables"] = [{**table, "rows": [{**table["rows"][0], "word": word}]}]
    report["tables"].append({**table, "label": "no rows", "rows": []})
    svg = drawings(drawn("forest", report))[0]
    faces = re.findall(r"<use [^>]*(fill: var\(--\w+\))", svg)
    # Ticks are marks, too.
    assert set(faces) - {"fill: var(--muted)"} == {mark}
    assert "no rows" not in svg


def test_difference_map_is_of_the_difference(figures: dict[str, Figure]) -> None:
    grid = made_up_reports.full()["depth"][0]
    gap = round(100 * (grid["iha"][0][0] - grid["baseline"][0][0]))
    assert f"IHA less Baseline, points. 4k: {gap} at 5%" in alt(figures["depth"], 2)


def test_models_differ_in_shape_and_line_not_only_in_color(figures: dict[str, Figure]) -> None:
    svg = drawings(figures["length"])[0]
    assert "stroke-dasharray" in svg
    assert "fill: var(--surface); stroke: var(--baseline)" in svg


def test_both_models_share_a_trend_chart_and_their_difference_has_one() -> None:
    figure = drawn("trend", made_up_reports.full())
    chart, difference = figure.groups[0].panels
    assert chart.title == "gsm8k maj, p@1"
    for color in ("var(--iha)", "var(--baseline)"):
        assert color in chart.svg
    assert difference.title == "IHA less Baseline, points"
    assert "Paired difference over 17 nights, gsm8k_maj, p@1; last +15" in difference.svg


def test_series_of_earlier_reports_have_a_chart_each() -> None:
    report = made_up_reports.full()
    del report["trend_differences"]
    for series in report["trend"]:
        del series["task"], series["model"]
    assert len(drawn("trend", report).groups[0].panels) == 2


def test_missing_scores_leave_gaps() -> None:
    report = made_up_reports.full()
    report["curves"][0] |= {"iha": [None] * 4 + [0.5], "iha_low": [None] * 5}
    report["models"]["baseline"]["kv_bytes"] = None
    assert "IHA: \N{EN DASH}% at k = 1" in alt(drawn("maj", report))
    assert "Baseline \N{EN DASH}." in alt(drawn("kv", report), 1)


def test_rows_of_all_variants_together_have_a_panel_of_their_own() -> None:
    figure = drawn("length", made_up_reports.full())
    assert [panel.title for panel in figure.groups[0].panels] == [
        "multikey_1",
        "multikey_2",
        "multikey_3",
        "all variants",
    ]


def test_length_charts_side_by_side_share_an_axis_that_starts_at_0() -> None:
    report = made_up_reports.full()
    table = report["tables"][0]
    report["tables"] = [table]
    # One variant that stays far below the others.
    for row in table["rows"]:
        if row["variant"] == "multikey_3":
            row |= dict.fromkeys(("iha", "iha_low", "iha_high"), 0.02)
            row |= dict.fromkeys(("baseline", "baseline_low", "baseline_high"), 0.01)
    labels = [re.findall(r">(\d+)%<", svg) for svg in drawings(drawn("length", report))]
    assert len(labels) == 4
    assert labels[0][0] == "0"
    assert all(one == labels[0] for one in labels)


def test_curve_from_zero_is_drawn_on_a_plain_axis() -> None:
    report = made_up_reports.full()
    report["curves"] = report["curves"][:1]
    report["curves"][0]["k"] = [0, 1, 2, 3, 4]
    assert "at k = 0" in alt(drawn("maj", report))


def test_many_layers_are_thinned_and_counted() -> None:
    report = made_up_reports.full()
    layer = report["maps"]["layers"][0]
    report["maps"]["layers"] = [{**layer, "layer": number} for number in range(60)]
    report["maps"]["layers"][0]["alpha_q"] = [[-2.0, 0.0], [0.0, 1.0]]
    figure = drawn("alpha", report)
    panels = figure.groups[0].panels
    assert len(panels) == 24
    assert panels[-1].title == "Layer 59, iha sliding"
    assert "Full color is 2, no color 0; 24 of 60 layers." in figure.caption
    assert "largest -2 in row 0, column 0" in alt(figure)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([50, 50], "points. Documents in each cell: 50. Single"),
        ([3, 9], "points. Documents in a cell: 3 to 9. Single"),
        ([0, None], "points. Single"),
    ],
    ids=["equal", "unequal", "unknown"],
)
def test_documents_a_cell_are_counted(sizes: list[int | None], words: str) -> None:
    report = made_up_reports.full()
    grid = {"depths": [50.0], "n": [sizes], "iha": [[0.5, 0.5]], "baseline": [[0.5, 0.5]]}
    report["depth"] = [report["depth"][0] | {"lengths": [4096, 8192], **grid}]
    assert words in drawn("depth", report).caption


def test_hostile_labels_stay_text() -> None:
    for figure in figures_of("hostile"):
        for svg in drawings(figure):
            tags = {element.tag for element in ElementTree.fromstring(svg).iter()}
            assert tags <= {"svg", "g", "path", "text", "use", "defs", "clipPath", "rect", "image"}


def test_glyphs_that_matplotlib_lacks_are_the_browsers_business(
    recwarn: pytest.WarningsRecorder,
) -> None:
    report = made_up_reports.full()
    report["tables"][0]["rows"][0]["label"] = "\u6f22\u5b57 $x$ \U0001f600"
    assert "\u6f22\u5b57 $x$ \U0001f600" in drawings(FIGURES[0](report))[0]
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


_PRINT = """
import hashlib, made_up_reports
from iha_eval.compare.render import figures
print(hashlib.sha256(repr(figures.curves.draw_length(made_up_reports.full())).encode()).hexdigest())
"""


@pytest.mark.long
def test_bytes_do_not_depend_on_the_process_or_the_users_matplotlib(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nsvg.fonttype: path\naxes.grid: False\n")
    # In front of what the session itself imports from.
    support = os.pathsep.join(
        [str(Path(made_up_reports.__file__).parent), os.getenv("PYTHONPATH", "")]
    )
    changes = ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2", "MATPLOTLIBRC": str(tmp_path)})
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PRINT],
            env={**os.environ, "PYTHONPATH": support, **change},
            stdout=subprocess.PIPE,
            text=True,
        )
        for change in changes
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert len(first) == 65
    assert first == second
