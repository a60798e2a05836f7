"""Facts about cells and sheets. Expected values: Microsoft's pages and values cached by Excel."""

import pytest
from formula_cases import value_of

from ultramc.errors import UnsupportedFormula
from ultramc.values import ExcelError

CELLS = {"A1": "=SUM(1,2)*3", "A2": 5, "A3": "hola", "A5": "=1/0", "A6": True}


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("FORMULATEXT(A1)", "=SUM(1,2)*3"),
        ("FORMULATEXT(A2)", ExcelError.NA),
        ("ISFORMULA(A1)", True),
        ("ISFORMULA(A2)", False),
        ("SHEET()", 1.0),
        ("SHEET(A1)", 1.0),
        ('SHEET("sheet1")', 1.0),
        ('SHEET("none")', ExcelError.NA),
        ("SHEETS()", 1.0),
        ('CELL("address",A2)', "$A$2"),
        ('CELL("address",B4:C9)', "$B$4"),
        ('CELL("col",C4)', 3.0),
        ('CELL("ROW",C4)', 4.0),
        ('CELL("contents",A3)', "hola"),
        ('CELL("contents",A4)', 0.0),
        ('CELL("contents",A5)', ExcelError.DIV0),
        ('CELL("type",A2)', "v"),
        ('CELL("type",A3)', "l"),
        ('CELL("type",A4)', "b"),
        ('CELL("type",A5)', "v"),
        ('CELL("type",A6)', "v"),
        ('CELL("invalid",A2)', ExcelError.VALUE),
    ],
)
def test_value(formula, expected):
    value = value_of(f"={formula}", CELLS)
    assert value == expected
    assert type(value) is type(expected)


def test_what_is_not_kept_is_refused_by_name():
    with pytest.raises(UnsupportedFormula, match="CELL of 'filename'"):
        value_of('=CELL("filename",A1)', CELLS)
