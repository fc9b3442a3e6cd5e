r"""Take off an answer what says nothing about its value: math delimiters, spacing, units, signs.

For: the first step of reading an answer, on the level of characters.
Not for: what needs to know where a bracket or a LaTeX group ends (`read`, `latex`).

Units, degrees, dollar and percent signs go, as in the graders of MATH (Hendrycks et al.,
arXiv:2103.03874): the question says in what unit to answer, so `50\%` is 50 and not 1/2.
Words after a value are units too, but for those that change it: 12 million is not 12, and 2 dozen
is 24. Two or more groups of three digits with commas, such as 100,200, could also be a list; they
are read as one number outside of brackets.
"""

import re

#: Longer answers are not read; the longest gold answer of MATH-500 has about 50 characters.
LONGEST = 1000

#: Typed characters and the LaTeX they stand for, for str.translate.
# Control characters and the spaces of other widths become a space.
_CHARACTERS = str.maketrans(
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

#: Commands that only lay out. `\left.` and `\right.` draw nothing.
_LAYOUT = re.compile(
    r"\\(?:left|right)\s*\.|\\(?:left|right|[bB]igg?[lrm]?|middle)(?![A-Za-z])"
    r"|\\(?:displaystyle|textstyle|limits|nolimits|bf|rm|it|hspace\{[^{}]*\})(?![A-Za-z])"
    r"|\\phantom\{[^{}]*\}"
)
_SPACE = re.compile(r"\\(?:quad|qquad|thinspace|enspace)(?![A-Za-z])|(?<!\\)\\[!,;:> ]|~|&nbsp;")
#: Spaces side by side are made one before any other pattern sees them: patterns below allow a space
#: in several places, and a long run could be shared out among those in very many ways.
_SPACES = re.compile(r"(?:\s|~|&nbsp;|\\q?quad(?![A-Za-z]))+")
_DELIMITERS = re.compile(r"(\\\\)|\\[()\[\]]")

#: A comma between groups of three digits that cannot be anything but a separator.
_SURE_COMMA = re.compile(r"(?<=\d)(?:\{,\}\s*|,\s*\\!\s*|\\!\s*,\s*|\\,\s*)(?:\\!)*(?=\d{3}(?!\d))")
_COMMA_NUMBER = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_SPACE_NUMBER = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d,])")
_TYPED_MIXED = re.compile(r"(?<![\d.}])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])")

