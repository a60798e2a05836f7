"""DSUM and its like: an aggregate over the records of a table that meet a table of criteria.

Rows of the criteria are alternatives, the columns of a row must all hold. A text without an operator asks for texts that
begin with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ultramc.functions import FUNCTIONS, function
from ultramc.functions.aggregate import selected
from ultramc.functions.criteria import Criterion, criterion
from ultramc.functions.dynamic_arrays import elements, piece, size_of
from ultramc.functions.kit import BLANK, OMITTED, ONE, TEXT, ZERO, Area, Kit, Value
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


def _read(call: Call, source: Area | Value, row: int, column: int, height: int = 1, width: int = 1) -> Value:
    """A part of a table: read on its own, so that it is known where it is known, whatever the rest holds."""
    part = piece(call, source, row, column, height, width)
    return call.read(part) if isinstance(part, Area) else part


def _column(call: Call, database: Area | Value, column: int) -> Value:
    """The records of one column."""
    return _read(call, database, 1, column, size_of(database)[0] - 1)


def _labels(call: Call, table: Area | Value) -> list[str | None]:
    """What stands above the columns, in one case; None where nothing does."""
    headers = elements(call, _read(call, table, 0, 0, 1, size_of(table)[1]))
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


def _matching(call: Call, database: Area | Value, labels: Sequence[str | None], criteria: Area | Value) -> Operand:
    """A mask over the records."""
    kit, wanted = call.kit, _labels(call, criteria)
    some: Operand = FALSE
    for row in range(1, size_of(criteria)[0]):
        every: Operand = TRUE
        for column, label in enumerate(wanted):
            condition = _read(call, criteria, row, column)
            if condition.kinds != BLANK:
                every = kit.emit("and", every, _condition(call, database, labels, label, condition))
        some = kit.emit("or", some, every)
    return kit.stretch(some, _column(call, database, 0).shape[2], 1)


def _condition(call: Call, database: Area | Value, labels: Sequence[str | None], label: str | None, condition: Value) -> Operand:
    if label not in labels:
        if condition.kinds == TEXT:
            return FALSE  # under a label of no column stands a condition on its own, and text is not true
        raise call.refuse(f"with a computed criterion is not supported: no column of the database is called {label or ''!r}")
    return criterion(call.kit, _column(call, database, labels.index(label)), _begins(call.kit, condition))


def _begins(kit: Kit, condition: Value) -> Value:
    if not condition.known:
        return condition
    (item,) = kit.scalars(condition)
    parsed = Criterion.parse(item)
    return kit.text(f"{item}*") if isinstance(parsed.operand, str) and not parsed.written else condition


def _aggregating(name: str, aggregate: str) -> None:
    @function(name, "area array area")
    def body(call: Call, database: Area | Value, field: Value, criteria: Area | Value) -> Value:
        kit, labels = call.kit, _labels(call, database)
        column = _field(call, labels, field) if field is not OMITTED else None
        if size_of(database)[0] == 1 or (column is None and not (field is OMITTED and aggregate in COUNTS)):
            return kit.error(VALUE)
        mask = _matching(call, database, labels, criteria)
        if column is None:
            return Value(kit.emit("count", mask))
        chosen = selected(kit, _column(call, database, column), mask)
        result: Value = FUNCTIONS[aggregate].body(call, [(chosen, True)])
        return result


for _row in AGGREGATES:
    _aggregating(*_row)


@function("DGET", "area array area")
def _dget(call: Call, database: Area | Value, field: Value, criteria: Area | Value) -> Value:
    kit, labels = call.kit, _labels(call, database)
    column = _field(call, labels, field)
    if column is None or size_of(database)[0] == 1:
        return kit.error(VALUE)
    mask = _matching(call, database, labels, criteria)
    found = take(kit, _column(call, database, column), kit.emit("first_true", mask))
    count = kit.emit("count", mask)
    found = overridden(kit, found, kit.emit("less", ONE, count), ExcelError.NUM)
    return overridden(kit, found, kit.emit("equal", count, ZERO), VALUE)
