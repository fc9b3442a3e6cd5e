"""What setup.cfg asks for is what is installed here."""

import configparser
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

CONFIG = configparser.ConfigParser()
CONFIG.read(Path(__file__).parents[2] / "setup.cfg")
LINES = [
    *CONFIG["options"]["install_requires"].split("\n"),
    *CONFIG["options.extras_require"]["dev"].split("\n"),
]
REQUIREMENTS = [Requirement(line) for line in LINES if line and line[0] not in "#i"]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_the_installed_release_is_in_the_range(requirement: Requirement) -> None:
    assert requirement.specifier.contains(version(requirement.name), prereleases=True)


def test_antlr_is_required_directly() -> None:
    """pip 23 does not understand the extra by which math-verify names the release it needs."""
    [antlr] = [one for one in REQUIREMENTS if one.name == "antlr4-python3-runtime"]
    assert str(antlr.specifier) == "==4.11.*"
