"""What a result says of its correlations, and what they cost in memory."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from workbooks import workbook

import ultramc as mc
from ultramc import simulation
from ultramc.sampling import Job, LatinHypercube, Random, Site, Tie, strata_bytes
from ultramc.sampling.tied import ranked
from ultramc.storage import load

MATRIX = np.array([[1, 0.6, -0.3], [0.6, 1, 0.2], [-0.3, 0.2, 1]])
IMPOSSIBLE = [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]]


def model(**options):
    """Three uncertain cells, the last a draw in the sheet."""
    cells = {"A1": 1, "A2": 2, "A3": "=5*RAND()", "B1": "=A1+A2+A3"}
    inputs = {"A1": mc.Normal(0, 1), "A2": mc.Uniform(3, 4)}
    return mc.Simulation(workbook(cells), inputs=inputs, outputs=["B1"], **options)


@pytest.fixture(scope="module")
def result():
    return model(correlation=mc.RankCorrelation(["A1", "A2", "A3"], MATRIX)).run(4_000, seed=9)


def test_asked_and_achieved(result):
    """Rank correlations of 4,000 pairs are off by 0.016 in a standard error: 5 of them in 2 million."""
    (achieved,) = result.correlations
    assert (achieved.kind, achieved.labels, achieved.repaired) == ("Spearman", ("A1", "A2", "Model!A3"), None)
    np.testing.assert_array_equal(achieved.asked, MATRIX)
    samples = np.column_stack([result.inputs[label].samples for label in achieved.labels])
    np.testing.assert_allclose(achieved.achieved, scipy.stats.spearmanr(samples).statistic, rtol=1e-12)
    assert 0 < achieved.largest_difference < 0.08


def test_is_worked_out_once(result):
    assert result.correlations is result.correlations


def test_is_not_worked_out_by_a_run(monkeypatch):
    monkeypatch.setattr("ultramc.results.compared", lambda *_: 1 / 0)
    found = model(correlation=mc.RankCorrelation(["A1", "A2"], [[1, 0.5], [0.5, 1]])).run(100, seed=1)
    with pytest.raises(ZeroDivisionError):
        _ = found.correlations


@pytest.mark.parametrize("kind", [mc.RankCorrelation, mc.KendallCorrelation, mc.NormalScoreCorrelation])
def test_comes_back_from_a_file(kind, tmp_path):
    found = model(correlation=kind(["A1", "A2", "A3"], IMPOSSIBLE, repair=True)).run(200, seed=3)
    found.save(tmp_path / "run.npz")
    again = load(tmp_path / "run.npz")
    assert again.groups == found.groups and again.groups[0].repaired > 0
    assert again.correlations == found.correlations
    assert "repaired" in repr(again) and again.summary() == found.summary()


def test_a_file_from_before_there_were_correlations(result, tmp_path):
    result.save(tmp_path / "run.npz")
    _rewrite(tmp_path / "run.npz", lambda metadata: metadata.pop("groups"))
    assert load(tmp_path / "run.npz").correlations == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "Pearson"}, "kind 'Pearson'"),
        ({"factor": [[1.0]]}, r"shape \(1, 1\) for 3 cells"),
        ({"cells": [["Model", 1, 1]]}, r"shape \(3, 3\) for 1 cells"),
        ({"asked": [[1, "a", 2]] * 3}, "could not convert"),
    ],
)
def test_a_group_that_is_none_is_refused(result, tmp_path, changes, message):
    result.save(tmp_path / "run.npz")
    _rewrite(tmp_path / "run.npz", lambda metadata: metadata["groups"][0].update(changes))
    with pytest.raises(mc.UnreadableResult, match=message):
        load(tmp_path / "run.npz")


def _rewrite(path, change):
    with np.load(path) as archive:
        arrays = dict(archive)
    metadata = json.loads(arrays["metadata"].tobytes())
    change(metadata)
    np.savez(path, **arrays | {"metadata": np.frombuffer(json.dumps(metadata).encode(), np.uint8)})


def test_the_repr_says_it_in_a_line(result):
    (achieved,) = result.correlations
    assert f"correlation: Spearman of 3 cells, largest difference {achieved.largest_difference:.3g}" in repr(result)
    assert result.summary()["correlations"] == [{"kind": "Spearman", "cells": ["Model!A1", "Model!A2", "Model!A3"], "repaired": None}]


def test_the_repr_of_a_long_run_says_where_to_look(result, monkeypatch):
    monkeypatch.setattr("ultramc.results.MOST_CORRELATED", 9 * 10_000 - 1)
    assert "correlation: Spearman of 3 cells, see .correlations" in repr(result)


def test_cells_that_were_not_kept_are_left_out(monkeypatch):
    cells = {"A1": "=RAND()", "A2": "=RAND()", "A3": "=RAND()", "B1": "=A1+A2+A3"}
    tie = mc.RankCorrelation(["A1", "A2", "A3"], MATRIX)
    for kept, labels in ((2, [("Model!A1", "Model!A2")]), (1, [])):
        monkeypatch.setattr(simulation, "KEPT_CALL_SITES", kept)
        found = mc.Simulation(workbook(cells), outputs=["B1"], correlation=tie).run(500, seed=4).correlations
        assert [each.labels for each in found] == labels
        assert all(each.asked == ((1, 0.6), (0.6, 1)) and len(each.achieved) == 2 for each in found)


def test_no_correlation_no_line():
    found = model().run(100, seed=1)
    assert found.correlations == () and "correlation" not in repr(found)


class TestMemory:
    @pytest.mark.parametrize("size", [1, 2, 8])
    def test_ranking_takes_what_is_counted(self, size):
        tie = Tie(tuple(Site("Model", 1, column) for column in range(1, size + 1)), tuple(map(tuple, np.eye(size).tolist())))
        job = Job(1, 100_000, LatinHypercube(replicates=1))
        ranked(job, tie)  # imports
        tracemalloc.start()
        ranked(job, tie)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert 0.8 < peak / strata_bytes(job, [tie]) < 1.05

    def test_is_counted_before_work_starts(self):
        """The samples are four cells of 8 bytes, the strata three times two sites of 8 and a row."""
        tied = model(correlation=mc.RankCorrelation(["A1", "A2"], [[1, 0.5], [0.5, 1]]))
        with pytest.raises(
            mc.MemoryLimitExceeded, match=r"samples needs 32,000,000 bytes and ranking .* latin_hypercube sampling 56,000,000, 60"
        ):
            tied.run(1_000_000, seed=1, sampling="latin_hypercube", memory_limit="60MB")

    def test_only_where_there_are_strata(self):
        tie = Tie((Site("Model", 1, 1),), ((1.0,),))
        assert strata_bytes(Job(1, 100, Random()), [tie]) == strata_bytes(Job(1, 100, LatinHypercube()), []) == 0
