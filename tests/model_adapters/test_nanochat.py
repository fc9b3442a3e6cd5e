"""nanochat's decoder: the Transformers, the served and the naive model agree, and so do caches."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import (
    MODERN,
    engine,
    generate,
    random_ids,
    tiny_nanochat,
    worst_logprob,
)
from transformers import DynamicCache, StaticCache

from model_adapters import ConfigError, IHANanoChatConfig, checkpoint, naive
from model_adapters.cost import model_shape
from model_adapters.errors import BackendError
from model_adapters.vllm.plugin import register

PROJECTED = MODERN | {
    "value_embedding": "after_mixing",
    "value_embedding_source": "embedding",
    "hidden_act": "silu",
    "final_logit_softcapping": None,
    "pseudo_window": "token",
    "collapse": "per_head",
    "head_gate_channels": 12,
    "qk_scale": 1.2,
    "num_key_value_heads": 4,
    "hidden_size": 128,
}
# Embeddings of twice as many numbers as the key heads have.
SMEARED = {"smear_channels": 9, "num_pseudo_heads": 3, "hidden_size": 128}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "modern": MODERN,
    "projected": PROJECTED,
    "smeared": SMEARED,
    "single": MODERN | {"num_pseudo_heads": 1, "qk_norm": "none"},
    "token-mask": MODERN | {"pseudo_causal": "token", "pseudo_window": "token"},
}
IDS = random_ids(40)


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_naive_cached_padded_and_packed(case: str) -> None:
    model: Any = tiny_nanochat(**CASES[case])
    ids = torch.tensor([IDS])
    whole = model(ids).logits[0]
    made = naive.logits(model.state_dict(), model.config, IDS)
    assert (made - whole).abs().max() < 1e-4
    step = model(ids[:, :7], use_cache=True)
    steps = [step.logits[0]]
    for start, stop in ((7, 9), *((index, index + 1) for index in range(9, 40))):
        cache = step.past_key_values
        step = model(ids[:, start:stop], past_key_values=cache, use_cache=True)
        steps.append(step.logits[0])
    assert (torch.cat(steps) - whole).abs().max() < 1e-4
    padded = torch.cat([torch.zeros(1, 5, dtype=torch.long), ids], 1)
    mask = torch.tensor([[0] * 5 + [1] * 40])
    assert (model(padded, attention_mask=mask).logits[0, 5:] - whole).abs().max() < 1e-4
    positions = torch.cat([torch.arange(15), torch.arange(25)])[None]
    packed = model(ids, position_ids=positions).logits[0]
    apart = torch.cat([model(ids[:, :15]).logits[0], model(ids[:, 15:]).logits[0]])
    assert (packed - apart).abs().max() < 1e-4
    ends = torch.tensor([0, 15, 40])
    packed = model(ids, cu_seq_lens_q=ends, cu_seq_lens_k=ends).logits[0]
    assert (packed - apart).abs().max() < 1e-4
    shape = model_shape(model.config)
    assert shape.parameters == sum(tensor.numel() for tensor in model.parameters())


def test_a_step_of_training_computes_all_gradients_again() -> None:
    """With and without mixing that is computed again."""
    grads = []
    for recomputes in (False, True):
        model: Any = tiny_nanochat(**PROJECTED)
        model.recompute_mixing(recomputes)
        model.train(True)
        ids = torch.tensor([IDS])
        model(ids, labels=ids).loss.backward()
        named = dict(model.named_parameters())
        assert all(parameter.grad is not None for parameter in named.values())
        grads.append(torch.cat([parameter.grad.flatten() for parameter in named.values()]))
    assert (grads[0] - grads[1]).abs().max() < 1e-5


def test_checkpointing_that_is_reentrant_gives_the_same_gradients() -> None:
    """What the first layer takes in goes into all of them."""
    grads = []
    for settings in (None, {"use_reentrant": True}):
        model: Any = tiny_nanochat(**PROJECTED | {"smear_channels": 24})
        if settings:
            model.gradient_checkpointing_enable(settings)
        model.train(True)
        ids = torch.tensor([IDS])
        model(ids, labels=ids).loss.backward()
        grads.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert (grads[0] - grads[1]).abs().max() < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("case", ["plain", "modern"])
def test_caches_of_transformers_own(case: str) -> None:
    """With a layer for each of the model, and of a fixed size, which is refused."""
    model: Any = tiny_nanochat(**CASES[case])
    ids = torch.tensor([IDS])
    cache = DynamicCache(config=model.config)
    parts = [model(part, past_key_values=cache).logits for part in ids.split([15, 1, 24], 1)]
    assert (torch.cat(parts, 1) - model(ids).logits).abs().max() < 1e-4
    fixed = StaticCache(config=model.config, max_cache_len=64)
    with pytest.raises(ValueError, match="StaticCache hands back places that hold nothing"):
        model(ids, past_key_values=fixed)


def test_embeddings_alone_do_not_say_the_token() -> None:
    model: Any = tiny_nanochat(**MODERN)
    with pytest.raises(ValueError, match="looked up by token: give input_ids"):
        model(inputs_embeds=torch.zeros(1, 3, model.config.hidden_size))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_act": "gelu"}, r"hidden_act is 'gelu'.*'relu2' or 'silu'"),
        ({"block_norm": "after"}, r"block_norm is 'after': .* takes 'before'"),
        ({"value_embedding": "none"}, r"value_embedding is 'none': set value_embedding_layers"),
        ({"value_embedding_layers": [1, 4]}, r"\[1, 4\]: list the layers .* from 0 to 3"),
        ({"value_embedding_layers": ["1"]}, r"\['1'\]: list the layers"),
        ({"value_gate_scale": None}, "set value_embedding_layers and value_gate_channels and"),
        ({"value_gate_channels": 99}, r"value_gate_channels is 99: .* from 1 to hidden_size"),
        ({"smear_channels": 0}, "smear_channels is 0"),
        ({"skips": [[2, 2]]}, r"skips has \[2, 2\]"),
        ({"skips": [[0, 5]]}, r"skips has \[0, 5\]: .* at most 4"),
        ({"skips": 3}, "skips is 3"),
        ({"residual_lambdas": 2}, "residual_lambdas is 2"),
        ({"final_logit_softcapping": -1.0}, "final_logit_softcapping is -1.0"),
        ({"final_logit_softcapping": True}, "final_logit_softcapping is True"),
        ({"value_gate_scale": True}, "value_gate_scale is True"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0"),
        ({"rope_sign": 1}, "rope_sign is 1, and is no field"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], said: str) -> None:
    fields = {"num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4}
    with pytest.raises(ConfigError, match=said):
        IHANanoChatConfig(**fields | MODERN | changes)


def test_a_folder_is_checked_as_others_are(tmp_path: Path) -> None:
    """And code beside it is a copy: neither run when it is read, nor part of the fingerprint."""
    tiny_nanochat().save_pretrained(tmp_path)
    before = checkpoint.read(tmp_path).fingerprint
    file = tmp_path / "config.json"
    fields = json.loads(file.read_text())
    copied = fields | {"auto_map": {"AutoConfig": "configuration_iha.IHANanoChatConfig"}}
    file.write_text(json.dumps(copied))
    assert checkpoint.read(tmp_path, trust_remote_code=True).fingerprint == before
    file.write_text(json.dumps(fields | {"smear_channels": 0}))
    with pytest.raises(ConfigError, match=r"config.json: smear_channels is 0"):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize(
    "window",
    [
        {"num_pseudo_heads": 1, "iha_window": 1},
        {"iha_window": 1, "pseudo_window": "token"},
        {"iha_window": None, "iha_window_virtual": 1},
    ],
)
def test_smear_is_refused_where_no_layer_sees_the_token_before(
    window: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    nanochat: Any = pytest.importorskip("model_adapters.vllm.nanochat")
    monkeypatch.setattr(nanochat, "get_tensor_model_parallel_world_size", lambda: 1)
    fields = tiny_nanochat(["iha_sliding"] * 4, **MODERN).config.to_dict()
    config = IHANanoChatConfig(**fields | window)
    with pytest.raises(BackendError, match="a layer sees the token before"):
        nanochat.TokenBefore(config, None, "model")


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_served_as_trained(case: str, tmp_path: Path) -> None:
    """In chunks, from a shared prefix, and token by token."""
    register()
    model = tiny_nanochat(**CASES[case])
    model.save_pretrained(tmp_path)
    prompts = [random_ids(length) for length in (1, 17, 40, 129)]
    prompts.append(prompts[-1][:100] + random_ids(9))
    with engine(tmp_path, max_num_batched_tokens=32) as llm:
        for _ in range(2):
            assert worst_logprob(model, prompts, generate(llm, prompts)) < 1e-4
