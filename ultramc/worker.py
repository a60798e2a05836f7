"""What is done in the threads and processes of an executor: a program is unpacked and compiled once, then chunks of it are carried out.

    the run ── Order ──> carry_out ── Answer ──> the run

An order names its commission; a worker that has not got it says so, and is sent it. So a program goes once to each process, through any
executor, also to workers that come later.
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
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, field, frozen

from ultramc.engines import registry
from ultramc.engines.base import CANONICAL_BLOCK, Chunk, Engine, Executable, Job, fitted
from ultramc.errors import InputError
from ultramc.identity import fingerprint, program_hash
from ultramc.program import Program

MOST_READY, MOST_COMPILED = 8, 32  # commissions, and compiled programs, that a process keeps
PROBED = (64, CANONICAL_BLOCK)  # iterations whose bits tell one worker from another: as many as take
PROBE = 0.25  # seconds


@frozen(eq=False)
class Commission:
    """What a run has its workers do. `memory`: bytes that each may take for it. `probed`: iterations that its voucher tells of."""

    program: Program
    engine: Engine
    job: Job
    memory: int
    probed: int

    def packed(self) -> bytes:
        """Raises InputError for what cannot be pickled."""
        what = f"engine {self.engine.name!r}"
        try:
            engine = pickle.dumps(self.engine)
            what = "the run"
            return pickle.dumps((self.program, program_hash(self.program), engine, self.job, self.memory, self.probed))
        except Exception as error:
            raise InputError(f"{what} cannot be sent to workers, since it cannot be pickled: {error}") from error


def probed(seconds: float, iterations: int) -> int:
    """How many iterations of a run, of which one takes about so many seconds, are worth a look at each worker."""
    least, most = PROBED
    return min(int(min(max(PROBE / seconds, least), most)), iterations)


@frozen(eq=False)
class Order:
    """Iterations `first` to `first` + `count` of a commission; none for its voucher alone.

    `key`: of the commission, each run its own. `parcel`: the commission itself, for a worker that has not got it. `attempt` makes each
    order another, for executors that carry out equal ones once.
    """

    key: str
    first: int = 0
    count: int = 0
    attempt: int = 0
    parcel: bytes | None = None


@frozen
class Voucher:
    """What a worker is, and a hash of the bits of its first iterations."""

    fingerprint: tuple[tuple[str, str], ...]
    bits: str

    @classmethod
    def of(cls, engine: Engine, executable: Executable, job: Job, count: int) -> Voucher:
        named = {**fingerprint(), **engine.fingerprint()}
        return cls(tuple(sorted(named.items())), hashlib.sha256(engine.run(executable, job, 0, count).bits).hexdigest())


@frozen(kw_only=True, eq=False)
class Answer:
    """Of one worker, a thread of a process: its voucher, or None where it lacks the commission; or what went wrong, and where."""

    worker: str
    voucher: Voucher | None = None
    chunk: Chunk | None = None
    seconds: float = 0.0
    error: Exception | None = None
    note: str = ""


@frozen(eq=False)
class Ready:
    """A commission that chunks can be carried out of."""

    engine: Engine
    executable: Executable
    job: Job
    voucher: Voucher

    @classmethod
    def made(cls, parcel: bytes) -> Ready:
        program, hashed, pickled, job, memory, count = pickle.loads(parcel)
        made = pickle.loads(pickled)
        # The class is in the key, since a notebook may have defined it again under its old name.
        engine, compiled = _COMPILED.get((hashed, pickled, type(made)), lambda: _compiled(program, made))
        executable, _ = fitted(engine, compiled, memory)
        return cls(engine, executable, job, Voucher.of(engine, executable, job, count))

    def answer(self, order: Order) -> Answer:
        begun = time.perf_counter()
        chunk = self.engine.run(self.executable, self.job, order.first, order.count) if order.count else None
        return Answer(worker=_here(), voucher=self.voucher, chunk=chunk, seconds=time.perf_counter() - begun)


def _compiled(program: Program, made: Engine) -> tuple[Engine, Executable]:
    engine = registry.engine(made)
    return engine, engine.compile(program)


@define(eq=False)
class _Place:
    """Where one thing is made, while others wait for it."""

    lock: threading.Lock = field(factory=threading.Lock)
    made: Any = None


@frozen(eq=False)
class Shelf:
    """Things by key, each made once, by the thread that comes first; beyond `most` the least recently used are forgotten."""

    most: int
    _places: OrderedDict[Any, _Place] = field(factory=OrderedDict)
    _lock: threading.Lock = field(factory=threading.Lock)

    def get(self, key: Any, make: Callable[[], Any] | None) -> Any:
        """None where there is none, and nothing that makes one."""
        with self._lock:
            if key not in self._places and make is None:
                return None
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            if len(self._places) > self.most:
                self._places.popitem(last=False)
        with place.lock:
            if place.made is None and make is not None:
                place.made = make()
            return place.made

    def forget(self, key: Any) -> None:
        with self._lock:
            self._places.pop(key, None)


_READY, _COMPILED = Shelf(MOST_READY), Shelf(MOST_COMPILED)


def carry_out(order: Order) -> Answer:
    """Never raises an Exception, so that one which comes out of an executor is the executor's own."""
    try:
        parcel = order.parcel
        ready = _READY.get(order.key, None if parcel is None else partial(Ready.made, parcel))
        return Answer(worker=_here()) if ready is None else ready.answer(order)
    except Exception as error:
        return Answer(worker=_here(), error=_portable(error), note=f"on worker {_here()}:\n{traceback.format_exc()}")


def forget(key: str) -> None:
    """What this process keeps of a run that has ended."""
    _READY.forget(key)


def _portable(error: Exception) -> Exception:
    """The error, or what can be said of it where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _here() -> str:
    return f"{socket.gethostname()}, process {os.getpid()}, thread {threading.get_native_id()}"
