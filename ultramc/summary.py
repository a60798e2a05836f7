"""Statistics of samples, each with its uncertainty: pure functions of finite float64 values of shape (n,).

A statistic is measured as its value and its *influence* on it of every observation, shape (n,) with mean 0; the standard
error is then the root mean square of the influence over √n, whatever the statistic (the infinitesimal jackknife: Hampel,
"The influence curve", JASA 1974; Efron, "Nonparametric estimates of standard error", Biometrika 1981). `estimated` is
the one place where an `Estimate` gets its standard error, and `difference` compares paired samples by the same rule.

Iterations that were drawn together (an antithetic pair, a Latin hypercube, a scrambled Sobol sequence) form one *replicate*;
replicates are independent of each other, iterations within one are not. The influences of a replicate are therefore added
up first, and it is the R totals that vary (the "ultimate cluster" of survey sampling: Hansen, Hurwitz & Madow 1953;
Woodruff, "A simple method for approximating the variance of a complicated estimate", JASA 1971). Independent iterations are
replicates of one; a single replicate says nothing of its error.

Nothing is NaN-aware: leave failed iterations out first.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from statistics import NormalDist
from typing import Any, Literal, Protocol

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ultramc.errors import InputError

Array = NDArray[np.float64]
Interval = tuple[float, float]
Starts = NDArray[np.int64]
Tail = Literal["lower", "upper"]

LEVEL = 0.95
MAX_BINS = 1_000
SMALLEST_TAIL = 10  # observations; below this the asymptotic standard error of a CVaR misleads


class Estimate(float):
    """A statistic of samples: a float that knows how uncertain it is.

    `standard_error` is in the unit of the value, None where it is unknown (one replicate, a minimum, an extreme quantile).
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


# What statistics are functions of.


class Ordered(Protocol):
    """Values in ascending order, of which one by one are looked at: an array, or what stands for one."""

    def __len__(self) -> int: ...

    def __getitem__(self, rank: int, /) -> Any: ...


class Sample(Protocol):
    """Observations of one quantity, and which of them belong together."""

    @property
    def values(self) -> Array:
        """Shape (n,), in the order of iterations."""

    @property
    def ordered(self) -> Array:
        """The values in ascending order."""

    @property
    def starts(self) -> Starts | None:
        """Index in `values` of the first of each replicate, ascending; None where every value is independent of the others."""


def replicate_starts(iterations: NDArray[np.int64], together: int) -> Starts | None:
    """`Sample.starts` of observations in these iterations, ascending, where `together` consecutive ones form a replicate.

    One that lost iterations, or was not finished, is a replicate with fewer.
    """
    if together == 1:
        return None
    return np.flatnonzero(np.diff(iterations // together, prepend=-1))


@frozen(eq=False)
class Measured:
    """A statistic and the influence on it of every observation, shape (n,), with `Sample.starts`."""

    value: float
    influence: Array
    starts: Starts | None = None

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the standard error: few replicates need Student's t; independent iterations are taken as many."""
        return math.inf if self.starts is None else len(self.starts) - 1

    @property
    def standard_error(self) -> float | None:
        """√(R / (R − 1) · Σ totals²) / n of the totals of the R replicates; None where that is no number."""
        totals = self.influence if self.starts is None else np.add.reduceat(self.influence, self.starts)
        n, replicates = len(self.influence), len(totals)
        largest = float(np.max(np.abs(totals), initial=0.0))
        if replicates < 2 or not math.isfinite(largest):
            return None
        if largest == 0:
            return 0.0
        return largest * math.sqrt(float(np.sum(np.square(totals / largest))) / (n * n * (replicates - 1) / replicates))


# How a measured statistic becomes an estimate.

Bounds = Callable[[float, float, float], Interval]  # of the value, its standard error, and how many of these to either side


def estimated(measured: Measured, bounds: Bounds | None = None, degrees: float | None = None) -> Estimate:
    """The value with the standard error that its influence implies; `degrees` of freedom where they are known better."""
    error = measured.standard_error
    if error is None:
        return Estimate(measured.value)
    return bounded(measured.value, error, measured.degrees if degrees is None else degrees, bounds or _symmetric)


def difference(first: Measured, second: Measured, *, paired: bool) -> Estimate:
    """Second minus first. Paired samples (the same draws, influences of one length) share their noise, and most of it cancels."""
    change = second.value - first.value
    if paired:
        return estimated(Measured(change, second.influence - first.influence, first.starts))
    one, other = first.standard_error, second.standard_error
    if one is None or other is None:
        return Estimate(change)
    error = math.hypot(one, other)
    return bounded(change, error, _joint_degrees((one / error, first.degrees), (other / error, second.degrees)) if error else math.inf)


def _joint_degrees(*parts: tuple[float, float]) -> float:
    """Of a sum, from the share of each part in its standard error and the degrees of it: Welch, Biometrika 1947."""
    inverse = sum(share**4 / degrees for share, degrees in parts)
    return 1 / inverse if inverse else math.inf


def bounded(value: float, error: float, degrees: float, bounds: Bounds | None = None) -> Estimate:
    return Estimate(value, error, partial(_interval, bounds or _symmetric, value, error, degrees))


def _interval(bounds: Bounds, value: float, error: float, degrees: float, level: float) -> Interval:
    return bounds(value, error, critical_value(degrees, level))


def critical_value(degrees: float, level: float) -> float:
    """How many standard errors to either side a two-sided interval reaches, by Student's t: 0.95 → 1.96 with infinite degrees."""
    if math.isinf(degrees):
        return normal_quantile(level)
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))


