import sys
from importlib.metadata import version

import pytest

from iha_eval.models import provenance
from iha_eval.util.redact import without_secrets


def test_versions_name_what_is_installed_whatever_vllm_is_called() -> None:
    found = provenance.versions()
    assert found["lm_eval"] == version("lm-eval")
    assert found["torch"] == version("torch")
    assert found["vllm"] is not None


def test_a_package_that_is_missing_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "DISTRIBUTIONS", {"it": ("no-such-package",)})
    assert provenance.versions() == {"it": None}


def test_the_command_line_is_kept_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "/some/bin/lm_eval",
        "--model_args",
        "add_bos_token=True,hf_token=abc",
        "token=xyz,public=1",
    ]
    monkeypatch.setattr(sys, "argv", words)
    assert provenance.command_line() == [
        "lm_eval",
        "--model_args",
        "add_bos_token=True,hf_token=***",
        "token=***,public=1",
    ]


def test_secrets_in_json_arguments_are_hidden_too(monkeypatch: pytest.MonkeyPatch) -> None:
    said = '{"pretrained": "x", "hf_token": "hf_abc", "add_bos_token": true}'
    monkeypatch.setattr(sys, "argv", ["lm_eval", "--model_args", said])
    shown = provenance.command_line()[2]
    assert "hf_abc" not in shown
    assert '"hf_token": "***"' in shown
    assert '"add_bos_token": true' in shown


def test_arguments_become_plain_and_lose_secrets() -> None:
    given = {"hf_token": "abc", "add_bos_token": True, "sizes": (1, {2: object})}
    found = without_secrets(given)
    assert found["hf_token"] == "***"
    assert found["add_bos_token"] is True
    assert found["sizes"] == [1, {"2": str(object)}]


def test_the_processor_is_named_with_its_cores() -> None:
    assert provenance.processor().endswith(" cores")
