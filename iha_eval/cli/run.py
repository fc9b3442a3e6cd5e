"""`iha-eval run`: lm-eval's own command line, with our models and tasks registered first.

For: installations where the start-up hook does not run (`python -S`, `pip install --target`,
switched off), and whoever prefers the explicit way. The arguments are lm-eval's, unchanged.
Not for: options of its own, but for `--json-progress FILE`, as which lm-eval would want
`--model_args json_progress=FILE`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

SUMMARY = "run lm-eval with our models and tasks; takes its arguments, and --json-progress FILE"
OPTION = "--json-progress"


def main(arguments: Sequence[str]) -> int:
    """Register, then hand over to lm-eval.

    Args:
        arguments: What would follow `lm_eval`; `ls` and `validate` work too.

    Returns:
        0; lm-eval reports failures by exceptions and `SystemExit`.

    Raises:
        UserError: As the model class and the tasks raise it.
    """
    from iha_eval.lm_eval_plugin.register import register

    arguments = take_progress(arguments)
    register()
    from lm_eval.__main__ import cli_evaluate

    # lm-eval inserts "run" itself only if two or more arguments follow; its parser reads sys.argv.
    names_command = bool(arguments) and not arguments[0].startswith("-")
    sys.argv = ["lm_eval", *([] if names_command else ["run"]), *arguments]
    cli_evaluate()
    return 0


def take_progress(arguments: Sequence[str]) -> list[str]:
    """Take `--json-progress FILE` out of arguments, for this process and those that it starts.

    Returns:
        The other arguments.
    """
    from iha_eval.models.run_stats import JSON_PROGRESS

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog="iha-eval run")
    parser.add_argument(OPTION, metavar="FILE")
    options, others = parser.parse_known_args(arguments)
    if options.json_progress:
        os.environ[JSON_PROGRESS] = str(Path(options.json_progress).absolute())
    return others
