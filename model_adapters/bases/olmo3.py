"""OLMo 3: OLMo 2 with windows in most layers, which may rotate otherwise than the others."""

from transformers import Olmo3ForCausalLM

from model_adapters.bases import olmo2
from model_adapters.bases.plain import PlainBase

BASE = PlainBase("olmo3", Olmo3ForCausalLM, variant=olmo2.BASE.variant, has_windows=True)
