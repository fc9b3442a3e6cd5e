"""Asks the vLLM on the path whether it has what the adapters use; run by `check_vllm_release.py`.

For: one process per release.
Not for: being imported, but for the test that keeps it working.
"""

import inspect
import sys
from dataclasses import fields
from typing import Any

# What a batch's metadata may hold: scaled, passed on as it is, or dropped by our builder.
KNOWN_METADATA = {
    "scaled": {
        "query_start_loc",
        "query_start_loc_cpu",
        "seq_lens",
        "seq_lens_cpu_upper_bound",
        "_seq_lens_cpu",
        "_num_computed_tokens_cpu",
        "num_actual_tokens",
        "max_query_len",
        "max_seq_len",
        "slot_mapping",
    },
    "dropped": {"positions", "_num_computed_tokens_cache", "_token_to_req_indices_cache"},
    # Of requests, blocks or features that an IHA model does not have.
    "untouched": {
        "num_reqs",
        "block_table_tensor",
        "causal",
        "logits_indices_padded",
        "num_logits_indices",
        "max_logits_per_req",
        "encoder_seq_lens",
        "encoder_seq_lens_cpu",
        "dcp_local_seq_lens",
        "dcp_local_seq_lens_cpu",
        "dcp_local_seq_lens_cpu_upper_bound",
        "is_prefilling",
        "req_idx",
        "mm_req_doc_ranges",
        "rswa_prefix_lens",
        "replayssm_decode_base_cpu",
    },
}


def missing_parameters() -> list[str]:
    """Constructor and method parameters that are used and not there."""
    from vllm.model_executor.layers.attention import Attention
    from vllm.model_executor.models.llama import LlamaDecoderLayer, LlamaForCausalLM
    from vllm.v1.attention.backend import AttentionMetadataBuilder

    wanted = {
        Attention.__init__: ("per_layer_sliding_window", "attn_backend", "num_kv_heads"),
        LlamaDecoderLayer.__init__: ("attn_layer_type", "prefix"),
        LlamaForCausalLM.__init__: ("vllm_config", "layer_type"),
        AttentionMetadataBuilder.build: (
            "common_prefix_len",
            "common_attn_metadata",
            "fast_build",
        ),
    }
    return [
        f"{function.__qualname__}: {name}"
        for function, names in wanted.items()
        for name in names
        if name not in inspect.signature(function).parameters
    ]


def unknown_metadata() -> list[str]:
    """Fields of a batch's metadata about which nobody decided whether they count tokens."""
    from vllm.v1.attention.backend import CommonAttentionMetadata

    known = set().union(*KNOWN_METADATA.values())
    return sorted({field.name for field in fields(CommonAttentionMetadata)} - known)


def bases() -> list[Any]:
    """The backends that IHA is served on."""
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend
    from vllm.v1.attention.backends.flash_attn import FlashAttentionBackend
    from vllm.v1.attention.backends.triton_attn import TritonAttentionBackend

    return [CPUAttentionBackend, FlashAttentionBackend, TritonAttentionBackend]


def wrong_specifications() -> list[str]:
    """Derived backends whose cache specification does not come out right."""
    import torch
    from vllm.v1.kv_cache_interface import SlidingWindowSpec

    from model_adapters.vllm.backend import iha_backend
    from model_adapters.vllm.cache_spec import CacheShape

    shape = CacheShape(4, 17)
    stated = SlidingWindowSpec(
        block_size=32, num_kv_heads=2, head_size=64, dtype=torch.bfloat16, sliding_window=68
    )
    spec = shape.for_scheduler(stated, 32)
    wrong = []
    if spec.page_size_bytes != 4 * stated.page_size_bytes or spec.sliding_window != 18:
        wrong.append(f"scheduler: {spec}")
    kernel = shape.for_kernel(spec)
    if (kernel.block_size, kernel.num_kv_heads, kernel.sliding_window) != (128, 2, 68):
        wrong.append(f"kernel: {kernel}")
    for base in bases():
        derived = iha_backend(base, shape)
        mixed_in = issubclass(derived.get_builder_cls(), base.get_builder_cls())
        if not mixed_in or derived.get_name() != base.get_name():
            wrong.append(base.__name__)
    return wrong


def serve() -> float:
    """Worst logprob difference of a small mixed model, P = 3."""
    import tempfile
    from pathlib import Path

    from tiny_models import engine, generate, random_ids, tiny_model, worst_logprob

    from model_adapters.vllm import plugin

    plugin.register()
    model = tiny_model(num_pseudo_heads=3)
    prompts = [random_ids(length) for length in (1, 17, 129, 600)]
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with engine(Path(folder)) as llm:
            return worst_logprob(model, prompts, generate(llm, prompts))


def main() -> None:
    """Print what was found; exit code 1 where something does not fit."""
    import vllm

    # Every name that the adapters import has to be there.
    import model_adapters.vllm.model
    from model_adapters.vllm.cache_spec import HAS_TOKENS_PER_STATE

    assert model_adapters.vllm.model
    states = "tokens_per_state" if HAS_TOKENS_PER_STATE else "num_kv_heads * P"
    print(f"  vLLM {vllm.__version__}, states the cache by {states}")
    problems = missing_parameters() + wrong_specifications()
    problems += [f"unknown metadata field {name}" for name in unknown_metadata()]
    for problem in problems:
        print(f"  {problem}")
    if "--serve" in sys.argv:
        worst = serve()
        print(f"  served: worst |delta logprob| {worst:.1e}")
        problems += ["served"] if worst > 1e-4 else []
    raise SystemExit(bool(problems))


if __name__ == "__main__":
    main()
