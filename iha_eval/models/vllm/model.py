"""The model class `iha-vllm`: any checkpoint that vLLM serves, IHA or plain, behind lm-eval.

For: `lm_eval --model iha-vllm --model_args pretrained=FOLDER`; a baseline goes the same way.
Not for: serving over a network, nor for what a checkpoint is (see `model_adapters`).
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from iha_eval.errors import UserError
from iha_eval.generation_kwargs import Sampling
from iha_eval.models import source
from iha_eval.models.arguments import count
from iha_eval.models.base import HarnessModel
from iha_eval.models.requests import NO_SCORE, Answer, GenerateRequest, Score, ScoreRequest
from iha_eval.models.run_stats import CallStats, KVCache, Progress
from iha_eval.models.vllm import engine_arguments
from iha_eval.models.vllm.cluster import ClusterError, EngineCluster
from iha_eval.models.vllm.dealing import EnginePrompt
from iha_eval.models.vllm.devices import EnginePlan
from iha_eval.models.vllm.engine import Engine, Output, start_engine
from iha_eval.models.vllm.sample_groups import grouped, split_over_engines
from iha_eval.util.log import logger
from model_adapters.checkpoint import names_kernel


class IHAVLLM(HarnessModel):
    """lm-eval model class on vLLM.

    The engine starts at the first call, when it is known how long sequences get, and stays. It
    starts anew only for a later call that needs longer ones.

    Args:
        pretrained: folder or hub name of the checkpoint; None is the embedded default.
        given: `arguments.ModelArguments`, and any of `vllm.EngineArgs`.

    Raises:
        UserError: an argument or the checkpoint is not as it should be.
    """

    MODEL: ClassVar[str] = "iha-vllm"
    # vLLM has to generate a token after what it scores.
    SCORING_ROOM: ClassVar[int] = 1
    # As in lm-eval's own class: a token of prefix before the window, one generated after it.
    WINDOW_MARGIN: ClassVar[int] = 2

    _engine: Engine | EngineCluster | None = None

    def __init__(self, pretrained: str | Path | None = None, **given: Any) -> None:
        """Checks arguments and checkpoint; starts no engine."""
        super().__init__(pretrained, **given)
        contents = self.source.checkpoint
        raw = json.loads((contents.path / "config.json").read_text(encoding="utf-8"))
        kernel = names_kernel(raw)
        if kernel is not None and not self.arguments.trust_remote_code:
            raise UserError(
                f"config.json of {contents.path} asks for attention code from {kernel}, which vLLM "
                "would fetch and run: remove attn_implementation from it, or set "
                "trust_remote_code=True."
            )
        if contents.is_iha:
            engine_arguments.check_serving(contents.config, self.arguments.engine)

    def _check_engine_arguments(self) -> None:
        self._engines = _engines(self.arguments.engine)
        engine_arguments.check(self.MODEL, self.arguments.engine)
        # lm-eval's command says cuda:0 where nothing was said.
        if self.arguments.device not in (None, "cuda", "cuda:0", "cpu"):
            logger.warning(
                "device=%s is left to vLLM: choose GPUs with CUDA_VISIBLE_DEVICES.",
                self.arguments.device,
            )

    def _prepare(self, max_model_len: int, needs: Sequence[int]) -> None:
        if self._engine is not None and self._engine.max_model_len >= max_model_len:
            return
        if self._engine is not None:
            logger.warning(
                "This call needs max_model_len=%d and the engine runs with %d: it starts anew; set "
                "max_model_len=%d to spare that.",
                max_model_len,
                self._engine.max_model_len,
                max_model_len,
            )
            self.close()
        plan = EnginePlan(
            self.source.checkpoint.path,
            self.text.folder,
            self.arguments,
            max_model_len,
            needs,
            self.source.checkpoint.fingerprint,
        )
        if self._engines == 1:
            self._engine = start_engine(plan, self.source.checkpoint)
        else:
            ranks = engine_arguments.ranks(self.arguments.engine)
            self._engine = EngineCluster(plan, self._engines, ranks)

    def close(self) -> None:
        """Stop the engine; the next call starts one again."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _generate(
        self,
        requests: Sequence[GenerateRequest],
        call: CallStats,
        done: Callable[[GenerateRequest, Answer], None],
        progress: Progress,
    ) -> None:
        # The longest first, so that no long one is left to run alone at the end.
        longest_first = sorted(grouped(requests), key=lambda group: -group.reach)
        engines = 1 if self._engine is None else self._engine.wanted
        order = list(split_over_engines(longest_first, engines))

        def finished(place: int, output: Output) -> None:
            group = order[place]
            generated = sum(len(made.token_ids) for made in output.outputs)
            _count(call, output, generated, len(group.members))
            for job, made in zip(group.members, output.outputs, strict=True):
                cut = made.finish_reason == "length"
                done(job, self.text.answer(job, made.token_ids, cut=cut))
                progress.finish(len(job.prompt), len(made.token_ids))

        prompts = (
            EnginePrompt(
                group.first.prompt,
                self._drawn(group.first),
                len(group.members),
                _label(group.first),
            )
            for group in order
        )
        self._run(prompts, finished, call, progress)

    def _drawn(self, request: GenerateRequest) -> Sampling:
        """What vLLM is given: it would stop inside of a thought, so then it is given no stops."""
        thinking = self.arguments.think_end_token is not None
        return replace(request.sampling, stop=()) if thinking else request.sampling

    def _score(
        self,
        requests: Sequence[ScoreRequest],
        call: CallStats,
        done: Callable[[ScoreRequest, Score], None],
        progress: Progress,
    ) -> None:
        order = sorted(requests, key=lambda job: -(len(job.context) + len(job.continuation)))

        def finished(place: int, output: Output) -> None:
            job = order[place]
            _count(call, output, 0)
            done(job, _read_score(job, output))
            progress.finish(len(job.context) + len(job.continuation), 0)

        prompts = (EnginePrompt(job.context + job.continuation, label=_label(job)) for job in order)
        self._run(prompts, finished, call, progress)

    def _run(
        self,
        prompts: Iterator[EnginePrompt],
        finished: Callable[[int, Output], None],
        call: CallStats,
        progress: Progress,
    ) -> None:
        # Without requests there is no engine, and nothing to do.
        if self._engine is None:
            return
        engine = self._engine
        seen = engine.non_finite

        def checked(place: int, output: Output) -> None:
            nonlocal seen
            if engine.non_finite > seen:
                count, seen = engine.non_finite - seen, engine.non_finite
                self._non_finite(call, count, "in prompts that ran at the same time")
            finished(place, output)

        try:
            before = self._engine.prefix_hits()
            self._engine.run(prompts, checked, progress.beat)
            call.cached_tokens += self._engine.prefix_hits() - before
        except ClusterError:
            self.close()
            raise

    def _kv_cache(self) -> KVCache | None:
        return None if self._engine is None else self._engine.kv_cache()

    def _engines_alive(self) -> int | None:
        return getattr(self._engine, "alive", None)

    def _engine_facts(self) -> dict[str, Any]:
        dtype = source.compute_dtype(self.source.checkpoint, self.arguments.dtype)
        if self._engine is None:
            return {"backend": "vllm", "dtype": dtype}
        return {
            "backend": "vllm",
            "dtype": dtype,
            "max_model_len": self._engine.max_model_len,
            "engine_args": engine_arguments.shown(self._engine.arguments),
            **self._engine.facts(),
        }


