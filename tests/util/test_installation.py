"""Where the data folders are looked for."""

import pytest

from iha_eval.errors import UserError
from iha_eval.util import installation


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An empty folder that stands for the package."""
    folder = tmp_path / "site" / "iha_eval"
    folder.mkdir(parents=True)
    monkeypatch.setattr(installation, "PACKAGE", folder)
    return folder


@pytest.mark.parametrize(
    ("find", "name"), [(installation.tasks_dir, "tasks"), (installation.reports_dir, "reports")]
)
def test_installed_folder_comes_first(package, find, name):
    for parent in (package, package.parent):
        (parent / name).mkdir()
    (package.parent / "setup.cfg").touch()
    assert find() == package / name


def test_a_checkout_has_it_beside_the_package(package):
    (package.parent / "tasks").mkdir()
    (package.parent / "setup.cfg").touch()
    assert installation.tasks_dir() == package.parent / "tasks"


def test_a_folder_of_somebody_else_beside_the_package_is_not_ours(package):
    (package.parent / "tasks").mkdir()
    with pytest.raises(UserError, match=r"'tasks' is missing .*: reinstall iha-eval"):
        installation.tasks_dir()


def test_this_checkout_has_both():
    assert (installation.tasks_dir() / "ruler_mk").is_dir()
    assert installation.reports_dir().is_dir()
