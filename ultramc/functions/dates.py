"""Dates and times: calendar, parts, distances, and working days.

A date is a serial number (see `serials`). Years, months and days are taken from simulated dates by arithmetic on whole
numbers, the proleptic Gregorian calendar counted from 1 March of the year 0, as in Howard Hinnant's "chrono-Compatible
Low-Level Date Algorithms".
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import frozen

from ultramc.functions import elementwise, function
from ultramc.functions.kit import ONE, ZERO, Kit, Unroll, Value
from ultramc.functions.serials import LAST_SERIAL, LEAP_DAY_1900, SHIFT_1904, civil, is_leap, moment, month_length, serial_number
from ultramc.functions.text_values import date_and_time, truth
from ultramc.lowering import Call
from ultramc.program import Operand
from ultramc.values import ExcelError, Scalar

Body = Callable[..., Any]


def _dated(names: str, signature: str, *, style: str = "elementwise", gives_date: bool = False) -> Callable[[Body], Body]:
    """A function whose ``date`` parameters, and result if it is a date, are shifted in workbooks that count from 1904."""
    words = signature.split()
    dates = [place for place, word in enumerate(words) if word.startswith("date")]

    def decorate(body: Body) -> Body:
        @function(names, signature.replace("date", "number"))
        def applied(call: Call, *arguments: Value) -> Value:
            kit, shift = call.kit, SHIFT_1904 if call.lowering.graph.book.date1904 else 0
            shifted = [_moved(kit, value, shift) if place in dates else value for place, value in enumerate(arguments)]
            aligned = kit.aligned(shifted)
            result = kit.elementwise(body, aligned) if style == "elementwise" else kit.scalar_function(body, aligned, call.function)
            if not (shift and gives_date):
                return result
            early = kit.emit("less", result.payload, float(shift))
            return kit.fail_where(_moved(kit, result, -shift), early, ExcelError.NUM)

        return body

    return decorate


def _moved(kit: Kit, value: Value, shift: int) -> Value:
    return Value(kit.emit("add", value.payload, float(shift)), value.tag, value.kinds) if shift else value


# The calendar, on whole numbers


def _floor_div(kit: Kit, x: Operand, y: float) -> Operand:
    return kit.emit("floor", kit.emit("div", x, y))


def _weighted(kit: Kit, *terms: tuple[float, Operand]) -> Operand:
    """A sum of multiples."""
    total: Operand = ZERO
    for factor, term in terms:
        total = kit.emit("add", total, kit.emit("mul", term, factor))
    return total


FIRST_MARCH = 693_899.0  # days from 1 March of the year 0 to 30 December 1899


def _valid_day(kit: Kit, date: Operand) -> Operand:
    """The whole days of a serial number; #NUM! before 0 and after 9999."""
    kit.fail(kit.emit("less", date, ZERO), ExcelError.NUM)
    kit.fail(kit.emit("less_equal", float(LAST_SERIAL + 1), date), ExcelError.NUM)
    return kit.emit("floor", date)


def _civil(kit: Kit, day: Operand) -> tuple[Operand, Operand, Operand]:
    """Year, month and day of whole serial numbers, Excel's own days 0 and 60 aside."""
    early = kit.emit("less", day, float(LEAP_DAY_1900))
    since = kit.emit("add", kit.emit("select", early, kit.emit("add", day, ONE), day), FIRST_MARCH)
    century_day = kit.emit("sub", since, kit.emit("mul", _floor_div(kit, since, 146_097.0), 146_097.0))
    leaps = [
        (-1.0, _floor_div(kit, century_day, 1_460.0)),
        (1.0, _floor_div(kit, century_day, 36_524.0)),
        (-1.0, _floor_div(kit, century_day, 146_096.0)),
    ]
    year = _floor_div(kit, _weighted(kit, (1.0, century_day), *leaps), 365.0)
    lengths = [(-365.0, year), (-1.0, _floor_div(kit, year, 4.0)), (1.0, _floor_div(kit, year, 100.0))]
    year_day = _weighted(kit, (1.0, century_day), *lengths)
    place = _floor_div(kit, _weighted(kit, (5.0, year_day), (2.0, ONE)), 153.0)  # of the month, from March
    start = _floor_div(kit, _weighted(kit, (153.0, place), (2.0, ONE)), 5.0)
    month = kit.emit("add", place, kit.emit("select", kit.emit("less", place, 10.0), 3.0, -9.0))
    late = kit.emit("select", kit.emit("less_equal", month, 2.0), ONE, ZERO)
    full_year = _weighted(kit, (1.0, year), (400.0, _floor_div(kit, since, 146_097.0)), (1.0, late))
    return full_year, month, _weighted(kit, (1.0, year_day), (-1.0, start), (1.0, ONE))


