"""The map file of `iha-eval convert --from-state-dict`; `examples/map.yaml` explains each key.

For: reading and checking it. Not for: applying it (`model_adapters.convert`).
"""

from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.util.yaml_section import Section, load
from model_adapters.convert import ConversionError, MapMixing, NameMap, Rule, StateDictMap
from model_adapters.convert.foreign_tensors import check_split, parse_axes
from model_adapters.layout import IHA_TENSORS

_KEYS = (
    "config",
    "inside",
    "strip_prefix",
    "first_layer",
    "same_names",
    "identity",
    "layers",
    "iha",
    "tensors",
    "ignore",
)
_IHA_KEYS = ("pseudo_heads", "pseudo_rope", "schedule", "window", "train_length")
_RULE_KEYS = (
    "from",
    "regex",
    "to",
    "transpose",
    "split",
    "grouped",
    "axes",
    "rope",
    "rows",
    "times",
)


def read_map(file: Path) -> tuple[StateDictMap, Path | None]:
    """Read a map file.

    Returns:
        What it says of the tensors, and the configuration it names, if any; that one is meant
        relative to the map.

    Raises:
        UserError: It cannot be read, or a key is unknown or has a value that cannot be meant.
    """
    if not file.is_file():
        raise UserError(f"{file} is not there: give the path of a map, see examples/map.yaml.")
    top = Section(load(file), str(file), _KEYS)
    identity = top.texts("identity", "write a list such as [alpha_v, collapse].") or ()
    if not set(identity) <= set(IHA_TENSORS):
        raise top.wrong("identity", f"write some of {', '.join(IHA_TENSORS)}.")
    names = NameMap(
        rules=_rules(top),
        ignore=top.texts("ignore", "write a list of patterns with *.") or (),
        strip_prefix=top.texts("strip_prefix", "write what names begin with, or a list.") or (),
        first_layer=_whole(top, "first_layer", 0) or 0,
        same_names=top.switch("same_names", False),
        identity=identity,
        layers=_numbers(top, "layers"),
    )
    inside = top.texts("inside", "write the key, or a list of keys, that leads to it.") or ()
    config = top.text("config", "write the path of a config.json, or of its folder.", "")
    shape = file.parent / Path(config).expanduser() if config else None
    return StateDictMap(names, inside, _mixing(top)), shape


def _rules(top: Section) -> tuple[Rule, ...]:
    listed = top.get("tensors")
    if listed is None and top.switch("same_names", False):
        return ()
    if not isinstance(listed, list) or not listed:
        raise top.wrong("tensors", "write a list of rules, each with from and to.")
    return tuple(
        _rule(Section(rule, top.at(f"tensors[{index}]"), _RULE_KEYS))
        for index, rule in enumerate(listed)
    )


def _rule(section: Section) -> Rule:
    if (section.get("from") is None) == (section.get("regex") is None):
        raise UserError(f"{section.where} has to have one of from and regex: write just one.")
    key = "from" if section.get("regex") is None else "regex"
    split = section.texts("split", "write a list such as [q, k, v].") or ()
    grouped = section.switch("grouped", False)
    if problem := check_split(split, grouped):
        raise section.wrong("split", f"{problem}.")
    rope = section.text("rope", "write halves or pairs.", "halves")
    if rope not in ("halves", "pairs"):
        raise section.wrong("rope", "write halves or pairs.")
    letters = section.text("axes", "write letters such as hpm.", "") or None
    if letters is not None:
        try:
            parse_axes(letters)
        except ConversionError as error:
            raise UserError(f"{section.at('axes')}: {error}") from error
    return Rule(
        source=section.text(key, "write the name in the state dict."),
        target=section.text("to", "write our name."),
        regex=key == "regex",
        transpose=section.switch("transpose", False),
        split=split,
        grouped=grouped,
        axes=letters,
        rope=rope,
        rows=None if section.get("rows") == "first" else _numbers(section, "rows"),
        times=section.number("times", 1.0, -1e6, 1e6),
    )


def _numbers(section: Section, key: str) -> tuple[int, ...]:
    value: Any = section.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or any(type(n) is not int or n < 0 for n in value):
        raise section.wrong(key, "write a list of whole numbers, counted from 0.")
    return tuple(value)


def _mixing(top: Section) -> MapMixing | None:
    value: Any = top.get("iha")
    if value is None:
        return None
    section = Section(value, top.at("iha"), _IHA_KEYS)
    section.need("pseudo_heads", "write P, a whole number of at least 1.")
    return MapMixing(
        pseudo_heads=_whole(section, "pseudo_heads", 1) or 1,
        pseudo_rope=section.text("pseudo_rope", "write virtual or token."),
        schedule=section.text("schedule", 'write it in quotes, such as "4:1".', "all"),
        window=_whole(section, "window", 1),
        train_length=_whole(section, "train_length", 1),
    )


def _whole(section: Section, key: str, least: int) -> int | None:
    value = section.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise section.wrong(key, f"write a whole number of at least {least}.")
    return int(value)
