"""What a sampling method is, and the stream of uniforms that each of them draws from.

(seed, site, iteration) → uniform. The n-th draw of a site depends on nothing else: not on chunks, threads or other sites.

    key     = numpy.array([seed, int.from_bytes(blake2b(sheet.lower().encode(), digest_size=8).digest(), "little")], dtype=numpy.uint64)
    counter = numpy.array([0, row, column, k], dtype=numpy.uint64)
    raw     = numpy.random.Philox(key=key, counter=counter).random_raw(n)
    u       = ((raw >> 12) + 0.5) * 2.0**-52

Iteration i is word i mod 4 of the Philox4x64-10 block whose counter is [i div 4 + 1, row, column, k]
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11).
"""

from __future__ import annotations

import operator
import secrets
import threading
from abc import ABC, abstractmethod
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from ultramc.errors import InputError

if TYPE_CHECKING:
    from ultramc.sampling.job import Job

FloatArray = npt.NDArray[np.float64]
WordArray = npt.NDArray[np.uint64]

SEEDS = 2**64
ITERATIONS = 2**62
WORDS_PER_BLOCK = 4
SMALLEST_UNIFORM = 2.0**-53
LARGEST_UNIFORM = 1 - 2.0**-53
AT_ONCE = 16_384  # 128 kB of words stay in the cache between the passes
FURTHER = 2**32  # from a site's k to that of the next stream of the same cell
_UNUSED_BITS = np.uint64(12)
_NOTHING = np.zeros(WORDS_PER_BLOCK, np.uint64)  # is left of a block that is behind the stream's place
_BITS_OF_ONE = np.float64(1.0).view(np.uint64)
STREAMS = 3  # of one site: its draws, and two further ones for the keys and jitter of sampling methods


class Sampling(ABC):
    """How a run draws: which uniform each site gets in each iteration, a pure function of (seed, site, iteration, iterations in all).

    Its methods are frozen and hashable, and say by `name` how they are asked for.
    """

    name: ClassVar[str]
    depends_on_length: ClassVar[bool] = False  # whether another number of iterations changes a draw
    stratified: ClassVar[bool] = False  # whether each replicate visits each of its strata once

    @abstractmethod
    def together(self, iterations: int) -> int:
        """How many consecutive iterations of a run form one replicate, independent of the others.

        Raises `InputError` where the replicates asked for do not divide `iterations`.
        """

    @abstractmethod
    def fill(self, job: Job, site: Site, first: int, out: FloatArray) -> None:
        """Write the uniforms of iterations first … first + len(out) - 1 into `out`, float64 (count,), which need not be contiguous.

        Raises `InputError` for iterations that the run does not have.
        """

    def warnings(self, job: Job) -> tuple[str, ...]:
        """What a result must say about these draws."""
        return ()


def _word(site: Site, attribute: Any, value: int) -> None:
    if not attribute.metadata["least"] <= value < 2**64:
        raise InputError(f"{attribute.name} of a call site is {value}; it counts from {attribute.metadata['least']}")


@frozen(order=True)
class Site:
    """One place where a draw is made: a cell, and its k-th call site (0 for an input given through the API)."""

    sheet: str
    row: int = field(validator=_word, metadata={"least": 1})
    column: int = field(validator=_word, metadata={"least": 1})
    k: int = field(default=0, validator=_word, metadata={"least": 0})

    def key(self, seed: int) -> WordArray:
        """The Philox key, uint64 (2,). Raises `InputError` where not 0 ≤ seed < 2^64."""
        return np.array([check_seed(seed), _digest(self.sheet)], dtype=np.uint64)

    @property
    def counter(self) -> WordArray:
        """The Philox counter before iteration 0, uint64 (4,)."""
        return self._counter_before(0)

    @property
    def further(self) -> Site:
        """Where a sampling method finds its keys: the same cell, another stream."""
        return evolve(self, k=self.k + FURTHER)

    def element(self, number: int) -> Site:
        """Where element 0, 1, … of an array that this site draws is drawn: stream k + 2^32 · 3 · (number + 1), two free ones after it."""
        return evolve(self, k=self.k + FURTHER * STREAMS * (number + 1))

    def words(self, seed: int, first: int, count: int) -> WordArray:
        """Words first … first + count - 1 of the Philox stream, uint64 (count,)."""
        words: WordArray = _philox_at(seed, self, first).random_raw(count)
        return words

    def _counter_before(self, block: int) -> WordArray:
        # A list would go through float64 on its way into Philox, and lose bits.
        return np.array([block, self.row, self.column, self.k], dtype=np.uint64)


