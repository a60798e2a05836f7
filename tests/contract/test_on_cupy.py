"""The CuPy engine on a real GPU, beyond the contract: collected where `--engines` names it, which needs one."""

import numpy as np
import pytest
from hypothesis import given, settings
from models import cash_flow, portfolio, roll_forward
from random_programs import COUNT, JOB, programs
from random_workbooks import agree_on, models

from ultramc.engines import self_test
from ultramc.engines.base import Job
from ultramc.engines.on_cupy import CupyEngine
from ultramc.engines.on_numpy import NumPyEngine

pytestmark = pytest.mark.gpu
ENGINE = CupyEngine()
SEED = 7


def payloads(engine, program):
    return engine.run(engine.compile(program), JOB, 0, COUNT).payloads


def test_known_bits():
    chunk = ENGINE.run(ENGINE.compile(self_test.PROGRAM), self_test.JOB, self_test.FIRST, self_test.COUNT)
    assert self_test.digest(chunk) == self_test.DIGEST


@settings(max_examples=60)
@given(programs(exact=True))
def test_random_programs_agree_with_numpy(program):
    for one, other in zip(payloads(ENGINE, program), payloads(NumPyEngine(), program), strict=True):
        assert np.array_equal(one, other, equal_nan=True), str(program)


@settings(max_examples=40)
@given(models())
def test_random_workbooks_agree_with_numpy(model):
    agree_on(model, ENGINE)


@pytest.mark.parametrize("model", [cash_flow, roll_forward, portfolio])
def test_a_million_iterations_by_hand(model):
    made = model(100) if model is portfolio else model()
    iterations = 100_000 if model is portfolio else 1_000_000
    result = made.simulation.run(iterations, seed=42, engine=ENGINE)
    for label, by_hand in zip(made.simulation.outputs, made.by_hand(iterations), strict=True):
        np.testing.assert_allclose(result[label].samples, by_hand, rtol=1e-9)


@pytest.mark.parametrize("sampling", ["antithetic", "latin_hypercube", "sobol"])
def test_samplings_are_those_of_numpy(sampling):
    simulation = cash_flow().simulation
    one, other = (simulation.run(4_000, seed=SEED, sampling=sampling, engine=engine) for engine in (ENGINE, "numpy"))
    for label, draws in other.inputs.items():
        np.testing.assert_allclose(one.inputs[label].samples, draws.samples, rtol=1e-12)


def test_smaller_launches_change_no_bit():
    program, job = roll_forward().simulation.compiled.program, Job(SEED, 30_000)
    small = CupyEngine(memory=2_000_000)
    plan = small.compile(program)
    assert plan.iterations < 30_000
    for one, other in zip(
        small.run(plan, job, 0, 30_000).payloads, ENGINE.run(ENGINE.compile(program), job, 0, 30_000).payloads, strict=True
    ):
        np.testing.assert_array_equal(one, other)
