"""Project files and functions that one small evaluation enters.

For: knowing how much code there is to read behind one number:

    python benchmarks/entered_files.py
    python benchmarks/entered_files.py --model iha-vllm --tasks gsm8k_maj --limit 1

counts what `lm_eval --model iha-hf --tasks ruler_mk_lengths --limit 1` (or the arguments given)
calls in this process; what runs while a module is imported does not count.
Not for: speed; counting slows everything down.
"""

import argparse
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("iha_eval", "model_adapters", "tasks")
DEFAULT = [
    *("--model", "iha-hf", "--tasks", "ruler_mk_lengths", "--limit", "1"),
    *("--metadata", '{"lengths": [1024], "haystack": "kjv"}'),
]


def count(arguments: list[str]) -> dict[str, set[str]]:
    """Run lm-eval and note what is entered.

    Args:
        arguments: Of `lm_eval`.

    Returns:
        Path of a file from the root -> the functions of it that were called.
    """
    entered: dict[str, set[str]] = defaultdict(set)
    starts = tuple(f"{ROOT / package}/" for package in PACKAGES)
    importing = 0

    def note(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal importing
        code = frame.f_code
        if not code.co_filename.startswith(starts) or event not in ("call", "return"):
            return
        if code.co_name == "<module>":
            importing += 1 if event == "call" else -1
        elif event == "call" and not importing:
            entered[str(Path(code.co_filename).relative_to(ROOT))].add(code.co_qualname)

    from lm_eval.__main__ import cli_evaluate

    sys.argv = ["lm_eval", *arguments]
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        cli_evaluate()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return entered


def main() -> None:
    """Print each file with its functions, and the two counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    _, arguments = parser.parse_known_args()
    entered = count(arguments or DEFAULT)
    for path, names in sorted(entered.items()):
        print(f"{path:45} {len(names):3}  {', '.join(sorted(names)[:6])}")
    print(f"{len(entered)} files, {sum(map(len, entered.values()))} functions")


if __name__ == "__main__":
    main()
