import errno
import fcntl
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import Sampling
from iha_eval.models import journal as journal_module
from iha_eval.models.journal import (
    Journal,
    _checksum,
    answer_key,
    differences,
    document_sha256,
    others,
)
from iha_eval.models.requests import Answer, GenerateRequest, pack
from iha_eval.util.files import sha256
from iha_eval.util.lock import _place

IDENTITY = {"checkpoint": "abc", "versions": {"vllm": "0.32.0"}}
REQUEST = GenerateRequest(0, "gsm8k", 3, 1, pack([5, 6]), Sampling(8, ("\n",), (2,), 0.6, seed=11))


def filled(folder: Path, count: int = 3) -> Journal:
    journal = Journal(folder, IDENTITY)
    for number in range(count):
        journal.add(f"key {number}", REQUEST, Answer(f"line\n{number}\ud800", number, number == 1))
    return journal


BROKEN = (
    *({"text": None}, {"text": 5}, {"key": ["k"]}, {"key": None}, {"cut": 1}, {"cut": None}),
    *({"tokens": 1e999}, {"tokens": -1}, {"tokens": True}, {"tokens": "3"}, {"tokens": 1.5}),
)


def written(identity: dict[str, Any] = IDENTITY, **changes: Any) -> bytes:
    """A line with a right checksum, whatever it holds."""
    entry = {"key": "key 0", "text": "another", "tokens": 1, "cut": True, **changes}
    return json.dumps({**entry, "check": _checksum(entry, sha256(identity))}).encode()


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    filled(tmp_path).close()
    again = Journal(tmp_path, IDENTITY)
    assert again.count == 3
    assert again.find("key 1") == Answer("line\n1\ud800", 1, True)
    assert again.find("key 9") is None
    again.close()


