"""The embedded pair is whole, is what it says it is, and fits into a wheel."""

import json

import pytest
from transformers import AutoTokenizer

from model_adapters import checkpoint
from model_adapters.default_checkpoint import BASELINE, DESCRIPTIONS, IHA, folder

MIB = 2**20


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_folder_is_a_sound_checkpoint_of_at_most_8_mib(name: str) -> None:
    """And what is said about it is so."""
    found = checkpoint.read(folder(name))
    assert found.is_iha == (name == IHA)
    assert f"{found.num_parameters / 1e6:.1f}M parameters" in DESCRIPTIONS[name]
    assert sum(file.stat().st_size for file in folder(name).iterdir()) <= 8 * MIB


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_the_model_card_is_of_these_weights(name: str) -> None:
    card = (folder(name) / "README.md").read_text(encoding="utf-8")
    assert checkpoint.read(folder(name)).fingerprint in card


def test_the_baseline_is_plain_llama_of_the_same_shape() -> None:
    """All but the alphas and the collapse are there, and nothing else."""
    ours, plain = checkpoint.read(folder()), checkpoint.read(folder(BASELINE))
    assert plain.config.model_type == "llama"
    same = ("hidden_size", "num_hidden_layers", "num_key_value_heads", "rope_parameters")
    assert all(getattr(plain.config, name) == getattr(ours.config, name) for name in same)
    # Four layers of 4 heads, P = 2: three alphas and the collapse.
    assert ours.num_parameters - plain.num_parameters == 4 * 2 * (4 * 16)


def test_the_hybrid_is_matched_in_flops_at_the_trained_length() -> None:
    """App. C: four windowed layers to a plain global one, N / (2 P^2) at 4,096 tokens."""
    config = checkpoint.read(folder()).config
    assert config.iha_layer_types == ["iha_sliding"] * 4 + ["full"]
    assert config.iha_window == 4096 // (2 * config.num_pseudo_heads**2)


def test_both_have_the_same_tokenizer_which_keeps_digits_apart() -> None:
    files = [json.loads((folder(name) / "tokenizer.json").read_text()) for name in DESCRIPTIONS]
    assert files[0] == files[1]
    tokenizer = AutoTokenizer.from_pretrained(folder())
    text = "One of the special magic numbers is: 1234567."
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert sum(tokenizer.decode([i]).isdigit() for i in ids) == 7
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello"}], tokenize=False, add_generation_prompt=True
    )
    assert "hello" in chat
