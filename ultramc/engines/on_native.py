"""The native engine: C for the compiler of the machine, or for the one in the `ziglang` wheel, many iterations side by side.

A library is compiled once for each source and kept in the user's cache folder. Sources hold no number of a workbook.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from attrs import field, frozen

from ultramc.engines.base import CANONICAL_BLOCK, Availability, Chunk, Engine, Job, Steps, ignored, processors
from ultramc.engines.cache import cache_folder, forget_oldest, is_kept
from ultramc.engines.cstyle import OPS as RENDERED
from ultramc.engines.cstyle import Source, Target, render
from ultramc.engines.host import Lot, chunk_of, drawn_of, words_of
from ultramc.errors import EngineError, EngineUnavailable
from ultramc.ops import OPS
from ultramc.program import Program
from ultramc.sampling import WORDS_PER_BLOCK

Array = Any

OPTIMISED = ("-O3",)
LESS_OPTIMISED = ("-O1", "-ftree-vectorize")  # for functions of thousands of instructions, where -O3 takes five times as long
HEAVY = 2_000
FLAGS = (
    "-march=native",
    "-std=gnu11",
    "-ffp-contract=off",  # products and sums are rounded one by one, as everywhere
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp-simd",
    "-shared",
    "-fPIC",
    "-w",
)
HEADS = [Path(__file__).with_name(name) for name in ("lanes.h", "prelude.h")]
LANES = (64, 32, 16, 8)
CACHE = 2**19  # bytes of scratch of one thread that still count as near
LARGEST_CHUNK = 8  # canonical blocks
MOST_MEMORY = 64 * 2**20  # bytes of what goes in and out of one call
SECONDS = 600  # that a compiler may take
POLL = 0.1  # seconds between two looks at whether the run was cancelled


_ARGUMENTS = "const double *K, const uint64_t *W, const double *D, double *S, double *O, int64_t n, uint64_t first"
_FRAME = """#define LANES {lanes}
#include "lanes.h"

{functions}
void run({arguments})
{{
    for (int64_t i = 0; i < n; i += LANES) {{
{calls}
    }}
}}
"""


def target(lanes: int) -> Target:
    """C for a processor: each group of lanes goes through all functions before the next one does."""

    def frame(lines: Sequence[str], functions: int) -> str:
        calls = "\n".join(f"        part{number}(K, W, D ? D + i : D, S, O + i, n, first + (uint64_t)i);" for number in range(functions))
        return _FRAME.format(lanes=lanes, functions="\n".join(lines), arguments=_ARGUMENTS, calls=calls)

    return Target(lanes, registers=False, begin=f"static void part{{}}({_ARGUMENTS})\n{{{{", end="}}", frame=frame)


@frozen(eq=False)
class Plan:
    """An executable of the native engine; `iterations`: how many go into one call."""

    program: Program
    source: Source
    library: ctypes.CDLL
    iterations: int
    _idle: list[Array] = field(factory=list)

    def run(self, job: Job, first: int, count: int) -> Chunk:
        outputs = np.empty((self.source.outputs, count))
        for start in range(0, count, self.iterations):
            stop = min(start + self.iterations, count)
            outputs[:, start:stop] = self._call(job, first + start, stop - start)
        return chunk_of(self.program, outputs, first, count)

    def _call(self, job: Job, first: int, count: int) -> Array:
        """From the beginning of a block of draws, as many as lanes can take; those asked for are kept."""
        source, early = self.source, first % WORDS_PER_BLOCK
        lot = Lot(job, first - early, early + count, -(-(early + count) // source.lanes) * source.lanes)
        outputs = np.empty((source.outputs, lot.size))
        scratch = self._idle.pop() if self._idle else np.empty(max(1, source.scratch * source.lanes))
        arrays = (source.constants, words_of(source, job), drawn_of(source, lot), scratch, outputs)
        self.library.run(*(None if array is None else ctypes.c_void_p(array.ctypes.data) for array in arrays), lot.size, lot.first)
        self._idle.append(scratch)
        return outputs[:, early : early + count]


class NativeEngine(Engine):
    """`threads` at once (default: as many as the process may use); `lanes` is for tests and measurements."""

    name = "native"
    lacks = MappingProxyType(
        {
            "scalar_call": "a Python function cannot be compiled",
            **dict.fromkeys(sorted(frozenset(OPS) - RENDERED - {"scalar_call"}), "no C library has it"),
        }
    )
    supports = frozenset(OPS) - lacks.keys()

    def __init__(self, *, threads: int | None = None, lanes: int | None = None) -> None:
        self._threads = threads or processors()
        self._lanes = lanes

    def availability(self) -> Availability:
        if _compiler() is None:
            return Availability(False, "there is no C compiler: install one (Debian: apt install gcc), or pip install 'ultramc[native]'")
        return Availability(True)

    def compile(self, program: Program) -> Plan:
        return self.compile_in_steps(program, ignored)

    def compile_in_steps(self, program: Program, told: Steps) -> Plan:
        """One step; `told` is called all the while, and where it raises the compiler is stopped."""
        self.refuse_unsupported(program)
        program.check_legal()
        source = self._rendered(program)
        library = compiled(source.text, LESS_OPTIMISED if source.heaviest > HEAVY else OPTIMISED, told)
        return Plan(program, source, library, _iterations(source))

    def _rendered(self, program: Program) -> Source:
        """With as many lanes as keep scratch in the cache."""
        for lanes in LANES if self._lanes is None else (self._lanes,):
            source = render(program, target(lanes))
            if source.scratch * lanes * 8 <= CACHE:
                break
        return source

    def run(self, executable: Plan, job: Job, first: int, count: int) -> Chunk:
        return executable.run(job, first, count)

    def fingerprint(self) -> Mapping[str, str]:
        """The compiler; and a hash of it, its flags, and what the processor can do."""
        text = _fingerprint(tuple(_command()))
        return {"C compiler": text.partition("\n")[0], "C target": hashlib.sha256(text.encode()).hexdigest()[:16]}

    def bytes_per_iteration(self, executable: Plan) -> int:
        return _each(executable.source) - (-_fixed(executable.source) // executable.iterations)

    def iterations_at_once(self, executable: Plan) -> int:
        return executable.iterations

    def within(self, executable: Plan, memory: int) -> Plan:
        source = executable.source
        fitting = max(0, memory - _fixed(source)) // _each(source)
        if fitting >= executable.iterations:
            return executable
        return Plan(executable.program, source, executable.library, max(source.lanes, 1 << max(0, fitting.bit_length() - 1)))

    def chunk_blocks(self, executable: Plan) -> int:
        return -(-executable.iterations // CANONICAL_BLOCK)

    @property
    def threads(self) -> int:
        return self._threads


def _fixed(source: Source) -> int:
    """Bytes of scratch, however many iterations."""
    return source.scratch * source.lanes * 8


def _each(source: Source) -> int:
    """Bytes of what goes in and out for one iteration: twice, since it is copied."""
    return 16 * (source.cells_drawn + source.outputs) + 1


def _iterations(source: Source) -> int:
    fitting = MOST_MEMORY // (8 * max(1, source.outputs))
    return max(source.lanes, min(LARGEST_CHUNK * CANONICAL_BLOCK, 1 << max(0, fitting.bit_length() - 1)))


# Compiling


@cache
def _compiler() -> tuple[str, ...] | None:
    """The machine's compiler, or the one in the ziglang wheel."""
    found = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    if found is not None:
        return (found,)
    return (sys.executable, "-m", "ziglang", "cc") if find_spec("ziglang") else None


