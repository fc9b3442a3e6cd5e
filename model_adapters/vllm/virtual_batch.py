"""A batch's metadata in virtual tokens, and whether a decoding token's P queries are one request.

For: `backend.py`, whose metadata builders hand it to vLLM's own.
Not for: kernels; imports nothing of vLLM.

Two layouts, both exact for the virtual mask, windows included. "Together": the P virtual queries
of a decoding token are one request of P query rows, as in prefill. "Apart": each is a request of
one row with a length of its own, n*P + p + 1 for the p-th query of token n, over the same blocks;
then kernels that split a long context among processors only for single rows do so.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# What counts tokens in a batch's metadata, over all supported vLLM releases.
_COUNTS = ("num_actual_tokens", "max_query_len", "max_seq_len")
_CPU_TENSORS = (
    "query_start_loc_cpu",
    "seq_lens_cpu_upper_bound",
    "_seq_lens_cpu",
    "_num_computed_tokens_cpu",
)
# What a base builder derives from the above, in tokens, or what no supported base reads.
_STALE = ("_num_computed_tokens_cache", "_token_to_req_indices_cache", "positions")

# Rows of a tile in vLLM's unified Triton kernel.
TRITON_ROWS = 16


@dataclass(frozen=True)
class DecodeKernel:
    """What bears on how a backend's kernel decodes one layer.

    Attributes:
        backend: vLLM's name.
        version: FlashAttention's version; 0 for others.
        heads: H of a rank.
        kv_heads: G of a rank.
        pseudo_heads: P.
        processors: multiprocessors of the device; 0 where that is no question, as on a CPU.
        split_rows: query rows a request may have at most for TRITON_ATTN to split its context.
        split_limit: tiles of rows up to which TRITON_ATTN splits.
        segments: into how many parts a context is split.
    """

    backend: str
    version: int
    heads: int
    kv_heads: int
    pseudo_heads: int
    processors: int
    split_rows: int = 1
    split_limit: int = 0
    segments: int = 16

    def reads(self, requests: int, *, apart: bool) -> tuple[int, int]:
        """How often K and V of a key head are read, and by how many programs.

        | backend | layout | reads of K and V | programs |
        |---|---|---|---|
        | TRITON_ATTN | together | tiles of 16 rows over P*H/G | requests * tiles * G |
        | TRITON_ATTN | apart | P times the tiles over H/G | requests * reads * G |
        | FLASH_ATTN 3, 4 | together | 1, all rows of a key head packed | split to fill |
        | FLASH_ATTN 3, 4 | apart | P | split to fill |
        | FLASH_ATTN 2 | together | H/G, rows are not packed | requests * H, never split |
        | FLASH_ATTN 2 | apart, H > G | P, packed | split to fill |
        | FLASH_ATTN 2 | apart, H = G | P | requests * P * H, not split |

        Up to `split_limit` tiles TRITON_ATTN splits each into `segments`, if no request has more
        than `split_rows` rows: 1 up to vLLM 0.32, 8 from 0.33 on.

        Args:
            requests: of the batch, each with one token.
            apart: see the module.
        """
        group, pseudo = self.heads // self.kv_heads, self.pseudo_heads
        enough = max(1, self.processors)
        if self.backend == "TRITON_ATTN":
            tokens = max(1, TRITON_ROWS // group)
            tiles = pseudo if apart else math.ceil(pseudo / tokens)
            rows = 1 if apart else pseudo
            is_split = rows <= self.split_rows and requests * tiles <= self.split_limit
            parts = self.segments if is_split else 1
            return tiles, requests * tiles * self.kv_heads * parts
        if self.version != 2:
            return (pseudo if apart else 1), enough
        if not apart:
            return group, requests * self.heads
        return pseudo, (enough if group > 1 else requests * pseudo * self.heads)

    def decodes_apart(self, requests: int) -> bool:
        """Whether the virtual queries of decoding tokens are better requests of their own.

        They are where that takes less time by what is counted in `reads`: bytes read, over the
        share of processors that have a program to run. Launches do not differ. It depends on
        the number of requests alone, so that a CUDA graph is replayed in its own layout.

        Args:
            requests: of the batch, each with one token.
        """
        if self.pseudo_heads == 1 or self.processors == 0:
            return False

        def cost(*, apart: bool) -> float:
            reads, programs = self.reads(requests, apart=apart)
            return reads / min(1.0, programs / self.processors)

        return cost(apart=True) < cost(apart=False)


class VirtualCounts:
    """Lengths and starts of a batch's requests in virtual tokens, made once a step.

    All groups of layers with the same P read the same numbers in the same buffers. The buffers
    stay, because CUDA graphs record addresses.

    Args:
        pseudo_heads: P.
        requests: most requests of a batch.
        device: of the buffers.

    Attributes:
        owner: what the numbers are shared for; kept alive with them.
    """

    def __init__(self, pseudo_heads: int, requests: int, device: Any) -> None:
        self.pseudo_heads, self.requests = pseudo_heads, requests
        self.owner: Any = None
        self._buffers: dict[str, Tensor] = {}
        self._rows = torch.arange(requests * pseudo_heads + 1, dtype=torch.int32, device=device)
        self._offsets = torch.arange(1 - pseudo_heads, 1, dtype=torch.int32, device=device)
        # What the numbers were made of, and the builders that have had them.
        self._source: tuple[Any, ...] = ()
        self._served: set[int] = set()
        self._made: dict[str, Any] = {}

    def of(self, tokens: Any, builder: int, *, apart: bool) -> dict[str, Any]:
        """The fields of a batch's metadata that differ in virtual tokens, but for blocks and slots.

        vLLM hands the groups of one step the very same tensors. Each builder is called once a step:
        who comes again has a new step, whatever the tensors are.

        Args:
            tokens: vLLM's metadata of the batch.
            builder: number of the builder that asks.
            apart: see the module; every request then has one token.
        """
        counts = tuple(getattr(tokens, name) for name in (*_COUNTS, "num_reqs"))
        source = (tokens.seq_lens, tokens.query_start_loc, *counts, apart)
        same = len(source) == len(self._source) and all(
            ours is theirs if isinstance(ours, Tensor) else ours == theirs
            for ours, theirs in zip(source, self._source, strict=True)
        )
        if not same or builder in self._served:
            self._source, self._served = source, set()
            self._made = self._apart(tokens) if apart else self._together(tokens)
        self._served.add(builder)
        return self._made

    def _together(self, tokens: Any) -> dict[str, Any]:
        pseudo_heads = self.pseudo_heads
        made: dict[str, Any] = dict.fromkeys(name for name in _STALE if hasattr(tokens, name))
        for name in (*_COUNTS, *_CPU_TENSORS):
            value = getattr(tokens, name, None)
            if value is not None:
                made[name] = value * pseudo_heads
        for name in ("query_start_loc", "seq_lens"):
            counts = getattr(tokens, name)
            made[name] = self._kept(name, len(counts), counts)
            torch.mul(counts, pseudo_heads, out=made[name])
        return made

    def _apart(self, tokens: Any) -> dict[str, Any]:
        """Padded requests, of no token and length 0, stay so: they have rows of length 0."""
        pseudo_heads, requests = self.pseudo_heads, tokens.num_reqs
        made = dict.fromkeys(name for name in (*_STALE, *_CPU_TENSORS) if hasattr(tokens, name))
        rows = requests * pseudo_heads
        lengths = self._kept("row_lens", rows, tokens.seq_lens)
        grid = lengths.view(requests, pseudo_heads)
        torch.add(self._offsets, tokens.seq_lens.unsqueeze(1), alpha=pseudo_heads, out=grid)
        lengths.clamp_(min=0)
        starts = self._kept("row_starts", rows + 1, tokens.query_start_loc)
        torch.minimum(
            self._rows[: rows + 1], tokens.query_start_loc[-1:] * pseudo_heads, out=starts
        )
        made |= {"query_start_loc": starts, "seq_lens": lengths, "num_reqs": rows}
        made |= {"num_actual_tokens": tokens.num_actual_tokens * pseudo_heads, "max_query_len": 1}
        made["max_seq_len"] = tokens.max_seq_len * pseudo_heads
        starts_cpu = torch.arange(rows + 1, dtype=torch.int32)
        last_cpu = tokens.query_start_loc_cpu[-1:] * pseudo_heads
        made["query_start_loc_cpu"] = torch.minimum(starts_cpu, last_cpu)
        return made

    def _kept(self, name: str, count: int, like: Tensor) -> Tensor:
        if name not in self._buffers:
            most = self.requests * (self.pseudo_heads if name.startswith("row") else 1) + 1
            self._buffers[name] = like.new_empty(max(count, most))
        return first_rows(self._buffers[name], count, name)


def first_rows(buffer: Tensor, count: int, name: str) -> Tensor:
    """A view of a buffer's first rows.

    Raises:
        RuntimeError: it has fewer.
    """
    if len(buffer) < count:
        raise RuntimeError(
            f"a batch has {count} rows of {name}, but {len(buffer)} were planned; a larger "
            "buffer would have another address than the one that graphs recorded"
        )
    return buffer[:count]
