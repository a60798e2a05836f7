"""Runs in constant memory, against the runs of the same seed that keep their samples."""

import math
import subprocess
import sys
import threading
from functools import cache

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from workbooks import workbook

import ultramc as mc
from ultramc import keeping
from ultramc.address import CellRef, RangeRef
from ultramc.digest import STRETCH, Digested
from ultramc.engines import registry
from ultramc.engines.base import Chunk, Job
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.errors import InputError, MemoryLimitExceeded, RunError, SamplesNotKept, SimulationCancelled
from ultramc.keeping import Facts, Samples, Summary
from ultramc.program import Program, Slot
from ultramc.sampling import LatinHypercube, sampling_of
from ultramc.values import ExcelError, Kind
from ultramc.workbook import Workbook

DIV0, NUM = ExcelError.DIV0.kind, ExcelError.NUM.kind
LONG = 3 * STRETCH + 5_000  # a stretch that is not whole at the end, and a block that is not
BOOK = Workbook(workbook({"A1": 1}))
MOMENTS = ("mean", "std", "variance", "skewness", "kurtosis")
QUANTILES = (0, 0.0001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.9999, 1)


def drawn(count=LONG, seed=5):
    return np.random.default_rng(seed)


LAWS = {
    "normal": lambda g, n: g.normal(3, 2, n),
    "far": lambda g, n: 1e9 + g.normal(0, 1, n),
    "heavy": lambda g, n: g.standard_cauchy(n),
    "skewed": lambda g, n: np.exp(2 * g.normal(size=n)),
    "discrete": lambda g, n: g.poisson(3, n).astype(float),
    "many values": lambda g, n: g.poisson(1e6, n).astype(float),
    "constant": lambda g, n: np.full(n, 0.1),
    "zeros": lambda g, n: np.zeros(n),
    "two values": lambda g, n: np.where(g.uniform(size=n) < 0.001, 7.5, -7.5),
    "negative": lambda g, n: -g.uniform(1, 2, n),
    "huge": lambda g, n: 1e300 * g.normal(size=n),
    "tiny": lambda g, n: 1e-300 * g.normal(size=n),
    "trend": lambda g, n: np.linspace(-5, 5, n),
}


def received(keeping_of, payload, tags=None, sampling="random", cuts=()):
    """What becomes of these values, in chunks that end at `cuts`."""
    n = len(payload)
    slot = Slot("x", RangeRef.of(CellRef("Model", 1, 1)), 0, 0 if tags is None else None, 1 if tags is None else 0xFFFF)
    keeping = keeping_of(Facts(Program((), (slot,), ("up", "down")), BOOK, Job(1, n, sampling_of(sampling))), 0)
    for first, end in zip((0, *cuts), (*cuts, n), strict=True):
        place = slice(first, end)
        keeping.receive(Chunk(first, end - first, (payload[None, place],), (None if tags is None else tags[None, place],)))
    return mc.results.Output(keeping.columns()["x"])


def both(payload, tags=None, **options):
    return received(Samples, payload.copy(), tags, **options), received(Summary, payload, tags, **options)


@cache
def of_law(name, sampling="random", with_errors=False):
    generator = np.random.default_rng(5)
    payload, tags = LAWS[name](generator, LONG - LONG % 16), None
    if with_errors:
        tags = np.zeros(len(payload), np.uint8)
        tags[generator.uniform(size=len(tags)) < 0.02] = DIV0
        tags[70_000:80_000] = NUM
    return both(payload, tags, sampling=sampling)


LAW = pytest.mark.parametrize("law", LAWS)
ERRORS = pytest.mark.parametrize("with_errors", [False, True], ids=["all valid", "some errors"])
SAMPLING = pytest.mark.parametrize("sampling", ["random", "antithetic", "latin_hypercube"])


def close(found, want, rtol, scale=0.0):
    if want is None or found is None or math.isnan(want):
        return found is want or (found is not None and want is not None and math.isnan(found))
    return found == want or abs(found - want) <= rtol * max(abs(want), scale)


