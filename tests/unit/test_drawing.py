"""Inputs whose parameters are cells, and parameters of every sort. Expected values are SciPy's on uniforms by plain NumPy."""

import numpy as np
import pytest
from scipy import stats
from workbooks import five_lines, workbook

import ultramc as mc

SEED = 21
COUNT = 300
CELLS = {"A1": 1, "A2": 2, "C1": "=A1", "C2": "=A2"}
SAMPLINGS = ("random", "antithetic", "latin_hypercube", "sobol")


def uniforms(cell="A1"):
    return five_lines(SEED, int(cell[1:]), ord(cell[0]) - ord("A") + 1, COUNT)


def simulation(cells, **options):
    return mc.Simulation(workbook({**CELLS, **cells}), **{"outputs": ["C1", "C2"], **options})


def run(cells, *, sampling="random", **options):
    return simulation(cells, **options).run(COUNT, seed=SEED, sampling=sampling)


class TestParametersByCells:
    @pytest.mark.parametrize(
        ("law", "given"),
        [
            (mc.Normal.of("B1", 0.5), mc.Normal(3, 0.5)),
            (mc.Normal.of("B1", "B2"), mc.Normal(3, 4)),
            (mc.Normal.of(mc.CellRef("Model", 1, 2), 1), mc.Normal(3, 1)),
            (mc.PERT.of(0, "B1", "B2"), mc.PERT(0, 3, 4)),
            (mc.Triangular.of(0, "B1", "B2"), mc.Triangular(0, 3, 4)),
            (mc.LogNormal.of("B2", "B1"), mc.LogNormal(4, 3)),
            (mc.Gamma.of("B1", 2), mc.Gamma(3, 2)),
            (mc.Poisson.of("B1"), mc.Poisson(3)),
            (mc.Hypergeometric.of("B1", "B2", 9), mc.Hypergeometric(3, 4, 9)),
            (mc.Discrete.of("B1:B3", [0.2, 0.3, 0.5]), mc.Discrete([3, 4, 7], [0.2, 0.3, 0.5])),
            (mc.Discrete.of([5, 6], "D1:E1"), mc.Discrete([5, 6], [0.25, 0.75])),
            (mc.DiscreteUniform.of("B1:B3"), mc.DiscreteUniform([3, 4, 7])),
            (mc.Cumulative.of(0, 10, "B1:B2", [0.2, 0.9]), mc.Cumulative(0, 10, [3, 4], [0.2, 0.9])),
        ],
    )
    @pytest.mark.parametrize("in_sheet", [True, False])
    def test_constants_in_cells_draw_the_same_bits(self, law, given, in_sheet):
        cells = {"B1": 3, "B2": 4, "B3": 7, "D1": 0.25, "E1": 0.75}
        by_cells = run(cells, inputs={"A1": law, "A2": mc.Uniform(0, 1)}, in_sheet=in_sheet)
        given = run(cells, inputs={"A1": given, "A2": mc.Uniform(0, 1)}, in_sheet=in_sheet)
        for output in ("C1", "C2"):
            np.testing.assert_array_equal(by_cells[output].samples, given[output].samples)

    @pytest.mark.parametrize("in_sheet", [True, False])
    def test_simulated_values_in_cells(self, in_sheet):
        found = run({}, inputs={"A1": mc.Uniform(0, 10), "A2": mc.Normal.of("A1", 0.5)}, in_sheet=in_sheet)["C2"].samples
        expected = stats.norm(10 * uniforms("A1"), 0.5).ppf(uniforms("A2"))
        np.testing.assert_allclose(found, expected, rtol=1e-9)

    def test_a_list_of_simulated_values(self):
        inputs = {"A1": mc.Uniform(0, 10), "A2": mc.Discrete.of("B1:B3", [0.2, 0.3, 0.5])}
        found = run({"B1": "=A1", "B2": 20, "B3": 30}, inputs=inputs)["C2"].samples
        u = uniforms("A2")
        np.testing.assert_array_equal(found, np.where(u <= 0.2, 10 * uniforms("A1"), np.where(u <= 0.5, 20, 30)))

    def test_a_list_down_and_a_list_across(self):
        inputs = {"A1": mc.Uniform(0, 10), "A2": mc.Discrete.of("B1:B3", "D1:F1")}
        found = run({"B1": "=A1", "B2": 20, "B3": 30, "D1": 0.2, "E1": 0.3, "F1": 0.5}, inputs=inputs)["C2"].samples
        u = uniforms("A2")
        np.testing.assert_array_equal(found, np.where(u <= 0.2, 10 * uniforms("A1"), np.where(u <= 0.5, 20, 30)))

    def test_weights_that_are_simulated(self):
        inputs = {"A1": mc.Uniform(0, 1), "A2": mc.Discrete.of([5, 6], "B1:B2")}
        found = run({"B1": "=A1", "B2": "=1-A1"}, inputs=inputs)["C2"].samples
        np.testing.assert_array_equal(found, np.where(uniforms("A2") <= uniforms("A1"), 5, 6))

    def test_weights_below_0_fail_in_their_iterations(self):
        inputs = {"A1": mc.Uniform(-1, 1), "A2": mc.Discrete.of([5, 6], "B1:B2")}
        result = run({"B1": "=A1", "B2": 1}, inputs=inputs)["C2"]
        assert dict(result.errors) == {"#VALUE!": int((uniforms("A1") < 0.5).sum())}

    def test_lists_of_different_lengths(self):
        with pytest.raises(mc.FormulaError, match="lists of different lengths"):
            simulation({"B1": "=A1", "B2": 2}, inputs={"A1": mc.Uniform(0, 1), "A2": mc.Discrete.of("B1:B2", [0.5])})

    @pytest.mark.parametrize("sampling", SAMPLINGS)
    def test_draws_are_those_of_a_run(self, sampling):
        sim = simulation({}, inputs={"A1": mc.Uniform(0, 10), "A2": mc.PERT.of(-1, "A1", 12)})
        ran = sim.run(COUNT, seed=SEED, sampling=sampling).inputs["A2"].samples
        np.testing.assert_array_equal(sim.draws("A2", first=7, count=90, seed=SEED, sampling=sampling, iterations=COUNT), ran[7:97])

    @pytest.mark.parametrize("sampling", SAMPLINGS)
    def test_draws_in_formulas_are_those_of_a_run(self, sampling):
        sim = simulation({"A1": "=RiskUniform(0,10)", "A2": "=2+RiskNormal(A1,1,RiskTruncate(0,))"})
        ran = sim.run(COUNT, seed=SEED, sampling=sampling).inputs["Model!A2"].samples
        np.testing.assert_array_equal(sim.draws("A2", first=7, count=90, seed=SEED, sampling=sampling, iterations=COUNT), ran[7:97])

    def test_described(self):
        assert run({}, inputs={"A1": mc.Normal.of("A2", 0.5)}).inputs["A1"].distribution == "Normal.of('A2', 0.5)"

    @pytest.mark.parametrize(
        ("law", "reason"),
        [
            (mc.Normal.of("A2"), "Normal takes 2 parameters, mean, std"),
            (mc.Normal.of("A2", float("nan")), "std must be a finite number"),
            (mc.Normal.of("A2", -1), "std"),
            (mc.Normal.of("Nowhere!A2", 1), "Nowhere"),
            (mc.Hypergeometric.of("B1", 4, 9), "simulated"),
        ],
    )
    @pytest.mark.parametrize("in_sheet", [True, False])
    def test_what_cannot_be(self, law, reason, in_sheet):
        with pytest.raises(mc.UltramcError, match=reason):
            simulation({"B1": "=ROUND(A2,0)"}, inputs={"A1": law, "A2": mc.Uniform(2, 3)}, in_sheet=in_sheet)

    def test_a_law_of_itself(self):
        with pytest.raises(mc.UltramcError, match="Model!A1"):
            simulation({}, inputs={"A1": mc.Normal.of("A1", 1)})


