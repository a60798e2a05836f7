"""Runs on the workers of an executor: the bits of a run without one, whatever happens to workers, and progress as ever."""

import asyncio
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest
from attrs import evolve
from misbehaving import Different, Once, Slow
from workbooks import workbook

import ultramc as mc
from ultramc import executors, functions, worker
from ultramc.engines import registry
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.errors import ExecutorError
from ultramc.keeping import Samples
from ultramc.testing import Recorder, assert_progress_contract
from ultramc.worker import Order

MODEL = {"A1": 100, "A2": 0.05, "B1": "=A1*(1+A2)^2", "B2": "=IF(A1>150,1/0,B1+1)"}
INPUTS = {"A1": mc.Uniform(50, 160), "A2": mc.Uniform(0, 0.1)}
SEED = 5
COUNT = 30_001
CHUNK = 1_000
AT = 20_500  # where engines misbehave
LONG = 60  # seconds until a test that waits for something gives up
PRESENT = [info.name for info in registry.available_engines() if info.available]

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # Dask's connections


@pytest.fixture(scope="module")
def sim():
    return mc.Simulation(workbook(MODEL), inputs=INPUTS, outputs=["B1", "B2"])


@pytest.fixture(scope="module")
def expected(sim):
    return {name: bits(sim.run(COUNT, seed=SEED, engine=name)) for name in PRESENT}


