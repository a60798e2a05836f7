"""Which input moves an output: pure functions of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ultramc.errors import InputError, optional
from ultramc.report import Bar, Shown, Table, counted, number
from ultramc.summary import Array, Estimate, Interval, Measured, Starts, critical_value, replicate_starts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ranks(values: Array) -> Array:
    """Ranks from 1, ties given their mean rank; shape (n,)."""
    order, starts, lengths = _ties(values)
    return _spread(starts + (lengths + 1) / 2, order, lengths)


def _ties(values: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The ascending order, and where in it each run of equal values starts, and how long it is."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=np.nan))  # NaN differs from every first value
    return order, starts, np.diff(starts, append=len(values))


def _spread(each: Array, order: NDArray[np.int64], lengths: NDArray[np.int64]) -> Array:
    """What each run of ties has, given to its members; shape (n,)."""
    result = np.empty(len(order))
    result[order] = np.repeat(each, lengths)
    return result


def correlation(x: Array, y: Array) -> float:
    """Pearson's, within −1 … 1; NaN where either is constant."""
    x, y = x - np.mean(x), y - np.mean(y)
    scale = math.sqrt(float(np.sum(x * x))) * math.sqrt(float(np.sum(y * y)))
    return min(max(float(np.sum(x * y)) / scale, -1.0), 1.0) if scale else math.nan


def rank_correlation(x: Array, y: Array, starts: Starts | None = None) -> Estimate:
    """Spearman's rank correlation of two samples of one length, with ties; `starts` as in `summary.Sample`.

    The interval is Fisher's with the variance of Bonett & Wright ("Sample size requirements for estimating Pearson, Kendall
    and Spearman correlations", Psychometrika 2000), or of replicates with that of their influences; None below four pairs, and
    below two replicates. NaN where either sample is constant.
    """
    return _ranked_correlation(ranks(x), ranks(y), starts)


def _ranked_correlation(x: Array, y: Array, starts: Starts | None) -> Estimate:
    n = len(x)
    r = correlation(x, y) if n > 1 else math.nan
    if n < 4 or math.isnan(r):
        return Estimate(r)
    if starts is not None:
        return _replicated_correlation(Measured(r, _influence(x, y, r), starts))
    error = math.sqrt((1 + r * r / 2) / (n - 3))
    return Estimate(r, error * (1 - r * r), partial(_fisher, r, error, math.inf))


def _replicated_correlation(measured: Measured) -> Estimate:
    r, error = measured.value, measured.standard_error
    if error is None:
        return Estimate(r)
    # The derivative of Fisher's transform is 1 / (1 − r²).
    return Estimate(r, error, partial(_fisher, r, error / (1 - r * r) if abs(r) < 1 else 0.0, measured.degrees))


def _influence(x: Array, y: Array, r: float) -> Array:
    """Of each pair of ranks on their correlation r, shape (n,); an observation also moves the ranks of all above it.

    Croux & Dehon, "Influence functions of the Spearman and Kendall correlation measures", Stat. Methods Appl. 2010.
    """
    u, v = x - np.mean(x), y - np.mean(y)
    size = math.sqrt(float(np.mean(u * u))), math.sqrt(float(np.mean(v * v)))
    u, v = u / size[0], v / size[1]
    moved = _moved(x, v - r * u) / size[0] + _moved(y, u - r * v) / size[1]
    influence = u * v - r * (u * u + v * v) / 2 + moved
    return influence - np.mean(influence)


def _moved(ranked: Array, weights: Array) -> Array:
    """Of each observation: the sum of the weights of those that rank above it, and half of those that tie; shape (n,)."""
    order, starts, lengths = _ties(ranked)
    tied = np.add.reduceat(weights[order], starts)
    return _spread(np.sum(tied) - np.cumsum(tied) + tied / 2, order, lengths)


def _fisher(r: float, error: float, degrees: float, level: float) -> Interval:
    if abs(r) == 1:
        return r, r
    half = critical_value(degrees, level) * error
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


@frozen
class Sensitivity:
    input: str
    correlation: Estimate


@frozen(repr=False)
class Tornado(Shown):
    """Rank correlation of every input with one output, the strongest first.

    `left_out` names the inputs without a correlation, and why; `iterations` counts those in which the output is a number.
    """

    output: str
    iterations: int
    sensitivities: tuple[Sensitivity, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, label: str) -> Estimate:
        """Correlation of the input `label`; InputError where it has none."""
        for sensitivity in self.sensitivities:
            if sensitivity.input == label:
                return sensitivity.correlation
        reason = dict(self.left_out).get(label, "it is no input of this run")
        raise InputError(f"no rank correlation of {label!r} with {self.output!r}: {reason}")

    def plot(self) -> Figure:
        from ultramc import plots

        return plots.tornado(self)

    def to_frame(self) -> Any:
        """pandas DataFrame: input, correlation, low and high (95 %)."""
        rows = [(row.input, float(row.correlation), *_ends(row.correlation)) for row in self.sensitivities]
        return optional("pandas", "parquet").DataFrame(rows, columns=["input", "correlation", "low", "high"])

    def table(self) -> Table:
        return Table(
            title=f"Rank correlation with {self.output}",
            subtitle=f"{counted(self.iterations, 'iteration')}, {counted(len(self.sensitivities), 'input')}",
            headers=("input", "correlation", "95 % low", "high", ""),
            rows=tuple(
                (row.input, f"{row.correlation:+.3f}", *(_signed(end) for end in _ends(row.correlation)), Bar(abs(row.correlation)))
                for row in self.sensitivities
            ),
            notes=tuple(f"left out: {label} ({reason})" for label, reason in self.left_out),
        )


def tornado(output: str, samples: Array, inputs: Mapping[str, Array], together: int = 1) -> Tornado:
    """Rank correlation of `samples`, shape (iterations,), with each of `inputs`, of the same shape; NaN marks failed iterations.

    `together` consecutive iterations form one replicate.
    """
    usable = ~np.isnan(samples)
    output_ranks = ranks(samples[usable])
    found = {label: _correlation_where_valid(values, samples, usable, output_ranks, together) for label, values in inputs.items()}
    defined = [Sensitivity(label, value) for label, value in found.items() if not math.isnan(value)]
    return Tornado(
        output=output,
        iterations=int(np.count_nonzero(usable)),
        sensitivities=tuple(sorted(defined, key=lambda row: -abs(row.correlation))),
        left_out=tuple((label, _reason(inputs[label], samples)) for label, value in found.items() if math.isnan(value)),
    )


def _correlation_where_valid(values: Array, samples: Array, usable: Any, output_ranks: Array, together: int) -> Estimate:
    both = usable & ~np.isnan(values)
    starts = replicate_starts(np.flatnonzero(both), together)
    if np.count_nonzero(both) == len(output_ranks):
        return _ranked_correlation(ranks(values[usable]), output_ranks, starts)
    return rank_correlation(values[both], samples[both], starts)


def _reason(values: Array, samples: Array) -> str:
    both = ~np.isnan(values) & ~np.isnan(samples)
    for subject, array in (("the input", values), ("the output", samples)):
        kept = array[both]
        if len(kept) < 2:
            return "fewer than two iterations are numbers on both sides"
        if kept.min() == kept.max():
            return f"{subject} is constant at {number(kept[0])}"
    raise AssertionError("two varying samples have a rank correlation")


def _ends(estimate: Estimate) -> Interval:
    return estimate.confidence_interval or (math.nan, math.nan)


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3f}"
