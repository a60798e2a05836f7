"""What is known about cells and sheets beside their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from attrs import evolve

from ultramc.address import CellRef, column_letters
from ultramc.functions import function
from ultramc.functions.kit import BLANK, TEXT, Area, Areas, Unroll, Value
from ultramc.lowering import Call, Result
from ultramc.values import ExcelError, Scalar


def _formula(call: Call, result: Result) -> str | ExcelError | None:
    """The text of the formula in the first cell of a reference."""
    if not isinstance(result, Area):
        return ExcelError.NA
    if call.place.size > 1:
        raise Unroll
    return call.lowering.graph.book.formula_text(CellRef(result.sheet, result.top.at, result.left.at))


@function("FORMULATEXT", "area")
def _formulatext(call: Call, area: Result) -> Value:
    text = _formula(call, area)
    return call.kit.text(f"={text}") if isinstance(text, str) else call.kit.error(ExcelError.NA)


@function("ISFORMULA", "area")
def _isformula(call: Call, area: Result) -> Value:
    text = _formula(call, area)
    return call.kit.error(ExcelError.VALUE) if isinstance(text, ExcelError) else call.kit.scalar(text is not None)


# Sheets


def _sheet_number(names: Sequence[str], name: Scalar) -> float | ExcelError:
    folded = str(name).casefold()
    return float(names.index(folded) + 1) if folded in names else ExcelError.NA


@function("SHEET", "area?")
def _sheet(call: Call, result: Result = None) -> Value:
    names = tuple(sheet.name.casefold() for sheet in call.lowering.graph.book.sheets)
    if isinstance(result, Value):
        return call.kit.scalar_function(partial(_sheet_number, names), (result,), "SHEET")
    first = result.parts[0] if isinstance(result, Areas) else result
    return call.kit.scalar(_sheet_number(names, call.place.sheet if first is None else first.sheet))


@function("SHEETS", "area?")
def _sheets(call: Call, result: Result = None) -> Value:
    if result is None:
        return call.kit.number(len(call.lowering.graph.book.sheets))
    if isinstance(result, Value):
        return call.kit.error(ExcelError.NA)
    return call.kit.number(len({area.sheet for area in result.parts}) if isinstance(result, Areas) else 1)


# CELL


def _address(call: Call, area: Area) -> Value:
    if area.sheet != call.place.sheet:
        raise call.refuse("of another sheet's address needs the file name, which is not kept")
    return call.kit.text(f"${column_letters(area.left.at)}${area.top.at}")


def _kind_letter(call: Call, area: Area) -> Value:
    value = call.read(area)
    kit = call.kit
    other = kit.choose(kit.is_kind(value, TEXT), kit.text("l"), kit.text("v"))
    return kit.choose(kit.is_kind(value, BLANK), kit.text("b"), other)


_FACTS: dict[str, Callable[[Call, Area], Value]] = {
    "address": _address,
    "col": lambda call, area: call.kit.number(area.left.at),
    "row": lambda call, area: call.kit.number(area.top.at),
    "contents": lambda call, area: call.read(area),
    "type": _kind_letter,
}
_NOT_KEPT = ("color", "filename", "format", "parentheses", "prefix", "protect", "width")


@function("CELL", "text area?")
def _cell(call: Call, wanted: Value, result: Result = None) -> Value:
    """Of the first cell of a reference."""
    if call.place.size > 1:
        raise Unroll
    what = call.kit.scalars(wanted)[0] if wanted.known else None
    if isinstance(what, ExcelError):
        return wanted
    if result is None or str(what).casefold() in _NOT_KEPT:
        raise call.refuse(f"of {what!r} is not supported" if result is not None else "without a reference is not supported")
    fact = _FACTS.get(str(what).casefold())
    if fact is None or not isinstance(result, Area):
        return result if isinstance(result, Value) else call.kit.error(ExcelError.VALUE)
    return fact(call, evolve(result, bottom=result.top, right=result.left))
