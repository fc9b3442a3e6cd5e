"""The sentence at the end."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from iha_eval.verify.compare import Limit, choices, differences, exact_limit
from iha_eval.verify.reading import Reading, Sequence
from iha_eval.verify.report import as_json, judge, of_pair, pairs, show
from iha_eval.verify.run import VerifyReport

Make = Callable[..., Reading]


def report(
    sequence: Sequence,
    *readings: Reading,
    limit: Limit | None = None,
    dtype: str = "float32",
    **fields: Any,
) -> VerifyReport:
    """All pairs of these, judged by one limit."""
    made = VerifyReport("my-model", "ab" * 32, dtype, sequences=[sequence], **fields)
    made.limit = limit or exact_limit(0.01)
    for reading in readings:
        for other in made.readings:
            made.differences += differences(reading, other, [sequence], made.limit)
        made.readings.append(reading)
        made.choices += choices(reading, [sequence], made.limit.tie)
    return made


def test_agreement_names_implementations_and_the_largest_difference(
    sequence: Sequence, reading: Make
) -> None:
    found = judge(
        report(
            sequence,
            reading("Transformers sdpa", [-1.0] * 4),
            reading("Transformers eager", [-1.002] * 4),
            reading("naive", [-1.001] * 4),
        )
    )
    assert found.agree
    assert found.sentence == (
        "AGREE: my-model gives the same log-probabilities in Transformers and naive (largest "
        "difference 0.002 nats, allowed 0.01) and the same greedy text."
    )


def test_what_took_no_part_and_ties_are_said(sequence: Sequence, reading: Make) -> None:
    made = report(
        sequence,
        reading("Transformers sdpa", [-1.0] * 4),
        reading("naive", [-1.0] * 4, [-1.0, -1.0, -1.0, -0.99]),
        against="base-model",
    )
    made.unchecked.append("vLLM, which is not installed")
    found = judge(made)
    assert found.agree
    assert found.sentence.startswith("AGREE: my-model and its base base-model give the same")
    assert found.sentence.endswith(
        "and the same greedy text but at 1 near-tie; not checked: vLLM, which is not installed."
    )


def test_the_one_that_differs_from_all_others_is_named(sequence: Sequence, reading: Make) -> None:
    found = judge(
        report(
            sequence,
            reading("Transformers sdpa", [-1.0] * 4),
            reading("naive", [-1.0] * 4),
            reading("vLLM", [-1.0, -1.0, -1.5, -1.0]),
        )
    )
    assert not found.agree
    assert found.sentence == (
        "DISAGREE: vLLM and Transformers sdpa differ by 0.5 nats at token 4 of the prompt of 3 "
        "tokens and what follows it (allowed 0.01); vLLM is the one that differs, so trust no "
        "number from it."
    )


def test_between_two_nobody_is_blamed(sequence: Sequence, reading: Make) -> None:
    made = report(sequence, reading("Transformers sdpa", [-1.0] * 4), reading("naive", [-2.0] * 4))
    made.unchecked.append("vLLM, as asked")
    found = judge(made)
    assert not found.agree
    assert found.sentence.endswith(
        "trust no number from either before it is known which is right; not checked: vLLM, as "
        "asked."
    )


def test_the_mean_is_judged_too(sequence: Sequence, reading: Make) -> None:
    """All tokens off by what only the worst one may be off by."""
    made = report(
        sequence,
        reading("Transformers sdpa", [-1.0] * 4),
        reading("vLLM", [-1.3] * 4),
        limit=Limit(largest=0.4, mean=0.02, tie=0.2),
    )
    assert all(one.agrees for one in made.differences)
    found = judge(made)
    assert not found.agree
    assert "allowed 0.4 and 0.02 in the mean: 4 and 2 times what the type alone" in found.sentence


def test_greedy_text_alone_can_disagree(sequence: Sequence, reading: Make) -> None:
    """The compared tokens are as likely, and another one is likelier still."""
    found = judge(
        report(
            sequence,
            reading("Transformers sdpa", [-1.0] * 4),
            reading("vLLM decoding", [-1.0] * 4, [-1.0, -1.0, -1.0, -0.5]),
        )
    )
    assert not found.agree
    assert found.sentence == (
        "DISAGREE: after the prompt of 3 tokens, vLLM decoding generates another token at step 2, "
        "which it prefers by 0.5 nats."
    )


@pytest.mark.parametrize("judged", [True, False], ids=["judged", "measure"])
def test_what_is_not_judged_cannot_fail(judged: bool, sequence: Sequence, reading: Make) -> None:
    made = report(sequence, reading("Transformers sdpa", [-1.0] * 4), reading("n", [-1.0] * 4))
    limit = made.limit if judged else None
    off = reading("Transformers bf16 sdpa", [-3.0] * 4)
    made.differences += differences(off, made.readings[0], [sequence], limit)
    assert judge(made).agree is not judged


def test_pairs_are_listed_once_with_their_prompts(sequence: Sequence, reading: Make) -> None:
    made = report(sequence, reading("a", [-1.0]), reading("b", [-1.0]), reading("c", [-1.0]))
    assert pairs(made) == [("b", "a"), ("c", "a"), ("c", "b")]
    assert [one.prompt for one in of_pair(made, ("c", "a"))] == ["3 tokens"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_named_with_its_type(
    value: float, sequence: Sequence, reading: Make
) -> None:
    """Also where the reading is a measure, which nothing else judges."""
    made = report(sequence, reading("Transformers sdpa", [-1.0] * 4))
    made.readings += [
        reading("Transformers fp16 sdpa", [-1.0, value], dtype="float16"),
        reading("vLLM decoding", [-1.0], [value], dtype="float16"),
        reading("vLLM", [value], dtype="float16"),
        reading("base vLLM", [value], dtype="float16"),
    ]
    made.unchecked.append("the naive implementation")
    found = judge(made)
    assert not found.agree
    assert found.sentence == (
        "DISAGREE: Transformers in float16, vLLM in float16 and base vLLM in float16 give values "
        "that are not finite; trust no number from them; not checked: the naive implementation."
    )


@pytest.mark.parametrize("judged", [True, False], ids=["judged", "measure"])
def test_rounding_is_spoken_of_where_the_narrow_type_was_judged(
    judged: bool, sequence: Sequence, reading: Make
) -> None:
    made = report(
        sequence,
        reading("Transformers sdpa", [-1.0] * 4),
        reading("naive", [-1.0] * 4),
        dtype="float16",
    )
    narrow = reading("narrow", [-1.0] * 4, dtype="float16")
    limit = made.limit if judged else None
    made.differences += differences(narrow, made.readings[0], [sequence], limit)
    made.readings.append(narrow)
    assert ("up to rounding of float16" in judge(made).sentence) is judged


def test_texts_that_part_clearly_are_not_called_the_same(sequence: Sequence, reading: Make) -> None:
    """A type so coarse that it cannot tell 1.5 nats from a tie."""
    made = report(
        sequence,
        reading("Transformers sdpa", [-2.0] * 4),
        reading("vLLM", [-2.0] * 4, [-2.0, -2.0, -0.5, -1.9], dtype="float16"),
        limit=Limit(largest=4.0, mean=1.0, tie=2.0),
        dtype="float16",
    )
    found = judge(made)
    assert found.agree
    assert found.sentence.endswith(
        "and greedy text that parts at 2 places, by up to 1.5 nats, which float16 cannot tell "
        "apart."
    )


@pytest.mark.parametrize(
    ("within", "words"),
    [
        (None, "the same greedy text."),
        (4, "the same greedy text."),
        (3, "the same greedy text (the base's judged at 1 of 2 generated tokens)."),
        (1, "the same greedy text (the base's judged at none of 2 generated tokens)."),
    ],
)
def test_how_much_of_the_bases_text_was_judged_is_said(
    within: int | None, words: str, sequence: Sequence, reading: Make
) -> None:
    """Tokens 3 and 4 are generated."""
    same = [reading(name, [-1.0] * 4) for name in ("Transformers sdpa", "base Transformers sdpa")]
    made = report(sequence, *same, against="base-model", within=within)
    assert judge(made).sentence.endswith(f" and {words}")


@pytest.mark.parametrize(
    ("agreeing", "words"),
    [(True, "; vLLM is the one that differs"), (False, "; trust no number from either")],
)
def test_who_agrees_with_another_is_not_to_blame(
    agreeing: bool, words: str, sequence: Sequence, reading: Make
) -> None:
    """Both readings of vLLM are off, so the reference alone is in every pair that fails."""
    reference = reading("Transformers sdpa", [-1.0] * 4)
    made = report(sequence, reference, *[reading("naive", [-1.0] * 4)] * agreeing)
    for name in ("vLLM", "vLLM decoding"):
        off = reading(name, [-2.0] * 4)
        made.differences += differences(off, reference, [sequence], made.limit)
        made.readings.append(off)
    assert words in judge(made).sentence


def test_neither_a_conversion_nor_its_base_is_to_blame(sequence: Sequence, reading: Make) -> None:
    """The checkpoint's own readings agree, which does not make the base wrong."""
    made = report(
        sequence,
        reading("Transformers sdpa", [-1.0] * 4),
        reading("naive", [-1.0] * 4),
        against="base-model",
    )
    base = reading("base Transformers sdpa", [-2.0] * 4)
    made.differences += differences(base, made.readings[0], [sequence], made.limit)
    made.readings.append(base)
    assert "; trust no number from either" in judge(made).sentence


