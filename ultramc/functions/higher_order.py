"""Functions that are given a function: MAP, REDUCE and their like. The body of a LAMBDA is lowered once per element."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from attrs import evolve

from ultramc.functions import lazy
from ultramc.functions.dynamic_arrays import joined, piece, size_of
from ultramc.functions.kit import OMITTED, Area, Unroll, Value
from ultramc.lowering import Call, Result, Steps
from ultramc.syntax import Node
from ultramc.values import ExcelError

MOST_ELEMENTS = 10_000  # for which a LAMBDA is called


@lazy("ISOMITTED", "node")
def _isomitted(call: Call, node: Node) -> Steps:
    result = yield node, call.scope
    return call.kit.scalar(result is OMITTED)


# Arrays in pieces


def _source(call: Call, node: Node) -> Steps:
    """A reference as it is, so that its pieces are references too; anything else as an array."""
    scope = call.scope if call.scope.array else evolve(call.scope, array=True)
    result = yield node, scope
    if not isinstance(result, Area):
        return call.one(result)
    if not result.steady and call.place.size > 1:
        raise Unroll
    return result


def _counted(call: Call, height: int, width: int) -> Iterator[tuple[int, int]]:
    if height * width > MOST_ELEMENTS:
        raise call.refuse(f"of more than {MOST_ELEMENTS:,} elements is not supported")
    return product(range(height), range(width))


def _invoked(call: Call, function: Result, *arguments: Result) -> Steps:
    return call.lowering.invoke(function, arguments, call.scope)


def _single(call: Call, result: Result) -> Value:
    """What fits into one element of a result."""
    value = call.kit.settled(call.one(result))
    return value if value.shape[2:] == (1, 1) else call.kit.error(ExcelError.CALC)


def _assembled(call: Call, values: Sequence[Value], height: int, width: int) -> Value:
    return joined(call, values, list(product(range(height), range(width))), (height, width))


# The functions


@lazy("MAP", "node (node)+")
def _map(call: Call, *nodes: Node) -> Steps:
    sources = []
    for node in nodes[:-1]:
        sources.append((yield from _source(call, node)))
    function = yield nodes[-1], call.scope
    height, width = (max(lengths) for lengths in zip(*map(size_of, sources), strict=True))
    values = []
    for row, column in _counted(call, height, width):
        result = yield from _invoked(call, function, *(piece(call, source, row, column) for source in sources))
        values.append(_single(call, result))
    return _assembled(call, values, height, width)


def _by_line(name: str, *, across: bool) -> None:
    @lazy(name, "node node")
    def body(call: Call, node: Node, function_node: Node) -> Steps:
        source = yield from _source(call, node)
        function = yield function_node, call.scope
        height, width = size_of(source)
        lines, length = ((1, width), (height, 1)) if across else ((height, 1), (1, width))
        values = []
        for row, column in _counted(call, *lines):
            result = yield from _invoked(call, function, piece(call, source, row, column, *length))
            values.append(_single(call, result))
        return _assembled(call, values, *lines)


_by_line("BYROW", across=False)
_by_line("BYCOL", across=True)


@lazy("MAKEARRAY", "node node node")
def _makearray(call: Call, *nodes: Node) -> Steps:
    kit, size = call.kit, []
    for node in nodes[:2]:
        length = kit.settled(kit.to_number(call.one((yield node, call.scope))))
        size.append(int(call.constant(length, "size")))
        if length.kinds != 1:
            return length
    if min(size) < 1:
        return kit.error(ExcelError.VALUE)
    function = yield nodes[2], call.scope
    values = []
    for row, column in _counted(call, *size):
        result = yield from _invoked(call, function, kit.number(row + 1), kit.number(column + 1))
        values.append(_single(call, result))
    return _assembled(call, values, *size)


def _folding(name: str, finish: Callable[[Call, Sequence[Result], tuple[int, int]], Result]) -> None:
    """A value carried from element to element. Where no first one is given, it is the first element."""

    @lazy(name, "node node node")
    def body(call: Call, initial: Node, node: Node, function_node: Node) -> Steps:
        carried = yield initial, call.scope
        source = yield from _source(call, node)
        function = yield function_node, call.scope
        steps = []
        for row, column in _counted(call, *size_of(source)):
            element = piece(call, source, row, column)
            carried = element if carried is OMITTED else (yield from _invoked(call, function, carried, element))
            steps.append(carried)
        return finish(call, steps, size_of(source))


def _every(call: Call, steps: Sequence[Result], size: tuple[int, int]) -> Value:
    return _assembled(call, [_single(call, step) for step in steps], *size)


_folding("REDUCE", lambda call, steps, size: steps[-1])
_folding("SCAN", _every)
