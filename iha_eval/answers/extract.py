r"""Find the final answer that a generation states.

For: `extract`, in time linear in the text, whatever the text is; `passages`, the math in it, and
`numbers`, which reads each number as a whole: 1 1/2 is one number and not 1, and neither is 3:30.
Not for: judging whether the answer can be read or is right (`read`, `equivalence`).

A generation is first cut down to what its model states: the first turn, without its thoughts, up to
where a problem of its own begins. There the answer is what stands in the last box, else in a tag
`<answer>`, behind `####`, behind words such as "the answer is", and else what the text ends with.
"""

import re
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Literal, NamedTuple

from iha_eval.answers.clean import LONGEST, ascii_math, in_digits, is_unit, with_parts
from iha_eval.answers.read import Expression, read, solved

#: How a data set's answers look: a number (GSM8K) or any math (MATH).
Kind = Literal["number", "math"]

#: Characters from the end in which phrases are looked for, and the most of a line that is read.
_TAIL = 50_000
_LINE = 4 * LONGEST

#: Braces and boxes looked at, the last ones first.
_BOXES = 32
_BOX_REACH = 20_000

#: Statements of an answer that are looked at, the first ones to find where another problem begins.
_STATEMENTS = 200

# What does not belong to the model's own answer.

#: Tokens of chat templates. Those of thoughts and channels are known below.
_TOKEN = re.compile(
    r"<\|(?!/?(?:begin_of_|end_of_)?(?:thought|thinking|think|solution)\|)[a-z_]{2,30}\|>|</?s>"
    r"|<(?:start|end)_of_turn>|<[be]os>|\[/?INST\]"
    "|<\uff5c(?!end\u2581of\u2581thinking)[^<>\uff5c\\s]{1,30}\uff5c>"
)
_ROLE = re.compile(r"\s*(?:assistant|model)?\s*\n")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<\n]{0,40}<\|message\|>")
_THOUGHT_START = re.compile(
    r"<\|?(?:begin_of_)?(?:seed:)?(?:think|thinking|thought|thoughts|reasoning)\|?>|\[THINK\]"
    "|\u25c1think\u25b7",
    re.IGNORECASE,
)
_THOUGHT_END = re.compile(
    r"<(?:/|\|/|\|end_of_)(?:seed:)?(?:think|thinking|thought|thoughts|reasoning)\|?>|\[/THINK\]"
    "|\u25c1/think\u25b7|<\uff5cend\u2581of\u2581thinking\uff5c>",
    re.IGNORECASE,
)
#: What another turn starts with where a model writes the roles in words.
_NEXT_TURN = re.compile(
    r"^[#* \t]{0,6}(?:User|Human|USER|HUMAN)\*{0,2} ?:"
    r"|^#{2,4}[ \t]*(?:Instruction|Human|User|Input)s?\b|^(?:user|human)[ \t]*$"
    r"|(?<=[.!?\d])(?:Human|User): "
    r"|^Here(?:'s| is) (?:another|a similar|a new|the next) (?:\w+ )?"
    r"(?:problem|question|exercise)\b",
    re.M,
)
#: What a base model starts a problem of its own with: for certain, and maybe.
_NUMBERED_PROBLEM = re.compile(
    r"^[#*\[ \t]{0,8}(?:(?:Problem|Question|Exercise|Example|Q)s? ?(?:#|No\.? ?)?\d{1,4}"
    r"(?:\*{0,2}[:.)\]]|\*{0,2}[ \t]*$)|(?:Next|Another|New) (?:problem|question|exercise)\b"
    r"|\[(?:Problem|Question)\]|(?:(?:Now|OK|Okay|Next),? )?"
    r"(?:[Hh]ere(?:'s| is)|[Ll]et(?:'s| us) (?:try|do|solve|look at|consider)|[Cc]onsider)"
    r" (?:another|a (?:similar|new|second)|the next|one more)(?: \w+)?"
    r" (?:problem|question|example|exercise)\b)|^#{1,4}[ \t]*(?:Example|Exercise|Problem|Question)"
    r"(?: \d|(?: [Ss]tatement)?\**:?[ \t]*$)",
    re.M,
)
_NEXT_PROBLEM = re.compile(
    r"^[#* \t]{0,8}(?:(?:Problem|Question|Exercise|Q|\u95ee\u9898)\*{0,2}[:.\uff1a])", re.M
)
#: It may be the only end of an answer that nothing states, unless a first one came before.
_SECOND_PROBLEM = re.compile(r"^[#* \t]{0,8}(?:Problem|Question) ?([12])\*{0,2}[:.]", re.M)
_HEDGE = re.compile(
    r"\b(?:maybe|perhaps|hmm+|if|suppose|assum\w+|might|could|guess|possibly|unless|whether)\b",
    re.IGNORECASE,
)
_SELF = re.compile(r"\b(?:I|my|we|our|us)\b")
_CORRECTION = re.compile(
    r"\b(?:wait|actually|wrong|mistaken?|incorrect|correction|sorry|oops)\b", re.IGNORECASE
)

# How an answer is stated.

