"""Formula trees → values: arrays where everything is known, else instructions of a program.

Lowering works on a block of like formulas at once: a reference that moves with the cell is a block of values, one that
stays is a single value, and functions do not see the difference. Trees are walked by generators on an explicit stack,
since they may be thousands of levels deep.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import datetime
from types import GeneratorType
from typing import Any, Protocol

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from ultramc import functions, syntax
from ultramc.address import CellRef, RangeRef
from ultramc.distributions.probability import Drawn, Probability
from ultramc.errors import FormulaError, UnsupportedFormula
from ultramc.functions import Function
from ultramc.functions.kit import (
    BLANK,
    BOOLEAN,
    ERROR,
    NUMBER,
    OMITTED,
    ONE,
    TEXT,
    ZERO,
    Area,
    Areas,
    Edge,
    Kit,
    Unroll,
    Value,
    broadcast,
    tag_of,
    tag_value,
)
from ultramc.graph import Graph
from ultramc.grid import Grid, Pending
from ultramc.loops import Frame, Source, StepDraws
from ultramc.operators import arithmetic, compare, concatenate
from ultramc.program import Interval, Operand, Ref, array_of, broadcast_shape, decided, interval_of
from ultramc.references import extent, fixed_area
from ultramc.syntax import Node
from ultramc.terms import Term
from ultramc.values import ExcelError, to_text

CLIPPED = 1_000  # a longer or wider reference is cut to the used cells

Result = Any  # Value, Area, Areas or Lambda


class Draws(Protocol):
    """What a call site of a block draws. Raises Unroll where its cells have to be taken one by one."""

    def probability(self, place: RangeRef, k: int, correlated: bool) -> Probability: ...

    def element(self, place: RangeRef, k: int, number: int) -> Probability: ...


Steps = Generator[tuple[Node, "Scope"], Result, Result]


@frozen(eq=False)
class Scope:
    """Where a node is evaluated: for which cells, as part of an array formula or not, with which LET names.

    `expanding` are the texts of the defined names that it stands in, `calls` the LAMBDA calls that are under way.
    """

    place: RangeRef
    array: bool = False
    names: Mapping[str, Result] = field(factory=dict)
    expanding: frozenset[str] = frozenset()
    calls: int = 0


@frozen(eq=False)
class Lambda:
    """`required`: how many parameters must be given; the optional ones come last."""

    parameters: tuple[str, ...]
    required: int
    body: Node
    scope: Scope


@frozen(eq=False)
class PassedFunction:
    """A function passed by its name alone: ``BYROW(A1:C3, SUM)``."""

    name: str
    scope: Scope

    def of(self, count: int) -> Lambda:
        names = tuple(f"λ{place}" for place in range(count))
        return Lambda(names, count, syntax.Call(self.name, tuple(map(syntax.Name, names))), self.scope)


@frozen(eq=False)
class Call:
    """One call of a function: what its body may ask."""

    lowering: Lowering
    function: str
    scope: Scope

    @property
    def kit(self) -> Kit:
        return self.lowering.kit

    @property
    def place(self) -> RangeRef:
        return self.scope.place

    def read(self, area: Area | Areas) -> Value:
        """The cells of one area as an array."""
        if isinstance(area, Areas):
            raise UnsupportedFormula(f"{self.function} of several areas at once")
        frame = self.lowering.source
        if isinstance(frame, Frame) and frame.grows(area) and self.function in GROWING:
            return frame.grown(self.lowering.clipped(area), self.place)
        return self.lowering.read(area, self.place)

    def read_alike(self, areas: Sequence[Area]) -> list[Value]:
        """Areas of one shape as arrays of one shape: all end where the longest one's used cells end."""
        if self.function in GROWING and all(not area.steady for area in areas):
            return [self.read(area) for area in areas]
        return self.lowering.read_alike(areas, self.place)

    def one(self, result: Result) -> Value:
        """A scalar: an array formula spreads over what is a range, any other takes its own row or column."""
        return self.lowering.scalar(result, self.scope)

    def cells(self, result: Result) -> list[tuple[Value, bool]]:
        """What an aggregate counts over: arrays, each with whether it came from a reference."""
        if isinstance(result, Areas):
            return [(self.read(area), True) for area in result.parts]
        if isinstance(result, Area):
            return [(self.read(result), True)]
        return [(result, result.shape[2:] != (1, 1))]

    def skip(self, node: Node) -> None:
        """Say that a node is not evaluated, so that later call sites keep their numbers."""
        self.lowering.sites += self.lowering.draws_in(node, self.place)

    def argument(self, kind: str, result: Result) -> Any:
        """An evaluated argument as a parameter of that kind."""
        return self.lowering.argument(self, kind, result)

    def draw(self) -> Operand:
        """The uniforms of this call site, one per cell of the block."""
        return self.probability().below.operand

    def probability(self, *, correlated: bool = False) -> Probability:
        """Where this call site draws, for each cell of the block; `correlated`: the formula ties it to others."""
        self.lowering.sites += 1
        return self.lowering.probability(self.place, self.lowering.sites - 1, correlated)

    def draw_array(self, height: int, width: int) -> Operand:
        """The uniforms of an array that this call site draws, in every cell of the block: each element is a site of its own."""
        self.lowering.sites += 1
        places = tuple(divmod(number, width) for number in range(height * width))
        drawn = [self.lowering.element(self.place, self.lowering.sites - 1, number) for number in range(len(places))]
        return self.kit.emit("join", *drawn, size=(height, width), places=places)

    @property
    def in_base_case(self) -> bool:
        """Whether nothing is drawn: a call site has its median."""
        return self.lowering.draws is None

    def refuse(self, reason: str) -> UnsupportedFormula:
        return UnsupportedFormula(f"{self.function} {reason}")

    def constant(self, value: Value, what: str) -> float:
        """The one number that a known value holds; Unroll where it differs by cell, refused where it is simulated."""
        if not value.known:
            raise self.refuse(f"with a simulated {what} is not supported")
        if value.kinds & ERROR and self.place.size > 1:
            raise Unroll(f"the {what} of {self.function} is an error in some of its cells")
        if isinstance(value.payload, np.ndarray) and value.payload.size > 1 and (value.payload != value.payload.flat[0]).any():
            raise Unroll(f"the {what} of {self.function} differs from cell to cell")
        return float(value.payload.flat[0])  # type: ignore[union-attr]


