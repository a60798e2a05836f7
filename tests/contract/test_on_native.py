"""The native engine beyond the contract: the same bits as NumPy, sources without numbers, a cache that only its owner writes to."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from models import cash_flow, portfolio, roll_forward
from random_programs import COUNT, JOB, program_with, programs
from random_workbooks import agree_on, models
from workbooks import workbook

import ultramc as mc
from ultramc.engines import cache, on_native
from ultramc.engines.base import CANONICAL_BLOCK, Job, fitted
from ultramc.engines.cstyle import render
from ultramc.engines.on_native import NativeEngine, target
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.program import Builder
from ultramc.sampling import Site
from ultramc.testing import Recorder, assert_progress_contract

SEED = 7


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """One folder for all tests, apart from the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def payloads(engine, program, count=COUNT, job=JOB):
    return engine.run(engine.compile(program), job, 0, count).payloads


def drawn(builder, row=1, shape=(1, 1, 1, 1)):
    return builder.append("uniform", site=Site("S", row, 1), shape=shape)


# The same bits as NumPy, where ops have no tolerance


@settings(max_examples=60)
@given(programs(exact=True))
def test_random_programs_agree_with_numpy(program):
    for one, other in zip(payloads(NativeEngine(), program), payloads(NumPyEngine(), program), strict=True):
        # Which of two zeros is the smaller is left open, so zeros are compared as numbers.
        assert np.array_equal(one, other, equal_nan=True), str(program)


@settings(max_examples=40)
@given(models())
def test_random_workbooks_agree_with_numpy(model):
    agree_on(model, NativeEngine())


@pytest.mark.parametrize("lanes", [8, 64])
def test_lanes_change_no_bit(lanes):
    program, job = roll_forward().simulation.compiled.program, Job(SEED, 1_000)
    for one, other in zip(
        payloads(NativeEngine(lanes=lanes), program, 1_000, job), payloads(NativeEngine(lanes=32), program, 1_000, job), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("model", "outputs"), [(cash_flow, None), (roll_forward, None), (portfolio, "Portfolio!S10")])
def test_a_model_by_hand_on_native(model, outputs):
    made = model(100) if model is portfolio else model()
    result = made.simulation.run(5_000, seed=42, engine="native")
    assert (result.engine, result.iterations) == ("native", 5_000)
    for label, by_hand in zip(made.simulation.outputs, made.by_hand(5_000), strict=True):
        np.testing.assert_allclose(result[label].samples, by_hand, rtol=1e-9)


@pytest.mark.parametrize("sampling", ["antithetic", "latin_hypercube", "sobol"])
def test_samplings_are_those_of_numpy(sampling):
    simulation = cash_flow().simulation
    one, other = (simulation.run(4_000, seed=SEED, sampling=sampling, engine=engine) for engine in ("native", "numpy"))
    for label, draws in other.inputs.items():
        np.testing.assert_allclose(one.inputs[label].samples, draws.samples, rtol=1e-12)


def test_threads_change_no_bit():
    simulation = roll_forward().simulation
    one, two = (simulation.run(150_000, seed=SEED, engine=NativeEngine(threads=threads)) for threads in (1, 3))
    for label in simulation.outputs:
        np.testing.assert_array_equal(one[label].samples, two[label].samples)


def test_one_executable_serves_threads_at_once():
    simulation = cash_flow().simulation
    want = simulation.run(2_000, seed=SEED, engine="native")["Model!B15"].samples
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(simulation.run(2_000, seed=SEED, engine="native")["Model!B15"].samples))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(samples, want) for samples in found)


def test_less_memory_means_fewer_iterations_at_once_and_the_same_bits():
    program, job = cash_flow().simulation.compiled.program, Job(SEED, 3_000)
    engine = NativeEngine(threads=1)
    plan = engine.compile(program)
    smaller, _ = fitted(engine, plan, 400 * engine.bytes_per_iteration(plan))
    assert smaller.iterations == 256 < plan.iterations
    for one, other in zip(engine.run(smaller, job, 0, 3_000).payloads, engine.run(plan, job, 0, 3_000).payloads, strict=True):
        np.testing.assert_array_equal(one, other)


