"""Calling what a caller gave as `progress=`: one after another, each event once, and what becomes of one that raises."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

from attrs import define, field, frozen

from ultramc.errors import InputError, NotACallback
from ultramc.logs import log
from ultramc.progress import AsyncProgressCallback, CancelToken, ErrorInfo, ProgressCallback, ProgressEvent

Progress = bool | ProgressCallback | Iterable[ProgressCallback]
AsyncProgress = bool | ProgressCallback | AsyncProgressCallback | Iterable[ProgressCallback | AsyncProgressCallback]


def callbacks_of(progress: object, *, may_be_async: bool = False) -> tuple[Callable[[ProgressEvent], Any], ...]:
    """`progress=` as a tuple. Raises NotACallback for what cannot be called with an event, and for coroutines where none may be."""
    if progress is None or progress is False:
        return ()
    if progress is True:
        from ultramc.adapters.on_tqdm import Bar

        return (Bar(),)
    given = (progress,) if callable(progress) or not isinstance(progress, Iterable) else tuple(progress)
    for callback in given:
        if not callable(callback):
            raise NotACallback(f"progress={callback!r}: True for a bar, a callback that takes a ProgressEvent, or a list of callbacks")
        if not may_be_async and _is_async(callback):
            raise NotACallback(f"progress={callback!r} is a coroutine function, which only `await sim.run_async(…)` can call")
    return given


def _is_async(callback: Any) -> bool:
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__)


def seconds(name: str, value: object, *, at_least: float = 0.0) -> float:
    """Raises InputError for what is no number, and for one below."""
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value) or value < at_least:
        raise InputError(f"{name}={value!r}: seconds, at least {at_least:g}")
    return float(value)


def token_of(cancel: object) -> CancelToken:
    """A token of a run's own, that the caller's cancels too."""
    if cancel is not None and not isinstance(cancel, CancelToken):
        raise InputError(f"cancel={cancel!r}: an ultramc.CancelToken")
    return CancelToken(() if cancel is None else (cancel,))


@define(eq=False)
class Listener:
    """One callback. `told`: the seq of the last event of each run that it was called with."""

    callback: Callable[[ProgressEvent], Any]
    told: dict[str, int] = field(factory=dict)
    is_detached: bool = False

    def wants(self, event: ProgressEvent) -> bool:
        return not self.is_detached and event.seq > self.told.get(event.run_id, -1)


@frozen(eq=False)
class Listeners:
    """The callbacks of one run, called by one thread. The first that raises cancels the run where they are `strict`.

    `of_children`: callbacks for the events of a batch's children; the others are not called with these.
    """

    callbacks: tuple[Callable[[ProgressEvent], Any], ...]
    strict: bool
    token: CancelToken
    of_children: tuple[Callable[[ProgressEvent], Any], ...] = ()
    errors: list[Exception] = field(factory=list)
    _listeners: tuple[Listener, ...] = field(init=False)
    _child_listeners: tuple[Listener, ...] = field(init=False)

    @_listeners.default
    def _each_one(self) -> tuple[Listener, ...]:
        return tuple(map(Listener, self.callbacks))

    @_child_listeners.default
    def _each_one_of_children(self) -> tuple[Listener, ...]:
        return tuple(map(Listener, self.of_children))

    @property
    def infos(self) -> tuple[ErrorInfo, ...]:
        return tuple(map(ErrorInfo.of, self.errors))

    def tell(self, event: ProgressEvent) -> None:
        """Call each that has not been called with this event. Exceptions stay here; KeyboardInterrupt and its like do not."""
        for listener in self._to_call(event):
            with self._detached_where_it_raises(listener, event):
                answer = listener.callback(event)
                if inspect.iscoroutine(answer):
                    answer.close()
                    raise NotACallback(f"{listener.callback!r} gave a coroutine, which only `await sim.run_async(…)` can await")

    async def tell_and_await(self, event: ProgressEvent) -> None:
        for listener in self._to_call(event):
            with self._detached_where_it_raises(listener, event):
                answer = listener.callback(event)
                if inspect.isawaitable(answer):
                    await answer

    def _to_call(self, event: ProgressEvent) -> Iterator[Listener]:
        if event.kind == "heartbeat":
            log.debug("heartbeat", run_id=event.run_id, phase=event.phase, iterations=event.done, idle_seconds=round(event.idle_s, 3))
        for listener in self._listeners if event.label is None else self._child_listeners:
            if listener.wants(event):
                listener.told[event.run_id] = event.seq
                yield listener

    @contextmanager
    def _detached_where_it_raises(self, listener: Listener, event: ProgressEvent) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:  # also of a run inside a callback, whose SimulationInterrupted is an Exception
            raise
        except Exception as error:
            listener.is_detached = True
            self.errors.append(error)
            log.exception("callback failed", run_id=event.run_id, callback=repr(listener.callback))
            if self.strict:
                self.token.cancel(f"a callback failed: {ErrorInfo.of(error)}")
                return
            failed = f"a progress callback failed and is called no more: {ErrorInfo.of(error)}; the run goes on"
            warnings.warn(failed, RuntimeWarning, stacklevel=2)
