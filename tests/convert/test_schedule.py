"""Kinds from a short text, and the window from a training length."""

import pytest

from model_adapters.convert import ConversionError
from model_adapters.convert.schedule import layer_kinds, window

G, S, F, W = "iha_global", "iha_sliding", "full", "sliding"


@pytest.mark.parametrize(
    ("text", "layers", "kinds"),
    [
        ("4:1", 5, [S, S, S, S, F]),
        ("4:1", 7, [S, S, S, S, F, S, S]),
        ("1:2", 6, [S, F, F] * 2),
        ("0:1", 2, [F, F]),
        ("all", 3, [G, G, G]),
        (" iha_sliding*2 , full", 6, [S, S, F] * 2),
        ("sliding,iha_global * 2", 3, [W, G, G]),
        ("full", 1, [F]),
    ],
    ids=["hybrid", "cut short", "other ratio", "all plain", "all", "list", "exact length", "one"],
)
def test_kinds(text: str, layers: int, kinds: list[str]) -> None:
    assert layer_kinds(text, layers) == kinds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("4:1", ["4:1", "5 layers", "has 4"]),
        ("iha_sliding*9", ["9 layers", "has 4"]),
        ("99999999999999:1", ["100000000000000 layers", "has 4"]),
        ("full,iha_sliding*99999999999999", ["100000000000000 layers", "has 4"]),
        ("full*" + 5000 * "9", ["no layer kind"]),
        ("0:0", ["0:0", "no layer"]),
        ("iha", ["'iha'", "iha_global"]),
        ("full,", ["''", "no layer kind"]),
        ("full*0", ["'full*0'", "no layer kind"]),
        ("", ["''", "4:1"]),
        ("4:1:1", ["'4:1:1'"]),
    ],
    ids=[
        "ratio too long",
        "list too long",
        "ratio beyond memory",
        "list beyond memory",
        "no number that is read",
        "nothing",
        "unknown",
        "comma",
        "none",
        "empty",
        "odd",
    ],
)
def test_texts_that_are_no_schedule(text: str, words: list[str]) -> None:
    with pytest.raises(ConversionError) as caught:
        layer_kinds(text, 4)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("pseudo_heads", "given", "tokens"),
    [
        (2, {}, 1024),
        (4, {}, 256),
        (2, {"train_length": 4096}, 512),
        (1, {"train_length": 2}, 1),
        (3, {"tokens": 7}, 7),
    ],
    ids=["longest context", "P = 4", "train length", "smallest", "given"],
)
def test_the_window_of_windowed_layers(
    pseudo_heads: int, given: dict[str, int], tokens: int
) -> None:
    assert window([S, F], pseudo_heads, 8192, **given) == tokens


def test_no_window_without_windowed_layers() -> None:
    assert window([G, F], 2, 8192) is None


@pytest.mark.parametrize(
    ("kinds", "given", "words"),
    [
        ([S], {"train_length": 100}, ["100 / (2 * 3^2) = 5.55556", "multiple of 18"]),
        ([W], {"train_length": 0}, ["= 0", "multiple of 18"]),
        ([S], {"tokens": 0}, ["0 tokens", "1 or more"]),
        ([S], {"tokens": 4, "train_length": 18}, ["4", "18", "leave one out"]),
        ([G, F], {"tokens": 4}, ["window of 4", "no windowed layer"]),
        ([G, F], {"train_length": 18}, ["train length of 18", "no windowed layer"]),
    ],
    ids=["not whole", "zero", "no token", "both", "useless window", "useless length"],
)
def test_windows_that_cannot_be_meant(
    kinds: list[str], given: dict[str, int], words: list[str]
) -> None:
    with pytest.raises(ConversionError) as caught:
        window(kinds, 3, 8192, **given)
    assert all(word in str(caught.value) for word in words)
