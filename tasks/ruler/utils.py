"""What the YAML files of this folder name with `!function`.

For: lm-eval, which looks for such names beside the YAML file.
Not for: code; it is in iha_eval.ruler.
"""

from iha_eval.ruler import RulerGroup, RulerTask, score

__all__ = ["RulerGroup", "RulerTask", "score"]
