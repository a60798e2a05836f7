"""Tests of hypotheses, at scalar speed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ultramc.functions import function
from ultramc.functions.aggregate import Cells
from ultramc.functions.kit import Value
from ultramc.functions.series import over_elements
from ultramc.lowering import Call
from ultramc.values import ExcelError, Scalar

NUM, DIV0, NA = ExcelError.NUM, ExcelError.DIV0, ExcelError.NA


def _numbers(values: Sequence[Scalar]) -> list[float]:
    return [value for value in values if isinstance(value, float)]


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sum of squared deviations."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values)


def _beyond(statistic: float, freedom: float) -> float:
    """Student's t: the probability of a larger size."""
    from scipy.special import betainc

    return float(betainc(freedom / 2, 0.5, freedom / (freedom + statistic * statistic)))


@function("TTEST T.TEST", "cells cells integer integer")
def _t_test(call: Call, first: Cells, second: Cells, tails: Value, kind: Value) -> Value:
    return over_elements(call, student_test, [tails, kind], [first, second])


def student_test(tails: float, kind: float, first: Sequence[Scalar], second: Sequence[Scalar]) -> Scalar:
    """The probability of means as different: of pairs (kind 1), of samples of one variance (2) or of two (3)."""
    if tails not in (1, 2) or kind not in (1, 2, 3):
        return NUM
    if kind == 1 and len(first) != len(second):
        return NA
    found = _paired(first, second) if kind == 1 else _unpaired(_numbers(first), _numbers(second), kind == 2)
    return DIV0 if found is None else _beyond(*found) * tails / 2


def _paired(first: Sequence[Scalar], second: Sequence[Scalar]) -> tuple[float, float] | None:
    """The statistic and its degrees of freedom."""
    differences = [x - y for x, y in zip(first, second, strict=True) if isinstance(x, float) and isinstance(y, float)]
    if len(differences) < 2:
        return None
    mean, squares = _moments(differences)
    freedom = len(differences) - 1
    return (mean / math.sqrt(squares / freedom / len(differences)), freedom) if squares else None


def _unpaired(first: Sequence[float], second: Sequence[float], one_variance: bool) -> tuple[float, float] | None:
    if len(first) < 2 or len(second) < 2:
        return None
    (mean, squares), (other_mean, other_squares) = _moments(first), _moments(second)
    freedom, other_freedom = len(first) - 1, len(second) - 1
    if squares + other_squares == 0:
        return None
    if one_variance:
        both = freedom + other_freedom
        error = math.sqrt((squares + other_squares) / both * (1 / len(first) + 1 / len(second)))
        return (mean - other_mean) / error, both
    spread, other_spread = squares / freedom / len(first), other_squares / other_freedom / len(second)
    error = math.sqrt(spread + other_spread)
    welch = (spread + other_spread) ** 2 / (spread**2 / freedom + other_spread**2 / other_freedom)
    return (mean - other_mean) / error, welch


@function("FTEST F.TEST", "cells cells")
def _f_test(call: Call, first: Cells, second: Cells) -> Value:
    return over_elements(call, variance_test, [], [first, second])


def variance_test(first: Sequence[Scalar], second: Sequence[Scalar]) -> Scalar:
    """The probability of variances as different, on both sides."""
    from scipy.special import fdtr, fdtrc

    one, other = _numbers(first), _numbers(second)
    if len(one) < 2 or len(other) < 2:
        return DIV0
    variance, other_variance = (_moments(values)[1] / (len(values) - 1) for values in (one, other))
    if not variance or not other_variance:
        return DIV0
    arguments = len(one) - 1, len(other) - 1, variance / other_variance
    return 2 * min(float(fdtr(*arguments)), float(fdtrc(*arguments)))


@function("ZTEST Z.TEST", "cells number number?")
def _z_test(call: Call, cells: Cells, at: Value, deviation: Value | None = None) -> Value:
    return over_elements(call, mean_test, [at, *([] if deviation is None else [deviation])], [cells])


def mean_test(at: float, *rest: float | Sequence[Scalar]) -> Scalar:
    """The probability of a larger mean than that found; the deviation is the sample's where none is given."""
    *given, values = rest
    sample = _numbers(values) if isinstance(values, Sequence) else []
    if not sample:
        return NA
    mean, squares = _moments(sample)
    deviation = float(given[0]) if given and isinstance(given[0], float) else math.sqrt(squares / max(len(sample) - 1, 1))
    if deviation <= 0:
        return NUM if given else DIV0
    return math.erfc((mean - at) / deviation * math.sqrt(len(sample) / 2)) / 2


@function("CHITEST CHISQ.TEST", "array array")
def _chi_test(call: Call, observed: Value, expected: Value) -> Value:
    if observed.shape[2:] != expected.shape[2:]:
        return call.kit.error(NA)
    height, width = observed.shape[2:]
    freedom = call.kit.number(float((height - 1) * (width - 1) if min(height, width) > 1 else height * width - 1))
    return over_elements(call, independence_test, [freedom], [[(observed, True)], [(expected, True)]])


def independence_test(freedom: float, observed: Sequence[Scalar], expected: Sequence[Scalar]) -> Scalar:
    from scipy.special import gammaincc

    pairs = [(o, e) for o, e in zip(observed, expected, strict=True) if isinstance(o, float) and isinstance(e, float)]
    if freedom < 1:
        return NA
    if any(e <= 0 for _, e in pairs):
        return DIV0 if all(e >= 0 for _, e in pairs) else NUM
    return float(gammaincc(freedom / 2, sum((o - e) ** 2 / e for o, e in pairs) / 2))
