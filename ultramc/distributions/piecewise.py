"""Laws that go through given points: straight pieces of a distribution function, or of a density.

Sources: L. Devroye, Non-Uniform Random Variate Generation (Springer 1986), chapters II.2 and II.3, and where a class says so.
"""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import final

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ultramc.distributions.law import Distribution, FloatArray, Rules, accumulated, ratio, text_of, total_of
from ultramc.distributions.probability import Probability
from ultramc.terms import Term

SMALLEST_NORMAL, LARGEST_FLOAT = sys.float_info.min, sys.float_info.max


@frozen(repr=False)
class Piecewise(Distribution):
    """A law made of pieces, whose moments are the sums over three Gauss–Legendre nodes a piece: exact up to the fifth order."""

    @property
    @abstractmethod
    def _pieces(self) -> tuple[FloatArray, FloatArray]:
        """The ends of the pieces, ascending, shape (2, pieces), and the density at either end times the width, likewise."""

    @property
    def mean(self) -> float:
        return self._moment(1, 0.0)

    @property
    def variance(self) -> float:
        return self._moment(2, self.mean)

    @property
    def skewness(self) -> float:
        return ratio(self._moment(3, self.mean), self.variance * self.std)

    @property
    def kurtosis(self) -> float:
        return ratio(self._moment(4, self.mean), self.variance * self.variance) - 3

    def _moment(self, order: int, centre: float) -> float:
        ends, heights = self._pieces
        nodes, weights = np.polynomial.legendre.leggauss(3)
        share = (1 + nodes[:, None]) / 2
        points = ends[0] + (ends[1] - ends[0]) * share - centre
        masses = (heights[0] + (heights[1] - heights[0]) * share) * weights[:, None] / 2
        with np.errstate(over="ignore"):
            return float(np.sum(masses * points**order))


@frozen(repr=False)
class Polygonal(Piecewise):
    """A distribution function of straight lines between knots. A step up is an atom, and a level stretch a gap."""

    @property
    @abstractmethod
    def _all_knots(self) -> tuple[FloatArray, FloatArray]:
        """Values and cumulative probabilities, both ascending, from 0 to 1."""

    @property
    def _knots(self) -> tuple[FloatArray, FloatArray]:
        values, below = self._all_knots
        kept = slice(np.searchsorted(below, 0.0, side="right") - 1, np.searchsorted(below, 1.0) + 1)
        return values[kept], below[kept]

    @property
    def _pieces(self) -> tuple[FloatArray, FloatArray]:
        values, below = self._knots
        masses = np.diff(below)
        return np.stack((values[:-1], values[1:])), np.stack((masses, masses))

    def at(self, p: Probability) -> Term:
        values, below = self._knots
        piece = p.below.op("search", p.lift_table(below)) - 1
        columns = (values[:-1], values[1:], below[:-1], _quotients(values, below))
        left, right, start, slope = (piece.op("gather", p.lift_table(column)) for column in columns)
        return right.least(left + slope * (p.below - start))

    @property
    def support(self) -> tuple[float, float]:
        values, _ = self._knots
        return float(values[0]), float(values[-1])

    def _cumulative(self, x: FloatArray) -> FloatArray:
        values, below = self._knots
        piece = _piece(values, x)
        inside = below[piece] + _quotients(below, values)[piece] * (x - values[piece])
        return np.select([x < values[0], x >= values[-1]], [0.0, 1.0], inside)

    def _density(self, x: FloatArray) -> FloatArray:
        values, below = self._knots
        atoms = values[1:][(np.diff(values) == 0) & (np.diff(below) > 0)]
        outside = (x < values[0]) | (x > values[-1])
        return np.select([np.isin(x, atoms), outside], [math.inf, 0.0], _quotients(below, values)[_piece(values, x)])


def _piece(starts: FloatArray, x: FloatArray) -> npt.NDArray[np.intp]:
    return np.clip(np.searchsorted(starts, x, side="right") - 1, 0, len(starts) - 2)


def _quotients(rise: FloatArray, run: FloatArray) -> FloatArray:
    """Of the differences; 0 where the divisor is, and never infinite."""
    width = np.diff(run)
    with np.errstate(over="ignore"):
        quotients = np.divide(np.diff(rise), width, out=np.zeros(len(width)), where=width > 0)
    return np.minimum(quotients, LARGEST_FLOAT)


def _rising(*numbers: float) -> bool:
    return all(left <= right for left, right in pairwise(numbers))


@final
@frozen(repr=False)
class Cumulative(Polygonal):
    """A distribution function through points: P(X ≤ values[i]) = probabilities[i], straight lines between, 0 and 1 at the ends.

    A value that occurs twice is an atom. ``numpy.interp(u, [0, *probabilities, 1], [minimum, *values, maximum])``.
    """

    minimum: float
    maximum: float
    values: Sequence[float]
    probabilities: Sequence[float]

    def _rules(self) -> Rules:
        given, likely = len(self.values), len(self.probabilities)
        yield self.minimum < self.maximum, "minimum must be below maximum"
        yield given == likely, f"{given} values and {likely} probabilities; each value needs one"
        yield _rising(self.minimum, *self.values, self.maximum), "values must ascend, between minimum and maximum"
        yield _rising(0.0, *self.probabilities, 1.0), "probabilities must ascend, between 0 and 1: each is that of not exceeding its value"

    @property
    def _all_knots(self) -> tuple[FloatArray, FloatArray]:
        return np.array([self.minimum, *self.values, self.maximum]), np.array([0.0, *self.probabilities, 1.0])


