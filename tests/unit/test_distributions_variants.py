"""Laws cut off, moved and scaled. The oracles are quantiles worked out to 60 digits with mpmath, closed forms, sums and SciPy."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from ultramc.distributions import (
    PERT,
    Beta,
    Binomial,
    Cumulative,
    Discrete,
    DiscreteUniform,
    Exponential,
    Gamma,
    Geometric,
    Histogram,
    Hypergeometric,
    IntUniform,
    LogNormal,
    NegativeBinomial,
    Normal,
    Pareto,
    Poisson,
    StudentT,
    Triangular,
    Uniform,
    Weibull,
    parse_distribution,
)
from ultramc.distributions.law import computed
from ultramc.distributions.probability import Drawn
from ultramc.errors import InputError
from ultramc.program import Builder
from ultramc.sampling import Site
from ultramc.terms import Term

INF = math.inf
STEPS = [1, 2 * 4503599627 + 1, 2**51 + 1, 2**53 - 2**51 - 3, 2**53 - 2**23 - 1, 2**53 - 1]
POINTS = np.array(STEPS) * 2.0**-53  # 2^-53, about 1e-6, 1/4, 3/4, 1 - 2^-30, 1 - 2^-53
DIGITS = [  # by bisection of the distribution function in mpmath, rounded to float64
    (
        Normal(0, 1).truncated(5, 9),
        [5.0, 5.000000192808198, 5.055183405359112, 5.260933604820943, 8.103465010964092, 8.999969045733833],
    ),
    (
        Normal(0, 1).truncated(8),
        [8.0, 8.000000123132024, 8.03534703595483, 8.168964358662926, 10.252037789643158, 11.693169781421483],
    ),
    (
        Normal(0, 1).truncated(maximum=-8),
        [-11.693169781421483, -9.554302468572281, -8.168964358662926, -8.03534703595483, -8.000000000114676, -8.0],
    ),
    (
        Normal(0, 1).truncated(-1, 2),
        [-0.9999999999999997, -0.9999966169740943, -0.3496414292924652, 0.7474407239640584, 1.999999985879569, 1.9999999999999982],
    ),
    (
        Normal(0, 1).truncated_at_quantiles(0.01, 0.99),
        [-2.326347874040837, -2.3263111055859595, -0.6588376927361874, 0.6588376927361868, 2.3263478397960813, 2.3263478740408368],
    ),
    (
        Normal(0, 1).truncated_at_quantiles(0, 1e-9),
        [-10.410503299112047, -7.941345326167431, -6.2191045740435, -6.044364557901657, -5.9978070151589655, -5.9978070150076865],
    ),
    (
        Gamma(2, 1).truncated(30, 50),
        [30.0, 30.000001033333845, 30.297224279276758, 31.431435324974593, 49.75246200559999, 49.99999996660422],
    ),
    (
        PERT(0, 1, 4).truncated(3.9, 4),
        [3.9, 3.9000000251282145, 3.906972590425821, 3.929394973934738, 3.9994503408008764, 3.999989786859695],
    ),
    (
        PERT(0, 1, 4).truncated(0.5, 3),
        [0.5000000000000002, 0.5000020626797845, 0.9420276214396059, 1.8678007569037332, 2.999999986272692, 2.9999999999999982],
    ),
    (
        StudentT(2).truncated(1000),
        [1000.0, 1000.000500001125, 1154.700754885519, 2000.001124999448, 32768022.622860376, 94906336803.91222],
    ),
]


@pytest.mark.parametrize(("law", "exact"), DIGITS, ids=[repr(law) for law, _ in DIGITS])
def test_truncated_quantiles_keep_their_digits(law, exact):
    assert law.quantile(POINTS) == pytest.approx(np.array(exact), rel=1e-12)
    assert computed(law.exactly_at, POINTS, 1 - POINTS) == pytest.approx(np.array(exact), rel=1e-13)
    assert law.bounds == pytest.approx((exact[0], exact[-1]), rel=1e-12)


@pytest.mark.parametrize(("law", "exact"), DIGITS, ids=[repr(law) for law, _ in DIGITS])
def test_shifted_and_scaled_in_any_order(law, exact):
    x = np.array(exact)
    assert law.shifted(7).scaled(-3).quantile(1 - POINTS) == pytest.approx(-3 * (x + 7), rel=1e-12)
    assert law.scaled(-3).shifted(7).quantile(1 - POINTS) == pytest.approx(7 - 3 * x, rel=1e-12)


@pytest.mark.parametrize("rate", [0.5, 3.0])
def test_truncated_exponential_in_closed_form(rate):
    """-ln(exp(-ra) - u (exp(-ra) - exp(-rb))) / r, from a."""
    low, high = 40.0, 45.0
    law = Exponential(1 / rate).truncated(low, high)
    gained = -np.log1p(POINTS * np.expm1(-rate * (high - low))) / rate
    rest = -np.log(math.exp(-rate * (high - low)) - (1 - POINTS) * np.expm1(-rate * (high - low))) / rate
    assert law.quantile(POINTS) == pytest.approx(low + np.where(POINTS < 0.5, gained, rest), rel=1e-13)
    x = np.array([39.0, 40.0, 41.5, 45.0, 46.0])
    inside = np.clip(np.expm1(-rate * (x - low)) / math.expm1(-rate * (high - low)), 0, 1)
    assert law.cdf(x) == pytest.approx(np.where(x < low, 0, inside), rel=1e-12)
    assert law.mean == pytest.approx(low + 1 / rate - (high - low) / math.expm1(rate * (high - low)), rel=1e-12)


def test_a_part_of_a_tabulated_law_has_a_table_of_its_own():
    """Of the whole law's table it would need what lies beyond 2^-53."""
    u = Term(builder := Builder(), builder.append("uniform", site=Site("S", 1, 1), shape=(1, 1, 1, 1)))
    for law in (Gamma(2, 1), PERT(0, 1, 2), StudentT(3).shifted(1)):
        law.truncated(1.5, 1.75).at(Drawn.of(u))
    assert {instruction.op for instruction in builder.instructions} == {"uniform", "sub", "piecewise"}


