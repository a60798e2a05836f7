"""Instructions with a body, carried out at once where all that they read is known: how the base case computes loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ultramc.engines import array
from ultramc.program import Body, Instruction, Known, Operand, Ref

Values = dict[int, Known]


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
    return tuple(_results(instruction, {}))


def _results(instruction: Instruction, values: Values) -> Sequence[Known]:
    operands = [_known(operand, values) for operand in instruction.operands]
    if instruction.op in _SPECIAL:
        return _SPECIAL[instruction.op](instruction.attributes, operands, values)
    return [array.implementation(instruction.op)(*operands, **instruction.attributes)]


def _known(operand: Operand, values: Values) -> Known:
    return values[operand.index] if isinstance(operand, Ref) else operand


def _step(body: Body, parameters: Sequence[Known], values: Values) -> list[Known]:
    inner = dict(values)
    inner.update((ref.index, value) for ref, value in zip(body.parameters, parameters, strict=True))
    for instruction in body.instructions:
        inner.update((ref.index, value) for ref, value in zip(instruction.results, _results(instruction, inner), strict=True))
    return [_known(operand, inner) for operand in body.results]


def _loop(attributes: dict[str, Any], operands: Sequence[Known], values: Values) -> Sequence[Known]:
    carries, axis, steps = attributes["carries"], attributes["axis"], attributes["steps"]
    carried, cuts = list(operands[:carries]), operands[carries:]
    order = range(steps)[::-1] if attributes.get("reverse") else range(steps)
    yields: list[list[Known]] = []
    for step in order:
        found = _step(attributes["body"], [*carried, *(_slice(cut, axis, step) for cut in cuts)], values)
        carried = found[:carries]
        yields.append(found[carries:])
    if attributes.get("reverse"):
        yields.reverse()
    return [*carried, *(np.concatenate(parts, axis=axis) for parts in zip(*yields, strict=True))]


def _slice(cut: Known, axis: int, step: int) -> Known:
    at = step if cut.shape[axis] > 1 else 0
    return cut[at : at + 1] if axis == 0 else cut[:, at : at + 1]


def _repeat(attributes: dict[str, Any], operands: Sequence[Known], values: Values) -> Sequence[Known]:
    state = list(operands)
    done = np.zeros(np.broadcast_shapes(*(operand.shape for operand in operands)), dtype=bool)
    for _ in range(attributes["limit"]):
        if done.all():
            break
        *following, finished = _step(attributes["body"], state, values)
        state = [np.where(done, old, new) for old, new in zip(state, following, strict=True)]
        done = done | finished
    return [*state, done]


def _scalar_call(attributes: dict[str, Any], operands: Sequence[Known], values: Values) -> Sequence[Known]:
    return [scalar_call(attributes, operands, 1)]


def scalar_call(attributes: dict[str, Any], operands: Sequence[Known], count: int) -> Known:
    """A Python function of each element: payload or tag of what it returns, as the attribute `part` says."""
    from ultramc.functions.kit import Kit, Value, called, tag_of
    from ultramc.program import Builder

    kit = Kit(Builder(), attributes["texts"])
    shape: tuple[int, ...] = (*attributes["shape"], count)
    pairs = zip(operands[::2], operands[1::2], strict=True)
    columns = [kit.scalars(Value(np.broadcast_to(payload, shape), np.broadcast_to(tag, shape))) for payload, tag in pairs]
    found = [called(attributes["function"], row) for row in zip(*columns, strict=True)]
    value = kit.from_scalars(found, (1, 1, 1, len(found)))
    chosen = tag_of(value) if attributes.get("part") == "tag" else value.payload
    return np.broadcast_to(np.asarray(chosen), (1, 1, 1, len(found), 1)).reshape(shape)


_SPECIAL = {"loop": _loop, "repeat": _repeat, "scalar_call": _scalar_call}
