"""The bar over the requests of one call, with tokens per second.

For: showing that a run lives, and how fast it is.
Not for: the figures that end up in the results (see `run_stats.py`).
"""

import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

# Seconds between redraws while nothing has finished.
HEARTBEAT = 1.0


class Progress:
    """A progress bar; use it as a context manager.

    Args:
        total: number of requests.
        label: what stands before the bar.
        shown: False draws nothing.
    """

    def __init__(self, total: int, label: str, *, shown: bool = True) -> None:
        """Draws the empty bar."""
        self._bar = tqdm(total=total, desc=label, unit="req", disable=not shown, dynamic_ncols=True)
        self._start = self._drawn = time.perf_counter()
        self._prompt = self._generated = 0

    def __enter__(self) -> Self:
        """The bar itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()

    def finish(self, prompt_tokens: int, generated_tokens: int) -> None:
        """Count one finished request; both in tokens."""
        self._prompt += prompt_tokens
        self._generated += generated_tokens
        seconds = max(time.perf_counter() - self._start, 1e-9)
        self._bar.set_postfix_str(
            f"prompt {self._prompt / seconds:,.0f} tok/s, "
            f"generated {self._generated / seconds:,.0f} tok/s",
            refresh=False,
        )
        self._bar.update()

    def beat(self) -> None:
        """Redraw now and then while requests are under way, so that the clock goes on."""
        now = time.perf_counter()
        if now - self._drawn >= HEARTBEAT:
            self._drawn = now
            self._bar.refresh()
