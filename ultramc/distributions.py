"""Distributions: parameters, and a quantile function written once in the primitives of `ops`.

Every draw is ``quantile(u)`` of a uniform u from `sampling`, an odd multiple of 2^-53 in (0, 1); so 1 - u is exact, and
both tails keep their full precision. The quantile of a discrete distribution is the smallest value whose cdf is ≥ u.

Sources: the NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.6 (https://www.itl.nist.gov/div898/handbook),
and, where a class says so, Wikipedia. Each class names its SciPy counterpart.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import inspect
import math
import numbers
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import chain
from typing import Any, ClassVar, Protocol, final

import numpy as np
import numpy.typing as npt
from attrs import fields, frozen

from ultramc.errors import InputError
from ultramc.sampling import LARGEST_UNIFORM, SMALLEST_UNIFORM
from ultramc.values import ExcelError, Scalar

FloatArray = npt.NDArray[np.float64]
Operand = Any  # a number, an array with the five axes of `ops`, or a reference into a program
Rules = Iterable[tuple[bool, str]]  # what must hold, and the advice where it does not

PROBABILITY_TOLERANCE = 1e-9
LONGEST_TEXT = 10_000  # characters that `parse_distribution` reads

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200
_shown = _short.repr


class Emit(Protocol):
    """Takes the name of an op and its operands: computes it at once, or appends it to a program."""

    def __call__(self, op: str, /, *operands: Operand, **attributes: Any) -> Operand: ...


@frozen(repr=False)
class Distribution(ABC):
    """A law that an uncertain cell follows. The kurtosis is in excess of the normal distribution's.

    Constructors raise `InputError` for parameters that are no finite numbers, that contradict each other, or whose
    draws would leave the range of float64.
    """

    discrete: ClassVar[bool] = False

    def __attrs_post_init__(self) -> None:
        for parameter in fields(type(self)):
            if parameter.type == "float":
                self._make_float(parameter.name)
        for holds, advice in chain(self._rules(), self._range_rules()):
            if not holds:
                raise InputError(f"{self!r}: {advice}")

    def _make_float(self, name: str) -> None:
        number = _finite(getattr(self, name), f"{type(self).__name__}: {name}")
        object.__setattr__(self, name, number)  # the way round `frozen` that attrs documents

    def __repr__(self) -> str:
        parameters = (f"{parameter.name}={_text(getattr(self, parameter.name))}" for parameter in fields(type(self)))
        return f"{type(self).__name__}({', '.join(parameters)})"

    @abstractmethod
    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        """The value at probability u in (0, 1), in ops. Tables are float64 arrays (1, 1, entries, 1, 1)."""

    @property
    @abstractmethod
    def support(self) -> tuple[float, float]:
        """The smallest and the largest value that the law allows, ±inf where there is none."""

    @property
    @abstractmethod
    def mean(self) -> float: ...

    @property
    @abstractmethod
    def variance(self) -> float: ...

    @property
    @abstractmethod
    def skewness(self) -> float: ...

    @property
    @abstractmethod
    def kurtosis(self) -> float: ...

    @abstractmethod
    def _rules(self) -> Rules: ...

    @abstractmethod
    def _cumulative(self, x: FloatArray) -> FloatArray: ...

    @abstractmethod
    def _density(self, x: FloatArray) -> FloatArray: ...

    @property
    def std(self) -> float:
        return math.sqrt(self.variance)

    @property
    def bounds(self) -> tuple[float, float]:
        """The quantiles at 2^-53 and 1 - 2^-53, the smallest and the largest uniform: no draw lies outside."""
        least, largest = self.quantile([SMALLEST_UNIFORM, LARGEST_UNIFORM])
        return float(least), float(largest)

    def quantile(self, u: npt.ArrayLike) -> FloatArray:
        """The value that is not exceeded with probability u, in the shape of u. Raises `InputError` where not 0 ≤ u ≤ 1."""
        from ultramc.engines.array import evaluate

        probability = np.asarray(u, dtype=np.float64)
        if not ((probability >= 0) & (probability <= 1)).all():
            raise InputError(f"{self!r}.quantile: probabilities lie between 0 and 1, and {_shown(u)} does not (5 % is 0.05)")
        lanes = probability.reshape(1, 1, 1, 1, probability.size)
        return _shaped(self.emit_quantile(evaluate, lanes), probability)

    def cdf(self, x: npt.ArrayLike) -> FloatArray:
        """P(X ≤ x), in the shape of x; NaN where x is."""
        return self._pointwise(self._cumulative, x)

    def pdf(self, x: npt.ArrayLike) -> FloatArray:
        """The density at x, in the shape of x. Raises `InputError` for a discrete distribution, which has a `pmf`."""
        if self.discrete:
            raise InputError(f"{self!r} is discrete and has no density; use pmf")
        return self._pointwise(self._density, x)

    def pmf(self, x: npt.ArrayLike) -> FloatArray:
        """P(X = x), in the shape of x. Raises `InputError` for a continuous distribution, which has a `pdf`."""
        if not self.discrete:
            raise InputError(f"{self!r} is continuous, each single value has probability 0; use pdf")
        return self._pointwise(self._density, x)

    def times_base(self) -> TimesBase:
        """The same law for the ratio to the value that the cell was saved with."""
        return TimesBase(self)

    def scaled(self, factor: float) -> Distribution:
        """The law of factor · X. Raises `InputError` for a factor that is not finite, and for 0 if the law is continuous."""
        return Scaled(self, factor)

    def _range_rules(self) -> Rules:
        drawn = all(map(math.isfinite, self.bounds))
        yield drawn, "its draws leave the range of float64 (±1.8e308); use parameters of a smaller size"

    def _pointwise(self, function: Callable[[FloatArray], FloatArray], x: npt.ArrayLike) -> FloatArray:
        points = np.asarray(x, dtype=np.float64)
        with np.errstate(all="ignore"):
            return _shaped(np.where(np.isnan(points), np.nan, function(points)), points)


def _finite(value: object, what: str) -> float:
    """A float, or an `InputError` that says what it should have been."""
    number = math.nan
    if not isinstance(value, bool) and isinstance(value, numbers.Real):
        with contextlib.suppress(OverflowError):
            number = float(value) + 0.0  # -0 becomes 0, the only zero that Excel knows
    if not math.isfinite(number):
        raise InputError(f"{what} must be a finite number, not {_shown(value)}")
    return number


def _text(value: object) -> str:
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if not isinstance(value, tuple):
        return repr(value)
    shown = [*map(_text, value)] if len(value) <= 12 else [*map(_text, value[:10]), f"… {len(value) - 10} more"]
    return f"[{', '.join(shown)}]"


def _shaped(values: FloatArray, like: FloatArray) -> FloatArray:
    # Indexing with () turns a result without axes into a NumPy number, as ufuncs do.
    return values.reshape(like.shape)[()]


def _normal_cdf(z: FloatArray) -> FloatArray:
    from ultramc.engines.array import evaluate

    return np.asarray(evaluate("normal_cdf", z))


def _normal_pdf(z: FloatArray) -> FloatArray:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


@final
@frozen(repr=False)
class Normal(Distribution):
    """mean + std · z, z the standard normal quantile. std > 0. NIST 1.3.6.6.1; ``scipy.stats.norm(mean, std)``."""

    mean: float
    std: float

    def _rules(self) -> Rules:
        yield self.std > 0, f"std must be above 0; for a value that does not vary give the number {_text(self.mean)}"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        return emit("add", self.mean, emit("mul", self.std, emit("normal_quantile", u)))

    @property
    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    @property
    def variance(self) -> float:
        return self.std * self.std

    @property
    def skewness(self) -> float:
        return 0.0

    @property
    def kurtosis(self) -> float:
        return 0.0

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return _normal_cdf((x - self.mean) / self.std)

    def _density(self, x: FloatArray) -> FloatArray:
        return _normal_pdf((x - self.mean) / self.std) / self.std


@final
@frozen(repr=False)
class LogNormal(Distribution):
    """exp(mu + sigma · z), by the *arithmetic* mean and standard deviation of the variable itself, both above 0.

    sigma² = ln(1 + (std / mean)²) and mu = ln(mean) - sigma² / 2; the median is exp(mu).
    NIST 1.3.6.6.9, parameters as in https://en.wikipedia.org/wiki/Log-normal_distribution#Arithmetic_moments;
    ``scipy.stats.lognorm(sigma, scale=exp(mu))``.
    """

    mean: float
    std: float

    def _rules(self) -> Rules:
        yield (
            self.mean > 0,
            "mean must be above 0: mean and std are those of the variable itself; from mu and sigma of its logarithm, "
            "mean = exp(mu + sigma²/2) and std = mean·sqrt(exp(sigma²) - 1)",
        )
        yield self.std > 0, f"std must be above 0; for a value that does not vary give the number {_text(self.mean)}"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        return emit("exp", emit("add", self.mu, emit("mul", self.sigma, emit("normal_quantile", u))))

    @property
    def mu(self) -> float:
        """The mean of the logarithm."""
        return math.log(self.mean) - 0.5 * self.sigma**2

    @property
    def sigma(self) -> float:
        """The standard deviation of the logarithm."""
        return math.sqrt(math.log1p(self._squared_variation))

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    def variance(self) -> float:
        return self.std * self.std

    @property
    def skewness(self) -> float:
        return (self._squared_variation + 3) * self.std / self.mean

    @property
    def kurtosis(self) -> float:
        # w⁴ + 2w³ + 3w² - 6 with w = exp(sigma²) = 1 + t, expanded: nothing cancels when t is small
        t = self._squared_variation
        return t * (16 + t * (15 + t * (6 + t)))

    @property
    def _squared_variation(self) -> float:
        ratio = self.std / self.mean
        return ratio * ratio

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return np.where(x > 0, _normal_cdf((np.log(x) - self.mu) / self.sigma), 0.0)

    def _density(self, x: FloatArray) -> FloatArray:
        return np.where(x > 0, _normal_pdf((np.log(x) - self.mu) / self.sigma) / (x * self.sigma), 0.0)


@final
@frozen(repr=False)
class Triangular(Distribution):
    """minimum ≤ mode ≤ maximum, minimum < maximum; the density rises to the mode and falls in straight lines.

    With w = maximum - minimum and p = (mode - minimum) / w the quantile is minimum + w·sqrt(u·p) up to u = p, and
    maximum - w·sqrt((1 - u)·(1 - p)) beyond. https://en.wikipedia.org/wiki/Triangular_distribution;
    ``scipy.stats.triang(p, minimum, w)``.
    """

    minimum: float
    mode: float
    maximum: float

    def _rules(self) -> Rules:
        least, middle, largest = map(_text, sorted((self.minimum, self.mode, self.maximum)))
        ordered = self.minimum <= self.mode <= self.maximum
        yield ordered, f"mode must lie between minimum and maximum; did you mean Triangular({least}, {middle}, {largest})?"
        yield self.minimum < self.maximum, f"minimum and maximum are equal; for a value that does not vary give the number {least}"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        rise = emit("sqrt", emit("mul", u, self._rising))
        fall = emit("sqrt", emit("mul", emit("sub", 1.0, u), self._falling))
        # Rounding could carry either side over the mode: held there, the quantile is monotone and inside its ends.
        lower = emit("min", self.mode, emit("add", self.minimum, emit("mul", self._width, rise)))
        upper = emit("max", self.mode, emit("sub", self.maximum, emit("mul", self._width, fall)))
        return emit("select", emit("less_equal", u, self._rising), lower, upper)

    @property
    def _width(self) -> float:
        return self.maximum - self.minimum

    @property
    def _rising(self) -> float:
        return (self.mode - self.minimum) / self._width

    @property
    def _falling(self) -> float:
        return (self.maximum - self.mode) / self._width

    @property
    def support(self) -> tuple[float, float]:
        return self.minimum, self.maximum

    @property
    def mean(self) -> float:
        return (self.minimum + self.mode + self.maximum) / 3

    @property
    def variance(self) -> float:
        return self._width * self._width * self._spread / 18

    @property
    def _spread(self) -> float:
        return 1 - self._rising * self._falling

    @property
    def skewness(self) -> float:
        p, q = self._rising, self._falling
        return math.sqrt(2) * (q - p) * (1 + p) * (1 + q) / (5 * self._spread * math.sqrt(self._spread))

    @property
    def kurtosis(self) -> float:
        return -0.6

    def _cumulative(self, x: FloatArray) -> FloatArray:
        left = (x - self.minimum) / self._width
        right = (self.maximum - x) / self._width
        sides = [left <= 0, right <= 0, x < self.mode]
        return np.select(sides, [0.0, 1.0, left * left / self._rising], 1 - right * right / self._falling)

    def _density(self, x: FloatArray) -> FloatArray:
        left = (x - self.minimum) / (self.mode - self.minimum)
        right = (self.maximum - x) / (self.maximum - self.mode)
        height = np.select([x == self.mode, x < self.mode], [1.0, left], right)
        return 2 / self._width * np.where(height > 0, height, 0.0)


@final
@frozen(repr=False)
class Uniform(Distribution):
    """minimum + (maximum - minimum) · u, minimum < maximum. NIST 1.3.6.6.2; ``scipy.stats.uniform(minimum, maximum - minimum)``."""

    minimum: float
    maximum: float

    def _rules(self) -> Rules:
        least, largest = map(_text, sorted((self.minimum, self.maximum)))
        yield self.minimum != self.maximum, f"minimum and maximum are equal; for a value that does not vary give the number {least}"
        yield self.minimum < self.maximum, f"minimum is above maximum; did you mean Uniform({least}, {largest})?"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        return emit("add", self.minimum, emit("mul", self._width, u))

    @property
    def _width(self) -> float:
        return self.maximum - self.minimum

    @property
    def support(self) -> tuple[float, float]:
        return self.minimum, self.maximum

    @property
    def mean(self) -> float:
        return self.minimum + self._width / 2

    @property
    def variance(self) -> float:
        return self._width * self._width / 12

    @property
    def skewness(self) -> float:
        return 0.0

    @property
    def kurtosis(self) -> float:
        return -1.2

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return np.clip((x - self.minimum) / self._width, 0.0, 1.0)

    def _density(self, x: FloatArray) -> FloatArray:
        return np.where((self.minimum <= x) & (x <= self.maximum), 1 / self._width, 0.0)


@final
@frozen(repr=False)
class Exponential(Distribution):
    """-mean · ln(1 - u), mean > 0: the waiting time at a rate of 1 / mean. NIST 1.3.6.6.7; ``scipy.stats.expon(scale=mean)``."""

    mean: float

    def _rules(self) -> Rules:
        yield self.mean > 0, "mean must be above 0; at a rate r per unit of time it is 1/r"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        return emit("mul", -self.mean, emit("log1p", emit("neg", u)))

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    def variance(self) -> float:
        return self.mean * self.mean

    @property
    def skewness(self) -> float:
        return 2.0

    @property
    def kurtosis(self) -> float:
        return 6.0

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return -np.expm1(-np.maximum(x, 0.0) / self.mean)

    def _density(self, x: FloatArray) -> FloatArray:
        return np.where(x >= 0, np.exp(-x / self.mean) / self.mean, 0.0)


@final
@frozen(repr=False)
class Weibull(Distribution):
    """scale · (-ln(1 - u))^(1 / shape), shape and scale above 0. NIST 1.3.6.6.8; ``scipy.stats.weibull_min(shape, scale=scale)``."""

    shape: float
    scale: float

    def _rules(self) -> Rules:
        yield self.shape > 0, "shape must be above 0; 1 gives an exponential distribution"
        yield self.scale > 0, "scale must be above 0; 63.2 % of the values lie below it"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        hazard = emit("neg", emit("log1p", emit("neg", u)))
        return emit("mul", self.scale, emit("power", hazard, 1 / self.shape))

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    def mean(self) -> float:
        return self.scale * self._moment(1)

    @property
    def variance(self) -> float:
        return self.scale * self.scale * self._unit_variance

    @property
    def skewness(self) -> float:
        first, third, variance = self._moment(1), self._moment(3), self._unit_variance
        return (third - 3 * first * variance - first * first * first) / (variance * math.sqrt(variance))

    @property
    def kurtosis(self) -> float:
        first, third, fourth, variance = self._moment(1), self._moment(3), self._moment(4), self._unit_variance
        square = first * first
        return (fourth - 4 * first * third + 6 * square * variance + 3 * square * square) / (variance * variance) - 3

    @property
    def _unit_variance(self) -> float:
        first, second = self._moment(1), self._moment(2)
        return second - first * first if math.isfinite(second) else math.inf

    def _moment(self, order: int) -> float:
        """About 0, for scale 1."""
        try:
            return math.gamma(1 + order / self.shape)
        except OverflowError:
            return math.inf

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return -np.expm1(-((np.maximum(x, 0.0) / self.scale) ** self.shape))

    def _density(self, x: FloatArray) -> FloatArray:
        z = np.maximum(x, 0.0) / self.scale
        return np.where(x >= 0, self.shape / self.scale * z ** (self.shape - 1) * np.exp(-(z**self.shape)), 0.0)


@final
@frozen(repr=False, init=False)
class Discrete(Distribution):
    """Given values with given probabilities, in any order; a value that occurs twice has the sum of its probabilities.

    The probabilities must add up to 1 within 1e-9; `weights`, given instead, are divided by their sum.
    ``scipy.stats.rv_discrete(values=(values, probabilities))``, but for values that need not be whole.
    """

    discrete = True

    values: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __init__(
        self, values: Iterable[float], probabilities: Iterable[float] | None = None, *, weights: Iterable[float] | None = None
    ) -> None:
        self.__attrs_init__(_numbers("values", values), _probabilities(probabilities, weights))

    def _rules(self) -> Rules:
        given, likely, total = len(self.values), len(self.probabilities), _total(self.probabilities)
        yield given > 0, "it needs at least one value"
        yield given == likely, f"{given} values and {likely} probabilities; each value needs one"
        yield min(self.probabilities) >= 0, "no probability or weight may be below 0"
        yield abs(total - 1) <= PROBABILITY_TOLERANCE, f"probabilities add up to {total:.12g}, not 1; weights=[…] need not"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        values, masses = self._atoms
        return emit("gather", emit("search", u, _as_table(_accumulated(masses))), _as_table(values))

    def scaled(self, factor: float) -> Distribution:
        number = _finite(factor, "factor")
        return Discrete([number * value for value in self.values], self.probabilities)

    @property
    def _atoms(self) -> tuple[FloatArray, FloatArray]:
        """The values that can occur, ascending, and their probabilities."""
        values, position = np.unique(self.values, return_inverse=True)
        masses = np.bincount(position, weights=self.probabilities)
        possible = masses > 0
        return values[possible], masses[possible] / _total(masses)

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

    @property
    def skewness(self) -> float:
        return _ratio(self._central_moment(3), self.variance * self.std)

    @property
    def kurtosis(self) -> float:
        return _ratio(self._central_moment(4), self.variance * self.variance) - 3

    def _central_moment(self, order: int) -> float:
        values, masses = self._atoms
        with np.errstate(over="ignore"):
            return float(np.sum(masses * (values - self.mean) ** order))

    def _cumulative(self, x: FloatArray) -> FloatArray:
        values, masses = self._atoms
        return np.concatenate(([0.0], _accumulated(masses)))[np.searchsorted(values, x, side="right")]

    def _density(self, x: FloatArray) -> FloatArray:
        values, masses = self._atoms
        nearest = np.minimum(np.searchsorted(values, x), len(values) - 1)
        return np.where(values[nearest] == x, masses[nearest], 0.0)


@final
@frozen(repr=False)
class Bernoulli(Distribution):
    """1 with probability p, else 0; 0 ≤ p ≤ 1. https://en.wikipedia.org/wiki/Bernoulli_distribution; ``scipy.stats.bernoulli(p)``."""

    discrete = True

    p: float

    def _rules(self) -> Rules:
        advice = f"; {_text(self.p)} % is p={_text(self.p / 100)}" if 1 < self.p <= 100 else ""
        yield 0 <= self.p <= 1, f"p is a probability, between 0 and 1{advice}"

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
        return _ratio(1 - 2 * self.p, self.std)

    @property
    def kurtosis(self) -> float:
        return _ratio(1 - 6 * self.variance, self.variance)

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return np.select([x < 0, x < 1], [0.0, 1 - self.p], 1.0)

    def _density(self, x: FloatArray) -> FloatArray:
        return np.select([x == 0, x == 1], [1 - self.p, self.p], 0.0)


