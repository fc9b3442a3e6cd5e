"""Two training runs under watch: what is whole, what is paired, what kills and mistakes change."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_nights
import jsonschema
import pytest
import torch
from safetensors.torch import save_file
from tiny_models import HYBRID, tiny_model

from iha_eval.cli import main
from iha_eval.compare.render import page as page_module
from iha_eval.errors import UserError
from iha_eval.nightly import record, watch
from iha_eval.nightly.config import Model, read_config
from iha_eval.nightly.history import History
from iha_eval.nightly.night import Night
from iha_eval.nightly.process import Stop, unredacted
from iha_eval.nightly.run import FINE, MISSING, REGRESSION, NightJobs
from iha_eval.nightly.step_report import build_watch
from iha_eval.util.process import end_with_me
from tools.report_schema import FILE

OLD = time.time() - 60


class FakeTraining:
    """Two training runs with tiny checkpoints, and a configuration whose processes are fakes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "nightly.yaml"
        self.runs = {role: folder / f"run-{role}" for role in ("iha", "baseline")}
        for run in self.runs.values():
            run.mkdir()
        self.said: list[str] = []
        self.configure()

    def configure(self, **changes: Any) -> None:
        model = {"command": [sys.executable, fake_nights.__file__], "model_args": {"dtype": "x"}}
        entries = {
            "models": {"iha": model, "baseline": model},
            "tasks": ["math"],
            "output": "nights",
            "history": "history",
            **changes,
        }
        self.file.write_text(json.dumps(entries))

    def save(
        self, role: str, step: int, right: int = 30, name: str = "checkpoint-{}", seed: int = 0
    ) -> Path:
        """A checkpoint whose model answers the first of 60 questions right."""
        place = self.runs[role] / name.format(step)
        kinds = HYBRID if role == "iha" else ["full"] * 5
        tiny_model(
            kinds, seed=step + seed, iha_window=17 if role == "iha" else None
        ).save_pretrained(place)
        (place / "tokenizer.json").write_text('{"model": {}, "truncation": null}')
        age(place)
        self.ask(place, right=[1.0] * right + [0.0] * (60 - right))
        return place

    def ask(self, place: Path, **wishes: Any) -> None:
        """What processes with a checkpoint do; see `fake_nights.main`."""
        # Whole at any moment: a process may be reading it.
        beside = self.folder / "wish.new"
        beside.write_text(json.dumps(wishes))
        beside.replace(Path(f"{place}.json"))

    def watch(self, **changes: Any) -> tuple[int, list[str]]:
        """Watch once, in this process; returns the exit code and what was said."""
        said = self.said = []
        asked = watch.WatchedRuns(self.runs, **{"once": True, "poll": 0.05, **changes})
        return watch.run_watch(self.config(), asked, said.append), said

    def config(self, **changes: Any) -> Any:
        return watch.watch_config(read_config(self.file, watched=True), **changes)

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "nights/steps/report.json").read_text())
        return found

    def _starts(self) -> list[dict[str, Any]]:
        file = self.folder / fake_nights.STARTS
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def pids(self) -> list[int]:
        return [start["pid"] for start in self._starts()]

    def started(self) -> list[str]:
        names = [Path(start["model"]) for start in self._starts()]
        return [f"{name.parent.name.removeprefix('run-')} {name.name}" for name in names]


def age(place: Path) -> None:
    for file in place.iterdir():
        os.utime(file, (OLD, OLD))


