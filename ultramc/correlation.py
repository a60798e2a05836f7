"""Inputs that move together: a correlation matrix as the caller gives it → the factor that ties the normal scores of the draws.

A group of correlated cells follows a Gaussian copula: independent standard normal scores z become y = factor · z, whose
correlation matrix is `Group.scores`, and the quantile function of each cell takes Φ(y). What kinds of correlation there are,
and how each becomes one of normal scores, is in `KINDS`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import combinations, islice
from typing import Any, final

import numpy as np
from attrs import field, frozen
from numpy.typing import ArrayLike

from ultramc.address import CellRef, RangeRef
from ultramc.distributions.law import finite, shown, text_of
from ultramc.errors import InputError, ReferenceNotFound, optional
from ultramc.report import Shown, Table, counted, number
from ultramc.sensitivity import ranks
from ultramc.summary import Array
from ultramc.workbook import Workbook

Reference = str | CellRef | RangeRef
Rows = tuple[tuple[float, ...], ...]

MAX_CELLS = 500  # of one group: 125,000 products in every iteration, and a repair takes seconds
MAX_SHOWN = 6  # cells of a matrix that an error message prints whole
MAX_PROBLEMS = 5
TOLERANCE = 1e-9  # of an entry, and of an eigenvalue per cell
KENDALL_ITERATIONS = 10_000  # the standard error of τ is then at most 0.01 · √(1 - τ²), ample beside 4 digits asked

_NEGLIGIBLE = 1e-13  # pivots below this are rounding: the cell is a combination of those before it
_PROJECTIONS = 1_000  # of a matrix to the nearest; 500 cells, each a thirtieth off, took 542
_PROJECTED = 1e-10


@frozen
class Entries:
    """A matrix as given, row by row. `index` and `columns` are the labels of a DataFrame, empty where it goes by position."""

    rows: Rows
    index: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@frozen(init=False, repr=False)
class Correlation(ABC):
    """What the three kinds of correlation share.

    `inputs`: references to input cells, each a cell, a name or a range (its cells row by row). `matrix`: nested sequences, an
    array (cells, cells), a DataFrame (whose labels, where they are references, are put in the order of `inputs`), or a
    reference to the cells that hold it (their saved values, a blank triangle filled from the other). `inputs` may be left to
    the labels of a DataFrame: ``RankCorrelation(frame)``. `repair`: where no such correlations can exist, use the nearest
    that can.

    At most 500 cells. The copula is Gaussian. Correlations hold exactly for continuous inputs; the ties of a discrete one weaken them.

    Raises `InputError` for entries that are no finite numbers.
    """

    inputs: tuple[str, ...]
    matrix: str | Entries
    repair: bool

    def __init__(self, inputs: Any, matrix: Any = None, *, repair: bool = False) -> None:
        if matrix is None and not _is_frame(inputs):
            raise InputError(f"{type(self).__name__}: give the matrix after the inputs; only a DataFrame with labels has both")
        if not isinstance(repair, bool):
            raise InputError(f"{type(self).__name__}: repair={repair!r}: True or False")
        self.__attrs_init__(_references(inputs), _matrix(inputs if matrix is None else matrix), repair)

    def __repr__(self) -> str:
        held = repr(self.matrix) if isinstance(self.matrix, str) else f"matrix of {counted(len(self.matrix.rows), 'row')}"
        return f"{type(self).__name__}({text_of(self.inputs)}, {held}{', repair=True' if self.repair else ''})"

    @property
    @abstractmethod
    def kind(self) -> str:
        """One of `KINDS`."""

    def resolved(self, book: Workbook) -> Group:
        """The cells and the factor. `ReferenceNotFound` for no such input; `InputError`, with what would do, for a matrix that
        does not fit the cells, is no correlation matrix, or asks for what cannot exist and is not to be repaired.
        """
        try:
            return self._resolved(book)
        except InputError as error:
            raise InputError(f"{self!r}: {error}") from None

    def _resolved(self, book: Workbook) -> Group:
        cells = _distinct(_cells_of(book, self.inputs))
        asked = _checked(self._entries(book, cells), cells)
        scores = to_scores(self.kind, asked)
        if is_valid(scores):
            return _group(cells, self.kind, asked, scores, None)
        nearest = nearest_correlation(scores)
        if not self.repair:
            raise InputError(_refusal(self.kind, asked, scores, nearest, cells))
        return _group(cells, self.kind, asked, nearest, _distance(asked, from_scores(self.kind, nearest)))

    def _entries(self, book: Workbook, cells: Sequence[CellRef]) -> Array:
        if isinstance(self.matrix, str):
            return read_matrix(book, self.matrix, len(cells))
        return _placed(_square(self.matrix.rows, len(cells)), self.matrix, book, cells)


@final
@frozen(init=False, repr=False)
class RankCorrelation(Correlation):
    """Spearman's rank correlations, as @RISK and Analytic Solver mean them."""

    kind = "Spearman"


