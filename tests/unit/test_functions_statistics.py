"""Statistics of samples: against NumPy and SciPy, Microsoft's documented examples, and values cached by Excel."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from formula_cases import value_of, values_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ultramc.values import ExcelError

NUM, DIV0, VALUE, NA = ExcelError.NUM, ExcelError.DIV0, ExcelError.VALUE, ExcelError.NA

DATA = (3.5, 5.0, 7.25, 7.0, 5.0, 3.0, 8.0, 11.5, -2.0, 5.0)

# A1:A10 and C1:C2 hold the data, in two arguments
SAMPLE: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("STDEV", lambda x: np.std(x, ddof=1)),
    ("STDEV.S", lambda x: np.std(x, ddof=1)),
    ("STDEVP", np.std),
    ("STDEV.P", np.std),
    ("VAR", lambda x: np.var(x, ddof=1)),
    ("VARP", np.var),
    ("DEVSQ", lambda x: np.var(x) * len(x)),
    ("AVEDEV", lambda x: np.mean(np.abs(x - np.mean(x)))),
    ("MEDIAN", np.median),
    ("MODE", statistics.mode),
    ("SKEW", lambda x: stats.skew(x, bias=False)),
    ("SKEW.P", stats.skew),
    ("KURT", lambda x: stats.kurtosis(x, bias=False)),
)

PAIRS: tuple[tuple[str, Callable[[Any, Any], Any]], ...] = (
    ("CORREL", lambda y, x: np.corrcoef(x, y)[0, 1]),
    ("PEARSON", lambda y, x: stats.pearsonr(x, y).statistic),
    ("RSQ", lambda y, x: stats.linregress(x, y).rvalue ** 2),
    ("COVAR", lambda y, x: np.cov(x, y, ddof=0)[0, 1]),
    ("COVARIANCE.S", lambda y, x: np.cov(x, y)[0, 1]),
    ("SLOPE", lambda y, x: stats.linregress(x, y).slope),
    ("INTERCEPT", lambda y, x: stats.linregress(x, y).intercept),
    ("SUMX2MY2", lambda y, x: np.sum(y**2 - x**2)),
    ("SUMX2PY2", lambda y, x: np.sum(x**2 + y**2)),
    ("SUMXMY2", lambda y, x: np.sum((x - y) ** 2)),
)

# Examples on Microsoft's page of each function
DOCUMENTED = (
    ("=GEOMEAN(4,5,8,7,11,4,3)", 5.476986970),
    ("=HARMEAN(4,5,8,7,11,4,3)", 5.028375962),
    ("=STEYX({2,3,9,1,8,7,5},{6,5,11,7,5,4,4})", 3.305718950),
    ("=FORECAST(30,{6,7,9,15,21},{20,28,31,38,40})", 10.60725309),
    ("=PERCENTILE.INC({1,2,3,4},0.3)", 1.9),
    ("=PERCENTILE.EXC({6,7,15,36,39,40,41,42,43,47,49},0.25)", 15.0),
    ("=QUARTILE({1,2,4,7,8,9,10,12},1)", 3.5),
    ("=QUARTILE.EXC({6,7,15,36,39,40,41,42,43,47,49},3)", 43.0),
    ("=PERCENTRANK({13,12,11,8,4,3,2,1,1,1},2)", 0.333),
    ("=PERCENTRANK({13,12,11,8,4,3,2,1,1,1},8)", 0.666),
    ("=PERCENTRANK({13,12,11,8,4,3,2,1,1,1},5)", 0.583),
    ("=PERCENTRANK.EXC({1,2,3,6,6,6,7,8,9},7)", 0.7),
    ("=PERCENTRANK.EXC({1,2,3,6,6,6,7,8,9},5.43)", 0.381),
    ("=TRIMMEAN({4,5,6,7,2,3,4,5,1,2,3},0.2)", 3.777777778),
    ("=LARGE({3,4,5,2,3,4,6,4,7},3)", 5.0),
    ("=SMALL({3,4,5,2,3,4,6,4,7},4)", 4.0),
    ("=PROB({0,1,2,3},{0.2,0.3,0.1,0.4},2)", 0.1),
    ("=PROB({0,1,2,3},{0.2,0.3,0.1,0.4},1,3)", 0.8),
    ("=SUM(FREQUENCY({79,85,78,85,50,81,95,88,97},{70,79,89})*{1;10;100;1000})", 1 + 20 + 400 + 2000.0),
)

FAILURES = (
    ("=STDEV(1)", DIV0),
    ("=STDEVP(A1:A2)", DIV0),
    ("=VAR(A1:A2)", DIV0),
    ("=MEDIAN(A1:A2)", NUM),
    ("=LARGE({1,2},3)", NUM),
    ("=LARGE(A1:A2,1)", NUM),
    ("=SMALL({1,2},0)", NUM),
    ("=PERCENTILE({1,2},1.1)", NUM),
    ("=PERCENTILE.EXC({1,2},0.01)", NUM),
    ("=MODE(1,2,3)", NA),
    ("=GEOMEAN(1,0)", NUM),
    ("=SKEW(1,2)", DIV0),
    ("=KURT(1,1,1,1)", DIV0),
    ("=CORREL({1,2},{1,2,3})", NA),
    ("=SLOPE({1,2},{3,3})", DIV0),
    ("=RANK(9,A3:A4)", NA),
    ("=PERCENTRANK({1,2},3)", NA),
    ("=TRIMMEAN({1,2},1)", NUM),
    ("=STDEV(A5,1,2)", DIV0),
)


def column(letter: str, values: Sequence[object]) -> dict[str, object]:
    return {f"{letter}{row}": value for row, value in enumerate(values, 1)}


@pytest.mark.parametrize(("name", "expected"), SAMPLE)
def test_statistic_of_a_sample(name: str, expected: Callable[[Any], Any]) -> None:
    cells = {**column("A", [*DATA[:8], "text", True]), **column("C", DATA[8:])}
    assert value_of(f"={name}(A1:A10,C1:D2)", cells) == pytest.approx(float(expected(np.array(DATA))), rel=1e-12)


@pytest.mark.parametrize(("name", "expected"), PAIRS)
def test_statistic_of_pairs(name: str, expected: Callable[[Any, Any], Any]) -> None:
    other = [2.0, 1.0, 9.5, 4.0, 4.5, 1.5, 9.0, 14.0, 0.5, 3.0]
    cells = {**column("A", [*DATA, 7.0, "x"]), **column("B", [*other, None, 5.0])}
    assert value_of(f"={name}(A1:A12,B1:B12)", cells) == pytest.approx(float(expected(np.array(DATA), np.array(other))), rel=1e-12)


@pytest.mark.parametrize(("formula", "expected"), DOCUMENTED)
def test_documented_example(formula: str, expected: float) -> None:
    assert value_of(formula) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("formula", "error"), FAILURES)
def test_failure(formula: str, error: ExcelError) -> None:
    assert value_of(formula, {"A3": 1.0, "A4": 2.0, "A5": "=1/0"}) is error


def test_text_counts_zero_and_true_one_in_the_a_family() -> None:
    cells = column("A", [4.0, "text", True, None, 7.5])
    assert value_of("=STDEVA(A1:A5)", cells) == pytest.approx(statistics.stdev([4.0, 0.0, 1.0, 7.5]), rel=1e-13)
    assert value_of("=VARPA(A1:A5)", cells) == pytest.approx(statistics.pvariance([4.0, 0.0, 1.0, 7.5]), rel=1e-13)
    assert value_of("=VAR(A1:A5)", cells) == pytest.approx(statistics.variance([4.0, 7.5]), rel=1e-13)


def test_ranks_of_equal_numbers() -> None:
    cells = column("A", [7.0, 3.5, 3.5, 1.0, 2.0, "text"])
    formulas = {"C1": "=RANK(A2,A1:A6,1)", "C2": "=RANK(A1,A1:A6)", "C3": "=RANK.AVG(A3,A1:A6)", "C4": "=RANK.EQ(A3,A1:A6,0)"}
    assert values_of(formulas, cells) == {"C1": 3.0, "C2": 1.0, "C3": 2.5, "C4": 2.0}


def test_a_block_of_like_formulas_gives_the_same_as_single_cells() -> None:
    grid: dict[str, object] = {f"{column}{row}": (row * 7 + ord(column) * 3) % 11 + row / 10 for row in range(1, 6) for column in "ABCDE"}
    grid |= {"B2": "text", "C3": True, "D4": None}
    bodies: tuple[str, ...] = (
        "MEDIAN(A{0}:C{0},D{0}:E{0})",
        "STDEV(A{0}:E{0})",
        "LARGE(A{0}:E{0},2)",
        "PERCENTILE(A{0}:E{0},0.3)",
        "TRIMMEAN(A{0}:E{0},0.5)",
    )
    bodies += (
        "RANK(A{0},A{0}:E{0})",
        "PERCENTRANK(A{0}:E{0},E{0})",
        "MODE(A{0}:E{0},A{0})",
        "SLOPE(A{0}:E{0},A$1:E$1)",
        "KURT(A{0}:E{0},1)",
    )
    block = {f"{chr(ord('G') + place)}{row}": "=" + body.format(row) for place, body in enumerate(bodies) for row in range(1, 6)}
    together = values_of(block, grid)
    for address, formula in block.items():
        assert value_of(formula, grid) == together[address], formula


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0, 1))
def test_percentiles_and_medians_are_numpys(values: list[float], share: float) -> None:
    found = values_of({"C1": f"=PERCENTILE(A1:A30,{share!r})", "C2": "=MEDIAN(A1:A30)"}, column("A", values))
    scale = max(map(abs, values)) + 1e-300
    assert found["C1"] == pytest.approx(float(np.percentile(values, share * 100)), abs=1e-9 * scale)
    assert found["C2"] == pytest.approx(float(np.median(values)), abs=1e-12 * scale)


def test_large_of_several_ranks_spreads_in_an_aggregate() -> None:
    assert value_of("=SUMPRODUCT(LARGE(A1:A10,{1,2,3}))", column("A", DATA)) == pytest.approx(math.fsum(sorted(DATA)[-3:]))


FIRST, SECOND = (3.0, 4.0, 5.0, 8.0, 9.0, 1.0, 2.0, 4.0, 5.0), (6.0, 19.0, 3.0, 2.0, 14.0, 4.0, 5.0, 17.0, 1.0)

TESTS: tuple[tuple[str, Callable[[], Any]], ...] = (
    ("TTEST(A1:A9,B1:B9,2,1)", lambda: stats.ttest_rel(FIRST, SECOND).pvalue),
    ("T.TEST(A1:A9,B1:B9,1,2)", lambda: stats.ttest_ind(FIRST, SECOND).pvalue / 2),
    ("T.TEST(A1:A9,B1:B9,2,3)", lambda: stats.ttest_ind(FIRST, SECOND, equal_var=False).pvalue),
    ("FTEST(A1:A9,B1:B9)", lambda: 2 * stats.f.sf(np.var(SECOND, ddof=1) / np.var(FIRST, ddof=1), 8, 8)),
    ("Z.TEST(A1:A9,4)", lambda: stats.norm.sf((np.mean(FIRST) - 4) / np.std(FIRST, ddof=1) * 3)),
    ("ZTEST(A1:A9,4,2)", lambda: stats.norm.sf((np.mean(FIRST) - 4) / 2 * 3)),
    ("CHITEST({58,35;11,25;10,23},{45.35,47.65;17.56,18.44;16.09,16.91})", lambda: 0.000308192017),  # Microsoft's example
)


@pytest.mark.parametrize(("formula", "expected"), TESTS)
def test_probability_of_a_hypothesis(formula: str, expected: Callable[[], Any]) -> None:
    assert value_of("=" + formula, {**column("A", FIRST), **column("B", SECOND)}) == pytest.approx(float(expected()), rel=1e-8)


def test_aggregate_leaves_out_errors_and_subtotals() -> None:
    cells: dict[str, object] = {"A1": 3.0, "A2": "=1/0", "A3": 5.0, "A4": "=SUBTOTAL(9,A1,A3)", "A5": 1.0}
    cases = {
        "=AGGREGATE(9,6,A1:A5)": 17.0,
        "=AGGREGATE(9,3,A1:A5)": 9.0,
        "=AGGREGATE(4,6,A1:A5)": 8.0,
        "=AGGREGATE(14,3,A1:A5,2)": 3.0,
        "=AGGREGATE(12,7,A1:A5)": 4.0,
        "=AGGREGATE(9,0,A1:A5)": DIV0,
        "=AGGREGATE(14,6,A1:A5,9)": NUM,
        "=AGGREGATE(20,6,A1:A5)": VALUE,
    }
    assert {formula: value_of(formula, cells) for formula in cases} == cases
