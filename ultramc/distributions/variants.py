"""A law moved or cut off: shifted, truncated between values, truncated between quantiles.

A discrete law becomes `Discrete`, by its values and their probabilities; a continuous one keeps its formulas.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import final

import numpy as np
from attrs import frozen

from ultramc.distributions.discrete import Discrete
from ultramc.distributions.law import Distribution, FloatArray, Rules, WithMoments, accumulated, finite, pieces_of_law, text_of
from ultramc.distributions.moments import moments_by_quadrature
from ultramc.distributions.probability import Probability
from ultramc.errors import InputError
from ultramc.program import constant
from ultramc.terms import NUMBERS, Term, where

Limit = float  # may be infinite


@final
@frozen(repr=False)
class Shifted(Distribution):
    """X + shift of a continuous X."""

    distribution: Distribution
    shift: float

    def __repr__(self) -> str:
        return f"{self.distribution!r}.shifted({text_of(self.shift)})"

    def _rules(self) -> Rules:
        yield not self.distribution.discrete, "the law is discrete; use its shifted(shift)"

    @property
    def is_approximated(self) -> bool:
        return self.distribution.is_approximated

    def at(self, p: Probability) -> Term:
        return self.shift + self.distribution.at(p)

    def exactly_at(self, p: Probability) -> Term:
        return self.shift + self.distribution.exactly_at(p)

    def locate(self, x: Term) -> Probability:
        return self.distribution.locate(x - self.shift)

    @property
    def support(self) -> tuple[float, float]:
        least, largest = self.distribution.support
        return least + self.shift, largest + self.shift

    @property
    def mean(self) -> float:
        return self.distribution.mean + self.shift

    @property
    def variance(self) -> float:
        return self.distribution.variance

    @property
    def skewness(self) -> float:
        return self.distribution.skewness

    @property
    def kurtosis(self) -> float:
        return self.distribution.kurtosis

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return self.distribution.cdf(x - self.shift)

    def _density(self, x: FloatArray) -> FloatArray:
        return self.distribution.pdf(x - self.shift)


def shifted(law: Distribution, shift: float) -> Distribution:
    number = finite(shift, "shift")
    if not law.discrete:
        return Shifted(law, number)
    values, masses = law.atoms
    return Discrete((values + number).tolist(), weights=masses.tolist())


@frozen(repr=False)
class Part(WithMoments):
    """What lies between two places of a continuous X, given that X lies there.

    Of a probability p of the whole law, `below` + `inside` · p: in the upper half from the upper end, so that neither tail
    loses its digits. The moments are integrals of the quantile and its powers.
    """

    distribution: Distribution

    @property
    @abstractmethod
    def _places(self) -> tuple[Probability, Probability]:
        """What lies below the part, and what lies below its end."""

    @property
    @abstractmethod
    def support(self) -> tuple[float, float]: ...

    @property
    def is_approximated(self) -> bool:
        return self.distribution.is_approximated

    @property
    def _inside(self) -> float:
        return float(share_between(*self._places).known.item())

    def at(self, p: Probability) -> Term:
        pieces = pieces_of_law(self) if self.is_approximated else None
        return self.exactly_at(p) if pieces is None else p.below.op("piecewise", p.above, pieces=pieces)

    def exactly_at(self, p: Probability) -> Term:
        (low, high), (least, largest) = self._places, self.support
        below, inside, above = (p.lift(share.known.item()) for share in (low.below, share_between(low, high), high.above))
        value = self.distribution.exactly_at(p.part(below, inside, above))
        return value.most(least).least(largest)  # rounding could carry it over them

    def locate(self, x: Term) -> Probability:
        low, high = (Probability(x.lift(end.below.known.item()), x.lift(end.above.known.item())) for end in self._places)
        here = self.distribution.locate(x)
        below, above = (share_between(*ends) / self._inside for ends in ((low, here), (here, high)))
        return Probability(below.most(0.0).least(1.0), above.most(0.0).least(1.0))

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        return moments_by_quadrature(self)

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return self.place(x).below.known

    def _density(self, x: FloatArray) -> FloatArray:
        least, largest = self.support
        return np.where((least <= x) & (x <= largest), self.distribution.pdf(x) / self._inside, 0.0)


@final
@frozen(repr=False)
class Truncated(Part):
    """X, given that minimum ≤ X ≤ maximum, of a continuous X."""

    minimum: Limit
    maximum: Limit

    def __repr__(self) -> str:
        return f"{self.distribution!r}.truncated({_named(minimum=self.minimum, maximum=self.maximum)})"

    def _rules(self) -> Rules:
        yield not self.distribution.discrete, "the law is discrete; use its truncated(minimum, maximum)"
        yield self.minimum < self.maximum, "minimum must be below maximum"
        least, largest = map(text_of, self.distribution.support)
        inside = self.support[0] < self.support[1] and self._inside > 0
        yield inside, f"the law, from {least} to {largest}, has no probability there, or less than the smallest number"

    @property
    def _places(self) -> tuple[Probability, Probability]:
        return self.distribution.place_before(constant(self.minimum)), self.distribution.place(constant(self.maximum))

    @property
    def support(self) -> tuple[float, float]:
        least, largest = self.distribution.support
        return max(least, self.minimum), min(largest, self.maximum)


@final
@frozen(repr=False)
class TruncatedAtQuantiles(Part):
    """The quantile of a continuous X at lower + (upper - lower) · u."""

    lower: float
    upper: float

    def __repr__(self) -> str:
        return f"{self.distribution!r}.truncated_at_quantiles({text_of(self.lower)}, {text_of(self.upper)})"

    def _rules(self) -> Rules:
        yield not self.distribution.discrete, "the law is discrete; use its truncated_at_quantiles(lower, upper)"

    @property
    def _places(self) -> tuple[Probability, Probability]:
        return _place_of(self.lower), _place_of(self.upper)

    @property
    def support(self) -> tuple[float, float]:
        least, largest = (self.distribution.exactly_at(place).known.item() for place in self._places)
        return least, largest


def _place_of(share: float) -> Probability:
    return Probability(Term(NUMBERS, constant(share)), Term(NUMBERS, constant(1 - share)))


def _named(**limits: float) -> str:
    return ", ".join(f"{name}={text_of(limit)}" for name, limit in limits.items() if math.isfinite(limit))


def share_between(low: Probability, high: Probability) -> Term:
    """From the tail that both places lie in."""
    return where(low.is_lower, high.below - low.below, low.above - high.above)


def part_between(low: Probability, high: Probability) -> tuple[Term, Term, Term]:
    """The shares of a law below, between and above two places."""
    return low.below, share_between(low, high), high.above


def truncated(law: Distribution, minimum: float, maximum: float) -> Distribution:
    low, high = _limit(minimum, "minimum"), _limit(maximum, "maximum")
    if not law.discrete:
        return Truncated(law, low, high)
    return _kept(law, *law.atoms_within(low, high), f"truncated({_named(minimum=low, maximum=high)})")


def truncated_at_quantiles(law: Distribution, lower: float, upper: float) -> Distribution:
    low, high = finite(lower, "lower"), finite(upper, "upper")
    variant = f"truncated_at_quantiles({text_of(low)}, {text_of(high)})"
    if not 0 <= low < high <= 1:
        raise InputError(f"{law!r}.{variant}: quantiles ascend, 0 ≤ lower < upper ≤ 1 (5 % is 0.05)")
    if not law.discrete:
        return TruncatedAtQuantiles(law, low, high)
    values, masses = law.atoms
    return _kept(law, values, _masses_between(masses, low, high), variant)


def _masses_between(masses: FloatArray, low: float, high: float) -> FloatArray:
    """How much of each atom's stretch of the probabilities lies between two of them, each end from its own tail."""
    below, above = accumulated(masses), np.append(accumulated(masses[::-1])[-2::-1], 0.0)
    over_low = below - low if low <= 0.5 else (1 - low) - above
    under_high = high - (below - masses) if high <= 0.5 else (above + masses) - (1 - high)
    return np.clip(np.minimum(over_low, under_high), 0.0, masses)


def _limit(value: object, what: str) -> float:
    if isinstance(value, float) and math.isinf(value):
        return value
    return finite(value, what)


def _kept(law: Distribution, values: FloatArray, masses: FloatArray, variant: str) -> Discrete:
    held = masses > 0
    if not held.any():
        least, largest = map(text_of, law.support)
        raise InputError(f"{law!r}.{variant}: the law, from {least} to {largest}, has no probability there")
    return Discrete(values[held].tolist(), weights=masses[held].tolist())
