"""AGGREGATE: another aggregate, without errors, subtotals or hidden rows."""

from __future__ import annotations

from ultramc.functions import lazy
from ultramc.functions.aggregate import Cells, remaining, selected
from ultramc.functions.kit import ERROR, Value
from ultramc.lowering import Call, Result, Steps
from ultramc.syntax import Node
from ultramc.values import ExcelError

_OF_CELLS = ("AVERAGE", "COUNT", "COUNTA", "MAX", "MIN", "PRODUCT", "STDEV.S", "STDEV.P", "SUM", "VAR.S", "VAR.P", "MEDIAN", "MODE.SNGL")
_WITH_NUMBER = ("LARGE", "SMALL", "PERCENTILE.INC", "QUARTILE.INC", "PERCENTILE.EXC", "QUARTILE.EXC")
AGGREGATES = dict(enumerate((*_OF_CELLS, *_WITH_NUMBER), 1))
LEAVE_OUT_SUBTOTALS, LEAVE_OUT_HIDDEN_ROWS, LEAVE_OUT_ERRORS = (0, 1, 2, 3), (1, 3, 5, 7), (2, 3, 6, 7)


@lazy("AGGREGATE", "number number (node)+")
def _aggregate(call: Call, code_node: Node, option_node: Node, *nodes: Node) -> Steps:
    code = yield code_node, call.scope
    option = yield option_node, call.scope
    number, choice = (
        int(call.constant(call.kit.to_number(call.one(result)), what)) for result, what in ((code, "function number"), (option, "option"))
    )
    name = AGGREGATES.get(number)
    if name is None or not 0 <= choice <= 7:
        return call.kit.error(ExcelError.VALUE)
    results = []
    for node in nodes:
        result = yield node, call.scope
        results.append(result)
    body = call.lowering.functions[name].body
    if name in _OF_CELLS:
        return body(call, *(_reduced(call, result, choice) for result in results))
    if len(results) != 2:
        return call.kit.error(ExcelError.VALUE)
    rank = call.kit.settled(call.kit.to_number(call.one(results[1])))
    return body(call, _reduced(call, results[0], choice), rank)


def _reduced(call: Call, result: Result, choice: int) -> Cells:
    rows = "hidden" if choice in LEAVE_OUT_HIDDEN_ROWS else ""
    cells = remaining(call, result, nested=choice in LEAVE_OUT_SUBTOTALS, rows=rows)
    return [(_without_errors(call, value, choice), from_reference) for value, from_reference in cells]


def _without_errors(call: Call, value: Value, choice: int) -> Value:
    if choice not in LEAVE_OUT_ERRORS or not value.kinds & ERROR:
        return value
    return selected(call.kit, value, call.kit.emit("not", call.kit.is_kind(value, ERROR)))
