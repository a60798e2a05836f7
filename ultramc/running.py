"""One run of a simulation: chunks of samples in, a result out, and what may go wrong between."""

from __future__ import annotations

import platform
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ultramc import reference
from ultramc.engines.base import Chunk, Crew, Engine, Executable, Job, execute
from ultramc.engines.pace import Pace
from ultramc.errors import CheckpointError, CheckpointMismatch, ExecutorError, RunError, SimulationCancelled, SimulationInterrupted
from ultramc.keeping import KINDS, Facts
from ultramc.launching import Stages, because
from ultramc.program import HIDDEN, Slot
from ultramc.results import Input, Output, Result
from ultramc.tolerance import Tolerance
from ultramc.validation import Validation, failure, strata_agree
from ultramc.values import FIRST_ERROR, error_of

if TYPE_CHECKING:
    from ultramc.checkpoint import Checkpoint, Kept
    from ultramc.executors import Workers
    from ultramc.simulation import Simulation

COMPUTED_AGAIN = 64  # iterations of a checkpoint, before the rest is believed
Samples = NDArray[np.float64]
Tags = NDArray[np.uint8] | None


@frozen(kw_only=True, eq=False)
class Request:
    """What is asked of a run, checked as far as it can be before any work.

    `engine`: None for one that is chosen. `chunk`: iterations computed at once, None for what suits the engine. `memory`: bytes that
    the engine may take.
    """

    engine: Engine | None
    job: Job
    check: str
    validation: Validation | None
    on_invalid: str
    on_error: str
    keep: str
    chunk: int | None
    memory: int
    checkpoint: Checkpoint | None = None
    workers: Workers | None = None


