"""From a run to those who listen: when an event is made, and how it waits for a slow listener.

The run moves a position; whoever waits for events makes them when they are due, so that no thread is needed to keep time, and a
run that nobody watches pays for nothing. A mailbox of each listener keeps states and the latest of all else; with `interval=0` it
keeps everything, and a run that is too fast for its listeners waits for them.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from attrs import define, evolve, field, frozen

from ultramc.progress import PHASES, ErrorInfo, Kind, ProgressEvent, RunState

ROOM = 64  # events that a lossless mailbox holds before the run waits
ALMOST = 0.99  # the most that a fraction shows before the run has completed: rounded, it must not look like 1
SETTLED = 1.0  # seconds of sampling before a rate is told
LONGEST_WAIT = 1.0  # seconds: on Windows nothing, not even Ctrl-C, ends a wait early


@frozen
class Clock:
    """Seconds, by a clock that never goes back and by the one on the wall."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@frozen
class Position:
    """How far a run has come."""

    phase: str = PHASES[0]
    phase_done: int = 0
    phase_total: int = 1
    done: int = 0


@define
class Rate:
    """Iterations a second of the sampling so far, as of the last time that they advanced."""

    began: float = math.nan
    first: int = 0
    last: float = math.nan
    advances: int = 0

    def begin(self, now: float, done: int) -> None:
        self.began, self.first, self.last, self.advances = now, done, now, 0

    def advance(self, now: float) -> None:
        self.last, self.advances = now, self.advances + 1

    def at(self, now: float, done: int) -> float | None:
        is_known = self.advances >= 2 and now - self.began >= SETTLED and self.last > self.began
        return (done - self.first) / (self.last - self.began) if is_known else None


@define(kw_only=True)
class Tracker:
    """Makes the events of one run, and knows when the next is due. Not for several threads.

    `interval`: seconds between two events of kind "progress", 0 for each move at once; `heartbeat`: between two heartbeats.
    """

    run_id: str
    total: int | None
    interval: float = 0.1
    heartbeat: float = 2.0
    clock: Clock = field(factory=Clock)
    parent_id: str | None = None
    attempt: int = 1
    state: RunState = RunState.QUEUED
    position: Position = field(factory=Position)
    is_news: bool = False  # moved since the last event that told so
    _seq: int = 0
    _began: float = math.nan
    _moved: float = math.nan
    _told: float = -math.inf
    _beat: float = math.nan
    _rate: Rate = field(factory=Rate)

    def begin(self) -> ProgressEvent:
        self._began = self._moved = self._beat = self.clock.monotonic()
        return self._entered(RunState.RUNNING)

    def move(self, position: Position) -> None:
        before, self.position = self.position, position
        if position == before:
            return
        now = self.clock.monotonic()
        if position.phase == "sample" != before.phase:
            self._rate.begin(now, position.done)
        if position.done > before.done:
            self._rate.advance(now)
        if evolve(position, phase_total=before.phase_total) != before:  # to know better how much there is, is no advance
            self._moved = now
        self.is_news = True

    def end(self, state: RunState, error: ErrorInfo | None = None, message: str | None = None) -> ProgressEvent:
        return self._entered(state, error, message)

    def tell(self) -> ProgressEvent:
        """The latest position, whether an event is due or not."""
        self._told, self.is_news = self.clock.monotonic(), False
        return self._event("progress", self._told)

    def due(self) -> Iterator[ProgressEvent]:
        """What is to be told by now."""
        if self.patience() > 0:
            return
        now = self.clock.monotonic()
        if self.is_news and now >= self._told + self.interval:
            yield self.tell()
        if now >= self._beat + self.heartbeat:
            # From now on, not from when it was due: after a long silence one heartbeat is enough.
            self._beat = now
            yield self._event("heartbeat", now)

    def patience(self) -> float:
        """Seconds until the next event is due, if nothing moves; never too long to notice Ctrl-C."""
        if self.state is not RunState.RUNNING:
            return LONGEST_WAIT
        then = min(self._beat + self.heartbeat, self._told + self.interval if self.is_news else math.inf)
        return min(max(0.0, then - self.clock.monotonic()), LONGEST_WAIT)

    def _entered(self, state: RunState, error: ErrorInfo | None = None, message: str | None = None) -> ProgressEvent:
        self.state, self.is_news = state, False
        return self._event("state", self.clock.monotonic(), error, message)

    def _event(self, kind: Kind, now: float, error: ErrorInfo | None = None, message: str | None = None) -> ProgressEvent:
        seq, self._seq = self._seq, self._seq + 1
        at, rate = self.position, self._rate.at(now, self.position.done)
        return ProgressEvent(
            run_id=self.run_id,
            parent_id=self.parent_id,
            attempt=self.attempt,
            seq=seq,
            kind=kind,
            state=self.state,
            phase=at.phase,
            phase_done=at.phase_done,
            phase_total=at.phase_total,
            done=at.done,
            total=self.total,
            fraction=self._fraction(),
            elapsed_s=now - self._began,
            idle_s=now - self._moved,
            time=self.clock.wall(),
            rate=rate,
            eta_s=self._eta(now, rate),
            message=message,
            error=error,
        )

    def _fraction(self) -> float | None:
        if self.state is RunState.COMPLETED:
            return 1.0
        return None if self.total is None else min(self.position.done / self.total, ALMOST)

    def _eta(self, now: float, rate: float | None) -> float | None:
        if rate is None or self.total is None or self.state in (RunState.FAILED, RunState.CANCELLED):
            return None
        left = self._left()
        return max(0.0, left / rate - (now - self._rate.last)) if left else 0.0

    def _left(self) -> int:
        """Iterations, where a total is known."""
        return (self.total or 0) - self.position.done


