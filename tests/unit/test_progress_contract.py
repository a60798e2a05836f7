"""The contract of progress catches what it promises to catch: a right list of events, and for each promise lists that break it."""

import math
import threading

import pytest
from attrs import evolve

import ultramc as mc
from ultramc.progress import ErrorInfo
from ultramc.testing import Recorder, assert_progress_contract

E = mc.ProgressEvent(
    run_id="r", seq=0, kind="state", state=mc.RunState.RUNNING, phase="check", phase_done=0, phase_total=1,
    done=0, total=1000, fraction=0.0, elapsed_s=0.0, idle_s=0.0, time=1.7e9,
)  # fmt: skip
ERROR = ErrorInfo("ValueError", "no", "here")

# A run as it should be: what each event changes of the one before it.
CHANGES = (
    {},
    {"kind": "progress", "phase": "compile", "elapsed_s": 0.2, "idle_s": 0.05},
    {"kind": "heartbeat", "elapsed_s": 2.0, "idle_s": 1.85},
    {"kind": "heartbeat", "elapsed_s": 4.0, "idle_s": 3.85},
    {"kind": "progress", "phase": "sample", "phase_total": 1000, "elapsed_s": 4.5, "idle_s": 0.0},
    {"kind": "progress", "phase_done": 400, "done": 400, "fraction": 0.4, "elapsed_s": 5.0, "idle_s": 0.0},
    {"kind": "progress", "phase_done": 800, "done": 800, "fraction": 0.8, "elapsed_s": 5.5, "rate": 800.0, "eta_s": 0.25},
    {"kind": "progress", "phase_done": 1000, "done": 1000, "fraction": 0.99, "elapsed_s": 5.7, "rate": 833.0, "eta_s": 0.0},
    {"kind": "progress", "phase": "summarise", "phase_done": 0, "phase_total": 1, "elapsed_s": 5.8},
    {"kind": "state", "state": mc.RunState.COMPLETED, "phase_done": 1, "fraction": 1.0, "elapsed_s": 5.9},
)  # fmt: skip


def run(changes=CHANGES):
    events = []
    for seq, change in enumerate(changes):
        events.append(evolve(events[-1] if events else E, **{"seq": seq, **change}))
    return events


def ended(state, **changes):
    """The run as it should be, but for its end, after 800 iterations."""
    return run((*CHANGES[:7], {"kind": "state", "state": state, "elapsed_s": 5.6, "rate": None, "eta_s": None, **changes}))


def with_(number, **changes):
    events = run()
    events[number] = evolve(events[number], **changes)
    return events


def without(*numbers):
    return [event for number, event in enumerate(run()) if number not in numbers]


FAILED = ended(mc.RunState.FAILED, error=ERROR)
CANCELLED = ended(mc.RunState.CANCELLED, message="cancelled after 800 of 1,000 iterations")


@pytest.mark.parametrize("events", [run(), FAILED, CANCELLED, without(1), without(5, 6), [run()[0], run()[-1]]])
def test_what_is_right_passes(events):
    assert_progress_contract(events, slack=math.inf)


def test_with_its_heartbeats_it_passes_without_leave_to_be_late():
    assert_progress_contract(run(), slack=0.0)


def test_a_late_reader_may_begin_anywhere():
    assert_progress_contract(run()[4:], after=3)
    assert_progress_contract(run()[-1:], after=-1)


