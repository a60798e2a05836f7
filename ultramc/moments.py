"""Moments of blocks of values, merged pairwise: constant memory, and the rounding error of a tree.

Sums of powers about the mean, up to the eighth, which the standard error of a kurtosis needs. Merging shifts both sides to the
joint mean by the binomial theorem (Chan, Golub & LeVeque 1979; Pébay, "Formulas for robust, one-pass parallel computation of
covariances and arbitrary-order statistical moments", Sandia report SAND2008-6212).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

Array = NDArray[np.float64]

ORDER = 8
SMALLEST_EXPONENT = -1_000  # of subnormal numbers, and of zeros, which then never set the unit


@frozen(eq=False)
class Moments:
    """Of groups of values, each array of shape (groups,) behind what is said here.

    `exponent`: the unit is 2 to this power, so that no power of a value overflows. `mean` is in units, and rounded. `sums`, (9, groups):
    the sum of (value − mean)^p in units^p; the 0th is the count, and the first what rounding the mean left.
    """

    exponent: NDArray[np.int64]
    mean: Array
    sums: Array

    @classmethod
    def of(cls, values: Array, valid: NDArray[np.bool_] | None = None) -> Moments:
        """Of each row of `values`, (groups, n): of all, or of those that are valid."""
        if valid is not None:
            values = np.where(valid, values, 0.0)
        exponent = np.frexp(np.max(np.abs(values), axis=1))[1].astype(np.int64)
        exponent = np.where(values.any(axis=1), np.maximum(exponent, SMALLEST_EXPONENT), SMALLEST_EXPONENT)
        scaled = values * np.ldexp(1.0, -exponent)[:, None]
        count = np.full(len(values), float(values.shape[1])) if valid is None else np.count_nonzero(valid, axis=1).astype(np.float64)
        mean = _inside(np.sum(scaled, axis=1) / np.maximum(count, 1), scaled, valid)
        centered = scaled - mean[:, None]
        if valid is not None:
            centered[~valid] = 0.0
        return cls(exponent, mean, np.stack([count, *_power_sums(centered)]))

    @property
    def count(self) -> Array:
        counts: Array = self.sums[0]
        return counts

    def __getitem__(self, place: Any) -> Moments:
        return Moments(self.exponent[place], self.mean[place], self.sums[:, place])

    def in_units_of(self, exponent: NDArray[np.int64]) -> Moments:
        change = self.exponent - exponent
        powers = np.arange(ORDER + 1)[:, None]
        return Moments(exponent, np.ldexp(self.mean, change), np.ldexp(self.sums, powers * change))

    def about(self, center: Array, offset: Array | float = 0.0) -> Array:
        """The sums of powers about another center, and a little off it, in the same units; (9, groups)."""
        return _shifted(self.sums, (self.mean - center) - offset)

    @property
    def offset(self) -> Array:
        """How far the mean is from the rounded one."""
        offset: Array = np.divide(self.sums[1], self.count, out=np.zeros_like(self.mean), where=self.count > 0)
        return offset

    def merged(self, other: Moments) -> Moments:
        """With the groups of another, one by one."""
        exponent = np.maximum(self.exponent, other.exponent)
        one, two = self.in_units_of(exponent), other.in_units_of(exponent)
        total = one.count + two.count
        share = np.divide(two.count, total, out=np.zeros_like(total), where=total > 0)
        mean = one.mean + (two.mean - one.mean) * share
        return Moments(exponent, mean, one.about(mean) + two.about(mean))

    def total(self) -> Moments:
        """All groups as one, by a tree of neighbours; shape (1,)."""
        moments = self
        while (size := len(moments.mean)) > 1:
            pairs = moments[0 : size - 1 : 2].merged(moments[1:size:2])
            moments = joined((pairs, moments[size - 1 :])) if size % 2 else pairs
        return moments


def joined(parts: Any) -> Moments:
    """The groups of several, one after the other."""
    parts = list(parts)
    arrays = ([getattr(part, name) for part in parts] for name in ("exponent", "mean", "sums"))
    return Moments(*(np.concatenate(each, axis=-1) for each in arrays))


def _inside(mean: Array, scaled: Array, valid: NDArray[np.bool_] | None) -> Array:
    """The rounded mean of equal values may miss them; between the extremes it cannot."""
    where = True if valid is None else valid
    low = np.min(scaled, axis=1, where=where, initial=np.inf)
    high = np.max(scaled, axis=1, where=where, initial=-np.inf)
    return np.where(low <= high, np.clip(mean, low, high), 0.0)


def _power_sums(centered: Array) -> Iterator[Array]:
    power = centered.copy()
    yield np.sum(power, axis=1)
    for _ in range(2, ORDER + 1):
        power *= centered
        yield np.sum(power, axis=1)


def _shifted(sums: Array, shift: Array) -> Array:
    """The sums of powers of values that lie higher by `shift`."""
    powers = [np.ones_like(shift)]
    for _ in range(ORDER):
        powers.append(powers[-1] * shift)
    return np.stack([sum(math.comb(p, k) * sums[p - k] * powers[k] for k in range(p + 1)) for p in range(ORDER + 1)])


EMPTY = Moments(np.array([SMALLEST_EXPONENT]), np.zeros(1), np.zeros((ORDER + 1, 1)))


@frozen(eq=False)
class Tree:
    """Merges what comes one after the other as a binary counter does: the same tree whoever counts, of log₂ n parts."""

    parts: list[tuple[int, Moments]] = field(factory=list)

    def add(self, moments: Moments) -> None:
        """One group."""
        level = 0
        while self.parts and self.parts[-1][0] == level:
            moments, level = self.parts.pop()[1].merged(moments), level + 1
        self.parts.append((level, moments))

    def total(self) -> Moments:
        parts = [moments for _, moments in reversed(self.parts)]
        return reduce(lambda late, early: early.merged(late), parts) if parts else EMPTY
