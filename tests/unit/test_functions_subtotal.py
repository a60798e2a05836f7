"""SUBTOTAL and AGGREGATE: what they pass over. The values of a column with one hidden row are those that Excel gave for it."""

from __future__ import annotations

import io

import openpyxl
import pytest
from formula_cases import NOW
from openpyxl.worksheet.table import Table

from ultramc.address import CellRef, RangeRef
from ultramc.calculation import Calculation
from ultramc.graph import Graph
from ultramc.values import ExcelError, Scalar
from ultramc.workbook import Workbook

DIV0, VALUE = ExcelError.DIV0, ExcelError.VALUE

COLUMN = (15, 77, 30, 28, 31, 96, 77, 53, 34, "=AGGREGATE(1,4,B1:B11)", "=SUBTOTAL(4,B1:B11)")
OTHERS = (8, 65, 60, 63, 53, 71, 55, 83, -500, 91, 89)
WITH_ERROR = (15, 77, 30, 28, "=1/0", 12, 77, 53, 34)


def _book(formulas: dict[str, str], *, hidden: tuple[int, ...] = (6,), filtered: str = "", table: bool = False) -> Calculation:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Sheet1"
    for column, values in zip("ABC", (COLUMN, OTHERS, WITH_ERROR), strict=True):
        for row, value in enumerate(values, 1):
            sheet[f"{column}{row}"] = value
    for address, formula in formulas.items():
        sheet[address] = formula
    for row in hidden:
        sheet.row_dimensions[row].hidden = True
    if table:
        sheet["E1"] = "Head"
        made = Table(displayName="T", ref="E1:E8")
        made.autoFilter = openpyxl.worksheet.filters.AutoFilter(ref="E1:E8")
        made.autoFilter.add_filter_column(0, ["1"])
        sheet.add_table(made)
    elif filtered:
        sheet.auto_filter.ref = filtered
        sheet.auto_filter.add_filter_column(0, ["1"])
    file = io.BytesIO()
    book.save(file)
    calculation = Calculation.of(Graph.of(Workbook(file.getvalue())), now=NOW)
    calculation.propagate()
    assert not calculation.unsupported
    return calculation


def _value(calculation: Calculation, row: int, column: int) -> Scalar:
    return calculation.grid.scalars(RangeRef.of(CellRef("Sheet1", row, column)))[0]


CASES: tuple[tuple[str, Scalar], ...] = (
    ("AGGREGATE(1,0,A1:A11)", 49.0),  # without the nested two
    ("AGGREGATE(1,1,A1:A11)", 43.125),  # without the hidden row as well
    ("AGGREGATE(3,1,A1:A11)", 8.0),
    ("AGGREGATE(4,3,A1:A11)", 77.0),
    ("AGGREGATE(9,1,A1:A11)", 345.0),
    ("AGGREGATE(12,1,A1:A11)", 32.5),
    ("AGGREGATE(1,4,A1:A11)", 49.50413223140495),
    ("AGGREGATE(1,5,A1:A11)", 44.85454545454546),
    ("AGGREGATE(2,7,A1:A11)", 10.0),
    ("AGGREGATE(5,2,C1:C9)", 12.0),
    ("AGGREGATE(5,3,C1:C9)", 15.0),
    ("AGGREGATE(9,1,C1:C9)", DIV0),
    ("AGGREGATE(17,0,A1:A11,1)", 30.0),
    ("AGGREGATE(18,1,A1:A11,0.4)", 30.6),
    ("AGGREGATE(19,3,A1:A11,2)", 32.5),
    ("AGGREGATE(14,6,C1:C9,2)", 77.0),
    ("AGGREGATE(9,8,A1:A11)", VALUE),
    ("AGGREGATE(20,0,A1:A11)", VALUE),
    ("SUBTOTAL(9,A1:A11)", 441.0),
    ("SUBTOTAL(109,A1:A11)", 345.0),
    ("SUBTOTAL(109,A1:A5,A6:A9)", 345.0),
    ("SUBTOTAL(109,(A1:A5,A6:A9))", 345.0),
    ("SUBTOTAL(12,A1:A11)", VALUE),
)


@pytest.mark.parametrize(("formula", "expected"), CASES)
def test_value(formula: str, expected: Scalar) -> None:
    found = _value(_book({"G1": "=" + formula}), 1, 7)
    assert found is expected if isinstance(expected, ExcelError) else found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("filtered", "table", "expected"), [("", False, 441.0), ("E1:E8", False, 345.0), ("E1:E5", False, 441.0), ("", True, 345.0)]
)
def test_rows_that_a_filter_hides_never_count(filtered: str, table: bool, expected: float) -> None:
    assert _value(_book({"G1": "=SUBTOTAL(9,A1:A11)"}, filtered=filtered, table=table), 1, 7) == expected


def test_a_block_of_like_formulas_passes_over_its_own_cells() -> None:
    formulas = {f"H{row}": f"=SUBTOTAL(109,B{row}:B{row + 2})" for row in range(1, 10)}
    formulas |= {f"I{row}": f"=SUBTOTAL(9,A$1:A$11)+B{row}" for row in range(1, 10)}
    calculation = _book(formulas)
    visible = [0 if row == 6 else value for row, value in enumerate(OTHERS, 1)]
    for row in range(1, 10):
        assert _value(calculation, row, 8) == sum(visible[row - 1 : row + 2])
        assert _value(calculation, row, 9) == 441.0 + OTHERS[row - 1]
