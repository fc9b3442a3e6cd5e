"""Files: JSON, and a figure that stands on its own with the same bytes every time."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from iha_eval.errors import UserError
from iha_eval.evidence import figures, result, separation


@pytest.fixture(scope="module")
def evidence() -> result.Evidence:
    return separation.run(0, quick=True)


def test_json_has_command_findings_and_numbers(evidence: result.Evidence, tmp_path: Path) -> None:
    written = result.write(evidence, "the command", tmp_path)
    assert [path.name for path in written] == ["separation.json", "separation.svg"]
    content = json.loads(written[0].read_text())
    assert (content["evidence"], content["command"]) == ("separation", "the command")
    assert content["findings"] == evidence.sentences
    assert content["versions"]["torch"]
    assert len(content["rows"]) == 4


def test_the_figure_is_the_same_every_time_and_well_formed(
    evidence: result.Evidence, tmp_path: Path
) -> None:
    first = result.write(evidence, "", tmp_path)[1].read_bytes()
    again = result.write(separation.run(0, quick=True), "", tmp_path)[1].read_bytes()
    assert first == again
    root = ElementTree.fromstring(first)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    [inner] = root.findall("{http://www.w3.org/2000/svg}svg")
    assert inner.get("aria-label", "").startswith("Distance of f(t x) from t f(x): relative")


def test_every_color_of_a_figure_is_defined_in_it(evidence: result.Evidence) -> None:
    drawn = figures.sheet("a < b", evidence.panels)
    used = {part.split(")")[0] for part in drawn.split("var(")[1:]}
    style = drawn[drawn.index("<style>") : drawn.index("</style>")]
    assert used
    # In light and in dark.
    assert all(style.count(f"{name}:") == 2 for name in used)
    assert "a &lt; b" in drawn


def test_dots_put_groups_and_models_in_order() -> None:
    panel = figures.dots(
        "d", "All", {"one": {"MHA": [1.0, 2.0], "IHA": [3.0]}, "two": {"MHA": [4], "IHA": [5]}}, "%"
    )
    assert 'aria-label="All: %. one, MHA 1, 2; one, IHA 3; two, MHA 4; two, IHA 5."' in panel.svg


def test_a_long_line_is_said_by_its_ends() -> None:
    line = figures.Series("many", "IHA", list(range(20)), [float(x) for x in range(20)])
    assert "many from 0 to 19" in figures.chart("c", "T", [line], ("x", "y")).svg


def test_panels_stand_side_by_side() -> None:
    line = figures.Series("few", "IHA", [1, 2], [3.0, 4.0], marked=True)
    panels = [figures.chart(name, name, [line], ("x", "y"), logarithmic=True) for name in "ab"]
    drawn = figures.sheet("Both", panels)
    assert drawn.index('<svg x="16"') < drawn.index('<svg x="372"')


def test_a_folder_is_made_or_refused_in_one_sentence(tmp_path: Path) -> None:
    assert result.prepare(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file', and no folder can be made there"):
        result.prepare(tmp_path / "file")
