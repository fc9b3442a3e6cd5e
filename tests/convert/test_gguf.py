"""GGUF files of Llama models, written here in full precision, and files that are none."""

from collections.abc import Callable
from pathlib import Path

import gguf as writing
import numpy
import pytest
import torch
from plain_models import VOCABULARY, exact_logits, save_plain, stored
from transformers import AutoTokenizer

from model_adapters.convert import ConversionError, Recipe, gguf, upcycle

HEADS = {"attn_q": 4, "attn_k": 2}
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
FACTOR = "llama.rope.scaling.factor"
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write(
    file: Path,
    weights: dict[str, torch.Tensor],
    architecture: str = "llama",
    more: Callable[[writing.GGUFWriter], object] = lambda _: None,
) -> None:
    """A model of four heads of 8 over two key heads, and a byte-pair tokenizer."""
    writer = writing.GGUFWriter(file, architecture)
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    writer.add_block_count(3)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    tokens = ["<s>", "</s>", "AB", *(chr(ord("A") + number) for number in range(VOCABULARY - 3))]
    writer.add_token_list(tokens)
    writer.add_token_merges(["A B"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for name, tensor in weights.items():
        whole = name.removesuffix(".weight")
        short = TOP.get(whole)
        if short is None:
            _, _, layer, rest = whole.split(".", 3)
            short = f"blk.{layer}.{NAMES[rest]}"
        if heads := HEADS.get(short.rsplit(".", 1)[-1]):
            # Dimensions that are turned together lie beside each other.
            tensor = tensor.unflatten(0, (heads, 2, 4)).transpose(1, 2).flatten(0, 2)
        writer.add_tensor(f"{short}.weight", tensor.contiguous().numpy())
    more(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Those of a small base."""
    return stored(save_plain(tmp_path_factory.mktemp("gguf") / "base"))


def test_a_gguf_file_becomes_iha(tmp_path: Path) -> None:
    """Through a folder that is gone afterwards; the tokenizer goes along."""
    base = save_plain(tmp_path / "base")
    write(tmp_path / "model.gguf", stored(base))
    recipe = Recipe(2, "iha_global,full")
    made = upcycle(tmp_path / "model.gguf", tmp_path / "iha", recipe, dtype="float32")
    assert made.made.weights_dtype == "float32"
    wanted = exact_logits(base)
    torch.testing.assert_close(exact_logits(tmp_path / "iha"), wanted, atol=1e-6, rtol=0)
    assert AutoTokenizer.from_pretrained(tmp_path / "iha")("CAB").input_ids[-2:] == [5, 2]
    assert "tokenizer.json" in made.copied
    assert {path.name for path in tmp_path.iterdir()} == {"base", "model.gguf", "iha"}
    note = (tmp_path / "iha" / "iha_conversion.json").read_text()
    assert '"name": "model.gguf"' in note
    assert '"unpacked_as": "float32"' in note


@pytest.mark.parametrize("kind", ["missing", "garbage", "another architecture"])
def test_files_that_are_no_llama(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    words = {
        "missing": "is not there",
        "garbage": "is not understood by transformers",
        "another architecture": "of type 'qwen2', whose layers are not Llama's",
    }
    if kind == "garbage":
        file.write_bytes(b"GGUF" + b"\0" * 100)
    elif kind == "another architecture":
        write(file, {}, "qwen2")
    with pytest.raises(ConversionError, match=f"model.gguf .*{words[kind]}"):
        upcycle(file, tmp_path / "iha", Recipe(2))
    assert not (tmp_path / "iha").exists()


LOST: dict[str, tuple[Callable[[writing.GGUFWriter], object], str]] = {
    "scaling as Llama 3.1 has it": (
        lambda w: w.add_tensor("rope_freqs.weight", numpy.ones(4, "float32")),
        r"rotary scaling \(the tensor rope_freqs\.weight\)",
    ),
    "named scaling": (
        lambda w: (w.add_rope_scaling_type(writing.RopeScalingType.YARN), w.add_float32(FACTOR, 4)),
        r"rotary scaling \(rope\.scaling\.type 'yarn'\)",
    ),
    "scaling without a name": (lambda w: w.add_float32(FACTOR, 4), r"scaling \(factor 4\)"),
    "window": (
        lambda w: w.add_sliding_window(64),
        r"a window \(attention\.sliding_window 64\)",
    ),
    "bias": (
        lambda w: w.add_tensor("blk.0.attn_q.bias", numpy.ones(32, "float32")),
        r"holds blk\.0\.attn_q\.bias",
    ),
    "more layers": (
        lambda w: w.add_tensor("blk.3.attn_norm.weight", numpy.ones(32, "float32")),
        r"holds blk\.3\.attn_norm\.weight",
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_what_transformers_would_leave_out_unsaid(
    name: str, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    more, words = LOST[name]
    write(tmp_path / "model.gguf", weights, more=more)
    with pytest.raises(ConversionError, match=f"model.gguf .*{words}, which transformers does not"):
        upcycle(tmp_path / "model.gguf", tmp_path / "iha", Recipe(2))
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_one_part_of_several(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """What is missing would start at random."""
    part = {name: tensor for name, tensor in weights.items() if ".2." not in name}
    write(tmp_path / "model.gguf", part)
    with pytest.raises(ConversionError, match=r"lacks blk\.2\.attn_k\.weight, .* merge them first"):
        upcycle(tmp_path / "model.gguf", tmp_path / "iha", Recipe(2))


@pytest.mark.parametrize(
    "settings",
    [{}, {"rope.scaling.type": "none"}, {"rope.scaling.factor": 1.0}, {"rope.scale_linear": 0.0}],
    ids=str,
)
def test_settings_that_scale_nothing(settings: dict[str, object]) -> None:
    tensors = ["token_embd.weight", "output_norm.weight"]
    assert gguf._lost({"block_count": 0, **settings}, tensors) is None


def test_a_type_that_weights_cannot_have(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="dtype is 'int8': use one of float32, bfloat16"):
        upcycle(tmp_path / "model.gguf", tmp_path / "iha", Recipe(2), dtype="int8")


def test_what_reads_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").touch()
    found = gguf.importlib.util.find_spec
    monkeypatch.setattr(
        gguf.importlib.util, "find_spec", lambda name: None if name == "gguf" else found(name)
    )
    with pytest.raises(ConversionError, match=r"needs gguf .*'iha-eval\[gguf\]'"):
        upcycle(tmp_path / "model.gguf", tmp_path / "iha", Recipe(2))


def test_releases_that_always_unpack_are_not_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf.transformers, "GgufConfig", None)
    assert gguf._unpacking() == {}
