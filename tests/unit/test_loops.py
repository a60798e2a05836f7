"""What loops of formulas become: a body that is lowered once, what is outside it, what it carries, and where it has no tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest
from attrs import field, frozen
from openpyxl.formula.translate import Translator
from openpyxl.utils import rows_from_range
from workbooks import workbook

import ultramc as mc
from ultramc.address import RangeRef
from ultramc.calculation import Calculation
from ultramc.graph import Graph
from ultramc.program import Body, Instruction, Ref

DRAW = ["uniform", "mul", "add"]  # the input
PERIODS = "BCDEFGHIJKLMNOPQRSTUVWXY"  # 24 of them
SEED, ITERATIONS = 3, 50


@frozen
class Case:
    """A1 lies between 0 and 1, `cells` hold what stands before, `fills` are filled; `expected` are the instructions for the output.

    `value`: what the output is for a draw u, by plain Python.
    """

    fills: Mapping[str, str]
    expected: list[str]
    value: Callable[[float], float]
    cells: Mapping[str, object] = field(factory=dict)
    output: str = "Y2"
    has_tags: bool = False

    def simulation(self) -> mc.Simulation:
        filled = {
            address: Translator(formula, origin=area.partition(":")[0]).translate_formula(address)
            for area, formula in self.fills.items()
            for row in rows_from_range(area)
            for address in row
        }
        return mc.Simulation(workbook({"A1": 0.5, **self.cells, **filled}), inputs={"A1": mc.Uniform(0, 1)}, outputs=[self.output])


def _ops(instructions: tuple[Instruction, ...]) -> list[str]:
    """The names of ops; a loop with its steps, how many values it carries, and its body in brackets."""
    return [_loop(each) if each.op == "loop" else each.op for each in instructions]


def _loop(instruction: Instruction) -> str:
    attributes = instruction.attributes
    body: Body = attributes["body"]
    back = " backwards" if attributes["reverse"] else ""
    return f"loop {attributes['steps']}{back} carrying {attributes['carries']} [{' '.join(_ops(body.instructions))}]"


def _repeated(step: Callable[[float], float], start: float, times: int = 24) -> float:
    for _ in range(times):
        start = step(start)
    return start


def _lagged(u: float) -> float:
    last = [1.0, 2.0, 3.0]
    for _ in range(22):
        last.append(last[-3] * 0.5 + last[-1] * 0.25 + u)
    return last[-1]


def _square(u: float) -> float:
    return _repeated(lambda x: x * x + u - 0.5, 0.5)


CASES: Mapping[str, Case] = {
    "growth": Case(
        {"B2:Y2": "=A2*0.5+$A$1"}, [*DRAW, "loop 24 carrying 1 [mul add snap]"], lambda u: _repeated(lambda x: x * 0.5 + u, 1), {"A2": 1}
    ),
    "as long as one likes": Case(
        {"B2:IV2": "=A2*0.5+$A$1"},
        [*DRAW, "loop 255 carrying 1 [mul add snap]"],
        lambda u: _repeated(lambda x: x * 0.5 + u, 1, 255),
        {"A2": 1},
        "IV2",
    ),
    "down": Case(
        {"B3:B26": "=B2*0.5+$A$1"},
        [*DRAW, "loop 24 carrying 1 [mul add snap]"],
        lambda u: _repeated(lambda x: x * 0.5 + u, 1),
        {"B2": 1},
        "B26",
    ),
    "to the left": Case(
        {"B2:Y2": "=C2*0.5+$A$1"},
        [*DRAW, "loop 24 backwards carrying 1 [mul add snap]"],
        lambda u: _repeated(lambda x: x * 0.5 + u, 1),
        {"Z2": 1},
        "B2",
    ),
    "what is the same at all steps is computed before": Case(
        {"B2:Y2": "=A2*0.5+EXP($A$1)*($A$1+1)"},
        [*DRAW, "exp", "add", "mul", "loop 24 carrying 1 [mul add]"],
        lambda u: _repeated(lambda x: x * 0.5 + np.exp(u) * (u + 1), 1),
        {"A2": 1},
    ),
    "so is what the constants of a line make the same": Case(
        {"B2:Y2": "=A2*0.5+B3*$A$1"},
        [*DRAW, "mul", "loop 24 carrying 1 [mul add snap]"],
        lambda u: _repeated(lambda x: x * 0.5 + 5 * u, 1),
        {"A2": 1, **{f"{column}3": 5 for column in PERIODS}},
    ),
    "flags by period are cut step by step": Case(
        {"B2:Y2": "=A2+B3*$A$1"},
        [*DRAW, "loop 24 carrying 1 [mul add snap]"],
        lambda u: _repeated(lambda x: x + u, 1, 12),
        {"A2": 1, **{f"{column}3": number % 2 for number, column in enumerate(PERIODS)}},
    ),
    "three periods back is a ring of three": Case(
        {"D2:Y2": "=A2*0.5+C2*0.25+$A$1"}, [*DRAW, "loop 22 carrying 3 [mul mul add add snap]"], _lagged, {"A2": 1, "B2": 2, "C2": 3}
    ),
    "a balance: only what the next period reads is carried": Case(
        {"B2:Y2": "=A4", "B3:Y3": "=B2*$A$1", "B4:Y4": "=B2+B3"},
        [*DRAW, "mul", "add", "loop 23 carrying 1 [mul add snap]"],
        lambda u: _repeated(lambda x: x + x * u, 100),
        {"A4": 100},
        "Y4",
    ),
    "a first period that reads a blank is apart": Case(
        {"B2:Y2": "=A2*0.5+$A$1"},
        [*DRAW, "add", "snap", "loop 23 carrying 1 [mul add snap]"],
        lambda u: _repeated(lambda x: x * 0.5 + u, 0),
    ),
    "so is one that reads a text": Case(
        {"B2:Y2": "=IF(ISNUMBER(A2),A2*0.5,0)+$A$1"},
        [*DRAW, "add", "snap", "loop 23 carrying 1 [mul add snap]"],
        lambda u: _repeated(lambda x: x * 0.5 + u, 0),
        {"A2": "Start"},
    ),
    "a divisor that never is 0 has no error": Case(
        {"B2:Y2": "=1/(A2+1)"}, [*DRAW, "loop 24 carrying 1 [add div]"], lambda u: _repeated(lambda x: 1 / (x + 1), u), {"A2": "=A1"}
    ),
    "growth over all steps that does not overflow has none": Case(
        {"B2:Y2": "=A2*(1+$A$1)"}, [*DRAW, "add", "loop 24 carrying 1 [mul]"], lambda u: _repeated(lambda x: x * (1 + u), 1), {"A2": 1}
    ),
    "squares that may overflow have tags": Case({"B2:Y2": "=A2*A2+$A$1-0.5"}, [], _square, {"A2": 0.5}, has_tags=True),
}


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.expected], ids=[name for name in CASES if CASES[name].expected])
def test_instructions(case: Case) -> None:
    assert _ops(case.simulation().compiled.program.instructions) == case.expected


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_tags_are_where_errors_can_be(case: Case) -> None:
    assert isinstance(case.simulation().compiled.program.outputs[0].tag, Ref) == case.has_tags


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_values_are_those_of_plain_python(case: Case) -> None:
    result = case.simulation().run(ITERATIONS, seed=SEED, engine="numpy", on_error="exclude")
    with np.errstate(over="ignore"):
        expected = [case.value(u) for u in result.inputs["A1"].samples.tolist()]
    found = result.outputs[case.output].samples
    np.testing.assert_allclose(found, np.where(np.isfinite(expected), expected, np.nan), rtol=1e-13)


# Where a loop was once wrong


def _values(cells: Mapping[str, object], output: str, unrolled: bool) -> list[float]:
    sim = mc.Simulation(workbook(cells), inputs={"A1": mc.DiscreteUniform([0, 1])}, outputs=[output], unrolled=unrolled)
    values: list[float] = sim.run(ITERATIONS, seed=SEED, engine="numpy")[output].samples.tolist()
    return values


def test_texts_that_only_later_steps_make_are_told_apart() -> None:
    """The first step starts from a number, so that one of the texts turns up when the body has been lowered."""
    cells = {"B1": 1, **{f"{this}1": f'=IF({last}1="up","down","up")' for last, this in pairwise(PERIODS)}}
    calculation = Calculation.of(Graph.of(mc.Workbook(workbook(cells))), now=datetime(2026, 3, 4))
    calculation.propagate()
    assert calculation.grid.scalars(RangeRef("Model", 1, 2, 1, 25)) == [1.0, *["up", "down"] * 11, "up"]


def test_a_total_whose_newest_cells_are_narrower_than_what_it_has_had() -> None:
    cells = {"A1": 0, "D4": "=A1", "E4": 3, "D7": "=AVERAGE(D$4:D6)", "E7": "=AVERAGE(E$4:E6)", "F7": "=D7+E7"}
    assert _values(cells, "F7", unrolled=False) == _values(cells, "F7", unrolled=True)


# In column B, rows 3 to 30, filled down from B2 = 5; A1 is the input, D1 is 1
BY_REFERENCE = (
    "=OFFSET(B{row},-1,0)*(1+$A$1)",
    "=OFFSET(B{row},-$D$1,0)*(1+$A$1)",
    "=B{before}*$A$1+ROW(B{row})",
    "=SUM(B$2:B{before})*$A$1",
    '=COUNTIF(B$2:B{before},">2")+$A$1',
    "=IF($D$1=1,B{before},B{row})+$A$1",
)


@pytest.mark.parametrize("formula", BY_REFERENCE)
def test_what_is_found_out_before_circles_are_looked_for(formula: str) -> None:
    """OFFSET by known numbers, functions that ask where a cell is, switches: a loop, and to the bit what the cells give."""
    filled = {f"B{row}": formula.format(row=row, before=row - 1) for row in range(3, 31)}
    cells: dict[str, object] = {"A1": 0.1, "B2": 5.0, "D1": 1.0, **filled}
    whole, singly = (
        mc.Simulation(workbook(cells), inputs={"A1": mc.Normal(0.1, 1)}, outputs=["B3:B30"], unrolled=unrolled)
        for unrolled in (False, True)
    )
    assert whole.compiled.looped == 28 and not whole.compiled.unrolled
    assert np.array_equal(whole.run(50, seed=1)["B3:B30"].samples, singly.run(50, seed=1)["B3:B30"].samples)
