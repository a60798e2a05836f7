"""What `--ultramc-model` asks for: each engine agrees with NumPy, and how long it takes. Collected by the plugin only."""

import pytest

from ultramc.engines import registry
from ultramc.simulation import Simulation
from ultramc.testing.plugin import SEED, Timed


def iterations_of(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--ultramc-iterations"))


def test_agrees(ultramc_simulation: Simulation, ultramc_engine: str, request: pytest.FixtureRequest) -> None:
    ultramc_simulation.validated(registry.engine(ultramc_engine), iterations_of(request), SEED)


def test_speed(ultramc_simulation: Simulation, ultramc_engine: str, engine_benchmark: Timed, request: pytest.FixtureRequest) -> None:
    count = iterations_of(request)
    assert engine_benchmark(ultramc_simulation, ultramc_engine, iterations=count).iterations == count
