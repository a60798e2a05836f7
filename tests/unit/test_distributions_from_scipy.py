"""Frozen distributions of SciPy as laws. The oracles are SciPy's own methods and, where they lose digits, incomplete functions."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys

import numpy as np
import openpyxl
import pytest
import scipy.stats
from scipy import special

import ultramc as mc
from ultramc.distributions import FromSciPy, Gamma, Normal
from ultramc.errors import InputError
from ultramc.sampling import Site, uniforms

TAIL = np.array([1, 3, 2**10 + 1, 2**23 + 1, 2**33 + 1, 2**43 + 1, 2**49 + 1, 2**51 + 1, 2**52 - 1]) * 2.0**-53

SMOOTH = [
    scipy.stats.gamma(2),
    scipy.stats.gamma(0.4, loc=3, scale=2),
    scipy.stats.beta(2, 3),
    scipy.stats.beta(a=0.7, b=4, loc=-1, scale=5),
    scipy.stats.invgauss(1.2, loc=1, scale=2),
    scipy.stats.genextreme(-0.1),
    scipy.stats.genextreme(0.2, loc=4, scale=0.5),
    scipy.stats.weibull_min(1.5, loc=2, scale=3),
    scipy.stats.norm(3, 2),
    scipy.stats.lognorm(0.5),
    scipy.stats.johnsonsu(1, 2),
    scipy.stats.genpareto(0.2),
    scipy.stats.maxwell(),
    scipy.stats.uniform(2, 3),
]
DISCRETE = [
    scipy.stats.poisson(4.2),
    scipy.stats.poisson(4.2, loc=-2),
    scipy.stats.poisson(1.5, loc=0.5),
    scipy.stats.binom(10, 0.3, loc=5),
    scipy.stats.nbinom(3.5, 0.4),
    scipy.stats.randint(1, 7, loc=10),
    scipy.stats.hypergeom(70, 30, 20),
    scipy.stats.skellam(3, 4),
    scipy.stats.rv_discrete(values=([1, 2, 5], [0.2, 0.3, 0.5]))(),
]


def described(frozen):
    return f"{frozen.dist.name}{frozen.args}{frozen.kwds}"


smooth = pytest.mark.parametrize("frozen", SMOOTH, ids=described)
discrete = pytest.mark.parametrize("frozen", DISCRETE, ids=described)
each = pytest.mark.parametrize("frozen", SMOOTH + DISCRETE, ids=described)


@smooth
def test_quantiles(frozen):
    law = FromSciPy(frozen)
    spread = np.ptp(frozen.ppf([0.25, 0.75]))  # what counts where the quantile goes through 0
    assert law.quantile(TAIL) == pytest.approx(frozen.ppf(TAIL), rel=1e-12, abs=1e-12 * spread if law.support[0] < 0 else 0)
    assert law.quantile(1 - TAIL) == pytest.approx(frozen.isf(TAIL), rel=1e-12, abs=1e-12 * spread if law.support[0] < 0 else 0)
    assert law.quantile([0, 1]).tolist() == [*frozen.support()]


def test_digits_that_ppf_and_isf_lose_are_found_by_newton():
    """If y ~ Beta(m/2, n/2), n y / (m (1 - y)) ~ F(m, n); SciPy has no isf for it, and goes through 1 - q."""
    m, n = 3, 4
    share = special.betaincinv(n / 2, m / 2, TAIL)
    exact = n * (1 - share) / (m * share)
    law = FromSciPy(scipy.stats.f(m, n))
    assert law.quantile(1 - TAIL) == pytest.approx(exact, rel=1e-12)
    assert abs(scipy.stats.f(m, n).isf(1.5 * 2.0**-53) / (n / (m * special.betaincinv(n / 2, m / 2, 1.5 * 2.0**-53))) - 1) > 1e-3


@discrete
def test_discrete_quantiles(frozen):
    law = FromSciPy(frozen)
    u = np.random.default_rng(20_261_123).random(2_000)  # away from the steps
    assert law.quantile(u).tolist() == frozen.ppf(u).tolist()
    k = law.atoms[0]
    assert law.pmf(k) == pytest.approx(frozen.pmf(k), rel=1e-12) and law.discrete
    assert law.quantile([2.0**-53, 1 - 2.0**-53]).tolist() == [*law.bounds] and law.bounds[1] <= frozen.support()[1]
    low, high = np.quantile(u, 0.2), 0.9
    assert law.truncated_at_quantiles(low, high).quantile(u) == pytest.approx(frozen.ppf(low + (high - low) * u))


@each
def test_moments_cdf_and_density(frozen):
    law = FromSciPy(frozen)
    assert (law.mean, law.variance, law.skewness, law.kurtosis) == pytest.approx(tuple(map(float, frozen.stats("mvsk"))), nan_ok=True)
    x = law.quantile([0.01, 0.3, 0.9])
    assert law.cdf(x).tolist() == frozen.cdf(x).tolist() and law.support == frozen.support()
    assert (law.pmf if law.discrete else law.pdf)(x).tolist() == (frozen.pmf if law.discrete else frozen.pdf)(x).tolist()


def test_the_same_law_by_another_name():
    u = np.concatenate((TAIL, 1 - TAIL))
    assert FromSciPy(scipy.stats.gamma(2.5, scale=4)).quantile(u) == pytest.approx(Gamma(2.5, 4).quantile(u), rel=1e-12)
    law = FromSciPy(scipy.stats.norm(0, 1)).truncated(5, 9).shifted(1).scaled(-2)
    assert law.quantile(u) == pytest.approx(Normal(0, 1).truncated(5, 9).shifted(1).scaled(-2).quantile(u), rel=1e-12)
    assert FromSciPy(scipy.stats.poisson(3)).scaled(2).quantile(0.5) == 6


def test_laws_are_values():
    law = FromSciPy(scipy.stats.gamma(2, scale=3))
    assert repr(law) == "FromSciPy(gamma(2, scale=3))"
    same = FromSciPy(scipy.stats.gamma(2, scale=3))
    assert same == law == pickle.loads(pickle.dumps(law)) and hash(same) == hash(law)
    assert law != FromSciPy(scipy.stats.gamma(2, scale=4)) and law != FromSciPy(scipy.stats.erlang(2, scale=3))
    ours, others = (scipy.stats.rv_discrete(values=([1, 2], masses))() for masses in ([0.5, 0.5], [0.1, 0.9]))
    assert FromSciPy(ours) == FromSciPy(ours) != FromSciPy(others)


REFUSED = [
    (lambda: scipy.stats.gamma, "give a frozen distribution of scipy.stats, with its parameters"),
    (lambda: 5, "give a frozen distribution"),
    (lambda: scipy.stats.gamma(-1), "outside their domain"),
    (lambda: scipy.stats.gamma([1, 2]), "each parameter must be one number"),
    (lambda: scipy.stats.norminvgauss(1, 0.5), r"FromSciPy\(norminvgauss\(1, 0.5\)\): SciPy has no formula for its quantile"),
    (lambda: scipy.stats.triang(0.3), "has a bend or too few right digits for 1e-12; Triangular"),
    (lambda: scipy.stats.rv_histogram(np.histogram([1, 2, 2, 5.0]))(), "has a bend"),
    (lambda: scipy.stats.zipf(1.5), "too many values for a table"),
    (lambda: scipy.stats.rv_discrete(values=([1, 2.5], [0.5, 0.5]))(), r"adds up to 0.5; give the values to Discrete"),
]


@pytest.mark.parametrize(("make", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_what_cannot_be_drawn_is_refused(make, says):
    with pytest.raises(InputError, match=says):
        FromSciPy(make())


def workbook():
    book = openpyxl.Workbook()
    book.active["B4"], book.active["B5"] = 1.0, "=2*B4"
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize("frozen", [scipy.stats.weibull_min(1.5), scipy.stats.poisson(3)], ids=described)
def test_a_simulation_takes_it_as_it_is(frozen):
    """The draws are the quantiles of the call site's uniforms."""
    simulation = mc.Simulation(workbook(), inputs={"B4": frozen}, outputs=["B5"])
    samples = simulation.run(4_096, seed=1)["B5"].samples
    u = uniforms(1, Site("Sheet", 4, 2), 0, 4_096)
    assert samples / 2 == pytest.approx(frozen.ppf(u), rel=1e-11)
    with pytest.raises(InputError, match="give a frozen distribution"):
        mc.Simulation(workbook(), inputs={"B4": scipy.stats.norm}, outputs=["B5"])


def test_scipy_is_not_imported_for_it():
    code = "import sys, ultramc; sys.exit(any(name.split('.')[0] == 'scipy' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
