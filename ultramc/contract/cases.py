"""What the contract tries: rows of data, at least one for each op. What they should give is worked out by `reference`.

An operand is an array with the five axes of `ops`. Where its last axis has length one it is a constant; else element i of
it is what iteration i sees, which a program reads from a table by the op `gather`.
Left out on purpose, since libraries and processors differ and no cell shows it: which of -0 and 0 is the smaller, the
square root of -inf by `power`, and subnormal numbers, which Excel does not have either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ultramc.address import RangeRef
from ultramc.distributions.chebyshev import Pieces, Quantile, approximated
from ultramc.functions.kit import Texts
from ultramc.ops import OPS
from ultramc.program import Body, Builder, Operand, Program, Ref, Segments, Shape, Slot, along, constant, kind_of_operand, shape_of
from ultramc.sampling import Site, Tie
from ultramc.values import ExcelError, Kind, Scalar

Values = NDArray[Any]
CELL = RangeRef("Contract", 3, 2, 3, 2)
ANY_KIND = 2**24 - 1
FACTOR = ((1.0, 0.0, 0.0), (0.6, 0.8, 0.0), (-0.48, 0.6, 0.64))
TIE = Tie((Site("Contract", 3, 2), Site("Contract", 9, 9, 1), Site("Contract", 3, 2, 2)), FACTOR)


@frozen(eq=False)
class Case:
    """One use of an op. In place of a `body`, attributes hold a function of a builder and the body's parameters."""

    op: str
    id: str
    operands: tuple[Values, ...]
    attributes: Mapping[str, Any] = field(factory=dict)
    note: str = ""

    @property
    def iterations(self) -> int:
        """How many iterations see different values (7 where only the op itself varies)."""
        return max([operand.shape[4] for operand in self.operands if operand.shape[4] > 1], default=7)


# Operands


def simulated(values: Sequence[Any] | Values) -> Values:
    """One value for each iteration."""
    return np.asarray(values).reshape(1, 1, 1, 1, -1)


def fixed(values: Any, shape: Shape = (1, 1, 1, 1)) -> Values:
    """The same in each iteration."""
    return np.asarray(values).reshape(*shape, 1)


def spread(shape: Shape, iterations: int, *, low: float = -9.0, high: float = 9.0) -> Values:
    """Different numbers for each cell and iteration, in no order: multiples of the golden ratio, modulo one."""
    steps = np.arange(1, math.prod(shape) * iterations + 1) * 0.6180339887498949
    return (low + (high - low) * (steps % 1)).reshape(*shape, iterations)


def pairs(x: Sequence[Any] | Values, y: Sequence[Any] | Values) -> tuple[Values, Values]:
    """Each of x with each of y."""
    return simulated(np.repeat(x, len(y))), simulated(np.tile(y, len(x)))


def triples(x: Sequence[Any] | Values, y: Sequence[Any] | Values, z: Sequence[Any] | Values) -> tuple[Values, ...]:
    return tuple(simulated(column) for column in zip(*product(x, y, z), strict=True))


NUMBERS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.5,
    -2.5,
    3.7,
    -3.7,
    1e15 + 0.5,
    1e-9,
    -1e-290,
    1e290,
    -1e290,
    math.inf,
    -math.inf,
    math.nan,
)
ONE_ZERO = NUMBERS[1:]
ERRORS = (ExcelError.DIV0.kind, ExcelError.NA.kind, ExcelError.NUM.kind)
TAGS = np.array([Kind.NUMBER, Kind.BOOLEAN, Kind.TEXT, Kind.BLANK, Kind.ABSENT, *ERRORS, ExcelError.PYTHON.kind], dtype=np.uint8)
MASKS = (True, False)
BLOCK = (2, 3, 1, 1)
ARRAY = (1, 1, 3, 2)
BLOCK_OF_ARRAYS = (2, 1, 2, 3)

# Rows of elementwise ops: name, operands

