"""Secants, cosecants and cotangents, and their inverses."""

from __future__ import annotations

import math

from ultramc.functions.algebra import Term, formula, where
from ultramc.values import ExcelError

NUM, DIV0 = ExcelError.NUM, ExcelError.DIV0
LARGEST_ANGLE = 2.0**27

# name, op above (or 1), op below, largest argument
_RECIPROCALS: tuple[tuple[str, str | None, str, float], ...] = (
    ("SEC", None, "cos", LARGEST_ANGLE),
    ("CSC", None, "sin", LARGEST_ANGLE),
    ("COT", "cos", "sin", LARGEST_ANGLE),
    ("SECH", None, "cosh", math.inf),
    ("CSCH", None, "sinh", math.inf),
    ("COTH", None, "tanh", math.inf),
)


def _reciprocal(name: str, above: str | None, below: str, largest: float) -> None:
    @formula(name, "number")
    def body(x: Term) -> Term:
        (x.op("abs") >= largest).fails(NUM)
        divisor = x.op(below)
        divisor.equals(0).fails(DIV0)
        return (x.op(above) if above else 1) / divisor


for _row in _RECIPROCALS:
    _reciprocal(*_row)


@formula("ACOT", "number")
def _acot(x: Term) -> Term:
    return math.pi / 2 - x.op("atan")


@formula("ACOTH", "number")
def _acoth(x: Term) -> Term:
    (x.op("abs") <= 1).fails(NUM)
    return where(x.equals(0), 0, 1 / x).op("atanh")
