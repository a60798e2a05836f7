"""The definition of the ops, held against NumPy, SciPy, published values and Excel's documentation."""

import math

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from ultramc import reference
from ultramc.address import RangeRef
from ultramc.engines.base import Job
from ultramc.errors import EngineValidationError
from ultramc.ops import OPS
from ultramc.program import Builder, Program, Slot, constant
from ultramc.reference import ELEMENTWISE, REDUCTIONS, Cells, confirm, evaluate
from ultramc.sampling import Site, uniforms
from ultramc.tolerance import Tolerance
from ultramc.values import ExcelError

FINITE = st.floats(allow_nan=False, allow_infinity=False)
ANY = st.floats()
ONE = RangeRef("S", 1, 1, 1, 1)
HALF = math.sqrt(0.5)


def same(found, want, tolerance):
    if math.isnan(want) or math.isinf(want):
        return found == want or (math.isnan(found) and math.isnan(want))
    return abs(found - want) <= tolerance * abs(want) + (5e-324 if tolerance else 0)


NUMPY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "abs": np.absolute,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "min": np.minimum,
    "max": np.maximum,
    "less": np.less,
    "less_equal": np.less_equal,
    "equal": np.equal,
    "is_finite": np.isfinite,
    "power": np.power,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log10": np.log10,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": scipy.special.erf,
}


@pytest.mark.parametrize("op", sorted(NUMPY))
@given(x=ANY, y=ANY)
def test_elementwise_ops_are_those_of_ieee_and_numpy(op, x, y):
    if op == "power" and x == -math.inf and y == 0.5:
        return  # left open by the contract
    operands = (x, y)[: OPS[op].arity]
    with np.errstate(all="ignore"):
        want = float(NUMPY[op](*map(np.float64, operands)))
    assert same(float(ELEMENTWISE[op](*operands)), want, OPS[op].tolerance), operands


# Abramowitz and Stegun; NORM.S.INV, GAMMA.DIST and so on as Excel's documentation shows them
KNOWN = [
    ("exp", (1.0,), math.e, 1e-15),
    ("log", (10.0,), 2.302585092994046, 1e-15),
    ("erf", (0.5,), 0.5204998778130465, 1e-14),
    ("erfc", (2.0,), 0.004677734981047266, 1e-13),
    ("normal_cdf", (1.96,), 0.9750021048517795, 1e-13),
    ("normal_cdf", (-8.0,), 6.220960574271785e-16, 1e-12),
    ("normal_quantile", (0.975,), 1.959963984540054, 1e-14),
    ("normal_quantile", (0.5,), 0.0, 0.0),
    ("normal_quantile", (0.0,), -math.inf, 0.0),
    ("normal_quantile", (1.0,), math.inf, 0.0),
    ("normal_quantile", (-0.1,), math.nan, 0.0),
    ("log_gamma", (0.5,), math.log(math.pi) / 2, 1e-14),
    ("log_gamma", (5.0,), math.log(24.0), 1e-14),
    ("log_gamma", (0.0,), math.inf, 0.0),
    ("gamma_p", (1.0, 2.0), 1 - math.exp(-2.0), 1e-14),
    ("gamma_q", (1.0, 2.0), math.exp(-2.0), 1e-14),
    ("gamma_p_inverse", (1.0, 0.5), math.log(2.0), 1e-14),
    ("gamma_q_inverse", (1.0, 0.25), math.log(4.0), 1e-14),
    ("beta_i", (2.0, 1.0, 0.3), 0.09, 1e-14),
    ("beta_i_inverse", (2.0, 1.0, 0.09), 0.3, 1e-14),
    ("beta_i_upper_inverse", (2.0, 1.0, 0.91), 0.3, 1e-14),
    ("power", (0.0, 0.0), 1.0, 0.0),
    ("power", (-8.0, 1 / 3), math.nan, 0.0),
    ("power", (-0.0, -3.0), -math.inf, 0.0),
    ("modulo", (-3.0, 2.0), 1.0, 0.0),
    ("modulo", (3.0, -2.0), -1.0, 0.0),
    ("modulo", (3.0, 0.0), math.nan, 0.0),
    ("round_half", (2.5,), 3.0, 0.0),
    ("round_half", (-2.5,), -3.0, 0.0),
    ("round_half", (1.005 * 100,), 101.0, 0.0),  # ROUND(1.005, 2) is 1.01
    ("round_half", (2.49,), 2.0, 0.0),
    ("round_half", (1e15,), 1e15, 0.0),
    ("round_half", (2.0**52 + 1,), 2.0**52 + 1, 0.0),
    ("round_half", (3e14 + 0.25,), 3e14, 0.0),
    ("mend", (0.1 * 3 * 10,), 3.0, 0.0),
    ("mend", (2.9999,), 2.9999, 0.0),
    ("sin", (math.pi / 6,), 0.5, 1e-15),
    ("cos", (math.pi / 4,), HALF, 1e-15),
    ("sin", (math.inf,), math.nan, 0.0),
    ("snap", (0.1 + 0.2 - 0.3, 0.1 + 0.2, 0.3), 0.0, 0.0),  # =0.1+0.2-0.3 shows 0 in Excel
    ("snap", (0.1, 0.3, 0.2), 0.1, 0.0),
    ("snap", (1e-17, 1.0, math.nan), 1e-17, 0.0),
]


