"""The recalculation against saved values; what Excel would have saved is worked out by hand."""

import datetime
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from workbooks import workbook

import ultramc as mc
from ultramc import checking
from ultramc.checking import same
from ultramc.values import ExcelError

CELLS = {
    "A1": 2,
    "A2": "x",
    "B1": "=A1*3",
    "B2": "=B1+1",
    "B3": '=A2&"y"',
    "B4": "=A1>1",
    "B5": "=A1/0",
    "B6": "=Z99",
    "B7": '=""',
    "B8": "=CUBEVALUE(A1)",
    "B9": "=RAND()",
    "B10": "=A1+1",
}
CACHED = {"B1": 6, "B2": 8, "B3": "xy", "B4": True, "B5": "#DIV/0!", "B6": 0, "B7": "", "B8": 5, "B9": 0.25}
STATUS = {
    **dict.fromkeys(("B1", "B3", "B4", "B5", "B6", "B7"), "matched"),
    "B2": "mismatched",
    "B8": "unsupported",
    "B9": "volatile",
    "B10": "uncached",
}


def check(cells, cached=None, **options):
    return mc.check(workbook(cells, cached=cached), **options)


@pytest.fixture(scope="module")
def report():
    return check(CELLS, CACHED)


def test_every_formula_cell_has_a_status(report):
    assert {ref.a1: cell.status for ref, cell in report.cells.items()} == STATUS


def test_counts_and_verdict(report):
    assert dict(report.counts) == {"matched": 6, "mismatched": 1, "unsupported": 1, "volatile": 1, "uncached": 1}
    assert not report.passed
    assert [str(cell.cell) for cell in report.differences] == ["Model!B2"]
    assert report.causes() == [("function CUBEVALUE is not supported", 1, mc.CellRef("Model", 8, 2))]


def test_repr_names_the_cells(report):
    assert "Model!B2: 7.0, Excel has 8.0" in repr(report)
    assert "1 × function CUBEVALUE is not supported (first at Model!B8)" in repr(report)


def test_json(report, tmp_path):
    report.save(tmp_path / "check.json")
    told = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    assert told["workbook"] == "workbook"
    assert (told["formula_cells"], told["matched"], told["mismatched"], told["uncached"], told["unsupported"]) == (10, 6, 1, 1, 1)
    values = {cell: entry["value"] for cell, entry in told["cells"].items()}
    assert values["Model!B1"] == 6 and values["Model!B3"] == "xy" and values["Model!B4"] is True
    assert values["Model!B5"] == {"error": "#DIV/0!"} and values["Model!B8"] == 5
    assert told["cells"]["Model!B2"] == {
        "value": 7.0,
        "cached": 8.0,
        "status": "mismatched",
        "reason": "on Excel's cached precedents it gives 7.0",
    }
    assert told["cells"]["Model!B10"]["cached"] is None
    assert set(told["cells"]) == {f"Model!B{row}" for row in range(1, 11)}


def test_a_difference_names_the_first_wrong_cell_only():
    """B1 differs; what rests on it is right on the saved value of B1, and the propagated value is told beside it."""
    report = check({"A1": 2, "B1": "=A1*3", "B2": "=B1+1", "B3": "=B2*2"}, {"B1": 7, "B2": 8, "B3": 16})
    assert [str(cell.cell) for cell in report.differences] == ["Model!B1"]
    assert [cell.value for cell in report.cells.values()] == [6, 7, 14]


def test_lucky_cancellation_hides_nothing():
    report = check({"A1": 2, "B1": "=A1*3", "B2": "=B1*0"}, {"B1": 7, "B2": 0})
    assert [cell.status for cell in report.cells.values()] == ["mismatched", "matched"]


def test_a_block_is_checked_cell_by_cell():
    cells = {f"A{row}": row for row in range(1, 51)} | {f"B{row}": f"=A{row}^2" for row in range(1, 51)}
    cached = {f"B{row}": row**2 + (row == 33) for row in range(1, 51)}
    assert [str(cell.cell) for cell in check(cells, cached).differences] == ["Model!B33"]