class Lowering:
    """Evaluates the formulas of a workbook against a grid.

    `draws` says what a call site yields: the base case has none and gives the median. `reads` collects the areas that
    were computed by OFFSET, INDIRECT and their like. `volatile` tells that the last formula drew or read the clock, `drew` that it drew.
    """

    def __init__(self, graph: Graph, grid: Grid, *, now: datetime, draws: Draws | None = None) -> None:
        from ultramc.dialects import own

        self.graph = graph
        self.resolver = graph.resolver
        self.grid = grid
        self.source: Source = grid
        self.kit = grid.kit
        self.now = now
        self.added = {**own.functions(), **graph.dialect.functions}
        self.functions = {**functions.load(), **self.added}
        self.drawing = DRAWS | own.functions().keys() | graph.dialect.draws
        self.sites = 0
        self.volatile = False
        self.drew = False
        self.reads: list[RangeRef] = []
        self.draws = draws
        self._expansions = 0

    def within(self, frame: Frame) -> Lowering:
        """The same for formulas of a loop's body."""
        other = copy.copy(self)
        other.source, other.kit = frame, frame.kit
        other.draws = None if self.draws is None else StepDraws(frame, self.draws)
        return other

    def is_known_by_step(self, operand: Operand) -> bool:
        """Whether it is known, though perhaps, in a loop, another at each step."""
        return self.source.is_known_by_step(operand) if isinstance(self.source, Frame) else not isinstance(operand, Ref)

    def at_step(self, value: Value) -> Value:
        """Of a block of values by place what formulas see: in a loop, those of the step at hand."""
        return self.source.cut(value) if isinstance(self.source, Frame) else value

    def formula(self, place: RangeRef, tree: Node, *, array: bool = False, spread: bool = False) -> Value:
        """What the cells of `place` hold: shape (rows, columns, 1, 1), or what broadcasts to it.

        `array`: an array formula; `spread`: one over all cells of `place`. Raises Unroll where the cells must be taken one
        by one, Pending where another cell comes first.
        """
        self.kit.builder.cell = place
        self.sites, self.volatile, self.drew, self.reads, self._expansions = 0, False, False, [], 0
        if spread:
            return self._array_formula(place, tree)
        scope = Scope(place, array)
        value = self._first(self.scalar(self.run(tree, scope), scope))
        if isinstance(tree, syntax.Binary) and tree.operator in "+-":
            value = self._snapped(value)
        return self._filled(value)

    def _array_formula(self, place: RangeRef, tree: Node) -> Value:
        """One array over several cells: a single row or column repeats, what is too long is cut, cells left over are #N/A."""
        scope = Scope(RangeRef.of(place.first), array=True)
        value = self.kit.stretched(self.scalar(self.run(tree, scope), scope))
        height, width = value.shape[2:]
        rows = place.height if height == 1 else min(height, place.height)
        columns = place.width if width == 1 else min(width, place.width)
        cut = {"rows": rows, "columns": columns, "height": 1, "width": 1, "row_step": int(height > 1), "column_step": int(width > 1)}
        block = value.mapped(lambda operand: self.kit.emit("window", value.spanning(operand), **cut, top=0, left=0))
        return self._filled(self._padded(block, place, rows, columns))

    def _padded(self, block: Value, place: RangeRef, rows: int, columns: int) -> Value:
        if (rows, columns) == (place.height, place.width):
            return block
        outside = np.ones((place.height, place.width, 1, 1, 1), dtype=bool)
        outside[:rows, :columns] = False
        if not block.known:
            raise UnsupportedFormula(f"a simulated array of {rows}×{columns} in {place.height}×{place.width} cells")
        payload, tag = np.zeros(outside.shape), np.full(outside.shape, ExcelError.NA.kind, dtype=np.uint8)
        payload[:rows, :columns], tag[:rows, :columns] = array_of(block.payload), array_of(tag_of(block))
        return tag_value(payload, tag, 0)

    def _filled(self, value: Value) -> Value:
        """A cell that takes over a blank shows 0; overflow is #NUM!."""
        if value.kinds & BLANK:
            blank = self.kit.is_kind(value, BLANK)
            value = tag_value(
                value.payload, self.kit.emit("select", blank, tag_of(self.kit.number(0)), tag_of(value)), value.kinds & ~BLANK | 1
            )
        return self.kit.settled(value)

    def _first(self, value: Value) -> Value:
        if value.shape[2:] == (1, 1):
            return value
        if value.shape[:2] != (1, 1):
            raise Unroll
        return self.kit.part(value, 0, 0, 1, 1)

    def _snapped(self, value: Value) -> Value:
        """A final + or - that all but cancels gives 0 (the operands are those of the addition just made)."""
        addition = self._last_addition
        if addition is None or addition[0] is not value.payload or _cannot_cancel(*map(interval_of, addition)):
            return value
        return Value(self.kit.emit("snap", value.payload, addition[1], addition[2]), value.tag, value.kinds)

    _last_addition: tuple[Operand, Operand, Operand] | None = None

    def live_nodes(self, tree: Node, place: RangeRef) -> Iterator[Node]:
        """The nodes of a tree that count for who needs whom: without branches that known conditions switch off for all of `place`.

        OFFSET by known numbers stands for what it takes.
        """
        waiting = [tree]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(self._live_children(node, place))

    def _live_children(self, node: Node, place: RangeRef) -> Sequence[Node]:
        children = syntax.children(node)
        if not isinstance(node, syntax.Call) or not children:
            return children
        if node.name == "IF" and len(children) > 1:
            verdict = self._verdict(children[0], place)
            off = None if verdict is None else 2 if verdict else 1
            return [child for number, child in enumerate(children) if number != off]
        if node.name in _OF_PLACES and isinstance(children[0], syntax.Reference):
            return children[1:]
        if node.name == "OFFSET" and isinstance(children[0], syntax.Reference):
            numbers = [self._number_of(child, place) for child in children[1:]]
            return [_moved_by(children[0], numbers) or children[0], *children[1:]]
        return children

    def _number_of(self, node: Node, place: RangeRef) -> int | None:
        """What an argument is for all cells of `place` in every iteration; None where that is not known, or it is left out."""
        if isinstance(node, syntax.Missing):
            return None
        scope = Scope(place)
        try:
            value = self.kit.to_number(self.scalar(self.run(node, scope), scope))
        except (Pending, Unroll, FormulaError):
            return None
        low, high = interval_of(value.payload)
        return int(low) if value.known and value.kinds == NUMBER and low == high else None

    def _verdict(self, condition: Node, place: RangeRef) -> bool | None:
        """What a condition says of all cells of `place` in every iteration; None where that is not known."""
        scope, self.drew, self.volatile = Scope(place), False, False
        try:
            mask, errors = self.kit.to_mask(self.kit.settled(self.scalar(self.run(condition, scope), scope)))
        except (Pending, Unroll, FormulaError):
            return None
        return None if self.drew or errors.kinds & ERROR else decided(mask)

    # the walk

    def run(self, node: Node, scope: Scope) -> Result:
        stack: list[Steps] = []
        answer: Result = self._visit(node, scope)
        if isinstance(answer, GeneratorType):
            stack.append(answer)
            answer = None
        while stack:
            try:
                child, inner = stack[-1].send(answer)
            except StopIteration as end:
                stack.pop()
                answer = end.value
                continue
            answer = self._visit(child, inner)
            if isinstance(answer, GeneratorType):
                stack.append(answer)
                answer = None
        return answer

    def _visit(self, node: Node, scope: Scope) -> Result:
        return _VISITS[type(node)](self, node, scope)

    def _number(self, node: syntax.Number, scope: Scope) -> Value:
        return self.kit.number(node.value)

    def _text(self, node: syntax.Text, scope: Scope) -> Value:
        return self.kit.text(node.value)

    def _boolean(self, node: syntax.Boolean, scope: Scope) -> Value:
        return self.kit.scalar(node.value)

    def _error(self, node: syntax.ErrorLiteral, scope: Scope) -> Value:
        return self.kit.error(node.error)

    def _missing(self, node: syntax.Missing, scope: Scope) -> Value:
        return OMITTED

    def _array_constant(self, node: syntax.ArrayConstant, scope: Scope) -> Value:
        return self.kit.array(node.rows)

    def _reference(self, node: syntax.Reference, scope: Scope) -> Result:
        return self._target(self.resolver.reference(node, scope.place))

    def _structured(self, node: syntax.StructuredReference, scope: Scope) -> Result:
        return self._target(self.resolver.structured(node, scope.place))

    def _target(self, target: Area | Areas | ExcelError) -> Result:
        return self.kit.error(target) if isinstance(target, ExcelError) else target

    def _name(self, node: syntax.Name, scope: Scope) -> Result:
        bound = scope.names.get(node.text.casefold())
        if bound is not None and node.sheets is None:
            return bound
        if node.sheets is not None and node.sheets.book is not None:
            raise UnsupportedFormula(f"refers to another workbook, {node.sheets.book}, which is never opened")
        definition = self.resolver.name(node, scope.place)
        if definition is None:
            name = node.text.upper()
            return PassedFunction(name, scope) if name in self.functions and node.sheets is None else self.kit.error(ExcelError.NAME)
        return self._expanded(self.resolver.definition(definition), definition.text, scope)

    def _expanded(self, tree: Node, text: str, scope: Scope) -> Steps:
        if text in scope.expanding:
            raise UnsupportedFormula(f"a defined name that stands for {text!r} refers to itself")
        self._count_expansion()
        result = yield tree, Scope(scope.place, scope.array, expanding=scope.expanding | {text}, calls=scope.calls)
        return result

    def _count_expansion(self) -> None:
        self._expansions += 1
        if self._expansions > MOST_EXPANSIONS:
            raise UnsupportedFormula(f"uses defined names and LAMBDAs more than {MOST_EXPANSIONS:,} times")

    def _unary(self, node: syntax.Unary, scope: Scope) -> Steps:
        operand = yield node.operand, scope
        if node.operator == "+":
            return operand
        value = self.kit.to_number(self.scalar(operand, scope))
        return self.kit.with_tag(self.kit.emit("neg", value.payload), value)

    def _percent(self, node: syntax.Percent, scope: Scope) -> Steps:
        operand = yield node.operand, scope
        value = self.kit.to_number(self.scalar(operand, scope))
        return self.kit.with_tag(self.kit.emit("div", value.payload, 100.0), value)

    def _binary(self, node: syntax.Binary, scope: Scope) -> Steps:
        left = yield node.left, scope
        right = yield node.right, scope
        if node.operator in syntax.REFERENCE_OPERATORS:
            return self._reference_operator(node.operator, left, right, scope)
        first, second = self.kit.aligned((self.scalar(left, scope), self.scalar(right, scope)))
        if node.operator in ("=", "<>", "<", ">", "<=", ">="):
            return compare(self.kit, node.operator, first, second)
        if node.operator == "&":
            return concatenate(self.kit, first, second)
        return self._arithmetic(node.operator, first, second)

    def _arithmetic(self, operator: str, first: Value, second: Value) -> Value:
        x, y = self.kit.to_number(first), self.kit.to_number(second)
        result = arithmetic(self.kit, operator, x, y)
        self._last_addition = (result.payload, x.payload, y.payload)
        return result

    def _spill(self, node: syntax.Spill, scope: Scope) -> Steps:
        anchor = yield node.operand, scope
        if not isinstance(anchor, Area):
            return self.kit.error(ExcelError.REF)
        if scope.place.size > 1 and (anchor.top.moves or anchor.left.moves):
            raise Unroll
        region = self.graph.region_at(CellRef(anchor.sheet, anchor.top.at, anchor.left.at))
        return fixed_area(region.place) if region is not None and region.is_array else anchor

    def _implicit(self, node: syntax.Implicit, scope: Scope) -> Steps:
        result = yield node.operand, scope
        if isinstance(result, Area):
            return self.intersect(result, scope.place)
        return result

    def _call(self, node: syntax.Call, scope: Scope) -> Result:
        if node.name == "LET":
            return self._let(node, scope)
        if node.name == "LAMBDA":
            *parameters, body = node.arguments
            names = tuple(_variable(parameter) for parameter in parameters)
            return Lambda(names, sum(isinstance(parameter, syntax.Name) for parameter in parameters), body, scope)
        row = self.functions.get(node.name)
        if row is not None and (not node.prefix or node.name in self.added):
            return self._function(row, node, scope)
        return self._invoke_name(node, scope)

    def _invoke_name(self, node: syntax.Call, scope: Scope) -> Steps:
        name = syntax.Name(node.name)
        known = node.name.casefold() in scope.names or self.resolver.name(name, scope.place) is not None
        if node.prefix or not known:
            raise UnsupportedFormula(f"function {node.prefix}{node.name} is not supported")
        result = yield syntax.Invoke(name, node.arguments), scope
        return result

    def _invoke(self, node: syntax.Invoke, scope: Scope) -> Steps:
        target = yield node.function, scope
        arguments = []
        for argument in node.arguments:
            arguments.append((yield argument, scope))
        return (yield from self.invoke(target, arguments, scope))

    def invoke(self, target: Result, arguments: Sequence[Result], scope: Scope) -> Steps:
        """What a LAMBDA, or a function passed by name, gives for those arguments. Optional ones may be missing."""
        target = target.of(len(arguments)) if isinstance(target, PassedFunction) else target
        if not isinstance(target, Lambda) or not target.required <= len(arguments) <= len(target.parameters):
            return self.kit.error(ExcelError.VALUE)
        if scope.calls >= DEEPEST_CALL:
            return self.kit.error(ExcelError.NUM)
        self._count_expansion()
        given = [*arguments, *[OMITTED] * (len(target.parameters) - len(arguments))]
        names = {**target.scope.names, **dict(zip(target.parameters, given, strict=True))}
        return (yield target.body, evolve(target.scope, names=names, expanding=frozenset(), calls=scope.calls + 1))

    def _let(self, node: syntax.Call, scope: Scope) -> Steps:
        names = dict(scope.names)
        pairs = node.arguments[:-1]
        for variable, expression in zip(pairs[::2], pairs[1::2], strict=True):
            names[_variable(variable)] = yield expression, evolve(scope, names=dict(names))
        result = yield node.arguments[-1], evolve(scope, names=names)
        return result

    def _function(self, row: Function, node: syntax.Call, scope: Scope) -> Steps:
        kinds = row.signature.kinds(row.name, len(node.arguments))
        call = Call(self, row.name, scope)
        if row.style == "lazy":
            result = yield from row.body(call, *node.arguments)
            return result
        arguments = []
        for kind, argument in zip(kinds, node.arguments, strict=True):
            if kind == "node":
                arguments.append(argument)
                continue
            result = yield argument, evolve(scope, array=True) if kind == "array" and not scope.array else scope
            arguments.append(self.argument(call, kind, result))
        return self._applied(row, call, arguments)

    def argument(self, call: Call, kind: str, result: Result) -> Any:
        if isinstance(result, (Lambda, PassedFunction)):
            result = call.one(result)
        if kind.startswith(("number", "integer")):
            value = call.one(result)
            if kind.endswith("!"):
                value = self.kit.fail_where(value, self.kit.is_kind(value, BOOLEAN), ExcelError.VALUE)
            value = self.kit.settled(self.kit.to_number(value))
            return self._whole(value) if kind.startswith("integer") else value
        if kind == "array":
            return call.read(result) if isinstance(result, (Area, Areas)) else result
        if kind == "cells":
            return call.cells(result)
        if kind == "area":
            return result
        value = self.kit.settled(call.one(result))
        return self._as_text(value) if kind == "text" else value

    def _as_text(self, value: Value) -> Value:
        if not value.kinds & ~(TEXT | ERROR):
            return value
        if not value.known:
            raise UnsupportedFormula("text of simulated values is not supported yet")
        return self.kit.scalar_function(to_text, (value,), "text")

    def _whole(self, value: Value) -> Value:
        return Value(self.kit.emit("trunc", value.payload), value.tag, value.kinds)

    def _applied(self, row: Function, call: Call, arguments: Sequence[Any]) -> Result:
        if row.style in ("elementwise", "scalar"):
            arguments = self.kit.aligned(arguments)
        if row.style == "elementwise":
            return self.kit.elementwise(row.body, arguments)
        if row.style == "scalar":
            if row.text and not all(argument.known for argument in arguments):
                raise call.refuse("builds text from simulated values, which is not supported yet")
            return self.kit.scalar_function(row, arguments, row.name)
        kinds = row.signature.kinds(row.name, len(arguments))
        first = next((pair for pair in zip(kinds, arguments, strict=True) if isinstance(pair[1], Value) and pair[1].kinds & ERROR), None)
        if first is not None and first[0] not in ("any", "cells") and _is_error(first[1]):
            return first[1]
        lost = self.kit.error_tag(
            [argument for kind, argument in zip(kinds, arguments, strict=True) if kind in ("array", "area") and _is_single(argument)]
        )
        if any(kind in READS for kind in kinds) and _has_array(row, arguments):
            return self._with_lost(self._lifted(row, call, arguments), lost)
        return self._with_lost(row.body(call, *arguments), lost)

    def _with_lost(self, result: Result, lost: Value) -> Result:
        """A single error where an array or a reference was to be is the result."""
        if not lost.kinds & ERROR:
            return result
        if not isinstance(result, Value):
            raise Unroll
        return self.kit.choose(self.kit.is_kind(lost, ERROR), Value(ZERO, lost.tag, lost.kinds & ERROR), result)

    def _lifted(self, row: Function, call: Call, arguments: Sequence[Any]) -> Value:
        """A scalar parameter that is given an array, beside one that takes arrays: once per element, as a block."""
        kinds = row.signature.kinds(row.name, len(arguments))
        spread = [kind not in READS and isinstance(argument, Value) for kind, argument in zip(kinds, arguments, strict=True)]
        turned = [self._turned(argument) if turns else argument for turns, argument in zip(spread, arguments, strict=True)]
        try:
            result = self.scalar(row.body(call, *turned), call.scope)
        except Unroll:
            return self._lifted_singly(row, call, arguments, spread)
        return self._turned(self._first(result) if result.shape[:2] == (1, 1) else result)

    def _lifted_singly(self, row: Function, call: Call, arguments: Sequence[Any], spread: Sequence[bool]) -> Value:
        values = [argument for turns, argument in zip(spread, arguments, strict=True) if turns]
        shape = broadcast_shape([value.shape for value in values])
        columns = [self.kit.scalars(broadcast(value, shape)) for value in values]
        results = []
        for items in zip(*columns, strict=True):
            rest = iter(items)
            single = [self.kit.scalar(next(rest)) if turns else argument for turns, argument in zip(spread, arguments, strict=True)]
            results += self.kit.scalars(self._first(self.scalar(row.body(call, *single), call.scope)))
        return self.kit.from_scalars(results, shape)

    def _turned(self, value: Value) -> Value:
        """Block axes and array axes exchanged."""
        if not value.known or (value.shape[:2] != (1, 1) and value.shape[2:] != (1, 1)):
            raise UnsupportedFormula("an array of simulated values as a single argument is not supported yet")
        payload = np.moveaxis(np.broadcast_to(array_of(value.payload), (*value.shape, 1)), (2, 3), (0, 1))
        tag = value.tag if isinstance(value.tag, int) else np.moveaxis(array_of(value.tag), (2, 3), (0, 1))
        return tag_value(payload, tag, value.kinds)

    # references

    def _reference_operator(self, operator: str, left: Result, right: Result, scope: Scope) -> Result:
        for side in (left, right):
            if not isinstance(side, (Area, Areas)):
                return side if isinstance(side, Value) and side.kinds & ERROR else self.kit.error(ExcelError.VALUE)
        if operator == ",":
            return Areas((*_parts(left), *_parts(right)))
        if isinstance(left, Areas) or isinstance(right, Areas) or left.sheet != right.sheet:
            return self.kit.error(ExcelError.VALUE)
        return hull(left, right, scope.place) if operator == ":" else self._common(left, right, scope.place)

    def _common(self, left: Area, right: Area, place: RangeRef) -> Result:
        if place.size > 1:
            raise Unroll
        common = extent(left, place).intersection(extent(right, place))
        return self.kit.error(ExcelError.NULL) if common is None else fixed_area(common)

    def scalar(self, result: Result, scope: Scope) -> Value:
        """A value: a range is read whole in an array formula, else cut to the formula's own row or column."""
        if isinstance(result, Value):
            return result
        if type(result) in _NO_VALUES:
            return self.kit.error(_NO_VALUES[type(result)])
        if scope.array or (result.steady and result.height == result.width == 1):
            return self.read(result, scope.place)
        return self.intersect(result, scope.place)

    def intersect(self, area: Area, place: RangeRef) -> Value:
        """Implicit intersection."""
        if area.steady and area.height == area.width == 1:
            return self.read(area, place)
        if area.steady and area.width == 1 and not area.top.moves:
            row = Edge(place.top, True)
            return self._intersected(evolve(area, top=row, bottom=row), area.top.at <= place.top, place.bottom <= area.bottom.at, place)
        if area.steady and area.height == 1 and not area.left.moves:
            column = Edge(place.left, True)
            return self._intersected(
                evolve(area, left=column, right=column), area.left.at <= place.left, place.right <= area.right.at, place
            )
        if place.size > 1:
            raise Unroll
        return self._intersect_cell(extent(area, place), place)

    def _intersected(self, area: Area, starts: bool, ends: bool, place: RangeRef) -> Value:
        if starts and ends:
            return self.read(area, place)
        if place.size > 1:
            raise Unroll
        return self.kit.error(ExcelError.VALUE)

    def _intersect_cell(self, seen: RangeRef, place: RangeRef) -> Value:
        if seen.width == 1 and seen.top <= place.top <= seen.bottom:
            return self.read(fixed_area(RangeRef(seen.sheet, place.top, seen.left, place.top, seen.left)), place)
        if seen.height == 1 and seen.left <= place.left <= seen.right:
            return self.read(fixed_area(RangeRef(seen.sheet, seen.top, place.left, seen.top, place.left)), place)
        return self.kit.error(ExcelError.VALUE)

    def read(self, area: Area, place: RangeRef) -> Value:
        """The cells that each cell of the block sees: shape (rows, columns, height, width)."""
        return self.source.seen(self.clipped(area), place)

    def read_alike(self, areas: Sequence[Area], place: RangeRef) -> list[Value]:
        used = [self.clipped(area) for area in areas]
        height, width = max(area.height for area in used), max(area.width for area in used)
        return [self.source.seen(_cut_to(area, height, width), place) for area in areas]

    def clipped(self, area: Area) -> Area:
        """Long references end where the used cells end; what lies beyond is blank."""
        if area.height > CLIPPED:
            area = evolve(area, bottom=evolve(area.bottom, at=max(area.top.at, min(area.bottom.at, self.grid.bottom))))
        if area.width > CLIPPED:
            area = evolve(area, right=evolve(area.right, at=max(area.left.at, min(area.right.at, self.grid.right))))
        return area

    def passed_over(self, area: Area, place: RangeRef, *, nested: bool, rows: str) -> NDArray[np.bool_] | None:
        """Which cells of an area SUBTOTAL passes over, None where none: `nested` ones of its kind, "hidden" or "filtered" rows."""
        seen = extent(self.clipped(area), place)
        mask = np.zeros((seen.height, seen.width), dtype=bool)
        for region in self.graph.overlapping(seen) if nested else ():
            common = region.place.intersection(seen)
            if common is not None and region.tree is not None and any(_is_subtotal(node) for node in syntax.walk(region.tree)):
                mask[common.top - seen.top : common.bottom - seen.top + 1, common.left - seen.left : common.right - seen.left + 1] = True
        out = self._rows_out(seen.sheet, rows)
        mask[[row - seen.top for row in range(seen.top, seen.bottom + 1) if row in out]] = True
        if place.size > 1 and mask.any() and (area.top.moves or area.left.moves or area.bottom.moves or area.right.moves):
            raise Unroll
        return mask if mask.any() else None

    def _rows_out(self, sheet: str, rows: str) -> frozenset[int]:
        if rows == "hidden":
            return self.graph.book.sheet(sheet).hidden_rows
        return self.graph.book.filtered_rows(sheet) if rows == "filtered" else frozenset()

    # chance

    def probability(self, place: RangeRef, site: int, correlated: bool) -> Probability:
        self.volatile = self.drew = True
        if self.draws is None:
            return Drawn.of(Term(self.kit, 0.5 * ONE))
        return self.draws.probability(place, site, correlated)

    def element(self, place: RangeRef, site: int, number: int) -> Operand:
        """The uniforms of one element, counted row by row, of an array that a call site draws."""
        self.volatile = self.drew = True
        return 0.5 * ONE if self.draws is None else self.draws.element(place, site, number).below.operand

    def draws_in(self, node: Node, place: RangeRef) -> int:
        """How many call sites a node contains, names expanded."""
        count = 0
        waiting: list[tuple[Node, int]] = [(node, 0)]
        while waiting:
            root, depth = waiting.pop()
            for part in syntax.walk(root):
                if isinstance(part, syntax.Call):
                    count += part.name in self.drawing
                elif isinstance(part, syntax.Name) and depth < DEEPEST_NAME:
                    definition = self.resolver.name(part, place)
                    if definition is not None:
                        self._count_expansion()
                        waiting.append((self.resolver.definition(definition), depth + 1))
        return count