@final
@frozen(init=False, repr=False)
class KendallCorrelation(Correlation):
    """Kendall's τ: the share of pairs of iterations in the same order, less the share in opposite order."""

    kind = "Kendall"


@final
@frozen(init=False, repr=False)
class NormalScoreCorrelation(Correlation):
    """Pearson's correlations of the normal scores: the matrix of the Gaussian copula itself. For normal inputs, Pearson's own."""

    kind = "normal score"


@frozen
class Group:
    """Correlated cells, looked up and checked. All matrices are (cells, cells), row by row.

    `asked` is of the `kind` that was asked for, `scores` the correlation matrix of the normal scores, `factor` lower triangular
    with factor · factorᵀ = scores and rows of unit length. `repaired`: the Frobenius distance from `asked` to `used`, None where
    nothing was repaired.
    """

    cells: tuple[CellRef, ...]
    kind: str
    asked: Rows
    scores: Rows
    factor: Rows
    repaired: float | None = None

    @property
    def used(self) -> Array:
        """The correlations that the draws have, of the kind asked: `asked`, or what repairing it gave."""
        return np.array(self.asked) if self.repaired is None else from_scores(self.kind, np.array(self.scores))

    def scores_of(self, z: Array) -> Array:
        """Independent normal scores (cells, n) → correlated ones: Σ_k factor[j][k] · z[k], k ascending, zeros skipped."""
        return np.stack([_combined(weights, z) for weights in self.factor])

    def achieved(self, samples: Array) -> Array:
        """The correlations of samples (iterations, cells), of all cells or some: (cells, cells), of the kind asked.

        Iterations with a NaN are left out, a constant cell has NaN. Of Kendall's τ the first 10,000 iterations are looked at.
        """
        complete = samples[~np.isnan(samples).any(axis=1)]
        if len(complete) < 2:
            return np.full((samples.shape[1], samples.shape[1]), np.nan)
        return KINDS[self.kind].measured(complete)


def overlaps(groups: Iterable[Group]) -> None:
    """Raises `InputError` where a cell is in two groups."""
    seen: set[CellRef] = set()
    for group in groups:
        twice = next((cell for cell in group.cells if cell in seen), None)
        if twice is not None:
            raise InputError(f"{twice} is in two correlations; put all that it is correlated with into one matrix")
        seen.update(group.cells)


def _rows(matrix: ArrayLike) -> Rows:
    return tuple(map(tuple, np.asarray(matrix, np.float64).tolist()))


