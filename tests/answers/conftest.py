"""What the tests of answers share: one comparer with real workers, and the folder of real data."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from iha_eval.answers.equivalence import Comparer
from iha_eval.answers.sympy_pool import Workers


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    workers.close()


@pytest.fixture(scope="session")
def comparer(workers: Workers) -> Comparer:
    return Comparer(workers.ask, workers.value)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    named = os.environ.get("IHA_EVAL_DATA")
    if not named:
        pytest.skip("needs GSM8K and MATH-500: set IHA_EVAL_DATA to the folder that holds them")
    return Path(named)
