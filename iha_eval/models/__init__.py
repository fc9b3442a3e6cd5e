"""The model classes that lm-eval calls, `iha-vllm` and `iha-hf`, and what both share.

Not for: the networks themselves (see `model_adapters`).
"""
