"""The CuPy engine: CUDA C for an NVIDIA GPU. An iteration is a thread, a segment of the program a kernel, and kernels make the draws.

What a GPU hands over is looked at: outputs are poisoned before a launch, threads are counted, the bits of all outputs are mixed and
summed up on both sides, a program with known bits comes before the first model, and stretches of a run are computed again on NumPy.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from attrs import evolve, frozen

from ultramc.engines import self_test
from ultramc.engines.base import CANONICAL_BLOCK, Availability, Chunk, Engine, Job
from ultramc.engines.cstyle import LARGEST_FUNCTION, Source, Target, render
from ultramc.engines.cstyle import OPS as RENDERED
from ultramc.engines.cubin import Cubin, compiled
from ultramc.engines.host import Lot, chunk_of, drawn_of, words_of
from ultramc.errors import DeviceError, EngineUnavailable, GPUValidationError, MemoryLimitExceeded
from ultramc.logs import log
from ultramc.ops import OPS
from ultramc.program import Program
from ultramc.sampling import WORDS_PER_BLOCK

Array = Any

THREADS = 128  # of a block
EXHAUSTED = 240  # registers, of 255: a kernel that spills with fewer does so around calls of functions, and no cut helps
FEWEST_INSTRUCTIONS = 50  # of a kernel that is cut no further, however many registers it asks for
LARGEST_LAUNCH = 2**20  # iterations
GUARD = 1_024  # words behind the outputs that nobody may write
SHARE = 0.8  # of the free memory of a device, where no budget is given
FAILED = "GPU validation failed – simulation not executed"
HEADS = [Path(__file__).with_name(name) for name in ("threads.h", "prelude.h")]

_BEGIN = """extern "C" __global__ void __launch_bounds__(THREADS) part{}(const double *__restrict__ K, const uint64_t *__restrict__ W,
    const double *__restrict__ D, double *S, double *O, uint64_t *C, uint64_t n, uint64_t first, uint64_t launch)
{{
    const uint64_t l = (uint64_t)blockIdx.x * THREADS + threadIdx.x;
    uint64_t sum = l;
    unsigned turn = 0;"""


def _framed(lines: Sequence[str], functions: int) -> str:
    """With its heads in it, since NVRTC reads no files."""
    threads, prelude = (head.read_text(encoding="utf-8") for head in HEADS)
    head = threads.replace('#include "prelude.h"', prelude)
    return "\n".join((f"#define THREADS {THREADS}", head, *lines))


TARGET = Target(THREADS, registers=True, begin=_BEGIN, end="    vouch(C, launch, {}, sum);\n}}", frame=_framed)


@frozen(eq=False)
class Toolkit:
    """The libraries that the engine calls; tests give it others."""

    cupy: Any
    nvrtc: Any

    @classmethod
    def installed(cls) -> Toolkit:
        return cls(importlib.import_module("cupy"), importlib.import_module("cupy_backends.cuda.libs.nvrtc"))


@frozen(eq=False)
class Plan:
    """An executable of the CuPy engine; `iterations`: how many go into one launch."""

    program: Program
    source: Source
    kernels: tuple[Callable[..., None], ...]
    iterations: int


class CupyEngine(Engine):
    """`memory`: bytes of the device that one run may take (default: eight tenths of what is free). `device`: its number."""

    name = "cupy"
    invalid = GPUValidationError
    strata = 8
    lacks = MappingProxyType(
        {
            "scalar_call": "a Python function cannot be compiled",
            **dict.fromkeys(sorted(frozenset(OPS) - RENDERED - {"scalar_call"}), "CUDA has none"),
        }
    )
    supports = frozenset(OPS) - lacks.keys()

    def __init__(self, *, memory: int | None = None, device: int = 0, toolkit: Toolkit | None = None) -> None:
        self._memory = memory
        self._device = device
        self._given = toolkit
        self._lock = threading.RLock()
        self._stream: Any = None
        self._is_proven = False
        self._launches = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as it was made; a device's handles belong to its process."""
        return partial(type(self), memory=self._memory, device=self._device), ()

    def fingerprint(self) -> Mapping[str, str]:
        return {"NVRTC": str(self._toolkit.nvrtc.getVersion()), "GPU architecture": self._architecture}

    @property
    def _architecture(self) -> str:
        return f"sm_{self._toolkit.cupy.cuda.Device(self._device).compute_capability}"

    def availability(self) -> Availability:
        try:
            toolkit = self._toolkit
        except ImportError as error:
            return Availability(False, f"CuPy is not installed ({error}): pip install 'ultramc[cupy]'")
        try:
            devices = toolkit.cupy.cuda.runtime.getDeviceCount()
        except toolkit.cupy.cuda.runtime.CUDARuntimeError as error:
            return Availability(False, f"CUDA finds no device ({error}); an NVIDIA GPU and its driver are needed")
        if not 0 <= self._device < devices:
            return Availability(False, f"there is no device {self._device}, only {devices} of them")
        try:
            toolkit.nvrtc.getVersion()
        except (RuntimeError, OSError) as error:  # what the loader of CUDA's libraries raises
            return Availability(False, f"NVRTC, which compiles kernels, cannot be loaded ({error}): pip install 'ultramc[cupy]'")
        return Availability(True)

    @property
    def _toolkit(self) -> Toolkit:
        if self._given is None:
            self._given = Toolkit.installed()
        return self._given

    def compile(self, program: Program) -> Plan:
        self.refuse_unsupported(program)
        program.check_legal()
        available = self.availability()
        if not available.available:
            raise EngineUnavailable(f"engine {self.name!r} cannot run here: {available.reason}")
        with self._lock, self._on_device():
            self._prove()
            return self._planned(program)

    def _prove(self) -> None:
        """The same compiler, loader and kernels, on a program whose bits are known, once for an engine."""
        if self._is_proven:
            return
        found = self_test.digest(self._run(self._planned(self_test.PROGRAM), self_test.JOB, self_test.FIRST, self_test.COUNT))
        if found != self_test.DIGEST:
            raise GPUValidationError(
                f"{FAILED}: the self-test gives other bits than every correct device ({found} instead of {self_test.DIGEST}); "
                "no model was run. Try another driver or device, or another engine"
            )
        self._is_proven = True

    def _planned(self, program: Program) -> Plan:
        source, cubin = self._fitting(program)
        module = self._toolkit.cupy.RawModule(path=str(cubin.path))
        kernels = tuple(module.get_function(f"part{number}") for number in range(source.functions))
        budget = self._memory if self._memory is not None else int(SHARE * self._free())
        fitting = budget // _each(source)
        if fitting < THREADS:
            raise MemoryLimitExceeded(
                f"{THREADS} iterations at once, the fewest, need {THREADS * _each(source):,} bytes on the device, {budget:,} are allowed; "
                "name fewer outputs, or use engine='native', which needs memory for a few iterations only"
            )
        return Plan(program, source, kernels, min(LARGEST_LAUNCH, 1 << fitting.bit_length() - 1))

    def _fitting(self, program: Program) -> tuple[Source, Cubin]:
        """Cut into smaller kernels while registers do not suffice."""
        limit = LARGEST_FUNCTION
        while True:
            source = render(program, TARGET, limit)
            cubin = compiled(self._toolkit.nvrtc, source.text, self._architecture)
            if not cubin.spilled or cubin.registers < EXHAUSTED or limit <= FEWEST_INSTRUCTIONS:
                log.info("kernels compiled", kernels=source.functions, registers=cubin.registers, spilled=cubin.spilled)
                return source, cubin
            limit //= 2

    def run(self, executable: Plan, job: Job, first: int, count: int) -> Chunk:
        with self._lock, self._on_device():
            return self._run(executable, job, first, count)

    def _run(self, plan: Plan, job: Job, first: int, count: int) -> Chunk:
        outputs = np.empty((plan.source.outputs, count))
        for start in range(0, count, plan.iterations):
            stop = min(start + plan.iterations, count)
            outputs[:, start:stop] = self._launched(plan, job, first + start, stop - start)
        return chunk_of(plan.program, outputs, first, count)

    def _launched(self, plan: Plan, job: Job, first: int, count: int) -> Array:
        """From the beginning of a block of draws, in whole blocks of threads; those asked for are kept."""
        early = first % WORDS_PER_BLOCK
        lot = Lot(job, first - early, early + count, -(-(early + count) // THREADS) * THREADS)
        sent = (plan.source.constants, words_of(plan.source, job), drawn_of(plan.source, lot))  # until the device has read them
        arrays: list[Array] = []
        try:
            found = self._computed(plan, lot, sent, arrays)
        except self._toolkit.cupy.cuda.memory.OutOfMemoryError as error:
            arrays.clear()
            raise self._too_large(plan, lot.size, error) from error
        finally:
            arrays.clear()  # an error that somebody keeps must not keep them
        return found[:, early : early + count]

    def _computed(self, plan: Plan, lot: Lot, sent: Sequence[Array | None], arrays: list[Array]) -> Array:
        source, blocks = plan.source, lot.size // THREADS
        sizes = (max(1, source.scratch) * lot.size, source.outputs * lot.size + GUARD, source.functions * blocks * 2)
        arrays += [self._sent(each) for each in sent]
        arrays += [self._poisoned(size) for size in sizes]
        self._launches += 1
        numbers = [np.uint64(number) for number in (lot.size, lot.first, self._launches)]
        for kernel in plan.kernels:
            kernel((blocks,), (THREADS,), (*arrays, *numbers))
        self._stream.synchronize()
        outputs, vouchers = (array.get() for array in arrays[-2:])
        found = _within(outputs).reshape(source.outputs, lot.size)
        _check(found, vouchers.reshape(source.functions, blocks, 2), self._launches)
        return found.view(np.float64)

    def _too_large(self, plan: Plan, iterations: int, error: Exception) -> MemoryLimitExceeded:
        free = int(SHARE * self._free())
        return MemoryLimitExceeded(
            f"{iterations:,} iterations at once need {iterations * _each(plan.source):,} bytes on the GPU ({error}); "
            f"{free // _each(plan.source):,} would fit now: engine=ultramc.engines.on_cupy.CupyEngine(memory={free})"
        )

    def _poisoned(self, size: int) -> Array:
        """Words all of whose bits are set: as a number a NaN that no arithmetic makes."""
        array = self._toolkit.cupy.empty(size, np.uint64)
        array.data.memset_async(0xFF, array.nbytes)
        return array

    def _sent(self, array: Array | None) -> Array:
        if array is None:
            return NULL
        there = self._toolkit.cupy.empty(array.shape, array.dtype)
        there.set(np.ascontiguousarray(array))
        return there

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """On a stream of its own, always the same, since CuPy keeps memory by stream. CUDA's errors come late, and most of them stay."""
        cupy = self._toolkit.cupy
        try:
            with cupy.cuda.Device(self._device):
                if self._stream is None:
                    self._stream = cupy.cuda.Stream(non_blocking=True)
                with self._stream:
                    yield
        except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError) as error:
            raise DeviceError(
                f"engine {self.name!r}: the GPU failed ({error}), nothing of this run is kept; many errors stay until the process ends, "
                "so start a new one, or use another engine"
            ) from error

    def _free(self) -> int:
        """What nobody has, and what CuPy keeps to give away again."""
        cupy = self._toolkit.cupy
        return int(cupy.cuda.runtime.memGetInfo()[0] + cupy.get_default_memory_pool().free_bytes())

    def bytes_per_iteration(self, executable: Plan) -> int:
        """On the host: what comes back, twice, since it is copied, draws of samplings other than random, and the check of one output."""
        return 8 * (2 * executable.source.outputs + executable.source.cells_drawn + 4)

    def iterations_at_once(self, executable: Plan) -> int:
        return executable.iterations

    def within(self, executable: Plan, memory: int) -> Plan:
        fitting = max(THREADS, memory // self.bytes_per_iteration(executable))
        return evolve(executable, iterations=min(executable.iterations, 1 << fitting.bit_length() - 1))

    def chunk_blocks(self, executable: Plan) -> int:
        return -(-executable.iterations // CANONICAL_BLOCK)


def _each(source: Source) -> int:
    """Bytes of the device for one iteration; its share of what kernels vouch for is rounded up."""
    return 8 * (max(1, source.scratch) + source.outputs + source.cells_drawn) - (-16 * source.functions // THREADS)


def _within(words: Array) -> Array:
    """Outputs without their guard. Raises GPUValidationError where a kernel wrote behind them."""
    if (words[-GUARD:] != POISON).any():
        raise GPUValidationError(f"{FAILED}: a kernel wrote behind its outputs")
    return words[:-GUARD]


def _check(outputs: Array, vouchers: Array, launch: int) -> None:
    """Raises GPUValidationError where a kernel did not write all of its outputs, or others arrived than it wrote."""
    counts, sums = vouchers[..., 0] - np.uint64(256 * launch), vouchers[-1, :, 1]
    if (counts != THREADS).any():
        kernel, block = np.argwhere(counts != THREADS)[0]
        ended = f"{_counted(counts[kernel, block])} of {THREADS} threads"
        raise GPUValidationError(f"{FAILED}: {ended} came to the end of kernel {kernel} in block {block} of {sums.size:,}")
    made = np.arange(outputs.shape[1], dtype=np.uint64)
    for cell, words in enumerate(outputs):
        if (words == POISON).any():
            iteration = int(np.argmax(words == POISON))
            raise GPUValidationError(f"{FAILED}: a kernel left output {cell} of iteration {iteration} of its launch as it was")
        made = _mixed(made + words)
    found = made.reshape(-1, THREADS).sum(axis=1, dtype=np.uint64)
    if (found != sums).any():
        raise GPUValidationError(f"{FAILED}: other outputs arrived than block {int(np.argmax(found != sums))} of {sums.size:,} computed")


def _mixed(bits: Array) -> Array:
    """As `mixed` of threads.h does."""
    bits = bits * np.uint64(0xBF58476D1CE4E5B9)
    return bits ^ bits >> np.uint64(32)


POISON = np.uint64(2**64 - 1)
NULL = np.uint64(0)  # a pointer; CuPy makes another number of None: https://github.com/cupy/cupy/issues/9046


def _counted(count: Array) -> str:
    """What is no count was not written, or by another launch."""
    return f"{int(count):,}" if count < THREADS else "no"
