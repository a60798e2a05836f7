"""Conditions, choice, and questions about what a cell holds."""

from __future__ import annotations

from functools import reduce

from ultramc.functions import function, lazy
from ultramc.functions.aggregate import first_error, how_many
from ultramc.functions.kit import ANY, BLANK, BOOLEAN, ERROR, NUMBER, ONE, TEXT, ZERO, Area, Areas, Kit, Value
from ultramc.lowering import Call, Steps
from ultramc.operators import compare
from ultramc.program import TRUE, Operand, decided
from ultramc.syntax import Missing, Node
from ultramc.values import ERRORS, ExcelError, Kind

NA = 1 << ExcelError.NA.kind


@lazy("IF", "node node? node?")
def _if(call: Call, condition: Node, yes: Node | None = None, no: Node | None = None) -> Steps:
    answer = call.kit.settled(call.one((yield condition, call.scope)))
    mask, errors = call.kit.to_mask(answer)
    verdict = decided(mask) if not errors.kinds & ERROR else None
    if verdict is not None and _scalar_mask(mask):
        taken, other = (yes, no) if verdict else (no, yes)
        if other is not None and verdict is False:
            call.skip(other)
        result = yield from _branch(call, taken, verdict)
        if other is not None and verdict is True:
            call.skip(other)
        return result
    if errors.known and not errors.kinds & NUMBER:
        return errors
    first = call.one((yield from _branch(call, yes, True)))
    second = call.one((yield from _branch(call, no, False)))
    answer, first, second = call.kit.aligned((answer, first, second))
    mask, errors = call.kit.to_mask(answer)
    return with_errors(call.kit, call.kit.choose(mask, first, second), errors)


def _scalar_mask(mask: Operand) -> bool:
    return tuple(mask.shape[:4]) == (1, 1, 1, 1) or (decided(mask) is not None and tuple(mask.shape[2:4]) == (1, 1))


def _branch(call: Call, node: Node | None, when_missing: bool) -> Steps:
    if node is None:
        return call.kit.scalar(when_missing)
    if isinstance(node, Missing):
        return call.kit.number(0)
    result = yield node, call.scope
    return result


def with_errors(kit: Kit, value: Value, errors: Value) -> Value:
    """The value, but the error where there is one."""
    if not errors.kinds & ERROR:
        return value
    return kit.choose(kit.is_kind(errors, ERROR), Value(ZERO, errors.tag, errors.kinds & ERROR), value)


@lazy("IFS", "(node node)+")
def _ifs(call: Call, *nodes: Node) -> Steps:
    pairs = list(zip(nodes[::2], nodes[1::2], strict=True))
    taken: list[tuple[Operand, Value, Value]] = []
    for position, (condition, branch) in enumerate(pairs):
        answer = yield condition, call.scope
        mask, errors = call.kit.to_mask(call.one(answer))
        verdict = decided(mask) if not errors.kinds & ERROR else None
        if verdict is False:
            call.skip(branch)
            continue
        result = yield branch, call.scope
        taken.append((mask, errors, call.one(result)))
        if verdict is True:
            for node in nodes[2 * position + 2 :]:
                call.skip(node)
            break
    return _nested(call.kit, taken)


def _nested(kit: Kit, taken: list[tuple[Operand, Value, Value]]) -> Value:
    value = kit.error(ExcelError.NA)
    for mask, errors, result in reversed(taken):
        value = with_errors(kit, kit.choose(mask, result, value), errors)
    return value


@lazy("SWITCH", "node node (node)+")
def _switch(call: Call, subject: Node, *nodes: Node) -> Steps:
    answer = yield subject, call.scope
    value = call.kit.settled(call.one(answer))
    taken: list[tuple[Operand, Value, Value]] = []
    for case, branch in zip(nodes[::2], nodes[1::2], strict=False):
        other = yield case, call.scope
        mask, errors = call.kit.to_mask(compare(call.kit, "=", value, call.one(other)))
        verdict = decided(mask) if not errors.kinds & ERROR else None
        if verdict is False:
            call.skip(branch)
            continue
        result = yield branch, call.scope
        taken.append((mask, errors, call.one(result)))
        if verdict is True:
            return _nested(call.kit, taken)
    if len(nodes) % 2:
        result = yield nodes[-1], call.scope
        taken.append((TRUE, Value(ZERO), call.one(result)))
    return _nested(call.kit, taken)


