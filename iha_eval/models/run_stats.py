"""What a run did, in numbers: tokens, seconds, rates, KV cache.

For: the bar over the requests of a call, a file that dashboards read meanwhile, the block printed
after it, and the same figures in the results JSON.
Not for: scores, nor for what was evaluated on what (see `provenance.py`).

Prefill and generation overlap wherever an engine mixes the two in one step, so neither has seconds
of its own that add up to the total. Each rate is therefore taken over the time in which that phase
was under way for at least one request: prefill from a request being scheduled to its first token,
generation from its first token to its last.
"""

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

from iha_eval.util.files import write_whole
from iha_eval.util.log import logger

if TYPE_CHECKING:
    from torch import Tensor

SPLIT = (
    "prefill: prompt tokens computed, over the time in which at least one request was between "
    "being scheduled and its first token; generation: tokens after the first, over the time in "
    "which at least one request was between its first token and its last; the two overlap"
)


@dataclass(frozen=True)
class KVCache:
    """Size of the engine's KV cache, over all devices.

    Attributes:
        tokens: how many tokens it holds, as the engine counts them.
        bytes: memory it takes; None where the engine does not tell.
    """

    tokens: int | None
    bytes: int | None


@dataclass
class CallStats:
    """The tally of one call of the model.

    Attributes:
        kind: lm-eval's name of the call, such as "generate_until".
        requests: number of requests finished; each answer to a question is one.
        recalled: number of answers that the journal had already; they count in `cut` and in none
            of the figures below but the next.
        recalled_tokens: tokens that were generated for those, in an earlier run.
        cut: number of answers that their generation budget ended.
        prompt_tokens: tokens in their prompts, those that answers share counted for each.
        cached_tokens: those of them that a prefix cache spared.
        generated_tokens: tokens generated.
        non_finite: places at which the model's logits were not finite, where the run went on;
            those of the runs before it that filled the journal included.
        seconds: wall time of the engine, its start not included.
    """

    kind: str
    requests: int = 0
    recalled: int = 0
    recalled_tokens: int = 0
    cut: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    non_finite: int = 0
    seconds: float = 0.0
    _prefills: list[tuple[float, float]] = field(default_factory=list)
    _generations: list[tuple[float, float]] = field(default_factory=list)

    def add(
        self,
        *,
        prompt: int,
        generated: int,
        times: tuple[float, float, float] | None = None,
        answers: int = 1,
    ) -> None:
        """Count one finished prompt.

        Args:
            prompt: tokens in its prompt, counted for each answer.
            generated: tokens generated, all answers together.
            times: when it was scheduled, gave its first token, gave its last; seconds on any one
                clock; None where the engine does not tell.
            answers: how many were drawn for it.
        """
        self.requests += answers
        self.prompt_tokens += prompt
        self.generated_tokens += generated
        if times is not None:
            scheduled, first, last = times
            self._prefills.append((scheduled, first))
            if last > first:
                self._generations.append((first, last))

    @property
    def prefill_rate(self) -> float | None:
        """Prompt tokens computed per second; see `SPLIT`."""
        return _rate(self.prompt_tokens - self.cached_tokens, covered(self._prefills))

    @property
    def generation_rate(self) -> float | None:
        """Tokens generated after the first, per second; see `SPLIT`."""
        later = self.generated_tokens - self.requests
        return _rate(later, covered(self._generations)) if later > 0 else None

    def as_dict(self) -> dict[str, Any]:
        """The figures under the names they have in the results JSON."""
        return {
            "kind": self.kind,
            "requests": self.requests,
            "recalled_from_journal": self.recalled,
            "generated_tokens_of_recalled": self.recalled_tokens,
            "cut_by_budget": self.cut,
            "prompt_tokens": self.prompt_tokens,
            "prompt_tokens_from_prefix_cache": self.cached_tokens,
            "generated_tokens": self.generated_tokens,
            "non_finite_logits": self.non_finite,
            "seconds": self.seconds,
            "prefill_seconds": covered(self._prefills),
            "prefill_tokens_per_second": self.prefill_rate,
            "generation_seconds": covered(self._generations),
            "generation_tokens_per_second": self.generation_rate,
        }

    def text(self, kv_cache: KVCache | None = None) -> str:
        """The figures as lines to be printed."""
        per_second = [
            f"{name} {rate:,.1f} tok/s"
            for name, rate in (
                ("prefill", self.prefill_rate),
                ("generation", self.generation_rate),
            )
            if rate is not None
        ]
        cached = f" ({self.cached_tokens:,} from the prefix cache)" if self.cached_tokens else ""
        recalled = f", {self.recalled:,} more from the journal" if self.recalled else ""
        lines = [
            f"{self.kind}: {self.requests:,} requests in {self.seconds:,.1f} s{recalled}",
            f"  tokens    prompt {self.prompt_tokens:,}{cached}, "
            f"generated {self.generated_tokens:,}",
        ]
        if self.cut:
            lines.append(f"  cut       {self.cut:,} by their generation budget")
        if self.non_finite:
            lines.append(f"  logits    {self.non_finite:,} times not finite (NaN or infinite)")
        if per_second:
            lines.append(f"  speed     {', '.join(per_second)} (each while it was under way)")
        if kv_cache is not None and kv_cache.tokens is not None:
            size = "" if kv_cache.bytes is None else f", {kv_cache.bytes / 2**20:,.0f} MiB"
            lines.append(f"  KV cache  {kv_cache.tokens:,} tokens{size}")
        return "\n".join(lines)


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals, in their unit."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _rate(tokens: int, seconds: float) -> float | None:
    return tokens / seconds if seconds > 0 else None


