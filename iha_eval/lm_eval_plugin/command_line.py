"""lm-eval's own command, extended: `--fresh`, a journal, a default model, mistakes in one line.

For: `HarnessCLI`, the one place that `lm_eval`, `lm-eval`, `python -m lm_eval` and `iha-eval run`
share and that `simple_evaluate` does not pass. Not for: models other than ours, for which nothing
changes.
"""

import functools
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from iha_eval.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from iha_eval.models.invocation import Invocation

FRESH_HELP = (
    "iha-vllm and iha-hf: forget the answers that an interrupted run of the same command left "
    "beside the output, and begin anew"
)


def extend_command_line(module: ModuleType) -> None:
    """Wrap lm-eval's command line, once.

    Args:
        module: `lm_eval._cli.harness`.
    """
    cli = module.HarnessCLI
    if hasattr(cli.execute, "extended_by_iha_eval"):
        return
    make, run = cli.__init__, cli.execute

    @functools.wraps(make)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self._subparsers.choices["run"].add_argument(
            "--fresh", action="store_true", help=FRESH_HELP
        )

    @functools.wraps(run)
    def execute(self: Any, args: Namespace) -> Any:
        return exit_on_user_error(_run, functools.partial(run, self), args)

    execute.extended_by_iha_eval = True  # type: ignore[attr-defined]
    cli.__init__, cli.execute = init, execute


def _run(original: Callable[[Namespace], Any], args: Namespace) -> Any:
    # Only once a command runs: the hook must not import this with every `import lm_eval`.
    from iha_eval.models import MODELS
    from iha_eval.models.invocation import Invocation, running

    given = vars(args)
    # lm-eval refuses names that it does not know.
    fresh = bool(given.pop("fresh", False))
    options = {
        **_config_file(given.get("config")),
        **{name: value for name, value in given.items() if value},
    }
    output = options.get("output_path")
    command = Invocation(
        output=Path(output) if output else None,
        log_samples=bool(options.get("log_samples")),
        fresh=fresh,
    )
    ours = options.get("model") in MODELS
    try:
        if ours:
            # lm-eval writes and prints them as they are; our classes get the secrets back.
            given["model_args"] = command.hide(_with_default_model(options.get("model_args") or {}))
        with running(command):
            return original(args)
    except ValueError as error:
        if not ours or not str(error).startswith("Duplicate task '"):
            raise
        hint = "groups that share a task go into separate runs"
        raise UserError(f"--tasks: {error}: {hint}.") from error
    except KeyboardInterrupt:
        if not ours:
            raise
        raise SystemExit(_interrupted(command)) from None


def _interrupted(command: "Invocation") -> int:
    """Say in a line that a run was interrupted; gives the exit code that shells expect."""
    kept = "" if command.folder is None else "; the same command goes on where it stood"
    sys.stdout.flush()
    print(f"\niha-eval: interrupted{kept}.", file=sys.stderr)  # noqa: T201
    return 130


def _with_default_model(arguments: Any) -> Any:
    """The model's arguments, with the embedded checkpoint named where none is.

    lm-eval calls results and their folder after `pretrained`, and draws a name where there is none.
    """
    from model_adapters.default_checkpoint import IHA

    if isinstance(arguments, dict) and "pretrained" not in arguments:
        return {**arguments, "pretrained": IHA}
    return arguments


def _config_file(path: str | None) -> dict[str, Any]:
    """What the file of `--config` says; lm-eval itself complains of one that cannot be read."""
    if not path:
        return {}
    from lm_eval.config.evaluate_config import EvaluatorConfig

    try:
        return dict(EvaluatorConfig.load_yaml_config(path))
    except (OSError, ValueError, TypeError):
        return {}
