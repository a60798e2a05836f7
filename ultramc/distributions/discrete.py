"""Laws of separate values: given ones, and the counts of trials, successes and events.

Sources: the NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.6 (https://www.itl.nist.gov/div898/handbook),
and, where a class says so, Wikipedia. Each class names its SciPy counterpart.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import final

import numpy as np
from attrs import frozen

from ultramc.distributions.counting import LARGEST_WHOLE, NEGLIGIBLE, bracket, last_count, smallest_count
from ultramc.distributions.law import (
    PROBABILITY_TOLERANCE,
    Distribution,
    Explicit,
    FloatArray,
    Restated,
    Rules,
    WithMoments,
    accumulated,
    finite,
    numbers_of,
    ratio,
    text_of,
    total_of,
)
from ultramc.distributions.probability import Probability
from ultramc.engines.array import flat_cells
from ultramc.errors import InputError
from ultramc.program import shape_of
from ultramc.terms import Term, where

MOST_ENTRIES = 1_000_000  # of a table
MOST_SIMULATED = 4_096  # weights of one law


@frozen(repr=False)
class Tabulated(Distribution):
    """A law by the table of its values and their probabilities."""

    discrete = True

    @property
    @abstractmethod
    def atoms(self) -> tuple[FloatArray, FloatArray]:
        """The values that can occur, ascending, and their probabilities."""

    def at(self, p: Probability) -> Term:
        values, masses = self.atoms
        return p.below.op("search", p.lift_table(accumulated(masses))).op("gather", p.lift_table(values))

    def scaled(self, factor: float) -> Distribution:
        number, (values, masses) = finite(factor, "factor"), self.atoms
        return Discrete((number * values).tolist(), weights=masses.tolist())

    @property
    def skewness(self) -> float:
        return ratio(self._central_moment(3), self.variance * self.std)

    @property
    def kurtosis(self) -> float:
        return ratio(self._central_moment(4), self.variance * self.variance) - 3

    def _central_moment(self, order: int) -> float:
        values, masses = self.atoms
        with np.errstate(over="ignore"):
            return float(np.sum(masses * (values - self.mean) ** order))

    def _cumulative(self, x: FloatArray) -> FloatArray:
        values, masses = self.atoms
        return np.concatenate(([0.0], accumulated(masses)))[np.searchsorted(values, x, side="right")]

    def _density(self, x: FloatArray) -> FloatArray:
        values, masses = self.atoms
        nearest = np.minimum(np.searchsorted(values, x), len(values) - 1)
        return np.where(values[nearest] == x, masses[nearest], 0.0)


@final
@frozen(repr=False, init=False)
class Discrete(Tabulated):
    """Given values with given probabilities, in any order; a value that occurs twice has the sum of its probabilities.

    The probabilities must add up to 1 within 1e-9; `weights`, given instead, are divided by their sum.
    ``scipy.stats.rv_discrete(values=(values, probabilities))``, but for values that need not be whole.
    """

    values: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __init__(
        self, values: Iterable[float], probabilities: Iterable[float] | None = None, *, weights: Iterable[float] | None = None
    ) -> None:
        self.__attrs_init__(numbers_of(values, "Discrete: values"), _probabilities(probabilities, weights))

    def _rules(self) -> Rules:
        given, likely, total = len(self.values), len(self.probabilities), total_of(self.probabilities)
        yield given > 0, "it needs at least one value"
        yield given == likely, f"{given} values and {likely} probabilities; each value needs one"
        yield min(self.probabilities) >= 0, "no probability or weight may be below 0"
        yield abs(total - 1) <= PROBABILITY_TOLERANCE, f"probabilities add up to {total:.12g}, not 1; weights=[…] need not"

    @staticmethod
    def quantile_formula(p: Probability, values: Term, weights: Term) -> Term:
        """In the order given, which for simulated values is not that of their size."""
        return (p.below * weights.op("sum")).op("search", _cumulated(weights)).op("gather", values)

    @staticmethod
    def allows(values: Term, weights: Term) -> Term:
        total = weights.op("sum")
        return (weights >= 0).op("all") & (total > 0) & total.op("is_finite")

    def scaled(self, factor: float) -> Distribution:
        number = finite(factor, "factor")
        return Discrete([number * value for value in self.values], self.probabilities)

    @property
    def atoms(self) -> tuple[FloatArray, FloatArray]:
        """The values that can occur, ascending, and their probabilities."""
        values, position = np.unique(self.values, return_inverse=True)
        masses = np.bincount(position, weights=self.probabilities)
        possible = masses > 0
        return values[possible], masses[possible] / total_of(masses)

    @property
    def support(self) -> tuple[float, float]:
        values, _ = self.atoms
        return float(values[0]), float(values[-1])

    @property
    def mean(self) -> float:
        values, masses = self.atoms
        return float(np.sum(masses * values))

    @property
    def variance(self) -> float:
        return self._central_moment(2)


@final
@frozen(repr=False)
class Bernoulli(Explicit):
    """1 with probability p, else 0; 0 ≤ p ≤ 1. https://en.wikipedia.org/wiki/Bernoulli_distribution; ``scipy.stats.bernoulli(p)``."""

    discrete = True

    p: float

    def _rules(self) -> Rules:
        yield _probability(self.p)

    @staticmethod
    def quantile_formula(place: Probability, p: Term) -> Term:
        return where(place.below <= 1 - p, 0.0, 1.0)

    @staticmethod
    def share_formula(x: Term, p: Term) -> Probability:
        return Probability(where(x < 0, 0.0, where(x < 1, 1 - p, 1.0)), where(x < 0, 1.0, where(x < 1, p, 0.0)))

    @staticmethod
    def allows(p: Term) -> Term:
        return (p >= 0) & (p <= 1)

    def scaled(self, factor: float) -> Distribution:
        return Discrete([0.0, 1.0], [1 - self.p, self.p]).scaled(factor)

    @property
    def atoms(self) -> tuple[FloatArray, FloatArray]:
        return np.array([0.0, 1.0]), np.array([1 - self.p, self.p])

    @property
    def support(self) -> tuple[float, float]:
        return float(self.p == 1), float(self.p > 0)

    @property
    def mean(self) -> float:
        return self.p

    @property
    def variance(self) -> float:
        return self.p * (1 - self.p)

    @property
    def skewness(self) -> float:
        return ratio(1 - 2 * self.p, self.std)

    @property
    def kurtosis(self) -> float:
        return ratio(1 - 6 * self.variance, self.variance)

    def _density(self, x: FloatArray) -> FloatArray:
        return np.select([x == 0, x == 1], [1 - self.p, self.p], 0.0)


