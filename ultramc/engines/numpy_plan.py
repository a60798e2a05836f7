"""Planning for the NumPy engine: a program laid out as one flat list of calls, each with its places in buffers.

Loops are laid out step by step, blocks tile by tile (see `numpy_tiles`). What a step carries, cuts or shifts is a view, so
only instructions cost anything. A buffer is free again when no value lives in it. Calls that come out the same in
several steps are one object, and sizes are in cells: one plan serves any number of iterations.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import evolve, field, frozen

from ultramc.engines import array
from ultramc.engines.numpy_tiles import ACCUMULATING, VIEWS, Group, Member, grouped
from ultramc.program import Body, Instruction, Known, Operand, Program, Ref, Shape

DTYPES: dict[str, Any] = {"number": np.float64, "mask": np.bool_, "tag": np.uint8}
COPY = Instruction("copy", (), (), None)
FURTHER = {reduction: Instruction("further", (), (), None, {"reduction": reduction}) for reduction in ACCUMULATING}


@frozen(eq=False)
class Buffer:
    cells: int
    dtype: Any

    @property
    def bytes(self) -> int:
        """For one iteration."""
        return self.cells * int(np.dtype(self.dtype).itemsize)


@frozen(cache_hash=True)
class View:
    """Part of a buffer: offset and strides count cells."""

    buffer: int
    offset: int
    shape: Shape
    strides: Shape

    def cut(self, axis: int, start: int, stop: int) -> View:
        shape = _replaced(self.shape, axis, stop - start)
        return View(self.buffer, self.offset + start * self.strides[axis], shape, self.strides)


Place = View | Known


@frozen(eq=False)
class Call:
    """An instruction with the places of its operands and results; `at`: row and column of the block where its tile begins."""

    instruction: Instruction
    operands: tuple[Place, ...]
    outs: tuple[View, ...]
    at: tuple[int, int] = (0, 0)
    repeated: tuple[Call, ...] = ()  # the body of a `repeat`, and where its results lie
    following: tuple[Place, ...] = ()


@frozen(eq=False)
class Layout:
    """All calls in order, the buffers that they need, and where the outputs lie."""

    calls: tuple[Call, ...]
    buffers: tuple[Buffer, ...]
    outputs: Mapping[int, Place]

    @property
    def bytes_per_iteration(self) -> int:
        return sum(buffer.bytes for buffer in self.buffers)


def scheduled(program: Program) -> Schedule:
    kept = [part.index for slot in program.outputs for part in (slot.payload, slot.tag) if isinstance(part, Ref)]
    return schedule(program.instructions, kept)


def laid_out(planned: Schedule, cells: int) -> Layout:
    """`cells`: how many make a tile (one row of a block is the least)."""
    planner, scope = _Planner(cells), _Scope()
    planner.carry_out(planned, scope)
    outputs = {index: scope.places[index] for index in planned.kept}
    return Layout(tuple(planner.calls), tuple(planner.pool.buffers), outputs)


# Views


def _replaced(shape: Shape, axis: int, length: int) -> Shape:
    lengths = [*shape]
    lengths[axis] = length
    return lengths[0], lengths[1], lengths[2], lengths[3]


def cut(place: Place, axis: int, start: int, stop: int) -> Place:
    """Part of a place along one axis; an axis of length one serves every part."""
    if place.shape[axis] == 1:
        return place
    if isinstance(place, View):
        return place.cut(axis, start, stop)
    return place[(slice(None),) * axis + (slice(start, stop),)]


def _transposed(view: View, attributes: Mapping[str, Any]) -> View:
    (r, c, h, w), (down, across, below, beside) = view.shape, view.strides
    return View(view.buffer, view.offset, (r, c, w, h), (down, across, beside, below))


def _as_array(view: View, attributes: Mapping[str, Any]) -> View:
    (r, c, h, w), (down, across, _, _) = view.shape, view.strides
    return View(view.buffer, view.offset, (1, 1, r, c), (0, 0, down, across)) if (h, w) == (1, 1) else view


def _window(view: View, a: Mapping[str, Any]) -> View:
    _, _, below, beside = view.strides
    shape = (a["rows"] if a["row_step"] else 1, a["columns"] if a["column_step"] else 1, a["height"], a["width"])
    offset = view.offset + a["top"] * below + a["left"] * beside
    return View(view.buffer, offset, shape, (below * a["row_step"], beside * a["column_step"], below, beside))


_VIEWED: dict[str, Callable[[View, Mapping[str, Any]], View]] = {"transpose": _transposed, "as_array": _as_array, "window": _window}


def _viewed(op: str, place: Place, attributes: Mapping[str, Any]) -> Place:
    if isinstance(place, View):
        return _VIEWED[op](place, attributes)
    known: Known = array.implementation(op)(place, **attributes)
    return known


# Liveness


@frozen(eq=False)
class Schedule:
    """Items in order, with the values that nothing reads after each; `kept` are read when all is done."""

    items: tuple[Instruction | Group, ...]
    dying: tuple[tuple[int, ...], ...]
    kept: frozenset[int]

    @property
    def calls_by_row(self) -> int:
        """How many calls the groups would take if each tile were one row."""
        return sum(item.length * len(item.members) for item in self.items if isinstance(item, Group))


def schedule(instructions: Sequence[Instruction], kept: Iterable[int]) -> Schedule:
    kept = frozenset(kept)
    items = grouped(instructions, kept)
    return Schedule(items, _dying(items, kept), kept)


def _dying(items: Sequence[Instruction | Group | Member], kept: frozenset[int]) -> tuple[tuple[int, ...], ...]:
    last: dict[int, int] = {}
    for position, item in enumerate(items):
        last.update((index, position) for index in (*item.reads(), *(ref.index for ref in item.results)))
    dying: list[list[int]] = [[] for _ in items]
    for index, position in last.items():
        if index not in kept:
            dying[position].append(index)
    return tuple(map(tuple, dying))


def live_bytes(planned: Schedule) -> tuple[int, int]:
    """About how many bytes an iteration needs at most: of all that lives at once, and of what is not merely passed through."""
    live = _Live()
    for item, dying in zip(planned.items, planned.dying, strict=True):
        live.carry_out(item)
        live.forget(dying)
    return live.most, live.hottest


class _Live:
    """Values that a loop or a group fills part by part are passed through; what they do inside takes its own bytes."""

    def __init__(self) -> None:
        self.most = self.hottest = 0
        self._bytes = self._hot = 0
        self._roots: dict[int, int] = {}  # of views
        self._values: dict[int, list[int]] = {}  # root → how many see it, its bytes, and those that are hot

    def carry_out(self, item: Instruction | Group) -> None:
        if isinstance(item, Instruction) and item.op in VIEWS:
            self._see(item.result.index, *item.reads())
            return
        parts = item.wanted if isinstance(item, Group) else item.results
        for ref in parts:
            self._add(ref, is_hot=isinstance(item, Instruction) and item.op != "loop")
        if isinstance(item, Group):
            for view in item.views:
                self._see(view.result.index, *view.reads())
        inside = _inside(item)
        self.most = max(self.most, self._bytes + inside[0])
        self.hottest = max(self.hottest, self._hot + inside[1])

    def forget(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            value = self._values.get(self._roots.pop(index, index))
            if value is not None:
                value[0] -= 1
                if not value[0]:
                    self._bytes, self._hot = self._bytes - value[1], self._hot - value[2]

    def _see(self, index: int, *seen: int) -> None:
        for other in seen:
            self._roots[index] = self._roots.get(other, other)
            self._values.get(self._roots[index], [0])[0] += 1

    def _add(self, ref: Ref, *, is_hot: bool) -> None:
        size = math.prod(ref.shape) * int(np.dtype(DTYPES[ref.kind]).itemsize)
        self._values[ref.index] = [1, size, size if is_hot else 0]
        self._bytes, self._hot = self._bytes + size, self._hot + size * is_hot


def _inside(item: Instruction | Group) -> tuple[int, int]:
    """What a body or one row of a group takes."""
    if isinstance(item, Group):
        return 8 * item.cells, 8 * item.cells
    body: Body | None = item.attributes.get("body")
    return live_bytes(schedule(body.instructions, _indexes(body.results))) if body else (0, 0)


class _Pool:
    """Buffers by size and type, and how many values live in each."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self._living: list[int] = []
        self._free: dict[tuple[int, Any], list[int]] = defaultdict(list)

    def take(self, cells: int, dtype: Any, preferred: int | None) -> int:
        """A free buffer, the preferred one where it is: what repeats then repeats in the same places."""
        free = self._free[cells, dtype]
        if preferred in free:
            free.remove(preferred)
            return preferred
        if free:
            return free.pop()
        self.buffers.append(Buffer(cells, dtype))
        self._living.append(0)
        return len(self.buffers) - 1

    def hold(self, place: Place) -> None:
        if isinstance(place, View):
            self._living[place.buffer] += 1

    def drop(self, place: Place) -> None:
        if isinstance(place, View):
            self._living[place.buffer] -= 1
            if not self._living[place.buffer]:
                buffer = self.buffers[place.buffer]
                self._free[buffer.cells, buffer.dtype].append(place.buffer)

    def is_whole(self, view: View) -> bool:
        return self.buffers[view.buffer].cells == math.prod(view.shape)

    def may_overwrite(self, view: View, dtype: Any) -> bool:
        """Where nothing else lives there."""
        return self._living[view.buffer] == 1 and self.buffers[view.buffer].dtype == dtype


