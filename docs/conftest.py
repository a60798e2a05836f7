"""The examples on these pages run in a folder that holds the example workbook."""

import runpy
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
