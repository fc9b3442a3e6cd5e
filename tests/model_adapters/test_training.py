"""Ways of training: packed rows, kernels and FlexAttention, and mixing that is computed again."""

import itertools
from typing import Any

import pytest
import torch
from tiny_models import MIXED, random_ids, tiny_model
from torch import Tensor

from model_adapters import IHALlamaForCausalLM, naive
from model_adapters.config import VirtualMask
from model_adapters.hf import attention
from model_adapters.hf.attention import Span

TOKEN_MASK = {"pseudo_causal": "token", "pseudo_window": "token"}
ROPES = ("virtual", "token")
SEQUENCES = [random_ids(length, seed=1) for length in (1, 20, 42)]


def model_set_to(implementation: str, **changes: Any) -> IHALlamaForCausalLM:
    """Past Transformers' own look for the package of a kernel."""
    model = tiny_model(MIXED, iha_window=9, **changes)
    model.config._attn_implementation = implementation
    return model


def stub(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **given: Any) -> Any:
    """What Transformers' kernels compute, in plain torch, with their arguments.

    Causal, the last query at the last key; a window counts the query itself.
    """
    assert module.is_causal
    assert "position_ids" not in given
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))
    ends = given.get("cu_seq_lens_q")
    if ends is not None:
        assert mask is None
        assert given["max_length_q"] == int(ends.diff().max())
    group = query.shape[2] // key.shape[2]
    key, value = (states.repeat_interleave(group, 2) for states in (key, value))
    keys = torch.arange(key.shape[1])
    queries = keys[-query.shape[1] :, None]
    seen = (keys <= queries)[None]
    if given["sliding_window"] is not None:
        seen = seen & (keys > queries - given["sliding_window"])
    if ends is not None:
        number = torch.searchsorted(ends[1:], keys, right=True)
        seen = seen & (number[queries] == number)
    if mask is not None:
        seen = (seen & mask[:, None].bool()) | (keys == queries)
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) * given["scaling"]
    weights = scores.masked_fill(~seen[:, None], float("-inf")).softmax(-1)
    return torch.einsum("bhqk,bkhd->bqhd", weights, value), None


@pytest.fixture
def _kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "ALL_ATTENTION_FUNCTIONS", {"flash_attention_2": stub})


IMPLEMENTATIONS = ("eager", "sdpa", "flex_attention", "flash_attention_2")


@torch.no_grad()
@pytest.mark.usefixtures("_kernel")
@pytest.mark.parametrize("rope", ROPES)
@pytest.mark.parametrize("mask", [{}, TOKEN_MASK], ids=["virtual", "token"])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_packed_sequences_do_not_see_each_other(
    implementation: str, mask: dict[str, str], rope: str
) -> None:
    """In two rows that are cut at different places, told by positions; and in one, by ends."""
    model = model_set_to(implementation, pseudo_rope=rope, **mask)
    alone = [naive.logits(model.state_dict(), model.config, ids) for ids in SEQUENCES]
    rows, places, wanted = [], [], []
    for order in ([0, 1, 2], [2, 0, 1]):
        parts = [SEQUENCES[i] for i in order]
        rows.append(torch.tensor(list(itertools.chain(*parts))))
        places.append(torch.cat([torch.arange(len(part)) for part in parts]))
        wanted.append(torch.cat([alone[i] for i in order]))
    got = model(torch.stack(rows), position_ids=torch.stack(places)).logits
    assert (got - torch.stack(wanted)).abs().max() < 1e-4
    ends = torch.tensor([0, *map(len, SEQUENCES)]).cumsum(0)
    told = model(rows[0][None], position_ids=places[0][None], cu_seq_lens_q=ends).logits[0]
    assert (told - wanted[0]).abs().max() < 1e-4


def test_packed_sequences_beside_padding_are_refused() -> None:
    """They would see each other; positions of padding itself may be anything."""
    model = tiny_model(MIXED, iha_window=9)
    ids, mask = torch.ones(1, 7, dtype=torch.long), torch.tensor([[1, 1, 1, 1, 1, 0, 0]])
    model(ids, position_ids=torch.tensor([[0, 1, 2, 3, 4, 1, 1]]), attention_mask=mask)
    with pytest.raises(ValueError, match="start again within a row"):
        model(ids, position_ids=torch.tensor([[0, 1, 2, 0, 1, 0, 1]]), attention_mask=mask)


