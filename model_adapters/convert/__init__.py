"""From plain Llama to IHA and back, and from other people's state dicts to ours.

For: making checkpoints that `model_adapters` can load, without training. Not for: checking that
two checkpoints compute the same, or looking inside one.
"""

from model_adapters.convert.errors import ConversionError
from model_adapters.convert.fold import to_plain
from model_adapters.convert.foreign import MapMixing, StateDictMap, from_state_dict
from model_adapters.convert.output import Outcome
from model_adapters.convert.rules import NameMap, Rule
from model_adapters.convert.to_iha import Recipe, upcycle

#: Its name from when there was no other base.
to_llama = to_plain

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
    "to_plain",
    "upcycle",
]
