"""Instructions with a body, carried out at once where all that they read is known: how the base case computes loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from ultramc.engines import array
from ultramc.program import Body, Instruction, Known, Operand, Ref

Values = dict[int, Known]
Work = Callable[[Values], None]


def is_known(instruction: Instruction) -> bool:
    """Whether it reads no result of another instruction."""
    return not set(instruction.reads()) - _defined(instruction)


def _defined(instruction: Instruction) -> set[int]:
    """What is defined within its body."""
    body: Body | None = instruction.attributes.get("body")
    found: set[int] = set()
    if body is not None:
        found |= {ref.index for ref in body.parameters}
        for inner in body.instructions:
            found |= {ref.index for ref in inner.results} | _defined(inner)
    return found


def results(instruction: Instruction) -> tuple[Known, ...]:
    """Of an instruction that `is_known`. Call it under ``numpy.errstate(all="ignore")``."""
    values: Values = {}
    _work(instruction)(values)
    return tuple(values[ref.index] for ref in instruction.results)


def _work(instruction: Instruction) -> Work:
    """What puts an instruction's results among the values."""
    if instruction.op in _WITH_BODY:
        return _WITH_BODY[instruction.op](instruction)
    function, index = _function(instruction), instruction.result.index
    read = [_reader(operand) for operand in instruction.operands]
    if len(read) == 2:
        first, second = read

        def pair(values: Values) -> None:
            values[index] = function(first(values), second(values))

        return pair

    def work(values: Values) -> None:
        values[index] = function(*[each(values) for each in read])

    return work


def _function(instruction: Instruction) -> Callable[..., Known]:
    attributes = instruction.attributes
    if instruction.op == "scalar_call":
        return lambda *operands: scalar_call(attributes, operands, (*attributes["shape"], 1))
    function = array.implementation(instruction.op)
    return partial(function, **attributes) if attributes else function


def _reader(operand: Operand) -> Callable[[Values], Known]:
    return itemgetter(operand.index) if isinstance(operand, Ref) else lambda values: operand


def _loop(instruction: Instruction) -> Work:
    attributes, body = instruction.attributes, instruction.attributes["body"]
    carries, axis, steps, reverse = attributes["carries"], attributes["axis"], attributes["steps"], attributes.get("reverse")
    given = [_reader(operand) for operand in instruction.operands]
    parameters = [ref.index for ref in body.parameters]
    inner = [_work(each) for each in body.instructions]
    made = [_reader(operand) for operand in body.results]

    def work(values: Values) -> None:
        state = [read(values) for read in given[:carries]]
        cuts = [_slices(read(values), axis, steps) for read in given[carries:]]
        yields: list[list[Known]] = [[] for _ in made[carries:]]
        for step in range(steps)[::-1] if reverse else range(steps):
            values.update(zip(parameters, (*state, *(cut[step] for cut in cuts)), strict=True))
            for each in inner:
                each(values)
            state = [read(values) for read in made[:carries]]
            for rows, read in zip(yields, made[carries:], strict=True):
                rows.append(read(values))
        joined = (np.concatenate(rows[::-1] if reverse else rows, axis=axis) for rows in yields)
        values.update(zip((ref.index for ref in instruction.results), (*state, *joined), strict=True))

    return work


def _slices(cut: Known, axis: int, steps: int) -> list[Known]:
    if cut.shape[axis] == 1:
        return [cut] * steps
    return np.split(cut, steps, axis=axis)


def _repeat(instruction: Instruction) -> Work:
    body, limit = instruction.attributes["body"], instruction.attributes["limit"]
    given = [_reader(operand) for operand in instruction.operands]
    inner = [_work(each) for each in body.instructions]
    made = [_reader(operand) for operand in body.results]

    def work(values: Values) -> None:
        state = [read(values) for read in given]
        done = np.zeros(np.broadcast_shapes(*(part.shape for part in state)), dtype=bool)
        for _ in range(limit):
            if done.all():
                break
            values.update(zip((ref.index for ref in body.parameters), state, strict=True))
            for each in inner:
                each(values)
            *following, finished = [read(values) for read in made]
            state = [np.where(done, old, new) for old, new in zip(state, following, strict=True)]
            done = done | finished
        values.update(zip((ref.index for ref in instruction.results), (*state, done), strict=True))

    return work


_WITH_BODY: dict[str, Callable[[Instruction], Work]] = {"loop": _loop, "repeat": _repeat}


def scalar_call(attributes: Mapping[str, Any], operands: Sequence[Known], shape: tuple[int, ...]) -> Known:
    """A Python function of each element: payload or tag of what it returns, as the attribute `part` says."""
    from ultramc.functions.kit import Kit, Value, called, tag_of
    from ultramc.program import Builder

    kit = Kit(Builder(), attributes["texts"])
    pairs = zip(operands[::2], operands[1::2], strict=True)
    columns = [kit.scalars(Value(np.broadcast_to(payload, shape), np.broadcast_to(tag, shape))) for payload, tag in pairs]
    found = [called(attributes["function"], row) for row in zip(*columns, strict=True)]
    value = kit.from_scalars(found, (1, 1, 1, len(found)))
    chosen = tag_of(value) if attributes.get("part") == "tag" else value.payload
    return np.broadcast_to(np.asarray(chosen), (1, 1, 1, len(found), 1)).reshape(shape)
