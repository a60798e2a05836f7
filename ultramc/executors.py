"""`executor=`: chunks carried out by the threads or processes of somebody else, on this machine or on many, with the bits of a run here.

Chunks come back in any order and are received in theirs; one that does not come back is asked for again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from functools import partial
from multiprocessing import get_context, parent_process
from secrets import token_hex
from typing import Any, Protocol

from attrs import define, evolve, field, frozen

from ultramc.arguments import at_least_one
from ultramc.engines.base import CANONICAL_BLOCK, Chunk, Crew
from ultramc.errors import ExecutorError, InputError
from ultramc.listening import seconds
from ultramc.logs import log
from ultramc.program import Slot
from ultramc.worker import Answer, Commission, Order, Voucher, carry_out, forget

LARGEST_ANSWER = 2**25  # bytes of the samples of a chunk: what is pickled at once, and waits for those before it
FEWEST_CHUNKS = 32  # of a run, so that many workers have their part of a short one, and end together
MOST_WAITING = 64  # answers of the largest chunks that memory has room for
REMEMBERED = 256  # answers, by whose workers it is told how many there are
POLL = 0.1  # seconds between two looks at whether the run was cancelled, or a chunk is overdue

NEXT_STEPS = {
    "BrokenExecutor": "a pool does not replace a process that died; make another, or use Dask, which goes on without it. "
    'In a script, make the pool under `if __name__ == "__main__":`',
    "CancelledError": "somebody cancelled it or shut it down, or it lost its scheduler; a checkpoint= keeps what is done",
    "KilledWorker": "Dask tried again and gave up: see the log of its workers; they may lack memory, which smaller chunks (chunk=) save",
}


def _executor_of(given: Any) -> Executor:
    if hasattr(given, "get_executor"):
        given = given.get_executor(pure=False)
    if not isinstance(given, Executor):
        raise InputError(f"executor={given!r}: a concurrent.futures.Executor, a dask.distributed.Client, or ultramc.Workers")
    context = getattr(given, "_mp_context", None)
    if isinstance(given, ProcessPoolExecutor) and context is not None and context.get_start_method() == "fork":
        raise InputError(
            "executor= is a pool of forked processes, which may hang on locks that other threads held; "
            'use ultramc.process_pool(), or ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))'
        )
    return given


@frozen
class Workers:
    """How a run uses an executor. `Simulation.run(executor=…)` takes the executor itself, too.

    `executor`: a `concurrent.futures.Executor`, or a `dask.distributed.Client`. `timeout`: seconds after which a chunk is asked for
    again, waiting in the executor's queue included; whichever comes first counts. `attempts`: how often, before the run fails.
    `allow_different`: workers with other libraries or another processor too, whose results may differ in their last bits; the
    result names them. Raises InputError.
    """

    executor: Executor = field(converter=_executor_of)
    timeout: float = 300.0
    attempts: int = 4
    allow_different: bool = False

    def __attrs_post_init__(self) -> None:
        seconds("timeout", self.timeout)
        at_least_one("attempts", self.attempts)

    @classmethod
    def of(cls, given: object) -> Workers | None:
        return given if given is None or isinstance(given, Workers) else cls(given)


class Client(Protocol):
    """Such as a `dask.distributed.Client`."""

    def get_executor(self, **options: Any) -> Any: ...


Given = Executor | Client | Workers  # as `executor=`


def most_for_workers(slots: Sequence[Slot], iterations: int, memory: int, fewest: int) -> int:
    """Iterations of the largest chunk of a run, as whole blocks. `fewest`: fewer take as long on its engine."""
    fitting = min(LARGEST_ANSWER, memory // MOST_WAITING) // _bytes_per_iteration(slots)
    return max(1, min(fitting, iterations // FEWEST_CHUNKS) // CANONICAL_BLOCK, fewest // CANONICAL_BLOCK) * CANONICAL_BLOCK


def _bytes_per_iteration(slots: Sequence[Slot]) -> int:
    return sum(slot.cells.size * (8 if isinstance(slot.tag, int) else 9) for slot in slots) or 1


def process_pool(workers: int | None = None) -> ProcessPoolExecutor:
    """A pool for `executor=` with `workers` processes (default: one for each processor). Use it in a `with` statement, or shut it down.

    They begin afresh ("spawn"), leave Ctrl-C to the caller, and end when he does, however that is. In a script, make the pool under
    `if __name__ == "__main__":`, as each process imports the script.
    """
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin_process)


def _begin_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process of a pool whose parent was killed would wait for work forever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@define(eq=False)
class Sent:
    """A chunk that workers are at: several of them, where the first was overdue. What went wrong is raised in its turn."""

    order: Order
    futures: list[Future[Answer]] = field(factory=list)
    since: float = 0.0
    answer: Answer | None = None
    error: Exception | None = None
    is_given_up: bool = False

    def done(self) -> bool:
        return self.answer is not None or self.error is not None or self.is_given_up

    def result(self) -> tuple[Chunk, float] | None:
        if self.error is not None:
            raise self.error
        if self.answer is None or self.answer.chunk is None:
            return None
        return self.answer.chunk, self.answer.seconds

    def cancel(self) -> None:
        for future in self.futures:
            future.cancel()


class Delegates(Crew):
    """The workers of an executor, for one run. Each is believed whose voucher is `expected`.

    Raises ExecutorError where the executor fails, and what a worker raised, with a note where that was.
    """

    def __init__(self, workers: Workers, commission: Commission, expected: Voucher, stop: Callable[[], bool]) -> None:
        self._workers = workers
        self._key = token_hex(16)
        self._parcel = commission.packed()
        self._memory = commission.memory
        self._each = _bytes_per_iteration(commission.program.outputs)
        self._believed = {expected: ""}  # vouchers, and what is different about them
        self._expected = expected
        self._stop = stop
        self._recent: deque[str] = deque(maxlen=REMEMBERED)

    def __exit__(self, *failure: object) -> None:
        forget(self._key)
        log.info("executor used", executor=type(self._workers.executor).__name__, workers=len(set(self._recent)))

    def warnings(self) -> tuple[str, ...]:
        return tuple(filter(None, self._believed.values()))

    def meet(self) -> None:
        """Wait for the first worker, and look at its voucher; or until the run is stopped."""
        sent = self._sent(Order(self._key, parcel=self._parcel))
        try:
            while not sent.done():
                self.wait([sent])
            sent.result()
        finally:
            sent.cancel()

    def has_room(self, under_way: Sequence[Any]) -> bool:
        """As many again as there are workers wait, so that none is idle; and as many may have come too early, if there is memory."""
        room = 2 * len(set(self._recent)) + 2
        fits = self._each * sum(sent.order.count for sent in under_way) < self._memory
        waits = len(under_way) < 2 * room and sum(not sent.done() for sent in under_way) < room and fits
        return not under_way or (waits and not any(sent.error for sent in under_way))

    def begin(self, first: int, count: int) -> Sent:
        return self._sent(Order(self._key, first, count))

    def _sent(self, order: Order) -> Sent:
        sent = Sent(order, is_given_up=self._stop())
        if not sent.is_given_up:
            self._try(sent, self._send)
            self._look_after(sent)  # an executor may do it at once
        return sent

    def _try(self, sent: Sent, step: Callable[[Sent], None]) -> None:
        try:
            step(sent)
        except Exception as error:
            sent.error = error

    def wait(self, under_way: Sequence[Any]) -> None:
        waiting = [sent for sent in under_way if not sent.done()]
        wait([future for sent in waiting for future in sent.futures], timeout=POLL, return_when=FIRST_COMPLETED)
        for sent in waiting:
            self._look_after(sent)

    def _look_after(self, sent: Sent) -> None:
        for future in [future for future in sent.futures if future.done()]:
            if not sent.done():
                sent.futures.remove(future)
                self._try(sent, partial(self._take, future))
        if not sent.done() and self._stop():
            sent.is_given_up = True
        elif not sent.done() and time.monotonic() > sent.since + self._workers.timeout:
            self._try(sent, self._ask_again)
        if sent.done():
            sent.cancel()

    def _take(self, future: Future[Answer], sent: Sent) -> None:
        try:
            answer = future.result()
        except BaseException as error:  # whatever it is, it is not the caller's Ctrl-C: that comes to the caller's thread
            failure = self._failure(error, sent.order)
            if not sent.futures:
                raise failure from error
            log.warning("chunk lost, asked for already", reason=str(failure))
            return
        if answer.error is not None:
            answer.error.add_note(answer.note)
            raise answer.error
        if answer.voucher is None:
            sent.order = evolve(sent.order, parcel=self._parcel)
            self._send(sent)
            return
        self._believe(answer.worker, answer.voucher)
        self._refuse_another(sent.order, answer)
        self._recent.append(answer.worker)
        sent.answer = answer

    def _send(self, sent: Sent) -> None:
        try:
            sent.futures.append(self._workers.executor.submit(carry_out, sent.order))
        except Exception as error:
            raise self._failure(error, sent.order) from error
        sent.since = time.monotonic()

    def _failure(self, error: BaseException, order: Order) -> ExecutorError:
        kind = type(error).__name__
        told = f"{kind}: {str(error).rstrip('.')}" if str(error) else kind
        return ExecutorError(
            f"{_described(order)}: executor {type(self._workers.executor).__name__} failed with {told}; {_next_step(error)}"
        )

    def _ask_again(self, sent: Sent) -> None:
        made = sent.order.attempt + 1
        if made >= self._workers.attempts:
            itself = "" if sent.order.count else ", and whether one of them started this run, which then waits for itself"
            raise ExecutorError(
                f"{_described(sent.order)}: asked for {made} times, no answer for {self._workers.timeout:g} seconds each time. "
                f"See whether the workers are alive and idle{itself}; allow more with executor=ultramc.Workers(…, timeout=seconds)"
            )
        log.warning("chunk overdue, asked for again", first=sent.order.first, count=sent.order.count, attempt=made + 1)
        sent.order = evolve(sent.order, attempt=made)
        self._send(sent)

    def _believe(self, worker: str, voucher: Voucher) -> None:
        if voucher in self._believed:
            return
        told = _difference(self._expected, voucher)
        if not self._workers.allow_different:
            raise ExecutorError(
                f"worker {worker} is not like the machine that asks: {told}. Make them the same, "
                "or allow other last bits with executor=ultramc.Workers(…, allow_different=True)"
            )
        self._believed[voucher] = f"worker {worker} took part although {told}"
        log.warning("different worker", worker=worker, difference=told)

    def _refuse_another(self, order: Order, answer: Answer) -> None:
        got = (order.first, 0) if answer.chunk is None else (answer.chunk.first, answer.chunk.count)
        if got != (order.first, order.count):
            raise ExecutorError(f"{_described(order)}: worker {answer.worker} answered with {got[1]:,} iterations from {got[0]:,} on")


def _next_step(error: BaseException) -> str:
    steps = (step for kind, step in NEXT_STEPS.items() if kind in {each.__name__ for each in type(error).__mro__})
    return next(steps, "see whether it is shut down, and whether its workers have ultramc and the engine")


def _difference(here: Voucher, there: Voucher) -> str:
    ours, theirs = dict(here.fingerprint), dict(there.fingerprint)
    pairs = [(name, ours.get(name), theirs.get(name)) for name in sorted({*ours, *theirs})]
    differing = [f"{name} is {one!r} here and {other!r} there" for name, one, other in pairs if one != other]
    return ", ".join(differing) or "with the same libraries it gives other bits for the first iterations"


def _described(order: Order) -> str:
    return f"iterations {order.first:,} to {order.first + order.count:,}" if order.count else "the first order to a worker"
