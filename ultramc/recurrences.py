"""Regions that need each other, laid out as loops.

A region that reads its own last period, or several that do so together, can be computed step by step along one direction
of the sheet. Let each member take the step of its position along that direction, less a shift of its own. The direction is
legal if shifts exist with which nothing is read before it is made: that is so iff every cycle of dependences has a total
distance of at least one step. What is read at the same step orders the members within it; where these still need each
other, the same is tried along the other direction, inside the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ultramc.address import RangeRef
from ultramc.components import strongly_connected
from ultramc.functions.kit import Area, Edge
from ultramc.references import extent

if TYPE_CHECKING:
    from ultramc.graph import Region

MOST_ROUNDS = 256  # in which shifts have to settle: no real sheet is staggered so often
FEW_STRIPS = 8  # with so few a loop is no gain
LONG_STRIP = 32  # cells; shorter ones are better steps of a loop
MOST_PARTS = 4_096  # that regions which need each other are split into
MOST_PIECES = 20_000  # beyond that a loop is no shorter than its cells

Index = NDArray[np.int64]


@frozen
class Direction:
    """Down a sheet or across it, forwards or backwards."""

    down: bool
    backwards: bool = False

    @property
    def axis(self) -> int:
        """Of a block: 0 for its rows, 1 for its columns."""
        return 0 if self.down else 1

    @property
    def other(self) -> tuple[Direction, Direction]:
        return Direction(not self.down), Direction(not self.down, True)

    def edges(self, area: Area) -> tuple[Edge, Edge]:
        """The first and the last side of an area, in reading order."""
        return (area.top, area.bottom) if self.down else (area.left, area.right)

    def span(self, place: RangeRef) -> tuple[int, int]:
        """First and last position, in reading order."""
        return (place.top, place.bottom) if self.down else (place.left, place.right)

    def start(self, place: RangeRef) -> int:
        """The position of the first step."""
        return self.span(place)[1 if self.backwards else 0]

    def moved(self, position: int, steps: int) -> int:
        """The position so many steps later."""
        return position - steps if self.backwards else position + steps

    def part(self, place: RangeRef, first: int, last: int) -> RangeRef:
        """The part between two positions."""
        if self.down:
            return RangeRef(place.sheet, first, place.left, last, place.right)
        return RangeRef(place.sheet, place.top, first, place.bottom, last)

    def steps(self, place: RangeRef, first: int, last: int) -> RangeRef:
        """The part from one step to another, counted from 0."""
        ends = self.moved(self.start(place), first), self.moved(self.start(place), last)
        return self.part(place, min(ends), max(ends))

    def __str__(self) -> str:
        return {(False, False): "rightwards", (False, True): "leftwards", (True, False): "downwards", (True, True): "upwards"}[
            self.down, self.backwards
        ]


DIRECTIONS = (Direction(False), Direction(True), Direction(False, True), Direction(True, True))
SPLITS = DIRECTIONS[:2]  # into columns, into rows


@frozen(eq=False)
class Member:
    """Cells of one region; `alone` where nothing larger than the cell can be computed as one."""

    region: Region
    place: RangeRef
    alone: bool = False


@frozen(eq=False)
class Loop:
    """Members that are computed together, one step of all of them after the other; each has `steps` cells along `direction`.

    `body` is in order within a step. An inner loop's members cover all steps of the outer one.
    """

    direction: Direction
    steps: int
    body: tuple[Piece, ...]

    def between(self, first: int, last: int) -> list[Piece]:
        """The steps from `first` to `last`, counted from 0: a loop, or its body where that is one step."""
        body = [_between(piece, self.direction, first, last) for piece in self.body]
        return body if first == last else [Loop(self.direction, last - first + 1, tuple(body))]


Piece = Member | Loop


def _between(piece: Piece, direction: Direction, first: int, last: int) -> Piece:
    if isinstance(piece, Loop):
        return Loop(piece.direction, piece.steps, tuple(_between(part, direction, first, last) for part in piece.body))
    return Member(piece.region, direction.steps(piece.place, first, last))


def members(piece: Piece) -> Iterator[Member]:
    if isinstance(piece, Member):
        yield piece
    else:
        for part in piece.body:
            yield from members(part)


def directions_of(piece: Piece, outer: tuple[Direction, ...] = ()) -> dict[Member, tuple[Direction, ...]]:
    """Along which directions each member is computed step by step."""
    if isinstance(piece, Member):
        return {piece: outer}
    parts = (directions_of(part, (*outer, piece.direction)) for part in piece.body)
    return {member: directions for part in parts for member, directions in part.items()}


@frozen(eq=False)
class Need:
    """Member `reader` reads `area`, in which some cells of member `source` lie."""

    reader: int
    source: int
    area: Area


def needs(group: Sequence[Member], areas: Callable[[Member], Sequence[Area]]) -> list[Need]:
    """Who reads whom within a group."""
    boxes = _Boxes(group)
    return [
        Need(reader, source, area)
        for reader, member in enumerate(group)
        for area in areas(member)
        for source in boxes.overlapping(extent(area, member.place))
    ]


class _Boxes:
    """The places of a group by sheet, for looking up which of them overlap an area."""

    def __init__(self, group: Sequence[Member]) -> None:
        self._sheets: dict[str, tuple[Index, Index]] = {}
        for sheet in {member.place.sheet for member in group}:
            found = [number for number, member in enumerate(group) if member.place.sheet == sheet]
            sides = [(place.top, place.left, place.bottom, place.right) for place in (group[number].place for number in found)]
            self._sheets[sheet] = np.array(found), np.array(sides)

    def overlapping(self, area: RangeRef) -> list[int]:
        if area.sheet not in self._sheets:
            return []
        numbers, sides = self._sheets[area.sheet]
        rows = (sides[:, 0] <= area.bottom) & (sides[:, 2] >= area.top)
        found: list[int] = numbers[rows & (sides[:, 1] <= area.right) & (sides[:, 3] >= area.left)].tolist()
        return found


def pieces_of(group: Sequence[Member], areas: Callable[[Member], Sequence[Area]], splits: Sequence[Direction] = SPLITS) -> Iterator[Piece]:
    """The group as pieces in order of calculation.

    What is no loop is tried again column by column, then row by row, since members may need each other only as wholes; what is
    none even so is given cell by cell.
    """
    found = needs(group, areas)
    for component in components(range(len(group)), found):
        part, inner = _restricted(group, component, found)
        plan = part if not inner else strips(part, inner) or laid_out(part, inner)
        yield from plan if plan is not None else _finer(part, areas, splits)


def _restricted(group: Sequence[Member], component: Sequence[int], found: Sequence[Need]) -> tuple[list[Member], list[Need]]:
    places = {number: place for place, number in enumerate(component)}
    inner = [need for need in found if need.reader in places and need.source in places]
    return [group[number] for number in component], [Need(places[need.reader], places[need.source], need.area) for need in inner]


def _finer(group: Sequence[Member], areas: Callable[[Member], Sequence[Area]], splits: Sequence[Direction]) -> Iterator[Piece]:
    if not splits:
        return (part for member in group for part in cells_of(member))
    parts = [part for member in group for part in split(member, splits[0])]
    if not len(group) < len(parts) <= MOST_PARTS:
        return _finer(group, areas, splits[1:])
    return pieces_of(parts, areas, splits[1:])


def split(member: Member, direction: Direction) -> list[Member]:
    """A member as lines that lie one after the other along a direction."""
    return [Member(member.region, direction.steps(member.place, step, step)) for step in range(_steps(direction, member.place))]


def cells_of(member: Member) -> Iterator[Member]:
    return (Member(member.region, RangeRef.of(cell), alone=True) for cell in member.place.cells())


def strips(group: Sequence[Member], found: Sequence[Need]) -> list[Piece] | None:
    """One region that reads itself only so far back that blocks of it, which read nothing of themselves, are few or long; else None."""
    if len(group) > 1:
        return None
    (member,) = group
    for direction in DIRECTIONS:
        length, count = min(distance(need, group, direction) for need in found), _steps(direction, member.place)
        if length >= LONG_STRIP or (length > 0 and count <= FEW_STRIPS * length):
            starts = range(0, count, length)
            return [Member(member.region, direction.steps(member.place, start, min(start + length, count) - 1)) for start in starts]
    return None


def laid_out(group: Sequence[Member], found: Sequence[Need]) -> list[Piece] | None:
    """The group as pieces in order of calculation, along the direction that needs fewest; None where no direction is legal."""
    return _shortest(group, found, DIRECTIONS, is_inner=False)


def _shortest(group: Sequence[Member], found: Sequence[Need], directions: Sequence[Direction], *, is_inner: bool) -> list[Piece] | None:
    plans = [plan for direction in directions if (plan := _along(group, found, direction, is_inner)) is not None]
    return min(plans, key=_length, default=None)


def _length(plan: Sequence[Piece]) -> int:
    return sum(len(list(members(piece))) for piece in plan)


def _along(group: Sequence[Member], found: Sequence[Need], direction: Direction, is_inner: bool) -> list[Piece] | None:
    sources, readers = np.array([need.source for need in found]), np.array([need.reader for need in found])
    distances = np.array([distance(need, group, direction) for need in found])
    shifts = _shifts(group, sources, readers, distances, direction)
    if shifts is None:
        return None
    lags = distances - shifts[readers] + shifts[sources]
    now = [need for need, lag in zip(found, lags.tolist(), strict=True) if lag == 0]
    if is_inner and _is_circle(group, now):
        return None
    starts = np.array([_time(direction, direction.start(member.place)) for member in group]) - shifts
    ends = starts + np.array([_steps(direction, member.place) for member in group])
    cuts = sorted({*starts.tolist(), *ends.tolist(), *_ends_of_fixed(group, found, direction, shifts)})
    pieces: list[Piece] = []
    for first, after in pairwise(cuts):
        active = np.flatnonzero((starts <= first) & (ends >= after)).tolist()
        part = _segment(group, active, now, direction, starts, first, after) if active else []
        if part is None or len(pieces) > MOST_PIECES:
            return None
        pieces += part
    return pieces


def _is_circle(group: Sequence[Member], now: Sequence[Need]) -> bool:
    """Whether members need each other, or themselves, at one and the same step."""
    alone = all(need.reader != need.source for need in now)
    return not alone or len(components(range(len(group)), now)) < len(group)


def _steps(direction: Direction, place: RangeRef) -> int:
    first, last = direction.span(place)
    return last - first + 1


def _time(direction: Direction, position: int) -> int:
    return -position if direction.backwards else position


def distance(need: Need, group: Sequence[Member], direction: Direction) -> int:
    """How many positions before its reader the last cell lies that is read, at the least."""
    reader, source = group[need.reader].place, group[need.source].place
    near, far = direction.edges(need.area)
    side = near if direction.backwards else far
    start, last = direction.start(reader), _end(direction, source)
    first_read = _time(direction, side.at + (direction.start(reader) - direction.span(reader)[0] if side.moves else 0))
    return _time(direction, start) - min(first_read, last)


def _end(direction: Direction, place: RangeRef) -> int:
    """The time of the last step."""
    return _time(direction, direction.span(place)[0 if direction.backwards else 1])


def _shifts(group: Sequence[Member], sources: Index, readers: Index, distances: Index, direction: Direction) -> Index | None:
    """Shifts with shift[reader] - shift[source] ≤ distance, by Bellman–Ford; None where there are none.

    Those that keep lags short, then those that keep members together.
    """
    columns = np.zeros(len(group), dtype=np.int64)
    begins: dict[str, int] = {}
    for member in group:
        time = _time(direction, direction.start(member.place))
        begins[member.place.sheet] = min(time, begins.get(member.place.sheet, time))
    sheets = np.array([begins[member.place.sheet] for member in group])
    settled = [shifts for start in (columns, sheets) if (shifts := _settled(start, sources, readers, distances)) is not None]

    def cost(shifts: Index) -> tuple[int, int]:
        return int((shifts[sources] - shifts[readers]).sum()), _ragged(group, direction, shifts)

    return min(settled, key=cost, default=None)


def _ragged(group: Sequence[Member], direction: Direction, shifts: Index) -> int:
    """At how many steps some member starts or ends."""
    starts = np.array([_time(direction, direction.start(member.place)) for member in group]) - shifts
    return len({*starts.tolist(), *(starts + [_steps(direction, member.place) for member in group]).tolist()})


def _settled(shifts: Index, sources: Index, readers: Index, distances: Index) -> Index | None:
    for _ in range(min(len(shifts) + 1, MOST_ROUNDS)):
        lower = shifts.copy()
        np.minimum.at(lower, readers, shifts[sources] + distances)
        if (lower == shifts).all():
            return shifts
        shifts = lower
    return None


def _ends_of_fixed(group: Sequence[Member], found: Sequence[Need], direction: Direction, shifts: Index) -> Iterator[int]:
    """After these steps all cells are made that an area names by a fixed side."""
    for need in found:
        sides = direction.edges(need.area)
        if not (sides[0].moves or sides[1].moves):
            last = _time(direction, sides[0 if direction.backwards else 1].at)
            yield min(last, _end(direction, group[need.source].place)) + 1 - int(shifts[need.source])


def _segment(
    group: Sequence[Member], active: Sequence[int], now: Sequence[Need], direction: Direction, starts: Index, first: int, after: int
) -> list[Piece] | None:
    """The steps between two cuts, in which the same members are computed throughout."""
    body: list[Piece] = []
    parts = {number: _part(group[number], direction, int(starts[number]), first, after) for number in active}
    for component in components(active, now):
        part = _within_step(parts, component, now, direction)
        if part is None:
            return None
        body += part
    return body if after - first == 1 else [Loop(direction, after - first, tuple(body))]


def _part(member: Member, direction: Direction, start: int, first: int, after: int) -> Member:
    return Member(member.region, direction.steps(member.place, first - start, after - 1 - start))


def components(numbers: Sequence[int], found: Sequence[Need]) -> list[list[int]]:
    """Members that need each other, those that others need first."""
    precedents: dict[int, list[int]] = {number: [] for number in numbers}
    for need in found:
        if need.reader in precedents and need.source in precedents:
            precedents[need.reader].append(need.source)
    return strongly_connected(numbers, lambda number: precedents[number])


def _within_step(parts: dict[int, Member], component: Sequence[int], now: Sequence[Need], direction: Direction) -> Sequence[Piece] | None:
    numbers = {number: parts[number] for number in component}
    inner = [need for need in now if need.reader in numbers and need.source in numbers]
    if not inner:
        return list(numbers.values())
    places = {number: place for place, number in enumerate(component)}
    renumbered = [Need(places[need.reader], places[need.source], need.area) for need in inner]
    return _shortest(list(numbers.values()), renumbered, direction.other, is_inner=True)
