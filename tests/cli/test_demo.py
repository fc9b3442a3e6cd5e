"""`iha-eval demo`, with a stand-in for lm-eval's command; the real run is in its own test."""

import json
import sys
from pathlib import Path

import pytest

from iha_eval.cli import demo, main

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
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
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
        "iha": f"lm_eval --model iha-vllm {end.format('iha')}",
        "baseline": "lm_eval --model iha-vllm --model_args pretrained=embedded-baseline "
        + end.format("baseline"),
    }
    assert printed.splitlines()[0] == f"$ {literal['iha']}"
    assert printed.count("0.250 / 0.125 (4)") == 18
    for name, command in literal.items():
        [result] = results(name)
        assert json.loads(result.read_text())["arguments"] == command.split()[1:]
        assert str(result) in printed
    assert "untrained weights" in printed


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
