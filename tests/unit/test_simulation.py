"""What a simulation promises, seen from outside. Expected samples are plain NumPy's of the same draws."""

import pickle
from datetime import datetime

import numpy as np
import pytest
from openpyxl.worksheet.formula import ArrayFormula, DataTableFormula
from workbooks import five_lines, workbook

import ultramc as mc

SEED = 9
COUNT = 5_000


def simulation(cells, *, cached=None, names=None, **options):
    return mc.Simulation(workbook(cells, cached=cached, names=names), **options)


def samples(cells, output, *, count=COUNT, cached=None, names=None, **options):
    return simulation(cells, cached=cached, names=names, outputs=[output], **options).run(count, seed=SEED)[output].samples


def draws(cell, law=None, *, count=COUNT, k=0):
    """What an input of the sheet Model draws."""
    column, row = ord(cell[0]) - ord("A") + 1, int(cell[1:])
    uniform = five_lines(SEED, row, column, count, k=k)
    return uniform if law is None else law.quantile(uniform)


PLAN = {"A1": 2, "A2": 3, "A3": "Price", "B1": "=A1+A2", "B2": "=B1*2", "B3": 7}


class TestInputs:
    def test_a_cell(self):
        law = mc.Uniform(0, 10)
        np.testing.assert_array_equal(samples(PLAN, "B2", inputs={"A1": law}), (draws("A1", law) + 3) * 2)

    def test_a_range_is_an_independent_input_per_cell(self):
        law = mc.Uniform(0, 10)
        np.testing.assert_array_equal(samples(PLAN, "B1", inputs={"A1:A2": law}), draws("A1", law) + draws("A2", law))

    def test_a_defined_name(self):
        law = mc.Uniform(0, 10)
        np.testing.assert_array_equal(samples(PLAN, "B1", inputs={"GROWTH": law}, names={"growth": "Model!$A$2"}), 2 + draws("A2", law))

    def test_a_quoted_sheet_in_any_case(self):
        cells = {"Anna's plan!B2": 1, "B1": "='Anna''s plan'!B2*2"}
        result = simulation(cells, inputs={"'anna''s PLAN'!b2": mc.Uniform(0, 1)}, outputs={"B1": "model!B1"}).run(COUNT, seed=SEED)
        np.testing.assert_array_equal(result["B1"].samples, 2 * five_lines(SEED, 2, 2, COUNT, sheet="Anna's plan"))

    def test_a_cell_reference(self):
        assert (samples(PLAN, "B1", inputs={mc.CellRef("Model", 1, 1): 10}) == 13).all()

    @pytest.mark.parametrize("number", [10, 10.0, np.float64(10), np.int64(10)])
    def test_a_number_fixes_a_cell(self, number):
        assert (samples(PLAN, "B2", inputs={"A1": number}) == 26).all()

    def test_times_base_scales_the_saved_value(self):
        law = mc.Uniform(0.5, 1.5)
        expected = 2 * law.quantile(draws("A1")) + 3
        np.testing.assert_allclose(samples(PLAN, "B1", inputs={"A1": law.times_base()}), expected, rtol=1e-15)

    def test_a_formula_is_replaced_and_the_result_says_so(self):
        sim = simulation(PLAN, inputs={"B1": mc.Uniform(0, 1)}, outputs=["B2"])
        result = sim.run(COUNT, seed=SEED)
        np.testing.assert_array_equal(result["B2"].samples, 2 * draws("B1"))
        assert result.warnings == ("input B1 replaces the formula in Model!B1",)

    def test_a_replaced_formula_need_not_be_supported(self):
        cells = {"A1": 1, "B1": "=CUBEVALUE(A1)", "C1": "=B1+1"}
        result = simulation(cells, inputs={"B1": mc.Uniform(0, 1)}, outputs=["C1"]).run(COUNT, seed=SEED)
        np.testing.assert_array_equal(result["C1"].samples, draws("B1") + 1)
        assert result.warnings == ("input B1 replaces the formula in Model!B1",)

    def test_samples_of_an_input_are_kept(self):
        result = simulation(PLAN, inputs={"A1:A2": mc.Uniform(0, 1)}, outputs=["B1"]).run(COUNT, seed=SEED)
        np.testing.assert_array_equal(result.inputs["A1:A2"].samples, np.column_stack([draws("A1"), draws("A2")]))

    def test_an_input_may_be_an_output(self):
        np.testing.assert_array_equal(samples(PLAN, "A1", inputs={"A1": mc.Uniform(0, 1)}), draws("A1"))

    @pytest.mark.parametrize(
        ("inputs", "says"),
        [
            ({"A1": mc.Normal(0, 1), "A1:A2": mc.Normal(0, 1)}, r"Model!A1 is given twice, as 'A1' and as 'A1:A2'"),
            ({"A1": mc.Normal(0, 1), "Model!$A$1": 2}, r"Model!A1 is given twice"),
            ({"C9": mc.Normal(0, 1)}, r"Model!C9 is blank"),
            ({"A3": mc.Normal(0, 1)}, r"Model!A3 holds 'Price'.*did you mean Model!B3"),
            ({"A1:A3": mc.Normal(0, 1)}, r"'A1:A3': Model!A3 holds 'Price'"),
            ({"A1": None}, r"'A1': None is neither a distribution"),
            ({"A1": True}, r"'A1': True is neither"),
            ({"A1": float("nan")}, r"'A1': nan is neither"),
            ({"A1": "Normal(0, 1)"}, r"'Normal\(0, 1\)' is neither a distribution, such as mc\.Normal\(100, 10\)"),
            ({"B1": mc.Normal(0, 1).times_base()}, r"Model!B1: .*scales the saved value, which is blank"),
            (["A1"], r"inputs=list: give a mapping"),
        ],
    )
    def test_what_is_no_input_is_refused(self, inputs, says):
        with pytest.raises(mc.InputError, match=says):
            simulation(PLAN, inputs=inputs, outputs=["B1"])

    @pytest.mark.parametrize(
        ("key", "says"), [("Modle!A1", "no sheet 'Modle'.*'Model'"), ("growht", "Did you mean 'growth'"), ("A0", "'A0' is no cell")]
    )
    def test_a_reference_without_a_meaning(self, key, says):
        with pytest.raises(mc.ReferenceNotFound, match=says):
            simulation(PLAN, inputs={key: mc.Normal(0, 1)}, outputs=["B1"], names={"growth": "Model!$A$2"})


