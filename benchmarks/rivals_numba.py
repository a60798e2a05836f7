"""The models in Numba: lanes of iterations in inner loops, which LLVM turns into SIMD, and threads over the lanes.

Draws are made where they are used, as ultramc documents them; a site is its key (two words), row and column.
"""

from __future__ import annotations

import math

import numpy as np
from models import BANDS, CASH_FLOW_LAWS, CLASSES, PERIODS, ROLL_FORWARD_INPUTS, key, policies, premiums
from numba import get_num_threads, njit, prange, set_num_threads

THREADS = get_num_threads()
W = 64
ONE, OTHER = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
STEP, OTHER_STEP = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
LOW, HALF, UNUSED = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(12)

# Wichura, "Algorithm AS 241: the percentage points of the normal distribution", PPND16, 1988: numerator and denominator in the
# middle, in the tails, and beyond exp(-25); the highest power first.
AS241 = """
2509.0809287301226727 33430.575583588128105 67265.770927008700853 45921.953931549871457
13731.693765509461125 1971.5909503065514427 133.14166789178437745 3.387132872796366608
5226.495278852545925 28729.085735721942674 39307.89580009271061 21213.794301586595867
5394.1960214247511077 687.1870074920579083 42.313330701600911252 1
7.7454501427834140764e-4 0.0227238449892691845833 0.24178072517745061177 1.27045825245236838258
3.64784832476320460504 5.7694972214606914055 4.6303378461565452959 1.42343711074968357734
1.05075007164441684324e-9 5.475938084995344946e-4 0.0151986665636164571966 0.14810397642748007459
0.68976733498510000455 1.6763848301838038494 2.05319162663775882187 1
2.01033439929228813265e-7 2.71155556874348757815e-5 0.0012426609473880784386 0.026532189526576123093
0.29656057182850489123 1.7848265399172913358 5.4637849111641143699 6.6579046435011037772
2.04426310338993978564e-15 1.4215117583164458887e-7 1.8463183175100546818e-5 7.868691311456132591e-4
0.0148753612908506148525 0.13692988092273580531 0.59983220655588793769 1
"""
NEAR, NEAR_BELOW, FAR, FAR_BELOW, BEYOND, BEYOND_BELOW = (tuple(row) for row in np.array(AS241.split(), float).reshape(6, 8).tolist())


@njit(inline="always")
def high(x, y):
    """The upper half of a product of 64-bit numbers."""
    x0, x1, y0, y1 = x & LOW, x >> HALF, y & LOW, y >> HALF
    middle = x1 * y0 + (x0 * y0 >> HALF)
    return x1 * y1 + (middle >> HALF) + (x0 * y1 + (middle & LOW) >> HALF)


@njit(inline="always")
def unit(word):
    return ((word >> UNUSED) + 0.5) * 2.0**-52


