"""Latin hypercube sampling: in each replicate of m iterations every input visits each of m equally probable strata once.

McKay, Beckman & Conover, "A comparison of three methods for selecting values of input variables", Technometrics 21 (1979).
The strata are permuted by a keyed bijection instead of a shuffle, so that any iteration is found without the others: a
Feistel network (Luby & Rackoff 1988) on the next power of two, applied again where it leaves the range (cycle-walking:
Black & Rogaway, "Ciphers with arbitrary finite domains", 2002).
"""

from __future__ import annotations

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

_SMALL = 8  # bits; up to these seven rounds leave some permutations rarer than others by up to a quarter,
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
    bits = (m - 1).bit_length()
    x = positions + keys[0] % np.uint64(m)
    rounds = _round_keys(keys[1:], bits)
    found = _feistel(np.minimum(x, x - np.uint64(m)), bits, rounds)  # x - m wraps where x < m, and is then the larger
    beyond = np.flatnonzero(found >= m)
    while beyond.size:  # a cycle of the bijection comes back into [0, m): on average below two steps
        found[beyond] = _feistel(found[beyond], bits, _of(rounds, beyond))
        beyond = beyond[found[beyond] >= m]
    return found


def _round_keys(keys: WordArray, bits: int) -> WordArray:
    passes = [keys]
    while bits <= _SMALL and len(passes) < _PASSES:
        passes.append(_hash(passes[-1], _NEXT_PASS))
    return np.concatenate(passes)


def _of(keys: WordArray, chosen: npt.NDArray[np.intp]) -> WordArray:
    return keys if keys.shape[1] == 1 else keys[:, chosen]


def _feistel(x: WordArray, bits: int, keys: WordArray) -> WordArray:
    """A bijection of [0, 2^bits): the halves in turn are xored with a hash of the other."""
    low_bits = bits // 2
    low, high = x & np.uint64(2**low_bits - 1), x >> np.uint64(low_bits)
    halves = [(high, bits - low_bits), (low, low_bits)]
    for key in keys:
        (target, width), (source, _) = halves
        target ^= _hash(source, key) >> np.uint64(64 - width)  # NumPy's shift by 64 gives 0
        halves.reverse()
    return high << np.uint64(low_bits) | low


def _hash(x: WordArray, key: WordArray | np.uint64) -> WordArray:
    """Its leading bits depend on all of x + key."""
    mixed = x + key
    mixed *= _FIRST
    mixed ^= mixed >> np.uint64(32)
    mixed *= _SECOND
    return mixed
