"""What both model classes have in common: lm-eval's interface on one side, an engine on the other.

For: lm-eval's conventions about chat templates, special tokens, names and lengths; turning its
calls into requests with token ids, checking lengths before anything runs, handing finished answers
on one by one, keeping count.
Not for: running a model; a subclass says how, in `_generate` and `_score`. Nor for how a tokenizer
is used (see `tokenizer.py`).
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from tqdm import tqdm

from iha_eval import current_model
from iha_eval.errors import UserError
from iha_eval.models import arguments as argument_rules
from iha_eval.models import (
    build_requests,
    invocation,
    journal_lookup,
    length_check,
    provenance,
    source,
)
from iha_eval.models.arguments import ModelArguments
from iha_eval.models.journal import Journal
from iha_eval.models.requests import (
    Answer,
    GenerateRequest,
    Score,
    ScoreRequest,
    pack,
)
from iha_eval.models.run_stats import SPLIT, CallStats, KVCache, Progress
from iha_eval.models.source import Source
from iha_eval.models.tokenizer import PromptTokenizer
from iha_eval.util.redact import without_secrets

# Engine arguments about memory and scheduling: one may change them to go on after running out.
SCHEDULING = (
    "block_size",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "max_num_batched_tokens",
    "max_num_seqs",
)

# What lm-eval calls a pair: what its cache knows it by, context and continuation as token ids.
Pair = tuple[tuple[str, str] | None, list[int], list[int]]


@dataclass(frozen=True, kw_only=True)
class PublishedModel(current_model.CurrentModel):
    """What tasks may know of the model; encodes with the very code that encodes requests.

    Attributes:
        encoder: token ids of a prompt, as the model receives them.
    """

    encoder: Callable[[str], list[int]]

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt, special tokens included."""
        return self.encoder(text)


class Conventions(TemplateLM):
    """The part of lm-eval's interface that needs a tokenizer and no engine.

    Attributes:
        arguments: the model's arguments, checked.
        source: the checkpoint.
        text: its tokenizer.
    """

    arguments: ModelArguments
    source: Source
    text: PromptTokenizer
    _limit: int | None

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A chat as the checkpoint's template writes it; see `PromptTokenizer.chat`."""
        return self.text.chat(chat_history, add_generation_prompt)

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Token ids of a text; see `PromptTokenizer.encode`."""
        return self.text.encode(string, add_special_tokens)

    @property
    def tokenizer_name(self) -> str:
        """By what lm-eval's request cache tells tokenizers apart."""
        return str(self.text.folder).replace("/", "__")

    @property
    def eot_token_id(self) -> int | None:
        """The tokenizer's end-of-sequence token."""
        return self.text.eos_id

    @property
    def prefix_token_id(self) -> int:
        """The token that an empty context stands for."""
        return self.text.prefix_id

    @property
    def max_length(self) -> int | None:
        """Longest sequence in tokens: as asked, or what the checkpoint allows."""
        return self.arguments.max_model_len or self._limit

    @property
    def max_gen_toks(self) -> int:
        """Generation budget in tokens where a task sets none."""
        return self.arguments.max_gen_toks


