"""A folder in which nights can be run without models."""

from pathlib import Path

import pytest
from fake_nights import FakeNights, quick_page


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNights:
    """A configuration with one task, and pages that are quick to make."""
    with quick_page(monkeypatch):
        return FakeNights(tmp_path)
