"""The program: instructions that each remember their cell. Built by a `Builder`, printed as text, checked for legality.

An operand is a NumPy array, where it is the same in every iteration (its last axis has length one), or a `Ref` to the
result of an earlier instruction. The builder folds: an instruction whose operands are all arrays is carried out at
once, and a mask that the operands' intervals decide is a constant. So one lowering serves both the base case, where
everything folds, and the simulation, where what depends on an input remains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from itertools import accumulate
from typing import Any

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from ultramc.address import RangeRef
from ultramc.engines import array
from ultramc.ops import OPS
from ultramc.sampling import Site, Tie

Shape = tuple[int, int, int, int]
Interval = tuple[float, float]
Known = NDArray[Any]

HIDDEN = "\0"  # begins the labels of slots that are inputs, not outputs
EVERYTHING: Interval = (-math.inf, math.inf)
LARGEST = float(np.finfo(np.float64).max)
TRUE = np.ones((1, 1, 1, 1, 1), dtype=bool)
MOST_PARTS = 16  # of an array that is not put together where it can be done without
FALSE = np.zeros((1, 1, 1, 1, 1), dtype=bool)
NO_ERROR = np.zeros((1, 1, 1, 1, 1), dtype=np.uint8)


@frozen(eq=False)
class Ref:
    """The result of instruction `index`: `kind` is "number", "mask" or "tag"; a number lies in `interval`."""

    index: int
    shape: Shape
    kind: str
    interval: Interval = EVERYTHING


Operand = Known | Ref


@frozen(eq=False)
class Segments:
    """For each cell of a block of `rows` × `columns`, row by row, which elements of an array it sums: 0-based, ascending."""

    rows: int
    columns: int
    elements: tuple[NDArray[np.intp], ...]

    @classmethod
    def of(cls, mask: Known) -> Segments:
        """Those where a known mask (rows, columns, height, width, 1) holds."""
        rows, columns = mask.shape[:2]
        return cls(rows, columns, tuple(np.flatnonzero(part) for part in mask.reshape(rows * columns, -1)))

    @property
    def longest(self) -> int:
        return max(each.size for each in self.elements)

    def __str__(self) -> str:
        return f"{sum(each.size for each in self.elements)} elements"


@frozen(eq=False)
class Growing(Ref):
    """The newest elements of arrays that grow by them at each step of a loop; `before`: those that are there before the first step."""

    before: Operand | None = None


@frozen(eq=False)
class Instruction:
    op: str
    operands: tuple[Operand, ...]
    results: tuple[Ref, ...]
    cell: RangeRef | None
    attributes: Mapping[str, Any] = field(factory=dict)

    @property
    def result(self) -> Ref:
        return self.results[0]

    def reads(self) -> list[int]:
        """The indexes of what it reads, the operands first; those that its body reads included."""
        body: Body | None = self.attributes.get("body")
        inner = [index for instruction in body.instructions for index in instruction.reads()] if body else []
        operands = (*self.operands, *body.results) if body else self.operands
        return [operand.index for operand in operands if isinstance(operand, Ref)] + inner


@frozen(eq=False)
class Body:
    """What a `loop` or `repeat` does at each step. It may also read results of instructions outside it.

    loop, attributes `body`, `steps`, `carries`, `axis`: operands are `carries` initial values, then arrays that are
    cut into steps along `axis` (0: block rows, 1: block columns). Parameters are the carried values and the cuts;
    results are the next carried values and what the step yields. The loop's results are the last carried values
    and the yields, joined along the axis. Any operand may be a body result: a parameter (so a carry moves on to the
    next one, and what was computed two steps before is at hand), the same value twice, a value from outside, a constant.
    With `reverse` (absent: False) steps run from the last cut to the first, and yields lie where their cuts do.

    repeat, attributes `body`, `limit`: operands are the initial state; parameters the state; results the next state
    and a mask. A lane (one iteration of one cell) is frozen once its mask holds. The results are the last state and,
    as a mask, which lanes are done.
    """

    parameters: tuple[Ref, ...]
    instructions: tuple[Instruction, ...]
    results: tuple[Operand, ...]


@frozen(eq=False)
class Slot:
    """An output of a program: payload and tag (an int where it is always the same kind)."""

    label: str
    cells: RangeRef
    payload: Operand
    tag: Operand | int
    kinds: int


@frozen(eq=False)
class Program:
    instructions: tuple[Instruction, ...]
    outputs: tuple[Slot, ...]
    texts: tuple[str, ...]

    def ops(self) -> dict[str, Instruction]:
        """Each op that occurs, with its first instruction; bodies included."""
        found: dict[str, Instruction] = {}
        for instruction in all_instructions(self.instructions):
            found.setdefault(instruction.op, instruction)
        return found

    def makers(self) -> dict[int, Instruction]:
        """What makes each value, bodies included; their parameters nobody makes."""
        return {ref.index: each for each in all_instructions(self.instructions) for ref in each.results}

    def sites(self) -> tuple[Site, ...]:
        """All call sites, bodies included: one for each cell of the blocks that draw."""
        drawing = [instruction for instruction in all_instructions(self.instructions) if instruction.op == "uniform"]
        return tuple(site for instruction in drawing for site in _sites_of(instruction))

    def ties(self) -> frozenset[Tie]:
        """The sites that are drawn together, bodies included."""
        return frozenset(each.attributes["tie"] for each in all_instructions(self.instructions) if each.op == "permute")

    def __str__(self) -> str:
        lines = _lines(self.instructions, indent="")
        lines += [f"{_slot_name(slot)} = {_name(slot.payload)}{_tag_text(slot)}" for slot in self.outputs]
        return "\n".join(lines)

    def check_legal(self) -> None:
        """Raise ValueError at the first instruction that uses an unknown op, a later result, wrong kinds or wrong shapes."""
        defined: set[int] = set()
        for instruction in self.instructions:
            _check(instruction, defined)
        for slot in self.outputs:
            _check_slot(slot, defined)


def _sites_of(instruction: Instruction) -> Iterator[Site]:
    site: Site = instruction.attributes["site"]
    rows, columns = instruction.result.shape[:2]
    return (Site(site.sheet, site.row + row, site.column + column, site.k) for row in range(rows) for column in range(columns))


def all_instructions(instructions: Sequence[Instruction]) -> Iterator[Instruction]:
    for instruction in instructions:
        yield instruction
        if "body" in instruction.attributes:
            yield from all_instructions(instruction.attributes["body"].instructions)


def _check(instruction: Instruction, defined: set[int]) -> None:
    where = f"%{instruction.result.index} = {instruction.op} at {instruction.cell}"
    op = OPS.get(instruction.op)
    if op is None:
        raise ValueError(f"{where}: no such op")
    if op.arity is not None and len(instruction.operands) != op.arity:
        raise ValueError(f"{where}: takes {op.arity} operands, has {len(instruction.operands)}")
    _check_operands(instruction.operands, defined, where)
    _check_kinds(instruction, where)
    if "body" in instruction.attributes:
        _check_body(instruction, defined, where)
    else:
        _check_result(instruction, where)
    for ref in instruction.results:
        if ref.index in defined:
            raise ValueError(f"{where}: %{ref.index} is defined twice")
        defined.add(ref.index)


_TAKES = {
    **dict.fromkeys(("and", "or", "not", "any", "all", "count", "first_true", "last_true"), "mask"),
    **dict.fromkeys(("kind_is", "first_error", "first_error_of"), "tag"),
    "piecewise": "number",
}


def _check_kinds(instruction: Instruction, where: str) -> None:
    kinds = [kind_of_operand(operand) for operand in instruction.operands]
    wanted = [_TAKES[instruction.op]] * len(kinds) if instruction.op in _TAKES else kinds
    if instruction.op == "select":
        wanted = ["mask", kinds[2], kinds[2]]
    if kinds != wanted:
        raise ValueError(f"{where}: takes {', '.join(wanted)}; has {', '.join(kinds)}")


def _check_result(instruction: Instruction, where: str) -> None:
    op, operands, attributes = instruction.op, instruction.operands, instruction.attributes
    try:
        expected = result_shape(op, operands, attributes), result_kind(op, operands, attributes)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{where}: operands and attributes give no shape ({error})") from error
    found = instruction.result.shape, instruction.result.kind
    if found != expected:
        raise ValueError(f"{where}: result of shape and kind {found}, operands give {expected}")
    if op == "window":
        array.check_window(shape_of(operands[0]), **attributes)
    if op == "join":
        _check_join(instruction, where)
    if op == "piecewise" and not hasattr(attributes.get("pieces"), "coefficients"):
        raise ValueError(f"{where}: without its attribute `pieces`")


def _check_join(instruction: Instruction, where: str) -> None:
    covered = np.zeros(instruction.attributes["size"], dtype=bool)
    for operand, (top, left) in zip(instruction.operands, instruction.attributes["places"], strict=True):
        covered[top : top + shape_of(operand)[2], left : left + shape_of(operand)[3]] = True
    if not covered.all():
        raise ValueError(f"{where}: {int((~covered).sum())} elements of {covered.shape} are left open")


def _check_body(instruction: Instruction, defined: set[int], where: str) -> None:
    body: Body = instruction.attributes["body"]
    if instruction.op == "repeat" and any(each.op == "uniform" for each in all_instructions(body.instructions)):
        raise ValueError(f"{where}: draws in a body whose lanes end at different steps; make them before it")
    inside = defined | {ref.index for ref in body.parameters}
    for inner in body.instructions:
        _check(inner, inside)
    _check_operands(body.results, inside, f"{where}, end of body")
    wanted = (_loop_signature if instruction.op == "loop" else _repeat_signature)(instruction)
    found = tuple(_shapes(values) for values in (body.parameters, body.results, instruction.results))
    if found != wanted:
        raise ValueError(f"{where}: parameters, body results and results have shapes {found}; operands and attributes give {wanted}")


Signature = tuple[tuple[Shape, ...], ...]


def _shapes(values: Sequence[Operand]) -> tuple[Shape, ...]:
    return tuple(shape_of(value) for value in values)


def _loop_signature(instruction: Instruction) -> Signature:
    """Shapes of parameters, body results and results that a loop's operands, steps and axis ask for."""
    body, steps, carries, axis = (instruction.attributes[name] for name in ("body", "steps", "carries", "axis"))
    if steps < 1:
        raise ValueError(f"a loop at {instruction.cell} of {steps} steps; at least 1 is needed")
    state, cut, yields = *_split(instruction.operands, carries), _shapes(body.results)[carries:]
    return (
        (*state, *(along(shape, axis, 1) for shape in cut)),
        (*state, *yields),
        (*state, *(along(shape, axis, steps) for shape in yields)),
    )


