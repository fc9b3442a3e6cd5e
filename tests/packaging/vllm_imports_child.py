"""Imports vLLM's engine where, to vLLM, only what the parts for a GPU machine bring is installed.

Prints what vLLM asked for and could not do without. Run by `test_gpu_bundle.py`:

    python vllm_imports_child.py REQUIREMENT ...
"""

import importlib
import importlib.abc
import importlib.metadata
import re
import sys
from collections.abc import Sequence
from types import FrameType

from packaging.requirements import Requirement

# What the image of such a machine has.
IMAGE = ("torch", "transformers")
ENGINE = (
    "vllm.entrypoints.llm",
    "vllm.v1.engine.core",
    "vllm.v1.worker.gpu_worker",
    "vllm.v1.worker.gpu_model_runner",
    "vllm.v1.worker.gpu.model_runner",
    "vllm.model_executor.models.llama",
)


def name_of(requirement: str) -> str:
    """The package's name as registries compare it."""
    return compared(Requirement(requirement).name)


def compared(name: str) -> str:
    """A name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def with_requirements(requirements: Sequence[str]) -> set[str]:
    """Names of packages, and of all that they require."""
    found: set[str] = set()
    left = [name_of(requirement) for requirement in requirements]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        asked = [text for text in required if holds(Requirement(text))]
        left += map(name_of, asked)
    return found


def holds(requirement: Requirement) -> bool:
    """Whether it is required here, without any extra."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


class OnlyForVllm(importlib.abc.MetaPathFinder):
    """Refuses vLLM's imports of packages that the machine would not have."""

    def __init__(self, there: set[str]) -> None:
        self.there = there | {"vllm"}
        self.packages = importlib.metadata.packages_distributions()

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Let others find it, or refuse."""
        top = fullname.partition(".")[0]
        by = {compared(name) for name in (*self.packages.get(top, ()), top)}
        if top in self.packages and not by & self.there and is_vllm(sys._getframe(1)):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def is_vllm(frame: FrameType | None) -> bool:
    """Whether vLLM's own code imports at this moment."""
    while frame is not None and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("vllm")


def main() -> None:
    """Import all, and print what is missing."""
    sys.meta_path.insert(0, OnlyForVllm(with_requirements([*IMAGE, *sys.argv[1:]])))
    for module in ENGINE:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            print("missing", error.name)
    print("imported")


if __name__ == "__main__":
    main()
