"""Non-linear on repeated tokens: what one IHA layer can be and no multi-head attention layer can.

For: the paper's separation, in numbers, with the attention layer as it is served (projections,
rotary positions, causal mask). Not for: trained weights.

If all tokens are the same, all values are, and whatever weights attention gives them, the output of
multi-head attention is a fixed matrix times the token. In IHA with P = 2 a token has two values,
and a second pseudo-head whose queries and keys are negated weighs them by a function of the token.
Negation alone does not do it: with equal values in both pseudo-heads the output is linear again, as
it is with different values and no negation. All four cases are shown.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from iha_eval.compare.render.figures import Panel
from iha_eval.evidence.figures import Series, chart
from iha_eval.evidence.result import Evidence
from model_adapters import naive
from model_adapters.config import IHAConfig

HIDDEN, HEADS = 32, 4
LENGTH = 6
#: Random layers and pairs of tokens for each case.
DRAWS, QUICK_DRAWS = 100, 5
#: Factors on a token in the figure.
FACTORS = [step / 8 for step in range(-24, 25)]


@dataclass(frozen=True)
class Case:
    """A kind of layer, and its second pseudo-head as factors on the first one's alphas."""

    name: str
    kind: str
    query_key: float = 1.0
    value: float = 1.0


CASES = (
    Case("MHA", "full"),
    Case("IHA, q and k copied, second value 0", "iha_global", 1.0, 0.0),
    Case("IHA, q and k negated, values equal", "iha_global", -1.0, 1.0),
    Case("IHA, q and k negated, second value 0", "iha_global", -1.0, 0.0),
)


@dataclass(frozen=True)
class SeparationRow:
    """Distance from linear, relative: the mean and the largest over draws.

    Attributes:
        case: Its name.
        scaling: Of f(2x) from 2 f(x).
        scaling_most: The largest.
        adding: Of f(x + y) from f(x) + f(y).
        adding_most: The largest.
    """

    case: str
    scaling: float
    scaling_most: float
    adding: float
    adding_most: float


def run(seed: int = 0, quick: bool = False) -> Evidence:
    """Measure how far from linear each case is.

    Args:
        seed: Of layers and tokens.
        quick: Fewer draws.
    """
    draws = QUICK_DRAWS if quick else DRAWS
    rows = [measure(case, seed, draws) for case in CASES]
    curves = {case.name: curve(case, seed) for case in (CASES[0], CASES[-1])}
    return Evidence(
        "separation",
        "Linearity on repeated tokens",
        ("layer", "f(2x) - 2f(x), mean", "largest", "f(x+y) - f(x) - f(y), mean", "largest"),
        [(row.case, *(f"{value:.1e}" for value in list(asdict(row).values())[1:])) for row in rows],
        list(_sentences(rows, draws)),
        {
            "hidden": HIDDEN,
            "heads": HEADS,
            "length": LENGTH,
            "draws": draws,
            "rows": [asdict(row) for row in rows],
            "curve": {"factors": FACTORS, **curves},
        },
        [_panel(curves)],
    )


def measure(case: Case, seed: int, draws: int) -> SeparationRow:
    """Random layers of a case on random tokens; both distances relative to the linear answer."""
    generator = torch.Generator().manual_seed(seed)
    scaling, adding = [], []
    for _ in range(draws):
        layer = Repeated(case, generator)
        first, second = torch.randn(2, HIDDEN, dtype=torch.float64, generator=generator)
        scaling.append(_distance(layer(2 * first), 2 * layer(first)))
        adding.append(_distance(layer(first + second), layer(first) + layer(second)))
    return SeparationRow(
        case.name,
        sum(scaling) / draws,
        max(scaling),
        sum(adding) / draws,
        max(adding),
    )


def curve(case: Case, seed: int) -> list[float]:
    """How far f(t x) is from t f(x), relative to f(x), for each factor t: 0 if f is linear."""
    generator = torch.Generator().manual_seed(seed)
    layer = Repeated(case, generator)
    token = torch.randn(HIDDEN, dtype=torch.float64, generator=generator)
    once = layer(token)
    return [
        float((layer(factor * token) - factor * once).norm() / once.norm()) for factor in FACTORS
    ]


class Repeated:
    """A random attention layer as a function of the one token that fills its sequence.

    Args:
        case: How its second pseudo-head is set.
        generator: Of the projections.
    """

    def __init__(self, case: Case, generator: torch.Generator) -> None:
        self._config = IHAConfig(
            hidden_size=HIDDEN,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            num_hidden_layers=1,
            num_pseudo_heads=2,
            iha_layer_types=[case.kind],
            # With it a copied second pseudo-head has the first one's scores.
            pseudo_rope="token",
        )
        own = torch.eye(HEADS, dtype=torch.float64)
        alpha = torch.stack([own, case.query_key * own], dim=2)
        mixing = {
            "alpha_q": alpha,
            "alpha_k": alpha,
            "alpha_v": torch.stack([own, case.value * own], dim=2),
            # The last virtual query of a token sees both pseudo-heads of each visible token.
            "collapse": torch.kron(own, own.new_tensor([[0.0, 1.0]])),
        }
        projections = {
            f"{name}_proj.weight": torch.randn(
                HIDDEN, HIDDEN, dtype=torch.float64, generator=generator
            )
            / HIDDEN**0.5
            for name in ("q", "k", "v", "o")
        }
        weights = projections | mixing
        self._weights = {
            f"model.layers.0.self_attn.{name}": weight for name, weight in weights.items()
        }

    def __call__(self, token: Tensor) -> Tensor:
        """The layer's output at the last of equal tokens, [D], float64.

        Args:
            token: [D], float64.
        """
        hidden = token.expand(LENGTH, -1)
        return naive.layer_attention(self._weights, self._config, 0, hidden)[-1]


def _distance(result: Tensor, target: Tensor) -> float:
    return float((result - target).norm() / target.norm())


def _sentences(rows: list[SeparationRow], draws: int) -> Iterator[str]:
    *linear, last = rows
    worst = max(max(row.scaling_most, row.adding_most) for row in linear)
    yield (
        f"Over {draws} random layers, f(2x) of IHA with a negated second pseudo-head differs from "
        f"2 f(x) by {last.scaling:.0%} in the mean; multi-head attention and the two cases that "
        f"lack half of it are linear to {worst:.0e}."
    )
    yield (
        "Negating alpha_q and alpha_k separates only together with different values in the two "
        "pseudo-heads."
    )


def _panel(curves: dict[str, list[float]]) -> Panel:
    series = [
        Series("IHA, negated" if look == "IHA" else look, look, FACTORS, curves[case.name])
        for look, case in (("MHA", CASES[0]), ("IHA", CASES[-1]))
    ]
    labels = ("factor t on the token", "relative to f(x)")
    return chart("separation", "Distance of f(t x) from t f(x)", series, labels)
