import pytest
from tiny_models import tiny_config

from model_adapters.cost.communication import exchange


@pytest.mark.parametrize("layer", [0, 1], ids=["iha_sliding", "iha_global"])
@pytest.mark.parametrize("pseudo", [1, 2, 8])
def test_an_iha_layer_of_equal_heads_sends_twice_what_llamas_does(layer: int, pseudo: int) -> None:
    """Whatever P is: heads are exchanged, not pseudo-heads."""
    config = tiny_config(
        num_pseudo_heads=pseudo, hidden_size=128, num_attention_heads=4, num_key_value_heads=4
    )
    ours, plain = exchange(config, layer, 4), exchange(config, 2, 4)
    assert (plain.calls, ours.calls) == (2, 4)
    # Two ring all-reduces of D: 2 * 2 * 3/4 * 128.
    assert (plain.sent, ours.sent) == (384, 768)


def test_fewer_key_heads_send_less_and_copies_are_sent_too() -> None:
    config = tiny_config(hidden_size=128, num_attention_heads=4, num_key_value_heads=1)
    assert exchange(config, 0, 2).gathered == (4 + 2 * 2) * 32
    assert exchange(config, 0, 4).gathered == (4 + 2 * 4) * 32


@pytest.mark.parametrize(
    ("layer", "ranks", "folded"),
    [(0, 1, False), (2, 4, False), (0, 4, True)],
    ids=["one rank", "plain layer", "folded"],
)
def test_nothing_but_llamas_own_is_exchanged(layer: int, ranks: int, folded: bool) -> None:
    found = exchange(tiny_config(), layer, ranks, folded=folded)
    assert (found.calls, found.gathered, found.scattered) == (2, 0, 0)
