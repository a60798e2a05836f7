"""Conditions, choice and questions about kinds, as Microsoft documents them."""

from __future__ import annotations

import pytest
from formula_cases import value_of

from ultramc.values import ExcelError, Scalar

DIV0, NA, VALUE = ExcelError.DIV0, ExcelError.NA, ExcelError.VALUE

CELLS: dict[str, object] = {
    **{"A1": 1, "A2": 2, "A3": 3, "A4": 4, "A5": 5},
    **{"B1": "apple", "B2": "Banana", "B3": "cherry", "B4": "apple"},
    **{"C1": 10, "C2": 20, "C3": 30, "C4": 40, "C5": 50},
    **{"D1": "5", "D2": True, "D4": "=1/0"},
    **{"E1": "a*b", "E2": "<5", "E3": '=""'},
}

CASES: tuple[tuple[str, Scalar], ...] = (
    # conditions and questions
    ("IF(TRUE,1,1/0)", 1.0),
    ("IF(FALSE,1/0)", False),
    ("IF(D3,1,2)", 2.0),
    ('IF("TRUE",1,2)', 1.0),
    ('IF("x",1,2)', VALUE),
    ("IF(#N/A,1,2)", NA),
    ("IF(TRUE,,2)", 0.0),
    ("IF(0,1,)", 0.0),
    ('IF(2,"y")', "y"),
    ("IFS(FALSE,1,TRUE,2)", 2.0),
    ("IFS(FALSE,1)", NA),
    ("IFS(TRUE,1,1/0,2)", 1.0),
    ('SWITCH(2,1,"a",2,"b")', "b"),
    ('SWITCH(3,1,"a","z")', "z"),
    ('SWITCH(3,1,"a")', NA),
    ('SWITCH(D4,1,"a","z")', DIV0),
    ("IFERROR(1/0,7)", 7.0),
    ("IFERROR(D3,7)", 0.0),
    ("IFERROR(1/0,)", 0.0),
    ("IFNA(#N/A,1)", 1.0),
    ("IFNA(1/0,1)", DIV0),
    ("AND(TRUE,1)", True),
    ("AND(D1:D3)", True),
    ("AND(B1:B2)", VALUE),
    ('OR(FALSE,0,"TRUE")', True),
    ("OR(D4,TRUE)", DIV0),
    ('AND("x")', VALUE),
    ("XOR(TRUE,TRUE,TRUE)", True),
    ('NOT("FALSE")', True),
    ("NOT(0)", True),
    ("AND(D3,TRUE)", True),
    ("ISBLANK(D3)", True),
    ("ISBLANK(E3)", False),
    ("ISNUMBER(D1)", False),
    ("ISTEXT(D1)", True),
    ("ISERROR(D4)", True),
    ("ISERR(#N/A)", False),
    ("ISNA(#N/A)", True),
    ("ISLOGICAL(D2)", True),
    ("ISNONTEXT(D3)", True),
    ("ISEVEN(2.9)", True),
    ("ISODD(-3)", True),
    ("ISREF(A1)", True),
    ("ISREF(1)", False),
    ('N("5")', 0.0),
    ("N(TRUE)", 1.0),
    ("N(D4)", DIV0),
    ("T(5)", ""),
    ('T("x")', "x"),
    ('TYPE("x")', 2.0),
    ("TYPE(D4)", 16.0),
    ("ERROR.TYPE(D4)", 2.0),
    ("ERROR.TYPE(1)", NA),
    ("TYPE({1,2})", 64.0),
)


@pytest.mark.parametrize(("formula", "expected"), CASES)
def test_value(formula: str, expected: Scalar) -> None:
    found = value_of("=" + formula, CELLS)
    assert type(found) is type(expected)
    assert found == (pytest.approx(expected, rel=1e-14, abs=0) if isinstance(expected, float) else expected)
