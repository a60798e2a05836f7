"""Blocks and loops hold what their cells hold: random workbooks of filled regions, computed as regions and cell by cell.

ULTRAMC_REGIONS=2000 asks for so many examples in place of few, and for others at each run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from random_workbooks import Model, models
from workbooks import workbook

import ultramc as mc
from ultramc.address import RangeRef
from ultramc.calculation import Calculation
from ultramc.errors import RunError, UltramcError
from ultramc.functions.kit import Kit, Texts, Value
from ultramc.graph import Graph
from ultramc.program import Builder
from ultramc.results import Column
from ultramc.values import Kind, Scalar

ASKED = os.environ.get("ULTRAMC_REGIONS")
EXAMPLES = int(ASKED or 30)
NOW = datetime(2026, 3, 4, 18, 0)
SEED = 5

# Two ways to compute a model

Seen = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


def _seen(sim: mc.Simulation, iterations: int, chunk: int | None) -> Seen:
    """Of each output the numbers, the kinds and the texts; outputs that are errors throughout as well."""
    try:
        result = sim.run(iterations, seed=SEED, chunk=chunk, engine="numpy")
    except RunError as error:
        result = error.run
    return {label: _values(output.column) for label, output in result.outputs.items()}


def _values(column: Column) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    tags = np.zeros(column.samples.shape, np.uint8) if column.tags is None else column.tags
    texts = np.array([*column.texts, ""], dtype=object)
    codes = np.where(tags == Kind.TEXT, column.samples, -1).astype(int)
    return np.where(tags == Kind.TEXT, 0.0, column.samples), tags, texts[codes]


def _simulation(model: Model, outputs: list[str], unrolled: bool) -> mc.Simulation | type[UltramcError]:
    try:
        return mc.Simulation(model.file, inputs=model.inputs, outputs=outputs, now=NOW, unrolled=unrolled)
    except UltramcError as error:
        return type(error)


def _compare(model: Model, outputs: list[str]) -> None:
    regions, cells = (_simulation(model, outputs, unrolled) for unrolled in (False, True))
    if isinstance(cells, type) or isinstance(regions, type):
        assert regions == cells
        return
    for iterations, chunk in ((200, None), (51, 7)):
        found, expected = _seen(regions, iterations, chunk), _seen(cells, iterations, None)
        for label in outputs:
            for one, other in zip(found[label], expected[label], strict=True):
                np.testing.assert_array_equal(one, other, err_msg=label)


Typed = list[tuple[type, Scalar]]


def _typed(values: Iterable[Scalar]) -> Typed:
    """Told apart by kind as well: TRUE is not 1."""
    return [(type(value), value) for value in values]


def _base_case(file: bytes, unrolled: bool) -> dict[str, Typed]:
    calculation = Calculation.of(Graph.of(mc.Workbook(file), unrolled=unrolled), now=NOW)
    calculation.propagate()
    areas = {name: RangeRef(name, 1, 1, plane.height, plane.width) for name, plane in calculation.grid.planes.items()}
    return {name: _typed(calculation.grid.scalars(area)) for name, area in areas.items()}


def _with_fixed_inputs(sim: mc.Simulation) -> dict[str, Typed]:
    """What a program knows of its outputs where nothing is left to simulate."""
    program = sim.compiled.program
    texts = Texts()
    texts.strings = list(program.texts)
    assert not program.instructions
    return {slot.label: _typed(Kit(Builder(), texts).scalars(Value(slot.payload, slot.tag, slot.kinds))) for slot in program.outputs}


SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=ASKED is None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=False,
    database=None,
)


@SETTINGS
@given(models())
def test_regions_are_simulated_as_their_cells_are(model: Model) -> None:
    _compare(model, model.outputs)


@SETTINGS
@given(models())
def test_what_only_some_outputs_need_is_simulated_as_its_cells_are(model: Model) -> None:
    _compare(model, model.parts)


@SETTINGS
@given(models())
def test_the_base_case_of_regions_is_that_of_their_cells(model: Model) -> None:
    assert _base_case(model.file, False) == _base_case(model.file, True)


@SETTINGS
@given(models())
def test_inputs_fixed_at_what_the_sheet_has_give_the_base_case(model: Model) -> None:
    fixed = {cell: model.cells[cell] for cell in model.inputs}
    try:
        sim = mc.Simulation(model.file, inputs=fixed, outputs=model.outputs, now=NOW, in_sheet=False)
    except UltramcError as error:
        assert _simulation(model, model.outputs, unrolled=True) is type(error)
        return
    found, grid = _with_fixed_inputs(sim), sim.calculation.grid
    assert {label: found[label] for label in sim.outputs} == {label: _typed(grid.scalars(place)) for label, place in sim.outputs.items()}


ONCE_WRONG: Mapping[str, dict[str, object]] = {
    "INDEX in line 0, which takes what lies in the formula's own row": {
        "A3": 7.0,
        "A4": 1.0,
        "C4": "=INDEX($A3:$A4,C9)",
        "D4": "=INDEX($A3:$A4,D9)",
    },
    "INDEX of a line that is 0 at a step, along a row": {
        "D4": True,
        **{f"{column}4": f"=INDEX($A7:$I7,{column}6)" for column in "FGH"},
        "H6": "=H7",
        "H7": "=D4",
        **{f"{column}7": f"={read}4" for column, read in zip("IJK", "EFG", strict=True)},
    },
    "INDEX of a whole line at every step, down a column": {
        "C11": 1.0,
        **{f"F{row}": f"=INDEX(L$3:M$4,1+ABS(C{row}))" for row in (11, 12)},
        **{f"L{row}": f"=F{row - 1}+F{row}" for row in range(4, 13)},
    },
}


@pytest.mark.parametrize("cells", ONCE_WRONG.values(), ids=ONCE_WRONG)
def test_regions_once_were_not_their_cells(cells: dict[str, object]) -> None:
    file = workbook(cells)
    assert _base_case(file, False) == _base_case(file, True)
