"""One mapping of a YAML file, read key by key, with an error sentence for whatever is wrong.

For: `config.py`. Every error names the key, its value and the remedy.
Not for: what the keys mean.
"""

import difflib
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from iha_eval.errors import UserError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])?")
# An error shows no more of a value than this.
_SHOWN = 80


class Section:
    """A mapping whose keys are known.

    Args:
        value: What the file holds there.
        where: File and key, such as "nightly.yaml: models.iha"; begins every error.
        known: All keys that there are.

    Raises:
        UserError: It is no mapping, or has a key that is not known.
    """

    def __init__(self, value: Any, where: str, known: Sequence[str]) -> None:
        """Checks the names of all keys."""
        self.where = where
        if not isinstance(value, dict):
            raise UserError(
                f"{where} is {shown(value)}: give a mapping of {', '.join(known)}, one a line."
            )
        for key in value:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}."
                raise UserError(f"{self.at(key)} is not a setting: {hint}")
        self._values = value

    def at(self, key: object) -> str:
        """File and full name of a key."""
        return f"{self.where}{'.' if ': ' in self.where else ': '}{key}"

    def wrong(self, key: str, remedy: str) -> UserError:
        """The error for a value that cannot be meant."""
        return UserError(f"{self.at(key)} is {shown(self.get(key))}: {remedy}")

    def get(self, key: str) -> Any:
        """The value as it stands there; None for one that is absent or empty."""
        return self._values.get(key)

    def need(self, key: str, remedy: str) -> Any:
        """The value, which must be there.

        Raises:
            UserError: It is not.
        """
        if self.get(key) is None:
            raise UserError(f"{self.at(key)} is missing: {remedy}")
        return self.get(key)

    def text(self, key: str, remedy: str, default: str | None = None) -> str:
        """A non-empty text.

        Raises:
            UserError: It is another thing, or missing without a default.
        """
        value = self.get(key) if default is not None else self.need(key, remedy)
        if value is None:
            return str(default)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, remedy)
        return value

    def texts(self, key: str, remedy: str) -> tuple[str, ...] | None:
        """A list of texts, one text standing for itself; numbers are taken as texts.

        Raises:
            UserError: It is another thing, or empty.
        """
        value = self.get(key)
        if value is None:
            return None
        items = value if isinstance(value, list) else [value]
        plain = all(isinstance(item, str | int | float) and item is not True for item in items)
        if not items or not plain or "" in items:
            raise self.wrong(key, remedy)
        return tuple(str(item) for item in items)

    def switch(self, key: str, default: bool) -> bool:
        """True or false.

        Raises:
            UserError: It is neither.
        """
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "write true or false.")
        return default if value is None else value

    def number(self, key: str, default: float, least: float, most: float) -> float:
        """A number between two others, inclusive.

        Raises:
            UserError: It is none, or lies outside.
        """
        value = self.get(key)
        if value is None:
            return default
        if not is_number(value) or not least <= value <= most:
            raise self.wrong(key, f"write a number from {least:g} to {most:g}.")
        return float(value)

    def mapping(self, key: str, remedy: str) -> dict[str, Any] | None:
        """A mapping with texts for keys, of which nothing else is known.

        Raises:
            UserError: It is another thing.
        """
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise self.wrong(key, remedy)
        return value

    def seconds(self, key: str) -> float | None:
        """A duration in seconds; the file may say 90m, 8h or 1d.

        Raises:
            UserError: It is none, or not above zero.
        """
        value = self.get(key)
        if value is None:
            return None
        match = _DURATION.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
        length = float(match[1]) * _UNITS[match[2] or "s"] if match else 0.0
        if length <= 0:
            raise self.wrong(key, "write a time above zero, such as 90m, 8h or 1d.")
        return length


def load(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        UserError: It cannot be read, is no YAML, or has a key twice.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise UserError(
            f"the configuration {path} cannot be read ({error.strerror}): give the path of a YAML "
            "file, such as a copy of examples/nightly.yaml."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line} is not YAML that can be read: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML that can be read: {error}") from error


def is_number(value: object) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(value: object) -> str:
    """A value as an error shows it."""
    if value is None:
        return "empty"
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but a key that stands there twice is an error, not overwritten."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name != "<<" and name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r} stands there twice", key.start_mark
                )
            seen.add(name)
        made: Mapping[Hashable, Any] = super().construct_mapping(node, deep)
        return dict(made)
