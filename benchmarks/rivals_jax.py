"""The models in JAX: tile after tile of iterations, each with its draws, as ultramc documents them.

A round of Philox is a step of a loop, since XLA would otherwise carry out all ten for each of the four words that they give.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtri
from models import BANDS, CASH_FLOW_LAWS, CLASSES, PERIODS, ROLL_FORWARD_INPUTS, key, policies, premiums

import ultramc as mc

Array = Any
TILE = 4_096  # the quickest of 1,024, 4,096, 16,384 and the whole


def high(x: Array, y: Array) -> Array:
    """The upper half of a product of 64-bit numbers."""
    low, half = jnp.uint64(0xFFFFFFFF), jnp.uint64(32)
    x0, x1, y0, y1 = x & low, x >> half, y & low, y >> half
    middle = x1 * y0 + (x0 * y0 >> half)
    return x1 * y1 + (middle >> half) + (x0 * y1 + (middle & low) >> half)


def uniforms(site: tuple[Array, Array, Array, int], first: Array) -> Array:
    """Those of a tile; a site is its key (two words), row and column."""
    one, other = jnp.uint64(0xD2E7470EE14C6C93), jnp.uint64(0xCA5A826395121157)

    def step(_: int, state: tuple[Array, ...]) -> tuple[Array, ...]:
        a, b, c, d, k0, k1 = state
        following = k0 + jnp.uint64(0x9E3779B97F4A7C15), k1 + jnp.uint64(0xBB67AE8584CAA73B)
        return high(other, c) ^ b ^ k0, other * c, high(one, a) ^ d ^ k1, one * a, *following

    block = first // 4 + jnp.arange(1, TILE // 4 + 1, dtype=jnp.uint64)
    row, column = (jnp.full_like(block, part) for part in site[2:])
    words = jnp.stack(lax.fori_loop(0, 10, step, (block, row, column, jnp.zeros_like(block), *site[:2]))[:4], axis=-1)
    return ((words.reshape(-1) >> jnp.uint64(12)).astype(jnp.float64) + 0.5) * 2.0**-52


def normal(u: Array, law: mc.Normal) -> Array:
    return law.mean + law.std * ndtri(u)


def triangular(u: Array, law: mc.Triangular) -> Array:
    low, mode, high = law.minimum, law.mode, law.maximum
    rising, falling = low + jnp.sqrt(u * (high - low) * (mode - low)), high - jnp.sqrt((1 - u) * (high - low) * (high - mode))
    return jnp.where(u < (mode - low) / (high - low), rising, falling)


def full(number: float) -> Array:
    return jnp.full(TILE, number)


def cash_flow_tile(first: Array, words: Array) -> Array:
    volumes, prices, costs, trend = CASH_FLOW_LAWS
    u = [uniforms((*words, jnp.uint64(row), 2), first) for row in range(1, 5)]
    volume, price, growth = triangular(u[0], volumes), normal(u[1], prices), normal(u[3], trend)
    cost, total = costs.minimum + u[2] * (costs.maximum - costs.minimum), full(0.0)
    for year in range(1, 6):
        volume = volume if year == 1 else volume * (1 + growth)
        total = total + (volume * (price - cost) - 1500) / 1.1**year
    return jnp.stack([total - 8000])


def roll_forward_tile(first: Array, words: Array) -> Array:
    laws = [law for _, law in ROLL_FORWARD_INPUTS]
    draws = [normal(uniforms((*words, jnp.uint64(row), 2), first), law) for row, law in enumerate(laws, 1)]
    growth, price_inflation, share, cost_inflation, rate, tax_rate, discount, start = draws

    def period(_: int, state: tuple[Array, ...]) -> tuple[Array, ...]:
        volume, price, fixed, debt, cash, factor, value, lowest = state
        volume, price, fixed = volume * (1 + growth), price * (1 + price_inflation), fixed * (1 + cost_inflation)
        revenue, interest = volume * price, debt * rate / 12
        margin = revenue - revenue * share - fixed
        available = margin - jnp.maximum(margin - 500 - interest, 0) * tax_rate
        repaid = jnp.minimum(debt, jnp.maximum(available - interest, 0) * 0.6)
        net, factor = available - interest - repaid, factor / (1 + discount / 12)
        return volume, price, fixed, debt - repaid, cash + net, factor, value + net * factor, jnp.minimum(lowest, cash + net)

    state = (start, full(10.0), full(2500.0), full(60000.0), full(0.0), full(1.0), full(0.0), full(1e30))
    _, _, _, debt, _, _, value, lowest = lax.fori_loop(0, PERIODS, period, state)
    return jnp.stack([value, lowest, debt])


def portfolio_tile(first: Array, words: Array, insured: Array, premium: Array) -> Array:
    def policy(row: Array, results: Array) -> Array:
        u = uniforms((*words, (row + 2).astype(jnp.uint64), 3), first)
        loss = insured[row] * 0.2 * u**3
        retained = full(BANDS[0][1])
        for limit, share in BANDS[1:]:
            retained = jnp.where(loss / premium[row] >= limit, share, retained)
        return results.at[row % CLASSES].add(premium[row] - loss * retained)

    results = lax.fori_loop(0, insured.size, policy, jnp.zeros((CLASSES, TILE)))
    return jnp.concatenate([results, results.sum(axis=0, keepdims=True)])


@cache
def tiled(tile: Callable[..., Array], count: int) -> Callable[..., Array]:
    """All tiles one after the other, (outputs, count)."""

    def whole(*given: Array) -> Array:
        firsts = jnp.arange(-(-count // TILE), dtype=jnp.uint64) * jnp.uint64(TILE)
        parts = lax.map(lambda first: tile(first, *given), firsts)
        return jnp.swapaxes(parts, 0, 1).reshape(parts.shape[1], -1)[:, :count]

    return jax.jit(whole)


def computed(tile: Callable[..., Array], count: int, *given: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(tiled(tile, count)(*given))


def cash_flow(count: int) -> list[np.ndarray]:
    return list(computed(cash_flow_tile, count, key("Model")))


def roll_forward(count: int) -> list[np.ndarray]:
    return list(computed(roll_forward_tile, count, key("Model")))


def portfolio(rows: int, count: int) -> list[np.ndarray]:
    out = computed(portfolio_tile, count, key("Portfolio"), np.array(policies(rows)[1]), premiums(rows))
    return [out[:CLASSES].T, out[CLASSES]]
