"""Statistics of samples, each with its uncertainty: pure functions of finite float64 values of shape (n,).

A statistic is measured as its value and its *influence* on it of every observation, shape (n,) with mean 0; the standard
error is then the root mean square of the influence over √n, whatever the statistic (the infinitesimal jackknife: Hampel,
"The influence curve", JASA 1974; Efron, "Nonparametric estimates of standard error", Biometrika 1981). `estimated` is
the one place where an `Estimate` gets its standard error, and `difference` compares paired samples by the same rule.

Values are taken as independent. Nothing is NaN-aware: leave failed iterations out first.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ultramc.errors import InputError

Array = NDArray[np.float64]
Interval = tuple[float, float]
Measured = tuple[float, Array]
Tail = Literal["lower", "upper"]

LEVEL = 0.95
MAX_BINS = 1_000
SMALLEST_TAIL = 10  # observations; below this the asymptotic standard error of a CVaR misleads


class Estimate(float):
    """A statistic of samples: a float that knows how uncertain it is.

    `standard_error` is in the unit of the value, None where it is unknown (one iteration, a minimum, an extreme quantile).
    """

    standard_error: float | None
    _bounds: Callable[[float], Interval] | None

    def __new__(cls, value: float, standard_error: float | None = None, bounds: Callable[[float], Interval] | None = None) -> Estimate:
        """`bounds` maps a level, 0 to 1, to the ends of the interval; without it the interval is unknown."""
        estimate = super().__new__(cls, value)
        estimate.standard_error = standard_error
        estimate._bounds = bounds
        return estimate

    @property
    def confidence_interval(self) -> Interval | None:
        """Ends of the 95 % confidence interval, or None where it is unknown."""
        return self.interval(LEVEL)

    def interval(self, level: float = LEVEL) -> Interval | None:
        """Ends of the confidence interval at `level`; an end may be infinite (an extreme quantile). InputError unless 0 < level < 1."""
        if not 0 < level < 1:
            raise InputError(f"a confidence level lies between 0 and 1, such as 0.95; got {level!r}")
        return self._bounds(level) if self._bounds else None

    def __repr__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2g}"
        return f"{float(self)!r}{error}"

    def __str__(self) -> str:  # a plain number, so that f-strings and CSV writers see one
        return float.__repr__(self)


# How a measured statistic becomes an estimate.


def estimated(measured: Measured, bounds: Callable[[float, float, float], Interval] | None = None) -> Estimate:
    """The value with the standard error that its influence implies; `bounds(value, standard_error, level)` gives the interval."""
    value, influence = measured
    error = standard_error(influence)
    if error is None:
        return Estimate(value)
    return Estimate(value, error, partial(bounds or partial(_student, len(influence) - 1), value, error))


def standard_error(influence: Array) -> float | None:
    """Root mean square over √(n − 1), None where that is no number."""
    n = len(influence)
    largest = float(np.max(np.abs(influence), initial=0.0))
    if n < 2 or not math.isfinite(largest):
        return None
    if largest == 0:
        return 0.0
    return largest * math.sqrt(float(np.sum(np.square(influence / largest))) / (n * (n - 1)))


def difference(first: Measured, second: Measured, *, paired: bool) -> Estimate:
    """Second minus first. Paired samples (the same draws, influences of one length) share their noise, and most of it cancels."""
    change = second[0] - first[0]
    if paired:
        return estimated((change, second[1] - first[1]), _normal)
    errors = standard_error(first[1]), standard_error(second[1])
    if errors[0] is None or errors[1] is None:
        return Estimate(change)
    error = math.hypot(errors[0], errors[1])
    return Estimate(change, error, partial(_normal, change, error))


def normal_quantile(level: float) -> float:
    """The z of a two-sided interval: 0.95 → 1.96."""
    return NormalDist().inv_cdf((1 + level) / 2)


def _normal(value: float, error: float, level: float) -> Interval:
    half = normal_quantile(level) * error
    return value - half, value + half


def _student(degrees: int, value: float, error: float, level: float) -> Interval:
    from scipy.special import stdtrit

    half = float(stdtrit(degrees, (1 + level) / 2)) * error
    return value - half, value + half


def _logarithmic(value: float, error: float, level: float) -> Interval:
    """Normal on the logarithm: for what cannot be negative."""
    if value == 0:
        return 0.0, 0.0
    factor = math.exp(min(normal_quantile(level) * error / value, 700.0))
    return value / factor, value * factor


# Moments.


def mean(values: Array) -> Estimate:
    """Student's interval. NaN for no value."""
    return estimated(measure_mean(values))


def std(values: Array) -> Estimate:
    """With n − 1 (ddof = 1); standard error by the fourth moment. NaN for fewer than two values."""
    return estimated(measure_std(values), _logarithmic)


def variance(values: Array) -> Estimate:
    """With n − 1 (ddof = 1); standard error by the fourth moment. NaN for fewer than two values."""
    return estimated(measure_variance(values), _logarithmic)


