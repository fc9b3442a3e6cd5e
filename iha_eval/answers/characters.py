"""Typed characters and the LaTeX they stand for.

For: answers that models type as text, such as 2\N{GREEK SMALL LETTER PI} or 90\N{DEGREE SIGN}.
Not for: LaTeX commands, which `clean` and `latex` know.
"""

#: For str.translate. Control characters and the spaces of other widths become a space.
CHARACTERS = str.maketrans(
    dict.fromkeys([*range(32), *range(127, 161), *range(0x2000, 0x200B), 0x202F, 0x3000], " ")
    # Characters without width, and currency signs.
    | dict.fromkeys([*range(0x200B, 0x2010), 0x2060, 0xFEFF, 0x24, 0xA3, 0x20AC])
    | dict.fromkeys("\N{MINUS SIGN}\N{EN DASH}\N{EM DASH}\N{HYPHEN}\N{NON-BREAKING HYPHEN}", "-")
    | dict.fromkeys(
        "*\N{MULTIPLICATION SIGN}\N{MIDDLE DOT}\N{DOT OPERATOR}\N{BULLET OPERATOR}", "\\cdot "
    )
    | {"\N{SUPERSCRIPT ZERO}": "^0", "\N{SUPERSCRIPT ONE}": "^1"}
    | {"\N{SUPERSCRIPT TWO}": "^2", "\N{SUPERSCRIPT THREE}": "^3"}
    | {chr(0x2070 + power): f"^{power}" for power in range(4, 10)}
    | {
        "\N{DIVISION SIGN}": "/",
        "\N{FRACTION SLASH}": "/",
        "\N{LESS-THAN OR EQUAL TO}": "\\le ",
        "\N{GREATER-THAN OR EQUAL TO}": "\\ge ",
        "\N{NOT EQUAL TO}": "\\ne ",
        "\N{PLUS-MINUS SIGN}": "\\pm ",
        "\N{INFINITY}": "\\infty ",
        "\N{UNION}": "\\cup ",
        "\N{ELEMENT OF}": "\\in ",
        "\N{EMPTY SET}": "\\emptyset ",
        "\N{GREEK SMALL LETTER PI}": "\\pi ",
        "\N{GREEK SMALL LETTER THETA}": "\\theta ",
        "\N{SQUARE ROOT}": "\\sqrt ",
        "\N{DOUBLE-STRUCK CAPITAL R}": "\\mathbb{R}",
        "\N{DEGREE SIGN}": "^\\circ ",
        "\N{VULGAR FRACTION ONE HALF}": "\\frac{1}{2}",
        "\N{VULGAR FRACTION ONE QUARTER}": "\\frac{1}{4}",
        "\N{VULGAR FRACTION THREE QUARTERS}": "\\frac{3}{4}",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    }
)
