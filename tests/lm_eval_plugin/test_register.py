"""Registration, with stand-ins for lm-eval's modules; the real ones are met in tests/packaging."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from lm_eval.api import registry

from iha_eval.errors import UserError
from iha_eval.lm_eval_plugin import register
from iha_eval.util.installation import tasks_dir


@pytest.fixture
def models(monkeypatch):
    """An empty registry, and what stands for `lm_eval.models`."""
    monkeypatch.setattr(registry, "model_registry", registry.Registry("model"))
    return SimpleNamespace(MODEL_MAPPING={})


def test_models_are_added_as_import_paths(models):
    register.add_models(models)
    assert dict(registry.model_registry.items()) == register.MODELS == models.MODEL_MAPPING


def test_models_may_be_added_twice(models):
    register.add_models(models)
    register.add_models(models)
    assert dict(registry.model_registry.items()) == register.MODELS


def test_a_name_that_is_taken_is_left_to_its_owner(models):
    registry.model_registry.register("iha-vllm", target="somebody.else:Model")
    register.add_models(models)
    assert dict(registry.model_registry.items())["iha-vllm"] == "somebody.else:Model"
    assert "iha-vllm" not in models.MODEL_MAPPING
    assert "iha-hf" in models.MODEL_MAPPING


def fake_index(folder):
    """What stands for `lm_eval.tasks._index`: an index of the paths it was asked to read."""

    class TaskIndex:
        @staticmethod
        def build(paths, *, resolve_includes=True):
            return {"paths": paths, "resolve_includes": resolve_includes}

    return SimpleNamespace(TaskIndex=TaskIndex, __file__=str(folder / "_index.py"))


def test_our_folder_is_read_after_the_builtin_one(tmp_path):
    index = fake_index(tmp_path)
    register.add_tasks(index)
    built = index.TaskIndex().build([tmp_path, Path("/mine")], resolve_includes=False)
    assert built["paths"] == [tmp_path, tasks_dir(), Path("/mine")]
    assert built["resolve_includes"] is False


def test_adding_tasks_twice_reads_the_folder_once(tmp_path):
    index = fake_index(tmp_path)
    register.add_tasks(index)
    register.add_tasks(index)
    assert index.TaskIndex.build([tmp_path])["paths"] == [tmp_path, tasks_dir()]


A, B, OURS, LM_EVAL = (Path("/x") / name for name in ("a", "b", "ours", "lm_eval"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([LM_EVAL], [LM_EVAL, OURS], id="alone"),
        pytest.param([LM_EVAL, A, B], [LM_EVAL, OURS, A, B], id="before include_path"),
        pytest.param([A, LM_EVAL], [A, LM_EVAL, OURS], id="after the builtin one"),
        pytest.param([A], [A], id="builtin left out"),
        pytest.param([], [], id="nothing"),
        pytest.param([LM_EVAL, A, OURS], [LM_EVAL, A, OURS], id="named by the user"),
        pytest.param([LM_EVAL / "y" / ".."], [LM_EVAL / "y" / "..", OURS], id="spelled otherwise"),
    ],
)
def test_order_of_folders(given, expected):
    assert register.insert_after(given, LM_EVAL, OURS) == expected


def test_an_older_lm_eval_is_told_in_a_sentence_and_not_imported(monkeypatch):
    monkeypatch.setattr(register, "installed_version", lambda *_: "0.4.9")
    monkeypatch.setitem(sys.modules, "lm_eval.models", None)
    with pytest.raises(UserError) as told:
        register.register()
    assert str(told.value) == (
        "lm-eval 0.4.9 is installed, and iha-eval works with 0.4.13 and later: "
        "pip install 'lm-eval>=0.4.13,<0.5'."
    )


def test_another_release_of_lm_eval_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval._cli.harness", None)
    with pytest.raises(UserError, match=r"lm-eval .* is installed, .* with 0\.4\.13"):
        register.register()
