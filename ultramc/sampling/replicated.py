"""What Latin hypercubes and Sobol points share: a run of n iterations is R replicates, keyed independently, of m = n / R each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from attrs import field, frozen

from ultramc.errors import InputError
from ultramc.sampling.base import AT_ONCE, FloatArray, Sampling, Site, WordArray, checked_range, whole

if TYPE_CHECKING:
    from ultramc.sampling.job import Job

MOST_BY_DEFAULT = 16  # replicates: enough for Student's t to be near the normal, few enough to keep replicates long
LONG = AT_ONCE // 4  # a replicate from this length on gets pieces of its own
LOOKED_AT = 1_000  # on either side, for a number of replicates that would do


def _replicates(value: Any) -> int | None:
    if value is None:
        return None
    number = whole("replicates", value)
    if number < 1:
        raise InputError(f"replicates={number}: at least 1, and 2 for a standard error; leave it out for the largest divisor up to 16")
    return number


@frozen
class Piece:
    """Consecutive iterations whose positions lie in one aligned block of 16,384.

    `first` of them, and their `place` in the chunk; `replicates`, uint64 (count,), or (1,) where they are all of one;
    `positions` within the replicate, uint64 (count,).
    """

    first: int
    place: slice
    replicates: WordArray
    positions: WordArray


def pieces(first: int, count: int, together: int) -> Iterator[Piece]:
    """Iterations first … first + count - 1 in order."""
    cut = _short if together < LONG else _long
    done = 0
    while done < count:
        piece = cut(first + done, count - done, together, done)
        yield piece
        done = piece.place.stop


def _short(first: int, count: int, together: int, done: int) -> Piece:
    """Over many replicates."""
    length = min(count, AT_ONCE)
    replicates, positions = np.divmod(np.arange(first, first + length, dtype=np.uint64), np.uint64(together))
    return Piece(first, slice(done, done + length), replicates, positions)


def _long(first: int, count: int, together: int, done: int) -> Piece:
    replicate, position = divmod(first, together)
    length = min(count, together - position, AT_ONCE - position % AT_ONCE)
    positions = np.arange(position, position + length, dtype=np.uint64)
    return Piece(first, slice(done, done + length), np.array([replicate], dtype=np.uint64), positions)


@frozen
class Replicated(Sampling):
    """`replicates`: R, or None for the largest divisor of the number of iterations up to 16.

    Draws depend on the number of iterations: a longer run is not the continuation of a shorter one.
    """

    depends_on_length: ClassVar[bool] = True
    words: ClassVar[int]  # of the further stream, that key one replicate
    replicates: int | None = field(default=None, converter=_replicates)

    @abstractmethod
    def draw(self, job: Job, site: Site, piece: Piece, keys: WordArray, out: FloatArray) -> None:
        """Write the uniforms of one piece; `keys`, uint64 (words, count) or (words, 1) where all are of one replicate."""

    def together(self, iterations: int) -> int:
        return iterations // self.replicates_of(iterations)

    def replicates_of(self, iterations: int) -> int:
        """R for a run of this length. Raises `InputError` where the R asked for is no divisor of it."""
        if self.replicates is None:
            return max(number for number in range(1, MOST_BY_DEFAULT + 1) if iterations % number == 0)
        if iterations < self.replicates or iterations % self.replicates:
            raise InputError(
                f"iterations={iterations:_} do not form replicates={self.replicates:_} of one size; {self._would_do(iterations)}"
            )
        return self.replicates

    def _would_do(self, iterations: int) -> str:
        asked = self.replicates or 1
        lengths = [length for length in (iterations // asked * asked, iterations // asked * asked + asked) if length]
        near = [n for n in range(max(1, asked - LOOKED_AT), min(iterations, asked + LOOKED_AT) + 1) if iterations % n == 0]
        closest = min(near, key=lambda number: abs(number - asked), default=None)
        counts = "" if closest is None else f", or replicates={closest:_}"
        return f"take iterations={' or '.join(f'{length:_}' for length in lengths)}{counts}"

    def fill(self, job: Job, site: Site, first: int, out: FloatArray) -> None:
        first, count = checked_range(first, len(out), job.iterations)
        if not count:
            return
        together = job.together
        lowest, highest = first // together, (first + count - 1) // together
        words = site.further.words(job.seed, self.words * lowest, self.words * (highest - lowest + 1))
        keys = words.reshape(-1, self.words).T
        for piece in pieces(first, count, together):
            self.draw(job, site, piece, keys[:, piece.replicates - np.uint64(lowest)], out[piece.place])

    def warnings(self, job: Job) -> tuple[str, ...]:
        if self.replicates_of(job.iterations) > 1:
            return ()
        remedy = "pass a number of iterations that 16 divides" if self.replicates is None else "ask for 2 replicates or more"
        return (f"{self.name} sampling: the run is one replicate, so nothing tells how uncertain its results are; {remedy}",)
