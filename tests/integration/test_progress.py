"""Progress and cancelling, on every engine that is here. Engines that misbehave wait for events, not for the clock, where they can."""

import asyncio
import contextlib
import inspect
import logging
import math
import pickle
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
from workbooks import workbook

import ultramc as mc
from ultramc.adapters import on_asyncio
from ultramc.engines import registry
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.testing import Recorder, assert_progress_contract

MODEL = {"A1": 100, "A2": 0.05, "B1": "=A1*(1+A2)^2", "B2": "=IF(A1>150,1/0,B1+1)"}
INPUTS = {"A1": mc.Uniform(50, 160), "A2": mc.Uniform(0, 0.1)}
SEED = 5
COUNT = 9_001
CHUNK = 100
LONG = 60  # seconds until a test that waits for something gives up


def simulation(**options):
    return mc.Simulation(workbook(MODEL), inputs=INPUTS, outputs=["B1", "B2"], **options)


@pytest.fixture(scope="module")
def sim():
    return simulation()


@pytest.fixture(scope="module")
def expected(sim):
    return bits(sim.run(COUNT, seed=SEED))


def bits(result, count=COUNT):
    return [result[label].samples[:count].tobytes() for label in ("B1", "B2")]


PRESENT = [info.name for info in registry.available_engines() if info.available]


@pytest.fixture(scope="module", params=[(name, threads) for name in PRESENT for threads in (1, 3)], ids=lambda each: f"{each[0]}-{each[1]}")
def engine(request):
    name, threads = request.param
    return type(registry.made(name))(threads=threads)


def phases(events):
    return list(dict.fromkeys(event.phase for event in events))


class TestOnEveryEngine:
    def test_the_contract(self, sim, engine, expected):
        seen = Recorder()
        result = sim.run(COUNT, seed=SEED, engine=engine, chunk=CHUNK, progress=seen, interval=0.01)
        assert_progress_contract(seen, interval=0.01)
        assert seen.threads == {threading.get_ident()}
        assert (seen[-1].state, seen[-1].done) == ("completed", COUNT)
        if engine.name != "jax":
            assert bits(result) == expected

    def test_where_nothing_may_be_lost_each_chunk_is_an_event(self, sim, engine):
        seen = Recorder()
        sim.run(2_000, seed=SEED, engine=engine, chunk=CHUNK, progress=seen, interval=0)
        assert_progress_contract(seen, interval=0)
        assert phases(seen) == ["check", "compile", "validate", "sample", "summarise"]
        assert [event.done for event in seen if event.phase == "sample"][1:] == list(range(CHUNK, 2_001, CHUNK))
        assert [event.seq for event in seen] == list(range(len(seen)))
        assert {(event.phase, event.phase_total) for event in seen if event.phase in ("check", "sample")} == {
            ("check", 1),
            ("sample", 2_000),
        }

    def test_progress_changes_no_bit(self, sim, engine):
        plain = sim.run(COUNT, seed=SEED, engine=engine)
        watched = sim.run(COUNT, seed=SEED, engine=engine, progress=Recorder(), interval=0)
        assert bits(watched) == bits(plain)

    def test_a_callback_that_cancels(self, sim, engine):
        token, seen = mc.CancelToken(), Recorder()

        def cancel_halfway(event):
            if event.done >= 4_000:
                token.cancel("that will do")

        count = 20_001  # the run may be 64 chunks ahead
        with pytest.raises(mc.SimulationCancelled, match=r"cancelled after [\d,]+ of 20,001 iterations: that will do") as caught:
            sim.run(count, seed=SEED, engine=engine, chunk=CHUNK, progress=[seen, cancel_halfway], interval=0, cancel=token)
        part = caught.value.result
        assert_progress_contract(seen, interval=0)
        assert (part.state, seen[-1].state, part.iterations) == ("cancelled", "cancelled", seen[-1].done)
        assert 4_000 <= part.iterations < count
        assert bits(part, part.iterations) == bits(sim.run(count, seed=SEED, engine=engine), part.iterations)

    def test_run_async_stream_and_start_give_what_run_gives(self, sim, engine):
        wanted = bits(sim.run(COUNT, seed=SEED, engine=engine))
        options = {"seed": SEED, "engine": engine, "chunk": CHUNK, "interval": 0.01}
        seen = [Recorder() for _ in range(3)]

        async def streamed():
            stream = sim.stream(COUNT, **options)
            async for event in stream:
                seen[0](event)
            return stream.result()

        results = [
            asyncio.run(streamed()),
            asyncio.run(sim.run_async(COUNT, progress=seen[1], **options)),
            sim.start(COUNT, progress=seen[2], **options).result(LONG),
        ]
        assert [bits(result) == wanted for result in results] == [True] * 3
        for each in seen:
            assert_progress_contract(each, interval=0.01)
            assert each[-1].state == "completed"


