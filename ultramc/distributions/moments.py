"""Moments of a continuous law that has no formula for them: integrals of its quantile and of its powers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ultramc.distributions.law import Distribution, FloatArray, computed

FARTHEST = 700.0  # -ln of the tail probability where integrals end, 1e-304
PANELS = 1_000
MOST_PANELS = 8_000  # at a time; where they do not do, the rest is noise in the last digits
TOLERANCE = 1e-13
NODES, WEIGHTS = np.polynomial.legendre.leggauss(12)

Functions = Callable[[FloatArray], FloatArray]  # of an array; the first axis counts the functions


@lru_cache(maxsize=256)
def moments_by_quadrature(law: Distribution) -> tuple[float, float, float, float]:
    """Mean, variance, skewness and excess kurtosis of a continuous law: inf where an integral diverges, NaN where it has no value."""
    mean, _ = _expected(law, lambda x: np.stack((x, np.abs(x))))
    if not math.isfinite(mean):
        return mean, mean * mean, math.nan, math.nan
    (variance,) = _expected(law, lambda x: (x - mean)[None] ** 2)
    if not math.isfinite(variance):
        return mean, variance, math.nan, math.nan
    third, fourth = _expected(law, lambda x: np.stack([((x - mean) / math.sqrt(variance)) ** order for order in (3, 4)]))
    return mean, variance, third, fourth - 3


def _expected(law: Distribution, functions: Functions) -> list[float]:
    """The expected values of some functions of X, accurate to the last digits of the largest of them.

    They are integrals over the probability w of either tail, by -ln(w): so each integrand decays, or the integral diverges.
    """

    def integrands(depth: FloatArray) -> FloatArray:
        tail = np.exp(-depth)
        shares = np.stack((tail, 1 - tail))
        return functions(computed(law.exactly_at, shares, shares[::-1])) * tail

    with np.errstate(all="ignore"):
        near, far = np.moveaxis(integrands(np.array([0.9, 1.0]) * FARTHEST), -1, 0)
        diverging = (np.abs(far) > 0.99 * np.abs(near)) & (far != 0)
        infinite = np.where(diverging, far * math.inf, 0.0).sum(axis=1)
        if (infinite != 0).all():
            return list(map(float, infinite))
        edges = np.linspace(math.log(2), FARTHEST, PANELS + 1)
        finite = _integrals(lambda depth: integrands(depth).sum(axis=1), edges[:-1], edges[1:])
        return list(map(float, np.where(infinite == 0, finite, infinite)))


def _integrals(functions: Functions, left: FloatArray, right: FloatArray) -> FloatArray:
    """Gauss–Legendre sums over panels, each halved until its halves add up to it: a bend is thus found and enclosed."""
    whole = _sums(functions, left, right)
    total, size = np.zeros(len(whole)), np.abs(whole).sum(axis=1).max()
    while len(left):
        middle = (left + right) / 2
        left, right = np.stack((left, middle)), np.stack((middle, right))
        halves = _sums(functions, left, right)
        settled = (np.abs(halves.sum(axis=1) - whole) <= TOLERANCE * size).all(axis=0) | (len(middle) > MOST_PANELS)
        total += halves[:, :, settled].sum(axis=(1, 2))
        left, right, whole = left[:, ~settled].ravel(), right[:, ~settled].ravel(), halves[:, :, ~settled].reshape(len(whole), -1)
    return total


def _sums(functions: Functions, left: FloatArray, right: FloatArray) -> FloatArray:
    half = (right - left)[..., None] / 2
    return np.asarray((functions(left[..., None] + half * (1 + NODES)) * half * WEIGHTS).sum(axis=-1))
