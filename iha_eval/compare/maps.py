"""The mixing weights and the collapse of an IHA checkpoint as small matrices of magnitudes.

For: the heat maps of a report, where the checkpoint of the run is still at hand.
Not for: checking a checkpoint (model_adapters.checkpoint); this reads four small tensors a layer,
not the weights, so it knows the run's checkpoint by its place and age, not by its fingerprint.
"""

import json
import re
from pathlib import Path
from typing import Any

from iha_eval.compare.runs import Run

_TENSOR = re.compile(r"^model\.layers\.(\d+)\.self_attn\.(alpha_q|alpha_k|alpha_v|collapse)$")

_DIGITS = 4


def read_maps(run: Run) -> tuple[dict[str, Any] | None, list[str]]:
    """The matrices of each IHA layer, and a sentence if a checkpoint is there but not usable.

    alpha is [source head, destination head], the root mean square over pseudo-heads; collapse is
    [head, source head and pseudo-head], without signs.

    Args:
        run: The run whose checkpoint is meant.
    """
    checkpoint = run.part("config", "iha_eval", "checkpoint")
    if not (checkpoint.get("is_iha") and checkpoint.get("path")):
        return None, []
    folder = Path(str(checkpoint["path"]))
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        return None, []
    begun = run.results.get("date")
    if isinstance(begun, int | float) and max(file.stat().st_mtime for file in files) > begun:
        return None, [
            f"{folder} was written after the run began: no maps of its alpha and collapse."
        ]
    try:
        return {"layers": _layers(folder, files)}, []
    # Half a checkpoint is no reason to go without a report.
    except Exception as error:
        return None, [
            f"{folder} cannot be read ({type(error).__name__}: {error}): no maps of its alpha and "
            "collapse."
        ]


def _layers(folder: Path, files: list[Path]) -> list[dict[str, Any]]:
    # Slow to import, and needed for nothing else in a report: numpy knows no bfloat16.
    from safetensors import safe_open

    kinds = json.loads((folder / "config.json").read_text(encoding="utf-8"))["iha_layer_types"]
    layers: dict[int, dict[str, Any]] = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                found = _TENSOR.match(name)
                if found:
                    number = int(found[1])
                    layer = layers.setdefault(number, {"layer": number, "kind": kinds[number]})
                    layer[found[2]] = _magnitudes(tensors.get_tensor(name))
    return [layers[number] for number in sorted(layers)]


def _magnitudes(tensor: Any) -> list[list[float]]:
    """Without signs, and without the axis of pseudo-heads where there is one."""
    values = tensor.double()
    flat = values.square().mean(-1).sqrt() if values.dim() == 3 else values.abs()
    return [[float(f"{x:.{_DIGITS}g}") for x in row] for row in flat.tolist()]