def normal_quantile(level: float) -> float:
    """The z of a two-sided interval: 0.95 → 1.96."""
    return NormalDist().inv_cdf((1 + level) / 2)


def _symmetric(value: float, error: float, reach: float) -> Interval:
    return value - reach * error, value + reach * error


def logarithmic(value: float, error: float, reach: float) -> Interval:
    """Symmetric on the logarithm: for what cannot be negative."""
    if value == 0:
        return 0.0, 0.0
    factor = math.exp(min(reach * error / value, 700.0))
    return value / factor, value * factor


# Moments.


def mean(sample: Sample) -> Estimate:
    """Student's interval. NaN for no value."""
    measured = measure_mean(sample)
    return estimated(measured, degrees=min(measured.degrees, len(measured.influence) - 1))


def std(sample: Sample) -> Estimate:
    """With n − 1 (ddof = 1); standard error by the fourth moment. NaN for fewer than two values."""
    return estimated(measure_std(sample), logarithmic)


def variance(sample: Sample) -> Estimate:
    """With n − 1 (ddof = 1); standard error by the fourth moment. NaN for fewer than two values."""
    return estimated(measure_variance(sample), logarithmic)


def skewness(sample: Sample) -> Estimate:
    """m3 / m2^1.5 with moments over n, as `scipy.stats.skew`. NaN for a constant sample."""
    z = _population_scores(sample.values)
    third = _average(z * z * z)
    return estimated(Measured(third, z * z * z - third - 3 * z - 1.5 * third * (z * z - 1), sample.starts))


def kurtosis(sample: Sample) -> Estimate:
    """Excess: m4 / m2² − 3 with moments over n, as `scipy.stats.kurtosis`. NaN for a constant sample."""
    z = _population_scores(sample.values)
    square = z * z
    third, fourth = _average(square * z), _average(square * square)
    return estimated(Measured(fourth - 3, square * square - fourth - 4 * third * z - 2 * fourth * (square - 1), sample.starts))


def measure_mean(sample: Sample) -> Measured:
    center, deviation, scores = _standardised(sample.values)
    with np.errstate(over="ignore"):
        return Measured(center, scores * deviation, sample.starts)


def measure_std(sample: Sample) -> Measured:
    _, deviation, scores = _standardised(sample.values)
    with np.errstate(over="ignore"):
        return Measured(deviation, deviation * (np.square(scores) - _average(np.square(scores))) / 2, sample.starts)


def measure_variance(sample: Sample) -> Measured:
    measured = measure_std(sample)
    with np.errstate(over="ignore"):
        return Measured(measured.value * measured.value, 2 * measured.value * measured.influence, measured.starts)


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
        return rescaled(center, exponent), math.nan, centered * math.nan
    deviation = math.sqrt(float(np.sum(np.square(centered))) / (len(values) - 1))
    scores = centered / deviation if deviation else np.zeros_like(centered)
    return rescaled(center, exponent), rescaled(deviation, exponent), scores


