"""Time and memory of a training step of one attention layer, by how its mask is made.

For: what the Transformers model gains where no whole mask is made: forward and backward pass of one
IHA layer, in turns, as ratios to the first way; and bytes that the forward pass keeps for the
backward one, parameters apart. Not for: whole models, nor for serving (`serving.py`).

    python benchmarks/training.py [--virtual-tokens 4096] [--window W] [--repeats 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from _ratios import cell, ratios
from torch import Tensor

from model_adapters import IHAConfig
from model_adapters.hf import attention
from model_adapters.hf.modeling import IHALlamaAttention

PSEUDO = 2
WAYS = ("a whole mask", "blocks of 1024 with masks", "the model", "the model, mixing again")


class KeptBytes:
    """Sums what autograd keeps, each storage once."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}

    def keep(self, tensor: Tensor) -> Tensor:
        """For `saved_tensors_hooks`."""
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            self.sizes[storage.data_ptr()] = storage.nbytes()
        return tensor


def layer(window: int | None) -> tuple[IHALlamaAttention, IHAConfig]:
    """Eight heads of 64, as many key heads, two pseudo-heads."""
    config = IHAConfig(
        hidden_size=512,
        num_hidden_layers=1,
        num_attention_heads=8,
        num_pseudo_heads=PSEUDO,
        iha_layer_types=["iha_sliding" if window else "iha_global"],
        iha_window=window,
    )
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    made = IHALlamaAttention(config, 0)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return made.train(), config


def step(module: IHALlamaAttention, config: IHAConfig, virtual: int) -> tuple[float, int]:
    """Seconds of both passes, and bytes kept between them."""
    tokens = virtual // PSEUDO
    hidden = torch.randn(1, tokens, config.hidden_size, requires_grad=True)
    angles = torch.arange(virtual)[:, None] * torch.ones(config.head_width)
    embeddings = angles.cos()[None], angles.sin()[None]
    kept = KeptBytes()
    begin = time.perf_counter()
    with torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda tensor: tensor):
        made, _ = module(hidden, embeddings)
    made.sum().backward()
    return time.perf_counter() - begin, sum(kept.sizes.values())


def one(way: str, run: Callable[[], tuple[float, int]], module: IHALlamaAttention) -> tuple:  # type: ignore[type-arg]
    """One step in one way, and everything as before."""
    usual = attention._only_causal, attention._block
    module.recomputes = way == WAYS[3]
    if way in WAYS[:2]:
        size = 1 << 30 if way == WAYS[0] else 1024
        attention._only_causal = lambda *_: False
        attention._block = lambda _: size
    try:
        return run()
    finally:
        attention._only_causal, attention._block = usual


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--virtual-tokens", type=int, default=4096, metavar="N")
    parser.add_argument("--window", type=int, metavar="W", help="tokens; none by default")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    module, config = layer(options.window)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    kept = {}
    for round_ in range(options.repeats + 1):
        for way in WAYS:
            took, size = one(way, lambda: step(module, config, options.virtual_tokens), module)
            # The first round warms up.
            if round_:
                seconds[way].append(took)
            kept[way] = size
    print(
        f"one IHA layer, H = G = 8, d = 64, P = {PSEUDO}, {options.virtual_tokens} virtual tokens"
    )
    print("| way | ms a step | time, ratio | kept, MiB |\n|---|---|---|---|")
    for way in WAYS:
        ratio = cell(ratios(seconds[way], seconds[WAYS[0]]))
        middle = statistics.median(seconds[way]) * 1e3
        print(f"| {way} | {middle:.0f} | {ratio} | {kept[way] / 2**20:.0f} |")


if __name__ == "__main__":
    main()
