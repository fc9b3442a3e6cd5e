"""IHAConfig refuses what cannot be meant, in one sentence with field, value and remedy."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import HYBRID, tiny_config
from transformers import AutoConfig

from model_adapters import ConfigError, IHAConfig, naive
from model_adapters.config import VARIANT_FIELDS, VirtualMask

REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"num_pseudo_heads": 0}, ["num_pseudo_heads", "0", "at least 1"]),
    ({"num_pseudo_heads": -2}, ["num_pseudo_heads", "-2", "at least 1"]),
    ({"num_pseudo_heads": "two"}, ["num_pseudo_heads", "'two'", "whole number"]),
    ({"num_pseudo_heads": 2.0}, ["num_pseudo_heads", "2.0", "whole number"]),
    ({"num_pseudo_heads": True}, ["num_pseudo_heads", "True", "whole number"]),
    ({"iha_layer_types": "iha_global"}, ["iha_layer_types", "'iha_global'", "list"]),
    (
        {"iha_layer_types": ["full", "global", "full", "sliding"]},
        ["iha_layer_types[1]", "'global'", "iha_global"],
    ),
    ({"iha_layer_types": ["full"] * 3}, ["3 entries", "num_hidden_layers is 4", "each layer"]),
    ({"iha_window": None}, ["iha_window is None", "iha_sliding and sliding", "tokens"]),
    ({"iha_window": 0}, ["iha_window is 0", "at least 1"]),
    ({"iha_window": 3.5}, ["iha_window is 3.5", "whole number"]),
    (
        {"iha_layer_types": ["full"] * 4, "iha_window": 9},
        ["iha_window is 9", "no windowed layer", "null"],
    ),
    ({"iha_window": [17] * 3}, ["3 entries", "num_hidden_layers is 4", "one number for all"]),
    ({"iha_window": [17, None, None, None]}, ["iha_window[3] is None", "sliding", "tokens"]),
    ({"iha_window": [17, 5, None, 17]}, ["iha_window[1] is 5", "iha_global", "null"]),
    ({"iha_window_virtual": 2.5}, ["iha_window_virtual is 2.5", "virtual tokens"]),
    (
        {"iha_layer_types": ["iha_sliding", "full"] * 2, "iha_window_virtual": 9},
        ["iha_window is 17", "no windowed layer that iha_window_virtual leaves", "null"],
    ),
    (
        {"iha_layer_types": ["sliding"] * 4, "iha_window_virtual": 9},
        ["iha_window_virtual is 9", "no iha_sliding layer"],
    ),
    (
        {"iha_window_virtual": 9, "pseudo_window": "token"},
        ["iha_window_virtual is 9", "'token' counts whole tokens", "iha_window"],
    ),
    ({"pseudo_causal": "both"}, ["pseudo_causal is 'both'", "'virtual' or 'token'"]),
    ({"pseudo_window": None}, ["pseudo_window is None", "'virtual' or 'token'"]),
    ({"pseudo_causal": "token"}, ["pseudo_window is 'virtual'", "set pseudo_window to 'token'"]),
    (
        {"num_experts": 4, "moe_intermediate_size": 8},
        ["num_experts_per_tok", "are 4, None, 8", "all to null"],
    ),
    ({"window_rope_parameters": 3}, ["window_rope_parameters is 3", "mapping"]),
    (
        {"window_rope_parameters": {"rope_theta": 1e4}},
        ["window_rope_parameters lacks rope_type", "add"],
    ),
    (
        {"window_rope_parameters": {"rope_type": "linear", "rope_theta": 1e4}},
        ["window_rope_parameters lacks factor", "add"],
    ),
    ({"rope_sign": -1}, ["rope_sign is -1", "no field", "remove"]),
    ({"kv_heads": 5}, ["kv_heads is 5", "no field", "remove"]),
    ({"hidden_act": "gelu"}, ["hidden_act is 'gelu'", "iha_llama", "'silu'"]),
    ({"window": 5}, ["window is 5", "no field", "remove"]),
    ({"final_logit_softcapping": 30.0}, ["final_logit_softcapping is 30.0", "iha_llama", "remove"]),
    ({"attn_logit_softcapping": 50.0}, ["attn_logit_softcapping is 50.0", "remove"]),
    ({"smear_channels": 4}, ["smear_channels is 4", "iha_llama", "remove"]),
    ({"IHA_Window": 5}, ["IHA_Window is 5", "no field", "write iha_window if"]),
    ({"iha-window": 5}, ["iha-window is 5", "no field", "write iha_window if"]),
    ({"iha_windw": 5}, ["iha_windw is 5", "no field", "write iha_window if"]),
    ({"iha_schedule": "4:1"}, ["iha_schedule is '4:1'", "no field", "or remove it"]),
    ({"pseudo_ropes": "token"}, ["pseudo_ropes is 'token'", "write pseudo_rope if"]),
    ({"sliding_window": 4096}, ["sliding_window is 4096", "iha_llama", "remove"]),
    ({"layer_types": ["full_attention", "sliding_attention"]}, ["layer_types is ", "remove"]),
    ({"clip_qkv": 8.0}, ["clip_qkv is 8.0", "remove"]),
    ({"logits_scaling": 8}, ["logits_scaling is 8", "remove"]),
    ({"embedding_multiplier": 12.0}, ["embedding_multiplier is 12.0", "remove"]),
    ({"norm_topk_prob": True}, ["norm_topk_prob is True", "experts", "leave it out"]),
    ({"block_norm": "both"}, ["block_norm is 'both'", "'before' or 'after'"]),
    (
        {"window_rope_parameters": {"rope_type": "dynamic", "rope_theta": 1.0}},
        ["window_rope_parameters has rope_type 'dynamic'"],
    ),
    ({"qk_norm": True}, ["qk_norm is True", "'head_before_mixing'"]),
    ({"qk_norm": "head_before_mixing"}, ["qk_norm_weight is None", "'shared' or 'per_head'"]),
    ({"qk_norm_weight": "shared"}, ["qk_norm is 'none'", "null"]),
    (
        {"qk_norm": "pseudo_head_after_rope", "qk_norm_weight": "shared"},
        ["qk_norm_weight is 'shared'", "null"],
    ),
    ({"qk_scale": 0}, ["qk_scale is 0", "above 0"]),
    ({"qk_scale": "1.2"}, ["qk_scale is '1.2'", "number"]),
    ({"collapse": "mean"}, ["collapse is 'mean'", "'full' or 'per_head'"]),
    ({"head_gate_channels": 0}, ["head_gate_channels is 0", "hidden_size (64)"]),
    ({"head_gate_channels": 65}, ["head_gate_channels is 65", "hidden_size (64)"]),
    ({"num_key_value_heads": 3}, ["num_key_value_heads is 3", "num_attention_heads (4)"]),
    ({"head_dim": 33}, ["head_dim is 33", "even"]),
    ({"pseudo_rope": "both"}, ["pseudo_rope is 'both'", "'token' or 'none'"]),
    (
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
        ["rope_type 'dynamic'", "llama3"],
    ),
    (
        {
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "partial_rotary_factor": 0.5,
            }
        },
        ["partial_rotary_factor is 0.5", "1.0"],
    ),
]

MASKS = [
    VirtualMask(pseudo, window, slots, causal, edge)
    for pseudo in (1, 2, 3)
    for window, slots in ((None, None), (1, None), (4, None), (3, 3 * pseudo - 1), (2, pseudo + 1))
    for causal, edge in (("virtual", "virtual"), ("virtual", "token"), ("token", "token"))
    if not (slots and edge == "token")
]


@pytest.mark.parametrize(("changes", "words"), REFUSED, ids=lambda value: str(value)[:50])
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    changes: dict[str, Any], words: list[str]
) -> None:
    """The text names the field, the value and the remedy, on one line."""
    with pytest.raises(ConfigError) as caught:
        tiny_config(**changes)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    for word in words:
        assert word in text


def test_what_changes_nothing_may_stay() -> None:
    """Where a configuration comes from, training, and what does nothing at its value."""
    stated = {
        "_name_or_path": "somewhere",
        "auto_map": {"AutoConfig": "configuration_iha.IHAConfig"},
        "wandb_run": "a1b2",
        "router_aux_loss_coef": 0.001,
        "sliding_window": None,
        "use_sliding_window": False,
        "max_window_layers": 28,
        "layer_types": ["full_attention"] * 4,
        "mlp_only_layers": [],
        "logits_scaling": 1.0,
        "norm_topk_prob": False,
    }
    assert tiny_config(**stated).variants() == {}


def test_the_four_fields_always_stand_in_the_file(tmp_path: Path) -> None:
    """Defaults are written too, because a reader must not have to know them."""
    IHAConfig(num_hidden_layers=2, hidden_size=64, num_attention_heads=2).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["num_pseudo_heads"] == 2
    assert written["iha_layer_types"] == ["iha_global", "iha_global"]
    assert written["iha_window"] is None
    assert written["pseudo_rope"] == "virtual"
    assert written["model_type"] == "iha_llama"
    assert not set(VARIANT_FIELDS) & written.keys()


def test_auto_config_reads_what_was_written(tmp_path: Path) -> None:
    """Round trip through the folder with the registered class."""
    tiny_config(HYBRID, num_pseudo_heads=3, pseudo_rope="token").save_pretrained(tmp_path)
    read = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(read, IHAConfig)
    assert (read.num_pseudo_heads, read.pseudo_rope, read.iha_window) == (3, "token", 17)
    assert read.layer_kinds == HYBRID


def test_kinds_decide_pseudo_heads_and_windows() -> None:
    """Plain layers have one pseudo-head; only windowed kinds have a window."""
    config = tiny_config(num_pseudo_heads=3)
    assert [config.pseudo_heads(i) for i in range(4)] == [3, 3, 1, 1]
    assert [config.window(i) for i in range(4)] == [17, None, None, 17]


def test_variants_are_written_and_read(tmp_path: Path) -> None:
    """What is not the default stands in the file."""
    fields: dict[str, Any] = {
        "iha_window": [9, None, None, 5],
        "pseudo_rope": "none",
        "pseudo_causal": "token",
        "pseudo_window": "token",
        "qk_norm": "head_before_mixing",
        "qk_norm_weight": "per_head",
        "qk_scale": 1.2,
        "collapse": "per_head",
        "head_gate_channels": 12,
    }
    tiny_config(**fields).save_pretrained(tmp_path)
    read = AutoConfig.from_pretrained(tmp_path)
    assert {name: getattr(read, name) for name in fields} == fields
    masks = [read.recipe(layer).mask for layer in range(4)]
    assert masks[0] == VirtualMask(2, 9, causal="token", edge="token")
    # A plain layer knows neither; without a window there is no edge.
    assert masks[1:] == [VirtualMask(2, causal="token"), VirtualMask(1), VirtualMask(1, 5)]


def test_a_window_in_virtual_tokens_is_of_iha_layers_alone() -> None:
    """513 at P = 2 is 257 tokens, rounded up, of which a query sees 256 for sure."""
    config = tiny_config(iha_window_virtual=513, iha_window=300)
    assert [config.window(layer) for layer in range(4)] == [257, None, None, 300]
    assert config.recipe(0).mask.kernel_window == 513
    assert config.recipe(0).mask.kept_tokens == 257
    assert config.narrowest_window == 256


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_reach_and_sight_are_the_definitions(mask: VirtualMask) -> None:
    """Of every query of nine tokens; and what a cache keeps is what the next token may see."""
    tokens, pseudo = 9, mask.pseudo_heads
    index = torch.arange(tokens * pseudo)
    rows = naive.visible(
        tokens, pseudo, mask.window, slots=mask.slots, causal=mask.causal, edge=mask.edge
    )
    assert torch.equal(mask.visible(index[:, None], index[None, :]), rows)
    for query, row in enumerate(rows):
        assert row.nonzero().flatten().tolist() == list(mask.reach(query))
    if mask.kept_tokens is not None and mask.kept_tokens <= tokens:
        first = int(rows[-pseudo:].any(0).nonzero()[0]) // pseudo
        assert tokens - first == mask.kept_tokens
