"""Arrays cut, joined, folded, sorted and filtered.

Nearly all of these only move elements, so that each says where its elements come from: a matrix of places in its array,
counted row by row, with `OUTSIDE` where padding goes. That works for simulated elements too; what decides the shape or
the order must be known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import accumulate
from operator import or_

import numpy as np
from numpy.typing import NDArray

from ultramc.functions import function
from ultramc.functions.aggregate import Cells, first_error, numbers
from ultramc.functions.kit import BLANK, ERROR, NUMBER, OMITTED, Area, Edge, Kit, Unroll, Value, tag_of, tag_value
from ultramc.functions.lookup import sort_key, take
from ultramc.lowering import Call
from ultramc.program import Operand
from ultramc.values import ExcelError, Scalar

CALC, NA, NUM, VALUE = ExcelError.CALC, ExcelError.NA, ExcelError.NUM, ExcelError.VALUE
LARGEST = 1_048_576  # elements of an array that a formula makes
OUTSIDE = -1

Places = NDArray[np.intp]
Outcome = Places | ExcelError
Number = float | None  # None: left out


# What arguments hold


def elements(call: Call, value: Value) -> list[Scalar]:
    """The elements of an argument that decides a shape or an order; refused where it is simulated."""
    if not value.known:
        raise call.refuse("whose shape or order would depend on simulated values is not supported")
    if value.shape[:2] != (1, 1):
        raise Unroll
    return call.kit.scalars(value)


def _lines(call: Call, value: Value, *, across: bool) -> list[tuple[Scalar, ...]]:
    """The rows of an array, or its columns."""
    items, width = elements(call, value), value.shape[3]
    rows = [tuple(items[start : start + width]) for start in range(0, len(items), width)]
    return list(zip(*rows, strict=True)) if across else rows


def completed(arguments: Sequence[Value], count: int) -> list[Value]:
    return [*arguments, *[OMITTED] * (count - len(arguments))]


def _settings(call: Call, arguments: Sequence[Value]) -> list[list[Number]] | ExcelError:
    """The whole numbers in each argument, or the first error."""
    found: list[list[Number]] = []
    for argument in arguments:
        if argument is OMITTED:
            found.append([None])
            continue
        values = elements(call, call.kit.settled(call.kit.to_number(argument)))
        error = next((value for value in values if isinstance(value, ExcelError)), None)
        if error is not None:
            return error
        found.append([float(np.trunc(value)) for value in values if isinstance(value, float)])
    return found


def _places(value: Value) -> Places:
    height, width = value.shape[2:]
    return np.arange(height * width).reshape(height, width)


def arranged(kit: Kit, array: Value, places: Places, outside: Value | None = None) -> Value:
    """The elements of an array at those places; `outside`, else #N/A, where there is none. #CALC! where nothing is left."""
    if places.size == 0:
        return kit.error(CALC)
    found = take(kit, array, np.maximum(places, 0).astype(np.float64)[None, None, :, :, None])
    if (places >= 0).all():
        return found
    return kit.choose((places < 0)[None, None, :, :, None], kit.error(NA) if outside is None else outside, found)


def size_of(source: Area | Value) -> tuple[int, int]:
    return (source.height, source.width) if isinstance(source, Area) else source.shape[2:]


def piece(call: Call, source: Area | Value, row: int, column: int, height: int = 1, width: int = 1) -> Area | Value:
    """A part of a reference, or of an array, from that 0-based row and column; #N/A where it lies outside."""
    high, wide = size_of(source)
    if row >= high or column >= wide:
        return call.kit.error(NA)
    if isinstance(source, Area):
        top, left = source.top.at + row, source.left.at + column
        ends = Edge(top + height - 1, source.bottom.moves), Edge(left + width - 1, source.right.moves)
        return Area(source.sheet, Edge(top, source.top.moves), Edge(left, source.left.moves), *ends)
    return arranged(call.kit, source, _places(source)[row : row + height, column : column + width])


# Parts of an array


def _rearranging(name: str, signature: str, rearranged: Callable[..., Outcome]) -> None:
    """A function of an array and whole numbers, of which only the first of each argument counts."""

    @function(name, signature)
    def body(call: Call, array: Value, *arguments: Value) -> Value:
        settings = _settings(call, arguments)
        if isinstance(settings, ExcelError):
            return call.kit.error(settings)
        places = rearranged(_places(array), *(items[0] for items in settings))
        return call.kit.error(places) if isinstance(places, ExcelError) else arranged(call.kit, array, places)


