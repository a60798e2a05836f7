"""The oracles are SciPy's distributions, `statistics.NormalDist` and exact fractions."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import ultramc.distributions as laws
from ultramc.distributions import (
    DISTRIBUTIONS,
    PERT,
    Bernoulli,
    Beta,
    Binomial,
    ChiSquared,
    Cumulative,
    Discrete,
    DiscreteUniform,
    Empirical,
    Erlang,
    Exponential,
    Gamma,
    General,
    Geometric,
    Gumbel,
    Histogram,
    Hypergeometric,
    IntUniform,
    Logistic,
    LogLogistic,
    LogNormal,
    ModPERT,
    NegativeBinomial,
    Normal,
    Pareto,
    Poisson,
    Rayleigh,
    Scaled,
    StudentT,
    TimesBase,
    Triangular,
    Uniform,
    Weibull,
    parse_distribution,
)
from ultramc.distributions.discrete import Counted
from ultramc.distributions.probability import Drawn
from ultramc.errors import InputError
from ultramc.sampling import Site, uniforms
from ultramc.terms import Term
from ultramc.values import ExcelError


def lognormal(mean, std):
    """scipy.stats.lognorm by the arithmetic moments, solved the long way round: mu from the median mean² / sqrt(mean² + std²)."""
    sigma = math.sqrt(math.log((mean**2 + std**2) / mean**2))
    return scipy.stats.lognorm(sigma, scale=mean**2 / math.sqrt(mean**2 + std**2))


def triangular(minimum, mode, maximum):
    width = maximum - minimum
    return scipy.stats.triang((mode - minimum) / width, minimum, width)


def discrete(values, probabilities):
    return scipy.stats.rv_discrete(values=(values, probabilities))


def histogram(masses, edges):
    return scipy.stats.rv_histogram((np.array(masses), np.array(edges)), density=False)()


CONTINUOUS = [
    (Normal(100, 10), scipy.stats.norm(100, 10)),
    (Normal(-3, 0.001), scipy.stats.norm(-3, 0.001)),
    (Normal(0, 1), scipy.stats.norm(0, 1)),
    (LogNormal(100, 10), lognormal(100, 10)),
    (LogNormal(0.5, 2), lognormal(0.5, 2)),
    (Triangular(90, 100, 130), triangular(90, 100, 130)),
    (Triangular(0, 0, 1), triangular(0, 0, 1)),
    (Triangular(0, 1, 1), triangular(0, 1, 1)),
    (Triangular(-5, -1, 0), triangular(-5, -1, 0)),
    (Uniform(-2, 7), scipy.stats.uniform(-2, 9)),
    (Uniform(0, 1), scipy.stats.uniform(0, 1)),
    (Exponential(4), scipy.stats.expon(scale=4)),
    (Weibull(0.8, 3), scipy.stats.weibull_min(0.8, scale=3)),
    (Weibull(1, 3), scipy.stats.weibull_min(1, scale=3)),
    (Weibull(3.5, 0.01), scipy.stats.weibull_min(3.5, scale=0.01)),
    (Scaled(Triangular(0.9, 1, 1.3), 200), triangular(180, 200, 260)),
    (Scaled(Triangular(0.9, 1, 1.3), -200), triangular(-260, -200, -180)),
    (Scaled(Normal(1, 0.1), -50), scipy.stats.norm(-50, 5)),
    (PERT(90, 100, 130), scipy.stats.beta(2, 4, 90, 40)),
    (PERT(0, 0, 1), scipy.stats.beta(1, 5)),
    (ModPERT(-3, 1, 5, 6), scipy.stats.beta(4, 4, -3, 8)),
    (Beta(2, 3), scipy.stats.beta(2, 3)),
    (Beta(0.5, 40), scipy.stats.beta(0.5, 40)),
    (Beta(3, 1.5, -2, 7), scipy.stats.beta(3, 1.5, -2, 9)),
    (Gamma(2.5, 4), scipy.stats.gamma(2.5, scale=4)),
    (Gamma(0.3, 1), scipy.stats.gamma(0.3)),
    (Gamma(400, 0.01), scipy.stats.gamma(400, scale=0.01)),
    (Erlang(3, 2), scipy.stats.erlang(3, scale=2)),
    (ChiSquared(5), scipy.stats.chi2(5)),
    (Rayleigh(3), scipy.stats.rayleigh(scale=3)),
    (Logistic(100, 3), scipy.stats.logistic(100, 3)),
    (LogLogistic(0, 2, 5), scipy.stats.fisk(5, 0, 2)),
    (LogLogistic(-7, 2, 9.5), scipy.stats.fisk(9.5, -7, 2)),
    (Pareto(2, 5.5), scipy.stats.pareto(5.5, scale=2)),
    (Gumbel(100, 3), scipy.stats.gumbel_r(100, 3)),
    (StudentT(5), scipy.stats.t(5)),
    (StudentT(4.5).scaled(-3), scipy.stats.t(4.5, scale=3)),
    (StudentT(1000), scipy.stats.t(1000)),
    (Cumulative(0, 10, [2, 6], [0.25, 0.5]), histogram([0.25, 0.25, 0.5], [0, 2, 6, 10])),
    (Histogram(-1, 5, [1, 0, 4]), histogram([0.2, 0, 0.8], [-1, 1, 3, 5])),
    (Empirical([7, 1, 4, 5]), histogram([1, 1, 1], [1, 4, 5, 7])),
    (General(90, 130, [100], [7]), triangular(90, 100, 130)),
    (General(0, 3, [1, 2], [2, 2]), scipy.stats.trapezoid(1 / 3, 2 / 3, 0, 3)),
    (General(0, 2, [0, 2], [1, 1]), scipy.stats.uniform(0, 2)),
]
DISCRETE = [
    (Discrete([1, 2, 5], [0.2, 0.3, 0.5]), discrete([1, 2, 5], [0.2, 0.3, 0.5])),
    (Discrete([5, 1, 2, 1], [0.5, 0.1, 0.3, 0.1]), discrete([1, 2, 5], [0.2, 0.3, 0.5])),
    (Discrete([-3, 10, 4, 0], weights=[1, 2, 0, 5]), discrete([-3, 0, 10], [0.125, 0.625, 0.25])),
    (Bernoulli(0.3), scipy.stats.bernoulli(0.3)),
    (Bernoulli(0.999), scipy.stats.bernoulli(0.999)),
    (Bernoulli(0.25).scaled(-2), discrete([-2, 0], [0.25, 0.75])),
    (Discrete([1, 2], [0.25, 0.75]).scaled(10), discrete([10, 20], [0.25, 0.75])),
    (DiscreteUniform([7, 1, 4, 1]), discrete([1, 4, 7], [0.5, 0.25, 0.25])),
    (IntUniform(-2, 5), scipy.stats.randint(-2, 6)),
    (IntUniform(1, 6).scaled(-10), discrete(range(-60, 0, 10), [1 / 6] * 6)),
    (Binomial(10, 0.3), scipy.stats.binom(10, 0.3)),
    (Binomial(5_000, 0.001), scipy.stats.binom(5_000, 0.001)),
    (Poisson(4.2), scipy.stats.poisson(4.2)),
    (Poisson(0.01), scipy.stats.poisson(0.01)),
    (Geometric(0.3), scipy.stats.geom(0.3, -1)),
    (NegativeBinomial(3.5, 0.4), scipy.stats.nbinom(3.5, 0.4)),
    (NegativeBinomial(0.1, 0.05), scipy.stats.nbinom(0.1, 0.05)),
    (Hypergeometric(20, 30, 70), scipy.stats.hypergeom(70, 30, 20)),
    (Hypergeometric(8, 9, 10), scipy.stats.hypergeom(10, 9, 8)),
]
ALL = CONTINUOUS + DISCRETE
TAIL = [2.0**-power for power in (53, 52, 40, 30, 20, 10, 5, 2, 1)] + [3 * 2.0**-53, 0.1, 0.3, 0.4999]

each = pytest.mark.parametrize(("law", "oracle"), ALL, ids=[repr(law) for law, _ in ALL])
each_continuous = pytest.mark.parametrize(("law", "oracle"), CONTINUOUS, ids=[repr(law) for law, _ in CONTINUOUS])
each_discrete = pytest.mark.parametrize(("law", "oracle"), DISCRETE, ids=[repr(law) for law, _ in DISCRETE])


def points(oracle):
    spread = oracle.mean() + oracle.std() * np.linspace(-4, 6, 41)
    ends = [end for end in oracle.support() if math.isfinite(end)]
    return np.array([*spread, *ends, *oracle.ppf([0.01, 0.3, 0.77, 0.999])])


@each
def test_moments(law, oracle):
    mean, variance, skewness, kurtosis = (float(moment) for moment in oracle.stats(moments="mvsk"))
    assert law.mean == pytest.approx(mean, rel=1e-12)
    assert law.variance == pytest.approx(variance, rel=1e-11)
    assert law.std == pytest.approx(math.sqrt(variance), rel=1e-11)
    assert law.skewness == pytest.approx(skewness, rel=1e-9, abs=1e-12)
    assert law.kurtosis == pytest.approx(kurtosis, rel=1e-8, abs=1e-11)


@each
def test_cdf(law, oracle):
    x = points(oracle)
    exact = oracle.cdf(np.floor(x) if law.discrete else x)  # SciPy's hypergeometric one is NaN between whole numbers
    assert law.cdf(x) == pytest.approx(exact, rel=1e-10, abs=1e-15)
    assert law.support == pytest.approx(oracle.support(), rel=1e-12)


@each_continuous
def test_pdf(law, oracle):
    x = points(oracle)
    x = x[x != law.support[1]]  # a histogram of SciPy excludes its upper end
    with np.errstate(divide="ignore"):
        expected = oracle.pdf(x)
    assert law.pdf(x) == pytest.approx(expected, rel=1e-10, abs=1e-300)
    with pytest.raises(InputError, match="use pdf"):
        law.pmf(x)


@each_discrete
def test_pmf(law, oracle):
    x = np.array([-3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 5, 10, 20])
    assert law.pmf(x) == pytest.approx(np.where(x == np.round(x), oracle.pmf(np.round(x)), 0), rel=1e-12)
    with pytest.raises(InputError, match="use pmf"):
        law.pdf(x)


def scale_of(law):
    """What rounding is relative to: a finite end, or the centre, that the quantile is measured from."""
    lower, upper = law.support
    if math.isfinite(lower) and math.isfinite(upper):
        return max(abs(lower), abs(upper))
    return abs(law.mean) if math.isinf(lower) else 0.0


@each_continuous
def test_quantile_keeps_both_tails(law, oracle):
    u = np.array(TAIL)
    # SciPy before 1.17 knows Student's quantile to ten digits; test_distributions_exact.py has fifteen of them.
    rel, slack = (1e-10, 1e-15) if "StudentT" in repr(law) else (1e-12, 4e-16 * scale_of(law))
    assert law.quantile(u) == pytest.approx(oracle.ppf(u), rel=rel, abs=slack)
    assert law.quantile(1 - u) == pytest.approx(oracle.isf(u), rel=rel, abs=slack)


def test_normal_quantile_by_a_second_opinion():
    u = np.array(TAIL)
    z = np.array([NormalDist().inv_cdf(u) for u in TAIL])
    assert Normal(0, 1).quantile(u) == pytest.approx(z, rel=1e-14)
    assert Normal(0, 1).quantile(1 - u) == pytest.approx(-z, rel=1e-14)


@each_discrete
def test_quantile_is_the_smallest_value_whose_cdf_reaches_u(law, oracle):
    u = np.array([*TAIL, *(1 - np.array(TAIL)), 0.125, 0.75, 0.7500001, 0.124999, 0.2, 0.500001])
    if isinstance(law, (Counted, Geometric)):
        u = u[u < 1 - 2.0**-30]  # SciPy loses the last steps of the tail; test_distributions_exact has them
    assert law.quantile(u).tolist() == oracle.ppf(u).tolist()


@pytest.mark.parametrize(("minimum", "mode", "maximum"), [(0, 0, 1), (-1, 2, 2), (-3, -2, 5)])
def test_triangular_quantile_by_exact_squares(minimum, mode, maximum):
    """(x - minimum)² = u·(maximum - minimum)·(mode - minimum), or the like from above, in fractions of whole numbers."""
    law = Triangular(minimum, mode, maximum)
    for u in map(Fraction, [*TAIL, *(1 - np.array(TAIL))]):
        x = Fraction(float(law.quantile(float(u))))
        low, high = Fraction(minimum), Fraction(maximum)
        if u * (high - low) <= mode - low:
            error = abs((x - low) ** 2 - u * (high - low) * (mode - low)) / (2 * max(x - low, Fraction(1, 10**9)))
        else:
            error = abs((high - x) ** 2 - (1 - u) * (high - low) * (high - mode)) / (2 * max(high - x, Fraction(1, 10**9)))
        assert error <= 2e-15


@each
def test_quantile_at_the_ends_and_shapes(law, oracle):
    least, largest = law.support
    assert law.quantile(0) == pytest.approx(least, rel=1e-15)
    if isinstance(law, (Counted, Geometric)):
        largest = min(largest, law.quantile(1))  # the end of the table
    assert law.quantile(1) == pytest.approx(largest, rel=1e-15) and largest >= law.bounds[1]
    assert law.quantile(0.5).shape == ()
    assert law.quantile(np.full((2, 0, 3), 0.5)).shape == (2, 0, 3)
    assert law.quantile(np.full((2, 3), 0.5)).tolist() == np.full((2, 3), law.quantile(0.5)).tolist()
    assert math.isnan(law.cdf(math.nan))
    for wrong in (-0.1, 1.5, math.nan):
        with pytest.raises(InputError, match="probabilities lie between 0 and 1"):
            law.quantile([0.5, wrong])


@each
def test_draws_follow_the_law(law, oracle):
    """Dvoretzky–Kiefer–Wolfowitz: the chance that a right law fails is below 1e-6 for each row (the seed is fixed)."""
    n, alpha = 20_000, 1e-6
    draws = np.sort(law.quantile(uniforms(20_261_123, Site("Laws", 1, 1), 0, n)))
    values, first = np.unique(draws, return_index=True)
    last = np.append(first[1:], n)
    exact, below = law.cdf(values), law.cdf(values) - (law.pmf(values) if law.discrete else 0)
    distance = max(np.abs(last / n - exact).max(), np.abs(first / n - below).max())
    assert distance < math.sqrt(math.log(2 / alpha) / (2 * n))
    low, high = law.bounds
    assert low <= draws[0] and draws[-1] <= high


finite = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))
positive = st.floats(1e-6, 1e6)
steps = st.integers(1, 2**52).map(lambda step: (2 * step - 1) * 2.0**-53)
ordered = st.lists(finite, min_size=2, max_size=2, unique=True).map(sorted)


@st.composite
def discretes(draw):
    count = draw(st.integers(1, 8))
    values = draw(st.lists(finite, min_size=count, max_size=count))
    weights = draw(st.lists(st.floats(0, 10), min_size=count, max_size=count).filter(lambda weights: sum(weights) > 0))
    return Discrete(values, weights=weights)


continuous = st.one_of(
    st.builds(Normal, finite, positive),
    st.builds(LogNormal, positive, positive),
    ordered.map(lambda ends: Uniform(*ends)),
    st.lists(finite, min_size=3, max_size=3).map(sorted).filter(lambda three: three[0] < three[2]).map(lambda three: Triangular(*three)),
    st.builds(Exponential, positive),
    st.builds(Weibull, st.floats(0.05, 50), positive),
)


@given(law=continuous | discretes() | st.builds(Bernoulli, st.floats(0, 1)), u=st.lists(steps, min_size=2, max_size=30))
@settings(max_examples=300, deadline=None)
def test_quantiles_rise_and_stay_inside(law, u):
    values = law.quantile(np.sort(u))
    low, high = law.support
    assert (np.diff(values) >= 0).all() and np.isfinite(values).all()
    assert low <= law.bounds[0] <= values[0] and values[-1] <= law.bounds[1] <= high


@pytest.mark.parametrize("three", [(-7.32, -1.94, -0.93), (-4.39, -0.3, 9.61), (-6.79, -4.46, 9.4), (-4.1, -1.97, 9.3)])
def test_rounding_carries_no_side_of_a_triangle_over_its_mode(three):
    """Without the clamp the first two pass their mode from below, the others from above."""
    law = Triangular(*three)
    share = (law.mode - law.minimum) / (law.maximum - law.minimum)
    u = (2 * (math.floor(share * 2.0**52) + np.arange(-3, 4)) + 1) * 2.0**-53
    x = law.quantile(u)
    assert (np.diff(x) >= 0).all()
    assert (x[u <= share] <= law.mode).all() and (x[u > share] >= law.mode).all()


@given(law=continuous, factor=finite.filter(bool), u=st.lists(steps, min_size=2, max_size=9))
@settings(max_examples=100, deadline=None)
def test_scaled_quantiles_rise_and_are_products(law, factor, u):
    u = np.sort(u)
    values = law.scaled(factor).quantile(u)
    assert (np.diff(values) >= 0).all()
    assert values.tolist() == (factor * law.quantile(u if factor > 0 else 1 - u)).tolist()


@given(law=discretes() | st.builds(Bernoulli, st.floats(0, 1)), u=steps)
@settings(max_examples=300, deadline=None)
def test_discrete_quantile_inverts_the_cdf(law, u):
    value = law.quantile(u)
    assert law.cdf(value) >= u
    assert law.cdf(np.nextafter(value, -np.inf)) < u
    assert law.pmf(value) > 0


def test_moments_that_leave_float64_are_not_a_traceback():
    for law in (Weibull(0.006, 1), LogNormal(1, 1e100), Uniform(-1e300, 0), Discrete([0, 1e300], [0.5, 0.5])):
        assert law.variance > 1e150
        assert not math.isfinite(law.kurtosis) or law.kurtosis > -3


def test_certain_values_have_no_skewness():
    for law in (Bernoulli(0), Bernoulli(1), Discrete([7, 8], [1, 0])):
        assert law.variance == 0 and math.isnan(law.skewness) and math.isnan(law.kurtosis)
        assert law.support == law.bounds == (law.mean, law.mean)


def test_operations_are_those_of_the_table():
    from ultramc.engines.array import evaluate
    from ultramc.ops import OPS

    used = set()

    class Host:
        @staticmethod
        def emit(op, *operands, **attributes):
            assert len(operands) == OPS[op].arity
            used.add(op)
            return evaluate(op, *operands, **attributes)

    u = uniforms(1, Site("Sheet1", 1, 1), 0, 5).reshape(1, 1, 1, 1, 5)
    for law, _ in ALL:
        assert np.broadcast(law.at(Drawn.of(Term(Host, u))).known, u).shape == u.shape
    assert used >= {"normal_quantile", "search", "gather", "select", "log1p", "power"}


REFUSED = [
    (lambda: Normal(1, 0), "std must be above 0; for a value that does not vary give the number 1"),
    (lambda: Normal(1, -2), r"Normal\(mean=1, std=-2\): std must be above 0"),
    (lambda: Normal("a", 1), "Normal: mean must be a finite number, not 'a'"),
    (lambda: Normal(True, 1), "mean must be a finite number, not True"),
    (lambda: Normal(1, math.nan), "std must be a finite number, not nan"),
    (lambda: Normal(10**400, 1), "mean must be a finite number"),
    (lambda: Normal(1 + 0j, 1), "mean must be a finite number"),
    (lambda: Normal(None, 1), "not None"),
    (lambda: Normal(1e308, 1e308), "leave the range of float64"),
    (lambda: LogNormal(-1, 2), "mean and std are those of the variable itself"),
    (lambda: LogNormal(1, 0), "std must be above 0"),
    (lambda: LogNormal(1e-200, 1e200), "leave the range of float64"),
    (lambda: Triangular(3, 1, 2), r"Triangular\(minimum=3, mode=1, maximum=2\): mode must lie .* did you mean Triangular\(1, 2, 3\)"),
    (lambda: Triangular(1, 1, 1), "give the number 1"),
    (lambda: Uniform(2, 2), "give the number 2"),
    (lambda: Uniform(2, 1), r"did you mean Uniform\(1, 2\)"),
    (lambda: Uniform(-1e308, 1e308), "leave the range of float64"),
    (lambda: Exponential(0), "at a rate r per unit of time it is 1/r"),
    (lambda: Weibull(0, 1), "shape must be above 0"),
    (lambda: Weibull(1, -1), "scale must be above 0"),
    (lambda: Weibull(0.001, 1), "leave the range of float64"),
    (lambda: Discrete([1, 2], [0.5, 0.4]), r"add up to 0.9, not 1; weights="),
    (lambda: Discrete([1, 2], [0.5, 0.5 + 2e-9]), "weights="),
    (lambda: Discrete([1, 2]), "give probabilities.* or weights="),
    (lambda: Discrete([1, 2], [0.5, 0.5], weights=[1, 1]), "give probabilities.* or weights="),
    (lambda: Discrete([1, 2], [1]), "2 values and 1 probabilities"),
    (lambda: Discrete([1, 2], [1.5, -0.5]), "below 0"),
    (lambda: Discrete([1, 2], weights=[3, -1]), "below 0"),
    (lambda: Discrete([1, 2], weights=[0, 0]), "at least one must be above 0"),
    (lambda: Discrete([1, 2], weights=[1e308, 1e308]), "add up to inf"),
    (lambda: Discrete([], []), "at least one value"),
    (lambda: Discrete([1, math.inf], [0.5, 0.5]), r"values\[1\] must be a finite number"),
    (lambda: Discrete([1, 2], [1e308, 1e308]), "add up to inf, not 1"),
    (lambda: Discrete("12", [0.5, 0.5]), "values must be a list of numbers"),
    (lambda: Discrete({1, 2}, [0.5, 0.5]), "values must be a list of numbers"),
    (lambda: Bernoulli(30), "30 % is p=0.3"),
    (lambda: Bernoulli(-0.1), "between 0 and 1$"),
    (lambda: Scaled(Normal(0, 1), 0), "factor must not be 0"),
    (lambda: Scaled(Bernoulli(0.5), 2), "discrete"),
    (lambda: Bernoulli(0.5).scaled(math.inf), "factor must be a finite number"),
]


@pytest.mark.parametrize(("make", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_parameters_that_make_no_sense_are_refused_with_advice(make, says):
    with pytest.raises(InputError, match=says):
        make()


@pytest.mark.parametrize("count", [3, 6, 10, 49, 1_000])
def test_rounding_leaves_no_gap_above_the_last_value(count):
    law = Discrete(range(count), [1 / count] * count)
    assert law.cdf(count - 1) == 1 and (law.cdf(range(count)) <= 1).all()
    assert law.quantile(1 - 2.0**-53) == count - 1


def test_sums_within_tolerance_are_accepted():
    law = Discrete([1, 2], [0.5, 0.5 + 5e-10])
    assert law.cdf(2) == 1 and law.quantile(1 - 2.0**-53) == 2


def test_numpy_numbers_and_fractions_are_numbers():
    assert Normal(np.int64(1), np.float32(0.5)) == Normal(1, 0.5) == Normal(Fraction(1), Fraction(1, 2))
    assert Discrete(np.array([1, 2]), np.array([0.5, 0.5])) == Discrete([1.0, 2.0], (0.5, 0.5))


def test_laws_are_values():
    assert repr(Normal(100, 10)) == "Normal(mean=100, std=10)"
    assert repr(Discrete(range(20), weights=[1] * 20)).startswith("Discrete(values=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … 10 more], prob")
    assert {Normal(1, 2), Normal(1.0, 2.0)} == {Normal(1, 2)}
    with pytest.raises(AttributeError):
        Normal(1, 2).mean = 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Triangular(1,2,3)", Triangular(1, 2, 3)),
        (" Normal(mean=0.03, std=0.01) ", Normal(0.03, 0.01)),
        ("Normal(-5, std=1e-3)", Normal(-5, 0.001)),
        ("Discrete([1,2],[.5,.5])", Discrete([1, 2], [0.5, 0.5])),
        ("Discrete((1, 2), weights=[1, 3])", Discrete([1, 2], [0.25, 0.75])),
        ("Triangular(.9,1,1.3).times_base()", TimesBase(Triangular(0.9, 1, 1.3))),
        ("Normal(0, 1).truncated(0, maximum=3).shifted(-1).times_base()", Normal(0, 1).truncated(0, 3).shifted(-1).times_base()),
        ("5", 5.0),
        ("-3e5", -300000.0),
    ],
)
def test_parse(text, expected):
    assert parse_distribution(text) == expected


@given(law=continuous | discretes() | st.builds(Bernoulli, st.floats(0, 1)))
@settings(max_examples=100, deadline=None)
def test_a_repr_parses_to_an_equal_law(law):
    assert parse_distribution(repr(law)) == law
    assert parse_distribution(repr(law.times_base())) == law.times_base()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nan", "finite"),
        ("1e999", "finite"),
        ("", "neither a number nor a distribution"),
        ("triangle(1,2,3)", r"did you mean Triangular\(minimum, mode, maximum\)\?"),
        ("normal(1,2)", r"did you mean Normal\(mean, std\)\?"),
        ("Zipf(1,2)", r"available: Normal\(mean, std\), .* Discrete\(values, probabilities=…, weights=…\)"),
        ("Normal(1)", r"missing .*'std'; expected Normal\(mean, std\)"),
        ("Normal(1, 2, 3)", "too many"),
        ("Normal(1, 2, sd=2)", "'sd'"),
        ("Normal(mean=1, 2)", "positional argument follows"),
        ("Normal(1,'a')", "std must be a finite number, not 'a'"),
        ("Normal(1, x)", "arguments are numbers or lists"),
        ("Normal(1, 2**3)", "arguments are numbers or lists"),
        ("Normal(*[1, 2])", "arguments are numbers or lists"),
        ("Normal(**{'mean': 1})", "expected Normal"),
        ("Normal(1, __import__('os'))", "arguments are numbers or lists"),
        ("__import__('os')", "no distribution '__import__'"),
        ("Normal(1, 2).scaled()", r"missing .*'factor'; expected scaled\(factor\)"),
        ("Normal(1, 2).quantile(0.5)", "neither a number"),
        ("Normal(1, 2).truncated(3, 2)", "minimum must be below maximum"),
        ("Normal(1, 2).times_base().scaled(2)", "neither a number"),
        ("Normal(1, 2)" + ".scaled(1)" * 21, "neither a number"),
        ("Normal(1, 2)" + ".scaled(1)" * 900, "neither a number"),
        ("Normal(1, 2).times_base(3)", "neither a number"),
        ("Normal(1, 2).times_base().times_base()", "neither a number"),
        ("Normal(1, 2)(3)", "neither a number"),
        ("[Normal(1, 2)]", "neither a number"),
        ("Triangular(1, 2, 3", "never closed"),
        ("Normal(1,\0 2)", "neither a number"),
        ("(" * 5_000, "neither a number"),
        ("-" * 9_000 + "1", "neither a number"),
        ("Normal(" + "-" * 2_000 + "1, 2)", "neither a number|arguments are numbers"),
        ("Normal(" + "9" * 5_000 + ", 1)", "neither a number"),
        ("Normal(" + "[" * 150 + "]" * 150 + ", 1)", "mean must be a finite number"),
        ("1" + "+1" * 4_900, "neither a number"),
        ("Normal(1" + "+1" * 4_900 + ", 1)", "neither a number|arguments are numbers"),
        ("Normal" + "(1)" * 3_000, "neither a number"),
        ("x" * 20_000, "more than 10000"),
    ],
)
def test_what_does_not_parse_is_refused_with_advice(text, says):
    with pytest.raises(InputError, match=says), warnings.catch_warnings(action="ignore"):
        parse_distribution(text)


@given(
    st.text(max_size=60) | st.sampled_from(sorted(DISTRIBUTIONS)).flatmap(lambda name: st.text("[]()0123456789.,=-+e ").map(name.__add__))
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_law_a_number_or_an_input_error(text):
    with warnings.catch_warnings(action="ignore"):
        try:
            found = parse_distribution(text)
        except InputError:
            return
    assert isinstance(found, (laws.Distribution, TimesBase, float))


def test_times_base_scales_the_saved_value():
    marker = Triangular(0.9, 1, 1.3).times_base()
    assert repr(marker) == "Triangular(minimum=0.9, mode=1, maximum=1.3).times_base()"
    assert marker.resolve(200.0) == Scaled(Triangular(0.9, 1, 1.3), 200)
    assert Bernoulli(0.25).times_base().resolve(8) == Discrete([0, 8], [0.75, 0.25])
    assert (marker.resolve(200).mean, marker.resolve(-200).skewness) == pytest.approx((640 / 3, -Triangular(0.9, 1, 1.3).skewness))


@pytest.mark.parametrize(
    ("base", "says"),
    [
        (None, "blank"),
        ("abc", "no number: .abc"),
        (True, "True"),
        (0.0, "which is 0"),
        (ExcelError.NA, "#N/A"),
        (1e308, "leave the range"),
    ],
)
def test_times_base_needs_a_number(base, says):
    with pytest.raises(InputError, match=says) as caught:
        Normal(1, 0.5).times_base().resolve(base, "Costs!B4")
    assert str(caught.value).startswith("Costs!B4: ")
