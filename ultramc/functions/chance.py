"""Draws that are written in the sheet: each call is a call site of its own in every cell, and so is each element of RANDARRAY."""

from __future__ import annotations

from ultramc.functions import function
from ultramc.functions.dynamic_arrays import completed, size_made
from ultramc.functions.kit import OMITTED, ONE, Kit, Value
from ultramc.lowering import Call
from ultramc.program import Operand
from ultramc.values import ExcelError

MOST_DRAWN = 10_000  # elements of an array of draws, each of which is an instruction


@function("RAND", "")
def _rand(call: Call) -> Value:
    return Value(call.draw())


@function("RANDBETWEEN", "number number")
def _randbetween(call: Call, bottom: Value, top: Value) -> Value:
    """Whole numbers from bottom, rounded up, to top, rounded down; each as likely."""
    kit = call.kit
    low, high = _whole_bounds(kit, bottom, top)
    result = kit.with_tag(_whole_number(kit, call.draw(), low, high), kit.error_tag((bottom, top)))
    return kit.fail_where(result, kit.emit("less", high, low), ExcelError.NUM)


def _whole_bounds(kit: Kit, bottom: Value, top: Value) -> tuple[Operand, Operand]:
    return kit.emit("ceil", bottom.payload), kit.emit("floor", top.payload)


def _whole_number(kit: Kit, u: Operand, low: Operand, high: Operand) -> Operand:
    count = kit.emit("add", kit.emit("sub", high, low), ONE)
    step = kit.emit("min", kit.emit("floor", kit.emit("mul", u, count)), kit.emit("sub", count, ONE))
    return kit.emit("add", low, step)


@function("RANDARRAY", "array? array? array? array? array?")
def _randarray(call: Call, *arguments: Value) -> Value:
    """Uniforms from least to most, or whole numbers from least, rounded up, to most, rounded down.

    Element e, counted row by row, of call site k takes stream k + 2^32 · 3 · (e + 1) of the formula's cell, see `Site.element`.
    """
    rows, columns, least, most, whole = completed(arguments, 5)
    size = size_made(call, rows, columns)
    if isinstance(size, ExcelError):
        return call.kit.error(size)
    if size[0] * size[1] > MOST_DRAWN:
        raise call.refuse(f"of {size[0] * size[1]:,} elements is not supported; {MOST_DRAWN:,} are the most")
    return _between(call.kit, call.draw_array(*size), _bound(call, least, 0.0), _bound(call, most, 1.0), whole)


def _bound(call: Call, given: Value, default: float) -> Value:
    if given is OMITTED:
        return call.kit.number(default)
    if given.shape[2:] != (1, 1):
        raise call.refuse("with an array as a bound is not supported")
    return call.kit.settled(call.kit.to_number(given))


def _between(kit: Kit, u: Operand, least: Value, most: Value, whole: Value) -> Value:
    is_whole, error = kit.to_mask(whole)
    low, high = (
        kit.emit("select", is_whole, *pair) for pair in zip(_whole_bounds(kit, least, most), (least.payload, most.payload), strict=True)
    )
    number = kit.emit("add", low, kit.emit("mul", u, kit.emit("sub", high, low)))
    payload = kit.emit("select", is_whole, _whole_number(kit, u, low, high), number)
    result = kit.with_tag(payload, kit.error_tag((least, most, error)))
    return kit.fail_where(result, kit.emit("less", high, low), ExcelError.VALUE)
