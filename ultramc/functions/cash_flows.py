"""What a series of payments is worth, and the rate at which it is worth nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np

from ultramc.functions import function
from ultramc.functions.aggregate import Cells, filled, first_error, numbers
from ultramc.functions.kit import ERROR, NUMBER, ONE, ZERO, Kit, Value
from ultramc.functions.roots import nearest_root
from ultramc.functions.series import elements, over_elements
from ultramc.lowering import Call
from ultramc.program import Operand
from ultramc.values import ExcelError, Scalar

NUM, DIV0 = ExcelError.NUM, ExcelError.DIV0


def discounted(kit: Kit, parts: Sequence[Value], factor: Operand) -> tuple[Operand, Operand]:
    """Each number divided by `factor` to the power of its place among the numbers, added up; and how many there are.

    Places count from 0. What is 0 stays 0, whatever the factor.
    """
    worth: Operand = ZERO
    before: Operand = ZERO
    for part in _placeable(kit, parts):
        places, before = _places(kit, part, before)
        flows = filled(kit, part, 0.0)
        terms = kit.emit("div", flows, kit.emit("power", factor, kit.emit("sub", places, ONE)))
        worth = kit.emit("add", worth, kit.emit("sum", kit.emit("select", kit.emit("equal", flows, ZERO), ZERO, terms)))
    return worth, before


def _placeable(kit: Kit, parts: Sequence[Value]) -> list[Value]:
    """Arrays in which it is known what is a number; others are taken apart."""
    known = [isinstance(kit.is_kind(part, NUMBER | ERROR), np.ndarray) for part in parts]
    return [piece for part, one in zip(parts, known, strict=True) for piece in ([part] if one else elements(kit, part))]


def _places(kit: Kit, part: Value, before: Operand) -> tuple[Operand, Operand]:
    mask = kit.is_kind(part, NUMBER | ERROR)
    if not isinstance(mask, np.ndarray):
        last = kit.emit("add", before, kit.emit("select", mask, ONE, ZERO))
        return last, last
    full = np.broadcast_to(mask, (*part.shape, 1))
    flat = full.reshape(*full.shape[:2], -1).cumsum(axis=2, dtype=np.float64)
    count = flat[:, :, -1].reshape(*full.shape[:2], 1, 1, 1)
    return kit.emit("add", before, flat.reshape(full.shape)), kit.emit("add", before, count)


@function("NPV", "number (cells)+")
def _npv(call: Call, rate: Value, *arguments: Cells) -> Value:
    kit, parts = call.kit, numbers(call, arguments)
    factor = kit.emit("add", ONE, rate.payload)
    worth = kit.emit("div", discounted(kit, parts, factor)[0], factor)
    result = kit.with_tag(worth, kit.error_tag([rate, first_error(kit, parts)]))
    return kit.fail_where(result, kit.emit("equal", rate.payload, -1.0), DIV0)


@function("MIRR", "cells number number")
def _mirr(call: Call, values: Cells, finance: Value, reinvestment: Value) -> Value:
    kit, parts = call.kit, numbers(call, [values])
    costs, count = _one_sided(kit, parts, finance, "min")
    gains, _ = _one_sided(kit, parts, reinvestment, "max")
    growth = kit.emit("add", ONE, reinvestment.payload)
    ratio = kit.emit("neg", kit.emit("div", kit.emit("mul", gains, kit.emit("power", growth, kit.emit("sub", count, ONE))), costs))
    rate = kit.emit("sub", kit.emit("power", ratio, kit.emit("div", ONE, kit.emit("sub", count, ONE))), ONE)
    result = kit.with_tag(rate, kit.error_tag([first_error(kit, parts), finance, reinvestment]))
    return kit.fail_where(result, kit.emit("equal", costs, ZERO), DIV0)


def _one_sided(kit: Kit, parts: Sequence[Value], rate: Value, side: str) -> tuple[Operand, Operand]:
    """The worth, at the time of the first, of the payments on one side of zero."""
    kept = [Value(kit.emit(side, filled(kit, part, 0.0), ZERO), part.tag, part.kinds) for part in parts]
    return discounted(kit, kept, kit.emit("add", ONE, rate.payload))


@function("FVSCHEDULE", "number cells")
def _fvschedule(call: Call, principal: Value, rates: Cells) -> Value:
    kit, parts = call.kit, [part for part, _ in rates]
    growth = [kit.emit("product", kit.emit("add", ONE, filled(kit, part, 0.0))) for part in parts]
    worth = reduce(lambda x, y: kit.emit("mul", x, y), growth, principal.payload)
    return kit.with_tag(worth, kit.error_tag([principal, first_error(kit, parts)]))


@function("IRR", "cells number?")
def _irr(call: Call, values: Cells, guess: Value | None = None) -> Value:
    return over_elements(call, internal_rate, [call.kit.number(0.1) if guess is None else guess], [values])


def internal_rate(guess: float, values: Sequence[Scalar]) -> Scalar:
    flows = [value for value in values if isinstance(value, float)]
    return _rate_of(flows, list(range(len(flows))), guess)


def _rate_of(flows: Sequence[float], times: Sequence[float], guess: float) -> Scalar:
    """The rate at which flows at those times are worth nothing."""
    if guess <= -1 or not (min(flows, default=0.0) < 0 < max(flows, default=0.0)):
        return NUM

    def worth(rate: float) -> float:
        return sum(flow / math.pow(1 + rate, time) for flow, time in zip(flows, times, strict=True))

    def slope(rate: float) -> float:
        return sum(-time * flow / math.pow(1 + rate, time + 1) for flow, time in zip(flows, times, strict=True))

    root = nearest_root(worth, slope, guess)
    return NUM if root is None else root


# Payments at dates


@function("XNPV", "number array array")
def _xnpv(call: Call, rate: Value, values: Value, dates: Value) -> Value:
    kit = call.kit
    if values.shape[2] * values.shape[3] != dates.shape[2] * dates.shape[3]:
        return kit.error(NUM)
    days = kit.emit("trunc", dates.payload)
    years = kit.emit("div", kit.emit("sub", days, kit.emit("gather", ZERO, days)), 365.0)
    factor = kit.emit("power", kit.emit("add", ONE, rate.payload), years)
    worth = kit.emit("sum", kit.emit("div", values.payload, factor))
    result = kit.with_tag(worth, kit.error_tag([rate, first_error(kit, [values, dates])]))
    wrong = [kit.emit("not", kit.is_kind(part, NUMBER)) for part in (values, dates)]
    wrong += [kit.emit("less", years, ZERO), kit.emit("less", dates.payload, ZERO), kit.emit("less_equal", rate.payload, ZERO)]
    return kit.fail_where(result, reduce(lambda x, y: kit.emit("or", x, y), (kit.emit("any", mask) for mask in wrong)), NUM)


@function("XIRR", "array array number?")
def _xirr(call: Call, values: Value, dates: Value, guess: Value | None = None) -> Value:
    kit = call.kit
    return over_elements(call, dated_rate, [kit.number(0.1) if guess is None else guess], [[(values, True)], [(dates, True)]])


def dated_rate(guess: float, values: Sequence[Scalar], dates: Sequence[Scalar]) -> Scalar:
    if any(isinstance(item, (str, bool)) for item in (*values, *dates)):
        return ExcelError.VALUE
    flows = [value for value in values if isinstance(value, float)]
    days = [float(int(date)) for date in dates if isinstance(date, float)]
    if not len(flows) == len(days) == len(values) == len(dates) or min(days, default=-1.0) < max(0.0, *days[:1]):
        return NUM
    return _rate_of(flows, [(day - days[0]) / 365.0 for day in days], guess)