READS = ("array", "cells", "area")


def _is_error(argument: Any) -> bool:
    return isinstance(argument, Value) and not argument.kinds & ~ERROR and argument.shape == (1, 1, 1, 1)


def _is_single(argument: Any) -> bool:
    return isinstance(argument, Value) and argument.shape[2:] == (1, 1)


def _has_array(row: Function, arguments: Sequence[Any]) -> bool:
    kinds = row.signature.kinds(row.name, len(arguments))
    return any(
        kind not in READS and isinstance(argument, Value) and argument.shape[2:] != (1, 1)
        for kind, argument in zip(kinds, arguments, strict=True)
    )


_NO_VALUES = {Areas: ExcelError.VALUE, Lambda: ExcelError.CALC, PassedFunction: ExcelError.NAME}

DEEPEST_NAME = 64  # names that refer to names; Excel's own limit on nesting
DEEPEST_CALL = 1_024  # LAMBDA calls within LAMBDA calls; Excel gives #NUM! where it runs out of stack
MOST_EXPANSIONS = 100_000  # of defined names and LAMBDAs in one formula
DRAWS = frozenset({"RAND", "RANDBETWEEN", "RANDARRAY"})
# Functions that need of an area that grows with the cell no more than its newest elements and what they made of the others
_TOTALS = ("SUM", "SUMSQ", "PRODUCT", "AVERAGE", "MIN", "MAX", "COUNT", "COUNTA", "SUMPRODUCT", "AND", "OR")
GROWING = frozenset((*_TOTALS, "COUNTIF", "COUNTIFS", "SUMIF", "SUMIFS", "AVERAGEIF", "AVERAGEIFS"))