def _month_start(kit: Kit, year: Operand, month: Operand) -> Operand:
    """The serial number of the first of a month; months outside 1 to 12 count on from the year."""
    months = kit.emit("sub", _weighted(kit, (12.0, year), (1.0, month)), 3.0)
    full_year = _floor_div(kit, months, 12.0)  # from March
    place = kit.emit("sub", months, kit.emit("mul", full_year, 12.0))
    leaps = [(1.0, _floor_div(kit, full_year, 4.0)), (-1.0, _floor_div(kit, full_year, 100.0)), (1.0, _floor_div(kit, full_year, 400.0))]
    before = _floor_div(kit, _weighted(kit, (153.0, place), (2.0, ONE)), 5.0)
    day = kit.emit("sub", _weighted(kit, (365.0, full_year), *leaps, (1.0, before)), FIRST_MARCH)
    return kit.emit("select", kit.emit("less_equal", day, float(LEAP_DAY_1900)), kit.emit("sub", day, ONE), day)


def _in_range(kit: Kit, day: Operand) -> Operand:
    kit.fail(kit.emit("less", day, ZERO), ExcelError.NUM)
    kit.fail(kit.emit("less", float(LAST_SERIAL), day), ExcelError.NUM)
    return day


@_dated("DATE", "integer integer integer", gives_date=True)
def _date(kit: Kit, year: Operand, month: Operand, day: Operand) -> Operand:
    kit.fail(kit.emit("or", kit.emit("less", year, ZERO), kit.emit("less_equal", 10_000.0, year)), ExcelError.NUM)
    short = kit.emit("less", year, 1900.0)
    start = _month_start(kit, kit.emit("select", short, kit.emit("add", year, 1900.0), year), month)
    return _in_range(kit, kit.emit("sub", kit.emit("add", start, day), ONE))


# Parts of a date


def _unusual(kit: Kit, day: Operand, at_zero: float, at_leap_day: float, value: Operand) -> Operand:
    """Excel's day 0 (0 January 1900) and day 60 (29 February 1900)."""
    value = kit.emit("select", kit.emit("equal", day, ZERO), at_zero, value)
    return kit.emit("select", kit.emit("equal", day, float(LEAP_DAY_1900)), at_leap_day, value)


def _calendar(kit: Kit, day: Operand) -> tuple[Operand, Operand, Operand]:
    year, month, number = _civil(kit, day)
    return _unusual(kit, day, 1900.0, 1900.0, year), _unusual(kit, day, 1.0, 2.0, month), _unusual(kit, day, 0.0, 29.0, number)


def _calendar_part(name: str, index: int) -> None:
    @_dated(name, "date")
    def body(kit: Kit, date: Operand) -> Operand:
        return _calendar(kit, _valid_day(kit, date))[index]


for _index, _name in enumerate(("YEAR", "MONTH", "DAY")):
    _calendar_part(_name, _index)


