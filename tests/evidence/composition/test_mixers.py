"""The compared attention layers against definitions written out."""

import math

import pytest
import torch
from torch import Tensor

from iha_eval.evidence.composition import mixers
from iha_eval.evidence.composition.network import parameters
from model_adapters import naive

HIDDEN, HEADS = 16, 4


def tokens(batch: int = 3, count: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, count, HIDDEN, generator=generator)


def heads(project: torch.nn.Module, sequence: Tensor) -> Tensor:
    states: Tensor = project(sequence)
    return states.unflatten(-1, (HEADS, -1))


def interleaved_by_definition(layer: mixers.Interleaved, sequence: Tensor) -> Tensor:
    """One sequence at a time through naive's functions and its own softmax."""
    alphas = (layer.alpha_q, layer.alpha_k, layer.alpha_v)
    query, key, value = (
        naive.interleave(naive.mix(heads(project, sequence), alpha))
        for project, alpha in zip((layer.query, layer.key, layer.value), alphas, strict=True)
    )
    everything = torch.ones(query.shape[1], query.shape[1], dtype=torch.bool)
    collapsed = naive.collapse(naive.attend(query, key, value, everything), layer.collapse)
    out: Tensor = layer.output(collapsed.flatten(1))
    return out


def simplicial_by_definition(layer: mixers.Simplicial, sequence: Tensor) -> Tensor:
    query, key, other, value, second = (heads(project, sequence) for project in layer.inputs)
    scores = torch.einsum("ihd,jhd,khd->hijk", query, key, other) / math.sqrt(HIDDEN / HEADS)
    weights = scores.flatten(2).softmax(-1).view_as(scores)
    out: Tensor = layer.output(torch.einsum("hijk,jhd,khd->ihd", weights, value, second).flatten(1))
    return out


def test_interleaved_is_naive_on_every_sequence() -> None:
    torch.manual_seed(0)
    layer = mixers.Interleaved(HIDDEN, HEADS, 3)
    batch = tokens()
    wanted = torch.stack([interleaved_by_definition(layer, sequence) for sequence in batch])
    torch.testing.assert_close(layer(batch), wanted)


def test_simplicial_attention_weighs_all_pairs() -> None:
    torch.manual_seed(0)
    layer = mixers.Simplicial(HIDDEN, HEADS)
    batch = tokens()
    wanted = torch.stack([simplicial_by_definition(layer, sequence) for sequence in batch])
    torch.testing.assert_close(layer(batch), wanted)


def test_large_scores_do_not_overflow() -> None:
    torch.manual_seed(0)
    assert mixers.Simplicial(HIDDEN, HEADS)(1e3 * tokens()).isfinite().all()


def test_one_pseudo_head_without_noise_is_multi_head_attention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mixers, "_NOISE", 0.0)
    torch.manual_seed(0)
    plain = mixers.MultiHead(HIDDEN, HEADS)
    mixed = mixers.Interleaved(HIDDEN, HEADS, 1)
    mixed.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(mixed(tokens()), plain(tokens()))


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (mixers.MultiHead(16, 4), 4 * 16**2),
        (mixers.Interleaved(16, 4, 3), 4 * 16**2 + 4 * 4**2 * 3),
        (mixers.Simplicial(16, 4), 6 * 16**2),
    ],
    ids=["multi-head", "interleaved", "simplicial"],
)
def test_parameters(layer: torch.nn.Module, wanted: int) -> None:
    assert parameters(layer) == wanted
    layer(tokens()).sum().backward()
    assert all(tensor.grad is not None for tensor in layer.parameters())