@ERRORS
@LAW
def test_moments_are_those_of_the_samples(law, with_errors):
    kept, found = of_law(law, with_errors=with_errors)
    for name in MOMENTS:
        want, got = getattr(kept, name), getattr(found, name)
        scale = float(kept.std) if name == "mean" else 1.0 if name == "skewness" else 0.0
        assert close(got, want, 1e-6 if law == "far" else 1e-11, scale), name
        assert close(got.standard_error, want.standard_error, 1e-6), name
        assert (got.confidence_interval is None) == (want.confidence_interval is None), name
        if want.confidence_interval is not None:
            assert np.allclose(got.confidence_interval, want.confidence_interval, rtol=1e-6, atol=1e-6 * scale), name


def test_the_mean_is_that_of_the_samples_to_1e_12():
    for law in ("normal", "skewed", "discrete", "negative", "huge"):
        kept, found = of_law(law)
        assert close(found.mean, math.fsum(kept.values / 2**10) * 2**10 / len(kept.values), 1e-12, float(kept.std))


@ERRORS
@LAW
def test_extremes_and_counts_are_exact(law, with_errors):
    kept, found = of_law(law, with_errors=with_errors)
    assert (found.minimum, found.maximum, found.iterations) == (kept.minimum, kept.maximum, kept.iterations)
    assert found.excluded == kept.excluded and found.errors == kept.errors and found.exclusion == kept.exclusion
    digest = found.column.digests[0]
    assert digest.count == len(kept.values)
    assert digest.extremes == (int(np.nanargmin(kept.samples)), int(np.nanargmax(kept.samples)))
    assert (found.first_error is None) == (not with_errors)
    if with_errors:
        assert found.first_error == kept.first_error


@ERRORS
@LAW
def test_quantiles_lie_in_the_bin_of_the_true_one(law, with_errors):
    kept, found = of_law(law, with_errors=with_errors)
    edges = np.unique([kept.minimum, *found.column.digests[0].bins.edges, kept.maximum])
    for q in QUANTILES:
        want, got = float(kept.quantile(q)), float(found.quantile(q))
        low, high = edges[max(np.searchsorted(edges, want, "right") - 2, 0)], edges[min(np.searchsorted(edges, want) + 1, len(edges) - 1)]
        assert low <= got <= high
        inner, outer = kept.quantile(q).interval(0.95), found.quantile(q).interval(0.95)
        assert outer[0] <= inner[0] and inner[1] <= outer[1]


@pytest.mark.parametrize("law", ["discrete", "two values", "constant", "zeros"])
def test_quantiles_of_few_values_are_exact(law):
    kept, found = of_law(law)
    assert [found.quantile(q) for q in QUANTILES] == [kept.quantile(q) for q in QUANTILES]
    for x in (*np.unique(kept.values), 0.05, 1.5):
        assert found.probability_below(x) == kept.probability_below(x)


@LAW
def test_far_tails_are_exact(law):
    kept, found = of_law(law)
    for q in (1e-5, 1e-3, 0.999, 1 - 1e-5):
        assert found.quantile(q) == kept.quantile(q)


@LAW
def test_shares_lie_within_a_bin(law):
    kept, found = of_law(law)
    for x in (float(kept.quantile(q)) for q in QUANTILES):
        for name in ("probability_below", "probability_above"):
            want, got = getattr(kept, name)(x), getattr(found, name)(x)
            digest = found.column.digests[0]
            assert abs(got - want) <= digest.counts[0, 0::2].max() / digest.count
            assert got.interval()[0] <= want.interval()[0] + 1e-12 and want.interval()[1] <= got.interval()[1] + 1e-12