@final
@frozen(repr=False)
class Scaled(Distribution):
    """factor · X of a continuous X; below 0 the factor turns the law round, so that the quantile still rises with u."""

    distribution: Distribution
    factor: float

    def _rules(self) -> Rules:
        yield self.factor != 0, "the factor must not be 0; for a value that does not vary give the number 0"
        yield not self.distribution.discrete, "the law is discrete; use its scaled(factor)"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        probability = u if self.factor > 0 else emit("sub", 1.0, u)
        return emit("mul", self.factor, self.distribution.emit_quantile(emit, probability))

    @property
    def support(self) -> tuple[float, float]:
        least, largest = sorted(self.factor * end for end in self.distribution.support)
        return least, largest

    @property
    def mean(self) -> float:
        return self.factor * self.distribution.mean

    @property
    def variance(self) -> float:
        return self.factor * self.factor * self.distribution.variance

    @property
    def skewness(self) -> float:
        return math.copysign(1.0, self.factor) * self.distribution.skewness

    @property
    def kurtosis(self) -> float:
        return self.distribution.kurtosis

    def _cumulative(self, x: FloatArray) -> FloatArray:
        below = self.distribution.cdf(x / self.factor)
        return below if self.factor > 0 else 1 - below

    def _density(self, x: FloatArray) -> FloatArray:
        return self.distribution.pdf(x / self.factor) / abs(self.factor)


