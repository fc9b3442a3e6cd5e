"""vLLM's CPU attention kernel alone on one prompt: IHA's window against the plain layer, as ratios.

For: telling what of a prefill's time is the kernel's own. The paper's windows N / (2 P^2) give
IHA's P*N virtual tokens as many products as the plain layer's N tokens, so that a ratio above 1 is
what the kernel makes of them: it takes eight rows at a time and keys in multiples of 32.
Not for: what stands around the kernel, nor decoding (`serving.py`).

    python benchmarks/cpu_attention.py [--context 4096] [--pseudo-heads 2 4 8 20] [--repeats 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from _ratios import cell, ratios
from _serving_models import SHAPE

# Tokens of one step of an IHA model, as `iha-vllm` chooses them, and states of a block.
STEP, BLOCK = 512, 128
# vLLM's choice, and ours for IHA layers (`cpu_kernel` in model_adapters/vllm/backend.py).
KERNELS = ("vec", "vec16")


def products(rows: int, before: int, window: int | None) -> int:
    """Query and key pairs of rows that follow so many others, of which they see a window."""
    seen = (before + row + 1 for row in range(rows))
    return sum(length if window is None else min(length, window) for length in seen)


def attention(
    rows: int, before: int, window: int | None, kernel: str = "vec"
) -> Callable[[], None]:
    """A function that attends once, in bfloat16, as CPU_ATTN does.

    Args:
        rows: queries, one request's.
        before: states that precede them.
        window: states that a query sees, its own included; None for all.
        kernel: CPU_ATTN's name of it.
    """
    from vllm import _custom_ops as ops
    from vllm.platforms import current_platform

    current_platform.import_kernels()
    heads, kv_heads = SHAPE["num_attention_heads"], SHAPE["num_key_value_heads"]
    width, length = SHAPE["head_dim"], before + rows
    blocks = -(-length // BLOCK)
    cache = torch.randn(blocks + 1, kv_heads, 2 * BLOCK, width).bfloat16()
    keys, values = cache.chunk(2, dim=2)
    query = torch.randn(rows, heads, width).bfloat16()
    output = torch.empty_like(query)
    starts = torch.tensor([0, rows], dtype=torch.int32)
    lengths = torch.tensor([length], dtype=torch.int32)
    table = torch.arange(1, blocks + 1, dtype=torch.int32).unsqueeze(0)
    slots = -1 if window is None else window

    def attend() -> None:
        metadata = ops.cpu_attn_get_scheduler_metadata(
            num_reqs=1,
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_dim=width,
            seq_lens=lengths,
            dtype=torch.bfloat16,
            query_start_loc=starts,
            causal=True,
            sliding_window_size=slots,
            isa=kernel,
            enable_kv_split=True,
        )
        ops.cpu_attention_with_kv_cache(
            query=query,
            key_cache=keys,
            value_cache=values,
            output=output,
            query_start_loc=starts,
            seq_lens=lengths,
            scale=width**-0.5,
            causal=True,
            alibi_slopes=None,
            sliding_window=slots,
            block_table=table,
            softcap=0.0,
            scheduler_metadata=metadata,
            s_aux=None,
        )

    return attend


def main() -> None:
    """Measure in turn and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--pseudo-heads", type=int, nargs="+", default=[2, 4, 8, 20])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    context = options.context
    functions = {(1, "vec"): attention(context, 0, None)}
    counted = {}
    for pseudo in options.pseudo_heads:
        window = max(1, context // (2 * pseudo**2)) * pseudo
        # A step in the middle of the prompt stands for all of them.
        shape = (STEP * pseudo, window + STEP * pseudo, window)
        for kernel in KERNELS:
            functions[pseudo, kernel] = attention(*shape, kernel)
        counted[pseudo] = products(*shape) * (context // STEP) / products(context, 0, None)
    times: dict[tuple[int, str], list[float]] = {key: [] for key in functions}
    for _ in range(options.repeats):
        for (pseudo, kernel), function in functions.items():
            steps = 1 if pseudo == 1 else context // STEP
            began = time.process_time()
            function()
            times[pseudo, kernel].append((time.process_time() - began) * steps)
    plain = times[1, "vec"]
    print(f"plain, {context} tokens: {statistics.median(plain) * 1e3:.0f} ms a layer\n")
    print("| P | products, of plain's | time, of plain's: vec (min to max) | vec16 |")
    print("|---|---|---|---|")
    for pseudo in options.pseudo_heads:
        cells = [cell(ratios(times[pseudo, kernel], plain)) for kernel in KERNELS]
        print(f"| {pseudo} | {counted[pseudo]:.2f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
