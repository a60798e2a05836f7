"""The base case: order, circles, strips, what is kept from the file."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from formula_cases import NOW, value_of, workbook
from workbooks import workbook as file_of

from ultramc.address import CellRef, RangeRef, parse_area
from ultramc.calculation import Calculation
from ultramc.errors import CircularReference, UnsupportedFormula
from ultramc.graph import Graph
from ultramc.values import ExcelError, Scalar
from ultramc.workbook import Workbook


def _calculated(cells: dict[str, object]) -> Calculation:
    calculation = Calculation.of(Graph.of(workbook(cells)), now=NOW)
    calculation.propagate()
    return calculation


def _value(calculation: Calculation, address: str) -> Scalar:
    area = parse_area(address)
    assert area is not None
    return calculation.grid.scalars(RangeRef("Sheet1", *area))[0]


def test_a_chain_down_a_sheet() -> None:
    """Regions that need themselves, at a length that recursion would not survive."""
    calculation = _calculated({"A1": 1.0, **{f"A{row}": f"=A{row - 1}+1" for row in range(2, 20_001)}})
    assert _value(calculation, "A20000") == 20_000.0


def test_a_chain_in_which_every_formula_differs() -> None:
    calculation = _calculated({"A1": 1.0, **{f"A{row}": f"=A{row - 1}+{row}" for row in range(2, 3001)}})
    assert _value(calculation, "A3000") == 3000 * 3001 / 2


def test_a_chain_upwards_and_one_to_the_left() -> None:
    rows: dict[str, object] = {f"B{row}": f"=B{row + 1}*2" for row in range(1, 30)}
    columns: dict[str, object] = {f"{left}40": f"={right}40+1" for left, right in zip("DEFGH", "EFGHI", strict=True)}
    calculation = _calculated({**rows, "B30": 1.0, **columns, "I40": 0.0})
    assert _value(calculation, "B1") == 2.0**29 and _value(calculation, "D40") == 5.0


def test_100_000_filled_cells() -> None:
    cells: dict[str, object] = {"A1": 2.0}
    calculation = _calculated({**cells, **{f"{column}{row}": f"=$A$1*ROW()+{column}$1" for column in "BCDE" for row in range(2, 2501)}})
    assert _value(calculation, "E2500") == 5000.0


def test_running_totals_need_cells() -> None:
    calculation = _calculated({"A1": 1.0, **{f"A{row}": f"=SUM(A$1:A{row - 1})" for row in range(2, 12)}})
    assert _value(calculation, "A11") == 2.0**9


def test_a_circle_is_reported_as_a_path() -> None:
    calculation = _calculated({"A1": "=B1+1", "B1": "=C1*2", "C1": "=A1", "D1": 5.0, "E1": "=D1"})
    (error, *_) = calculation.unsupported.values()
    assert isinstance(error, CircularReference)
    assert error.path[0] == error.path[-1] and set(error.path) == {"Sheet1!A1", "Sheet1!B1", "Sheet1!C1"}
    assert _value(calculation, "E1") == 5.0


def test_a_cell_that_needs_itself() -> None:
    (error,) = _calculated({"A1": "=A1+1"}).unsupported.values()
    assert isinstance(error, CircularReference) and error.path == ["Sheet1!A1", "Sheet1!A1"]


def test_a_circle_that_is_switched_off_is_none() -> None:
    calculation = _calculated({"A1": 0.0, "B1": "=IF($A$1=1,C1,10)", "C1": "=B1*2"})
    assert not calculation.unsupported and _value(calculation, "C1") == 20.0


def test_a_region_whose_rows_need_each_other_both_ways() -> None:
    """C1:C3 read each other through B, in an order that no direction gives."""
    cells: dict[str, object] = {
        "A1": 3.0,
        "A2": 1.0,
        "A3": 9.0,
        **{f"B{row}": f"=IF(A{row}=9,7,INDEX($B$1:$B$3,A{row}))" for row in (1, 2, 3)},
    }
    calculation = _calculated({**cells, "A2": 1.0})
    assert not calculation.unsupported
    assert [_value(calculation, f"B{row}") for row in (1, 2, 3)] == [7.0, 7.0, 7.0]


def test_what_is_not_supported_keeps_the_saved_value_and_says_so() -> None:
    book = Workbook(file_of({"A1": "=WEBSERVICE(1)", "A2": "=A1*2"}, cached={"A1": 21.0, "A2": 42.0}))
    calculation = Calculation.of(Graph.of(book), now=NOW)
    calculation.propagate()
    (error,) = calculation.unsupported.values()
    assert isinstance(error, UnsupportedFormula) and "WEBSERVICE" in str(error) and "Model!A1" in str(error)
    assert calculation.grid.scalars(RangeRef("Model", 1, 1, 2, 1)) == [21.0, 42.0]


def test_a_draw_keeps_the_saved_value_and_the_clock_shows_the_time_given() -> None:
    book = Workbook(file_of({"A1": "=RAND()", "A2": "=A1*2", "A3": "=NOW()"}, cached={"A1": 0.25, "A2": 0.5, "A3": 45_000.0}))
    calculation = Calculation.of(Graph.of(book), now=NOW)
    calculation.propagate()
    clock = (NOW - datetime(1899, 12, 30)) / timedelta(days=1)
    assert calculation.grid.scalars(RangeRef("Model", 1, 1, 3, 1)) == [0.25, 0.5, pytest.approx(clock, abs=1e-9)]
    assert len(calculation.drawing) == 1 and len(calculation.volatile) == 2


def test_only_what_is_asked_for_is_worked_out() -> None:
    graph = Graph.of(workbook({"A1": "=1+1", "B1": "=A1+1", "C1": "=5*5"}))
    calculation = Calculation.of(graph, now=NOW)
    wanted = graph.region_at(CellRef("Sheet1", 1, 2))
    assert wanted is not None
    calculation.propagate([wanted.index])
    assert {place.a1 for _, place in calculation.done} == {"A1", "B1"}


@pytest.mark.parametrize(
    ("formula", "expected"),
    [("OFFSET(A3,1,0)", 5.0), ('INDIRECT("A"&4)', 5.0), ("SUM(OFFSET(A3,0,0,2,1))", 9.0), ("INDEX(A:A,4)", 5.0)],
)
def test_computed_references_wait_for_what_they_read(formula: str, expected: Scalar) -> None:
    assert value_of(f"={formula}", {"A1": 1.0, "A3": "=A1+3", "A4": "=A3+1"}) == expected


def test_errors_travel() -> None:
    calculation = _calculated({"A1": "=1/0", "A2": "=A1+1", "A3": "=SUM(A1:A2)", "A4": "=IFERROR(A3,1)"})
    assert [_value(calculation, f"A{row}") for row in (2, 3, 4)] == [ExcelError.DIV0, ExcelError.DIV0, 1.0]
