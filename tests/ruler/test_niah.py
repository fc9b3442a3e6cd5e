import re
from itertools import pairwise
from pathlib import Path

import pytest

from iha_eval.ruler.drafts import RulerSettings
from iha_eval.ruler.haystack import load_haystack
from iha_eval.ruler.niah import (
    DEPTHS,
    VARIANTS,
    EssayDraft,
    EssayMaterial,
    LinesDraft,
    LinesMaterial,
    sentence_ends,
)

VARIANT = VARIANTS["multikey_1"]
PREFIX = "One of the special magic numbers for "


def material(length: int = 4096) -> EssayMaterial:
    return EssayMaterial(VARIANT, length, RulerSettings(), "kjv")


def split(context: str) -> tuple[list[str], list[str]]:
    """Needles, and what is left of the context without them, in order."""
    needles, rest = [], []
    words = context.split(" ")
    while words:
        if " ".join(words).startswith(PREFIX):
            end = next(i for i, word in enumerate(words) if word == "is:") + 2
            needles.append(" ".join(words[:end]))
            words = words[end:]
        else:
            rest.append(words.pop(0))
    return needles, rest


@pytest.mark.parametrize("size", [2, 3, 40, 700, 701, 1500])
def test_the_haystack_is_the_texts_first_words(size: int) -> None:
    for index in range(5):
        context = material().draft(index).context(size)
        needles, rest = split(context)
        assert len(needles) == len(set(needles)) == 4
        assert rest == load_haystack("kjv").words(size)


