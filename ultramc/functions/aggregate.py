"""Sums, counts and extremes over ranges, and those with criteria.

In a reference only numbers count; a value written as an argument is coerced. An error anywhere is the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from ultramc.functions import function, lazy
from ultramc.functions.criteria import criterion
from ultramc.functions.kit import (
    ABSENT,
    BLANK,
    BOOLEAN,
    ERROR,
    NUMBER,
    TEXT,
    ZERO,
    Area,
    Areas,
    Edge,
    Kit,
    Unroll,
    Value,
    broadcast,
    tag_of,
    tag_value,
)
from ultramc.lowering import Call, Result, Steps
from ultramc.program import LARGEST, TRUE, Growing, Known, Operand, Segments, broadcast_shape, constant, decided, narrowed, shape_of
from ultramc.references import extent
from ultramc.syntax import Node
from ultramc.values import ExcelError, Kind

Cells = list[tuple[Value, bool]]  # arrays, each with whether it came from a reference


def counted(kit: Kit, value: Value, from_reference: bool) -> Value:
    """An argument of an aggregate: what is written there is coerced, what a reference holds is not."""
    return value if from_reference else kit.to_number(value)


def numbers(call: Call, arguments: Sequence[Cells]) -> list[Value]:
    """The arrays that an aggregate of numbers looks at."""
    return [counted(call.kit, *part) for argument in arguments for part in argument]


def first_error(kit: Kit, parts: Sequence[Value]) -> Value:
    """The first error in the arrays, row by row: only the tag counts."""
    failing = [part for part in parts if part.kinds & ERROR]
    return kit.error_tag([tag_value(ZERO, kit.emit("first_error_of", tag_of(part)), part.kinds & ERROR | NUMBER) for part in failing])


def filled(kit: Kit, part: Value, neutral: float) -> Operand:
    """The numbers of an array, with something neutral in place of all else."""
    if not part.kinds & ~NUMBER or (neutral == 0 and not part.kinds & ~(NUMBER | BLANK)):
        return _full(part)
    return kit.emit("select", kit.is_kind(part, NUMBER), part.payload, neutral)


def _full(part: Value) -> Operand:
    """The payload in the shape of the array: only the tag may have had it."""
    return part.payload if not isinstance(part.payload, np.ndarray) else np.broadcast_to(part.payload, (*part.shape, 1))


def total(kit: Kit, parts: Sequence[Value]) -> Operand:
    """The sum of all numbers, from the first to the last."""
    sums = [kit.emit("sum", filled(kit, part, 0.0)) for part in parts]
    return reduce(lambda x, y: kit.emit("add", x, y), sums)


def how_many(kit: Kit, parts: Sequence[Value], kinds: int = NUMBER) -> Operand:
    counts = [_count(kit, part, kinds) for part in parts]
    return reduce(lambda x, y: kit.emit("add", x, y), counts)


def _count(kit: Kit, part: Value, kinds: int) -> Operand:
    mask = kit.is_kind(part, kinds)
    verdict = decided(mask)
    if verdict is False:
        return constant(0.0)
    if verdict and isinstance(part.payload, Growing):
        return kit.emit("count", kit.emit("or", kit.emit("is_finite", part.payload), TRUE))
    if verdict:
        return constant(float(part.shape[2] * part.shape[3]))
    return kit.emit("count", kit.stretch(mask, *part.shape[2:]))


def _result(kit: Kit, payload: Operand, parts: Sequence[Value]) -> Value:
    return kit.with_tag(payload, first_error(kit, parts))


@function("SUM", "(cells)+")
def _sum(call: Call, *arguments: Cells) -> Value:
    parts = numbers(call, arguments)
    return _result(call.kit, total(call.kit, parts), parts)


@function("SUMSQ", "(cells)+")
def _sumsq(call: Call, *arguments: Cells) -> Value:
    kit, parts = call.kit, numbers(call, arguments)
    squares = [kit.emit("sum", kit.emit("mul", number, number)) for number in (filled(kit, part, 0.0) for part in parts)]
    return _result(kit, reduce(lambda x, y: kit.emit("add", x, y), squares), parts)


@function("PRODUCT", "(cells)+")
def _product(call: Call, *arguments: Cells) -> Value:
    kit, parts = call.kit, numbers(call, arguments)
    products = [kit.emit("product", filled(kit, part, 1.0)) for part in parts]
    payload = reduce(lambda x, y: kit.emit("mul", x, y), products)
    none = kit.emit("equal", how_many(kit, parts), ZERO)
    return _result(kit, kit.emit("select", none, ZERO, payload), parts)


@function("AVERAGE", "(cells)+")
def _average(call: Call, *arguments: Cells) -> Value:
    return average(call.kit, numbers(call, arguments))


def average(kit: Kit, parts: Sequence[Value]) -> Value:
    count = how_many(kit, parts)
    result = _result(kit, kit.emit("div", total(kit, parts), count), parts)
    return kit.fail_where(result, kit.emit("equal", count, ZERO), ExcelError.DIV0)


def _extreme(names: str, op: str, pair: str, neutral: float) -> None:
    @function(names, "(cells)+")
    def body(call: Call, *arguments: Cells) -> Value:
        return extreme(call.kit, numbers(call, arguments), op, pair, neutral)


def extreme(kit: Kit, parts: Sequence[Value], op: str, pair: str, neutral: float) -> Value:
    """The smallest or largest number, 0 where there is none."""
    parts = [kit.settled(part) for part in parts]
    values = [kit.emit(op, filled(kit, part, neutral)) for part in parts]
    payload = reduce(lambda x, y: kit.emit(pair, x, y), values)
    none = kit.emit("equal", how_many(kit, parts), ZERO)
    if decided(none) is False:
        return _result(kit, payload, parts)
    return _result(kit, narrowed(kit.emit("select", none, ZERO, payload), -LARGEST, LARGEST), parts)


_extreme("MIN", "minimum", "min", np.inf)
_extreme("MAX", "maximum", "max", -np.inf)


@function("COUNT", "(cells)+")
def _count_numbers(call: Call, *arguments: Cells) -> Value:
    kit = call.kit
    parts = [_countable(kit, *part) for argument in arguments for part in argument]
    return Value(how_many(kit, parts))


def _countable(kit: Kit, value: Value, from_reference: bool) -> Value:
    return value if from_reference else kit.settled(kit.to_number(value))


@function("COUNTA", "(cells)+")
def _count_all(call: Call, *arguments: Cells) -> Value:
    parts = [part for argument in arguments for part, _ in argument]
    return Value(how_many(call.kit, parts, NUMBER | BOOLEAN | TEXT | ERROR))


@function("COUNTBLANK", "area")
def _count_blank(call: Call, area: Result) -> Value:
    kit = call.kit
    if not isinstance(area, Area):
        return kit.error(ExcelError.VALUE)
    value = call.read(area)
    empty_text = kit.emit("and", kit.is_kind(value, TEXT), kit.emit("equal", value.payload, float(kit.texts.code(""))))
    empty = kit.emit("or", kit.is_kind(value, BLANK), empty_text)
    beyond = area.height * area.width - value.shape[2] * value.shape[3]
    return Value(kit.emit("add", kit.emit("count", kit.stretch(empty, *value.shape[2:])), float(beyond)))


# The A family: text counts 0, TRUE 1


def _with_text(kit: Kit, value: Value, from_reference: bool) -> Value:
    if not from_reference:
        return kit.to_number(value)
    if not value.kinds & (TEXT | BOOLEAN):
        return value
    payload = kit.emit("select", kit.is_kind(value, TEXT), ZERO, value.payload)
    as_number = kit.emit("select", kit.is_kind(value, TEXT | BOOLEAN), tag_of(kit.number(0)), tag_of(value))
    return tag_value(payload, as_number, value.kinds & ~(TEXT | BOOLEAN) | NUMBER)


def all_values(call: Call, arguments: Sequence[Cells]) -> list[Value]:
    return [_with_text(call.kit, *part) for argument in arguments for part in argument]


@function("AVERAGEA", "(cells)+")
def _averagea(call: Call, *arguments: Cells) -> Value:
    return average(call.kit, all_values(call, arguments))


@function("MAXA", "(cells)+")
def _maxa(call: Call, *arguments: Cells) -> Value:
    return extreme(call.kit, all_values(call, arguments), "maximum", "max", -np.inf)


@function("MINA", "(cells)+")
def _mina(call: Call, *arguments: Cells) -> Value:
    return extreme(call.kit, all_values(call, arguments), "minimum", "min", np.inf)


# Products of arrays


@function("SUMPRODUCT", "(array)+")
def _sumproduct(call: Call, *arrays: Value) -> Value:
    kit = call.kit
    if len({array.shape[2:] for array in arrays}) > 1:
        return kit.error(ExcelError.VALUE)
    factors = [filled(kit, array, 0.0) for array in arrays]
    payload = kit.emit("sum", reduce(lambda x, y: kit.emit("mul", x, y), factors))
    return _result(kit, payload, arrays)


# Criteria


Argumented = tuple[Area, Value]


def _matches(kit: Kit, arrays: Sequence[Value], pairs: Sequence[Argumented]) -> Operand:
    """Where all criteria hold over the arrays of their areas, which have one shape."""
    mask: Operand = TRUE
    for array, (_, condition) in zip(arrays, pairs, strict=True):
        mask = kit.emit("and", mask, criterion(kit, array, condition))
    return mask


def _paired(arguments: Sequence[Any]) -> list[Argumented] | None:
    """Areas with their criteria; None where an area is no reference or has another shape."""
    pairs = list(zip(arguments[::2], arguments[1::2], strict=True))
    if not all(isinstance(area, Area) for area, _ in pairs):
        return None
    return pairs if len({(area.height, area.width) for area, _ in pairs}) == 1 else None


def _resized(area: Area, like: Area) -> Area:
    """SUMIF reads as many cells of its sum range as the criteria range has."""
    bottom = Edge(area.top.at + like.height - 1, area.top.moves)
    return evolve(area, bottom=bottom, right=Edge(area.left.at + like.width - 1, area.left.moves), whole=like.whole)


def _read_as_far(call: Call, values: Area, area: Area) -> Area:
    """The sum range, resized; the cells that its text does not name are precedents too."""
    resized = _resized(values, call.lowering.clipped(area))
    call.lowering.reads.append(extent(resized, call.place))
    return resized


_ABSENT = tag_of(Value(ZERO, int(Kind.ABSENT), ABSENT))


def selected(kit: Kit, value: Value, mask: Operand) -> Value:
    """The values where the mask holds, absent elsewhere."""
    tag = kit.emit("select", mask, tag_of(value), _ABSENT)
    shape = broadcast_shape([value.shape, shape_of(mask)])
    widened = broadcast(value, shape) if value.known else value
    return tag_value(widened.payload, tag, value.kinds | ABSENT)


def _over(call: Call, values: Area | None, pairs: list[Argumented] | None, finish: Callable[[Kit, list[Value]], Value]) -> Value:
    if pairs is None or values is None:
        return call.kit.error(ExcelError.VALUE)
    *arrays, chosen = call.read_alike([*(area for area, _ in pairs), values])
    mask = _matches(call.kit, arrays, pairs)
    if finish is _summed and isinstance(mask, np.ndarray) and not chosen.known and chosen.shape[:2] == (1, 1) and not chosen.kinds & ERROR:
        return _segment_sum(call.kit, chosen, mask)
    return finish(call.kit, [selected(call.kit, chosen, mask)])


def _segment_sum(kit: Kit, value: Value, mask: Known) -> Value:
    """Which cells count is known: only these are added."""
    full = np.broadcast_to(mask, (*mask.shape[:2], *value.shape[2:], 1))
    return Value(kit.emit("segment_sum", kit.stretch(filled(kit, value, 0.0), *value.shape[2:]), segments=Segments.of(full)))


def _summed(kit: Kit, parts: list[Value]) -> Value:
    return _result(kit, total(kit, parts), parts)


def _smallest(kit: Kit, parts: list[Value]) -> Value:
    return extreme(kit, parts, "minimum", "min", np.inf)


def _largest(kit: Kit, parts: list[Value]) -> Value:
    return extreme(kit, parts, "maximum", "max", -np.inf)


def _single(name: str, finish: Callable[[Kit, list[Value]], Value]) -> None:
    @function(name, "area any area?")
    def body(call: Call, area: Area, condition: Value, values: Area | None = None) -> Value:
        pairs = _paired((area, condition))
        if pairs is None or not isinstance(values, Area | None):
            return call.kit.error(ExcelError.VALUE)
        return _over(call, area if values is None else _read_as_far(call, values, area), pairs, finish)


def _several(name: str, finish: Callable[[Kit, list[Value]], Value]) -> None:
    @function(name, "area (area any)+")
    def body(call: Call, values: Area, *arguments: object) -> Value:
        pairs = _paired(arguments)
        if not isinstance(values, Area) or pairs is None or (pairs[0][0].height, pairs[0][0].width) != (values.height, values.width):
            return call.kit.error(ExcelError.VALUE)
        return _over(call, values, pairs, finish)


_single("SUMIF", _summed)
_single("AVERAGEIF", average)
_several("SUMIFS", _summed)
_several("AVERAGEIFS", average)
_several("MINIFS", _smallest)
_several("MAXIFS", _largest)


@function("COUNTIF COUNTIFS", "(area any)+")
def _countifs(call: Call, *arguments: object) -> Value:
    pairs = _paired(arguments)
    if pairs is None:
        return call.kit.error(ExcelError.VALUE)
    arrays = call.read_alike([area for area, _ in pairs])
    height, width = arrays[0].shape[2:]
    mask = _matches(call.kit, arrays, pairs)
    if any(isinstance(array.payload, Growing) for array in arrays):
        if not isinstance(mask, Growing):
            raise Unroll
        return Value(call.kit.emit("count", mask))
    count = call.kit.emit("count", call.kit.stretch(mask, height, width))
    beyond = pairs[0][0].height * pairs[0][0].width - height * width
    blanks = all(decided(criterion(call.kit, call.kit.blank(), condition)) for _, condition in pairs) if beyond else False
    return Value(call.kit.emit("add", count, float(beyond)) if blanks else count)


# SUBTOTAL


_SUBTOTALS: dict[int, str] = {
    1: "AVERAGE",
    2: "COUNT",
    3: "COUNTA",
    4: "MAX",
    5: "MIN",
    6: "PRODUCT",
    7: "STDEV.S",
    8: "STDEV.P",
    9: "SUM",
    10: "VAR.S",
    11: "VAR.P",
}


@lazy("SUBTOTAL", "node (node)+")
def _subtotal(call: Call, code_node: Node, *nodes: Node) -> Steps:
    code = yield code_node, call.scope
    value = call.kit.settled(call.kit.to_number(call.one(code)))
    if not value.kinds & ~ERROR:
        return value
    number = int(call.constant(value, "function number"))
    name = _SUBTOTALS.get(number % 100 if number > 100 else number)
    if name is None:
        return call.kit.error(ExcelError.VALUE)
    rows = "hidden" if number > 100 else "filtered"
    arguments = []
    for node in nodes:
        result = yield node, call.scope
        arguments.append([(value, True) for value, _ in remaining(call, result, nested=True, rows=rows)])
    return call.lowering.functions[name].body(call, *arguments)


def remaining(call: Call, result: Result, *, nested: bool, rows: str) -> Cells:
    """What an argument holds, without `nested` subtotals and without rows that are "hidden" or "filtered"."""
    if isinstance(result, Value):
        return call.cells(result)
    areas = result.parts if isinstance(result, Areas) else (result,)
    masks = [call.lowering.passed_over(area, call.place, nested=nested, rows=rows) for area in areas]
    return [(_without(call.kit, call.read(area), mask), True) for area, mask in zip(areas, masks, strict=True)]


def _without(kit: Kit, value: Value, mask: NDArray[np.bool_] | None) -> Value:
    return value if mask is None else selected(kit, value, ~mask[None, None, :, :, None])
