from collections.abc import Callable, Iterator
from typing import Any

import pytest

from iha_eval import current_model
from iha_eval.current_model import CurrentModel, tokenizer_sha256


@pytest.fixture(autouse=True)
def nothing_published() -> Iterator[None]:
    current_model.clear()
    yield
    current_model.clear()


def test_the_last_one_published_is_current(tokenizer_of: Callable[[str], Any]) -> None:
    assert current_model.current() is None
    models = [CurrentModel(tokenizer_of("gpt2"), name=name) for name in "ab"]
    for model in models:
        current_model.publish(model)
    assert current_model.current() is models[1]
    current_model.clear()
    assert current_model.current() is None


@pytest.mark.parametrize(
    ("kind", "add_bos", "starts"),
    [
        ("gpt2", None, False),
        ("gpt2", True, True),
        ("gpt2", False, False),
        ("single_digits", None, True),
        ("single_digits", True, True),
        ("single_digits", False, False),
    ],
)
def test_prompts_start_as_the_model_class_says(
    kind: str, add_bos: bool | None, starts: bool, tokenizer_of: Callable[[str], Any]
) -> None:
    tokenizer = tokenizer_of(kind)
    plain = tokenizer("the Lord", add_special_tokens=False)["input_ids"]
    expected = [tokenizer.bos_token_id, *plain] if starts else plain
    assert CurrentModel(tokenizer, add_bos).encode("the Lord") == expected


def test_a_prompt_that_has_a_bos_gets_no_second_one(tokenizer_of: Callable[[str], Any]) -> None:
    ids = CurrentModel(tokenizer_of("gpt2"), add_bos=True).encode("<s>the Lord")
    assert ids.count(tokenizer_of("gpt2").bos_token_id) == 1


def test_the_hash_follows_what_encodes_and_nothing_else(tokenizer_of: Callable[[str], Any]) -> None:
    tokenizer = tokenizer_of("gpt2")
    before = tokenizer_sha256(tokenizer)
    tokenizer(["a", "a b"], truncation=True, max_length=1, padding=False)
    try:
        assert tokenizer_sha256(tokenizer) == before
    finally:
        tokenizer.backend_tokenizer.no_truncation()
    hashes = {
        tokenizer_sha256(tokenizer_of(kind)) for kind in ("gpt2", "llama3", "bytes_in_python")
    }
    assert len(hashes) == 3
    assert before in hashes
