"""The NumPy engine: always there, and the run-time reference of the others.

A program becomes a list of calls that are bound to buffers once per thread; running a chunk is calling them in order.
Buffers are reused as soon as nothing reads them any more, and ufuncs write into them with ``out=``. Its limits are
Python's: one call per instruction and chunk, and one interpreter lock, which is why chunks are large.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ultramc.engines import array
from ultramc.engines.base import CANONICAL_BLOCK, Availability, Chunk, Engine, Job
from ultramc.ops import OPS
from ultramc.program import Body, Instruction, Operand, Program, Ref, Shape, Slot, array_of, interval_of
from ultramc.sampling import Site, restored
from ultramc.values import ERROR_KINDS

if TYPE_CHECKING:
    from ultramc.distributions.chebyshev import Pieces

WORKING_SET = 16 * 2**20  # bytes of buffers of one thread; beyond, longer chunks cost more than they save
LARGEST_CHUNK = 8  # canonical blocks; both measured: benchmarks/test_engine.py
VIEWS = frozenset({"window", "transpose", "as_array"})
ERROR_TAG = np.full(1, array.FIRST_ERROR)
DTYPES: dict[str, Any] = {"number": np.float64, "mask": np.bool_, "tag": np.uint8}

Array = NDArray[Any]
Values = dict[int, Array]
Work = Callable[[], object]


@frozen(eq=False)
class Step:
    """An instruction and the buffer of each of its results; a view has none."""

    instruction: Instruction
    buffers: tuple[int, ...]


@frozen(eq=False)
class Buffer:
    cells: int
    dtype: Any


@frozen(eq=False)
class Plan:
    """An executable of the NumPy engine."""

    program: Program
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    _store: threading.local = field(factory=threading.local)

    def bound(self, count: int) -> _Bound:
        """The calls for a chunk of `count` iterations, bound to this thread's buffers."""
        store = self._store
        if getattr(store, "largest", -1) < count:
            store.largest = count
            store.arrays = [np.empty(buffer.cells * count, dtype=buffer.dtype) for buffer in self.buffers]
            store.bound = {}
        if count not in store.bound:
            if len(store.bound) > 1:  # the full chunk and the last, shorter one
                store.bound.clear()
            store.bound[count] = _Bound(self, store.arrays, count)
        made: _Bound = store.bound[count]
        return made


class NumPyEngine(Engine):
    """`threads` at once; `blocks`: canonical blocks in a chunk (default: as fits in cache).

    One thread is the default, by measurement: every call hands the interpreter lock over, and with two threads on two cores
    a debt schedule of 4,000 instructions took from as long to twenty times as long (benchmarks/test_engine.py). Programs of
    few instructions over large blocks may gain.
    """

    name = "numpy"
    supports = frozenset(OPS)

    def __init__(self, *, threads: int = 1, blocks: int | None = None) -> None:
        self._threads = threads
        self._blocks = blocks

    def availability(self) -> Availability:
        return Availability(True)

    def compile(self, program: Program) -> Plan:
        self.refuse_unsupported(program)
        program.check_legal()
        return planned(program)

    def run(self, executable: Plan, job: Job, first: int, count: int) -> Chunk:
        return executable.bound(count).run(job, first)

    def bytes_per_iteration(self, executable: Plan) -> int:
        return sum(buffer.cells * int(np.dtype(buffer.dtype).itemsize) for buffer in executable.buffers) + 64

    def chunk_blocks(self, executable: Plan) -> int:
        if self._blocks is not None:
            return self._blocks
        fitting = WORKING_SET // (self.bytes_per_iteration(executable) * CANONICAL_BLOCK)
        return max(1, min(LARGEST_CHUNK, fitting))

    @property
    def threads(self) -> int:
        return self._threads


# Planning: which buffer each result goes to


def planned(program: Program) -> Plan:
    ends: dict[int, list[int]] = defaultdict(list)
    for index, position in _last_uses(program).items():
        ends[position].append(index)
    pool = _Pool()
    steps = []
    for position, instruction in enumerate(program.instructions):
        dying = ends.get(position, [])
        pool.release([index for index in _overwritable(instruction) if index in dying])
        buffers = () if instruction.op in VIEWS else tuple(pool.take(ref) for ref in instruction.results)
        pool.release(dying)
        steps.append(Step(instruction, buffers))
    return Plan(program, tuple(steps), tuple(pool.buffers))


