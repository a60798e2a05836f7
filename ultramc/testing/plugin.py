"""A pytest plugin, opted into by name, that compares engines on one's own workbook:

    pytest -p ultramc.testing.plugin --ultramc-model budget.xlsx --ultramc-engines numpy,jax \\
        --ultramc-input "Inputs!B4=Triangular(90,100,130)" --ultramc-output NPV

Each engine is one test that it agrees with NumPy and, where pytest-benchmark is installed, one that times it; an engine that is
missing fails. The fixture `engine_benchmark` does the same in tests of one's own: `engine_benchmark(simulation, "jax")`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ultramc.arguments import at_least_one
from ultramc.cli import assignment
from ultramc.engines import registry
from ultramc.engines.base import Engine
from ultramc.results import Result
from ultramc.simulation import Simulation

SEED = 0
TESTS = Path(__file__).with_name("engine_tests.py")

Timed = Callable[..., Result]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ultramc", "engines of ultramc on a workbook")
    group.addoption("--ultramc-model", metavar="FILE", help="the workbook")
    group.addoption("--ultramc-engines", default="numpy", metavar="NAMES", help="separated by commas; each must be there (default: numpy)")
    group.addoption("--ultramc-iterations", type=int, default=100_000, metavar="N", help="of each round (default: 100000)")
    group.addoption(
        "--ultramc-input", action="append", default=[], type=assignment, metavar="REF=LAW", help="an uncertain cell; may be repeated"
    )
    group.addoption("--ultramc-output", action="append", default=[], metavar="REF", help="a cell to collect; may be repeated")


def pytest_configure(config: pytest.Config) -> None:
    """With a model there are tests, whatever else is collected."""
    if config.getoption("--ultramc-model"):
        config.args.append(str(TESTS))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "ultramc_engine" in metafunc.fixturenames:
        names = [name.strip() for name in metafunc.config.getoption("--ultramc-engines").split(",") if name.strip()]
        metafunc.parametrize("ultramc_engine", names)


@pytest.fixture(scope="session")
def ultramc_simulation(pytestconfig: pytest.Config) -> Simulation:
    """The simulation that the options describe. Raises what reading a workbook raises."""
    option = pytestconfig.getoption
    return Simulation(option("--ultramc-model"), inputs=dict(option("--ultramc-input")), outputs=option("--ultramc-output") or None)


@pytest.fixture
def engine_benchmark(benchmark: Any) -> Timed:
    """Times `run` of a simulation on an engine, after it was compared with NumPy; gives the result of the last round.

    Groups by workbook; `extra_info` holds iterations a second and how far the engine agrees.
    """

    def timed(simulation: Simulation, engine: str | Engine, *, iterations: int = 100_000, seed: int = SEED) -> Result:
        chosen, count = registry.engine(engine), at_least_one("iterations", iterations)
        benchmark.group = f"{simulation.workbook.file_name}, {count:,} iterations"
        benchmark.extra_info["agreement"] = str(simulation.validated(chosen, count, seed))
        result: Result = benchmark(simulation.run, count, engine=chosen, seed=seed, check="off", validate=False)
        if benchmark.stats:
            benchmark.extra_info["iterations_per_second"] = count / benchmark.stats.stats.median
        return result

    return timed