def _strides(shape: Shape, order: Sequence[int]) -> Shape:
    """`order`: the outermost axis first."""
    strides, step = [0, 0, 0, 0], 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return strides[0], strides[1], strides[2], strides[3]


# Laying out


@frozen(eq=False)
class _Scope:
    """Where the values of a program, a step or a tile lie. `targets`: where results go that are wanted in a certain place."""

    outer: _Scope | None = None
    places: dict[int, Place] = field(factory=dict)
    targets: Mapping[int, View] = field(factory=dict)
    tile: _Tile | None = None

    def place(self, operand: Operand) -> Place:
        if not isinstance(operand, Ref):
            return operand
        if operand.index in self.places:
            return self.places[operand.index]
        assert self.outer is not None, f"%{operand.index} is not there"
        return self.outer.place(operand)


@frozen(eq=False)
class _Tile:
    group: Group
    start: int
    stop: int

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def shape(self, ref: Ref) -> Shape:
        axis = self.group.axes.get(ref.index)
        return ref.shape if axis is None else _replaced(ref.shape, axis, self.rows)

    def part(self, whole: View, ref: Ref) -> View:
        """Where a tile's result goes; a total is one for all tiles."""
        return whole if ref.index in self.group.totals else whole.cut(self.group.axes[ref.index], self.start, self.stop)

    def attributes(self, instruction: Instruction) -> Mapping[str, Any]:
        """A window moves over the tile only."""
        if instruction.op != "window":
            return instruction.attributes
        moving = "rows" if self.group.axes[instruction.result.index] == 0 else "columns"
        return {**instruction.attributes, moving: self.rows}

    def begins_at(self, instruction: Instruction) -> tuple[int, int]:
        """What draws must know where it is."""
        if instruction.op != "uniform":
            return 0, 0
        return (self.start, 0) if self.group.axes[instruction.result.index] == 0 else (0, self.start)


