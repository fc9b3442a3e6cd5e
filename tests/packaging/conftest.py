"""Installs the checkout into fresh environments, by every way a user has, and runs things in them.

The heavy dependencies are shared: each environment sees links to what the running one has, less
this project, so that nothing found there can be mistaken for a freshly installed file.
"""

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IGNORED = shutil.ignore_patterns(
    ".*cache", ".git", ".venv*", "__pycache__", "*.egg-info", "build", "dist", "iha-eval-demo"
)


@dataclass(frozen=True)
class Environment:
    """A virtual environment; `kind` says how the project was installed into it."""

    folder: Path
    kind: str

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site(self) -> Path:
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        return self.folder / "lib" / version / "site-packages"

    def top_level(self) -> set[str]:
        """What lies in site-packages, less the link to the shared packages."""
        return {path.name for path in self.site.iterdir()} - {"shared.pth", "__pycache__"}

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, from a folder where nothing is to be imported."""
        program = self.folder / "bin" / command[0]
        return subprocess.run(
            [str(program), *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={**_clean_environ(), **variables},
        )

    def check(self, *command: str, **variables: str) -> str:
        """Run, require success, return what was printed."""
        done = self.run(*command, **variables)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def pip(self, *arguments: str) -> str:
        return self.check("python", "-m", "pip", *arguments)


def _clean_environ() -> dict[str, str]:
    ours = ("IHA_EVAL_NO_HOOK", "PYTHONPATH", "PYTHONHOME")
    return {name: value for name, value in os.environ.items() if name not in ours}


@pytest.fixture(scope="session")
def shared_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to all installed packages but this project."""
    folder = tmp_path_factory.mktemp("shared")
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        ours = "iha_eval" in path.name or path.name == "model_adapters"
        if not ours and path.suffix not in {".pth", ".start"}:
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="session")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves nothing behind in it."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("source") / "tree", ignore=IGNORED))


@pytest.fixture(scope="session")
def sdist(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "-o", str(folder)]
    subprocess.run([*command, str(source_tree)], check=True, capture_output=True)
    [archive] = folder.iterdir()
    return archive


def make_environment(folder: Path, kind: str, shared: Path) -> Environment:
    """An environment without the project."""
    venv.create(folder, with_pip=False)
    made = Environment(folder, kind)
    (made.site / "shared.pth").write_text(f"{shared}\n")
    # The console script of lm-eval, as pip would write it here.
    script = Path(sys.executable).with_name("lm_eval").read_text().split("\n", 1)[1]
    target = folder / "bin" / "lm_eval"
    target.write_text(f"#!{made.python}\n{script}")
    target.chmod(0o755)
    return made


def install(environment: Environment, source_tree: Path, sdist: Path) -> None:
    """Install the project, in the environment's way."""
    what = {
        "wheel": [str(source_tree)],
        "sdist": [str(sdist)],
        "editable": ["-e", str(source_tree)],
    }
    environment.pip("install", "--no-deps", "--no-build-isolation", *what[environment.kind])


@pytest.fixture(scope="session")
def environments(
    tmp_path_factory: pytest.TempPathFactory,
    shared_packages: Path,
    source_tree: Path,
    sdist: Path,
) -> Callable[[str], Environment]:
    """Kind of installation -> an environment with the project, made once; only look at it."""

    @functools.cache
    def make(kind: str) -> Environment:
        environment = make_environment(tmp_path_factory.mktemp(kind), kind, shared_packages)
        install(environment, source_tree, sdist)
        return environment

    return make


@pytest.fixture(params=["wheel", "sdist", "editable"])
def installed(
    request: pytest.FixtureRequest, environments: Callable[[str], Environment]
) -> Environment:
    """The project, installed in each way there is."""
    return environments(request.param)


@pytest.fixture(params=["wheel", pytest.param("editable", marks=pytest.mark.long)])
def hooked(
    request: pytest.FixtureRequest, environments: Callable[[str], Environment]
) -> Environment:
    """The same less the sdist, whose files are the wheel's."""
    return environments(request.param)


@pytest.fixture(scope="session")
def packaging() -> object:
    """This module's functions: test modules cannot import a conftest under importlib mode."""
    return sys.modules[__name__]
