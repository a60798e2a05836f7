"""Simulated equals known: a compiled program gives in every iteration what the base case gives with those inputs."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from formula_cases import NOW, workbook
from formula_grammar import CELLS, FORMULAS, ITERATIONS, UNCERTAIN, filled, same
from hypothesis import HealthCheck, given, settings

from ultramc.address import CellRef, RangeRef, parse_area
from ultramc.calculation import Calculation
from ultramc.compilation import Compilation, Compiled
from ultramc.engines.base import Job
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.errors import CircularReference, UnsupportedFormula
from ultramc.functions.kit import Kit
from ultramc.graph import Graph
from ultramc.program import Builder, Operand
from ultramc.sampling import Site
from ultramc.values import FIRST_ERROR, Kind, Scalar


def _place(address: str) -> RangeRef:
    area = parse_area(address)
    assert area is not None
    return RangeRef("Sheet1", *area)


def _table(values: tuple[float, ...]) -> object:
    """A law that looks its value up by the number of the iteration, so that nothing folds."""
    table = np.array(values).reshape(1, 1, -1, 1, 1)

    def draw(builder: Builder, site: Site) -> Operand:
        return builder.emit("gather", builder.emit("iteration", shape=(1, 1, 1, 1)), table)

    return draw


def _compiled(graph: Graph, place: RangeRef, uncertain: dict[str, tuple[float, ...]] = UNCERTAIN, *, only: bool = False) -> Compiled:
    """`only`: with nothing propagated but what `place` needs."""
    calculation = Calculation.of(graph, now=NOW)
    calculation.propagate([region.index for region in graph.overlapping(place)] if only else None)
    inputs = {_place(address): _table(values) for address, values in uncertain.items()}
    compiled = Compilation(calculation, inputs, {"found": place}, in_sheet=False).compile()
    compiled.program.check_legal()
    return compiled


def _simulated(compiled: Compiled, count: int = ITERATIONS) -> list[list[Scalar]]:
    """For each iteration the value of each cell; every number is finite and every kind is one of those announced."""
    program = compiled.program
    (slot,) = program.outputs
    engine = NumPyEngine(threads=1)
    chunk = engine.run(engine.compile(program), Job(1, count), 0, count)
    tags = np.full(chunk.payloads[0].shape, slot.tag) if isinstance(slot.tag, int) else chunk.tags[0]
    assert tags is not None
    assert all(slot.kinds >> int(tag) & 1 for tag in tags.flat)
    assert np.isfinite(chunk.payloads[0][tags < FIRST_ERROR]).all()
    kit = Kit(Builder(), compiled.grid.kit.texts)
    return [
        [kit.python(int(tag), float(number)) for tag, number in zip(*pair, strict=True)]
        for pair in zip(tags.T, chunk.payloads[0].T, strict=True)
    ]


def _known(graph: Graph, place: RangeRef, inputs: dict[str, float]) -> list[Scalar]:
    calculation = Calculation.of(graph, now=NOW)
    plane = calculation.grid.planes["Sheet1"]
    for address, value in inputs.items():
        cell = _place(address)
        plane.payload[cell.top - 1, cell.left - 1], plane.tag[cell.top - 1, cell.left - 1] = value, Kind.NUMBER
    calculation.propagate()
    return calculation.grid.scalars(place)


def _compare(formulas: dict[str, str], place: RangeRef, cells: dict[str, object] = CELLS) -> None:
    graph = Graph.of(workbook({**cells, **formulas}))
    found = _simulated(_compiled(graph, place))
    for iteration, values in enumerate(found):
        expected = _known(graph, place, {address: values[iteration] for address, values in UNCERTAIN.items()})
        assert all(map(same, values, expected)), f"iteration {iteration}: {values}, not {expected}"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FORMULAS)
def test_simulated_equals_known(formula: str) -> None:
    with suppress(UnsupportedFormula):  # refused by name: no number at all, so no wrong one
        _compare(filled(formula), _place("Z1:Z3"))


@pytest.mark.parametrize(
    "formula",
    [
        "MATCH(A1,{3,1,2})",  # nearest match in no order: Excel's binary search
        "LOOKUP(A2,$F$1:$F$6)",
        "LOOKUP(A1,G1:G3,D1:D3)",  # blanks match nothing
        "VLOOKUP(A1,$A$1:$D$6,4,0)",
        "HLOOKUP(A1,$D$1:$F$6,A2,0)",
        "INDEX(D:D,ABS(A1)+20)",  # beyond the used cells, within the sheet
        "INDEX(D1:D3,ABS(A1)+1)",
        "VLOOKUP(A1,$D$1:$E$6,A2)",
        "COUNTIF($D$1:$D$6,$C$1)",  # a boolean is not its number
        "COUNTIF($C$1:$C$6,$C$3)",  # an error counts errors
        "SWITCH(C3,1,2,3)",
        "COSH(A3)-1",  # overflow is no small difference
        "COUNT($C$1:$C$6*{1,2,3})",
        "INDEX($C$1:$C$6*{1,2,3},2,3)",
        "HLOOKUP(A1,$C$1:$C$6*{1,2,3},2,0)",
        "ROWS(ACOSH(A3))",
        "MATCH(1,ACOSH(A3),0)",
        "FACT(A1)",
        "FACT(C6)^(B2-A3)",
        'SUMIF(A:A,">1",C3)',  # reads more cells than it names
        'IF(A1>1,IF(A2>0,"x",1/0),A3=5)',
        "SUM(OFFSET($A$1,1,0,2,1))",
        "CHOOSE(A1,A2,C2,C3)",
    ],
)
def test_simulated_equals_known_where_it_once_did_not(formula: str) -> None:
    _compare(filled(formula), _place("Z1:Z3"))


def test_a_roll_forward_equals_its_cells() -> None:
    formulas = {f"H{row}": f"=H{row - 1}*(1+A$2/100)+$A$1" for row in range(2, 40)}
    _compare({"H1": "=A1", **formulas}, _place("H1:H39"))


def test_only_cells_between_inputs_and_outputs_are_compiled() -> None:
    graph = Graph.of(workbook({"A1": 1.0, "A4": 2.0, "B1": "=A1+1", "B2": "=A4+1", "B3": "=B1+B2", "B4": "=A1*3"}))
    compiled = _compiled(graph, _place("B3"), {"A1": (1.0, 2.0)})
    assert compiled.lowered == 2  # B1 and B3; B2 is constant, B4 is not asked for
    assert _simulated(compiled, 2) == [[5.0], [6.0]]


def test_an_input_replaces_a_formula() -> None:
    graph = Graph.of(workbook({"A1": 1.0, "A2": "=A1*2", "A3": "=A2+A1"}))
    assert _simulated(_compiled(graph, _place("A3"), {"A2": (10.0, 20.0)}), 2) == [[11.0], [21.0]]


def test_a_path_that_the_base_case_has_switched_off_is_followed() -> None:
    graph = Graph.of(workbook({"A1": 0.0, "A2": 5.0, "B1": "=IF(A1>0,A2*2,7)"}))
    compiled = _compiled(graph, _place("B1"), {"A1": (0.0, 1.0, 1.0), "A2": (5.0, 6.0, 8.0)})
    assert _simulated(compiled, 3) == [[7.0], [12.0], [16.0]]


@pytest.mark.parametrize("formula", ["OFFSET(A1,5,0)", 'INDIRECT("A6")', "IF(A1>1,OFFSET(A1,5,0),0)", 'IF(A1>1,INDIRECT("A"&6),0)'])
def test_what_offset_reads_is_simulated_though_no_formula_names_it(formula: str) -> None:
    """Only the output's own references are propagated; A6 is found when it is read, in the base case or in a branch that it leaves out."""
    graph = Graph.of(workbook({"A1": 1.0, "A6": "=B6+A1", "B6": "=A1*10", "C1": f"={formula}"}))
    compiled = _compiled(graph, _place("C1"), {"A1": (2.0, 3.0)}, only=True)
    assert _simulated(compiled, 2) == [[22.0], [33.0]]


