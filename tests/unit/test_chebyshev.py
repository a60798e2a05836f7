"""Tables of polynomials, held against closed forms, SciPy, and quantiles worked out to 50 digits with mpmath."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ultramc.address import RangeRef
from ultramc.distributions import StudentT
from ultramc.distributions.chebyshev import PARTS, approximated
from ultramc.distributions.law import computed
from ultramc.engines.array import evaluate
from ultramc.engines.base import CANONICAL_BLOCK, Job
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.program import Builder, Instruction, Program, Ref, Slot, constant, interval_of
from ultramc.reference import ELEMENTWISE, _piece
from ultramc.sampling import Site

STEPS = np.concatenate(
    [
        np.random.default_rng(3).integers(0, 2**52, 500).astype(float),
        np.floor(2.0 ** np.linspace(0, 51, 300)),
        2.0**52 - 1 - np.floor(2.0 ** np.linspace(0, 51, 300)),
        np.floor(2.0**52 * np.array([10.0**-k for k in range(1, 15)])),
        2.0**52 - 1 - np.floor(2.0**52 * np.array([10.0**-k for k in range(1, 15)])),
        [0.0, 1.0, 2.0**52 - 2, 2.0**52 - 1],
    ]
)
BELOW = (2 * STEPS + 1) * 2.0**-53  # as the draws are made
ABOVE = 1 - BELOW


def split(lower, upper):
    """A quantile of two functions, each of the probability of its own tail."""

    def quantile(below, above):
        x = np.empty(below.shape)
        low = below <= above
        x[low], x[~low] = lower(below[low]), upper(above[~low])
        return x

    return quantile


def gamma(shape):
    return split(lambda w: scipy.special.gammaincinv(shape, w), lambda w: scipy.special.gammainccinv(shape, w))


def beta(a, b):
    return split(lambda w: scipy.special.betaincinv(a, b, w), lambda w: scipy.special.betainccinv(a, b, w))


def student(degrees):
    """Not SciPy's ppf, which before 1.17 is good to 1e-11 only."""
    return lambda below, above: computed(StudentT(degrees).exactly_at, below, above)


def of(law):
    return split(law.ppf, law.isf)


def gamma_of_large_shape(shape):
    """Temme's inversion, DLMF 8.12.21 and 8.12.22, to 16 digits from shape 1e5: SciPy's inverse is wrong by 2e-9 there (at 1e6)."""

    def deviate(z):
        polynomial = np.polynomial.polynomial.polyval
        h = z / math.sqrt(shape)
        h = (
            h
            + polynomial(h, [-1 / 3, 1 / 36, 1 / 1620, -7 / 6480, 5 / 18144, -11 / 382725]) / shape
            + polynomial(h, [-7 / 405, -7 / 2592, 533 / 204120, -1579 / 2099520, 109 / 1749600]) / shape**2
            + polynomial(h, [449 / 102060, -63149 / 20995200, 29233 / 36741600]) / shape**3
        )
        return shape * polynomial(h, [1, 1, 1 / 3, 1 / 36, -1 / 270, 1 / 4320, 1 / 17010, -139 / 5443200, 1 / 204120])

    return split(lambda w: deviate(scipy.special.ndtri(w)), lambda w: deviate(-scipy.special.ndtri(w)))


def table(quantile, *tolerance):
    pieces = approximated(quantile, *tolerance)
    assert pieces is not None
    return pieces


def largest_error(quantile, pieces):
    """Relative, but near a zero to the size that is 4 % of the probability away; what is below 1e-290 is 0."""
    want, near = quantile(BELOW, ABOVE), quantile(np.array([0.46]), np.array([0.54]))
    size = np.maximum(np.abs(want), np.abs(near) if want.min() < 0 < want.max() else 1e-290)
    # Next to one half SciPy's betaincinv is off by 1e-8 (1.13, 1.13: its value there exceeds those above).
    trusted = (BELOW == 0.5) | (np.abs(BELOW - 0.5) > 1e-12)
    return np.max((np.abs(evaluate("piecewise", BELOW, ABOVE, pieces=pieces) - want) / size)[trusted])


