"""The base case: every formula of a workbook worked out, in order, with what is known.

Regions are computed as blocks. Where regions need each other, one region that reads only cells a fixed distance back is
computed in strips, and anything else cell by cell, each when it is first needed, so that a circle which a condition has
switched off is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import numpy as np
from attrs import define, field

from ultramc.address import CellRef, RangeRef
from ultramc.errors import CircularReference, FormulaError, UnsupportedFormula
from ultramc.functions.kit import Area, Kit, Texts, Unroll, Value, tag_of
from ultramc.graph import Graph, Region
from ultramc.grid import Grid, Pending, Plane, filled_plane
from ultramc.lowering import Lowering
from ultramc.program import Builder
from ultramc.workbook import Workbook


def loaded_grid(book: Workbook, kit: Kit) -> Grid:
    """All cells as saved: constants, and the cached values of formulas."""
    return Grid(kit, {sheet.name: filled_plane(kit, sheet.name, sheet.values, _used(book, sheet.name)) for sheet in book.sheets})


def _used(book: Workbook, name: str) -> tuple[int, int]:
    sheet = book.sheet(name)
    places = [*sheet.values, *sheet.formulas]
    areas = [formula.area for formula in sheet.formulas.values() if formula.area is not None]
    rows = [row for row, _ in places] + [area[2] for area in areas] + [1]
    columns = [column for _, column in places] + [area[3] for area in areas] + [1]
    return max(rows), max(columns)


@define(eq=False)
class Calculation:
    """Recalculates regions against a grid.

    `unsupported` maps a place to why its formula could not be worked out; its cells keep what the file has cached for them.
    `volatile` are the regions that draw or read the clock; they keep their cached value too, where there is one.
    `reads` are areas that OFFSET, INDIRECT and their like worked out, by region.
    """

    graph: Graph
    grid: Grid
    lowering: Lowering
    cached: Grid
    unsupported: dict[RangeRef, FormulaError] = field(factory=dict)
    volatile: dict[int, bool] = field(factory=dict)
    reads: dict[int, list[RangeRef]] = field(factory=dict)
    _cyclic: set[int] = field(factory=set)
    _queued: set[RangeRef] = field(factory=set)

    @classmethod
    def of(cls, graph: Graph, *, now: datetime) -> Calculation:
        kit = Kit(Builder(), Texts())
        cached = loaded_grid(graph.book, kit)
        grid = Grid(kit, {name: _copied(plane) for name, plane in cached.planes.items()})
        lowering = Lowering(graph, grid, now=now)
        return cls(graph, grid, lowering, cached)

    def propagate(self, regions: Iterable[int] | None = None) -> None:
        """Work out regions, and all that they need, from the constants."""
        groups = self.graph.order(regions)
        for group in groups:
            for index in group:
                self.grid.set_pending(self.graph.regions[index].place)
        with np.errstate(all="ignore"):
            for group in groups:
                self._group(group)

    def _group(self, group: Sequence[int]) -> None:
        regions = [self.graph.regions[index] for index in group]
        if len(group) == 1 and not self._needs_itself(regions[0]):
            return self._settle([(regions[0], regions[0].place)])
        self._cyclic.update(group)
        pieces = strips(self.graph, regions[0]) if len(group) == 1 else None
        if pieces is None:
            pieces = [RangeRef.of(cell) for region in regions for cell in region.place.cells()]
        for piece in pieces:
            region = self.graph.region_at(piece.first)
            assert region is not None
            if self._is_pending(piece):
                self._settle([(region, piece)])

    def _needs_itself(self, region: Region) -> bool:
        return not region.is_array and region.index in self.graph.precedents(region)

    def _is_pending(self, place: RangeRef) -> bool:
        return bool(self.grid.planes[place.sheet].pending[place.top - 1 : place.bottom, place.left - 1 : place.right].any())

    def _settle(self, stack: list[tuple[Region, RangeRef]]) -> None:
        """Work out a place, and first whatever turns out to be pending."""
        active = {place for _, place in stack}
        while stack:
            region, place = stack[-1]
            self._queued.discard(place)
            try:
                self._attempt(region, place)
            except Pending as pending:
                self._demand(stack, active, pending.cells)
                continue
            except Unroll:
                stack.pop()
                active.discard(place)
                cells = [RangeRef.of(cell) for cell in place.cells()]
                cells = [cell for cell in reversed(cells) if cell not in active and self._is_pending(cell)]
                stack += [(region, cell) for cell in cells]
                active.update(cells)
                self._queued.update(cells)
                continue
            stack.pop()
            active.discard(place)

    def _demand(self, stack: list[tuple[Region, RangeRef]], active: set[RangeRef], cells: Sequence[CellRef]) -> None:
        """Put what is pending on the stack, the first on top. What is waiting there already closes a circle."""
        pieces = {place: region for region, place in (self._piece(cell, active) for cell in cells)}
        first = next(iter(pieces))
        if first in active and first not in self._queued:
            return self._give_up(stack, active, max(number for number, (_, place) in enumerate(stack) if place == first))
        fresh = [(region, place) for place, region in pieces.items() if place not in active]
        stack += reversed(fresh)
        active.update(place for _, place in fresh)
        self._queued.update(place for _, place in fresh)
        if not fresh or fresh[0][1] != first:
            stack.append(stack.pop(max(number for number, (_, place) in enumerate(stack) if place == first)))

    def _piece(self, cell: CellRef, active: set[RangeRef]) -> tuple[Region, RangeRef]:
        """The whole region of a pending cell, or the cell alone where its region may need itself."""
        region = self.graph.region_at(cell)
        assert region is not None, cell
        alone = region.index in self._cyclic or (region.place in active and region.place.size > 1)
        return region, RangeRef.of(cell) if alone and not region.is_array else region.place

    def _give_up(self, stack: list[tuple[Region, RangeRef]], active: set[RangeRef], start: int) -> None:
        circle = [(region, place) for region, place in stack[start:] if place not in self._queued]
        names = [str(place.first) for _, place in circle]
        error = CircularReference([*names, names[0]])
        for region, place in circle:
            self._keep_cached(region, place, error)
            active.discard(place)
        stack[start:] = [item for item in stack[start:] if item[1] in self._queued]

    def _attempt(self, region: Region, place: RangeRef) -> None:
        try:
            value = self._value(region, place)
        except Unroll:
            if place.size > 1 and not region.is_array:
                raise
            return self._keep_cached(region, place, UnsupportedFormula("an array in an array, or one too large, is not supported"))
        except FormulaError as error:
            if place.size > 1 and not region.is_array:
                raise Unroll from error
            return self._keep_cached(region, place, error)
        if self.lowering.volatile:
            self.volatile[region.index] = True
            if self._has_cache(place):
                return self.grid.write(place, self._from_cache(place))
        self.grid.write(place, value)

    def _value(self, region: Region, place: RangeRef) -> Value:
        if region.tree is None:
            assert region.error is not None
            raise region.error
        value = self.lowering.formula(place, region.tree, array=region.is_array)
        if self.lowering.reads:
            self.reads.setdefault(region.index, []).extend(self.lowering.reads)
        return value

    def _keep_cached(self, region: Region, place: RangeRef, error: FormulaError) -> None:
        text = self.graph.book.formula_text(place.first) if region.tree is not None else region.formula.text
        self.unsupported[place] = error.at(str(place.first), text or "")
        self.grid.write(place, self._from_cache(place))

    def _from_cache(self, place: RangeRef) -> Value:
        value = self.cached.read(place)
        kit = self.grid.kit
        turned = [np.moveaxis(np.broadcast_to(part, (*value.shape, 1)), (2, 3), (0, 1)) for part in (value.payload, tag_of(value))]
        return Value(turned[0], turned[1], value.kinds)

    def _has_cache(self, place: RangeRef) -> bool:
        values = self.graph.book.sheet(place.sheet).values
        return all((cell.row, cell.column) in values for cell in place.cells())


def _copied(plane: Plane) -> Plane:
    other = plane.copy()
    other.payload, other.tag = plane.payload.copy(), plane.tag.copy()
    return other


def strips(graph: Graph, region: Region) -> list[RangeRef] | None:
    """A region that reads itself only so many rows (or columns) back or ahead, in pieces that do not; else None."""
    mine = [area for whole, area in graph.areas(region) if whole.intersection(region.place) is not None]
    if any(area is None for area in mine):
        return None
    areas = [area for area in mine if area is not None]
    for down in (True, False):
        distances = [_distance(area, region.place, down=down) for area in areas]
        if all(distance is not None and distance < 0 for distance in distances):
            return list(_cut(region.place, min(-distance for distance in distances if distance is not None), down=down, backwards=False))
        if all(distance is not None and distance > 0 for distance in distances):
            return list(_cut(region.place, min(distance for distance in distances if distance is not None), down=down, backwards=True))
    return None


def _distance(area: Area, place: RangeRef, *, down: bool) -> int | None:
    """How far an area lies behind (negative) or ahead of each cell; None where it is neither or does not move."""
    first, last, origin = (area.top, area.bottom, place.top) if down else (area.left, area.right, place.left)
    if not (first.moves and last.moves):
        return None
    if last.at < origin:
        return last.at - origin
    return first.at - origin if first.at > origin else None


def _cut(place: RangeRef, length: int, *, down: bool, backwards: bool) -> Iterator[RangeRef]:
    first, last = (place.top, place.bottom) if down else (place.left, place.right)
    starts = list(range(first, last + 1, length))
    for start in reversed(starts) if backwards else starts:
        end = min(start + length - 1, last)
        if down:
            yield RangeRef(place.sheet, start, place.left, end, place.right)
        else:
            yield RangeRef(place.sheet, place.top, start, place.bottom, end)