@final
@frozen(repr=False)
class TimesBase:
    """A distribution of the ratio to a cell's saved value: `resolve` scales it by that value."""

    distribution: Distribution

    def __repr__(self) -> str:
        return f"{self.distribution!r}.times_base()"

    def resolve(self, base: Scalar, cell: str = "the cell") -> Distribution:
        """The law of the cell itself. Raises `InputError`, naming `cell`, where `base` is not a number or is 0."""
        if isinstance(base, bool) or not isinstance(base, (int, float)) or base == 0:
            raise InputError(f"{cell}: {self!r} scales the saved value, which is {_held(base)}; give the distribution of the value itself")
        try:
            return self.distribution.scaled(base)
        except InputError as problem:
            raise InputError(f"{cell}: {problem}") from None


def _held(value: Scalar) -> str:
    if value is None:
        return "blank"
    return "0" if value == 0 and not isinstance(value, bool) else f"no number: {value if isinstance(value, ExcelError) else _shown(value)}"


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def _accumulated(masses: FloatArray) -> FloatArray:
    """Ends at exactly 1, whatever the rounding, so that every u < 1 finds a value."""
    total = np.minimum(np.cumsum(masses), 1.0)
    total[-1] = 1.0
    return total


def _total(terms: Iterable[float]) -> float:
    """Rounded once, so the same on every machine."""
    try:
        return math.fsum(terms)
    except OverflowError:
        return math.inf


