"""Draws that formulas or callers tie to each other.

A rank correlation ρ asked of n independent iterations is met within 4/√n, which random sampling misses about once in 10,000
seeds; seeds are fixed. Marginals are compared with SciPy's laws by the Kolmogorov distance, which exceeds 2.2/√n as rarely.
"""

import pickle

import numpy as np
import pytest
from scipy import stats
from workbooks import workbook

import ultramc as mc

COUNT = 4_000
NEAR = 4 / COUNT**0.5
SAMPLINGS = ("random", "antithetic", "latin_hypercube", "sobol")

MATRIX = {"F1": 1, "G1": 0.8, "H1": -0.3, "F2": 0.8, "G2": 1, "H2": 0.1, "F3": -0.3, "G3": 0.1, "H3": 1}
THREE = {
    "A1": "=RiskNormal(10,2,RiskCorrmat($F$1:$H$3,1))",
    "A2": "=RiskLognorm(100,50,RiskCorrmat($F$1:$H$3,2))",
    "A3": "=RiskUniform(0,1,RiskCorrmat($F$1:$H$3,3))",
    "B1": "=A1+A2+A3",
}
LAWS = {"A1": mc.Normal(10, 2), "A2": mc.LogNormal(100, 50), "A3": mc.Uniform(0, 1)}


def simulation(cells, *, names=None, cached=None, **options):
    return mc.Simulation(workbook(cells, names=names, cached=cached), **{"outputs": "B1", **options})


def inputs(cells, *, count=COUNT, seed=3, sampling="random", **options):
    """The samples of the cells that draw, by address."""
    result = simulation(cells, **options).run(count, seed=seed, sampling=sampling)
    return {label.removeprefix("Model!"): variable.samples for label, variable in result.inputs.items()}


def rho(first, second):
    return stats.spearmanr(first, second).statistic


def refusal(cells, kind=mc.UltramcError, **options):
    with pytest.raises(kind) as caught:
        simulation({**MATRIX, **cells}, **options)
    return str(caught.value)


