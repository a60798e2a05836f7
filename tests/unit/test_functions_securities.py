"""Bills and bonds: Microsoft's documented examples and values cached by Excel."""

from __future__ import annotations

import pytest
from formula_cases import value_of

from ultramc.values import ExcelError

NUM = ExcelError.NUM

# Examples on Microsoft's page of each function, to the digits shown there
DOCUMENTED = (
    ("=TBILLPRICE(DATE(2008,3,31),DATE(2008,6,1),0.09)", 98.45, 1e-9),
    ("=TBILLYIELD(DATE(2008,3,31),DATE(2008,6,1),98.45)", 0.091417, 1e-6),
    ("=TBILLEQ(DATE(2008,3,31),DATE(2008,6,1),0.0914)", 0.094151494, 1e-8),
    ("=DISC(DATE(2018,7,1),DATE(2048,1,1),97.975,100,1)", 0.000686384, 1e-8),
    ("=INTRATE(DATE(2008,2,15),DATE(2008,5,15),1000000,1014420,2)", 0.05768, 1e-8),
    ("=RECEIVED(DATE(2008,2,15),DATE(2008,5,15),1000000,0.0575,2)", 1014584.654, 1e-3),
    ("=PRICEDISC(DATE(2008,2,16),DATE(2008,3,1),0.0525,100,2)", 99.79583333, 1e-7),
    ("=YIELDDISC(DATE(2008,2,16),DATE(2008,3,1),99.795,100,2)", 0.052822572, 1e-8),
    ("=ACCRINTM(39539,39614,0.1,1000,3)", 20.54794521, 1e-7),
    ("=COUPDAYBS(DATE(2011,1,25),DATE(2011,11,15),2,1)", 71.0, 0.0),
    ("=COUPDAYS(DATE(2011,1,25),DATE(2011,11,15),2,1)", 181.0, 0.0),
    ("=COUPDAYSNC(DATE(2011,1,25),DATE(2011,11,15),2,1)", 110.0, 0.0),
    ("=COUPNUM(DATE(2007,1,25),DATE(2008,11,15),2,1)", 4.0, 0.0),
    ("=COUPNCD(DATE(2011,1,25),DATE(2011,11,15),2,1)-DATE(2011,5,15)", 0.0, 0.0),
    ("=COUPPCD(DATE(2011,1,25),DATE(2011,11,15),2,1)-DATE(2010,11,15)", 0.0, 0.0),
    ("=PRICE(DATE(2008,2,15),DATE(2017,11,15),0.0575,0.065,100,2,0)", 94.63436162, 1e-7),
    ("=YIELD(DATE(2008,2,15),DATE(2016,11,15),0.0575,95.04287,100,2,0)", 0.065, 1e-7),
    ("=DURATION(DATE(2018,7,1),DATE(2048,1,1),0.08,0.09,2,1)", 10.9191453, 1e-6),
    ("=MDURATION(DATE(2008,1,1),DATE(2016,1,1),0.08,0.09,2,1)", 5.73567, 1e-5),
)

CACHED = (
    ("=PRICE(DATE(2020,3,1),DATE(2030,3,1),0.06,0.07,130,1,0)", 108.22689722310892),
    ("=PRICE(DATE(2020,3,1),DATE(2030,3,1),0.04,0.05,155,1,2)", 126.04349401555694),  # on a coupon date, in years of 360 days
    ("=PRICE(DATE(2025,4,1),DATE(2028,3,13),0.22,0.12,15,1,2)", 62.736929069290866),
    ("=YIELD(DATE(2025,4,1),DATE(2028,3,13),0.2,42.702006194174814,15,1,1)", 0.3),
)

FAILURES = (
    "=TBILLPRICE(DATE(2008,6,1),DATE(2008,3,31),0.09)",
    "=TBILLEQ(DATE(2008,3,31),DATE(2009,6,1),0.09)",
    "=DISC(DATE(2018,7,1),DATE(2048,1,1),97.975,100,5)",
    "=COUPNUM(DATE(2007,1,25),DATE(2008,11,15),3,1)",
    "=PRICE(DATE(2008,2,15),DATE(2017,11,15),-1,0.065,100,2,0)",
)


@pytest.mark.parametrize(("formula", "expected", "tolerance"), DOCUMENTED)
def test_documented_example(formula: str, expected: float, tolerance: float) -> None:
    assert value_of(formula) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(("formula", "expected"), CACHED)
def test_value_cached_by_excel(formula: str, expected: float) -> None:
    assert value_of(formula) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("formula", FAILURES)
def test_failure(formula: str) -> None:
    assert value_of(formula) is NUM
