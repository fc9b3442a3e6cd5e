"""Scores of reports for experiment trackers: one mapping, sent through each tracker's own client.

For: `--to trackio|wandb|mlflow` of `compare`, `nightly` and `watch`. No client is required; what
each of them reads from its environment (offline modes, addresses, keys) holds here as anywhere.
Not for: making reports. What is sent is in report.json, and nothing else is.
"""

import argparse
import contextlib
import importlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.util.files import write_whole
from iha_eval.util.numbers import there
from iha_eval.util.redact import redact

TRACKERS = ("trackio", "wandb", "mlflow")
"""Also the names of the modules and of the extras of this package."""

FILE = "trackers.json"
"""Where a history says under which run it is sent, and what was sent."""

Scores = dict[int, dict[str, float]]
"""Step -> name -> number. Names are task/metric/what, as every tracker takes them."""

_NUMBERS = ("iha", "baseline", "points", "low", "high", "p_corrected")
_LOOK = ("points", "low", "high", "looks_low", "looks_high")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a command that sends scores."""
    parser.add_argument(
        "--to", choices=TRACKERS, help="send the scores to a tracker, too, by its own client"
    )
    parser.add_argument(
        "--project", default="iha-eval", metavar="NAME", help="project or experiment there"
    )


def check_client(tracker: str | None) -> None:
    """Refuse a tracker whose client is not installed, before anything is computed.

    Raises:
        UserError: it is not.
    """
    if tracker is not None:
        _client(tracker)


def scores_of(report: Mapping[str, Any], step: int = 0) -> Scores:
    """The numbers of a report by the steps that they are of.

    Args:
        report: the content of report.json of any kind.
        step: of a report that is about one moment.
    """
    if report.get("kind") == "watch":
        return _of_watch(report)
    scores: dict[str, float] = {}
    if report.get("kind") == "family":
        rows = [(f"{each['name']}/", row) for each in report["members"] for row in each["rows"]]
    else:
        rows = [("", row) for table in report["tables"] for row in table["rows"]]
    for before, row in rows:
        name = f"{before}{row['task']}/{row['metric']}"
        if f"{_fit(name)}/iha" in scores:
            name = f"{name}/{row['label']}"
        _put(scores, name, {key: row[key] for key in _NUMBERS})
    return {step: scores}


def _of_watch(report: Mapping[str, Any]) -> Scores:
    """Both curves, their difference with both intervals, and distances from the identity."""
    scores: Scores = {}
    for series in report["trend"]:
        name = f"{series['task']}/{series['metric']}"
        for night in series["nights"]:
            _put(scores.setdefault(night["step"], {}), name, {series["model"]: night["mean"]})
    for curve in report["trend_differences"]:
        for look in curve["nights"]:
            numbers = {key: look[key] for key in _LOOK}
            _put(scores.setdefault(look["step"], {}), f"{curve['task']}/{curve['metric']}", numbers)
    for each in report["mixing"]:
        distances = {name: value for name, value in each.items() if name != "step"}
        _put(scores.setdefault(each["step"], {}), "mixing", distances)
    return dict(sorted(scores.items()))


def _put(into: dict[str, float], name: str, numbers: Mapping[str, Any]) -> None:
    into |= {_fit(f"{name}/{key}"): float(value) for key, value in numbers.items() if there(value)}


def _fit(name: str) -> str:
    """A name without what MLflow refuses in one: `p@1` is `p_at_1`."""
    plain = name.replace("@", "_at_")
    return "".join(c if (c.isascii() and c.isalnum()) or c in "_-./ :" else "_" for c in plain)


def send(tracker: str, project: str, title: str, scores: Scores, run: str | None = None) -> None:
    """Send scores.

    Args:
        tracker: one of `TRACKERS`.
        project: project or experiment there.
        title: name of the run there.
        scores: what to send.
        run: id of a run that is gone on with; a new one if None.

    Raises:
        UserError: the client is missing, or it failed.
    """
    client = _client(tracker)
    try:
        _SENDERS[tracker](client, project, title, scores, run or uuid.uuid4().hex)
    # Whatever the clients, their servers and the network have for an error.
    except Exception as error:
        why = redact(" ".join(str(error).split()))[:300]
        raise UserError(
            f"the scores could not be sent to {tracker} ({type(error).__name__}: {why}): check its "
            "settings; they are in report.json, and the same command sends them again."
        ) from error


def send_new(tracker: str, project: str, title: str, scores: Scores, history: Path) -> list[int]:
    """Send what of a history was not sent yet, always to the same run there.

    What a run that failed at first brings later is sent then. Killed between sending and noting
    it, the next start sends the same numbers once more.

    Returns:
        The steps that were sent.

    Raises:
        UserError: see `send`; or it cannot be written down.
    """
    known = _noted(history / FILE)
    place = f"{tracker}/{project}"
    done = known["sent"].get(place, {})
    if isinstance(done, list):
        # Of earlier releases, which did not say what of a step they had sent.
        done = {str(step): list(scores.get(step, {})) for step in done}
    new = {
        step: left
        for step, numbers in scores.items()
        if (left := {n: value for n, value in numbers.items() if n not in done.get(str(step), [])})
    }
    if new:
        send(tracker, project, title, new, known["run"])
        for step, numbers in new.items():
            done[str(step)] = [*done.get(str(step), []), *numbers]
        known["sent"][place] = done
        try:
            write_whole(history / FILE, json.dumps(known))
        except OSError as error:
            raise UserError(
                f"{history / FILE} cannot be written ({error.strerror}): mend its permissions."
            ) from error
    return list(new)


def _noted(file: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(known["run"], str) and isinstance(known["sent"], dict):
            return {"run": known["run"], "sent": known["sent"]}
    return {"run": uuid.uuid4().hex, "sent": {}}


def _client(tracker: str) -> Any:
    try:
        return importlib.import_module(tracker)
    except ImportError as error:
        raise UserError(
            f"--to {tracker} needs its client, which is not installed ({error}): "
            f"pip install 'iha-eval[{tracker}]'"
        ) from error


def _to_trackio(client: Any, project: str, title: str, scores: Scores, run: str) -> None:
    # Runs are known by their names there.
    client.init(project=project, name=f"{title} {run[:8]}", resume="allow", embed=False)
    try:
        for step, numbers in scores.items():
            client.log(numbers, step=step)
    finally:
        client.finish()


def _to_wandb(client: Any, project: str, title: str, scores: Scores, run: str) -> None:
    opened = client.init(project=project, name=title, id=run, resume="allow")
    try:
        # Its own steps only ever rise, and a step may come late.
        opened.define_metric("*", step_metric="step")
        for step, numbers in scores.items():
            opened.log({"step": step, **numbers})
    finally:
        opened.finish()


def _to_mlflow(client: Any, project: str, title: str, scores: Scores, run: str) -> None:
    experiment = client.set_experiment(project)
    wanted = f"tags.iha_eval_run = '{run}'"
    known = client.MlflowClient().search_runs([experiment.experiment_id], wanted, max_results=1)
    given = {"run_id": known[0].info.run_id} if known else {"run_name": title}
    with client.start_run(**given):
        client.set_tag("iha_eval_run", run)
        for step, numbers in scores.items():
            client.log_metrics(numbers, step=step)


_SENDERS = {"trackio": _to_trackio, "wandb": _to_wandb, "mlflow": _to_mlflow}
