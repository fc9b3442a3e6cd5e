"""docs/checkpoints.md: what it shows runs, and what it names exists."""

import re
import shutil
from pathlib import Path

import pytest

from iha_eval.cli import command_names, load_command
from model_adapters import checkpoint, default_checkpoint

PAGE = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text(encoding="utf-8")
PROGRAMS = [
    code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "corpus.txt" in code
]


@pytest.mark.parametrize("program", PROGRAMS, ids=["trainer", "loop"])
def test_both_ways_of_training_end_in_a_checkpoint(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(default_checkpoint.folder(), tmp_path / "start")
    Path("corpus.txt").write_text("in the beginning\n\nwas the word\n" * 4)
    assert "1000" in program
    exec(compile(program.replace("1000", "3"), "checkpoints.md", "exec"), {})
    before, after = checkpoint.read("start"), checkpoint.read("trained")
    assert after.is_iha
    assert after.fingerprint != before.fingerprint
    assert Path("trained/tokenizer.json").is_file()


@pytest.mark.parametrize("name", ["convert", "inspect", "verify", "doctor"])
def test_options_on_the_page_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert name in command_names()
    with pytest.raises(SystemExit, match="0"):
        load_command(name).main(["--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    calls = re.findall(rf"iha-eval {name} (.*)", PAGE)
    used = {option for call in calls for option in re.findall(r"--[a-z-]+", call.split("#")[0])}
    assert calls
    assert used <= known
