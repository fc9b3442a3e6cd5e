"""A conversion takes memory of about one shard, not of the whole model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from plain_models import plain_config, save_plain
from safetensors.torch import save_file

from model_adapters.checkpoint import INDEX
from model_adapters.layout import expected_shapes

MIB = 1 << 20
SHARD = 26 * MIB


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base of several shards, of zeros."""
    config = plain_config(
        vocab_size=2048,
        hidden_size=512,
        intermediate_size=1024,
        num_hidden_layers=40,
        num_attention_heads=8,
        head_dim=64,
    )
    config.save_pretrained(tmp_path / "base")
    shards: list[dict[str, torch.Tensor]] = [{}]
    for name, shape in (expected_shapes(config) or {}).items():
        tensor = torch.zeros(shape, dtype=torch.bfloat16)
        if sum(one.nbytes for one in shards[-1].values()) + tensor.nbytes > SHARD:
            shards.append({})
        shards[-1][name] = tensor
    places = {}
    for number, shard in enumerate(shards):
        save_file(shard, tmp_path / "base" / f"model-{number}.safetensors")
        places |= dict.fromkeys(shard, f"model-{number}.safetensors")
    (tmp_path / "base" / INDEX).write_text(json.dumps({"weight_map": places}))
    return tmp_path / "base"


@pytest.mark.long
def test_peak_memory_is_below_two_shards(base: Path, tmp_path: Path) -> None:
    """In a process of its own; all shards together would be seen."""
    sizes = [file.stat().st_size for file in base.glob("*.safetensors")]
    assert len(sizes) >= 7
    command = [sys.executable, str(Path(__file__).with_name("memory_child.py"))]
    printed = subprocess.run(
        [*command, str(save_plain(tmp_path / "small")), str(base)],
        # Freed memory goes back at once; what malloc would keep is nothing beside real shards.
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    growth = int(printed.split()[-1]) * 1024
    assert max(sizes) / 2 < growth < 2 * max(sizes) < sum(sizes) / 3
