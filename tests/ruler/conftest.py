"""Tokenizers of every kind that sizing meets, trained on a little text, and a cache per test."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from iha_eval.ruler.haystack import load_haystack

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}"
    "{% if not loop.last or add_generation_prompt %}</s>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<unk>", "<s>", "</s>"]


@cache
def sentences() -> list[str]:
    words = load_haystack("kjv").words(12000)
    numbers = [
        f"One of the special magic numbers for a-b is: {n}." for n in range(10**6, 10**6 + 99)
    ]
    return [" ".join(words[i : i + 12]) for i in range(0, len(words), 12)] + numbers


def trained(
    tokenizer: Tokenizer, trainer: trainers.Trainer, bos: bool = True
) -> PreTrainedTokenizerFast:
    tokenizer.train_from_iterator(sentences(), trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template=CHAT_TEMPLATE,
    )


def byte_level(*before: pre_tokenizers.PreTokenizer, regex: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.ByteLevel()
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*before, last])
    return tokenizer


def bpe_trainer(size: int = 1500) -> trainers.BpeTrainer:
    return trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )


def gpt2() -> PreTrainedTokenizerBase:
    return trained(byte_level(), bpe_trainer(), bos=False)


def single_digits() -> PreTrainedTokenizerBase:
    return trained(byte_level(pre_tokenizers.Digits(individual_digits=True)), bpe_trainer())


def llama3() -> PreTrainedTokenizerBase:
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    return trained(byte_level(split, regex=False), bpe_trainer())


def metaspace_bpe() -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return trained(tokenizer, bpe_trainer())


def llama2() -> PreTrainedTokenizerBase:
    """SentencePiece BPE: the text is never cut, and no token has the space mark inside."""
    tokenizer = metaspace_bpe().backend_tokenizer
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>", chat_template=CHAT_TEMPLATE
    )


def unigram() -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=800, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    return trained(tokenizer, trainer)


def wordpiece() -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=1500, special_tokens=SPECIAL, show_progress=False
    )
    return trained(tokenizer, trainer)


def crossing() -> PreTrainedTokenizerBase:
    """A BPE whose tokens span words, as `the Lord`: its counts are no sums."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    return trained(tokenizer, bpe_trainer(900))


def bytes_in_python() -> PreTrainedTokenizerBase:
    """A tokenizer without the Rust backend; it puts an end-of-sequence token behind every text."""
    return ByT5Tokenizer()


KINDS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    maker.__name__: cache(maker)
    for maker in (
        gpt2,
        single_digits,
        llama3,
        metaspace_bpe,
        llama2,
        unigram,
        wordpiece,
        crossing,
        bytes_in_python,
    )
}
#: Those whose counts are sums over words, so that sizing takes the fast way.
FAST = tuple(kind for kind in KINDS if kind not in ("crossing", "bytes_in_python"))


@pytest.fixture
def tokenizer_of() -> Callable[[str], PreTrainedTokenizerBase]:
    return lambda kind: KINDS[kind]()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("IHA_EVAL_CACHE", str(folder))
    return folder
