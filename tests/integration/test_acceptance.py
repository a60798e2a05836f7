"""What was promised to whoever runs a simulation, on every engine that is here, and on workbooks of three sizes: it does the work and says
so, or it fails or is cancelled and never looks as if it had done it.
"""

from functools import cache

import numpy as np
import pytest
from workbooks import workbook

import ultramc as mc
from ultramc.address import column_letters
from ultramc.engines import registry
from ultramc.testing import Recorder, assert_progress_contract

ENGINES = [info.name for info in registry.available_engines() if info.available]
SIZES = {"small": (2, 3), "medium": (24, 80), "large": (120, 160)}  # periods, lines
ITERATIONS = {"small": 20_000, "medium": 9_000, "large": 4_500}


@cache
def simulation(size):
    """Lines that grow by one another, each filled to the right; their totals below."""
    periods, lines = SIZES[size]
    columns = [column_letters(3 + period) for period in range(periods)]
    cells = {"A1": 0.02, "A2": 100.0}
    for row in range(3, 3 + lines):
        cells[f"B{row}"] = f"=$A$2+{row}"
        for last, column in zip(["B", *columns], columns, strict=False):
            cells[f"{column}{row}"] = f"={last}{row}*(1+$A$1)-{row % 3}" if row % 2 else f"=MAX({last}{row},{column}{row - 1})+$A$1"
    bottom = 3 + lines
    cells |= {f"{column}{bottom}": f"=SUM({column}3:{column}{bottom - 1})" for column in columns}
    cells |= {f"{column}2": 1.0 for column in columns}
    single, several = f"{columns[-1]}{bottom}", f"{columns[0]}{bottom}:{columns[-1]}{bottom}"
    inputs = {"A1": mc.Normal(0.02, 0.01), "A2": mc.PERT(80, 100, 130)}
    return mc.Simulation(workbook(cells), inputs=inputs, outputs={"single": single, "several": several})


@cache
def on_numpy(size):
    return simulation(size).run(ITERATIONS[size], seed=11, engine="numpy")


@pytest.mark.parametrize(("size", "fewest"), [("small", 8), ("medium", 1_900), ("large", 19_000)])
def test_a_workbook_is_of_its_size(size, fewest):
    assert simulation(size).compiled.lowered > fewest


def breaking(engine, at):
    """An engine of the same kind that dies in a later chunk."""

    class Breaking(type(registry.made(engine))):
        def run(self, executable, job, first, count):
            if first >= at:
                raise mc.EngineError("the machine is on fire")
            return super().run(executable, job, first, count)

    return Breaking()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_does_all_of_the_work(engine, size):
    seen = Recorder()
    result = simulation(size).run(ITERATIONS[size], seed=11, engine=engine, progress=seen, interval=0)
    assert_progress_contract(seen, interval=0)
    assert (result.state, result.iterations, result.engine) == ("completed", ITERATIONS[size], engine)
    assert (seen[-1].state, seen[-1].done, seen[-1].fraction) == ("completed", ITERATIONS[size], 1.0)
    done = [event.done for event in seen]
    assert done == sorted(done) and done[0] == 0
    for label in ("single", "several"):
        np.testing.assert_allclose(result[label].samples, on_numpy(size)[label].samples, rtol=1e-9)
    assert result["single"].std > 0
    assert result["several"].samples.shape == (ITERATIONS[size], SIZES[size][0])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_dies_gives_no_result(engine, size):
    seen = Recorder()
    with pytest.raises(mc.EngineError, match="on fire"):
        simulation(size).run(ITERATIONS[size], seed=11, engine=breaking(engine, 4_096), chunk=1_024, progress=seen, interval=0)
    assert_progress_contract(seen, interval=0)
    assert (seen[-1].state, seen[-1].error.type) == ("failed", "EngineError")
    assert 0 < seen[-1].done <= 4_096 < ITERATIONS[size]
    assert all(event.fraction < 1 for event in seen)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_is_cancelled_hands_over_what_it_did(engine, size):
    token, seen = mc.CancelToken(), Recorder()

    def stop(event):
        if event.done >= 1_024:
            token.cancel("enough")

    with pytest.raises(mc.SimulationCancelled, match="enough") as caught:
        simulation(size).run(ITERATIONS[size], seed=11, engine=engine, chunk=512, progress=[seen, stop], interval=0, cancel=token)
    assert_progress_contract(seen, interval=0)
    part = caught.value.result
    assert (part.state, seen[-1].state) == ("cancelled", "cancelled")
    assert 1_024 <= part.iterations == seen[-1].done < ITERATIONS[size]
    np.testing.assert_allclose(part["single"].samples, on_numpy(size)["single"].samples[: part.iterations], rtol=1e-9)
