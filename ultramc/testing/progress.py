"""Whether the events that a progress callback was given keep what the protocol promises. For tests, of ours and of others' engines:

    seen = mc.testing.Recorder()
    sim.run(100_000, engine=MyEngine(), progress=seen)
    mc.testing.assert_progress_contract(seen)

The events of a batch keep it too, and so do those of each of its children, which are told apart by their `run_id`.

The numbers of the guarantees are those of the page on progress. A list of events shows neither threads nor overlaps: a `Recorder` does.
"""

from __future__ import annotations

import json
import math
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from attrs import frozen

from ultramc.delivery import ALMOST, SETTLED
from ultramc.progress import PHASES, ProgressEvent, RunState

ROUNDING = 1e-6  # seconds: times are differences of a clock that has run for long


class Recorder(list[ProgressEvent]):
    """A progress callback that keeps its events, and what was wrong with the way it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()
        self.overlaps = 0
        self._busy = threading.Lock()

    def __call__(self, event: ProgressEvent) -> None:
        alone = self._busy.acquire(blocking=False)
        self.overlaps += not alone
        self.threads.add(threading.get_ident())
        self.append(event)
        if alone:
            self._busy.release()


@frozen
class Promised:
    """What the run was asked for. `after`: the seq that a late reader knew, -1 for none; None for one who was there from the start."""

    interval: float
    heartbeat: float
    slack: float
    after: int | None


def assert_progress_contract(
    events: Sequence[ProgressEvent], *, interval: float = 0.1, heartbeat: float = 2.0, slack: float = 1.0, after: int | None = None
) -> None:
    """Check all events of one run, or of one batch without its children, as one listener got them.

    Raises AssertionError with every promise that is broken.

    `interval`, `heartbeat`: those of the run; `slack`: seconds that a heartbeat may be late (math.inf where the listener was slow).
    `after`: for a reader of `handle.events(after)`.
    """
    promised = Promised(interval, heartbeat, slack, after)
    broken = [f"({number}) {problem}" for number, check in CHECKS for problem in check(events, promised)] if events else ["(1) no event"]
    assert not broken, "the progress protocol is broken:\n" + "\n".join(broken)


Check = Callable[[Sequence[ProgressEvent], Promised], Iterator[str]]


def _begins(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    first = events[0]
    if promised.after is None and (first.seq, first.kind, first.state) != (0, "state", RunState.RUNNING):
        yield f"the first event is {_named(first)}, not seq 0, state, running"
    if promised.after is None and (first.phase, first.phase_done, first.done and first.attempt == 1) != (PHASES[0], 0, 0):
        yield f"the first event comes after some work: {first.phase} {first.phase_done}, {first.done} iterations"


def _ends(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    final = [event for event in events if event.state.is_final]
    if len(final) != 1:
        yield f"{len(final)} final events: {', '.join(map(_named, final)) or 'none'}"
    elif events[-1] is not final[0]:
        yield f"{_named(events[-1])} comes after the final event"


def _in_order(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    for one, other in pairwise(events):
        if other.seq <= one.seq:
            yield f"seq {other.seq} comes after seq {one.seq}"
        if (other.run_id, other.parent_id) != (one.run_id, one.parent_id):
            yield f"{_named(other)} is of another run"
        if other.elapsed_s < one.elapsed_s:
            yield f"{_named(other)} is earlier than the one before it"
    if isinstance(events, Recorder) and events.overlaps:
        yield f"{events.overlaps} calls overlapped another"


def _on_one_thread(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    if isinstance(events, Recorder) and len(events.threads) > 1:
        yield f"{len(events.threads)} threads called the callback"


def _states(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    for one, other in pairwise(events):
        if (other.kind == "state") != (other.state is not one.state):
            yield f"{_named(other)} after {one.state}: an event is of kind state where the state changes, and only there"
    for event in events:
        if event.state is RunState.QUEUED:
            yield f"{_named(event)}: a run that tells something runs"


def _seldom(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    for one, other in pairwise(event for event in events if event.kind == "progress"):
        if other.elapsed_s - one.elapsed_s < promised.interval - ROUNDING:
            yield f"{_named(other)} comes {other.elapsed_s - one.elapsed_s:.3f} s after another, the interval is {promised.interval:g} s"


def _alive(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    for one, other in pairwise(events):
        passed = other.elapsed_s - one.elapsed_s
        if passed > promised.heartbeat + promised.slack:
            yield f"nothing was heard for {passed:.1f} s before {_named(other)}, the heartbeat is {promised.heartbeat:g} s"
        if other.kind != "state" and _position(one) == _position(other) and abs(other.idle_s - one.idle_s - passed) > ROUNDING:
            yield f"{_named(other)}: nothing moved for {passed:.3f} s, and idle_s went from {one.idle_s:.3f} to {other.idle_s:.3f}"
        if _position(one) != _position(other) and other.idle_s > passed + ROUNDING:
            yield f"{_named(other)}: it moved since the event before, but idle_s is {other.idle_s:.3f}"


def _cancelled(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    for event in events:
        if event.state is RunState.CANCELLED and not event.message:
            yield f"{_named(event)} does not say how far it came"
        if event.state is RunState.CANCELLED and event.phase == PHASES[-1]:
            yield f"{_named(event)} went on to {event.phase}"


def _not_by_a_callback(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    for event in events:
        if event.error is not None and event.error.type == "CallbackError":
            yield f"{_named(event)}: a callback that raises cancels the run, or does nothing to it"


def _forwards(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    for one, other in pairwise(events):
        if other.done < one.done:
            yield f"{_named(other)}: done went from {one.done} back to {other.done}"
        if PHASES.index(other.phase) < PHASES.index(one.phase):
            yield f"{_named(other)}: phase {other.phase} after {one.phase}"
        if other.phase == one.phase and other.phase_done < one.phase_done:
            yield f"{_named(other)}: phase_done went from {one.phase_done} back to {other.phase_done}"
        if (other.fraction or 0) < (one.fraction or 0):
            yield f"{_named(other)}: fraction went from {one.fraction} back to {other.fraction}"


def _honest(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    for event in events:
        if (event.fraction == 1.0) != (event.state is RunState.COMPLETED):
            yield f"{_named(event)} has fraction {event.fraction}"
        is_unknown = event.total is None and event.children is None  # a batch has a fraction before it has a total
        if (event.fraction is None) != is_unknown or not 0 <= (event.fraction or 0) <= 1:
            yield f"{_named(event)} has fraction {event.fraction}, {event.done} of {event.total}"
        is_short = event.state is RunState.COMPLETED and not _has_lost_children(event) and event.done != event.total
        if event.done > (event.total or math.inf) or is_short:
            yield f"{_named(event)} has done {event.done} of {event.total}"
        if event.phase_done > (event.phase_total or math.inf):
            yield f"{_named(event)} has done {event.phase_done} of {event.phase_total} in {event.phase}"
        if (event.error is not None) != (event.state is RunState.FAILED):
            yield f"{_named(event)} has error {event.error}"


def _children(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    """Of a batch, whose phase has its children as parts."""
    for event in events:
        if (event.children is None) != (event.raw_fraction is None) or (event.children is None) != (events[0].children is None):
            yield f"{_named(event)} has children {event.children} and raw_fraction {event.raw_fraction}"
        elif event.children is not None:
            yield from (f"{_named(event)}: {problem}" for problem in _miscounted(event, event.children))


def _miscounted(event: ProgressEvent, children: Mapping[str, int]) -> Iterator[str]:
    ended = sum(children.get(state.value, 0) for state in RunState if state.is_final)
    if not children.keys() <= {state.value for state in RunState} or min(children.values(), default=0) < 0:
        yield f"it counts children as {dict(children)}"
    if sum(children.values()) != event.phase_total or ended != event.phase_done:
        yield f"of its children {dict(children)}, {event.phase_done} of {event.phase_total} have ended"
    if not 0 <= (event.raw_fraction or 0) <= 1 or min(event.raw_fraction or 0, ALMOST) > (event.fraction or 0):
        yield f"it has fraction {event.fraction} and raw_fraction {event.raw_fraction}"
    if event.state is RunState.COMPLETED and (ended != event.phase_total or not children.get("completed")):
        yield f"it has completed with children {dict(children)}"


def _has_lost_children(event: ProgressEvent) -> bool:
    return event.children is not None and event.children.get("completed", 0) < sum(event.children.values())


def _estimates(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    for event in events:
        if event.rate is not None and (event.phase not in PHASES[3:] or event.elapsed_s < SETTLED or not event.rate > 0):
            yield f"{_named(event)} has rate {event.rate} in {event.phase}, {event.elapsed_s:.3f} s after the beginning"
        if event.eta_s is not None and (event.rate is None or event.eta_s < 0):
            yield f"{_named(event)} has eta_s {event.eta_s} with rate {event.rate}"


def _late(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    if promised.after is not None and events[0].seq <= promised.after:
        yield f"a reader who knew seq {promised.after} got {_named(events[0])}"


def _plain(events: Sequence[ProgressEvent], promised: Promised) -> Iterator[str]:
    for event in events:
        try:
            json.dumps(event.to_json(), allow_nan=False)
            same = pickle.loads(pickle.dumps(event)) == event
        except (TypeError, ValueError, AttributeError, pickle.PicklingError) as error:
            yield f"{_named(event)} is not plain: {error}"
        else:
            if not same:
                yield f"{_named(event)} is another after pickling"


# By the number of the guarantee; 0: what an event is.
CHECKS: tuple[tuple[int, Check], ...] = (
    (0, _plain),
    (0, _estimates),
    (0, _children),
    (1, _begins),
    (1, _ends),
    (2, _in_order),
    (3, _on_one_thread),
    (4, _states),
    (5, _seldom),
    (6, _alive),
    (7, _cancelled),
    (8, _not_by_a_callback),
    (9, _forwards),
    (9, _honest),
    (10, _late),
)


def _position(event: ProgressEvent) -> tuple[object, ...]:
    of_children = () if event.children is None else (event.children, event.raw_fraction, event.total)
    return event.phase, event.phase_done, event.done, *of_children


def _named(event: ProgressEvent) -> str:
    return f"event {event.seq} ({event.kind}, {event.state})"