def test_a_tail_of_a_tail():
    whole, part = Normal(0, 1).truncated(5, 9), Normal(0, 1).truncated(6, 7)
    nested = whole.truncated(6, 7)
    assert nested.quantile(POINTS) == pytest.approx(part.quantile(POINTS), rel=1e-13)
    assert Normal(3, 2).truncated(5).cdf([5.5, 40]) == pytest.approx(Normal(0, 1).truncated(1).cdf([1.25, 18.5]), rel=1e-13)
    assert Normal(0, 1).truncated(8).cdf([7, 8, 8.1, 9, 50]) == pytest.approx(
        [0, 0, *(1 - scipy.stats.norm.sf([8.1, 9]) / scipy.stats.norm.sf(8)), 1], rel=1e-12
    )
    assert Normal(1e6, 1).shifted(-1e6).truncated(5, 9).quantile(0.25) == pytest.approx(DIGITS[0][1][2], rel=1e-9)


CUT = [
    (Normal(0, 1), -1.0, 2.0),
    (Normal(0, 1), 8.0, INF),
    (LogNormal(5, 4), 1.0, 30.0),
    (Gamma(0.5, 2), 0.0, 1.0),
    (Beta(0.7, 0.6), 0.1, INF),
    (PERT(0, 1, 4), 0.5, 3.0),
    (Triangular(0, 1, 5), 0.5, 4.0),
    (Weibull(0.8, 3), -INF, 2.0),
    (StudentT(2.5), -3.0, 4.0),
    (Histogram(0, 3, [1, 0, 2]), 0.25, 2.5),
    (Uniform(0, 10), 2.0, 3.0),
]


@pytest.mark.parametrize(("law", "low", "high"), CUT, ids=[repr(law) for law, _, _ in CUT])
def test_moments_are_integrals_of_the_density(law, low, high):
    cut = law.truncated(low, high)
    least, largest = cut.support
    bends = [x for x in (0.1, 1.0, 2.0, 2.5, law.mean) if least < x < min(largest, 20)]

    def integral(function):
        edges = [least, *sorted(set(bends)), largest]
        return sum(quad(lambda x: function(x) * cut.pdf(x), a, b, epsrel=1e-11, limit=400)[0] for a, b in pairwise(edges))

    mean = integral(lambda x: x)
    variance = integral(lambda x: (x - mean) ** 2)
    assert integral(lambda x: 1) == pytest.approx(1, rel=1e-8)
    assert (cut.mean, cut.variance) == pytest.approx((mean, variance), rel=1e-8)
    assert cut.skewness == pytest.approx(integral(lambda x: (x - mean) ** 3) / variance**1.5, rel=1e-7, abs=1e-7)
    assert cut.kurtosis == pytest.approx(integral(lambda x: (x - mean) ** 4) / variance**2 - 3, rel=1e-7, abs=1e-7)