# Engines that misbehave


class Counting(NumPyEngine):
    """Notes how many chunks it has begun; `at`: what happens in some of them."""

    name = "counting"

    def __init__(self, at=None, **options):
        super().__init__(**options)
        self.begun = 0
        self.at = at or {}
        self._lock = threading.Lock()

    def run(self, executable, job, first, count):
        with self._lock:
            self.begun += 1
            number = self.begun
        self.at.get(number, lambda: None)()
        return super().run(executable, job, first, count)


class SlowToCompile(NumPyEngine):
    name = "slow"

    def compile(self, program):
        time.sleep(1.2)
        return super().compile(program)


class InSteps(NumPyEngine):
    """Says how far it is with compiling."""

    name = "steps"

    def __init__(self, between=lambda done: None):
        super().__init__()
        self.between = between

    def compile_in_steps(self, program, told):
        for done in range(5):
            told(done, 5)
            self.between(done)
        return self.compile(program)


def fails(error):
    def raises():
        raise error

    return raises


def run(sim, engine, **options):
    return sim.run(COUNT, **{"seed": SEED, "engine": engine, "chunk": CHUNK, "validate": False, "interval": 0, **options})


@pytest.mark.parametrize("threads", [1, 3])
class TestEngines:
    def test_that_takes_long_to_compile(self, sim, threads):
        seen = Recorder()
        run(sim, SlowToCompile(threads=threads), progress=seen, heartbeat=0.1)
        assert_progress_contract(seen, interval=0, heartbeat=0.1)
        beats = [event for event in seen if event.kind == "heartbeat" and event.phase == "compile"]
        assert len(beats) >= 5
        assert [event.idle_s for event in beats] == sorted(event.idle_s for event in beats) and beats[-1].idle_s > 0.5

    def test_that_stalls(self, sim, threads):
        go_on = threading.Event()

        def when_idle(event):
            if event.idle_s > 0.5:
                go_on.set()

        seen = Recorder()
        engine = Counting({20: lambda: go_on.wait(LONG)}, threads=threads)
        assert run(sim, engine, progress=[seen, when_idle], heartbeat=0.1).state == "completed"
        assert_progress_contract(seen, interval=0, heartbeat=0.1)
        stalled = [event for event in seen if event.kind == "heartbeat" and event.phase == "sample" and event.idle_s > 0.3]
        assert len(stalled) >= 2 and len({event.done for event in stalled}) == 1

    @pytest.mark.parametrize("error", [MemoryError("no room"), mc.EngineError("broken"), SystemExit(3)])
    def test_that_dies(self, sim, threads, error):
        seen = Recorder()
        with pytest.raises(type(error)) as caught:
            run(sim, Counting({20: fails(error)}, threads=threads), progress=seen)
        assert caught.value is error
        assert_progress_contract(seen, interval=0)
        last = seen[-1]
        assert (last.state, last.error.type, last.error.message) == ("failed", type(error).__name__, str(error))
        assert last.error.where.startswith(f"{__name__}.fails.<locals>.raises, line ")
        assert last.done < COUNT and last.fraction < 1

    def test_stops_within_one_chunk(self, sim, threads):
        """Each thread ends the chunk that it is in, and none begins another."""
        token = mc.CancelToken()
        engine = Counting({20: token.cancel}, threads=threads)
        with pytest.raises(mc.SimulationCancelled) as caught:
            run(sim, engine, cancel=token)
        assert 20 <= engine.begun <= 20 + threads
        assert caught.value.result.iterations <= engine.begun * CHUNK
        assert caught.value.result.iterations >= (20 - threads) * CHUNK


