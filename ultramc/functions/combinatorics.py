"""Counting arrangements, common divisors, and power series."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from ultramc.functions import function, scalar
from ultramc.functions.aggregate import Cells
from ultramc.functions.kit import Value
from ultramc.functions.series import over_elements
from ultramc.functions.text_values import number_in_text
from ultramc.lowering import Call
from ultramc.values import ExcelError, Scalar

NUM, VALUE = ExcelError.NUM, ExcelError.VALUE
LARGEST_INTEGER = 2.0**53
MOST_ITEMS = 10_000_000


def _finite(count: int) -> Scalar:
    return float(count) if count.bit_length() <= 1023 else NUM


@scalar("FACT", "number")
def _fact(number: float) -> Scalar:
    return NUM if not 0 <= number < 171 else float(math.factorial(int(number)))


@scalar("COMBIN", "number number")
def _combin(items: float, taken: float) -> Scalar:
    return NUM if items < 0 or not 0 <= taken < int(items) + 1 else _finite_comb(int(items), int(taken))


@scalar("PERMUT", "integer integer")
def _permut(items: float, taken: float) -> Scalar:
    return NUM if items <= 0 or not 0 <= taken <= items or items > MOST_ITEMS else _falling(int(items), int(taken))


def _falling(items: int, taken: int) -> Scalar:
    product = 1.0
    for factor in range(items, items - taken, -1):
        product *= factor
        if math.isinf(product):
            return NUM
    return product


@scalar("PERMUTATIONA", "integer integer")
def _permutationa(items: float, taken: float) -> Scalar:
    return NUM if items < 0 or taken < 0 else math.pow(items, taken)


@scalar("COMBINA", "integer integer")
def _combina(items: float, taken: float) -> Scalar:
    if items < 0 or taken < 0 or (items == 0 and taken > 0) or items + taken > MOST_ITEMS:
        return NUM
    return 1.0 if items == taken == 0 else _finite_comb(int(items + taken) - 1, int(taken))


def _finite_comb(items: int, taken: int) -> Scalar:
    """The number of combinations, unless it is clearly more than a double holds."""
    fewer = min(taken, items - taken)
    return NUM if fewer > 520 and items > 1040 else _finite(math.comb(items, taken))


@scalar("FACTDOUBLE", "integer")
def _factdouble(number: float) -> Scalar:
    return NUM if number < -1 or number > 300 else float(math.prod(range(int(number), 1, -2)))


def _of_integers(name: str, of: Callable[[list[int]], Scalar]) -> None:
    """A function of whole numbers that are not negative. Text is read as numbers, in a reference too; booleans are not."""

    @function(name, "(cells)+")
    def with_cells(call: Call, *arguments: Cells) -> Value:
        return over_elements(call, partial(_of_whole, of), [], [[(part, True) for argument in arguments for part, _ in argument]])


def _of_whole(of: Callable[[list[int]], Scalar], values: Sequence[Scalar]) -> Scalar:
    read = [number_in_text(value) if isinstance(value, str) else value for value in values if value is not None]
    numbers = [number for number in read if isinstance(number, float)]
    if len(numbers) < len(read):
        return VALUE
    return NUM if any(not 0 <= number < LARGEST_INTEGER for number in numbers) else of([int(number) for number in numbers])


def _greatest_common_divisor(numbers: list[int]) -> Scalar:
    return float(math.gcd(*numbers))


def _least_common_multiple(numbers: list[int]) -> Scalar:
    return _finite(math.lcm(*numbers)) if numbers else 0.0


def _multinomial(numbers: list[int]) -> Scalar:
    if sum(numbers) > 1000:
        return NUM
    ways, total = 1, 0
    for number in numbers:
        total += number
        ways *= math.comb(total, number)
    return _finite(ways)


_of_integers("GCD", _greatest_common_divisor)
_of_integers("LCM", _least_common_multiple)
_of_integers("MULTINOMIAL", _multinomial)


@function("SERIESSUM", "number! number! number! cells")
def _seriessum(call: Call, x: Value, first: Value, step: Value, coefficients: Cells) -> Value:
    return over_elements(call, power_series, [x, first, step], [coefficients])


def power_series(x: float, first: float, step: float, coefficients: Sequence[Scalar]) -> Scalar:
    if any(isinstance(coefficient, (str, bool)) for coefficient in coefficients):
        return VALUE
    if x == 0 and first <= 0:
        return NUM
    numbers = [coefficient or 0.0 for coefficient in coefficients if not isinstance(coefficient, (str, ExcelError))]
    return sum(number * math.pow(x, first + place * step) for place, number in enumerate(numbers))
