"""What every cell of a workbook holds while a program is being built: a known value, or part of a simulated block.

Known cells lie in one payload and one tag plane per sheet, so that an area of them is a view. A sheet whose cells lie
too far apart for that is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from ultramc.address import CellRef, RangeRef
from ultramc.errors import LimitExceeded, UnsupportedFormula
from ultramc.functions.kit import Area, Kit, Unroll, Value, broadcast, tag_of, tag_value
from ultramc.program import MOST_PARTS
from ultramc.references import extent
from ultramc.values import Kind, Scalar, kind_of

DENSE_CELLS = 4_000_000  # a plane of nine bytes a cell is allowed up to this size
DENSE_RATIO = 32  # or up to this many times the number of stored cells
LARGEST_AREA = 20_000_000  # cells that one reference may read
WIDEST = 4_000_000  # elements that a block of moving windows may have before it is split


class Pending(Exception):
    """Cells were read that have not been computed yet."""

    def __init__(self, cells: list[CellRef]) -> None:
        super().__init__(str(cells[0]))
        self.cells = cells


@frozen(eq=False)
class Block:
    """Simulated cells: a value of shape (rows, columns, 1, 1). `stepped`: made by a loop, or cell by cell of what one made."""

    place: RangeRef
    value: Value
    stepped: bool = False


class Plane:
    """The cells of one sheet."""

    def __init__(self, sheet: str, height: int, width: int) -> None:
        self.sheet = sheet
        self.height, self.width = height, width
        self.payload: NDArray[np.float64] = np.zeros((height, width))
        self.tag: NDArray[np.uint8] = np.full((height, width), Kind.BLANK, dtype=np.uint8)
        self.pending: NDArray[np.bool_] = np.zeros((height, width), dtype=bool)
        self.owner: NDArray[np.int32] = np.zeros((height, width), dtype=np.int32)

    def copy(self) -> Plane:
        """Another plane of the same known values, which it shares; the same cells are pending, none is simulated."""
        other = Plane.__new__(Plane)
        other.sheet, other.height, other.width = self.sheet, self.height, self.width
        other.payload, other.tag = self.payload, self.tag
        other.pending = self.pending.copy()
        other.owner = np.zeros_like(self.owner)
        return other


class Grid:
    """All planes, and the simulated blocks that lie over them."""

    def __init__(self, kit: Kit, planes: Mapping[str, Plane], *, overlay: bool = False) -> None:
        self.kit = kit
        self.overlay = overlay
        self.planes = dict(planes)
        self.blocks: list[Block] = []
        self.bottom = max((plane.height for plane in self.planes.values()), default=1)
        self.right = max((plane.width for plane in self.planes.values()), default=1)

    def over(self, kit: Kit) -> Grid:
        """A grid of the same known values, for another builder; what is written there lies over them."""
        return Grid(kit, {sheet: plane.copy() for sheet, plane in self.planes.items()}, overlay=True)

    def set_pending(self, place: RangeRef, pending: bool = True) -> None:
        self.planes[place.sheet].pending[_cut(place)] = pending

    def is_pending(self, place: RangeRef) -> bool:
        return bool(self.planes[place.sheet].pending[_cut(place)].any())

    def write(self, place: RangeRef, value: Value, *, stepped: bool = False) -> None:
        """Store what the cells of `place` hold: a value of shape (rows, columns, 1, 1) or one that broadcasts to it."""
        plane = self.planes[place.sheet]
        plane.pending[_cut(place)] = False
        if value.known and not self.overlay:
            payload, tag = _planes_of(value)
            plane.payload[_cut(place)] = payload
            plane.tag[_cut(place)] = tag
            plane.owner[_cut(place)] = 0
        else:
            self.blocks.append(Block(place, value, stepped))
            plane.owner[_cut(place)] = len(self.blocks)

    def read(self, place: RangeRef) -> Value:
        """The cells of `place` as one array: shape (1, 1, height, width). Raises Pending, and UnsupportedFormula for too many cells."""
        if place.size > LARGEST_AREA:
            raise UnsupportedFormula(f"{place} has {place.size:,} cells; one reference may read {LARGEST_AREA:,}")
        plane = self.planes[place.sheet]
        if place.bottom > plane.height or place.right > plane.width:
            return self._read_beyond(plane, place)
        cut = _cut(place)
        pending = plane.pending[cut]
        if pending.any():
            raise Pending([CellRef(place.sheet, place.top + row, place.left + column) for row, column in np.argwhere(pending).tolist()])
        owner = plane.owner[cut]
        if self.blocks and owner.any():
            return self._read_simulated(plane, place, owner)
        return tag_value(plane.payload[cut][None, None, :, :, None], plane.tag[cut][None, None, :, :, None], 0)

    def seen(self, area: Area, place: RangeRef) -> Value:
        """The cells that each cell of the block sees: shape (rows, columns, height, width). Raises Unroll where their number differs."""
        if not area.steady and place.size > 1:
            raise Unroll("its cells see areas of different sizes")
        moves = (area.top.moves and place.height > 1) or (area.left.moves and place.width > 1)
        if moves and 1 < area.height * area.width <= MOST_PARTS and not self._is_known(extent(area, place)):
            return self._cell_by_cell(area, place)
        value = self._same_everywhere(area, place) or self.read(extent(area, place))
        rows = place.height if area.top.moves else 1
        columns = place.width if area.left.moves else 1
        if rows == columns == 1 or value.shape == (1, 1, 1, 1):
            return value
        if rows * columns * area.height * area.width > WIDEST:
            raise Unroll("its cells see more at once than a block may hold")
        cut = {"rows": rows, "columns": columns, "height": area.height, "width": area.width, "top": 0, "left": 0}
        steps = {"row_step": int(area.top.moves), "column_step": int(area.left.moves)}
        return value.mapped(lambda operand: self.kit.emit("window", value.spanning(operand), **cut, **steps))

    def _cell_by_cell(self, area: Area, place: RangeRef) -> Value:
        """Short areas as arrays of single cells, each seen for itself."""
        corners = [(row, column) for row in range(area.height) for column in range(area.width)]
        return self.kit.joined([(self.seen(_cell_of(area, *corner), place), corner) for corner in corners], (area.height, area.width))

    def _is_known(self, place: RangeRef) -> bool:
        return not self.blocks or not self.planes[place.sheet].owner[_cut(place)].any()

    def _same_everywhere(self, area: Area, place: RangeRef) -> Value | None:
        """Of a block of cells that hold one and the same simulated value: that value, where single cells of it are seen."""
        whole = extent(area, place)
        if not self.blocks or area.height * area.width > 1 or whole.size == 1:
            return None
        plane = self.planes[whole.sheet]
        owner = plane.owner[_cut(whole)]
        if whole.bottom > plane.height or whole.right > plane.width or not owner.flat[0] or not (owner == owner.flat[0]).all():
            return None
        value = self.blocks[int(owner.flat[0]) - 1].value
        return value if value.shape == (1, 1, 1, 1) and not plane.pending[_cut(whole)].any() else None

    def borders(self, place: RangeRef, axis: int) -> tuple[set[int], bool]:
        """Where along an axis one block ends and another begins, from the first cell on, and whether any of them is stepped.

        Only borders of stepped blocks count.
        """
        if not self.blocks:
            return set(), False
        owner = np.moveaxis(self.planes[place.sheet].owner[_cut(place)], axis, 0)
        stepped = np.array([False, *(block.stepped for block in self.blocks)])[owner]
        change = (owner[1:] != owner[:-1]) & (stepped[1:] | stepped[:-1])
        return set((np.flatnonzero(change.any(axis=1)) + 1).tolist()), bool(stepped.any())

    def scalars(self, place: RangeRef) -> list[Scalar]:
        """The known values of some cells, row by row."""
        return self.kit.scalars(self.read(place))

    def _read_beyond(self, plane: Plane, place: RangeRef) -> Value:
        """Cells outside the used area are blank."""
        size = (place.height, place.width)
        if place.top > plane.height or place.left > plane.width:
            return broadcast(self.kit.blank(), (1, 1, *size))
        inside = RangeRef(place.sheet, place.top, place.left, min(place.bottom, plane.height), min(place.right, plane.width))
        stored = self.read(inside)
        rest = []
        if inside.right < place.right:
            rest.append((broadcast(self.kit.blank(), (1, 1, inside.height, place.right - inside.right)), (0, inside.width)))
        if inside.bottom < place.bottom:
            rest.append((broadcast(self.kit.blank(), (1, 1, place.bottom - inside.bottom, place.width)), (inside.height, 0)))
        return self.kit.joined([(stored, (0, 0)), *rest], size)

    def _read_simulated(self, plane: Plane, place: RangeRef, owner: NDArray[np.int32]) -> Value:
        first = int(owner.flat[0])
        if first and (owner == first).all():
            return self._part(self.blocks[first - 1], place)
        cut = _cut(place)
        known = tag_value(plane.payload[cut][None, None, :, :, None], plane.tag[cut][None, None, :, :, None], 0)
        parts = [] if owner.all() else [(known, (0, 0))]
        for (top, left, bottom, right), index in labelled_rectangles(owner):
            if index:
                part = RangeRef(place.sheet, place.top + top, place.left + left, place.top + bottom, place.left + right)
                parts.append((self._part(self.blocks[index - 1], part), (top, left)))
        return self.kit.joined(parts, (place.height, place.width))

    def _part(self, block: Block, place: RangeRef) -> Value:
        """Some cells of a block as an array."""
        whole = self.kit.as_array(block.value, block.place.height, block.place.width)
        if whole.shape[2:] == (place.height, place.width):
            return whole
        top, left = place.top - block.place.top, place.left - block.place.left
        return self.kit.part(whole, top, left, place.height, place.width)


def _cell_of(area: Area, row: int, column: int) -> Area:
    """One cell of an area, by its place there."""
    top, left = evolve(area.top, at=area.top.at + row), evolve(area.left, at=area.left.at + column)
    return Area(area.sheet, top, left, top, left)


def _cut(place: RangeRef) -> tuple[slice, slice]:
    return slice(place.top - 1, place.bottom), slice(place.left - 1, place.right)


def _planes_of(value: Value) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Payload and tag of a known (rows, columns, 1, 1) value; nothing but numbers, booleans and text keep a payload."""
    tag = np.asarray(tag_of(value))[:, :, 0, 0, 0]
    payload = np.asarray(value.payload)[:, :, 0, 0, 0]
    if value.kinds & ~0b111:
        payload = np.where(tag <= Kind.TEXT, payload, 0.0)
    return payload, tag


