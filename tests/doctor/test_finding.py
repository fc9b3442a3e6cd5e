"""A check that fails is a finding, not a traceback."""

from collections.abc import Callable, Iterator

from iha_eval.doctor.finding import OK, Finding, run
from iha_eval.doctor.machine import Machine
from iha_eval.errors import UserError


def sound(machine: Machine) -> Iterator[Finding]:
    yield Finding("thing", OK, "there")


def crashes_midway(machine: Machine) -> Iterator[Finding]:
    yield Finding("first", OK, "there")
    raise KeyError("second\nline")


def refuses(machine: Machine) -> Iterator[Finding]:
    raise UserError("the folder x is no folder: name another.")
    yield


def test_findings_come_in_order_and_crashes_among_them(machine: Callable[..., Machine]) -> None:
    found = run([crashes_midway, sound, refuses], machine())
    assert [(one.name, one.status) for one in found] == [
        ("crashes midway", "warning"),
        ("thing", "ok"),
        ("refuses", "problem"),
    ]
    assert found[0].what == "this check failed itself: KeyError: 'second\\nline'"
    assert "report it" in found[0].remedy
    assert found[2].what == "the folder x is no folder: name another."
