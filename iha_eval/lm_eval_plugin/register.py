"""Make this project's models and tasks known to lm-eval.

For: the start-up hook, `iha-eval run`, and programs that call `lm_eval.simple_evaluate` without the
hook (call `register()` first). Everything here may be done twice, and yields to what lm-eval
already has: a release that reads entry points, or a model of the same name. Not for: the models and
tasks themselves; the registry gets their import path, nothing heavy is imported.
"""

import functools
import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.version import Version

from iha_eval.errors import UserError
from iha_eval.lm_eval_plugin.command_line import extend_command_line
from iha_eval.models import MODELS
from iha_eval.util.installation import installed_version, tasks_dir

__all__ = ["MODELS", "add_models", "add_tasks", "extend_command_line", "insert_after", "register"]

#: The first release of lm-eval that has all that is extended here.
OLDEST = Version("0.4.13")


def register() -> None:
    """Make models and tasks known now, whether or not the start-up hook ran.

    Raises:
        UserError: lm-eval is not installed or another release than is needed, or the task folder is
            missing from the installation.
    """
    installed = installed_version("lm-eval", "lm_eval")
    # An older one may not even import beside today's packages.
    if installed is not None and Version(installed) < OLDEST:
        raise UserError(_other_release(installed))
    try:
        add_models(importlib.import_module("lm_eval.models"))
        add_tasks(importlib.import_module("lm_eval.tasks._index"))
        extend_command_line(importlib.import_module("lm_eval._cli.harness"))
    except (ImportError, AttributeError) as error:
        raise UserError(_other_release(installed, f" ({error})")) from error


def _other_release(installed: str | None, reason: str = "") -> str:
    what = f"lm-eval {installed} is installed" if installed else "lm-eval is not installed"
    return (
        f"{what}, and iha-eval works with {OLDEST} and later{reason}: "
        f"pip install 'lm-eval>={OLDEST},<0.5'."
    )


def add_models(module: ModuleType) -> None:
    """Add `MODELS` to lm-eval's model registry, as import paths.

    Args:
        module: `lm_eval.models`.
    """
    from lm_eval.api.registry import model_registry

    for name, target in MODELS.items():
        # Taken already where lm-eval read our entry point.
        if name not in model_registry:
            model_registry.register(name, target=target)
            module.MODEL_MAPPING.setdefault(name, target)


def add_tasks(module: ModuleType) -> None:
    """Let lm-eval's task index read our task folder too.

    Args:
        module: `lm_eval.tasks._index`.

    Raises:
        UserError: The task folder is missing from the installation.
    """
    index = module.TaskIndex
    if hasattr(index.build, "adds_iha_tasks"):
        return
    ours, builtin = tasks_dir(), Path(str(module.__file__)).parent
    original: Callable[..., Any] = index.build

    @functools.wraps(original)
    def build(paths: Iterable[Path], *args: Any, **kwargs: Any) -> Any:
        return original(insert_after(list(paths), builtin, ours), *args, **kwargs)

    build.adds_iha_tasks = True  # type: ignore[attr-defined]
    index.build = staticmethod(build)


def insert_after(paths: list[Path], builtin: Path, ours: Path) -> list[Path]:
    """The task folders to read, in order; of two tasks of one name the later folder's wins.

    Ours comes right after lm-eval's own, so that `--include_path` still has the last word. It is
    left out where the caller left out lm-eval's own, or named ours already.
    """
    known = [path.resolve() for path in paths]
    if builtin.resolve() not in known or ours.resolve() in known:
        return paths
    position = known.index(builtin.resolve()) + 1
    return [*paths[:position], ours, *paths[position:]]
