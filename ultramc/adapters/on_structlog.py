"""Progress as log lines: structlog, over the standard logger ``ultramc`` or a logger of the host's."""

from __future__ import annotations

from typing import Any

from ultramc.logs import log
from ultramc.progress import ProgressEvent, RunState

LEVELS = {RunState.FAILED: "error", RunState.CANCELLED: "warning"}  # of final events; of all others the one that is asked for


class LogLines:
    """A progress callback that logs each event. `logger`: one of structlog's; `level`: of what is no accident.

    With the interval of a bar that is ten lines a second: `sim.run(n, progress=LogLines(), interval=10)`.
    """

    def __init__(self, logger: Any = log, level: str = "info") -> None:
        self._logger = logger
        self._level = level

    def __call__(self, event: ProgressEvent) -> None:
        getattr(self._logger, LEVELS.get(event.state, self._level))(event.kind, **_told(event))


def _told(event: ProgressEvent) -> dict[str, Any]:
    """What is known, in few figures."""
    numbers = {"elapsed": event.elapsed_s, "idle": event.idle_s, "rate": event.rate, "eta": event.eta_s}
    return {
        "run_id": event.run_id,
        "seq": event.seq,
        "state": event.state.value,
        "phase": event.phase,
        "phase_done": event.phase_done,
        "phase_total": event.phase_total,
        "iterations": event.done,
        "of": event.total,
        **{name: round(value, 3) for name, value in numbers.items() if value is not None},
        **({"error": str(event.error)} if event.error else {}),
        **({"reason": event.message} if event.message else {}),
    }
