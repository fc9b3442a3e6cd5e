"""CPM-3: counting pairs that complete a congruence, with hard attention and cyclic shifts.

For: the paper's construction with N_max heads and with ceil(sqrt N_max) interleaved ones; counts of
the full layer against brute force; parameters. Not for: what training finds.

For each i, the number of ordered pairs (j1, j2) with x_i + G x_j1 + x_j2 = 0 mod M, where G > 2M.
Choices: both indices run over all tokens, i among them; sequences shorter than N_max lie on a ring
of N_max places whose rest is marked absent. Attention fills each token's workspace with all tokens,
cyclically shifted (`bank.py` with the shift as its matrix); counting is a network of ReLUs on one
token's workspace with the same few weights for every pair of slots. It is the same for both layers
and therefore not in the table, which counts the attention.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from iha_eval.compare.render.figures import Panel
from iha_eval.evidence import bank
from iha_eval.evidence.figures import Series, chart
from iha_eval.evidence.result import Evidence
from model_adapters.naive import hard_scores

#: N_max of the layers, and M.
SIZES, QUICK_SIZES = range(4, 65), (4, 7, 9)
MODULI, QUICK_MODULI = (2, 5, 16, 31), (2, 7)
#: Features of a token besides its position: x, and 1 for present.
WIDTH = 2
# Layers that the table shows; the file has all.
_TABLED = (4, 5, 8, 9, 16, 25, 32, 36, 48, 49, 64)


@dataclass(frozen=True)
class CPM3Row:
    """Both layers for one N_max: sequences tried, tokens with a wrong count, parameters."""

    n_max: int
    iha_heads: int
    sequences: int
    tokens: int
    mha_wrong: int
    iha_wrong: int
    mha_parameters: int
    iha_parameters: int
    mha_formula: int
    iha_formula: int


def run(seed: int = 0, quick: bool = False) -> Evidence:
    """Build all layers and run each on random sequences.

    Args:
        seed: Of the sequences.
        quick: A few small layers instead of all.
    """
    moduli = QUICK_MODULI if quick else MODULI
    generator = torch.Generator().manual_seed(seed)
    rows = [check(size, moduli, generator) for size in (QUICK_SIZES if quick else SIZES)]
    return Evidence(
        "cpm3",
        "CPM-3 with hard attention",
        (
            *("N_max", "heads MHA", "heads IHA", "tokens", "wrong MHA", "wrong IHA"),
            *("weights MHA", "weights IHA"),
        ),
        [_shown(row) for row in rows if quick or row.n_max in _TABLED],
        list(_sentences(rows, moduli)),
        {"width": WIDTH, "moduli": list(moduli), "rows": [asdict(row) for row in rows]},
        [_panel(rows)],
    )


def check(n_max: int, moduli: tuple[int, ...], generator: torch.Generator) -> CPM3Row:
    """Both layers on a full and a shorter sequence for each modulus."""
    multi_head, interleaved = build(n_max)
    mha_wrong, iha_wrong, tokens, sequences = 0, 0, 0, 0
    for modulus in moduli:
        for least in (n_max, 1):
            length = _between(least, n_max, generator)
            factor = _between(2 * modulus + 1, 4 * modulus, generator)
            values = torch.randint(modulus, (length,), generator=generator)
            wanted = brute_force(values, modulus, factor)
            sequences, tokens = sequences + 1, tokens + length
            mha_wrong += int((count(multi_head, values, modulus, factor) != wanted).sum())
            iha_wrong += int((count(interleaved, values, modulus, factor) != wanted).sum())
    mha_formula, iha_formula = bank.parameter_formula(n_max, WIDTH, n_max)
    return CPM3Row(
        n_max,
        interleaved.heads,
        sequences,
        tokens,
        mha_wrong,
        iha_wrong,
        multi_head.parameters,
        interleaved.parameters,
        mha_formula,
        iha_formula,
    )


def build(n_max: int) -> tuple[bank.Layer, bank.Layer]:
    """Multi-head attention with N_max heads and IHA with ceil(sqrt N_max), for rings of N_max."""
    shift = torch.eye(n_max, dtype=torch.float64).roll(1, dims=1)
    # Each query finds one key among every pseudo-head's keys, and its weight is shared by all.
    scale = float(bank.square_side(n_max))
    return (
        bank.multi_head_bank(shift, n_max, WIDTH),
        bank.interleaved_bank(shift, n_max, WIDTH, scale),
    )


def count(layer: bank.Layer, values: Tensor, modulus: int, factor: int) -> Tensor:
    """The full layer: attention fills the workspace, the network counts.

    Args:
        layer: One of `build`.
        values: X, whole numbers from 0 to M-1, [n] with n at most N_max.
        modulus: M.
        factor: G.

    Returns:
        Counts as the layer gives them, [n], in float64 and not rounded.
    """
    n_max = layer.query.shape[1] - WIDTH
    features = torch.zeros(n_max, WIDTH, dtype=torch.float64)
    features[: len(values), 0] = values.double()
    features[: len(values), 1] = 1
    made = layer(bank.with_positions(features), hard_scores)
    # An interleaved bank holds c^2 shifts; those from N_max on are repetitions.
    workspace = made[:, : n_max * WIDTH].unflatten(1, (n_max, WIDTH))
    return count_pairs(workspace[: len(values)], modulus, factor)


def count_pairs(workspace: Tensor, modulus: int, factor: int) -> Tensor:
    """A network of ReLUs that counts, token by token, in its own workspace.

    For a pair of slots the first layer forms z = x_i + G x_j1 + x_j2, less so much for an absent
    token that z is below 0, and hats of ReLUs that are 1 at a multiple of M and 0 at every other
    whole number. The second layer adds all hats of all pairs.

    Args:
        workspace: [n, S, 2], the slots of each token: x and presence; slot 0 is the token itself.
        modulus: M.
        factor: G.

    Returns:
        [n].
    """
    value, present = workspace.unbind(-1)
    highest = (factor + 2) * (modulus - 1)
    absent = 2 - present[:, :, None] - present[:, None, :]
    sums = value[:, :1, None] + factor * value[:, :, None] + value[:, None, :]
    sums = sums - (highest + 1) * absent
    total = sums.new_zeros(len(sums))
    for multiple in range(0, highest + 1, modulus):
        off = sums - multiple
        hats = (off + 1).relu() - 2 * off.relu() + (off - 1).relu()
        total += hats.sum(dim=(1, 2))
    return total


def brute_force(values: Tensor, modulus: int, factor: int) -> Tensor:
    """The same counts, [n], by trying every pair in whole numbers."""
    sums = values[:, None, None] + factor * values[None, :, None] + values[None, None, :]
    return (sums % modulus == 0).sum(dim=(1, 2))


def _between(low: int, high: int, generator: torch.Generator) -> int:
    """A whole number, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _shown(row: CPM3Row) -> tuple[str, ...]:
    return (
        *(f"{number}" for number in (row.n_max, row.n_max, row.iha_heads)),
        *(f"{number}" for number in (row.tokens, row.mha_wrong, row.iha_wrong)),
        *(f"{number:,}" for number in (row.mha_parameters, row.iha_parameters)),
    )


