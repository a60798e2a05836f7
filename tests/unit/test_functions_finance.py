"""Annuities, rates, depreciation and cash flows: Microsoft's documented examples, values cached by Excel, and identities."""

from __future__ import annotations

import math

import pytest
from formula_cases import value_of, values_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ultramc.functions.cash_flows import internal_rate
from ultramc.functions.roots import nearest_root
from ultramc.values import ExcelError

NUM, DIV0, VALUE, NA = ExcelError.NUM, ExcelError.DIV0, ExcelError.VALUE, ExcelError.NA

# Examples on Microsoft's page of each function, to the digits shown there
DOCUMENTED = (
    ("=PMT(8%/12,10,10000)", -1037.03, 0.01),
    ("=PMT(8%/12,10,10000,0,1)", -1030.16, 0.01),
    ("=PMT(6%/12,18*12,0,50000)", -129.08, 0.01),
    ("=IPMT(10%/12,1,3*12,8000)", -66.67, 0.01),
    ("=IPMT(10%,3,3,8000)", -292.45, 0.01),
    ("=PPMT(10%/12,1,2*12,2000)", -75.62, 0.01),
    ("=PPMT(8%,10,10,200000)", -27598.05, 0.01),
    ("=PV(8%/12,12*20,500)", -59777.15, 0.01),
    ("=FV(6%/12,10,-200,-500,1)", 2581.40, 0.01),
    ("=FV(12%/12,12,-1000)", 12682.50, 0.01),
    ("=FV(11%/12,35,-2000,,1)", 82846.25, 0.01),
    ("=NPER(12%/12,-100,-1000,10000,1)", 59.6738657, 1e-7),
    ("=NPER(12%/12,-100,-1000,10000)", 60.0821229, 1e-7),
    ("=NPER(12%/12,-100,-1000)", -9.57859404, 1e-7),
    ("=RATE(4*12,-200,8000)", 0.00770147, 1e-7),
    ("=CUMIPMT(9%/12,30*12,125000,13,24,0)", -11135.23213, 1e-4),
    ("=CUMIPMT(9%/12,30*12,125000,1,1,0)", -937.5, 1e-9),
    ("=CUMPRINC(9%/12,30*12,125000,13,24,0)", -934.1071234, 1e-6),
    ("=CUMPRINC(9%/12,30*12,125000,1,1,0)", -68.27827118, 1e-7),
    ("=ISPMT(0.1/12,1,3*12,8000000)", -64814.8, 0.1),
    ("=EFFECT(5.25%,4)", 0.0535427, 1e-7),
    ("=NOMINAL(5.3543%,4)", 0.05250032, 1e-7),
    ("=RRI(96,10000,11000)", 0.0009933, 1e-7),
    ("=PDURATION(2.5%,2000,2200)", 3.86, 0.01),
    ("=SLN(30000,7500,10)", 2250.0, 1e-9),
    ("=SYD(30000,7500,10,1)", 4090.91, 0.01),
    ("=SYD(30000,7500,10,10)", 409.09, 0.01),
    ("=DDB(2400,300,10*365,1)", 1.32, 0.01),
    ("=DDB(2400,300,10*12,1,2)", 40.0, 1e-9),
    ("=DDB(2400,300,10,2,1.5)", 306.0, 1e-9),
    ("=DDB(2400,300,10,10)", 22.12, 0.01),
    ("=DB(1000000,100000,6,1,7)", 186083.33, 0.01),
    ("=DB(1000000,100000,6,2,7)", 259639.42, 0.01),
    ("=DB(1000000,100000,6,7,7)", 15845.10, 0.01),
    ("=VDB(2400,300,10*365,0,1)", 1.32, 0.01),
    ("=VDB(2400,300,10,0,1)", 480.0, 1e-9),
    ("=VDB(2400,300,10*12,6,18)", 396.31, 0.01),
    ("=VDB(2400,300,10*12,6,18,1.5)", 311.81, 0.01),
    ("=VDB(2400,300,10,0,0.875,1.5)", 315.0, 1e-9),
    ("=DOLLARDE(1.02,16)", 1.125, 1e-12),
    ("=DOLLARDE(1.1,32)", 1.3125, 1e-12),
    ("=DOLLARFR(1.125,16)", 1.02, 1e-12),
    ("=DOLLARFR(1.125,32)", 1.04, 1e-12),
    ("=FVSCHEDULE(1,{0.09,0.11,0.1})", 1.33089, 1e-12),
    ("=NPV(10%,-10000,3000,4200,6800)", 1188.44, 0.01),
    ("=IRR({-70000,12000,15000,18000,21000})", -0.021, 0.001),
    ("=IRR({-70000,12000,15000,18000,21000,26000})", 0.087, 0.001),
    ("=IRR({-70000,12000,15000},-10%)", -0.444, 0.001),
    ("=MIRR({-120000,39000,30000,21000,37000,46000},10%,12%)", 0.126094, 1e-6),
    ("=MIRR({-120000,39000,30000,21000},10%,12%)", -0.048044655, 1e-8),
    ("=XNPV(0.09,{-10000,2750,4250,3250,2750},{39448,39508,39751,39859,39904})", 2086.6476, 1e-3),
    ("=XIRR({-10000,2750,4250,3250,2750},{39448,39508,39751,39859,39904},0.1)", 0.373362535, 1e-8),
)

