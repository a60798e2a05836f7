"""From a file to the first iteration: seconds, instructions and memory, against the number of cells and of distinct formulas.

    python benchmarks/scaling.py benchmarks/scaling.csv docs/images/scaling.svg

Two kinds of sheets: formulas filled down, which are blocks, and a roll-forward of many accounts over 120 months, which is a loop.
First the formulas stay the same few and are filled further; then there are ever more of them, over about the same number of cells.
Each point has a process of its own. Exponents are fitted by least squares to the logarithms.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
from apart import apart
from attrs import asdict, fields, frozen
from openpyxl.utils import get_column_letter
from regions import all_instructions

import ultramc as mc
from ultramc.arguments import resolved_inputs
from ultramc.calculation import Calculation
from ultramc.compilation import Compilation
from ultramc.engines.base import Job
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.graph import Graph
from ultramc.parser import relative_key

MONTHS = 120
COLUMNS = 10  # distinct formulas filled down
CELLS = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
DISTINCT = [10, 30, 100, 300, 1_000, 3_000]
FIXED_CELLS = 60_000
SECONDS = 1_200  # for one point
FITTED_FROM = {"cells": 9_000, "distinct": 100}  # below, what a stage costs for itself counts
LEAST = 0.01  # seconds; what is shorter is not fitted

Rows = Iterable[Sequence[float | str | None]]
STAGES = ("read", "graph", "base", "program", "first")


@frozen
class Point:
    """`kind` of sheet, what varies, formula cells, distinct formulas; seconds by stage; instructions of the program; bytes."""

    kind: str
    varies: str
    cells: int
    distinct: int
    read: float
    graph: float
    base: float
    program: float
    first: float
    instructions: int
    peak: int

    @property
    def seconds(self) -> float:
        return sum(getattr(self, stage) for stage in STAGES)


# Sheets: the input is A1, the output B1


def filled_down(cells: int, distinct: int) -> Rows:
    """Chains of formulas, one to a column, each filled down."""
    rows = cells // distinct
    last = get_column_letter(distinct + 1)
    yield [0.5, f"=SUM({last}2:{last}{rows + 1})"]
    chain = [(get_column_letter(column), 1 + column / 10_000) for column in range(1, distinct + 1)]
    for row in range(2, rows + 2):
        yield [float(row), *(f"={letter}{row}*{factor}+$A$1" for letter, factor in chain)]


LINES = (  # of an account: {before} and {here} are columns, {row} is its first row
    "={before}{closing}",
    "={here}{opening}*$A$1/12",
    "=MIN({here}{opening},10+{here}{interest})",
    "={here}{opening}+{here}{interest}-{here}{paid}",
)


def accounts(cells: int) -> Rows:
    """Four lines, each of many accounts, over the months: opening balance, interest, what is paid, closing balance."""
    count = max(2, cells // (len(LINES) * MONTHS))
    last, starts = get_column_letter(MONTHS + 1), range(2, 2 + len(LINES) * count, count)
    yield [0.05, f"=SUM({last}{starts[3]}:{last}{starts[3] + count - 1})"]
    months = list(pairwise(get_column_letter(column) for column in range(1, MONTHS + 2)))
    for number, formula in enumerate(LINES):
        for account in range(count):
            places = dict(zip(("opening", "interest", "paid", "closing"), (start + account for start in starts), strict=True))
            start = 1_000.0 + account if number == len(LINES) - 1 else None
            yield [start, *(formula.format(before=before, here=here, **places) for before, here in months)]


def lines(cells: int, distinct: int) -> Rows:
    """One schedule of many lines, each from the line above and its own last month; the first starts from the last line's."""
    months = [get_column_letter(column) for column in range(2, cells // distinct + 2)]
    yield [0.5, f"={months[-1]}{distinct + 1}"]
    for line in range(1, distinct + 1):
        above = distinct + 1 if line == 1 else line
        yield [1.0, *(_line(line, above, before, here) for before, here in pairwise(["A", *months]))]


def _line(line: int, above: int, before: str, here: str) -> str:
    return f"=({before}{line + 1}*{1 + line / 10_000}+{before if line == 1 else here}{above}+$A$1)/3"


SWEEPS: tuple[tuple[str, str, Callable[[int], Rows], Sequence[int]], ...] = (
    ("filled down", "cells", lambda cells: filled_down(cells, COLUMNS), CELLS),
    ("roll-forward", "cells", accounts, CELLS),
    ("filled down", "distinct", lambda distinct: filled_down(FIXED_CELLS, distinct), DISTINCT),
    ("roll-forward", "distinct", lambda distinct: lines(FIXED_CELLS, distinct), DISTINCT),
)


def write(rows: Rows, path: str) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Model")
    for row in rows:
        sheet.append(row)
    book.save(path)


# Measuring


def stages(path: str) -> dict[str, Any]:
    clock = [time.perf_counter()]
    book = mc.Workbook(path)
    clock.append(time.perf_counter())
    graph = Graph.of(book)
    clock.append(time.perf_counter())
    calculation = Calculation.of(graph, now=datetime(2026, 1, 1))
    calculation.propagate()
    clock.append(time.perf_counter())
    (given,) = resolved_inputs(book, {"Model!A1": mc.Uniform(0.04, 0.06)})
    compiled = Compilation(calculation, given.draws(), {"total": book.resolve("Model!B1")}, in_sheet=True).compile()
    clock.append(time.perf_counter())
    engine = NumPyEngine(threads=1)
    value = engine.run(engine.compile(compiled.program), Job(1, 1), 0, 1).payloads[0]
    clock.append(time.perf_counter())
    formulas = [region.formula for region in graph.regions]
    assert np.isfinite(value).all() and not compiled.unrolled, path
    return {
        "cells": sum(region.place.size for region in graph.regions),
        "distinct": len({relative_key(formula.text, formula.row, formula.column) for formula in formulas}),
        **{stage: later - earlier for stage, (earlier, later) in zip(STAGES, pairwise(clock), strict=True)},
        "instructions": len(list(all_instructions(compiled.program.instructions))),
    }


def measured() -> Iterator[Point]:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.xlsx"))
        for kind, varies, rows, sizes in SWEEPS:
            for size in sizes:
                written = apart(lambda rows=rows, size=size: write(rows(size), path), seconds=SECONDS)
                done = apart(stages, path, seconds=SECONDS)
                if written.problem or done.problem:
                    print(f"{kind}, {size:,} {varies}: {written.problem or done.problem}", file=sys.stderr)
                    continue
                yield Point(kind, varies, **done.value, peak=done.peak)


def exponent(points: Iterable[Point], varies: str, stage: str) -> float:
    """Of a stage's seconds; NaN for fewer than three points with something to measure."""
    pairs = [(getattr(point, varies), getattr(point, stage)) for point in points]
    enough = [(size, seconds) for size, seconds in pairs if size >= FITTED_FROM[varies] and seconds >= LEAST]
    return float(np.polyfit(*np.log(enough).T, 1)[0]) if len(enough) > 2 else float("nan")


def sweep(points: Iterable[Point], kind: str, varies: str) -> list[Point]:
    return [point for point in points if (point.kind, point.varies) == (kind, varies)]


# What comes of it


def table(points: Sequence[Point]) -> str:
    headings = ("sheet", "cells", "distinct formulas", *STAGES, "all", "instructions", "MB")
    rows = [f"| {' | '.join(headings)} |", f"| --- {'| --: ' * (len(headings) - 1)}|"]
    for point in points:
        seconds = [f"{getattr(point, stage):.2f}" for stage in (*STAGES, "seconds")]
        texts = (point.kind, f"{point.cells:,}", f"{point.distinct:,}", *seconds, f"{point.instructions:,}", f"{point.peak / 1e6:,.0f}")
        rows.append(f"| {' | '.join(texts)} |")
    for kind, varies, _, _ in SWEEPS:
        found = sweep(points, kind, varies)
        fitted = [exponent(found, varies, stage) for stage in (*STAGES, "seconds")]
        rows.append(f"| {kind}, exponents in {varies} | | | {' | '.join(_shown(each) for each in fitted)} | | |")
    return "\n".join(rows)


def _shown(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def write_csv(points: Sequence[Point], path: str) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(Point)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(_rounded(point) for point in points)


def _rounded(point: Point) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(point).items()}


def read_csv(path: str) -> list[Point]:
    kinds = {each.name: {"str": str, "int": int, "float": float}[str(each.type)] for each in fields(Point)}
    with open(path, newline="", encoding="utf-8") as file:
        return [Point(**{name: kinds[name](text) for name, text in row.items()}) for row in csv.DictReader(file)]


def plot(points: Sequence[Point], path: str) -> None:
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "ultramc"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 2, figsize=(9, 7), layout="constrained", sharey=True)
    for axes, (kind, varies, _, _) in zip(panels.flat, SWEEPS, strict=True):
        found = sweep(points, kind, varies)
        sizes = [getattr(point, varies) for point in found]
        for stage, marker in zip((*STAGES, "seconds"), "os^Dvx", strict=True):
            seconds = [getattr(point, stage) for point in found]
            name = "all" if stage == "seconds" else stage
            axes.loglog(sizes, seconds, marker=marker, markersize=4, label=f"{name} ({_shown(exponent(found, varies, stage))})")
        axes.set(title=kind, xlabel="formula cells" if varies == "cells" else "distinct formulas", ylim=(1e-2, 1e3))
        axes.grid(alpha=0.3)
        axes.legend(title="stage (exponent)", fontsize="small", loc="upper left", ncols=2)
    for axes in panels[:, 0]:
        axes.set_ylabel("seconds")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    found = list(measured())
    print(table(found))
    if len(sys.argv) > 2:
        write_csv(found, sys.argv[1])
        plot(found, sys.argv[2])
