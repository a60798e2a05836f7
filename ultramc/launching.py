"""A run on a thread of its own, and those who wait for it: the caller of `run`, a thread of `start`'s, an event loop.

    the run's thread: the stages ── Stages ──> Feed ──> Mailbox ──> Listeners: callbacks, on the thread of whoever waits

One way for every engine and any number of threads, also where nobody listens.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, NoReturn, TypeVar, cast

from attrs import evolve, frozen
from structlog.contextvars import bind_contextvars

from ultramc.delivery import Feed, Position, Tracker
from ultramc.errors import CallbackError, SimulationCancelled, SimulationInterrupted
from ultramc.listening import Listeners
from ultramc.logs import log
from ultramc.progress import PHASES, CancelToken, ErrorInfo, ProgressEvent, RunState

INTERRUPTIONS = {
    "KeyboardInterrupt": "interrupted",
    "CancelledError": "its task was cancelled",
    "GeneratorExit": "nobody reads its events any more",
}

SAMPLE = "sample"  # the phase in which iterations are done

T = TypeVar("T")
Outcome = TypeVar("Outcome")


@frozen(eq=False)
class Stages:
    """What a run says of itself, and where it looks whether to go on."""

    feed: Feed
    token: CancelToken

    @contextmanager
    def stage(self, phase: str, total: int = 1) -> Iterator[Callable[[int, int], None]]:
        """One phase. What it gives is told how many parts are done, of how many. Raises SimulationCancelled before and between them."""
        self._go_on()
        log.debug("stage", phase=phase)
        at = self.feed.position
        self.feed.move(evolve(at, phase=phase, phase_done=at.done if phase == SAMPLE else 0, phase_total=total))
        yield self._step
        at = self.feed.position
        self.feed.move(evolve(at, phase_done=at.phase_total))

    def _step(self, done: int, total: int) -> None:
        self._go_on()
        self.feed.move(evolve(self.feed.position, phase_done=done, phase_total=total))

    def executed(self, done: int) -> None:
        """So many iterations are done."""
        at = self.feed.position
        self.feed.move(Position(at.phase, done, at.phase_total, done))

    def _go_on(self) -> None:
        """From the sampling on the run itself looks, since it hands over what is done when it stops."""
        at = self.feed.position
        if self.token.cancelled and (not at.done or PHASES.index(at.phase) < PHASES.index(SAMPLE)):
            attempt = " of this attempt" if at.done else ""
            raise SimulationCancelled(f"cancelled during {at.phase}, before any iteration{attempt}{because(self.token)}")


def because(token: CancelToken) -> str:
    return f": {token.reason}" if token.reason else ""


class Launch(Generic[Outcome]):
    """One run, not begun yet. What `work` gives or raises is what becomes of it."""

    def __init__(self, work: Callable[[Stages], Outcome], tracker: Tracker, listeners: Listeners) -> None:
        self.feed = Feed(tracker)
        self.listeners = listeners
        self.mailbox = self.feed.subscribe()
        self._work = work
        self._result: Outcome | None = None
        self._error: BaseException | None = None
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._carry_out,), name=f"ultramc run {tracker.run_id}", daemon=True)

    @property
    def token(self) -> CancelToken:
        return self.listeners.token

    def begin(self) -> None:
        """The first event comes before any work. Once begun, a run stays so."""
        if self.feed.last is None:
            self.feed.begin()
            try:
                self._thread.start()
            except BaseException as error:  # "can't start new thread": nobody must wait for it
                self._error = error
                self.feed.end(RunState.FAILED, ErrorInfo.of(error))
                raise

    def _carry_out(self) -> None:
        bind_contextvars(run_id=self.feed.run_id)
        begun = time.monotonic()
        state, error, message = RunState.COMPLETED, None, None
        try:
            self._result = self._work(Stages(self.feed, self.token))
        except SimulationCancelled as cancelled:
            self._error, state, message = cancelled, RunState.CANCELLED, str(cancelled)
        except BaseException as failure:  # whatever it is, whoever waits must learn of it
            self._error, state, error = failure, RunState.FAILED, ErrorInfo.of(failure)
        try:
            told = {"error": str(error)} if error else {"reason": self.token.reason} if message else {}
            iterations, elapsed = self.feed.position.done, round(time.monotonic() - begun, 3)
            (log.error if error else log.info)(f"run {state}", **told, iterations=iterations, seconds=elapsed)
        finally:
            self.feed.end(state, error, message)

    def outcome(self) -> Outcome:
        """Once it has ended. Raises what the run raised; CallbackError for a callback's error, where they are strict."""
        self._join()
        error, failed = self._error, self.listeners.errors
        if self.listeners.strict and failed and (error is None or isinstance(error, SimulationCancelled)):
            raise CallbackError(f"a progress callback failed: {ErrorInfo.of(failed[0])}", self._part()) from failed[0]
        if error is None:
            return cast(Outcome, self._part())
        for name in {"result", "run"} & vars(error).keys():
            setattr(error, name, self._marked(getattr(error, name)))
        raise error

    def _join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()

    def _part(self) -> Any:
        """The result, or as much of it as there is."""
        return self._marked(self._result or getattr(self._error, "result", None))

    def _marked(self, result: T) -> T:
        infos: Any = self.listeners.infos
        return evolve(cast(Any, result), callback_errors=infos) if infos and hasattr(result, "callback_errors") else result

    def interrupt(self, error: BaseException) -> None:
        """Whoever waits does not any more."""
        self.token.cancel(INTERRUPTIONS.get(type(error).__name__, f"interrupted by {type(error).__name__}"))

    def raise_interrupted(self, error: BaseException) -> NoReturn:
        """Once it has ended: what ended the wait, Ctrl-C or another, with the partial result in its cause."""
        self._join()
        done = self.feed.position.done
        ended = self._error or SimulationCancelled(f"cancelled after all of {done:,} iterations", self._result)
        if isinstance(error, KeyboardInterrupt):
            raise SimulationInterrupted(str(ended), self._part()) from (None if isinstance(ended, SimulationCancelled) else ended)
        raise error from (None if error is ended else ended)


