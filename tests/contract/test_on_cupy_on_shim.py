"""The CuPy engine without a GPU: CUDA's text on the processor, bit-equal to NumPy; what NVRTC makes of it; every fault in its own words."""

import os
import re
import subprocess
import sys
from operator import attrgetter

import cupy
import numpy as np
import pytest
from cupy_backends.cuda.libs import nvrtc
from cupy_stand_in import Faults, OnShim, by_the_system, toolkit
from hypothesis import given, settings
from models import cash_flow, portfolio, roll_forward
from random_programs import COUNT, JOB, program_with, programs
from random_workbooks import agree_on, models
from workbooks import workbook

import ultramc as mc
from ultramc.engines import on_cupy, self_test
from ultramc.engines.base import Job
from ultramc.engines.cstyle import render
from ultramc.engines.cubin import compiled, translated
from ultramc.engines.on_cupy import TARGET, CupyEngine, Toolkit
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.errors import DeviceError, EngineError, EngineUnavailable, GPUValidationError, MemoryLimitExceeded
from ultramc.program import Builder
from ultramc.sampling import Site

SEED = 7
ENGINE = OnShim()


def payloads(engine, program, count=COUNT, job=JOB):
    return engine.run(engine.compile(program), job, 0, count).payloads


def drawn(builder, row=1, shape=(1, 1, 1, 1)):
    return builder.append("uniform", site=Site("S", row, 1), shape=shape)


# The same bits as NumPy, where ops have no tolerance


@settings(max_examples=60)
@given(programs(exact=True))
def test_random_programs_agree_with_numpy(program):
    for one, other in zip(payloads(ENGINE, program), payloads(NumPyEngine(), program), strict=True):
        # Which of two zeros is the smaller is left open, so zeros are compared as numbers.
        assert np.array_equal(one, other, equal_nan=True), str(program)


@settings(max_examples=40)
@given(models())
def test_random_workbooks_agree_with_numpy(model):
    agree_on(model, ENGINE)


@pytest.mark.parametrize(("model", "outputs"), [(cash_flow, None), (roll_forward, None), (portfolio, "Portfolio!S10")])
def test_a_model_by_hand(model, outputs):
    made = model(100) if model is portfolio else model()
    result = made.simulation.run(5_000, seed=42, engine=ENGINE)
    assert (result.engine, result.iterations) == ("cupy_on_shim", 5_000)
    for label, by_hand in zip(made.simulation.outputs, made.by_hand(5_000), strict=True):
        np.testing.assert_allclose(result[label].samples, by_hand, rtol=1e-9)


@pytest.mark.parametrize("sampling", ["antithetic", "latin_hypercube", "sobol"])
def test_samplings_are_those_of_numpy(sampling):
    simulation = cash_flow().simulation
    one, other = (simulation.run(4_000, seed=SEED, sampling=sampling, engine=engine) for engine in (ENGINE, "numpy"))
    for label, draws in other.inputs.items():
        np.testing.assert_allclose(one.inputs[label].samples, draws.samples, rtol=1e-12)


