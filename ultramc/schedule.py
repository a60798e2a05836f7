"""In which order the pieces of a workbook are worked out: what others need first, and what turns out to be needed on the way.

Regions are pieces as a whole. Regions that need each other, or themselves, are laid out as loops; where that cannot be, they
are worked out cell by cell, each when it is first needed, so that a circle which a condition has switched off is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

from attrs import define, field

from ultramc.address import CellRef, RangeRef
from ultramc.functions.kit import Area, Unroll
from ultramc.graph import Graph, Region
from ultramc.grid import Pending
from ultramc.loops import Peel, grows
from ultramc.recurrences import DIRECTIONS, SPLITS, Direction, Loop, Member, Piece, cells_of, members, pieces_of, split
from ultramc.references import extent, fixed_area, static_areas
from ultramc.syntax import Node

IN_NO_DIRECTION = "cells that need each other in no one direction"
DIFFERENT_VIEWS = "its cells do not see areas of one shape, or not the same known values where one is asked for"


class Cut(Exception):
    """A block is better computed in these parts."""

    def __init__(self, parts: list[Member]) -> None:
        super().__init__(str(parts[0].place))
        self.parts = parts


class Worker(Protocol):
    """Who works pieces out, into a grid of its own."""

    def attempt(self, member: Member) -> None:
        """Raises Pending where cells come first, Unroll where the cells must be taken one by one, Cut where parts are better."""

    def attempt_loop(self, loop: Loop) -> None:
        """Raises Pending and Unroll."""

    def is_settled(self, member: Member) -> bool:
        """Whether the member, of a group that needs itself, is known without being computed, and now stands in the grid."""

    def circle(self, circle: Sequence[Member]) -> None:
        """Is told of pieces that wait for each other."""

    def is_pending(self, place: RangeRef) -> bool: ...

    def live_nodes(self, tree: Node, place: RangeRef) -> Iterator[Node]:
        """The nodes of a formula that are not switched off for all cells of `place`."""

    def region_at(self, cell: CellRef) -> Region:
        """The region of a cell that nobody ordered, but somebody reads."""


@define(eq=False)
class Schedule:
    """Works out the regions of a graph, without recursion. `unrolled` are the cells that were taken one by one, and why."""

    graph: Graph
    worker: Worker
    cyclic: set[int] = field(factory=set)
    unrolled: dict[RangeRef, str] = field(factory=dict)
    _stack: list[Member] = field(factory=list)
    _active: set[RangeRef] = field(factory=set)
    _queued: set[RangeRef] = field(factory=set)

    def run(self, groups: Iterable[Sequence[int]]) -> None:
        """Groups of regions that need each other, in order of calculation."""
        for group in groups:
            regions = [self.graph.regions[index] for index in group]
            for piece in self._pieces(regions):
                self._work_out(piece)

    def _work_out(self, piece: Piece) -> None:
        if isinstance(piece, Member):
            if self.worker.is_pending(piece.place):
                self._settle(piece)
            return
        while True:
            try:
                return self.worker.attempt_loop(piece)
            except Peel as peel:
                return self._peeled(piece, peel.steps)
            except Pending as pending:
                inside = [member.place for member in members(piece)]
                if any(cell in place for cell in pending.cells for place in inside):
                    return self._each_cell(piece, IN_NO_DIRECTION)
                self._settle(self._piece(pending.cells[0]))
            except Unroll as reason:
                return self._each_cell(piece, str(reason) or IN_NO_DIRECTION)

    def _peeled(self, loop: Loop, steps: int) -> None:
        for first, last in (*((step, step) for step in range(steps)), (steps, loop.steps - 1)):
            for piece in loop.between(first, last):
                self._work_out(piece)

    def _each_cell(self, piece: Piece, reason: str) -> None:
        for member in members(piece):
            for cell in cells_of(member):
                self.unrolled[cell.place] = reason
                self._work_out(cell)

    # Laying out

    def _pieces(self, regions: Sequence[Region]) -> Iterable[Piece]:
        first = regions[0]
        if len(regions) == 1 and (first.is_array or first.index not in self.graph.precedents(first)):
            return [Member(first, first.place)]
        self.cyclic.update(region.index for region in regions)
        group = [member for member in (Member(region, region.place) for region in regions) if not self.worker.is_settled(member)]
        if not group:
            return []
        if any(region.is_array for region in regions):
            return self._singly([cell for member in group for cell in cells_of(member)])
        return self._singly(pieces_of(group, self._areas))

    def _singly(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The pieces; cells that are there because nothing larger can be are remembered."""
        for piece in pieces:
            if isinstance(piece, Member) and piece.alone and piece.region.place.size > 1:
                self.unrolled[piece.place] = IN_NO_DIRECTION
            yield piece

    def _areas(self, member: Member) -> list[Area]:
        tree, place = member.region.tree, member.place
        if tree is None:
            return []
        try:
            return static_areas(self.graph.resolver, tree, place, partial(self.worker.live_nodes, place=place))
        except Unroll:
            cells = [RangeRef.of(cell) for cell in place.cells()]
            return [fixed_area(extent(area, cell)) for cell in cells for area in static_areas(self.graph.resolver, tree, cell)]

    # What turns out to be needed

    def _settle(self, member: Member) -> None:
        self._push([member])
        while self._stack:
            member = self._stack[-1]
            self._queued.discard(member.place)
            try:
                self.worker.attempt(member)
            except Pending as pending:
                self._demand(pending.cells)
                continue
            except Cut as cut:
                self._pop()
                self._push(cut.parts)
                continue
            except Unroll as reason:
                if not self._as_loop(member):
                    self._split(str(reason) or DIFFERENT_VIEWS)
                    continue
            self._pop()

    def _as_loop(self, member: Member) -> bool:
        """Whether areas that grow along a direction let the member be computed as a loop."""
        if member.place.size == 1 or member.region.is_array:
            return False
        areas = self._areas(member)
        return any(self._loops(member, direction) for direction in DIRECTIONS if any(grows(area, direction) for area in areas))

    def _loops(self, member: Member, direction: Direction) -> bool:
        first, last = direction.span(member.place)
        try:
            self.worker.attempt_loop(Loop(direction, last - first + 1, (member,)))
        except (Unroll, Pending, Peel):
            return False
        return True

    def _split(self, reason: str) -> None:
        """What cannot be worked out as one block is taken in lines, if the first of these can be, or in cells."""
        member = self._stack[-1]
        parts = next((lines for lines in self._lines(member) if self._can(lines[0])), None)
        if parts is None:
            parts = list(cells_of(member))
            self.unrolled.update((part.place, reason) for part in parts)
        self._pop()
        self._push([part for part in parts if part.place not in self._active and self.worker.is_pending(part.place)])

    def _lines(self, member: Member) -> Iterator[list[Member]]:
        if min(member.place.height, member.place.width) > 1:
            yield from (split(member, direction) for direction in SPLITS)

    def _can(self, member: Member) -> bool:
        try:
            self.worker.attempt(member)
        except (Unroll, Pending, Cut):
            return False
        return True

    def _push(self, pieces: Sequence[Member]) -> None:
        self._stack += reversed(pieces)
        self._active.update(member.place for member in pieces)
        self._queued.update(member.place for member in pieces)

    def _pop(self) -> None:
        self._active.discard(self._stack.pop().place)

    def _piece(self, cell: CellRef) -> Member:
        """The whole region of a pending cell, or the cell alone where its region may need itself."""
        region = self.graph.region_at(cell)
        if region is None:
            region = self.worker.region_at(cell)
            return Member(region, region.place if region.is_array else RangeRef.of(cell))
        alone = region.index in self.cyclic or (region.place in self._active and region.place.size > 1)
        return Member(region, RangeRef.of(cell) if alone and not region.is_array else region.place)

    def _demand(self, cells: Sequence[CellRef]) -> None:
        """Put what is pending on the stack, the first on top. What waits there already for another closes a circle."""
        pieces = {member.place: member for member in map(self._piece, cells)}
        first = next(iter(pieces))
        if first in self._active and first not in self._queued:
            return self._close(self._position(first))
        self._push([member for place, member in pieces.items() if place not in self._active])
        if self._stack[-1].place != first:
            self._stack.append(self._stack.pop(self._position(first)))

    def _position(self, place: RangeRef) -> int:
        return max(number for number, member in enumerate(self._stack) if member.place == place)

    def _close(self, start: int) -> None:
        """The places from `start` on that are under way wait for each other; those only queued between them do not."""
        circle = [member for member in self._stack[start:] if member.place not in self._queued]
        self._stack[start:] = [member for member in self._stack[start:] if member.place in self._queued]
        self._active.difference_update(member.place for member in circle)
        self.worker.circle(circle)