def test_every_answer_is_on_disk_at_once(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert {"journal": 2, "identity": IDENTITY}.items() <= lines[0].items()
    assert all(len(line["check"]) == 16 for line in lines)
    assert [line["key"] for line in lines[1:]] == ["key 0", "key 1", "key 2"]
    assert {"task": "gsm8k", "doc_id": 3, "repeat": 1}.items() <= lines[1].items()
    journal.close()


def test_a_line_torn_anywhere_loses_itself_alone(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    journal.close()
    data = journal.path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
    for length in range(len(data) + 1):
        journal.path.write_bytes(data[:length])
        again = Journal(tmp_path, IDENTITY)
        whole = max(0, sum(end <= length for end in ends) - 1)
        assert again.count == whole
        again.add("new", REQUEST, Answer("n", 1, False))
        again.close()
        third = Journal(tmp_path, IDENTITY)
        assert third.count == whole + 1
        third.close()


@pytest.mark.parametrize(
    "line",
    [
        *(b"no JSON", b"[]", b"7", b'{"key": "k"}', b"[" * 100_000),
        *(written(**broken) for broken in BROKEN),
        b'{"key": "key 0", "text": "another", "tokens": 1, "cut": true}',
        written({"checkpoint": "of another model"}),
    ],
    ids=[
        *("text", "list", "number", "fields missing", "deep"),
        *map(str, BROKEN),
        *("no checksum", "another model's"),
    ],
)
def test_a_broken_line_in_the_middle_costs_only_its_answer(
    tmp_path: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    journal = filled(tmp_path)
    journal.close()
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join([*lines[:2], line + b"\n", *lines[2:]]))
    again = Journal(tmp_path, IDENTITY)
    assert again.count == 3
    assert again.find("key 0") == Answer("line\n0\ud800", 0, False)
    assert "has 1 lines that are damaged" in caplog.text
    again.close()


@pytest.mark.parametrize(
    "head", [b'{"journal": 99}', b"{}", b"x", b"[" * 100_000], ids=["newer", "none", "text", "deep"]
)
def test_a_damaged_header_condemns_no_sound_line_and_the_file_is_kept(
    tmp_path: Path, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    journal = filled(tmp_path)
    journal.close()
    rest = journal.path.read_bytes().split(b"\n", 1)[1]
    journal.path.write_bytes(head + b"\n" + rest)
    for incident in range(3):
        journal.path.write_bytes(head + b"\n" + rest)
        again = Journal(tmp_path, IDENTITY)
        assert again.count == 3
        again.add("new", REQUEST, Answer("n", 1, False))
        again.close()
        # Every incident is kept, and what was written since is read like the rest.
        kept = sorted(tmp_path.glob("*.unread*"))
        assert [file.read_bytes() for file in kept] == [head + b"\n" + rest] * (incident + 1)
        whole = Journal(tmp_path, IDENTITY)
        assert whole.count == 4
        whole.close()
    assert f"it is kept as {kept[0].name}, and 3 answers that are sound are used" in caplog.text


def test_no_flipped_bit_changes_an_answer_unseen(tmp_path: Path) -> None:
    """600 bits, each in a journal of its own: every answer found is one that was written."""
    journal = filled(tmp_path, 6)
    journal.note({"device": "cpu"})
    journal.close()
    data = journal.path.read_bytes()
    rng = random.Random(0)
    lost = 0
    for bit in rng.sample(range(8 * len(data)), 600):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        journal.path.write_bytes(flipped)
        again = Journal(tmp_path, IDENTITY)
        held = {key: again.find(key) for key in again._answers}
        assert all(
            held[key] == Answer(f"line\n{key[4:]}\ud800", int(key[4:]), key == "key 1")
            for key in held
        )
        assert again.facts in ({}, {"device": "cpu"})
        lost += 6 - len(held)
        again.close()
    # A flip costs the line that it is in, or two where it joins them.
    assert lost <= 2 * 600


def test_a_journal_without_checksums_is_still_read(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    journal.close()
    lines = [json.loads(line) for line in journal.path.read_bytes().splitlines()]
    for line in lines:
        del line["check"]
    lines[0]["journal"] = 1
    journal.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for count in (3, 4):
        again = Journal(tmp_path, IDENTITY)
        assert again.count == count
        again.add("new", REQUEST, Answer("n", 1, False))
        again.close()
        assert json.loads(again.path.read_bytes().split(b"\n")[0])["journal"] == 2
    assert not list(tmp_path.glob("*.unread*"))


def test_what_an_engine_ran_on_outlives_it(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    journal.note({"device": "cpu", "max_num_seqs": 8})
    journal.note({"device": "cpu", "max_num_seqs": 8})
    journal.used.add("key 1")
    journal.retire()
    again = Journal(tmp_path, IDENTITY)
    assert (again.count, again.facts) == (2, {"device": "cpu", "max_num_seqs": 8})
    assert again.path.read_text().count('"engine"') == 1
    again.close()


def test_the_number_of_logits_that_are_not_finite_outlives_a_run(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    journal.count_non_finite(3)
    journal.count_non_finite(4)
    journal.close()
    again = Journal(tmp_path, IDENTITY)
    assert (again.count, again.non_finite) == (3, 7)
    again.forget(["key 1"])
    assert (again.count, again.non_finite) == (2, 7)
    again.close()


def test_forgotten_answers_are_gone_and_the_others_stay(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    journal.forget({"key 1", "never there"})
    assert (journal.count, journal.find("key 1")) == (2, None)
    journal.add("key 3", REQUEST, Answer("n", 1, False))
    journal.close()
    again = Journal(tmp_path, IDENTITY)
    assert again.count == 3
    assert again.find("key 1") is None
    again.close()


def test_what_cannot_be_forgotten_for_want_of_room_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = filled(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("iha_eval.util.files.os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        journal.forget({"key 1"})
    monkeypatch.undo()
    journal.close()
    again = Journal(tmp_path, IDENTITY)
    assert again.count == 3
    again.close()


def test_two_processes_cannot_write_one_journal(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    with pytest.raises(UserError, match="being written by another run"):
        Journal(tmp_path, IDENTITY)
    journal.close()
    Journal(tmp_path, IDENTITY).close()


def test_a_journal_removed_while_it_was_being_opened_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path).close()
    lock = fcntl.flock

    def removed_meanwhile(file: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        next(tmp_path.glob("journal-*")).unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    again = Journal(tmp_path, IDENTITY)
    assert again.count == 0
    assert again.path.is_file()
    again.close()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_of_the_system_a_file_keeps_the_journal_to_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    journal = filled(tmp_path)
    held = journal.path.with_name(f"{journal.path.name}.held")
    with pytest.raises(UserError, match=f"process {os.getpid()} on .*remove {held}"):
        Journal(tmp_path, IDENTITY)
    assert others(tmp_path, {}) == {}
    journal.forget(["key 1"])
    journal.close()
    assert not held.exists()
    assert list(others(tmp_path, {})) == [journal.path]
    # Killed: the next one takes its file away, and the answers are there.
    held.write_text(json.dumps({**_place(), "pid": 2**22 + 1, "begun": "1", "started": "today"}))
    again = Journal(tmp_path, IDENTITY)
    assert again.count == 2
    again.used = {"key 0", "key 2"}
    again.retire()
    assert list(tmp_path.iterdir()) == []


def test_another_model_has_another_journal(tmp_path: Path) -> None:
    filled(tmp_path).close()
    changed = {**IDENTITY, "versions": {"vllm": "0.33.0"}}
    journal = Journal(tmp_path, changed)
    assert journal.count == 0
    (found,) = others(tmp_path, changed).items()
    assert found[1] == ["versions.vllm"]
    journal.close()
    assert len(others(tmp_path, {})) == 2


def test_a_journal_that_is_being_written_is_nobodys_left_over(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    assert others(tmp_path, {}) == {}
    journal.close()


def test_files_that_are_no_journals_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "journal-mine.jsonl").write_text("shopping list\n")
    assert others(tmp_path, IDENTITY) == {}


def test_differences_are_named_by_their_place() -> None:
    assert differences({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 9}}) == ["b.c", "b.d"]
    assert differences({"a": {"b": 1}}, {"a": 1}) == ["a"]


def test_a_retired_journal_is_gone_and_may_be_retired_twice(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    journal.used.update({"key 0", "key 1", "key 2"})
    journal.retire()
    journal.retire()
    assert list(tmp_path.iterdir()) == []


def test_answers_that_a_run_did_not_ask_for_outlive_it(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    journal.used.add("key 1")
    journal.close()
    journal.retire()
    again = Journal(tmp_path, IDENTITY)
    assert again.count == 2
    again.close()


def test_a_folder_that_cannot_be_made_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written .* --output_path"):
        Journal(tmp_path / "file" / "out", IDENTITY)


def test_a_full_disk_ends_the_run_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = filled(tmp_path)

    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal_module.os, "write", full)
    with pytest.raises(UserError, match="No space left"):
        journal.add("k", REQUEST, Answer("", 0, False))
    monkeypatch.undo()
    journal.close()


def test_lines_are_forced_to_disk_at_most_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, clock = [], [0.0]
    monkeypatch.setattr(journal_module.os, "fsync", synced.append)
    monkeypatch.setattr(journal_module.time, "monotonic", lambda: clock[0])
    journal = Journal(tmp_path, IDENTITY)
    for clock[0] in (0.1, 0.9, 1.0, 1.5, 2.1):
        journal.add("k", REQUEST, Answer("", 0, False))
    assert len(synced) == 2
    journal.close()


def test_a_write_may_take_several_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(journal_module.os, "write", lambda file, data: write(file, data[:7]))
    filled(tmp_path).close()
    monkeypatch.undo()
    again = Journal(tmp_path, IDENTITY)
    assert again.count == 3
    again.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "math500"},
        {"prompt": pack([5, 7])},
        {"sampling": Sampling(8, ("\n",), (2,), 0.7, seed=11)},
        {"sampling": Sampling(8, ("\n",), (2,), 0.6, seed=12)},
        {"sampling": Sampling(9, ("\n",), (2,), 0.6, seed=11)},
        {"sampling": Sampling(8, (), (2,), 0.6, seed=11)},
    ],
    ids=["task", "prompt", "temperature", "seed", "budget", "stop"],
)
def test_whatever_decides_an_answer_is_in_its_key(changes: dict[str, Any]) -> None:
    other = GenerateRequest(**{**vars(REQUEST), **changes})
    assert answer_key(other, "d") != answer_key(REQUEST, "d")
    assert answer_key(REQUEST, "e") != answer_key(REQUEST, "d")


def test_the_place_in_the_call_is_not_in_the_key() -> None:
    other = GenerateRequest(**{**vars(REQUEST), "index": 70})
    assert answer_key(other, "d") == answer_key(REQUEST, "d")


def test_documents_are_told_apart_and_need_not_be_json() -> None:
    assert document_sha256({"a": 1, "b": Path("x")}) == document_sha256({"b": Path("x"), "a": 1})
    assert document_sha256({"a": 1}) != document_sha256({"a": 2})
