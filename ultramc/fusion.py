"""Loops that run along the same steps become one, together with what is computed cell by cell from them and for them.

Then what one line hands to the next stays where it was made: a block of all steps exists only where something else reads it.
A reduction over all steps that goes in their order is carried along, and so is what is read of the last step only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from attrs import define, evolve, field, frozen

from ultramc.ops import OPS
from ultramc.program import Body, Instruction, Known, Operand, Program, Ref, Shape, Slot, along, identity, kind_of_operand, shape_of

SCALAR: Shape = (1, 1, 1, 1)
DTYPES: dict[str, Any] = {"number": np.float64, "mask": np.bool_, "tag": np.uint8}

# op: (what combines the result so far with the next element, what it begins with, whether it goes by the order of elements)
REDUCTIONS: dict[str, tuple[str, float, bool]] = {
    "sum": ("add", -0.0, True),  # -0 + x is x, whatever x is
    "product": ("mul", 1.0, True),
    "minimum": ("min", np.inf, False),
    "maximum": ("max", -np.inf, False),
    "any": ("or", False, False),
    "all": ("and", True, False),
    "first_error_of": ("first_error", 0, True),
}

Renaming = Mapping[int, Operand]


class Steps(NamedTuple):
    axis: int
    length: int
    reverse: bool

    @property
    def block(self) -> Shape:
        """Of one line of cells, as a block."""
        return along(SCALAR, self.axis, self.length)

    @property
    def cells(self) -> Shape:
        """Of one line of cells, as an array."""
        return (1, 1, self.length, 1) if self.axis == 0 else (1, 1, 1, self.length)


def fused(program: Program, fresh: Callable[[], int]) -> Program:
    """The same program with fewer loops; `fresh` gives unused indexes for results."""
    for steps in dict.fromkeys(steps_of(instruction) for instruction in program.instructions if instruction.op == "loop"):
        program = _fused_along(program, steps, fresh)
    return program


def steps_of(loop: Instruction) -> Steps:
    return Steps(loop.attributes["axis"], loop.attributes["steps"], bool(loop.attributes.get("reverse")))


def _fused_along(program: Program, steps: Steps, fresh: Callable[[], int]) -> Program:
    done: list[Instruction] = []
    rest, slots = list(program.instructions), program.outputs
    while any(instruction.op == "loop" and steps_of(instruction) == steps for instruction in rest):
        group = _Group(steps)
        for instruction in rest:
            group.take(instruction)
        group.take_feeders(slots)
        writer = _Writer(group, _read_outside(group, slots), fresh)
        done += writer.written()
        rest = [renamed(instruction, writer.replaced) for instruction in group.after]
        slots = tuple(_renamed_slot(slot, writer.replaced) for slot in slots)
    return evolve(program, instructions=(*done, *rest), outputs=slots)


def _read_outside(group: _Group, slots: Sequence[Slot]) -> set[int]:
    """The indexes of results that something after the group reads."""
    read = {index for instruction in group.after for index in instruction.reads()}
    return read | {part.index for slot in slots for part in (slot.payload, slot.tag) if isinstance(part, Ref)}


# Which instructions go together


@define(eq=False)
class _Group:
    """Takes a program's instructions in order: what can run in one loop, what stands before it, what comes after."""

    steps: Steps
    before: list[Instruction] = field(factory=list)
    inside: list[Instruction] = field(factory=list)
    after: list[Instruction] = field(factory=list)
    made: dict[int, bool] = field(factory=dict)  # results by step: whether seen as an array, not as a block
    late: set[int] = field(factory=set)  # results that exist only after the last step
    preceded: dict[int, tuple[Operand, Operand]] = field(factory=dict)  # arrays of one line by step, after one cell that was there before

    def take(self, instruction: Instruction) -> None:
        read = instruction.reads()
        if not any(index in self.made or index in self.late for index in read):
            return self._admit(instruction, as_array=False) if self._is_loop(instruction) else self.before.append(instruction)
        rule = _JOINING.get(instruction.op, _Group._element if _is_elementwise(instruction.op) else None)
        if rule is None or any(index in self.late and index not in self.preceded for index in read) or not rule(self, instruction):
            self.after.append(instruction)
            self.late.update(ref.index for ref in instruction.results)

    def _is_loop(self, instruction: Instruction) -> bool:
        return instruction.op == "loop" and steps_of(instruction) == self.steps

    def _admit(self, instruction: Instruction, *, as_array: bool) -> None:
        self.inside.append(instruction)
        self.made.update((ref.index, as_array) for ref in instruction.results)

    def _loop(self, instruction: Instruction) -> bool:
        """Another loop, if it reads the others' results step by step only."""
        if not self._is_loop(instruction):
            return False
        carries = instruction.attributes["carries"]
        cut = [operand.index for operand in instruction.operands[carries:] if isinstance(operand, Ref)]
        others = Counter(instruction.reads())
        others.subtract(cut)
        if any(count > 0 and index in self.made for index, count in others.items()) or any(self.made.get(index) for index in cut):
            return False
        self._admit(instruction, as_array=False)
        self.late.update(ref.index for ref in instruction.results[:carries])
        for ref in instruction.results[:carries]:
            del self.made[ref.index]
        return True

    def _element(self, instruction: Instruction) -> bool:
        """An elementwise op on what the steps make, all seen alike."""
        seen = {self.made[operand.index] for operand in instruction.operands if isinstance(operand, Ref) and operand.index in self.made}
        if len(seen) > 1 or not all(self._fits(operand, as_array=True in seen) for operand in instruction.operands):
            return False
        self._admit(instruction, as_array=True in seen)
        return True

    def _fits(self, operand: Operand, *, as_array: bool) -> bool:
        shape = shape_of(operand)
        if as_array:
            return shape in (SCALAR, self.steps.cells)
        return shape[self.steps.axis] in (1, self.steps.length) and not (isinstance(operand, Ref) and self.made.get(operand.index))

    def _as_array(self, instruction: Instruction) -> bool:
        """One line of cells as an array."""
        (operand,) = instruction.operands
        if shape_of(operand) != self.steps.block:
            return False
        self._admit(instruction, as_array=True)
        return True

    def _reduction(self, instruction: Instruction) -> bool:
        """Over all steps, and in their order where that counts."""
        (operand,) = instruction.operands
        ordered = REDUCTIONS[instruction.op][2]
        whole = self.preceded[operand.index][1] if isinstance(operand, Ref) and operand.index in self.preceded else operand
        if shape_of(whole) != self.steps.cells or (ordered and self.steps.reverse):
            return False
        self.inside.append(instruction)
        self.late.add(instruction.result.index)
        return True

    def _join(self, instruction: Instruction) -> bool:
        """A line by step after one cell: nothing but a reduction can use it before the last step."""
        if len(instruction.operands) == 2:
            first, line = instruction.operands
            is_known = not isinstance(first, Ref) or not (first.index in self.made or first.index in self.late)
            if is_known and shape_of(first) == SCALAR and isinstance(line, Ref) and self.made.get(line.index):
                self.preceded[instruction.result.index] = first, line
        return False

    def _window(self, instruction: Instruction) -> bool:
        """One cell, that of the last step."""
        (operand,) = instruction.operands
        last = 0 if self.steps.reverse else self.steps.length - 1
        place = instruction.attributes["top" if self.steps.axis == 0 else "left"]
        if shape_of(operand) != self.steps.cells or instruction.result.shape != SCALAR or place != last:
            return False
        self.inside.append(instruction)
        self.late.add(instruction.result.index)
        return True

    def take_feeders(self, slots: Sequence[Slot]) -> None:
        """What only the group reads, and step by step, is computed there."""
        uses = Counter(index for part in (self.before, self.inside, self.after) for each in part for index in each.reads())
        uses.update(part.index for slot in slots for part in (slot.payload, slot.tag) if isinstance(part, Ref))
        by_step = Counter(index for instruction in self.inside for index in self._read_by_step(instruction))
        kept: list[Instruction] = []
        fed: list[Instruction] = []
        for instruction in reversed(self.before):
            index = instruction.result.index
            if self._feeds(instruction) and 0 < uses[index] == by_step[index]:
                fed.append(instruction)
                by_step.update(self._read_by_step(instruction))
                self.made[index] = False
            else:
                kept.append(instruction)
        self.before, self.inside = kept[::-1], fed[::-1] + self.inside

    def _feeds(self, instruction: Instruction) -> bool:
        shape = instruction.result.shape
        return _is_elementwise(instruction.op) and shape[self.steps.axis] == self.steps.length and shape[2:] == (1, 1)

    def _read_by_step(self, instruction: Instruction) -> list[int]:
        """What an instruction of the group reads as a block of all steps."""
        operands = instruction.operands[instruction.attributes["carries"] :] if instruction.op == "loop" else instruction.operands
        return [each.index for each in operands if isinstance(each, Ref) and each.shape[self.steps.axis] == self.steps.length]


