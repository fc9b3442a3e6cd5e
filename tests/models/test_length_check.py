from types import SimpleNamespace

import pytest

from iha_eval.errors import UserError
from iha_eval.models.length_check import Need, check_asked, context_limit, fit_context

SHORT = Need("easy", 1, prompt=90, budget=10)
LONG = Need("hard", 17, prompt=500, budget=28)


@pytest.mark.parametrize(
    ("rope", "expected"),
    [
        (None, 1000),
        ({"rope_type": "default"}, 1000),
        ({"rope_type": "llama3", "factor": 8.0}, 1000),
        ({"rope_type": "linear", "factor": 2.0}, 2000),
        ({"type": "dynamic", "factor": 2.0}, 2000),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 500}, 2000),
        ({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 500}, 1000),
    ],
)
def test_context_limit_counts_the_stretching_of_the_rotary_embedding(
    rope: object, expected: int
) -> None:
    assert (
        context_limit(SimpleNamespace(max_position_embeddings=1000, rope_parameters=rope))
        == expected
    )


def test_context_limit_of_a_configuration_without_one() -> None:
    assert context_limit(SimpleNamespace()) is None


def test_length_defaults_to_what_the_longest_request_needs_rounded_up() -> None:
    assert fit_context([SHORT, LONG], asked=None, limit=4096) == 640
    assert fit_context([SHORT], asked=None, limit=4096) == 128


def test_length_is_not_rounded_beyond_the_checkpoint() -> None:
    assert fit_context([LONG], asked=None, limit=528) == 528


def test_length_as_asked_is_kept() -> None:
    assert fit_context([SHORT], asked=300, limit=4096) == 300


def test_over_what_was_asked_the_message_names_what_would_do() -> None:
    with pytest.raises(UserError) as caught:
        fit_context([SHORT, LONG, LONG], asked=512, limit=4096)
    assert str(caught.value) == (
        "Task hard, document 17: a prompt of 500 tokens and a generation budget of 28 come to 528 "
        "tokens (and 1 more of 3 requests), over max_model_len=512; nothing is truncated, so "
        "nothing was run: set max_model_len=528, or leave it out."
    )


@pytest.mark.parametrize("asked", [None, 500], ids=["unset", "asked"])
def test_over_what_the_checkpoint_allows_the_message_says_so(asked: int | None) -> None:
    with pytest.raises(UserError) as caught:
        fit_context([LONG], asked=asked, limit=520)
    text = str(caught.value)
    assert "max_position_embeddings" in text
    assert "520" in text
    assert "max_model_len=528 would do but this checkpoint cannot" in text


def test_a_length_beyond_the_checkpoint_is_refused_at_once() -> None:
    check_asked(512, 512)
    check_asked(None, 512)
    check_asked(9999, None)
    with pytest.raises(
        UserError, match=r"max_model_len=513 is more than .* 512 tokens\): set at most 512"
    ):
        check_asked(513, 512)