def skewness(values: Array) -> Estimate:
    """m3 / m2^1.5 with moments over n, as `scipy.stats.skew`. NaN for a constant sample."""
    z = _population_scores(values)
    third = _average(z * z * z)
    return estimated((third, z * z * z - third - 3 * z - 1.5 * third * (z * z - 1)), _normal)


def kurtosis(values: Array) -> Estimate:
    """Excess: m4 / m2² − 3 with moments over n, as `scipy.stats.kurtosis`. NaN for a constant sample."""
    z = _population_scores(values)
    square = z * z
    third, fourth = _average(square * z), _average(square * square)
    return estimated((fourth - 3, square * square - fourth - 4 * third * z - 2 * fourth * (square - 1)), _normal)


def measure_mean(values: Array) -> Measured:
    center, deviation, scores = _standardised(values)
    with np.errstate(over="ignore"):
        return center, scores * deviation


def measure_std(values: Array) -> Measured:
    _, deviation, scores = _standardised(values)
    with np.errstate(over="ignore"):
        return deviation, deviation * (np.square(scores) - _average(np.square(scores))) / 2


def measure_variance(values: Array) -> Measured:
    deviation, influence = measure_std(values)
    with np.errstate(over="ignore"):
        return deviation * deviation, 2 * deviation * influence


def _standardised(values: Array) -> tuple[float, float, Array]:
    """Mean, std (ddof = 1) and (values − mean) / std; two passes; the scores of a constant sample are 0."""
    if len(values) == 0:
        return math.nan, math.nan, values
    # A power of two scales without rounding, and keeps squares of values up to 1.8e308 finite.
    exponent = int(np.frexp(np.max(np.abs(values)))[1])
    scaled = np.ldexp(values, -exponent)
    # The rounded mean of a constant sample may miss the constant; inside the extremes it cannot.
    center = min(max(float(np.mean(scaled)), float(np.min(scaled))), float(np.max(scaled)))
    centered = scaled - center
    if len(values) == 1:
        return _rescaled(center, exponent), math.nan, centered * math.nan
    deviation = math.sqrt(float(np.sum(np.square(centered))) / (len(values) - 1))
    scores = centered / deviation if deviation else np.zeros_like(centered)
    return _rescaled(center, exponent), _rescaled(deviation, exponent), scores


def _population_scores(values: Array) -> Array:
    """(values − mean) / std over n; NaN where that is undefined."""
    _, deviation, scores = _standardised(values)
    n = len(values)
    return scores * math.sqrt(n / (n - 1)) if deviation > 0 else np.full(n, math.nan)


def _rescaled(value: float, exponent: int) -> float:
    with np.errstate(over="ignore"):
        return float(np.ldexp(value, exponent))


def _average(values: Array) -> float:
    return float(np.mean(values)) if len(values) else math.nan


# Order: functions of values in ascending order.


def extreme(ordered: Array, position: Literal[0, -1]) -> Estimate:
    """The minimum (0) or maximum (−1); a sample says nothing of their error."""
    return Estimate(ordered[position] if len(ordered) else math.nan)


def quantile(ordered: Array, q: float) -> Estimate:
    """Linear between order statistics (numpy's default, Hyndman–Fan 7); the interval is that of order statistics, free of distribution.

    The standard error is half the distance between the quantiles one binomial standard deviation to either side.
    """
    bounds = partial(_order_statistics, ordered, q) if len(ordered) > 1 else None
    return Estimate(interpolated(ordered, q), _quantile_error(ordered, q), bounds)


def interpolated(ordered: Array, q: float) -> float:
    """The q-quantile, 0 ≤ q ≤ 1, linear between order statistics; NaN for no value. InputError for another q."""
    if not 0 <= q <= 1:
        hint = f"; percentile({q:g}) takes 0 to 100" if 1 < q <= 100 else ""
        raise InputError(f"quantile takes a share between 0 and 1, got {q!r}{hint}")
    if len(ordered) == 0:
        return math.nan
    below = int(position := q * (len(ordered) - 1))
    above = min(below + 1, len(ordered) - 1)
    low, high, part = float(ordered[below]), float(ordered[above]), position - below
    # From the nearer end, as numpy does: exact at both ends and monotone.
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def measure_quantile(values: Array, q: float) -> Measured:
    ordered = np.sort(values)
    at, error, n = interpolated(ordered, q), _quantile_error(ordered, q), len(values)
    if error is None:
        return at, np.full(n, math.nan)
    sparsity = error / math.sqrt(q * (1 - q) / n)
    return at, np.where(values <= at, (q - 1) * sparsity, q * sparsity)


def _quantile_error(ordered: Array, q: float) -> float | None:
    n = len(ordered)
    step = math.sqrt(q * (1 - q) / n) if n else 0.0
    if step == 0 or q - step < 0 or q + step > 1:
        return None
    return (interpolated(ordered, q + step) - interpolated(ordered, q - step)) / 2


