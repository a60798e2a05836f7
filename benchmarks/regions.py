"""How real workbooks fall into blocks and loops, and what it costs to compile them.

    python benchmarks/regions.py FOLDER…  [--seconds 60] [--only PART_OF_A_NAME]

One row for each .xlsx and .xlsm file below the folders that has formulas, then totals; after that why files were left out, why
programs were refused, and which formulas were computed one by one. Each file has a process of its own.

| column | what it says |
| --- | --- |
| cells, distinct, rectangles | formula cells; formulas that differ in relative form; rectangles of like formulas |
| block, loop, single | % of the formula cells, in the base case: in blocks, in loops, formulas that stand once |
| each, saved | % of them one by one, or not computed |
| constants | numbers that formulas read; all are made uncertain |
| program | its instructions, but for the draws; everything that no other formula reads is an output |
| refused | how often formulas cannot be computed with simulated numbers: these are fixed at their values, or their numbers are |
| read … first | seconds: file to cells, cells to graph, base case, program, first iteration |
| peak | MB, of the whole process |
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
from apart import apart
from attrs import Factory, define

import ultramc as mc
from ultramc.address import CellRef, RangeRef
from ultramc.calculation import Calculation
from ultramc.compilation import Compilation, Compiled, Draw
from ultramc.engines.base import Job
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.graph import Graph, Region
from ultramc.parser import relative_key
from ultramc.program import Instruction, constant

NOW = datetime(2026, 1, 1)
MOST_REFUSALS = 40  # formulas that are fixed, one after the other, before a workbook is given up
EXAMPLES = 3

T = TypeVar("T")


@define
class Findings:
    """Of one workbook. `reasons`: why cells were computed one by one, how many, and some of them with their formulas."""

    cells: int = 0
    distinct: int = 0
    rectangles: int = 0
    shares: Counter[str] = Factory(Counter)  # cells by how they were computed
    reasons: dict[str, tuple[int, list[str]]] = Factory(dict)
    constants: int = 0
    instructions: int | None = None  # None: no program, see `refusals`
    one_by_one: int = 0  # cells of the program
    refusals: list[str] = Factory(list)
    seconds: dict[str, float] = Factory(dict)
    peak: int = 0


def findings(path: str) -> Findings:
    found = Findings()
    book = timed(found, "read", lambda: mc.Workbook(path))
    graph = timed(found, "graph", lambda: Graph.of(book))
    found.cells = sum(region.place.size for region in graph.regions)
    found.rectangles = len(graph.regions)
    formulas = (region.formula for region in graph.regions)
    found.distinct = len({(formula.kind, relative_key(formula.text, formula.row, formula.column)) for formula in formulas})
    if not graph.regions:
        return found
    calculation = Calculation.of(graph, now=NOW)
    timed(found, "base", calculation.propagate)
    count_shares(found, calculation)
    compiled = timed(found, "program", lambda: compiled_with_everything_uncertain(found, calculation))
    if compiled is not None:
        timed(found, "first", lambda: run_once(compiled))
    return found


def timed(found: Findings, stage: str, work: Callable[[], T]) -> T:
    start = time.perf_counter()
    made = work()
    found.seconds[stage] = time.perf_counter() - start
    return made


# The base case


def count_shares(found: Findings, calculation: Calculation) -> None:
    by_reason: dict[str, list[RangeRef]] = {}
    for region, place in calculation.done:
        if place in calculation.unsupported:
            found.shares["saved"] += place.size
        elif place in calculation.unrolled:
            found.shares["each"] += place.size
            by_reason.setdefault(calculation.unrolled[place], []).append(place)
        elif place in calculation.recurrent:
            found.shares["loop"] += place.size
        else:
            found.shares["single" if region.place.size == 1 else "block"] += place.size
    for reason, places in by_reason.items():
        examples = list({calculation.graph.region_at(place.first): place.first for place in places}.values())
        found.reasons[reason] = len(places), [f"{cell} ={calculation.graph.book.formula_text(cell)}" for cell in examples[:EXAMPLES]]


# The program


def compiled_with_everything_uncertain(found: Findings, calculation: Calculation) -> Compiled | None:
    graph = calculation.graph
    draws: dict[CellRef, Draw] = dict(numbers_read(graph))
    outputs = ends(graph, calculation)
    found.constants = len(draws)
    while len(found.refusals) < MOST_REFUSALS:
        try:
            compiled = Compilation(calculation, draws, outputs, in_sheet=True).compile()
        except mc.errors.FormulaError as reason:
            found.refusals.append(f"{type(reason).__name__}: {reason.reason}")
            refused = graph.region_at(graph.book.resolve(reason.cell).first)
            if refused is None or not (fix(draws, calculation, refused) or leave_alone(draws, graph, refused)):
                return None
            continue
        drawn = {RangeRef.of(cell) for cell in draws}
        found.instructions = sum(each.cell not in drawn for each in all_instructions(compiled.program.instructions))
        found.one_by_one = len(compiled.unrolled)
        return compiled
    return None


def all_instructions(instructions: Iterable[Instruction]) -> Iterator[Instruction]:
    """Those inside loops included."""
    for instruction in instructions:
        yield instruction
        if "body" in instruction.attributes:
            yield from all_instructions(instruction.attributes["body"].instructions)


def numbers_read(graph: Graph) -> Iterator[tuple[CellRef, Draw]]:
    """The cells with numbers that formulas read, each up to 1 % further from zero."""
    masks = {sheet.name: np.zeros(size(sheet.values), dtype=bool) for sheet in graph.book.sheets}
    for region in graph.regions:
        for area, _ in graph.areas(region):
            masks[area.sheet][area.top - 1 : area.bottom, area.left - 1 : area.right] = True
    for sheet in graph.book.sheets:
        mask = masks[sheet.name]
        for (row, column), value in sheet.values.items():
            is_number = isinstance(value, float | int) and not isinstance(value, bool)
            if is_number and mask[row - 1, column - 1] and (row, column) not in sheet.formulas:
                yield CellRef(sheet.name, row, column), further_from_zero(value)


def size(values: Iterable[tuple[int, int]]) -> tuple[int, int]:
    rows, columns = zip((0, 0), *values, strict=True)
    return max(rows), max(columns)


def further_from_zero(value: float) -> Draw:
    low, high = sorted((value, value * 1.01 if value else 0.01))
    law = mc.Uniform(low, high)
    return lambda builder, probability: law.at(probability()).operand


def ends(graph: Graph, calculation: Calculation) -> dict[str, RangeRef]:
    """The rectangles that no other one reads, as far as they could be worked out."""
    read = {other for region in graph.regions for other in graph.precedents(region) if other != region.index}
    refused = {place.first for place in calculation.unsupported}
    last = [region for region in graph.regions if region.index not in read and not any(cell in refused for cell in region.place.cells())]
    return {str(region.place): region.place for region in last}


def fix(draws: dict[CellRef, Draw], calculation: Calculation, region: Region) -> bool:
    """Take formulas at their values, where these are numbers; whether that changes anything."""
    values = {cell: calculation.grid.scalars(RangeRef.of(cell))[0] for cell in region.place.cells() if cell not in draws}
    numbers = {cell: float(value) for cell, value in values.items() if isinstance(value, float | int)}
    draws.update((cell, lambda builder, probability, value=value: constant(value)) for cell, value in numbers.items())
    return bool(numbers)


def leave_alone(draws: dict[CellRef, Draw], graph: Graph, region: Region) -> bool:
    """Without the draws that formulas need; whether that changes anything."""
    needed = {index for group in graph.order([region.index]) for index in group}
    areas = [area for index in needed for area, _ in graph.areas(graph.regions[index])]
    reached = [cell for cell in draws if any(cell in area for area in areas)]
    for cell in reached:
        del draws[cell]
    return bool(reached)


def run_once(compiled: Compiled) -> None:
    engine = NumPyEngine(threads=1)
    engine.run(engine.compile(compiled.program), Job(1, 1), 0, 1)


# The table

STAGES = ("read", "graph", "base", "program", "first")
SHARES = ("block", "loop", "single", "each", "saved")
HEADINGS = ("cells", "distinct", "rectangles", *SHARES, "constants", "program", "refused", *STAGES, "peak")


def row(name: str, found: Findings) -> str:
    shares = [f"{100 * found.shares[share] / found.cells:.1f}" for share in SHARES]
    seconds = [f"{found.seconds[stage]:.2f}" if stage in found.seconds else "–" for stage in STAGES]
    program = "–" if found.instructions is None else f"{found.instructions:,}"
    counts = [f"{number:,}" for number in (found.cells, found.distinct, found.rectangles)]
    return line(name, [*counts, *shares, f"{found.constants:,}", program, str(len(found.refusals)), *seconds, f"{found.peak / 1e6:,.0f}"])


def line(name: str, texts: Iterable[str]) -> str:
    return f"{name[-44:]:44} " + " ".join(f"{text:>9}" for text in texts)


def total(all_found: Iterable[Findings]) -> Findings:
    """Sums, and the largest peak."""
    whole = Findings(instructions=0)
    seconds: Counter[str] = Counter()
    for found in all_found:
        for name in ("cells", "distinct", "rectangles", "constants", "one_by_one"):
            setattr(whole, name, getattr(whole, name) + getattr(found, name))
        whole.instructions = (whole.instructions or 0) + (found.instructions or 0)
        whole.shares += found.shares
        whole.refusals += found.refusals
        seconds.update(found.seconds)
        whole.peak = max(whole.peak, found.peak)
    whole.seconds = dict(seconds)
    return whole


def print_table(paths: Sequence[Path], seconds: float) -> None:
    kept: dict[Path, Findings] = {}
    left_out: dict[Path, str] = {}
    print(line("", HEADINGS))
    for path in paths:
        done = apart(findings, str(path), seconds=seconds)
        if done.problem or not done.value.cells:
            left_out[path] = done.problem or "no formulas"
            continue
        kept[path] = done.value
        kept[path].peak = done.peak
        print(row(path.name, kept[path]), flush=True)
    print(row(f"{len(kept)} workbooks", total(kept.values())) if kept else "no workbooks with formulas")
    print_left_out(left_out)
    print_refusals(kept)
    print_reasons(kept)


def print_left_out(left_out: Mapping[Path, str]) -> None:
    print("\nLeft out:")
    for path, problem in left_out.items():
        print(f"  {path.name}: {' '.join(problem.split())[:160]}")


def print_refusals(kept: Mapping[Path, Findings]) -> None:
    programs = [found for found in kept.values() if found.instructions is not None]
    as_wished = sum(not found.refusals for found in programs)
    fewer, none = len(programs) - as_wished, len(kept) - len(programs)
    print(f"\nPrograms: {as_wished} with all constants uncertain, {fewer} with fewer, {none} not within {MOST_REFUSALS} refusals. Refused:")
    for reason, count in Counter(reason for found in kept.values() for reason in found.refusals).most_common():
        print(f"  {count:4} {reason[:160]}")


def print_reasons(kept: Mapping[Path, Findings]) -> None:
    print(f"\n{sum(found.one_by_one for found in kept.values()):,} cells of programs one by one. In the base cases:")
    for path, found in kept.items():
        for reason, (count, examples) in found.reasons.items():
            print(f"  {count:6,} in {path.name}: {reason}")
            for example in examples:
                print(f"           {example[:150]}")


def workbooks(folders: Iterable[str]) -> list[Path]:
    found = {path for folder in folders for path in Path(folder).rglob("*") if path.suffix.lower() in (".xlsx", ".xlsm") and path.is_file()}
    return sorted(path for path in found if not path.name.startswith("~$"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How workbooks fall into blocks and loops")
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=60, help="for each file")
    parser.add_argument("--only", default="", help="files with this in their names")
    given = parser.parse_args()
    print_table([path for path in workbooks(given.folders) if given.only in path.name], given.seconds)
