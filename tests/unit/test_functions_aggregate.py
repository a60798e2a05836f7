"""Aggregates and criteria, as Microsoft documents them."""

from __future__ import annotations

import pytest
from formula_cases import value_of

from ultramc.values import ExcelError, Scalar

DIV0, NULL, VALUE = ExcelError.DIV0, ExcelError.NULL, ExcelError.VALUE

CELLS: dict[str, object] = {
    **{"A1": 1, "A2": 2, "A3": 3, "A4": 4, "A5": 5},
    **{"B1": "apple", "B2": "Banana", "B3": "cherry", "B4": "apple"},
    **{"C1": 10, "C2": 20, "C3": 30, "C4": 40, "C5": 50},
    **{"D1": "5", "D2": True, "D4": "=1/0"},
    **{"E1": "a*b", "E2": "<5", "E3": '=""'},
}

CASES: tuple[tuple[str, Scalar], ...] = (
    # aggregates
    ("SUM(A1:A5)", 15.0),
    ('SUM("5",TRUE,2)', 8.0),
    ("SUM(D1:D3)", 0.0),
    ("SUM(D1:D4)", DIV0),
    ('SUM("x")', VALUE),
    ('SUM({1,"2",TRUE})', 1.0),
    ("SUM(A1:A2,A4)", 7.0),
    ("SUM((A1:A2,A4:A5))", 12.0),
    ("SUM(A1:A3 A2:A5)", 5.0),
    ("SUM(A1:A2 A4:A5)", NULL),
    ("SUM(,1)", 1.0),
    ("COUNT(A1:D5)", 10.0),
    ('COUNT("3","x",TRUE,D3)', 2.0),
    ('COUNT({1,"2",TRUE})', 1.0),
    ("COUNTA(B1:B5)", 4.0),
    ("COUNTA(D1:D5)", 3.0),
    ("COUNTBLANK(B1:B5)", 1.0),
    ("COUNTBLANK(E1:E3)", 1.0),
    ("AVERAGE(A1:A5)", 3.0),
    ("AVERAGE(B1:B5)", DIV0),
    ('AVERAGE(1,TRUE,"4")', 2.0),
    ("AVERAGEA(A1:A2,B1)", 1.0),
    ("MAX(B1:B5)", 0.0),
    ("MIN(A1:A5,-1)", -1.0),
    ("MAX(D4,1)", DIV0),
    ('MAX("7",2)', 7.0),
    ("MAXA(D2,0)", 1.0),
    ("MAX(D2,-1)", -1.0),
    ("MINA(B1,5)", 0.0),
    ("SUMSQ(3,4)", 25.0),
    ("SUMPRODUCT(A1:A3,C1:C3)", 140.0),
    ("SUMPRODUCT(A1:A3,C1:C2)", VALUE),
    ("SUMPRODUCT((A1:A5>2)*(C1:C5))", 120.0),
    ('SUMPRODUCT(--(B1:B4="apple"))', 2.0),
    ("SUMPRODUCT(A1:A3,D1:D3)", 0.0),
    ("SUBTOTAL(9,A1:A5)", 15.0),
    ("SUBTOTAL(1,A1:A5)", 3.0),
    ("SUBTOTAL(99,A1)", VALUE),
    ("SUBTOTAL(109,A1:A5)", 15.0),
    ("SUBTOTAL(3,B1:B5)", 4.0),
    # criteria
    ('SUMIF(A1:A5,">2")', 12.0),
    ('SUMIF(A1:A5,">2",C1:C5)', 120.0),
    ('SUMIF(B1:B5,"apple",C1:C5)', 50.0),
    ('SUMIF(B1:B5,"APPLE",C1:C5)', 50.0),
    ('SUMIF(B1:B5,"<>apple",C1:C5)', 100.0),
    ('SUMIF(B1:B5,"*an*",C1:C5)', 20.0),
    ('SUMIF(B1:B5,"?????",C1:C5)', 50.0),
    ('SUMIF(B1:B5,"",C1:C5)', 50.0),
    ('SUMIF(B1:B5,"=",C1:C5)', 50.0),
    ('SUMIF(B1:B5,"<>",C1:C5)', 100.0),
    ('SUMIF(B1:B5,">apple",C1:C5)', 50.0),
    ("SUMIF(A1:A5,A2,C1)", 20.0),
    ('COUNTIF(A1:A5,"3")', 1.0),
    ("COUNTIF(D1:D5,5)", 1.0),
    ('COUNTIF(D1:D5,"5")', 1.0),
    ("COUNTIF(D1:D5,TRUE)", 1.0),
    ('COUNTIF(D1:D5,"TRUE")', 1.0),
    ('COUNTIF(D1:D5,"#DIV/0!")', 1.0),
    ("COUNTIF(A1:A5,D3)", 0.0),
    ('COUNTIF(E1:E3,"a~*b")', 1.0),
    ('COUNTIF(E1:E3,"=<5")', 1.0),
    ('COUNTIF(E1:E3,"")', 1.0),
    ('COUNTIF(E1:E3,"=")', 0.0),
    ('COUNTIF(E1:E4,"")', 2.0),
    ('COUNTIF(E1:E4,"=")', 1.0),
    ('COUNTIF(E1:E4,"<>")', 3.0),
    ('COUNTIF(A1:A5,"<>3")', 4.0),
    ('COUNTIF(B1:B5,"*")', 4.0),
    ('COUNTIF(A:A,"")', 1048571.0),
    ('COUNTIFS(A1:A5,">1",A1:A5,"<5")', 3.0),
    ('COUNTIFS(A1:A5,">1",B1:B4,"x")', VALUE),
    ('SUMIFS(C1:C5,A1:A5,">=2",B1:B5,"<>cherry")', 110.0),
    ('AVERAGEIF(A1:A5,">3")', 4.5),
    ('AVERAGEIF(A1:A5,">9")', DIV0),
    ('AVERAGEIFS(C1:C5,B1:B5,"apple")', 25.0),
    ('MAXIFS(C1:C5,B1:B5,"apple")', 40.0),
    ('MINIFS(C1:C5,A1:A5,">9")', 0.0),
    ('COUNTIF(B1:B5,"<b")', 2.0),
    ('SUMIF(A1:A5,"<="&A3)', 6.0),
)


@pytest.mark.parametrize(("formula", "expected"), CASES)
def test_value(formula: str, expected: Scalar) -> None:
    found = value_of("=" + formula, CELLS)
    assert type(found) is type(expected)
    assert found == (pytest.approx(expected, rel=1e-14, abs=0) if isinstance(expected, float) else expected)
