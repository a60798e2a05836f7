"""Blocks equal single cells; references, names, LET and array formulas mean what Excel documents."""

from __future__ import annotations

import io
from typing import Any

import openpyxl
import pytest
from formula_cases import NOW, value_of, values_of
from formula_cases import workbook as one_sheet
from formula_grammar import CELLS, FORMULAS, filled, same
from hypothesis import HealthCheck, given, settings
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.formula import ArrayFormula
from openpyxl.worksheet.table import Table

from ultramc.address import CellRef, RangeRef
from ultramc.calculation import Calculation
from ultramc.errors import UnsupportedFormula
from ultramc.functions.kit import Unroll, Value
from ultramc.graph import Graph
from ultramc.lowering import Lowering
from ultramc.syntax import Node
from ultramc.values import ExcelError, Scalar
from ultramc.workbook import Workbook

BLOCK = RangeRef("Sheet1", 1, 26, 3, 26)


class OneByOne(Lowering):
    """Refuses every block, so that each cell is lowered on its own."""

    def formula(self, place: RangeRef, tree: Node, **how: Any) -> Value:
        if place.size > 1 and not how.get("spread"):
            raise Unroll
        return super().formula(place, tree, **how)


def _calculated(graph: Graph, kind: type[Lowering]) -> Calculation:
    calculation = Calculation.of(graph, now=NOW)
    calculation.lowering = kind(graph, calculation.grid, now=NOW)
    calculation.propagate()
    return calculation


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FORMULAS)
def test_a_block_gives_what_its_cells_give(formula: str) -> None:
    graph = Graph.of(one_sheet({**CELLS, **filled(formula)}))
    together, singly = (_calculated(graph, kind) for kind in (Lowering, OneByOne))
    unsupported = [{cell for place in calculation.unsupported for cell in place.cells()} for calculation in (together, singly)]
    assert unsupported[0] == unsupported[1]
    if not unsupported[0]:
        assert all(map(same, together.grid.scalars(BLOCK), singly.grid.scalars(BLOCK)))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("A1:A5", 1.0),  # the formula's own row
        ("B1:C1", ExcelError.VALUE),  # no column in common
        ("SUM(A1:A5*2)", 2.0),  # no array formula: A1 only
        ("SUM(IF(A1:A5>2,1,0))", 0.0),
        ("LET(x,2,y,x+1,x*y)", 6.0),
        ("LET(x,1,LET(x,2,x)+x)", 3.0),
        ("LAMBDA(a,b,a-b)(5,3)", 2.0),
        ("LET(f,LAMBDA(n,n*n),f(4))", 16.0),
        ("LET(k,10,f,LAMBDA(n,n+k),LET(k,0,f(1)))", 11.0),
        ("NOPE", ExcelError.NAME),
        ("ROW(A1:A3)", 1.0),
        ("0.5-0.4-0.1", 0.0),  # a final subtraction that all but cancels
        ("1*(0.5-0.4-0.1)", -(2.0**-55)),
    ],
)
def test_value(formula: str, expected: Scalar) -> None:
    assert value_of("=" + formula, {f"A{row}": row for row in range(1, 6)}) == expected


def test_rows_and_columns_of_a_block_are_its_own() -> None:
    found = values_of({f"{column}{row}": "=ROW()*10+COLUMN()" for row in (5, 6) for column in "CD"})
    assert found == {"C5": 53.0, "D5": 54.0, "C6": 63.0, "D6": 64.0}


def test_text_to_number_and_overflow_in_a_block() -> None:
    found = values_of({f"B{row}": f"=A{row}*1E200" for row in (1, 2, 3)}, {"A1": "2", "A2": 1e200, "A3": "x"})
    assert found == {"B1": 2e200, "B2": ExcelError.NUM, "B3": ExcelError.VALUE}


@pytest.fixture(scope="module")
def book() -> Calculation:
    """Three sheets, a table, names of the workbook, of a sheet and relative to the cell, and array formulas."""
    file = openpyxl.Workbook()
    first = file.active
    first.title = "One"
    two, last = file.create_sheet("Two"), file.create_sheet("Third sheet")
    for sheet, number in ((first, 1), (two, 20), (last, 300)):
        sheet["A1"] = number
        sheet["A2"] = number * 2
    total = "=Sales[[#This Row],[Price]]*Sales[[#This Row],[Count]]"
    for row, cells in enumerate([("Item", "Price", "Count", "Total"), ("a", 2, 3, total), ("b", 5, 7, total)], 1):
        for column, content in enumerate(cells, 6):
            first.cell(row, column, content)
    first.add_table(Table(displayName="Sales", ref="F1:I3"))
    file.defined_names["rate"] = DefinedName("rate", attr_text="One!$A$1")
    file.defined_names["above"] = DefinedName("above", attr_text="One!B1048576")  # relative to A1: the cell above on the right
    file.defined_names["twice"] = DefinedName("twice", attr_text="LAMBDA(n,2*n)")
    two.defined_names["rate"] = DefinedName("rate", attr_text="Two!$A$2")
    for address, text in FORMULAS_ON_ONE.items():
        first[address] = text
    two["C1"] = "=rate"
    first["K1"] = ArrayFormula("K1:K3", "=A1:A2*10")
    first["L1"] = ArrayFormula("L1:M2", "={1,2}")
    first["N1"] = ArrayFormula("N1", "=SUM((A1:A2>1)*A1:A2)")
    stream = io.BytesIO()
    file.save(stream)
    calculation = Calculation.of(Graph.of(Workbook(stream.getvalue())), now=NOW)
    calculation.propagate()
    assert not calculation.unsupported
    return calculation


