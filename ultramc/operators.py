"""Excel's operators, as functions of the kit: arithmetic, comparison and ``&``."""

from __future__ import annotations

from collections.abc import Callable

from ultramc.errors import UnsupportedFormula
from ultramc.functions.kit import BLANK, BOOLEAN, ERROR, NUMBER, TEXT, ZERO, Kit, Value
from ultramc.program import FALSE, TRUE, Operand
from ultramc.values import MAX_TEXT, ExcelError, Kind, Scalar, to_text


def arithmetic(kit: Kit, operator: str, x: Value, y: Value) -> Value:
    """Two numbers. Overflow is left as inf or NaN, for `Kit.settled` to turn into #NUM! where it would be lost."""
    return _ARITHMETIC[operator](kit, x, y)


def _plain(op: str) -> Callable[[Kit, Value, Value], Value]:
    def apply(kit: Kit, x: Value, y: Value) -> Value:
        return kit.with_tag(kit.emit(op, x.payload, y.payload), kit.error_tag((x, y)))

    return apply


def _divide(kit: Kit, x: Value, y: Value) -> Value:
    y = kit.settled(y)
    result = _plain("div")(kit, x, y)
    return kit.fail_where(result, kit.emit("equal", y.payload, ZERO), ExcelError.DIV0)


def power(kit: Kit, x: Operand, y: Operand) -> Operand:
    """An elementwise body: 0^0 is #NUM!, 0 to a negative power #DIV/0!, a root of a negative number #NUM!."""
    base_is_zero = kit.emit("equal", x, ZERO)
    kit.fail(kit.emit("and", base_is_zero, kit.emit("equal", y, ZERO)), ExcelError.NUM)
    kit.fail(kit.emit("and", base_is_zero, kit.emit("less", y, ZERO)), ExcelError.DIV0)
    fraction = kit.emit("not", kit.emit("equal", kit.emit("floor", y), y))
    kit.fail(kit.emit("and", kit.emit("less", x, ZERO), fraction), ExcelError.NUM)
    return kit.emit("power", x, y)


def _power(kit: Kit, x: Value, y: Value) -> Value:
    return kit.elementwise(power, (kit.settled(x), kit.settled(y)))


_ARITHMETIC: dict[str, Callable[[Kit, Value, Value], Value]] = {
    "+": _plain("add"),
    "-": _plain("sub"),
    "*": _plain("mul"),
    "/": _divide,
    "^": _power,
}


def compare(kit: Kit, operator: str, first: Value, second: Value) -> Value:
    """A boolean: numbers sort before text before booleans; a blank is what it is compared with."""
    first, second = kit.settled(first), kit.settled(second)
    errors = kit.error_tag((first, second))
    mask = comparison(kit, operator, first, second)
    return kit.with_tag(kit.boolean(mask).payload, errors, Kind.BOOLEAN)


def comparison(kit: Kit, operator: str, first: Value, second: Value) -> Operand:
    if operator == "=":
        return _equal(kit, first, second)
    if operator == "<>":
        return kit.emit("not", _equal(kit, first, second))
    if operator == "<":
        return _less(kit, first, second)
    if operator == ">":
        return _less(kit, second, first)
    if operator == ">=":
        return kit.emit("not", _less(kit, first, second))
    return kit.emit("not", _less(kit, second, first))


_SIMPLE = NUMBER | BLANK | ERROR


def _equal(kit: Kit, first: Value, second: Value) -> Operand:
    if not (first.kinds | second.kinds) & ~_SIMPLE:
        return kit.emit("near", first.payload, second.payload)
    first, second = _without_blank(kit, first, second), _without_blank(kit, second, first)
    same_kind: Operand = FALSE
    for kinds, key in _CLASSES:
        both = kit.emit("and", kit.is_kind(first, kinds), kit.is_kind(second, kinds))
        if both is not FALSE:
            key = _folded if kinds == TEXT else key
            equal = kit.emit("near", key(kit, first), key(kit, second))
            same_kind = kit.emit("or", same_kind, kit.emit("and", both, equal))
    return same_kind


def _less(kit: Kit, first: Value, second: Value) -> Operand:
    if not (first.kinds | second.kinds) & ~_SIMPLE:
        return _number_less(kit, first.payload, second.payload)
    first, second = _without_blank(kit, first, second), _without_blank(kit, second, first)
    less: Operand = FALSE
    for index, (kinds, key) in enumerate(_CLASSES):
        mine = kit.is_kind(first, kinds)
        within = kit.emit("and", kit.is_kind(second, kinds), _number_less(kit, key(kit, first), key(kit, second)))
        later = kit.is_kind(second, _later(index))
        less = kit.emit("or", less, kit.emit("and", mine, kit.emit("or", within, later)))
    return less


def _number_less(kit: Kit, x: Operand, y: Operand) -> Operand:
    return kit.emit("and", kit.emit("less", x, y), kit.emit("not", kit.emit("near", x, y)))


def _payload(kit: Kit, value: Value) -> Operand:
    return value.payload


def _rank(kit: Kit, value: Value) -> Operand:
    return kit.rank(value) if value.kinds & TEXT else ZERO


def _folded(kit: Kit, value: Value) -> Operand:
    return kit.folded(value) if value.kinds & TEXT else ZERO


_CLASSES: tuple[tuple[int, Callable[[Kit, Value], Operand]], ...] = (
    (NUMBER, _payload),
    (TEXT, _rank),
    (BOOLEAN, _payload),
)


def _later(index: int) -> int:
    later = 0
    for kinds, _ in _CLASSES[index + 1 :]:
        later |= kinds
    return later


def _without_blank(kit: Kit, value: Value, other: Value) -> Value:
    """A blank beside text is "", beside a boolean FALSE, else 0."""
    if not value.kinds & BLANK:
        return value
    blank = kit.is_kind(value, BLANK)
    as_text = kit.choose(kit.is_kind(other, TEXT), kit.text(""), kit.number(0))
    stand_in = kit.choose(kit.is_kind(other, BOOLEAN), Value(ZERO, int(Kind.BOOLEAN), BOOLEAN), as_text)
    return kit.choose(blank, stand_in, value) if blank is not TRUE else stand_in


def _joined(first: Scalar, second: Scalar) -> Scalar:
    for value in (first, second):
        if isinstance(value, ExcelError):
            return value
    text = f"{to_text(first)}{to_text(second)}"
    return text if len(text) <= MAX_TEXT else ExcelError.VALUE


def concatenate(kit: Kit, first: Value, second: Value) -> Value:
    if not (first.known and second.known):
        raise UnsupportedFormula("& builds text from simulated values, which is not supported yet")
    return kit.scalar_function(_joined, (first, second), "&")
