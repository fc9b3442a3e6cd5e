"""Folders in which nights can be run, or judged, without models."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_nights import FakeNights, quick_page
from judged_nights import History

from iha_eval.nightly.config import Rules


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNights:
    """A configuration with one task, and pages that are quick to make."""
    with quick_page(monkeypatch):
        return FakeNights(tmp_path)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Callable[..., History]]:
    made: list[History] = []

    def make(**rules: Any) -> History:
        made.append(History(tmp_path / str(len(made)), Rules(**rules)))
        return made[-1]

    return make
