"""Nights that are judged and recorded without runs, from made-up measures.

For: tests of the rules. Not for: tests of what is measured, or of whole nights (fake_nights.py).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from iha_eval.nightly.comparisons import Check
from iha_eval.nightly.config import Rules
from iha_eval.nightly.history import History, HistoryEntry, score_key
from iha_eval.nightly.measures import Measure
from iha_eval.nightly.record import judged
from iha_eval.nightly.regressions import NightVerdict, judge
from iha_eval.statistics import level

START = datetime(2026, 3, 1, 2, tzinfo=UTC)


def measure(
    scores: Sequence[float | None],
    task: str = "t",
    *,
    documents: str = "d",
    settings: str = "s",
    **changes: Any,
) -> Measure:
    """One whose questions are named by `documents`, and whose settings by `settings`."""
    fields = {"higher": True, "watched": True, "asked": {"style": settings}, **changes}
    fields.setdefault("questions", tuple(f"{documents}{i}" for i in range(len(scores))))
    sha256s = {"documents": documents, "settings": settings}
    return Measure(task, "m", tuple(scores), **sha256s, **fields)


class JudgedNights:
    """Nights that are judged and recorded one after the other."""

    def __init__(self, folder: Path, rules: Rules) -> None:
        self.history, self.rules, self.count, self.begun = History(folder), rules, 0, START
        self.fingerprints: dict[str, str | None] = {"iha": "f", "baseline": "g"}

    def night(
        self, iha: Sequence[Measure], baseline: Sequence[Measure] = (), days: int = 1
    ) -> NightVerdict:
        """Judge and record a night that begins so many days after the one before."""
        self.count += 1
        self.begun += timedelta(days=days, seconds=1)
        date = self.begun.isoformat()
        entries = self.history.read()
        night = f"n{self.count}"
        measures = {"iha": iha, "baseline": baseline}
        verdict = judge(self.rules, measures, entries, self.history, night, date, self.fingerprints)
        lines = []
        for model, one in [(m, one) for m, found in measures.items() for one in found]:
            found = level(one.scores)
            lines.append(
                HistoryEntry(
                    date,
                    model,
                    one.task,
                    "m",
                    mean=found.mean,
                    se=found.error,
                    higher_is_better=one.higher,
                    documents=one.documents,
                    settings=one.settings,
                    room=one.room,
                    watched=True,
                    fingerprint=self.fingerprints[model],
                    threshold=verdict.alarm,
                    **judged(model, one.key, verdict),
                )
            )
            self.history.keep(one.documents, one.questions)
            self.history.keep(one.settings, one.asked)
        scores = {
            score_key(model, one.task, "m"): one.scores
            for model, found in measures.items()
            for one in found
        }
        self.history.record(f"n{self.count}", lines, scores)
        return verdict


GOOD, BAD = [1.0] * 60 + [0.0] * 40, [1.0] * 40 + [0.0] * 60


def only(verdict: NightVerdict) -> Check:
    [check] = verdict.checks
    return check
