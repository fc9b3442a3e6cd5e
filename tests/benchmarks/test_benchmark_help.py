"""Every benchmark starts: `--help` imports what it is made of."""

import os
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("[!_]*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_benchmark_says_what_it_takes(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A description of one line, whatever the terminal.
    monkeypatch.setenv("COLUMNS", "500")
    before = settings()
    # Where `python benchmarks/NAME.py` finds what it shares with others.
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(script), run_name="__main__")
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: {script.name} ")
    # The first line of the docstring, by which one is told from another.
    (first, *_), text = script.read_text(encoding="utf-8").splitlines(), " ".join(said.split())
    assert first.removeprefix('"""') in text
    assert settings() == before


def settings() -> dict[str, str]:
    """What a benchmark may set, once it runs; torch's import sets variables of its own."""
    ours = ("VLLM_", "OMP_", "HF_", "IHA_")
    return {name: value for name, value in os.environ.items() if name.startswith(ours)}


def test_there_are_benchmarks() -> None:
    assert len(SCRIPTS) > 5
