"""The base case: every formula of a workbook worked out, in order, with what is known.

Regions are computed as blocks, and those that need each other as loops where they can be; see `schedule`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import numpy as np
from attrs import define, field

from ultramc.address import CellRef, RangeRef
from ultramc.errors import CircularReference, FormulaError, UnsupportedFormula
from ultramc.functions.kit import Kit, Texts, Unroll, Value, tag_of
from ultramc.graph import Graph, Region
from ultramc.grid import Grid, Pending, Plane, filled_plane
from ultramc.loops import lowered
from ultramc.lowering import Lowering
from ultramc.program import Builder, array_of
from ultramc.recurrences import Direction, Loop, Member, directions_of
from ultramc.schedule import Schedule
from ultramc.syntax import Node
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
class Calculation:
    """Recalculates regions against a grid.

    `unsupported` maps a place to why its formula could not be worked out; its cells keep what the file has cached for them.
    `lost` are the cells among them for which nothing is cached: formulas that read them fail for the same reason.
    `volatile` are the regions that draw or read the clock, `drawing` those that draw; these keep their cached value, where
    there is one.
    `reads` are areas that OFFSET, INDIRECT and their like worked out, by place. `done` lists the places in the order in
    which they were worked out; `recurrent` are those that were computed in loops, with the directions of the steps.
    `unrolled` are the cells of larger regions that were computed one by one, and why.
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
    recurrent: dict[RangeRef, tuple[Direction, ...]] = field(factory=dict)
    unrolled: dict[RangeRef, str] = field(factory=dict)

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
        with np.errstate(all="ignore"):
            Schedule(self.graph, self, unrolled=self.unrolled).run(self.graph.order(regions))
        for cell in self.lost:
            self.grid.set_pending(RangeRef.of(cell), False)

    # As `schedule.Worker`

    def is_pending(self, place: RangeRef) -> bool:
        return self.grid.is_pending(place)

    def live_nodes(self, tree: Node, place: RangeRef) -> Iterator[Node]:
        return self.lowering.live_nodes(tree, place)

    def region_at(self, cell: CellRef) -> Region:
        raise AssertionError(f"{cell} is pending and has no formula")

    def circle(self, circle: Sequence[Member]) -> None:
        names = [str(member.place.first) for member in circle]
        for member in circle:
            self._keep_cached(member.region, member.place, CircularReference([*names, names[0]]))

    def is_settled(self, member: Member) -> bool:
        """Draws that are saved stay as they are, and close no circle."""
        region, place = member.region, member.place
        if region.tree is None or not self._has_saved_draws(place) or not self.lowering.draws_in(region.tree, place):
            return False
        self.drawing.add(region.index)
        self.volatile.add(region.index)
        self.grid.write(place, self._from_cache(place))
        self.done.append((region, place))
        return True

    def attempt_loop(self, loop: Loop) -> None:
        try:
            values = lowered(loop, self.lowering, self._in_loop)
        except (FormulaError, MemoryError) as reason:
            raise Unroll(reason.reason if isinstance(reason, FormulaError) else "too large for memory") from reason
        directions = directions_of(loop)
        for member, value in values.items():
            self.grid.write(member.place, value)
            self.recurrent[member.place] = directions[member]
            self.done.append((member.region, member.place))

    def _in_loop(self, lowering: Lowering, member: Member) -> Value:
        region = member.region
        if region.tree is None:
            raise Unroll
        value = lowering.formula(member.place, region.tree, array=region.in_array_mode)
        if lowering.drew:
            if self._is_any_draw_saved(member.place):
                raise Unroll
            self.drawing.add(region.index)
        if lowering.volatile:
            self.volatile.add(region.index)
        if lowering.reads:
            self.reads[member.place] = list(lowering.reads)
        return value

    def attempt(self, member: Member) -> None:
        region, place = member.region, member.place
        try:
            value = self._value(region, place)
        except (Unroll, MemoryError) as reason:
            if place.size > 1 and not region.is_array:
                raise Unroll(str(reason)) from reason
            return self._keep_cached(region, place, UnsupportedFormula("an array in an array, or one too large, is not supported"))
        except (FormulaError, Pending) as failure:
            error = reason_of(failure, self.lost)
            if place.size > 1 and not region.is_array:
                raise Unroll(error.reason) from error
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
        return all(self._saved_draws(place))

    def _is_any_draw_saved(self, place: RangeRef) -> bool:
        return any(self._saved_draws(place))

    def _saved_draws(self, place: RangeRef) -> Iterator[bool]:
        """Whether an earlier draw of each cell is saved: a book saved without its add-in has `#NAME?` instead."""
        values = self.graph.book.sheet(place.sheet).values
        saved = (values.get((cell.row, cell.column)) for cell in place.cells())
        return (value is not None and value is not ExcelError.NAME for value in saved)


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
