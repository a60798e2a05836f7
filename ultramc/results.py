"""What a run hands over: samples by label and by cell, their statistics, what reproduces them, saving and comparing.

    Result ── outputs, inputs: Variables ── Output, Input: Variable ── Column (samples)

A variable of one cell answers with an `Estimate`, one of several cells with a float64 array of one number per cell, in sheet
order. Iterations that ended in an error or a text are left out of every statistic, counted, and named in every repr.
Standard errors and intervals come from the independent replicates of a run, see `summary`; one replicate has none.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

import numpy as np
from attrs import Factory, field, frozen
from numpy.typing import ArrayLike, NDArray

from ultramc import summary
from ultramc.address import CellRef, parse_area, split_sheet
from ultramc.correlation import Achieved, Group, compared
from ultramc.digest import Digest, Digested, Failure
from ultramc.errors import InputError, ReferenceNotFound, SamplesNotKept
from ultramc.progress import ErrorInfo
from ultramc.report import Shape, Shown, Table, counted, error_text, number, printable
from ultramc.sensitivity import Tornado, tornado
from ultramc.summary import Array, Estimate, Sample, Starts, Statistics, Tail
from ultramc.values import ERROR_NAMES, FIRST_ERROR, ExcelError, Kind, Scalar, error_of, to_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What a result carries beside its samples and warnings, as plain JSON values.
PLAIN = (
    *("state", "iterations", "engine", "engine_reason", "seed", "sampling", "elapsed"),
    *("workbook", "workbook_sha256", "check", "validation", "versions"),
)
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
NOT_A_NUMBER = "not a number"  # a NaN whose tag says number
MOST_CORRELATED = 10_000_000  # iterations (10,000 at least) times cells squared whose correlations a repr works out: a second at most

Statistic = Any  # an Estimate, or float64 (cells,) for a variable of several cells
Label = str | CellRef


@frozen(eq=False)
class Column:
    """The samples of one output or input as the engine leaves them.

    `samples`: float64 (iterations, cells), cells in row-major order; NaN where the iteration ended in an error, the code of
    its text where it is text. `tags`: uint8 `Kind` numbers of the same shape, None where all are numbers. `texts`: what the
    codes stand for. `base`: the saved values of the cells. `together`: how many iterations, consecutive from the first on, form
    one replicate; the last is shorter in a run that was cancelled. ValueError where shapes disagree.
    """

    label: str
    cells: tuple[CellRef, ...]
    shape: tuple[int, int]
    samples: Array = field(repr=False)
    tags: NDArray[np.uint8] | None = field(default=None, repr=False)
    texts: tuple[str, ...] = field(default=(), repr=False)
    base: tuple[Scalar, ...] = field(default=(), repr=False)
    together: int = 1

    def __attrs_post_init__(self) -> None:
        rows, columns = self.shape
        if self.samples.ndim != 2 or not self.samples.shape[1] == len(self.cells) == rows * columns > 0:
            raise ValueError(f"{self.label}: samples of shape {self.samples.shape} for {len(self.cells)} cells in shape {self.shape}")
        if self.tags is not None and self.tags.shape != self.samples.shape:
            raise ValueError(f"{self.label}: tags of shape {self.tags.shape} for samples of shape {self.samples.shape}")
        if self.base and len(self.base) != len(self.cells):
            raise ValueError(f"{self.label}: {len(self.base)} saved values for {len(self.cells)} cells")
        if not isinstance(self.together, int) or self.together < 1:
            raise ValueError(f"{self.label}: replicates of {self.together!r} iterations")

    @property
    def iterations(self) -> int:
        return len(self.samples)

    def statistics_of(self, cell: Sample) -> Statistics:
        """Those of a variable of one cell, with this column."""
        return summary.Observed(cell)

    @cached_property
    def numeric(self) -> NDArray[np.bool_] | None:
        """Where the samples are numbers (booleans and blanks count, as 0 and 1), shape (iterations, cells); None: everywhere."""
        numeric = ~np.isnan(self.samples)
        if self.tags is not None:
            numeric &= (self.tags < Kind.TEXT) | (self.tags == Kind.BLANK)
        return None if numeric.all() else numeric

    @cached_property
    def excluded(self) -> dict[str, int]:
        """Samples that are no numbers, counted by reason, the commonest first."""
        if self.numeric is None:
            return {}
        if self.tags is None:
            return {NOT_A_NUMBER: int(np.count_nonzero(~self.numeric))}
        kinds = Counter(self.tags[~self.numeric].tolist())
        return {_reason(kind): count for kind, count in kinds.most_common()}

    @property
    def excluded_iterations(self) -> int:
        """In which some cell is no number."""
        return 0 if self.numeric is None else int(np.count_nonzero(~self.numeric.all(axis=1)))

    @property
    def text_codes(self) -> dict[int, int]:
        """Samples that are text, counted by code, the commonest first."""
        if self.tags is None:
            return {}
        return dict(Counter(self.samples[self.tags == Kind.TEXT].astype(np.int64).tolist()).most_common())

    @property
    def failure(self) -> tuple[int, Failure] | None:
        """The first iteration that ended in an error, and which cell."""
        if self.tags is None or not (self.tags >= FIRST_ERROR).any():
            return None
        iteration, cell = divmod(int(np.argmax(self.tags >= FIRST_ERROR)), self.tags.shape[1])
        return cell, Failure(iteration, int(self.tags[iteration, cell]))

    @property
    def is_lost(self) -> bool:
        """Whether some cell is an error in every iteration."""
        return self.tags is not None and bool((self.tags >= FIRST_ERROR).all(axis=0).any())

    def at(self, index: int) -> Column:
        """The column of one of its cells, as views."""
        place = slice(index, index + 1)
        return Column(
            label=f"{self.label}[{self.cells[index]}]",
            cells=self.cells[place],
            shape=(1, 1),
            samples=self.samples[:, place],
            tags=None if self.tags is None else self.tags[:, place],
            texts=self.texts,
            base=self.base[place],
            together=self.together,
        )


@frozen(eq=False, slots=False)
class Digests:
    """What is left of the samples of one output or input in a run with keep="summary": a digest of each cell.

    `excluded_iterations`: in how many some cell was no number. The rest is as in `Column`.
    """

    label: str
    cells: tuple[CellRef, ...]
    shape: tuple[int, int]
    digests: tuple[Digest, ...] = field(repr=False)
    excluded_iterations: int = 0
    texts: tuple[str, ...] = field(default=(), repr=False)
    base: tuple[Scalar, ...] = field(default=(), repr=False)
    together: int = 1

    def __attrs_post_init__(self) -> None:
        rows, columns = self.shape
        if not len(self.digests) == len(self.cells) == rows * columns > 0:
            raise ValueError(f"{self.label}: {len(self.digests)} digests for {len(self.cells)} cells in shape {self.shape}")
        if not isinstance(self.together, int) or self.together < 1:
            raise ValueError(f"{self.label}: replicates of {self.together!r} iterations")

    @property
    def samples(self) -> Array:
        """Raises SamplesNotKept."""
        raise self._not_kept()

    def _not_kept(self) -> SamplesNotKept:
        return SamplesNotKept(f'the samples of {printable(self.label)} were not kept, as keep="summary" asks; run with keep="samples"')

    @property
    def numeric(self) -> NDArray[np.bool_] | None:
        """Raises SamplesNotKept."""
        raise self._not_kept()

    @property
    def iterations(self) -> int:
        return self.digests[0].iterations

    def statistics_of(self, cell: Sample) -> Statistics:
        """Those of a variable of one cell, with this column."""
        return Digested(self.digests[0], self.together > 1)

    @cached_property
    def excluded(self) -> dict[str, int]:
        """Samples that are no numbers, counted by reason, the commonest first."""
        kinds = sum((Counter(digest.excluded) for digest in self.digests), Counter())
        return {_reason(kind): count for kind, count in kinds.most_common()}

    @property
    def text_codes(self) -> dict[int, int]:
        """Samples that are text, counted by code, the commonest first."""
        return dict(sum((Counter(digest.texts) for digest in self.digests), Counter()).most_common())

    @property
    def failure(self) -> tuple[int, Failure] | None:
        """The first iteration that ended in an error, and which cell."""
        failed = [(digest.failure.iteration, cell) for cell, digest in enumerate(self.digests) if digest.failure]
        if not failed:
            return None
        _, cell = min(failed)
        found = self.digests[cell].failure
        assert found is not None
        return cell, found

    @property
    def is_lost(self) -> bool:
        """Whether some cell is an error in every iteration."""
        errors = (sum(count for kind, count in digest.kinds.items() if kind >= FIRST_ERROR) for digest in self.digests)
        return any(count == self.iterations for count in errors)

    def at(self, index: int) -> Digests:
        """Of one of its cells."""
        place, digest = slice(index, index + 1), self.digests[index]
        return Digests(
            label=f"{self.label}[{self.cells[index]}]",
            cells=self.cells[place],
            shape=(1, 1),
            digests=(digest,),
            excluded_iterations=sum(digest.excluded.values()),
            texts=self.texts,
            base=self.base[place],
            together=self.together,
        )


AnyColumn = Column | Digests


@frozen(eq=False, repr=False, slots=False)
class Variable(Shown):
    """The samples of one cell, or of several under one label, and their statistics."""

    column: AnyColumn

    @property
    def label(self) -> str:
        return self.column.label

    @property
    def references(self) -> tuple[CellRef, ...]:
        return self.column.cells

    @property
    def iterations(self) -> int:
        return self.column.iterations

    # Cells.

    @cached_property
    def cells(self) -> tuple[Self, ...]:
        """One variable per cell, in row-major order; of one cell: itself."""
        if len(self.references) == 1:
            return (self,)
        return tuple(self._with(self.column.at(index)) for index in range(len(self.references)))

    def _with(self, column: AnyColumn) -> Self:
        from attrs import evolve

        return evolve(self, column=column)

    def __getitem__(self, reference: Label) -> Self:
        """One cell, by address such as "B4" or "Costs!B4"; ReferenceNotFound where it is not among these cells."""
        sheet, area = _sheet_and_area(reference)
        for cell in self.cells if area else ():
            if _covers(cell, area) and sheet in (None, cell.references[0].sheet.casefold()):
                return cell
        raise ReferenceNotFound(f"{printable(self.label)} has no cell {reference}; it has {_listed(map(str, self.references))}")

    def _one(self, purpose: str) -> Self:
        if len(self.references) == 1:
            return self
        first = self.references[0].a1
        raise InputError(
            f"{printable(self.label)} has {len(self.references)} cells; {purpose} takes one: .cells[0], or by address [{first!r}]"
        )

    # Samples.

    @property
    def samples(self) -> Array:
        """Read-only float64 (iterations,), or (iterations, cells) in row-major order; NaN where there is no number.

        SamplesNotKept after a run with keep="summary", as from all that needs samples.
        """
        numeric = self.column.numeric
        samples = self.column.samples if numeric is None else np.where(numeric, self.column.samples, np.nan)
        view = samples[:, 0] if len(self.references) == 1 else samples[:]
        view.flags.writeable = False
        return view

    @property
    def values(self) -> Array:
        """The samples of one cell that are numbers, in the order of iterations; float64 (valid,). InputError for several cells."""
        column, numeric = self._one("values").column.samples[:, 0], self.column.numeric
        return np.ascontiguousarray(column if numeric is None else column[numeric[:, 0]])

    @cached_property
    def ordered(self) -> Array:
        """`values` in ascending order."""
        return np.sort(self.values)

    @property
    def starts(self) -> Starts | None:
        """Index in `values` of the first of each replicate; None where iterations are independent. InputError for several cells."""
        numeric = self._one("starts").column.numeric
        iterations = np.arange(self.iterations) if numeric is None else np.flatnonzero(numeric)
        return summary.replicate_starts(iterations, self.column.together)

    @property
    def excluded(self) -> dict[str, int]:
        """Samples that are no numbers, counted by reason: an error, "text", or "not a number". The commonest first."""
        return dict(self.column.excluded)

    @property
    def errors(self) -> dict[str, int]:
        """Samples that ended in an Excel error, such as {"#DIV/0!": 12}."""
        return {reason: count for reason, count in self.excluded.items() if reason in ERROR_NAMES}

    @property
    def categories(self) -> dict[str, int]:
        """Samples that are text, counted by text, the commonest first."""
        return {self.column.texts[code]: count for code, count in self.column.text_codes.items()}

    @property
    def _is_text(self) -> bool:
        return sum(self.column.text_codes.values()) == self.iterations * len(self.references)

    # Statistics.

    @cached_property
    def statistics(self) -> Statistics:
        """What all below is asked of. InputError for several cells."""
        return self.column.statistics_of(self._one("statistics"))

    def _each(self, statistic: Callable[[Statistics], Any]) -> Statistic:
        found = [statistic(cell.statistics) for cell in self.cells]
        return found[0] if len(found) == 1 else np.array(found)

    def _at_each(self, statistic: Callable[[Statistics, float], Estimate], points: ArrayLike) -> Statistic:
        """A statistic at one point, or at a sequence of them (the last axis of the answer)."""
        if np.ndim(points) == 0:
            return self._each(lambda cell: statistic(cell, float(points)))  # type: ignore[arg-type]
        return self._each(lambda cell: np.array([statistic(cell, point) for point in np.asarray(points, float)]))

    @property
    def mean(self) -> Statistic:
        return self._each(lambda cell: cell.mean())

    @property
    def std(self) -> Statistic:
        """With ddof = 1."""
        return self._each(lambda cell: cell.std())

    @property
    def variance(self) -> Statistic:
        """With ddof = 1."""
        return self._each(lambda cell: cell.variance())

    @property
    def skewness(self) -> Statistic:
        """m3 / m2^1.5, moments over n."""
        return self._each(lambda cell: cell.skewness())

    @property
    def kurtosis(self) -> Statistic:
        """Excess kurtosis, m4 / m2² − 3, moments over n."""
        return self._each(lambda cell: cell.kurtosis())

    @property
    def minimum(self) -> Statistic:
        return self._each(lambda cell: cell.extreme(0))

    @property
    def maximum(self) -> Statistic:
        return self._each(lambda cell: cell.extreme(-1))

    @property
    def median(self) -> Statistic:
        return self.quantile(0.5)

    @property
    def standard_error(self) -> Any:
        """Of the mean; None for fewer than two replicates (independent iterations are one each)."""
        return self._each(lambda cell: cell.mean().standard_error)

    def quantile(self, q: ArrayLike) -> Statistic:
        """The value that a share q of the samples does not exceed, 0 ≤ q ≤ 1; linear between samples. InputError for another q."""
        return self._at_each(lambda cell, share: cell.quantile(share), _numbers("quantile", q))

    def percentile(self, p: ArrayLike) -> Statistic:
        """`quantile(p / 100)`. InputError for p outside 0 … 100, and for 0 < p < 1, which is nearly always meant as a share."""
        percents = _numbers("percentile", p)
        _check_percent(percents)
        return self.quantile(percents / 100)

    def cvar(self, level: float, *, tail: Tail) -> Statistic:
        """The mean of the worst share 1 − level of the samples: the smallest for tail="lower", the largest for tail="upper".

        The observation on the boundary counts with the fraction that the share needs (Acerbi & Tasche 2002).
        InputError unless 0 ≤ level < 1 and the tail is one of the two.
        """
        return self._each(lambda cell: cell.cvar(level, tail))

    def probability_below(self, threshold: ArrayLike) -> Statistic:
        """P(X ≤ threshold), with Wilson's interval, or Student's of replicates."""
        return self._at_each(lambda cell, point: cell.probability_below(point), _numbers("probability_below", threshold))

    def probability_above(self, threshold: ArrayLike) -> Statistic:
        """P(X > threshold), with Wilson's interval, or Student's of replicates."""
        return self._at_each(lambda cell, point: cell.probability_above(point), _numbers("probability_above", threshold))

    def histogram(self, bins: int | Literal["auto"] = "auto") -> tuple[NDArray[np.int64], Array]:
        """Counts (bins,) and edges (bins + 1,) over the whole range; for one cell. InputError where there is no number."""
        return self._one("histogram").statistics.histogram(bins)

    def plot(self, kind: Literal["histogram", "cdf"] = "histogram") -> Figure:
        """A matplotlib Figure. MissingExtra without matplotlib, InputError for another kind or several cells."""
        from ultramc import plots

        if kind not in plots.KINDS:
            raise InputError(f"plot draws {' or '.join(map(repr, plots.KINDS))}, got {kind!r}")
        return plots.KINDS[kind](self._one("plot"))

    # Showing.

    @property
    def exclusion(self) -> str:
        """Such as "12 of 100,000 iterations excluded (#DIV/0!)"; empty where none is, and for a variable that is text throughout."""
        if not self.excluded or self._is_text:
            return ""
        reasons = ", ".join(self.excluded if len(self.excluded) == 1 else (f"{name} {count:,}" for name, count in self.excluded.items()))
        return f"{self.column.excluded_iterations:,} of {counted(self.iterations, 'iteration')} excluded ({reasons})"

    def table(self) -> Table:
        return _table_of_cells(self) if len(self.references) > 1 else _table_of_statistics(self)

    def to_json(self) -> dict[str, Any]:
        """The statistics of one cell, JSON-ready: unknown numbers are None. InputError for several cells."""
        cell = self._one("to_json")
        mean = cell.mean
        return {
            "cell": str(cell.references[0]),
            "mean": _json_number(mean),
            "std": _json_number(cell.std),
            "standard_error": _json_number(mean.standard_error),
            "confidence_interval": None if mean.confidence_interval is None else list(map(_json_number, mean.confidence_interval)),
            "minimum": _json_number(cell.minimum),
            "maximum": _json_number(cell.maximum),
            "percentiles": {str(p): _json_number(summary.interpolated(cell.statistics.ordered, p / 100)) for p in PERCENTILES},
            "errors": cell.errors,
            "excluded": sum(cell.excluded.values()),
            **({"categories": cell.categories} if cell.categories else {}),
        }


@frozen(eq=False, repr=False, slots=False)
class Input(Variable):
    """An uncertain cell; `distribution` is what it was given, or the formula that draws in the sheet."""

    distribution: str = ""


@frozen
class FirstError:
    """The first iteration that ended in an error, and the values of the inputs in it."""

    iteration: int
    error: str
    cell: CellRef
    inputs: dict[str, float]


@frozen(eq=False, repr=False, slots=False)
class Output(Variable):
    """A cell, or several, that the run collected; `inputs` are those of the run."""

    inputs: Mapping[str, Input] = Factory(dict)

    @property
    def first_error(self) -> FirstError | None:
        if self.column.failure is None:
            return None
        cell, failure = self.column.failure
        drawn = {label: value for name, variable in self.inputs.items() for label, value in _drawn(name, variable, failure)}
        return FirstError(failure.iteration, str(error_of(failure.kind)), self.references[cell], drawn)


V = TypeVar("V", bound=Variable)


class Variables(Mapping[str, V], Generic[V]):
    """Variables by label. A look-up also takes another case, a reference such as "Summary!D20", and a cell of a range."""

    def __init__(self, members: Mapping[str, V]) -> None:
        self._members = dict(members)

    def __getitem__(self, key: Label) -> V:
        """ReferenceNotFound, with close matches, where nothing has this label or reference."""
        found = self._members.get(str(key)) or self._by_case(str(key)) or self._by_reference(key)
        if found is None:
            raise ReferenceNotFound(f"no {printable(str(key))!r} in this result; {_suggestion(str(key), self)}")
        return found

    def _by_case(self, key: str) -> V | None:
        return next((member for label, member in self._members.items() if label.casefold() == key.casefold()), None)

    def _by_reference(self, key: Label) -> V | None:
        sheet, area = _sheet_and_area(key)
        if sheet is None or area is None:
            return None
        on_sheet = [member for member in self._members.values() if member.references[0].sheet.casefold() == sheet]
        whole = (member for member in on_sheet if _covers(member, area))
        part = (cell for member in on_sheet for cell in member.cells if _covers(cell, area))
        return next(whole, None) or next(part, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_listed(self)})"

    def flat(self) -> Iterator[tuple[str, V]]:
        """One variable per cell, by label, or "label[Sheet!B4]" for the cells of a range."""
        return _flat(self)


# Named, because mypy finds no type of a generic class as a converter.
def _output_variables(members: Mapping[str, Output]) -> Variables[Output]:
    return Variables(members)


def _input_variables(members: Mapping[str, Input]) -> Variables[Input]:
    return Variables(members)


@frozen(eq=False, repr=False, slots=False)
class Result(Shown):
    """A finished run: its outputs and inputs, and all that reproduces it.

    `result["NPV"]` is an output by label (in any case), by reference such as "Summary!D20", or one cell of an output range.
    `groups` are the cells that were drawn together, see `correlations`.
    """

    state: str
    iterations: int
    engine: str
    seed: int
    sampling: str
    elapsed: float  # seconds
    workbook: str
    workbook_sha256: str
    outputs: Variables[Output] = field(converter=_output_variables)
    inputs: Variables[Input] = field(converter=_input_variables)
    warnings: tuple[str, ...] = ()
    check: str = ""
    validation: str = ""  # how the engine was compared with NumPy before the run
    versions: dict[str, str] = Factory(dict)
    groups: tuple[Group, ...] = ()
    engine_reason: str = ""  # why engine="auto" chose it; empty where it was asked for
    callback_errors: tuple[ErrorInfo, ...] = ()  # of progress callbacks, which were then called no more

    def __getitem__(self, key: Label) -> Output:
        if key not in self.outputs and key in self.inputs:
            raise ReferenceNotFound(f"{printable(str(key))!r} is an input of this result, not an output; ask .inputs[{str(key)!r}]")
        return self.outputs[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    @property
    def together(self) -> int:
        """How many iterations form one replicate: 1 where all are independent, 2 for antithetic pairs."""
        return max((variable.column.together for variable in (*self.outputs.values(), *self.inputs.values())), default=1)

    @property
    def replicates(self) -> int:
        """Independent replicates, of which standard errors are made; an unfinished one, of a run that was cancelled, counts."""
        return math.ceil(self.iterations / self.together)

    def tornado(self, output: Label) -> Tornado:
        """Rank correlation of every input cell with one output cell. InputError for an output of several cells."""
        chosen = self.outputs[output]._one("tornado")
        return tornado(chosen.label, chosen.samples, {label: variable.samples for label, variable in self.inputs.flat()}, self.together)

    @cached_property
    def correlations(self) -> tuple[Achieved, ...]:
        """For each group of correlated cells the correlations asked for, and those of its values in this run.

        Worked out when first asked for. Cells whose values were not kept as inputs are left out, groups without two such cells too.
        """
        kept = {cell.references[0]: (label, cell.samples) for label, cell in self.inputs.flat()}
        return tuple(compared(self.groups, kept))

    # Export.

    def summary(self) -> dict[str, Any]:
        """Statistics and provenance, JSON-ready: numbers that are unknown are None."""
        return {
            **{name: getattr(self, name) for name in PLAIN},
            "replicates": self.replicates,
            "correlations": [
                {"kind": group.kind, "cells": list(map(str, group.cells)), "repaired": group.repaired} for group in self.groups
            ],
            "warnings": list(self.warnings),
            "inputs": {label: {"cell": str(cell.references[0]), "distribution": cell.distribution} for label, cell in self.inputs.flat()},
            "outputs": {label: cell.to_json() for label, cell in self.outputs.flat()},
        }

    def to_json(self) -> str:
        return json.dumps(self.summary(), ensure_ascii=False, indent=2, allow_nan=False)

    def to_frame(self) -> Any:
        """pandas DataFrame, one row per iteration, one column per input and output cell; MissingExtra without pandas.

        The columns of a range are "label[Sheet!B4]"; an output with the label of an input becomes "label (output)". Cells that
        hold text in some iteration are columns of text. What ended in an error is missing.
        """
        from ultramc import storage

        return storage.to_frame(self)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """`to_frame` as UTF-8 text with a header; text that a spreadsheet would run as a formula gets an apostrophe before it."""
        from ultramc import storage

        storage.to_csv(self, path)

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """`to_frame` as a Parquet file; MissingExtra without pandas and pyarrow."""
        from ultramc import storage

        storage.to_parquet(self, path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """One .npz file with all samples, for `load`; written whole or not at all. OSError where the folder cannot be written."""
        from ultramc import storage

        storage.save(self, path)

    # Showing.

    @property
    def _draws(self) -> str:
        return f"seed {self.seed}, {self.sampling} sampling{_replicates(self.iterations, self.together)}"

    def table(self) -> Table:
        cells = list(self.outputs.flat())
        return Table(
            title=f"{self.workbook}: {self.state}",
            subtitle=f"{counted(self.iterations, 'iteration')} on {self.engine} in {self.elapsed:.3g} s, {self._draws}",
            headers=_CELL_HEADERS,
            rows=tuple(_cell_row(label, cell) for label, cell in cells),
            notes=(
                *_remarks(self.outputs.values()),
                f"{counted(len(dict(self.inputs.flat())), 'uncertain input')}",
                *self._correlated(),
                *([f"engine: {self.engine_reason}"] if self.engine_reason else ()),
                *([f"check: {self.check}"] if self.check else ()),
                *([f"validation: {self.validation}"] if self.validation else ()),
                *(f"warning: {warning}" for warning in self.warnings),
                *(f"progress callback failed: {error}" for error in self.callback_errors),
            ),
        )

    @property
    def keep(self) -> str:
        """What was kept: "samples" or "summary"."""
        variables = (*self.outputs.values(), *self.inputs.values())
        return "summary" if any(isinstance(variable.column, Digests) for variable in variables) else "samples"

    def _correlated(self) -> Iterator[str]:
        if self.keep == "summary":
            sizes = ((group.kind, counted(len(group.cells), "cell")) for group in self.groups)
            yield from (f"correlation: {kind} of {size}, not worked out without samples" for kind, size in sizes)
            return
        if max(self.iterations, 10_000) * sum(len(group.cells) ** 2 for group in self.groups) > MOST_CORRELATED:
            yield from (f"correlation: {group.kind} of {counted(len(group.cells), 'cell')}, see .correlations" for group in self.groups)
            return
        for each in self.correlations:
            size, repaired = counted(len(each.labels), "cell"), "" if each.repaired is None else ", repaired"
            yield f"correlation: {each.kind} of {size}, largest difference {number(each.largest_difference, 3)}{repaired}"


# Looking up.


def _sheet_and_area(reference: Label) -> tuple[str | None, tuple[int, int, int, int] | None]:
    sheet, area = split_sheet(str(reference))
    return None if sheet is None else sheet.casefold(), parse_area(area)


def _covers(variable: Variable, area: tuple[int, int, int, int] | None) -> bool:
    first, last = variable.references[0], variable.references[-1]
    return area == (first.row, first.column, last.row, last.column)


def _suggestion(key: str, labels: Iterable[str]) -> str:
    from difflib import get_close_matches

    by_case = {label.casefold(): label for label in labels}
    close = [by_case[match] for match in get_close_matches(key.casefold(), by_case, cutoff=0.5)]
    return f"did you mean {_listed(close)}?" if close else f"it has {_listed(by_case.values())}"


def _listed(names: Iterable[str], limit: int = 10) -> str:
    shown = [printable(name) for name in names]
    return ", ".join(shown[:limit]) + (f" and {len(shown) - limit} more" if len(shown) > limit else "") or "nothing"


def _flat(variables: Mapping[str, V]) -> Iterator[tuple[str, V]]:
    for label, variable in variables.items():
        for reference, cell in zip(variable.references, variable.cells, strict=True):
            yield (label if len(variable.cells) == 1 else f"{label}[{reference}]"), cell


def _drawn(name: str, variable: Variable, failure: Failure) -> Iterator[tuple[str, float]]:
    """The values of an input in the iteration that failed, by label of the cell."""
    kept = failure.inputs.get(name)
    for place, (label, cell) in enumerate(_flat({name: variable})):
        yield label, float(cell.samples[failure.iteration]) if kept is None else kept[place]


def _reason(kind: int) -> str:
    if kind >= FIRST_ERROR:
        return str(error_of(kind))
    return {Kind.TEXT: "text", Kind.ABSENT: "absent"}.get(Kind(kind), NOT_A_NUMBER)


def _numbers(statistic: str, points: ArrayLike) -> Array:
    try:
        return np.asarray(points, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{statistic} takes a number or a sequence of numbers, got {points!r}") from None


def _check_percent(percent: Array) -> None:
    for p in percent.flat:
        if not 0 <= p <= 100:
            raise InputError(f"percentile takes a number from 0 to 100, got {p:g}")
        if 0 < p < 1:
            raise InputError(
                f"percentile takes a number from 0 to 100, got {p:g}; the share {p:g} is quantile({p:g}), or percentile({100 * p:g})"
            )


# Tables.

_CELL_HEADERS = ("", "mean", "± s.e.", "std", "P5", "P50", "P95", "distribution")
_STATISTICS: dict[str, Callable[[Variable], Estimate]] = {
    "mean": lambda cell: cell.mean,
    "std": lambda cell: cell.std,
    "minimum": lambda cell: cell.minimum,
    **{f"P{p}": partial(lambda p, cell: cell.percentile(p), p) for p in (1, 5, 25, 50, 75, 95, 99)},
    "maximum": lambda cell: cell.maximum,
}


def _cell_row(label: str, cell: Variable) -> tuple[str | Shape, ...]:
    mean = cell.mean
    percentiles = (number(summary.interpolated(cell.statistics.ordered, q)) for q in (0.05, 0.5, 0.95))
    return (label, number(mean), error_text(mean.standard_error), number(cell.std), *percentiles, _shape(cell))


def _shape(cell: Variable, bins: int = 24) -> Shape:
    return Shape(cell.statistics.shape(bins) if cell.statistics.count else ())


def _table_of_cells(variable: Variable) -> Table:
    cells = [_cell_row(str(reference), cell) for reference, cell in zip(variable.references, variable.cells, strict=True)]
    return Table(_title(variable), _extent(variable), _CELL_HEADERS, tuple(cells), tuple(_remarks([variable])))


def _table_of_statistics(cell: Variable) -> Table:
    known = _STATISTICS.items() if cell.statistics.count else ()
    rows: tuple[tuple[str | Shape, ...], ...] = tuple(_statistic_row(name, statistic(cell)) for name, statistic in known)
    counts = tuple((f"“{text}”", f"{count:,}", "", "", "") for text, count in cell.categories.items())
    shape = (("", _shape(cell, 36), "", "", ""),) if cell.statistics.count else ()
    headers = ("", "estimate", "± s.e.", "95 % low", "high")
    notes = (cell.exclusion, *(f"saved value {_saved(value)}" for value in cell.column.base if value is not None))
    return Table(_title(cell), _extent(cell), headers, (*rows, *counts, *shape), tuple(filter(None, notes)))


def _statistic_row(name: str, estimate: Estimate) -> tuple[str, ...]:
    ends = estimate.confidence_interval or (math.nan, math.nan)
    return (name, number(estimate), error_text(estimate.standard_error), *map(number, ends))


def _title(variable: Variable) -> str:
    first, last = variable.references[0], variable.references[-1]
    place = f"{first}" if first == last else f"{first}:{last.a1}"
    given = f" = {variable.distribution}" if isinstance(variable, Input) and variable.distribution else ""
    named = variable.label == place or variable.label.endswith(f"[{place}]")
    return f"{variable.label}{given}{'' if named else f' ({place})'}"


def _extent(variable: Variable) -> str:
    return counted(variable.iterations, "iteration") + _replicates(variable.iterations, variable.column.together)


def _replicates(iterations: int, together: int) -> str:
    """Such as " in 16 replicates of 625"; empty where iterations are independent."""
    if together == 1:
        return ""
    if iterations <= together:
        return " in one replicate: standard errors unknown"
    return f" in {math.ceil(iterations / together):,} replicates of {together:,}"


def _remarks(variables: Iterable[Variable]) -> Iterator[str]:
    for variable in variables:
        if variable.exclusion:
            yield f"{variable.label}: {variable.exclusion}"
        if variable.categories:
            yield f"{variable.label}: {_listed(f'“{text}” {count:,}' for text, count in variable.categories.items())}"


def _saved(value: bool | float | str | ExcelError) -> str:
    return str(to_text(value)) if isinstance(value, (bool, str, ExcelError)) else number(value)


def _json_number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