class TestOutputs:
    INPUTS = {"A1": mc.Uniform(0, 1)}

    @pytest.mark.parametrize(
        ("outputs", "labels"),
        [
            (["B1", "Model!B2"], ["B1", "Model!B2"]),
            ({"sum": "B1", "double": "total"}, ["sum", "double"]),
            ("total", ["total"]),
            (mc.CellRef("Model", 2, 2), ["Model!B2"]),
        ],
    )
    def test_labels(self, outputs, labels):
        result = simulation(PLAN, inputs=self.INPUTS, outputs=outputs, names={"total": "Model!$B$2"}).run(COUNT, seed=SEED)
        assert list(result) == labels
        np.testing.assert_array_equal(result[labels[-1]].samples, (draws("A1") + 3) * (1 if labels[-1] == "B1" else 2))

    def test_a_range_has_a_column_per_cell_in_sheet_order(self):
        found = samples(PLAN, "A1:B2", inputs=self.INPUTS)
        expected = [draws("A1"), draws("A1") + 3, np.full(COUNT, 3.0), (draws("A1") + 3) * 2]
        np.testing.assert_array_equal(found, np.column_stack(expected))

    def test_what_no_input_reaches_is_the_base_case(self):
        result = simulation(PLAN, inputs=self.INPUTS, outputs=["B3"]).run(COUNT, seed=SEED)
        assert (result["B3"].samples == 7).all()
        assert result.warnings == (
            "output B3 is the same in every iteration: no uncertain input reaches it",
            *(f"input {label} reaches no output" for label in self.INPUTS),
        )

    def test_none_named(self):
        with pytest.raises(mc.NoOutputs, match=r"(?s)outputs=\[.*Model!B2"):
            simulation(PLAN, inputs=self.INPUTS)

    def test_none_named_and_no_formulas(self):
        with pytest.raises(mc.NoOutputs, match="it has no formulas"):
            simulation({"A1": 1})

    @pytest.mark.parametrize("outputs", [[], {}])
    def test_an_empty_list(self, outputs):
        with pytest.raises(mc.NoOutputs, match="names no cell"):
            simulation(PLAN, inputs=self.INPUTS, outputs=outputs)

    def test_named_twice(self):
        with pytest.raises(mc.InputError, match="'B1' is named twice"):
            simulation(PLAN, inputs=self.INPUTS, outputs=["B1", "B1"])

    @pytest.mark.parametrize("output", ["Nowhere!B1", "nothing", 5])
    def test_no_such_cell(self, output):
        with pytest.raises(mc.ReferenceNotFound):
            simulation(PLAN, inputs=self.INPUTS, outputs=[output])

    def test_text_gives_counts_per_category(self):
        result = simulation({"A1": 1, "B1": '=IF(A1>0.25,"yes","no")'}, inputs=self.INPUTS, outputs=["B1"]).run(COUNT, seed=SEED)
        yes = int((draws("A1") > 0.25).sum())
        assert result["B1"].categories == {"yes": yes, "no": COUNT - yes}
        assert f"{yes:,}" in repr(result)

    def test_truth_counts_as_one(self):
        np.testing.assert_array_equal(samples({"A1": 1, "B1": "=A1>0.25"}, "B1", inputs=self.INPUTS), draws("A1") > 0.25)


