"""Arrays taken apart: the cells of an array one by one, and Python functions of whole arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise

import numpy as np

from ultramc.functions.aggregate import Cells, counted
from ultramc.functions.kit import Kit, Value, tag_value
from ultramc.lowering import Call
from ultramc.program import Operand, constant
from ultramc.values import Scalar

LONGEST_SERIES = 20_000  # cells that a function at scalar speed takes apart


def elements(kit: Kit, array: Value) -> list[Value]:
    """The cells of an array, row by row."""
    count = array.shape[2] * array.shape[3]
    if count == 1:
        return [array]
    return [tag_value(_element(kit, array, array.payload, place), _tag(kit, array, place), array.kinds) for place in range(count)]


def _tag(kit: Kit, array: Value, place: int) -> Operand | int:
    return array.tag if isinstance(array.tag, int) else _element(kit, array, array.tag, place)


def _element(kit: Kit, array: Value, operand: Operand, place: int) -> Operand:
    if isinstance(operand, np.ndarray):
        full = np.broadcast_to(operand, (*array.shape, 1))
        row, column = divmod(place, array.shape[3])
        return full[:, :, row : row + 1, column : column + 1]
    return operand if operand.shape[2:] == (1, 1) else kit.emit("gather", constant(place), operand)


def over_elements(call: Call, function: Callable[..., Scalar], scalars: Sequence[Value], series: Sequence[Cells]) -> Value:
    """A Python function of some numbers and some lists of cell values, at scalar speed. The first error passes."""
    kit = call.kit
    lists = [[piece for part in argument for piece in elements(kit, counted(kit, *part))] for argument in series]
    if sum(map(len, lists)) > LONGEST_SERIES:
        raise call.refuse(f"over more than {LONGEST_SERIES:,} cells is not supported")
    body = partial(_with_lists, function, tuple(accumulate(map(len, lists), initial=len(scalars))))
    return kit.scalar_function(body, [*scalars, *(piece for pieces in lists for piece in pieces)], call.function)


def _with_lists(function: Callable[..., Scalar], ends: Sequence[int], *values: Scalar) -> Scalar:
    """`ends`: of the scalars, and of each list."""
    return function(*values[: ends[0]], *(values[start:end] for start, end in pairwise(ends)))
