"""Where the samples of a run go: all are kept, or what is left of them in constant memory.

Both take chunks in order, and hand over a column for each output slot. The second cuts the run into the same stretches whatever the
chunks are, so that they cannot change a bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ultramc.digest import BYTES, GROUP_BYTES, STRETCH, Failure, Tally, numeric
from ultramc.engines.base import CANONICAL_BLOCK, Chunk, Job, empty_chunk, processors
from ultramc.program import HIDDEN, Program, Slot
from ultramc.results import AnyColumn, Column, Digests
from ultramc.validation import windows
from ultramc.values import FIRST_ERROR

if TYPE_CHECKING:
    from ultramc.checkpoint import Kept
    from ultramc.workbook import Workbook

MOST_GROUPS = 16  # of replicates, that standard errors are made of: as many as there are replicates by default
WORKING = 16 * STRETCH * 8  # bytes while a stretch of a cell is digested
MOST_THREADS = 8  # that digest

Array = NDArray[np.float64]
Stretch = tuple[int, int, int]  # group, first iteration and end


@frozen(eq=False)
class Facts:
    """What a column says beside its samples: the slots of a program, and the workbook with their saved values."""

    program: Program
    workbook: Workbook
    job: Job

    def named(self, slot: Slot) -> dict[str, Any]:
        cells = tuple(slot.cells.cells())
        return {
            "label": slot.label.removeprefix(HIDDEN),
            "cells": cells,
            "shape": (slot.cells.height, slot.cells.width),
            "texts": self.program.texts,
            "base": tuple(self.workbook.value(cell) for cell in cells),
            "together": self.job.together,
        }


class Keeping(ABC):
    """Takes the chunks of a run, each where the one before ended."""

    name: ClassVar[str]

    def __init__(self, facts: Facts, strata: int) -> None:
        """`strata`: as of the engine."""
        self.facts = facts
        self.slots = facts.program.outputs
        self.done = 0

    @abstractmethod
    def receive(self, chunk: Chunk) -> None: ...

    @abstractmethod
    def window(self, first: int, count: int) -> Chunk:
        """Iterations as the engine gave them: the first block, the first that failed, and those of `validation.windows`."""

    @abstractmethod
    def stretches(self, strata: int) -> list[tuple[int, int]]:
        """First iterations and lengths of so many windows, spread over what is done."""

    @property
    @abstractmethod
    def first_failed(self) -> int | None:
        """The first iteration in which the first slot that ever failed did."""

    @abstractmethod
    def save(self, kept: Kept, *, at_once: bool = False, whole: bool = False) -> None:
        """Into a checkpoint, as `Kept.keep` does."""

    @abstractmethod
    def resume(self, kept: Kept, take: Callable[[Chunk], None]) -> None:
        """What a checkpoint holds; chunks are given to `take`, which gives them to `receive`."""

    @abstractmethod
    def columns(self) -> dict[str, AnyColumn]:
        """By label of the slot; nothing can be received any more."""

    @staticmethod
    @abstractmethod
    def bytes(slots: Sequence[Slot], job: Job) -> int:
        """What is kept of a run takes so many."""


class Samples(Keeping):
    """All of them."""

    name = "samples"

    def __init__(self, facts: Facts, strata: int) -> None:
        super().__init__(facts, strata)
        iterations = facts.job.iterations
        self.samples = {slot.label: np.empty((slot.cells.size, iterations)) for slot in self.slots}
        self.tags = {slot.label: np.zeros((slot.cells.size, iterations), np.uint8) for slot in self.slots if slot.kinds != 1}

    @staticmethod
    def bytes(slots: Sequence[Slot], job: Job) -> int:
        return sum(slot.cells.size * (8 if slot.kinds == 1 else 9) for slot in slots) * job.iterations

    def receive(self, chunk: Chunk) -> None:
        place = slice(chunk.first, chunk.first + chunk.count)
        for slot, payload, tag in zip(self.slots, chunk.payloads, chunk.tags, strict=True):
            self.samples[slot.label][:, place] = payload
            if slot.label in self.tags:
                self.tags[slot.label][:, place] = np.asarray(slot.tag if tag is None else tag)
        self.done += chunk.count

    def window(self, first: int, count: int) -> Chunk:
        place = slice(first, first + count)
        tags = (None if isinstance(slot.tag, int) else self.tags[slot.label][:, place] for slot in self.slots)
        return Chunk(first, count, tuple(self.samples[slot.label][:, place] for slot in self.slots), tuple(tags))

    def stretches(self, strata: int) -> list[tuple[int, int]]:
        return windows(self.done, strata)

    @property
    def first_failed(self) -> int | None:
        failed = ((tags[:, : self.done] >= FIRST_ERROR).any(axis=0) for tags in self.tags.values())
        return next((int(np.argmax(each)) for each in failed if each.any()), None)

    def save(self, kept: Kept, *, at_once: bool = False, whole: bool = False) -> None:
        kept.keep(self.window, self.done, at_once=at_once, whole=whole)

    def resume(self, kept: Kept, take: Callable[[Chunk], None]) -> None:
        for chunk in kept.chunks(self.slots):
            take(chunk)

    def columns(self) -> dict[str, AnyColumn]:
        return {slot.label: self._column(slot) for slot in self.slots}

    def _column(self, slot: Slot) -> Column:
        samples = self.samples[slot.label][:, : self.done].T
        tags = self.tags[slot.label][:, : self.done].T if slot.label in self.tags else None
        if tags is not None:
            samples[tags >= FIRST_ERROR] = np.nan
        return Column(samples=samples, tags=tags, **self.facts.named(slot))


class Summary(Keeping):
    """A digest of each cell. Chunks are gathered until a stretch is whole; then each cell is digested by itself, on several threads."""

    name = "summary"

    def __init__(self, facts: Facts, strata: int) -> None:
        super().__init__(facts, strata)
        job = facts.job
        self._length = group_length(job)
        self._buffer = empty_chunk(self.slots, 0, min(STRETCH, job.iterations))
        self._begun = 0  # iterations that are digested; those since are in the buffer
        groups = -(-job.iterations // self._length)
        self._tallies = [[Tally(groups, len(facts.program.texts)) for _ in range(slot.cells.size)] for slot in self.slots]
        self._excluded = [0 for _ in self.slots]
        self._first_failed: dict[int, int] = {}  # by number of the slot
        self._lead: list[Stretch] = []  # those that come before the bins are laid
        self._windows = [
            empty_chunk(self.slots, *window) for window in (*windows(job.iterations, strata), (0, min(CANONICAL_BLOCK, job.iterations)))
        ]
        self._failures: dict[int, Chunk] = {}
        self._is_laid = False
        self._pool: ThreadPoolExecutor | None = None

    @staticmethod
    def bytes(slots: Sequence[Slot], job: Job) -> int:
        buffered = Samples.bytes(slots, job) // job.iterations * (min(STRETCH, job.iterations) + CANONICAL_BLOCK)
        return buffered + _digest_bytes(slots, job) + _threads() * WORKING

    def receive(self, chunk: Chunk) -> None:
        taken = 0
        while taken < chunk.count:
            upto = min(chunk.count, self._end() - chunk.first)
            _copy(chunk, taken, upto, self._buffer, (chunk.first + taken) % STRETCH)
            taken = upto
            self.done = chunk.first + taken
            if self.done == self._end():
                self._digest()
        for window in self._windows:
            low, high = max(chunk.first, window.first), min(chunk.first + chunk.count, window.first + window.count)
            if low < high:
                _copy(chunk, low - chunk.first, high - chunk.first, window, low - window.first)

    def _end(self) -> int:
        """Of the stretch that is being gathered."""
        whole = self._begun // STRETCH * STRETCH + STRETCH
        group = self._begun // self._length * self._length + self._length
        return min(whole, group, self.facts.job.iterations)

    def _digest(self) -> None:
        """What has been gathered since the last time."""
        first, end = self._begun, self.done
        stretch = (first // self._length, first, end)
        self._begun = end
        for number, slot in enumerate(self.slots):
            tags = self._tags(number, slot, first, end)
            if tags is not None:
                self._note_failures(number, first, tags)
                self._excluded[number] += int(np.count_nonzero(~numeric(tags).all(axis=0)))
        self._of_each_cell(partial(self._digest_cell, stretch))
        if end <= STRETCH:
            self._lead.append(stretch)
            if end in (STRETCH, self.facts.job.iterations):
                self._lay(end)

    def _lay(self, end: int) -> None:
        """The bins, by the first iterations, which then are counted."""
        self._is_laid = True
        self._of_each_cell(partial(self._lay_cell, (0, 0, end)))

    def _of_each_cell(self, work: Callable[[int, int], None]) -> None:
        """Cells have nothing to do with each other, so that it is the same in which order."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_threads(), thread_name_prefix="ultramc digest")
        cells = [(number, cell) for number, tallies in enumerate(self._tallies) for cell in range(len(tallies))]
        for _ in self._pool.map(lambda place: work(*place), cells):
            pass

    def _digest_cell(self, stretch: Stretch, number: int, cell: int) -> None:
        group, first, end = stretch
        tally, values = self._tallies[number][cell], self._values(number, cell, stretch)
        tally.add(group, first, *values)
        if end > STRETCH:
            tally.count(group, *values)

    def _lay_cell(self, whole: Stretch, number: int, cell: int) -> None:
        tally = self._tallies[number][cell]
        tally.lay(*self._values(number, cell, whole))
        for stretch in self._lead:
            tally.count(stretch[0], *self._values(number, cell, stretch))

    def _values(self, number: int, cell: int, stretch: Stretch) -> tuple[Array, NDArray[np.uint8] | None]:
        """Payload and tags of a cell in a stretch that is in the buffer."""
        _, first, end = stretch
        tags = self._tags(number, self.slots[number], first, end)
        return self._buffer.payloads[number][cell, _place(first, end)], None if tags is None else tags[cell]

    def _note_failures(self, number: int, first: int, tags: NDArray[np.uint8]) -> None:
        failed = tags >= FIRST_ERROR
        for cell in np.flatnonzero(failed.any(axis=1)).tolist():
            tally, place = self._tallies[number][cell], int(np.argmax(failed[cell]))
            if tally.failure is None:
                tally.failure = Failure(first + place, int(tags[cell, place]), self._inputs(first + place))
        if number not in self._first_failed and failed.any():
            iteration = first + int(np.argmax(failed.any(axis=0)))
            self._first_failed[number] = iteration
            self._failures[iteration] = _cut(self._buffer, iteration % STRETCH, iteration)

    def _inputs(self, iteration: int) -> dict[str, tuple[float, ...]]:
        """What the inputs of the result were, by label; NaN where one is no number."""
        found = {}
        for number, slot in enumerate(self.slots):
            if slot.label.startswith(HIDDEN):
                values = self._buffer.payloads[number][:, iteration % STRETCH]
                tags = self._tags(number, slot, iteration, iteration + 1)
                numbers = values if tags is None else np.where(numeric(tags[:, 0]), values, np.nan)
                found[slot.label.removeprefix(HIDDEN)] = tuple(numbers.tolist())
        return found

    def _tags(self, number: int, slot: Slot, first: int, end: int) -> NDArray[np.uint8] | None:
        if slot.kinds == 1:
            return None
        tags = self._buffer.tags[number]
        return np.full((slot.cells.size, end - first), slot.tag, np.uint8) if tags is None else tags[:, _place(first, end)]

    def window(self, first: int, count: int) -> Chunk:
        if count == 1 and first in self._failures:
            return self._failures[first]
        held = next(each for each in self._windows if each.first <= first and first + count <= each.first + each.count)
        return _cut(held, first - held.first, first, count)

    def stretches(self, strata: int) -> list[tuple[int, int]]:
        """Laid out for the whole run; those that are whole by now."""
        return [(first, count) for first, count in windows(self.facts.job.iterations, strata) if first + count <= self.done]

    @property
    def first_failed(self) -> int | None:
        return self._first_failed[min(self._first_failed)] if self._first_failed else None

    def save(self, kept: Kept, *, at_once: bool = False, whole: bool = False) -> None:
        """What is digested; the stretch that is being gathered is computed again."""
        if self._is_laid:
            state = self._tallies, self._excluded, self._first_failed, self._windows, self._failures
            size = _digest_bytes(self.slots, self.facts.job)
            kept.replace(state, self._begun, size, at_once=at_once, whole=whole)

    def resume(self, kept: Kept, take: Callable[[Chunk], None]) -> None:
        state = kept.state()
        if state is None:
            return
        tallies, self._excluded, self._first_failed, windows, failures = state
        self._tallies = [[Tally.restored(tally) for tally in each] for each in tallies]
        self._windows = list(map(_restored, windows))
        self._failures = {iteration: _restored(chunk) for iteration, chunk in failures.items()}
        self._begun = self.done = kept.done
        self._is_laid = True

    def columns(self) -> dict[str, AnyColumn]:
        """A stretch that a run which ended early left unfinished is digested as it is."""
        if self._begun < self.done:
            self._digest()
        if not self._is_laid:
            self._lay(self.done)
        if self._pool is not None:
            self._pool.shutdown()
        return {
            slot.label: Digests(
                digests=tuple(tally.digest() for tally in tallies),
                excluded_iterations=excluded,
                **self.facts.named(slot),
            )
            for slot, tallies, excluded in zip(self.slots, self._tallies, self._excluded, strict=True)
        }


