"""Latin hypercube sampling: in each replicate of m iterations every input visits each of m equally probable strata once.

McKay, Beckman & Conover, "A comparison of three methods for selecting values of input variables", Technometrics 21 (1979).
The strata are permuted by a keyed bijection instead of a shuffle, so that any iteration is found without the others: a
Feistel network (Luby & Rackoff 1988) on the rows and columns of a rectangle that just holds the strata, applied again where
it leaves them (cycle-walking: Black & Rogaway, "Ciphers with arbitrary finite domains", 2002, generalised Feistel).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ultramc.errors import InputError
from ultramc.sampling.base import LARGEST_UNIFORM, SMALLEST_UNIFORM, FloatArray, Site, WordArray, fill_uniforms
from ultramc.sampling.replicated import Piece, Replicated

if TYPE_CHECKING:
    from ultramc.sampling.job import Job

MOST_STRATA = 2**48  # narrower ones would leave a float64 no room between their edges
_EDGE = 2.0**-51  # relative: two roundings stay on this side of it

# Multipliers of SplitMix64 (Steele, Lea & Flood 2014), in the variant 13 of Stafford.
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)

_SMALL = 256  # strata; up to these seven rounds leave some permutations rarer than others by up to a quarter,
_PASSES = 4  # and four times seven by nothing that a million keys would show
_NEXT_PASS = np.uint64(0x9E3779B97F4A7C15)


@frozen
class LatinHypercube(Replicated):
    """Iteration i is position j = i mod m of replicate r = i div m, and takes u' = (s + u) / m in stratum s = bijection of j.

    u is the site's own uniform i. Word 0 of the replicate's eight rotates the positions, which makes s uniform for every j;
    the others are round keys. With R = 1 there is no standard error. Raises `InputError` beyond 2^48 iterations a replicate.
    """

    name: ClassVar[str] = "latin_hypercube"
    stratified: ClassVar[bool] = True
    words: ClassVar[int] = 8

    def together(self, iterations: int) -> int:
        together = super().together(iterations)
        if together > MOST_STRATA:
            raise InputError(f"latin_hypercube with {together:_} iterations a replicate: at most 2^48; ask for more replicates")
        return together

    def draw(self, job: Job, site: Site, piece: Piece, keys: WordArray, out: FloatArray) -> None:
        fill_uniforms(job.seed, site, piece.first, out)
        _move_into(strata(piece.positions, job.together, keys), job.together, out)


def _move_into(strata: WordArray, m: int, u: FloatArray) -> None:
    """u → (s + u) / m, held inside its own stratum whatever the rounding: floor(u' m) = s."""
    s = strata.astype(np.float64)
    t = s + u
    np.maximum(t, s * (1 + _EDGE), out=t)
    np.minimum(t, (s + 1) * (1 - _EDGE), out=t)
    np.clip(t / m, SMALLEST_UNIFORM, LARGEST_UNIFORM, out=u)


def strata(positions: WordArray, m: int, keys: WordArray) -> WordArray:
    """The stratum of each position in [0, m), uint64 (count,): a bijection for each column of `keys`, uint64 (8, count) or (8, 1)."""
    columns = math.isqrt(m - 1) + 1
    sides = -(-m // columns), columns
    rounds = _round_keys(keys[1:], m)
    found = _feistel(_within(positions + keys[0] % np.uint64(m), m), sides, rounds)
    beyond = np.flatnonzero(found >= m)
    while beyond.size:  # a cycle of the bijection comes back into [0, m); the rectangle is hardly larger than that
        found[beyond] = _feistel(found[beyond], sides, _of(rounds, beyond))
        beyond = beyond[found[beyond] >= m]
    return found


def _round_keys(keys: WordArray, m: int) -> WordArray:
    passes = [keys]
    while m <= _SMALL and len(passes) < _PASSES:
        passes.append(_hash(passes[-1], _NEXT_PASS))
    return np.concatenate(passes)


def _of(keys: WordArray, chosen: npt.NDArray[np.intp]) -> WordArray:
    return keys if keys.shape[1] == 1 else keys[:, chosen]


def _feistel(x: WordArray, sides: tuple[int, int], keys: WordArray) -> WordArray:
    """A bijection of the cells of a rectangle: its row and its column in turn are moved on by a hash of the other."""
    rows, columns = sides
    row = x // np.uint64(columns)
    column = x - row * np.uint64(columns)
    for number, key in enumerate(keys):
        if number % 2:
            column = _moved(column, columns, row, key)
        else:
            row = _moved(row, rows, column, key)
    return row * np.uint64(columns) + column


def _moved(place: WordArray, length: int, other: WordArray, key: WordArray) -> WordArray:
    """By a step below `length`, around the end: the leading 32 bits of the hash are scaled to it."""
    step = _hash(other, key)
    step >>= np.uint64(32)
    step *= np.uint64(length)
    step >>= np.uint64(32)
    step += place
    return _within(step, length)


def _within(x: WordArray, length: int) -> WordArray:
    """x mod length for x < 2 · length: x - length wraps where it would be negative, and is then the larger."""
    around: WordArray = np.minimum(x, x - np.uint64(length))
    return around


def _hash(x: WordArray, key: WordArray | np.uint64) -> WordArray:
    """Its leading bits depend on all of x + key."""
    mixed = x + key
    mixed *= _FIRST
    mixed ^= mixed >> np.uint64(32)
    mixed *= _SECOND
    return mixed
