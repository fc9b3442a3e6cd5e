"""Whether Ray is there, and what a cluster has; for a real one see models/vllm/test_cluster.py."""

import subprocess
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from iha_eval.doctor import cluster
from iha_eval.doctor.finding import Finding, run
from iha_eval.doctor.machine import Gpu, Machine

Make = Callable[..., Machine]
INSTALLED = {"ray": "2.60.0"}
NAMED = {"RAY_ADDRESS": "10.0.0.1:6379"}


def finding(machine: Machine) -> Finding:
    (only,) = run(cluster.CHECKS, machine)
    return only


def test_without_ray_there_is_nothing_to_say(machine: Make) -> None:
    assert run(cluster.CHECKS, machine()) == []


def test_an_address_without_ray_is_a_warning(machine: Make) -> None:
    found = finding(machine(environ=NAMED))
    assert (found.status, found.remedy) == ("warning", "pip install 'iha-eval[cluster]'")


def test_without_an_address_this_machine_is_used(machine: Make) -> None:
    gpu = Gpu("NVIDIA H100", 80, 80, (9, 0))
    assert finding(machine(versions=INSTALLED, gpus=[gpu] * 8)).what == (
        "2.60.0, no RAY_ADDRESS: data_parallel_size=N runs up to 8 engines on this machine"
    )
    assert "runs engines on this machine" in finding(machine(versions=INSTALLED)).what


@pytest.mark.parametrize(
    ("code", "out", "err", "status", "what"),
    [
        (0, "noise\niha-eval: 3 nodes\n", "", "ok", "2.60.0, cluster at 10.0.0.1:6379: 3 nodes"),
        (2, "", "x\niha-eval: no cluster\n", "warning", "RAY_ADDRESS is 10.0.0.1:6379: no cluster"),
        (1, "", "", "warning", "it did not answer"),
    ],
)
def test_a_cluster_says_what_it_has(
    code: int,
    out: str,
    err: str,
    status: str,
    what: str,
    machine: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = SimpleNamespace(returncode=code, stdout=out, stderr=err)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    found = finding(machine(versions=INSTALLED, environ=NAMED))
    assert found.status == status
    assert what in found.what
    assert bool(found.remedy) == (status != "ok")


def test_a_cluster_that_does_not_answer_is_not_waited_for(
    machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(command: Any, timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", late)
    found = finding(machine(versions=INSTALLED, environ=NAMED))
    assert found.what.endswith("it did not answer in 90 s")
