"""Batches of real simulations, on NumPy and on native code; engines that misbehave wait for events, not for the clock."""

import asyncio
import threading
from functools import partial

import pytest
from workbooks import workbook

import ultramc as mc
from ultramc import children
from ultramc.engines import registry
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.testing import Recorder, assert_progress_contract

LONG = 60  # seconds until a test that waits for something gives up
ENGINES = [info.name for info in registry.available_engines() if info.available and info.name in ("numpy", "native")]
BOOK = workbook({"A1": 100, "A2": 0.05, "B1": "=A1*(1+A2)^2"})


def simulation(growth=0.05):
    return mc.Simulation(BOOK, inputs={"A1": mc.Uniform(50, 160), "A2": growth}, outputs=["B1"])


def three():
    return {label: simulation(growth) for label, growth in (("low", 0.02), ("base", 0.05), ("high", 0.08))}


def lost():
    return mc.Simulation("lost.xlsx", outputs=["B1"])


def of_each(events):
    return {label: [event for event in events if event.label == label] for label in {event.label for event in events}}


def check(batch, of_children, **options):
    assert_progress_contract(batch, **options)
    for events in of_each(of_children).values():
        assert_progress_contract(events, **options)
        assert {event.parent_id for event in events} == {batch[0].run_id}


class At(NumPyEngine):
    """Does something in each chunk."""

    name = "at"

    def __init__(self, act):
        super().__init__()
        self.act = act

    def run(self, executable, job, first, count):
        self.act()
        return super().run(executable, job, first, count)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("interval", [0, 0.01])
def test_three_children_count_three_thousand_and_give_what_a_run_gives(engine, interval):
    batch, of_children = Recorder(), Recorder()
    options = {"engine": engine, "seed": 1, "chunk": 100}
    result = mc.run_batch(three(), 1_000, progress=batch, child_progress=of_children, interval=interval, **options)
    check(batch, of_children, interval=interval)
    assert batch.threads == of_children.threads == {threading.get_ident()}
    assert (result.state, result.iterations, batch[-1].done, batch[-1].total) == ("completed", 3_000, 3_000, 3_000)
    assert batch[-1].children == {"queued": 0, "running": 0, "completed": 3, "failed": 0, "cancelled": 0}
    assert set(of_each(of_children)) == set(result) == {"low", "base", "high"}
    for label, sim in three().items():
        assert result[label]["B1"].samples.tobytes() == sim.run(1_000, **options)["B1"].samples.tobytes()
    result.raise_for_errors()


def test_one_that_fails_is_named_and_stops_no_other():
    batch, of_children = Recorder(), Recorder()
    items = {**three(), "lost": mc.BatchItem(lost, 500)}
    result = mc.run_batch(items, 1_000, seed=1, progress=batch, child_progress=of_children, interval=0)
    check(batch, of_children, interval=0)
    assert (result.state, result.iterations, result.children["failed"], batch[-1].children["failed"]) == ("completed", 3_000, 1, 1)
    assert of_each(of_children)["lost"][-1].error.type == "UnreadableWorkbook"
    assert "lost: failed, UnreadableWorkbook: lost.xlsx" in repr(result)
    with pytest.raises(mc.UnreadableWorkbook):
        result["lost"]
    with pytest.raises(mc.BatchError, match=r"1 of 4 children .*\n  lost: UnreadableWorkbook: lost\.xlsx"):
        result.raise_for_errors()


def test_where_all_fail_the_batch_does():
    batch = Recorder()
    with pytest.raises(mc.BatchError, match=r"one: UnreadableWorkbook(?s:.)*two: UnreadableWorkbook") as caught:
        mc.run_batch({"one": lost, "two": lost}, 10, progress=batch)
    assert_progress_contract(batch)
    assert (batch[-1].state, batch[-1].error.type, caught.value.result.children["failed"]) == ("failed", "BatchError", 2)
    assert [type(error) for error in caught.value.exceptions] == [mc.UnreadableWorkbook] * 2
    assert isinstance(caught.value, ExceptionGroup)