_ON_NUMBERS = ("neg", "abs", "sign", "floor", "ceil", "trunc", "round_half", "mend", "sqrt", "is_finite")
_ON_PAIRS = ("equal", "less", "less_equal", "near", "add", "sub", "mul", "div", "modulo")
_SPECIALS = (0.0, -0.0, math.inf, -math.inf, math.nan)
_LINE = (*_SPECIALS, 1.0, -1.0, 0.5, -0.5, 1e-9, -1e-9, 2.75, -2.75, 20.0, -20.0, 700.0, -700.0, 1e5)
_UNIT = (*_SPECIALS, 1.0, -1.0, 0.5, -0.5, 1e-9, -1e-9, 0.999, -0.999, 2.0, -2.0)
_POSITIVE = (*_SPECIALS, 1.0, -1.0, 0.5, 2.0, math.e, 10.0, 1000.0, 1e-9, 1e300)
_PROBABILITIES = (0.0, 1.0, -0.5, 1.5, math.nan, 2.0**-53, 1e-12, 0.01, 0.3, 0.5, 0.7, 0.975, 1 - 2.0**-53)

_TRANSCENDENTAL: tuple[tuple[str, Sequence[float]], ...] = (
    *((name, _LINE) for name in ("exp", "expm1", "atan", "sinh", "cosh", "tanh", "asinh", "erf")),
    *((name, (*_SPECIALS, 1.0, -1.0, 0.5, -0.5, 1e-9, 3.0, -3.0, 100.0, 1e5)) for name in ("sin", "cos", "tan")),
    *((name, _UNIT) for name in ("asin", "acos", "atanh")),
    *((name, _POSITIVE) for name in ("log", "log10", "acosh")),
    ("log1p", (*_SPECIALS, 1.0, -1.0, -2.0, 0.5, -0.5, 1e-9, -1e-9, -0.999, 1e300)),
    ("erfc", (*_SPECIALS, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 5.0)),
    ("normal_cdf", (*_SPECIALS, 0.5, -0.5, 1.96, -1.96, 5.0, -5.0, -8.0)),
    ("normal_quantile", _PROBABILITIES),
    ("log_gamma", (math.inf, math.nan, 0.5, 1.5, 3.0, 10.5, 170.0, 1e5, 1e-9, 0.0)),
)

_SHAPES_PLAIN = (0.5, 1.0, 3.25, 40.0)
_SPECIAL_PAIRS: tuple[tuple[str, Sequence[float], Sequence[float]], ...] = (
    ("atan2", _LINE, _LINE),
    ("power", (*_SPECIALS, 1.0, -1.0, 0.5, -2.0, 2.0, 10.0, 1e10, 1e-300), (*_SPECIALS, 1.0, -1.0, 2.0, 3.0, -3.0, 400.0, -400.5)),
    *((name, _SHAPES_PLAIN, (0.0, 0.1, 1.0, 7.5, 60.0, math.nan)) for name in ("gamma_p", "gamma_q")),
    *((name, _SHAPES_PLAIN, (0.0, 1.0, 1e-6, 0.3, 0.5, 0.99, math.nan)) for name in ("gamma_p_inverse", "gamma_q_inverse")),
)

_TIES = (0.5, -0.5, 1.5, 2.5, -2.5, 0.49999999999999994, 2.4999999999999996, 1.005 * 100, 8.0, 4503599627370497.0)


def _table_of(quantile: Quantile) -> Pieces:
    pieces = approximated(quantile)
    assert pieces is not None
    return pieces


