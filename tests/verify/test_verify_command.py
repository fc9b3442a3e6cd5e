"""`iha-eval verify`: arguments, output, exit codes."""

import json
from pathlib import Path

import pytest

from iha_eval.cli import main, verify
from iha_eval.verify import compare, run
from iha_eval.verify.run import Request, VerifyReport


def test_agreement_is_exit_code_0_and_json(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verify", str(base), "--without", "vllm", "--prompts", "short", "--json"]
    assert main(command) == 0
    said = capsys.readouterr()
    made = json.loads(said.out)
    assert made["agree"] is True
    assert made["not_checked"] == ["vLLM, as asked"]
    assert "reading: the naive implementation in float32" in said.err


def test_disagreement_is_exit_code_1_and_a_table(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No two implementations agree to the last bit."""
    command = ["verify", str(base), "--without", "vllm", "--prompts", "short"]
    assert main([*command, "--tolerance", "1e-12"]) == 1
    said = capsys.readouterr().out
    assert "by length of the prompt in tokens" in said
    assert said.splitlines()[-1].startswith("DISAGREE: ")


def test_a_mistake_is_exit_code_2_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["verify", "/nowhere/at/all"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("iha-eval: /nowhere/at/all is not a folder here")
    assert said.count("\n") == 1


def test_every_option_reaches_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []

    def stop(request: Request, say: object) -> VerifyReport:
        asked.append(request)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "verify", stop)
    for options in (
        [],
        ["--against", "base", "--dtype", "checkpoint", "--prompts", "short"],
        ["--tolerance", "0.5", "--without", "vllm"],
    ):
        with pytest.raises(KeyboardInterrupt):
            verify.main(["here", *options])
    assert asked == [
        Request("here"),
        Request("here", "base", "checkpoint", "short"),
        Request("here", tolerance=0.5, vllm=False),
    ]
    assert asked[0].tolerance == compare.TOLERANCE


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x", "--tolerance", "0"],
        ["x", "--tolerance", "nan"],
        ["x", "--tolerance", "much"],
        ["x", "--dtype", "int8"],
        ["x", "--without", "naive"],
    ],
)
def test_usage_is_shown_for_anything_else(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        verify.main(arguments)
    assert caught.value.code == 2
    assert "usage: iha-eval verify" in capsys.readouterr().err
