import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from iha_eval.statistics import benjamini_hochberg, holm

P_VALUES = [0.01, 0.04, 0.03, 0.005, 0.5, 0.03, 1.0, 0.0]


@pytest.mark.parametrize(
    ("correct", "name"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")], ids=["Holm", "BH"]
)
class TestBoth:
    @pytest.mark.parametrize("count", [1, 2, 8])
    def test_agrees_with_statsmodels(self, correct, name, count) -> None:
        expected = multipletests(P_VALUES[:count], method=name)[1]
        assert correct(P_VALUES[:count]) == pytest.approx(expected)

    def test_agrees_with_statsmodels_on_many(self, correct, name) -> None:
        drawn = (np.random.default_rng(0).random(200) ** 3).tolist()
        assert correct(drawn) == pytest.approx(multipletests(drawn, method=name)[1])

    def test_cells_without_a_test_pass_through_uncounted(self, correct, name) -> None:
        one, none, two = correct([0.01, None, 0.02])
        assert none is None
        assert [one, two] == correct([0.01, 0.02])

    @pytest.mark.parametrize("cells", [[], [None], [None, None]])
    def test_nothing_to_correct(self, correct, name, cells) -> None:
        assert correct(cells) == cells

    @pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
    def test_no_p_value(self, correct, name, p) -> None:
        with pytest.raises(ValueError, match=r"must lie between 0 and 1, not \[0\.5, "):
            correct([0.5, p])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_benjamini_hochberg_by_hand() -> None:
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_cells_that_cannot_reject_take_no_share() -> None:
    # Two of four cells could have given 0.02; the others are counted where p reaches theirs.
    assert holm([0.02, 0.04, 1.0, 0.3], [0.001, 0.01, 1.0, 0.25]) == pytest.approx(
        [0.04, 0.04, 1.0, 0.3]
    )


def test_without_hopeless_cells_tarones_correction_is_holms() -> None:
    drawn = (np.random.default_rng(1).random(40) ** 2).tolist()
    assert holm(drawn, [0.0] * 40) == holm(drawn)