class TestOfFormulas:
    @pytest.mark.parametrize("sampling", SAMPLINGS)
    def test_the_correlations_asked_and_the_laws_unchanged(self, sampling):
        found = inputs({**MATRIX, **THREE}, sampling=sampling)
        for (first, second), asked in {("A1", "A2"): 0.8, ("A1", "A3"): -0.3, ("A2", "A3"): 0.1}.items():
            assert rho(found[first], found[second]) == pytest.approx(asked, abs=NEAR)
        for cell, law in LAWS.items():
            assert stats.kstest(found[cell], law.cdf).statistic < 2.2 / COUNT**0.5

    def test_the_strata_of_a_latin_hypercube_survive(self):
        found = inputs({**MATRIX, **THREE}, sampling=mc.LatinHypercube(replicates=4))
        for cell, law in LAWS.items():
            for part in found[cell].reshape(4, -1):
                np.testing.assert_array_equal(np.sort(np.floor(law.cdf(part) * 1000)), np.arange(1000))

    def test_the_same_bits_as_a_correlation_of_the_caller(self):
        correlation = mc.RankCorrelation(["A1", "A2", "A3"], "F1:H3")
        given = inputs({**MATRIX, "A1": 1, "A2": 1, "A3": 1, "B1": "=A1+A2+A3"}, inputs=LAWS, correlation=correlation)
        written = inputs({**MATRIX, **THREE})
        for cell in LAWS:
            np.testing.assert_array_equal(written[cell], given[cell])

    def test_a_correlation_of_the_caller_over_the_same_cells_wins(self):
        correlation = mc.RankCorrelation(["A1", "A2"], [[1, -0.5], [-0.5, 1]])
        found = inputs({**MATRIX, **THREE}, correlation=correlation)
        assert rho(found["A1"], found["A2"]) == pytest.approx(-0.5, abs=NEAR)
        assert rho(found["A1"], found["A3"]) == pytest.approx(0, abs=NEAR)

    def test_an_input_of_the_caller_leaves_the_group(self):
        found = inputs({**MATRIX, **THREE}, inputs={"A3": mc.Uniform(5, 6)})
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.8, abs=NEAR)
        assert rho(found["A1"], found["A3"]) == pytest.approx(0, abs=NEAR)

    def test_positions_that_move_with_the_row(self):
        """A column filled down, with its position in a column beside it: a block, taken apart."""
        rows = range(1, 4)
        cells = {f"A{row}": f"=RiskNormal(D{row},1,RiskCorrmat($F$1:$H$3,C{row}))" for row in rows}
        found = inputs({**MATRIX, **cells, "B1": "=SUM(A1:A3)", **{f"C{row}": row for row in rows}, **{f"D{row}": 5 * row for row in rows}})
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.8, abs=NEAR)
        assert rho(found["A1"], found["A3"]) == pytest.approx(-0.3, abs=NEAR)
        assert [found[f"A{row}"].mean() for row in rows] == pytest.approx([5, 10, 15], abs=NEAR)

    def test_positions_computed_from_the_row(self):
        cells = {f"A{row}": "=RiskNormal(0,1,RiskCorrmat($F$1:$H$3,ROW()))" for row in (1, 2, 3)}
        found = inputs({**MATRIX, **cells, "B1": "=SUM(A1:A3)"})
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.8, abs=NEAR)

    def test_the_matrix_by_name_and_on_another_sheet(self):
        cells = {f"Sums!{cell}": value for cell, value in MATRIX.items()}
        cells |= {"A1": "=RiskNormal(0,1,RiskCorrmat(links,1))", "A2": "=RiskNormal(0,1,RiskCorrmat(Sums!F1:H3,2))", "B1": "=A1+A2"}
        found = inputs(cells, names={"links": "Sums!$F$1:$H$3"}, outputs="Model!B1")
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.8, abs=NEAR)

    def test_a_group_that_is_not_complete(self):
        cells = {cell: text for cell, text in THREE.items() if cell != "A2"}
        found = inputs({**MATRIX, **cells, "A2": 7})
        assert rho(found["A1"], found["A3"]) == pytest.approx(-0.3, abs=NEAR)

    def test_a_member_that_no_output_needs_changes_no_draw_of_the_others(self):
        whole = inputs({**MATRIX, **THREE})
        part = inputs({**MATRIX, **THREE, "B1": "=A1+A3"})
        np.testing.assert_array_equal(part["A1"], whole["A1"])
        assert rho(part["A1"], part["A3"]) == pytest.approx(-0.3, abs=NEAR)

    def test_one_member_alone_has_its_law(self):
        found = inputs({**MATRIX, "A1": THREE["A1"], "B1": "=A1"}, count=COUNT)
        assert stats.kstest(found["A1"], LAWS["A1"].cdf).statistic < 2.2 / COUNT**0.5

    def test_instances_are_independent_of_each_other(self):
        cells = {
            f"A{k}": f"=RiskNormal(0,1,RiskCorrmat($F$1:$H$3,{place},{which}))"
            for k, (place, which) in enumerate(((1, 1), (2, 1), (1, 2), (2, 2)), 1)
        }
        found = inputs({**MATRIX, **cells, "B1": "=SUM(A1:A4)"})
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.8, abs=NEAR)
        assert rho(found["A3"], found["A4"]) == pytest.approx(0.8, abs=NEAR)
        assert rho(found["A1"], found["A3"]) == pytest.approx(0, abs=NEAR)
        assert rho(found["A1"], found["A4"]) == pytest.approx(0, abs=NEAR)

    def test_instances_by_name_in_any_case(self):
        cells = {
            "A1": '=RiskNormal(0,1,RiskCorrmat($F$1:$H$3,1,"North"))',
            "A2": '=RiskNormal(0,1,RiskCorrmat($F$1:$H$3,2,"north"))',
            "B1": "=A1+A2",
        }
        found = inputs({**MATRIX, **cells})
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.8, abs=NEAR)

    def test_two_draws_in_one_cell(self):
        cells = {
            "A1": "=RiskNormal(0,1,RiskCorrmat($F$1:$H$3,1))*1000+RiskUniform(0,1)",
            "A2": "=RiskUniform(0,1)+1000*RiskNormal(0,1,RiskCorrmat($F$1:$H$3,2))",
            "B1": "=A1+A2",
        }
        found = inputs({**MATRIX, **cells})
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.8, abs=NEAR)

    def test_parameters_that_are_simulated(self):
        cells = {**THREE, "A2": "=RiskNormal(C1,2,RiskCorrmat($F$1:$H$3,2))", "C1": "=RiskUniform(0,0.001)"}
        found = inputs({**MATRIX, **cells})
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.8, abs=NEAR)

    def test_truncated_and_shifted_members(self):
        cells = {**THREE, "A1": "=RiskNormal(10,2,RiskTruncate(9,),RiskCorrmat($F$1:$H$3,1),RiskShift(5))"}
        found = inputs({**MATRIX, **cells})
        assert found["A1"].min() >= 14
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.8, abs=NEAR)

    def test_inside_a_condition(self):
        cells = {**THREE, "A2": "=IF(C1>0,RiskUniform(0,1,RiskCorrmat($F$1:$H$3,2)),0)", "C1": 1}
        found = inputs({**MATRIX, **cells})
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.8, abs=NEAR)

    def test_a_matrix_with_one_triangle(self):
        half = {cell: value for cell, value in MATRIX.items() if cell not in ("G1", "H1", "H2")}
        found = inputs({**half, **THREE})
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.8, abs=NEAR)


