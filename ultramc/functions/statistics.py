"""Statistics of samples: variance and its like, means, shape, and pairs of samples.

Two passes, first the mean and then powers of the deviations from it, each from the first number to the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, reduce

import numpy as np
from attrs import frozen

from ultramc.functions import function
from ultramc.functions.aggregate import Cells, all_values, filled, first_error, how_many, numbers, total
from ultramc.functions.algebra import Term, where
from ultramc.functions.kit import NUMBER, Kit, Value
from ultramc.lowering import Call
from ultramc.values import ExcelError

NUM, DIV0, NA = ExcelError.NUM, ExcelError.DIV0, ExcelError.NA


@frozen(eq=False)
class Sample:
    """The numbers among the cells of some arrays."""

    kit: Kit
    parts: Sequence[Value]

    @cached_property
    def count(self) -> Term:
        return Term(self.kit, how_many(self.kit, self.parts))

    @cached_property
    def mean(self) -> Term:
        return Term(self.kit, total(self.kit, self.parts)) / self.count

    def total_of(self, of: Callable[[Term], Term]) -> Term:
        """The sum of a function of each number."""
        return reduce(lambda x, y: x + y, [where(mask, of(number), 0).op("sum") for mask, number in self._numbers])

    @cached_property
    def _numbers(self) -> list[tuple[Term, Term]]:
        """For each array where it holds numbers, and the numbers, 0 elsewhere."""
        return [(_is_number(self.kit, part), Term(self.kit, filled(self.kit, part, 0.0))) for part in self.parts]

    def how_many_are(self, of: Callable[[Term], Term]) -> Term:
        """The count of the numbers for which a mask holds."""
        return reduce(lambda x, y: x + y, [(mask & of(number)).op("count") for mask, number in self._numbers])

    def deviations(self, power: int) -> Term:
        """The sum of powers of the deviations from the mean."""
        mean = self.mean
        return self.total_of(lambda number: _whole_power(number - mean, power))

    def variance(self, freedom_lost: int) -> Term:
        return self.deviations(2) / (self.count - freedom_lost)

    def has(self, of: Callable[[Term], Term]) -> Term:
        """A mask: it holds for one of the numbers."""
        return self.how_many_are(of) > 0


def _is_number(kit: Kit, value: Value) -> Term:
    """A mask in the shape of the array."""
    mask = kit.is_kind(value, NUMBER)
    return Term(kit, np.broadcast_to(mask, (*value.shape, 1)) if isinstance(mask, np.ndarray) else mask)


def _whole_power(term: Term, power: int) -> Term:
    return reduce(lambda x, y: x * y, [term] * power)


Statistic = Callable[[Sample], Term]
Failure = tuple[Statistic, ExcelError]


def statistic(
    names: str, *failures: Failure, read: Callable[[Call, Sequence[Cells]], list[Value]] = numbers
) -> Callable[[Statistic], Statistic]:
    """Register a function of a sample, with the masks under which it fails."""

    def decorate(body: Statistic) -> Statistic:
        @function(names, "(cells)+")
        def with_cells(call: Call, *arguments: Cells) -> Value:
            sample = Sample(call.kit, read(call, arguments))
            return concluded(call.kit, body(sample), sample.parts, [(fails(sample), error) for fails, error in failures])

        return body

    return decorate


def concluded(kit: Kit, result: Term, parts: Sequence[Value], failures: Sequence[tuple[Term, ExcelError]]) -> Value:
    """A result with the first error of the arrays it came from, else the first failure."""
    value = kit.with_tag(result.operand, first_error(kit, parts))
    for mask, error in failures:
        value = kit.fail_where(value, mask.operand, error)
    return value


def fewer_than(least: int) -> Statistic:
    return lambda sample: sample.count < least


def _spreads(freedom_lost: int, variances: str, deviations: str, read: Callable[[Call, Sequence[Cells]], list[Value]]) -> None:
    too_few = (fewer_than(freedom_lost + 1), DIV0)
    statistic(variances, too_few, read=read)(lambda sample: sample.variance(freedom_lost))
    statistic(deviations, too_few, read=read)(lambda sample: sample.variance(freedom_lost).sqrt())


_spreads(1, "VAR VAR.S", "STDEV STDEV.S", numbers)
_spreads(0, "VARP VAR.P", "STDEVP STDEV.P", numbers)
_spreads(1, "VARA", "STDEVA", all_values)
_spreads(0, "VARPA", "STDEVPA", all_values)


@statistic("DEVSQ", (fewer_than(1), NUM))
def _devsq(sample: Sample) -> Term:
    return sample.deviations(2)


@statistic("AVEDEV", (fewer_than(1), NUM))
def _avedev(sample: Sample) -> Term:
    mean = sample.mean
    return sample.total_of(lambda number: (number - mean).op("abs")) / sample.count


def _has_not_positive(sample: Sample) -> Term:
    return sample.has(lambda number: number <= 0)


@statistic("GEOMEAN", (fewer_than(1), NUM), (_has_not_positive, NUM))
def _geomean(sample: Sample) -> Term:
    return (sample.total_of(lambda number: number.log()) / sample.count).exp()


@statistic("HARMEAN", (fewer_than(1), NUM), (_has_not_positive, NUM))
def _harmean(sample: Sample) -> Term:
    return sample.count / sample.total_of(lambda number: 1 / number)


def _is_flat(sample: Sample) -> Term:
    return sample.deviations(2).equals(0)


@statistic("SKEW", (fewer_than(3), DIV0), (_is_flat, DIV0))
def _skew(sample: Sample) -> Term:
    count = sample.count
    return sample.deviations(3) / sample.variance(1) ** 1.5 * count / ((count - 1) * (count - 2))


@statistic("SKEW.P", (fewer_than(3), DIV0), (_is_flat, DIV0))
def _skew_of_all(sample: Sample) -> Term:
    return sample.deviations(3) / sample.count / sample.variance(0) ** 1.5


@statistic("KURT", (fewer_than(4), DIV0), (_is_flat, DIV0))
def _kurt(sample: Sample) -> Term:
    count, variance = sample.count, sample.variance(1)
    fourth = sample.deviations(4) / (variance * variance)
    factor = count * (count + 1) / ((count - 1) * (count - 2) * (count - 3))
    return factor * fourth - 3 * (count - 1) * (count - 1) / ((count - 2) * (count - 3))


# Pairs: cells at the same place of two arrays, where both hold a number


@frozen(eq=False)
class Pairs:
    kit: Kit
    first: Value
    second: Value

    @cached_property
    def both(self) -> Term:
        return _is_number(self.kit, self.first) & _is_number(self.kit, self.second)

    @cached_property
    def sides(self) -> tuple[Term, Term]:
        return Term(self.kit, filled(self.kit, self.first, 0.0)), Term(self.kit, filled(self.kit, self.second, 0.0))

    @cached_property
    def count(self) -> Term:
        return self.both.op("count")

    def total_of(self, of: Callable[[Term, Term], Term]) -> Term:
        return where(self.both, of(*self.sides), 0).op("sum")

    @cached_property
    def means(self) -> tuple[Term, Term]:
        return self.total_of(lambda x, y: x) / self.count, self.total_of(lambda x, y: y) / self.count

    @cached_property
    def products(self) -> tuple[Term, Term, Term]:
        """The sums of (x − x̄)², (x − x̄)(y − ȳ) and (y − ȳ)²."""
        mean_x, mean_y = self.means
        squares = self.total_of(lambda x, y: (x - mean_x) * (x - mean_x))
        across = self.total_of(lambda x, y: (x - mean_x) * (y - mean_y))
        return squares, across, self.total_of(lambda x, y: (y - mean_y) * (y - mean_y))

    def line(self) -> tuple[Term, Term]:
        """Slope and intercept of the second on the first."""
        squares, across, _ = self.products
        mean_x, mean_y = self.means
        slope = across / squares
        return slope, mean_y - slope * mean_x


def _pair_statistic(
    names: str, least: int, error: ExcelError, *, flat: Callable[[Pairs], Term] | None = None
) -> Callable[[Callable[[Pairs], Term]], None]:
    """Register a function of pairs; the arguments are y, then x."""

    def decorate(body: Callable[[Pairs], Term]) -> None:
        @function(names, "array array")
        def with_arrays(call: Call, second: Value, first: Value) -> Value:
            return _of_pairs(call.kit, first, second, body, least, error, flat)

    return decorate


def _of_pairs(
    kit: Kit,
    first: Value,
    second: Value,
    body: Callable[[Pairs], Term],
    least: int,
    error: ExcelError,
    flat: Callable[[Pairs], Term] | None,
) -> Value:
    if first.shape[2:] != second.shape[2:]:
        return kit.error(NA)
    pairs = Pairs(kit, first, second)
    failures = [(pairs.count < least, error)]
    if flat is not None:
        failures.append((flat(pairs), DIV0))
    return concluded(kit, body(pairs), [second, first], failures)


def _flat_first(pairs: Pairs) -> Term:
    return pairs.products[0].equals(0)


def _flat_either(pairs: Pairs) -> Term:
    squares, _, others = pairs.products
    return (squares * others).equals(0)


@_pair_statistic("CORREL PEARSON", 1, DIV0, flat=_flat_either)
def _correl(pairs: Pairs) -> Term:
    squares, across, others = pairs.products
    return across / (squares.sqrt() * others.sqrt())


@_pair_statistic("RSQ", 1, DIV0, flat=_flat_either)
def _rsq(pairs: Pairs) -> Term:
    squares, across, others = pairs.products
    return across * across / (squares * others)


@_pair_statistic("COVAR COVARIANCE.P", 1, DIV0)
def _covar(pairs: Pairs) -> Term:
    return pairs.products[1] / pairs.count


@_pair_statistic("COVARIANCE.S", 2, DIV0)
def _covariance_of_sample(pairs: Pairs) -> Term:
    return pairs.products[1] / (pairs.count - 1)


@_pair_statistic("SLOPE", 1, DIV0, flat=_flat_first)
def _slope(pairs: Pairs) -> Term:
    return pairs.line()[0]


@_pair_statistic("INTERCEPT", 1, DIV0, flat=_flat_first)
def _intercept(pairs: Pairs) -> Term:
    return pairs.line()[1]


@_pair_statistic("STEYX", 3, DIV0, flat=_flat_first)
def _steyx(pairs: Pairs) -> Term:
    squares, across, others = pairs.products
    return ((others - across * across / squares) / (pairs.count - 2)).sqrt()


@function("FORECAST FORECAST.LINEAR", "number array array")
def _forecast(call: Call, at: Value, second: Value, first: Value) -> Value:
    def line_at(pairs: Pairs) -> Term:
        slope, intercept = pairs.line()
        return intercept + slope * Term(call.kit, at.payload)

    result = _of_pairs(call.kit, first, second, line_at, 1, DIV0, _flat_first)
    return call.kit.with_tag(result.payload, call.kit.error_tag([at, result]))


def _sum_of_pairs(name: str, of: Callable[[Term, Term], Term]) -> None:
    @function(name, "array array")
    def body(call: Call, first: Value, second: Value) -> Value:
        return _of_pairs(call.kit, first, second, lambda pairs: pairs.total_of(of), 1, DIV0, None)


_sum_of_pairs("SUMX2MY2", lambda x, y: x * x - y * y)
_sum_of_pairs("SUMX2PY2", lambda x, y: x * x + y * y)
_sum_of_pairs("SUMXMY2", lambda x, y: (x - y) * (x - y))


# Tests and tables of probabilities


@function("PROB", "array array number number?")
def _prob(call: Call, values: Value, weights: Value, low: Value, high: Value | None = None) -> Value:
    kit, scalars = call.kit, [value for value in (low, high) if value is not None]
    if values.shape[2:] != weights.shape[2:]:
        return kit.error(NA)
    pairs = Pairs(kit, values, weights)
    least, most = Term(kit, low.payload), Term(kit, (high or low).payload)
    inside = pairs.total_of(lambda x, p: where((x >= least) & (x <= most), p, 0))
    whole = pairs.total_of(lambda x, p: p)
    wrong = (pairs.both & ((pairs.sides[1] <= 0) | (pairs.sides[1] > 1))).op("any")
    return concluded(kit, inside, [values, weights, kit.error_tag(scalars)], [(wrong | ((whole - 1).op("abs") > 1e-9), NUM)])
