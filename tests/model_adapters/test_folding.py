"""Folded projections against mixing and collapsing beside the plain ones."""

import pytest
import torch

from model_adapters import BackendError, CheckpointError
from model_adapters.vllm import folding

HIDDEN, WIDTH = 24, 8
SIZES = [(pseudo, heads) for pseudo in (1, 2, 3, 4) for heads in (1, 2, 5)]


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("tokens", [1, 63, 129, 1000])
@pytest.mark.parametrize(("pseudo", "heads"), SIZES)
def test_a_folded_projection_makes_the_pseudo_heads(tokens: int, pseudo: int, heads: int) -> None:
    hidden, weight = random(tokens, HIDDEN), random(heads * WIDTH, HIDDEN)
    bias, alpha = random(heads * WIDTH), random(heads, heads, pseudo)
    projected = (hidden @ weight.T + bias).view(tokens, heads, WIDTH)
    want = torch.einsum("tmd,mhp->thpd", projected, alpha).flatten(1)
    folded, folded_bias = (folding.fold_input(part, alpha) for part in (weight, bias))
    torch.testing.assert_close(hidden @ folded.T + folded_bias, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tokens", [1, 63, 129, 1000])
@pytest.mark.parametrize(("pseudo", "heads"), SIZES)
def test_a_folded_output_collapses(tokens: int, pseudo: int, heads: int) -> None:
    attended, weight = random(tokens, heads * pseudo, WIDTH), random(HIDDEN, heads * WIDTH)
    collapse = random(heads, heads * pseudo)
    want = torch.einsum("hs,tsd->thd", collapse, attended).flatten(1) @ weight.T
    found = attended.flatten(1) @ folding.fold_output(weight, collapse).T
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)


def test_half_precision_is_rounded_once() -> None:
    """The product is made in float32: summed in bfloat16 it would differ."""
    weight, alpha = random(40, HIDDEN).bfloat16(), random(5, 5, 3).bfloat16()
    exact = folding.fold_input(weight.float(), alpha.float())
    assert torch.equal(folding.fold_input(weight, alpha), exact.bfloat16())
    collapse = random(5, 15).bfloat16()
    exact = folding.fold_output(weight.T.float(), collapse.float())
    assert torch.equal(folding.fold_output(weight.T, collapse), exact.bfloat16())


def test_rows_and_columns_are_put_into_the_order_of_virtual_tokens() -> None:
    """Heads first becomes pseudo-heads first, in rows of a projection and columns of the output."""
    rows = torch.arange(3 * 2 * 4)
    want = rows.view(3, 2, 4).transpose(0, 1).flatten()
    assert torch.equal(folding.arrange_input(rows, 3, 2), want)
    assert torch.equal(folding.arrange_input(rows[:, None], 3, 2), want[:, None])
    assert torch.equal(folding.arrange_output(rows[None], 3, 2), want[None])


@pytest.mark.parametrize(("pseudo", "kv_heads"), [(1, 4), (2, 2), (3, 1), (4, 4)])
def test_arranged_projections_are_virtual_tokens(pseudo: int, kv_heads: int) -> None:
    """Without a copy: the folded output of a token is its P virtual tokens, one after another."""
    heads, tokens = 4, 63
    hidden, counts = random(tokens, HIDDEN), (heads, kv_heads, kv_heads)
    weights = [random(count * WIDTH, HIDDEN) + shift for shift, count in enumerate(counts)]
    alphas = [random(count, count, pseudo) for count in counts]
    folded = torch.cat([folding.fold_input(*pair) for pair in zip(weights, alphas, strict=True)])
    arranged = folding.arrange_input(folded, sum(counts), pseudo)
    virtual = (hidden @ arranged.T).view(tokens * pseudo, -1)
    parts = virtual.split([count * WIDTH for count in counts], dim=1)
    for found, weight, alpha in zip(parts, weights, alphas, strict=True):
        states = (hidden @ weight.T).view(tokens, -1, WIDTH)
        want = torch.einsum("tmd,mhp->tphd", states, alpha).reshape(found.shape)
        torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)
    attended, collapse = random(tokens, pseudo, heads, WIDTH), random(heads, heads * pseudo)
    output = random(HIDDEN, heads * WIDTH)
    by_head = attended.transpose(1, 2).flatten(1, 2)
    want = torch.einsum("hs,tsd->thd", collapse, by_head).flatten(1) @ output.T
    back = folding.arrange_output(folding.fold_output(output, collapse), heads, pseudo)
    torch.testing.assert_close(attended.flatten(1) @ back.T, want, rtol=1e-4, atol=1e-4)