def _order_statistics(ordered: Array, q: float, level: float) -> Interval:
    """X(l) and X(u) with P(B < l) and P(B ≥ u) each at most (1 − level) / 2, B binomial (n, q): David & Nagaraja §7.1."""
    from scipy.special import bdtr

    n = len(ordered)

    def binomial_quantile(probability: float) -> int:
        return bisect_left(range(n), probability, key=lambda count: float(bdtr(count, n, q)))

    lower, upper = binomial_quantile((1 - level) / 2), binomial_quantile((1 + level) / 2) + 1
    return (
        float(ordered[lower - 1]) if lower >= 1 else -math.inf,
        float(ordered[upper - 1]) if upper <= n else math.inf,
    )


def cvar(ordered: Array, level: float, tail: Tail) -> Estimate:
    """Conditional value at risk (expected shortfall): the mean of the worst share 1 − level, at the end that `tail` names.

    The observation on the boundary counts with the fraction of it that the share needs, so the measure is coherent and
    continuous in `level` (Acerbi & Tasche, "On the coherence of expected shortfall", 2002). Level 0 is the mean. The standard
    error is asymptotic, None with fewer than ten observations in the tail. InputError unless 0 ≤ level < 1 and tail is
    "lower" or "upper".
    """
    if tail not in ("lower", "upper"):
        raise InputError(f'cvar needs its tail: "lower" (small values are bad, as in a profit) or "upper" (as in a cost); got {tail!r}')
    if not 0 <= level < 1:
        hint = f"; did you mean {level / 100:g}?" if 1 < level < 100 else ""
        raise InputError(f"the level of cvar is a share from 0 to below 1, got {level!r}{hint}")
    if tail == "upper":
        value, influence = _lower_tail(-ordered[::-1], 1 - level)
        return estimated((-value, influence), _normal)
    return estimated(_lower_tail(ordered, 1 - level), _normal)


def _lower_tail(ordered: Array, share: float) -> Measured:
    n = len(ordered)
    if n == 0:
        return math.nan, ordered
    weight = share * n
    whole = min(int(weight), n)
    boundary = float(ordered[min(whole, n - 1)])
    # Distances from the boundary: exact for a constant tail, and no sum that can overflow.
    value = boundary - float(np.sum((boundary - ordered[:whole]) / weight))
    if weight < SMALLEST_TAIL:
        return value, np.full(n, math.nan)
    shortfall = np.maximum(boundary - ordered, 0) / share
    return value, shortfall - _average(shortfall)


def probability_below(ordered: Array, threshold: float) -> Estimate:
    """P(X ≤ threshold), with Wilson's interval; NaN for no value."""
    return _proportion(int(np.searchsorted(ordered, threshold, side="right")), len(ordered))


def probability_above(ordered: Array, threshold: float) -> Estimate:
    """P(X > threshold), with Wilson's interval; NaN for no value."""
    return _proportion(len(ordered) - int(np.searchsorted(ordered, threshold, side="right")), len(ordered))


def _proportion(count: int, n: int) -> Estimate:
    if n == 0:
        return Estimate(math.nan)
    share = count / n
    return Estimate(share, math.sqrt(share * (1 - share) / n), partial(_wilson, share, n))


def _wilson(share: float, n: int, level: float) -> Interval:
    z = normal_quantile(level)
    center = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    total = 1 + z * z / n
    return max((center - half) / total, 0.0) if share else 0.0, min((center + half) / total, 1.0) if share < 1 else 1.0


# Histogram.


def histogram(ordered: Array, bins: int | Literal["auto"] = "auto") -> tuple[NDArray[np.int64], Array]:
    """Counts, shape (bins,), and edges, shape (bins + 1,), over the whole range of the values.

    "auto" takes the narrower bins of Freedman–Diaconis and Sturges, as numpy does, whole-number bins for whole-number
    values, and at most 1,000. InputError for no value, or fewer than one bin.
    """
    if len(ordered) == 0:
        raise InputError("no histogram: no iteration ended in a number")
    edges = _automatic_edges(ordered) if bins == "auto" else _even_edges(ordered, bins)
    return np.diff(np.searchsorted(ordered, edges[1:-1]), prepend=0, append=len(ordered)), edges


def _even_edges(ordered: Array, bins: int) -> Array:
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 1:
        raise InputError(f'bins is "auto" or a whole number from 1, got {bins!r}')
    low, high = float(ordered[0]), float(ordered[-1])
    if low == high:
        half = max(0.5, abs(low) * 1e-6)
        low, high = low - half, high + half
    share = np.linspace(0, 1, int(bins) + 1)
    return low * (1 - share) + high * share


def _automatic_edges(ordered: Array) -> Array:
    low, high, n = float(ordered[0]), float(ordered[-1]), len(ordered)
    spread = interpolated(ordered, 0.75) - interpolated(ordered, 0.25)
    reach = high - low
    width = min(reach / (math.log2(n) + 1), 2 * spread / n ** (1 / 3) or math.inf)
    if not 0 < width < math.inf:
        return _even_edges(ordered, 1 if reach == 0 else 100)
    if max(-low, high) < 2**50 and np.array_equal(ordered, np.floor(ordered)):
        width = float(max(1, math.ceil(width), math.ceil(reach / MAX_BINS)))
        return np.arange(low - 0.5, high + width, width)
    return _even_edges(ordered, min(math.ceil(reach / width), MAX_BINS))
