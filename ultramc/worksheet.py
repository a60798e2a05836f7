"""One sheet's XML → what its cells hold: formula and cached value of each cell in a single pass.

Element and attribute names are those of ECMA-376 part 1, §18.3 (SpreadsheetML worksheets).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, time, timedelta
from functools import cached_property
from itertools import product
from typing import Literal

from attrs import frozen

from ultramc.address import MAX_COLUMN, MAX_ROW, CellRef, column_number, parse_area
from ultramc.errors import UnreadableWorkbook
from ultramc.package import Attributes, Package, local_name
from ultramc.report import counted
from ultramc.values import ERROR_NAMES, ExcelError, Scalar

Key = tuple[int, int]
Area = tuple[int, int, int, int]

_CELL = re.compile(r"([A-Za-z]{1,3})([1-9][0-9]{0,6})")
_ESCAPE = re.compile(r"_x(?![Dd][89A-Fa-f])([0-9A-Fa-f]{4})_")  # halves of surrogate pairs stay as they are
_BOOLEANS = {"1": True, "0": False, "true": True, "false": False}


@frozen
class DataTable:
    """A what-if table: the cells that it writes its row and column headings into, None where they were deleted.

    With one input, `row_input` tells whether the headings lie in a row; with two, `r1` takes the row's.
    """

    r1: str | None
    r2: str | None
    two_dimensional: bool
    row_input: bool


@frozen(eq=False)
class Formula:
    """A formula as stored, without ``=``.

    `text` reads as seen from (`row`, `column`); the cells of a shared formula hold one and the same object.
    `area` is (top, left, bottom, right) of an array formula or a data table, `dynamic` that it spills.
    """

    text: str
    row: int
    column: int
    kind: Literal["cell", "shared", "array", "data_table"] = "cell"
    area: Area | None = None
    dynamic: bool = False
    data_table: DataTable | None = None


@frozen(eq=False)
class Sheet:
    """What one sheet stores, by (row, column) counted from 1.

    `values` holds constants and cached values; blank cells are absent. `formulas` holds the cells with a formula of their own,
    `covered` the other cells of an array formula's or data table's area. `styles` has the number format id of every cell whose
    format is not General. `bounds` is (top, left, bottom, right) of values and formulas, None for an empty sheet. `filtered` is
    the area in which the sheet's filter is at work.
    """

    name: str
    index: int
    visibility: Literal["visible", "hidden", "veryHidden"]
    values: dict[Key, Scalar]
    formulas: dict[Key, Formula]
    covered: dict[Key, Formula]
    styles: dict[Key, int]
    bounds: Area | None
    hidden_rows: frozenset[int] = frozenset()
    filtered: Area | None = None

    def __repr__(self) -> str:
        return f"Sheet {self.name!r}: {counted(len(self.values), 'cell')} with values, {counted(len(self.formulas), 'formula')}"

    @cached_property
    def texts(self) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        """Where text stands: its columns by row and its rows by column, ascending."""
        by_row: dict[int, list[int]] = defaultdict(list)
        by_column: dict[int, list[int]] = defaultdict(list)
        for row, column in sorted(key for key, value in self.values.items() if isinstance(value, str) and value.strip()):
            by_row[row].append(column)
            by_column[column].append(row)
        return dict(by_row), dict(by_column)

    def keys(self, area: Area) -> Iterator[Key]:
        """The cells of `area` that are not blank, row by row; as quick for a whole sheet as for its used part."""
        top, left, bottom, right = area
        if (bottom - top + 1) * (right - left + 1) <= len(self.values) + len(self.formulas):
            candidates = product(range(top, bottom + 1), range(left, right + 1))
            return (key for key in candidates if key in self.values or key in self.formulas)
        stored = self.values.keys() | self.formulas.keys()
        return iter(sorted(key for key in stored if top <= key[0] <= bottom and left <= key[1] <= right))


@frozen
class Surroundings:
    """What cells refer to: shared strings, the number format id of each cell format, the date system."""

    strings: list[str]
    formats: list[int]
    date1904: bool


def unescaped(text: str) -> str:
    """``_x000D_`` → the character itself (ST_Xstring)."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


