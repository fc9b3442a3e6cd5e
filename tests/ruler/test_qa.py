"""The two question tasks, on made-up sets in the form of the published ones."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import question_sets

from iha_eval.data import MissingDataError
from iha_eval.errors import UserError
from iha_eval.ruler import TASKS, RulerCell, RulerSettings, load_documents, plain_prompt, score
from iha_eval.ruler.drafts import Document
from iha_eval.ruler.draw import nvidia_order
from iha_eval.ruler.fit import fit_all
from iha_eval.ruler.qa import ParagraphCosts, paragraph_costs, question_set
from iha_eval.ruler.tokens import counter_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return question_sets.write(tmp_path_factory.mktemp("data"))


def load(
    title: str, folder: Path, tokenizer: Any, length: int = 4096, count: int = 12, **settings: str
) -> list[Document]:
    cell = RulerCell(TASKS[title], length, None, count, RulerSettings(data=folder, **settings))
    return list(load_documents(cell, tokenizer, plain_prompt, 32))


def paragraphs(document: Document) -> list[str]:
    text = document["input"].split("The following are given documents.\n\n", 1)[1]
    text = text.rsplit("\n\nAnswer the question based", 1)[0]
    parts = re.split(r"(?:^|\n\n)Document (\d+):\n", text)[1:]
    assert parts[::2] == [str(number) for number in range(1, len(parts) // 2 + 1)]
    return parts[1::2]


@pytest.mark.parametrize("title", ["qa_1", "qa_2"])
@pytest.mark.parametrize(
    "kind", ["gpt2", "single_digits", "llama3", "metaspace_bpe", "llama2", "unigram", "wordpiece"]
)
@pytest.mark.parametrize("length", [4096, 8192])
def test_documents_fill_their_length(
    kind: str, title: str, length: int, folder: Path, tokenizer_of: Callable[[str], Any]
) -> None:
    tokenizer = tokenizer_of(kind)
    if kind == "unigram":
        # Its words take four tokens, and ten paragraphs more than 4,096.
        length *= 2
    for document in load(title, folder, tokenizer, length, 20):
        ids = tokenizer(plain_prompt(document))["input_ids"]
        bos = tokenizer.bos_token_id is not None and tokenizer.bos_token_id not in ids
        assert len(ids) + bos + 32 == document["length"]
        assert 0.98 * length <= document["length"] <= length


@pytest.mark.parametrize("kind", ["crossing", "bytes_in_python"])
def test_whole_documents_are_encoded_where_sums_are_not_exact(
    kind: str, folder: Path, tokenizer_of: Callable[[str], Any]
) -> None:
    tokenizer = tokenizer_of(kind)
    for document in load("qa_1", folder, tokenizer, 8192, 2):
        total = len(tokenizer(plain_prompt(document))["input_ids"]) + 32
        assert 0.98 * 8192 <= total <= document["length"] <= 8192


def test_a_paragraph_is_left_out_where_another_fills_the_rest_better(
    folder: Path, tokenizer_of: Callable[[str], Any]
) -> None:
    """The shortest paragraph is longer than 2% of 4,096 tokens; a document of few is full too."""
    tokenizer = tokenizer_of("unigram")
    counter = counter_for(tokenizer)
    cell = RulerCell(TASKS["qa_1"], 4096, None, 40, RulerSettings(data=folder))
    fillers = []
    cell.material.prepare(counter)
    for draft, fit in fit_all(cell.draft, 40, counter, plain_prompt, 32):
        texts = paragraphs(draft.document(fit.size))
        assert len(set(texts)) == len(texts)
        assert sum(draft.outputs[0] + " kept" in text for text in texts) == 1
        assert counter.prompt(plain_prompt(draft.document(fit.size))) == fit.tokens
        assert 0.98 * 4096 <= fit.tokens + 32 <= 4096
        fillers.append(fit.filler)
    assert any(filler > 2**32 for filler in fillers)


@pytest.mark.parametrize(("kind", "apart"), [("gpt2", True), ("llama3", True), ("unigram", False)])
def test_whether_numbers_are_cut_off_is_seen_at_the_tokenizer(
    kind: str, apart: bool, folder: Path, tokenizer_of: Callable[[str], Any]
) -> None:
    pool = question_set("qa_1", folder).pool
    assert ParagraphCosts(pool, counter_for(tokenizer_of(kind))).numbers_apart == apart


def test_numbers_that_grow_together_with_words_are_counted_with_them(
    folder: Path, tokenizer_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tokenizer_of("gpt2")
    usual = load("qa_1", folder, tokenizer)
    paragraph_costs.cache_clear()
    monkeypatch.setattr(ParagraphCosts, "numbers", lambda self, count: np.zeros(count, int))
    monkeypatch.setattr(ParagraphCosts, "numbers_apart", False)
    monkeypatch.setattr("iha_eval.ruler.fit._by_encoding", lambda *a: pytest.fail("encoded whole"))
    monkeypatch.setenv("IHA_EVAL_CACHE", str(folder / "cache"))
    assert load("qa_1", folder, tokenizer) == usual


def test_squads_gold_paragraph_is_there_once_at_its_own_depth(
    folder: Path, tokenizer_of: Callable[[str], Any]
) -> None:
    depths = set()
    for document in load("qa_1", folder, tokenizer_of("gpt2")):
        texts = paragraphs(document)
        [place] = [i for i, text in enumerate(texts) if document["outputs"][0] + " kept" in text]
        assert document["depth"] == round(100 * place / (len(texts) - 1), 1)
        assert len(set(texts)) == len(texts)
        depths.add(document["depth"])
    assert len(depths) > 6


def test_near_paragraphs_come_first(folder: Path, tokenizer_of: Callable[[str], Any]) -> None:
    """All other paragraphs of the article are in a document that holds more than those."""
    for document in load("qa_1", folder, tokenizer_of("gpt2"), 8192, 3):
        town = document["query"].split()[3]
        own = [text for text in paragraphs(document) if f"Keeper{town}x" in text]
        assert len(own) == 20


def test_hotpotqas_ten_paragraphs_are_all_there(
    folder: Path, tokenizer_of: Callable[[str], Any]
) -> None:
    rows = json.loads((folder / "hotpotqa/hotpot_dev_distractor_v1.json").read_text())
    asked = {row["question"]: row for row in rows}
    for document in load("qa_2", folder, tokenizer_of("gpt2")):
        row = asked[document["query"]]
        gold = {f"{title}\n{''.join(lines)}" for title, lines in row["context"]}
        assert gold <= set(paragraphs(document))
        assert document["outputs"] == [row["answer"]]
        assert document["depth"] is None


def test_questions_are_drawn_over_all_articles_or_are_the_first(
    folder: Path, tokenizer_of: Callable[[str], Any]
) -> None:
    drawn = load("qa_1", folder, tokenizer_of("gpt2"), count=20)
    first = load("qa_1", folder, tokenizer_of("gpt2"), count=20, questions="first")
    assert [d["query"] for d in first] == [f"Who kept gate 0 {n}?" for n in range(20)]
    assert len({d["query"] for d in drawn}) == 20
    assert len({d["query"].split()[3] for d in drawn}) > 4


def test_nvidias_layout_shuffles_what_was_drawn_with_the_gold_paragraph_first(
    folder: Path, tokenizer_of: Callable[[str], Any]
) -> None:
    for document in load("qa_1", folder, tokenizer_of("gpt2"), layout="nvidia"):
        texts = paragraphs(document)
        place = nvidia_order(len(texts)).tolist().index(0)
        assert document["outputs"][0] in texts[place]


def test_ten_paragraphs_that_do_not_fit_are_refused_and_not_searched_for_ever(
    folder: Path, tokenizer_of: Callable[[str], Any]
) -> None:
    with pytest.raises(UserError, match="1024 tokens is too short for qa_2"):
        load("qa_2", folder, tokenizer_of("bytes_in_python"), 1024)


def test_the_results_name_and_hash_the_set(
    folder: Path, tokenizer_of: Callable[[str], Any]
) -> None:
    cell = RulerCell(TASKS["qa_1"], 4096, None, 2, RulerSettings(data=folder))
    provenance = load_documents(cell, tokenizer_of("gpt2"), plain_prompt, 32).provenance
    assert provenance["data_source"] == str(folder / "squad/dev-v2.0.json")
    assert len(provenance["data_sha256"]) == 64
    assert provenance["data_known"] is False


def test_any_reference_counts_in_full_and_whole_words_and_squads_scores_stand_beside(
    folder: Path, tokenizer_of: Callable[[str], Any]
) -> None:
    document = {"outputs": ["Denver Broncos", "Broncos", "Denver"], "kind": "answer"}
    assert score(document, ["the Broncos won"]) == {
        "string_match": 1.0,
        "strict_match": 1.0,
        "exact_match": 0.0,
        "f1": pytest.approx(2 / 3),
    }
    yes = {"outputs": ["yes"], "kind": "answer"}
    assert score(yes, [" His eyes"])["string_match"] == 1.0
    assert score(yes, [" His eyes"])["strict_match"] == 0.0
    assert score(yes, [" Yes.\n\nQuestion: ..."]) == {
        "string_match": 1.0,
        "strict_match": 1.0,
        "exact_match": 1.0,
        "f1": 1.0,
    }


def test_without_the_set_one_sentence_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"dev-v2\.0\.json does not exist: put the SQuAD"):
        question_set("qa_1", tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"data": [{"title": "x"}]}', "null"])
def test_a_broken_set_is_refused_in_a_sentence(content: str, tmp_path: Path) -> None:
    path = tmp_path / "squad/dev-v2.0.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(UserError, match=r"is not built like the SQuAD|is empty"):
        question_set("qa_1", tmp_path)
