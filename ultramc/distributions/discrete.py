"""Laws of separate values: given ones, and the counts of trials, successes and events.

Sources: the NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.6 (https://www.itl.nist.gov/div898/handbook),
and, where a class says so, Wikipedia. Each class names its SciPy counterpart.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import final

import numpy as np
from attrs import frozen

from ultramc.distributions.law import (
    PROBABILITY_TOLERANCE,
    Distribution,
    Emit,
    FloatArray,
    Operand,
    Restated,
    Rules,
    WithMoments,
    accumulated,
    as_table,
    finite,
    numbers_of,
    ratio,
    text_of,
    total_of,
)
from ultramc.errors import InputError

LARGEST_WHOLE = 2.0**52
MOST_ENTRIES = 1_000_000  # of a table
NEGLIGIBLE = 42.0  # -ln of the probability that a table leaves out on either side, 2^-60


@frozen(repr=False)
class Tabulated(Distribution):
    """A law by the table of its values and their probabilities."""

    discrete = True

    @property
    @abstractmethod
    def _atoms(self) -> tuple[FloatArray, FloatArray]:
        """The values that can occur, ascending, and their probabilities."""

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        values, masses = self._atoms
        return emit("gather", emit("search", u, as_table(accumulated(masses))), as_table(values))

    def scaled(self, factor: float) -> Distribution:
        number, (values, masses) = finite(factor, "factor"), self._atoms
        return Discrete((number * values).tolist(), weights=masses.tolist())

    @property
    def skewness(self) -> float:
        return ratio(self._central_moment(3), self.variance * self.std)

    @property
    def kurtosis(self) -> float:
        return ratio(self._central_moment(4), self.variance * self.variance) - 3

    def _central_moment(self, order: int) -> float:
        values, masses = self._atoms
        with np.errstate(over="ignore"):
            return float(np.sum(masses * (values - self.mean) ** order))

    def _cumulative(self, x: FloatArray) -> FloatArray:
        values, masses = self._atoms
        return np.concatenate(([0.0], accumulated(masses)))[np.searchsorted(values, x, side="right")]

    def _density(self, x: FloatArray) -> FloatArray:
        values, masses = self._atoms
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

    def scaled(self, factor: float) -> Distribution:
        number = finite(factor, "factor")
        return Discrete([number * value for value in self.values], self.probabilities)

    @property
    def _atoms(self) -> tuple[FloatArray, FloatArray]:
        """The values that can occur, ascending, and their probabilities."""
        values, position = np.unique(self.values, return_inverse=True)
        masses = np.bincount(position, weights=self.probabilities)
        possible = masses > 0
        return values[possible], masses[possible] / total_of(masses)

    @property
    def support(self) -> tuple[float, float]:
        values, _ = self._atoms
        return float(values[0]), float(values[-1])

    @property
    def mean(self) -> float:
        values, masses = self._atoms
        return float(np.sum(masses * values))

    @property
    def variance(self) -> float:
        return self._central_moment(2)


@final
@frozen(repr=False)
class Bernoulli(Distribution):
    """1 with probability p, else 0; 0 ≤ p ≤ 1. https://en.wikipedia.org/wiki/Bernoulli_distribution; ``scipy.stats.bernoulli(p)``."""

    discrete = True

    p: float

    def _rules(self) -> Rules:
        yield _probability(self.p)

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        return emit("select", emit("less_equal", u, 1 - self.p), 0.0, 1.0)

    def scaled(self, factor: float) -> Distribution:
        return Discrete([0.0, 1.0], [1 - self.p, self.p]).scaled(factor)

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

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return np.select([x < 0, x < 1], [0.0, 1 - self.p], 1.0)

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

    @property
    def _law(self) -> Discrete:
        return Discrete(self.values, weights=[1.0] * len(self.values))


@final
@frozen(repr=False)
class IntUniform(WithMoments):
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

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        rank = emit("ceil", emit("mul", self._count, u))
        return emit("add", self.minimum, emit("max", 0.0, emit("sub", rank, 1.0)))

    def scaled(self, factor: float) -> Distribution:
        if self._count > MOST_ENTRIES:
            raise InputError(f"{self!r} has too many values to be scaled, more than {MOST_ENTRIES:,}; scale Uniform instead")
        return DiscreteUniform((finite(factor, "factor") * np.arange(self.minimum, self.maximum + 1)).tolist())

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

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return np.clip((np.floor(x) - self.minimum + 1) / self._count, 0.0, 1.0)

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

    @property
    def _ends(self) -> tuple[float, float]:
        reach = math.sqrt(2 * self.variance * NEGLIGIBLE) + self._reach * NEGLIGIBLE
        return max(self.support[0], np.floor(self.mean - reach)), min(self.support[1], np.ceil(self.mean + reach))

    def _range_rules(self) -> Rules:
        first, last = self._ends
        advice = f"its table would have more than {MOST_ENTRIES:,} values; Normal or Gamma with the same mean and std is as good"
        yield last - first < MOST_ENTRIES and last <= LARGEST_WHOLE, advice
        yield from Distribution._range_rules(self)

    @property
    def _atoms(self) -> tuple[FloatArray, FloatArray]:
        first, last = self._ends
        middle = min(max(float(np.floor(self.mean)), first), last)
        down = np.cumprod(1 / self._quotient(np.arange(middle - 1, first - 1, -1)))
        up = np.cumprod(self._quotient(np.arange(middle, last)))
        masses = np.concatenate((down[::-1], [1.0], up))
        return np.arange(first, last + 1), masses / total_of(masses)


@final
@frozen(repr=False)
class Binomial(Counted):
    """How many of n independent trials succeed, each with probability p; 0 ≤ p ≤ 1. NIST 1.3.6.6.18; ``scipy.stats.binom(n, p)``."""

    n: float
    p: float

    def _rules(self) -> Rules:
        yield _is_count(self.n) and self.n > 0, "n, the number of trials, must be a whole number from 1 to 2^52"
        yield _probability(self.p)

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
