"""`iha_eval/util/files.py`: a file is there whole, or as it was."""

from pathlib import Path

import pytest

from iha_eval.util.files import compact, sha256, write_whole


def test_files_are_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    write_whole(path, "one \ud800")
    assert path.read_text() == "one \\ud800"

    def fail(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("iha_eval.util.files.os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "two")
    assert path.read_text() == "one \\ud800"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_and_line_ends_stay(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"\x00\xff")
    write_whole(tmp_path / "b", "1\r\n2\n")
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_bytes() == b"1\r\n2\n"


def test_a_reader_holds_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_whole(path, "old")
    with path.open() as reader:
        write_whole(path, "newer")
        assert reader.read() == "old"
    assert path.read_text() == "newer"


def test_order_of_keys_makes_no_difference() -> None:
    assert compact({"b": 1, "a": [True, None]}) == '{"a": [true, null], "b": 1}'
    assert sha256({"b": 1, "a": 2}) == sha256({"a": 2, "b": 1})
    assert sha256({"a": 1}) != sha256({"a": 2})


def test_what_json_has_no_form_for() -> None:
    assert compact({"folder": Path("a/b")}) == '{"folder": "a/b"}'
    assert len(sha256("half a pair: \ud800")) == 64
