"""Checkpoints and arguments that cannot be meant: a sentence each, or they are taken; no traceback.

Every case is one change to a sound tiny checkpoint, or one set of arguments beside it.
"""

import ast
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from tiny_models import tiny_model

from iha_eval import current_model
from iha_eval.errors import user_message
from iha_eval.models import source, tokenizer
from iha_eval.models.arguments import (
    ALIASES,
    INSTEAD,
    NO_OPS,
    OF_VLLM,
    SHARED_NAMES,
    parse,
    refuse_unknown,
)
from iha_eval.models.hf.model import IHAHF
from iha_eval.models.hf.model import KNOWN as HF_NAMES
from iha_eval.models.tokenizer import PromptTokenizer
from iha_eval.models.vllm import engine_arguments

VALUES: tuple[Any, ...] = (
    *(0, -1, 2**63, 10**400, 1.5, float("nan"), float("inf"), True, "text", "", None, [], [1], {}),
    {"a": {"b": 1}},
)
FIELDS = (
    *("max_position_embeddings", "num_hidden_layers", "hidden_size", "vocab_size", "head_dim"),
    *("num_attention_heads", "num_key_value_heads", "intermediate_size", "rms_norm_eps"),
    *("rope_theta", "rope_parameters", "rope_scaling", "dtype", "torch_dtype", "num_labels"),
    *("quantization_config", "model_type", "eos_token_id", "bos_token_id", "hidden_act"),
    *("num_pseudo_heads", "iha_layer_types", "iha_window", "pseudo_rope", "architectures"),
    *("attn_implementation", "tie_word_embeddings", "attention_bias", "id2label", "auto_map"),
)
# Text of a file -> a word of the sentence that it must give; None where it is taken as it is.
FILES: dict[str, tuple[str, str | None]] = {
    "generation_config.json": ("{", "generation_config.json is no mapping"),
    "generation_config.json ": ("[1]", "generation_config.json is no mapping"),
    "generation_config.json  ": ('{"eos_token_id": "x"}', "eos_token_id x"),
    "generation_config.json   ": ('{"eos_token_id": [1, 2]}', None),
    "generation_config.json    ": ("[" * 100_000, "generation_config.json is no mapping"),
    "tokenizer_config.json": ("{", "no tokenizer that can be read"),
    "tokenizer_config.json ": ("[]", "no tokenizer that can be read"),
    "tokenizer_config.json  ": ('{"tokenizer_class": 5}', "no tokenizer that can be read"),
    "tokenizer.json": ("{}", "no tokenizer that can be read"),
    "config.json": ("[" * 100_000, "not readable as JSON"),
}
TEMPLATES = {
    "divides": ("{{ 1 / 0 }}", "refuses this chat (ZeroDivisionError"),
    "includes": ("{% include '/etc/passwd' %}", "refuses this chat"),
    "adds": ("{{ 1 + 'a' }}", "refuses this chat"),
    "broken": ("{% for %}", "refuses this chat (TemplateSyntaxError"),
    "range": ("{% for i in range(10**9) %}x{% endfor %}", "refuses this chat (OverflowError"),
    "loops": (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "takes more than",
    ),
    "doubles": (
        "{% set n = namespace(x='ab') %}"
        "{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "takes more than",
    ),
    "attribute": ("{{ messages.__class__.__mro__ }}", "refuses this chat (SecurityError"),
}


@pytest.fixture(autouse=True)
def nothing_published() -> Iterator[None]:
    yield
    current_model.clear()


