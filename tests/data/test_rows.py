"""Rows: what is taken, what is refused and in which words, and the hash."""

import hashlib
import json
from pathlib import Path

import pytest

from iha_eval.data.known import FILES, GSM8K_TEST, MATH500_TEST
from iha_eval.data.rows import check_rows, read_rows, rows_sha256
from iha_eval.errors import UserError

GSM8K = {"question": "How many?", "answer": "Two.\n#### 2"}
MATH = {
    "problem": "What is $1 + 1$?",
    "answer": "2",
    "subject": "Prealgebra",
    "level": 1,
    "unique_id": "test/1",
}


def written(folder: Path, *lines: bytes) -> Path:
    path = folder / "test.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def line(row: object) -> bytes:
    return json.dumps(row).encode()


def test_rows_are_read_in_order_with_the_used_fields_only(tmp_path: Path) -> None:
    second = {**MATH, "solution": "left out", "answer": "3"}
    path = written(tmp_path, line(MATH), b"", line(second) + b"\r", b" ")
    rows = read_rows(MATH500_TEST, path)
    assert rows == [MATH, {**MATH, "answer": "3"}]
    assert list(rows[0]) == list(MATH500_TEST.fields)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        pytest.param(b'{"question": "a"', "is not JSON", id="half a line"),
        pytest.param(b"[" * 100_000, "is not JSON", id="brackets without end"),
        pytest.param(b"\xff\xfe{}", "is not UTF-8", id="other encoding"),
        pytest.param(b"\xef\xbb\xbf" + line(GSM8K), "is not JSON", id="byte order mark"),
        pytest.param(b"[1, 2]", "is not a JSON object", id="a list"),
        pytest.param(line({"question": "a"}), "has no 'answer'", id="a field missing"),
        pytest.param(line({**GSM8K, "answer": 2}), "answer=2, which is not a text", id="number"),
        pytest.param(line({**GSM8K, "question": " "}), "question=' '", id="empty text"),
        pytest.param(line({**GSM8K, "question": None}), "question=None", id="null"),
        pytest.param(line({**GSM8K, "question": "\ud800"}), r"question='\\ud800'", id="surrogate"),
        pytest.param(line({**GSM8K, "answer": "2"}), "answer without '####'", id="no final answer"),
    ],
)
def test_a_broken_line_is_named(bad: bytes, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, line(GSM8K), line(GSM8K), bad)
    with pytest.raises(UserError, match=said) as caught:
        read_rows(GSM8K_TEST, path)
    assert str(caught.value).startswith(f"{path}, line 3 ")
    assert len(str(caught.value)) < 400 + len(str(path))


@pytest.mark.parametrize("level", ["1", 1.0, True, None])
def test_a_level_is_a_whole_number(level: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"line 1 has level={level!r}, which is not a whole number"):
        read_rows(MATH500_TEST, written(tmp_path, line({**MATH, "level": level})))


def test_a_long_value_is_shown_in_part(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"level='x{36}\.\.\.,"):
        read_rows(MATH500_TEST, written(tmp_path, line({**MATH, "level": "x" * 999})))


@pytest.mark.parametrize("lines", [(), (b"", b"  ", b"")], ids=["no byte", "blank lines"])
def test_an_empty_file_is_refused(lines: tuple[bytes, ...], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty: put the GSM8K test set there"):
        read_rows(GSM8K_TEST, written(tmp_path, *lines))


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_rows(GSM8K_TEST, tmp_path)


def test_rows_from_elsewhere_are_checked_alike() -> None:
    assert check_rows(MATH500_TEST, [{**MATH, "solution": ""}], "the hub") == [MATH]
    with pytest.raises(UserError, match="the hub, row 2 has no 'level'"):
        check_rows(MATH500_TEST, [MATH, {"problem": "a", "answer": "b", "subject": "c"}], "the hub")
    with pytest.raises(UserError, match="the hub is empty"):
        check_rows(MATH500_TEST, [], "the hub")


def test_the_hash_knows_order_and_used_fields_only(tmp_path: Path) -> None:
    other = {**MATH, "answer": "3"}
    path = written(tmp_path, line(MATH), line(other))
    spaced = json.dumps({"solution": "x", **MATH}, indent=None, separators=(" ,", ":  "))
    as_file = read_rows(MATH500_TEST, path)
    as_other_file = read_rows(MATH500_TEST, written(tmp_path, spaced.encode(), line(other), b""))
    as_table = check_rows(
        MATH500_TEST, [dict(reversed(MATH.items())), {"solution": 1} | other], "hub"
    )
    assert rows_sha256(as_file) == rows_sha256(as_other_file) == rows_sha256(as_table)
    assert rows_sha256(as_file) != rows_sha256(as_file[::-1])
    assert rows_sha256(as_file) != rows_sha256([MATH, {**other, "level": 2}])
    # Known hashes are of this form.
    one_line = b'["What is $1 + 1$?", "2", "Prealgebra", 1, "test/1"]\n'
    assert rows_sha256([MATH]) == hashlib.sha256(one_line).hexdigest()


def test_known_files_are_told_apart() -> None:
    assert len({file.sha256 for file in FILES}) == len({file.name for file in FILES}) == 5
    assert [file.name for file in FILES if not file.needed] == [
        "gsm8k/train.jsonl",
        "squad/dev-v2.0.json",
        "hotpotqa/hotpot_dev_distractor_v1.json",
    ]
    assert [file.hub_name for file in FILES] == [
        "openai/gsm8k (main, test)",
        "openai/gsm8k (main, train)",
        "HuggingFaceH4/MATH-500 (test)",
        "rajpurkar/squad_v2 (validation)",
        "namlh2004/hotpotqa (validation)",
    ]