def test_an_engine_says_how_far_it_is_with_compiling(sim):
    seen = Recorder()
    run(sim, InSteps(), progress=seen)
    assert_progress_contract(seen, interval=0)
    steps = [(event.phase_done, event.phase_total) for event in seen if event.phase == "compile"]
    assert steps == [(0, 1), (0, 5), (1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_compiling_is_cancelled_between_its_steps(sim):
    token, steps = mc.CancelToken(), []

    def between(done):
        steps.append(done)
        if done == 2:
            token.cancel()

    with pytest.raises(mc.SimulationCancelled, match="cancelled during compile, before any iteration") as caught:
        run(sim, InSteps(between), cancel=token)
    assert steps == [0, 1, 2] and caught.value.result is None


def test_a_run_that_is_invalid_fails_before_any_iteration(sim):
    class Wrong(NumPyEngine):
        name = "wrong"

        def run(self, executable, job, first, count):
            chunk = super().run(executable, job, first, count)
            chunk.payloads[0][:] += 1
            return chunk

    seen = Recorder()
    with pytest.raises(mc.EngineValidationError):
        run(sim, Wrong(), validate=True, progress=seen)
    assert_progress_contract(seen, interval=0)
    assert (seen[-1].state, seen[-1].phase, seen[-1].done, seen[-1].error.type) == ("failed", "validate", 0, "EngineValidationError")


def test_a_failure_after_the_last_iteration_never_looks_done():
    sim = mc.Simulation(workbook({"A1": 1, "B1": "=1/(A1-A1)"}), inputs={"A1": mc.Uniform(0, 1)}, outputs=["B1"])
    seen = Recorder()
    with pytest.raises(mc.RunError, match="error in every one"):
        sim.run(COUNT, seed=SEED, progress=seen)
    assert_progress_contract(seen)
    assert (seen[-1].state, seen[-1].phase, seen[-1].done) == ("failed", "summarise", COUNT)
    assert max(event.fraction for event in seen) < 1


# Callbacks


class TestCallbacks:
    def test_a_slow_one_does_not_hold_up_the_run(self, sim):
        """It returns only when the engine has begun its last chunk."""
        begun_all = threading.Event()
        engine = Counting({91: begun_all.set})
        waited = []

        def slow(event):
            if event.phase == "sample" and not waited:
                waited.append(begun_all.wait(LONG))

        seen = Recorder()
        run(sim, engine, progress=[slow, seen], interval=0.001)
        assert waited == [True]
        assert_progress_contract(seen, interval=0.001, slack=math.inf)
        assert len(seen) < 91

    def test_a_slow_one_holds_up_a_run_that_may_lose_nothing(self, sim):
        begun_all = threading.Event()
        engine = Counting({91: begun_all.set})
        waited = []

        def slow(event):
            if event.phase == "sample" and not waited:
                waited.append(begun_all.wait(0.5))

        seen = Recorder()
        run(sim, engine, progress=[slow, seen], interval=0)
        assert waited == [False]
        assert sum(event.phase == "sample" for event in seen) == 92  # the beginning of the phase, and 91 chunks

    def test_one_that_raises_is_called_no_more_and_the_run_goes_on(self, sim, caplog, expected):
        calls, seen = [], Recorder()

        def broken(event):
            calls.append(event.seq)
            if len(calls) == 3:
                raise ValueError("a bug of the caller's")

        with (
            caplog.at_level(logging.ERROR, "ultramc"),
            pytest.warns(RuntimeWarning, match="called no more: ValueError: a bug of the caller's"),
        ):
            result = run(sim, Counting(), progress=[broken, seen])
        assert calls == [0, 1, 2]
        assert_progress_contract(seen, interval=0)
        assert bits(result) == expected
        (error,) = result.callback_errors
        assert (error.type, error.message) == ("ValueError", "a bug of the caller's") and ".broken, line " in error.where
        assert "progress callback failed: ValueError: a bug of the caller's" in str(result)
        (record,) = caplog.records
        assert (
            "callback failed" in record.message
            and "exc_info" not in record.message
            and "Traceback" in caplog.text
            and "a bug of the caller's" in caplog.text
        )

    def test_one_that_raises_at_the_end(self, sim):
        def broken(event):
            if event.state.is_final:
                raise ValueError("at the end")

        with pytest.warns(RuntimeWarning, match="at the end"):
            result = run(sim, Counting(), progress=broken)
        assert [error.message for error in result.callback_errors] == ["at the end"]

    def test_its_error_stands_in_the_part_of_a_cancelled_run(self, sim):
        token = mc.CancelToken()

        def broken(event):
            if event.done:
                token.cancel()
                raise ValueError("broken")

        with pytest.warns(RuntimeWarning), pytest.raises(mc.SimulationCancelled) as caught:
            run(sim, Counting(), progress=broken, cancel=token)
        assert [error.message for error in caught.value.result.callback_errors] == ["broken"]

    def test_strict_callbacks_cancel_and_raise(self, sim):
        seen = Recorder()

        def broken(event):
            if event.done >= 2_000:
                raise ValueError("strictly")

        with pytest.raises(mc.CallbackError, match="ValueError: strictly") as caught:
            run(sim, Counting(), progress=[broken, seen], strict_callbacks=True)
        assert isinstance(caught.value.__cause__, ValueError)
        assert_progress_contract(seen, interval=0)
        assert seen[-1].state == "cancelled" and seen[-1].message.endswith("a callback failed: ValueError: strictly")
        assert 2_000 <= caught.value.result.iterations == seen[-1].done < COUNT

    def test_strict_callbacks_do_not_hide_a_failure_of_the_run(self, sim):
        with pytest.raises(MemoryError):
            run(sim, Counting({1: fails(MemoryError())}), progress=fails_on_final, strict_callbacks=True)

    def test_what_they_return_is_ignored(self, sim):
        assert run(sim, Counting(), progress=lambda event: False).state == "completed"

    @pytest.mark.parametrize("error", [SystemExit(4), KeyboardInterrupt()])
    def test_what_is_no_exception_cancels_and_goes_through(self, sim, error):
        seen = Recorder()

        def leaves(event):
            if event.done == 2_000 and not event.state.is_final:
                raise error

        with pytest.raises(type(error)) as caught:
            run(sim, Counting(), progress=[leaves, seen])
        assert_progress_contract(seen, interval=0)
        assert seen[-1].state == "cancelled"
        part = caught.value.result if isinstance(error, KeyboardInterrupt) else caught.value.__cause__.result
        assert part.iterations == seen[-1].done >= 2_000
        assert not any(thread.name.startswith("ultramc run") for thread in threading.enumerate())

    def test_ctrl_c_in_a_run_inside_a_callback_ends_the_outer_run(self, sim):
        def inner(event):
            if event.done == 2_000 and not event.state.is_final:
                run(sim, Counting(), progress=partial(interrupts, at=500))

        with pytest.raises(mc.SimulationInterrupted, match="of 9,001 iterations: interrupted") as caught:
            run(sim, Counting(), progress=inner)
        assert caught.value.result.iterations >= 2_000

    @pytest.mark.parametrize("way", ["run", "start"])
    @pytest.mark.parametrize("kind", ["function", "object", "partial", "in a list"])
    def test_coroutine_functions_are_refused_at_once(self, sim, way, kind):
        async def awaited(event):
            pass

        class Called:
            async def __call__(self, event):
                pass

        progress = {"function": awaited, "object": Called(), "partial": partial(awaited), "in a list": [print, awaited]}[kind]
        with pytest.raises(TypeError, match="run_async") as caught:
            getattr(sim, way)(10, progress=progress)
        assert isinstance(caught.value, mc.NotACallback)

    def test_a_coroutine_that_a_function_gives_is_an_error_of_the_callback(self, sim):
        async def awaited(event):
            pass

        with pytest.warns(RuntimeWarning, match="gave a coroutine"):
            result = run(sim, Counting(), progress=lambda event: awaited(event))
        assert [error.type for error in result.callback_errors] == ["NotACallback"]

    @pytest.mark.parametrize("progress", [5, "yes", [print, 5]])
    def test_what_cannot_be_called_is_refused(self, sim, progress):
        with pytest.raises(TypeError, match="a callback that takes a ProgressEvent"):
            sim.run(10, progress=progress)

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"interval": -1}, "interval=-1: seconds, at least 0"),
            ({"interval": "often"}, "interval='often'"),
            ({"interval": math.nan}, "interval=nan"),
            ({"interval": True}, "interval=True"),
            ({"heartbeat": 0}, "heartbeat=0: seconds, at least 0.01"),
            ({"cancel": threading.Event()}, "cancel=.*an ultramc.CancelToken"),
        ],
    )
    def test_nonsense_is_refused(self, sim, options, says):
        for way in (sim.run, sim.start, sim.stream):
            with pytest.raises(mc.InputError, match=says):
                way(10, **options)


