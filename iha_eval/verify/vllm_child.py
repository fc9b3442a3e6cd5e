"""The process in which vLLM reads the sequences: `python -m iha_eval.verify.vllm_child`.

For: `vllm_model.py`, which starts it; a request comes in as JSON on standard input, and the reply
goes as JSON into the file that the request names, because vLLM prints as it likes.
Not for: being called by hand. When it ends, all that vLLM held is free, and when vLLM crashes only
this process is gone.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iha_eval.errors import UserError
from iha_eval.models.arguments import ModelArguments
from iha_eval.models.vllm import engine_arguments
from iha_eval.models.vllm.dealing import EnginePrompt
from iha_eval.models.vllm.engine import Engine, Output, set_environment, vllm_params
from model_adapters import checkpoint
from model_adapters.errors import AdapterError

#: Tokens a step: prompts longer than this are read in chunks.
CHUNK = 256

# Most that vLLM lists of a place without being told otherwise.
LISTED = 20


def main() -> int:
    """Serve one request.

    Returns:
        0, also when vLLM refused: the reply says so.
    """
    request = json.load(sys.stdin)
    try:
        reply = serve(request)
    except (UserError, AdapterError) as error:
        reply = {"refused": str(error)}
    Path(request["reply"]).write_text(json.dumps(reply), encoding="utf-8")
    return 0


def serve(request: dict[str, Any]) -> dict[str, Any]:
    """Start the engine as an evaluation does, read, generate, stop.

    Args:
        request: `checkpoint` and `tokenizer`, folders; `dtype`; `prompts` and `answers`, token ids.

    Returns:
        `whole` and `stepwise`, rows as [logprobs, best] for each sequence; `prefix_hits`, prompt
        tokens that came out of the prefix cache; `facts` of the engine.

    Raises:
        UserError: vLLM refuses.
        AdapterError: The checkpoint is not as it should be.
    """
    stored = checkpoint.read(request["checkpoint"])
    cpu = set_environment(1)
    prompts, answers = request["prompts"], request["answers"]
    sequences = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    needs = [len(ids) + 1 for ids in sequences]
    arguments = ModelArguments(
        dtype=request["dtype"],
        # Small steps, so that chunked prefill and the prefix cache are on the way.
        engine={
            "max_num_batched_tokens": CHUNK,
            "max_num_seqs": 8,
            "enable_prefix_caching": True,
        },
    )
    built = engine_arguments.build(
        stored,
        Path(request["tokenizer"]),
        arguments,
        max_model_len=max(needs),
        needs=needs,
        cpu=cpu,
    )
    engine = Engine(built, batch_invariant=cpu)
    read = _run(engine, sequences, vllm_params)
    # Their blocks are in the prefix cache now, which requests for prompt scores never read from.
    before = engine.prefix_hits()
    generated = _run(engine, prompts, lambda _: _greedy(len(answers[0])))
    reply = {
        "whole": [_whole(output, ids) for output, ids in zip(read, sequences, strict=True)],
        "stepwise": [
            _stepwise(output, answer) for output, answer in zip(generated, answers, strict=True)
        ],
        "prefix_hits": engine.prefix_hits() - before,
        "facts": engine.facts(),
    }
    engine.close()
    return reply


def _run(
    engine: Engine, prompts: list[list[int]], params: Callable[[EnginePrompt], Any]
) -> list[Output]:
    outputs: dict[int, Output] = {}
    engine.run((EnginePrompt(ids) for ids in prompts), outputs.__setitem__, lambda: None, params)
    return [outputs[place] for place in range(len(prompts))]


def _greedy(tokens: int) -> Any:
    from vllm import SamplingParams

    return SamplingParams(
        temperature=0.0, max_tokens=tokens, logprobs=LISTED, ignore_eos=True, detokenize=False
    )


def _whole(output: Output, ids: list[int]) -> list[list[float]]:
    """Each entry of vLLM's `prompt_logprobs` holds the token of the prompt and the likeliest."""
    entries = (output.prompt_logprobs or [])[1:]
    listed = [{token: score.logprob for token, score in (entry or {}).items()} for entry in entries]
    own = [entry[token] for token, entry in zip(ids[1:], listed, strict=True)]
    return [own, [max(entry.values()) for entry in listed]]


def _stepwise(output: Output, answer: list[int]) -> list[list[float]]:
    """What vLLM found of the reference's answer, up to where it went another way itself."""
    made: Any = output.outputs[0]
    own, best = [], []
    for token, wanted, entry in zip(made.token_ids, answer, made.logprobs, strict=True):
        listed = {other: score.logprob for other, score in entry.items()}
        # What is not listed is less likely than all that is.
        own.append(listed.get(wanted, min(listed.values())))
        best.append(listed[token])
        if token != wanted:
            break
    return [own, best]


if __name__ == "__main__":
    raise SystemExit(main())
