"""`recipes/sft`: a checkpoint in, a checkpoint out; what is trained, and going on after a stop."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from trl import SFTTrainer

from iha_eval.errors import UserError
from model_adapters import checkpoint, default_checkpoint
from model_adapters.layout import is_iha_tensor
from recipes.sft.__main__ import main
from recipes.sft.dialogues import dialogue
from recipes.sft.training import FineTuneSettings, train

DIALOGUES = [
    dialogue({"prompt": f"what is {n} and {n}?", "completion": f"it is {2 * n}."}, f"row {n}")
    for n in range(6)
]
ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the embedded default."""
    folder = tmp_path_factory.mktemp("start")
    shutil.copytree(default_checkpoint.folder(), folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def settings(start: Path, tmp_path: Path) -> FineTuneSettings:
    return FineTuneSettings(
        start, tmp_path / "out", steps=4, batch=2, accumulate=1, learning_rate=3e-3, save_steps=2
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / checkpoint.SINGLE)


@pytest.mark.parametrize("lora", [0, 2], ids=["all", "lora"])
def test_what_is_trained(settings: FineTuneSettings, lora: int) -> None:
    losses = train(replace(settings, lora=lora), DIALOGUES)
    before, after = weights(settings.model), weights(settings.out)
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    assert after.keys() == before.keys()
    assert {one.dtype for one in after.values()} == {torch.bfloat16}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name in before if is_iha_tensor(name)} <= changed
    linear = {name for name in before if any(part in name for part in ADAPTED)}
    assert linear <= changed
    if lora:
        assert changed == linear | {name for name in before if is_iha_tensor(name)}
    else:
        assert "model.embed_tokens.weight" in changed
    assert checkpoint.read(settings.out).is_iha
    assert not (settings.out / "training").exists()


@pytest.mark.parametrize("lora", [0, 2], ids=["all", "lora"])
def test_going_on_ends_where_an_unbroken_run_ends(
    settings: FineTuneSettings, lora: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = replace(settings, lora=lora, out=tmp_path / "unbroken")
    expected = train(unbroken, DIALOGUES)
    broken = replace(settings, lora=lora)
    step, calls = SFTTrainer.training_step, iter(range(100))

    def dies(*arguments: Any, **named: Any) -> torch.Tensor:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return step(*arguments, **named)

    monkeypatch.setattr(SFTTrainer, "training_step", dies)
    with pytest.raises(KeyboardInterrupt):
        train(broken, DIALOGUES)
    monkeypatch.undo()
    assert train(broken, DIALOGUES) == expected
    one, other = weights(unbroken.out), weights(broken.out)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_checkpoints_for_a_watch(settings: FineTuneSettings, tmp_path: Path) -> None:
    """They stay, the last one is the result, and training does not notice."""
    plain = replace(settings, out=tmp_path / "plain")
    losses = train(plain, DIALOGUES)
    watched = replace(settings, save_every=2)
    assert train(watched, DIALOGUES) == losses
    left = sorted(watched.out.glob("step-*"))
    assert [folder.name for folder in left] == ["step-00000002", "step-00000004"]
    prints = [checkpoint.read(folder).fingerprint for folder in left]
    assert prints[0] != prints[1] == checkpoint.read(watched.out).fingerprint
    assert prints[1] == checkpoint.read(plain.out).fingerprint
    assert {each.dtype for each in weights(left[0]).values()} == {torch.bfloat16}
    assert (left[0] / "tokenizer.json").exists()
    with pytest.raises(UserError, match="leave one of them out"):
        train(replace(watched, lora=2), DIALOGUES)


def test_only_the_answer_is_learnt(settings: FineTuneSettings) -> None:
    """The same answers to other questions of other lengths: the count of learnt tokens stays."""
    seen: list[int] = []
    compute = SFTTrainer.compute_loss

    def counts(self: Any, model: Any, inputs: dict[str, Any], *rest: Any, **named: Any) -> Any:
        seen.append(int((inputs["labels"] != -100).sum()))
        return compute(self, model, inputs, *rest, **named)

    totals = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SFTTrainer, "compute_loss", counts)
        for number, asked in enumerate(["why?", "why is it so and not in some other way?"]):
            seen.clear()
            one = dialogue({"prompt": asked, "completion": "so it is."}, "row 1")
            train(replace(settings, steps=1, out=settings.out / str(number)), [one, one])
            totals.append(seen.copy())
    assert totals[0] == totals[1]
    assert totals[0][0] > 0


def test_long_dialogues_are_left_out_and_counted(
    settings: FineTuneSettings, caplog: pytest.LogCaptureFixture
) -> None:
    long = dialogue({"prompt": "why? " * 200, "completion": "so."}, "row 1")
    train(replace(settings, steps=1, max_length=64), [*DIALOGUES, long])
    assert "1 of 7 dialogues are longer than 64 tokens and left out" in caplog.text
    with pytest.raises(UserError, match="none of the 1 dialogues fits into 64 tokens"):
        train(replace(settings, out=settings.out / "b", max_length=64), [long])


def test_a_tokenizer_without_chat_template(settings: FineTuneSettings, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(default_checkpoint.folder(), bare)
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="has no chat template"):
        train(replace(settings, model=bare), DIALOGUES)


def test_adapters_without_their_alphas_are_not_gone_on_with(
    settings: FineTuneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between the trainer's save and ours, alphas would begin anew."""
    broken = replace(settings, lora=2)
    monkeypatch.setattr("recipes.sft.training.save_file", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(broken, DIALOGUES)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"checkpoint-2 has no iha_tensors.safetensors"):
        train(broken, DIALOGUES)


def test_no_dialogue(settings: FineTuneSettings) -> None:
    with pytest.raises(UserError, match="hold no dialogue"):
        train(settings, [])


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "data.jsonl"
    path.write_text(
        "".join(json.dumps({"messages": d["prompt"] + d["completion"]}) + "\n" for d in DIALOGUES)
    )
    return path


def test_the_command(
    start: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(start), "--data", str(data), "--out", str(tmp_path / "new"), "--steps", "1"]
    assert main([*arguments, "--limit", "2", "--batch", "1", "--accumulate", "1"]) == 0
    assert "1 steps, loss" in capsys.readouterr().out
    with pytest.raises(UserError, match="exists: name a new folder with --out"):
        main(arguments)


@pytest.mark.parametrize(
    "argument",
    [
        ["--steps", "0"],
        ["--learning-rate", "1"],
        ["--lora", "-1"],
        ["--seed", "-1"],
        ["--batch", "x"],
    ],
    ids=" ".join,
)
def test_arguments_that_cannot_be_meant(argument: list[str], start: Path, data: Path) -> None:
    with pytest.raises(SystemExit):
        main([str(start), "--data", str(data), "--out", "never", *argument])
