"""Two results side by side: what changed, and whether it is more than noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
from attrs import frozen

from ultramc import summary
from ultramc.errors import InputError, SamplesNotKept
from ultramc.report import Shown, Table, error_text, number
from ultramc.results import Input, Output, Result
from ultramc.summary import Estimate, Measured, Sample

_MEASURES: dict[str, Callable[[Sample], Measured]] = {
    "mean": summary.measure_mean,
    "std": summary.measure_std,
    **{f"P{p}": partial(summary.measure_quantile, q=p / 100) for p in (5, 50, 95)},
}


@frozen
class Difference:
    """One statistic of one output in two results; `change` is second minus first, with its standard error."""

    output: str
    statistic: str
    first: float
    second: float
    change: Estimate

    @property
    def z(self) -> float | None:
        """The change in standard errors; None where that is unknown or 0."""
        return self.change / self.change.standard_error if self.change.standard_error else None


@frozen(repr=False)
class Comparison(Shown):
    """Two results, statistic by statistic. `paired`: both saw the same draws, and standard errors count that."""

    differences: tuple[Difference, ...]
    paired: bool
    notes: tuple[str, ...]

    def __getitem__(self, key: tuple[str, str]) -> Difference:
        """By output and statistic: comparison["NPV", "mean"]. InputError where there is none."""
        for row in self.differences:
            if (row.output, row.statistic) == key:
                return row
        known = ", ".join(_MEASURES)
        raise InputError(f'no such difference: {key!r}; ask by output and statistic, as in ["NPV", "mean"]; statistics are {known}')

    def table(self) -> Table:
        return Table(
            title="Comparison",
            subtitle="second minus first",
            headers=("", "", "first", "second", "change", "± s.e.", "z"),
            rows=tuple(map(_difference_row, self.differences)),
            notes=self.notes,
        )


def compare(first: Result, second: Result) -> Comparison:
    """Differences of mean, std, P5, P50 and P95 of every output cell that both results have.

    With one seed, sampling (with equal replicates) and number of iterations, iterations are taken as pairs; otherwise as
    independent samples.
    """
    for given in (first, second):
        if not isinstance(given, Result):
            raise InputError(f"compare takes two results, of Simulation.run or mc.load, not {given!r:.80}")
    for given in (first, second):
        if given.keep == "summary":
            raise SamplesNotKept('compare needs the samples of both results; run with keep="samples"')
    paired = all(getattr(first, name) == getattr(second, name) for name in ("seed", "sampling", "together", "iterations"))
    ours, theirs = dict(first.outputs.flat()), dict(second.outputs.flat())
    common = [label for label in ours if label in theirs and (len(ours[label].ordered) or len(theirs[label].ordered))]
    rows = tuple(row for label in common for row in _differences(label, ours[label], theirs[label], paired))
    return Comparison(rows, paired, tuple(_notes(first, second, paired)))


def _differences(label: str, first: Output, second: Output, paired: bool) -> Iterator[Difference]:
    for statistic in _MEASURES:
        a, b = _measured(first, statistic), _measured(second, statistic)
        yield Difference(label, statistic, a.value, b.value, summary.difference(a, b, paired=paired))


def _measured(cell: Output, statistic: str) -> Measured:
    """With one influence per iteration: an excluded one has none, and the others count for more."""
    found = _MEASURES[statistic](cell)
    valid = ~np.isnan(cell.samples)
    spread = np.zeros(len(valid))
    spread[valid] = found.influence * (len(valid) / max(len(found.influence), 1))
    return Measured(found.value, spread, summary.replicate_starts(np.arange(len(valid)), cell.column.together))


def _difference_row(row: Difference) -> tuple[str, ...]:
    error = row.change.standard_error
    return (
        row.output,
        row.statistic,
        *map(number, (row.first, row.second, row.change)),
        error_text(error),
        "–" if row.z is None else f"{row.z:+.1f}",
    )


def _notes(first: Result, second: Result, paired: bool) -> Iterator[str]:
    yield "same draws: paired by iteration" if paired else "independent draws"
    same = first.workbook_sha256 == second.workbook_sha256
    yield "same workbook" if same else f"other workbook: {first.workbook} → {second.workbook}"
    yield f"seed {first.seed}" if first.seed == second.seed else f"seed {first.seed} → {second.seed}"
    yield f"{first.iterations:,} → {second.iterations:,} iterations on {first.engine} → {second.engine}"
    yield from _input_notes(first.inputs, second.inputs)
    for label in first.outputs.keys() ^ second.outputs.keys():
        yield f"output only in the {'first' if label in set(first.outputs) else 'second'}: {label}"


def _input_notes(first: Mapping[str, Input], second: Mapping[str, Input]) -> Iterator[str]:
    given = [{label: variable.distribution for label, variable in inputs.items()} for inputs in (first, second)]
    changed = [label for label in sorted(given[0].keys() | given[1].keys()) if given[0].get(label) != given[1].get(label)]
    for label in changed:
        yield f"input {label}: {given[0].get(label, 'absent')} → {given[1].get(label, 'absent')}"
    if not changed:
        yield "same inputs"
