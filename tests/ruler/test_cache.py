import json
import logging
from pathlib import Path

import pytest

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
        lambda text: text.replace("4096", "4097"),
        lambda text: json.dumps({**json.loads(text), "sizes": [5]}),
        lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "tokens"}),
        lambda text: "\udcff",
    ],
    ids=["cut", "empty", "list", "null", "string", "digest", "key", "short", "lacking", "bytes"],
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


def test_a_file_of_an_earlier_release_has_no_fillers(own_cache: Path) -> None:
    write_sizing(KEY, SIZING)
    [path] = own_cache.glob("documents/*.json")
    entry = json.loads(path.read_text())
    del entry["fillers"]
    path.write_text(json.dumps(entry))
    read = read_sizing(KEY, 2)
    assert read is not None
    assert read.fillers == (0, 0)
