"""Makes IHA known to vLLM; vLLM calls `register` in every process it starts.

For: the entry point group `vllm.general_plugins`.
Not for: being imported by anything else; it must stay cheap and import no part of vLLM's engine
before vLLM does.
"""


def register() -> None:
    """Register configurations with Transformers and models, lazily, with vLLM."""
    from transformers import AutoConfig
    from vllm import ModelRegistry

    from model_adapters.config import IHAConfig, IHANanoChatConfig

    for config, module in ((IHAConfig, "model"), (IHANanoChatConfig, "nanochat")):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        name = config.architecture
        if name not in ModelRegistry.get_supported_archs():
            ModelRegistry.register_model(name, f"model_adapters.vllm.{module}:{name}")
