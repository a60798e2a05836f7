"""Validation of an engine before a run: the first iterations on it and on NumPy, compared one by one.

Nothing is simulated where they disagree. An iteration beyond the tolerances is accepted only where the first instruction
that differs is a crossing (see `divergence`), and only a few of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen
from attrs.validators import ge, instance_of
from numpy.typing import NDArray

from ultramc.divergence import Crossing, first_divergence
from ultramc.engines.base import CANONICAL_BLOCK, Chunk, Engine, Executable, Job
from ultramc.errors import EngineValidationError, GPUValidationError
from ultramc.logs import log
from ultramc.program import HIDDEN, Program, Slot
from ultramc.tolerance import Tolerance, root_mean_square
from ultramc.values import FIRST_ERROR

MOST_CROSSINGS = 4 / CANONICAL_BLOCK  # of the iterations compared
STRATUM = 64  # iterations


@frozen
class Validation:
    """How an engine is compared with NumPy before a run.

    `iterations`: how many of the first ones. An output may differ by `rtol` of itself and `atol` of its root mean square.
    """

    iterations: int = field(default=CANONICAL_BLOCK, validator=[instance_of(int), ge(1)])
    rtol: float = field(default=1e-9, converter=float, validator=ge(0))
    atol: float = field(default=1e-9, converter=float, validator=ge(0))

    @property
    def tolerance(self) -> Tolerance:
        return Tolerance(self.rtol, self.atol)


@frozen
class Statistics:
    """Of an output's valid iterations on one engine; `nan` counts those that are no number, whatever the tag says."""

    mean: float
    std: float
    minimum: float
    maximum: float
    nan: int

    @classmethod
    def of(cls, payload: NDArray[np.float64], tags: NDArray[np.uint8] | None) -> Statistics:
        valid = payload[np.isfinite(payload) & (tags is None or tags < FIRST_ERROR)]
        if not valid.size:
            return cls(math.nan, math.nan, math.nan, math.nan, int(np.isnan(payload).sum()))
        std = float(valid.std(ddof=1)) if valid.size > 1 else math.nan
        return cls(float(valid.mean()), std, float(valid.min()), float(valid.max()), int(np.isnan(payload).sum()))

    def __str__(self) -> str:
        return f"mean {self.mean:.6g}, std {self.std:.6g}, min {self.minimum:.6g}, max {self.maximum:.6g}, {self.nan} NaN"


@frozen
class Agreement:
    """What a result says about the validation of its engine, in words, and the crossings."""

    text: str = ""
    crossings: tuple[Crossing, ...] = ()

    @classmethod
    def of(cls, engine: str, iterations: int, largest: float, crossings: Sequence[Crossing]) -> Agreement:
        """`largest`: the largest difference, relative to what is larger, the number or its output's root mean square."""
        crossed = f"; {len(crossings)} crossed a threshold: {', '.join(map(str, crossings))}" if crossings else ""
        return cls(f"the first {iterations:,} iterations on {engine} agree with NumPy to {largest:.1e}{crossed}", tuple(crossings))

    @property
    def crossed(self) -> frozenset[int]:
        return frozenset(crossing.iteration for crossing in self.crossings)

    def __str__(self) -> str:
        return self.text


UNTESTED = Agreement("not validated, at the caller's wish")


def agreement(
    engines: tuple[Engine, Engine], executable_of: Callable[[Engine], Executable], program: Program, job: Job, how: Validation
) -> Agreement:
    """Compare the first engine with the second, which is NumPy. Raises EngineValidationError, for a GPU its subclass."""
    count = min(how.iterations, job.iterations)
    found, wanted = (each.run(executable_of(each), job, 0, count) for each in engines)
    return _compared_runs(engines, program, job, (found, wanted), how.tolerance)


def strata_agree(
    engines: tuple[Engine, Engine],
    executable: Executable,
    program: Program,
    job: Job,
    kept: Callable[[int, int], Chunk],
    stretches: Sequence[tuple[int, int]],
    tolerance: Tolerance,
) -> None:
    """`stretches` of a run, `kept(first, count)` of the first engine, against the second. Raises as `agreement` does."""
    for first, count in stretches:
        chunks = kept(first, count), engines[1].run(executable, job, first, count)
        for crossing in _compared_runs(engines, program, job, chunks, tolerance).crossings:
            log.info("crossing", engine=engines[0].name, crossing=str(crossing))


