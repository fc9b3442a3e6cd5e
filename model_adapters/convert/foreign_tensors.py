"""What is done to a foreign tensor on its way to ours: transpose, split, reorder, rearrange.

For: one move at a time. Not for: names (see `rules.py`) or files.

The axes of alpha and collapse are given by letters: `m` is the source head, `h` the destination
head, `p` the pseudo-head. A group in parentheses is one axis that holds several, the last of them
fastest. A tensor without `m` mixes no heads: destination head h reads head h alone. One without `p`
is of a model with one pseudo-head per head.
"""

import math
import re
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model_adapters.config import IHAConfig
from model_adapters.convert.errors import ConversionError
from model_adapters.convert.rules import Move, Rule
from model_adapters.layout import IHA_TENSORS
from model_adapters.mixing import full_collapse

_ATTENTION_PARTS = {"q", "k", "v"}


def oriented(move: Move, tensor: Tensor, orientation: str) -> Move:
    """A move with the axes that an orientation gives to an alpha whose rule has none.

    Raises:
        ConversionError: The rule transposes it too, and who counts that in is not known.
    """
    if move.rule.axes is not None or not _last(move).startswith("alpha_"):
        return move
    if move.rule.transpose:
        raise ConversionError(
            f"the rule {move.rule.source!r} has transpose, and --orientation says the same in "
            "another way: write axes in place of transpose."
        )
    axes = ORIENTATIONS[orientation][: tensor.dim()]
    return replace(move, rule=replace(move.rule, axes=axes))


def check(move: Move, tensor: Tensor) -> None:
    """Refuse what can be known to be wrong before anything is made.

    Raises:
        ConversionError: An IHA tensor without axes that is not known to be in our order, axes for
            another one, or a foreign tensor that does not hold its values one by one.
    """
    kind = _unreadable(tensor)
    if kind:
        raise ConversionError(
            f"{move.source} is a {kind} tensor, and only ordinary ones can be read: save it again "
            "as one, or list it under ignore if it is no weight."
        )
    name = _last(move)
    is_open = name in IHA_TENSORS and move.rule.axes is None
    if is_open and (move.rule.source != move.target or _could_be_either(tensor)):
        raise ConversionError(
            f"nothing says which way round {move.source} lies, which becomes {move.target}: add a "
            f"rule with axes, {OUR_AXES['alpha']} for an alpha or {OUR_AXES['collapse']} for a "
            "collapse if it is ours already, or state --orientation of all alphas."
        )
    if name not in IHA_TENSORS and move.rule.axes is not None:
        raise ConversionError(
            f"the rule {move.rule.source!r} has axes, but {move.target} is no alpha or collapse: "
            "use transpose, split or rope."
        )


def make(move: Move, tensor: Tensor, config: IHAConfig, wanted: tuple[int, ...]) -> Tensor:
    """One of our tensors.

    Args:
        move: What is done.
        tensor: The foreign one.
        config: For the sizes.
        wanted: Shape of ours.

    Returns:
        A contiguous tensor of that shape.

    Raises:
        ConversionError: Its shape or type does not do; the text names it.
    """
    if not tensor.is_floating_point():
        raise ConversionError(
            f"{move.source} is of type {str(tensor.dtype).removeprefix('torch.')}: only "
            "floating-point weights can be converted, list it under ignore if it is none."
        )
    try:
        made = _make(move, _rows(move.rule, tensor, wanted), config)
    except ConversionError as error:
        raise ConversionError(f"{move.source}: {error}") from error
    if tuple(made.shape) != wanted:
        hint = "mend the map or the configuration"
        if tuple(made.shape) == wanted[::-1]:
            hint = "set transpose: true for it"
        raise ConversionError(
            f"{move.source} makes {move.target} of shape {list(made.shape)}, but the "
            f"configuration asks for {list(wanted)}: {hint}."
        )
    return made.contiguous()


def describe(move: Move) -> str:
    """What is done, in a few words."""
    rule = move.rule
    done = []
    if rule.rows != ():
        done.append("first rows" if rule.rows is None else f"rows {', '.join(map(str, rule.rows))}")
    if rule.times != 1:
        done.append(f"times {rule.times:g}")
    if rule.transpose:
        done.append("transposed")
    if move.part:
        done.append(f"part {move.part} of {'+'.join(rule.split)}" + " per group" * rule.grouped)
    if _rotated(move):
        done.append("pairs to halves")
    if rule.axes is not None:
        done.append(f"axes {rule.axes}" + " on the diagonal" * ("m" not in rule.axes))
    return ", ".join(done) or "as it is"


