"""How one answer is scored.

For: RULER's own score and a strict one beside it, each from 0 to 1 per document; `SCORERS` says
which go with which kind of answer.
Not for: means and standard errors, which lm-eval computes.

Source: NVIDIA/RULER, scripts/eval/synthetic/constants.py and scripts/eval/evaluate.py; SQuAD's
scores: Rajpurkar et al., arXiv:1606.05250, section 6.1.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: The metrics of the ruler_mk tasks, in the order in which they are shown.
METRICS = ("string_match", "first_answer")

#: The metrics that all thirteen tasks have, in the order in which they are shown.
COMMON_METRICS = ("string_match", "strict_match")

#: What the qa tasks have besides.
QA_METRICS = ("exact_match", "f1")

_PATTERNS = {
    "number": re.compile(r"(?<![0-9])[0-9]{7}(?![0-9])"),
    "uuid": re.compile(
        r"(?<![0-9a-f])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-f])"
    ),
    "variables": re.compile(r"(?<![A-Za-z])[A-Z]{5}(?![A-Za-z])"),
    "coded words": re.compile(r"(?<![A-Za-z])[a-z]{6}(?![A-Za-z])"),
}
_PATTERNS["numbers"] = _PATTERNS["number"]
_CONTROL = re.compile(r"[\x00-\x1f]")
# An apostrophe or hyphen belongs to a word where a letter or digit stands on its other side, and a
# point or comma where digits stand on both.
_NOT_AFTER = r"(?<![^\W_])(?<![^\W_]['\u2019-])(?<![0-9][.,](?=[0-9]))"
_NOT_BEFORE = r"(?!['\u2019-]?[^\W_])(?!(?<=[0-9])[.,][0-9])"
_ARTICLES = re.compile(r"\b(a|an|the)\b")

#: Of an output and its document.
Scorer = Callable[[str, Mapping[str, Any]], float]


def cleaned(output: str) -> str:
    """An output as RULER scores it: control characters are line ends, none stand at its edges."""
    return _CONTROL.sub("\n", output.strip()).strip()


def string_match(output: str, references: Sequence[str]) -> float:
    """The share of references that occur in the output, upper and lower case alike.

    This is the score in RULER's paper (`string_match_all`). It rewards an output that lists many
    values.
    """
    lowered = output.lower()
    return sum(reference.lower() in lowered for reference in references) / len(references)


def first_answer(output: str, references: Sequence[str], kind: str) -> float:
    """1 if the first value of the asked kind in the output is a reference, else 0.

    Args:
        output: What the model wrote.
        references: The right values.
        kind: `number` for seven digits on their own, `uuid` for a UUID.
    """
    first = _PATTERNS[kind].search(output.lower())
    return float(first is not None and first[0] in {r.lower() for r in references})


def exact_set(output: str, doc: Mapping[str, Any]) -> float:
    """1 if the output names all right answers and nothing else of their kind, else 0.

    What is of their kind stands on its own: `numbers` are seven digits, `variables` five capitals,
    `coded words` six small letters that are a word of the document's text, so that `appear` is
    none. Names of the document count in capital and small letters alike, right ones as in RULER's
    own score and wrong ones too.
    """
    kind, right = doc["kind"], set(doc["outputs"])
    pattern, fold = _PATTERNS[kind], str.upper if kind == "variables" else str.lower
    # The question has words of six letters too.
    known = set(pattern.findall(doc["input"].rsplit("\nQuestion: ", 1)[0]))
    named = set(pattern.findall(fold(output))) & known
    if kind != "coded words":
        named |= set(pattern.findall(output))
    return float(named <= right and all(_has_word(output, answer) for answer in right - named))


def _has_word(output: str, word: str) -> bool:
    """Whether the output has the word by itself, not inside a longer or hyphenated one.

    Quotes, a list's dash and Markdown's marks around it are no part of a word.
    """
    pattern = rf"{_NOT_AFTER}{re.escape(word.lower())}{_NOT_BEFORE}"
    return re.search(pattern, output.lower()) is not None


def whole_words(output: str, references: Sequence[str]) -> float:
    """The share of references that the output has as whole words."""
    return sum(_has_word(output, reference) for reference in references) / len(references)


def _tokens(text: str) -> list[str]:
    """Words without articles and punctuation, in small letters."""
    plain = "".join(character for character in text.lower() if character not in string.punctuation)
    return _ARTICLES.sub(" ", plain).split()


def exact_match(output: str, references: Sequence[str]) -> float:
    """SQuAD's EM of the output's first line: 1 if it is a reference but for articles and signs."""
    answer = _tokens(output.split("\n", 1)[0])
    return float(any(answer == _tokens(reference) for reference in references))


def f1(output: str, references: Sequence[str]) -> float:
    """SQuAD's F1 of the output's first line: shared words; the best over the references."""
    answer = _tokens(output.split("\n", 1)[0])
    return max(_f1(answer, _tokens(reference)) for reference in references)


def _f1(answer: Sequence[str], reference: Sequence[str]) -> float:
    if not answer or not reference:
        return float(answer == reference)
    shared = (Counter(answer) & Counter(reference)).total()
    return 2 * shared / (len(answer) + len(reference))


def _of_words(score: Callable[[str, Sequence[str]], float]) -> Scorer:
    """A score that asks for the right answers alone."""
    return lambda output, doc: score(output, doc["outputs"])


def _any(share: Callable[[str, Sequence[str]], float]) -> Scorer:
    """1 if any reference counts, else 0; of `string_match` it is RULER's `string_match_part`."""
    return lambda output, doc: float(share(output, doc["outputs"]) > 0)


def _of_first(output: str, doc: Mapping[str, Any]) -> float:
    return first_answer(output, doc["outputs"], doc["kind"])


#: For each kind of answer its metrics, RULER's own first.
SCORERS: dict[str, dict[str, Scorer]] = {
    kind: {"string_match": _of_words(string_match), "strict_match": strict}
    for kind, strict in (
        ("number", _of_first),
        ("uuid", _of_first),
        ("numbers", exact_set),
        ("variables", exact_set),
        ("words", _of_words(whole_words)),
        ("coded words", exact_set),
    )
}
SCORERS["answer"] = {
    "string_match": _any(string_match),
    "strict_match": _any(whole_words),
    "exact_match": _of_words(exact_match),
    "f1": _of_words(f1),
}


def score(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """All scores of one document, in the form lm-eval asks for.

    Args:
        doc: A document with `outputs` (the right answers), `kind` and `input`.
        results: What the model wrote; only the first is scored, since generation is greedy.
    """
    output = cleaned(results[0])
    return {name: scorer(output, doc) for name, scorer in SCORERS[doc["kind"]].items()}


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Both scores of one document of the ruler_mk tasks; otherwise like `score`."""
    output, references = results[0], doc["outputs"]
    return {
        "string_match": string_match(output, references),
        "first_answer": first_answer(output, references, doc["kind"]),
    }
