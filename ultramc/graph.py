"""Who needs whom: regions of like formulas, their precedents, and the order of calculation.

A region is a rectangle of cells of one sheet whose formulas are the same in relative form. Edges run between regions,
and a range is looked up as a whole, so a sum over a column costs one look-up however long the column is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from ultramc.address import CellRef, RangeRef
from ultramc.components import strongly_connected
from ultramc.dialects import dialect_of
from ultramc.errors import FormulaError, FormulaSyntaxError, UnsupportedFormula
from ultramc.functions.kit import Area, Unroll
from ultramc.parser import parse, relative_key
from ultramc.references import Resolver, extent, static_areas
from ultramc.syntax import Call, Node, walk
from ultramc.workbook import Formula, Sheet, Workbook

if TYPE_CHECKING:
    from ultramc.dialects.base import Dialect


@frozen(eq=False)
class Region:
    """`tree` is None where the text is no formula; `error` then says why."""

    index: int
    place: RangeRef
    formula: Formula
    tree: Node | None
    error: FormulaError | None = None

    @property
    def in_array_mode(self) -> bool:
        """An array formula: ranges are read whole where a single value is expected."""
        return self.formula.kind == "array"

    @property
    def is_array(self) -> bool:
        """One array formula over several cells."""
        return self.in_array_mode and _size(self.formula) > 1


@frozen(eq=False)
class Graph:
    """All formula cells of a workbook as regions, with their static precedents."""

    book: Workbook
    regions: tuple[Region, ...]
    resolver: Resolver
    dialect: Dialect
    _columns: dict[tuple[str, int], tuple[list[int], list[int]]] = field(repr=False)

    @classmethod
    def of(cls, book: Workbook, dialect: str | None = None, *, unrolled: bool = False) -> Graph:
        """`dialect`: that of the draws in the sheet, by name; None finds it out. Raises `InputError` for one that does not exist.

        `unrolled`: every cell is a region of its own.
        """
        regions, resolver = tuple(_all_regions(book, unrolled)), Resolver(book)
        spoken = dialect_of(book, called(regions, resolver), dialect)
        return cls(book, regions, resolver, spoken, _column_index(regions))

    def parts(self, places: Iterable[tuple[Region, RangeRef]]) -> Graph:
        """Some parts of regions, as regions of a graph of their own."""
        regions = tuple(evolve(region, index=index, place=place) for index, (region, place) in enumerate(places))
        return evolve(self, regions=regions, columns=_column_index(regions))

    def region_at(self, cell: CellRef) -> Region | None:
        found = list(self.overlapping(RangeRef.of(cell)))
        return found[0] if found else None

    def overlapping(self, area: RangeRef) -> Iterator[Region]:
        """The regions that share a cell with an area, each once."""
        seen: set[int] = set()
        for column in self._used_columns(area):
            bottoms, indexes = self._columns[area.sheet, column]
            for position in range(bisect_left(bottoms, area.top), len(indexes)):
                index = indexes[position]
                if self.regions[index].place.top > area.bottom:
                    break
                if index not in seen:
                    seen.add(index)
                    yield self.regions[index]

    def _used_columns(self, area: RangeRef) -> Iterable[int]:
        if area.width <= 64:
            return [column for column in range(area.left, area.right + 1) if (area.sheet, column) in self._columns]
        return sorted(column for sheet, column in self._columns if sheet == area.sheet and area.left <= column <= area.right)

    def areas(self, region: Region) -> list[tuple[RangeRef, Area | None]]:
        """What a region refers to: each whole extent, and the area as its cells see it where they all see it alike."""
        if region.tree is None:
            return []
        try:
            found = static_areas(self.resolver, region.tree, region.place)
            return [(extent(area, region.place), area) for area in found]
        except Unroll:
            cells = (RangeRef.of(cell) for cell in region.place.cells())
            return [(extent(area, cell), None) for cell in cells for area in static_areas(self.resolver, region.tree, cell)]

    def precedents(self, region: Region) -> list[int]:
        """The regions that a region refers to, itself among them if it does."""
        found: dict[int, None] = {}
        for area, _ in self.areas(region):
            for other in self.overlapping(area):
                found[other.index] = None
        return list(found)

    def order(self, regions: Iterable[int] | None = None) -> list[list[int]]:
        """Groups in order of calculation; a group of several regions, or one that names itself, is a cycle of regions.

        Only `regions` and what they need are ordered, where given.
        """
        return strongly_connected(
            regions if regions is not None else range(len(self.regions)), lambda index: self.precedents(self.regions[index])
        )


def called(regions: Iterable[Region], resolver: Resolver) -> set[str]:
    """The names of all functions that formulas and defined names call, in capitals."""
    trees = [region.tree for region in regions if region.tree is not None]
    for name in resolver.book.names:
        with suppress(FormulaSyntaxError):
            trees.append(resolver.definition(name))
    return {node.name for tree in trees for node in walk(tree) if isinstance(node, Call)}


def _all_regions(book: Workbook, unrolled: bool) -> Iterator[Region]:
    index = 0
    for sheet in book.sheets:
        for place, formula in _rectangles(sheet, single if unrolled else merged):
            tree, error = _parsed(formula, place)
            yield Region(index, place, formula, tree, error)
            index += 1


def _parsed(formula: Formula, place: RangeRef) -> tuple[Node | None, FormulaError | None]:
    if formula.kind == "data_table":
        return None, UnsupportedFormula("a data table is not recalculated", cell=str(place.first), formula="TABLE(…)")
    try:
        return parse(formula.text, formula.row, formula.column), None
    except FormulaSyntaxError as error:
        return None, error.at(str(place.first), formula.text)


def _rectangles(sheet: Sheet, covering: Callable[[Sequence[Cell]], list[Box]]) -> Iterator[tuple[RangeRef, Formula]]:
    """The sheet's formulas as rectangles of like formulas, in row-major order of their first cells."""
    groups: dict[object, list[tuple[int, int]]] = defaultdict(list)
    keys: dict[int, object] = {}
    spread = [formula for formula in sheet.formulas.values() if formula.kind == "data_table" or _size(formula) > 1]
    singles = [(RangeRef(sheet.name, *formula.area), formula) for formula in spread if formula.area is not None]
    covered = {cell for place, _ in singles for cell in _places(place)}
    for cell, formula in sheet.formulas.items():
        if cell not in covered:
            groups[_key(formula, keys)].append(cell)
    found = [(RangeRef(sheet.name, *place), sheet.formulas[place[:2]]) for cells in groups.values() for place in covering(cells)]
    yield from sorted(found + singles, key=lambda item: (item[0].top, item[0].left))


