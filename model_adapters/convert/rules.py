"""Which tensor of a foreign state dict becomes which of ours: names alone, no weights.

For: assigning every name, and refusing whatever is not assigned, assigned twice or missing.
Not for: what is done to a tensor on the way (see `foreign_tensors.py`).
"""

import fnmatch
import itertools
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from model_adapters.convert.errors import ConversionError

#: What a stacked projection may hold.
PARTS = ("q", "k", "v", "gate", "up")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
# An error names no more tensors than this.
_SHOWN = 4


@dataclass(frozen=True)
class Rule:
    """One line of a map.

    Attributes:
        source: Template of a foreign name: `{layer}` stands for a number, any other `{word}` for
            text without a dot; or a regular expression with named groups.
        target: Template of our name; `{part}` stands for each part of a stacked tensor.
        regex: Whether `source` is a regular expression.
        transpose: Whether the weight is kept as [inputs, outputs].
        split: The parts stacked along the outputs, in order.
        grouped: Whether they are stacked anew for each key head, and not each as a whole.
        axes: Letters for an IHA tensor (see `axes.py`).
        rope: "halves" or "pairs", which dimensions of a head rotary embedding turns together.
        rows: Which rows, in this order; empty for all of them. None for as many first ones as
            ours has, where the others are padding.
        times: A factor.
    """

    source: str
    target: str
    regex: bool = False
    transpose: bool = False
    split: tuple[str, ...] = ()
    grouped: bool = False
    axes: str | None = None
    rope: str = "halves"
    rows: tuple[int, ...] | None = ()
    times: float = 1.0


@dataclass(frozen=True)
class NameMap:
    """How foreign names become ours.

    Attributes:
        rules: One of them has to fit each name, and each of them some name.
        ignore: Patterns with `*` of names that are dropped on purpose.
        strip_prefix: What names may begin with that means nothing.
        first_layer: Number of the first layer.
        same_names: Whether names that are ours already need no rule.
        identity: IHA tensors that the state dict lacks and that are the identity, by last name.
        layers: For each of our layers the foreign one, where those are passed several times;
            empty where they are the same.
    """

    rules: tuple[Rule, ...]
    ignore: tuple[str, ...] = ()
    strip_prefix: tuple[str, ...] = ()
    first_layer: int = 0
    same_names: bool = False
    identity: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Move:
    """One of our tensors and where it comes from.

    Attributes:
        source: Name in the state dict.
        target: Our name.
        rule: What is done on the way.
        part: Which part of a stacked tensor, or empty.
    """

    source: str
    target: str
    rule: Rule
    part: str = ""


def assign(
    sources: Collection[str], wanted: Collection[str], optional: Collection[str], names: NameMap
) -> tuple[list[Move], dict[str, str]]:
    """Find the source of each of our tensors.

    Args:
        sources: All names of the state dict.
        wanted: All names of ours.
        optional: Those of them that may be missing.
        names: The map.

    Returns:
        The moves in the order of `wanted`, and the ignored names with the pattern of each.

    Raises:
        ConversionError: A name is not mapped, mapped twice or missing, or a rule fits nothing.
    """
    patterns = [_compile(rule) for rule in names.rules]
    moves: dict[str, Move] = {}
    ignored: dict[str, str] = {}
    unmapped: list[str] = []
    used: set[int] = set()
    for source in sources:
        name = _stripped(source, names.strip_prefix)
        fitting = [index for index, pattern in enumerate(patterns) if pattern.fullmatch(name)]
        if len(fitting) > 1:
            first, second = (names.rules[index].source for index in fitting[:2])
            raise ConversionError(
                f"two rules fit {source}, {first!r} and {second!r}: make them narrower."
            )
        used |= set(fitting)
        if fitting:
            match = patterns[fitting[0]].fullmatch(name)
            assert match is not None
            # A group that took no part in the match gives no word.
            words = {word: text for word, text in match.groupdict().items() if text is not None}
            made = _moves(source, names.rules[fitting[0]], words, names)
        elif pattern := _ignored(name, names.ignore):
            ignored[source] = pattern
            continue
        elif names.same_names and name in wanted:
            made = [Move(source, name, Rule(name, name))]
        else:
            unmapped.append(source)
            continue
        for move in made:
            _add(moves, move, wanted)
    idle = [rule.source for index, rule in enumerate(names.rules) if index not in used]
    _refuse_leftovers(unmapped, idle, [n for n in wanted if n not in moves and n not in optional])
    return [moves[name] for name in wanted if name in moves], ignored


