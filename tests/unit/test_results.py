import json
import math
import pickle
import warnings

import numpy as np
import pytest
import scipy.stats
from workbooks import workbook

import ultramc as mc
from ultramc.address import CellRef
from ultramc.errors import InputError, ReferenceNotFound
from ultramc.results import Column, Input, Output, Result
from ultramc.values import ExcelError, Kind

ITERATIONS = 1_000
DIV0, NA = ExcelError.DIV0.kind, ExcelError.NA.kind


def column(label, sheet, row, samples, **more):
    """A column of cells downwards from column B."""
    samples = np.asarray(samples, np.float64)
    samples = samples[:, None] if samples.ndim == 1 else samples
    cells = tuple(CellRef(sheet, row + index, 2) for index in range(samples.shape[1]))
    return Column(label, cells, (len(cells), 1), samples, **more)


def run(**changes):
    generator = np.random.default_rng(8)
    growth, costs = generator.normal(0.03, 0.01, ITERATIONS), generator.uniform(90, 130, (ITERATIONS, 3))
    npv = 1e4 * growth - costs.sum(axis=1)
    tags = np.zeros((ITERATIONS, 1), np.uint8)
    tags[[4, 17]], tags[400] = DIV0, NA
    npv[[4, 17, 400]] = np.nan
    verdict = (growth > 0.03).astype(float)
    inputs = {
        "growth": Input(column("growth", "Costs", 1, growth, base=(0.03,)), distribution="Normal(0.03, 0.01)"),
        "costs": Input(column("costs", "Costs", 4, costs), distribution="Uniform(90, 130)"),
    }
    outputs = {
        "NPV": Output(column("NPV", "Summary", 20, npv, tags=tags, base=(12.5,)), inputs=inputs),
        "Lines": Output(column("Lines", "Anna's plan", 2, costs * 2), inputs=inputs),
        "Verdict": Output(
            column("Verdict", "Summary", 30, verdict, tags=np.full((ITERATIONS, 1), Kind.TEXT, np.uint8), texts=("build", "wait")),
            inputs=inputs,
        ),
    }
    facts = {
        "state": "completed",
        "iterations": ITERATIONS,
        "engine": "numpy",
        "seed": 2**64 - 1,
        "sampling": "random",
        "elapsed": 0.25,
        "workbook": "budget.xlsx",
        "workbook_sha256": "ab" * 32,
        "outputs": outputs,
        "inputs": inputs,
        "warnings": ("B7 was a formula",),
        "check": "40 of 40 cells equal",
        "versions": {"numpy": np.__version__},
    }
    return Result(**facts | changes)


@pytest.fixture(scope="module")
def result():
    return run()


# Looking up.


@pytest.mark.parametrize("key", ["NPV", "npv", "Summary!B20", "summary!$b$20", CellRef("Summary", 20, 2)])
def test_an_output_answers_to_its_label_and_its_cell(result, key):
    assert result[key] is result.outputs["NPV"]


@pytest.mark.parametrize("key", ["Lines", "lines", "'Anna''s plan'!B2:B4"])
def test_a_range_answers_to_its_reference(result, key):
    assert result[key] is result.outputs["Lines"]


@pytest.mark.parametrize("key", ["'Anna''s plan'!B3", CellRef("Anna's plan", 3, 2)])
def test_one_cell_of_a_range(result, key):
    assert result[key] is result["Lines"].cells[1] is result["Lines"]["B3"] is result["Lines"]["'anna''s plan'!B3"]
    assert np.array_equal(result[key].samples, result["Lines"].samples[:, 1])


def test_a_wrong_label_gets_a_suggestion(result):
    with pytest.raises(ReferenceNotFound, match="did you mean NPV"):
        result["NVP"]
    with pytest.raises(KeyError, match="it has NPV, Lines, Verdict"):
        result["something else entirely"]
    with pytest.raises(ReferenceNotFound, match="Lines has no cell B9"):
        result["Lines"]["B9"]
    assert "NPV" in result.outputs and "nothing" not in result.outputs and list(result) == ["NPV", "Lines", "Verdict"]


# Statistics leave failed iterations out, and say so.