# Sources


def budget(rate, growth):
    cells = {
        "A1": 100,
        "A2": rate,
        "B1": "=A1*(1+$A$2)",
        **{f"{this}1": f"={last}1*(1+$A$2)-{growth}" for last, this in ("BC", "CD", "DE")},
    }
    return mc.Simulation(workbook(cells), inputs={"A1": mc.Normal(100, 7)}, outputs=["E1"])


def test_sources_hold_no_number_and_no_text_of_the_workbook():
    source = render(budget(0.031416, 2.7182818).compiled.program, target(32)).text
    assert not re.search(r"31416|1\.0314|7182|Model", source)


def test_other_numbers_need_no_other_library():
    one, other = (budget(rate, 1.5) for rate in (0.02, 0.04))
    assert render(one.compiled.program, target(32)).text == render(other.compiled.program, target(32)).text
    results = [each.run(100, seed=SEED, engine="native")["E1"].mean for each in (one, other)]
    assert results == [pytest.approx(each.run(100, seed=SEED)["E1"].mean, rel=1e-12) for each in (one, other)]
    assert results[0] != results[1]


def test_a_long_program_is_several_functions():
    builder = Builder()
    value = drawn(builder)
    for row in range(2, 700):
        value = builder.append("sub", drawn(builder, row), value)
    program = program_with(builder, [value])
    source = render(program, target(32))
    assert source.text.count("static void part") > 3
    np.testing.assert_array_equal(payloads(NativeEngine(), program)[0], payloads(NumPyEngine(), program)[0])


def test_rooms_are_used_again():
    builder = Builder()
    block = drawn(builder, shape=(500, 1, 1, 1))
    total = drawn(builder)
    for _ in range(20):
        block = builder.append("sub", block, builder.append("sum", builder.append("as_array", block)))
        total = builder.append("add", total, builder.append("maximum", builder.append("as_array", block)))
    assert render(program_with(builder, [total]), target(32)).scratch < 3 * 500 + 100


# Memory: what a C compiler's own checks say


CHECKED = """
import sys
import ultramc.engines.on_native as on_native
from attrs import evolve
from ultramc.contract.cases import CASES, program_of
from ultramc.engines.base import Job
on_native.FLAGS += ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
engine = on_native.NativeEngine(threads=1, lanes=8)
fault = sys.argv[1]
rendered = engine._rendered
if fault == "scratch":
    engine._rendered = lambda program: evolve(rendered(program), scratch=rendered(program).scratch - 1)
if fault == "steps":
    engine._rendered = lambda program: evolve(rendered(program), text=rendered(program).text.replace("< 3; s", "<= 3; s"))
done = 0
for case in CASES:
    program = program_of(case)
    if set(program.ops()) <= engine.supports and case.op in sys.argv[2:]:
        engine.run(engine.compile(program), Job(1, case.iterations), 0, case.iterations)
        done += 1
print(done)
"""
OPS = ("loop", "repeat", "window", "join", "gather", "search", "sort", "sum", "segment_sum", "transpose", "piecewise", "uniform")


def checked(fault, *ops):
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()
    environment = {**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0"}
    return subprocess.run([sys.executable, "-c", CHECKED, fault, *ops], env=environment, capture_output=True, text=True, check=False)


def test_sanitizers_find_nothing():
    done = checked("none", *OPS)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 50


@pytest.mark.parametrize("fault", ["scratch", "steps"])
def test_sanitizers_find_what_is_planted(fault):
    done = checked(fault, "loop")
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr


# The compiler and its cache


def test_a_source_is_compiled_once(monkeypatch):
    program = cash_flow().simulation.compiled.program
    NativeEngine().compile(program)
    monkeypatch.setattr(on_native, "_compile", lambda *_: pytest.fail("compiled again"))
    NativeEngine().compile(program)


def test_others_may_not_write_to_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache.cache_folder("native")
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(mc.EngineUnavailable, match=r"where others may write: make it yours alone"):
        cash_flow().simulation.run(10, seed=SEED, engine="native")


def test_the_cache_does_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "KEPT", 3)
    for number in range(1, 6):
        on_native.compiled(f"int number(void) {{ return {number}; }} void run(void) {{}}")
    kept = {path.name for path in cache.cache_folder("native").iterdir()}
    assert len(kept) == 3
    on_native.compiled("int number(void) { return 5; } void run(void) {}")
    assert {path.name for path in cache.cache_folder("native").iterdir()} == kept


