"""Every foreign name is assigned, ignored or refused, and so is every one of ours."""

import pytest

from model_adapters.convert import ConversionError, NameMap, Rule
from model_adapters.convert.rules import assign, some

OURS = ["a.0.q", "a.0.k", "a.1.q", "a.1.k", "head"]


def pairs(sources: list[str], names: NameMap, optional: tuple[str, ...] = ()) -> dict[str, str]:
    moves, _ = assign(sources, OURS, optional, names)
    return {move.target: move.source for move in moves}


def both(source: str, target: str, **changes: bool) -> tuple[Rule, ...]:
    return Rule(source, target, **changes), Rule("out", "head")


@pytest.mark.parametrize(
    "rule",
    [
        Rule("h.{layer}.w{kind}", "a.{layer}.{kind}"),
        Rule(r"h\.(?P<layer>\d+)\.w(?P<kind>[qk])", "a.{layer}.{kind}", regex=True),
    ],
    ids=["template", "regex"],
)
def test_words_of_the_source_stand_in_the_target(rule: Rule) -> None:
    sources = ["h.1.wk", "h.0.wq", "out", "h.0.wk", "h.1.wq"]
    moved = pairs(sources, NameMap((rule, Rule("out", "head"))))
    assert moved == {name: f"h.{name[2]}.w{name[4]}" for name in OURS[:4]} | {"head": "out"}
    # In our order, not theirs.
    assert list(moved) == OURS


def test_a_word_that_stands_twice_is_the_same_twice() -> None:
    rules = (*both("h.{layer}.{kind}.{kind}", "a.{layer}.{kind}"),)
    sources = [f"h.{i}.{kind}.{kind}" for i in (0, 1) for kind in "qk"] + ["out"]
    assert len(pairs(sources, NameMap(rules))) == 5
    with pytest.raises(ConversionError, match=r"no rule fits h\.0\.q\.k"):
        pairs([*sources, "h.0.q.k"], NameMap(rules))


def test_prefixes_go_layers_count_from_anywhere_and_patterns_are_ignored() -> None:
    names = NameMap(
        both("h.{layer}.{kind}", "a.{layer}.{kind}"),
        ignore=("*.inv_freq", "step"),
        strip_prefix=("module.", "_orig_mod."),
        first_layer=1,
    )
    sources = [f"module._orig_mod.module.h.{i}.{kind}" for i in (1, 2) for kind in "qk"]
    dropped = ["module.h.1.rope.inv_freq", "step"]
    moves, ignored = assign([*sources, "out", *dropped], OURS, (), names)
    assert [move.source for move in moves] == [*sources, "out"]
    assert ignored == dict(zip(dropped, names.ignore, strict=True))


def test_our_own_names_need_no_rule_where_that_is_said() -> None:
    rules = (Rule("out", "head"),)
    sources = [*OURS[:4], "out"]
    assert pairs(sources, NameMap(rules, same_names=True)) == dict(zip(OURS, sources, strict=True))
    with pytest.raises(ConversionError, match=r"no rule fits a\.0\.q, a\.0\.k, a\.1\.q, a\.1\.k:"):
        pairs(sources, NameMap(rules))


def test_a_stacked_tensor_goes_to_several() -> None:
    names = NameMap(
        (Rule("h.{layer}.qk", "a.{layer}.{part}", split=("q", "k")), Rule("out", "head"))
    )
    moves, _ = assign(["h.0.qk", "h.1.qk", "out"], OURS, (), names)
    assert [move.part for move in moves] == ["q", "k", "q", "k", ""]


ALL = [f"h.{i}.{kind}" for i in (0, 1) for kind in "qk"]
GOOD = both("h.{layer}.{kind}", "a.{layer}.{kind}")


@pytest.mark.parametrize(
    ("sources", "rules", "words"),
    [
        ([*ALL, "out", "x", "y"], GOOD, "no rule fits x, y: add one, or list"),
        (ALL, GOOD, "the rule 'out' fits no tensor"),
        ([*ALL[1:], "out"], GOOD, r"nothing becomes a\.0\.q: add rules"),
        ([*ALL, "out"], (*GOOD, Rule("o{any}", "head")), "two rules fit out, 'out' and 'o{any}'"),
        ([*ALL, "h.7.q", "out"], GOOD, r"h\.7\.q would become a\.7\.q, which .* no place"),
        (
            [*ALL, "out", "out2"],
            (*GOOD, Rule("out2", "head")),
            "head would be made of both out and out2",
        ),
        (
            [*ALL, "out"],
            both("h.{layer}.{kind}", "a.{number}.{kind}"),
            "names {number}, which 'h.{layer}.{kind}' does not",
        ),
        ([*ALL, "out"], both("h.{layer}.{kind}", "a.{layer}.{part}"), "names {part}"),
        (
            [*ALL, "out"],
            both("h.{1x}", "a.{layer}"),
            r"'h\.\{1x\}' has \{1x\}, which is no word: begin it with a letter",
        ),
        (
            [*ALL, "out", "h.q"],
            both(r"h\.((?P<layer>\d)\.)?(?P<kind>[qk])", "a.{layer}.{kind}", regex=True),
            r"names \{layer\}, which .* does not give for h\.q: use",
        ),
        ([*ALL, "out"], both("h.(", "a", regex=True), r"'h\.\(' is no regular expression"),
    ],
    ids=[
        "not mapped",
        "idle rule",
        "missing",
        "two rules",
        "no place",
        "made twice",
        "unknown word",
        "part without split",
        "no word",
        "group without a match",
        "broken regex",
    ],
)
def test_nothing_is_dropped_or_guessed(
    sources: list[str], rules: tuple[Rule, ...], words: str
) -> None:
    with pytest.raises(ConversionError, match=words):
        pairs(sources, NameMap(rules))


def test_what_may_be_missing_may_be_missing() -> None:
    moved = pairs(ALL, NameMap(GOOD[:1]), optional=("head",))
    assert list(moved) == OURS[:4]


def test_an_error_names_a_few() -> None:
    assert some("abcdef") == "a, b, c, d and 2 more"
    assert some("abcd") == "a, b, c, d"
