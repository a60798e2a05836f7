"""The NumPy engine: always there, and the run-time reference of the others.

A program becomes a flat list of calls (`numpy_plan`) that are bound to buffers once; running is making them in order. Its
limits are Python's: every call takes its microsecond and the interpreter lock, so it should be long, and what it touches
should be in the cache. A chunk is carried out in runs of as many iterations as suit the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from attrs import define, field, frozen

from ultramc.engines.base import CANONICAL_BLOCK, Availability, Chunk, Engine, Job, empty_chunk
from ultramc.engines.numpy_calls import Array, Work, work_of
from ultramc.engines.numpy_plan import Call, Layout, Place, View, laid_out, live_bytes, scheduled
from ultramc.ops import OPS
from ultramc.program import Instruction, Operand, Program, Ref, Slot

WORKING_SET = 16 * 2**20  # bytes of buffers of one thread; beyond, longer runs cost more than they save
LARGEST_CHUNK = 8  # canonical blocks; both measured: benchmarks/test_engine.py
TILE = 8 * CANONICAL_BLOCK  # elements: long calls, and what a group of instructions touches stays in the cache
MANY_CALLS = 20_000  # of groups: beyond, a tile is several rows of few iterations, for the plan to stay small
PASSED_THROUGH = 128 * 2**20  # bytes of buffers of one thread, those included that are filled part by part
MOST_MEMORY = 512 * 2**20  # bytes of buffers of one thread, where fewer iterations at once can keep to it
SMALLEST_RUN = 64  # iterations; fewer at once would be mere overhead
SCRATCH = 32  # bytes for an element of a call
KEPT = 64 * 2**20  # bytes of buffers that stay for the next run: the first touch of a page may cost more than all work on it


@frozen(eq=False)
class Plan:
    """An executable of the NumPy engine. `iterations`: how many are carried out at once."""

    program: Program
    layout: Layout
    iterations: int
    bytes_per_iteration: int
    _idle: list[_Workspace] = field(factory=list)

    def carrying_out(self, iterations: int) -> Plan:
        """The same plan for another number of iterations at once."""
        return Plan(self.program, self.layout, iterations, self.bytes_per_iteration)

    def run(self, job: Job, first: int, count: int) -> Chunk:
        chunk = empty_chunk(self.program.outputs, first, count)
        workspace = self.workspace()
        for start in range(0, count, self.iterations):
            stop = min(start + self.iterations, count)
            workspace.bound(stop - start).run(job, first + start, chunk, slice(start, stop))
        if workspace.bytes <= KEPT:
            self._idle.append(workspace)
        return chunk

    def workspace(self) -> _Workspace:
        """One that no thread is using."""
        try:
            return self._idle.pop()
        except IndexError:
            return _Workspace(self)


@define(eq=False)
class _Workspace:
    """Buffers of a plan, and its calls bound to them for some numbers of iterations."""

    plan: Plan
    _largest: int = -1
    _arrays: list[Array] = field(factory=list)
    _bound: dict[int, _Bound] = field(factory=dict)

    @property
    def bytes(self) -> int:
        return sum(array.nbytes for array in self._arrays)

    def bound(self, count: int) -> _Bound:
        if self._largest < count:
            self._largest = count
            self._arrays = [np.empty(buffer.cells * count, dtype=buffer.dtype) for buffer in self.plan.layout.buffers]
            self._bound.clear()
        if count not in self._bound:
            if len(self._bound) > 1:  # the full run and the last, shorter one
                self._bound.clear()
            self._bound[count] = _Bound(self.plan, self._arrays, count)
        return self._bound[count]


class NumPyEngine(Engine):
    """`threads` at once; `blocks`: canonical blocks in a chunk (default: as fits in cache).

    `run` and `tile` are for tests and measurements: iterations carried out at once, and cells of a tile.

    One thread is the default, by measurement: every call hands the interpreter lock over. On a debt schedule of 4,000 calls two
    threads on two cores took 1.2 to 1.4 times as long as one in runs of one or two canonical blocks, and gained a fifth in runs of eight.
    """

    name = "numpy"
    supports = frozenset(OPS)

    def __init__(self, *, threads: int = 1, blocks: int | None = None, run: int | None = None, tile: int | None = None) -> None:
        self._threads = threads
        self._run = run if blocks is None else blocks * CANONICAL_BLOCK
        self._tile = tile

    def availability(self) -> Availability:
        return Availability(True)

    def compile(self, program: Program) -> Plan:
        self.refuse_unsupported(program)
        program.check_legal()
        return planned(program, self._run, self._tile)

    def run(self, executable: Plan, job: Job, first: int, count: int) -> Chunk:
        return executable.run(job, first, count)

    def bytes_per_iteration(self, executable: Plan) -> int:
        return executable.bytes_per_iteration

    def iterations_at_once(self, executable: Plan) -> int:
        return executable.iterations

    def within(self, executable: Plan, memory: int) -> Plan:
        fewest = min(SMALLEST_RUN, executable.iterations)
        fitting = max(fewest, min(executable.iterations, memory // executable.bytes_per_iteration))
        return executable if fitting == executable.iterations else executable.carrying_out(fitting)

    def chunk_blocks(self, executable: Plan) -> int:
        return -(-executable.iterations // CANONICAL_BLOCK)

    @property
    def threads(self) -> int:
        return self._threads


def planned(program: Program, run: int | None = None, tile: int | None = None) -> Plan:
    """`run`: iterations at once; `tile`: cells of a tile; as they suit the program where they are None."""
    schedule = scheduled(program)
    iterations = run or _suitable(*live_bytes(schedule), most_blocks=1 if schedule.calls_by_row > MANY_CALLS else LARGEST_CHUNK)
    cells = tile or max(1, TILE // iterations)
    layout = laid_out(schedule, cells)
    return Plan(program, layout, iterations, layout.bytes_per_iteration + SCRATCH * cells)


def _suitable(each: int, hot: int, most_blocks: int) -> int:
    """As many whole blocks as fit in the cache; where not even one fits in memory, a power of two that does."""
    blocks = min(most_blocks, WORKING_SET // ((hot + SCRATCH) * CANONICAL_BLOCK), PASSED_THROUGH // ((each + SCRATCH) * CANONICAL_BLOCK))
    fitting = MOST_MEMORY // (each + SCRATCH)
    return max(1, blocks) * CANONICAL_BLOCK if fitting >= CANONICAL_BLOCK else max(SMALLEST_RUN, 1 << fitting.bit_length() - 1)


# Binding and execution


class _Bound:
    """A plan bound to one workspace's buffers for `count` iterations. `job` and `first` are those of the run at hand."""

    def __init__(self, plan: Plan, arrays: Sequence[Array], count: int) -> None:
        self.count = count
        self.job = Job(0, 0)
        self.first = 0
        self.makers: Mapping[int, Instruction] = plan.program.makers()
        self._slots = plan.program.outputs
        self._outputs = plan.layout.outputs
        self._arrays = arrays
        self._views: dict[View, Array] = {}
        self._filled: dict[tuple[bytes, int], Array] = {}
        self._scratch: Array = np.empty(0)
        self._made: dict[Call, Sequence[Work]] = {}
        self._work = [work for call in plan.layout.calls for work in self._work_of(call)]

    def array(self, place: Place) -> Array:
        if not isinstance(place, View):
            return place
        if place not in self._views:
            self._views[place] = self._view(place)
        return self._views[place]

    def _view(self, place: View) -> Array:
        base = self._arrays[place.buffer]
        strides = [step * self.count * base.itemsize for step in place.strides]
        return np.ndarray(
            (*place.shape, self.count), base.dtype, base, place.offset * self.count * base.itemsize, (*strides, base.itemsize)
        )

    def scratch(self, lines: int, size: int) -> Array:
        """Room for lines of float64, shared by all calls."""
        if self._scratch.size < lines * size:
            self._scratch = np.empty(lines * size)
        return self._scratch[: lines * size].reshape(lines, size)

    def filled(self, number: float, size: int) -> Array:
        """A line of one number, shared by all calls. Only to be read."""
        key = np.float64(number).tobytes(), size
        if key not in self._filled:
            self._filled[key] = np.full(size, number)
        return self._filled[key]

    def _work_of(self, call: Call) -> Sequence[Work]:
        if call not in self._made:
            operands, outs = [self.array(place) for place in call.operands], [self.array(out) for out in call.outs]
            self._made[call] = [self._repeat(call, operands, outs)] if call.following else work_of(self, call, operands, outs)
        return self._made[call]

    def _repeat(self, call: Call, operands: Sequence[Array], outs: Sequence[Array]) -> Work:
        """The body until every lane is done, each lane frozen when it is."""
        *state, done = outs
        *following, finished = [self.array(place) for place in call.following]
        body = [work for each in call.repeated for work in self._work_of(each)]

        def work() -> None:
            for old, start in zip(state, operands, strict=True):
                np.copyto(old, start)
            done[...] = False
            for _ in range(call.instruction.attributes["limit"]):
                if done.all():
                    return
                for each in body:
                    each()
                updated = [np.where(done, old, new) for old, new in zip(state, following, strict=True)]
                np.logical_or(done, finished, out=done)
                for old, new in zip(state, updated, strict=True):  # only now: what follows may be views of the state
                    np.copyto(old, new)

        return work

    def run(self, job: Job, first: int, chunk: Chunk, part: slice) -> None:
        """Fill one part of a chunk."""
        self.job, self.first = job, first
        with np.errstate(all="ignore"):
            for work in self._work:
                work()
        for slot, payload, tag in zip(self._slots, chunk.payloads, chunk.tags, strict=True):
            self._write(slot, slot.payload, payload[:, part])
            if tag is not None and not isinstance(slot.tag, int):
                self._write(slot, slot.tag, tag[:, part])

    def _write(self, slot: Slot, operand: Operand, out: Array) -> None:
        place = self._outputs[operand.index] if isinstance(operand, Ref) else operand
        np.copyto(out.reshape(slot.cells.height, slot.cells.width, self.count), self.array(place)[0, 0])
