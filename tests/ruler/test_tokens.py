from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from iha_eval.ruler.haystack import load_haystack
from iha_eval.ruler.tokens import TokenCounter, counter_for

KINDS = [
    *("gpt2", "single_digits", "llama3", "metaspace_bpe", "llama2", "unigram", "wordpiece"),
    *("crossing", "bytes_in_python"),
]
NOT_SUMS = ("crossing", "bytes_in_python")


def prose() -> str:
    return " ".join(load_haystack("kjv").words(2000))


@pytest.mark.parametrize("kind", KINDS)
def test_which_tokenizers_count_in_sums(kind: str, tokenizer_of: Callable[[str], Any]) -> None:
    assert TokenCounter(tokenizer_of(kind)).additive_on(prose()) == (kind not in NOT_SUMS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in NOT_SUMS])
def test_sums_are_exact_in_the_middle_of_a_text(
    kind: str, tokenizer_of: Callable[[str], Any]
) -> None:
    tokenizer = tokenizer_of(kind)
    counter = TokenCounter(tokenizer)

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    for middle in ("and it rained.\nOne of", "x.y: 1234567.\nWhat 9 caf\u00e9", prose()[:5000]):
        assert count(f"In {middle} so") - count("In so") == counter.pieces(middle)


@pytest.mark.parametrize(
    ("kind", "room"), [("gpt2", 1), ("single_digits", 0), ("bytes_in_python", 0)]
)
def test_a_prompt_has_room_for_a_bos_whether_or_not_the_tokenizer_adds_one(
    kind: str, room: int, tokenizer_of: Callable[[str], Any]
) -> None:
    tokenizer = tokenizer_of(kind)
    text = "In the beginning"
    assert TokenCounter(tokenizer).prompt(text) == len(tokenizer(text)["input_ids"]) + room


def test_truncation_left_on_by_others_does_not_matter(tokenizer_of: Callable[[str], Any]) -> None:
    tokenizer = tokenizer_of("gpt2")
    expected = TokenCounter(tokenizer)
    long = prose()
    counts = (expected.prompt(long), expected.costs([long])[0], expected.sha256)
    tokenizer(long, truncation=True, max_length=5)
    try:
        assert tokenizer.backend_tokenizer.truncation is not None
        counter = TokenCounter(tokenizer)
        assert (counter.costs([long])[0], counter.sha256) == counts[1:]
        assert counter.prompt(long) == counts[0]
    finally:
        tokenizer.backend_tokenizer.no_truncation()


def test_costs_are_sums_of_pieces(tokenizer_of: Callable[[str], Any]) -> None:
    counter = TokenCounter(tokenizer_of("llama3"))
    texts = ["the Lord", "the", "Lord"]
    whole, *parts = counter.costs(texts)
    assert whole == sum(parts) > 0


def test_a_counter_is_kept_until_the_tokenizer_changes(tokenizer_of: Callable[[str], Any]) -> None:
    tokenizer = tokenizer_of("wordpiece")
    counter = counter_for(tokenizer)
    assert counter_for(tokenizer) is counter
    assert counter_for(tokenizer_of("gpt2")) is not counter


def test_a_model_that_takes_whole_texts_for_words_is_no_sum() -> None:
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "\u2581": 1}, unk_token="<unk>"))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    assert not TokenCounter(fast).additive_on(prose())
