"""The table of the demo, from result files of our making."""

import io
import json

import pytest
from rich.console import Console

from iha_eval.cli._nine_cells import LABELS, VARIANTS, read_cells, read_note, table
from iha_eval.errors import UserError


def results(**changes):
    """A result file's content, each of its eighteen scores another number."""
    content = {"results": {}, "n-samples": {}}
    number = 0
    for variant in VARIANTS:
        for length in LABELS:
            number += 1
            task = f"ruler_mk_{variant}_{length}"
            content["results"][task] = {
                "alias": task,
                "string_match,none": number / 10,
                "string_match_stderr,none": "N/A",
                "first_answer,none": number / 100,
            }
            content["n-samples"][task] = {"original": 500, "effective": number}
    return content | changes


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "results_1.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_each_cell_is_read_from_its_own_task(written):
    cells = read_cells(written(results()))
    assert len(cells) == 9
    first, last = cells["multikey_1", "4k"], cells["multikey_3", "16k"]
    assert (first.scores, first.documents) == ({"string_match": 0.1, "first_answer": 0.01}, 1)
    assert (last.scores, last.documents) == ({"string_match": 0.9, "first_answer": 0.09}, 9)


def test_table_shows_variants_down_and_lengths_across(written):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table(read_cells(written(results())), "a title"))
    lines = console.export_text().splitlines()
    assert lines[0].strip() == "a title"
    cells = [line.strip("│").split("│") for line in lines if "multikey" in line]
    assert [[cell.strip() for cell in row] for row in cells] == [
        ["multikey_1", "0.100 / 0.010 (1)", "0.200 / 0.020 (2)", "0.300 / 0.030 (3)"],
        ["multikey_2", "0.400 / 0.040 (4)", "0.500 / 0.050 (5)", "0.600 / 0.060 (6)"],
        ["multikey_3", "0.700 / 0.070 (7)", "0.800 / 0.080 (8)", "0.900 / 0.090 (9)"],
    ]
    assert "string_match / first_answer" in lines[-1]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"results": {}}', "not json"])
def test_another_file_is_refused_in_one_sentence(written, content):
    path = written(content)
    with pytest.raises(UserError, match="is not a result of all nine ruler_mk tasks") as caught:
        read_cells(path)
    assert str(path) in str(caught.value)


def test_a_missing_task_is_named(written):
    content = results()
    del content["results"]["ruler_mk_multikey_2_8k"]
    with pytest.raises(UserError, match="ruler_mk_multikey_2_8k"):
        read_cells(written(content))


@pytest.mark.parametrize(
    ("config", "note"),
    [
        pytest.param({"iha_eval": {"checkpoint": {"note": "untrained"}}}, "untrained", id="there"),
        pytest.param({"iha_eval": {"checkpoint": {}}}, "", id="a checkpoint of the user"),
        pytest.param({}, "", id="another model class"),
    ],
)
def test_note_on_the_checkpoint(written, config, note):
    assert read_note(written(results(config=config))) == note
