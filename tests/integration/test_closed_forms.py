"""Models whose answer is known: the mean within four standard errors of it, and each sample equal to plain NumPy's."""

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from workbooks import five_lines, workbook

import ultramc as mc

ITERATIONS = 100_000
SEED = 20_240_229
RELATIVE = 1e-12


def normals(row, column=1):
    """Standard normal draws of a cell of the sheet Model."""
    return ndtri(five_lines(SEED, row, column, ITERATIONS))


def outputs_of(cells, inputs, outputs):
    result = mc.Simulation(workbook(cells), inputs=inputs, outputs=outputs).run(ITERATIONS, seed=SEED)
    assert (result.state, result.iterations) == ("completed", ITERATIONS)
    return [result[output] for output in outputs]


def assert_estimates(output, expected):
    """Four standard errors, of our own samples by the textbook, so that a wrong standard error cannot hide a wrong mean."""
    error = np.std(output.samples, ddof=1) / math.sqrt(ITERATIONS)
    assert abs(output.mean - expected) < 4 * error
    assert output.standard_error == pytest.approx(error, rel=1e-9)


def test_sum_of_normals():
    means, deviations = np.arange(1.0, 21), np.linspace(0.5, 3, 20)
    cells = {f"A{row}": 0 for row in range(1, 21)} | {"C1": "=SUM(A1:A20)"}
    inputs = {f"A{row}": mc.Normal(means[row - 1], deviations[row - 1]) for row in range(1, 21)}
    (total,) = outputs_of(cells, inputs, ["C1"])
    expected = sum(means[row - 1] + deviations[row - 1] * normals(row) for row in range(1, 21))
    np.testing.assert_allclose(total.samples, expected, rtol=RELATIVE)
    assert_estimates(total, means.sum())
    spread = math.sqrt((deviations**2).sum())
    assert total.std == pytest.approx(spread, abs=4 * spread / math.sqrt(2 * ITERATIONS))
    assert total.probability_below(means.sum()) == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(ITERATIONS))


def test_product_of_lognormals():
    """A product of lognormals is lognormal: logarithms of the means, and variances of the logarithms, add."""
    parameters = [(2.0, 0.5), (1.5, 0.3), (0.8, 0.4)]
    cells = {f"A{row}": 1 for row in (1, 2, 3)} | {"C1": "=PRODUCT(A1:A3)", "C2": "=A1*A2*A3"}
    inputs = {f"A{row}": mc.LogNormal(*pair) for row, pair in enumerate(parameters, 1)}
    product, again = outputs_of(cells, inputs, ["C1", "C2"])
    sigmas = [math.sqrt(math.log1p((std / mean) ** 2)) for mean, std in parameters]
    mus = [math.log(mean) - sigma**2 / 2 for (mean, _), sigma in zip(parameters, sigmas, strict=True)]
    expected = np.exp(sum(mu + sigma * normals(row) for row, (mu, sigma) in enumerate(zip(mus, sigmas, strict=True), 1)))
    np.testing.assert_allclose(product.samples, expected, rtol=RELATIVE)
    np.testing.assert_allclose(again.samples, product.samples, rtol=RELATIVE)
    assert_estimates(product, math.prod(mean for mean, _ in parameters))
    assert product.quantile(0.5) == pytest.approx(math.exp(sum(mus)), rel=0.02)


def test_black_scholes():
    """Hull, Options, Futures and Other Derivatives, example 15.6: call 4.76, put 0.81; more digits by the formula."""
    spot, strike, rate, sigma, years = 42, 40, 0.1, 0.2, 0.5
    cells = {
        **{"A1": spot, "A2": strike, "A3": rate, "A4": sigma, "A5": years, "A6": 0},
        "B1": "=A1*EXP((A3-A4^2/2)*A5+A4*SQRT(A5)*A6)",
        "B2": "=EXP(-A3*A5)*MAX(B1-A2,0)",
        "B3": "=EXP(-A3*A5)*MAX(A2-B1,0)",
    }
    price, call, put = outputs_of(cells, {"A6": mc.Normal(0, 1)}, ["B1", "B2", "B3"])
    at_expiry = spot * np.exp((rate - sigma**2 / 2) * years + sigma * math.sqrt(years) * normals(6))
    discount = math.exp(-rate * years)
    np.testing.assert_allclose(price.samples, at_expiry, rtol=RELATIVE)
    np.testing.assert_allclose(call.samples, discount * np.maximum(at_expiry - strike, 0), rtol=RELATIVE, atol=1e-11)
    np.testing.assert_allclose(put.samples, discount * np.maximum(strike - at_expiry, 0), rtol=RELATIVE, atol=1e-11)
    assert_estimates(price, spot * math.exp(rate * years))
    assert_estimates(call, 4.759422)
    assert_estimates(put, 0.808599)


def test_black_scholes_with_draws_in_the_sheet():
    cells = {
        "B1": "=42*EXP((0.1-0.2^2/2)*0.5+0.2*SQRT(0.5)*NORM.S.INV(RAND()))".replace("NORM", "_xlfn.NORM"),
        "B2": "=EXP(-0.05)*MAX(B1-40,0)",
    }
    price, call = outputs_of(cells, {}, ["B1", "B2"])
    np.testing.assert_allclose(price.samples, 42 * np.exp(0.04 + 0.2 * math.sqrt(0.5) * normals(1, 2)), rtol=RELATIVE)
    assert_estimates(call, 4.759422)


MEAN, SPREAD, UNIT_PRICE, UNIT_COST, SALVAGE = 100, 20, 10, 6, 2


def expected_profit(quantity):
    """Newsvendor with normal demand: by the standard loss function L(z) = φ(z) − z·(1 − Φ(z))."""
    z = (quantity - MEAN) / SPREAD
    unmet = SPREAD * (math.exp(-z * z / 2) / math.sqrt(2 * math.pi) - z * ndtr(-z))
    return (UNIT_PRICE - SALVAGE) * (MEAN - unmet) - (UNIT_COST - SALVAGE) * quantity


def test_newsvendor():
    best = MEAN + SPREAD * ndtri((UNIT_PRICE - UNIT_COST) / (UNIT_PRICE - SALVAGE))
    quantities = [80, 95, best, 105, 120]
    profit = "=$B$2*MIN(D{row},$B$1)+$B$4*MAX(D{row}-$B$1,0)-$B$3*D{row}"
    cells = {"B1": MEAN, "B2": UNIT_PRICE, "B3": UNIT_COST, "B4": SALVAGE}
    for row, quantity in enumerate(quantities, 1):
        cells |= {f"D{row}": quantity, f"E{row}": profit.format(row=row)}
    (profits,) = outputs_of(cells, {"B1": mc.Normal(MEAN, SPREAD)}, ["E1:E5"])
    demand = MEAN + SPREAD * normals(1, 2)
    for cell, quantity in zip(profits.cells, quantities, strict=True):
        sold, left = np.minimum(quantity, demand), np.maximum(quantity - demand, 0)
        np.testing.assert_allclose(cell.samples, UNIT_PRICE * sold + SALVAGE * left - UNIT_COST * quantity, rtol=RELATIVE, atol=1e-10)
        assert_estimates(cell, expected_profit(quantity))
    assert np.argmax(profits.mean) == 2
