"""The probe for other vLLM releases works on the one that is installed, and can fail."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROBE = Path(__file__).parents[2] / "tools" / "vllm_release_probe.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("vllm_release_probe", PROBE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.long
def test_the_installed_release_fits() -> None:
    """As a process of its own, as it is run for other releases."""
    child = subprocess.run([sys.executable, str(PROBE)], capture_output=True, text=True)
    assert child.returncode == 0, child.stdout + child.stderr[-2000:]
    assert "states the cache by tokens_per_state" in child.stdout


def test_a_new_metadata_field_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has decided yet whether it counts tokens."""
    probe = load()
    assert probe.unknown_metadata() == []
    probe.KNOWN_METADATA["scaled"].remove("seq_lens")
    assert probe.unknown_metadata() == ["seq_lens"]


def test_a_specification_that_comes_out_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that the scheduler would cut short."""
    from model_adapters.vllm.cache_spec import CacheShape

    probe = load()
    assert probe.wrong_specifications() == []
    monkeypatch.setattr(CacheShape, "kept_tokens", property(lambda self: self.window))
    (problem,) = probe.wrong_specifications()
    assert problem.startswith("scheduler")


def test_a_parameter_that_is_gone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A constructor that no longer takes our backend."""
    from vllm.model_executor.layers.attention import Attention

    probe = load()
    assert probe.missing_parameters() == []
    monkeypatch.setattr(Attention, "__init__", lambda self, num_kv_heads: None)
    gone = probe.missing_parameters()
    assert len(gone) == 2
    assert all("<lambda>" in line for line in gone)
