"""The native engine where `engine="auto"` chose it: validated and failing like one that was asked for."""

import numpy as np
import pytest
from attrs import evolve
from models import cash_flow, roll_forward

import ultramc as mc
from ultramc.engines import choice
from ultramc.engines.on_native import NativeEngine


@pytest.fixture(scope="module")
def budget():
    return cash_flow().simulation


@pytest.fixture
def short_runs_pay(monkeypatch):
    monkeypatch.setattr(choice, "FEWEST_NUMBERS", 0)
    monkeypatch.setattr(choice, "FEWEST_FOR_EACH_INSTRUCTION", 0)
    monkeypatch.setattr(choice, "FEWEST_ITERATIONS", 1_000)


def test_a_long_run():
    debt = roll_forward().simulation
    result = debt.run(300_000, seed=1)
    assert result.engine == "native"
    assert result.engine_reason.startswith("auto chose native: 1,1")
    for label, by_numpy in debt.run(4_096, seed=1).outputs.items():
        np.testing.assert_allclose(result[label].samples[:4_096], by_numpy.samples, rtol=1e-9)


@pytest.mark.usefixtures("short_runs_pay")
def test_it_is_validated(budget):
    result, same = budget.run(2_000, seed=1), budget.run(2_000, seed=1, engine="native")
    assert (result.engine, result.iterations) == ("native", 2_000)
    assert result.engine_reason.startswith("auto chose native: ")
    assert result.validation == same.validation
    np.testing.assert_array_equal(result["Model!B15"].samples, same["Model!B15"].samples)


@pytest.mark.usefixtures("short_runs_pay")
def test_where_it_differs_the_run_fails(budget, monkeypatch):
    """A choice, not a rescue: only the caller may allow NumPy instead."""
    run = NativeEngine.run

    def drifting(*arguments):
        chunk = run(*arguments)
        return evolve(chunk, payloads=tuple(payload * (1 + 1e-5) for payload in chunk.payloads))

    monkeypatch.setattr(NativeEngine, "run", drifting)
    with pytest.raises(mc.EngineValidationError, match="engine 'native': validation failed – simulation not executed"):
        budget.run(2_000, seed=1)
    allowed = budget.run(2_000, seed=1, on_invalid="numpy")
    assert allowed.engine == "numpy"
    assert allowed.engine_reason.startswith("auto chose native: ")
    assert allowed.validation.startswith("run on NumPy, as on_invalid='numpy' allows: ")
