"""From a plain Llama to IHA: the four tensors of each IHA layer are added, nothing is changed.

For: `iha-eval convert BASE` and whoever starts training from a trained model; what alpha and
collapse start as (exact, as in the paper, or exact with noise) is alike for every sharding.
Not for: weights under other names (see `foreign.py`), nor the way back (see `fold.py`).
"""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy
import torch
from torch import Tensor

from model_adapters.config import IHA_KINDS, IHAConfig
from model_adapters.convert import gguf, shards
from model_adapters.convert.base import (
    Base,
    check_weights,
    iha_config,
    iha_fields,
    open_base,
)
from model_adapters.convert.errors import ConversionError
from model_adapters.convert.output import (
    CHECKING,
    READING,
    UNPACKING,
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


@dataclass(frozen=True)
class Recipe:
    """How a plain model becomes an IHA model.

    Attributes:
        pseudo_heads: P.
        schedule: The kind of each layer, as `schedule.layer_kinds` reads it.
        window: W in tokens, or None to derive it.
        train_length: N in tokens, for W = N / (2 P^2); None takes the base's longest context.
        init: "exact", "paper" or "noisy".
        noise: Standard deviation of what is added to alpha and collapse; None for the usual one.
        seed: Of the noise; None for 0.
    """

    pseudo_heads: int
    schedule: str = "all"
    window: int | None = None
    train_length: int | None = None
    init: str = "exact"
    noise: float | None = None
    seed: int | None = None


def upcycle(
    base: Path,
    out: Path,
    recipe: Recipe,
    *,
    dtype: str = "bfloat16",
    progress: Progress = silent,
) -> Outcome:
    """Write an IHA checkpoint made from a plain one.

    Args:
        base: A checkpoint folder, or a GGUF file, which Transformers unpacks first (in memory of
            the whole model, and on disk beside `out` for the while).
        out: A folder that does not exist yet.
        recipe: What to make of it.
        dtype: Type of the weights of a GGUF file once unpacked; others keep theirs.
        progress: Told phases and bytes.

    Returns:
        What was made.

    Raises:
        AdapterError: The base, the recipe or the folder does not do; nothing is left behind.
    """
    noise, seed = check_init(recipe.init, recipe.noise, recipe.seed)
    recipe = replace(recipe, noise=noise, seed=seed)
    if base.suffix != ".gguf":
        with appearing(out) as folder:
            name = {"name": base.resolve().name}
            return _upcycle(open_base(base), name, folder, out, recipe, progress)
    gguf.check(base, dtype)
    with appearing(out) as folder:
        unpacked = folder.with_name("unpacked")
        progress(UNPACKING, 0, base.stat().st_size)
        gguf.unpack(base, unpacked, dtype)
        name = {"name": base.name, "unpacked_as": dtype}
        return _upcycle(open_base(unpacked), name, folder, out, recipe, progress)


def _upcycle(
    base: Base,
    name: dict[str, str],
    folder: Path,
    out: Path,
    recipe: Recipe,
    progress: Progress,
) -> Outcome:
    # What the configuration tells comes first: reading all weights takes a while.
    config, fields = plan(base, recipe)
    # Where weights are missing or broken, the check says so.
    progress(CHECKING, 0, shards.size_on_disk(base.folder))
    before = check_weights(base)
    size = shards.size_of(base.folder)
    check_room(folder, size)
    progress(WRITING, 0, size)
    edit = _adding(config, recipe)
    shards.rewrite(base.folder, folder, edit, lambda count: progress(WRITING, count, size))
    write_json(folder / "config.json", fields)
    copied, left = copy_companions(base.folder, folder)
    source = name | {"fingerprint": before.fingerprint}
    write_provenance(folder, "upcycle", source, **asdict(recipe))
    progress(READING, 0, shards.size_of(folder))
    made = checked(folder, out)
    return Outcome(made, before, copied, left, *_told(config, recipe, keeps=base.has_windows))


def _adding(config: IHAConfig, recipe: Recipe) -> shards.Edit:
    """The edit that puts a layer's four tensors into the shard of its query projection."""

    def add(tensors: dict[str, Tensor]) -> None:
        for layer, kind in enumerate(config.layer_kinds):
            prefix = f"model.layers.{layer}.self_attn."
            anchor = tensors.get(f"{prefix}q_proj.weight")
            if anchor is None or kind not in IHA_KINDS:
                continue
            made = layer_tensors(
                config,
                layer,
                recipe.init,
                noise=recipe.noise or 0.0,
                seed=recipe.seed or 0,
                dtype=anchor.dtype,
            )
            tensors |= {f"{prefix}{name}": tensor for name, tensor in made.items()}

    return add


def plan(base: Base, recipe: Recipe) -> tuple[IHAConfig, dict[str, object]]:
    """The new configuration, parsed and as `config.json` holds it.

    Raises:
        AdapterError: The recipe does not go with the base.
    """
    fields = iha_fields(
        base,
        pseudo_heads=recipe.pseudo_heads,
        kinds=recipe.schedule,
        window=recipe.window,
        train_length=recipe.train_length,
        pseudo_rope=ROPES[recipe.init],
    )
    return iha_config(fields, base.folder), fields


def _told(config: IHAConfig, recipe: Recipe, *, keeps: bool) -> tuple[dict[str, str], list[str]]:
    """Facts and notes; `keeps` is whether the windows are the base's own."""
    facts, notes = _facts(config, recipe), _notes(config, recipe)
    if keeps:
        facts["window"] = f"{config.iha_window} tokens, the base's own"
        if recipe.init == "exact":
            notes = ["init 'exact' keeps the base's function and its windows, up to rounding."]
    return facts, notes


def _facts(config: IHAConfig, recipe: Recipe) -> dict[str, str]:
    counted = Counter(config.layer_kinds)
    facts = {
        "layers": ", ".join(f"{count} {kind}" for kind, count in counted.items()),
        "pseudo-heads": str(config.num_pseudo_heads),
        "pseudo_rope": config.pseudo_rope,
        "init": recipe.init
        + (f", noise {recipe.noise:g}, seed {recipe.seed}" * bool(recipe.noise)),
    }
    if config.iha_window is not None:
        facts["window"] = f"{config.iha_window} tokens"
        if recipe.window is None:
            length = recipe.train_length or config.max_position_embeddings
            facts["window"] += f" = {length} / (2 * {config.num_pseudo_heads}^2)"
    return facts


def _notes(config: IHAConfig, recipe: Recipe) -> list[str]:
    """What became of the base's function."""
    if recipe.init == "paper":
        return [
            "init 'paper' changes the function: virtual positions and the mean of the pseudo-heads "
            "are not the base's attention, and the model has to be trained."
        ]
    if recipe.init == "noisy":
        return [
            f"init 'noisy' changes the function by noise of {recipe.noise:g} in every IHA layer."
        ]
    if config.iha_window is None:
        return ["init 'exact' keeps the base's function, up to rounding."]
    return [
        f"init 'exact' keeps the base's function up to {config.iha_window} tokens; beyond, the "
        f"{sum(config.window(i) is not None for i in range(config.num_hidden_layers))} windowed "
        "layers no longer see everything, and the model has to be trained."
    ]


INITS = ("exact", "paper", "noisy")
#: How virtual tokens are rotated for each start; only with "token" is the base's function kept.
ROPES = {"exact": "token", "paper": "virtual", "noisy": "token"}
#: Standard deviation of the noise where none is given; the last is Llama's usual init range.
NOISE = {"exact": 0.0, "paper": 0.0, "noisy": 0.02}


def check_init(init: str, noise: float | None, seed: int | None = None) -> tuple[float, int]:
    """The noise to add and its seed, 0 where none is given.

    Raises:
        ConversionError: There is no such start, or it does not go with the noise or the seed.
    """
    if init not in INITS:
        raise ConversionError(f"init is {init!r}: use one of {', '.join(INITS)}.")
    size = NOISE[init] if noise is None else noise
    if not 0 <= size <= 10:
        raise ConversionError(f"noise is {size:g}: give a standard deviation from 0 to 10.")
    if init == "exact" and size:
        raise ConversionError(f"noise is {size:g}, but init 'exact' has none: use init 'noisy'.")
    if seed is not None and not size:
        raise ConversionError(
            f"seed is {seed}, but init {init!r} without noise draws nothing: leave it out, or add "
            "noise with init 'noisy'."
        )
    if seed is not None and seed < 0:
        raise ConversionError(f"seed is {seed}: give a whole number of 0 or more.")
    return size, seed or 0


def identity_alpha(heads: int, pseudo_heads: int) -> Tensor:
    """[M, M, P] float32: every pseudo-head its own head."""
    return torch.eye(heads).unsqueeze(-1).repeat(1, 1, pseudo_heads)


def last_collapse(heads: int, pseudo_heads: int) -> Tensor:
    """[H, H*P] float32: each head takes its last pseudo-head, which alone sees all P copies."""
    matrix = torch.zeros(heads, heads, pseudo_heads)
    matrix[:, :, -1] = torch.eye(heads)
    return matrix.flatten(1)


def mean_collapse(heads: int, pseudo_heads: int) -> Tensor:
    """[H, H*P] float32: each head the mean of its pseudo-heads."""
    return torch.eye(heads).repeat_interleave(pseudo_heads, dim=1) / pseudo_heads


def layer_tensors(
    config: IHAConfig, layer: int, init: str, *, noise: float, seed: int, dtype: torch.dtype
) -> dict[str, Tensor]:
    """The four tensors of one IHA layer, by their last name.

    Args:
        config: For H, G and P.
        layer: Index of the layer.
        init: One of `INITS`.
        noise: Standard deviation of what is added to each of the four, drawn in float32.
        seed: Of the noise.
        dtype: Of the tensors.

    Returns:
        `alpha_q` [H, H, P], `alpha_k` and `alpha_v` [G, G, P], `collapse` [H, H*P].
    """
    heads, kv_heads, pseudo = config.num_attention_heads, config.kv_heads, config.num_pseudo_heads
    collapse = mean_collapse if init == "paper" else last_collapse
    start = {
        "alpha_q": identity_alpha(heads, pseudo),
        "alpha_k": identity_alpha(kv_heads, pseudo),
        "alpha_v": identity_alpha(kv_heads, pseudo),
        "collapse": collapse(heads, pseudo),
    }
    if config.collapse == "per_head":
        start["collapse"] = start["collapse"].unflatten(1, (-1, pseudo)).diagonal().T
    if noise:
        for index, (name, tensor) in enumerate(start.items()):
            start[name] = tensor + noise * _normal(tuple(tensor.shape), seed, layer, index)
    return {name: tensor.to(dtype).contiguous() for name, tensor in start.items()}


def _normal(shape: tuple[int, ...], *key: int) -> Tensor:
    """Philox, whose stream is the same on every machine; a stream a tensor."""
    draw = numpy.random.Generator(numpy.random.Philox(numpy.random.SeedSequence(key)))
    return torch.from_numpy(draw.standard_normal(shape, dtype=numpy.float32))
