"""One lm-eval output on disk: its results file and the sample files that belong to it.

For: finding the run in a folder, and saying in one sentence why there is none.
Not for: reading samples (samples.py), nor for judging whether two runs are comparable (pairing.py).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.util.text import counted

_DATE = r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)"
_RESULTS = re.compile(_DATE + r"\.json$")
_SAMPLES = re.compile(r"^samples_(.+)" + _DATE + r"\.jsonl$", re.S)


#: Larger numbers of a file count nothing.
MOST = 10**18


@dataclass(frozen=True)
class Run:
    """A finished run of lm-eval.

    Attributes:
        path: Its results file.
        results: What that holds.
        stamp: The date in its name, which its sample files share.
        samples: Task -> its sample file; tasks without one are left out.
        warnings: What a reader must know about how it was found, each a sentence.
    """

    path: Path
    results: Mapping[str, Any]
    stamp: str
    samples: Mapping[str, Path]
    warnings: tuple[str, ...]

    @property
    def tasks(self) -> list[str]:
        """The tasks that were run, in lm-eval's order; groups are not among them."""
        return list(self.results["configs"])

    @property
    def date(self) -> str:
        """When it began, as ISO 8601; UTC, or local time without zone where only a name tells."""
        started = self.results.get("date")
        if isinstance(started, int | float) and 0 < started < 1e11:
            return datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds")
        day, _, time = self.stamp.partition("T")
        return f"{day}T{time.replace('-', ':')[:8]}"

    def part(self, *names: str) -> Mapping[str, Any]:
        """An object inside the results, such as `part("config", "iha_eval")`; empty if missing."""
        value: Any = self.results
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if isinstance(value, Mapping) else {}


def load_run(place: Path | str) -> Run:
    """Find and read a run.

    Args:
        place: A results file, or a folder with one in it or below.

    Raises:
        UserError: There is none, it is broken, or it has no samples.
    """
    path = Path(place)
    try:
        # A name that no file system takes, or the home of a user who does not exist.
        path = path.expanduser()
        there = path.exists()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be looked up ({reason}): name a results file.") from error
    if not there:
        raise UserError(f"{path} does not exist: name a results_*.json of lm-eval, or its folder.")
    warnings: list[str] = []
    file = _newest(path, warnings) if path.is_dir() else path
    results = _read(file)
    match = _RESULTS.search(file.name)
    if match is None:
        raise UserError(
            f"{file} has no date in its name, by which its samples are found: keep the name that "
            "lm-eval gave it, results_DATE.json."
        )
    samples = _samples(file, match[1], list(results["configs"]), warnings)
    _note_unfinished(file, warnings)
    run = Run(file, results, match[1], samples, tuple(warnings))
    cached = _cached_answers(run)
    return replace(run, warnings=(*warnings, cached)) if cached else run


def _cached_answers(run: Run) -> str:
    """A warning if a run had lm-eval's cache of answers, which does not tell models apart.

    Raises:
        UserError: One of our models gave fewer answers than the run has: the others are those of
            whatever model filled the cache.
    """
    cache = run.part("config").get("use_cache")
    if not cache:
        return ""
    calls = run.part("config", "iha_eval").get("summary")
    if isinstance(calls, list):
        own = sum(
            count
            for call in calls
            if isinstance(call, dict)
            for name in ("requests", "recalled_from_journal")
            if isinstance(count := call.get(name), int)
        )
        asked = sum(
            _answers(run.part("n-samples").get(task), run.part("configs", task))
            for task in run.tasks
        )
        if own < asked:
            raise UserError(
                f"{run.path} has at least {asked} answers, of which its model gave {own}: the "
                f"others come from lm-eval's cache (--use_cache {cache}), which takes one model's "
                "answers for another's; run lm-eval again without it."
            )
    return (
        f"{run.path.name} was run with --use_cache: lm-eval's cache takes one model's answers for "
        "another's where both were given the same file."
    )


