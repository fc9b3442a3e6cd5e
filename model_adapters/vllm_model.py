"""The served IHA model: vLLM's Llama with an attention layer that mixes, interleaves, collapses.

For: vLLM, which loads `IHALlamaForCausalLM` from here by name (see `vllm_plugin.py`).
Not for: paged attention itself (`vllm_backend.py`) or training (`modeling.py`).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from vllm.config import VllmConfig
from vllm.distributed import (
    get_tensor_model_parallel_rank,
    get_tensor_model_parallel_world_size,
    tensor_model_parallel_all_gather,
    tensor_model_parallel_reduce_scatter,
)
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.layers.linear import QKVParallelLinear, RowParallelLinear
from vllm.model_executor.layers.rotary_embedding.base import RotaryEmbedding
from vllm.model_executor.models.llama import LlamaDecoderLayer, LlamaForCausalLM
from vllm.model_executor.models.utils import extract_layer_index
from vllm.v1.attention.selector import get_attn_backend
from vllm.v1.kv_cache_interface import KVCacheSpec

from model_adapters.config import IHA_KINDS, IHAConfig
from model_adapters.errors import BackendError, CheckpointError
from model_adapters.serving_rules import check_parallelism
from model_adapters.vllm_backend import CacheShape, block_tokens, iha_backend


class VirtualRotaryEmbedding(RotaryEmbedding):
    """vLLM's rotary embedding over a table that reaches the last virtual position.

    Its frequencies come from the function that the Transformers model uses.
    """

    def __init__(self, config: IHAConfig, positions: int, dtype: torch.dtype) -> None:
        # Set first: the base's constructor asks for the table.
        self.config = config
        width = config.head_width
        super().__init__(width, width, positions, 0.0, True, dtype)

    def _compute_cos_sin_cache(self) -> Tensor:
        """[positions, d]: cosines, then sines."""
        with torch.device("cpu"):
            rope = LlamaRotaryEmbedding(self.config)
            positions = torch.arange(self.max_position_embeddings, dtype=torch.float32)
            angles = torch.outer(positions, rope.inv_freq)
            table: Tensor = torch.cat([angles.cos(), angles.sin()], dim=-1)
            table *= rope.attention_scaling
        return table.to(torch.get_default_device())


class IHAPagedAttention(Attention):
    """vLLM's attention layer over virtual tokens, and its cache's description in tokens."""

    def __init__(self, config: IHAConfig, layer: int, heads: int, kv_heads: int, **kw: Any) -> None:
        cache_dtype = kw["cache_config"].cache_dtype if kw["cache_config"] else "auto"
        base = get_attn_backend(config.head_width, torch.get_default_dtype(), cache_dtype)
        self.cache_shape = CacheShape(config.pseudo_heads(layer), config.window(layer))
        self.base_backend = base
        self.has_both_kinds = len({kind in IHA_KINDS for kind in config.layer_kinds}) == 2
        self.model_pseudo_heads = config.num_pseudo_heads
        super().__init__(
            heads,
            config.head_width,
            config.head_width**-0.5,
            num_kv_heads=kv_heads,
            per_layer_sliding_window=self.cache_shape.kernel_window,
            attn_backend=iha_backend(base, self.cache_shape),
            **kw,
        )

    def get_kv_cache_spec(self, vllm_config: VllmConfig) -> KVCacheSpec:
        """P states per token, W (+1) tokens kept, and pages of one size in every layer."""
        one_kind = vllm_config.scheduler_config.disable_hybrid_kv_cache_manager
        if one_kind and self.has_both_kinds and self.model_pseudo_heads > 1:
            raise BackendError(
                "disable_hybrid_kv_cache_manager is set, but this model has plain and IHA layers, "
                "whose caches differ: leave it unset."
            )
        spec = super().get_kv_cache_spec(vllm_config)
        plain, iha = block_tokens(
            self.base_backend,
            vllm_config.cache_config.block_size,
            self.model_pseudo_heads,
            self.has_both_kinds,
        )
        tokens = iha if self.cache_shape.pseudo_heads > 1 else plain
        return self.cache_shape.for_scheduler(spec, tokens)


class IHAAttention(nn.Module):
    """One attention layer of any of the four kinds, split over tensor-parallel ranks by heads.

    Mixing needs every head of a token, so the projected heads are gathered; each rank makes
    the pseudo-heads of its own heads, and its part of the collapsed sum over all of them.
    """

    def __init__(
        self,
        config: IHAConfig,
        hidden_size: int,
        num_heads: int,
        num_kv_heads: int,
        max_position_embeddings: int,  # noqa: ARG002 - the rotary table is the model's
        quant_config: Any = None,
        bias: bool = False,
        bias_o_proj: bool = False,
        cache_config: Any = None,
        prefix: str = "",
        attn_type: str = "decoder",
    ) -> None:
        super().__init__()
        index = extract_layer_index(prefix)
        self.ranks = get_tensor_model_parallel_world_size()
        self.head_dim = config.head_width
        self.heads = num_heads // self.ranks
        self.kv_heads = max(1, num_kv_heads // self.ranks)
        self.kv_replicas = max(1, self.ranks // num_kv_heads)
        self.pseudo_heads = config.pseudo_heads(index)
        self.is_iha = config.layer_kinds[index] in IHA_KINDS
        self.qkv_proj = QKVParallelLinear(
            hidden_size,
            config.head_width,
            num_heads,
            num_kv_heads,
            bias=bias,
            quant_config=quant_config,
            prefix=f"{prefix}.qkv_proj",
        )
        self.o_proj = RowParallelLinear(
            num_heads * config.head_width,
            hidden_size,
            bias=bias_o_proj,
            quant_config=quant_config,
            prefix=f"{prefix}.o_proj",
        )
        if self.is_iha:
            self._add_mixing(num_heads, num_kv_heads)
        self.rotary_emb: VirtualRotaryEmbedding | None = None
        self.virtual_rope = config.pseudo_rope == "virtual"
        self.offsets: Tensor
        self.register_buffer("offsets", torch.arange(self.pseudo_heads), persistent=False)
        self.attn = IHAPagedAttention(
            config,
            index,
            self.heads,
            self.kv_heads,
            cache_config=cache_config,
            quant_config=quant_config,
            attn_type=attn_type,
            prefix=f"{prefix}.attn",
        )

    def _add_mixing(self, heads: int, kv_heads: int) -> None:
        """Parameters in the order the products want: pseudo-head, then local head.

        alpha becomes [P * local heads, all heads], the collapse [all heads, P * local heads].
        """
        rank, pseudo = get_tensor_model_parallel_rank(), self.pseudo_heads
        own = slice(rank * self.heads, (rank + 1) * self.heads)
        first = rank // self.kv_replicas * self.kv_heads
        kv_own = slice(first, first + self.kv_heads)

        def alpha(total: int, mine: slice) -> nn.Parameter:
            count = mine.stop - mine.start
            parameter = nn.Parameter(torch.empty(pseudo * count, total), requires_grad=False)

            def load(target: Tensor, stored: Tensor) -> None:
                _check_shape("alpha", stored, (total, total, pseudo))
                target.data.copy_(stored[:, mine].permute(2, 1, 0).reshape(target.shape))

            parameter.weight_loader = load  # type: ignore[attr-defined]
            return parameter

        def load_collapse(target: Tensor, stored: Tensor) -> None:
            _check_shape("collapse", stored, (heads, heads * pseudo))
            mine = stored.unflatten(1, (heads, pseudo))[:, own]
            target.data.copy_(mine.transpose(1, 2).reshape(target.shape))

        self.alpha_q = alpha(heads, own)
        self.alpha_k = alpha(kv_heads, kv_own)
        self.alpha_v = alpha(kv_heads, kv_own)
        self.collapse = nn.Parameter(torch.empty(heads, pseudo * self.heads), requires_grad=False)
        self.collapse.weight_loader = load_collapse  # type: ignore[attr-defined]

    def forward(self, positions: Tensor, hidden_states: Tensor) -> Tensor:
        """Project, mix, rotate, attend, collapse, project.

        Args:
            positions: [T].
            hidden_states: [T, D].

        Returns:
            [T, D].
        """
        assert self.rotary_emb is not None
        qkv, _ = self.qkv_proj(hidden_states)
        sizes = [self.heads * self.head_dim] + [self.kv_heads * self.head_dim] * 2
        query, key, value = qkv.split(sizes, dim=-1)
        if self.is_iha:
            query = self._mix(query, self.alpha_q)
            key = self._mix(key, self.alpha_k, self.kv_replicas)
            value = self._mix(value, self.alpha_v, self.kv_replicas)
        query, key = self.rotary_emb(self._virtual_positions(positions), query, key)
        attended = self.attn(query, key, value)
        if self.is_iha:
            attended = self._collapse(attended)
        output: Tensor
        output, _ = self.o_proj(attended)
        return output

    def _virtual_positions(self, positions: Tensor) -> Tensor:
        """[T] to [T*P]."""
        if self.pseudo_heads == 1:
            return positions
        if self.virtual_rope:
            return (positions.unsqueeze(1) * self.pseudo_heads + self.offsets).flatten()
        return positions.repeat_interleave(self.pseudo_heads)

    def _mix(self, states: Tensor, alpha: Tensor, replicas: int = 1) -> Tensor:
        """[T, local heads * d] to [T*P, local heads * d], from every rank's heads."""
        if self.ranks > 1:
            states = tensor_model_parallel_all_gather(states.contiguous())
        heads = states.unflatten(1, (-1, self.head_dim))
        # Ranks beyond the number of key heads hold copies.
        mixed: Tensor = alpha @ heads[:, ::replicas]
        return mixed.reshape(len(states) * self.pseudo_heads, -1)

    def _collapse(self, attended: Tensor) -> Tensor:
        """[T*P, local heads * d] to [T, local heads * d], summed over every rank's heads."""
        stacked = attended.reshape(-1, self.collapse.shape[1], self.head_dim)
        heads = (self.collapse @ stacked).flatten(1)
        if self.ranks > 1:
            heads = tensor_model_parallel_reduce_scatter(heads)
        return heads


