"""What is put on a base other than Llama computes what that does, and goes back to its bytes."""

import json
from pathlib import Path

import pytest
import torch
from plain_models import (
    BASE_FIELDS,
    VOCABULARY,
    same_tensors,
    save_base,
    save_qwen3,
    stored,
)
from safetensors.torch import load_file, save_file
from tiny_models import MODERN, engine, generate, tiny_nanochat, worst_logprob
from transformers import AutoConfig, AutoModelForCausalLM

from model_adapters import IHALlamaForCausalLM, IHANanoChatForCausalLM, checkpoint, naive
from model_adapters.bases import BASES, plain_as_iha
from model_adapters.convert import ConversionError, Recipe, to_plain, upcycle
from model_adapters.cost import model_shape, prefill_flops

IDS = torch.randint(1, VOCABULARY, (1, 40), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    made: torch.Tensor = model(IDS).logits[0]
    return made


@pytest.fixture
def qwen3(tmp_path: Path) -> Path:
    return save_qwen3(tmp_path / "qwen3")


@pytest.mark.parametrize(
    ("kind", "pseudo"),
    [
        ("qwen3", 1),
        ("qwen3", 3),
        ("qwen3_moe", 2),
        ("olmo2", 2),
        ("olmo3", 1),
        ("olmo3", 3),
        ("nanochat", 1),
        ("nanochat", 3),
    ],
)
def test_a_base_becomes_iha_and_goes_back_to_its_own_bytes(
    kind: str, pseudo: int, tmp_path: Path
) -> None:
    base, iha, back = tmp_path / kind, tmp_path / "iha", tmp_path / "back"
    save_base(kind, base)
    made = upcycle(base, iha, Recipe(pseudo)).made
    assert made.config.qk_norm == BASES[kind].variant["qk_norm"]
    wanted = IHANanoChatForCausalLM if kind == "nanochat" else IHALlamaForCausalLM
    assert isinstance(AutoModelForCausalLM.from_pretrained(iha), wanted)
    assert (logits(iha) - logits(base)).abs().max() < 1e-4
    plain = to_plain(iha, back).made
    assert plain.config.model_type == kind
    assert same_tensors(stored(base), stored(back))
    was, now = (AutoConfig.from_pretrained(folder).to_dict() for folder in (base, back))
    # What the format has from Llama and the base does not read.
    told = {"_name_or_path", "transformers_version", "use_cache", "mlp_bias", "pretraining_tp"}
    told |= {"head_dim"} if not kind.startswith("qwen3") else set()
    assert {k: v for k, v in was.items() if k not in told} == {
        name: value for name, value in now.items() if name not in told
    }


@torch.no_grad()
@pytest.mark.parametrize("kind", BASE_FIELDS)
def test_the_naive_form_of_a_plain_base(kind: str, tmp_path: Path) -> None:
    base = save_base(kind, tmp_path / "base")
    contents = checkpoint.read(base)
    config = plain_as_iha(contents.config)
    assert config is not None
    made = naive.logits(stored(base), config, IDS[0].tolist())
    assert (made - logits(base)).abs().max() < 1e-4
    shape = model_shape(contents.config)
    assert shape.parameters == contents.num_parameters == model_shape(config).parameters
    assert shape.layers == model_shape(config).layers


def test_windows_of_the_base_stay_where_they_are(tmp_path: Path) -> None:
    base = save_base("olmo3", tmp_path / "base")
    outcome = upcycle(base, tmp_path / "iha", Recipe(2))
    assert outcome.made.config.layer_kinds == ["iha_sliding", "iha_global"] * 2
    assert outcome.facts["window"] == "16 tokens, the base's own"
    hybrid = upcycle(base, tmp_path / "hybrid", Recipe(2, "iha_sliding,full")).made
    assert hybrid.config.layer_kinds == ["iha_sliding", "full"] * 2
    assert (logits(hybrid.path) - logits(base)).abs().max() < 1e-4
    with pytest.raises(ConversionError, match=r"makes layer 1 'iha_sliding', but .* no window"):
        upcycle(base, tmp_path / "other", Recipe(2, "3:1"))
    with pytest.raises(ConversionError, match=r"windows of its own, of 16 tokens: leave out"):
        upcycle(base, tmp_path / "other", Recipe(2, window=8))


def test_trained_alphas_have_no_plain_form_behind_a_norm(qwen3: Path, tmp_path: Path) -> None:
    """They would have to come before it."""
    iha = upcycle(qwen3, tmp_path / "iha", Recipe(1)).made.path
    weights = load_file(iha / "model.safetensors")
    weights["model.layers.1.self_attn.alpha_k"][0, 1, 0] = 0.5
    save_file(weights, iha / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConversionError, match=r"layer 1 has no plain form: alpha_k mixes heads"):
        to_plain(iha, tmp_path / "back")


def test_a_model_with_steps_of_no_base_has_no_plain_form(qwen3: Path, tmp_path: Path) -> None:
    iha = upcycle(qwen3, tmp_path / "iha", Recipe(1)).made.path
    fields = json.loads((iha / "config.json").read_text())
    (iha / "config.json").write_text(json.dumps(fields | {"qk_scale": 1.2}))
    with pytest.raises(ConversionError, match=r"no plain form: .* its values of .*qk_scale"):
        to_plain(iha, tmp_path / "back")


def test_a_qwen3_with_windows_of_its_own_is_refused(tmp_path: Path) -> None:
    folder = save_qwen3(
        tmp_path / "windowed", use_sliding_window=True, sliding_window=8, max_window_layers=1
    )
    with pytest.raises(ConversionError, match=r"use_sliding_window is True.*set it to false"):
        upcycle(folder, tmp_path / "iha", Recipe(2))


def test_experts_that_a_token_does_not_take_cost_memory_alone(tmp_path: Path) -> None:
    base = save_base("qwen3_moe", tmp_path / "base")
    config = checkpoint.read_config(base)
    shape = model_shape(config)
    one = 3 * config.hidden_size * config.moe_intermediate_size
    assert shape.mlp_parameters == 6 * one + 6 * config.hidden_size
    assert shape.parameters_read < shape.parameters
    assert prefill_flops(shape, 64).mlp == 2 * (2 * 2 * one + 2 * 6 * config.hidden_size)


def test_experts_in_some_layers_only_are_refused(tmp_path: Path) -> None:
    base = save_base("qwen3_moe", tmp_path / "base", mlp_only_layers=[1])
    with pytest.raises(ConversionError, match=r"mlp_only_layers is \[1\]"):
        upcycle(base, tmp_path / "iha", Recipe(2))


@pytest.mark.long
@pytest.mark.parametrize("kind", BASE_FIELDS)
def test_a_base_is_served_as_iha(kind: str, tmp_path: Path) -> None:
    """Against the plain model in Transformers."""
    base = save_base(kind, tmp_path / "base")
    upcycle(base, tmp_path / "iha", Recipe(2))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    prompts = [IDS[0, :length].tolist() for length in (1, 17, 40)]
    with engine(tmp_path / "iha", max_num_batched_tokens=32) as llm:
        outputs = generate(llm, prompts)
    assert worst_logprob(model, prompts, outputs) < 1e-4


def test_bases_are_short() -> None:
    """One file each, of under 80 lines."""
    folder = Path(__file__).parents[2] / "model_adapters" / "bases"
    for name in BASES:
        assert len((folder / f"{name}.py").read_text().splitlines()) < 80


@pytest.mark.parametrize("windows", [False, True])
def test_a_later_nanochat_is_a_base_of_its_own(windows: bool, tmp_path: Path) -> None:
    kinds = ["sliding", "full"] * 2 if windows else ["full"] * 4
    fields = MODERN | {"num_pseudo_heads": 1, "head_gate_channels": 12, "collapse": "per_head"}
    base, iha, back = tmp_path / "base", tmp_path / "iha", tmp_path / "back"
    tiny_nanochat(kinds, **fields).save_pretrained(base)
    made = upcycle(base, iha, Recipe(2)).made
    sliding = "iha_sliding" if windows else "iha_global"
    assert made.config.layer_kinds == [sliding, "iha_global"] * 2
    assert (logits(iha) - logits(base)).abs().max() < 1e-4
    plain = to_plain(iha, back).made
    assert plain.config.layer_kinds == kinds
    assert same_tensors(stored(base), stored(back))
    with pytest.raises(ConversionError, match="it is an IHA checkpoint already"):
        upcycle(iha, tmp_path / "other", Recipe(2))


@pytest.mark.parametrize(
    ("tensor", "said"),
    [("alpha_v", "after their embedding is added"), ("collapse", "before their gate")],
)
def test_what_comes_between_cannot_be_folded(tensor: str, said: str, tmp_path: Path) -> None:
    base, iha = tmp_path / "base", tmp_path / "iha"
    fields = MODERN | {"num_pseudo_heads": 1, "head_gate_channels": 12}
    tiny_nanochat(["full"] * 4, **fields).save_pretrained(base)
    upcycle(base, iha, Recipe(1))
    weights = load_file(iha / "model.safetensors")
    weights[f"model.layers.1.self_attn.{tensor}"].view(-1)[1] = 0.5
    save_file(weights, iha / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConversionError, match=f"{tensor} mixes heads {said}"):
        to_plain(iha, tmp_path / "back")
