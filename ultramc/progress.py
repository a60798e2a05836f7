"""What a run says of itself while it runs: states, events, and the token that cancels it. Plain values, nothing of threads.

An event holds where the run stands, never what was added since, so that one that was lost or came twice does no harm.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, Literal

from attrs import asdict, field, frozen

SCHEMA_VERSION = 1  # of what `ProgressEvent.to_json` gives
PHASES = ("check", "compile", "validate", "sample", "summarise")  # in this order

Kind = Literal["state", "progress", "heartbeat"]


class RunState(StrEnum):
    """Where a run stands. The last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in (RunState.QUEUED, RunState.RUNNING)


@frozen
class ErrorInfo:
    """An exception in plain text: the name of its type, its message, and the function and line that raised it."""

    type: str
    message: str
    where: str = ""

    @classmethod
    def of(cls, error: BaseException) -> ErrorInfo:
        frames = list(traceback.walk_tb(error.__traceback__))
        where = ""
        if frames:
            frame, line = frames[-1]
            where = f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}, line {line}"
        return cls(type(error).__name__, _text(error), where)

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


def _text(error: BaseException) -> str:
    """Whoever waits for an error must not wait in vain because it cannot be shown."""
    try:
        return str(error)
    except Exception as failure:
        return f"(its text cannot be had: {type(failure).__name__})"


@frozen(kw_only=True)
class ProgressEvent:
    """Where a run stands. `(run_id, seq)` is its identity; `seq` starts at 0 and increases, with gaps where a listener was slow.

    `phase` is one of "check", "compile", "validate", "sample", "summarise", with a `phase_done` of `phase_total` of its own.
    `done` of `total` are iterations, cumulative. `fraction`: 0 to 1, and 1 only when completed. `elapsed_s`: seconds since the run
    began; `idle_s`: since `done`, `phase` or `phase_done` last moved; `time`: of the clock on the wall, seconds since 1970.
    `rate`, in iterations a second, and `eta_s`, the seconds that are left, are None until they are known. `error`: of a run that
    failed; `message`: why it was cancelled.

    Of a batch: `children` says how many are in each state, `phase_done` of `phase_total` how many have ended, and `raw_fraction` is the
    mean over those that have not failed; `fraction` is the highest that it has been. `label`: of a child, by the name that the batch
    gives it; its `parent_id` is the `run_id` of the batch.
    """

    run_id: str
    parent_id: str | None = None
    attempt: int = 1
    seq: int
    kind: Kind
    state: RunState
    phase: str
    phase_done: int
    phase_total: int | None
    done: int
    total: int | None
    fraction: float | None
    elapsed_s: float
    idle_s: float
    time: float
    rate: float | None = None
    eta_s: float | None = None
    message: str | None = None
    error: ErrorInfo | None = None
    children: Mapping[str, int] | None = None
    raw_fraction: float | None = None
    label: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values by name, with the version of this schema; `json.dumps` takes them."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self), "state": self.state.value}


ProgressCallback = Callable[[ProgressEvent], object]  # what it returns is ignored
AsyncProgressCallback = Callable[[ProgressEvent], Awaitable[object]]  # `run_async` alone takes it


@frozen(eq=False)
class CancelToken:
    """Cancels the runs that it was given to: `cancel` from any thread, from a callback, from a signal handler.

    `also`: tokens that cancel this one too.
    """

    also: tuple[CancelToken, ...] = ()
    _reasons: list[str] = field(factory=list, init=False, repr=False)

    def cancel(self, reason: str = "") -> None:
        """Runs stop within one chunk. The first reason stays."""
        self._reasons.append(reason)  # atomic, and without a lock, which a signal handler could find taken

    @property
    def cancelled(self) -> bool:
        return bool(self._reasons) or any(token.cancelled for token in self.also)

    @property
    def reason(self) -> str:
        """Why, in the words of the first who cancelled; empty where nobody did or said."""
        return self._reasons[0] if self._reasons else next((token.reason for token in self.also if token.cancelled), "")