def _taken(places: Places, rows: Number, columns: Number = None) -> Outcome:
    return CALC if 0 in (rows, columns) else places[_nearest(rows), _nearest(columns)]


def _nearest(count: Number) -> slice:
    if count is None:
        return slice(None)
    return slice(int(count)) if count > 0 else slice(int(count), None)


def _dropped(places: Places, rows: Number, columns: Number = None) -> Outcome:
    return places[_farthest(rows or 0.0), _farthest(columns or 0.0)]


def _farthest(count: float) -> slice:
    return slice(int(count), None) if count >= 0 else slice(int(count))


_rearranging("TAKE", "array array array?", _taken)
_rearranging("DROP", "array array array?", _dropped)


def _choosing(name: str, *, across: bool) -> None:
    @function(name, "array (array)+")
    def body(call: Call, array: Value, *arguments: Value) -> Value:
        settings = _settings(call, arguments)
        if isinstance(settings, ExcelError):
            return call.kit.error(settings)
        chosen = [number or 0.0 for items in settings for number in items]
        places = _places(array).T if across else _places(array)
        if not all(1 <= abs(number) <= len(places) for number in chosen):
            return call.kit.error(VALUE)
        lines = places[[int(number) - (number > 0) for number in chosen]]
        return arranged(call.kit, array, lines.T if across else lines)


_choosing("CHOOSEROWS", across=False)
_choosing("CHOOSECOLS", across=True)


# Padding and folding


def _padding(outside: Cells | None) -> Value | None:
    return None if outside is None or outside[0][0] is OMITTED else outside[0][0]


@function("EXPAND", "array array array? cells?")
def _expand(call: Call, array: Value, rows: Value, columns: Value = OMITTED, outside: Cells | None = None) -> Value:
    kit, have = call.kit, array.shape[2:]
    settings = _settings(call, [rows, columns])
    if isinstance(settings, ExcelError):
        return kit.error(settings)
    size = [length if items[0] is None else items[0] for items, length in zip(settings, have, strict=True)]
    if any(wanted < length for wanted, length in zip(size, have, strict=True)):
        return kit.error(VALUE)
    height, width = _checked(call, *size)
    margins = ((0, height - have[0]), (0, width - have[1]))
    return arranged(kit, array, np.pad(_places(array), margins, constant_values=OUTSIDE), _padding(outside))


def _checked(call: Call, height: float, width: float) -> tuple[int, int]:
    if height * width > LARGEST:
        raise call.refuse(f"of more than {LARGEST:,} elements is not supported")
    return int(height), int(width)


def _wrapping(name: str, *, across: bool) -> None:
    @function(name, "array array cells?")
    def body(call: Call, vector: Value, length: Value, outside: Cells | None = None) -> Value:
        settings = _settings(call, [length])
        if isinstance(settings, ExcelError):
            return call.kit.error(settings)
        wanted = settings[0][0] or 0.0
        if 1 not in vector.shape[2:] or wanted < 1:
            return call.kit.error(NUM if 1 in vector.shape[2:] else VALUE)
        lines = _wrapped(_places(vector).ravel(), wanted)
        return arranged(call.kit, vector, lines.T if across else lines, _padding(outside))


def _wrapped(places: Places, length: float) -> Places:
    wide = int(min(length, places.size))
    return np.pad(places, (0, -places.size % wide), constant_values=OUTSIDE).reshape(-1, wide)


_wrapping("WRAPROWS", across=False)
_wrapping("WRAPCOLS", across=True)

_IGNORED = (0, BLANK, ERROR, BLANK | ERROR)


def _unfolding(name: str, shape: tuple[int, int]) -> None:
    @function(name, "array array? array?")
    def body(call: Call, array: Value, *arguments: Value) -> Value:
        settings = _settings(call, completed(arguments, 2))
        if isinstance(settings, ExcelError):
            return call.kit.error(settings)
        ignore, by_column = (items[0] or 0.0 for items in settings)
        if not 0 <= ignore < len(_IGNORED):
            return call.kit.error(VALUE)
        places = np.where(_is_kind(call, array, _IGNORED[int(ignore)]), OUTSIDE, _places(array))
        line = (places.T if by_column else places).ravel()
        return arranged(call.kit, array, line[line >= 0].reshape(shape))