Make = Callable[..., Reading]


@pytest.fixture
def three_readings(sequence: Sequence, reading: Make) -> VerifyReport:
    """Three readings, of which one is broken and one ends early."""
    made = VerifyReport("my-[model]", "ab" * 32, "float32", sequences=[sequence])
    made.readings = [
        reading("Transformers sdpa", [-1.0] * 4),
        reading("vLLM", [-1.0, float("nan"), -1.0, -1.5], [-1.0, -1.0, -0.9999, -1.0]),
        reading("Transformers cached", [-1.00000235], first=4, whole=False),
        reading("naive", []),
        reading("Transformers bf16 sdpa", [-1.1] * 4),
    ]
    reference = made.readings[0]
    for other, limit in zip(made.readings[1:], [exact_limit()] * 3 + [None], strict=True):
        made.differences += differences(other, reference, [sequence], limit)
    made.choices = choices(made.readings[1], [sequence], made.limit.tie)
    made.notes = ["A note with [brackets]."]
    return made


def printed(three_readings: VerifyReport) -> str:
    console = Console(file=StringIO(), width=100)
    show(three_readings, judge(three_readings), console)
    text: str = console.file.getvalue()
    return text


def test_the_table_has_a_cell_per_pair_and_prompt(three_readings: VerifyReport) -> None:
    lines = [line.split() for line in printed(three_readings).splitlines()]
    assert ["vLLM", "inf*", "inf*", "1.0e-3"] in lines
    assert ["Transformers", "cached", "2.3e-6", "2.3e-6", "1.0e-3"] in lines
    assert ["naive", "-", "0.0e0", "1.0e-3"] in lines
    assert ["Transformers", "bf16", "sdpa", "1.0e-1", "1.0e-1", "measure"] in lines
    assert ["readings", "3", "mean", "allowed"] in lines


