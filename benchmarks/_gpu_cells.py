"""What `gpu.py` measures, cell by cell, the most telling first, and for how long at most.

For: the parent, which runs each cell in a process of its own, and that process.
Not for: measuring; imports neither torch nor vLLM, so that a list is there at once.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

BASE: dict[str, Any] = {
    "max_position_embeddings": 32768,
    "bos_token_id": None,
    "tie_word_embeddings": True,
}
SHAPES: dict[str, dict[str, Any]] = {
    # The paper's sizes.
    "2.4B": {
        "vocab_size": 128256,
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 26,
        "num_attention_heads": 20,
        "num_key_value_heads": 20,
        "head_dim": 128,
    },
    # Llama 3.2 1B's.
    "1B": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
    },
    # For machines without a GPU: that everything runs, not how fast.
    "tiny": {
        "vocab_size": 4096,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
    },
}
PLAIN = "plain"
# Most seconds between two signs of life of a cell: a row, or an engine that is ready.
STEP = 60


@dataclass(frozen=True)
class ServedVariant:
    """One served model of a cell.

    Attributes:
        label: what it goes by in tables; `PLAIN` is what the others are divided by.
        pseudo_heads: P; None is the plain Llama.
        engine: arguments of `vllm.LLM` beside the usual ones.
    """

    label: str
    pseudo_heads: int | None = None
    engine: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GpuCell:
    """One result file, of rows that are written as they are measured.

    Attributes:
        name: of the cell, and so of its file.
        kind: "kernel", "attention", "correct" or "serving".
        shape: a key of `SHAPES`.
        seconds: it is ended after so long; what is measured by then stays.
        context: N of a serving cell.
        variants: models of a serving cell.
        repeats: rounds in which they take turns.
        cache: bytes of KV cache for each.
        tiny: smallest sizes, on any machine.
    """

    name: str
    kind: str
    shape: str
    seconds: int
    context: int = 0
    variants: tuple[ServedVariant, ...] = ()
    repeats: int = 5
    cache: int = 12 << 30
    tiny: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """What a finished cell must agree in, to be taken as it is."""
        return asdict(self) | {"sizes": SHAPES[self.shape]}


def iha(pseudo_heads: int, suffix: str = "", **engine: Any) -> ServedVariant:
    """An IHA model."""
    return ServedVariant(f"IHA P={pseudo_heads}{suffix}", pseudo_heads, engine)


def fused(pseudo_heads: int) -> ServedVariant:
    """The same with the fused pass, which is off otherwise."""
    return iha(pseudo_heads, ", fused", additional_config={"iha_fused": True})


def _against_plain(shape: str, context: int, *pseudo_heads: int) -> GpuCell:
    models = (ServedVariant(PLAIN), *map(iha, pseudo_heads))
    name = "-".join(map(str, (shape, context, *(f"P{pseudo}" for pseudo in pseudo_heads))))
    return GpuCell(name, "serving", shape, 180, context, models, repeats=3)


def gpu_cells() -> list[GpuCell]:
    """Everything, the most telling first: without engines, one exact engine, the first pair."""
    both = (ServedVariant(PLAIN), iha(4), fused(4))
    chunks = (
        ServedVariant(PLAIN, engine={"max_num_batched_tokens": 8192}),
        *(
            iha(4, f", {count} batched tokens", max_num_batched_tokens=count)
            for count in (2048, 8192)
        ),
    )
    return [
        GpuCell("kernel", "kernel", "2.4B", 60),
        GpuCell("attention", "attention", "2.4B", 120),
        GpuCell("correct", "correct", "tiny", 120),
        _against_plain("2.4B", 16384, 2),
        _against_plain("2.4B", 4096, 2),
        _against_plain("2.4B", 16384, 4),
        _against_plain("2.4B", 256, 2),
        GpuCell("fused-2.4B-16384", "serving", "2.4B", 240, 16384, both, repeats=3),
        GpuCell("fused-2.4B-256", "serving", "2.4B", 240, 256, both, repeats=3),
        _against_plain("1B", 16384, 2, 4),
        GpuCell("batched-2.4B-16384", "serving", "2.4B", 240, 16384, chunks, repeats=3),
        _against_plain("1B", 4096, 2, 4),
        GpuCell("correct-more", "correct", "tiny", 240),
    ]


def tiny_cells() -> list[GpuCell]:
    """Every kind of cell once, in smallest sizes."""
    models = (ServedVariant(PLAIN), iha(2, max_num_batched_tokens=64))
    return [
        GpuCell("tiny-kernel", "kernel", "tiny", 120, tiny=True),
        GpuCell("tiny-attention", "attention", "tiny", 240, tiny=True),
        GpuCell("tiny-correct", "correct", "tiny", 240, tiny=True),
        GpuCell("tiny-serving", "serving", "tiny", 300, 192, models, 1, 4 << 20, tiny=True),
    ]
