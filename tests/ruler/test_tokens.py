from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from iha_eval import current_model
from iha_eval.errors import UserError
from iha_eval.ruler.haystack import load_haystack
from iha_eval.ruler.tokens import TokenCounter, counter_for, resolve_tokenizer

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


@pytest.mark.parametrize("kind", KINDS)
def test_many_pieces_as_one_text_take_what_each_takes_by_itself(
    kind: str, tokenizer_of: Callable[[str], Any]
) -> None:
    singly, jointly = TokenCounter(tokenizer_of(kind)), TokenCounter(tokenizer_of(kind))
    jointly.additive_on(prose())
    pieces = [*prose().split(" "), " two", "", "x\u00a0y", "\u2581odd", "caf\u00e9:\n1", "\u200b"]
    for count in (1, 63, 129, len(pieces)):
        some = pieces[-count:]
        assert jointly.fresh(some).tolist() == singly.fresh(some).tolist()
    assert jointly.fresh([]).tolist() == []


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


@pytest.fixture(autouse=True)
def nothing_published() -> Iterator[None]:
    current_model.clear()
    yield
    current_model.clear()


@pytest.fixture
def saved(tmp_path: Path, tokenizer_of: Callable[[str], Any]) -> str:
    folder = tmp_path / "model"
    tokenizer_of("gpt2").save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", ["tokenizer", "pretrained"])
def test_arguments_name_a_tokenizer(name: str, saved: str) -> None:
    assert resolve_tokenizer({name: saved}).name_or_path == saved


def test_a_tokenizer_object_is_taken_as_it_is(tokenizer_of: Callable[[str], Any]) -> None:
    tokenizer = tokenizer_of("llama3")
    assert resolve_tokenizer({"tokenizer": tokenizer, "pretrained": "x"}) is tokenizer


def test_nothing_to_go_by_is_one_sentence() -> None:
    with pytest.raises(UserError, match="needs a tokenizer to size its documents"):
        resolve_tokenizer({"version": 1.0})


def test_a_name_that_cannot_be_loaded_is_one_sentence(tmp_path: Path) -> None:
    name = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="cannot load the tokenizer") as error:
        resolve_tokenizer({"pretrained": name})
    assert name in str(error.value)
    assert "\n" not in str(error.value)


class TestWithAPublishedModel:
    @pytest.fixture(autouse=True)
    def published(self, saved: str, tokenizer_of: Callable[[str], Any]) -> Any:
        self.tokenizer = tokenizer_of("single_digits")
        current_model.publish(current_model.CurrentModel(self.tokenizer, name=saved))

    def test_it_counts_where_nothing_is_named(self) -> None:
        assert resolve_tokenizer({}) is self.tokenizer

    def test_it_counts_for_its_own_checkpoint(self, saved: str) -> None:
        assert resolve_tokenizer({"pretrained": saved}) is self.tokenizer
        assert resolve_tokenizer({"pretrained": f"{saved}/../model"}) is self.tokenizer

    def test_it_does_not_count_for_a_later_model(
        self, tmp_path: Path, tokenizer_of: Callable[[str], Any]
    ) -> None:
        other = tmp_path / "other"
        tokenizer_of("llama3").save_pretrained(other)
        assert resolve_tokenizer({"pretrained": str(other)}).name_or_path == str(other)

    def test_it_does_not_count_where_another_tokenizer_is_named(self, saved: str) -> None:
        assert resolve_tokenizer({"tokenizer": saved}).name_or_path == saved

    def test_it_does_not_count_for_a_model_object(self, tokenizer_of: Callable[[str], Any]) -> None:
        other = tokenizer_of("llama3")
        assert resolve_tokenizer({"tokenizer": other}) is other

    def test_one_from_the_hub_is_known_by_the_name_it_was_asked_by(self) -> None:
        """Its revision is the model's; loading the name again would take the main one."""
        named = current_model.CurrentModel(self.tokenizer, tokenizer_name="someone/tokenizer")
        current_model.publish(named)
        assert resolve_tokenizer({"tokenizer": "someone/tokenizer"}) is self.tokenizer
