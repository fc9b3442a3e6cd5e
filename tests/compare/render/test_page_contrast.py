"""Contrast of the page's colors in light and dark, computed from style.css as WCAG does."""

import re

import pytest

from iha_eval.compare.render.figures import theme
from iha_eval.util.installation import reports_dir

Color = tuple[float, float, float]

TEXT = [
    ("--ink", "--surface"),
    ("--ink", "--raised"),
    ("--ink", "--warn-back"),
    ("--muted", "--surface"),
    ("--muted", "--raised"),
    ("--link", "--surface"),
    ("--iha", "--surface"),
    ("--iha", "--raised"),
    ("--baseline", "--surface"),
    ("--baseline", "--raised"),
    ("--better", "--better-back"),
    ("--worse", "--worse-back"),
    ("--ink", "--mark"),
]


@pytest.fixture(params=["light", "dark"])
def colors(request: pytest.FixtureRequest) -> dict[str, Color]:
    style = (reports_dir() / "templates" / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(blocks) == 2
    chosen = blocks[:1] if request.param == "light" else blocks
    found: dict[str, Color] = {}
    for block in chosen:
        for name, value in re.findall(r"(--[\w-]+): #(\w{6});", block):
            found[name] = tuple(int(value[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return found


def luminance(color: Color) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: Color, second: Color) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("front", "back"), TEXT, ids=[f"{a} on {b}" for a, b in TEXT])
def test_text_is_readable(colors: dict[str, Color], front: str, back: str) -> None:
    assert contrast(colors[front], colors[back]) >= 4.5


@pytest.mark.parametrize("back", ["--iha", "--baseline"])
def test_numbers_in_heat_maps_are_readable_at_every_strength(
    colors: dict[str, Color], back: str
) -> None:
    for step in range(101):
        strength = step / 100
        cell = tuple(
            front * strength + behind * (1 - strength)
            for front, behind in zip(colors[back], colors["--surface"], strict=True)
        )
        ink = colors[theme.VARIABLES[theme.on(strength)]]
        assert contrast(ink, cell) >= 4.5, strength


def test_every_variable_that_figures_use_exists(colors: dict[str, Color]) -> None:
    assert set(theme.VARIABLES.values()) <= set(colors)
