"""Naive, Transformers and vLLM agree over the product of the format's fields."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import GLOBAL, engine, generate, random_ids, tiny_model, worst_logprob
from variants import WINDOW_ROPE, Case, fields, name, pairwise

from model_adapters import BackendError, naive

Save = Callable[[Any], Path]
TOLERANCE = 1e-4
CASES = pairwise()


@pytest.mark.parametrize("case", CASES, ids=name)
@torch.no_grad()
def test_the_transformers_model_is_the_naive_one(case: Case) -> None:
    """Whole, and in cached pieces of five tokens, with both of its attention implementations."""
    kinds, changes = fields(case)
    model = tiny_model(kinds, **changes)
    for length in (1, 63):
        ids = random_ids(length)
        wanted = naive.logits(model.state_dict(), model.config, ids)
        for implementation in ("eager", "sdpa"):
            model.set_attn_implementation(implementation)
            whole = model(torch.tensor([ids])).logits[0]
            assert (whole - wanted).abs().max() < TOLERANCE
            cache, pieces = None, []
            for start in range(0, length, 5):
                piece = torch.tensor([ids[start : start + 5]])
                output = model(piece, past_key_values=cache, use_cache=True)
                cache = output.past_key_values
                pieces.append(output.logits[0])
            assert (torch.cat(pieces) - wanted).abs().max() < TOLERANCE


@pytest.mark.parametrize("case", CASES[1:4], ids=name)
def test_every_parameter_has_the_naive_gradient(case: Case) -> None:
    """Norms, gates and a per-head collapse included, none of which may stay without any."""
    kinds, changes = fields(case)
    model = tiny_model(kinds, **changes)
    ids = random_ids(33)
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    naive.logits(weights, model.config, ids).square().sum().backward()
    model(torch.tensor([ids])).logits.square().sum().backward()
    for name_, parameter in model.named_parameters():
        wanted, gradient = weights[name_].grad, parameter.grad
        assert wanted is not None
        assert gradient is not None
        assert wanted.abs().max() > 0
        assert (gradient - wanted).abs().max() < 1e-3 * (1 + wanted.abs().max()), name_


@torch.no_grad()
def test_every_field_matters() -> None:
    """A model that takes no notice of one would agree with another that does not either."""
    ids = random_ids(63)
    kinds = ["iha_sliding", "iha_global", "full", "sliding"]
    plain: dict[str, Any] = {"iha_window": 9}
    changes: list[dict[str, Any]] = [
        {"iha_window_virtual": 17},
        {"iha_window": [9, None, None, 8]},
        {"pseudo_window": "token"},
        {"pseudo_window": "token", "pseudo_causal": "token"},
        {"pseudo_rope": "none"},
        {"qk_norm": "pseudo_head_after_rope"},
        {"qk_norm": "head_before_mixing", "qk_norm_weight": "shared"},
        {"qk_scale": 1.2},
        {"head_gate_channels": 12},
        {"qk_norm": "projection_before_mixing", "qk_norm_weight": "projection"},
        {"window_rope_parameters": WINDOW_ROPE},
        {"block_norm": "after"},
    ]
    first = tiny_model(kinds, **plain)
    logits = [first(torch.tensor([ids])).logits]
    for change in changes:
        model = tiny_model(kinds, **plain | change)
        model.load_state_dict(first.state_dict(), strict=False)
        logits.append(model(torch.tensor([ids])).logits)
    for index, other in enumerate(logits):
        for another in logits[:index]:
            assert (other - another).abs().max() > 1e-3


# Chunks of 64 tokens cut the longer prompts; lengths on both sides of blocks and windows.
PROMPTS = [random_ids(length) for length in (1, 2, 17, 63, 129, 300)]
SERVED = [
    pytest.param(case, id=name(case), marks=[] if index < 3 else pytest.mark.long)
    for index, case in enumerate(CASES)
]


@pytest.mark.parametrize("case", SERVED)
def test_the_served_model_is_the_transformers_one(case: Case, saved: Save) -> None:
    kinds, changes = fields(case)
    model = tiny_model(kinds, **changes)
    with engine(saved(model), max_num_batched_tokens=64) as llm:
        outputs = generate(llm, PROMPTS)
    assert worst_logprob(model, PROMPTS, outputs) < TOLERANCE


def test_what_cannot_be_folded_is_refused_where_it_is_asked_for(saved: Save) -> None:
    """Left to itself the engine folds what it can and mixes the rest."""
    gated = saved(tiny_model(GLOBAL, head_gate_channels=12))
    always = {"additional_config": {"iha_fold": "always"}}
    with (
        pytest.raises(BackendError, match=r"'always', but head_gate_channels is set"),
        engine(gated, **always),
    ):
        pass


@pytest.mark.long
def test_folding_with_a_norm_after_rotation_and_a_per_head_collapse(saved: Save) -> None:
    changes = {"qk_norm": "pseudo_head_after_rope", "collapse": "per_head", "qk_scale": 1.2}
    model = tiny_model(GLOBAL, **changes)
    with engine(saved(model), additional_config={"iha_fold": "always"}) as llm:
        outputs = generate(llm, PROMPTS)
    assert worst_logprob(model, PROMPTS, outputs) < TOLERANCE
