"""The NumPy engine: always there, and the run-time reference of the others.

A program becomes a list of steps over buffers that are reused as soon as nothing reads them any more. Ufuncs write into
them with ``out=``. Its limits are Python's: one ufunc call per instruction and chunk, and one interpreter lock, which is
why chunks are large.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ultramc.engines import array
from ultramc.engines.base import CANONICAL_BLOCK, Availability, Chunk, Engine, Job, available_cores
from ultramc.ops import OPS
from ultramc.program import Body, Instruction, Operand, Program, Ref, Shape
from ultramc.sampling import Site, fill_uniforms

WORKING_SET = 4 * 2**20  # bytes of buffers a thread should keep in cache
LARGEST_CHUNK = 4  # canonical blocks; measured: longer chunks gain nothing (benchmarks/test_engine.py)
VIEWS = frozenset({"window", "transpose", "as_array"})
DTYPES = {"number": np.float64, "mask": np.bool_, "tag": np.uint8}

Values = dict[int, NDArray[Any]]


@frozen(eq=False)
class Step:
    """An instruction with the buffer for its result (-1: none) and the values that nobody needs afterwards."""

    instruction: Instruction
    buffer: int
    done: tuple[int, ...]


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
    store: threading.local = field(factory=threading.local)

    def arrays(self, count: int) -> list[NDArray[Any]]:
        """This thread's buffers for a chunk of `count` iterations; kept from chunk to chunk."""
        if getattr(self.store, "count", None) != count:
            self.store.count = count
            self.store.arrays = [np.empty(buffer.cells * count, dtype=buffer.dtype) for buffer in self.buffers]
        arrays: list[NDArray[Any]] = self.store.arrays
        return arrays


class NumPyEngine(Engine):
    """`threads`: at once (default: the cores of this process); `blocks`: canonical blocks in a chunk (default: as fits in cache)."""

    name = "numpy"
    supports = frozenset(OPS)

    def __init__(self, *, threads: int | None = None, blocks: int | None = None) -> None:
        self._threads = threads or available_cores()
        self._blocks = blocks

    def availability(self) -> Availability:
        return Availability(True)

    def compile(self, program: Program) -> Plan:
        self.refuse_unsupported(program)
        program.check_legal()
        return planned(program)

    def run(self, executable: Plan, job: Job, first: int, count: int) -> Chunk:
        run = _Run(executable, job, first, count)
        with np.errstate(all="ignore"):
            run.steps()
        return run.chunk()

    def bytes_per_iteration(self, executable: Plan) -> int:
        return sum(buffer.cells * np.dtype(buffer.dtype).itemsize for buffer in executable.buffers) + 64

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
    last = _last_uses(program)
    ends: dict[int, list[int]] = defaultdict(list)
    for index, position in last.items():
        ends[position].append(index)
    pool = _Pool()
    steps = []
    for position, instruction in enumerate(program.instructions):
        dying = tuple(ends.get(position, ()))
        buffer = _assigned(pool, instruction, dying)
        pool.release(dying)
        steps.append(Step(instruction, buffer, dying))
    return Plan(program, tuple(steps), tuple(pool.buffers))


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

    def release(self, indexes: Sequence[int]) -> None:
        for index in indexes:
            number = self.held.pop(index, None)
            if number is not None:
                buffer = self.buffers[number]
                self._free[buffer.cells, buffer.dtype].append(number)


def _assigned(pool: _Pool, instruction: Instruction, dying: Sequence[int]) -> int:
    """A ufunc may write over an operand that it is the last to read; other steps may not."""
    if instruction.op in VIEWS or instruction.op in _BODIES or (instruction.op not in _WRITERS and instruction.op not in array.UFUNCS):
        return -1
    if instruction.op in array.UFUNCS and instruction.op not in _WRITERS:
        same = [o.index for o in instruction.operands if isinstance(o, Ref) and o.shape == instruction.result.shape and o.index in dying]
        pool.release(same)
    return pool.take(instruction.result)


def _last_uses(program: Program) -> dict[int, int]:
    """For each value the position of the last instruction that reads it or a view of it."""
    roots: dict[int, int] = {}
    last: dict[int, int] = {}
    for position, instruction in enumerate(program.instructions):
        read = _read_by(instruction)
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


def _read_by(instruction: Instruction) -> list[int]:
    read = [operand.index for operand in instruction.operands if isinstance(operand, Ref)]
    if "body" in instruction.attributes:
        body: Body = instruction.attributes["body"]
        for inner in body.instructions:
            read += _read_by(inner)
        read += [operand.index for operand in body.results if isinstance(operand, Ref)]
    return read


