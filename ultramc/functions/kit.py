"""What the bodies of Excel's functions are written with: values that carry Excel's kinds, and how they are coerced.

A `Value` has a payload and a tag (see `values.Kind`). Its tag is an int where every element is of that one kind, which
is the common case and costs nothing. `kinds` is the bit set of kinds that may occur.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from attrs import frozen

from ultramc.program import (
    FALSE,
    LARGEST,
    TRUE,
    Builder,
    Known,
    Operand,
    Ref,
    Shape,
    array_of,
    broadcast_shape,
    constant,
    decided,
    interval_of,
    narrowed,
    shape_of,
)
from ultramc.values import ERROR_KINDS, ERRORS, FIRST_ERROR, ExcelError, Kind, Scalar, error_of, kind_of

NUMBER, BOOLEAN, TEXT, BLANK, ABSENT = (1 << kind for kind in Kind)
ERROR = ERROR_KINDS
ANY = NUMBER | BOOLEAN | TEXT | BLANK | ABSENT | ERROR

LARGEST_ARRAY = 20_000_000  # elements that operands may spread to; a workbook of two lines could ask for 10^12

ZERO, ONE = constant(0.0), constant(1.0)
_TAGS = [np.full((1, 1, 1, 1, 1), kind, dtype=np.uint8) for kind in range(FIRST_ERROR + len(ERRORS))]


@frozen(eq=False)
class Value:
    payload: Operand
    tag: int | Operand = 0
    kinds: int = NUMBER

    @property
    def shape(self) -> Shape:
        if isinstance(self.tag, int):
            return shape_of(self.payload)
        return broadcast_shape([shape_of(self.payload), shape_of(self.tag)])

    @property
    def known(self) -> bool:
        return isinstance(self.payload, np.ndarray) and not isinstance(self.tag, Ref)

    def mapped(self, change: Callable[[Operand], Operand]) -> Value:
        """The same change made to the payload and, where there is one, the tag plane."""
        return Value(change(self.payload), self.tag if isinstance(self.tag, int) else change(self.tag), self.kinds)

    def spanning(self, operand: Operand) -> Operand:
        """Payload or tag in the shape of the whole, which only the other one may have."""
        if isinstance(operand, Ref) or shape_of(operand) == self.shape:
            return operand
        return np.broadcast_to(operand, (*self.shape, 1))


OMITTED = Value(ZERO, int(Kind.BLANK), BLANK)  # an argument that was left out: told from a blank cell by identity


class Texts:
    """The string table: text ↔ code."""

    def __init__(self) -> None:
        self.strings: list[str] = []
        self._codes: dict[str, int] = {}
        self._folds: dict[str, float] = {}
        self._tables: dict[Callable[[str], float], tuple[list[float], Known]] = {}
        self._ranks: Known = np.zeros(0)

    def __getstate__(self) -> dict[str, object]:
        """Pickled without what is worked out again when it is needed."""
        return {**vars(self), "_tables": {}, "_ranks": np.zeros(0)}

    def code(self, text: str) -> int:
        code = self._codes.get(text)
        if code is None:
            code = self._codes[text] = len(self.strings)
            self.strings.append(text)
        return code

    def text(self, code: float) -> str:
        return self.strings[int(code)]

    def table(self, reading: Callable[[str], float]) -> Known:
        """What a function makes of each text, as an array to gather from by code. Each text is read once."""
        readings, known = self._tables.get(reading, ([], _row([])))
        if len(readings) < len(self.strings):
            readings += map(reading, self.strings[len(readings) :])
            known = _row(readings)
            self._tables[reading] = readings, known
        return known

    def folded(self, text: str) -> float:
        """A number that is the same for texts that differ only in case."""
        return self._folds.setdefault(text.casefold(), float(len(self._folds)))

    def ranks(self) -> Known:
        """For each code its place in Excel's order, the same for texts that differ only in case."""
        if self._ranks.size < len(self.strings):
            folded = [text.casefold() for text in self.strings]
            place = {text: float(index) for index, text in enumerate(sorted(set(folded)))}
            self._ranks = _row([place[text] for text in folded])
        return self._ranks


def text_as_number(text: str) -> float:
    """The number that a text stands for; NaN where it stands for none."""
    from ultramc.functions.text_values import number_in_text

    number = number_in_text(text)
    return math.nan if number is None else number


def _text_as_boolean(text: str) -> float:
    return {"true": 1.0, "false": 0.0}.get(text.casefold(), math.nan)