_BOX = re.compile(r"\\?(?:boxed|fbox|framebox)(?![a-zA-Z])\s*")
_BOX_START = re.compile(r"\\boxed|\\fbox|\\framebox|(?<![A-Za-z\\])boxed(?=\{)")
_BARE = re.compile(r"[-+]?[\d\\(\[.][^$\n]*|[a-zA-Z](?=\s*(?:\$|$))")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
#: Characters before and behind a box that are looked at.
_AROUND = 300
_OPEN_ARGUMENT = r"\\(?:sqrt(?:\[\w+\])?|[dt]?frac(?:\{[^{}]*\})?)\{"
#: What ends just before a box and belongs to its value, without and with a space between the two.
_ATTACHED = re.compile(
    r"(?:(?<![^\n$\s=(\[])-|(?<=[\d)}])[*/^_+]|(?<=[\w\s$])[<>]|(?<=\d)|\\(?:cdot|times|pm|sqrt)\s?"
    rf"|{_OPEN_ARGUMENT})$"
)
_FACTOR = re.compile(
    r"(?:[-+*/^_<>|!\u2212\xb1\u2264\u2265\u2260]|\d|(?<![\\A-Za-z{])[a-zA-Z]"
    r"|\\(?:cdot|times|pm|mp|sqrt|div|l[et]q?(?:slant)?|g[et]q?(?:slant)?|neq?|pi|log|ln|sin|cos|tan)"
    rf"|\\[dt]?frac\{{[^{{}}]*\}}\{{[^{{}}]*\}}|\\sqrt\{{[^{{}}]*\}}|{_OPEN_ARGUMENT})"
    r"(?:\s|\\[,;:! ]|\\quad)*$"
)
_POWER_ATTACHED = re.compile(r"[\^_!](?!\{?\\circ)|[-+*/]\d|\\(?:sqrt|pi|cdot|times)")
_POWER_OF = re.compile(
    r"\s*(?:[\^_!](?!\{?\s*\\circ)|[-+*/<>]|\d|[a-zA-Z]|\(|\\(?:cdot|times|div|sqrt|pi|[dt]?frac|pm|mp"
    r"|l[et]q?|g[et]q?)(?![a-z]))"
)
_WORD_AFTER = re.compile(
    r"[\s$)\]\\]*(?:text\{\s*)?((?:hundred|thousand|(?:[mb]|tr)illion|dozen|lakh|crore)s?\b"
    r"|(?:more|less|fewer|greater) than(?= ?[$\\\d])|(?:or|and) (?:more|less|fewer|above|below)\b"
    r"|(?:th|st|nd|rd)\b|times(?= ?[$\\\d])|(?:or|and) ?(?=\} ?[-\d\\]))"
)
_MATH_EDGE = re.compile(r"\$|\\[()\[\]]|\n|(?<![<>!])=|\\(?:approx|implies|Rightarrow)(?![a-z])")
_WORD_EDGE = re.compile(rf"{_MATH_EDGE.pattern}|\s")
_LETTER = re.compile(r"[(\s]*(?:\\(?:text|textbf|mathrm|mathbf)\{)?\(?[A-H][)\s}.]*")
_PLACEHOLDER = re.compile(
    r"\s*(?:\\text\s*\{)?[\s<\[(]*(?:(?:your|the|my|final|numerical|correct|integer)[\s_-])*"
    r"(?:answer|result|value|number|solution|expression)(?: here| goes here)?[\s>\])]*\}?\s*"
    r"|\s*(?:\.{2,}|\\[lc]?dots"
    "|\u2026|_+|\\?|\\\\square|\\\\cdots?)?\\s*",
    re.IGNORECASE,
)
_BETWEEN_BOXES = re.compile(
    r"[$\s.;]{0,4}(?:\\[)\]])?[\s.]{0,3}(?:,|;|,? ?(?:and|or|&)\s|\\\\|,? ?\\text\{ ?(?:and|or) ?\}"
    r"|\s\n?|)\s{0,3}(?:[-*\u2022]\s|\(?[a-z\d]{1,2}[).]\s)?\s?(?:\\[(\[])?[$\s]{0,4}"
    r"(?:\\quad\s?)?(?:[A-Za-z](?:_\{?\w\}?)?\s?=\s?)?"
)
_TAGGED = re.compile(r"<answer>\s*((?:(?!</?answer>).){1,4000}?)\s*(?:</answer>|$)", re.S | re.I)
_FILLER = (
    r"(?:\s(?:therefore|thus|hence|then|simply|just|indeed|exactly|clearly|also|now|still|equal to"
    r"|given by|found to be|as follows)\b,?)*"
)
_LINK = (
    r"(?:\s(?:is|are|was|equals|would be|will be|must be|should be|(?:turns|comes|works) out"
    r"(?: to(?: be)?)?)\b"
    + _FILLER
    + r"|\s?(?::=|=>|=|:|->|\u2192|\u21d2)|\s[-\u2013\u2014](?=\s))"
)
_STATED = re.compile(
    r"\b(?:answers?|final (?:result|value)|correct (?:option|choice))\b[*_\"'\]) ]{0,10}"
    rf"{_LINK}[\s:*_]*+"
    rf"|^\W{{0,6}}(?:ans\b\.?|final(?=:)|(?:final )?(?:result|answer)[*_ ]{{0,5}}(?={_LINK}|\s?\n))"
    rf"[*_ ]{{0,5}}(?:{_LINK})?[\s:*_]*+"
    r"|(?:\u7b54\u6848|\u7b54\u3048|\u7b54|\ub2f5|\uc815\ub2f5)\s?"
    r"(?:\u662f|\u4e3a|\u70ba|\u306f|\uc740|\ub294|\uff1a|:|\u3011)[\s:\uff1a*]*+"
    r"|\b(?:respuesta|r\xe9ponse|antwort|ergebnis|\u043e\u0442\u0432\u0435\u0442|risposta|resposta"
    r"|\u0111\xe1p \xe1n|\u0111\xe1p s\u1ed1|jawaban|jawab|cevap|odpowied\u017a)"
    r"(?: final| correcta)?"
    r"[* ]{0,3}(?: (?:es|est|ist|\xe8|\xe9|l\xe0|adalah)\b|:|=)[\s:*]*+",
    re.IGNORECASE | re.M,
)
_HASHES = re.compile(r"^[ \t>]{0,4}#{3,6}[ \t]*([^\n#][^\n]*)|####[ \t]*([^\n#][^\n]*)", re.M)
_HEADING = re.compile(
    r"[*_\s]*(?:\d\ufe0f?\u20e3|\d{1,2}[.)]\s+[*_]*[A-Za-z]|\d{1,2}\s*:\s*[A-Za-z]"
    r"|(?:step|part|case|method|section|phase|day|week|option|approach|stage|example|problem|question"
    r"|note|check|verif\w+|round|table|figure|lemma|claim|no|none|not)\b)",
    re.IGNORECASE,
)
_HASHED = re.compile(
    r"[*_\s]*(?:(?:the )?(?:final )?(?:answer|result|total|ans)\b(?:\s+is)?[*_\s]*[:=]?\s*)?"
    r"(?:so|thus|therefore)?[,\s]*(?:[A-Za-z]\w{0,12}\s*[*_\s]*[=:]|[A-Z]{2,3} |rs\.? )?"
    r"[\s(\[{\\$*<]*[-+]?[$\\(\s]*[\d.]",
    re.IGNORECASE,
)
#: Answers to several questions.
_LABELED = re.compile(
    r"[A-Za-z]\s?[:=]\s?\$?-?\d[\d.]*(?: \w+)?[,;] (?:and )?[A-Za-z]\w{0,15}\s?[:=]\s?\$?-?\d"
)
_COUNTS = re.compile(
    r"[^\w(-]*\d{1,9}(?: \(?[A-Za-z]+\)?){0,2}(?:, (?!0\d\d\b)|; ?| ?& ?)"
    r"\$?\d{1,9}(?: \(?[A-Za-z]+\)?)?\W*"
)
_SENTENCE_END = re.compile(r"\.(?=\s|$|[*\"'])|[;!?](?=\s|$)|\n|<\||</|\u3002")
_REASON = re.compile(
    r"\s(?:because|since|where|which|when|as|so|if|per|obtained|attained|achieved|reached"
    r"|(?<=,\s)not)\b"
)
_ASIDE = re.compile(r",\s(?!\d)|\s\((?!\d+\)?$)|(?<=[\w)]):\s|;\s")
_BY_CASES = re.compile(r"\bif\b.*\b(?:if|otherwise)\b")
#: What says that there is no answer.
_NO_ANSWER = re.compile(
    r"(?<!which )(?<!that )(?<!where )(?<!when )(?:\b(?:there (?:is|are)|has|have) no"
    r" (?:(?:real|integer|valid|such|positive) )*solutions?(?: exists?)?|\bcan(?:not|'t)"
    r" (?:be )?(?:determined?|solved?)\b[^.]{0,80})\W{0,5}$",
    re.IGNORECASE,
)
#: A sentence about what is not so.
_SUPPOSED = re.compile(
    r"(?:^|(?<=[.?!]\s))(?:(?:if|suppose) (?:the|our|my) answer\b"
    r"|(?:if|suppose|assume)\b[^.\n]{0,200}?\b(?:contradiction|impossible)\b)(?:[^.\n]|\.\d)*",
    re.IGNORECASE | re.MULTILINE,
)
_STEP = re.compile(r"^\W*(?:step|problem|question) \d+\W", re.IGNORECASE)
_NOTHING = re.compile(r"not\b[^,;]*$")
_NOT_BUT = re.compile(r"not\b.{0,100}?\bbut\b(?: rather)?\s*")
_LETTER_CHOICE = re.compile(
    r"(?:(?:option|choice)\s+)?[*$]{0,3}(?:\\text\{)?\(?([A-H])(?:\)|[.:](?=\s)|(?=[*\s.,$]|$))",
)

