import re

import pytest

from iha_eval.ruler.definition import VARIANTS
from iha_eval.ruler.lines import LinesDraft, LinesMaterial

UUID = r"[0-9a-f-]{36}"
LINES = {
    "multikey_2": r"One of the special magic numbers for .+-.+ is: [0-9]{7}\.",
    "multikey_3": rf"One of the special magic uuids for {UUID} is: {UUID}\.",
}


def draft(name: str, index: int = 0, length: int = 4096) -> LinesDraft:
    variant = VARIANTS[name]
    return LinesMaterial(variant, length).draft(variant, length, index)


@pytest.mark.parametrize("name", LINES)
def test_a_context_is_a_needle_among_lines_of_its_kind(name: str) -> None:
    drawn = draft(name)
    lines = drawn.context(50).split("\n")
    assert len(lines) == len(set(lines)) == 51
    assert all(re.fullmatch(LINES[name], line) for line in lines)
    assert [line for line in lines if f" {drawn.key} " in line] == [drawn._needle]


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
    short, long = (LinesMaterial(VARIANTS[name], length) for length in (1024, 4096))
    assert len(short.lines) < len(long.lines)
    assert long.lines[: len(short.lines)] == short.lines


@pytest.mark.parametrize("length", [128, 1024, 16384])
@pytest.mark.parametrize("name", LINES)
def test_there_are_more_lines_than_any_tokenizer_can_fit(name: str, length: int) -> None:
    """A line has ten pieces between spaces and takes a token for each at least."""
    for index in range(3):
        assert len(draft(name, index, length)._order) > length // 10


@pytest.mark.parametrize("taken", ["key", "value"])
def test_lines_that_would_make_the_answer_ambiguous_are_left_out(taken: str) -> None:
    plain = draft("multikey_2")
    material = LinesMaterial(VARIANTS["multikey_2"], 4096)
    clash = plain._order[3]
    if taken == "key":
        material.keys[clash] = plain.key
    else:
        material.values[clash] = plain.value
    order = material.draft(VARIANTS["multikey_2"], 4096, 0)._order
    assert order == [i for i in plain._order if i != clash]


def test_edges_are_the_needle_and_the_last_line() -> None:
    drawn = draft("multikey_2")
    assert drawn.edges(30) == f"{drawn._needle}\n{drawn.context(30).split(chr(10))[-1]}"


@pytest.mark.parametrize("name", LINES)
def test_drawing_as_many_lines_as_needed_is_drawing_them_all(name: str) -> None:
    drawn = draft(name, length=1024)
    for size in (1, 7, 60, 100, len(drawn._order)):
        assert drawn._lines(size) == drawn._order[:size]
    assert drawn._lines(10**6) == drawn._order