def _rows(rule: Rule, tensor: Tensor, wanted: tuple[int, ...]) -> Tensor:
    """The rows that are taken, times the factor."""
    rows = range(wanted[0]) if rule.rows is None else rule.rows
    if rows and (not tensor.dim() or not 0 <= min(rows) <= max(rows) < len(tensor)):
        raise ConversionError(
            f"it has shape {list(tensor.shape)} and no rows {min(rows)} to {max(rows)}: mend rows "
            "in the map, or the configuration."
        )
    # Untouched to the bit where nothing is done.
    taken = tensor[list(rows)] if rule.rows else tensor[: wanted[0]] if rows else tensor
    return taken if rule.times == 1 else taken * rule.times


def _make(move: Move, tensor: Tensor, config: IHAConfig) -> Tensor:
    rule = move.rule
    # A bias has one axis, whichever way its weight lies.
    if rule.transpose and tensor.dim() > 1:
        if tensor.dim() != 2:
            raise ConversionError(
                f"it has shape {list(tensor.shape)}, and transpose needs two axes: leave it out."
            )
        tensor = tensor.T
    if move.part:
        tensor = _part(move, tensor, config)
    if _rotated(move):
        tensor = _halves(tensor, config.head_width)
    if rule.axes is not None:
        name = _last(move)
        heads = config.kv_heads if name in ("alpha_k", "alpha_v") else config.num_attention_heads
        parsed = parse_axes(rule.axes)
        tensor = rearrange(tensor, parsed, name, heads, config.num_pseudo_heads)
        if name == "collapse" and config.collapse == "per_head":
            tensor = _own_heads(tensor, config.num_pseudo_heads)
    return tensor


def _own_heads(collapse: Tensor, pseudo_heads: int) -> Tensor:
    """[H, H*P] to [H, P].

    Raises:
        ConversionError: A head takes in pseudo-heads of others.
    """
    own: Tensor = collapse.unflatten(1, (-1, pseudo_heads)).diagonal().T
    if not torch.equal(full_collapse(own, pseudo_heads), collapse):
        raise ConversionError(
            "it takes in pseudo-heads of other heads, but config.json says collapse 'per_head': "
            "set collapse to 'full'."
        )
    return own