#: What a line starts with that draws the conclusion.
_CONCLUSION = re.compile(
    r"[\s>*_-]{0,6}(?:so|thus|therefore|hence|in total|in all|altogether|finally|total"
    r"|consequently)\b",
    re.IGNORECASE,
)
_CIRCUMSTANCE = re.compile(
    r",? ?(?:which |and )?(?:is )?(?:at|when|where|attained|achieved|reached|occurs"
    r"|occurring|since|because|while|whereas|though|although)\b(?:(?!\b(?:is|are|equals)\b)[^.$])*$"
)
_RESULT = re.compile(rf"{_STATED.pattern}|^{_CONCLUSION.pattern}[^\n]*\d", re.I | re.M)
_AFTERTHOUGHT = re.compile(r"[\s>*_-]{0,6}(?:this is because|note that|check:)", re.IGNORECASE)
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]{1,200})(?<=\S)\*\*")
_BOLD_TAG = re.compile(r"<(b|strong|em|i|u|mark)>([^<>\n]{1,200})</\1>", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"(?:^|[\s$(])([A-Za-z](?:_?\w|'|\([a-z]\))?|(?!\s?=\s?[a-z]$))\s?=(?!>)\s?([^=\n]{1,200})$"
)
_TIDY = " \t*_\"'`:"
#: A result that nothing but what it is for stands behind: = $36 on 5 gifts.
_EQUALS_SOMETHING = re.compile(
    r"(?:=\s*|\b(?:pays?|makes?|earns?|spends?|saves?) (?=\$))(\$?\d[\d.,]*(?: [a-z]+){0,3}"
    r" (?:on|in|for|after|from|with|per|by|at|over|of) [^.,;:=$]*)\.?$"
)
_ENTRY = r"(?:[A-Za-z]\s?=\s?)?[-+]?(?:\d|\\)[^\s,;]{0,40}"
_LISTED = re.compile(rf"(?:^|\s)({_ENTRY}(?:, ?{_ENTRY})*,?\s(?:and|or)\s{_ENTRY})$")
_FORMULA = re.compile(
    r"(?=.*[-\d+*/^\\])(?:[\[(][^\[\]()]*[\])]|[-+(]?[\d\\a-z(][^ ]*+(?: ?[-+*/^=,] ?[^ ]++)*+)"
)
_ONE_WORD = re.compile(r"(?:[Oo]ption )?[\w().,/^+-]{1,40}")
_GIVING = re.compile(
    r".*\b(?:is|are|at|equals?|be|gives?(?: us)?|get|obtain|have)\s+(?:therefore |thus )?"
    r"([^\s].{0,60})$"
)


class Passage(NamedTuple):
    """A piece of math.

    Attributes:
        start: Where its opening sign starts.
        end: Where its closing sign ends.
        content: What is in between, without spaces at the ends.
    """

    start: int
    end: int
    content: str


