"""How far two engines may differ: relative to the number, and to what its output usually is."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field, frozen
from attrs.validators import ge
from numpy.typing import NDArray

Values = NDArray[Any]


@frozen
class Tolerance:
    """|difference| ≤ `rtol` |wanted| + `atol` of the root mean square: numbers near 0 are differences of large ones."""

    rtol: float = field(default=1e-9, converter=float, validator=ge(0))
    atol: float = field(default=1e-9, converter=float, validator=ge(0))

    def allows(self, found: Values, want: Values, scale: float) -> Values:
        """Where `found` is `want`, as far as it must be; NaN equals NaN. `scale`: the root mean square."""
        with np.errstate(invalid="ignore", over="ignore"):
            close = np.abs(found - want) <= self.rtol * np.abs(want) + self.atol * scale
        return np.asarray((found == want) | close | (np.isnan(found) & np.isnan(want)))


def root_mean_square(values: Values) -> float:
    """Of the finite ones; scaled, so that squares do not overflow."""
    finite = values[np.isfinite(values)]
    largest = float(np.abs(finite).max(initial=0.0))
    return largest * float(np.sqrt(np.mean(np.square(finite / largest)))) if largest else 0.0