WRONG = {
    "0 a field that is not plain": (0, with_(3, message=threading.Lock())),
    "0 a number that JSON has not": (0, with_(7, rate=math.inf)),
    "0 a rate before sampling": (0, with_(3, rate=5.0)),
    "0 a rate that is nothing": (0, with_(6, rate=0.0)),
    "0 time left without a rate": (0, with_(5, eta_s=3.0)),
    "0 time left below nothing": (0, with_(6, eta_s=-1.0)),
    "1 no event": (1, []),
    "1 it begins in the middle": (1, without(0)),
    "1 it begins with seq 1": (1, [evolve(event, seq=event.seq + 1) for event in run()]),
    "1 it begins after some work": (1, with_(0, done=100)),
    "1 it begins after a phase": (1, with_(0, phase_done=1)),
    "1 it has no end": (1, without(9)),
    "1 it ends twice": (1, [*run(), evolve(run()[-1], seq=10)]),
    "1 something comes after the end": (1, [*run(), evolve(run()[7], seq=10, elapsed_s=6.0)]),
    "2 the same event twice": (2, [*run()[:5], run()[4], *run()[5:]]),
    "2 out of order": (2, [*run()[:2], run()[3], run()[2], *run()[4:]]),
    "2 of two runs": (2, with_(4, run_id="other")),
    "2 earlier than the one before": (2, with_(5, elapsed_s=4.4, idle_s=0.0)),
    "4 a state that came as progress": (4, with_(9, kind="progress")),
    "4 a state that is none": (4, with_(5, kind="state")),
    "4 queued after running": (4, with_(1, state=mc.RunState.QUEUED)),
    "5 too often": (5, with_(5, elapsed_s=4.55)),
    "6 a heartbeat is missing": (6, without(2)),
    "6 idle stands still": (6, with_(3, idle_s=1.85)),
    "6 idle though it moved": (6, with_(5, idle_s=0.6)),
    "7 cancelled, and it does not say how far it came": (7, ended(mc.RunState.CANCELLED)),
    "7 cancelled, and it went on": (7, ended(mc.RunState.CANCELLED, message="cancelled", phase="summarise")),
    "8 a callback failed the run": (8, ended(mc.RunState.FAILED, error=ErrorInfo("CallbackError", "no"))),
    "9 done goes back": (9, with_(6, done=300)),
    "9 the fraction goes back": (9, with_(6, fraction=0.3)),
    "9 a phase that was over": (9, with_(5, phase="compile")),
    "9 a phase goes back": (9, with_(6, phase_done=399)),
    "9 looks done and is not": (9, with_(7, fraction=1.0)),
    "9 failed, and looks done": (9, ended(mc.RunState.FAILED, error=ERROR, fraction=1.0)),
    "9 cancelled, and looks done": (9, ended(mc.RunState.CANCELLED, message="cancelled", fraction=1.0)),
    "9 completed, and does not look done": (9, with_(9, fraction=0.99)),
    "9 completed, and iterations are missing": (9, with_(9, done=999)),
    "9 more done than there is": (9, with_(7, done=1001)),
    "9 more of a phase than there is": (9, with_(7, phase_done=1001)),
    "9 failed without an error": (9, ended(mc.RunState.FAILED)),
    "9 an error and not failed": (9, with_(5, error=ERROR)),
    "9 a fraction of nothing known": (9, with_(5, total=None)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_by_its_guarantee(name):
    number, events = WRONG[name]
    with pytest.raises(AssertionError, match=rf"(?m)^\({number}\) "):
        assert_progress_contract(events, slack=0.5)


def test_a_late_reader_gets_nothing_that_it_knew():
    with pytest.raises(AssertionError, match=r"\(10\) a reader who knew seq 4 got event 4"):
        assert_progress_contract(run()[4:], after=4)


def test_every_promise_that_a_list_can_break_is_broken_by_one():
    from ultramc.testing.progress import CHECKS

    assert {number for number, _ in CHECKS} == {number for number, _ in WRONG.values()} | {3, 10}


def test_a_recorder_notes_another_thread():
    seen = Recorder()
    for event in run()[:-1]:
        seen(event)
    assert_progress_contract([*seen, run()[-1]])
    thread = threading.Thread(target=seen, args=(run()[-1],))
    thread.start()
    thread.join()
    with pytest.raises(AssertionError, match=r"\(3\) 2 threads called"):
        assert_progress_contract(seen)


class Nested(Recorder):
    """Called again before it is done."""

    def append(self, event):
        super().append(event)
        if event.seq == 4:
            self(run()[5])


def test_a_recorder_notes_calls_that_overlap():
    seen = Nested()
    for number in (0, 1, 2, 3, 4, 6, 7, 8, 9):
        seen(run()[number])
    assert [event.seq for event in seen] == list(range(10))
    with pytest.raises(AssertionError, match=r"\(2\) 1 calls overlapped"):
        assert_progress_contract(seen)