@ERRORS
@LAW
@pytest.mark.parametrize("tail", ["lower", "upper"])
def test_the_tail_is_that_of_the_samples(law, tail, with_errors):
    kept, found = of_law(law, with_errors=with_errors)
    for level in (0, 0.5, 0.9, 0.99, 0.9999, 0.999999):
        want, got = kept.cvar(level, tail=tail), found.cvar(level, tail=tail)
        rounding = 1e-11 * max(abs(float(want)), float(kept.std))
        low, high = got.interval(1e-9) or (got, got)
        assert low - rounding <= want <= high + rounding
        if law != "trend":  # whose first iterations lay bins that say little of the others
            assert abs(got - want) <= rounding + 1e-4 * float(kept.std)
            assert close(got.standard_error, want.standard_error, 5e-3, 1e-6 * float(kept.std))


@pytest.mark.parametrize(
    "sampling", ["antithetic", LatinHypercube(replicates=8), LatinHypercube(replicates=1), LatinHypercube(replicates=400)]
)
def test_standard_errors_of_replicates_come_from_groups_of_them(sampling):
    """At most 16 groups: those of eight replicates are the replicates themselves."""
    n = 400 * 512
    values = np.random.default_rng(1).normal(size=n).cumsum() / 100
    kept, found = both(values, sampling=sampling)
    together = Job(1, n, sampling_of(sampling)).together
    groups = np.array_split(values, n // (-(-n // together // -16) * -1 * together) if n // together > 16 else n // together)
    if len(groups) == 1:
        assert found.mean.standard_error is None and found.quantile(0.5).confidence_interval is None
        return
    totals = [float((each - values.mean()).sum()) for each in groups]
    want = math.sqrt(sum(total**2 for total in totals) * len(groups) / (len(groups) - 1)) / n
    assert found.mean.standard_error == pytest.approx(want, rel=1e-9)
    if len(groups) == 8:
        for name in MOMENTS:
            assert getattr(found, name).standard_error == pytest.approx(getattr(kept, name).standard_error, rel=1e-8)
        assert found.probability_below(1).standard_error == pytest.approx(kept.probability_below(1).standard_error, rel=1e-2)
        assert found.quantile(0.3).standard_error == pytest.approx(kept.quantile(0.3).standard_error, rel=5e-2)
        assert found.cvar(0.9, tail="lower").standard_error == pytest.approx(kept.cvar(0.9, tail="lower").standard_error, rel=1e-2)


@LAW
def test_histograms_hold_every_value_once(law):
    kept, found = of_law(law)
    for bins in ("auto", 1, 7, 100):
        (want, edges), (counts, our_edges) = kept.histogram(bins), found.histogram(bins)
        assert counts.sum() == len(kept.values) and (counts >= 0).all()
        if law != "huge" and len(edges) == len(our_edges) and np.allclose(edges, our_edges):
            assert np.abs(counts - want).max() <= 2 * found.column.digests[0].counts[0, 0::2].max()


def test_against_scipy():
    values = np.random.default_rng(3).gamma(2, 3, LONG)
    found = received(Summary, values)
    weight = 0.05 * LONG
    tail = np.sort(values)[-int(weight) - 1 :]
    assert found.mean == pytest.approx(np.mean(values), rel=1e-13)
    assert found.std == pytest.approx(np.std(values, ddof=1), rel=1e-13)
    assert found.skewness == pytest.approx(scipy.stats.skew(values), rel=1e-12)
    assert found.kurtosis == pytest.approx(scipy.stats.kurtosis(values), rel=1e-12)
    assert found.cvar(0.95, tail="upper") == pytest.approx((tail[1:].sum() + (weight - len(tail) + 1) * tail[0]) / weight, rel=1e-6)


def test_moments_in_closed_form():
    """0 … n − 1: mean (n − 1) / 2, variance over n (n² − 1) / 12, excess kurtosis −6 (n² + 1) / 5 (n² − 1)."""
    n = 2 * STRETCH + 2 * 4_096 + 123  # three blocks at the end
    found = received(Summary, np.arange(n, dtype=float))
    assert found.mean == (n - 1) / 2
    assert found.variance == pytest.approx((n * n - 1) / 12 * n / (n - 1), rel=1e-13)
    assert found.kurtosis == pytest.approx(-6 * (n * n + 1) / (5 * (n * n - 1)), rel=1e-13)
    assert abs(found.skewness) < 1e-13


# The same bits


def bits(variable):
    digest = variable.column.digests[0]
    moments = digest.moments
    arrays = (digest.counts, digest.sums, digest.squares, digest.lowest, digest.highest, digest.bins.edges)
    return [array.tobytes() for array in (*arrays, moments.exponent, moments.mean, moments.sums)] + [
        digest.kinds,
        digest.extremes,
        digest.failure,
    ]


@cache
def mixed():
    generator = np.random.default_rng(9)
    payload, tags = generator.standard_cauchy(LONG - LONG % 16), np.zeros(LONG - LONG % 16, np.uint8)
    tags[generator.uniform(size=len(tags)) < 0.01] = DIV0
    tags[generator.uniform(size=len(tags)) < 0.01] = Kind.BLANK
    return payload, tags


@SAMPLING
def test_chunks_cannot_change_a_bit(sampling):
    payload, tags = mixed()
    want = bits(received(Summary, payload, tags, sampling))

    @settings(max_examples=10)
    @given(st.lists(st.integers(1, len(payload) - 1), unique=True, max_size=12).map(sorted))
    def check(cuts):
        assert bits(received(Summary, payload, tags, sampling, tuple(cuts))) == want

    check()
    for size in (7, 4_096, 5_000):
        assert bits(received(Summary, payload, tags, sampling, tuple(range(size, len(payload), size)))) == want


def model(**options):
    cells = {"A1": 1, "A2": 2, "B1": "=A1*A2+EXP(A1/3)", "B2": "=IF(A1>2.5,1/0,A2)", "B3": '=IF(A1>0,"up","down")', "B4": "=ROUND(A1,0)"}
    return mc.Simulation(
        workbook(cells), inputs={"A1": mc.Normal(0, 1), "A2": mc.LogNormal(1, 2)}, outputs=["B1", "B2", "B3", "B4"], **options
    )


THREADED = [info.name for info in registry.available_engines() if info.available and info.name in ("numpy", "native", "jax")]


@pytest.mark.parametrize("engine", THREADED)
def test_runs_on_engines(engine):
    sim = model()
    kept, found = (sim.run(200_000, seed=4, engine=engine, keep=keep) for keep in ("samples", "summary"))
    for label, cell in found.outputs.flat():
        want = kept[label]
        assert close(cell.mean, want.mean, 1e-12, float(want.std)) and cell.errors == want.errors and cell.categories == want.categories
        assert cell.first_error == want.first_error
    assert found.inputs["A2"].maximum == kept.inputs["A2"].maximum
    assert (found.keep, kept.keep) == ("summary", "samples")
    other = type(registry.made(engine))
    for threads, chunk in ((1, 7_777), (2, 5_000), (2, None)):
        again = sim.run(200_000, seed=4, engine=other(threads=threads), keep="summary", chunk=chunk)
        assert all(bits(again[label]) == bits(cell) for label, cell in found.outputs.flat())


def test_one_iteration_at_a_time():
    sim = model()
    runs = [sim.run(300, seed=4, keep="summary", chunk=chunk, engine="numpy") for chunk in (1, None)]
    assert bits(runs[0]["B1"]) == bits(runs[1]["B1"])


# What a result does without samples


@pytest.fixture(scope="module")
def result():
    return model().run(100_000, seed=4, keep="summary", engine="numpy")


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: r["B1"].samples,
        lambda r: r["B1"].values,
        lambda r: r["B1"].ordered,
        lambda r: r.tornado("B1"),
        lambda r: r.to_frame(),
        lambda r: mc.compare(r, r),
    ],
)
def test_what_needs_samples_is_refused(result, ask):
    with pytest.raises(SamplesNotKept, match='run with keep="samples"'):
        ask(result)


