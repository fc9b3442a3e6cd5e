"""The embedded default is the same everywhere, and mends itself."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from model_adapters import CheckpointError, checkpoint, default_checkpoint


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("IHA_EVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_made_once_and_is_always_the_same(cache: Path) -> None:
    """The second call finds what the first one made; a second make gives the same model."""
    folder = default_checkpoint.ensure()
    assert folder.parent == cache
    first = checkpoint.read(folder)
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert default_checkpoint.ensure() == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    default_checkpoint.make(cache / "again")
    assert checkpoint.read(cache / "again").fingerprint == first.fingerprint
    assert f"{first.num_parameters / 1e6:.1f}M parameters" in default_checkpoint.DESCRIPTION


def test_the_baseline_is_plain_llama_of_the_same_shape(cache: Path) -> None:
    """All but the alphas and the collapse are there, and nothing else."""
    ours = checkpoint.read(default_checkpoint.ensure())
    plain = checkpoint.read(default_checkpoint.ensure(default_checkpoint.BASELINE))
    assert (plain.is_iha, plain.config.model_type) == (False, "llama")
    same = ("hidden_size", "num_hidden_layers", "num_key_value_heads", "rope_parameters")
    assert all(getattr(plain.config, name) == getattr(ours.config, name) for name in same)
    # Four layers of 4 heads over 2, P = 2: alphas of 4, 2 and 2 heads, and the collapse.
    assert ours.num_parameters - plain.num_parameters == 4 * 2 * (16 + 4 + 4 + 16)
    assert "random weights" in default_checkpoint.DESCRIPTIONS[default_checkpoint.BASELINE]


def test_a_damaged_copy_is_made_again(cache: Path) -> None:
    """A half-written file from a full disk does not stay."""
    folder = default_checkpoint.ensure()
    good = checkpoint.read(folder).fingerprint
    (folder / "model.safetensors").write_bytes(b"half")
    assert checkpoint.read(default_checkpoint.ensure()).fingerprint == good


def test_a_cache_path_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the remedy."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IHA_EVAL_CACHE", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match="set IHA_EVAL_CACHE"):
        default_checkpoint.ensure()


@torch.no_grad()
def test_it_runs_and_its_tokenizer_keeps_digits_apart(cache: Path) -> None:
    """A finite answer to a prompt; chat template and special tokens are there."""
    folder = default_checkpoint.ensure()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "One of the special magic numbers is: 1234567."
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert sum(tokenizer.decode([i]).isdigit() for i in ids) == 7
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.isfinite(model(torch.tensor([ids])).logits).all()
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello"}], tokenize=False, add_generation_prompt=True
    )
    assert "hello" in chat
