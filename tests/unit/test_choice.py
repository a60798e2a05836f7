"""`engine="auto"`: what it chooses, what it says of it, and that it never chooses what would fail here."""

import logging
import sys

import pytest
from models import cash_flow, roll_forward
from workbooks import workbook

import ultramc as mc
from ultramc.engines import choice, on_native
from ultramc.engines.base import Availability
from ultramc.engines.cache import cache_folder
from ultramc.engines.choice import Choice, chosen, numbers
from ultramc.engines.on_native import NativeEngine
from ultramc.program import Builder, Program, constant
from ultramc.sampling import Site

MANY = 10**9  # iterations, of which any program makes a long run


@pytest.fixture(scope="module")
def budget():
    return cash_flow().simulation


@pytest.fixture(scope="module")
def debt():
    return roll_forward().simulation


@pytest.fixture
def native_works(monkeypatch):
    """Here too, where there may be no compiler."""
    monkeypatch.setattr(NativeEngine, "availability", lambda engine: Availability(True))
    monkeypatch.setattr(NativeEngine, "compile", lambda engine, program: None)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


# Which


def test_a_short_run_is_numpy(budget):
    found = chosen(budget.compiled.program, 100_000)
    assert found.engine == "numpy"
    assert "numbers to compute, and to compile pays from 1,0" in found.reason


def program(elements, instructions):
    """Blocks of `elements` cells, each made from the one before."""
    builder = Builder()
    block = builder.append("uniform", site=Site("S", 1, 1), shape=(elements, 1, 1, 1))
    for _ in range(instructions - 1):
        block = builder.append("mul", block, constant(1.5))
    return Program(tuple(builder.instructions), (), ())


@pytest.mark.parametrize(
    ("elements", "instructions", "fewest"),
    [
        (1_000, 10, 101_000),  # (10^9 + 10 · 10^6) / (1,000 · 10)
        (10, 100, 1_100_000),  # (10^9 + 100 · 10^6) / (10 · 100)
        (100_000, 10, 65_536),  # sixteen blocks at least
    ],
)
@pytest.mark.usefixtures("native_works")
def test_how_long_a_long_run_is(elements, instructions, fewest):
    made = program(elements, instructions)
    assert [chosen(made, iterations).engine for iterations in (fewest - 1, fewest)] == ["numpy", "native"]


def test_numbers_of_loops_are_counted_at_each_step(debt):
    """Seventeen lines over 120 periods: at least so many, and not many times as many."""
    made = debt.compiled.program
    (loop,) = (each for each in made.instructions if each.op == "loop")
    assert loop.attributes["steps"] >= 119
    assert 17 * 119 < numbers(made.instructions) < 3 * 17 * 120
    assert numbers([loop]) == loop.attributes["steps"] * numbers(loop.attributes["body"].instructions)


def test_the_page_names_the_limits(repository):
    page = (repository / "docs/engines.md").read_text(encoding="utf-8")
    limits = choice.FEWEST_ITERATIONS, choice.FEWEST_NUMBERS, choice.FEWEST_FOR_EACH_INSTRUCTION
    for limit in limits:
        assert f" {limit:,} " in page


# What would fail here


def test_an_op_that_native_lacks_is_named_with_its_cell():
    made = mc.Simulation(workbook({"A1": 0.5, "B1": "=BETA.DIST(A1,2,3,TRUE)"}), inputs={"A1": mc.Uniform(0.1, 0.9)}, outputs=["B1"])
    assert chosen(made.compiled.program, MANY) == Choice("numpy", "auto chose numpy: native has no op 'beta_i', which Model!B1 needs")


def test_without_a_compiler(budget, monkeypatch):
    monkeypatch.setattr(on_native, "_compiler", lambda: None)
    found = chosen(budget.compiled.program, MANY)
    assert found.engine == "numpy"
    assert "native cannot run here: there is no C compiler: install one" in found.reason


@pytest.mark.usefixtures("empty_cache")
def test_with_a_compiler_that_compiles_nothing(budget, monkeypatch):
    """As where the headers of the C library are not installed."""
    monkeypatch.setattr(on_native, "_compiler", lambda: (sys.executable, "-c", "import sys; sys.exit('stdint.h: no such file')"))
    found = chosen(budget.compiled.program, MANY)
    assert found.engine == "numpy"
    assert "native compiles nothing here: " in found.reason
    assert "stdint.h: no such file" in found.reason


def test_with_a_cache_where_others_may_write(budget, monkeypatch, empty_cache):
    monkeypatch.setattr(NativeEngine, "availability", lambda engine: Availability(True))
    cache_folder("native").chmod(0o777)
    found = chosen(budget.compiled.program, MANY)
    assert found.engine == "numpy"
    assert "make it yours alone" in found.reason


def test_with_a_cache_that_cannot_be_made(budget, monkeypatch, empty_cache):
    monkeypatch.setattr(NativeEngine, "availability", lambda engine: Availability(True))
    (empty_cache / "ultramc").write_text("a file where a folder should be")
    found = chosen(budget.compiled.program, MANY)
    assert found.engine == "numpy"
    assert "native compiles nothing here: " in found.reason


# What a run makes of it


def test_a_run_says_what_was_chosen_and_why(budget, tmp_path, caplog):
    caplog.set_level(logging.INFO, "ultramc")
    result = budget.run(1_000, seed=1)
    assert result.engine == "numpy"
    assert result.engine_reason == chosen(budget.compiled.program, 1_000).reason
    assert f"engine: {result.engine_reason}" in str(result)
    assert result.summary()["engine_reason"] == result.engine_reason
    assert any("run started" in message and result.engine_reason in message for message in caplog.messages)
    result.save(tmp_path / "run.npz")
    assert mc.load(tmp_path / "run.npz").engine_reason == result.engine_reason


def test_an_engine_that_was_asked_for_needs_no_reason(budget):
    result = budget.run(1_000, seed=1, engine="numpy")
    assert result.engine_reason == ""
    assert "engine: " not in str(result)


@pytest.mark.parametrize("engine", ["Auto", "automatic", None])
def test_what_is_no_engine_is_refused(budget, engine):
    with pytest.raises(mc.InputError, match="There are: "):
        budget.run(10, engine=engine)