@final
@frozen(repr=False)
class DiscreteUniform(Restated):
    """Each of the given values equally likely; one that occurs twice, twice as likely. ``scipy.stats.rv_discrete``."""

    discrete = True

    values: Sequence[float]

    def _rules(self) -> Rules:
        yield len(self.values) > 0, "it needs at least one value"

    @staticmethod
    def quantile_formula(p: Probability, values: Term) -> Term:
        """In the order given, which for simulated values is not that of their size."""
        height, width = shape_of(values.operand)[2:]
        return ((height * width * p.below).ceil() - 1).op("gather", values)

    @staticmethod
    def allows(values: Term) -> Term:
        return values.op("is_finite").op("all")

    @property
    def _law(self) -> Discrete:
        return Discrete(self.values, weights=[1.0] * len(self.values))


@final
@frozen(repr=False)
class IntUniform(Explicit, WithMoments):
    """The whole numbers from minimum to maximum, both included, each equally likely. ``scipy.stats.randint(minimum, maximum + 1)``."""

    discrete = True

    minimum: float
    maximum: float

    def _rules(self) -> Rules:
        whole = all(end.is_integer() and abs(end) <= LARGEST_WHOLE for end in (self.minimum, self.maximum))
        yield whole, "minimum and maximum must be whole numbers within ±2^52; Uniform takes any"
        yield self.minimum != self.maximum, f"minimum and maximum are equal; for a value that does not vary give {text_of(self.minimum)}"
        least, largest = map(text_of, sorted((self.minimum, self.maximum)))
        yield self.minimum < self.maximum, f"minimum is above maximum; did you mean IntUniform({least}, {largest})?"

    @staticmethod
    def quantile_formula(p: Probability, minimum: Term, maximum: Term) -> Term:
        rank = ((maximum - minimum + 1) * p.below).ceil()
        return minimum + (rank - 1).most(0.0)

    @staticmethod
    def share_formula(x: Term, minimum: Term, maximum: Term) -> Probability:
        count = maximum - minimum + 1
        below = ((x.floor() - minimum + 1) / count).most(0.0).least(1.0)
        return Probability(below, 1 - below)

    @staticmethod
    def allows(minimum: Term, maximum: Term) -> Term:
        return (minimum <= maximum) & minimum.equals(minimum.floor()) & maximum.equals(maximum.floor())

    @property
    def atoms(self) -> tuple[FloatArray, FloatArray]:
        if self._count > MOST_ENTRIES:
            raise InputError(f"{self!r} has too many values for a table, more than {MOST_ENTRIES:,}; use Uniform instead")
        values = np.arange(self.minimum, self.maximum + 1)
        return values, np.full(len(values), 1 / self._count)

    def scaled(self, factor: float) -> Distribution:
        return DiscreteUniform((finite(factor, "factor") * self.atoms[0]).tolist())

    @property
    def _count(self) -> float:
        return self.maximum - self.minimum + 1

    @property
    def support(self) -> tuple[float, float]:
        return self.minimum, self.maximum

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        square = self._count * self._count
        return self.minimum + (self._count - 1) / 2, (square - 1) / 12, 0.0, -1.2 * (square + 1) / (square - 1)

    def _density(self, x: FloatArray) -> FloatArray:
        inside = (self.minimum <= x) & (x <= self.maximum) & (x == np.floor(x))
        return np.where(inside, 1 / self._count, 0.0)


