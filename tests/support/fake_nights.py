"""Nights without models: a configuration whose processes are this file, run as a program.

For: tests of `iha_eval.nightly` and its commands. Each process does what a JSON file in the working
folder, named by its model, asks for: which answers are right, a crash, a wait. It notes its start.
Not for: tests of what lm-eval really does.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

NOON = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
DAY = timedelta(days=1)
GOOD, BAD = [1.0] * 45 + [0.0] * 15, [1.0] * 25 + [0.0] * 35
BOTH = ["iha: math", "baseline: math"]
STARTS = "starts.jsonl"


class FakeNights:
    """A folder with a configuration.

    Args:
        folder: an empty one.

    Attributes:
        file: the configuration.
        output: the folder of all nights.
        history: the folder of the history.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "nightly.yaml"
        self.output, self.history = folder / "nights", folder / "history"
        self.configure()

    def configure(self, **changes: Any) -> Path:
        """Write the configuration, with entries changed; JSON is YAML too."""
        model = {"command": [sys.executable, __file__]}
        entries = {
            "models": {
                name: {**model, "model_args": {"pretrained": name}} for name in ("iha", "baseline")
            },
            "tasks": ["math"],
            "output": "nights",
            "history": "history",
            **changes,
        }
        self.file.write_text(json.dumps(entries))
        return self.file

    def ask(self, name: str, **wishes: Any) -> None:
        """What processes of a model do from now on; see `main`."""
        path = self.folder / f"{name}.json"
        path.with_suffix(".new").write_text(json.dumps(wishes))
        path.with_suffix(".new").replace(path)

    def starts(self) -> list[dict[str, Any]]:
        """All processes that were started: pid, model, tasks, arguments."""
        path = self.folder / STARTS
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def started(self) -> list[str]:
        """Models and tasks of all processes, in order."""
        return [f"{one['model']}: {one['tasks']}" for one in self.starts()]

    def wait_for_start(self, count: int = 1) -> dict[str, Any]:
        """The process of that number, once it is there."""
        for _ in range(1200):
            found = self.starts()
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.05)
        raise AssertionError("no process was started")

    def night(self, now: datetime = NOON, **options: Any) -> tuple[int, list[str]]:
        """Run a night in this process; returns the exit code and what was said."""
        from iha_eval.nightly.config import read_config
        from iha_eval.nightly.run import run_night

        said: list[str] = []
        return run_night(read_config(self.file), now, said.append, **options), said


@contextmanager
def quick_page(monkeypatch: Any) -> Iterator[None]:
    """Pages without figures, which take seconds to draw; what stands in them is another's test."""
    monkeypatch.setattr(
        "iha_eval.compare.render.page.render", lambda report: f"<p>{report['title']}"
    )
    yield


def report(nights: FakeNights, night: str = "2026-03-01") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((nights.output / night / "report.json").read_text())
    return found


def recorded(nights: FakeNights) -> dict[str, list[tuple[str, str, Any]]]:
    """Model, task, and mean or None, of each line of each night."""
    # The processes of a night are this file, and start sooner without.
    from iha_eval.nightly.history import History

    return {
        name: [(entry.model, entry.task, entry.mean) for entry in entries]
        for name, entries in History(nights.history).read().nights.items()
    }


def _option(arguments: Sequence[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def _tear(samples: Path, count: int) -> None:
    """Cut the last lines of a file in half."""
    whole = samples.read_text().splitlines()
    torn = [line[: len(line) // 2] for line in whole[-count:]]
    samples.write_text("\n".join([*whole[:-count], *torn]) + "\n")


def main(arguments: Sequence[str]) -> int:
    """Stand in for lm-eval's command.

    Wishes of the file: `right` (a list of scores, such a list by task, or one list for the first
    run and one for the run that confirms it), `exit` (a code, after some output), `tasks` (do that
    only for these), `hang` (wait until the wish is gone), `cut` (leave out the samples, as after a
    kill), `exit_after` (a code, after the results), `groups`, `metrics` (others besides p@1, always
    right), `seed` (of the worked examples), `say` (a line to print), `tear` (how many sample lines
    of each task are cut in half), `prompts` (by task).
    """
    from lm_eval_runs import FakeTask, lines, samples_file, write_run

    model = json.loads(_option(arguments, "--model_args"))["pretrained"]
    tasks = _option(arguments, "--tasks").split(",")
    file = Path(f"{model}.json")
    wishes = json.loads(file.read_text()) if file.exists() else {}
    note = {"pid": os.getpid(), "model": model, "tasks": ",".join(tasks), "arguments": arguments}
    with Path(STARTS).open("a") as starts:
        starts.write(json.dumps({**note, "variable": os.environ.get("FAKE")}) + "\n")
    print("progress 1%\rprogress 100%\n\x1b[31mlast words\x1b[0m\x07 of", model, flush=True)
    print(wishes.get("say", ""), flush=True)
    patience = time.monotonic() + 30
    while wishes.get("hang") and json.loads(file.read_text()).get("hang"):
        # A test that has gone wrong fails, and leaves nothing running.
        if time.monotonic() > patience:
            return 99
        time.sleep(0.02)
    if set(wishes.get("tasks", tasks)) & set(tasks) and wishes.get("exit"):
        return int(wishes["exit"])
    right = wishes.get("right", [1.0, 0.0] * 20)
    if isinstance(right[0] if isinstance(right, list) else None, list):
        # One for each run of the night.
        right = right["confirm" in Path(_option(arguments, "--output_path")).parts]
    names = [leaf for task in tasks for leaf in wishes.get("groups", {}).get(task, [task])]
    runs = {}
    for name in names:
        prompt = wishes.get("prompts", {}).get(name, "What?")
        scores = right[name] if isinstance(right, dict) else right
        samples = lines("p@1", scores, prompt=prompt)
        others = dict.fromkeys(set(wishes.get("metrics", ())) - {"p@1"}, 1.0)
        runs[name] = FakeTask([{**one, **others, "metrics": ["p@1", *others]} for one in samples])
    stamp = f"2026-03-01T12-00-{len(Path(STARTS).read_text().splitlines()):02d}.5"
    counts = {name: {"effective": len(task.samples)} for name, task in runs.items()}
    results = write_run(
        Path(_option(arguments, "--output_path")),
        runs,
        stamp=stamp,
        samples=not wishes.get("cut"),
        group_subtasks=wishes.get("groups", {}),
        config={"fewshot_seed": wishes.get("seed", 0)},
        **{"n-samples": counts},
    )
    if wishes.get("tear"):
        for name in runs:
            _tear(samples_file(results, name), wishes["tear"])
    return int(wishes.get("exit_after", 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
