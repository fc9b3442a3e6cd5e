"""Runs for the tests of comparisons."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from lm_eval_runs import FakeTask, write_run

from iha_eval.compare.inputs.pairing import Pairing, pair
from iha_eval.compare.inputs.runs import load_run
from iha_eval.compare.report import build_report

Tasks = Mapping[str, FakeTask]


@pytest.fixture
def runs(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Writes both runs of a comparison; returns their results files."""

    def make(iha: Tasks, baseline: Tasks, **baseline_options: Any) -> tuple[Path, Path]:
        return write_run(tmp_path / "iha", iha), write_run(
            tmp_path / "baseline", baseline, **baseline_options
        )

    return make


@pytest.fixture
def paired(runs: Callable[..., tuple[Path, Path]]) -> Callable[..., Pairing]:
    """Writes two runs and pairs them."""

    def make(iha: Tasks, baseline: Tasks, *, unpaired: bool = False, **options: Any) -> Pairing:
        ours, theirs = runs(iha, baseline, **options)
        return pair(load_run(ours), load_run(theirs), unpaired=unpaired)

    return make


@pytest.fixture
def report(runs: Callable[..., tuple[Path, Path]]) -> Callable[..., dict[str, Any]]:
    """Writes two runs and compares them."""

    def make(iha: Tasks, baseline: Tasks, **options: Any) -> dict[str, Any]:
        ours, theirs = runs(iha, baseline)
        return build_report(ours, theirs, **options)

    return make
