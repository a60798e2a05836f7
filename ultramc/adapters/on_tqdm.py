"""A bar by tqdm, in a terminal and in a notebook: what `progress=True` shows."""

from __future__ import annotations

from typing import Any

from ultramc.progress import ProgressEvent, RunState


class Bar:
    """A progress callback that draws one bar for each run. `options` are those of `tqdm.tqdm`."""

    def __init__(self, **options: Any) -> None:
        self._options = {"unit": " iterations", "unit_scale": True, "desc": "ultramc", **options}
        self._bar: Any = None

    def __call__(self, event: ProgressEvent) -> None:
        if self._bar is None:
            self._bar = _kind()(total=event.total, **self._options)
        self._bar.n = event.done  # where it stands: what is added up goes wrong when an event is lost
        self._bar.set_postfix_str(_said(event), refresh=False)
        self._bar.refresh()
        if event.state.is_final:
            self._bar.close()
            self._bar = None


def _said(event: ProgressEvent) -> str:
    """What a bar of iterations does not show."""
    if event.state is not RunState.RUNNING:
        return "" if event.state is RunState.COMPLETED else event.state.value
    if event.phase == "sample":
        return ""
    return f"{event.phase} {event.phase_done}/{event.phase_total}" if (event.phase_total or 0) > 1 else event.phase


def _kind() -> Any:
    """Without tqdm's monitor, a thread that would redraw for us and is known to deadlock (tqdm/tqdm#469, #627, #1751)."""
    from tqdm.auto import tqdm

    return type("tqdm", (tqdm,), {"monitor_interval": 0})
