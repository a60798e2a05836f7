"""How far a batch has come, from how far its children have. The clock is the tests' own."""

import pytest
from attrs import evolve

import ultramc as mc
from ultramc.delivery import Feed
from ultramc.tally import BatchTracker, Standing, position_of
from ultramc.testing import assert_progress_contract

QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED = mc.RunState


class Time:
    def __init__(self):
        self.now = 500.0

    def monotonic(self):
        return self.now

    def wall(self):
        return self.now


def running(done, of=1_000):
    return Standing(RUNNING, done, of, done / of)


def in_state(standing, state):
    return evolve(standing, state=state)


def feed_of(*standings, clock=None, interval=0.0):
    position = position_of(standings)
    return Feed(BatchTracker(run_id="b", total=position.total, interval=interval, clock=clock or Time(), position=position))


def fractions(*moves):
    """What is published, and the raw mean, after each move."""
    feed = feed_of(*(Standing(total=each.total) for each in moves[0]))
    feed.begin()
    told = []
    for standings in moves:
        feed.move(position_of(standings))
        told.append((feed.last.fraction, feed.last.raw_fraction))
    return told


def test_one_that_failed_is_left_out_of_the_mean():
    assert fractions([running(500), in_state(running(0), FAILED)]) == [(0.5, 0.5)]


def test_what_is_published_never_goes_back():
    moves = [running(900), running(100)], [in_state(running(900), FAILED), running(100)], [in_state(running(900), FAILED), running(700)]
    assert fractions(*moves) == [(0.5, 0.5), (0.5, 0.1), (0.7, 0.7)]


def test_queued_counts_nothing_and_iterations_of_all_add_up():
    at = position_of([Standing(total=400), running(500), in_state(running(300), FAILED), Standing(COMPLETED, 100, 100, 1.0)])
    assert (at.done, at.total, at.left, at.raw_fraction) == (900, 2_500, 900, 0.5)
    assert (at.phase, at.phase_done, at.phase_total) == ("sample", 2, 4)
    assert at.children == {"queued": 1, "running": 1, "completed": 1, "failed": 1, "cancelled": 0}


def test_cancelled_has_not_failed_only_where_the_batch_is_cancelled():
    standings = [in_state(running(500), CANCELLED), Standing(COMPLETED, 1_000, 1_000, 1.0)]
    assert position_of(standings, is_cancelled=True).raw_fraction == 0.75
    assert position_of(standings).raw_fraction == 1.0


def test_a_total_is_unknown_until_each_child_has_said_its_own_or_ended():
    assert position_of([running(500), Standing()]).total is None
    assert position_of([running(500), Standing(FAILED)]).total == 1_000


def test_three_heartbeats_in_six_and_a_half_seconds():
    clock = Time()
    feed = feed_of(Standing(total=1_000), clock=clock)
    mailbox = feed.subscribe()
    feed.begin()
    events = [feed.take(mailbox)]
    for _ in range(65):
        clock.now += 0.1
        events += [event for event in [feed.take(mailbox)] if event is not None]
    assert [event.kind for event in events] == ["state", "heartbeat", "heartbeat", "heartbeat"]
    assert events[-1].children["queued"] == 1 and events[-1].idle_s == pytest.approx(6, abs=0.11)


@pytest.mark.parametrize(
    ("state", "given"), [(FAILED, {"error": mc.ErrorInfo("BatchError", "all")}), (CANCELLED, {"message": "cancelled"}), (COMPLETED, {})]
)
def test_only_a_batch_that_has_completed_shows_one(state, given):
    feed, lost = feed_of(Standing(total=10), Standing(total=10)), in_state(running(0, 10), FAILED)
    mailbox = feed.subscribe()
    feed.begin()
    for standings in ([running(10, 10), Standing(total=10)], [Standing(COMPLETED, 10, 10, 1.0), lost]):
        feed.move(position_of(standings))
    feed.end(state, **given)
    events = []
    while (event := feed.take(mailbox)) is not None:
        events.append(event)
    assert [event.fraction == 1.0 for event in events] == [False, False, False, state is COMPLETED]
    assert_progress_contract(events, interval=0)


def broken(**changes):
    feed = feed_of(Standing(total=10))
    feed.begin()
    first = feed.last
    feed.move(position_of([Standing(COMPLETED, 10, 10, 1.0)]))
    middle = feed.last
    feed.end(COMPLETED)
    return [first, middle, evolve(feed.last, **changes)]


@pytest.mark.parametrize(
    "changes",
    [
        {"children": {"completed": 2}},
        {"children": {"queued": 1}},
        {"children": {"failed": 1}},
        {"children": None},
        {"children": {"done": 1}},
        {"raw_fraction": 1.5},
    ],
)
def test_the_contract_counts_children(changes):
    assert_progress_contract(broken(), interval=0)
    with pytest.raises(AssertionError, match=r"(?m)^\(0\) "):
        assert_progress_contract(broken(**changes), interval=0)


def test_a_slow_listener_keeps_the_latest_event_of_each_run():
    feed = feed_of(Standing(total=10), interval=10.0)
    mailbox = feed.subscribe()
    feed.begin()
    for seq in range(3):
        for label in "ab":
            feed.pass_on(evolve(feed.last, run_id=label, label=label, kind="progress", seq=seq))
    assert [(event.run_id, event.seq) for event in iter(lambda: feed.take(mailbox), None)] == [("b", 0), ("a", 2), ("b", 2)]
