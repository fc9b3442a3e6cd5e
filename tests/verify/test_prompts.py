"""Prompts have the lengths that matter, and are the same everywhere."""

import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from iha_eval.errors import UserError
from iha_eval.models import source
from iha_eval.models.arguments import ModelArguments
from iha_eval.models.tokenizer import PromptTokenizer
from iha_eval.verify import prompts


@pytest.mark.parametrize(
    ("kind", "window", "room", "wanted"),
    [
        ("short", None, 5000, [1, 63, 129]),
        ("short", 4096, 5000, [1, 63, 129]),
        ("all", None, 5000, [1, 63, 129, 1000]),
        ("all", 512, 5000, [1, 63, 129, 1000]),
        ("all", 1000, 5000, [1, 63, 129, 1000, 1065]),
        ("all", 4096, 32000, [1, 63, 129, 1000, 4161]),
        ("all", 4096, 4100, [1, 63, 129, 1000, 4100]),
        ("all", 9000, 32000, [1, 63, 129, 1000]),
        ("all", None, 500, [1, 63, 129, 500]),
        ("all", None, 40, [1, 40]),
    ],
)
def test_lengths_reach_beyond_the_window_if_context_allows(
    kind: str, window: int | None, room: int, wanted: list[int]
) -> None:
    assert prompts.lengths(kind, window, room) == wanted


def test_prompts_have_their_lengths_begin_alike_and_go_on_differently(base: Path) -> None:
    text = PromptTokenizer(source.find_checkpoint(str(base)), ModelArguments())
    made = prompts.make(text, [1, 2, 63, 700], 9351)
    assert [(one.name, len(one.ids)) for one in made] == [
        ("1 token", 1),
        ("2 tokens", 2),
        ("63 tokens", 63),
        ("700 tokens", 700),
    ]
    assert {one.ids[0] for one in made} == {text.encode("Ada")[0]}
    assert made[2].ids != made[3].ids[:63]
    assert made == prompts.make(text, [1, 2, 63, 700], 9351)


def test_prose_is_sentences_that_depend_on_the_seed_alone() -> None:
    first = prompts.prose(3, 20)
    assert first == prompts.prose(3, 20) != prompts.prose(4, 20)
    assert first.startswith(prompts.prose(3, 5))
    assert first.count(".") == 20


def test_a_token_beyond_the_embedding_is_refused(base: Path) -> None:
    text = PromptTokenizer(source.find_checkpoint(str(base)), ModelArguments())
    prompts.check_vocabulary(text, 9351)
    with pytest.raises(UserError, match=r"token id 9350, but the embedding has vocab_size 9350"):
        prompts.make(text, [1], 9350)


def test_a_tokenizer_that_knows_no_word_is_refused(base: Path, tmp_path: Path) -> None:
    """It would have to be fed forever."""
    folder = tmp_path / "mute"
    shutil.copytree(base, folder)
    mute = Tokenizer(models.BPE(vocab={"<s>": 0}, merges=[]))
    PreTrainedTokenizerFast(tokenizer_object=mute, bos_token="<s>").save_pretrained(folder)
    text = PromptTokenizer(source.find_checkpoint(str(folder)), ModelArguments())
    with pytest.raises(UserError, match=r"makes 0 tokens of \d+ sentences: put the tokenizer"):
        prompts.make(text, [5], 9351)
