"""Events, and how they reach those who listen. The clock is the tests' own, so nothing waits."""

import json
import pickle
import threading

import pytest

import ultramc as mc
from ultramc.delivery import ROOM, Feed, Position, Tracker
from ultramc.progress import ErrorInfo

TOTAL = 1_000


class Time:
    """A clock that stands still until it is told to go on."""

    def __init__(self):
        self.now = 500.0

    def monotonic(self):
        return self.now

    def wall(self):
        return 1_700_000_000.0 + self.now

    def pass_(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def feed_of(clock):
    def feed_of(**options):
        return Feed(Tracker(run_id="r", total=TOTAL, clock=clock, **options))

    return feed_of


def taken(feed, mailbox):
    """All that can be taken now."""
    events = []
    while (event := feed.take(mailbox)) is not None:
        events.append(event)
    return events


def sampled(done):
    return Position("sample", done, TOTAL, done)


def kinds(events):
    return [event.kind for event in events]


class TestEvents:
    @pytest.fixture
    def event(self, feed_of):
        feed = feed_of()
        feed.begin()
        feed.end(mc.RunState.FAILED, ErrorInfo("ValueError", "no", "here"))
        return feed.last

    def test_json_has_each_field_and_the_version(self, event):
        told = json.loads(json.dumps(event.to_json(), allow_nan=False))
        assert told["schema_version"] == 1
        assert told["state"] == "failed" and type(event.to_json()["state"]) is str
        assert told["error"] == {"type": "ValueError", "message": "no", "where": "here"}
        assert told.keys() == {"schema_version", *mc.ProgressEvent.__slots__} - {"__weakref__"}

    def test_pickled(self, event):
        assert pickle.loads(pickle.dumps(event)) == event

    def test_frozen_and_by_name_only(self, event):
        with pytest.raises(AttributeError):
            event.done = 3
        with pytest.raises(TypeError):
            mc.ProgressEvent("r")

    def test_time_is_the_wall_clocks(self, event, clock):
        assert event.time == clock.wall()

    def test_an_error_says_what_and_where(self):
        def fails():
            return 1 // 0

        try:
            fails()
        except ZeroDivisionError as error:
            info = ErrorInfo.of(error)
        assert (info.type, info.message) == ("ZeroDivisionError", str(ZeroDivisionError("integer division or modulo by zero")))
        assert info.where.startswith(f"{__name__}.TestEvents.test_an_error_says_what_and_where.<locals>.fails, line ")
        assert str(info) == "ZeroDivisionError: integer division or modulo by zero"
        assert str(ErrorInfo.of(KeyError())) == "KeyError"

    @pytest.mark.parametrize(
        ("state", "is_final"), [("queued", False), ("running", False), *[(s, True) for s in ("completed", "failed", "cancelled")]]
    )
    def test_states(self, state, is_final):
        assert mc.RunState(state).is_final is is_final and f"{mc.RunState(state)}" == state


class TestTokens:
    def test_the_first_reason_stays(self):
        token = mc.CancelToken()
        assert (token.cancelled, token.reason) == (False, "")
        token.cancel("enough")
        token.cancel("late")
        assert (token.cancelled, token.reason) == (True, "enough")

    def test_one_cancels_those_that_depend_on_it_and_no_other(self):
        parent = mc.CancelToken()
        child, sister = mc.CancelToken((parent,)), mc.CancelToken((parent,))
        child.cancel("me")
        assert (child.cancelled, sister.cancelled, parent.cancelled) == (True, False, False)
        parent.cancel("all")
        assert (sister.cancelled, sister.reason, child.reason) == (True, "all", "me")


class TestNumbers:
    def test_the_first_event_is_running_before_any_work(self, feed_of):
        feed = feed_of()
        mailbox = feed.subscribe()
        assert feed.state == "queued"
        feed.begin()
        (event,) = taken(feed, mailbox)
        assert (event.seq, event.kind, event.state, event.phase, event.done, event.fraction) == (0, "state", "running", "check", 0, 0.0)
        assert (event.elapsed_s, event.idle_s, event.rate, event.eta_s, event.error) == (0.0, 0.0, None, None, None)

    @pytest.mark.parametrize(("done", "fraction"), [(0, 0.0), (500, 0.5), (990, 0.99), (999, 0.99), (1000, 0.99)])
    def test_a_fraction_is_1_only_when_completed(self, feed_of, done, fraction):
        feed = feed_of(interval=0)
        feed.begin()
        feed.move(sampled(done))
        assert feed.last.fraction == fraction
        feed.end(mc.RunState.CANCELLED)
        assert feed.last.fraction == fraction

    def test_completed_is_1(self, feed_of):
        feed = feed_of()
        feed.begin()
        feed.move(sampled(TOTAL))
        feed.end(mc.RunState.COMPLETED)
        assert (feed.last.fraction, feed.last.state, feed.last.done) == (1.0, "completed", TOTAL)

    def test_idle_grows_until_something_moves(self, feed_of, clock):
        feed = feed_of()
        mailbox = feed.subscribe()
        feed.begin()
        for _ in range(3):
            clock.pass_(2)
            taken(feed, mailbox)
            assert feed.last.idle_s == feed.last.elapsed_s == clock.now - 500
        feed.move(Position("check", 1, 1))
        clock.pass_(2)
        taken(feed, mailbox)
        assert (feed.last.idle_s, feed.last.elapsed_s) == (2.0, 8.0)

    def test_staying_where_one_is_is_no_move(self, feed_of, clock):
        feed = feed_of(interval=0)
        feed.begin()
        clock.pass_(1)
        feed.move(Position())
        feed.end(mc.RunState.FAILED)
        assert (feed.last.seq, feed.last.idle_s) == (1, 1.0)

    def test_to_know_better_how_much_there_is_is_news_and_no_advance(self, feed_of, clock):
        feed = feed_of(interval=0)
        feed.begin()
        clock.pass_(1)
        feed.move(Position("check", 0, 5))
        assert (feed.last.phase_total, feed.last.idle_s) == (5, 1.0)

    def test_rate_and_time_left(self, feed_of, clock):
        """Of the sampling alone, once there are two advances and a second; what is left shrinks while nothing moves."""
        feed = feed_of(interval=0)
        feed.begin()
        clock.pass_(100)
        feed.move(sampled(0))
        rates = []
        for done in (50, 100, 150, 200, 250):
            clock.pass_(0.25)
            feed.move(sampled(done))
            rates.append((feed.last.rate, feed.last.eta_s))
        assert rates == [(None, None)] * 3 + [(200.0, 4.0), (200.0, 3.75)]
        clock.pass_(2)
        mailbox = feed.subscribe(after=feed.last.seq)
        (beat,) = taken(feed, mailbox)
        assert (beat.kind, beat.rate, beat.eta_s) == ("heartbeat", 200.0, 1.75)
        clock.pass_(2)
        assert taken(feed, mailbox)[0].eta_s == 0.0

    def test_one_advance_is_no_rate(self, feed_of, clock):
        feed = feed_of(interval=0)
        feed.begin()
        feed.move(sampled(0))
        clock.pass_(5)
        feed.move(sampled(100))
        assert feed.last.rate is None


class TestWhen:
    def test_at_most_one_progress_event_per_interval_and_the_latest(self, feed_of, clock):
        feed = feed_of(interval=0.125)
        mailbox = feed.subscribe()
        feed.begin()
        told = []
        for done in range(1, 257):
            clock.pass_(1 / 64)
            feed.move(sampled(done))
            told += [event for event in taken(feed, mailbox) if event.kind == "progress"]
        assert [event.done for event in told] == list(range(1, 257, 8))
        seqs = [event.seq for event in told]
        assert seqs == sorted(set(seqs))

    def test_the_last_move_before_a_silence_is_told_when_the_interval_is_over(self, feed_of, clock):
        feed = feed_of(interval=0.1)
        mailbox = feed.subscribe()
        feed.begin()
        feed.move(sampled(1))
        taken(feed, mailbox)
        clock.pass_(0.04)
        feed.move(sampled(2))
        assert taken(feed, mailbox) == []
        assert feed.patience() == pytest.approx(0.06)
        clock.pass_(0.06)
        (event,) = taken(feed, mailbox)
        assert (event.kind, event.done) == ("progress", 2)

    def test_a_state_waits_for_no_interval(self, feed_of):
        feed = feed_of(interval=1000)
        mailbox = feed.subscribe()
        feed.begin()
        feed.move(sampled(1))
        assert kinds(taken(feed, mailbox)) == ["state", "progress"]
        feed.move(sampled(TOTAL))
        feed.end(mc.RunState.COMPLETED)
        assert [(event.state, event.done) for event in taken(feed, mailbox)] == [("completed", TOTAL)]
        assert mailbox.is_over

    @pytest.mark.parametrize("moves", [False, True])
    def test_three_heartbeats_in_six_and_a_half_seconds(self, feed_of, clock, moves):
        feed = feed_of()
        mailbox = feed.subscribe()
        feed.begin()
        beats = []
        for step in range(1, 6 * 8 + 5):
            clock.pass_(0.125)
            if moves:
                feed.move(sampled(step))
            beats += [event for event in taken(feed, mailbox) if event.kind == "heartbeat"]
        assert [event.elapsed_s for event in beats] == [2, 4, 6]

    def test_after_a_long_silence_there_is_one_heartbeat(self, feed_of, clock):
        feed = feed_of()
        mailbox = feed.subscribe()
        feed.begin()
        clock.pass_(60)
        assert kinds(taken(feed, mailbox)) == ["state", "heartbeat"]

    def test_nothing_beats_before_the_beginning_or_after_the_end(self, feed_of, clock):
        feed = feed_of()
        mailbox = feed.subscribe()
        clock.pass_(10)
        assert taken(feed, mailbox) == [] and not mailbox.is_over
        feed.begin()
        feed.end(mc.RunState.COMPLETED)
        clock.pass_(10)
        assert kinds(taken(feed, mailbox)) == ["state", "state"]
        assert mailbox.is_over


class TestMailboxes:
    def test_a_slow_reader_skips_progress_and_loses_no_state(self, feed_of, clock):
        """It is another reader who makes the events."""
        feed = feed_of(interval=0.1)
        slow, quick = feed.subscribe(), feed.subscribe()
        feed.begin()
        for done in range(100, 1001, 100):
            clock.pass_(0.1)
            feed.move(sampled(done))
            taken(feed, quick)
        assert [(event.kind, event.done) for event in taken(feed, slow)] == [("state", 0), ("progress", 1000)]
        feed.end(mc.RunState.COMPLETED)
        assert [event.state for event in taken(feed, slow)] == ["completed"]

    def test_twenty_updates_give_exactly_twenty_where_all_are_wanted(self, feed_of):
        feed = feed_of(interval=0)
        mailbox = feed.subscribe()
        feed.begin()
        for done in range(50, 1001, 50):
            feed.move(sampled(done))
        feed.end(mc.RunState.COMPLETED)
        events = taken(feed, mailbox)
        assert [event.done for event in events if event.kind == "progress"] == list(range(50, 1001, 50))
        assert [event.seq for event in events] == list(range(22))

    def test_where_all_are_wanted_the_run_waits_for_room(self, feed_of):
        feed = feed_of(interval=0)
        mailbox = feed.subscribe()
        feed.begin()
        moved = []

        def run():
            for done in range(1, 201):
                feed.move(sampled(done))
                moved.append(done)
            feed.end(mc.RunState.COMPLETED)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and len(moved) < 100
        events = [feed.next(mailbox) for _ in range(202)]
        thread.join(10)
        assert [event.seq for event in events] == list(range(202)) and feed.next(mailbox) is None

    def test_the_run_does_not_wait_for_a_reader_who_left(self, feed_of):
        feed = feed_of(interval=0)
        mailbox = feed.subscribe()
        feed.begin()
        thread = threading.Thread(target=lambda: [feed.move(sampled(done)) for done in range(1, 2 * ROOM)])
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        feed.unsubscribe(mailbox)
        thread.join(10)
        assert not thread.is_alive()

    @pytest.mark.parametrize(("after", "seqs"), [(None, [2, 3, 4]), (0, [2, 3, 4]), (1, [2, 3, 4]), (2, [3, 4]), (9, [3, 4])])
    def test_who_comes_late_gets_the_current_event_and_all_later_ones(self, feed_of, after, seqs):
        feed = feed_of(interval=0)
        feed.begin()
        feed.move(sampled(1))
        feed.move(sampled(2))
        mailbox = feed.subscribe(after)
        feed.move(sampled(3))
        feed.end(mc.RunState.CANCELLED)
        assert [event.seq for event in taken(feed, mailbox)] == seqs

    def test_who_comes_after_the_end_gets_the_end(self, feed_of):
        feed = feed_of()
        feed.begin()
        feed.end(mc.RunState.COMPLETED)
        assert [event.state for event in feed.events()] == ["completed"]
        assert list(feed.events(after=1)) == []

    def test_an_event_wakes_those_who_asked_for_it(self, feed_of):
        feed, woken = feed_of(), []
        feed.subscribe(wake=lambda: woken.append("woken"))
        feed.begin()
        feed.move(sampled(1))
        assert len(woken) == 2
        feed.move(sampled(2))  # nothing new to know: the first move is not told yet
        assert len(woken) == 2