_FONT = re.compile(
    r"\\(?:mbox|hbox|textrm|textbf|textit|textsf|texttt|textnormal|mathrm|mathbf|mathit|mathsf"
    r"|boldsymbol|bm|operatorname\*?|emph|underline|mathnormal)\s*(?=\{)"
)
_LETTER = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|mathit|mathsf|mathnormal)\s*\{\s*([A-Za-z])\s*\}"
    r"|\\mathrm\s*\{\s*([ie])\s*\}"
)
#: Names and signs that are typed where LaTeX has a command.
_TYPED = (
    (re.compile(r"\\?(?<![A-Za-z])sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![A-Za-z\\])sqrt(?![A-Za-z])"), r"\\sqrt "),
    (re.compile(r"(?<![A-Za-z\\])(?:pi|Pi)(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"(?<![A-Za-z\\])(?:infinity|inf|oo)(?![A-Za-z])"), r"\\infty "),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"!="), r"\\ne "),
    (re.compile(r"\+/?-"), r"\\pm "),
)
_SIGNS = re.compile(r"\\[$%#]|%|\^\s*\{?\s*\\circ\s*\}?|\\degrees?(?![A-Za-z])|\\circ\s*$")
_JOINED = re.compile(
    r"\\text\s*\{[\s,;]*(?:and|or)[\s,]*\}|(?<=[\d})\]])\s+(?:and|or)\s+(?=[-\d\\({\[])"
)
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")

#: Written after a value without \text; MATH's and GSM8K's own, and what models add to them.
_UNITS = (
    r"(?:sq(?:uare)?|cubic)?\s*"
    r"(?:degrees?|radians?|dollars?|cents?|bucks|percent|usd"
    r"|(?:kilo|centi|milli)?(?:meters?|metres?|grams?|liters?|litres?)"
    r"|km|cm|mm|kg|inch(?:es)?|ft|feet|foot|yards?|miles?|mph|kmph"
    r"|pounds?|lbs?|ounces?|oz|gallons?|seconds?|minutes?|hours?|days?|weeks?"
    r"|months?|years?|units?|points?|ways?|people|students?)"
)
_POWER = r"(?:\s*\^\s*\{?\s*[23]\s*\}?)?"
_TYPED_UNIT = re.compile(
    rf"(?<=[\d}})\s])(?<![A-Za-z\\]){_UNITS}{_POWER}(?:\s*(?:/|per)\s*{_UNITS}{_POWER})?$",
    re.IGNORECASE,
)
_TYPED_WORDS = re.compile(rf"(?<=[\d}}]) (?:[mgLs]|[A-Za-z]{{3,}}(?: [A-Za-z]+)*+){_POWER}$")
_VOWEL = re.compile("[aeiou]", re.IGNORECASE)
#: Words that change the value they stand after, or deny it, and functions that are typed.
_TELLING = re.compile(
    r"\b(?:hundred|thousand|million|billion|trillion|dozen|times|mod|to|not|or|and|wrong|is|are"
    r"|a?r?c?(?:sin|cos|tan)|cot|sec|csc|log|sqrt|over|plus|minus|squared|cubed|base|half|choose)s?\b",
    re.IGNORECASE,
)
_WORDLESS = re.compile(r"\\text\s*\{([^A-Za-z{}]*)\}")
_TEXT_UNIT = re.compile(
    rf"(?<=[^\s=<>,({{\[_^|+-])\s*/?\s*(?:\\cdot\s*)?\\text\s*\{{(?!\s*[apAP]\.?\s*[mM]\b)"
    rf"([^{{}}]*)\}}{_POWER}"
)

_LARGE = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_LARGE_WORD = re.compile(rf"(?<=\d) ?(\\text ?\{{)? ?({'|'.join(_LARGE)}|dozen)s?\b", re.IGNORECASE)
_EXPONENT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([-+]?\d{1,4})(?!\w)")
_TRIG_DEGREES = re.compile(
    r"\\(sin|cos|tan|cot|sec|csc) ?[({]? ?(\d+(?:\.\d+)?) ?\^ ?\{? ?\\circ ?\}? ?[)}]?"
)
_LABEL = re.compile(r"\\text ?\{[^{}]*: ?\}")
_LETTERS = re.compile(r"\\text ?\{ ?([A-Z](?: ?(?:,|and|or) ?[A-Z])+) ?\}")
_CHOICE = re.compile(r"\(?([A-Z])\)")

_WORDS = (
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_BASES = {word: str(number) for number, word in enumerate(_WORDS, start=2)} | {"sixteen": "16"}
_BASE = re.compile(
    r"_\s*\{?\s*(?:\\text\s*\{)?\s*(?:base\s*)?(" + "|".join(_BASES) + r"|\d+)\s*\}?\s*\}?\s*$"
)


def clean(text: str) -> str:
    """What is left of an answer without decoration; may be empty.

    Args:
        text: An answer as `extract` finds it or a data set gives it, of at most LONGEST characters.
    """
    text = _unwrapped(text.strip()).replace("**", "^").replace("\\$", "").translate(_CHARACTERS)
    text = _DELIMITERS.sub(lambda found: found[1] or " ", _SPACES.sub(" ", text))
    text = _spaced(_LAYOUT.sub(" ", text))
    text = _spaced(_SPACE.sub(" ", _SURE_COMMA.sub("", text)))
    text = _FONT.sub(r"\\text", _LETTER.sub(r" \1\2", text))
    text = _worded(text)
    text = _BASE.sub(lambda found: f"_{{{_BASES.get(found[1], found[1])}}}", text)
    text = _TRIG_DEGREES.sub(r"\\\1(\\frac{\2\\pi}{180})", text)
    text = _trimmed(_spaced(_SIGNS.sub(" ", text)))
    for typed, command in _TYPED:
        text = typed.sub(command, text)
    text = _JOINED.sub(",", _WORDLESS.sub(r"\1", _spaced(text)))
    text = _without_units(text)
    text = _SPACE_NUMBER.sub(lambda found: found[0].replace(" ", ""), text)
    text = _TYPED_MIXED.sub(r"\1\\frac{\2}{\3}", text)
    return _spaced(_without_commas(_trimmed(text)))


def _spaced(text: str) -> str:
    return _SPACES.sub(" ", text)


def _worded(text: str) -> str:
    """With words that belong to the value turned into signs, and labels in front dropped."""
    label = _LABEL.match(text.strip())
    if label:
        text = text.strip()[label.end() :] or text
    choice = _CHOICE.fullmatch(text.strip())
    if choice:
        return choice[1]
    text = _LETTERS.sub(lambda found: re.sub("and|or|,", " , ", found[1]), text)
    return _LARGE_WORD.sub(_large, _EXPONENT.sub(r"\1\\cdot 10^{\2}", text))


def _large(found: re.Match[str]) -> str:
    word = found[2].lower()
    factor = "12" if word == "dozen" else f"1{'0' * _LARGE[word]}"
    return f"\\cdot {factor}{' ' + found[1] if found[1] else ''}"


def _unwrapped(text: str) -> str:
    """Without bold marks, quotes and a box around the whole."""
    text = text.strip("\"'` ")
    while True:
        for opening, closing in (("\\boxed{", "}"), ("\\fbox{", "}"), ("**", "**")):
            if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening):
                text = text[len(opening) : -len(closing)].strip()
                break
        else:
            return text


def _trimmed(text: str) -> str:
    """Without spaces and punctuation at the ends."""
    text = text.strip().rstrip(".,;:?! \\") if not text.rstrip().endswith("!") else text.strip()
    return text.lstrip(":, ").strip()


def _without_units(text: str) -> str:
    """Without words after a value; an answer that is nothing but words stays."""
    shorter = _trimmed(_TEXT_UNIT.sub(_unit, text))
    if shorter:
        text = shorter
    shorter = _trimmed(_TYPED_UNIT.sub("", text)) or text
    words = _TYPED_WORDS.search(shorter)
    if words and not _TELLING.search(words[0]) and _is_unit(words[0]):
        shorter = shorter[: words.start()]
    return _trimmed(shorter) or text


def _is_unit(words: str) -> bool:
    """Whether it is a letter for a unit or can be pronounced; `xyz` and `abc` are products."""
    bare = words.partition("^")[0].strip()
    return len(bare) == 1 or bool(_VOWEL.search(bare) and set(bare) - set("abcdxyz"))


def _unit(found: re.Match[str]) -> str:
    return found[0] if _TELLING.search(found[1]) else " "


def _without_commas(text: str) -> str:
    """Without commas that group digits; inside brackets a comma separates numbers instead."""
    pieces, depth, last = [], 0, 0
    for found in re.finditer(r"[(\[]|[)\]]|\\[{}]", text):
        if depth == 0:
            pieces.append(_grouped(text[last : found.start()]))
        else:
            pieces.append(text[last : found.start()])
        depth += 1 if found[0] in ("(", "[", "\\{") else -1
        pieces.append(found[0])
        last = found.end()
    tail = text[last:]
    return "".join(pieces) + (_grouped(tail) if depth <= 0 else tail)


def _grouped(text: str) -> str:
    return _COMMA_NUMBER.sub(lambda found: found[0].replace(",", ""), text)
