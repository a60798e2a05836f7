"""What is done in the threads and processes of an executor: a program is unpacked and compiled once, then chunks of it are carried out.

    the run ── Order ──> carry_out ── Answer ──> the run

An order names its commission by a hash; a worker that has not got it says so, and is sent it. So a program goes once to each process,
through any executor, also to workers that come later.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen

from ultramc.engines import registry
from ultramc.engines.base import Chunk, Engine, Executable, Job, fitted
from ultramc.errors import InputError
from ultramc.identity import fingerprint, program_hash
from ultramc.program import Program

KEPT = 4  # commissions, and compiled programs, that a process keeps
PROBED = 64  # iterations whose bits tell one worker from another


@frozen(eq=False)
class Commission:
    """What a run has its workers do. `memory`: bytes that each may take for it."""

    program: Program
    engine: Engine
    job: Job
    memory: int

    def packed(self) -> Parcel:
        """Raises InputError where the engine cannot be pickled."""
        try:
            engine = pickle.dumps(self.engine)
        except Exception as error:
            raise InputError(f"engine {self.engine.name!r} cannot be sent to workers, since it cannot be pickled: {error}") from error
        content = pickle.dumps((self.program, program_hash(self.program), engine, self.job, self.memory))
        return Parcel(hashlib.sha256(content).hexdigest(), content)


@frozen(eq=False)
class Parcel:
    """A commission as bytes, and their hash."""

    key: str
    content: bytes


@frozen(eq=False)
class Order:
    """Iterations `first` to `first` + `count` of a commission; none for its voucher alone.

    `parcel`: the commission itself, for a worker that has not got it. `attempt` makes each order another, for executors that carry
    out equal ones once.
    """

    key: str
    first: int = 0
    count: int = 0
    attempt: int = 0
    parcel: bytes | None = None


@frozen(eq=False)
class Voucher:
    """What a worker is, and a hash of the bits of its first iterations."""

    fingerprint: Mapping[str, str]
    bits: str

    @classmethod
    def of(cls, engine: Engine, executable: Executable, job: Job) -> Voucher:
        chunk = engine.run(executable, job, 0, min(PROBED, job.iterations))
        return cls(fingerprint(), hashlib.sha256(chunk.bits).hexdigest())


@frozen(kw_only=True, eq=False)
class Answer:
    """Of one worker, a thread of a process: its voucher, or None where it lacks the commission; or what went wrong."""

    worker: str
    voucher: Voucher | None = None
    chunk: Chunk | None = None
    seconds: float = 0.0
    error: Exception | None = None


@frozen(eq=False)
class Ready:
    """A commission that chunks can be carried out of."""

    engine: Engine
    executable: Executable
    job: Job
    voucher: Voucher

    @classmethod
    def made(cls, parcel: bytes) -> Ready:
        program, hashed, pickled, job, memory = pickle.loads(parcel)
        engine, compiled = _COMPILED.get((hashed, pickled), lambda: _compiled(program, pickled))
        executable, _ = fitted(engine, compiled, memory)
        return cls(engine, executable, job, Voucher.of(engine, executable, job))

    def answer(self, order: Order) -> Answer:
        begun = time.perf_counter()
        chunk = self.engine.run(self.executable, self.job, order.first, order.count) if order.count else None
        return Answer(worker=_here(), voucher=self.voucher, chunk=chunk, seconds=time.perf_counter() - begun)


def _compiled(program: Program, pickled: bytes) -> tuple[Engine, Executable]:
    engine = registry.engine(pickle.loads(pickled))
    return engine, engine.compile(program)


@define(eq=False)
class _Place:
    """Where one thing is made, while others wait for it."""

    lock: threading.Lock = field(factory=threading.Lock)
    made: Any = None


@frozen(eq=False)
class Shelf:
    """Things by key, each made once, by the thread that comes first; the least recently used are forgotten. None counts as not made."""

    _places: OrderedDict[Any, _Place] = field(factory=OrderedDict)
    _lock: threading.Lock = field(factory=threading.Lock)

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        with self._lock:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            if len(self._places) > KEPT:
                self._places.popitem(last=False)
        with place.lock:
            if place.made is None:
                place.made = make()
            return place.made


_READY, _COMPILED = Shelf(), Shelf()


def carry_out(order: Order) -> Answer:
    """Never raises an Exception, so that one which comes out of an executor is the executor's own."""
    try:
        ready = _READY.get(order.key, lambda: None if order.parcel is None else Ready.made(order.parcel))
        return Answer(worker=_here()) if ready is None else ready.answer(order)
    except Exception as error:
        error.add_note(f"on worker {_here()}:\n{traceback.format_exc()}")
        return Answer(worker=_here(), error=_portable(error))


def _portable(error: Exception) -> Exception:
    """The error, or what can be said of it where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _here() -> str:
    return f"{socket.gethostname()}, process {os.getpid()}, thread {threading.get_native_id()}"
