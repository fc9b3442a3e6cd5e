"""GGUF files of Llama models, written here in full precision, and files that are none."""

from pathlib import Path

import gguf as writing
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
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write(file: Path, weights: dict[str, torch.Tensor], architecture: str = "llama") -> None:
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
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


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


def test_a_type_that_weights_cannot_have(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="dtype is 'int8': use one of float32, bfloat16"):
        upcycle(tmp_path / "model.gguf", tmp_path / "iha", Recipe(2), dtype="int8")


def test_what_reads_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").touch()
    found = gguf.importlib.util.find_spec
    monkeypatch.setattr(
        gguf.importlib.util, "find_spec", lambda name: None if name == "gguf" else found(name)
    )
    with pytest.raises(ConversionError, match="needs gguf to be read: pip install gguf"):
        upcycle(tmp_path / "model.gguf", tmp_path / "iha", Recipe(2))


def test_releases_that_always_unpack_are_not_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf.transformers, "GgufConfig", None)
    assert gguf._unpacking() == {}
