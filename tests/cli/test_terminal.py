"""No control character of a checkpoint's files, or of its name, reaches a terminal."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from iha_eval.cli import main
from iha_eval.doctor import packages
from iha_eval.util.log import logger
from model_adapters.default_checkpoint import folder as embedded

# Colours, a title, a cleared screen, a carriage return, a C1 control, text from right to left.
EVIL = "\x1b[31m\x1b]0;title\x07\x1b[2J\r\x9b5m\u202e"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SHAPE: dict[str, int] = {
    "vocab_size": 9351,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    LlamaForCausalLM(LlamaConfig(**SHAPE)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(embedded()).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No bars, which begin their line anew; and of doctor, what looks at the checkpoint."""
    monkeypatch.setattr(packages, "CHECKS", ())
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


def edit(name: str, **changes: object) -> Callable[[Path], None]:
    """Fields of a JSON file, set."""

    def change(folder: Path) -> None:
        file = folder / name
        content = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**content, **changes}))

    return change


def tensor(name: str, *shape: int) -> Callable[[Path], None]:
    """One more tensor."""

    def change(folder: Path) -> None:
        file = folder / "model.safetensors"
        save_file({**load_file(file), name: torch.ones(shape)}, file, metadata={"format": "pt"})

    return change


def not_finite(folder: Path) -> None:
    file = folder / "model.safetensors"
    save_file({**load_file(file), EVIL: torch.tensor([float("nan")])}, file)


def index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    edit("model.safetensors.index.json", weight_map={"a": f"{EVIL}.safetensors"})(folder)


def header(folder: Path) -> None:
    text = json.dumps({EVIL: {"dtype": EVIL, "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"1234")


def special_token(folder: Path) -> None:
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    content["added_tokens"][0]["content"] = EVIL
    file.write_text(json.dumps(content))


CHANGES: dict[str, Callable[[Path], None]] = {
    "nothing": lambda _: None,
    "tensor": tensor(f"model.{EVIL}.weight", 1),
    "IHA tensor": tensor(f"model.layers.0.self_attn.alpha_q{EVIL}", 2, 2),
    "tensor that is not finite": not_finite,
    "index": index,
    "header": header,
    "config that is none": lambda folder: (folder / "config.json").write_text(EVIL) and None,
    "tokenizer that is none": lambda folder: (folder / "tokenizer.json").write_text(EVIL) and None,
    "special token": special_token,
    "template": lambda folder: (
        (folder / "chat_template.jinja").write_text(
            "{{ raise_exception(" + json.dumps(EVIL) + ") }}"
        )
        and None
    ),
    "template that is none": lambda folder: (
        (folder / "chat_template.jinja").write_text("{% " + EVIL + " %}") and None
    ),
    "tokenizer class": edit("tokenizer_config.json", tokenizer_class=EVIL),
    "generation": edit("generation_config.json", eos_token_id=EVIL),
    "a field of that name": edit("config.json", **{EVIL: EVIL}),
    **{
        f"config {field}": edit("config.json", **{field: EVIL})
        for field in (
            *("model_type", "hidden_act", "dtype", "torch_dtype", "hidden_size", "rms_norm_eps"),
            *("rope_parameters", "rope_scaling", "layer_types", "quantization_config", "id2label"),
            *("attn_implementation", "transformers_version", "_name_or_path", "auto_map"),
        )
    },
    "config architectures": edit("config.json", architectures=[EVIL]),
    "config quantization": edit("config.json", quantization_config={"quant_method": EVIL}),
    "config rope": edit("config.json", rope_parameters={"rope_type": EVIL, EVIL: 1}),
    "config layers": edit(
        "config.json", model_type="iha_llama", num_pseudo_heads=2, iha_layer_types=[EVIL]
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_command_prints_control_characters(
    change: str, sound: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # The shape of the name matters too: it stands in most sentences.
    folder = tmp_path / f"a{EVIL}b"
    shutil.copytree(sound, folder)
    CHANGES[change](folder)
    for words in (
        ["inspect"],
        ["doctor"],
        ["verify", "--without", "vllm", "--prompts", "short"],
        ["convert", "--out", str(tmp_path / f"out{EVIL}"), "--pseudo-heads", "2"],
    ):
        try:
            code: object = main([words[0], str(folder), *words[1:]])
        except SystemExit as end:
            code = end.code
        told = capfd.readouterr()
        text = told.out + told.err
        assert "Traceback" not in text, text
        assert code in (0, 1, 2)
        assert text.strip()
        assert not CONTROLS.search(text), ascii(text)


def test_no_line_of_the_log_has_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    logger.warning("%s has a %s", EVIL, EVIL)
    logger.warning(EVIL)
    assert caplog.messages
    assert not CONTROLS.search(caplog.text)