class TestErrorsAmongParameters:
    def drawn(self, formula, **cells):
        return run({"A1": formula, **cells})["C1"]

    @pytest.mark.parametrize("parameter", ["IFERROR(B1,3)", "INDEX(B1:B3,2)", "CHOOSE(2,B1,3)", "IF(TRUE,3,B1)"])
    def test_an_error_that_is_not_taken_is_none(self, parameter):
        found = self.drawn(f"=RiskNormal({parameter},1)", B1="=1/0", B2=3)
        np.testing.assert_allclose(found.samples, stats.norm(3, 1).ppf(uniforms()), rtol=1e-12)

    def test_one_of_a_column_fails_alone(self):
        cells = {f"A{row}": f"=RiskNormal(B{row},1)" for row in range(1, 5)} | {"B1": 5, "B2": "=1/0", "B3": 7, "B4": 8}
        result = run({**cells, "C1": "=A1", "C3": "=IFERROR(A2,-1)"}, outputs=["C1", "C3", "A4"])
        assert (result["C3"].samples == -1).all()
        np.testing.assert_allclose(result["C1"].samples, stats.norm(5, 1).ppf(uniforms()), rtol=1e-12)
        np.testing.assert_allclose(result["A4"].samples, stats.norm(8, 1).ppf(uniforms("A4")), rtol=1e-12)

    @pytest.mark.parametrize(
        "law", ["RiskPert(B1,3,4)", "RiskDiscrete(B1:B2,{1,1})", "RiskNormal(1,2,RiskTruncate(B1,))", "RiskNormal(1,2,RiskShift(B1))"]
    )
    def test_every_draw_is_the_error(self, law):
        result = run({"A1": f"={law}", "B1": "=1/0", "B2": 2, "C2": "=IF(ISERROR(A1),ERROR.TYPE(A1),0)"}, outputs="C2")
        assert (result["C2"].samples == 2).all()

    def test_a_blank_parameter_is_0(self):
        np.testing.assert_allclose(self.drawn("=RiskNormal(B9,1)").samples, stats.norm.ppf(uniforms()), rtol=1e-12)

    def test_an_overflow_is_an_error(self):
        errors = self.drawn("=RiskNormal(1E300+0*A2,1E308*A2)", A2="=RiskUniform(0.5,1)").errors
        assert set(errors) <= {"#NUM!", "#VALUE!"}


class TestDegenerate:
    @pytest.mark.parametrize(
        "law",
        ["RiskNormal(3,0)", "RiskUniform(3,3)", "RiskTriang(3,3,3)", "RiskPert(3,3,3)", "RiskHistogrm(3,3,{1,2})", "RiskDiscrete({3},{9})"],
    )
    def test_one_value_only(self, law):
        assert (run({"A1": f"={law}", "C1": "=A1"}, outputs="C1")["C1"].samples == 3).all()

    def test_in_a_column(self):
        cells = {f"A{row}": f"=RiskTriang(B{row},B{row},D{row})" for row in range(1, 4)} | {f"B{row}": 3 for row in range(1, 4)}
        found = run({**cells, "D1": 3, "D2": 4, "D3": 5}, outputs="A1:A3")["A1:A3"].samples
        assert (found[:, 0] == 3).all()
        np.testing.assert_allclose(found[:, 1], stats.triang(0, 3, 1).ppf(uniforms("A2")), rtol=1e-12)
