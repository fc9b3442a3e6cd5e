"""A tokenizer with a chat template, published as by a model class, and a cache to share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from iha_eval import current_model
from iha_eval.ruler import load_haystack


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = load_haystack("kjv").words(5000)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(words)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        chat_template=(
            "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}"
            "{% if not loop.last or add_generation_prompt %}</s>\n{% endif %}{% endfor %}"
        ),
    )


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One cache for this file: sizing nine times 500 documents in every test would take minutes."""
    folder = tmp_path_factory.getbasetemp() / "ruler_mk_cache"
    monkeypatch.setenv("IHA_EVAL_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def published(tokenizer: PreTrainedTokenizerFast) -> Iterator[None]:
    current_model.publish(current_model.CurrentModel(tokenizer))
    yield
    current_model.clear()