class TestDrawsInTheSheet:
    """Call sites are numbered in the order of the text, whatever is folded away."""

    @pytest.mark.parametrize(
        ("formula", "expected"),
        [
            ("=RAND()", lambda u: u(0)),
            ("=RAND()+10*RAND()", lambda u: u(0) + 10 * u(1)),
            ("=IF(A1>0,RAND(),5)+RAND()", lambda u: 5 + u(1)),
            ("=IF(A1>0,RAND()+RAND(),RAND())", lambda u: u(2)),
            ("=IF(RAND()<0.5,RAND(),RAND())", lambda u: np.where(u(0) < 0.5, u(1), u(2))),
            ("=CHOOSE(2,RAND(),RAND(),RAND())+RAND()", lambda u: u(1) + u(3)),
            ("=IFERROR(1/A1+RAND(),7)+RAND()", lambda u: 7 + u(1)),
            ("=draw-draw", lambda u: u(0) - u(1)),
            ("=_xlfn.LET(_xlpm.x,RAND(),_xlpm.x+_xlpm.x+RAND())", lambda u: 2 * u(0) + u(1)),
            ("=RANDBETWEEN(3.2,6.7)", lambda u: 4 + np.floor(u(0) * 3)),
            ("=RANDBETWEEN(-2,2)*10+RANDBETWEEN(0,1)", lambda u: (np.floor(u(0) * 5) - 2) * 10 + np.floor(u(1) * 2)),
        ],
    )
    def test_equals_five_lines_of_numpy(self, formula, expected):
        found = samples({"A1": 0, "B2": formula}, "B2", names={"draw": "RAND()"})
        np.testing.assert_array_equal(found, expected(lambda k: draws("B2", k=k)))

    def test_every_cell_of_a_block_draws_for_itself(self):
        cells = {f"B{row}": "=RAND()" for row in range(1, 41)}
        np.testing.assert_array_equal(samples(cells, "B1:B40"), np.column_stack([draws(f"B{row}") for row in range(1, 41)]))

    def test_the_draws_are_kept_as_inputs(self):
        result = simulation({"B2": "=RAND()", "C2": "=B2*2"}, outputs=["C2"]).run(COUNT, seed=SEED)
        np.testing.assert_array_equal(result.inputs["Model!B2"].samples, draws("B2"))
        assert result.inputs["Model!B2"].distribution == "=RAND()"

    def test_an_input_takes_the_place_of_a_draw(self):
        law = mc.Uniform(5, 6)
        np.testing.assert_array_equal(samples({"B2": "=RAND()+RAND()", "C2": "=B2*2"}, "C2", inputs={"B2": law}), 2 * draws("B2", law))

    def test_frozen_at_the_saved_value(self):
        cells, cached = {"B2": "=RAND()", "C2": "=B2*2"}, {"B2": 0.25, "C2": 0.5}
        assert (samples(cells, "C2", cached=cached, in_sheet=False) == 0.5).all()

    def test_saved_values_of_draws_are_no_difference(self):
        cells, cached = {"B2": "=RAND()", "C2": "=B2*2"}, {"B2": 0.25, "C2": 0.5}
        np.testing.assert_array_equal(samples(cells, "C2", cached=cached), 2 * draws("B2"))


