"""The process of `KeptProcess`: commands of `iha-eval run`, one after the other, and one engine.

For: `python -m iha_eval.nightly.kept_run AMONG FD`; each line of its input is the arguments of a
command, as JSON, and each line that it writes to the file descriptor FD is an exit code.
Not for: starting or ending it, nor for its log, see `process.py`.
"""

import json
import os
import sys
import traceback
from collections.abc import Sequence

from iha_eval.cli import run
from iha_eval.errors import exit_on_user_error
from iha_eval.models.vllm.engine import keep_engine


def main(among: int, codes: int) -> None:
    """Run commands until there is no more input.

    Args:
        among: processes like this one that share the machine's memory.
        codes: file descriptor that exit codes are written to.
    """
    # What it starts must not keep the pipe open when it is gone.
    os.set_inheritable(codes, False)
    keep_engine(among)
    for line in sys.stdin:
        code = _exit_code(json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(codes, f"{code}\n".encode())


def _exit_code(arguments: Sequence[str]) -> int:
    try:
        return int(exit_on_user_error(run.main, arguments) or 0)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    # Whatever ends a command is told as Python tells it at the end of a process.
    except BaseException:
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
