"""Op → array expression, once, for any NumPy-like namespace.

Arrays have the five axes of `ops`. `UFUNCS` are single calls that take ``out=``; `EXPRESSIONS` are functions of the
namespace, the operands and the instruction's attributes. `evaluate` runs one op on NumPy arrays at once: it is how
constants are folded, and so how the base case is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ultramc import values

Array = Any  # an ndarray of the namespace at hand

UFUNCS: dict[str, str] = {
    "and": "logical_and",
    "or": "logical_or",
    "not": "logical_not",
    "equal": "equal",
    "less": "less",
    "less_equal": "less_equal",
    "is_finite": "isfinite",
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "div": "divide",
    "neg": "negative",
    "abs": "absolute",
    "sign": "sign",
    "min": "minimum",
    "max": "maximum",
    "sqrt": "sqrt",
    "floor": "floor",
    "ceil": "ceil",
    "trunc": "trunc",
    "exp": "exp",
    "expm1": "expm1",
    "log": "log",
    "log1p": "log1p",
    "log10": "log10",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
    "sinh": "sinh",
    "cosh": "cosh",
    "tanh": "tanh",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
}

SPECIAL: dict[str, str] = {
    "erf": "erf",
    "erfc": "erfc",
    "normal_cdf": "ndtr",
    "normal_quantile": "ndtri",
    "log_gamma": "gammaln",
    "gamma_p": "gammainc",
    "gamma_p_inverse": "gammaincinv",
    "gamma_q": "gammaincc",
    "gamma_q_inverse": "gammainccinv",
    "beta_i": "betainc",
    "beta_i_inverse": "betaincinv",
    "beta_i_upper_inverse": "betainccinv",
}

FIRST_ERROR = np.uint8(values.FIRST_ERROR)
CELLS = (2, 3)


def _select(xp: Any, mask: Array, yes: Array, no: Array) -> Array:
    return xp.where(mask, yes, no)


def _kind_is(xp: Any, tag: Array, *, kinds: int) -> Array:
    if kinds == values.ERROR_KINDS:
        return tag >= FIRST_ERROR
    mask = xp.zeros(tag.shape, dtype=bool)
    for kind in range(kinds.bit_length()):
        if kinds >> kind & 1:
            mask = mask | (tag == np.uint8(kind))
    return mask


def _first_error(xp: Any, first: Array, second: Array) -> Array:
    return xp.where(first >= FIRST_ERROR, first, xp.where(second >= FIRST_ERROR, second, np.uint8(0)))


def _near(xp: Any, x: Array, y: Array) -> Array:
    return (x == y) | (xp.abs(x - y) <= 2.0**-51 * (xp.abs(x) + xp.abs(y)))


def _snap(xp: Any, result: Array, x: Array, y: Array) -> Array:
    return xp.where(xp.abs(result) < 2.0**-49 * xp.maximum(xp.abs(x), xp.abs(y)), 0.0, result)


def _modulo(xp: Any, x: Array, y: Array) -> Array:
    return x - xp.multiply(y, xp.floor(xp.divide(x, y)))


# Exponents for which NumPy has shortcuts that it takes only where its inner loop sees a single exponent, which depends on
# the chunk. Always taken, they do not.
POWERS = {-1.0: "reciprocal", 0.5: "sqrt", 2.0: "square"}


def _power(xp: Any, x: Array, y: Array) -> Array:
    result = xp.power(x, y)
    for exponent, shortcut in POWERS.items():
        result = xp.where(y == exponent, getattr(xp, shortcut)(x), result)
    return result


def _mend(xp: Any, x: Array) -> Array:
    nearest = xp.rint(x)
    return xp.where(xp.abs(x - nearest) <= 2.0**-49 * xp.abs(x), nearest, x)


def _round_half(xp: Any, x: Array) -> Array:
    size = xp.abs(x)
    whole = xp.floor(size)  # apart from the fraction, so that large whole numbers stay as they are
    return xp.copysign(whole + (size - whole + xp.minimum(2.0**-49 * size, 0.125) >= 0.5), x)


def _piecewise(xp: Any, below: Array, above: Array, *, pieces: Any) -> Array:
    """See `distributions.chebyshev`: the column by side, exponent and mantissa, and Horner's rule. A NaN comes out as t."""
    coefficients, (least, largest) = xp.asarray(pieces.coefficients), pieces.interval
    mantissa, exponent = xp.frexp(xp.clip(xp.minimum(below, above), 2.0**-53, 0.5))
    scaled = mantissa * (2.0 * pieces.parts)
    part = xp.floor(scaled)
    t = 2.0 * (scaled - part) - 1.0
    column = exponent * pieces.parts + part + xp.where(above < below, 2.0, 1.0) * pieces.side - 2.0 * pieces.parts
    column = xp.where(xp.isnan(column), 0.0, column).astype(np.intp)
    result = xp.take(coefficients[-1], column)
    for row in coefficients[-2::-1]:
        result = xp.multiply(result, t) + xp.take(row, column)
    return xp.minimum(xp.maximum(result, least), largest)