@pytest.mark.parametrize(("op", "operands", "want", "tolerance"), KNOWN)
def test_known_values(op, operands, want, tolerance):
    assert same(ELEMENTWISE[op](*operands), want, tolerance)


@pytest.mark.parametrize(
    ("x", "y", "equal"), [(0.3, 0.1 + 0.2, True), (1.0, 1 + 2.0**-48, False), (0.0, -0.0, True), (math.nan, math.nan, False)]
)
def test_near_is_equality_to_fifteen_digits(x, y, equal):
    assert ELEMENTWISE["near"](x, y) is equal


@pytest.mark.parametrize("op", ["floor", "ceil", "trunc", "round_half", "mend", "neg"])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_the_sign_of_zero_stays(op, zero):
    want = -zero if op == "neg" else zero
    assert math.copysign(1, ELEMENTWISE[op](zero)) == math.copysign(1, want)


@given(st.lists(FINITE, min_size=1, max_size=30))
def test_sums_and_products_go_from_left_to_right(items):
    with np.errstate(all="ignore"):
        assert same(REDUCTIONS["sum"](items), float(np.cumsum(items)[-1]), 0.0)
        assert same(REDUCTIONS["product"](items), float(np.cumprod(items)[-1]), 0.0)


@given(st.lists(ANY, min_size=1, max_size=30))
def test_extremes(items):
    assert same(REDUCTIONS["minimum"](items), float(np.min(items)), 0.0)
    assert same(REDUCTIONS["maximum"](items), float(np.max(items)), 0.0)


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_masks(items):
    places = np.flatnonzero(items)
    found = [REDUCTIONS[op](items) for op in ("any", "all", "count", "first_true", "last_true")]
    assert found == [any(items), all(items), len(places), places[0] if len(places) else -1, places[-1] if len(places) else -1]


def test_the_first_error_wins():
    div0, na = ExcelError.DIV0.kind, ExcelError.NA.kind
    assert ELEMENTWISE["first_error"](div0, na) == div0
    assert ELEMENTWISE["first_error"](2, na) == na
    assert ELEMENTWISE["first_error"](2, 1) == 0
    assert REDUCTIONS["first_error_of"]([0, 3, na, div0]) == na
    assert REDUCTIONS["first_error_of"]([0, 3]) == 0


def test_every_op_is_defined():
    defined = {*ELEMENTWISE, *REDUCTIONS, *reference._SHAPES}
    assert {op for op in OPS if op not in defined and not hasattr(reference.Interpreter, f"_{op}")} == set()


def result_of(op, *operands, count=1, **attributes):
    """All elements of an op's result, one list for each iteration."""
    builder = Builder()
    result = builder.append(op, *operands, **attributes)
    if result.shape[:2] != (1, 1):
        result = builder.append("as_array", result)
    slot = Slot("out", RangeRef("S", 1, 1, result.shape[2], result.shape[3]), result, 0, 1)
    program = Program(tuple(builder.instructions), (slot,), ())
    return [evaluate(program, Job(3, count), iteration)[0][0] for iteration in range(count)]