PREFIX = "model.layers.0.self_attn."
SHAPES = {
    PREFIX: {"alpha_q": (2, 2, 3), "alpha_k": (1, 1, 3), "alpha_v": (1, 1, 3), "collapse": (2, 6)}
}


def stored() -> dict[str, torch.Tensor]:
    own = {PREFIX + name: random(*shape) for name, shape in SHAPES[PREFIX].items()}
    return own | {
        PREFIX + "q_proj.weight": random(2 * WIDTH, HIDDEN),
        PREFIX + "q_proj.bias": random(2 * WIDTH),
        PREFIX + "k_proj.weight": random(WIDTH, HIDDEN),
        PREFIX + "v_proj.weight": random(WIDTH, HIDDEN),
        PREFIX + "o_proj.weight": random(HIDDEN, 2 * WIDTH),
        PREFIX + "o_proj.bias": random(HIDDEN),
        "model.layers.1.self_attn.q_proj.weight": random(2 * WIDTH, HIDDEN),
        "model.layers.1.self_attn.alpha_q": random(2, 2, 3),
        "model.norm.weight": random(HIDDEN),
    }


@pytest.mark.parametrize("step", [1, -1], ids=["matrices-first", "matrices-last"])
def test_tensors_may_come_in_any_order(step: int) -> None:
    weights = stored()
    found = dict(folding.fold(list(weights.items())[::step], SHAPES))
    assert set(found) == {name for name in weights if name not in {PREFIX + n for n in IHA}}
    for part, matrix in folding.PARTNERS.items():
        if PREFIX + part in weights:
            product = folding.fold_output if matrix == "collapse" else folding.fold_input
            want = product(weights[PREFIX + part], weights[PREFIX + matrix])
            assert torch.equal(found[PREFIX + part], want)
    for name in found:
        if not name.startswith(PREFIX) or name.endswith("o_proj.bias"):
            assert found[name] is weights[name]


IHA = tuple(SHAPES[PREFIX])


@pytest.mark.parametrize("name", IHA)
def test_a_matrix_of_another_shape_is_refused(name: str) -> None:
    weights = stored()
    weights[PREFIX + name] = weights[PREFIX + name].unsqueeze(0)
    with pytest.raises(CheckpointError, match=rf"{name} has shape \[1, .*config.json asks for"):
        list(folding.fold(weights.items(), SHAPES))


def test_a_matrix_that_is_missing_is_named() -> None:
    weights = stored()
    del weights[PREFIX + "collapse"]
    with pytest.raises(CheckpointError, match=r"hold .*o_proj.weight but not .*collapse"):
        list(folding.fold(weights.items(), SHAPES))


@pytest.mark.parametrize(
    ("pseudo", "hidden", "want"),
    [(1, 8192, True), (2, 64, True), (2, 512, False), (4, 64, False), (20, 2560, False)],
)
def test_folding_pays_where_it_adds_less_than_mixing_costs(
    pseudo: int, hidden: int, want: bool
) -> None:
    assert folding.pays(pseudo, hidden) is want


@pytest.mark.parametrize(
    ("config", "want"),
    [
        ({}, "auto"),
        (None, "auto"),
        ({"iha_fold": "never"}, "never"),
        ({"iha_fold": "auto"}, "auto"),
    ],
)
def test_the_engine_may_say_whether_to_fold(config: object, want: str) -> None:
    assert folding.asked(config) == want


def test_another_word_is_refused() -> None:
    with pytest.raises(BackendError, match=r"iha_fold 'yes': set it to 'auto', 'always' or"):
        folding.asked({"iha_fold": "yes"})


@pytest.mark.parametrize(
    ("word", "quantization", "hidden", "want"),
    [
        ("auto", None, 64, True),
        ("auto", None, 512, False),
        ("always", None, 512, True),
        ("never", None, 64, False),
        ("auto", "fp8", 64, False),
        ("never", "fp8", 64, False),
    ],
)
def test_a_layer_is_folded_where_it_pays_or_is_asked_for(
    word: str, quantization: str | None, hidden: int, want: bool
) -> None:
    assert folding.is_folded({"iha_fold": word}, 2, hidden, quantization) is want


def test_quantized_weights_cannot_be_asked_to_fold() -> None:
    with pytest.raises(BackendError, match=r"'always', and .* \(fp8\).*: set iha_fold to 'auto'"):
        folding.is_folded({"iha_fold": "always"}, 2, 64, "fp8")
