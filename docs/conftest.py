"""The examples on these pages run in a folder that holds the example workbook."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def example_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    script = Path(__file__).parent / "examples" / "write_budget.py"
    runpy.run_path(str(script))["write_budget"](str(folder / "budget.xlsx"))
    return folder


@pytest.fixture(autouse=True)
def in_the_example_folder(example_folder, monkeypatch):
    monkeypatch.chdir(example_folder)


@pytest.fixture(scope="session")
def example_engine(tmp_path_factory):
    """The folder into which the engine of one page is installed, as a user's would be."""
    folder, package = tmp_path_factory.mktemp("engine"), Path(__file__).parent / "examples" / "ultramc-numexpr"
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(package)], check=True)
    return folder


@pytest.fixture(autouse=True)
def with_the_example_engine(request, monkeypatch):
    if request.path.name == "writing-an-engine.md":
        monkeypatch.syspath_prepend(request.getfixturevalue("example_engine"))