def non_finite_logits(run: Run) -> str:
    """A sentence if a model of ours computed NaN or infinities and the run went on; else empty."""
    calls = run.part("config", "iha_eval").get("summary")
    counts = [
        call.get("non_finite_logits")
        for call in (calls if isinstance(calls, list) else ())
        if isinstance(call, dict)
    ]
    total = sum(count for count in counts if isinstance(count, int) and 0 < count < MOST)
    if not total:
        return ""
    return (
        f"the model's logits were not finite (NaN or infinite) at {counted(total, 'place')} and "
        "the run went on (non_finite_logits=count): the answers there, and their scores, mean "
        "nothing"
    )


def _answers(counts: Any, config: Mapping[str, Any]) -> int:
    """Answers that a task needs at least: its documents times its repeats."""
    documents = counts.get("effective") if isinstance(counts, dict) else None
    repeats = config.get("repeats")
    if not isinstance(documents, int):
        return 0
    return documents * (repeats if isinstance(repeats, int) and repeats > 0 else 1)


def _newest(folder: Path, warnings: list[str]) -> Path:
    dated = {
        file: match[1]
        for file in sorted(folder.rglob("*.json"))
        if file.is_file() and (match := _RESULTS.search(file.name))
    }
    if not dated:
        raise _no_run(folder)
    newest = max(dated, key=lambda file: (dated[file], str(file)))
    if len(dated) > 1:
        warnings.append(
            f"{folder} holds {len(dated)} runs: the newest was taken, "
            f"{newest.relative_to(folder)}; name a results file to take another."
        )
    return newest


def _no_run(folder: Path) -> UserError:
    journals = sorted(folder.rglob("journal-*.jsonl"))
    if journals:
        return UserError(
            f"{folder} has no results_*.json, only {journals[0].relative_to(folder)}: the run "
            "ended before it was done, so start the same command again; it goes on from there."
        )
    return UserError(
        f"{folder} has no results_*.json in it or below: name a folder that lm-eval wrote to with "
        "--output_path."
    )


def _read(file: Path) -> Mapping[str, Any]:
    try:
        results: Any = json.loads(file.read_bytes().decode(errors="replace"))
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({error.strerror or error}): name a readable results file."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{file} is not whole ({error}): it was cut off or changed, so run lm-eval again."
        ) from error
    configs = results.get("configs") if isinstance(results, dict) else None
    if not isinstance(configs, dict):
        raise UserError(
            f"{file} is no results file of lm-eval, for it has no 'configs': name a results_*.json."
        )
    if not configs:
        raise UserError(
            f"{file} has results of no task, for its 'configs' is empty: run lm-eval again and "
            "name tasks with --tasks."
        )
    content: Mapping[str, Any] = results
    return content


def _samples(file: Path, stamp: str, tasks: list[str], warnings: list[str]) -> dict[str, Path]:
    files = {
        named[1]: path
        for path in sorted(file.parent.glob("samples_*.jsonl"))
        if (named := _SAMPLES.match(path.name)) and named[2] == stamp
    }
    there = {task: files[task] for task in tasks if task in files}
    if not there:
        raise UserError(
            f"{file} has no samples_*_{stamp}.jsonl beside it: run lm-eval again with "
            "--log_samples, for questions are compared one by one."
        )
    missing = [task for task in tasks if task not in there]
    if missing:
        warnings.append(
            f"{file.name} has no sample file for {', '.join(missing)}: left out of the comparison."
        )
    return there


def _note_unfinished(file: Path, warnings: list[str]) -> None:
    """A journal outlives its run only if that did not end; an older one is no news."""
    finished = file.stat().st_mtime
    for folder in sorted({file.parent, file.parent.parent}):
        for journal in sorted(folder.glob("journal-*.jsonl")):
            if journal.stat().st_mtime > finished:
                warnings.append(
                    f"{journal.name} beside {file.name} is newer than it: a later run was begun "
                    "and has not ended; this report is about the earlier one."
                )
