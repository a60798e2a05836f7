"""Sobol points against SciPy's, and the promises of Owen's scrambling: nets stay nets, and every point is uniform."""

from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, kstest, qmc

import ultramc as mc
from ultramc.sampling import Job, Site, Sobol, sobol_points, uniforms
from ultramc.sampling.sobol import DIMENSIONS, reversed_bits, scrambled

SITES = tuple(Site("Sheet1", row, 1) for row in range(1, 6))
FALSE_ALARMS = 1e-6  # of each statistical test here, in expectation over seeds; the seeds are fixed
POINTS = 2_048


@pytest.fixture(scope="module")
def of_scipy():
    """(points, dimensions), by SciPy in its default 30 bits."""
    return qmc.Sobol(d=DIMENSIONS, scramble=False).random(256)


@pytest.mark.parametrize("dimension", [0, 1, 2, 3, 10, 999, 7_777, DIMENSIONS - 1])
def test_points_are_those_of_scipy(dimension, of_scipy):
    assert np.array_equal(sobol_points(dimension, 0, 256) * 2.0**-64, of_scipy[:, dimension])


@pytest.mark.parametrize(("first", "count"), [(1, 1), (16_380, 10), (16_383, 1), (50_000, 20_000), (65_535, 2)])
def test_points_far_out_are_those_of_scipy(first, count):
    expected = qmc.Sobol(d=5, scramble=False).fast_forward(first).random(count)
    for dimension in range(5):
        assert np.array_equal(sobol_points(dimension, first, count) * 2.0**-64, expected[:, dimension])


@given(place=st.integers(0, 2**62 - 1), dimension=st.integers(0, 40))
@settings(max_examples=50, deadline=None)
def test_a_point_is_the_xor_of_direction_numbers(place, dimension):
    """By the definition: those of the bits of the Gray code; points 2^k in Gray code order differ from their neighbour by one."""
    numbers = qmc.Sobol(d=dimension + 1, scramble=False, bits=64)._sv[dimension].tolist()
    gray, expected = place ^ place >> 1, 0
    for bit in range(64):
        expected ^= numbers[bit] * (gray >> bit & 1)
    assert sobol_points(dimension, place, 1).tolist() == [expected]


@pytest.mark.parametrize("dimension", [-1, DIMENSIONS, 1.0])
def test_what_is_no_dimension(dimension):
    with pytest.raises(mc.InputError, match="dimension="):
        sobol_points(dimension, 0, 1)


def test_a_scipy_without_direction_numbers_is_said(monkeypatch):
    from ultramc.sampling.sobol import _direction_numbers

    _direction_numbers.cache_clear()
    monkeypatch.setattr(qmc, "Sobol", lambda **_: object())
    with pytest.raises(mc.InputError, match="does not show its direction numbers"):
        sobol_points(0, 0, 1)
    monkeypatch.undo()
    assert sobol_points(0, 1, 1).tolist() == [2**63]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_reversed_bits(words):
    assert reversed_bits(np.array(words, dtype=np.uint64)).tolist() == [int(f"{word:064b}"[::-1], 2) for word in words]


words = st.integers(0, 2**64 - 1)


@given(keys=st.lists(words, min_size=4, max_size=4), one=words, other=words)
@settings(max_examples=300, deadline=None)
def test_scrambling_keeps_exactly_the_common_prefix(keys, one, other):
    """Bit-reversed words: the prefix of the point is at the low end."""
    columns = np.array(keys, dtype=np.uint64)[:, None]
    x, y = (scrambled(np.array([word], dtype=np.uint64), columns).item() for word in (one, other))
    assert (x ^ y) & -(x ^ y) == (one ^ other) & -(one ^ other)


@given(keys=st.lists(words, min_size=4, max_size=4), point=words)
@settings(max_examples=50, deadline=None)
def test_the_first_key_takes_a_point_through_all_values(keys, point):
    """Of its leading eight bits, with the other keys the same: so one point is uniform exactly, not only as the hash is good."""
    columns = np.repeat(np.array(keys, dtype=np.uint64)[:, None], 256, axis=1)
    columns[0] += np.arange(256, dtype=np.uint64)
    assert len(np.unique(scrambled(np.full(256, point, dtype=np.uint64), columns) % np.uint64(256))) == 256


def test_keys_are_words_of_the_further_site():
    """Four a replicate, by plain NumPy."""
    sheet = int.from_bytes(blake2b(b"sheet1", digest_size=8).digest(), "little")
    key, counter = np.array([8, sheet], dtype=np.uint64), np.array([0, 3, 1, 2**32], dtype=np.uint64)
    words_of_replicates = np.random.Philox(key=key, counter=counter).random_raw(3 * 4).reshape(3, 4)
    found = Job(8, 96, Sobol(3), SITES).uniforms(SITES[2], 0, 96).reshape(3, 32)
    for replicate, own in enumerate(words_of_replicates):
        raw = reversed_bits(scrambled(reversed_bits(sobol_points(2, 0, 32)), own[:, None]))
        assert (((raw >> 12) + 0.5) * 2.0**-52 == found[replicate]).all()


def random_keys(count, seed=2):
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 2**64, (4, count), dtype=np.uint64)


def even(counts):
    expected = counts.sum() / counts.size
    return chi2.sf(((counts - expected) ** 2 / expected).sum(), counts.size - 1) > FALSE_ALARMS


