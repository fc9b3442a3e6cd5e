"""The definition itself: its masks by hand, and the facts that follow from the paper."""

import pytest
import torch
from tiny_models import GLOBAL, random_ids, tiny_config, tiny_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from model_adapters import IHAConfig, naive


def plain_twin(config: IHAConfig, weights: dict[str, Tensor]) -> LlamaForCausalLM:
    """Llama with the same projections, in float64."""
    fields = {k: v for k, v in config.to_dict().items() if k not in ("model_type",)}
    twin = LlamaForCausalLM(LlamaConfig(**fields)).double().eval()
    own = {name: value for name, value in weights.items() if name in twin.state_dict()}
    twin.load_state_dict(own)
    return twin


def with_mixing(
    config: IHAConfig, weights: dict[str, Tensor], picked: int | None
) -> dict[str, Tensor]:
    """Identity alphas in every pseudo-head; the collapse picks one pseudo-head."""
    changed = dict(weights)
    for name, value in weights.items():
        kind = name.rsplit(".", 1)[-1]
        if kind.startswith("alpha"):
            changed[name] = torch.eye(len(value)).double().unsqueeze(-1).expand(value.shape)
        elif kind == "collapse":
            chosen = torch.zeros(config.num_pseudo_heads).double()
            chosen[picked] = 1
            changed[name] = torch.kron(torch.eye(len(value)).double(), chosen)
    return changed


def test_visibility_by_hand_with_two_pseudo_heads() -> None:
    """Three tokens, P=2, a window of one token: two virtual tokens back, itself included."""
    rows = naive.visible(3, 2, 1).int().tolist()
    assert rows == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


def test_the_first_virtual_query_reaches_into_the_token_one_window_back() -> None:
    """With P > 1 a window of W tokens touches W + 1 tokens: the trap of every cache."""
    tokens, pseudo, window = 9, 3, 4
    mask = naive.visible(tokens, pseudo, window)
    seen = mask[8 * pseudo].nonzero().flatten() // pseudo
    assert seen.min().item() == 8 - window


def test_interleaving_is_token_major() -> None:
    """Virtual token n*P+p is pseudo-head p of token n."""
    states = torch.arange(2 * 3 * 2).reshape(2, 3, 2, 1)
    assert naive.interleave(states)[1, :, 0].tolist() == [2, 3, 8, 9]


def test_mixing_sums_over_source_heads() -> None:
    """alpha[m, h, p] weighs source head m in pseudo-head (h, p)."""
    states = torch.tensor([[[1.0], [10.0]]])
    alpha = torch.zeros(2, 2, 2)
    alpha[0, 1, 0], alpha[1, 1, 0], alpha[1, 0, 1] = 2.0, 3.0, 5.0
    mixed = naive.mix(states, alpha)
    assert mixed[0, :, :, 0].tolist() == [[0.0, 50.0], [32.0, 0.0]]


def test_collapse_reads_head_then_pseudo_head() -> None:
    """R[h, h'*P+p] weighs pseudo-head (h', p) in head h."""
    attended = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    matrix = torch.tensor([[0.0, 0.0, 0.0, 1.0], [1.0, 10.0, 0.0, 0.0]])
    assert naive.collapse(attended, matrix)[0, :, 0].tolist() == [4.0, 21.0]


@pytest.mark.parametrize("rope", ["virtual", "token"])
@pytest.mark.parametrize("length", [1, 63, 129])
def test_one_pseudo_head_with_identities_is_llama(rope: str, length: int) -> None:
    """P = 1 is multi-head attention, exactly, with either rotary position."""
    config = tiny_config(GLOBAL, num_pseudo_heads=1, pseudo_rope=rope)
    weights = {
        k: v.double() for k, v in tiny_model(GLOBAL, num_pseudo_heads=1).state_dict().items()
    }
    weights = with_mixing(config, weights, 0)
    ids = random_ids(length)
    want = plain_twin(config, weights)(torch.tensor([ids])).logits[0]
    assert (naive.logits(weights, config, ids) - want).abs().max() < 1e-4


@pytest.mark.parametrize("pseudo", [2, 3, 4])
def test_token_rope_with_the_last_pseudo_head_is_llama_and_the_first_is_not(pseudo: int) -> None:
    """Only the last virtual query of a token sees all copies of every visible token."""
    config = tiny_config(GLOBAL, num_pseudo_heads=pseudo, pseudo_rope="token")
    model = tiny_model(GLOBAL, num_pseudo_heads=pseudo)
    weights = {name: value.double() for name, value in model.state_dict().items()}
    ids = random_ids(63)
    want = plain_twin(config, weights)(torch.tensor([ids])).logits[0]
    last = naive.logits(with_mixing(config, weights, -1), config, ids)
    first = naive.logits(with_mixing(config, weights, 0), config, ids)
    assert (last - want).abs().max() < 1e-4
    assert (first - want).abs().max() > 1e-2


def test_negated_second_pseudo_head_separates_iha_from_multi_head_attention() -> None:
    """On repeated tokens multi-head attention is linear in the input; this layer is not."""

    def layer(states: Tensor, alpha: Tensor) -> Tensor:
        query = key = naive.interleave(naive.mix(states, alpha))
        value = naive.interleave(naive.mix(states, torch.ones(1, 1, 2) * torch.tensor([1.0, -1.0])))
        attended = naive.attend(query, key, value, naive.visible(len(states), 2, None))
        return naive.collapse(attended, torch.tensor([[0.0, 1.0]]))

    repeated = torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(3)).repeat(5, 1, 1)
    negated = torch.tensor([[[1.0, -1.0]]])
    same = torch.tensor([[[1.0, 1.0]]])
    doubled = layer(2 * repeated, negated) - 2 * layer(repeated, negated)
    linear = layer(2 * repeated, same) - 2 * layer(repeated, same)
    assert doubled.abs().max() > 0.1
    assert linear.abs().max() < 1e-5
