"""(seed, site, iteration) → uniform. The n-th draw of a site depends on nothing else: not on chunks, threads or other sites.

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
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from ultramc.errors import InputError

FloatArray = npt.NDArray[np.float64]
WordArray = npt.NDArray[np.uint64]

SEEDS = 2**64
ITERATIONS = 2**62
WORDS_PER_BLOCK = 4
SMALLEST_UNIFORM = 2.0**-53
LARGEST_UNIFORM = 1 - 2.0**-53
SAMPLINGS = ("random",)

_WORDS_AT_ONCE = 16_384  # 128 kB of words stay in the cache between the passes


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
        digest = blake2b(self.sheet.lower().encode(), digest_size=8).digest()
        return np.array([check_seed(seed), int.from_bytes(digest, "little")], dtype=np.uint64)

    @property
    def counter(self) -> WordArray:
        """The Philox counter before iteration 0, uint64 (4,)."""
        return self._counter_before(0)

    def _counter_before(self, block: int) -> WordArray:
        # A list would go through float64 on its way into Philox, and lose bits.
        return np.array([block, self.row, self.column, self.k], dtype=np.uint64)


def uniforms(seed: int, site: Site, first: int, count: int) -> FloatArray:
    """The draws of iterations first … first + count - 1: float64 (count,), each an odd multiple of 2^-53, so never 0 or 1.

    Raises `InputError` where not 0 ≤ seed < 2^64, or not 0 ≤ first ≤ first + count ≤ 2^62.
    """
    first, count = _checked_range(first, count)
    draws = np.empty(count)
    fill_uniforms(seed, site, first, draws)
    return draws


def fill_uniforms(seed: int, site: Site, first: int, out: FloatArray) -> None:
    """`uniforms` written into `out`, float64 (count,), which need not be contiguous."""
    first, count = _checked_range(first, len(out))
    philox = _philox_at(seed, site, first)
    for start in range(0, count, _WORDS_AT_ONCE):
        part = out[start : start + _WORDS_AT_ONCE]
        words = philox.random_raw(len(part))
        np.right_shift(words, 12, out=words)
        np.add(words, 0.5, out=part)
        np.multiply(part, 2.0**-52, out=part)


def new_seed() -> int:
    """A seed from the operating system, below 2^53: programs that read JSON numbers as doubles keep every digit of it."""
    return secrets.randbits(53)


def check_seed(seed: object) -> int:
    """Raises `InputError` where `seed` is no whole number with 0 ≤ seed < 2^64."""
    number = whole("seed", seed)
    if not 0 <= number < SEEDS:
        raise InputError(f"seed={number} is outside 0 ≤ seed < 2^64; leave seed out to have one drawn and recorded")
    return number


def check_sampling(sampling: object) -> str:
    """The name of the sampling method. Raises `InputError` for one that does not exist: nothing asked for is ignored."""
    if isinstance(sampling, str) and sampling in SAMPLINGS:
        return sampling
    raise InputError(f"sampling={sampling!r} does not exist; available: {', '.join(map(repr, SAMPLINGS))}")


def _philox_at(seed: int, site: Site, first: int) -> np.random.Philox:
    block, words = divmod(first, WORDS_PER_BLOCK)
    philox = np.random.Philox(key=site.key(seed), counter=site._counter_before(block))
    philox.random_raw(words, output=False)
    return philox


def _checked_range(first: object, count: object) -> tuple[int, int]:
    start, length = whole("first", first), whole("count", count)
    if not 0 <= start <= start + length <= ITERATIONS:
        raise InputError(f"iterations from first={start}, count={length}: both must be at least 0 and first + count at most 2^62")
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
