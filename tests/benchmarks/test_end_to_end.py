"""The end-to-end benchmark: what it types, and what it makes of what runs wrote."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "end_to_end.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    # Where `python benchmarks/NAME.py` finds what it shares with others.
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return runpy.run_path(str(SCRIPT))


def results(seconds: float, generated: int) -> dict[str, Any]:
    call = {"seconds": seconds, "prompt_tokens": 4000, "generated_tokens": generated}
    counts = {"one": {"effective": 3, "original": 9}, "two": {"effective": 1, "original": 9}}
    return {"n-samples": counts, "config": {"iha_eval": {"summary": [call]}}}


def test_documents_are_those_that_were_asked(script: dict[str, Any]) -> None:
    found = script["measured"](results(30.0, 80))
    assert found == {
        "documents_per_minute": 8.0,
        "prompt_tokens_per_document": 1000.0,
        "generated_tokens_per_document": 20.0,
    }


def test_ratios_are_taken_round_by_round(script: dict[str, Any]) -> None:
    measured = script["measured"]
    rounds = [
        {"embedded-baseline": measured(results(60, 8)), "embedded-iha": measured(results(30, 80))},
        {"embedded-baseline": measured(results(20, 8)), "embedded-iha": measured(results(20, 80))},
        {"embedded-baseline": measured(results(24, 8)), "embedded-iha": measured(results(30, 80))},
    ]
    assert script["row"]("mine", rounds) == (
        "| mine | 10.00 | 1.00 (0.80 to 2.00) | 2 / 20 | 10.00 (8.00 to 20.00) |"
    )


def test_the_models_take_turns_and_figures_are_written(
    script: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[tuple[str, str]] = []

    def run(case: str, model: str) -> dict[str, float]:
        ran.append((case, model))
        found: dict[str, float] = script["measured"](results(60, 8))
        return found

    main = script["main"]
    monkeypatch.setitem(main.__globals__, "run", run)
    file = tmp_path / "found.json"
    words = ["--cases", "gsm8k_maj", "--rounds", "2", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["end_to_end.py", *words])
    main()
    assert [model for _, model in ran] == [
        *("embedded-baseline", "embedded-iha"),
        *("embedded-iha", "embedded-baseline"),
    ]
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["commands"]["gsm8k_maj"][:2] == ["--model", "iha-vllm"]
    assert len(content["rounds"]["gsm8k_maj"]) == 2


def test_a_run_that_failed_ends_the_benchmark(
    script: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [sys.executable, "-c", "raise SystemExit('no such task')"]
    monkeypatch.setitem(script["run"].__globals__, "command", lambda *_: failing)
    with pytest.raises(
        SystemExit, match="gsm8k_maj with embedded-iha by iha-vllm failed:\nno such task"
    ):
        script["run"]("gsm8k_maj", "embedded-iha")


def test_beside_stock_lm_eval_the_whole_command_counts(
    script: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Turns alternate; a ratio above 1 says that `iha-vllm` takes less."""
    ran: list[str] = []

    def whole_command(case: str, by: str) -> dict[str, Any]:
        ran.append(by)
        return {"wall": 30.0 if by == "vllm" else 20.0, "processors": 40.0, "scores": {}}

    main = script["main"]
    monkeypatch.setitem(main.__globals__, "whole_command", whole_command)
    file = tmp_path / "found.json"
    words = ["--stock", "--cases", "ruler_mk_8k", "--rounds", "2", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["end_to_end.py", *words])
    main()
    assert ran == ["vllm", "iha-vllm", "iha-vllm", "vllm"]
    expected = "| ruler_mk_8k | 30 / 20 | 1.50 (1.50 to 1.50) | 40 / 40 | 1.00 (1.00 to 1.00) |"
    assert expected in capsys.readouterr().out
    commands = json.loads(file.read_text(encoding="utf-8"))["commands"]
    assert "vllm" in commands["ruler_mk_8k, vllm"]
    assert "iha-vllm" in commands["ruler_mk_8k, iha-vllm"]