@pytest.fixture(scope="module")
def iha(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound tiny IHA checkpoint with the tokenizer of the tiny Llama."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copytree(llama, folder, dirs_exist_ok=True)
    tiny_model().save_pretrained(folder)
    return folder


def sentence(run: Callable[[], object]) -> str | None:
    """What the user is told; None if it is taken. Anything else is a traceback, and fails."""
    try:
        run()
    except Exception as error:
        said = user_message(error)
        if said is None or len(said) > 1000:
            pytest.fail(f"a traceback, or no sentence: {type(error).__name__}: {error}")
        return said
    return None


def read(folder: Path) -> PromptTokenizer:
    text = PromptTokenizer(source.find_checkpoint(str(folder)), parse({}))
    _ = text.end_ids
    return text


@pytest.mark.slow
@pytest.mark.parametrize("base", ["llama", "iha"])
def test_no_change_of_a_configuration_ends_in_a_traceback(
    base: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(request.getfixturevalue(base), folder)
    raw = json.loads((folder / "config.json").read_text())
    refused = 0
    for field in FIELDS:
        for value in VALUES:
            (folder / "config.json").write_text(json.dumps({**raw, field: value}))
            refused += sentence(lambda: read(folder)) is not None
    assert len(FIELDS) * len(VALUES) > 400
    assert refused > 150


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("rope_theta", bad) for bad in (-1, 0, float("nan"), float("inf"), "1e4")),
        *(("rms_norm_eps", bad) for bad in (-1, 0, float("nan"))),
        *(("max_position_embeddings", bad) for bad in (0, -1)),
        ("num_hidden_layers", 2**63),
        ("num_hidden_layers", 9_000),
        ("num_labels", 10**7),
        ("torch_dtype", "float99"),
        ("quantization_config", "int4"),
        ("rope_parameters", {"full_attention": {"rope_theta": 1e6}}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": -1}),
        # Beside the rope_parameters that the checkpoint has.
        ("rope_theta", 123.0),
        ("rope_scaling", {"rope_type": "linear", "factor": 4.0}),
    ],
    ids=str,
)
@pytest.mark.parametrize("base", ["llama", "iha"])
def test_fields_that_would_give_wrong_numbers_are_refused(
    base: str, field: str, value: object, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(request.getfixturevalue(base), folder)
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, field: value}))
    said = sentence(lambda: read(folder))
    assert said is not None
    assert field in said


@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_beside_the_weights_gives_one_sentence(
    name: str, llama: Path, tmp_path: Path
) -> None:
    content, words = FILES[name]
    folder = tmp_path / "checkpoint"
    shutil.copytree(llama, folder)
    (folder / name.strip()).write_text(content)
    said = sentence(lambda: read(folder))
    assert said is None if words is None else words in str(said)


