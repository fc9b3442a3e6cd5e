"""Since when the IHA model has been worse than its baseline, and whether that was accepted.

For: telling what is new tonight from what stood before, so that a night fails on news alone.
Not for: finding out whether it is worse (`regressions.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iha_eval.nightly.history import Line


@dataclass(frozen=True)
class Standing:
    """A measure on which the IHA model was worse than the baseline when it was last judged.

    Attributes:
        since: the first night of all those, without one that was not worse between them.
        last: the newest of them.
        accepted: whether one of them was accepted.
        told: what the newest one found: points and p-value.
        asked: documents and settings, the same on all of them.
        day: date of the first of them.
    """

    since: str
    last: str
    accepted: bool
    told: Mapping[str, Any]
    asked: tuple[Any, Any]
    day: str

    def covers(self, asked: tuple[Any, Any], day: str) -> bool:
        """Whether a drop on another night is not news any more.

        Not for other questions or settings, and on the day on which it is new only once accepted,
        so that a night started again does not look better than the first.

        Args:
            asked: documents and settings of that night.
            day: its date.
        """
        return asked == self.asked and (self.accepted or day != self.day)

    @property
    def sentence(self) -> str:
        """What stands, without the measure's name."""
        return (
            f"{abs(self.told['points']):.1f} points worse than the baseline "
            f"(p = {self.told['p_corrected']:.2g}), as on every night judged since {self.since}"
            + (", accepted" if self.accepted else "")
        )


def standing(nights: Mapping[str, Sequence[Line]]) -> dict[tuple[str, str], Standing]:
    """What stands after the last of some nights, by task and metric.

    Other questions or settings are another test, on which nothing stood before.

    Args:
        nights: the lines of each night, oldest first.
    """
    found: dict[tuple[str, str], Standing] = {}
    for night, lines in nights.items():
        for line in lines:
            told = line.get("baseline") if line["model"] == "iha" else None
            if not told:
                # Not judged: nothing is known to have changed.
                continue
            key = line["task"], line["metric"]
            asked = line.get("part_of") or line.get("documents"), line.get("settings")
            before = found.pop(key, None)
            if before is not None and before.asked != asked:
                before = None
            if told["worse"]:
                accepted = bool(line.get("accepted")) or (before is not None and before.accepted)
                since = before.since if before else night
                day = before.day if before else str(line["date"])[:10]
                found[key] = Standing(since, night, accepted, told, asked, day)
    return found
