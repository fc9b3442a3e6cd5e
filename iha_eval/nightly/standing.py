"""Since when the IHA model has been worse than its baseline, and whether that was accepted.

For: telling what is new tonight from what stood before, so that a night fails on news alone.
Not for: finding out whether it is worse (`rules.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iha_eval.nightly.store import Line


@dataclass(frozen=True)
class Standing:
    """A measure on which the IHA model was worse than the baseline when it was last judged.

    Attributes:
        since: the first night of all those, without one that was not worse between them.
        last: the newest of them.
        accepted: whether one of them was accepted.
        told: what the newest one found: points and p-value.
    """

    since: str
    last: str
    accepted: bool
    told: Mapping[str, Any]

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
            before = found.pop(key, None)
            if told["worse"]:
                accepted = bool(line.get("accepted")) or (before is not None and before.accepted)
                since = before.since if before else night
                found[key] = Standing(since, night, accepted, told)
    return found
