"""What every law offers: its quantile in the primitives of `ops`, its functions, its moments, and its scaled variants.

Every draw is ``quantile(u)`` of a uniform u from `sampling`, an odd multiple of 2^-53 in (0, 1); so 1 - u is exact, and
both tails keep their full precision. The quantile of a discrete distribution is the smallest value whose cdf is ≥ u.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Set
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
FAR_OUT = 2.0**-40

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200
shown = _short.repr


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
            if parameter.type in READERS:
                self._read(parameter.name, READERS[parameter.type])
        for holds, advice in chain(self._rules(), self._range_rules()):
            if not holds:
                raise InputError(f"{self!r}: {advice}")

    def _read(self, name: str, reader: Callable[[Any, str], object]) -> None:
        read = reader(getattr(self, name), f"{type(self).__name__}: {name}")
        object.__setattr__(self, name, read)  # the way round `frozen` that attrs documents

    def __repr__(self) -> str:
        parameters = (f"{parameter.name}={text_of(getattr(self, parameter.name))}" for parameter in fields(type(self)))
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
            raise InputError(f"{self!r}.quantile: probabilities lie between 0 and 1, and {shown(u)} does not (5 % is 0.05)")
        lanes = probability.reshape(1, 1, 1, 1, probability.size)
        return shaped(self.emit_quantile(evaluate, lanes), probability)

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
            return shaped(np.where(np.isnan(points), np.nan, function(points)), points)


@frozen(repr=False)
class WithMoments(Distribution):
    """A law whose moments have formulas: mean, variance, skewness and excess kurtosis; inf or NaN where there is none."""

    @property
    @abstractmethod
    def _moments(self) -> tuple[float, float, float, float]: ...

    @property
    def mean(self) -> float:
        return self._moments[0]

    @property
    def variance(self) -> float:
        return self._moments[1]

    @property
    def skewness(self) -> float:
        return self._moments[2]

    @property
    def kurtosis(self) -> float:
        return self._moments[3]


@frozen(repr=False)
class Restated(Distribution):
    """Another law by other parameters."""

    @property
    @abstractmethod
    def _law(self) -> Distribution: ...

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        return self._law.emit_quantile(emit, u)

    def scaled(self, factor: float) -> Distribution:
        return self._law.scaled(factor)

    @property
    def support(self) -> tuple[float, float]:
        return self._law.support

    @property
    def mean(self) -> float:
        return self._law.mean

    @property
    def variance(self) -> float:
        return self._law.variance

    @property
    def skewness(self) -> float:
        return self._law.skewness

    @property
    def kurtosis(self) -> float:
        return self._law.kurtosis

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return np.asarray(self._law.cdf(x))

    def _density(self, x: FloatArray) -> FloatArray:
        return np.asarray(self._law.pmf(x) if self.discrete else self._law.pdf(x))


def finite(value: object, what: str) -> float:
    """A float, or an `InputError` that says what it should have been."""
    number = math.nan
    if not isinstance(value, bool) and isinstance(value, numbers.Real):
        with contextlib.suppress(OverflowError):
            number = float(value) + 0.0  # -0 becomes 0, the only zero that Excel knows
    if not math.isfinite(number):
        raise InputError(f"{what} must be a finite number, not {shown(value)}")
    return number


def text_of(value: object) -> str:
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if not isinstance(value, tuple):
        return repr(value)
    shown = [*map(text_of, value)] if len(value) <= 12 else [*map(text_of, value[:10]), f"… {len(value) - 10} more"]
    return f"[{', '.join(shown)}]"


def shaped(values: FloatArray, like: FloatArray) -> FloatArray:
    # Indexing with () turns a result without axes into a NumPy number, as ufuncs do.
    return values.reshape(like.shape)[()]


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
    return "0" if value == 0 and not isinstance(value, bool) else f"no number: {value if isinstance(value, ExcelError) else shown(value)}"


def ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def total_of(terms: Iterable[float]) -> float:
    """Rounded once, so the same on every machine."""
    try:
        return math.fsum(terms)
    except OverflowError:
        return math.inf


def accumulated(masses: FloatArray) -> FloatArray:
    """Summed from the nearer end: both tails keep their precision, and the last entry is exactly 1."""
    below = np.cumsum(masses)
    above = np.append(np.cumsum(masses[:0:-1])[::-1], 0.0)
    upper = 1 - above
    # Far out, an entry rounded up would claim a good part of what is left of the tail.
    raised = (1 - upper < above) & (above < FAR_OUT)
    return np.maximum.accumulate(np.where(below <= 0.5, below, np.where(raised, np.nextafter(upper, 0.0), upper)))


def as_table(entries: FloatArray) -> FloatArray:
    return entries.reshape(1, 1, -1, 1, 1)


def numbers_of(given: object, what: str) -> tuple[float, ...]:
    if isinstance(given, (str, bytes, Set, Mapping)) or not isinstance(given, Iterable):
        raise InputError(f"{what} must be a list of numbers, not {shown(given)}")
    return tuple(finite(value, f"{what}[{index}]") for index, value in enumerate(given))


READERS: dict[object, Callable[[Any, str], object]] = {"float": finite, "Sequence[float]": numbers_of}  # by the type of a parameter
