"""What the host makes for engines that compile: draws, numbers of iterations, strata. The bits are those of every engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from attrs import frozen

from ultramc.engines.base import Chunk
from ultramc.engines.cstyle import WORDS_OF_SITE, Source
from ultramc.program import Instruction, Program
from ultramc.sampling import Job, Random, Site, restored

Array = Any


@frozen
class Lot:
    """The iterations that are carried out at once: `size` of them, of which those beyond `count` are thrown away."""

    job: Job
    first: int
    count: int
    size: int

    def made(self, instruction: Instruction) -> Array:
        """(rows, columns, 1, 1, size), float64."""
        return MADE[instruction.op](self, instruction)


def _drawn(lot: Lot, instruction: Instruction) -> Array:
    site: Site = instruction.attributes["site"]
    rows, columns, *_ = instruction.result.shape
    draws = np.empty((*instruction.result.shape, lot.size))
    draws[..., lot.count :] = 0.5
    for row, column in np.ndindex(rows, columns):
        place = Site(site.sheet, site.row + row, site.column + column, site.k)
        lot.job.fill(place, lot.first, draws[row, column, 0, 0, : lot.count])
    return draws


def _numbered(lot: Lot, instruction: Instruction) -> Array:
    return np.arange(lot.first, lot.first + lot.size, dtype=np.float64).reshape(1, 1, 1, 1, lot.size)


def _restored(lot: Lot, instruction: Instruction) -> Array:
    """NaN where the sampling has no strata to restore."""
    a, scores = instruction.attributes, np.full((*instruction.result.shape, lot.size), np.nan)
    if lot.job.restores_strata:
        restored(lot.job, a["tie"], a["member"], lot.first, scores[0, 0, 0, 0, : lot.count])
    return scores


MADE: Mapping[str, Callable[[Lot, Instruction], Array]] = {"uniform": _drawn, "iteration": _numbered, "permute": _restored}


# For C-style source


def words_of(source: Source, job: Job) -> Array:
    """What `draw` must know of each site."""
    words = np.zeros((max(1, len(source.drawing)), WORDS_OF_SITE), np.uint64)
    for number, (instruction, _) in enumerate(source.drawing):
        if instruction.op == "uniform":
            site = instruction.attributes["site"]
            words[number] = [*site.key(job.seed).tolist(), site.row, site.column, site.k]
    return words


def drawn_of(source: Source, lot: Lot) -> Array | None:
    """None where draws are independent: then the source makes them itself."""
    if isinstance(lot.job.sampling, Random):
        return None
    drawn = np.empty((source.cells_drawn, lot.size))
    for instruction, cell in source.drawing:
        values = lot.made(instruction)
        drawn[cell : cell + values[..., 0].size] = values.reshape(-1, lot.size)
    return drawn


def chunk_of(program: Program, outputs: Array, first: int, count: int) -> Chunk:
    """Outputs are payload and tag of each slot, one after the other."""
    payloads, tags, row = [], [], 0
    for slot in program.outputs:
        size = slot.cells.size
        payloads.append(np.ascontiguousarray(outputs[row : row + size]))
        row += size
        has_tag = not isinstance(slot.tag, int)
        tags.append(outputs[row : row + size].astype(np.uint8) if has_tag else None)
        row += size if has_tag else 0
    return Chunk(first, count, tuple(payloads), tuple(tags))