TABLE = np.arange(12.0).reshape(1, 1, 3, 4, 1)
WINDOW = {"rows": 2, "columns": 2, "height": 1, "width": 1, "row_step": 1, "column_step": 1, "top": 1, "left": 2}


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "want"),
    [
        ("window", (TABLE,), WINDOW, [6, 7, 10, 11]),
        ("window", (TABLE,), {**WINDOW, "row_step": 0, "column_step": 0, "height": 2, "width": 2}, [6, 7, 10, 11]),
        ("window", (TABLE,), {**WINDOW, "row_step": -1}, [6, 7, 2, 3]),
        ("transpose", (TABLE[:, :, :2, :2],), {}, [0, 4, 1, 5]),
        ("as_array", (np.arange(6.0).reshape(2, 3, 1, 1, 1),), {}, [0, 1, 2, 3, 4, 5]),
        ("join", (TABLE[:, :, :1, :2], constant(9.0)), {"size": (1, 3), "places": ((0, 0), (0, 2))}, [0, 1, 9]),
        ("join", (TABLE[:, :, :1, :2], constant(9.0)), {"size": (1, 2), "places": ((0, 0), (0, 0))}, [9, 1]),
        ("gather", (np.array([0, 11, -5, 99, 2.9, math.nan, math.inf]).reshape(1, 1, 1, -1, 1), TABLE), {}, [0, 11, 0, 11, 2, 0, 11]),
        ("sort", (np.array([3, math.nan, -1, 2.0]).reshape(1, 1, 2, 2, 1),), {}, [-1, 2, 3, math.nan]),
        ("search", (np.array([-1, 0, 4.5, 99, math.nan]).reshape(1, 1, 1, -1, 1), TABLE), {}, [0, 0, 5, 12, 0]),
    ],
)
def test_shapes_and_order_by_hand(op, operands, attributes, want):
    assert np.array_equal(result_of(op, *operands, **attributes)[0], want, equal_nan=True)


def test_sources():
    site = Site("S", 4, 2)
    assert result_of("iteration", shape=(1, 1, 1, 1), count=3) == [[0.0], [1.0], [2.0]]
    drawn = np.array(result_of("uniform", site=site, shape=(2, 1, 1, 1), count=5)).T
    assert np.array_equal(drawn, [uniforms(3, Site("S", row, 2), 0, 5) for row in (4, 5)])


def test_an_axis_of_length_one_serves_every_index():
    cells = Cells((1, 3, 1, 1), [1.0, 2.0, 3.0])
    assert cells.at(7, 2, 5, 5) == 3.0
    assert cells.array(4, 1) == [2.0]


# Confirming a run


def identity():
    builder = Builder()
    result = builder.append("uniform", site=Site("S", 1, 1), shape=(1, 1, 1, 1))
    return Program(tuple(builder.instructions), (Slot("draw", ONE, result, 0, 1),), ())


def samples(scale=1.0):
    return {"draw": uniforms(9, Site("S", 1, 1), 0, 8)[None] * scale}


def test_what_agrees_is_confirmed():
    confirm(identity(), Job(9, 8), range(8), samples(1 + 1e-12), {}, "other", Tolerance())


@pytest.mark.parametrize("wrong", [samples(1 + 1e-7), samples(math.nan), samples(math.inf)])
def test_what_differs_is_discarded(wrong):
    with pytest.raises(EngineValidationError, match=r"engine 'other' differs from the reference in iteration 0 of S!A1.*discarded"):
        confirm(identity(), Job(9, 8), range(8), wrong, {}, "other", Tolerance())


def test_a_wrong_kind_is_discarded():
    with pytest.raises(EngineValidationError, match=r"\(kind 8\), not .*\(kind 0\)"):
        confirm(
            identity(), Job(9, 8), [3], {"draw": samples()["draw"][:, 3:4]}, {"draw": np.full((1, 1), 8, np.uint8)}, "other", Tolerance()
        )


def test_one_huge_sample_does_not_excuse_the_others():
    """Squares of numbers above 1e154 overflow; a tolerance of infinity would accept anything."""
    wrong = samples()
    wrong["draw"][0, 7] = 1e200
    with pytest.raises(EngineValidationError, match="iteration 7"):
        confirm(identity(), Job(9, 8), range(8), wrong, {}, "other", Tolerance())


def test_samples_without_a_number_are_no_trouble():
    builder = Builder()
    tag = builder.append(
        "select", builder.append("is_finite", builder.append("uniform", site=Site("S", 1, 1), shape=(1, 1, 1, 1))), *tags(8, 0)
    )
    program = Program(tuple(builder.instructions), (Slot("failed", ONE, constant(0.0), tag, 257),), ())
    confirm(
        program, Job(9, 8), range(8), {"failed": np.full((1, 8), math.nan)}, {"failed": np.full((1, 8), 8, np.uint8)}, "other", Tolerance()
    )


def tags(*kinds):
    return [np.full((1, 1, 1, 1, 1), kind, np.uint8) for kind in kinds]
