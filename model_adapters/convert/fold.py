"""From IHA back to a plain model, where there is one that computes the same.

For: `iha-eval convert CHECKPOINT --to-plain`, and telling why a layer has no plain form.
Not for: coming close to a layer that has none: that is refused.

What has a plain form: attention without a window whose pseudo-heads all hold the same key. Then
the last virtual query of a token sees P equal copies of every visible key; their values come in as
their mean; and alpha and collapse, which are linear and act before rotation and after attention, go
into the projections. With P = 1 that is every layer without a window. Where the base norms each
head's queries and keys, which is not linear, their alphas have to be the identity; so has alpha_v
where an embedding is added to heads before it, and the collapse where heads are gated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model_adapters import checkpoint
from model_adapters.bases import PlainBase, plain_base
from model_adapters.bases.plain import FREE
from model_adapters.config import IHA_KINDS, WINDOWED_KINDS, IHAConfig
from model_adapters.convert import shards
from model_adapters.convert.base import stored_fields
from model_adapters.convert.errors import ConversionError
from model_adapters.convert.output import (
    CHECKING,
    READING,
    WRITING,
    Outcome,
    Progress,
    appearing,
    check_room,
    checked,
    copy_companions,
    silent,
    write_json,
    write_provenance,
)
from model_adapters.layout import IHA_TENSORS
from model_adapters.mixing import full_collapse


@dataclass(frozen=True)
class FoldMixing:
    """What one layer's mixing comes down to, in float64.

    Attributes:
        query: [H, H], source head first.
        key: [G, G].
        value: [G, G].
        output: [H, H], destination head first.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor


def to_plain(source: Path, out: Path, *, progress: Progress = silent) -> Outcome:
    """Write the plain model of its base that computes what an IHA checkpoint does.

    Args:
        source: Folder of the IHA checkpoint.
        out: A folder that does not exist yet.
        progress: Told phases and bytes.

    Returns:
        What was made.

    Raises:
        AdapterError: There is no such model, or the folder does not do; nothing is left behind.
    """
    progress(CHECKING, 0, shards.size_on_disk(source))
    contents = checkpoint.read(source)
    config = contents.config
    if not isinstance(config, IHAConfig):
        raise ConversionError(f"{source} is no IHA checkpoint: it is plain already.")
    base = plain_base(config)
    if base is None:
        raise ConversionError(f"{source} has no plain form: {_foreign_fields(config)}.")
    weights = shards.Weights(source)
    for layer in range(config.num_hidden_layers):
        _check_kind(config, layer, base)
    mixings = {
        layer: mixing(config, layer, weights)
        for layer, kind in enumerate(config.layer_kinds)
        if kind in IHA_KINDS
    }
    size = shards.size_of(source)
    with appearing(out) as folder:
        check_room(folder, size)
        edit = _Fold(config.head_width, mixings)
        progress(WRITING, 0, size)
        shards.rewrite(source, folder, edit, lambda count: progress(WRITING, count, size))
        write_json(folder / "config.json", base.plain_fields(stored_fields(source), config))
        copied, left = copy_companions(source, folder)
        origin = {"name": source.resolve().name, "fingerprint": contents.fingerprint}
        write_provenance(folder, f"to-{base.model_type}", origin)
        progress(READING, 0, shards.size_of(folder))
        made = checked(folder, out)
    facts = {"layers": f"{config.num_hidden_layers} plain, {len(mixings)} of them IHA before"}
    return Outcome(made, contents, copied, left, facts, [_note(edit.folded)])


def mixing(config: IHAConfig, layer: int, weights: shards.Weights) -> FoldMixing:
    """What the mixing of one layer comes down to.

    Raises:
        ConversionError: It has no plain form; the text names the layer and says why.
    """
    query, key, value, matrix = (
        weights[f"model.layers.{layer}.self_attn.{name}"].double() for name in IHA_TENSORS
    )
    pseudo = config.num_pseudo_heads
    if not bool((key == key[..., :1]).all()):
        raise _no_plain_form(
            layer, f"alpha_k differs between its {pseudo} pseudo-heads, so they attend differently"
        )
    collapse = full_collapse(matrix, pseudo).unflatten(1, (-1, pseudo))
    if bool(collapse[..., :-1].any()):
        raise _no_plain_form(
            layer, "collapse takes more than the last pseudo-head, and the others see less"
        )
    mixing = FoldMixing(query[..., -1], key[..., 0], value.mean(-1), collapse[..., -1])
    recipe = config.recipe(layer)
    between = "after their norm" if recipe.norm_comes_first else None
    added = recipe.values is not None and not recipe.values.after_mixing
    for name, matrix, where in (
        ("alpha_q", mixing.query, between),
        ("alpha_k", mixing.key, between),
        ("alpha_v", mixing.value, "after their embedding is added" if added else None),
        ("collapse", mixing.output, "before their gate" if recipe.gate_channels else None),
    ):
        if where and not torch.equal(matrix, torch.eye(len(matrix), dtype=matrix.dtype)):
            raise _no_plain_form(layer, f"{name} mixes heads {where}, which no projection can")
    return mixing


