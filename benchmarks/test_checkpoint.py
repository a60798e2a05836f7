"""What a checkpoint costs: the same run without one, and with one that is written every few seconds and once at the end.

`pytest benchmarks/test_checkpoint.py --benchmark-enable --benchmark-only --benchmark-group-by=group`; ratios are what counts. The
last write comes at once, so that short runs of many outputs pay more; the goal is 2 % of a run of minutes.
"""

from functools import cache
from itertools import count

import pytest
from models import SEED, cash_flow, roll_forward

import ultramc as mc
from ultramc.engines.on_native import NativeEngine
from ultramc.engines.on_numpy import NumPyEngine

# name: (what makes it, iterations)
MODELS = {"cash flow": (cash_flow, 20_000_000), "roll-forward": (roll_forward, 5_000_000)}
ENGINES = {"numpy": NumPyEngine(), "native": NativeEngine()}


@cache
def simulation(name):
    return MODELS[name][0]().simulation


@pytest.mark.parametrize("interval", [None, 5.0, 1.0], ids=["without", "every 5 s", "every second"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", MODELS)
def test_kept(name, engine, interval, benchmark, tmp_path):
    benchmark.group = f"{name}, {engine}"
    numbers = count()

    def kept():
        folder = None if interval is None else mc.Checkpoint(tmp_path / str(next(numbers)), interval)
        options = {"seed": SEED, "engine": ENGINES[engine], "validate": False, "check": "off", "checkpoint": folder}
        return simulation(name).run(MODELS[name][1], **options)

    assert benchmark.pedantic(kept, rounds=5, warmup_rounds=1).state == "completed"
