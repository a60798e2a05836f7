"""Latin hypercubes: every stratum once, by the formula, and the strata of different inputs independent."""

import math
from fractions import Fraction
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

import ultramc as mc
from ultramc.sampling import Job, LatinHypercube, Site, uniforms
from ultramc.sampling.latin_hypercube import MOST_STRATA, _move_into, strata

SITE, OTHER = Site("Sheet1", 2, 3), Site("Sheet1", 3, 2)
FALSE_ALARMS = 1e-6  # of each statistical test here, in expectation over seeds; the seeds are fixed


def strata_of(u, m):
    return np.floor(u * m).astype(np.int64)


def looks_even(counts, probabilities=None):
    """Pearson's chi-square."""
    counts = np.asarray(counts, dtype=float).ravel()
    expected = counts.sum() * (np.full(len(counts), 1 / len(counts)) if probabilities is None else np.asarray(probabilities).ravel())
    return chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1) > FALSE_ALARMS


def keys(count, seed=1):
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 2**64, (8, count), dtype=np.uint64)


@given(m=st.integers(1, 6_000), replicates=st.integers(1, 6), seed=st.integers(0, 2**64 - 1), site=st.sampled_from([SITE, OTHER]))
@example(m=1, replicates=5, seed=0, site=SITE)
@example(m=4_093, replicates=3, seed=1, site=SITE)  # primes on both sides of where replicates get pieces of their own
@example(m=4_099, replicates=3, seed=1, site=SITE)
@example(m=16_411, replicates=2, seed=1, site=SITE)
@example(m=32_769, replicates=1, seed=1, site=SITE)
@settings(max_examples=80, deadline=None)
def test_each_replicate_visits_every_stratum_once(m, replicates, seed, site):
    u = Job(seed, m * replicates, LatinHypercube(replicates)).uniforms(site, 0, m * replicates)
    visited = np.sort(strata_of(u, m).reshape(replicates, m), axis=1)
    assert (visited == np.arange(m)).all()


@pytest.mark.parametrize("m", [1, 2, 3, 5, 64, 1_000, 70_001])
def test_the_draw_is_the_formula(m):
    """min((s + u) / m, 1 - 2^-53) in exact arithmetic, rounded once or twice; and bit for bit in floating point."""
    found = Job(8, 3 * m, LatinHypercube(3)).uniforms(SITE, 0, 3 * m)
    u, s = uniforms(8, SITE, 0, 3 * m), strata_of(found, m)
    np.testing.assert_array_equal(found, np.minimum((s + u) / m, 1 - 2.0**-53))
    for place in range(min(50, m)):
        exact = (Fraction(int(s[place])) + Fraction(float(u[place]))) / m
        assert abs(Fraction(float(found[place])) - exact) <= exact * Fraction(1, 2**52)


@pytest.mark.parametrize("m", [2**40, 2**40 + 1, 2**47 + 5, MOST_STRATA])
def test_long_runs_have_strata_too(m):
    drawn = Job(8, 2 * m, LatinHypercube(2))
    for first in (0, m - 3, m, 2 * m - 9):
        u = drawn.uniforms(SITE, first, 9)
        assert len(set(strata_of(u, m).tolist())) == 9
        assert ((u > 0) & (u < 1)).all()


