"""The JAX engine: segments of a program compiled by XLA, on whatever device JAX has.

Draws are made on the host, so that their bits are those of every engine. Numbers are float64 by the scoped `enable_x64`, in each
call and thread; no setting of JAX is touched. XLA takes subnormal numbers for zero, as Excel does. Constants are arguments:
a compiled segment holds none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from attrs import field, frozen

from ultramc.engines.base import CANONICAL_BLOCK, Availability, Chunk, Engine, Job
from ultramc.ops import OPS
from ultramc.program import Instruction, Program, Ref, all_instructions
from ultramc.sampling import Site, restored
from ultramc.segments import Segment, segments_of, tile_of

Array = Any

HEAVIEST = 100  # instructions of a segment: XLA's time grows faster than what it compiles
CACHE = 2**24  # bytes of what lives in a segment: measured, benchmarks/test_engine.py
LARGEST_CHUNK = 8  # canonical blocks
MOST_MEMORY = 512 * 2**20  # bytes of one thread, where fewer iterations at once can keep to it
SMALLEST_RUN = 64  # iterations
ZERO = np.int64(0)

LACKS = {  # op: why
    "scalar_call": "a Python function cannot be compiled",
    "beta_i": "JAX's ends when the slowest lane does, so that iterations would depend on their neighbours",
    **dict.fromkeys(("gamma_p_inverse", "gamma_q_inverse", "beta_i_inverse", "beta_i_upper_inverse"), "JAX has none"),
}


@frozen(eq=False)
class Part:
    """A compiled segment, what the host makes for it, its constants on the device, and which values end with it."""

    segment: Segment
    made: tuple[Instruction, ...]
    compiled: Callable[..., Sequence[Array]]
    constants: tuple[Array, ...]
    ending: tuple[int, ...]


@frozen(eq=False)
class Plan:
    """An executable of the JAX engine; `iterations`: how many are carried out at once, always."""

    program: Program
    segments: tuple[Segment, ...]
    iterations: int
    bytes_per_iteration: int
    parts: tuple[Part, ...] = field(repr=False)

    def run(self, job: Job, first: int, count: int) -> Chunk:
        import jax

        outputs = self.program.outputs
        payloads = tuple(np.empty((slot.cells.size, count)) for slot in outputs)
        tags = tuple(None if isinstance(slot.tag, int) else np.empty((slot.cells.size, count), np.uint8) for slot in outputs)
        with jax.enable_x64(True):
            for start in range(0, count, self.iterations):
                stop = min(start + self.iterations, count)
                values = self._values(job, first + start, stop - start)
                for slot, payload, tag in zip(outputs, payloads, tags, strict=True):
                    _write(values, slot.payload, slot.cells, payload[:, start:stop])
                    if tag is not None:
                        _write(values, slot.tag, slot.cells, tag[:, start:stop])
        return Chunk(first, count, payloads, tags)

    def _values(self, job: Job, first: int, count: int) -> Mapping[int, Array]:
        values: dict[int, Array] = {}
        for part in self.parts:
            given = [_HOST[each.op](job, each, first, count, self.iterations) for each in part.made]
            results = part.compiled(ZERO, [values[ref.index] for ref in part.segment.inputs], given, part.constants)
            values.update((ref.index, result) for ref, result in zip(part.segment.outputs, results, strict=True))
            for index in part.ending:
                del values[index]
        return values


class JaxEngine(Engine):
    """`threads` at once; `iterations` carried out at once and `heaviest`, instructions of a segment, are for tests and measurements."""

    name = "jax"
    supports = frozenset(OPS) - frozenset(LACKS)

    def __init__(self, *, threads: int = 1, iterations: int | None = None, heaviest: int = HEAVIEST) -> None:
        self._threads = threads
        self._iterations = iterations
        self._heaviest = heaviest

    def availability(self) -> Availability:
        if find_spec("jax") is None:
            return Availability(False, "JAX is not installed: pip install 'ultramc[jax]'")
        return Availability(True)

    def compile(self, program: Program) -> Plan:
        self.refuse_unsupported(program)
        program.check_legal()
        segments = segments_of(program, self._heaviest)
        return _compiled(program, segments, self._iterations or _suitable(_between(segments)))

    def run(self, executable: Plan, job: Job, first: int, count: int) -> Chunk:
        return executable.run(job, first, count)

    def bytes_per_iteration(self, executable: Plan) -> int:
        return executable.bytes_per_iteration

    def iterations_at_once(self, executable: Plan) -> int:
        return executable.iterations

    def within(self, executable: Plan, memory: int) -> Plan:
        fitting = memory // executable.bytes_per_iteration
        if fitting >= executable.iterations or executable.iterations <= SMALLEST_RUN:
            return executable
        fewer = max(SMALLEST_RUN, _power_of_two(fitting))
        return _compiled(executable.program, executable.segments, fewer)

    def chunk_blocks(self, executable: Plan) -> int:
        return -(-executable.iterations // CANONICAL_BLOCK)

    @property
    def threads(self) -> int:
        return self._threads


def _suitable(each: int) -> int:
    return max(SMALLEST_RUN, min(LARGEST_CHUNK * CANONICAL_BLOCK, _power_of_two(MOST_MEMORY // max(1, each))))


def _power_of_two(number: int) -> int:
    return 1 << max(0, number.bit_length() - 1)


def _between(segments: Sequence[Segment]) -> int:
    """Bytes for an iteration of what segments hand on, and of what the host makes for them."""
    made = [ref for segment in segments for ref in (*segment.outputs, *(each.result for each in _made_by_host(segment)))]
    return sum(8 * math.prod(ref.shape) for ref in made)


def _bytes_per_iteration(segments: Sequence[Segment], iterations: int) -> int:
    inside = (segment.bytes_per_iteration() * tile_of(segment, iterations, CACHE) for segment in segments)
    return max(1, _between(segments) + max(inside, default=0) // iterations)


def _made_by_host(segment: Segment) -> tuple[Instruction, ...]:
    return tuple(each for each in all_instructions(segment.instructions) if each.op in _HOST)


def _compiled(program: Program, segments: Sequence[Segment], iterations: int) -> Plan:
    import jax

    kept = {part.index for slot in program.outputs for part in (slot.payload, slot.tag) if isinstance(part, Ref)}
    last = {ref.index: number for number, segment in enumerate(segments) for ref in (*segment.outputs, *segment.inputs)}
    ending = [tuple(index for index, end in last.items() if end == number and index not in kept) for number in range(len(segments))]
    with jax.enable_x64(True):
        parts = tuple(_part(segment, ends, iterations) for segment, ends in zip(segments, ending, strict=True))
    return Plan(program, tuple(segments), iterations, _bytes_per_iteration(segments, iterations), parts)


def _part(segment: Segment, ending: tuple[int, ...], iterations: int) -> Part:
    import jax

    from ultramc.engines.jax_tracing import DTYPES, function_of

    made = _made_by_host(segment)
    constants = tuple(jax.device_put(constant) for constant in segment.constants())

    def alike(refs: Sequence[Ref]) -> list[Any]:
        return [jax.ShapeDtypeStruct((*ref.shape, iterations), DTYPES[ref.kind]) for ref in refs]

    given = [each.result for each in made]
    function = function_of(segment, given, tile_of(segment, iterations, CACHE))
    traced = jax.jit(function, static_argnums=4).lower(ZERO, alike(segment.inputs), alike(given), constants, iterations)
    return Part(segment, made, traced.compile(), constants, ending)


# What the host makes: iterations beyond `count` are carried out and thrown away


def _drawn(job: Job, instruction: Instruction, first: int, count: int, size: int) -> Array:
    site: Site = instruction.attributes["site"]
    rows, columns, *_ = instruction.result.shape
    draws = np.empty((*instruction.result.shape, size))
    draws[..., count:] = 0.5
    for row, column in np.ndindex(rows, columns):
        place = Site(site.sheet, site.row + row, site.column + column, site.k)
        job.fill(place, first, draws[row, column, 0, 0, :count])
    return draws


def _numbered(job: Job, instruction: Instruction, first: int, count: int, size: int) -> Array:
    return np.arange(first, first + size, dtype=np.float64).reshape(1, 1, 1, 1, size)


def _restored(job: Job, instruction: Instruction, first: int, count: int, size: int) -> Array:
    """NaN where the sampling has no strata to restore."""
    scores = np.full((*instruction.result.shape, size), np.nan)
    if job.restores_strata:
        restored(job, instruction.attributes["tie"], instruction.attributes["member"], first, scores[0, 0, 0, 0, :count])
    return scores


_HOST: Mapping[str, Callable[[Job, Instruction, int, int, int], Array]] = {
    "uniform": _drawn,
    "iteration": _numbered,
    "permute": _restored,
}


def _write(values: Mapping[int, Array], operand: Any, cells: Any, out: Array) -> None:
    value = np.asarray(values[operand.index] if isinstance(operand, Ref) else operand)
    whole = np.broadcast_to(value[0, 0], (cells.height, cells.width, value.shape[-1]))
    out[...] = whole.reshape(cells.size, -1)[:, : out.shape[1]]
