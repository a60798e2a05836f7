"""Arithmetic, rounding, powers, logarithms and trigonometry, as ops."""

from __future__ import annotations

import math
from collections.abc import Callable

from ultramc.functions import elementwise
from ultramc.functions.kit import ONE, ZERO, Kit
from ultramc.operators import power
from ultramc.program import Operand, constant
from ultramc.values import ExcelError

LARGEST_ANGLE = constant(2.0**27)  # SIN and its like give #NUM! beyond (Microsoft's page on SIN)


def _plain(name: str, op: str) -> None:
    """A function that is one op and cannot fail on a number (overflow aside)."""
    elementwise(name, "number")(lambda kit, x: kit.emit(op, x))


for _name, _op in (
    ("ABS", "abs"),
    ("SIGN", "sign"),
    ("EXP", "exp"),
    ("ATAN", "atan"),
    ("SINH", "sinh"),
    ("COSH", "cosh"),
    ("TANH", "tanh"),
    ("ASINH", "asinh"),
    ("INT", "floor"),
):
    _plain(_name, _op)


def _angle(name: str, op: str) -> None:
    def body(kit: Kit, x: Operand) -> Operand:
        kit.fail(kit.emit("less_equal", LARGEST_ANGLE, kit.emit("abs", x)), ExcelError.NUM)
        return kit.emit(op, x)

    elementwise(name, "number")(body)


for _name in ("SIN", "COS", "TAN"):
    _angle(_name, _name.lower())


def _limited(name: str, op: str, outside: Callable[[Kit, Operand], Operand]) -> None:
    """A function that is one op, and #NUM! where `outside` holds."""

    def body(kit: Kit, x: Operand) -> Operand:
        kit.fail(outside(kit, x), ExcelError.NUM)
        return kit.emit(op, x)

    elementwise(name, "number")(body)


def _negative(kit: Kit, x: Operand) -> Operand:
    return kit.emit("less", x, ZERO)


def _not_positive(kit: Kit, x: Operand) -> Operand:
    return kit.emit("less_equal", x, ZERO)


def _beyond_one(kit: Kit, x: Operand) -> Operand:
    return kit.emit("less", ONE, kit.emit("abs", x))


def _from_one(kit: Kit, x: Operand) -> Operand:
    return kit.emit("less_equal", ONE, kit.emit("abs", x))


def _below_one(kit: Kit, x: Operand) -> Operand:
    return kit.emit("less", x, ONE)


_limited("SQRT", "sqrt", _negative)
_limited("LN", "log", _not_positive)
_limited("LOG10", "log10", _not_positive)
_limited("ASIN", "asin", _beyond_one)
_limited("ACOS", "acos", _beyond_one)
_limited("ACOSH", "acosh", _below_one)
_limited("ATANH", "atanh", _from_one)


@elementwise("SQRTPI", "number")
def _sqrtpi(kit: Kit, x: Operand) -> Operand:
    kit.fail(_negative(kit, x), ExcelError.NUM)
    return kit.emit("sqrt", kit.emit("mul", x, math.pi))


@elementwise("ATAN2", "number number")
def _atan2(kit: Kit, x: Operand, y: Operand) -> Operand:
    kit.fail(kit.emit("and", kit.emit("equal", x, ZERO), kit.emit("equal", y, ZERO)), ExcelError.DIV0)
    return kit.emit("atan2", y, x)


@elementwise("PI", "")
def _pi(kit: Kit) -> Operand:
    return constant(math.pi)


@elementwise("DEGREES", "number")
def _degrees(kit: Kit, x: Operand) -> Operand:
    return kit.emit("div", kit.emit("mul", x, 180.0), math.pi)


@elementwise("RADIANS", "number")
def _radians(kit: Kit, x: Operand) -> Operand:
    return kit.emit("div", kit.emit("mul", x, math.pi), 180.0)


elementwise("POWER", "number number")(power)


@elementwise("LOG", "number number?")
def _log(kit: Kit, x: Operand, base: Operand | None = None) -> Operand:
    kit.fail(_not_positive(kit, x), ExcelError.NUM)
    if base is None:
        return kit.emit("log10", x)
    kit.fail(_not_positive(kit, base), ExcelError.NUM)
    kit.fail(kit.emit("equal", base, ONE), ExcelError.DIV0)
    quotient = kit.emit("div", kit.emit("log", x), kit.emit("log", base))
    return kit.emit("select", kit.emit("equal", base, 10.0), kit.emit("log10", x), quotient)


@elementwise("MOD", "number number")
def _mod(kit: Kit, x: Operand, y: Operand) -> Operand:
    kit.fail(kit.emit("equal", y, ZERO), ExcelError.DIV0)
    return kit.emit("modulo", x, y)


@elementwise("QUOTIENT", "number number")
def _quotient(kit: Kit, x: Operand, y: Operand) -> Operand:
    kit.fail(kit.emit("equal", y, ZERO), ExcelError.DIV0)
    return kit.emit("trunc", kit.emit("div", x, y))


@elementwise("EVEN", "number")
def _even(kit: Kit, x: Operand) -> Operand:
    size = kit.emit("mul", kit.emit("ceil", kit.emit("div", kit.emit("abs", x), 2.0)), 2.0)
    return kit.emit("mul", size, kit.emit("sign", x))


