"""Finding one's way in a strange workbook: which formulas look like results, and which constants move them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import numpy as np

from ultramc.address import CellRef, RangeRef
from ultramc.calculation import Calculation
from ultramc.compilation import Compilation, Draw
from ultramc.distributions.probability import Probability
from ultramc.engines.base import Job
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.errors import FormulaError
from ultramc.graph import Graph
from ultramc.program import Builder, Operand
from ultramc.workbook import CellList, Workbook

MOST = 2_000  # constants that are tried one by one
NUDGE = 0.01  # by which share each is moved


def outputs(book: Workbook, graph: Graph) -> CellList:
    """Numeric formula cells that no formula reads, those that rest on most cells first."""
    read = {index for region in graph.regions for index in graph.precedents(region) if index != region.index}
    depth = _depths(graph)
    ends = [region for region in graph.regions if region.index not in read]
    ends.sort(key=lambda region: -depth[region.index])
    cells = [cell for region in ends for cell in list(region.place.cells())[-3:]]
    numeric = [cell for cell in cells if isinstance(book.value(cell), float) or book.value(cell) is None]
    return book.listed(numeric[:40])


def _depths(graph: Graph) -> dict[int, int]:
    """For each region the number of regions on the longest way to it."""
    depth: dict[int, int] = {}
    for group in graph.order():
        before = {index for member in group for index in graph.precedents(graph.regions[member]) if index in depth}
        longest = max((depth[index] for index in before), default=0)
        depth.update((member, longest + len(group)) for member in group)
    return depth


def inputs(book: Workbook, graph: Graph, output: RangeRef) -> CellList:
    """Numeric constants that reach an output, the most influential first: each is moved by 1 %, one at a time.

    Of more than `MOST` the first are tried. They are listed unranked where a formula on the way cannot be simulated.
    """
    cells = _constants(book, graph, output)[:MOST]
    if not cells:
        return book.listed([])
    calculation = Calculation.of(graph, now=datetime.now())
    calculation.propagate([region.index for region in graph.overlapping(output)])
    laws = {RangeRef.of(cell): _nudged(_number(book, cell), number) for number, cell in enumerate(cells, 1)}
    try:
        program = Compilation(calculation, laws, {"output": output}, in_sheet=False).compile().program
    except FormulaError:
        return book.listed(cells)
    engine = NumPyEngine(threads=1)
    chunk = engine.run(engine.compile(program), Job(0, len(cells) + 1), 0, len(cells) + 1)
    moved = np.abs(chunk.payloads[0][:, 1:] - chunk.payloads[0][:, :1]).sum(axis=0)
    order = np.argsort(-np.nan_to_num(moved, nan=np.inf), kind="stable")
    return book.listed([cells[index] for index in order if moved[index] > 0])


def _number(book: Workbook, cell: CellRef) -> float:
    value = book.value(cell)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _nudged(value: float, number: int) -> Draw:
    """The saved value, moved in the iteration of that number only."""

    def draw(builder: Builder, probability: Callable[[], Probability]) -> Operand:
        mine = builder.emit("equal", builder.emit("iteration", shape=(1, 1, 1, 1)), float(number))
        return builder.emit("select", mine, value + NUDGE * (abs(value) or 1.0), value)

    return draw


def _constants(book: Workbook, graph: Graph, output: RangeRef) -> list[CellRef]:
    """Numeric cells without a formula that the output reads, directly or not."""
    seen: dict[CellRef, None] = {}
    for group in graph.order([region.index for region in graph.overlapping(output)]):
        for index in group:
            for area, _ in graph.areas(graph.regions[index]):
                sheet = book.sheet(area.sheet)
                for row, column in sheet.keys((area.top, area.left, area.bottom, area.right)):
                    value = sheet.values.get((row, column))
                    if isinstance(value, float) and (row, column) not in sheet.formulas:
                        seen[CellRef(area.sheet, row, column)] = None
    return list(seen)