@lazy("CHOOSE", "node (node)+")
def _choose(call: Call, index: Node, *nodes: Node) -> Steps:
    answer = yield index, call.scope
    position = call.kit.settled(call.kit.to_number(call.one(answer)))
    whole = call.kit.emit("trunc", position.payload)
    if position.known and position.kinds == NUMBER and whole.shape[:4] == (1, 1, 1, 1):
        chosen = int(whole.flat[0])  # type: ignore[union-attr]
        return (yield from _chosen(call, chosen, nodes))
    taken: list[tuple[Operand, Value, Value]] = []
    for place, node in enumerate(nodes, 1):
        result = yield node, call.scope
        taken.append((call.kit.emit("equal", whole, float(place)), Value(ZERO), call.one(result)))
    inside = _nested(call.kit, taken)
    outside = call.kit.emit("or", call.kit.emit("less", whole, ONE), call.kit.emit("less", float(len(nodes)), whole))
    return with_errors(call.kit, call.kit.choose(outside, call.kit.error(ExcelError.VALUE), inside), position)


def _chosen(call: Call, chosen: int, nodes: tuple[Node, ...]) -> Steps:
    if not 1 <= chosen <= len(nodes):
        return call.kit.error(ExcelError.VALUE)
    for node in nodes[: chosen - 1]:
        call.skip(node)
    result = yield nodes[chosen - 1], call.scope
    for node in nodes[chosen:]:
        call.skip(node)
    return result


def _if_error(name: str, kinds: int) -> None:
    @lazy(name, "node node")
    def body(call: Call, node: Node, instead: Node) -> Steps:
        value = call.kit.settled(call.one((yield node, call.scope)))
        if not value.kinds & kinds:
            call.skip(instead)
            return value
        other = call.one((yield instead, call.scope))
        if other.kinds & BLANK:
            other = call.kit.choose(call.kit.is_kind(other, BLANK), call.kit.number(0), other)
        value, other = call.kit.aligned((value, other))
        return call.kit.choose(call.kit.is_kind(value, kinds), other, value)


_if_error("IFERROR", ERROR)
_if_error("IFNA", NA)


@function("NOT", "any")
def _not(call: Call, value: Value) -> Value:
    mask, errors = call.kit.to_mask(value)
    return call.kit.with_tag(call.kit.boolean(call.kit.emit("not", mask)).payload, errors, Kind.BOOLEAN)


def _connective(name: str, reduction: str, pair: str, neutral: float) -> None:
    @function(name, "(cells)+")
    def body(call: Call, *arguments: list[tuple[Value, bool]]) -> Value:
        kit = call.kit
        parts = [part for argument in arguments for part in argument]
        logical = [_logical(kit, *part, neutral) for part in parts]
        masks = [kit.emit(reduction, mask) for mask, _ in logical]
        mask = reduce(lambda x, y: kit.emit(pair, x, y), masks)
        return _concluded(kit, mask, [value for _, value in logical])


def _concluded(kit: Kit, mask: Operand, values: list[Value]) -> Value:
    """The first error, and #VALUE! where nothing was a condition."""
    result = kit.with_tag(kit.boolean(mask).payload, first_error(kit, values), Kind.BOOLEAN)
    found = how_many(kit, values, NUMBER | BOOLEAN | ERROR)
    return kit.fail_where(result, kit.emit("equal", found, ZERO), ExcelError.VALUE)


def _logical(kit: Kit, value: Value, from_reference: bool, neutral: float) -> tuple[Operand, Value]:
    """In a reference text and blanks do not count; what is written is coerced."""
    if from_reference:
        counts = kit.is_kind(value, NUMBER | BOOLEAN)
        payload = kit.emit("select", counts, value.payload, neutral)
        return kit.emit("not", kit.emit("equal", payload, ZERO)), value
    mask, errors = kit.to_mask(value)
    return mask, errors


