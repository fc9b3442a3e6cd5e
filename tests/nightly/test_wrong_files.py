"""Files that anybody may have broken: configurations and histories end in a sentence or in numbers.

`python tests/nightly/test_wrong_files.py` prints the counts of docs/reliability.md.
"""

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from iha_eval.cli import main

MODELS = {name: {"model_args": {"pretrained": "embedded-iha"}} for name in ("iha", "baseline")}
GOOD = {"models": MODELS, "tasks": ["ruler_mk"], "output": "nights", "history": "history"}
ODD = [
    *("", " ", "a\0b", "\ud800", "~nouser/x", "x" * 5000, "/".join(["x" * 200] * 40), "a,b"),
    *(0, -1, 10**400, 2**63, 1.5, True, None, [], {}, [[]], {"a": {1: 2}}, {1: "x", "x": 1}),
]
KEYS = [
    *(("models",), ("models", "iha"), ("models", "iha", "model_args"), ("models", "iha", "model")),
    *(("models", "iha", "model_args", "pretrained"), ("models", "iha", "environment")),
    *(("models", "iha", "environment", "A"), ("models", "iha", "command")),
    *(("models", "iha", "arguments"), ("tasks",), ("tasks", 0), ("output",), ("history",)),
    *(("timeout",), ("unpaired",), ("regression",), ("regression", "drop")),
    *(("regression", "false_alarms_per_month"), ("regression", "metrics")),
]
TEXTS = [
    "a: 2026-13-45\n",
    "timeout: 2026-02-30\n",
    "history: 2026-02-30T99:00:00\n",
    "models: &a [*a]\n",
    "models: &a {iha: *a, baseline: *a}\n",
    "models: &a {iha: {model_args: &b {x: *b}}, baseline: *a}\n",
    "[" * 3000,
    "{" * 3000,
    "a: " * 500,
    "? [a, b]\n: c\n",
    "? {a: b}\n: c\n",
    "!!python/object/apply:os.system [ls]\n",
    "a: !!int x\n",
    "a: !!float x\n",
    "a: !!timestamp x\n",
    "a: !!binary '*'\n",
    "a: 0x\n",
    "a: 0b\n",
    "a: 1:99:99\n",
    "%YAML 9.9\n---\na: 1\n",
    "<<: 3\n",
    "<<: [1]\n",
    "a: *b\n",
    "\t\tx",
    "\x00",
    "--- 1\n--- 2\n",
    "a: 1\na: 2\n",
    "models: !!set {a, b}\n",
    "timeout: 1" + "0" * 5000 + "\n",
    "timeout: 1e999\n",
    "timeout: .nan\n",
    # Nine anchors that each hold the one before nine times: 400 million values.
    "a0: &a0 [x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)),
    "regression: {drop: .inf}\n",
    "=: 1\n",
    "null: 1\n",
    "1: 2\n3.5: x\nmodels: 1\n",
]


def configurations() -> Iterator[bytes]:
    """Configurations that are wrong in one place, or in no way that can be run."""
    for path in KEYS:
        for value in ODD:
            whole = json.loads(json.dumps(GOOD))
            place = whole
            for key in path[:-1]:
                place = place.setdefault(key, {}) if isinstance(place, dict) else place[key]
            place[path[-1]] = value
            yield yaml.dump(whole, allow_unicode=True).encode("utf-8", "surrogatepass")
    rest = yaml.dump(GOOD).encode()
    for text in TEXTS:
        yield text.encode("utf-8", "surrogatepass")
        yield rest + text.encode()
    for name in ("A=B", "", "A\0", "\ud800", " "):
        models = {**MODELS, "iha": {**MODELS["iha"], "environment": {name: "x"}}}
        yield json.dumps({**GOOD, "models": models}).encode()
    yield b"\xff\xfe"
    yield b""


