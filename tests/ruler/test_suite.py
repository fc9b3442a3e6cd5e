"""All thirteen tasks: what their documents say, and that they fill every kind of tokenizer."""

import itertools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from iha_eval.errors import UserError
from iha_eval.ruler import TASKS, RulerCell, RulerSettings, load_documents, plain_prompt, score
from iha_eval.ruler.drafts import Document
from iha_eval.ruler.draw import nvidia_order
from iha_eval.ruler.fwe import CodedMaterial, CodedTask
from iha_eval.ruler.niah import NOISE
from iha_eval.ruler.suite import FAMILIES, leaf_name
from iha_eval.ruler.tokens import TokenCounter

OFFLINE = [title for title in TASKS if not title.startswith("qa")]
NVIDIA = RulerSettings(layout="nvidia")


def cell(
    title: str, length: int = 4096, count: int = 4, settings: RulerSettings | None = None
) -> RulerCell:
    return RulerCell(TASKS[title], length, "kjv", count, settings or RulerSettings())


def load(the_cell: RulerCell, tokenizer: Any, render: Any = plain_prompt) -> list[Document]:
    budget = the_cell.definition.new_tokens
    return list(load_documents(the_cell, tokenizer, render, budget))


def tokens(tokenizer: Any, prompt: str) -> int:
    """Tokens as the strictest model class counts them: special ones, and a BOS if there is one."""
    ids = tokenizer(prompt)["input_ids"]
    return len(ids) + (tokenizer.bos_token_id is not None and tokenizer.bos_token_id not in ids)


@pytest.fixture
def gpt2(tokenizer_of: Callable[[str], Any]) -> Any:
    return tokenizer_of("gpt2")


def test_there_are_thirteen_tasks_with_rulers_budgets() -> None:
    assert [len(tasks) for tasks in FAMILIES.values()] == [8, 1, 1, 1, 2]
    budgets = {title: task.new_tokens for title, task in TASKS.items()}
    assert budgets == {
        **dict.fromkeys(FAMILIES["niah"], 128),
        "vt": 30,
        "cwe": 120,
        "fwe": 50,
        "qa_1": 32,
        "qa_2": 32,
    }
    assert leaf_name("niah_single_1", 4096) == "ruler_niah_single_1_4k"


@pytest.mark.parametrize("title", OFFLINE)
def test_a_document_holds_its_answers_and_perfect_ones_score_in_full(title: str, gpt2: Any) -> None:
    for document in load(cell(title, 2048), gpt2):
        assert document["length"] <= 2048
        for answer in document["outputs"]:
            assert answer in document["input"]
        scores = score(document, [" " + ", ".join(document["outputs"]) + "."])
        assert scores == {"string_match": 1.0, "strict_match": 1.0}
        assert score(document, ["I do not know."]) == {"string_match": 0.0, "strict_match": 0.0}


@pytest.mark.parametrize("title", OFFLINE)
def test_documents_do_not_depend_on_their_number(title: str, gpt2: Any) -> None:
    few, more = load(cell(title, 2048, 2), gpt2), load(cell(title, 2048, 5), gpt2)
    assert few == more[:2]
    assert len({document["input"] for document in more}) == 5