def _is_kind(call: Call, array: Value, kinds: int) -> NDArray[np.bool_]:
    mask = call.kit.boolean(call.kit.is_kind(array, kinds))
    found = np.array([bool(item) for item in elements(call, mask)])
    return np.broadcast_to(found.reshape(mask.shape[2:]), array.shape[2:])


_unfolding("TOCOL", (-1, 1))
_unfolding("TOROW", (1, -1))


def _stacking(name: str, *, across: bool) -> None:
    @function(name, "(cells)+")
    def body(call: Call, *arguments: Cells) -> Value:
        arrays = [part for argument in arguments for part, _ in argument]
        high, wide = zip(*(array.shape[2:] for array in arrays), strict=True)
        size = _checked(call, *((max(high), sum(wide)) if across else (sum(high), max(wide))))
        starts = accumulate(wide if across else high, initial=0)
        places = [(0, start) if across else (start, 0) for start, _ in zip(starts, arrays, strict=False)]
        lengthened = [_lengthened(call.kit, array, max(high) if across else max(wide), across=across) for array in arrays]
        return joined(call, lengthened, places, size)


def _lengthened(kit: Kit, array: Value, length: int, *, across: bool) -> Value:
    missing = length - array.shape[2 if across else 3]
    margins = ((0, missing), (0, 0)) if across else ((0, 0), (0, missing))
    return arranged(kit, array, np.pad(_places(array), margins, constant_values=OUTSIDE))


def joined(call: Call, arrays: Sequence[Value], places: Sequence[tuple[int, int]], size: tuple[int, int]) -> Value:
    """One array of that height and width, of arrays that begin at those places (row, column) and fill it."""
    _checked(call, *size)

    def whole(operands: Sequence[Operand]) -> Operand:
        full = [call.kit.stretch(operand, *array.shape[2:]) for operand, array in zip(operands, arrays, strict=True)]
        return call.kit.emit("join", *full, size=size, places=tuple(places))

    tag = whole([tag_of(array) for array in arrays])
    return tag_value(whole([array.payload for array in arrays]), tag, reduce(or_, (array.kinds for array in arrays)))


_stacking("HSTACK", across=True)
_stacking("VSTACK", across=False)


# Order


def _turned(array: Value, order: Sequence[int], *, across: bool) -> Places:
    """The rows of an array, or its columns, in that order."""
    return _places(array)[:, order] if across else _places(array)[order]


def _order(keys: Sequence[Sequence[Scalar]], directions: Sequence[float]) -> list[int]:
    """Places in the order of the keys, the first counting most; blanks come last either way, and equal ones stay in order."""
    order = list(range(len(keys[0])))
    for key, direction in reversed(list(zip(keys, directions, strict=True))):
        written = [place for place in order if key[place] is not None]
        blank = [place for place in order if key[place] is None]
        order = sorted(written, key=lambda place, key=key: sort_key(key[place]), reverse=direction < 0) + blank  # type: ignore[misc]
    return order


@function("SORT", "array array? array? array?")
def _sort(call: Call, array: Value, *arguments: Value) -> Value:
    settings = _settings(call, completed(arguments, 3))
    if isinstance(settings, ExcelError):
        return call.kit.error(settings)
    indices, directions = ([1.0 if number is None else number for number in items] for items in settings[:2])
    across, length = bool(settings[2][0]), array.shape[2 if settings[2][0] else 3]
    directions = directions * len(indices) if len(directions) == 1 else directions
    if len(directions) != len(indices) or not all(1 <= index <= length for index in indices) or not set(directions) <= {1.0, -1.0}:
        return call.kit.error(VALUE)
    if not array.known and length == 1 and array.kinds == NUMBER:
        return _sorted_numbers(call.kit, array, directions[0])
    lines = _lines(call, array, across=across)
    keys = [[line[int(index) - 1] for line in lines] for index in indices]
    return arranged(call.kit, array, _turned(array, _order(keys, directions), across=across))