def test_statistics_are_those_of_the_valid_iterations(result):
    npv = result["NPV"]
    valid = npv.samples[~np.isnan(npv.samples)]
    assert len(valid) == ITERATIONS - 3 and npv.samples.shape == (ITERATIONS,)
    assert npv.mean == pytest.approx(valid.mean()) and npv.std == pytest.approx(valid.std(ddof=1))
    assert npv.variance == pytest.approx(valid.var(ddof=1)) and npv.median == pytest.approx(np.median(valid))
    assert (npv.minimum, npv.maximum) == (valid.min(), valid.max())
    assert npv.percentile(95) == npv.quantile(0.95) == pytest.approx(np.quantile(valid, 0.95))
    assert npv.standard_error == pytest.approx(valid.std(ddof=1) / math.sqrt(len(valid)))
    assert npv.probability_below(0) == pytest.approx(np.mean(valid <= 0)) and npv.probability_above(0) == pytest.approx(np.mean(valid > 0))
    assert npv.cvar(0.9, tail="lower") < npv.quantile(0.1) < npv.quantile(0.9) < npv.cvar(0.9, tail="upper")
    assert npv.histogram(10)[0].sum() == len(valid)


def test_errors_are_counted_and_the_first_is_shown(result):
    npv = result["NPV"]
    assert npv.errors == {"#DIV/0!": 2, "#N/A": 1}
    first = npv.first_error
    assert (first.iteration, first.error, str(first.cell)) == (4, "#DIV/0!", "Summary!B20")
    assert first.inputs["growth"] == result.inputs["growth"].samples[4]
    assert first.inputs["costs[Costs!B5]"] == result.inputs["costs"].samples[4, 1]
    assert result["Lines"].first_error is None and result["Lines"].errors == {}


def test_every_repr_names_what_was_excluded(result):
    sentence = "3 of 1,000 iterations excluded (#DIV/0! 2, #N/A 1)"
    for shown in (result["NPV"], result):
        assert sentence in repr(shown) and sentence in shown._repr_html_()


def test_one_kind_of_error_needs_no_count():
    tags = np.zeros((100_000, 1), np.uint8)
    tags[:12] = DIV0
    samples = np.where(tags[:, 0] > 0, np.nan, 1.0)
    assert Output(column("x", "S", 1, samples, tags=tags)).exclusion == "12 of 100,000 iterations excluded (#DIV/0!)"


def test_a_payload_beside_an_error_tag_is_no_number():
    """Engines leave 0 under an error; it is the tag that counts."""
    output = Output(column("x", "S", 1, [0.0, 5.0], tags=np.array([[DIV0], [0]], np.uint8)))
    assert output.mean == 5 and math.isnan(output.samples[0])


def test_booleans_and_blanks_are_numbers():
    tags = np.array([[Kind.BOOLEAN], [Kind.BOOLEAN], [Kind.BLANK], [Kind.ABSENT]], np.uint8)
    output = Output(column("x", "S", 1, [1.0, 0, 0, 0], tags=tags))
    assert output.mean == pytest.approx(1 / 3) and output.excluded == {"absent": 1}


def test_nan_without_a_tag_is_never_dropped_silently():
    output = Output(column("x", "S", 1, [1.0, math.nan]))
    assert "1 of 2 iterations excluded (not a number)" in repr(output)


def test_text_is_counted_by_category(result):
    verdict, growth = result["Verdict"], result.inputs["growth"].samples
    assert verdict.categories == {"build": np.sum(growth <= 0.03), "wait": np.sum(growth > 0.03)}
    assert np.isnan(verdict.samples).all() and math.isnan(verdict.mean)
    assert "“build”" in repr(verdict) and "“build”" in repr(result) and "excluded" not in repr(verdict)


# Ranges.