def outcome(*arguments: str) -> str:
    """`fine`, `sentence`, or what went wrong instead."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(arguments))
    except SystemExit as stop:
        said = err.getvalue().strip()
        short = said.count("\n") == 0 and len(said) < 1500
        return "sentence" if stop.code == 2 and said and short else f"code {stop.code}: {said[:80]}"
    except BaseException as error:
        return f"traceback: {type(error).__name__}"
    if "Traceback" in err.getvalue():
        return f"traceback: {err.getvalue().strip().splitlines()[-1]}"
    return "fine" if code == 0 else f"code {code}"


def tried_configurations(folder: Path) -> dict[str, int]:
    """How often each outcome was seen with `--dry-run`."""
    counts: dict[str, int] = {}
    file = folder / "n.yaml"
    for content in configurations():
        file.write_bytes(content)
        seen = outcome("nightly", str(file), "--dry-run")
        counts[seen] = counts.get(seen, 0) + 1
    return counts


def damaged_histories() -> Iterator[bytes]:
    """A history of three nights in which one value of one line is another, or text is cut out."""
    line = {
        "history": 1, "night": "2026-03-01", "batch": 1, "lines": 1, "model": "iha", "task": "t",
        "date": "2026-03-01T02:00:00+00:00", "metric": "m", "mean": 0.5, "se": 0.1, "n": 40,
        "entries": ["t"], "command": "c", "commit": "a", "name": "x", "fingerprint": "f",
        "versions": {"vllm": "1"}, "left_out": 0, "asked": 40, "higher_is_better": True,
        "watched": True, "documents": "d", "part_of": None, "settings": "s", "room": None,
        "failed": False, "regressions": [], "lacking": None, "not_judged": {"baseline": "x"},
        "baseline": {"rule": "baseline", "against": "baseline", "points": -1.0,
                     "p_corrected": 0.01, "worse": True},
    }  # fmt: skip
    other = [
        {**line, "night": f"2026-03-0{n}", "date": f"2026-03-0{n}T02:00:00+00:00"} for n in (2, 3)
    ]
    ends = "".join(json.dumps(entry) + "\n" for entry in other)
    wrong = [
        *(None, "", "x", "a\0\x1b[31m", "\ud800", "../../x", "x" * 9000),
        *(
            "9999-12-31T23:59:59-23:59",
            "0001-01-01T00:00:00+23:59",
            0,
            -1,
            10**400,
            1e999,
            float("nan"),
            -0.5,
            2,
            True,
            False,
        ),
        *([], {}, [[]], [None], [{}], {"a": 1}, {"a": None}, [1], ["x"]),
        *([{"rule": "x"}], {"points": "x"}, {"points": 1, "rule": 1}, [{"points": 10**400}]),
    ]
    for name in line:
        for value in wrong:
            yield (json.dumps({**line, name: value}) + "\n" + ends).encode()
        yield (json.dumps({k: v for k, v in line.items() if k != name}) + "\n" + ends).encode()
    whole = (json.dumps(line) + "\n").encode()
    for place in range(0, len(whole), 2):
        yield whole[:place] + whole[place + 1 :] + ends.encode()
        flipped = bytes([whole[place] ^ 1 << place % 8])
        yield whole[:place] + flipped + whole[place + 1 :] + ends.encode()
    for value in wrong:
        for key in ("accept", "pin"):
            mark = json.dumps({"history": 1, key: value, "batch": value})
            yield (json.dumps(line) + "\n" + ends + mark + "\n").encode()
    for junk in (b"[" * 100_000, b"1" * 100_000, b'{"history": ' * 5000, b"\xff" * 50, b"\0" * 50):
        yield whole + junk + b"\n" + ends.encode()


def tried_histories(folder: Path) -> dict[str, int]:
    """How often each outcome was seen."""
    counts: dict[str, int] = {}
    (folder / "history").mkdir(exist_ok=True)
    for content in damaged_histories():
        (folder / "history" / "history.jsonl").write_bytes(content)
        for more in ((), ("--json",)):
            seen = outcome("history", str(folder / "history"), *more)
            counts[seen] = counts.get(seen, 0) + 1
    return counts


def test_wrong_configurations_end_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    counts = tried_configurations(tmp_path)
    assert sum(counts.values()) >= 300
    assert set(counts) == {"fine", "sentence"}, counts
    assert counts["sentence"] >= 250


def test_damaged_histories_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    counts = tried_histories(tmp_path)
    assert sum(counts.values()) >= 3000
    assert set(counts) == {"fine"}, counts


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for name, tried in (
            ("configurations", tried_configurations),
            ("histories", tried_histories),
        ):
            outcomes = tried(Path(scratch))
            bad = sum(count for seen, count in outcomes.items() if "traceback" in seen)
            print(f"{name}: {sum(outcomes.values())} tried, {bad} end in a traceback")
            for seen, count in sorted(outcomes.items()):
                print(f"  {count:5} {seen}")
