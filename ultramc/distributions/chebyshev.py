"""Quantiles without closed form as tables of polynomials, which the op `piecewise` evaluates.

Both tails are cut by the binary exponent of the tail probability w = min(u, 1 - u), and each octave into equal parts: a
logarithm or a power of w is then the same shape in each of them, as far out as w = 2^-53. In a part the quantile is a
polynomial through Chebyshev nodes. Its error falls by ρ = a + √(a² - 1) a degree, where a ≥ 2 · parts + 1 is the distance
of the singularity at w = 0 in half widths: by 18 with four parts (L. N. Trefethen, Approximation Theory and Approximation
Practice, SIAM 2013, theorem 8.2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from attrs import evolve, frozen
from numpy.polynomial import chebyshev

from ultramc.distributions.law import FloatArray
from ultramc.sampling import LARGEST_UNIFORM, SMALLEST_UNIFORM

Quantile = Callable[[FloatArray, FloatArray], FloatArray]

OCTAVES = np.arange(-52, 0)  # the exponents that `frexp` gives for 2^-53 ≤ w < 0.5; 0.5 itself has exponent 0
PARTS = (4, 16, 64)  # of an octave; steep power laws need many, lest the polynomial's small values drown in its large ones
NODES = 13
LEFT_OUT = 2.0**-46
NEGLIGIBLE = 1e-290  # what is below counts as 0: special functions stop at about 1e-308, in steps

_ANGLES = (np.arange(NODES) + 0.5) * (np.pi / NODES)
_TO_CHEBYSHEV = np.cos(np.outer(np.arange(NODES), _ANGLES)) * (2 / NODES)
_TO_CHEBYSHEV[0] /= 2
_TO_POWERS = np.array([np.pad(chebyshev.cheb2poly(row), (0, NODES - 1 - order)) for order, row in enumerate(np.eye(NODES))]).T
_NODES = (1 + np.cos(_ANGLES)) / 2
_ENDS = np.array([[SMALLEST_UNIFORM, 0.5, LARGEST_UNIFORM, 0.5 + 2.0**-53], [LARGEST_UNIFORM, 0.5, SMALLEST_UNIFORM, 0.5 - 2.0**-53]])
# Where the error of an interpolation through the nodes is largest, every third of these extrema, and both ends.
_BETWEEN = np.append((1 + np.cos(np.arange(NODES, 0, -3) * (np.pi / NODES))) / 2, 1 - 2.0**-30)


@frozen(eq=False, repr=False)
class Pieces:
    """A quantile in polynomials of t, from -1 to 1 along a part: `coefficients` (degree + 1, 2 · 53 · parts), of t^0 first.

    The columns go side by side (the lower tail first), octave by octave (w rising), part by part. `interval`: the quantiles
    at 2^-53 and 1 - 2^-53, or all values of a quantile that falls at its middle; none leaves it. `error`: the largest error found
    between the nodes, as `approximated` measures it.
    """

    coefficients: FloatArray
    parts: int
    interval: tuple[float, float]
    error: float

    @property
    def side(self) -> int:
        """The columns of one side."""
        return int(self.coefficients.shape[1]) // 2

    def __repr__(self) -> str:
        degree, columns = np.subtract(self.coefficients.shape, (1, 0))
        return f"<{columns} of degree {degree}>"


def approximated(quantile: Quantile, tolerance: float = 5e-13) -> Pieces | None:
    """Pieces whose error is at most `tolerance` at check points between the nodes; None where 64 parts an octave do not do.

    `quantile` takes P(X ≤ x) and 1 - P(X ≤ x), arrays of one shape, and gives x, each tail from the probability that is
    accurate there. It is presumed finite, and smooth but for its ends and u = ½, where it may jump. It may be constant or underflow.
    The tolerance is half of 1e-12: smooth quantiles come out to 1e-14, and noise in the last digits of others has room.

    The error is relative to |x|. Where the quantile goes through 0, |x| counts as no smaller than at the far end of the part
    that is nearest to 0: the median of a symmetric law is 0 to the last digits of its quartiles. Values below 1e-290 may
    come out as any others below it.
    """
    error = np.inf
    with np.errstate(all="ignore"):
        for parts in PARTS:
            pieces = _fitted(quantile, parts, tolerance)
            if pieces.error <= tolerance:
                return pieces
            if not pieces.error < error / 10:  # noise, which no finer cut makes smaller
                return None
            error = pieces.error
    return None


def _fitted(quantile: Quantile, parts: int, tolerance: float) -> Pieces:
    """The check is left out where the last Chebyshev coefficient alone is more than the tolerance: that is the error then."""
    values = quantile(*_probabilities(_NODES, parts))
    series = np.tensordot(_TO_CHEBYSHEV, values, axes=1)
    relative = (np.abs(series) / _sizes(values).min(axis=0)).max(axis=(1, 2))
    least, median, largest, beyond = (float(value) + 0.0 for value in quantile(*_ENDS))
    coefficients = _columns(series[: _sufficient(relative)], median, parts)
    interval = (least, largest) if least <= largest else _widened(least, median, largest, beyond)
    pieces = Pieces(coefficients, parts, interval, float(relative[-1]))
    return evolve(pieces, error=_error(pieces, quantile)) if relative[-1] <= tolerance else pieces


def _widened(*values: float) -> tuple[float, float]:
    """Room for the last digits."""
    room = 1e-9 * (max(values) - min(values))
    return min(values) - room, max(values) + room


def _sufficient(relative: FloatArray) -> int:
    """How many coefficients make a difference: two at least, since a NaN comes in by t."""
    left_out = relative[::-1].cumsum()[::-1]
    return max(2, int((left_out > LEFT_OUT).sum()))


def _columns(series: FloatArray, median: float, parts: int) -> FloatArray:
    terms = len(series)
    columns = np.tensordot(_TO_POWERS[:terms, :terms], series, axes=1)
    half = np.zeros((terms, 2, parts))  # the last octave, of which 0.5 is all there is
    half[0] = median
    return np.concatenate((columns, half), axis=2).reshape(terms, -1) + 0.0  # no -0


def _probabilities(shares: FloatArray, parts: int) -> tuple[FloatArray, FloatArray]:
    """`below` and `above` at these shares of the width of each part, each of shape (shares, 2 sides, 52 · parts)."""
    mantissa = (np.arange(parts, 2 * parts) + shares[:, None, None]) / (2 * parts)
    tail = np.ldexp(mantissa, OCTAVES[:, None]).reshape(len(shares), -1)
    return np.stack((tail, 1 - tail), axis=1), np.stack((1 - tail, tail), axis=1)


def _sizes(values: FloatArray) -> FloatArray:
    """What errors are relative to: see `approximated`."""
    sizes = np.abs(values)
    through_zero = values.min() < 0 < values.max()
    return np.maximum(sizes, max(NEGLIGIBLE, sizes.max(axis=0).min() if through_zero else 0.0))


def _error(pieces: Pieces, quantile: Quantile) -> float:
    from ultramc.engines.array import evaluate

    probabilities = _probabilities(_BETWEEN, pieces.parts)
    values = quantile(*probabilities)
    found = evaluate("piecewise", *probabilities, pieces=pieces)
    return float((np.abs(found - values) / _sizes(values)).max())
