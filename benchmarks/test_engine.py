"""Engines against NumPy by hand, and blocks and loops against cells one by one: the same models and draws, in one run.

`pytest benchmarks/test_engine.py --benchmark-enable --benchmark-only --benchmark-group-by=group` prints them side by side; ratios
are what counts.
"""

from functools import cache, partial

import numpy as np
import pytest
from models import SEED, Model, cash_flow, portfolio, roll_forward

from ultramc.engines.base import Engine
from ultramc.engines.on_cupy import CupyEngine
from ultramc.engines.on_jax import JaxEngine
from ultramc.engines.on_native import NativeEngine
from ultramc.engines.on_numpy import NumPyEngine

# name: (what makes it, iterations)
MODELS = {
    "roll-forward": (roll_forward, 131_072),
    "roll-forward, a million": (roll_forward, 1_000_000),
    "cash flow": (cash_flow, 131_072),
    "cash flow, a million": (cash_flow, 1_000_000),
    "portfolio": (portfolio, 4_096),
    "portfolio of 500 rows": (partial(portfolio, 500), 16_384),
}
ENGINES = {
    "numpy": NumPyEngine(),
    "numpy, two threads": NumPyEngine(threads=2),
    "native": NativeEngine(),
    "native, one thread": NativeEngine(threads=1),
    "jax": JaxEngine(),
    **({"cupy": CupyEngine()} if CupyEngine().availability().available else {}),  # the header says where it is not
}
ONE_BY_ONE = ("roll-forward", "cash flow", "portfolio of 500 rows")  # one by one, 5,000 rows would take minutes


@cache
def model(name: str, unrolled: bool = False) -> Model:
    return MODELS[name][0](unrolled=unrolled)


def run(made: Model, iterations: int, engine: Engine | str = "numpy"):
    """What the engine has compiled in the first run serves the others."""
    return made.simulation.run(iterations, seed=SEED, engine=engine, validate=False, check="off")


@pytest.mark.parametrize("name", MODELS)
def test_by_hand(name, benchmark):
    benchmark.group = name
    iterations = MODELS[name][1]
    assert len(benchmark(model(name).by_hand, iterations)[0]) == iterations


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", MODELS)
def test_engine(name, engine, benchmark):
    benchmark.group = name
    made, iterations = model(name), MODELS[name][1]
    result = benchmark(run, made, iterations, ENGINES[engine])
    for label, by_hand in zip(made.simulation.outputs, made.by_hand(iterations), strict=True):
        np.testing.assert_allclose(result[label].samples, by_hand, rtol=1e-9)


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_one_by_one(name, benchmark):
    benchmark.group = name
    made, iterations = model(name, unrolled=True), MODELS[name][1]
    result = benchmark(run, made, iterations)
    expected = run(model(name), iterations)
    for label in made.simulation.outputs:
        np.testing.assert_array_equal(result[label].samples, expected[label].samples)


@pytest.mark.parametrize("unrolled", [False, True])
@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_compile(name, unrolled, benchmark):
    """From the file to a program: reading, base case and compilation."""
    benchmark.group = f"compile, {name}"
    made = benchmark.pedantic(MODELS[name][0], kwargs={"unrolled": unrolled}, rounds=3)
    assert made.simulation.compiled.unrolled == {}


@pytest.mark.parametrize("blocks", [1, 2, 4, 8, 16])
def test_chunk_size(benchmark, blocks):
    benchmark.group = "chunk size, roll-forward"
    made, iterations = model("roll-forward"), MODELS["roll-forward"][1]
    assert benchmark(run, made, iterations, NumPyEngine(blocks=blocks)).iterations == iterations
