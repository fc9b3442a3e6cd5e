from itertools import pairwise

import pytest

from iha_eval.ruler.haystack import load_haystack
from iha_eval.ruler.sentences import sentence_ends


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