def _clock_part(name: str, unit: float, cycle: float) -> None:
    @_dated(name, "date")
    def body(kit: Kit, date: Operand) -> Operand:
        day = _valid_day(kit, date)
        seconds = kit.emit("round_half", kit.emit("mul", kit.emit("sub", date, day), 86_400.0))
        return kit.emit("modulo", _floor_div(kit, seconds, unit), cycle)


for _name, _unit, _cycle in (("HOUR", 3600.0, 24.0), ("MINUTE", 60.0, 60.0), ("SECOND", 1.0, 60.0)):
    _clock_part(_name, _unit, _cycle)


@elementwise("TIME", "integer integer integer")
def _time(kit: Kit, hours: Operand, minutes: Operand, seconds: Operand) -> Operand:
    for part in (hours, minutes, seconds):
        kit.fail(kit.emit("less", 32_767.0, part), ExcelError.NUM)
    total = _weighted(kit, (3600.0, hours), (60.0, minutes), (1.0, seconds))
    kit.fail(kit.emit("less", total, ZERO), ExcelError.NUM)
    return kit.emit("div", kit.emit("modulo", total, 86_400.0), 86_400.0)


@_dated("WEEKDAY", "date integer?")
def _weekday(kit: Kit, date: Operand, kind: Operand = ONE) -> Operand:
    """Kinds 1 and 17 begin with Sunday, 2 and 11 with Monday, 12 with Tuesday …; 3 counts from Monday = 0."""
    early, late = (
        kit.emit("and", kit.emit("less_equal", low, kind), kit.emit("less_equal", kind, high)) for low, high in ((1.0, 3.0), (11.0, 17.0))
    )
    kit.fail(kit.emit("not", kit.emit("or", early, late)), ExcelError.NUM)
    first = kit.emit("select", late, kit.emit("sub", kind, 9.0), kit.emit("min", kind, 2.0))
    place = kit.emit("modulo", kit.emit("sub", _valid_day(kit, date), first), 7.0)
    return kit.emit("add", place, kit.emit("select", kit.emit("equal", kind, 3.0), ZERO, ONE))


# Months on


@_dated("EDATE", "date! integer!", gives_date=True)
def _edate(kit: Kit, date: Operand, months: Operand) -> Operand:
    year, month, day = _calendar(kit, _valid_day(kit, date))
    later = kit.emit("add", month, months)
    start, after = _month_start(kit, year, later), _month_start(kit, year, kit.emit("add", later, ONE))
    return _in_range(kit, kit.emit("min", kit.emit("sub", kit.emit("add", start, day), ONE), kit.emit("sub", after, ONE)))


@_dated("EOMONTH", "date! integer!", gives_date=True)
def _eomonth(kit: Kit, date: Operand, months: Operand) -> Operand:
    year, month, _ = _calendar(kit, _valid_day(kit, date))
    after = _month_start(kit, year, kit.emit("add", month, kit.emit("add", months, ONE)))
    return _in_range(kit, kit.emit("sub", after, ONE))


@_dated("DAYS", "date date")
def _days(kit: Kit, end: Operand, start: Operand) -> Operand:
    return kit.emit("sub", _valid_day(kit, end), _valid_day(kit, start))


# Distances, at scalar speed


def _is_date(*dates: float) -> bool:
    return all(0 <= date < LAST_SERIAL + 1 for date in dates)


Civil = tuple[int, int, int]


def _is_month_end(date: Civil) -> bool:
    return date[2] == month_length(*date[:2])


def _thirty(start: Civil, end: Civil, first: int, last: int) -> int:
    """Days between in years of twelve months of thirty, the days of the month being first and last."""
    return (end[0] - start[0]) * 360 + (end[1] - start[1]) * 30 + last - first


def _european(start: Civil, end: Civil) -> int:
    return _thirty(start, end, min(start[2], 30), min(end[2], 30))


def _american(start: Civil, end: Civil) -> int:
    """DAYS360: an end on the 31st is the first of the next month unless the start is a month's end."""
    first = 30 if _is_month_end(start) else start[2]
    return _thirty(start, end, first, 30 if end[2] == 31 and first == 30 else end[2])