def _size(formula: Formula) -> int:
    """How many cells one formula fills."""
    if formula.area is None or formula.kind not in ("array", "data_table"):
        return 1
    top, left, bottom, right = formula.area
    return (bottom - top + 1) * (right - left + 1)


def _places(place: RangeRef) -> list[tuple[int, int]]:
    return [(row, column) for row in range(place.top, place.bottom + 1) for column in range(place.left, place.right + 1)]


def _key(formula: Formula, keys: dict[int, object]) -> object:
    key = keys.get(id(formula))
    if key is None:
        key = keys[id(formula)] = (formula.kind == "array", relative_key(formula.text, formula.row, formula.column))
    return key


Cell = tuple[int, int]
Box = tuple[int, int, int, int]


def single(cells: Sequence[Cell]) -> list[Box]:
    """Each cell (row, column) by itself."""
    return [(row, column, row, column) for row, column in cells]


def merged(cells: Sequence[Cell]) -> list[Box]:
    """Cells (row, column) as disjoint rectangles (top, left, bottom, right): runs along rows, equal runs stacked."""
    runs: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, left, right in _runs(sorted(cells)):
        runs[left, right].append(row)
    found = []
    for (left, right), rows in runs.items():
        for _, top, bottom in _runs([(0, row) for row in rows]):
            found.append((top, left, bottom, right))
    return found


def _runs(ordered: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """(line, first, last) of consecutive positions on a line."""
    line, first, last = ordered[0][0], ordered[0][1], ordered[0][1]
    for other, position in ordered[1:]:
        if other != line or position != last + 1:
            yield line, first, last
            line, first = other, position
        last = position
    yield line, first, last


def _column_index(regions: Sequence[Region]) -> dict[tuple[str, int], tuple[list[int], list[int]]]:
    """For each sheet and column its regions from top to bottom: their last rows, and their indexes."""
    columns: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for region in regions:
        for column in range(region.place.left, region.place.right + 1):
            columns[region.place.sheet, column].append((region.place.bottom, region.index))
    return {key: ([bottom for bottom, _ in sorted(rows)], [index for _, index in sorted(rows)]) for key, rows in columns.items()}
