"""How far a batch has come, from how far its children have: sums, a mean, and a fraction that never goes back. Nothing of threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from attrs import define, evolve, field, frozen

from ultramc.delivery import ALMOST, Position, Tracker
from ultramc.errors import SimulationCancelled
from ultramc.progress import ErrorInfo, Kind, ProgressEvent, RunState


@frozen
class Standing:
    """Where one child stands. `total`: None until its number of iterations is known."""

    state: RunState = RunState.QUEUED
    done: int = 0
    total: int | None = None
    fraction: float = 0.0

    def heard(self, event: ProgressEvent) -> Standing:
        return Standing(event.state, event.done, event.total, event.fraction or 0.0)


def state_of(error: BaseException | None) -> RunState:
    """In which state a child ends whose run raised this."""
    if error is None:
        return RunState.COMPLETED
    return RunState.CANCELLED if isinstance(error, SimulationCancelled) else RunState.FAILED


@frozen
class BatchPosition(Position):
    """How far a batch has come: its children that have ended are the parts of its phase. `left`: iterations that will still be done."""

    children: Mapping[str, int] = field(factory=dict)
    total: int | None = None
    left: int = 0
    raw_fraction: float = 0.0


def position_of(standings: Sequence[Standing], *, is_cancelled: bool = False) -> BatchPosition:
    """`is_cancelled`: of the batch; a child that is cancelled by something else counts as one that failed."""
    counts = Counter(each.state.value for each in standings)
    done, ended = sum(each.done for each in standings), sum(each.state.is_final for each in standings)
    totals = [each.done if each.total is None and each.state.is_final else each.total for each in standings]
    lost = {RunState.FAILED} if is_cancelled else {RunState.FAILED, RunState.CANCELLED}
    fractions = [each.fraction for each in standings if each.state not in lost]
    return BatchPosition(
        phase="sample" if done else "check",
        phase_done=ended,
        phase_total=len(standings),
        done=done,
        children={state.value: counts[state.value] for state in RunState},
        total=None if None in totals else sum(total or 0 for total in totals),
        left=sum((each.total or 0) - each.done for each in standings if not each.state.is_final),
        raw_fraction=sum(fractions) / len(fractions) if fractions else 0.0,
    )


@define(kw_only=True)
class BatchTracker(Tracker):
    """Makes the events of a batch. What it publishes as its fraction is the highest that the mean over its children has been."""

    position: BatchPosition = field(factory=BatchPosition)
    _published: float = 0.0

    def move(self, position: Position) -> None:
        assert isinstance(position, BatchPosition)
        super().move(position)
        self.total = position.total
        self._published = max(self._published, position.raw_fraction)

    def _event(self, kind: Kind, now: float, error: ErrorInfo | None = None, message: str | None = None) -> ProgressEvent:
        event = super()._event(kind, now, error, message)
        return evolve(event, children=self.position.children, raw_fraction=self.position.raw_fraction)

    def _fraction(self) -> float:
        return 1.0 if self.state is RunState.COMPLETED else min(self._published, ALMOST)

    def _left(self) -> int:
        return self.position.left
