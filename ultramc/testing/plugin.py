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
    """With a model there are tests: these alone, where no others are named. UsageError where the options make no sense."""
    if not config.getoption("--ultramc-model"):
        return
    if not _engines(config):
        raise pytest.UsageError("--ultramc-engines names none")
    _inputs(config)
    named = config.args if config.args_source is config.ArgsSource.ARGS else []
    config.args = [*named, str(TESTS)]


def _engines(config: pytest.Config) -> list[str]:
    return [name.strip() for name in config.getoption("--ultramc-engines").split(",") if name.strip()]


def _inputs(config: pytest.Config) -> dict[str, Any]:
    given = config.getoption("--ultramc-input")
    if len(dict(given)) < len(given):
        raise pytest.UsageError("--ultramc-input names a cell twice; name it once")
    return dict(given)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "ultramc_engine" in metafunc.fixturenames:
        metafunc.parametrize("ultramc_engine", _engines(metafunc.config))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Nothing is timed where pytest-benchmark is not there, or told not to."""
    if config.pluginmanager.hasplugin("benchmark") and not config.getoption("--benchmark-disable"):
        return
    timed = [item for item in items if item.path == TESTS and item.name.startswith("test_speed")]
    items[:] = [item for item in items if item not in timed]
    config.hook.pytest_deselected(items=timed)


@pytest.fixture(scope="session")
def ultramc_simulation(pytestconfig: pytest.Config) -> Simulation:
    """The simulation that the options describe. Raises what reading a workbook raises."""
    option = pytestconfig.getoption
    return Simulation(option("--ultramc-model"), inputs=_inputs(pytestconfig), outputs=option("--ultramc-output") or None)


@pytest.fixture
def engine_benchmark(benchmark: Any) -> Timed:
    """Times `run` of a simulation on an engine, after it was compared with NumPy; gives the result of the last round.

    Groups by workbook where no group was set; `extra_info` holds iterations a second and how far the engine agrees.
    """

    def timed(simulation: Simulation, engine: str | Engine, *, iterations: int = 100_000, seed: int = SEED) -> Result:
        chosen, count = registry.engine(engine), at_least_one("iterations", iterations)
        benchmark.group = benchmark.group or f"{simulation.workbook.file_name}, {count:,} iterations"
        benchmark.extra_info["agreement"] = str(simulation.validated(chosen, count, seed)) or "NumPy is what others are compared with"
        result: Result = benchmark(simulation.run, count, engine=chosen, seed=seed, check="off", validate=False)
        if benchmark.stats:
            benchmark.extra_info["iterations_per_second"] = count / benchmark.stats.stats.median
        return result

    return timed
