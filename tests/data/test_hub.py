"""The hub, with stand-ins for the network: nothing here leaves the machine."""

from typing import Any

import datasets
import huggingface_hub
import pytest

from iha_eval.data.hub import PROBE_SECONDS, hub_rows
from iha_eval.data.known import GSM8K_TRAIN, MATH500_TEST


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
    assert hub_rows(file) == hub.rows
    assert hub.asked == [(place[0], PROBE_SECONDS), (*place, False)]


def test_a_hub_that_does_not_answer_leaves_the_cache(hub: Hub) -> None:
    hub.error = TimeoutError("timed out")
    assert hub_rows(MATH500_TEST) == hub.rows
    assert hub.asked[1][-1] is True
    assert datasets.config.HF_HUB_OFFLINE is False


def test_neither_hub_nor_cache_says_why_the_hub_failed(hub: Hub) -> None:
    hub.error, hub.rows = OSError("no route\nto host"), FileNotFoundError("not cached")
    with pytest.raises(ConnectionError, match=r"^no route$"):
        hub_rows(MATH500_TEST)
    assert datasets.config.HF_HUB_OFFLINE is False


def test_a_failure_after_the_first_answer_is_told(hub: Hub) -> None:
    hub.rows = RuntimeError("")
    with pytest.raises(ConnectionError, match=r"^RuntimeError$"):
        hub_rows(MATH500_TEST)


def test_offline_mode_of_the_user_stays(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    hub_rows(MATH500_TEST)
    assert hub.asked[1][-1] is True
    assert datasets.config.HF_HUB_OFFLINE is True


def test_an_empty_cache_fails_for_real(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The library itself, kept from the network by the switch that is under test."""
    hub = Hub()
    hub.error = OSError("no route")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match=r"^no route$") as caught:
        hub_rows(MATH500_TEST)
    assert "Offline" in str(caught.value.__cause__)
