"""What a night does, as its YAML file says: models and their baseline, tasks, folders, rules.

For: reading and checking the file of `iha-eval nightly`; `examples/nightly.yaml` explains each key.
Not for: commands (see `night.py`), nor for checking what only lm-eval knows, such as task names.

Every relative path, in model arguments too, counts from the folder of the file.
"""

import contextlib
import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import read_sampling
from iha_eval.models import MODELS
from iha_eval.util.yaml_section import Section, is_number, load, shown

BASELINE = "baseline"
"""The name of the model that each of the others is measured by."""

# The name of a model is a folder of the night, beside these.
_MODEL_NAME = re.compile(r"[A-Za-z0-9][\w-]{0,39}", re.ASCII)
_FOLDERS = ("merged", "confirm")
# Of values in a whole file; one that is written by hand has some hundreds.
_MOST_VALUES = 100_000

# Options that are set here from other keys.
TAKEN = ("--model", "--model_args", "--tasks", "--output_path", "--log_samples", "--limit")
TAKEN_SHORT = ("-M", "-a", "-t", "-o", "-s", "-L")

RUN = (sys.executable, "-m", "iha_eval", "run")
"""What runs lm-eval where a configuration names no command."""

_MODEL_KEYS = ("model", "model_args", "command", "arguments", "environment")
_TASK_KEYS = ("task", "limit", "metadata", "gen_kwargs", "num_fewshot", "apply_chat_template")
_RULE_KEYS = ("metrics", "drop", "last_good", "baseline", "false_alarms_per_month", "confirm")
# Of earlier configurations; has no effect any more.
_OLD_RULE_KEYS = ("alpha",)
_KEYS = ("models", "tasks", "output", "history", "timeout", "unpaired", "regression")

_MODEL_ARGS = "give a mapping such as {pretrained: my-checkpoint, dtype: bfloat16}."


@dataclass(frozen=True)
class Model:
    """One of the models.

    Attributes:
        role: its name in the configuration; `baseline` is that of the baseline.
        model: lm-eval's name of the model class.
        arguments: `--model_args`, a mapping or lm-eval's own `key=value,...`.
        command: what is started, before `--model`.
        extra: further arguments of lm-eval.
        environment: variables set for its processes.
    """

    role: str
    model: str
    arguments: Mapping[str, Any] | str
    command: tuple[str, ...]
    extra: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def pretrained(self) -> str | None:
        """The checkpoint's folder or name, if the arguments say one."""
        return self.argument("pretrained")

    def argument(self, wanted: str) -> str | None:
        """One of the arguments, in either form; None if it is not given."""
        if isinstance(self.arguments, str):
            pairs = (part.partition("=") for part in self.arguments.split(","))
            return next((value for name, _, value in pairs if name.strip() == wanted), None)
        value = self.arguments.get(wanted)
        return str(value) if value is not None else None

    def of(self, checkpoint: Path) -> "Model":
        """The same model with another checkpoint."""
        place, given = str(checkpoint), self.arguments
        if not isinstance(given, str):
            return replace(self, arguments={**given, "pretrained": place})
        parts = [
            part for part in given.split(",") if part.partition("=")[0].strip() != "pretrained"
        ]
        return replace(self, arguments=",".join([f"pretrained={place}", *parts]))


@dataclass(frozen=True)
class NightTask:
    """A task or group, with what lm-eval takes for a whole run only.

    Attributes:
        name: lm-eval's name.
        settings: the options given, by their names on lm-eval's command line.
    """

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Rules:
    """What counts as a regression of a model.

    Attributes:
        metrics: patterns of the metrics watched; empty for the first metric of each task.
        false_alarms_per_month: budget of alarms in 30 nights on which nothing changes, over all
            that is watched.
        drop: points that a drop must have at least.
        last_good: whether it is held against its own good nights.
        baseline: whether it is held against the baseline.
        confirm: whether a run with a new drop is repeated before the night counts as red.
    """

    metrics: tuple[str, ...] = ()
    false_alarms_per_month: float = 0.5
    drop: float = 0.0
    last_good: bool = True
    baseline: bool = True
    confirm: bool = False


@dataclass(frozen=True)
class Config:
    """A whole file.

    Attributes:
        file: where it lies; its folder is what relative paths count from.
        models: by name, in the order in which they run, the baseline last.
        tasks: in the order of the file.
        output: folder for one subfolder a night.
        history: folder of the history.
        timeout: seconds that one process may take; None for as long as it likes.
        unpaired: compare without pairing by question.
        rules: what a regression is.
    """

    file: Path
    models: Mapping[str, Model]
    tasks: tuple[NightTask, ...]
    output: Path
    history: Path
    timeout: float | None = None
    unpaired: bool = False
    rules: Rules = Rules()

    @property
    def folder(self) -> Path:
        """The folder of the file, in which every process runs."""
        return self.file.parent

    @property
    def compared(self) -> list[str]:
        """The names of the models that are held against the baseline."""
        return [name for name in self.models if name != BASELINE]


def read_config(path: Path, *, watched: bool = False) -> Config:
    """Read and check a configuration.

    Args:
        path: the file.
        watched: whether checkpoints of training runs are its models, of which nothing else need
            be said.

    Raises:
        UserError: something in it is wrong; the sentence names the key, its value and the remedy.
    """
    try:
        return _read(path, watched)
    except UserError:
        raise
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        # What YAML reads as a date, a number or a name, and Python cannot.
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"the configuration {path.name} holds a value that cannot be read ({why}): compare it "
            "with examples/nightly.yaml."
        ) from error
    except (OSError, RuntimeError) as error:
        why = "it holds itself" if isinstance(error, RecursionError) else str(error)[:200]
        raise UserError(
            f"the configuration {path.name} cannot be used ({why}): compare it with "
            "examples/nightly.yaml."
        ) from error


def _read(path: Path, watched: bool) -> Config:
    content = load(path)
    _check_texts(content, path.name, (), itertools.count(1))
    top = Section(content, path.name, _KEYS)
    file = path.absolute()
    models = _models(top, watched)
    tasks = _tasks(top)
    if any(model.model in MODELS for model in models.values()):
        for place, task in enumerate(tasks):
            where = f"{top.at('tasks')}[{place}].gen_kwargs"
            read_sampling(task.settings.get("gen_kwargs", {}), where)
    return Config(
        file=file,
        models=models,
        tasks=tasks,
        output=_folder(top, "output", file.parent),
        history=_folder(top, "history", file.parent),
        timeout=top.seconds("timeout"),
        unpaired=top.switch("unpaired", False),
        rules=_rules(top),
    )


def _check_texts(value: Any, where: str, above: tuple[int, ...], number: Iterator[int]) -> None:
    """Refuse what no command line, variable or file name can hold, and what holds itself.

    Args:
        value: what stands at a place.
        where: the place.
        above: what it stands in, by identity.
        number: counts the values; anchors of anchors make billions of a few lines.
    """
    if next(number) > _MOST_VALUES:
        raise UserError(
            f"{where.split(':')[0]} holds more than {_MOST_VALUES:,} values once its anchors are "
            "written out: name each at fewer places."
        )
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise UserError(
                f"{where} has a text with a character that no command can be given, "
                f"{shown(value)}: take it out."
            )
    elif isinstance(value, dict | list):
        if id(value) in above:
            raise UserError(f"{where} holds itself, by an anchor: write it out.")
        if isinstance(value, dict) and len({type(key) for key in value}) > 1:
            raise UserError(f"{where} mixes texts and numbers as keys, {shown(value)}: quote them.")
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            _check_texts(key, where, (), number)
            _check_texts(item, where, (*above, id(value)), number)


def _models(top: Section, watched: bool) -> dict[str, Model]:
    given = top.need("models", "name the models iha and baseline.")
    names = list(given) if isinstance(given, dict) else ["iha", BASELINE]
    section = Section(given, top.at("models"), names)
    for name in names:
        if not (isinstance(name, str) and _MODEL_NAME.fullmatch(name)) or name in _FOLDERS:
            raise UserError(
                f"{section.at(str(name))}: a model is named by up to 40 letters, digits, _ and - "
                f"and not {' or '.join(_FOLDERS)}, because folders are called like it."
            )
    if not (watched and BASELINE in names):
        section.need(
            BASELINE, "give the model_args of the model that the others are compared with."
        )
    compared = [name for name in names if name != BASELINE]
    if not compared:
        raise UserError(
            f"{section.at('iha')} is missing: name a model to compare with the baseline."
        )
    return {name: _model(section, name, watched) for name in (*compared, BASELINE)}


def _model(models: Section, role: str, watched: bool) -> Model:
    where = models.at(role)
    remedy = "give its model_args, such as {pretrained: my-checkpoint}."
    given = {} if watched and models.get(role) is None else models.need(role, remedy)
    section = Section(given, where, _MODEL_KEYS)
    is_left_out = watched and section.get("model_args") is None
    arguments = {} if is_left_out else _arguments(section)
    command = section.texts("command", "give a list, such as [python, -m, lm_eval, run].")
    extra = section.texts("arguments", "give a list, such as [--batch_size, 16].") or ()
    for word in extra:
        if word.partition("=")[0] in TAKEN or word in TAKEN_SHORT:
            raise section.wrong("arguments", f"leave {word} out: other keys decide it.")
    environment = section.mapping("environment", "give a mapping such as {OMP_NUM_THREADS: 2}.")
    for name in environment or {}:
        if not name or "=" in name:
            raise section.wrong("environment", f"{name!r} cannot be the name of a variable.")
    return Model(
        role=role,
        model=section.text("model", "give lm-eval's name of a model class.", "iha-vllm"),
        arguments=arguments,
        command=command or RUN,
        extra=extra,
        environment={name: _variable(value) for name, value in (environment or {}).items()},
    )