@frozen(repr=False)
class Achieved(Shown):
    """The correlations that a run asked for, before any repair, and those of its draws: both (cells, cells), in the order of `labels`."""

    kind: str
    labels: tuple[str, ...]
    asked: Rows = field(converter=_rows)
    achieved: Rows = field(converter=_rows)
    repaired: float | None = None

    @property
    def largest_difference(self) -> float:
        """Between asked and achieved; NaN where no pair of cells has a correlation."""
        return max((abs(got - want) for *_, want, got in self._pairs() if not math.isnan(got)), default=math.nan)

    def to_frame(self) -> Any:
        """pandas DataFrame, a row per pair: first, second, asked, achieved. MissingExtra without pandas."""
        return optional("pandas", "parquet").DataFrame(self._pairs(), columns=["first", "second", "asked", "achieved"])

    def table(self) -> Table:
        worst_first = sorted(self._pairs(), key=lambda pair: (math.isnan(pair[3]), -abs(pair[3] - pair[2])))
        return Table(
            title=f"{self.kind[:1].upper()}{self.kind[1:]} correlation",
            subtitle=f"{counted(len(self.labels), 'cell')}, largest difference {number(self.largest_difference, 3)}",
            headers=("", "", "asked", "achieved", "difference"),
            rows=tuple((first, second, *map(_signed, (want, got, got - want))) for first, second, want, got in worst_first),
            notes=tuple(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        if self.repaired is not None:
            yield f"repaired: what was asked cannot exist, and was moved by {number(self.repaired, 3)} (Frobenius)"
        if any(math.isnan(got) for *_, got in self._pairs()):
            yield "–: one of the two is constant"

    def _pairs(self) -> list[tuple[str, str, float, float]]:
        pairs = combinations(range(len(self.labels)), 2)
        return [(self.labels[i], self.labels[j], self.asked[i][j], self.achieved[i][j]) for i, j in pairs]


def compared(groups: Iterable[Group], kept: Mapping[CellRef, tuple[str, Array]]) -> Iterator[Achieved]:
    """What groups asked for beside what the samples have, by cell with its label, that were kept: two cells of a group at least."""
    for group in groups:
        chosen = [index for index, cell in enumerate(group.cells) if cell in kept]
        if len(chosen) > 1:
            labels, samples = zip(*(kept[group.cells[index]] for index in chosen), strict=True)
            asked = np.array(group.asked)[np.ix_(chosen, chosen)]
            yield Achieved(group.kind, labels, asked, group.achieved(np.column_stack(samples)), group.repaired)


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3f}"


# The kinds of correlation.


@frozen
class Kind:
    """One way to measure correlation: by what formula it becomes one of normal scores, back, and how samples show it."""

    formula: str
    to_score: Callable[[float], float]
    from_score: Callable[[float], float]
    measured: Callable[[Array], Array]  # (iterations, cells) → (cells, cells)


def _spearman(samples: Array) -> Array:
    return _pearson(np.stack([ranks(column) for column in samples.T]))


def _normal_score(samples: Array) -> Array:
    """Pearson's of van der Waerden's scores, Φ⁻¹(rank / (n + 1))."""
    from scipy.special import ndtri

    return _pearson(np.stack([ndtri(ranks(column) / (len(column) + 1)) for column in samples.T]))


def _kendall(samples: Array) -> Array:
    """τ-b, which counts ties out."""
    from scipy.stats import kendalltau

    columns = samples[:KENDALL_ITERATIONS].T
    result: Array = np.diag(np.where(_varies(columns), 1.0, np.nan))
    for i, j in combinations(range(len(columns)), 2):
        result[i, j] = result[j, i] = kendalltau(columns[i], columns[j], method="asymptotic").statistic
    return result


def _pearson(columns: Array) -> Array:
    centred = columns - columns.mean(axis=1, keepdims=True)
    lengths = np.where(_varies(columns), np.sqrt((centred * centred).sum(axis=1)), np.nan)
    unit = centred / lengths[:, np.newaxis]
    with np.errstate(invalid="ignore"):
        result: Array = np.clip(unit @ unit.T, -1.0, 1.0)
    np.fill_diagonal(result, np.where(np.isnan(lengths), np.nan, 1.0))
    return result


def _varies(columns: Array) -> Any:
    return columns.max(axis=1) > columns.min(axis=1)


# Between bivariate normals: Pearson (1907) for Spearman's ρ, Greiner (1909) for Kendall's τ; both in Kruskal, "Ordinal measures of
# association", JASA 53 (1958).
KINDS = {
    "Spearman": Kind("2·sin(π·ρ/6)", lambda rho: 2 * math.sin(math.pi * rho / 6), lambda r: 6 / math.pi * math.asin(r / 2), _spearman),
    "Kendall": Kind("sin(π·τ/2)", lambda tau: math.sin(math.pi * tau / 2), lambda r: 2 / math.pi * math.asin(r), _kendall),
    "normal score": Kind("r", lambda r: r, lambda r: r, _normal_score),
}


def to_scores(kind: str, matrix: Array) -> Array:
    """Correlations of a kind → those of the normal scores."""
    return _entrywise(KINDS[kind].to_score, matrix)


def from_scores(kind: str, scores: Array) -> Array:
    """Correlations of normal scores → those of a kind."""
    return _entrywise(KINDS[kind].from_score, scores)


def _entrywise(function: Callable[[float], float], matrix: Array) -> Array:
    # ±1 stays ±1, though 2·sin(π/6) is not 1 in floating point. Not np.sin, whose last bit depends on the processor.
    return np.array([[r if abs(r) == 1 else function(r) for r in row] for row in matrix.tolist()])


# Matrices.


def smallest_eigenvalue(matrix: Array) -> float:
    return float(np.linalg.eigvalsh(matrix)[0])


def is_valid(scores: Array) -> bool:
    """Positive semi-definite, rounding aside."""
    return smallest_eigenvalue(scores) >= -TOLERANCE * len(scores)


def nearest_correlation(matrix: Array) -> Array:
    """The correlation matrix nearest to a symmetric matrix in the Frobenius norm, to about 1e-9 in every entry.

    Alternating projections on the positive semi-definite matrices and on those with unit diagonal, with Dykstra's correction:
    Higham, "Computing the nearest correlation matrix: a problem from finance", IMA J. Numer. Anal. 22 (2002), algorithm 3.3.
    """
    unit, correction = matrix, np.zeros_like(matrix)
    for _ in range(_PROJECTIONS):
        before = unit - correction
        semidefinite = _semidefinite(before)
        correction = semidefinite - before
        previous, unit = unit, _with_unit_diagonal(semidefinite)
        if max(np.abs(unit - semidefinite).max(), np.abs(unit - previous).max()) < _PROJECTED:
            break
    return _rescaled(_semidefinite(unit))


def _semidefinite(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    projected: Array = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return projected


def _with_unit_diagonal(matrix: Array) -> Array:
    result = matrix.copy()
    np.fill_diagonal(result, 1.0)
    return result


def _rescaled(matrix: Array) -> Array:
    """To unit diagonal, as covariances become correlations: what is semi-definite stays so."""
    scale = np.sqrt(np.diag(matrix))
    scaled = matrix / np.multiply.outer(scale, scale)
    return _with_unit_diagonal(np.clip((scaled + scaled.T) / 2, -1.0, 1.0))


def lower_factor(scores: Array) -> Rows:
    """The lower triangular factor of a positive semi-definite matrix with unit diagonal: factor · factorᵀ = scores, rows of unit length."""
    factor = _cholesky(scores)
    if np.abs(factor @ factor.T - scores).max() > _NEGLIGIBLE * len(scores):
        factor = _spectral_factor(scores)
    return tuple(map(_unit, factor.tolist()))


def _cholesky(scores: Array) -> Array:
    """By elementwise arithmetic alone, so that its bits are the same on every machine, and ±1 stays exact."""
    rest, factor = scores.copy(), np.zeros_like(scores)
    for j in range(len(scores)):
        if rest[j, j] > _NEGLIGIBLE:
            factor[j:, j] = rest[j:, j] / math.sqrt(rest[j, j])
            rest[j:, j:] -= np.multiply.outer(factor[j:, j], factor[j:, j])
    return factor


def _spectral_factor(scores: Array) -> Array:
    """Where pivots are lost in rounding: scores = B·Bᵀ by eigenvalues, Bᵀ = Q·R, so scores = Rᵀ·R."""
    values, vectors = np.linalg.eigh(scores)
    _, upper = np.linalg.qr((vectors * np.sqrt(np.maximum(values, 0.0))).T)
    signs = np.where(np.diag(upper) < 0, -1.0, 1.0)
    return np.tril(upper.T * signs)


def _unit(row: Sequence[float]) -> tuple[float, ...]:
    length = math.sqrt(math.fsum(weight * weight for weight in row))
    return tuple(weight / length for weight in row)


def _combined(weights: Sequence[float], z: Array) -> Array:
    (weight, first), *rest = ((weight, score) for weight, score in zip(weights, z, strict=True) if weight != 0)
    total = weight * first
    for weight, score in rest:
        total = total + weight * score
    return np.asarray(total)


def _group(cells: tuple[CellRef, ...], kind: str, asked: Array, scores: Array, repaired: float | None) -> Group:
    return Group(cells, kind, _rows(asked), _rows(scores), lower_factor(scores), repaired)


def _distance(first: Array, second: Array) -> float:
    """Frobenius."""
    return float(np.linalg.norm(first - second))


# Reading what was given.


def _is_frame(given: object) -> bool:
    return all(hasattr(given, name) for name in ("index", "columns", "to_numpy"))


def _is_reference(given: object) -> bool:
    return isinstance(given, Reference)


def _references(given: Any) -> tuple[str, ...]:
    listed = given.columns if _is_frame(given) else (given,) if _is_reference(given) else given
    if not isinstance(listed, Iterable) or isinstance(listed, Set):  # a set has no order
        raise InputError(f"a correlation takes its inputs as a list of references, such as ['Costs!B4', 'growth'], not {shown(given)}")
    references = tuple(listed)
    for each in references:
        if not _is_reference(each):
            raise InputError(f"correlated input {shown(each)}: give a reference, such as 'Costs!B4'")
    return tuple(map(str, references))


def _matrix(given: Any) -> str | Entries:
    if _is_reference(given):
        return str(given)
    if _is_frame(given):
        return Entries(_numbers(given.to_numpy().tolist()), _labels(given.index), _labels(given.columns))
    return Entries(_numbers(given.tolist() if isinstance(given, np.ndarray) else given))


def _labels(given: Iterable[object]) -> tuple[str, ...]:
    """Empty where they are mere positions."""
    labels = list(given)
    return tuple(map(str, labels)) if all(map(_is_reference, labels)) else ()


def _numbers(given: Any) -> Rows:
    try:
        rows = [list(row) for row in given]
    except TypeError:
        raise InputError(
            f"a correlation matrix is a list of rows or the cells that hold it, such as 'Corr!B2:D4', not {shown(given)}"
        ) from None
    return tuple(
        tuple(finite(value, f"entry ({i}, {j}) of the correlation matrix") for j, value in enumerate(row, 1))
        for i, row in enumerate(rows, 1)
    )


def _cells_of(book: Workbook, references: Iterable[str]) -> tuple[CellRef, ...]:
    places = [book.resolve(reference) for reference in references]
    size = sum(place.size for place in places)
    if size > MAX_CELLS:
        raise InputError(f"{size:,} cells; a correlation takes {MAX_CELLS:,} at most. Split it into independent ones")
    return tuple(cell for place in places for cell in place.cells())


def _distinct(cells: tuple[CellRef, ...]) -> tuple[CellRef, ...]:
    if len(cells) < 2:
        raise InputError(f"it has {counted(len(cells), 'input cell')}; it takes two or more to correlate")
    twice = next((cell for cell, count in Counter(cells).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{twice} is given twice; name it once")
    return cells


def _square(rows: Rows, size: int) -> Array:
    if len(rows) != size or any(len(row) != size for row in rows):
        widths = sorted({len(row) for row in rows})
        held = f"{len(rows)} × {widths[0]}" if len(widths) == 1 else f"{len(rows)} rows of {' or '.join(map(str, widths))} numbers"
        raise InputError(f"{size} cells need a matrix of {size} × {size}, and it is {held}")
    return np.array(rows)


def _placed(matrix: Array, entries: Entries, book: Workbook, cells: Sequence[CellRef]) -> Array:
    """Rows and columns in the order of the cells, where they have labels."""
    if not (entries.index or entries.columns):
        return matrix
    return matrix[np.ix_(*(_order(labels, book, cells) for labels in (entries.index, entries.columns)))]


def _order(labels: Sequence[str], book: Workbook, cells: Sequence[CellRef]) -> list[int]:
    advice = "label rows and columns with the inputs, or pass frame.to_numpy() to take it by position"
    try:
        labelled = _cells_of(book, labels)
    except ReferenceNotFound as error:
        raise InputError(f"a label of the DataFrame is no input: {error}; {advice}") from None
    if sorted(labelled) != sorted(cells):
        strange = [label for label, cell in zip(labels, labelled, strict=False) if cell not in cells]
        raise InputError(f"the labels of the DataFrame are not the inputs{f' (not {strange[0]!r})' if strange else ''}; {advice}")
    position = {cell: index for index, cell in enumerate(labelled)}
    return [position[cell] for cell in cells]


def read_matrix(book: Workbook, reference: str, size: int) -> Array:
    area = book.resolve(reference)
    if (area.height, area.width) != (size, size):
        raise InputError(
            f"{area} holds {area.height} × {area.width} cells; {size} inputs need {size} × {size}, without the row and column of labels"
        )
    return np.array([[_saved(book, area, i, j) for j in range(size)] for i in range(size)])


def _saved(book: Workbook, area: RangeRef, row: int, column: int) -> float:
    """The saved value, or that across the diagonal: people write one triangle."""
    places = [CellRef(area.sheet, area.top + i, area.left + j) for i, j in ((row, column), (column, row))]
    for cell in places:
        value = book.value(cell)
        if isinstance(value, (float, int)) and not isinstance(value, bool):
            return finite(value, str(cell))
        if value is not None:
            raise InputError(f"{cell} holds {shown(value)}; a correlation is a number from -1 to 1")
    across = f", and {places[1]} across the diagonal" if row != column else ""
    raise InputError(f"{places[0]} is blank{across}; write 1 on the diagonal and 0 for cells without correlation")


# What is wrong with it.


def _checked(matrix: Array, cells: Sequence[CellRef]) -> Array:
    """Symmetric with unit diagonal to the last bit."""
    problems = list(islice(_problems(matrix, cells), MAX_PROBLEMS + 1))
    if problems:
        raise InputError("; ".join([*problems[:MAX_PROBLEMS], *(["…"] if len(problems) > MAX_PROBLEMS else [])]))
    return _with_unit_diagonal(np.clip((matrix + matrix.T) / 2, -1.0, 1.0))


def _problems(matrix: Array, cells: Sequence[CellRef]) -> Iterator[str]:
    for i in np.flatnonzero(np.abs(np.diag(matrix) - 1) > TOLERANCE).tolist():
        yield f"the correlation of {cells[i]} with itself is 1, not {matrix[i, i]:g}"
    for i, j in np.argwhere(np.tril(np.abs(matrix - matrix.T)) > TOLERANCE).tolist():
        yield f"{cells[i]} with {cells[j]} is {matrix[i, j]:g}, but {cells[j]} with {cells[i]} is {matrix[j, i]:g}"
    for i, j in np.argwhere(np.abs(np.tril(matrix, -1)) > 1 + TOLERANCE).tolist():
        yield f"the correlation of {cells[i]} with {cells[j]} is {matrix[i, j]:g}, outside -1 … 1{_percent(matrix[i, j])}"


def _percent(value: float) -> str:
    return f" ({value:g} % is {value / 100:g})" if abs(value) <= 100 else ""


def _refusal(kind: str, asked: Array, scores: Array, nearest: Array, cells: Sequence[CellRef]) -> str:
    moved = from_scores(kind, nearest)
    return (
        f"no normal scores have these correlations together: {_reason(kind, asked, scores)}. "
        f"The nearest that do, at a Frobenius distance of {_distance(asked, moved):.4g}, {_offer(kind, asked, nearest, cells)}"
    )


def _reason(kind: str, asked: Array, scores: Array) -> str:
    found = f"{smallest_eigenvalue(scores):.4g}, below 0"
    if kind == "normal score":
        return f"the smallest eigenvalue of the matrix is {found}"
    though = ", though not of the matrix as given; normal scores are what is drawn" if is_valid(asked) else ""
    return f"the smallest eigenvalue of the normal scores, {KINDS[kind].formula} of each entry, is {found}{though}"


def _offer(kind: str, asked: Array, nearest: Array, cells: Sequence[CellRef]) -> str:
    if len(asked) <= MAX_SHOWN:
        return f"are {_rounded(kind, nearest).tolist()}: pass repair=True, or give that matrix"
    moved = from_scores(kind, nearest)
    i, j = divmod(int(np.argmax(np.abs(moved - asked))), len(asked))
    return f"change {cells[i]} with {cells[j]} most, from {asked[i, j]:.4g} to {moved[i, j]:.4g}: pass repair=True"


def _rounded(kind: str, nearest: Array) -> Array:
    """To 4 digits, and still valid: rounding moves no eigenvalue of the scores by more than 0.5e-4 · π/2 · (cells - 1)."""
    identity = np.eye(len(nearest))
    margins = (share * 1e-4 * len(nearest) for share in (0, 0.25, 0.5, 1))
    offers = (from_scores(kind, (1 - margin) * nearest + margin * identity).round(4) for margin in margins)
    return next(offer for offer in offers if is_valid(to_scores(kind, offer)))