_OF_PLACES = frozenset({"ROW", "COLUMN", "ROWS", "COLUMNS", "AREAS"})  # they ask where a reference is, not what it holds


def _moved_by(reference: syntax.Reference, numbers: Sequence[int | None]) -> syntax.Reference | None:
    """The cells that OFFSET takes, if its numbers are known and the reference keeps its size."""
    rows, columns, *size = numbers
    steady = reference.top.absolute == reference.bottom.absolute and reference.left.absolute == reference.right.absolute
    if rows is None or columns is None or size or not steady:
        return None
    top, bottom = (evolve(axis, value=axis.value + rows) for axis in (reference.top, reference.bottom))
    left, right = (evolve(axis, value=axis.value + columns) for axis in (reference.left, reference.right))
    return evolve(reference, top=top, bottom=bottom, left=left, right=right)


def _is_subtotal(node: Node) -> bool:
    return isinstance(node, syntax.Call) and node.name in ("SUBTOTAL", "AGGREGATE")


def _variable(node: Node) -> str:
    if isinstance(node, syntax.StructuredReference) and node.table is None and node.first is not None:
        return node.first.casefold()  # an optional parameter: [x]
    if not isinstance(node, syntax.Name):
        raise UnsupportedFormula("LET and LAMBDA need a name where this formula has something else")
    return node.text.casefold()


