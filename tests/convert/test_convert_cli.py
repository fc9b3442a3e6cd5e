"""`iha-eval convert`: the three ways, what they print, and options that do not go together."""

import io
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from plain_models import save_plain, stored
from rich.console import Console
from rich.progress import Progress

from iha_eval.cli import convert, main
from iha_eval.cli.convert import shown, teller
from iha_eval.errors import UserError
from model_adapters.default_checkpoint import folder
from model_adapters.layout import IHA_TENSORS


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A base with a file that is not copied."""
    monkeypatch.setenv("COLUMNS", "150")
    save_plain(tmp_path / "base", num_hidden_layers=5)
    (tmp_path / "base" / "README.md").write_text("[of] another model")
    return str(tmp_path / "base")


def cells(printed: str) -> list[list[str]]:
    lines = (line for line in printed.splitlines() if line.startswith("│"))
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


def test_there_and_back(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, back = str(tmp_path / "iha"), str(tmp_path / "back")
    recipe = ["--pseudo-heads", "2", "--schedule", "iha_global*4,full"]
    assert main(["convert", base, "--out", there, *recipe]) == 0
    rows = dict(cells(capsys.readouterr().out))
    assert rows["layers"] == "4 iha_global, 1 full"
    assert rows["parameters"].endswith("(+320)")
    assert rows["not copied"] == "README.md"
    assert main(["convert", there, "--to-llama", "--out", back]) == 0
    printed = capsys.readouterr()
    assert "no projection was changed" in printed.out
    assert dict(cells(printed.out))["copied"] == "generation_config.json"
    config = Path(base) / "config.json"
    assert (tmp_path / "back" / "config.json").read_bytes() == config.read_bytes()


def test_the_embedded_baseline_goes_by_its_name(tmp_path: Path) -> None:
    out = tmp_path / "iha"
    assert main(["convert", "embedded-baseline", "--out", str(out), "--pseudo-heads", "2"]) == 0
    made = stored(out)
    source = stored(folder("embedded-baseline"))
    assert {name for name in made if name not in source} == {
        f"model.layers.{layer}.self_attn.{name}" for layer in range(5) for name in IHA_TENSORS
    }


def test_sigterm_leaves_nothing(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where it comes again while the half-made folder is removed."""

    def killed(*_: object) -> NoReturn:
        assert any(path.name.startswith(".iha.") for path in tmp_path.iterdir())
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("it went on")

    removed: list[Any] = []

    def remove(*what: Any, **options: Any) -> None:
        removed.append(what)
        os.kill(os.getpid(), signal.SIGTERM)
        rmtree(*what, **options)

    rmtree = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", remove)
    monkeypatch.setattr("model_adapters.convert.shards.save", killed)
    # Instead of the end of the test run, should nothing handle it.
    ours = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("not handled"))
    try:
        with pytest.raises(SystemExit) as ended:
            main(["convert", base, "--out", str(tmp_path / "iha"), "--pseudo-heads", "2"])
        with pytest.raises(pytest.fail.Exception, match="not handled"):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, ours)
    assert ended.value.code == 143
    assert removed
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_every_option_arrives(base: str, tmp_path: Path) -> None:
    options = "--pseudo-heads 2 --schedule 4:1 --train-length 64 --init noisy --noise 0.5 --seed 7"
    assert main(["convert", base, "--out", str(tmp_path / "iha"), *options.split()]) == 0
    note = json.loads((tmp_path / "iha" / "iha_conversion.json").read_text())
    assert note["options"] == {
        "pseudo_heads": 2,
        "schedule": "4:1",
        "window": None,
        "train_length": 64,
        "init": "noisy",
        "noise": 0.5,
        "seed": 7,
    }
    assert json.loads((tmp_path / "iha" / "config.json").read_text())["iha_window"] == 8