def _is_elementwise(op: str) -> bool:
    return OPS[op].shape == "elementwise"


_JOINING: dict[str, Callable[[_Group, Instruction], bool]] = {
    "loop": _Group._loop,
    "as_array": _Group._as_array,
    "window": _Group._window,
    "join": _Group._join,
    **dict.fromkeys(REDUCTIONS, _Group._reduction),
}


# The loop that they make


@frozen(eq=False)
class _Carry:
    initial: Operand
    parameter: Ref
    following: Operand
    final: Ref


@define(eq=False)
class _Writer:
    """Writes a group as one loop. `outside` are the results that are read after it; `replaced` says what they became."""

    group: _Group
    outside: set[int]
    fresh: Callable[[], int]
    replaced: dict[int, Operand] = field(factory=dict)
    _here: dict[int, Operand] = field(factory=dict)  # results by their index → as the step has them
    _carries: list[_Carry] = field(factory=list)
    _cuts: dict[object, tuple[Operand, Ref]] = field(factory=dict)
    _views: list[Instruction] = field(factory=list)  # of cuts, before the loop
    _body: list[Instruction] = field(factory=list)
    _computed: dict[tuple[Any, ...], Ref] = field(factory=dict)
    _yields: list[tuple[Operand, Ref]] = field(factory=list)
    _after: list[Instruction] = field(factory=list)

    def written(self) -> list[Instruction]:
        for instruction in self.group.inside:
            _WRITING.get(instruction.op, _Writer._element)(self, instruction)
        cuts, carries = list(self._cuts.values()), self._carries
        parameters = (*(carry.parameter for carry in carries), *(ref for _, ref in cuts))
        results = (*(carry.following for carry in carries), *(operand for operand, _ in self._yields))
        attributes = {
            "body": Body(parameters, tuple(self._body), results),
            "steps": self.group.steps.length,
            "carries": len(carries),
            "axis": self.group.steps.axis,
            "reverse": self.group.steps.reverse,
        }
        operands = (*(carry.initial for carry in carries), *(operand for operand, _ in cuts))
        made = (*(carry.final for carry in carries), *(ref for _, ref in self._yields))
        first = next(instruction for instruction in self.group.inside if instruction.op == "loop")
        loop = Instruction("loop", operands, made, first.cell, attributes)
        return [*self.group.before, *self._views, loop, *self._after]

    def _at_step(self, operand: Operand, *, as_array: bool = False) -> Operand:
        """An operand as the step has it."""
        if isinstance(operand, Ref) and operand.index in self._here:
            return self._narrowed(self._here[operand.index], operand)
        if as_array and shape_of(operand) == self.group.steps.cells:
            operand = self._as_block(operand)
        if shape_of(operand)[self.group.steps.axis] == 1:
            return operand
        key = operand.index if isinstance(operand, Ref) else (operand.ctypes.data, operand.shape, operand.strides)
        if key not in self._cuts:
            self._cuts[key] = operand, self._new(along(shape_of(operand), self.group.steps.axis, 1), operand)
        return self._narrowed(self._cuts[key][1], operand)

    def _narrowed(self, here: Operand, operand: Operand) -> Operand:
        if isinstance(here, Ref) and isinstance(operand, Ref) and operand.kind == "number":
            return evolve(here, interval=operand.interval)
        return here

    def _as_block(self, operand: Operand) -> Operand:
        """An array of one line, as a block."""
        axis, count = self.group.steps.axis, self.group.steps.length
        if not isinstance(operand, Ref):
            return operand.reshape(*self.group.steps.block, 1)
        ref = self._new(self.group.steps.block, operand)
        lengths = {"rows": count if axis == 0 else 1, "columns": count if axis == 1 else 1, "height": 1, "width": 1}
        steps = {"row_step": int(axis == 0), "column_step": int(axis == 1), "top": 0, "left": 0}
        self._views.append(Instruction("window", (operand,), (ref,), None, lengths | steps))
        return ref

    def _new(self, shape: Shape, like: Operand) -> Ref:
        kind = kind_of_operand(like)
        return Ref(self.fresh(), shape, kind, like.interval) if isinstance(like, Ref) else Ref(self.fresh(), shape, kind)

    def _loop(self, instruction: Instruction) -> None:
        body: Body = instruction.attributes["body"]
        carries = instruction.attributes["carries"]
        cuts = zip(body.parameters[carries:], instruction.operands[carries:], strict=True)
        names: dict[int, Operand] = {ref.index: self._at_step(operand) for ref, operand in cuts}
        for inner in body.instructions:
            self._append(renamed(inner, names), names)
        results = [_renamed(operand, names) for operand in body.results]
        rows = zip(instruction.operands, body.parameters, results, instruction.results[:carries], strict=False)
        self._carries += [_Carry(*row) for row in rows]
        for ref, operand in zip(instruction.results[carries:], results[carries:], strict=True):
            self._keep(ref, operand)

    def _element(self, instruction: Instruction) -> None:
        as_array = self.group.made[instruction.result.index]
        operands = tuple(self._at_step(operand, as_array=as_array) for operand in instruction.operands)
        shape = SCALAR if as_array else along(instruction.result.shape, self.group.steps.axis, 1)
        ref = self._new(shape, instruction.result)
        same: dict[int, Operand] = {}
        self._append(evolve(instruction, operands=operands, results=(ref,)), same)
        self._keep(instruction.result, same.get(ref.index, ref))

    def _append(self, instruction: Instruction, names: dict[int, Operand]) -> None:
        """One line may compute what another has computed already: `names` then says where it is."""
        if not _is_elementwise(instruction.op):
            return self._body.append(instruction)
        key = (instruction.op, tuple(map(identity, instruction.operands)), tuple(sorted(instruction.attributes.items())))
        if key in self._computed:
            names[instruction.result.index] = self._computed[key]
        else:
            self._computed[key] = instruction.result
            self._body.append(instruction)

    def _keep(self, ref: Ref, operand: Operand) -> None:
        """What a step makes; yielded where it is read outside."""
        self._here[ref.index] = operand
        if ref.index not in self.outside:
            return
        if not self.group.made[ref.index]:
            self._yields.append((operand, ref))
            return
        block = self._new(self.group.steps.block, ref)
        self._yields.append((operand, block))
        self._after.append(Instruction("as_array", (block,), (ref,), None))

    def _as_array(self, instruction: Instruction) -> None:
        self._keep(instruction.result, self._at_step(instruction.operands[0]))

    def _reduction(self, instruction: Instruction) -> None:
        op, _, _ = REDUCTIONS[instruction.op]
        (operand,) = instruction.operands
        preceded = self.group.preceded.get(operand.index) if isinstance(operand, Ref) else None
        initial, operand = preceded or (initial_of(instruction.op, instruction.result.kind), operand)
        so_far, following = (Ref(self.fresh(), SCALAR, instruction.result.kind) for _ in range(2))
        element = self._at_step(operand)
        self._body.append(Instruction(op, (so_far, element), (following,), instruction.cell))
        self._carries.append(_Carry(initial, so_far, following, instruction.result))

    def _window(self, instruction: Instruction) -> None:
        """The last step's value: carried already, or carried though no step reads it."""
        value = self._at_step(instruction.operands[0])
        if not isinstance(value, Ref):
            self.replaced[instruction.result.index] = value
            return
        known = next((carry for carry in self._carries if isinstance(carry.following, Ref) and carry.following.index == value.index), None)
        if known is not None:
            self.replaced[instruction.result.index] = known.final
            return
        kind = instruction.result.kind
        parameter = Ref(self.fresh(), SCALAR, kind)
        self._carries.append(_Carry(_constant(0, kind), parameter, value, instruction.result))


