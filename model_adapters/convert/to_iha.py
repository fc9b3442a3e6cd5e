"""From a plain Llama to IHA: the four tensors of each IHA layer are added, nothing is changed.

For: `iha-eval convert BASE` and whoever starts training from a trained model.
Not for: weights under other names (see `foreign.py`), nor the way back (see `fold.py`).
"""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from model_adapters.config import IHA_KINDS, IHAConfig
from model_adapters.convert import gguf, init, shards
from model_adapters.convert.base import (
    Base,
    check_weights,
    iha_config,
    iha_fields,
    open_base,
)
from model_adapters.convert.folder import (
    appearing,
    check_room,
    copy_companions,
    write_json,
    write_provenance,
)
from model_adapters.convert.output import (
    CHECKING,
    READING,
    UNPACKING,
    WRITING,
    Outcome,
    Progress,
    checked,
    silent,
)


@dataclass(frozen=True)
class Recipe:
    """How a plain model becomes an IHA model.

    Attributes:
        pseudo_heads: P.
        schedule: the kind of each layer, as `schedule.layer_kinds` reads it.
        window: W in tokens, or None to derive it.
        train_length: N in tokens, for W = N / (2 P^2); None takes the base's longest context.
        init: "exact", "paper" or "noisy".
        noise: standard deviation of what is added to alpha and collapse; None for the usual one.
        seed: of the noise; None for 0.
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
        base: a checkpoint folder, or a GGUF file, which Transformers unpacks first (in memory of
            the whole model, and on disk beside `out` for the while).
        out: a folder that does not exist yet.
        recipe: what to make of it.
        dtype: type of the weights of a GGUF file once unpacked; others keep theirs.
        progress: told phases and bytes.

    Returns:
        What was made.

    Raises:
        AdapterError: the base, the recipe or the folder does not do; nothing is left behind.
    """
    noise, seed = init.check(recipe.init, recipe.noise, recipe.seed)
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
    return Outcome(made, before, copied, left, _facts(config, recipe), _notes(config, recipe))


def _adding(config: IHAConfig, recipe: Recipe) -> shards.Edit:
    """The edit that puts a layer's four tensors into the shard of its query projection."""

    def add(tensors: dict[str, Tensor]) -> None:
        for layer, kind in enumerate(config.layer_kinds):
            prefix = f"model.layers.{layer}.self_attn."
            anchor = tensors.get(f"{prefix}q_proj.weight")
            if anchor is None or kind not in IHA_KINDS:
                continue
            made = init.layer_tensors(
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
        AdapterError: the recipe does not go with the base.
    """
    fields = iha_fields(
        base,
        pseudo_heads=recipe.pseudo_heads,
        kinds=recipe.schedule,
        window=recipe.window,
        train_length=recipe.train_length,
        pseudo_rope=init.ROPES[recipe.init],
    )
    return iha_config(fields, base.folder), fields


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