BESIDE = ("generation_config.json", "tokenizer_config.json", "chat_template.jinja", "config.json")


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("target", ["/nowhere/file", None])
def test_a_link_that_leads_nowhere_is_told_and_not_passed_over(
    name: str, target: str | None, llama: Path, tmp_path: Path
) -> None:
    """As where a cache of downloads was cleaned: without stops or a template scores are wrong."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(llama, folder)
    (folder / name).unlink(missing_ok=True)
    # A link to itself is one too.
    (folder / name).symlink_to(target or name)
    assert f"{name} is a link to" in str(sentence(lambda: read(folder)))


@pytest.mark.parametrize("file", ["x" * 5000, "a\0b", "", ".", "\ud800", "../x", "/etc/passwd"])
def test_an_index_of_names_that_no_file_has_gives_one_sentence(
    file: str, llama: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(llama, folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": file}}))
    assert "model.safetensors.index.json names" in str(sentence(lambda: read(folder)))


@pytest.mark.parametrize("content", ["version https://git-lfs.github.com/spec/v1", "<html>", "[]"])
def test_a_template_without_the_question_is_refused(
    content: str, llama: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(llama, folder)
    (folder / "chat_template.jinja").write_text(content)
    text = read(folder)
    told = sentence(lambda: text.chat([{"role": "user", "content": "What is 1?"}], True))
    assert f"leaves every message out, for it writes '{content[:30]}" in str(told)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_bounded_in_time_and_memory(
    name: str, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "TEMPLATE_SECONDS", 1.0)
    template, words = TEMPLATES[name]
    folder = tmp_path / "checkpoint"
    shutil.copytree(llama, folder)
    (folder / "chat_template.jinja").write_text(template)
    text = read(folder)
    said = sentence(lambda: text.chat([{"role": "user", "content": "hi"}], True))
    assert words in str(said)


def test_what_a_checkpoint_says_of_attention_is_dropped_and_asks_no_network(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(llama, folder)
    raw = json.loads((folder / "config.json").read_text())
    raw["attn_implementation"] = "someone/kernels"
    (folder / "config.json").write_text(json.dumps(raw))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was asked"))
    found = source.find_checkpoint(str(folder))
    assert "someone" not in str(vars(found.checkpoint.config))
    assert IHAHF(folder)._prepare(64, [64]) is None


def test_a_tokenizer_that_is_not_its_file_is_told(
    llama: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(llama, folder)
    read(folder)
    assert "may be wrong" not in caplog.text
    raw = json.loads((folder / "tokenizer.json").read_text())
    raw["pre_tokenizer"]["add_prefix_space"] = True
    raw["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["tokenizer_class"] = "GPT2Tokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    said = sentence(lambda: read(folder))
    assert (
        said is not None or "tokenizer_class in tokenizer_config.json may be wrong" in caplog.text
    )


@pytest.mark.slow
def test_no_arguments_end_in_a_traceback(llama: Path) -> None:
    names = dict.fromkeys((*SHARED_NAMES, *ALIASES, *INSTEAD, *NO_OPS, "attn_implementation", "x"))
    tried = 0
    for name in names:
        # What is not there would be looked for on the hub.
        for value in VALUES if name not in ("pretrained", "tokenizer") else VALUES[:3]:
            given = {"pretrained": str(llama), name: value}
            sentence(lambda given=given: IHAHF(**given))
            tried += 1
    assert tried > 400


def lm_evals_own(file: str, name: str) -> dict[str, Any]:
    """Arguments of a model class of lm-eval with their defaults, without importing its engine."""
    path = Path(lm_eval.__file__).parent / "models" / file
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    [made] = [
        node
        for kind in classes
        if kind.name == name
        for node in kind.body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    ]
    names = [argument.arg for argument in (*made.args.args, *made.args.kwonlyargs)]
    values = [*made.args.defaults, *made.args.kw_defaults]
    given = dict(zip(names[-len(values) :], values, strict=True))
    return {
        name: ast.literal_eval(given[name]) if given.get(name) is not None else None
        for name in names
        if name != "self"
    }


@pytest.mark.parametrize(
    ("model", "own", "known"),
    [
        ("iha-hf", lm_evals_own("huggingface.py", "HFLM"), HF_NAMES),
        ("iha-vllm", lm_evals_own("vllm_causallms.py", "VLLM"), None),
        ("iha-hf", lm_evals_own("vllm_causallms.py", "VLLM"), HF_NAMES),
        ("iha-vllm", lm_evals_own("huggingface.py", "HFLM"), None),
    ],
)
def test_a_command_for_lm_evals_own_class_is_taken_or_told_what_to_say(
    model: str, own: dict[str, Any], known: Sequence[str] | None
) -> None:
    def told(name: str, value: Any) -> str | None:
        def check() -> None:
            engine = parse({name: value}).engine
            if known is None:
                # The model class takes it out before.
                engine.pop("data_parallel_size", None)
                engine_arguments.check(model, engine)
            else:
                refuse_unknown(model, engine, known)

        return sentence(check)

    assert len(own) > 20
    for name, default in own.items():
        if name not in OF_VLLM:
            assert told(name, default) is None, (name, default)
        for value in ("x", 1, True, False, 0.5, [1], {"a": 1}):
            assert len(told(name, value) or "") < 250, (name, value, told(name, value))


def test_no_engine_arguments_end_in_a_traceback() -> None:
    names = (*engine_arguments.COMMON, *INSTEAD, "logprobs_mode", "max_logprobs", "colour", "model")
    for name in names:
        for value in VALUES:
            if value is not None:
                sentence(lambda name=name, value=value: engine_arguments.check("x", {name: value}))
