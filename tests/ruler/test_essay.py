import pytest

from iha_eval.ruler.definition import DEPTHS, VARIANTS
from iha_eval.ruler.essay import EssayDraft, EssayMaterial
from iha_eval.ruler.haystack import Haystack, load_haystack
from iha_eval.ruler.sentences import sentence_ends

VARIANT = VARIANTS["multikey_1"]
PREFIX = "One of the special magic numbers for "


def material(length: int = 4096) -> EssayMaterial:
    return EssayMaterial(load_haystack("kjv"), length)


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
        context = material().draft(VARIANT, 4096, index).context(size)
        needles, rest = split(context)
        assert len(needles) == len(set(needles)) == 4
        assert rest == load_haystack("kjv").words(size)


@pytest.mark.parametrize("size", [2, 400, 1500])
def test_needles_stand_at_sentence_boundaries_at_their_depths(size: int) -> None:
    words = load_haystack("kjv").words(size)
    ends = [0, *sentence_ends(words), size]
    for index in range(20):
        draft = material().draft(VARIANT, 4096, index)
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
        depths = material().draft(VARIANT, 4096, index)._depths
        assert depths == sorted(set(depths))
        assert len(depths) == 4
        assert set(depths) <= set(DEPTHS)


def test_the_asked_key_is_any_of_the_four() -> None:
    drafts = [material().draft(VARIANT, 4096, index) for index in range(60)]
    assert {draft._asked for draft in drafts} == {0, 1, 2, 3}
    for draft in drafts:
        document = draft.document(300)
        assert f"{PREFIX}{draft.key} is: {draft.value}." in document["input"]
        assert document["depth"] == draft._depths[draft._asked]


def test_edges_keep_what_touches_the_haystacks_ends() -> None:
    """Inner words cut out of a context from space to space leave its edges."""
    seen = set()
    for index in range(80):
        draft = material().draft(VARIANT, 4096, index)
        for size in (2, 3, 60):
            context, edges = draft.context(size), draft.edges(size)
            assert context.split(" ")[0] == edges.split(" ")[0]
            assert context.split(" ")[-1] == edges.split(" ")[-1]
            assert split(edges)[0] == split(context)[0]
            words = draft._material.units
            assert split(edges)[1] == [words[0], words[size - 1]]
            seen.add((edges.startswith(PREFIX), edges.endswith(words[size - 1])))
    assert seen == {(a, b) for a in (True, False) for b in (True, False)}


def test_a_short_text_is_repeated() -> None:
    short = EssayMaterial(Haystack("x", "First here. Then there."), 50)
    assert len(short.units) == 50
    assert short.ends[:4] == [2, 4, 6, 8]
    assert short.span(3, 6) == "there. First here."


def test_another_index_or_length_is_another_draft() -> None:
    def identity(draft: EssayDraft) -> tuple[object, ...]:
        return draft.key, draft.value, tuple(draft._depths)

    base = material().draft(VARIANT, 4096, 0)
    assert identity(material().draft(VARIANT, 4096, 0)) == identity(base)
    assert identity(material().draft(VARIANT, 4096, 1)) != identity(base)
    assert identity(material().draft(VARIANT, 8192, 0)) != identity(base)
