"""The cells of a workbook: known planes, blocks over them, and what lies beyond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultramc.address import CellRef, RangeRef
from ultramc.errors import UnsupportedFormula
from ultramc.functions.kit import Kit, Texts, Value
from ultramc.grid import Grid, Pending, filled_plane, rectangles
from ultramc.program import Builder
from ultramc.values import ExcelError, Scalar

HELD: dict[tuple[int, int], Scalar] = {(1, 1): 1.5, (1, 2): "x", (2, 1): True, (2, 2): ExcelError.DIV0, (3, 3): ""}


def _grid() -> Grid:
    kit = Kit(Builder(), Texts())
    return Grid(kit, {"S": filled_plane(kit, "S", HELD, (3, 3))})


def _area(top: int, left: int, bottom: int, right: int) -> RangeRef:
    return RangeRef("S", top, left, bottom, right)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 4), st.integers(0, 4))
def test_an_area_holds_its_cells_and_blanks_beyond(top: int, left: int, down: int, across: int) -> None:
    area = _area(top, left, top + down, left + across)
    value = _grid().read(area)
    assert value.shape == (1, 1, area.height, area.width)
    assert _grid().scalars(area) == [HELD.get((cell.row, cell.column)) for cell in area.cells()]


def test_pending_cells_are_named() -> None:
    grid = _grid()
    grid.set_pending(_area(1, 2, 2, 2))
    with pytest.raises(Pending) as waits:
        grid.read(_area(1, 1, 3, 3))
    assert waits.value.cells == [CellRef("S", 1, 2), CellRef("S", 2, 2)]
    assert grid.read(_area(1, 1, 2, 1)).known
    grid.write(_area(1, 2, 2, 2), grid.kit.number(4.0))
    assert grid.scalars(_area(1, 2, 2, 2)) == [4.0, 4.0]


def test_a_grid_over_another_leaves_it_alone() -> None:
    grid = _grid()
    over = grid.over(Kit(Builder(), grid.kit.texts))
    over.write(_area(1, 1, 1, 1), over.kit.number(9.0))
    assert over.scalars(_area(1, 1, 1, 2)) == [9.0, "x"]
    assert grid.scalars(_area(1, 1, 1, 1)) == [1.5]


def test_a_later_block_lies_over_an_earlier_one() -> None:
    grid = _grid().over(Kit(Builder(), Texts()))
    numbers = np.arange(9.0).reshape(3, 3, 1, 1, 1)
    grid.write(_area(1, 1, 3, 3), Value(numbers))
    grid.write(_area(2, 2, 2, 3), grid.kit.number(-1.0))
    assert grid.scalars(_area(1, 1, 3, 3)) == [0.0, 1.0, 2.0, 3.0, -1.0, -1.0, 6.0, 7.0, 8.0]
    assert grid.scalars(_area(2, 1, 3, 2)) == [3.0, -1.0, 6.0, 7.0]


def test_a_block_of_one_value_fills_its_place() -> None:
    grid = _grid().over(Kit(Builder(), Texts()))
    grid.write(_area(1, 1, 2, 3), Value(np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1, 1)))
    assert grid.scalars(_area(1, 1, 2, 3)) == [1.0, 2.0, 3.0] * 2


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=5))
def test_rectangles_cover_the_true_cells_once(rows: list[list[bool]]) -> None:
    mask = np.array(rows)
    count = np.zeros(mask.shape, dtype=int)
    for top, left, bottom, right in rectangles(mask):
        count[top : bottom + 1, left : right + 1] += 1
    assert (count == mask).all()


def test_limits() -> None:
    grid = _grid()
    with pytest.raises(UnsupportedFormula, match="one reference may read 20,000,000"):
        grid.read(_area(1, 1, 1_048_576, 100))
