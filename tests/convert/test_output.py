"""A folder appears whole or not at all."""

import errno
import json
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from plain_models import save_plain

from model_adapters.convert import ConversionError, Recipe, output, shards, upcycle


class Usage(NamedTuple):
    """What `shutil.disk_usage` gives."""

    total: int
    used: int
    free: int


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base of several shards."""
    return save_plain(tmp_path / "base", shard="9KB")


def test_folders_on_the_way_are_made_and_an_empty_one_is_used(base: Path, tmp_path: Path) -> None:
    upcycle(base, tmp_path / "a" / "b" / "iha", Recipe(2))
    (tmp_path / "empty").mkdir()
    upcycle(base, tmp_path / "empty", Recipe(2))
    for made in (tmp_path / "a" / "b" / "iha", tmp_path / "empty"):
        assert (made / "config.json").is_file()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["iha"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_exists_is_not_written_over(kind: str, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out if kind == "file" else tmp_path / "out" / "mine").parent.mkdir(exist_ok=True)
    mine = out if kind == "file" else out / "mine"
    mine.write_text("dear to me")
    with pytest.raises(ConversionError, match="out exists already: remove it"):
        upcycle(base, out, Recipe(2))
    assert mine.read_text() == "dear to me"


@pytest.mark.parametrize("parents", ["", "new/"], ids=["here", "in a new folder"])
def test_a_name_that_no_folder_can_have_is_refused_at_once(
    parents: str, base: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"{parents}{256 * 'a'}"
    with pytest.raises(ConversionError, match=r"cannot be written \(File name too long\): name a"):
        upcycle(base, out, Recipe(2), progress=lambda *_: pytest.fail("it was begun"))
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_the_longest_name_there_can_be(base: Path, tmp_path: Path) -> None:
    upcycle(base, tmp_path / (255 * "a"), Recipe(2))
    assert (tmp_path / (255 * "a") / "config.json").is_file()


@pytest.mark.parametrize("out", [".", "..", "../here"])
def test_where_one_is_is_not_to_be_removed(
    out: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ConversionError, match="is the folder you are in, or above it: name a new"):
        upcycle(base, Path(out), Recipe(2))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError], ids=["Ctrl-C", "a bug"])
def test_an_interruption_leaves_nothing(
    stop: type[BaseException], base: Path, tmp_path: Path
) -> None:
    written: list[int] = []

    def interrupt(phase: str, count: int, total: int) -> None:
        written.extend([count] * (phase == "writing" and count > 0))
        if len(written) == 2:
            assert any(path.name.startswith(".iha.") for path in tmp_path.iterdir())
            raise stop

    with pytest.raises(stop):
        upcycle(base, tmp_path / "iha", Recipe(2), progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_a_full_disk_leaves_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "save", fail)
    with pytest.raises(ConversionError, match=r"iha cannot be written \(No space left on device\)"):
        upcycle(base, tmp_path / "iha", Recipe(2))
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_a_disk_that_is_too_small_is_not_begun_on(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output.shutil, "disk_usage", lambda _: Usage(9, 9, 1000))
    with pytest.raises(ConversionError, match=r"the disk has 0\.0 GB free, but the weights take"):
        upcycle(base, tmp_path / "iha", Recipe(2))
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_what_could_not_be_served_does_not_appear(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is read back; the error names where it would have been."""

    def spoil(made: Path, out: Path) -> object:
        file = made / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"num_pseudo_heads": 3}))
        return output.checked(made, out)

    monkeypatch.setattr("model_adapters.convert.to_iha.checked", spoil)
    with pytest.raises(ConversionError) as caught:
        upcycle(base, tmp_path / "iha", Recipe(2))
    assert str(caught.value).startswith(f"{tmp_path / 'iha'}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
