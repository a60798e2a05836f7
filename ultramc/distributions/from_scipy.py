"""Any frozen distribution of `scipy.stats` as a law."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Protocol, cast, final

import numpy as np
from attrs import field, frozen

from ultramc.distributions.discrete import MOST_ENTRIES, Discrete
from ultramc.distributions.law import PROBABILITY_TOLERANCE, Distribution, FloatArray, Rules, WithMoments, total_of
from ultramc.distributions.probability import Probability
from ultramc.errors import InputError
from ultramc.program import Ref
from ultramc.terms import Term

if TYPE_CHECKING:
    from ultramc.distributions.chebyshev import Pieces

LEFT_OUT = 2.0**-60  # what a table of atoms leaves out on either side, at most
NEWTON_STEPS = 4  # from a quantile that is right to one digit
NODES, NOISE = 9, 1e-12


class Frozen(Protocol):
    """What calling a distribution of `scipy.stats` with parameters gives."""

    dist: Any
    args: tuple[Any, ...]
    kwds: dict[str, Any]


def is_of_scipy(given: object) -> bool:
    """Told without importing SciPy."""
    return type(given).__module__.startswith("scipy.stats")


def _identity(distribution: Any) -> Hashable:
    """Equal for equal parameters of one of SciPy's own laws; a law of the user's own, or from data, equals only itself."""
    import scipy.stats

    name, kind = distribution.dist.name, type(distribution.dist)
    if type(getattr(scipy.stats, name, None)) is not kind:
        return cast(Hashable, distribution)
    return name, tuple(distribution.args), tuple(sorted(distribution.kwds.items()))


@final
@frozen(repr=False)
class FromSciPy(WithMoments):
    """A frozen distribution of `scipy.stats`, such as ``scipy.stats.gamma(2, scale=3)``, by its own methods.

    A continuous one is drawn by polynomials through its ppf and isf, or, where these lose digits that cdf and sf have, through
    what Newton's method makes of them: 1e-12 from those, relative, and as accurate as SciPy is. A discrete one by its pmf.
    Raises `InputError` where SciPy inverts the cdf numerically, where the quantile has bends, or where its last digits are noise.
    """

    distribution: Any = field(eq=_identity)

    def __repr__(self) -> str:
        given = self.distribution
        if not _is_frozen(given):
            return f"FromSciPy({given!r})"
        parameters = [*map(repr, given.args), *(f"{name}={value!r}" for name, value in given.kwds.items())]
        return f"FromSciPy({given.dist.name}({', '.join(parameters)}))"

    def _rules(self) -> Rules:
        given = self.distribution
        yield _is_frozen(given), "give a frozen distribution of scipy.stats, with its parameters: scipy.stats.gamma(2, scale=3)"
        yield all(np.ndim(value) == 0 for value in (*given.args, *given.kwds.values())), "each parameter must be one number"
        yield math.isfinite(given.median()), "SciPy finds no median: its parameters are outside their domain, or too large for it"
        if not self.discrete:
            yield not _is_inverted_numerically(given.dist), "SciPy has no formula for its quantile, and inverting its cdf loses digits"
            smooth = _quantile_of(self) is not None
            yield smooth, "its ppf or isf has a bend or too few right digits for 1e-12; Triangular, General and Histogram may have bends"

    @property
    def discrete(self) -> bool:  # type: ignore[override]
        return hasattr(self.distribution, "pmf")

    @property
    def is_approximated(self) -> bool:
        return not self.discrete

    @property
    def atoms(self) -> tuple[FloatArray, FloatArray]:
        return _table_of(self).atoms if self.discrete else super().atoms

    def at(self, p: Probability) -> Term:
        if self.discrete:
            return _table_of(self).at(p)
        pieces, _ = _found(self)
        return p.below.op("piecewise", p.above, pieces=pieces)

    def exactly_at(self, p: Probability) -> Term:
        if self.discrete:
            return _table_of(self).at(p)
        if isinstance(p.below.operand, Ref) or isinstance(p.above.operand, Ref):
            raise InputError(f"{self!r}: this part of it is not smooth enough for polynomials exact to 1e-12")
        _, quantile = _found(self)
        return Term(p.below.host, quantile(p.below.known, p.above.known))

    def scaled(self, factor: float) -> Distribution:
        return _table_of(self).scaled(factor) if self.discrete else super().scaled(factor)

    def locate(self, x: Term) -> Probability:
        if isinstance(x.operand, Ref):
            return super().locate(x)
        return Probability(Term(x.host, self.distribution.cdf(x.known)), Term(x.host, self.distribution.sf(x.known)))

    @property
    def support(self) -> tuple[float, float]:
        least, largest = map(float, self.distribution.support())
        return least, largest

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        return _moments_of(self)

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return np.asarray(self.distribution.cdf(x))

    def _density(self, x: FloatArray) -> FloatArray:
        return np.asarray(self.distribution.pmf(x) if self.discrete else self.distribution.pdf(x))


def _is_frozen(given: object) -> bool:
    return is_of_scipy(given) and all(hasattr(given, name) for name in ("dist", "args", "kwds", "ppf", "isf"))


def _is_inverted_numerically(dist: Any) -> bool:
    import scipy.stats

    return type(dist)._ppf is scipy.stats.rv_continuous._ppf


@lru_cache(maxsize=256)
def _moments_of(law: FromSciPy) -> tuple[float, float, float, float]:
    mean, variance, skewness, kurtosis = map(float, law.distribution.stats(moments="mvsk"))
    return mean, variance, skewness, kurtosis


Quantile = Callable[[FloatArray, FloatArray], FloatArray]


@lru_cache(maxsize=256)
def _quantile_of(law: FromSciPy) -> tuple[Pieces, Quantile] | None:
    """The polynomials, and what they go through."""
    from ultramc.distributions.chebyshev import approximated

    for steps in (0, NEWTON_STEPS):
        quantile = partial(_quantile, law.distribution, steps)
        pieces = None if _is_noise(quantile) else approximated(quantile)
        if pieces is not None:
            return pieces, quantile
    return None


def _is_noise(quantile: Quantile) -> bool:
    """Told from a few hundred points, where a cdf that is an integral would take seconds for all the polynomials.

    Along 1.6 % of a tail probability any law but a bend is a polynomial to the last digits; what is left of the highest order
    is noise.
    """
    widths = 1 + (1 + np.polynomial.chebyshev.chebpts1(NODES)) / 128
    tail = widths[:, None] * 2.0 ** np.arange(-53, -1, 10)
    values = np.concatenate((quantile(tail, 1 - tail), quantile(1 - tail, tail)), axis=1)
    with np.errstate(all="ignore"):
        highest = np.polynomial.chebyshev.chebfit(np.polynomial.chebyshev.chebpts1(NODES), values, NODES - 1)[-1]
        return not (np.abs(highest) <= NOISE * np.abs(values).max(axis=0)).all()


def _found(law: FromSciPy) -> tuple[Pieces, Quantile]:
    found = _quantile_of(law)
    assert found is not None  # else the law would not exist
    return found


def _quantile(distribution: Any, steps: int, below: FloatArray, above: FloatArray) -> FloatArray:
    """From ppf in the lower half and isf in the upper one; each step takes the logarithm of the tail probability for a line."""
    lower, tail = below <= above, np.minimum(below, above)
    with np.errstate(all="ignore"):
        x: FloatArray = np.where(lower, distribution.ppf(tail), distribution.isf(tail))
        for _ in range(steps):
            share = np.where(lower, distribution.cdf(x), distribution.sf(x))
            step = np.log(share / tail) * share / distribution.pdf(x)
            x = np.where(np.isfinite(step), np.where(lower, x - step, x + step), x)
    return x


@lru_cache(maxsize=256)
def _table_of(law: FromSciPy) -> Discrete:
    """Raises `InputError` where it would be too long, and where the values are not whole steps apart."""
    given, (low, high), middle = law.distribution, law.support, float(law.distribution.median())
    down = _steps_until(law, lambda steps: middle - steps <= low or given.cdf(middle - steps - 1) <= LEFT_OUT)
    up = _steps_until(law, lambda steps: middle + steps >= high or given.sf(middle + steps) <= LEFT_OUT)
    values = np.arange(max(low, middle - down), min(high, middle + up) + 1)
    masses = given.pmf(values)
    total = total_of(masses)
    if abs(total - 1) > PROBABILITY_TOLERANCE:
        raise InputError(f"{law!r}: its pmf, in steps of 1, adds up to {total:.12g}; give the values to Discrete(values, weights=…)")
    return Discrete(values.tolist(), weights=masses.tolist())


def _steps_until(law: FromSciPy, enough: Callable[[int], bool]) -> int:
    """A power of two."""
    steps = 1
    while not enough(steps):
        steps *= 2
        if steps > MOST_ENTRIES:
            raise InputError(f"{law!r} has too many values for a table, more than {MOST_ENTRIES:,}")
    return steps
