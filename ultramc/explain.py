"""The way of one cell through the program, stop by stop, with sample values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen

from ultramc.address import CellRef, RangeRef
from ultramc.calculation import Calculation
from ultramc.compilation import Compiled
from ultramc.engines.base import Job
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.program import Body, Instruction, Program
from ultramc.references import extent, static_areas
from ultramc.syntax import relative_text
from ultramc.values import FIRST_ERROR, Kind, error_of

if TYPE_CHECKING:
    from ultramc.graph import Region
    from ultramc.simulation import Simulation

SAMPLES = 5
SEED = 1
MOST_LINES = 12


@frozen
class Explanation:
    """What `Simulation.explain` gives: a heading and lines for each stop."""

    cell: CellRef
    stops: tuple[tuple[str, tuple[str, ...]], ...]

    def __repr__(self) -> str:
        lines = [str(self.cell)]
        for number, (name, texts) in enumerate(self.stops, 1):
            lines.append(f"{number}. {name}")
            lines += [f"     {text}" for text in texts]
        return "\n".join(lines)


def explain(simulation: Simulation, reference: str | CellRef | RangeRef) -> Explanation:
    book = simulation.workbook
    cell = book.resolve(reference).first
    calculation = _calculated(simulation, cell)
    compiled = _compiled(simulation, calculation, cell)
    program = compiled.program
    region = simulation.graph.region_at(cell)
    stops = [("workbook.py: the cell", _cell_lines(simulation, calculation, cell))]
    if region is not None and region.tree is not None:
        stops.append(
            (
                "parser.py: its formula as a tree",
                (f"{type(region.tree).__name__} {relative_text(region.tree)}", f"the same in {region.place}"),
            )
        )
        stops.append(("graph.py: what it reads", _precedents(simulation, region, cell)))
    stops.append(("distributions: the inputs on its way", _inputs(simulation, program)))
    stops.append(("lowering.py, program.py: the instructions that compute it", _instructions(program, cell)))
    stops += _steps(calculation, cell)
    reason = compiled.unrolled.get(RangeRef.of(cell)) or calculation.unrolled.get(RangeRef.of(cell))
    if reason is not None:
        stops.append(("schedule.py: why it is computed by itself", (reason,)))
    stops.append((f"engines/on_numpy.py: {SAMPLES} iterations with seed {SEED}", _samples(program)))
    return Explanation(cell, tuple((name, texts or ("none",)) for name, texts in stops))


def _calculated(simulation: Simulation, cell: CellRef) -> Calculation:
    """A calculation of its own: the simulation's may be in use by other threads, and need not hold the cell."""
    calculation = Calculation.of(simulation.graph, now=simulation.now)
    calculation.propagate([region.index for region in simulation.graph.overlapping(RangeRef.of(cell))])
    return calculation


def _compiled(simulation: Simulation, calculation: Calculation, cell: CellRef) -> Compiled:
    place = {str(cell): RangeRef.of(cell)}
    return simulation.compilation_of(calculation, place).compile()


def _cell_lines(simulation: Simulation, calculation: Calculation, cell: CellRef) -> tuple[str, ...]:
    (shown,) = simulation.workbook.cells(cell)
    formula = f"={shown.formula}" if shown.formula else "blank" if shown.value is None else "a constant"
    base = calculation.grid.scalars(RangeRef.of(cell))[0]
    saved = "no saved value" if shown.value is None else f"saved value {shown.value}"
    return (f"{shown.label or 'no label'}: {formula}", f"{saved}, recalculated {base}")


def _precedents(simulation: Simulation, region: Region, cell: CellRef) -> tuple[str, ...]:
    assert region.tree is not None
    place = RangeRef.of(cell)
    areas = [extent(area, place) for area in static_areas(simulation.graph.resolver, region.tree, place)]
    return tuple(str(area) for area in dict.fromkeys(areas))


def _inputs(simulation: Simulation, program: Program) -> tuple[str, ...]:
    read = {instruction.cell for instruction in program.instructions if instruction.op == "uniform"}
    given = [item for item in simulation.inputs if any(item.cells.intersection(place) for place in read if place is not None)]
    return tuple(f"{item.label} ~ {item.laws[0]}" for item in given)


def _steps(calculation: Calculation, cell: CellRef) -> list[tuple[str, tuple[str, ...]]]:
    """The stop of a cell that the workbook computes in a loop: its own program may be too short for one."""
    found = ((place, directions) for place, directions in calculation.recurrent.items() if cell in place)
    return [("recurrences.py: computed step by step", (f"{place}, {' and '.join(map(str, directions))}",)) for place, directions in found]


def _instructions(program: Program, cell: CellRef) -> tuple[str, ...]:
    mine = _of_cell(program.instructions, cell)
    text = str(Program(tuple(mine), program.outputs, program.texts)).splitlines()
    others = len(program.instructions) - len(mine)
    shown = text if len(text) <= MOST_LINES else [*text[: MOST_LINES - 1], f"… {len(text) - MOST_LINES} more", text[-1]]
    return (*shown, f"after {others} instructions of the cells before it") if others else tuple(shown)


def _of_cell(instructions: Sequence[Instruction], cell: CellRef) -> list[Instruction]:
    """The instructions of a cell; of a loop the steps that are its own."""
    found = []
    for instruction in instructions:
        body: Body | None = instruction.attributes.get("body")
        inner = _of_cell(body.instructions, cell) if body is not None else []
        if body is not None and inner:
            own = Body(body.parameters, tuple(inner), body.results)
            found.append(evolve(instruction, attributes={**instruction.attributes, "body": own}))
        elif instruction.cell is not None and cell in instruction.cell:
            found.append(instruction)
    return found


def _samples(program: Program) -> tuple[str, ...]:
    engine = NumPyEngine(threads=1)
    chunk = engine.run(engine.compile(program), Job(SEED, SAMPLES), 0, SAMPLES)
    payload, tag = chunk.payloads[0][0], chunk.tags[0]
    kinds = np.full(SAMPLES, program.outputs[0].tag) if tag is None else tag[0]
    return tuple(_sample(program, value, kind) for value, kind in zip(payload.tolist(), kinds.tolist(), strict=True))


def _sample(program: Program, value: float, kind: int) -> str:
    if kind >= FIRST_ERROR:
        return str(error_of(kind))
    return repr(program.texts[int(value)]) if kind == Kind.TEXT else f"{value:.10g}"
