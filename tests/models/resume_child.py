"""Runs lm-eval's command in forked copies of itself, so that imports are paid for once.

For: test_resume.py, which kills the copies. Reads commands as JSON lines, answers with the number
of the copy's process and, when that has ended, with how.
"""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# All that a copy would import first.
from lm_eval.__main__ import cli_evaluate
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import TaskIndex

import iha_eval.models.hf.model
import iha_eval.reasoning
import iha_eval.ruler  # noqa: F401


def index_once() -> None:
    """Let copies find lm-eval's index of tasks made: it reads a dozen thousand files each time."""
    build, made = TaskIndex.build, {}

    def kept(paths: Iterable[Path], **options: Any) -> Any:
        key = (*paths, *options.items())
        if key not in made:
            made[key] = build(key[: len(key) - len(options)], **options)
        return made[key]

    TaskIndex.build = staticmethod(kept)
    TaskManager()


def main() -> None:
    """Fork for each line until there are no more."""
    index_once()
    print("ready", flush=True)
    for line in sys.stdin:
        arguments, log = json.loads(line)
        copy = os.fork()
        if copy == 0:
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.argv = ["lm_eval", *arguments]
            code = 1
            try:
                cli_evaluate()
                code = 0
            finally:
                sys.stdout.flush()
                os._exit(code)
        print(copy, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]), flush=True)


main()
