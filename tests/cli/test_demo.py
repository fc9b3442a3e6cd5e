"""`iha-eval demo`, with a stand-in for lm-eval's command; the real run is in its own test."""

import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from iha_eval.cli import demo, main
from iha_eval.cli.demo import read_cells, read_note, table
from iha_eval.errors import UserError
from iha_eval.ruler import LENGTHS, VARIANTS, length_label

# Notes its arguments, writes a result file where lm-eval would, and exits as it is told.
STAND_IN = """#!{python}
import json, os, pathlib, sys
arguments = sys.argv[1:]
output = pathlib.Path(arguments[arguments.index("--output_path") + 1], "model")
if not os.environ.get("NO_RESULT"):
    output.mkdir(parents=True, exist_ok=True)
    names = [f"ruler_mk_multikey_{{v}}_{{n}}k" for v in (1, 2, 3) for n in (4, 8, 16)]
    scores = {{"string_match,none": 0.25, "first_answer,none": 0.125}}
    content = {{
        "results": dict.fromkeys(names, scores),
        "n-samples": dict.fromkeys(names, {{"effective": 4}}),
        "arguments": arguments,
        "config": {{"iha_eval": {{"checkpoint": {{"note": "untrained weights"}}}}}},
    }}
    (output / f"results_{{os.getpid()}}.json").write_text(json.dumps(content))
sys.exit(int(os.environ.get("CODE", 0)))
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A folder with a Python and an `lm_eval`, and an empty one to work in."""
    folder, work = tmp_path / "bin", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    program = folder / "lm_eval"
    program.write_text(STAND_IN.format(python=sys.executable))
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for file in (program, python):
        file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    # What it makes of two runs is tested with it.
    monkeypatch.setattr(demo.compare, "main", lambda arguments: print("compared", *arguments) or 0)
    monkeypatch.chdir(work)
    return program


def results(name):
    return set(Path("iha-eval-demo", name).rglob("results_*.json"))


def test_runs_the_literal_commands_and_shows_nine_cells_of_each(stand_in, capsys):
    assert demo.main([]) == 0
    printed = capsys.readouterr().out
    end = "--tasks ruler_mk --limit 2 --output_path iha-eval-demo/{} --log_samples"
    literal = {
        "iha": f"{stand_in} --model iha-vllm {end.format('iha')}",
        "baseline": f"{stand_in} --model iha-vllm --model_args pretrained=embedded-baseline "
        + end.format("baseline"),
    }
    assert printed.splitlines()[0] == f"$ {literal['iha']}"
    assert printed.count("0.250 / 0.125 (4)") == 18
    for name, command in literal.items():
        [result] = results(name)
        assert json.loads(result.read_text())["arguments"] == command.split()[1:]
        assert str(result) in printed
    assert "untrained weights" in printed


def test_commands_are_shown_as_they_can_be_typed(stand_in, tmp_path, monkeypatch):
    assert demo.as_typed(str(stand_in)) == str(stand_in)
    monkeypatch.chdir(tmp_path)
    assert demo.as_typed(str(stand_in)) == "bin/lm_eval"
    monkeypatch.setenv("PATH", str(stand_in.parent))
    assert demo.as_typed(str(stand_in)) == "lm_eval"


def test_it_ends_with_the_report(stand_in, capsys):
    demo.main([])
    [iha], [baseline] = results("iha"), results("baseline")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"compared {iha} {baseline} --out iha-eval-demo/report"


def test_options_reach_the_command(stand_in, capsys):
    assert demo.main(["--model", "iha-hf", "--limit", "7", "--output", "here"]) == 0
    printed = capsys.readouterr().out
    assert "--model iha-hf --tasks ruler_mk --limit 7 --output_path here/iha" in printed


def test_a_second_run_shows_its_own_result(stand_in, capsys):
    demo.main([])
    first = results("iha")
    capsys.readouterr()
    demo.main([])
    [second] = results("iha") - first
    assert str(second) in capsys.readouterr().out


def test_a_failed_run_passes_its_exit_code_on(stand_in, monkeypatch, capsys):
    monkeypatch.setenv("CODE", "3")
    assert demo.main([]) == 3
    assert "0.250" not in capsys.readouterr().out


def test_a_run_that_wrote_nothing_is_said_so(stand_in, monkeypatch, capsys):
    demo.main([])
    monkeypatch.setenv("NO_RESULT", "1")
    with pytest.raises(SystemExit) as exit_:
        main(["demo"])
    assert exit_.value.code == 2
    assert "lm_eval has written no result file to iha-eval-demo/iha" in capsys.readouterr().err


def test_a_missing_lm_eval_is_said_so(stand_in, monkeypatch, capsys):
    stand_in.unlink()
    monkeypatch.setenv("PATH", str(stand_in.parent))
    with pytest.raises(SystemExit):
        main(["demo"])
    assert "the command lm_eval is neither in" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_a_limit_that_cannot_be_meant_is_refused(stand_in, limit, capsys):
    with pytest.raises(SystemExit) as exit_:
        demo.main([f"--limit={limit}"])
    assert exit_.value.code == 2
    assert "--limit" in capsys.readouterr().err


LABELS = [length_label(length) for length in LENGTHS]


def result_content(**changes):
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
    cells = read_cells(written(result_content()))
    assert len(cells) == 9
    first, last = cells["multikey_1", "4k"], cells["multikey_3", "16k"]
    assert (first.scores, first.documents) == ({"string_match": 0.1, "first_answer": 0.01}, 1)
    assert (last.scores, last.documents) == ({"string_match": 0.9, "first_answer": 0.09}, 9)


def test_table_shows_variants_down_and_lengths_across(written):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table(read_cells(written(result_content())), "a title"))
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
    content = result_content()
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
    assert read_note(written(result_content(config=config))) == note
