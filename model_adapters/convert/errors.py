"""The exception of conversions: one sentence that names the thing, its value and the remedy.

For: what a user of a conversion can mend. Not for: bugs, nor for a checkpoint that is itself
broken, about which `model_adapters.errors.CheckpointError` speaks.
"""

from model_adapters.errors import AdapterError


class ConversionError(AdapterError):
    """A conversion that cannot be done as it was asked for."""
