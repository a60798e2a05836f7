"""The pytest plugin, as a user runs it: another pytest, in a folder of one's own."""

import json
import subprocess
import sys

import pytest
from workbooks import workbook

MODEL = {"A1": 100, "A2": 0.05, "B1": "=A1*(1+A2)^5"}
OWN = """
import ultramc as mc

def test_mine(engine_benchmark):
    simulation = mc.Simulation("model.xlsx", inputs={"A1": mc.Normal(100, 5)}, outputs=["B1"])
    assert engine_benchmark(simulation, "numpy", iterations=300).iterations == 300
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "model.xlsx").write_bytes(workbook(MODEL))

    def run(*arguments):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "-p", "ultramc.testing.plugin", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


ASKED = ("--ultramc-model", "model.xlsx", "--ultramc-input", "A1=Normal(100,5)", "--ultramc-output", "B1", "--ultramc-iterations", "500")


def test_engines_are_compared_without_a_test_of_ones_own(run, tmp_path):
    status, output = run(*ASKED, "--benchmark-json", "timed.json", "-v")
    assert status == 0, output
    assert "test_agrees[numpy] PASSED" in output
    assert "2 passed" in output
    (timed,) = json.loads((tmp_path / "timed.json").read_text())["benchmarks"]
    assert timed["group"] == "model.xlsx, 500 iterations"
    assert timed["extra_info"]["iterations_per_second"] == pytest.approx(500 / timed["stats"]["median"])


def test_an_engine_that_is_missing_fails(run):
    status, output = run(*ASKED, "--ultramc-engines", "numpy,no_such_engine", "--benchmark-disable")
    assert status == 1
    assert "no engine 'no_such_engine'" in output
    assert "1 failed, 1 passed, 2 deselected" in output


def test_the_fixture_in_a_test_of_ones_own(run, tmp_path):
    (tmp_path / "test_own.py").write_text(OWN)
    status, output = run("--benchmark-disable")
    assert (status, "1 passed" in output) == (0, True), output


def test_nothing_is_collected_without_a_model(run):
    status, output = run()
    assert (status, "no tests ran" in output) == (5, True), output


def test_a_law_that_makes_no_sense_is_refused(run):
    status, output = run("--ultramc-model", "model.xlsx", "--ultramc-input", "A1=Nomal(1,2)")
    assert status == 4
    assert "did you mean" in output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(("--ultramc-engines", ","), "names none"), (("--ultramc-input", "A1=Normal(1,2)"), "names a cell twice")],
)
def test_options_that_make_no_sense_are_refused(run, arguments, reason):
    status, output = run(*ASKED, *arguments)
    assert status == 4
    assert reason in output


def test_only_what_is_asked_for_is_collected(run, tmp_path):
    (tmp_path / "test_own.py").write_text(OWN)
    status, output = run(*ASKED, "-p", "no:benchmark")
    assert (status, "1 passed, 1 deselected" in output) == (0, True), output