class TestPath:
    """Only what lies between inputs and outputs is compiled, and all of that must be understood."""

    def test_one_uncertain_cell_of_a_long_column_lowers_only_what_reads_it(self):
        column = {f"A{row}": row for row in range(1, 1001)} | {f"B{row}": f"=A{row}*2" for row in range(1, 1001)}
        sim = simulation(column | {"C1": "=SUM(B1:B1000)", "C2": "=MAX(A1:A10)"}, inputs={"A500": mc.Uniform(0, 1)}, outputs=["C1", "C2"])
        assert sim.compiled.lowered == 2
        expected = 2 * draws("A500", count=50) + 2 * (500_500 - 500)
        np.testing.assert_allclose(sim.run(50, seed=SEED)["C1"].samples, expected, rtol=1e-14)

    def test_what_no_output_needs_is_not_lowered(self):
        sim = simulation(PLAN | {"C1": "=A1+1", "C2": "=CUBEVALUE(A1)"}, inputs={"A1": mc.Uniform(0, 1)}, outputs=["B1"])
        assert sim.compiled.lowered == 1

    def test_an_unsupported_function_is_refused_with_cell_and_text(self):
        with pytest.raises(mc.UnsupportedFormula, match=r"Model!B1: .*WEBSERVICE.*=WEBSERVICE\(A1\)\+1") as caught:
            simulation({"A1": 1, "B1": "=WEBSERVICE(A1)+1", "C1": "=B1"}, inputs={"A1": mc.Uniform(0, 1)}, outputs=["C1"])
        assert (caught.value.cell, caught.value.formula) == ("Model!B1", "WEBSERVICE(A1)+1")
        assert str(caught.value).endswith("To do without this formula, give its cell a number or a distribution in inputs=")

    BESIDE = {"A1": 1, "A2": 5, "B1": "=CUBEVALUE(A2)", "B2": "=B1*2", "C1": "=A1+B2", "C2": "=IF(A2>5,B1,A1)"}

    def test_beside_the_path_it_keeps_its_saved_value(self):
        result = simulation(self.BESIDE, cached={"B1": 7}, inputs={"A1": mc.Uniform(0, 1)}, outputs=["C1"]).run(COUNT, seed=SEED)
        np.testing.assert_array_equal(result["C1"].samples, draws("A1") + 14)
        assert result.warnings == ("Model!B1 keeps its saved value: function CUBEVALUE is not supported",)

    def test_beside_the_path_without_a_saved_value_it_is_not_taken_for_zero(self):
        with pytest.raises(mc.UnsupportedFormula, match=r"Model!B1: .*CUBEVALUE"):
            simulation(self.BESIDE, inputs={"A1": mc.Uniform(0, 1)}, outputs=["C1"])
        with pytest.raises(mc.UnsupportedFormula, match=r"Model!B1: .*CUBEVALUE"):
            simulation(self.BESIDE, inputs={"A1": mc.Uniform(0, 1)}, outputs=["C1", "B2"])

    def test_unless_a_condition_switches_it_off(self):
        np.testing.assert_array_equal(samples(self.BESIDE, "C2", inputs={"A1": mc.Uniform(0, 1)}), draws("A1"))

    LOAN = {"A1": 1, "S1": 0, "B1": "=A1+IF(S1=1,C1,0)", "C1": "=B1*0.1", "D1": "=C1"}

    def test_a_circle_that_a_switch_opens(self):
        np.testing.assert_array_equal(samples(self.LOAN, "D1", inputs={"A1": mc.Uniform(0, 1)}), draws("A1") * 0.1)

    def test_a_circle_is_an_error_with_its_path(self):
        with pytest.raises(mc.CircularReference) as caught:
            simulation(self.LOAN | {"S1": 1}, inputs={"A1": mc.Uniform(0, 1)}, outputs=["D1"])
        assert set(caught.value.path) == {"Model!B1", "Model!C1"}
        assert caught.value.path[0] == caught.value.path[-1] and len(caught.value.path) == 3
        assert "Model!B1 → Model!C1 → Model!B1" in str(caught.value) or "Model!C1 → Model!B1 → Model!C1" in str(caught.value)

    def test_a_long_circle_needs_no_recursion(self):
        chain = {f"B{row}": f"=B{row - 1}+A1" for row in range(2, 1501)} | {"A1": 1, "B1": "=B1500"}
        with pytest.raises(mc.CircularReference):
            simulation(chain, inputs={"A1": mc.Uniform(0, 1)}, outputs=["B9"])

    def test_a_circle_of_constants_keeps_its_saved_values(self):
        cells = {"A1": 1, "B1": "=C1+1", "C1": "=B1*0.5", "D1": "=A1+B1"}
        np.testing.assert_array_equal(samples(cells, "D1", cached={"B1": 2, "C1": 1}, inputs={"A1": mc.Uniform(0, 1)}), draws("A1") + 2)

    def test_a_circle_of_constants_without_saved_values(self):
        cells = {"A1": 1, "B1": "=C1+1", "C1": "=B1*0.5", "D1": "=A1+B1"}
        with pytest.raises(mc.CircularReference, match="Model!B1"):
            simulation(cells, inputs={"A1": mc.Uniform(0, 1)}, outputs=["D1"])

    def test_a_data_table_is_refused(self):
        cells = {"A1": 1, "B1": "=A1*2", "D2": "=B1", "C3": 1, "C4": 2, "E9": "=SUM(D3:D4)"}
        table = DataTableFormula(ref="D3:D4", dt2D=False, dtr=False, r1="A1")
        with pytest.raises(mc.UnsupportedFormula, match=r"Model!D3.*data table"):
            simulation(cells | {"D3": table}, inputs={"A1": mc.Uniform(0, 1)}, outputs=["E9"])

    def test_all_inputs_fixed_to_their_saved_values_give_the_base_case(self):
        cells = {"A1": 2.5, "A2": 3, "B1": "=A1*A2", "B2": "=IF(B1>7,B1^2,LN(B1))", "B3": "=B2/A1+MIN(A1:A2)"}
        cached = {"B1": 7.5, "B2": 56.25, "B3": 25.0}
        assert (samples(cells, "B3", cached=cached, inputs={"A1": 2.5, "A2": 3}) == 25.0).all()