def fails_on_final(event):
    if event.state.is_final:
        raise ValueError("late")


def interrupts(event, at):
    if event.done == at and not event.state.is_final:
        raise KeyboardInterrupt


# Cancelling


def test_a_token_that_is_cancelled_already(sim):
    token, seen, engine = mc.CancelToken(), Recorder(), Counting()
    token.cancel("changed my mind")
    with pytest.raises(mc.SimulationCancelled, match="before any iteration: changed my mind") as caught:
        run(sim, engine, cancel=token, progress=seen)
    assert_progress_contract(seen)
    assert seen[-1].state == "cancelled" and {event.done for event in seen} == {0}
    assert (caught.value.result, engine.begun) == (None, 0)


def test_from_another_thread(sim):
    token = mc.CancelToken()
    engine = Counting({30: lambda: threading.Thread(target=token.cancel).start(), 31: lambda: waited_for(lambda: token.cancelled)})
    with pytest.raises(mc.SimulationCancelled):
        run(sim, engine, cancel=token)
    assert engine.begun <= 32


def waited_for(happened):
    until = time.monotonic() + LONG
    while not happened() and time.monotonic() < until:
        time.sleep(0.001)
    return happened()


def test_one_token_cancels_several_runs_and_no_run_cancels_it(sim):
    token = mc.CancelToken()
    handles = [
        sim.start(COUNT, validate=False, engine=Counting({5: lambda: waited_for(lambda: token.cancelled)}), chunk=CHUNK, cancel=token)
        for _ in range(2)
    ]
    alone = sim.start(COUNT, validate=False, engine=Counting({5: lambda: waited_for(lambda: token.cancelled)}), chunk=CHUNK, cancel=token)
    alone.cancel("only me")
    assert not token.cancelled
    token.cancel("all")
    for handle, why in zip((*handles, alone), ("all", "all", "only me"), strict=True):
        with pytest.raises(mc.SimulationCancelled, match=f": {why}$"):
            handle.result(LONG)
        assert handle.state == "cancelled"


