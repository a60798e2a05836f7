"""Each stop of a cell's way is told; the samples are those that a run has."""

import re

import pytest
from workbooks import workbook

import ultramc as mc
from ultramc.explain import SAMPLES, SEED

CELLS = {
    "A1": "Price",
    "B1": 10,
    "A2": "Volume",
    "B2": 100,
    "A3": "Revenue",
    "B3": "=B1*B2",
    "B4": '=IF(B3>1000,"high","low")',
    "B5": "=1/(B1>10)",
}
INPUTS = {"B1": mc.Uniform(5, 15)}


@pytest.fixture(scope="module")
def sim():
    return mc.Simulation(workbook(CELLS, cached={"B3": 1000}), inputs=INPUTS, outputs=["B3", "B4", "B5"])


def stops(explanation):
    return dict(explanation.stops)


def last(explanation):
    return explanation.stops[-1][1]


def test_every_stop_of_a_formula(sim):
    explanation = sim.explain("B3")
    files = [name.partition(":")[0] for name, _ in explanation.stops]
    assert files == ["workbook.py", "parser.py", "graph.py", "distributions", "lowering.py, program.py", "engines/on_numpy.py"]
    told = stops(explanation)
    assert told["workbook.py: the cell"] == ("Revenue: =B1*B2", "saved value 1000.0, recalculated 1000.0")
    assert told["graph.py: what it reads"] == ("Model!B1", "Model!B2")
    assert told["distributions: the inputs on its way"] == ("B1 ~ Uniform(minimum=5, maximum=15)",)


def test_the_instructions_are_those_of_the_cell(sim):
    lines = stops(sim.explain("B3"))["lowering.py, program.py: the instructions that compute it"]
    assert any(re.search(r"= mul .*# Model!B3", line) for line in lines)
    assert not any("# Model!B1" in line for line in lines)


def test_samples_are_those_of_a_run(sim):
    result = sim.run(SAMPLES, seed=SEED)
    assert last(sim.explain("B3")) == tuple(f"{value:.10g}" for value in result["B3"].samples)
    assert len(set(last(sim.explain("B3")))) == SAMPLES


def test_text_and_errors_are_shown_as_such(sim):
    prices = sim.run(SAMPLES, seed=SEED).inputs["B1"].samples
    assert last(sim.explain("B4")) == tuple("'high'" if price > 10 else "'low'" for price in prices)
    assert last(sim.explain("B5")) == tuple("1" if price > 10 else "#DIV/0!" for price in prices)


def test_an_input(sim):
    explanation = sim.explain("Model!B1")
    assert stops(explanation)["workbook.py: the cell"][0] == "Price: a constant"
    assert stops(explanation)["distributions: the inputs on its way"] == ("B1 ~ Uniform(minimum=5, maximum=15)",)
    assert last(explanation) == tuple(f"{value:.10g}" for value in sim.run(SAMPLES, seed=SEED).inputs["B1"].samples)


def test_a_constant_beside_the_way(sim):
    explanation = sim.explain("B2")
    assert stops(explanation)["distributions: the inputs on its way"] == ("none",)
    assert last(explanation) == ("100",) * SAMPLES


def test_a_blank_cell(sim):
    assert stops(sim.explain("D9"))["workbook.py: the cell"][0] == "no label: blank"


def test_a_cell_that_no_output_needs():
    sim = mc.Simulation(workbook(CELLS | {"C1": "=B2+B1"}), inputs=INPUTS, outputs=["B3"])
    assert last(sim.explain("C1")) == tuple(f"{100 + price:.10g}" for price in sim.run(SAMPLES, seed=SEED).inputs["B1"].samples)


def test_the_simulation_is_left_as_it_was(sim):
    done = list(sim.calculation.done)
    sim.explain("B5")
    assert sim.calculation.done == done


def test_repr_numbers_the_stops(sim):
    text = repr(sim.explain("B3"))
    assert text.startswith("Model!B3\n1. workbook.py: the cell\n") and "\n6. engines/on_numpy.py" in text


def test_unknown_and_unsupported_cells(sim):
    with pytest.raises(mc.ReferenceNotFound):
        sim.explain("Nowhere!A1")
    with pytest.raises(mc.UnsupportedFormula, match="Model!C1"):
        mc.Simulation(workbook(CELLS | {"C1": "=WEBSERVICE(B1)"}), inputs=INPUTS, outputs=["B3"]).explain("C1")


def test_a_formula_that_is_one_reference():
    explanation = mc.Simulation(workbook({"A1": 1, "B1": "=A1"}), outputs=["B1"]).explain("B1")
    assert dict(explanation.stops)["parser.py: its formula as a tree"][0] == "Reference RC[-1]"


def test_a_cell_of_a_loop_says_so_and_a_cell_by_itself_says_why():
    cells = {"A1": 1, "B1": 1, **{f"B{row}": f"=B{row - 1}*(1+$A$1)" for row in range(2, 31)}}
    cells |= {f"C{row}": "=SUM(OFFSET($B$1,0,0,ROW(),1))" for row in range(1, 31)}
    sim = mc.Simulation(workbook(cells), inputs={"A1": mc.Uniform(0, 1)}, outputs=["C30"])
    assert stops(sim.explain("B3"))["recurrences.py: computed step by step"] == ("Model!B2:B30, downwards",)
    assert stops(sim.explain("C3"))["schedule.py: why it is computed by itself"]
    assert not [name for name, _ in sim.explain("A1").stops if name.startswith(("recurrences", "schedule"))]


def test_a_program_prints_its_inputs_as_inputs(sim):
    last_lines = str(sim.compiled).splitlines()[-4:]
    assert [line.partition(" = ")[0] for line in last_lines] == ["output B3", "output B4", "output B5", "input B1"]