# Cached by Excel
CACHED = (
    ("=VDB(1,0,14,0.5,1.5,1.25,FALSE)", 0.08529974489795919),  # periods are counted from a fraction
    ("=VDB(1,0,14,3.5,4.5,1.25,FALSE)", 0.06872629045468406),
    ("=VDB(1,0,14,13,14,1.25,FALSE)", 0.06866789938377948),
    ("=CUMPRINC(0.01,36,8000,1.2,8.53,1)", -1339.6579298169904),  # the first period is rounded up
    ("=CUMIPMT(0.01,36,8000,1.2,8.53,1)", -501.92756475693704),
    ("=CUMPRINC(0.7,36,8000,2,10,1)", -0.0047565423422487076),
    ("=MIRR({-5,2,4},-1,0.2)", 0.13137084989847603),
    ("=MIRR({-5,-3},0.1,0.2)", -1.0),
)

FAILURES = (
    ("=PMT(0.1,0,100)", NUM),
    ("=IPMT(0.1,0,10,100)", NUM),
    ("=PPMT(0.1,11,10,100)", NUM),
    ("=CUMIPMT(0.1,10,100,5,4,0)", NUM),
    ("=CUMPRINC(0.1,10,100,1,4,2)", NUM),
    ("=EFFECT(0,4)", NUM),
    ("=RRI(0,1,2)", NUM),
    ("=SLN(1,2,0)", DIV0),
    ("=ISPMT(0.1,1,0,100)", DIV0),
    ("=DOLLARDE(1.1,0)", DIV0),
    ("=DOLLARDE(1.1,-1)", NUM),
    ("=SYD(30000,7500,10,11)", NUM),
    ("=NPV(-1,1,2)", DIV0),
    ("=IRR({1,2,3})", NUM),
    ("=MIRR({1,2,3},0.1,0.1)", DIV0),
    ("=XNPV(0.1,{-1,2},{10,9})", NUM),
    ("=XNPV(0.1,{-1,2},{10,11,12})", NUM),
    ("=XIRR({-1,\"a\"},{10,11})", VALUE),
    ("=PMT(NA(),10,100)", NA),
    ("=PMT(\"x\",10,100)", VALUE),
)  # fmt: skip


@pytest.mark.parametrize(("formula", "expected", "tolerance"), DOCUMENTED)
def test_documented_example(formula: str, expected: float, tolerance: float) -> None:
    assert value_of(formula) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(("formula", "expected"), CACHED)