# Execution


class _Run:
    """One chunk on one thread."""

    def __init__(self, plan: Plan, job: Job, first: int, count: int) -> None:
        self.plan = plan
        self.job = job
        self.first, self.count = first, count
        self.values: Values = {}
        self.buffers = plan.arrays(count)

    def steps(self) -> None:
        for step in self.plan.steps:
            self._step(step)

    def _step(self, step: Step) -> None:
        instruction = step.instruction
        out = None
        if step.buffer >= 0:
            out = self.buffers[step.buffer].reshape(*instruction.result.shape, self.count)
        self.carry_out(instruction, self.values, out)
        for index in step.done:
            self.values.pop(index, None)

    def carry_out(self, instruction: Instruction, values: Values, out: NDArray[Any] | None = None) -> None:
        """One instruction; without a buffer a ufunc makes an array of its own."""
        op = instruction.op
        if op in _BODIES:
            results = _BODIES[op](self, instruction, values)
            values.update((ref.index, result) for ref, result in zip(instruction.results, results, strict=True))
            return
        operands = [values[o.index] if isinstance(o, Ref) else o for o in instruction.operands]
        if op in _WRITERS:
            out = np.empty((*instruction.result.shape, self.count), DTYPES[instruction.result.kind]) if out is None else out
            result = _WRITERS[op](self, instruction, operands, out)
        elif op in array.UFUNCS:
            result = getattr(np, array.UFUNCS[op])(*operands, out=out)
        else:
            result = array.implementation(op)(*operands, **instruction.attributes)
        values[instruction.result.index] = result

    def chunk(self) -> Chunk:
        slots = self.plan.program.outputs
        payloads = tuple(self._cells(slot.payload, slot.cells.height, slot.cells.width, np.float64) for slot in slots)
        tags = tuple(None if isinstance(slot.tag, int) else self._cells(slot.tag, slot.cells.height, slot.cells.width, np.uint8) for slot in slots)
        return Chunk(self.first, self.count, payloads, tags)

    def _cells(self, operand: Operand, height: int, width: int, dtype: Any) -> NDArray[Any]:
        """An output as its own array (cells, count)."""
        value = self.values[operand.index] if isinstance(operand, Ref) else operand
        flat = np.broadcast_to(value, (1, 1, height, width, self.count)).reshape(height * width, self.count)
        return np.array(flat, dtype=dtype)


def _uniform(run: _Run, instruction: Instruction, operands: Sequence[NDArray[Any]], out: NDArray[Any]) -> NDArray[Any]:
    site: Site = instruction.attributes["site"]
    rows, columns = instruction.result.shape[:2]
    for row in range(rows):
        for column in range(columns):
            place = Site(site.sheet, site.row + row, site.column + column, site.k)
            fill_uniforms(run.job.seed, place, run.first, out[row, column, 0, 0])
    return out


def _iteration(run: _Run, instruction: Instruction, operands: Sequence[NDArray[Any]], out: NDArray[Any]) -> NDArray[Any]:
    out[:] = np.arange(run.first, run.first + run.count)
    return out


def _select(run: _Run, instruction: Instruction, operands: Sequence[NDArray[Any]], out: NDArray[Any]) -> NDArray[Any]:
    mask, yes, no = operands
    np.copyto(out, no)
    np.copyto(out, yes, where=mask)
    return out


