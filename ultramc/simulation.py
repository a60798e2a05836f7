"""The whole way on one page: read → graph → base case → compile → check → run → summarise."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, BinaryIO, Literal

import numpy as np
from attrs import frozen

from ultramc import candidates, checking, reference
from ultramc.address import CellRef, RangeRef
from ultramc.calculation import Calculation
from ultramc.compilation import Compilation, Compiled
from ultramc.distributions import Distribution, TimesBase
from ultramc.engines import registry
from ultramc.engines.base import Chunk, Engine, Job, chunk_iterations, execute
from ultramc.errors import (
    CheckError,
    EngineValidationError,
    FormulaError,
    InputError,
    MemoryLimitExceeded,
    NoOutputs,
    RunError,
    SimulationCancelled,
)
from ultramc.graph import Graph
from ultramc.logs import log
from ultramc.program import Builder, Operand, Slot, constant
from ultramc.results import Column, Input, Output, Result
from ultramc.sampling import Site, check_sampling, check_seed, new_seed, uniforms, whole
from ultramc.values import FIRST_ERROR, error_of
from ultramc.workbook import Cell, Workbook

MOST_WARNINGS = 20  # cells that keep their saved values
KEPT_CALL_SITES = 256  # cells with draws in the sheet whose values are kept as inputs
Reference = str | CellRef | RangeRef
Uncertain = Distribution | TimesBase | float
Progress = bool


@frozen(eq=False)
class InputCells:
    """An input as the caller named it: its cells, each with a law of its own or fixed to a number."""

    label: str
    cells: RangeRef
    laws: tuple[Distribution | float, ...]


class Simulation:
    """A workbook, its uncertain inputs, and the outputs to collect. Made once, run as often as you like.

    `workbook`: a `Workbook`, path, bytes or binary file. `inputs`: cell, range (an independent input per cell) or defined
    name → a distribution, or a number that fixes it. `outputs`: cells, ranges or names, or {label: reference}.
    `in_sheet=False` freezes draws that are written in the sheet at their saved values. `progress=True` shows a bar in each run.

    Raises UltramcError's children: ReferenceNotFound, InputError, NoOutputs, FormulaError where a formula between inputs
    and outputs is not supported. What it accepts can run. Immutable; may be used by several threads.
    """

    def __init__(
        self,
        workbook: Workbook | str | os.PathLike[str] | bytes | BinaryIO,
        *,
        inputs: Mapping[Any, Uncertain] | None = None,
        outputs: Sequence[Reference] | Mapping[str, Reference] | Reference | None = None,
        correlation: object = (),
        in_sheet: bool = True,
        dialect: str | None = None,
        progress: Progress = False,
        now: datetime | None = None,
    ) -> None:
        _refuse_later(correlation, dialect)
        self.workbook = workbook if isinstance(workbook, Workbook) else Workbook(workbook)
        self.progress = progress
        self.now = now or datetime.now()
        self.in_sheet = in_sheet
        self._arguments = {"inputs": inputs, "outputs": outputs, "in_sheet": in_sheet, "progress": progress, "now": self.now}
        self.graph = Graph.of(self.workbook)
        self.inputs = _inputs(self.workbook, inputs or {})
        self.outputs = _outputs(self.workbook, outputs, self.graph)
        self.calculation = Calculation.of(self.graph, now=self.now)
        self.calculation.propagate(self._needed_regions())
        self.warnings = self._warnings()
        self.compiled: Compiled = self._compilation.compile()

    # Run

    def run(
        self,
        iterations: int | None = None,
        *,
        engine: str | Engine = "auto",
        seed: int | None = None,
        sampling: str = "random",
        check: Literal["raise", "warn", "off"] = "raise",
        validate: bool = True,
        on_error: Literal["exclude", "raise"] = "exclude",
        progress: Progress | None = None,
        chunk: int | None = None,
        memory_limit: int | str | None = None,
    ) -> Result:
        """Execute `iterations` iterations and hand over their samples and statistics.

        `seed`: 0 ≤ seed < 2^64; None draws one and records it. `check`: what to do where the recalculated base case differs
        from Excel's cached values: "raise" a CheckError before anything runs, "warn" or "off". `on_error`: "exclude" leaves
        iterations that end in an error out of the statistics, and says so; "raise" stops at the first. `chunk`: iterations
        computed at once (default: as the engine likes); it never changes a result. `memory_limit`: bytes or "2GB" for buffers
        and samples (default: half of what is free).

        Raises InputError, CheckError, EngineUnavailable, UnsupportedOp, MemoryLimitExceeded, EngineValidationError, RunError
        (with `.run`, the result so far) and SimulationCancelled (on Ctrl-C, with `.result`).
        """
        _check_choice("check", check, ("raise", "warn", "off"))
        _check_choice("on_error", on_error, ("exclude", "raise"))
        job = Job(new_seed() if seed is None else check_seed(seed), _iterations(iterations), check_sampling(sampling))
        chosen = registry.engine(engine)
        checked = self._checked(check)
        executable = chosen.compile(self.compiled.program)
        size = self._chunk(chosen, executable, job, chunk, memory_limit)
        run = _Run(self, chosen, job, checked, on_error)
        log.info("run started", workbook=self.workbook.file_name, engine=chosen.name, iterations=job.iterations, seed=job.seed, chunk=size)
        run.execute(executable, size, self.progress if progress is None else progress)
        if validate:
            run.validate()
        result = run.result("completed")
        log.info("run completed", iterations=result.iterations, seconds=result.elapsed)
        return result

    def check(self) -> checking.CheckReport:
        """The cells that the outputs depend on, recalculated and compared with what Excel cached."""
        regions = sorted({index for group in self.graph.order(self._needed_regions()) for index in group})
        return checking.report(self.workbook, self.graph, self.calculation, regions, self.now)

    def draws(self, reference: Reference, *, first: int = 0, count: int, seed: int, sampling: str = "random") -> Any:
        """Iterations `first` to `first + count` of one input's draws, float64 (count,), without running the model."""
        check_sampling(sampling)
        cell = self.workbook.resolve(reference).first
        for given in self.inputs:
            if cell in given.cells:
                law = given.laws[list(given.cells.cells()).index(cell)]
                if isinstance(law, float):
                    return np.full(count, law)
                return law.quantile(uniforms(check_seed(seed), Site(cell.sheet, cell.row, cell.column), first, count))
        labels = ", ".join(given.label for given in self.inputs)
        raise InputError(f"{cell} is no input of this simulation; its inputs are {labels or 'none'}")

    def explain(self, reference: Reference) -> Any:
        """The way of one cell, stop by stop, with sample values."""
        from ultramc.explain import explain

        return explain(self, reference)

    # What the constructor works out

    def _needed_regions(self) -> list[int]:
        """The regions that outputs read first; `Graph.order` finds the rest."""
        return sorted({region.index for place in self.outputs.values() for region in self.graph.overlapping(place)})

    @cached_property
    def _compilation(self) -> Compilation:
        places = dict(self.outputs)
        for cell in self.call_sites[:KEPT_CALL_SITES]:
            places[f"\0{cell}"] = RangeRef.of(cell)
        for given in self.inputs:
            places[f"\0{given.label}"] = given.cells
        return Compilation(self.calculation, self.draws_of_inputs(), places, self.in_sheet)

    def draws_of_inputs(self) -> dict[CellRef, Callable[[Builder, Site], Operand]]:
        return {cell: _law_of(law) for given in self.inputs for cell, law in zip(given.cells.cells(), given.laws, strict=True)}

    @cached_property
    def call_sites(self) -> list[CellRef]:
        """Cells whose formulas draw, where draws in the sheet are made."""
        if not self.in_sheet:
            return []
        given = {cell for item in self.inputs for cell in item.cells.cells()}
        regions = sorted(self.calculation.drawing)
        return [cell for index in regions for cell in self.graph.regions[index].place.cells() if cell not in given]

    def _warnings(self) -> tuple[str, ...]:
        found = list(self.workbook.warnings)
        for given in self.inputs:
            replaced = [str(cell) for cell in given.cells.cells() if self.workbook.formula(cell) is not None]
            if replaced:
                found.append(f"input {given.label} replaces the formula in {', '.join(replaced[:5])}{' …' if len(replaced) > 5 else ''}")
        for place, error in self._kept_as_saved()[:MOST_WARNINGS]:
            found.append(f"{place} keeps its saved value: {error.reason}")
        if len(self.call_sites) > KEPT_CALL_SITES:
            found.append(f"of {len(self.call_sites):,} cells that draw, the values of the first {KEPT_CALL_SITES} are kept as inputs")
        return tuple(found)

    def _kept_as_saved(self) -> list[tuple[RangeRef, FormulaError]]:
        """Places without draws whose formulas could not be worked out."""
        lost, is_uncertain = self.calculation.lost, self._compilation.is_uncertain
        kept = self.calculation.unsupported.items()
        return [(place, error) for place, error in kept if place.first not in lost and not is_uncertain(place.first)]

    # Before a run

    def _checked(self, policy: str) -> str:
        if policy == "off":
            return "not checked, at the caller's wish"
        report = self.check()
        if not report.differences:
            return report.summary()
        if policy == "warn":
            return f"{report.summary()}, accepted by check='warn'"
        raise CheckError(
            f"{len(report.differences):,} cells that the outputs depend on differ from Excel's saved values, so nothing was run. "
            f"Look at them below; pass check='warn' to run all the same.\n{report!r}",
            report,
        )

    def _chunk(self, engine: Engine, executable: Any, job: Job, chunk: int | None, memory_limit: int | str | None) -> int:
        allowed = _bytes(memory_limit) if memory_limit is not None else _free_memory() // 2
        kept = sum(slot.cells.size * (8 if slot.kinds == 1 else 9) for slot in self.compiled.program.outputs) * job.iterations
        if kept > allowed:
            raise MemoryLimitExceeded(
                f"keeping the samples needs {kept:,} bytes, {allowed:,} are allowed; "
                "ask for fewer iterations or outputs, or raise memory_limit="
            )
        size = chunk_iterations(engine, executable, allowed - kept)
        return size if chunk is None else min(_at_least_one("chunk", chunk), job.iterations)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without what is compiled: another process makes it again."""
        return _made_again, (self.workbook, self._arguments)

    def __repr__(self) -> str:
        names = ", ".join(f"{given.label} ~ {given.laws[0]}" for given in self.inputs[:5])
        sites = f", {len(self.call_sites):,} cells that draw" if self.call_sites else ""
        return (
            f"Simulation of {self.workbook.file_name}: inputs {names or 'none'}{' …' if len(self.inputs) > 5 else ''}{sites}; "
            f"outputs {', '.join(self.outputs)}; "
            f"{self.compiled.lowered:,} cells in {len(self.compiled.program.instructions):,} instructions"
        )


def _made_again(workbook: Workbook, arguments: dict[str, Any]) -> Simulation:
    return Simulation(workbook, **arguments)


class _Run:
    """One run: where its samples go, and what becomes of it."""

    def __init__(self, simulation: Simulation, engine: Engine, job: Job, checked: str, on_error: str) -> None:
        self.simulation = simulation
        self.engine = engine
        self.job = job
        self.checked = checked
        self.on_error = on_error
        self.done = 0
        self.started = time.perf_counter()
        slots = simulation.compiled.program.outputs
        self.samples = {slot.label: np.empty((slot.cells.size, job.iterations)) for slot in slots}
        self.tags = {slot.label: np.zeros((slot.cells.size, job.iterations), np.uint8) for slot in slots if slot.kinds != 1}

    def execute(self, executable: Any, size: int, progress: bool) -> None:
        bar = _bar(self.job.iterations) if progress else None

        def receive(chunk: Chunk) -> None:
            self._keep(chunk)
            if bar is not None:
                bar.update(chunk.count)

        try:
            execute(self.engine, executable, self.job, size, receive, lambda: False)
        except KeyboardInterrupt:
            part = self.result("cancelled") if self.done else None
            raise SimulationCancelled(f"cancelled after {self.done:,} of {self.job.iterations:,} iterations", part) from None
        finally:
            if bar is not None:
                bar.close()
        if self.done != self.job.iterations:
            raise RunError(f"engine {self.engine.name!r} executed {self.done:,} of {self.job.iterations:,} iterations")

    def _keep(self, chunk: Chunk) -> None:
        place = slice(chunk.first, chunk.first + chunk.count)
        for slot, payload, tag in zip(self.simulation.compiled.program.outputs, chunk.payloads, chunk.tags, strict=True):
            self.samples[slot.label][:, place] = payload
            if slot.label in self.tags:
                self.tags[slot.label][:, place] = np.asarray(slot.tag if tag is None else tag)
        self.done += chunk.count
        for slot in self.simulation.compiled.program.outputs:
            self._check_sound(slot, chunk)

    def _check_sound(self, slot: Slot, chunk: Chunk) -> None:
        place = slice(chunk.first, chunk.first + chunk.count)
        samples = self.samples[slot.label][:, place]
        tags = self.tags[slot.label][:, place] if slot.label in self.tags else None
        unsound = ~np.isfinite(samples) if tags is None else ~np.isfinite(samples) & (tags < FIRST_ERROR)
        if unsound.any():
            cell, iteration = np.argwhere(unsound)[0]
            raise EngineValidationError(
                f"engine {self.engine.name!r} gave {samples[cell, iteration]} as a number "
                f"in iteration {chunk.first + iteration} of {slot.cells}"
            )
        if tags is not None and self.on_error == "raise" and not slot.label.startswith("\0") and (tags >= FIRST_ERROR).any():
            cell, iteration = np.argwhere(tags >= FIRST_ERROR)[0]
            raise RunError(
                f"{slot.cells} is {error_of(int(tags[cell, iteration]))} in iteration {chunk.first + iteration}; "
                "pass on_error='exclude' to leave such iterations out",
                self.result("failed"),
            )

    def validate(self) -> None:
        """Eight iterations again by the reference interpreter, the first that failed among them."""
        reference.confirm(self.simulation.compiled.program, self.job, self._to_confirm(), self.samples, self.tags, self.engine.name)

    def _to_confirm(self) -> list[int]:
        failed = [int(np.argmax((tags >= FIRST_ERROR).any(axis=0))) for tags in self.tags.values() if (tags >= FIRST_ERROR).any()]
        return sorted({*range(min(8, self.job.iterations)), *failed[:1]})[-8:]

    def result(self, state: str) -> Result:
        simulation, done = self.simulation, self.done
        columns = {slot.label: self._column(slot, done) for slot in simulation.compiled.program.outputs}
        inputs = {given.label: Input(columns["\0" + given.label], _described(given)) for given in simulation.inputs}
        for cell in simulation.call_sites[:KEPT_CALL_SITES]:
            inputs[str(cell)] = Input(columns[f"\0{cell}"], f"={simulation.workbook.formula_text(cell)}")
        result = Result(
            state=state,
            iterations=done,
            engine=self.engine.name,
            seed=self.job.seed,
            sampling=self.job.sampling,
            elapsed=time.perf_counter() - self.started,
            workbook=simulation.workbook.file_name,
            workbook_sha256=simulation.workbook.sha256,
            outputs={label: Output(columns[label], inputs) for label in simulation.outputs},
            inputs=inputs,
            warnings=simulation.warnings,
            check=self.checked,
            versions=versions(),
        )
        if state == "completed":
            self._refuse_empty(result)
        return result

    def _refuse_empty(self, result: Result) -> None:
        for label, tags in self.tags.items():
            if label in result.outputs and (tags >= FIRST_ERROR).all(axis=1).any():
                counts = _counts(result.outputs[label].errors)
                raise RunError(f"{label} is an error in every one of {self.done:,} iterations: {counts}", result)

    def _column(self, slot: Slot, done: int) -> Column:
        label = slot.label.removeprefix("\0")
        samples = self.samples[slot.label][:, :done].T
        tags = self.tags[slot.label][:, :done].T if slot.label in self.tags else None
        if tags is not None:
            samples[tags >= FIRST_ERROR] = np.nan
        cells = tuple(slot.cells.cells())
        base = tuple(self.simulation.workbook.value(cell) for cell in cells)
        return Column(label, cells, (slot.cells.height, slot.cells.width), samples, tags, self.simulation.compiled.program.texts, base)


def _counts(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in errors.items())


def _described(given: InputCells) -> str:
    laws = list(dict.fromkeys(str(law) for law in given.laws))
    return laws[0] if len(laws) == 1 else f"{laws[0]} and {len(laws) - 1} more"


def _law_of(law: Distribution | float) -> Callable[[Builder, Site], Operand]:
    if isinstance(law, float):
        return lambda builder, site: constant(law)
    return lambda builder, site: law.emit_quantile(builder.emit, builder.emit("uniform", site=site, shape=(1, 1, 1, 1)))


# Arguments


def _refuse_later(correlation: object, dialect: str | None) -> None:
    if not (correlation is None or (isinstance(correlation, (tuple, list)) and not correlation)):
        raise InputError("correlation= is not supported yet, and ignored it would give wrong numbers; leave it out for independent inputs")
    if dialect is not None:
        raise InputError(f"dialect={dialect!r}: only Excel's own draws (RAND, RANDBETWEEN) are read from the sheet yet; leave it out")


def _check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InputError(f"{name}={value!r}: one of {', '.join(map(repr, allowed))}")


def _iterations(iterations: object) -> int:
    if iterations is None:
        raise InputError("say how many iterations to run: sim.run(100_000)")
    return _at_least_one("iterations", iterations)


def _at_least_one(name: str, value: object) -> int:
    number = whole(name, value)
    if number < 1:
        raise InputError(f"{name}={number}: a whole number of at least 1")
    return number


def _inputs(book: Workbook, given: object) -> tuple[InputCells, ...]:
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise InputError(f"inputs={kind}: give a mapping from cells, ranges or names to distributions: {{'Costs!B4': mc.Normal(100, 10)}}")
    found: dict[CellRef, str] = {}
    made = []
    for key, law in given.items():
        place = book.resolve(key)
        for cell in place.cells():
            if cell in found:
                raise InputError(f"{cell} is given twice, as {found[cell]!r} and as {str(key)!r}; name it once")
            found[cell] = str(key)
        made.append(InputCells(str(key), place, tuple(_law(book, cell, str(key), law) for cell in place.cells())))
    return tuple(made)


def _law(book: Workbook, cell: CellRef, key: str, law: Uncertain) -> Distribution | float:
    base = book.value(cell)
    is_formula = book.formula(cell) is not None
    if not is_formula and not (isinstance(base, (float, int)) and not isinstance(base, bool)):
        held = "is blank" if base is None else f"holds {base!r}"
        raise InputError(f"input {key!r}: {cell} {held}; an input must be a cell with a number{_nearby(book, cell)}")
    if isinstance(law, TimesBase):
        return law.resolve(base, str(cell))
    if isinstance(law, Distribution):
        return law
    if isinstance(law, (int, float, np.integer)) and not isinstance(law, bool) and np.isfinite(law):
        return float(law)
    raise InputError(f"input {key!r}: {law!r} is neither a distribution, such as mc.Normal(100, 10), nor a finite number")


def _nearby(book: Workbook, cell: CellRef) -> str:
    below = [CellRef(cell.sheet, cell.row, cell.column + 1), CellRef(cell.sheet, cell.row + 1, cell.column)]
    close = [str(other) for other in below if isinstance(book.value(other), float)]
    return f"; did you mean {close[0]}?" if close else ""


def _outputs(book: Workbook, given: object, graph: Graph) -> dict[str, RangeRef]:
    if given is None:
        listed = "\n".join(f"  {_candidate(cell)}" for cell in candidates.outputs(book, graph)[:10])
        hint = f"candidates are\n{listed}" if listed else "it has no formulas"
        raise NoOutputs(f"name the cells to collect: outputs=[…]. {book.file_name} declares none; {hint}")
    if isinstance(given, Mapping):
        items: Iterable[tuple[str, Any]] = ((str(label), reference) for label, reference in given.items())
    else:
        references = [given] if isinstance(given, (str, CellRef, RangeRef)) or not isinstance(given, Iterable) else list(given)
        items = ((str(reference), reference) for reference in references)
    found: dict[str, RangeRef] = {}
    for label, reference_ in items:
        if label in found:
            raise InputError(f"output {label!r} is named twice")
        found[label] = book.resolve(reference_)
    if not found:
        raise NoOutputs("outputs=[] names no cell to collect")
    return found


def _candidate(cell: Cell) -> str:
    return "  ".join(str(part) for part in (cell.ref, cell.label, cell.value) if part not in ("", None))


def _bytes(limit: int | str) -> int:
    """2_000_000_000, "2GB", "500 MB" or "1.5GiB"."""
    number = _read_bytes(limit) if isinstance(limit, str) else limit
    if isinstance(number, bool) or not isinstance(number, (int, float, np.integer)) or not 0 < number < np.inf:
        raise InputError(f"memory_limit={limit!r}: bytes, or text such as '2GB'")
    return int(number)


UNITS = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def _read_bytes(text: str) -> float:
    from difflib import get_close_matches

    digits = text.strip().rstrip("abgikmtABGIKMT ")
    unit = text.strip()[len(digits) :].strip().upper() or "B"
    try:
        return float(digits) * UNITS[unit]
    except (ValueError, KeyError):
        close = [] if unit in UNITS else get_close_matches(unit, UNITS, 1)
        raise InputError(f"memory_limit={text!r}: bytes, or text such as '2GB'{f'; did you mean {close[0]}?' if close else ''}") from None


def _free_memory() -> int:
    """Bytes that are free now, as the system says; 4 GB where it does not."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        return sizes["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        return 4_000_000_000


def _bar(total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, unit=" iterations", unit_scale=True, desc="ultramc")


def versions() -> dict[str, str]:
    """What a result must name to be reproduced."""
    from importlib.metadata import version

    import scipy

    return {"ultramc": version("ultramc"), "numpy": np.__version__, "scipy": scipy.__version__, "python": platform.python_version()}