@frozen(repr=False)
class Counted(Tabulated):
    """A law on whole numbers by the quotients of neighbouring probabilities: their products, from the mean outwards, are the table.

    The table leaves out tails of less than 2^-60 by Bernstein's inequality: beyond sqrt(2 · variance · L) + reach · L from
    the mean lies less than exp(-L). https://en.wikipedia.org/wiki/Bernstein_inequalities_(probability_theory).
    So quantile(0) and quantile(1) are the ends of the table, where the support is wider.
    """

    @abstractmethod
    def _quotient(self, k: FloatArray) -> FloatArray:
        """P(X = k + 1) / P(X = k)."""

    @property
    def _reach(self) -> float:
        return 1.0

    def _ends(self, low: float, high: float) -> tuple[float, float]:
        """Of the table of what lies from low to high: as far from the mean or, where that lies outside, from the nearer end."""
        reach = math.sqrt(2 * self.variance * NEGLIGIBLE) + self._reach * NEGLIGIBLE
        middle = min(max(self.mean, low), high)
        return max(low, float(np.floor(middle - reach))), min(high, float(np.ceil(middle + reach)))

    def _range_rules(self) -> Rules:
        first, last = self._ends(*self.support)
        advice = f"its table would have more than {MOST_ENTRIES:,} values; Normal or Gamma with the same mean and std is as good"
        yield last - first < MOST_ENTRIES and last <= LARGEST_WHOLE, advice
        yield from Distribution._range_rules(self)

    @property
    def atoms(self) -> tuple[FloatArray, FloatArray]:
        values, masses = self.atoms_within(*self.support)
        return values, masses / total_of(masses)

    def atoms_within(self, minimum: float, maximum: float) -> tuple[FloatArray, FloatArray]:
        low, high = max(self.support[0], np.ceil(minimum)), min(self.support[1], np.floor(maximum))
        if low > high:
            return np.zeros(0), np.zeros(0)
        first, last = self._ends(low, high)
        middle = min(max(float(np.floor(self.mean)), first), last)
        down = np.cumprod(1 / self._quotient(np.arange(middle - 1, first - 1, -1)))
        up = np.cumprod(self._quotient(np.arange(middle, last)))
        return np.arange(first, last + 1), np.concatenate((down[::-1], [1.0], up))


