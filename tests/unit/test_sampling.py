"""The oracle is five lines of plain NumPy, and Philox4x64-10 written out in Python from the paper."""

from __future__ import annotations

import itertools
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultramc.errors import InputError
from ultramc.sampling import ITERATIONS, SEEDS, Site, fill_uniforms, new_seed, uniforms

SITES = [Site("Sheet1", 1, 1), Site("Anna's Übersicht", 1_048_576, 16_384, 3), Site("COSTS", 4, 2, 2**32 + 1)]
SEEDS_TRIED = [0, 42, 2**53 + 1, SEEDS - 1]
MASK = 2**64 - 1


def five_lines(seed, sheet, row, column, k, n):
    key = np.array([seed, int.from_bytes(blake2b(sheet.lower().encode(), digest_size=8).digest(), "little")], dtype=np.uint64)
    counter = np.array([0, row, column, k], dtype=np.uint64)
    raw = np.random.Philox(key=key, counter=counter).random_raw(n)
    return ((raw >> 12) + 0.5) * 2.0**-52


def philox(counter, key):
    """Salmon et al. (2011), ten rounds; the constants are those of Random123."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c0, 2**64)
        high1, low1 = divmod(0xCA5A826395121157 * c2, 2**64)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return c0, c1, c2, c3


def by_hand(seed, site, iteration):
    sheet = int.from_bytes(blake2b(site.sheet.lower().encode(), digest_size=8).digest(), "little")
    words = philox((iteration // 4 + 1, site.row, site.column, site.k), (seed, sheet))
    return (2 * (words[iteration % 4] >> 12) + 1) / 2**53


KNOWN_ANSWERS = [  # philox4x64 10 in kat_vectors of Random123: counter, key, words
    ("0 0 0 0", "0 0", "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
    (
        "ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff",
        "ffffffffffffffff ffffffffffffffff",
        "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
    ),
    (
        "243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89",
        "452821e638d01377 be5466cf34e90c6c",
        "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
    ),
]


def known_answer(texts):
    return [tuple(int(word, 16) for word in text.split()) for text in texts]


@pytest.mark.parametrize("texts", KNOWN_ANSWERS)
def test_the_oracle_gives_the_known_answers_of_random123(texts):
    counter, key, words = known_answer(texts)
    assert philox(counter, key) == words


@pytest.mark.parametrize("texts", KNOWN_ANSWERS)
def test_numpy_gives_the_known_answers_of_random123(texts):
    """It increments the counter, a number of 256 bits, before it generates."""
    counter, key, words = known_answer(texts)
    before = (sum(word << 64 * place for place, word in enumerate(counter)) - 1) % 2**256
    parts = np.array([before >> 64 * place & MASK for place in range(4)], dtype=np.uint64)
    assert tuple(np.random.Philox(key=np.array(key, dtype=np.uint64), counter=parts).random_raw(4).tolist()) == words


@pytest.mark.parametrize("seed", SEEDS_TRIED)
@pytest.mark.parametrize("site", SITES, ids=str)
def test_uniforms_are_the_five_lines_of_numpy(seed, site):
    expected = five_lines(seed, site.sheet, site.row, site.column, site.k, 40_003)
    assert np.array_equal(uniforms(seed, site, 0, 40_003), expected)
    for first, count in [(0, 1), (1, 1), (2, 5), (3, 2), (4, 4), (16_383, 3), (39_999, 4), (7, 0)]:
        assert np.array_equal(uniforms(seed, site, first, count), expected[first : first + count])


@pytest.mark.parametrize("first", [0, 1, 2, 3, 4, 2**31, 2**31 + 1, 2**40, 2**40 + 3, 2**53 + 1, ITERATIONS - 9])
@pytest.mark.parametrize("site", SITES, ids=str)
def test_uniforms_far_out_are_philox_by_hand(first, site):
    assert uniforms(42, site, first, 9).tolist() == [by_hand(42, site, first + i) for i in range(9)]


def test_far_draws_are_the_five_lines_after_a_jump():
    site = SITES[2]
    start = np.random.Philox(key=site.key(42), counter=site.counter)
    for first in (2**31, 2**40):
        raw = start.__class__(key=site.key(42), counter=site.counter).advance(first // 4).random_raw(8)
        assert np.array_equal(uniforms(42, site, first, 8), ((raw >> 12) + 0.5) * 2.0**-52)


@given(seed=st.integers(0, SEEDS - 1), first=st.integers(0, ITERATIONS - 500), cuts=st.lists(st.integers(0, 500), max_size=6))
@settings(max_examples=100, deadline=None)
def test_chunks_join_to_the_whole(seed, first, cuts):
    edges = sorted({0, 500, *cuts})
    parts = [uniforms(seed, SITES[1], first + start, stop - start) for start, stop in itertools.pairwise(edges)]
    assert np.array_equal(np.concatenate(parts), uniforms(seed, SITES[1], first, 500))


def test_fill_writes_only_its_view_strided_or_not():
    block = np.full((3, 20_000), -1.0)
    fill_uniforms(7, SITES[0], 5, block[1])
    fill_uniforms(7, SITES[0], 5, block[2, ::2])
    assert (block[0] == -1).all() and (block[2, 1::2] == -1).all()
    assert np.array_equal(block[1], uniforms(7, SITES[0], 5, 20_000))
    assert np.array_equal(block[2, ::2], block[1, :10_000])


def test_uniforms_are_open_and_on_their_grid():
    steps = uniforms(1, SITES[0], 0, 100_000) * 2.0**53
    assert (steps % 2 == 1).all() and steps.min() >= 1 and steps.max() <= 2**53 - 1


def test_sites_and_seeds_differ_but_the_case_of_the_sheet_does_not():
    tried = [(1, site) for site in (*SITES, Site("Sheet1", 1, 2), Site("Sheet1", 2, 1), Site("Sheet1", 1, 1, 1), Site("Sheet2", 1, 1))]
    draws = [tuple(uniforms(seed, site, 0, 4)) for seed, site in [*tried, (2, SITES[0])]]
    assert len(set(draws)) == len(draws)
    assert np.array_equal(uniforms(1, Site("SHEET1", 1, 1), 0, 4), uniforms(1, Site("sheet1", 1, 1), 0, 4))


@pytest.mark.parametrize(
    ("seed", "first", "count", "says"),
    [
        (-1, 0, 1, "seed=-1 is outside"),
        (SEEDS, 0, 1, r"outside 0 ≤ seed < 2\^64"),
        (1.0, 0, 1, "seed=1.0 is a float; write 1"),
        (True, 0, 1, "seed=True"),
        ("7", 0, 1, "seed='7'"),
        (1, -1, 1, "first=-1"),
        (1, 0, -1, "count=-1"),
        (1, ITERATIONS, 1, r"at most 2\^62"),
        (1, 0.5, 1, "first=0.5 is not a whole number"),
    ],
)
def test_what_is_no_seed_or_range_is_refused(seed, first, count, says):
    with pytest.raises(InputError, match=says):
        uniforms(seed, SITES[0], first, count)


def test_fill_refuses_the_end_of_the_range_too():
    with pytest.raises(InputError, match="count=2"):
        fill_uniforms(1, SITES[0], ITERATIONS - 1, np.empty(2))


def test_numpy_integers_are_whole_numbers():
    assert np.array_equal(uniforms(np.uint64(42), SITES[0], np.int64(3), np.int32(5)), uniforms(42, SITES[0], 3, 5))


@pytest.mark.parametrize("place", [(0, 1, 0), (1, 0, 0), (1, 1, -1), (1, 1, 2**64)])
def test_a_site_lies_on_the_sheet(place):
    with pytest.raises(InputError, match="of a call site"):
        Site("Sheet1", *place)


def test_new_seeds_are_valid_differ_and_survive_a_double():
    seeds = {new_seed() for _ in range(100)}
    assert len(seeds) == 100
    assert all(0 <= seed < SEEDS and int(float(seed)) == seed for seed in seeds)
