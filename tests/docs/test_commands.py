"""Commands in README and docs: all of them can be parsed, and the cheap ones run as they stand."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from iha_eval.cli import command_names, load_command, main
from iha_eval.lm_eval_plugin.command_line import extend_command_line

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# Names that are the reader's to replace -> what stands for them here.
PLACEHOLDERS = {
    "my-iha-checkpoint": "embedded-iha",
    "my-llama-baseline": "embedded-baseline",
    "my-llama-base": "embedded-baseline",
    "BASE": "embedded-baseline",
    "DIR": "made",
}

# What takes seconds and needs no network, engine or file that an earlier command makes.
CHEAP = (
    r"iha-eval inspect (embedded|my-)",
    r"iha-eval evidence (polynomial|separation) --out",
    r"iha-eval convert BASE",
    r"iha-eval nightly nightly.yaml --dry-run",
)


def commands(page: Path) -> list[str]:
    """Every command behind a prompt, its continued lines joined, without its comment."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.S)
    joined = [re.sub(r"\\\n\s*", "", block) for block in blocks]
    found = [line for block in joined for line in re.findall(r"^\S*\$ (.*)$", block, re.M)]
    inline = re.findall(r"`(iha-eval (?:inspect|verify|doctor)[^`|\[]*)`", text)
    return [re.sub(r"\s{2,}#.*", "", line) for line in found] + inline


ALL = [(page.name, command) for page in PAGES for command in commands(page)]


def of(program: str) -> list[str]:
    return sorted({command for _, command in ALL if command.startswith(f"{program} ")})


def test_they_are_found() -> None:
    assert len(of("lm_eval")) >= 6
    assert len(of("iha-eval")) >= 20
    assert {name for name, _ in ALL} >= {"README.md", "checkpoints.md", "nightly.md", "serving.md"}


@pytest.mark.parametrize("command", of("lm_eval"))
def test_lm_eval_takes_its_arguments(command: str) -> None:
    from lm_eval._cli.harness import HarnessCLI

    module = SimpleNamespace(HarnessCLI=type("CLI", (HarnessCLI,), {}))
    extend_command_line(module)
    options = module.HarnessCLI()._parser.parse_args(["run", *shlex.split(command)[1:]])
    assert options.model in ("iha-vllm", "iha-hf")
    # Without it nothing is kept, and two runs cannot be compared.
    assert options.output_path


@pytest.mark.parametrize("command", of("iha-eval"))
def test_iha_eval_has_the_command_and_its_options(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *rest = shlex.split(command)[1:]
    assert name in command_names()
    if name == "run":
        return
    with pytest.raises(SystemExit, match="0"):
        # `evidence` has commands of its own.
        load_command(name).main([*rest[: name == "evidence"], "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize("command", of("make"))
def test_make_has_the_target(command: str) -> None:
    assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("command", of("python"))
def test_python_programs_are_there(command: str) -> None:
    words = shlex.split(command)
    if words[1] != "-m":
        assert (ROOT / words[1]).is_file()
    elif words[2].startswith("recipes"):
        assert (ROOT / words[2].replace(".", "/") / "__main__.py").is_file()


@pytest.mark.parametrize(
    "command", [command for command in of("iha-eval") if re.match("|".join(CHEAP), command)]
)
def test_the_cheap_ones_run(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "examples" / "nightly.yaml").read_text(encoding="utf-8")
    text = re.sub(r"pretrained: checkpoints/\w+", "pretrained: embedded-iha", text)
    Path("nightly.yaml").write_text(text, encoding="utf-8")
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command)]
    assert main(words[1:]) == 0
    assert capsys.readouterr().out


def test_cheap_ones_of_each_kind_are_met() -> None:
    for kind in CHEAP:
        assert [command for command in of("iha-eval") if re.match(kind, command)]


def test_every_example_is_named_in_the_docs() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    files = {file.name for file in (ROOT / "examples").iterdir() if file.is_file()}
    assert {name for name in files if f"examples/{name}" not in text} == set()
