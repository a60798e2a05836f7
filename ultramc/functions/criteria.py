"""Criteria as SUMIF and its like write them: ``5``, ``"apples"``, ``">=10"``, ``"<>"``, ``"a*"``."""

from __future__ import annotations

import math
import re

import numpy as np
from attrs import frozen

from ultramc.errors import UnsupportedFormula
from ultramc.functions.kit import BLANK, BOOLEAN, ERROR, NUMBER, TEXT, Kit, Unroll, Value, tag_of, text_as_number
from ultramc.functions.text_values import number_in_text
from ultramc.program import FALSE, Operand, constant
from ultramc.values import ERROR_NAMES, ExcelError, Kind, Scalar

LARGEST_PRODUCT = 8_000_000  # cells × criteria that are compared at once

_OPERATOR = re.compile(r"(<>|<=|>=|=|<|>)?(.*)", re.DOTALL)
_WORDS = {"true": True, "false": False}


@frozen
class Criterion:
    """`operand` is a number, boolean, error, text, or None for "nothing written"; text may hold wildcards."""

    operator: str
    operand: Scalar
    written: bool  # whether an operator was written

    @classmethod
    def parse(cls, value: Scalar) -> Criterion:
        if value is None:
            return cls("=", 0.0, False)
        if not isinstance(value, str):
            return cls("=", value, False)
        match = _OPERATOR.fullmatch(value)
        assert match is not None
        return cls(match[1] or "=", _operand(match[2]), match[1] is not None)


def _operand(text: str) -> Scalar:
    if text == "":
        return None
    if text.casefold() in _WORDS:
        return _WORDS[text.casefold()]
    number = number_in_text(text)
    return number if number is not None else ERROR_NAMES.get(text.upper(), text)


def criterion(kit: Kit, cells: Value, condition: Value) -> Operand:
    """A mask: which cells meet the condition. Conditions that differ by cell of a block must be of one sort."""
    if math.prod(np.broadcast_shapes(cells.shape, condition.shape)) > max(LARGEST_PRODUCT, 4 * math.prod(cells.shape)):
        raise Unroll
    if not condition.known:
        return _equals_simulated(kit, cells, condition)
    parsed = [Criterion.parse(value) for value in kit.scalars(condition)]
    sorts = {(item.operator, type(item.operand), item.written) for item in parsed}
    if len(sorts) > 1:
        raise Unroll("its cells compare in different ways, or with values of different kinds")
    return _mask(kit, cells, parsed, condition.shape)


def _equals_simulated(kit: Kit, cells: Value, condition: Value) -> Operand:
    """A simulated criterion is a number, a boolean or an error to be equal to; a blank one is 0."""
    if condition.kinds & TEXT:
        raise UnsupportedFormula("a criterion that is simulated text is not supported")
    condition = kit.settled(condition)
    mask = kit.emit("and", kit.is_kind(condition, NUMBER | BLANK), _number_equals(kit, cells, condition.payload))
    booleans = _typed(kit, cells, BOOLEAN, condition.payload, "=")
    mask = kit.emit("or", mask, kit.emit("and", kit.is_kind(condition, BOOLEAN), booleans))
    errors = kit.emit("and", kit.is_kind(condition, ERROR), kit.emit("equal", tag_of(cells), tag_of(condition)))
    return kit.emit("or", mask, errors)


def _mask(kit: Kit, cells: Value, parsed: list[Criterion], shape: tuple[int, ...]) -> Operand:
    first = parsed[0]
    operator = "=" if first.operator == "<>" else first.operator
    if first.operand is None and operator != "=":
        return FALSE  # "<" with nothing to compare with
    if first.operand is None:
        mask = _empty(kit, cells, strictly=first.written)
    elif isinstance(first.operand, str):
        mask = _text_mask(kit, cells, parsed, shape, operator)
    elif isinstance(first.operand, bool):
        mask = _typed(kit, cells, BOOLEAN, _constants(parsed, shape), operator)
    elif isinstance(first.operand, ExcelError):
        mask = kit.is_kind(cells, 1 << first.operand.kind)
    elif first.operator == "=":
        mask = _number_equals(kit, cells, _constants(parsed, shape))
    else:
        mask = _typed(kit, cells, NUMBER, _constants(parsed, shape), operator)
    return kit.emit("not", mask) if first.operator == "<>" else mask


