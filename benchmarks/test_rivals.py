"""The engines against the same models written by hand, in NumPy, C, JAX and Numba, with the same draws, in one run.

`pytest benchmarks/test_rivals.py --benchmark-enable --benchmark-only` prints a table of ratios for each model; the shortest of seven rounds
counts. Whoever is timed has first given the numbers of NumPy by hand. An engine's run keeps the samples of the inputs too;
"engine alone" is without what `Simulation.run` does with chunks.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from models import SEED, Model, cash_flow, portfolio, roll_forward
from ratios import SECONDS

import ultramc as mc
from ultramc.engines.base import CANONICAL_BLOCK, Chunk, Engine, Executable, Job, execute
from ultramc.engines.on_jax import JaxEngine
from ultramc.engines.on_native import NativeEngine
from ultramc.engines.on_numpy import NumPyEngine

# name: (what makes it, name of the function by hand, its first arguments, iterations)
MODELS = {
    "cash flow": (cash_flow, "cash_flow", (), 1_000_000),
    "roll-forward": (roll_forward, "roll_forward", (), 262_144),
    "portfolio of 500 rows": (partial(portfolio, 500), "portfolio", (500,), 65_536),
    "portfolio": (portfolio, "portfolio", (5_000,), 4_096),
}
# who: (module, keywords)
BY_HAND = {
    "C by hand": ("rivals_c", {}),
    "C by hand, one thread": ("rivals_c", {"threads": 1}),
    "C by hand, one thread, with Excel's snapping": ("rivals_c", {"threads": 1, "more": ("-DEXCEL",)}),
    "Numba by hand": ("rivals_numba", {}),
    "Numba by hand, one thread": ("rivals_numba", {"threads": 1}),
    "JAX by hand": ("rivals_jax", {}),
}
ENGINES = {
    "numpy": NumPyEngine(),
    "native": NativeEngine(),
    "native, one thread": NativeEngine(threads=1),
    "jax": JaxEngine(),
}
ROUNDS = 7


Outputs = list[np.ndarray]


@cache
def model(name: str) -> Model:
    return MODELS[name][0]()


@cache
def expected(name: str) -> Outputs:
    return model(name).by_hand(MODELS[name][3])


@pytest.fixture
def timed(benchmark, request):
    """Times some work, once what is `read` from its result is what NumPy by hand gives."""

    def time(name: str, who: str, work: Callable[[], Any], read: Callable[[Any], Outputs] = lambda result: result) -> None:
        for found, want in zip(read(work()), expected(name), strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-9 * np.sqrt(np.mean(want**2)))
        benchmark.group = name
        benchmark.pedantic(work, rounds=ROUNDS)
        if benchmark.stats:
            request.config.stash[SECONDS][name, who] = benchmark.stats.stats.min

    return time


@pytest.mark.parametrize("name", MODELS)
def test_numpy_by_hand(name, timed):
    timed(name, "NumPy by hand", partial(model(name).by_hand, MODELS[name][3]))


@pytest.mark.parametrize("who", BY_HAND)
@pytest.mark.parametrize("name", MODELS)
def test_by_hand(name, who, timed):
    (_, function, first, iterations), (module, keywords) = MODELS[name], BY_HAND[who]
    timed(name, who, partial(getattr(import_module(module), function), *first, iterations, **keywords))


@pytest.mark.parametrize("who", ENGINES)
@pytest.mark.parametrize("name", MODELS)
def test_run(name, who, timed):
    simulation, outputs = model(name).simulation, model(name).simulation.outputs
    work = partial(simulation.run, MODELS[name][3], seed=SEED, engine=ENGINES[who], validate=False, check="off")
    timed(name, who, work, lambda result: [result[label].samples for label in outputs])


@pytest.mark.parametrize("who", ["native", "native, one thread"])
@pytest.mark.parametrize("name", MODELS)
def test_engine_alone(name, who, timed):
    simulation, engine, job = model(name).simulation, ENGINES[who], Job(SEED, MODELS[name][3])
    executable = simulation.executable(engine)
    timed(name, f"{who}, engine alone", partial(chunks_of, engine, executable, job), partial(outputs_of, simulation))


def chunks_of(engine: Engine, executable: Executable, job: Job) -> list[Chunk]:
    parts: list[Chunk] = []
    execute(engine, executable, job, engine.chunk_blocks(executable) * CANONICAL_BLOCK, parts.append, lambda: False)
    return parts


def outputs_of(simulation: mc.Simulation, parts: list[Chunk]) -> Outputs:
    wholes = [np.concatenate(payloads, axis=1) for payloads in zip(*(part.payloads for part in parts), strict=True)]
    return [whole.T if len(whole) > 1 else whole[0] for whole in wholes[: len(simulation.outputs)]]