@pytest.fixture
def training(tmp_path: Path) -> FakeTraining:
    return FakeTraining(tmp_path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("render", "render_watch"):
        monkeypatch.setattr(f"iha_eval.compare.render.page.{name}", lambda report: report["title"])
    monkeypatch.setattr(watch, "_SETTLE", 0.2)


def test_equal_tokens_are_paired(training: FakeTraining) -> None:
    """The baseline has two thirds of IHA's batch: its step 1,500 is IHA's 1,000."""
    tokens = {"iha": 3 * 2**20, "baseline": 2 * 2**20}
    for step in (500, 1000, 2000):
        training.save("iha", step, 50)
    # No step of IHA has the tokens of step 1,000.
    for step in (750, 1000, 1500, 3300):
        training.save("baseline", step, 30)
    code, said = training.watch(tokens=tokens)
    assert code == FINE, said
    assert training.started() == [
        *("iha checkpoint-500", "baseline checkpoint-750"),
        *("iha checkpoint-1000", "baseline checkpoint-1500"),
        *("iha checkpoint-2000", "baseline checkpoint-3300"),
    ]
    report = training.report()
    jsonschema.validate(report, json.loads(FILE.read_text()))
    assert report["tokens_per_step"] == tokens
    assert [look["step"] for look in report["trend_differences"][0]["nights"]] == [500, 1000]
    assert report["waiting"] == [
        "iha alone has step 2,000; baseline is waited for.",
        "baseline alone has step 2,200; iha is waited for.",
    ]
    assert training.watch(tokens=tokens, every=1000) == (FINE, training.said)
    assert len(training.started()) == 6
    with pytest.raises(
        UserError,
        match=r"step-00001000 was evaluated with .*checkpoint-1500, not with .*checkpoint-1000: ",
    ):
        training.watch()
    # And its page says what was compared.
    assert training.report()["tokens_per_step"] == tokens


def test_equal_steps_are_paired_and_each_is_evaluated_once(training: FakeTraining) -> None:
    for step, right in ((500, 30), (1000, 55), (1500, 58)):
        training.save("iha", step, right)
        training.save("baseline", step, 30)
    code, said = training.watch()
    assert code == FINE, said
    assert training.started() == [
        f"{role} checkpoint-{step}" for step in (500, 1000, 1500) for role in ("iha", "baseline")
    ]
    report = training.report()
    jsonschema.validate(report, json.loads(FILE.read_text()))
    [finding] = report["findings"]
    assert (finding["word"], finding["since"]) == ("better", 1000)
    assert finding["sentence"] == (
        "math p@1: IHA is ahead of the baseline from step 1,000 on, at every look since: +46.7 "
        "points at step 1,500 (+28.1 to +64.8, allowing for all looks; 60 questions)."
    )
    assert finding["sentence"] in said
    [difference] = report["trend_differences"]
    assert [look["step"] for look in difference["nights"]] == [500, 1000, 1500]
    for look in difference["nights"]:
        assert (
            look["looks_low"] < look["low"] <= look["points"] <= look["high"] < look["looks_high"]
        )
    assert [night["step"] for night in report["trend"][0]["nights"]] == [500, 1000, 1500]
    assert (training.folder / "nights/steps/step-00001000/report.html").exists()
    assert (training.folder / "history/reports/steps/report.html").exists()
    again, said = training.watch()
    assert again == FINE
    assert len(training.started()) == 6
    assert training.report() == report


def test_steps_are_no_nights(training: FakeTraining) -> None:
    training.save("iha", 500)
    training.save("baseline", 500)
    training.watch()
    entries = History(training.folder / "history").read()
    assert entries.nights == {}
    assert list(entries.steps) == ["step-00000500"]
    assert {line.step for line in entries.steps["step-00000500"]} == {500}
    # A night with the same folders begins its own history.
    assert main(["history", str(training.folder / "history")]) == 0


def test_one_alone_stays_until_the_other_comes(training: FakeTraining) -> None:
    training.save("iha", 500)
    training.save("iha", 1000)
    training.save("baseline", 500)
    code, said = training.watch()
    assert code == FINE
    sentence = "iha alone has step 1,000; baseline is waited for."
    assert sentence in said
    assert training.report()["waiting"] == [sentence]
    assert len(training.report()["trend_differences"][0]["nights"]) == 1
    # Cleared away by the trainer in the meantime, as a limit of checkpoints does.
    shutil.rmtree(training.runs["iha"] / "checkpoint-1000")
    training.save("baseline", 1000)
    assert training.watch()[0] == FINE
    assert training.report()["waiting"] == []
    assert len(training.report()["trend_differences"][0]["nights"]) == 2
    assert training.started() == [
        *("iha checkpoint-500", "baseline checkpoint-500"),
        *("iha checkpoint-1000", "baseline checkpoint-1000"),
    ]


def test_every_and_glob_and_tasks(training: FakeTraining) -> None:
    for step in (250, 500):
        for role in ("iha", "baseline"):
            training.save(role, step, name="epoch-1/at-{}-steps")
    training.configure(tasks=["more", {"task": "math", "limit": 3}])
    said: list[str] = []
    asked = watch.WatchedRuns(training.runs, 500, "epoch-*/at-*", once=True)
    assert watch.run_watch(training.config(tasks=["math"]), asked, said.append) == FINE
    assert training.started() == ["epoch-1 at-500-steps"] * 2
    [job] = watch.plan(training.config(tasks=["math"]))[:1]
    assert job.tasks[0].settings == {"limit": 3}


def test_behind_is_exit_code_1_and_not_clear_any_more_is_said(training: FakeTraining) -> None:
    for step, right in ((1, 5), (2, 4)):
        training.save("iha", step, right, "step_{}")
        training.save("baseline", step, 40, "step_{}")
    assert training.watch()[0] == REGRESSION
    assert training.report()["findings"][0]["word"] == "worse"
    training.save("iha", 3, 40, "step_{}")
    training.save("baseline", 3, 40, "step_{}")
    code, said = training.watch()
    assert code == FINE
    assert any("no clear difference any more after 3 looks: +0.0" in s for s in said)


def test_a_run_that_fails_is_tried_again_by_the_next_start(training: FakeTraining) -> None:
    place = training.save("iha", 500)
    training.save("baseline", 500)
    training.ask(place, exit=5)
    code, said = training.watch()
    assert code == MISSING
    assert any("MISSING: the run of iha at step 500 on math (exit code 5)" in s for s in said)
    training.ask(place)
    training.save("baseline", 500)
    code, said = training.watch()
    both = ["iha checkpoint-500", "baseline checkpoint-500"]
    assert training.started() == [*both, both[0]]


def test_other_questions_are_not_compared(training: FakeTraining) -> None:
    training.save("iha", 500)
    place = training.save("baseline", 500)
    training.ask(place, right=[1.0, 0.0] * 30, prompts={"math": "Who?"})
    code, said = training.watch()
    assert code == MISSING
    for _ in range(2):
        assert any("NOT COMPARED at step 500: math p@1" in each for each in said)
        code, said = training.watch()


def test_the_page(training: FakeTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both curves with steps for an axis, the difference, the distances, a link to each pair."""
    monkeypatch.undo()
    monkeypatch.setattr("iha_eval.compare.render.page.render", lambda report: report["title"])
    for step in (500, 1000):
        training.save("iha", step, 50)
        training.save("baseline", step)
    training.save("iha", 1500)
    training.watch()
    report = training.report()
    distances = {"alpha_q": 0.1, "alpha_k": 0.2, "alpha_v": 0.25, "collapse": 0.5}
    report["mixing"] = [{"step": step, **distances} for step in (500, 1000)]
    jsonschema.validate(report, json.loads(FILE.read_text()))
    page = page_module.render_watch(report)
    assert report["findings"][0]["sentence"] in page
    assert report["error"] in page
    assert "iha alone has step 1,500; baseline is waited for." in page
    assert "Score over 3 steps, IHA, math, p@1; first 83.3% at step 500; last 50.0% at" in page
    assert "Paired difference over 2 steps, math, p@1; last +33.3 " in page
    assert "from step 500 to step 1,000: alpha_q 0.10 to 0.10" in page
    assert page.count('href="step-00001000/report.html"') == 1
    assert page.index(">1,500</th>") < page.index(">500</th>")
    assert "Equal tokens" not in page
    page = page_module.render_watch(report | {"tokens_per_step": {"iha": 4096, "baseline": 512}})
    assert "steps are those of IHA, 4,096 tokens each; a step of the baseline has 512." in page
    assert training.folder.joinpath("nights/steps/step-00001000/report.html").exists()


class TestWhole:
    """A checkpoint is taken when it is whole, and not before."""

    def torn(self, place: Path, kind: str) -> None:
        weights = place / "model.safetensors"
        if kind == "weights":
            weights.write_bytes(weights.read_bytes()[:-100])
        elif kind == "shard":
            index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
            weights.unlink()
            (place / "model.safetensors.index.json").write_text(json.dumps(index))
            save_file({"a": torch.zeros(1)}, place / "model-1.safetensors")
        else:
            (place / f"{kind}.json").unlink()
        age(place)

    @pytest.mark.parametrize(
        ("kind", "why"),
        [
            ("weights", "not a whole safetensors file"),
            ("shard", "names model-2.safetensors"),
            ("config", "has no config.json"),
            ("tokenizer", "has no tokenizer"),
        ],
    )
    def test_torn_is_waited_for(self, training: FakeTraining, kind: str, why: str) -> None:
        training.save("iha", 500)
        training.save("baseline", 500)
        place = training.save("iha", 1000)
        whole = training.folder / "whole"
        shutil.copytree(place, whole)
        self.torn(place, kind)
        code, said = training.watch()
        assert code == FINE
        assert any(str(place) in each and why in each for each in said), said
        assert training.started() == ["iha checkpoint-500", "baseline checkpoint-500"]
        shutil.rmtree(place)
        shutil.copytree(whole, place)
        training.watch()
        assert training.started()[2:] == ["iha checkpoint-1000"]

    def test_never_is_a_sentence(
        self, training: FakeTraining, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watch, "_PATIENCE", 30.0)
        training.save("iha", 500)
        training.save("baseline", 500)
        place = training.save("iha", 400)
        self.torn(place, "weights")
        with pytest.raises(
            UserError, match="checkpoint-400 is unchanged for 0 minutes and not who"
        ):
            training.watch()
        # Everything else was done before.
        assert len(training.started()) == 2

    def test_what_is_written_in_this_moment_settles_first(self, training: FakeTraining) -> None:
        training.save("baseline", 500)
        place = training.save("iha", 500)
        for file in place.iterdir():
            os.utime(file)
        begun = time.monotonic()
        assert training.watch()[0] == FINE
        assert time.monotonic() - begun >= 0.2
        assert len(training.started()) == 2


class TestMistakes:
    """One sentence each."""

    def test_no_folder_and_no_checkpoints(self, training: FakeTraining) -> None:
        training.save("iha", 500)
        with pytest.raises(UserError, match="run-baseline has no checkpoints yet"):
            training.watch()
        with pytest.raises(UserError, match="N a multiple of 400"):
            training.watch(every=400)
        training.runs["baseline"] = training.folder / "nowhere"
        with pytest.raises(UserError, match=r"--baseline .*nowhere is no folder"):
            training.watch(once=False)

    def test_two_of_one_step(self, training: FakeTraining) -> None:
        training.save("iha", 500)
        training.save("iha", 500, name="step-00000{}")
        with pytest.raises(UserError, match=r"checkpoint-500 and .*step-00000500 are both of step"):
            training.watch()

    def test_other_tokenizers(self, training: FakeTraining) -> None:
        training.save("iha", 500)
        place = training.save("baseline", 500)
        file = place / "tokenizer.json"
        file.write_text('{"model": {}, "truncation": {"max": 3}}')
        # Another form of the same, which not every trainer saves.
        (place / "tokenizer.model").write_text("m")
        age(place)
        assert training.watch()[0] == FINE
        place = training.save("baseline", 1000)
        (place / "tokenizer.json").write_text('{"model": {"a": 1}}')
        age(place)
        with pytest.raises(UserError, match="checkpoint-1000 has another tokenizer than"):
            training.watch()

    def test_changed_after_evaluation(self, training: FakeTraining) -> None:
        training.save("iha", 500)
        place = training.save("baseline", 500)
        training.watch()
        # A copy of the same content is the same checkpoint.
        for file in place.iterdir():
            os.utime(file, (OLD + 5, OLD + 5))
        assert training.watch()[0] == FINE
        training.save("baseline", 500, seed=7)
        with pytest.raises(UserError, match="checkpoint-500 has changed since it was evaluated"):
            training.watch()

    def test_other_settings(self, training: FakeTraining) -> None:
        training.save("iha", 500)
        training.save("baseline", 500)
        training.watch()
        training.configure(tasks=[{"task": "math", "limit": 3}])
        with pytest.raises(UserError, match="was evaluated by another command"):
            training.watch()
        said: list[str] = []
        asked = watch.WatchedRuns(training.runs, once=True)
        config = training.config(out=training.folder / "other")
        assert watch.run_watch(config, asked, said.append) == FINE
        assert (training.folder / "other/steps/report.html").exists()

    def test_a_task_before_the_others_repeats_none(self, training: FakeTraining) -> None:
        training.save("iha", 500)
        training.save("baseline", 500)
        training.watch()
        training.configure(tasks=[{"task": "first", "limit": 3}, "math"])
        assert training.watch()[0] == FINE
        assert len(training.started()) == 4
        assert {each["task"] for each in training.report()["findings"]} == {"math", "first"}
        # Nor does anything run once more.
        training.watch()
        assert len(training.started()) == 4

    def test_the_command_line(
        self, training: FakeTraining, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["watch", "--iha", str(training.runs["iha"]), "--baseline", "x", "--once"]
        with pytest.raises(SystemExit) as ended:
            main([*words, str(training.file)])
        assert ended.value.code == 2
        assert "has no checkpoints yet" in capsys.readouterr().err
        training.configure(models={"p2": {"model_args": {}}, "baseline": {"model_args": {}}})
        with pytest.raises(SystemExit):
            main([*words, str(training.file)])
        assert "models.iha is missing: a watch takes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"pretrained": "a", "dtype": "b"}, {"pretrained": "/c", "dtype": "b"}),
        ("dtype=b,pretrained=a", "pretrained=/c,dtype=b"),
    ],
)
def test_a_checkpoint_in_place_of_another(given: Any, expected: Any) -> None:
    assert Model("iha", "x", given, ()).of(Path("/c")).arguments == expected


def test_it_waits_until_it_is_told_to_end(training: FakeTraining) -> None:
    """Polling: a checkpoint that comes later is evaluated; SIGTERM ends in a sentence."""
    training.save("iha", 500)

    def later() -> None:
        wait_for(lambda: any(line.startswith("waiting") for line in training.said))
        training.save("baseline", 500)
        wait_for(lambda: training.report()["findings"])
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=later)
    thread.start()
    code, said = training.watch(once=False)
    thread.join()
    assert code == 128 + signal.SIGTERM
    assert said[-1] == "stopped by SIGTERM: the same command goes on from here"
    assert "waiting for checkpoints: iha is at step 500, baseline is at step 0" in said
    assert len(training.started()) == 2


def wait_for(ready: Callable[[], Any]) -> None:
    for _ in range(2400):
        try:
            if ready():
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.05)
    raise AssertionError("it did not come")


# A look at a folder, its note, the start, the run, the record, the report of the pair, the page.
PHASES = [
    *(("_is_whole", 2, True), ("keep_mixing", 1, True), ("put", 1, True), ("put", 1, False)),
    *(("run", 2, True), ("run", 2, False), ("record_night", 1, True), ("record_night", 1, False)),
    *(("write_pair", 1, True), ("write_watch", 1, True), ("_page", 2, False), ("put", 2, True)),
    *(("put", 4, True), ("_page", 3, True)),
]


OWNERS = {"put": Night, "run": NightJobs, "record_night": record, "write_pair": watch}
OWNERS |= {"write_watch": watch, "keep_mixing": watch}


def kill_at(where: str, count: int, before: bool) -> None:
    """Let this process be killed before or after a call."""
    owner = OWNERS.get(where, watch._RunWatch)
    real, calls = getattr(owner, where), iter(range(1, 100))

    def killed(*arguments: Any, **named: Any) -> Any:
        ours = next(calls) == count
        if ours and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **named)
        if ours:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, where, killed)


def test_a_kill_in_the_middle_of_a_run(training: FakeTraining) -> None:
    """The run ends with the watch, and the next start repeats it."""
    place = training.save("iha", 500)
    training.save("baseline", 500)
    training.ask(place, hang=True)
    child = os.fork()
    if not child:
        # The guard of this process, and not that of the one that tests.
        end_with_me.cache_clear()
        training.watch()
        os._exit(0)
    wait_for(training.started)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    [first] = training.pids()
    wait_for(lambda: not Path(f"/proc/{first}").exists())
    training.ask(place, right=[1.0] * 60)
    assert training.watch()[0] == FINE
    assert training.started() == ["iha checkpoint-500"] * 2 + ["baseline checkpoint-500"]


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory: pytest.TempPathFactory) -> FakeTraining:
    training = FakeTraining(tmp_path_factory.mktemp("steps"))
    for step in (500, 1000):
        training.save("iha", step, 50)
        training.save("baseline", step, 30)
    return training


@pytest.mark.parametrize(("where", "count", "before"), PHASES)
def test_a_kill_in_any_phase_changes_nothing(
    where: str, count: int, before: bool, two_steps: FakeTraining
) -> None:
    """Killed once, and started again: the same page as of an undisturbed watch, nothing twice."""
    folder = two_steps.folder
    expected = folder / "expected.json"
    if not expected.exists():
        assert two_steps.watch()[0] == FINE
        expected.write_text(json.dumps(told(two_steps)))
    for name in ("nights", "history"):
        shutil.rmtree(folder / name)
    (folder / fake_nights.STARTS).unlink()
    child = os.fork()
    if not child:
        kill_at(where, count, before)
        two_steps.watch()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    code, said = two_steps.watch()
    assert code == FINE, said
    assert told(two_steps) == json.loads(expected.read_text())
    # A run that had ended is not repeated.
    assert len(two_steps.started()) == 4


def told(training: FakeTraining) -> Any:
    """The report without times."""
    config = training.config()
    built = build_watch(config, training.runs, History(config.history))
    assert built == training.report()
    return json.loads(json.dumps(built), object_hook=_without_times)


def _without_times(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name not in ("date", "created")}


@pytest.mark.parametrize(
    ("changes", "stay"),
    [
        ({}, True),
        ({"model_args": {"gpu_memory_utilization": 0.4}}, True),
        ({"model_args": {"gpu_memory_utilization": 0.55}}, True),
        # The other takes its half all the same.
        ({"model_args": {"gpu_memory_utilization": 0.9}}, False),
        ({"model_args": {"gpu_memory_utilization": 0.9, "kv_cache_memory_bytes": 9}}, True),
        ({"model_args": {"gpu_memory_utilization": "much"}}, True),
        ({"model_args": {"data_parallel_size": 2}}, False),
        ({"model": "iha-hf"}, False),
        ({"command": [sys.executable, fake_nights.__file__]}, False),
    ],
)
def test_engines_stay_where_both_models_can_keep_theirs(
    changes: dict[str, Any], stay: bool, tmp_path: Path
) -> None:
    """One that stays would leave no room for another's whole GPU."""
    training = FakeTraining(tmp_path)
    model: dict[str, Any] = {"model": "iha-vllm", "model_args": {"dtype": "bfloat16"}}

    def kept(**models: dict[str, Any]) -> set[str]:
        training.configure(models=models)
        config = training.config()
        asked, history = watch.WatchedRuns(training.runs), History(config.history)
        runs = watch._RunWatch(config, asked, history, 0, Stop(), training.said.append)
        runs.keep_engines()
        return set(runs.kept)

    assert kept(iha=model, baseline=model | changes) == (set(training.runs) if stay else set())
    greedy = model | {"model_args": {"gpu_memory_utilization": 0.9}}
    assert kept(iha=greedy, baseline=greedy) == set()


def test_what_a_killed_watch_has_heard_is_read_before_its_output_is_used_again(
    tmp_path: Path,
) -> None:
    """Both logs would have the next command's words."""
    training = FakeTraining(tmp_path)
    model = {"model": "iha-vllm", "model_args": {"dtype": "bfloat16"}}
    training.configure(models=dict.fromkeys(training.runs, model))
    config = training.config()
    log = config.output / "steps" / "step-00000001" / "iha" / "1-math.log"
    log.parent.mkdir(parents=True)
    output = config.output / "steps" / "iha.unredacted"
    output.write_text("half a line\n")
    unredacted(log).symlink_to(output)
    asked, history = watch.WatchedRuns(training.runs), History(config.history)
    watch._RunWatch(config, asked, history, 0, Stop(), training.said.append).keep_engines()
    assert log.read_text() == "half a line\n"
    assert not unredacted(log).exists()


def test_what_is_left_of_an_evaluated_checkpoint_is_no_torn_one(training: FakeTraining) -> None:
    """Its trainer has removed the weights and kept the folder."""
    for role in ("iha", "baseline"):
        training.save(role, 500)
    training.watch()
    for role in ("iha", "baseline"):
        place = training.runs[role] / "checkpoint-500"
        (place / "model.safetensors").unlink()
        for file in place.iterdir():
            os.utime(file, (OLD - 1000, OLD - 1000))
        training.save(role, 1000)
    code, said = training.watch()
    assert code == FINE
    assert not any("is not whole" in each for each in said)
    assert len(training.started()) == 4


def test_a_run_whose_checkpoints_are_all_cleared_away_does_not_end_the_watch(
    training: FakeTraining,
) -> None:
    for role in ("iha", "baseline"):
        training.save(role, 500)
    training.watch()
    shutil.rmtree(training.runs["iha"] / "checkpoint-500")
    training.save("baseline", 1000)
    assert training.watch()[0] == FINE
    assert training.started()[2:] == ["baseline checkpoint-1000"]


@pytest.mark.parametrize("removed", ["before its turn", "while it is read"])
def test_a_checkpoint_that_is_removed_before_its_turn_leaves_the_others(
    training: FakeTraining, monkeypatch: pytest.MonkeyPatch, removed: str
) -> None:
    for step in (500, 1000, 1500):
        for role in ("iha", "baseline"):
            training.save(role, step)
    gone = training.runs["iha"] / "checkpoint-1000"
    read = watch.read_mixing

    def removing(folder: Path) -> Any:
        if removed == "before its turn" or folder == gone:
            shutil.rmtree(gone, ignore_errors=True)
        return read(folder)

    monkeypatch.setattr(watch, "read_mixing", removing)
    code, said = training.watch()
    assert code == FINE
    assert "iha checkpoint-1000" not in training.started()
    assert len(training.started()) == 5
    assert "baseline alone has step 1,000; iha is waited for." in said


def test_what_looks_old_is_seen_twice_before_it_is_given_up(
    training: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that keeps the times of its original, between two files."""
    monkeypatch.setattr(watch, "_PATIENCE", 30.0)
    training.save("baseline", 500)
    place = training.save("iha", 500)
    weights = place / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    sleep = watch._RunWatch._sleep

    def copying(self: Any, seconds: float) -> None:
        weights.write_bytes(content)
        age(place)
        sleep(self, seconds)

    monkeypatch.setattr(watch._RunWatch, "_sleep", copying)
    assert training.watch()[0] == FINE
    assert len(training.started()) == 2


@pytest.mark.parametrize("given", [None, '{"tokenizer": "own", "dtype": "float32"}'])
def test_model_arguments_may_be_missing_or_json(training: FakeTraining, given: str | None) -> None:
    model = {"command": [sys.executable, fake_nights.__file__]}
    if given is not None:
        model["model_args"] = given
    training.configure(models={"iha": model, "baseline": model})
    for role in ("iha", "baseline"):
        place = training.save(role, 500)
        if given is not None:
            (place / "tokenizer.json").unlink()
            age(place)
    assert training.watch()[0] == FINE
    assert len(training.started()) == 2


def test_models_may_have_no_settings_and_an_output_that_is_a_file_is_told(
    training: FakeTraining,
) -> None:
    training.configure(models={"iha": None, "baseline": None}, output="nightly.yaml")
    training.save("iha", 500)
    training.save("baseline", 500)
    with pytest.raises(UserError, match=r"nightly.yaml/steps/step-00000500 cannot be written"):
        training.watch()


def test_a_pretrained_that_is_not_there_does_not_matter(training: FakeTraining) -> None:
    model = {"command": [sys.executable, fake_nights.__file__]}
    model["model_args"] = {"pretrained": "no/such/folder"}
    training.configure(models={"iha": model, "baseline": model})
    training.save("iha", 500)
    training.save("baseline", 500)
    training.save("baseline", 1000)
    assert training.watch()[0] == FINE
