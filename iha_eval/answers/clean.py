r"""Take off an answer what says nothing about its value: math delimiters, spacing, units, signs.

For: the first step of reading an answer, on the level of characters; `ascii_math`, for characters
that are typed where LaTeX has a command.
Not for: brackets that make an answer a tuple, a set or an interval (`read`).

Units, degrees, dollar and percent signs go, as in the graders of MATH (Hendrycks et al.,
arXiv:2103.03874): the question says in what unit to answer, so `50\%` is 50 and not 1/2.
Words after a value are units too, but for those that change it: 12 million is not 12, 2 dozen is
24, and 5 tenths are 1/2. A letter or a short word is a unit only if it is known as one. Two or more
groups of three digits with commas, such as 100,200, could also be a list; they are read as one
number outside of brackets.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import groupby

#: Longer answers are not read; the longest gold answer of MATH-500 has about 50 characters.
LONGEST = 1000

#: Typed characters and the LaTeX they stand for. Those that Unicode describes well enough (digits,
#: spaces, dashes, currencies, fractions, Greek letters, raised, lowered, wide and styled ones) are
#: not here.
_CHARACTERS = {
    "\N{MINUS SIGN}": "-",
    "\N{MULTIPLICATION SIGN}": "\\times ",
    "\N{MIDDLE DOT}": "\\cdot ",
    "\N{DOT OPERATOR}": "\\cdot ",
    "\N{BULLET OPERATOR}": "\\cdot ",
    "\N{DIVISION SIGN}": "/",
    "\N{FRACTION SLASH}": "/",
    "\N{DIVISION SLASH}": "/",
    "\N{LESS-THAN OR EQUAL TO}": "\\le ",
    "\N{LESS-THAN OR SLANTED EQUAL TO}": "\\le ",
    "\N{GREATER-THAN OR EQUAL TO}": "\\ge ",
    "\N{GREATER-THAN OR SLANTED EQUAL TO}": "\\ge ",
    "\N{NOT EQUAL TO}": "\\ne ",
    "\N{ALMOST EQUAL TO}": "\\approx ",
    "\N{IDENTICAL TO}": "\\equiv ",
    "\N{PLUS-MINUS SIGN}": "\\pm ",
    "\N{MINUS-OR-PLUS SIGN}": "\\mp ",
    "\N{INFINITY}": "\\infty ",
    "\N{UNION}": "\\cup ",
    "\N{INTERSECTION}": "\\cap ",
    "\N{SET MINUS}": "\\setminus ",
    "\N{ELEMENT OF}": "\\in ",
    "\N{EMPTY SET}": "\\emptyset ",
    "\N{LOGICAL AND}": "\\land ",
    "\N{LOGICAL OR}": "\\lor ",
    "\N{THEREFORE}": "\\therefore ",
    "\N{RIGHTWARDS DOUBLE ARROW}": "\\implies ",
    "\N{RIGHTWARDS ARROW}": "\\to ",
    "\N{OHM SIGN}": "\\Omega ",
    "\N{SQUARE ROOT}": "\\sqrt ",
    "\N{CUBE ROOT}": "\\sqrt[3]",
    "\N{DOUBLE-STRUCK CAPITAL R}": "\\mathbb{R}",
    "\N{DEGREE SIGN}": "^\\circ ",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{PRIME}": "'",
    "\N{DOUBLE PRIME}": '"',
    "\N{HORIZONTAL ELLIPSIS}": "\\ldots ",
    "\N{IDEOGRAPHIC FULL STOP}": ".",
    "\N{IDEOGRAPHIC COMMA}": ",",
    "\N{MATHEMATICAL LEFT ANGLE BRACKET}": "\\langle ",
    "\N{MATHEMATICAL RIGHT ANGLE BRACKET}": "\\rangle ",
    "\N{LEFT FLOOR}": "\\lfloor ",
    "\N{RIGHT FLOOR}": "\\rfloor ",
    "\N{LEFT CEILING}": "\\lceil ",
    "\N{RIGHT CEILING}": "\\rceil ",
}
_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER ([A-Z]+)")
_FOREIGN = re.compile(r"[^\x20-\x7e]+")
_TYPED_RANGE = re.compile("([0-9.]+)\\s?[\u2013\u2014]\\s?([0-9.]+)")


def ascii_math(text: str, lines: bool = False) -> str:
    """A text with typed mathematical characters as LaTeX and other spaces and dashes as ASCII.

    Args:
        text: Any text; letters of other alphabets stay.
        lines: Whether line breaks stay too.
    """
    return _FOREIGN.sub(lambda match: _run(match[0], lines), text)


def _run(text: str, lines: bool) -> str:
    pieces = []
    for marks, run in groupby(text, _mark):
        piece = "".join("\n" if lines and sign == "\n" else _plain(sign) for sign in run)
        pieces.append(f"{marks}{{{piece}}}" if marks else piece)
    return "".join(pieces)


def _mark(sign: str) -> str:
    """How LaTeX raises or lowers a character that is typed raised or lowered."""
    described = unicodedata.decomposition(sign)
    return {"<super>": "^", "<sub>": "_"}.get(described.partition(" ")[0], "")


@lru_cache(maxsize=4096)
def _plain(sign: str) -> str:
    """What one character stands for."""
    known = _CHARACTERS.get(sign)
    if known is not None:
        return known
    greek = _GREEK.fullmatch(unicodedata.name(sign, ""))
    if greek:
        letter = greek[2].lower().replace("lamda", "lambda")
        return f"\\{letter if greek[1] == 'SMALL' else letter.capitalize()} "
    category = unicodedata.category(sign)
    by_category = {"Zs": " ", "Cc": " ", "Zl": " ", "Zp": " ", "Cf": "", "Sc": "", "Pd": "-"}
    if sign != "\N{CENT SIGN}" and category in by_category:
        return by_category[category]
    if category == "Nd":
        return str(unicodedata.digit(sign))
    kind, _, _ = unicodedata.decomposition(sign).partition(" ")
    if not kind.startswith("<"):
        return sign
    plain = unicodedata.normalize("NFKC", sign)
    if kind == "<fraction>":
        above, _, below = plain.partition("\N{FRACTION SLASH}")
        return f"\\frac{{{above}}}{{{below}}}"
    # A wide or styled form of a character that may be known itself.
    return (
        plain
        if plain.isascii()
        else "".join(_CHARACTERS.get(character, character) for character in plain)
    )


#: Commands that only lay out. `\left.` and `\right.` draw nothing.
_LAYOUT = re.compile(
    r"\\(?:left|right)\s*\.|\\(?:left|right|[bB]igg?[lrm]?|middle)(?![A-Za-z])"
    r"|\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|boldmath|bf|rm|it|tt|sf|sl|em"
    r"|bfseries|blacksquare|qed|tiny|small|normalsize|large|Large|LARGE|huge|Huge|mathstrut|strut|nonumber|notag)"
    r"(?![A-Za-z])"
    r"|\\(?:hspace|vspace|phantom|vphantom|hphantom|label|tag)\*?\s*\{[^{}]*\}"
)
_SPACE = re.compile(
    r"\\(?:quad|qquad|thinspace|enspace|medspace|thickspace|negthinspace)(?![A-Za-z])"
    r"|(?<!\\)\\[!,;:> ]|~|&nbsp;"
)
#: Spaces side by side are made one before any other pattern sees them: patterns below allow a space
#: in several places, and a long run could be shared out among those in very many ways.
_SPACES = re.compile(r"(?:\s|~|&nbsp;)+")
_DELIMITERS = re.compile(r"(\\\\)|\\[()\[\]]")
_ROW_SPACING = re.compile(r"\\\\ ?\[ ?-?[\d.]+ ?(?:pt|ex|em|mm|cm|in|px|\\baselineskip) ?\]")
_COLUMN_SPACING = re.compile(r"@ ?\{[^{}]*\}")
_ALIGNED = re.compile(
    r"\\begin\{(?:aligned|align|split|gathered|equation)\*?\}(.*?)"
    r"\\end\{(?:aligned|align|split|gathered|equation)\*?\}",
    re.DOTALL,
)
_NEW_ROW = re.compile(r"\\(?:newline|cr|tabularnewline)(?![A-Za-z])")

#: A comma between groups of three digits that cannot be anything but a separator.
_SURE_COMMA = re.compile(
    r"(?<=\d)(?:\{,\}\s*|,\s*\\!\s*|\\!\s*,\s*|\\,\s*|,\\,(?=0))(?:\\!)*(?=\d{3}(?!\d))"
)
_COMMA_NUMBER = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_SPACE_NUMBER = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d,])")
_MARK_NUMBER = re.compile(r"(?<![\d.,'])\d{1,3}(?:'\d{3})+(?![\d,'])")
_TYPED_MIXED = re.compile(r"(?<![\d.}])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])")
_TYPED_FRACTION = re.compile(r"(?<![\d.}^_/])(\d+) ?/ ?(\d+)(?=(?: ?\\sqrt| \\pi)(?![A-Za-z]))")
_RAISED_FRACTION = re.compile(r"\^\{(\d+)\} ?/ ?_\{(\d+)\}")
_CHOOSE = re.compile(r"\{([^{}]*)\\(choose|over)(?![A-Za-z])([^{}]*)\}")
_UNENDING = re.compile(r"(?<=\d)\.{3,}$")
_OVERLINE = re.compile(r"(?<=[\d.])\s*\\(?:bar|dot)\s*(?=\{ ?\d+ ?\}|\d)")
_REPEATED = re.compile(r"(?<![\d.])(\d+\.\d{0,9}?)(\d{1,3}?)\2{2,9} ?(?:\\[lc]?dots|\.\.\.)$")
_IN_BRACKETS = re.compile(r"(?<![\d.])(\d+\.\d*)\((\d+)\)(?![\d.])")

#: Commands that only change how their argument looks. The first ones take text, the others math.
_TEXT_FONTS = (
    "text(?:bf|it|sf|tt|rm|sc|md|up|sl|normal)?|mbox|hbox|makebox|emph|textrm|operatorname\\*?"
)
_MATH_FONTS = (
    "math(?:bf|it|sf|tt|rm|bb|normal|cal|frak|scr|ord|rel)|boldsymbol|bm|pmb|underline|ensuremath"
    "|boxed|fbox|framebox|overset\\{[^{}]*\\}|cancel|vec|overrightarrow"
)
_FONT = re.compile(rf"\\({_TEXT_FONTS}|{_MATH_FONTS})\s*(?=\{{)")
_BARE_FONT = re.compile(rf"\\(?!mathbb)(?:{_MATH_FONTS}) ?(\d|(?<= )[A-Za-z](?![A-Za-z]))")
_COLOR = re.compile(r"\\(?:text|page)?color(?:box)?\s*(?:\[[^\[\]]*\])?\s*\{[^{}]*\}")
_BLACKBOARD = re.compile(r"\s*[A-Z]\s*")
_WORDY = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{2,}")

#: Functions that are typed where LaTeX has a command.
FUNCTIONS = (
    "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|gcd|lcm|max|min|det"
)
_COUNTED = re.compile(
    r"^(?:\{ ?\} ?)?([_^]?) ?\{? ?(\d+) ?\}? ?([CP]) ?_? ?\{? ?(\d+) ?\}?$(?<=[\d}])"
)


def _counted(count: re.Match[str]) -> str:
    """Choices or arrangements of some of several."""
    mark, several, how, some = count.groups()
    if not mark and "_" not in count[0]:
        return count[0]
    return f"\\binom{{{several}}}{{{some}}}" + f" \\cdot {some}!" * (how == "P")


_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
#: Names and signs that are typed where LaTeX has a command.
_TYPED = (
    (re.compile(r"\\?(?<![A-Za-z])sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![A-Za-z\\])sqrt(?![A-Za-z])"), r"\\sqrt "),
    (re.compile(r"\\text\{ ?(-?(?:pi|infinity)) ?\}"), r" \1 "),
    (re.compile(r"(?<![A-Za-z\\])(?:pi|Pi)(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"(?<![A-Za-z\\])(?:infinity|infty|inf|oo)(?![A-Za-z])"), r"\\infty "),
    (re.compile(rf"(?<![A-Za-z\\])(?!min |max )({FUNCTIONS})(?![A-Za-z]|$)"), r"\\\1 "),
    (re.compile(rf"\\text\{{ ?({FUNCTIONS}) ?\}}"), r"\\\1 "),
    (re.compile(r"(\\mathbb ?\{? ?R ?\}?|[)\]]) ?-(?= ?\\\{)"), r"\1\\setminus "),
    (re.compile(r"\\mathbb\{R\} ?(?:\^|_) ?\{? ?(?:\+|> ?0) ?\}?"), r"(0,\\infty)"),
    (
        re.compile(
            r"\\text ?\{ ?all reals?(?: numbers?)?(?: x)?,? (?:except|but|other than|excluding)"
            r"(?: for)?(?: x ?=)? ?\}"
        ),
        r"\\mathbb{R}\\setminus ",
    ),
    (re.compile(r"(?<=\d) ?\\mu ?(?=\\text)"), " "),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"!=|\\not ?=|\\not ?\\eq(?![a-z])"), r"\\ne "),
    (re.compile(r"\\not ?\\in(?![a-z])"), r"\\notin "),
    (re.compile(r"\+/?-"), r"\\pm "),
    # 3 x 4, and 6.72 x 10^{-5}.
    (re.compile(r"(?<=\d) ?[xX] ?(?=10 ?\^)|(?<=\d) [xX] (?=\d)"), r"\\cdot "),
    (re.compile(r"(?<=\d) ?\\text ?\{ ?[xX] ?\} ?(?=10 ?\^)"), r"\\cdot "),
    (re.compile(r"(?<=[\d}]) ?\\b?mod(?![A-Za-z])"), r"\\bmod "),
    (re.compile(r"(?<=\d) ?\\text ?\{ ?to ?\} ?(?=\d)"), ":"),
    # 11:30 AM, May 5th, and a reason behind a word.
    (
        re.compile(r"(?<=:\d\d) ?(?:\\text ?\{)? ?([ap])\.? ?m\.?(?: ?\})?$", re.IGNORECASE),
        lambda half: f"\\text{{{half[1].lower()}.m.}}",
    ),
    (
        re.compile(rf"(?:\\text ?\{{ ?)?\b({_MONTHS}) ?\}}? ?(\d{{1,2}})(?:st|nd|rd|th)? ?\}}?$"),
        r"\\text{\1 \2}",
    ),
    (re.compile(r"^\\text ?\{ ?(yes|no),? (?:since|because|as)\b.*", re.I), r"\\text{\1}"),
    # Combinations and arrangements: ^4C_2, {}_4P_2.
    (_COUNTED, lambda count: _counted(count)),
)
_DEGREES = re.compile(
    r"(?:\^ ?\{ ?(?:\\circ|\\text ?\{ ?o ?\}|o|\^ ?\\circ) ?\}"
    r"|\^ ?(?:\\circ|\\text ?\{ ?o ?\}|o(?![A-Za-z]))|\\deg(?:rees?)?(?![A-Za-z]))"
    r"(?: ?(?:[CF]|\\text ?\{ ?[CF] ?\})$)?"
    r"|\\text ?\{ ?\^\\circ ?[CF]? ?\}|\\circ ?$"
)
_PI_DEGREES = re.compile(r"^([^,]*\\pi[^,]*?) ?\^ ?\{? ?\\circ ?\}?$")
_CURRENCY = re.compile(
    r"\\text ?\{ ?(?:[A-Z]{0,2}\\?\$|USD|EUR|GBP|INR|CNY|RMB|JPY|Rs\.?|US|CAD|AUD|CHF) ?\}"
    r"(?= ?[-\d.\\])|(?<![A-Za-z\\])(?:(?:USD|EUR|GBP|INR|CNY|RMB|JPY|Rs\.?|CAD|AUD|CHF) ?(?=-?\d)"
    r"|(?:US|A|C|HK|NZ|S)(?=\\?\$)|(?:US|HK|NZ)(?=-?\d))"
    r"|\\(?:mathdollar|textdollar|euro|pounds|yen|texteuro)(?![A-Za-z])(?:\{\})?"
)
_CENTS = re.compile(r"\\(?:text)?cents?(?![A-Za-z])|\\text ?\{ ?\N{CENT SIGN} ?\}|\N{CENT SIGN}")
_SIGNS = re.compile(r"\\[$%#]|%|\$")

_AND = r"(?:and|und|et|y|\\?&|\u548c|\u4e0e|\u8207|\u3068|\u0438)"
_OR = r"(?:or|oder|ou|\u6216|\u6216\u8005|\u307e\u305f\u306f|\u0438\u043b\u0438)"
_JOINT = re.compile(
    rf",? ?\\text ?\{{[ ,;]*(?:{_AND}|({_OR}))[ ,]*\}}(?: ?,)?(?= ?[^ ])"
    r"|,? ?\\& ?(?=[-\d\\])"
    rf"|(?:, ?|(?<=[\d}})\]A-Za-z]) )(?:and|(or)) (?=[-+\d\\({{\[]|[A-Za-z] ?[=<>])"
    rf"|\\(?:land|wedge)(?![A-Za-z])|\\(lor|vee)(?![A-Za-z])"
)
_PAIRED = re.compile(
    r"^(?:\\text ?\{ ?)?(?:either|both|about|approximately|roughly|exactly|only|just|a total of"
    r"|(?:positive|(?:the )?number)(?=[ }]*[-\d.\\]))(?: ?\} ?| )(?=.)",
    re.IGNORECASE,
)
_UNITED = re.compile(
    r"\\bigcup(?![A-Za-z])|\\text ?\{ ?(?:U|union) ?\}|(?<=[)\]}]) ?U ?(?=[(\[]|\\\{|\\left)"
)
#: Values with nothing but a wide space between them are a list.
_WIDE = re.compile(
    r"(?<=[\d})])(?: |~)*\\q?quad(?: |~|\\q?quad(?![A-Za-z]))*(?=[-+\d]|\\frac|\\sqrt)"
)
#: Units that are functions' names too.
_TIME = re.compile(r"(?<=\d)(?: |\\[,;: ])*\\?(?:(?:text|mathrm|textrm) ?\{ ?)?(?:min|sec)s? ?\}?$")
_REMARK = re.compile(
    r"(?<=[\d}) ])(?:(?:\\q?quad|\\text ?\{ ?\})(?: |~)*\([^()]*\)"
    r"| ?\( ?\\text ?\{[^{}]*[a-z]{2}[^{}]*\}[^()]*\)| \([^()=\\]*[a-z]{3}[^()=\\]*\))$"
)
_LED = re.compile(
    r"^.*\\(?:implies|Rightarrow|Longrightarrow|therefore|iff|Leftrightarrow)(?![A-Za-z])"
    r"|^ ?\\(?:to|rightarrow|longrightarrow|because)(?![A-Za-z])"
)
#: Words typed without \text.
_PROSE = re.compile(r"DNE|(?=.*[A-Za-z]{3})[A-Za-z][A-Za-z'.-]*(?: [A-Za-z][A-Za-z'.-]*)+")

#: Abbreviations of units. Other words of one or two letters or without a vowel are not taken off.
_SHORT_UNITS = (
    "m g s h l L J N W V A C F km cm mm dm nm ft in yd mi kg mg lb lbs oz ml mL cl dl gal qt "
    "pt sec secs min mins hr hrs yr yrs wk wks mo mos mph kmph kph kmh rpm deg rad Hz kHz kJ "
    "kW kWh Pa kPa ha sq cu am pm AM PM cts ct pcs pc hp MB GB KB TB Mbps bps sqft cc ms kN "
    "mol Mb Gb Kb kb kB Tb cal kcal tbsp tsp psi bpm fps dB fl"
)
_ABBREVIATIONS = frozenset(_SHORT_UNITS.split())
#: Written after a value without \text; MATH's and GSM8K's own, and what models add to them.
_UNITS = (
    r"(?:sq(?:uare|\.)?|cubic|cu\.?)? ?"
    r"(?:degrees?|radians?|dollars?|cents?|bucks|percent|usd"
    r"|(?:kilo|centi|milli)?(?:meters?|metres?|grams?|liters?|litres?)"
    r"|km|cm|mm|kg|in|inch(?:es)?|ft|feet|foot|yards?|yd|miles?|mi|mph|kmph|kph|ml"
    r"|pounds?|lbs?|ounces?|oz|gallons?|gal|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?"
    r"|wks?|months?|years?|yrs?|units?|points?|ways?|people|students?)"
)
_PER = rf"(?:{_UNITS}|[hs])"
_POWER = r"(?: ?\^ ?(?:\{ ?-?[123] ?\}|[23]))?"
_TYPED_UNIT = re.compile(
    rf"(?<=[\d}})\s])(?<![A-Za-z\\])(?:{_UNITS}|m(?= ?/)){_POWER}(?: ?(?:/|per) ?{_PER}{_POWER})?$",
    re.IGNORECASE,
)
_TYPED_WORDS = re.compile(
    r"(?<=[\d}]) ?((?:[^\W\d_]{2,}|[^\x00-\x7f\W\d_])(?:[ /-][^\W\d_]+)*+)" + _POWER + "$"
)
_VOWEL = re.compile(r"[aeiouy]|[^\x00-\x7f]", re.IGNORECASE)
#: Words that change the value they stand after, or deny it, wherever they stand after it.
_TELLING = re.compile(
    r"\b(?:thousand|hundred|million|billion|trillion|mil|mille|mln|bln|score|gross|dozen|lakh|lac"
    r"|crore|k|mod|modulo|not|or|oder|wrong|false|true|incorrect|correct|is|are|(?:a|arc)?(?:sin|cos"
    r"|tan)|cot|sec|csc|log|sqrt|over|plus|minus|negative|ten|minimum|maximum|upward|onward"
    r"|squared|cubed|doubled|tripled|base|half|halve|third|quarter|fourth|fifth|choose|below|above|under|more|less|fewer|greater|most|least|remainder"
    r"|factorial|short|but|than|down|into|if|for|when|mal|fach|times|th|st|nd|rd)s?\b"
    r"|[\u6216\u5230\u4e0a\u4e0b\u591a\u5c11\u4e0d\u5206\u500d\u8d1f]",
    re.IGNORECASE,
)
#: Words that change a value only where they stand right after it.
_FIRST_TELLING = re.compile(
    r"(?:to|and|und|et|percent of|per cent of|with|through|by|in base|divided|times|of which)\b",
    re.IGNORECASE,
)
_WORDLESS = re.compile(r"\\text ?\{([^\w{}\\^]*|[^\w{}\\^]*\d[\d.,/ ]*)\}")
_TEXT_UNIT = re.compile(
    rf"(?<=[^\s=<>,({{\[_^|+-])((?: ?/)? ?(?:\\cdot ?)?\{{? ?)\\text ?\{{(?! ?[apAP]\.? ?[mM]\b)"
    rf"([^{{}}]*)\}}({_POWER})( ?\}})?"
)

_UNIT_FRACTION = re.compile(
    r"(?<=[\d} ])\\[dt]?frac ?\{ ?\\text ?\{([^{}]*)\} ?\} ?\{ ?\\text ?\{([^{}]*)\} ?\}"
)

_LARGE_NAMES = {
    "100000": "hundred thousand|lakh|lac",
    "100000000": "hundred million|\u4ebf|\u5104",
    "100": "hundred|\u767e",
    "1000": "thousand|grand|k|\u5343|\u0442\u044b\u0441\u044f\u0447|tausend",
    "1000000": "million|mn|\u043c\u043b\u043d",
    "1000000000": "billion|bn",
    "1000000000000": "trillion",
    "12": "dozen",
    "10000000": "crore",
    "10000": "\u4e07|\u842c",
    "0.5": "hal",
    "10": "ten",
}
_ORDINALS = "third fourth fifth sixth seventh eighth ninth tenth"
#: Word -> what it multiplies the number before it by.
_LARGE = (
    {name: value for value, names in _LARGE_NAMES.items() for name in names.split("|")}
    | {name: f"\\frac{{1}}{{{part}}}" for part, name in enumerate(_ORDINALS.split(), start=3)}
    | {"hundredth": r"\frac{1}{100}", "thousandth": r"\frac{1}{1000}"}
)
_LARGE_WORD = re.compile(
    r"(?<=\d) ?(\\text ?\{)? ?"
    rf"({'|'.join(word for word in _LARGE if word not in ('k', 'hal', 'ten'))}"
    r"|(?<=\{)[ ]?k|hal(?=ves)|ten(?=s))"
    r"(?:ves|s|\u0430|\u0438)?(?![A-Za-z])",
    re.IGNORECASE,
)
_MEGA = re.compile(r"(?<=\d) ?\\text ?\{ ?M ?\}")
_KILO = re.compile(r"(?<=\$)( ?[\d.,]+) ?(?:\\text ?\{ ?)?([kKM])(?![A-Za-z]) ?\}?")
_EXPONENT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) ?[eE] ?\{?([-+]?\d{1,4})\}?(?!\w)")
_TEXT_EXPONENT = re.compile(r"(?<=\d) ?\\(?:text|mathrm) ?\{ ?[eE] ?\} ?(?=\{? ?[-+]?\d)")
_TRIG_DEGREES = re.compile(
    r"\\(sin|cos|tan|cot|sec|csc) ?[({]? ?(\d+(?:\.\d+)?) ?\^ ?\{? ?\\circ ?\}? ?[)}]?"
)
#: What comes before another way of writing the whole.
_REPHRASED = re.compile(
    r"^.*\\text ?\{[ ,;]*(?:i\. ?e\.|that is|in other words|(?:or )?equivalently|namely)[ ,]*\}"
)
_LABEL = re.compile(
    r"\\text ?\{(?: ?(?:there|the|set|of|all|lines?|plane|equation|points?|interval|values?"
    r"|numbers?|circle|real|is|are|given|by|we|get|have|hence|so|thus|therefore|roots?|remainder"
    r"|solutions?))+[ ,]*\}"
    r"(?= ?[^ =<>\\]| ?\\[^lgni])|"
    r"\\text ?\{[^{}]*: ?\}|(?:the )?(?:final )?(?:answer|result|value) ?(?::|=|is\b)(?!=)"
    r"|\\text ?\{ ?(?:the )?(?:final )?(?:answer|result|value)(?: is)? ?\} ?[:=]?",
    re.IGNORECASE,
)
_INNER_LABEL = re.compile(r"\\text ?\{[A-Za-z ]*: ?(?=[^{}\s])")
_LEADING_TEXT = re.compile(
    r"\\text ?\{([^{}]*(?:\d|[A-Za-z]+ (?:and|or|,) )[^{}]*)\}[ .]*", re.IGNORECASE
)
_LETTERS = re.compile(r"\\text ?\{ ?([A-Z](?: ?(?:,|and|or) ?[A-Z])+) ?\}")
_CHOICE = re.compile(
    r"\(?\\?(?:text ?\{)? ?\(?([A-Z])\)? ?\}?\)|\\text ?\{ ?\(([a-h])\) ?\}"
    r"|(?:\\text ?\{ ?)?(?:option|choice|graph|answer):? ?\(?([A-H])\)? ?\}?",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(
    r"(?<![\d})\]] )(?<![\d})\]])\b(?:negative|minus) (?=[$\\{(]*[\d.a-z\\])"
    r"|\\text ?\{ ?(?:negative|minus) ?\}|(?<=[-+])(\\text ?\{ ?\})",
    re.IGNORECASE,
)
_OUTWARD = re.compile(r"([\][])([^\[\](){}]*[,;][^\[\](){}]*)([\][])")

_SMALL = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen"
    "|sixteen|seventeen|eighteen|nineteen"
)
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
#: Word -> number.
_SPELLED = {word: number for number, word in enumerate(_SMALL.split("|"))} | {
    word: 10 * number for number, word in enumerate(_TENS.split("|"), start=2)
}
_NUMBER_BASE = "(" + "|".join(_SPELLED) + r"|\d+)"
_BASE = re.compile(
    rf"_ ?(?:\{{ ?)?\(? ?(?:\\text ?\{{ ?)?\(?(?:base ?)?{_NUMBER_BASE} ?\)? ?\}}?\)? ?\}}? ?$"
    rf"|(?<=[\dA-F)]) ?\\text ?\{{ ?\(?(?:in )?base ?[- ]?{_NUMBER_BASE} ?\)? ?\}} ?$"
    rf"|(?<=[\dA-F)]) ?\(?\\text ?\{{ ?\(?(?:in )?base ?\}} ?{_NUMBER_BASE} ?\)? ?$"
    rf"|(?<=[\dA-F)]) \(?(?:in )?base ?[- ]?{_NUMBER_BASE}\)? ?$",
    re.IGNORECASE,
)
_BRACKETED_DIGITS = re.compile(r"^\((?:\\text ?\{)?([\dA-F]+)\}?\)(?= ?_\{)")


_AND_A_PART = re.compile(
    r"(?<=\d) ?(?:\\text ?\{ ?)?and (a|one|two|three) (half|halves|quarter|third)s?\b ?\}?"
)
_PARTS = {"a": 1, "one": 1, "two": 2, "three": 3, "half": 2, "halves": 2, "quarter": 4, "third": 3}
_DOLLARS_AND_CENTS = re.compile(
    r"(?<![\w.,$])\$?(\d[\d,]*)(?: ?(?:\\text ?\{)? ?dollars?)?,? and ?\}? ?(\d\d)"
    r" ?(?:\\text ?\{)? ?cents?\b ?\}?"
)
_BELOW_100 = rf"(?:(?:{_TENS})(?:[- ](?:{_SMALL[5:].partition('|ten')[0]}))?|{_SMALL})"
_IN_WORDS = re.compile(
    r"(?:\\text ?\{ ?)?(-|(?:minus|negative) )? ?"
    rf"((?:{_BELOW_100} (?:(?:hundred )?thousand|hundred)(?: and)? ?)*{_BELOW_100}?)("
    rf"(?: {_UNITS})?)[ .]*\}}?",
    re.IGNORECASE,
)


def with_parts(text: str) -> str:
    """With digits for what words add to a number: 12 1/2 for "12 and a half", and for dollars."""
    text = _DOLLARS_AND_CENTS.sub(r"\1.\2", text)
    return _AND_A_PART.sub(lambda part: f" {_PARTS[part[1]]}/{_PARTS[part[2]]}", text)


def in_digits(text: str) -> str:
    """A text that is nothing but a number in words and its unit, with digits; else the text."""
    match = _IN_WORDS.fullmatch(text.strip())
    words = re.findall(r"[a-z]+", match[2].lower().replace(" and", "")) if match else []
    total = part = 0
    for word in words:
        part = part * 100 if word == "hundred" else part + _SPELLED.get(word, 0)
        total, part = (total + 1000 * part, 0) if word == "thousand" else (total, part)
    return f"{'-' * bool(match[1])}{total + part}{match[3]}" if match and words else text


def clean(text: str) -> str:
    """What is left of an answer without decoration; may be empty.

    Args:
        text: An answer as `extract` finds it or a data set gives it, of at most LONGEST characters.
    """
    text = _unwrapped(text.strip())
    spread = _TYPED_RANGE.fullmatch(text)
    if spread:
        return f"\\text{{{spread[1]} to {spread[2]}}}"
    text = ascii_math(text).replace("**", "^").replace("*", "\\cdot ")
    text = _ALIGNED.sub(_lines, _COLUMN_SPACING.sub("", text))
    text = _ROW_SPACING.sub(r"\\\\", _NEW_ROW.sub(r"\\\\", _SPACES.sub(" ", text)))
    text = _UNENDING.sub(r"\\ldots ", with_parts(text).rstrip(" $"))
    text = _WIDE.sub(", ", _REMARK.sub("", _TIME.sub("", text.rstrip(" .$"))))
    text = _spaced(_LAYOUT.sub(" ", _DELIMITERS.sub(lambda match: match[1] or " ", text)))
    text = _spaced(_SPACE.sub(" ", _SURE_COMMA.sub("", text)))
    text = _signed(_TEXT_EXPONENT.sub("e", _COLOR.sub(" ", text)))
    text = _BARE_FONT.sub(r" \1", _REPHRASED.sub(" ", text))
    text = _spaced(_without_fonts(text))
    text = _worded(_unwrapped(_trimmed(_LED.sub(" ", text))))
    text = in_digits(text)
    text = _spaced(_TRIG_DEGREES.sub(r"\\\1(\\frac{\2\\pi}{180})", text))
    text = _DEGREES.sub(" ", _PI_DEGREES.sub(r"\1 \\cdot \\frac{\\pi}{180}", text))
    text = _trimmed(_spaced(_SIGNS.sub(" ", text)))
    for typed, command in _TYPED:
        text = typed.sub(command, text)
    text = _WORDLESS.sub(r"\1", _joined(_spaced(text)))
    text = _without_units(text)
    text = _spaced(_without_commas(_trimmed(_numerals(text))))
    return f"\\text{{{text}}}" if _PROSE.fullmatch(text) else text


def _lines(aligned: re.Match[str]) -> str:
    """The lines of a display as a list."""
    rows = aligned[1].replace("&", " ").split("\\\\")
    return ", ".join(row.strip(" ,.") for row in rows if row.strip(" ,."))


def _spaced(text: str) -> str:
    return _SPACES.sub(" ", text)


def _signed(text: str) -> str:
    """With signs for words that are signs, and without currencies."""
    text = _KILO.sub(lambda match: f"{match[1]}\\text{{{match[2]}}}", text)
    text = _CENTS.sub(" ", _CURRENCY.sub(" ", text))
    return _NEGATIVE.sub(lambda match: "" if match[1] else "-", text).strip()


def _worded(text: str) -> str:
    """With words that belong to the value turned into signs, and labels in front dropped."""
    text = text.strip()
    label = _LABEL.match(text)
    if label:
        text = text[label.end() :].strip() or text
    text = _INNER_LABEL.sub(r"\\text{", text)
    choice = _CHOICE.fullmatch(text)
    if choice and not (choice[1] and choice[1].islower()):
        return (choice[1] or choice[2] or choice[3]).upper()
    text = _LETTERS.sub(lambda match: re.sub("and|or|,", " , ", match[1]), text)
    text = _PAIRED.sub(
        "", _LEADING_TEXT.sub(r" \1 ", text) if _LEADING_TEXT.fullmatch(text) else text
    )
    text = _LARGE_WORD.sub(_large, _EXPONENT.sub(r"\1\\cdot 10^{\2}", text))
    text = _MEGA.sub(r"\\cdot 1000000", text)
    text = _BASE.sub(lambda match: f"_{{{_base(match)}}}", text)
    return _BRACKETED_DIGITS.sub(r"\1", text)


def _base(match: re.Match[str]) -> str:
    named = str(next(filter(None, match.groups()))).lower()
    return str(_SPELLED.get(named, named))


def _large(match: re.Match[str]) -> str:
    factor = _LARGE[match[2].strip().lower()]
    return f"\\cdot {factor}{' ' + match[1] if match[1] else ''}"


def _unwrapped(text: str) -> str:
    """Without bold marks, quotes and a box or braces around the whole."""
    text = text.strip("\"'` ") if text[:1] in "\"'` " else text.strip("` ")
    while True:
        for opening, closing in (("\\boxed{", "}"), ("\\fbox{", "}"), ("**", "**"), ("{", "}")):
            inner = text[len(opening) : -len(closing)]
            if text.startswith(opening) and text.endswith(closing) and _balanced(inner):
                text = inner.strip()
                break
        else:
            return text


def _balanced(text: str) -> bool:
    """Whether a text is not empty and its braces are closed inside it."""
    depth = 0
    for brace in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth < 0:
            return False
    return bool(text)


def _without_fonts(text: str) -> str:
    r"""With `\text` around words and nothing around math, whatever font either is in."""
    pieces, last = [], 0
    while match := _FONT.search(text, last):
        inner = _group(text, match.end())
        if inner is None:
            break
        pieces += [text[last : match.start()], _in_font(match[1], _without_fonts(inner))]
        last = match.end() + len(inner) + 2
    return "".join([*pieces, text[last:]])


def _group(text: str, start: int) -> str | None:
    """What stands between the brace at `start` and the one that closes it."""
    depth = 0
    for brace in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[start + 1 : brace.start()]
    return None


def _in_font(font: str, inner: str) -> str:
    as_text = re.fullmatch(_TEXT_FONTS, font)
    bare = inner.strip().strip("$").strip()
    if font == "mathbb" and _BLACKBOARD.fullmatch(inner):
        return f"\\mathbb{{{bare}}}"
    if bare == "i" or (not as_text and len(bare) == 1 and (font != "mathrm" or bare == "e")):
        return f" {bare}"
    if as_text or font == "mathrm":
        inner = re.sub(r"(?<=[A-Za-z]) ?\\(?:cdot|times) ?(?=[A-Za-z])", "\N{MIDDLE DOT}", inner)
    if re.search(r"\\(?![$%&#^ ])|[{}]", inner):
        # Text in text, or math.
        return f" {bare} " if as_text else f"{{{inner}}}"
    if as_text or _WORDY.search(inner) or font == "mathrm":
        name = re.fullmatch(FUNCTIONS, bare)
        words = re.sub(r"\\?\$", " ", inner)
        return f"\\{bare} " if name else f"\\text{{{words}}}"
    return f"{{{inner}}}"


def _joint(match: re.Match[str]) -> str:
    if any(match.groups()):
        return " \\lor "
    together = re.match(r" ?[A-Za-z] ?(?:[<>]|\\[gl])", match.string[match.end() :][:5])
    return " \\land " if together and "," not in match[0] else " , "


def _joined(text: str) -> str:
    r"""With a comma for "and" and `\lor` for "or", and with one sign for a union."""
    text = _JOINT.sub(_joint, text)
    text = _UNITED.sub(r"\\cup ", text)
    if text[:1] == "]" or text[-1:] == "[":
        # Written ]a, b[ where an end is left out.
        turned = {"[": "(", "]": ")"}
        text = _OUTWARD.sub(
            lambda match: (
                ("[" if match[1] == "[" else "(")
                + match[2]
                + ("]" if match[3] == "]" else turned["]"])
            ),
            text,
        )
    return text


def _trimmed(text: str) -> str:
    """Without spaces and punctuation at the ends."""
    text = text.strip().rstrip(".,;:?! \\") if not text.rstrip().endswith("!") else text.strip()
    return text.lstrip(":, ").strip()


def _without_units(text: str) -> str:
    """Without words after a value; an answer that is nothing but words stays."""
    shorter = _trimmed(_TEXT_UNIT.sub(_unit, _UNIT_FRACTION.sub(r"\\text{\1/\2}", text)))
    if shorter:
        text = shorter
    shorter = _trimmed(re.sub(r"(?<=\d) ?\\Omega$|(?<=\d)[\"']$", "", text))
    shorter = _trimmed(_TYPED_UNIT.sub("", shorter)) or text
    words = _TYPED_WORDS.search(shorter)
    if words and is_unit(words[1], typed=True):
        shorter = shorter[: words.start()]
    return _trimmed(shorter) or text


def is_unit(words: str, typed: bool = False) -> bool:
    """Whether words after a value say what it counts and leave it as it is."""
    inner = words.strip(" ()[].,;")
    bare = (
        re.sub(r"\([^()]*\)|\[[^\[\]]*\]", " ", words) if words.strip()[:1] not in "([" else inner
    )
    if not inner:
        return True
    bare = re.sub(r"\^ ?\{? ?-?[1-4] ?\}?", "", bare)
    if re.search(r"\d", bare) or _TELLING.search(inner) or _FIRST_TELLING.match(bare.strip(" ,.;")):
        return False
    names = re.findall(r"[^\W\d_]+", bare)
    if not names:
        return bare.strip(" .,;") in ("", '"', "'")
    if names[0] in ("a", "an", "per", "each", "in", "on", "at", "of", "the") and len(names) > 1:
        return True
    if typed:
        # xyz and abc are products.
        return bool(
            (len(names[0]) > 2 or not names[0].isascii() or names[0] in _ABBREVIATIONS)
            and (_VOWEL.search(names[0]) or names[0] in _ABBREVIATIONS)
            and set(names[0]) - set("abcdxyz")
        )
    return names[0] in _ABBREVIATIONS or bool(
        (len(names[0]) > 2 or not names[0].isascii()) and _VOWEL.search(names[0])
    )


def _unit(match: re.Match[str]) -> str:
    if not is_unit(match[2]):
        return match[0]
    # A brace that the unit had to itself goes with it.
    return " " * (match[1].count("{") == bool(match[4])) or match[1] + (match[4] or "")


def _numerals(text: str) -> str:
    """With fractions and grouped digits written in one way."""
    for grouped in (_SPACE_NUMBER, _MARK_NUMBER):
        text = grouped.sub(lambda match: re.sub("[ ']", "", match[0]), text)
    text = _RAISED_FRACTION.sub(r"\\frac{\1}{\2}", text)
    text = _CHOOSE.sub(lambda match: f"\\{_CHOSEN[match[2]]}{{{match[1]}}}{{{match[3]}}}", text)
    if "\\choose" in text and "{" not in text:
        text = re.sub(r"^(.*)\\choose(.*)$", r"\\binom{\1}{\2}", text)
    text = _REPEATED.sub(r"\1\\overline{\2}", text)
    text = _OVERLINE.sub(r"\\overline", text)
    text = _IN_BRACKETS.sub(r"\1\\overline{\2}", text)
    text = _TYPED_FRACTION.sub(r"\\frac{\1}{\2}", text)
    return _TYPED_MIXED.sub(r"\1\\frac{\2}{\3}", text)


_CHOSEN = {"choose": "binom", "over": "frac"}


def _without_commas(text: str) -> str:
    """Without commas that group digits; inside brackets a comma separates numbers instead."""
    pieces, depth, last = [], 0, 0
    for match in re.finditer(r"[(\[]|[)\]]|\\[{}]", text):
        if depth == 0:
            pieces.append(_grouped(text[last : match.start()]))
        else:
            pieces.append(text[last : match.start()])
        depth += 1 if match[0] in ("(", "[", "\\{") else -1
        pieces.append(match[0])
        last = match.end()
    tail = text[last:]
    return "".join(pieces) + (_grouped(tail) if depth <= 0 else tail)


def _grouped(text: str) -> str:
    return _COMMA_NUMBER.sub(lambda match: match[0].replace(",", ""), text)
