"""What all sampling methods have in common: names, jobs, random access, replicates, and the run that they are asked for in."""

import itertools
import pickle
import re

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workbooks import workbook

import ultramc as mc
from ultramc.address import RangeRef
from ultramc.program import Builder, Program, Slot
from ultramc.sampling import ITERATIONS, RANDOM, SAMPLINGS, Job, Site, sampling_of, uniforms

SITES = tuple(Site("Model", row, column) for row in (1, 2) for column in (1, 2, 3))
SITE = SITES[3]
METHODS = [mc.Random(), mc.Antithetic(), mc.LatinHypercube(), mc.Sobol()]


def job(iterations, sampling, seed=5):
    return Job(seed, iterations, sampling, SITES)


@given(
    method=st.sampled_from(METHODS),
    iterations=st.sampled_from([16, 97, 960, 5_003, 16 * 5_000, 3 * 16_384]),
    data=st.data(),
)
@settings(max_examples=80, deadline=None)
def test_any_slice_is_that_of_the_whole(method, iterations, data):
    drawn = job(iterations, method)
    whole = drawn.uniforms(SITE, 0, iterations)
    cuts = data.draw(st.lists(st.integers(0, iterations), max_size=5))
    for start, stop in itertools.pairwise(sorted([0, iterations, *cuts])):
        assert np.array_equal(drawn.uniforms(SITE, start, stop - start), whole[start:stop])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_fill_writes_only_its_view_strided_or_not(method):
    drawn, block = job(100_000, method), np.full((3, 40_000), -1.0)
    drawn.fill(SITE, 7, block[1])
    drawn.fill(SITE, 7, block[2, ::2])
    assert (block[0] == -1).all() and (block[2, 1::2] == -1).all()
    assert np.array_equal(block[2, ::2], block[1, :20_000])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("iterations", [1_000, 65_536])
def test_draws_are_uniform(method, iterations):
    """Dvoretzky–Kiefer–Wolfowitz with Massart's constant: false alarms below 1e-6 for independent draws, fewer for the others."""
    u = np.sort(job(iterations, method).uniforms(SITE, 0, iterations))
    bound = np.sqrt(np.log(2 / 1e-6) / (2 * iterations / 2))  # half as many independent ones under antithetic sampling
    assert u[0] > 0 and u[-1] < 1
    assert np.abs(u - (np.arange(iterations) + 0.5) / iterations).max() < bound


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_seeds_sites_and_replicates_differ(method):
    drawn = [tuple(job(64, method, seed).uniforms(site, 0, 64)) for seed in (1, 2) for site in SITES]
    drawn += [row[::-1] for row in drawn]
    assert len(set(drawn)) == len(drawn)
    assert len(set(drawn[0])) == 64


@given(seed=st.integers(0, 2**64 - 1), first=st.integers(0, 2**40), count=st.integers(0, 300))
@settings(max_examples=80, deadline=None)
def test_antithetic_pairs(seed, first, count):
    found = Job(seed, ITERATIONS, mc.Antithetic()).uniforms(SITE, first, count)
    for place, u in enumerate(found.tolist()):
        pair, is_odd = divmod(first + place, 2)
        own = uniforms(seed, SITE, pair, 1).item()
        assert u == (1 - own if is_odd else own)


