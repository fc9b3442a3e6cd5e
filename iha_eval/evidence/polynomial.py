"""Polynomial filters: k powers of a matrix from k heads, or from ceil(sqrt k) interleaved ones.

For: the paper's construction with linear attention against the direct product in float64, its
parameter counts, and what fewer multi-head attention heads leave undone.
Not for: what training finds.

The weights are exact, not fitted. Choices: A has random singular vectors and singular values from
0.8 to 1.2, over its spectral radius, so that its powers neither grow nor vanish nor, as those of a
Gaussian matrix do, line up until float64 cannot tell them apart; N = 80 is above the highest k,
since powers of A from the N-th on are combinations of the lower ones; values of IHA are
c = ceil(sqrt k) times as wide as those of multi-head attention, which is what the paper's
d (N+d) c^2 counts.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from iha_eval.compare.render.figures import Panel
from iha_eval.evidence import bank
from iha_eval.evidence.figures import Series, chart
from iha_eval.evidence.result import Evidence
from model_adapters.naive import linear_scores

#: N and d.
TOKENS, WIDTH = 80, 16
#: Largest banks, and those whose best fit with fewer heads is shown.
COUNTS, QUICK_COUNTS = range(1, 65), (1, 2, 5, 9)
FITTED, QUICK_FITTED = (4, 16, 64), (5, 9)
# Banks that the table shows; the file has all.
_TABLED = (1, 2, 3, 4, 5, 9, 16, 17, 25, 36, 49, 64)


@dataclass(frozen=True)
class PolynomialRow:
    """A bank of k filters: the largest relative error of a power, and parameters."""

    k: int
    iha_heads: int
    mha_error: float
    iha_error: float
    mha_parameters: int
    iha_parameters: int
    mha_formula: int
    iha_formula: int


@dataclass(frozen=True)
class Fit:
    """The best that some heads of multi-head attention do for k filters.

    Attributes:
        k: Filters.
        heads: Of multi-head attention.
        bound: Least relative error in the mean over inputs, from the singular values.
        measured: Error of a layer that has the best patterns, on one random input.
    """

    k: int
    heads: int
    bound: float
    measured: float


def run(seed: int = 0, quick: bool = False) -> Evidence:
    """Build, run and count all banks.

    Args:
        seed: Of the matrices.
        quick: A few small banks instead of all.
    """
    matrix, inputs = draw(seed)
    rows = [filter_bank(matrix, inputs, k) for k in (QUICK_COUNTS if quick else COUNTS)]
    fitted = QUICK_FITTED if quick else FITTED
    fits = [fit for k in fitted for fit in best_fits(matrix, inputs, k)]
    return Evidence(
        "polynomial",
        "Polynomial filters with linear attention",
        ("k", "heads MHA", "heads IHA", "error MHA", "error IHA", "weights MHA", "weights IHA"),
        [_shown(row) for row in rows if quick or row.k in _TABLED],
        list(_sentences(rows, fits)),
        {
            "tokens": TOKENS,
            "width": WIDTH,
            "condition_number": float(torch.linalg.cond(matrix)),
            "rank": int(torch.linalg.matrix_rank(matrix)),
            "rows": [asdict(row) for row in rows],
            "fits": [asdict(fit) for fit in fits],
        },
        _panels(rows, fits),
    )


def draw(seed: int) -> tuple[Tensor, Tensor]:
    """A of full rank and spectral radius 1, [N, N], and X, [N, d], both in float64."""
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(TOKENS, TOKENS, dtype=torch.float64, generator=generator)
    left, _, right = torch.linalg.svd(gaussian)
    strength = 0.8 + 0.4 * torch.rand(TOKENS, dtype=torch.float64, generator=generator)
    matrix = left * strength @ right
    matrix /= torch.linalg.eigvals(matrix).abs().max()
    return matrix, torch.randn(TOKENS, WIDTH, dtype=torch.float64, generator=generator)


def filter_bank(matrix: Tensor, inputs: Tensor, k: int) -> PolynomialRow:
    """Both layers for [X, AX, .., A^(k-1) X], against A times A times .. X."""
    direct = [inputs]
    while len(direct) < k:
        direct.append(matrix @ direct[-1])
    tokens = bank.with_positions(inputs)
    multi_head = bank.multi_head_bank(matrix, k, WIDTH)
    interleaved = bank.interleaved_bank(matrix, k, WIDTH)
    mha_formula, iha_formula = bank.parameter_formula(TOKENS, WIDTH, k)
    return PolynomialRow(
        k,
        interleaved.heads,
        _worst(multi_head(tokens, linear_scores), direct),
        _worst(interleaved(tokens, linear_scores), direct),
        multi_head.parameters,
        interleaved.parameters,
        mha_formula,
        iha_formula,
    )


def best_fits(matrix: Tensor, inputs: Tensor, k: int) -> Iterator[Fit]:
    """What 1, 2, .. k heads can do for k filters of norm 1.

    Heads whose patterns do not depend on the content, each with values of any width and any linear
    map behind, make sums of S_h X M_h: maps of rank H when the N^2 entries of a pattern are laid
    against all else. The k powers have rank k, so H < k heads miss at least what a singular value
    decomposition leaves, and a layer with its vectors as patterns misses no more.
    """
    filters = bank.powers(matrix, k)
    filters = filters / filters.flatten(1).norm(dim=1)[:, None, None]
    left, strength, right = torch.linalg.svd(filters.flatten(1).T, full_matrices=False)
    target = torch.cat([pattern @ inputs for pattern in filters], dim=1)
    tokens = bank.with_positions(inputs)
    identity = torch.eye(WIDTH, dtype=matrix.dtype)
    value = torch.eye(WIDTH + TOKENS, WIDTH, dtype=matrix.dtype)
    for heads in range(1, k + 1):
        patterns = left[:, :heads].T.unflatten(1, (TOKENS, TOKENS))
        layer = bank.patterned(patterns, value.expand(heads, -1, -1))
        readout = torch.kron((strength[:heads, None] * right[:heads]).contiguous(), identity)
        made = layer(tokens, linear_scores) @ readout
        bound = float(strength[heads:].square().sum().sqrt()) / k**0.5
        yield Fit(k, heads, bound, _distance(made, target))


def _worst(made: Tensor, direct: list[Tensor]) -> float:
    """The largest relative error of a power; blocks behind the last one wanted do not count."""
    blocks = made.split(WIDTH, dim=1)
    return max(_distance(block, wanted) for block, wanted in zip(blocks, direct, strict=False))


def _distance(result: Tensor, target: Tensor) -> float:
    return float((result - target).norm() / target.norm())


def _shown(row: PolynomialRow) -> tuple[str, ...]:
    return (
        f"{row.k}",
        f"{row.k}",
        f"{row.iha_heads}",
        f"{row.mha_error:.1e}",
        f"{row.iha_error:.1e}",
        f"{row.mha_parameters:,}",
        f"{row.iha_parameters:,}",
    )


def _sentences(rows: list[PolynomialRow], fits: list[Fit]) -> Iterator[str]:
    worst = max(max(row.mha_error, row.iha_error) for row in rows)
    yield f"Both layers give every power; the largest relative error is {worst:.1e}."
    differ = [
        str(row.k)
        for row in rows
        if (row.mha_parameters, row.iha_parameters) != (row.mha_formula, row.iha_formula)
    ]
    if differ:
        yield f"The counted weights differ from the paper's formulas at k = {', '.join(differ)}."
    else:
        yield "The counted weights equal the paper's two formulas at every k."
    larger = [row.k for row in rows if row.iha_parameters >= row.mha_parameters]
    last = rows[-1]
    yield (
        f"IHA has more weights at k = {', '.join(map(str, larger))}, and "
        f"{last.mha_parameters / last.iha_parameters:.2f} times fewer at k = {last.k}."
    )
    error = {row.k: row.iha_error for row in rows}
    for k in sorted({fit.k for fit in fits}):
        of_k = {fit.heads: fit for fit in fits if fit.k == k}
        side = bank.square_side(k)
        yield (
            f"For k = {k}, {k - 1} heads of MHA leave a relative error of at least "
            f"{of_k[k - 1].bound:.2g} (measured {of_k[k - 1].measured:.2g}) and {side} heads "
            f"{of_k[side].bound:.2g}; {k} heads leave {of_k[k].measured:.1e}, "
            f"IHA with {side} heads {error[k]:.1e}."
        )


def _panels(rows: list[PolynomialRow], fits: list[Fit]) -> list[Panel]:
    k = [row.k for row in rows]
    weights = [
        Series("MHA, k heads", "MHA", k, [row.mha_parameters for row in rows]),
        Series("IHA, √k heads", "IHA", k, [row.iha_parameters for row in rows]),
    ]
    most = max(fit.k for fit in fits)
    shown = [fit for fit in fits if fit.k == most]
    heads = [fit.heads for fit in shown]
    side = bank.square_side(most)
    error = next(row.iha_error for row in rows if row.k == most)
    residuals = [
        Series("MHA, best fit", "MHA", heads, [fit.measured for fit in shown]),
        Series("IHA", "IHA", [side], [error], marked=True),
    ]
    return [
        chart("growth", "Weights", weights, ("filters k", "weights"), logarithmic=True),
        chart("residual", f"Relative error at k = {most}", residuals, ("heads", "relative error")),
    ]
