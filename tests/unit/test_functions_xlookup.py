"""XLOOKUP and XMATCH: match and search modes, with values that Excel has cached; and criteria that compare with nothing."""

from __future__ import annotations

import bisect

import pytest
from formula_cases import value_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ultramc.values import ExcelError, Scalar

DIV0, NA, VALUE = ExcelError.DIV0, ExcelError.NA, ExcelError.VALUE

CELLS: dict[str, object] = {
    **{f"A{row}": value for row, value in enumerate((2, 5, 4, 5, 3, True, "ala"), 1)},  # in no order, of all kinds
    **{f"B{row}": value for row, value in enumerate("abcdefg", 1)},
    **{f"C{row}": value for row, value in enumerate((2, 3, 4, 5, 6), 1)},
    **{f"D{row}": value for row, value in enumerate((6, 5, 4, 3, 2), 1)},
    "E1": 1,
    "E3": 3,
    "E5": 5,
}

CASES: tuple[tuple[str, Scalar], ...] = (
    ("XLOOKUP(5,A1:A7,B1:B7)", "b"),
    ("XLOOKUP(5,A1:A7,B1:B7,,,-1)", "d"),
    ("XLOOKUP(10,A1:A7,B1:B7)", NA),
    ("XLOOKUP(10,A1:A7,B1:B7,,,-1)", NA),  # an empty argument is none
    ('XLOOKUP(10,A1:A7,B1:B7,"none")', "none"),
    ("XLOOKUP(10,A1:A7,B1:B7,Z9)", 0.0),  # an empty cell is one
    ("XLOOKUP(4.8,A1:A7,B1:B7,,-1)", "c"),
    ("XLOOKUP(1.8,A1:A7,B1:B7,,-1)", NA),
    ("XLOOKUP(10,A1:A7,B1:B7,,-1,-1)", "d"),
    ("XLOOKUP(FALSE,A1:A7,B1:B7,,-1)", "g"),  # below FALSE stand texts
    ('XLOOKUP("qwerty",A1:A7,B1:B7,,-1)', "g"),
    ('XLOOKUP("qwerty",A1:A7,B1:B7,,1)', "f"),
    ("XLOOKUP(10,A1:A7,B1:B7,,1)", "g"),
    ("XLOOKUP(4.8,A1:A7,B1:B7,,1,-1)", "d"),
    ("XLOOKUP(#DIV/0!,A1:A7,B1:B7,,1)", DIV0),
    ("XMATCH(4.5,C1:C5,-1,2)", 3.0),
    ("XMATCH(1.8,C1:C5,-1,2)", NA),
    ('XMATCH("a",C1:C5,-1,2)', 5.0),
    ("XMATCH(4.5,C1:C5,1,2)", 4.0),
    ("XMATCH(7,C1:C5,1,2)", NA),
    ("XMATCH(5.99,D1:D5,-1,-2)", 2.0),
    ("XMATCH(5.99,D1:D5,1,-2)", 1.0),
    ("XMATCH(1,D1:D5,1,-2)", 5.0),
    ("XMATCH(3,D1:D5,0,-2)", 4.0),
    ("XMATCH(7,C1:C9,1,2)", NA),  # the blank cells below are next to nothing
    ("XLOOKUP(Z9,E1:E5,{1;2;3;4;5})", 2.0),  # a blank key is a blank cell
    ("XLOOKUP(,E1:E5,{1;2;3;4;5},,,-1)", 4.0),
    ('XLOOKUP("*a",A1:A7,B1:B7,,2)', "g"),
    ('XLOOKUP("*a",A1:A7,B1:B7,,2,2)', VALUE),  # no wildcards in a binary search
    ("XLOOKUP(5,A1:A7,B1:B7,,12)", VALUE),
    ("XLOOKUP(5,A1:A7,B1:B7,,,3)", VALUE),
    ("XLOOKUP(5,A1:A7,B1:B6)", VALUE),
    ("XLOOKUP(5,A1:A7,3)", VALUE),
)


@pytest.mark.parametrize(("formula", "expected"), CASES)
def test_value(formula: str, expected: Scalar) -> None:
    assert value_of("=" + formula, CELLS) == expected


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8, unique=True), st.integers(-1, 10), st.sampled_from((-1, 1)))
@settings(max_examples=40, deadline=None)
def test_binary_search_finds_what_bisection_does(numbers: list[int], key: int, mode: int) -> None:
    ascending = sorted(numbers)
    place = bisect.bisect_right(ascending, key) if mode < 0 else bisect.bisect_left(ascending, key) + 1
    expected = float(place) if 1 <= place <= len(numbers) else NA
    listed = ";".join(map(str, ascending))
    assert value_of(f"=XMATCH({key},{{{listed}}},{mode},2)") == expected
    descending = ";".join(map(str, reversed(ascending)))
    mirrored = len(numbers) + 1 - expected if isinstance(expected, float) else NA
    assert value_of(f"=XMATCH({key},{{{descending}}},{mode},-2)") == mirrored


CRITERIA: tuple[tuple[str, Scalar], ...] = (
    ('COUNTIF(F1:F4,"<>23")', 3.0),  # the text "23" is no number 23
    ('COUNTIF(F1:F4,"23")', 2.0),
    *((f'COUNTIF(F1:F4,"{operator}")', 0.0) for operator in ("<", "<=", ">", ">=")),
    ('COUNTIF(F:F,"<")', 0.0),
    ('COUNTIF(F1:F4,"<>")', 3.0),
    ('XOR(H1:H2,"TRUE")', True),
    ("XOR(H1:H2)", VALUE),
    ('IFERROR(" 2024-01-10 "+0,"no date")', "no date"),  # but a number may stand between blanks
    ('" 10 "+0', 10.0),
    ("ERROR.TYPE(FILTER({1},{0}))", 14.0),
)


@pytest.mark.parametrize(("formula", "expected"), CRITERIA)
def test_criteria_and_texts(formula: str, expected: Scalar) -> None:
    assert value_of("=" + formula, {"F1": 23, "F2": '="23"', "F3": "x", "H1": "text"}) == expected