def test_a_packed_row_has_the_gradients_of_its_sequences() -> None:
    model = tiny_model(MIXED, iha_window=9).train()
    ids = torch.tensor([list(itertools.chain(*SEQUENCES))])
    positions = torch.cat([torch.arange(len(part)) for part in SEQUENCES])[None]
    model(ids, position_ids=positions).logits.square().sum().backward()
    packed = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    for part in SEQUENCES:
        model(torch.tensor([part])).logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        got, want = packed[name], parameter.grad
        assert got is not None
        assert want is not None
        assert (got - want).abs().max() < 1e-3 * (1 + want.abs().max()), name


@torch.no_grad()
@pytest.mark.usefixtures("_kernel")
@pytest.mark.parametrize("rope", ROPES)
@pytest.mark.parametrize("mask", [{}, TOKEN_MASK], ids=["virtual", "token"])
@pytest.mark.parametrize("implementation", ["flex_attention", "flash_attention_2"])
def test_a_kernel_computes_the_definition(
    implementation: str, mask: dict[str, str], rope: str
) -> None:
    """Alone, beside a row with padding, and step by step with a cache.

    Positions of the token RoPE repeat, which a kernel that is handed them takes for packing.
    """
    model = model_set_to(implementation, pseudo_rope=rope, **mask)
    ids, short = random_ids(63), random_ids(30)
    wanted = naive.logits(model.state_dict(), model.config, ids)
    assert (model(torch.tensor([ids])).logits[0] - wanted).abs().max() < 1e-4
    rows = torch.tensor([ids, [0] * 33 + short])
    padding = (torch.arange(63) >= torch.tensor([[0], [33]])).long()
    both = model(rows, attention_mask=padding).logits
    assert (both[0] - wanted).abs().max() < 1e-4
    wanted = naive.logits(model.state_dict(), model.config, short)
    assert (both[1, 33:] - wanted).abs().max() < 1e-4
    settings: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}
    prompt = torch.tensor([short])
    made = [model.generate(prompt, use_cache=use, **settings).tolist() for use in (True, False)]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    "sight",
    [
        VirtualMask(3),
        VirtualMask(3, 5),
        VirtualMask(2, None, None, "token"),
        VirtualMask(3, 7, None, "token", "token"),
        VirtualMask(2, 7, 13),
    ],
    ids=str,
)
@pytest.mark.parametrize("tokens", [1, 63, 129])
def test_flex_attention_equals_eager(tokens: int, sight: VirtualMask) -> None:
    length = tokens * sight.pseudo_heads
    generator = torch.Generator().manual_seed(length)
    query = torch.randn(2, 4, length, 16, generator=generator)
    key, value = torch.randn(2, 2, 2, length, 16, generator=generator)
    span = Span(0, 0, sight, None)
    want, _ = attention.eager(query, key, value, span, 0.25)
    assert (attention.flex(query, key, value, span, 0.25) - want).abs().max() < 1e-5


def kept(step: Any) -> int:
    """Bytes that a forward pass keeps for the backward one, parameters apart."""
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = step()
    loss.backward()
    return sum(seen.values())


def test_mixing_that_is_computed_again_is_not_kept() -> None:
    ids = torch.tensor([random_ids(256)])
    grads, sizes = [], []
    for recompute in (False, True):
        model = tiny_model(["iha_global"] * 2, num_pseudo_heads=4).train()
        model.recompute_mixing(recompute)
        sizes.append(kept(lambda model=model: model(ids, labels=ids).loss))
        grads.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in grads[0].items():
        assert torch.equal(gradient, grads[1][name]), name
    # Queries, keys, values and attended heads of 4 virtual tokens a token, in two layers.
    virtual = 2 * 4 * 256 * 32 * (4 + 2 + 2 + 4) * 4
    assert sizes[0] - sizes[1] > virtual


def test_no_mask_is_kept_for_the_backward_pass() -> None:
    """Of 2048 virtual tokens it would be 16 MiB a layer."""
    model = tiny_model(["iha_global"] * 2, num_pseudo_heads=4).train()
    ids = torch.tensor([random_ids(512)])
    whole = 2 * 4 * 2048 * 2048
    assert kept(lambda: model(ids, labels=ids).loss) < whole
