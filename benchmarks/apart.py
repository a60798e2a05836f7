"""A measurement in a process of its own: with a time limit, and with the memory that it alone took."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from attrs import frozen


@frozen
class Apart:
    """`value` is what the function gave, None where it did not; `problem` then says why. `peak`: bytes of the whole process."""

    value: Any = None
    problem: str = ""
    peak: int = 0


def apart(function: Callable[..., Any], *arguments: Any, seconds: float) -> Apart:
    """Call a function in another process; `seconds` until it is stopped."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            return Apart(problem=f"not done in {seconds:g} s")
        return receiver.recv()
    except EOFError:
        return Apart(problem="the process died, perhaps of memory")
    finally:
        process.kill()
        process.join()


def _call(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        found = Apart(function(*arguments), peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    except Exception as reason:
        found = Apart(problem=f"{type(reason).__name__}: {reason}")
    sender.send(found)
