import math

import pytest

from ultramc.report import Bar, Shape, Table, counted, number, printable, spreadsheet_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1018.4317, "1,018.43"),
        (-0.000123456789, "-0.000123457"),
        (6.0, "6"),
        (0.0, "0"),
        (1234567.0, "1,234,567"),
        (1234567.8, "1,234,568"),
        (1.5e-7, "1.50000e-07"),
        (2e20, "2.00000e+20"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_counts():
    assert (counted(1, "input"), counted(0, "input"), counted(12_000, "input")) == ("1 input", "0 inputs", "12,000 inputs")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_become_text(text):
    assert spreadsheet_text(text) == f"'{text}"


def test_other_text_stays():
    assert [spreadsheet_text(text) for text in ("", "a=b", "1-2", "'quoted")] == ["", "a=b", "1-2", "'quoted"]


def test_printable_text_is_one_line_of_limited_length():
    assert printable("a\nb\x1b[31m\u202e") == "a·b·[31m·"
    assert printable("x" * 100, 10) == "xxxxxxxxx…" and printable("x" * 10, 10) == "x" * 10
    assert len(printable("x" * 10**7)) == 48


def test_table_aligns_and_counts_the_rest():
    table = Table("T", "s", ("name", "value"), tuple((f"row {index}", str(index)) for index in range(23)), ("note",))
    lines = table.text().splitlines()
    assert lines[0] == "T · s" and lines[1] == "name    value" and lines[2] == "row 0       0" and lines[-2:] == ["… 3 more", "note"]
    assert table.html().count("<tr>") == 21


def test_shapes():
    assert Shape((0, 1, 8)).text() == " ▁█" and Shape(()).text() == "" and Shape((0, 0)).text() == "  "
    assert Shape((1, 2)).svg().count("<rect") == 2 and Shape(()).svg().startswith("<svg")


def test_bars():
    assert Bar(0.5).text(4) == "██  " and 'width="80.0" height="12"/>' in Bar(0.5).svg(160)
