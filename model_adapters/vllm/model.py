"""The served IHA model: vLLM's Llama with an attention layer that mixes, interleaves, collapses.

For: vLLM, which loads `IHALlamaForCausalLM` from here by name (see `plugin.py`).
Not for: paged attention itself (`backend.py`) or training (`hf/modeling.py`).
"""

import functools
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from vllm.config import VllmConfig, get_current_vllm_config
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.layers.linear import (
    LinearBase,
    QKVParallelLinear,
    RowParallelLinear,
    UnquantizedLinearMethod,
)
from vllm.model_executor.models.llama import LlamaDecoderLayer, LlamaForCausalLM
from vllm.model_executor.models.qwen3_moe import Qwen3MoeModel, Qwen3MoeSparseMoeBlock
from vllm.model_executor.models.utils import extract_layer_index
from vllm.v1.attention.backends.registry import AttentionBackendEnum
from vllm.v1.attention.selector import get_attn_backend
from vllm.v1.kv_cache_interface import KVCacheSpec

from model_adapters.config import IHA_KINDS, IHAConfig, LayerRecipe
from model_adapters.errors import BackendError, CheckpointError
from model_adapters.vllm import folding
from model_adapters.vllm.backend import iha_backend
from model_adapters.vllm.cache_spec import CacheShape, block_tokens
from model_adapters.vllm.fused.packed import Packed, equip
from model_adapters.vllm.mixing import PseudoHeads
from model_adapters.vllm.rotary import VirtualRotaryEmbedding
from model_adapters.vllm.serving_rules import (
    GPU_BACKENDS,
    SUPPORTED_BACKENDS,
    check_parallelism,
)

logger = logging.getLogger(__name__)

# What vLLM's CPU kernel of the RMS norm wants the width to be a multiple of.
NORM_UNIT = 16


def base_backend(width: int, dtype: torch.dtype, cache_dtype: Any) -> Any:
    """The backend that attention is derived from: vLLM's choice, if it can serve IHA.

    Where it cannot and nobody asked for it, as FLASHINFER on Blackwell, the first that can is
    taken and logged. It then stands in the engine's configuration, as if asked for.

    Args:
        width: d.
        dtype: the model's.
        cache_dtype: as vLLM names it.
    """
    attention_config = get_current_vllm_config().attention_config
    chosen = get_attn_backend(width, dtype, cache_dtype)
    if chosen.get_name() in SUPPORTED_BACKENDS or attention_config.backend is not None:
        return chosen
    for name in GPU_BACKENDS:
        attention_config.backend = AttentionBackendEnum[name]
        try:
            other = get_attn_backend(width, dtype, cache_dtype)
        except (ValueError, ImportError):
            attention_config.backend = None
            continue
        logger.warning(
            "vLLM would choose %s, which cannot serve IHA: %s is used", chosen.get_name(), name
        )
        return other
    return chosen


class IHAPagedAttention(Attention):
    """vLLM's attention layer over virtual tokens, and its cache's description in tokens."""

    def __init__(self, config: IHAConfig, layer: int, heads: int, kv_heads: int, **kw: Any) -> None:
        cache_dtype = kw["cache_config"].cache_dtype if kw["cache_config"] else "auto"
        base = base_backend(config.head_width, torch.get_default_dtype(), cache_dtype)
        recipe = config.recipe(layer)
        self.cache_shape = CacheShape(**asdict(recipe.mask))
        self.base_backend = base
        self.has_both_kinds = len({kind in IHA_KINDS for kind in config.layer_kinds}) == 2
        self.model_pseudo_heads = config.num_pseudo_heads
        self.after_loading: Callable[[], None] | None = None
        # Set where the engine was asked for the fused pass and can have it.
        self.packed: Packed | None = None
        super().__init__(
            heads,
            config.head_width,
            recipe.scale,
            num_kv_heads=kv_heads,
            per_layer_sliding_window=self.cache_shape.kernel_window,
            attn_backend=iha_backend(base, self.cache_shape),
            **kw,
        )

    def process_weights_after_loading(self, act_dtype: torch.dtype) -> None:
        """Called by vLLM after every way of loading, sharded states and reloads included."""
        super().process_weights_after_loading(act_dtype)
        if self.after_loading is not None:
            self.after_loading()

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


