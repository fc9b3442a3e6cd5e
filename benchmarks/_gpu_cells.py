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
CONTEXTS = (16384, 4096, 256)


@dataclass(frozen=True)
class Variant:
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
class Cell:
    """One result file.

    Attributes:
        name: of the cell, and so of its file.
        kind: "kernel", "correct" or "serving".
        shape: a key of `SHAPES`.
        seconds: it is ended after so long, and not begun with less time left.
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
    variants: tuple[Variant, ...] = ()
    repeats: int = 5
    cache: int = 12 << 30
    tiny: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """What a finished cell must agree in, to be taken as it is."""
        return asdict(self) | {"sizes": SHAPES[self.shape]}


def iha(pseudo_heads: int, suffix: str = "", **engine: Any) -> Variant:
    """An IHA model."""
    return Variant(f"IHA P={pseudo_heads}{suffix}", pseudo_heads, engine)


def fused(pseudo_heads: int) -> Variant:
    """The same with the fused pass, which is off otherwise."""
    return iha(pseudo_heads, ", fused", additional_config={"iha_fused": True})


def _against_plain(shape: str, context: int) -> Cell:
    models = (Variant(PLAIN), iha(2), iha(4))
    return Cell(f"{shape}-{context}", "serving", shape, 360, context, models)


def gpu_cells() -> list[Cell]:
    """Everything, the most telling first."""
    paper, llama = (
        [_against_plain(shape, context) for context in CONTEXTS] for shape in ("2.4B", "1B")
    )
    both = (Variant(PLAIN), iha(4), fused(4))
    chunks = (
        Variant(PLAIN, engine={"max_num_batched_tokens": 8192}),
        *(
            iha(4, f", {count} batched tokens", max_num_batched_tokens=count)
            for count in (2048, 8192)
        ),
    )
    return [
        Cell("kernel", "kernel", "2.4B", 120),
        Cell("correct", "correct", "tiny", 240),
        *paper,
        Cell("fused-2.4B-16384", "serving", "2.4B", 360, 16384, both),
        Cell("fused-2.4B-256", "serving", "2.4B", 360, 256, both),
        llama[0],
        Cell("batched-2.4B-16384", "serving", "2.4B", 360, 16384, chunks),
        *llama[1:],
    ]


def tiny_cells() -> list[Cell]:
    """Every kind of cell once, in smallest sizes."""
    models = (Variant(PLAIN), iha(2), iha(4, max_num_batched_tokens=64))
    return [
        Cell("tiny-kernel", "kernel", "tiny", 120, tiny=True),
        Cell("tiny-correct", "correct", "tiny", 240, tiny=True),
        Cell("tiny-serving", "serving", "tiny", 300, 192, models, 1, 4 << 20, tiny=True),
    ]
