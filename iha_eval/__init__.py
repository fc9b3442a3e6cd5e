"""Evaluate IHA checkpoints with lm-evaluation-harness, served by vLLM.

For: the version number, and the package's name. Importing it is cheap on purpose: the start-up hook
does so in every Python process of the environment.
Not for: re-exports; import from the sub-packages.
"""

__version__ = "0.1.0"
