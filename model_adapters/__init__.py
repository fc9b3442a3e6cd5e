"""IHA checkpoints and what can run them; importing this registers them with Transformers.

For: `AutoConfig`, `AutoModelForCausalLM` and whoever serves or trains IHA without evaluating it.
Not for: evaluation (see `iha_eval`); vLLM needs no import of this, its plugin entry point does it.
"""

from transformers import AutoConfig, AutoModelForCausalLM

from model_adapters.config import IHAConfig
from model_adapters.errors import AdapterError, BackendError, CheckpointError, ConfigError
from model_adapters.hf.modeling import IHALlamaForCausalLM, IHALlamaModel

AutoConfig.register(IHAConfig.model_type, IHAConfig, exist_ok=True)
AutoModelForCausalLM.register(IHAConfig, IHALlamaForCausalLM, exist_ok=True)

__all__ = [
    "AdapterError",
    "BackendError",
    "CheckpointError",
    "ConfigError",
    "IHAConfig",
    "IHALlamaForCausalLM",
    "IHALlamaModel",
]
