"""Where in a law a draw lies: P(X ≤ x), and what lies above it, each accurate in its own tail.

A quantile formula takes what suits it: `below` in the lower tail and `above` in the upper one, or one of the transforms
that most laws need. Each way of drawing gives them in its cheapest and most accurate form.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ultramc.terms import Term, where

LARGEST_SCORE = 8.209536151601387  # of the largest uniform: scipy.special.ndtri(1 - 2^-53)


@frozen(eq=False)
class Probability:
    """`below` + `above` = 1. Neither need be exact where it is near 1, since the other one is small then."""

    below: Term
    above: Term

    @classmethod
    def of_hazard(cls, hazard: Term) -> Probability:
        """What `hazard` is of."""
        return Probability(-(-hazard).op("expm1"), (-hazard).exp())

    @property
    def is_lower(self) -> Term:
        """The mask of the lower half."""
        return self.below <= self.above

    @property
    def score(self) -> Term:
        """The standard normal quantile."""
        size = self.below.least(self.above).op("normal_quantile")
        return where(self.is_lower, size, -size)

    @property
    def hazard(self) -> Term:
        """-ln(above), the standard exponential quantile."""
        return where(self.is_lower, -(-self.below).log1p(), -self.above.log())

    @property
    def rarity(self) -> Term:
        """-ln(below)."""
        return where(self.is_lower, -self.below.log(), -(-self.above).log1p())

    @property
    def turned(self) -> Probability:
        """The same place, seen from the other end."""
        return Probability(self.above, self.below)

    def lift(self, value: Term | float) -> Term:
        return self.below.lift(value)

    def lift_table(self, entries: NDArray[np.float64]) -> Term:
        """A table to search in or to gather from."""
        return Term(self.below.host, entries.reshape(1, 1, -1, 1, 1))

    def part(self, below: Term, inside: Term, above: Term) -> Probability:
        """The same place in a part of another law: `below`, `inside` and `above` are its shares of that law."""
        return Probability(below + self.below * inside, above + self.above * inside)


@frozen(eq=False)
class Drawn(Probability):
    """A uniform as `sampling` makes it: 1 - u is exact in the upper half."""

    @classmethod
    def of(cls, u: Term) -> Drawn:
        return cls(u, 1.0 - u)

    @property
    def score(self) -> Term:
        return self.below.op("normal_quantile")

    @property
    def hazard(self) -> Term:
        return -(-self.below).log1p()

    @property
    def rarity(self) -> Term:
        return -self.below.log()


@frozen(eq=False)
class Scored(Probability):
    """By its normal score, as correlated draws come; held where independent ones lie, so that nothing leaves a law's bounds."""

    normal: Term

    @classmethod
    def of(cls, score: Term) -> Scored:
        held = score.most(-LARGEST_SCORE).least(LARGEST_SCORE)
        return cls(held.op("normal_cdf"), (-held).op("normal_cdf"), held)

    @property
    def score(self) -> Term:
        return self.normal