def _split(operands: Sequence[Operand], carries: int) -> tuple[tuple[Shape, ...], tuple[Shape, ...]]:
    shapes = _shapes(operands)
    return shapes[:carries], shapes[carries:]


def _repeat_signature(instruction: Instruction) -> Signature:
    """All of one shape, and one mask more at the end."""
    shape = instruction.results[-1].shape
    state = (shape,) * len(instruction.operands)
    return state, (*state, shape), (*state, shape)


def along(shape: Shape, axis: int, length: int) -> Shape:
    """The shape with another length along one axis of the block (0: rows, 1: columns)."""
    return (length if axis == 0 else shape[0], length if axis == 1 else shape[1], shape[2], shape[3])


def _check_slot(slot: Slot, defined: set[int]) -> None:
    parts = [part for part in (slot.payload, slot.tag) if not isinstance(part, int)]
    _check_operands(parts, defined, f"output {slot.label}")
    for part in parts:
        if broadcast_shape([shape_of(part), (1, 1, slot.cells.height, slot.cells.width)]) != (1, 1, slot.cells.height, slot.cells.width):
            raise ValueError(f"output {slot.label}: shape {shape_of(part)} does not fit the cells {slot.cells}")


def _check_operands(operands: Sequence[Operand], defined: set[int], where: str) -> None:
    for operand in operands:
        if isinstance(operand, Ref) and operand.index not in defined:
            raise ValueError(f"{where}: %{operand.index} is not defined before it")
        if isinstance(operand, np.ndarray) and (operand.ndim != 5 or operand.shape[4] != 1):
            raise ValueError(f"{where}: a constant of shape {operand.shape}; five axes, the last of length 1, are needed")


