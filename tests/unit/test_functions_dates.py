"""Dates and times. Expected values: the examples on Microsoft's page of each function, Excel's cached values, or Python's calendar."""

import calendar
from datetime import date, datetime, timedelta

import pytest
from formula_cases import NOW, value_of, values_of, workbook
from hypothesis import given
from hypothesis import strategies as st

from ultramc import Simulation, Uniform
from ultramc.functions.dates import WorkingDays
from ultramc.functions.serials import civil, serial_number
from ultramc.functions.text_values import date_and_time, number_in_text
from ultramc.values import ExcelError

VALUE, NUM = ExcelError.VALUE, ExcelError.NUM


def serial(year, month, day):
    return float((date(year, month, day) - date(1899, 12, 30)).days)


CALENDAR = [
    ("DATE(2008,1,1)", serial(2008, 1, 1)),
    ("DATE(108,1,2)", serial(2008, 1, 2)),
    ("DATE(2008,14,2)", serial(2009, 2, 2)),
    ("DATE(2008,-3,2)", serial(2007, 9, 2)),
    ("DATE(2008,1,35)", serial(2008, 2, 4)),
    ("DATE(2008,1,-15)", serial(2007, 12, 16)),
    ("DATE(2020.9,1.9,31.9)", serial(2020, 1, 31)),
    ("DATE(-1,1,1)", NUM),
    ("DATE(10000,1,1)", NUM),
    ("DATE(1900,1,-1)", NUM),
    ("DATE(1900,1,0)", 0.0),
    ("DATE(1900,2,29)", 60.0),
    ("DATE(1900,3,1)", 61.0),
    ("DATE(9999,12,31)", 2958465.0),
    ("YEAR(0)", 1900.0),
    ("MONTH(0)", 1.0),
    ("DAY(0)", 0.0),
    ("DAY(60)", 29.0),
    ("MONTH(60)", 2.0),
    ("YEAR(-1)", NUM),
    ("YEAR(2958466)", NUM),
    ('YEAR("7/5/2008")', 2008.0),
    ('DAY("15-Apr-11")', 15.0),
    ("HOUR(0.75)", 18.0),
    ('HOUR("7/18/2011 7:45")', 7.0),
    ("MINUTE(0.53125)", 45.0),
    ('SECOND("4:48:18 PM")', 18.0),
    ("HOUR(0.999999)", 0.0),  # the last second, rounded up
    ("TIME(12,0,0)", 0.5),
    ("TIME(16,48,10)", 0.700115740740741),
    ("TIME(27,0,0)", 0.125),
    ("TIME(0,750,0)", 0.520833333333333),
    ("TIME(0,0,-1)", NUM),
    ("TIME(32768,0,0)", NUM),
    ("EDATE(DATE(2011,1,15),1)", serial(2011, 2, 15)),
    ("EDATE(DATE(2011,1,15),-1)", serial(2010, 12, 15)),
    ("EDATE(DATE(2020,1,31),1)", serial(2020, 2, 29)),
    ("EDATE(DATE(2020,1,31),1.9)", serial(2020, 2, 29)),
    ("EDATE(1,-1)", NUM),
    ("EOMONTH(DATE(2011,1,1),1)", serial(2011, 2, 28)),
    ("EOMONTH(DATE(2011,1,1),-3)", serial(2010, 10, 31)),
    ("EOMONTH(DATE(2023,3,2),-4.7)", serial(2022, 11, 30)),  # cached
    ("EOMONTH(DATE(2023,3,2),TRUE)", VALUE),  # cached
    ("EOMONTH(1,1)", 60.0),
    ("DAYS(DATE(2021,3,15),DATE(2021,2,1))", 42.0),
    ("DAYS(46000.999999,45992.000001)", 8.0),  # cached
    ("DAYS(-5,1)", NUM),
]

