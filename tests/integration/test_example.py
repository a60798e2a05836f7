"""README and the example workbook: what they show is what happens."""

import re
import runpy

import openpyxl
import pytest

import ultramc as mc


@pytest.fixture(scope="module")
def budget(repository, tmp_path_factory):
    path = tmp_path_factory.mktemp("example") / "budget.xlsx"
    runpy.run_path(str(repository / "docs/examples/write_budget.py"))["write_budget"](str(path))
    return path


def net_present_value(unit_cost=100.0, growth=0.04):
    """The example's model, written a second time in plain Python."""
    units, price, fixed, value = 12_000.0, 165.0, 380_000.0, -900_000.0
    for year in range(1, 6):
        discount = max(share for start, share in [(0, 0.0), (10_000, 0.02), (13_000, 0.035), (16_000, 0.05)] if units >= start)
        profit = units * price - units * unit_cost * (1 - discount) - fixed - 180_000
        value += (profit - max(profit, 0) * 0.25 + 180_000) / 1.09**year
        units, price, unit_cost, fixed = units * (1 + growth), price * 1.015, unit_cost * 1.025, fixed * 1.025
    return value


def test_it_is_a_believable_model(budget):
    book = openpyxl.load_workbook(budget)
    formulas = [cell for sheet in book for row in sheet for cell in row if cell.data_type == "f"]
    assert book.sheetnames == ["Inputs", "Plan", "Summary"]
    assert 60 <= len(formulas) <= 100


def test_every_iteration_equals_the_model_in_plain_python(budget):
    inputs = {"Inputs!B4": mc.Triangular(90, 100, 130), "growth": mc.Normal(0.04, 0.02)}
    result = mc.Simulation(budget, inputs=inputs, outputs=["net_present_value"]).run(200, seed=42)
    draws = zip(*(result.inputs[key].samples for key in inputs), strict=True)
    assert result["net_present_value"].samples == pytest.approx([net_present_value(*draw) for draw in draws], rel=1e-12, abs=1e-6)


def test_the_python_in_readme_runs(repository, budget, monkeypatch, capsys):
    monkeypatch.chdir(budget.parent)
    blocks = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out