LOGISTIC = _table_of(lambda below, above: np.log(below) - np.log(above))
STEEP = _table_of(lambda below, above: -np.expm1(-(below**18)))
_TAILS = (2.0**-53, 3 * 2.0**-53, 1e-12, 0.01, 0.125, math.nextafter(0.125, 0.0), 0.3, math.nextafter(0.5, 0.0))
BELOW = (*_TAILS, 0.5, *(1 - tail for tail in _TAILS), 0.0, 1.0, -0.5, 1.5, 2.0**-60, math.inf, math.nan, 0.3, 0.0)
ABOVE = (*(1 - tail for tail in _TAILS), 0.5, *_TAILS, 1.0, 0.0, 1.5, -0.5, 1.0, -math.inf, 0.3, math.nan, 0.0)


def _elementwise() -> Iterator[Case]:
    for op in _ON_NUMBERS:
        yield Case(op, "special values", (simulated(NUMBERS),))
        yield Case(op, "block", (spread(BLOCK, 11),))
    for op in _ON_PAIRS:
        yield Case(op, "special values", pairs(NUMBERS, NUMBERS))
        yield Case(op, "block with a number", (spread(BLOCK, 11), fixed(2.5)))
        yield Case(op, "rows with columns of cells", (spread((2, 1, 1, 1), 11), fixed([1.0, -2.0, 4.0], (1, 3, 1, 1))))
        yield Case(op, "arrays in a block", (spread(BLOCK_OF_ARRAYS, 5), spread((1, 1, 2, 1), 5)))
    for op in ("min", "max"):
        yield Case(op, "special values", pairs(ONE_ZERO, ONE_ZERO))
        yield Case(op, "block with a number", (spread(BLOCK, 11), fixed(2.5)))
    for op, values in _TRANSCENDENTAL:
        yield Case(op, "special values", (simulated(values),))
        yield Case(op, "block", (spread(BLOCK, 11, low=0.02, high=0.98),))
    for op, x, y in _SPECIAL_PAIRS:
        yield Case(op, "special values", pairs(x, y))
        yield Case(op, "block with a number", (spread(BLOCK, 11, low=0.1, high=0.9), fixed(0.5)))
    for op in ("beta_i", "beta_i_inverse", "beta_i_upper_inverse"):
        yield Case(op, "special values", triples((0.5, 2.0, 30.0), (1.0, 3.5), (0.0, 1.0, 0.01, 0.5, 0.9, math.nan)))
    for exponent in (2.0, 0.5, -1.0):
        bases = spread((1, 1, 1, 1), 150, low=0.0, high=30.0)
        yield Case(
            "power", f"exponent {exponent}", (bases, fixed(exponent)), note="a library's shortcut is taken for any chunk or for none"
        )
    below = spread(BLOCK, 11, low=0.0, high=1.0)
    for name, pieces in (("logistic", LOGISTIC), ("steep", STEEP)):
        table = {"pieces": pieces}
        yield Case("piecewise", f"special values, {name}", (simulated(BELOW), simulated(ABOVE)), table, "clamped outside")
        yield Case("piecewise", f"block, {name}", (below, 1 - below), table)
        yield Case("piecewise", f"an operand that does not vary, {name}", (simulated(BELOW), fixed(0.25)), table)
    yield Case("round_half", "ties", (simulated(_TIES),), note="a half written in binary may lie just below it")
    yield Case("mend", "almost whole", (simulated((0.1 * 3 * 10, 2.9999999999999996, 1.0000001, 1e15 + 0.5)),))
    yield Case("near", "the last digits", pairs((1.0, 0.3, 1e300), (1 + 2.0**-50, 1 + 2.0**-52, 0.1 + 0.2, 1e300 * (1 + 2e-16))))
    yield Case("snap", "special values", triples((1e-16, 0.0, -0.0, 5.0, math.nan, math.inf), (1.0, math.nan, 1e300), (1.0, 0.0, math.nan)))
    yield Case("snap", "the threshold", triples((2.0**-49, math.nextafter(2.0**-49, 0.0), -(2.0**-50)), (1.0, 0.5), (-1.0, 0.25)))


