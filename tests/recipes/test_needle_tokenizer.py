"""The demo pair's tokenizer: what is one token, what falls apart, and that nothing is lost."""

import pytest
from transformers import AutoTokenizer

from iha_eval.ruler import VARIANTS
from iha_eval.ruler.draw import Stream, key_words
from iha_eval.ruler.tokens import TokenCounter
from model_adapters.default_checkpoint import DESCRIPTIONS, folder
from recipes.needle.tokenizer import key_entries, make_tokenizer

UUID = "deadbeef-cafe-4bad-9fee-0123456789ab"


def tokens(text):
    tokenizer = make_tokenizer()
    return [tokenizer.decode(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]


@pytest.mark.parametrize("text", ["1234567", " 1234567."], ids=["number", "answer"])
def test_digits_are_apart(text):
    assert [t for t in tokens(text) if t.isdigit()] == list("1234567")


@pytest.mark.parametrize("before", ["", "for ", "is: "], ids=["alone", "key", "value"])
def test_characters_of_a_uuid_are_apart_even_where_they_spell_words(before):
    assert tokens(before + UUID)[-36:] == list(UUID)


def test_a_key_of_two_plain_words_is_two_tokens():
    words = key_words()
    plain = [a for a in words.adjectives if a.isalpha() and a.islower()][::50]
    nouns = [n for n in words.nouns if n.isalpha()][::300]
    for adjective, noun in zip(plain, nouns, strict=False):
        assert tokens(f" for {adjective}-{noun} is") == [" for", f" {adjective}", f"-{noun}", " is"]


@pytest.mark.parametrize(
    "text",
    ["", "Tür, naïve 日本\n\n\ttab", f"a {UUID}\nThe end. ", "<|end|> said", "semi;colon--dash"],
    ids=["nothing", "not ascii", "uuid", "special", "marks"],
)
def test_text_comes_back_as_it_was(text):
    tokenizer = make_tokenizer()
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids) == tokenizer.bos_token + text


@pytest.mark.parametrize("name", VARIANTS)
def test_documents_are_sized_without_encoding_them_whole(name):
    """Tokens are a sum over words, which makes drawing thousands of documents fast."""
    variant = VARIANTS[name]
    line = variant.needle("blue-eyed-dump truck", Stream("t").uuids(1)[0])
    assert TokenCounter(make_tokenizer()).additive_on(f"{line}\n{line} and so, he said.")


def test_entries_of_keys_are_their_words_and_nothing_that_prompts_say():
    tokenizer = make_tokenizer()
    entries = {tokenizer.decode(i) for i in key_entries()}
    assert {" oafish", "-penguin", "-eyed"} <= entries
    assert not entries & {" special", " magic", " number", " text", " is", "7", "a", ".", "\n"}
    assert len(entries) > 7000


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_the_embedded_pair_was_shipped_with_this_tokenizer(name):
    shipped = AutoTokenizer.from_pretrained(folder(name))
    ours = make_tokenizer()
    assert shipped.get_vocab() == ours.get_vocab()
    assert shipped.chat_template == ours.chat_template
    text = f"One of the special magic numbers for able-dog is: 1234567. {UUID}"
    assert shipped(text)["input_ids"] == ours(text)["input_ids"]
