"""Serial numbers and the calendar, in the 1900 system: 1 is 1 January 1900, and 60 is a 29 February 1900 that never was.

Workbooks that count from 1904 are `SHIFT_1904` days behind; whoever meets a serial number of theirs adds that first.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

EPOCH = date(1899, 12, 30)
SHIFT_1904 = 1462
LAST_SERIAL = 2_958_465  # 31 December 9999
LEAP_DAY_1900 = 60


def serial_number(year: int, month: int, day: int) -> int | None:
    """The serial number of a date that exists (or of 29 February 1900), from 1900 to 9999; else None."""
    if (year, month, day) == (1900, 2, 29):
        return LEAP_DAY_1900
    try:
        days = (date(year, month, day) - EPOCH).days
    except ValueError:
        return None
    if year < 1900:
        return None
    return days if days > LEAP_DAY_1900 else days - 1


def civil(serial: int) -> tuple[int, int, int]:
    """Year, month and day of a serial number; 0 is 0 January 1900, as Excel has it."""
    if serial == LEAP_DAY_1900:
        return 1900, 2, 29
    if serial == 0:
        return 1900, 1, 0
    day = EPOCH + timedelta(days=serial if serial > LEAP_DAY_1900 else serial + 1)
    return day.year, day.month, day.day


def month_length(year: int, month: int) -> int:
    """Days in a month; February 1900 has 29."""
    if month == 2:
        return 29 if is_leap(year) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def is_leap(year: int) -> bool:
    """As Excel counts: 1900 too."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0 or year == 1900)


def moment(now: datetime) -> float:
    """A point in time as a serial number with its fraction of a day."""
    day = serial_number(now.year, now.month, now.day) or 0
    return day + (now - datetime(now.year, now.month, now.day)) / timedelta(days=1)