INTERRUPTED = """
import os, signal, sys
import ultramc as mc
sim = mc.Simulation(sys.argv[1], inputs={"A1": mc.Uniform(0, 1)}, outputs=["B1"])
states = []

def watch(event):
    states.append(str(event.state))
    if event.done and len(sys.argv) == 3:
        print("sampling", flush=True)

try:
    sim.run(200_000_000, seed=1, progress=watch, memory_limit="20GB", chunk=4096)
except KeyboardInterrupt as interrupt:
    part = interrupt.result
    print(isinstance(interrupt, mc.SimulationCancelled), part.state, 0 < part.iterations < 2e8, states[-1], states.count(states[-1]))
    if sys.argv[2] == "again":
        raise
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.xlsx"
    path.write_bytes(workbook({"A1": 1, "B1": "=A1^2+1"}))
    return path


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="signals between processes are of POSIX")
@pytest.mark.parametrize("what", ["caught", "again"])
def test_a_real_ctrl_c(model, what):
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, model, what], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "sampling\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LONG)
    assert out.splitlines()[-1] == "True cancelled True cancelled 1"
    if what == "caught":
        assert (process.returncode, err) == (0, "")
    else:
        assert process.returncode == 1 and "SimulationInterrupted: cancelled after" in err, err


# In the background


class TestStart:
    def test_from_queued_to_the_result(self, sim, expected):
        seen = Recorder()
        handle = sim.start(COUNT, seed=SEED, chunk=CHUNK, progress=seen, interval=0)
        assert handle.state in ("running", "completed")
        result = handle.result(LONG)
        assert bits(result) == expected
        assert_progress_contract(seen, interval=0)
        assert {event.run_id for event in seen} == {handle.run_id}
        assert len(seen.threads) == 1 and threading.get_ident() not in seen.threads
        assert (handle.state, handle.event) == ("completed", seen[-1])
        assert repr(handle) == f"run {handle.run_id}: completed, summarise, 9,001 of 9,001 iterations"
        assert handle.result() is result

    def test_late_readers(self, sim):
        """The run stands still until both have come."""
        go_on = threading.Event()
        engine = Counting({50: lambda: go_on.wait(LONG)})
        handle = sim.start(COUNT, validate=False, engine=engine, chunk=CHUNK, interval=0)
        assert waited_for(lambda: handle.event.done == 4_900)
        knows = handle.event.seq
        readers = [handle.events(), handle.events(after=knows)]
        late = [[next(readers[0])], []]
        assert late[0][0] == handle.event
        go_on.set()
        late[0] += readers[0]
        late[1] += readers[1]
        assert_progress_contract(late[0], interval=0, after=-1)
        assert_progress_contract(late[1], interval=0, after=knows)
        assert [event.seq for event in late[0]] == list(range(knows, late[0][-1].seq + 1))
        assert [event.state for event in handle.events()] == ["completed"]
        assert list(handle.events(after=handle.event.seq)) == []

    def test_cancel(self, sim):
        go_on = threading.Event()
        engine = Counting({50: lambda: go_on.wait(LONG)})
        handle = sim.start(COUNT, validate=False, engine=engine, chunk=CHUNK, interval=0)
        assert waited_for(lambda: handle.event.done == 4_900)
        with pytest.raises(TimeoutError, match=r"running, sample, 4,900 of 9,001 iterations after 0\.01 seconds"):
            handle.result(0.01)
        handle.cancel("enough")
        go_on.set()
        with pytest.raises(mc.SimulationCancelled, match="enough") as caught:
            handle.result(LONG)
        assert (handle.state, caught.value.result.iterations, engine.begun) == ("cancelled", 5_000, 50)

    def test_failure(self, sim):
        handle = sim.start(COUNT, validate=False, engine=Counting({5: fails(MemoryError("none"))}), chunk=CHUNK)
        for _ in range(2):
            with pytest.raises(MemoryError):
                handle.result(LONG)
        assert (handle.state, handle.event.error.type) == ("failed", "MemoryError")

    def test_callbacks_that_fail(self, sim):
        with pytest.raises(mc.CallbackError):
            sim.start(COUNT, chunk=CHUNK, progress=fails_on_final, strict_callbacks=True).result(LONG)
        with pytest.raises(SystemExit):
            sim.start(COUNT, chunk=CHUNK, progress=lambda event: sys.exit(2)).result(LONG)

    def test_a_reader_who_stops_does_not_hold_up_the_run(self, sim):
        go_on = threading.Event()
        handle = sim.start(COUNT, validate=False, engine=Counting({2: lambda: go_on.wait(LONG)}), chunk=50, interval=0)
        for _ in handle.events():
            break
        go_on.set()
        assert handle.result(LONG).state == "completed"

    def test_what_makes_no_sense_is_refused_at_once(self, sim):
        for options in ({"check": "rise"}, {"engine": "nump"}, {"chunk": 0}, {"memory_limit": "1"}, {"iterations": 0}):
            with pytest.raises((mc.InputError, mc.MemoryLimitExceeded)):
                sim.start(**{"iterations": 10, **options})

    def test_late_events_on_a_loop(self, sim):
        go_on = threading.Event()
        handle = sim.start(COUNT, validate=False, engine=Counting({50: lambda: go_on.wait(LONG)}), chunk=CHUNK, interval=0)
        assert waited_for(lambda: handle.event.done == 4_900)

        async def read():
            events = []
            async for event in on_asyncio.events(handle, after=-1):
                events.append(event)
                go_on.set()
            return events

        events = asyncio.run(read())
        assert_progress_contract(events, interval=0, after=-1)
        assert [event.seq for event in events] == list(range(events[0].seq, events[-1].seq + 1)) and events[0].done == 4_900


# On an event loop


@pytest.fixture
def loop_in_a_thread():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop, thread
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class TestLoops:
    def test_callbacks_are_called_on_the_callers_loop_and_awaited(self, sim, loop_in_a_thread, expected):
        loop, thread = loop_in_a_thread
        seen, awaited = Recorder(), []

        async def slow(event):
            await asyncio.sleep(0)
            awaited.append((event.seq, threading.get_ident()))

        run_async = sim.run_async(COUNT, seed=SEED, chunk=CHUNK, progress=[seen, slow], interval=0)
        result = asyncio.run_coroutine_threadsafe(run_async, loop).result(LONG)
        assert bits(result) == expected
        assert_progress_contract(seen, interval=0)
        assert seen.threads == {thread.ident}
        assert awaited == [(event.seq, thread.ident) for event in seen]

    def test_the_loop_goes_on_meanwhile(self, sim):
        """The engine stands still until a task of the loop lets it go on."""
        go_on = threading.Event()
        engine = Counting({5: lambda: go_on.wait(LONG)})

        async def main():
            task = asyncio.create_task(sim.run_async(COUNT, engine=engine, chunk=CHUNK, validate=False))
            while engine.begun < 5:
                await asyncio.sleep(0.001)
            go_on.set()
            return await task

        assert asyncio.run(main()).state == "completed"

    def test_heartbeats(self, sim):
        seen = Recorder()
        asyncio.run(sim.run_async(COUNT, engine=SlowToCompile(), validate=False, progress=seen, heartbeat=0.1))
        assert_progress_contract(seen, heartbeat=0.1)
        assert sum(event.kind == "heartbeat" for event in seen) >= 5

    def test_an_awaited_callback_that_raises(self, sim):
        async def broken(event):
            await asyncio.sleep(0)
            raise ValueError("on the loop")

        with pytest.warns(RuntimeWarning, match="on the loop"):
            result = asyncio.run(sim.run_async(COUNT, progress=broken))
        assert [error.message for error in result.callback_errors] == ["on the loop"]

    @pytest.mark.parametrize("interval", [0, 0.01])
    def test_cancelling_the_task_cancels_the_run(self, sim, interval):
        seen = Recorder()

        async def main():
            await sim.run_async(10**6, engine=Counting(), chunk=CHUNK, validate=False, progress=[seen, soon], interval=interval)

        def soon(event):
            if event.phase == "sample" and not asyncio.current_task().cancelling():
                asyncio.current_task().cancel()

        with pytest.raises(asyncio.CancelledError) as caught:
            asyncio.run(main())
        assert_progress_contract(seen, interval=interval)
        assert (seen[-1].state, seen[-1].message.endswith(": its task was cancelled")) == ("cancelled", True)
        assert isinstance(caught.value.__cause__, mc.SimulationCancelled)

    def test_a_timeout_cancels_and_the_part_is_in_the_cause(self, sim):
        async def main():
            async with asyncio.timeout(LONG) as limit:

                def soon(event):
                    if event.done >= 1_000 and not limit.expired():
                        limit.reschedule(asyncio.get_running_loop().time())

                await sim.run_async(10**6, engine=Counting(), chunk=CHUNK, validate=False, progress=soon, interval=0)

        with pytest.raises(TimeoutError) as caught:
            asyncio.run(main())
        cancelled = caught.value.__cause__
        assert isinstance(cancelled, asyncio.CancelledError)
        assert 1_000 <= cancelled.__cause__.result.iterations < 10**6

    def test_strict_callbacks(self, sim):
        with pytest.raises(mc.CallbackError):
            asyncio.run(sim.run_async(COUNT, chunk=CHUNK, progress=fails_on_final, strict_callbacks=True))

    def test_a_stream_that_fails_raises_after_its_last_event(self, sim):
        seen = []

        async def main():
            async for event in sim.stream(COUNT, engine=Counting({5: fails(MemoryError("none"))}), chunk=CHUNK, validate=False):
                seen.append(event)

        with pytest.raises(MemoryError):
            asyncio.run(main())
        assert_progress_contract(seen)
        assert seen[-1].state == "failed"

    def test_leaving_a_stream_cancels_the_run(self, sim):
        async def main():
            stream = sim.stream(10**7, engine=Counting(), chunk=CHUNK, validate=False, memory_limit="8GB")
            async with contextlib.aclosing(aiter(stream)) as events:
                async for event in events:
                    if event.done:
                        break
            with pytest.raises(mc.SimulationCancelled, match="nobody reads") as caught:
                stream.result()
            assert 0 < caught.value.result.iterations < 10**7

        asyncio.run(main())

    def test_a_stream_is_cancelled_by_name_and_by_its_task(self, sim):
        async def by_name():
            stream = sim.stream(10**7, engine=Counting(), chunk=CHUNK, validate=False, memory_limit="8GB")
            async for event in stream:
                if event.done:
                    stream.cancel("by name")

        async def by_task():
            async for event in sim.stream(10**7, engine=Counting(), chunk=CHUNK, validate=False, memory_limit="8GB"):
                if event.done:
                    asyncio.current_task().cancel()

        with pytest.raises(mc.SimulationCancelled, match="by name"):
            asyncio.run(by_name())
        with pytest.raises(asyncio.CancelledError) as caught:
            asyncio.run(by_task())
        assert caught.value.__cause__.result.iterations > 0

    def test_a_stream_has_no_result_before_its_end(self, sim):
        async def main():
            stream = sim.stream(COUNT)
            with pytest.raises(mc.RunError, match="read its events to the last"):
                stream.result()

        asyncio.run(main())

    def test_a_loop_that_is_gone_does_not_hold_up_a_run(self, sim):
        """Nothing may be lost, but nobody will read it."""
        go_on = threading.Event()
        handle = sim.start(COUNT, validate=False, engine=Counting({2: lambda: go_on.wait(LONG)}), chunk=50, interval=0)

        async def first():
            events = on_asyncio.events(handle)
            return events, await anext(events)

        loop = asyncio.new_event_loop()
        events, _ = loop.run_until_complete(first())
        loop.close()
        go_on.set()
        assert handle.result(LONG).state == "completed"
        assert events is not None


# Silence, and the log


def test_each_stage_is_logged_with_the_id_of_the_run(sim, caplog):
    seen = Recorder()
    with caplog.at_level(logging.DEBUG, "ultramc"):
        sim.run(COUNT, seed=SEED, progress=seen)
    (run_id,) = {event.run_id for event in seen}
    messages = [record.message for record in caplog.records]
    assert all(f"run_id='{run_id}'" in message for message in messages)
    starts = [
        "run started",
        *(f"stage' run_id='{run_id}' phase='{phase}'" for phase in ("check", "compile", "validate", "sample", "summarise")),
    ]
    for message, start in zip(messages, [*starts, "run completed"], strict=True):
        assert start in message


def test_validation_is_logged_with_the_id_of_the_run(sim, caplog):
    seen = Recorder()
    with caplog.at_level(logging.INFO, "ultramc"):
        sim.run(COUNT, seed=SEED, engine=Counting(), progress=seen)
    compared = [record.message for record in caplog.records if "event='validation'" in record.message]
    assert len(compared) == 2 and all(f"run_id='{seen[0].run_id}'" in message for message in compared)


@pytest.mark.parametrize(
    ("error", "level", "says"), [(MemoryError("none"), "ERROR", "run failed"), (KeyboardInterrupt(), "INFO", "run cancelled")]
)
def test_how_a_run_ended_is_logged(sim, caplog, error, level, says):
    with caplog.at_level(logging.INFO, "ultramc"), pytest.raises(type(error)):
        run(sim, Counting({5: fails(error)}))
    assert (caplog.records[-1].levelname, says in caplog.records[-1].message) == (level, True)


def test_heartbeats_are_logged_where_nobody_listens(sim, caplog):
    with caplog.at_level(logging.DEBUG, "ultramc"):
        run(sim, SlowToCompile(), heartbeat=0.2)
    beats = [record.message for record in caplog.records if "event='heartbeat'" in record.message]
    assert len([beat for beat in beats if "iterations=0" in beat and "phase='compile'" in beat]) >= 2


QUIET = """
import asyncio, sys
import ultramc as mc
from ultramc.adapters.on_structlog import LogLines
sim = mc.Simulation(sys.argv[1], inputs={"A1": mc.Normal(1, 1)}, outputs=["B1"])