def normal(tie):
    return f"=RiskNormal(0,1,RiskCorrmat({tie}))"


class TestRefusals:
    @pytest.mark.parametrize(
        ("cells", "reason"),
        [
            ({"A1": normal("F1:H3,1"), "A2": normal("F1:H3,1")}, "both number 1"),
            ({"A1": normal("F1:H3,4"), "A2": normal("F1:H3,1")}, "has 3 rows"),
            ({"A1": normal("F1:H3,4")}, "has 3 rows"),
            ({"A1": normal("F1:H3,0")}, "position"),
            ({"A1": normal("F1:H3,1.5")}, "position"),
            ({"A1": normal('F1:H3,"x"')}, "position"),
            ({"A1": normal("F1:H3,")}, "position"),
            ({"A1": normal("F1:H3")}, "RISKCORRMAT takes"),
            ({"A1": normal("{1,0.5;0.5,1},1")}, "no range"),
            ({"A1": normal("F1:G3,1"), "A2": normal("F1:G3,2")}, "F1:G3"),
            ({"A1": normal("J1:K2,1"), "A2": normal("J1:K2,2")}, "J1"),
        ],
    )
    def test_by_cell(self, cells, reason):
        message = refusal({**cells, "B1": "=SUM(A1:A2)"})
        assert reason in message
        assert "Model!" in message

    def test_a_matrix_that_cannot_be(self):
        message = refusal({**THREE, "H1": -0.9, "F3": -0.9, "H2": 0.9, "G3": 0.9}, mc.InputError)
        assert "repair=True" in message or "nearest" in message

    def test_a_position_that_is_simulated(self):
        assert "A1" in refusal({"A1": normal("F1:H3,RiskIntuniform(1,3)"), "B1": "=A1"})

    def test_inside_a_defined_name(self):
        """The name is a formula of its own: which cell it ties is not looked through, so it is not ignored."""
        assert "correlation" in refusal({"A1": "=price", "B1": "=A1"}, names={"price": "RiskNormal(0,1,RiskCorrmat(Model!$F$1:$H$3,1))"})

    def test_frozen_draws_are_tied_to_nothing(self):
        cells = {**MATRIX, **THREE, "C1": 1, "B1": "=A1+C1"}
        result = simulation(cells, inputs={"C1": mc.Uniform(0, 1)}, cached={"A1": 5, "B1": 6}, in_sheet=False).run(100, seed=1)
        assert result["B1"].samples.min() >= 5