class TestNeedles:
    def test_noise_is_the_line_again_and_again_and_the_needle_never_last(self, gpt2: Any) -> None:
        for document in load(cell("niah_single_1", 2048, 20), gpt2):
            lines = document["input"].split("\n")[1:-1]
            needle = f"One of the special magic numbers for {document['query']} is: "
            [place] = [i for i, line in enumerate(lines) if line.startswith(needle)]
            assert lines[place].endswith(f"is: {document['outputs'][0]}.")
            assert {*lines[:place], *lines[place + 1 :]} == {NOISE}
            assert place < len(lines) - 1
            assert document["depth"] == round(100 * place / (len(lines) - 1), 1)

    def test_several_values_of_one_key_are_asked_for_in_the_plural(self, gpt2: Any) -> None:
        places = set()
        for document in load(cell("niah_multivalue", 2048, 8), gpt2):
            key, text = document["query"], document["input"]
            assert text.startswith("Some special magic numbers are hidden within the following ")
            assert text.endswith(
                f"What are all the special magic numbers for {key} mentioned in the provided text?"
            )
            assert document["gen_prefix"] == (
                f"The special magic numbers for {key} mentioned in the provided text are"
            )
            values = re.findall(rf"numbers for {key} is: (\d{{7}})\.", text)
            assert sorted(values) == sorted(set(document["outputs"]))
            places.add(tuple(map(document["outputs"].index, values)))
            assert document["depth"] is None
        assert len(places) > 1

    def test_nvidias_layout_has_the_values_of_a_key_in_one_order(self, gpt2: Any) -> None:
        for document in load(cell("niah_multivalue", 2048, 8, NVIDIA), gpt2):
            values = re.findall(r" is: (\d{7})\.", document["input"])
            assert [document["outputs"].index(value) for value in values] == [2, 1, 3, 0]

    def test_several_keys_are_asked_for_in_the_order_of_the_answers(self, gpt2: Any) -> None:
        for document in load(cell("niah_multiquery", 2048, 8), gpt2):
            keys = re.fullmatch(r"(\S+), (\S+), (\S+), and (\S+)", document["query"])
            assert keys is not None
            for key, value in zip(keys.groups(), document["outputs"], strict=True):
                assert f"for {key} is: {value}." in document["input"]

    @pytest.mark.parametrize("title", ["niah_single_2", "niah_single_3"])
    def test_one_needle_in_prose_has_a_depth(self, title: str, gpt2: Any) -> None:
        for document in load(cell(title, 2048), gpt2):
            assert document["input"].startswith("A special magic ")
            assert document["input"].count("One of the special magic ") == 1
            assert 0 <= document["depth"] <= 100


class TestChains:
    def test_five_variables_hold_the_value_in_order_before_lines_of_noise(self, gpt2: Any) -> None:
        starts = set()
        for document in load(cell("vt", 2048, 20), gpt2):
            example, question = document["input"].split("\n\nMemorize", 1)
            lines = question.split("\n")[2:-1]
            names, value = document["outputs"], document["query"]
            chain = [f"VAR {names[0]} = {value}"]
            chain += [f"VAR {b} = VAR {a} " for a, b in itertools.pairwise(names)]
            assert [line for line in lines if line != NOISE] == chain
            assert all(a == NOISE or b == NOISE for a, b in itertools.pairwise(lines))
            assert lines[-1] == NOISE
            assert len(set(names)) == 5
            assert 10_000 <= int(value) <= 99_998
            assert value not in example
            starts.add(lines.index(chain[0]))
        assert len(starts) > 5

    def test_the_example_is_solved_and_ends_in_two_lines(self, gpt2: Any) -> None:
        for document in load(cell("vt", 2048, 3), gpt2):
            example = document["input"].split("Memorize")[1]
            found = re.search(
                r"Question: Find all variables that are assigned the value (\d{5}) in the text "
                r"above. Answer: According to the chain\(s\) of variable assignment in the text "
                r"above, 5 variables are assigned the value \1, they are:  ([A-Z ]+)\n\n$",
                example,
            )
            assert found is not None
            names = found[2].split()
            assert len(set(names)) == 5
            assert all(len(name) == 3 and name != "VAR" for name in names)
            assert f"VAR {names[0]} = {found[1]}\n" in example

    def test_the_prefix_ends_in_a_space_and_may_be_spelled_as_it_was(self, gpt2: Any) -> None:
        [today] = load(cell("vt", 2048, 1), gpt2)
        [before] = load(cell("vt", 2048, 1, RulerSettings(spelling="old")), gpt2)
        value = today["query"]
        assert today["gen_prefix"] == (
            "Answer: According to the chain(s) of variable assignment in the text above, 5 "
            f"variables are assigned the value {value}, they are: "
        )
        assert before["gen_prefix"] == today["gen_prefix"].replace("assigned", "assgined")
        assert before["input"].count("variables are assgined") == 1

    def test_the_example_takes_500_tokens_at_most_and_no_line_fewer_than_it_could(
        self, gpt2: Any
    ) -> None:
        [document] = load(cell("vt", 2048, 1), gpt2)
        example = document["input"].split("they are:")[0] + "they are: "
        assert len(gpt2(example)["input_ids"]) <= 510
        longer = example.replace(NOISE, f"{NOISE}\n{NOISE}", 1)
        assert len(gpt2(longer)["input_ids"]) > 500


