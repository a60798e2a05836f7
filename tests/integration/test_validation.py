"""Validation before a run, with engines that do one op a little, or altogether, differently from NumPy."""

from itertools import pairwise

import numpy as np
import pytest
from attrs import evolve
from openpyxl.utils import get_column_letter
from workbooks import workbook

import ultramc as mc
from ultramc.engines.base import Engine
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.program import Body, Instruction, Ref, constant

SEED = 3
RARE = 546  # of 1,000 with p = 0.5: three of 10,000
# 1 in all but the last digits, with an `exp` that engines may do differently
PRICE = "EXP(A2)/2.718281828459045^A2"
INPUTS = {"A1": mc.Binomial(1000, 0.5), "A2": mc.Uniform(0.5, 1.5)}
START = {"A1": 500, "A2": 1}


class Differing(Engine):
    """NumPy, but each result of `op` is multiplied by `factor`, or made by `other`."""

    name = "differing"
    supports = NumPyEngine.supports

    def __init__(self, op, *, factor=None, other=None):
        self.op, self.factor, self.other = op, factor, other
        self.inner, self.ran = NumPyEngine(), []
        self.unused = 1_000_000

    def availability(self):
        return self.inner.availability()

    def compile(self, program):
        self.refuse_unsupported(program)
        return self.inner.compile(evolve(program, instructions=self.changed(program.instructions)))

    def changed(self, instructions):
        return tuple(changed for instruction in instructions for changed in self.one(instruction))

    def one(self, instruction):
        if "body" in instruction.attributes:
            body = instruction.attributes["body"]
            inside = Body(body.parameters, self.changed(body.instructions), body.results)
            return [evolve(instruction, attributes={**instruction.attributes, "body": inside})]
        if instruction.op != self.op:
            return [instruction]
        if self.other:
            return [evolve(instruction, op=self.other)]
        self.unused += 1
        before = Ref(self.unused, instruction.result.shape, "number")
        scaled = Instruction("mul", (before, constant(self.factor)), instruction.results, instruction.cell)
        return [evolve(instruction, results=(before,)), scaled]

    def run(self, executable, job, first, count):
        self.ran.append((first, count))
        return self.inner.run(executable, job, first, count)

    def bytes_per_iteration(self, executable):
        return self.inner.bytes_per_iteration(executable)


class DifferingGPU(Differing):
    invalid = mc.GPUValidationError


class GivesNaN(Differing):
    """Where there should be a number."""

    def run(self, *arguments):
        chunk = super().run(*arguments)
        chunk.payloads[0][:, 17:18] = np.nan
        return chunk


def simulation(cells, outputs):
    return mc.Simulation(workbook(START | cells), inputs=INPUTS, outputs=outputs)


def priced():
    """How many boxes are needed: a step where exactly RARE are sold."""
    return simulation({"B1": f"=A1*{PRICE}/{RARE}", "B2": "=ROUNDUP(B1,0)"}, ["B2"])


def over_years():
    """The same step in one year of 24, in a loop: what is carried on differs from then on."""
    columns = [get_column_letter(number) for number in range(2, 27)]
    years = {f"{this}3": f"={last}3*1.01+ROUNDUP($A$1*{PRICE.replace('A2', '$A$2')}/{this}2,0)" for last, this in pairwise(columns)}
    sizes = {f"{column}2": RARE if column == "K" else 40_000 for column in columns}
    return simulation({"B3": 0, **sizes, **years}, ["Z3"])


def test_agreement_stands_in_the_result():
    result = priced().run(5_000, seed=SEED, engine=Differing("exp", factor=1.0))
    assert result.validation == "the first 4,096 iterations on differing agree with NumPy to 0.0e+00"
    assert "validation: the first 4,096" in repr(result)


def test_numpy_needs_none():
    assert priced().run(100, seed=SEED).validation == ""


@pytest.mark.parametrize(("model", "cell"), [(priced, "Model!B2"), (over_years, "Model!C3:Z3")])
def test_a_few_crossings_are_accepted_and_counted(model, cell):
    engine = Differing("exp", factor=1 + 1e-12)
    result = model().run(5_000, seed=SEED, engine=engine)
    drawn = result.inputs["A1"].samples[:4096]
    crossed = np.flatnonzero(drawn == RARE)
    assert 1 <= len(crossed) <= 4
    places = ", ".join(f"iteration {iteration} at {cell} (ceil)" for iteration in crossed)
    assert result.validation.endswith(f"; {len(crossed)} crossed a threshold: {places}")


