"""A workbook of 10,000 call sites in the manner of @RISK, and the same model through the API: the same bits, side by side.

Per row: a normal truncated at 0 and shifted, a uniform up to it, a Bernoulli whose probability both make, a lognormal.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import openpyxl
import pytest
from openpyxl.workbook.defined_name import DefinedName

import ultramc as mc

ROWS = 2_500
ITERATIONS = 10_000
SETTINGS = {"RiskNumIterations": str(ITERATIONS), "RiskUseFixedSeed": "TRUE", "RiskFixedSeed": "7", "RiskSamplingType": "3"}


def parameters() -> np.ndarray:
    return np.round(np.random.default_rng(1).uniform([50, 1], [150, 10], size=(ROWS, 2)), 3)


def workbook(in_sheet: bool) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Model"
    for row, (mean, std) in enumerate(parameters().tolist(), 1):
        draws = (
            f"=_xll.RiskNormal(A{row},B{row},_xll.RiskTruncate(0,),_xll.RiskShift(5))",
            f"=_xll.RiskUniform(0,C{row})",
            f"=_xll.RiskBinomial(1,F{row})",
            f"=D{row}/(D{row}+C{row})",
            f"=_xll.RiskLognorm(A{row},B{row})",
            f"=IF(E{row}=1,G{row}*2,D{row})",
        )
        plain = (1.0, 1.0, 1.0, draws[3], 1.0, draws[5])
        for column, value in enumerate((mean, std, *(draws if in_sheet else plain)), 1):
            sheet.cell(row, column, value)
    sheet["J1"] = f'=_xll.RiskOutput("total")+SUM(H1:H{ROWS})' if in_sheet else f"=SUM(H1:H{ROWS})"
    for name, text in SETTINGS.items() if in_sheet else ():
        book.defined_names[name] = DefinedName(name, attr_text=text, hidden=True)
    file = BytesIO()
    book.save(file)
    return file.getvalue()


def through_the_api() -> mc.Simulation:
    inputs = {}
    for row, (mean, std) in enumerate(parameters().tolist(), 1):
        inputs[f"Model!C{row}"] = mc.Normal(mean, std).truncated(0).shifted(5)
        inputs[f"Model!D{row}"] = mc.Uniform.of(0, f"Model!C{row}")
        inputs[f"Model!E{row}"] = mc.Binomial.of(1, f"Model!F{row}")
        inputs[f"Model!G{row}"] = mc.LogNormal(mean, std)
    return mc.Simulation(workbook(in_sheet=False), inputs=inputs, outputs={"total": "Model!J1"})


@pytest.fixture(scope="module")
def in_sheet() -> mc.Simulation:
    return mc.Simulation(workbook(in_sheet=True))


def test_compile(benchmark):
    data = workbook(in_sheet=True)
    benchmark.pedantic(lambda: mc.Simulation(data), rounds=3)


def test_run(benchmark, in_sheet):
    benchmark.pedantic(lambda: in_sheet.run(), rounds=1)


def test_the_same_bits_through_the_api(in_sheet):
    count = 1_000
    sampling = mc.LatinHypercube(replicates=1)
    found = in_sheet.run(count)["total"].samples
    other = through_the_api()
    job = {"seed": 7, "sampling": sampling, "check": "off", "memory_limit": "20GB", "validate": False}
    assert np.array_equal(other.run(count, **job)["total"].samples, found)
