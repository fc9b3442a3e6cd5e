from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iha_eval import current_model
from iha_eval.errors import UserError
from iha_eval.ruler.tokenizer import resolve_tokenizer


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
