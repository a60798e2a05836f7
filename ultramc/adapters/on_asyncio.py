"""Progress on an event loop: the events of a run that `Simulation.start` began, for `async for`.

Other threads only wake the loop; nothing else of it is touched from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from ultramc.delivery import Feed, Mailbox
from ultramc.launching import RunHandle
from ultramc.progress import ProgressEvent


async def events(handle: RunHandle[Any], after: int | None = None) -> AsyncIterator[ProgressEvent]:
    """`handle.events(after)`, awaited: the current event first, then every later one."""
    mailbox = handle.feed.subscribe(after)
    try:
        while (event := await following(handle.feed, mailbox)) is not None:
            yield event
    finally:
        handle.feed.unsubscribe(mailbox)


async def following(feed: Feed, mailbox: Mailbox) -> ProgressEvent | None:
    """The next event; None after the final one."""
    loop, awake = asyncio.get_running_loop(), asyncio.Event()
    mailbox.wake = partial(_wake, loop, awake, feed, mailbox)
    while (event := feed.take(mailbox)) is None and not mailbox.is_over:
        timer = loop.call_later(feed.patience(), awake.set)
        try:
            await awake.wait()
        finally:
            timer.cancel()
        awake.clear()
    return event


def _wake(loop: asyncio.AbstractEventLoop, awake: asyncio.Event, feed: Feed, mailbox: Mailbox) -> None:
    try:
        loop.call_soon_threadsafe(awake.set)
    except RuntimeError:  # the loop is closed: nobody reads any more, and the run must not wait for that
        feed.unsubscribe(mailbox)
