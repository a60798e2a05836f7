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
from multiprocessing import get_context, parent_process
from typing import Any

from attrs import define, evolve, field, frozen

from ultramc.arguments import at_least_one
from ultramc.engines.base import CANONICAL_BLOCK, Chunk, Crew
from ultramc.errors import ExecutorError, InputError
from ultramc.listening import seconds
from ultramc.logs import log
from ultramc.program import Slot
from ultramc.worker import Answer, Commission, Order, Voucher, carry_out

LARGEST_ANSWER = 2**25  # bytes of the samples of a chunk: what is pickled at once, and waits for those before it
FEWEST_CHUNKS = 32  # of a run, so that many workers have their part of a short one, and end together
MOST_WAITING = 64  # answers that may wait for one before them, each with its part of the memory
REMEMBERED = 256  # answers, by whose workers it is told how many there are
POLL = 0.1  # seconds between two looks at whether the run was cancelled, or a chunk is overdue

NEXT_STEPS = {
    "BrokenProcessPool": "a pool does not replace a process that died; make another, or use Dask, which goes on without it. "
    'In a script, make the pool under `if __name__ == "__main__":`',
    "CancelledError": "it was shut down, or lost its scheduler; what is done is kept in a checkpoint=, if there is one",
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


def most_for_workers(slots: Sequence[Slot], iterations: int, memory: int) -> int:
    """Iterations of the largest chunk of a run, as whole blocks."""
    each = sum(slot.cells.size * (8 if isinstance(slot.tag, int) else 9) for slot in slots) or 1
    fitting = min(LARGEST_ANSWER, memory // MOST_WAITING) // each
    return max(1, min(fitting, iterations // FEWEST_CHUNKS) // CANONICAL_BLOCK) * CANONICAL_BLOCK


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
    """A chunk that workers are at: several of them, where the first was overdue."""

    order: Order
    futures: list[Future[Answer]] = field(factory=list)
    since: float = 0.0
    answer: Answer | None = None
    is_given_up: bool = False

    def done(self) -> bool:
        return self.answer is not None or self.is_given_up

    def result(self) -> tuple[Chunk, float] | None:
        if self.answer is None or self.answer.chunk is None:
            return None
        return self.answer.chunk, self.answer.seconds

    def cancel(self) -> None:
        for future in self.futures:
            future.cancel()


class Delegates(Crew):
    """The workers of an executor, for one run. Each is believed once its voucher is `expected`.

    Raises ExecutorError where the executor fails, and what a worker raised, with a note where that was.
    """

    def __init__(self, workers: Workers, commission: Commission, expected: Voucher, stop: Callable[[], bool]) -> None:
        self._workers = workers
        self._parcel = commission.packed()
        self._expected = expected
        self._stop = stop
        self._known: set[str] = set()
        self._recent: deque[str] = deque(maxlen=REMEMBERED)
        self._different: dict[str, str] = {}  # what is, and the first worker where it is

    def __exit__(self, *failure: object) -> None:
        log.info("executor used", executor=type(self._workers.executor).__name__, workers=len(self._known))

    def warnings(self) -> tuple[str, ...]:
        return tuple(f"worker {worker} took part although {told}" for told, worker in self._different.items())

    def meet(self) -> None:
        """Wait for the first worker, and look at its voucher; or until the run is stopped."""
        sent = Sent(Order(self._parcel.key, parcel=self._parcel.content))
        self._send(sent)
        while not sent.done():
            self.wait([sent])

    def has_room(self, under_way: Sequence[Any]) -> bool:
        """As many again as there are workers wait, so that none is idle; and as many may have come too early."""
        room = 2 * len(set(self._recent)) + 2
        return len(under_way) < 2 * room and sum(not sent.done() for sent in under_way) < room

    def begin(self, first: int, count: int) -> Sent:
        sent = Sent(Order(self._parcel.key, first, count))
        self._send(sent)
        return sent

    def wait(self, under_way: Sequence[Any]) -> None:
        waiting = [sent for sent in under_way if not sent.done()]
        wait([future for sent in waiting for future in sent.futures], timeout=POLL, return_when=FIRST_COMPLETED)
        for sent in waiting:
            self._look_after(sent)

    def _look_after(self, sent: Sent) -> None:
        for future in [future for future in sent.futures if future.done()]:
            sent.futures.remove(future)
            self._take(sent, self._answer(future, sent.order))
        if not sent.done() and self._stop():
            sent.is_given_up = True
        elif not sent.done() and time.monotonic() > sent.since + self._workers.timeout:
            self._ask_again(sent)
        if sent.done():
            sent.cancel()

    def _take(self, sent: Sent, answer: Answer) -> None:
        if answer.error is not None:
            raise answer.error
        if answer.voucher is None:
            sent.order = evolve(sent.order, parcel=self._parcel.content)
            self._send(sent)
            return
        self._recent.append(answer.worker)
        if answer.worker not in self._known:
            self._believe(answer.worker, answer.voucher)
        sent.answer = answer

    def _answer(self, future: Future[Answer], order: Order) -> Answer:
        try:
            return future.result()
        except Exception as error:
            raise self._failure(error, order) from error

    def _send(self, sent: Sent) -> None:
        try:
            sent.futures.append(self._workers.executor.submit(carry_out, sent.order))
        except Exception as error:
            raise self._failure(error, sent.order) from error
        sent.since = time.monotonic()

    def _failure(self, error: Exception, order: Order) -> ExecutorError:
        kind = type(error).__name__
        step = NEXT_STEPS.get(kind, "see whether it is shut down, and whether its workers have ultramc and the engine")
        told = f"{kind}: {error}" if str(error) else kind
        return ExecutorError(f"{_described(order)}: executor {type(self._workers.executor).__name__} failed with {told}; {step}")

    def _ask_again(self, sent: Sent) -> None:
        made = sent.order.attempt + 1
        if made >= self._workers.attempts:
            raise ExecutorError(
                f"{_described(sent.order)}: asked for {made} times, no answer for {self._workers.timeout:g} seconds each time. "
                "See whether the workers are alive and idle; allow more with executor=ultramc.Workers(…, timeout=seconds)"
            )
        log.warning("chunk overdue, asked for again", first=sent.order.first, count=sent.order.count, attempt=made + 1)
        sent.order = evolve(sent.order, attempt=made)
        self._send(sent)

    def _believe(self, worker: str, voucher: Voucher) -> None:
        told = _difference(self._expected, voucher)
        if told and not self._workers.allow_different:
            raise ExecutorError(
                f"worker {worker} is not like the machine that asks: {told}. Make them the same, "
                "or allow other last bits with executor=ultramc.Workers(…, allow_different=True)"
            )
        if told:
            self._different.setdefault(told, worker)
            log.warning("different worker", worker=worker, difference=told)
        self._known.add(worker)


def _difference(here: Voucher, there: Voucher) -> str:
    """Empty where there is none."""
    names = sorted({*here.fingerprint, *there.fingerprint})
    pairs = [(name, here.fingerprint.get(name), there.fingerprint.get(name)) for name in names]
    differing = [f"{name} is {one!r} here and {other!r} there" for name, one, other in pairs if one != other]
    if not differing and here.bits != there.bits:
        return "with the same libraries it gives other bits for the first iterations"
    return ", ".join(differing)


def _described(order: Order) -> str:
    return f"iterations {order.first:,} to {order.first + order.count:,}" if order.count else "the first order to a worker"
