"""A run whose caller is an event loop: what `run_async` and `stream` do. Imported when one of them is called."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic

from ultramc.adapters.on_asyncio import following
from ultramc.errors import RunError
from ultramc.launching import Launch, Outcome
from ultramc.progress import ProgressEvent


async def attend(launch: Launch[Any]) -> None:
    """Call the callbacks on this loop, until the run has ended. Whatever ends the wait cancels the run; a second time, it is left."""
    try:
        launch.begin()
        await _tell_all(launch)
    except BaseException as error:
        launch.interrupt(error)
        await _tell_all(launch)
        launch.raise_interrupted(error)
    finally:
        launch.feed.unsubscribe(launch.mailbox)


async def _tell_all(launch: Launch[Any]) -> None:
    while (event := await following(launch.feed, launch.mailbox)) is not None:
        await launch.listeners.tell_and_await(event)
    if launch.feed.last is not None:  # an interruption may have come between taking and telling
        await launch.listeners.tell_and_await(launch.feed.last)


class EventStream(Generic[Outcome]):
    """The events of a run for `async for`, from `Simulation.stream` or `Batch.stream`. The run begins with the first; leaving the
    loop cancels it.

    After the final event the loop ends; where the run failed or was cancelled, it raises what `run` would.
    """

    def __init__(self, launch: Launch[Outcome]) -> None:
        self._launch = launch
        self._events = self._read()

    def __aiter__(self) -> AsyncIterator[ProgressEvent]:
        return self._events

    async def _read(self) -> AsyncIterator[ProgressEvent]:
        launch = self._launch
        launch.begin()
        try:
            while (event := await following(launch.feed, launch.mailbox)) is not None:
                yield event
        except BaseException as error:
            launch.interrupt(error)
            while await following(launch.feed, launch.mailbox) is not None:
                pass
            launch.raise_interrupted(error)
        finally:
            launch.feed.unsubscribe(launch.mailbox)
        launch.outcome()

    @property
    def event(self) -> ProgressEvent | None:
        """The latest, also where nobody has read it; None before the first."""
        return self._launch.feed.last

    def cancel(self, reason: str = "") -> None:
        """The run stops within one chunk; its events go on to the final one."""
        self._launch.token.cancel(reason)

    def result(self) -> Outcome:
        """Of a run that has ended. Raises what `run` raises; RunError where it goes on."""
        if not self._launch.feed.state.is_final:
            raise RunError("the run has not ended; read its events to the last")
        return self._launch.outcome()
