"""Generation with Transformers where every row of a batch has its own budget, stops and seed.

For: forming batches, alike in length and bounded in rows and tokens, and one batch through
`model.generate`, whose cache handling, masks and positions are the ones users of the model get.
Not for: what a request means, nor vLLM, which schedules by itself.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from iha_eval.generation_kwargs import Sampling
from iha_eval.models.requests import GenerateRequest
from iha_eval.models.run_stats import non_finite_rows
from iha_eval.models.tokenizer import PromptTokenizer

# A token may hold part of a character: so many more than a stop has bytes are looked at.
SLACK = 8

Finished = Callable[[int, list[int], bool, tuple[float, float, float]], None]


def generate(
    model: Any,
    text: PromptTokenizer,
    batch: Sequence[GenerateRequest],
    finished: Finished,
    beat: Callable[[], None],
    non_finite: Callable[[list[int]], None],
) -> None:
    """Answer a batch of requests.

    Args:
        model: a Transformers model for causal language modelling, without generation defaults.
        text: its tokenizer.
        batch: the requests.
        finished: called for each row as soon as it is finished, with its place in the batch, the
            token ids generated, whether its budget ended it, and when it started, gave its first
            token and gave its last.
        beat: called after every token.
        non_finite: called with the places of rows that are not finished and whose logits are not
            finite; where it returns, those rows go on with logits of 0.
    """
    width = max(len(job.prompt) for job in batch)
    ids, mask = pad_left([job.prompt for job in batch], text.pad_id, model.device)
    rows = _Rows(text, batch, width, finished, beat)
    config = GenerationConfig(
        max_new_tokens=max(job.sampling.max_tokens for job in batch),
        do_sample=False,
        pad_token_id=text.pad_id,
        use_cache=True,
    )
    with torch.inference_mode():
        model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([_Draw(rows.sampled, rows.done, non_finite)]),
            stopping_criteria=StoppingCriteriaList([rows]),
        )


def pad_left(
    prompts: Sequence[Sequence[int]], pad: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask of a batch, both [rows, longest], padded on the left."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(list(prompt), dtype=torch.long)
        mask[row, width - len(prompt) :] = 1
    return ids.to(device), mask.to(device)


class _Draw(LogitsProcessor):
    """Draws the tokens of sampled rows itself, each from a generator of its own.

    The drawn token is left as the only possible one, so that `generate`, which is greedy, takes it.
    """

    def __init__(
        self,
        samplings: Sequence[Sampling],
        done: Sequence[bool],
        non_finite: Callable[[list[int]], None],
    ) -> None:
        self._done = done
        self._non_finite = non_finite
        self._rows = [
            (row, _warpers(sampling), torch.Generator().manual_seed(sampling.seed))
            for row, sampling in enumerate(samplings)
            if sampling.seed is not None
        ]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [rows, vocabulary] with one finite entry in each sampled row."""
        bad = non_finite_rows(scores)
        if bad.any():
            self._non_finite([row for row in bad.nonzero()[:, 0].tolist() if not self._done[row]])
            scores = scores.masked_fill(bad[:, None], 0.0)
        if not self._rows:
            return scores
        scores = scores.clone()
        for row, warpers, generator in self._rows:
            kept = warpers(cast(Any, input_ids[row : row + 1]), cast(Any, scores[row : row + 1]))
            shares = torch.softmax(kept[0], dim=-1).cpu()
            token = int(torch.multinomial(shares, 1, generator=generator))
            scores[row] = float("-inf")
            scores[row, token] = 0.0
        return scores


def _warpers(sampling: Sampling) -> LogitsProcessorList:
    """What vLLM does to the scores, in the same order."""
    warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(float(sampling.temperature))]
    if sampling.min_p > 0:
        warpers.append(MinPLogitsWarper(float(sampling.min_p)))
    if sampling.top_k > 0:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(float(sampling.top_p)))
    return LogitsProcessorList(warpers)


class _Rows(StoppingCriteria):
    """Watches each row for its own end, and reports it at once."""

    def __init__(
        self,
        text: PromptTokenizer,
        batch: Sequence[GenerateRequest],
        width: int,
        finished: Finished,
        beat: Callable[[], None],
    ) -> None:
        self._text = text
        self._batch = batch
        self._width = width
        self._finished = finished
        self._beat = beat
        self._tails = [_tail(job.sampling) for job in batch]
        self.done = [False] * len(batch)
        self.sampled = [job.sampling for job in batch]
        self._start = time.perf_counter()
        self._first: float | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:  # noqa: ARG002
        """Which rows are done, [rows]."""
        now = time.perf_counter()
        if self._first is None:
            self._first = now
        generated = input_ids[:, self._width :].tolist()
        for place, ids in enumerate(generated):
            if self.done[place]:
                continue
            stopped = self._stops(place, ids)
            if stopped or len(ids) >= self._batch[place].sampling.max_tokens:
                self.done[place] = True
                self._finished(place, ids, not stopped, (self._start, self._first, now))
        self._beat()
        return torch.tensor(self.done, device=input_ids.device)

    def _stops(self, place: int, ids: list[int]) -> bool:
        sampling = self._batch[place].sampling
        if ids[-1] in sampling.stop_ids:
            return True
        if not sampling.stop:
            return False
        near = self._text.plain(ids[-self._tails[place] :])
        if not any(word in near for word in sampling.stop):
            return False
        # Part of a text may read differently alone; and inside a thought nothing stops.
        whole = self._text.after_thought(ids, self._batch[place])
        return whole is not None and any(word in whole for word in sampling.stop)


def _tail(sampling: Sampling) -> int:
    """How many tokens at the end can hold a stop string that was not there before."""
    return max((len(word.encode()) for word in sampling.stop), default=0) + SLACK


Item = TypeVar("Item")

# Rows times longest row, in tokens: modest, since nothing measures the memory.
CPU_TOKENS = 16_384
GPU_TOKENS = 131_072
ROWS = 64


def batches(
    items: Sequence[Item],
    length: Callable[[Item], int],
    *,
    rows: int | None,
    tokens: int,
) -> Iterator[list[Item]]:
    """Sort by length, the longest first, and cut into batches.

    Args:
        items: what to batch.
        length: the length in tokens that an item may reach.
        rows: rows of each batch; None is up to `ROWS`, as many as `tokens` allow, at least one, and
            none shorter than half of the longest, which would be mostly padding.
        tokens: most tokens in a batch, padding included; without effect if `rows` is given.
    """
    order = sorted(items, key=length, reverse=True)
    start = 0
    while start < len(order):
        # The first is the longest: all others are padded to it.
        longest = length(order[start])
        fitting = max(1, min(ROWS, tokens // max(1, longest)))
        batch = order[start : start + (rows or fitting)]
        if rows is None:
            batch = [item for item in batch if 2 * length(item) >= longest]
        yield batch
        start += len(batch)