WEEKS = [
    ("WEEKDAY(DATE(2008,2,14))", 5.0),
    ("WEEKDAY(DATE(2008,2,14),2)", 4.0),
    ("WEEKDAY(DATE(2008,2,14),3)", 3.0),
    ("WEEKDAY(1)", 1.0),
    ("WEEKDAY(1,4)", NUM),
    ("WEEKDAY(1,18)", NUM),
    ("WEEKNUM(DATE(2012,3,9))", 10.0),
    ("WEEKNUM(DATE(2012,3,9),2)", 11.0),
    ("WEEKNUM(DATE(2012,3,9),21)", 10.0),
    ("WEEKNUM(1,3)", NUM),
    ("ISOWEEKNUM(DATE(2012,3,9))", 10.0),
    ("NETWORKDAYS(DATE(2012,10,1),DATE(2013,3,1))", 110.0),
    ("NETWORKDAYS(DATE(2012,10,1),DATE(2013,3,1),DATE(2012,11,22))", 109.0),
    ('NETWORKDAYS(DATE(2012,10,1),DATE(2013,3,1),{"2012/11/22","2012/12/4","2013/1/21"})', 107.0),
    ("NETWORKDAYS.INTL(DATE(2006,1,1),DATE(2006,1,31))", 22.0),
    ("NETWORKDAYS.INTL(DATE(2006,2,28),DATE(2006,1,31))", -21.0),
    ('NETWORKDAYS.INTL(DATE(2006,1,1),DATE(2006,2,1),7,{"2006/1/2","2006/1/16"})', 22.0),
    ('NETWORKDAYS.INTL(DATE(2006,1,1),DATE(2006,2,1),"0010001",{"2006/1/2","2006/1/16"})', 20.0),
    ('NETWORKDAYS.INTL(1,9,"1111111")', 0.0),
    ('NETWORKDAYS.INTL(1,9,"abc")', VALUE),
    ("WORKDAY(DATE(2008,10,1),151)", serial(2009, 4, 30)),
    ('WORKDAY(DATE(2008,10,1),151,{"2008/11/26","2008/12/4","2009/1/21"})', serial(2009, 5, 5)),
    ("WORKDAY(DATE(2020,1,6),-1)", serial(2020, 1, 3)),
    ("WORKDAY(DATE(2020,1,4),0)", serial(2020, 1, 4)),
    ("WORKDAY(5,-100)", NUM),
    ("WORKDAY(5,10,1/0)", ExcelError.DIV0),
    ("WORKDAY.INTL(DATE(2012,1,1),30,0)", NUM),
    ("WORKDAY.INTL(DATE(2012,1,1),90,11)", 41013.0),
    ("WORKDAY.INTL(DATE(2012,1,1),30,17)", 40944.0),
    ('WORKDAY.INTL(1,9,"1111111")', VALUE),
]

DISTANCES = [
    ("DAYS360(DATE(2011,1,30),DATE(2011,2,1))", 1.0),
    ("DAYS360(DATE(2011,1,1),DATE(2011,12,31))", 360.0),
    ("DAYS360(DATE(2011,1,1),DATE(2011,12,31),TRUE)", 359.0),
    # the five below: cached by Excel
    ("DAYS360(DATE(2024,2,29),DATE(2025,2,28))", 358.0),
    ("DAYS360(DATE(2024,1,31),DATE(2024,2,28))", 28.0),
    ("DAYS360(DATE(2024,2,28),DATE(2024,3,1))", 3.0),
    ('DAYS360(DATE(2025,1,1),DATE(2025,1,31),"TRUE")', 29.0),
    ("DAYS360(45992.000001,46000.999999)", 9.0),
    ("YEARFRAC(DATE(2012,1,1),DATE(2012,7,30))", 0.580555555555556),
    ("YEARFRAC(DATE(2012,1,1),DATE(2012,7,30),1)", 0.576502732240437),
    ("YEARFRAC(DATE(2012,1,1),DATE(2012,7,30),3)", 0.578082191780822),
    ("YEARFRAC(DATE(2012,7,30),DATE(2012,1,1),3)", 0.578082191780822),
    ("YEARFRAC(1,2,5)", NUM),
    ('DATEDIF("1/1/2001","1/1/2003","Y")', 2.0),
    ('DATEDIF("6/1/2001","8/15/2002","D")', 440.0),
    ('DATEDIF("6/1/2001","8/15/2002","YD")', 75.0),
    ('DATEDIF("1/31/2020","2/29/2020","m")', 0.0),
    ('DATEDIF("6/1/2001","8/15/2002","MD")', 14.0),
    ('DATEDIF("6/1/2001","8/15/2002","YM")', 2.0),
    ('DATEDIF(2,1,"D")', NUM),
    ('DATEDIF(1,2,"W")', NUM),
]

