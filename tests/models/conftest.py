"""A tiny plain Llama with a byte-level tokenizer, and instances as lm-eval makes them."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

TEMPLATE = (
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<s>{{ m.role }}: {{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = ["<s>", "</s>", "<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    model = models.BPE(vocab={word: i for i, word in enumerate(vocabulary)}, merges=[])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<|end|>"],
        chat_template=TEMPLATE,
    )


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a float32 Llama: 2 layers, 2 heads of 32 over 1, context 512, seeded."""
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=512,
        # Wide, so that greedy choices are clear and no rounding turns them.
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def overflowing(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the same Llama with finite weights whose logits overflow."""
    folder = tmp_path_factory.mktemp("overflowing") / "model"
    shutil.copytree(llama, folder)
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {n: x * 1e38 if n == "lm_head.weight" else x for n, x in tensors.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    return folder


def _instance(kind: str, args: tuple[Any, ...], doc_id: int, task: str) -> Instance:
    return Instance(kind, {}, args, 0, (task, doc_id, 1))


@pytest.fixture(scope="session")
def ask() -> Callable[..., Instance]:
    """Makes a generate_until instance: `ask(prompt, doc_id, **generation_kwargs)`."""

    def make(prompt: str, doc_id: int = 0, task: str = "asked", **kwargs: Any) -> Instance:
        return _instance("generate_until", (prompt, kwargs), doc_id, task)

    return make


@pytest.fixture(scope="session")
def weigh() -> Callable[..., Instance]:
    """Makes a loglikelihood instance: `weigh(context, continuation, doc_id)`."""

    def make(context: str, continuation: str, doc_id: int = 0, task: str = "weighed") -> Instance:
        return _instance("loglikelihood", (context, continuation), doc_id, task)

    return make


@pytest.fixture(scope="session")
def roll() -> Callable[..., Instance]:
    """Makes a loglikelihood_rolling instance: `roll(text, doc_id)`."""

    def make(text: str, doc_id: int = 0, task: str = "rolled") -> Instance:
        return _instance("loglikelihood_rolling", (text,), doc_id, task)

    return make


@pytest.fixture(scope="session")
def prompts() -> list[str]:
    """Prompts of mixed lengths."""
    return ["hello world", "a", "The quick brown fox jumps. " * 4, "x = 1\ny = 2\n"]


@pytest.fixture(scope="session")
def theirs(llama: Path) -> HFLM:
    """lm-eval's own class on Transformers: what ours is held against."""
    return HFLM(str(llama), device="cpu", dtype="float32", batch_size=3)


@pytest.fixture(scope="session")
def local_task(tmp_path_factory: pytest.TempPathFactory) -> TaskManager:
    """A task manager that knows `tiny_quiz`: four documents, greedy, stop at a line's end."""
    folder = tmp_path_factory.mktemp("task")
    rows = [{"question": f"Q{number}: what is it?", "answer": "it"} for number in range(4)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "tiny_quiz.yaml").write_text(
        f"""
task: tiny_quiz
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder / "rows.jsonl"}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 12, do_sample: false}}
metric_list: [{{metric: exact_match}}]
"""
    )
    return TaskManager(include_path=str(folder), include_defaults=False)


@pytest.fixture(scope="session")
def greedy_pair(theirs: HFLM) -> tuple[tuple[str, str], list[int], list[int]]:
    """A context and what greedy decoding makes of it: tokens, since its bytes are no characters."""
    context = theirs.tok_encode("hello")
    ids = torch.tensor([context])
    made = theirs.model.generate(ids, max_new_tokens=3, do_sample=False, eos_token_id=None)
    return ("hello", "..."), context, made[0, len(context) :].tolist()