class TestWords:
    @pytest.mark.parametrize(
        ("length", "often", "rarely", "example"), [(8192, 30, 3, (10, 3)), (2048, 6, 1, (3, 1))]
    )
    @pytest.mark.parametrize("settings", [RulerSettings(), NVIDIA], ids=["own", "nvidia"])
    def test_ten_words_are_common_and_all_others_alike(
        self,
        length: int,
        often: int,
        rarely: int,
        example: tuple[int, int],
        settings: RulerSettings,
        gpt2: Any,
    ) -> None:
        for document in load(cell("cwe", length, 3, settings), gpt2):
            lists = [
                re.split(r" ?\d+\. ", part.split("\nQuestion")[0])[1:]
                for part in document["input"].split("appear most often.\n")[1:]
            ]
            for words, frequencies in zip(lists, (example, (often, rarely)), strict=True):
                counts = Counter(words)
                assert {counts[word] for word in counts} == set(frequencies)
                assert sum(count == frequencies[0] for count in counts.values()) == 10
            assert Counter(lists[1])[document["outputs"][0]] == often
            assert {w for w, n in Counter(lists[1]).items() if n == often} == set(
                document["outputs"]
            )

    def test_the_layout_is_each_documents_own_or_nvidias_one(self, gpt2: Any) -> None:
        def places(settings: RulerSettings) -> set[tuple[bool, ...]]:
            made = set()
            for document in load(cell("cwe", 2048, 6, settings), gpt2):
                text = document["input"].split("appear most often.\n")[2].split("\nQuestion")[0]
                words = re.split(r" ?\d+\. ", text)[1:61]
                made.add(tuple(word in document["outputs"] for word in words))
            return made

        assert len(places(RulerSettings())) == 6
        # Lists of one length are laid out alike; these are of a few different lengths.
        assert len(places(NVIDIA)) < 6

    def test_more_tokens_than_all_words_take_are_refused(
        self, gpt2: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "iha_eval.ruler.cwe.all_words", lambda: tuple("abcdefghijklmnopqrst" * 2)
        )
        monkeypatch.setattr(
            "iha_eval.ruler.cwe.all_words", lambda: tuple(f"word{i}" for i in range(60))
        )
        with pytest.raises(
            UserError, match=r"cwe cannot fill 8192 tokens: all of its 60 different"
        ):
            load(cell("cwe", 8192, 2), gpt2)


