"""What an IHA checkpoint's mixing weights and collapse have become: numbers and magnitudes.

For: `iha-eval inspect` and the maps of a report. Reads four small tensors a layer, not the rest.
Not for: checking a checkpoint (`model_adapters.checkpoint`), nor for what it computes.
"""

from model_adapters.inspection.matrices import (
    DEAD,
    CollapseMeasures,
    LayerTensors,
    MixingMeasures,
    magnitudes,
    measure_alpha,
    measure_collapse,
    read_layers,
)

__all__ = [
    "DEAD",
    "CollapseMeasures",
    "LayerTensors",
    "MixingMeasures",
    "magnitudes",
    "measure_alpha",
    "measure_collapse",
    "read_layers",
]
