"""The whole way from files to a report, with everything in them that can go wrong at once."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval_runs import FakeTask, line, lines, ruler_task, samples_file, voting_task, write_run

from iha_eval.compare import build_report, to_markdown
from iha_eval.compare.render import page
from iha_eval.compare.render.tables import to_terminal
from iha_eval.errors import UserError

Report = Callable[..., dict[str, Any]]

HOSTILE = "<script>alert(1)</script>\x00\x1b[2J\u202e\ud800 ]]> | `x` \"'&"

IHA = {
    "ruler_mk_multikey_1_4k": ruler_task([1.0] * 8 + [0.0] * 4),
    "ruler_mk_multikey_2_4k": ruler_task([1.0, 0.0, math.nan]),
    "gsm8k_maj": voting_task([4, 3, 2, 1, 0]),
    "quiz": FakeTask(lines("acc", [1.0, 0.0])),
}
BASELINE = {
    "ruler_mk_multikey_1_4k": ruler_task([0.0] * 8 + [0.0] * 4),
    "ruler_mk_multikey_2_4k": ruler_task([1.0, 0.0, 1.0]),
    "gsm8k_maj": voting_task([4, 1, 2, 1, 0]),
    "quiz": FakeTask(lines("acc", [1.0, 0.0])),
}


def test_a_report_has_everything(report: Report) -> None:
    made = report(IHA, BASELINE, title="T", commit="abc123")
    assert list(made) == [
        *("schema", "title", "paired", "created", "models", "headlines", "tables", "ruler"),
        *("curves", "depth", "disagreements", "both_wrong", "trend", "maps", "warnings"),
        "provenance",
    ]
    assert (made["schema"], made["title"], made["paired"]) == (1, "T", True)
    assert made["created"] == "2026-01-02T03:04:05+00:00"
    assert [one["benchmark"] for one in made["headlines"]] == ["ruler_mk", "gsm8k", "quiz"]
    assert made["headlines"][1]["sentence"].startswith("GSM8K: not enough data to tell IHA (iha")
    assert made["headlines"][2]["decided_by"] == "acc, quiz"
    assert len(made["tables"]) == 4
    assert made["disagreements"]["total"] == 9
    told = made["provenance"]
    assert told["commit"] == "abc123"
    assert told["pairing"] == {
        "tasks": 4,
        "documents": 22,
        "hashes": "equal",
        "unpaired_tasks": [],
        "tasks_not_compared": [],
    }
    assert told["compare"]["command"] == []
    assert told["datasets"][0]["sha256"] == "d" * 64
    assert told["datasets"][2] == {"task": "gsm8k_maj", "source": "x", "sha256": "e", "note": None}
    assert told["statistics"]["correction"] == "Holm"
    assert "mid-p McNemar" in told["statistics"]["tests"]


def test_the_same_files_make_the_same_bytes(runs: Callable[..., tuple[Path, Path]]) -> None:
    files = runs(IHA, BASELINE)
    made = [json.dumps(build_report(*files)) for _ in range(2)]
    assert made[0] == made[1]


def test_a_warning_of_both_runs_is_told_once(tmp_path: Path) -> None:
    for stamp in ("2026-01-02T03-04-05", "2026-01-03T03-04-05"):
        write_run(tmp_path, {"quiz": IHA["quiz"]}, stamp=stamp)
    warnings = build_report(tmp_path, tmp_path)["warnings"]
    assert sum("holds 2 runs" in warning for warning in warnings) == 1


def test_logits_that_were_not_finite_are_marked_wherever_the_report_is_read(
    runs: Callable[..., tuple[Path, Path]],
) -> None:
    tasks = {"quiz": FakeTask(lines("acc", [1.0, 0.0, 1.0]))}
    ours, theirs = runs(tasks, tasks)
    content = json.loads(theirs.read_text())
    content["config"]["iha_eval"]["summary"][0]["non_finite_logits"] = 1234
    theirs.write_text(json.dumps(content))
    report = build_report(ours, theirs)
    told = "were not finite (NaN or infinite) at 1,234 places"
    assert [line for line in report["warnings"] if f"baseline: the model's logits {told}" in line]
    assert told in to_markdown(report)
    assert told in page.render(report)


def test_exchanged_runs_change_signs_and_nothing_else(
    runs: Callable[..., tuple[Path, Path]],
) -> None:
    files = runs(IHA, BASELINE)
    one, other = build_report(*files), build_report(*reversed(files))
    for ours, theirs in zip(one["tables"], other["tables"], strict=True):
        for a, b in zip(ours["rows"], theirs["rows"], strict=True):
            assert a["points"] == -b["points"]
            assert (a["low"], a["p"], a["higher"]) == (-b["high"], b["p"], b["lower"])


def test_the_report_is_of_the_newer_run(tmp_path: Path) -> None:
    tasks = {"quiz": IHA["quiz"]}
    files = [
        write_run(tmp_path / side, tasks, started=when) for side, when in (("a", 2e9), ("b", 1e9))
    ]
    assert build_report(*files)["created"] == "2033-05-18T03:33:20+00:00"


@pytest.mark.parametrize(
    ("metadata", "note"),
    [
        ({"documents_sha256": "d", "haystack": "essays"}, None),
        ({"documents_sha256": "d", "haystack": "noise"}, None),
        ({"documents_sha256": "d", "haystack": None}, None),
        ({"documents_sha256": "d", "haystack": "kjv (1)"}, "another haystack than RULER's essays"),
        ({"documents_sha256": "d", "data_known": False}, "not the published data"),
        ({"dataset": {"source": "x", "sha256": "y", "known": False}}, "not the published data"),
        ({}, None),
    ],
    ids=["essays", "noise", "words", "offline", "questions", "changed", "unknown"],
)
def test_data_that_is_not_the_published_one_is_told(
    report: Report, metadata: dict[str, Any], note: str | None
) -> None:
    config = {"dataset_path": "some/set", "dataset_name": "main"}
    task = {"quiz": FakeTask(IHA["quiz"].samples, config, metadata)}
    made = report(task, task)
    told = [warning for warning in made["warnings"] if "not comparable" in warning]
    assert len(told) == (note is not None)
    assert note is None or note in told[0]
    if not metadata:
        assert made["provenance"]["datasets"][0]["source"] == "some/set main"


def test_unpaired_reports_say_so_first(report: Report) -> None:
    ours = {"quiz": FakeTask(lines("acc", [1.0, 0.0]))}
    theirs = {"quiz": FakeTask(lines("acc", [1.0], gold="43"))}
    made = report(ours, theirs, unpaired=True)
    assert made["paired"] is False
    assert made["warnings"][0].startswith("UNPAIRED")
    assert made["provenance"]["pairing"]["hashes"] == "not required"
    assert made["disagreements"]["rows"] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"correction": "none"}, "correction is 'none'"),
        ({"margin": 0.0}, "margin is 0"),
        ({"margin": math.nan}, "margin is nan"),
    ],
)
def test_options_that_cannot_be_meant(report: Report, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        report(IHA, BASELINE, **options)


def test_hostile_texts_come_out_harmless(tmp_path: Path) -> None:
    files = []
    for side, value in (("iha", 1.0), ("baseline", 0.0)):
        samples = [
            line(0, {"acc": value}, prompt=HOSTILE, gold=HOSTILE, answers=[HOSTILE]),
            line(1, {"acc": value}, prompt="p" * 1_000_000, answers=["o" * 1_000_000]),
            line(2, {"acc": value}, answers=["BROKEN"]),
        ]
        model = {"pretrained": f"models/{HOSTILE}"}
        file = write_run(
            tmp_path / side, {"quiz": FakeTask(samples)}, ours=False, config={"model_args": model}
        )
        sample_file = samples_file(file, "quiz")
        sample_file.write_bytes(
            sample_file.read_bytes().replace(b"BROKEN", b"\xff\xc3\x28\xed\xa0")
        )
        files.append(file)
    made = build_report(*files)
    text = json.dumps(made, ensure_ascii=False, allow_nan=False)
    assert len(text.encode()) < 40_000
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e\ud800-\udfff]", text)
    rows = made["disagreements"]["rows"]
    assert rows[0]["prompt"].startswith("<script>alert(1)</script>\u2400\u241b[2J<U+202E>\ufffd")
    assert len(rows[1]["prompt"]) < 2100
    assert rows[2]["iha_output"].startswith("\ufffd\ufffd(")
    shown = to_markdown(made)
    assert "<script" not in shown
    assert "&lt;U+202E&gt;" in shown


def test_the_package_brings_nothing_slow_along() -> None:
    code = "import sys, iha_eval.compare.report; print({'torch', 'lm_eval'} & {*sys.modules})"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == "set()\n"


def test_the_package_has_no_other_names() -> None:
    import iha_eval.compare

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = iha_eval.compare.nothing


@pytest.mark.parametrize("huge", [10**400, -(10**400), 10**4000])
@pytest.mark.parametrize(
    "place",
    [
        ("config", "model_num_parameters"),
        ("config", "iha_eval", "seed"),
        ("config", "iha_eval", "kv_cache", "tokens"),
        ("config", "iha_eval", "kv_cache", "bytes"),
        ("configs", "quiz", "repeats"),
        ("configs", "quiz", "generation_kwargs", "max_gen_toks"),
        ("date",),
        ("versions", "quiz"),
        ("max_length",),
    ],
    ids=".".join,
)
def test_integers_too_large_for_a_float_end_in_a_report(
    runs: Callable[..., tuple[Path, Path]], place: tuple[str, ...], huge: int
) -> None:
    quiz = {"quiz": FakeTask(lines("acc", [1.0, 0.0]))}
    files = runs(quiz, quiz)
    for file in files:
        results = json.loads(file.read_bytes())
        inner = results
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = huge
        file.write_text(json.dumps(results))
    made = build_report(*files)
    assert to_markdown(made)
    assert to_terminal(made)
    assert page.render(made)