def _sorted_numbers(kit: Kit, vector: Value, direction: float) -> Value:
    ascending = Value(kit.emit("sort", kit.stretched(vector).payload))
    return ascending if direction > 0 else arranged(kit, ascending, _places(vector)[::-1, ::-1])


@function("SORTBY", "array (array)+")
def _sortby(call: Call, array: Value, *arguments: Value) -> Value:
    keys, settings = arguments[::2], _settings(call, arguments[1::2])
    if isinstance(settings, ExcelError):
        return call.kit.error(settings)
    directions = [1.0 if items[0] is None else items[0] for items in settings] + [1.0] * (len(arguments) % 2)
    shapes = {key.shape[2:] for key in keys}
    height, width = array.shape[2:]
    if shapes not in ({(height, 1)}, {(1, width)}) or not set(directions) <= {1.0, -1.0}:
        return call.kit.error(VALUE)
    order = _order([elements(call, key) for key in keys], directions)
    return arranged(call.kit, array, _turned(array, order, across=shapes != {(height, 1)}))


# Selection


@function("UNIQUE", "array array? array?")
def _unique(call: Call, array: Value, *arguments: Value) -> Value:
    settings = _settings(call, completed(arguments, 2))
    if isinstance(settings, ExcelError):
        return call.kit.error(settings)
    across, once = (bool(items[0]) for items in settings)
    keys = [tuple(None if item is None else sort_key(item) for item in line) for line in _lines(call, array, across=across)]
    counts, first = Counter(keys), {key: place for place, key in reversed(list(enumerate(keys)))}
    kept = [first[key] for key in counts if counts[key] == 1 or not once]
    return arranged(call.kit, array, _turned(array, kept, across=across))


@function("FILTER", "array array cells?")
def _filter(call: Call, array: Value, include: Value, instead: Cells | None = None) -> Value:
    kit, (height, width) = call.kit, array.shape[2:]
    if include.shape[2:] not in ((height, 1), (1, width)):
        return kit.error(VALUE)
    mask, errors = kit.to_mask(include)
    error = next((item for item in elements(call, errors) if isinstance(item, ExcelError)), None)
    if error is not None:
        return kit.error(error)
    kept = [place for place, item in enumerate(elements(call, kit.boolean(mask))) if item]
    if not kept and instead is not None and instead[0][0] is not OMITTED:
        return instead[0][0]
    return arranged(kit, array, _turned(array, kept, across=include.shape[2:] != (height, 1)))


# Arrays from numbers


def size_made(call: Call, rows: Value, columns: Value) -> tuple[int, int] | ExcelError:
    """The height and width of an array that a function makes, 1 where left out."""
    settings = _settings(call, [rows, columns])
    if isinstance(settings, ExcelError):
        return settings
    size = [1.0 if items[0] is None else items[0] for items in settings]
    if min(size) < 1:
        return VALUE if min(size) < 0 else CALC
    return _checked(call, *size)


@function("SEQUENCE", "array? array? array? array?")
def _sequence(call: Call, *arguments: Value) -> Value:
    kit = call.kit
    rows, columns, start, step = completed(arguments, 4)
    size = size_made(call, rows, columns)
    if isinstance(size, ExcelError):
        return kit.error(size)
    height, width = size
    counted = np.arange(height * width, dtype=np.float64).reshape(1, 1, height, width, 1)
    first, distance = (kit.number(1.0) if value is OMITTED else kit.settled(kit.to_number(value)) for value in (start, step))
    terms = kit.emit("add", first.payload, kit.emit("mul", distance.payload, counted))
    return kit.with_tag(terms, kit.error_tag([first, distance]))


@function("MODE.MULT", "(cells)+")
def _modes(call: Call, *arguments: Cells) -> Value:
    """All numbers that occur most often, in the order of their first occurrence."""
    parts = numbers(call, arguments)
    values = [item for part in parts for item in elements(call, part)]
    errors = first_error(call.kit, parts)
    if errors.kinds & ERROR:
        return errors
    counts = Counter(item for item in values if isinstance(item, float) and not isinstance(item, bool))
    most = max(counts.values(), default=0)
    return call.kit.array([[number] for number in counts if counts[number] == most]) if most > 1 else call.kit.error(NA)
