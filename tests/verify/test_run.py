"""Whole verifications without vLLM: sound models agree, and what is broken is found."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from iha_eval.cli import main
from iha_eval.errors import UserError
from iha_eval.verify import compare, naive_model, run
from iha_eval.verify.reading import Reading, ReadingRow
from iha_eval.verify.report import VerifyVerdict, judge
from iha_eval.verify.run import Request, VerifyReport, verify
from iha_eval.verify.transformers_model import TransformersModel
from iha_eval.verify.vllm_model import Served
from model_adapters import naive
from model_adapters.checkpoint import SINGLE


def verified(folder: Path, **fields: Any) -> tuple[VerifyReport, VerifyVerdict]:
    report = verify(Request(str(folder), **({"vllm": False, "prompts": "short"} | fields)))
    return report, judge(report)


def changed(folder: Path, place: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    copy = place / "changed"
    shutil.copytree(folder, copy)
    weights = load_file(folder / SINGLE)
    change(weights)
    (copy / SINGLE).unlink()
    save_file(weights, copy / SINGLE)
    return copy


@pytest.mark.parametrize("name", ["base", "windowed"])
def test_sound_checkpoints_agree(name: str, request: pytest.FixtureRequest) -> None:
    report, verdict = verified(request.getfixturevalue(name))
    assert verdict.agree, verdict.sentence
    assert [one.name for one in report.readings] == [
        "Transformers sdpa",
        "Transformers cached",
        "Transformers eager",
        "naive",
    ]
    assert [len(one.prompt.ids) for one in report.sequences] == [1, 63, 129]
    compared = {(one.first, one.second) for one in report.differences if one.count}
    assert compared == {
        ("Transformers cached", "Transformers sdpa"),
        ("Transformers eager", "Transformers sdpa"),
        ("naive", "Transformers sdpa"),
        ("naive", "Transformers eager"),
    }
    assert max(one.largest for one in report.differences) > 0
    assert report.unchecked == ["vLLM, as asked"]


def test_a_window_that_is_off_by_one_token_is_found(
    windowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = naive.visible

    def wider(tokens: int, pseudo: int, window: int | None, **kind: Any) -> Any:
        return sound(tokens, pseudo, window and window + 1, **kind)

    monkeypatch.setattr(naive, "visible", wider)
    _, verdict = verified(windowed)
    assert not verdict.agree
    assert verdict.sentence.startswith("DISAGREE: naive and Transformers")
    assert "naive is the one that differs" in verdict.sentence


def test_positions_that_are_off_are_found(exact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naive, "virtual_positions", lambda n, p, rope: torch.arange(n * p))
    assert not verified(exact)[1].agree


def test_bfloat16_is_measured_by_what_it_does_to_transformers(base: Path, tmp_path: Path) -> None:
    half = changed(base, tmp_path, lambda w: w.update({k: v.bfloat16() for k, v in w.items()}))
    report, verdict = verified(half, dtype="checkpoint")
    assert verdict.agree
    assert report.dtype == "bfloat16"
    narrow = [one for one in report.differences if one.first == "Transformers bf16 sdpa"]
    assert len(narrow) == 3
    assert {one.second for one in narrow} == {"Transformers sdpa"}
    assert all(one.limit is None for one in narrow)
    worst = max(one.largest for one in narrow)
    assert worst > 1e-3
    assert (report.limit.largest, report.limit.tie) == (4 * worst, 2 * worst)
    # Nothing but Transformers computed in it, so nothing is said about it.
    assert report.unchecked == [
        "vLLM, as asked",
        "the type bfloat16, which Transformers alone computed in",
    ]
    assert "up to rounding" not in verdict.sentence
    exact_pairs = [one for one in report.differences if one.first == "naive"]
    allowed = {one.limit.largest for one in exact_pairs if one.limit is not None}
    assert allowed == {compare.TOLERANCE}


def test_a_type_too_narrow_for_the_model_is_found(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In float16 the output overflows; in float32 all is well."""

    def overflow(weights: dict[str, torch.Tensor]) -> None:
        weights.update({name: tensor.half() for name, tensor in weights.items()})
        # Doubled by its input, beyond the largest float16 number of 65504.
        weights["model.layers.1.mlp.down_proj.weight"][:] = 6e4

    wide = changed(base, tmp_path, overflow)
    options = ["--without", "vllm", "--prompts", "short", "--dtype", "checkpoint", "--json"]
    assert main(["verify", str(wide), *options]) == 1
    made = json.loads(capsys.readouterr().out)
    assert (made["dtype"], made["agree"]) == ("float16", False)
    assert made["verdict"].startswith(
        "DISAGREE: Transformers in float16 gives values that are not finite; trust no number from "
        "it; not checked: vLLM, as asked"
    )
    # What is no number is no measure either.
    assert made["allowed"]["largest"] == compare.TOLERANCE
    exact_pairs = [one for one in made["differences"] if one["judged"]]
    assert exact_pairs
    assert all(one["agrees"] for one in exact_pairs)


