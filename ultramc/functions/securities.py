"""Treasury bills, discounted securities and bonds with coupons, at scalar speed.

Dates are serial numbers; `basis` says how days are counted (0: 30/360 NASD, 1: actual, 2: actual/360, 3: actual/365,
4: 30/360 European); `frequency` is the number of coupons a year, 1, 2 or 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ultramc.functions.dates import _dated as dated
from ultramc.functions.dates import _fraction as fraction
from ultramc.functions.roots import nearest_root
from ultramc.functions.serials import LAST_SERIAL, civil, month_length, serial_number
from ultramc.values import ExcelError, Scalar

NUM = ExcelError.NUM


def _in_order(first: float, second: float, basis: float = 0.0) -> bool:
    return 0 <= first < second < LAST_SERIAL + 1 and 0 <= basis <= 4


def _years(first: float, second: float, basis: float) -> float:
    return fraction(int(basis), math.floor(first), math.floor(second))


# Treasury bills: a year or less, in years of 360 days


def _bill_days(settlement: float, maturity: float) -> float | None:
    """Days to maturity; None where they are none, or more than a year."""
    days = math.floor(maturity) - math.floor(settlement)
    if settlement < 0 or maturity >= LAST_SERIAL or days <= 0:
        return None
    year, month, day = civil(math.floor(settlement))
    latest = serial_number(year + 1, month, min(day, month_length(year + 1, month)))
    return None if latest is None or maturity > latest else float(days)


@dated("TBILLPRICE", "date! date! number!", style="scalar")
def _tbillprice(settlement: float, maturity: float, discount: float) -> Scalar:
    days = _bill_days(settlement, maturity)
    if days is None or discount <= 0:
        return NUM
    price = 100 * (1 - discount * days / 360)
    return price if price >= 0 else NUM


@dated("TBILLYIELD", "date! date! number!", style="scalar")
def _tbillyield(settlement: float, maturity: float, price: float) -> Scalar:
    days = _bill_days(settlement, maturity)
    return NUM if days is None or price <= 0 else (100 - price) / price * 360 / days


@dated("TBILLEQ", "date! date! number!", style="scalar")
def _tbilleq(settlement: float, maturity: float, discount: float) -> Scalar:
    days = _bill_days(settlement, maturity)
    if days is None or discount <= 0 or 360 - discount * days <= 0:
        return NUM
    if days <= 182:
        return 365 * discount / (360 - discount * days)
    year = 366.0 if days == 366 else 365.0
    share, price = days / year, 1 - discount * days / 360
    return (math.sqrt(share**2 - (2 * share - 1) * (1 - 1 / price)) - share) * 2 / (2 * share - 1)


# Securities that pay once


@dated("DISC", "date! date! number! number! integer!?", style="scalar")
def _disc(settlement: float, maturity: float, price: float, redemption: float, basis: float = 0.0) -> Scalar:
    if not _in_order(settlement, maturity, basis) or price <= 0 or redemption <= 0:
        return NUM
    return (1 - price / redemption) / _years(settlement, maturity, basis)


@dated("INTRATE YIELDDISC", "date! date! number! number! integer!?", style="scalar")
def _intrate(settlement: float, maturity: float, investment: float, redemption: float, basis: float = 0.0) -> Scalar:
    if not _in_order(settlement, maturity, basis) or investment <= 0 or redemption <= 0:
        return NUM
    return (redemption / investment - 1) / _years(settlement, maturity, basis)


@dated("RECEIVED", "date! date! number! number! integer!?", style="scalar")
def _received(settlement: float, maturity: float, investment: float, discount: float, basis: float = 0.0) -> Scalar:
    if not _in_order(settlement, maturity, basis) or investment <= 0 or discount <= 0:
        return NUM
    kept = 1 - discount * _years(settlement, maturity, basis)
    return investment / kept if kept > 0 else NUM


@dated("PRICEDISC", "date! date! number! number! integer!?", style="scalar")
def _pricedisc(settlement: float, maturity: float, discount: float, redemption: float, basis: float = 0.0) -> Scalar:
    if not _in_order(settlement, maturity, basis) or discount <= 0 or redemption <= 0:
        return NUM
    return redemption * (1 - discount * _years(settlement, maturity, basis))


@dated("ACCRINTM", "date! date! number! number!? integer!?", style="scalar")
def _accrintm(issue: float, settlement: float, rate: float, par: float = 1000.0, basis: float = 0.0) -> Scalar:
    if not _in_order(issue, settlement, basis) or rate <= 0 or par <= 0:
        return NUM
    return par * rate * _years(issue, settlement, basis)


# Coupons


def _months_earlier(date: int, months: int) -> int:
    """The day that many months before; the last of the month where the date is the last of its month."""
    year, month, day = civil(date)
    total = year * 12 + month - 1 - months
    length = month_length(total // 12, total % 12 + 1)
    kept = length if day == month_length(year, month) else min(day, length)
    return serial_number(total // 12, total % 12 + 1, kept) or 0


def _coupons(settlement: float, maturity: float, frequency: float) -> tuple[int, int, int]:
    """The coupon date at or before settlement, the next, and how many are left."""
    start, end, months = math.floor(settlement), math.floor(maturity), 12 // int(frequency)
    left = 0
    following = previous = end
    while previous > start:
        left, following = left + 1, previous
        previous = _months_earlier(end, left * months)
    return previous, following, left


def _period_days(previous: int, following: int, frequency: float, basis: float) -> float:
    if basis == 1:
        return float(following - previous)
    return 365 / frequency if basis == 3 else 360 / frequency


def _days(first: int, second: int, basis: float) -> float:
    """Days between as the basis counts them."""
    return float(second - first) if basis in (1, 2, 3) else round(360 * fraction(int(basis), first, second)) if first < second else 0.0


def _has_coupons(settlement: float, maturity: float, frequency: float, basis: float) -> bool:
    return _in_order(settlement, maturity, basis) and frequency in (1, 2, 4)


def _after_settlement(settlement: int, previous: int, following: int, frequency: float, basis: float) -> float:
    """Days from settlement to the next coupon."""
    if basis in (0, 4):
        return _period_days(previous, following, frequency, basis) - _days(previous, settlement, basis)
    return float(following - settlement)


_COUPONS: tuple[tuple[str, Callable[[int, int, int, int, float, float], float]], ...] = (
    ("COUPPCD", lambda at, previous, following, left, frequency, basis: float(previous)),
    ("COUPNCD", lambda at, previous, following, left, frequency, basis: float(following)),
    ("COUPNUM", lambda at, previous, following, left, frequency, basis: float(left)),
    ("COUPDAYS", lambda at, previous, following, left, frequency, basis: _period_days(previous, following, frequency, basis)),
    ("COUPDAYBS", lambda at, previous, following, left, frequency, basis: _days(previous, at, basis)),
    ("COUPDAYSNC", lambda at, previous, following, left, frequency, basis: _after_settlement(at, previous, following, frequency, basis)),
)


def _coupon_function(name: str, of: Callable[[int, int, int, int, float, float], float]) -> None:
    @dated(name, "date! date! integer! integer!?", style="scalar", gives_date=name in ("COUPPCD", "COUPNCD"))
    def body(settlement: float, maturity: float, frequency: float, basis: float = 0.0) -> Scalar:
        if not _has_coupons(settlement, maturity, frequency, basis):
            return NUM
        return of(math.floor(settlement), *_coupons(settlement, maturity, frequency), frequency, basis)


for _row in _COUPONS:
    _coupon_function(*_row)


def clean_price(
    settlement: float, maturity: float, rate: float, yield_rate: float, redemption: float, frequency: float, basis: float
) -> float:
    """The price of 100 of a bond, without the interest accrued."""
    previous, following, left = _coupons(settlement, maturity, frequency)
    passed = _days(previous, math.floor(settlement), basis) / _period_days(previous, following, frequency, basis)
    coupon, growth, ahead = 100 * rate / frequency, 1 + yield_rate / frequency, 1 - passed
    accrued = coupon * passed
    if left == 1:
        return (redemption + coupon) / (1 + ahead * yield_rate / frequency) - accrued
    coupons = math.fsum(coupon / math.pow(growth, place + ahead) for place in range(left))
    return redemption / math.pow(growth, left - 1 + ahead) + coupons - accrued


@dated("PRICE", "date! date! number! number! number! integer! integer!?", style="scalar")
def _price(
    settlement: float, maturity: float, rate: float, yield_rate: float, redemption: float, frequency: float, basis: float = 0.0
) -> Scalar:
    if not _has_coupons(settlement, maturity, frequency, basis) or rate < 0 or yield_rate < 0 or redemption <= 0:
        return NUM
    return clean_price(settlement, maturity, rate, yield_rate, redemption, frequency, basis)


@dated("YIELD", "date! date! number! number! number! integer! integer!?", style="scalar")
def _yield(
    settlement: float, maturity: float, rate: float, price: float, redemption: float, frequency: float, basis: float = 0.0
) -> Scalar:
    if not _has_coupons(settlement, maturity, frequency, basis) or rate < 0 or price <= 0 or redemption <= 0:
        return NUM

    def excess(yield_rate: float) -> float:
        return clean_price(settlement, maturity, rate, yield_rate, redemption, frequency, basis) - price

    def slope(yield_rate: float) -> float:
        step = 1e-6
        return (excess(yield_rate + step) - excess(yield_rate - step)) / (2 * step)

    root = nearest_root(excess, slope, rate or 0.1)
    return NUM if root is None else root


def _durations(settlement: float, maturity: float, coupon: float, yield_rate: float, frequency: float, basis: float) -> float:
    """Macaulay's duration in years."""
    previous, following, left = _coupons(settlement, maturity, frequency)
    passed = _days(previous, math.floor(settlement), basis) / _period_days(previous, following, frequency, basis)
    growth = 1 + yield_rate / frequency
    times = [place + 1 - passed for place in range(left)]
    worths = [100 * coupon / frequency / math.pow(growth, time) for time in times]
    worths[-1] += 100 / math.pow(growth, times[-1])
    return math.fsum(worth * time for worth, time in zip(worths, times, strict=True)) / math.fsum(worths) / frequency


@dated("DURATION", "date! date! number! number! integer! integer!?", style="scalar")
def _duration(settlement: float, maturity: float, coupon: float, yield_rate: float, frequency: float, basis: float = 0.0) -> Scalar:
    if not _has_coupons(settlement, maturity, frequency, basis) or coupon < 0 or yield_rate < 0:
        return NUM
    return _durations(settlement, maturity, coupon, yield_rate, frequency, basis)


@dated("MDURATION", "date! date! number! number! integer! integer!?", style="scalar")
def _mduration(settlement: float, maturity: float, coupon: float, yield_rate: float, frequency: float, basis: float = 0.0) -> Scalar:
    if not _has_coupons(settlement, maturity, frequency, basis) or coupon < 0 or yield_rate < 0:
        return NUM
    return _durations(settlement, maturity, coupon, yield_rate, frequency, basis) / (1 + yield_rate / frequency)
