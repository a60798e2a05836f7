"""Finding values and cells: MATCH and what is built on it, INDEX, OFFSET, INDIRECT, and where a cell is."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from attrs import evolve, frozen

from ultramc import syntax
from ultramc.address import MAX_COLUMN, MAX_ROW, RangeRef, column_letters, quoted
from ultramc.engines.array import evaluate
from ultramc.errors import FormulaSyntaxError
from ultramc.functions import function, lazy, scalar
from ultramc.functions.criteria import like, wildcard
from ultramc.functions.kit import BLANK, BOOLEAN, ERROR, NUMBER, OMITTED, ONE, TEXT, ZERO, Area, Areas, Edge, Kit, Unroll, Value, tag_value
from ultramc.functions.logic import with_errors
from ultramc.lowering import Call, Result, Steps
from ultramc.operators import comparison
from ultramc.parser import parse
from ultramc.program import FALSE, Known, Operand, Ref, array_of, constant, decided, interval_of, narrowed
from ultramc.references import extent
from ultramc.syntax import Node
from ultramc.values import ExcelError, Scalar

WIDEST_COMPARISON = 4_000_000
MOST_REACHED = 4_096  # cells that OFFSET may reach by simulated numbers

EXACT, BELOW, ABOVE, WILDCARD = 0, -1, 1, 2  # XMATCH's match modes


def take(kit: Kit, array: Value, position: Operand) -> Value:
    """The elements of an array at 0-based positions, row by row."""
    array = kit.stretched(array)
    tag = array.tag if isinstance(array.tag, int) else kit.emit("gather", position, array.tag)
    return tag_value(kit.emit("gather", position, array.payload), tag, array.kinds)


# Where in a row or column a key stands: 0-based positions, -1 where it is not found


def find(kit: Kit, key: Value, table: Value, mode: int, *, from_end: bool = False) -> Operand:
    """Positions of `key` among the elements of `table`, by XMATCH's modes.

    The nearest match in a simulated array of mixed kinds takes it to be sorted; any other is Excel's binary search.
    """
    table = kit.settled(table)
    if key.known and table.known and table.shape[:2] == (1, 1):
        return _find_known(kit, key, table, mode, from_end)
    if math.prod(np.broadcast_shapes(key.shape, table.shape)) > WIDEST_COMPARISON:
        raise Unroll
    if mode in (EXACT, WILDCARD):
        hits = _matching(kit, key, table) if mode == WILDCARD and _has_pattern(kit, key) else _compared(kit, "=", table, key)
        return kit.emit("last_true" if from_end else "first_true", hits)
    if mode == BELOW and _is_ascending(table) and not key.kinds & (TEXT | BOOLEAN):
        return kit.emit("sub", _counted(kit, key.payload, _thresholds(table)), ONE)
    if not table.kinds & ~(NUMBER | ERROR):
        return _nearest_number(kit, key, table, mode)
    if table.known and table.shape[:2] != (1, 1):
        raise Unroll
    if table.known and not key.kinds & (TEXT | BOOLEAN):
        return _nearest_known(kit, key, table, mode)
    return kit.emit("last_true", _compared(kit, "<=" if mode == BELOW else ">=", table, key))


def _compared(kit: Kit, operator: str, table: Value, key: Value) -> Operand:
    """A mask: a key is compared with elements of its own kind only, and a blank one with numbers."""
    if key.kinds & BLANK:
        key = kit.choose(kit.is_kind(key, BLANK), kit.number(0), key)
    alike: Operand = FALSE
    for kinds in (NUMBER, TEXT, BOOLEAN):
        alike = kit.emit("or", alike, kit.emit("and", kit.is_kind(table, kinds), kit.is_kind(key, kinds)))
    return kit.emit("and", alike, comparison(kit, operator, table, key))


def _has_pattern(kit: Kit, key: Value) -> bool:
    return key.known and any(_is_pattern(item) for item in kit.scalars(key))


def _matching(kit: Kit, key: Value, table: Value) -> Operand:
    patterns = set(kit.scalars(key))
    if len(patterns) > 1:
        raise Unroll
    return like(kit, table, str(patterns.pop()))


def _is_ascending(table: Value) -> bool:
    """A known array of numbers in order: a binary search comes to counting."""
    if not table.known or table.kinds != NUMBER or table.shape[:2] != (1, 1):
        return False
    line = np.broadcast_to(array_of(table.payload), (*table.shape, 1)).ravel()
    return bool((line[1:] >= line[:-1]).all())


def _counted(kit: Kit, x: Operand, thresholds: Known) -> Operand:
    """How many thresholds are passed: as few and as many as the bounds of x say."""
    low, high = np.searchsorted(thresholds.ravel(), interval_of(x)).tolist()
    return narrowed(kit.emit("search", x, thresholds), low, high)


def _thresholds(table: Value) -> Known:
    """For each element the number just below those that are at least as large, to 15 digits."""
    elements = np.broadcast_to(array_of(table.payload), (*table.shape, 1)).ravel()
    found = elements.copy()
    while (near := evaluate("near", found, elements)).any():
        found = np.where(near, np.nextafter(found, -np.inf), found)
    return found.reshape(1, 1, -1, 1, 1)


def _nearest_number(kit: Kit, key: Value, table: Value, mode: int) -> Operand:
    """Excel's binary search among numbers, which need be in no order, step by step."""
    count = table.shape[2] * table.shape[3]
    low: Operand = ZERO
    high: Operand = constant(count - 1.0)
    found: Operand = constant(-1.0)
    for _ in range(count.bit_length()):
        middle = kit.emit("floor", kit.emit("mul", kit.emit("add", low, high), 0.5))
        fits = _compared(kit, "<=" if mode == BELOW else ">=", take(kit, table, middle), key)
        fits = kit.emit("and", fits, kit.emit("less_equal", low, high))
        found = kit.emit("select", fits, middle, found)
        low = kit.emit("select", fits, kit.emit("add", middle, ONE), low)
        high = kit.emit("select", fits, high, kit.emit("sub", middle, ONE))
    return found