@pytest.mark.parametrize(("window", "sound"), [(40, True), (20, False)], ids=["sound", "wrong"])
def test_a_wrong_vllm_is_found_in_a_narrow_type(
    window: int, sound: bool, windowed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something that computes in bfloat16 like vLLM, and in the wrong case with half the window."""

    def serve(folder: Path, tokenizer: Path, dtype: str, sequences: Any) -> Served:
        served = tmp_path / "served"
        shutil.copytree(folder, served)
        config = (served / "config.json").read_text()
        (served / "config.json").write_text(
            config.replace('"iha_window": 40', f'"iha_window": {window}')
        )
        with TransformersModel(served, dtype, "vLLM") as model:
            whole = model.read(sequences, "eager")
        rows = tuple(
            ReadingRow(start, row.logprobs[start - 1 :], row.best[start - 1 :])
            for row, start in zip(
                whole.rows, [len(one.prompt.ids) for one in sequences], strict=True
            )
        )
        stepwise = Reading("vLLM decoding", dtype, rows, 0.0, whole=False)
        return Served(replace(whole, name="vLLM"), stepwise, 0, ("CPU_ATTN",), "cpu")

    monkeypatch.setattr(run.vllm_model, "installed", lambda: True)
    monkeypatch.setattr(run.vllm_model, "read", serve)
    half = changed(windowed, tmp_path, lambda w: w.update({k: v.bfloat16() for k, v in w.items()}))
    report, verdict = verified(half, dtype="checkpoint", vllm=True)
    assert (report.dtype, report.unchecked) == ("bfloat16", [])
    assert verdict.agree is sound, verdict.sentence
    if sound:
        assert "the same log-probabilities up to rounding of bfloat16 in" in verdict.sentence
    else:
        assert verdict.sentence.startswith("DISAGREE: vLLM and Transformers sdpa differ by")
        assert verdict.sentence.endswith(
            "; vLLM is the one that differs, so trust no number from it."
        )


def test_an_exact_conversion_agrees_with_its_base(exact: Path, base: Path) -> None:
    report, verdict = verified(exact, against=str(base))
    assert verdict.agree, verdict.sentence
    assert verdict.sentence.startswith(f"AGREE: {exact} and its base {base} give the same")
    against = [one for one in report.differences if one.first == "base Transformers sdpa"]
    assert [one.count for one in against] == [16, 78, 144]


def test_beyond_the_window_a_conversion_is_not_judged(windowed: Path, base: Path) -> None:
    report, verdict = verified(windowed, against=str(base))
    assert verdict.agree, verdict.sentence
    against = [one for one in report.differences if one.first == "base Transformers sdpa"]
    # Tokens 1 to 40 are predicted from at most 40 tokens.
    assert [one.count for one in against] == [16, 40, 40]
    # 1, 63 and 129 tokens with 16 generated ones each make 240, of which the first is given.
    assert report.unchecked == [
        "vLLM, as asked",
        "what lies beyond the window of 40 tokens, where it is expected to differ from its base "
        "(142 of 238 predictions)",
    ]
    assert "(the base's judged at 16 of 48 generated tokens)" in verdict.sentence
    # They do differ there: the very next prediction is another one.
    ours, theirs = report.readings[0].rows[2], report.readings[-1].rows[2]
    assert abs(ours.at(41)[0] - theirs.at(41)[0]) > 1e-3


def test_a_conversion_that_is_not_exact_disagrees_with_its_base(
    exact: Path, base: Path, tmp_path: Path
) -> None:
    name = "model.layers.1.self_attn.collapse"
    off = changed(exact, tmp_path, lambda w: w[name].add_(0.05))
    _, verdict = verified(off, against=str(base))
    assert not verdict.agree
    assert verdict.sentence.startswith("DISAGREE: base Transformers sdpa and Transformers sdpa")


def test_a_base_of_another_vocabulary_is_refused(exact: Path) -> None:
    with pytest.raises(UserError, match="vocab_size"):
        verified(exact, against=str(_gpt2(exact.parent / "gpt2", vocabulary=4100)))


def test_without_vllm_it_says_what_was_not_checked(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.vllm_model, "installed", lambda: False)
    report, verdict = verified(base, vllm=True, dtype="checkpoint")
    assert verdict.agree
    # Its weights are float32, so there is no narrower type to look at.
    assert report.dtype == "float32"
    assert [one.dtype for one in report.readings] == ["float32"] * 4
    assert verdict.sentence.endswith("not checked: vLLM, which is not installed.")


def test_another_architecture_is_read_by_those_who_know_it(exact: Path, tmp_path: Path) -> None:
    folder = _gpt2(tmp_path / "gpt2")
    for file in exact.glob("tokenizer*"):
        shutil.copy(file, folder)
    report, verdict = verified(folder)
    assert verdict.agree
    assert "naive implementation, which does not know this gpt2 model" in verdict.sentence
    assert "naive" not in {one.name for one in report.readings}


def test_the_naive_implementation_stops_where_memory_does(
    windowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naive_model, "reach", lambda config, free: 30)
    report, verdict = verified(windowed)
    assert verdict.agree
    assert any("only the first 30 tokens of each prompt" in note for note in report.notes)
    counts = [one.count for one in report.differences if one.first == "naive"]
    assert counts[:3] == [16, 29, 29]


def test_a_window_that_no_prompt_exceeds_is_said(
    windowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token 41 is the first that is predicted from fewer tokens than lie before it."""
    for longest, said in ((25, True), (26, False)):
        lengths = [1, longest]
        monkeypatch.setattr(run.prompts, "lengths", lambda *_, wanted=lengths: wanted)
        report, verdict = verified(windowed)
        beyond = "what lies beyond the window of 40 tokens, which no prompt is long enough for"
        assert (beyond in report.unchecked) is said
        assert (beyond in verdict.sentence) is said


def test_too_short_a_context_is_refused(exact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    shutil.copytree(exact, folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(
        config.replace('"max_position_embeddings": 512', '"max_position_embeddings": 17')
    )
    with pytest.raises(UserError, match=r"max_position_embeddings 17, too few .* longer context"):
        verified(folder)


def _gpt2(folder: Path, vocabulary: int = 9351) -> Path:
    config = GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=vocabulary)
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder
