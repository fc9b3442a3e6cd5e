import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import Sampling
from iha_eval.models import source
from iha_eval.models.arguments import parse
from iha_eval.models.requests import Answer, GenerateRequest, pack
from iha_eval.models.tokenizer import CHUNK, CHUNK_CHARACTERS, PromptTokenizer

BOS = 0


def answer(text: PromptTokenizer, ids: list[int], **sampling: Any) -> str:
    request = GenerateRequest(0, "t", 0, 0, pack([1]), Sampling(9, **sampling))
    return text.answer(request, ids, cut=False).text


def text_of(folder: Path, **given: Any) -> PromptTokenizer:
    return PromptTokenizer(source.find_checkpoint(str(folder)), parse(given))


@pytest.fixture
def copy(llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama, tmp_path / "copy"))


def edit(file: Path, **changes: object) -> None:
    found = json.loads(file.read_text())
    found.update(changes)
    file.write_text(json.dumps({k: v for k, v in found.items() if v is not None}))


@pytest.mark.parametrize("add_bos_token", [None, True, False])
@pytest.mark.parametrize("text", ["plain", "<s>begun", ""])
def test_special_tokens_are_added_as_lm_evals_own_class_does(
    llama: Path, add_bos_token: bool | None, text: str
) -> None:
    theirs = HFLM(
        str(llama), device="cpu", dtype="float32", add_bos_token=add_bos_token
    ).tok_encode(text)
    # An empty text is the one difference: it stays empty, and the prefix token stands in for it.
    expected = theirs if text else []
    assert text_of(llama, add_bos_token=add_bos_token).encode(text) == expected


def test_many_texts_are_encoded_as_each_alone(llama: Path) -> None:
    text = text_of(llama)
    texts = [("<s>" if number % 3 == 0 else "") + "x" * number for number in range(2 * CHUNK + 3)]
    assert list(text.encode_all(texts)) == [text.encode(one) for one in texts]


@pytest.mark.parametrize(
    ("lengths", "want"),
    [
        ([], []),
        ([CHUNK_CHARACTERS + 1], [1]),
        ([1, CHUNK_CHARACTERS, 1], [1, 1, 1]),
        ([CHUNK_CHARACTERS // 4] * 9, [4, 4, 1]),
        ([1] * (CHUNK + 1), [CHUNK, 1]),
    ],
    ids=["none", "one too long", "too long among short", "long", "many"],
)
def test_long_texts_are_tokenized_fewer_at_a_time(
    lengths: list[int], want: list[int], llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokenizer keeps places and masks of all it is given at once."""
    text = text_of(llama)
    given: list[int] = []

    def encode(texts: Sequence[str], special: bool | None) -> list[list[int]]:
        assert special is None
        given.append(len(texts))
        return [[len(one)] for one in texts]

    monkeypatch.setattr(text, "_encode", encode)
    assert list(text.encode_all(["x" * length for length in lengths])) == [[n] for n in lengths]
    assert given == want


def test_an_explicit_flag_wins(llama: Path) -> None:
    text = text_of(llama)
    assert text.encode("a", add_special_tokens=False) == text.encode("a")[1:]


def test_long_prompts_bring_no_warning_of_the_tokenizer(
    copy: Path,
) -> None:
    edit(copy / "tokenizer_config.json", model_max_length=4)
    # The tokenizer warns of texts beyond it.
    assert text_of(copy).tokenizer.model_max_length > 10**6


def test_an_answer_is_cut_and_loses_special_tokens(llama: Path) -> None:
    text = text_of(llama)
    ids = [BOS, *text.encode("yes. no", add_special_tokens=False), 1]
    assert answer(text, ids, stop_ids=(1,)) == "yes. no"
    assert answer(text, ids, stop=(". ",), stop_ids=(1,)) == "yes"


def test_a_stop_that_is_an_ordinary_token_is_no_part_of_the_answer(llama: Path) -> None:
    text = text_of(llama)
    ids = text.encode("ab", add_special_tokens=False)
    assert answer(text, ids, stop_ids=(ids[-1],)) == "a"


THOUGHT = "<think>maybe 5? \n\nlet me check"


@pytest.mark.parametrize(
    ("generated", "prompt", "stated", "cut"),
    [
        (THOUGHT, "Q", "", True),
        (THOUGHT + "</think>\n\nIt is 7.", "Q", "It is 7.", True),
        (THOUGHT + "</think>It is 7.\n\nQ", "Q", "It is 7.", False),
        ("so 5?\n\n", "Q<think>\n", "", True),
        ("so 5?\n\n</think> 7", "Q<think>\n", "7", True),
        ("It is 7.\n\nQ", "Q<think>\n\n</think>\n\n", "It is 7.", False),
        ("It is 7.", "Q", "It is 7.", True),
        ("a</think>b</think>c", "Q", "c", True),
    ],
    ids=["open", "ended", "stopped", "begun", "begun, ended", "none", "plain", "twice"],
)
def test_a_thought_is_no_answer_and_an_open_one_states_none(
    llama: Path, generated: str, prompt: str, stated: str, cut: bool
) -> None:
    """The budget ended the tokens in all; a stop behind a thought makes it a whole answer."""
    text = text_of(llama, think_end_token="</think>")
    request = GenerateRequest(
        0, "t", 0, 0, pack([1]), Sampling(9, stop=("\n\n",)), text.in_thought(prompt)
    )
    ids = text.encode(generated, add_special_tokens=False)
    assert text.answer(request, ids, cut=True) == Answer(stated, len(ids), cut)


@pytest.mark.parametrize("end", ["<|end|>", 2])
def test_a_thought_may_end_with_a_special_token(llama: Path, end: str | int) -> None:
    text = text_of(llama, think_end_token=end)
    request = GenerateRequest(0, "t", 0, 0, pack([1]), Sampling(9))
    ids = text.encode("so 5?<|end|> 7", add_special_tokens=False)
    assert text.answer(request, ids, cut=False).text == "7"
    assert text.answer(request, ids[:5], cut=True).text == ""


def test_a_class_that_fails_on_every_text_is_one_sentence(copy: Path) -> None:
    """A WordPiece without an unknown token: the vocabulary is another algorithm's."""
    edit(copy / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    with pytest.raises(UserError, match="a BertTokenizer, fails on a prompt"):
        text_of(copy).encode("The quick \u4f60")


@pytest.fixture
def thinking(copy: Path) -> Path:
    """A tokenizer in which both marks of a thought are special tokens."""
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]"]})
    tokenizer.save_pretrained(copy)
    return copy


@pytest.mark.parametrize("by_id", [False, True])
@pytest.mark.parametrize(
    ("generated", "prompt", "stated"),
    [
        ("[THINK]maybe 5?", "Q", ""),
        ("[THINK]maybe 5?[/THINK] 7", "Q", "7"),
        ("maybe 5?", "Q[THINK]", ""),
        ("It is 7.", "Q[THINK][/THINK]", "It is 7."),
        ("It is 7.", "Q", "It is 7."),
    ],
    ids=["open", "ended", "begun", "begun, ended", "none"],
)
def test_marks_of_a_thought_may_be_special_tokens_that_text_does_not_show(
    thinking: Path, by_id: bool, generated: str, prompt: str, stated: str
) -> None:
    end: str | int = "[/THINK]"
    if by_id:
        end = AutoTokenizer.from_pretrained(thinking).convert_tokens_to_ids(end)
    text = text_of(thinking, think_end_token=end)
    request = GenerateRequest(0, "t", 0, 0, pack([1]), Sampling(9), text.in_thought(prompt))
    ids = text.encode(generated, add_special_tokens=False)
    assert text.answer(request, ids, cut=True).text == stated


def test_an_end_of_thoughts_that_is_no_token_is_refused(llama: Path) -> None:
    with pytest.raises(UserError, match="think_end_token=99999999 is the id of no token"):
        text_of(llama, think_end_token=99_999_999)


def test_stops_that_are_special_tokens_are_told_by_id(llama: Path) -> None:
    assert text_of(llama).stops(["\n", "<|end|>"]) == (("\n",), (1, 2))


def test_every_end_token_of_the_checkpoint_ends_an_answer(copy: Path) -> None:
    edit(copy / "generation_config.json", eos_token_id=[1, 7])
    edit(copy / "config.json", eos_token_id=9)
    assert text_of(copy).end_ids == (1, 7, 9)


def test_without_bos_and_eos_a_prefix_token_must_be_named(copy: Path) -> None:
    edit(copy / "tokenizer_config.json", bos_token=None, eos_token=None)
    edit(copy / "tokenizer.json", post_processor=None)
    with pytest.raises(UserError, match=r"neither a BOS nor an EOS token .* set prefix_token_id"):
        _ = text_of(copy).prefix_id
    assert text_of(copy, prefix_token_id=5).prefix_id == 5
    assert text_of(copy).pad_id == 0


def test_a_chat_is_written_by_the_template(llama: Path) -> None:
    history = [{"role": "user", "content": "hi"}]
    assert text_of(llama).chat(history, True) == "<s>user: hiassistant: "


def test_a_chat_is_not_given_two_bos_tokens(llama: Path) -> None:
    text = text_of(llama)
    ids = text.encode(text.chat([{"role": "user", "content": "hi"}], True))
    assert ids.count(BOS) == 1


def test_a_prefilled_answer_is_left_open(llama: Path) -> None:
    history = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "It is"}]
    assert text_of(llama).chat(history, False) == "<s>user: hi<s>assistant: It is"


def test_a_template_without_system_messages_gets_none(llama: Path) -> None:
    history = [{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}]
    assert text_of(llama).chat(history, True) == "<s>user: hiassistant: "


def test_a_chat_that_the_template_refuses_is_an_error_of_one_sentence(copy: Path) -> None:
    (copy / "chat_template.jinja").write_text("{{ raise_exception('never') }}")
    with pytest.raises(UserError, match=r"The chat template in .* refuses this chat \(never\)"):
        text_of(copy).chat([{"role": "user", "content": "hi"}], True)


def test_without_a_template_there_is_no_chat(copy: Path) -> None:
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="has no chat template: leave out --apply_chat_template"):
        text_of(copy).chat([{"role": "user", "content": "hi"}], True)


def test_a_checkpoint_without_tokenizer_says_so(copy: Path) -> None:
    for file in copy.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(
        UserError, match=r"holds no tokenizer that can be read .* name one with"
    ) as caught:
        text_of(copy)
    assert "\n" not in str(caught.value)


def test_another_tokenizer_can_be_named(llama: Path, copy: Path) -> None:
    for file in copy.glob("tokenizer*"):
        file.unlink()
    assert text_of(copy, tokenizer=str(llama)).encode("a") == text_of(llama).encode("a")