def _part(move: Move, tensor: Tensor, config: IHAConfig) -> Tensor:
    """One of the projections that are stacked along the outputs."""
    heads, groups, width = config.num_attention_heads, config.kv_heads, config.head_width
    rows = {"q": heads * width, "k": groups * width, "v": groups * width}
    own = config.moe_intermediate_size if ".experts." in move.target else config.intermediate_size
    rows |= dict.fromkeys(("gate", "up"), own or 0)
    sizes = [rows[part] for part in move.rule.split]
    if tensor.shape[0] != sum(sizes):
        names = " + ".join(f"{part} {rows[part]}" for part in move.rule.split)
        raise ConversionError(
            f"it has shape {list(tensor.shape)}, but {names} asks for {sum(sizes)} outputs first: "
            "mend split, or set transpose: true."
        )
    index = move.rule.split.index(move.part)
    if not move.rule.grouped:
        whole: Tensor = tensor.split(sizes)[index]
        return whole
    stacked = tensor.unflatten(0, (groups, -1))
    part: Tensor = stacked.split([size // groups for size in sizes], dim=1)[index]
    return part.flatten(0, 1)


def _rotated(move: Move) -> bool:
    """Whether rows are reordered: only queries and keys are turned."""
    return move.rule.rope == "pairs" and any(f".{part}_proj." in move.target for part in "qk")


def _halves(tensor: Tensor, width: int) -> Tensor:
    """Heads whose dimensions 2i and 2i+1 are turned together, to dimensions i and i + d/2."""
    if tensor.shape[0] % width:
        raise ConversionError(
            f"it has shape {list(tensor.shape)}, not a multiple of the head's width {width} first: "
            "mend the map or head_dim."
        )
    pairs: Tensor = tensor.unflatten(0, (-1, width // 2, 2))
    return pairs.transpose(1, 2).flatten(0, 2)


def _could_be_either(tensor: Tensor) -> bool:
    """Whether it could be transposed, and would be another one."""
    square = tensor.dim() > 1 and tensor.shape[0] == tensor.shape[1]
    return square and not torch.equal(tensor, tensor.transpose(0, 1))


def _unreadable(tensor: Tensor) -> str | None:
    """What keeps a tensor from being cut and reordered, or None."""
    if tensor.is_meta:
        return "meta (it has a shape and no values)"
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    return None


def _last(move: Move) -> str:
    return move.target.rsplit(".", 1)[-1]


def check_split(split: tuple[str, ...], grouped: bool) -> str | None:
    """What is wrong with the parts of a rule, or None."""
    if len(set(split)) < len(split) or not set(split) <= _ATTENTION_PARTS | {"gate", "up"}:
        return "give each of q, k, v, gate and up at most once"
    if grouped and set(split) != _ATTENTION_PARTS:
        return "only q, k and v together are stacked per group"
    return None


#: How the checkpoint format keeps them.
OUR_AXES = {"alpha": "mhp", "collapse": "h(mp)"}
#: Which way round alphas lie; those of one pseudo-head may have no axis for it.
ORIENTATIONS = {"source-destination": "mhp", "destination-source": "hmp"}
_GROUP = re.compile(r"([mhp])|\(([mhp]{2,3})\)")


@dataclass(frozen=True)
class AxisOrder:
    """An order of axes.

    Attributes:
        text: As it was written.
        groups: The letters of each axis.
    """

    text: str
    groups: tuple[str, ...]

    @property
    def letters(self) -> str:
        """All letters in order."""
        return "".join(self.groups)


def parse_axes(text: str) -> AxisOrder:
    """Read letters such as `hpm`, `hp` or `h(mp)`.

    Raises:
        ConversionError: They are no order of axes.
    """
    groups = tuple(group[1] or group[2] for group in _GROUP.finditer(text))
    letters = "".join(groups)
    whole = sum(len(group) + 2 * (len(group) > 1) for group in groups) == len(text)
    known = len(set(letters)) == len(letters) and "h" in letters and len(letters) > 1
    if not whole or not known:
        raise ConversionError(
            f"axes {text!r} is no order of axes: use m (source head), h (destination head) and p "
            "(pseudo-head) once each, parentheses around those that share an axis, as in hpm or "
            "h(mp); m may be left out, and p where there is one pseudo-head."
        )
    return AxisOrder(text, groups)


def rearrange(tensor: Tensor, axes: AxisOrder, name: str, heads: int, pseudo_heads: int) -> Tensor:
    """A tensor in our order.

    Args:
        tensor: As it was kept.
        axes: Its order.
        name: "collapse", or one of the alphas; chooses the order it is brought into.
        heads: M, the heads that it mixes.
        pseudo_heads: P.

    Returns:
        [M, M, P] for an alpha, [M, M*P] for the collapse.

    Raises:
        ConversionError: Its shape does not go with the letters.
    """
    if "p" not in axes.letters:
        if pseudo_heads > 1:
            raise ConversionError(
                f"axes {axes.text!r} have no p, but there are {pseudo_heads} pseudo-heads: say "
                "which axis holds them."
            )
        tensor, axes = tensor.unsqueeze(-1), AxisOrder(axes.text, (*axes.groups, "p"))
    sizes = {"m": heads, "h": heads, "p": pseudo_heads}
    wanted = [math.prod(sizes[letter] for letter in group) for group in axes.groups]
    if list(tensor.shape) != wanted:
        raise ConversionError(
            f"it has shape {list(tensor.shape)}, but axes {axes.text!r} with {heads} heads and "
            f"{pseudo_heads} pseudo-heads asks for {wanted}: mend axes in the map."
        )
    split = tensor.reshape([sizes[letter] for letter in axes.letters])
    if "m" not in axes.letters:
        diagonal = split if axes.letters == "hp" else split.T
        full = torch.zeros(heads, heads, pseudo_heads, dtype=tensor.dtype)
        index = torch.arange(heads)
        full[index, index] = diagonal
        return full.flatten(1) if name == "collapse" else full
    order = "hmp" if name == "collapse" else "mhp"
    ours = split.permute([axes.letters.index(letter) for letter in order])
    return (ours.flatten(1) if name == "collapse" else ours).contiguous()
