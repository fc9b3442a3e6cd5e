"""The served nanochat: its decoder around the attention of `model.py`.

For: vLLM, which loads `IHANanoChatForCausalLM` from here by name (see `plugin.py`).
Not for: attention, which is that of all bases; vLLM has no class of nanochat's own.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from vllm.compilation.decorators import support_torch_compile
from vllm.config import VllmConfig
from vllm.distributed import (
    get_tensor_model_parallel_rank,
    get_tensor_model_parallel_world_size,
    tensor_model_parallel_all_gather,
)
from vllm.model_executor.layers.activation import ReLUSquaredActivation
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.layers.linear import ColumnParallelLinear, RowParallelLinear
from vllm.model_executor.layers.logits_processor import LogitsProcessor
from vllm.model_executor.models.llama import LlamaModel

from model_adapters.config import IHANanoChatConfig
from model_adapters.errors import BackendError
from model_adapters.mixing import ResidualStream
from model_adapters.vllm.model import IHADecoderLayer, IHALlamaForCausalLM, IHAPagedAttention

# Between the scores of the token before and of any other; exp(-CLEAR) is 0 beside 1.
CLEAR = 200.0


class SquaredMLP(nn.Module):
    """Two products with a squared ReLU between them."""

    def __init__(self, config: IHANanoChatConfig, quant_config: Any, prefix: str) -> None:
        super().__init__()
        inner, outer = config.intermediate_size, config.hidden_size
        own: dict[str, Any] = {"bias": False, "quant_config": quant_config}
        self.fc1 = ColumnParallelLinear(outer, inner, prefix=f"{prefix}.fc1", **own)
        self.fc2 = RowParallelLinear(inner, outer, prefix=f"{prefix}.fc2", **own)
        self.act_fn = ReLUSquaredActivation()

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[T, D] to the same."""
        made, _ = self.fc1(hidden_states)
        made, _ = self.fc2(self.act_fn(made))
        output: Tensor = made
        return output


class PagedNanoChatDecoderLayer(IHADecoderLayer):
    """Attention and MLP behind norms without weights."""

    def __init__(self, vllm_config: VllmConfig, prefix: str = "") -> None:
        config: IHANanoChatConfig = vllm_config.model_config.hf_config
        # vLLM's own MLP is built first, and knows this function alone.
        gated = copy.copy(config)
        gated.hidden_act = "silu"
        super().__init__(vllm_config, prefix=prefix, config=gated)
        if config.hidden_act == "relu2":
            self.mlp = SquaredMLP(config, self.get_quant_config(vllm_config), f"{prefix}.mlp")
        self.input_layernorm, self.post_attention_layernorm = (
            RMSNorm(config.hidden_size, config.rms_norm_eps, has_weight=False) for _ in range(2)
        )

    def forward(  # type: ignore[override]
        self, positions: Tensor, hidden_states: Tensor, token_ids: Tensor | None, first: Tensor
    ) -> Tensor:
        """[T, D] to the same; `first` is what the first layer takes in."""
        normed = self.input_layernorm(hidden_states)
        hidden_states = hidden_states + self.self_attn(positions, normed, token_ids, first)
        made: Tensor = self.mlp(self.post_attention_layernorm(hidden_states))
        return hidden_states + made


