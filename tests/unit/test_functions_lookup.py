"""MATCH, INDEX, OFFSET and their like, as Microsoft documents them."""

from __future__ import annotations

import pytest
from formula_cases import value_of

from ultramc.values import ExcelError, Scalar

NA, REF, VALUE = ExcelError.NA, ExcelError.REF, ExcelError.VALUE

CELLS: dict[str, object] = {
    **{"A1": 1, "A2": 2, "A3": 3, "A4": 4, "A5": 5},
    **{"B1": "apple", "B2": "Banana", "B3": "cherry", "B4": "apple"},
    **{"C1": 10, "C2": 20, "C3": 30, "C4": 40, "C5": 50},
    **{"D1": "5", "D2": True, "D4": "=1/0"},
    **{"E1": "a*b", "E2": "<5", "E3": '=""'},
}

CASES: tuple[tuple[str, Scalar], ...] = (
    # finding
    ("VLOOKUP(3,A1:C5,3)", 30.0),
    ("VLOOKUP(3.5,A1:C5,3)", 30.0),
    ("VLOOKUP(0,A1:C5,3)", NA),
    ("VLOOKUP(99,A1:C5,3)", 50.0),
    ("VLOOKUP(3.5,A1:C5,3,FALSE)", NA),
    ('VLOOKUP("CHERRY",B1:C5,2,FALSE)', 30.0),
    ('VLOOKUP("b*",B1:C5,2,0)', 20.0),
    ('VLOOKUP("?????y",B1:C5,2,0)', 30.0),
    ("VLOOKUP(3,A1:C5,4)", REF),
    ("VLOOKUP(3,A1:C5,0)", VALUE),
    ("VLOOKUP(#N/A,A1:C5,2)", NA),
    ("VLOOKUP(5,A1:B5,2)", 0.0),
    ("HLOOKUP(1,A1:C2,2)", 2.0),
    ('HLOOKUP("apple",A1:C2,2,FALSE)', "Banana"),
    ("MATCH(3,A1:A5)", 3.0),
    ("MATCH(3.5,A1:A5,1)", 3.0),
    ("MATCH(3.5,A1:A5,0)", NA),
    ('MATCH("banana",B1:B5,0)', 2.0),
    ('MATCH("c*",B1:B5,0)', 3.0),
    ("MATCH(3,{5,4,3,1},-1)", 3.0),
    ("MATCH(2,{5,4,3,1},-1)", 3.0),
    ("MATCH(6,{5,4},-1)", NA),
    ("MATCH(1,A1:B2,0)", NA),
    ("MATCH(TRUE,D1:D3,0)", 2.0),
    ('MATCH("5",A1:A5,0)', NA),
    ("MATCH(E1,E1:E3,0)", 1.0),
    ('MATCH("a~*b",E1:E3,0)', 1.0),
    ("INDEX(A1:C5,2,3)", 20.0),
    ("INDEX(A1:A5,3)", 3.0),
    ("INDEX(A1:C1,3)", 10.0),
    ("INDEX(A1:C5,9,1)", REF),
    ("INDEX(A1:C5,-1,1)", VALUE),
    ("SUM(INDEX(A1:C5,0,3))", 150.0),
    ("SUM(INDEX(A1:C5,2,0))", 22.0),
    ("SUM(INDEX(A1:C5,0,0))", 165.0),
    ("SUM(A1:INDEX(A1:A5,3))", 6.0),
    ("INDEX({1,2;3,4},2,1)", 3.0),
    ("INDEX((A1:A2,C1:C3),2,1,2)", 20.0),
    ("INDEX(A1:A5,1,1,2)", REF),
    ("INDEX(B1:B5,5)", 0.0),
    ("XLOOKUP(3,A1:A5,C1:C5)", 30.0),
    ('XLOOKUP(9,A1:A5,C1:C5,"none")', "none"),
    ("XLOOKUP(9,A1:A5,C1:C5)", NA),
    ("XLOOKUP(3.5,A1:A5,C1:C5,,-1)", 30.0),
    ("XLOOKUP(3.5,A1:A5,C1:C5,,1)", 40.0),
    ('XLOOKUP("app*",B1:B5,C1:C5,,2)', 10.0),
    ('XLOOKUP("apple",B1:B5,C1:C5,,0,-1)', 40.0),
    ("XLOOKUP(1,A1:A5,C1:C3)", VALUE),
    ("SUM(XLOOKUP(2,A1:A5,A1:C5))", 22.0),
    ('XMATCH("app*",B1:B5,2,-1)', 4.0),
    ("XMATCH(3,A1:A5)", 3.0),
    ("XMATCH(3,A1:A5,7)", VALUE),
    ("LOOKUP(3.2,A1:A5,C1:C5)", 30.0),
    ("LOOKUP(0,A1:A5)", NA),
    ('LOOKUP("c",{"a","b","c","d";1,2,3,4})', 3.0),
    ('LOOKUP("bump",{"a",1;"b",2;"c",3})', 2.0),
    ('LOOKUP(2,1/(B1:B4="apple"),C1:C4)', 40.0),
    ("OFFSET(A1,2,2)", 30.0),
    ("SUM(OFFSET(A1,1,0,2,3))", 55.0),
    ("SUM(OFFSET(A5,0,0,-2,1))", 9.0),
    ("OFFSET(A1,-1,0)", REF),
    ("SUM(OFFSET(A1:A2,1,0))", 5.0),
    ('INDIRECT("C"&2)', 20.0),
    ('SUM(INDIRECT("A1:A3"))', 6.0),
    ('INDIRECT("x y")', REF),
    ('INDIRECT("Nope!A1")', REF),
    ('CHOOSE(2,"a","b")', "b"),
    ('CHOOSE(2.9,"a","b","c")', "b"),
    ('CHOOSE(0,"a")', VALUE),
    ('CHOOSE(3,"a","b")', VALUE),
    ("SUM(CHOOSE(2,A1:A2,C1:C3))", 60.0),
    ("ROW()", 1.0),
    ("COLUMN()", 26.0),
    ("ROW(A5)", 5.0),
    ("COLUMN(C1:D2)", 3.0),
    ("ROWS(A1:C5)", 5.0),
    ("COLUMNS(A1:C5)", 3.0),
    ("ROWS({1;2;3})", 3.0),
    ("AREAS((A1:A2,C1))", 2.0),
    ("ADDRESS(2,3)", "$C$2"),
    ("ADDRESS(2,3,4)", "C2"),
    ("ADDRESS(2,3,2,FALSE)", "R2C[3]"),
    ('ADDRESS(1,1,1,TRUE,"My Sheet")', "'My Sheet'!$A$1"),
)


@pytest.mark.parametrize(("formula", "expected"), CASES)
def test_value(formula: str, expected: Scalar) -> None:
    found = value_of("=" + formula, CELLS)
    assert type(found) is type(expected)
    assert found == (pytest.approx(expected, rel=1e-14, abs=0) if isinstance(expected, float) else expected)