class TestOfTheCaller:
    INPUTS = {"A1": mc.Normal(0, 1), "A2": mc.LogNormal(10, 2)}
    CELLS = {"A1": 1, "A2": 2, "B1": "=A1+A2"}

    def correlated(self, **options):
        correlation = mc.RankCorrelation(["A1", "A2"], [[1, 0.6], [0.6, 1]])
        return simulation(self.CELLS, **{"inputs": self.INPUTS, "correlation": correlation, **options})

    @pytest.mark.parametrize("sampling", SAMPLINGS)
    @pytest.mark.parametrize("cell", ["A1", "A2"])
    def test_draws_are_those_of_a_run(self, sampling, cell):
        sim = self.correlated()
        ran = sim.run(2_000, seed=5, sampling=sampling).inputs[cell].samples
        np.testing.assert_array_equal(sim.draws(cell, first=37, count=100, seed=5, sampling=sampling, iterations=2_000), ran[37:137])

    @pytest.mark.parametrize("sampling", SAMPLINGS)
    @pytest.mark.parametrize("cell", ["A1", "A2", "A3"])
    def test_draws_of_formulas_are_those_of_a_run(self, sampling, cell):
        sim = simulation({**MATRIX, **THREE})
        ran = sim.run(2_000, seed=5, sampling=sampling).inputs[f"Model!{cell}"].samples
        np.testing.assert_array_equal(sim.draws(cell, first=37, count=100, seed=5, sampling=sampling, iterations=2_000), ran[37:137])

    def test_pickled(self):
        sim = self.correlated()
        other = pickle.loads(pickle.dumps(sim))
        np.testing.assert_array_equal(other.run(500, seed=1)["B1"].samples, sim.run(500, seed=1)["B1"].samples)

    def test_chunks_do_not_matter(self):
        sim = self.correlated()
        for sampling in SAMPLINGS:
            whole, parts = (sim.run(10_000, seed=1, sampling=sampling, chunk=chunk)["B1"].samples for chunk in (None, 4_096))
            np.testing.assert_array_equal(whole, parts)

    def test_a_draw_in_a_formula_with_an_input(self):
        correlation = mc.RankCorrelation(["A1", "A2"], [[1, 0.6], [0.6, 1]])
        found = inputs({"A1": "=RiskNormal(0,1)", "A2": 1, "B1": "=A1+A2"}, inputs={"A2": mc.Uniform(0, 1)}, correlation=correlation)
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.6, abs=NEAR)

    def test_an_input_by_cells(self):
        correlation = mc.RankCorrelation(["A1", "A2"], [[1, 0.6], [0.6, 1]])
        found = inputs({**self.CELLS, "C1": 3}, inputs={"A1": mc.Normal.of("C1", 2), "A2": mc.Uniform(0, 1)}, correlation=correlation)
        assert rho(found["A1"], found["A2"]) == pytest.approx(0.6, abs=NEAR)

    @pytest.mark.parametrize(
        ("cells", "given"),
        [
            ({}, {"A1": mc.Normal(0, 1), "A2": 5}),
            ({}, {"A1": mc.Normal(0, 1)}),
            ({"A2": "=RAND()+RAND()"}, {"A1": mc.Normal(0, 1)}),
            ({"A2": "=A1*2"}, {"A1": mc.Normal(0, 1)}),
        ],
    )
    def test_what_does_not_draw_once_is_refused(self, cells, given):
        correlation = mc.RankCorrelation(["A1", "A2"], [[1, 0.6], [0.6, 1]])
        with pytest.raises(mc.InputError, match="A2: it is no input with a distribution of its own"):
            simulation({**self.CELLS, **cells}, inputs=given, correlation=correlation)
