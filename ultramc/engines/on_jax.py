"""The JAX engine: segments of a program compiled by XLA, on whatever device JAX has.

Draws are made on the host, so that their bits are those of every engine. Numbers are float64 by the scoped `enable_x64`, in each
call and thread; no setting of JAX is touched. XLA takes subnormal numbers for zero, as Excel does. Constants are arguments:
a compiled segment holds none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import numpy as np
from attrs import field, frozen

from ultramc.address import RangeRef
from ultramc.engines.base import CANONICAL_BLOCK, Availability, Chunk, Engine, Job, Steps, empty_chunk, ignored
from ultramc.engines.host import MADE, Lot
from ultramc.engines.pace import LONG, guessed_seconds
from ultramc.errors import InputError
from ultramc.ops import OPS
from ultramc.program import Body, Instruction, Operand, Program, Ref, all_instructions
from ultramc.segments import Segment, segments_of, weight

Array = Any

HEAVIEST_BODY = 20  # segments: a heavier loop is taken step by step by the host, which costs time in each run
HEAVIEST = 100  # instructions of a segment: XLA's time grows faster than what it compiles
CACHE = 2**24  # bytes of what lives in a segment: measured, benchmarks/test_engine.py
LARGEST_CHUNK = 8  # canonical blocks
MOST_MEMORY = 64 * 2**20  # bytes between segments, where fewer iterations at once can keep to it: measured on the portfolio
SMALLEST_RUN = 64  # iterations
EXECUTABLES_KEPT = 256  # in the process: for a workbook with other fixed values, say
ZERO = np.int64(0)


@frozen(eq=False)
class Compiled:
    """A segment, what the host makes for it, its constants on the device, and the values that end with it."""

    segment: Segment
    made: tuple[Instruction, ...]
    function: Callable[..., Sequence[Array]]
    constants: tuple[Array, ...]
    ending: tuple[int, ...]

    def carry_out(self, values: dict[int, Array], lot: Lot) -> None:
        given = [lot.made(each) for each in self.made]
        results = self.function(ZERO, [values[ref.index] for ref in self.segment.inputs], given, self.constants)
        _set(values, self.segment.outputs, results)
        for index in self.ending:
            values.pop(index, None)


@frozen(eq=False)
class Stepped:
    """A loop whose body is too heavy for one segment: the host takes it step by step."""

    loop: Instruction
    parts: tuple[Part, ...]
    ending: tuple[int, ...]

    def carry_out(self, values: dict[int, Array], lot: Lot) -> None:
        import jax.numpy as jnp

        a = self.loop.attributes
        body, carries, axis, steps = a["body"], a["carries"], a["axis"], range(a["steps"])
        operands = [_whole(values, operand, lot.size) for operand in self.loop.operands]
        carried: list[Array] = operands[:carries]
        yields: dict[int, list[Array]] = {}
        for step in reversed(steps) if a.get("reverse") else steps:
            cuts = [_cut(operand, axis, step) for operand in operands[carries:]]
            _set(values, body.parameters, [*carried, *cuts])
            for part in self.parts:
                part.carry_out(values, lot)
            carried, yields[step] = _parted([_whole(values, result, lot.size) for result in body.results], carries)
        joined = [jnp.concatenate(parts, axis=axis) for parts in zip(*(yields[step] for step in steps), strict=True)]
        _set(values, self.loop.results, [*carried, *joined])
        for index in self.ending:
            values.pop(index, None)


Part = Compiled | Stepped


def _set(values: dict[int, Array], refs: Sequence[Ref], arrays: Sequence[Array]) -> None:
    values.update((ref.index, array) for ref, array in zip(refs, arrays, strict=True))


def _parted(values: list[Array], first: int) -> tuple[list[Array], list[Array]]:
    return values[:first], values[first:]


def _cut(value: Array, axis: int, step: int) -> Array:
    """What is the same at each step serves all."""
    return value if value.shape[axis] == 1 else value[(slice(None),) * axis + (slice(step, step + 1),)]


def _whole(values: Mapping[int, Array], operand: Operand, size: int) -> Array:
    """With all its iterations."""
    if isinstance(operand, Ref):
        return values[operand.index]
    return np.broadcast_to(operand, (*operand.shape[:4], size))


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

        chunk = empty_chunk(self.program.outputs, first, count)
        with jax.enable_x64(True):
            for start in range(0, count, self.iterations):
                stop = min(start + self.iterations, count)
                values = self._values(Lot(job, first + start, stop - start, self.iterations))
                for slot, payload, tag in zip(self.program.outputs, chunk.payloads, chunk.tags, strict=True):
                    _write(values, slot.payload, slot.cells, payload[:, start:stop])
                    if tag is not None and not isinstance(slot.tag, int):
                        _write(values, slot.tag, slot.cells, tag[:, start:stop])
        return chunk

    def _values(self, lot: Lot) -> Mapping[int, Array]:
        values: dict[int, Array] = {}
        for part in self.parts:
            part.carry_out(values, lot)
        return values


class JaxEngine(Engine):
    """`threads` at once. For tests and measurements: `iterations` carried out at once, a power of two, and `heaviest`, the instructions
    of a segment. Raises InputError for another number of iterations.
    """

    name = "jax"
    lacks = MappingProxyType(
        {
            "scalar_call": "a Python function cannot be compiled",
            "beta_i": "JAX's ends when the slowest lane does, so that iterations would depend on their neighbours",
            **dict.fromkeys(("gamma_p_inverse", "gamma_q_inverse", "beta_i_inverse", "beta_i_upper_inverse"), "JAX has none"),
        }
    )
    supports = frozenset(OPS) - lacks.keys()

    def __init__(self, *, threads: int = 1, iterations: int | None = None, heaviest: int = HEAVIEST) -> None:
        if iterations is not None and (iterations < 1 or iterations & (iterations - 1)):
            raise InputError(f"iterations={iterations} at once; a power of two is needed, for tiles to divide it")
        self._threads = threads
        self._iterations = iterations
        self._heaviest = heaviest

    def availability(self) -> Availability:
        if find_spec("jax") is None:
            return Availability(False, "JAX is not installed: pip install 'ultramc[jax]'")
        return Availability(True)

    def compile(self, program: Program) -> Plan:
        return self.compile_in_steps(program, ignored)

    def compile_in_steps(self, program: Program, told: Steps) -> Plan:
        """A step is a segment."""
        self.refuse_unsupported(program)
        program.check_legal()
        segments = segments_of(program.instructions, _kept(program), self._heaviest)
        iterations = self._iterations or _suitable(_between(segments), guessed_seconds(program))
        return _compiled(program, segments, iterations, self._heaviest, told)

    def run(self, executable: Plan, job: Job, first: int, count: int) -> Chunk:
        return executable.run(job, first, count)

    def fingerprint(self) -> Mapping[str, str]:
        import jax

        return {"jax": jax.__version__, "jaxlib": version("jaxlib"), "jax device": jax.devices()[0].device_kind}

    def bytes_per_iteration(self, executable: Plan) -> int:
        return executable.bytes_per_iteration

    def iterations_at_once(self, executable: Plan) -> int:
        return executable.iterations

    def fewest_iterations(self, executable: Plan) -> int:
        """All are carried out, whether they are asked for or not."""
        return executable.iterations

    def within(self, executable: Plan, memory: int) -> Plan:
        fitting = memory // executable.bytes_per_iteration
        if fitting >= executable.iterations or executable.iterations <= SMALLEST_RUN:
            return executable
        fewer = max(SMALLEST_RUN, _power_of_two(fitting))
        return _compiled(executable.program, executable.segments, fewer, self._heaviest)

    def chunk_blocks(self, executable: Plan) -> int:
        return -(-executable.iterations // CANONICAL_BLOCK)

    @property
    def threads(self) -> int:
        return self._threads


def _suitable(each: int, seconds: float) -> int:
    """For iterations that take so many bytes, and about so many seconds: all are carried out before progress can move."""
    fitting = min(MOST_MEMORY // max(1, each), int(LONG / seconds))
    return max(SMALLEST_RUN, min(LARGEST_CHUNK * CANONICAL_BLOCK, _power_of_two(fitting)))


def _power_of_two(number: int) -> int:
    return 1 << max(0, number.bit_length() - 1)


def _between(segments: Sequence[Segment]) -> int:
    """Bytes for an iteration of what segments hand on, and of what the host makes for them."""
    made = [ref for segment in segments for ref in (*segment.outputs, *(each.result for each in _made_by_host(segment)))]
    return sum(8 * math.prod(ref.shape) for ref in made)


def _bytes_per_iteration(segments: Sequence[Segment], iterations: int) -> int:
    inside = (segment.bytes_per_iteration() * segment.tile(iterations, CACHE) for segment in segments)
    return max(1, _between(segments) + max(inside, default=0) // iterations)


def _made_by_host(segment: Segment) -> tuple[Instruction, ...]:
    return tuple(each for each in all_instructions(segment.instructions) if each.op in MADE)


def _compiled(program: Program, segments: Sequence[Segment], iterations: int, heaviest: int, told: Steps = ignored) -> Plan:
    import jax

    with jax.enable_x64(True):
        parts = _parts(segments, _kept(program), iterations, heaviest, told)
    return Plan(program, tuple(segments), iterations, _bytes_per_iteration(segments, iterations), parts)


def _kept(program: Program) -> set[int]:
    return {part.index for slot in program.outputs for part in (slot.payload, slot.tag) if isinstance(part, Ref)}


def _parts(segments: Sequence[Segment], kept: Collection[int], iterations: int, heaviest: int, told: Steps = ignored) -> tuple[Part, ...]:
    """`kept`: values that are read after the last segment."""
    last = {ref.index: number for number, segment in enumerate(segments) for ref in (*segment.outputs, *segment.inputs)}
    ending = [tuple(index for index, end in last.items() if end == number and index not in kept) for number in range(len(segments))]
    parts: list[Part] = []
    for segment, ends in zip(segments, ending, strict=True):
        told(len(parts), len(segments))
        parts.append(_part(segment, ends, iterations, heaviest))
    return tuple(parts)


def _part(segment: Segment, ending: tuple[int, ...], iterations: int, heaviest: int) -> Part:
    first = segment.instructions[0]
    if first.op != "loop" or weight(first) <= HEAVIEST_BODY * heaviest:
        return _one(segment, ending, iterations)
    body: Body = first.attributes["body"]
    results = {result.index for result in body.results if isinstance(result, Ref)}
    inside = segments_of(body.instructions, results, heaviest)
    outside = {ref.index for ref in (*segment.inputs, *body.parameters)}
    return Stepped(first, _parts(inside, results | outside, iterations, heaviest), ending)


def _one(segment: Segment, ending: tuple[int, ...], iterations: int) -> Compiled:
    import jax

    from ultramc.engines.jax_tracing import DTYPES, function_of

    made = _made_by_host(segment)
    constants = tuple(jax.device_put(constant) for constant in segment.constants())

    def alike(refs: Sequence[Ref]) -> list[Any]:
        return [jax.ShapeDtypeStruct((*ref.shape, iterations), DTYPES[ref.kind]) for ref in refs]

    given = [each.result for each in made]
    function = function_of(segment, given, segment.tile(iterations, CACHE))
    jitted = jax.jit(function, static_argnums=4, keep_unused=True)
    lowered = jitted.lower(ZERO, alike(segment.inputs), alike(given), constants, iterations)
    return Compiled(segment, made, _executable(Traced(f"{lowered.in_tree}\n{lowered.as_text()}", lowered)), constants, ending)


@frozen
class Traced:
    """A segment as XLA reads it. Constants are arguments, so segments that differ in numbers alone are the same."""

    text: str
    lowered: Any = field(eq=False)


@lru_cache(maxsize=EXECUTABLES_KEPT)
def _executable(traced: Traced) -> Any:
    return traced.lowered.compile()


def _write(values: Mapping[int, Array], operand: Operand, cells: RangeRef, out: Array) -> None:
    value = np.asarray(values[operand.index] if isinstance(operand, Ref) else operand)
    whole = np.broadcast_to(value[0, 0], (cells.height, cells.width, value.shape[-1]))
    out[...] = whole.reshape(cells.size, -1)[:, : out.shape[1]]
