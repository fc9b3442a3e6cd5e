import json
import logging
import os
from pathlib import Path

import pytest

from iha_eval.cli import main
from iha_eval.ruler import cache
from iha_eval.ruler.cache import Sizing, cache_folder, read_sizing, write_atomically, write_sizing

KEY = {"variant": "multikey_1", "length": 4096}
SIZING = Sizing(sizes=(5, 6), tokens=(70, 71), digests=("a" * 64, "b" * 64), fillers=(0, 3))


def test_what_was_written_is_read(own_cache: Path) -> None:
    write_sizing(KEY, SIZING)
    assert read_sizing(KEY, 2) == SIZING
    assert [path.parent.parent for path in own_cache.glob("*/*")] == [own_cache]


def test_another_key_finds_nothing() -> None:
    write_sizing(KEY, SIZING)
    assert read_sizing({**KEY, "length": 8192}, 2) is None
    assert read_sizing(KEY, 3) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace("70", '"70"'),
        lambda text: text.replace("a" * 64, "a"),
        lambda text: text.replace("71", "72"),
        lambda text: text.replace("b" * 64, "c" * 64),
        lambda text: text.replace("4096", "4097"),
        lambda text: json.dumps({**json.loads(text), "sizes": [5]}),
        lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "tokens"}),
        lambda text: "\udcff",
    ],
    ids=[
        *("cut", "empty", "list", "null", "string", "digest", "number", "other digest", "key"),
        *("short", "lacking", "bytes"),
    ],
)
def test_a_damaged_file_is_as_good_as_none(own_cache: Path, damage: object) -> None:
    write_sizing(KEY, SIZING)
    [path] = own_cache.glob("documents/*.json")
    damaged = damage(path.read_text())  # type: ignore[operator]
    path.write_bytes(damaged.encode("utf-8", "surrogateescape"))
    assert read_sizing(KEY, 2) is None
    write_sizing(KEY, SIZING)
    assert read_sizing(KEY, 2) == SIZING


def test_a_folder_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("IHA_EVAL_CACHE", str(blocker / "below"))
    with caplog.at_level(logging.WARNING):
        write_sizing(KEY, SIZING)
    assert "Cannot write the cache file" in caplog.text
    assert read_sizing(KEY, 2) is None


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    write_atomically(tmp_path / "x" / "file", "text")
    assert list((tmp_path / "x").iterdir()) == []


def test_the_folder_without_the_variable_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IHA_EVAL_CACHE")
    assert cache_folder().name == "iha-eval"
    assert cache_folder().is_absolute()


def test_one_hash_over_all_documents() -> None:
    swapped = Sizing(SIZING.sizes, SIZING.tokens, SIZING.digests[::-1], SIZING.fillers)
    assert len(SIZING.sha256) == 64
    assert swapped.sha256 != SIZING.sha256


def test_a_file_of_an_earlier_release_has_neither_fillers_nor_a_check(own_cache: Path) -> None:
    write_sizing(KEY, SIZING)
    [path] = own_cache.glob("documents/*.json")
    entry = json.loads(path.read_text())
    del entry["fillers"], entry["check"]
    path.write_text(json.dumps(entry))
    read = read_sizing(KEY, 2)
    assert read is not None
    assert read.fillers == (0, 0)


def test_what_was_not_used_for_the_longest_time_goes_first(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[dict[str, object]] = [{**KEY, "length": length} for length in (1024, 2048, 4096)]
    for age, key in enumerate(keys):
        write_sizing(key, SIZING)
        os.utime(cache._path(key), (age, age))
    # Used again, the oldest is the newest.
    assert read_sizing(keys[0], 2) == SIZING
    size = cache._path(keys[0]).stat().st_size
    monkeypatch.setattr(cache, "MOST_BYTES", 3 * size)
    write_sizing(KEY | {"length": 8192}, SIZING)
    assert read_sizing(keys[1], 2) is None
    assert read_sizing(keys[0], 2) == read_sizing(keys[2], 2) == SIZING
    assert len(list(own_cache.glob("documents/*"))) == 3


def test_a_file_that_another_process_removes_meanwhile_is_no_trouble(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sizing(KEY, SIZING)
    gone = [*cache._files("documents"), (own_cache / "gone", own_cache.stat())]
    monkeypatch.setattr(cache, "_files", lambda *parts: gone)
    cache._bound(0)
    assert list(own_cache.glob("documents/*")) == []
    assert cache.clear_cache() == 2


def test_the_command_says_where_the_cache_is_and_clears_it(
    own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sizing(KEY, SIZING)
    (own_cache / "something else").write_text("stays")
    assert main(["cache"]) == 0
    place = f"{own_cache} (IHA_EVAL_CACHE names another): "
    assert capsys.readouterr().out.startswith(f"{place}1 files, 0.0 MiB;")
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"1 files, 0.0 MiB, removed from {own_cache}.\n"
    assert read_sizing(KEY, 2) is None
    assert [path.name for path in own_cache.iterdir() if path.is_file()] == ["something else"]


def test_what_cannot_be_removed_is_told(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    write_sizing(KEY, SIZING)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(SystemExit) as caught:
        main(["cache", "clear"])
    assert caught.value.code == 2
    assert "cannot be removed (Permission denied): remove it by hand" in capsys.readouterr().err