def _arguments(section: Section) -> Mapping[str, Any] | str:
    """What lm-eval takes for --model_args: a mapping, the same as JSON, or key=value,..."""
    given = section.need("model_args", _MODEL_ARGS)
    if isinstance(given, str) and given.lstrip().startswith("{"):
        with contextlib.suppress(ValueError):
            given = json.loads(given)
        if not isinstance(given, dict):
            raise section.wrong("model_args", _MODEL_ARGS)
        return given
    if isinstance(given, str) and "=" in given:
        return given
    return section.mapping("model_args", _MODEL_ARGS) or {}


def _variable(value: Any) -> str:
    # YAML reads 0 as a number and nothing as null.
    return "" if value is None else str(value)


def _tasks(top: Section) -> tuple[NightTask, ...]:
    remedy = "give a list of lm-eval's task names, such as [ruler_mk, gsm8k_maj]."
    entries = top.need("tasks", remedy)
    if not isinstance(entries, list) or not entries:
        raise top.wrong("tasks", remedy)
    tasks = tuple(_task(entry, f"{top.at('tasks')}[{i}]") for i, entry in enumerate(entries))
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"{top.at('tasks')} has {name!r} {names.count(name)} times: name every task once."
            )
    return tasks


def _task(entry: Any, where: str) -> NightTask:
    if isinstance(entry, str) and entry.strip():
        return NightTask(_name(entry, where), {})
    if not isinstance(entry, dict):
        raise UserError(
            f"{where} is {shown(entry)}: give a task name, or a mapping with the key task."
        )
    section = Section(entry, where, _TASK_KEYS)
    name = _name(section.text("task", "give lm-eval's name of a task or group."), where)
    settings = {
        "limit": _limit(section),
        "metadata": section.mapping("metadata", "give a mapping such as {lengths: [1024]}."),
        "gen_kwargs": section.mapping("gen_kwargs", "give a mapping such as {max_gen_toks: 256}."),
        "num_fewshot": _count(section, "num_fewshot"),
        "apply_chat_template": _template(section),
    }
    return NightTask(name, {key: value for key, value in settings.items() if value is not None})


def _name(text: str, where: str) -> str:
    name = text.strip()
    if "," in name or " " in name:
        raise UserError(f"{where} is {text!r}: name one task a line.")
    return name


def _limit(section: Section) -> int | float | None:
    value = section.get("limit")
    if value is None:
        return None
    whole = isinstance(value, int) and value >= 1
    share = isinstance(value, float) and (0 < value < 1 or (value >= 1 and value.is_integer()))
    if not is_number(value) or not (whole or share):
        raise section.wrong("limit", "write a number of questions (200) or a share of them (0.1).")
    return int(value) if value >= 1 else float(value)


def _count(section: Section, key: str) -> int | None:
    value = section.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise section.wrong(key, "write a whole number, 0 or more.")
    return value


def _template(section: Section) -> str | bool | None:
    value = section.get("apply_chat_template")
    if value is not None and not isinstance(value, bool | str):
        raise section.wrong("apply_chat_template", "write true, false or the name of a template.")
    return value or None


def _folder(top: Section, key: str, base: Path) -> Path:
    remedy = "give the path of a folder."
    folder = base / Path(top.text(key, remedy)).expanduser()
    # A name that is too long is told now, and not at night.
    folder.exists()
    return folder


def _rules(top: Section) -> Rules:
    if top.get("regression") is None:
        return Rules()
    section = Section(top.get("regression"), top.at("regression"), (*_RULE_KEYS, *_OLD_RULE_KEYS))
    standard = Rules()
    section.number("alpha", 0.05, 1e-9, 0.5)
    patterns = section.texts("metrics", "give a list of patterns, such as ['p@1', 'maj@*'].")
    return Rules(
        metrics=patterns or (),
        false_alarms_per_month=section.number(
            "false_alarms_per_month", standard.false_alarms_per_month, 1e-6, 30
        ),
        drop=section.number("drop", standard.drop, 0, 100),
        last_good=section.switch("last_good", standard.last_good),
        baseline=section.switch("baseline", standard.baseline),
        confirm=section.switch("confirm", standard.confirm),
    )
