"""Parameters, FLOPs and KV states against the real models, and the facts of the schedule."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import GLOBAL, HYBRID, MIXED, random_ids, tiny_config, tiny_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM

from model_adapters import ConfigError, IHAConfig, IHALlamaForCausalLM
from model_adapters.config import LAYER_KINDS, WINDOWED_KINDS
from model_adapters.cost import LayerShape, ModelShape, decode_flops, model_shape, prefill_flops
from model_adapters.naive import visible

# Section 4 of the paper: its 2.4B model, and the schedule of its App. C.
PAPER = {
    "vocab_size": 128256,
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "num_hidden_layers": 26,
    "num_attention_heads": 20,
    "num_key_value_heads": 20,
    "head_dim": 128,
    "tie_word_embeddings": True,
}


def counted(config: LlamaConfig) -> int:
    """Parameters of the real model, without memory for them."""
    kind = IHALlamaForCausalLM if isinstance(config, IHAConfig) else LlamaForCausalLM
    with torch.device("meta"):
        model = kind(config)
    return sum(parameter.numel() for parameter in model.parameters())


@st.composite
def configs(draw: st.DrawFn) -> LlamaConfig:
    kv_heads = draw(st.integers(1, 4))
    heads = kv_heads * draw(st.integers(1, 4))
    fields: dict[str, Any] = {
        "vocab_size": draw(st.integers(2, 300)),
        "hidden_size": heads * draw(st.integers(1, 9)),
        "intermediate_size": draw(st.integers(1, 90)),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 2 * draw(st.integers(1, 20)),
        "tie_word_embeddings": draw(st.booleans()),
        "attention_bias": draw(st.booleans()),
        "mlp_bias": draw(st.booleans()),
        "bos_token_id": None,
        "eos_token_id": None,
    }
    kinds = draw(st.lists(st.sampled_from(LAYER_KINDS), min_size=1, max_size=5))
    if draw(st.booleans()):
        return LlamaConfig(**fields, num_hidden_layers=len(kinds))
    return IHAConfig(
        **fields,
        num_hidden_layers=len(kinds),
        num_pseudo_heads=draw(st.integers(1, 5)),
        iha_layer_types=kinds,
        iha_window=draw(st.integers(1, 9)) if set(kinds) & set(WINDOWED_KINDS) else None,
    )


@given(configs())
@settings(max_examples=40, deadline=None)
def test_parameters_are_those_of_the_real_model(config: LlamaConfig) -> None:
    assert model_shape(config).parameters == counted(config)


@pytest.mark.parametrize("pseudo", [2, 4, 20])
def test_mixing_adds_four_parameters_a_pair_of_heads_and_pseudo_head(pseudo: int) -> None:
    model = model_shape(IHAConfig(**PAPER, num_pseudo_heads=pseudo))
    assert model.parameters - model.baseline.parameters == 26 * 4 * 20**2 * pseudo


def test_the_papers_shape_is_larger_with_llamas_gated_mlp() -> None:
    """Three MLP matrices make 3.05B; the paper's 2.4B has two, and a shared embedding."""
    model = model_shape(LlamaConfig(**PAPER))
    assert model.parameters == counted(LlamaConfig(**PAPER)) == 3_054_768_640
    two_matrices = model.parameters - 26 * model.mlp_parameters // 3
    assert two_matrices == pytest.approx(2.4e9, rel=0.02)


@given(
    tokens=st.integers(1, 9),
    pseudo=st.integers(1, 4),
    window=st.none() | st.integers(1, 12),
    kind=st.sampled_from([("virtual", "virtual"), ("virtual", "token"), ("token", "token")]),
    less=st.integers(0, 3),
)
@settings(max_examples=100, deadline=None)
def test_pairs_and_states_are_those_of_the_definitions_mask(
    tokens: int, pseudo: int, window: int | None, kind: tuple[str, str], less: int
) -> None:
    causal, edge = kind
    slots = None
    if window is not None and edge == "virtual" and less < pseudo:
        slots = window * pseudo - less
    layer = LayerShape("iha_sliding", pseudo, window, slots, causal, edge)
    mask = visible(tokens, pseudo, window, slots=slots, causal=causal, edge=edge)
    assert layer.pairs(tokens) == mask.sum()
    assert layer.last_pairs(tokens) == mask[-pseudo:].sum()
    # The last virtual token sees a window of its own; the others are no further back.
    assert layer.states(tokens) == mask[-1].sum()