@_dated("DAYS360", "date date any?", style="scalar")
def _days360(start: float, end: float, european: Scalar = False) -> Scalar:
    method = truth(european)
    if isinstance(method, ExcelError) or not _is_date(start, end):
        return method if isinstance(method, ExcelError) else ExcelError.NUM
    days = _european if method else _american
    return float(days(civil(_nearest_day(start)), civil(_nearest_day(end))))


def _nearest_day(date: float) -> int:
    """The day, after rounding to seconds: Excel takes the last half second of a day for the next one here."""
    return min(math.floor(date + 0.5 / 86_400), LAST_SERIAL)


def _securities(start: Civil, end: Civil) -> int:
    """YEARFRAC's basis 0, the NASD rule: like DAYS360, but with both ends of February."""
    first, last = start[2], end[2]
    if start[1] == 2 and _is_month_end(start):
        first = 30
        last = 30 if end[1] == 2 and _is_month_end(end) else last
    last = 30 if last == 31 and first >= 30 else last
    return _thirty(start, end, min(first, 30), last)


def _year_length(start: Civil, end: Civil) -> float:
    """Days of a year between two dates (basis 1): of the one year they lie in, or the average of all they touch."""
    years = end[0] - start[0]
    if years > 1 or (years == 1 and start[1:] < end[1:]):
        return (_january(end[0] + 1) - _january(start[0])) / (years + 1)
    return 366.0 if _spans_leap_day(start, end) else 365.0


def _january(year: int) -> int:
    return serial_number(year, 1, 1) or LAST_SERIAL + 1


def _spans_leap_day(start: Civil, end: Civil) -> bool:
    if start[0] == end[0]:
        return is_leap(start[0])
    return (is_leap(start[0]) and start <= (start[0], 2, 29)) or (is_leap(end[0]) and end >= (end[0], 2, 29))


def _fraction(kind: int, first: int, last: int) -> float:
    start, end = civil(first), civil(last)
    if kind == 0:
        return _securities(start, end) / 360
    if kind == 4:
        return _european(start, end) / 360
    return (last - first) / {1: _year_length(start, end), 2: 360.0, 3: 365.0}[kind]


@_dated("YEARFRAC", "date! date! integer!?", style="scalar")
def _yearfrac(start: float, end: float, basis: float = 0.0) -> Scalar:
    if not (_is_date(start, end) and 0 <= basis <= 4):
        return ExcelError.NUM
    first, last = sorted((math.floor(start), math.floor(end)))
    return _fraction(int(basis), first, last) if first < last else 0.0


def _months_between(start: Civil, end: Civil) -> int:
    return (end[0] - start[0]) * 12 + end[1] - start[1] - (end[2] < start[2])


def _days_beyond_months(start: Civil, end: Civil, last: int) -> int:
    """Days since the start's day of the month last came (Excel's known trouble where the month before has no such day)."""
    if end[2] >= start[2]:
        return end[2] - start[2]
    year, month = (end[0], end[1] - 1) if end[1] > 1 else (end[0] - 1, 12)
    return last - ((serial_number(year, month, 1) or 1) + start[2] - 1)


def _days_beyond_years(start: Civil, end: Civil, first: int, last: int) -> int:
    year = end[0] - (end[1:] < start[1:])
    return last - ((serial_number(year, start[1], 1) or 1) + start[2] - 1)


_INTERVALS: dict[str, Callable[[Civil, Civil, int, int], int]] = {
    "Y": lambda start, end, first, last: _months_between(start, end) // 12,
    "M": lambda start, end, first, last: _months_between(start, end),
    "D": lambda start, end, first, last: last - first,
    "YM": lambda start, end, first, last: _months_between(start, end) % 12,
    "MD": lambda start, end, first, last: _days_beyond_months(start, end, last),
    "YD": _days_beyond_years,
}


