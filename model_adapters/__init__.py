"""IHA checkpoints and what can run them; importing this registers them with Transformers.

For: `AutoConfig`, `AutoModelForCausalLM` and whoever serves or trains IHA without evaluating it.
Not for: evaluation (see `iha_eval`); vLLM needs no import of this, its plugin entry point does it.
"""

import warnings

import transformers
from packaging.version import Version
from transformers import AutoConfig, AutoModelForCausalLM

from model_adapters.config import IHAConfig, IHANanoChatConfig
from model_adapters.errors import AdapterError, BackendError, CheckpointError, ConfigError
from model_adapters.hf.modeling import IHALlamaForCausalLM, IHALlamaModel
from model_adapters.hf.nanochat import IHANanoChatForCausalLM

# Releases under which the cached generation of the Transformers model was compared with the
# uncached one: from the first to before the second.
TESTED = ("5.5.3", "5.25")
if (
    not Version(TESTED[0])
    <= Version(Version(transformers.__version__).base_version)
    < Version(TESTED[1])
):
    warnings.warn(
        f"model_adapters is tested with Transformers {TESTED[0]} to before {TESTED[1]}, and "
        f"{transformers.__version__} is installed: iha-eval doctor checks whether generation is "
        "still right.",
        stacklevel=2,
    )

for _config, _model in (
    (IHAConfig, IHALlamaForCausalLM),
    (IHANanoChatConfig, IHANanoChatForCausalLM),
):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModelForCausalLM.register(_config, _model, exist_ok=True)

__all__ = [
    "AdapterError",
    "BackendError",
    "CheckpointError",
    "ConfigError",
    "IHAConfig",
    "IHALlamaForCausalLM",
    "IHALlamaModel",
    "IHANanoChatConfig",
    "IHANanoChatForCausalLM",
]
