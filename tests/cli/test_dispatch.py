"""The command `iha-eval` itself: finding subcommands, help, versions, exit codes."""

import re
import subprocess
import sys

import pytest

from iha_eval import __version__, cli
from iha_eval.cli import run as run_command
from iha_eval.util.installation import version_line


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_subcommand(arguments, capsys):
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    for name in cli.command_names():
        assert re.search(rf"^  {name} +\S", printed, re.MULTILINE)


@pytest.mark.parametrize("name", cli.command_names())
def test_every_subcommand_has_what_dispatch_needs(name):
    command = cli.load_command(name)
    assert callable(command.main)
    assert command.SUMMARY
    assert "\n" not in command.SUMMARY


def test_the_first_subcommands_are_there():
    assert {"demo", "run"} <= set(cli.command_names())
    assert not any(name.startswith(("_", "-")) for name in cli.command_names())


def test_a_new_file_is_a_new_subcommand(tmp_path, monkeypatch, capsys):
    (tmp_path / "say_it.py").write_text(
        "SUMMARY = 'repeat'\ndef main(arguments):\n    print(*arguments)\n    return 3\n"
    )
    (tmp_path / "_hidden.py").write_text("")
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    assert "say-it" in cli.command_names()
    assert cli.main(["say-it", "--a", "b"]) == 3
    assert capsys.readouterr().out == "--a b\n"
    sys.modules.pop("iha_eval.cli.say_it")


@pytest.mark.parametrize(
    ("typed", "hint"), [("dmeo", "did you mean 'demo'?"), ("zzz", ": there are ")]
)
def test_an_unknown_subcommand_is_one_line(typed, hint, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main([typed])
    assert exit_.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"iha-eval: unknown subcommand '{typed}': ")
    assert hint in line


def test_interrupt_is_quiet(monkeypatch, capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_command, "main", interrupted)
    assert cli.main(["run"]) == 130
    assert capsys.readouterr().err == ""


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"iha-eval {__version__} (lm_eval 0.4.")
    assert printed.count("\n") == 1


def test_version_line_leaves_out_what_is_not_installed():
    line = version_line(["pytest", "no-such-distribution"])
    assert re.fullmatch(r"iha-eval \S+ \(pytest \S+, Python 3\.\S+\)", line)


def test_help_and_version_do_not_load_an_engine():
    code = (
        "import sys; from iha_eval.cli import main; main(['--help']); main(['--version']);"
        "print(sorted({'torch', 'vllm', 'transformers', 'lm_eval'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_ends_early_gets_no_traceback(tmp_path):
    """As in `iha-eval history H --json | head -1`."""
    script = (
        "import sys, iha_eval.cli as cli\n"
        "class Command:\n"
        "    SUMMARY = ''\n"
        "    def main(self, arguments):\n"
        "        for line in range(100_000): print(line)\n"
        "        return 0\n"
        "cli.load_command = lambda name: Command()\n"
        "sys.exit(cli.main(['any']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "0\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141
