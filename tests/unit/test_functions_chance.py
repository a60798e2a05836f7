"""RANDARRAY: every element is a draw of its own, the same as five lines of NumPy make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.worksheet.formula import ArrayFormula
from workbooks import five_lines, workbook

import ultramc as mc
from ultramc.sampling import Site

SEED, COUNT = 20, 600
ELEMENTS = 2**32 * 3 * np.arange(1, 10_001)  # from the k of a call site to those of its elements


def samples(cells: dict[str, Any], output: str, **options: Any) -> Any:
    return mc.Simulation(workbook(cells), outputs=[output], **options).run(COUNT, seed=SEED)[output].samples


def element(number: int, *, k: int = 0, row: int = 2, column: int = 2) -> Any:
    """Draws of one element of an array in B2, unless said otherwise."""
    return five_lines(SEED, row, column, COUNT, k=k + int(ELEMENTS[number]))


def elements(count: int, **place: int) -> Any:
    return np.column_stack([element(number, **place) for number in range(count)])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("3,2", lambda u: u),
        ("3,2,,10", lambda u: 10 * u),
        ("3,2,-5,5,FALSE", lambda u: -5 + u * 10),
        ("3,2,1.5,6.5,TRUE", lambda u: 2 + np.floor(u * 5)),
        ("3,2,4,4", lambda u: np.full_like(u, 4)),
        ("3.9,2.1,A1,A1+2", lambda u: 7 + u * 2),
    ],
)
def test_a_spilled_array(arguments, expected):
    cells = {"A1": 7, "B2": ArrayFormula("B2:C4", f"=_xlfn.RANDARRAY({arguments})")}
    np.testing.assert_array_equal(samples(cells, "B2:C4"), expected(elements(6)))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("=RANDARRAY()", lambda: element(0)),
        ("=SUM(RANDARRAY(2))", lambda: element(0) + element(1)),
        ("=INDEX(RANDARRAY(2,3),2,1)", lambda: element(3)),
        ("=RAND()+SUM(RANDARRAY(2))+RAND()", lambda: five_lines(SEED, 2, 2, COUNT) + (element(0, k=1) + element(1, k=1)) + draw(k=2)),
        ("=MAX(RANDARRAY(2),RANDARRAY(1,2))", lambda: np.max([element(0), element(1), element(0, k=1), element(1, k=1)], axis=0)),
        ("=SUM(RANDARRAY(2,1,0,RAND()))", lambda: (element(0, k=1) + element(1, k=1)) * draw(k=0)),
    ],
)
def test_an_array_within_a_formula(formula, expected):
    np.testing.assert_allclose(samples({"B2": formula.replace("RANDARRAY", "_xlfn.RANDARRAY")}, "B2"), expected(), rtol=1e-15)


def draw(k: int) -> Any:
    return five_lines(SEED, 2, 2, COUNT, k=k)


def test_bounds_that_are_simulated():
    found = samples({"A1": 1, "B2": "=SUM(_xlfn.RANDARRAY(2,1,A1,2*A1))"}, "B2", inputs={"A1": mc.Uniform(3, 4)})
    a = 3 + five_lines(SEED, 1, 1, COUNT)
    np.testing.assert_allclose(found, (a + element(0) * a) + (a + element(1) * a), rtol=1e-15)


def test_every_cell_of_a_block_draws_its_own_array():
    cells = {f"B{row}": f"=SUM(_xlfn.RANDARRAY(1,2,0,A{row}))" for row in range(2, 12)} | {f"A{row}": row for row in range(2, 12)}
    expected = [row * element(0, row=row) + row * element(1, row=row) for row in range(2, 12)]
    np.testing.assert_allclose(samples(cells, "B2:B11"), np.column_stack(expected), rtol=1e-15)


def test_a_formula_without_room_to_spill_holds_the_first_element():
    cells = {f"B{row}": "=_xlfn.RANDARRAY(2,2)" for row in (2, 3)}
    np.testing.assert_array_equal(samples(cells, "B2:B3"), np.column_stack([element(0), element(0, row=3)]))


class TestBaseCase:
    CELLS = {"B2": ArrayFormula("B2:B3", "=_xlfn.RANDARRAY(2,1,10,20)"), "C1": "=SUM(B2:B3)"}

    def test_is_the_median(self):
        assert (samples(self.CELLS, "C1", in_sheet=False) == 30).all()

    def test_keeps_what_is_saved(self):
        cells = {"B2": ArrayFormula("B2:B3", "=_xlfn.RANDARRAY(2,1,10,20)"), "B3": 12.0, "C1": "=SUM(B2:B3)"}
        data = workbook(cells, cached={"B2": 11.5, "C1": 23.5})
        assert (mc.Simulation(data, outputs=["C1"], in_sheet=False).run(10, seed=1)["C1"].samples == 23.5).all()


@pytest.mark.parametrize(
    ("arguments", "number"),
    [("2,2,5,1", 3), ("0", 14), ("2,-1", 3), ("1,1,1.2,1.8,TRUE", 3), ("2,2,NA()", 7), ("1,1,0,1,NA()", 7), ('"x"', 3), ('1,1,0,"x"', 3)],
)
def test_errors(arguments, number):
    """Numbers as ERROR.TYPE counts them: #VALUE! is 3, #N/A 7, #CALC! 14."""
    assert (samples({"B2": f"=ERROR.TYPE(_xlfn.RANDARRAY({arguments}))"}, "B2") == number).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("1+(A1>0.5)", "RANDARRAY whose shape or order would depend on simulated values"),
        ("101,100", "RANDARRAY of 10,100 elements is not supported; 10,000 are the most"),
        ("1E9,1E9", "RANDARRAY of more than 1,048,576 elements"),
        ("2,2,{1;2}", "RANDARRAY with an array as a bound"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(mc.UnsupportedFormula, match=message):
        mc.Simulation(workbook({"A1": "=RAND()", "B2": f"=SUM(_xlfn.RANDARRAY({arguments}))"}), outputs=["B2"])


def test_a_correlation_is_not_lost_in_silence():
    cells = {"A1": 1, "B2": "=_xlfn.RANDARRAY()", "C1": "=A1+B2"}
    tie = mc.RankCorrelation(["A1", "B2"], [[1, 0.5], [0.5, 1]])
    with pytest.raises(mc.UnsupportedFormula, match="a draw of an array is not correlated"):
        mc.Simulation(workbook(cells), inputs={"A1": mc.Uniform(0, 1)}, outputs=["C1"], correlation=tie)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4, unique=True), st.integers(0, 9_990))
def test_no_two_streams_of_a_cell_are_the_same(sites, first):
    """Neither those of elements, nor those that sampling methods take beside them."""
    drawn = [Site("Model", 1, 1, k) for k in sites]
    drawn += [site.element(number) for site in drawn for number in range(first, first + 10)]
    streams = [stream for site in drawn for stream in (site, site.further, site.further.further)]
    assert len(set(streams)) == len(streams)


@pytest.mark.parametrize("sampling", ["latin_hypercube", "sobol"])
def test_stratified_sampling_spreads_each_element(sampling):
    """Of 1,024 iterations in one replicate one lies in each of 1,024 strata, as in any other input."""
    model = mc.Simulation(workbook({"B2": ArrayFormula("B2:B4", "=_xlfn.RANDARRAY(3)")}), outputs=["B2:B4"])
    method = {"latin_hypercube": mc.LatinHypercube(replicates=1), "sobol": mc.Sobol(replicates=1)}[sampling]
    found = model.run(1_024, seed=SEED, sampling=method)["B2:B4"].samples
    for column in found.T:
        assert sorted(np.floor(column * 1_024)) == list(range(1_024))
    assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.2  # six standard errors