@final
@frozen(repr=False)
class Binomial(Counted):
    """How many of n independent trials succeed, each with probability p; 0 ≤ p ≤ 1. NIST 1.3.6.6.18; ``scipy.stats.binom(n, p)``."""

    n: float
    p: float

    def _rules(self) -> Rules:
        yield _is_count(self.n) and self.n > 0, "n, the number of trials, must be a whole number from 1 to 2^52"
        yield _probability(self.p)

    @staticmethod
    def quantile_formula(place: Probability, n: Term, p: Term) -> Term:
        if n.equals(1).verdict:
            return Bernoulli.quantile_formula(place, p)
        mean = n * p
        low, high = bracket(place, mean, mean * (1 - p))
        return smallest_count(place, Binomial.share_formula, (n, p), (low, high.least(n)))

    @staticmethod
    def share_formula(x: Term, n: Term, p: Term) -> Probability:
        """P(X ≤ k) = I(n - k, k + 1, 1 - p), https://dlmf.nist.gov/8.17.E5."""
        k = x.floor()
        shares = Probability((n - k).op("beta_i", k + 1, 1 - p), (k + 1).op("beta_i", n - k, p))
        return _counted(k, shares, last=n)

    @staticmethod
    def allows(n: Term, p: Term) -> Term:
        return (n >= 0) & n.equals(n.floor()) & (n <= LARGEST_WHOLE) & (p >= 0) & (p <= 1)

    def _quotient(self, k: FloatArray) -> FloatArray:
        return (self.n - k) * self.p / ((k + 1) * (1 - self.p))

    @property
    def support(self) -> tuple[float, float]:
        return self.n * float(self.p == 1), self.n * float(self.p > 0)

    @property
    def mean(self) -> float:
        return self.n * self.p

    @property
    def variance(self) -> float:
        return self.n * self.p * (1 - self.p)


@final
@frozen(repr=False)
class Poisson(Counted):
    """How many independent events happen where `mean` > 0 are expected. NIST 1.3.6.6.19; ``scipy.stats.poisson(mean)``."""

    mean: float

    def _rules(self) -> Rules:
        yield self.mean > 0, "mean must be above 0; where nothing can happen give the number 0"

    @staticmethod
    def quantile_formula(p: Probability, mean: Term) -> Term:
        return smallest_count(p, Poisson.share_formula, (mean,), bracket(p, mean, mean))

    @staticmethod
    def share_formula(x: Term, mean: Term) -> Probability:
        """P(X ≤ k) = Q(k + 1, mean), https://dlmf.nist.gov/8.4.E10."""
        k = x.floor()
        return _counted(k, Probability((k + 1).op("gamma_q", mean), (k + 1).op("gamma_p", mean)))

    @staticmethod
    def allows(mean: Term) -> Term:
        return (mean >= 0) & (last_count(mean, mean) <= LARGEST_WHOLE)

    def _quotient(self, k: FloatArray) -> FloatArray:
        return self.mean / (k + 1)

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    def variance(self) -> float:
        return self.mean


@final
@frozen(repr=False)
class NegativeBinomial(Counted):
    """How many trials fail before the success number `successes`, each succeeding with probability p; 0 < p ≤ 1.

    successes is above 0 and need not be whole. https://en.wikipedia.org/wiki/Negative_binomial_distribution;
    ``scipy.stats.nbinom(successes, p)``.
    """

    successes: float
    p: float

    def _rules(self) -> Rules:
        yield self.successes > 0, "successes must be above 0"
        yield _probability(self.p)
        yield self.p > 0, "p must be above 0, else no trial ever succeeds"

    @staticmethod
    def quantile_formula(place: Probability, successes: Term, p: Term) -> Term:
        mean = successes * (1 - p) / p
        return smallest_count(place, NegativeBinomial.share_formula, (successes, p), bracket(place, mean, mean / p, reach=1 / p))

    @staticmethod
    def share_formula(x: Term, successes: Term, p: Term) -> Probability:
        """P(X ≤ k) = I(successes, k + 1, p): https://en.wikipedia.org/wiki/Negative_binomial_distribution."""
        k = x.floor()
        return _counted(k, Probability(successes.op("beta_i", k + 1, p), (k + 1).op("beta_i", successes, 1 - p)))

    @staticmethod
    def allows(successes: Term, p: Term) -> Term:
        mean = successes * (1 - p) / p
        return (successes > 0) & (p > 0) & (p <= 1) & (last_count(mean, mean / p, reach=1 / p) <= LARGEST_WHOLE)

    def _quotient(self, k: FloatArray) -> FloatArray:
        return (k + self.successes) / (k + 1) * (1 - self.p)

    @property
    def _reach(self) -> float:
        return 1 / self.p

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, 0.0 if self.p == 1 else math.inf

    @property
    def mean(self) -> float:
        return self.successes * (1 - self.p) / self.p

    @property
    def variance(self) -> float:
        return self.mean / self.p


