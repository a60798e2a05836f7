"""Where things are: cells and ranges, the key that everything is filed under."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from attrs import field, frozen

MAX_ROW = 1_048_576
MAX_COLUMN = 16_384

_A1 = re.compile(r"\$?([A-Za-z]{1,3})\$?([1-9][0-9]{0,6})")
_RANGE = re.compile(rf"{_A1.pattern}(?::{_A1.pattern})?")
_PLAIN_SHEET = re.compile(r"[^\W\d][\w.]*")
_LOOKS_LIKE_CELL = re.compile(r"[A-Za-z]{1,3}[0-9]{1,7}|[Rr][0-9]*[Cc][0-9]*|[Rr]|[Cc]|TRUE|FALSE", re.IGNORECASE)


@cache
def column_letters(column: int) -> str:
    """1 → A, 27 → AA, 16384 → XFD."""
    letters = ""
    while column:
        column, remainder = divmod(column - 1, 26)
        letters = chr(65 + remainder) + letters
    return letters


@lru_cache(maxsize=MAX_COLUMN)
def column_number(letters: str) -> int:
    """A → 1, xfd → 16384; not checked against the sheet's edge."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number


def quoted(sheet: str) -> str:
    """A sheet name as it stands in a formula: quoted where Excel would."""
    if _PLAIN_SHEET.fullmatch(sheet) and not _LOOKS_LIKE_CELL.fullmatch(sheet):
        return sheet
    return "'" + sheet.replace("'", "''") + "'"


@frozen(order=True)
class CellRef:
    """One cell; row and column count from 1. Prints as ``Sheet1!B4``."""

    sheet: str
    row: int
    column: int

    @property
    def a1(self) -> str:
        return f"{column_letters(self.column)}{self.row}"

    def __str__(self) -> str:
        return f"{quoted(self.sheet)}!{self.a1}"


@frozen(order=True)
class RangeRef:
    """A rectangle of cells of one sheet, ends included. Prints as ``Sheet1!B4:C9``, or as a cell if it is one."""

    sheet: str
    top: int
    left: int
    bottom: int = field()
    right: int = field()

    @bottom.validator
    def _ordered_rows(self, _: object, value: int) -> None:
        if value < self.top:
            raise ValueError(f"range ends in row {value}, above its start in row {self.top}")

    @right.validator
    def _ordered_columns(self, _: object, value: int) -> None:
        if value < self.left:
            raise ValueError(f"range ends in column {value}, left of its start in column {self.left}")

    @classmethod
    def of(cls, cell: CellRef) -> RangeRef:
        return cls(cell.sheet, cell.row, cell.column, cell.row, cell.column)

    @property
    def height(self) -> int:
        return self.bottom - self.top + 1

    @property
    def width(self) -> int:
        return self.right - self.left + 1

    @property
    def size(self) -> int:
        return self.height * self.width

    @property
    def first(self) -> CellRef:
        return CellRef(self.sheet, self.top, self.left)

    def cells(self) -> Iterator[CellRef]:
        """Row by row."""
        for row in range(self.top, self.bottom + 1):
            for column in range(self.left, self.right + 1):
                yield CellRef(self.sheet, row, column)

    def __contains__(self, cell: CellRef) -> bool:
        return cell.sheet == self.sheet and self.top <= cell.row <= self.bottom and self.left <= cell.column <= self.right

    def intersection(self, other: RangeRef) -> RangeRef | None:
        top, bottom = max(self.top, other.top), min(self.bottom, other.bottom)
        left, right = max(self.left, other.left), min(self.right, other.right)
        if self.sheet != other.sheet or top > bottom or left > right:
            return None
        return RangeRef(self.sheet, top, left, bottom, right)

    @property
    def a1(self) -> str:
        start = f"{column_letters(self.left)}{self.top}"
        return start if self.size == 1 else f"{start}:{column_letters(self.right)}{self.bottom}"

    def __str__(self) -> str:
        return f"{quoted(self.sheet)}!{self.a1}"


def split_sheet(text: str) -> tuple[str | None, str]:
    """``'Anna''s plan'!B2`` → ("Anna's plan", "B2"); no sheet → (None, text)."""
    sheet, bang, rest = text.strip().rpartition("!")
    if not bang:
        return None, rest
    if len(sheet) >= 2 and sheet[0] == sheet[-1] == "'":
        sheet = sheet[1:-1].replace("''", "'")
    return sheet, rest


def parse_area(text: str) -> tuple[int, int, int, int] | None:
    """``B4`` or ``$B$4:C9`` → (top, left, bottom, right), sorted; None where it is no such address."""
    match = _RANGE.fullmatch(text.strip())
    if not match:
        return None
    left, top = column_number(match[1]), int(match[2])
    right, bottom = (column_number(match[3]), int(match[4])) if match[3] else (left, top)
    if max(left, right) > MAX_COLUMN or max(top, bottom) > MAX_ROW:
        return None
    return min(top, bottom), min(left, right), max(top, bottom), max(left, right)
