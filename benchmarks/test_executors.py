"""What it costs to have a run carried out elsewhere: by one thread here, and by one worker of each kind of executor.

`pytest benchmarks/test_executors.py --benchmark-enable --benchmark-only --benchmark-group-by=group`; ratios are what counts. Chunks
take half a second and more. The first round of a worker, which imports and compiles, is not counted. Samples come back to the caller:
the roll-forward has 88 bytes of them for a microsecond of work, the portfolio 2,120 for a hundred; the engine that only waits has next
to none, which leaves the price of the executor itself. Two workers show what the second one brings.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial

import pytest
from models import SEED, Waiting, portfolio, roll_forward, two_cells

import ultramc as mc
from ultramc.engines.on_numpy import NumPyEngine

# name: (what makes it, engine, iterations, those of a chunk of half a second and more)
MODELS = {
    "waiting": (two_cells, Waiting(), 10_000, 1_000),
    "roll-forward": (roll_forward, NumPyEngine(), 2_621_440, 655_360),
    "portfolio of 5,000": (partial(portfolio, 5_000), NumPyEngine(), 32_768, 8_192),
}


@contextmanager
def dask(workers):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def here(workers):
    yield None


EXECUTORS = {
    "here": (here, 1),
    "a thread": (ThreadPoolExecutor, 1),
    "a process": (mc.process_pool, 1),
    "Dask": (dask, 1),
    "two processes": (mc.process_pool, 2),
    "Dask, two": (dask, 2),
}


@cache
def simulation(name):
    made = MODELS[name][0]()
    return made if isinstance(made, mc.Simulation) else made.simulation


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # Dask's connections
@pytest.mark.parametrize("where", EXECUTORS)
@pytest.mark.parametrize("name", MODELS)
def test_carried_out(name, where, benchmark):
    benchmark.group = name
    _, engine, iterations, chunk = MODELS[name]
    make, workers = EXECUTORS[where]
    with make(workers) as executor:
        options = {"seed": SEED, "engine": engine, "validate": False, "check": "off", "executor": executor, "chunk": chunk}
        result = benchmark.pedantic(simulation(name).run, args=(iterations,), kwargs=options, rounds=5, warmup_rounds=1)
    assert result.state == "completed"
