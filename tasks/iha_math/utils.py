"""What the YAML files of this folder name with `!function`.

For: lm-eval, which looks for such names beside the YAML file.
Not for: code; it is in iha_eval.reasoning.
"""

from iha_eval.reasoning import MathTask

__all__ = ["MathTask"]
