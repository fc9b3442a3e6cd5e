"""What all tests share: order of files, visible skips of what needs a GPU or long, a browser."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("long") is not None and not os.environ.get("IHA_EVAL_LONG"):
        pytest.skip("takes minutes: make test-long")
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick files first, so that most mistakes show early; of the slow ones the longest first.

    Begun last, a file with many slow tests would keep one core busy alone. `slow(80)` says that a
    test takes 80 seconds, `slow` some 10.
    """
    slow: Counter[Path] = Counter()
    for item in items:
        if mark := item.get_closest_marker("slow"):
            slow[item.path] += mark.args[0] if mark.args else 10
    items.sort(key=lambda item: (item.path in slow, -slow[item.path]))


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A browser for the pages that we write."""
    if CHROMIUM is None:
        pytest.skip("chromium is not on PATH: install Debian's package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A container's root user has no sandbox.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()