def _choices() -> Iterator[Case]:
    for op in ("and", "or"):
        yield Case(op, "truth table", pairs(MASKS, MASKS))
        yield Case(op, "block with a mask", (spread(BLOCK, 11) > 0, fixed([True, False], (2, 1, 1, 1))))
    yield Case("not", "truth table", (simulated(MASKS),))
    yield Case("select", "special values", triples(MASKS, NUMBERS, (1.0, -0.0, math.nan)))
    yield Case(
        "select",
        "tags",
        tuple(column.astype(t) for column, t in zip(triples(MASKS, TAGS, TAGS[:3]), (bool, np.uint8, np.uint8), strict=True)),
    )
    yield Case("select", "masks", triples(MASKS, MASKS, MASKS))
    yield Case("select", "broadcast", (spread((2, 1, 1, 1), 11) > 0, spread((1, 3, 1, 1), 11), fixed(7.0)))
    yield Case("first_error", "each with each", pairs(TAGS, TAGS))
    for kinds in (0, 1 << Kind.NUMBER, 1 << Kind.TEXT | 1 << ERRORS[0], sum(1 << kind for kind in range(8, 24)), ANY_KIND):
        yield Case("kind_is", f"{kinds:#x}", (simulated(TAGS),), {"kinds": kinds})


def _reductions() -> Iterator[Case]:
    mixed = np.concatenate([spread(ARRAY, 11), np.full((*ARRAY, 1), math.nan), np.full((*ARRAY, 1), math.inf)], axis=4)
    masks = np.concatenate(
        [spread(BLOCK_OF_ARRAYS, 9) > 3, np.zeros((*BLOCK_OF_ARRAYS, 1), bool), np.ones((*BLOCK_OF_ARRAYS, 1), bool)], axis=4
    )
    for op in ("sum", "product", "minimum", "maximum"):
        yield Case(op, "array", (mixed,))
        yield Case(op, "block of arrays", (spread(BLOCK_OF_ARRAYS, 5),))
        yield Case(op, "one element", (simulated(ONE_ZERO),))
        yield Case(op, "one NaN", (np.where(np.arange(6).reshape(*ARRAY, 1) == 3, math.nan, spread(ARRAY, 5)),))
    for op in ("sum", "product"):
        yield Case(op, "order", (spread((1, 1, 13, 9), 5, low=0.9, high=1.1) ** 9,), note="another order gives other last digits")
        yield Case(op, "constant", (fixed(spread((1, 1, 13, 9), 1) + 12, (1, 1, 13, 9)),))
    yield Case("sum", "cancellation", (np.broadcast_to(fixed([1e16, 1.0, -1e16, 1.0, 0.5, -1e-3], ARRAY), (*ARRAY, 3)),))
    for op in ("any", "all", "count", "first_true", "last_true"):
        yield Case(op, "block of arrays", (masks,))
        yield Case(op, "one element", (simulated(MASKS),))
    for size in (1, 4):
        places = np.arange(size * TAGS.size).reshape(1, 1, size, 1, -1)
        yield Case("first_error_of", f"{size} tags", (TAGS[places * 5 % TAGS.size],))


