"""`IHANanoChatForCausalLM`: nanochat's decoder around the attention of `modeling.py`.

For: the same as the Llama, with norms that have no weights, squared ReLU and capped logits; and,
where the configuration says so, value embeddings, residual lambdas, skips and smear.
Not for: attention, which is that of all bases.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer
from transformers.models.nanochat.modeling_nanochat import (
    NanoChatForCausalLM,
    NanoChatMLP,
    NanoChatRMSNorm,
)

from model_adapters.config import IHANanoChatConfig
from model_adapters.hf.attention import Packed
from model_adapters.hf.modeling import IHALlamaDecoderLayer, IHALlamaModel, IHALlamaPreTrainedModel
from model_adapters.mixing import ResidualStream


class IHANanoChatDecoderLayer(IHALlamaDecoderLayer):
    """Llama's decoder layer with nanochat's norms and, unless it is gated, its MLP."""

    def __init__(self, config: IHANanoChatConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        if config.hidden_act == "relu2":
            self.mlp = NanoChatMLP(config)  # type: ignore[assignment]
        self.input_layernorm = NanoChatRMSNorm(config.rms_norm_eps)  # type: ignore[assignment]
        self.post_attention_layernorm = NanoChatRMSNorm(config.rms_norm_eps)  # type: ignore[assignment]


class IHANanoChatPreTrainedModel(IHALlamaPreTrainedModel):
    """Weight initialisation of what nanochat has beside its layers."""

    config: IHANanoChatConfig
    config_class = IHANanoChatConfig
    _no_split_modules = ["IHANanoChatDecoderLayer"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, IHANanoChatModel):
            for name, start in STARTS.items():
                if hasattr(module, name):
                    nn.init.constant_(getattr(module, name), start)


#: Lambdas, and what they are before training, where the model is nanochat without them.
STARTS = {
    "residual_lambdas": 1.0,
    "embedding_lambdas": 0.0,
    "skip_lambdas": 0.0,
    "smear_lambda": 0.0,
}


class IHANanoChatModel(ResidualStream, IHANanoChatPreTrainedModel, IHALlamaModel):
    """nanochat's decoder with IHA layers."""

    def __init__(self, config: IHANanoChatConfig) -> None:
        super().__init__(config)
        self.layers = nn.ModuleList(
            IHANanoChatDecoderLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = NanoChatRMSNorm(config.rms_norm_eps)  # type: ignore[assignment]
        self.add_lambdas()
        self.post_init()  # type: ignore[no-untyped-call]

    def _embedded(
        self, hidden: Tensor, position_ids: Tensor, packed: Packed | None, cache: Cache | None
    ) -> Tensor:
        """Norm embeddings [B, T, D], and give each token some of the one before."""
        hidden = self.norm(hidden)
        if self.config.smear_channels is None:
            return hidden
        tokens = hidden.shape[1]
        before = nn.functional.pad(hidden, (0, 0, 1, 0))[:, :tokens]
        if cache is not None:
            # The layer after the last holds the newest embedding, as keys of one head.
            if len(cache.layers) == len(self.layers):
                # A cache of Transformers' own that was made for the layers alone.
                cache.layers.append(DynamicLayer())
            kept = cache.update(hidden[:, None], hidden[:, None, :, :0], len(self.layers))[0][:, 0]
            if kept.shape[1] > tokens:
                before = kept[:, -tokens - 1 : -1]
        begins = position_ids == 0
        if packed is not None:
            begins = torch.stack([_begins(lengths) for lengths in packed]).to(hidden.device)
        return self.smeared(hidden, before, begins)

    def _through(
        self, hidden: Tensor, input_ids: Tensor | None, run: Callable[..., Tensor]
    ) -> Tensor:
        """See `IHALlamaModel`."""

        def passed(index: int, states: Tensor) -> Tensor:
            return run(index, states, hidden, token_ids=input_ids)

        return self.through(hidden, passed)


class IHANanoChatForCausalLM(  # type: ignore[misc]
    IHANanoChatPreTrainedModel, NanoChatForCausalLM
):
    """nanochat's language model head, which caps logits, on `IHANanoChatModel`."""

    def __init__(self, config: IHANanoChatConfig) -> None:
        super().__init__(config)  # type: ignore[no-untyped-call]
        self.model: Any = IHANanoChatModel(config)
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False


def _begins(lengths: tuple[int, ...]) -> Tensor:
    """Boolean [T], where each of the packed sequences begins."""
    begins = torch.zeros(sum(lengths), dtype=torch.bool)
    begins[torch.tensor((0, *lengths[:-1])).cumsum(0)] = True
    return begins
