"""Sobol points, scrambled at random: every replicate fills the unit cube as evenly as m points can, and is uniform by itself.

Points in Gray code order with the direction numbers of Joe & Kuo (SIAM J. Sci. Comput. 30, 2008), as SciPy ships them. Owen's
nested uniform scrambling (1995) by a hash in which each bit depends on the more significant ones only: Laine & Karras,
"Stratified sampling for stochastic transparency" (2011); Burley, "Practical hash-based Owen scrambling" (2020); Vegdahl (2021).

Words are kept with their bits reversed, the most significant first: there such a hash is ordinary arithmetic modulo 2^64,
whose carries run from low bits to high ones.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from attrs import frozen

from ultramc.errors import InputError
from ultramc.sampling.base import AT_ONCE, FloatArray, Site, WordArray, checked_range, fill_uniforms, open_uniforms, whole
from ultramc.sampling.replicated import Piece, Replicated, pieces

if TYPE_CHECKING:
    from ultramc.sampling.job import Job

DIMENSIONS = 21_201  # that Joe & Kuo have direction numbers for
BITS = 64

# (shift, mask) that exchange neighbouring bits, pairs and halves of bytes
_EXCHANGES = [
    (np.uint64(shift), np.uint64(mask)) for shift, mask in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F))
]
_EVEN = [np.uint64(constant) for constant in (0x9E3779B97F4A7C14, 0xBF58476D1CE4E5B8)]


@frozen
class Sobol(Replicated):
    """Iteration i is point i mod m of replicate i div m; the d-th site in order of address is dimension d.

    Each replicate is scrambled by keys of its own. Draws depend on the set of sites: a new input before the others moves them to
    other dimensions. Sites beyond the 21,201 dimensions draw at random. Best where m is a power of two. With R = 1 there is no
    standard error.
    """

    name: ClassVar[str] = "sobol"
    words: ClassVar[int] = 4

    def fill(self, job: Job, site: Site, first: int, out: FloatArray) -> None:
        if job.dimension(site) < DIMENSIONS:
            return super().fill(job, site, first, out)
        checked_range(first, len(out), job.iterations)
        fill_uniforms(job.seed, site, first, out)

    def draw(self, job: Job, site: Site, piece: Piece, keys: WordArray, out: FloatArray) -> None:
        open_uniforms(reversed_bits(scrambled(_points(job.dimension(site), piece.positions), keys)), out)

    def warnings(self, job: Job) -> tuple[str, ...]:
        found = super().warnings(job)
        if job.together & (job.together - 1):
            found += (_unbalanced(job),)
        if len(job.dimensions) > DIMENSIONS:
            found += (f"sobol sampling has {DIMENSIONS:,} dimensions: {len(job.dimensions) - DIMENSIONS:,} call sites more draw at random",)
        return found


def _unbalanced(job: Job) -> str:
    replicates = job.iterations // job.together
    below = 2 ** (job.together.bit_length() - 1)
    return (
        f"sobol sampling is at its best where replicates are a power of two, not {job.together:,} iterations; "
        f"{replicates * below:,} or {2 * replicates * below:,} iterations would be"
    )


def sobol_points(dimension: int, first: int, count: int) -> WordArray:
    """Points first … first + count - 1 of one dimension, not scrambled: uint64 (count,), of which 2^64 would be 1.

    Raises `InputError` where not 0 ≤ dimension < 21,201 or not 0 ≤ first ≤ first + count ≤ 2^62.
    """
    if not 0 <= whole("dimension", dimension) < DIMENSIONS:
        raise InputError(f"dimension={dimension}: Sobol points have dimensions 0 to {DIMENSIONS - 1:_}")
    first, count = checked_range(first, count)
    points = np.empty(count, np.uint64)
    for piece in pieces(first, count, first + count):
        points[piece.place] = reversed_bits(_points(dimension, piece.positions))
    return points


def _points(dimension: int, positions: WordArray) -> WordArray:
    """Bit-reversed points of positions in one aligned block."""
    numbers = _direction_numbers()[dimension]
    block = int(positions[0]) // AT_ONCE * AT_ONCE
    within = (positions - np.uint64(block)).astype(np.intp)
    points: WordArray = _first_points(numbers, int(within.max()).bit_length())[within] ^ _point(numbers, block)
    return points


def _first_points(numbers: WordArray, bits: int) -> WordArray:
    """Points 0 … 2^bits - 1: in Gray code each half is the mirror image of the other, with one bit more."""
    points = np.zeros(2**bits, np.uint64)
    for bit in range(bits):
        half = 2**bit
        np.bitwise_xor(points[half - 1 :: -1], numbers[bit], out=points[half : 2 * half])
    return points


def _point(numbers: WordArray, position: int) -> np.uint64:
    gray = position ^ (position >> 1)
    chosen = [bit for bit in range(BITS) if gray >> bit & 1]
    combined: np.uint64 = np.bitwise_xor.reduce(numbers[chosen])
    return combined


@lru_cache(maxsize=1)
def _direction_numbers() -> WordArray:
    """Bit-reversed, uint64 (21,201, 64)."""
    from scipy.stats import qmc

    numbers = getattr(qmc.Sobol(d=DIMENSIONS, scramble=False, bits=BITS), "_sv", None)
    if not isinstance(numbers, np.ndarray) or numbers.shape != (DIMENSIONS, BITS) or numbers.dtype != np.uint64:
        raise InputError(
            "sampling='sobol': this version of SciPy does not show its direction numbers; use SciPy 1.13.1 or 'latin_hypercube'"
        )
    return reversed_bits(np.asarray(numbers, dtype=np.uint64))


def scrambled(points: WordArray, keys: WordArray) -> WordArray:
    """Bit-reversed points under one scramble for each column of `keys`, uint64 (4, count) or (4, 1).

    Each step is a bijection of every number of leading bits, and the first addition alone makes any one point uniform.
    """
    x: WordArray = points + keys[0]
    x ^= x * _EVEN[0]
    x *= keys[1] | np.uint64(1)
    x += keys[2]
    x ^= x * _EVEN[1]
    x *= keys[3] | np.uint64(1)
    return x


def reversed_bits(words: WordArray) -> WordArray:
    """Bit 63 - b becomes bit b."""
    for shift, mask in _EXCHANGES:
        words = words >> shift & mask | (words & mask) << shift
    swapped: WordArray = words.byteswap()
    return swapped