@pytest.mark.parametrize("kind", ["histogram", "cdf"])
def test_pictures_are_those_of_the_samples(result, kind):
    kept = model().run(100_000, seed=4, engine="numpy")
    (drawn, wanted) = (heights(each["B1"].plot(kind), kind) for each in (result, kept))
    assert np.interp(wanted[0], *drawn) == pytest.approx(wanted[1], abs=0.5)  # percent


def heights(figure, kind):
    """Where, and how high, in percent."""
    (axes,) = figure.axes
    if kind == "cdf":
        return [np.asarray(each, float) for each in axes.lines[0].get_data()]
    values, edges, _ = axes.patches[0].get_data()
    return [(edges[:-1] + edges[1:]) / 2, np.asarray(values)]


def test_reprs_and_json(result):
    kept = model().run(100_000, seed=4, engine="numpy")
    lines, want = (repr(each).splitlines() for each in (result, kept))
    assert [line.split()[:4] for line in lines[2:4]] == [line.split()[:4] for line in want[2:4]]
    assert lines[6:] == want[6:]
    assert repr(result["B1"]).splitlines()[2] == repr(kept["B1"]).splitlines()[2]
    assert result.summary()["outputs"]["B2"]["errors"] == kept.summary()["outputs"]["B2"]["errors"]