def _shapes() -> Iterator[Case]:
    table = np.concatenate([spread((1, 1, 5, 6), 4), np.full((1, 1, 5, 6, 1), math.nan)], axis=4)
    moving = {"rows": 3, "columns": 2, "height": 2, "width": 3, "row_step": 1, "column_step": 1, "top": 0, "left": 1}
    for name, change in {
        "moving": {},
        "fixed": {"row_step": 0, "column_step": 0},
        "up": {"row_step": -1, "top": 3},
        "down": {"column_step": 0},
    }.items():
        yield Case("window", name, (table,), {**moving, **change})
    yield Case("window", "tags", (TAGS.reshape(1, 1, 3, 3, 1),), {**moving, "rows": 2, "columns": 1, "left": 0})
    yield Case("transpose", "array", (table,))
    yield Case("transpose", "block of arrays", (spread(BLOCK_OF_ARRAYS, 5),))
    yield Case("as_array", "block", (spread(BLOCK, 5),))
    yield Case("as_array", "array", (table,), note="is one already")
    yield Case(
        "join", "side by side", (spread(ARRAY, 5), fixed([1.0, 2.0, -0.0], (1, 1, 3, 1))), {"size": (3, 3), "places": ((0, 0), (0, 2))}
    )
    yield Case(
        "join", "overlapping", (spread(ARRAY, 5), spread((1, 1, 1, 2), 5)), {"size": (3, 2), "places": ((0, 0), (1, 0))}, "the last counts"
    )
    yield Case("join", "in a block", (spread(BLOCK, 5), fixed(4.0)), {"size": (1, 2), "places": ((0, 1), (0, 0))})
    positions = simulated((0.0, 5.0, 29.0, 2.9, -1.0, -0.5, 30.0, 1e18, math.inf, -math.inf, math.nan))
    yield Case("gather", "outside is clamped", (positions, fixed(spread((1, 1, 5, 6), 1), (1, 1, 5, 6))))
    yield Case("gather", "from what varies", (positions[..., :5], table))
    yield Case("gather", "tags", (spread(BLOCK, 7, low=0, high=9), TAGS.reshape(1, 1, 3, 3, 1)))
    yield Case("gather", "own array of each cell", (spread((1, 3, 2, 1), 5, low=0, high=6), spread(BLOCK_OF_ARRAYS, 5)))
    chosen = np.arange(2 * 3 * 30).reshape(2, 3, 5, 6, 1) % 7 == 2
    yield Case("segment_sum", "some elements", (table[..., :4],), {"segments": Segments.of(chosen)})
    yield Case(
        "segment_sum",
        "one, none, all",
        (table,),
        {"segments": Segments(3, 1, (np.array([4]), np.array([], dtype=int), np.arange(30)))},
    )
    yield Case("sort", "array", (table,), note="NaN comes last")
    yield Case("sort", "block of arrays", (spread(BLOCK_OF_ARRAYS, 5),))
    ascending = fixed([-math.inf, -2.0, -2.0, 0.0, 0.5, 7.0], ARRAY)
    yield Case("search", "one table", (simulated(NUMBERS), ascending))
    yield Case("search", "a table for each cell", (spread(BLOCK, 5), np.sort(spread((2, 1, 4, 1), 5), axis=2)))


# Bodies of loops and repeats: functions of a builder and the parameters, giving the results


def _compound(builder: Builder, balance: Ref, rate: Ref) -> list[Operand]:
    balance = builder.append("mul", balance, rate)
    return [balance, balance]


def _second_last(builder: Builder, older: Ref, old: Ref, addend: Ref) -> list[Operand]:
    new = builder.append("add", older, addend)
    return [old, new, builder.append("max", new, old), addend]


def _euclid(builder: Builder, x: Ref, y: Ref) -> list[Operand]:
    """x, y ← y, x mod y, until the remainder is zero."""
    rest = builder.append("modulo", x, y)
    return [y, rest, builder.append("equal", rest, constant(0.0))]


def _heron(builder: Builder, x: Ref, number: Ref) -> list[Operand]:
    better = builder.append("mul", constant(0.5), builder.append("add", x, builder.append("div", number, x)))
    return [better, number, builder.append("near", better, x)]


def _halved(builder: Builder, x: Ref) -> list[Operand]:
    return [builder.append("mul", x, constant(0.5)), builder.append("less", x, constant(1.0))]


def _ring(builder: Builder, *parameters: Ref) -> list[Operand]:
    """What was computed as many steps before as there are carries, halved, and the addend."""
    *past, addend = parameters
    new = builder.append("add", builder.append("mul", past[-1], constant(0.5)), addend)
    return [new, *past[:-1], new]


