"""The served model's rotary embedding at virtual positions, one table for all layers.

For: `model.py`. Not for: the Transformers model, whose frequencies it takes; nor for the pass
that rotates and writes the cache at once (`fused/`), which reads the same table.
"""

import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from vllm.model_executor.layers.rotary_embedding.base import RotaryEmbedding

from model_adapters.config import IHAConfig


class VirtualRotaryEmbedding(RotaryEmbedding):
    """vLLM's rotary embedding over a table that reaches the last virtual position.

    Its frequencies come from the function that the Transformers model uses.

    Args:
        config: the model's.
        tokens: the longest sequence.
        dtype: of the table.
    """

    def __init__(self, config: IHAConfig, tokens: int, dtype: torch.dtype) -> None:
        # Set first: the base's constructor asks for the table.
        self.config = config
        self.pseudo_heads = config.num_pseudo_heads
        self.is_virtual = config.pseudo_rope == "virtual"
        width, reach = config.head_width, self.pseudo_heads if self.is_virtual else 1
        super().__init__(width, width, tokens * reach, 0.0, True, dtype)
        self.offsets: Tensor
        self.register_buffer("offsets", torch.arange(self.pseudo_heads), persistent=False)
        self._step: tuple[Tensor, Tensor] | None = None

    def _compute_cos_sin_cache(self) -> Tensor:
        """[positions, d]: cosines, then sines."""
        with torch.device("cpu"):
            rope = LlamaRotaryEmbedding(self.config)
            positions = torch.arange(self.max_position_embeddings, dtype=torch.float32)
            angles = torch.outer(self.config.rope_sign * positions, rope.inv_freq)
            table: Tensor = torch.cat([angles.cos(), angles.sin()], dim=-1)
            table *= rope.attention_scaling
        return table.to(torch.get_default_device())

    def begin_step(self) -> None:
        """Forget the last step's positions, whose memory the next step's may stand in."""
        self._step = None

    def virtual_positions(self, positions: Tensor) -> Tensor:
        """[T] to [T*P]; made by a step's first layer and kept for the others.

        Args:
            positions: [T], the same object for every layer of a step.
        """
        # A compiler sees for itself that all layers compute the same.
        if torch.compiler.is_compiling():
            return self._spread(positions)
        # Read once: vLLM may run two halves of a batch in two threads.
        step = self._step
        if step is None or step[0] is not positions:
            step = self._step = positions, self._spread(positions)
        return step[1]

    def _spread(self, positions: Tensor) -> Tensor:
        if self.is_virtual:
            return (positions.unsqueeze(1) * self.pseudo_heads + self.offsets).flatten()
        return positions.repeat_interleave(self.pseudo_heads)