def test_without_saved_values_nothing_is_claimed():
    report = check({"A1": 2, "B1": "=A1*3"})
    assert report.counts == {"uncached": 1} and report.passed
    assert report.cells[mc.CellRef("Model", 1, 2)].value == 6


def test_what_rests_on_a_value_that_nobody_knows_is_not_claimed_either():
    report = check({"A1": 2, "B1": "=CUBEVALUE(A1)", "B2": "=B1+1", "B3": "=IF(A1>2,B1,A1)", "B4": "=SUM(B1:B2)"})
    assert [cell.status for cell in report.cells.values()] == ["unsupported", "unsupported", "uncached", "unsupported"]
    assert [cell.value for cell in report.cells.values()] == [None, None, 2, None]
    assert report.causes() == [("function CUBEVALUE is not supported", 3, mc.CellRef("Model", 1, 2))]


def test_the_clock_is_given():
    now = datetime.datetime(2024, 2, 29, 12)
    report = check({"B1": "=TODAY()", "B2": "=NOW()-TODAY()"}, now=now)
    assert [cell.value for cell in report.cells.values()] == [45351, 0.5]
    assert report.counts == {"volatile": 2}


def test_a_circle_is_unsupported_with_its_path():
    report = check({"B1": "=B2+1", "B2": "=B1*2", "B3": "=B2"}, {"B1": 1, "B2": 2, "B3": 2})
    assert [cell.status for cell in report.cells.values()] == ["unsupported", "unsupported", "matched"]
    assert "Model!B1 → Model!B2" in report.unsupported[0].reason


def test_a_workbook_without_formulas():
    assert check({"A1": 1}).summary() == "no formula cells"


def test_an_open_workbook_serves_too():
    assert mc.check(mc.Workbook(workbook(CELLS, cached=CACHED))).counts["matched"] == 6


@pytest.mark.parametrize(
    ("value", "cached", "equal"),
    [
        (1.0, 1.0 + 9e-10, True),
        (1.0, 1.0 + 2e-9, False),
        (1e12, 1e12 + 900, True),
        (1e-13, 0.0, True),
        (1e-11, 0.0, False),
        (-1.0, 1.0, False),
        (True, 1.0, False),
        (True, True, True),
        ("a", "A", False),
        ("", None, True),
        (None, 0.0, False),
        ("", 0.0, False),
        (0.0, None, False),
        (ExcelError.NA, ExcelError.NA, True),
        (ExcelError.NA, ExcelError.REF, False),
        (ExcelError.NA, "#N/A", False),
    ],
)
def test_same(value, cached, equal):
    assert same(value, cached) is equal


def test_a_formula_that_cannot_be_worked_out_on_cached_precedents_says_so():
    cells = {"A1": 5, "B1": "=1=1", "C1": '=INDIRECT("A1",B1)'}
    report = mc.check(workbook(cells, cached={"B1": False, "C1": 5}))  # with FALSE the reference would be in R1C1
    checked = {str(ref): cell for ref, cell in report.cells.items()}
    assert checked["Model!B1"].status == "mismatched"
    assert checked["Model!C1"].status == "unsupported" and "R1C1" in checked["Model!C1"].reason


def test_several_threads_may_check_at_once():
    names = {f"A{row}": f"=SQRT(A1-{row})+POWER(A1,-{row})/LN(A1-2)" for row in range(2, 80)}
    sim = mc.Simulation(workbook({"A1": 40, **names}, cached=dict.fromkeys(names, 1)), outputs=["A2:A79"])
    arguments = sim.workbook, sim.graph, sim.calculation, range(len(sim.graph.regions)), sim.now
    alone = checking.report(*arguments).to_json()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert [found.result().to_json() for found in [pool.submit(checking.report, *arguments) for _ in range(12)]] == [alone] * 12
    finally:
        sys.setswitchinterval(interval)