@elementwise("ODD", "number")
def _odd(kit: Kit, x: Operand) -> Operand:
    steps = kit.emit("ceil", kit.emit("div", kit.emit("sub", kit.emit("abs", x), ONE), 2.0))
    size = kit.emit("add", kit.emit("mul", kit.emit("max", steps, ZERO), 2.0), ONE)
    return kit.emit("select", _negative(kit, x), kit.emit("neg", size), size)


# Rounding. A number is scaled by a power of ten, rounded as an integer, and scaled back. `mend` undoes the error that
# scaling makes, so that 4.35 to two places stays 4.35; a division by an exact power gives the nearest double.


def _scaled(kit: Kit, x: Operand, digits: Operand, integer_op: str) -> Operand:
    places = kit.emit("trunc", digits)
    up = kit.emit("power", 10.0, kit.emit("min", kit.emit("max", places, ZERO), 308.0))
    down = kit.emit("power", 10.0, kit.emit("min", kit.emit("max", kit.emit("neg", places), ZERO), 308.0))
    scaled = kit.emit("div", kit.emit("mul", x, up), down)
    whole = kit.emit("equal", places, ZERO)
    rounded = kit.emit(integer_op, kit.emit("select", whole, scaled, kit.emit("mend", scaled)))
    result = kit.emit("div", kit.emit("mul", rounded, down), up)
    exact = kit.emit("less", 1e15, kit.emit("abs", scaled))  # more digits asked for than a double has
    return kit.emit("select", exact, x, result)


@elementwise("ROUND", "number integer")
def _round(kit: Kit, x: Operand, digits: Operand) -> Operand:
    return _scaled(kit, x, digits, "round_half")


@elementwise("ROUNDDOWN", "number integer")
def _rounddown(kit: Kit, x: Operand, digits: Operand) -> Operand:
    return _scaled(kit, x, digits, "trunc")


@elementwise("TRUNC", "number integer?")
def _trunc(kit: Kit, x: Operand, digits: Operand = ZERO) -> Operand:
    return _scaled(kit, x, digits, "trunc")


@elementwise("ROUNDUP", "number integer")
def _roundup(kit: Kit, x: Operand, digits: Operand) -> Operand:
    size = _scaled(kit, kit.emit("abs", x), digits, "ceil")
    return kit.emit("mul", size, kit.emit("sign", x))


def _multiples(kit: Kit, x: Operand, step: Operand, integer_op: str) -> Operand:
    """x as a whole number of steps, rounded by the op; 0 where the step is 0."""
    no_step = kit.emit("equal", step, ZERO)
    count = kit.emit("mend", kit.emit("div", x, kit.emit("select", no_step, ONE, step)))
    return kit.emit("select", no_step, ZERO, kit.emit("mul", kit.emit(integer_op, count), step))


@elementwise("MROUND", "number number")
def _mround(kit: Kit, x: Operand, step: Operand) -> Operand:
    kit.fail(kit.emit("less", kit.emit("mul", kit.emit("sign", x), kit.emit("sign", step)), ZERO), ExcelError.NUM)
    return _multiples(kit, x, step, "round_half")


@elementwise("CEILING", "number number")
def _ceiling(kit: Kit, x: Operand, step: Operand) -> Operand:
    kit.fail(kit.emit("and", kit.emit("less", ZERO, x), kit.emit("less", step, ZERO)), ExcelError.NUM)
    return _multiples(kit, x, step, "ceil")


@elementwise("FLOOR", "number number")
def _floor(kit: Kit, x: Operand, step: Operand) -> Operand:
    kit.fail(kit.emit("and", kit.emit("less", ZERO, x), kit.emit("less", step, ZERO)), ExcelError.NUM)
    zero_step = kit.emit("and", kit.emit("equal", step, ZERO), kit.emit("not", kit.emit("equal", x, ZERO)))
    kit.fail(zero_step, ExcelError.DIV0)
    return _multiples(kit, x, step, "floor")


@elementwise("CEILING.PRECISE ISO.CEILING", "number number?")
def _ceiling_precise(kit: Kit, x: Operand, step: Operand = ONE) -> Operand:
    return _multiples(kit, x, kit.emit("abs", step), "ceil")


@elementwise("FLOOR.PRECISE", "number number?")
def _floor_precise(kit: Kit, x: Operand, step: Operand = ONE) -> Operand:
    return _multiples(kit, x, kit.emit("abs", step), "floor")


@elementwise("CEILING.MATH", "number number? number?")
def _ceiling_math(kit: Kit, x: Operand, step: Operand = ONE, mode: Operand = ZERO) -> Operand:
    away = kit.emit("and", _negative(kit, x), kit.emit("not", kit.emit("equal", mode, ZERO)))
    size = kit.emit("abs", step)
    return kit.emit("select", away, _multiples(kit, x, size, "floor"), _multiples(kit, x, size, "ceil"))


@elementwise("FLOOR.MATH", "number number? number?")
def _floor_math(kit: Kit, x: Operand, step: Operand = ONE, mode: Operand = ZERO) -> Operand:
    towards = kit.emit("and", _negative(kit, x), kit.emit("not", kit.emit("equal", mode, ZERO)))
    size = kit.emit("abs", step)
    return kit.emit("select", towards, _multiples(kit, x, size, "ceil"), _multiples(kit, x, size, "floor"))
