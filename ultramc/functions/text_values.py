"""Text that reads as a number, as Excel's arithmetic and VALUE read it (US conventions)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from ultramc.functions.serials import serial_number
from ultramc.values import ExcelError, Scalar

_BLANKS = " \t\n\r\v\f"  # no no-break space: Excel does not read a number beside one
_NUMBER = re.compile(r"[+-]?(\d+(,\d{3})+|\d+)?(\.\d*)?([eE][+-]?\d{1,3})?", re.ASCII)
_FRACTION = re.compile(r"([+-]?)(\d{1,15}) +(\d{1,5})/(\d{1,5})", re.ASCII)
_MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"]
_TIME = re.compile(r"(\d{1,4}):(\d{1,2})?(?::(\d{1,2}(?:\.\d*)?))?(?:\s+([ap])m?)?|(\d{1,2})\s+([ap])m?", re.ASCII | re.IGNORECASE)


def number_in_text(text: str, year: int | None = None) -> float | None:
    """The number that a text stands for, or None: ``" 1,234.5 "``, ``"50%"``, ``"$3"``, ``"(4)"``, ``"1E3"``, a date, a time.

    A date without a year is of the given year; without one it is unreadable.

    >>> number_in_text("1,234.50"), number_in_text("12.5%"), number_in_text("2020-01-31"), number_in_text("12:00"), number_in_text("x")
    (1234.5, 0.125, 43861.0, 0.5, None)
    """
    return _number(text.rstrip(_BLANKS), year) if len(text) <= LONGEST_NUMBER else None


LONGEST_NUMBER = 255  # characters, so that what is remembered stays small


@lru_cache(maxsize=65_536)
def _number(text: str, year: int | None) -> float | None:
    if not any("0" <= sign <= "9" for sign in text):
        return None
    number = _plain_number(text.strip(_BLANKS))
    parts = date_and_time(text, year) if number is None and text[0] not in _BLANKS else None  # no date begins with a blank
    return sum(parts) if parts else number


def _plain_number(text: str) -> float | None:
    sign = 1.0
    if text.startswith("(") and text.endswith(")"):
        text, sign = text[1:-1].strip(_BLANKS), -1.0
        if text[:1] in ("+", "-"):
            return None
    percent = text.endswith("%") or text.startswith("%")
    text = text.strip("%").strip(_BLANKS) if percent else text
    if text.startswith("-") and text[1:].lstrip().startswith("$"):
        text, sign = text[1:].lstrip(), -sign
    text = text.removeprefix("$").strip(_BLANKS)
    value = _decimal(text)
    return None if value is None or abs(value) > 1.7e308 else sign * value / (100 if percent else 1)


def _decimal(text: str) -> float | None:
    fraction = _FRACTION.fullmatch(text)
    if fraction:
        value = int(fraction[2]) + int(fraction[3]) / int(fraction[4]) if int(fraction[4]) else None
        return -value if value is not None and fraction[1] == "-" else value
    match = _NUMBER.fullmatch(text)
    if not match or not (match[1] or (match[3] or "")[1:]):
        return None
    return float(text.replace(",", ""))


def truth(value: Scalar) -> bool | ExcelError:
    """As a condition: the words TRUE and FALSE count, other text is `#VALUE!`."""
    if isinstance(value, str):
        return _WORDS.get(value.casefold(), ExcelError.VALUE)
    return value if isinstance(value, ExcelError) else bool(value)


_WORDS: dict[str, bool] = {"true": True, "false": False}


def date_and_time(text: str, year: int | None = None) -> tuple[float, float] | None:
    """A date as a serial number of the 1900 system, and a time as a part of a day; 0 for what is not written."""
    day, clock = date_serial(text, year), time_fraction(text)
    if day is not None or clock is not None:
        return day or 0.0, clock or 0.0
    for cut in (match.start() for match in re.finditer(" ", text[:40])):
        day, clock = date_serial(text[:cut], year), time_fraction(text[cut:])
        if day is not None and clock is not None:
            return day, clock
    return None


# The ways to write a date: a pattern, and year, month and day from its groups (None: the year at hand)

_Parts = tuple[str | None, str, str]
_DATES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], _Parts]], ...] = tuple(
    (re.compile(pattern, re.ASCII | re.IGNORECASE), order)
    for pattern, order in (
        (r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})", lambda match: (match[1], match[3], match[4])),
        (r"(\d{1,2})([-/])(\d{1,2})\2(\d{4}|\d{1,2})", lambda match: (match[4], match[1], match[3])),
        (r"(\d{1,2})[-/](\d{4})", lambda match: (match[2], match[1], "1")),
        (r"(\d{1,2})[-/](\d{1,2})", lambda match: (None, match[1], match[2])),
        (r"(\d{1,2})[- /]?([a-z]{3,9})(?:[- /,]+(\d{4}|\d{1,2}))?", lambda match: (match[3], match[2], match[1])),
        (r"([a-z]{3,9})[- /,]+(\d{4})", lambda match: (match[2], match[1], "1")),
        (r"([a-z]{3,9})[- /]?(\d{1,2})(?:(?:, *| +|-|/)(\d{4}|\d{1,2}))?", lambda match: (match[3], match[1], match[2])),
        (r"([a-z]{3,9})[- /](\d{2})", lambda match: (match[2], match[1], "1")),  # no day of that month: a year
    )
)


def date_serial(text: str, year: int | None = None) -> float | None:
    text = text.strip(_BLANKS)
    for pattern, order in _DATES:
        match = pattern.fullmatch(text)
        if match:
            serial = _serial(*order(match), year)
            if serial is not None:
                return float(serial)
    return None


def _serial(year_text: str | None, month_text: str, day_text: str, this_year: int | None) -> int | None:
    year = this_year if year_text is None else _year(year_text)
    month = int(month_text) if month_text.isdigit() else _month(month_text.lower())
    return None if year is None or month is None else serial_number(year, month, int(day_text))


def _month(name: str) -> int | None:
    """A month's number from its name or the first three letters of it."""
    return next((number for number, full in enumerate(_MONTHS, 1) if name in (full, full[:3])), None)


def _year(text: str) -> int:
    year = int(text)
    return year if len(text) > 2 else year + (2000 if year < 30 else 1900)


def time_fraction(text: str) -> float | None:
    """A time as a part of a day: ``18:30``, ``6:30:15.5 PM``, ``6 pm``; hours may go beyond 24."""
    match = _TIME.fullmatch(text.strip(_BLANKS))
    if not match:
        return None
    hours, half = int(match[1] or match[5]), (match[4] or match[6] or "").lower()
    minutes, seconds = int(match[2] or 0), float(match[3] or 0)
    if minutes > 59 or seconds >= 60 or (half and hours > 12):
        return None
    if half:
        hours = hours % 12 + (12 if half == "p" else 0)
    return (hours * 3600 + minutes * 60 + seconds) / 86400