def test_statistics_of_a_range_are_arrays_in_sheet_order(result):
    lines = result["Lines"]
    assert lines.samples.shape == (ITERATIONS, 3)
    assert np.allclose(lines.mean, lines.samples.mean(axis=0)) and np.allclose(lines.std, lines.samples.std(axis=0, ddof=1))
    assert lines.quantile([0.1, 0.5]).shape == (3, 2) and lines.cvar(0.9, tail="upper").shape == (3,)
    assert np.allclose(lines.quantile(0.3), np.quantile(lines.samples, 0.3, axis=0))
    assert lines.cells[2].mean == lines.mean[2] and lines.cells[2].label == "Lines['Anna''s plan'!B4]"


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_does_not_matter(order):
    samples = np.array(np.random.default_rng(3).normal(size=(5_000, 4)), order=order)
    assert Output(column("x", "S", 1, samples)).mean.tolist() == [np.mean(samples[:, cell].copy()) for cell in range(4)]


def test_what_needs_one_cell_says_so(result):
    for question in (lambda x: x.histogram(), lambda x: x.plot(), lambda x: x.values, lambda x: x.to_json()):
        with pytest.raises(InputError, match=r"Lines has 3 cells.*\['B2'\]"):
            question(result["Lines"])
    with pytest.raises(InputError, match="takes one"):
        result.tornado("Lines")


def test_points_may_be_a_sequence(result):
    npv = result["NPV"]
    assert npv.percentile([5, 95]).tolist() == [npv.percentile(5), npv.percentile(95)]
    assert npv.probability_below([0, 10]).shape == (2,)


# Refusals.


@pytest.mark.parametrize(("percent", "hint"), [(0.95, r"quantile\(0\.95\), or percentile\(95\)"), (101, "0 to 100"), (-1, "0 to 100")])
def test_percentile_refuses(result, percent, hint):
    with pytest.raises(InputError, match=hint):
        result["NPV"].percentile(percent)


def test_the_ends_are_percentiles(result):
    npv = result["NPV"]
    assert (npv.percentile(0), npv.percentile(100), npv.percentile(1)) == (npv.minimum, npv.maximum, npv.quantile(0.01))


def test_quantile_names_percentile(result):
    with pytest.raises(InputError, match=r"percentile\(95\)"):
        result["NPV"].quantile(95)


def test_cvar_needs_its_tail(result):
    with pytest.raises(TypeError, match="tail"):
        result["NPV"].cvar(0.95)


def test_samples_cannot_be_changed(result):
    for variable in (result["NPV"], result["Lines"], result.inputs["growth"]):
        with pytest.raises(ValueError, match="read-only"):
            variable.samples[0] = 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (2, 1)},
        {"samples": np.zeros(3)},
        {"tags": np.zeros((9, 1), np.uint8)},
        {"base": (1.0, 2.0)},
        {"together": 0},
        {"together": 1.5},
    ],
)
def test_a_column_that_does_not_fit_together_is_refused(wrong):
    fitting = {"label": "x", "cells": (CellRef("S", 1, 1),), "shape": (1, 1), "samples": np.zeros((3, 1))}
    Column(**fitting)
    with pytest.raises(ValueError, match="x: "):
        Column(**fitting | wrong)


# Few iterations.


