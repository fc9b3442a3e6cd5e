import pytest

from iha_eval.models.hf import generate


@pytest.mark.parametrize(
    ("rows", "tokens", "expected"),
    [
        (None, 1000, [[5, 4, 3], [2, 1]]),
        (None, 10, [[5, 4], [3, 2], [1]]),
        # Too long for the budget still runs, alone.
        (None, 2, [[5], [4], [3], [2], [1]]),
        (4, 2, [[5, 4, 3, 2], [1]]),
    ],
    ids=["by padding", "by tokens", "too long", "by rows"],
)
def test_batches_go_from_long_to_short(
    rows: int | None, tokens: int, expected: list[list[int]]
) -> None:
    found = generate.batches([3, 1, 5, 2, 4], int, rows=rows, tokens=tokens)
    assert list(found) == expected


def test_batches_have_a_bound_on_rows() -> None:
    found = generate.batches([1] * 100, int, rows=None, tokens=10**9)
    assert [len(batch) for batch in found] == [generate.ROWS, 100 - generate.ROWS]
