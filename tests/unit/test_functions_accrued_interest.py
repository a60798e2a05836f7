"""ACCRINT: Microsoft's documented examples, and values that Excel has cached."""

from __future__ import annotations

import pytest
from formula_cases import value_of

from ultramc.values import ExcelError

NUM, VALUE = ExcelError.NUM, ExcelError.VALUE

# Microsoft's page of the function, to the digits shown there
DOCUMENTED: tuple[tuple[str, float], ...] = (
    ("39508,39691,39569,0.1,1000,2,0", 16.666667),
    ("DATE(2008,3,5),39691,39569,0.1,1000,2,0,FALSE", 15.555556),
    ("DATE(2008,4,5),39691,39569,0.1,1000,2,0,TRUE", 7.2222222),
)

# issue, first coupon, settlement, then rate, par, frequency, basis and method: cached by Excel
CACHED: tuple[tuple[tuple[str, str, str], str, float], ...] = (
    (("2021,6,1", "2021,12,1", "2021,9,1"), "0.05,1000,2,1,TRUE", 12.568306010928962),
    (("2021,6,1", "2021,12,1", "2021,12,1"), "0.025,5000,2,3,FALSE", 62.67123287671234),
    (("2020,12,1", "2021,12,1", "2021,9,1"), "0.05,1000,2,2,TRUE", 37.77777777777778),
    (("2020,12,1", "2021,12,1", "2021,3,1"), "0.075,100,2,0,FALSE", -1.875),
    (("2020,12,26", "2021,12,1", "2021,3,1"), "0.025,5000,2,1,TRUE", 22.494070137512765),
    (("2020,12,26", "2021,12,1", "2021,3,1"), "0.025,5000,2,0,FALSE", 22.569444444444446),
    (("2021,6,1", "2021,12,1", "2022,9,1"), "0.075,100,2,2,TRUE", 9.416666666666666),
    (("2021,6,1", "2021,12,1", "2022,9,1"), "0.075,100,2,2,FALSE", 9.520833333333332),
    (("2022,8,31", "2024,2,29", "2023,5,1"), "0.075,100,2,1,TRUE", 4.986263736263737),
    (("2022,8,31", "2024,2,29", "2023,5,1"), "0.075,100,2,0,TRUE", 5.020833333333334),
    (("2020,1,15", "2020,12,1", "2020,4,1"), "0.05,1000,4,0,FALSE", -14.444444444444446),
    (("2020,1,1", "2020,7,1", "2021,1,1"), "0.025,5000,2,1,TRUE", 125.68681318681318),
    (("2024,1,1", "2025,1,1", "2024,7,1"), "0.1,1000,1,2,FALSE", 50.55555555555556),
)


@pytest.mark.parametrize(("arguments", "expected"), DOCUMENTED)
def test_documented(arguments: str, expected: float) -> None:
    assert value_of(f"=ACCRINT({arguments})") == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("dates", "terms", "expected"), CACHED)
def test_cached(dates: tuple[str, str, str], terms: str, expected: float) -> None:
    arguments = ",".join(f"DATE({date})" for date in dates)
    assert value_of(f"=ACCRINT({arguments},{terms})") == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("39569,39691,39569,0.1,1000,2", NUM),
        ("39508,39691,39569,0,1000,2", NUM),
        ("39508,39691,39569,0.1,-1,2", NUM),
        ("39508,39691,39569,0.1,1000,3", NUM),
        ("39508,39691,39569,0.1,1000,2,5", NUM),
        ('39508,39691,39569,0.1,1000,2,0,"x"', VALUE),
        ("39508,39691,39569,TRUE,1000,2", VALUE),
    ],
)
def test_errors(arguments: str, expected: ExcelError) -> None:
    assert value_of(f"=ACCRINT({arguments})") is expected


def test_the_ends_of_the_calendar_are_reached() -> None:
    assert value_of("=ACCRINT(1,2958465,2958465,0.1,1000,4)") == pytest.approx(100 * 8100, rel=0.001)
    assert value_of("=ACCRINT(1,2,2958465,0.1,1000,4)") == pytest.approx(100 * 8100, rel=0.001)