@njit(error_model="numpy")
def uniforms(out, site, first):
    for lane in range(0, W, 4):
        a, b, c, d, k0, k1 = np.uint64((first + lane) // 4 + 1), site[2], site[3], np.uint64(0), site[0], site[1]
        for _ in range(10):
            a, b, c, d = high(OTHER, c) ^ b ^ k0, OTHER * c, high(ONE, a) ^ d ^ k1, ONE * a
            k0, k1 = k0 + STEP, k1 + OTHER_STEP
        out[lane], out[lane + 1], out[lane + 2], out[lane + 3] = unit(a), unit(b), unit(c), unit(d)


@njit(inline="always")
def polynomial(a, x):
    return ((((((a[0] * x + a[1]) * x + a[2]) * x + a[3]) * x + a[4]) * x + a[5]) * x + a[6]) * x + a[7]


@njit(error_model="numpy")
def tail(u):
    r = math.sqrt(-math.log(u if u < 0.5 else 1.0 - u))
    if r <= 5.0:
        size = polynomial(FAR, r - 1.6) / polynomial(FAR_BELOW, r - 1.6)
    else:
        size = polynomial(BEYOND, r - 5.0) / polynomial(BEYOND_BELOW, r - 5.0)
    return -size if u < 0.5 else size


@njit(error_model="numpy")
def normals(out, site, first, mean, std):
    u = np.empty(W)
    uniforms(u, site, first)
    for lane in range(W):
        q = u[lane] - 0.5
        r = 0.180625 - q * q
        out[lane] = q * polynomial(NEAR, r) / polynomial(NEAR_BELOW, r)
    for lane in range(W):
        if abs(u[lane] - 0.5) > 0.425:
            out[lane] = tail(u[lane])
    for lane in range(W):
        out[lane] = mean + std * out[lane]


@njit(parallel=True, error_model="numpy")
def cash_flow_lanes(sites, laws, out):
    low, mode, high_end = laws[0], laws[1], laws[2]
    count = out.shape[1]
    for group in prange((count + W - 1) // W):
        first = group * W
        volume, price, cost, growth, total = np.empty(W), np.empty(W), np.empty(W), np.empty(W), np.zeros(W)
        uniforms(volume, sites[0], first)
        normals(price, sites[1], first, laws[3], laws[4])
        uniforms(cost, sites[2], first)
        normals(growth, sites[3], first, laws[7], laws[8])
        for lane in range(W):
            u = volume[lane]
            rising = low + math.sqrt(u * (high_end - low) * (mode - low))
            falling = high_end - math.sqrt((1 - u) * (high_end - low) * (high_end - mode))
            units = rising if u < (mode - low) / (high_end - low) else falling
            margin = price[lane] - (laws[5] + cost[lane] * (laws[6] - laws[5]))
            for year in range(5):
                total[lane] += (units * margin - 1500) / laws[9 + year]
                units *= 1 + growth[lane]
            total[lane] -= 8000
        kept = min(W, count - first)
        out[0, first : first + kept] = total[:kept]


@njit(parallel=True, error_model="numpy")
def roll_forward_lanes(sites, laws, out):
    count = out.shape[1]
    for group in prange((count + W - 1) // W):
        first = group * W
        drawn = np.empty((8, W))
        for row in range(8):
            normals(drawn[row], sites[row], first, laws[row, 0], laws[row, 1])
        growth, price_inflation, share, cost_inflation = drawn[0], drawn[1], drawn[2], drawn[3]
        rate, tax_rate, discount, volume = drawn[4], drawn[5], drawn[6], drawn[7]
        price, fixed, debt, cash = np.full(W, 10.0), np.full(W, 2500.0), np.full(W, 60000.0), np.zeros(W)
        factor, value, lowest = np.ones(W), np.zeros(W), np.full(W, 1e30)
        for _ in range(PERIODS):
            for lane in range(W):
                volume[lane] *= 1 + growth[lane]
                price[lane] *= 1 + price_inflation[lane]
                fixed[lane] *= 1 + cost_inflation[lane]
                revenue, interest = volume[lane] * price[lane], debt[lane] * rate[lane] / 12
                margin = revenue - revenue * share[lane] - fixed[lane]
                before_tax = margin - 500 - interest
                available = margin - (before_tax if before_tax > 0 else 0.0) * tax_rate[lane]
                left = available - interest
                wanted = (left if left > 0 else 0.0) * 0.6
                repaid = debt[lane] if debt[lane] < wanted else wanted
                debt[lane] -= repaid
                cash[lane] += left - repaid
                factor[lane] /= 1 + discount[lane] / 12
                value[lane] += (left - repaid) * factor[lane]
                lowest[lane] = cash[lane] if cash[lane] < lowest[lane] else lowest[lane]
        kept = min(W, count - first)
        out[0, first : first + kept], out[1, first : first + kept], out[2, first : first + kept] = value[:kept], lowest[:kept], debt[:kept]


@njit(parallel=True, error_model="numpy")
def portfolio_lanes(key, insured, premium, limits, shares, out):
    count = out.shape[1]
    for group in prange((count + W - 1) // W):
        first = group * W
        results, u, site = np.zeros((CLASSES + 1, W)), np.empty(W), np.array([key[0], key[1], np.uint64(0), np.uint64(3)])
        for row in range(insured.size):
            site[2] = np.uint64(row + 2)
            uniforms(u, site, first)
            result = results[row % CLASSES]
            for lane in range(W):
                loss = insured[row] * 0.2 * (u[lane] * u[lane] * u[lane])
                ratio, retained = loss / premium[row], shares[0]
                retained = shares[1] if ratio >= limits[1] else retained
                retained = shares[2] if ratio >= limits[2] else retained
                retained = shares[3] if ratio >= limits[3] else retained
                retained = shares[4] if ratio >= limits[4] else retained
                result[lane] += premium[row] - loss * retained
        for number in range(CLASSES):
            for lane in range(W):
                results[CLASSES, lane] += results[number, lane]
        kept = min(W, count - first)
        out[:, first : first + kept] = results[:, :kept]


def sites(rows: int) -> np.ndarray:
    """Those of column B of the sheet Model."""
    return np.array([[*key("Model").tolist(), row, 2] for row in range(1, rows + 1)], np.uint64)


def cash_flow(count: int, threads: int = THREADS) -> list[np.ndarray]:
    set_num_threads(threads)
    volumes, prices, costs, trend = CASH_FLOW_LAWS
    laws = (volumes.minimum, volumes.mode, volumes.maximum, prices.mean, prices.std, costs.minimum, costs.maximum, trend.mean, trend.std)
    out = np.empty((1, count))
    cash_flow_lanes(sites(4), np.array([*laws, *(1.1**year for year in range(1, 6))]), out)
    return list(out)


def roll_forward(count: int, threads: int = THREADS) -> list[np.ndarray]:
    set_num_threads(threads)
    out = np.empty((3, count))
    roll_forward_lanes(sites(8), np.array([[law.mean, law.std] for _, law in ROLL_FORWARD_INPUTS]), out)
    return list(out)


def portfolio(rows: int, count: int, threads: int = THREADS) -> list[np.ndarray]:
    set_num_threads(threads)
    out = np.empty((CLASSES + 1, count))
    limits, shares = (np.array(column, float) for column in zip(*BANDS, strict=True))
    portfolio_lanes(key("Portfolio"), np.array(policies(rows)[1]), premiums(rows), limits, shares, out)
    return [out[:CLASSES].T, out[CLASSES]]