def some(names: Iterable[str]) -> str:
    """A few names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _compile(rule: Rule) -> re.Pattern[str]:
    if rule.regex:
        try:
            return re.compile(rule.source)
        except re.error as error:
            raise ConversionError(
                f"{rule.source!r} is no regular expression ({error}): mend it in the map."
            ) from error
    text, seen = "", set()
    for index, piece in enumerate(_PLACEHOLDER.split(rule.source)):
        if index % 2 == 0:
            text += re.escape(piece)
        elif not piece.isidentifier():
            raise ConversionError(
                f"{rule.source!r} has {{{piece}}}, which is no word: begin it with a letter, or "
                "write the name as a regex if it holds braces."
            )
        elif piece in seen:
            text += f"(?P={piece})"
        else:
            text += rf"(?P<{piece}>\d+)" if piece == "layer" else rf"(?P<{piece}>[^.]+)"
            seen.add(piece)
    return re.compile(text)


def _moves(source: str, rule: Rule, words: dict[str, str], names: NameMap) -> list[Move]:
    layers = [words.get("layer", "")]
    if layers[0].isdecimal():
        own = int(layers[0]) - names.first_layer
        layers = [str(index) for index, other in enumerate(names.layers) if other == own]
        layers = layers if names.layers else [str(own)]
    made = []
    for layer, part in itertools.product(layers, rule.split or ("",)):
        known = words | ({"layer": layer} if layer else {}) | ({"part": part} if part else {})
        absent = set(_PLACEHOLDER.findall(rule.target)) - known.keys()
        if absent:
            raise ConversionError(
                f"the target {rule.target!r} names {{{min(absent)}}}, which {rule.source!r} does "
                f"not give for {source}: use the words of the source, and {{part}} for a split "
                "tensor."
            )
        target = _PLACEHOLDER.sub(lambda match, known=known: known[match[1]], rule.target)  # type: ignore[misc]
        made.append(Move(source, target, rule, part))
    return made


def _add(moves: dict[str, Move], move: Move, wanted: Collection[str]) -> None:
    if move.target not in wanted:
        raise ConversionError(
            f"{move.source} would become {move.target}, which the configuration has no place for: "
            "mend the target, the configuration, or list it under ignore."
        )
    if move.target in moves:
        raise ConversionError(
            f"{move.target} would be made of both {moves[move.target].source} and {move.source}: "
            "map one of them, and list the other under ignore."
        )
    moves[move.target] = move


def _refuse_leftovers(unmapped: list[str], idle: list[str], missing: list[str]) -> None:
    if unmapped:
        raise ConversionError(
            f"no rule fits {some(unmapped)}: add one, or list what is not needed under ignore."
        )
    if idle:
        raise ConversionError(
            f"the rule {idle[0]!r} fits no tensor of the state dict: mend or remove it."
        )
    if missing:
        raise ConversionError(
            f"nothing becomes {some(missing)}: add rules for what the state dict calls them."
        )


def _stripped(name: str, prefixes: tuple[str, ...]) -> str:
    """Without what it begins with, however often wrappers were put around each other."""
    while prefix := next((candidate for candidate in prefixes if name.startswith(candidate)), ""):
        name = name.removeprefix(prefix)
    return name


def _ignored(name: str, patterns: tuple[str, ...]) -> str | None:
    return next((pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern)), None)