class _Fold:
    """The edit of a shard: mixing tensors go, projections take them in."""

    def __init__(self, width: int, mixings: dict[int, FoldMixing]) -> None:
        self._width = width
        self._mixings = mixings
        self.folded: set[int] = set()

    def __call__(self, tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if name.rsplit(".", 1)[-1] in IHA_TENSORS]:
            del tensors[name]
        for layer, mixing in self._mixings.items():
            prefix = f"model.layers.{layer}.self_attn."
            for part, mix in (("q", mixing.query), ("k", mixing.key), ("v", mixing.value)):
                for kind in ("weight", "bias"):
                    self._replace(tensors, layer, f"{prefix}{part}_proj.{kind}", mix, _rows)
            self._replace(tensors, layer, f"{prefix}o_proj.weight", mixing.output, _columns)

    def _replace(
        self,
        tensors: dict[str, Tensor],
        layer: int,
        name: str,
        mix: Tensor,
        apply: Callable[[Tensor, Tensor, int], Tensor],
    ) -> None:
        # Untouched to the bit where nothing is mixed; a product would turn -0 into 0.
        if name not in tensors or torch.equal(mix, torch.eye(len(mix), dtype=mix.dtype)):
            return
        before = tensors[name]
        tensors[name] = apply(before.double(), mix, self._width).to(before.dtype).contiguous()
        self.folded.add(layer)


def _rows(weight: Tensor, mix: Tensor, width: int) -> Tensor:
    """Heads as rows of a projection: [M*d, ..], or a bias [M*d]."""
    return torch.einsum("md...,mh->hd...", weight.unflatten(0, (-1, width)), mix).flatten(0, 1)


def _columns(weight: Tensor, mix: Tensor, width: int) -> Tensor:
    """Heads as columns of the output projection, [D, H*d]."""
    return torch.einsum("xhd,hm->xmd", weight.unflatten(1, (-1, width)), mix).flatten(1)


def _check_kind(config: IHAConfig, layer: int, base: PlainBase) -> None:
    """Refuse a layer whose kind has no plain form."""
    kind = config.layer_kinds[layer]
    if kind in WINDOWED_KINDS and (problem := _window_problem(config, layer, base)):
        window = f"it is {kind!r} with a window of {config.window(layer)} tokens"
        raise _no_plain_form(layer, f"{window}, {problem}")
    if kind in IHA_KINDS and config.pseudo_rope == "none":
        raise _no_plain_form(layer, "pseudo_rope is 'none', and plain layers rotate")
    if config.pseudo_heads(layer) > 1 and config.pseudo_rope == "virtual":
        raise _no_plain_form(
            layer,
            f"pseudo_rope is 'virtual', which gives its {config.num_pseudo_heads} pseudo-heads "
            "positions of their own",
        )


def _window_problem(config: IHAConfig, layer: int, base: PlainBase) -> str | None:
    """Why a base does not have the window of a layer; None if it does."""
    if not base.has_windows:
        return f"which {base.model_type} lacks"
    # The last virtual query of a token sees whole tokens only if the window is counted in tokens.
    if config.window_slots(layer) is not None:
        return "counted in virtual tokens (iha_window_virtual), and plain layers count tokens"
    if not isinstance(config.iha_window, int):
        return f"and iha_window is a list, where {base.model_type} has one width for all layers"
    return None


def _no_plain_form(layer: int, reason: str) -> ConversionError:
    return ConversionError(
        f"layer {layer} has no plain form: {reason}; only layers without a window "
        "(but the base's own), with one pseudo-head or started with init 'exact' and not trained "
        "since, can be made plain."
    )


def _foreign_fields(config: IHAConfig) -> str:
    """What no base here has, for a sentence."""
    stated = [name for name in config.variants() if name not in FREE]
    return f"no plain architecture known here has its values of {', '.join(stated)}"


def _note(folded: set[int]) -> str:
    if not folded:
        return (
            "no projection was changed: the weights are those the IHA checkpoint has, to the bit."
        )
    return (
        f"the mixing of {len(folded)} layers went into their projections, computed in float64 and "
        "rounded once to the type of the weights."
    )