async def streamed():
    async for event in sim.stream(5_000):
        pass
    await sim.run_async(5_000, progress=LogLines())

asyncio.run(streamed())
sim.start(5_000, progress=LogLines()).result()
token = mc.CancelToken()
token.cancel()
try:
    sim.run(10, cancel=token)
except mc.SimulationCancelled:
    pass
assert not {"tqdm", "jax", "pytest"} & sys.modules.keys()
"""


def test_nothing_is_printed_by_itself(model):
    done = subprocess.run([sys.executable, "-W", "error", "-c", QUIET, model], capture_output=True, text=True, timeout=LONG, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


FORKS = """
import os, sys
import ultramc as mc
sim = mc.Simulation(sys.argv[1], inputs={"A1": mc.Normal(1, 1)}, outputs=["B1"])
exits = []

def forks(event):
    child = os.fork()
    if not child:
        os._exit(sim.run(5_000, seed=3)["B1"].mean > 0)
    exits.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

sim.run(10, seed=1)
sim.run(50_000, seed=1, progress=forks, chunk=10_000, interval=0)
print(set(exits), len(exits) > 5)
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there is no fork here")
def test_a_host_that_forks(model):
    """A child that is forked in a callback runs simulations of its own, once the host has run one: a child that is forked while another
    thread imports a module waits for that import for ever, whatever is imported.
    """
    done = subprocess.run([sys.executable, "-c", FORKS, model], capture_output=True, text=True, timeout=LONG, check=False)
    assert (done.returncode, done.stdout) == (0, "{1} True\n"), done.stderr


# The interface


def test_the_four_ways_to_run_take_the_same_arguments():
    signatures = {name: inspect.signature(getattr(mc.Simulation, name)).parameters for name in ("run", "run_async", "stream", "start")}
    for name, parameters in signatures.items():
        left_out = {"progress", "strict_callbacks"} if name == "stream" else set()
        assert [one for one in signatures["run"] if one not in left_out] == list(parameters)
        for one, parameter in parameters.items():
            assert parameter.default == signatures["run"][one].default
            assert parameter.annotation == signatures["run"][one].annotation or (name, one) == ("run_async", "progress")


def test_a_simulation_with_a_callback_of_its_own(capsys):
    seen = Recorder()
    sim = simulation(progress=seen)
    sim.run(10)
    assert len(seen) >= 2
    before = len(seen)
    sim.run(10, progress=False)
    assert len(seen) == before
    with_bar = simulation(progress=True)
    with_bar.run(10)
    assert "10.0/10.0" in capsys.readouterr().err
    assert pickle.loads(pickle.dumps(with_bar)).progress is True
