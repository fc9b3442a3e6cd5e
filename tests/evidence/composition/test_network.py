"""The network around the attention."""

import pytest
import torch

from iha_eval.evidence.composition import network


@pytest.mark.parametrize("model", network.MODELS)
@pytest.mark.parametrize("m", [2, 5])
def test_a_logit_for_each_entry(model: str, m: int) -> None:
    built = network.build(model, 16, 5, seed=0)
    relations = torch.rand(3, m, m, generator=torch.Generator().manual_seed(0)) < 0.5
    assert built(relations).shape == (3, m, m)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_one_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (network.build("IHA", 16, 5, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.1.weight"], other["head.1.weight"])
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_transposed_relation_has_other_logits() -> None:
    """Rows and columns are told apart."""
    built = network.build("MHA", 16, 5, seed=0)
    relations = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    assert not torch.allclose(built(relations.mT).mT, built(relations), atol=1e-3)


def test_heads_and_pseudo_heads_are_the_papers() -> None:
    extra = network.parameters(network.MODELS["IHA"](64)) - network.parameters(
        network.MODELS["MHA"](64)
    )
    assert extra == 4 * 8**2 * 8
