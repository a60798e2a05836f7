"""The children of a batch, on an event loop of the batch's own: one task each, and a monitor that tells how far all have come.

A child's error becomes its outcome, so that it takes no other child with it. The monitor has no such mercy: where it ends before the
children, the batch fails, since nobody would know any more how far they are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from secrets import token_hex

from attrs import define, evolve
from structlog.contextvars import bind_contextvars

from ultramc.arguments import free_memory
from ultramc.asynchronous import EventStream
from ultramc.batch import BatchItem, BatchRequest, BatchResult
from ultramc.delivery import Feed, Tracker
from ultramc.errors import RunError, SimulationCancelled
from ultramc.launching import Stages, because
from ultramc.logs import log
from ultramc.progress import CancelToken, ErrorInfo, ProgressEvent, RunState
from ultramc.results import Result
from ultramc.tally import Standing, position_of, state_of


def run(asked: BatchRequest, stages: Stages) -> BatchResult:
    """Raises BatchError where no child completed, SimulationCancelled, and RunError where the monitor has ended before its time."""
    course = Course(asked, stages.feed, CancelToken((stages.token,)))
    asyncio.run(course.run())
    return course.outcome()


class Course:
    """One run of a batch, on one event loop. `token` cancels the children, as the token of the batch does."""

    def __init__(self, asked: BatchRequest, feed: Feed, token: CancelToken) -> None:
        self.asked = asked
        self.feed = feed
        self.token = token
        self.started = time.perf_counter()
        self.slots = asyncio.Semaphore(asked.max_parallel)
        self.reports: asyncio.Queue[tuple[str, Standing]] = asyncio.Queue()
        self.children = {label: Child(label, item, self, Standing(total=item.iterations)) for label, item in asked.items.items()}

    async def run(self) -> None:
        log.info("batch started", children=len(self.children), max_parallel=self.asked.max_parallel)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._supervised(), name="ultramc batch monitor")
                for label, child in self.children.items():
                    group.create_task(child.live(), name=f"ultramc batch child {label}")
        except ExceptionGroup as failed:
            (error,) = failed.exceptions  # the monitor's: no other task raises an Exception
            assert isinstance(error, RunError)
            error.run = self._result(RunState.FAILED)
            raise error from error.__cause__

    async def _supervised(self) -> None:
        try:
            await self._monitor()
        except asyncio.CancelledError:
            raise RunError("the monitor of the batch was stopped before the children had ended; they were cancelled") from None
        except Exception as error:
            raise RunError(f"the monitor of the batch failed, and the children were cancelled: {ErrorInfo.of(error)}") from error

    async def _monitor(self) -> None:
        """Moves the batch with each report of a child, until all have ended."""
        standings = {label: child.standing for label, child in self.children.items()}
        while not all(standing.state.is_final for standing in standings.values()):
            label, standing = await self.reports.get()
            standings[label] = standing
            self.feed.move(position_of(list(standings.values()), is_cancelled=self.token.cancelled))

    # The end

    def outcome(self) -> BatchResult:
        states = {child.standing.state for child in self.children.values()}
        if self.token.cancelled and RunState.CANCELLED in states:
            raise self._cancelled()
        if RunState.COMPLETED not in states:
            raise self._result(RunState.FAILED).error()
        return self._result(RunState.COMPLETED)

    def _cancelled(self) -> SimulationCancelled:
        result, total = self._result(RunState.CANCELLED), position_of(self._standings()).total
        of = "" if total is None else f"of {total:,} "
        error = SimulationCancelled(f"cancelled after {result.iterations:,} {of}iterations{because(self.token)}", result)
        error.__cause__ = next((each for each in result.errors.values() if state_of(each) is RunState.FAILED), None)
        return error

    def _result(self, state: RunState) -> BatchResult:
        children = self.children.values()
        return BatchResult(
            state=state.value,
            iterations=sum(child.standing.done for child in children),
            elapsed=time.perf_counter() - self.started,
            states={child.label: child.standing.state for child in children},
            results={child.label: child.result for child in children if child.result is not None},
            errors={child.label: child.error for child in children if child.error is not None},
        )

    def _standings(self) -> list[Standing]:
        return [child.standing for child in self.children.values()]


@define(eq=False)
class Child:
    """One child: where it stands, and what became of it."""

    label: str
    item: BatchItem
    course: Course
    standing: Standing
    result: Result | None = None
    error: Exception | None = None
    _stream: EventStream[Result] | None = None
    _heard: int = -1  # seq of the last event

    async def live(self) -> None:
        """From the queue to the end. Raises CancelledError where its task is cancelled or the child raises it, and no Exception."""
        try:
            async with self.course.slots:
                self.result = await self._simulated()
        except asyncio.CancelledError as cancelled:
            self._fail(self._reason_of(cancelled))
            raise
        except Exception as error:
            self._fail(error)

    async def _simulated(self) -> Result:
        self._go_on()
        self._report(evolve(self.standing, state=RunState.RUNNING))
        bind_contextvars(parent_id=self.course.feed.run_id, child=self.label)
        self._stream = await asyncio.to_thread(self._opened)
        async for event in self._stream:
            self._hear(event)
        return self._stream.result()

    def _go_on(self) -> None:
        if self.course.token.cancelled:
            raise SimulationCancelled(f"cancelled before it began{because(self.course.token)}")

    def _opened(self) -> EventStream[Result]:
        """Reading a workbook, or loading an engine, takes its time: not on the event loop."""
        asked = self.course.asked
        memory = free_memory() // (2 * min(asked.max_parallel, len(asked.items)))
        options = {"memory_limit": memory, **self.item.options}
        return self.item.made().stream(
            self.item.iterations, interval=asked.interval, heartbeat=asked.heartbeat, cancel=self.course.token, **options
        )

    def _hear(self, event: ProgressEvent) -> None:
        self._heard = event.seq
        if self.course.asked.is_told:
            self.course.feed.pass_on(evolve(event, parent_id=self.course.feed.run_id, label=self.label))
        self._report(self.standing.heard(event))

    def _report(self, standing: Standing) -> None:
        self.standing = standing
        self.course.reports.put_nowait((self.label, standing))

    # An end that is none

    def _reason_of(self, cancelled: asyncio.CancelledError) -> Exception:
        """Whoever cancels the task has ended the batch; a child that raises CancelledError by itself has failed."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return SimulationCancelled("its task was cancelled")
        error = RunError("it raised CancelledError, and nobody had cancelled it")
        error.__cause__ = cancelled
        return error

    def _fail(self, error: Exception) -> None:
        error.add_note(f"in child {self.label!r} of a batch")
        self.error, part = error, getattr(error, "result", None)
        self.result = part if isinstance(part, Result) else None
        state = state_of(error)
        if state is RunState.FAILED:
            log.error("child failed", child=self.label, error=str(ErrorInfo.of(error)))
        for event in self._missing_events(error):
            self._hear(event)
        self._report(evolve(self.standing, state=state))
        if self.course.asked.on_child_error == "cancel" and not self.course.token.cancelled:
            self.course.token.cancel(f"child {self.label!r} failed: {ErrorInfo.of(error)}")

    def _missing_events(self, error: Exception) -> Iterator[ProgressEvent]:
        """Those of a child that failed before there was a run, and the final one where the task stopped listening."""
        last = self._stream.event if self._stream is not None else None
        if last is not None and last.seq > self._heard:
            yield last
        if last is None and state_of(error) is RunState.FAILED:
            tracker = Tracker(run_id=token_hex(8), total=self.standing.total)
            yield tracker.begin()
            yield tracker.end(RunState.FAILED, ErrorInfo.of(error))