def _left_to_right(operator: str) -> Callable[..., Array]:
    """A reduction that accumulates cell by cell, whatever the number of iterations (`reduce` would not)."""

    def reduce(xp: Any, x: Array) -> Array:
        combine = getattr(xp, operator)
        rows, columns, height, width, count = x.shape
        if height * width > 8 * rows * columns * count:
            flat = x.reshape(rows, columns, height * width, count)
            return combine.accumulate(flat, axis=2)[:, :, -1:, None, :]
        total = x[:, :, 0, 0]
        for index in range(1, height * width):
            total = combine(total, x[:, :, index // width, index % width])
        return total[:, :, None, None]

    return reduce


def _segment_sum(xp: Any, x: Array, *, segments: Any) -> Array:
    flat = x.reshape(-1, x.shape[4])
    sums = [_total(xp, flat, elements) for elements in segments.elements]
    return xp.stack(sums).reshape(segments.rows, segments.columns, 1, 1, x.shape[4])


def _total(xp: Any, flat: Array, elements: Array) -> Array:
    if not elements.size:
        return xp.zeros_like(flat[0])
    total = flat[elements[0]]
    for element in elements[1:]:
        total = total + flat[element]
    return total


def _minimum(xp: Any, x: Array) -> Array:
    return xp.min(x, axis=CELLS, keepdims=True)


def _maximum(xp: Any, x: Array) -> Array:
    return xp.max(x, axis=CELLS, keepdims=True)


def _any(xp: Any, x: Array) -> Array:
    return xp.any(x, axis=CELLS, keepdims=True)


def _all(xp: Any, x: Array) -> Array:
    return xp.all(x, axis=CELLS, keepdims=True)


def _count(xp: Any, x: Array) -> Array:
    return xp.sum(x, axis=CELLS, keepdims=True, dtype=np.float64)


def flat_cells(x: Array) -> Array:
    """Height and width as one axis: (rows, columns, cells, 1, iterations)."""
    rows, columns, height, width, count = x.shape
    return x.reshape(rows, columns, height * width, 1, count)


def _first_true(xp: Any, x: Array) -> Array:
    cells = flat_cells(x)
    position = xp.argmax(cells, axis=2, keepdims=True)
    return xp.where(xp.any(cells, axis=2, keepdims=True), position, -1).astype(np.float64)


def _last_true(xp: Any, x: Array) -> Array:
    cells = flat_cells(x)
    position = cells.shape[2] - 1 - xp.argmax(cells[:, :, ::-1], axis=2, keepdims=True)
    return xp.where(xp.any(cells, axis=2, keepdims=True), position, -1).astype(np.float64)


def _first_error_of(xp: Any, tag: Array) -> Array:
    cells = flat_cells(tag)
    position = xp.argmax(cells >= FIRST_ERROR, axis=2, keepdims=True)
    found = xp.take_along_axis(cells, position, axis=2)
    return xp.where(found >= FIRST_ERROR, found, np.uint8(0))


def _window(
    xp: Any,
    x: Array,
    *,
    rows: int,
    columns: int,
    height: int,
    width: int,
    row_step: int,
    column_step: int,
    top: int,
    left: int,
) -> Array:
    """A strided view, without a copy. Row i, column j of the block sees x[top + i·row_step :, left + j·column_step :]."""
    check_window(x.shape[:4], rows, columns, height, width, row_step, column_step, top, left)
    part = x[0, 0, top:, left:]
    down, across, along = part.strides
    shape = (rows if row_step else 1, columns if column_step else 1, height, width, part.shape[2])
    strides = (down * row_step, across * column_step, down, across, along)
    return np.lib.stride_tricks.as_strided(part, shape, strides, writeable=False)


def check_window(
    shape: tuple[int, ...],
    rows: int,
    columns: int,
    height: int,
    width: int,
    row_step: int,
    column_step: int,
    top: int,
    left: int,
) -> None:
    """ValueError where a window would reach outside the one array that it moves over: nothing else guards the memory there."""
    down = _reach(top, rows, row_step, height, shape[2])
    across = _reach(left, columns, column_step, width, shape[3])
    if shape[:2] != (1, 1) or not (down and across):
        raise ValueError(
            f"a window of {height}×{width} from {top}, {left} in steps of {row_step}, {column_step} for {rows}×{columns} cells "
            f"leaves its array of shape {shape}"
        )


def _reach(start: int, cells: int, step: int, length: int, available: int) -> bool:
    end = start + (cells - 1) * step
    return min(start, end) >= 0 and max(start, end) + length <= available


def _transpose(xp: Any, x: Array) -> Array:
    return xp.swapaxes(x, 2, 3)


def _as_array(xp: Any, x: Array) -> Array:
    return xp.moveaxis(x, (0, 1), (2, 3)) if x.shape[2:4] == (1, 1) else x


def _join(xp: Any, *parts: Array, size: tuple[int, int], places: tuple[tuple[int, int], ...]) -> Array:
    count = max(part.shape[4] for part in parts)
    blocks = np.broadcast_shapes(*(part.shape[:2] for part in parts))
    whole = xp.empty((*blocks, *size, count), dtype=parts[-1].dtype)
    for part, (top, left) in zip(parts, places, strict=True):
        whole[:, :, top : top + part.shape[2], left : left + part.shape[3]] = part
    return whole


def _gather(xp: Any, position: Array, x: Array) -> Array:
    cells = flat_cells(x)
    rows, columns, total, _, count = cells.shape
    index = xp.where(position > 0, xp.minimum(position, total - 1), 0).astype(np.intp)  # NaN counts as 0
    r, c, h, w, n = index.shape
    if rows == columns == count == 1:
        return cells[0, 0, :, 0, 0][index]
    shape = np.broadcast_shapes((r, c, n), (rows, columns, count))
    index = xp.broadcast_to(index, (shape[0], shape[1], h, w, shape[2])).reshape(shape[0], shape[1], h * w, shape[2])
    cells = xp.broadcast_to(cells[:, :, :, 0], (shape[0], shape[1], total, shape[2]))
    return xp.take_along_axis(cells, index, axis=2).reshape(shape[0], shape[1], h, w, shape[2])


def _sort(xp: Any, x: Array) -> Array:
    return xp.sort(flat_cells(x), axis=2).reshape(x.shape)


def _search(xp: Any, x: Array, table: Array) -> Array:
    cells = flat_cells(table)
    if cells.shape[0] == cells.shape[1] == cells.shape[4] == 1:
        return xp.where(xp.isnan(x), 0.0, xp.searchsorted(cells[0, 0, :, 0, 0], x))
    total = xp.zeros(1)
    for index in range(cells.shape[2]):
        total = total + (cells[:, :, index : index + 1] < x)
    return total


EXPRESSIONS: dict[str, Callable[..., Array]] = {
    "select": _select,
    "kind_is": _kind_is,
    "first_error": _first_error,
    "near": _near,
    "snap": _snap,
    "modulo": _modulo,
    "power": _power,
    "mend": _mend,
    "round_half": _round_half,
    "piecewise": _piecewise,
    "sum": _left_to_right("add"),
    "product": _left_to_right("multiply"),
    "segment_sum": _segment_sum,
    "minimum": _minimum,
    "maximum": _maximum,
    "any": _any,
    "all": _all,
    "count": _count,
    "first_true": _first_true,
    "last_true": _last_true,
    "first_error_of": _first_error_of,
    "window": _window,
    "transpose": _transpose,
    "as_array": _as_array,
    "join": _join,
    "gather": _gather,
    "sort": _sort,
    "search": _search,
}


def special_function(name: str) -> Callable[..., Array]:
    """The SciPy ufunc behind a special op (imported when first needed)."""
    import scipy.special

    function: Callable[..., Array] = getattr(scipy.special, SPECIAL[name])
    return function


@cache
def implementation(name: str) -> Callable[..., Array]:
    """The NumPy function of an op, without ``out=``."""
    if name in UFUNCS:
        ufunc: Callable[..., Array] = getattr(np, UFUNCS[name])
        return ufunc
    if name in SPECIAL:
        return special_function(name)
    expression = EXPRESSIONS[name]
    return lambda *operands, **attributes: expression(np, *operands, **attributes)


def evaluate(name: str, *operands: Any, **attributes: Any) -> Array:
    """Run one op on NumPy arrays (or numbers), now. Overflow and invalid operations give inf and NaN in silence."""
    with np.errstate(all="ignore"):
        return implementation(name)(*operands, **attributes)
