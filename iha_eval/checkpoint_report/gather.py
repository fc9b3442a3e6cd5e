"""Everything that `iha-eval inspect` says about a checkpoint, gathered.

For: one value that the table, the JSON and the page are made of.
Not for: showing it, nor for the counting and measuring, which `model_adapters` does.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.models.source import ITEM_BYTES, locate
from model_adapters import checkpoint, default_checkpoint
from model_adapters.checkpoint import Checkpoint
from model_adapters.cost import (
    BlockPool,
    Device,
    ModelShape,
    Paging,
    capacity,
    decode_flops,
    model_shape,
    prefill_flops,
)
from model_adapters.cost.shape import Flops, layer_flops
from model_adapters.inspection import (
    DEAD,
    LayerTensors,
    magnitudes,
    measure_alpha,
    measure_collapse,
    read_layers,
)

GB = 1e9
# Share of the requests that fit below which a note says what keeps the others out.
ENOUGH = 0.9

CONVENTIONS = (
    "FLOPs: a multiply-add is 2; matrix products alone; attention over the query-key pairs that a "
    "query may see; prefill is the average over a prompt of N tokens, decode the last of N; the "
    "output's logits are counted for every token, while an engine computes them for a prompt's "
    "last one alone.",
    "KV cache: exact states are min(N, W) P a layer; filled blocks are the most that a request "
    "takes in vLLM while it generates; charged blocks are what must be free for it to be let "
    "in, nothing of it cached: windowed layers with all tokens in flight (max_num_batched_tokens, "
    "twice with asynchronous scheduling).",
    "GPU: weights and cache get 0.9 of its memory and activations nothing; the rates are bounds "
    "by bandwidth: every step reads the weights once and each request's exact states.",
    "Baseline: the plain model of the same shape, every layer full attention.",
)


@dataclass(frozen=True)
class Asked:
    """What costs are to be given for.

    Attributes:
        context: N in tokens; None for the checkpoint's max_position_embeddings.
        gpu_memory: In GB, 10^9 bytes.
        bandwidth: In GB/s.
        block_size: vLLM's, in tokens.
        batched_tokens: vLLM's max_num_batched_tokens.

    Raises:
        UserError: One of them makes no sense.
    """

    context: int | None = None
    gpu_memory: float = 80.0
    bandwidth: float = 3350.0
    block_size: int = 16
    batched_tokens: int = 16384

    def __post_init__(self) -> None:
        for name in ("context", "gpu_memory", "bandwidth", "batched_tokens"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option} is {value:g}: give a number above 0.")
        if self.block_size < 1 or self.block_size % 16:
            raise UserError(
                f"--block-size is {self.block_size}: give a multiple of 16, as vLLM's attention "
                "backends ask for."
            )


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        facts: What JSON and table show.
        maps: Magnitudes of alpha and collapse, an entry an IHA layer, as `compare.maps` has them.
    """

    facts: dict[str, Any]
    maps: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """The content of the JSON output."""
        return self.facts


def inspect(name: str, asked: Asked) -> Inspection:
    """Look into a checkpoint; every weight is read once.

    Args:
        name: A folder, a hub name or the name of an embedded checkpoint.
        asked: What costs are to be given for.

    Raises:
        UserError: There is no such checkpoint.
        AdapterError: It cannot be served, or its costs are not known.
    """
    note = default_checkpoint.DESCRIPTIONS.get(name)
    folder = default_checkpoint.folder(name) if note else locate(name)
    # Refused before gigabytes of weights are read.
    shape = model_shape(checkpoint.read_config(folder))
    stored = checkpoint.read(folder)
    if stored.weights_dtype not in ITEM_BYTES:
        raise UserError(
            f"{stored.path} holds mostly {stored.weights_dtype}, whose cost in a cache is "
            "not known: "
            f"inspect a checkpoint in one of {', '.join(ITEM_BYTES)}."
        )
    item = ITEM_BYTES[stored.weights_dtype]
    context = asked.context or int(stored.config.max_position_embeddings)
    device = Device(asked.gpu_memory * GB, asked.bandwidth * GB)
    paging = Paging(block_size=asked.block_size, batched_tokens=asked.batched_tokens)
    costs = {
        role: _costs(model, context, item, device, paging)
        for role, model in (("model", shape), ("baseline", shape.baseline))
    }
    tensors = read_layers(stored.path) if stored.is_iha else []
    facts = {
        "schema": 1,
        "checkpoint": _identity(name, stored, shape),
        "context": context,
        "bytes_per_number": item,
        "layers": [*_kinds(shape, context, item)],
        **costs,
        "gpu": {**asdict(asked), "utilization": device.utilization, "batches": paging.batches},
        "mixing": _mixing(shape, tensors),
        "notes": [
            *_notes(stored, context, costs, note),
            *_matched(shape),
            *_charge(shape, context, item, device, paging),
        ],
        "conventions": list(CONVENTIONS),
    }
    return Inspection(facts, [_map(shape, layer) for layer in tensors])


