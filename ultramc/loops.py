"""A loop of formulas → one `loop` instruction: its body is lowered once, for a step that stands for all.

The formulas of a body see a `Frame` instead of the grid. What moves along with the steps is cut from the cells outside,
what members have at an earlier step is carried, and what is the same at every step is computed once, before the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from ultramc import folding
from ultramc.address import RangeRef
from ultramc.distributions.probability import Drawn, Probability
from ultramc.functions.kit import Area, Edge, Kit, Unroll, Value, tag_of
from ultramc.fusion import REDUCTIONS, initial_of
from ultramc.ops import OPS
from ultramc.program import (
    DECISIONS,
    EVERYTHING,
    LARGEST,
    TRUE,
    Body,
    Builder,
    Growing,
    Instruction,
    Interval,
    Known,
    Operand,
    Ref,
    Shape,
    along,
    broadcast_shape,
    constant,
    decided,
    interval_of,
    interval_of_result,
    kind_of_operand,
    narrowed,
    shape_of,
)
from ultramc.recurrences import Direction, Loop, Member, members
from ultramc.references import extent
from ultramc.terms import Term

if TYPE_CHECKING:
    from ultramc.lowering import Draws, Lowering

MOST_ROUNDS = 16  # in which the kinds of carried values have to settle; there are fewer kinds
WIDE: Interval = (-LARGEST, LARGEST)
GUESSES: tuple[Interval, ...] = ((-1e30, 1e30), (-1e75, 1e75), (-1e150, 1e150))


class Source(Protocol):
    """Where formulas see cells: a grid, or the frame of a loop."""

    def seen(self, area: Area, place: RangeRef) -> Value:
        """The cells that each cell of the block sees: shape (rows, columns, height, width)."""


class Peel(Exception):
    """The first steps start from blanks or texts: computed apart, they leave a loop of numbers."""

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        self.steps = steps


Formula = Callable[["Lowering", Member], Value]


def lowered(loop: Loop, lowering: Lowering, formula: Formula) -> dict[Member, Value]:
    """What each member holds at all steps. Raises Unroll where the loop cannot be computed as one, Pending where cells come first.

    Carried numbers are first taken to lie within bounds; then the body, run on intervals, tells which bounds they keep. So the body
    is free of tests for overflow where none can occur. Where they keep no bounds, or all is known, they may be any numbers.
    """
    anything = dict.fromkeys(members(loop), WIDE)
    for guess in () if lowering.draws is None else GUESSES:
        frame = _settled(loop, lowering, formula, dict.fromkeys(anything, guess))
        if 0 < frame.odd_start() < loop.steps and not frame.is_inner:
            raise Peel(frame.odd_start())
        bounds = frame.reached()
        if all(_within(interval, guess) for interval in bounds.values()):
            frame = _settled(loop, lowering, formula, bounds)
            if all(_within(interval, bounds.get(member, guess)) for member, interval in frame.reached().items()):
                return frame.results()
    return _settled(loop, lowering, formula, anything).results()


def _within(inner: Interval, outer: Interval) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _settled(loop: Loop, lowering: Lowering, formula: Formula, intervals: Mapping[Member, Interval]) -> Frame:
    """The body, lowered with kinds and texts of carried values that its results do not add to."""
    kinds: dict[Member, int] = {}
    for _ in range(MOST_ROUNDS):
        texts = len(lowering.kit.texts.strings)
        frame = Frame(loop, lowering.source, lowering.kit, intervals, dict(kinds))
        _fill(frame, loop, lowering.within(frame), formula)
        if frame.is_settled and len(lowering.kit.texts.strings) == texts:
            return frame
        kinds = frame.kinds
    raise Unroll


def _fill(frame: Frame, loop: Loop, lowering: Lowering, formula: Formula) -> None:
    for piece in loop.body:
        if isinstance(piece, Loop):
            for member, value in lowered(piece, lowering, formula).items():
                frame.put(member, value)
        else:
            frame.put(piece, formula(lowering, piece))
    frame.widen_kinds()


@frozen(eq=False)
class Carry:
    """What a member held `lag` steps before: the value before the first step, and the parameter of the body."""

    initial: Value
    value: Value


class _Lines:
    """Members by where they lie across the steps."""

    def __init__(self, group: Sequence[Member], across: Direction) -> None:
        self._sheets: dict[str, tuple[list[Member], NDArray[np.int64]]] = {}
        for sheet in {member.place.sheet for member in group}:
            mine = [member for member in group if member.place.sheet == sheet]
            self._sheets[sheet] = mine, np.array([across.span(member.place) for member in mine])

    def overlapping(self, sheet: str, span: tuple[int, int]) -> list[Member]:
        if sheet not in self._sheets:
            return []
        mine, spans = self._sheets[sheet]
        return [mine[number] for number in np.flatnonzero((spans[:, 0] <= span[1]) & (spans[:, 1] >= span[0])).tolist()]


class Frame:
    """What the formulas of a body see: cells as they are at the step at hand."""

    def __init__(self, loop: Loop, outer: Source, kit: Kit, intervals: Mapping[Member, Interval], kinds: dict[Member, int]) -> None:
        self.loop = loop
        self.direction: Direction = loop.direction
        self.outer = outer
        self.is_inner = isinstance(outer, Frame)
        self.outer_kit = kit
        self.builder = kit.builder.inside()
        self.kit = Kit(self.builder, kit.texts)
        self.intervals = intervals
        self.kinds = kinds
        self.members = list(members(loop))
        self._lines = _Lines(self.members, self.direction.other[0])
        self.now: dict[Member, Value] = {}
        self.carried: dict[Member, list[Carry]] = {}
        self.cuts: dict[object, tuple[Operand, Ref]] = {}
        self.totals: list[tuple[Operand, Ref, Operand]] = []  # initial, parameter, next
        self.builder.grow = self.grow

    # What a formula sees

    def seen(self, area: Area, place: RangeRef) -> Value:
        near, far = self.direction.edges(area)
        if not (near.moves or far.moves):
            return self.outer.seen(area, place)
        if near.moves != far.moves:
            raise Unroll
        start = self.direction.span(place)[0]
        offsets = range(near.at - start, far.at - start + 1)
        hits = [self._hits(area, place, offset) for offset in offsets]
        if not any(hits):
            return self.cut(self.outer.seen(area, place))
        lines = [self._line(area, place, offset, found) for offset, found in zip(offsets, hits, strict=True)]
        return self._windows(self._side_by_side(lines, self.direction), area, place)

    def _hits(self, area: Area, place: RangeRef, offset: int) -> list[tuple[Member, int]]:
        """Members of which cells lie at that offset along the direction, with how many steps ago they were there."""
        found = []
        for member in self._lines.overlapping(area.sheet, self.direction.other[0].span(extent(area, place))):
            if self._is_now_outside(member, area, place):
                lag = self.lag(member, place, offset)
                if -self.loop.steps < lag < 0:
                    raise Unroll
                if 0 <= lag < self.loop.steps:
                    found.append((member, lag))
        return found

    def lag(self, member: Member, place: RangeRef, offset: int) -> int:
        """How many steps before a reader at `place` a member is where the reader looks."""
        distance = self.direction.start(member.place) - self.direction.start(place) - offset
        return -distance if self.direction.backwards else distance

    def _is_now_outside(self, member: Member, area: Area, place: RangeRef) -> bool:
        """In an inner loop: whether the outer loop is at the same step there."""
        if not isinstance(self.outer, Frame):
            return True
        near, far = self.outer.direction.edges(area)
        if not (near.moves and far.moves):
            return False
        start = self.outer.direction.span(place)[0]
        lags = [self.outer.lag(member, place, offset) for offset in range(near.at - start, far.at - start + 1)]
        if 0 in lags and len(lags) > 1:
            raise Unroll
        return lags == [0]

    def _line(self, area: Area, place: RangeRef, offset: int, hits: Sequence[tuple[Member, int]]) -> Value:
        """All cells that are seen at one offset along the direction, as an array one cell wide."""
        across = self.direction.other[0]
        if self.is_inner:
            return self._past(*hits[0]) if hits else self._outside(area, place, offset, across.edges(area))
        position, last = across.span(extent(area, place))
        parts = []
        for member, lag in sorted(hits, key=lambda hit: across.span(hit[0].place)):
            begin, end = across.span(member.place)
            if position < begin:
                parts.append(self._outside(area, place, offset, (Edge(position), Edge(begin - 1))))
            parts.append(self._member(member, lag, max(position, begin), min(last, end)))
            position = end + 1
        if position <= last:
            parts.append(self._outside(area, place, offset, (Edge(position), Edge(last))))
        return self._side_by_side(parts, across)

    def _outside(self, area: Area, place: RangeRef, offset: int, across: tuple[Edge, Edge]) -> Value:
        """Cells that no member computes, between two sides across the direction."""
        moving = Edge(self.direction.span(place)[0] + offset, True)
        return self.cut(self.outer.seen(_area(area.sheet, self.direction, (moving, moving), across), place))

    def _member(self, member: Member, lag: int, first: int, last: int) -> Value:
        across = self.direction.other[0]
        begin, end = across.span(member.place)
        size = (end - begin + 1, 1) if across.down else (1, end - begin + 1)
        whole = self.kit.as_array(self._past(member, lag), *size)
        if (begin, end) == (first, last):
            return whole
        corner, part = (first - begin, 0), (last - first + 1, 1)
        return self.kit.part(whole, *corner, *part) if across.down else self.kit.part(whole, *corner[::-1], *part[::-1])

    def _past(self, member: Member, lag: int) -> Value:
        if lag == 0:
            if member not in self.now:
                raise Unroll
            return self.now[member]
        chain = self.carried.setdefault(member, [])
        while len(chain) < lag:
            chain.append(self._carry(member, len(chain) + 1))
        return chain[lag - 1].value

    def _carry(self, member: Member, lag: int) -> Carry:
        initial = self._before(member, lag)
        kinds = self.kinds[member] = self.kinds.get(member, 0) | initial.kinds
        shape = self._shape(member)
        payload = self.builder.parameter(shape, "number", self.intervals.get(member, WIDE))
        single = kinds.bit_length() - 1
        tag = single if kinds == 1 << single else self.builder.parameter(shape, "tag")
        return Carry(initial, Value(payload, tag, kinds))

    def _before(self, member: Member, lag: int) -> Value:
        """What stands so many steps before a member's first."""
        position = self.direction.moved(self.direction.start(member.place), -lag)
        if position < 1:
            raise Unroll
        across = self.direction.other[0]
        fixed, moving = Edge(position), Edge(across.span(member.place)[0], True)
        return self.outer.seen(_area(member.place.sheet, self.direction, (fixed, fixed), (moving, moving)), member.place)

    def _shape(self, member: Member) -> Shape:
        """Of what a member holds at a step."""
        height, width = member.place.height, member.place.width
        if self.is_inner:
            return 1, 1, 1, 1
        return (1, width, 1, 1) if self.direction.down else (height, 1, 1, 1)

    def _side_by_side(self, parts: Sequence[Value], direction: Direction) -> Value:
        """Arrays one after the other along a direction, as one."""
        if len(parts) == 1:
            return parts[0]
        placed, position = [], 0
        for part in parts:
            placed.append((part, (position, 0) if direction.down else (0, position)))
            position += part.shape[2 if direction.down else 3]
        size = (position, parts[0].shape[3]) if direction.down else (parts[0].shape[2], position)
        return self.kit.joined(placed, size)

    def _windows(self, value: Value, area: Area, place: RangeRef) -> Value:
        """The part of an array that each cell of the block sees; along the direction there is but one."""
        if self.is_inner:
            return value
        across = self.direction.other[0]
        near, far = across.edges(area)
        length = across.span(place)[1] - across.span(place)[0] + 1
        if near.moves != far.moves and length > 1:
            raise Unroll
        step = int(near.moves and far.moves and length > 1)
        count = length if step else 1
        cut = {"height": area.height, "width": area.width, "top": 0, "left": 0}
        if across.down:
            cut |= {"rows": count, "columns": 1, "row_step": step, "column_step": 0}
        else:
            cut |= {"rows": 1, "columns": count, "row_step": 0, "column_step": step}
        return value.mapped(lambda operand: self.kit.emit("window", value.spanning(operand), **cut))

    # Areas that grow with the steps

    def grows(self, area: Area) -> bool:
        """Whether each step adds to the area what it has not had before."""
        return grows(area, self.direction)

    def grown(self, area: Area, place: RangeRef) -> Value:
        """The newest cells of a growing area, with those that it has before the first step."""
        near, far = self.direction.edges(area)
        side = near if self.direction.backwards else far
        fixed = evolve(side, moves=True)
        newest = self.seen(self._with_sides(area, fixed, fixed), place)
        start = self.direction.start(place) - self.direction.span(place)[0] + side.at
        rest = (start + 1, far.at) if self.direction.backwards else (near.at, start - 1)
        before = self.outer.seen(self._with_sides(area, Edge(rest[0]), Edge(rest[1])), place) if rest[0] <= rest[1] else None
        return self._growing(newest, before)

    def _with_sides(self, area: Area, near: Edge, far: Edge) -> Area:
        return _area(area.sheet, self.direction, (near, far), self.direction.other[0].edges(area))

    def _growing(self, newest: Value, before: Value | None) -> Value:
        kinds = newest.kinds | (before.kinds if before is not None else 0)
        payload = self._grown(newest.payload, None if before is None else before.payload)
        single = kinds.bit_length() - 1
        if kinds == 1 << single:
            return Value(payload, single, kinds)
        return Value(payload, self._grown(tag_of(newest), None if before is None else tag_of(before)), kinds)

    def _grown(self, newest: Operand, before: Operand | None) -> Growing:
        builder = self.builder
        ref = newest if isinstance(newest, Ref) and newest.index in builder.local else builder.append("select", TRUE, newest, newest)
        return Growing(ref.index, ref.shape, ref.kind, ref.interval, before)

    def grow(self, builder: Builder, op: str, operands: Sequence[Operand | float], attributes: Mapping[str, Any]) -> Operand:
        """What an op makes of growing arrays: another one, or a total that is carried on."""
        if op == "count":
            ones = self.grow(builder, "select", (*operands, constant(1.0), constant(0.0)), {})
            return self._total("sum", ones, is_ordered=False)
        if op in REDUCTIONS:
            return self._total(op, operands[0], is_ordered=REDUCTIONS[op][2])
        if OPS[op].shape != "elementwise":
            raise Unroll
        given = [operand if isinstance(operand, Growing) else self._invariant(operand) for operand in operands]
        ref = builder.append(op, *given, **attributes)
        befores = [operand.before if isinstance(operand, Growing) else operand for operand in given]
        known = [operand for operand in befores if operand is not None]
        before = self.outer_kit.emit(op, *known, **attributes) if len(known) == len(befores) else None
        return Growing(ref.index, ref.shape, ref.kind, ref.interval, before)

    def _invariant(self, operand: Operand | float) -> Operand:
        """An operand that is one and the same for all elements."""
        if not isinstance(operand, (Ref, np.ndarray)):
            return constant(operand)
        if isinstance(operand, np.ndarray) and operand.size > 1 and (operand == operand.flat[0]).all():
            return operand[:1, :1, :1, :1]
        if shape_of(operand)[2:] != (1, 1) or (isinstance(operand, Ref) and operand.index in self.builder.local):
            raise Unroll
        return operand

    def _total(self, op: str, array: Operand | float, *, is_ordered: bool) -> Operand:
        assert isinstance(array, Growing)
        if is_ordered and (self.direction.backwards or (array.shape[2:] != (1, 1) and not (self.direction.down and array.shape[2] == 1))):
            raise Unroll
        newest = Ref(array.index, array.shape, array.kind, array.interval)
        kind = "number" if array.kind == "number" else array.kind
        before = None if array.before is None else self.outer_kit.emit(op, array.before)
        shape = newest.shape if before is None else broadcast_shape([newest.shape, shape_of(before)])
        shape = (*shape[:2], 1, 1)
        initial = initial_of(op, kind) if before is None else before
        span = self._span_of_total(op, newest, before)
        so_far = self.builder.parameter(shape, kind, _hull((span, _span(initial))) if kind == "number" else EVERYTHING)
        if is_ordered and array.shape[3] > 1:
            width = array.shape[3]
            joined = self.kit.emit("join", so_far, newest, size=(1, width + 1), places=((0, 0), (0, 1)))
            following = self.kit.emit(op, joined)
        else:
            following = self.kit.emit(REDUCTIONS[op][0], so_far, self.kit.emit(op, newest))
        self.totals.append((_stretched(self.outer_kit, initial, shape), so_far, following))
        return narrowed(following, *span) if kind == "number" else following

    def _span_of_total(self, op: str, newest: Ref, before: Operand | None) -> Interval:
        (low, high), steps = newest.interval, self.loop.steps * newest.shape[2] * newest.shape[3]
        start = (0.0, 0.0) if before is None else _span(before)
        if op == "sum":
            return start[0] + low * (steps if low < 0 else 1), start[1] + high * (steps if high > 0 else 1)
        if op in ("minimum", "maximum"):
            return newest.interval if before is None else _hull((newest.interval, start))
        return EVERYTHING

    # What is cut along the steps

    def cut(self, value: Value) -> Value:
        """Of a block of all steps what the step at hand sees."""
        return value.mapped(self.cut_operand)

    def cut_operand(self, operand: Operand) -> Operand:
        axis, shape = self.direction.axis, shape_of(operand)
        if shape[axis] == 1:
            return operand
        if isinstance(operand, Ref) and operand.index in self.builder.local:
            raise Unroll
        if isinstance(operand, np.ndarray):
            first = operand.take([0], axis=axis)
            if (operand == first).all():
                return first
        key = operand.index if isinstance(operand, Ref) else (id(operand), operand.ctypes.data, operand.shape, operand.strides)
        if key not in self.cuts:
            self.cuts[key] = operand, self._cut_parameter(operand)
        return self.cuts[key][1]

    def is_known_by_step(self, operand: Operand) -> bool:
        """Whether nothing but known cells makes it, though perhaps others at each step."""
        known = {ref.index for given, ref in self.cuts.values() if self._is_known_outside(given)}

        def is_known(operand: Operand) -> bool:
            return self._is_known_outside(operand) or (isinstance(operand, Ref) and operand.index in known)

        for instruction in self.kit.builder.instructions:
            if instruction.operands and "body" not in instruction.attributes and all(map(is_known, instruction.operands)):
                known.update(ref.index for ref in instruction.results)
        return is_known(operand)

    def _is_known_outside(self, operand: Operand) -> bool:
        return self.outer.is_known_by_step(operand) if isinstance(self.outer, Frame) else not isinstance(operand, Ref)

    def _cut_parameter(self, operand: Operand) -> Ref:
        shape = along(shape_of(operand), self.direction.axis, 1)
        return self.builder.parameter(shape, kind_of_operand(operand), _span(operand))

    # What comes of it

    def put(self, member: Member, value: Value) -> None:
        self.now[member] = self.cut(value)

    @property
    def is_settled(self) -> bool:
        """Whether carried values may be of all the kinds that the steps give them."""
        return all(carry.value.kinds == self.kinds[member] for member, chain in self.carried.items() for carry in chain)

    def widen_kinds(self) -> None:
        for member in self.carried:
            self.kinds[member] |= self.now[member].kinds

    def odd_start(self) -> int:
        """Before how many steps something is carried of kinds that no step makes."""
        odd = [
            len(chain) for member, chain in self.carried.items() if any(carry.initial.kinds & ~self.now[member].kinds for carry in chain)
        ]
        return max(odd, default=0)

    def results(self) -> dict[Member, Value]:
        """Emit the loop. What each member holds at all steps."""
        instruction = self._instruction()
        carried = instruction.attributes["carries"]
        results: list[Operand] = list(instruction.results)
        if folding.is_known(instruction):
            results = list(folding.results(instruction))
        else:
            self.outer_kit.builder.add(instruction)
        yielded = iter(results[carried:])
        return {member: self._result(value, yielded) for member, value in self.now.items()}

    def _result(self, value: Value, yielded: Iterator[Operand]) -> Value:
        payload = next(yielded)
        return Value(payload, value.tag if isinstance(value.tag, int) else next(yielded), value.kinds)

    def _instruction(self) -> Instruction:
        initials: list[Operand] = []
        following: list[Operand] = []
        parameters: list[Ref] = []
        for member, chain in self.carried.items():
            held = [self._full(member, self.now[member], self.kinds[member]), *(carry.value for carry in chain[:-1])]
            for carry, value in zip(chain, held, strict=True):
                initials += self._parts(self._full(member, carry.initial, self.kinds[member], self.outer_kit))
                following += self._parts(value)
                parameters += [part for part in self._parts(carry.value) if isinstance(part, Ref)]
        for initial, parameter, total in self.totals:
            initials.append(initial)
            following.append(total)
            parameters.append(parameter)
        yields = [part for member, value in self.now.items() for part in self._parts(self._full(member, value, value.kinds))]
        cuts = list(self.cuts.values())
        body = Body((*parameters, *(ref for _, ref in cuts)), tuple(self.builder.instructions), (*following, *yields))
        attributes = {
            "body": body,
            "steps": self.loop.steps,
            "carries": len(initials),
            "axis": self.direction.axis,
            "reverse": self.direction.backwards,
        }
        outer = self.outer_kit.builder
        results = [outer.parameter(shape_of(part), kind_of_operand(part), _span(part)) for part in parameters]
        results += [
            outer.parameter(along(shape_of(part), self.direction.axis, self.loop.steps), kind_of_operand(part), _span(part))
            for part in yields
        ]
        operands = (*initials, *(operand for operand, _ in cuts))
        return Instruction("loop", operands, tuple(results), self.members[0].place, attributes)

    def _parts(self, value: Value) -> list[Operand]:
        return [value.payload] if isinstance(value.tag, int) else [value.payload, value.tag]

    def _full(self, member: Member, value: Value, kinds: int, kit: Kit | None = None) -> Value:
        """The value in the shape that it has at every step, with a tag where several kinds may occur."""
        kit = kit or self.kit
        shape = self._shape(member)
        payload = _stretched(kit, value.payload, shape)
        if kinds == 1 << (kinds.bit_length() - 1):
            return Value(payload, kinds.bit_length() - 1, kinds)
        return Value(payload, _stretched(kit, tag_of(value), shape), kinds)

    def reached(self) -> dict[Member, Interval]:
        """Where the payloads of carried members lie, over all steps: the body run on intervals."""
        return _Intervals(self).run()


