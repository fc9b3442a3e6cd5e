"""Fixtures of the adapters' tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], Path]:
    """Save a model and return its folder."""

    def save(model: Any) -> Path:
        folder = tmp_path / f"checkpoint-{len(list(tmp_path.iterdir()))}"
        model.save_pretrained(folder)
        return folder

    return save
