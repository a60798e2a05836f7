"""What an engine is, and the chunk loop that all of them share.

Iterations form canonical blocks of 4,096 by absolute index. A chunk is a whole number of blocks (the last may be short),
so that chunk size and threads cannot change a bit of a result.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ultramc.errors import EngineValidationError, MemoryLimitExceeded, UnsupportedOp
from ultramc.program import Program, Slot
from ultramc.sampling import Job as Job

if TYPE_CHECKING:
    from ultramc.engines.pace import Pace

CANONICAL_BLOCK = 4_096

Executable = Any
Steps = Callable[[int, int], object]  # told how much of something is done, and of how much


def ignored(done: int, total: int) -> None:
    """Steps that nobody follows."""


@frozen(eq=False)
class Chunk:
    """Iterations `first` to `first` + `count`: for each output payloads (cells, count), and tags or None where none vary."""

    first: int
    count: int
    payloads: tuple[NDArray[np.float64], ...]
    tags: tuple[NDArray[np.uint8] | None, ...]


def empty_chunk(slots: Sequence[Slot], first: int, count: int) -> Chunk:
    """To be filled."""
    payloads = tuple(np.empty((slot.cells.size, count)) for slot in slots)
    tags = tuple(None if isinstance(slot.tag, int) else np.empty((slot.cells.size, count), np.uint8) for slot in slots)
    return Chunk(first, count, payloads, tags)


@frozen
class Availability:
    """Whether an engine can run here; `reason` says why not and what to install."""

    available: bool
    reason: str = ""


class Engine(ABC):
    """Turns a program into something executable, and executes ranges of iterations of it."""

    name: str
    supports: frozenset[str]
    invalid: type[EngineValidationError] = EngineValidationError  # what is raised where it disagrees with NumPy
    lacks: Mapping[str, str] = MappingProxyType({})  # why an op is not supported, where there is more to say
    strata: int = 0  # stretches of each run that are computed again on NumPy, where a device is not to be trusted for long

    @abstractmethod
    def availability(self) -> Availability: ...

    @abstractmethod
    def compile(self, program: Program) -> Executable:
        """Raises UnsupportedOp where the program needs an op that the engine lacks."""

    def compile_in_steps(self, program: Program, told: Steps) -> Executable:
        """`compile`, by an engine that can say how far it is: `told` is called between its steps, and may raise to end it."""
        return self.compile(program)

    @abstractmethod
    def run(self, executable: Executable, job: Job, first: int, count: int) -> Chunk:
        """Execute some iterations; any number of threads may do so at once."""

    @abstractmethod
    def bytes_per_iteration(self, executable: Executable) -> int:
        """Working memory of one thread for one iteration of those that it carries out at once."""

    def iterations_at_once(self, executable: Executable) -> int:
        """How many iterations are carried out at once."""
        return CANONICAL_BLOCK

    def fewest_iterations(self, executable: Executable) -> int:
        """Fewer than these take as long."""
        return 1

    def within(self, executable: Executable, memory: int) -> Executable:
        """The executable for a run in which one thread may take so many bytes: with fewer iterations at once, if it can."""
        return executable

    def chunk_blocks(self, executable: Executable) -> int:
        """How many canonical blocks make a chunk."""
        return 1

    @property
    def threads(self) -> int:
        return 1

    def refuse_unsupported(self, program: Program) -> None:
        for op, instruction in program.ops().items():
            if op not in self.supports:
                reason = f" ({self.lacks[op]})" if op in self.lacks else ""
                raise UnsupportedOp(f"{instruction.cell}: engine {self.name!r} has no op {op!r}{reason}; {_engines_with(op)}")


def _engines_with(op: str) -> str:
    from ultramc.engines.registry import engines_with

    able = engines_with(op)
    return f"engines that have it: {', '.join(able)}" if able else "no engine has it"


def fitted(engine: Engine, executable: Executable, memory: int) -> tuple[Executable, int]:
    """The executable for a run that may take `memory` bytes, and the chunk size: what the engine likes, or as many blocks as fit.

    Raises MemoryLimitExceeded.
    """
    executable = engine.within(executable, memory // engine.threads)
    each = max(1, engine.bytes_per_iteration(executable) * engine.threads)
    at_once = engine.iterations_at_once(executable)
    if each * at_once > memory:
        raise MemoryLimitExceeded(
            f"{at_once:,} iterations at once need {each * at_once:,} bytes of working memory, {memory:,} are allowed; "
            "raise memory_limit=, use fewer threads, or name fewer outputs"
        )
    return executable, max(1, min(engine.chunk_blocks(executable), memory // (each * CANONICAL_BLOCK))) * CANONICAL_BLOCK


def execute(
    engine: Engine,
    executable: Executable,
    job: Job,
    pace: Pace,
    receive: Callable[[Chunk], None],
    stop: Callable[[], bool],
    begun: int = 0,
) -> None:
    """Run all chunks on the engine's threads, from iteration `begun` on; `receive` is called here, in their order. `stop` ends the run."""
    pending: deque[Future[tuple[Chunk, float] | None]] = deque()
    with ThreadPoolExecutor(max_workers=engine.threads, thread_name_prefix="ultramc") as pool:
        try:
            while True:
                while begun < job.iterations and len(pending) < 2 * engine.threads:
                    count = pace.next(begun, job.iterations)
                    pending.append(pool.submit(_timed, engine, executable, job, begun, count, stop))
                    begun += count
                if not pending:
                    return
                wait(pending, return_when=FIRST_COMPLETED)
                while pending and pending[0].done():
                    answer = pending.popleft().result()
                    if answer is None:
                        return
                    chunk, seconds = answer
                    pace.took(chunk.count, seconds)
                    receive(chunk)
        finally:
            for future in pending:
                future.cancel()


def _timed(
    engine: Engine, executable: Executable, job: Job, first: int, count: int, stop: Callable[[], bool]
) -> tuple[Chunk, float] | None:
    """A chunk and its seconds; None where the run was stopped while the chunk waited for a thread."""
    if stop():
        return None
    begun = time.perf_counter()
    return engine.run(executable, job, first, count), time.perf_counter() - begun


@frozen
class EngineInfo:
    """One registered engine, as `available_engines` lists it."""

    name: str
    available: bool
    reason: str = ""
