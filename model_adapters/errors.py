"""Exceptions of the adapters: one sentence that names the thing, its value and the remedy.

For: configurations and checkpoints that a user can mend.
Not for: bugs, which stay ordinary exceptions; nor for evaluation, which has errors of its own.
"""


class AdapterError(ValueError):
    """Something about a checkpoint or its configuration that the user can mend."""


class ConfigError(AdapterError):
    """A field of an IHA configuration has a value that cannot be meant."""


class CheckpointError(AdapterError):
    """A checkpoint folder cannot be served as it stands."""


class BackendError(AdapterError):
    """The serving engine was set up in a way that IHA cannot run on."""
