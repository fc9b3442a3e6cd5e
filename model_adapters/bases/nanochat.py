"""nanochat as Transformers has it: norms without weights, squared ReLU, capped logits."""

from transformers import NanoChatForCausalLM

from model_adapters.bases.plain import PlainBase
from model_adapters.config import IHANanoChatConfig
from model_adapters.hf.nanochat import IHANanoChatForCausalLM

BASE = PlainBase(
    "nanochat",
    NanoChatForCausalLM,
    variant={"qk_norm": IHANanoChatConfig.qk_norm},
    shared=("final_logit_softcapping",),
    iha_config=IHANanoChatConfig,
    hidden_act="relu2",
)

#: What came of it later, and slowrun: other fields of the IHA format, any of them.
LATER = PlainBase(
    IHANanoChatConfig.model_type,
    IHANanoChatForCausalLM,
    has_windows=True,
    iha_config=IHANanoChatConfig,
    is_own=True,
)
