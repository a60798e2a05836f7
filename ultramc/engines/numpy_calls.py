"""What the NumPy engine calls: for each op the work that carries it out on arrays that are bound beforehand.

Work is a callable without arguments. Arrays have the five axes of `ops`; where all of one call lie alike in memory, they
are taken as lines, and a single number as an array without axes: NumPy is quickest there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ultramc.engines import array
from ultramc.engines.base import CANONICAL_BLOCK, Job
from ultramc.engines.numpy_plan import Call, Place, View
from ultramc.folding import scalar_call
from ultramc.program import Instruction, Operand, Ref, interval_of
from ultramc.sampling import Site, restored
from ultramc.values import ERROR_KINDS

if TYPE_CHECKING:
    from ultramc.distributions.chebyshev import Pieces

Array = NDArray[Any]
Work = Callable[[], object]
ERROR_TAG = np.full(1, array.FIRST_ERROR)
TINY = 2.0**-49
_MINUS_ZERO = -(2**63)  # its bits, as a signed number
_ONE = np.uint64(1)
SHORT = 48  # elements of a table: measured, and below 256
CELLS = (2, 3)


class Context(Protocol):
    """The chunk at hand, and room for what is between the steps of one call."""

    count: int
    job: Job
    first: int
    makers: Mapping[int, Instruction]  # value → what made it

    def scratch(self, lines: int, size: int) -> Array: ...

    def filled(self, number: float, size: int) -> Array: ...


def work_of(context: Context, call: Call, operands: Sequence[Array], outs: Sequence[Array]) -> Sequence[Work]:
    """What carries out one call, writing to `outs`."""
    op = call.instruction.op
    if op in _WORK:
        return _WORK[op](context, call, operands, outs[0])
    if op in array.UFUNCS:
        return [ufunc_call(getattr(np, array.UFUNCS[op]), operands, outs[0])]
    return [_general(call, operands, outs[0])]


def lines(*arrays: Array) -> list[Array] | None:
    """Arrays that lie alike in memory, as lines; single numbers, without axes; None where they differ. The last says how long."""
    out = arrays[-1]
    order = range(5) if out.flags.c_contiguous else sorted(range(5), key=lambda axis: -abs(out.strides[axis]))
    turned = [each if each.size == 1 else each.transpose(order) for each in arrays]
    if all(each.size == 1 or (each.shape == turned[-1].shape and each.flags.c_contiguous) for each in turned):
        return [*(each.reshape(() if each.size < out.size else each.size) for each in turned[:-1]), turned[-1].reshape(out.size)]
    return None


def ufunc_call(function: Callable[..., Any], operands: Sequence[Array], out: Array) -> Work:
    """A positional out is the quicker one."""
    *inputs, result = lines(*operands, out) or (*operands, out)
    return partial(function, *inputs, result)


def _filled(context: Context, place: Place, operand: Array, out: Array) -> Array:
    """A number that does not vary as a line, where the result is one."""
    is_number = not isinstance(place, View) and operand.ndim == 0
    return context.filled(operand.item(), out.size) if is_number else operand


def _extreme(function: Callable[..., Any]) -> Callable[..., list[Work]]:
    """`minimum` and `maximum` have no positional out, and are quick for two lines only: a number becomes one."""

    def extreme(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
        *inputs, result = lines(*operands, out) or (*operands, out)
        full = [_filled(context, place, each, result) for place, each in zip(call.operands, inputs, strict=True)]
        return [partial(function, *full, out=result)]

    return extreme


def _general(call: Call, operands: Sequence[Array], out: Array) -> Work:
    return partial(_copied, array.implementation(call.instruction.op), operands, call.instruction.attributes, out)


def _copied(function: Callable[..., Array], operands: Sequence[Array], attributes: Mapping[str, Any], out: Array) -> None:
    np.copyto(out, function(*operands, **attributes))


def _copy(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    source, target = lines(operands[0], out) or (operands[0], out)
    return [partial(np.copyto, target, source)]


# Sources


def _uniform(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    """Row after row: `at` is where the tile begins."""
    site: Site = call.instruction.attributes["site"]
    (top, left), (rows, columns) = call.at, out.shape[:2]
    cells = ((r, c) for r in range(rows) for c in range(columns))
    places = [(Site(site.sheet, site.row + top + r, site.column + left + c, site.k), out[r, c, 0, 0]) for r, c in cells]
    return [partial(_filled_by, context, place, part) for place, part in places]


def _filled_by(context: Context, site: Site, part: Array) -> None:
    """The job is that of the chunk at hand, so it is asked for when the call is made."""
    context.job.fill(site, context.first, part)


def _permute(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    tie, member = call.instruction.attributes["tie"], call.instruction.attributes["member"]
    scores = out[0, 0, 0, 0]

    def work() -> None:
        if context.job.restores_strata:
            restored(context.job, tie, member, context.first, scores)
        else:
            np.copyto(out, operands[0])

    return [work]


def _iteration(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    return [lambda: np.copyto(out, np.arange(context.first, context.first + context.count))]


# Elementwise


def _select(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    """`putmask` is the quicker one, on lines."""
    mask, yes, no = operands
    copied = [] if _same_place(no, out) else _copy(context, call, [no], out)
    line = lines(mask, yes, out)
    if line is None or line[0].size < out.size:
        return [*copied, partial(np.copyto, out, yes, where=mask)]
    return [*copied, partial(np.putmask, line[2], line[0], line[1])]


def _same_place(x: Array, y: Array) -> bool:
    """The same part of the same memory."""
    return x.ctypes.data == y.ctypes.data and x.shape == y.shape


def _snap(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    """Nearly always nothing is small enough to be snapped, which the operands' intervals may tell by one look at the result."""
    result, x, y = operands
    copied = [] if _same_place(result, out) else _copy(context, call, [result], out)
    line = lines(x, y, out)
    if line is None:
        return [*copied, lambda: np.copyto(out, array.evaluate("snap", out, x, y))]
    intervals = [interval_of(operand) for operand in call.instruction.operands[1:]]
    largest = max(abs(side) for interval in intervals for side in interval)
    is_sum = _made_of(context, *call.instruction.operands)
    return [*copied, partial(snapped, line, TINY * largest, is_sum, intervals[0][0] >= 0, context.scratch(3, out.size))]


