"""The command `iha-eval`: finds subcommands, shows the help, ends user mistakes in one line.

For: dispatch only. A subcommand is one module of this package whose name has no leading underscore,
with a `SUMMARY` (one line for the help) and `main(arguments) -> exit code`; it imports what is slow
inside `main`. Not for: the work itself, which lives outside `cli/` or in an underscored module
beside its subcommand.
"""

import difflib
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from iha_eval.errors import UserError, exit_on_user_error
from iha_eval.util.installation import version_line

#: Exit codes after Ctrl-C, and where the program that reads our output has ended; as in shells.
INTERRUPTED, PIPE_CLOSED = 130, 141


class Subcommand(Protocol):
    """What the module of a subcommand offers."""

    SUMMARY: str

    def main(self, arguments: Sequence[str]) -> int:
        """Run with the arguments after the subcommand's name; return the exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `iha-eval`.

    Args:
        arguments: Without the program's name; `sys.argv[1:]` if None.

    Returns:
        The exit code.

    Raises:
        SystemExit: With code 2 after a mistake of the user, and wherever argparse or lm-eval exit.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cast(int, exit_on_user_error(_dispatch, given))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # As `| head` does. What is still to be written when Python ends goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def command_names() -> list[str]:
    """All subcommands, sorted; the module `a_b` is the subcommand `a-b`."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def load_command(name: str) -> Subcommand:
    """The module of a subcommand.

    Raises:
        UserError: There is no such subcommand.
    """
    names = command_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"
        raise UserError(f"unknown subcommand {name!r}: {hint}")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return cast(Subcommand, module)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        print(version_line())
        return 0
    return load_command(arguments[0]).main(arguments[1:])


def _help() -> str:
    summaries = {name: load_command(name).SUMMARY for name in command_names()}
    width = max(map(len, summaries))
    lines = (f"  {name:{width}}  {summary}" for name, summary in summaries.items())
    usage = (
        "usage: iha-eval SUBCOMMAND [ARGUMENTS] | iha-eval SUBCOMMAND --help | iha-eval --version"
    )
    return "\n".join([usage, "", "subcommands:", *lines])
