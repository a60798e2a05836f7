"""From a file to the first iteration: seconds for each stage, on filled formulas."""

from datetime import datetime
from io import BytesIO

import openpyxl
import pytest

import ultramc as mc
from ultramc.calculation import Calculation
from ultramc.graph import Graph

ROWS = 10_000


@pytest.fixture(scope="module")
def filled():
    """Ten columns of formulas filled down 10,000 rows: 100,000 formula cells, ten distinct formulas."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Model")
    sheet.append([1.5])
    for row in range(2, ROWS + 2):
        sheet.append([float(row), *(f"={chr(64 + column)}{row}*1.0{column}+$A$1" for column in range(1, 11))])
    file = BytesIO()
    book.save(file)
    return file.getvalue()


@pytest.mark.benchmark(group="100,000 filled formulas")
def test_read(filled, benchmark):
    assert benchmark(mc.Workbook, filled).sheets


@pytest.mark.benchmark(group="100,000 filled formulas")
def test_graph(filled, benchmark):
    book = mc.Workbook(filled)
    assert len(benchmark(Graph.of, book).regions) == 10


@pytest.mark.benchmark(group="100,000 filled formulas")
def test_base_case(filled, benchmark):
    graph = Graph.of(mc.Workbook(filled))

    def propagate():
        calculation = Calculation.of(graph, now=datetime(2026, 1, 1))
        calculation.propagate()
        return calculation

    assert len(benchmark(propagate).done) == 10