class TestErrors:
    """An iteration that ends in an error is counted, left out, and told of."""

    RATIO = {"A1": 1, "A2": 4, "B1": "=A2/ROUND(A1,0)"}
    INPUTS = {"A1": mc.Uniform(0, 2)}

    def test_counts_and_the_first(self):
        result = simulation(self.RATIO, inputs=self.INPUTS, outputs=["B1"]).run(COUNT, seed=SEED)
        drawn = draws("A1", mc.Uniform(0, 2))
        failed = drawn < 0.5
        output = result["B1"]
        assert output.errors == {"#DIV/0!": int(failed.sum())}
        first = output.first_error
        assert (first.iteration, first.error, str(first.cell)) == (int(np.argmax(failed)), "#DIV/0!", "Model!B1")
        assert first.inputs == {"A1": drawn[failed][0]}
        assert np.isnan(output.samples[failed]).all()
        np.testing.assert_allclose(output.samples[~failed], 4 / np.where(drawn < 1.5, 1, 2)[~failed])
        assert output.mean == pytest.approx(np.nanmean(output.samples), rel=1e-12)
        assert f"{int(failed.sum()):,} of 5,000 iterations excluded (#DIV/0!)" in repr(result)

    def test_raise_stops_and_hands_over_what_was_done(self):
        failed = draws("A1", mc.Uniform(0, 2)) < 0.5
        with pytest.raises(mc.RunError, match=rf"Model!B1 is #DIV/0! in iteration {np.argmax(failed)};.*on_error='exclude'") as caught:
            simulation(self.RATIO, inputs=self.INPUTS, outputs=["B1"]).run(COUNT, seed=SEED, on_error="raise")
        assert caught.value.run.state == "failed"
        assert caught.value.run["B1"].first_error.iteration == np.argmax(failed)

    def test_an_output_without_one_valid_iteration_fails_the_run(self):
        with pytest.raises(mc.RunError, match=r"B1 is an error in every one of 100 iterations: #NUM! 100") as caught:
            simulation({"A1": 1, "B1": "=SQRT(-A1)"}, inputs={"A1": mc.Uniform(1, 2)}, outputs=["B1"]).run(100, seed=SEED)
        assert caught.value.run["B1"].errors == {"#NUM!": 100}

    def test_one_cell_of_a_range_is_enough(self):
        with pytest.raises(mc.RunError, match="B1:B2"):
            simulation({"A1": 1, "B1": "=A1", "B2": "=A1/0"}, inputs={"A1": mc.Uniform(1, 2)}, outputs=["B1:B2"]).run(100, seed=SEED)