class IHADecoderLayer(LlamaDecoderLayer):
    """vLLM's Llama layer around `IHAAttention`."""

    def __init__(self, vllm_config: VllmConfig, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(vllm_config, prefix=prefix, attn_layer_type=IHAAttention, **kwargs)


class IHALlamaForCausalLM(LlamaForCausalLM):
    """The served model; every layer's rotary table is one and the same."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        config: IHAConfig = vllm_config.model_config.hf_config
        parallel = vllm_config.parallel_config
        check_parallelism(
            config.num_attention_heads,
            config.kv_heads,
            tensor=parallel.tensor_parallel_size,
            pipeline=parallel.pipeline_parallel_size,
            decode_context=parallel.decode_context_parallel_size,
        )
        super().__init__(vllm_config=vllm_config, prefix=prefix, layer_type=IHADecoderLayer)
        reach = config.num_pseudo_heads if config.pseudo_rope == "virtual" else 1
        positions = vllm_config.model_config.max_model_len * reach
        rotary = VirtualRotaryEmbedding(config, positions, torch.get_default_dtype())
        for module in self.modules():
            if isinstance(module, IHAAttention):
                module.rotary_emb = rotary

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Llama's loading; IHA's own tensors bring their loaders."""
        loaded: set[str] = super().load_weights(weights)
        return loaded


def _check_shape(name: str, stored: Tensor, wanted: tuple[int, ...]) -> None:
    """Refuse what could be cut and reshaped into place all the same."""
    if tuple(stored.shape) != wanted:
        raise CheckpointError(
            f"{name} has shape {list(stored.shape)}, but config.json asks for "
            f"{list(wanted)}: run model_adapters.checkpoint.read on the folder for its name."
        )
