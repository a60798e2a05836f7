"""What an engine is, and the chunk loop that all of them share, whoever carries the chunks out.

Iterations form canonical blocks of 4,096 by absolute index. A chunk is a whole number of blocks (the last may be short),
so that chunk size, threads and workers cannot change a bit of a result.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ultramc.errors import EngineValidationError, MemoryLimitExceeded, UnsupportedOp
from ultramc.program import Program, Slot
from ultramc.sampling import Job as Job
from ultramc.values import FIRST_ERROR

if TYPE_CHECKING:
    from ultramc.engines.pace import Pace

CANONICAL_BLOCK = 4_096

Executable = Any
Steps = Callable[[int, int], object]  # told how much of something is done, and of how much


def processors() -> int:
    """As many as the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ignored(done: int, total: int) -> None:
    """Steps that nobody follows."""


@frozen(eq=False)
class Chunk:
    """Iterations `first` to `first` + `count`: for each output payloads (cells, count), and tags or None where none vary."""

    first: int
    count: int
    payloads: tuple[NDArray[np.float64], ...]
    tags: tuple[NDArray[np.uint8] | None, ...]

    @property
    def bits(self) -> bytes:
        """Of all that means something: not the payloads of errors."""
        return b"".join(map(_bits, self.payloads, self.tags))


def _bits(payload: NDArray[np.float64], tags: NDArray[np.uint8] | None) -> bytes:
    return payload.tobytes() if tags is None else np.where(tags >= FIRST_ERROR, 0.0, payload).tobytes() + tags.tobytes()


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

    def fingerprint(self) -> Mapping[str, str]:
        """What its bits depend on beside NumPy and SciPy, such as a compiler: machines where it is another are not mixed in one run."""
        return {}

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


class Errand(Protocol):
    """A chunk that somebody is at. Its result: the chunk and its seconds, or None where the run was stopped before it was begun."""

    def done(self) -> bool: ...
    def result(self) -> tuple[Chunk, float] | None: ...
    def cancel(self) -> object: ...


class Crew(ABC):
    """Those who carry out the chunks of a run, from `with` to its end."""

    def warnings(self) -> tuple[str, ...]:
        """What a result must say of them."""
        return ()

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *failure: object) -> None: ...

    @abstractmethod
    def has_room(self, under_way: Sequence[Errand]) -> bool:
        """Whether another chunk may be handed over while these are not received yet."""

    @abstractmethod
    def begin(self, first: int, count: int) -> Errand: ...

    @abstractmethod
    def wait(self, under_way: Sequence[Errand]) -> None:
        """Until one more may be done."""


class Threads(Crew):
    """The engine's threads in this process."""

    def __init__(self, engine: Engine, executable: Executable, job: Job, stop: Callable[[], bool]) -> None:
        self._engine = engine
        self._begin = partial(_timed, engine, executable, job, stop)

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(max_workers=self._engine.threads, thread_name_prefix="ultramc")
        return self

    def __exit__(self, *failure: object) -> None:
        self._pool.shutdown()

    def has_room(self, under_way: Sequence[Errand]) -> bool:
        return len(under_way) < 2 * self._engine.threads

    def begin(self, first: int, count: int) -> Future[tuple[Chunk, float] | None]:
        return self._pool.submit(self._begin, first, count)

    def wait(self, under_way: Sequence[Any]) -> None:
        wait(under_way, return_when=FIRST_COMPLETED)


def _timed(
    engine: Engine, executable: Executable, job: Job, stop: Callable[[], bool], first: int, count: int
) -> tuple[Chunk, float] | None:
    if stop():
        return None
    begun = time.perf_counter()
    return engine.run(executable, job, first, count), time.perf_counter() - begun


def execute(crew: Crew, iterations: int, pace: Pace, receive: Callable[[Chunk], None], begun: int = 0) -> None:
    """Have all chunks carried out, from iteration `begun` on; `receive` is called here, in their order, until one was stopped."""
    under_way: deque[Errand] = deque()
    try:
        while True:
            while begun < iterations and not (under_way and under_way[0].done()) and crew.has_room(under_way):
                count = pace.next(begun, iterations)
                under_way.append(crew.begin(begun, count))
                begun += count
            if not under_way:
                return
            crew.wait(under_way)
            while under_way and under_way[0].done():
                answer = under_way.popleft().result()
                if answer is None:
                    return
                chunk, seconds = answer
                pace.took(chunk.count, seconds)
                receive(chunk)
    finally:
        for errand in under_way:
            errand.cancel()


@frozen
class EngineInfo:
    """One registered engine, as `available_engines` lists it."""

    name: str
    available: bool
    reason: str = ""