_connective("AND", "all", "and", 1.0)
_connective("OR", "any", "or", 0.0)


@function("XOR", "(cells)+")
def _xor(call: Call, *arguments: list[tuple[Value, bool]]) -> Value:
    kit = call.kit
    logical = [_logical(kit, *part, 0.0) for argument in arguments for part in argument]
    counts = [kit.emit("count", mask) for mask, _ in logical]
    odd = kit.emit("equal", kit.emit("modulo", reduce(lambda x, y: kit.emit("add", x, y), counts), 2.0), ONE)
    return _concluded(kit, odd, [value for _, value in logical])


@function("TRUE", "")
def _true(call: Call) -> Value:
    return call.kit.scalar(True)


@function("FALSE", "")
def _false(call: Call) -> Value:
    return call.kit.scalar(False)


@function("NA", "")
def _na(call: Call) -> Value:
    return call.kit.error(ExcelError.NA)


def _question(name: str, kinds: int) -> None:
    @function(name, "any")
    def body(call: Call, value: Value) -> Value:
        return call.kit.boolean(call.kit.is_kind(call.kit.settled(value), kinds))


for _name, _kinds in (
    ("ISNUMBER", NUMBER),
    ("ISTEXT", TEXT),
    ("ISLOGICAL", BOOLEAN),
    ("ISBLANK", BLANK),
    ("ISERROR", ERROR),
    ("ISNA", NA),
    ("ISERR", ERROR & ~NA),
    ("ISNONTEXT", ANY & ~TEXT),
):
    _question(_name, _kinds)


def _parity(name: str, remainder: float) -> None:
    @function(name, "number!")
    def body(call: Call, value: Value) -> Value:
        kit = call.kit
        size = kit.emit("trunc", kit.emit("abs", value.payload))
        mask = kit.emit("equal", kit.emit("modulo", size, 2.0), remainder)
        return kit.with_tag(kit.boolean(mask).payload, value, Kind.BOOLEAN)


_parity("ISEVEN", 0.0)
_parity("ISODD", 1.0)


@lazy("ISREF", "node")
def _isref(call: Call, node: Node) -> Steps:
    result = yield node, call.scope
    return call.kit.scalar(isinstance(result, (Area, Areas)))


@function("N", "any")
def _n(call: Call, value: Value) -> Value:
    kit = call.kit
    keeps = kit.is_kind(value, NUMBER | BOOLEAN)
    number = Value(kit.emit("select", keeps, value.payload, ZERO))
    return with_errors(kit, number, kit.error_tag([value]))


@function("T", "any")
def _t(call: Call, value: Value) -> Value:
    kit = call.kit
    return kit.choose(kit.is_kind(value, TEXT | ERROR), value, kit.text(""))


_TYPES: tuple[tuple[int, float], ...] = ((NUMBER | BLANK, 1.0), (TEXT, 2.0), (BOOLEAN, 4.0), (ERROR, 16.0))


@function("TYPE", "any")
def _type(call: Call, value: Value) -> Value:
    kit = call.kit
    if value.shape[2:] != (1, 1):
        return kit.number(64)
    code: Operand = ZERO
    for kinds, number in _TYPES:
        code = kit.emit("select", kit.is_kind(value, kinds), number, code)
    return Value(code)


_NUMBERED = ERRORS[: ERRORS.index(ExcelError.CALC) + 1]  # they are declared in the order of these numbers


@function("ERROR.TYPE", "any")
def _error_type(call: Call, value: Value) -> Value:
    kit = call.kit
    code: Operand = ZERO
    for number, error in enumerate(_NUMBERED, 1):
        code = kit.emit("select", kit.is_kind(value, 1 << error.kind), float(number), code)
    return kit.fail_where(Value(code), kit.emit("not", kit.is_kind(value, ERROR)), ExcelError.NA)
