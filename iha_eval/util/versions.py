"""Which release of a distribution is installed, if any.

For: version lines, the results JSON, and telling vLLM's builds apart, of which the one for CPUs is
a distribution of another name.
Not for: importing anything that is asked about.
"""

from importlib.metadata import PackageNotFoundError, version


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