def test_moments_by_scipy():
    mean, variance, skewness, kurtosis = map(float, scipy.stats.truncnorm(-1, 2).stats("mvsk"))
    law = Normal(0, 1).truncated(-1, 2)
    assert (law.mean, law.variance, law.skewness, law.kurtosis) == pytest.approx((mean, variance, skewness, kurtosis), rel=1e-12)
    moved = law.scaled(-2).shifted(3)
    assert (moved.mean, moved.variance, moved.skewness) == pytest.approx((3 - 2 * mean, 4 * variance, -skewness), rel=1e-12)


def test_moments_that_do_not_exist():
    """Beyond a, Pareto(scale, shape) is Pareto(a, shape)."""
    cut, same = Pareto(1, 2.5).truncated(2), Pareto(2, 2.5)
    assert (cut.mean, cut.variance) == pytest.approx((same.mean, same.variance), rel=1e-10)
    assert cut.kurtosis == INF and Pareto(1, 1.5).truncated(2).variance == INF and Pareto(1, 0.9).truncated(2).mean == INF
    assert StudentT(1).truncated(0).mean == INF and StudentT(1).truncated(maximum=0).mean == -INF
    assert Pareto(1, 0.99).truncated(2).mean == Pareto(1, 1).truncated(2).mean == INF
    assert math.isnan(StudentT(1).truncated_at_quantiles(0, 1).mean)


COUNTED = [
    (Poisson(4.2), scipy.stats.poisson(4.2)),
    (Binomial(50, 0.3), scipy.stats.binom(50, 0.3)),
    (NegativeBinomial(3.5, 0.4), scipy.stats.nbinom(3.5, 0.4)),
    (NegativeBinomial(0.1, 0.05), scipy.stats.nbinom(0.1, 0.05)),
    (Geometric(0.3), scipy.stats.geom(0.3, -1)),
    (Hypergeometric(20, 30, 70), scipy.stats.hypergeom(70, 30, 20)),
    (IntUniform(1, 6), scipy.stats.randint(1, 7)),
]


@pytest.mark.parametrize(("low", "high"), [(2, 5), (1.5, INF), (-INF, 3), (16, 19)])
@pytest.mark.parametrize(("law", "oracle"), COUNTED, ids=[repr(law) for law, _ in COUNTED])
def test_truncated_counts_by_their_masses(law, oracle, low, high):
    if low > law.support[1]:
        with pytest.raises(InputError, match="has no probability there"):
            law.truncated(low, high)
        return
    cut = law.truncated(low, high)
    k = np.arange(math.ceil(max(low, 0)), min(high, 2_000) + 1)
    masses = oracle.pmf(k)
    assert cut.pmf(k) == pytest.approx(masses / masses.sum(), rel=1e-10, abs=1e-17)
    assert cut.mean == pytest.approx((masses @ k) / masses.sum(), rel=1e-10)


def test_counts_far_out_are_counts_still():
    """P(X = k + 1) / P(X = k) = mean / (k + 1), where both are below 2^-200."""
    k = np.arange(90, 100)
    masses = Poisson(4.2).truncated(90).pmf(k)
    assert masses[1:] / masses[:-1] == pytest.approx(4.2 / k[1:], rel=1e-13) and masses[0] > 0.9
    shares = np.array([1, 3 / 998, 3 / 998 * 2 / 999, 3 / 998 * 2 / 999 / 1000])  # C(1000, k) from k = 3 down
    assert Binomial(1000, 0.5).truncated(maximum=3).pmf([3, 2, 1, 0]) == pytest.approx(shares / shares.sum(), rel=1e-13)


def test_discrete_quantiles_cut_atoms():
    law = Discrete([1, 2, 5], [0.25, 0.5, 0.25]).truncated_at_quantiles(0.5, 0.875)
    assert law.pmf([1, 2, 5]) == pytest.approx([0, 2 / 3, 1 / 3], rel=1e-14)
    assert DiscreteUniform([1, 2, 3, 4]).truncated_at_quantiles(0.25, 0.5) == Discrete([2], [1])
    tail = Poisson(4.2).truncated_at_quantiles(1 - 2.0**-40, 1)
    first = scipy.stats.poisson(4.2).isf(2.0**-40)
    share = scipy.stats.poisson(4.2).sf(np.arange(first, first + 5)) * 2.0**40
    assert 1 - tail.cdf(np.arange(first, first + 5)) == pytest.approx(share, rel=1e-5, abs=1e-12)  # of 2^-60 in 2^-40


