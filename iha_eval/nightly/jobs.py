"""The commands of a night: as few processes as tasks with different settings allow.

For: turning a configuration into lm-eval command lines. lm-eval takes limit, metadata, generation
settings, shots and chat template for a whole run, so tasks that differ in them run apart.
Not for: running them (see `process.py`).
"""

import contextlib
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from iha_eval.nightly.config import ROLES, Config, Model, Role, Task
from iha_eval.util.json_hash import compact, sha256
from iha_eval.util.redact import redact_words

# Model arguments that name a folder or something on a hub.
_PLACES = ("pretrained", "tokenizer", "peft")
# Not imported from `model_adapters.default_checkpoint`, which takes seconds.
EMBEDDED = ("embedded-iha", "embedded-baseline")


@dataclass(frozen=True)
class Job:
    """One process: one model on tasks that share their settings.

    Attributes:
        model: which one.
        tasks: at least one.
        folder: where its output goes, below the folder of the night.
    """

    model: Model
    tasks: tuple[Task, ...]
    folder: str

    @property
    def role(self) -> Role:
        """Which of the two models."""
        return self.model.role

    @property
    def names(self) -> list[str]:
        """The tasks as lm-eval names them."""
        return [task.name for task in self.tasks]

    def command(self, night: Path) -> list[str]:
        """The whole command line.

        Args:
            night: folder of the night.
        """
        return [*self._start(), "--output_path", str(night / self.folder), "--log_samples"]

    @property
    def sha256(self) -> str:
        """Hash of the command without its output folder, as 64 hex digits."""
        return sha256([*self._start(), sorted(self.model.environment.items())])

    def _start(self) -> list[str]:
        model = self.model
        given = model.arguments
        arguments = given if isinstance(given, str) else compact(given)
        start = [*model.command, "--model", model.model, "--model_args", arguments]
        return [*start, "--tasks", ",".join(self.names), *_options(self.tasks[0]), *model.extra]


def plan(config: Config) -> list[Job]:
    """All jobs of a night; those of the IHA model first."""
    groups: dict[str, list[Task]] = {}
    for task in config.tasks:
        groups.setdefault(compact(task.settings), []).append(task)
    models = {role: _placed(config.models[role], config.folder) for role in ROLES}
    return [
        Job(models[role], tuple(tasks), f"{role}/{number}-{_file_name(tasks[0].name)}")
        for role in ROLES
        for number, tasks in enumerate(groups.values(), 1)
    ]


def plan_sha256(jobs: Sequence[Job]) -> str:
    """Hash of all that a night runs, as 64 hex digits."""
    return sha256([job.sha256 for job in jobs])


def readable(command: Sequence[str]) -> str:
    """A command line to be shown, without secrets."""
    return shlex.join(redact_words(command))


def _placed(model: Model, base: Path) -> Model:
    """A model whose folders are told in full: results name them, and are read from anywhere."""
    given = model.arguments
    if not isinstance(given, str):
        found = {name: _place(name, value, base) for name, value in given.items()}
        return replace(model, arguments=found)
    if given.lstrip().startswith("{"):
        # lm-eval reads it as JSON, or says what is wrong with it.
        with contextlib.suppress(ValueError):
            return _placed(replace(model, arguments=json.loads(given)), base)
    pairs = [part.partition("=") for part in given.split(",")]
    parts = [f"{name}{equals}{_place(name.strip(), value, base)}" for name, equals, value in pairs]
    return replace(model, arguments=",".join(parts))


def _place(name: str, value: object, base: Path) -> object:
    """A folder that exists, absolute; the name of anything else as it stands."""
    if name not in _PLACES or not isinstance(value, str):
        return value
    folder = base / Path(value).expanduser()
    return str(folder) if folder.is_dir() and value not in EMBEDDED else value


def _options(task: Task) -> list[str]:
    words: list[str] = []
    for name, value in task.settings.items():
        words.append(f"--{name}")
        if value is not True:
            words.append(compact(value) if isinstance(value, dict) else str(value))
    return words


def _file_name(task: str) -> str:
    return re.sub(r"[^\w.-]", "_", task)[:60]
