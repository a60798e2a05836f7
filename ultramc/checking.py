"""The recalculated base case against the values that Excel cached.

Each formula is worked out twice: on Excel's cached precedents, so that a difference names the first wrong cell and
nothing hides behind another, and propagated from the constants.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np
from attrs import field, frozen

from ultramc.address import CellRef, RangeRef
from ultramc.calculation import Calculation, loaded_grid
from ultramc.errors import FormulaError, UnsupportedFormula
from ultramc.functions.kit import Kit, Texts, Unroll, broadcast
from ultramc.graph import Graph, Region
from ultramc.lowering import Lowering
from ultramc.program import Builder
from ultramc.report import counted
from ultramc.syntax import Call, walk
from ultramc.values import ExcelError, Scalar, to_json
from ultramc.workbook import Workbook

TOLERANCE = 1e-9  # relative
NEGLIGIBLE = 1e-12  # absolute: what is left where numbers cancel

MATCHED, MISMATCHED, UNCACHED, UNSUPPORTED, VOLATILE = "matched", "mismatched", "uncached", "unsupported", "volatile"


@frozen
class CheckedCell:
    """`value` is propagated from the constants, `cached` is Excel's; `status` tells how the formula did on cached precedents."""

    cell: CellRef
    value: Scalar
    cached: Scalar
    status: str
    reason: str = ""


@frozen(eq=False)
class CheckReport:
    """Every formula cell of a workbook, or of the part of it that was asked for."""

    workbook: str
    cells: Mapping[CellRef, CheckedCell] = field(repr=False)

    @property
    def counts(self) -> Counter[str]:
        return Counter(cell.status for cell in self.cells.values())

    @property
    def differences(self) -> list[CheckedCell]:
        return [cell for cell in self.cells.values() if cell.status == MISMATCHED]

    @property
    def unsupported(self) -> list[CheckedCell]:
        return [cell for cell in self.cells.values() if cell.status == UNSUPPORTED]

    @property
    def passed(self) -> bool:
        return not self.differences and not self.unsupported

    def causes(self) -> list[tuple[str, int, CellRef]]:
        """Why formulas are not supported: reason, how many cells, the first of them."""
        first: dict[str, CellRef] = {}
        count: Counter[str] = Counter()
        for cell in self.unsupported:
            count[cell.reason] += 1
            first.setdefault(cell.reason, cell.cell)
        return [(reason, number, first[reason]) for reason, number in count.most_common()]

    def summary(self) -> str:
        """One line."""
        counts = self.counts
        parts = [f"{counts[status]:,} {status}" for status in (MATCHED, MISMATCHED, UNCACHED, UNSUPPORTED, VOLATILE) if counts[status]]
        return f"{counted(len(self.cells), 'formula cell')}: {', '.join(parts)}" if parts else "no formula cells"

    def __repr__(self) -> str:
        lines = [f"Check of {self.workbook}: {self.summary()}"]
        lines += [f"  {cell.cell}: {_shown(cell.value)}, Excel has {_shown(cell.cached)}" for cell in self.differences[:10]]
        if len(self.differences) > 10:
            lines.append(f"  … {len(self.differences) - 10:,} more differ")
        lines += [f"  {number:,} × {reason} (first at {cell})" for reason, number, cell in self.causes()[:10]]
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        counts = self.counts
        return {
            "workbook": self.workbook,
            "formula_cells": len(self.cells),
            **{status: counts[status] for status in (MATCHED, MISMATCHED, UNCACHED, UNSUPPORTED, VOLATILE)},
            "cells": {str(ref): _cell_json(cell) for ref, cell in self.cells.items()},
        }

    def save(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(self.to_json()), encoding="utf-8")


def _cell_json(cell: CheckedCell) -> dict[str, object]:
    return {"value": to_json(cell.value), "cached": to_json(cell.cached), "status": cell.status, "reason": cell.reason}


def _shown(value: Scalar) -> str:
    return repr(value) if isinstance(value, str) else "blank" if value is None else str(value)


def check(workbook: Workbook | str | os.PathLike[str] | bytes | BinaryIO, *, now: datetime | None = None) -> CheckReport:
    """Recalculate every formula cell of a workbook and compare it with what Excel cached.

    `now` is what NOW and TODAY give. Raises UnreadableWorkbook and LimitExceeded.
    """
    book = workbook if isinstance(workbook, Workbook) else Workbook(workbook)
    graph = Graph.of(book)
    now = now or datetime.now()
    calculation = Calculation.of(graph, now=now)
    calculation.propagate()
    return report(book, graph, calculation, range(len(graph.regions)), now)