def test_no_more_than_max_parallel_run_at_once():
    batch, busy, most, both = Recorder(), [], [], threading.Barrier(2)

    def act():
        busy.append(1)
        most.append(len(busy))
        both.wait(LONG)
        busy.pop()

    items = {str(number): simulation() for number in range(4)}
    mc.run_batch(items, 100, engine=At(act), max_parallel=2, validate=False, progress=batch, interval=0)
    assert_progress_contract(batch, interval=0)
    assert max(most) == 2 and max(event.children["running"] for event in batch) == 2
    assert batch[0].children["queued"] == 4


class TestInTheBackground:
    def test_start_gives_what_run_gives(self):
        batch, of_children, items = Recorder(), Recorder(), three()
        handle = mc.Batch(items).start(1_000, seed=1, progress=batch, child_progress=of_children, interval=0)
        result = handle.result(LONG)
        check(batch, of_children, interval=0)
        assert (handle.state, handle.event.done, result.iterations) == ("completed", 3_000, 3_000)
        assert batch.threads == of_children.threads != {threading.get_ident()} and len(batch.threads) == 1
        wanted = mc.run_batch(items, 1_000, seed=1)
        assert [result[label]["B1"].mean for label in items] == [wanted[label]["B1"].mean for label in items]
        assert [event.seq for event in handle.events()] == [handle.event.seq]

    def test_a_handle_cancels(self):
        handle = mc.Batch(three()).start(2_000_000, chunk=100)
        handle.cancel("enough")
        with pytest.raises(mc.SimulationCancelled, match="enough"):
            handle.result(LONG)
        assert handle.state == "cancelled" and repr(handle).startswith(f"run {handle.run_id}: cancelled")

    def test_stream_gives_the_events_of_the_batch(self):
        async def streamed():
            stream, seen = mc.Batch(three()).stream(1_000, seed=1, interval=0), Recorder()
            async for event in stream:
                seen(event)
            return stream.result(), seen

        result, seen = asyncio.run(streamed())
        assert_progress_contract(seen, interval=0)
        assert result.iterations == seen[-1].done == 3_000 and {event.label for event in seen} == {None}

    def test_of_children_whose_number_of_iterations_is_not_known_yet(self):
        handle = mc.Batch({"lost": lost, "there": simulation()}).start(seed=1)
        with pytest.raises(mc.BatchError):
            handle.result(LONG)
        assert repr(handle).startswith(f"run {handle.run_id}: failed")


@pytest.mark.parametrize("way", ["token", "parent", "child"])
def test_cancelled_by_a_callback(way):
    token, batch, of_children = mc.CancelToken(), Recorder(), Recorder()

    def cancel(event):
        if event.done >= 300:
            token.cancel("seen enough")

    told = {"progress": [batch, cancel], "child_progress": [of_children, cancel] if way == "child" else of_children}
    with pytest.raises(mc.SimulationCancelled, match=r"cancelled after .* of 60,000 iterations: seen enough") as caught:
        mc.run_batch(three(), 20_000, chunk=100, max_parallel=2, cancel=token, interval=0, **told)
    check(batch, of_children, interval=0)
    result = caught.value.result
    assert (result.state, batch[-1].state) == ("cancelled", "cancelled")
    assert 300 <= result.iterations == batch[-1].done < 60_000
    assert any(part.state == "cancelled" and part.iterations for part in result.results.values())


def test_the_first_error_cancels_the_others_where_that_is_asked_for():
    failed, batch = threading.Event(), Recorder()
    items = {"good": mc.BatchItem(simulation(), chunk=100, engine=At(lambda: failed.wait(LONG))), "lost": lost, "late": simulation()}

    def release(event):
        if event.children["failed"]:
            failed.set()

    with pytest.raises(mc.SimulationCancelled, match="child 'lost' failed: UnreadableWorkbook") as caught:
        mc.run_batch(items, 200_000, max_parallel=2, on_child_error="cancel", validate=False, progress=[batch, release], interval=0)
    assert_progress_contract(batch, interval=0)
    assert isinstance(caught.value.__cause__, mc.UnreadableWorkbook)
    assert [state.value for state in caught.value.result.states.values()] == ["cancelled", "failed", "cancelled"]


def raises(error):
    raise error