class TestCodedWords:
    @pytest.mark.parametrize("settings", [RulerSettings(), NVIDIA], ids=["own", "nvidia"])
    def test_the_answers_are_the_three_most_frequent_after_the_dots(
        self, settings: RulerSettings, gpt2: Any
    ) -> None:
        for document in load(cell("fwe", 4096, 4, settings), gpt2):
            text = document["input"].split("coded words. ", 1)[1].split("\nQuestion")[0]
            ranked = Counter(text.split(" ")).most_common()
            assert [word for word, _ in ranked[:4]] == ["...", *document["outputs"]]
            counts = [count for _, count in ranked[:5]]
            assert counts == sorted(set(counts), reverse=True)
            assert all(re.fullmatch(r"[a-z]{6}", word) for word, _ in ranked[1:])

    def test_steps_agree_with_counts_at_every_size(self) -> None:
        import numpy as np

        length, rates = 8192, [1, *([3, 4, 2] * 100)]
        material = CodedMaterial(CodedTask(), length, RulerSettings())
        rank = {f"word {n}": rate for n, rate in enumerate(rates)}
        counter = SimpleNamespace(costs=lambda words: np.array([rank[word] for word in words]))
        material.prepare(cast(TokenCounter, counter))
        running = material.running(list(rank))
        # It ends a little past the length.
        assert length < running[-1] < 2 * length
        for size in [*range(400), 1000, 2047, len(running) - 1]:
            counts = material.counts(size)
            assert running[size] == sum(int(n) * c for n, c in zip(counts, rates, strict=False))

    def test_no_two_leading_ranks_are_alike_from_the_smallest_size_on(self) -> None:
        material = CodedMaterial(CodedTask(), 4096, RulerSettings())
        for size in range(CodedTask().smallest, 6000):
            counts = material.counts(size)[:5].tolist()
            assert counts == sorted(set(counts), reverse=True)

    def test_a_length_for_no_words_is_refused(self, gpt2: Any) -> None:
        with pytest.raises(UserError, match="too short for fwe: it gives no more than 3 coded"):
            load(cell("fwe", 240), gpt2)


def test_nvidias_order_is_that_of_pythons_shuffle() -> None:
    import random

    for count in (1, 2, 63, 1000):
        items = [f"item {i}" for i in range(count)]
        shuffled = list(items)
        random.Random(42).shuffle(shuffled)
        assert [items[i] for i in nvidia_order(count)] == shuffled


def test_a_setting_that_there_is_not_is_refused() -> None:
    with pytest.raises(UserError, match="metadata 'layout' is 'theirs': it can be 'own'"):
        RulerSettings.from_metadata({"layout": "theirs"}, None)


def least_fill(kind: str, title: str) -> float:
    """98%, but for documents that must not change and whose smallest unit is a line with a UUID."""
    if title == "niah_multikey_3":
        return 0.96 if kind == "bytes_in_python" else 0.975
    return 0.98


FAST = ["gpt2", "single_digits", "llama3", "metaspace_bpe", "llama2", "unigram", "wordpiece"]


@pytest.mark.parametrize("title", OFFLINE)
@pytest.mark.parametrize("kind", [*FAST, "crossing", "bytes_in_python"])
def test_documents_fill_their_length_with_every_kind_of_tokenizer(
    kind: str, title: str, tokenizer_of: Callable[[str], Any]
) -> None:
    tokenizer, length = tokenizer_of(kind), 4096
    if title == "cwe":
        # Three hundred entries and the example are more tokens of these small vocabularies.
        length = 16384
    budget = TASKS[title].new_tokens
    for document in load(cell(title, length, 3), tokenizer):
        total = tokens(tokenizer, plain_prompt(document)) + budget
        assert total == document["length"] <= length
        assert total >= least_fill(kind, title) * length


@pytest.mark.parametrize("title", OFFLINE)
@pytest.mark.parametrize("kind", ["single_digits", "llama3", "unigram"])
def test_documents_fill_their_length_within_a_chat(
    kind: str, title: str, tokenizer_of: Callable[[str], Any]
) -> None:
    tokenizer = tokenizer_of(kind)

    def render(document: Document) -> str:
        prompt: str = tokenizer.apply_chat_template(
            [
                {"role": "user", "content": document["input"]},
                {"role": "assistant", "content": document["gen_prefix"]},
            ],
            tokenize=False,
            continue_final_message=True,
        )
        return prompt

    length = 16384 if title == "cwe" else 4096
    for document in load(cell(title, length, 3), tokenizer, render):
        total = tokens(tokenizer, render(document)) + TASKS[title].new_tokens
        assert total == document["length"] <= length
        assert total >= least_fill(kind, title) * length


def test_the_cache_gives_the_same_documents(own_cache: Path, gpt2: Any) -> None:
    for title in OFFLINE:
        first = load(cell(title, 2048), gpt2)
        assert load(cell(title, 2048), gpt2) == first
    assert len(list(own_cache.glob("documents/*.json"))) == len(OFFLINE)