def grows(area: Area, direction: Direction) -> bool:
    """Whether each step along a direction adds to the area what it has not had before."""
    near, far = direction.edges(area)
    return near.moves and not far.moves if direction.backwards else not near.moves and far.moves


def _span(operand: Operand) -> Interval:
    return interval_of(operand) if kind_of_operand(operand) == "number" else EVERYTHING


def _stretched(kit: Kit, operand: Operand, shape: Shape) -> Operand:
    if shape_of(operand) == shape:
        return operand
    if not isinstance(operand, Ref):
        return np.broadcast_to(operand, (*shape, 1))
    return kit.builder.append("select", np.ones((*shape, 1), dtype=bool), operand, operand)


def _area(sheet: str, direction: Direction, lengthwise: tuple[Edge, Edge], crosswise: tuple[Edge, Edge]) -> Area:
    (top, bottom), (left, right) = (lengthwise, crosswise) if direction.down else (crosswise, lengthwise)
    return Area(sheet, top, left, bottom, right)


class _Intervals:
    """A body, step by step, on what is known of its values: intervals of numbers, and whether masks hold everywhere or nowhere.

    So a flag of periods, or the last year of a table, counts in its own steps only.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.numbers: dict[int, Interval] = {}
        self.masks: dict[int, bool | None] = {}
        self.cuts = [(ref, _by_step(operand, frame.direction)) for operand, ref in frame.cuts.values() if not isinstance(operand, Ref)]

    def run(self) -> dict[Member, Interval]:
        """The hull of what carried members reach."""
        chains, totals = self.frame.carried, [total for total in self.frame.totals if total[1].kind == "number"]
        state = {member: [interval_of(carry.initial.payload) for carry in chain] for member, chain in chains.items()}
        hull = {member: _hull(intervals) for member, intervals in state.items()}
        self.numbers.update((so_far.index, _span(initial)) for initial, so_far, _ in totals)
        for step in range(self.frame.loop.steps):
            state = self._step(state, step)
            hull = {member: _hull((hull[member], intervals[0])) for member, intervals in state.items()}
            self.numbers.update([(so_far.index, self._interval(total)) for _, so_far, total in totals])
        return hull

    def _step(self, state: Mapping[Member, Sequence[Interval]], step: int) -> dict[Member, list[Interval]]:
        for member, intervals in state.items():
            for carry, interval in zip(self.frame.carried[member], intervals, strict=True):
                assert isinstance(carry.value.payload, Ref)
                self.numbers[carry.value.payload.index] = interval
        for ref, bounds in self.cuts:
            self._put(ref, bounds[step])
        for instruction in self.frame.builder.instructions:
            self._infer(instruction)
        return {member: [self._interval(self.frame.now[member].payload), *intervals[:-1]] for member, intervals in state.items()}

    def _put(self, ref: Ref, bounds: Interval) -> None:
        if ref.kind == "number":
            self.numbers[ref.index] = bounds
        elif ref.kind == "mask":
            self.masks[ref.index] = bool(bounds[0]) if bounds[0] == bounds[1] else None

    def _infer(self, instruction: Instruction) -> None:
        op, operands, result = instruction.op, instruction.operands, instruction.result
        if result.kind == "mask":
            self.masks[result.index] = self._verdict(op, operands)
        elif result.kind == "number" and op == "select" and (verdict := self._mask(operands[0])) is not None:
            self.numbers[result.index] = self._interval(operands[1 if verdict else 2])
        elif result.kind == "number" and "body" not in instruction.attributes:
            intervals, shapes = [self._interval(operand) for operand in operands], [shape_of(operand) for operand in operands]
            self.numbers[result.index] = interval_of_result(op, intervals, shapes, instruction.attributes)

    def _verdict(self, op: str, operands: Sequence[Operand]) -> bool | None:
        if op in DECISIONS:
            return DECISIONS[op](*(self._interval(operand) for operand in operands))
        rule = _LOGIC.get(op)
        return None if rule is None else rule([self._mask(operand) for operand in operands])

    def _mask(self, operand: Operand) -> bool | None:
        return self.masks.get(operand.index) if isinstance(operand, Ref) else decided(operand)

    def _interval(self, operand: Operand) -> Interval:
        known = _span(operand)
        if not isinstance(operand, Ref) or operand.index not in self.numbers:
            return known
        low, high = self.numbers[operand.index]
        return max(low, known[0]), min(high, known[1])


_LOGIC: dict[str, Callable[[Sequence[bool | None]], bool | None]] = {
    "not": lambda masks: None if masks[0] is None else not masks[0],
    "and": lambda masks: False if False in masks else None if None in masks else True,
    "or": lambda masks: True if True in masks else None if None in masks else False,
}


def _by_step(known: Known, direction: Direction) -> list[Interval]:
    """The bounds of a known array at each step, in the order of the steps."""
    lines = np.moveaxis(known, direction.axis, 0).reshape(known.shape[direction.axis], -1)
    bounds = list(zip(lines.min(axis=1).tolist(), lines.max(axis=1).tolist(), strict=True))
    return bounds[::-1] if direction.backwards else bounds


def _hull(intervals: Sequence[Interval]) -> Interval:
    return min(low for low, _ in intervals), max(high for _, high in intervals)


@frozen(eq=False)
class StepDraws:
    """Call sites of a body: drawn for all steps at once, of which each takes its own."""

    frame: Frame
    draws: Draws = field(repr=False)

    def probability(self, place: RangeRef, k: int, correlated: bool) -> Probability:
        return self._cut(self.draws.probability(place, k, correlated))

    def element(self, place: RangeRef, k: int, number: int) -> Probability:
        return self._cut(self.draws.element(place, k, number))

    def _cut(self, drawn: Probability) -> Probability:
        if not isinstance(drawn, Drawn):
            raise Unroll
        return Drawn.of(Term(self.frame.kit, self.frame.cut_operand(drawn.below.operand)))