@lru_cache(maxsize=256)
def _digest(sheet: str) -> int:
    return int.from_bytes(blake2b(sheet.lower().encode(), digest_size=8).digest(), "little")


def uniforms(seed: int, site: Site, first: int, count: int) -> FloatArray:
    """The independent draws of iterations first … first + count - 1: float64 (count,), odd multiples of 2^-53, so never 0 or 1.

    Raises `InputError` where not 0 ≤ seed < 2^64, or not 0 ≤ first ≤ first + count ≤ 2^62.
    """
    first, count = checked_range(first, count)
    draws = np.empty(count)
    fill_uniforms(seed, site, first, draws)
    return draws


def fill_uniforms(seed: int, site: Site, first: int, out: FloatArray) -> None:
    """`uniforms` written into `out`, float64 (count,), which need not be contiguous."""
    first, count = checked_range(first, len(out))
    philox = _philox_at(seed, site, first)
    for start in range(0, count, AT_ONCE):
        part = out[start : start + AT_ONCE]
        open_uniforms(philox.random_raw(len(part)), part)


def open_uniforms(words: WordArray, out: FloatArray) -> None:
    """The leading 52 bits of each word as a float64 in (0, 1), written into `out`; the words are overwritten.

    As bits of a number from 1 to 2 they are there without a conversion; and the subtraction is exact.
    """
    np.right_shift(words, _UNUSED_BITS, words)
    np.bitwise_or(words, _BITS_OF_ONE, words)
    np.subtract(words.view(np.float64), LARGEST_UNIFORM, out)


def new_seed() -> int:
    """A seed from the operating system, below 2^53: programs that read JSON numbers as doubles keep every digit of it."""
    return secrets.randbits(53)


def check_seed(seed: object) -> int:
    """Raises `InputError` where `seed` is no whole number with 0 ≤ seed < 2^64."""
    number = whole("seed", seed)
    if not 0 <= number < SEEDS:
        raise InputError(f"seed={number} is outside 0 ≤ seed < 2^64; leave seed out to have one drawn and recorded")
    return number


_OF_THREAD = threading.local()


def _philox_at(seed: int, site: Site, first: int) -> np.random.Philox:
    """This thread's generator, set to a word of a stream: a new one would take many times as long. Good until the next call."""
    block, words = divmod(first, WORDS_PER_BLOCK)
    if not hasattr(_OF_THREAD, "philox"):
        _OF_THREAD.philox = np.random.Philox(key=0)
    philox: np.random.Philox = _OF_THREAD.philox
    philox.state = {
        "bit_generator": "Philox",
        "state": {"key": site.key(seed), "counter": site._counter_before(block)},
        "buffer": _NOTHING,
        "buffer_pos": WORDS_PER_BLOCK,
        "has_uint32": 0,
        "uinteger": 0,
    }
    if words:
        philox.random_raw(words, output=False)
    return philox


def checked_range(first: object, count: object, limit: int = ITERATIONS) -> tuple[int, int]:
    """Raises `InputError` where not 0 ≤ first ≤ first + count ≤ limit."""
    start, length = whole("first", first), whole("count", count)
    if not 0 <= start <= start + length <= limit:
        most = "2^62" if limit == ITERATIONS else f"{limit:_}, the iterations of the run"
        raise InputError(f"iterations from first={start}, count={length}: both must be at least 0 and first + count at most {most}")
    return start, length


def whole(name: str, value: Any) -> int:
    """An argument as an int. Raises `InputError` for booleans and whatever is no integer of Python or NumPy."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        is_whole = isinstance(value, float) and value.is_integer()
        reason = f"is a float; write {int(value):_}" if is_whole else "is not a whole number"
        raise InputError(f"{name}={value!r} {reason}") from None