def _population_scores(values: Array) -> Array:
    """(values − mean) / std over n; NaN where that is undefined."""
    _, deviation, scores = _standardised(values)
    n = len(values)
    return scores * math.sqrt(n / (n - 1)) if deviation > 0 else np.full(n, math.nan)


def rescaled(value: float, exponent: int) -> float:
    with np.errstate(over="ignore"):
        return float(np.ldexp(value, exponent))


def _average(values: Array) -> float:
    return float(np.mean(values)) if len(values) else math.nan


# Order.


def extreme(sample: Sample, position: Literal[0, -1]) -> Estimate:
    """The minimum (0) or maximum (−1); a sample says nothing of their error."""
    return Estimate(sample.ordered[position] if len(sample.ordered) else math.nan)


def quantile(sample: Sample, q: float) -> Estimate:
    """Linear between order statistics (numpy's default, Hyndman–Fan 7); the interval is that of order statistics, free of distribution.

    The standard error is half the distance between the quantiles one binomial standard deviation to either side. Of
    replicates: the error of the share below, and its interval, carried over to the values (Woodruff, "Confidence intervals for
    medians and other position measures", JASA 1952).
    """
    ordered = sample.ordered
    value = interpolated(ordered, q)
    if sample.starts is not None:
        return _replicated_quantile(sample, q, value)
    bounds = partial(order_statistics, ordered, q) if len(ordered) > 1 else None
    return Estimate(value, quantile_error(ordered, q), bounds)


def interpolated(ordered: Ordered, q: float) -> float:
    """The q-quantile, 0 ≤ q ≤ 1, linear between order statistics; NaN for no value. InputError for another q."""
    if not 0 <= q <= 1:
        hint = f"; percentile({q:g}) takes 0 to 100" if 1 < q <= 100 else ""
        raise InputError(f"quantile takes a share between 0 and 1, got {q!r}{hint}")
    return _at(ordered, q * (len(ordered) - 1)) if len(ordered) else math.nan


def _at(ordered: Ordered, position: float) -> float:
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    low, high, part = float(ordered[below]), float(ordered[above]), position - below
    # From the nearer end, as numpy does: exact at both ends and monotone.
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def measure_quantile(sample: Sample, q: float) -> Measured:
    value, slope = interpolated(sample.ordered, q), sparsity(sample.ordered, q)
    share = _measure_share(sample.values <= value, sample.starts)
    return Measured(value, -slope * share.influence, sample.starts)


def sparsity(ordered: Ordered, q: float) -> float:
    """How fast the quantile rises with q (1 / density); NaN where the sample does not reach far enough to tell."""
    error = quantile_error(ordered, q)
    return math.nan if error is None else error / math.sqrt(q * (1 - q) / len(ordered))


def quantile_error(ordered: Ordered, q: float) -> float | None:
    n = len(ordered)
    step = math.sqrt(q * (1 - q) / n) if n else 0.0
    if step == 0 or q - step < 0 or q + step > 1:
        return None
    return (interpolated(ordered, q + step) - interpolated(ordered, q - step)) / 2


def order_statistics(ordered: Ordered, q: float, level: float) -> Interval:
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


def _replicated_quantile(sample: Sample, q: float, value: float) -> Estimate:
    values, starts = sample.values, sample.starts
    # They differ where many iterations have the very value of the quantile.
    shares = [_measure_share(counted, starts) for counted in (values < value, values <= value)]
    errors = [error for share in shares if (error := share.standard_error) is not None]
    if not errors:
        return Estimate(value)
    slope = sparsity(sample.ordered, q)
    error = None if math.isnan(slope) else slope * max(errors)
    return Estimate(value, error, partial(woodruff, sample.ordered, q, max(errors), shares[0].degrees))


def woodruff(ordered: Ordered, q: float, error: float, degrees: float, level: float) -> Interval:
    """The quantiles at both ends of the interval of the share below; at least one order statistic to either side."""
    last = len(ordered) - 1
    place, reach = q * last, _reach_of_share(error, degrees, len(ordered), level) * last
    low, high = min(place - reach, math.ceil(place) - 1), max(place + reach, math.floor(place) + 1)
    return _at(ordered, low) if low >= 0 else -math.inf, _at(ordered, high) if high <= last else math.inf