class _Planner:
    def __init__(self, cells: int) -> None:
        self.calls: list[Call] = []
        self.pool = _Pool()
        self._cells = cells
        self._made: dict[tuple[Any, ...], Call] = {}
        self._used: dict[int, int] = {}  # the buffer that each result lay in last
        self._schedules: dict[Body, Schedule] = {}

    def carry_out(self, planned: Schedule, scope: _Scope) -> None:
        for item, dying in zip(planned.items, planned.dying, strict=True):
            self._item(item, scope, dying)
            self._forget(scope, dying)

    def _item(self, item: Instruction | Group, scope: _Scope, dying: Sequence[int]) -> None:
        if isinstance(item, Group):
            self._group(item, scope)
        elif item.op in _WITH_BODY:
            _WITH_BODY[item.op](self, item, scope)
        elif item.op in VIEWS:
            self._bind(scope, item.result, _viewed(item.op, scope.place(item.operands[0]), item.attributes))
        else:
            places = [scope.place(operand) for operand in item.operands]
            out = self._out(item, places, item.result.shape, scope, dying)
            self._call(item, places, [out])
            self._bind(scope, item.result, out)

    def _bind(self, scope: _Scope, ref: Ref, place: Place) -> None:
        self.pool.hold(place)
        scope.places[ref.index] = place

    def _forget(self, scope: _Scope, indexes: Iterable[int]) -> None:
        for index in indexes:
            place = scope.places.pop(index, None)
            if place is not None:
                self.pool.drop(place)

    def _call(self, instruction: Instruction, operands: Sequence[Place], outs: Sequence[View], at: tuple[int, int] = (0, 0)) -> None:
        key = (instruction, tuple(place if isinstance(place, View) else id(place) for place in operands), tuple(outs), at)
        if key not in self._made:
            self._made[key] = Call(instruction, tuple(operands), tuple(outs), at)
        self.calls.append(self._made[key])

    def _out(self, instruction: Instruction, places: Sequence[Place], shape: Shape, scope: _Scope, dying: Sequence[int]) -> View:
        """Where a result goes: where it is wanted, over an operand that dies, or to a free buffer."""
        ref = instruction.result
        if ref.index in scope.targets:
            return scope.targets[ref.index]
        dtype = DTYPES[ref.kind]
        alike = [place for place in places if isinstance(place, View) and place.shape == shape and self.pool.is_whole(place)]
        for operand, place in _overwritable(instruction, places):
            if operand.index in dying and operand.index in scope.places and place in alike and self.pool.may_overwrite(place, dtype):
                return place
        return self._taken(ref, shape, alike[0].strides if alike else None)

    def _taken(self, ref: Ref, shape: Shape, strides: Shape | None = None) -> View:
        number = self.pool.take(math.prod(shape), DTYPES[ref.kind], self._used.get(ref.index))
        self._used[ref.index] = number
        return View(number, 0, shape, strides or _strides(shape, range(4)))

    def _whole(self, ref: Ref, axis: int, scope: _Scope) -> View:
        """Room for all parts of a result along an axis, each part contiguous."""
        if ref.index in scope.targets:
            return scope.targets[ref.index]
        return self._taken(ref, ref.shape, _strides(ref.shape, [axis, *(other for other in range(4) if other != axis)]))

    # Tiles

    def _group(self, group: Group, scope: _Scope) -> None:
        for ref in group.wanted:
            self._bind(scope, ref, self._whole(ref, group.axes.get(ref.index, 0), scope))
        dying, rows = _dying(group.members, frozenset()), max(1, self._cells // group.cells)
        for start in range(0, group.length, rows):
            tile = _Tile(group, start, min(start + rows, group.length))
            self._tile(tile, scope, dying)
        for view in group.views:
            self._bind(scope, view.result, _viewed(view.op, scope.place(view.operands[0]), view.attributes))

    def _tile(self, tile: _Tile, scope: _Scope, dying: Sequence[Sequence[int]]) -> None:
        wholes = {ref.index: scope.places[ref.index] for ref in tile.group.wanted}
        targets = {ref.index: tile.part(whole, ref) for ref in tile.group.wanted if isinstance(whole := wholes[ref.index], View)}
        inner = _Scope(scope, targets=targets, tile=tile)
        for member, ending in zip(tile.group.members, dying, strict=True):
            self._member(member, tile, inner, ending)
            self._forget(inner, ending)

    def _member(self, member: Member, tile: _Tile, scope: _Scope, dying: Sequence[int]) -> None:
        instruction = member.instruction
        ref = instruction.result
        places = [self._tiled(operand, axis, tile, scope) for operand, axis in zip(instruction.operands, member.cuts, strict=True)]
        if instruction.op in VIEWS:
            self._bind(scope, ref, _viewed(instruction.op, places[0], tile.attributes(instruction)))
        elif ref.index in tile.group.totals and tile.start:
            self._call(FURTHER[instruction.op], places, [scope.targets[ref.index]])
        else:
            out = self._out(instruction, places, tile.shape(ref), scope, dying)
            self._call(instruction, places, [out], tile.begins_at(instruction))
            self._bind(scope, ref, out)

    def _tiled(self, operand: Operand, axis: int | None, tile: _Tile, scope: _Scope) -> Place:
        if axis is None or (isinstance(operand, Ref) and operand.index in scope.places):
            return scope.place(operand)
        return cut(scope.place(operand), axis, tile.start, tile.stop)

    # Bodies

    def _loop(self, instruction: Instruction, scope: _Scope) -> None:
        a = instruction.attributes
        carries, axis, steps = a["carries"], a["axis"], range(a["steps"])
        starts = [scope.place(operand) for operand in instruction.operands]
        wholes = [self._whole(ref, axis, scope) for ref in instruction.results[carries:]]
        for ref, whole in zip(instruction.results[carries:], wholes, strict=True):
            self._bind(scope, ref, whole)
        carried = starts[:carries]
        for place in carried:
            self.pool.hold(place)
        for step in reversed(steps) if a.get("reverse") else steps:
            given = [*carried, *(cut(place, axis, step, step + 1) for place in starts[carries:])]
            carried = self._step(a["body"], scope, given, carried, [whole.cut(axis, step, step + 1) for whole in wholes])
        for ref, place in zip(instruction.results, carried, strict=False):
            scope.places[ref.index] = place

    def _step(self, body: Body, scope: _Scope, given: Sequence[Place], carried: Sequence[Place], targets: Sequence[View]) -> list[Place]:
        """The values carried on, held. What is yielded is written where it is wanted; a yield that is made elsewhere is copied."""
        carries, inner = len(carried), self._given(body, scope, given)
        for place in carried:
            self.pool.drop(place)
        made, copies = _targeted(body, body.results[carries:], targets)
        inner = evolve(inner, targets=made)
        self.carry_out(self._schedule(body), inner)
        for operand, target in copies:
            self._call(COPY, [inner.place(operand)], [target])
        following = [inner.place(operand) for operand in body.results[:carries]]
        for place in following:
            self.pool.hold(place)
        self._forget(inner, list(inner.places))
        return following

    def _given(self, body: Body, scope: _Scope, places: Sequence[Place]) -> _Scope:
        inner = _Scope(scope)
        for ref, place in zip(body.parameters, places, strict=True):
            self._bind(inner, ref, place)
        return inner

    def _schedule(self, body: Body) -> Schedule:
        if body not in self._schedules:
            self._schedules[body] = schedule(body.instructions, _indexes(body.results))
        return self._schedules[body]

    def _repeat(self, instruction: Instruction, scope: _Scope) -> None:
        """The body once, from where the state is to where the next one is: what is called again and again."""
        body: Body = instruction.attributes["body"]
        starts = [scope.place(operand) for operand in instruction.operands]
        outs = [scope.targets.get(ref.index) or self._taken(ref, ref.shape) for ref in instruction.results]
        for ref, out in zip(instruction.results, outs, strict=True):
            self._bind(scope, ref, out)
        inner = self._given(body, scope, outs[:-1])
        before, self.calls = self.calls, []
        self.carry_out(self._schedule(body), inner)
        repeated, self.calls = tuple(self.calls), before
        following = tuple(inner.place(operand) for operand in body.results)
        self.calls.append(Call(instruction, tuple(starts), tuple(outs), repeated=repeated, following=following))
        self._forget(inner, list(inner.places))


_WITH_BODY: dict[str, Callable[[_Planner, Instruction, _Scope], None]] = {"loop": _Planner._loop, "repeat": _Planner._repeat}


def _indexes(operands: Iterable[Operand]) -> list[int]:
    return [operand.index for operand in operands if isinstance(operand, Ref)]


def _overwritable(instruction: Instruction, places: Sequence[Place]) -> list[tuple[Ref, View]]:
    """A ufunc may write over any operand, `snap` over its first and `select` over its last; other work may not."""
    pairs = list(zip(instruction.operands, places, strict=True))
    if instruction.op in ("snap", "select"):
        pairs = pairs[:1] if instruction.op == "snap" else pairs[2:]
    elif instruction.op not in array.UFUNCS:
        return []
    return [(operand, place) for operand, place in pairs if isinstance(operand, Ref) and isinstance(place, View)]


def _targeted(body: Body, yields: Sequence[Operand], targets: Sequence[View]) -> tuple[dict[int, View], list[tuple[Operand, View]]]:
    """Yields that an instruction of the body can write to their places itself, and those that are copied there."""
    makers = _makers(body)
    made: dict[int, View] = {}
    copies: list[tuple[Operand, View]] = []
    for operand, target in zip(yields, targets, strict=True):
        if isinstance(operand, Ref) and operand.index in makers and operand.index not in made:
            made[operand.index] = target
        else:
            copies.append((operand, target))
    return made, copies


def _makers(body: Body) -> set[int]:
    """The values that are written, and not views of others."""
    written = [ref for each in body.instructions if each.op not in VIEWS for ref in each.results[each.attributes.get("carries", 0) :]]
    return {ref.index for ref in written}
