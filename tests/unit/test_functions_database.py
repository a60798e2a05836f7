"""Database functions: Microsoft's documented orchard, cases whose values Excel has cached, and NumPy on draws."""

from __future__ import annotations

import numpy as np
import pytest
from formula_cases import value_of, workbook

import ultramc as mc
from ultramc.errors import UnsupportedFormula
from ultramc.values import ExcelError, Scalar

DIV0, NUM, VALUE = ExcelError.DIV0, ExcelError.NUM, ExcelError.VALUE


def _sheet(rows: dict[int, tuple[object, ...]]) -> dict[str, object]:
    return {f"{'ABCDEF'[place]}{row}": value for row, values in rows.items() for place, value in enumerate(values) if value is not None}


# The table of Microsoft's documentation of DAVERAGE, DCOUNT, DGET, DSTDEV and DVAR
ORCHARD = _sheet(
    {
        1: ("Tree", "Height", "Age", "Yield", "Profit", "Height"),
        2: ("=Apple", ">10", None, None, None, "<16"),
        3: ("=Pear",),
        4: ("Tree", "Height", "Age", "Yield", "Profit"),
        5: ("Apple", 18, 20, 14, 105),
        6: ("Pear", 12, 12, 10, 96),
        7: ("Cherry", 13, 14, 9, 105),
        8: ("Apple", 14, 15, 10, 75),
        9: ("Pear", 9, 8, 8, 76.8),
        10: ("Apple", 8, 9, 6, 45),
    }
)
ORCHARD = {address: f'="{value}"' if isinstance(value, str) and value[0] == "=" else value for address, value in ORCHARD.items()}

CASES: tuple[tuple[str, Scalar], ...] = (
    ('DAVERAGE(A4:E10,"Yield",A1:B2)', 12.0),
    ("DAVERAGE(A4:E10,3,A4:E10)", 13.0),
    ('DCOUNT(A4:E10,"Age",A1:F2)', 1.0),
    ('DCOUNTA(A4:E10,"Profit",A1:F2)', 1.0),
    ('DMAX(A4:E10,"Profit",A1:F3)', 96.0),
    ('DMIN(A4:E10,"Profit",A1:F3)', 75.0),
    ('DPRODUCT(A4:E10,"Yield",A1:F3)', 800.0),
    ('DSTDEV(A4:E10,"Yield",A1:A3)', 2.966479),
    ('DSTDEVP(A4:E10,"Yield",A1:A3)', 2.653300),
    ('DSUM(A4:E10,"Profit",A1:A2)', 225.0),
    ('DSUM(A4:E10,"Profit",A1:F3)', 247.8),
    ('DVAR(A4:E10,"Yield",A1:A3)', 8.8),
    ('DVARP(A4:E10,"Yield",A1:A3)', 7.04),
    ('DGET(A4:E10,"Yield",A1:A3)', NUM),
    ('DGET(A4:E10,"Yield",A1:F2)', 10.0),
    ("DCOUNT(A4:E10,,A1:A2)", 3.0),
    ('DSUM(A4:E10,"PROFIT",A1:A2)', 225.0),
    ("DSUM(A4:E10,5.9,A1:A2)", 225.0),
    ("DSUM(A4:E10,0,A1:A2)", VALUE),
    ("DSUM(A4:E10,6,A1:A2)", VALUE),
    ('DSUM(A4:E10,"Root",A1:A2)', VALUE),
    ('DSUM(A4:E4,"Profit",A1:A2)', VALUE),
    ("DSUM(A4:E10,D4:E4,A1:A2)", VALUE),
    ("DSUM(A4:E10,{5},C1:C2)", 502.8),
)


@pytest.mark.parametrize(("formula", "expected"), CASES)
def test_orchard(formula: str, expected: Scalar) -> None:
    found = value_of("=" + formula, ORCHARD)
    assert found is expected if isinstance(expected, ExcelError) else found == pytest.approx(expected, rel=1e-6)


SALES = _sheet(
    {
        1: ("City", "Open", "Sales"),
        2: ("Berlin", True, 1),
        3: ("Caracas", False, 2),
        4: ("BERLIN", True, 4),
        5: ('=" Berlin"', False, 8),
        6: ("Berlino", True, 16),
        7: (None, 1, 32),
    }
)

# label and criterion, and the sum of the sales that meet it
CRITERIA: tuple[tuple[str, object, Scalar], ...] = (
    ("City", "Berlin", 21.0),  # texts that begin with it
    ("City", '="=Berlin"', 5.0),
    ("City", "<>Berlin", 58.0),
    ("City", "*in*", 29.0),
    ("City", '="="', 32.0),
    ("City", ">C", 2.0),
    ("Open", True, 21.0),
    ("Open", 1, 32.0),
    ("Sales", ">4", 56.0),
    ("Sales", "none", 0.0),
    ("Town", None, 63.0),  # a label of no column, but nothing is asked
    ("Town", "Berlin", 0.0),
)


@pytest.mark.parametrize(("label", "condition", "expected"), CRITERIA)
def test_criteria(label: str, condition: object, expected: Scalar) -> None:
    cells = {**SALES, "H1": label, **({} if condition is None else {"H2": condition})}
    assert value_of('=DSUM(A1:C7,"Sales",H1:H2)', cells) == expected


def test_nothing_found() -> None:
    cells = {**SALES, "H1": "City", "H2": "Oslo"}
    aggregates = {name: value_of(f"={name}(A1:C7,3,H1:H2)", cells) for name in ("DSUM", "DCOUNT", "DMAX", "DAVERAGE", "DGET")}
    assert aggregates == {"DSUM": 0.0, "DCOUNT": 0.0, "DMAX": 0.0, "DAVERAGE": DIV0, "DGET": VALUE}


def test_a_computed_criterion_is_refused() -> None:
    with pytest.raises(UnsupportedFormula, match="computed criterion"):
        value_of("=DSUM(A1:C7,3,H1:H2)", {**SALES, "H1": "Above", "H2": "=C2>3"})


def test_simulated_records() -> None:
    draws = {f"C{row}": "=RAND()" for row in range(2, 8)}
    cells = {
        **SALES,
        **draws,
        "H1": "Sales",
        "H2": ">0.5",
        "I1": "City",
        "I2": "B",
        "J1": '=DSUM(A1:C7,"Sales",H1:I2)',
        "J2": "=DGET(A1:C7,1,H1:H2)",
    }
    result = mc.Simulation(workbook(cells), outputs=["C2:C7", "J1"]).run(100, seed=7)
    sales = result["C2:C7"].samples
    counts = (sales > 0.5) & np.array([True, False, True, False, True, False])
    np.testing.assert_allclose(result["J1"].samples, (sales * counts).sum(axis=1), rtol=1e-12)