@final
@frozen(repr=False)
class Histogram(Polygonal):
    """Bars of equal width from minimum to maximum; their weights are divided by their sum. ``scipy.stats.rv_histogram``."""

    minimum: float
    maximum: float
    weights: Sequence[float]

    def _rules(self) -> Rules:
        yield self.minimum < self.maximum, "minimum must be below maximum"
        yield from _shares("weights", self.weights)

    @property
    def _all_knots(self) -> tuple[FloatArray, FloatArray]:
        edges = np.linspace(self.minimum, self.maximum, len(self.weights) + 1)
        return edges, np.append(0.0, accumulated(np.array(self.weights) / total_of(self.weights)))


def _shares(name: str, given: Sequence[float]) -> Rules:
    yield all(each >= 0 for each in given), f"no number of {name} may be below 0"
    yield 0 < total_of(given) < math.inf, f"{name} add up to {text_of(total_of(given))}; at least one must be above 0"


@final
@frozen(repr=False)
class Empirical(Polygonal):
    """Between observed values, in any order, in straight lines: ``numpy.quantile(values, u)``.

    DiscreteUniform draws the values themselves. R. J. Hyndman and Y. Fan, Sample Quantiles in Statistical Packages,
    The American Statistician 50 (1996), definition 7, which is also Excel's PERCENTILE.INC.
    """

    values: Sequence[float]

    def _rules(self) -> Rules:
        yield len(set(self.values)) > 1, "it needs at least two different values"

    @property
    def _all_knots(self) -> tuple[FloatArray, FloatArray]:
        return np.sort(self.values), np.linspace(0.0, 1.0, len(self.values))


@final
@frozen(repr=False)
class General(Piecewise):
    """A density of straight lines through points: heights[i] at values[i], 0 at minimum and maximum, scaled to the area 1.

    A value that occurs twice is a jump. In a piece, measured from its lower side of height h, the quantile is
    2c / (h + sqrt(h² + 2sc)) with the slope s and the probability c in between: nothing cancels.
    """

    minimum: float
    maximum: float
    values: Sequence[float]
    heights: Sequence[float]

    def _rules(self) -> Rules:
        given, likely = len(self.values), len(self.heights)
        yield self.minimum < self.maximum, "minimum must be below maximum"
        yield given == likely, f"{given} values and {likely} heights; each value needs one"
        yield _rising(self.minimum, *self.values, self.maximum), "values must ascend, between minimum and maximum"
        yield from _shares("heights", self.heights)
        yield len(self._pieces[0][0]) > 0, "the area below the heights is 0; give values between minimum and maximum"

    @property
    def _pieces(self) -> tuple[FloatArray, FloatArray]:
        values = np.array([self.minimum, *self.values, self.maximum])
        heights = np.array([0.0, *self.heights, 0.0]) / max(self.heights)
        ends, areas = np.stack((values[:-1], values[1:])), np.stack((heights[:-1], heights[1:])) * np.diff(values)
        held = areas.sum(axis=0) > 0
        return ends[:, held], areas[:, held] / (total_of(areas.ravel()) / 2)

    @property
    def _below(self) -> FloatArray:
        """The cumulative probability at the start of each piece, and 1."""
        return np.append(0.0, accumulated(self._pieces[1].mean(axis=0)))

    def at(self, p: Probability) -> Term:
        ends, areas = self._pieces
        below, width, rising = self._below, ends[1] - ends[0], areas[1] >= areas[0]
        columns = (
            np.where(rising, ends[0], ends[1]),
            np.where(rising, below[:-1], below[1:]),
            np.where(rising, width, -width),
            np.where(rising, 1.0, -1.0),
            areas.min(axis=0),
            2 * np.abs(areas[1] - areas[0]),
        )
        piece = p.below.op("search", p.lift_table(below)) - 1
        origin, start, reach, direction, height, twice = (piece.op("gather", p.lift_table(column)) for column in columns)
        gained = direction * (p.below - start)
        root = (height * height + twice * gained).sqrt()
        share = 2 * gained / (height + root).most(SMALLEST_NORMAL)
        return origin + reach * share.least(1.0)

    @property
    def support(self) -> tuple[float, float]:
        ends, _ = self._pieces
        return float(ends[0, 0]), float(ends[1, -1])

    def _cumulative(self, x: FloatArray) -> FloatArray:
        ends, areas = self._pieces
        piece = np.clip(np.searchsorted(ends[0], x, side="right") - 1, 0, None)
        share = np.clip((x - ends[0, piece]) / (ends[1] - ends[0])[piece], 0.0, 1.0)
        fall = (areas[0] > areas[1])[piece]
        up: FloatArray = self._below[piece] + share * (areas[0, piece] + (areas[1] - areas[0])[piece] * share / 2)
        down: FloatArray = self._below[piece + 1] - (1 - share) * (areas[1, piece] + (areas[0] - areas[1])[piece] * (1 - share) / 2)
        return np.where(x >= ends[1, -1], 1.0, np.where(fall, down, up))

    def _density(self, x: FloatArray) -> FloatArray:
        ends, areas = self._pieces
        piece = np.clip(np.searchsorted(ends[0], x, side="right") - 1, 0, None)
        width = (ends[1] - ends[0])[piece]
        share = (x - ends[0, piece]) / width
        height: FloatArray = (areas[0, piece] + (areas[1] - areas[0])[piece] * share) / width
        return np.where((share >= 0) & (share <= 1), height, 0.0)
