"""ACCRINT: the interest that a security with coupons has accrued since its issue.

Between coupon dates days are counted as the basis says; a whole period between them counts as one, whatever its days.
"""

from __future__ import annotations

import math

from ultramc.functions.dates import _dated as dated
from ultramc.functions.dates import _fraction as fraction
from ultramc.functions.securities import _has_coupons as has_coupons
from ultramc.functions.securities import _months_earlier as months_earlier
from ultramc.functions.securities import _period_days as period_days
from ultramc.functions.text_values import truth
from ultramc.values import ExcelError, Scalar


def _days(first: int, last: int, basis: float) -> float:
    """Days between as the basis counts them; negative where they run backwards."""
    return float(last - first) if basis in (1, 2, 3) else round(360 * fraction(int(basis), first, last))


class _Schedule:
    """The coupon dates around the first coupon, numbered backwards in time: 0 is the first coupon, 1 the date before it."""

    def __init__(self, first_coupon: int, frequency: float, basis: float) -> None:
        self.first_coupon, self.frequency, self.basis = first_coupon, frequency, basis

    def date(self, number: int) -> int:
        return months_earlier(self.first_coupon, number * 12 // int(self.frequency))

    def period(self, number: int) -> float:
        """The days of the period that begins on that date."""
        return period_days(self.date(number), self.date(number - 1), self.frequency, self.basis)

    def begun_before(self, settlement: int) -> int:
        """The last date before settlement, but not before that which precedes the first coupon."""
        number = 1
        while 0 < self.date(number - 1) < settlement:
            number -= 1
        return number

    def stub(self, issue: int, number: int) -> tuple[float, int]:
        """The part of a period from issue to the next date, and that date's number; searched back from `number`."""
        while self.date(number) > issue:
            number += 1
        if self.date(number) == issue:
            return 0.0, number
        return _days(issue, self.date(number - 1), self.basis) / self.period(number), number - 1


def periods_accrued(issue: int, first_coupon: int, settlement: int, frequency: float, basis: float, since_issue: bool) -> float:
    """How many coupon periods have accrued. Without `since_issue` whole periods that ended before the first coupon's are left out."""
    schedule = _Schedule(first_coupon, frequency, basis)
    last = schedule.begun_before(settlement) if since_issue else 1
    if issue >= schedule.date(last):
        return _days(issue, settlement, basis) / schedule.period(1)
    stub, number = schedule.stub(issue, last)
    whole = number - last if since_issue else 0
    return stub + whole + _days(schedule.date(last), settlement, basis) / schedule.period(1)


@dated("ACCRINT", "date! date! date! number! number! integer! integer!? any?", style="scalar")
def _accrint(
    issue: float,
    first_coupon: float,
    settlement: float,
    rate: float,
    par: float,
    frequency: float,
    basis: float = 0.0,
    since_issue: Scalar = True,
) -> Scalar:
    method = truth(since_issue)
    if isinstance(method, ExcelError):
        return method
    if not has_coupons(issue, settlement, frequency, basis) or first_coupon < 0 or rate <= 0 or par <= 0:
        return ExcelError.NUM
    periods = periods_accrued(math.floor(issue), math.floor(first_coupon), math.floor(settlement), frequency, basis, method)
    return par * rate / frequency * periods
