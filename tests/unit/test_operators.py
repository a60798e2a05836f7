"""Operators, as Excel documents them: precedence, coercion, which error wins, comparison across kinds, 15 digits."""

from __future__ import annotations

import pytest
from formula_cases import value_of

from ultramc.values import ExcelError, Scalar

DIV0, NA, NUM, VALUE = ExcelError.DIV0, ExcelError.NA, ExcelError.NUM, ExcelError.VALUE

CELLS: dict[str, object] = {
    **{"A1": 1, "A2": 2, "A3": 3, "A4": 4, "A5": 5},
    **{"B1": "apple", "B2": "Banana", "B3": "cherry", "B4": "apple"},
    **{"C1": 10, "C2": 20, "C3": 30, "C4": 40, "C5": 50},
    **{"D1": "5", "D2": True, "D4": "=1/0"},
    **{"E1": "a*b", "E2": "<5", "E3": '=""'},
}

CASES: tuple[tuple[str, Scalar], ...] = (
    # arithmetic and text
    ("1+2*3^2", 19.0),
    ("-2^2", 4.0),
    ("2^-1", 0.5),
    ("2^3^2", 64.0),
    ("50%*4", 2.0),
    ("1/0", DIV0),
    ("0/0", DIV0),
    ("0^0", NUM),
    ("0^-1", DIV0),
    ("(-8)^(1/3)", NUM),
    ("(-2)^3", -8.0),
    ("1E308*10", NUM),
    ('"3"+4', 7.0),
    ('"1,234"+0', 1234.0),
    ('"x"+1', VALUE),
    ("TRUE+TRUE", 2.0),
    ('""+1', VALUE),
    ("D3+1", 1.0),
    ("-D3", 0.0),
    ('-"5"', -5.0),
    ('+"x"', "x"),
    ("-TRUE", -1.0),
    ("D4+#N/A", DIV0),
    ("#N/A+D4", NA),
    ("1&2", "12"),
    ('TRUE&""', "TRUE"),
    ('0.1&""', "0.1"),
    ('1/3&""', "0.333333333333333"),
    ('D3&"x"', "x"),
    ('#N/A&"x"', NA),
    ('"5%"+0', 0.05),
    ('"1/2/2024"+0', 45293.0),
    ('"$5"+0', 5.0),
    ('"(5)"+0', -5.0),
    ('" 5 "+0', 5.0),
    ('"1e3"+0', 1000.0),
    # comparison
    ('"a"="A"', True),
    ('"a"<"B"', True),
    ('1<"a"', True),
    ('"a"<TRUE', True),
    ("FALSE<TRUE", True),
    ('99999<"1"', True),
    ('"1"=1', False),
    ("D3=0", True),
    ('D3=""', True),
    ("D3=FALSE", True),
    ('D3="x"', False),
    ("D3<1", True),
    ("TRUE=1", False),
    ('""=0', False),
    ("0.1+0.2=0.3", True),
    ("1=1.0000000000000001", True),
    ("1=1.000000000001", False),
    ("1<>D4", DIV0),
    ("1E308*10>5", NUM),
    ("0.5-0.4-0.1", 0.0),
    ("1*(0.5-0.4-0.1)", -2.7755575615628914e-17),
    ("1.1-1-0.1", 0.0),
)


@pytest.mark.parametrize(("formula", "expected"), CASES)
def test_value(formula: str, expected: Scalar) -> None:
    found = value_of("=" + formula, CELLS)
    assert type(found) is type(expected)
    assert found == (pytest.approx(expected, rel=1e-14, abs=0) if isinstance(expected, float) else expected)