def rectangles(mask: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Disjoint rectangles (top, left, bottom, right; from 0, ends included) that cover exactly the true cells."""
    return [place for place, label in labelled_rectangles(mask) if label]


def labelled_rectangles(labels: NDArray[Any]) -> list[tuple[tuple[int, int, int, int], int]]:
    """A plane as disjoint rectangles (top, left, bottom, right) of one label each: runs along rows, equal runs stacked."""
    found: list[tuple[tuple[int, int, int, int], int]] = []
    open_runs: dict[tuple[int, int, int], int] = {}
    row = -1
    for row, runs in enumerate(_runs(labels)):
        for run in [run for run in open_runs if run not in runs]:
            found.append(((open_runs.pop(run), run[0], row - 1, run[1]), run[2]))
        for run in runs:
            open_runs.setdefault(run, row)
    found += [((top, run[0], row, run[1]), run[2]) for run, top in open_runs.items()]
    return sorted(found)


def _runs(labels: NDArray[Any]) -> Iterator[dict[tuple[int, int, int], None]]:
    """For each row its runs (first column, last column, label)."""
    height, width = labels.shape
    starts = np.ones((height, width), dtype=bool)
    starts[:, 1:] = labels[:, 1:] != labels[:, :-1]
    rows, columns = np.nonzero(starts)
    values = labels[rows, columns].tolist()
    ends = np.append(columns[1:] - 1, width - 1)
    ends[ends < 0] = width - 1
    bounds = np.searchsorted(rows, np.arange(height + 1)).tolist()
    runs = list(zip(columns.tolist(), ends.tolist(), map(int, values), strict=True))
    for row in range(height):
        yield dict.fromkeys(runs[bounds[row] : bounds[row + 1]])


def filled_plane(kit: Kit, sheet: str, values: Mapping[tuple[int, int], Scalar], extent: tuple[int, int]) -> Plane:
    """The plane of a sheet's stored values. `extent` is the last row and column that any cell uses."""
    height, width = extent
    if height * width > max(DENSE_CELLS, DENSE_RATIO * len(values)):
        raise LimitExceeded(
            f"sheet {sheet!r} uses cells as far apart as row {height:,} and column {width:,} for {len(values):,} values; "
            "clear stray cells at its edges"
        )
    plane = Plane(sheet, height, width)
    if not values:
        return plane
    places = np.array(list(values), dtype=np.int64) - 1
    numbers, tags = [], []
    for value in values.values():
        tags.append(kind_of(value))
        numbers.append(float(kit.texts.code(value)) if isinstance(value, str) else float(value) if isinstance(value, (float, int)) else 0.0)
    plane.payload[places[:, 0], places[:, 1]] = numbers
    plane.tag[places[:, 0], places[:, 1]] = tags
    return plane
