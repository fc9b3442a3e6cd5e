"""Mistakes of the user end a command in one line; everything else keeps its traceback."""

import sys

import pytest

from iha_eval.errors import (
    UserError,
    exit_on_user_error,
    user_message,
)
from model_adapters.errors import CheckpointError


def raised(error, cause=None):
    """The error as it is after having been raised from `cause`."""
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def do_raise(error):
    raise error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(UserError("limit 0: use 1"), "limit 0: use 1", id="ours"),
        pytest.param(CheckpointError("no alpha"), "no alpha", id="the adapters'"),
        pytest.param(UserError("two\n  lines"), "two lines", id="made one line"),
        pytest.param(raised(RuntimeError("x"), UserError("why")), "why", id="wrapped"),
        pytest.param(
            raised(RuntimeError("x"), raised(OSError("y"), UserError("why"))), "why", id="twice"
        ),
        pytest.param(ValueError("bug"), None, id="another ValueError"),
        pytest.param(KeyError("bug"), None, id="another type"),
    ],
)
def test_user_message(error, message):
    assert user_message(error) == message


def test_an_error_while_handling_ours_is_not_taken_for_ours():
    error = ZeroDivisionError()
    error.__context__ = UserError("handled")
    assert user_message(error) is None


def test_a_circle_of_causes_ends():
    error = RuntimeError("round")
    error.__cause__ = error
    assert user_message(error) is None


def test_adapters_that_were_never_imported_are_not_imported_to_ask(monkeypatch):
    monkeypatch.delitem(sys.modules, "model_adapters.errors")
    assert user_message(UserError("a")) == "a"
    assert "model_adapters.errors" not in sys.modules


def test_a_mistake_becomes_one_line_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as exit_:
        exit_on_user_error(do_raise, UserError("name it"))
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "iha-eval: name it\n"


def test_another_error_passes_through(capsys):
    with pytest.raises(ValueError, match="bug"):
        exit_on_user_error(do_raise, ValueError("bug"))
    assert capsys.readouterr().err == ""


def test_results_and_arguments_pass_through():
    assert exit_on_user_error(divmod, 7, 2) == (3, 1)


def test_escape_sequences_do_not_reach_the_terminal(capsys):
    def fail():
        raise UserError("the tensor \x1b]0;owned\x07 is \x1b[31mred")

    with pytest.raises(SystemExit):
        exit_on_user_error(fail)
    assert "\x1b" not in capsys.readouterr().err


def test_sentences_are_short_and_send_a_terminal_nothing() -> None:
    message = user_message(UserError(f"no \x1b[2Jtask \x1b]0;t\x07 {'x' * 300_000} there"))
    assert message is not None
    assert len(message) < 2100
    assert message.startswith("no \u241b[2Jtask \u241b]0;t\u2407 xxx")
    assert message.endswith("xxx there")
    assert "characters left out" in message
    assert message.isprintable()