class TokenBefore(nn.Module):
    """What the token before each one has, which may be of an earlier step.

    It is read from vLLM's own cache, so that chunks, shared prefixes and preemption are vLLM's
    matter: attention whose values are what is asked for, whose keys are the binary digits of
    positions, and whose queries are those of the position before. No other digits agree in all
    places, so the softmax is 1 there and 0 elsewhere. All pseudo-heads of a token hold the same.

    Args:
        config: the model's.
        vllm_config: for the cache.
        prefix: that of the model.
    """

    def __init__(self, config: IHANanoChatConfig, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        self.width = config.head_width
        # Laid out as the layer that sees most, whose blocks it then shares.
        reach = [config.window(i) or float("inf") for i in range(config.num_hidden_layers)]
        alike = reach.index(max(reach))
        recipe, ranks = config.recipe(alike), get_tensor_model_parallel_world_size()
        self.pseudo_heads = recipe.pseudo_heads
        before = torch.arange(self.pseudo_heads)
        if not bool(recipe.mask.visible(torch.tensor(self.pseudo_heads), before).any()):
            raise BackendError(
                "smear is served where a layer sees the token before, and all windows are of one: "
                "make a layer iha_global or full, or a window wider."
            )
        heads = max(1, config.kv_heads // ranks)
        self.ranks, self.part = ranks, heads * self.width
        digits = vllm_config.model_config.max_model_len.bit_length()
        if config.hidden_size % (ranks * self.part) or digits > self.width:
            raise BackendError(
                f"smear is served where hidden_size ({config.hidden_size}) is a multiple of the "
                f"numbers of all key heads ({ranks * self.part}), and head_dim ({self.width}) is "
                f"at least {digits}, the digits of the longest sequence."
            )
        # One digit that differs takes 2 * size^2 from the score.
        self.size = (CLEAR / (2 * recipe.scale)) ** 0.5
        self.register_buffer("places", 2 ** torch.arange(digits), persistent=False)
        self.attention = nn.ModuleList(
            IHAPagedAttention(
                config,
                alike,
                heads,
                heads,
                cache_config=vllm_config.cache_config,
                quant_config=None,
                prefix=f"{prefix}.layers.{config.num_hidden_layers + index}.self_attn.attn",
            )
            for index in range(config.hidden_size // (ranks * self.part))
        )

    def forward(self, positions: Tensor, hidden_states: Tensor) -> Tensor:
        """[T] and [T, D] to [T, D], which means nothing at position 0."""
        rank = get_tensor_model_parallel_rank()
        own = hidden_states.chunk(self.ranks, dim=-1)[rank].split(self.part, dim=-1)
        query, key = (self._digits(p, hidden_states.dtype) for p in (positions - 1, positions))
        parts = [
            attention(query, key, part.repeat_interleave(self.pseudo_heads, 0))
            for attention, part in zip(self.attention, own, strict=True)
        ]
        before = torch.cat(parts, dim=-1)[:: self.pseudo_heads]
        if self.ranks > 1:
            before = tensor_model_parallel_all_gather(before.contiguous())
        return before

    def _digits(self, positions: Tensor, dtype: torch.dtype) -> Tensor:
        """[T] to [T*P, heads*d]: plus or minus the size for each digit, in every head."""
        places: Any = self.places
        signs = ((positions.unsqueeze(-1) & places) > 0).to(dtype) * 2 - 1
        signs = nn.functional.pad(signs * self.size, (0, self.width - len(places)))
        return signs.repeat(1, self.part // self.width).repeat_interleave(self.pseudo_heads, 0)


@support_torch_compile(
    dynamic_arg_dims={
        name: {0: "b"}
        for name in ("input_ids", "positions", "intermediate_tensors", "inputs_embeds")
    }
)
class PagedNanoChatModel(ResidualStream, LlamaModel):
    """nanochat's decoder with IHA layers."""

    norm: RMSNorm
    layers: nn.ModuleList
    token_before: TokenBefore

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix, **kwargs)
        config: IHANanoChatConfig = vllm_config.model_config.hf_config
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps, has_weight=False)
        self.add_lambdas()
        if config.smear_channels is not None:
            self.token_before = TokenBefore(config, vllm_config, prefix)

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """[T] to [T, D]; arguments are vLLM's."""
        del intermediate_tensors
        embed: Any = self.embed_tokens
        hidden = self.norm(embed(input_ids) if inputs_embeds is None else inputs_embeds)
        if self.config.smear_channels is not None:
            before = self.token_before(positions, hidden)
            hidden = self.smeared(hidden, before, positions == 0)

        def passed(index: int, states: Tensor) -> Tensor:
            made: Tensor = self.layers[index](positions, states, input_ids, hidden)
            return made

        normed: Tensor = self.norm(self.through(hidden, passed))
        return normed


class IHANanoChatForCausalLM(IHALlamaForCausalLM):
    """The served model, whose logits are capped."""

    decoder_layer = PagedNanoChatDecoderLayer

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        config: IHANanoChatConfig = vllm_config.model_config.hf_config
        stages = vllm_config.parallel_config.pipeline_parallel_size
        if stages > 1:
            raise BackendError(
                f"pipeline_parallel_size is {stages}, but a nanochat's last layers read what its "
                "first ones gave: use tensor_parallel_size."
            )
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.logits_processor = LogitsProcessor(
            config.vocab_size, soft_cap=config.final_logit_softcapping
        )

    def _init_model(self, **kwargs: Any) -> PagedNanoChatModel:
        return PagedNanoChatModel(**kwargs)
