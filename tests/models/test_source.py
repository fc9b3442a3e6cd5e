from pathlib import Path

import httpx
import pytest
from huggingface_hub.errors import (
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from iha_eval.errors import UserError
from iha_eval.models import source
from model_adapters import default_checkpoint


def test_a_folder_is_checked_and_fingerprinted(llama: Path) -> None:
    found = source.find_checkpoint(str(llama))
    assert (found.name, found.note) == (str(llama), "")
    assert found.checkpoint.path == llama
    assert len(found.checkpoint.fingerprint) == 64


def test_nothing_named_is_the_embedded_default_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(source.logger, "propagate", True)
    monkeypatch.setattr(source.logger.parent, "propagate", True)
    found = source.find_checkpoint(None)
    assert found.checkpoint.is_iha
    assert found.note == default_checkpoint.DESCRIPTIONS[default_checkpoint.IHA]
    assert found.note in caplog.text


def test_the_embedded_baseline_goes_by_a_name() -> None:
    found = source.find_checkpoint(default_checkpoint.BASELINE)
    assert (found.name, found.checkpoint.is_iha) == ("embedded-baseline", False)
    assert "baseline" in found.note


def test_a_bad_checkpoint_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no config.json") as caught:
        source.find_checkpoint(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (HFValidationError("bad"), "is not a folder here and cannot be the name of a hub"),
        (LocalEntryNotFoundError("offline"), "the hub cannot be reached: give the path"),
        (OSError("no network"), "the hub cannot be reached"),
        (
            RepositoryNotFoundError(
                "gone", response=httpx.Response(404, request=httpx.Request("GET", "http://x"))
            ),
            "the hub has no some/model at revision v2 for you .*: check the spelling",
        ),
    ],
    ids=["no name", "offline", "no network", "unknown"],
)
def test_what_is_not_to_be_had_is_an_error_of_one_sentence(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(source, "snapshot_download", refuse)
    with pytest.raises(UserError, match=message) as caught:
        source.locate("some/model", "v2")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("model.gguf", "convert it first (iha-eval convert {} --out DIR --pseudo-heads P)."),
        ("MODEL.GGUF", "convert it first (iha-eval convert {} --out DIR --pseudo-heads P)."),
        ("model.safetensors", "give the path of the folder that it lies in."),
    ],
)
def test_a_file_is_not_looked_for_on_the_hub(
    file: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(source, "snapshot_download")
    path = tmp_path / file
    path.write_bytes(b"GGUF")
    with pytest.raises(UserError) as caught:
        source.find_checkpoint(str(path))
    said = remedy.format(path)
    assert str(caught.value) == f"{path} is a file, not a checkpoint folder: {said}"


def test_a_hub_name_is_fetched_without_weights_of_other_formats(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def fetch(name: str, **kwargs: object) -> str:
        asked.update(kwargs, name=name)
        return str(llama)

    monkeypatch.setattr(source, "snapshot_download", fetch)
    assert source.find_checkpoint("some/model", "v2").checkpoint.path == llama
    assert (asked["name"], asked["revision"]) == ("some/model", "v2")
    assert "*.bin" not in list(asked["allow_patterns"])  # type: ignore[call-overload]