def _overwritable(instruction: Instruction) -> list[int]:
    """A ufunc may write over an operand of its result's shape that it is the last to read, `snap` over its first; other work may not."""
    plain = instruction.op in array.UFUNCS and instruction.op not in _WORK
    operands = instruction.operands if plain else instruction.operands[:1] if instruction.op == "snap" else ()
    return [operand.index for operand in operands if isinstance(operand, Ref) and operand.shape == instruction.result.shape]


class _Pool:
    """Buffers by size and type, and which value holds which."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self.held: dict[int, int] = {}
        self._free: dict[tuple[int, Any], list[int]] = defaultdict(list)

    def take(self, ref: Ref) -> int:
        key = (int(np.prod(ref.shape)), DTYPES[ref.kind])
        if self._free[key]:
            number = self._free[key].pop()
        else:
            self.buffers.append(Buffer(*key))
            number = len(self.buffers) - 1
        self.held[ref.index] = number
        return number

    def release(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            number = self.held.pop(index, None)
            if number is not None:
                buffer = self.buffers[number]
                self._free[buffer.cells, buffer.dtype].append(number)


def _last_uses(program: Program) -> dict[int, int]:
    """For each value the position of the last instruction that reads it or a view of it; outputs are read for ever."""
    roots: dict[int, int] = {}
    last: dict[int, int] = {}
    for position, instruction in enumerate(program.instructions):
        read = instruction.reads()
        for index in read:
            last[index] = position
            last[roots.get(index, index)] = position
        if instruction.op in VIEWS and read:
            roots[instruction.result.index] = roots.get(read[0], read[0])
        for ref in instruction.results:
            last.setdefault(ref.index, position)
    for slot in program.outputs:
        for operand in (slot.payload, slot.tag):
            if isinstance(operand, Ref):
                last.pop(operand.index, None)
                last.pop(roots.get(operand.index, operand.index), None)
    return last


# Binding and execution


class _Bound:
    """A plan bound to one thread's buffers for chunks of `count` iterations. `job` and `first` are those of the chunk at hand."""

    def __init__(self, plan: Plan, arrays: Sequence[Array], count: int) -> None:
        self.count = count
        self.job = Job(0, 0)
        self.first = 0
        self.slots = plan.program.outputs
        self.values: Values = {}
        self.work: list[Work] = []
        self._scratch: Array = np.empty(0)
        for step in plan.steps:
            self._bind(step, arrays)

    def _bind(self, step: Step, arrays: Sequence[Array]) -> None:
        instruction = step.instruction
        operands = self._operands(instruction, self.values)
        if instruction.op in VIEWS:
            self.values[instruction.result.index] = array.implementation(instruction.op)(*operands, **instruction.attributes)
            return
        sizes = [int(np.prod(ref.shape)) * self.count for ref in instruction.results]
        outs = [
            arrays[buffer][:size].reshape(*ref.shape, self.count)
            for ref, buffer, size in zip(instruction.results, step.buffers, sizes, strict=True)
        ]
        self.work += self.calls(instruction, operands, outs, self.values)
        self.values.update((ref.index, out) for ref, out in zip(instruction.results, outs, strict=True))

    def scratch(self, size: int) -> Array:
        """Room for a float64 of each element, shared by all calls."""
        if self._scratch.size < size:
            self._scratch = np.empty(size)
        return self._scratch[:size]

    def calls(self, instruction: Instruction, operands: Sequence[Array], outs: Sequence[Array], values: Values) -> Iterable[Work]:
        """What carries out one instruction, writing to `outs`."""
        op, out = instruction.op, outs[0]
        if op in _BODIES:
            return [partial(_BODIES[op], self, instruction, operands, outs, values)]
        if op in _WORK:
            return _WORK[op](self, instruction, operands, out)
        if op in array.UFUNCS:
            return [_ufunc(getattr(np, array.UFUNCS[op]), operands, out)]
        return [partial(_copied, array.implementation(op), operands, instruction.attributes, out)]

    def run(self, job: Job, first: int) -> Chunk:
        self.job, self.first = job, first
        with np.errstate(all="ignore"):
            for call in self.work:
                call()
        payloads = tuple(self._output(slot, slot.payload, np.float64) for slot in self.slots)
        tags = tuple(None if isinstance(slot.tag, int) else self._output(slot, slot.tag, np.uint8) for slot in self.slots)
        return Chunk(first, self.count, payloads, tags)

    def _output(self, slot: Slot, operand: Operand, dtype: Any) -> Array:
        """Its own array (cells, count)."""
        value = self.values[operand.index] if isinstance(operand, Ref) else operand
        height, width = slot.cells.height, slot.cells.width
        whole = np.broadcast_to(value, (1, 1, height, width, self.count))
        return np.array(whole.reshape(height * width, self.count), dtype=dtype)

    def _operands(self, instruction: Instruction, values: Values) -> list[Array]:
        return [values[operand.index] if isinstance(operand, Ref) else operand for operand in instruction.operands]

    def body(self, body: Body, parameters: Sequence[Array], values: Values) -> list[Array]:
        """The results of one step of a `loop` or `repeat`, in arrays of their own."""
        inner = dict(values)
        inner.update((ref.index, value) for ref, value in zip(body.parameters, parameters, strict=True))
        for instruction in body.instructions:
            operands = self._operands(instruction, inner)
            outs = [np.empty((*ref.shape, self.count), DTYPES[ref.kind]) for ref in instruction.results]
            if instruction.op in VIEWS:
                outs = [array.implementation(instruction.op)(*operands, **instruction.attributes)]
            else:
                for call in self.calls(instruction, operands, outs, inner):
                    call()
            inner.update((ref.index, out) for ref, out in zip(instruction.results, outs, strict=True))
        return [inner[operand.index] if isinstance(operand, Ref) else operand for operand in body.results]


