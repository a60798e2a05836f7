"""Draws that are written in the sheet: each call is a call site of its own in every cell."""

from __future__ import annotations

from ultramc.functions import function
from ultramc.functions.kit import ONE, Value
from ultramc.lowering import Call
from ultramc.values import ExcelError


@function("RAND", "")
def _rand(call: Call) -> Value:
    return Value(call.draw())


@function("RANDBETWEEN", "number number")
def _randbetween(call: Call, bottom: Value, top: Value) -> Value:
    """Whole numbers from bottom, rounded up, to top, rounded down; each as likely."""
    kit = call.kit
    low, high = kit.emit("ceil", bottom.payload), kit.emit("floor", top.payload)
    count = kit.emit("add", kit.emit("sub", high, low), ONE)
    step = kit.emit("min", kit.emit("floor", kit.emit("mul", call.draw(), count)), kit.emit("sub", count, ONE))
    result = kit.with_tag(kit.emit("add", low, step), kit.error_tag((bottom, top)))
    return kit.fail_where(result, kit.emit("less", high, low), ExcelError.NUM)
