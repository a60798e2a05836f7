"""Published results, every law under every sampling method, and quantiles to 17 digits.

False alarms: a printed number is missed by four standard errors in 6e-5 of all seeds, an end of a shortest interval (50 batches,
Student's t) in 2e-4, so that the seventy together fail in at most 0.7 %; a law of `DRAWN` in 1e-6. All seeds are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from accuracy_table import CASES, compared, exact_quantiles, half_unit, published_table, quantile_table, worst_quantile
from scipy import stats

import ultramc as mc
from ultramc.distributions import DISTRIBUTIONS
from ultramc.sampling import SAMPLINGS, Job, Site

# Published results


@pytest.mark.parametrize("case", CASES, ids=[case.source for case in CASES])
def test_published_results(case):
    assert [each for each in compared(case) if not each.agrees] == []


@pytest.mark.parametrize(("printed", "half"), [("0.071", 0.0005), ("2551", 0.5), ("0.00", 0.005), ("1.7268E-5", 5e-10), ("-17.0", 0.05)])
def test_half_a_unit_of_the_last_printed_digit(printed, half):
    assert half_unit(printed) == pytest.approx(half, rel=1e-15)


# Laws and sampling methods

REPLICATES, TOGETHER = 16, 1024  # the default number of replicates; a power of two, so that Sobol points are balanced
COUNT = REPLICATES * TOGETHER
ALPHA = 1e-6
SEED = 20_260_101


def truncated(law, minimum: float, maximum: float) -> Callable[[np.ndarray], np.ndarray]:
    below, above = law.cdf(minimum), law.cdf(maximum)
    return lambda x: (np.clip(law.cdf(x), below, above) - below) / (above - below)


def triangular(minimum: float, mode: float, maximum: float):
    return stats.triang((mode - minimum) / (maximum - minimum), minimum, maximum - minimum)


def histogram(masses: list[float], edges: list[float]):
    return stats.rv_histogram((np.array(masses), np.array(edges)), density=False)


SIGMA = math.sqrt(math.log(1.01))  # of the logarithm, where the standard deviation is a tenth of the mean
GAMMA = stats.gamma(2.5, scale=4)
DRAWN = [  # discrete laws have whole numbers only
    (mc.Normal(100, 10), stats.norm(100, 10).cdf),
    (mc.LogNormal(100, 10), stats.lognorm(SIGMA, scale=100 / math.sqrt(1.01)).cdf),
    (mc.Triangular(90, 100, 130), triangular(90, 100, 130).cdf),
    (mc.PERT(90, 100, 130), stats.beta(2, 4, 90, 40).cdf),
    (mc.ModPERT(-3, 1, 5, 6), stats.beta(4, 4, -3, 8).cdf),
    (mc.Uniform(-2, 7), stats.uniform(-2, 9).cdf),
    (mc.Beta(0.5, 40), stats.beta(0.5, 40).cdf),
    (mc.Gamma(2.5, 4), GAMMA.cdf),
    (mc.Erlang(3, 2), stats.erlang(3, scale=2).cdf),
    (mc.ChiSquared(5), stats.chi2(5).cdf),
    (mc.Exponential(4), stats.expon(scale=4).cdf),
    (mc.Weibull(0.8, 3), stats.weibull_min(0.8, scale=3).cdf),
    (mc.Rayleigh(3), stats.rayleigh(scale=3).cdf),
    (mc.Logistic(100, 3), stats.logistic(100, 3).cdf),
    (mc.LogLogistic(-7, 2, 5), stats.fisk(5, -7, 2).cdf),
    (mc.Pareto(2, 5.5), stats.pareto(5.5, scale=2).cdf),
    (mc.Gumbel(100, 3), stats.gumbel_r(100, 3).cdf),
    (mc.StudentT(5), stats.t(5).cdf),
    (mc.StudentT(1000), stats.t(1000).cdf),
    (mc.Discrete([5, 1, 2], [0.5, 0.2, 0.3]), stats.rv_discrete(values=([1, 2, 5], [0.2, 0.3, 0.5])).cdf),
    (mc.DiscreteUniform([7, 1, 4, 1]), stats.rv_discrete(values=([1, 4, 7], [0.5, 0.25, 0.25])).cdf),
    (mc.IntUniform(-2, 5), stats.randint(-2, 6).cdf),
    (mc.Bernoulli(0.3), stats.bernoulli(0.3).cdf),
    (mc.Binomial(10, 0.3), stats.binom(10, 0.3).cdf),
    (mc.Poisson(4.2), stats.poisson(4.2).cdf),
    (mc.Geometric(0.3), stats.geom(0.3, -1).cdf),
    (mc.NegativeBinomial(3.5, 0.4), stats.nbinom(3.5, 0.4).cdf),
    (mc.Hypergeometric(20, 30, 70), stats.hypergeom(70, 30, 20).cdf),
    (mc.Cumulative(0, 10, [2, 6], [0.25, 0.5]), histogram([0.25, 0.25, 0.5], [0, 2, 6, 10]).cdf),
    (mc.General(0, 3, [1, 2], [2, 2]), stats.trapezoid(1 / 3, 2 / 3, 0, 3).cdf),
    (mc.Histogram(-1, 5, [1, 0, 4]), histogram([0.2, 0, 0.8], [-1, 1, 3, 5]).cdf),
    (mc.Empirical([7, 1, 4, 5]), histogram([1, 1, 1], [1, 4, 5, 7]).cdf),
    (mc.Normal(0, 1).truncated(1), stats.truncnorm(1, math.inf).cdf),
    (mc.Normal(0, 1).truncated_at_quantiles(0.1, 0.9), truncated(stats.norm, *stats.norm.ppf([0.1, 0.9]))),
    (mc.Gamma(2.5, 4).truncated(2, 30), truncated(GAMMA, 2, 30)),
    (mc.Gamma(2.5, 4).shifted(-20), stats.gamma(2.5, -20, 4).cdf),
    (mc.StudentT(5).scaled(-3), stats.t(5, scale=3).cdf),
    (mc.Poisson(4.2).truncated(2, 6), truncated(stats.poisson(4.2), 1, 6)),  # from 2 on is above 1
]
SITES = tuple(Site("Laws", row, 1) for row in range(1, len(DRAWN) + 1))

ROWS = [pytest.param(site, law, cdf, id=repr(law)[:60]) for site, (law, cdf) in zip(SITES, DRAWN, strict=True)]
each_law = pytest.mark.parametrize(("site", "law", "cdf"), ROWS)


def test_every_law_is_drawn():
    assert {type(law).__name__ for law, _ in DRAWN} >= set(DISTRIBUTIONS)


def draws(site: Site, law: mc.Distribution, method: str) -> np.ndarray:
    """Shape (replicates, together)."""
    job = Job(SEED, COUNT, SAMPLINGS[method], SITES)
    return law.quantile(job.uniforms(site, 0, COUNT)).reshape(REPLICATES, TOGETHER)


def distance(sample: np.ndarray, law: mc.Distribution, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """sup |F_n - F|: largest where F_n steps, or just before."""
    values, counts = np.unique(sample, return_counts=True)
    reached = np.cumsum(counts) / sample.size
    before = cdf(values - 1) if law.discrete else cdf(values)
    return max(np.abs(reached - cdf(values)).max(), np.abs(reached - counts / sample.size - before).max())


def most(independent: int) -> float:
    """Exceeded by sup |F_n - F| with probability ALPHA at most (Massart, Ann. Probab. 18, 1990)."""
    return math.sqrt(math.log(2 / ALPHA) / (2 * independent))


@each_law
def test_random_draws_follow_the_law(site, law, cdf):
    assert distance(draws(site, law, "random"), law, cdf) <= most(COUNT)


@each_law
def test_antithetic_draws_follow_the_law(site, law, cdf):
    """The first of each pair are COUNT / 2 independent draws; the second are as far from the law as they, and the mean is no farther."""
    assert distance(draws(site, law, "antithetic"), law, cdf) <= most(COUNT // 2)


@pytest.mark.parametrize("method", ["latin_hypercube", "sobol"])
@each_law
def test_every_replicate_of_a_stratified_sample_is_within_one_stratum_of_the_law(site, law, cdf, method):
    """Each of the m strata holds one draw, so k of m lie below the k-th boundary: no chance is left."""
    replicates = draws(site, law, method)
    assert max(distance(replicate, law, cdf) for replicate in replicates) <= 1 / TOGETHER + 1e-9
    assert distance(replicates, law, cdf) <= 1 / TOGETHER + 1e-9


def test_the_distance_sees_a_wrong_law():
    """A hundredth of the standard deviation aside, and one draw of a stratum too many."""
    site, law = SITES[0], mc.Normal(100, 10)
    assert distance(draws(site, law, "latin_hypercube"), law, stats.norm(100.1, 10).cdf) > 1 / TOGETHER + 1e-9
    assert distance(draws(site, law, "random"), law, stats.norm(101, 10).cdf) > most(COUNT)
    doubled = np.where(np.arange(TOGETHER) == 0, 150.0, draws(site, law, "sobol")[0])
    assert distance(doubled, law, stats.norm(100, 10).cdf) > 1 / TOGETHER + 1e-9


# Quantiles

EXACT = exact_quantiles()


@pytest.mark.parametrize("law", EXACT)
def test_quantiles_to_twelve_digits(law):
    """From u = 2^-53 to 1 - 2^-53, by mpmath."""
    assert worst_quantile(law, EXACT[law]).relative_error <= 1e-12


def test_every_continuous_law_has_exact_quantiles():
    continuous = {name for name, law in DISTRIBUTIONS.items() if not law.discrete}
    assert {law.partition("(")[0] for law in EXACT} == continuous
    assert all(points[0][0] == 2.0**-53 and points[-1][0] == 1 - 2.0**-53 for points in EXACT.values())


def test_the_tables_are_markdown(monkeypatch):
    monkeypatch.setattr("accuracy_table.CASES", CASES[:1])
    for table, rows in ((published_table(), len(CASES[0].printed)), (quantile_table(), len(EXACT))):
        lines = table.splitlines()
        assert len(lines) == rows + 2 and len({line.count("|") for line in lines}) == 1
