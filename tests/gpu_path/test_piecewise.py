"""Piecewise compilation, which GPUs have by default, splits the model where attention stands."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_the_number_of_tokens_is_the_first_symbol_of_every_compiled_part() -> None:
    """vLLM takes it for the size of the batch; P times it, which is there too, would be wrong."""
    command = [sys.executable, str(Path(__file__).with_name("piecewise_child.py"))]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr[-3000:]
    (line,) = (line for line in child.stdout.splitlines() if line.startswith("{"))
    found = json.loads(line)
    assert found["shapes"] == [[tokens, tokens, 64] for tokens in (64, 40, 1, 33)]
    parts = found["parts"]
    # What stands before, between and behind four attention layers.
    assert len(parts) >= 3
    # vLLM looks at the first symbol of each; P times the tokens is there to be mistaken for it.
    assert len({part["symbols"][0] for part in parts}) == 1
    assert "*" not in parts[0]["symbols"][0]
    assert any("*" in symbol for part in parts for symbol in part["symbols"])