FORMULAS_ON_ONE = {
    "C1": "=SUM('One:Third sheet'!A1)",
    "C2": "=SUM('third SHEET:One'!A1:A2)",
    "C3": "=rate",
    "C4": "=twice(21)",
    "C5": "=SUM(Sales[Total])",
    "C6": "=SUM(Sales[[Price]:[Count]])",
    "C7": "=ROWS(Sales[#All])",
    "C8": "=Sales[[#Headers],[Count]]",
    "C9": "=ISERROR(Sales[Nope])",
    "C10": "=Nowhere!A1",
    "C11": "=Two!rate",
    "E3": "=above",
    "C13": "=SUM(One:Two!A1:A2)",
}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("C1", 321.0),
        ("C2", 963.0),
        ("C3", 1.0),
        ("C4", 42.0),
        ("C5", 41.0),
        ("C6", 17.0),
        ("C7", 3.0),
        ("C8", "Count"),
        ("C9", True),
        ("C10", ExcelError.REF),
        ("C11", 40.0),
        ("C13", 63.0),
        ("E3", "a"),
        ("I2", 6.0),
        ("I3", 35.0),
        ("K1", 10.0),
        ("K2", 20.0),
        ("K3", ExcelError.NA),
        ("L1", 1.0),
        ("L2", 1.0),
        ("M2", 2.0),
        ("N1", 2.0),
    ],
)
def test_in_a_workbook_of_three_sheets(book: Calculation, address: str, expected: Scalar) -> None:
    column, row = ord(address[0]) - 64, int(address[1:])
    assert book.grid.scalars(RangeRef.of(CellRef("One", row, column))) == [expected]


def test_a_name_of_a_sheet_hides_the_workbooks(book: Calculation) -> None:
    assert book.grid.scalars(RangeRef("Two", 1, 3, 1, 3)) == [40.0]


def test_a_chain_of_lambdas_ends() -> None:
    """Recursion has a limit of its own, far below Python's."""
    assert value_of("=LET(f,LAMBDA(g,n,g(g,n+1)),f(f,1))") is ExcelError.NUM


def _with_names(formula: str, names: dict[str, str]) -> Scalar:
    file = openpyxl.Workbook()
    file.active["A1"], file.active["Z1"] = 5, formula
    for name, text in names.items():
        file.defined_names[name] = DefinedName(name, attr_text=text)
    stream = io.BytesIO()
    file.save(stream)
    calculation = Calculation.of(Graph.of(Workbook(stream.getvalue())), now=NOW)
    calculation.propagate()
    for error in calculation.unsupported.values():
        raise error
    return calculation.grid.scalars(RangeRef(file.active.title, 1, 26, 1, 26))[0]


def test_a_name_may_stand_for_a_name() -> None:
    assert _with_names("=alias*2", {"alias": "total", "total": "Sheet!$A$1"}) == 10.0


def test_a_lambda_may_call_itself_by_its_name() -> None:
    assert _with_names("=addup(100)", {"addup": "LAMBDA(n,IF(n<1,0,n+addup(n-1)))"}) == 5050.0


def test_names_that_need_each_other_are_refused_where_they_are_needed() -> None:
    names = {"first": "second+1", "second": "first+1"}
    assert _with_names("=IF(TRUE,1,first)", names) == 1.0
    with pytest.raises(UnsupportedFormula, match="refers to itself"):
        _with_names("=first+1", names)


def test_names_that_double_forty_times_are_refused() -> None:
    doubling = {f"double_{step}": f"double_{step + 1}+double_{step + 1}" for step in range(40)}
    with pytest.raises(UnsupportedFormula, match="more than 100,000 times"):
        _with_names("=double_0", {**doubling, "double_40": "Sheet!$A$1"})


def test_a_row_and_a_column_that_would_spread_over_memory_are_refused() -> None:
    with pytest.raises(UnsupportedFormula, match="too large"):
        value_of("=SUMPRODUCT(SEQUENCE(50000)*SEQUENCE(1,50000))")


def test_deep_formulas_need_no_recursion() -> None:
    assert value_of("=" + "+".join(["1"] * 3000)) == 3000.0
    assert value_of("=" + "-" * 2000 + "1") == 1.0


def test_a_reference_to_far_more_than_is_used_reads_what_is_used() -> None:
    assert value_of("=SUM(A1:Y1048576)", {"A1": 2.0, "C5": 3.0}) == 5.0
