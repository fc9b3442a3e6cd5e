"""What a check finds, and how checks are run so that a broken one is a finding too.

For: every module of this package. Not for: showing findings (`iha_eval.cli.doctor`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from iha_eval.doctor.machine import Machine
from iha_eval.errors import UserError

OK, NOTE, WARNING, PROBLEM = "ok", "note", "warning", "problem"
#: From best to worst: as it should be; worth knowing; costs something; something cannot work.
STATUSES = (OK, NOTE, WARNING, PROBLEM)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: The thing.
        status: One of `STATUSES`.
        what: What was found.
        remedy: What to do about it; empty where there is nothing to do.
    """

    name: str
    status: str
    what: str
    remedy: str = ""


#: A check yields any number of findings; none where it does not apply.
Check = Callable[[Machine], Iterable[Finding]]


def run(checks: Sequence[Check], machine: Machine) -> list[Finding]:
    """The findings of all checks, in order; a check that fails is a finding itself.

    Args:
        checks: What to look at.
        machine: Where to look.
    """
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += list(check(machine))
        except UserError as error:
            findings.append(Finding(_title(check), PROBLEM, str(error)))
        except Exception as error:
            text = " ".join(str(error).split())
            findings.append(
                Finding(
                    _title(check),
                    WARNING,
                    f"this check failed itself: {type(error).__name__}: {text}",
                    "the rest of the table holds; please report it",
                )
            )
    return findings


def _title(check: Check) -> str:
    return getattr(check, "__name__", "check").replace("_", " ")
