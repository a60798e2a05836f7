import copy
import json
import math
import pickle

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from ultramc import summary
from ultramc.errors import InputError
from ultramc.summary import Estimate

finite = st.floats(-1e9, 1e9).map(lambda value: round(value, 6))
samples = st.lists(finite, min_size=1, max_size=60).map(lambda values: np.array(values, np.float64))
REPLICATES = 400


def draws(size=5_000, seed=1):
    return np.random.default_rng(seed).lognormal(1, 0.6, size)


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        (summary.mean, np.mean),
        (summary.std, lambda x: np.std(x, ddof=1)),
        (summary.variance, lambda x: np.var(x, ddof=1)),
        (summary.skewness, scipy.stats.skew),
        (summary.kurtosis, scipy.stats.kurtosis),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e-160, 1e150])
def test_moments_equal_scipy(statistic, expected, scale):
    x = draws()
    factor = {summary.variance: scale**2, summary.skewness: 1, summary.kurtosis: 1}.get(statistic, scale)
    assert statistic(x * scale) == pytest.approx(expected(x) * factor, rel=1e-12, abs=0)


def test_standard_error_of_the_mean_is_the_usual_one():
    x = draws()
    assert summary.mean(x).standard_error == pytest.approx(scipy.stats.sem(x), rel=1e-12)
    assert summary.mean(x).confidence_interval == pytest.approx(scipy.stats.t.interval(0.95, len(x) - 1, x.mean(), scipy.stats.sem(x)))


@pytest.mark.parametrize(
    ("statistic", "rtol"),
    [(summary.std, 0.02), (summary.variance, 0.02), (summary.skewness, 0.02), (summary.kurtosis, 0.02)],
)
def test_standard_errors_equal_the_jackknife(statistic, rtol):
    x = np.random.default_rng(2).gamma(4, 2, 3_000)
    left_one_out = np.array([statistic(np.delete(x, index)) for index in range(len(x))])
    jackknife = math.sqrt((len(x) - 1) * np.var(left_one_out))
    assert statistic(x).standard_error == pytest.approx(jackknife, rel=rtol)


# Each interval covers with probability 0.95. Over 400 replicates the share has a standard deviation of 0.011; beyond four of
# them (0.906 … 0.994) a correct interval falls once in 16,000 seeds, and the seed is fixed. Conservative ones may cover more.
@pytest.mark.parametrize(
    ("estimate", "truth"),
    [
        (summary.mean, 3.0),
        (summary.std, 2.0),
        (summary.variance, 4.0),
        (lambda x: summary.quantile(np.sort(x), 0.9), scipy.stats.norm(3, 2).ppf(0.9)),
        (lambda x: summary.quantile(np.sort(x), 0.01), scipy.stats.norm(3, 2).ppf(0.01)),
        (lambda x: summary.probability_below(np.sort(x), 0.0), scipy.stats.norm(3, 2).cdf(0)),
        (lambda x: summary.probability_above(np.sort(x), 3.0), 0.5),
        (lambda x: summary.cvar(np.sort(x), 0.8, "upper"), 3 + 2 * scipy.stats.norm.pdf(scipy.stats.norm.ppf(0.8)) / 0.2),
        (lambda x: summary.cvar(np.sort(x), 0.8, "lower"), 3 - 2 * scipy.stats.norm.pdf(scipy.stats.norm.ppf(0.8)) / 0.2),
        (summary.skewness, 0.0),
    ],
)
def test_intervals_cover(estimate, truth):
    generator = np.random.default_rng(20)
    intervals = [estimate(generator.normal(3, 2, 500)).confidence_interval for _ in range(REPLICATES)]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert 0.906 <= covered <= 0.994


def test_standard_error_of_a_quantile_is_the_asymptotic_one():
    x, q, normal = np.sort(np.random.default_rng(3).normal(size=200_000)), 0.9, scipy.stats.norm
    expected = math.sqrt(q * (1 - q) / len(x)) / normal.pdf(normal.ppf(q))
    assert summary.quantile(x, q).standard_error == pytest.approx(expected, rel=0.1)


