"""The engine of docs/writing-an-engine.md: installed as a user's would be, it keeps the contract; a wrong one like it does not."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from importlib.metadata import Distribution

import numpy as np
import pytest

import ultramc as mc


@pytest.fixture(scope="module")
def package(repository):
    return repository / "docs/examples/ultramc-numexpr"


def install(package, folder):
    """By pip, without a network."""
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(package)], check=True)
    return folder


@pytest.fixture(scope="module")
def installed(package, tmp_path_factory):
    return install(package, tmp_path_factory.mktemp("installed"))


def python(folder, *arguments, cwd=None):
    """Another Python that sees what was installed there."""
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def test_its_entry_point_is_installed(installed):
    (distribution,) = Distribution.discover(name="ultramc-numexpr", path=[str(installed)])
    (point,) = distribution.entry_points
    assert (point.group, point.name, point.value) == ("ultramc.engines", "numexpr", "ultramc_numexpr:NumExprEngine")


def test_it_keeps_the_contract(installed):
    status, output = python(installed, "-m", "ultramc.contract", "--engines=numexpr")
    assert status == 0, output
    assert re.match(r"numexpr: \d{3} checks passed, 0 failed\n", output)
    assert "numpy: not run (not asked for)" in output


WRONG = {  # what it does: (a part of the module, what becomes of it, a check that must fail)
    "multiplies by the inverse": ('"not": "(~{0})"', '"not": "(~{0})", "div": "({0} * (1.0 / {1}))"', "agrees: div, special values"),
    "draws what comes next": ("Lot(job, first,", "Lot(job, first + 1,", "draws_by_definition"),
    "claims to have loops": ('("loop", "repeat")', '("repeat",)', "agrees: loop, compounding"),
}


@pytest.fixture(scope="module", params=WRONG)
def wrong(request, package, tmp_path_factory):
    """Where a wrong one is installed, and what must catch it."""
    right, changed, check = WRONG[request.param]
    source = shutil.copytree(package, tmp_path_factory.mktemp("source") / "package") / "ultramc_numexpr.py"
    text = source.read_text(encoding="utf-8")
    assert text.count(right) == 1
    source.write_text(text.replace(right, changed), encoding="utf-8")
    return install(source.parent, tmp_path_factory.mktemp("wrong")), check


def test_a_wrong_one_is_caught(wrong):
    folder, check = wrong
    status, output = python(folder, "-m", "ultramc.contract", "--engines=numexpr")
    assert status == 1
    assert re.search(rf"^numexpr: {re.escape(check)}: ", output, re.MULTILINE), output


# A run of the example workbook

RUN = """
import sys
import ultramc as mc
inputs = {"Inputs!B4": mc.Triangular(90, 100, 130), "growth": mc.Normal(0.04, 0.02)}
result = mc.Simulation("budget.xlsx", inputs=inputs, outputs=["net_present_value"]).run(10_000, engine=sys.argv[1], seed=42)
result.save(sys.argv[1])
print(result.engine, result.state, result.validation, sep="; ")
"""


@pytest.fixture(scope="module")
def folder(repository, tmp_path_factory):
    """With the example workbook."""
    made = tmp_path_factory.mktemp("workbook")
    runpy.run_path(str(repository / "docs/examples/write_budget.py"))["write_budget"](str(made / "budget.xlsx"))
    return made


def test_a_run_gives_what_numpy_gives(installed, folder):
    for engine in ("numexpr", "numpy"):
        status, output = python(installed, "-c", RUN, engine, cwd=folder)
        assert status == 0, output
        assert output.startswith(f"{engine}; completed; ")
    found, wanted = (mc.load(folder / engine)["net_present_value"].samples for engine in ("numexpr", "numpy"))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


# The page


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def lines(text):
    return [line for line in text.splitlines() if line]


def test_the_page_shows_all_of_it(package, repository):
    page = (repository / "docs/writing-an-engine.md").read_text(encoding="utf-8")
    module = (package / "ultramc_numexpr.py").read_text(encoding="utf-8")
    assert lines("".join(blocks(page, "python"))) == lines(module)
    assert len(module.splitlines()) < 100
    (points,) = blocks(page, "toml")
    assert points in (package / "pyproject.toml").read_text(encoding="utf-8")