def attend(launch: Launch[Any]) -> None:
    """Call the callbacks here, until the run has ended. Whatever ends the wait cancels the run; a second time, it is left to itself."""
    try:
        launch.begin()
        _tell_all(launch)
    except BaseException as error:
        launch.interrupt(error)
        _tell_all(launch)
        launch.raise_interrupted(error)
    finally:
        launch.feed.unsubscribe(launch.mailbox)


def _tell_all(launch: Launch[Any]) -> None:
    while (event := launch.feed.next(launch.mailbox)) is not None:
        launch.listeners.tell(event)
    if launch.feed.last is not None:  # an interruption may have come between taking and telling
        launch.listeners.tell(launch.feed.last)


class RunHandle(Generic[Outcome]):
    """A run in the background, from `Simulation.start` or `Batch.start`: look at it, wait for it, cancel it, from any thread.

    The run ends with the program that started it: ask for the `result`.
    """

    def __init__(self, launch: Launch[Outcome]) -> None:
        self.feed = launch.feed
        self._launch = launch
        self._failure: BaseException | None = None
        self._dispatcher = threading.Thread(target=self._dispatch, name=f"ultramc callbacks {launch.feed.run_id}", daemon=True)
        launch.begin()
        try:
            self._dispatcher.start()
        except BaseException as error:
            launch.interrupt(error)
            raise

    def _dispatch(self) -> None:
        try:
            attend(self._launch)
        except BaseException as error:  # a callback's SystemExit, say: it belongs to whoever asks for the result
            self._failure = error

    @property
    def run_id(self) -> str:
        return self.feed.run_id

    @property
    def state(self) -> RunState:
        return self.feed.state

    @property
    def event(self) -> ProgressEvent:
        """The latest."""
        assert self.feed.last is not None
        return self.feed.last

    def events(self, after: int | None = None) -> Iterator[ProgressEvent]:
        """The current event first, then every later one, up to the final one. Waits for each; any number of readers may do so.

        `after`: the seq of an event that is known already. A slow reader misses events of kind "progress", unless `interval=0`.
        """
        return self.feed.events(after)

    def cancel(self, reason: str = "") -> None:
        """The run stops within one chunk, in the state `cancelled`."""
        self._launch.token.cancel(reason)

    def result(self, timeout: float | None = None) -> Outcome:
        """Waits until the run has ended and each callback was called. Raises what `run` raises; TimeoutError after `timeout` seconds."""
        self._dispatcher.join(timeout)
        if self._dispatcher.is_alive():
            raise TimeoutError(f"{self!r} after {timeout} seconds")
        if self._failure is not None:
            raise self._failure
        return self._launch.outcome()

    def __repr__(self) -> str:
        event = self.event
        of = "" if event.total is None else f" of {event.total:,}"
        return f"run {self.run_id}: {self.state}, {event.phase}, {event.done:,}{of} iterations"