def extract(text: str, kind: Kind, cut: bool = False) -> str | None:
    r"""The final answer in a generation; None if it states none.

    Looked for in this order: the last `\boxed{}` or `\fbox{}` that is closed and not empty, or
    several with nothing but commas or line breaks between them; `<answer>`; a line `#### n`; what
    follows the last "answer is"; and the last bold text, math or number of the last line that
    concludes. A box that is said to be wrong loses against a later "the answer is". A problem that
    the model goes on with after an answer is not looked at, nor are its thoughts.

    Args:
        text: What the model wrote.
        kind: `number` for a question whose answer is a number, `math` for any answer.
        cut: Whether its budget ended it. Then only what states an answer counts, and no last word
            that may be half written.
    """
    text = _own(_BOLD_TAG.sub(r"**\2**", text))
    boxed, after = _boxes(text)
    if boxed is None or _CORRECTION.search(text, after, after + _LINE):
        tail = text[max(after, len(text) - _TAIL) :]
        tag = _last(_TAGGED, tail)
        if tag is not None and not _PLACEHOLDER.fullmatch(tag[1]):
            return _of_kind(tag[1], kind)
        if cut:
            tail = tail[: max(tail.rfind(" "), tail.rfind("\n")) + 1]
        answer = _stated_answer(tail, kind, cut)
        if answer is not None:
            return answer or None
        if boxed is None:
            return None if cut else _concluded(tail, kind)
    return _of_kind(boxed, kind)


def _of_kind(answer: str, kind: Kind) -> str | None:
    return _number_in_box(answer) if kind == "number" else _fitting(answer)


# --- What the model states itself ---


def _own(text: str) -> str:
    """The first turn without thoughts, up to where another problem starts after an answer."""
    text = _without_thoughts(_first_turn(text))
    turn = _NEXT_TURN.search(text, len(text) - len(text.lstrip()) + 1)
    text = text[: turn.start()] if turn else text
    second = _SECOND_PROBLEM.search(text)
    if second and second[1] == "2" and re.search(r"\d", text[: second.start()]):
        text = text[: second.start()]
    for statement in islice(_statements(text), _STATEMENTS):
        if _hedged(text, statement):
            continue
        ends = [_NUMBERED_PROBLEM.search(text, statement.end())]
        following = _NEXT_PROBLEM.search(text, statement.end())
        # A model that has no box yet and asks what it did itself talks to itself.
        if following and not (
            _SELF.search(text[following.end() : following.end() + 200].partition("\n")[0])
            and not _has_box(text[: following.start()])
            and _has_box(text)
        ):
            ends.append(following)
        places = [place.start() for place in ends if place]
        return text[: min(places)] if places else text
    return text


def _first_turn(text: str) -> str:
    """The text up to the token that ends the turn; of several channels the final one."""
    channels = list(islice(_CHANNEL.finditer(text), 100))
    final = next((channel for channel in channels if channel[1] == "final"), None)
    if channels and final is None:
        return text[: channels[0].start()]
    text = text[final.end() :] if final else text
    while opening := _TOKEN.match(text.lstrip()[:100]):
        text = text.lstrip()[opening.end() :]
        role = _ROLE.match(text)
        text = text[role.end() :] if role else text
    end = _TOKEN.search(text)
    return text[: end.start()] if end else text


def _without_thoughts(text: str) -> str:
    last = _last(_THOUGHT_END, text)
    text = text[last.end() :] if last else text
    opened = _THOUGHT_START.search(text)
    return text[: opened.start()] if opened else text


def _statements(text: str) -> Iterator[re.Match[str]]:
    """What states an answer, in order."""
    for statement in _ANY.finditer(text):
        inside = _inside(text, statement.end()) if statement.lastgroup == "box" else None
        if inside is None or not _PLACEHOLDER.fullmatch(inside):
            yield statement


_ANY = re.compile(
    rf"(?P<box>\\(?:boxed|fbox|framebox)\s*(?=\{{))|####[ \t]*[-$*]?\d(?!\d?[.:)]\s+[A-Za-z])"
    rf"|(?im:{_STATED.pattern})"
)


def _hedged(text: str, statement: re.Match[str]) -> bool:
    """Whether a statement is only supposed or asked."""
    if statement[0].startswith(("\\", "#")):
        return False
    start = max(0, statement.start() - 120)
    before = re.split(r"[.!?\n]", text[start : statement.start()])[-1]
    return bool(_HEDGE.search(before)) or _is_asked(text, statement)


def _is_asked(text: str, statement: re.Match[str]) -> bool:
    end = _SENTENCE_END.search(text, statement.end(), statement.end() + 200)
    return end is not None and end[0] == "?"


def _has_box(text: str) -> bool:
    return "\\boxed" in text or "\\fbox" in text


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    matches = deque(pattern.finditer(text), maxlen=1)
    return matches[0] if matches else None


def _fitting(answer: str) -> str | None:
    answer = answer.strip()
    return answer if answer and len(answer) <= LONGEST else None


# --- Boxes ---


def _boxes(text: str) -> tuple[str | None, int]:
    """What stands in the last box, or in the last boxes if they make a list, and where it ends."""
    contents: list[str] = []
    start, end, last = len(text), len(text), 0
    while len(contents) < _BOXES:
        box = _boxed(text, end)
        if box is None:
            break
        at, inside, after = box
        if contents and (after > start or not _BETWEEN_BOXES.fullmatch(text[after:start][:50])):
            break
        contents.append(inside)
        last = last or after
        start = end = at
    if not contents:
        return None, 0
    if len(contents) == 1:
        return _widened(text, start, contents[0], last), last
    return ", ".join(_distinct(contents[::-1])), last


def _distinct(contents: list[str]) -> list[str]:
    """Without the boxes that repeat another one."""
    if len(contents) == 1:
        return contents
    kept: dict[str, str] = {}
    for content in contents:
        shape = read(content)
        kept.setdefault(content if shape is None else shape.form, content)
    return list(kept.values())


def _boxed(text: str, end: int) -> tuple[int, str, int] | None:
    """The last closed box before `end`: its start, what stands in it and where that ends."""
    for _ in range(_BOXES):
        start = max(text.rfind(name, 0, end) for name in ("boxed", "\\fbox", "\\framebox"))
        if start < 0:
            return None
        end = start
        start -= text[start] == "b" and text[start - 1 : start] == "\\"
        opened = _BOX.match(text, start)
        if opened is None or (text[start] == "b" and text[opened.end() : opened.end() + 1] != "{"):
            continue
        inside = _inside(text, opened.end())
        if inside is not None and not _PLACEHOLDER.fullmatch(inside):
            closed = opened.end() + len(inside) + 2 * (text[opened.end()] == "{")
            if not _is_denied(text, start, closed):
                return start, inside, closed
    return None