@_dated("DATEDIF", "date date text", style="scalar")
def _datedif(start: float, end: float, unit: str) -> Scalar:
    between = _INTERVALS.get(unit.upper())
    first, last = math.floor(start), math.floor(end)
    if between is None or not _is_date(start, end) or first > last:
        return ExcelError.NUM
    return float(between(civil(first), civil(last), first, last))


# Weeks

_WEEK_STARTS = {1: 1, 2: 2, 11: 2, 12: 3, 13: 4, 14: 5, 15: 6, 16: 0, 17: 1}  # a serial number, modulo 7, that begins a week


def _iso_week(day: int) -> int:
    thursday = day - (day - 2) % 7 + 3
    return (thursday - _january(civil(max(thursday, 0))[0])) // 7 + 1


@_dated("ISOWEEKNUM", "date", style="scalar")
def _isoweeknum(date: float) -> Scalar:
    return float(_iso_week(math.floor(date))) if _is_date(date) else ExcelError.NUM


@_dated("WEEKNUM", "date! integer!?", style="scalar")
def _weeknum(date: float, kind: float = 1.0) -> Scalar:
    if not _is_date(date) or (kind != 21 and kind not in _WEEK_STARTS):
        return ExcelError.NUM
    day = math.floor(date)
    if kind == 21:
        return float(_iso_week(day))
    january = _january(civil(day)[0])
    return float((day - january + (january - _WEEK_STARTS[int(kind)]) % 7) // 7 + 1)


# Working days


@frozen
class WorkingDays:
    """`off` holds, for each serial number modulo 7, whether it is a weekend; `holidays` are sorted and on no weekend."""

    off: tuple[bool, ...]
    holidays: tuple[int, ...]

    @classmethod
    def of(cls, off: tuple[bool, ...], holidays: Sequence[int]) -> WorkingDays:
        return cls(off, tuple(sorted({day for day in holidays if not off[day % 7]})))

    def until(self, day: int) -> int:
        """How many working days there are from 0 up to a day."""
        weeks, rest = divmod(day + 1, 7)
        worked = weeks * (7 - sum(self.off)) + rest - sum(self.off[:rest])
        return worked - bisect_right(self.holidays, day)

    def between(self, start: int, end: int) -> int:
        """Both ends counted; negative where the end comes first."""
        return self.until(end) - self.until(start - 1) if start <= end else self.until(end - 1) - self.until(start)

    def after(self, start: int, count: int) -> Scalar:
        """The day that lies so many working days later, or earlier."""
        if count == 0:
            return float(start)
        target = self.until(start) + count if count > 0 else self.until(start - 1) + count + 1
        day = bisect_left(range(LAST_SERIAL + 1), target, key=self.until) if target > 0 else -1
        return float(day) if 0 <= day <= LAST_SERIAL else ExcelError.NUM


def _weekend(first: int, length: int) -> tuple[bool, ...]:
    return tuple((day - first) % 7 < length for day in range(7))


# Saturday is 0 modulo 7
_WEEKENDS = {number: _weekend(number - 1, 2) for number in range(1, 8)} | {number: _weekend(number - 10, 1) for number in range(11, 18)}


def _weekend_of(value: Scalar) -> tuple[bool, ...] | ExcelError:
    """A number, or seven signs from Monday on: 1 for a day off."""
    if isinstance(value, ExcelError):
        return value
    if isinstance(value, str):
        fits = len(value) == 7 and not value.strip("01")
        return tuple(value[(day - 2) % 7] == "1" for day in range(7)) if fits else ExcelError.VALUE
    return _WEEKENDS.get(1 if value is None else int(value), ExcelError.NUM)


def _networkdays(start: float, end: float, weekend: Scalar, *, holidays: Sequence[int]) -> Scalar:
    off = _weekend_of(weekend)
    if isinstance(off, ExcelError) or not _is_date(start, end):
        return off if isinstance(off, ExcelError) else ExcelError.NUM
    return float(WorkingDays.of(off, holidays).between(math.floor(start), math.floor(end)))


def _workday(start: float, days: float, weekend: Scalar, *, holidays: Sequence[int]) -> Scalar:
    off = _weekend_of(weekend)
    if isinstance(off, ExcelError) or not _is_date(start):
        return off if isinstance(off, ExcelError) else ExcelError.NUM
    if all(off):
        return ExcelError.VALUE
    return WorkingDays.of(off, holidays).after(math.floor(start), int(days))


def _holidays(call: Call, array: Value | None, shift: int) -> tuple[list[int], Value]:
    """The days off of an array that is the same for all cells of the block, blanks aside; and their first error."""
    if array is None:
        return [], call.kit.number(0)
    if not array.known:
        raise call.refuse("with simulated holidays is not supported")
    if array.shape[:2] != (1, 1):
        raise Unroll
    cells = call.kit.scalars(array)
    numbers = call.kit.scalars(call.kit.to_number(array))
    wrong = [number for number in numbers if isinstance(number, ExcelError)]
    days = [
        math.floor(number) + shift for cell, number in zip(cells, numbers, strict=True) if cell is not None and isinstance(number, float)
    ]
    return days, call.kit.scalar(wrong[0]) if wrong else call.kit.number(0)


def _with_holidays(name: str, body: Body, *, gives_date: bool) -> None:
    """The function whose weekends are Saturday and Sunday, and its .INTL form, which is told the weekends."""

    def applied(call: Call, start: Value, second: Value, weekend: Value | None, holidays: Value | None) -> Value:
        kit, shift = call.kit, SHIFT_1904 if call.lowering.graph.book.date1904 else 0
        days, wrong = _holidays(call, holidays, shift)
        arguments = [_moved(kit, start, shift), second if gives_date else _moved(kit, second, shift), weekend or kit.number(1)]
        result = kit.scalar_function(partial(body, holidays=days), kit.aligned(arguments), call.function)
        failed = kit.with_tag(result.payload, kit.error_tag((wrong, result)))
        return _moved(kit, failed, -shift) if gives_date else failed

    @function(name, "number! number! array?")
    def plain(call: Call, start: Value, second: Value, holidays: Value | None = None) -> Value:
        return applied(call, start, second, None, holidays)

    @function(f"{name}.INTL", "number! number! any? array?")
    def international(call: Call, start: Value, second: Value, weekend: Value | None = None, holidays: Value | None = None) -> Value:
        return applied(call, start, second, weekend, holidays)


_with_holidays("NETWORKDAYS", _networkdays, gives_date=False)
_with_holidays("WORKDAY", _workday, gives_date=True)


# Text and the clock


def _read(name: str, index: int) -> None:
    @function(name, "text")
    def body(call: Call, text: Value) -> Value:
        result = call.kit.scalar_function(partial(_part_of, index, call.lowering.now.year), (text,), name)
        return _moved(call.kit, result, -SHIFT_1904) if name == "DATEVALUE" and call.lowering.graph.book.date1904 else result


def _part_of(index: int, year: int, text: str) -> Scalar:
    """The day, or the time as a part of one. `year`: of dates that name none."""
    parts = date_and_time(text, year)
    return ExcelError.VALUE if parts is None else parts[index] % 1 if index else parts[index]


_read("DATEVALUE", 0)
_read("TIMEVALUE", 1)


def _clock(name: str, part: Callable[[float], float]) -> None:
    @function(name, "")
    def body(call: Call) -> Value:
        call.lowering.volatile = True
        return _moved(call.kit, call.kit.number(part(moment(call.lowering.now))), -SHIFT_1904 if call.lowering.graph.book.date1904 else 0)


_clock("NOW", lambda serial: serial)
_clock("TODAY", lambda serial: float(math.floor(serial)))
