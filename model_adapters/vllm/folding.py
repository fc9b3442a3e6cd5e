"""Alpha and collapse multiplied into the projections when weights are loaded, where that pays.

For: the served model. Mixing is linear and comes right after the query, key and value projections,
collapsing right before the output projection; the products are projections of P times the size
that need no small operations beside them, and no exchange between tensor-parallel ranks.
Not for: quantized weights, and not for running anything; imports nothing of vLLM.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model_adapters.errors import BackendError, CheckpointError
from model_adapters.mixing import full_collapse

SWITCH = "iha_fold"
AUTO, ALWAYS, NEVER = "auto", "always", "never"
# What mixing costs per pseudo-head and number, in products of a projection: measured on one x86
# core at bfloat16, 2048 tokens, H = G = 8: 30 to 40.
MIXING_PRODUCTS = 35
PARTNERS = {
    "q_proj.weight": "alpha_q",
    "q_proj.bias": "alpha_q",
    "k_proj.weight": "alpha_k",
    "k_proj.bias": "alpha_k",
    "v_proj.weight": "alpha_v",
    "v_proj.bias": "alpha_v",
    "o_proj.weight": "collapse",
}


def asked(additional_config: object, quantization: str | None = None) -> str:
    """What the engine's `additional_config` says: "auto" (the default), "always" or "never".

    Args:
        additional_config: the engine's.
        quantization: how the projections are quantized, by vLLM's name; None if they are not.

    Raises:
        BackendError: it says something else, or what quantized weights do not allow.
    """
    value = additional_config.get(SWITCH, AUTO) if isinstance(additional_config, Mapping) else AUTO
    if value not in (AUTO, ALWAYS, NEVER):
        raise BackendError(
            f"additional_config has {SWITCH} {value!r}: set it to 'auto', 'always' or 'never', "
            "or leave it out."
        )
    if value == ALWAYS and quantization is not None:
        raise BackendError(
            f"{SWITCH} is {ALWAYS!r}, and the weights are quantized ({quantization}), which cannot "
            f"be multiplied with alpha and collapse: set {SWITCH} to {AUTO!r} or leave it out."
        )
    return str(value)


def pays(pseudo_heads: int, hidden: int) -> bool:
    """Whether a layer is served no slower folded, for a prompt and for a single token alike.

    Per number that is projected, folding adds (P - 1) * D products, and as many weights to read;
    it saves the mixing of P numbers. So it always pays at P = 1, where it adds nothing, and else
    only in tiny models: at D = 512 and P = 2 it gains nothing for a single token, and doubles the
    projections of a prompt.

    Args:
        pseudo_heads: P.
        hidden: D.
    """
    return (pseudo_heads - 1) * hidden <= MIXING_PRODUCTS * pseudo_heads


def is_folded(
    additional_config: object,
    pseudo_heads: int,
    hidden: int,
    quantization: str | None,
    obstacle: str | None = None,
) -> bool:
    """Whether a layer is served folded.

    Args:
        additional_config: the engine's.
        pseudo_heads: P.
        hidden: D.
        quantization: as `asked` takes it.
        obstacle: what keeps the layer from being folded, see `LayerRecipe.unfoldable`.

    Raises:
        BackendError: as from `asked`, or it asks for what there is an obstacle to.
    """
    wanted = asked(additional_config, quantization)
    if obstacle is not None:
        if wanted == ALWAYS:
            raise BackendError(
                f"{SWITCH} is {ALWAYS!r}, but {obstacle}: set {SWITCH} to {AUTO!r} or leave it out."
            )
        return False
    may = wanted == AUTO and quantization is None
    return wanted == ALWAYS or (may and pays(pseudo_heads, hidden))


def fold_input(projection: Tensor, alpha: Tensor) -> Tensor:
    """A projection to all pseudo-heads, P of each head in a row; made in float32, then rounded.

    Args:
        projection: weight [M*d, D] or bias [M*d].
        alpha: [M, M, P], as in the checkpoint.

    Returns:
        [M*P*d, D] or [M*P*d].
    """
    heads = projection.float().unflatten(0, (len(alpha), -1))
    mixed: Tensor = torch.einsum("mhp,md...->hpd...", alpha.float(), heads)
    return mixed.flatten(0, 2).to(projection.dtype)


def fold_output(projection: Tensor, collapse: Tensor) -> Tensor:
    """The output projection from all pseudo-heads; made in float32, then rounded.

    Args:
        projection: [D, H*d].
        collapse: [H, H*P], as in the checkpoint.

    Returns:
        [D, H*P*d].
    """
    heads = projection.float().unflatten(1, (len(collapse), -1))
    spread: Tensor = torch.einsum("xhd,hs->xsd", heads, collapse.float())
    return spread.flatten(1).to(projection.dtype)


@dataclass
class _Layer:
    """What has arrived of one layer and waits for its partner."""

    waiting: dict[str, Tensor] = field(default_factory=dict)
    matrices: dict[str, Tensor] = field(default_factory=dict)


def fold(
    weights: Iterable[tuple[str, Tensor]], shapes: Mapping[str, Mapping[str, tuple[int, ...]]]
) -> Iterator[tuple[str, Tensor]]:
    """A checkpoint's tensors with those of some layers folded; they may come in any order.

    Args:
        weights: names and tensors as stored.
        shapes: for the prefix of each attention layer to fold ("model.layers.0.self_attn.") the
            shapes of its alphas and its collapse.

    Yields:
        Names and tensors; of folded layers only the projections.

    Raises:
        CheckpointError: an alpha or a collapse has another shape, or is not there.
    """
    layers = {prefix: _Layer() for prefix in shapes}
    for name, tensor in weights:
        prefix, middle, rest = name.partition(".self_attn.")
        prefix += middle
        if prefix not in layers or rest not in {*PARTNERS, *PARTNERS.values()}:
            yield name, tensor
            continue
        layer = layers[prefix]
        if rest in PARTNERS:
            layer.waiting[rest] = tensor
        else:
            check_shape(rest, tensor, shapes[prefix][rest])
            if rest == "collapse":
                tensor = full_collapse(tensor, shapes[prefix]["alpha_q"][2])
            layer.matrices[rest] = tensor
        for part in [part for part in layer.waiting if PARTNERS[part] in layer.matrices]:
            product = fold_output if part == "o_proj.weight" else fold_input
            yield prefix + part, product(layer.waiting.pop(part), layer.matrices[PARTNERS[part]])
    for prefix, layer in layers.items():
        for part in layer.waiting:
            raise CheckpointError(
                f"the weights hold {prefix}{part} but not {prefix}{PARTNERS[part]}: save the "
                "whole state dict."
            )


def arrange_input(projection: Tensor, heads: int, pseudo_heads: int) -> Tensor:
    """One rank's rows in the order that virtual tokens want: pseudo-head, then q, k and v heads.

    Args:
        projection: [(h + 2g) * P * d, ...], heads first.
        heads: h + 2g.
        pseudo_heads: P.
    """
    parts = projection.unflatten(0, (heads, pseudo_heads, -1))
    arranged: Tensor = parts.transpose(0, 1).reshape(projection.shape)
    return arranged


def arrange_output(projection: Tensor, heads: int, pseudo_heads: int) -> Tensor:
    """One rank's columns in the order that attention leaves virtual tokens in.

    Args:
        projection: [D, h * P * d], heads first.
        heads: h.
        pseudo_heads: P.
    """
    parts = projection.unflatten(1, (heads, pseudo_heads, -1))
    arranged: Tensor = parts.transpose(1, 2).reshape(projection.shape)
    return arranged


def check_shape(name: str, stored: Tensor, wanted: tuple[int, ...]) -> None:
    """Refuse what could be cut and reshaped into place all the same.

    Raises:
        CheckpointError: the shape is another.
    """
    if tuple(stored.shape) != wanted:
        raise CheckpointError(
            f"{name} has shape {list(stored.shape)}, but config.json asks for "
            f"{list(wanted)}: run model_adapters.checkpoint.read on the folder for its name."
        )