def test_a_child_that_raises_cancelled_error_by_itself_has_failed():
    items = {"odd": mc.BatchItem(simulation(), engine=At(lambda: raises(asyncio.CancelledError()))), "good": simulation()}
    batch, of_children = Recorder(), Recorder()
    result = mc.run_batch(items, 1_000, validate=False, progress=batch, child_progress=of_children, interval=0)
    check(batch, of_children, interval=0)
    assert [state.value for state in result.states.values()] == ["failed", "completed"]
    assert "nobody had cancelled it" in str(result.errors["odd"])


async def fails(course):
    await asyncio.sleep(0.05)
    raise ZeroDivisionError("a bug of the monitor")


async def is_stopped(course):
    asyncio.current_task().cancel()
    await asyncio.sleep(LONG)


@pytest.mark.parametrize(
    ("monitor", "said"), [(fails, "failed.*ZeroDivisionError: a bug of the monitor"), (is_stopped, "was stopped before")]
)
def test_where_the_monitor_ends_the_batch_fails(monkeypatch, monitor, said):
    monkeypatch.setattr(children.Course, "_monitor", monitor)
    batch, of_children, stopped = Recorder(), Recorder(), threading.Event()
    items = {"good": mc.BatchItem(simulation(), engine=At(lambda: stopped.wait(0.002)))}
    with pytest.raises(mc.RunError, match=f"the monitor of the batch {said}") as caught:
        mc.run_batch(items, 10_000_000, chunk=1_000, validate=False, progress=batch, child_progress=of_children)
    check(batch, of_children)
    assert (batch[-1].state, batch[-1].error.type, caught.value.run.state) == ("failed", "RunError", "failed")
    assert not any(thread.name.startswith("ultramc run") for thread in threading.enumerate())


def test_inside_a_running_loop():
    async def host():
        blocking = mc.run_batch(three(), 100, seed=1)
        batch, of_children = Recorder(), Recorder()
        result = await mc.Batch(three()).run_async(100, seed=1, progress=batch, child_progress=of_children)
        check(batch, of_children)
        return blocking, result

    assert [result.iterations for result in asyncio.run(host())] == [300, 300]


def test_ctrl_c_leaves_with_what_is_done():
    batch, pressed = Recorder(), []

    def interrupts(event):
        if event.done >= 300 and not pressed:
            pressed.append(event)
            raise KeyboardInterrupt

    with pytest.raises(mc.SimulationInterrupted) as caught:
        mc.run_batch(three(), 20_000, chunk=100, progress=[batch, interrupts], interval=0)
    assert_progress_contract(batch, interval=0)
    assert batch[-1].state == "cancelled" and caught.value.result.iterations >= 300


def test_a_callback_that_raises_is_listed():
    with pytest.warns(RuntimeWarning, match="no more"):
        result = mc.run_batch(three(), 100, child_progress=lambda event: raises(ValueError("broken")))
    assert [error.message for error in result.callback_errors] == ["broken"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (partial(mc.Batch, {}), "give a mapping"),
        (partial(mc.Batch, [1]), "give a mapping"),
        (partial(mc.Batch, {"a": 1}), "a Simulation, or a function"),
        (partial(mc.run_batch, {"a": lost}, 10, sed=1), "sed= is nothing"),
        (partial(mc.run_batch, {"a": lost}, 10, max_parallel=0), "max_parallel=0"),
        (partial(mc.run_batch, {"a": lost}, 10, on_child_error="stop"), "on_child_error='stop'"),
    ],
)
def test_what_makes_no_sense_is_refused(call, said):
    with pytest.raises(mc.InputError, match=said):
        call()


def test_one_checkpoint_for_all_children_is_refused(tmp_path):
    with pytest.raises(mc.InputError, match="give each BatchItem one of its own"):
        mc.run_batch(three(), 1_000, seed=1, checkpoint=tmp_path)
    items = {label: mc.BatchItem(sim, 1_000, checkpoint=tmp_path / label) for label, sim in three().items()}
    assert set(mc.run_batch(items, seed=1).results) == {"low", "base", "high"}
    assert {path.name for path in tmp_path.iterdir()} == {"low", "base", "high"}