KINDS: dict[str, type[Keeping]] = {kind.name: kind for kind in (Samples, Summary)}


def _threads() -> int:
    return min(processors(), MOST_THREADS)


def _digest_bytes(slots: Sequence[Slot], job: Job) -> int:
    groups = -(-job.iterations // group_length(job))
    return sum(slot.cells.size for slot in slots) * (BYTES + (groups - 1) * GROUP_BYTES)


def group_length(job: Job) -> int:
    """Of an independent part of the run: the whole of it where all iterations are, else so many replicates that 16 groups suffice."""
    if job.together == 1:
        return job.iterations
    replicates = -(-job.iterations // job.together)
    return -(-replicates // MOST_GROUPS) * job.together


def _place(first: int, end: int) -> slice:
    """Of a stretch in the buffer."""
    return slice(first % STRETCH, first % STRETCH + end - first)


def _copy(chunk: Chunk, start: int, end: int, target: Chunk, at: int) -> None:
    for ours, theirs in ((chunk.payloads, target.payloads), (chunk.tags, target.tags)):
        for one, other in zip(ours, theirs, strict=True):
            if one is not None and other is not None:
                other[:, at : at + end - start] = one[:, start:end]


def _restored(values: Sequence[Any]) -> Chunk:
    """A chunk of which `packing` gave back the fields."""
    first, count, payloads, tags = values
    return Chunk(first, count, tuple(payloads), tuple(tags))


def _cut(chunk: Chunk, at: int, first: int, count: int = 1) -> Chunk:
    """Some iterations of a chunk, copied."""
    place = slice(at, at + count)
    payloads = tuple(payload[:, place].copy() for payload in chunk.payloads)
    return Chunk(first, count, payloads, tuple(None if tags is None else tags[:, place].copy() for tags in chunk.tags))