def _nearest_known(kit: Kit, key: Value, table: Value, mode: int) -> Operand:
    """The same of a known array in which numbers stand among blanks and text: by what it gives at and between its numbers."""
    elements = kit.scalars(table)
    numbers = sorted({sort_key(element)[1] for element in elements if _is_number(element)}) or [0.0]
    places = {number: float(2 * rank + 1) for rank, number in enumerate(numbers)}
    ranked = _Ranked([places[sort_key(element)[1]] if _is_number(element) else element for element in elements])
    found = [ranked.position(float(place), mode) for place in range(2 * len(numbers) + 1)]
    values, positions = (np.array(items, dtype=np.float64).reshape(1, 1, -1, 1, 1) for items in (numbers, found))
    return kit.emit("gather", _place_among(kit, key.payload, values), positions)


def _is_number(element: Scalar) -> bool:
    return isinstance(element, float)


def _place_among(kit: Kit, x: Operand, values: Known) -> Operand:
    """2 i + 1 for the i-th of ascending values, 2 i between it and the one before."""
    rank = kit.emit("search", x, values)
    before = kit.emit("sub", rank, ONE)
    at, just_above = (kit.emit("near", x, kit.emit("gather", index, values)) for index in (rank, before))
    step = kit.emit("select", at, ONE, kit.emit("select", just_above, -1.0, ZERO))
    return kit.emit("add", kit.emit("mul", rank, 2.0), step)


def _find_known(kit: Kit, key: Value, table: Value, mode: int, from_end: bool) -> Known:
    keys, elements = kit.scalars(key), kit.scalars(table)
    if mode in (EXACT, WILDCARD):
        found = _exact_positions(keys, elements, from_end, wildcards=mode == WILDCARD)
    else:
        ranked = _Ranked(elements)
        found = [ranked.position(item, mode) for item in keys]
    return np.array(found, dtype=np.float64).reshape(*key.shape, 1)


def _exact_positions(keys: Sequence[Scalar], elements: Sequence[Scalar], from_end: bool, *, wildcards: bool) -> list[int]:
    places: dict[object, int] = {}
    for position, element in enumerate(elements):
        if element is None:
            continue
        if from_end or sort_key(element) not in places:
            places[sort_key(element)] = position
    return [_like(item, elements, from_end) if wildcards and _is_pattern(item) else places.get(sort_key(item), -1) for item in keys]


def _is_pattern(item: Scalar) -> bool:
    return isinstance(item, str) and any(sign in item for sign in "*?~")


