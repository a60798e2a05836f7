"""Number bases, Roman numerals and tests of a number.

Expected values: the examples on Microsoft's pages, Excel's cached values, Python's `int`.
"""

import pytest
from formula_cases import value_of
from hypothesis import given
from hypothesis import strategies as st

from ultramc.functions import load
from ultramc.values import ExcelError

VALUE, NUM = ExcelError.VALUE, ExcelError.NUM
BODIES = {name: row.body for name, row in load().items()}

CASES = [
    ("BIN2DEC(1100100)", 100.0),
    ("BIN2DEC(1111111111)", -1.0),
    ('BIN2DEC("2")', NUM),
    ("BIN2DEC(11111111111)", NUM),
    ("BIN2DEC(TRUE)", VALUE),
    ("BIN2HEX(11111011,4)", "00FB"),
    ("BIN2HEX(1110)", "E"),
    ("BIN2HEX(1111111111)", "FFFFFFFFFF"),
    ("BIN2HEX(1100011011,0)", NUM),  # cached
    ("BIN2HEX(1100011011,TRUE)", VALUE),  # cached
    ("BIN2OCT(1001,3)", "011"),
    ("DEC2BIN(9,4)", "1001"),
    ("DEC2BIN(-100)", "1110011100"),
    ("DEC2BIN(512)", NUM),
    ("DEC2BIN(9,3)", NUM),
    ("DEC2BIN(TRUE)", VALUE),  # cached
    ("DEC2HEX(100,4)", "0064"),
    ("DEC2HEX(-54)", "FFFFFFFFCA"),
    ("DEC2OCT(58,3)", "072"),
    ("DEC2OCT(-100)", "7777777634"),
    ('HEX2BIN("F",8)', "00001111"),
    ('HEX2BIN("FFFFFFFFFF")', "1111111111"),
    ('HEX2DEC("FFFFFFFF5B")', -165.0),
    ('HEX2DEC("3DA408B9")', 1034160313.0),
    ('HEX2OCT("3B4E")', "35516"),
    ("OCT2BIN(3,3)", "011"),
    ("OCT2DEC(54)", 44.0),
    ("OCT2DEC(7777777533)", -165.0),
    ("OCT2HEX(100,4)", "0040"),
    ("BASE(7,2)", "111"),
    ("BASE(100,16)", "64"),
    ("BASE(15,2,10)", "0000001111"),
    ("BASE(-1,2)", NUM),
    ("BASE(1,37)", NUM),
    ('DECIMAL("FF",16)', 255.0),
    ("DECIMAL(111,2)", 7.0),
    ('DECIMAL("zap",36)', 45745.0),
    ('DECIMAL("2",2)', NUM),
    ("ROMAN(499,0)", "CDXCIX"),
    ("ROMAN(499,1)", "LDVLIV"),
    ("ROMAN(499,2)", "XDIX"),
    ("ROMAN(499,3)", "VDIV"),
    ("ROMAN(499,4)", "ID"),
    ("ROMAN(499,FALSE)", "ID"),
    ("ROMAN(499,TRUE)", "CDXCIX"),
    ("ROMAN(4000)", VALUE),
    ("ROMAN(0)", ""),
    ('ARABIC("LVII")', 57.0),
    ('ARABIC("mcmxii")', 1912.0),
    ('ARABIC("-MMXI")', -2011.0),
    ('ARABIC("")', 0.0),
    ('ARABIC("A")', VALUE),
    ("DELTA(5,4)", 0.0),
    ("DELTA(5,5)", 1.0),
    ("DELTA(0)", 1.0),
    ("DELTA(TRUE,1)", VALUE),  # cached
    ("GESTEP(5,4)", 1.0),
    ("GESTEP(-4,-5)", 1.0),
    ("GESTEP(-1)", 0.0),
]


@pytest.mark.parametrize(("formula", "expected"), CASES)
def test_value(formula, expected):
    value = value_of(f"={formula}")
    assert value == expected
    assert type(value) is type(expected)


@given(st.integers(-(2**39), 2**39 - 1))
def test_hexadecimal_is_the_complement(number):
    text = BODIES["DEC2HEX"](float(number))
    assert int(text, 16) == number % 2**40
    assert BODIES["HEX2DEC"](text) == number


@given(st.integers(0, 2**53 - 1), st.integers(2, 36))
def test_base_and_back(number, base):
    text = BODIES["BASE"](float(number), float(base))
    assert int(text, base) == number
    assert BODIES["DECIMAL"](text, float(base)) == number


@given(st.integers(1, 3999), st.integers(0, 4))
def test_roman_and_back(number, form):
    assert BODIES["ARABIC"](BODIES["ROMAN"](float(number), float(form))) == number