def _from_outside(builder: Builder, kept: Ref, fixed: Ref, total: Ref, addend: Ref, outside: Operand) -> list[Operand]:
    """Carries that are a value from outside and a constant from the first step on; yields that no instruction makes."""
    total = builder.append("add", builder.append("sub", builder.append("add", total, addend), kept), fixed)
    return [outside, constant(2.5), total, kept, outside, addend, constant(-0.0)]


def _kinds(builder: Builder, good: Ref, tag: Ref, x: Ref) -> list[Operand]:
    good = builder.append("and", good, builder.append("less", x, constant(6.0)))
    tag = builder.append("select", good, tag, fixed(np.uint8(ExcelError.NA.kind)))
    return [good, tag, good, builder.append("kind_is", tag, kinds=1 << ExcelError.NA.kind), tag]


def _column_of_rows(builder: Builder, carried: Ref, block: Ref) -> list[Operand]:
    """Block rows within a step, and what needs all of them."""
    grown = builder.append("mul", builder.append("add", carried, block), constant(0.75))
    total = builder.append("sum", builder.append("as_array", grown))
    share = builder.append("div", grown, total)
    return [share, share, total, builder.append("transpose", builder.append("as_array", grown))]


def _nested(builder: Builder, total: Ref, row: Ref, outside: Operand) -> list[Operand]:
    """Along each row of the block a loop of its own, backwards."""
    inside = builder.inside()
    carried, cut = inside.parameter((1, 1, 1, 1)), inside.parameter((1, 1, 1, 1))
    new = inside.append("sub", inside.append("mul", carried, outside), cut)
    body = Body((carried, cut), tuple(inside.instructions), (new, new, carried))
    shapes: tuple[Shape, ...] = ((1, 1, 1, 1), (1, 3, 1, 1), (1, 3, 1, 1))
    results = [builder.parameter(shape) for shape in shapes]
    last, values, before = builder.emit_body("loop", (total, row), results, body=body, carries=1, steps=3, axis=1, reverse=True)
    return [last, values, builder.append("add", values, before), before]


def _roots(builder: Builder, total: Ref, number: Ref) -> list[Operand]:
    """A `repeat` within a step."""
    inside = builder.inside()
    x, same = inside.parameter((1, 1, 1, 1)), inside.parameter((1, 1, 1, 1))
    following = tuple(_heron(inside, x, same))
    body = Body((x, same), tuple(inside.instructions), following)
    results = [builder.parameter((1, 1, 1, 1), kind) for kind in ("number", "number", "mask")]
    root, _, done = builder.emit_body("repeat", (total, number), results, body=body, limit=40)
    return [builder.append("add", root, constant(1.0)), root, done]


def _loops() -> Iterator[Case]:
    down, across = {"axis": 0, "steps": 14}, {"axis": 1, "steps": 5}
    one = simulated((1.0, -2.0, 0.25))
    column, row = spread((14, 1, 1, 1), 3), spread((1, 5, 1, 1), 3)
    for lag in (1, 2, 12):
        starts = [one * (1 + index) for index in range(lag)]
        for name, change in (("", {}), (", backwards", {"reverse": True})):
            yield Case("loop", f"a ring of {lag}{name}", (*starts, column), {"body": _ring, "carries": lag, **down, **change})
    for name, steps in (("across", 5), ("one step across", 1)):
        ring = (spread((3, 1, 1, 1), 3), spread((3, 1, 1, 1), 3, low=0, high=1), spread((3, steps, 1, 1), 3))
        yield Case("loop", f"rows, {name}", ring, {"body": _second_last, "carries": 2, "axis": 1, "steps": steps})
    yield Case("loop", "backwards across", (one, row), {"body": _compound, "carries": 1, "reverse": True, **across})
    yield Case("loop", "from constants", (fixed(1.5), fixed(-4.0), row), {"body": _ring, "carries": 2, **across})
    outside = (fixed(7.0), one, fixed(0.0), column, one)
    yield Case("loop", "values from outside", outside, {"body": _from_outside, "carries": 3, "outside": 1, **down})
    kinds = (simulated([True, False, True]), fixed(np.uint8(Kind.NUMBER)), row)
    yield Case("loop", "masks and tags", kinds, {"body": _kinds, "carries": 2, **across})
    blocks = (spread((4, 1, 1, 1), 3), spread((4, 5, 1, 1), 3, low=1, high=2))
    yield Case("loop", "blocks within a step", blocks, {"body": _column_of_rows, "carries": 1, **across})
    yield Case("loop", "nested", (one, spread((4, 3, 1, 1), 3), one), {"body": _nested, "carries": 1, "outside": 1, "axis": 0, "steps": 4})
    positive = simulated((1.0, 2.0, 9.5)), spread((1, 5, 1, 1), 3, low=1, high=90)
    yield Case("loop", "a repeat within a step", positive, {"body": _roots, "carries": 1, **across})