def _as_table(entries: FloatArray) -> FloatArray:
    return entries.reshape(1, 1, -1, 1, 1)


def _numbers(name: str, given: object) -> tuple[float, ...]:
    if isinstance(given, (str, bytes, Set, Mapping)) or not isinstance(given, Iterable):
        raise InputError(f"Discrete: {name} must be a list of numbers, not {_shown(given)}")
    return tuple(_finite(value, f"Discrete: {name}[{index}]") for index, value in enumerate(given))


def _probabilities(probabilities: object, weights: object) -> tuple[float, ...]:
    if (probabilities is None) == (weights is None):
        raise InputError("Discrete: give probabilities, which add up to 1, or weights=[…], which need not (all 1: equally likely)")
    return _numbers("probabilities", probabilities) if weights is None else _normalised(_numbers("weights", weights))


def _normalised(weights: Sequence[float]) -> tuple[float, ...]:
    total = _total(weights)
    if not 0 < total < math.inf:
        raise InputError(f"Discrete: weights={_text(tuple(weights))} add up to {_text(total)}; at least one must be above 0")
    return tuple(weight / total for weight in weights)


DISTRIBUTIONS: dict[str, Callable[..., Distribution]] = {
    law.__name__: law for law in (Normal, LogNormal, Triangular, Uniform, Exponential, Weibull, Discrete, Bernoulli)
}


