import numpy as np
import pytest
import scipy.stats

from ultramc.address import CellRef
from ultramc.comparison import compare
from ultramc.errors import InputError
from ultramc.results import Column, Input, Output, Result
from ultramc.values import ExcelError


def column(label, samples, tags=None, together=1):
    return Column(label, (CellRef("S", 1, 1),), (1, 1), np.asarray(samples, np.float64)[:, None], tags, together=together)


def result(samples, seed=1, distribution="Normal(0, 1)", label="NPV", sha="a", tags=None, together=1):
    return Result(
        state="completed",
        iterations=len(samples),
        engine="numpy",
        seed=seed,
        sampling="random",
        elapsed=1.0,
        workbook=f"{sha}.xlsx",
        workbook_sha256=sha,
        outputs={label: Output(column(label, samples, tags, together))},
        inputs={"x": Input(column("x", samples), distribution=distribution)},
    )


def normal(seed, size=4_000):
    return np.random.default_rng(seed).normal(10, 2, size)


def test_independent_runs_of_one_model_differ_by_noise():
    a, b = normal(1), normal(2)
    comparison = compare(result(a, seed=1), result(b, seed=2))
    row = comparison["NPV", "mean"]
    assert not comparison.paired
    assert row.change == pytest.approx(b.mean() - a.mean())
    assert row.z == pytest.approx((b.mean() - a.mean()) / np.hypot(scipy.stats.sem(a), scipy.stats.sem(b)))


def test_z_is_standard_normal():
    """200 comparisons of equal models: |z| > 1.96 in 5 % of them, 0 … 23 of 200 but for one seed in 7,000; the seeds are fixed."""
    for statistic in ("mean", "std", "P5", "P50", "P95"):
        zs = [compare(result(normal(i, 500), 1), result(normal(i + 500, 500), 2))["NPV", statistic].z for i in range(0, 200)]
        assert sum(abs(z) > 1.96 for z in zs) <= 23 and 0.75 < np.std(zs) < 1.25


def test_the_same_draws_are_paired():
    a = normal(1)
    b = a + 0.1 + 0.01 * normal(3)
    row = compare(result(a), result(b))["NPV", "mean"]
    assert row.change.standard_error == pytest.approx(scipy.stats.sem(b - a), rel=1e-9)


def test_another_number_of_iterations_is_no_pair():
    comparison = compare(result(normal(1)), result(normal(1)[:500]))
    assert not comparison.paired and "4,000 → 500 iterations on numpy → numpy" in comparison.notes


def test_a_failed_iteration_does_not_break_the_pairs():
    a = normal(1)
    b = a + 0.1
    tags = np.zeros((len(b), 1), np.uint8)
    tags[:40], b[:40] = ExcelError.NUM.kind, np.nan
    error = compare(result(a), result(b, tags=tags))["NPV", "mean"].change.standard_error
    # What remains is the noise of the 40 missing: about sd · √40 / n.
    assert error == pytest.approx(2 * np.sqrt(40) / 4_000, rel=0.25)


def test_pairs_of_replicates():
    a, shifts = normal(1), np.repeat(np.random.default_rng(3).normal(0.1, 0.02, 16), 250)
    row = compare(result(a, together=250), result(a + shifts, together=250))["NPV", "mean"]
    assert row.change.standard_error == pytest.approx(scipy.stats.sem(shifts[::250]), rel=1e-9)
    expected = scipy.stats.t.interval(0.95, 15, shifts.mean(), scipy.stats.sem(shifts[::250]))
    assert row.change.confidence_interval == pytest.approx(expected, rel=1e-6)


def test_other_replicates_are_other_draws():
    comparison = compare(result(normal(1), together=250), result(normal(1), together=400))
    assert not comparison.paired and "independent draws" in comparison.notes
    errors = [scipy.stats.sem(normal(1).reshape(-1, together).mean(axis=1)) for together in (250, 400)]
    assert comparison["NPV", "mean"].change.standard_error == pytest.approx(np.hypot(*errors), rel=1e-9)


def test_one_replicate_has_no_z():
    row = compare(result(normal(1), together=4_000), result(normal(2), together=4_000))["NPV", "mean"]
    assert row.change.standard_error is None and row.z is None


def test_equal_results_have_no_change():
    row = compare(result(normal(1)), result(normal(1)))["NPV", "P95"]
    assert row.change == 0 and row.z is None


def test_notes_say_what_else_differs():
    notes = compare(result(normal(1)), result(normal(1), seed=2, distribution="Uniform(0, 1)", sha="b")).notes
    assert "independent draws" in notes and "other workbook: a.xlsx → b.xlsx" in notes
    assert "seed 1 → 2" in notes and "input x: Normal(0, 1) → Uniform(0, 1)" in notes
    assert {"same inputs", "same workbook", "same draws: paired by iteration"} <= set(compare(result(normal(1)), result(normal(1))).notes)


def test_outputs_of_one_side_are_named():
    comparison = compare(result(normal(1)), result(normal(1), label="Cost"))
    assert comparison.differences == () and {"output only in the first: NPV", "output only in the second: Cost"} <= set(comparison.notes)
    with pytest.raises(InputError, match="no such difference"):
        comparison["NPV", "mean"]


def test_repr_is_a_table():
    shown = repr(compare(result(normal(1)), result(normal(2), seed=2)))
    assert "P95" in shown and "second minus first" in shown and "± s.e." in shown


def test_only_results_are_compared():
    with pytest.raises(InputError, match=r"compare takes two results.*not 3"):
        compare(result(normal(1)), 3)
