"""A run on its thread: the moments that no test of a whole run can hit for sure."""

import threading
import time

import pytest
from workbooks import workbook

import ultramc as mc
from ultramc.delivery import Feed, Position, Tracker
from ultramc.launching import Launch, RunHandle, Stages, attend
from ultramc.listening import Listeners
from ultramc.testing import Recorder


@pytest.fixture(scope="module")
def result():
    return mc.Simulation(workbook({"A1": 1}), inputs={"A1": mc.Uniform(0, 1)}, outputs=["A1"]).run(10)


def launch_of(work, *callbacks):
    return Launch(work, Tracker(run_id="r", total=10), Listeners(callbacks, strict=False, token=mc.CancelToken()))


def test_a_final_event_that_was_taken_and_not_told_is_told(result):
    """As when Ctrl-C comes between the two."""
    seen = Recorder()
    launch = launch_of(lambda stages: result, seen)
    launch.begin()
    while launch.feed.next(launch.mailbox) is not None:
        pass
    attend(launch)
    assert [event.state for event in seen] == ["completed"]


@pytest.mark.parametrize(("done", "goes_on"), [(0, False), (10, True)])
def test_once_there_are_iterations_a_stage_refuses_nobody(done, goes_on):
    """The run itself looks after its last chunk, and hands over what there is."""
    stages = Stages(Feed(Tracker(run_id="r", total=10)), mc.CancelToken())
    stages.feed.begin()
    stages.feed.move(Position("sample", done, 10, done))
    stages.token.cancel("late")
    try:
        with stages.stage("summarise"):
            assert goes_on
    except mc.SimulationCancelled as error:
        assert not goes_on and str(error) == "cancelled during sample, before any iteration: late"
    assert stages.feed.position.phase == ("summarise" if goes_on else "sample")


def test_a_run_begins_once(result):
    begun = []

    def work(stages):
        begun.append(stages)
        return result

    launch = launch_of(work)
    launch.begin()
    attend(launch)
    launch.begin()
    assert len(begun) == 1 and launch.feed.last.seq <= 1 and launch.outcome() is result


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no words")


def test_an_error_that_cannot_be_shown_ends_the_run_all_the_same():
    def work(stages):
        raise Unspeakable

    launch = launch_of(work)
    attend(launch)
    assert (launch.feed.state, launch.feed.last.error.message) == ("failed", "(its text cannot be had: ValueError)")
    with pytest.raises(Unspeakable):
        launch.outcome()


@pytest.mark.parametrize("number", [0, 1])
def test_threads_that_cannot_be_started(monkeypatch, result, number):
    """Nobody waits for the run's own, the first; without that of a handle, the second, the run is cancelled."""
    started, start = [], threading.Thread.start

    def full(thread):
        started.append(thread)
        if len(started) == number + 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    def work(stages):
        while not stages.token.cancelled:
            time.sleep(0.001)
        return result

    seen = Recorder()
    launch = launch_of(work, seen)
    monkeypatch.setattr(threading.Thread, "start", full)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        RunHandle(launch) if number else attend(launch)
    if number:
        attend(launch)
    assert [event.state for event in seen if event.kind == "state"] == ["running", "completed" if number else "failed"]