@pytest.mark.parametrize("shared", [0, 1, 2, 5, 9, 20])
@pytest.mark.parametrize(("rest", "other_rest"), [(0, 0), (0, 5), (3, 3), (0x123456789AB, 0x3C0FFEE)])
def test_beyond_their_prefix_two_points_are_independent(shared, rest, other_rest):
    """What Owen's variance rests on: after the bit in which they first differ, three bits of each take all 64 values alike."""
    keys, prefix = random_keys(100_000), 0x5A5A5A5A % 2**shared
    one, other = (
        scrambled(np.full(100_000, prefix | bit << shared | tail << (shared + 1), dtype=np.uint64), keys) >> np.uint64(shared)
        for bit, tail in ((0, rest), (1, other_rest))
    )
    pairs = (one & np.uint64(15)) * np.uint64(8) + (other >> np.uint64(1) & np.uint64(7))
    assert even(np.bincount(pairs.astype(np.int64), minlength=128))


@pytest.mark.parametrize("place", [0, 1, 5, 1_023, 4_095])
@pytest.mark.parametrize("site", [SITES[0], SITES[4]], ids=["first", "last"])
def test_one_point_is_uniform_over_replicates_and_seeds(place, site):
    replicates, size = 5_000, 4_096
    drawn = Job(6, replicates * size, Sobol(replicates), SITES)
    found = [drawn.uniforms(site, replicate * size + place, 1).item() for replicate in range(400)]
    found += [Job(seed, size, Sobol(1), SITES).uniforms(site, place, 1).item() for seed in range(400)]
    assert kstest(found, "uniform").pvalue > FALSE_ALARMS


def points(sampling=Sobol, seed=3, size=POINTS, replicates=2, count=5):
    """(replicates, size, sites)"""
    drawn = Job(seed, replicates * size, sampling(replicates), SITES[:count])
    return np.stack([drawn.uniforms(site, 0, replicates * size) for site in SITES[:count]], axis=-1).reshape(replicates, size, count)


@pytest.mark.parametrize("size", [1, 2, 64, 4_096, 32_768])
def test_each_dimension_has_a_point_in_each_interval(size):
    for replicate in points(size=size):
        assert (np.sort(np.floor(replicate * size), axis=0) == np.arange(size)[:, None]).all()


def test_boxes_of_two_dimensions_hold_what_they_hold_unscrambled():
    """All elementary intervals of 2^-k1 × 2^-k2 of each pair of dimensions; for the first two, a (0, k, 2)-net, one point in each."""
    plain = np.stack([sobol_points(dimension, 0, POINTS) for dimension in range(5)], axis=-1) * 2.0**-64
    for replicate in points():
        for one, two in ((0, 1), (1, 2), (0, 4), (3, 4)):
            for split in range(12):
                cells = [
                    np.histogram2d(of[:, one], of[:, two], bins=(2**split, 2 ** (11 - split)), range=[[0, 1]] * 2)[0]
                    for of in (plain, replicate)
                ]
                assert np.array_equal(*(np.sort(cell.ravel()) for cell in cells))
                assert (one, two) != (0, 1) or (cells[1] == 1).all()


def test_replicates_are_scrambled_differently():
    first, second = points()
    assert not np.isin(first, second).any()


def test_a_point_is_independent_of_itself_in_another_replicate_and_dimension():
    drawn = points(size=16, replicates=20_000, count=2)
    for place in (0, 5):
        for pair in (drawn[:, place, :], drawn[:, place, 0].reshape(-1, 2)):
            assert even(np.histogram2d(*pair.T, bins=8, range=[[0, 1]] * 2)[0])


def test_the_error_of_a_smooth_integral_is_far_below_that_of_random_draws():
    """∫ (1 + (x - 1/2)) (1 + (y - 1/2)) = 1. At 1,024 points Owen's rate of about m^-3 leaves nothing near the m^-1 of random draws."""

    def means(sampling):
        x = points(sampling, size=1_024, replicates=64, count=2)
        return (1 + (x - 0.5)).prod(axis=-1).mean(axis=1)

    random = np.var([(0.5 + np.stack([uniforms(seed, site, 0, 1_024) for site in SITES[:2]])).prod(axis=0).mean() for seed in range(64)])
    assert abs(means(Sobol).mean() - 1) < 6 * means(Sobol).std(ddof=1) / 8
    assert means(Sobol).var() < random / 10_000
    assert means(mc.LatinHypercube).var() < random / 4


def test_sites_beyond_the_dimensions_draw_at_random_and_the_result_says_so():
    many = tuple(Site("Sheet1", row, 1) for row in range(1, DIMENSIONS + 3))
    drawn = Job(2, 32, Sobol(), many)
    assert np.array_equal(drawn.uniforms(many[DIMENSIONS], 5, 9), uniforms(2, many[DIMENSIONS], 5, 9))
    assert not np.array_equal(drawn.uniforms(many[DIMENSIONS - 1], 5, 9), uniforms(2, many[DIMENSIONS - 1], 5, 9))
    (said,) = drawn.sampling.warnings(drawn)
    assert said == "sobol sampling has 21,201 dimensions: 2 call sites more draw at random"
    with pytest.raises(mc.InputError, match="at most 32"):
        drawn.uniforms(many[DIMENSIONS], 30, 3)
