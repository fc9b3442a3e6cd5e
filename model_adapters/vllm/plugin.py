"""Makes IHA known to vLLM; vLLM calls `register` in every process it starts.

For: the entry point group `vllm.general_plugins`.
Not for: being imported by anything else; it must stay cheap and import no part of vLLM's engine
before vLLM does.
"""

ARCHITECTURE = "IHALlamaForCausalLM"


def register() -> None:
    """Register the configuration with Transformers and the model, lazily, with vLLM."""
    from transformers import AutoConfig
    from vllm import ModelRegistry

    from model_adapters.config import IHAConfig

    AutoConfig.register(IHAConfig.model_type, IHAConfig, exist_ok=True)
    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, f"model_adapters.vllm.model:{ARCHITECTURE}")