class TestCheck:
    CELLS = {"A1": 2, "B1": "=A1*2", "C1": "=B1+1", "D1": "=A1*3"}
    WRONG = {"B1": 4, "C1": 6, "D1": 6}

    def wrong(self, **options):
        return simulation(self.CELLS, cached=self.WRONG, inputs={"A1": mc.Uniform(1, 2)}, outputs=["C1"]).run(10, seed=SEED, **options)

    def test_a_difference_refuses_the_run_and_names_cell_and_argument(self):
        with pytest.raises(mc.CheckError, match=r"(?s)check='warn'.*Model!C1: 5\.0, Excel has 6") as caught:
            self.wrong()
        assert [str(cell.cell) for cell in caught.value.report.differences] == ["Model!C1"]

    @pytest.mark.parametrize(("policy", "says"), [("warn", "1 mismatched, accepted by check='warn'"), ("off", "not checked")])
    def test_the_callers_choice_stands_in_the_result(self, policy, says):
        assert says in self.wrong(check=policy).check

    def test_cells_beside_the_outputs_do_not_matter(self):
        sim = simulation(self.CELLS, cached={"B1": 4, "C1": 5, "D1": 7}, inputs={"A1": mc.Uniform(1, 2)}, outputs=["C1"])
        assert sim.run(10, seed=SEED).check == "2 formula cells: 2 matched"

    def test_without_saved_values_the_result_says_so(self):
        assert "uncached" in simulation(self.CELLS, inputs={"A1": mc.Uniform(1, 2)}, outputs=["C1"]).run(10, seed=SEED).check