def test_less_memory_means_smaller_launches_and_the_same_bits():
    program, job = cash_flow().simulation.compiled.program, Job(SEED, 3_000)
    small = CupyEngine(toolkit=toolkit(), memory=60_000)
    plan = small.compile(program)
    assert plan.iterations < 1_000
    for one, other in zip(
        small.run(plan, job, 5, 2_900).payloads, ENGINE.run(ENGINE.compile(program), job, 5, 2_900).payloads, strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_memory_of_the_device_is_given_back():
    device = toolkit()
    cash_flow().simulation.run(20_000, seed=SEED, engine=CupyEngine(toolkit=device))
    assert (device.cupy.live, device.cupy.pooled > 0) == (0, True)


def test_memory_of_a_run_that_failed_is_given_back_though_the_error_is_kept():
    device = toolkit()
    engine = CupyEngine(toolkit=device)
    engine.compile(self_test.PROGRAM)
    device.cupy.faults.skips_launch_at = device.cupy.faults.launches + 1
    with pytest.raises(GPUValidationError) as kept:
        cash_flow().simulation.run(5_000, seed=SEED, engine=engine)
    assert "128 threads" in str(kept.value)
    assert device.cupy.live == 0


def test_a_launch_is_of_a_million_iterations_at_most():
    assert ENGINE.compile(self_test.PROGRAM).iterations == 2**20


def test_a_device_that_is_not_there_is_named():
    for number in (1, -1):
        assert f"there is no device {number}" in CupyEngine(toolkit=toolkit(), device=number).availability().reason


def test_what_was_cancelled_is_looked_at_too():
    """A run that ends early hands over numbers, which nobody has computed again yet."""
    engine = CupyEngine(toolkit=toolkit(replaced(STORE, LATE.format(5_000, "value * 2"))))
    engine._is_proven = True
    token = mc.CancelToken()

    def stop(event):
        if event.done > 12_000:
            token.cancel()

    with pytest.raises(GPUValidationError, match="simulation not executed"):
        cash_flow().simulation.run(
            60_000,
            seed=SEED,
            engine=engine,
            chunk=4_096,
            interval=0,
            cancel=token,
            progress=lambda event: event.done > 12_000 and token.cancel(),
        )


def test_the_sheet_is_not_in_the_source():
    cells = {"A1": 0.031416, "A2": "hello", "B1": "=A1*2.7777123"}
    simulation = mc.Simulation(workbook(cells), inputs={"A1": mc.Normal(100, 7)}, outputs=["B1"])
    assert not re.search(r"31416|77712|hello|Model!", render(simulation.compiled.program, TARGET).text)


# What NVRTC makes of it: needs the compiler, and no GPU

MODELS = {"cash flow": cash_flow, "roll-forward": roll_forward, "portfolio": lambda: portfolio(200)}
ARCHITECTURES = [f"sm_{each}" for each in os.environ.get("ULTRAMC_ARCHITECTURES", "90").split(",")]
CONTRACTED = re.compile(r"\b(mul|add|sub)\.f64")  # without a rounding mode the assembler may contract them
FORBIDDEN = re.compile(r"\b(atom|red|shfl|vote)\.")


def text_of(program, limit=400):
    return render(program, TARGET, limit).text


def wide(count, reach):
    """Each value of the `reach` last ones, so that as many live at once."""
    builder = Builder()
    values = [drawn(builder, row) for row in range(1, reach + 1)]
    for number in range(count):
        values.append(builder.append("sub", values[number], builder.append("mul", values[-1], values[number + reach // 2])))
    return program_with(builder, [values[-1]])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """One folder for all tests, apart from the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_of_models_fit_into_registers(name, architecture):
    cubin = compiled(nvrtc, text_of(MODELS[name]().simulation.compiled.program), architecture)
    assert cubin.path.read_bytes()[:4] == b"\x7fELF"
    assert 16 < cubin.registers <= 128
    assert cubin.spilled == 0


@pytest.mark.parametrize("name", MODELS)
def test_kernels_round_each_operation(name):
    ptx, _ = translated(nvrtc, text_of(MODELS[name]().simulation.compiled.program), "compute_90")
    text = ptx.decode()
    assert "mul.rn.f64" in text
    assert not CONTRACTED.search(text)
    assert not FORBIDDEN.search(text)
    assert ".local" not in text


def test_a_cubin_is_whole_and_read_from_the_cache(monkeypatch):
    text = text_of(self_test.PROGRAM)
    once = compiled(nvrtc, text, "sm_90")
    read = subprocess.run(["readelf", "-h", "-S", "-l", once.path], capture_output=True, text=True, check=True)
    assert "past end of file" not in read.stderr
    monkeypatch.setattr(nvrtc, "compileProgram", lambda *arguments: pytest.fail("compiled again"))
    assert compiled(nvrtc, text, "sm_90") == once


def test_what_needs_too_many_registers_is_cut():
    program = wide(400, 150)
    whole = compiled(nvrtc, text_of(program), "sm_90")
    assert whole.spilled > 0
    source, cubin = with_real_compiler()._fitting(program)
    assert source.functions > 2
    assert cubin.spilled == 0
    np.testing.assert_array_equal(payloads(OnShim(), program)[0], payloads(NumPyEngine(), program)[0])


def test_what_the_compiler_refuses_is_told():
    with pytest.raises(EngineError, match=r"NVRTC failed(.|\n)*nonsense"):
        translated(nvrtc, "nonsense", "sm_90")


def with_real_compiler():
    return CupyEngine(toolkit=Toolkit(toolkit().cupy, nvrtc))


# Without a device


NAMES = """
RawModule RawModule.get_function empty get_default_memory_pool ndarray.get ndarray.set ndarray.nbytes ndarray.data
cuda.Device cuda.Device.compute_capability cuda.Stream cuda.Stream.synchronize cuda.MemoryPointer.memset_async cuda.MemoryPool.free_bytes
cuda.runtime.getDeviceCount cuda.runtime.memGetInfo
cuda.memory.OutOfMemoryError cuda.runtime.CUDARuntimeError cuda.driver.CUDADriverError
"""


def test_no_name_is_used_that_cupy_lacks():
    assert [name for name in NAMES.split() if not is_there(cupy, name)] == []
    assert not is_there(cupy, "cuda.Stream.wait_for_ever")


def is_there(module, name):
    try:
        return attrgetter(name)(module) is not None
    except AttributeError:
        return False


def test_without_a_driver_the_engine_is_not_there(monkeypatch):
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", raising(cupy.cuda.runtime.CUDARuntimeError(35)))
    engine = CupyEngine()
    assert "cudaErrorInsufficientDriver" in engine.availability().reason
    with pytest.raises(EngineUnavailable, match="an NVIDIA GPU and its driver are needed"):
        engine.compile(self_test.PROGRAM)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "pip install 'ultramc[cupy]'" in CupyEngine().availability().reason


def test_a_missing_compiler_is_named():
    given = toolkit()
    given.nvrtc.getVersion = raising(RuntimeError("Failure finding libnvrtc.so"))
    assert "NVRTC" in CupyEngine(toolkit=given).availability().reason


def raising(error):
    def call(*arguments):
        raise error

    return call


# Faults: each ends in an error of its own, none in a result


def flipped(launch, arrays):
    arrays[-2].inside[77] ^= np.uint64(1 << 20)


def drifted(launch, arrays):
    arrays[-2].inside[:100].view(np.float64)[...] *= 1 + 1e-9


def exchanged(launch, arrays):
    outputs = arrays[-2].inside
    outputs[[3, 4]] = outputs[[4, 3]]


def lost(launch, arrays):
    arrays[-2].inside[10] = 2**64 - 1


def not_a_number(launch, arrays):
    arrays[-2].inside.view(np.float64)[5] = np.nan


def outside(launch, arrays):
    arrays[-2].inside[-1] = 0


def forgotten(launch, arrays):
    """Everything is as the launch before left it."""
    forgotten.kept, kept = [array.inside.copy() for array in arrays[-2:]], getattr(forgotten, "kept", None)
    if launch > 2:
        for array, before in zip(arrays[-2:], kept, strict=True):
            array.inside[...] = before


FAULTS = {
    "no device": ({"devices": 0}, EngineUnavailable, "CUDA finds no device"),
    **{f"out of memory at allocation {n}": ({"out_of_memory_at": n}, MemoryLimitExceeded, "would fit now") for n in range(1, 7)},
    "refused launch": ({"refuses_launch_at": 1}, DeviceError, "the GPU failed.*OUT_OF_RESOURCES"),
    "device lost": ({"is_lost_at": 1}, DeviceError, "the GPU failed.*unspecified launch failure"),
    "device lost later": ({"is_lost_at": 3}, DeviceError, "the GPU failed"),
    "kernel not run": ({"skips_launch_at": 1}, GPUValidationError, "no of 128 threads came to the end of kernel 0"),
    "kernel not run later": ({"skips_launch_at": 3}, GPUValidationError, "no of 128 threads"),
    "compilation": ({"log": "ptxas fatal"}, EngineError, "NVRTC failed.*ptxas fatal"),
    "one flipped bit": ({"alter": flipped}, GPUValidationError, "other outputs arrived"),
    "a drift of 1e-9 on the way": ({"alter": drifted}, GPUValidationError, "other outputs arrived"),
    "two iterations exchanged": ({"alter": exchanged}, GPUValidationError, "other outputs arrived"),
    "NaN on the way": ({"alter": not_a_number}, GPUValidationError, "other outputs arrived"),
    "an output not written": ({"alter": lost}, GPUValidationError, "left output 0 of iteration 10"),
    "a write behind the outputs": ({"alter": outside}, GPUValidationError, "wrote behind its outputs"),
    "outputs of the launch before": ({"alter": forgotten}, GPUValidationError, "no of 128 threads"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_in_its_own_error(name, tmp_path, monkeypatch):
    """Of a device that has given the self-test, and then fails. Two launches of 16,384 iterations after the one that is validated."""
    fault, error, words = FAULTS[name]
    device = toolkit()
    engine = CupyEngine(toolkit=device)
    engine.compile(self_test.PROGRAM)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for key, value in {"allocations": 0, "launches": 0, **fault}.items():
        setattr(device.cupy.faults, key, value)
    engine.chunk_blocks = lambda executable: 4
    with pytest.raises(error, match=re.compile(words, re.DOTALL)) as caught:
        cash_flow().simulation.run(32_768, seed=SEED, engine=engine)
    assert type(caught.value) is error
    if error is GPUValidationError:
        assert str(caught.value).startswith("GPU validation failed – simulation not executed")


def test_a_device_that_was_lost_stays_lost():
    device = toolkit(faults=Faults(is_lost_at=2))
    engine, simulation = CupyEngine(toolkit=device), cash_flow().simulation
    for _ in range(2):
        with pytest.raises(DeviceError, match="start a new one"):
            simulation.run(5_000, seed=SEED, engine=engine)


def test_a_small_device_is_told_what_it_lacks():
    with pytest.raises(MemoryLimitExceeded, match=r"128 iterations at once, the fewest, need [\d,]+ bytes"):
        CupyEngine(toolkit=toolkit(), memory=1_000).compile(self_test.PROGRAM)


def test_exchanged_whole_numbers_are_noticed():
    """Whose low bits are all 0, as those of counts and kinds."""
    words = np.floor(np.random.default_rng(1).uniform(0, 9, (2, 2**10))).view(np.uint64)
    vouchers = np.zeros((1, 8, 2), np.uint64)
    vouchers[..., 0] = 128 + 256 * 5
    made = np.arange(2**10, dtype=np.uint64)
    for row in words:
        made = on_cupy._mixed(made + row)
    vouchers[0, :, 1] = made.reshape(8, 128).sum(axis=1, dtype=np.uint64)
    on_cupy._check(words, vouchers, 5)
    for other in (words[::-1], np.roll(words, 1, axis=1)):
        with pytest.raises(GPUValidationError, match="other outputs arrived"):
            on_cupy._check(other, vouchers, 5)


# Kernels that are wrong: the text is changed before it is compiled


def replaced(old, new, *flags):
    def build(text, options):
        assert old in text
        return by_the_system(text.replace(old, new), options, *flags)

    build.__name__ = f"{old} -> {new} {flags}"  # not to be taken for another from the cache
    return build


STORE = "double given = value;"
WRONG = {
    "contraction": ("", "", "-O2", "-mfma", "-ffp-contract=fast"),
    "draws of the next iterations": ("(first + (uint64_t)blockIdx.x", "(first + 4 + (uint64_t)blockIdx.x"),
    "indexes of 32 bits": ("first + (uint64_t)blockIdx.x * THREADS", "(unsigned)first + blockIdx.x * THREADS"),
    "no barrier": ("__syncthreads();\n    return draws", "return draws"),
    "a plus for a minus": ("v9 = v8 - x3", "v9 = v8 + x3"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_kernel_does_not_pass_the_self_test(name):
    with pytest.raises(GPUValidationError, match="simulation not executed: the self-test gives other bits"):
        CupyEngine(toolkit=toolkit(replaced(*WRONG[name]))).compile(self_test.PROGRAM)


LATE = "double given = l + first > {} ? ({}) : value;"
DRIFTS = {
    "1e-8 from the beginning": (LATE.format(0, "value * (1 + 1e-8)"), "failed – simulation not executed.*0 on cupy|iterations differ"),
    "1e-8 late": (LATE.format(25_000, "value * (1 + 1e-8)"), "in iteration 28032; "),
    "NaN late": (LATE.format(20_000, "NAN"), "gave nan as a number in iteration 20001"),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_a_wrong_model_is_not_believed(name):
    store, words = DRIFTS[name]
    engine = CupyEngine(toolkit=toolkit(replaced(STORE, store)))
    engine._is_proven = True  # a device that is wrong in this model alone
    with pytest.raises(GPUValidationError, match=re.compile(words, re.DOTALL)) as caught:
        cash_flow().simulation.run(32_768, seed=SEED, engine=engine)
    assert str(caught.value).startswith("GPU validation failed – simulation not executed")


def test_numpy_may_run_instead_where_the_caller_says_so():
    engine = CupyEngine(toolkit=toolkit(replaced(STORE, "double given = value + 1;")))
    engine._is_proven = True
    simulation = cash_flow().simulation
    result = simulation.run(5_000, seed=SEED, engine=engine, on_invalid="numpy")
    assert result.engine == "numpy"
    assert "GPU validation failed" in result.validation
    np.testing.assert_array_equal(result["Model!B15"].samples, simulation.run(5_000, seed=SEED)["Model!B15"].samples)


# Memory: what a compiler's own checks say of the kernels

CHECKED = """
import sys
import cupy_stand_in as stand_in
import shim
from ultramc.contract.cases import CASES, program_of
from ultramc.engines.base import Job
from ultramc.engines.on_cupy import CupyEngine
old, new, ops = sys.argv[1], sys.argv[2], sys.argv[3:]

def build(text, options):
    return stand_in.by_the_system(text.replace(old, new) if old else text, options)

build.__name__ = new
shim.EXTRA += ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DWHOLE_CONTEXTS")
engine = CupyEngine(toolkit=stand_in.toolkit(build))
engine._is_proven = True
done = 0
for case in CASES:
    program = program_of(case)
    if set(program.ops()) <= engine.supports and case.op in ops:
        engine.run(engine.compile(program), Job(1, case.iterations), 0, case.iterations)
        done += 1
print(done)
"""
OPS = ("loop", "repeat", "window", "join", "gather", "search", "sort", "sum", "segment_sum", "transpose", "piecewise", "uniform")
PLANTED = {
    "a shelf too small": ("shelf[2][THREADS]", "shelf[2][THREADS - 1]"),
    "one cell beyond the outputs": ("AT(O, cell) = given", "AT(O, cell + 1000) = given"),
    "a voucher of the next block": ("own[0] = 256", "own[2] = 256"),
    "half the threads at a barrier": ("__syncthreads();\n    return draws", "if (threadIdx.x < 64) __syncthreads();\n    return draws"),
}


def checked(old, new, *ops):
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONPATH": paths}
    command = [sys.executable, "-c", CHECKED, old, new, *ops]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_sanitizers_find_nothing():
    done = checked("", "", *OPS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 50


@pytest.mark.parametrize("name", PLANTED)
def test_sanitizers_find_planted_faults(name):
    done = checked(*PLANTED[name], "uniform")
    assert done.returncode != 0
    words = "AddressSanitizer|runtime error|a barrier that some threads|wrote where nobody has memory"
    assert re.search(words, done.stderr), done.stderr[-2000:]