class HarnessModel(Conventions):
    """A checkpoint behind lm-eval's interface.

    Args:
        pretrained: folder or hub name of the checkpoint; None is the embedded default.
        given: every other argument; see `arguments.ModelArguments` for those of both classes.

    Attributes:
        MODEL: name under which the class is registered.
        SCORING_ROOM: tokens that scoring needs room for beside context and continuation.
        WINDOW_MARGIN: by how much a window of rolling scores is shorter than the longest sequence.
        calls: the tally of each call so far.

    Raises:
        UserError: an argument or the checkpoint is not as it should be.
    """

    MODEL: ClassVar[str]
    SCORING_ROOM: ClassVar[int]
    WINDOW_MARGIN: ClassVar[int]

    # Whether the user has been told what of a journal is used.
    _told: bool = False
    # What a journal says of the engine that made its answers, where no engine has run yet.
    _facts_before: Mapping[str, Any] = MappingProxyType({})
    _journal: Journal | None = None

    def __init__(self, pretrained: str | Path | None = None, **given: Any) -> None:
        """Checks arguments and checkpoint, so that a mistake shows in seconds; loads no model."""
        super().__init__()
        command = invocation.current()
        named = {"pretrained": pretrained, **given}
        self._given = command.reveal(named) if command else named
        self.arguments = argument_rules.parse(self._given)
        self._check_engine_arguments()
        self.source = source.find_checkpoint(
            self.arguments.pretrained,
            self.arguments.revision,
            self.arguments.trust_remote_code,
            self.arguments.hf_token,
        )
        self._limit = length_check.context_limit(self.source.checkpoint.config)
        length_check.check_asked(self.arguments.max_model_len, self._limit)
        self.text = PromptTokenizer(self.source, self.arguments)
        # lm-eval reads it for chat templates and results.
        self.tokenizer = self.text.tokenizer
        self.calls: list[CallStats] = []
        current_model.publish(
            PublishedModel(
                tokenizer=self.text.tokenizer,
                add_bos=self.arguments.add_bos_token,
                name=self.source.name,
                tokenizer_name=self.arguments.tokenizer or "",
                encoder=self.text.encode,
            )
        )

    # What a subclass says.

    @abstractmethod
    def _check_engine_arguments(self) -> None:
        """Refuse arguments that the engine does not know, before anything is read."""

    @abstractmethod
    def _prepare(self, max_model_len: int, needs: Sequence[int]) -> None:
        """Make the engine ready.

        Args:
            max_model_len: longest sequence in tokens.
            needs: the length in tokens that each request may reach.
        """

    @abstractmethod
    def _generate(
        self,
        requests: Sequence[GenerateRequest],
        call: CallStats,
        done: Callable[[GenerateRequest, Answer], None],
        progress: Progress,
    ) -> None:
        """Answer requests in any order, calling `done` as each is finished."""

    @abstractmethod
    def _score(
        self,
        requests: Sequence[ScoreRequest],
        call: CallStats,
        done: Callable[[ScoreRequest, Score], None],
        progress: Progress,
    ) -> None:
        """Score continuations in any order, calling `done` as each is finished."""

    @abstractmethod
    def _engine_facts(self) -> dict[str, Any]:
        """Device, dtype, attention and arguments of the engine, for the results JSON."""

    def _kv_cache(self) -> KVCache | None:
        """Size of the engine's KV cache; None where it keeps none between batches."""
        return None

    def _engines_alive(self) -> int | None:
        """How many engines run now; None where there is one."""
        return None

    # What lm-eval calls.

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Generate an answer to every request.

        Args:
            requests: lm-eval's instances; `args` are the prompt and its generation kwargs.
            disable_tqdm: True draws no progress bar.

        Returns:
            The answers, in the order of the requests.

        Raises:
            UserError: a request does not fit, or asks for something unknown; nothing was run.
        """
        defaults = build_requests.Defaults(self.max_gen_toks, self.arguments.seed)
        work = build_requests.generate_requests(
            requests, self.text, defaults, shown=not disable_tqdm
        )
        with self._open_journal(work) as journal:
            return self._answer(work, requests, journal, shown=not disable_tqdm)

    def _answer(
        self,
        work: Sequence[GenerateRequest],
        requests: Sequence[Instance],
        journal: Journal | None,
        *,
        shown: bool,
    ) -> list[str]:
        """Answers from the journal, and from the engine those that are not in it."""
        recalled = journal_lookup.recall(journal, work, requests)
        if journal is not None and not self._told:
            journal_lookup.report(journal, recalled)
        answers = [""] * len(work)

        def take(request: GenerateRequest, answer: Answer) -> None:
            answers[request.index] = current_model.GeneratedText(answer.text, cut=answer.cut)

        needs = [
            length_check.Need(job.task, job.doc_id, len(job.prompt), job.sampling.max_tokens)
            for job in work
        ]
        left = len(recalled.missing)
        with self._running("generate_until", needs, left=left, journal=journal, shown=shown) as (
            call,
            progress,
        ):

            def done(request: GenerateRequest, answer: Answer) -> None:
                if journal is not None:
                    journal.add(recalled.keys[request.index], request, answer)
                call.cut += answer.cut
                take(request, answer)

            if journal is not None and recalled.finished:
                call.non_finite = journal.non_finite
            for request, answer in recalled.finished:
                call.recalled += 1
                call.recalled_tokens += answer.tokens
                call.cut += answer.cut
                take(request, answer)
            self._generate(recalled.missing, call, done, progress)
        return answers

    def loglikelihood(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Log-probability of every continuation given its context.

        Args:
            requests: lm-eval's instances; `args` are context and continuation.
            disable_tqdm: True draws no progress bar.

        Returns:
            Log-probability and whether greedy decoding would say the same, in order.

        Raises:
            UserError: a request does not fit, or has nothing to score; nothing was run.
        """
        work = build_requests.score_requests(
            requests, self.text, self._encode_pair, shown=not disable_tqdm
        )
        return self._scores("loglikelihood", work, shown=not disable_tqdm)

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-probability of whole texts; longer ones in windows that each token falls in once.

        Args:
            requests: lm-eval's instances; `args` is the text.
            disable_tqdm: True draws no progress bar.

        Returns:
            The log-probabilities, in order.
        """
        length = self.max_length
        window = None if length is None else length - self.WINDOW_MARGIN
        owned = list(build_requests.window_requests(requests, self.text, window))
        work = [job for _, job in owned]
        scores = self._scores("loglikelihood_rolling", work, shown=not disable_tqdm)
        totals = [0.0] * len(requests)
        for (owner, _), (logprob, _) in zip(owned, scores, strict=True):
            totals[owner] += logprob
        return totals

    def _loglikelihood_tokens(
        self, requests: Sequence[Pair], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        work = [
            ScoreRequest(index, "loglikelihood", None, pack(context), pack(continuation))
            for index, (_, context, continuation) in enumerate(requests)
        ]
        return self._scores("loglikelihood", work, shown=not disable_tqdm)

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval merges into `config` of the results, after everything has run."""
        return {
            "model_num_parameters": self.source.checkpoint.num_parameters,
            "model_dtype": self._engine_facts()["dtype"],
            "iha_eval": {
                "checkpoint": provenance.describe_source(self.source),
                "versions": provenance.versions(),
                "command": provenance.command_line(),
                "model_args": without_secrets(self._given),
                "seed": self.arguments.seed,
                # Where every answer was in the journal, no engine ran that could tell.
                "kv_cache": None,
                **self._facts_before,
                **self._facts(),
                "summary": [call.as_dict() for call in self.calls],
                "summary_rates": SPLIT,
            },
        }

    def set_cache_hook(self, cache_hook: Any) -> None:  # noqa: ARG002
        """Refuse lm-eval's `--use_cache`, which does not tell one model's answers from another's.

        Raises:
            UserError: always.
        """
        raise UserError(
            "--use_cache (or use_cache=) is not for our model classes: its key leaves out the "
            "model, so a run could take another model's answers for its own. Leave it out: a run "
            "that ended early goes on from the journal beside its --output_path, and journal=DIR "
            "in --model_args keeps answers in a folder of yours for later runs of the same model."
        )

    # How it is done.

    def _facts(self) -> dict[str, Any]:
        """What the engine ran on and with, its KV cache included where it has one."""
        kv_cache = self._kv_cache()
        if kv_cache is None:
            return self._engine_facts()
        sizes = {"tokens": kv_cache.tokens, "bytes": kv_cache.bytes}
        return {**self._engine_facts(), "kv_cache": sizes}

    def _non_finite(self, call: CallStats, count: int, where: str) -> None:
        """Stop at logits that are not finite, or count them where that was asked for.

        Args:
            call: the tally.
            count: at how many places they were found since the last time.
            where: whose logits they are, for the message.

        Raises:
            UserError: the run is to stop.
        """
        if self.arguments.non_finite_logits == argument_rules.COUNT:
            call.non_finite += count
            if self._journal is not None:
                self._journal.count_non_finite(count)
            return
        raise UserError(
            f"The model's logits are not finite (NaN or infinite) {where}: its weights overflow in "
            f"{self._engine_facts()['dtype']} or its config.json is wrong, and its scores would "
            "mean nothing. Try dtype=float32, or an earlier checkpoint; non_finite_logits=count "
            "in --model_args goes on and counts them in the results."
        )

    @contextmanager
    def _open_journal(self, work: Sequence[GenerateRequest]) -> Iterator[Journal | None]:
        """The journal, for as long as a call lasts."""
        if not work:
            yield None
            return
        tasks = sorted({job.task for job in work})
        journal = journal_lookup.open_journal(
            self.arguments, {**self._identity(), "tasks": tasks}, told=self._told
        )
        self._journal = journal
        try:
            yield journal
        finally:
            self._told = True
            self._journal = None
            if journal is not None:
                journal.close()

    def _identity(self) -> dict[str, Any]:
        """Model and engine, as far as they decide what is answered."""
        engine = {
            name: value for name, value in self.arguments.engine.items() if name not in SCHEDULING
        }
        # What most runs leave as it is stands there only where it was asked for.
        thinking, watch = self.arguments.think_end_token, self.arguments.non_finite_logits
        return {
            "model": self.MODEL,
            "checkpoint": self.source.checkpoint.fingerprint,
            "tokenizer": current_model.tokenizer_sha256(self.text.tokenizer),
            "dtype": self._engine_facts()["dtype"],
            "engine": without_secrets(engine),
            "batch_invariant": self.arguments.batch_invariant,
            "device": self.arguments.device,
            "max_model_len": self.arguments.max_model_len,
            "versions": provenance.versions(),
            **({"think_end_token": thinking} if thinking is not None else {}),
            # A run that is to stop at such logits takes no answers from one that went on.
            **({"non_finite_logits": watch} if watch != argument_rules.STOP else {}),
        }

    def _scores(
        self,
        kind: str,
        work: Sequence[ScoreRequest],
        *,
        shown: bool,
    ) -> list[tuple[float, bool]]:
        scores = [(0.0, False)] * len(work)

        def done(request: ScoreRequest, score: Score) -> None:
            scores[request.index] = (score.logprob, score.greedy)

        needs = [
            length_check.Need(
                job.task,
                job.doc_id,
                len(job.context),
                len(job.continuation) + self.SCORING_ROOM,
                "a continuation to score of",
            )
            for job in work
        ]
        with self._running(kind, needs, shown=shown) as (call, progress):
            self._score(work, call, done, progress)
        return scores

    @contextmanager
    def _running(
        self,
        kind: str,
        needs: Sequence[length_check.Need],
        *,
        left: int | None = None,
        journal: Journal | None = None,
        shown: bool,
    ) -> Iterator[tuple[CallStats, Progress]]:
        """Check lengths, make the engine ready, then time and count what happens inside.

        Args:
            kind: lm-eval's name of the call.
            needs: what each request needs, those that are finished already included: an
                interrupted run goes on with the engine that it began with.
            left: number of requests that are not finished; None is all.
            journal: where to write down what the engine runs on and with.
            shown: False draws no progress bar.
        """
        call = CallStats(kind)
        left = len(needs) if left is None else left
        if needs:
            length = length_check.fit_context(
                needs, asked=self.arguments.max_model_len, limit=self._limit
            )
        if left:
            self._prepare(length, [need.total for need in needs])
        if journal is not None and left:
            journal.note(self._facts())
        elif journal is not None:
            self._facts_before = journal.facts
        start = time.perf_counter()
        try:
            bar = Progress(
                left,
                f"{self.MODEL} {kind}",
                shown=shown,
                file=self.arguments.json_progress,
                engines=self._engines_alive,
            )
            with bar as progress:
                yield call, progress
        finally:
            call.seconds = time.perf_counter() - start
            self.calls.append(call)
        if needs:
            tqdm.write(call.text(self._kv_cache()))