def test_names_and_notes_are_printed_as_they_are(three_readings: VerifyReport) -> None:
    text = printed(three_readings)
    assert "my-[model]: largest differences" in text
    assert "A note with [brackets]." in text.splitlines()
    assert text.splitlines()[-1].startswith("DISAGREE: vLLM in float32 gives values")


def test_other_greedy_choices_are_listed_with_their_judgment(three_readings: VerifyReport) -> None:
    lines = [" ".join(line.split()) for line in printed(three_readings).splitlines()]
    assert any("3 tokens" in line and "5.0e-1" in line and "differs*" in line for line in lines)
    assert any("1.0e-4" in line and "near-tie: no failure" in line for line in lines)


def test_without_other_choices_there_is_one_table(three_readings: VerifyReport) -> None:
    three_readings.choices = []
    assert "other greedy tokens" not in printed(three_readings)


def test_json_holds_everything_and_nothing_that_is_no_number(three_readings: VerifyReport) -> None:
    made = json.loads(json.dumps(as_json(three_readings, judge(three_readings)), allow_nan=False))
    assert made["agree"] is False
    assert made["verdict"].startswith("DISAGREE")
    assert made["fingerprint"] == "ab" * 32
    assert made["prompts"] == [{"name": "3 tokens", "tokens": 3, "generated": [8, 9]}]
    assert made["differences"][0]["largest"] is None
    assert [one["agrees"] for one in made["differences"]] == [False, True, True, True]
    assert [one["judged"] for one in made["differences"]] == [True, True, True, False]
    assert [one["near_tie"] for one in made["greedy"]] == [True, False]
    assert made["allowed"] == {"largest": 1e-3, "mean": 1e-3, "near_tie": 2e-3}
    assert made["readings"][0] == {"name": "Transformers sdpa", "dtype": "float32", "seconds": 0.5}


def test_a_limit_that_is_no_number_is_null(three_readings: VerifyReport) -> None:
    three_readings.limit = Limit(float("inf"), float("nan"), float("inf"))
    made = as_json(three_readings, judge(three_readings))
    assert made["allowed"] == {"largest": None, "mean": None, "near_tie": None}