def test_order_statistic_interval_has_its_level_exactly():
    n, q, level = 57, 0.3, 0.9
    low, high = summary.quantile(np.arange(1.0, n + 1), q).interval(level)
    binomial = scipy.stats.binom(n, q)
    assert binomial.cdf(low - 1) <= 0.05 < binomial.cdf(low)
    assert binomial.sf(high - 1) <= 0.05 < binomial.sf(high - 2)


def test_extreme_quantile_has_an_open_end():
    assert summary.quantile(np.arange(20.0), 0.99).confidence_interval[1] == math.inf
    assert summary.quantile(np.arange(20.0), 0.99).standard_error is None


@given(samples, st.floats(0, 1))
def test_quantile_equals_numpy(x, q):
    assert summary.quantile(np.sort(x), q) == pytest.approx(np.quantile(x, q), rel=1e-12, abs=1e-9)


@given(samples, st.floats(0, 0.999), st.sampled_from(["lower", "upper"]))
def test_cvar_equals_its_definition(x, level, tail):
    """Acerbi and Tasche: every observation weighs 1/n, the worst first, until the share is full."""
    worst_first = np.sort(x) if tail == "lower" else np.sort(x)[::-1]
    left, total = 1 - level, 0.0
    for value in worst_first:
        weight = min(1 / len(x), left)
        total, left = total + weight * value, left - weight
    assert summary.cvar(np.sort(x), level, tail) == pytest.approx(total / (1 - level), rel=1e-9, abs=1e-5)


def test_cvar_by_hand():
    x = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    assert summary.cvar(x, 0.75, "lower") == pytest.approx((1 + 2 + 0.5 * 3) / 2.5)
    assert summary.cvar(x, 0.75, "upper") == pytest.approx((10 + 9 + 0.5 * 8) / 2.5)
    assert summary.cvar(x, 0, "lower") == pytest.approx(5.5)
    assert summary.cvar(x, 0.99, "upper") == 10


def test_wilson_interval_equals_scipy():
    result = scipy.stats.binomtest(7, 50).proportion_ci(method="wilson")
    assert summary.probability_below(np.arange(50.0), 6).confidence_interval == pytest.approx((result.low, result.high))
    assert summary.probability_below(np.arange(50.0), -1).confidence_interval[0] == 0
    assert summary.probability_below(np.arange(50.0), 100).confidence_interval[1] == 1


def test_probability_counts_equality_below():
    assert summary.probability_below(np.array([0.0, 0, 1]), 0) == pytest.approx(2 / 3)
    assert summary.probability_above(np.array([0.0, 0, 1]), 0) == pytest.approx(1 / 3)


@pytest.mark.parametrize("value", [0.1, 0.0, -1e300, 7e-310])
def test_a_constant_is_exact(value):
    x = np.full(100_001, value)
    assert (summary.mean(x), summary.std(x), summary.variance(x)) == (value, 0, 0)
    assert summary.mean(x).confidence_interval == (value, value)
    assert summary.std(x).confidence_interval == (0, 0)
    assert summary.quantile(x, 0.37) == summary.cvar(x, 0.95, "lower") == value
    assert math.isnan(summary.skewness(x)) and summary.skewness(x).standard_error is None


def test_one_value_has_a_mean_and_no_uncertainty():
    x = np.array([4.0])
    assert (summary.mean(x), summary.mean(x).standard_error, summary.mean(x).confidence_interval) == (4, None, None)
    assert math.isnan(summary.std(x)) and summary.std(x).confidence_interval is None
    assert summary.quantile(x, 0.2) == 4 and summary.quantile(x, 0.2).confidence_interval is None


def test_no_value_is_nan_without_uncertainty():
    x = np.array([])
    statistics = [summary.mean, summary.std, summary.variance, summary.skewness, summary.kurtosis]
    found = [*(s(x) for s in statistics), summary.quantile(x, 0.5), summary.cvar(x, 0.9, "lower"), summary.probability_below(x, 0)]
    assert all(math.isnan(estimate) and estimate.confidence_interval is None for estimate in [*found, summary.extreme(x, 0)])


def test_extreme_magnitudes_neither_overflow_nor_vanish():
    x = np.array([1e308, 1.5e308, 1.7e308])
    assert summary.mean(x) == pytest.approx(1.4e308)
    assert summary.std(x) == pytest.approx(np.std(x / 1e308, ddof=1) * 1e308)
    assert summary.variance(x) == math.inf and summary.variance(x).standard_error is None