def test_value_cached_by_excel(formula: str, expected: float) -> None:
    assert value_of(formula) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("formula", "error"), FAILURES)
def test_failure(formula: str, error: ExcelError) -> None:
    assert value_of(formula) is error


def test_npv_counts_numbers_only_and_in_order() -> None:
    cells = {"A1": 100.0, "A2": "text", "A3": None, "A4": 200.0, "B1": True}
    assert value_of("=NPV(0.1,A1:B4,50)", cells) == pytest.approx(100 / 1.1 + 200 / 1.1**2 + 50 / 1.1**3, rel=1e-14)


def test_a_block_of_like_formulas_gives_the_same_as_single_cells() -> None:
    flows = {f"{column}{row}": (-100.0 if column == "A" else 20.0 + 7 * row + ord(column)) for row in range(1, 6) for column in "ABCD"}
    rows = {"E": "=NPV(0.05,$A{0}:D{0})", "F": "=IRR(A{0}:D{0})", "G": "=PMT(0.01*D{0}/100,12,C{0})", "H": "=MIRR(A{0}:D{0},0.1,0.12)"}
    block = {f"{column}{row}": text.format(row) for column, text in rows.items() for row in range(1, 6)}
    together = values_of(block, flows)
    assert len(set(together.values())) == len(block)
    for address, formula in block.items():
        assert value_of(formula, flows) == pytest.approx(together[address], rel=1e-14)


rates = st.floats(-0.5, 2.0).filter(lambda rate: abs(rate) > 1e-4)


@settings(max_examples=100, deadline=None)
@given(rate=rates, flows=st.lists(st.floats(1.0, 1000.0), min_size=1, max_size=12))
def test_irr_finds_the_rate_that_a_price_was_made_with(rate: float, flows: list[float]) -> None:
    price = sum(flow / (1 + rate) ** period for period, flow in enumerate(flows, 1))
    assert internal_rate(0.1, [-price, *flows]) == pytest.approx(rate, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(rate=rates, periods=st.integers(1, 40), pv=st.floats(-1e5, 1e5), fv=st.floats(-1e5, 1e5), due=st.sampled_from([0, 1]))
def test_payments_bring_the_present_to_the_future_value(rate: float, periods: int, pv: float, fv: float, due: int) -> None:
    formulas = {"A1": f"=PMT({rate!r},{periods},{pv!r},{fv!r},{due})", "A2": f"=FV({rate!r},{periods},A1,{pv!r},{due})"}
    balance = pv
    values = values_of(formulas)
    payment = values["A1"]
    assert isinstance(payment, float)
    for _ in range(periods):
        balance = balance * (1 + rate) + payment * (1 + rate if due else 1)
    scale = max(abs(pv) * max(1.0, (1 + rate) ** periods), abs(fv), 1.0)
    assert balance == pytest.approx(-fv, abs=1e-9 * scale)
    assert values["A2"] == pytest.approx(fv, abs=1e-9 * scale)


def test_interest_and_principal_add_up() -> None:
    formulas = {f"A{period}": f"=IPMT(0.02,{period},12,1000,50,1)" for period in range(1, 13)}
    formulas |= {f"B{period}": f"=PPMT(0.02,{period},12,1000,50,1)-PMT(0.02,12,1000,50,1)+A{period}" for period in range(1, 13)}
    values = values_of(formulas)
    assert [values[f"B{period}"] for period in range(1, 13)] == pytest.approx([0.0] * 12, abs=1e-9)
    assert values["A1"] == 0.0


def test_the_nearest_change_of_sign_is_found_where_newton_fails() -> None:
    root = nearest_root(lambda x: math.copysign(abs(x - 3) ** 0.25, x - 3), lambda x: 0.25 * abs(x - 3) ** -0.75, 0.1)
    assert root == pytest.approx(3.0, abs=1e-9)
    assert nearest_root(lambda x: x * x + 1, lambda x: 2 * x, 0.1) is None
