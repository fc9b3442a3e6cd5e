"""Data that tasks read, and folders that are written to.

For: what would be missing in the middle of a run, without asking the network.
Not for: the rows themselves (`iha-eval data check` says more about them).
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from iha_eval.data.check import MATCHES, check_all, complete
from iha_eval.data.sources import VARIABLE, as_folder
from iha_eval.doctor.finding import NOTE, OK, PROBLEM, WARNING, Finding
from iha_eval.doctor.machine import Machine
from iha_eval.ruler.cache import cache_folder

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def benchmarks(machine: Machine) -> Iterator[Finding]:
    """GSM8K and MATH-500 in the folder that IHA_EVAL_DATA names."""
    named = machine.environ.get(VARIABLE)
    if not named:
        where = "the local cache alone" if _offline(machine) else "the Hugging Face hub"
        yield Finding(
            "GSM8K, MATH-500",
            NOTE,
            f"{VARIABLE} is not set: they are asked from {where} (not tried here)",
            f"where the hub is out of reach, name a folder in {VARIABLE}",
        )
        return
    states = check_all(as_folder(named, VARIABLE))
    for state in states:
        if state.state != MATCHES:
            status = PROBLEM if state.needed else NOTE
            yield Finding(state.file, status, state.state, state.note)
    if complete(states):
        yield Finding("GSM8K, MATH-500", OK, f"the published ones, in {named}")


def haystack(machine: Machine) -> Iterator[Finding]:
    """The essays of multikey_1."""
    copy = _cache(machine) / "haystacks" / "paul_graham_essays.txt"
    if copy.is_file():
        yield Finding("essays", OK, f"kept in {copy}")
    elif _offline(machine):
        yield Finding(
            "essays",
            WARNING,
            "not kept here, and the hub is not asked: multikey_1 takes the King James Bible, and "
            "its scores cannot be compared with published ones",
            'run once with the hub, or say --metadata \'{"haystack": "PATH"}\'',
        )
    else:
        yield Finding(
            "essays",
            NOTE,
            "not kept here: the hub is asked for them; without it multikey_1 takes the King James "
            "Bible, and its scores cannot be compared with published ones",
        )


def cache(machine: Machine) -> Iterator[Finding]:
    """The folder that sizes of documents are kept in."""
    folder = _cache(machine)
    trouble = unwritable(folder)
    if trouble:
        yield Finding(
            "cache folder",
            WARNING,
            f"{folder} cannot be written ({trouble}): every run sizes its documents again",
            "set IHA_EVAL_CACHE to a folder that can",
        )
    else:
        yield Finding("cache folder", OK, str(folder))


def unwritable(folder: Path) -> str | None:
    """Why a file cannot be made in a folder, or in the first parent that exists; None if it can."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _offline(machine: Machine) -> bool:
    return any(
        machine.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in OFFLINE
    )


def _cache(machine: Machine) -> Path:
    named = machine.environ.get("IHA_EVAL_CACHE")
    return Path(named).expanduser() if named else cache_folder()


CHECKS = (benchmarks, haystack, cache)