def cvar(sample: Sample, level: float, tail: Tail) -> Estimate:
    """Conditional value at risk (expected shortfall): the mean of the worst share 1 − level, at the end that `tail` names.

    The observation on the boundary counts with the fraction of it that the share needs, so the measure is coherent and
    continuous in `level` (Acerbi & Tasche, "On the coherence of expected shortfall", 2002). Level 0 is the mean. The standard
    error is asymptotic, None with fewer than ten observations in the tail. InputError unless 0 ≤ level < 1 and tail is
    "lower" or "upper".
    """
    check_tail(level, tail)
    if tail == "upper":
        value, influence = _lower_tail(-sample.ordered[::-1], -sample.values, 1 - level)
        return estimated(Measured(-value, -influence, sample.starts))
    return estimated(Measured(*_lower_tail(sample.ordered, sample.values, 1 - level), sample.starts))


def check_tail(level: float, tail: Tail) -> None:
    """InputError unless 0 ≤ level < 1 and the tail is one of the two."""
    if tail not in ("lower", "upper"):
        raise InputError(f'cvar needs its tail: "lower" (small values are bad, as in a profit) or "upper" (as in a cost); got {tail!r}')
    if not 0 <= level < 1:
        hint = f"; did you mean {level / 100:g}?" if 1 < level < 100 else ""
        raise InputError(f"the level of cvar is a share from 0 to below 1, got {level!r}{hint}")


def _lower_tail(ordered: Array, values: Array, share: float) -> tuple[float, Array]:
    """The mean of the smallest `share`, and the influence on it of each of `values`."""
    n = len(ordered)
    if n == 0:
        return math.nan, values
    weight = share * n
    whole = min(int(weight), n)
    boundary = float(ordered[min(whole, n - 1)])
    # Distances from the boundary: exact for a constant tail, and no sum that can overflow.
    value = boundary - float(np.sum((boundary - ordered[:whole]) / weight))
    if weight < SMALLEST_TAIL:
        return value, np.full(n, math.nan)
    shortfall = np.maximum(boundary - values, 0) / share
    return value, _average(shortfall) - shortfall


# Shares.


def probability_below(sample: Sample, threshold: float) -> Estimate:
    """P(X ≤ threshold), with Wilson's interval, or Student's of replicates; NaN for no value."""
    if sample.starts is not None:
        return _replicated_share(sample.values <= threshold, sample.starts)
    return _share(int(np.searchsorted(sample.ordered, threshold, side="right")), len(sample.ordered))


def probability_above(sample: Sample, threshold: float) -> Estimate:
    """P(X > threshold), with Wilson's interval, or Student's of replicates; NaN for no value."""
    if sample.starts is not None:
        return _replicated_share(sample.values > threshold, sample.starts)
    n = len(sample.ordered)
    return _share(n - int(np.searchsorted(sample.ordered, threshold, side="right")), n)


def _share(count: int, n: int) -> Estimate:
    if n == 0:
        return Estimate(math.nan)
    share = count / n
    return bounded(share, math.sqrt(share * (1 - share) / n), math.inf, partial(wilson, n))


def _replicated_share(counted: NDArray[np.bool_], starts: Starts) -> Estimate:
    measured = _measure_share(counted, starts)
    error = measured.standard_error
    if error is None:
        return Estimate(measured.value)
    return Estimate(measured.value, error, partial(student_share, measured.value, error, measured.degrees, len(counted)))


def student_share(share: float, error: float, degrees: float, n: int, level: float) -> Interval:
    reach = _reach_of_share(error, degrees, n, level)
    return max(share - reach, 0.0), min(share + reach, 1.0)


def _reach_of_share(error: float, degrees: float, n: int, level: float) -> float:
    """Half the interval of a share. Replicates that agree by chance show no error, although −ln(1 − level) of n may be missed.

    That is the rule of three (Hanley & Lippman-Hand, JAMA 1983); twice as many where antithetic iterations repeat each other.
    """
    return max(critical_value(degrees, level) * error, -2 * math.log1p(-level) / n)


def _measure_share(counted: NDArray[np.bool_], starts: Starts | None) -> Measured:
    share = float(np.mean(counted)) if len(counted) else math.nan
    return Measured(share, counted.astype(np.float64) - share, starts)


def wilson(n: int, share: float, _: float, z: float) -> Interval:
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
        raise no_histogram()
    edges = edges_of(ordered, bins, _is_whole(ordered))
    return np.diff(np.searchsorted(ordered, edges[1:-1]), prepend=0, append=len(ordered)), edges


