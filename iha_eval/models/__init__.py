"""The model classes that lm-eval calls, `iha-vllm` and `iha-hf`, and what both share.

Not for: the networks themselves (see `model_adapters`).
"""

MODELS = {
    "iha-vllm": "iha_eval.models.vllm.model:IHAVLLM",
    "iha-hf": "iha_eval.models.hf.model:IHAHF",
}
"""Name for `--model` -> where the class is; nothing heavy is imported to know it."""