def _bodies() -> Iterator[Case]:
    rates = spread((1, 4, 1, 1), 5, low=0.9, high=1.1)
    yield Case(
        "loop",
        "compounding",
        (simulated((100.0, -0.0, math.nan, math.inf, 1e308)), rates),
        {"body": _compound, "carries": 1, "steps": 4, "axis": 1},
    )
    yield Case("loop", "one step", (fixed(100.0), rates[:, :1]), {"body": _compound, "carries": 1, "steps": 1, "axis": 1})
    ring = (spread((1, 3, 1, 1), 5), spread((1, 3, 1, 1), 5, low=0, high=1), spread((4, 3, 1, 1), 5))
    yield Case("loop", "a ring of two, down a block", ring, {"body": _second_last, "carries": 2, "steps": 4, "axis": 0})
    yield Case(
        "loop", "the same at each step", (simulated((1.0, 2.0)), fixed(1.5)), {"body": _compound, "carries": 1, "steps": 3, "axis": 0}
    )
    yield Case(
        "repeat",
        "greatest common divisor",
        pairs((48.0, 17.0, 1071.0), (18.0, 5.0, 462.0)),
        {"body": _euclid, "limit": 20},
        "lanes end at different steps",
    )
    yield Case("repeat", "square root", (np.ones((*BLOCK, 5)), spread(BLOCK, 5, low=0.1, high=900)), {"body": _heron, "limit": 60})
    yield Case(
        "repeat", "too few steps", (simulated((0.5, 3.0, 1000.0, math.nan)),), {"body": _halved, "limit": 3}, "some lanes are not done"
    )
    yield Case("repeat", "no step", (simulated((0.5, 3.0)),), {"body": _halved, "limit": 0})


def _described(value: Scalar) -> Scalar:
    """Something of each kind."""
    if isinstance(value, float):
        return (
            math.inf
            if value > 8
            else ExcelError.NA
            if value > 5
            else "big"
            if value > 2
            else value > 0
            if value > -2
            else None
            if value < -8
            else value / 3
        )
    return "other"


def _sources() -> Iterator[Case]:
    site = Site("Contract", 3, 2, 1)
    yield Case("uniform", "cell", (), {"site": site, "shape": (1, 1, 1, 1)})
    yield Case("uniform", "block", (), {"site": site, "shape": BLOCK})
    yield Case("permute", "one of three", (simulated([0.5, -1.25, 2.0, -8.2, 0.0]),), {"tie": TIE, "member": 1})
    yield Case("iteration", "index", (), {"shape": (1, 1, 1, 1)})
    texts = Texts()
    call = {"function": _described, "name": "DESCRIBED", "shape": BLOCK, "texts": texts}
    operands = (spread(BLOCK, 11), fixed(np.uint8(Kind.NUMBER)))
    yield Case("scalar_call", "payload", operands, call)
    yield Case("scalar_call", "tag", operands, {**call, "part": "tag"})
    tags = (fixed(0.0), simulated(TAGS[TAGS != Kind.TEXT]))
    yield Case("scalar_call", "tags", tags, {**call, "shape": (1, 1, 1, 1), "part": "tag"}, "errors pass")


