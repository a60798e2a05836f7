"""Statistics of samples in order: medians, percentiles, ranks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from ultramc.functions import function
from ultramc.functions.aggregate import Cells, first_error, how_many, numbers
from ultramc.functions.algebra import Term, where
from ultramc.functions.kit import NUMBER, Kit, Value
from ultramc.functions.series import over_elements
from ultramc.functions.statistics import Sample, concluded
from ultramc.lowering import Call
from ultramc.program import Operand
from ultramc.values import ExcelError, Scalar

NUM, DIV0, NA = ExcelError.NUM, ExcelError.DIV0, ExcelError.NA


class Ordered:
    """The numbers among the cells of some arrays, ascending; infinity stands for the rest where it is not known what is a number."""

    def __init__(self, call: Call, arguments: Sequence[Cells]) -> None:
        self.kit = call.kit
        self.parts = numbers(call, arguments)
        self.count = Term(self.kit, how_many(self.kit, self.parts))
        lists = [flat for flat in (_listed(self.kit, part) for part in self.parts) if flat is not None]
        self._sorted = self.kit.emit("sort", _joined(self.kit, lists)) if lists else None

    def at(self, position: Term) -> Term:
        """The number at a 0-based place; places outside are moved inside."""
        if self._sorted is None:
            return position * 0
        inside = position.least(self.count - 1).most(0)
        return Term(self.kit, self.kit.emit("gather", inside.operand, self._sorted))

    def between(self, position: Term) -> Term:
        """Interpolated between places."""
        below = position.op("floor")
        low, high = self.at(below), self.at(below + 1)
        return low + (position - below) * (high - low)

    def result(self, term: Term, others: Sequence[Value], *failures: tuple[Term, ExcelError]) -> Value:
        errors = self.kit.error_tag([first_error(self.kit, self.parts), *others])
        return concluded(self.kit, term, [errors], failures)


def _listed(kit: Kit, part: Value) -> Operand | None:
    """The numbers of an array in one column; None where there are none."""
    mask = kit.is_kind(part, NUMBER)
    count = part.shape[2] * part.shape[3]
    places = np.arange(count)
    if isinstance(mask, np.ndarray):
        full = np.broadcast_to(mask, (*np.broadcast_shapes(mask.shape[:2], (1, 1)), *part.shape[2:], 1)).reshape(-1, count)
        if (full == full[0]).all():
            places = places[full[0]]
            mask = kit.emit("equal", 0.0, 0.0)
    if not len(places):
        return None
    payload = part.payload if not isinstance(part.payload, np.ndarray) else np.broadcast_to(part.payload, (*part.shape, 1))
    whole = kit.emit("select", mask, payload, np.inf)
    return kit.emit("gather", places.astype(np.float64).reshape(1, 1, -1, 1, 1), whole)


def _joined(kit: Kit, lists: Sequence[Operand]) -> Operand:
    if len(lists) == 1:
        return lists[0]
    heights = [operand.shape[2] for operand in lists]
    tops = np.cumsum([0, *heights])
    return kit.emit("join", *lists, size=(int(tops[-1]), 1), places=tuple((int(top), 0) for top in tops[:-1]))


@function("MEDIAN", "(cells)+")
def _median(call: Call, *arguments: Cells) -> Value:
    ordered = Ordered(call, arguments)
    middle = (ordered.count - 1) / 2
    low, high = ordered.at(middle.op("floor")), ordered.at(middle.op("ceil"))
    return ordered.result((low + high) / 2, [], (ordered.count < 1, NUM))


def _ranked(name: str, place: Callable[[Term, Term], Term]) -> None:
    @function(name, "cells number")
    def body(call: Call, cells: Cells, rank: Value) -> Value:
        ordered = Ordered(call, [cells])
        wanted = Term(call.kit, rank.payload).op("ceil")
        return ordered.result(ordered.at(place(wanted, ordered.count)), [rank], ((wanted < 1) | (wanted > ordered.count), NUM))


_ranked("SMALL", lambda rank, count: rank - 1)
_ranked("LARGE", lambda rank, count: count - rank)


def _quantiles(
    names: str, parts: float, place: Callable[[Term, Term], Term], limits: Callable[[Term], tuple[Term | float, Term | float]]
) -> None:
    """PERCENTILE, or QUARTILE, whose argument counts parts of the whole."""

    @function(names, "cells number")
    def body(call: Call, cells: Cells, share: Value) -> Value:
        ordered, given = Ordered(call, [cells]), Term(call.kit, share.payload)
        position = place(given / parts if parts == 1 else given.trunc() / parts, ordered.count)
        least, most = limits(ordered.count)
        outside = (position < least) | (position > most) | (ordered.count < 1)
        return ordered.result(ordered.between(position), [share], (outside, NUM))


for _names, _parts in (("PERCENTILE PERCENTILE.INC", 1), ("QUARTILE QUARTILE.INC", 4)):
    _quantiles(_names, _parts, lambda share, count: share * (count - 1), lambda count: (0, count - 1))
for _names, _parts in (("PERCENTILE.EXC", 1), ("QUARTILE.EXC", 4)):
    _quantiles(_names, _parts, lambda share, count: share * (count + 1) - 1, lambda count: (0, count - 1))


@function("TRIMMEAN", "cells number")
def _trimmean(call: Call, cells: Cells, share: Value) -> Value:
    kit, ordered, part = call.kit, Ordered(call, [cells]), Term(call.kit, share.payload)
    cut = (part * ordered.count / 2).op("floor")
    kept = ordered.count - 2 * cut
    places = np.arange(sum(value.shape[2] * value.shape[3] for value in ordered.parts), dtype=np.float64).reshape(1, 1, -1, 1, 1)
    place = Term(kit, places) + 0 * cut
    inside = (place >= cut) & (place < cut + kept)
    return ordered.result(
        where(inside, ordered.at(place), 0).op("sum") / kept, [share], ((part < 0) | (part >= 1) | (ordered.count < 1), NUM)
    )


# Ranks


def _rank(names: str, *, averaged: bool) -> None:
    @function(names, "number cells number?")
    def body(call: Call, number: Value, cells: Cells, ascending: Value | None = None) -> Value:
        kit, sample = call.kit, Sample(call.kit, numbers(call, [cells]))
        x, upwards = Term(kit, number.payload), Term(kit, (ascending or kit.number(0)).payload).equals(0)
        larger = sample.how_many_are(lambda value: value > x)
        smaller = sample.how_many_are(lambda value: value < x)
        same = sample.how_many_are(lambda value: value.equals(x))
        rank = where(upwards, larger, smaller) + 1
        errors = kit.error_tag([value for value in (number, first_error(kit, sample.parts), ascending) if value is not None])
        return concluded(kit, rank + (same - 1) / 2 if averaged else rank, [errors], [(same.equals(0), NA)])


_rank("RANK RANK.EQ", averaged=False)
_rank("RANK.AVG", averaged=True)


def _percent_rank(names: str, first: int, whole: int) -> None:
    """`first` is the rank of the smallest number, `whole` what is added to the count for a rank of 100 %."""

    @function(names, "cells number integer?")
    def body(call: Call, cells: Cells, number: Value, digits: Value | None = None) -> Value:
        ordered, sample = Ordered(call, [cells]), Sample(call.kit, numbers(call, [cells]))
        x, places = (Term(call.kit, value.payload) for value in (number, digits or call.kit.number(3)))
        below = sample.how_many_are(lambda value: value < x)
        low, high = ordered.at(below - 1), ordered.at(below)
        rank = where(high.equals(x), below, below - 1 + (x - low) / (high - low))
        share = where(ordered.count.equals(1), 1, (rank + first) / (ordered.count + whole))
        scale = 10**places
        outside = (x < ordered.at(0 * x)) | (x > ordered.at(ordered.count - 1)) | (ordered.count < 1)
        truncated = (share * scale).op("mend").op("floor") / scale
        return ordered.result(truncated, [value for value in (number, digits) if value is not None], (places < 1, NUM), (outside, NA))


_percent_rank("PERCENTRANK PERCENTRANK.INC", 0, -1)
_percent_rank("PERCENTRANK.EXC", 1, 1)


# Counting


@function("MODE MODE.SNGL", "(cells)+")
def _mode(call: Call, *arguments: Cells) -> Value:
    return over_elements(call, most_frequent, [], [[part for argument in arguments for part in argument]])


def most_frequent(values: Sequence[Scalar]) -> Scalar:
    """The number that occurs most often, the first of several; #N/A where none occurs twice."""
    counts = Counter(value for value in values if isinstance(value, float))
    best, count = counts.most_common(1)[0] if counts else (0.0, 0)
    return best if count > 1 else NA