@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_few_iterations_are_shown_without_a_warning(iterations):
    output = Output(column("x", "S", 1, np.arange(float(iterations))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f"{iterations} iteration" in repr(output) and output._repr_html_()
        assert math.isnan(output.std) == (iterations < 2)
        assert (output.mean.confidence_interval is None) == (iterations < 2)


# Replicates.


def drawn_together(samples, together, **more):
    return Output(column("x", "S", 1, samples, together=together, **more))


def drawn(samples, together, sampling="latin_hypercube"):
    output = drawn_together(samples, together)
    return run(outputs={"x": output}, inputs={}, iterations=len(samples), sampling=sampling)


def test_every_statistic_takes_its_error_from_the_replicates():
    x = np.repeat(np.random.default_rng(2).normal(size=40), 25)
    replicated, alone = drawn_together(x, 25), drawn_together(x, 1)
    for ask in (
        lambda v: v.mean,
        lambda v: v.std,
        lambda v: v.variance,
        lambda v: v.skewness,
        lambda v: v.kurtosis,
        lambda v: v.cvar(0.5, tail="lower"),
        lambda v: v.median,
        lambda v: v.probability_below(0),
        lambda v: v.probability_above(0),
    ):
        assert ask(replicated) == ask(alone)
        assert ask(replicated).standard_error == pytest.approx(5 * ask(alone).standard_error, rel=0.03)
    assert replicated.standard_error == pytest.approx(scipy.stats.sem(x[::25]))


def test_excluded_iterations_leave_their_replicate_smaller():
    x, tags = np.arange(12.0), np.zeros((12, 1), np.uint8)
    tags[[1, 4, 5, 6, 7]] = DIV0
    output = drawn_together(x, 4, tags=tags)
    assert output.starts.tolist() == [0, 3] and output.values.tolist() == [0, 2, 3, 8, 9, 10, 11]


def test_cells_of_a_range_are_drawn_together():
    x = np.random.default_rng(2).normal(size=(60, 3))
    lines = drawn_together(x, 6)
    assert lines.standard_error == pytest.approx([scipy.stats.sem(x[:, cell].reshape(10, 6).mean(axis=1)) for cell in range(3)])
    with pytest.raises(InputError, match="starts takes one"):
        _ = lines.starts


@pytest.mark.parametrize(
    ("iterations", "together", "replicates", "said"),
    [
        (1_000, 1, 1_000, "seed 18446744073709551615, latin_hypercube sampling\n"),
        (1_000, 2, 500, "latin_hypercube sampling in 500 replicates of 2\n"),
        (900, 250, 4, "in 4 replicates of 250\n"),
        (250, 250, 1, "in one replicate: standard errors unknown\n"),
        (40, 250, 1, "in one replicate: standard errors unknown\n"),
    ],
)
def test_a_result_says_how_many_replicates_it_has(iterations, together, replicates, said):
    result = drawn(np.arange(float(iterations)), together)
    assert (result.replicates, result.summary()["replicates"], result.together) == (replicates, replicates, together)
    assert said in repr(result) and said.split("sampling")[-1] in repr(result["x"])


def test_one_replicate_is_shown_without_errors():
    result = drawn(np.arange(100.0), 100)
    assert result["x"].to_json()["standard_error"] is None and result["x"].to_json()["confidence_interval"] is None
    assert "±" in repr(result) and result["x"].standard_error is None and result["x"].std.confidence_interval is None


def test_tornado_of_a_result_counts_replicates():
    x, y = np.repeat(np.random.default_rng(3).normal(size=(2, 40)), 25, axis=1)
    given = Input(column("y", "S", 2, y, together=25))
    result = run(outputs={"x": drawn_together(x, 25)}, inputs={"y": given}, iterations=1_000)
    alone = run(outputs={"x": drawn_together(x, 1)}, inputs={"y": Input(column("y", "S", 2, y))}, iterations=1_000)
    assert result.tornado("x")["y"].standard_error == pytest.approx(5 * alone.tornado("x")["y"].standard_error, rel=0.2)


@pytest.fixture(scope="module")
def simulation():
    inputs = {"A1": mc.Normal(0, 1), "A2": mc.Normal(0, 1)}
    return mc.Simulation(workbook({"A1": 0, "A2": 0, "A3": "=A1+A2^2/2"}), inputs=inputs, outputs={"y": "A3"})


METHODS = ["random", "antithetic", "latin_hypercube", "sobol"]


@pytest.mark.parametrize(("sampling", "replicates"), [*zip(METHODS, (1_024, 512, 16, 16), strict=True)])
def test_a_run_says_what_its_iterations_form(simulation, sampling, replicates):
    result = simulation.run(1_024, seed=1, sampling=sampling)
    assert result.replicates == replicates and result.together * replicates == 1_024
    assert {variable.column.together for variable in (*result.outputs.values(), *result.inputs.values())} == {result.together}


@pytest.mark.parametrize("sampling", METHODS)
def test_standard_errors_are_the_spread_of_runs(simulation, sampling):
    """A spread of 60 runs is known to 9 %, the claims better: beyond 0.6 … 1.45 is over four of these; the seeds are fixed."""
    outputs = [simulation.run(1_024, seed=seed, sampling=sampling)["y"] for seed in range(60)]
    for ask in (lambda y: y.mean, lambda y: y.std, lambda y: y.quantile(0.9), lambda y: y.probability_below(0)):
        estimates = [ask(output) for output in outputs]
        claimed = math.sqrt(np.mean([estimate.standard_error**2 for estimate in estimates]))
        assert 0.6 < claimed / np.std(estimates, ddof=1) < 1.45


# Showing.


def test_a_screen_holds_every_repr():
    wide = Output(column("Wide", "S", 1, np.random.default_rng(1).normal(size=(50, 400))))
    shown = repr(run(outputs={"Wide": wide}))
    assert len(shown.splitlines()) <= 30 and "… 380 more" in shown
    assert max(map(len, shown.splitlines())) <= 160


def test_result_shows_what_reproduces_it(result):
    for fact in ("budget.xlsx", "completed", "1,000 iterations", "numpy", str(2**64 - 1), "40 of 40", "B7 was a formula"):
        assert fact in repr(result) and fact in result._repr_html_()


HOSTILE = "<script>alert(1)</script>\x1b[2J\n&\u202e"


def test_labels_cannot_act_in_html_or_terminal():
    place = column(HOSTILE, HOSTILE[:9], 1, np.arange(9.0))
    output, given = Output(place), Input(place, distribution=HOSTILE)
    hostile = run(outputs={HOSTILE: output}, inputs={HOSTILE: given}, workbook=HOSTILE, warnings=(HOSTILE,), check=HOSTILE)
    for shown in (hostile, output, given, hostile.tornado(HOSTILE)):
        assert "<script" not in shown._repr_html_() and "\x1b" not in repr(shown) + shown._repr_html_() and "\u202e" not in repr(shown)


def test_input_shows_its_distribution(result):
    assert "growth = Normal(0.03, 0.01) (Costs!B1)" in repr(result.inputs["growth"]) and "saved value 0.03" in repr(result.inputs["growth"])


# The summary that the command line writes.


def test_json_holds_one_entry_per_cell(result):
    written = json.loads(result.to_json())
    assert written["seed"] == 2**64 - 1 and written["state"] == "completed" and written["warnings"] == ["B7 was a formula"]
    assert list(written["outputs"]) == ["NPV", *(f"Lines['Anna''s plan'!B{row}]" for row in (2, 3, 4)), "Verdict"]
    npv = written["outputs"]["NPV"]
    assert npv["cell"] == "Summary!B20" and npv["errors"] == {"#DIV/0!": 2, "#N/A": 1} and npv["excluded"] == 3
    assert npv["mean"] == result["NPV"].mean and npv["confidence_interval"] == list(result["NPV"].mean.confidence_interval)
    assert npv["percentiles"]["95"] == result["NPV"].percentile(95)
    assert list(npv["percentiles"]) == ["1", "5", "10", "25", "50", "75", "90", "95", "99"]
    assert written["outputs"]["Verdict"]["mean"] is None and set(written["outputs"]["Verdict"]["categories"]) == {"build", "wait"}
    assert written["inputs"]["growth"] == {"cell": "Costs!B1", "distribution": "Normal(0.03, 0.01)"}


def test_tornado_of_a_result(result):
    table = result.tornado("npv")
    assert {row.input for row in table.sensitivities} == {"growth", *(f"costs[Costs!B{row}]" for row in (4, 5, 6))}
    assert table["growth"] > 0.8 and table["costs[Costs!B4]"] < 0 and table.iterations == ITERATIONS - 3


def test_a_result_pickles(result):
    assert pickle.loads(pickle.dumps(result)).to_json() == result.to_json()


@pytest.mark.parametrize("ask", ["quantile", "percentile", "probability_below", "probability_above"])
def test_a_point_that_is_no_number_is_refused(ask):
    with pytest.raises(InputError, match=f"{ask} takes a number or a sequence of numbers, got 'half'"):
        getattr(run()["NPV"], ask)("half")


def test_an_input_asked_for_as_an_output():
    with pytest.raises(ReferenceNotFound, match=r"'growth' is an input of this result, not an output; ask \.inputs\['growth'\]"):
        run()["growth"]


def test_the_small_histogram_counts_ties_at_its_ends():
    samples = np.repeat([1.0, 2.0], [400, 600])
    shown = repr(Output(column("X", "Summary", 1, samples)))
    assert "▆" + " " * 34 + "█" in shown  # 400 / 600 of the highest of seven steps, rounded up, is the fifth