def _row(items: Sequence[float]) -> Known:
    return np.array(items or [0.0], dtype=np.float64).reshape(1, 1, -1, 1, 1)


def tag_of(value: Value) -> Operand:
    return _TAGS[value.tag] if isinstance(value.tag, int) else value.tag


def tag_value(payload: Operand, tag: Operand | int, kinds: int) -> Value:
    """A value whose tag is an int if it can be."""
    if isinstance(tag, int):
        return Value(payload, tag, 1 << tag)
    if isinstance(tag, Ref):
        single = kinds.bit_length() - 1
        return Value(payload, single, kinds) if kinds == 1 << single else Value(payload, tag, kinds)
    first = int(tag.flat[0])
    if tag.size == 1 or (tag == first).all():
        return _widened(Value(payload, first, 1 << first), tag.shape[:4])
    return Value(payload, tag, int(np.bitwise_or.reduce(np.left_shift(1, tag.astype(np.int64)), axis=None)))


def _widened(value: Value, shape: Sequence[int]) -> Value:
    """Dropping a tag plane must not lose the shape that only it had."""
    payload = value.payload
    if isinstance(payload, np.ndarray):
        full = np.broadcast_shapes(payload.shape[:4], tuple(shape))
        if full != payload.shape[:4]:
            return Value(np.broadcast_to(payload, (*full, 1)), value.tag, value.kinds)
    return value


class Unroll(Exception):
    """This formula cannot be lowered over its whole block: the cells must be taken one by one."""