def _constants(parsed: list[Criterion], shape: tuple[int, ...]) -> Operand:
    return np.array([float(item.operand) for item in parsed if isinstance(item.operand, (bool, float))]).reshape(*shape, 1)


def _empty(kit: Kit, cells: Value, *, strictly: bool) -> Operand:
    blank = kit.is_kind(cells, BLANK)
    if strictly:
        return blank
    empty_text = kit.emit("equal", cells.payload, constant(kit.texts.code("")))
    return kit.emit("or", blank, kit.emit("and", kit.is_kind(cells, TEXT), empty_text))


def _number_equals(kit: Kit, cells: Value, number: Operand) -> Operand:
    """Numbers that are equal, and text that reads as an equal number."""
    mask = kit.emit("and", kit.is_kind(cells, NUMBER), kit.emit("near", cells.payload, number))
    if not cells.kinds & TEXT:
        return mask
    as_number = kit.emit("gather", cells.payload, kit.texts.table(text_as_number))
    text = kit.emit("and", kit.is_kind(cells, TEXT), kit.emit("near", as_number, number))
    return kit.emit("or", mask, text)


def _typed(kit: Kit, cells: Value, kinds: int, operand: Operand, operator: str) -> Operand:
    return kit.emit("and", kit.is_kind(cells, kinds), _compared(kit, cells.payload, operand, operator))


def _compared(kit: Kit, x: Operand, y: Operand, operator: str) -> Operand:
    near = kit.emit("near", x, y)
    if operator == "=":
        return near
    beyond = kit.emit("less", x, y) if operator[0] == "<" else kit.emit("less", y, x)
    return kit.emit("or", beyond, near) if operator.endswith("=") else kit.emit("and", beyond, kit.emit("not", near))


def _text_mask(kit: Kit, cells: Value, parsed: list[Criterion], shape: tuple[int, ...], operator: str) -> Operand:
    texts = [str(item.operand) for item in parsed]
    if operator == "=" and any(_has_wildcard(text) for text in texts):
        if len(set(texts)) > 1:
            raise Unroll("its cells look for different patterns")
        return like(kit, cells, texts[0])
    if not cells.kinds & TEXT:
        return FALSE
    codes = np.array([float(kit.texts.code(text)) for text in texts]).reshape(*shape, 1)
    wanted = Value(codes, int(Kind.TEXT), TEXT)
    key = kit.folded if operator == "=" else kit.rank
    return kit.emit("and", kit.is_kind(cells, TEXT), _compared(kit, key(cells), key(wanted), operator))


def _has_wildcard(text: str) -> bool:
    return any(sign in text for sign in "*?~")


def like(kit: Kit, cells: Value, pattern: str) -> Operand:
    """``*`` any run, ``?`` any character, ``~`` takes the next sign literally."""
    if not cells.kinds & TEXT:
        return FALSE
    expression = wildcard(pattern)
    table = np.array([expression.fullmatch(text) is not None for text in kit.texts.strings] or [False]).reshape(1, 1, -1, 1, 1)
    return kit.emit("and", kit.is_kind(cells, TEXT), kit.emit("gather", cells.payload, table))


def wildcard(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression for `fullmatch`. Each part is taken where it first fits, so that matching stays quick."""
    first, *later = wildcard_parts(pattern)
    middle = "".join(f"(?>.*?{part})" for part in later[:-1])
    last = f".*{later[-1]}" if later else ""
    return re.compile(first + middle + last, re.IGNORECASE | re.DOTALL)


def wildcard_parts(pattern: str) -> list[str]:
    """What stands between the ``*`` of a pattern, as regular expressions of fixed length."""
    parts, position = [""], 0
    while position < len(pattern):
        sign = pattern[position]
        if sign == "~":
            position += 1
            parts[-1] += re.escape(pattern[position : position + 1])
        elif sign == "*":
            parts.append("")
        else:
            parts[-1] += "." if sign == "?" else re.escape(sign)
        position += 1
    return parts