def logarithmic(low, high):
    return st.floats(math.log(low), math.log(high)).map(math.exp)


# Accuracy

CLOSED = {
    "exponential": lambda below, above: np.where(below < above, -np.log1p(-below), -np.log(above)),
    "logistic": lambda below, above: np.log(below) - np.log(above),
    "Pareto": lambda below, above: np.where(below < above, np.exp(-3 * np.log1p(-below)), above**-3.0),
    "power": lambda below, above: below**7.0,
    "uniform": lambda below, above: below,
    "normal": split(scipy.special.ndtri, lambda w: -scipy.special.ndtri(w)),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms(name):
    pieces = table(CLOSED[name])
    assert largest_error(CLOSED[name], pieces) <= 5e-14
    assert pieces.error <= 5e-14


@settings(max_examples=25, deadline=None, derandomize=True)
@given(logarithmic(0.05, 4e4))
def test_gamma(shape):
    assert largest_error(gamma(shape), table(gamma(shape))) <= 1e-12


@settings(max_examples=25, deadline=None, derandomize=True)
@given(logarithmic(0.3, 1e4), logarithmic(0.3, 1e4))
def test_beta(a, b):
    pieces = approximated(beta(a, b))
    assume(pieces is not None)  # SciPy 1.13 has noise for a few parameters, which is refused
    assert largest_error(beta(a, b), pieces) <= 1e-12


@settings(max_examples=25, deadline=None, derandomize=True)
@given(logarithmic(0.3, 1e6))
def test_student(degrees):
    quantile = student(degrees)
    assert largest_error(quantile, table(quantile)) <= 1e-12


@pytest.mark.parametrize("law", [scipy.stats.invgauss(0.5), scipy.stats.ncx2(3, 2), scipy.stats.johnsonsu(1, 2)])
def test_other_laws(law):
    quantile = of(law)
    assert largest_error(quantile, table(quantile)) <= 1e-12


TINY = 2.0**-53
TRUTH = [
    (gamma(0.05), 1e-12, 5.844632057286676636288e-241, 21.69765925039655413903),
    (gamma(0.05), 1e-6, 5.844632057286584051071e-121, 8.696862667919894659068),
    (gamma(0.05), 0.3, 2.037897188732664386339e-11, 0.0004665636848952590949882),
    (gamma(2.5), TINY, 6.711114655705428686241e-7, 42.09751611826065609142),
    (gamma(2.5), 3 * TINY, 1.041461467650987338091e-6, 40.9587471510467093934),
    (gamma(2.5), 1e-12, 2.562321748415267945982e-5, 32.61931810668392233503),
    (gamma(2.5), 0.3, 1.499954066379953105022, 3.032214992077452481938),
    (gamma(1e4), TINY, 9201.039065708971897485, 10843.22177989330607293),
    (gamma(1e4), 1e-6, 9531.835117189806533951, 10482.56116463885575478),
    (gamma_of_large_shape(1e6), TINY, 991812.5822192998083676, 1008231.682068477915099),
    (gamma_of_large_shape(1e6), 1e-6, 995253.7719775000991133, 1004760.624713473599914),
    (gamma_of_large_shape(1e6), 0.3, 999475.3579172359589177, 1000524.158746730053054),
    (beta(0.3, 0.7), TINY, 1.094155485777532869024e-53, 1.0),
    (beta(0.3, 0.7), 1e-6, 1.663584796749699128489e-20, 0.9999999888059795668648),
    (beta(2, 3), TINY, 4.301594725588786235472e-9, 0.9999969722704820150872),
    (beta(2, 3), 0.3, 0.2723839420751053410309, 0.5084047548725844031242),
    (beta(1.5, 60), 1e-6, 2.006752814944463241189e-6, 0.2247006866412587222954),
    (student(0.3), TINY, -4.572209944138852564926e51, 4.572209944138852564926e51),
    (student(2.5), 1e-6, -220.1734291782368453618, 220.1734291782368453618),
    (student(30), 0.3, -0.530019003906504509765, 0.530019003906504509765),
]


@pytest.mark.parametrize(("quantile", "tail", "low", "high"), TRUTH)
def test_both_tails_to_twelve_digits(quantile, tail, low, high):
    pieces = table(quantile)
    assert evaluate("piecewise", np.array([tail]), np.array([1 - tail]), pieces=pieces).item() == pytest.approx(low, rel=1e-12, abs=0)
    assert evaluate("piecewise", np.array([1 - tail]), np.array([tail]), pieces=pieces).item() == pytest.approx(high, rel=1e-12, abs=0)


# Ends, zeros and what lies outside


def test_the_median_of_a_symmetric_law_is_its_centre():
    pieces = table(student(3))
    assert evaluate("piecewise", np.array([0.5]), np.array([0.5]), pieces=pieces).item() == 0.0
    next_to = math.nextafter(0.5, 0)
    assert abs(evaluate("piecewise", np.array([next_to]), np.array([1 - next_to]), pieces=pieces).item()) < 1e-13


@pytest.mark.parametrize("quantile", [gamma(0.01), beta(0.05, 0.05), beta(0.05, 1e4), beta(1e4, 0.05)])
def test_values_that_underflow_or_reach_the_end(quantile):
    pieces = table(quantile)
    found = evaluate("piecewise", BELOW, ABOVE, pieces=pieces)
    least, largest = pieces.interval
    assert (least, largest) == tuple(quantile(np.array([TINY, 1 - TINY]), np.array([1 - TINY, TINY])))
    assert found.min() >= least and found.max() <= largest
    assert largest_error(quantile, pieces) <= 1e-12


@pytest.mark.parametrize("value", [0.0, 3.25, -7e200])
def test_a_constant(value):
    pieces = table(lambda below, above: np.full(below.shape, value))
    assert (evaluate("piecewise", BELOW, ABOVE, pieces=pieces) == value).all()
    assert pieces.interval == (value, value)


def test_rising_but_for_rounding():
    for quantile in (gamma(0.05), gamma(40), beta(0.3, 0.7)):
        order = np.argsort(STEPS)
        found = evaluate("piecewise", BELOW[order], ABOVE[order], pieces=table(quantile))
        assert (np.diff(found) >= -1e-14 * found[1:]).all()


def test_outside_are_the_ends_and_nan_stays():
    pieces = table(CLOSED["logistic"])
    least, largest = pieces.interval
    below, above = np.array([0.0, 1.0, -3.0, 5.0, 1e-300, math.nan, 0.3]), np.array([1.0, 0.0, 4.0, -4.0, 1.0, 0.3, math.nan])
    want = np.array([least, largest, least, largest, least, math.nan, math.nan])
    assert evaluate("piecewise", below, above, pieces=pieces) == pytest.approx(want, rel=1e-14, nan_ok=True)


# What is refused

REFUSED = {
    "noise": lambda below, above: 1 + below + 1e-9 * np.sin(1e6 * below),
    "a jump": lambda below, above: np.where(below < 0.3, 1.0, 2.0),
    "a kink": lambda below, above: np.maximum(below, 0.3),
    "NaN somewhere": lambda below, above: np.where(below > 0.9, math.nan, below),
    "infinite": lambda below, above: 1e308 * 10 * below,
    "steeper than 64 parts can follow": lambda below, above: np.exp(np.maximum(-600.0, 900 * np.log(below))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_polynomials_cannot_follow_is_refused(name):
    assert approximated(REFUSED[name]) is None


def test_a_quantile_that_is_measured_from_either_end_is_followed():
    """As that of the beta distribution is: from 0 below the median, from 1 above it."""
    pieces = approximated(lambda below, above: np.where(below <= above, below**2, -(above**3)))
    assert pieces is not None
    below = np.array([2.0**-50, 0.1, 0.5, 0.6, 1 - 2.0**-40])
    found = evaluate("piecewise", below, 1 - below, pieces=pieces)
    np.testing.assert_allclose(found, np.where(below <= 0.5, below**2, -((1 - below) ** 3)), rtol=1e-13)


def test_steep_laws_get_more_parts():
    assert table(gamma(2.5)).parts == PARTS[0]
    assert table(gamma(0.05)).parts == PARTS[1]
    assert table(gamma(0.01)).parts == PARTS[2]


def test_a_tolerance_out_of_reach_is_refused():
    assert approximated(gamma(2.5), 1e-17) is None


def test_noise_is_given_up_early():
    calls = []

    def noisy(below, above):
        calls.append(below.size)
        return REFUSED["noise"](below, above)

    assert approximated(noisy) is None
    assert max(calls) < 13 * 2 * 52 * PARTS[2]


# The op in programs


LOGISTIC = approximated(CLOSED["logistic"])
ONES = (1, 1, 1, 1)
CELL = RangeRef("S", 1, 1, 1, 1)


def drawn(builder, shape=ONES):
    u = builder.append("uniform", site=Site("S", 1, 1), shape=shape)
    return u, builder.append("sub", constant(1.0), u)


def test_constants_fold():
    folded = Builder().emit("piecewise", 0.25, 0.75, pieces=LOGISTIC)
    assert folded.shape == (1, 1, 1, 1, 1)
    assert folded.item() == pytest.approx(-math.log(3), rel=1e-13)


def test_the_interval_is_that_of_the_draws():
    builder = Builder()
    low, high = interval_of(builder.emit("piecewise", *drawn(builder), pieces=LOGISTIC))
    assert high == -low == pytest.approx(53 * math.log(2), rel=1e-13)


def test_one_table_is_one_instruction_and_prints_short():
    builder = Builder()
    below, above = drawn(builder)
    first = builder.emit("piecewise", below, above, pieces=LOGISTIC)
    assert builder.emit("piecewise", below, above, pieces=LOGISTIC) is first
    assert builder.emit("piecewise", below, above, pieces=approximated(CLOSED["logistic"])) is not first
    line = str(Program(tuple(builder.instructions), (), ())).splitlines()[2]
    assert line.startswith("%2 = piecewise %0 %1 pieces=<424 of degree ") and len(line) < 100


@pytest.mark.parametrize(
    ("operands", "attributes", "said"),
    [
        ((constant(0.5), constant(0.5)), {}, "without its attribute `pieces`"),
        ((constant(0.5), constant(0.5)), {"pieces": None}, "without its attribute `pieces`"),
        ((constant(0.5), np.ones((1,) * 5, bool)), {"pieces": LOGISTIC}, "takes number, number; has number, mask"),
        ((constant(0.5),), {"pieces": LOGISTIC}, "takes 2 operands"),
    ],
)
def test_illegal_instructions(operands, attributes, said):
    instruction = Instruction("piecewise", operands, (Ref(0, ONES, "number"),), CELL, attributes)
    with pytest.raises(ValueError, match=said):
        Program((instruction,), (), ()).check_legal()


@settings(max_examples=300)
@given(st.floats(), st.floats())
def test_the_expression_is_the_definition(below, above):
    found = evaluate("piecewise", np.array([below]), np.array([above]), pieces=LOGISTIC).item()
    assert repr(found) == repr(_piece(below, above, LOGISTIC))
    assert "piecewise" not in ELEMENTWISE  # which knows no attributes


@pytest.mark.parametrize("shape", [ONES, (2, 3, 1, 1)])
def test_the_numpy_engine_gives_the_same_bits_over_many_blocks(shape):
    builder, count = Builder(), 3 * CANONICAL_BLOCK + 5
    below, above = drawn(builder, shape)
    x = builder.append("as_array", builder.append("piecewise", below, above, pieces=LOGISTIC))
    draws = builder.append("as_array", below)
    cells = RangeRef("S", 1, 1, shape[0], shape[1])
    program = Program(tuple(builder.instructions), (Slot("x", cells, x, 0, 1), Slot("u", cells, draws, 0, 1)), ())
    engine = NumPyEngine()
    found, u = engine.run(engine.compile(program), Job(1, count), 0, count).payloads
    assert np.array_equal(found, evaluate("piecewise", u, 1 - u, pieces=LOGISTIC))
    assert found == pytest.approx(np.log(u / (1 - u)), rel=1e-12, abs=1e-13)