@pytest.fixture(scope="module")
def sim():
    return simulation(PLAN, inputs={"A1": mc.Normal(0, 1)}, outputs=["B1"])


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"iterations": None}, r"how many iterations"),
            ({"iterations": 0}, r"iterations=0"),
            ({"iterations": -3}, r"iterations=-3"),
            ({"iterations": True}, r"iterations=True"),
            ({"iterations": 2.5}, r"iterations=2\.5"),
            ({"seed": -1}, r"seed=-1 is outside 0 ≤ seed < 2\^64"),
            ({"seed": 2**64}, r"outside"),
            ({"seed": True}, r"seed=True"),
            ({"sampling": "latin_hypercub"}, r"'latin_hypercub' does not exist, did you mean 'latin_hypercube'"),
            ({"sampling": mc.Sobol(3)}, r"iterations=10 do not form replicates=3 of one size; take iterations=9 or 12, or replicates=2"),
            ({"until": 0.01}, r"until= is not supported yet"),
            ({"check": "rise"}, r"check='rise': one of 'raise', 'warn', 'off'"),
            ({"on_error": "ignore"}, r"on_error='ignore'"),
            ({"engine": "nump"}, r"did you mean 'numpy'"),
            ({"chunk": 0}, r"chunk=0"),
            ({"chunk": True}, r"chunk=True"),
            ({"memory_limit": "2 GV"}, r"memory_limit='2 GV'.*'2GB'"),
            ({"memory_limit": "much"}, r"memory_limit='much'"),
            ({"memory_limit": 0}, r"memory_limit=0"),
            ({"memory_limit": -5}, r"memory_limit=-5"),
            ({"memory_limit": True}, r"memory_limit=True"),
            ({"memory_limit": "inf"}, r"memory_limit='inf'"),
            ({"memory_limit": float("nan")}, r"memory_limit=nan"),
        ],
    )
    def test_nonsense_is_refused_with_the_value(self, sim, options, says):
        with pytest.raises(mc.InputError, match=says) as caught:
            sim.run(**{"iterations": 10, "seed": 1, **options})
        assert isinstance(caught.value, ValueError)

    @pytest.mark.parametrize("limit", ["1GB", "1 GiB", "0.5 gb", "800MB", "1e9", 10**9, 1e9])
    def test_memory_limits(self, sim, limit):
        assert sim.run(10, seed=1, memory_limit=limit).state == "completed"

    def test_too_little_memory_is_refused_before_any_work(self, sim, monkeypatch):
        monkeypatch.setattr("ultramc.running.execute", lambda *_: pytest.fail("it ran"))
        with pytest.raises(mc.MemoryLimitExceeded, match=r"16,000,000,000 bytes, 1,000,000,000 are allowed.*memory_limit="):
            sim.run(10**9, seed=1, memory_limit="1GB")

    def test_no_correlation_and_no_dialect_are_refused(self):
        for options in ({"correlation": [("A1", "A2")]}, {"correlation": np.eye(2)}, {"dialect": "Lotus"}):
            with pytest.raises(mc.InputError, match=next(iter(options))):
                simulation(PLAN, inputs={"A1": mc.Normal(0, 1)}, outputs=["B1"], **options)

    @pytest.mark.parametrize("seed", [0, 42, 2**64 - 1, np.uint64(2**64 - 1)])
    def test_the_seed_is_recorded(self, sim, seed):
        assert sim.run(10, seed=seed).seed == seed

    def test_a_seed_is_drawn_and_reproduces_the_run(self, sim):
        first, other = sim.run(100), sim.run(100)
        assert first.seed != other.seed
        np.testing.assert_array_equal(sim.run(100, seed=first.seed)["B1"].samples, first["B1"].samples)

    def test_auto_says_what_it_picked(self, sim):
        assert sim.run(10, seed=1).engine == "numpy"

    def test_a_bar_is_shown_when_asked_for(self, sim, capsys):
        sim.run(10, seed=1, progress=True)
        assert "10.0/10.0" in capsys.readouterr().err

    def test_provenance(self, sim):
        result = sim.run(10, seed=1)
        assert (result.state, result.iterations, result.sampling) == ("completed", 10, "random")
        assert len(result.workbook_sha256) == 64 and result.elapsed > 0
        assert set(result.versions) >= {"ultramc", "numpy", "scipy", "python"}


class TestDraws:
    def test_any_slice_of_an_input_without_running(self):
        sim = simulation(PLAN, inputs={"A1:A2": mc.Normal(5, 2), "B3": 7}, outputs=["B1"])
        kept = sim.run(100, seed=SEED).inputs["A1:A2"].samples
        np.testing.assert_allclose(sim.draws("A2", first=60, count=30, seed=SEED), kept[60:90, 1], rtol=1e-14)
        assert sim.draws("Model!B3", count=3, seed=1).tolist() == [7, 7, 7]

    def test_what_is_no_input(self):
        with pytest.raises(mc.InputError, match=r"Model!B1 is no input.*A1"):
            simulation(PLAN, inputs={"A1": mc.Normal(5, 2)}, outputs=["B1"]).draws("B1", count=3, seed=1)


def test_ctrl_c_hands_over_what_was_done(monkeypatch):
    sim = simulation(PLAN, inputs={"A1": mc.Uniform(0, 1)}, outputs=["B1"])

    def interrupted(crew, iterations, pace, receive, begun):
        chunk, _ = crew.begin(0, 100).result()
        receive(chunk)
        raise KeyboardInterrupt

    monkeypatch.setattr("ultramc.running.execute", interrupted)
    with pytest.raises(mc.SimulationCancelled, match="100 of 5,000") as caught:
        sim.run(COUNT, seed=SEED)
    assert (caught.value.result.state, caught.value.result.iterations) == ("cancelled", 100)
    np.testing.assert_array_equal(caught.value.result["B1"].samples, draws("A1", count=100) + 3)


