"""A batch's metadata in virtual tokens, and whether a decoding token's P queries are one request.

For: `backend.py`, whose metadata builders hand it to vLLM's own.
Not for: kernels; imports nothing of vLLM.

Three layouts. "Together": the P virtual queries of a decoding token are one request of P query
rows, as in prefill. "Apart": each is a request of one row with its own length over the same blocks:
n*P + p + 1 for the p-th query of token n under the virtual mask, where kernels that split a long
context among processors only for single rows then do so; (n + 1)*P under the token mask, which a
kernel's own causal mask cannot express. "One row": under the token mask all P see the same, so that
a token is a request of one row with P*H query heads, and keys and values are read once for all.
`layout` chooses.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model_adapters.config import TOKEN, VirtualMask

TOGETHER, APART, NARROWED, ONE_ROW = "together", "apart", "narrowed", "one row"

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
# Query heads of a key head that CPU_ATTN takes at once.
CPU_ROWS = 8


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
        | GPU backends | one row | 1, all P*H/G rows of a key head are packed | split to fill |
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


def layout(mask: VirtualMask, kernel: DecodeKernel, requests: int, *, decodes: bool) -> str:
    """The one call, or the few, of a stock kernel that a batch's attention is made of.

    | causal | edge of the window | batch | calls |
    |---|---|---|---|
    | virtual | virtual or no window | decoding | apart where `decodes_apart`, else together |
    | virtual | virtual or no window | other | together |
    | virtual | token | any | narrowed: together, P times, with a window for each pseudo-head |
    | token | token or no window | any | one row, on a CPU only if P*H/G <= 8; else apart |

    All but "narrowed" are one launch of the kernel a layer. Launches beside it: "one row" copies
    queries and outputs into the order of heads, 2; the rest none. "One row" needs no block table of
    its own in decoding, "apart" one of P rows a request.

    "virtual" with "token": pseudo-head p sees (W - 1)*P + p + 1 virtual tokens, which is another
    window for each; the kernel runs once with each window and the rows of that pseudo-head are
    kept. That costs P times the attention of a windowed layer.
    "token": no row of a request sees less than the row after it of the same token, so that no
    causal kernel takes them together. One row reads keys and values once where "apart" reads them
    P times. CPU_ATTN takes `CPU_ROWS` query heads of a key head at once and reads again for more:
    measured in vLLM 0.32, one row took 0.6 to 1.0 of the time of "apart" up to 8, and 2 to 4 times
    its time above. In prompts one row or P rows a token lose what tiles over tokens would spare.

    Merges by log-sum-exp are not used. What they would win, by reads of K and V:

    - Earlier tokens as one row, and each token's own P x P part: exact for the virtual mask without
      a window or with one by token, in decoding. Reads 1 instead of H/G or P, for about eight small
      launches more a layer. FLASH_ATTN 2 with H > G and narrowed windows read more than once.
    - Together, and each token's own later keys: exact for the token mask without a window, in
      prompts. Reads once a tile of tokens, not once a token. FLASH_ATTN alone: the prompts of token
      masks on a GPU are what is still to be won.

    The paper's windows are virtual: their lower edges differ among the P queries of a token, so
    that the first does not apply to `iha_sliding`. CPU_ATTN and TRITON_ATTN give no log-sum-exp.

    Args:
        mask: the layer's.
        kernel: what bears on decoding.
        requests: of the batch.
        decodes: whether each has one token, and the virtual mask may be taken apart.
    """
    if mask.causal == TOKEN:
        rows = kernel.pseudo_heads * kernel.heads // kernel.kv_heads
        return APART if kernel.backend == "CPU_ATTN" and rows > CPU_ROWS else ONE_ROW
    if mask.window_differs:
        return NARROWED
    return APART if decodes and kernel.decodes_apart(requests) else TOGETHER


class VirtualCounts:
    """Lengths and starts of a batch's requests in virtual tokens, made once a step.

    All groups of layers with the same P read the same numbers in the same buffers. The buffers
    stay, because CUDA graphs record addresses.

    Args:
        pseudo_heads: P.
        requests: most requests of a batch.
        device: of the buffers.
        by_token: whether all P queries of a token see as much as its last one.
        rows: requests that a token is split into, if it is: P, or 1 for one row of all heads.

    Attributes:
        owner: what the numbers are shared for; kept alive with them.
        requests_of_rows: [rows] request of each row; None where each has as many, in turn.
    """

    def __init__(
        self,
        pseudo_heads: int,
        requests: int,
        device: Any,
        *,
        by_token: bool = False,
        rows: int | None = None,
    ) -> None:
        self.pseudo_heads, self.requests = pseudo_heads, requests
        self.rows = rows or pseudo_heads
        self.owner: Any = None
        self._buffers: dict[str, Tensor] = {}
        self._rows = torch.arange(requests * self.rows + 1, dtype=torch.int32, device=device)
        self._offsets = torch.arange(1 - self.rows, 1, dtype=torch.int32, device=device)
        if by_token:
            self._offsets.zero_()
        self.requests_of_rows: Tensor | None = None
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
            apart: see the module.
        """
        counts = tuple(getattr(tokens, name) for name in (*_COUNTS, "num_reqs"))
        source = (tokens.seq_lens, tokens.query_start_loc, *counts, apart)
        same = len(source) == len(self._source) and all(
            ours is theirs if isinstance(ours, Tensor) else ours == theirs
            for ours, theirs in zip(source, self._source, strict=True)
        )
        if not same or builder in self._served:
            self._source, self._served = source, set()
            self._made = self._split(tokens) if apart else self._together(tokens)
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

    def _split(self, tokens: Any) -> dict[str, Any]:
        # Padding included, every request has one token.
        if tokens.max_query_len == 1 and tokens.num_actual_tokens == tokens.num_reqs:
            self.requests_of_rows = None
            return self._apart(tokens)
        return self._rows_of_prompts(tokens)

    def _rows_of_prompts(self, tokens: Any) -> dict[str, Any]:
        """Each virtual token, or token, a request, where requests have any number of tokens.

        No graph is recorded of such batches, so that nothing needs an address that stays.
        """
        # Padding has no request, and so no row.
        pseudo_heads, count = self.pseudo_heads, int(tokens.query_start_loc_cpu[-1])
        made = dict.fromkeys(name for name in (*_STALE, *_CPU_TENSORS) if hasattr(tokens, name))
        starts, device = tokens.query_start_loc, tokens.seq_lens.device
        sizes = starts[1:] - starts[:-1]
        request = torch.arange(len(sizes), device=device)
        request = torch.repeat_interleave(request, sizes, output_size=count)
        index = torch.arange(count, device=device) - starts[request]
        seen = (tokens.seq_lens - sizes)[request] + index + 1
        lengths = (seen * pseudo_heads).unsqueeze(1) + self._offsets
        rows = count * self.rows
        self.requests_of_rows = request.repeat_interleave(self.rows)
        made |= {"num_reqs": rows, "num_actual_tokens": rows, "max_query_len": 1}
        made["seq_lens"] = lengths.flatten().to(tokens.seq_lens.dtype)
        made["max_seq_len"] = tokens.max_seq_len * pseudo_heads
        made["query_start_loc"] = torch.arange(rows + 1, dtype=starts.dtype, device=device)
        made["query_start_loc_cpu"] = torch.arange(rows + 1, dtype=starts.dtype)
        return made

    def _apart(self, tokens: Any) -> dict[str, Any]:
        """Padded requests, of no token and length 0, stay so: they have rows of length 0."""
        pseudo_heads, requests = self.pseudo_heads, tokens.num_reqs
        each = self.rows
        made = dict.fromkeys(name for name in (*_STALE, *_CPU_TENSORS) if hasattr(tokens, name))
        rows = requests * each
        lengths = self._kept("row_lens", rows, tokens.seq_lens)
        grid = lengths.view(requests, each)
        torch.add(self._offsets, tokens.seq_lens.unsqueeze(1), alpha=pseudo_heads, out=grid)
        lengths.clamp_(min=0)
        starts = self._kept("row_starts", rows + 1, tokens.query_start_loc)
        torch.minimum(self._rows[: rows + 1], tokens.query_start_loc[-1:] * each, out=starts)
        made |= {"query_start_loc": starts, "seq_lens": lengths, "num_reqs": rows}
        made |= {"num_actual_tokens": tokens.num_actual_tokens * each, "max_query_len": 1}
        made["max_seq_len"] = tokens.max_seq_len * pseudo_heads
        starts_cpu = torch.arange(rows + 1, dtype=torch.int32)
        last_cpu = tokens.query_start_loc_cpu[-1:] * each
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