def _identity(name: str, files: Checkpoint, shape: ModelShape) -> dict[str, Any]:
    return {
        "name": files.path.resolve().name if Path(name).is_dir() else name,
        "path": str(files.path.resolve()),
        "fingerprint": files.fingerprint,
        "is_iha": files.is_iha,
        "dtype": files.weights_dtype,
        "max_position_embeddings": files.config.max_position_embeddings,
        "pseudo_rope": getattr(files.config, "pseudo_rope", None),
        "hidden": shape.hidden,
        "heads": shape.heads,
        "kv_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "intermediate": shape.intermediate,
        "vocabulary": shape.vocabulary,
        "tied": shape.tied,
    }


def _kinds(shape: ModelShape, context: int, item: int) -> Iterator[dict[str, Any]]:
    """Numbers of one layer, for each kind there is."""
    for layer in dict.fromkeys(shape.layers):
        numbers = [index for index, other in enumerate(shape.layers) if other == layer]
        mixing = shape.mixing_parameters(layer)
        states = layer.states(context)
        yield {
            "kind": layer.kind,
            "numbers": numbers,
            "pseudo_heads": layer.pseudo_heads,
            "window": layer.window,
            "parameters": shape.layer_parameters(layer) - mixing,
            "mixing_parameters": mixing,
            "prefill_flops": _flops(layer_flops(shape, layer, layer.pairs(context) / context)),
            "decode_flops": _flops(layer_flops(shape, layer, layer.last_pairs(context))),
            "kv_states": states,
            "kv_bytes": states * shape.state_bytes(item),
        }


def _flops(flops: Flops) -> dict[str, float]:
    return {**asdict(flops), "total": flops.total}


def _costs(
    shape: ModelShape, context: int, item: int, device: Device, paging: Paging
) -> dict[str, Any]:
    pool = BlockPool(shape, item, paging)
    exact = shape.kv_bytes(context, item)
    return {
        "parameters": shape.parameters,
        "mixing_parameters": sum(map(shape.mixing_parameters, shape.layers)),
        "prefill_flops": _flops(prefill_flops(shape, context)),
        "decode_flops": _flops(decode_flops(shape, context)),
        "kv_bytes": exact,
        "kv_bytes_per_token": exact / context,
        "kv_bytes_filled": pool.held_bytes(context),
        "kv_bytes_charged": pool.charged_bytes(context),
        **asdict(capacity(shape, context, item, device, paging)),
    }


def _mixing(shape: ModelShape, tensors: list[LayerTensors]) -> dict[str, Any] | None:
    if not tensors:
        return None
    return {
        "dead_below": DEAD,
        "layers": [
            {
                "layer": layer.layer,
                "kind": shape.layers[layer.layer].kind,
                "pseudo_heads": layer.pseudo_heads,
                **{name: asdict(measure_alpha(alpha)) for name, alpha in layer.alphas.items()},
                "collapse": asdict(measure_collapse(layer.collapse)),
            }
            for layer in tensors
        ],
    }


def _map(shape: ModelShape, layer: LayerTensors) -> dict[str, Any]:
    tensors = {**layer.alphas, "collapse": layer.collapse}
    return {
        "layer": layer.layer,
        "kind": shape.layers[layer.layer].kind,
        **{name: magnitudes(tensor) for name, tensor in tensors.items()},
    }


def _notes(
    files: Checkpoint, context: int, costs: dict[str, Any], note: str | None
) -> Iterator[str]:
    if note:
        yield f"This is the {note}."
    limit = int(files.config.max_position_embeddings)
    if context > limit:
        yield (
            f"{context:,} tokens are beyond the checkpoint's max_position_embeddings of {limit:,}: "
            "the counts hold, but it was not made for such lengths."
        )
    if not costs["model"]["cache_bytes"]:
        yield "The weights alone do not fit the GPU."
    elif not costs["model"]["requests"]:
        yield f"Beside the weights the GPU holds no request of {context:,} tokens."


def _matched(shape: ModelShape) -> Iterator[str]:
    """At which context a windowed IHA layer has as many pairs as a full one."""
    for layer in dict.fromkeys(shape.layers):
        if layer.kind == "iha_sliding" and layer.window:
            tokens = 2 * layer.pseudo_heads**2 * layer.window
            yield (
                f"A window of {layer.window:,} tokens with P = {layer.pseudo_heads} is "
                f"FLOP-matched at a context of {tokens:,} tokens (2 P^2 W); beyond it the layer "
                "costs less than full attention."
            )


def _charge(
    shape: ModelShape, context: int, item: int, device: Device, paging: Paging
) -> Iterator[str]:
    """Whether cache stays unused for what vLLM keeps free, and with which steps it does not."""
    here = capacity(shape, context, item, device, paging)
    if here.admitted >= ENOUGH * here.requests:
        return
    charge = (
        f"vLLM lets {here.admitted:,} of the {here.requests:,} requests of {context:,} tokens that "
        "fit run at once, because it wants cache for all tokens of a step free before it takes the "
        "next"
    )
    tokens = paging.batched_tokens
    # Each request that runs takes a token of a step.
    while (tokens := tokens // 2) >= here.requests:
        fewer = capacity(shape, context, item, device, replace(paging, batched_tokens=tokens))
        if fewer.admitted >= ENOUGH * here.requests:
            yield f"{charge}: with max_num_batched_tokens={tokens} it lets {fewer.admitted:,}."
            return
    yield f"{charge}, whatever max_num_batched_tokens is."
