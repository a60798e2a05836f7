"""CONVERT and complex numbers. Expected values: the examples on Microsoft's pages, Excel's cached values, Python's cmath."""

import cmath

import pytest
from formula_cases import value_of
from hypothesis import given
from hypothesis import strategies as st

from ultramc.functions.complex_numbers import parsed, written
from ultramc.functions.units import UNITS, unit
from ultramc.values import ExcelError

VALUE, NUM, NA, DIV0 = ExcelError.VALUE, ExcelError.NUM, ExcelError.NA, ExcelError.DIV0

CASES = [
    ('CONVERT(1,"lbm","kg")', 0.45359237),
    ('CONVERT(68,"F","C")', 20.0),
    ('CONVERT(2.5,"ft","sec")', NA),
    ('CONVERT(CONVERT(100,"ft","m"),"ft","m")', 9.290304),
    ('CONVERT(0.05,"Mg","g")', 50000.0),  # cached, as are the seven below
    ('CONVERT(0.05,"Mlbm","g")', NA),
    ('CONVERT(1,"sg","g")', 14593.902937206363),
    ('CONVERT(0.05,"Mm2","m2")', 5e10),
    ('CONVERT(1,"survey_mi","m")', 1609.3472186944373),
    ('CONVERT(1,"Reau","K")', 274.4),
    ('CONVERT(1,"HP","W")', 745.6998715822702),
    ('CONVERT(1,"BTU","J")', 1055.05585262),
    ('CONVERT(1,"kibyte","bit")', 8192.0),
    ('CONVERT(TRUE,"m","cm")', VALUE),
    ("COMPLEX(3,4)", "3+4i"),
    ('COMPLEX(3,4,"j")', "3+4j"),
    ("COMPLEX(0,1)", "i"),
    ("COMPLEX(1,0)", "1"),
    ("COMPLEX(1,-1)", "1-i"),
    ('COMPLEX(1,2,"k")', VALUE),
    ('IMREAL("6-9i")', 6.0),
    ('IMAGINARY("3+4i")', 4.0),
    ('IMAGINARY("0-j")', -1.0),
    ('IMABS("5+12i")', 13.0),
    ('IMARGUMENT("3+4i")', 0.92729521800161),
    ("IMARGUMENT(0)", DIV0),
    ('IMPRODUCT("7",A1)', "0"),  # cached
    ('IMCONJUGATE("3+4i")', "3-4i"),
    ('IMSUM("3+4i","5-3i")', "8+i"),
    ('IMSUB("13+4i","5+3i")', "8+i"),
    ('IMPRODUCT("3+4i","5-3i")', "27+11i"),
    ('IMDIV("-238+240i","10+24i")', "5+12i"),
    ('IMSUM("1+i","1+j")', VALUE),
    ('IMREAL("abc")', NUM),
    ('IMLN("0")', NUM),
    ("BITAND(13,25)", 9.0),
    ("BITOR(23,10)", 31.0),
    ("BITXOR(5,3)", 6.0),
    ("BITLSHIFT(4,2)", 16.0),
    ("BITRSHIFT(13,2)", 3.0),
    ("BITAND(-1,2)", NUM),
    ("BITAND(1.5,2)", NUM),
    ("BESSELJ(1.9,2)", 0.329925829),
    ("BESSELI(1.5,1)", 0.981666428),
    ("BESSELK(1.5,1)", 0.277387804),
    ("BESSELY(2.5,1)", 0.145918138),
    ("BESSELY(0,1)", NUM),
]


@pytest.mark.parametrize(("formula", "expected"), CASES)
def test_value(formula, expected):
    tolerance = 1e-6 if "BESSEL" in formula else 1e-13  # Excel itself approximates these only so well
    value = value_of(f"={formula}")
    assert value == (pytest.approx(expected, rel=tolerance) if isinstance(expected, float) else expected)


def test_prefixes_never_hide_a_unit():
    for name, known in UNITS.items():
        assert unit(name) is known
    assert unit("") is None
    assert unit("xyz") is None


@given(st.complex_numbers(max_magnitude=1e9, allow_nan=False, allow_infinity=False), st.sampled_from("ij"))
def test_written_and_read(number, sign):
    back = parsed(written(number, sign))
    assert cmath.isclose(back.value, number, rel_tol=1e-13, abs_tol=1e-300)
