"""Straight-line code cut into segments, for compilers whose time grows faster than what they compile.

A segment is a run of consecutive instructions that weighs at most so much; a loop weighs as much as its body. Between
segments values are there as a whole; within one the compiler keeps them where it likes. Each has a tile of its own: how many
iterations at once keep what lives in it small.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

from attrs import frozen

from ultramc.program import Body, Instruction, Known, Operand, Ref

BYTES = {"number": 8, "mask": 1, "tag": 1}


@frozen(eq=False)
class Segment:
    """Consecutive instructions, what they read from elsewhere, and what somebody reads afterwards."""

    instructions: tuple[Instruction, ...]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]

    @property
    def weight(self) -> int:
        return sum(map(weight, self.instructions))

    def constants(self) -> tuple[Known, ...]:
        """Each array that the instructions read, bodies included, once."""
        return tuple({id(operand): operand for operand in _operands(self.instructions) if not isinstance(operand, Ref)}.values())

    def bytes_per_iteration(self) -> int:
        """Of all values that live at once, at most: an upper bound, since a compiler need not keep them all."""
        kept = {ref.index for ref in self.outputs}
        return sum(map(_bytes, self.inputs)) + _widest(self.instructions, kept)

    def tile(self, iterations: int, cache: int) -> int:
        """The largest power-of-two part of `iterations` (a power of two) with which what lives fits in `cache` bytes; at least 1."""
        fitting = max(1, cache // max(1, self.bytes_per_iteration()))
        return min(iterations, 1 << fitting.bit_length() - 1)


def segments_of(instructions: Sequence[Instruction], kept: Collection[int], limit: int) -> tuple[Segment, ...]:
    """In order, of at most `limit` instructions; one that weighs more is a segment by itself. `kept`: what is read after them all."""
    wanted = set(kept)
    found: list[Segment] = []
    for part in reversed(list(_parts(instructions, limit))):
        found.append(_segment(part, wanted))
        wanted.update(ref.index for ref in found[-1].inputs)
    return tuple(reversed(found))


def weight(instruction: Instruction) -> int:
    """How many instructions it is, those of its body included."""
    body: Body | None = instruction.attributes.get("body")
    return 1 + sum(map(weight, body.instructions)) if body else 1


def _parts(instructions: Sequence[Instruction], limit: int) -> Iterator[list[Instruction]]:
    part: list[Instruction] = []
    total = 0
    for instruction in instructions:
        heavier = weight(instruction)
        if part and total + heavier > limit:
            yield part
            part, total = [], 0
        part.append(instruction)
        total += heavier
    if part:
        yield part


def _segment(part: Sequence[Instruction], wanted: Collection[int]) -> Segment:
    made = {ref.index for ref in _made(part)}
    read = {operand.index: operand for operand in _operands(part) if isinstance(operand, Ref) and operand.index not in made}
    outputs = tuple(ref for instruction in part for ref in instruction.results if ref.index in wanted)
    return Segment(tuple(part), tuple(read.values()), outputs)


def _operands(instructions: Sequence[Instruction]) -> Iterator[Operand]:
    """All that is read, bodies and their results included."""
    for instruction in instructions:
        yield from instruction.operands
        body: Body | None = instruction.attributes.get("body")
        if body:
            yield from _operands(body.instructions)
            yield from body.results


def _made(instructions: Sequence[Instruction]) -> Iterator[Ref]:
    """All that is made, parameters of bodies included."""
    for instruction in instructions:
        yield from instruction.results
        body: Body | None = instruction.attributes.get("body")
        if body:
            yield from body.parameters
            yield from _made(body.instructions)


def _bytes(ref: Ref) -> int:
    return math.prod(ref.shape) * BYTES[ref.kind]


def _widest(instructions: Sequence[Instruction], kept: Collection[int]) -> int:
    """The most bytes of results that live at once; what a body needs comes on top while its loop is carried out."""
    last = {index: position for position, instruction in enumerate(instructions) for index in instruction.reads()}
    dying: dict[int, list[Ref]] = {}
    living = most = 0
    for position, instruction in enumerate(instructions):
        body: Body | None = instruction.attributes.get("body")
        inside = _widest(body.instructions, {result.index for result in body.results if isinstance(result, Ref)}) if body else 0
        living += sum(map(_bytes, instruction.results))
        most = max(most, living + inside)
        for ref in instruction.results:
            if ref.index not in kept:
                dying.setdefault(max(position, last.get(ref.index, position)), []).append(ref)
        living -= sum(map(_bytes, dying.pop(position, ())))
    return most