# Seconds between redraws while nothing has finished.
HEARTBEAT = 1.0
# Names the file for those who cannot say json_progress= where they are.
JSON_PROGRESS = "IHA_EVAL_JSON_PROGRESS"


class Progress:
    """A progress bar; use it as a context manager.

    Args:
        total: number of requests.
        label: what stands before the bar.
        shown: False draws nothing.
        file: where the same is written once a second, as JSON; None is the one that `JSON_PROGRESS`
            names, if any.
        engines: says how many engines run now; None where there is one.
    """

    def __init__(
        self,
        total: int,
        label: str,
        *,
        shown: bool = True,
        file: str | None = None,
        engines: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Draws the empty bar."""
        named = file or os.environ.get(JSON_PROGRESS)
        self._file = Path(named).expanduser() if named else None
        self._total, self._label, self._engines = total, label, engines
        self._done = 0
        self._bar = tqdm(total=total, desc=label, unit="req", disable=not shown, dynamic_ncols=True)
        self._start = self._drawn = time.perf_counter()
        self._prompt = self._generated = 0
        self._written = 0.0

    def __enter__(self) -> Self:
        """The bar itself."""
        self._write(ended=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()
        self._write(ended=True)

    def finish(self, prompt_tokens: int, generated_tokens: int) -> None:
        """Count one finished request; both in tokens."""
        self._prompt += prompt_tokens
        self._generated += generated_tokens
        self._done += 1
        seconds = max(time.perf_counter() - self._start, 1e-9)
        engines = self._engines()
        self._bar.set_postfix_str(
            ("" if engines is None else f"{engines} engines, ")
            + f"prompt {self._prompt / seconds:,.0f} tok/s, "
            f"generated {self._generated / seconds:,.0f} tok/s",
            refresh=False,
        )
        self._bar.update()
        if time.perf_counter() - self._written >= HEARTBEAT:
            self._write(ended=False)

    def beat(self) -> None:
        """Redraw now and then while requests are under way, so that the clock goes on."""
        now = time.perf_counter()
        if now - self._drawn >= HEARTBEAT:
            self._drawn = now
            self._bar.refresh()
            self._write(ended=False)

    def figures(self, *, ended: bool) -> dict[str, Any]:
        """What stands in the file.

        Args:
            ended: whether the call is over.
        """
        seconds = max(time.perf_counter() - self._start, 1e-9)
        left = None if not self._done else seconds / self._done * (self._total - self._done)
        return {
            "call": self._label,
            "done": self._done,
            "total": self._total,
            "ended": ended,
            "engines": self._engines(),
            "prompt_tokens": self._prompt,
            "generated_tokens": self._generated,
            "prompt_tokens_per_second": self._prompt / seconds,
            "generated_tokens_per_second": self._generated / seconds,
            "seconds": seconds,
            "seconds_left": left,
            "time": time.time(),
        }

    def _write(self, *, ended: bool) -> None:
        """A file that cannot be written ends no run."""
        self._written = time.perf_counter()
        if self._file is None:
            return
        try:
            write_whole(self._file, json.dumps(self.figures(ended=ended)) + "\n")
        except OSError as error:
            logger.warning("%s cannot be written (%s): no progress there.", self._file, error)
            self._file = None


def non_finite_rows(logits: "Tensor") -> "Tensor":
    """Which rows of logits [rows, vocabulary] mean nothing, [rows].

    Those with a NaN or an infinity. Single entries of minus infinity are a model's way to rule
    tokens out, so only a row of nothing else counts.
    """
    # The largest value is NaN where any is.
    return ~logits.amax(-1).isfinite()