class Kit:
    """The services that a function body uses. `failures` collects what `fail` was told for the call at hand."""

    def __init__(self, builder: Builder, texts: Texts) -> None:
        self.builder = builder
        self.texts = texts
        self.emit = builder.emit
        self.failures: list[tuple[Operand, ExcelError]] = []

    # values from Python

    def number(self, value: float) -> Value:
        return Value(constant(value))

    def boolean(self, mask: Operand) -> Value:
        return Value(self.emit("select", mask, ONE, ZERO), int(Kind.BOOLEAN), BOOLEAN)

    def text(self, text: str) -> Value:
        return Value(constant(self.texts.code(text)), int(Kind.TEXT), TEXT)

    def error(self, error: ExcelError) -> Value:
        return Value(ZERO, error.kind, 1 << error.kind)

    def blank(self) -> Value:
        return Value(ZERO, int(Kind.BLANK), BLANK)

    def scalar(self, value: Scalar) -> Value:
        """The value of one cell."""
        if isinstance(value, str):
            return self.text(value)
        kind = kind_of(value)
        payload = float(value) if isinstance(value, (bool, float, int)) else 0.0
        return Value(constant(payload), kind, 1 << kind)

    def array(self, rows: Sequence[Sequence[Scalar]]) -> Value:
        """A constant array of that height and width."""
        return self.from_scalars([value for row in rows for value in row], (1, 1, len(rows), len(rows[0])))

    def from_scalars(self, values: Iterable[Scalar], shape: Shape) -> Value:
        """Cell values in row-major order of `shape`."""
        items = list(values)
        payload = np.zeros(len(items))
        tag = np.zeros(len(items), dtype=np.uint8)
        for index, item in enumerate(items):
            tag[index] = kind_of(item)
            if isinstance(item, str):
                payload[index] = self.texts.code(item)
            elif isinstance(item, (bool, float, int)):
                payload[index] = item
        bad = ~np.isfinite(payload)
        if bad.any():
            tag[bad] = ExcelError.NUM.kind
            payload[bad] = 0.0
        return tag_value(payload.reshape(*shape, 1), tag.reshape(*shape, 1), ANY)

    # values to Python

    def scalars(self, value: Value) -> list[Scalar]:
        """The elements of a known value, in row-major order of its shape."""
        payload, tag = np.broadcast_arrays(array_of(value.payload), array_of(tag_of(value)))
        return [self.python(kind, number) for kind, number in zip(tag.ravel().tolist(), payload.ravel().tolist(), strict=True)]

    def python(self, kind: int, number: float) -> Scalar:
        if kind == Kind.NUMBER:
            return float(number)
        if kind == Kind.BOOLEAN:
            return number != 0
        if kind == Kind.TEXT:
            return self.texts.text(number)
        if kind >= FIRST_ERROR:
            return error_of(kind)
        return None

    # kinds

    def is_kind(self, value: Value, kinds: int) -> Operand:
        """A mask: where the value is one of `kinds`."""
        if not value.kinds & kinds:
            return FALSE
        if not value.kinds & ~kinds:
            return TRUE
        return self.emit("kind_is", tag_of(value), kinds=kinds)

    def error_tag(self, values: Iterable[Value]) -> Value:
        """The leftmost error of several values: only the tag counts, NUMBER where there is none."""
        tag: Operand = _TAGS[0]
        kinds = NUMBER
        for value in values:
            if value.kinds & ERROR:
                errors = tag_of(value)
                tag = self.emit("first_error", tag, errors)
                kinds |= value.kinds & ERROR
        if kinds == NUMBER:
            return Value(ZERO)
        if isinstance(tag, Ref):
            return Value(ZERO, tag, kinds)
        return tag_value(ZERO, tag, kinds)

    def with_tag(self, payload: Operand, tag: Value, kind: Kind = Kind.NUMBER) -> Value:
        """`payload` as values of `kind`, except where `tag` holds errors."""
        if tag.kinds == NUMBER:
            return Value(payload, int(kind), 1 << kind)
        if kind == Kind.NUMBER:
            return tag_value(payload, tag.tag, tag.kinds)
        bad = self.is_kind(tag, ERROR)
        return tag_value(payload, self.emit("select", bad, tag_of(tag), _TAGS[kind]), (tag.kinds & ERROR) | 1 << kind)

    def fail_where(self, value: Value, mask: Operand, error: ExcelError) -> Value:
        """The value, but `error` where the mask holds and there is no error yet."""
        verdict = decided(mask)
        if verdict is False:
            return value
        fresh = self.emit("and", mask, self.emit("not", self.is_kind(value, ERROR)))
        tag = self.emit("select", fresh, _TAGS[error.kind], tag_of(value))
        return tag_value(value.payload, tag, value.kinds | 1 << error.kind)

    def settled(self, value: Value) -> Value:
        """A number that is finite wherever its tag says number: overflow is `#NUM!`."""
        low, high = interval_of(value.payload)
        if low >= -LARGEST and high <= LARGEST:
            return value
        finite = self.emit("is_finite", value.payload)
        failed = self.fail_where(value, self.emit("not", finite), ExcelError.NUM)
        if isinstance(failed.payload, np.ndarray):
            payload: Operand = np.where(array_of(finite), failed.payload, 0.0)
        else:
            payload = narrowed(failed.payload, -LARGEST, LARGEST)
        return Value(payload, failed.tag, failed.kinds)

    def choose(self, mask: Operand, yes: Value, no: Value) -> Value:
        """`yes` where the mask holds, else `no`: payload and tag."""
        verdict = decided(mask)
        if verdict is not None and shape_of(mask) == (1, 1, 1, 1):
            return yes if verdict else no
        payload = self.emit("select", mask, yes.payload, no.payload)
        if isinstance(yes.tag, int) and isinstance(no.tag, int) and yes.tag == no.tag:
            return Value(payload, yes.tag, yes.kinds)
        return tag_value(payload, self.emit("select", mask, tag_of(yes), tag_of(no)), yes.kinds | no.kinds)

    def stretched(self, value: Value) -> Value:
        """The same value with payload and tag of its full height and width, for ops that count their elements."""
        height, width = value.shape[2:]
        tag = value.tag if isinstance(value.tag, int) else self.stretch(value.tag, height, width)
        return Value(self.stretch(value.payload, height, width), tag, value.kinds)

    def stretch(self, operand: Operand, height: int, width: int) -> Operand:
        """An operand that is one row high or one column wide, repeated to that height and width."""
        rows, columns, *size = shape_of(operand)
        if tuple(size) == (height, width):
            return operand
        if isinstance(operand, np.ndarray):
            return np.broadcast_to(operand, (rows, columns, height, width, 1))
        return self.emit("select", np.ones((1, 1, height, width, 1), dtype=bool), operand, operand)

    def part(self, array: Value, top: int, left: int, height: int, width: int) -> Value:
        """Some cells of one array, from a 0-based corner."""
        cut = {"rows": 1, "columns": 1, "row_step": 0, "column_step": 0, "top": top, "left": left, "height": height, "width": width}
        return array.mapped(lambda operand: self.emit("window", operand, **cut))

    def as_array(self, value: Value, height: int, width: int) -> Value:
        """A block of height × width cells as one array."""
        return value.mapped(lambda operand: self.stretch(self.emit("as_array", operand), height, width))

    def joined(self, parts: Sequence[tuple[Value, tuple[int, int]]], size: tuple[int, int]) -> Value:
        """One array of that height and width, made of arrays, each with its 0-based corner."""
        places = tuple(place for _, place in parts)
        kinds = 0
        for value, _ in parts:
            kinds |= value.kinds
        payload = self.emit("join", *(value.payload for value, _ in parts), size=size, places=places)
        tags = {value.tag if isinstance(value.tag, int) else None for value, _ in parts}
        if len(tags) == 1 and None not in tags:
            return Value(payload, parts[0][0].tag, kinds)
        full = (_tag_plane(value) for value, _ in parts)
        return tag_value(payload, self.emit("join", *full, size=size, places=places), kinds)

    def aligned(self, values: Sequence[Value]) -> Sequence[Value]:
        """Arrays of sizes that do not fit each other are filled up with #N/A, as in an array formula.

        Raises Unroll where a row and a column, or arrays and a block, would spread to more than `LARGEST_ARRAY` elements.
        """
        if not values:
            return values
        shapes = [value.shape for value in values]
        whole = [max(lengths) for lengths in zip(*shapes, strict=True)]
        if math.prod(whole) > LARGEST_ARRAY:
            raise Unroll
        height, width = whole[2:]
        if all(shape[2] in (1, height) and shape[3] in (1, width) for shape in shapes):
            return values
        return [self._padded(value, height, width) for value in values]

    def _padded(self, value: Value, height: int, width: int) -> Value:
        have = value.shape[2:]
        if have[0] in (1, height) and have[1] in (1, width):
            return value
        if not value.known:
            raise Unroll
        rows, columns = (size if size > 1 else full for size, full in zip(have, (height, width), strict=True))
        tag = np.full((*value.shape[:2], height, width, 1), ExcelError.NA.kind, dtype=np.uint8)
        payload = np.zeros(tag.shape)
        tag[:, :, :rows, :columns] = array_of(tag_of(value))
        payload[:, :, :rows, :columns] = array_of(value.payload)
        return tag_value(payload, tag, ANY)

    # coercion

    def to_number(self, value: Value) -> Value:
        """As an arithmetic operand: booleans count 0 or 1, blank 0, text is read as Excel would or is `#VALUE!`."""
        if not value.kinds & ~(NUMBER | ERROR):
            return value
        if not value.kinds & ~(NUMBER | BOOLEAN | BLANK):
            return Value(value.payload)
        payload = value.payload
        if value.kinds & TEXT:
            value = self._text_read(value, text_as_number, Kind.NUMBER)
            payload = value.payload
        errors = value.kinds & ERROR
        if value.kinds & ABSENT:
            value = self.fail_where(value, self.is_kind(value, ABSENT), ExcelError.NA)
            errors = value.kinds & ERROR
        if not errors:
            return Value(payload)
        bad = self.is_kind(value, ERROR)
        return tag_value(payload, self.emit("select", bad, tag_of(value), _TAGS[0]), errors | NUMBER)

    def _text_read(self, value: Value, reading: Callable[[str], float], kind: Kind) -> Value:
        """The value with its text read as numbers or booleans; `#VALUE!` where the reading is NaN."""
        is_text = self.is_kind(value, TEXT)
        read = self.emit("gather", value.payload, self.texts.table(reading))
        unreadable = self.emit("and", is_text, self.emit("not", self.emit("is_finite", read)))
        payload = self.emit("select", is_text, self.emit("select", unreadable, ZERO, read), value.payload)
        tag = self.emit("select", unreadable, _TAGS[ExcelError.VALUE.kind], self.emit("select", is_text, _TAGS[kind], tag_of(value)))
        return tag_value(payload, tag, value.kinds & ~TEXT | 1 << kind | 1 << ExcelError.VALUE.kind)

    def to_mask(self, value: Value) -> tuple[Operand, Value]:
        """As a condition: a mask, and the tag of its errors. Text other than TRUE and FALSE is `#VALUE!`."""
        if value.kinds & TEXT:
            value = self._text_read(value, _text_as_boolean, Kind.BOOLEAN)
        number = self.settled(self.to_number(value))
        mask = self.emit("not", self.emit("equal", number.payload, ZERO))
        return mask, self.error_tag([number])

    def rank(self, value: Value) -> Operand:
        """Text payloads as places in Excel's order of texts; other payloads are of no meaning."""
        return self.emit("gather", value.payload, self.texts.ranks())

    def folded(self, value: Value) -> Operand:
        """Text payloads as numbers that are equal where the texts are, but for case."""
        return self.emit("gather", value.payload, self.texts.table(self.texts.folded))

    # results

    def fail(self, mask: Operand, error: ExcelError) -> None:
        """For elementwise bodies: the call's result is `error` where the mask holds. Told first, wins."""
        self.failures.append((mask, error))

    def elementwise(self, body: Callable[..., Operand], arguments: Sequence[Value]) -> Value:
        """Apply a body of payloads: errors of the arguments pass, then those that the body reports."""
        outer, self.failures = self.failures, []
        try:
            payload = body(self, *(argument.payload for argument in arguments))
            result = self.with_tag(payload, self.error_tag(arguments))
            for mask, error in self.failures:
                result = self.fail_where(result, mask, error)
        finally:
            self.failures = outer
        return result

    def scalar_function(self, function: Callable[..., Scalar], arguments: Sequence[Value], name: str) -> Value:
        """Apply a Python function of cell values, element by element, at scalar speed. The leftmost error passes."""
        if all(argument.known for argument in arguments):
            return self._call_known(function, arguments)
        return self._call_simulated(function, arguments, name)

    def _call_known(self, function: Callable[..., Scalar], arguments: Sequence[Value]) -> Value:
        shape = broadcast_shape([argument.shape for argument in arguments]) if arguments else (1, 1, 1, 1)
        columns = [self.scalars(broadcast(argument, shape)) for argument in arguments]
        remembered: dict[tuple[tuple[type, Scalar], ...], Scalar] = {}
        results = []
        for row in zip(*columns, strict=True) if columns else [()]:
            key = tuple((type(item), item) for item in row)
            if key not in remembered:
                remembered[key] = called(function, row)
            results.append(remembered[key])
        return self.from_scalars(results, shape)

    def _call_simulated(self, function: Callable[..., Scalar], arguments: Sequence[Value], name: str) -> Value:
        shape = broadcast_shape([argument.shape for argument in arguments])
        operands = [part for argument in arguments for part in (argument.payload, tag_of(argument))]
        attributes = {"function": function, "name": name, "shape": shape, "texts": self.texts}
        payload = self.builder.emit("scalar_call", *operands, **attributes)
        tag = self.builder.emit("scalar_call", *operands, **attributes, part="tag")
        return Value(payload, tag, ANY & ~ABSENT)


