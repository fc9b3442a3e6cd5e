"""The mixing weights and the collapse of an IHA checkpoint as small matrices of magnitudes.

For: the heat maps of a report, where the checkpoint of the run is still at hand.
Not for: checking a checkpoint and telling by its fingerprint whether it is the one that was run,
which reads every weight once (model_adapters.checkpoint).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iha_eval.compare.inputs.runs import Run


def read_maps(run: Run) -> tuple[dict[str, Any] | None, list[str]]:
    """The matrices of each IHA layer, and a sentence if a checkpoint is there but not usable.

    alpha is [source head, destination head], the root mean square over pseudo-heads; collapse is
    [head, source head and pseudo-head], without signs.

    Args:
        run: The run whose checkpoint is meant.
    """
    checkpoint = run.part("config", "iha_eval", "checkpoint")
    recorded = checkpoint.get("fingerprint")
    if not (checkpoint.get("is_iha") and checkpoint.get("path") and recorded):
        return None, []
    folder = Path(str(checkpoint["path"]))
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        return None, []
    # Slow to import, and needed for nothing else in a report.
    from model_adapters import checkpoint as checkpoints

    try:
        stored = checkpoints.read(folder)
        if stored.fingerprint != recorded:
            return None, [
                f"{folder} is another checkpoint than the one that was run (fingerprint "
                f"{stored.fingerprint[:12]} against {recorded[:12]}): no maps of its alpha and "
                "collapse."
            ]
        return {"layers": _layers(folder, stored.config.layer_kinds)}, []
    # Half a checkpoint is no reason to go without a report.
    except Exception as error:
        return None, [
            f"{folder} cannot be read ({type(error).__name__}: {error}): no maps of its alpha and "
            "collapse."
        ]


def _layers(folder: Path, kinds: Sequence[str]) -> list[dict[str, Any]]:
    from model_adapters.inspection import magnitudes, read_layers
    from model_adapters.layout import IHA_TENSORS

    return [
        {"layer": layer.layer, "kind": kinds[layer.layer]}
        | {name: magnitudes(getattr(layer, name)) for name in IHA_TENSORS}
        for layer in read_layers(folder)
    ]