def _ufunc(function: Callable[..., Any], operands: Sequence[Array], out: Array) -> Work:
    """A call of a ufunc, in one axis where it can be: NumPy is quickest there."""
    if all(operand.size == 1 or (operand.shape == out.shape and operand.flags.c_contiguous) for operand in operands):
        return partial(function, *(operand.reshape(operand.size) for operand in operands), out=out.reshape(out.size))
    return partial(function, *operands, out=out)


def _copied(function: Callable[..., Array], operands: Sequence[Array], attributes: Mapping[str, Any], out: Array) -> None:
    np.copyto(out, function(*operands, **attributes))


# Ops with work of their own


def _uniform(bound: _Bound, instruction: Instruction, operands: Sequence[Array], out: Array) -> list[Work]:
    site: Site = instruction.attributes["site"]
    rows, columns = instruction.result.shape[:2]
    places = [(Site(site.sheet, site.row + r, site.column + c, site.k), out[r, c, 0, 0]) for r in range(rows) for c in range(columns)]
    return [lambda place=place, part=part: bound.job.fill(place, bound.first, part) for place, part in places]  # type: ignore[misc]


def _permute(bound: _Bound, instruction: Instruction, operands: Sequence[Array], out: Array) -> list[Work]:
    tie, member = instruction.attributes["tie"], instruction.attributes["member"]
    scores = out.reshape(bound.count)

    def work() -> None:
        if bound.job.restores_strata:
            restored(bound.job, tie, member, bound.first, scores)
        else:
            np.copyto(out, operands[0])

    return [work]


def _iteration(bound: _Bound, instruction: Instruction, operands: Sequence[Array], out: Array) -> list[Work]:
    return [lambda: np.copyto(out, np.arange(bound.first, bound.first + bound.count))]


def _select(bound: _Bound, instruction: Instruction, operands: Sequence[Array], out: Array) -> list[Work]:
    mask, yes, no = operands
    return [partial(np.copyto, out, no), partial(np.copyto, out, yes, where=mask)]


def _snap(bound: _Bound, instruction: Instruction, operands: Sequence[Array], out: Array) -> list[Work]:
    """Nearly always nothing is small enough to be snapped, which the operands' intervals tell by one look at the result."""
    largest = max(abs(side) for operand in instruction.operands[1:] for side in interval_of(operand))
    threshold = 2.0**-49 * largest
    sizes = bound.scratch(out.size)
    in_place = operands[0].ctypes.data == out.ctypes.data

    def work() -> None:
        if not in_place:
            np.copyto(out, operands[0])
        np.abs(out.reshape(out.size), out=sizes)
        if not sizes.min(initial=np.inf) > threshold:
            np.copyto(out, array.evaluate("snap", out, *operands[1:]))

    return [work]