def _made_of(context: Context, result: Operand, x: Operand, y: Operand) -> bool:
    """The result is x + y or x - y."""
    maker = context.makers.get(result.index) if isinstance(result, Ref) else None
    return maker is not None and maker.op in ("add", "sub") and _same_value(maker.operands[0], x) and _same_value(maker.operands[1], y)


def _same_value(one: Operand, other: Operand) -> bool:
    return one is other or (isinstance(one, Ref) and isinstance(other, Ref) and one.index == other.index)


def snapped(line: Sequence[Array], threshold: float, is_sum: bool, is_positive: bool, room: Array) -> None:
    """Each look at a line is one of many; so the cheap ones come first.

    Where x + y or x - y is to be snapped, |y| is nearly |x|, so that the largest x gives a threshold; and where it is 0 it is +0
    already, or x and y are 0 too.
    """
    x, y, out = line
    if is_sum and threshold == math.inf:
        threshold = 2 * TINY * max(_largest(x), 0.0 if is_positive else -_least(x))
    if _holds_small(out, int(np.float64(threshold).view(np.int64)), is_sum, room[0]):
        _snapped_closely(x, y, out, room)


def _holds_small(out: Array, limit: int, zeros_are_fine: bool, room: Array) -> bool:
    """Whether a number is at most the limit in size, by the order of bits: as signed ones, those of negative numbers come first, the
    smallest leading; as unsigned ones, those of positive numbers do; and one less than +0 is the last of all.
    """
    signed, unsigned = out.view(np.int64), out.view(np.uint64)
    least = int(np.minimum.reduce(signed))
    if least < 0:
        if least <= _MINUS_ZERO + limit:
            return True
        least = int(np.minimum.reduce(unsigned))
    if least == 0 and zeros_are_fine:
        least = int(np.minimum.reduce(np.subtract(unsigned, _ONE, room.view(np.uint64))))
    return least <= limit


def _least(line: Array) -> float:
    """NaN, which nothing is snapped to, is passed over."""
    least: float = np.fmin.reduce(line, axis=None, initial=math.inf)
    return least


def _largest(line: Array) -> float:
    largest: float = np.fmax.reduce(line, axis=None, initial=-math.inf)
    return largest


def _snapped_closely(x: Array, y: Array, out: Array, room: Array) -> None:
    """`array.EXPRESSIONS["snap"]`, step by step."""
    sizes, largest, small = room[0], room[1], _masks(room[2])
    np.abs(x, largest)
    np.abs(y, sizes)
    np.maximum(largest, sizes, out=largest)
    np.multiply(largest, TINY, largest)
    np.abs(out, sizes)
    np.less(sizes, largest, small)
    np.copyto(out, 0.0, where=small)