def windows(iterations: int, strata: int) -> list[tuple[int, int]]:
    """First iterations and lengths of so many stretches, from the beginning to the end."""
    count = min(STRATUM, iterations)
    return [(first, count) for first in sorted({(iterations - count) * number // max(1, strata - 1) for number in range(strata)})]


def _compared_runs(
    engines: tuple[Engine, Engine], program: Program, job: Job, chunks: tuple[Chunk, Chunk], tolerance: Tolerance
) -> Agreement:
    (engine, numpy), (found, wanted) = engines, chunks
    statistics = _statistics(program.outputs, engine.name, found, wanted)
    parted, largest = _parted(program.outputs, found, wanted, tolerance)
    crossings = []
    too_many = len(parted) > math.ceil(MOST_CROSSINGS * wanted.count)
    for number in parted[:1] if too_many else parted:
        iteration = wanted.first + number
        divergence = first_divergence(program, (numpy, engine), job, iteration, tolerance)
        if too_many or divergence is None or not divergence.is_crossing:
            what = _described(program.outputs, found, wanted, tolerance, number, engine.name)
            where = f"it first differs at {divergence.cell} ({divergence.op})" if divergence else "no single instruction differs"
            raise _failed(engine, f"{what}; {where}; {len(parted):,} of {wanted.count:,} iterations differ", statistics)
        crossings.append(divergence.at(iteration))
    return Agreement.of(engine.name, wanted.count, largest, crossings)


def failure(engine: Engine) -> str:
    """How the message begins when an engine turns out to be wrong."""
    begin = "GPU" if issubclass(engine.invalid, GPUValidationError) else f"engine {engine.name!r}:"
    return f"{begin} validation failed – simulation not executed"


def _failed(engine: Engine, what: str, statistics: Mapping[str, Sequence[Statistics]]) -> EngineValidationError:
    compared = [
        f"{label} on {name}: {one}" for label, both in statistics.items() for name, one in zip((engine.name, "numpy"), both, strict=True)
    ]
    return engine.invalid(
        "\n".join(
            (
                f"{failure(engine)}: {what}",
                *compared[:20],
                "pass on_invalid='numpy' to run on NumPy instead, validate=mc.Validation(rtol=…, atol=…) to allow more, or report it",
            )
        ),
        statistics,
    )


def _statistics(slots: Sequence[Slot], engine: str, found: Chunk, wanted: Chunk) -> dict[str, tuple[Statistics, Statistics]]:
    result = {}
    for number, slot in enumerate(slots):
        if not slot.label.startswith(HIDDEN):
            both = [Statistics.of(chunk.payloads[number], chunk.tags[number]) for chunk in (found, wanted)]
            result[slot.label] = (both[0], both[1])
            log.info("validation", output=slot.label, engine=engine, found=str(both[0]), numpy=str(both[1]))
    return result


def _parted(slots: Sequence[Slot], found: Chunk, wanted: Chunk, tolerance: Tolerance) -> tuple[list[int], float]:
    """The iterations in which an output differs, and the largest difference where none does."""
    differs = np.zeros(wanted.count, dtype=bool)
    largest = 0.0
    for number in range(len(slots)):
        same, sizes = _compared(found, wanted, number, tolerance)
        differs |= ~same.all(axis=0)
        largest = max(largest, float(sizes[same].max(initial=0.0)))
    return np.flatnonzero(differs).tolist(), largest


def _compared(found: Chunk, wanted: Chunk, number: int, tolerance: Tolerance) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Where an output is the same on both, and by how much of itself it differs. A number that is NaN is never the same."""
    got, want = found.payloads[number], wanted.payloads[number]
    tag, wanted_tag = found.tags[number], wanted.tags[number]
    scale = root_mean_square(want)
    same = tolerance.allows(got, want, scale)
    if wanted_tag is None or tag is None:
        same &= np.isfinite(got)
    else:
        is_error = wanted_tag >= FIRST_ERROR
        same = (tag == wanted_tag) & (is_error | (same & np.isfinite(got)))
        got, want = np.where(is_error, 0.0, got), np.where(is_error, 0.0, want)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        sizes = np.abs(got - want) / np.maximum(np.abs(want), scale)
    return same, np.where(np.isfinite(sizes), sizes, 0.0)


def _described(slots: Sequence[Slot], found: Chunk, wanted: Chunk, tolerance: Tolerance, number: int, engine: str) -> str:
    """The first output that differs in iteration `number` of the chunks."""
    for place, slot in enumerate(slots):
        same, _ = _compared(found, wanted, place, tolerance)
        if not same[:, number].all():
            cell = int(np.argmin(same[:, number]))
            one, other = (_value(chunk, place, cell, number) for chunk in (found, wanted))
            return f"{slot.label.removeprefix(HIDDEN)} is {one} on {engine} and {other} on NumPy in iteration {wanted.first + number}"
    raise AssertionError("an iteration that differs has an output that differs")


def _value(chunk: Chunk, number: int, cell: int, iteration: int) -> str:
    tags: Any = chunk.tags[number]
    kind = "" if tags is None else f" (kind {int(tags[cell, iteration])})"
    return f"{chunk.payloads[number][cell, iteration].item()!r}{kind}"
