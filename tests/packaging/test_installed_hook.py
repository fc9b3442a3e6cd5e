"""lm-eval finds models and tasks in every kind of installation, and only when it should."""

import json

import pytest

MODELS = ["iha-hf", "iha-vllm"]
# lm-eval's own task folder has some sixteen thousand files, which take it 15 s to read.
FAST_INDEX = """
from pathlib import Path
from lm_eval.tasks import _index
builtin, read = Path(_index.__file__).parent, _index.TaskIndex._iter_yaml_files
_index.TaskIndex._iter_yaml_files = staticmethod(lambda r: () if r == builtin else read(r))
"""
LOOK_UP = (
    FAST_INDEX
    + """
import json, lm_eval.models
from lm_eval.api.registry import model_registry
from lm_eval.tasks import TaskManager
tasks = TaskManager().all_tasks
print(json.dumps([sorted(n for n in model_registry if n.startswith('iha-')), 'ruler_mk' in tasks]))
"""
)


def test_models_and_tasks_are_known(hooked):
    assert json.loads(hooked.check("python", "-c", LOOK_UP)) == [MODELS, True]


def test_model_classes_can_be_loaded(hooked):
    code = """
from lm_eval.api.registry import get_model
import lm_eval.models
print(get_model('iha-vllm').__name__, get_model('iha-hf').__name__)
"""
    assert hooked.check("python", "-c", code).split()[-2:] == ["IHAVLLM", "IHAHF"]


@pytest.mark.long
def test_the_literal_command_lists_the_tasks(hooked):
    listed = hooked.check("lm_eval", "ls", "groups")
    assert "|ruler_mk" in listed.replace(" ", "")


@pytest.mark.parametrize(("value", "known"), [("1", []), ("yes", []), ("0", MODELS), ("", MODELS)])
def test_off_switch(hooked, value, known):
    printed = hooked.check("python", "-c", LOOK_UP, IHA_EVAL_NO_HOOK=value)
    assert json.loads(printed) == [known, bool(known)]


def test_register_does_without_the_hook(hooked):
    code = (
        "from iha_eval.lm_eval_plugin.register import register; register(); register()\n" + LOOK_UP
    )
    printed = hooked.check("python", "-c", code, IHA_EVAL_NO_HOOK="1")
    assert json.loads(printed) == [MODELS, True]


def test_iha_eval_run_does_without_the_hook(hooked, tmp_path):
    # A start-up of our own makes lm-eval's index small.
    (tmp_path / "sitecustomize.py").write_text(FAST_INDEX)
    variables = {"PYTHONPATH": str(tmp_path), "IHA_EVAL_NO_HOOK": "1"}
    assert "ruler_mk" not in hooked.check("lm_eval", "ls", "groups", **variables)
    assert "ruler_mk" in hooked.check("iha-eval", "run", "ls", "groups", **variables)
    assert "ruler_mk" in hooked.check(
        "python", "-m", "iha_eval", "run", "ls", "groups", **variables
    )


def test_include_path_has_the_last_word(hooked, tmp_path):
    (tmp_path / "mine.yaml").write_text("group: ruler_mk\ntask: []\nmetadata: {version: 99}\n")
    code = FAST_INDEX + (
        "from lm_eval.tasks import TaskManager\n"
        f"entry = TaskManager(include_path={str(tmp_path)!r}).task_index['ruler_mk']\n"
        "print(entry.yaml_path)"
    )
    assert hooked.check("python", "-c", code).strip() == str(tmp_path / "mine.yaml")


def test_an_lm_eval_that_reads_entry_points_keeps_its_own(hooked):
    code = """
from importlib.metadata import entry_points
from lm_eval.api.registry import model_registry
points = {p.name: p for p in entry_points(group='lm_eval.models')}
for name, point in points.items():
    model_registry.register(name, target=point)
import lm_eval.models
print(all(dict(model_registry.items())[name] is point for name, point in points.items()))
print(sorted(points))
print([name for name in lm_eval.models.MODEL_MAPPING if name in points])
"""
    done = hooked.run("python", "-c", code)
    assert done.stdout.splitlines() == ["True", str(MODELS), "[]"]
    assert done.stderr == ""


def test_a_mistake_ends_the_literal_command_in_one_line(hooked, tmp_path):
    (tmp_path / "mistake.py").write_text(
        "from iha_eval.errors import UserError\n"
        "def docs(**kwargs): raise UserError('length 1 is too short: use 4096 or more')\n"
    )
    (tmp_path / "mistake.yaml").write_text(
        "task: mistake\ncustom_dataset: !function mistake.docs\noutput_type: generate_until\n"
        "test_split: test\ndoc_to_text: q\ndoc_to_target: a\n"
    )
    (tmp_path / "sitecustomize.py").write_text(FAST_INDEX)
    command = ["--model", "dummy", "--tasks", "mistake", "--include_path", str(tmp_path)]
    for program in (["lm_eval"], ["python", "-m", "lm_eval"], ["iha-eval", "run"]):
        done = hooked.run(*program, *command, PYTHONPATH=str(tmp_path))
        assert done.returncode == 2, done.stderr
        assert done.stderr.splitlines()[-1] == "iha-eval: length 1 is too short: use 4096 or more"
        assert "Traceback" not in done.stderr


def test_interpreter_start_loads_nothing_foreign(hooked, record_property):
    code = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    off = set(json.loads(hooked.check("python", "-c", code, IHA_EVAL_NO_HOOK="1")))
    on = set(json.loads(hooked.check("python", "-c", code)))
    bare = set(json.loads(hooked.check("python", "-S", "-c", code)))
    assert on == off
    ours = {"iha_eval", "iha_eval.lm_eval_plugin", "iha_eval.lm_eval_plugin.startup"}
    assert {name for name in on - bare if name.startswith("iha_eval")} == ours
    assert not {name for name in on if name.split(".")[0] in ("torch", "lm_eval", "model_adapters")}
    code = (
        "import time, importlib, sys\n"
        "for n in [n for n in sys.modules if n.startswith('iha_eval')]: del sys.modules[n]\n"
        "t = time.perf_counter()\nfrom iha_eval.lm_eval_plugin.startup import install\ninstall()\n"
        "print((time.perf_counter() - t) * 1e3)"
    )
    record_property("milliseconds", float(hooked.check("python", "-c", code)))


@pytest.mark.parametrize("damage", ["gone", "broken"])
def test_a_damaged_project_never_disturbs_python(
    damage, tmp_path, shared_packages, source_tree, sdist, packaging
):
    environment = packaging.make_environment(tmp_path / "venv", "wheel", shared_packages)
    packaging.install(environment, source_tree, sdist)
    startup = environment.site / "iha_eval" / "lm_eval_plugin" / "startup.py"
    if damage == "gone":
        startup.unlink()
    else:
        startup.write_text("raise RuntimeError('boom')\n")
    done = environment.run("python", "-W", "error", "-c", "print('fine')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


def test_an_lm_eval_of_another_shape_still_imports(hooked):
    code = (
        "import lm_eval.api.registry as r\n"
        "def refuse(*args, **kwargs): raise RuntimeError('frozen')\n"
        "import iha_eval.lm_eval_plugin.register as ours\n"
        "ours.add_models = refuse\n"
        "import lm_eval.models; print('imported')"
    )
    done = hooked.run("python", "-c", code)
    assert (done.returncode, done.stdout) == (0, "imported\n")
    assert done.stderr.startswith("iha-eval could not extend lm_eval.models (RuntimeError: frozen)")
    assert "IHA_EVAL_NO_HOOK=1" in done.stderr
