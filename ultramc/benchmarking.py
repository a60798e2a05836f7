"""Engines side by side on one simulation: whether they agree, and how long they take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from ultramc import plots
from ultramc.arguments import at_least_one
from ultramc.engines import registry
from ultramc.engines.base import Engine
from ultramc.errors import EngineError, InputError, UltramcError, optional
from ultramc.report import Shown, Table, number
from ultramc.sampling import check_seed
from ultramc.simulation import Simulation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNITS = ((2**30, "GB"), (2**20, "MB"), (2**10, "kB"), (1, "B"))


@frozen
class Timing:
    """One engine: `agreement` with NumPy in words; or `refusal`, why it was not timed.

    `compile_seconds` of a program, little where a library of it was kept; `seconds` of each round; `bytes` of working memory.
    """

    engine: str
    iterations: int
    agreement: str = ""
    refusal: str = ""
    compile_seconds: float = 0.0
    seconds: tuple[float, ...] = ()
    bytes: int = 0
    threads: int = 1

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def iterations_per_second(self) -> float:
        return self.iterations / self.median


@frozen(repr=False)
class Benchmark(Shown):
    """Engines in the order asked for; speeds are relative to the first that ran."""

    workbook: str
    rows: tuple[Timing, ...]

    @property
    def timed(self) -> tuple[Timing, ...]:
        return tuple(row for row in self.rows if row.seconds)

    def speed(self, row: Timing) -> float:
        """How many times as fast as the first engine that ran."""
        return self.timed[0].median / row.median

    def table(self) -> Table:
        first = self.timed[0]
        return Table(
            title=f"{self.workbook}: engines side by side",
            subtitle=f"{first.iterations:,} iterations, median of {len(first.seconds)} rounds",
            headers=("", "iterations/s", f"{first.engine} = 1", "seconds", "fastest", "compile", "memory", "threads"),
            rows=tuple(self._row(row) for row in self.timed),
            notes=tuple(f"{row.engine}: {row.refusal or row.agreement}" for row in self.rows if row.refusal or row.agreement),
        )

    def _row(self, row: Timing) -> tuple[str, ...]:
        times = (number(value, 3) for value in (row.median, min(row.seconds), row.compile_seconds))
        speed = number(self.speed(row), 3)
        return row.engine, number(round(row.iterations_per_second)), speed, *times, _size(row.bytes), str(row.threads)

    def to_frame(self) -> Any:
        """A pandas DataFrame, one row for each engine that was timed. MissingExtra where pandas is not installed."""
        pandas = optional("pandas", "parquet")
        columns = ("engine", "iterations_per_second", "median", "compile_seconds", "bytes", "threads", "agreement")
        return pandas.DataFrame([{name: getattr(row, name) for name in columns} for row in self.timed])

    def plot(self) -> Figure:
        """Iterations a second as bars. MissingExtra where matplotlib is not installed."""
        bars = [(row.engine, row.iterations_per_second) for row in self.timed]
        return plots.bars(bars, f"{self.workbook}: engines side by side", "iterations a second")


def benchmark(
    simulation: Simulation,
    engines: str | Sequence[str | Engine] | None = None,
    *,
    iterations: int = 100_000,
    seed: int = 0,
    rounds: int = 3,
) -> Benchmark:
    """Run one simulation on several engines (default: all that can run here), with the same draws.

    Each is compared with NumPy first; one that differs, is missing, lacks an op or fails is listed with its reason and not timed. Rounds
    alternate, so that whatever else the machine does slows all alike. Raises InputError, and EngineError where none could be timed.
    """
    count, seed, turns = at_least_one("iterations", iterations), check_seed(seed), at_least_one("rounds", rounds)
    available = [info.name for info in registry.available_engines() if info.available]
    chosen = available if engines is None else [engines] if isinstance(engines, str) else list(engines)
    if not chosen:
        raise InputError("engines= names none; leave it out for all that can run here")
    prepared = [_prepared(simulation, engine, count, seed) for engine in chosen]
    for _ in range(turns):
        prepared = [(engine, _timed(simulation, engine, row, seed)) for engine, row in prepared]
    rows = tuple(row for _, row in prepared)
    if not any(row.seconds for row in rows):
        raise EngineError("no engine could be timed: " + "; ".join(f"{row.engine}: {row.refusal}" for row in rows))
    return Benchmark(simulation.workbook.file_name, rows)


def _prepared(simulation: Simulation, choice: str | Engine, iterations: int, seed: int) -> tuple[Engine | None, Timing]:
    """Compiled anew, and compared with NumPy. An engine that fails, however it does, must not hide the others."""
    row = Timing(choice if isinstance(choice, str) else choice.name, iterations)
    try:
        engine = registry.engine(choice)
        seconds, executable = _clocked(lambda: simulation.executable(engine, anew=True))
        memory = engine.bytes_per_iteration(executable) * engine.iterations_at_once(executable) * engine.threads
        agreed = simulation.validated(engine, iterations, seed)
    except InputError:
        raise
    except Exception as error:
        return None, evolve(row, refusal=_reason(error))
    return engine, evolve(row, compile_seconds=seconds, bytes=memory, threads=engine.threads, agreement=str(agreed))


def _timed(simulation: Simulation, engine: Engine | None, row: Timing, seed: int) -> Timing:
    if engine is None or row.refusal:
        return row
    try:
        seconds, _ = _clocked(lambda: simulation.run(row.iterations, engine=engine, seed=seed, check="off", validate=False))
    except KeyboardInterrupt:
        raise
    except Exception as error:
        return evolve(row, seconds=(), refusal=_reason(error))
    return evolve(row, seconds=(*row.seconds, seconds))


def _reason(error: Exception) -> str:
    """In one line; what is not our own by its type too."""
    text = (str(error).splitlines() or [""])[0]
    return text if isinstance(error, UltramcError) else f"{type(error).__name__}: {text}"


def _clocked(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _size(size: int) -> str:
    unit, name = next(((unit, name) for unit, name in _UNITS if size >= unit), _UNITS[-1])
    return f"{number(size / unit, 3)} {name}"