def initial_of(op: str, kind: str) -> Known:
    """What a reduction begins with."""
    return _constant(REDUCTIONS[op][1], kind)


def _constant(value: float, kind: str) -> Known:
    return np.full((*SCALAR, 1), value, dtype=DTYPES[kind])


_WRITING: dict[str, Callable[[_Writer, Instruction], None]] = {
    "loop": _Writer._loop,
    "as_array": _Writer._as_array,
    "window": _Writer._window,
    **dict.fromkeys(REDUCTIONS, _Writer._reduction),
}


# Renaming


def renamed(instruction: Instruction, names: Renaming) -> Instruction:
    """The instruction with other operands, in its body too."""
    if not names or not any(index in names for index in instruction.reads()):
        return instruction
    attributes = instruction.attributes
    if "body" in attributes:
        body: Body = attributes["body"]
        inner = tuple(renamed(each, names) for each in body.instructions)
        results = tuple(_renamed(operand, names) for operand in body.results)
        attributes = {**attributes, "body": Body(body.parameters, inner, results)}
    return evolve(instruction, operands=tuple(_renamed(operand, names) for operand in instruction.operands), attributes=attributes)


def _renamed(operand: Operand, names: Renaming) -> Operand:
    found = names.get(operand.index, operand) if isinstance(operand, Ref) else operand
    if found is not operand and isinstance(found, Ref) and isinstance(operand, Ref):
        return evolve(found, interval=operand.interval)
    return found


