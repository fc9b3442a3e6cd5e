"""A private stream of random numbers that is the same on every machine, Python and NumPy, for ever.

For: drawing documents. The stream is the output of SHAKE-256 for a name, so it depends on that name
alone and not on what was drawn elsewhere; Python and NumPy promise less for their generators'
derived methods.
Not for: cryptography, or millions of draws from one stream.
"""

import hashlib

import numpy as np
import numpy.typing as npt


class Stream:
    """Random numbers named by `parts`; a longer draw starts with what a shorter one gives."""

    def __init__(self, *parts: str | int) -> None:
        """Open the stream named by `parts`."""
        self._source = hashlib.shake_256("/".join(map(str, parts)).encode())
        self._buffer = b""
        self._position = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._position + count
        if end > len(self._buffer):
            # A digest is always computed from its start, so doubling keeps the sum linear.
            self._buffer = self._source.digest(max(end, 2 * len(self._buffer), 1024))
        start, self._position = self._position, end
        return self._buffer[start:end]

    def words64(self, count: int) -> npt.NDArray[np.uint64]:
        """The next `count` numbers of 64 bits, as an array [count]."""
        return np.frombuffer(self.take(8 * count), dtype="<u8")

    def integers(self, limit: int, count: int) -> list[int]:
        """`count` integers in [0, limit); the bias of the remainder is below limit / 2**64."""
        numbers: list[int] = (self.words64(count) % np.uint64(limit)).tolist()
        return numbers

    def integer(self, limit: int) -> int:
        """One integer in [0, limit)."""
        return self.integers(limit, 1)[0]

    def distinct(self, limit: int, draws: int) -> list[int]:
        """Different integers in [0, limit) in random order: `draws` of them, less the repeats."""
        return list(dict.fromkeys(self.integers(limit, draws)))

    def sample(self, population: int, count: int) -> list[int]:
        """Exactly `count` different integers in [0, population), in random order."""
        keys = self.words64(population)
        if count < population:
            # Those with the smallest keys, in the order of their places: a fifth of the time.
            chosen = np.sort(np.argpartition(keys, count)[:count])
            chosen = chosen[np.argsort(keys[chosen], kind="stable")]
        else:
            chosen = np.argsort(keys, kind="stable")[:count]
        numbers: list[int] = chosen.tolist()
        return numbers

    def uuids(self, count: int) -> list[str]:
        """`count` random UUIDs of version 4, in lower case with dashes."""
        digits, uuids = self.take(16 * count).hex(), []
        # Three times as fast as uuid.UUID, of which there would be tens of thousands.
        for start in range(0, 32 * count, 32):
            h = digits[start : start + 32]
            variant = "89ab"[int(h[16], 16) & 3]
            uuids.append(f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{variant}{h[17:20]}-{h[20:]}")
        return uuids
