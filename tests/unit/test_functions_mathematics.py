"""Combinatorics, reciprocal trigonometry and matrices: closed forms and Microsoft's documented examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from formula_cases import value_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ultramc.values import ExcelError, Scalar

NUM, DIV0, VALUE = ExcelError.NUM, ExcelError.DIV0, ExcelError.VALUE

CASES: tuple[tuple[str, Scalar], ...] = (
    ("GCD(24,36)", 12.0),
    ("GCD(7,1)", 1.0),
    ("GCD(5,0)", 5.0),
    ("GCD(-1)", NUM),
    ('GCD("x")', VALUE),
    ("LCM(5,2)", 10.0),
    ("LCM(24.9,36)", 72.0),
    ("MULTINOMIAL(2,3,4)", 1260.0),
    ("PERMUT(100,3)", 970200.0),
    ("PERMUT(2,3)", NUM),
    ("PERMUTATIONA(3,2)", 9.0),
    ("COMBINA(4,3)", 20.0),
    ("COMBINA(0,1)", NUM),
    ("FACTDOUBLE(6)", 48.0),
    ("FACTDOUBLE(7)", 105.0),
    ("FACTDOUBLE(-2)", NUM),
    ("SERIESSUM(2,1,2,{1,2,3})", 2.0 + 2 * 8 + 3 * 32),
    ("SEC(1)", 1 / math.cos(1)),
    ("CSC(15)", 1 / math.sin(15)),
    ("COT(30)", 1 / math.tan(30)),
    ("COT(0)", DIV0),
    ("SECH(0.5)", 1 / math.cosh(0.5)),
    ("CSCH(1.5)", 1 / math.sinh(1.5)),
    ("COTH(2)", 1 / math.tanh(2)),
    ("ACOT(2)", math.atan(0.5)),
    ("ACOT(-2)", math.pi - math.atan(0.5)),
    ("ACOTH(6)", math.atanh(1 / 6)),
    ("ACOTH(1)", NUM),
    ("MDETERM({1,3,8,5;1,3,6,1;1,1,1,0;7,3,10,2})", 88.0),
    ("MDETERM({1,2,3;4,5,6})", VALUE),
    ("SUM(MINVERSE({4,-1;2,0})*{1,2;3,4})", 0.5 * 2 - 1 * 3 + 2 * 4),
    ("MINVERSE({0,0;0,0})", NUM),
    ("SUM(MUNIT(3)*{1,2,3;4,5,6;7,8,9})", 15.0),
    ("SUM(MMULT({1,3;7,2},{2,0;0,2})*{1,10;100,1000})", 2 + 60 + 1400 + 4000.0),
    ("MMULT({1,2},{1,2})", VALUE),
    ('MMULT({1,"x"},{1;2})', VALUE),
)


@pytest.mark.parametrize(("formula", "expected"), CASES)
def test_value(formula: str, expected: Scalar) -> None:
    found = value_of("=" + formula)
    assert found is expected if isinstance(expected, ExcelError) else found == pytest.approx(expected, rel=1e-12)


small = st.integers(1, 4)


@settings(max_examples=20, deadline=None)
@given(small, small, small, st.integers(0, 1000))
def test_product_of_matrices_is_numpys(height: int, inner: int, width: int, seed: int) -> None:
    source = np.random.default_rng(seed)
    left, right = source.integers(-9, 9, (height, inner)), source.integers(-9, 9, (inner, width))
    found = value_of(f"=SUMPRODUCT(MMULT({_literal(left)},{_literal(right)})*{_literal(_places(height, width))})")
    assert found == float((left @ right * _places(height, width)).sum())


def _places(height: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Distinct weights, so that entries cannot change places unseen."""
    return 100 ** np.arange(height * width, dtype=np.int64).reshape(height, width) % 99991


def _literal(matrix: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> str:
    return "{" + ";".join(",".join(str(entry) for entry in row) for row in matrix.tolist()) + "}"