def test_a_run_that_lost_iterations_does_not_look_completed(monkeypatch):
    monkeypatch.setattr("ultramc.running.execute", lambda *_: None)
    with pytest.raises(mc.RunError, match="executed 0 of 10"):
        simulation(PLAN, inputs={"A1": mc.Uniform(0, 1)}, outputs=["B1"]).run(10, seed=1)


def test_an_engine_that_computes_something_else_is_caught():
    from ultramc.engines.on_numpy import NumPyEngine

    class Wrong(NumPyEngine):
        name = "wrong"

        def run(self, executable, job, first, count):
            chunk = super().run(executable, job, first, count)
            chunk.payloads[0][:] += 1e-3
            return chunk

    sim = simulation(PLAN, inputs={"A1": mc.Uniform(0, 1)}, outputs=["B1"])
    with pytest.raises(mc.EngineValidationError, match="wrong"):
        sim.run(10, seed=1, engine=Wrong())


@pytest.mark.parametrize("source", ["path", "bytes", "file", "workbook"])
def test_where_the_workbook_comes_from(source, tmp_path):
    data = workbook(PLAN)
    path = tmp_path / "plan.xlsx"
    path.write_bytes(data)
    with path.open("rb") as stream:
        given = {"path": path, "bytes": data, "file": stream, "workbook": mc.Workbook(data)}[source]
        result = mc.Simulation(given, inputs={"A1": 1}, outputs=["B1"]).run(2, seed=1)
    assert result["B1"].samples.tolist() == [4, 4]


def test_another_process_gets_the_same_simulation():
    now = datetime(2024, 2, 29)
    sim = simulation(PLAN | {"B1": "=A1+A2+RAND()+DAY(NOW())"}, inputs={"A1": mc.Normal(0, 1)}, outputs=["B2"], now=now)
    again = pickle.loads(pickle.dumps(sim))
    np.testing.assert_array_equal(again.run(100, seed=SEED)["B2"].samples, sim.run(100, seed=SEED)["B2"].samples)


def test_repr_says_what_it_is():
    shown = repr(simulation(PLAN | {"B1": "=A1+A2+RAND()"}, inputs={"A1": mc.Normal(0, 1)}, outputs={"twice": "B2"}))
    assert "A1 ~ Normal(mean=0, std=1)" in shown and "1 cells that draw" in shown and "twice" in shown


@pytest.mark.parametrize("law", [mc.Normal(1, 2), mc.Binomial(5, 0.3), mc.Discrete([1, 2, 5], [0.2, 0.5, 0.3])], ids=str)
def test_a_range_of_one_law_is_one_block_with_the_draws_of_its_cells(law: mc.Distribution) -> None:
    cells = {f"{column}{row}": 1.0 for column in "AB" for row in range(1, 51)} | {"C1": "=SUM(A1:B50)"}
    whole = mc.Simulation(workbook(cells), inputs={"A1:B50": law}, outputs=["C1"])
    singly = mc.Simulation(workbook(cells), inputs={cell: law for cell in cells if cell != "C1"}, outputs=["C1"])
    assert len(whole.compiled.program.instructions) < 20 < 100 < len(singly.compiled.program.instructions)
    assert np.array_equal(whole.run(100, seed=5)["C1"].samples, singly.run(100, seed=5)["C1"].samples)


def test_an_array_formula_that_spreads_simulated_texts() -> None:
    """Which row is found varies by iteration, and only the error tag does not spread over both cells."""
    array = ArrayFormula("C2:D2", "=_xlfn.XLOOKUP(B2,B5:B6,C5:D6)")
    cells = {"B5": 1, "B6": 2, "C5": "a", "D5": "b", "C6": "c", "D6": "d", "B2": 1, "C2": array}
    inputs = {"B2": mc.DiscreteUniform([1, 2])}
    result = mc.Simulation(workbook(cells), inputs=inputs, outputs=["C2", "D2", "B2"]).run(40, seed=2)
    first = int((result["B2"].samples == 1).sum())
    assert 0 < first < 40
    assert result["C2"].categories == {"a": first, "c": 40 - first}
    assert result["D2"].categories == {"b": first, "d": 40 - first}