@pytest.mark.parametrize("size", [2, 400, 1500])
def test_needles_stand_at_sentence_boundaries_at_their_depths(size: int) -> None:
    words = load_haystack("kjv").words(size)
    ends = [0, *sentence_ends(words), size]
    for index in range(20):
        draft = material().draft(index)
        places, seen = [], 0
        for part in draft.context(size).split(PREFIX)[:-1]:
            seen += len([word for word in _without_needle_rest(part) if word])
            places.append(seen)
        assert places == [ends[(len(ends) - 1) * depth // 100] for depth in draft._depths]


def _without_needle_rest(part: str) -> list[str]:
    """The words of a part that follows a needle's opening, less the rest of that needle."""
    return part.split(" is: ", 1)[-1].split(" ")[1:] if " is: " in part else part.split(" ")


def test_depths_are_four_different_of_rulers_forty() -> None:
    for index in range(50):
        depths = material().draft(index)._depths
        assert depths == sorted(set(depths))
        assert len(depths) == 4
        assert set(depths) <= set(DEPTHS)


def test_the_asked_key_is_any_of_the_four() -> None:
    drafts = [material().draft(index) for index in range(60)]
    assert {draft._asked[0] for draft in drafts} == {0, 1, 2, 3}
    for draft in drafts:
        document = draft.document(300)
        assert f"{PREFIX}{draft.query} is: {draft.outputs[0]}." in document["input"]
        assert document["depth"] == draft._depths[draft._asked[0]]


def test_edges_keep_what_touches_the_haystacks_ends() -> None:
    """Inner words cut out of a context from space to space leave its edges."""
    seen = set()
    for index in range(80):
        draft = material().draft(index)
        for size in (2, 3, 60):
            context, edges = draft.context(size), draft.edges(size)
            assert context.split(" ")[0] == edges.split(" ")[0]
            assert context.split(" ")[-1] == edges.split(" ")[-1]
            assert split(edges)[0] == split(context)[0]
            words = draft._material.units
            assert split(edges)[1] == [words[0], words[size - 1]]
            seen.add((edges.startswith(PREFIX), edges.endswith(words[size - 1])))
    assert seen == {(a, b) for a in (True, False) for b in (True, False)}


def test_a_short_text_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("First here. Then there.")
    short = EssayMaterial(VARIANT, 50, RulerSettings(), str(tmp_path / "x.txt"))
    assert len(short.units) == 50
    assert short.ends[:4] == [2, 4, 6, 8]
    assert short.span(3, 6) == "there. First here."


def test_another_index_or_length_is_another_draft() -> None:
    def identity(draft: EssayDraft) -> tuple[object, ...]:
        return draft.query, draft.outputs[0], tuple(draft._depths)

    base = material().draft(0)
    assert identity(material().draft(0)) == identity(base)
    assert identity(material().draft(1)) != identity(base)
    assert identity(material(8192).draft(0)) != identity(base)


UUID = r"[0-9a-f-]{36}"
LINES = {
    "multikey_2": r"One of the special magic numbers for .+-.+ is: [0-9]{7}\.",
    "multikey_3": rf"One of the special magic uuids for {UUID} is: {UUID}\.",
}


def draft(name: str, index: int = 0, length: int = 4096) -> LinesDraft:
    variant = VARIANTS[name]
    drawn: LinesDraft = LinesMaterial(variant, length, RulerSettings()).draft(index)
    return drawn


@pytest.mark.parametrize("name", LINES)
def test_a_context_is_a_needle_among_lines_of_its_kind(name: str) -> None:
    drawn = draft(name)
    lines = drawn.context(50).split("\n")
    assert len(lines) == len(set(lines)) == 51
    assert all(re.fullmatch(LINES[name], line) for line in lines)
    assert [line for line in lines if f" {drawn.query} " in line] == [drawn._needle]


@pytest.mark.parametrize("size", [1, 2, 40])
def test_the_needle_is_anywhere_but_last(size: int) -> None:
    positions = set()
    for index in range(40 * size if size < 3 else 400):
        drawn = draft("multikey_2", index, 512)
        lines = drawn.context(size).split("\n")
        position = lines.index(drawn._needle)
        assert drawn.depth(size) == round(100 * position / size, 1)
        positions.add(position)
    assert positions == set(range(size))


def test_a_larger_context_has_the_lines_of_a_smaller_one() -> None:
    drawn = draft("multikey_3")
    assert set(drawn.context(20).split("\n")) < set(drawn.context(21).split("\n"))


def test_documents_differ_in_their_lines() -> None:
    first, second = (set(draft("multikey_2", index).context(150).split("\n")) for index in (0, 1))
    assert len(first & second) < 30


@pytest.mark.parametrize("name", LINES)
def test_a_longer_supply_begins_with_a_shorter_one(name: str) -> None:
    short, long = (
        LinesMaterial(VARIANTS[name], length, RulerSettings()) for length in (1024, 4096)
    )
    assert len(short.lines) < len(long.lines)
    assert long.lines[: len(short.lines)] == short.lines


@pytest.mark.parametrize("length", [128, 1024, 16384])
@pytest.mark.parametrize("name", LINES)
def test_there_are_more_lines_than_any_tokenizer_can_fit(name: str, length: int) -> None:
    """A line has ten pieces between spaces and takes a token for each at least."""
    for index in range(3):
        assert len(draft(name, index, length)._lines(length)) > length // 10


@pytest.mark.parametrize("taken", ["key", "value"])
def test_lines_that_would_make_the_answer_ambiguous_are_left_out(taken: str) -> None:
    plain = draft("multikey_2")
    material = LinesMaterial(VARIANTS["multikey_2"], 4096, RulerSettings())
    clash = plain._lines(4)[3]
    if taken == "key":
        material.keys[clash] = plain.query
    else:
        material.values[clash] = plain.outputs[0]
    lines = material.draft(0)._lines(4096)
    assert lines == [i for i in plain._lines(4096) if i != clash]


def test_edges_are_the_needle_and_the_last_line() -> None:
    drawn = draft("multikey_2")
    assert drawn.edges(30) == f"{drawn._needle}\n{drawn.context(30).split(chr(10))[-1]}"


@pytest.mark.parametrize("name", LINES)
def test_drawing_as_many_lines_as_needed_is_drawing_them_all(name: str) -> None:
    every = draft(name, length=1024)._lines(10**6)
    for size in (1, 7, 60, 100, len(every)):
        drawn = draft(name, length=1024)
        assert drawn._lines(size) == every[:size]
        assert drawn._lines(2) == every[:2]
    assert drawn._lines(10**6) == every


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It rains. We stay.", ["It rains.", "We stay."]),
        ('"Stop!" He stopped.', ['"Stop!"', "He stopped."]),
        ("Why? (Because.) Then 3 came.", ["Why?", "(Because.)", "Then 3 came."]),
        (
            "He said \u201cno.\u201d \u201cYes.\u201d",
            ["He said \u201cno.\u201d", "\u201cYes.\u201d"],
        ),
        ("Mr. Smith met J. R. Doe, e.g. Here.", ["Mr. Smith met J. R. Doe, e.g. Here."]),
        ("about 3.5 percent. of it", ["about 3.5 percent. of it"]),
        ("one", ["one"]),
        ("", [""]),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    words = text.split(" ")
    cuts = [0, *sentence_ends(words), len(words)]
    assert [" ".join(words[a:b]) for a, b in pairwise(cuts)] == sentences


def test_ends_of_a_prefix_are_a_prefix_of_the_ends() -> None:
    words = load_haystack("kjv").words(3000)
    ends = sentence_ends(words)
    assert len(ends) > 50
    for size in range(100, 3000, 137):
        assert sentence_ends(words[:size]) == [end for end in ends if end < size]