def parse_distribution(text: str) -> Distribution | TimesBase | float:
    """``Triangular(1, 2, 3)``, ``Normal(mean=0.03, std=0.01)``, ``Uniform(.9, 1.1).times_base()`` or a plain number.

    Nothing is evaluated: arguments are numbers or lists of numbers. Raises `InputError` for anything else.
    """
    number = _number(text)
    return _from_call(text, _syntax_tree(text)) if number is None else _finite(number, "an input")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _syntax_tree(text: str) -> ast.expr:
    if len(text) > LONGEST_TEXT:
        raise InputError(f"{_shown(text)} has {len(text)} characters, more than {LONGEST_TEXT}; build the distribution in Python")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as problem:
        raise _not_understood(text, f" ({problem.msg})") from None
    except (ValueError, MemoryError, RecursionError):
        raise _not_understood(text) from None


def _from_call(text: str, tree: ast.expr) -> Distribution | TimesBase:
    match tree:
        case ast.Call(func=ast.Attribute(value=inner, attr="times_base"), args=[], keywords=[]):
            return _distribution(text, inner).times_base()
    return _distribution(text, tree)


def _distribution(text: str, tree: ast.expr) -> Distribution:
    match tree:
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
            law = _law(name)
            bound = _bound(text, name, [_literal(text, value) for value in arguments], keywords)
            return law(*bound.args, **bound.kwargs)
    raise _not_understood(text)