class Run:
    """One run: where its samples go, and what becomes of it."""

    def __init__(
        self,
        simulation: Simulation,
        engine: Engine,
        reason: str,
        asked: Request,
        checked: str,
        validated: str,
        stages: Stages,
        kept: Kept | None = None,
    ) -> None:
        self.simulation = simulation
        self.engine = engine
        self.job = asked.job
        self.on_error = asked.on_error
        self.checked = checked
        self.validated = validated
        self.engine_reason = reason
        self.stages = stages
        self._tolerance = asked.validation.tolerance if asked.validation is not None else None
        self.kept = kept
        self.crew: Crew | None = None
        self.started = time.perf_counter()
        facts = Facts(simulation.compiled.program, simulation.workbook, asked.job)
        self.keeping = KINDS[asked.keep](facts, engine.strata)

    @property
    def done(self) -> int:
        """Iterations."""
        return self.keeping.done

    def resume(self, executable: Executable) -> None:
        """Take what the checkpoint holds, after a look whether this machine computes the same. Raises CheckpointError and its children."""
        if self.kept is None:
            return
        self.kept.begin(self.engine)
        self.keeping.resume(self.kept, self._take)
        count = min(self.done, COMPUTED_AGAIN)
        if count and self.keeping.window(0, count).bits != self.engine.run(executable, self.job, 0, count).bits:
            raise CheckpointMismatch(
                f"engine {self.engine.name!r} now gives other bits than those in {self.kept.folder}; "
                "go on where it was begun, or give another folder as checkpoint="
            )

    def execute(self, crew: Crew, pace: Pace) -> None:
        """Raises SimulationCancelled with what is done, and RunError where iterations are missing."""
        self.crew = crew
        try:
            with crew:
                execute(crew, self.job.iterations, pace, self._keep, self.done)
        except KeyboardInterrupt:
            self._save(at_once=True, whole=True)
            raise self._cancelled(SimulationInterrupted) from None
        except ExecutorError as error:
            self._save(at_once=True, whole=True)
            error.run = self._part("failed") if self.done else None
            raise
        self._save(at_once=True, whole=self.done < self.job.iterations)
        if self.stages.token.cancelled:
            raise self._cancelled(SimulationCancelled)
        if self.done != self.job.iterations:
            raise RunError(f"engine {self.engine.name!r} executed {self.done:,} of {self.job.iterations:,} iterations")

    def _cancelled(self, kind: type[SimulationCancelled]) -> SimulationCancelled:
        part = self._part("cancelled") if self.done else None
        return kind(f"cancelled after {self.done:,} of {self.job.iterations:,} iterations{because(self.stages.token)}", part)

    def _save(self, *, at_once: bool = False, whole: bool = False) -> None:
        """Into the checkpoint, if there is one and it is time."""
        try:
            if self.kept is not None:
                self.keeping.save(self.kept, at_once=at_once, whole=whole)
        except CheckpointError as error:
            error.run = self._part("failed")
            raise

    def _keep(self, chunk: Chunk) -> None:
        self._take(chunk)
        self._save()
        self.stages.executed(self.done)

    def _take(self, chunk: Chunk) -> None:
        for slot, samples, tags in _with_tags(self.keeping.slots, chunk):
            self._check_sound(slot, chunk, samples, tags)
        self.keeping.receive(chunk)
        for slot, _, tags in _with_tags(self.keeping.slots, chunk) if self.on_error == "raise" else ():
            self._refuse_errors(slot, chunk, tags)

    def _check_sound(self, slot: Slot, chunk: Chunk, samples: Samples, tags: Tags) -> None:
        unsound = ~np.isfinite(samples) if tags is None else ~np.isfinite(samples) & (tags < FIRST_ERROR)
        if unsound.any():
            cell, iteration = np.argwhere(unsound)[0]
            raise self.engine.invalid(
                f"{failure(self.engine)}: it gave {samples[cell, iteration]} as a number "
                f"in iteration {chunk.first + iteration} of {slot.cells}"
            )

    def _refuse_errors(self, slot: Slot, chunk: Chunk, tags: Tags) -> None:
        if tags is not None and not slot.label.startswith(HIDDEN) and (tags >= FIRST_ERROR).any():
            cell, iteration = np.argwhere(tags >= FIRST_ERROR)[0]
            raise RunError(
                f"{slot.cells} is {error_of(int(tags[cell, iteration]))} in iteration {chunk.first + iteration}; "
                "pass on_error='exclude' to leave such iterations out",
                self._part("failed"),
            )

    def confirm(self, tolerance: Tolerance, crossed: Collection[int]) -> None:
        """Eight iterations again by the reference interpreter, the first that failed among them, but not those that are known to differ."""
        iterations = [iteration for iteration in self._to_confirm() if iteration not in crossed]
        program = self.simulation.compiled.program
        chunks = [self.keeping.window(iteration, 1) for iteration in iterations]
        reference.confirm(program, self.job, iterations, *_by_label(program.outputs, chunks), self.engine.name, tolerance)
        self._confirm_strata(tolerance)

    def _confirm_strata(self, tolerance: Tolerance) -> None:
        """Of what is done, before anybody gets it."""
        stretches = self.keeping.stretches(self.engine.strata) if self.done else []
        if stretches:
            numpy = self.simulation._engine("numpy")
            program, executable = self.simulation.compiled.program, self.simulation.executable(numpy)
            strata_agree((self.engine, numpy), executable, program, self.job, self.keeping.window, stretches, tolerance)

    def _part(self, state: str) -> Result:
        """Of a run that ended early."""
        if self._tolerance is not None:
            self._confirm_strata(self._tolerance)
        return self.result(state)

    def _to_confirm(self) -> list[int]:
        failed = self.keeping.first_failed
        return sorted({*range(min(8, self.job.iterations)), *(() if failed is None else (failed,))})[-8:]

    def result(self, state: str) -> Result:
        simulation, done = self.simulation, self.done
        columns = self.keeping.columns()
        inputs = {given.label: Input(columns[HIDDEN + given.label], given.described()) for given in simulation.inputs}
        for label, cell in simulation.kept_call_sites.items():
            inputs[label] = Input(columns[HIDDEN + label], f"={simulation.workbook.formula_text(cell)}")
        result = Result(
            state=state,
            iterations=done,
            engine=self.engine.name,
            engine_reason=self.engine_reason,
            seed=self.job.seed,
            sampling=self.job.sampling.name,
            elapsed=time.perf_counter() - self.started,
            workbook=simulation.workbook.file_name,
            workbook_sha256=simulation.workbook.sha256,
            outputs={label: Output(columns[label], inputs) for label in simulation.outputs},
            inputs=inputs,
            warnings=(*simulation.warnings, *self.job.sampling.warnings(self.job), *(self.crew.warnings() if self.crew else ())),
            check=self.checked,
            validation=self.validated,
            versions={**versions(), **self.engine.fingerprint()},
            groups=tuple(each.group for each in simulation.tied if each.group is not None),
        )
        if state == "completed":
            self._refuse_empty(result)
        return result

    def _refuse_empty(self, result: Result) -> None:
        for label, output in result.outputs.items():
            if output.column.is_lost:
                counts = _counts(output.errors)
                raise RunError(f"{label} is an error in every one of {self.done:,} iterations: {counts}; see Simulation.explain", result)


def _with_tags(slots: Sequence[Slot], chunk: Chunk) -> Iterator[tuple[Slot, Samples, Tags]]:
    """Payloads and tags of each output, (cells, iterations); None where all are numbers."""
    for slot, payload, tags in zip(slots, chunk.payloads, chunk.tags, strict=True):
        if slot.kinds == 1:
            yield slot, payload, None
        else:
            yield slot, payload, np.full(payload.shape, slot.tag, np.uint8) if tags is None else tags


def _by_label(slots: Sequence[Slot], chunks: Sequence[Chunk]) -> tuple[dict[str, Samples], dict[str, NDArray[np.uint8]]]:
    """Payloads and tags of chunks, one after the other."""
    samples: dict[str, list[Samples]] = {}
    tags: dict[str, list[NDArray[np.uint8]]] = {}
    for chunk in chunks:
        for slot, payload, tag in _with_tags(slots, chunk):
            samples.setdefault(slot.label, []).append(payload)
            if tag is not None:
                tags.setdefault(slot.label, []).append(tag)
    return _concatenated(samples), _concatenated(tags)


def _concatenated(parts: Mapping[str, list[NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {label: np.concatenate(each, axis=1) for label, each in parts.items()}


def _counts(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in errors.items())


@cache
def versions() -> dict[str, str]:
    """What a result must name to be reproduced."""
    from importlib.metadata import version

    import scipy

    return {"ultramc": version("ultramc"), "numpy": np.__version__, "scipy": scipy.__version__, "python": platform.python_version()}
