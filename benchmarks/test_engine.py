"""The NumPy engine against NumPy by hand: the same model, the same draws, in one run.

`pytest benchmarks --benchmark-enable --benchmark-only --benchmark-group-by=group` prints both; ratios are what counts.
"""

import numpy as np
import pytest
from models import SEED, cash_flow, roll_forward

from ultramc.engines.on_numpy import NumPyEngine

ITERATIONS = 131_072
MODELS = {"roll-forward": roll_forward, "cash flow": cash_flow}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return request.param, MODELS[request.param]()


def run(simulation, threads=1, blocks=None):
    return simulation.run(ITERATIONS, seed=SEED, engine=NumPyEngine(threads=threads, blocks=blocks), validate=False, check="off")


def test_by_hand(model, benchmark):
    name, made = model
    benchmark.group = name
    assert len(benchmark(made.by_hand, ITERATIONS)[0]) == ITERATIONS


@pytest.mark.parametrize("threads", [1, 2])
def test_engine(model, benchmark, threads):
    name, made = model
    benchmark.group = name
    result = benchmark(run, made.simulation, threads)
    for label, by_hand in zip(made.simulation.outputs, made.by_hand(ITERATIONS), strict=True):
        np.testing.assert_allclose(result[label].samples, by_hand, rtol=1e-9)


@pytest.mark.parametrize("blocks", [1, 2, 4, 8, 16])
def test_chunk_size(benchmark, blocks):
    benchmark.group = "chunk size, roll-forward"
    model = roll_forward()
    assert benchmark(run, model.simulation, 1, blocks).iterations == ITERATIONS
