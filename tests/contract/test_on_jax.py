"""The JAX engine beyond the contract: segments, tiles and heavy loops change no bit, nothing global is touched, programs are kept."""

import os
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from models import cash_flow, roll_forward
from random_programs import COUNT, JOB, program_with, programs
from random_workbooks import agree_on, models
from workbooks import workbook

import ultramc as mc
from ultramc.contract.cases import CASES, program_of
from ultramc.contract.checks import differing
from ultramc.engines import on_jax
from ultramc.engines.base import CANONICAL_BLOCK, Job, fitted
from ultramc.engines.on_jax import JaxEngine, Stepped
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.engines.pace import LONG, guessed_seconds
from ultramc.program import Builder, constant
from ultramc.sampling import Site
from ultramc.testing import Recorder, assert_progress_contract

SEED = 7
LOOPS = [case for case in CASES if case.op == "loop"]


def payloads(engine, program, count=COUNT, job=JOB):
    return engine.run(engine.compile(program), job, 0, count).payloads


def drawn(builder, row=1, shape=(1, 1, 1, 1)):
    return builder.append("uniform", site=Site("S", row, 1), shape=shape)


# How many iterations at once


def column(rows):
    cells = {f"B{row}": f"=B{row - 1}*1.01+$A$1/(3+B{row - 1})-$A$1*B{row - 1}" for row in range(2, rows + 1)}
    return mc.Simulation(workbook({"A1": 1, "B1": "=A1", **cells}), inputs={"A1": mc.Uniform(0, 1)}, outputs=[f"B{rows}"])


def test_fewer_iterations_at_once_where_all_would_take_long():
    """All are carried out before progress can move; the bits are those of any other number."""
    short, long = column(20), column(3_000)
    iterations = [JaxEngine().compile(each.compiled.program).iterations for each in (short, long)]
    assert iterations[0] == 8 * CANONICAL_BLOCK > iterations[1] >= CANONICAL_BLOCK
    assert iterations[1] * guessed_seconds(long.compiled.program) <= LONG


# The same bits as NumPy, where ops have no tolerance


@settings(max_examples=30)
@given(programs(exact=True))
def test_random_programs_agree_with_numpy(program):
    for one, other in zip(payloads(JaxEngine(iterations=64), program), payloads(NumPyEngine(), program), strict=True):
        # Which of two zeros is the smaller is left open, so zeros are compared as numbers.
        assert np.array_equal(one, other, equal_nan=True), str(program)