@pytest.mark.parametrize("m", [1, 2, 3, 1_000, 2**20 + 7, MOST_STRATA])
@pytest.mark.parametrize("u", [2.0**-53, 0.5, 1 - 2.0**-53])
def test_the_draw_stays_in_its_stratum_at_the_edges(m, u):
    for s in {0, m // 2, m - 1}:
        moved = np.array([u])
        _move_into(np.array([s], dtype=np.uint64), m, moved)
        assert math.floor(moved[0] * m) == s
        assert 2.0**-53 <= moved[0] <= 1 - 2.0**-53


@pytest.mark.parametrize("m", [3, 49, 1_000, 2**17 + 7])
@pytest.mark.parametrize("u", [2.0**-53, 1 - 2.0**-53])
def test_every_stratum_keeps_its_draw_at_the_edges(m, u):
    moved = np.full(m, u)
    _move_into(np.arange(m, dtype=np.uint64), m, moved)
    assert (strata_of(moved, m) == np.arange(m)).all()


def test_too_many_strata_are_refused():
    with pytest.raises(mc.InputError, match=r"at most 2\^48; ask for more replicates"):
        Job(1, MOST_STRATA + 1, LatinHypercube(1))


@pytest.mark.parametrize(("m", "permutations"), [(1, 1), (2, 2), (3, 6), (4, 24), (5, 120), (6, 720)])
def test_all_permutations_of_few_strata_are_equally_likely(m, permutations):
    drawn = 200_000
    by_position = [strata(np.full(drawn, position, np.uint64), m, keys(drawn)) for position in range(m)]
    codes = sum(column.astype(np.int64) * m**position for position, column in enumerate(by_position))
    counts = np.unique(codes, return_counts=True)[1]
    assert len(counts) == permutations
    assert permutations == 1 or looks_even(counts)


@pytest.mark.parametrize("m", [1, 5, 8, 100, 1_000])
def test_rotations_take_a_position_through_all_strata(m):
    """With the same round keys: so one stratum is uniform exactly, not only as the hash is good."""
    rotated = np.repeat(keys(1), m, axis=1)
    rotated[0] = np.arange(m)
    for position in {0, m // 2, m - 1}:
        assert (np.sort(strata(np.full(m, position, np.uint64), m, rotated)) == np.arange(m)).all()


def test_keys_are_words_of_the_further_site():
    """Eight a replicate, by plain NumPy."""
    sheet = int.from_bytes(blake2b(b"sheet1", digest_size=8).digest(), "little")
    key, counter = np.array([8, sheet], dtype=np.uint64), np.array([0, SITE.row, SITE.column, SITE.k + 2**32], dtype=np.uint64)
    words = np.random.Philox(key=key, counter=counter).random_raw(3 * 8).reshape(3, 8)
    found = strata_of(Job(8, 3_000, LatinHypercube(3)).uniforms(SITE, 0, 3_000), 1_000).reshape(3, 1_000)
    for replicate in range(3):
        assert (strata(np.arange(1_000, dtype=np.uint64), 1_000, words[replicate, :, None]) == found[replicate].astype(np.uint64)).all()


@pytest.mark.parametrize("m", [7, 10, 100, 257, 1_000])
def test_one_position_has_every_stratum_and_two_have_every_pair(m):
    drawn = 100_000
    at = {position: strata(np.full(drawn, position, np.uint64), m, keys(drawn, m)).astype(np.int64) for position in (0, 1, m // 2, m - 1)}
    for found in at.values():
        assert looks_even(np.bincount(found, minlength=m))
    for one, other in ((0, 1), (0, m // 2), (m // 2, m - 1)):
        assert looks_even(np.bincount((at[one] - at[other]) % m, minlength=m)[1:])


@pytest.mark.parametrize("size", [1_000, 65_536])
def test_inputs_and_replicates_are_independent(size):
    """Of 16 classes each; within a replicate margins are exact, so that the degrees of freedom are 15 squared."""
    drawn = Job(4, 2 * size, LatinHypercube(2))
    first, second = drawn.uniforms(SITE, 0, 2 * size).reshape(2, size)
    other = drawn.uniforms(OTHER, 0, size)
    for one, two in ((first, second), (first, other), (second, other)):
        counts, expected = np.histogram2d(one, two, bins=16, range=[[0, 1]] * 2)[0], size / 256
        assert chi2.sf(((counts - expected) ** 2 / expected).sum(), 225) > FALSE_ALARMS
        assert abs(np.corrcoef(one, two)[0, 1]) < 5 / math.sqrt(size)


def test_neighbours_are_not_in_order():
    """Serial correlation at lags 1 to 3: beyond five standard errors about once in two million."""
    u = Job(4, 100_000, LatinHypercube(1)).uniforms(SITE, 0, 100_000)
    for lag in (1, 2, 3):
        assert abs(np.corrcoef(u[lag:], u[:-lag])[0, 1]) < 5 / math.sqrt(100_000)


def test_the_mean_is_far_more_certain_than_that_of_random_draws():
    """Variance 1/12 m^-3 of the mean of a replicate of uniforms, against 1/12 m^-1: McKay, Beckman & Conover."""
    m, replicates = 50, 2_000
    means = Job(3, m * replicates, LatinHypercube(replicates)).uniforms(SITE, 0, m * replicates).reshape(replicates, m).mean(axis=1)
    ratio = means.var(ddof=1) * 12 * m**3
    assert chi2.ppf(FALSE_ALARMS, replicates - 1) < ratio * (replicates - 1) < chi2.isf(FALSE_ALARMS, replicates - 1)