@pytest.mark.parametrize("model", [priced, over_years])
def test_a_drift_is_no_crossing(model):
    engine = Differing("exp", factor=1 + 1e-5)
    with pytest.raises(mc.EngineValidationError) as caught:
        model().run(100_000, seed=SEED, engine=engine)
    text = str(caught.value)
    assert text.startswith("engine 'differing': validation failed – simulation not executed: ")
    assert "(exp)" in text or "(mul)" in text or "(div)" in text
    assert "on_invalid='numpy'" in text
    assert max(first + count for first, count in engine.ran) <= 4_096
    ((found, wanted),) = caught.value.statistics.values()
    assert found.mean != wanted.mean


def test_the_first_cell_that_differs_is_named():
    model = simulation({"B1": "=A1*2", "B2": "=EXP(A2)", "B3": "=B1+B2", "B4": "=B3*2"}, ["B4"])
    where = r"B4 is .* on differing and .* on NumPy in iteration 0; it first differs at Model!B2 \(exp\)"
    with pytest.raises(mc.EngineValidationError, match=where):
        model.run(1_000, seed=SEED, engine=Differing("exp", factor=1 + 1e-5))


@pytest.mark.parametrize(
    ("formula", "op", "other"), [("=INT(552.5-A1)", "floor", "trunc"), (f"=IFERROR(1/(A1-{RARE}),7)", "equal", "less")]
)
def test_a_wrong_comparison_is_no_crossing(formula, op, other):
    """In three of 4,096 iterations; its operands are the same, and it is done wrongly on them."""
    model = simulation({"B1": formula}, ["B1"])
    with pytest.raises(mc.EngineValidationError, match="validation failed"):
        model.run(5_000, seed=SEED, engine=Differing(op, other=other))


def test_tags_must_be_equal():
    model = simulation({"B1": f"=1/(A1-{RARE})"}, ["B1"])
    with pytest.raises(mc.EngineValidationError, match=r"\(kind \d+\)"):
        model.run(5_000, seed=SEED, engine=Differing("equal", other="less"))


def test_a_number_that_is_nan_is_refused():
    with pytest.raises(mc.EngineValidationError, match="is nan on differing and"):
        priced().run(5_000, seed=SEED, engine=GivesNaN("exp", factor=1.0))


def test_a_gpu_says_so():
    with pytest.raises(mc.GPUValidationError, match=r"^GPU validation failed – simulation not executed: "):
        priced().run(5_000, seed=SEED, engine=DifferingGPU("exp", factor=1 + 1e-5))


def test_numpy_runs_instead_where_the_caller_allows():
    engine = Differing("exp", factor=1 + 1e-5)
    result = priced().run(6_000, seed=SEED, engine=engine, on_invalid="numpy")
    assert result.engine == "numpy"
    assert result.validation.startswith("run on NumPy, as on_invalid='numpy' allows: engine 'differing': validation failed")
    np.testing.assert_array_equal(result["B2"].samples, priced().run(6_000, seed=SEED)["B2"].samples)
    assert max(first + count for first, count in engine.ran) <= 4_096


def test_tolerances_are_the_callers():
    model = simulation({"B1": "=EXP(A2)*100"}, ["B1"])
    engine = Differing("exp", factor=1 + 1e-5)
    result = model.run(5_000, seed=SEED, engine=engine, validate=mc.Validation(iterations=1_000, rtol=1e-4))
    assert result.validation == "the first 1,000 iterations on differing agree with NumPy to 1.0e-05"
    assert engine.ran[0] == (0, 1_000)


def test_no_validation_stands_in_the_result():
    engine = Differing("exp", factor=1 + 1e-5)
    result = priced().run(5_000, seed=SEED, engine=engine, validate=False)
    assert result.validation == "not validated, at the caller's wish"


@pytest.mark.parametrize("arguments", [{"iterations": 0}, {"rtol": -1}, {"atol": -1e-9}])
def test_nonsense_is_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        mc.Validation(**arguments)


def test_it_is_saved_with_the_result(tmp_path):
    result = priced().run(5_000, seed=SEED, engine=Differing("exp", factor=1.0))
    result.save(tmp_path / "result.npz")
    assert mc.load(tmp_path / "result.npz").validation == result.validation
