"""Nothing but seed, workbook and inputs decides a single bit of a result."""

import numpy as np
import pytest
from workbooks import workbook

import ultramc as mc
from ultramc.engines.on_numpy import NumPyEngine

ITERATIONS = 9_001  # two canonical blocks and a piece of a third
SEED = 2**63 + 11

# A chain of balances, reductions, a lookup, text, an error now and then, and draws in the sheet.
YEARS = {f"{this}3": f"={last}3*(1+$B$2)+{this}2*RAND()" for last, this in ("BC", "CD", "DE", "EF")}
MODEL = {
    "B1": 100,
    "B2": 0.03,
    **{f"{column}2": 1 for column in "CDEF"},
    "B3": "=B1",
    **YEARS,
    "B5": "=NPV(B2,B3:F3)/STDEV(B3:F3)",
    "B6": "=SUMPRODUCT(B3:F3,B3:F3)+EXP(B2)-LN(B1)",
    "B7": '=IF(B1>105,"high",IF(B1<95,"low","middle"))',
    "B8": "=1/(ROUND(B1,0)-100)",
    "B9": "=PERCENTILE(B3:F3,0.3)+LARGE(B3:F3,2)+MAX(B1,F3)^0.3",
    "B10": "=SUMPRODUCT((1+B2)^{-1,0.5,1,2,3})+B1^2+B2^ROUNDUP(RAND()*3,0)",
}
INPUTS = {"B1": mc.Normal(100, 5), "B2": mc.LogNormal(0.03, 0.01)}
OUTPUTS = ["B3:F3", "B5", "B6", "B7", "B8", "B9", "B10"]


def simulation(inputs=INPUTS, outputs=OUTPUTS):
    return mc.Simulation(workbook(MODEL), inputs=inputs, outputs=outputs)


def bits(result):
    """Samples and tags of all outputs and inputs, as bytes."""
    columns = [variable.column for variable in (*result.outputs.values(), *result.inputs.values())]
    return [(column.samples.tobytes(), None if column.tags is None else column.tags.tobytes()) for column in columns]


@pytest.fixture(scope="module")
def sim():
    return simulation()


@pytest.fixture(scope="module")
def expected(sim):
    result = sim.run(ITERATIONS, seed=SEED)
    assert 0 < result["B8"].errors["#DIV/0!"] < ITERATIONS
    assert set(result["B7"].categories) == {"high", "low", "middle"}
    return bits(result)


@pytest.mark.parametrize("chunk", [97, 1_000, 4_095, 4_096, 4_097, 8_192, 9_000, 10**6])
def test_any_chunk_gives_the_same_bits(sim, expected, chunk):
    assert bits(sim.run(ITERATIONS, seed=SEED, chunk=chunk)) == expected


@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_a_few_iterations_at_a_time_give_the_same_bits(sim, chunk):
    assert bits(sim.run(300, seed=SEED, chunk=chunk)) == bits(sim.run(300, seed=SEED))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("chunk", [None, 500])
def test_any_number_of_threads_gives_the_same_bits(sim, expected, threads, chunk):
    assert bits(sim.run(ITERATIONS, seed=SEED, chunk=chunk, engine=NumPyEngine(threads=threads))) == expected


def test_another_simulation_of_the_same_file_gives_the_same_bits(expected):
    assert bits(simulation().run(ITERATIONS, seed=SEED)) == expected


def test_a_shorter_run_is_the_beginning_of_a_longer_one(sim):
    short, long = sim.run(1_000, seed=SEED), sim.run(5_000, seed=SEED)
    np.testing.assert_array_equal(short["B9"].samples, long["B9"].samples[:1_000])


def test_another_seed_gives_other_samples(sim):
    first, other = sim.run(1_000, seed=SEED), sim.run(1_000, seed=SEED - 1)
    assert (first["B6"].samples != other["B6"].samples).mean() > 0.99


def test_the_draws_of_an_input_do_not_depend_on_others():
    alone = simulation({"B2": INPUTS["B2"]}, ["B5"]).run(ITERATIONS, seed=SEED)
    both = simulation().run(ITERATIONS, seed=SEED)
    np.testing.assert_array_equal(alone.inputs["B2"].samples, both.inputs["B2"].samples)


def test_the_order_of_inputs_and_outputs_does_not_matter(expected):
    turned = simulation(dict(reversed(INPUTS.items())), OUTPUTS[::-1]).run(ITERATIONS, seed=SEED)
    ordered = simulation().run(ITERATIONS, seed=SEED)
    for label in OUTPUTS:
        np.testing.assert_array_equal(turned[label].samples, ordered[label].samples)


def test_fewer_outputs_leave_the_rest_as_it_was(sim):
    alone = simulation(outputs=["B9"]).run(ITERATIONS, seed=SEED)
    np.testing.assert_array_equal(alone["B9"].samples, sim.run(ITERATIONS, seed=SEED)["B9"].samples)
