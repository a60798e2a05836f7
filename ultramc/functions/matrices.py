"""Products, inverses and determinants of matrices."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from ultramc.functions import function
from ultramc.functions.aggregate import first_error
from ultramc.functions.kit import ERROR, NUMBER, Kit, Value
from ultramc.lowering import Call
from ultramc.program import Known, Operand
from ultramc.values import ExcelError

NUM, VALUE = ExcelError.NUM, ExcelError.VALUE
LARGEST_PRODUCT = 4_000_000  # cells times terms
LARGEST_UNIT = 1000

Matrix = NDArray[np.float64]


def _not_numbers(kit: Kit, matrix: Value) -> Operand:
    """A mask: some element is no number."""
    return kit.emit("any", kit.emit("not", kit.is_kind(matrix, NUMBER | ERROR)))


@function("MMULT", "array array")
def _mmult(call: Call, left: Value, right: Value) -> Value:
    kit, (height, inner), (rows, width) = call.kit, left.shape[2:], right.shape[2:]
    if inner != rows:
        return kit.error(VALUE)
    if height * inner * width > LARGEST_PRODUCT:
        raise call.refuse("of matrices this large is not supported")
    terms = [kit.emit("mul", _column(kit, left, place), _row(kit, right, place)) for place in range(inner)]
    payload = reduce(lambda x, y: kit.emit("add", x, y), terms)
    result = kit.with_tag(payload, first_error(kit, [left, right]))
    for matrix in (left, right):
        result = kit.fail_where(result, _not_numbers(kit, matrix), VALUE)
    return result


def _column(kit: Kit, matrix: Value, place: int) -> Operand:
    height, width = matrix.shape[2:]
    return _taken(kit, matrix, (np.arange(height) * width + place).reshape(-1, 1))


def _row(kit: Kit, matrix: Value, place: int) -> Operand:
    width = matrix.shape[3]
    return _taken(kit, matrix, (np.arange(width) + place * width).reshape(1, -1))


def _taken(kit: Kit, matrix: Value, places: Known) -> Operand:
    payload = matrix.payload
    if isinstance(payload, np.ndarray):
        payload = np.broadcast_to(payload, (*matrix.shape, 1))
    return kit.emit("gather", places.astype(np.float64)[None, None, :, :, None], payload)


def _of_square(name: str, of: Callable[[Matrix], Matrix | None]) -> None:
    """A function of one square matrix of known numbers; None is #NUM!."""

    @function(name, "array")
    def body(call: Call, matrix: Value) -> Value:
        kit = call.kit
        if not matrix.known or matrix.shape[:2] != (1, 1):
            raise call.refuse("of a matrix that differs by cell or iteration is not supported yet")
        values = kit.scalars(matrix)
        error = next((value for value in values if isinstance(value, ExcelError)), None)
        if error is not None:
            return kit.error(error)
        if matrix.shape[2] != matrix.shape[3] or not all(isinstance(value, float) for value in values):
            return kit.error(VALUE)
        result = of(np.array(values, dtype=np.float64).reshape(matrix.shape[2:]))
        return kit.error(NUM) if result is None else kit.array(result.tolist())


def _inverse(matrix: Matrix) -> Matrix | None:
    try:
        return np.linalg.inv(matrix).astype(np.float64)
    except np.linalg.LinAlgError:
        return None


_of_square("MINVERSE", _inverse)
_of_square("MDETERM", lambda matrix: np.linalg.det(matrix).reshape(1, 1))


@function("MUNIT", "integer")
def _munit(call: Call, size: Value) -> Value:
    count = int(call.constant(size, "size"))
    if size.kinds & ERROR:
        return size
    if count > LARGEST_UNIT:
        raise call.refuse(f"of more than {LARGEST_UNIT} rows is not supported")
    return call.kit.error(VALUE) if count < 1 else call.kit.array(np.eye(count).tolist())