def _law(name: str) -> Callable[..., Distribution]:
    if name in DISTRIBUTIONS:
        return DISTRIBUTIONS[name]
    known = {other.lower(): other for other in DISTRIBUTIONS}
    close = [known[match] for match in difflib.get_close_matches(name.lower(), known, n=1)]
    hint = f" did you mean {_signature(close[0])}?" if close else ""
    raise InputError(f"there is no distribution {_shown(name)};{hint} available: {_available()}")


def _bound(text: str, name: str, arguments: list[Any], keywords: list[ast.keyword]) -> inspect.BoundArguments:
    named = {str(keyword.arg): _literal(text, keyword.value) for keyword in keywords}
    try:
        return inspect.signature(DISTRIBUTIONS[name]).bind(*arguments, **named)
    except TypeError as problem:
        raise InputError(f"{_shown(text)}: {problem}; expected {_signature(name)}") from None


def _literal(text: str, tree: ast.expr) -> Any:
    try:
        return ast.literal_eval(tree)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise InputError(f"{_shown(text)}: arguments are numbers or lists of numbers, such as Discrete([1, 2], [0.4, 0.6])") from None


def _not_understood(text: str, reason: str = "") -> InputError:
    return InputError(f"{_shown(text)} is neither a number nor a distribution{reason}; available: {_available()}")


def _available() -> str:
    return ", ".join(map(_signature, DISTRIBUTIONS))


def _signature(name: str) -> str:
    parameters = inspect.signature(DISTRIBUTIONS[name]).parameters.values()
    shown = (each.name if each.default is each.empty else f"{each.name}=…" for each in parameters)
    return f"{name}({', '.join(shown)})"