def _widened(text: str, start: int, inside: str, end: int) -> str:
    r"""What a box states together with factors and signs outside of it: `-\boxed{9}` is -9."""
    before = text[max(0, start - _AROUND) : start].rpartition("\n\n")[2]
    after = text[end : end + _AROUND].partition("\n\n")[0]
    window = f"{before}\\boxed{{}}{after}"
    in_math = any(math.start < len(before) < math.end for math in passages(window))
    left = not _TAG_END.search(before) and (_FACTOR if in_math else _ATTACHED).search(before)
    right = (_POWER_OF if in_math else _POWER_ATTACHED).match(after)
    ends = before.rstrip()[-1:] + after.lstrip()[:1]
    if (left or right or ends in ("(,", ",)", "[,", ",]")) and not _LETTER.fullmatch(inside):
        edge = _MATH_EDGE if in_math else _WORD_EDGE
        return f"{edge.split(before)[-1]}({inside}){edge.split(after)[0].rstrip(' .,;')}"
    word = _WORD_AFTER.match(after)
    return f"{inside}\\text{{ {word[1]}}}" if word else inside


def _inside(text: str, at: int) -> str | None:
    """The group that starts at `at`; without a brace, what follows up to the end of the math."""
    if text[at : at + 1] != "{":
        bare = _BARE.match(text, at, at + LONGEST)
        return None if bare is None else bare[0].strip(" .,")
    depth = 0
    for brace in _BRACE.finditer(text, at, at + _BOX_REACH):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[at + 1 : brace.start()]
    return None


# --- Words that state an answer ---


def _stated_answer(tail: str, kind: Kind, cut: bool) -> str | None:
    """What a line of hashes or the last "answer is" states; empty if that cannot be read."""
    after = _after_statement(tail)
    hashed = _hashed(tail, alone=after is None)
    if hashed is not None and kind == "number":
        if _LABELED.search(hashed) or _COUNTS.fullmatch(hashed):
            return ""
        numerals = numbers(in_digits(re.split(r"=|\bcosts?\b", hashed)[-1][:_LINE]))
        if numerals:
            return numerals[0] or ""
    if after is not None:
        answer = _stated_number(after) if kind == "number" else _stated_math(after, cut)
        if answer is not None:
            return _fitting(answer) or ""
    if hashed is not None:
        return _stated_math(hashed.strip(_TIDY), cut)
    return None


def _hashed(tail: str, alone: bool) -> str | None:
    """The last line of hashes that is an answer rather than a heading.

    Args:
        tail: The end of the text.
        alone: Whether any line with a number will do if the text ends with it.
    """
    lines: list[tuple[str, int]] = []
    for hashes in _HASHES.finditer(tail):
        line = in_digits((hashes[1] or hashes[2])[:_LINE])
        ends = alone and not tail[hashes.end() : hashes.end() + 200].strip()
        answers = _HASHED.match(line) or (ends and re.search(r"\d", line))
        if answers and not _HEADING.match(line) and not line.rstrip(" *").endswith(":"):
            lines.append((line, hashes.end()))
    line, end = lines[-1] if lines else ("", 0)
    numeral = _NUMERAL.search(line)
    sentence = numeral is not None and not is_unit(line[numeral.end() :])
    # "#### 2 steps are needed" with a result behind it is a heading.
    return None if not line or (sentence and _RESULT.search(tail, end)) else line


def _after_statement(tail: str) -> str | None:
    """What stands after the last "answer is" that is not only supposed; None without one."""
    statements = [
        statement
        for statement in deque(_STATED.finditer(tail), maxlen=_STATEMENTS)
        if not _is_asked(tail, statement)
    ]
    sure = [statement for statement in statements if not _hedged(tail, statement)]
    if not statements:
        return None
    last = (sure or statements)[-1]
    return tail[last.end() : last.end() + 2 * LONGEST].lstrip()


def _sentence(text: str) -> str:
    return _SENTENCE_END.split(text, maxsplit=1)[0].strip(_TIDY)


def _stated_number(after: str) -> str | None:
    """The number in what follows "answer is"; empty if it is no single one."""
    sentence = _sentence(_unfenced(after)) or _sentence(after.partition("\n")[2].lstrip())
    if _LABELED.search(sentence) or _BY_CASES.search(sentence):
        return ""
    clause = _ASIDE.split(_REASON.split(sentence, maxsplit=1)[0], maxsplit=1)[0]
    for piece in (in_digits(clause), sentence):
        numerals = numbers(piece.rpartition("=")[2]) or numbers(piece)
        if numerals:
            return numerals[0] or ""
    return None


def _unfenced(text: str) -> str:
    """Without the marks of a code block at the start."""
    return re.sub(r"^```\w*\s*", "", text)


def _stated_math(after: str, cut: bool) -> str | None:
    """The answer in what follows "answer is"."""
    after = _unfenced(after)
    if _BY_CASES.search(_sentence(after)):
        return _sentence(after)
    choice = _LETTER_CHOICE.match(after)
    if choice and (
        after[: choice.end()].strip()[-1:] in ").:" or "\n" in after[choice.end() :][:3]
    ):
        return f"({choice[1]})"
    for run in runs(after, affirmed(after, passages(after))):
        before = after[: run[0].start]
        if not _SENTENCE_END.search(before) and not re.search(r"\d", before):
            word = _WORD_AFTER.match(after[run[-1].end :])
            bound = before if _BOUND.search(before) else ""
            return bound + stated(run) + (f"\\text{{ {word[1]}}}" if word else "")
        break
    if cut and not _SENTENCE_END.search(after):
        return None
    sentence = _REASON.split(_NOT_BUT.sub("", _sentence(after)), maxsplit=1)[0].strip(_TIDY + ",")
    sentence = re.sub(r"^(?:option|choice) ", "", sentence)
    if sentence.endswith("}") and sentence.count("{") < sentence.count("}"):
        sentence = sentence[:-1].strip(_TIDY)
    return None if _NOTHING.match(sentence) else sentence or None


