"""What the package offers, and that it costs nothing until it is asked for."""

import subprocess
import sys

import pytest

from iha_eval import reasoning
from iha_eval.reasoning.task import MathTask


def test_the_task_is_there_when_asked_for() -> None:
    assert reasoning.MathTask is MathTask
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        reasoning.Nothing  # noqa: B018


def test_importing_data_and_reasoning_imports_neither_lm_eval_nor_datasets() -> None:
    code = (
        "import sys, iha_eval.data, iha_eval.reasoning.settings\n"
        "print(sorted({'lm_eval', 'datasets', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