ROUNDED = {  # what XLA would round once, or otherwise, by itself
    "a product and a sum": lambda emit, x, y, z: emit("add", emit("mul", x, y), z),
    "a difference of products": lambda emit, x, y, z: emit("sub", emit("mul", x, y), emit("mul", y, z)),
    "a quotient of a quotient": lambda emit, x, y, z: emit("div", emit("div", x, y), z),
    "a product of a quotient": lambda emit, x, y, z: emit("mul", emit("div", x, y), z),
    "a constant divisor": lambda emit, x, y, z: emit("div", x, constant(12.0)),
    "a constant factor twice": lambda emit, x, y, z: emit("mul", emit("mul", x, constant(1.1)), constant(1.3)),
    "one divisor of a block": lambda emit, x, y, z: emit("div", emit("uniform", site=Site("S", 9, 1), shape=(3, 2, 1, 1)), x),
    "a root under a fraction": lambda emit, x, y, z: emit("div", x, emit("sqrt", y)),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_each_operation_is_rounded(name):
    builder = Builder()
    result = ROUNDED[name](builder.append, drawn(builder, 1), drawn(builder, 2), drawn(builder, 3))
    program = program_with(builder, [result])
    count = CANONICAL_BLOCK
    (found,), (want,) = (payloads(engine, program, count, Job(SEED, count)) for engine in (JaxEngine(), NumPyEngine()))
    np.testing.assert_array_equal(found, want)


# Whole models


@settings(max_examples=15)
@given(models())
def test_random_workbooks_agree_with_numpy(model):
    agree_on(model, JaxEngine())


@pytest.mark.parametrize("model", [cash_flow, roll_forward])
def test_a_model_by_hand_on_jax(model):
    made = model()
    result = made.simulation.run(5_000, seed=42, engine="jax")
    assert (result.engine, result.iterations) == ("jax", 5_000)
    for label, by_hand in zip(made.simulation.outputs, made.by_hand(5_000), strict=True):
        np.testing.assert_allclose(result[label].samples, by_hand, rtol=1e-9)


@pytest.mark.parametrize("sampling", ["antithetic", "latin_hypercube", "sobol"])
def test_samplings_are_those_of_numpy(sampling):
    simulation = cash_flow().simulation
    one, other = (simulation.run(4_000, seed=SEED, sampling=sampling, engine=engine) for engine in ("jax", "numpy"))
    for label in simulation.inputs:
        np.testing.assert_allclose(one.inputs[label.label].samples, other.inputs[label.label].samples, rtol=1e-12)


# Segments, tiles, loops that the host takes step by step


@pytest.mark.parametrize("case", LOOPS, ids=lambda case: case.id)
def test_a_loop_step_by_step_has_the_same_bits(case, monkeypatch):
    program, job = program_of(case), Job(SEED, case.iterations)
    want = payloads(JaxEngine(iterations=64), program, case.iterations, job)
    monkeypatch.setattr(on_jax, "HEAVIEST_BODY", 0)
    engine = JaxEngine(iterations=64, heaviest=2)
    plan = engine.compile(program)
    assert any(isinstance(part, Stepped) for part in plan.parts)
    for one, other in zip(engine.run(plan, job, 0, case.iterations).payloads, want, strict=True):
        assert not differing(one, other, 0.0).any()


@pytest.mark.parametrize("heaviest", [1, 7])
def test_where_segments_end_changes_no_bit(heaviest):
    program, job = roll_forward().simulation.compiled.program, Job(SEED, 500)
    want = payloads(JaxEngine(iterations=512), program, 500, job)
    for one, other in zip(payloads(JaxEngine(iterations=512, heaviest=heaviest), program, 500, job), want, strict=True):
        np.testing.assert_array_equal(one, other)


def test_tiles_change_no_bit(monkeypatch):
    program, job = roll_forward().simulation.compiled.program, Job(SEED, 500)
    want = payloads(JaxEngine(iterations=512), program, 500, job)
    monkeypatch.setattr(on_jax, "CACHE", 2**12)
    for one, other in zip(payloads(JaxEngine(iterations=512), program, 500, job), want, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("iterations", [0, 100, -64])
def test_iterations_at_once_are_a_power_of_two(iterations):
    """Else a tile would leave some out."""
    with pytest.raises(mc.InputError, match=f"iterations={iterations} at once; a power of two"):
        JaxEngine(iterations=iterations)


def test_less_memory_means_fewer_iterations_at_once_and_the_same_bits():
    program, job = cash_flow().simulation.compiled.program, Job(SEED, 3_000)
    engine = JaxEngine()
    plan = engine.compile(program)
    smaller, _ = fitted(engine, plan, 256 * plan.bytes_per_iteration)
    assert smaller.iterations == 256 < plan.iterations
    for one, other in zip(engine.run(smaller, job, 0, 3_000).payloads, engine.run(plan, job, 0, 3_000).payloads, strict=True):
        np.testing.assert_array_equal(one, other)


# What is around it


def test_no_setting_of_jax_is_touched():
    """Neither here nor in a thread that uses JAX for something else at the same time."""
    seen = []
    other = threading.Thread(target=lambda: seen.extend(jax.numpy.ones(3).dtype for _ in range(20)))
    other.start()
    cash_flow().simulation.run(100, seed=SEED, engine="jax")
    other.join()
    assert set(seen) == {np.dtype(np.float32)}
    assert jax.numpy.ones(3).dtype == np.float32
    assert not jax.config.jax_enable_x64


def test_runs_in_several_threads():
    simulation = cash_flow().simulation
    want = simulation.run(2_000, seed=SEED, engine="jax")["Model!B15"].samples
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(simulation.run(2_000, seed=SEED, engine="jax")["Model!B15"].samples)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(samples, want) for samples in found)


def test_other_fixed_values_need_no_other_executable():
    cells = {"A1": 100, "A2": 0.04, "B1": "=A1*(1+$A$2)", "C1": "=B1*(1+$A$2)-3", "D1": "=C1*(1+$A$2)-7"}
    rates = (0.02, 0.05)
    simulations = [mc.Simulation(workbook(cells), inputs={"A1": mc.Normal(100, 7), "A2": rate}, outputs=["D1"]) for rate in rates]
    engine = JaxEngine(iterations=64)
    one, other = (engine.compile(simulation.compiled.program) for simulation in simulations)
    assert [part.function for part in one.parts] == [part.function for part in other.parts]
    results = [simulation.run(64, seed=SEED, engine=engine)["D1"].samples for simulation in simulations]
    for simulation, result in zip(simulations, results, strict=True):
        np.testing.assert_allclose(result, simulation.run(64, seed=SEED)["D1"].samples, rtol=1e-12)
    assert not np.allclose(*results)


def test_compiling_tells_of_each_segment():
    seen = Recorder()
    cash_flow().simulation.run(100, seed=SEED, engine=JaxEngine(heaviest=3), progress=seen, interval=0)
    assert_progress_contract(seen, interval=0)
    steps = [(event.phase_done, event.phase_total) for event in seen if event.phase == "compile"]
    total = steps[-1][1]
    assert total > 2
    assert steps == [(0, 1), *((done, total) for done in range(total + 1))]


def test_what_jax_lacks_is_refused_with_the_reason():
    simulation = mc.Simulation(workbook_of("=BETA.DIST(A1,2,3,TRUE)"), inputs={"A1": mc.Uniform(0.1, 0.9)}, outputs=["B1"])
    with pytest.raises(mc.UnsupportedOp, match=r"Sheet!B1: engine 'jax' has no op 'beta_i' \(JAX's ends .*engines that have it: numpy"):
        simulation.run(10, engine="jax")


def workbook_of(formula):
    from io import BytesIO

    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Sheet"
    book.active["A1"], book.active["B1"] = 0.5, formula
    file = BytesIO()
    book.save(file)
    return file.getvalue()


def test_the_callers_compilation_cache_is_used(tmp_path):
    """Where the caller has one, a second process compiles nothing."""
    program = (
        "import sys, jax; sys.path.insert(0, 'benchmarks'); from models import cash_flow\n"
        "hits = []; jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))\n"
        "cash_flow().simulation.run(10, seed=1, engine='jax')\n"
        "print(sum(event.endswith('cache_hits') for event in hits), sum(event.endswith('cache_misses') for event in hits))"
    )
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    runs = [
        subprocess.run([sys.executable, "-c", program], env={**os.environ, **settings}, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    (first, _), (second, missed) = (map(int, done.stdout.split()) for done in runs)
    assert (first, missed) == (0, 0)
    assert second >= 1