@pytest.mark.parametrize("sampling", ["random", "antithetic"])
def test_saved_and_loaded(tmp_path, sampling):
    result = model().run(100_000, seed=4, keep="summary", engine="numpy", sampling=sampling)
    result.save(tmp_path / "run.npz")
    loaded = mc.load(tmp_path / "run.npz")
    assert repr(loaded) == repr(result) and loaded.to_json() == result.to_json()
    assert all(bits(loaded[label]) == bits(cell) for label, cell in result.outputs.flat())
    assert loaded["B2"].first_error == result["B2"].first_error


def test_an_error_stops_the_run_where_it_is_asked_to():
    with pytest.raises(RunError, match=r"B2 is #DIV/0! in iteration") as raised:
        model().run(100_000, seed=4, keep="summary", on_error="raise")
    assert raised.value.run.iterations > 0 and raised.value.run["B1"].iterations == raised.value.run.iterations


def test_an_output_that_is_always_an_error_fails_the_run():
    sim = mc.Simulation(workbook({"A1": 1, "B1": "=A1/0"}), inputs={"A1": mc.Normal(0, 1)}, outputs="B1")
    with pytest.raises(RunError, match="error in every one of 1,000"):
        sim.run(1_000, seed=1, keep="summary")


@pytest.mark.parametrize("least", [20_000, 90_000])
def test_a_cancelled_run_hands_over_what_it_digested(least):
    token = mc.CancelToken()

    def cancel(event):
        if event.done >= least:
            token.cancel()

    with pytest.raises(SimulationCancelled) as raised:
        model().run(10_000_000, seed=4, keep="summary", chunk=10_000, progress=cancel, cancel=token, interval=0)
    done = raised.value.result.iterations
    assert raised.value.result["B1"].iterations == done >= least
    want = model().run(done, seed=4)["B1"]
    assert raised.value.result["B1"].mean == pytest.approx(want.mean, rel=1e-12)


def test_other_words_are_refused():
    with pytest.raises(InputError, match="keep"):
        model().run(100, keep="nothing")


def test_threads_that_digest_change_no_bit(monkeypatch):
    found = []
    for threads in (1, 5):
        monkeypatch.setattr(keeping, "_threads", lambda threads=threads: threads)
        result = model().run(200_000, seed=4, engine="numpy", keep="summary", sampling="antithetic")
        found.append([bits(cell) for _, cell in (*result.outputs.flat(), *result.inputs.flat())])
    assert found[0] == found[1]
    assert not any(thread.name.startswith("ultramc digest") for thread in threading.enumerate())


