"""Number formats. Expected values: Microsoft's pages on TEXT and on number formats, or cached by Excel where a row says so."""

import pytest
from formula_cases import value_of
from hypothesis import given
from hypothesis import strategies as st

from ultramc.functions.number_format import formatted, general
from ultramc.values import ExcelError

VALUE = ExcelError.VALUE

DOCUMENTED = [
    (1234.567, "$#,##0.00", "$1,234.57"),
    (0.285, "0.0%", "28.5%"),
    (4.34, "# ?/?", "4 1/3"),
    (0.34, "# ?/?", " 1/3"),
    (5.25, "# ??/??", "5  1/4 "),
    (5.3, "# ?/8", "5 2/8"),
    (12200000, "0.00E+00", "1.22E+07"),
    (1234567898, "[<=9999999]###-####;(###) ###-####", "(123) 456-7898"),
    (1234, "0000000", "0001234"),
    (123456, "##0° 00' 00''", "12° 34' 56''"),
    (1234.59, "####.#", "1234.6"),
    (8.9, "#.000", "8.900"),
    (0.631, "0.#", "0.6"),
    (12, "#.0#", "12.0"),
    (1234.568, "#.0#", "1234.57"),
    (12000, "#,###", "12,000"),
    (12000, "#,", "12"),
    (12200000, "0.0,,", "12.2"),
    (44.398, "???.???", " 44.398"),
    (102.65, "???.???", "102.65 "),
    (2.8, "???.???", "  2.8  "),
    (12345678, "##0.0E+0", "12.3E+6"),
    (-5, "0.00_);(0.00)", "(5.00)"),
    (5, "0.00_);(0.00)", "5.00 "),
    (0, '0;-0;"zero"', "zero"),
    ("gross", '0;0;0;"receipts: "@', "receipts: gross"),
    (5, "[Red]0.0;[Blue]-0.0", "5.0"),
    (7, "[$€-407] 0.00", "€ 7.00"),
    (0.5, "#.##", ".5"),
    (5, "0.0x", "5.0x"),
    (5, "", ""),
    (-5, "0;;", ""),
    (True, "0", "TRUE"),
    ("abc", "0.00", "abc"),
    (5, "@", "5"),
    (2.675, "0.00", "2.68"),  # 15 digits, halves away from zero
    (1.005, "0.00", "1.01"),
]

CACHED = [
    (-12, "00-00-00-00", "-00-00-00-12"),
    (12345.6789, "00-00-00-00", "00-01-23-46"),
    (123456789012, "00-00-00-00", "123456-78-90-12"),
    (-1 / 3, "0", "0"),
    (-1 / 3, "#,##0_);(#,##0)", "(0)"),
    (-2.7e-18, "0.00%", "0.00%"),
    (12, "[Red]#.#", "12."),
    (1 / 3, '#,#.00 "Millions!"', ".33 Millions!"),
    (12345.6789, '#,#.00 "Millions!"', "12,345.68 Millions!"),
    (123456789012, '#,##,, "Millions"', "123,457 Millions"),
    (1.23456e19, "#,##0", "12,345,600,000,000,000,000"),
    (1.2e-16, "0.00E+0", "1.20E-16"),
    (0, "0.00E+0", "0.00E+0"),
    (1 / 3, "General", "0.333333333"),
    (123456789012, "General", "1.23457E+11"),
    (25000000000, "General", "25000000000"),
    (-1e-8, "General", "-0.00000001"),
    (-2.5e-9, "General", "-2.5E-09"),
    (41181, "m/d/y", "9/29/12"),
    (41304, "dd/mm--yy", "30/01--13"),
    (41181, "ddd--/--mmm--/++yyy", "Sat--/--Sep--/++2012"),
    (41673, "dddd/mmmm/yyyyy", "Monday/February/2014"),
    (41796, "ddddd/mmmmm/yyyyy", "Friday/J/2014"),
    (41181, "mm###", VALUE),
]

TIMES = [
    (43861.75, "d mmm yyyy h:mm AM/PM", "31 Jan 2020 6:00 PM"),
    (43861, "yyyy-mm-dd hh:mm:ss", "2020-01-31 00:00:00"),
    (0.5, "h A/P", "12 P"),
    (0.0, "h AM/PM", "12 AM"),
    (1.5, "[h]:mm:ss", "36:00:00"),
    (0.0625, "[mm]", "90"),
    (0.0625, "[ss]", "5400"),
    (0.25, "hh:mm", "06:00"),
    (0.000694444, "m:ss", "1:00"),  # minutes before seconds
    (45, "mm", "02"),  # a month on its own
    (0.123456789, "h:mm:ss.00", "2:57:46.67"),
    (0.9999999, "hh:mm:ss", "00:00:00"),
    (60, "yyyy-mm-dd", "1900-02-29"),
    (0, "d/m/yyyy", "0/1/1900"),
    (61, "d mmm yyyy", "1 Mar 1900"),
    (2958465, "yyyy-mm-dd", "9999-12-31"),
    (-1, "yyyy", VALUE),
    (2958466, "yyyy", VALUE),
]


@pytest.mark.parametrize(("value", "pattern", "expected"), DOCUMENTED + CACHED + TIMES)
def test_formatted(value, pattern, expected):
    assert formatted(value, pattern) == expected


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ('TEXT("1234.5","#,##0.00")', "1,234.50"),
        ("TEXT(A1,0)", "0"),
        ('TEXT("3/4/2020","yyyy-mm-dd")', "2020-03-04"),
        ('TEXT(1/0,"0")', ExcelError.DIV0),
        ('TEXT(TODAY(),"dddd d mmmm yyyy")', "Wednesday 4 March 2026"),
        ('TEXT(5,"0;0;0;0;0")', VALUE),
    ],
)
def test_text(formula, expected):
    assert value_of(f"={formula}") == expected


def test_dates_from_1904():
    assert value_of('=TEXT(0,"yyyy-mm-dd")', date1904=True) == "1904-01-01"


@given(st.floats(-1e15, 1e15), st.integers(0, 9))
def test_plain_decimals_are_near(number, places):
    text = formatted(number, f"0.{'0' * places}" if places else "0")
    assert abs(float(text) - number) <= 0.5 * 10.0**-places + 1e-14 * abs(number)


@given(st.floats(-1e300, 1e300), st.text('0#?.,%E+-/;[]ymdhs"\\_*@ AP()General', max_size=20))
def test_any_format_ends_in_text_or_an_error(number, pattern):
    assert isinstance(formatted(number, pattern), (str, ExcelError))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_general_is_short_and_near(number):
    text = general(number)
    assert len(text.lstrip("-")) <= 12  # 1.01421E+134
    assert float(text) == pytest.approx(number, rel=1e-5, abs=1e-323)
