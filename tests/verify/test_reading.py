"""Logits become rows of plain numbers."""

import torch

from iha_eval.verify.reading import Reading, ReadingRow, Sequence, row_of_logits


def test_a_sequence_is_its_prompt_and_answer(sequence: Sequence) -> None:
    assert sequence.ids == [5, 6, 7, 8, 9]


def test_a_row_knows_where_it_stands() -> None:
    row = ReadingRow(3, (-1.0, -2.0), (-0.5, -2.0))
    assert row.end == 5
    assert row.at(3) == (-1.0, -0.5)
    assert row.at(4) == (-2.0, -2.0)


def test_logits_predict_the_next_token() -> None:
    """Two tokens predicted from two logits; softmax of (0, ln 3) is (1/4, 3/4)."""
    logits = torch.tensor([[0.0, 0.0], [0.0, 1.0986123]])
    row = row_of_logits(logits, [1, 1, 0])
    assert row.first == 1
    torch.testing.assert_close(row.logprobs, (-0.6931472, -1.3862944))
    torch.testing.assert_close(row.best, (-0.6931472, -0.2876821))


def test_only_the_last_logits_are_looked_at_from_a_later_token_on() -> None:
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    ids = [1, 2, 3, 4, 5]
    whole, part = row_of_logits(logits, ids), row_of_logits(logits, ids, first=3)
    assert part.first == 3
    assert part.logprobs == whole.logprobs[2:]
    assert part == row_of_logits(logits[2:], ids, first=3)


def test_a_reading_is_finite_where_every_value_is() -> None:
    def finite(*rows: ReadingRow) -> bool:
        return Reading("vLLM", "float16", rows, 0.1).finite

    sound = ReadingRow(1, (-1.0,), (-0.5,))
    assert finite(sound, sound)
    assert not finite(sound, ReadingRow(1, (float("nan"),), (-0.5,)))
    assert not finite(sound, ReadingRow(1, (-1.0,), (float("inf"),)))


def test_a_reading_knows_its_implementation() -> None:
    names = ("Transformers fp16 sdpa", "vLLM decoding", "base vLLM", "naive")
    found = [Reading(name, "float32", (), 0.1).implementation for name in names]
    assert found == ["Transformers", "vLLM", "base vLLM", "naive"]
