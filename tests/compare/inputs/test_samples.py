import json
import math
from pathlib import Path

import pytest
from lm_eval_runs import line

from iha_eval.compare.inputs.samples import read_lines, read_samples
from iha_eval.errors import UserError


def _file(folder: Path, *written: bytes) -> Path:
    path = folder / "samples_quiz.jsonl"
    path.write_bytes(b"".join(written))
    return path


def _line(doc_id: int, value: object = 1.0, **more: object) -> bytes:
    return json.dumps(line(doc_id, {"acc": value}, **more)).encode() + b"\n"


def test_a_sample_keeps_hashes_scores_and_depth(tmp_path: Path) -> None:
    made = line(7, {"acc": 0.5, "flag": True, "pair": [1, 2]}, filter_name="strict", depth=85.7)
    path = _file(tmp_path, json.dumps(made).encode())
    read = read_samples(path)
    [sample] = read.samples.values()
    assert sample.key == ("strict", 7)
    assert sample.hashes == (made["doc_hash"], made["prompt_hash"], made["target_hash"])
    assert sample.scores["acc"] == 0.5
    assert sample.scores["flag"] == 1.0
    assert math.isnan(sample.scores["pair"])
    assert sample.depth == 85.7
    assert read.warnings == ()


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "0.5"])
def test_what_is_no_score_counts_as_none(tmp_path: Path, value: object) -> None:
    read = read_samples(_file(tmp_path, _line(0, value)))
    assert math.isnan(read.samples["none", 0].scores["acc"])


@pytest.mark.parametrize("depth", [-1, 101, "50", None])
def test_what_is_no_depth_counts_as_none(tmp_path: Path, depth: object) -> None:
    read = read_samples(_file(tmp_path, _line(0, depth=depth)))
    assert read.samples["none", 0].depth is None


def test_older_files_do_not_list_their_metrics(tmp_path: Path) -> None:
    made = line(0, {"acc": 1.0})
    for name in ("metrics", "filter", "prompt_hash"):
        del made[name]
    [sample] = read_samples(_file(tmp_path, json.dumps(made).encode())).samples.values()
    assert sample.scores == {"acc": 1.0}
    assert sample.key == ("none", 0)
    assert sample.hashes[1] is None


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(_line(1)[:50], id="torn"),
        pytest.param(b"[1]\n", id="no object"),
        pytest.param(b'{"doc_id": "1"}\n', id="no number"),
        pytest.param(b"[" * 100_000 + b"\n", id="nested"),
    ],
)
def test_broken_lines_are_left_out_with_a_warning(tmp_path: Path, broken: bytes) -> None:
    read = read_samples(_file(tmp_path, _line(0), b"\n", broken))
    assert list(read.samples) == [("none", 0)]
    assert read.warnings == (
        "samples_quiz.jsonl has 1 broken line (line 3): these documents are left out.",
    )


def test_many_broken_lines_are_counted(tmp_path: Path) -> None:
    [warning] = read_samples(_file(tmp_path, _line(0), *[b"x\n"] * 9)).warnings
    assert "9 broken lines (line 2, 3, 4, 5, 6, ...)" in warning


def test_a_document_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    read = read_samples(_file(tmp_path, _line(0, 1.0), _line(0, 0.0)))
    assert read.samples["none", 0].scores == {"acc": 1.0}
    assert "more than once (1 lines)" in read.warnings[0]


@pytest.mark.parametrize("content", [b"", b"x\n"], ids=["empty", "broken"])
def test_a_file_without_a_sample_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match="no line that can be read"):
        read_samples(_file(tmp_path, content))


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(No such file"):
        read_samples(tmp_path / "samples_none.jsonl")


def test_lines_are_found_again_whatever_bytes_stand_before_them(tmp_path: Path) -> None:
    hostile = _line(0).replace(b"What?", b"\xff\xfe \\ud800 \xe2\x80\xa8")
    path = _file(tmp_path, hostile, b"\n", b"broken\n", _line(1, prompt="second"))
    samples = read_samples(path).samples
    found = read_lines(path, {key: sample.place for key, sample in samples.items()})
    assert found["none", 1]["arguments"]["gen_args_0"]["arg_0"] == "second"
    assert "\ufffd\ufffd \ud800" in found["none", 0]["arguments"]["gen_args_0"]["arg_0"]