SHAPES = {
    "mixed-P2-G2": tiny_config(MIXED),
    "mixed-P3-G4-bias": tiny_config(
        MIXED, num_pseudo_heads=3, num_key_value_heads=4, attention_bias=True, mlp_bias=True
    ),
    "global-P1-tied": tiny_config(GLOBAL, num_pseudo_heads=1, tie_word_embeddings=True),
    "plain": tiny_config(["full"] * 3),
}


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_flops_of_a_prompt_are_those_that_torch_counts(config: IHAConfig) -> None:
    """Eager attention computes masked pairs too, so those are added to the model's count."""
    tokens, model = 24, tiny_model(config.layer_kinds, **_fields(config))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.tensor([random_ids(tokens)]))
    shape = model_shape(config)
    ours = prefill_flops(shape, tokens)
    every = sum(4 * 4 * 32 * (tokens * layer.pseudo_heads) ** 2 for layer in shape.layers)
    assert counter.get_total_flops() == tokens * replace(ours, attention=0).total + every
    seen = sum(4 * 4 * 32 * layer.pairs(tokens) for layer in shape.layers)
    assert tokens * ours.attention == pytest.approx(seen)


def test_flops_of_decoding_are_those_that_torch_counts() -> None:
    """With one query a step nothing is masked, so eager attention computes what we count."""
    config = tiny_config(["full"] * 3)
    model = tiny_model(["full"] * 3, **_fields(config))
    ids = torch.tensor([random_ids(33)])
    with torch.no_grad():
        cache = model(ids[:, :-1], use_cache=True).past_key_values
        with FlopCounterMode(display=False) as counter:
            model(ids[:, -1:], past_key_values=cache)
    assert counter.get_total_flops() == decode_flops(model_shape(config), 33).total


def _fields(config: IHAConfig) -> dict[str, Any]:
    names = ("num_pseudo_heads", "num_key_value_heads", "attention_bias", "mlp_bias")
    fields = {name: getattr(config, name) for name in (*names, "tie_word_embeddings")}
    return fields | {"attn_implementation": "eager"}


def hybrid(pseudo: int, context: int) -> ModelShape:
    """Four windowed IHA layers and a full one, FLOP-matched at a context."""
    fields = PAPER | {"num_hidden_layers": 5}
    return model_shape(
        IHAConfig(
            **fields,
            num_pseudo_heads=pseudo,
            iha_layer_types=HYBRID,
            iha_window=context // (2 * pseudo**2),
        )
    )


@pytest.mark.parametrize(("pseudo", "share"), [(2, 0.40), (4, 0.30), (20, 0.22)])
def test_the_hybrid_keeps_less_kv_cache_than_its_baseline(pseudo: int, share: float) -> None:
    context = 3200 * 8
    model = hybrid(pseudo, context)
    assert (4 / (2 * pseudo) + 1) / 5 == pytest.approx(share)
    assert model.kv_bytes(context, 2) == pytest.approx(share * model.baseline.kv_bytes(context, 2))


@pytest.mark.parametrize("pseudo", [2, 4, 20])
@pytest.mark.parametrize(("times", "share"), [(1, 1.0), (2, 0.6), (4, 0.4)])
def test_the_hybrid_is_flop_matched_at_its_context_and_cheaper_beyond(
    pseudo: int, times: int, share: float
) -> None:
    """The paper counts whole windows; the first tokens of a prompt see less than one."""
    matched = 3200 * 8
    model, context = hybrid(pseudo, matched), times * matched
    reach = matched / (2 * pseudo)
    growing = 4 * reach**2 / 2 / (5 * context**2 / 2)
    ratio = (
        prefill_flops(model, context).attention / prefill_flops(model.baseline, context).attention
    )
    assert ratio == pytest.approx(share - growing, rel=1e-4)


@pytest.mark.parametrize(("pseudo", "share"), [(2, 0.016), (20, 0.16)])
def test_mixing_costs_about_p_over_d_of_the_projections(pseudo: int, share: float) -> None:
    flops = decode_flops(model_shape(IHAConfig(**PAPER, num_pseudo_heads=pseudo)), 1)
    assert flops.mixing / flops.projections == pytest.approx(share, rel=0.03)


def test_an_untied_embedding_is_stored_and_not_read() -> None:
    tied = model_shape(LlamaConfig(**PAPER))
    untied = replace(tied, tied=False)
    assert untied.parameters - tied.parameters == 128256 * 2560
    assert untied.parameters_read == tied.parameters_read == tied.parameters


def test_another_architecture_is_refused() -> None:
    with pytest.raises(ConfigError, match="model_type is 'gpt2', whose costs are not known"):
        model_shape(GPT2Config())
