"""What all tests share: the order of files, and visible skips of what needs a GPU or long."""

import os
from collections import Counter

import pytest


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

    Begun last, a file with many slow tests would keep one core busy alone.
    """
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (item.path in slow, -slow[item.path]))
