"""The model class `iha-hf`: a checkpoint run by Transformers, behind lm-eval.

For: machines without vLLM, and as the cross-check of what vLLM serves.
Not for: speed. It shares everything with `iha-vllm` but the engine.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

# Registers IHA's configuration and model with Transformers.
import model_adapters  # noqa: F401
from iha_eval.errors import UserError
from iha_eval.models import source
from iha_eval.models.arguments import refuse_unknown
from iha_eval.models.base import HarnessModel
from iha_eval.models.hf import generate
from iha_eval.models.provenance import device_name
from iha_eval.models.requests import NO_SCORE, Answer, GenerateRequest, Score, ScoreRequest
from iha_eval.models.run_stats import CallStats, Progress, non_finite_rows
from iha_eval.util.log import logger

KNOWN = ("attn_implementation",)


class IHAHF(HarnessModel):
    """lm-eval model class on Transformers.

    Args:
        pretrained: folder or hub name of the checkpoint; None is the embedded default.
        given: `arguments.ModelArguments`, and `attn_implementation` ("sdpa" or "eager").

    Raises:
        UserError: an argument or the checkpoint is not as it should be.
    """

    MODEL: ClassVar[str] = "iha-hf"
    # The last token of what is scored is never read.
    SCORING_ROOM: ClassVar[int] = -1
    WINDOW_MARGIN: ClassVar[int] = 0

    _model: Any = None
    _longest: int = 0

    def _check_engine_arguments(self) -> None:
        refuse_unknown(self.MODEL, self.arguments.engine, KNOWN)
        if self.arguments.batch_invariant:
            raise UserError(
                "batch_invariant=True is for iha-vllm: with iha-hf, --batch_size auto "
                "--max_batch_size 1 answers each request alone."
            )
        self._device = _device(self.arguments.device)

    def _prepare(self, max_model_len: int, needs: Sequence[int]) -> None:  # noqa: ARG002
        self._longest = max(self._longest, max_model_len)
        if self._model is not None:
            return
        checkpoint = self.source.checkpoint
        kind = source.compute_dtype(checkpoint, self.arguments.dtype)
        logger.info("Loading %s in %s on %s", checkpoint.path, kind, self._device)
        try:
            self._model = AutoModelForCausalLM.from_pretrained(
                checkpoint.path,
                # Ours is without what a checkpoint may ask the hub for.
                config=checkpoint.config,
                dtype=kind if kind == "auto" else getattr(torch, kind),
                trust_remote_code=self.arguments.trust_remote_code,
                **self.arguments.engine,
            )
        # Each architecture and each loader has errors of its own.
        except Exception as error:
            reason = " ".join(str(error).split()) or repr(error)
            raise UserError(
                f"Transformers does not load {checkpoint.path}: {reason[:500]}"
            ) from error
        self._model.to(self._device).eval()
        # A checkpoint's own defaults (top_k, repetition_penalty, ...) are not what the task asked.
        self._model.generation_config = GenerationConfig()

    def _generate(
        self,
        requests: Sequence[GenerateRequest],
        call: CallStats,
        done: Callable[[GenerateRequest, Answer], None],
        progress: Progress,
    ) -> None:
        for batch in generate.batches(
            requests, _reach, rows=self.arguments.concurrency, tokens=self._batch_tokens
        ):

            def finished(
                place: int,
                ids: list[int],
                cut: bool,
                times: tuple[float, float, float],
                batch: list[GenerateRequest] = batch,
            ) -> None:
                job = batch[place]
                call.add(prompt=len(job.prompt), generated=len(ids), times=times)
                done(job, self.text.answer(job, ids, cut=cut))
                progress.finish(len(job.prompt), len(ids))

            def non_finite(places: list[int], batch: list[GenerateRequest] = batch) -> None:
                if places:
                    self._non_finite(call, len(places), _whose(batch[places[0]]))

            generate.generate(self._model, self.text, batch, finished, progress.beat, non_finite)

    def _score(
        self,
        requests: Sequence[ScoreRequest],
        call: CallStats,
        done: Callable[[ScoreRequest, Score], None],
        progress: Progress,
    ) -> None:
        for batch in generate.batches(
            requests, _span, rows=self.arguments.concurrency, tokens=self._batch_tokens
        ):
            start = time.perf_counter()
            scores = self._batch_scores(batch, call)
            end = time.perf_counter()
            for job, score in zip(batch, scores, strict=True):
                call.add(prompt=_span(job), generated=0, times=(start, end, end))
                done(job, score)
                progress.finish(_span(job), 0)

    def _batch_scores(self, batch: Sequence[ScoreRequest], call: CallStats) -> list[Score]:
        # What predicts the last token is the one before it.
        inputs = [(job.context + job.continuation)[:-1] for job in batch]
        ids, mask = generate.pad_left(inputs, self.text.pad_id, self._model.device)
        kept = max(len(job.continuation) for job in batch)
        with torch.inference_mode():
            logits = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                use_cache=False,
                logits_to_keep=kept,
            ).logits
            scores = []
            for row, job in zip(logits, batch, strict=True):
                bad = int(non_finite_rows(row[-len(job.continuation) :]).sum())
                if bad:
                    self._non_finite(call, bad, _whose(job))
                scores.append(NO_SCORE if bad else _row_score(row, job))
            return scores

    def _engine_facts(self) -> dict[str, Any]:
        facts = {
            "backend": "transformers",
            "dtype": source.compute_dtype(self.source.checkpoint, self.arguments.dtype),
            "device": device_name(self._device),
        }
        if self._model is None:
            return facts
        attention = [str(self._model.config._attn_implementation)]
        return facts | {"max_model_len": self._longest, "attention": attention}

    @property
    def _batch_tokens(self) -> int:
        return generate.CPU_TOKENS if self._device.type == "cpu" else generate.GPU_TOKENS


def _whose(job: GenerateRequest | ScoreRequest) -> str:
    return f"in task {job.task}, document {job.doc_id}"


def _reach(job: GenerateRequest) -> int:
    return len(job.prompt) + job.sampling.max_tokens


def _span(job: ScoreRequest) -> int:
    return len(job.context) + len(job.continuation)


def _row_score(logits: torch.Tensor, job: ScoreRequest) -> Score:
    """Score of one row from the logits [kept, vocabulary] that end with its continuation's."""
    tokens = torch.tensor(list(job.continuation), device=logits.device)
    logprobs = logits[-len(tokens) :].float().log_softmax(-1)
    own = logprobs.gather(-1, tokens[:, None]).sum()
    return Score(float(own), bool((logprobs.argmax(-1) == tokens).all()))


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device={name!r} is no torch device: say cpu or cuda:0.") from error
    if device.type != "cuda" or torch.cuda.is_available():
        return device
    # lm-eval's command says cuda:0 where nothing was said.
    if device.index in (None, 0):
        logger.info("device=%s: torch finds no GPU, so the model runs on the CPU.", name)
        return torch.device("cpu")
    raise UserError(f"device={name!r} asks for a GPU, and torch finds none: say cpu.")
