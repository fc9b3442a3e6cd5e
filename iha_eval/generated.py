"""What our model classes hand to lm-eval as an answer: its text, and whether the limit cut it.

For: tasks that report how many answers ran into their generation budget; lm-eval itself passes on
nothing but strings. Not for: answers of other model classes, which are plain strings: whether those
were cut is not known.
"""

from collections.abc import Sequence


class Generated(str):
    """An answer's text that remembers how it ended.

    Attributes:
        cut: True where the generation budget ended it, not a stop string or an end token; None
            where that is not known.
    """

    __slots__ = ("cut",)

    cut: bool | None

    # lm-eval makes texts of its own of the type that it finds an answer to have.
    def __new__(cls, text: object = "", *, cut: bool | None = None) -> "Generated":
        """The text itself, to everything that knows nothing of `cut`."""
        made = super().__new__(cls, text)
        made.cut = cut
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, bool | None]]:
        """For copies and pickles, which lm-eval's cache of answers makes."""
        return (str(self),), {"cut": self.cut}


def share_cut(answers: Sequence[str]) -> float | None:
    """The share of answers that their budget cut, 0 to 1; None if any of them does not tell."""
    told = [getattr(answer, "cut", None) for answer in answers]
    known = [cut for cut in told if cut is not None]
    return sum(known) / len(known) if known and len(known) == len(told) else None
