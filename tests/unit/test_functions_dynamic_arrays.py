"""Arrays that are cut, joined, sorted and filtered, and functions of functions: Microsoft's documented examples and what NumPy gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from formula_cases import value_of, values_of, workbook
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ultramc as mc
from ultramc.errors import UnsupportedFormula
from ultramc.values import ExcelError, Scalar

CALC, NA, NUM, VALUE, NAME = ExcelError.CALC, ExcelError.NA, ExcelError.NUM, ExcelError.VALUE, ExcelError.NAME

GRID = "{1,2,3;4,5,6;7,8,9}"

# an array formula, and what ARRAYTOTEXT(…, 1) shows of it
ARRAYS: tuple[tuple[str, str], ...] = (
    (f"TAKE({GRID},2)", "{1,2,3;4,5,6}"),
    (f"TAKE({GRID},,2)", "{1,2;4,5;7,8}"),
    (f"TAKE({GRID},-2)", "{4,5,6;7,8,9}"),
    (f"TAKE({GRID},2,-1)", "{3;6}"),
    (f"TAKE({GRID},9)", "{1,2,3;4,5,6;7,8,9}"),
    (f"DROP({GRID},2)", "{7,8,9}"),
    (f"DROP({GRID},,2)", "{3;6;9}"),
    (f"DROP({GRID},-2)", "{1,2,3}"),
    (f"DROP({GRID},2.9,-1)", "{7,8}"),
    (f"CHOOSEROWS({GRID},1,3,1,-1)", "{1,2,3;7,8,9;1,2,3;7,8,9}"),
    (f"CHOOSECOLS({GRID},{{3,1}})", "{3,1;6,4;9,7}"),
    ("EXPAND({1,2;3,4},3,3)", "{1,2,#N/A;3,4,#N/A;#N/A,#N/A,#N/A}"),
    ('EXPAND({1,2;3,4},3,,"-")', '{1,2;3,4;"-","-"}'),
    ('WRAPROWS({"A","B","C","D","E","F","G"},3)', '{"A","B","C";"D","E","F";"G",#N/A,#N/A}'),
    ('WRAPROWS({"A","B","C","D","E","F","G"},3,"x")', '{"A","B","C";"D","E","F";"G","x","x"}'),
    ("WRAPCOLS({1,2,3,4,5,6,7},3)", "{1,4,7;2,5,#N/A;3,6,#N/A}"),
    ("WRAPROWS({1,2},9)", "{1,2}"),
    (f"TOROW({GRID},,TRUE)", "{1,4,7,2,5,8,3,6,9}"),
    ("TOCOL({1,#N/A;3,4},2)", "{1;3;4}"),
    ("HSTACK({1,2,3;4,5,6},{7,8;9,10;11,12})", "{1,2,3,7,8;4,5,6,9,10;#N/A,#N/A,#N/A,11,12}"),
    ('VSTACK({1,2,3;4,5,6},{"A","B"},7)', '{1,2,3;4,5,6;"A","B",#N/A;7,#N/A,#N/A}'),
    ("HSTACK(#DIV/0!,1)", "{#DIV/0!,1}"),
    ("SEQUENCE(2,3)", "{1,2,3;4,5,6}"),
    ("SEQUENCE(4)", "{1;2;3;4}"),
    ("SEQUENCE(,3,10,-5)", "{10,5,0}"),
    ("SEQUENCE(3,,,2)", "{1;3;5}"),
    ("SORT({3;1;2})", "{1;2;3}"),
    ("SORT({3,1,2},,-1,TRUE)", "{3,2,1}"),
    ('SORT({"b",1;"a",2;"b",0},{1,2},{-1,1})', '{"b",0;"b",1;"a",2}'),
    ('SORT({TRUE;"b";#N/A;2;"A";FALSE;-1})', '{-1;2;"A";"b";FALSE;TRUE;#N/A}'),
    ('SORTBY({"Tom";"Fred";"Amy"},{52;65;22})', '{"Amy";"Tom";"Fred"}'),
    ('SORTBY({"a";"b";"c";"d"},{1;2;1;2},-1,{1;2;3;4},-1)', '{"d";"b";"c";"a"}'),
    ("SORTBY({1,2,3},{3,1,2})", "{2,3,1}"),
    ('UNIQUE({"b";"a";"B";"c"})', '{"b";"a";"c"}'),
    ('UNIQUE({"b";"a";"B";"c"},,TRUE)', '{"a";"c"}'),
    ("UNIQUE({1,2,1;3,4,3},TRUE)", "{1,2;3,4}"),
    ("UNIQUE({1,2;1,2;1,3})", "{1,2;1,3}"),
    (f"FILTER({GRID},{{1;0;1}})", "{1,2,3;7,8,9}"),
    (f"FILTER({GRID},{{FALSE,TRUE,FALSE}})", "{2;5;8}"),
    (f'FILTER({GRID},{{0;0;0}},"none")', '{"none"}'),
    ("MODE.MULT({1;2;3;4;3;2;1;2;3;5;6;1})", "{1;2;3}"),
    ("MAP({1,2;3,4},LAMBDA(x,x*x))", "{1,4;9,16}"),
    ("MAP({1,2},{10,20},LAMBDA(a,b,a+b))", "{11,22}"),
    ("MAP({1,2,3},{10,20},LAMBDA(a,b,a+b))", "{11,22,#N/A}"),
    (f"BYROW({GRID},LAMBDA(r,MAX(r)))", "{3;6;9}"),
    (f"BYCOL({GRID},LAMBDA(c,SUM(c)))", "{12,15,18}"),
    (f"BYROW({GRID},_xleta.SUM)", "{6;15;24}"),
    (f"BYROW({GRID},LAMBDA(r,r))", "{#CALC!;#CALC!;#CALC!}"),
    ("MAKEARRAY(2,3,LAMBDA(r,c,r*c))", "{1,2,3;2,4,6}"),
    ("SCAN(1,{1,2,3;4,5,6},LAMBDA(a,b,a*b))", "{1,2,6;24,120,720}"),
    ('SCAN("",{"a","b","c"},LAMBDA(a,b,a&b))', '{"a","ab","abc"}'),
)


@pytest.mark.parametrize(("formula", "expected"), ARRAYS)
def test_array(formula: str, expected: str) -> None:
    assert value_of(f"=ARRAYTOTEXT({formula},1)") == expected


VALUES: tuple[tuple[str, Scalar], ...] = (
    ("TAKE({1;2;3},0)", CALC),
    ("DROP({1;2;3},3)", CALC),
    ("CHOOSECOLS({1,2},3)", VALUE),
    ("CHOOSEROWS({1;2},0)", VALUE),
    ("EXPAND({1,2;3,4},1)", VALUE),
    ("WRAPROWS({1,2},0)", NUM),
    ("WRAPROWS({1,2;3,4},2)", VALUE),
    ("TOCOL({1,2},4)", VALUE),
    ("TOCOL({#N/A,#N/A},3)", CALC),
    ("TAKE({1,2},#NUM!)", NUM),
    ("SEQUENCE(0)", CALC),
    ("SEQUENCE(-1)", VALUE),
    ("SUM(SEQUENCE(100))", 5050.0),
    ("SORT({1,2},3)", VALUE),
    ("SORT({1;2},1,2)", VALUE),
    ("SORTBY({1;2;3},{1;2})", VALUE),
    ("UNIQUE({1;1},,TRUE)", CALC),
    ("FILTER({1;2},{0;0})", CALC),
    ("FILTER({1;2},{1;1;1})", VALUE),
    ("FILTER({1;2},{1;#DIV/0!})", ExcelError.DIV0),
    ('FILTER({1;2},{1;"x"})', VALUE),
    ("MODE.MULT({1;2;3})", NA),
    ("REDUCE(,{2,3,4},LAMBDA(a,b,a*b))", 24.0),
    ("REDUCE(0,{1,2;3,4},LAMBDA(a,b,a+b^2))", 30.0),
    ("SUM(REDUCE(1,SEQUENCE(4),LAMBDA(a,b,VSTACK(a,b))))", 11.0),
    ("REDUCE(0,{1},5)", VALUE),
    ("MAKEARRAY(0,1,LAMBDA(r,c,1))", VALUE),
    ("LAMBDA(x,_xlop.y,IF(ISOMITTED(y),x/2,x*y))(12)", 6.0),
    ("LAMBDA(x,_xlop.y,IF(ISOMITTED(y),x/2,x*y))(12,3)", 36.0),
    ("LAMBDA(x,y,x+y)(1)", VALUE),
    ("LAMBDA(x,y,ISOMITTED(y))(1,)", True),
    ("LAMBDA(x,x)", CALC),
    ("SUM(LAMBDA(x,x))", CALC),
    ("IFERROR(LAMBDA(x,x),7)", 7.0),
    ("SUM+1", NAME),
    ("LET(f,LAMBDA(f,n,IF(n<2,1,n*f(f,n-1))),f(f,10))", 3628800.0),
    ("LET(f,LAMBDA(f,n,f(f,n)),f(f,1))", NUM),
)


@pytest.mark.parametrize(("formula", "expected"), VALUES)
def test_value(formula: str, expected: Scalar) -> None:
    assert value_of("=" + formula) == expected


def test_pieces_of_a_reference_are_references() -> None:
    cells = {"A1": 1, "A2": "=SUBTOTAL(9,A1:A1)", "A3": 3}
    assert value_of("=SUM(MAP(A1:A3,LAMBDA(r,SUBTOTAL(9,r)*ROW(r))))", cells) == 1 + 3 * 3
    assert value_of("=SUM(BYROW(A1:B3,LAMBDA(r,ROW(r)*COLUMNS(r))))", cells) == 12.0


def test_blanks_and_zeros_are_told_apart() -> None:
    cells = {"A1": 0, "A3": "x", "A5": -2}
    assert value_of("=ARRAYTOTEXT(SORT(A1:A5,,-1),1)", cells) == '{"x";0;-2;;}'
    assert value_of("=ROWS(UNIQUE(A1:A5))", cells) == 4.0
    assert value_of("=ROWS(TOCOL(A1:B5,1))", cells) == 3.0


def test_a_block_of_like_formulas_is_each_of_them() -> None:
    cells = {f"A{row}": 7 - row for row in range(1, 7)}
    formulas = {f"C{row}": f"=SUM(SEQUENCE(3,1,A{row},2))+INDEX(SORT(A$1:A$6),A{row})+SUM(TAKE(A$1:A$6,A{row}))" for row in range(1, 7)}
    ordered = np.arange(6, 0, -1)
    for row, found in zip(range(1, 7), values_of(formulas, cells).values(), strict=True):
        start = 7 - row
        assert found == 3 * start + 6 + start + ordered[:start].sum()


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_folding_and_unfolding_are_inverse(numbers: list[int], width: int) -> None:
    line = "{" + ",".join(map(str, numbers)) + "}"
    assert value_of(f"=SUMPRODUCT(TOROW(WRAPROWS({line},{width}),2)*SEQUENCE(1,{len(numbers)}))") == sum(
        place * number for place, number in enumerate(numbers, 1)
    )
    assert value_of(f"=SUMPRODUCT(SORT({line},,,TRUE)*SEQUENCE(1,{len(numbers)}))") == sum(
        place * number for place, number in enumerate(sorted(numbers), 1)
    )


# What would be larger than a workbook may ask for is refused by name

REFUSED: tuple[tuple[str, str], ...] = (
    ("SUM(SEQUENCE(1048576,16384))", "SEQUENCE"),
    ("SUM(EXPAND(1,1E9,1E9))", "EXPAND"),
    ("SUM(MAP(SEQUENCE(20000),LAMBDA(x,x)))", "MAP"),
    ("SUM(REDUCE(1,SEQUENCE(60),LAMBDA(a,b,VSTACK(a,a))))", "VSTACK"),
    ("LET(f,LAMBDA(f,n,IF(n=0,0,f(f,n-1)+f(f,n-1))),f(f,60))", "LAMBDA"),
)


@pytest.mark.parametrize(("formula", "named"), REFUSED)
def test_what_grows_without_bound_is_refused(formula: str, named: str) -> None:
    with pytest.raises(UnsupportedFormula, match=named):
        value_of("=" + formula)


# On simulated values: draws, and what NumPy makes of them

Samples = NDArray[np.floating[Any]]
DRAWS = {"A1": "=RAND()", "A2": "=RAND()", "A3": "=RAND()"}


def _next_above_a_half(a: Samples, b: Samples, c: Samples) -> Samples:
    candidates = np.array([np.where(draw < 0.5, 2, draw) for draw in (a, b, c)])
    return np.where(candidates.min(axis=0) == 2, 9, 1 + candidates.argmin(axis=0))


SIMULATED: tuple[tuple[str, Callable[[Samples, Samples, Samples], Samples]], ...] = (
    ("SUM(HSTACK(A1:A3,{10;20;30})*{1,1;2,2;3,3})", lambda a, b, c: 140 + a + 2 * b + 3 * c),
    ("INDEX(SORT(A1:A3,,-1),1)", lambda a, b, c: np.max([a, b, c], axis=0)),
    ("INDEX(SORT(A1:A3),1)", lambda a, b, c: np.min([a, b, c], axis=0)),
    ("SUM(FILTER(A1:A3,{1;0;1}))", lambda a, b, c: a + c),
    ("INDEX(SORTBY(A1:A3,{3;1;2}),1)", lambda a, b, c: b),
    ("SUM(WRAPROWS(TOROW(A1:A3),2,0)*{1,2;3,4})", lambda a, b, c: a + 2 * b + 3 * c),
    ("SUM(SEQUENCE(3,1,A1,A2))", lambda a, b, c: 3 * a + 3 * b),
    ("SUM(MAP(A1:A3,LAMBDA(x,x^2)))", lambda a, b, c: a**2 + b**2 + c**2),
    ("REDUCE(0,A1:A3,LAMBDA(s,x,s*2+x))", lambda a, b, c: 4 * a + 2 * b + c),
    ("INDEX(SCAN(0,A1:A3,LAMBDA(s,x,MAX(s,x))),2)", lambda a, b, c: np.max([a, b], axis=0)),
    ("SUM(BYROW(HSTACK(A1:A3,A1:A3),LAMBDA(r,MIN(r))))", lambda a, b, c: a + b + c),
    ("XLOOKUP(A1,{0;0.25;0.5},{1;2;3},,-1)", lambda a, b, c: 1.0 + (a >= 0.25) + (a >= 0.5)),
    ("XLOOKUP(0.5,A1:A3,{1;2;3},9,1)", _next_above_a_half),
)


def test_simulated_values() -> None:
    cells = {
        "A1": "=RAND()",
        "A2": "=RAND()",
        "A3": "=RAND()",
        **{f"C{row}": "=" + formula for row, (formula, _) in enumerate(SIMULATED, 1)},
    }
    result = mc.Simulation(workbook(cells), outputs=["A1:A3", f"C1:C{len(SIMULATED)}"]).run(200, seed=3)
    a, b, c = result["A1:A3"].samples.T
    found = result[f"C1:C{len(SIMULATED)}"].samples.T
    for (formula, expected), samples in zip(SIMULATED, found, strict=True):
        np.testing.assert_allclose(samples, expected(a, b, c), rtol=1e-12, err_msg=formula)


@pytest.mark.parametrize("formula", ["SUM(UNIQUE(A1:A3))", "SUM(FILTER(A1:A3,A1:A3>0.5))", "SUM(TAKE(A1:A3,1+(A1>0.5)))"])
def test_a_shape_that_would_vary_is_refused(formula: str) -> None:
    cells = {**DRAWS, "C1": "=" + formula}
    with pytest.raises(mc.UltramcError, match="shape or order would depend on simulated values"):
        mc.Simulation(workbook(cells), outputs=["C1"]).run(10, seed=1)