class IHAAttention(PseudoHeads):
    """One attention layer of any of the four kinds, split over tensor-parallel ranks by heads.

    A folded layer's projections are P times as large and there is nothing to mix or collapse; a
    plain layer is one of P = 1 that is always so.
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
        index = extract_layer_index(prefix)
        recipe = config.recipe(index)
        super().__init__(
            num_heads,
            num_kv_heads,
            config.head_width,
            recipe.pseudo_heads,
            collapse_per_head=recipe.collapse == "per_head",
        )
        self.recipe = recipe
        self.is_folded = recipe.is_iha and _is_folded(recipe, hidden_size, quant_config)
        # Ranks share projections out by heads: a folded one's heads are P times as wide.
        width = config.head_width * (self.pseudo_heads if self.is_folded else 1)
        self.qkv_proj = QKVParallelLinear(
            hidden_size,
            width,
            num_heads,
            num_kv_heads,
            bias=bias,
            quant_config=quant_config,
            prefix=f"{prefix}.qkv_proj",
        )
        self.o_proj = RowParallelLinear(
            num_heads * width,
            hidden_size,
            bias=bias_o_proj,
            quant_config=quant_config,
            prefix=f"{prefix}.o_proj",
        )
        if self.is_folded:
            rows = functools.partial(
                folding.arrange_input,
                heads=self.heads + 2 * self.kv_heads,
                pseudo_heads=self.pseudo_heads,
            )
            columns = functools.partial(
                folding.arrange_output, heads=self.heads, pseudo_heads=self.pseudo_heads
            )
            self.qkv_proj.quant_method = ArrangedProjection(rows, "weight", "bias")
            self.o_proj.quant_method = ArrangedProjection(columns, "weight")
        self.must_mix = recipe.is_iha and not self.is_folded
        self.add_norms_and_gate(config, index)
        if self.must_mix:
            self.add_mixing()
        self.rotary_emb: VirtualRotaryEmbedding | None = None
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
        if self.must_mix:
            self.attn.after_loading = self.fill_blocks

    def forward(
        self,
        positions: Tensor,
        hidden_states: Tensor,
        token_ids: Tensor | None = None,
        first: Tensor | None = None,
    ) -> Tensor:
        """Project, norm, mix, rotate, norm, attend, collapse, gate, project.

        Args:
            positions: [T].
            hidden_states: [T, D].
            token_ids: [T], for value embeddings.
            first: [T, D], what the first layer takes in, for them too.

        Returns:
            [T, D].
        """
        qkv, _ = self.qkv_proj(hidden_states)
        added = None
        if self.recipe.values is not None:
            assert first is not None
            added = self.value_embed(hidden_states, token_ids, first).flatten(1)
            if not self.recipe.values.after_mixing:
                *rest, value = qkv.split(self.sizes, dim=-1)
                qkv, added = torch.cat([*rest, value + added], dim=-1), None
        attended = self._attended(positions, qkv, added)
        output: Tensor
        heads = self._heads(attended, len(qkv))
        if self.head_gate is not None:
            heads = self.head_gate(heads.unflatten(1, (-1, self.head_dim)), hidden_states).flatten(
                1
            )
        output, _ = self.o_proj(heads)
        return output

    def _attended(self, positions: Tensor, qkv: Tensor, added: Tensor | None) -> Tensor:
        """[T, projected] to [T*P, h*d]; `added`, [T, g*d], goes to values of all pseudo-heads."""
        assert self.rotary_emb is not None
        if self.attn.packed is not None:
            table = self.rotary_emb.cos_sin_cache
            return self.attn.packed.attend(self.attn, qkv, positions, table)
        query, key, value = self._pseudo_heads(qkv)
        if added is not None:
            value = value + added.repeat_interleave(self.pseudo_heads, 0)
        query, key = self._rotated(positions, query, key)
        attended: Tensor = self.attn(query, key, value)
        return attended

    def _pseudo_heads(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """[T, projected] to [T*P, h*d] and twice [T*P, g*d]."""
        if self.recipe.norm_comes_first:
            query, key, value = qkv.split(self.sizes, dim=-1)
            qkv = torch.cat([*self._normed(query, key), value], dim=-1)
        if self.must_mix:
            return self.mix(qkv)
        own: tuple[Tensor, ...] = qkv.view(-1, sum(self.sizes)).split(self.sizes, dim=-1)
        return own

    def _rotated(self, positions: Tensor, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys of virtual tokens, turned in place, and normed if that comes last."""
        assert self.rotary_emb is not None
        if self.recipe.rope != "none":
            if self.pseudo_heads > 1:
                positions = self.rotary_emb.virtual_positions(positions)
            query, key = self.rotary_emb(positions, query, key)
        if self.recipe.qk_norm == "pseudo_head_after_rope":
            query, key = self._normed(query, key)
        return query, key

    def _normed(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """[.., h*d] and [.., g*d]."""
        assert self.q_norm is not None
        assert self.k_norm is not None
        query = self.q_norm(query.unflatten(-1, (-1, self.head_dim))).flatten(-2)
        return query, self.k_norm(key.unflatten(-1, (-1, self.head_dim))).flatten(-2)

    def _heads(self, attended: Tensor, tokens: int) -> Tensor:
        """[T*P, h*d] to what the output projection takes."""
        return self.collapsed(attended) if self.must_mix else attended.view(tokens, -1)

    def matrix_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of alphas and collapse in the checkpoint."""
        heads, kv_heads, pseudo = self.all_heads, self.all_kv_heads, self.pseudo_heads
        kv_alpha = (kv_heads, kv_heads, pseudo)
        return {
            "alpha_q": (heads, heads, pseudo),
            "alpha_k": kv_alpha,
            "alpha_v": kv_alpha,
            "collapse": (heads, pseudo if self.collapse_per_head else heads * pseudo),
        }

    def projections(self) -> dict[str, tuple[LinearBase, "ArrangedProjection"]]:
        """A folded layer's, by their names in a checkpoint, and what arranges them."""
        linears: dict[str, LinearBase] = {"qkv_proj": self.qkv_proj, "o_proj": self.o_proj}
        methods = {name: linear.quant_method for name, linear in linears.items()}
        return {
            name: (linears[name], method)
            for name, method in methods.items()
            if isinstance(method, ArrangedProjection)
        }


class ArrangedProjection(UnquantizedLinearMethod):
    """Puts a folded projection into the order of virtual tokens, before vLLM packs it away.

    Attributes:
        unordered: whether weights came from a checkpoint since; those of a sharded state of
            vLLM's own were in order when it was saved.
    """

    def __init__(self, arrange: Callable[[Tensor], Tensor], *names: str) -> None:
        """Arranges the parameters of these names."""
        super().__init__()
        self.arrange, self.names, self.unordered = arrange, names, False

    def put_in_order(self, layer: torch.nn.Module) -> None:
        """Arrange what was loaded, once."""
        for name in self.names if self.unordered else ():
            parameter = getattr(layer, name, None)
            if parameter is not None:
                parameter.data.copy_(self.arrange(parameter.data))
        self.unordered = False

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        """Called by vLLM when a projection has its weights, after a reload in place too."""
        self.put_in_order(layer)
        super().process_weights_after_loading(layer)


def _is_folded(recipe: LayerRecipe, hidden: int, quant_config: object) -> bool:
    config = get_current_vllm_config()
    quantization = None if quant_config is None else str(config.model_config.quantization)
    return folding.is_folded(
        config.additional_config, recipe.pseudo_heads, hidden, quantization, recipe.unfoldable()
    )


class IHADecoderLayer(LlamaDecoderLayer):
    """vLLM's Llama layer around `IHAAttention`, its norms where `block_norm` says."""

    def __init__(self, vllm_config: VllmConfig, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(vllm_config, prefix=prefix, attn_layer_type=IHAAttention, **kwargs)
        config: IHAConfig = vllm_config.model_config.hf_config
        if config.num_experts is not None:
            self.mlp = Qwen3MoeSparseMoeBlock(vllm_config, prefix=f"{prefix}.mlp")
        self.norms_come_after = config.block_norm == "after"
        if self.norms_come_after:
            del self.input_layernorm
            self.post_feedforward_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, positions: Tensor, hidden_states: Tensor, residual: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """[T, D] and what is to be added to it, to the same."""
        if not self.norms_come_after:
            made: tuple[Tensor, Tensor] = super().forward(positions, hidden_states, residual)
            return made
        stream = hidden_states if residual is None else hidden_states + residual
        attended = self.self_attn(positions=positions, hidden_states=stream)
        stream = stream + self.post_attention_layernorm(attended)
        return self.post_feedforward_layernorm(self.mlp(stream)), stream


def normed_at_once(
    norm: RMSNorm, states: Tensor, residual: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """RMS norm on a CPU by vLLM's kernel, which vLLM itself calls on GPUs alone.

    Here vLLM takes eight PyTorch calls: 26 microseconds a token of 512 numbers in place of 2. The
    kernel rounds once, not after each of them.

    Args:
        norm: one over the hidden states.
        states: [T, D]; with a residual, their memory is the result's.
        residual: [T, D], becomes the sum of both.
    """
    if torch.compiler.is_compiling() or norm.weight.dtype != states.dtype:
        native: Tensor | tuple[Tensor, Tensor] = norm.forward_native(states, residual)
        return native
    weight, epsilon = norm.weight, norm.variance_epsilon
    if residual is None:
        made = torch.empty_like(states)
        torch.ops._C.rms_norm(made, states, weight, epsilon)
        return made
    torch.ops._C.fused_add_rms_norm(states, residual, weight, epsilon)
    return states, residual


class IHALlamaForCausalLM(LlamaForCausalLM):
    """The served model; its layers share a rotary table, windowed ones may have another."""

    decoder_layer: type[IHADecoderLayer] = IHADecoderLayer

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
        super().__init__(vllm_config=vllm_config, prefix=prefix, layer_type=self.decoder_layer)
        if config.num_experts is not None:
            # Experts are stacked otherwise than the one MLP.
            self.model.hf_to_vllm_mapper = Qwen3MoeModel.hf_to_vllm_mapper
        tokens = vllm_config.model_config.max_model_len
        # By theta and scaling. Kept from torch.nn, which would list them as modules of the model's.
        self._rotary: dict[str, VirtualRotaryEmbedding] = {}
        for index, layer in enumerate(self._attention().values()):
            own = config.rotating(index)
            kind = str(own.rope_parameters)
            if kind not in self._rotary:
                dtype = torch.get_default_dtype()
                self._rotary[kind] = VirtualRotaryEmbedding(own, tokens, dtype)
            layer.rotary_emb = self._rotary[kind]
        equip((layer for layer in self._attention().values() if layer.must_mix), vllm_config)
        if str(vllm_config.device_config.device_type) == "cpu":
            for module in self.modules():
                if type(module) is RMSNorm and not module.weight.numel() % NORM_UNIT:
                    module._forward_method = functools.partial(normed_at_once, module)

    def _attention(self) -> dict[str, IHAAttention]:
        """Attention layers by the prefix of their tensors in the checkpoint."""
        modules = self.named_modules()
        return {f"{name}.": module for name, module in modules if isinstance(module, IHAAttention)}

    def forward(self, input_ids: Tensor, positions: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Llama's; arguments and result are vLLM's."""
        for rotary in self._rotary.values():
            rotary.begin_step()
        return super().forward(input_ids, positions, *args, **kwargs)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Llama's loading; IHA's own tensors bring their loaders, or are folded on the way.

        Raises:
            CheckpointError: a folded layer came in part, or again after vLLM has packed it.
        """
        layers = self._attention()
        folded = {name: layer for name, layer in layers.items() if layer.is_folded}
        shapes = {name: layer.matrix_shapes() for name, layer in folded.items()}
        parts = {
            f"{prefix}{name}.weight": part
            for prefix, layer in folded.items()
            for name, part in layer.projections().items()
        }
        # Whoever reloads in place has vLLM pack each projection as soon as it is whole.
        for _, method in parts.values():
            method.unordered = True
        loaded: set[str] = super().load_weights(folding.fold(weights, shapes))
        for prefix in folded:
            came = {name for name in parts if name.startswith(prefix)} & loaded
            packed = [name for name in came if not parts[name][0].weight.numel()]
            if len(came) == 1 or any(parts[name][1].unordered for name in packed):
                raise CheckpointError(
                    f"{prefix} is folded and can be loaded only whole and once here: start the "
                    "engine anew, use vLLM's reload_weights, or set iha_fold to 'never'."
                )
        for name, (linear, method) in parts.items():
            if name not in loaded:
                method.unordered = False
            elif not linear.weight.is_meta:
                method.put_in_order(linear)
        for layer in layers.values():
            # Also after vLLM's own loading; but who updates weights in place calls nothing else.
            if layer.must_mix and not layer.collapse.is_meta:
                layer.fill_blocks()
        return loaded
