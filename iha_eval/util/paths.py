"""Where the project's own data folders lie, in an installed package and in a checkout.

For: `tasks/` and `reports/`, which install inside the package and stand beside it in a checkout.
Not for: folders of the user (caches, outputs, checkpoints).
"""

from pathlib import Path

from iha_eval.errors import UserError

#: The folder of the package `iha_eval`.
PACKAGE = Path(__file__).resolve().parent.parent


def tasks_dir() -> Path:
    """The folder with the task YAML files.

    Raises:
        UserError: The folder is missing from the installation.
    """
    return _data_dir("tasks")


def reports_dir() -> Path:
    """The folder with report templates and samples.

    Raises:
        UserError: The folder is missing from the installation.
    """
    return _data_dir("reports")


def _data_dir(name: str) -> Path:
    installed = PACKAGE / name
    if installed.is_dir():
        return installed
    checkout = PACKAGE.parent
    # Beside an installed package a folder of this name would be somebody else's.
    if (checkout / "setup.cfg").is_file() and (checkout / name).is_dir():
        return checkout / name
    raise UserError(
        f"iha-eval's folder {name!r} is missing from the installation at {PACKAGE}:"
        " reinstall iha-eval"
    )
