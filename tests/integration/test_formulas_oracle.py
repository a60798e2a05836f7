"""Small workbooks calculated a second time by an independent library, `formulas`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from ultramc.address import RangeRef, parse_area
from ultramc.calculation import Calculation
from ultramc.graph import Graph
from ultramc.workbook import Workbook

formulas = pytest.importorskip("formulas")

PLAN = {
    **{"A1": 120.0, "A2": 0.03, "A3": 0.35, "A4": 5.0},
    **{f"B{row}": f"=$A$1*(1+$A$2)^{row - 1}" for row in range(1, 6)},
    **{f"C{row}": f"=IF(B{row}>125,B{row}*$A$3,0)" for row in range(1, 6)},
    **{f"D{row}": f"=ROUND(B{row}-C{row},2)" for row in range(1, 6)},
    **{
        "E1": "=SUM(D1:D5)",
        "E2": "=AVERAGE(B1:B5)",
        "E3": "=MAX(C1:C5)-MIN(D1:D5)",
        "E4": "=NPV(A2,D1:D5)",
        "E5": "=SUMPRODUCT(B1:B5,D1:D5)",
    },
    **{
        "F1": "=VLOOKUP(4,G1:H5,2)",
        "F2": "=MATCH(130,B1:B5,1)",
        "F3": "=INDEX(D1:D5,3)",
        "F4": '=SUMIF(B1:B5,">125",D1:D5)',
        "F5": "=MOD(-7,3)+INT(-2.5)",
    },
    **{f"G{row}": float(row) for row in range(1, 6)},
    **{f"H{row}": float(row * row) for row in range(1, 6)},
}


def test_every_cell_agrees(tmp_path: Path) -> None:
    path = tmp_path / "plan.xlsx"
    book = openpyxl.Workbook()
    book.active.title = "Plan"
    for address, content in PLAN.items():
        book.active[address] = content
    book.save(path)
    calculation = Calculation.of(Graph.of(Workbook(str(path))), now=datetime(2026, 1, 1))
    calculation.propagate()
    assert not calculation.unsupported
    solution = formulas.ExcelModel().loads(str(path)).finish().calculate()
    expected = {
        str(key).rpartition("!")[2]: cells.value[0, 0]
        for key, cells in solution.items()
        if hasattr(cells, "value") and cells.value.shape == (1, 1)
    }
    for address, content in PLAN.items():
        area = parse_area(address)
        assert area is not None
        assert calculation.grid.scalars(RangeRef("Plan", *area)) == [pytest.approx(float(expected[address]), rel=1e-12)], (address, content)
