"""The two models of a preset: the hybrid with IHA, and full attention of the same shape.

For: their configurations, their first weights, and the window of a stage.
Not for: training them (see `train.py`).
"""

from dataclasses import replace

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from iha_eval.errors import UserError
from model_adapters.config import IHAConfig
from model_adapters.hf.modeling import IHALlamaForCausalLM
from recipes.needle.presets import Preset
from recipes.needle.tokenizer import key_entries

KINDS = ("iha", "baseline")
PSEUDO_HEADS = 2
# Standard deviations of first weights; see `_start`.
MATCHING, COPYING, EMBEDDING, HEAD = 0.1, 0.1, 1.0, 0.1
# Lengths of what all entries, and of what the words of keys, have in common in the embedding, in
# parts of an entry's own length.
COMMON, KEY_WORD = 0.5, 1.0
LOOKING = 1.0
# An answer and its key.
SMALLEST_WINDOW = 32


def window(length: int) -> int:
    """N / (2 P^2): what gives the hybrid the baseline's attention FLOPs at N tokens.

    The first lengths of a curriculum are too short for that; there it is `SMALLEST_WINDOW`.
    """
    return max(length // (2 * PSEUDO_HEADS**2), SMALLEST_WINDOW)


def config(kind: str, preset: Preset, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """The configuration of one of `KINDS`.

    Raises:
        UserError: There is no such kind.
    """
    if kind not in KINDS:
        raise UserError(f"there is no model {kind!r}: use one of {', '.join(KINDS)}.")
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": preset.width,
        "intermediate_size": preset.hidden,
        "num_hidden_layers": preset.layers,
        "num_attention_heads": preset.heads,
        "num_key_value_heads": preset.heads,
        "head_dim": preset.head_width,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": preset.theta},
        "tie_word_embeddings": False,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "use_cache": True,
    }
    if kind == "baseline":
        return LlamaConfig(**shape, architectures=["LlamaForCausalLM"])
    return IHAConfig(
        **shape,
        architectures=["IHALlamaForCausalLM"],
        num_pseudo_heads=PSEUDO_HEADS,
        iha_layer_types=(["iha_sliding"] * 4 + ["full"]) * (preset.layers // 5),
        iha_window=window(max(stage.length for stage in preset.stages)),
        pseudo_rope="virtual",
    )


def build(
    kind: str, preset: Preset, tokenizer: PreTrainedTokenizerFast, seed: int
) -> LlamaForCausalLM:
    """A model with its first weights, in float32; what both kinds have starts the same."""
    settings = config(kind, preset, tokenizer)
    classes: dict[str, type[LlamaForCausalLM]] = {
        "iha": IHALlamaForCausalLM,
        "baseline": LlamaForCausalLM,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = classes[kind](settings)
        model.to(torch.float32)  # type: ignore[arg-type]
        # Again, since IHA's own tensors have been drawn in one of the two.
        torch.manual_seed(seed)
        _start(model, list(key_entries()))
    return model


@torch.no_grad()
def _start(model: LlamaForCausalLM, key_words: list[int]) -> None:
    """First weights in which a question already leans a little to its line.

    From plain noise the pair has to find three things at once, each worth nothing without the
    others: what key a value has, what key is asked for, that they are the same. So the first
    layer starts by looking at the last words of keys, the others by attending to what is alike
    (queries and keys are one projection), and values pass through nearly as they are.
    """
    width = model.config.hidden_size
    embedding, head = model.model.embed_tokens.weight, model.lm_head.weight
    nn.init.normal_(embedding, std=EMBEDDING)
    common, of_keys = torch.linalg.qr(torch.randn(width, 2)).Q.T
    embedding -= torch.outer(embedding @ common, common) + torch.outer(embedding @ of_keys, of_keys)
    # Apart from the embedding, but equal at first, so that what is copied is named.
    head.copy_(embedding * HEAD / EMBEDDING)
    embedding += COMMON * EMBEDDING * width**0.5 * common
    embedding[key_words] += KEY_WORD * EMBEDDING * width**0.5 * of_keys
    for layer in model.model.layers:
        attention, network = layer.self_attn, layer.mlp
        match = nn.init.normal_(attention.q_proj.weight, std=MATCHING)
        match -= torch.outer(match @ common, common) + torch.outer(match @ of_keys, of_keys)
        attention.k_proj.weight.copy_(match)
        nn.init.normal_(attention.v_proj.weight, std=COPYING)
        attention.o_proj.weight.copy_(attention.v_proj.weight.T)
        for projection in (network.gate_proj, network.up_proj, network.down_proj):
            nn.init.normal_(projection.weight, std=model.config.initializer_range)
    first = model.model.layers[0].self_attn
    size: int = first.head_dim
    # Rotary pairs whose period is some tens of tokens.
    near = torch.zeros(size)
    near[size // 16 : size * 3 // 16] = LOOKING
    near = near.repeat(model.config.num_attention_heads)
    first.q_proj.weight.mul_(0.1).add_(torch.outer(near, common))
    first.k_proj.weight.mul_(0.1).add_(torch.outer(near, of_keys))


def set_window(model: LlamaForCausalLM, length: int) -> None:
    """Give windowed layers, and the configuration, the window of `length`; or do nothing."""
    if isinstance(model.config, IHAConfig):
        model.config.iha_window = window(length)
    for layer in model.model.layers:
        recipe = getattr(layer.self_attn, "recipe", None)
        if recipe is not None and recipe.mask.window is not None:
            mask = replace(recipe.mask, window=window(length))
            layer.self_attn.recipe = replace(recipe, mask=mask)
