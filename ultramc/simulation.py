"""The whole way on one page: read → graph → base case → compile → check → run → summarise."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, BinaryIO, Literal
from weakref import WeakKeyDictionary

from ultramc import checking, executors
from ultramc.address import CellRef, RangeRef
from ultramc.arguments import (
    Reference,
    Uncertain,
    at_least_one,
    bytes_of,
    check_choice,
    correlations,
    formulas_of,
    free_memory,
    iteration_count,
    refuse_until,
    resolved_inputs,
    resolved_outputs,
)
from ultramc.calculation import Calculation
from ultramc.checkpoint import Checkpoint, Kept
from ultramc.compilation import Compilation, Compiled
from ultramc.correlation import Correlation
from ultramc.delivery import Position, Tracker
from ultramc.dialects import PLAIN
from ultramc.dialects.base import Settings, declared_names, speaks_of_chance
from ultramc.distributions import Distribution
from ultramc.engines import choice, registry
from ultramc.engines.base import Crew, Engine, Executable, Job, Steps, Threads, fitted, ignored
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.engines.pace import Pace, guessed_seconds
from ultramc.errors import CheckError, EngineValidationError, FormulaError, InputError, MemoryLimitExceeded
from ultramc.executors import Delegates, Workers, most_for_workers
from ultramc.fusion import trimmed
from ultramc.graph import Graph
from ultramc.identity import identity
from ultramc.keeping import KINDS
from ultramc.launching import Launch, RunHandle, Stages, attend
from ultramc.listening import AsyncProgress, Listeners, Progress, callbacks_of, seconds, token_of
from ultramc.logs import log
from ultramc.program import HIDDEN, Program, Ref
from ultramc.progress import CancelToken
from ultramc.report import counted
from ultramc.results import Result
from ultramc.running import Request, Run, versions
from ultramc.sampling import ITERATIONS, RANDOM, Sampling, check_seed, new_seed, sampling_of, strata_bytes, whole
from ultramc.ties import tied
from ultramc.validation import UNTESTED, Agreement, Validation, agreement
from ultramc.workbook import Workbook
from ultramc.worker import Commission, Voucher, probed

if TYPE_CHECKING:
    from ultramc.asynchronous import EventStream
    from ultramc.explain import Explanation

MOST_WARNINGS = 20  # cells that keep their saved values
MINIMUM_HEARTBEAT = 0.01  # seconds
NEXT_STEP = {"samples": 'iterations or outputs, run with keep="summary"', "summary": "outputs"}
KEPT_CALL_SITES = 256  # cells with draws in the sheet whose values are kept as inputs


class Simulation:
    """A workbook, its uncertain inputs, and the outputs to collect. Made once, run as often as you like.

    `workbook`: a `Workbook`, path, bytes or binary file. `inputs`: cell, range (an independent input per cell) or defined
    name → a distribution, or a number that fixes it. `outputs`: cells, ranges or names, or {label: reference}.
    `correlation`: `RankCorrelation` and its like, one or several. `in_sheet=False` freezes draws that are written in the sheet at
    their saved values; `dialect`: how they are written, "@RISK" or "plain Excel", found out where it is None.
    `progress=True` shows a bar in each run that is not told otherwise. `unrolled=True` computes every formula cell by itself,
    without blocks and loops: slower, and to the bit the same.

    Raises UltramcError's children: ReferenceNotFound, InputError, NoOutputs, FormulaError where a formula between inputs
    and outputs is not supported. What it accepts can run. Immutable; may be used by several threads.
    """

    def __init__(
        self,
        workbook: Workbook | str | os.PathLike[str] | bytes | BinaryIO,
        *,
        inputs: Mapping[Any, Uncertain] | None = None,
        outputs: Sequence[Reference] | Mapping[str, Reference] | Reference | None = None,
        correlation: Correlation | Sequence[Correlation] = (),
        in_sheet: bool = True,
        dialect: str | None = None,
        progress: Progress | None = None,
        now: datetime | None = None,
        unrolled: bool = False,
    ) -> None:
        self.workbook = workbook if isinstance(workbook, Workbook) else Workbook(workbook)
        self.progress = progress
        self.now = now or datetime.now()
        self.in_sheet = in_sheet
        self._arguments = {
            "inputs": inputs,
            "outputs": outputs,
            "correlation": correlation,
            "in_sheet": in_sheet,
            "dialect": dialect,
            "progress": progress,
            "now": self.now,
            "unrolled": unrolled,
        }
        self.inputs = resolved_inputs(self.workbook, inputs or {})
        self._formulas = formulas_of(self.workbook, self.inputs)
        self.graph = Graph.of(self.workbook.with_formulas(self._formulas), dialect, unrolled=unrolled)
        self.settings = self.graph.dialect.settings(self.workbook) if in_sheet else Settings()
        self.outputs = resolved_outputs(self.workbook, outputs, self.graph)
        self.calculation = Calculation.of(self.graph, now=self.now)
        self.calculation.propagate(self._needed_regions())
        self._refuse_what_is_not_understood()
        self.tied = tied(self.calculation, correlations(correlation), self._has_law(), in_sheet)
        self.compiled: Compiled = self._compilation.compile()
        self._engines: dict[str, Engine] = {}
        self._executables: WeakKeyDictionary[Engine, Executable] = WeakKeyDictionary()
        self.warnings = self._warnings()

    # Run

    def run(
        self,
        iterations: int | None = None,
        *,
        engine: str | Engine = "auto",
        seed: int | None = None,
        sampling: str | Sampling | None = None,
        check: Literal["raise", "warn", "off"] = "raise",
        validate: bool | Validation = True,
        on_invalid: Literal["raise", "numpy"] = "raise",
        on_error: Literal["exclude", "raise"] = "exclude",
        keep: Literal["samples", "summary"] = "samples",
        chunk: int | None = None,
        memory_limit: int | str | None = None,
        until: object = None,
        progress: Progress | None = None,
        interval: float = 0.1,
        heartbeat: float = 2.0,
        strict_callbacks: bool = False,
        cancel: CancelToken | None = None,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
        executor: executors.Given | None = None,
    ) -> Result:
        """Execute `iterations` iterations and hand over their samples and statistics.

        `engine`: a name, an `Engine`, or "auto": NumPy, or native code for a long run where it works; `Result.engine_reason` says why.
        `iterations`, `seed` and `sampling` are those that the author of the workbook stored, where they are None. `seed`:
        0 ≤ seed < 2^64; else one is drawn and recorded. `sampling`: "random", "antithetic", "latin_hypercube", "sobol", or
        an object such as `LatinHypercube(replicates=10)`. `check`: what to do where the recalculated base case differs
        from Excel's cached values: "raise" a CheckError before anything runs, "warn" or "off". `validate`: another engine than NumPy
        first computes some iterations that NumPy computes too, as a `Validation` says; where they disagree nothing is simulated, or,
        with `on_invalid="numpy"`, NumPy simulates. `on_error`: "exclude" leaves
        iterations that end in an error out of the statistics, and says so; "raise" stops at the first. `keep`: "samples", or "summary"
        for as many iterations as you like in constant memory; what needs samples then raises SamplesNotKept. `chunk`: iterations
        computed at once (default: as the engine likes and as progress allows); it never changes a result. `memory_limit`: bytes or
        "2GB" for buffers and samples (default: half of what is free).

        `progress`: True for a bar, a function that takes a `ProgressEvent`, or a list of them, called on this thread; at most one
        event of progress every `interval` seconds (0: each, and the run waits for slow functions), a sign of life every `heartbeat`
        seconds. A function that raises is called no more, and stands in `Result.callback_errors`; with `strict_callbacks` it
        cancels the run. `cancel`: a token that cancels the run from elsewhere.

        `checkpoint`: a folder, or a `Checkpoint`, in which finished iterations are kept; called again with it, a run that was killed
        or cancelled goes on after the last part, and a finished one gives its result at once. It is refused where the two would
        differ by a bit. `seed=None` takes the seed that is kept.

        `executor`: a `concurrent.futures.Executor` whose threads or processes compute, such as `ultramc.process_pool()`, a
        `dask.distributed.Client`, or a `Workers`; with the bits of a run without one. `memory_limit` is then that of each worker, too.

        Raises InputError, CheckError, EngineUnavailable, UnsupportedOp, MemoryLimitExceeded, EngineValidationError, RunError,
        CheckpointError and ExecutorError (with `.run`, the result so far), CallbackError, SimulationCancelled (with `.result`), and on
        Ctrl-C SimulationInterrupted, which is both that and a KeyboardInterrupt.
        """
        refuse_until(until)
        asked = self._asked(
            iterations, engine, seed, sampling, check, validate, on_invalid, on_error, keep, chunk, memory_limit, checkpoint, executor
        )
        listeners = self._listeners(progress, strict_callbacks, cancel)
        launch = self._launch(asked, listeners, interval, heartbeat, is_read=bool(listeners.callbacks))
        attend(launch)
        return launch.outcome()

    async def run_async(
        self,
        iterations: int | None = None,
        *,
        engine: str | Engine = "auto",
        seed: int | None = None,
        sampling: str | Sampling | None = None,
        check: Literal["raise", "warn", "off"] = "raise",
        validate: bool | Validation = True,
        on_invalid: Literal["raise", "numpy"] = "raise",
        on_error: Literal["exclude", "raise"] = "exclude",
        keep: Literal["samples", "summary"] = "samples",
        chunk: int | None = None,
        memory_limit: int | str | None = None,
        until: object = None,
        progress: AsyncProgress | None = None,
        interval: float = 0.1,
        heartbeat: float = 2.0,
        strict_callbacks: bool = False,
        cancel: CancelToken | None = None,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
        executor: executors.Given | None = None,
    ) -> Result:
        """`run` without blocking the event loop, on which callbacks are called; they may be coroutine functions.

        Cancelling the task cancels the run; the partial result is in the cause of the CancelledError, a SimulationCancelled.
        """
        from ultramc import asynchronous

        refuse_until(until)
        asked = self._asked(
            iterations, engine, seed, sampling, check, validate, on_invalid, on_error, keep, chunk, memory_limit, checkpoint, executor
        )
        listeners = self._listeners(progress, strict_callbacks, cancel, may_be_async=True)
        launch = self._launch(asked, listeners, interval, heartbeat, is_read=bool(listeners.callbacks))
        await asynchronous.attend(launch)
        return launch.outcome()

    def stream(
        self,
        iterations: int | None = None,
        *,
        engine: str | Engine = "auto",
        seed: int | None = None,
        sampling: str | Sampling | None = None,
        check: Literal["raise", "warn", "off"] = "raise",
        validate: bool | Validation = True,
        on_invalid: Literal["raise", "numpy"] = "raise",
        on_error: Literal["exclude", "raise"] = "exclude",
        keep: Literal["samples", "summary"] = "samples",
        chunk: int | None = None,
        memory_limit: int | str | None = None,
        until: object = None,
        interval: float = 0.1,
        heartbeat: float = 2.0,
        cancel: CancelToken | None = None,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
        executor: executors.Given | None = None,
    ) -> EventStream[Result]:
        """`run` as events: `async for event in sim.stream(n)`, whose `result()` is there when the loop has ended."""
        from ultramc.asynchronous import EventStream

        refuse_until(until)
        asked = self._asked(
            iterations, engine, seed, sampling, check, validate, on_invalid, on_error, keep, chunk, memory_limit, checkpoint, executor
        )
        return EventStream(self._launch(asked, self._listeners(False, False, cancel), interval, heartbeat))

    def start(
        self,
        iterations: int | None = None,
        *,
        engine: str | Engine = "auto",
        seed: int | None = None,
        sampling: str | Sampling | None = None,
        check: Literal["raise", "warn", "off"] = "raise",
        validate: bool | Validation = True,
        on_invalid: Literal["raise", "numpy"] = "raise",
        on_error: Literal["exclude", "raise"] = "exclude",
        keep: Literal["samples", "summary"] = "samples",
        chunk: int | None = None,
        memory_limit: int | str | None = None,
        until: object = None,
        progress: Progress | None = None,
        interval: float = 0.1,
        heartbeat: float = 2.0,
        strict_callbacks: bool = False,
        cancel: CancelToken | None = None,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
        executor: executors.Given | None = None,
    ) -> RunHandle[Result]:
        """`run` in the background. Callbacks are called on one thread of the handle's; arguments that make no sense are refused here."""
        refuse_until(until)
        asked = self._asked(
            iterations, engine, seed, sampling, check, validate, on_invalid, on_error, keep, chunk, memory_limit, checkpoint, executor
        )
        return RunHandle(self._launch(asked, self._listeners(progress, strict_callbacks, cancel), interval, heartbeat))

    def _keep_and_carry_out(self, asked: Request, stages: Stages) -> Result:
        if asked.checkpoint is None:
            return self._carry_out(asked, stages, None)
        with asked.checkpoint.held(identity(self, asked.job) | {"keep": asked.keep}) as kept:
            return self._carry_out(asked, stages, kept)

    def _carry_out(self, asked: Request, stages: Stages, kept: Kept | None) -> Result:
        """The stages of a run, one after the other."""
        job, (preferred, reason) = asked.job, self._chosen(asked)
        what = {"workbook": self.workbook.file_name, "engine": preferred.name, "engine_reason": reason, "iterations": job.iterations}
        log.info("run started", **what, seed=job.seed)
        with stages.stage("check"):
            checked = self._checked(asked.check)
        with stages.stage("compile") as told:
            self.executable(preferred, told=told)
        with stages.stage("validate"):
            engine, agreed = self._validated(preferred, job, asked.validation, asked.on_invalid)
            executable, pace = self._fitted(engine, asked)
            run = Run(self, engine, reason, asked, checked, str(agreed), stages, kept)
            run.resume(executable)
            crew = self._crew(engine, executable, asked, stages, job.iterations - run.done)
        with stages.stage("sample", job.iterations):
            run.execute(crew, pace)
        with stages.stage("summarise"):
            if asked.validation is not None:
                run.confirm(asked.validation.tolerance, agreed.crossed)
            return run.result("completed")

    def check(self) -> checking.CheckReport:
        """The cells that the outputs depend on, recalculated and compared with what Excel cached."""
        return self._report

    def draws(
        self,
        reference: Reference,
        *,
        first: int = 0,
        count: int,
        seed: int,
        sampling: str | Sampling = "random",
        iterations: int | None = None,
    ) -> Any:
        """Iterations `first` to `first + count` of one input's draws, float64 (count,), without running the model.

        `iterations`: those of the whole run, on which Latin hypercube and Sobol draws depend. Raises InputError where it is missing.
        """
        job = self._job(seed, _length(sampling_of(sampling), iterations), sampling)
        cell = self.workbook.resolve(reference).first
        if cell not in self._has_law() and cell not in self.call_sites:
            labels = ", ".join(given.label for given in self.inputs)
            raise InputError(f"{cell} is no input of this simulation; its inputs are {labels or 'none'}")
        start, length = whole("first", first), whole("count", count)
        if not 0 <= start <= start + length <= job.iterations:
            raise InputError(
                f"iterations from first={start}, count={length}: both at least 0, and first + count at most {job.iterations:_}"
            )
        program = self.compilation_of(self.calculation, {"draws": RangeRef.of(cell)}).compile().program
        engine = NumPyEngine()
        return engine.run(engine.compile(program), job, start, length).payloads[0][0]

    def explain(self, reference: Reference) -> Explanation:
        """The way of one cell, stop by stop, with sample values."""
        from ultramc.explain import explain

        return explain(self, reference)

    @property
    def dialect(self) -> str:
        """The name of the dialect in which the sheet writes its draws."""
        return self.graph.dialect.name

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
        for label, cell in self.kept_call_sites.items():
            places[HIDDEN + label] = RangeRef.of(cell)
        for given in self.inputs:
            places[f"{HIDDEN}{given.label}"] = given.cells
        return self.compilation_of(self.calculation, places)

    def compilation_of(self, calculation: Calculation, places: Mapping[str, RangeRef]) -> Compilation:
        """A compilation of other outputs, with the draws of this simulation."""
        draws = {place: draw for given in self.inputs for place, draw in given.draws().items()}
        return Compilation(calculation, draws, places, self.in_sheet, [each.tie for each in self.tied], self._formulas)

    def _has_law(self) -> dict[CellRef, bool]:
        """Whether each input cell has a distribution, or is fixed."""
        return {cell: not isinstance(law, float) for given in self.inputs for cell, law in given.by_cell().items()}

    def _refuse_what_is_not_understood(self) -> None:
        """A draw that an output reads and that is not understood would be a constant that looks simulated."""
        given = self._has_law()
        for place, error in self.calculation.unsupported.items():
            region = self.graph.region_at(place.first)
            tree = region.tree if region is not None and self.in_sheet and place.first not in given else None
            if place.first in self._formulas or speaks_of_chance(tree, self.calculation.lowering.drawing):
                raise error

    @cached_property
    def call_sites(self) -> list[CellRef]:
        """Cells whose formulas draw, where draws in the sheet are made."""
        if not self.in_sheet:
            return []
        given = {cell for item in self.inputs for cell in item.cells.cells()}
        regions = sorted(self.calculation.drawing)
        return [cell for index in regions for cell in self.graph.regions[index].place.cells() if cell not in given]

    @cached_property
    def kept_call_sites(self) -> dict[str, CellRef]:
        """Those whose values a result keeps as inputs, by the names that the sheet gives them, else by their cells."""
        taken = {given.label.casefold() for given in self.inputs} | {str(cell).casefold() for cell in self.call_sites}
        named = {cell: name for cell, name in declared_names(self.graph).items() if name.casefold() not in taken}
        return {named.get(cell, str(cell)): cell for cell in self.call_sites[:KEPT_CALL_SITES]}

    def _warnings(self) -> tuple[str, ...]:
        found = [*self.workbook.warnings, *self.settings.notes]
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
        drawn = {instruction.cell for instruction in instructions if instruction.op == "uniform" and instruction.cell is not None}
        for given in self.inputs:
            if isinstance(given.laws[0], Distribution) and not any(given.cells.intersection(place) for place in drawn):
                yield f"input {given.label} reaches no output"

    def _kept_as_saved(self) -> list[tuple[RangeRef, FormulaError]]:
        """Places without draws whose formulas could not be worked out."""
        lost, is_uncertain = self.calculation.lost, self._compilation.is_uncertain
        kept = self.calculation.unsupported.items()
        return [(place, error) for place, error in kept if place.first not in lost and not is_uncertain(place.first)]

    @cached_property
    def _guessed_seconds(self) -> float:
        return guessed_seconds(self.compiled.program)

    # Before a run

    def _asked(
        self,
        iterations: int | None,
        engine: str | Engine,
        seed: int | None,
        sampling: str | Sampling | None,
        check: str,
        validate: bool | Validation,
        on_invalid: str,
        on_error: str,
        keep: str,
        chunk: int | None,
        memory_limit: int | str | None,
        checkpoint: Checkpoint | str | os.PathLike[str] | None,
        executor: executors.Given | None,
    ) -> Request:
        """Raises InputError, EngineUnavailable, CheckpointError, and MemoryLimitExceeded where the samples alone are too many."""
        check_choice("check", check, ("raise", "warn", "off"))
        check_choice("on_error", on_error, ("exclude", "raise"))
        check_choice("keep", keep, tuple(KINDS))
        check_choice("on_invalid", on_invalid, ("raise", "numpy"))
        kept_in = Checkpoint.of(checkpoint)
        workers = Workers.of(executor)
        if kept_in and workers and workers.allow_different:
            raise InputError("checkpoint= with workers that may be different: a checkpoint promises the same bits; leave out one")
        stored = kept_in.stored() if kept_in else None
        versions()  # imports what a run needs here, on the caller's thread: a child forked while another imports would wait for ever
        job = self._run_job(iterations, stored.identity["seed"] if stored and seed is None else seed, sampling)
        return Request(
            engine=None if engine == choice.AUTO else self._engine(engine),
            job=job,
            check=check,
            validation=Validation() if validate is True else validate or None,
            on_invalid=on_invalid,
            on_error=on_error,
            keep=keep,
            chunk=None if chunk is None else min(at_least_one("chunk", chunk), job.iterations),
            memory=self._memory(job, keep, memory_limit),
            checkpoint=kept_in,
            workers=workers,
        )

    def _memory(self, job: Job, keep: str, limit: int | str | None) -> int:
        """Bytes that are left for an engine. Raises MemoryLimitExceeded where none are."""
        allowed = bytes_of(limit) if limit is not None else free_memory() // 2
        kept = KINDS[keep].bytes(self.compiled.program.outputs, job)
        strata = strata_bytes(job, self.compiled.program.ties())
        if kept + strata > allowed:
            ranking = f" and ranking correlated draws under {job.sampling.name} sampling {strata:,}" if strata else ""
            raise MemoryLimitExceeded(
                f"keeping the {keep} needs {kept:,} bytes{ranking}, {allowed:,} are allowed; "
                f"ask for fewer {NEXT_STEP[keep]}, or raise memory_limit="
            )
        return allowed - kept - strata

    def _listeners(self, progress: object, strict: bool, cancel: CancelToken | None, *, may_be_async: bool = False) -> Listeners:
        chosen = self.progress if progress is None else progress
        return Listeners(callbacks_of(chosen, may_be_async=may_be_async), strict, token_of(cancel))

    def _launch(self, asked: Request, listeners: Listeners, interval: float, heartbeat: float, *, is_read: bool = True) -> Launch[Result]:
        """Where nobody reads there are but heartbeats, for the log."""
        between = seconds("interval", interval)
        stored = asked.checkpoint.stored() if asked.checkpoint else None
        tracker = Tracker(
            run_id=token_hex(8),
            total=asked.job.iterations,
            interval=between if is_read else math.inf,
            heartbeat=seconds("heartbeat", heartbeat, at_least=MINIMUM_HEARTBEAT),
            attempt=stored.attempt + 1 if stored else 1,
            position=Position(done=stored.done if stored else 0),
        )
        return Launch(partial(self._keep_and_carry_out, asked), tracker, listeners)

    def _run_job(self, iterations: int | None, seed: int | None, sampling: str | Sampling | None) -> Job:
        """What is asked for, else what is stored, else a new seed and random sampling."""
        count = iteration_count(self.settings.iterations if iterations is None else iterations)
        chosen = seed if seed is not None else self.settings.seed if self.settings.seed is not None else new_seed()
        return self._job(chosen, count, sampling or self.settings.sampling or RANDOM)

    def _job(self, seed: int, iterations: int, sampling: str | Sampling) -> Job:
        return Job(check_seed(seed), iterations, sampling_of(sampling), self.compiled.program.sites())

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

    def _chosen(self, asked: Request) -> tuple[Engine, str]:
        """The engine that is asked for, or chosen where none is, and then the reason."""
        if asked.engine is not None:
            return asked.engine, ""
        made = choice.chosen(self.compiled.program, asked.job.iterations)
        return self._engine(made.engine), made.reason

    def _engine(self, choice: str | Engine) -> Engine:
        """An engine by name is made once, so that what it has compiled serves the next run too."""
        if not isinstance(choice, str):
            return registry.engine(choice)
        return self._engines.setdefault(choice, registry.engine(choice))

    def executable(self, engine: Engine, *, anew: bool = False, told: Steps = ignored) -> Executable:
        """What an engine makes of the program: compiled once for each engine, unless it is asked for anew."""
        if anew or engine not in self._executables:
            self._executables[engine] = engine.compile_in_steps(self.compiled.program, told)
        return self._executables[engine]

    def _validated(self, engine: Engine, job: Job, how: Validation | None, on_invalid: str) -> tuple[Engine, Agreement]:
        """The engine that may run, and what the result says of it."""
        if how is None:
            return engine, UNTESTED
        numpy = self._engine("numpy")
        if type(engine) is NumPyEngine:  # another kind of it may do otherwise
            return engine, Agreement()
        try:
            return engine, agreement((engine, numpy), self.executable, self.compiled.program, job, how)
        except EngineValidationError as error:
            if on_invalid == "raise":
                raise
            log.warning("validation failed, running on NumPy", engine=engine.name, reason=str(error))
            return numpy, Agreement(f"run on NumPy, as on_invalid='numpy' allows: {str(error).splitlines()[0]}")

    def validated(self, engine: Engine, iterations: int, seed: int) -> Agreement:
        """Compare an engine with NumPy as `run` does before it simulates, with the sampling stored. Raises EngineValidationError."""
        return self._validated(engine, self._run_job(iterations, seed, None), Validation(), "raise")[1]

    def _fitted(self, engine: Engine, asked: Request) -> tuple[Executable, Pace]:
        executable, largest = fitted(engine, self.executable(engine), asked.memory)
        if asked.chunk is not None:
            return executable, Pace.fixed(asked.chunk)
        fewest = engine.fewest_iterations(executable)
        if asked.workers is not None:
            largest = most_for_workers(self.compiled.program.outputs, asked.job.iterations, asked.memory, fewest)
        return executable, Pace.of(self._guessed_seconds, largest, fewest)

    def _crew(self, engine: Engine, executable: Executable, asked: Request, stages: Stages, left: int) -> Crew:
        """For the iterations that are left: of an executor, once one of its workers has shown what it is."""

        def stop() -> bool:
            return stages.token.cancelled

        if asked.workers is None or not left:
            return Threads(engine, executable, asked.job, stop)
        count = probed(self._guessed_seconds, asked.job.iterations)
        commission = Commission(self.compiled.program, engine, asked.job, asked.memory, count)
        crew = Delegates(asked.workers, commission, Voucher.of(engine, executable, asked.job, count), stop)
        crew.meet()
        return crew

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without what is compiled: another process makes it again."""
        return _made_again, (self.workbook, self._arguments)

    def __repr__(self) -> str:
        names = ", ".join(f"{given.label} ~ {given.laws[0]}" for given in self.inputs[:5])
        sites = f", {len(self.call_sites):,} cells that draw" if self.call_sites else ""
        dialect = "" if self.dialect == PLAIN else f", dialect {self.dialect}"
        return (
            f"Simulation of {self.workbook.file_name}{dialect}: inputs {names or 'none'}{' …' if len(self.inputs) > 5 else ''}{sites}; "
            f"outputs {', '.join(self.outputs)}; "
            f"{counted(self.compiled.lowered, 'cell')} in {counted(len(self.compiled.program.instructions), 'instruction')}{self._manner()}"
        )

    def _manner(self) -> str:
        looped, alone = self.compiled.looped, len(self.compiled.unrolled)
        return (f", {looped:,} of them step by step in loops" if looped else "") + (f", {alone:,} one by one" if alone else "")


def _length(sampling: Sampling, iterations: int | None) -> int:
    if iterations is not None:
        return iteration_count(iterations)
    if sampling.depends_on_length:
        raise InputError(f"{sampling.name} draws depend on the length of the run; say it: sim.draws(…, iterations=100_000)")
    return ITERATIONS


def _made_again(workbook: Workbook, arguments: dict[str, Any]) -> Simulation:
    return Simulation(workbook, **arguments)