def _cut_to(area: Area, height: int, width: int) -> Area:
    bottom, right = evolve(area.bottom, at=area.top.at + height - 1), evolve(area.right, at=area.left.at + width - 1)
    return evolve(area, bottom=bottom, right=right)


def hull(left: Area, right: Area, place: RangeRef) -> Area:
    """``left:right``, the smallest area that holds both."""
    if place.size == 1:
        one, two = extent(left, place), extent(right, place)
        return fixed_area(
            RangeRef(one.sheet, min(one.top, two.top), min(one.left, two.left), max(one.bottom, two.bottom), max(one.right, two.right))
        )
    sides = (left.top, left.left, left.bottom, left.right)
    if any(side.moves != other.moves for side, other in zip(sides, (right.top, right.left, right.bottom, right.right), strict=True)):
        raise Unroll
    return Area(
        left.sheet,
        min(left.top, right.top, key=_at),
        min(left.left, right.left, key=_at),
        max(left.bottom, right.bottom, key=_at),
        max(left.right, right.right, key=_at),
    )


def _cannot_cancel(result: Interval, x: Interval, y: Interval) -> bool:
    """Whether a sum is never as small beside its operands as `snap` asks for."""
    least = 2.0**-48 * max(abs(bound) for bound in (*x, *y))
    return result[0] > least or result[1] < -least


def _at(edge: Edge) -> int:
    return edge.at


def _parts(result: Area | Areas) -> tuple[Area, ...]:
    return result.parts if isinstance(result, Areas) else (result,)


_VISITS: dict[type, Callable[[Lowering, Any, Scope], Result]] = {
    syntax.Number: Lowering._number,
    syntax.Text: Lowering._text,
    syntax.Boolean: Lowering._boolean,
    syntax.ErrorLiteral: Lowering._error,
    syntax.Missing: Lowering._missing,
    syntax.ArrayConstant: Lowering._array_constant,
    syntax.Reference: Lowering._reference,
    syntax.StructuredReference: Lowering._structured,
    syntax.Name: Lowering._name,
    syntax.Unary: Lowering._unary,
    syntax.Percent: Lowering._percent,
    syntax.Binary: Lowering._binary,
    syntax.Spill: Lowering._spill,
    syntax.Implicit: Lowering._implicit,
    syntax.Call: Lowering._call,
    syntax.Invoke: Lowering._invoke,
}
