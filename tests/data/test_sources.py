import json
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest

from iha_eval.data import sources
from iha_eval.data.known import GSM8K_TEST, GSM8K_TRAIN, MATH500_TEST
from iha_eval.data.rows import rows_sha256
from iha_eval.data.sources import (
    PROBE_SECONDS,
    MissingDataError,
    hub_rows,
    load_rows,
    named_folder,
    unreachable,
)
from iha_eval.errors import UserError

MATH500 = (MATH500_TEST.repository, MATH500_TEST.configuration, MATH500_TEST.split)
ROWS = [{"question": f"How many? {n}", "answer": f"#### {n}"} for n in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / GSM8K_TEST.name
    path.parent.mkdir()
    path.write_text("\n".join(map(json.dumps, ROWS)))
    return tmp_path


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IHA_EVAL_DATA", raising=False)


def test_metadata_comes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    assert named_folder() is None
    assert named_folder({"data": None}) is None
    monkeypatch.setenv("IHA_EVAL_DATA", str(second))
    assert named_folder({"k": 4}) == second
    assert named_folder({"data": str(first)}) == first
    monkeypatch.setenv("IHA_EVAL_DATA", "")
    assert named_folder() is None


def test_a_home_folder_may_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named_folder({"data": "~"}) == tmp_path


@pytest.mark.parametrize("value", ["nowhere", "", 7, ["a"]])
def test_what_is_no_folder_is_refused(value: object) -> None:
    with pytest.raises(UserError, match=r'metadata "data" is .*which is not a folder') as caught:
        named_folder({"data": value})
    assert repr(str(value)) in str(caught.value)


def test_the_variable_is_named_where_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IHA_EVAL_DATA", "/nowhere/at/all")
    with pytest.raises(UserError, match="IHA_EVAL_DATA is '/nowhere/at/all'"):
        named_folder()


def test_a_file_of_other_rows_is_used_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_rows(GSM8K_TEST, folder)
    assert loaded.rows == ROWS
    assert loaded.provenance == {
        "source": str(folder / "gsm8k/test.jsonl"),
        "rows": 3,
        "sha256": rows_sha256(ROWS),
        "known": False,
    }
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "is not the published GSM8K test set (3 rows," in record.message
    assert "published: 1319 rows, SHA-256 5b736e25f3d1" in record.message


def test_the_published_file_gives_no_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = replace(GSM8K_TEST, rows=3, sha256=rows_sha256(ROWS))
    assert load_rows(file, folder).known
    assert not caplog.records


def test_a_missing_file_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError) as caught:
        load_rows(GSM8K_TEST, tmp_path)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'gsm8k/test.jsonl'} does not exist: put the GSM8K test")
    for part in ("'question' and 'answer'", "openai/gsm8k (main, test)", "IHA_EVAL_DATA", '"data"'):
        assert part in said


def test_a_named_folder_never_falls_back_to_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "hub_rows", lambda *place: pytest.fail("asked the hub"))
    with pytest.raises(MissingDataError):
        load_rows(GSM8K_TEST, tmp_path)


def test_without_a_folder_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{**row, "extra": 1} for row in ROWS]
    monkeypatch.setattr(sources, "hub_rows", lambda *place: rows)
    loaded = load_rows(GSM8K_TEST, None)
    assert loaded.rows == ROWS
    assert loaded.source == "hub: openai/gsm8k (main, test)"
    assert loaded.sha256 == rows_sha256(ROWS)


def test_without_hub_and_folder_one_sentence_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*place: object) -> Any:
        raise ConnectionError("no such host")

    monkeypatch.setattr(sources, "hub_rows", fail)
    with pytest.raises(MissingDataError) as caught:
        load_rows(GSM8K_TEST, None)
    said = str(caught.value)
    assert said.startswith("The GSM8K test set cannot be had from the hub (no such host): put it")
    assert "as gsm8k/test.jsonl" in said
    assert "IHA_EVAL_DATA" in said
    assert said.count(". ") == 0


class Hub:
    """Answers, or does not; and what `datasets` then finds."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.rows: list[dict[str, Any]] | Exception = [{"problem": "a"}, {"problem": "b"}]
        self.asked: list[Any] = []

    def dataset_info(self, name: str, timeout: float) -> None:
        self.asked.append((name, timeout))
        if self.error:
            raise self.error

    def load_dataset(self, *where: Any, split: str) -> Any:
        self.asked.append((*where, split, datasets.config.HF_HUB_OFFLINE))
        if isinstance(self.rows, Exception):
            raise self.rows
        return datasets.Dataset.from_list(self.rows)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(datasets, "load_dataset", hub.load_dataset)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    return hub


@pytest.mark.parametrize(
    ("file", "place"),
    [
        pytest.param(MATH500_TEST, ("HuggingFaceH4/MATH-500", None, "test"), id="MATH-500"),
        pytest.param(GSM8K_TRAIN, ("openai/gsm8k", "main", "train"), id="GSM8K train"),
    ],
)
def test_a_hub_that_answers_is_read_online(hub: Hub, file: Any, place: tuple[Any, ...]) -> None:
    assert hub_rows(file.repository, file.configuration, file.split) == hub.rows
    assert hub.asked == [(place[0], PROBE_SECONDS), (*place, False)]


def test_a_hub_that_does_not_answer_leaves_the_cache(hub: Hub) -> None:
    hub.error = TimeoutError("timed out")
    assert hub_rows(*MATH500) == hub.rows
    assert hub.asked[1][-1] is True
    assert datasets.config.HF_HUB_OFFLINE is False


def test_neither_hub_nor_cache_says_why_the_hub_failed(hub: Hub) -> None:
    hub.error, hub.rows = OSError("no route\nto host"), FileNotFoundError("not cached")
    with pytest.raises(ConnectionError, match=r"^no route$"):
        hub_rows(*MATH500)
    assert datasets.config.HF_HUB_OFFLINE is False


def test_a_failure_after_the_first_answer_is_told(hub: Hub) -> None:
    hub.rows = RuntimeError("")
    with pytest.raises(ConnectionError, match=r"^RuntimeError$"):
        hub_rows(*MATH500)


def test_offline_mode_of_the_user_stays(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    hub_rows(*MATH500)
    assert hub.asked[1][-1] is True
    assert datasets.config.HF_HUB_OFFLINE is True


def test_an_empty_cache_fails_for_real(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The library itself, kept from the network by the switch that is under test."""
    hub = Hub()
    hub.error = OSError("no route")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match=r"^no route$") as caught:
        hub_rows(*MATH500)
    assert "Offline" in str(caught.value.__cause__)


def test_a_name_server_that_hangs_is_not_waited_for(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, left = threading.Event(), threading.Event()

    def hang(name: str, timeout: float) -> None:
        released.wait()
        left.set()
        raise OSError

    monkeypatch.setattr(sources, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(hub, "dataset_info", hang)
    assert unreachable(MATH500_TEST.repository) == "no answer within 0.05 seconds"
    released.set()
    assert left.wait(10)