def _number_in_box(boxed: str) -> str | None:
    """A box around one number and words holds that number."""
    if not _fitting(boxed):
        return None
    if has_value(boxed):
        return _fitting(boxed)
    value = solved(boxed)
    if isinstance(value, Expression) and value.value is not None:
        return _fitting(boxed)
    # Several equations state several numbers.
    numerals = numbers(boxed if re.search(r",\s", boxed) else boxed.rpartition("=")[2])
    return numerals[0] if len(numerals) == 1 else None


# --- What a text without such words ends with ---


def _concluded(tail: str, kind: Kind) -> str | None:
    """The answer of the last line that has one; for math, of the last one that concludes."""
    tail = _SUPPOSED.sub("", tail).rstrip()
    nothing = _NO_ANSWER.search(tail[-200:])
    if nothing:
        return nothing[0] if kind == "math" else None
    if kind == "number":
        return _concluded_number(tail)
    pieces = affirmed(tail, passages(tail))
    end = pieces[-1].end if pieces else 0
    following = tail[end:].partition("\n")[2] if end else tail
    for line in reversed(following.splitlines()[-50:]):
        if not end or _CONCLUSION.match(line):
            found_math = _line_math(line[-_LINE:], sure=not end)
            if found_math is not None:
                return _fitting(found_math)
    rest = tail[end:].partition("\n")[0][:_LINE]
    bold = _last(_BOLD, rest)
    if pieces and bold and re.search(r"\d", bold[1]):
        return _fitting(bold[1])
    if not pieces:
        return None
    if re.match(r"\s*(?:=|is\b|equals\b)\s*[-\d(\\]", rest):
        return _line_math(rest, sure=False)
    while len(pieces) > 1 and _is_circumstance(tail, *pieces[-2:]):
        pieces.pop()
    last = runs(tail, pieces)[-1]
    bound = _BOUND.search(tail[max(0, last[0].start - 20) : last[0].start])
    # Words that make it a bound stay with it, so that it is no number.
    return _fitting((bound[0] if bound else "") + stated(last))


def _is_circumstance(text: str, value: Passage, last: Passage) -> bool:
    """Whether the last piece of math only says where the one before holds: -4, at x = 3."""
    between = _CIRCUMSTANCE.match(text[value.end : last.start])
    return between is not None and (between[0][0] == "," or "=" not in value.content)


def _concluded_number(tail: str) -> str | None:
    for line in reversed(tail.splitlines()):
        title = line.lstrip(" \t>")
        heading = title[:1] == "#" and _HEADING.match(title.lstrip("# "))
        numerals = [] if heading or _AFTERTHOUGHT.match(line) else _line_number(line[-_LINE:])
        if numerals:
            return numerals[0]
    return None


def _without_questions(line: str) -> str:
    sentences = re.split(r"(?<=[.?!])\s", _STEP.sub("", line))
    return " ".join(sentence for sentence in sentences if not sentence.endswith("?"))


def _line_number(line: str) -> list[str | None]:
    """The number a line ends in, as a list of one; empty if it has none."""
    bold = _last(_BOLD, line)
    if bold and len(numerals := numbers(bold[1])) == 1:
        return numerals
    line = _without_questions(line)
    closing = _EQUALS_SOMETHING.search(line)
    if closing and (numerals := numbers(closing[1])):
        return numerals[:1]
    outside = re.sub(r"(?<=[a-z.,]) ?\((?=[^()]*[a-z])[^()]*\)", "", line)
    numerals = numbers(outside) or numbers(line)
    return numerals[-1:]


def _line_math(line: str, sure: bool) -> str | None:
    """The value a line without math signs ends in.

    Args:
        line: One line.
        sure: Whether words may be an answer too, as in "So they face **east**."
    """
    line = _without_questions(line)
    bold = _last(_BOLD, line)
    if bold and not bold[1].endswith(":") and (sure or re.search(r"\d", bold[1])):
        return bold[1].rpartition("=")[2]
    plain = ascii_math(line).replace("\\sqrt ", "\\sqrt").strip().strip(_TIDY).rstrip(".!").strip()
    listed = _LISTED.search(plain)
    if listed:
        return listed[1]
    assigned = _ASSIGNED.search(plain)
    if assigned and not re.search(r"(?<![\\A-Za-z])[A-Za-z]{3}", assigned[2]):
        return assigned[2]
    giving = _GIVING.search(plain)
    if giving and _FORMULA.fullmatch(giving[1]) and not _is_denied(plain, *giving.span(1)):
        return giving[1]
    numerals = numbers(line)
    if numerals:
        return numerals[-1]
    return plain if sure and _ONE_WORD.fullmatch(plain) else None


# --- Math in running text ---

_CLOSING = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_MATH_SIGN = re.compile(r"\$\$|\$|\\.|\n[ \t]*\n", re.DOTALL)
_BETWEEN = re.compile(r"[ \t]*(?:,|;)?[ \t]*(?:and|or|&)?[ \t]*\n?[ \t]*")
_DENIED = re.compile(
    r"(?:\b(?:not|never|cannot|neither)|n['\u2019]t)\s+(?:(?:be|equals?|to|simply|really|actually|the"
    r"|answer)\s+){0,3}[$\\(\[*\s]*(?:boxed\{)?$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"[\s$)\]}\\*]*(?:(?:is|was|are|would be|seems|looks) (?:\w+ly |also |just |an? |the )?"
    r"(?:never|wrong|incorrect|false|impossible|too|not (?:the|an?|my|our|what|it|correct|right"
    r"|valid|possible|acceptable|equal|in)\b|not[.,$\n])|(?:is|was|would|could|can|does|do)n['\u2019]t\b"
    r"|cannot\b)"
)
_NEXT_VALUE = re.compile(r"(?:,|\\text\{[^{}]*\}|\\lor)\s*[A-Za-z](?:_\{?\w\}?)?\s*=")
_SIGNED_NAME = re.compile(
    r"[A-Za-z](?:_\{?\w\}?)?'?|[A-Z]{1,4}|\\[a-z]+|\\text\{[^{}]*\}|[A-Za-z]\([a-z]\)"
)