def _renamed_slot(slot: Slot, names: Renaming) -> Slot:
    tag = slot.tag if isinstance(slot.tag, int) else _renamed(slot.tag, names)
    return evolve(slot, payload=_renamed(slot.payload, names), tag=tag)


# Without what nobody reads


def trimmed(program: Program) -> Program:
    """Without the instructions that no output needs, in loops too."""
    live = {part.index for slot in program.outputs for part in (slot.payload, slot.tag) if isinstance(part, Ref)}
    return evolve(program, instructions=tuple(_live_ones(program.instructions, live)))


def _live_ones(instructions: Iterable[Instruction], live: set[int]) -> list[Instruction]:
    kept = []
    for instruction in reversed(list(instructions)):
        if any(ref.index in live for ref in instruction.results):
            kept.append(_trimmed_loop(instruction, live) if instruction.op == "loop" else instruction)
            live.update(kept[-1].reads())
    return kept[::-1]


def _trimmed_loop(loop: Instruction, live: set[int]) -> Instruction:
    body: Body = loop.attributes["body"]
    carries = loop.attributes["carries"]
    wanted = {place for place, ref in enumerate(loop.results) if ref.index in live}
    while True:
        inner = {operand.index for place in wanted if isinstance(operand := body.results[place], Ref)}
        kept = _live_ones(body.instructions, inner)
        more = {place for place in range(carries) if body.parameters[place].index in inner} - wanted
        if not more:
            break
        wanted |= more
    cut = [place for place in range(carries, len(body.parameters)) if body.parameters[place].index in inner]
    given = [*sorted(place for place in wanted if place < carries), *cut]
    made = sorted(wanted)
    slim = Body(tuple(body.parameters[place] for place in given), tuple(kept), tuple(body.results[place] for place in made))
    return evolve(
        loop,
        operands=tuple(loop.operands[place] for place in given),
        results=tuple(loop.results[place] for place in made),
        attributes={**loop.attributes, "body": slim, "carries": sum(place < carries for place in made)},
    )
