"""What a run is made with: the shape of both models, the optimizer's figures and the curriculum.

For: the one place where a figure is chosen; every choice holds for both models.
Not for: what the figures do (see `models.py`, `train.py` and `curriculum.py`).
"""

from dataclasses import asdict, dataclass
from typing import Any

from recipes.needle.curriculum import Stage


@dataclass(frozen=True)
class Preset:
    """One recipe.

    Attributes:
        layers: Of each model; a multiple of five for the hybrid.
        width: D.
        heads: H; G is the same.
        head_width: D.
        hidden: Of the feed-forward network.
        theta: Rotary base; high, so that most of a head can match keys at any distance.
        tokens: Of a batch.
        matrix_rate: Muon's, for matrices.
        other_rate: AdamW's, for norms and IHA's own tensors.
        word_rate: AdamW's, for the embedding and the head.
        warmup: Steps of linear rise.
        decay: The last part of the steps, in percent, in which rates fall linearly to a twentieth.
        stages: The curriculum.
        held_out: (variant, length) of the texts of the evaluation on the way.
        questions: Asked there, at least, of each.
    """

    layers: int
    width: int
    heads: int
    head_width: int
    hidden: int
    theta: float
    tokens: int
    matrix_rate: float
    other_rate: float
    word_rate: float
    warmup: int
    decay: int
    stages: tuple[Stage, ...]
    held_out: tuple[tuple[str, int], ...]
    questions: int = 48

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return sum(stage.steps for stage in self.stages)

    def stage(self, step: int) -> Stage:
        """The stage that a step, from 0, belongs to."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]

    def rate(self, step: int) -> float:
        """Factor on both rates at a step, from 0."""
        left = (self.steps - step) / max(self.steps * self.decay / 100, 1)
        return min(1.0, (step + 1) / self.warmup, max(left, 0.05))

    def described(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


TINY = Preset(
    layers=5,
    width=128,
    heads=4,
    head_width=32,
    hidden=256,
    theta=5e6,
    tokens=2048,
    matrix_rate=0.007,
    other_rate=0.003,
    word_rate=0.001,
    warmup=50,
    decay=20,
    stages=(
        Stage(128, 250, drills=3),
        Stage(256, 250),
        Stage(512, 300, essays=15, shorter=25),
        Stage(1024, 300, essays=20, shorter=25),
        Stage(2048, 300, essays=20, uuids=5, shorter=25),
        Stage(4096, 500, essays=25, uuids=5, shorter=25),
    ),
    held_out=(("multikey_1", 512), ("multikey_2", 256), ("multikey_2", 1024), ("multikey_2", 4096)),
)
GPU = Preset(
    layers=10,
    width=128,
    heads=4,
    head_width=32,
    hidden=256,
    theta=5e6,
    tokens=65536,
    matrix_rate=0.007,
    other_rate=0.003,
    word_rate=0.001,
    warmup=200,
    decay=20,
    stages=(
        Stage(128, 500, drills=3),
        Stage(256, 500),
        Stage(512, 1000, essays=15, uuids=10, shorter=25),
        Stage(1024, 1000, essays=20, uuids=15, shorter=25),
        Stage(2048, 1500, essays=25, uuids=20, shorter=25),
        Stage(4096, 5500, essays=30, uuids=25, shorter=25),
    ),
    held_out=tuple(
        (variant, length)
        for variant in ("multikey_1", "multikey_2", "multikey_3")
        for length in (1024, 4096, 8192, 16384)
    ),
    questions=256,
)
# For tests: learns nothing, in seconds.
TEST = Preset(
    layers=5,
    width=16,
    heads=2,
    head_width=8,
    hidden=16,
    theta=5e6,
    tokens=512,
    matrix_rate=0.007,
    other_rate=0.003,
    word_rate=0.001,
    warmup=2,
    decay=20,
    stages=(Stage(128, 3, drills=3), Stage(512, 3, essays=50, shorter=30)),
    held_out=(("multikey_1", 256), ("multikey_2", 128)),
    questions=2,
)
PRESETS = {"tiny": TINY, "gpu": GPU, "test": TEST}