CASES: tuple[Case, ...] = (*_elementwise(), *_choices(), *_reductions(), *_shapes(), *_bodies(), *_loops(), *_sources())


# From a case to a program


def program_of(case: Case) -> Program:
    """A program whose outputs are all elements of the op's results, for `case.iterations` iterations from 0."""
    builder = Builder()
    builder.cell = CELL
    operands = [_fed(builder, operand) for operand in case.operands]
    results = (
        _body_results(builder, case, operands) if "body" in case.attributes else (builder.append(case.op, *operands, **case.attributes),)
    )
    pieces = [piece for result in results for piece in _pieces(builder, result)]
    outputs = tuple(_slot(builder, f"output {number}", piece) for number, piece in enumerate(pieces))
    return Program(tuple(builder.instructions), outputs, ())


def _fed(builder: Builder, operand: Values) -> Operand:
    """A constant, or the cells of a table at position: cell · iterations + iteration."""
    *shape, iterations = operand.shape
    if iterations == 1:
        return operand
    offsets = np.arange(math.prod(shape), dtype=np.float64).reshape(*shape, 1) * iterations
    position = builder.append("add", builder.append("iteration", shape=(1, 1, 1, 1)), offsets)
    return builder.append("gather", position, np.ascontiguousarray(operand).reshape(1, 1, 1, -1, 1))


def _body_results(builder: Builder, case: Case, operands: Sequence[Operand]) -> tuple[Ref, ...]:
    """The last operands, as many as `outside` says, are read by the body itself."""
    attributes = dict(case.attributes)
    function: Callable[..., list[Operand]] = attributes.pop("body")
    given = len(operands) - attributes.pop("outside", 0)
    carries, axis = attributes.get("carries", given), attributes.get("axis", 0)
    inside = builder.inside()
    parameters = tuple(
        inside.parameter(shape_of(operand) if index < carries else along(shape_of(operand), axis, 1), kind_of_operand(operand))
        for index, operand in enumerate(operands[:given])
    )
    yielded = tuple(function(inside, *parameters, *operands[given:]))
    body = Body(parameters, tuple(inside.instructions), yielded)
    results = [_result_like(builder, value, index >= carries, attributes) for index, value in enumerate(yielded)]
    return builder.emit_body(case.op, operands[:given], results, body=body, **attributes)


def _result_like(builder: Builder, value: Operand, joined: bool, attributes: Mapping[str, Any]) -> Ref:
    shape = shape_of(value)
    if joined and "steps" in attributes:
        shape = along(shape, attributes["axis"], attributes["steps"])
    return builder.parameter(shape, kind_of_operand(value))


def _pieces(builder: Builder, result: Ref) -> list[Ref]:
    """An array as it is, a block as an array, a block of arrays as one array for each element."""
    rows, columns, height, width = result.shape
    if (rows, columns) == (1, 1):
        return [result]
    if (height, width) == (1, 1):
        return [builder.append("as_array", result)]
    elements = [builder.append("gather", constant(place), result) for place in range(height * width)]
    return [builder.append("as_array", element) for element in elements]


def _slot(builder: Builder, label: str, piece: Ref) -> Slot:
    cells = RangeRef(CELL.sheet, 1, 1, piece.shape[2], piece.shape[3])
    if piece.kind == "tag":
        return Slot(label, cells, constant(0.0), piece, ANY_KIND)
    if piece.kind == "mask":
        piece = builder.append("select", piece, constant(1.0), constant(0.0))
    return Slot(label, cells, piece, 0, 1)


def ops_without_case() -> set[str]:
    return set(OPS) - {case.op for case in CASES}
