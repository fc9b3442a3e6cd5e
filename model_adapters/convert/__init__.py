"""From plain Llama to IHA and back, and from other people's state dicts to ours.

For: making checkpoints that `model_adapters` can load, without training. Not for: checking that
two checkpoints compute the same, or looking inside one.
"""

from model_adapters.convert.errors import ConversionError
from model_adapters.convert.fold import to_llama
from model_adapters.convert.foreign import MapMixing, StateDictMap, from_state_dict
from model_adapters.convert.output import Outcome
from model_adapters.convert.rules import NameMap, Rule
from model_adapters.convert.to_iha import Recipe, upcycle

__all__ = [
    "ConversionError",
    "MapMixing",
    "NameMap",
    "Outcome",
    "Recipe",
    "Rule",
    "StateDictMap",
    "from_state_dict",
    "to_llama",
    "upcycle",
]