def _engines(engine: dict[str, Any]) -> int | None:
    """Take data parallelism out of the engine's arguments: answers do not depend on it.

    Returns:
        How many engines; None is as many as there is room for.

    Raises:
        UserError: it is no number, or comes with arguments of vLLM's own way.
    """
    given = engine.pop("data_parallel_size", None)
    for name, value in engine.items():
        if name.startswith("data_parallel_"):
            raise UserError(
                f"{name}={value!r} belongs to vLLM's server: here data_parallel_size=N alone runs "
                "N engines side by side and deals the documents over them."
            )
    return None if given == "auto" else count("data_parallel_size", given) or 1


def _label(request: GenerateRequest | ScoreRequest) -> str:
    return f"document {request.doc_id} of {request.task}"


def _count(call: CallStats, output: Output, generated: int, answers: int = 1) -> None:
    times = None
    if output.metrics is not None and output.metrics.first_token_ts:
        stats = output.metrics
        times = (stats.scheduled_ts, stats.first_token_ts, stats.last_token_ts)
    prompt = len(output.prompt_token_ids) * answers
    call.add(prompt=prompt, generated=generated, times=times, answers=answers)


def _read_score(job: ScoreRequest, output: Output) -> Score:
    """Sum the log-probabilities of a continuation, and see whether each was the highest.

    Each entry of vLLM's `prompt_logprobs` holds the token of the prompt and the likeliest one.
    """
    total, greedy = 0.0, True
    entries = (output.prompt_logprobs or [])[len(job.context) :]
    for token, entry in zip(job.continuation, entries, strict=True):
        assert entry is not None, "only the first token of a prompt has no log-probability"
        if not math.isfinite(entry[token].logprob):
            return NO_SCORE
        total += entry[token].logprob
        greedy = greedy and max(entry, key=lambda other: entry[other].logprob) == token
    return Score(total, greedy)
