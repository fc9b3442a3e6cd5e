"""When an engine gets the fused pass: it asked for it, and nothing stands in the way."""

from typing import Any

import pytest
import torch

from model_adapters.errors import BackendError
from model_adapters.vllm.fused import chosen, why_not

FIT: dict[str, Any] = {
    "device": "cuda",
    "dtype": torch.bfloat16,
    "cache_dtype": "auto",
    "backend": "FLASH_ATTN",
    "width": 128,
    "ranks": 1,
}


@pytest.mark.parametrize(
    ("asked", "mode"),
    [
        ({}, None),
        (None, None),
        ({"iha_fused": False}, None),
        ({"iha_fused": None}, None),
        ({"iha_fused": True}, "kernel"),
        ({"iha_fused": "kernel"}, "kernel"),
        ({"iha_fused": "plain"}, "plain"),
    ],
    ids=str,
)
def test_what_is_asked_for(asked: object, mode: str | None) -> None:
    assert chosen(asked) == mode


@pytest.mark.parametrize("value", ["yes", 1.5, [True]], ids=str)
def test_another_value_is_refused(value: object) -> None:
    with pytest.raises(BackendError, match="set it to true, or leave it out"):
        chosen({"iha_fused": value})


def test_fits() -> None:
    assert why_not("kernel", **FIT) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device": "cpu"}, "the device is cpu"),
        ({"backend": "CPU_ATTN"}, "the attention backend is CPU_ATTN"),
        ({"dtype": torch.float64}, "dtype is torch.float64"),
        ({"cache_dtype": "fp8"}, "the cache's dtype is fp8"),
        ({"cache_dtype": "float16"}, "the cache's dtype is float16"),
        ({"width": 512}, "heads are 512 wide"),
        ({"width": 20}, "heads are 20 wide"),
        ({"ranks": 2}, "tensor_parallel_size is 2"),
    ],
    ids=str,
)
def test_does_not_fit(change: dict[str, Any], reason: str) -> None:
    assert why_not("kernel", **FIT | change) == reason


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert why_not("kernel", **FIT) == "Triton is not installed"


def test_plain_runs_on_any_device_but_one_rank() -> None:
    assert why_not("plain", **FIT | {"device": "cpu", "backend": "CPU_ATTN"}) is None
    assert why_not("plain", **FIT | {"ranks": 2}) == "tensor_parallel_size is 2"
