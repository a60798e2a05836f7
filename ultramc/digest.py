"""One cell of a run whose samples are not kept: what is left of them, in constant memory, and how it is gathered.

    stretches of iterations ── Tally ──> Digest ── Digested ──> statistics

Moments come from `moments`. The order of the values is left as counts in bins, laid by the first 65,536 iterations at 8,192 equal
shares of them; each edge is a bin of its own, so that a value that many iterations have is counted exactly. The 1,000 smallest and
largest values are kept. The distance of values within a bin is the whole error, and every interval holds it.

A tally sees the same stretches however the run was cut, so all that it adds up has the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
from attrs import define, field, fields, frozen
from numpy.typing import NDArray

from ultramc import summary
from ultramc.engines.base import CANONICAL_BLOCK
from ultramc.moments import SMALLEST_EXPONENT, Array, Moments, Tree, joined
from ultramc.summary import Estimate, Interval, Tail
from ultramc.values import FIRST_ERROR, Kind

STRETCH = 16 * CANONICAL_BLOCK  # iterations digested at once; the first so many lay the bins
BINS = 8_192
EXTREMES = 1_000
KINDS = 256
BYTES = 8 * BINS * (2 * 3 + 1) + 8 * 4 * EXTREMES  # of a digest with one group: counts, sums and squares of bins, edges, extremes
GROUP_BYTES = 2 * 8 * BINS * 2

Counts = NDArray[np.int64]
Valid = NDArray[np.bool_]


@frozen
class Failure:
    """The first iteration of a cell that ended in an error; `inputs`: what the cells of each input were in it, by label."""

    iteration: int
    kind: int
    inputs: Mapping[str, tuple[float, ...]] = field(factory=dict)


@frozen(eq=False)
class Bins:
    """Where values are counted: bin 2i holds what lies between edge i − 1 and edge i, bin 2i + 1 what is edge i.

    Sums of values and of their squares are about `center`, in units of 2^`exponent`.
    """

    edges: Array
    center: float = 0.0
    exponent: int = 0

    @classmethod
    def laid(cls, values: Array) -> Bins:
        """At equal shares of `values`."""
        if len(values) == 0:
            return cls(values)
        ordered = np.sort(values)
        places = np.arange(1, BINS, dtype=np.int64) * len(ordered) // BINS
        largest = max(abs(float(ordered[0])), abs(float(ordered[-1])))
        exponent = max(math.frexp(largest)[1], SMALLEST_EXPONENT) if largest else 0
        return cls(np.unique(ordered[places]), float(ordered[len(ordered) // 2]), exponent)

    @property
    def size(self) -> int:
        return 2 * len(self.edges) + 1

    def counted(self, ordered: Array) -> tuple[Counts, Array, Array]:
        """How many of `ordered` lie in each bin, the sums of their distances from the center, and of the squares of these."""
        bounds = np.zeros(self.size + 1, np.int64)
        bounds[1:-1:2] = np.searchsorted(ordered, self.edges, side="left")
        bounds[2:-1:2] = np.searchsorted(ordered, self.edges, side="right")
        bounds[-1] = len(ordered)
        counts = np.diff(bounds)
        unit = math.ldexp(1.0, -self.exponent)
        distances = np.append(ordered * unit - self.center * unit, 0.0)
        with np.errstate(over="ignore"):
            sums, squares = (np.add.reduceat(each, bounds[:-1]) for each in (distances, distances * distances))
        return counts, np.where(counts > 0, sums, 0.0), np.where(counts > 0, squares, 0.0)


@define(eq=False)
class Tally:
    """Gathers the digest of one cell; `groups`: how many independent stretches of the run standard errors are made of."""

    groups: int
    texts: int
    iterations: int = 0
    kinds: Counts = field(factory=lambda: np.zeros(KINDS, np.int64))
    text_counts: Counts = field(init=False)
    trees: list[Tree] = field(init=False)
    extremes: dict[int, tuple[float, int]] = field(factory=dict)  # value and iteration
    lowest: Array = field(factory=lambda: np.empty(0))
    highest: Array = field(factory=lambda: np.empty(0))
    bins: Bins | None = None
    counts: Counts = field(init=False)
    sums: Array = field(init=False)
    squares: Array = field(init=False)
    failure: Failure | None = None

    def __attrs_post_init__(self) -> None:
        self.text_counts = np.zeros(self.texts, np.int64)
        self.trees = [Tree() for _ in range(self.groups)]

    @classmethod
    def restored(cls, values: Sequence[Any]) -> Tally:
        """Of its fields, as `packing` gives them back."""
        named = dict(zip((attribute.name for attribute in fields(cls)), values, strict=True))
        tally = cls(named.pop("groups"), named.pop("texts"))
        for name, value in named.items():
            setattr(tally, name, _RESTORED.get(name, lambda given: given)(value))
        return tally

    def add(self, group: int, first: int, payload: Array, tags: NDArray[np.uint8] | None) -> None:
        """A whole stretch, of one group; all but what `count` does."""
        self.iterations += len(payload)
        valid = None if tags is None else numeric(tags)
        if tags is not None:
            self._add_kinds(payload, tags)
        self.trees[group].add(_moments(payload, valid).total())
        iterations = np.arange(len(payload)) if valid is None else np.flatnonzero(valid)
        if len(iterations):
            self._add_extremes(first, payload, iterations)

    def _add_kinds(self, payload: Array, tags: NDArray[np.uint8]) -> None:
        self.kinds += np.bincount(tags, minlength=KINDS)
        codes = payload[tags == Kind.TEXT].astype(np.int64)
        self.text_counts += np.bincount(codes, minlength=self.texts)

    def _add_extremes(self, first: int, payload: Array, iterations: Counts) -> None:
        values = payload[iterations]
        for position, place, beats in ((0, values.argmin(), np.less), (-1, values.argmax(), np.greater)):
            value = float(values[place])
            if position not in self.extremes or beats(value, self.extremes[position][0]):
                self.extremes[position] = value, first + int(iterations[place])

    def lay(self, payload: Array, tags: NDArray[np.uint8] | None) -> None:
        """The bins, by the first iterations."""
        self.bins = Bins.laid(payload if tags is None else payload[numeric(tags)])
        self.counts = np.zeros((self.groups, self.bins.size), np.int64)
        self.sums = np.zeros((self.groups, self.bins.size))
        self.squares = np.zeros(self.bins.size)

    def count(self, group: int, payload: Array, tags: NDArray[np.uint8] | None) -> None:
        """A stretch into the bins."""
        assert self.bins is not None
        ordered = np.sort(payload if tags is None else payload[numeric(tags)])
        counts, sums, squares = self.bins.counted(ordered)
        self.counts[group] += counts
        self.sums[group] += sums
        self.squares += squares
        self.lowest = _few(np.concatenate([self.lowest, ordered[:EXTREMES]]))
        self.highest = -_few(-np.concatenate([self.highest, ordered[-EXTREMES:]]))[::-1]

    def digest(self) -> Digest:
        assert self.bins is not None
        return Digest(
            iterations=self.iterations,
            kinds={int(kind): int(self.kinds[kind]) for kind in np.flatnonzero(self.kinds)},
            texts={int(code): int(self.text_counts[code]) for code in np.flatnonzero(self.text_counts)},
            extremes=tuple(self.extremes[position][1] for position in (0, -1)) if self.extremes else (),
            moments=joined(tree.total() for tree in self.trees),
            bins=self.bins,
            counts=self.counts,
            sums=self.sums,
            squares=self.squares,
            lowest=self.lowest,
            highest=self.highest,
            failure=self.failure,
        )


def _failure(values: Sequence[Any] | None) -> Failure | None:
    if values is None:
        return None
    iteration, kind, inputs = values
    return Failure(iteration, kind, {label: tuple(cells) for label, cells in inputs.items()})


_RESTORED: Mapping[str, Callable[[Any], Any]] = {
    "trees": lambda trees: [Tree([(level, Moments(*moments)) for level, moments in parts]) for (parts,) in trees],
    "extremes": lambda extremes: {position: tuple(found) for position, found in extremes.items()},
    "bins": lambda bins: Bins(*bins),
    "failure": _failure,
}


def numeric(tags: NDArray[np.uint8]) -> Valid:
    """Where samples are numbers; booleans and blanks count."""
    return np.asarray((tags < Kind.TEXT) | (tags == Kind.BLANK))


def _few(values: Array) -> Array:
    return np.sort(values)[:EXTREMES]


def _moments(payload: Array, valid: Valid | None) -> Moments:
    """Of the canonical blocks of a stretch."""
    whole = len(payload) // CANONICAL_BLOCK * CANONICAL_BLOCK
    parts = []
    for place, width in ((slice(0, whole), CANONICAL_BLOCK), (slice(whole, None), len(payload) - whole)):
        if width and len(payload[place]):
            parts.append(Moments.of(payload[place].reshape(-1, width), None if valid is None else valid[place].reshape(-1, width)))
    return joined(parts)


@frozen(eq=False, slots=False)
class Digest:
    """What is left of the samples of one cell.

    `kinds`: how many iterations have each tag, empty where all are numbers; `texts`: how many each text, by code; `extremes`: the
    iterations of the minimum and of the maximum. `moments`, `counts` and `sums` are by group, `squares` of all.
    """

    iterations: int
    kinds: Mapping[int, int]
    texts: Mapping[int, int]
    extremes: tuple[int, ...]
    moments: Moments
    bins: Bins
    counts: Counts
    sums: Array
    squares: Array
    lowest: Array
    highest: Array
    failure: Failure | None = None

    @property
    def excluded(self) -> dict[int, int]:
        """Iterations without a number by tag, the commonest first."""
        lost = {kind: count for kind, count in self.kinds.items() if kind in (Kind.TEXT, Kind.ABSENT) or kind >= FIRST_ERROR}
        return dict(sorted(lost.items(), key=lambda item: -item[1]))

    @cached_property
    def whole(self) -> Moments:
        return self.moments.total()

    @cached_property
    def count(self) -> int:
        """Of valid iterations."""
        return int(self.whole.count[0])

    @cached_property
    def _ends(self) -> Counts:
        return np.cumsum(self.counts.sum(axis=0))

    @cached_property
    def _between(self) -> tuple[Array, Array]:
        """The least and the largest that a value in each bin may be; edges are bins without width."""
        if self.count == 0:
            return np.full(self.bins.size, math.nan), np.full(self.bins.size, math.nan)
        edges = np.repeat(self.bins.edges, 2)
        low, high = np.append(self.lowest[0], edges), np.append(edges, self.highest[-1])
        return low, high

    def ranked(self, ranks: Any, share: float | None = None) -> Any:
        """The values of these ranks, from 0; of several in a bin the least (share 0) or largest (1) they may be, or evenly between."""
        n, few = self.count, len(self.lowest)
        ranks = np.asarray(ranks, np.int64)
        place = np.minimum(np.searchsorted(self._ends, ranks, side="right"), self.bins.size - 1)
        many = np.maximum(np.diff(self._ends, prepend=0)[place], 1)
        part = (ranks - (self._ends[place] - many) + 0.5) / many if share is None else share
        low, high = (ends[place] for ends in self._between)
        values = np.clip(low * (1 - part) + high * part, self.lowest[-1], self.highest[0]) if n > few else np.zeros(ranks.shape)
        values = np.where(ranks < few, self.lowest[np.clip(ranks, 0, few - 1)], values)
        return np.where(ranks >= n - few, self.highest[np.clip(ranks - n + few, 0, few - 1)], values)

    def below(self, x: float, *, inclusive: bool) -> tuple[int, float, int]:
        """How many values are below x, or at most x: the fewest that there may be, as many as seem to be, and the most."""
        side: Literal["left", "right"] = "right" if inclusive else "left"
        n, few = self.count, len(self.lowest)
        if n == few or x < self.lowest[-1]:
            return _sure(np.searchsorted(self.lowest, x, side=side))
        if x > self.highest[0]:
            return _sure(n - few + np.searchsorted(self.highest, x, side=side))
        edge = int(np.searchsorted(self.bins.edges, x))
        if edge < len(self.bins.edges) and self.bins.edges[edge] == x:
            return _sure(self._ends[2 * edge + inclusive])
        most = int(self._ends[2 * edge])
        least = int(self._ends[2 * edge - 1]) if edge else 0
        low, high = (float(ends[2 * edge]) for ends in self._between)
        part = min(max((x / 2 - low / 2) / (high / 2 - low / 2), 0.0), 1.0) if high > low else 0.0
        return least, least + part * (most - least), most


def _sure(count: Any) -> tuple[int, float, int]:
    return int(count), float(count), int(count)


@frozen(eq=False)
class Ordered:
    """A digest as if it were the values in ascending order, for what looks at few of them; see `Digest.ranked`."""

    digest: Digest
    share: float | None = None

    def __len__(self) -> int:
        return self.digest.count

    def __getitem__(self, rank: Any) -> Any:
        """By rank, or array of ranks; −1 is the last."""
        ranks = np.asarray(rank)
        found = self.digest.ranked(np.where(ranks < 0, ranks + len(self), ranks), self.share)
        return found if ranks.ndim else float(found)


# Statistics. An influence is a polynomial of z, the distance from the mean in standard deviations (over n): coefficients from z⁰ on.


@frozen(eq=False)
class Inside:
    """Of a bin that the boundary of a tail cuts: how many values it has, its width, and what lies beyond, as `Digested._known`."""

    count: float
    width: float
    sums: Array


@frozen(eq=False, slots=False)
class Digested:
    """The statistics of a digest, as `summary` has them of samples. `replicated`: standard errors come from the groups."""

    digest: Digest
    replicated: bool

    @property
    def count(self) -> int:
        return self.digest.count

    @cached_property
    def ordered(self) -> Ordered:
        return Ordered(self.digest)

    # Moments

    @cached_property
    def _center(self) -> float:
        return float((self.digest.whole.mean + self.digest.whole.offset)[0])

    @cached_property
    def _sums(self) -> Array:
        """Σ (x − mean)^p in units, (9,)."""
        whole = self.digest.whole
        sums: Array = whole.about(whole.mean, whole.offset)[:, 0]
        return sums

    @cached_property
    def _spread(self) -> float:
        """Standard deviation over n, in units."""
        return math.sqrt(max(float(self._sums[2]), 0.0) / self.count)

    def _in_units(self, value: float) -> float:
        return summary.rescaled(value, int(self.digest.whole.exponent[0]))

    def _standardised(self, power: int) -> float:
        return float(self._sums[power]) / self.count / self._spread**power if self._spread else math.nan

    def _error(self, influence: tuple[float, ...]) -> float | None:
        """The standard error of a mean of this influence."""
        n = self.count
        if self.replicated:
            return self._error_of_groups(self._power_sums()[:, : len(influence)] @ np.array(influence))
        square = np.convolve(influence, influence)
        moments = np.array([self._standardised(power) for power in range(len(square))])
        return math.sqrt(max(float(square @ moments), 0.0) / (n - 1)) if n > 1 else None

    def _power_sums(self) -> Array:
        """Σ z^p of each group, shape (groups, 5)."""
        whole = self.digest.whole
        groups = self.digest.moments.in_units_of(np.repeat(whole.exponent, len(self.digest.moments.mean)))
        return (groups.about(whole.mean, whole.offset)[:5] / self._spread ** np.arange(5)[:, None]).T

    @property
    def _sizes(self) -> Array:
        return self.digest.moments.count

    def _error_of_groups(self, totals: Array) -> float | None:
        """As `summary.Measured.standard_error` has it; groups without a valid iteration are none."""
        totals = totals[self._sizes > 0]
        if len(totals) < 2:
            return None
        largest = float(np.max(np.abs(totals)))
        ratio = float(np.sum(np.square(totals / largest))) if largest else 0.0
        return largest * math.sqrt(ratio * len(totals) / (len(totals) - 1)) / self.count

    @property
    def degrees(self) -> float:
        return float(np.count_nonzero(self._sizes)) - 1 if self.replicated else math.inf

    def mean(self) -> Estimate:
        if self.count == 0:
            return Estimate(math.nan)
        value = self._in_units(self._center)
        error = self._error((0.0, 1.0)) if self._spread else 0.0
        if error is None or self.count < 2 or (self.replicated and self.degrees < 1):
            return Estimate(value)
        return summary.bounded(value, self._in_units(error * self._spread), min(self.degrees, self.count - 1))

    def _deviation(self) -> float:
        """With n − 1, in units."""
        return self._spread * math.sqrt(self.count / (self.count - 1))

    def std(self) -> Estimate:
        if self.count < 2:
            return Estimate(math.nan)
        value, half = self._in_units(self._deviation()), (self.count - 1) / self.count / 2
        return self._relative(value, (-half, 0.0, half))

    def variance(self) -> Estimate:
        if self.count < 2:
            return Estimate(math.nan)
        value, half = self._in_units(self._deviation()), (self.count - 1) / self.count
        return self._relative(value * value, (-half, 0.0, half))

    def _relative(self, value: float, influence: tuple[float, ...]) -> Estimate:
        """With an influence that is a multiple of the value."""
        error = self._error(influence) if self._spread else None if self.replicated and self.degrees < 1 else 0.0
        if error is None or not math.isfinite(error * value):
            return Estimate(value)
        return summary.bounded(value, error * value, self.degrees, summary.logarithmic)

    def skewness(self) -> Estimate:
        third = self._standardised(3) if self.count > 1 else math.nan
        return self._absolute(third, (0.5 * third, -3.0, -1.5 * third, 1.0))

    def kurtosis(self) -> Estimate:
        third, fourth = (self._standardised(power) if self.count > 1 else math.nan for power in (3, 4))
        return self._absolute(fourth - 3, (fourth, -4 * third, -2 * fourth, 0.0, 1.0))

    def _absolute(self, value: float, influence: tuple[float, ...]) -> Estimate:
        error = None if math.isnan(value) else self._error(influence)
        return Estimate(value) if error is None else summary.bounded(value, error, self.degrees)

    # Order

    def extreme(self, position: Literal[0, -1]) -> Estimate:
        return Estimate(self.ordered[position] if self.count else math.nan)

    def interpolated(self, q: float) -> float:
        return summary.interpolated(self.ordered, q)

    def quantile(self, q: float) -> Estimate:
        value = self.interpolated(q)
        if self.replicated:
            return self._replicated_quantile(q, value)
        bounds = partial(self._quantile_bounds, partial(summary.order_statistics, q=q)) if self.count > 1 else None
        return Estimate(value, summary.quantile_error(self.ordered, q), bounds)

    def _quantile_bounds(self, interval: Any, level: float) -> Interval:
        """The interval of values that are as low, and as high, as they may be."""
        low, high = (Ordered(self.digest, share) for share in (0.0, 1.0))
        return interval(low, level=level)[0], interval(high, level=level)[1]

    def _replicated_quantile(self, q: float, value: float) -> Estimate:
        errors = [error for inclusive in (False, True) if (error := self._error_of_share(value, inclusive=inclusive)) is not None]
        if not errors:
            return Estimate(value)
        sparsity = summary.sparsity(self.ordered, q)
        interval = partial(summary.woodruff, q=q, error=max(errors), degrees=self.degrees)
        return Estimate(value, None if math.isnan(sparsity) else sparsity * max(errors), partial(self._quantile_bounds, interval))

    def _error_of_share(self, x: float, *, inclusive: bool) -> float | None:
        """Of the share of values below x, or at most x, from how many there are in each group."""
        if self.count == 0:
            return None
        within = self._group_counts(x, inclusive)
        return self._error_of_groups(within - self._sizes * (within.sum() / self.count))

    def _group_counts(self, x: float, inclusive: bool) -> Array:
        """The bin of x counts with the part of it that lies below."""
        edges = self.digest.bins.edges
        edge = int(np.searchsorted(edges, x))
        is_edge = edge < len(edges) and edges[edge] == x
        whole = 2 * edge + (1 + inclusive if is_edge else 0)
        within: Array = self.digest.counts[:, :whole].sum(axis=1).astype(np.float64)
        if is_edge:
            return within
        many = self.digest.counts[:, whole]
        seem = self.digest.below(x, inclusive=inclusive)[1] - float(within.sum())
        part = min(max(seem / float(many.sum()), 0.0), 1.0) if many.any() else 0.0
        return np.asarray(within + many * part)

    def probability_below(self, x: float) -> Estimate:
        if self.count == 0:
            return Estimate(math.nan)
        return self._share(*self.digest.below(x, inclusive=True), x)

    def probability_above(self, x: float) -> Estimate:
        if self.count == 0:
            return Estimate(math.nan)
        least, seem, most = self.digest.below(x, inclusive=True)
        return self._share(self.count - most, self.count - seem, self.count - least, x)

    def _share(self, least: int, seem: float, most: int, x: float) -> Estimate:
        n = self.count
        share = seem / n
        error = self._error_of_share(x, inclusive=True) if self.replicated else math.sqrt(share * (1 - share) / n)
        if error is None:
            return Estimate(share)
        return Estimate(share, error, partial(self._share_bounds, error, least / n, most / n))

    def _share_bounds(self, error: float, least: float, most: float, level: float) -> Interval:
        n = self.count
        ends = [
            summary.student_share(share, error, self.degrees, n, level)
            if self.replicated
            else summary.wilson(n, share, 0.0, summary.critical_value(math.inf, level))
            for share in (least, most)
        ]
        return ends[0][0], ends[1][1]

    # The tail

    def cvar(self, level: float, tail: Tail) -> Estimate:
        """As `summary.cvar`; the bin on the boundary is taken as evenly filled, and the interval holds what it may be."""
        summary.check_tail(level, tail)
        if level == 0 or self.count == 0:
            return self.mean()
        sign = 1.0 if tail == "lower" else -1.0
        value, slack, error = self._lower_tail(1 - level, sign)
        if error is None or not math.isfinite(error):
            return Estimate(value)
        return summary.bounded(value, error, self.degrees, partial(_widened, slack))

    def _lower_tail(self, share: float, sign: float) -> tuple[float, float, float | None]:
        """The mean of the smallest `share` (of the largest, where sign is −1), how far it may be off, and its standard error."""
        weight = share * self.count
        rank = min(int(weight), self.count - 1)
        boundary = self.ordered[rank if sign > 0 else self.count - 1 - rank]
        inside = self._within_bin(boundary, sign) if rank > len(self.digest.lowest) else None
        first, second = self._known(boundary, sign) if inside is None else self._beyond(boundary, sign) + inside.sums
        error = None if weight < summary.SMALLEST_TAIL else self._error_of_tail(boundary, sign, first, second)
        value = boundary - sign * self._in_values(first / weight)
        slack = 0.0 if inside is None else self._in_values(inside.count / weight * inside.width)
        return value, slack, None if error is None else self._in_values(error / share)

    def _in_values(self, distance: float) -> float:
        return summary.rescaled(distance, self.digest.bins.exponent)

    def _in_bins(self, value: float) -> float:
        """Its distance from the center of the bins, in their units."""
        bins, unit = self.digest.bins, math.ldexp(1.0, -self.digest.bins.exponent)
        return value * unit - bins.center * unit

    def _known(self, boundary: float, sign: float) -> Array:
        """Σ (boundary − x) and Σ (boundary − x)² of all beyond the boundary, where they are among the extremes."""
        unit = math.ldexp(1.0, -self.digest.bins.exponent)
        extremes = self.digest.lowest if sign > 0 else self.digest.highest
        shortfall = np.maximum(sign * (boundary * unit - extremes * unit), 0.0)
        return np.array([np.sum(shortfall), np.sum(np.square(shortfall))])

    def _holder(self, boundary: float) -> int:
        """The bin that holds the boundary."""
        edges = self.digest.bins.edges
        place = int(np.searchsorted(edges, boundary))
        return 2 * place + int(place < len(edges) and edges[place] == boundary)

    def _bins_beyond(self, boundary: float, sign: float) -> slice:
        holder = self._holder(boundary)
        return slice(0, holder) if sign > 0 else slice(holder + 1, None)

    def _beyond(self, boundary: float, sign: float) -> Array:
        """As `_known`, of the bins wholly beyond the boundary."""
        beyond, distance = self._bins_beyond(boundary, sign), self._in_bins(boundary)
        counts, sums = self.digest.counts[:, beyond].sum(axis=0), self.digest.sums[:, beyond].sum(axis=0)
        squares = distance * distance * counts - 2 * distance * sums + self.digest.squares[beyond]
        return np.array([sign * np.sum(counts * distance - sums), np.sum(squares)])

    def _within_bin(self, boundary: float, sign: float) -> Inside:
        """What of the bin of the boundary lies beyond it: as if evenly filled, but for the extremes, which are known."""
        holder, counts = self._holder(boundary), self.digest.counts.sum(axis=0)
        low, high = (self._in_bins(float(ends[holder])) for ends in self.digest._between)
        count, known = float(counts[holder]), np.zeros(2)
        if holder == (0 if sign > 0 else self.digest.bins.size - 1):
            extremes = self.digest.lowest if sign > 0 else self.digest.highest
            count, known = count - len(extremes), self._known(boundary, sign)
            low, high = (self._in_bins(float(extremes[-1])), high) if sign > 0 else (low, self._in_bins(float(extremes[0])))
        reach = abs(self._in_bins(boundary) - (low if sign > 0 else high))
        many = count * reach / (high - low) if high > low else 0.0
        return Inside(count, high - low, known + np.array([many * reach / 2, many * reach * reach / 3]))

    def _error_of_tail(self, boundary: float, sign: float, first: float, second: float) -> float | None:
        """Of the mean of max(boundary − x, 0), in units of the bins; of replicates as far as bins tell."""
        n = self.count
        if not self.replicated:
            return math.sqrt(max(second / n - (first / n) ** 2, 0.0) / (n - 1)) if n > 1 else None
        beyond = self._bins_beyond(boundary, sign)
        totals = np.sum(self.digest.counts[:, beyond] * self._in_bins(boundary) - self.digest.sums[:, beyond], axis=1)
        return self._error_of_groups(totals - self._sizes * (totals.sum() / n)) if totals.any() else None

    # Pictures

    def histogram(self, bins: int | Literal["auto"] = "auto") -> tuple[Counts, Array]:
        """As `summary.histogram`: a bin of the digest that an edge cuts is taken as evenly filled."""
        if self.count == 0:
            raise summary.no_histogram()
        edges = summary.edges_of(self.ordered, bins, self._is_whole)
        return self._counts_between(edges), edges

    def _counts_between(self, edges: Array) -> Counts:
        inner = [round(self.digest.below(float(edge), inclusive=False)[1]) for edge in edges[1:-1]]
        bounds: Counts = np.array([0, *inner, self.count], np.int64)
        return bounds[1:] - bounds[:-1]

    def shape(self, bins: int) -> tuple[int, ...]:
        """A small histogram of all but the outer 0.5 % on either side."""
        cut = self.count // 200
        low, high = self.ordered[cut], self.ordered[self.count - 1 - cut]
        edges = summary.even_edges(np.array([low, high]), bins)
        inner = [round(self.digest.below(float(edge), inclusive=False)[1]) for edge in edges[1:-1]]
        return tuple(np.maximum(np.diff(inner, prepend=cut, append=self.count - cut), 0).tolist())

    @property
    def _is_whole(self) -> bool:
        """Whether all values are edges, or extremes, that are whole numbers, as far as they are known one by one."""
        edges = self.digest.bins.edges
        known = np.concatenate([edges, self.digest.lowest, self.digest.highest])
        between = self.digest.counts.sum(axis=0)[0::2]
        inner = between[1:-1].sum() if len(edges) else between.sum()
        outer = self.count == len(self.digest.lowest) or (inner == 0 and between[[0, -1]].max() <= EXTREMES)
        return bool(outer and np.array_equal(known, np.floor(known)))


def _widened(slack: float, value: float, error: float, reach: float) -> Interval:
    return value - reach * error - slack, value + reach * error + slack
