"""What lies where after each kind of installation, and that nothing stays after removal."""

import json
import zipfile
from pathlib import Path

import pytest

DIST_INFO = "iha_eval-0.1.0.dist-info"
STARTUP = {"iha_eval_startup.pth", "iha_eval_startup.start"}
COPIED = {"iha_eval", "model_adapters", DIST_INFO, *STARTUP}
EDITABLE = {
    "__editable__.iha_eval-0.1.0.pth",
    "__editable___iha_eval_0_1_0_finder.py",
    DIST_INFO,
    *STARTUP,
}
TOP_LEVEL = {"wheel": COPIED, "sdist": COPIED, "editable": EDITABLE}


def files_below(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_nothing_else_lands_in_site_packages(installed):
    assert installed.top_level() == TOP_LEVEL[installed.kind]


@pytest.mark.parametrize("name", ["tasks", "tests", "reports", "benchmarks", "tools", "recipes"])
def test_no_generic_name_becomes_importable(installed, source_tree, name):
    # Some of the shared packages are careless with such names; only what is ours counts.
    code = f"import importlib.util as u; print(u.find_spec({name!r}))"
    found = installed.check("python", "-c", code)
    assert str(installed.site) not in found
    assert str(source_tree) not in found


def test_data_folders_are_found_where_they_were_installed(installed, source_tree):
    code = (
        "from iha_eval.util import installation as l;"
        "import json; print(json.dumps([str(l.tasks_dir()), str(l.reports_dir())]))"
    )
    tasks, reports = map(Path, json.loads(installed.check("python", "-c", code)))
    base = source_tree if installed.kind == "editable" else installed.site / "iha_eval"
    assert (tasks, reports) == (base / "tasks", base / "reports")
    assert files_below(tasks) == files_below(source_tree / "tasks") != set()
    assert files_below(reports) == files_below(source_tree / "reports") != set()


def test_every_file_of_the_packages_is_installed(installed, source_tree):
    if installed.kind == "editable":
        code = "import iha_eval, model_adapters; print(iha_eval.__file__, model_adapters.__file__)"
        expected = [str(source_tree / p / "__init__.py") for p in ("iha_eval", "model_adapters")]
        assert installed.check("python", "-c", code).split() == expected
        return
    for package in ("iha_eval", "model_adapters"):
        there = files_below(installed.site / package)
        data = {name for name in there if name.startswith(("tasks/", "reports/"))}
        assert there - data == files_below(source_tree / package)


def test_entry_points(installed):
    code = (
        "import json; from importlib.metadata import distribution as d;"
        "print(json.dumps([[e.group, e.name, e.value] for e in d('iha-eval').entry_points]))"
    )
    found = {tuple(row) for row in json.loads(installed.check("python", "-c", code))}
    assert found == {
        ("console_scripts", "iha-eval", "iha_eval.cli:main"),
        ("lm_eval.models", "iha-vllm", "iha_eval.models.vllm.model:IHAVLLM"),
        ("lm_eval.models", "iha-hf", "iha_eval.models.hf.model:IHAHF"),
        ("vllm.general_plugins", "iha", "model_adapters.vllm.plugin:register"),
    }


def test_entry_points_and_hook_name_the_same_models(installed):
    code = (
        "from importlib.metadata import entry_points as e\n"
        "from iha_eval.lm_eval_plugin import register as r\n"
        "print({p.name: p.value for p in e(group='lm_eval.models')} == r.MODELS)"
    )
    assert installed.check("python", "-c", code).strip() == "True"


def test_startup_files_run_after_the_editable_finder(installed):
    names = sorted(path.name for path in installed.site.glob("*.pth"))
    editable = [name for name in names if name.startswith("__editable__")]
    assert len(editable) == (installed.kind == "editable")
    assert all(names.index(name) < names.index("iha_eval_startup.pth") for name in editable)


def test_start_file_names_a_callable_the_way_pep_829_resolves_it(installed):
    entry = (installed.site / "iha_eval_startup.start").read_text().strip()
    code = f"import pkgutil; print(callable(pkgutil.resolve_name({entry!r})))"
    assert installed.check("python", "-S", "-c", _with_site(installed, code)).strip() == "True"


def _with_site(installed, code: str) -> str:
    # -S keeps the hook out; the paths that site would have added are added by hand.
    finder = "__editable___iha_eval_0_1_0_finder"
    lines = [f"import sys; sys.path.append({str(installed.site)!r})"]
    if installed.kind == "editable":
        lines.append(f"import {finder}; {finder}.install()")
    return "\n".join([*lines, code])


def test_license_and_version_are_in_the_metadata(installed):
    metadata = (installed.site / DIST_INFO / "METADATA").read_text()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Version: 0.1.0" in metadata
    assert (installed.site / DIST_INFO / "licenses" / "LICENSE").is_file()


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_removal_leaves_nothing(kind, tmp_path, shared_packages, source_tree, sdist, packaging):
    environment = packaging.make_environment(tmp_path / "venv", kind, shared_packages)
    scripts = files_below(tmp_path / "venv" / "bin")
    assert environment.top_level() == set()
    packaging.install(environment, source_tree, sdist)
    assert environment.top_level() == TOP_LEVEL[kind]
    environment.pip("uninstall", "-y", "iha-eval")
    assert environment.top_level() == set()
    assert files_below(tmp_path / "venv" / "bin") == scripts


def test_a_missing_data_folder_stops_the_build(tmp_path, shared_packages, source_tree, packaging):
    import shutil

    broken = Path(shutil.copytree(source_tree, tmp_path / "tree", ignore=packaging.IGNORED))
    shutil.rmtree(broken / "tasks")
    environment = packaging.make_environment(tmp_path / "venv", "wheel", shared_packages)
    done = environment.run(
        "python", "-m", "pip", "install", "--no-deps", "--no-build-isolation", str(broken)
    )
    assert done.returncode != 0
    assert "the folder tasks/ is missing" in done.stdout + done.stderr


def test_sdist_carries_what_its_own_tests_need(sdist):
    import tarfile

    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    needed = {"setup.cfg", "pyproject.toml", "Makefile", "tools/build_commands.py", "LICENSE"}
    assert needed | {"tests/packaging/test_installed_files.py", "ruff.toml"} <= names
    assert not any("__pycache__" in name or zipfile.is_zipfile(name) for name in names)