def bits(result, count=COUNT):
    return [result[label].samples[:count].tobytes() for label in ("B1", "B2")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A client of a Dask scheduler and two workers with their nannies, as one starts them from a shell."""
    from distributed import Client

    place = tmp_path_factory.mktemp("dask")
    told = ["--scheduler-file", str(place / "scheduler.json")]
    here = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.abspath(__file__))}  # for the engines of misbehaving.py
    with (place / "log").open("wb") as log:
        begin = partial(subprocess.Popen, cwd=place, env=here, stdout=log, stderr=log)
        scheduler = begin([sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *told])
        workers = begin([sys.executable, "-m", "dask", "worker", "--nworkers", "2", "--nthreads", "1", "--no-dashboard", *told])
        try:
            with Client(scheduler_file=told[1], set_as_default=False, timeout=LONG) as client:
                client.wait_for_workers(2, LONG)
                yield client
        finally:
            for process in (workers, scheduler):
                process.terminate()
                process.wait(LONG)


def threads():
    return ThreadPoolExecutor(3)


def processes():
    return mc.process_pool(2)


@pytest.fixture(scope="module", params=["threads", "processes", "dask"])
def executor(request):
    if request.param == "dask":
        yield request.getfixturevalue("cluster")
    else:
        with {"threads": threads, "processes": processes}[request.param]() as pool:
            yield pool


def run(sim, executor, **options):
    return sim.run(COUNT, **{"seed": SEED, "engine": "numpy", "chunk": CHUNK, "validate": False, "executor": executor, **options})


@pytest.mark.parametrize("engine", PRESENT)
class TestOnEveryEngine:
    def test_the_contract_of_progress(self, sim, executor, engine, expected):
        seen = Recorder()
        result = run(sim, executor, engine=engine, validate=True, progress=seen, interval=0.01)
        assert_progress_contract(seen, interval=0.01)
        assert seen.threads == {threading.get_ident()}
        assert (seen[-1].state, seen[-1].done, result.iterations) == ("completed", COUNT, COUNT)
        assert bits(result) == expected[engine]

    def test_where_nothing_may_be_lost_each_chunk_is_an_event(self, sim, executor, engine):
        seen = Recorder()
        run(sim, executor, engine=engine, progress=seen, interval=0)
        assert_progress_contract(seen, interval=0)
        assert [event.done for event in seen if event.phase == "sample"][1:] == [*range(CHUNK, COUNT, CHUNK), COUNT]

    def test_a_callback_that_cancels(self, sim, executor, engine, expected):
        token, seen = mc.CancelToken(), Recorder()

        def cancel_halfway(event):
            if event.done >= 5_000:
                token.cancel("that will do")

        with pytest.raises(mc.SimulationCancelled, match=r"cancelled after [\d,]+ of 300,001 iterations: that will do") as caught:
            sim.run(
                300_001,
                seed=SEED,
                engine=engine,
                chunk=CHUNK,
                executor=executor,
                progress=[seen, cancel_halfway],
                interval=0,
                cancel=token,
            )
        part = caught.value.result
        assert_progress_contract(seen, interval=0)
        assert (part.state, seen[-1].state, part.iterations) == ("cancelled", "cancelled", seen[-1].done)
        assert 5_000 <= part.iterations < 300_001
        some = min(part.iterations, COUNT)
        wanted = sim.run(COUNT, seed=SEED, engine=engine)
        assert bits(part, some) == bits(wanted, some)

    def test_run_async_and_start_give_what_run_gives(self, sim, executor, engine, expected):
        options = {"seed": SEED, "engine": engine, "executor": executor, "interval": 0.01}
        seen = [Recorder(), Recorder()]
        results = [
            asyncio.run(sim.run_async(COUNT, progress=seen[0], **options)),
            sim.start(COUNT, progress=seen[1], **options).result(LONG),
        ]
        assert [bits(result) == expected[engine] for result in results] == [True, True]
        for each in seen:
            assert_progress_contract(each, interval=0.01)


@pytest.mark.parametrize("sampling", ["random", "antithetic", "latin_hypercube", "sobol"])
def test_every_sampling_has_the_bits_of_a_run_here(sim, executor, sampling):
    options = {"seed": SEED, "sampling": sampling, "engine": "numpy"}
    here, there = sim.run(8_192, **options), sim.run(8_192, chunk=700, executor=executor, **options)
    assert bits(here) == bits(there)


class TestOnEveryExecutor:
    def test_a_slow_callback_does_not_hold_up_the_run(self, sim, executor, expected):
        result = run(sim, executor, progress=lambda event: time.sleep(0.1), interval=0.001)
        assert bits(result) == expected["numpy"]

    def test_a_callback_that_raises_is_called_no_more_and_the_run_goes_on(self, sim, executor, expected):
        def broken(event):
            raise ValueError("a bug of the caller's")

        with pytest.warns(RuntimeWarning, match="called no more: ValueError: a bug of the caller's"):
            result = run(sim, executor, progress=broken)
        assert bits(result) == expected["numpy"] and len(result.callback_errors) == 1

    def test_an_event_loop_in_another_thread_goes_on(self, sim, executor, expected):
        """It is asked for the time while callbacks are called in a run of the main thread."""
        loop = asyncio.new_event_loop()
        other = threading.Thread(target=loop.run_forever)
        other.start()
        told = []

        def ask(event):
            told.append(asyncio.run_coroutine_threadsafe(asyncio.sleep(0, event.seq), loop).result(LONG))

        result = run(sim, executor, progress=ask, interval=0)
        loop.call_soon_threadsafe(loop.stop)
        other.join()
        loop.close()
        assert bits(result) == expected["numpy"] and told == list(range(len(told))) and len(told) > 30

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python's and JAX's, of forks where there are threads
    def test_a_host_that_forks(self, sim, executor, expected):
        codes = []

        def fork(event):
            child = os.fork()
            if not child:
                os._exit(7)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *_, **__: None)
            result = run(sim, executor, progress=fork)
        assert bits(result) == expected["numpy"] and set(codes) == {7}

    def test_a_compilation_that_takes_long(self, sim, executor, expected):
        """Here and on each worker; heartbeats go on."""
        seen = Recorder()
        result = run(sim, executor, engine=Slow(compiling=1.2), progress=seen, heartbeat=0.1)
        assert_progress_contract(seen, heartbeat=0.1)
        for phase in ("compile", "validate"):
            assert sum(event.kind == "heartbeat" and event.phase == phase for event in seen) >= 5
        assert bits(result) == expected["numpy"]

    def test_an_engine_that_stalls(self, sim, executor, expected, tmp_path):
        seen = Recorder()
        result = run(sim, executor, engine=Once("sleep", AT, tmp_path), progress=seen, heartbeat=0.1)
        assert_progress_contract(seen, heartbeat=0.1)
        stalled = [event for event in seen if event.kind == "heartbeat" and event.phase == "sample" and event.idle_s > 0.3]
        assert len(stalled) >= 2 and {event.done for event in stalled} == {20_000}
        assert bits(result) == expected["numpy"]

    def test_an_engine_that_fails(self, sim, executor):
        seen = Recorder()
        with pytest.raises(MemoryError, match="no room") as caught:
            run(sim, executor, engine=Once("fail", AT), progress=seen, interval=0)
        assert_progress_contract(seen, interval=0)
        last = seen[-1]
        assert (last.state, last.error.type, last.error.message) == ("failed", "MemoryError", "no room") and last.done <= 20_000
        assert any(note.startswith("on worker ") and "misbehaving.py" in note for note in caught.value.__notes__)

    def test_an_error_that_cannot_be_pickled(self, sim, executor):
        with pytest.raises(RuntimeError, match="Unpicklable: cannot travel") as caught:
            run(sim, executor, engine=Once("fail unpicklably", AT))
        assert "misbehaving.py" in caught.value.__notes__[0]

    def test_cancelling_before_the_first_worker_is_there(self, sim, executor):
        token = mc.CancelToken()
        seen = Recorder()

        def cancel(event):
            if event.phase == "validate":
                token.cancel("too slow")

        with pytest.raises(mc.SimulationCancelled, match=r"cancelled during .*, before any iteration: too slow"):
            run(sim, executor, engine=Slow(compiling=0.5), progress=[seen, cancel], cancel=token, heartbeat=0.05)
        assert seen[-1].state == "cancelled" and seen[-1].done == 0

    def test_a_batch_shares_it(self, sim, executor, expected):
        batch = mc.run_batch({"one": sim, "two": sim}, COUNT, seed=SEED, engine="numpy", executor=executor)
        assert [bits(batch[label]) for label in batch] == [expected["numpy"]] * 2

    def test_a_summary_and_a_checkpoint(self, sim, executor, expected, tmp_path):
        here, there = (sim.run(COUNT, seed=SEED, engine="numpy", keep="summary", executor=each) for each in (None, executor))
        assert repr(here["B1"].mean) == repr(there["B1"].mean) and here["B1"].quantile(0.9) == there["B1"].quantile(0.9)
        first = run(sim, executor, checkpoint=tmp_path / "kept")
        assert bits(first) == bits(run(sim, executor, checkpoint=tmp_path / "kept")) == expected["numpy"]

    def test_a_program_that_calls_python_functions(self, executor):
        cells = {"A1": 0.1, "A2": -100.0, "A3": 60.0, "A4": 70.0, "B1": "=IRR(A2:A4)", "B2": '=IFERROR(BESSELJ(A3,1)+GCD(A4,6),"none")'}
        sim = mc.Simulation(workbook(cells), inputs={"A3": mc.Uniform(50, 80), "A4": mc.Uniform(20, 90)}, outputs=["B1", "B2"])
        assert bits(run(sim, executor, chunk=300)) == bits(sim.run(COUNT, seed=SEED, engine="numpy"))


# Executors that misbehave


class Recording(ThreadPoolExecutor):
    """Keeps the orders."""

    def __init__(self, count=2):
        super().__init__(count)
        self.orders, self.futures = [], []

    def submit(self, function, order):
        self.orders.append(order)
        self.futures.append(super().submit(function, order))
        return self.futures[-1]


class Late(Recording):
    """Answers come in any order."""

    def submit(self, function, order):
        delay = random.Random(order.first).random() / 20
        return super().submit(lambda each: (time.sleep(delay), function(each))[1], order)


class Forgetful(Recording):
    """The first `times` orders for iteration AT come to nothing; with `late`, to an answer that is late."""

    def __init__(self, times, late=0.0):
        super().__init__()
        self.times, self.late = times, late

    def submit(self, function, order):
        future = super().submit(function, order)
        if not order.first <= AT < order.first + order.count or order.attempt >= self.times:
            return future
        if not self.late:
            return Future()
        return super().submit(lambda each: (time.sleep(self.late), function(each))[1], order)


_ALIVE = {}


def _same(number):
    return _ALIVE[number]


def _newest():
    return _ALIVE["newest"]()


class Shared(NumPyEngine):
    """The same object for the threads of this process, pickled or not."""

    name = "shared"

    def __init__(self):
        super().__init__()
        _ALIVE[id(self)] = self

    def __reduce__(self):
        return _same, (id(self),)


class Counted(Shared):
    compiled = 0

    def compile(self, program):
        self.compiled += 1
        return super().compile(program)


class TestOrders:
    def test_answers_may_come_in_any_order(self, sim, expected):
        with Late(8) as late:
            assert bits(run(sim, late, chunk=700)) == expected["numpy"]

    def test_a_program_is_sent_once_and_compiled_once_to_each_process(self, sim):
        engine = Counted()
        with Recording(4) as recording:
            for seed in (1, 2):
                run(sim, recording, engine=engine, seed=seed)
        assert sum(order.parcel is not None for order in recording.orders) == 2  # one for each seed
        assert len(recording.orders) == 2 * (1 + 31)
        assert engine.compiled == 2  # here and there
        assert max(len(pickle.dumps(order)) for order in recording.orders if order.parcel is None) < 500

    def test_few_are_under_way(self, sim):
        """However many chunks there are: twice as many as threads, and two."""
        under_way, most = [], []

        class Watched(Recording):
            def submit(self, function, order):
                future = super().submit(function, order)
                under_way.append(future)
                most.append(sum(not each.done() for each in under_way))
                return future

        with Watched(2) as watched:
            run(sim, watched, chunk=100)
        assert max(most) <= 2 * 2 + 2

    def test_a_short_run_is_cut_for_many_workers(self, sim):
        with Recording(1) as recording:
            sim.run(1_000_000, seed=SEED, engine="numpy", executor=recording)
        counts = [order.count for order in recording.orders[1:]]
        assert 32 <= len(counts) <= 40 and all(count % 4_096 == 0 for count in counts[:-1])

    def test_a_lost_one_is_sent_again(self, sim, expected, caplog):
        seen = Recorder()
        with Forgetful(2) as forgetful:
            workers = mc.Workers(forgetful, timeout=0.3)
            result = run(sim, workers, progress=seen, heartbeat=0.1)
        assert bits(result) == expected["numpy"]
        assert_progress_contract(seen, heartbeat=0.1)
        assert [order.attempt for order in forgetful.orders if order.first == 20_000] == [0, 1, 2]
        assert sum("asked for again" in record.message for record in caplog.records) == 2

    def test_a_late_one_may_still_be_the_first(self, sim, expected):
        """The second never comes, and a third is not asked for."""

        class Later(Recording):
            def submit(self, function, order):
                if not order.first <= AT < order.first + order.count:
                    return super().submit(function, order)
                return Future() if order.attempt else super().submit(lambda each: (time.sleep(0.6), function(each))[1], order)

        with Later() as later:
            assert bits(run(sim, mc.Workers(later, timeout=0.4, attempts=2))) == expected["numpy"]

    def test_of_two_answers_the_second_may_be_an_error(self, sim, expected):
        class Failing(Recording):
            """The first two orders for AT end together, well and badly."""

            def submit(self, function, order):
                future = super().submit(function, order)
                if not order.first <= AT < order.first + order.count:
                    return future
                answer, made = future.result(), Future()
                if order.attempt:
                    held.set_result(answer)
                    made.set_exception(OSError("lost"))
                    return made
                return held

        held = Future()
        with Failing() as failing:
            assert bits(run(sim, mc.Workers(failing, timeout=0.2))) == expected["numpy"]

    def test_one_copy_may_be_lost_while_another_is_at_work(self, sim, expected, caplog):
        class Losing(Recording):
            def submit(self, function, order):
                if not order.first <= AT < order.first + order.count:
                    return super().submit(function, order)
                if order.attempt:
                    lost.set_exception(OSError("lost"))
                    return super().submit(lambda each: (time.sleep(0.3), function(each))[1], order)
                return lost

        lost = Future()
        with Losing() as losing:
            assert bits(run(sim, mc.Workers(losing, timeout=0.3))) == expected["numpy"]
        assert "chunk lost, asked for already" in caplog.text

    def test_an_answer_to_another_order_is_refused(self, sim):
        class Mixing(Recording):
            def submit(self, function, order):
                return super().submit(function, evolve(order, first=order.first - 1_000) if order.first == 20_000 else order)

        with (
            Mixing() as mixing,
            pytest.raises(ExecutorError, match=r"20,000 to 21,000: worker .* with 1,000 iterations from 19,000"),
        ):
            run(sim, mixing)

    @pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), OSError("broken")])
    def test_whatever_a_future_raises_is_the_executors_error(self, sim, error):
        class Raising(Recording):
            def submit(self, function, order):
                future = super().submit(function, order)
                if order.first != 20_000:
                    return future
                future = Future()
                future.set_exception(error)
                return future

        with Raising() as raising, pytest.raises(ExecutorError, match=f"failed with {type(error).__name__}") as caught:
            run(sim, raising)
        assert caught.value.run.iterations == 20_000

    def test_what_was_not_begun_is_withdrawn(self, sim):
        """Of four under way, one is at work when the run is cancelled; the pool is free when that is done."""
        token = mc.CancelToken()
        with Recording(1) as recording:
            with pytest.raises(mc.SimulationCancelled):
                run(
                    sim,
                    recording,
                    engine=Slow(running=0.2),
                    cancel=token,
                    interval=0,
                    progress=lambda event: token.cancel() if event.done else None,
                )
            begun = time.monotonic()
            recording.submit(repr, Order("none")).result()
            assert time.monotonic() - begun < 0.55

    def test_what_was_not_begun_is_withdrawn_after_an_error_too(self, sim):
        class Failing(Shared):
            def run(self, executable, job, first, count):
                if first == 20_000:
                    raise MemoryError
                time.sleep(0.2 if first > 20_000 else 0.0)
                return super().run(executable, job, first, count)

        with Recording(1) as recording:
            with pytest.raises(MemoryError):
                run(sim, recording, engine=Failing())
            assert sum(not future.cancelled() for future in recording.futures) <= 1 + 21 + 1  # the first order, chunks, one at work

    def test_nothing_is_handed_over_once_it_is_cancelled(self, sim):
        token = mc.CancelToken()
        with Recording(2) as recording:
            original = recording.submit

            def submit(function, order):
                if order.first >= 10_000:
                    token.cancel()
                return original(function, order)

            recording.submit = submit
            with pytest.raises(mc.SimulationCancelled):
                run(sim, recording, cancel=token)
        assert max(order.first for order in recording.orders) == 10_000

    def test_an_executor_that_does_it_at_once(self, sim, expected, monkeypatch):
        """Each chunk is received before the next one is asked for."""

        class AtOnce(Executor):
            def submit(self, function, order):
                future = Future()
                future.set_result(function(order))
                happened.append(("asked", order.first))
                return future

        def receive(self, chunk):
            happened.append(("received", chunk.first))
            return original(self, chunk)

        happened, original, token = [], Samples.receive, mc.CancelToken()
        monkeypatch.setattr(Samples, "receive", receive)
        assert bits(run(sim, AtOnce())) == expected["numpy"]
        assert happened[1:] == [(what, first) for first in range(0, COUNT, CHUNK) for what in ("asked", "received")]

        def submit(function, order):
            if order.first == 5_000:
                token.cancel()
            return AtOnce.submit(at_once, function, order)

        at_once = AtOnce()
        at_once.submit = submit
        with pytest.raises(mc.SimulationCancelled) as caught:
            run(sim, at_once, cancel=token)
        assert caught.value.result.iterations in (5_000, 6_000)

    def test_memory_bounds_what_is_under_way(self, sim):
        """One answer is missing; those after it wait, as many as there is memory for."""
        each = executors._bytes_per_iteration(sim.compiled.program.outputs)
        for chunks, limit in ((3, 3), (10_000, 40)):
            commission = SimpleNamespace(packed=lambda: b"", memory=each * CHUNK * chunks, program=sim.compiled.program)
            crew = executors.Delegates(mc.Workers(ThreadPoolExecutor(1)), commission, None, lambda: False)
            crew._recent.extend(map(str, range(9)))
            under_way = []
            while crew.has_room(under_way):
                under_way.append(executors.Sent(Order("", len(under_way) * CHUNK, CHUNK), answer="an answer" if under_way else None))
            assert len(under_way) == limit

    def test_workers_have_the_memory_limit(self, sim):
        given = []

        class Limited(Shared):
            def within(self, executable, memory):
                given.append(memory)
                return super().within(executable, memory)

        with ThreadPoolExecutor(1) as pool:
            run(sim, pool, engine=Limited(), memory_limit="100MB")
        assert len(given) == 2 and given[0] == given[1] < 100 * 10**6

    def test_a_thread_pool_keeps_nothing_of_a_run(self, sim):
        with ThreadPoolExecutor(1) as pool:
            run(sim, pool)
        assert not worker._READY._places

    def test_many_runs_at_once_compile_once_each(self, sim):
        engines = [Counted() for _ in range(worker.MOST_READY + 4)]
        with ThreadPoolExecutor(2) as pool:
            handles = [sim.start(COUNT, seed=1, engine=engine, validate=False, chunk=CHUNK, executor=pool) for engine in engines]
            for handle in handles:
                handle.result(LONG)
        assert {engine.compiled for engine in engines} == {2}

    def test_an_engine_that_is_defined_again_is_the_new_one(self, sim):
        def defined(factor):
            class Redefined(NumPyEngine):
                name = "redefined"

                def run(self, executable, job, first, count):
                    chunk = super().run(executable, job, first, count)
                    chunk.payloads[0][:] *= factor
                    return chunk

                def __reduce__(self):
                    return _newest, ()

            return Redefined

        results = []
        with ThreadPoolExecutor(1) as pool:
            for factor in (1.0, 2.0):
                _ALIVE["newest"] = defined(factor)
                results.append(run(sim, pool, engine=_newest()))
        assert (results[1]["B1"].samples == 2 * results[0]["B1"].samples).all()

    def test_a_finished_checkpoint_needs_no_worker(self, sim, expected, tmp_path):
        run(sim, None, checkpoint=tmp_path)
        pool = ThreadPoolExecutor(1)
        pool.shutdown()
        assert bits(run(sim, pool, checkpoint=tmp_path)) == expected["numpy"]

    def test_a_first_order_that_fails_is_withdrawn(self, sim):
        futures = []

        class Silent(Executor):
            def submit(self, function, order):
                futures.append(Future())
                return futures[-1]

        with pytest.raises(ExecutorError, match=r"first order to a worker: asked for 2 times.*whether one of them started this run"):
            run(sim, mc.Workers(Silent(), timeout=0.1, attempts=2))
        assert [future.cancelled() for future in futures] == [True, True]

    def test_one_that_never_comes_is_an_error_with_what_is_done(self, sim, expected):
        seen = Recorder()
        with (
            Forgetful(99) as forgetful,
            pytest.raises(
                ExecutorError, match=r"iterations 20,000 to 21,000: asked for 3 times, no answer for 0.1 seconds each time"
            ) as caught,
        ):
            run(sim, mc.Workers(forgetful, timeout=0.1, attempts=3), progress=seen, interval=0)
        part = caught.value.run
        assert (part.state, part.iterations, seen[-1].state, seen[-1].done) == ("failed", 20_000, "failed", 20_000)
        wanted = sim.run(COUNT, seed=SEED, engine="numpy")
        assert bits(part) == bits(wanted, 20_000)

    def test_an_executor_that_is_shut_down(self, sim):
        pool = ThreadPoolExecutor(1)
        pool.shutdown()
        with pytest.raises(
            ExecutorError, match="first order to a worker: executor ThreadPoolExecutor failed with RuntimeError: cannot schedule"
        ):
            run(sim, pool)

    def test_one_that_is_shut_down_in_a_run(self, sim):
        pool = ThreadPoolExecutor(1)

        def shut(event):
            if event.done >= 5_000:
                pool.shutdown(cancel_futures=True)

        with pytest.raises(ExecutorError, match=r"failed with (RuntimeError|CancelledError)") as caught:
            run(sim, pool, progress=shut, interval=0)
        assert caught.value.run.iterations >= 5_000


# Workers that are not like the machine that asks


class TestDifferent:
    def test_bits_are_refused(self, sim):
        with (
            processes() as pool,
            pytest.raises(ExecutorError, match=r"process \d+.*not like the machine that asks: with the same libraries"),
        ):
            run(sim, pool, engine=Different())

    def test_unless_they_are_allowed_and_then_the_result_says_so(self, sim):
        with processes() as pool:
            result = run(sim, mc.Workers(pool, allow_different=True), engine=Different())
        assert result.iterations == COUNT
        assert any("took part although with the same libraries it gives other bits" in warning for warning in result.warnings)

    def test_libraries_are_compared(self, sim, monkeypatch):
        monkeypatch.setattr(worker, "fingerprint", lambda: {"numpy": threading.current_thread().name[:5]})
        with (
            ThreadPoolExecutor(1, thread_name_prefix="other") as pool,
            pytest.raises(ExecutorError, match="numpy is 'ultra' here and 'other' there"),
        ):
            run(sim, pool)

    def test_a_later_one_is_looked_at_too_whatever_it_is_called(self, sim):
        class Changing(Recording):
            """A machine of the same name, with another library."""

            def submit(self, function, order):
                future = super().submit(function, order)
                if order.first != 20_000:
                    return future
                answer, made = future.result(), Future()
                made.set_result(evolve(answer, voucher=evolve(answer.voucher, fingerprint=(("numpy", "1.0"),))))
                return made

        with Changing(1) as changing, pytest.raises(ExecutorError, match=r"numpy is '[\d.]+' here and '1.0' there") as caught:
            run(sim, changing)
        assert caught.value.run.iterations == 20_000
        with Changing(1) as changing:
            result = run(sim, mc.Workers(changing, allow_different=True))
        assert sum("took part although" in warning for warning in result.warnings) == 1

    def test_a_part_of_a_run_names_them_too(self, sim):
        with processes() as pool, pytest.raises(ExecutorError) as caught:
            run(sim, mc.Workers(pool, allow_different=True), engine=Different("kill", AT))
        assert any("took part although" in warning for warning in caught.value.run.warnings)

    def test_a_checkpoint_has_none_of_them(self, sim, tmp_path):
        with ThreadPoolExecutor(1) as pool, pytest.raises(mc.InputError, match="a checkpoint promises the same bits"):
            run(sim, mc.Workers(pool, allow_different=True), checkpoint=tmp_path)

    @pytest.mark.parametrize("engine", PRESENT)
    def test_an_engine_says_what_its_bits_depend_on(self, engine):
        """Beyond NumPy and SciPy, which every fingerprint names."""
        said = registry.engine(engine).fingerprint()
        assert bool(said) == (engine != "numpy") and all(said.values())

    def test_an_engine_that_is_missing_there(self, sim):
        class Here(NumPyEngine):
            """Of this module, which workers cannot import."""

            name = "here"

        with processes() as pool, pytest.raises(mc.InputError, match="engine 'here' cannot be sent to workers, since it cannot be pickled"):
            run(sim, pool, engine=Here())

    def test_a_sampling_that_is_missing_there(self, sim):
        class Mine(mc.Random):
            pass

        with processes() as pool, pytest.raises(mc.InputError, match="the run cannot be sent to workers, since it cannot be pickled"):
            run(sim, pool, sampling=Mine())


# The kill matrix: which process, when, on which executor


class TestKilled:
    @pytest.mark.parametrize("deed", ["kill", "exit", "abort"])
    def test_a_process_of_a_pool_is_an_error_with_what_is_done(self, sim, deed):
        seen = Recorder()
        with processes() as pool, pytest.raises(ExecutorError, match=r"failed with BrokenProcessPool.*a pool does not replace") as caught:
            run(sim, pool, engine=Once(deed, AT), progress=seen, interval=0)
        assert_progress_contract(seen, interval=0)
        part = caught.value.run
        assert (seen[-1].state, seen[-1].done) == ("failed", part.iterations) and 0 < part.iterations <= 20_000
        assert bits(part) == bits(sim.run(COUNT, seed=SEED, engine="numpy"), part.iterations)

    def test_ctrl_c_is_left_to_the_caller(self, sim, expected):
        """A terminal sends it to every process; those of the pool work on, and a run that nobody interrupts ends well."""

        def interrupt(event):
            if event.done == 5_000:
                for process in pool._processes:
                    os.kill(process, signal.SIGINT)

        with processes() as pool:
            list(pool.map(time.sleep, [0.5] * 4))  # both have begun
            assert len(pool._processes) == 2
            assert bits(run(sim, pool, engine=Slow(running=0.01), progress=interrupt, interval=0)) == expected["numpy"]

    def test_what_a_broken_pool_did_goes_into_the_checkpoint(self, sim, expected, tmp_path):
        kept = mc.Checkpoint(tmp_path, interval=1_000)
        with processes() as pool, pytest.raises(ExecutorError):
            run(sim, pool, engine=Once("kill", AT), checkpoint=kept)
        assert 0 < kept.stored().done <= 20_000
        with processes() as pool:
            assert bits(run(sim, pool, engine=Once("sleep", AT), checkpoint=kept)) == expected["numpy"]

    @pytest.mark.parametrize("deed", ["kill", "exit", "abort"])
    def test_a_worker_of_dask_is_replaced(self, sim, cluster, expected, deed, tmp_path):
        seen = Recorder()
        result = run(sim, cluster, engine=Once(deed, AT, tmp_path), progress=seen, interval=0)
        assert_progress_contract(seen, interval=0)
        assert (tmp_path / "done").exists()
        assert bits(result) == expected["numpy"]

    def test_all_workers_of_dask_at_once(self, sim, cluster, expected):
        def kill(event):
            if event.phase == "sample" and not killed:
                killed.extend(cluster.run(os.getpid).values())
                for process in killed:
                    os.kill(process, signal.SIGKILL)

        killed = []
        cluster.wait_for_workers(2, LONG)
        result = run(sim, cluster, engine=Slow(running=0.02), progress=kill, interval=0)
        assert len(killed) == 2 and bits(result) == expected["numpy"]

    def test_a_worker_of_dask_that_hangs(self, sim, cluster, expected, tmp_path):
        """Dask waits for it; the chunk is asked for again, and the other worker answers."""
        workers = mc.Workers(cluster, timeout=1.5)
        pids = set(cluster.run(os.getpid).values())
        try:
            result = run(sim, workers, engine=Once("stop", AT, tmp_path))
        finally:
            for process in pids:
                os.kill(process, signal.SIGKILL)
        assert bits(result) == expected["numpy"]
        cluster.wait_for_workers(2, LONG)

    def test_a_chunk_that_kills_every_worker(self, sim, cluster):
        with pytest.raises(ExecutorError, match="iterations 20,000 to 21,000: executor ClientExecutor failed with KilledWorker") as caught:
            run(sim, cluster, engine=Once("exit", AT))
        assert caught.value.run.iterations <= 20_000

    def test_the_caller(self, tmp_path):
        """Its processes end with it, and a run that goes on gives the bits of one that was never killed."""
        (tmp_path / "model.xlsx").write_bytes(workbook(MODEL))
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.format(here=os.path.dirname(os.path.abspath(__file__)), count=COUNT, seed=SEED, chunk=CHUNK))
        command = [sys.executable, str(script)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
            children = [int(word) for word in process.stdout.readline().split()]
            while int(process.stdout.readline()) < 5_000:
                pass
            process.kill()
        deadline = time.monotonic() + LONG
        while any(map(_is_alive, children)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert children and not any(map(_is_alive, children))
        resumed = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True).stdout.splitlines()
        assert int(resumed[1]) >= 4_000
        (tmp_path / "kept").rename(tmp_path / "old")
        whole = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True).stdout.splitlines()
        assert resumed[-1] == whole[-1] and len(whole[-1]) == 64


SCRIPT = """
import sys
sys.path.append({here!r})
import hashlib
import ultramc as mc
from misbehaving import Slow

if __name__ == "__main__":
    inputs = {{"A1": mc.Uniform(50, 160), "A2": mc.Uniform(0, 0.1)}}
    sim = mc.Simulation("model.xlsx", inputs=inputs, outputs=["B1", "B2"])
    with mc.process_pool(2) as pool:
        pool.submit(int).result()
        print(*pool._processes, flush=True)
        kept = mc.Checkpoint("kept", interval=0)
        options = {{"engine": Slow(running=0.05), "validate": False, "chunk": {chunk}, "executor": pool, "checkpoint": kept}}
        result = sim.run({count}, seed={seed}, interval=0, progress=lambda event: print(event.done, flush=True), **options)
    print(hashlib.sha256(result["B1"].samples.tobytes() + result["B2"].samples.tobytes()).hexdigest())
"""


def _is_alive(process):
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# What is given as executor=


@pytest.mark.parametrize("given", ["processes", 4, object(), ThreadPoolExecutor])
def test_what_is_no_executor_is_refused(sim, given):
    with pytest.raises(mc.InputError, match=r"a concurrent.futures.Executor, a dask.distributed.Client, or ultramc.Workers"):
        run(sim, given)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here")
def test_a_pool_of_forked_processes_is_refused(sim):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool, pytest.raises(mc.InputError, match="process_pool"):
        run(sim, pool)


@pytest.mark.parametrize("options", [{"timeout": -1}, {"timeout": "5"}, {"attempts": 0}, {"attempts": 1.5}])
def test_workers_that_make_no_sense(options):
    with ThreadPoolExecutor(1) as pool, pytest.raises(mc.InputError):
        mc.Workers(pool, **options)


def test_a_client_is_asked_for_an_executor_that_merges_no_calls():
    asked = {}

    def get_executor(**options):
        asked.update(options)
        return ThreadPoolExecutor(1)

    assert isinstance(mc.Workers(SimpleNamespace(get_executor=get_executor)).executor, Executor)
    assert asked == {"pure": False}


@pytest.mark.parametrize("row", [row for row in functions.load().values() if row.style == "scalar"], ids=lambda row: row.name)
def test_a_scalar_function_is_pickled_as_its_row(row):
    assert pickle.loads(pickle.dumps(row)) is row


class TestShelf:
    def test_a_thing_is_made_once(self):
        shelf, made = worker.Shelf(4), []

        def make():
            time.sleep(0.05)
            made.append(1)
            return "thing"

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: shelf.get("key", make), range(8))) == {"thing"}
        assert made == [1]

    def test_none_is_not_made(self):
        shelf = worker.Shelf(4)
        assert shelf.get("key", None) is None
        assert [shelf.get("key", lambda value=value: value) for value in (None, 1, 2)] == [None, 1, 1]

    def test_to_ask_takes_no_place(self):
        shelf = worker.Shelf(4)
        shelf.get("key", lambda: 1)
        for key in range(10):
            shelf.get(key, None)
        assert shelf.get("key", None) == 1

    def test_what_is_forgotten_is_made_again(self):
        shelf = worker.Shelf(4)
        shelf.get("key", lambda: 1)
        shelf.forget("key")
        shelf.forget("key")
        assert shelf.get("key", lambda: 2) == 2

    def test_what_fails_is_made_again(self):
        shelf = worker.Shelf(4)
        with pytest.raises(ZeroDivisionError):
            shelf.get("key", lambda: 1 / 0)
        assert shelf.get("key", lambda: 3) == 3

    def test_the_least_recently_used_is_forgotten(self):
        shelf = worker.Shelf(4)
        for key in range(4):
            shelf.get(key, lambda key=key: key + 1)
        shelf.get(0, lambda: None)
        shelf.get("another", lambda: 1)
        assert shelf.get(0, lambda: "again") == 1
        assert shelf.get(1, lambda: "again") == "again"


def test_the_largest_chunk_is_of_whole_blocks_within_memory(sim):
    slots = sim.compiled.program.outputs
    each = sum(slot.cells.size * 9 for slot in slots)
    assert executors.most_for_workers(slots, 10**9, 0, 1) == executors.most_for_workers(slots, 100, 2**40, 1) == 4_096
    assert executors.most_for_workers(slots, 10**6, 2**40, 1) == 10**6 // 32 // 4_096 * 4_096
    assert executors.most_for_workers(slots, 10**6, 2**40, 2**17) == 2**17
    largest = executors.most_for_workers(slots, 10**9, 2**40, 1)
    assert largest % 4_096 == 0 and executors.LARGEST_ANSWER / 2 < largest * each <= executors.LARGEST_ANSWER * 9 / 8


@pytest.mark.parametrize(("seconds", "iterations", "count"), [(1.0, 10**6, 64), (0.001, 10**6, 250), (1e-9, 10**6, 4_096), (1e-9, 9, 9)])
def test_as_many_are_looked_at_as_cost_little(seconds, iterations, count):
    assert worker.probed(seconds, iterations) == count