def _sentences(rows: list[CPM3Row], moduli: tuple[int, ...]) -> Iterator[str]:
    sequences, tokens, *wrong = (
        sum(getattr(row, name) for row in rows)
        for name in ("sequences", "tokens", "mha_wrong", "iha_wrong")
    )
    yield (
        f"{sequences} sequences with {tokens:,} tokens, M = {', '.join(map(str, moduli))} and "
        f"random G from 2M+1 to 4M: {wrong[0]} counts of MHA and {wrong[1]} of IHA are not exactly "
        "those of brute force."
    )
    same = all(
        (row.mha_parameters, row.iha_parameters) == (row.mha_formula, row.iha_formula)
        for row in rows
    )
    yield (
        f"The counted weights {'equal' if same else 'differ from'} the formulas of the polynomial "
        "filters with N = k = N_max and d = 2."
    )
    last = rows[-1]
    larger = [row.n_max for row in rows if row.iha_parameters >= row.mha_parameters]
    yield (
        f"At N_max = {last.n_max} IHA has {last.mha_parameters / last.iha_parameters:.2f} times "
        f"fewer weights; it has more at N_max = {', '.join(map(str, larger)) or 'none'}."
    )


def _panel(rows: list[CPM3Row]) -> Panel:
    sizes = [row.n_max for row in rows]
    series = [
        Series("MHA, N_max heads", "MHA", sizes, [row.mha_parameters for row in rows]),
        Series("IHA, √N_max heads", "IHA", sizes, [row.iha_parameters for row in rows]),
    ]
    return chart("cpm3", "Weights", series, ("N_max", "weights"), logarithmic=True)