@given(
    st.sampled_from([Poisson(3), Binomial(9, 0.2), Normal(1, 2), Gamma(2, 3), Triangular(0, 1, 3), Discrete([1, 4, 9], weights=[1, 2, 3])]),
    st.floats(0, 0.9),
    st.floats(0.01, 1),
    st.lists(st.floats(1e-6, 1 - 1e-6), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_truncation_at_quantiles_is_the_quantile_of_a_part(law, lower, width, u):
    upper = min(lower + width, 1.0)
    cut = law.truncated_at_quantiles(lower, upper)
    place = lower + (upper - lower) * np.array(u)
    if not law.discrete:
        assert cut.quantile(u) == pytest.approx(law.quantile(place), rel=1e-10, abs=1e-12)
        return
    edge = np.abs(law.cdf(law.atoms[0])[:, None] - place).min(axis=0) < 1e-9
    assert (cut.quantile(u) == law.quantile(place))[~edge].all()


def test_atoms_of_a_law_through_points():
    law = Cumulative(0, 10, [4, 4, 6], [0.2, 0.5, 0.5])  # P(X = 4) = 0.3
    assert law.truncated(4, 10).quantile([0.1, 0.3749, 0.376]) == pytest.approx([4, 4, 6.0064], abs=1e-9)
    assert law.truncated(0, 4).cdf([2, 4]) == pytest.approx([0.2, 1])
    assert law.truncated_at_quantiles(0.3, 0.75).quantile([0.1, 0.9]) == pytest.approx([4, 6 + 4 * 0.205 / 0.5])
    assert law.scaled(-1).cdf([-4.001, -4, -3.999]) == pytest.approx([0.5, 0.8, 0.80005])


REFUSED = [
    (lambda: Normal(0, 1).truncated(3, 2), r"Normal\(mean=0, std=1\).truncated\(minimum=3, maximum=2\): minimum must be below maximum"),
    (lambda: Normal(0, 1).truncated(2, 2), "minimum must be below maximum"),
    (lambda: Normal(0, 1).truncated(40), "from -inf to inf, has no probability there"),
    (lambda: Uniform(0, 1).truncated(1, 2), "from 0 to 1, has no probability there"),
    (lambda: Normal(0, 1).truncated(math.nan), "minimum must be a finite number"),
    (lambda: Normal(0, 1).truncated("1"), "minimum must be a finite number"),
    (lambda: Normal(0, 1).truncated_at_quantiles(5, 95), "5 % is 0.05"),
    (lambda: Normal(0, 1).truncated_at_quantiles(0.5, 0.5), "quantiles ascend"),
    (lambda: Normal(0, 1).shifted(INF), "shift must be a finite number"),
    (lambda: Normal(0, 1).shifted(1).scaled(0), "factor must not be 0"),
    (lambda: Poisson(3).truncated(2.1, 2.9), r"Poisson\(mean=3\).truncated\(minimum=2.1, maximum=2.9\): .* has no probability there"),
    (lambda: Discrete([1, 2], [0.5, 0.5]).truncated(3), "from 1 to 2, has no probability there"),
    (lambda: Normal(1e308, 1).shifted(1e308), "leave the range of float64"),
]


@pytest.mark.parametrize(("make", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_variants_that_make_no_sense_are_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()


VARIANTS = [law for law, _ in DIGITS] + [
    Normal(0, 1).shifted(2).truncated(1).scaled(-3),
    Poisson(3).shifted(-1).truncated(1, 4).scaled(2),
    Gamma(2, 1).scaled(3).truncated_at_quantiles(0.1, 0.9).shifted(1),
    PERT(0, 1, 2).truncated(maximum=1.5),
]


@pytest.mark.parametrize("law", VARIANTS, ids=repr)
def test_variants_are_values(law):
    assert parse_distribution(repr(law)) == law
    assert pickle.loads(pickle.dumps(law)) == law and hash(parse_distribution(repr(law))) == hash(law)


@pytest.mark.parametrize("law", VARIANTS, ids=repr)
def test_the_cdf_of_the_quantile_is_u(law):
    u = np.linspace(0.001, 0.999, 37)
    x = law.quantile(u)
    if law.discrete:
        assert (law.cdf(x) >= u).all() and (law.cdf(np.nextafter(x, -INF)) < u).all()
    else:
        slack = law.pdf(x) * np.spacing(np.abs(x))
        assert (np.abs(law.cdf(x) - u) <= 1e-11 + slack).all()