def _masks(line: Array) -> Array:
    """The memory of numbers as that of as many masks."""
    return line.view(np.bool_)[: line.size]


def _near(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    line = lines(*operands, out)
    return [_general(call, operands, out)] if line is None else [partial(_compared, line, context.scratch(3, out.size))]


def _compared(line: Sequence[Array], room: Array) -> None:
    """`array.EXPRESSIONS["near"]`, step by step."""
    x, y, out = line
    difference, size, other = room
    np.subtract(x, y, difference)
    np.abs(difference, difference)
    np.abs(x, size)
    np.abs(y, other)
    np.add(size, other, size)
    np.multiply(size, 2.0**-51, size)
    np.less_equal(difference, size, out)
    equal = _masks(other)
    np.equal(x, y, equal)
    np.logical_or(out, equal, out)


def _special(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    return [ufunc_call(array.special_function(call.instruction.op), operands, out)]


def _power(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    x, y = operands
    if isinstance(call.instruction.operands[1], Ref) or y.size > 1:
        return [_general(call, operands, out)]
    shortcut = array.POWERS.get(float(y.flat[0]))
    return [ufunc_call(np.power, operands, out) if shortcut is None else ufunc_call(getattr(np, shortcut), [x], out)]


def _kind_is(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    kinds = call.instruction.attributes["kinds"]
    if kinds == ERROR_KINDS:
        return [ufunc_call(np.greater_equal, [operands[0], ERROR_TAG], out)]
    if kinds.bit_count() == 1:
        return [ufunc_call(np.equal, [operands[0], np.full(1, kinds.bit_length() - 1, np.uint8)], out)]
    return [_general(call, operands, out)]


def _piecewise(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    """Block by block, so that what is between the steps stays in the cache."""
    line = lines(*operands, out)
    if line is None or any(each.size < out.size for each in line):
        return [_general(call, operands, out)]
    pieces, room = call.instruction.attributes["pieces"], context.scratch(4, CANONICAL_BLOCK)
    below, above, results = line
    cuts = (slice(start, start + CANONICAL_BLOCK) for start in range(0, out.size, CANONICAL_BLOCK))
    return [partial(_block_of_pieces, pieces, below[cut], above[cut], results[cut], room[:, : results[cut].size]) for cut in cuts]


def _block_of_pieces(pieces: Pieces, below: Array, above: Array, out: Array, room: Array) -> None:
    """`array.EXPRESSIONS["piecewise"]`, step by step."""
    t, part, coefficient = room[:3]
    column, exponent = room[3].view(np.intp), coefficient.view(np.intc)[: t.size]
    np.minimum(below, above, out=t)
    np.clip(t, 2.0**-53, 0.5, out=t)
    np.frexp(t, out=(t, exponent))
    np.multiply(t, 2.0 * pieces.parts, out=t)
    np.floor(t, out=part)
    np.subtract(t, part, out=t)
    np.multiply(t, 2.0, out=t)
    np.subtract(t, 1.0, out=t)
    np.multiply(exponent, pieces.parts, out=exponent)
    np.add(part, exponent, out=part)
    np.add(part, pieces.side - 2 * pieces.parts, out=part)
    np.add(part, pieces.side, out=part, where=above < below)
    np.copyto(column, part, casting="unsafe")
    _horner(pieces.coefficients, column, t, coefficient, out)
    np.maximum(out, pieces.interval[0], out=out)
    np.minimum(out, pieces.interval[1], out=out)


def _horner(coefficients: Array, column: Array, t: Array, coefficient: Array, out: Array) -> None:
    np.take(coefficients[-1], column, out=out, mode="clip")
    for row in coefficients[-2::-1]:
        np.multiply(out, t, out=out)
        np.take(row, column, out=coefficient, mode="clip")  # clipped is quicker; and a NaN is no column
        np.add(out, coefficient, out=out)


# Reductions, shapes, look-ups


def _reduced(ufunc: Any, **keywords: Any) -> Callable[..., list[Work]]:
    """One cell after the other, row by row.

    `reduce` does just that where iterations are the inner loop and cells lie in order, and never with a single iteration, where it
    adds in pairs (tests/unit/test_on_numpy.py).
    """

    def reduction(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
        (x,) = operands
        if x.shape[4] > 1 and x.strides[2] >= x.strides[3] >= x.strides[4]:
            return [partial(ufunc.reduce, x, axis=CELLS, keepdims=True, out=out, **keywords)]
        total = out[:, :, 0, 0]
        cells = [x[:, :, index // x.shape[3], index % x.shape[3]] for index in range(x.shape[2] * x.shape[3])]
        return [partial(np.copyto, total, cells[0]), *(partial(ufunc, total, cell, out=total) for cell in cells[1:])]

    return reduction


def _further(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    """A further tile of what accumulates, cell after cell."""
    (x,), combine = operands, _COMBINE[call.instruction.attributes["reduction"]]
    return [partial(_accumulated, combine, [x[:, :, h : h + 1, w : w + 1] for h in range(x.shape[2]) for w in range(x.shape[3])], out)]


def _accumulated(combine: Callable[..., object], cells: Sequence[Array], total: Array) -> None:
    for cell in cells:
        combine(total, cell, out=total)


def _first_error(first: Array, second: Array, out: Array) -> None:
    np.copyto(out, second, where=(first < array.FIRST_ERROR) & (second >= array.FIRST_ERROR))


_COMBINE: dict[str, Callable[..., object]] = {
    "sum": np.add,
    "product": np.multiply,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "any": np.logical_or,
    "all": np.logical_and,
    "count": np.add,
    "first_error_of": _first_error,
}


def _found(ufunc: Any, **keywords: Any) -> Callable[..., list[Work]]:
    """A reduction of masks, which has no order."""

    def reduction(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
        return [partial(ufunc.reduce, operands[0], axis=CELLS, keepdims=True, out=out, **keywords)]

    return reduction


def _join(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    places = zip(operands, call.instruction.attributes["places"], strict=True)
    return [partial(np.copyto, out[:, :, top : top + part.shape[2], left : left + part.shape[3]], part) for part, (top, left) in places]


def _gather(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    """From one table that does not vary; NaN counts as position 0."""
    position, table = operands
    line = lines(position, out)
    if line is None or line[0].size < out.size or isinstance(call.operands[1], View) or table.shape[:2] != (1, 1):
        return [_general(call, operands, out)]
    room = context.scratch(2, out.size)
    return [partial(_taken, table.reshape(table.size), line, room[0], room[1].view(np.intp)[: out.size])]


def _taken(table: Array, line: Sequence[Array], clamped: Array, index: Array) -> None:
    position, out = line
    np.minimum(position, float(table.size - 1), out=clamped)  # too large a number is no index; `take` sees to the others
    np.copyto(index, clamped, casting="unsafe")
    np.take(table, index, out=out, mode="clip")


def _search(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    """In a short table that does not vary: compared with each element, which is quicker than halving."""
    x, table = operands
    line = lines(x, out)
    if line is None or line[0].size < out.size or isinstance(call.operands[1], View) or table.shape[:2] != (1, 1) or table.size > SHORT:
        return [_general(call, operands, out)]
    less, found = (_masks(each) for each in context.scratch(2, out.size))
    return [partial(_counted, [np.array(element) for element in table.flat], line, less, found.view(np.uint8))]


def _counted(elements: Sequence[Array], line: Sequence[Array], less: Array, found: Array) -> None:
    x, out = line
    found.fill(0)
    for element in elements:
        np.less(element, x, less)
        np.add(found, less.view(np.uint8), found)
    np.copyto(out, found)


def _scalar_call(context: Context, call: Call, operands: Sequence[Array], out: Array) -> list[Work]:
    return [lambda: np.copyto(out, scalar_call(call.instruction.attributes, operands, out.shape))]


_WORK: dict[str, Callable[..., Sequence[Work]]] = {
    "copy": _copy,
    "further": _further,
    "uniform": _uniform,
    "permute": _permute,
    "iteration": _iteration,
    "select": _select,
    "min": _extreme(np.minimum),
    "max": _extreme(np.maximum),
    "snap": _snap,
    "near": _near,
    "kind_is": _kind_is,
    "power": _power,
    "piecewise": _piecewise,
    "join": _join,
    "gather": _gather,
    "search": _search,
    "sum": _reduced(np.add, initial=-0.0),  # what changes nothing: 0 would change -0
    "product": _reduced(np.multiply),
    "minimum": _reduced(np.minimum),
    "maximum": _reduced(np.maximum),
    "any": _found(np.logical_or),
    "all": _found(np.logical_and),
    "count": _found(np.add, dtype=np.float64),
    "scalar_call": _scalar_call,
    **dict.fromkeys(array.SPECIAL, _special),
}
