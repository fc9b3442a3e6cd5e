"""Linear and hard attention beside softmax, by hand."""

import pytest
import torch

from model_adapters import naive

MASK = torch.tensor([[True, True, False], [True, True, True]])
SCORES = torch.tensor([[2.0, -1.0, 9.0], [3.0, 3.0, 1.0]])


def test_linear_attention_weighs_by_the_score_itself() -> None:
    assert naive.linear_scores(SCORES, MASK).tolist() == [[2.0, -1.0, 0.0], [3.0, 3.0, 1.0]]


def test_hard_attention_shares_the_weight_among_the_best_visible_keys() -> None:
    assert naive.hard_scores(SCORES, MASK).tolist() == [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]


@pytest.mark.parametrize("scale", [1e2, 1e3])
def test_softmax_of_ever_larger_scores_is_hard_attention(scale: float) -> None:
    soft = naive.softmax_scores(scale * SCORES, MASK)
    torch.testing.assert_close(soft, naive.hard_scores(SCORES, MASK))


def test_attend_passes_scaled_scores_and_mask_on() -> None:
    query = torch.tensor([[[2.0, 0.0, 0.0, 0.0]]])
    key = torch.tensor([[[3.0, 0.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0]]])
    value = torch.tensor([[[1.0, 10.0], [100.0, 1000.0]]])
    mask = torch.tensor([[True, False]])
    attended = naive.attend(query, key, value, mask, naive.linear_scores)
    assert attended.tolist() == [[[3.0, 30.0]]]
