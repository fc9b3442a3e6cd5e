"""The embedded pair: a small hybrid with IHA and its full-attention baseline, trained on retrieval.

For: `iha-vllm` without model_args, the demo and tests, so that the whole way runs anywhere.
Not for: what they were trained on and how (see their model cards and `recipes/needle`).
"""

from importlib import resources
from pathlib import Path

IHA, BASELINE = "embedded-iha", "embedded-baseline"
"""What the two go by where a checkpoint is named; the first is the default."""

DESCRIPTIONS = {
    IHA: (
        "embedded default checkpoint: hybrid 4:1, P=2, 3.2M parameters, trained on ruler_mk's "
        "prompts up to 4k tokens alone, one seed; it can do nothing else"
    ),
    BASELINE: (
        "embedded baseline: full attention in the embedded default's shape, 3.2M parameters, "
        "trained on the same batches, one seed; it can do nothing else"
    ),
}


def folder(name: str = IHA) -> Path:
    """The folder of one of the two, with weights, tokenizer and model card.

    Args:
        name: `IHA` or `BASELINE`.
    """
    return Path(str(resources.files("model_adapters"))) / "assets" / name
