"""Groups of instructions that the NumPy engine carries out tile by tile, so that what is between them stays in the cache.

A tile is a few rows (or columns) of a block, with all iterations at hand. Instructions whose work on one row needs no other
row form a group, and so do the reductions that consume them: they accumulate tile after tile, in the order of the cells.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import define, field, frozen

from ultramc.ops import OPS
from ultramc.program import Instruction, Ref, Shape, shape_of

VIEWS = frozenset({"window", "transpose", "as_array"})
ACCUMULATING = frozenset({"sum", "product", "minimum", "maximum", "any", "all", "count", "first_error_of"})
ROWS, COLUMNS, HEIGHT, WIDTH = range(4)


@frozen(eq=False)
class Member:
    """An instruction of a group; `cuts`: along which axis each operand is cut that comes from outside the group."""

    instruction: Instruction
    cuts: tuple[int | None, ...]

    def reads(self) -> list[int]:
        return self.instruction.reads()

    @property
    def results(self) -> tuple[Ref, ...]:
        return self.instruction.results


@frozen(eq=False)
class Group:
    """`axes`: for each value of a tile the axis of its `length` tiles lie along; `totals`: what accumulates.

    `wanted` is what somebody outside reads; `views` are views of it that are looked at outside too.
    """

    length: int
    members: tuple[Member, ...]
    axes: Mapping[int, int]
    totals: frozenset[int]
    wanted: tuple[Ref, ...]
    views: tuple[Instruction, ...]

    def reads(self) -> list[int]:
        return [index for member in self.members for index in member.reads()]

    @property
    def cells(self) -> int:
        """Of the largest value, in one row of a tile."""
        return max(math.prod(member.instruction.result.shape) // self.length for member in self.members) or 1

    @property
    def results(self) -> tuple[Ref, ...]:
        return (*self.wanted, *(view.result for view in self.views))


def grouped(instructions: Sequence[Instruction], kept: Iterable[int]) -> tuple[Instruction | Group, ...]:
    """The same work in an order that respects what needs what. `kept`: values that somebody reads afterwards."""
    grouping = _Grouping(_readers(instructions), frozenset(kept))
    for instruction in instructions:
        grouping.add(instruction)
    for group in list(grouping.open):
        grouping.close(group)
    return tuple(grouping.items)


def _readers(instructions: Sequence[Instruction]) -> dict[int, list[Instruction]]:
    readers: dict[int, list[Instruction]] = defaultdict(list)
    for instruction in instructions:
        for index in instruction.reads():
            readers[index].append(instruction)
    return readers


# Who may join


@frozen
class _Fit:
    """Along which axis the result's tiles lie (None: it accumulates), and the operands'."""

    axis: int | None
    cuts: tuple[int | None, ...]


def _along(shape: Shape) -> int:
    """The axis that a block, or else one array, is cut along."""
    rows, columns, height, width = shape
    if (rows, columns) != (1, 1):
        return ROWS if rows >= columns else COLUMNS
    return HEIGHT if height >= width else WIDTH


def _inside(instruction: Instruction, axes: Mapping[int, int]) -> list[int | None]:
    """For each operand the axis along which it is tiled already."""
    return [axes.get(operand.index) if isinstance(operand, Ref) else None for operand in instruction.operands]


def _same_axis(instruction: Instruction, inside: list[int | None]) -> int | None:
    """The one axis of all operands that are tiled; where none is, that of the result; None where they differ."""
    axes = {axis for axis in inside if axis is not None} or {_along(instruction.result.shape)}
    return axes.pop() if len(axes) == 1 else None


def _elementwise(instruction: Instruction, inside: list[int | None]) -> _Fit | None:
    axis = _same_axis(instruction, inside)
    return None if axis is None else _Fit(axis, (axis,) * len(inside))


def _cell_by_cell(instruction: Instruction, inside: list[int | None]) -> _Fit | None:
    """Each cell of a block has its own arrays."""
    axis = _same_axis(instruction, inside)
    return _Fit(axis, (axis,) * len(inside)) if axis in (ROWS, COLUMNS) else None


def _looked_up(instruction: Instruction, inside: list[int | None]) -> _Fit | None:
    """`gather` has its positions first, `search` its numbers; the table is one for all, or one for each cell of the block."""
    axis = _same_axis(instruction, inside)
    if axis in (ROWS, COLUMNS):
        return _Fit(axis, (axis, axis))
    return None if axis is None or inside[1] is not None else _Fit(axis, (axis, None))


def _reduction(instruction: Instruction, inside: list[int | None]) -> _Fit | None:
    (axis,) = inside
    if axis is None and instruction.result.shape[:2] != (1, 1):
        axis = _along(instruction.result.shape)
    if axis in (ROWS, COLUMNS):
        return _Fit(axis, (axis,))
    in_order = axis == HEIGHT or (axis == WIDTH and shape_of(instruction.operands[0])[HEIGHT] == 1)
    return _Fit(None, (axis,)) if in_order and instruction.op in ACCUMULATING else None


def _view(instruction: Instruction, inside: list[int | None]) -> _Fit | None:
    (axis,) = inside
    if axis is None:
        return None
    turned = _TURNED[instruction.op](instruction, axis)
    return None if turned is None else _Fit(turned, (axis,))


def _transposed(instruction: Instruction, axis: int) -> int:
    return {HEIGHT: WIDTH, WIDTH: HEIGHT}.get(axis, axis)


def _as_array(instruction: Instruction, axis: int) -> int:
    return axis if shape_of(instruction.operands[0])[HEIGHT:] != (1, 1) else axis + HEIGHT


def _window(instruction: Instruction, axis: int) -> int | None:
    """Only where row i of the block sees row i of the array."""
    a, shape = instruction.attributes, shape_of(instruction.operands[0])
    if axis == HEIGHT and (a["row_step"], a["height"], a["top"], a["rows"]) == (1, 1, 0, shape[HEIGHT]):
        return ROWS
    if axis == WIDTH and (a["column_step"], a["width"], a["left"], a["columns"]) == (1, 1, 0, shape[WIDTH]):
        return COLUMNS
    return None


_TURNED: dict[str, Callable[[Instruction, int], int | None]] = {"transpose": _transposed, "as_array": _as_array, "window": _window}


def _uniform(instruction: Instruction, inside: list[int | None]) -> _Fit | None:
    return _Fit(_along(instruction.result.shape), ()) if instruction.op == "uniform" else None


_FITS: dict[str, Callable[[Instruction, list[int | None]], _Fit | None]] = {
    "elementwise": _elementwise,
    "reduce": _reduction,
    "window": _view,
    "transpose": _view,
    "gather": _looked_up,
    "search": _looked_up,
    "sort": _cell_by_cell,
    "join": _cell_by_cell,
    "source": _uniform,
}


# Grouping


@define(eq=False)
class _Open:
    length: int
    members: list[Member] = field(factory=list)
    axes: dict[int, int] = field(factory=dict)
    totals: set[int] = field(factory=set)

    def fit(self, instruction: Instruction) -> _Fit | None:
        """How an instruction may join, or None."""
        rule = _FITS.get(OPS[instruction.op].shape)
        if rule is None or any(index in self.totals for index in instruction.reads()):
            return None
        fit = rule(instruction, _inside(instruction, self.axes))
        return fit if fit is not None and self._is_of_length(instruction, fit) else None

    def _is_of_length(self, instruction: Instruction, fit: _Fit) -> bool:
        return fit.axis is None or instruction.result.shape[fit.axis] == self.length

    def join(self, instruction: Instruction, fit: _Fit) -> None:
        self.members.append(Member(instruction, fit.cuts))
        if fit.axis is None:
            self.totals.add(instruction.result.index)
        else:
            self.axes[instruction.result.index] = fit.axis


class _Grouping:
    """Several groups may be open at once. One is closed, and so carried out, when somebody outside needs a value of it."""

    def __init__(self, readers: Mapping[int, Sequence[Instruction]], kept: frozenset[int]) -> None:
        self.items: list[Instruction | Group] = []
        self.open: list[_Open] = []
        self._home: dict[int, _Open] = {}
        self._readers = readers
        self._kept = kept

    def add(self, instruction: Instruction) -> None:
        needed = list(dict.fromkeys(self._home[index] for index in instruction.reads() if index in self._home))
        group, fit = self._fitting(instruction, needed)
        for other in needed:
            if other is not group:
                self.close(other)
        if group is None or fit is None:
            self.items.append(instruction)
            return
        group.join(instruction, fit)
        self._home[instruction.result.index] = group

    def _fitting(self, instruction: Instruction, needed: Sequence[_Open]) -> tuple[_Open | None, _Fit | None]:
        for group in needed or self.open:
            fit = group.fit(instruction)
            if fit is not None:
                return group, fit
        return self._opened(instruction)

    def _opened(self, instruction: Instruction) -> tuple[_Open | None, _Fit | None]:
        """A group of its own, for a block of several cells."""
        shape = instruction.result.shape
        group = _Open(shape[_along(shape)])
        fit = group.fit(instruction) if group.length > 1 and instruction.op not in VIEWS else None
        if fit is None:
            return None, None
        self.open.append(group)
        return group, fit

    def close(self, group: _Open) -> None:
        self.open.remove(group)
        for member in group.members:
            del self._home[member.instruction.result.index]
        self.items.append(self._closed(group))

    def _closed(self, group: _Open) -> Group:
        """What is read outside, and what its views are views of."""
        inside = {id(member.instruction) for member in group.members}
        wanted: set[int] = set()
        for member in reversed(group.members):
            ref = member.instruction.result
            if ref.index in self._kept | group.totals | wanted or any(
                id(reader) not in inside for reader in self._readers.get(ref.index, ())
            ):
                wanted.add(ref.index)
                if member.instruction.op in VIEWS:
                    wanted.update(member.reads())
        results = [member.instruction for member in group.members if member.instruction.result.index in wanted]
        return Group(
            group.length,
            tuple(group.members),
            group.axes,
            frozenset(group.totals),
            tuple(instruction.result for instruction in results if instruction.op not in VIEWS),
            tuple(instruction for instruction in results if instruction.op in VIEWS),
        )