def _accumulated(ufunc: Callable[..., Any]) -> Callable[..., NDArray[Any]]:
    def reduce(run: _Run, instruction: Instruction, operands: Sequence[NDArray[Any]], out: NDArray[Any]) -> NDArray[Any]:
        x = operands[0]
        total = out[:, :, 0, 0]
        np.copyto(total, x[:, :, 0, 0])
        for index in range(1, x.shape[2] * x.shape[3]):
            ufunc(total, x[:, :, index // x.shape[3], index % x.shape[3]], out=total)
        return out

    return reduce


SHORTCUTS = ((-1.0, np.reciprocal), (0.5, np.sqrt), (2.0, np.square))


def _power(run: _Run, instruction: Instruction, operands: Sequence[NDArray[Any]], out: NDArray[Any]) -> NDArray[Any]:
    """NumPy takes these shortcuts only where its inner loop sees one exponent, which depends on the chunk: always taken, they do not."""
    x, y = operands
    np.power(x, y, out=out)
    for exponent, shortcut in SHORTCUTS:
        mask = np.equal(y, exponent)
        if mask.any():
            shortcut(x, out=out, where=mask)
    return out


def _special(run: _Run, instruction: Instruction, operands: Sequence[NDArray[Any]], out: NDArray[Any]) -> NDArray[Any]:
    array.special_function(instruction.op)(*operands, out=out)
    return out


_WRITERS: dict[str, Callable[..., NDArray[Any]]] = {
    "uniform": _uniform,
    "iteration": _iteration,
    "select": _select,
    "sum": _accumulated(np.add),
    "product": _accumulated(np.multiply),
    "power": _power,
    **dict.fromkeys(array.SPECIAL, _special),
}


def _body(run: _Run, body: Body, parameters: Sequence[NDArray[Any]], values: Values) -> list[NDArray[Any]]:
    inner = dict(values)
    inner.update((ref.index, value) for ref, value in zip(body.parameters, parameters, strict=True))
    for instruction in body.instructions:
        run.carry_out(instruction, inner)
    return [inner[operand.index] if isinstance(operand, Ref) else operand for operand in body.results]


def _operands(instruction: Instruction, values: Values) -> list[NDArray[Any]]:
    return [values[o.index] if isinstance(o, Ref) else o for o in instruction.operands]


def _loop(run: _Run, instruction: Instruction, values: Values) -> list[NDArray[Any]]:
    """The body once per step along an axis of the block."""
    body, axis = instruction.attributes["body"], instruction.attributes["axis"]
    operands = _operands(instruction, values)
    carried, cut = operands[: instruction.attributes["carries"]], operands[instruction.attributes["carries"] :]
    yields: list[list[NDArray[Any]]] = []
    for step in range(instruction.attributes["steps"]):
        slices = [_cut(part, axis, step) for part in cut]
        results = _body(run, body, [*carried, *slices], values)
        carried = results[: len(carried)]
        yields.append(results[len(carried) :])
    joined = [np.concatenate([_full(part, run.count) for part in parts], axis=axis) for parts in zip(*yields, strict=True)]
    return [*map(np.array, carried), *joined]  # copies: what is carried may be a view of a buffer that is given away


def _cut(part: NDArray[Any], axis: int, step: int) -> NDArray[Any]:
    """A view; an axis of length one serves every step."""
    at = step if part.shape[axis] > 1 else 0
    return part[at : at + 1] if axis == 0 else part[:, at : at + 1]


def _full(part: NDArray[Any], count: int) -> NDArray[Any]:
    return np.broadcast_to(part, (*part.shape[:4], count))


def _repeat(run: _Run, instruction: Instruction, values: Values) -> list[NDArray[Any]]:
    """The body until every lane is done, each lane frozen when it is."""
    body = instruction.attributes["body"]
    shape: Shape = instruction.results[-1].shape
    state = _operands(instruction, values)
    done = np.zeros((*shape, run.count), dtype=bool)
    for _ in range(instruction.attributes["limit"]):
        if done.all():
            break
        *following, finished = _body(run, body, state, values)
        state = [np.where(done, old, new) for old, new in zip(state, following, strict=True)]
        done = done | finished
    return [*(np.array(np.broadcast_to(value, done.shape)) for value in state), done]


def _scalar_call(run: _Run, instruction: Instruction, values: Values) -> list[NDArray[Any]]:
    """A Python function of each element: payload or tag of what it returns, as the attribute `part` says."""
    from ultramc.functions.kit import Kit, Value, called, tag_of
    from ultramc.program import Builder

    attributes = instruction.attributes
    kit = Kit(Builder(), attributes["texts"])
    operands = _operands(instruction, values)
    shape = (*attributes["shape"], run.count)
    columns = []
    for payload, tag in zip(operands[::2], operands[1::2], strict=True):
        full = Value(np.broadcast_to(payload, shape), np.broadcast_to(tag, shape))
        columns.append(kit.scalars(full))
    results = [called(attributes["function"], row) for row in zip(*columns, strict=True)]
    value = kit.from_scalars(results, (*shape[:3], shape[3] * shape[4]))
    chosen = np.broadcast_to(tag_of(value), value.payload.shape) if attributes.get("part") == "tag" else value.payload  # type: ignore[union-attr]
    return [np.asarray(chosen).reshape(shape)]


_BODIES: dict[str, Callable[[_Run, Instruction, Values], list[NDArray[Any]]]] = {"loop": _loop, "repeat": _repeat, "scalar_call": _scalar_call}