def report(book: Workbook, graph: Graph, calculation: Calculation, regions: Iterable[int], now: datetime) -> CheckReport:
    """The comparison for some regions, which `calculation` has propagated."""
    local = _OnCaches(book, graph, calculation, now)
    cells: dict[CellRef, CheckedCell] = {}
    with np.errstate(all="ignore"):
        for index in regions:
            cells.update((cell.cell, cell) for cell in local.region(graph.regions[index]))
    return CheckReport(book.file_name, cells)


class _OnCaches:
    """Regions worked out on Excel's cached precedents."""

    def __init__(self, book: Workbook, graph: Graph, calculation: Calculation, now: datetime) -> None:
        self.book = book
        self.calculation = calculation
        self.reasons = {place: error.reason for place, error in calculation.unsupported.items()}
        self.cached_values = any((cell in sheet.values) for sheet in book.sheets for cell in sheet.formulas)
        self.kit = Kit(Builder(), Texts())  # its own: several threads may check one calculation
        self.lowering = Lowering(graph, loaded_grid(book, self.kit), now=now)

    def region(self, region: Region) -> Iterator[CheckedCell]:
        values = self.book.sheet(region.place.sheet).values
        propagated = self.calculation.grid.scalars(region.place)
        volatile = region.index in self.calculation.volatile
        recalculated = self._recalculated(region) if self.cached_values and not volatile else None
        for position, (cell, value) in enumerate(zip(region.place.cells(), propagated, strict=True)):
            cached = values.get((cell.row, cell.column))
            reason = self._reason(region, cell)
            if reason:
                status = UNSUPPORTED
            elif volatile:
                status = VOLATILE
            elif (cell.row, cell.column) not in values or (cached is ExcelError.NAME and self._calls_add_in(region)):
                status = UNCACHED
            else:
                status, reason = _compared(value if recalculated is None else recalculated[position], cached)
            yield CheckedCell(cell, value, cached, status, reason)

    def _calls_add_in(self, region: Region) -> bool:
        """Saved without its add-in, such a formula is `#NAME?`."""
        added = self.lowering.graph.dialect.functions
        return region.tree is not None and any(isinstance(node, Call) and node.name in added for node in walk(region.tree))

    def _reason(self, region: Region, cell: CellRef) -> str:
        if not self.reasons:
            return ""
        return self.reasons.get(RangeRef.of(cell)) or self.reasons.get(region.place) or ""

    def _recalculated(self, region: Region) -> Sequence[Scalar | FormulaError]:
        """The value of each cell, or why there is none."""
        try:
            return self._block(region.place, region)
        except (Unroll, FormulaError) as failure:
            if region.is_array:
                return [_refusal(failure)] * region.place.size
            return [self._cell(RangeRef.of(cell), region) for cell in region.place.cells()]

    def _block(self, place: RangeRef, region: Region) -> list[Scalar]:
        if region.tree is None:
            assert region.error is not None
            raise region.error
        value = self.lowering.formula(place, region.tree, array=region.in_array_mode, spread=region.is_array)
        return self.kit.scalars(broadcast(value, (place.height, place.width, 1, 1)))

    def _cell(self, place: RangeRef, region: Region) -> Scalar | FormulaError:
        try:
            return self._block(place, region)[0]
        except (Unroll, FormulaError) as failure:
            return _refusal(failure)


def _refusal(failure: Unroll | FormulaError) -> FormulaError:
    return UnsupportedFormula("an array in an array, or one too large, is not supported") if isinstance(failure, Unroll) else failure


def _compared(mine: Scalar | FormulaError, cached: Scalar) -> tuple[str, str]:
    """Status and reason of a formula that was worked out on cached precedents."""
    if isinstance(mine, FormulaError):
        return UNSUPPORTED, mine.reason
    if same(mine, cached):
        return MATCHED, ""
    return MISMATCHED, f"on Excel's cached precedents it gives {_shown(mine)}"


def same(value: Scalar, cached: Scalar) -> bool:
    """Equal as far as a check asks: numbers within 1e-9 relative, an empty text like a blank."""
    if isinstance(value, bool) or isinstance(cached, bool):
        return value is cached
    if isinstance(value, float) and isinstance(cached, (float, int)):
        difference = abs(value - cached)
        return difference <= TOLERANCE * max(abs(value), abs(cached)) or difference <= NEGLIGIBLE
    if isinstance(value, ExcelError) or isinstance(cached, ExcelError):
        return value is cached
    return ("" if value is None else value) == ("" if cached is None else cached)
