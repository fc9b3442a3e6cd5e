"""The start-up hook: lets the plain `lm_eval` command find this project's models and tasks.

For: lm-eval 0.4.13, which knows no plugins. A `.pth` line (a `.start` file from Python 3.15 on)
calls `install` in every Python process of the environment, so this module imports nothing that is
not loaded already and only leaves a watcher behind; `register` holds what happens once lm-eval is
imported. Not for: Python started with `-S` or packages installed with `--target`; `iha-eval run`
needs no hook.
"""

import os
import sys

OFF_SWITCH = "IHA_EVAL_NO_HOOK"
"""Environment variable that turns the hook off; empty and `0` leave it on."""

WATCHED = {
    "lm_eval.models": "add_models",
    "lm_eval.tasks._index": "add_tasks",
    "lm_eval._cli.harness": "extend_command_line",
}
"""Module of lm-eval -> the function of `register` to call with it when it has been imported."""

# What typing.TYPE_CHECKING is; typing itself would be an import at every interpreter start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class Watcher:
    """A finder that finds nothing itself, and wraps the loaders of the watched modules."""

    def __init__(self) -> None:
        # Another finder that asks all others, as this one does, would ask this one again.
        self._asking: set[str] = set()

    def find_spec(
        self,
        fullname: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        """See `importlib.abc.MetaPathFinder.find_spec`; None for every module not watched."""
        if fullname not in WATCHED or fullname in self._asking:
            return None
        self._asking.add(fullname)
        try:
            for finder in sys.meta_path:
                find_spec = None if finder is self else getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = find_spec and find_spec(fullname, path, target)
                if spec is not None:
                    _call_after_exec(spec, fullname)
                    return spec
            return None
        finally:
            self._asking.discard(fullname)


def _call_after_exec(spec: "ModuleSpec", fullname: str) -> None:
    exec_module = getattr(spec.loader, "exec_module", None)
    if exec_module is None:
        return

    def exec_and_register(module: "ModuleType") -> None:
        exec_module(module)
        # A zip file's loader serves many modules.
        if module.__name__ == fullname:
            _register(module)

    spec.loader.exec_module = exec_and_register  # type: ignore[union-attr,method-assign]


def _register(module: "ModuleType") -> None:
    try:
        from iha_eval.lm_eval_plugin import register

        getattr(register, WATCHED[module.__name__])(module)
    except Exception as error:
        # Whoever imports lm-eval may not need us: say it and go on.
        import logging

        logging.getLogger(__name__).warning(
            "iha-eval could not extend %s (%s: %s); set %s=1 to leave lm-eval alone",
            module.__name__,
            type(error).__name__,
            error,
            OFF_SWITCH,
        )


def install() -> None:
    """Start to watch, once, unless switched off."""
    if os.environ.get(OFF_SWITCH, "") not in ("", "0"):
        return
    if not any(type(finder) is Watcher for finder in sys.meta_path):
        sys.meta_path.insert(0, Watcher())
