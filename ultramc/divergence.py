"""Where two engines part: the first instruction of a program whose results differ, and whether it is a crossing.

A crossing is a comparison, a rounding or a look-up that both engines did rightly, on operands that are the same within
tolerance but lie on either side of its threshold. For it a program is traced: what each instruction gives, in each step
of a loop, becomes an output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

import numpy as np
from attrs import define, evolve, frozen

from ultramc.address import RangeRef
from ultramc.engines import array
from ultramc.engines.base import Chunk, Engine, Job
from ultramc.program import Body, Instruction, Operand, Program, Ref, Shape, Slot, all_instructions, along, constant
from ultramc.tolerance import Tolerance, Values, root_mean_square

STEPPED = frozenset(  # ops whose results jump
    ("equal", "less", "less_equal", "near", "sign", "snap", "floor", "ceil", "trunc", "round_half", "mend", "modulo", "gather", "search")
)
AROUND = 64  # iterations that say how large a value usually is


@frozen
class Crossing:
    """One iteration in which two engines went different ways, and where."""

    iteration: int
    cell: str
    op: str

    def __str__(self) -> str:
        return f"iteration {self.iteration} at {self.cell} ({self.op})"


@frozen(eq=False)
class Divergence:
    """The first instruction whose results differ. `is_crossing`: it may."""

    cell: str
    op: str
    is_crossing: bool

    def at(self, iteration: int) -> Crossing:
        return Crossing(iteration, self.cell, self.op)


@define(eq=False)
class _Watched:
    """A value that a traced program gives out: what makes it (None for a parameter of a body), and the loops around it.

    `order`: its position in the program and, behind each loop, in its body. `whole`: all steps of it.
    """

    ref: Ref
    instruction: Instruction | None
    order: tuple[int, ...]
    loops: tuple[Instruction, ...]
    whole: Ref

    def step_along(self, place: Values) -> dict[int, int]:
        """The step that a place in the whole belongs to, along the axis of each loop."""
        return {loop.attributes["axis"]: int(place[loop.attributes["axis"]]) for loop in self.loops}

    def when(self, place: Values) -> tuple[float, ...]:
        """In the order in which things are done: what is inside a loop step by step, and its results afterwards."""
        steps = [_turn(loop, place) for loop in self.loops]
        return tuple(number for pair in zip(self.order, [*steps, math.inf], strict=True) for number in pair)


def _turn(loop: Instruction, place: Values) -> int:
    step = int(place[loop.attributes["axis"]])
    return loop.attributes["steps"] - 1 - step if loop.attributes.get("reverse") else step


def first_divergence(program: Program, engines: Sequence[Engine], job: Job, iteration: int, tolerance: Tolerance) -> Divergence | None:
    """The first instruction where the second engine differs from the first in one iteration; None where no traced one does."""
    traced, watched = _traced(program)
    first = max(0, min(iteration - AROUND // 2, job.iterations - AROUND))
    length = min(AROUND, job.iterations - first)
    chunks = [engine.run(engine.compile(traced), job, first, length) for engine in engines]
    wanted, found = (_values(watched, chunk) for chunk in chunks)
    return _first(watched, wanted, found, iteration - first, tolerance)


# Tracing


def _traced(program: Program) -> tuple[Program, list[_Watched]]:
    """A program with an output for each number and mask of blocks or single arrays; masks are 0 and 1."""
    tracer = _Tracer(1 + max(ref.index for ref in _refs(program.instructions)))
    instructions = tracer.traced(program.instructions, (), ())
    watched = [each for each in tracer.watched if each.whole.kind != "tag" and _is_flat(each.whole.shape)]
    slots = tuple(tracer.slot(each) for each in watched)
    return Program((*instructions, *tracer.made), slots, program.texts), watched


def _refs(instructions: Sequence[Instruction]) -> Iterator[Ref]:
    for instruction in all_instructions(instructions):
        yield from instruction.results
        if "body" in instruction.attributes:
            yield from instruction.attributes["body"].parameters


def _is_flat(shape: Shape) -> bool:
    return shape[:2] == (1, 1) or shape[2:] == (1, 1)


class _Tracer:
    def __init__(self, unused: int) -> None:
        self.watched: list[_Watched] = []
        self.made: list[Instruction] = []
        self._unused = count(unused)

    def traced(
        self, instructions: Sequence[Instruction], order: tuple[int, ...], loops: tuple[Instruction, ...]
    ) -> tuple[Instruction, ...]:
        """The instructions, with loops that yield all that is in them."""
        found = []
        for position, instruction in enumerate(instructions):
            here = (*order, position)
            found.append(self._loop(instruction, here, loops) if instruction.op == "loop" else instruction)
            self.watched += [_Watched(ref, instruction, here, loops, ref) for ref in instruction.results]
        return tuple(found)

    def _loop(self, loop: Instruction, order: tuple[int, ...], loops: tuple[Instruction, ...]) -> Instruction:
        """What several loops along one axis hold cannot be laid out along it, so that the inner one stays as it is."""
        a, before = loop.attributes, len(self.watched)
        body: Body = a["body"]
        if any(a["axis"] == outer.attributes["axis"] for outer in loops):
            return loop
        self.watched += [_Watched(ref, None, (*order, -1), (*loops, loop), ref) for ref in body.parameters]
        instructions = self.traced(body.instructions, order, (*loops, loop))
        inside = [each for each in self.watched[before:] if each.whole.shape[a["axis"]] == 1]
        self.watched[before:] = inside
        given = [each.whole for each in inside]
        for each in inside:
            each.whole = self._new(along(each.whole.shape, a["axis"], a["steps"]), each.ref.kind)
        yielding = Body(body.parameters, instructions, (*body.results, *given))
        return evolve(loop, results=(*loop.results, *(each.whole for each in inside)), attributes={**a, "body": yielding})

    def slot(self, each: _Watched) -> Slot:
        value = each.whole
        if value.kind == "mask":
            value = self._append("select", (value, constant(1.0), constant(0.0)), value.shape)
        rows, columns, height, width = value.shape
        if (height, width) == (1, 1):
            value = self._append("as_array", (value,), (1, 1, rows, columns))
        return Slot("", RangeRef("", 1, 1, value.shape[2], value.shape[3]), value, 0, 1)

    def _append(self, op: str, operands: tuple[Operand, ...], shape: Shape) -> Ref:
        self.made.append(Instruction(op, operands, (self._new(shape, "number"),), None))
        return self.made[-1].result

    def _new(self, shape: Shape, kind: str) -> Ref:
        return Ref(next(self._unused), shape, kind)


# Comparing


def _values(watched: Sequence[_Watched], chunk: Chunk) -> dict[int, Values]:
    """For each watched value all of its steps: (rows, columns, height, width, iterations)."""
    return {each.ref.index: payload.reshape(*each.whole.shape, -1) for each, payload in zip(watched, chunk.payloads, strict=True)}


def _first(
    watched: Sequence[_Watched], wanted: Mapping[int, Values], found: Mapping[int, Values], iteration: int, tolerance: Tolerance
) -> Divergence | None:
    parted: list[tuple[tuple[float, ...], _Watched, Values]] = []
    for each in watched:
        want, got = wanted[each.ref.index], found[each.ref.index]
        same = tolerance.allows(got, want, root_mean_square(want))[..., iteration]
        if each.instruction is not None:
            parted += [(each.when(place), each, place) for place in np.argwhere(~same)]
    if not parted:
        return None
    _, each, place = min(parted, key=lambda one: one[0])
    assert each.instruction is not None
    is_right = all(_is_rightly_done(each.instruction, each, place, values, iteration) for values in (wanted, found))
    return Divergence(str(each.instruction.cell), each.instruction.op, each.instruction.op in STEPPED and is_right)


def _is_rightly_done(instruction: Instruction, each: _Watched, place: Values, values: Mapping[int, Values], iteration: int) -> bool:
    """Whether an op gives what an engine gave, on that engine's own operands. Not where one of them is not at hand."""
    if instruction.op not in STEPPED or any(isinstance(operand, Ref) and operand.index not in values for operand in instruction.operands):
        return False
    steps = each.step_along(place)
    operands = [_at(operand, values, steps, iteration) for operand in instruction.operands]
    result = _at(each.ref, values, steps, iteration)
    again = array.evaluate(instruction.op, *operands, **instruction.attributes)
    return bool(np.array_equal(np.broadcast_to(again, result.shape), result, equal_nan=True))


def _at(operand: Operand, values: Mapping[int, Values], steps: Mapping[int, int], iteration: int) -> Values:
    """An operand in one iteration and, where it has steps, in one of them."""
    if not isinstance(operand, Ref):
        return operand
    part = values[operand.index][..., iteration : iteration + 1]
    for axis, step in steps.items():
        if operand.shape[axis] == 1 < part.shape[axis]:
            part = np.take(part, [step], axis=axis)
    return part.astype(bool) if operand.kind == "mask" else part
