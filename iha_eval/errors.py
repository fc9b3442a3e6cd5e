"""The exception that means "the user can mend this", and the one line that it becomes.

For: every message that a user of a command line should read as one sentence, without a traceback:
`iha-eval`, and lm-eval's own command (see `lm_eval_plugin/command_line.py`). Programs and notebooks
still receive the exception itself.
Not for: bugs; those stay ordinary exceptions and keep their traceback.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

from iha_eval.util.text import clean, shorten

EXIT_CODE = 2
"""What a command exits with after a mistake of the user; the same as argparse's."""


MOST_CHARACTERS = 2000
"""Of a sentence on a terminal; a path or a value in it may be as long as anybody likes."""


class UserError(ValueError):
    """A mistake in what was asked for; its text names the thing, its value and the remedy."""


def user_message(error: BaseException) -> str | None:
    """The sentence meant for the user, or None if the error is of another kind.

    An error that was raised from one of ours counts as ours: libraries in between wrap what they
    catch.
    """
    for link in _causes(error):
        if isinstance(link, _user_error_types()):
            # What a file says may stand in it: no escape sequence reaches a terminal.
            return " ".join(clean(shorten(str(link), MOST_CHARACTERS)).split())
    return None


def exit_on_user_error(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `function`, and end the process with one line on stderr if the user made a mistake.

    Raises:
        SystemExit: With `EXIT_CODE`, after the line was written.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        sys.stdout.flush()
        print(f"iha-eval: {message}", file=sys.stderr)  # noqa: T201
        raise SystemExit(EXIT_CODE) from None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__


def _user_error_types() -> tuple[type[BaseException], ...]:
    # A module that was never imported cannot have raised; importing it here would cost seconds.
    adapters = sys.modules.get("model_adapters.errors")
    return (UserError,) if adapters is None else (UserError, adapters.AdapterError)