@define(eq=False)
class Mailbox:
    """What one listener has not read yet, of one run or of a batch and its children.

    `wake` is called when there may be something new, by any thread.
    """

    lossless: bool
    wake: Callable[[], object] = lambda: None
    is_over: bool = False  # nothing is in it, and nothing will come
    _events: deque[ProgressEvent] = field(factory=deque)

    def put(self, event: ProgressEvent) -> None:
        if not self.lossless:
            self._drop_what_is_outdated_by(event)
        self._events.append(event)

    def _drop_what_is_outdated_by(self, event: ProgressEvent) -> None:
        latest = next((waiting for waiting in reversed(self._events) if waiting.run_id == event.run_id), None)
        if latest is not None and latest.kind != "state":
            self._events.remove(latest)

    def pop(self) -> ProgressEvent | None:
        return self._events.popleft() if self._events else None

    @property
    def is_full(self) -> bool:
        return self.lossless and len(self._events) >= ROOM


class Feed:
    """The events of one run, for any number of threads: the run on one side, those who listen on the other."""

    def __init__(self, tracker: Tracker) -> None:
        self.last: ProgressEvent | None = None
        self._tracker = tracker
        self._lossless = tracker.interval == 0
        self._mailboxes: list[Mailbox] = []
        self._changed = threading.Condition()

    @property
    def run_id(self) -> str:
        return self._tracker.run_id

    @property
    def state(self) -> RunState:
        return self._tracker.state

    @property
    def position(self) -> Position:
        return self._tracker.position

    # The side of the run

    def begin(self) -> None:
        with self._changed:
            self._publish(self._tracker.begin())

    def move(self, position: Position) -> None:
        """Told when it is due; where nothing may be lost, at once, as soon as every mailbox has room."""
        with self._changed:
            if self._lossless:
                self._changed.wait_for(self._has_room)
            was_news = self._tracker.is_news
            self._tracker.move(position)
            if self._tracker.is_news and self._lossless:
                self._publish(self._tracker.tell())
            elif self._tracker.is_news and not was_news:
                self._wake()

    def end(self, state: RunState, error: ErrorInfo | None = None, message: str | None = None) -> None:
        with self._changed:
            self._publish(self._tracker.end(state, error, message))

    def pass_on(self, event: ProgressEvent) -> None:
        """An event of another run, a child of this one."""
        with self._changed:
            if self._lossless:
                self._changed.wait_for(self._has_room)
            self._deliver(event)

    def _has_room(self) -> bool:
        return not any(mailbox.is_full for mailbox in self._mailboxes)

    def _publish(self, event: ProgressEvent) -> None:
        self.last = event
        self._deliver(event)

    def _deliver(self, event: ProgressEvent) -> None:
        for mailbox in self._mailboxes:
            mailbox.put(event)
        self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        for mailbox in tuple(self._mailboxes):
            mailbox.wake()

    # The side of those who listen

    def subscribe(self, after: int | None = None, wake: Callable[[], object] = lambda: None) -> Mailbox:
        """A mailbox that gets the current event first, unless it is not newer than the one with `after` as its seq, then all later."""
        mailbox = Mailbox(self._lossless, wake)
        with self._changed:
            if self.last is not None and (after is None or self.last.seq > after):
                mailbox.put(self.last)
            self._mailboxes.append(mailbox)
        return mailbox

    def unsubscribe(self, mailbox: Mailbox) -> None:
        with self._changed:
            if mailbox in self._mailboxes:
                self._mailboxes.remove(mailbox)
            self._changed.notify_all()

    def take(self, mailbox: Mailbox) -> ProgressEvent | None:
        """The next event, or None where there is none by now; `mailbox.is_over` says whether one may come."""
        with self._changed:
            return self._take(mailbox)

    def patience(self) -> float:
        """Seconds after which `take` may have something although nobody was woken."""
        with self._changed:
            return self._tracker.patience()

    def next(self, mailbox: Mailbox) -> ProgressEvent | None:
        """Waits for the next event; None after the final one."""
        with self._changed:
            while (event := self._take(mailbox)) is None and not mailbox.is_over:
                self._changed.wait(self._tracker.patience())
            return event

    def events(self, after: int | None = None) -> Iterator[ProgressEvent]:
        """Waits for each event, up to the final one. See `subscribe`."""
        mailbox = self.subscribe(after)
        try:
            while (event := self.next(mailbox)) is not None:
                yield event
        finally:
            self.unsubscribe(mailbox)

    def _take(self, mailbox: Mailbox) -> ProgressEvent | None:
        for due in self._tracker.due():
            self._publish(due)
        event = mailbox.pop()
        if event is None:
            mailbox.is_over = self._tracker.state.is_final
        elif self._lossless:
            self._changed.notify_all()
        return event