@function("FREQUENCY", "cells cells")
def _frequency(call: Call, data: Cells, bins: Cells) -> Value:
    kit, sample = call.kit, Sample(call.kit, numbers(call, [data]))
    if not all(part.known and part.shape[:2] == (1, 1) for part, _ in bins):
        raise call.refuse("with bins that differ by cell or iteration is not supported")
    limits = [value for part, _ in bins for value in kit.scalars(part) if isinstance(value, float)]
    counts = _counts_between(sample, sorted(set(limits)))
    shown = [counts.pop(limit, 0 * sample.count) for limit in [*limits, math.inf]]
    places = tuple((row, 0) for row in range(len(shown)))
    column = kit.emit("join", *(count.operand for count in shown), size=(len(shown), 1), places=places)
    return kit.with_tag(column, first_error(kit, [*sample.parts, *(part for part, _ in bins)]))


def _counts_between(sample: Sample, limits: Sequence[float]) -> dict[float, Term]:
    """For each limit, and infinity, how many numbers are above the limit before it, but not above it."""
    up_to = [sample.how_many_are(lambda number, limit=limit: number <= limit) for limit in limits] + [sample.count]  # type: ignore[misc]
    between = [up_to[0], *(upper - lower for lower, upper in pairwise(up_to))]
    return dict(zip([*limits, math.inf], between, strict=True))