def shape_of(operand: Operand) -> Shape:
    return operand.shape if isinstance(operand, Ref) else operand.shape[:4]


def array_of(operand: Operand) -> Known:
    """The array of an operand that is known."""
    assert isinstance(operand, np.ndarray)
    return operand


def kind_of_operand(operand: Operand) -> str:
    if isinstance(operand, Ref):
        return operand.kind
    return {"b": "mask", "u": "tag"}.get(operand.dtype.kind, "number")


def broadcast_shape(shapes: Sequence[Shape]) -> Shape:
    shape = np.broadcast_shapes(*shapes)
    return (shape[0], shape[1], shape[2], shape[3])


def interval_of(operand: Operand) -> Interval:
    if isinstance(operand, Ref):
        return operand.interval
    if operand.size == 1:
        value = float(operand.flat[0])
        return EVERYTHING if math.isnan(value) else (value, value)
    low, high = float(operand.min()), float(operand.max())
    return EVERYTHING if math.isnan(low) or math.isnan(high) else (low, high)


def narrowed(operand: Operand, low: float, high: float) -> Operand:
    """The same operand, known to lie in [low, high] where it matters."""
    if not isinstance(operand, Ref):
        return operand
    return evolve(operand, interval=(max(low, operand.interval[0]), min(high, operand.interval[1])))


def constant(value: float) -> Known:
    return np.full((1, 1, 1, 1, 1), value, dtype=np.float64)


# Intervals: what each op makes of its operands' intervals. Ops that are not listed give EVERYTHING.
# They speak of numbers: a NaN arises only where a tag says error, and there nobody asks what a mask says.


def _corners(function: Callable[[float, float], float]) -> Callable[[Interval, Interval], Interval]:
    def rule(x: Interval, y: Interval) -> Interval:
        values = [function(a, b) for a in x for b in y]
        return EVERYTHING if any(math.isnan(value) for value in values) else (min(values), max(values))

    return rule


