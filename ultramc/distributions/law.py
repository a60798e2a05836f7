"""What every law offers: its quantile in the primitives of `ops`, its functions, its moments, and its variants.

Every draw is the quantile at a uniform from `sampling`, between 2^-53 and 1 - 2^-53; quantile formulas take it as a
`Probability`, so that both tails keep their full precision. The quantile of a discrete distribution is the smallest value
whose cdf is ≥ u.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Set
from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import numpy.typing as npt
from attrs import fields, frozen

from ultramc.address import CellRef, RangeRef
from ultramc.distributions.probability import Drawn, Probability
from ultramc.errors import InputError
from ultramc.sampling import LARGEST_UNIFORM, SMALLEST_UNIFORM
from ultramc.terms import NUMBERS, Term
from ultramc.values import ExcelError, Scalar

if TYPE_CHECKING:
    from ultramc.distributions.chebyshev import Pieces

FloatArray = npt.NDArray[np.float64]
Parameter = str | CellRef | RangeRef | float | Iterable[float]
Rules = Iterable[tuple[bool, str]]  # what must hold, and the advice where it does not

PROBABILITY_TOLERANCE = 1e-9
FAR_OUT = 2.0**-40

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200
shown = _short.repr


@frozen(repr=False)
class Distribution(ABC):
    """A law that an uncertain cell follows. The kurtosis is in excess of the normal distribution's.

    Constructors raise `InputError` for parameters that are no finite numbers, that contradict each other, or whose
    draws would leave the range of float64.
    """

    discrete: ClassVar[bool] = False
    quantile_formula: ClassVar[Callable[..., Term] | None] = None  # (p, *parameters): see `Explicit`
    share_formula: ClassVar[Callable[..., Probability] | None] = None
    allows: ClassVar[Callable[..., Term] | None] = None

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
    def at(self, p: Probability) -> Term:
        """The value at a probability as draws have them. Tables are float64 arrays (1, 1, entries, 1, 1)."""

    def exactly_at(self, p: Probability) -> Term:
        """The value at any probability, however small, when it is computed at once (slower, where a law is tabulated)."""
        return self.at(p)

    def locate(self, x: Term) -> Probability:
        """P(X ≤ x) and P(X > x). Raises `InputError` where x varies by iteration and the law has no formula for that."""
        if not isinstance(x.operand, np.ndarray):
            raise InputError(f"{self!r}: limits that are simulated are not supported for this law")
        below = self.cdf(x.operand)
        return Probability(Term(x.host, below), Term(x.host, 1 - below))

    def place(self, x: FloatArray) -> Probability:
        """P(X ≤ x) and P(X > x)."""
        return self.locate(Term(NUMBERS, x))

    def place_before(self, x: FloatArray) -> Probability:
        """P(X < x) and P(X ≥ x): a law through given points may have an atom at x."""
        return self.place(np.asarray(np.nextafter(x, -math.inf)))

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
    def is_approximated(self) -> bool:
        """Whether draws come from a table of polynomials (relative error below 1e-12)."""
        return False

    @property
    def atoms(self) -> tuple[FloatArray, FloatArray]:
        """Of a discrete law: the values that can occur, ascending, and their probabilities."""
        raise InputError(f"{self!r} is continuous, or has too many values for a table")

    def atoms_within(self, minimum: float, maximum: float) -> tuple[FloatArray, FloatArray]:
        """Of a discrete law: its values from minimum to maximum, and numbers in proportion to their probabilities."""
        values, masses = self.atoms
        inside = (minimum <= values) & (values <= maximum)
        return values[inside], masses[inside]

    @property
    def std(self) -> float:
        return math.sqrt(self.variance)

    @property
    def bounds(self) -> tuple[float, float]:
        """The quantiles at 2^-53 and 1 - 2^-53, the smallest and the largest uniform: no draw lies outside."""
        least, largest = self._values(self.exactly_at, np.array([SMALLEST_UNIFORM, LARGEST_UNIFORM]))
        return float(least), float(largest)

    def quantile(self, u: npt.ArrayLike) -> FloatArray:
        """The value that is not exceeded with probability u, in the shape of u. Raises `InputError` where not 0 ≤ u ≤ 1."""
        probability = np.asarray(u, dtype=np.float64)
        if not ((probability >= 0) & (probability <= 1)).all():
            raise InputError(f"{self!r}.quantile: probabilities lie between 0 and 1, and {shown(u)} does not (5 % is 0.05)")
        values = self._values(self.at, probability)
        outside = (probability < SMALLEST_UNIFORM) | (probability > LARGEST_UNIFORM)
        if outside.any():
            values = np.where(outside, self._values(self.exactly_at, probability), values)
        return shaped(values, probability)

    def _values(self, at: Callable[[Probability], Term], u: FloatArray) -> FloatArray:
        lanes = u.reshape(1, 1, 1, 1, u.size)
        return np.broadcast_to(at(Drawn.of(Term(NUMBERS, lanes))).known, lanes.shape).reshape(u.shape)

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

    @classmethod
    def of(cls, *parameters: Parameter) -> ByCells:
        """This law with parameters that are cells, or simulated values in them: ``Normal.of("Plan!B2", 0.1)``.

        A reference stands for the value of a cell in each iteration; a list of numbers, or a reference to a range, for a list.
        """
        return ByCells(cls, tuple(parameters))

    def times_base(self) -> TimesBase:
        """The same law for the ratio to the value that the cell was saved with."""
        return TimesBase(self)

    def scaled(self, factor: float) -> Distribution:
        """The law of factor · X. Raises `InputError` for a factor that is not finite, and for 0 if the law is continuous."""
        return Scaled(self, factor)

    def shifted(self, shift: float) -> Distribution:
        """The law of X + shift. Raises `InputError` for a shift that is not finite."""
        from ultramc.distributions.variants import shifted

        return shifted(self, shift)

    def truncated(self, minimum: float = -math.inf, maximum: float = math.inf) -> Distribution:
        """The law of X, given minimum ≤ X ≤ maximum. Raises `InputError` where that has no probability."""
        from ultramc.distributions.variants import truncated

        return truncated(self, minimum, maximum)

    def truncated_at_quantiles(self, lower: float = 0.0, upper: float = 1.0) -> Distribution:
        """The law of the quantile at lower + (upper - lower) · u. Raises `InputError` unless 0 ≤ lower < upper ≤ 1."""
        from ultramc.distributions.variants import truncated_at_quantiles

        return truncated_at_quantiles(self, lower, upper)

    def _range_rules(self) -> Rules:
        drawn = all(map(math.isfinite, self.bounds))
        yield drawn, "its draws leave the range of float64 (±1.8e308); use parameters of a smaller size"

    def _pointwise(self, function: Callable[[FloatArray], FloatArray], x: npt.ArrayLike) -> FloatArray:
        points = np.asarray(x, dtype=np.float64)
        with np.errstate(all="ignore"):
            return shaped(np.where(np.isnan(points), np.nan, function(points)), points)


@frozen(repr=False)
class Explicit(Distribution):
    """A law by formulas of its parameters, which may then be other simulated values.

    `quantile_formula(p, *parameters)` gives the value, `share_formula(x, *parameters)` where a value lies, `allows(*parameters)`
    the mask of parameters that make sense; a law of one value, such as a normal one with std 0, does there, though its
    constructor wants a number instead.
    """

    quantile_formula: ClassVar[Callable[..., Term]]
    share_formula: ClassVar[Callable[..., Probability]]
    allows: ClassVar[Callable[..., Term]]

    def at(self, p: Probability) -> Term:
        return self.exactly_at(p)

    def exactly_at(self, p: Probability) -> Term:
        return type(self).quantile_formula(p, *self._lifted(p.below))

    def locate(self, x: Term) -> Probability:
        return type(self).share_formula(x, *self._lifted(x))

    def place_before(self, x: FloatArray) -> Probability:
        return super().place_before(x) if self.discrete else self.place(x)

    def _lifted(self, like: Term) -> list[Term]:
        return [like.lift(getattr(self, parameter.name)) for parameter in fields(type(self))]

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return self.place(x).below.known


@frozen(repr=False)
class Approximated(Explicit):
    """A law whose quantile formula takes inverse incomplete functions. Of constant parameters a table of polynomials serves draws.

    `standard(p, *shapes)` is the formula that the table stands for, which `placed(p, value, *others)` moves and scales.
    """

    standard: ClassVar[Callable[..., Term]]
    placed: ClassVar[Callable[..., Term]]
    shapes: ClassVar[int]  # how many of the parameters shape the table

    @property
    def is_approximated(self) -> bool:
        return True

    def at(self, p: Probability) -> Term:
        shapes, others = self._parameters[: self.shapes], self._parameters[self.shapes :]
        pieces = pieces_of(type(self).standard, shapes)
        if pieces is None:
            return self.exactly_at(p)
        value = p.below.op("piecewise", p.above, pieces=pieces)
        return type(self).placed(p, value, *(p.lift(other) for other in others))

    @classmethod
    def quantile_formula(cls, p: Probability, *parameters: Term) -> Term:
        return cls.placed(p, cls.standard(p, *parameters[: cls.shapes]), *parameters[cls.shapes :])

    @property
    def _parameters(self) -> tuple[float, ...]:
        return tuple(getattr(self, parameter.name) for parameter in fields(type(self)))


@lru_cache(maxsize=4_096)
def pieces_of(formula: Callable[..., Term], shapes: tuple[float, ...]) -> Pieces | None:
    """The table of a quantile formula, None where polynomials are not exact enough."""
    return _tabulated(lambda p: formula(p, *map(p.lift, shapes)))


@lru_cache(maxsize=4_096)
def pieces_of_law(law: Distribution) -> Pieces | None:
    """The table of a law of its own."""
    return _tabulated(law.exactly_at)


def _tabulated(exact: Callable[[Probability], Term]) -> Pieces | None:
    from ultramc.distributions.chebyshev import approximated

    return approximated(partial(computed, exact))


def computed(at: Callable[[Probability], Term], below: FloatArray, above: FloatArray) -> FloatArray:
    """What `at` gives for arrays of probabilities, in their shape."""
    lanes = (Term(NUMBERS, part.reshape(1, 1, 1, 1, -1)) for part in (below, above))
    return at(Probability(*lanes)).known.reshape(below.shape)


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

    @property
    def is_approximated(self) -> bool:
        return self._law.is_approximated

    @property
    def atoms(self) -> tuple[FloatArray, FloatArray]:
        return self._law.atoms

    def atoms_within(self, minimum: float, maximum: float) -> tuple[FloatArray, FloatArray]:
        return self._law.atoms_within(minimum, maximum)

    def at(self, p: Probability) -> Term:
        return self._law.at(p)

    def exactly_at(self, p: Probability) -> Term:
        return self._law.exactly_at(p)

    def locate(self, x: Term) -> Probability:
        return self._law.locate(x)

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

    def __repr__(self) -> str:
        return f"{self.distribution!r}.scaled({text_of(self.factor)})"

    def _rules(self) -> Rules:
        yield self.factor != 0, "the factor must not be 0; for a value that does not vary give the number 0"
        yield not self.distribution.discrete, "the law is discrete; use its scaled(factor)"

    @property
    def is_approximated(self) -> bool:
        return self.distribution.is_approximated

    def at(self, p: Probability) -> Term:
        return self.factor * self.distribution.at(p if self.factor > 0 else p.turned)

    def exactly_at(self, p: Probability) -> Term:
        return self.factor * self.distribution.exactly_at(p if self.factor > 0 else p.turned)

    def locate(self, x: Term) -> Probability:
        place = self.distribution.locate(x / self.factor)
        return place if self.factor > 0 else place.turned

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
        ratio = x / self.factor
        return (self.distribution.place(ratio).below if self.factor > 0 else self.distribution.place_before(ratio).above).known

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


@final
@frozen(repr=False)
class ByCells:
    """A law by the cells that hold its parameters: `formula` says it as a formula of the sheet."""

    kind: type[Distribution]
    parameters: tuple[Parameter, ...]

    def __repr__(self) -> str:
        return f"{self.kind.__name__}.of({', '.join(map(_parameter_text, self.parameters))})"

    def formula(self, resolve: Callable[[Any], object]) -> str:
        """`resolve` makes a reference an absolute one. Raises `InputError` where the number of parameters does not fit."""
        names = [parameter.name for parameter in fields(self.kind)]
        if len(names) != len(self.parameters):
            raise InputError(f"{self!r}: {self.kind.__name__} takes {len(names)} parameters, {', '.join(names)}")
        written = (self._written(value, name, resolve) for name, value in zip(names, self.parameters, strict=True))
        return f"ULTRAMC.{self.kind.__name__.upper()}({','.join(written)})"

    def _written(self, value: Parameter, name: str, resolve: Callable[[Any], object]) -> str:
        if isinstance(value, (str, CellRef, RangeRef)):
            return str(resolve(value))
        if isinstance(value, Iterable):
            return f"{{{','.join(repr(number) for number in numbers_of(value, f'{self!r}: {name}'))}}}"
        return repr(finite(value, f"{self!r}: {name}"))


def _parameter_text(value: Parameter) -> str:
    return repr(str(value)) if isinstance(value, (str, CellRef, RangeRef)) else text_of(value)


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


def numbers_of(given: object, what: str) -> tuple[float, ...]:
    if isinstance(given, (str, bytes, Set, Mapping)) or not isinstance(given, Iterable):
        raise InputError(f"{what} must be a list of numbers, not {shown(given)}")
    return tuple(finite(value, f"{what}[{index}]") for index, value in enumerate(given))


READERS: dict[object, Callable[[Any, str], object]] = {"float": finite, "Sequence[float]": numbers_of}  # by the type of a parameter
