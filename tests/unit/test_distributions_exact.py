"""The oracles are sums of exact fractions, quantiles worked out to 60 digits with mpmath, SciPy and NumPy."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ultramc.distributions import (
    PERT,
    Beta,
    Binomial,
    ChiSquared,
    Cumulative,
    DiscreteUniform,
    Empirical,
    Erlang,
    Gamma,
    General,
    Geometric,
    Gumbel,
    Histogram,
    Hypergeometric,
    IntUniform,
    Logistic,
    LogLogistic,
    ModPERT,
    NegativeBinomial,
    Pareto,
    Poisson,
    Rayleigh,
    StudentT,
    Uniform,
    parse_distribution,
)
from ultramc.distributions.law import computed
from ultramc.errors import InputError

TAIL = [step * 2.0**-53 for step in (1, 3, 5, 7, 11, 2**10 + 1, 2**23 + 1, 2**33 + 1, 2**43 + 1, 2**49 + 1, 2**51 + 1, 2**52 - 1)]
STEPS = np.array([*TAIL, *(1 - np.array(TAIL))])
steps = st.integers(1, 2**52).map(lambda step: (2 * step - 1) * 2.0**-53)


def binomial(n, p):
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def negative_binomial(successes, p):
    return [math.comb(k + successes - 1, k) * (1 - p) ** k * p**successes for k in range(400)]


def hypergeometric(draws, successes, population):
    return [
        Fraction(math.comb(successes, k) * math.comb(population - successes, draws - k), math.comb(population, draws))
        for k in range(draws + 1)
    ]


def poisson(mean):
    with localcontext() as context:
        context.prec = 60
        nothing = Fraction((-Decimal(mean)).exp())
    return [nothing * Fraction(mean) ** k / math.factorial(k) for k in range(200)]


COUNTED = [
    (Binomial(10, 0.3), binomial(10, Fraction(0.3))),
    (Binomial(200, 0.98), binomial(200, Fraction(0.98))),
    (Binomial(3, 1), [0, 0, 0, 1]),
    (Binomial(3, 0), [1]),
    (Poisson(4.2), poisson(4.2)),
    (Poisson(0.01), poisson(0.01)),
    (Poisson(60), poisson(60)),
    (Geometric(0.3), negative_binomial(1, Fraction(0.3))),
    (Geometric(1), [1]),
    (NegativeBinomial(3, 0.4), negative_binomial(3, Fraction(0.4))),
    (NegativeBinomial(20, 0.9), negative_binomial(20, Fraction(0.9))),
    (Hypergeometric(20, 30, 70), hypergeometric(20, 30, 70)),
    (Hypergeometric(8, 9, 10), hypergeometric(8, 9, 10)),
    (Hypergeometric(1, 1, 1), [0, 1]),
]


@pytest.mark.parametrize(("law", "masses"), COUNTED, ids=[repr(law) for law, _ in COUNTED])
def test_counts_by_exact_sums(law, masses):
    below = list(accumulate(masses))
    expected = [next(k for k, reached in enumerate(below) if reached >= Fraction(u)) for u in STEPS]
    assert law.quantile(STEPS).tolist() == expected
    k = np.arange(len(masses))
    assert law.pmf(k) == pytest.approx(np.array(masses, dtype=float), rel=1e-12, abs=1e-17)


@pytest.mark.parametrize(
    ("law", "upper"),
    [
        (NegativeBinomial(0.001, 0.01), lambda k: scipy.special.betainc(k + 1, 0.001, 0.99)),
        (NegativeBinomial(50, 0.002), lambda k: scipy.special.betainc(k + 1, 50, 0.998)),
        (Poisson(1e6), lambda k: scipy.special.gammainc(k + 1, 1e6)),
        (Binomial(10**9, 0.5), lambda k: scipy.special.betainc(k + 1, 10**9 - k, 0.5)),
        (Binomial(10**9, 1e-9), lambda k: scipy.special.betainc(k + 1, 10**9 - k, 1e-9)),
    ],
)
def test_large_tables_reach_into_their_tails(law, upper):
    """P(X > k) is at most the least uniform at the largest draw, and above it one value earlier."""
    _, largest = law.bounds
    assert upper(largest) <= 2.0**-53 * (1 + 1e-7) and upper(largest - 1) > 2.0**-53 * (1 - 1e-7)


# 2^-53, about 1e-6, 1/4, 3/4, 1 - 2^-30, and 1 - 2^-53: each an odd multiple of 2^-53.
POINTS = np.array([1, 2 * 4503599627 + 1, 2**51 + 1, 2**53 - 2**51 - 3, 2**53 - 2**23 - 1, 2**53 - 1]) * 2.0**-53
DIGITS = [  # quantiles by mpmath, rounded to 17 digits
    (
        Gamma(shape=2.5, scale=1),
        [6.711114655705429e-07, 0.006448080103322853, 1.3373014047160818, 3.3128398819146234, 25.42153200712386, 42.09751611826066],
    ),
    (
        Gamma(shape=0.3, scale=1),
        [
            4.5860102724659714e-54,
            6.972699097077699e-21,
            0.006899802569055474,
            0.3428994608145757,
            17.65202288951779,
            33.16955361260487,
        ],
    ),
    (
        Gamma(shape=400, scale=1),
        [257.20790052368113, 312.0215855498551, 386.33468684581493, 413.30201277263546, 532.1217576770979, 586.969649760355],
    ),
    (
        Beta(alpha=2, beta=3, minimum=0, maximum=1),
        [4.301594725588786e-09, 0.0004083594602101302, 0.24302208375607637, 0.54367828541908, 0.9993847094902452, 0.999996972270482],
    ),
    (
        Beta(alpha=0.5, beta=40, minimum=0, maximum=1),
        [
            2.435368136015061e-34,
            1.975805362928212e-14,
            0.0012762788057726318,
            0.016507094950891033,
            0.37569459029703484,
            0.5787548952949132,
        ],
    ),
    (
        StudentT(degrees=1.5),
        [-22595374208.801926, -5219.469324606886, -0.8725946625415701, 0.872594662541569, 547300.9939281798, 22595374208.801926],
    ),
    (
        StudentT(degrees=3),
        [-214952.99806257954, -103.29946777942897, -0.7648923284043448, 0.764892328404344, 1057.9043197550827, 214952.99806257954],
    ),
    (
        StudentT(degrees=40),
        [-13.403084996993327, -5.553969751806131, -0.6806727171644487, 0.680672717164448, 7.7266060306004105, 13.403084996993327],
    ),
    (
        StudentT(degrees=1000000),
        [-8.209676529487721, -4.7534523482738695, -0.674489995531087, 0.6744899955310864, 6.009409301925036, 8.209676529487721],
    ),
    (
        Logistic(location=0, scale=1),
        [-36.7368005696771, -13.815509557935018, -1.0986122886681091, 1.098612288668108, 20.794415296657753, 36.7368005696771],
    ),
    (
        Gumbel(location=0, scale=1),
        [-3.6037789929704576, -2.6257919144739295, -0.32663425997828066, 1.2458993237072367, 20.794415297123415, 36.7368005696771],
    ),
    (
        LogLogistic(location=0, scale=1, shape=3),
        [4.806217383937352e-06, 0.010000003333431408, 0.6933612743506349, 1.4422495703074074, 1023.9999589920076, 208063.83068357583],
    ),
    (
        Pareto(scale=1, shape=2.5),
        [1.0, 1.00000040000028, 1.1219551454461996, 1.7411011265922474, 4095.999804687516, 2408995.052578742],
    ),
    (
        Rayleigh(scale=1),
        [1.4901161193847656e-08, 0.0014142139159470104, 0.7585276164409324, 1.6651092223153947, 6.448940269158814, 8.571674348652905],
    ),
]


@pytest.mark.parametrize(("law", "exact"), DIGITS, ids=[repr(law) for law, _ in DIGITS])
def test_quantiles_to_sixty_digits(law, exact):
    """What a table serves to draws keeps 1e-12, the formula behind it two digits more."""
    assert law.quantile(POINTS) == pytest.approx(np.array(exact), rel=1e-12 if law.is_approximated else 2e-14)
    assert computed(law.exactly_at, POINTS, 1 - POINTS) == pytest.approx(np.array(exact), rel=2e-14)


def test_the_middle_of_symmetric_laws_is_no_small_difference():
    u = 0.5 + 2.0**-53 * np.array([1, 2**20 + 1])
    odd = 2 * (u - 0.5)
    assert Logistic(0, 1).quantile(u) == pytest.approx(2 * odd, rel=1e-14)
    assert StudentT(2).quantile(u) == pytest.approx(odd * math.sqrt(2), rel=1e-14)  # t = x sqrt(2 / (1 - x²)) with x = 2u - 1


def test_beta_keeps_both_ends():
    """Beta(1, b) is 1 - (1 - u)^(1/b), and turned round at the other end."""
    assert Beta(1, 3, -1, 0).quantile(1 - 2.0**-53) == pytest.approx(-(2.0 ** (-53 / 3)), rel=1e-14)
    assert Beta(3, 1, -1, 0).quantile(1 - 2.0**-53) == pytest.approx(-(2.0**-53) / 3, rel=1e-14)


values = st.lists(st.integers(-50, 50), min_size=2, max_size=9).map(sorted).filter(lambda some: some[0] < some[-1])


@given(values, st.lists(steps, min_size=1, max_size=9))
@settings(max_examples=100, deadline=None)
def test_empirical_is_the_quantile_of_numpy(some, u):
    assert Empirical(some).quantile(u) == pytest.approx(np.quantile(some, u), rel=1e-12, abs=1e-12)


@given(values, st.data())
@settings(max_examples=100, deadline=None)
def test_cumulative_rises_between_its_points(some, data):
    between = some[1:-1]
    probabilities = sorted(data.draw(st.lists(st.floats(0, 1), min_size=len(between), max_size=len(between))))
    law = Cumulative(some[0], some[-1], between, probabilities)
    u = np.sort(data.draw(st.lists(steps, min_size=2, max_size=9)))
    x = law.quantile(u)
    assert (np.diff(x) >= 0).all() and some[0] <= x[0] and x[-1] <= some[-1]
    assert (law.cdf(x) >= u - 1e-12).all()


shapes, shares, counts = st.floats(0.05, 500), st.floats(0.01, 1), st.integers(0, 3_000)
families = st.one_of(
    st.builds(Gamma, shapes, shapes),
    st.builds(Beta, shapes, shapes),
    st.builds(StudentT, st.floats(0.125, 1e7)),
    st.builds(Logistic, shapes, shapes),
    st.builds(LogLogistic, shapes, shapes, st.floats(0.1, 50)),
    st.builds(Pareto, shapes, st.floats(0.1, 50)),
    st.builds(Gumbel, shapes, shapes),
    st.builds(Binomial, st.integers(1, 10_000), shares),
    st.builds(Poisson, st.floats(1e-6, 1e5)),
    st.builds(NegativeBinomial, shapes, shares),
    st.builds(
        lambda parts: Hypergeometric(parts[0], parts[1], parts[2] + 1), st.lists(st.integers(0, 3_000), min_size=3, max_size=3).map(sorted)
    ),
    st.builds(lambda heights: General(0, len(heights), range(len(heights)), [*heights, 1][1:]), st.lists(shapes, min_size=2, max_size=9)),
    st.builds(lambda weights: Histogram(-1, 1, [*weights, 1]), st.lists(st.floats(0, 9), max_size=9)),
)


@given(families, st.lists(steps, min_size=2, max_size=20))
@settings(max_examples=300, deadline=None)
def test_quantiles_rise_stay_inside_and_invert_the_cdf(law, u):
    u = np.sort(u)
    x, (low, high) = law.quantile(u), law.support
    noise = 1e-12 * np.abs(x[1:])  # the inverse functions end on different iterates at neighbouring steps
    assert (np.diff(x) >= -noise).all() and low <= x[0] and x[-1] <= high
    if law.discrete:
        assert (law.cdf(x) >= u).all() and (law.cdf(x - 1) < u).all()
    else:
        slack = 1e-9 + np.nan_to_num(law.pdf(x) * np.spacing(np.abs(x)), posinf=1)
        assert (np.abs(law.cdf(x) - u) <= slack).all()


def test_atoms_and_gaps():
    law = Cumulative(0, 10, [4, 4, 6], [0.2, 0.5, 0.5])
    assert law.quantile([0.1, 0.2, 0.3, 0.5, 0.75]).tolist() == [2, 4, 4, 4, 8]
    assert law.cdf([3.999, 4, 5, 8]) == pytest.approx([0.19995, 0.5, 0.5, 0.75])
    assert law.pdf([2, 4, 5, 8, 11]).tolist() == pytest.approx([0.05, math.inf, 0, 0.125, 0])
    assert law.mean == pytest.approx(0.2 * 2 + 0.3 * 4 + 0.5 * 8)
    assert law.variance == pytest.approx(0.2 * (16 / 3) + 0.3 * 16 + 0.5 * (64 + 4 / 3) - law.mean**2)


def test_general_by_the_areas_of_trapezoids():
    law = General(0, 4, [1, 1, 3], [2, 1, 3])  # areas 1, 4, 1.5 of 6.5; a jump at 1
    assert law.cdf([1, 3, 4]) == pytest.approx([1 / 6.5, 5 / 6.5, 1], rel=1e-15)
    assert law.quantile([1 / 6.5 / 4, 5 / 6.5, 1 - 1.5 / 6.5 / 4]) == pytest.approx([0.5, 3, 3.5], rel=1e-14)
    assert law.quantile(2.0**-53) == pytest.approx(math.sqrt(6.5 * 2.0**-53), rel=1e-14)
    assert 4 - law.quantile(1 - 2.0**-53) == pytest.approx(math.sqrt(2 * 6.5 / 3 * 2.0**-53), abs=1e-15)
    assert law.quantile([0, 1]).tolist() == [0, 4]


@given(st.integers(1, 2**40), st.integers(-(2**40), 2**40), steps)
@settings(max_examples=100, deadline=None)
def test_whole_numbers_by_fractions(count, least, u):
    law = IntUniform(least, least + count)
    assert law.quantile(u) == pytest.approx(least + math.ceil(Fraction(u) * (count + 1)) - 1, abs=0)


def test_moments_that_do_not_exist():
    assert Pareto(1, 1).mean == math.inf and Pareto(1, 2).variance == math.inf and math.isnan(Pareto(1, 2).skewness)
    assert math.isnan(StudentT(1).mean) and StudentT(2).variance == math.inf and StudentT(3).kurtosis == math.inf
    assert LogLogistic(0, 1, 1).mean == math.inf and LogLogistic(0, 1, 2).variance == math.inf
    assert LogLogistic(0, 1, 3).skewness == math.inf and LogLogistic(0, 1, 4).kurtosis == math.inf


REFUSED = [
    (lambda: PERT(3, 1, 2), r"did you mean PERT\(1, 2, 3\)"),
    (lambda: PERT(1, 1, 1), "give the number 1"),
    (lambda: ModPERT(1, 2, 3, 0), "gamma must be above 0; 4 is"),
    (lambda: Beta(0, 1), "alpha must be above 0"),
    (lambda: Beta(1, -1), "beta must be above 0"),
    (lambda: Beta(1, 1, 2, 2), "minimum must be below maximum"),
    (lambda: Gamma(0, 1), "shape must be above 0"),
    (lambda: Gamma(1, 0), "1 / rate"),
    (lambda: Erlang(1.5, 1), "whole number from 1; Gamma"),
    (lambda: Erlang(0, 1), "whole number from 1"),
    (lambda: ChiSquared(0), "above 0"),
    (lambda: Rayleigh(-1), "scale must be above 0"),
    (lambda: Logistic(0, 0), "scale must be above 0"),
    (lambda: LogLogistic(0, 0, 1), "scale must be above 0"),
    (lambda: LogLogistic(0, 1, 0), "shape must be above 0"),
    (lambda: LogLogistic(0, 1, 0.01), "leave the range of float64"),
    (lambda: Pareto(0, 1), "smallest value"),
    (lambda: Pareto(1, 0), "shape must be above 0"),
    (lambda: Pareto(1, 0.01), "leave the range of float64"),
    (lambda: Gumbel(0, 0), "scale must be above 0"),
    (lambda: StudentT(0), "at least 1/8"),
    (lambda: StudentT(0.01), "at least 1/8"),
    (lambda: IntUniform(1, 2.5), "whole numbers .* Uniform"),
    (lambda: IntUniform(2, 2), "give 2"),
    (lambda: IntUniform(2, 1), r"did you mean IntUniform\(1, 2\)"),
    (lambda: IntUniform(1, 2**21).scaled(2), "use Uniform instead"),
    (lambda: DiscreteUniform([]), "at least one value"),
    (lambda: DiscreteUniform([1, "a"]), r"DiscreteUniform: values\[1\] must be a finite number"),
    (lambda: Binomial(2.5, 0.5), "whole number from 1"),
    (lambda: Binomial(10, 30), "30 % is p=0.3"),
    (lambda: Binomial(2**52, 0.5), "more than 1,000,000 values"),
    (lambda: Poisson(0), "give the number 0"),
    (lambda: Poisson(1e300), "more than 1,000,000 values"),
    (lambda: Geometric(0), "else no trial ever succeeds"),
    (lambda: Geometric(1e-300), "more than 1,000,000 values"),
    (lambda: NegativeBinomial(0, 0.5), "successes must be above 0"),
    (lambda: NegativeBinomial(1, 0), "else no trial ever succeeds"),
    (lambda: NegativeBinomial(1, 1.5), "between 0 and 1; 1.5 % is p=0.015"),
    (lambda: Hypergeometric(11, 5, 10), "draws must not exceed the population"),
    (lambda: Hypergeometric(5, 11, 10), "the order is draws, successes, population"),
    (lambda: Hypergeometric(-1, 5, 10), "whole numbers"),
    (lambda: Cumulative(1, 1, [], []), "minimum must be below maximum"),
    (lambda: Cumulative(0, 1, [0.5], []), "1 values and 0 probabilities"),
    (lambda: Cumulative(0, 1, [0.5, 0.2], [0.1, 0.2]), "values must ascend"),
    (lambda: Cumulative(0, 1, [0.2, 0.5], [0.3, 0.2]), "probabilities must ascend"),
    (lambda: Cumulative(0, 1, 5, [0.2]), "Cumulative: values must be a list of numbers"),
    (lambda: Histogram(0, 1, []), "weights add up to 0"),
    (lambda: Histogram(0, 1, [1, -1, 3]), "below 0"),
    (lambda: Histogram(1, 0, [1]), "minimum must be below maximum"),
    (lambda: Empirical([3, 3]), "two different values"),
    (lambda: General(0, 1, [0.5], [0]), "heights add up to 0"),
    (lambda: General(0, 1, [0.5, 0.6], [1]), "2 values and 1 heights"),
    (lambda: General(0, 1, [2], [1]), "values must ascend, between"),
    (lambda: General(0, 1, [], []), "heights add up to 0"),
]


@pytest.mark.parametrize(("make", "says"), REFUSED, ids=[f"{row}: {says}" for row, (_, says) in enumerate(REFUSED)])
def test_parameters_that_make_no_sense_are_refused_with_advice(make, says):
    with pytest.raises(InputError, match=says):
        make()


@pytest.mark.parametrize(
    "law",
    [
        PERT(1, 2, 3),
        ModPERT(1, 2, 3, gamma=2.5),
        Beta(2, 3, -1, 4),
        Cumulative(0, 10, [2, 6], [0.25, 0.5]),
        General(0, 3, [1, 2], [2, 2]),
        Histogram(-1, 5, [1, 0, 4]),
        Empirical([1, 5]),
        DiscreteUniform([3, 1]),
        Hypergeometric(3, 5, 10),
    ],
    ids=repr,
)
def test_a_repr_parses_to_an_equal_law(law):
    assert parse_distribution(repr(law)) == law
    assert hash(parse_distribution(repr(law))) == hash(law)


def test_a_default_may_be_left_out():
    assert parse_distribution("ModPERT(1, 2, 3)") == ModPERT(1, 2, 3, 4)
    assert parse_distribution("Beta(2, 3)").mean == pytest.approx(0.4)
    assert Uniform(0, 1).quantile(0.25) == pytest.approx(float(Beta(1, 1).quantile(0.25)), rel=1e-15)
