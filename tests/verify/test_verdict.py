"""The sentence at the end."""

from collections.abc import Callable

import pytest

from iha_eval.verify.compare import choices, differences
from iha_eval.verify.limits import Limit, exact
from iha_eval.verify.reading import Reading, Sequence
from iha_eval.verify.run import Report
from iha_eval.verify.verdict import judge, of_pair, pairs

Make = Callable[..., Reading]


def report(
    sequence: Sequence, *readings: Reading, limit: Limit | None = None, **fields: str
) -> Report:
    """All pairs of these, judged by one limit."""
    made = Report("my-model", "ab" * 32, "float32", sequences=[sequence], **fields)
    made.limit = limit or exact(0.01)
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
        limit=Limit(largest=0.4, mean=0.02),
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