@final
@frozen(repr=False)
class Geometric(Restated):
    """How many trials fail before the first success (one less than the trials made), 0 < p ≤ 1: `NegativeBinomial` of 1 success.

    https://en.wikipedia.org/wiki/Geometric_distribution; ``scipy.stats.geom(p, -1)``.
    """

    discrete = True

    p: float

    def _rules(self) -> Rules:
        yield _probability(self.p)
        yield self.p > 0, "p must be above 0, else no trial ever succeeds"

    @staticmethod
    def quantile_formula(place: Probability, p: Term) -> Term:
        return ((place.hazard / -(-p).log1p()).ceil() - 1).most(0.0)

    @staticmethod
    def share_formula(x: Term, p: Term) -> Probability:
        k = x.floor()
        return _counted(k, Probability.of_hazard((k + 1) * -(-p).log1p()))

    @staticmethod
    def allows(p: Term) -> Term:
        return (p > 0) & (p <= 1)

    @property
    def _law(self) -> NegativeBinomial:
        return NegativeBinomial(1.0, self.p)


@final
@frozen(repr=False)
class Hypergeometric(Counted):
    """How many of `draws`, made without putting back, are among the `successes` of a population.

    https://en.wikipedia.org/wiki/Hypergeometric_distribution; ``scipy.stats.hypergeom(population, successes, draws)``.
    """

    draws: float
    successes: float
    population: float

    def _rules(self) -> Rules:
        whole = all(map(_is_count, (self.draws, self.successes, self.population)))
        yield whole and self.population > 0, "draws, successes and population must be whole numbers up to 2^52, population above 0"
        yield self.draws <= self.population, "draws must not exceed the population; with putting back it is Binomial"
        yield self.successes <= self.population, "successes are a part of the population; the order is draws, successes, population"

    def _quotient(self, k: FloatArray) -> FloatArray:
        failures = self.population - self.successes - self.draws + k + 1
        return (self.successes - k) / (k + 1) * ((self.draws - k) / failures)

    @property
    def support(self) -> tuple[float, float]:
        return max(0.0, self.draws + self.successes - self.population), min(self.draws, self.successes)

    @property
    def mean(self) -> float:
        return self.draws * (self.successes / self.population)

    @property
    def variance(self) -> float:
        unlucky, left = self.population - self.successes, self.population - self.draws
        return self.mean * (unlucky / self.population) * (left / max(self.population - 1, 1.0))


def _counted(k: Term, shares: Probability, last: Term | float = math.inf) -> Probability:
    """The shares at a whole number, and what they are below 0 and from the last one on."""
    none, everything = k < 0, k >= last
    below = where(none, 0.0, where(everything, 1.0, shares.below))
    return Probability(below, where(none, 1.0, where(everything, 0.0, shares.above)))


def _cumulated(weights: Term) -> Term:
    """The running sums of an array, row by row, as a column. The last is what the op `sum` makes of it."""
    if isinstance(weights.operand, np.ndarray):
        return Term(weights.host, np.cumsum(flat_cells(weights.operand), axis=2))
    count = math.prod(shape_of(weights.operand)[2:])
    if count > MOST_SIMULATED:
        raise InputError(f"a discrete law of {count:,} simulated weights, more than {MOST_SIMULATED:,}; use fewer, or constant ones")
    first, *others = accumulate(weights.lift(float(place)).op("gather", weights) for place in range(count))
    return first.op("join", *others, size=(count, 1), places=tuple((place, 0) for place in range(count)))


def _is_count(number: float) -> bool:
    return number.is_integer() and 0 <= number <= LARGEST_WHOLE


def _probability(p: float) -> tuple[bool, str]:
    advice = f"; {text_of(p)} % is p={text_of(p / 100)}" if 1 < p <= 100 else ""
    return 0 <= p <= 1, f"p is a probability, between 0 and 1{advice}"


def _probabilities(probabilities: object, weights: object) -> tuple[float, ...]:
    if (probabilities is None) == (weights is None):
        raise InputError("Discrete: give probabilities, which add up to 1, or weights=[…], which need not (all 1: equally likely)")
    return (
        numbers_of(probabilities, "Discrete: probabilities") if weights is None else _normalised(numbers_of(weights, "Discrete: weights"))
    )


def _normalised(weights: Sequence[float]) -> tuple[float, ...]:
    total = total_of(weights)
    if not 0 < total < math.inf:
        raise InputError(f"Discrete: weights={text_of(tuple(weights))} add up to {text_of(total)}; at least one must be above 0")
    return tuple(weight / total for weight in weights)