@pytest.mark.parametrize(
    ("method", "iterations", "together"),
    [
        (mc.Random(), 10, 1),
        (mc.Antithetic(), 11, 2),
        (mc.LatinHypercube(), 10_000, 625),
        (mc.Sobol(), 1_048_576, 65_536),
        (mc.LatinHypercube(), 100_003, 100_003),  # a prime
        (mc.LatinHypercube(), 2 * 3 * 5 * 7 * 11, 2 * 5 * 11 * 3 * 7 // 15),
        (mc.LatinHypercube(10), 10_000, 1_000),
        (mc.Sobol(1), 7, 7),
        (mc.Sobol(7), 7, 1),
    ],
)
def test_iterations_that_form_a_replicate(method, iterations, together):
    assert method.together(iterations) == job(iterations, method).together == together


@pytest.mark.parametrize(
    ("replicates", "iterations", "says"),
    [
        (16, 1_000, r"iterations=1_000 do not form replicates=16 of one size; take iterations=992 or 1_008, or replicates=20$"),
        (20, 7, r"take iterations=20, or replicates=7$"),
        (5_000, 100_003, r"take iterations=100_000 or 105_000$"),
    ],
)
@pytest.mark.parametrize("kind", [mc.LatinHypercube, mc.Sobol])
def test_replicates_that_do_not_divide_are_refused(kind, replicates, iterations, says):
    with pytest.raises(mc.InputError, match=says):
        job(iterations, kind(replicates))


@pytest.mark.parametrize("replicates", [0, -1, 2.5, True, "16"])
def test_what_is_no_number_of_replicates(replicates):
    with pytest.raises(mc.InputError, match="replicates="):
        mc.LatinHypercube(replicates=replicates)


@pytest.mark.parametrize("method", [mc.LatinHypercube(), mc.Sobol()], ids=lambda method: method.name)
@pytest.mark.parametrize(("first", "count"), [(0, 101), (100, 1), (-1, 2), (0, -1)])
def test_iterations_that_the_run_does_not_have(method, first, count):
    with pytest.raises(mc.InputError, match=r"first=.*count="):
        job(100, method).uniforms(SITE, first, count)


def test_fill_checks_the_end_before_it_writes():
    out = np.full(2, -1.0)
    for method in (mc.LatinHypercube(), mc.Sobol()):
        with pytest.raises(mc.InputError, match="at most 100, the iterations of the run"):
            job(100, method).fill(SITE, 99, out)
    assert (out == -1).all()


def test_names():
    assert list(SAMPLINGS) == ["random", "antithetic", "latin_hypercube", "sobol"]
    assert all(sampling_of(name).name == name for name in SAMPLINGS)
    assert sampling_of("random") is RANDOM
    given_ = mc.Sobol(4)
    assert sampling_of(given_) is given_ and given_ == mc.Sobol(replicates=4) and hash(given_) == hash(mc.Sobol(4))
    assert given_ != mc.Sobol() and mc.LatinHypercube() != mc.Sobol()


@pytest.mark.parametrize(
    ("sampling", "says"),
    [
        ("Random", r"'Random' does not exist, did you mean 'random'\?; available: 'random', 'antithetic', 'latin_hypercube', 'sobol'"),
        ("latin hypercube", "did you mean 'latin_hypercube'"),
        (None, "sampling=None does not exist; available"),
        (mc.Sobol, "does not exist"),
    ],
)
def test_what_is_no_sampling(sampling, says):
    with pytest.raises(mc.InputError, match=says):
        sampling_of(sampling)


def test_a_job_is_pickled_compared_and_printed_without_what_it_caches():
    fresh, used = job(64, mc.Sobol()), job(64, mc.Sobol())
    used.uniforms(SITE, 0, 3)
    assert fresh == used and hash(fresh) == hash(used) and repr(fresh) == repr(used)
    assert pickle.dumps(fresh) == pickle.dumps(used)
    assert pickle.loads(pickle.dumps(used)) == used
    assert attrs.evolve(used, sites=SITES[3:]).dimension(SITE) == 0


def test_dimensions_follow_the_address_and_each_site_has_one():
    shuffled = (SITES[4], Site("Model", 1, 1, 1), *SITES[::-1], Site("Assets", 9, 9), SITES[4])
    found = Job(1, 4, mc.Sobol(), shuffled)
    assert [found.dimension(site) for site in (Site("Assets", 9, 9), SITES[0], Site("Model", 1, 1, 1), *SITES[1:])] == list(range(8))
    with pytest.raises(mc.InputError, match="is not among the 10 call sites"):
        found.uniforms(Site("Model", 7, 7), 0, 1)


def test_a_program_knows_its_sites():
    builder = Builder()
    builder.cell = RangeRef("Model", 1, 1, 2, 2)
    block = builder.append("uniform", site=Site("Model", 3, 2), shape=(2, 2, 1, 1))
    single = builder.append("uniform", site=Site("Model", 9, 9, 1), shape=(1, 1, 1, 1))
    slot = Slot("u", builder.cell, builder.append("as_array", builder.append("add", block, single)), 0, 1)
    expected = [Site("Model", 3, 2), Site("Model", 3, 3), Site("Model", 4, 2), Site("Model", 4, 3), Site("Model", 9, 9, 1)]
    assert list(Program(tuple(builder.instructions), (slot,), ()).sites()) == expected


class TestRuns:
    @pytest.fixture(scope="class")
    @staticmethod
    def simulation():
        model = workbook({"A1": 1, "A2": 2, "B1": "=A1+A2+RAND()", "C1": 5})
        inputs = {"A1": mc.Uniform(0, 1), "A2": mc.Normal(0, 1), "C1": 4}
        return mc.Simulation(model, inputs=inputs, outputs=["B1"])

    @pytest.mark.parametrize("method", ["random", "antithetic", "latin_hypercube", "sobol", mc.LatinHypercube(10), mc.Sobol(1)])
    def test_inputs_are_what_draws_promises(self, simulation, method):
        result = simulation.run(640, seed=3, sampling=method, check="off")
        assert result.sampling == sampling_of(method).name
        for cell in ("A1", "A2"):
            found = simulation.draws(cell, first=3, count=600, seed=3, sampling=method, iterations=640)
            np.testing.assert_array_equal(found, result.inputs[cell].samples[3:603])
        drawn = Job(3, 640, sampling_of(method), simulation.compiled.program.sites())
        in_sheet = result["B1"].samples - result.inputs["A1"].samples - result.inputs["A2"].samples
        np.testing.assert_allclose(in_sheet, drawn.uniforms(Site("Model", 1, 2), 0, 640), atol=1e-14)

    @pytest.mark.parametrize("chunk", [1, 7, 100])
    @pytest.mark.parametrize("method", ["antithetic", "latin_hypercube", "sobol"])
    def test_chunks_do_not_matter(self, simulation, method, chunk):
        whole, parts = (simulation.run(160, seed=3, sampling=method, check="off", chunk=size)["B1"].samples for size in (160, chunk))
        np.testing.assert_array_equal(whole, parts)

    @pytest.mark.parametrize("method", ["latin_hypercube", "sobol"])
    def test_draws_need_the_length_of_the_run(self, simulation, method):
        with pytest.raises(mc.InputError, match=f"{method} draws depend on the length of the run.*iterations="):
            simulation.draws("A1", count=5, seed=1, sampling=method)
        assert len(simulation.draws("A1", first=2**40, count=5, seed=1, sampling="antithetic")) == 5

    @pytest.mark.parametrize(
        ("method", "iterations", "says"),
        [
            ("random", 10, ()),
            ("antithetic", 10, ()),
            ("latin_hypercube", 160, ()),
            ("sobol", 256, ()),
            ("latin_hypercube", 101, ("one replicate, so nothing tells.*that 16 divides",)),
            (mc.LatinHypercube(1), 160, ("one replicate.*ask for 2 replicates or more",)),
            ("sobol", 160, ("power of two, not 10 iterations; 128 or 256 iterations would be",)),
            (mc.Sobol(1), 100, ("one replicate", "not 100 iterations; 64 or 128")),
        ],
    )
    def test_a_result_says_what_must_be_said(self, simulation, method, iterations, says):
        result = simulation.run(iterations, seed=3, sampling=method, check="off")
        said = [text for text in result.warnings if "sampling" in text]
        assert len(said) == len(says)
        for text, pattern in zip(said, says, strict=True):
            assert re.search(pattern, text)
