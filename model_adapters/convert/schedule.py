"""Which kind each layer is to be, from a short text, and the window that goes with it.

For: `4:1`, `all` and lists such as `iha_sliding*4,full`. Not for: checking a finished
configuration, which `IHAConfig` does itself.
"""

import re
from collections.abc import Sequence

from model_adapters.config import LAYER_KINDS, WINDOWED_KINDS
from model_adapters.convert.errors import ConversionError

# Longer numbers are no counts of layers, and int() refuses the longest.
_RATIO = re.compile(r"(\d{1,18}):(\d{1,18})")
_ITEM = re.compile(r"([a-z_]+)(?:\s*\*\s*(\d{1,18}))?")


def layer_kinds(text: str, layers: int) -> list[str]:
    """The kind of each layer.

    Args:
        text: `A:B` for A sliding IHA layers and then B plain ones, again and again (the paper's
            hybrid is 4:1, and App. C counts its fifth layer as plain); `all` for IHA without a
            window everywhere; or kinds between commas, each with `*N` for N in a row.
        layers: Number of layers; a pattern that is shorter starts again, and may end in the midst.

    Raises:
        ConversionError: The text is none of these, or is longer than the model.
    """
    runs = _runs(text.strip())
    described = sum(count for _, count in runs)
    # Before the list is made, which a mistyped number would fill the memory with.
    if described > layers:
        raise ConversionError(
            f"schedule {text!r} describes {described} layers, but the model has {layers}: give "
            f"at most {layers}, a shorter one is repeated."
        )
    pattern = [kind for kind, count in runs for _ in range(count)]
    return [pattern[layer % len(pattern)] for layer in range(layers)]


def keep_windows(kinds: Sequence[str], base: Sequence[str], text: str) -> list[str]:
    """Kinds that have windows where the base's layers have.

    Args:
        kinds: The kind of each layer, as the schedule says.
        base: The kind of each of the base's layers, "full" or "sliding".
        text: The schedule; `all` leaves the windows to the base.

    Raises:
        ConversionError: A list of kinds says otherwise.
    """
    made = []
    for index, (kind, own) in enumerate(zip(kinds, base, strict=True)):
        windowed = {"iha_global": "iha_sliding", "full": "sliding"}
        has = own in WINDOWED_KINDS
        if text.strip() == "all" and has:
            kind = windowed[kind]
        elif has != (kind in WINDOWED_KINDS):
            raise ConversionError(
                f"schedule {text!r} makes layer {index} {kind!r}, but in the base it has "
                f"{'a' if has else 'no'} window: give 'all', which keeps windows where they are, "
                "or kinds with windows in the same layers."
            )
        made.append(kind)
    return made


def window(
    kinds: Sequence[str],
    pseudo_heads: int,
    context: int,
    *,
    tokens: int | None = None,
    train_length: int | None = None,
) -> int | None:
    """W in tokens, or None where no layer has a window.

    Args:
        kinds: The kind of each layer.
        pseudo_heads: P.
        context: The base's longest context, which stands for the training length if none is given.
        tokens: W itself, if the user chose it.
        train_length: N in tokens, for W = N / (2 P^2) (section 3, FLOP matching).

    Raises:
        ConversionError: W is not a whole number of at least 1, or is not wanted.
    """
    if not set(kinds) & set(WINDOWED_KINDS):
        for name, value in (("window", tokens), ("train length", train_length)):
            if value is not None:
                raise ConversionError(
                    f"a {name} of {value} is given, but the schedule has no windowed layer: leave "
                    "it out, or take a schedule with one, such as 4:1."
                )
        return None
    if tokens is not None:
        if train_length is not None:
            raise ConversionError(
                f"a window of {tokens} and a train length of {train_length} are given, and either "
                "sets the window: leave one out."
            )
        if tokens < 1:
            raise ConversionError(f"the window is {tokens} tokens: it has to be 1 or more.")
        return tokens
    length = context if train_length is None else train_length
    whole, rest = divmod(length, 2 * pseudo_heads**2)
    if rest or whole < 1:
        raise ConversionError(
            f"a train length of {length} gives the window {length} / (2 * {pseudo_heads}^2) = "
            f"{length / (2 * pseudo_heads**2):g}, not a whole number of tokens: give a multiple of "
            f"{2 * pseudo_heads**2} as train length, or the window itself."
        )
    return whole


def _runs(text: str) -> list[tuple[str, int]]:
    """Kinds and how many layers in a row have each."""
    if text == "all":
        return [("iha_global", 1)]
    if ratio := _RATIO.fullmatch(text):
        sliding, plain = int(ratio[1]), int(ratio[2])
        if not sliding + plain:
            raise ConversionError(f"schedule {text!r} has no layer: give one such as 4:1.")
        return [("iha_sliding", sliding), ("full", plain)]
    runs = []
    for item in text.split(","):
        match = _ITEM.fullmatch(item.strip())
        count = int(match[2] or 1) if match else 0
        if match is None or match[1] not in LAYER_KINDS or not count:
            raise ConversionError(
                f"schedule {text!r} has {item.strip()!r}, which is no layer kind: give 4:1, all, "
                f"or kinds between commas ({', '.join(LAYER_KINDS)}), each with *N for N in a row."
            )
        runs.append((match[1], count))
    return runs
