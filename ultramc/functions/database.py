"""DSUM and its like: an aggregate over the records of a table that meet a table of criteria.

Rows of the criteria are alternatives, the columns of a row must all hold. A text without an operator asks for texts that
begin with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from ultramc.functions import FUNCTIONS, function
from ultramc.functions.aggregate import selected
from ultramc.functions.criteria import Criterion, criterion
from ultramc.functions.dynamic_arrays import arranged, elements
from ultramc.functions.kit import BLANK, OMITTED, ONE, TEXT, ZERO, Kit, Value
from ultramc.functions.lookup import overridden, take
from ultramc.lowering import Call
from ultramc.program import FALSE, TRUE, Operand
from ultramc.values import ExcelError, to_text

VALUE = ExcelError.VALUE

# name, and the aggregate of the column it asks for
AGGREGATES: tuple[tuple[str, str], ...] = (
    ("DSUM", "SUM"),
    ("DAVERAGE", "AVERAGE"),
    ("DCOUNT", "COUNT"),
    ("DCOUNTA", "COUNTA"),
    ("DMAX", "MAX"),
    ("DMIN", "MIN"),
    ("DPRODUCT", "PRODUCT"),
    ("DSTDEV", "STDEV.S"),
    ("DSTDEVP", "STDEV.P"),
    ("DVAR", "VAR.S"),
    ("DVARP", "VAR.P"),
)
COUNTS = ("COUNT", "COUNTA")  # of whole records where no column is asked for


def _part(kit: Kit, table: Value, rows: slice, columns: slice) -> Value:
    height, width = table.shape[2:]
    return arranged(kit, table, np.arange(height * width).reshape(height, width)[rows, columns])


def _column(kit: Kit, table: Value, column: int) -> Value:
    """The records of one column."""
    return _part(kit, table, slice(1, None), slice(column, column + 1))


def _labels(call: Call, table: Value) -> list[str | None]:
    """What stands above the columns, in one case; None where nothing does."""
    headers = elements(call, _part(call.kit, table, slice(1), slice(None)))
    return [None if item is None or isinstance(item, ExcelError) else str(to_text(item)).casefold() for item in headers]


def _field(call: Call, labels: Sequence[str | None], field: Value) -> int | None:
    """The 0-based column that a label or a number means; None where there is no such."""
    item, *others = elements(call, field)
    if others:
        return None
    if isinstance(item, str):
        return labels.index(item.casefold()) if item.casefold() in labels else None
    number = int(item) if isinstance(item, float) else 0
    return number - 1 if 1 <= number <= len(labels) else None


def _matching(call: Call, database: Value, labels: Sequence[str | None], criteria: Value) -> Operand:
    """A mask over the records."""
    kit, wanted = call.kit, _labels(call, criteria)
    alternatives = []
    for row in range(1, criteria.shape[2]):
        conditions = [_part(kit, criteria, slice(row, row + 1), slice(column, column + 1)) for column in range(len(wanted))]
        masks = [_condition(call, database, labels, *pair) for pair in zip(wanted, conditions, strict=True) if pair[1].kinds != BLANK]
        alternatives.append(reduce(lambda x, y: kit.emit("and", x, y), masks, TRUE))
    mask = reduce(lambda x, y: kit.emit("or", x, y), alternatives, FALSE)
    return kit.stretch(mask, database.shape[2] - 1, 1)


def _condition(call: Call, database: Value, labels: Sequence[str | None], label: str | None, condition: Value) -> Operand:
    if label not in labels:
        if condition.kinds == TEXT:
            return FALSE  # under a label of no column stands a condition on its own, and text is not true
        raise call.refuse(f"with a computed criterion is not supported: no column of the database is called {label or ''!r}")
    return criterion(call.kit, _column(call.kit, database, labels.index(label)), _begins(call.kit, condition))


def _begins(kit: Kit, condition: Value) -> Value:
    if not condition.known:
        return condition
    (item,) = kit.scalars(condition)
    parsed = Criterion.parse(item)
    return kit.text(f"{item}*") if isinstance(parsed.operand, str) and not parsed.written else condition


def _aggregating(name: str, aggregate: str) -> None:
    @function(name, "array array array")
    def body(call: Call, database: Value, field: Value, criteria: Value) -> Value:
        kit, labels = call.kit, _labels(call, database)
        column = _field(call, labels, field) if field is not OMITTED else None
        if database.shape[2] == 1 or (column is None and not (field is OMITTED and aggregate in COUNTS)):
            return kit.error(VALUE)
        mask = _matching(call, database, labels, criteria)
        if column is None:
            return Value(kit.emit("count", mask))
        chosen = selected(kit, _column(kit, database, column), mask)
        result: Value = FUNCTIONS[aggregate].body(call, [(chosen, True)])
        return result


for _row in AGGREGATES:
    _aggregating(*_row)


@function("DGET", "array array array")
def _dget(call: Call, database: Value, field: Value, criteria: Value) -> Value:
    kit, labels = call.kit, _labels(call, database)
    column = _field(call, labels, field)
    if column is None or database.shape[2] == 1:
        return kit.error(VALUE)
    mask = _matching(call, database, labels, criteria)
    found = take(kit, _column(kit, database, column), kit.emit("first_true", mask))
    count = kit.emit("count", mask)
    found = overridden(kit, found, kit.emit("less", ONE, count), ExcelError.NUM)
    return overridden(kit, found, kit.emit("equal", count, ZERO), VALUE)
