"""OLMo 2: RMS norms of whole projections, and of what attention and MLP give back."""

from transformers import Olmo2ForCausalLM

from model_adapters.bases.plain import PlainBase

BASE = PlainBase(
    "olmo2",
    Olmo2ForCausalLM,
    variant={
        "qk_norm": "projection_before_mixing",
        "qk_norm_weight": "projection",
        "block_norm": "after",
    },
)
