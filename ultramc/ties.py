"""Which call sites are drawn together: those that `correlation=` names, and those that formulas tie to each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from ultramc import syntax
from ultramc.address import CellRef, RangeRef
from ultramc.compilation import site_of
from ultramc.correlation import Correlation, Group, RankCorrelation, overlaps
from ultramc.correlation import read_matrix as saved_matrix
from ultramc.errors import FormulaError, InputError, UnsupportedFormula
from ultramc.functions.kit import Area, Value
from ultramc.lowering import Lowering, Scope
from ultramc.references import extent
from ultramc.sampling import Site, Tie

if TYPE_CHECKING:
    from ultramc.calculation import Calculation


@frozen(eq=False)
class Tied:
    """A group of correlated cells, and the call sites in them. `group` is None where a formula is tied to nothing else."""

    group: Group | None
    tie: Tie


def tied(calculation: Calculation, given: Sequence[Correlation], inputs: Mapping[CellRef, bool], in_sheet: bool) -> tuple[Tied, ...]:
    """`inputs` tells of each input cell whether it has a distribution. What is given wins over what the sheet says.

    Raises `InputError` for cells that are not uncertain or are in two groups, and for matrices that cannot be.
    """
    groups = [correlation.resolved(calculation.graph.book) for correlation in given]
    overlaps(groups)
    from_caller = [Tied(group, Tie(_sites(calculation, group, inputs, in_sheet), group.factor)) for group in groups]
    taken = {cell for group in groups for cell in group.cells}
    in_formulas = _ties_in_formulas(calculation, taken | set(inputs)) if in_sheet else []
    return (*from_caller, *in_formulas)


def _sites(calculation: Calculation, group: Group, inputs: Mapping[CellRef, bool], in_sheet: bool) -> tuple[Site, ...]:
    for cell in group.cells:
        if not inputs.get(cell, in_sheet and cell not in inputs and _draws_once(calculation, cell)):
            raise InputError(f"correlation of {cell}: it is no input with a distribution of its own; name it in inputs=")
    return tuple(site_of(cell, 0) for cell in group.cells)


def _draws_once(calculation: Calculation, cell: CellRef) -> bool:
    region = calculation.graph.region_at(cell)
    return region is not None and region.tree is not None and calculation.lowering.draws_in(region.tree, RangeRef.of(cell)) == 1


# Ties that formulas name: a matrix in the sheet, and the place of the call site in it


@frozen(eq=False)
class _Place:
    """One call site: the matrix, which copy of it, and the position in it that its property names."""

    site: Site
    matrix: RangeRef
    copy: object
    position: int


def _ties_in_formulas(calculation: Calculation, taken: set[CellRef]) -> list[Tied]:
    places: dict[tuple[RangeRef, object], list[_Place]] = defaultdict(list)
    for place in _places(calculation, taken):
        places[place.matrix, place.copy].append(place)
    return [_tied(calculation, sorted(found, key=lambda place: place.position)) for found in places.values()]


def _places(calculation: Calculation, taken: set[CellRef]) -> Iterator[_Place]:
    name = calculation.graph.dialect.correlation
    for region, whole in calculation.done if name else ():
        if region.tree is None or not any(isinstance(node, syntax.Call) and node.name == name for node in syntax.walk(region.tree)):
            continue
        for cell in whole.cells():
            if cell not in taken:
                yield from _places_in(calculation, region.tree, cell, name)


def _places_in(calculation: Calculation, tree: syntax.Node, cell: CellRef, name: str) -> Iterator[_Place]:
    for k, call in enumerate(_draws(calculation.lowering, tree, RangeRef.of(cell))):
        for node in call.arguments if call is not None else ():
            if isinstance(node, syntax.Call) and node.name == name:
                try:
                    yield _place(calculation.lowering, site_of(cell, k), node, Scope(RangeRef.of(cell)))
                except FormulaError as error:
                    raise error.at(str(cell), calculation.graph.book.formula_text(cell) or "") from None


def _draws(lowering: Lowering, tree: syntax.Node, place: RangeRef) -> list[syntax.Call | None]:
    """The draws of a formula in the order in which they are numbered, arguments first; None for those inside a defined name."""
    backwards: list[syntax.Call | None] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        waiting.extend(syntax.children(node))
        if isinstance(node, syntax.Call) and node.name in lowering.drawing:
            backwards.append(node)
        elif isinstance(node, syntax.Name):
            backwards.extend([None] * lowering.draws_in(node, place))
    return backwards[::-1]


def _place(lowering: Lowering, site: Site, node: syntax.Call, scope: Scope) -> _Place:
    if not 2 <= len(node.arguments) <= 3:
        raise UnsupportedFormula(f"{node.name} takes a matrix, a position and perhaps an instance")
    if lowering.draws_in(node, scope.place):
        raise UnsupportedFormula(f"{node.name} with draws in it is not supported")
    matrix = lowering.run(node.arguments[0], scope)
    if not isinstance(matrix, Area):
        raise UnsupportedFormula(f"{node.name}: its matrix is no range of cells")
    position = _known(lowering, node.arguments[1], scope)
    copy = _known(lowering, node.arguments[2], scope) if len(node.arguments) == 3 else None
    if not isinstance(position, float) or not position.is_integer() or position < 1:
        raise UnsupportedFormula(f"{node.name}: position {position!r} is no whole number from 1")
    return _Place(site, extent(matrix, scope.place), copy.casefold() if isinstance(copy, str) else copy, int(position))


def _known(lowering: Lowering, node: syntax.Node, scope: Scope) -> object:
    value = lowering.scalar(lowering.run(node, scope), scope)
    return lowering.kit.scalars(value)[0] if isinstance(value, Value) else None


def _tied(calculation: Calculation, places: Sequence[_Place]) -> Tied:
    cells = [CellRef(place.site.sheet, place.site.row, place.site.column) for place in places]
    matrix = places[0].matrix
    entries = saved_matrix(calculation.graph.book, str(matrix), matrix.height)
    for place, cell in zip(places, cells, strict=True):
        if place.position > len(entries):
            raise InputError(f"{cell} is number {place.position} of the correlation matrix {matrix}, which has {len(entries)} rows")
    for one, other, first, second in zip(places, places[1:], cells, cells[1:], strict=False):
        if one.position == other.position:
            raise InputError(f"{first} and {second} are both number {one.position} of the matrix {matrix}; give one an instance")
    sites = tuple(place.site for place in places)
    if len(sites) == 1:
        return Tied(None, Tie(sites, ((1.0,),)))
    chosen = [place.position - 1 for place in places]
    group = RankCorrelation(cells, entries[chosen][:, chosen]).resolved(calculation.graph.book)
    return Tied(group, Tie(sites, group.factor))
