import subprocess
import sys

import pytest

from iha_eval import ruler
from iha_eval.ruler.task import RulerTask


def test_every_public_name_is_there() -> None:
    for name in ruler.__all__:
        assert getattr(ruler, name) is not None
    assert ruler.RulerTask is RulerTask


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = ruler.nothing


def test_importing_the_package_does_not_import_lm_eval() -> None:
    code = "import sys, iha_eval.ruler; print(sorted({'lm_eval', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
