"""Many simulations under one roof: workbooks, targets, scenarios. One that fails is named, and stops no other.

    item ── Simulation.stream ──> events of a child ──> monitor: tally ──> events of the batch ──> callbacks

Several outputs of one model are no batch: one run collects them all.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Literal

from attrs import Factory, field, frozen

from ultramc.arguments import at_least_one, check_choice
from ultramc.delivery import Tracker
from ultramc.errors import BatchError, InputError, ReferenceNotFound
from ultramc.launching import Launch, RunHandle, Stages, attend
from ultramc.listening import AsyncProgress, Listeners, Progress, callbacks_of, seconds, token_of
from ultramc.progress import CancelToken, ErrorInfo, RunState
from ultramc.results import Result
from ultramc.simulation import MINIMUM_HEARTBEAT, Simulation
from ultramc.tally import BatchTracker, Standing, position_of

if TYPE_CHECKING:
    from ultramc.asynchronous import EventStream

OF_THE_BATCH = {"self", "iterations", "progress", "interval", "heartbeat", "strict_callbacks", "cancel"}


@frozen(init=False)
class BatchItem:
    """A child of a batch: a simulation, or a function that makes one when its turn comes, and how to run it.

    `iterations` and `options`, such as seed= or engine=, are those of `Simulation.run`, and go before those of the batch.
    A function without arguments, `partial(mc.Simulation, "north.xlsx", outputs=["NPV"])`, keeps a workbook out of memory until then,
    and one that cannot be read is a child that failed.
    """

    simulation: Simulation | Callable[[], Simulation]
    iterations: int | None
    options: Mapping[str, Any]

    def __init__(self, simulation: Simulation | Callable[[], Simulation], iterations: int | None = None, **options: Any) -> None:
        if not isinstance(simulation, Simulation) and not callable(simulation):
            raise InputError(f"{simulation!r} in a batch: a Simulation, or a function without arguments that makes one")
        self.__attrs_init__(simulation, iterations, _checked(options))

    def made(self) -> Simulation:
        simulation = self.simulation if isinstance(self.simulation, Simulation) else self.simulation()
        if not isinstance(simulation, Simulation):
            raise InputError(f"{self.simulation!r} made {simulation!r}, not a Simulation")
        return simulation


def _checked(options: Mapping[str, Any]) -> Mapping[str, Any]:
    known = [name for name in inspect.signature(Simulation.run).parameters if name not in OF_THE_BATCH]
    for name in options:
        if name not in known:
            raise InputError(f"{name}= is nothing that a child of a batch can be told; that are {', '.join(known)}")
    return options


@frozen(kw_only=True, eq=False)
class BatchResult:
    """What became of a batch. `result["north"]` is the result of a child; it raises the error of one that has none.

    `states`, `results`, `errors`: by label. A child that was cancelled is in `errors`, and in `results` with what it has done.
    """

    state: str
    iterations: int
    elapsed: float  # seconds
    states: Mapping[str, RunState]
    results: Mapping[str, Result] = Factory(dict)
    errors: Mapping[str, Exception] = Factory(dict)
    callback_errors: tuple[ErrorInfo, ...] = ()

    def __getitem__(self, label: str) -> Result:
        if label not in self.states:
            raise ReferenceNotFound(f"the batch has no child {label!r}; it has {', '.join(map(repr, self.states))}")
        if label not in self.results:
            raise self.errors[label]
        return self.results[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self.states)

    def __len__(self) -> int:
        return len(self.states)

    @property
    def children(self) -> dict[str, int]:
        """How many are in each state."""
        return {state.value: sum(each is state for each in self.states.values()) for state in RunState}

    def raise_for_errors(self) -> None:
        """Raises BatchError where a child has not completed, with the error of each."""
        if self.errors:
            raise self.error()

    def error(self) -> BatchError:
        error = BatchError(self._report(), list(self.errors.values()))
        error.result = self
        return error

    def _report(self) -> str:
        lines = [f"  {label}: {ErrorInfo.of(error)}" for label, error in self.errors.items()]
        return "\n".join([f"{len(self.errors):,} of {len(self):,} children of the batch did not complete", *lines])

    def __repr__(self) -> str:
        lines = [f"  {label}: {state}{self._told(label)}" for label, state in self.states.items()]
        called = [f"  a progress callback failed: {error}" for error in self.callback_errors]
        head = f"batch {self.state}, {self.children['completed']:,} of {len(self):,} children, {self.iterations:,} iterations"
        return "\n".join([f"{head} in {self.elapsed:.2f} s", *lines, *called])

    def _told(self, label: str) -> str:
        done = f", {self.results[label].iterations:,} iterations" if label in self.results else ""
        return f"{done}, {ErrorInfo.of(self.errors[label])}" if label in self.errors else done


def _items(given: object) -> dict[str, BatchItem]:
    if not isinstance(given, Mapping) or not given:
        raise InputError(f"a batch of {given!r}: give a mapping from labels to simulations, functions that make one, or mc.BatchItem")
    return {str(label): item if isinstance(item, BatchItem) else BatchItem(item) for label, item in given.items()}


@frozen(kw_only=True, eq=False)
class BatchRequest:
    """What is asked of the run of a batch. `is_told`: whether somebody listens to the events of children."""

    items: Mapping[str, BatchItem]
    max_parallel: int
    on_child_error: str
    interval: float
    heartbeat: float
    is_told: bool


@frozen(eq=False)
class Batch:
    """Simulations to be run side by side. `items`: label → `Simulation`, a function that makes one, or `BatchItem`.

    Made once, run as often as you like. Raises InputError.
    """

    items: Mapping[str, BatchItem] = field(converter=_items)

    def run(
        self,
        iterations: int | None = None,
        *,
        max_parallel: int = 4,
        on_child_error: Literal["continue", "cancel"] = "continue",
        progress: Progress | None = None,
        child_progress: Progress | None = None,
        interval: float = 0.1,
        heartbeat: float = 2.0,
        strict_callbacks: bool = False,
        cancel: CancelToken | None = None,
        **options: Any,
    ) -> BatchResult:
        """Run every child, `max_parallel` at once, and hand over what each gave.

        `iterations` and `options`, such as seed= or engine=, are those of `Simulation.run`, for each child that has none of its own.
        `on_child_error`: "continue" with the others, or "cancel" them at the first error. `progress`: True for a bar, a callback or
        several, called on this thread with the events of the batch; `child_progress`: with those of its children. The rest is as in
        `Simulation.run`. Works inside a running event loop too, which it blocks; `run_async` does not.

        Raises InputError, BatchError where no child completed, CallbackError, SimulationCancelled (with `.result`), and on Ctrl-C
        SimulationInterrupted. Where some children completed, the others are in `BatchResult.errors`.
        """
        listeners = Listeners(callbacks_of(progress), strict_callbacks, token_of(cancel), callbacks_of(child_progress))
        launch = self._launch(iterations, options, listeners, max_parallel, on_child_error, interval, heartbeat)
        attend(launch)
        return launch.outcome()

    async def run_async(
        self,
        iterations: int | None = None,
        *,
        max_parallel: int = 4,
        on_child_error: Literal["continue", "cancel"] = "continue",
        progress: AsyncProgress | None = None,
        child_progress: AsyncProgress | None = None,
        interval: float = 0.1,
        heartbeat: float = 2.0,
        strict_callbacks: bool = False,
        cancel: CancelToken | None = None,
        **options: Any,
    ) -> BatchResult:
        """`run` without blocking the event loop, on which callbacks are called; they may be coroutine functions."""
        from ultramc import asynchronous

        told, told_of_children = (callbacks_of(each, may_be_async=True) for each in (progress, child_progress))
        listeners = Listeners(told, strict_callbacks, token_of(cancel), told_of_children)
        launch = self._launch(iterations, options, listeners, max_parallel, on_child_error, interval, heartbeat)
        await asynchronous.attend(launch)
        return launch.outcome()

    def start(
        self,
        iterations: int | None = None,
        *,
        max_parallel: int = 4,
        on_child_error: Literal["continue", "cancel"] = "continue",
        progress: Progress | None = None,
        child_progress: Progress | None = None,
        interval: float = 0.1,
        heartbeat: float = 2.0,
        strict_callbacks: bool = False,
        cancel: CancelToken | None = None,
        **options: Any,
    ) -> RunHandle[BatchResult]:
        """`run` in the background. Callbacks are called on one thread of the handle's; its events are those of the batch."""
        listeners = Listeners(callbacks_of(progress), strict_callbacks, token_of(cancel), callbacks_of(child_progress))
        return RunHandle(self._launch(iterations, options, listeners, max_parallel, on_child_error, interval, heartbeat, is_read=True))

    def stream(
        self,
        iterations: int | None = None,
        *,
        max_parallel: int = 4,
        on_child_error: Literal["continue", "cancel"] = "continue",
        interval: float = 0.1,
        heartbeat: float = 2.0,
        cancel: CancelToken | None = None,
        **options: Any,
    ) -> EventStream[BatchResult]:
        """`run` as the events of the batch: `async for event in batch.stream(n)`; its `result()` is there when the loop has ended."""
        from ultramc.asynchronous import EventStream

        listeners = Listeners((), False, token_of(cancel))
        return EventStream(self._launch(iterations, options, listeners, max_parallel, on_child_error, interval, heartbeat, is_read=True))

    def _launch(
        self,
        iterations: int | None,
        options: Mapping[str, Any],
        listeners: Listeners,
        max_parallel: int,
        on_child_error: str,
        interval: float,
        heartbeat: float,
        *,
        is_read: bool = False,
    ) -> Launch[BatchResult]:
        check_choice("on_child_error", on_child_error, ("continue", "cancel"))
        if options.get("checkpoint") is not None:
            raise InputError("checkpoint= of a whole batch would be shared by its children; give each BatchItem one of its own")
        items = {label: _with(item, iterations, options) for label, item in self.items.items()}
        is_told = bool(listeners.of_children)
        between, beat = seconds("interval", interval), seconds("heartbeat", heartbeat, at_least=MINIMUM_HEARTBEAT)
        parallel = at_least_one("max_parallel", max_parallel)
        asked = BatchRequest(
            items=items, max_parallel=parallel, on_child_error=on_child_error, interval=between, heartbeat=beat, is_told=is_told
        )
        position = position_of([Standing(total=item.iterations) for item in items.values()])
        is_read = bool(is_read or listeners.callbacks or is_told)
        tracker: Tracker = BatchTracker(
            run_id=token_hex(8), total=position.total, interval=between if is_read else math.inf, heartbeat=beat, position=position
        )
        return Launch(partial(_carry_out, asked), tracker, listeners)


def _with(item: BatchItem, iterations: int | None, options: Mapping[str, Any]) -> BatchItem:
    return BatchItem(item.simulation, iterations if item.iterations is None else item.iterations, **{**options, **item.options})


def _carry_out(asked: BatchRequest, stages: Stages) -> BatchResult:
    from ultramc import children

    return children.run(asked, stages)


def run_batch(
    items: Mapping[str, Simulation | Callable[[], Simulation] | BatchItem],
    iterations: int | None = None,
    *,
    max_parallel: int = 4,
    on_child_error: Literal["continue", "cancel"] = "continue",
    progress: Progress | None = None,
    child_progress: Progress | None = None,
    interval: float = 0.1,
    heartbeat: float = 2.0,
    strict_callbacks: bool = False,
    cancel: CancelToken | None = None,
    **options: Any,
) -> BatchResult:
    """`Batch(items).run(iterations, …)`."""
    return Batch(items).run(
        iterations,
        max_parallel=max_parallel,
        on_child_error=on_child_error,
        progress=progress,
        child_progress=child_progress,
        interval=interval,
        heartbeat=heartbeat,
        strict_callbacks=strict_callbacks,
        cancel=cancel,
        **options,
    )
