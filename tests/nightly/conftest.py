"""Folders in which nights can be run, or judged, without models."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_nights import FakeNights, quick_page
from judged_nights import JudgedNights

from iha_eval.nightly.config import Rules


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNights:
    """A configuration with one task, and pages that are quick to make."""
    with quick_page(monkeypatch):
        return FakeNights(tmp_path)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Callable[..., JudgedNights]]:
    made: list[JudgedNights] = []

    def make(**rules: Any) -> JudgedNights:
        made.append(JudgedNights(tmp_path / str(len(made)), Rules(**rules)))
        return made[-1]

    return make