CLOCK = [
    ('DATEVALUE("8/22/2011")', 40777.0),
    ('DATEVALUE("22-MAY-2011")', 40685.0),
    ('DATEVALUE("2011/02/23")', 40597.0),
    ('DATEVALUE("5-JUL")', serial(NOW.year, 7, 5)),
    ('DATEVALUE("abc")', VALUE),
    ('TIMEVALUE("2:24 AM")', 0.1),
    ('TIMEVALUE("22-Aug-2011 6:35 AM")', 0.274305555555556),
    ("NOW()", serial(2026, 3, 4) + 0.75),
    ("TODAY()", serial(2026, 3, 4)),
]


@pytest.mark.parametrize(("formula", "expected"), CALENDAR + WEEKS + DISTANCES + CLOCK)
def test_value(formula, expected):
    value = value_of(f"={formula}")
    assert value == (pytest.approx(expected, rel=1e-14, abs=1e-14) if isinstance(expected, float) else expected)


def test_every_day_has_pythons_date():
    """A block of formulas over days of all sorts: ends of months, leap years, centuries."""
    days = [
        day for year in (1901, 1999, 2000, 2024, 2100, 9999) for month in range(1, 13) for day in (date(year, month, 1), _end(year, month))
    ]
    names = ("YEAR", "MONTH", "DAY", "WEEKDAY", "ISOWEEKNUM")
    cells = {f"A{row}": serial(day.year, day.month, day.day) for row, day in enumerate(days, 1)}
    formulas = {
        f"{column}{row}": f"={name}(A{row})" for column, name in zip("BCDEF", names, strict=True) for row in range(1, len(days) + 1)
    }
    formulas |= {f"G{row}": f"=DATE(B{row},C{row},D{row})" for row in range(1, len(days) + 1)}
    values = values_of(formulas, cells)
    for row, day in enumerate(days, 1):
        assert [values[f"{column}{row}"] for column in "BCD"] == [day.year, day.month, day.day]
        assert values[f"E{row}"] == day.isoweekday() % 7 + 1
        assert values[f"F{row}"] == day.isocalendar().week
        assert values[f"G{row}"] == cells[f"A{row}"]


def _end(year, month):
    return date(year, month, calendar.monthrange(year, month)[1])


def test_months_on_equal_pythons():
    start = date(2023, 11, 30)
    formulas = {f"B{row}": f"=EDATE({serial(2023, 11, 30)},A{row})" for row in range(1, 40)}
    formulas |= {f"C{row}": f"=EOMONTH({serial(2023, 11, 30)},A{row})" for row in range(1, 40)}
    values = values_of(formulas, {f"A{row}": row - 20 for row in range(1, 40)})
    for row in range(1, 40):
        year, month = divmod(start.year * 12 + start.month - 1 + row - 20, 12)
        end = _end(year, month + 1)
        assert values[f"C{row}"] == serial(end.year, end.month, end.day)
        assert values[f"B{row}"] == serial(year, month + 1, min(30, end.day))


@given(st.integers(1, 2958465))
def test_civil_and_back(day):
    assert serial_number(*civil(day)) == day
    assert day < 61 or date(*civil(day)) == date(1899, 12, 30) + timedelta(days=day)