def _product(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _quotient(x: Interval, y: Interval) -> Interval:
    if y[0] <= 0 <= y[1]:
        return EVERYTHING
    return _corners(lambda a, b: a / b)(x, y)


def _monotone(function: Callable[[float], float]) -> Callable[[Interval], Interval]:
    """One unit in the last place of slack, since libraries differ there."""

    def rule(x: Interval) -> Interval:
        try:
            low, high = function(x[0]), function(x[1])
        except (ValueError, OverflowError):
            return EVERYTHING
        return math.nextafter(low, -math.inf), math.nextafter(high, math.inf)

    return rule


def _exp(x: Interval) -> Interval:
    return math.exp(min(x[0], 709.0)) * (1 - 1e-15), math.exp(x[1]) * (1 + 1e-15) if x[1] < 709 else math.inf


def _expm1(x: Interval) -> Interval:
    low, high = (math.expm1(min(bound, 709.0)) for bound in x)
    return low - 1e-14 * abs(low), high + 1e-14 * abs(high) if x[1] < 709 else math.inf


def _modulo(x: Interval, y: Interval) -> Interval:
    """Where x / y rounds to the next whole number, the rest passes its bound by the rounding error of x."""
    if y[0] <= 0 <= y[1] or not math.isfinite(max(_magnitude(x)) / min(_magnitude(y))):
        return EVERYTHING
    slack = 2.0**-51 * max(abs(bound) for bound in (*x, *y))
    return min(0.0, y[0]) - slack, max(0.0, y[1]) + slack


def _sum(x: Interval, cells: int) -> Interval:
    low, high = _product(x[0], cells), _product(x[1], cells)
    return low - _product(abs(low), cells * 2.0**-52), high + _product(abs(high), cells * 2.0**-52)


def _power(x: Interval, y: Interval) -> Interval:
    if x[0] <= 0:
        return EVERYTHING
    try:
        values = [a**b for a in x for b in y]
    except OverflowError:
        return 0.0, math.inf
    return (min(values) * (1 - 1e-15), max(values) * (1 + 1e-15)) if all(map(math.isfinite, values)) else (0.0, math.inf)


def _magnitude(x: Interval) -> Interval:
    return (0.0 if x[0] <= 0 <= x[1] else min(abs(x[0]), abs(x[1])), max(abs(x[0]), abs(x[1])))


def _outward(x: Interval) -> Interval:
    return float(np.floor(x[0])), float(np.ceil(x[1]))


def _hull(*intervals: Interval) -> Interval:
    return min(low for low, _ in intervals), max(high for _, high in intervals)


def _keep(*intervals: Interval) -> Interval:
    return intervals[-1]


INTERVALS: dict[str, Callable[..., Interval]] = {
    "uniform": lambda: (2.0**-53, 1 - 2.0**-53),
    "iteration": lambda: (0.0, 2.0**62),
    "select": lambda _, yes, no: _hull(yes, no),
    "add": lambda x, y: (x[0] + y[0], x[1] + y[1]),
    "sub": lambda x, y: (x[0] - y[1], x[1] - y[0]),
    "mul": _corners(_product),
    "div": _quotient,
    "snap": lambda result, x, y: _hull(result, (0.0, 0.0)),
    "neg": lambda x: (-x[1], -x[0]),
    "abs": _magnitude,
    "sign": lambda x: (-1.0, 1.0),
    "min": lambda x, y: (min(x[0], y[0]), min(x[1], y[1])),
    "max": lambda x, y: (max(x[0], y[0]), max(x[1], y[1])),
    "power": _power,
    "sqrt": _monotone(math.sqrt),
    "modulo": _modulo,
    "floor": _outward,
    "ceil": _outward,
    "trunc": _outward,
    "round_half": _outward,
    "mend": _outward,
    "exp": _exp,
    "expm1": _expm1,
    "log": _monotone(math.log),
    "log1p": _monotone(math.log1p),
    "log10": _monotone(math.log10),
    "sin": lambda x: (-1.0, 1.0) if math.isfinite(x[0] + x[1]) else EVERYTHING,
    "cos": lambda x: (-1.0, 1.0) if math.isfinite(x[0] + x[1]) else EVERYTHING,
    "tanh": lambda x: (-1.0, 1.0),
    "atan": lambda x: (-1.5707963267948968, 1.5707963267948968),
    "atan2": lambda y, x: (-3.1415926535897936, 3.1415926535897936),
    "erf": lambda x: (-1.0, 1.0),
    "erfc": lambda x: (0.0, 2.0),
    "normal_cdf": lambda x: (0.0, 1.0),
    "normal_quantile": lambda u: (-8.3, 8.3) if u[0] >= 2.0**-53 and u[1] <= 1 - 2.0**-53 else EVERYTHING,
    "permute": lambda x: (min(x[0], -8.3), max(x[1], 8.3)),
    "minimum": _keep,
    "maximum": _keep,
    "window": _keep,
    "transpose": _keep,
    "as_array": _keep,
    "sort": _keep,
    "gather": _keep,
    "join": _hull,
}


def interval_of_result(op: str, intervals: Sequence[Interval], shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> Interval:
    """Where the numbers lie that an op makes of operands of those intervals and shapes."""
    if op == "piecewise":
        interval: Interval = attributes["pieces"].interval
        return interval
    if op == "sum":
        return _sum(intervals[0], math.prod(shapes[0][2:]))
    if op == "segment_sum":
        low, high = _sum(intervals[0], attributes["segments"].longest)
        return min(0.0, low), max(0.0, high)
    if op in ("count", "search", "first_true", "last_true"):
        return -1.0, float(max(math.prod(shape[2:]) for shape in shapes))
    rule = INTERVALS.get(op)
    if rule is None:
        return EVERYTHING
    low, high = rule(*intervals)
    return EVERYTHING if math.isnan(low) or math.isnan(high) else (low, high)


def _equal(x: Interval, y: Interval) -> bool | None:
    return False if x[1] < y[0] or y[1] < x[0] else None


def _near(x: Interval, y: Interval) -> bool | None:
    slack = 2.0**-48 * max(abs(bound) for bound in (*x, *y))
    return False if x[1] + slack < y[0] or y[1] + slack < x[0] else None


def _less(x: Interval, y: Interval) -> bool | None:
    return True if x[1] < y[0] else False if x[0] >= y[1] else None


def _less_equal(x: Interval, y: Interval) -> bool | None:
    return True if x[1] <= y[0] else False if x[0] > y[1] else None


def _is_finite(x: Interval) -> bool | None:
    return True if x[0] >= -LARGEST and x[1] <= LARGEST else None


DECISIONS: dict[str, Callable[..., bool | None]] = {
    "equal": _equal,
    "near": _near,
    "less": _less,
    "less_equal": _less_equal,
    "is_finite": _is_finite,
}


def decided(mask: Operand) -> bool | None:
    """True or False where a mask is the same everywhere, else None."""
    if isinstance(mask, Ref):
        return None
    if mask.size == 1:
        return bool(mask.flat[0])
    return True if mask.all() else None if mask.any() else False


class Builder:
    """Emits instructions, folding what is known. `cell` is the region that the next instructions belong to."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.cell: RangeRef | None = None
        self._next = 0
        self._seen: dict[tuple[Any, ...], Ref] = {}
        self._made: dict[int, Instruction] = {}

    def emit(self, op: str, *operands: Operand | float, **attributes: Any) -> Operand:
        """The result of one op: an array where all operands are known, else a reference to a new instruction.

        Call it under ``numpy.errstate(all="ignore")``: overflow and invalid operations are outcomes.
        """
        values = tuple(operand if isinstance(operand, (np.ndarray, Ref)) else constant(operand) for operand in operands)
        if values and not any(isinstance(value, Ref) for value in values):
            return self._fold(op, values, attributes)
        if OPS[op].shape == "elementwise" and (split := self._part_by_part(op, values, attributes)) is not None:
            return split
        simpler = _SIMPLER.get(op)
        if simpler is not None:
            result = simpler(*values)
            if result is not None:
                return result
        undone = _UNDONE.get(op)
        if undone is not None:
            result = undone(self, values, attributes)
            if result is not None:
                return result
        if op in DECISIONS:
            verdict = DECISIONS[op](*(interval_of(value) for value in values))
            if verdict is not None:
                return _everywhere(verdict, broadcast_shape([shape_of(value) for value in values]))
        return self.append(op, *values, **attributes)

    def _part_by_part(self, op: str, values: tuple[Operand, ...], attributes: dict[str, Any]) -> Operand | None:
        """An elementwise op on arrays that were joined: once for each part, so that nothing is put together for it."""
        arrays = [value for value in values if shape_of(value)[2:] != (1, 1)]
        join = next((join for value in arrays if (join := self.maker(value)) is not None and join.op == "join"), None)
        if join is None:
            return None
        rows = [self._parts_like(value, join) for value in values]
        if any(row is None for row in rows):
            return None
        results = [self.emit(op, *parts, **attributes) for parts in zip(*(row for row in rows if row is not None), strict=True)]
        return self.emit("join", *results, **join.attributes)

    def _parts_like(self, value: Operand, join: Instruction) -> Sequence[Operand] | None:
        """The parts of a value that lie where those of a join do; None where it was not made so."""
        if shape_of(value)[2:] == (1, 1):
            return [value] * len(join.operands)
        if isinstance(value, np.ndarray) and value.shape[2:4] == join.attributes["size"]:
            corners = zip(join.attributes["places"], (shape_of(part)[2:] for part in join.operands), strict=True)
            return [value[:, :, top : top + height, left : left + width] for (top, left), (height, width) in corners]
        other, parts = self.maker(value), self.line(value)
        if other is None or parts is None or other.attributes != join.attributes:
            return None
        return parts if [shape_of(part)[2:] for part in parts] == [shape_of(part)[2:] for part in join.operands] else None

    def parameter(self, shape: Shape, kind: str = "number", interval: Interval = EVERYTHING) -> Ref:
        """A value that a body is given at each step."""
        self._next += 1
        return Ref(self._next - 1, shape, kind, interval)

    def emit_body(self, op: str, operands: Sequence[Operand], results: Sequence[Ref], **attributes: Any) -> tuple[Ref, ...]:
        """A `loop` or `repeat`: the caller made the body with `inside` and the results with `parameter`."""
        self.add(Instruction(op, tuple(operands), tuple(results), self.cell, attributes))
        return tuple(results)

    def add(self, instruction: Instruction) -> None:
        """An instruction as it stands, made elsewhere."""
        self.instructions.append(instruction)

    def inside(self) -> BodyBuilder:
        """A builder for a body: same numbering, its own instructions."""
        return BodyBuilder(self)

    def fresh(self) -> int:
        self._next += 1
        return self._next - 1

    def _fold(self, op: str, values: tuple[Operand, ...], attributes: dict[str, Any]) -> Known:
        result: Known = array.implementation(op)(*values, **attributes)
        return result

    def append(self, op: str, *values: Operand, **attributes: Any) -> Ref:
        """An instruction as it stands: neither folded nor simplified, but not made twice."""
        key = (op, tuple(identity(value) for value in values), tuple(sorted(attributes.items())))
        known = self._seen.get(key)
        if known is not None:
            return known
        shape = result_shape(op, values, attributes)
        kind = result_kind(op, values, attributes)
        interval = EVERYTHING
        if kind == "number":
            interval = interval_of_result(op, [interval_of(value) for value in values], [shape_of(value) for value in values], attributes)
        ref = Ref(self.fresh(), shape, kind, interval)
        self.instructions.append(Instruction(op, values, (ref,), self.cell, attributes))
        self._seen[key] = ref
        self._made[ref.index] = self.instructions[-1]
        return ref

    def maker(self, value: Operand) -> Instruction | None:
        """The instruction that made a value."""
        return self._made.get(value.index) if isinstance(value, Ref) else None

    def made_by(self, op: str, value: Operand) -> tuple[Operand, ...] | None:
        """The operands of the instruction that made a value, if it was this op."""
        instruction = self.maker(value)
        return instruction.operands if instruction is not None and instruction.op == op else None

    def line(self, value: Operand) -> tuple[Operand, ...] | None:
        """The parts, in their order, of an array that was joined of few parts: single cells, or pieces of one row or column."""
        join = self.maker(value)
        if join is None or join.op != "join" or len(join.operands) > MOST_PARTS:
            return None
        return join.operands if join.attributes["places"] == _in_line(join.operands, join.attributes["size"]) else None


def _in_line(parts: Sequence[Operand], size: tuple[int, int]) -> tuple[tuple[int, int], ...] | None:
    """The corners of parts that fill an array row by row."""
    height, width = size
    shapes = [shape_of(part)[2:] for part in parts]
    if 1 in size:
        starts = list(accumulate((max(shape) for shape in shapes), initial=0))[:-1]
        return tuple((start, 0) if width == 1 else (0, start) for start in starts)
    return tuple((row, column) for row in range(height) for column in range(width)) if set(shapes) == {(1, 1)} else None


Grow = Callable[[Builder, str, tuple[Operand | float, ...], Mapping[str, Any]], Operand]


def _cannot_grow(builder: Builder, op: str, operands: tuple[Operand | float, ...], attributes: Mapping[str, Any]) -> Operand:
    raise ValueError(f"{op} of a growing array outside the loop where it grows")


class BodyBuilder(Builder):
    """What is the same at every step is emitted outside. `local` are the results and parameters that are not.

    `grow` emits what has a `Growing` operand.
    """

    grow: Grow

    def __init__(self, outer: Builder) -> None:
        super().__init__()
        self.cell = outer.cell
        self.local: set[int] = set()
        self.grow = _cannot_grow
        self._outer = outer

    def emit(self, op: str, *operands: Operand | float, **attributes: Any) -> Operand:
        if any(isinstance(operand, Growing) for operand in operands):
            return self.grow(self, op, operands, attributes)
        if not operands or any(isinstance(operand, Ref) and operand.index in self.local for operand in operands):
            return super().emit(op, *operands, **attributes)
        self._outer.cell = self.cell
        return self._outer.emit(op, *operands, **attributes)

    def append(self, op: str, *values: Operand, **attributes: Any) -> Ref:
        ref = super().append(op, *values, **attributes)
        self.local.add(ref.index)
        return ref

    def add(self, instruction: Instruction) -> None:
        super().add(instruction)
        self.local.update(ref.index for ref in instruction.results)

    def fresh(self) -> int:
        return self._outer.fresh()

    def parameter(self, shape: Shape, kind: str = "number", interval: Interval = EVERYTHING) -> Ref:
        ref = self._outer.parameter(shape, kind, interval)
        self.local.add(ref.index)
        return ref

    def maker(self, value: Operand) -> Instruction | None:
        return super().maker(value) or self._outer.maker(value)


def identity(value: Operand) -> tuple[Any, ...]:
    """The same for operands that are the same."""
    if isinstance(value, Ref):
        return (value.index,)
    if value.size == 1:
        return value.dtype.char, value.flat[0].tobytes()
    return ("array", id(value))


def _simpler_select(mask: Operand, yes: Operand, no: Operand) -> Operand | None:
    verdict = decided(mask)
    if verdict is None:
        return None
    chosen = yes if verdict else no
    return _stretched(chosen, broadcast_shape([shape_of(mask), shape_of(yes), shape_of(no)]))


def _simpler_and(x: Operand, y: Operand) -> Operand | None:
    return _absorb(x, y, absorbing=False)


def _simpler_or(x: Operand, y: Operand) -> Operand | None:
    return _absorb(x, y, absorbing=True)


def _absorb(x: Operand, y: Operand, *, absorbing: bool) -> Operand | None:
    shape = broadcast_shape([shape_of(x), shape_of(y)])
    for one, other in ((x, y), (y, x)):
        verdict = decided(one)
        if verdict is absorbing:
            return _everywhere(absorbing, shape)
        if verdict is not None:
            return _stretched(other, shape)
    return None


def _everywhere(verdict: bool, shape: Shape) -> Known:
    """A mask of that shape: a smaller one would be counted wrongly."""
    mask = TRUE if verdict else FALSE
    return mask if shape == (1, 1, 1, 1) else np.broadcast_to(mask, (*shape, 1))


def _stretched(value: Operand, shape: Shape) -> Operand | None:
    """The value in that shape, or None where that takes an instruction."""
    if shape_of(value) == shape:
        return value
    return np.broadcast_to(value, (*shape, 1)) if isinstance(value, np.ndarray) else None


def _simpler_first_error(first: Operand, second: Operand) -> Operand | None:
    shape = broadcast_shape([shape_of(first), shape_of(second)])
    for one, other in ((first, second), (second, first)):
        if isinstance(one, np.ndarray) and one.size == 1 and one.flat[0] < array.FIRST_ERROR:
            return _stretched(other, shape)
    return None


_SIMPLER: dict[str, Callable[..., Operand | None]] = {
    "select": _simpler_select,
    "and": _simpler_and,
    "or": _simpler_or,
    "first_error": _simpler_first_error,
}


# What a reduction does with two cells
PAIRS = {"sum": "add", "product": "mul", "minimum": "min", "maximum": "max", "any": "or", "all": "and", "first_error_of": "first_error"}

# What undoes an instruction just before: each rule gives the operand that the two come back to, or None.


def _undone_not(builder: Builder, values: tuple[Operand, ...], attributes: Mapping[str, Any]) -> Operand | None:
    inner = builder.made_by("not", values[0])
    return inner[0] if inner else None


def _undone_equal(builder: Builder, values: tuple[Operand, ...], attributes: Mapping[str, Any]) -> Operand | None:
    """A mask as 1 or 0, asked whether it is 0."""
    choice = builder.made_by("select", values[0])
    if choice is None or not (_is_number(values[1], 0.0) and _is_number(choice[1], 1.0) and _is_number(choice[2], 0.0)):
        return None
    return builder.emit("not", choice[0])


def _undone_as_array(builder: Builder, values: tuple[Operand, ...], attributes: Mapping[str, Any]) -> Operand | None:
    return values[0] if shape_of(values[0])[:2] == (1, 1) else None


def _undone_window(builder: Builder, values: tuple[Operand, ...], attributes: Mapping[str, Any]) -> Operand | None:
    """A block seen as an array, and cell by cell again; or all of an array."""
    whole = shape_of(values[0])
    wanted = result_shape("window", values, attributes)
    if attributes["top"] or attributes["left"]:
        return None
    if wanted == whole:
        return values[0]
    block = builder.made_by("as_array", values[0])
    return block[0] if block and shape_of(block[0]) == wanted == (*whole[2:], 1, 1) else None


def _undone_reduction(op: str) -> Callable[[Builder, tuple[Operand, ...], Mapping[str, Any]], Operand | None]:
    """One cell is what it comes to; and what was joined of few parts is reduced part after part, in their order."""

    def undone(builder: Builder, values: tuple[Operand, ...], attributes: Mapping[str, Any]) -> Operand | None:
        if shape_of(values[0])[2:] == (1, 1):
            return values[0] if op != "first_error_of" else _first_error(builder, NO_ERROR, values[0])
        parts = builder.line(values[0])
        if parts is None or (len(parts) == 2 and shape_of(parts[0])[2:] == (1, 1) != shape_of(parts[1])[2:]):
            return None
        return reduce(partial(_further, builder, op), parts[1:], builder.emit(op, parts[0]))

    return undone


def _first_error(builder: Builder, so_far: Operand, tag: Operand) -> Operand:
    """Not simplified: a tag of a cell may be of any kind, the result is an error or number."""
    return builder.append("first_error", so_far, tag) if isinstance(tag, Ref) else builder.emit("first_error", so_far, tag)


def _further(builder: Builder, op: str, so_far: Operand, part: Operand) -> Operand:
    """A reduction that goes on over another part."""
    if shape_of(part)[2:] == (1, 1):
        return _first_error(builder, so_far, part) if op == "first_error_of" else builder.emit(PAIRS[op], so_far, part)
    height, width = shape_of(part)[2:]
    size, corner = ((height + 1, 1), (1, 0)) if width == 1 else ((1, width + 1), (0, 1))
    return builder.emit(op, builder.emit("join", so_far, part, size=size, places=((0, 0), corner)))


def _undone_near(builder: Builder, values: tuple[Operand, ...], attributes: Mapping[str, Any]) -> Operand | None:
    """Nothing but 0 is near 0."""
    return builder.emit("equal", *values) if any(_is_number(value, 0.0) for value in values) else None


def _is_number(operand: Operand, number: float) -> bool:
    return isinstance(operand, np.ndarray) and operand.size == 1 and operand.dtype.kind == "f" and float(operand.flat[0]) == number


_UNDONE: dict[str, Callable[[Builder, tuple[Operand, ...], Mapping[str, Any]], Operand | None]] = {
    "not": _undone_not,
    "equal": _undone_equal,
    "as_array": _undone_as_array,
    "window": _undone_window,
    "near": _undone_near,
    **{op: _undone_reduction(op) for op in PAIRS},
}


def result_kind(op: str, operands: Sequence[Operand], attributes: Mapping[str, Any]) -> str:
    """ "number", "mask" or "tag"."""
    if op == "scalar_call" and attributes.get("part") == "tag":
        return "tag"
    kind = OPS[op].kind
    return kind_of_operand(operands[-1]) if kind == "same" else kind


def result_shape(op: str, operands: Sequence[Operand], attributes: Mapping[str, Any]) -> Shape:
    """The cell shape that follows from the op's shape rule."""
    shapes = [shape_of(operand) for operand in operands]
    rule = OPS[op].shape
    if rule == "elementwise":
        return broadcast_shape(shapes)
    if rule == "reduce":
        return (*shapes[0][:2], 1, 1)
    if rule == "segments":
        return attributes["segments"].rows, attributes["segments"].columns, 1, 1
    if rule == "window":
        rows = attributes["rows"] if attributes["row_step"] else 1
        columns = attributes["columns"] if attributes["column_step"] else 1
        return rows, columns, attributes["height"], attributes["width"]
    if rule == "transpose":
        rows, columns, height, width = shapes[0]
        if op == "as_array":
            return (1, 1, rows, columns) if (height, width) == (1, 1) else shapes[0]
        return rows, columns, width, height
    if rule == "join":
        blocks = np.broadcast_shapes(*(shape[:2] for shape in shapes))
        return (blocks[0], blocks[1], *attributes["size"])
    if rule == "gather":
        blocks = np.broadcast_shapes(shapes[0][:2], shapes[1][:2])
        return (blocks[0], blocks[1], *shapes[0][2:])
    if rule == "search":
        blocks = np.broadcast_shapes(shapes[0][:2], shapes[1][:2])
        return (blocks[0], blocks[1], *shapes[0][2:])
    if rule in ("sort", "tied"):
        return shapes[0]
    shape: Shape = attributes["shape"]
    return shape


def _lines(instructions: Sequence[Instruction], indent: str) -> list[str]:
    lines = []
    for instruction in instructions:
        names = ", ".join(f"%{ref.index}" for ref in instruction.results)
        operands = " ".join(_name(operand) for operand in instruction.operands)
        text = f"{indent}{names} = {instruction.op} {operands}{_attribute_text(instruction.attributes)}"
        lines.append(f"{text:<60} # {instruction.cell}  {_shape_text(instruction.result.shape)}".rstrip())
        if "body" in instruction.attributes:
            body = instruction.attributes["body"]
            lines.append(f"{indent}    given {', '.join(f'%{ref.index}' for ref in body.parameters)}")
            lines += _lines(body.instructions, indent + "    ")
            lines.append(f"{indent}    yield {' '.join(_name(operand) for operand in body.results)}")
    return lines


def _name(operand: Operand) -> str:
    if isinstance(operand, Ref):
        return f"%{operand.index}"
    if operand.size <= 4:
        text = " ".join(f"{value:.12g}" if operand.dtype.kind == "f" else str(value) for value in operand.flat)
        return text if operand.size == 1 else f"[{text}]"
    first, last = operand.flat[0], operand.flat[-1]
    return (
        f"[{first:.6g} … {last:.6g}; {_shape_text(shape_of(operand))}]"
        if operand.dtype.kind == "f"
        else f"[{_shape_text(shape_of(operand))} {operand.dtype}]"
    )


def _attribute_text(attributes: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in attributes.items() if name not in ("body", "function", "shape", "texts")}
    return "".join(f" {name}={value}" for name, value in shown.items())


def _shape_text(shape: Shape) -> str:
    block, cells = f"{shape[0]}×{shape[1]}", f"{shape[2]}×{shape[3]}"
    return block if cells == "1×1" else f"{block} of {cells}"


def _slot_name(slot: Slot) -> str:
    return f"input {slot.label.removeprefix(HIDDEN)}" if slot.label.startswith(HIDDEN) else f"output {slot.label}"


def _tag_text(slot: Slot) -> str:
    return "" if isinstance(slot.tag, int) else f" tag {_name(slot.tag)}"
