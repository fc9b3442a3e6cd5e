"""Loads one implementation after the other, and compares what they read.

For: `iha-eval verify` and programs that want the report itself.
Not for: showing it (`report.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from iha_eval.errors import UserError
from iha_eval.models import source
from iha_eval.models.arguments import ModelArguments
from iha_eval.models.tokenizer import PromptTokenizer
from iha_eval.models.vllm.devices import free_memory
from iha_eval.verify import naive_model, prompts, vllm_model
from iha_eval.verify.compare import (
    TOLERANCE,
    GreedyChoice,
    Limit,
    ReadingDifference,
    choices,
    differences,
    exact_limit,
    measured_limit,
    pooled_mean,
)
from iha_eval.verify.reading import Reading, Sequence
from iha_eval.verify.transformers_model import KINDS, TransformersModel
from model_adapters.checkpoint import Checkpoint
from model_adapters.hf.modeling import cache_problem

#: Tokens that are generated after each prompt.
ANSWER = 16


@dataclass(frozen=True)
class Request:
    """What is to be verified.

    Attributes:
        checkpoint: Folder, hub name, or name of an embedded checkpoint.
        against: The same of a plain base that it was converted from; None without.
        dtype: "float32", or "checkpoint" for the type of its weights.
        prompts: "short" or "all".
        tolerance: What implementations may differ by in float32, in nats.
        vllm: Whether vLLM takes part, if it is installed.
    """

    checkpoint: str
    against: str | None = None
    dtype: str = "float32"
    prompts: str = "all"
    tolerance: float = TOLERANCE
    vllm: bool = True


@dataclass
class VerifyReport:
    """What was found.

    Attributes:
        name: The checkpoint, as the user called it.
        fingerprint: Of its weights and configuration.
        dtype: Type that was asked for.
        against: The base, as the user called it; None without.
        sequences: What was read.
        readings: By whom; the reference first.
        limit: What was allowed.
        differences: Of the judged pairs, and of a base's prompts beyond the window.
        choices: Where greedy text parts.
        within: Index of the last token that a base was judged at; None for all.
        notes: What else is to be said, in sentences.
        unchecked: What was not looked at or not judged, and why, in words.
    """

    name: str
    fingerprint: str
    dtype: str
    against: str | None = None
    sequences: list[Sequence] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    limit: Limit = field(default_factory=exact_limit)
    differences: list[ReadingDifference] = field(default_factory=list)
    choices: list[GreedyChoice] = field(default_factory=list)
    within: int | None = None
    notes: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


def verify(request: Request, say: Callable[[str], None] = lambda _: None) -> VerifyReport:
    """Read with every implementation, one at a time, and compare.

    Args:
        request: What to verify.
        say: Told what is about to be done.

    Raises:
        UserError: A checkpoint cannot be read, or an implementation refuses it.
    """
    origin = source.find_checkpoint(request.checkpoint)
    return _Verification(request, origin, say).run()


class _Verification:
    """One run: the state that its steps share."""

    def __init__(self, request: Request, origin: source.Source, say: Callable[[str], None]) -> None:
        self.request, self.say = request, say
        self.checkpoint: Checkpoint = origin.checkpoint
        self.config: Any = origin.checkpoint.config
        self.text = PromptTokenizer(origin, ModelArguments())
        own = source.compute_dtype(self.checkpoint, "auto")
        self.dtype = "float32" if request.dtype == "float32" else own
        self.report = VerifyReport(origin.name, self.checkpoint.fingerprint, self.dtype)
        self.base = None if request.against is None else self._find_base(request.against)
        self.report.limit = exact_limit(request.tolerance)

    def run(self) -> VerifyReport:
        report = self.report
        room = int(getattr(self.config, "max_position_embeddings", 2048)) - ANSWER - 1
        if room < 1:
            raise UserError(
                f"{self.checkpoint.path} has max_position_embeddings "
                f"{self.config.max_position_embeddings}, too few for a prompt and {ANSWER} "
                "generated tokens: verify a checkpoint with a longer context."
            )
        wanted = prompts.lengths(self.request.prompts, self._window(), room)
        made = prompts.make(self.text, wanted, self.config.vocab_size)
        self._read_transformers(made)
        self._read_naive()
        self._read_vllm()
        if self.base is not None:
            self._read_base(self.base)
        self._say_what_lies_beyond()
        for reading in report.readings:
            last = report.within if reading.name.startswith("base ") else None
            report.choices += choices(reading, report.sequences, report.limit.tie, last)
        report.choices.sort(key=lambda choice: -choice.gap)
        return report

    def _read_transformers(self, made: list[prompts.Prompt]) -> None:
        report = self.report
        problem = cache_problem()
        if problem is not None:
            raise UserError(f"{problem}: install a release of Transformers that is tested.")
        self.say("Transformers in float32")
        with TransformersModel(self.checkpoint.path, "float32") as model:
            report.sequences, cached = model.continued(made, ANSWER)
            reference, eager = (model.read(report.sequences, kind) for kind in KINDS)
        report.readings = [reference]
        exact = exact_limit(self.request.tolerance)
        self._add(cached, exact)
        self._add(eager, exact)
        if self.dtype != "float32":
            self.say(f"Transformers in {self.dtype}")
            label = f"Transformers {_short(self.dtype)}"
            with TransformersModel(self.checkpoint.path, self.dtype, label) as model:
                narrow = model.read(report.sequences)
            self._add(narrow, None)
            off = [row for row in report.differences if row.first == narrow.name]
            report.limit = measured_limit(
                max(row.largest for row in off), pooled_mean(off), self.request.tolerance
            )

    def _read_naive(self) -> None:
        report = self.report
        config = naive_model.configuration(self.checkpoint)
        if config is None:
            report.unchecked.append(
                f"the naive implementation, which does not know this {self.config.model_type} model"
            )
            return
        self.say("the naive implementation in float32")
        most = naive_model.reach(config, free_memory())
        reading = naive_model.read(self.checkpoint, config, report.sequences, most)
        if any(len(sequence.ids) > most for sequence in report.sequences):
            report.notes.append(
                f"The naive implementation forms all attention scores at once, so it read only "
                f"the first {most} tokens of each prompt."
            )
        self._add(reading, exact_limit(self.request.tolerance))

    def _read_vllm(self) -> None:
        report = self.report
        if not (self.request.vllm and vllm_model.installed()):
            why = "which is not installed" if self.request.vllm else "as asked"
            report.unchecked.append(f"vLLM, {why}")
            if self.dtype != "float32":
                report.unchecked.append(
                    f"the type {self.dtype}, which Transformers alone computed in"
                )
            return
        self.say(f"vLLM in {self.dtype}")
        served = vllm_model.read(
            self.checkpoint.path, self.text.folder, self.dtype, report.sequences
        )
        self._add(served.whole, report.limit)
        self._add(served.stepwise, report.limit)
        report.notes.append(
            f"vLLM ran {', '.join(served.attention)} on {served.device}, read prompts in chunks "
            f"of 256 tokens, and generated with {served.prefix_hits} prompt tokens out of its "
            "prefix cache."
        )

    def _read_base(self, base: source.Source) -> None:
        report, path = self.report, base.checkpoint.path
        last = report.within = self._window()
        self.say(f"the base {base.name} in Transformers")
        with TransformersModel(path, self.dtype, "base Transformers") as model:
            readings = [model.read(report.sequences)]
        if self.request.vllm and vllm_model.installed():
            self.say(f"the base {base.name} in vLLM")
            served = vllm_model.read(
                path, self.text.folder, self.dtype, report.sequences, "base vLLM"
            )
            readings += [served.whole, served.stepwise]
        for reading in readings:
            twin = self._twin(reading.name.removeprefix("base "))
            report.differences += differences(reading, twin, report.sequences, report.limit, last)
            report.readings.append(reading)

    def _say_what_lies_beyond(self) -> None:
        """A window hides tokens from the prediction after the next: token W + 1 is the first."""
        report, window = self.report, self._window()
        if window is None:
            return
        beyond = sum(max(0, len(sequence.ids) - window - 1) for sequence in report.sequences)
        what = f"what lies beyond the window of {window} token{'s' * (window != 1)}"
        if not beyond:
            report.unchecked.append(f"{what}, which no prompt is long enough for")
        elif self.base is not None:
            # The first token of a sequence is not predicted.
            count = sum(len(sequence.ids) - 1 for sequence in report.sequences)
            report.unchecked.append(
                f"{what}, where it is expected to differ from its base ({beyond} of {count} "
                "predictions)"
            )

    def _add(self, reading: Reading, limit: Limit | None) -> None:
        """Compare a reading with what has read in one piece before, and keep it."""
        report = self.report
        # Of two narrow readings neither is right: both are measured by the float32 reference.
        narrow = reading.dtype != "float32"
        partners = report.readings if reading.whole and not narrow else report.readings[:1]
        for other in partners:
            if other.whole and other.dtype == "float32":
                report.differences += differences(reading, other, report.sequences, limit)
        report.readings.append(reading)

    def _twin(self, name: str) -> Reading:
        """The checkpoint's own whole reading of a name, or else the reference."""
        named = [
            reading for reading in self.report.readings if reading.whole and reading.name == name
        ]
        return named[0] if named else self.report.readings[0]

    def _window(self) -> int | None:
        """W in tokens of the narrowest windowed layer, IHA's or another's (Mistral's)."""
        if self.checkpoint.is_iha:
            narrowest: int | None = self.config.narrowest_window
            return narrowest
        return getattr(self.config, "sliding_window", None)

    def _find_base(self, name: str) -> source.Source:
        base = source.find_checkpoint(name)
        self.report.against = base.name
        ours, theirs = self.config.vocab_size, base.checkpoint.config.vocab_size
        if ours != theirs:
            raise UserError(
                f"{base.name} has vocab_size {theirs} and {self.report.name} has {ours}: name the "
                "base that it was converted from."
            )
        return base


def _short(dtype: str) -> str:
    return {"bfloat16": "bf16", "float16": "fp16"}.get(dtype, dtype)