@given(
    st.lists(st.booleans(), min_size=7, max_size=7), st.lists(st.integers(50, 90), max_size=5), st.integers(40, 100), st.integers(-40, 40)
)
def test_working_days_equal_a_count_by_hand(off, holidays, start, count):
    days = WorkingDays.of(tuple(off), holidays)

    def works(day):
        return not off[day % 7] and day not in holidays

    assert days.between(50, start) == (sum(map(works, range(50, start + 1))) if start >= 50 else -sum(map(works, range(start, 51))))
    if not all(off) and count:
        step, day, left = (1 if count > 0 else -1), start, abs(count)
        while left and day > 0:
            day += step
            left -= works(day)
        if not left:
            assert days.after(start, count) == day


def test_workbooks_that_count_from_1904():
    """1 January 2000 is 36526 in the one and 35064 in the other (Microsoft, "Differences between the 1900 and the 1904 date system")."""
    expected = {
        "DATE(2000,1,1)": 35064.0,
        "YEAR(35064)": 2000.0,
        "WEEKDAY(35064)": 7.0,
        "EOMONTH(35064,0)": 35094.0,
        "WORKDAY(35064,1)": 35066.0,
        "DATE(1903,1,1)": NUM,
        'DATEVALUE("1/1/2000")': 35064.0,
        "TODAY()": serial(2026, 3, 4) - 1462,
    }
    formulas = {f"Z{row}": f"={formula}" for row, formula in enumerate(expected, 1)}
    assert list(values_of(formulas, date1904=True).values()) == list(expected.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234.50", 1234.5),
        (" -$3 ", -3.0),
        ("($5)", -5.0),
        ("12.5%", 0.125),
        ("1E3", 1000.0),
        ("1 1/2", 1.5),
        (".5", 0.5),
        ("2020-01-31 12:00", 43861.5),
        ("31 January 2020", 43861.0),
        ("Jan 31, 2020", 43861.0),
        ("1/2020", 43831.0),
        ("18:30", 18.5 / 24),
        ("6:30 PM", 18.5 / 24),
        ("1/31", None),  # no year at hand
        ("\u00a05", None),
        ("13/13/2020", None),
        ("٣", None),
        ("--5", None),
        ("1,23", None),
        ("", None),
        ("e5", None),
        ("inf", None),
    ],
)
def test_number_in_text(text, expected):
    assert number_in_text(text) == expected


@given(
    st.datetimes(datetime(1900, 3, 1), datetime(9999, 12, 31)),
    st.sampled_from(["%Y-%m-%d", "%m/%d/%Y", "%d-%b-%Y", "%B %d, %Y", "%d %B %Y"]),
)
def test_dates_written_in_many_ways(moment, form):
    text = moment.strftime(form).replace(f"{moment.year}", f"{moment.year:04d}")
    assert date_and_time(f"{text} {moment:%H:%M:%S}") == pytest.approx(
        (serial(*moment.timetuple()[:3]), (moment - moment.replace(hour=0, minute=0, second=0, microsecond=0)).seconds / 86400)
    )


def test_dates_that_are_simulated():
    formulas = {
        "B1": "=YEAR(A1)",
        "C1": "=MONTH(A1)",
        "D1": "=DAY(A1)",
        "E1": "=EOMONTH(A1,2)-EDATE(A1,2)",
        "F1": "=WEEKDAY(A1,2)",
        "G1": "=HOUR(A1)",
    }
    book = workbook({"A1": 45000.5, **formulas})
    simulation = Simulation(book, inputs={"A1": Uniform(1000, 90_000)}, outputs=list(formulas))
    result = simulation.run(500, seed=1, check="off")
    columns = [result.inputs["A1"].samples, *(result[address].samples for address in formulas)]
    for moment, *parts in zip(*columns, strict=True):
        day = date(1899, 12, 30) + timedelta(days=int(moment))
        year, month = divmod(day.year * 12 + day.month + 1, 12)
        end = _end(year, month + 1).day
        hour = round((moment - int(moment)) * 86_400) // 3600 % 24
        assert parts == [day.year, day.month, day.day, end - min(day.day, end), day.isoweekday(), hour]