def test_a_circle_that_an_input_can_close_is_refused_with_its_path() -> None:
    graph = Graph.of(workbook({"A1": 0.0, "B1": "=IF(A1>0,C1,1)", "C1": "=B1+1"}))
    with pytest.raises(CircularReference) as refusal:
        _compiled(graph, _place("C1"), {"A1": (0.0, 1.0)})
    assert {"Sheet1!B1", "Sheet1!C1"} <= set(refusal.value.path)


def test_a_refusal_names_the_cell_and_the_formula() -> None:
    graph = Graph.of(workbook({"A1": 1.0, "B1": "=SUBTOTAL(A1,D1:D3)"}))
    with pytest.raises(UnsupportedFormula, match=r"Sheet1!B1: SUBTOTAL with a simulated function number .* =SUBTOTAL\(A1,D1:D3\)"):
        _compiled(graph, _place("B1"), {"A1": (9.0, 1.0)})


def test_a_filled_block_is_one_set_of_instructions() -> None:
    cells: dict[str, object] = {"A1": 1.0, **{f"B{row}": float(row) for row in range(1, 401)}}
    short, long = (
        _compiled(
            Graph.of(workbook({**cells, **{f"C{row}": f"=B{row}*$A$1+1" for row in range(1, last + 1)}})),
            _place(f"C1:C{last}"),
            {"A1": (1.0, 2.0)},
        )
        for last in (2, 400)
    )
    assert len(short.program.instructions) == len(long.program.instructions)
    assert CellRef("Sheet1", 1, 3) in (long.program.instructions[-1].cell or ())
