"""What pyproject.toml promises: true lower bounds, one pinned environment, a cheap base install."""

import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEAVY = ["jax", "cupy", "pandas", "pyarrow", "matplotlib", "openpyxl", "formulas", "scipy.stats", "IPython"]


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(path):
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def requirements(project, *extras):
    texts = project["dependencies"] + [text for extra in extras for text in project["optional-dependencies"][extra]]
    return [requirement for requirement in map(Requirement, texts) if requirement.name != project["name"]]


def lower_bound(requirement):
    (bound,) = [specifier.version for specifier in requirement.specifier if specifier.operator == ">="]
    return bound


def test_minimum_pins_are_the_lower_bounds(project, repository):
    minimum = pins(repository / "tests/minimum.txt")
    needed = requirements(project, "plot", "parquet", "dask", "test")
    assert {requirement.name for requirement in needed} == set(minimum)
    for requirement in needed:
        assert re.fullmatch(rf"{re.escape(lower_bound(requirement))}(\.0)*", minimum[requirement.name]), requirement


def test_constraints_pin_all_that_development_needs(project, repository):
    pinned = pins(repository / "tests/constraints.txt")
    for requirement in requirements(project, "plot", "parquet", "dask", "test", "dev"):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_every_extra_has_lower_bounds_only(project):
    for requirement in requirements(project, *project["optional-dependencies"]):
        assert [specifier.operator for specifier in requirement.specifier] == [">="], requirement


def test_importing_is_cheap_and_sets_nothing_global():
    program = f"import sys, ultramc; print([name for name in {HEAVY} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