def formula_text(text: str) -> str:
    return unescaped(text.removeprefix("="))


def read_cells(package: Package, part: str, sheet: str, surroundings: Surroundings) -> CellReader:
    """Reads the sheet's part; the reader then holds the cells.

    Raises `UnreadableWorkbook` naming the cell that makes no sense, `LimitExceeded`.
    """
    reader = CellReader(package, part, sheet, surroundings)
    for _ in package.parse(part, reader.start, reader.end, reader.text):
        pass
    reader.finish()
    return reader


class _ByLocalName(dict[str, Callable[..., None]]):
    """Handlers by element name with any prefix; unknown elements are ignored."""

    def __missing__(self, name: str) -> Callable[..., None]:
        handler = self[name] = self.get(local_name(name), _ignore)
        return handler


def _ignore(*_: object) -> None:
    pass


class CellReader:
    """The expat handlers of one sheet. This is the inner loop of reading: state in attributes, no objects per element."""

    def __init__(self, package: Package, part: str, sheet: str, surroundings: Surroundings) -> None:
        self.package, self.part, self.sheet = package, part, sheet
        self.strings, self.date1904 = surroundings.strings, surroundings.date1904
        self.formats = {str(index): format_id for index, format_id in enumerate(surroundings.formats) if format_id}
        self.values: dict[Key, Scalar] = {}
        self.formulas: dict[Key, Formula] = {}
        self.covered: dict[Key, Formula] = {}
        self.styles: dict[Key, int] = {}
        self.orphans: list[tuple[Key, str]] = []
        self.hidden_rows: set[int] = set()
        self.filtered: Area | None = None
        self._masters: dict[str, Formula] = {}
        self._areas: list[tuple[Area, Formula]] = []
        self._columns: dict[str, int] = {}
        self._cells_left = package.room("cells")
        self._filter: Area | None = None
        self._row, self._row_text, self._column = 0, "", 0
        self._key: Key = (0, 0)
        self._kind, self._dynamic, self._phonetic = "n", False, False
        self._value: str | None = None
        self._attributes: Attributes = {}
        self._capturing, self._pieces, self._room, self._limit = False, [""], 0, ""
        self._starts = _ByLocalName(row=self._start_row, c=self._start_cell, f=self._start_formula, v=self._start_value, t=self._start_text)
        self._ends = _ByLocalName(c=self._end_cell, f=self._end_formula, v=self._end_value, t=self._end_text, rPh=self._end_phonetic)
        self._starts["rPh"] = self._start_phonetic
        self._ends["sheetData"] = self._end_cells
        self._read_value = {
            "n": self._number,
            "s": self._shared_string,
            "str": self._text,
            "inlineStr": self._text,
            "b": self._boolean,
            "e": self._error,
            "d": self._date,
        }
        self._read_formula = {"shared": self._shared, "array": self._array, "dataTable": self._data_table}

    def start(self, name: str, attributes: Attributes) -> None:
        self._starts[name](attributes)

    def end(self, name: str) -> None:
        self._ends[name]()

    def text(self, data: str) -> None:
        if self._capturing:
            self._room -= len(data)
            if self._room < 0:
                self._overflow()
            self._pieces.append(data)

    def finish(self) -> None:
        """What can only be known at the end: masters that come after their dependants, and the areas' other cells."""
        self.package.spend("cells", self.package.room("cells") - self._cells_left, self.part)
        found = [(key, self._masters[index]) for key, index in self.orphans if index in self._masters]
        self.formulas.update(found)
        self.orphans = [orphan for orphan in self.orphans if orphan[1] not in self._masters]
        for (top, left, bottom, right), formula in self._areas:
            self.package.spend("cells", (bottom - top + 1) * (right - left + 1) - 1, self.part)
            keys = product(range(top, bottom + 1), range(left, right + 1))
            self.covered.update((key, formula) for key in keys if key not in self.formulas)

    def bounds(self) -> Area | None:
        keys = self.values.keys() | self.formulas.keys()
        if not keys:
            return None
        rows, columns = {row for row, _ in keys}, {column for _, column in keys}
        return min(rows), min(columns), max(rows), max(columns)

    # positions

    def _start_row(self, attributes: Attributes) -> None:
        text = attributes.get("r")
        self._row = self._row + 1 if text is None else self._row_number(text)
        self._row_text, self._column = str(self._row), 0
        if not 1 <= self._row <= MAX_ROW:
            raise self._refusal(f"a row is numbered {self._row:,}, beyond the sheet's edge", cell=False)
        if "hidden" in attributes and is_true(attributes, "hidden"):
            self.hidden_rows.add(self._row)

    def _end_cells(self) -> None:
        """Later parts of a sheet have elements named f, v and t too, which are none of ours."""
        self._starts, self._ends = _ByLocalName(autoFilter=self._start_filter, filterColumn=self._start_criterion), _ByLocalName()

    def _start_filter(self, attributes: Attributes) -> None:
        self._filter = parse_area(attributes.get("ref", ""))

    def _start_criterion(self, _: Attributes) -> None:
        self.filtered = self._filter

    def _row_number(self, text: str) -> int:
        if not (text.isdecimal() and len(text) < 9):
            raise self._refusal(f"a row is numbered {text[:40]!r}", cell=False)
        return int(text)

    def _start_cell(self, attributes: Attributes) -> None:
        self._cells_left -= 1
        if self._cells_left < 0:
            self.package.spend("cells", self.package.room("cells") + 1, self.part)
        self._place(attributes.get("r"))
        self._kind = attributes.get("t", "n")
        self._dynamic = "cm" in attributes
        self._value = None
        number_format = self.formats.get(attributes.get("s", "0"))
        if number_format is not None:
            self.styles[self._key] = number_format

    def _place(self, reference: str | None) -> None:
        """Sets the current cell; a missing reference counts on from the last one."""
        if reference is None:
            column: int | None = self._column + 1
        else:
            digits = len(self._row_text)
            column = self._columns.get(reference[:-digits]) if reference[-digits:] == self._row_text else None
            column = column or self._slow_place(reference)
        self._column = column or 0
        self._key = (self._row, self._column)
        if self._column > MAX_COLUMN or not self._row:
            raise self._refusal("the cell lies outside the sheet")

    def _slow_place(self, reference: str) -> int:
        match = _CELL.fullmatch(reference)
        if not match or int(match[2]) > MAX_ROW or column_number(match[1]) > MAX_COLUMN:
            raise self._refusal(f"a cell in row {self._row} has the address {reference[:40]!r}", cell=False)
        self._row, self._row_text = int(match[2]), match[2]
        return self._columns.setdefault(match[1], column_number(match[1]))

    # text

    def _start_formula(self, attributes: Attributes) -> None:
        self._attributes = attributes
        self._capture("formula_characters", self.package.limits.formula_characters)

    def _start_value(self, _: Attributes) -> None:
        self._capture("shared_string_bytes", self.package.room("shared_string_bytes"))

    def _start_text(self, _: Attributes) -> None:
        if not self._phonetic:
            self._start_value(_)

    def _start_phonetic(self, _: Attributes) -> None:
        self._phonetic = True

    def _end_phonetic(self) -> None:
        self._phonetic = False

    def _capture(self, limit: str, room: int) -> None:
        self._capturing, self._limit, self._room = True, limit, room
        self._pieces.clear()

    def _overflow(self) -> None:
        limits = self.package.limits
        limits.check(self._limit, getattr(limits, self._limit) + 1, f"{self.package.name}, {self._cell()}")

    def _end_value(self) -> None:
        self._capturing = False
        self._value = "".join(self._pieces)

    def _end_text(self) -> None:
        if not self._phonetic:
            self._capturing = False
            self._value = (self._value or "") + "".join(self._pieces)

    # values

    def _end_cell(self) -> None:
        if self._value is None:
            return
        read = self._read_value.get(self._kind)
        if read is None:
            raise self._refusal(f"has the unknown type {self._kind[:40]!r}")
        value = read(self._value)
        if value is not None:
            self.values[self._key] = value

    def _number(self, text: str) -> float | None:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isfinite(value) and "_" not in text:  # Python reads 1_000
            return value
        if text.strip():
            raise self._refusal(f"{text[:40]!r} is stored as a number and is none")
        return None

    def _shared_string(self, text: str) -> str:
        if not (text.strip().isdecimal() and len(text) < 12 and int(text) < len(self.strings)):
            raise self._refusal(f"refers to shared string {text[:40]!r} of {len(self.strings):,}")
        return self.strings[int(text)]

    def _text(self, text: str) -> str:
        self.package.spend("shared_string_bytes", len(text.encode()), self.part)
        return unescaped(text)

    def _boolean(self, text: str) -> bool:
        if text.strip() not in _BOOLEANS:
            raise self._refusal(f"{text[:40]!r} is stored as a boolean and is none")
        return _BOOLEANS[text.strip()]

    def _error(self, text: str) -> ExcelError:
        return ERROR_NAMES.get(text.strip(), ExcelError.UNKNOWN)

    def _date(self, text: str) -> float:
        try:
            return serial_number(text.strip(), self.date1904)
        except ValueError:
            raise self._refusal(f"{text[:40]!r} is stored as a date and is none") from None

    # formulas

    def _end_formula(self) -> None:
        self._capturing = False
        read = self._read_formula.get(self._attributes.get("t", ""), self._plain)
        read(formula_text("".join(self._pieces)))

    def _plain(self, text: str) -> None:
        if text:
            self.formulas[self._key] = Formula(text, *self._key, dynamic=self._dynamic)

    def _shared(self, text: str) -> None:
        """The master is the cell with text and an area; text in any other cell of the group is to be ignored (§18.3.1.40)."""
        index = self._attributes.get("si")
        if index is None:
            return self._plain(text)
        if text and ("ref" in self._attributes or index not in self._masters):
            self._masters[index] = Formula(text, *self._key, kind="shared")
        if index in self._masters:
            self.formulas[self._key] = self._masters[index]
        else:
            self.orphans.append((self._key, index))
        return None

    def _array(self, text: str) -> None:
        if text:
            self._file_area(Formula(text, *self._key, kind="array", area=self._area(), dynamic=self._dynamic))

    def _data_table(self, text: str) -> None:
        attributes = self._attributes
        r1, r2 = (None if is_true(attributes, gone) else attributes.get(name) for name, gone in (("r1", "del1"), ("r2", "del2")))
        table = DataTable(r1, r2, is_true(attributes, "dt2D"), is_true(attributes, "dtr"))
        self._file_area(Formula(text, *self._key, kind="data_table", area=self._area(), data_table=table))

    def _file_area(self, formula: Formula) -> None:
        assert formula.area is not None
        self.formulas[self._key] = formula
        self._areas.append((formula.area, formula))

    def _area(self) -> Area:
        text = self._attributes.get("ref", CellRef(self.sheet, *self._key).a1)
        area = parse_area(text)
        if area is None:
            raise self._refusal(f"its formula fills {text[:40]!r}, which is no range")
        return area

    # complaints

    def _cell(self) -> str:
        return str(CellRef(self.sheet, *self._key))

    def _refusal(self, reason: str, *, cell: bool = True) -> UnreadableWorkbook:
        return self.package.damaged(f"{self._cell() if cell else f'sheet {self.sheet!r}'}: {reason}")


def is_true(attributes: Attributes, name: str) -> bool:
    return _BOOLEANS.get(attributes.get(name, "0"), False)


def serial_number(text: str, date1904: bool) -> float:
    """An ISO 8601 date or time as Excel counts it: days since 1904, or since 1900 with its 29 February 1900. Raises ValueError."""
    if ":" in text and "-" not in text:
        clock = time.fromisoformat(text.removeprefix("T"))
        return timedelta(hours=clock.hour, minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond) / timedelta(days=1)
    moment = datetime.fromisoformat(text).replace(tzinfo=None)
    if date1904:
        return (moment - datetime(1904, 1, 1)) / timedelta(days=1)
    days = (moment - datetime(1899, 12, 30)) / timedelta(days=1)
    return days if moment >= datetime(1900, 3, 1) else days - 1
