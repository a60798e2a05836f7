"""The base case: every formula of a workbook worked out, in order, with what is known.

Regions are computed as blocks. Where regions need each other, one region that reads only cells a fixed distance back is
computed in strips, and anything else cell by cell, each when it is first needed, so that a circle which a condition has
switched off is none.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import numpy as np
from attrs import define, field

from ultramc.address import CellRef, RangeRef
from ultramc.errors import CircularReference, FormulaError, UnsupportedFormula
from ultramc.functions.kit import Area, Kit, Texts, Unroll, Value, tag_of
from ultramc.graph import Graph, Region
from ultramc.grid import Grid, Pending, Plane, filled_plane
from ultramc.lowering import Lowering
from ultramc.program import Builder, array_of
from ultramc.values import ExcelError
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


Item = tuple[Region, RangeRef]


@define(eq=False)
class Schedule:
    """Works out places, and first whatever turns out to be pending; without recursion.

    `attempt` works out one place and raises Pending or Unroll; `piece` says which place a pending cell is worked out in,
    given those that are under way; `circle` is told of places that wait for each other.
    """

    attempt: Callable[[Region, RangeRef], None]
    piece: Callable[[CellRef, Container[RangeRef]], Item]
    circle: Callable[[Sequence[Item]], None]
    is_pending: Callable[[RangeRef], bool]
    _stack: list[Item] = field(factory=list)
    _active: set[RangeRef] = field(factory=set)
    _queued: set[RangeRef] = field(factory=set)

    def settle(self, region: Region, place: RangeRef) -> None:
        self._push([(region, place)])
        while self._stack:
            region, place = self._stack[-1]
            self._queued.discard(place)
            try:
                self.attempt(region, place)
            except Pending as pending:
                self._demand(pending.cells)
                continue
            except Unroll:
                self._pop()
                cells = (RangeRef.of(cell) for cell in place.cells())
                self._push([(region, cell) for cell in cells if cell not in self._active and self.is_pending(cell)])
                continue
            self._pop()

    def _push(self, items: Sequence[Item]) -> None:
        self._stack += reversed(items)
        self._active.update(place for _, place in items)
        self._queued.update(place for _, place in items)

    def _pop(self) -> None:
        self._active.discard(self._stack.pop()[1])

    def _demand(self, cells: Sequence[CellRef]) -> None:
        """Put what is pending on the stack, the first on top. What waits there already for another closes a circle."""
        pieces = {place: region for region, place in (self.piece(cell, self._active) for cell in cells)}
        first = next(iter(pieces))
        if first in self._active and first not in self._queued:
            return self._close(self._position(first))
        self._push([(region, place) for place, region in pieces.items() if place not in self._active])
        if self._stack[-1][1] != first:
            self._stack.append(self._stack.pop(self._position(first)))

    def _position(self, place: RangeRef) -> int:
        return max(number for number, (_, other) in enumerate(self._stack) if other == place)

    def _close(self, start: int) -> None:
        """The places from `start` on that are under way wait for each other; those only queued between them do not."""
        circle = [item for item in self._stack[start:] if item[1] not in self._queued]
        self._stack[start:] = [item for item in self._stack[start:] if item[1] in self._queued]
        self._active.difference_update(place for _, place in circle)
        self.circle(circle)


@define(eq=False)
class Calculation:
    """Recalculates regions against a grid.

    `unsupported` maps a place to why its formula could not be worked out; its cells keep what the file has cached for them.
    `lost` are the cells among them for which nothing is cached: formulas that read them fail for the same reason.
    `volatile` are the regions that draw or read the clock, `drawing` those that draw; these keep their cached value, where
    there is one.
    `reads` are areas that OFFSET, INDIRECT and their like worked out, by place. `done` lists the places in the order in
    which they were worked out.
    """

    graph: Graph
    grid: Grid
    lowering: Lowering
    cached: Grid
    unsupported: dict[RangeRef, FormulaError] = field(factory=dict)
    lost: dict[CellRef, FormulaError] = field(factory=dict)
    volatile: set[int] = field(factory=set)
    drawing: set[int] = field(factory=set)
    reads: dict[RangeRef, list[RangeRef]] = field(factory=dict)
    done: list[Item] = field(factory=list)
    _cyclic: set[int] = field(factory=set)

    @classmethod
    def of(cls, graph: Graph, *, now: datetime) -> Calculation:
        kit = Kit(Builder(), Texts())
        cached = loaded_grid(graph.book, kit)
        grid = Grid(kit, {name: _copied(plane) for name, plane in cached.planes.items()})
        for region in graph.regions:
            grid.set_pending(region.place)
        lowering = Lowering(graph, grid, now=now)
        return cls(graph, grid, lowering, cached)

    def propagate(self, regions: Iterable[int] | None = None) -> None:
        """Work out regions, and all that they need, from the constants; also what OFFSET and its like turn out to read."""
        groups = self.graph.order(regions)
        schedule = Schedule(self._attempt, self._piece, self._circle, self.grid.is_pending)
        with np.errstate(all="ignore"):
            for group in groups:
                for region, place in self._pieces([self.graph.regions[index] for index in group]):
                    if self.grid.is_pending(place):
                        schedule.settle(region, place)
        for cell in self.lost:
            self.grid.set_pending(RangeRef.of(cell), False)

    def _pieces(self, regions: Sequence[Region]) -> Iterator[Item]:
        """A region on its own is one piece; regions that need each other, or themselves, are strips or cells."""
        first = regions[0]
        if len(regions) == 1 and (first.is_array or first.index not in self.graph.precedents(first)):
            return iter([(first, first.place)])
        self._cyclic.update(region.index for region in regions)
        places = strips(self.graph, first) if len(regions) == 1 else None
        if places is not None:
            return ((first, place) for place in places)
        return ((region, RangeRef.of(cell)) for region in regions for cell in region.place.cells())

    def _piece(self, cell: CellRef, active: Container[RangeRef]) -> Item:
        """The whole region of a pending cell, or the cell alone where its region may need itself."""
        region = self.graph.region_at(cell)
        assert region is not None, cell
        alone = region.index in self._cyclic or (region.place in active and region.place.size > 1)
        return region, RangeRef.of(cell) if alone and not region.is_array else region.place

    def _circle(self, circle: Sequence[Item]) -> None:
        names = [str(place.first) for _, place in circle]
        for region, place in circle:
            self._keep_cached(region, place, CircularReference([*names, names[0]]))

    def _attempt(self, region: Region, place: RangeRef) -> None:
        try:
            value = self._value(region, place)
        except (Unroll, MemoryError) as reason:
            if place.size > 1 and not region.is_array:
                raise Unroll from reason
            return self._keep_cached(region, place, UnsupportedFormula("an array in an array, or one too large, is not supported"))
        except (FormulaError, Pending) as failure:
            error = reason_of(failure, self.lost)
            if place.size > 1 and not region.is_array:
                raise Unroll from error
            return self._keep_cached(region, place, error)
        if self.lowering.drew:
            self.drawing.add(region.index)
            if self._has_saved_draws(place):
                value = self._from_cache(place)
        if self.lowering.volatile:
            self.volatile.add(region.index)
        self.grid.write(place, value)
        self.done.append((region, place))

    def _value(self, region: Region, place: RangeRef) -> Value:
        if region.tree is None:
            assert region.error is not None
            raise region.error
        value = self.lowering.formula(place, region.tree, array=region.in_array_mode, spread=region.is_array)
        if self.lowering.reads:
            self.reads[place] = list(self.lowering.reads)
        return value

    def _keep_cached(self, region: Region, place: RangeRef, error: FormulaError) -> None:
        text = self.graph.book.formula_text(place.first) if region.tree is not None else region.formula.text
        placed = self.unsupported[place] = error.at(str(place.first), text or "")
        if self._has_cache(place):
            self.grid.write(place, self._from_cache(place))
        else:
            self.lost.update((cell, placed) for cell in place.cells())
        self.done.append((region, place))

    def _from_cache(self, place: RangeRef) -> Value:
        return as_block(self.cached.read(place))

    def _has_cache(self, place: RangeRef) -> bool:
        values = self.graph.book.sheet(place.sheet).values
        return all((cell.row, cell.column) in values for cell in place.cells())

    def _has_saved_draws(self, place: RangeRef) -> bool:
        """Whether an earlier draw is saved: a book saved without its add-in has `#NAME?` instead."""
        values = self.graph.book.sheet(place.sheet).values
        saved = (values.get((cell.row, cell.column)) for cell in place.cells())
        return all(value is not None and value is not ExcelError.NAME for value in saved)


def reason_of(failure: FormulaError | Pending, lost: Mapping[CellRef, FormulaError]) -> FormulaError:
    """Why a formula failed: for its own reason, or because it read a lost cell. A cell that only has to wait is raised again."""
    if isinstance(failure, FormulaError):
        return failure
    found = next((lost[cell] for cell in failure.cells if cell in lost), None)
    if found is None:
        raise failure
    return found


def as_block(value: Value) -> Value:
    """A known array as a block of cells."""
    parts = (array_of(value.payload), array_of(tag_of(value)))
    payload, tag = (np.moveaxis(np.broadcast_to(part, (*value.shape, 1)), (2, 3), (0, 1)) for part in parts)
    return Value(payload, tag, value.kinds)


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