def test_a_result_names_the_compiler():
    versions = cash_flow().simulation.run(1_000, seed=SEED, engine="native", check="off").versions
    said = subprocess.run([*on_native._command(), "--version"], capture_output=True, text=True, check=True).stdout
    assert versions["C compiler"] == said.splitlines()[0] and len(versions["C target"]) == 16


def test_what_the_compiler_says_is_passed_on():
    with pytest.raises(mc.EngineError, match=r"(?s)failed with status 1: .*nonsense"):
        on_native.compiled("nonsense")


def is_running(process):
    """One that ended has no command, whether or not somebody asked for its status."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:
        return False


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="there are no groups of processes here")
def test_a_compilation_is_cancelled_with_all_its_processes(tmp_path, monkeypatch):
    compiler = tmp_path / "compiler"
    compiler.write_text(f"#!/bin/sh\n[ $1 = --version ] && exit\nsleep 60 & echo $! > {tmp_path}/child\nsleep 60\n")
    compiler.chmod(0o700)
    monkeypatch.setattr(on_native, "_command", lambda: [str(compiler)])
    token, seen = mc.CancelToken(), Recorder()

    def cancel(event):
        if event.phase == "compile" and (tmp_path / "child").exists():
            token.cancel("too long")

    sim = mc.Simulation(workbook({"A1": 1, "B1": "=A1*2+EXP(A1)"}), inputs={"A1": mc.Uniform(0, 1)}, outputs=["B1"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    begun = time.monotonic()
    with pytest.raises(mc.SimulationCancelled, match="cancelled during compile, before any iteration: too long"):
        sim.run(10, seed=1, engine="native", progress=[seen, cancel], cancel=token, heartbeat=0.1)
    assert time.monotonic() - begun < 30
    assert_progress_contract(seen, heartbeat=0.1)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(child)


def test_a_compiler_that_never_ends(tmp_path, monkeypatch):
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\n[ $1 = --version ] || sleep 60\n")
    compiler.chmod(0o700)
    monkeypatch.setattr(on_native, "_command", lambda: [str(compiler)])
    monkeypatch.setattr(on_native, "SECONDS", 0.3)
    with pytest.raises(mc.EngineError, match=r"the compiler was not done after 0.3 seconds"):
        on_native.compiled("int never;")


def test_without_a_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(on_native, "_compiler", lambda: None)
    with pytest.raises(mc.EngineUnavailable, match=r"there is no C compiler: install one .* or pip install 'ultramc\[native\]'"):
        cash_flow().simulation.run(10, seed=SEED, engine=NativeEngine())


def test_what_c_lacks_is_refused_by_name():
    simulation = mc.Simulation(workbook({"A1": 0.5, "B1": "=BETA.DIST(A1,2,3,TRUE)"}), inputs={"A1": mc.Uniform(0.1, 0.9)}, outputs=["B1"])
    with pytest.raises(mc.UnsupportedOp, match=r"Model!B1: engine 'native' has no op 'beta_i' \(no C library has it\)"):
        simulation.run(10, engine="native")


def test_iterations_begin_anywhere():
    """Draws come in fours: chunks that begin within one are taken from its beginning."""
    program, count = cash_flow().simulation.compiled.program, CANONICAL_BLOCK
    engine, job = NativeEngine(), Job(SEED, count)
    plan = engine.compile(program)
    whole = engine.run(plan, job, 0, count).payloads[0]
    for first in (1, 2, 3, 4, 4_001):
        np.testing.assert_array_equal(engine.run(plan, job, first, 50).payloads[0], whole[:, first : first + 50])
