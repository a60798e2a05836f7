"""Annuities, interest rates and depreciation: closed forms, and the solver behind RATE.

Money received is positive, money paid out negative. `due` is not zero where payments fall at the beginning of a period.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ultramc.functions import scalar
from ultramc.functions.algebra import Term, formula, where
from ultramc.functions.roots import nearest_root
from ultramc.values import ExcelError, Scalar

NUM, DIV0 = ExcelError.NUM, ExcelError.DIV0
LONGEST_LIFE = 100_000  # periods of VDB

# Annuities: pv·growth + payment·annuity + fv = 0, where growth = (1 + rate)^periods


def _annuity(rate: Term, periods: Term, due: Term) -> Term:
    """What a payment of 1 in each period grows to."""
    at_end = ((1 + rate) ** periods - 1) / rate
    return where(rate.equals(0), periods, where(due.equals(0), at_end, at_end * (1 + rate)))


def _payment(rate: Term, periods: Term, pv: Term, fv: Term, due: Term) -> Term:
    return -(pv * (1 + rate) ** periods + fv) / _annuity(rate, periods, due)


def _future_value(rate: Term, periods: Term, payment: Term, pv: Term, due: Term) -> Term:
    return -(pv * (1 + rate) ** periods + payment * _annuity(rate, periods, due))


@formula("PMT", "number number number number? number?", 0, 0)
def _pmt(rate: Term, periods: Term, pv: Term, fv: Term, due: Term) -> Term:
    (periods.equals(0) | (rate <= -1)).fails(NUM)
    return _payment(rate, periods, pv, fv, due)


@formula("FV", "number number number number? number?", 0, 0)
def _fv(rate: Term, periods: Term, payment: Term, pv: Term, due: Term) -> Term:
    (rate.equals(-1) & (periods < 0)).fails(DIV0)
    return _future_value(rate, periods, payment, pv, due)


@formula("PV", "number number number number? number?", 0, 0)
def _pv(rate: Term, periods: Term, payment: Term, fv: Term, due: Term) -> Term:
    return -(fv + payment * _annuity(rate, periods, due)) / (1 + rate) ** periods


@formula("NPER", "number number number number? number?", 0, 0)
def _nper(rate: Term, payment: Term, pv: Term, fv: Term, due: Term) -> Term:
    each = where(due.equals(0), payment, payment * (1 + rate))
    periods = ((each - fv * rate) / (each + pv * rate)).log() / (1 + rate).log()
    return where(rate.equals(0), -(pv + fv) / payment, periods)


# The parts of a payment


def _interest(rate: Term, period: Term, payment: Term, pv: Term, due: Term) -> Term:
    at_end = _future_value(rate, period - 1, payment, pv, due) * rate
    at_beginning = where(period.equals(1), 0, at_end / (1 + rate))
    return where(due.equals(0), at_end, at_beginning)


def _beyond(period: Term, periods: Term) -> Term:
    return (period < 1) | (period >= periods + 1)


@formula("IPMT", "number number number number number? number?", 0, 0)
def _ipmt(rate: Term, period: Term, periods: Term, pv: Term, fv: Term, due: Term) -> Term:
    _beyond(period, periods).fails(NUM)
    return _interest(rate, period, _payment(rate, periods, pv, fv, due), pv, due)


@formula("PPMT", "number number number number number? number?", 0, 0)
def _ppmt(rate: Term, period: Term, periods: Term, pv: Term, fv: Term, due: Term) -> Term:
    _beyond(period, periods).fails(NUM)
    payment = _payment(rate, periods, pv, fv, due)
    return payment - _interest(rate, period, payment, pv, due)


def _check_span(rate: Term, periods: Term, pv: Term, first: Term, last: Term, due: Term) -> None:
    ((rate <= 0) | (periods <= 0) | (pv <= 0) | (first < 1) | (first > last) | (last > periods)).fails(NUM)
    (~(due.equals(0) | due.equals(1))).fails(NUM)


def _repaid(rate: Term, periods: Term, pv: Term, first: Term, last: Term, due: Term) -> Term:
    """What payments `first` to `last` pay off: the parts grow by 1 + rate a period, but for one at the very beginning."""
    growth, owed = 1 + rate, pv / ((1 + rate) ** periods - 1)
    lag = where(due.equals(0), 0, 1)
    regular = owed * (growth ** (last - lag) - growth ** (first.most(lag + 1) - lag - 1))
    at_once = owed * rate * growth ** (periods - 1)
    return regular + where(first.equals(1) & lag.equals(1), at_once, 0)


@formula("CUMPRINC", "number! number! number! number! integer! number!")
def _cumprinc(rate: Term, periods: Term, pv: Term, start: Term, last: Term, due: Term) -> Term:
    first = start.op("ceil")
    _check_span(rate, periods, pv, first, last, due)
    return -_repaid(rate, periods, pv, first, last, due)


@formula("CUMIPMT", "number! number! number! number! integer! number!")
def _cumipmt(rate: Term, periods: Term, pv: Term, start: Term, last: Term, due: Term) -> Term:
    first = start.op("ceil")
    _check_span(rate, periods, pv, first, last, due)
    paid = _payment(rate, periods, pv, 0 * pv, due) * (last - first + 1)
    return paid + _repaid(rate, periods, pv, first, last, due)


@formula("ISPMT", "number number number number")
def _ispmt(rate: Term, period: Term, periods: Term, pv: Term) -> Term:
    periods.equals(0).fails(DIV0)
    return pv * rate * (period / periods - 1)


# Rates


@formula("EFFECT", "number! integer!")
def _effect(nominal: Term, periods: Term) -> Term:
    ((nominal <= 0) | (periods < 1)).fails(NUM)
    return (1 + nominal / periods) ** periods - 1


@formula("NOMINAL", "number! integer!")
def _nominal(effective: Term, periods: Term) -> Term:
    ((effective <= 0) | (periods < 1)).fails(NUM)
    return periods * ((1 + effective) ** (1 / periods) - 1)


@formula("RRI", "number number number")
def _rri(periods: Term, pv: Term, fv: Term) -> Term:
    ((periods <= 0) | pv.equals(0)).fails(NUM)
    return (fv / pv) ** (1 / periods) - 1


@formula("PDURATION", "number number number")
def _pduration(rate: Term, pv: Term, fv: Term) -> Term:
    ((rate <= 0) | (pv <= 0) | (fv <= 0)).fails(NUM)
    return (fv.log() - pv.log()) / (1 + rate).log()


@scalar("RATE", "number number number number? number? number?")
def _rate(periods: float, payment: float, pv: float, fv: float = 0.0, due: float = 0.0, guess: float = 0.1) -> Scalar:
    if periods <= 0 or guess <= -1:
        return NUM
    due = float(due != 0)

    def balance(rate: float) -> float:
        if abs(rate) < 1e-12:
            return pv + payment * periods + fv
        growth = math.pow(1 + rate, periods)
        return pv * growth + payment * (1 + rate * due) * (growth - 1) / rate + fv

    def slope(rate: float) -> float:
        if abs(rate) < 1e-6:
            return pv * periods + payment * periods * ((periods - 1) / 2 + due)
        growth, steeper = math.pow(1 + rate, periods), periods * math.pow(1 + rate, periods - 1)
        annuity = (growth - 1) / rate
        return pv * steeper + payment * ((1 + rate * due) * (steeper - annuity) / rate + due * annuity)

    root = nearest_root(balance, slope, guess)
    return NUM if root is None else root


# Prices in fractions


def _fraction_scale(denominator: Term) -> Term:
    (denominator < 0).fails(NUM)
    (denominator < 1).fails(DIV0)
    return 10 ** denominator.op("log10").op("ceil")


@formula("DOLLARDE", "number! integer!")
def _dollarde(price: Term, denominator: Term) -> Term:
    whole = price.trunc()
    return whole + (price - whole) * _fraction_scale(denominator) / denominator


@formula("DOLLARFR", "number! integer!")
def _dollarfr(price: Term, denominator: Term) -> Term:
    whole = price.trunc()
    return whole + (price - whole) * denominator / _fraction_scale(denominator)


# Depreciation


@formula("SLN", "number number number")
def _sln(cost: Term, salvage: Term, life: Term) -> Term:
    life.equals(0).fails(DIV0)
    return (cost - salvage) / life


@formula("SYD", "number number number number")
def _syd(cost: Term, salvage: Term, life: Term, period: Term) -> Term:
    ((salvage < 0) | (life <= 0) | (period <= 0) | (period > life)).fails(NUM)
    return (cost - salvage) * (life - period + 1) * 2 / (life * (life + 1))


@formula("DDB", "number number number number number?", 2)
def _ddb(cost: Term, salvage: Term, life: Term, period: Term, factor: Term) -> Term:
    ((cost < 0) | (salvage < 0) | (life <= 0) | (period <= 0) | (factor <= 0) | (period > life)).fails(NUM)
    kept = 1 - (factor / life).least(1)
    before, after = cost * kept ** (period - 1), cost * kept**period
    return (before - after.most(salvage)).most(0)


@formula("DB", "number number number integer integer?", 12)
def _db(cost: Term, salvage: Term, life: Term, period: Term, months: Term) -> Term:
    ((cost < 0) | (salvage < 0) | (life <= 0) | (period <= 0) | (months < 1) | (months > 12)).fails(NUM)
    (period > where(months.equals(12), life, life + 1)).fails(NUM)
    rate = where(cost.equals(0), 0, ((1 - (salvage / cost) ** (1 / life)) * 1000).op("round_half") / 1000)
    first = cost * rate * months / 12
    later = (cost - first) * (1 - rate) ** (period - 2) * rate
    final = later * (12 - months) / 12
    return where(period.equals(1), first, where(period > life, final, later))


@scalar("VDB", "number number number number number number? number?")
def _vdb(cost: float, salvage: float, life: float, start: float, end: float, factor: float = 2.0, stays: float = 0.0) -> Scalar:
    if min(cost, salvage, start, factor) < 0 or life <= 0 or not start <= end <= life or life > LONGEST_LIFE:
        return NUM

    def declined(time: float) -> float:
        """All that is taken off until a time, by the declining balance; in a straight line within a period."""
        periods, part = int(time), time - int(time)
        kept = 1 - min(factor / life, 1.0)
        book, next_book = (max(cost * kept**period, min(salvage, cost)) for period in (periods, periods + 1))
        return cost - (book + part * (next_book - book))

    switch = math.inf if stays else _switch(declined, cost - salvage, life, start - int(start))

    def total(time: float) -> float:
        if time <= switch:
            return declined(time)
        left = max(cost - salvage - declined(switch), 0.0)
        return declined(switch) + left * (time - switch) / (life - switch)

    return total(end) - total(start)


def _switch(declined: Callable[[float], float], whole: float, life: float, offset: float) -> float:
    """When a straight line to the end takes off more than the declining balance: looked at every period from `offset` on."""
    times = [0.0, *(offset + period for period in range(math.ceil(life - offset)))] if offset else map(float, range(math.ceil(life)))
    for time in times:
        step = offset if time == 0 and offset else 1.0
        if (whole - declined(time)) / (life - time) * step > declined(time + step) - declined(time):
            return time
    return math.inf