def passages(text: str) -> list[Passage]:
    """The pieces of math between dollar signs or LaTeX's brackets, in order."""
    pieces: list[Passage] = []
    opened, start = "", 0
    for sign in _MATH_SIGN.finditer(text):
        token = sign[0]
        money = token == "$" and text[sign.end() : sign.end() + 1].isdigit()
        if opened == "$" and (
            token[0] == "\n" or (money and text[sign.start() - 1] in " \t\n*(+-\u2212=")
        ):
            # The opening one was a price.
            opened = ""
        if opened and token == _CLOSING[opened]:
            content = text[start + len(opened) : sign.start()].strip()
            if content:
                pieces.append(Passage(start, sign.end(), content))
            opened = ""
        elif not opened and token in _CLOSING:
            opened, start = token, sign.start()
    return pieces


def _is_denied(text: str, start: int, end: int) -> bool:
    """Whether the text says that what stands between two places is not the answer."""
    return bool(
        _DENIED.search(text[max(0, start - 60) : start])
        or _DENIED_AFTER.match(text[end : end + 80])
    )


def affirmed(text: str, pieces: list[Passage]) -> list[Passage]:
    """Those that nothing denies."""
    return [passage for passage in pieces if not _is_denied(text, passage.start, passage.end)]


def runs(text: str, pieces: list[Passage]) -> list[list[Passage]]:
    """Neighbors with nothing but a comma, "and" or "or" between them, put together."""
    together: list[list[Passage]] = []
    for passage in pieces:
        between = text[together[-1][-1].end : passage.start] if together else ""
        if between.strip() and _BETWEEN.fullmatch(between):
            together[-1].append(passage)
        else:
            together.append([passage])
    return together


def stated(run: list[Passage]) -> str:
    """What a run states: its only passage, or the list of all."""
    if len(run) == 1:
        return value(run[0].content)
    # Names tell x = 1, y = 2 from y = 1, x = 2.
    names = [re.match(r"[A-Za-z] ?=(?!.*[,<>])", passage.content) for passage in run]
    return ", ".join(
        (name[0] if name else "") + value(passage.content)
        for name, passage in zip(names, run, strict=True)
    )


def value(content: str) -> str:
    """What a chain of equalities that starts with a name ends in; other math as it is."""
    content = content.rstrip(" .,;")
    left, _, right = content.partition("=")
    if _NEXT_VALUE.search(right):
        return content
    if right and (_SIGNED_NAME.fullmatch(left.strip()) or not re.search("[A-Za-z]", left)):
        return content.rpartition("=")[2].strip()
    return content


# --- Numbers in running text ---

_CURRENCY = r"(?:\\?\$\s?)?"
_SIGN = r"[-+]?"
_FRACTION = r"\\[dt]?frac ?\{\d{1,20}\} ?\{\d{1,20}\}"
_DIGITS = (
    r"(?:\d{1,3}(?: \d{3})++(?![\d,])|\d++(?:(?:,|\{,\}|\\,|,\\!|:|\.)\d++)*+"
    rf"(?:(?: |-)\d{{1,9}}/\d{{1,9}}(?! ?=)| ?{_FRACTION})?|{_FRACTION}|\.\d++)"
)
_TIMES = r"\\times|\\cdot|\\div|x(?= ?10 ?\^)"
_JOINT = (
    rf"(?:\s?(?:[-+*/]|\*\*|{_TIMES})\s?"
    r"|\s(?:x|times|to|and|or)\s|\s?\\text\{ ?(?:to|and|or) ?\}\s?)"
)
_POWER = r"(?:\s?\^\s?\{?-?\d++\}?)?"
_TERM = rf"{_DIGITS}{_POWER}"
_LARGE = (
    r"(?:[eE][-+]?\d{1,4}(?!\w)|[kK](?![A-Za-z])"
    r"|\s?(?:\\text\{ ?)?(?:(?:hundred|thousand|(?:[mb]|tr)illion|dozen|lakh|crore|grand)s?|k)\b"
    r"\}?)?"
)
_NUMERAL = re.compile(
    rf"(?<![A-Za-z0-9_.]){_SIGN}{_CURRENCY}{_SIGN}{_TERM}"
    rf"(?:{_JOINT}{_SIGN}{_CURRENCY}{_TERM})*+{_LARGE}"
)
_RANGE = re.compile(r"(?<=[\d}])-(?=[\d$])(?!\d{1,9}/\d)|\b(?:to|or)\b|\band\b")
_AND_A_FRACTION = re.compile(r"(\d+) and (\d+/\d+)")
#: After these a sign belongs to the number even if a space follows it.
_SIGN_APART = re.compile(r"(?:^|[=:#]|\b(?:is|was|be|equals|of))\s*-\s$")
#: What says that a number is a bound rather than the answer, before it and after it.
_BOUND = re.compile(
    r"(?:\\pm|\\mp)\s?$|\b(?:than|at least|at most|up to|under|over|below|above|exceeds?"
    r"|exceeding|beyond|twice|thrice|double|triple"
    r"|(?:half|third|quarter|square|root|multiple|maximum) of|minimum of|or more than)\b[^\w]{0,5}$"
    r"|(?:(?<![>\w/\"'=-])>|(?<=\w)\s?>|(?<!<)<"
    r"|\\[gl]eq?(?:slant)?|\\[gl]t|\\neq?|>=|<=|!=)\s*\$?$",
    re.IGNORECASE,
)
_TAG_END = re.compile(r"</?\w+>$")
_BOUND_AFTER = re.compile(
    r"\s?\+(?!\s?[\d$(\\]|\s?[a-z]\b)|\s\(?(?:minimum|maximum|at least|at most)\b"
    r"|(?:[\s}]*\\text\s*\{)?(?:\s[a-z]+){0,2}?[\s,]*\b(?:or|and)\s+"
    r"(?:more|fewer|less|greater|above|below|under|over|up|higher|lower|older|younger|larger|smaller"
    r"|beyond)\b|\s?(?:\\[lc]?dots|\.\.\.)(?!\s?[,+])",
)
_GLUED = re.compile(r"[A-Za-z]+")
_MEASURES = (
    r"(?:dollars?|feet|foot|ft|yards?|hours?|hrs?|h|minutes?|mins?|m|weeks?|days?|years?|months?"
    r"|pounds?|lbs?|miles?|meters?|kilograms?|kg|gallons?|quarts?|degrees?|dozens?)"
)
#: What makes a number a part of a longer quantity: 14 feet 6 inches, 14 less than 20, 14 out of 20.
_PART_AFTER = re.compile(
    rf"\s?{_MEASURES},?\s?(?:and\s)?\d+\s?[A-Za-z]|(?:\s[A-Za-z]+){{1,2}} and \$?\d+ [a-z]{{3}}"
    r"|\s(?:(?:less|more|fewer|greater|lower|higher) than|out of|over|into)\s(?:the )?\$?\d"
    r"|\s(?:squared|cubed|factorial|halves|thirds|fourths|fifths|tenths"
    r"|hundredths)\b|\sin \d+\W*$"
    r"|['\u2032]\s?\d|/x|\s?\\pm|\s?[x*/]\s?[a-z]\b",
)
_NUMBER_MARKS = (
    # Separators of thousands other than commas, and commas in other places.
    (re.compile(r"(?<![\d.,'_])(\d{1,3})((?:['_]\d{3})+)(?![\d'_])"), re.compile("['_]")),
    (re.compile(r"(?<![\d.,])(\d{1,2})((?:,\d{2})+,\d{3})(?![\d,])"), re.compile(",")),
    (re.compile(r"(?<![\d.,])(\d{1,3})((?:, 0\d{2})+)(?![\d,])"), re.compile(", ")),
)
#: Letters that are numbers; a small one only behind money: $1.5m.
_LETTER_FACTOR = re.compile(
    r"(?<![\w.,])(\d[\d.,]*)\s?(mil|mln|mn|bn|[MBK])(?![\w'^/&])|(\$\s?\d[\d.,]*)\s?([mb])(?![A-Za-z])"
)
_LETTERS = {"m": "million", "b": "billion", "k": "thousand"}
_SIGN_WORD = re.compile(
    r"(?<=\d)\s(plus|minus|times|divided by|multiplied by)\s(?=\$?\d)", re.IGNORECASE
)
_SIGN_WORDS = {"plu": "+", "min": "-", "tim": "*", "mul": "*", "div": "/"}
_ZERO_CENTS = re.compile(r"(?<=\d),00(?![\d,])")
_FULL_HOUR = re.compile(r"(?<![\d:])(\d{1,2}):00(?![\d:])")
_NEGATIVE = re.compile(
    r"(?<![\d}\])%] )\b(?:negative|minus)\s+(?=[$\\]*[\d.])"
    r"|\\text\s*\{\s*(?:negative|minus)\s*\}\s*",
    re.IGNORECASE,
)