@pytest.mark.parametrize("q", [-0.1, 1.1, 95, math.nan])
def test_quantile_refuses(q):
    with pytest.raises(InputError, match="between 0 and 1"):
        summary.quantile(np.arange(3.0), q)


def test_cvar_refuses():
    with pytest.raises(InputError, match=r"did you mean 0\.95"):
        summary.cvar(np.arange(3.0), 95, "lower")
    with pytest.raises(InputError, match='"lower"'):
        summary.cvar(np.arange(3.0), 0.95, "left")


def test_paired_difference_knows_that_noise_cancels():
    x = draws(10_000)
    shifted = x + 1 + np.random.default_rng(5).normal(0, 0.01, len(x))
    paired = summary.difference(summary.measure_mean(x), summary.measure_mean(shifted), paired=True)
    assert paired.standard_error == pytest.approx(scipy.stats.sem(shifted - x), rel=1e-9)
    independent = summary.difference(summary.measure_mean(x), summary.measure_mean(shifted), paired=False)
    assert independent.standard_error == pytest.approx(math.hypot(scipy.stats.sem(x), scipy.stats.sem(shifted)), rel=1e-9)
    assert paired == independent == pytest.approx(1, abs=0.001)


# Histograms.


@given(samples, st.integers(1, 50))
def test_every_value_is_in_a_bin(x, bins):
    counts, edges = summary.histogram(np.sort(x), bins)
    assert counts.sum() == len(x) and len(edges) == bins + 1 and np.all(np.diff(edges) > 0)
    assert edges[0] <= x.min() and x.max() <= edges[-1]


@pytest.mark.parametrize("bins", ["auto", 17])
def test_bins_equal_numpy(bins):
    x = draws()
    counts, edges = summary.histogram(np.sort(x), bins)
    expected_counts, expected_edges = np.histogram(x, bins)
    assert np.array_equal(counts, expected_counts) and np.allclose(edges, expected_edges, rtol=1e-12)


def test_whole_numbers_get_bins_of_their_own():
    counts, edges = summary.histogram(np.sort(np.random.default_rng(1).poisson(6, 10_000).astype(float)))
    assert np.array_equal(np.unique(np.diff(edges)), [1]) and edges[0] == -0.5 and counts.min() >= 0


@given(samples)
def test_automatic_bins_hold_all_values(x):
    counts, edges = summary.histogram(np.sort(x))
    assert counts.sum() == len(x) and len(counts) <= summary.MAX_BINS
    assert edges[0] <= x.min() and x.max() <= edges[-1]


def test_a_wild_tail_does_not_ask_for_a_billion_bins():
    x = np.append(np.random.default_rng(1).normal(size=1_000), 1e12)
    assert len(summary.histogram(np.sort(x))[0]) == summary.MAX_BINS


@pytest.mark.parametrize("bins", [0, -1, 2.5, True, "many"])
def test_histogram_refuses(bins):
    with pytest.raises(InputError, match="whole number"):
        summary.histogram(np.arange(3.0), bins)


def test_histogram_of_nothing_says_so():
    with pytest.raises(InputError, match="no iteration"):
        summary.histogram(np.array([]))


# Estimate, the float.


def test_estimate_is_a_float_that_prints_plainly():
    estimate = Estimate(1.5, 0.25)
    assert (estimate + 1, f"{estimate:.2f}", f"{estimate}", json.dumps(estimate)) == (2.5, "1.50", "1.5", "1.5")
    assert repr(estimate) == "1.5 ± 0.25" and repr(Estimate(1.5)) == "1.5"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda estimate: pickle.loads(pickle.dumps(estimate))])
def test_estimate_survives_copying(duplicate):
    estimate = summary.quantile(np.arange(100.0), 0.5)
    assert duplicate(estimate) == estimate
    assert duplicate(estimate).confidence_interval == estimate.confidence_interval


def test_a_wider_level_is_a_wider_interval():
    estimate = summary.mean(draws())
    assert estimate.interval(0.99)[0] < estimate.confidence_interval[0] < estimate.interval(0.5)[0] < estimate
    with pytest.raises(InputError, match=r"such as 0\.95"):
        estimate.interval(95)