def _accumulated(ufunc: Callable[..., Any]) -> Callable[..., list[Work]]:
    """A reduction that takes one cell after the other, whatever the number of iterations."""

    def reduction(bound: _Bound, instruction: Instruction, operands: Sequence[Array], out: Array) -> list[Work]:
        x, total = operands[0], out[:, :, 0, 0]
        cells = [x[:, :, index // x.shape[3], index % x.shape[3]] for index in range(x.shape[2] * x.shape[3])]
        return [partial(np.copyto, total, cells[0]), *(partial(ufunc, total, cell, out=total) for cell in cells[1:])]

    return reduction


def _join(bound: _Bound, instruction: Instruction, operands: Sequence[Array], out: Array) -> list[Work]:
    places = zip(operands, instruction.attributes["places"], strict=True)
    return [partial(np.copyto, out[:, :, top : top + part.shape[2], left : left + part.shape[3]], part) for part, (top, left) in places]


def _special(bound: _Bound, instruction: Instruction, operands: Sequence[Array], out: Array) -> list[Work]:
    return [_ufunc(array.special_function(instruction.op), operands, out)]


def _power(bound: _Bound, instruction: Instruction, operands: Sequence[Array], out: Array) -> list[Work]:
    x, y = operands
    if isinstance(instruction.operands[1], Ref) or y.size > 1:
        return [partial(_copied, array.implementation("power"), operands, instruction.attributes, out)]
    shortcut = array.POWERS.get(float(y.flat[0]))
    return [_ufunc(np.power, operands, out) if shortcut is None else _ufunc(getattr(np, shortcut), [x], out)]


def _kind_is(bound: _Bound, instruction: Instruction, operands: Sequence[Array], out: Array) -> list[Work]:
    kinds = instruction.attributes["kinds"]
    if kinds == ERROR_KINDS:
        return [_ufunc(np.greater_equal, [operands[0], ERROR_TAG], out)]
    if kinds.bit_count() == 1:
        return [_ufunc(np.equal, [operands[0], np.full(1, kinds.bit_length() - 1, np.uint8)], out)]
    return [partial(_copied, array.implementation("kind_is"), operands, instruction.attributes, out)]


def _piecewise(bound: _Bound, instruction: Instruction, operands: Sequence[Array], out: Array) -> list[Work]:
    """Block by block, so that what is between the steps stays in the cache."""
    if any(operand.shape != out.shape or not operand.flags.c_contiguous for operand in operands):
        return [partial(_copied, array.implementation("piecewise"), operands, instruction.attributes, out)]
    pieces = instruction.attributes["pieces"]
    room = bound.scratch(4 * CANONICAL_BLOCK).reshape(4, CANONICAL_BLOCK)
    below, above, results = (x.reshape(x.size) for x in (*operands, out))
    cuts = (slice(start, start + CANONICAL_BLOCK) for start in range(0, out.size, CANONICAL_BLOCK))
    return [partial(_block_of_pieces, pieces, below[cut], above[cut], results[cut], room[:, : results[cut].size]) for cut in cuts]


def _block_of_pieces(pieces: Pieces, below: Array, above: Array, out: Array, room: Array) -> None:
    """`array.EXPRESSIONS["piecewise"]`, step by step."""
    t, part, coefficient = room[:3]
    column, exponent = room[3].view(np.intp), coefficient.view(np.intc)[: t.size]
    np.minimum(below, above, out=t)
    np.clip(t, 2.0**-53, 0.5, out=t)
    np.frexp(t, out=(t, exponent))
    np.multiply(t, 2.0 * pieces.parts, out=t)
    np.floor(t, out=part)
    np.subtract(t, part, out=t)
    np.multiply(t, 2.0, out=t)
    np.subtract(t, 1.0, out=t)
    np.multiply(exponent, pieces.parts, out=exponent)
    np.add(part, exponent, out=part)
    np.add(part, pieces.side - 2 * pieces.parts, out=part)
    np.add(part, pieces.side, out=part, where=above < below)
    np.copyto(column, part, casting="unsafe")
    _horner(pieces.coefficients, column, t, coefficient, out)
    np.maximum(out, pieces.interval[0], out=out)
    np.minimum(out, pieces.interval[1], out=out)


def _horner(coefficients: Array, column: Array, t: Array, coefficient: Array, out: Array) -> None:
    np.take(coefficients[-1], column, out=out, mode="clip")
    for row in coefficients[-2::-1]:
        np.multiply(out, t, out=out)
        np.take(row, column, out=coefficient, mode="clip")  # clipped is quicker; and a NaN is no column
        np.add(out, coefficient, out=out)


_WORK: dict[str, Callable[..., list[Work]]] = {
    "uniform": _uniform,
    "permute": _permute,
    "iteration": _iteration,
    "select": _select,
    "snap": _snap,
    "kind_is": _kind_is,
    "power": _power,
    "piecewise": _piecewise,
    "join": _join,
    "sum": _accumulated(np.add),
    "product": _accumulated(np.multiply),
    "minimum": _accumulated(np.minimum),
    "maximum": _accumulated(np.maximum),
    **dict.fromkeys(array.SPECIAL, _special),
}


# Ops with a body, and Python functions


def _loop(bound: _Bound, instruction: Instruction, operands: Sequence[Array], outs: Sequence[Array], values: Values) -> None:
    """The body once per step along an axis of the block."""
    attributes = instruction.attributes
    carries, axis = attributes["carries"], attributes["axis"]
    carried, cut = list(operands[:carries]), operands[carries:]
    for step in range(attributes["steps"]):
        results = bound.body(attributes["body"], [*carried, *(_cut(part, axis, step) for part in cut)], values)
        carried = results[:carries]
        for whole, part in zip(outs[carries:], results[carries:], strict=True):
            np.copyto(_cut(whole, axis, step), part)
    for out, last in zip(outs, carried, strict=False):
        np.copyto(out, last)


def _cut(part: Array, axis: int, step: int) -> Array:
    """A view; an axis of length one serves every step."""
    at = step if part.shape[axis] > 1 else 0
    return part[at : at + 1] if axis == 0 else part[:, at : at + 1]


def _repeat(bound: _Bound, instruction: Instruction, operands: Sequence[Array], outs: Sequence[Array], values: Values) -> None:
    """The body until every lane is done, each lane frozen when it is."""
    *state, done = outs
    for old, start in zip(state, operands, strict=True):
        np.copyto(old, start)
    done[...] = False
    for _ in range(instruction.attributes["limit"]):
        if done.all():
            return
        *following, finished = bound.body(instruction.attributes["body"], state, values)
        updated = [np.where(done, old, new) for old, new in zip(state, following, strict=True)]
        np.logical_or(done, finished, out=done)
        for old, new in zip(state, updated, strict=True):  # only now: what follows may be made of views of the state
            np.copyto(old, new)


def _scalar_call(bound: _Bound, instruction: Instruction, operands: Sequence[Array], outs: Sequence[Array], values: Values) -> None:
    """A Python function of each element: payload or tag of what it returns, as the attribute `part` says."""
    from ultramc.functions.kit import Kit, Value, called, tag_of
    from ultramc.program import Builder

    attributes = instruction.attributes
    kit = Kit(Builder(), attributes["texts"])
    shape: tuple[int, ...] = (*attributes["shape"], bound.count)
    pairs = zip(operands[::2], operands[1::2], strict=True)
    columns = [kit.scalars(Value(np.broadcast_to(payload, shape), np.broadcast_to(tag, shape))) for payload, tag in pairs]
    results = [called(attributes["function"], row) for row in zip(*columns, strict=True)]
    size: Shape = (1, 1, 1, len(results))
    value = kit.from_scalars(results, size)
    chosen = np.broadcast_to(array_of(tag_of(value)), (*size, 1)) if attributes.get("part") == "tag" else array_of(value.payload)
    np.copyto(outs[0], np.asarray(chosen).reshape(shape))


_BODIES: dict[str, Callable[..., None]] = {"loop": _loop, "repeat": _repeat, "scalar_call": _scalar_call}
