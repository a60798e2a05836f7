"""What it costs to be watched: the same run without progress, with a callback at the default rate, and with every event.

`pytest benchmarks/test_progress.py --benchmark-enable --benchmark-only --benchmark-group-by=group`; ratios are what counts. The run
takes its thread and its heartbeats in each case, so this is the price of events alone; at the default rate the goal is 1 %.
"""

from functools import cache

import pytest
from models import SEED, cash_flow, roll_forward

from ultramc.engines.on_native import NativeEngine
from ultramc.engines.on_numpy import NumPyEngine

# name: (what makes it, iterations)
MODELS = {"cash flow": (cash_flow, 10_000_000), "roll-forward": (roll_forward, 500_000)}
ENGINES = {"numpy": NumPyEngine(), "native": NativeEngine()}
WATCHED = {
    "nobody": {"progress": False},
    "a callback": {"progress": lambda event: None},
    "every event": {"progress": lambda event: None, "interval": 0},
}


@cache
def simulation(name):
    return MODELS[name][0]().simulation


@pytest.mark.parametrize("watched", WATCHED)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", MODELS)
def test_watched(name, engine, watched, benchmark):
    benchmark.group = f"{name}, {engine}"
    options = {"seed": SEED, "engine": ENGINES[engine], "validate": False, "check": "off", **WATCHED[watched]}
    result = benchmark.pedantic(simulation(name).run, args=(MODELS[name][1],), kwargs=options, rounds=5, warmup_rounds=1)
    assert (result.state, result.callback_errors) == ("completed", ())
