"""Where a function of a rate is zero: Newton's method from a guess, else the change of sign that is nearest to the guess."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

Function = Callable[[float], float]

STEPS = 60
SMALLEST_RATE = -1.0 + 1e-9
LARGEST_RATE = 1e9


def nearest_root(function: Function, slope: Function, guess: float) -> float | None:
    """A rate above -1 where `function` is zero, or None. `function` and `slope` may yield NaN or overflow."""
    root = _newton(function, slope, guess)
    return root if root is not None else _bracketed(function, guess)


def _safe(function: Function, x: float) -> float:
    try:
        return function(x)
    except (OverflowError, ZeroDivisionError, ValueError):
        return math.nan


def _newton(function: Function, slope: Function, guess: float) -> float | None:
    x = guess
    for _ in range(STEPS):
        steepness = _safe(slope, x)
        step = _safe(function, x) / steepness if steepness else math.nan
        if not math.isfinite(step) or x - step <= -1:
            return None
        x -= step
        if abs(step) <= 1e-14 * max(1.0, abs(x)):
            return x
    return x if abs(step) <= 1e-9 * max(1.0, abs(x)) else None


def _bracketed(function: Function, guess: float) -> float | None:
    for low, high in _brackets(guess):
        at_low, at_high = _safe(function, low), _safe(function, high)
        if at_low * at_high <= 0:
            return _bisected(function, low, high)
    return None


def _brackets(guess: float) -> Iterator[tuple[float, float]]:
    """Pairs of neighbouring rates, by distance from the guess: (1 + rate) grows and shrinks by steps of 5 %."""
    factor = 1.05
    up = down = min(max(guess, SMALLEST_RATE), LARGEST_RATE)
    while up < LARGEST_RATE or down > SMALLEST_RATE:
        higher, lower = min((1 + up) * factor - 1, LARGEST_RATE), max((1 + down) / factor - 1, SMALLEST_RATE)
        if up < LARGEST_RATE:
            yield up, higher
        if down > SMALLEST_RATE:
            yield lower, down
        up, down = higher, lower


def _bisected(function: Function, low: float, high: float) -> float:
    below = _safe(function, low) <= 0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if (_safe(function, middle) <= 0) == below:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