def numbers(text: str) -> list[str | None]:
    """All numbers with a sign, in order; None for what looks like one but has no one value.

    Ranges, bounds, times, ratios and lists are such. What "not" stands in front of is left out.
    """
    text = _plain_numbers(text)
    numerals: list[str | None] = []
    part_of = 0
    for numeral in _NUMERAL.finditer(text):
        before = text[max(0, numeral.start() - 20) : numeral.start()]
        if _is_denied(text, *numeral.span()):
            continue
        part = _PART_AFTER.match(text, numeral.end())
        glued = _GLUED.match(text, numeral.end())
        if (
            part
            or numeral.start() < part_of
            or (glued and not is_unit(glued[0], typed=True))
            or (_BOUND.search(before) and not _TAG_END.search(before))
            or _BOUND_AFTER.match(text, numeral.end())
        ):
            numerals.append(None)
        else:
            numerals.append(_whole(numeral[0], bool(_SIGN_APART.search(before))))
        part_of = part.end() if part else part_of
    return numerals


def _plain_numbers(text: str) -> str:
    """With ASCII digits, signs and separators, and vulgar fractions after a space."""
    if not text.isascii():
        text = ascii_math(re.sub("(?<=[0-9])(?=[\xbc-\xbe\u2150-\u215e])", " ", text))
    for pattern, separator in _NUMBER_MARKS:
        text = pattern.sub(lambda match: separator.sub("", match[0]), text)  # noqa: B023
    text = _FULL_HOUR.sub(r"\1", _ZERO_CENTS.sub("", text))
    text = with_parts(_AND_A_FRACTION.sub(r"\1 \2", text))
    text = _LETTER_FACTOR.sub(_with_factor, text)
    text = _SIGN_WORD.sub(lambda sign: f" {_SIGN_WORDS[sign[1].lower()[:3]]} ", text)
    return _NEGATIVE.sub("-", re.sub(" {2,}", " ", text))


def _with_factor(numeral: re.Match[str]) -> str:
    letter = (numeral[2] or numeral[4])[0].lower()
    return f"{numeral[1] or numeral[3]} {_LETTERS[letter]}"


def _whole(numeral: str, negative: bool) -> str | None:
    """The text of a number, None if it has no value."""
    numeral = f"-{numeral}" if negative else numeral.strip()
    inner = numeral.lstrip("-+$ ")
    if len(numeral) > LONGEST or _RANGE.search(inner):
        return None
    numeral = re.sub(r"(?<=\d)\s?[kK]$", " thousand", numeral)
    numeral = re.sub(r"(?<=\d)-(?=\d+/\d+$)", " ", numeral)
    if has_value(numeral):
        return numeral
    # Signs that are typed as letters.
    plain = re.sub(r"\s(?:x|times)\s", " * ", numeral)
    return plain if has_value(plain) else None


def has_value(text: str) -> bool:
    """Whether a text is a number or arithmetic with a value."""
    shape = read(text)
    return isinstance(shape, Expression) and shape.value is not None