def _like(pattern: Scalar, elements: Sequence[Scalar], from_end: bool) -> int:
    expression = wildcard(str(pattern))
    found = [position for position, element in enumerate(elements) if isinstance(element, str) and expression.fullmatch(element)]
    return found[-1 if from_end else 0] if found else -1


Rank = tuple[int, float | str]


def sort_key(value: Scalar) -> Rank:
    """Excel's order: numbers, text without case, booleans. Numbers are taken to 15 digits."""
    if isinstance(value, bool):
        return 2, float(value)
    if isinstance(value, str):
        return 1, value.casefold()
    if isinstance(value, ExcelError):
        return 3, float(value.kind)
    return 0, float(f"{value or 0.0:.14e}")


class _Ranked:
    """Elements by Excel's order: each ranked once, and for each kind the places that hold it."""

    def __init__(self, elements: Sequence[Scalar]) -> None:
        self.ranks = [None if element is None else sort_key(element) for element in elements]
        self.places: dict[int, list[int]] = defaultdict(list)
        for place, rank in enumerate(self.ranks):
            if rank is not None:
                self.places[rank[0]].append(place)

    def position(self, item: Scalar, mode: int) -> int:
        """Excel's binary search among the elements of the item's kind; -1 where there is none."""
        wanted = sort_key(item)
        low, high, found = 0, len(self.ranks) - 1, -1
        while low <= high:
            middle = self._nearest((low + high) // 2, low, high, wanted[0])
            here = None if middle is None else self.ranks[middle]
            if middle is None or here is None:
                break
            if here <= wanted if mode == BELOW else here >= wanted:
                found, low = middle, middle + 1
            else:
                high = middle - 1
        return found

    def _nearest(self, middle: int, low: int, high: int, kind: int) -> int | None:
        """The nearest place from the middle down, else up, that holds a value of a kind."""
        places = self.places[kind]
        above = bisect_right(places, middle)
        if above and places[above - 1] >= low:
            return places[above - 1]
        return places[above] if above < len(places) and places[above] <= high else None


def _located(kit: Kit, value: Value, key: Value, position: Operand) -> Value:
    """The value, #N/A where the position is none, the key's error where it has one."""
    return with_errors(kit, overridden(kit, value, kit.emit("less", position, ZERO), ExcelError.NA), kit.error_tag([key]))


def overridden(kit: Kit, value: Value, mask: Operand, error: ExcelError) -> Value:
    """The value, but `error` where the mask holds, whatever there was."""
    return kit.choose(mask, kit.error(error), value) if decided(mask) is not False else value


@function("MATCH", "any array number?")
def _match(call: Call, key: Value, table: Value, kind: Value | None = None) -> Value:
    kit = call.kit
    if 1 not in table.shape[2:]:
        return kit.error(ExcelError.NA)
    order = 1.0 if kind is None else call.constant(kind, "match type")
    mode = WILDCARD if order == 0 else BELOW if order > 0 else ABOVE
    position = find(kit, key, table, mode)
    return _located(kit, Value(kit.emit("add", position, ONE)), key, position)


@function("XMATCH", "any array number? number?")
def _xmatch(call: Call, key: Value, table: Value, mode: Value | None = None, search: Value | None = None) -> Value:
    modes = _x_modes(call, mode, search)
    if modes is None or 1 not in table.shape[2:]:
        return call.kit.error(ExcelError.VALUE)
    position = _x_position(call, key, table, *modes)
    return _located(call.kit, Value(call.kit.emit("add", position, ONE)), key, position)


def _x_modes(call: Call, mode: Value | None, search: Value | None) -> tuple[int, int] | None:
    """Match and search mode; None where there is no such pair."""
    kind = 0.0 if mode is None else call.constant(mode, "match mode") // 1
    direction = 1.0 if search is None else call.constant(search, "search mode") // 1
    kinds = (EXACT, BELOW, ABOVE) if abs(direction) == 2 else (EXACT, BELOW, ABOVE, WILDCARD)
    return (int(kind), int(direction)) if kind in kinds and direction in (1, -1, 2, -2) else None


def _x_position(call: Call, key: Value, table: Value, kind: int, direction: int) -> Operand:
    """As XMATCH finds it. `table` is one row or one column."""
    kit = call.kit
    if key.known and table.known and table.shape[:2] == (1, 1) and kind != WILDCARD:
        found = _x_positions(kit.scalars(key), kit.scalars(table), kind, direction)
        return np.array(found, dtype=np.float64).reshape(*key.shape, 1)
    if kind in (EXACT, WILDCARD) or (kind, direction) in ((BELOW, 2), (ABOVE, -2)):
        return find(kit, key, table, kind, from_end=direction == -1)
    if abs(direction) == 2 or (key.kinds | table.kinds) & ~(NUMBER | BLANK | ERROR):
        raise call.refuse("with an approximate match of simulated values that are no numbers, or in that order, is not supported")
    return _closest_number(kit, key, table, kind, from_end=direction == -1)


def _closest_number(kit: Kit, key: Value, table: Value, mode: int, *, from_end: bool) -> Operand:
    """The exact match, else the next smaller or larger number of an array in any order."""
    reduction, beyond = ("maximum", -math.inf) if mode == BELOW else ("minimum", math.inf)
    fits = _compared(kit, "<=" if mode == BELOW else ">=", table, key)
    best = kit.emit(reduction, kit.emit("select", fits, table.payload, beyond))
    return kit.emit("last_true" if from_end else "first_true", kit.emit("and", fits, kit.emit("equal", table.payload, best)))


_FIRST_ERROR_RANK, _LAST_RANK = 3, (4, 0.0)


def _x_positions(keys: Sequence[Scalar], elements: Sequence[Scalar], mode: int, direction: int) -> list[int]:
    """Where the keys stand in Excel's order of all kinds. A blank key is a blank element, and nothing is next to one."""
    ranks = [_LAST_RANK if element is None else sort_key(element) for element in elements]
    wanted = [_LAST_RANK if key is None else sort_key(key) for key in keys]
    count = len(ranks)
    if direction == 2:
        return [_nearest(ranks, rank, mode) for rank in wanted]
    if direction == -2:
        found = [_nearest(ranks[::-1], rank, mode) for rank in wanted]
        return [-1 if place < 0 else count - 1 - place for place in found]
    order = range(count) if direction == -1 else range(count - 1, -1, -1)
    places = {ranks[place]: place for place in order}
    if mode == EXACT:
        return [places.get(rank, -1) for rank in wanted]
    ascending = sorted(places)
    found = [_nearest(ascending, rank, mode) for rank in wanted]
    return [-1 if place < 0 else places[ascending[place]] for place in found]


def _nearest(ranks: Sequence[Rank], wanted: Rank, mode: int) -> int:
    """Among ascending ranks, by bisection."""
    place = bisect_left(ranks, wanted)
    if place < len(ranks) and ranks[place] == wanted:
        return place
    if mode == BELOW:
        return place - 1
    is_value = place < len(ranks) and ranks[place][0] < _FIRST_ERROR_RANK
    return place if mode == ABOVE and is_value else -1


@function("XLOOKUP", "any array array any? number? number?")
def _xlookup(
    call: Call,
    key: Value,
    table: Value,
    results: Value,
    instead: Value | None = None,
    mode: Value | None = None,
    search: Value | None = None,
) -> Value:
    kit = call.kit
    height, width = results.shape[2:]
    modes = _x_modes(call, mode, search)
    if modes is None or table.shape[2:] not in ((height, 1), (1, width)):
        return kit.error(ExcelError.VALUE)
    position = _x_position(call, key, table, *modes)
    if table.shape[3] == 1:
        index = kit.emit("add", kit.emit("mul", position, float(width)), _steps(width, 1, axis=3))
    else:
        index = kit.emit("add", position, _steps(height, width, axis=2))
    found = take(kit, results, index)
    missing = kit.emit("less", position, ZERO)
    if instead is not None and instead is not OMITTED:
        return with_errors(kit, kit.choose(missing, instead, found), kit.error_tag([key]))
    return _located(kit, found, key, position)


def _steps(count: int, step: int, *, axis: int) -> Known:
    shape = [1, 1, 1, 1, 1]
    shape[axis] = count
    return (np.arange(count, dtype=np.float64) * step).reshape(shape)


def _vertical(call: Call, key: Value, source: Result, index: Value, approximate: Value | None, *, across: bool) -> Value:
    kit = call.kit
    table = _array(call, source)
    height, width = table.shape[2:]
    if isinstance(source, Value) and (height, width) == (1, 1) and not table.kinds & ~TEXT:
        return kit.error(ExcelError.VALUE)
    nearest, errors = kit.to_mask(approximate) if approximate is not None else (None, Value(ZERO))
    mode = BELOW if nearest is None or call.constant(kit.boolean(nearest), "range_lookup") else WILDCARD
    lines = _first_line(call, source, across=across)
    position = find(kit, key, lines, mode)
    line = kit.emit("sub", kit.emit("trunc", index.payload), ONE)
    row, column = (line, position) if across else (position, line)
    flat = kit.emit("add", kit.emit("mul", row, float(width)), column)
    result = _located(kit, take(kit, table, flat), key, position)
    result = overridden(kit, result, kit.emit("less_equal", float(height if across else width), line), ExcelError.REF)
    result = overridden(kit, result, kit.emit("less", line, ZERO), ExcelError.VALUE)
    return with_errors(kit, result, kit.error_tag([key, index, errors]))


def _array(call: Call, source: Result) -> Value:
    return source if isinstance(source, Value) else call.read(source)


def _first_line(call: Call, source: Result, *, across: bool) -> Value:
    """Where a table is looked up: read on its own, so that it is known where it is known, whatever the rest holds."""
    if isinstance(source, Area):
        return call.read(evolve(source, bottom=source.top) if across else evolve(source, right=source.left))
    table = _array(call, source)
    return _part(call.kit, table, 1, table.shape[3]) if across else _part(call.kit, table, table.shape[2], 1)


def _part(kit: Kit, table: Value, height: int, width: int) -> Value:
    """The top left part of an array."""
    cut = {"rows": 1, "columns": 1, "height": height, "width": width, "row_step": 0, "column_step": 0, "top": 0, "left": 0}
    if table.shape[:2] != (1, 1):
        raise Unroll
    table = kit.stretched(table)
    tag = table.tag if isinstance(table.tag, int) else kit.emit("window", table.tag, **cut)
    return tag_value(kit.emit("window", table.payload, **cut), tag, table.kinds)


@function("VLOOKUP", "any area number any?")
def _vlookup(call: Call, key: Value, table: Result, index: Value, approximate: Value | None = None) -> Value:
    return _vertical(call, key, table, index, approximate, across=False)


@function("HLOOKUP", "any area number any?")
def _hlookup(call: Call, key: Value, table: Result, index: Value, approximate: Value | None = None) -> Value:
    return _vertical(call, key, table, index, approximate, across=True)


@function("LOOKUP", "any array array?")
def _lookup(call: Call, key: Value, table: Value, results: Value | None = None) -> Value:
    kit = call.kit
    height, width = table.shape[2:]
    if results is None and 1 not in (height, width):
        across = width > height
        line = kit.number(height if across else width)
        return _vertical(call, key, table, line, None, across=across)
    position = find(kit, key, table, BELOW)
    source = table if results is None else results
    beyond = kit.emit("less_equal", float(math.prod(source.shape[2:])), position)
    found = overridden(kit, take(kit, source, position), beyond, ExcelError.NA)
    return _located(kit, found, key, position)


# References


@function("INDEX", "area number? number? number?")
def _index(call: Call, source: Result, row: Value | None = None, column: Value | None = None, area: Value | None = None) -> Result:
    if isinstance(source, Areas):
        chosen = 1 if area is None else int(call.constant(area, "area number"))
        if not 1 <= chosen <= len(source.parts):
            return call.kit.error(ExcelError.REF)
        source = source.parts[chosen - 1]
    elif area is not None and call.constant(area, "area number") // 1 != 1:
        return call.kit.error(ExcelError.REF)
    height, width = (source.height, source.width) if isinstance(source, Area) else source.shape[2:]
    lines = _lines(call, row, column, height, width)
    errors = call.kit.error_tag([line for line in lines if line is not None])
    if errors.kinds & ERROR and errors.kinds == ERROR & errors.kinds and errors.known:
        return errors
    exact = [_single(line) for line in lines]
    if isinstance(source, Area) and source.steady and None not in exact:
        return _index_area(call, source, exact[0] or 0, exact[1] or 0)
    if isinstance(source, Area) and _is_whole_at_some_step(call, lines, (height, width)):
        raise Unroll
    return _index_value(call, source, lines, errors)


def _is_whole_at_some_step(call: Call, lines: Sequence[Value], size: Sequence[int]) -> bool:
    """Whether a known number, which a loop sees as one that differs by step, makes the result a reference to a line."""
    by_step = [isinstance(line.payload, Ref) and call.lowering.is_known_by_step(line.payload) for line in lines]
    whole = [
        length > 1 and (_single(line) == 0 or (differs and interval_of(line.payload)[0] < 1 and interval_of(line.payload)[1] > -1))
        for line, length, differs in zip(lines, size, by_step, strict=True)
    ]
    return any(by_step) and any(whole)


def _lines(call: Call, row: Value | None, column: Value | None, height: int, width: int) -> tuple[Value, Value]:
    """Row and column; a single number runs along an array that is one row high."""
    zero = call.kit.number(0)
    if row is None:
        return zero, zero
    if column is None:
        return (call.kit.number(1), row) if height == 1 and width > 1 else (row, call.kit.number(1) if width == 1 else zero)
    return row, column


def _single(line: Value) -> int | None:
    """The number of a known line that is the same for the whole block."""
    if line.kinds & ERROR or not isinstance(line.payload, np.ndarray) or (line.payload != line.payload.flat[0]).any():
        return None
    return int(line.payload.flat[0])


def _index_area(call: Call, source: Area, row: int, column: int) -> Result:
    if not (0 <= row <= source.height and 0 <= column <= source.width):
        return call.kit.error(ExcelError.REF if row >= 0 and column >= 0 else ExcelError.VALUE)
    top, bottom = (source.top, source.bottom) if row == 0 else (evolve(source.top, at=source.top.at + row - 1),) * 2
    left, right = (source.left, source.right) if column == 0 else (evolve(source.left, at=source.left.at + column - 1),) * 2
    return Area(source.sheet, top, left, bottom, right)


def _index_value(call: Call, source: Result, lines: tuple[Value, Value], errors: Value) -> Value:
    kit = call.kit
    array = call.read(source) if isinstance(source, Area) else source
    used = array.shape[2:]
    size = (source.height, source.width) if isinstance(source, Area) else used
    row, column = (_line(kit, line, length, axis) for line, length, axis in zip(lines, used, (2, 3), strict=True))
    found = take(kit, array, kit.emit("add", kit.emit("mul", row, float(used[1])), column))
    if size != used:  # a reference was cut to the used cells
        found = kit.choose(_beyond(kit, row, column, used), kit.blank(), found)
    found = overridden(kit, found, _beyond(kit, row, column, size), ExcelError.REF)
    negative = kit.emit("or", kit.emit("less", row, ZERO), kit.emit("less", column, ZERO))
    return with_errors(kit, overridden(kit, found, negative, ExcelError.VALUE), errors)


def _beyond(kit: Kit, row: Operand, column: Operand, size: tuple[int, int]) -> Operand:
    return kit.emit("or", kit.emit("less_equal", float(size[0]), row), kit.emit("less_equal", float(size[1]), column))


def _line(kit: Kit, line: Value, size: int, axis: int) -> Operand:
    """0-based rows or columns: all of them where the number is 0."""
    whole = kit.emit("trunc", line.payload)
    if not isinstance(whole, np.ndarray):
        before = kit.emit("sub", whole, ONE)
        return kit.emit("select", kit.emit("equal", whole, ZERO), ZERO, before) if size == 1 else before
    if (whole == 0).all():
        return _steps(size, 1, axis=axis)
    if (whole == 0).any():
        raise Unroll
    return whole - 1


@function("OFFSET", "area number number number? number?")
def _offset(call: Call, source: Result, rows: Value, columns: Value, height: Value | None = None, width: Value | None = None) -> Result:
    kit = call.kit
    arguments = [value for value in (rows, columns, height, width) if value is not None]
    errors = kit.error_tag(arguments)
    if not isinstance(source, Area):
        return kit.error(ExcelError.VALUE)
    if errors.kinds & ERROR and errors.known:
        return _known_error(errors)
    tall = source.height if height is None else int(call.constant(height, "height"))
    wide = source.width if width is None else int(call.constant(width, "width"))
    if not (rows.known and columns.known) and source.steady and min(tall, wide) > 0:
        return with_errors(kit, _offset_value(call, source, (rows, columns), (tall, wide)), errors)
    down, across = int(call.constant(rows, "offset")), int(call.constant(columns, "offset"))
    if not source.steady or 0 in (tall, wide):
        if call.place.size > 1 and not source.steady:
            raise Unroll
        return kit.error(ExcelError.REF)
    top, bottom = _moved(source.top, down, tall)
    left, right = _moved(source.left, across, wide)
    return _inside(call, Area(source.sheet, top, left, bottom, right))


@frozen
class _Line:
    """Where OFFSET may begin along one axis: how far from its reference, and how far at the least and the most."""

    offset: Operand
    least: int
    most: int

    @classmethod
    def of(cls, call: Call, offset: Value, edge: Edge, used: int) -> _Line:
        whole = call.kit.emit("trunc", offset.payload)
        low, high = interval_of(whole)
        if low < 1 - edge.at and edge.moves:
            raise Unroll
        least = int(max(low, 1 - edge.at))
        return cls(whole, least, max(least, int(min(high, used - edge.at))))

    def from_least(self, kit: Kit) -> Operand:
        return kit.emit("sub", self.offset, float(self.least))


def _offset_value(call: Call, source: Area, offsets: tuple[Value, Value], size: tuple[int, int]) -> Value:
    """OFFSET by simulated numbers: taken from the block of all cells that it may reach. Cells beyond the used ones are blank."""
    kit, grid = call.kit, call.lowering.grid
    down, across = _Line.of(call, offsets[0], source.top, grid.bottom), _Line.of(call, offsets[1], source.left, grid.right)
    (top, bottom), (left, right) = _reached(source.top, down, size[0]), _reached(source.left, across, size[1])
    area = Area(source.sheet, top, left, bottom, right)
    if area.height * area.width > MOST_REACHED:
        raise call.refuse(f"by simulated numbers may reach {area.height * area.width:,} cells; {MOST_REACHED:,} are supported")
    call.lowering.reads.append(extent(area, call.place))
    array = call.lowering.source.seen(area, call.place)
    row = kit.emit("add", down.from_least(kit), _steps(size[0], 1, axis=2))
    column = kit.emit("add", across.from_least(kit), _steps(size[1], 1, axis=3))
    found = take(kit, array, kit.emit("add", kit.emit("mul", row, float(area.width)), column))
    beyond = _beyond(kit, row, column, (area.height, area.width))
    found = found if decided(beyond) is False else kit.choose(beyond, kit.blank(), found)
    off_sheet = kit.emit("or", _off_sheet(kit, down, source.top, MAX_ROW), _off_sheet(kit, across, source.left, MAX_COLUMN))
    return overridden(kit, found, off_sheet, ExcelError.REF)


def _reached(edge: Edge, line: _Line, length: int) -> tuple[Edge, Edge]:
    return Edge(edge.at + line.least, edge.moves), Edge(edge.at + line.most + length - 1, edge.moves)


def _off_sheet(kit: Kit, line: _Line, edge: Edge, limit: int) -> Operand:
    return kit.emit("or", kit.emit("less", line.offset, float(1 - edge.at)), kit.emit("less", float(limit - edge.at), line.offset))


def _known_error(errors: Value) -> Value:
    if not errors.known or errors.kinds & NUMBER:
        raise Unroll
    return errors


def _moved(edge: Edge, distance: int, length: int) -> tuple[Edge, Edge]:
    first = edge.at + distance
    last = first + length - 1 if length > 0 else first + length + 1
    return Edge(min(first, last), edge.moves), Edge(max(first, last), edge.moves)


def _inside(call: Call, area: Area) -> Result:
    """An area that was computed: remembered as a precedent, #REF! where it lies off the sheet."""
    if area.top.at < 1 or area.left.at < 1:
        if call.place.size > 1:
            raise Unroll
        return call.kit.error(ExcelError.REF)
    seen = extent(area, call.place)
    if seen.bottom > MAX_ROW or seen.right > MAX_COLUMN:
        return call.kit.error(ExcelError.REF)
    call.lowering.reads.append(seen)
    return area


@lazy("INDIRECT", "node node?")
def _indirect(call: Call, node: Node, style: Node | None = None) -> Steps:
    kit = call.kit
    value = call.one((yield node, call.scope))
    if not value.known:
        raise call.refuse("with a simulated text is not supported")
    texts = set(kit.scalars(value))
    if len(texts) > 1:
        raise Unroll("INDIRECT reads another text in each of its cells")
    (text,) = texts
    if isinstance(text, ExcelError):
        return kit.error(text)
    if style is not None:
        a1, _ = kit.to_mask(call.one((yield style, call.scope)))
        if not call.constant(kit.boolean(a1), "reference style"):
            raise call.refuse("with an R1C1 reference is not supported")
    try:
        tree = parse(str(text or ""), call.place.top, call.place.left)
    except FormulaSyntaxError:
        return kit.error(ExcelError.REF)
    result = yield _absolute(tree, call.place), call.scope
    if not isinstance(result, (Area, Areas)):
        return kit.error(ExcelError.REF)
    for area in result.parts if isinstance(result, Areas) else (result,):
        call.lowering.reads.append(extent(area, call.place))
    return result


def _absolute(tree: Node, place: RangeRef) -> Node:
    """A reference that INDIRECT reads is the same for every cell of the block."""
    if not isinstance(tree, syntax.Reference):
        return tree
    top, bottom = (syntax.Axis(axis.at(place.top), True) for axis in (tree.top, tree.bottom))
    left, right = (syntax.Axis(axis.at(place.left), True) for axis in (tree.left, tree.right))
    return evolve(tree, top=top, bottom=bottom, left=left, right=right)


def _coordinates(call: Call, area: Result, *, down: bool) -> Value:
    """Row or column numbers: of the block's own cells, or of an area's first line (all its lines in an array)."""
    if not isinstance(area, Area):
        return call.kit.error(ExcelError.VALUE)
    edge = area.top if down else area.left
    length = call.place.height if down else call.place.width
    block = np.arange(length if edge.moves else 1, dtype=np.float64) + edge.at
    first = block.reshape((-1, 1, 1, 1, 1) if down else (1, -1, 1, 1, 1))
    if not call.scope.array:
        return call.lowering.at_step(Value(first))
    size = area.height if down else area.width
    return call.lowering.at_step(Value(first + _steps(size, 1, axis=2 if down else 3)))


def _own(call: Call) -> Area:
    place = call.place
    return Area(place.sheet, Edge(place.top, True), Edge(place.left, True), Edge(place.top, True), Edge(place.left, True))


@function("ROW", "area?")
def _row(call: Call, area: Result = None) -> Value:
    return _coordinates(call, _own(call) if area is None else area, down=True)


@function("COLUMN", "area?")
def _column(call: Call, area: Result = None) -> Value:
    return _coordinates(call, _own(call) if area is None else area, down=False)


def _extent_of(call: Call, result: Result, *, down: bool) -> Value:
    if isinstance(result, Areas):
        return call.kit.error(ExcelError.REF)
    if isinstance(result, Value):
        return call.kit.number(result.shape[2 if down else 3])
    if not result.steady and call.place.size > 1:
        raise Unroll
    return call.kit.number(result.height if down else result.width)


@function("ROWS", "area")
def _rows(call: Call, result: Result) -> Value:
    return _extent_of(call, result, down=True)


@function("COLUMNS", "area")
def _columns(call: Call, result: Result) -> Value:
    return _extent_of(call, result, down=False)


@function("AREAS", "area")
def _areas(call: Call, result: Result) -> Value:
    return call.kit.number(len(result.parts) if isinstance(result, Areas) else 1)


@function("TRANSPOSE", "array")
def _transpose(call: Call, array: Value) -> Value:
    kit = call.kit
    tag = array.tag if isinstance(array.tag, int) else kit.emit("transpose", array.tag)
    payload = np.broadcast_to(array.payload, (*array.shape, 1)) if isinstance(array.payload, np.ndarray) else array.payload
    return tag_value(kit.emit("transpose", payload), tag, array.kinds)


@scalar("ADDRESS", "number number number? any? text?", text=True)
def _address(row: float, column: float, style: float = 1.0, a1: Scalar = True, sheet: str | None = None) -> Scalar:
    if not (1 <= row <= MAX_ROW and 1 <= column <= MAX_COLUMN) or style not in (1, 2, 3, 4):
        return ExcelError.VALUE
    fixed_row, fixed_column = style in (1, 2), style in (1, 3)
    if a1 is False or a1 == 0:
        text = (f"R{int(row)}" if fixed_row else f"R[{int(row)}]") + (f"C{int(column)}" if fixed_column else f"C[{int(column)}]")
    else:
        text = f"{'$' * fixed_column}{column_letters(int(column))}{'$' * fixed_row}{int(row)}"
    return text if sheet is None else f"{quoted(sheet) if sheet else ''}!{text}"