def called(function: Callable[..., Scalar], arguments: Sequence[Scalar]) -> Scalar:
    """A scalar body on one element: errors pass, and arithmetic that goes wrong is #NUM!."""
    for argument in arguments:
        if isinstance(argument, ExcelError):
            return argument
    try:
        return function(*arguments)
    except (ArithmeticError, ValueError):  # ValueError is what math says outside a function's domain
        return ExcelError.NUM


def broadcast(value: Value, shape: Shape) -> Value:
    """A known value stretched to a shape."""
    payload = np.broadcast_to(value.payload, (*shape, 1)) if isinstance(value.payload, np.ndarray) else value.payload
    return Value(payload, value.tag, value.kinds)


def _tag_plane(value: Value) -> Operand:
    """The tag in the shape of the value."""
    return np.broadcast_to(array_of(tag_of(value)), (*value.shape, 1)) if isinstance(value.tag, int) else value.tag


@frozen(eq=False)
class Edge:
    """One side of an area: its row or column for the block's first cell, and whether it moves with the cell."""

    at: int
    moves: bool = False


@frozen(eq=False)
class Area:
    """A reference, as seen from every cell of a block: four sides that stay or move. Sides count from 1."""

    sheet: str
    top: Edge
    left: Edge
    bottom: Edge
    right: Edge
    whole: str = ""  # "rows" or "columns" where the text was 1:3 or A:C

    @property
    def height(self) -> int:
        return self.bottom.at - self.top.at + 1

    @property
    def width(self) -> int:
        return self.right.at - self.left.at + 1

    @property
    def steady(self) -> bool:
        """Every cell of the block sees the same height and width."""
        return self.top.moves == self.bottom.moves and self.left.moves == self.right.moves


@frozen(eq=False)
class Areas:
    """Several areas at once: a union or a 3-D reference."""

    parts: tuple[Area, ...]
