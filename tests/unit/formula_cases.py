"""What a formula gives, in a workbook of one sheet that is written for it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime

import openpyxl
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from ultramc.address import CellRef, RangeRef, parse_area
from ultramc.calculation import Calculation
from ultramc.graph import Graph
from ultramc.values import Scalar
from ultramc.workbook import Workbook

NOW = datetime(2026, 3, 4, 18, 0)  # the run's clock in these tests


def values_of(formulas: Mapping[str, str], cells: Mapping[str, object] | None = None, *, date1904: bool = False) -> dict[str, Scalar]:
    """The value of each formula by its address. Raises the error of a formula that cannot be worked out."""
    calculation = Calculation.of(Graph.of(workbook({**(cells or {}), **formulas}, date1904=date1904)), now=NOW)
    calculation.propagate()
    for error in calculation.unsupported.values():
        raise error
    places = {address: CellRef("Sheet1", *parse_area(address)[:2]) for address in formulas}
    return {address: calculation.grid.scalars(RangeRef.of(place))[0] for address, place in places.items()}


def value_of(formula: str, cells: Mapping[str, object] | None = None, *, date1904: bool = False) -> Scalar:
    """The value of a formula in cell Z1."""
    return values_of({"Z1": formula}, cells, date1904=date1904)["Z1"]


def workbook(cells: Mapping[str, object], *, date1904: bool = False) -> Workbook:
    book = openpyxl.Workbook()
    book.epoch = CALENDAR_MAC_1904 if date1904 else book.epoch
    sheet = book.active
    sheet.title = "Sheet1"
    for address, value in cells.items():
        sheet[address] = value
    file = io.BytesIO()
    book.save(file)
    return Workbook(file.getvalue())
