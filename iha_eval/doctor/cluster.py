"""What several engines would run on: a Ray cluster, or this machine alone.

For: `data_parallel_size`. A cluster is asked in a process of its own: one that
does not answer keeps whoever joins it waiting. Not for: starting an engine.
"""

import subprocess
from collections.abc import Iterator

from iha_eval.doctor.finding import OK, WARNING, Finding
from iha_eval.doctor.machine import Machine
from iha_eval.util.process import environment, python

ADDRESS = "RAY_ADDRESS"
# Seconds that a cluster may take to answer.
SECONDS = 90.0
# Before what is said of it, also where `exit_on_user_error` says it.
START = "iha-eval: "


def cluster(machine: Machine) -> Iterator[Finding]:
    """Ray, and what it has for engines; nothing where it is neither installed nor asked for."""
    release, address = machine.version("ray"), machine.environ.get(ADDRESS)
    if release is None and address is None:
        return
    if release is None:
        yield Finding(
            "Ray",
            WARNING,
            f"{ADDRESS} is {address}, but Ray is not installed",
            "pip install 'iha-eval[cluster]'",
        )
    elif not address:
        most = f"up to {len(machine.gpus)} " if machine.gpus else ""
        yield Finding(
            "Ray",
            OK,
            f"{release}, no {ADDRESS}: data_parallel_size=N runs {most}engines on this machine",
        )
    else:
        yield _ask(release, address)


def _ask(release: str, address: str) -> Finding:
    try:
        done = subprocess.run(
            python("iha_eval.doctor.cluster"),
            env=environment({ADDRESS: address}),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        what, well = f"it did not answer in {SECONDS:.0f} s", False
    else:
        well = done.returncode == 0
        # Ray writes lines of its own.
        lines = [line for line in (done.stdout + done.stderr).splitlines() if START in line]
        what = lines[-1].partition(START)[2] if lines else "it did not answer"
    if well:
        return Finding("Ray", OK, f"{release}, cluster at {address}: {what}")
    return Finding(
        "Ray",
        WARNING,
        f"{release}, {ADDRESS} is {address}: {what}",
        f"start a cluster there, or unset {ADDRESS} to use this machine alone",
    )


CHECKS = (cluster,)

if __name__ == "__main__":
    from iha_eval.errors import exit_on_user_error
    from iha_eval.models.vllm.cluster import describe

    print(f"{START}{exit_on_user_error(describe)}")  # noqa: T201
