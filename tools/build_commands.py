"""What building this package does beyond plain setuptools: start-up files and data folders.

For: `setup.cfg`, which names these classes under `cmdclass`. The work is a build sub-command of its
own and not a customized `build_py`, whose exceptions setuptools swallows in editable installs.
Not for: anything at run time; this folder is never installed.
"""

import shutil
from pathlib import Path
from typing import ClassVar

from setuptools import Command
from setuptools.command.build import build as _build

#: Stem of the start-up files; sorts after `__editable__*`, which must run first.
STARTUP_STEM = "iha_eval_startup"

#: The line `site` executes; swallows failures, so that no unrelated Python start is disturbed.
PTH_LINE = (
    "import sys; exec("
    '"try:\\n from iha_eval.lm_eval_plugin.startup import install\\n install()\\n'
    'except Exception:\\n pass")\n'
)

#: The same for Python 3.15 on (PEP 829), which ignores the `.pth` line when it finds this.
START_LINE = "iha_eval.lm_eval_plugin.startup:install\n"

#: Top-level folders of the checkout that install inside the package `iha_eval`.
DATA_FOLDERS = ("tasks", "reports")


class build(_build):  # noqa: N801 - the class name is the command's name in error messages
    """The usual build, plus `build_extras`."""

    sub_commands: ClassVar = [*_build.sub_commands, ("build_extras", None)]


class build_extras(Command):  # noqa: N801
    """Put the start-up files beside the packages, and the data folders inside `iha_eval`.

    An editable install needs the start-up files only: the code finds the data folders in the
    checkout.
    """

    description = "add start-up files and data folders"
    user_options: ClassVar[list[tuple[str, str, str]]] = []

    def initialize_options(self) -> None:
        """Declare what setuptools fills in."""
        self.build_lib: str | None = None
        self.editable_mode = False

    def finalize_options(self) -> None:
        """Take the target folder from `build_py`, as the packages do."""
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        """Write the files.

        Raises:
            FileNotFoundError: A data folder is missing from the source tree.
        """
        for name, text in self._startup_files().items():
            self.mkpath(str(Path(name).parent))
            Path(name).write_text(text, encoding="utf-8")
        for output, source in self.get_output_mapping().items():
            self.mkpath(str(Path(output).parent))
            shutil.copyfile(source, output)

    def get_outputs(self) -> list[str]:
        """All files this command writes."""
        return [*self._startup_files(), *self.get_output_mapping()]

    def get_output_mapping(self) -> dict[str, str]:
        """Built data file -> the checkout's file; empty in editable mode."""
        if self.editable_mode:
            return {}
        target = Path(str(self.build_lib), "iha_eval")
        return {str(target / path): path for path in self.get_source_files()}

    def get_source_files(self) -> list[str]:
        """The data folders' files, relative to the source tree."""
        files = []
        for folder in DATA_FOLDERS:
            if not Path(folder).is_dir():
                raise FileNotFoundError(f"the folder {folder}/ is missing from the source tree")
            files += [str(path) for path in sorted(Path(folder).rglob("*")) if _is_data(path)]
        return files

    def _startup_files(self) -> dict[str, str]:
        root = Path(self._site_packages(), STARTUP_STEM)
        return {f"{root}.pth": PTH_LINE, f"{root}.start": START_LINE}

    def _site_packages(self) -> str:
        """The folder whose content lands at the top of site-packages."""
        if not self.editable_mode:
            return str(self.build_lib)
        # Setuptools leaves build_lib out of an editable wheel; install_lib is the wheel's own root.
        return str(self.get_finalized_command("install").install_lib)


def _is_data(path: Path) -> bool:
    return path.is_file() and path.suffix not in {".pyc", ".pyo"}
