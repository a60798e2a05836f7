"""Distribution functions, densities and quantiles against SciPy's."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from formula_cases import value_of
from scipy import special, stats

from ultramc.values import ExcelError

NUM, DIV0 = ExcelError.NUM, ExcelError.DIV0

CASES: tuple[tuple[str, Callable[[], float]], ...] = (
    ("NORM.DIST(42,40,1.5,TRUE)", lambda: stats.norm.cdf(42, 40, 1.5)),
    ("NORMDIST(42,40,1.5,FALSE)", lambda: stats.norm.pdf(42, 40, 1.5)),
    ("NORM.S.DIST(-8,TRUE)", lambda: stats.norm.cdf(-8)),
    ("NORMSDIST(1.3333333)", lambda: stats.norm.cdf(1.3333333)),
    ("NORM.INV(0.908789,40,1.5)", lambda: stats.norm.ppf(0.908789, 40, 1.5)),
    ("NORMSINV(1E-12)", lambda: stats.norm.ppf(1e-12)),
    ("PHI(0.75)", lambda: stats.norm.pdf(0.75)),
    ("GAUSS(2)", lambda: stats.norm.cdf(2) - 0.5),
    ("LOGNORM.DIST(4,3.5,1.2,TRUE)", lambda: stats.lognorm.cdf(4, 1.2, scale=math.exp(3.5))),
    ("LOGNORM.DIST(4,3.5,1.2,FALSE)", lambda: stats.lognorm.pdf(4, 1.2, scale=math.exp(3.5))),
    ("LOGNORMDIST(4,3.5,1.2)", lambda: stats.lognorm.cdf(4, 1.2, scale=math.exp(3.5))),
    ("LOGINV(0.039084,3.5,1.2)", lambda: stats.lognorm.ppf(0.039084, 1.2, scale=math.exp(3.5))),
    ("EXPON.DIST(0.2,10,TRUE)", lambda: stats.expon.cdf(0.2, scale=0.1)),
    ("EXPONDIST(0.2,10,FALSE)", lambda: stats.expon.pdf(0.2, scale=0.1)),
    ("WEIBULL(105,20,100,TRUE)", lambda: stats.weibull_min.cdf(105, 20, scale=100)),
    ("WEIBULL.DIST(105,20,100,FALSE)", lambda: stats.weibull_min.pdf(105, 20, scale=100)),
    ("GAMMA.DIST(10.00001131,9,2,FALSE)", lambda: stats.gamma.pdf(10.00001131, 9, scale=2)),
    ("GAMMADIST(10.00001131,9,2,TRUE)", lambda: stats.gamma.cdf(10.00001131, 9, scale=2)),
    ("GAMMA.DIST(0,1,2,FALSE)", lambda: 0.5),
    ("GAMMAINV(0.068094,9,2)", lambda: stats.gamma.ppf(0.068094, 9, scale=2)),
    ("GAMMALN(4.5)", lambda: special.gammaln(4.5)),
    ("GAMMA(-3.75)", lambda: special.gamma(-3.75)),
    ("BETA.DIST(2,8,10,TRUE,1,3)", lambda: stats.beta.cdf(0.5, 8, 10)),
    ("BETA.DIST(2,8,10,FALSE,1,3)", lambda: stats.beta.pdf(0.5, 8, 10) / 2),
    ("BETADIST(0.2,2,3)", lambda: stats.beta.cdf(0.2, 2, 3)),
    ("BETAINV(0.685470581,8,10,1,3)", lambda: 1 + 2 * stats.beta.ppf(0.685470581, 8, 10)),
    ("CHISQ.DIST(0.5,1,TRUE)", lambda: stats.chi2.cdf(0.5, 1)),
    ("CHISQ.DIST(2,3,FALSE)", lambda: stats.chi2.pdf(2, 3)),
    ("CHIDIST(180.307,10)", lambda: stats.chi2.sf(180.307, 10)),
    ("CHISQ.INV(0.6,2)", lambda: stats.chi2.ppf(0.6, 2)),
    ("CHIINV(1E-9,10)", lambda: stats.chi2.isf(1e-9, 10)),
    ("T.DIST(-60,1,TRUE)", lambda: stats.t.cdf(-60, 1)),
    ("T.DIST(8,3,FALSE)", lambda: stats.t.pdf(8, 3)),
    ("T.DIST.RT(1.959999998,60)", lambda: stats.t.sf(1.959999998, 60)),
    ("T.DIST.2T(1.959999998,60)", lambda: 2 * stats.t.sf(1.959999998, 60)),
    ("TDIST(1.959999998,60,2)", lambda: 2 * stats.t.sf(1.959999998, 60)),
    ("TDIST(40,60,1)", lambda: stats.t.sf(40, 60)),
    ("T.INV(0.75,2)", lambda: stats.t.ppf(0.75, 2)),
    ("T.INV(0.501,7)", lambda: stats.t.ppf(0.501, 7)),
    ("T.INV(0.00001,3)", lambda: stats.t.ppf(0.00001, 3)),
    ("TINV(0.546449,60)", lambda: stats.t.isf(0.546449 / 2, 60)),
    ("F.DIST(15.20686486,6,4,TRUE)", lambda: stats.f.cdf(15.20686486, 6, 4)),
    ("F.DIST(15.20686486,6,4,FALSE)", lambda: stats.f.pdf(15.20686486, 6, 4)),
    ("FDIST(15.20686486,6,4)", lambda: stats.f.sf(15.20686486, 6, 4)),
    ("F.INV(0.01,6,4)", lambda: stats.f.ppf(0.01, 6, 4)),
    ("F.INV(0.999,6,4)", lambda: stats.f.ppf(0.999, 6, 4)),
    ("FINV(0.01,6,4)", lambda: stats.f.isf(0.01, 6, 4)),
    ("BINOM.DIST(6,10,0.5,FALSE)", lambda: stats.binom.pmf(6, 10, 0.5)),
    ("BINOMDIST(3,40,0.05,TRUE)", lambda: stats.binom.cdf(3, 40, 0.05)),
    ("BINOM.DIST(10,10,0.3,TRUE)", lambda: 1.0),
    ("BINOM.DIST(0,10,0,FALSE)", lambda: 1.0),
    ("BINOM.DIST.RANGE(60,0.75,45,50)", lambda: stats.binom.cdf(50, 60, 0.75) - stats.binom.cdf(44, 60, 0.75)),
    ("CRITBINOM(6,0.5,0.75)", lambda: stats.binom.ppf(0.75, 6, 0.5)),
    ("BINOM.INV(100,0.5,0.2)", lambda: stats.binom.ppf(0.2, 100, 0.5)),
    ("POISSON(2,5,TRUE)", lambda: stats.poisson.cdf(2, 5)),
    ("POISSON.DIST(2,5,FALSE)", lambda: stats.poisson.pmf(2, 5)),
    ("POISSON.DIST(0,0,FALSE)", lambda: 1.0),
    ("NEGBINOM.DIST(10,5,0.25,TRUE)", lambda: stats.nbinom.cdf(10, 5, 0.25)),
    ("NEGBINOMDIST(10,5,0.25)", lambda: stats.nbinom.pmf(10, 5, 0.25)),
    ("HYPGEOM.DIST(1,4,8,20,TRUE)", lambda: stats.hypergeom.cdf(1, 20, 8, 4)),
    ("HYPGEOMDIST(1,4,8,20)", lambda: stats.hypergeom.pmf(1, 20, 8, 4)),
    ("CONFIDENCE(0.05,2.5,50)", lambda: stats.norm.isf(0.025) * 2.5 / math.sqrt(50)),
    ("CONFIDENCE.T(0.05,1,50)", lambda: stats.t.isf(0.025, 49) / math.sqrt(50)),
    ("STANDARDIZE(42,40,1.5)", lambda: 4 / 3),
    ("FISHER(0.75)", lambda: math.atanh(0.75)),
    ("FISHERINV(0.972955)", lambda: math.tanh(0.972955)),
    ("ERF(0.745)", lambda: special.erf(0.745)),
    ("ERF(0.5,1)", lambda: special.erf(1) - special.erf(0.5)),
    ("ERFC(3)", lambda: special.erfc(3)),
)

FAILURES = (
    ("NORM.DIST(1,0,0,TRUE)", NUM),
    ("NORMSINV(0)", NUM),
    ("NORM.INV(1,0,1)", NUM),
    ("LOGNORM.DIST(0,1,1,TRUE)", NUM),
    ("EXPON.DIST(-1,1,TRUE)", NUM),
    ("GAMMA.DIST(1,0,1,TRUE)", NUM),
    ("GAMMA(0)", NUM),
    ("BETA.DIST(4,1,1,TRUE,1,3)", NUM),
    ("CHISQ.DIST(1,0,TRUE)", NUM),
    ("TDIST(-1,2,1)", NUM),
    ("TDIST(1,2,3)", NUM),
    ("T.INV(0,2)", NUM),
    ("BINOM.DIST(11,10,0.5,TRUE)", NUM),
    ("POISSON(-1,2,TRUE)", NUM),
    ("HYPGEOMDIST(5,4,8,20)", NUM),
    ("CONFIDENCE.T(0.05,1,1)", DIV0),
    ("FISHER(1)", NUM),
)


@pytest.mark.parametrize(("formula", "expected"), CASES, ids=[formula for formula, _ in CASES])
def test_agrees_with_scipy(formula: str, expected: Callable[[], float]) -> None:
    assert value_of("=" + formula) == pytest.approx(float(expected()), rel=1e-10)


@pytest.mark.parametrize(("formula", "error"), FAILURES)
def test_failure(formula: str, error: ExcelError) -> None:
    assert value_of("=" + formula) is error