def no_histogram() -> InputError:
    return InputError("no histogram: no iteration ended in a number")


def edges_of(ordered: Ordered, bins: int | Literal["auto"], is_whole: bool) -> Array:
    """The edges of `histogram`; `is_whole`: whether all values are whole numbers."""
    return _automatic_edges(ordered, is_whole) if bins == "auto" else even_edges(ordered, bins)


def _is_whole(ordered: Array) -> bool:
    return np.array_equal(ordered, np.floor(ordered))


def even_edges(ordered: Ordered, bins: int) -> Array:
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 1:
        raise InputError(f'bins is "auto" or a whole number from 1, got {bins!r}')
    low, high = float(ordered[0]), float(ordered[-1])
    if low == high:
        half = max(0.5, abs(low) * 1e-6)
        low, high = low - half, high + half
    share = np.linspace(0, 1, int(bins) + 1)
    return low * (1 - share) + high * share


def _automatic_edges(ordered: Ordered, is_whole: bool) -> Array:
    low, high, n = float(ordered[0]), float(ordered[-1]), len(ordered)
    spread = interpolated(ordered, 0.75) - interpolated(ordered, 0.25)
    reach = high - low
    width = min(reach / (math.log2(n) + 1), 2 * spread / n ** (1 / 3) or math.inf)
    if not 0 < width < math.inf:
        return even_edges(ordered, 1 if reach == 0 else 100)
    if max(-low, high) < 2**50 and is_whole:
        width = float(max(1, math.ceil(width), math.ceil(reach / MAX_BINS)))
        return np.arange(low - 0.5, high + width, width)
    return even_edges(ordered, min(math.ceil(reach / width), MAX_BINS))


# All of them, through one interface.


class Statistics(Protocol):
    """Of one cell, whatever is left of its samples. What each of them is, the function of its name says."""

    @property
    def count(self) -> int:
        """Of valid iterations."""

    @property
    def ordered(self) -> Ordered: ...

    def mean(self) -> Estimate: ...

    def std(self) -> Estimate: ...

    def variance(self) -> Estimate: ...

    def skewness(self) -> Estimate: ...

    def kurtosis(self) -> Estimate: ...

    def extreme(self, position: Literal[0, -1]) -> Estimate: ...

    def quantile(self, q: float) -> Estimate: ...

    def cvar(self, level: float, tail: Tail) -> Estimate: ...

    def probability_below(self, threshold: float) -> Estimate: ...

    def probability_above(self, threshold: float) -> Estimate: ...

    def histogram(self, bins: int | Literal["auto"]) -> tuple[NDArray[np.int64], Array]: ...

    def shape(self, bins: int) -> tuple[int, ...]:
        """A small histogram without the outer 0.5 % on either side, which would flatten the rest."""


@frozen(eq=False)
class Observed:
    """The statistics of samples that were kept."""

    sample: Sample

    @property
    def count(self) -> int:
        return len(self.ordered)

    @property
    def ordered(self) -> Array:
        return self.sample.ordered

    def mean(self) -> Estimate:
        return mean(self.sample)

    def std(self) -> Estimate:
        return std(self.sample)

    def variance(self) -> Estimate:
        return variance(self.sample)

    def skewness(self) -> Estimate:
        return skewness(self.sample)

    def kurtosis(self) -> Estimate:
        return kurtosis(self.sample)

    def extreme(self, position: Literal[0, -1]) -> Estimate:
        return extreme(self.sample, position)

    def quantile(self, q: float) -> Estimate:
        return quantile(self.sample, q)

    def cvar(self, level: float, tail: Tail) -> Estimate:
        return cvar(self.sample, level, tail)

    def probability_below(self, threshold: float) -> Estimate:
        return probability_below(self.sample, threshold)

    def probability_above(self, threshold: float) -> Estimate:
        return probability_above(self.sample, threshold)

    def histogram(self, bins: int | Literal["auto"]) -> tuple[NDArray[np.int64], Array]:
        return histogram(self.ordered, bins)

    def shape(self, bins: int) -> tuple[int, ...]:
        cut = len(self.ordered) // 200
        return tuple(histogram(self.ordered[cut : len(self.ordered) - cut], bins)[0].tolist())
