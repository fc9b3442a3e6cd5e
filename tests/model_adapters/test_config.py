"""IHAConfig refuses what cannot be meant, in one sentence with field, value and remedy."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import HYBRID, tiny_config
from transformers import AutoConfig

from model_adapters import ConfigError, IHAConfig

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
    ({"num_key_value_heads": 3}, ["num_key_value_heads is 3", "num_attention_heads (4)"]),
    ({"head_dim": 33}, ["head_dim is 33", "even"]),
    ({"pseudo_rope": "both"}, ["pseudo_rope is 'both'", "'virtual' or 'token'"]),
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


def test_the_four_fields_always_stand_in_the_file(tmp_path: Path) -> None:
    """Defaults are written too, because a reader must not have to know them."""
    IHAConfig(num_hidden_layers=2, hidden_size=64, num_attention_heads=2).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["num_pseudo_heads"] == 2
    assert written["iha_layer_types"] == ["iha_global", "iha_global"]
    assert written["iha_window"] is None
    assert written["pseudo_rope"] == "virtual"
    assert written["model_type"] == "iha_llama"


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