def test_memory_is_counted_and_does_not_grow():
    sim = model()
    slots = sim.compiled.program.outputs
    counted = [Summary.bytes(slots, Job(1, n)) for n in (10**6, 10**9)]
    assert counted[0] == counted[1] < 56 * 2**20 + keeping._threads() * keeping.WORKING
    with pytest.raises(MemoryLimitExceeded, match='keep="summary"'):
        sim.run(10**9, memory_limit="1GB")
    with pytest.raises(MemoryLimitExceeded, match="keeping the summary"):
        sim.run(10**6, keep="summary", memory_limit="1MB")


PEAK = """
import resource, sys
sys.path.insert(0, {tests!r})
from test_keeping import model
model().run(int(sys.argv[1]), seed=4, keep="summary", engine="numpy", chunk=16_384)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_of_a_long_run_is_that_of_a_short_one(repository):
    """Six cells of 10⁷ iterations would be 480 MB."""
    script = PEAK.format(tests=str(repository / "tests" / "unit"))
    peaks = [int(subprocess.check_output([sys.executable, "-c", script, str(n)], cwd=repository)) for n in (10**5, 10**7)]
    assert peaks[1] - peaks[0] < 20_000  # KiB


def test_a_digest_answers_nothing_of_nothing():
    tags = np.full(100, DIV0, np.uint8)
    found = received(Summary, np.zeros(100), tags)
    assert isinstance(found.statistics, Digested)
    assert all(math.isnan(getattr(found, name)) for name in (*MOMENTS, "minimum", "maximum", "median"))
    assert math.isnan(found.probability_below(0)) and math.isnan(found.cvar(0.9, tail="lower"))
    with pytest.raises(InputError, match="no histogram"):
        found.histogram()
    assert found.errors == {"#DIV/0!": 100} and "excluded" in repr(found)


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_few_iterations(n):
    values = np.random.default_rng(n).normal(size=n)
    kept, found = both(values)
    for name in (*MOMENTS, "minimum", "maximum", "median"):
        assert close(getattr(found, name), getattr(kept, name), 1e-12, 1e-12), name
        assert close(getattr(found, name).standard_error, getattr(kept, name).standard_error, 1e-9, 1e-3), name


def test_in_the_background_and_on_an_event_loop():
    import asyncio

    async def streamed():
        events = model().stream(50_000, seed=4, keep="summary", engine="numpy")
        async for _ in events:
            pass
        return events.result()

    want = bits(model().run(50_000, seed=4, keep="summary", engine="numpy")["B1"])
    found = (
        model().start(50_000, seed=4, keep="summary", engine="numpy").result(),
        asyncio.run(model().run_async(50_000, seed=4, keep="summary", engine="numpy")),
        asyncio.run(streamed()),
    )
    assert all(bits(result["B1"]) == want for result in found)


class NotANumber(NumPyEngine):
    """Gives NaN as a number, late."""

    def run(self, executable, job, first, count):
        chunk = super().run(executable, job, first, count)
        if first >= 20_000:
            chunk.payloads[0][0, 3] = math.nan
        return chunk


def test_a_number_that_is_none_is_refused():
    with pytest.raises(mc.EngineValidationError, match="it gave nan as a number in iteration"):
        model().run(50_000, seed=4, keep="summary", engine=NotANumber(), chunk=10_000)


class WrongForLong(NumPyEngine):
    """Is not to be trusted after a while."""

    strata = 4

    def run(self, executable, job, first, count):
        chunk = super().run(executable, job, first, count)
        if first >= 190_000:
            chunk.payloads[0][...] += 1
        return chunk


def test_strata_are_looked_at():
    with pytest.raises(mc.EngineValidationError, match=r" on numpy and .* on NumPy in iteration 199"):
        model().run(200_000, seed=4, keep="summary", engine=WrongForLong(), chunk=10_000)
