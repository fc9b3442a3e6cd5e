"""`iha-eval doctor`: what is installed, what would be chosen, which known trap is set.

For: before the first run, and for bug reports. Not for: mending; the table says how.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from iha_eval.doctor.finding import Finding

SUMMARY = "doctor [CHECKPOINT]: look for everything known to go wrong, and say how to mend it"
STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "bold red"}


def main(arguments: Sequence[str]) -> int:
    """Look at everything.

    Returns:
        1 if something cannot work as it is, else 0.
    """
    options = _parser().parse_args(arguments)
    # Not needed for the help of `iha-eval`.
    from iha_eval.doctor import (
        cluster,
        data,
        hook,
        named,
        packages,
        resources,
        serving,
        variables,
    )
    from iha_eval.doctor.finding import PROBLEM, STATUSES, run
    from iha_eval.doctor.machine import Machine
    from iha_eval.util.terminal import CleanConsole

    groups = (packages, hook, serving, resources, cluster, variables, data, named)
    checks = [check for group in groups for check in group.CHECKS]
    findings = run(checks, Machine(checkpoint=options.checkpoint))
    counts = {status: sum(finding.status == status for finding in findings) for status in STATUSES}
    sound = not counts[PROBLEM]
    if options.json:
        print(
            json.dumps(
                {"ok": sound, "findings": [asdict(finding) for finding in findings]}, indent=2
            )
        )
    else:
        console = CleanConsole()
        console.print(table(findings))
        summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        console.print(summary, highlight=False)
    return 0 if sound else 1


def table(findings: "Sequence[Finding]") -> "Table":
    """Lay the findings out, a row each."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=SIMPLE_HEAD)
    for name in ("", "thing", "found"):
        shown.add_column(name, overflow="fold")
    for finding in findings:
        style = STYLES[finding.status]
        what = escape(finding.what)
        if finding.remedy:
            what += f"\n[bold]→[/] {escape(finding.remedy)}"
        shown.add_row(f"[{style}]{finding.status}[/]", escape(finding.name), what)
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iha-eval doctor",
        description="Look at packages, hook, backend, device, data and settings; nothing is "
        "changed, and the network is not asked. Exit code 1 if something cannot work.",
    )
    parser.add_argument(
        "checkpoint",
        nargs="?",
        metavar="CHECKPOINT",
        help="a checkpoint folder, or embedded-iha, to look at too",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser
