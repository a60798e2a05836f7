"""Laws whose parameters vary by iteration: the formulas, held against the same laws with constants, and against SciPy."""

from __future__ import annotations

import io
import math

import numpy as np
import openpyxl
import pytest
import scipy.stats
from attrs import fields
from hypothesis import given, settings
from hypothesis import strategies as st

import ultramc as mc
from ultramc.distributions import (
    DISTRIBUTIONS,
    PERT,
    Bernoulli,
    Beta,
    Binomial,
    ChiSquared,
    Discrete,
    DiscreteUniform,
    Erlang,
    Exponential,
    Gamma,
    Geometric,
    Gumbel,
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
    StudentT,
    Triangular,
    Uniform,
    Weibull,
)
from ultramc.distributions.continuous import LogNormalOfLogarithm
from ultramc.distributions.probability import Drawn, Probability
from ultramc.errors import InputError
from ultramc.program import Builder, constant
from ultramc.sampling import Site, uniforms
from ultramc.terms import NUMBERS, Term

ROWS = [  # a law and two sets of its parameters
    (Normal, (100, 10), (-3, 0.001)),
    (LogNormal, (100, 10), (0.5, 2)),
    (LogNormalOfLogarithm, (1, 0.5), (-2, 1.5)),
    (Triangular, (90, 100, 130), (0, 0, 1)),
    (PERT, (90, 100, 130), (0, 1, 1)),
    (ModPERT, (-3, 1, 5, 6), (0, 1, 2, 0.5)),
    (Uniform, (-2, 7), (0, 1)),
    (Beta, (2, 3, 0, 1), (0.5, 40, -1, 4)),
    (Gamma, (2.5, 4), (0.3, 1)),
    (Erlang, (3, 2), (40, 0.1)),
    (ChiSquared, (5,), (0.7,)),
    (Exponential, (4,), (0.01,)),
    (Weibull, (0.8, 3), (3.5, 0.01)),
    (Rayleigh, (3,), (0.2,)),
    (Logistic, (100, 3), (0, 1)),
    (LogLogistic, (0, 2, 5), (-7, 2, 9.5)),
    (Pareto, (2, 5.5), (1, 0.7)),
    (Gumbel, (100, 3), (0, 1)),
    (StudentT, (5,), (1.5,)),
    (Bernoulli, (0.3,), (0.999,)),
    (Binomial, (10, 0.3), (5_000, 0.001)),
    (Poisson, (4.2,), (900,)),
    (Geometric, (0.3,), (0.001,)),
    (NegativeBinomial, (3.5, 0.4), (0.1, 0.05)),
    (IntUniform, (1, 6), (-50, 1_000)),
]
U = np.concatenate((np.random.default_rng(7).random(400), [2.0**-53, 3 * 2.0**-53, 1 - 2.0**-53, 1e-12, 1 - 2.0**-40]))
each = pytest.mark.parametrize(("kind", "first", "second"), ROWS, ids=[kind.__name__ for kind, _, _ in ROWS])


def lanes(values):
    return Term(NUMBERS, np.asarray(values, dtype=float).reshape(1, 1, 1, 1, -1))


def at(kind, u, *parameters):
    return kind.quantile_formula(Drawn.of(lanes(u)), *map(lanes, parameters)).known.ravel()


def test_every_law_of_numbers_is_here():
    without = {"Discrete", "DiscreteUniform", "Hypergeometric", "Cumulative", "General", "Histogram", "Empirical"}
    assert {kind.__name__ for kind, _, _ in ROWS} == set(DISTRIBUTIONS) - without | {"LogNormalOfLogarithm"}


@each
def test_quantiles_of_parameters_that_vary(kind, first, second):
    """Every other iteration has the other parameters."""
    turn = np.arange(len(U)) % 2
    varying = at(kind, U, *(np.where(turn, *pair) for pair in zip(second, first, strict=True)))
    expected = np.where(turn, kind(*second).quantile(U), kind(*first).quantile(U))
    assert varying == pytest.approx(expected, rel=0 if kind.discrete else 1e-11, abs=0 if kind.discrete else 1e-13)


@each
def test_shares_are_the_cdf_and_what_is_left(kind, first, second):
    """Each of the two to 1e-9 of itself, far into its own tail."""
    for parameters in (first, second):
        law = kind(*parameters)
        tail = np.array([1e-14, 1e-9, 1e-4, 0.2, 0.45])
        low, high = (law.exactly_at(Probability(*map(lanes, ends))).known.ravel() for ends in ((tail, 1 - tail), (1 - tail, tail)))
        terms = [lanes(parameter) for parameter in parameters]
        below, above = (
            kind.share_formula(lanes(low), *terms).below.known.ravel(),
            kind.share_formula(lanes(high), *terms).above.known.ravel(),
        )
        if kind.discrete:
            assert (below >= tail * (1 - 1e-12)).all() and (above <= tail * (1 + 1e-9)).all()
            before = kind.share_formula(lanes(low - 1), *terms).below.known.ravel()
            assert (before < tail).all()
            continue
        x, found, exact = np.concatenate((low, high)), np.concatenate((below, above)), np.tile(tail, 2)
        ends = [end for end in law.support if math.isfinite(end)]  # that rounding of x is relative to
        slack = 2 * law.pdf(x) * np.spacing(np.abs([*x, *ends]).max() if len(ends) == 2 else np.abs(x))
        assert (np.abs(found - exact) <= 1e-9 * exact + slack).all()


@each
def test_shares_at_both_infinities(kind, first, second):
    place = kind.share_formula(lanes([-math.inf, math.inf]), *(lanes(parameter) for parameter in first))
    assert place.below.known.ravel().tolist() == [0, 1] and place.above.known.ravel().tolist() == [1, 0]


def test_triangles_with_their_mode_at_an_end():
    """2x - x², from either end."""
    x = np.array([1e-300, 1e-14, 1e-5, 0.3, 0.9, 1])
    assert Triangular(0, 0, 1).cdf(x) == pytest.approx(2 * x - x * x, rel=1e-15, abs=0)
    place = Triangular.share_formula(lanes(-x), *map(lanes, (-1, 0, 0)))
    assert place.above.known.ravel() == pytest.approx(2 * x - x * x, rel=1e-15, abs=0)
    assert Triangular(0, 1e-10, 1).cdf(2e-10) == pytest.approx(1e-10 + 2e-10 - 1e-20, rel=1e-9)


def test_students_cdf_next_to_its_median():
    """t with 2 degrees of freedom: 1/2 + x / (2 sqrt(2 + x²))."""
    x = np.array([-3.0, -1e-3, -1e-9, 1e-12, 1e-8, 0.5, 2.0])
    assert StudentT(2).cdf(x) - 0.5 == pytest.approx(x / (2 * np.sqrt(2 + x * x)), rel=1e-4, abs=1e-16)
    assert StudentT(2).cdf(x) == pytest.approx(0.5 + x / (2 * np.sqrt(2 + x * x)), rel=1e-15)


DEGENERATE = [
    (Normal, (5, 0), 5),
    (LogNormal, (5, 0), 5),
    (LogNormalOfLogarithm, (0, 0), 1),
    (Uniform, (5, 5), 5),
    (Triangular, (5, 5, 5), 5),
    (PERT, (5, 5, 5), 5),
    (ModPERT, (5, 5, 5, 4), 5),
    (Beta, (2, 3, 5, 5), 5),
    (IntUniform, (5, 5), 5),
    (Bernoulli, (0,), 0),
    (Bernoulli, (1,), 1),
    (Binomial, (0, 0.5), 0),
    (Binomial, (7, 0), 0),
    (Binomial, (7, 1), 7),
    (Binomial, (1, 1), 1),
    (Poisson, (0,), 0),
    (Geometric, (1,), 0),
    (NegativeBinomial, (3, 1), 0),
]


@pytest.mark.parametrize(("kind", "parameters", "value"), DEGENERATE, ids=[f"{kind.__name__}{given}" for kind, given, _ in DEGENERATE])
def test_a_law_of_one_value_gives_it(kind, parameters, value):
    assert kind.allows(*(lanes(parameter) for parameter in parameters)).known.all()
    assert at(kind, U, *parameters).tolist() == [value] * len(U)


NOT_ALLOWED = [
    (Normal, (0, -1)),
    (LogNormal, (0, 1)),
    (Triangular, (1, 3, 2)),
    (Uniform, (2, 1)),
    (Exponential, (0,)),
    (Erlang, (2.5, 1)),
    (IntUniform, (0, 1.5)),
    (Bernoulli, (1.1,)),
    (Binomial, (2.5, 0.5)),
    (Binomial, (-1, 0.5)),
    (Binomial, (5, -0.1)),
    (Binomial, (2**53, 0.5)),
    (Poisson, (-1,)),
    (Poisson, (1e17,)),
    (NegativeBinomial, (0, 0.5)),
    (NegativeBinomial, (2, 0)),
    (NegativeBinomial, (2, 1e-17)),
    (Geometric, (0,)),
]


@pytest.mark.parametrize(("kind", "parameters"), NOT_ALLOWED, ids=[f"{kind.__name__}{given}" for kind, given in NOT_ALLOWED])
def test_parameters_that_make_no_law_are_masked(kind, parameters):
    assert not kind.allows(*(lanes(parameter) for parameter in parameters)).known.any()
    nothing = [math.nan] * len(fields(kind))
    assert not kind.allows(*(lanes(parameter) for parameter in nothing)).known.any()
    at(kind, U, *nothing)  # and ends


counted = st.one_of(
    st.tuples(st.just(Binomial), st.tuples(st.integers(1, 10_000), st.floats(0.001, 0.999))),
    st.tuples(st.just(Poisson), st.tuples(st.floats(1e-6, 1e5))),
    st.tuples(st.just(NegativeBinomial), st.tuples(st.floats(0.05, 500), st.floats(0.01, 1))),
)


@given(counted, st.lists(st.integers(1, 2**52).map(lambda step: (2 * step - 1) * 2.0**-53), min_size=1, max_size=9))
@settings(max_examples=150, deadline=None)
def test_bisection_and_table_find_the_same_count(row, u):
    """But where u is a step of the distribution function to its last digits."""
    kind, parameters = row
    law, found = kind(*parameters), at(kind, u, *parameters)
    step = np.minimum(np.abs(law.cdf(found) - u), np.abs(law.cdf(found - 1) - u)) <= 1e-11 * np.minimum(u, 1 - np.array(u))
    assert ((found == law.quantile(u)) | step).all()


# In a program


COLUMN = {  # formulas in column B of parameters in column A: Gamma(2, 3), Uniform(0.01, 0.99), IntUniform(1, 50)
    "RiskPoisson(A1)": lambda g, p, n: scipy.stats.poisson(g),
    "RiskBinomial(A3,A2)": lambda g, p, n: scipy.stats.binom(n, p),
    "RiskBinomial(1,A2)": lambda g, p, n: scipy.stats.bernoulli(p),
    "RiskNegbin(A1,A2)": lambda g, p, n: scipy.stats.nbinom(g, p),
    "RiskGeomet(A2)": lambda g, p, n: scipy.stats.geom(p, -1),
    "RiskIntuniform(0,A3)": lambda g, p, n: scipy.stats.randint(0, n + 1),
}
LISTS = {
    "RiskDuniform(A1:A3)": lambda g, p, n, u: np.select([u <= 1 / 3, u <= 2 / 3], [g, p], n),
    "RiskDiscrete(A1:A3,{1,2,3})": lambda g, p, n, u: np.select([u <= 1 / 6, u <= 1 / 2], [g, p], n),
    "RiskDiscrete({7;8;9},A1:A3)": lambda g, p, n, u: np.select([u * (g + p + n) <= g, u * (g + p + n) <= g + p], [7, 8], 9),
}
SIZE = 1 + len(COLUMN) + len(LISTS)
ITERATIONS = 3_000


def simulation(**more):
    book = openpyxl.Workbook()
    sheet = book.active
    for row, value in enumerate((1.0, 0.5, 10.0), start=1):
        sheet.cell(row, 1, value)
    for row, formula in enumerate((*COLUMN, *LISTS), start=1):
        sheet.cell(row, 2, f"=_xll.{formula}")
    sheet.cell(SIZE, 2, "=IF(B1>3,1,0)")
    stream = io.BytesIO()
    book.save(stream)
    inputs = {"A1": Gamma(2, 3), "A2": Uniform(0.01, 0.99), "A3": IntUniform(1, 50)}
    return mc.Simulation(stream.getvalue(), inputs=inputs, outputs=[f"B{row + 1}" for row in range(SIZE)], **more)


@pytest.fixture(scope="module")
def result():
    return simulation().run(ITERATIONS, seed=5)


@pytest.fixture(scope="module")
def parameters():
    laws = (Gamma(2, 3), Uniform(0.01, 0.99), IntUniform(1, 50))
    return [law.quantile(uniforms(5, Site("Sheet", row, 1), 0, ITERATIONS)) for row, law in enumerate(laws, start=1)]


@pytest.mark.parametrize(("row", "formula"), list(enumerate(COLUMN, start=1)), ids=list(COLUMN))
def test_counts_in_a_sheet(result, parameters, row, formula):
    u = uniforms(5, Site("Sheet", row, 2), 0, ITERATIONS)
    drawn = result[f"B{row}"].samples
    oracle = COLUMN[formula](*parameters)
    assert (oracle.cdf(drawn) >= u * (1 - 1e-11)).all() and (oracle.cdf(drawn - 1) < u * (1 + 1e-11)).all()


@pytest.mark.parametrize(("row", "formula"), list(enumerate(LISTS, start=1 + len(COLUMN))), ids=list(LISTS))
def test_lists_in_a_sheet(result, parameters, row, formula):
    u = uniforms(5, Site("Sheet", row, 2), 0, ITERATIONS)
    assert result[f"B{row}"].samples == pytest.approx(LISTS[formula](*parameters, u), rel=1e-11)


def test_a_count_is_compared_as_it_may_come_out(result):
    """What is known of its size decides no condition too early."""
    assert 0 < result[f"B{SIZE}"].samples.mean() < 1


def test_programs_of_counts_are_legal_and_small():
    """One `repeat`, whatever the mean; a single trial takes none."""
    program = simulation().compiled.program
    program.check_legal()
    repeats = [instruction for instruction in program.instructions if instruction.op == "repeat"]
    assert sorted(str(instruction.cell) for instruction in repeats) == ["Sheet!B1", "Sheet!B2", "Sheet!B4"]


def test_lists_are_bounded():
    builder = Builder()
    weights = Term(builder, builder.append("uniform", site=Site("S", 1, 1), shape=(1, 1, 5_000, 1)))
    with pytest.raises(InputError, match="5,000 simulated weights, more than 4,096"):
        Discrete.quantile_formula(Drawn.of(Term(builder, constant(0.5))), weights, weights)


def test_lists_that_make_no_law():
    def allowed(*weights):
        return Discrete.allows(lanes(0), Term(NUMBERS, np.array(weights).reshape(1, 1, 1, -1, 1))).known.all()

    assert allowed(1.0, 0.0, 2.0) and not allowed(1.0, -1.0, 3.0) and not allowed(0.0, 0.0) and not allowed(1e308, 1e308)
    assert not allowed(1.0, math.nan) and not DiscreteUniform.allows(lanes([math.nan])).known.any()