@pytest.mark.parametrize("said", ["in the map", "as an option", "in both"])
def test_a_state_dict(
    said: str, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the option says goes before what the map does."""
    tensors = {f"net.{name}": tensor for name, tensor in stored(Path(base)).items()}
    torch.save(tensors | {"net.model.layers.0.freqs": torch.ones(1)}, tmp_path / "a.pt")
    (tmp_path / "map.yaml").write_text(
        "strip_prefix: net.\nsame_names: true\nignore: ['*.freqs']\n"
        "iha: {pseudo_heads: 2, pseudo_rope: token, schedule: full}\n"
        + {"in the map": "config: base", "in both": "config: nowhere"}.get(said, "")
    )
    paths = {"from-state-dict": "a.pt", "map": "map.yaml", "config": "base", "out": "iha"}
    if said == "in the map":
        del paths["config"]
    options = [word for key, name in paths.items() for word in (f"--{key}", str(tmp_path / name))]
    assert main(["convert", *options]) == 0
    rows = cells(capsys.readouterr().out)
    query = "model.layers.{layer}.self_attn.q_proj.weight"
    assert [f"net.{query}", query, "as it is", "5"] in rows
    assert ["net.model.layers.{layer}.freqs", "-", "ignored, fits *.freqs", "1"] in rows
    assert ["ignored", "1"] in rows
    assert torch.equal(
        stored(tmp_path / "iha")["model.norm.weight"], tensors["net.model.norm.weight"]
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "nothing is named to convert"),
        ("BASE", "--pseudo-heads is missing"),
        ("BASE --pseudo-heads 2 --map m", "--map does not go with a plain base"),
        ("BASE --to-llama --pseudo-heads 2", "--pseudo-heads does not go with --to-plain"),
        ("BASE --to-llama --config c", "--config does not go with --to-plain"),
        ("BASE --pseudo-heads 2 --dtype float32", "--dtype float32 is for GGUF files"),
        ("BASE --from-state-dict f --map m --config c", "a state dict is converted alone"),
        ("--from-state-dict f --to-llama", "given beside --to-plain"),
        ("--from-state-dict f", "--from-state-dict needs --map MAP.yaml"),
        ("--from-state-dict f --map m", "m is not there"),
        ("--from-state-dict f --map MAP", "map.yaml names no config: write config: PATH in it"),
        ("BASE --pseudo-heads 2 --seed 7", "seed is 7, but init 'exact' without noise"),
        ("BASE --pseudo-heads 2 --init noisy --seed -1", "seed is -1: give"),
        ("--from-state-dict f --map m --config c --seed 0", "--seed does not go with"),
        ("--from-state-dict f --map m --config c", "m is not there"),
        ("BASE --pseudo-heads 2 --orientation source-destination", "--orientation does not go"),
        ("--from-state-dict f --map m --orientation sideways", "invalid choice: 'sideways'"),
        ("BASE --pseudo-heads 2 --schedule 9:9", "18 layers, but the model has 5"),
    ],
)
def test_what_does_not_go_together(
    options: str, words: str, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "base" / "map.yaml"
    plan.write_text("same_names: true")
    paths = {"BASE": base, "MAP": str(plan)}
    given = [paths.get(word, word) for word in options.split()]
    with pytest.raises(SystemExit) as ended:
        main(["convert", *given, "--out", str(tmp_path / "iha")])
    assert ended.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in last
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_a_phase_pulses_until_the_first_bytes_and_then_counts() -> None:
    bar = Progress(disable=True)
    tell = teller(bar)
    seen = []
    for phase, count in [("checking", 0), ("writing", 0), ("writing", 1500), ("writing", 500)]:
        tell(phase, count, 4000)
        [task] = bar.tasks
        seen.append((task.description, task.completed, task.total))
    assert seen == [
        ("Checking 4.0 kB", 0, None),
        ("Writing 4.0 kB", 0, None),
        ("Writing 1.5 kB of 4.0 kB", 1500, 4000),
        ("Writing 2.0 kB of 4.0 kB", 2000, 4000),
    ]


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "log"])
def test_only_a_terminal_is_drawn_on(terminal: bool) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, force_interactive=terminal, width=80)
    with shown(console) as tell:
        tell("checking", 0, 4000)
    assert ("Checking 4.0 kB" in written.getvalue()) == terminal
    assert terminal or not written.getvalue()


def test_a_hub_name_is_fetched_as_lm_eval_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iha_eval.models.source.locate", lambda name: Path("fetched") / name)
    assert convert._located("org/model-1.5") == Path("fetched/org/model-1.5")


@pytest.mark.parametrize("base", ["folder", "./folder/model", "a/b/c", "org/model.gguf"])
def test_what_cannot_be_a_hub_name_is_a_path(base: str) -> None:
    assert convert._located(base) == Path(base)


def test_what_reads_gguf_is_missed_before_anything_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'iha-eval\[gguf\]'"):
        convert.main(["model.gguf", "--out", "out", "--pseudo-heads", "2"])
