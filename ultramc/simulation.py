"""The whole way on one page: read → graph → base case → compile → check → run → summarise."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from ultramc import checking
from ultramc.address import CellRef, RangeRef
from ultramc.arguments import (
    Reference,
    Uncertain,
    at_least_one,
    bytes_of,
    check_choice,
    free_memory,
    iteration_count,
    refuse_later,
    resolved_inputs,
    resolved_outputs,
)
from ultramc.calculation import Calculation
from ultramc.compilation import Compilation, Compiled, trimmed
from ultramc.distributions import Distribution
from ultramc.engines import registry
from ultramc.engines.base import Engine, Job, chunk_iterations
from ultramc.errors import CheckError, FormulaError, InputError, MemoryLimitExceeded
from ultramc.graph import Graph
from ultramc.logs import log
from ultramc.program import Builder, Operand, Program, Ref
from ultramc.report import counted
from ultramc.results import Result
from ultramc.running import HIDDEN, Run
from ultramc.sampling import Site, check_sampling, check_seed, new_seed, uniforms
from ultramc.workbook import Workbook

if TYPE_CHECKING:
    from ultramc.explain import Explanation

MOST_WARNINGS = 20  # cells that keep their saved values
KEPT_CALL_SITES = 256  # cells with draws in the sheet whose values are kept as inputs
Progress = bool


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
        refuse_later(correlation, dialect)
        self.workbook = workbook if isinstance(workbook, Workbook) else Workbook(workbook)
        self.progress = progress
        self.now = now or datetime.now()
        self.in_sheet = in_sheet
        self._arguments = {"inputs": inputs, "outputs": outputs, "in_sheet": in_sheet, "progress": progress, "now": self.now}
        self.graph = Graph.of(self.workbook)
        self.inputs = resolved_inputs(self.workbook, inputs or {})
        self.outputs = resolved_outputs(self.workbook, outputs, self.graph)
        self.calculation = Calculation.of(self.graph, now=self.now)
        self.calculation.propagate(self._needed_regions())
        self.compiled: Compiled = self._compilation.compile()
        self.warnings = self._warnings()

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
        check_choice("check", check, ("raise", "warn", "off"))
        check_choice("on_error", on_error, ("exclude", "raise"))
        job = Job(new_seed() if seed is None else check_seed(seed), iteration_count(iterations), check_sampling(sampling))
        chosen = registry.engine(engine)
        checked = self._checked(check)
        executable = chosen.compile(self.compiled.program)
        size = self._chunk(chosen, executable, job, chunk, memory_limit)
        run = Run(self, chosen, job, checked, on_error)
        log.info("run started", workbook=self.workbook.file_name, engine=chosen.name, iterations=job.iterations, seed=job.seed, chunk=size)
        run.execute(executable, size, self.progress if progress is None else progress)
        if validate:
            run.validate()
        result = run.result("completed")
        log.info("run completed", iterations=result.iterations, seconds=result.elapsed)
        return result

    def check(self) -> checking.CheckReport:
        """The cells that the outputs depend on, recalculated and compared with what Excel cached."""
        return self._report

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

    def explain(self, reference: Reference) -> Explanation:
        """The way of one cell, stop by stop, with sample values."""
        from ultramc.explain import explain

        return explain(self, reference)

    # What the constructor works out

    @cached_property
    def _report(self) -> checking.CheckReport:
        regions = sorted({region.index for region, _ in self.calculation.done})
        return checking.report(self.workbook, self.graph, self.calculation, regions, self.now)

    def _needed_regions(self) -> list[int]:
        """The regions that outputs read first; `Graph.order` finds the rest."""
        return sorted({region.index for place in self.outputs.values() for region in self.graph.overlapping(place)})

    @cached_property
    def _compilation(self) -> Compilation:
        places = dict(self.outputs)
        for cell in self.kept_call_sites:
            places[f"{HIDDEN}{cell}"] = RangeRef.of(cell)
        for given in self.inputs:
            places[f"{HIDDEN}{given.label}"] = given.cells
        return Compilation(self.calculation, self.draws_of_inputs(), places, self.in_sheet)

    def draws_of_inputs(self) -> dict[CellRef, Callable[[Builder, Site], Operand]]:
        return {cell: draw for given in self.inputs for cell, draw in given.draws().items()}

    @cached_property
    def call_sites(self) -> list[CellRef]:
        """Cells whose formulas draw, where draws in the sheet are made."""
        if not self.in_sheet:
            return []
        given = {cell for item in self.inputs for cell in item.cells.cells()}
        regions = sorted(self.calculation.drawing)
        return [cell for index in regions for cell in self.graph.regions[index].place.cells() if cell not in given]

    @property
    def kept_call_sites(self) -> list[CellRef]:
        """Those whose values a result keeps as inputs."""
        return self.call_sites[:KEPT_CALL_SITES]

    def _warnings(self) -> tuple[str, ...]:
        found = list(self.workbook.warnings)
        for given in self.inputs:
            replaced = [str(cell) for cell in given.cells.cells() if self.workbook.formula(cell) is not None]
            if replaced:
                found.append(f"input {given.label} replaces the formula in {', '.join(replaced[:5])}{' …' if len(replaced) > 5 else ''}")
        for place, error in self._kept_as_saved()[:MOST_WARNINGS]:
            found.append(f"{place} keeps its saved value: {error.reason}")
        if self.calculation.volatile - self.calculation.drawing:
            found.append(f"NOW() and TODAY() are {self.now:%Y-%m-%d %H:%M:%S}, as given by now= or the clock")
        if len(self.call_sites) > KEPT_CALL_SITES:
            found.append(f"of {len(self.call_sites):,} cells that draw, the values of the first {KEPT_CALL_SITES} are kept as inputs")
        return (*found, *self._idle())

    def _idle(self) -> Iterator[str]:
        """What looks simulated and is not."""
        program = self.compiled.program
        collected = tuple(slot for slot in program.outputs if not slot.label.startswith(HIDDEN))
        for slot in collected:
            if not isinstance(slot.payload, Ref) and not isinstance(slot.tag, Ref):
                yield f"output {slot.label} is the same in every iteration: no uncertain input reaches it"
        instructions = trimmed(Program(program.instructions, collected, program.texts)).instructions
        drawn = {instruction.cell for instruction in instructions if instruction.op == "uniform"}
        for given in self.inputs:
            if isinstance(given.laws[0], Distribution) and not any(RangeRef.of(cell) in drawn for cell in given.cells.cells()):
                yield f"input {given.label} reaches no output"

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
        allowed = bytes_of(memory_limit) if memory_limit is not None else free_memory() // 2
        kept = sum(slot.cells.size * (8 if slot.kinds == 1 else 9) for slot in self.compiled.program.outputs) * job.iterations
        if kept > allowed:
            raise MemoryLimitExceeded(
                f"keeping the samples needs {kept:,} bytes, {allowed:,} are allowed; "
                "ask for fewer iterations or outputs, or raise memory_limit="
            )
        size = chunk_iterations(engine, executable, allowed - kept)
        return size if chunk is None else min(at_least_one("chunk", chunk), job.iterations)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without what is compiled: another process makes it again."""
        return _made_again, (self.workbook, self._arguments)

    def __repr__(self) -> str:
        names = ", ".join(f"{given.label} ~ {given.laws[0]}" for given in self.inputs[:5])
        sites = f", {len(self.call_sites):,} cells that draw" if self.call_sites else ""
        return (
            f"Simulation of {self.workbook.file_name}: inputs {names or 'none'}{' …' if len(self.inputs) > 5 else ''}{sites}; "
            f"outputs {', '.join(self.outputs)}; "
            f"{counted(self.compiled.lowered, 'cell')} in {counted(len(self.compiled.program.instructions), 'instruction')}"
        )


def _made_again(workbook: Workbook, arguments: dict[str, Any]) -> Simulation:
    return Simulation(workbook, **arguments)