@cache
def _fingerprint(command: tuple[str, ...]) -> str:
    """What a library depends on beside its source: the compiler, its flags, and the processor that it was compiled for."""
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout
    processor = Path("/proc/cpuinfo")
    lines = processor.read_text(encoding="utf-8", errors="replace").splitlines() if processor.exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return "\n".join((version, *FLAGS, platform.machine(), features, *(head.read_text(encoding="utf-8") for head in HEADS)))


def _command() -> Sequence[str]:
    command = _compiler()
    if command is None:
        raise EngineUnavailable("engine 'native' cannot run here: there is no C compiler")
    return command


def compiled(text: str, flags: Sequence[str] = OPTIMISED, told: Steps = ignored) -> ctypes.CDLL:
    """The library of a source, from the cache or from the compiler. Raises EngineError with what the compiler said."""
    key = hashlib.sha256("\n".join((_fingerprint(tuple(_command())), *flags, text)).encode()).hexdigest()
    path = cache_folder("native") / f"{key}.so"
    if not is_kept(path):
        _compile(text, path, flags, told)
        forget_oldest(path.parent)
    library = ctypes.CDLL(str(path))
    library.run.argtypes, library.run.restype = [*[ctypes.c_void_p] * 5, ctypes.c_long, ctypes.c_uint64], None
    return library


def _compile(text: str, path: Path, flags: Sequence[str], told: Steps) -> None:
    """Beside its place first, then renamed, so that nobody loads half a library."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        source, library = Path(folder, "program.c"), Path(folder, "program.so")
        source.write_text(text, encoding="utf-8")
        command = [*_command(), *flags, *FLAGS, f"-I{HEADS[0].parent}", "-o", str(library), str(source), "-lm"]
        _carry_out(command, folder, told)
        library.chmod(0o500)
        os.replace(library, path)


def _carry_out(command: Sequence[str], folder: str, told: Steps) -> None:
    """In a session of its own, so that Ctrl-C is ours, and that all the processes of a compiler can be stopped."""
    begin = partial(subprocess.Popen[str], env={**os.environ, "TMPDIR": folder}, start_new_session=True, text=True, errors="replace")
    with begin(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            said = _said(process, told)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            raise
    if process.returncode:
        raise EngineError(f"engine 'native': {command[0]} failed with status {process.returncode}: {said[:2000]}")


def _said(process: subprocess.Popen[str], told: Steps) -> str:
    """What a compiler complains of, once it has ended."""
    for _ in range(int(SECONDS / POLL)):
        try:
            return process.communicate(timeout=POLL)[1]
        except subprocess.TimeoutExpired:
            told(0, 1)
    raise EngineError(f"engine 'native': the compiler was not done after {SECONDS} seconds; engine='numpy' needs none")
