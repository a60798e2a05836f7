"""The shortest proof that the main job runs: iterations are executed, not merely reported."""

import numpy as np
import openpyxl
import pytest

import ultramc as mc

pytestmark = pytest.mark.smoke


def two_cells(path):
    book = openpyxl.Workbook()
    book.active.title = "Model"
    book.active["A1"] = 100
    book.active["B1"] = "=2*A1+1"
    book.save(path)
    return path


def test_ten_iterations_are_executed(tmp_path):
    model = two_cells(tmp_path / "model.xlsx")
    result = mc.Simulation(model, inputs={"Model!A1": mc.Uniform(50, 150)}, outputs=["Model!B1"]).run(10, seed=1)
    samples = result["Model!B1"].samples
    assert (result.state, result.iterations) == ("completed", 10)
    assert samples.shape == (10,) and np.isfinite(samples).all()
    assert len(set(samples)) == 10
    np.testing.assert_array_equal(samples, 2 * result.inputs["Model!A1"].samples + 1)
