"""Distribution functions, densities and quantiles, under their old and new names.

`cumulative` is not zero for the distribution function, zero for the density or the probability of one value.
"""

from __future__ import annotations

import math

from ultramc.functions import scalar
from ultramc.functions.algebra import Term, formula, where
from ultramc.values import ExcelError, Scalar

NUM, DIV0 = ExcelError.NUM, ExcelError.DIV0
ROOT_OF_TWO_PI = math.sqrt(2 * math.pi)
MOST_FREEDOM = 1e10  # degrees of freedom
MOST_TERMS = 1_000_000  # of a cumulative hypergeometric probability


def _either(cumulative: Term, probability: Term, density: Term) -> Term:
    return where(cumulative.equals(0), density, probability)


def _check_probability(p: Term) -> None:
    ((p <= 0) | (p >= 1)).fails(NUM)


def _times_log(x: Term, y: Term) -> Term:
    """x·ln y, 0 where x is."""
    return where(x.equals(0), 0, x * y.log())


def _log_factorial(x: Term) -> Term:
    return (x + 1).op("log_gamma")


# Normal and lognormal


def _normal_density(z: Term) -> Term:
    return (-(z * z) / 2).exp() / ROOT_OF_TWO_PI


@formula("NORM.DIST NORMDIST", "number number number number")
def _norm_dist(x: Term, mean: Term, deviation: Term, cumulative: Term) -> Term:
    (deviation <= 0).fails(NUM)
    z = (x - mean) / deviation
    return _either(cumulative, z.op("normal_cdf"), _normal_density(z) / deviation)


@formula("NORM.S.DIST", "number number")
def _norm_s_dist(z: Term, cumulative: Term) -> Term:
    return _either(cumulative, z.op("normal_cdf"), _normal_density(z))


@formula("NORMSDIST", "number")
def _normsdist(z: Term) -> Term:
    return z.op("normal_cdf")


@formula("PHI", "number")
def _phi(z: Term) -> Term:
    return _normal_density(z)


@formula("GAUSS", "number")
def _gauss(z: Term) -> Term:
    return (z / math.sqrt(2)).op("erf") / 2


@formula("NORM.INV NORMINV", "number number number")
def _norm_inv(p: Term, mean: Term, deviation: Term) -> Term:
    _check_probability(p)
    (deviation <= 0).fails(NUM)
    return mean + deviation * p.op("normal_quantile")


@formula("NORM.S.INV NORMSINV", "number")
def _norm_s_inv(p: Term) -> Term:
    _check_probability(p)
    return p.op("normal_quantile")


def _lognormal(x: Term, mean: Term, deviation: Term, cumulative: Term) -> Term:
    ((x <= 0) | (deviation <= 0)).fails(NUM)
    z = (x.log() - mean) / deviation
    return _either(cumulative, z.op("normal_cdf"), _normal_density(z) / (deviation * x))


formula("LOGNORM.DIST", "number number number number")(_lognormal)


@formula("LOGNORMDIST", "number number number")
def _lognormdist(x: Term, mean: Term, deviation: Term) -> Term:
    return _lognormal(x, mean, deviation, x.lift(1))


@formula("LOGNORM.INV LOGINV", "number number number")
def _lognorm_inv(p: Term, mean: Term, deviation: Term) -> Term:
    _check_probability(p)
    (deviation <= 0).fails(NUM)
    return (mean + deviation * p.op("normal_quantile")).exp()


@formula("STANDARDIZE", "number number number")
def _standardize(x: Term, mean: Term, deviation: Term) -> Term:
    (deviation <= 0).fails(NUM)
    return (x - mean) / deviation


@formula("CONFIDENCE CONFIDENCE.NORM", "number number integer")
def _confidence(alpha: Term, deviation: Term, size: Term) -> Term:
    _check_probability(alpha)
    ((deviation <= 0) | (size < 1)).fails(NUM)
    return -(alpha / 2).op("normal_quantile") * deviation / size.sqrt()


@formula("CONFIDENCE.T", "number number integer")
def _confidence_t(alpha: Term, deviation: Term, size: Term) -> Term:
    _check_probability(alpha)
    ((deviation <= 0) | (size < 1)).fails(NUM)
    size.equals(1).fails(DIV0)
    return _student_quantile(alpha, size - 1) * deviation / size.sqrt()


@formula("FISHER", "number")
def _fisher(x: Term) -> Term:
    ((x <= -1) | (x >= 1)).fails(NUM)
    return x.op("atanh")


@formula("FISHERINV", "number")
def _fisherinv(y: Term) -> Term:
    return y.op("tanh")


# Exponential, Weibull, gamma and chi-squared


@formula("EXPON.DIST EXPONDIST", "number number number")
def _expon_dist(x: Term, rate: Term, cumulative: Term) -> Term:
    ((x < 0) | (rate <= 0)).fails(NUM)
    return _either(cumulative, -(-rate * x).op("expm1"), rate * (-rate * x).exp())


@formula("WEIBULL WEIBULL.DIST", "number number number number")
def _weibull(x: Term, shape: Term, scale: Term, cumulative: Term) -> Term:
    ((x < 0) | (shape <= 0) | (scale <= 0)).fails(NUM)
    hazard = (x / scale) ** shape
    density = shape / scale * (x / scale) ** (shape - 1) * (-hazard).exp()
    return _either(cumulative, -(-hazard).op("expm1"), density)


def _gamma(x: Term, shape: Term, scale: Term, cumulative: Term) -> Term:
    ratio = x / scale
    log_density = _times_log(shape - 1, ratio) - ratio - shape.op("log_gamma")
    return _either(cumulative, shape.op("gamma_p", ratio), log_density.exp() / scale)


@formula("GAMMA.DIST GAMMADIST", "number number number number")
def _gamma_dist(x: Term, shape: Term, scale: Term, cumulative: Term) -> Term:
    ((x < 0) | (shape <= 0) | (scale <= 0)).fails(NUM)
    return _gamma(x, shape, scale, cumulative)


@formula("GAMMA.INV GAMMAINV", "number number number")
def _gamma_inv(p: Term, shape: Term, scale: Term) -> Term:
    ((p < 0) | (p >= 1) | (shape <= 0) | (scale <= 0)).fails(NUM)
    return scale * shape.op("gamma_p_inverse", p)


@formula("GAMMALN GAMMALN.PRECISE", "number")
def _gammaln(x: Term) -> Term:
    (x <= 0).fails(NUM)
    return x.op("log_gamma")


@scalar("GAMMA", "number")
def _gamma_function(x: float) -> Scalar:
    return NUM if x <= 0 and x == int(x) else math.gamma(x)


def _check_freedom(freedom: Term) -> None:
    ((freedom < 1) | (freedom > MOST_FREEDOM)).fails(NUM)


@formula("CHISQ.DIST", "number integer number")
def _chisq_dist(x: Term, freedom: Term, cumulative: Term) -> Term:
    (x < 0).fails(NUM)
    _check_freedom(freedom)
    return _gamma(x, freedom / 2, x.lift(2), cumulative)


@formula("CHISQ.DIST.RT CHIDIST", "number integer")
def _chisq_right(x: Term, freedom: Term) -> Term:
    (x < 0).fails(NUM)
    _check_freedom(freedom)
    return (freedom / 2).op("gamma_q", x / 2)


@formula("CHISQ.INV", "number integer")
def _chisq_inv(p: Term, freedom: Term) -> Term:
    ((p < 0) | (p >= 1)).fails(NUM)
    _check_freedom(freedom)
    return 2 * (freedom / 2).op("gamma_p_inverse", p)


@formula("CHISQ.INV.RT CHIINV", "number integer")
def _chisq_inv_right(p: Term, freedom: Term) -> Term:
    ((p <= 0) | (p > 1)).fails(NUM)
    _check_freedom(freedom)
    return 2 * (freedom / 2).op("gamma_q_inverse", p)


# Beta


def _beta(x: Term, alpha: Term, beta: Term, cumulative: Term, low: Term, high: Term) -> Term:
    ((alpha <= 0) | (beta <= 0) | (x < low) | (x > high) | low.equals(high)).fails(NUM)
    share = (x - low) / (high - low)
    scale = alpha.op("log_gamma") + beta.op("log_gamma") - (alpha + beta).op("log_gamma")
    density = (_times_log(alpha - 1, share) + _times_log(beta - 1, 1 - share) - scale).exp() / (high - low)
    return _either(cumulative, alpha.op("beta_i", beta, share), density)


formula("BETA.DIST", "number number number number number? number?", 0, 1)(_beta)


@formula("BETADIST", "number number number number? number?", 0, 1)
def _betadist(x: Term, alpha: Term, beta: Term, low: Term, high: Term) -> Term:
    return _beta(x, alpha, beta, x.lift(1), low, high)


@formula("BETA.INV BETAINV", "number number number number? number?", 0, 1)
def _beta_inv(p: Term, alpha: Term, beta: Term, low: Term, high: Term) -> Term:
    ((p <= 0) | (p >= 1) | (alpha <= 0) | (beta <= 0) | low.equals(high)).fails(NUM)
    return low + alpha.op("beta_i_inverse", beta, p) * (high - low)


# Student's t


def _student_tails(x: Term, freedom: Term) -> Term:
    """The probability beyond ±x."""
    return (freedom / 2).op("beta_i", 0.5, freedom / (freedom + x * x))


def _student_quantile(tails: Term, freedom: Term) -> Term:
    """The x that is exceeded, on both sides, with probability `tails`; from whichever end is the more exact."""
    near_one = (freedom / 2).op("beta_i_inverse", 0.5, tails)
    near_zero = (tails * 0 + 0.5).op("beta_i_inverse", freedom / 2, 1 - tails)
    squared = where(tails < 0.5, (1 - near_one) / near_one, near_zero / (1 - near_zero))
    return (freedom * squared).sqrt()


@formula("T.DIST", "number integer number")
def _t_dist(x: Term, freedom: Term, cumulative: Term) -> Term:
    (freedom < 1).fails(NUM)
    tail = _student_tails(x, freedom) / 2
    scale = (freedom / 2).op("log_gamma") - ((freedom + 1) / 2).op("log_gamma") + (freedom * math.pi).log() / 2
    density = (-(freedom + 1) / 2 * (x * x / freedom).op("log1p") - scale).exp()
    return _either(cumulative, where(x < 0, tail, 1 - tail), density)


@formula("T.DIST.RT", "number integer")
def _t_right(x: Term, freedom: Term) -> Term:
    (freedom < 1).fails(NUM)
    tail = _student_tails(x, freedom) / 2
    return where(x < 0, 1 - tail, tail)


@formula("T.DIST.2T", "number integer")
def _t_two_tails(x: Term, freedom: Term) -> Term:
    ((freedom < 1) | (x < 0)).fails(NUM)
    return _student_tails(x, freedom)


@formula("TDIST", "number integer integer")
def _tdist(x: Term, freedom: Term, tails: Term) -> Term:
    ((freedom < 1) | (x < 0) | ~(tails.equals(1) | tails.equals(2))).fails(NUM)
    return _student_tails(x, freedom) * tails / 2


@formula("T.INV", "number integer")
def _t_inv(p: Term, freedom: Term) -> Term:
    _check_probability(p)
    (freedom < 1).fails(NUM)
    size = _student_quantile(2 * p.least(1 - p), freedom)
    return where(p < 0.5, -size, size)


@formula("T.INV.2T TINV", "number integer")
def _t_inv_two_tails(p: Term, freedom: Term) -> Term:
    ((p <= 0) | (p > 1) | (freedom < 1)).fails(NUM)
    return _student_quantile(p, freedom)


# F


def _check_two_freedoms(first: Term, second: Term) -> None:
    _check_freedom(first)
    _check_freedom(second)


@formula("F.DIST", "number integer integer number")
def _f_dist(x: Term, first: Term, second: Term, cumulative: Term) -> Term:
    (x < 0).fails(NUM)
    _check_two_freedoms(first, second)
    a, b, ratio = first / 2, second / 2, first / second
    scale = a.op("log_gamma") + b.op("log_gamma") - (a + b).op("log_gamma")
    log_density = a * ratio.log() + _times_log(a - 1, x) - (a + b) * (ratio * x).op("log1p") - scale
    return _either(cumulative, a.op("beta_i", b, first * x / (first * x + second)), log_density.exp())


@formula("F.DIST.RT FDIST", "number integer integer")
def _f_right(x: Term, first: Term, second: Term) -> Term:
    (x < 0).fails(NUM)
    _check_two_freedoms(first, second)
    return (second / 2).op("beta_i", first / 2, second / (first * x + second))


def _f_quantile(p: Term, first: Term, second: Term) -> Term:
    share = (first / 2).op("beta_i_inverse", second / 2, p)
    return second * share / (first * (1 - share))


@formula("F.INV", "number integer integer")
def _f_inv(p: Term, first: Term, second: Term) -> Term:
    ((p < 0) | (p >= 1)).fails(NUM)
    _check_two_freedoms(first, second)
    return where(p < 0.5, _f_quantile(p, first, second), 1 / _f_quantile(1 - p, second, first))


@formula("F.INV.RT FINV", "number integer integer")
def _f_inv_right(p: Term, first: Term, second: Term) -> Term:
    ((p <= 0) | (p > 1)).fails(NUM)
    _check_two_freedoms(first, second)
    return where(p < 0.5, 1 / _f_quantile(p, second, first), _f_quantile(1 - p, first, second))


# Counts


def _binomial(successes: Term, trials: Term, p: Term) -> Term:
    failures = trials - successes
    ways = _log_factorial(trials) - _log_factorial(successes) - _log_factorial(failures)
    return (ways + _times_log(successes, p) + _times_log(failures, 1 - p)).exp()


def _binomial_up_to(successes: Term, trials: Term, p: Term) -> Term:
    failures = (trials - successes).most(1)
    return where(successes >= trials, 1, failures.op("beta_i", successes + 1, 1 - p))


@formula("BINOM.DIST BINOMDIST", "integer integer number number")
def _binom_dist(successes: Term, trials: Term, p: Term, cumulative: Term) -> Term:
    ((successes < 0) | (successes > trials) | (p < 0) | (p > 1)).fails(NUM)
    return _either(cumulative, _binomial_up_to(successes, trials, p), _binomial(successes, trials, p))


def _up_to(successes: float, trials: float, p: float) -> float:
    from scipy.special import betainc

    if successes < 0:
        return 0.0
    return 1.0 if successes >= trials else float(betainc(trials - successes, successes + 1, 1 - p))


@scalar("BINOM.DIST.RANGE", "integer number integer integer?")
def _binom_dist_range(trials: float, p: float, first: float, last: float | None = None) -> Scalar:
    last = first if last is None else last
    if not (0 <= p <= 1 and 0 <= first <= last <= trials):
        return NUM
    return _up_to(last, trials, p) - _up_to(first - 1, trials, p)


@scalar("BINOM.INV CRITBINOM", "integer number number")
def _binom_inv(trials: float, p: float, alpha: float) -> Scalar:
    if trials < 0 or not 0 <= p <= 1 or not 0 <= alpha <= 1:
        return NUM
    low, high = -1, int(trials)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _up_to(middle, trials, p) >= alpha else (middle, high)
    return float(high)


@formula("POISSON POISSON.DIST", "integer number number")
def _poisson(count: Term, mean: Term, cumulative: Term) -> Term:
    ((count < 0) | (mean < 0)).fails(NUM)
    one = (_times_log(count, mean) - mean - _log_factorial(count)).exp()
    return _either(cumulative, (count + 1).op("gamma_q", mean), one)


def _negative_binomial(failures: Term, successes: Term, p: Term, cumulative: Term) -> Term:
    ((failures < 0) | (successes < 1) | (p < 0) | (p > 1)).fails(NUM)
    ways = (failures + successes).op("log_gamma") - _log_factorial(failures) - successes.op("log_gamma")
    one = (ways + _times_log(successes, p) + _times_log(failures, 1 - p)).exp()
    return _either(cumulative, successes.op("beta_i", failures + 1, p), one)


formula("NEGBINOM.DIST", "integer integer number number")(_negative_binomial)


@formula("NEGBINOMDIST", "integer integer number")
def _negbinomdist(failures: Term, successes: Term, p: Term) -> Term:
    return _negative_binomial(failures, successes, p, p.lift(0))


def hypergeometric(found: float, drawn: float, marked: float, population: float, cumulative: float) -> Scalar:
    if not 0 <= found <= min(drawn, marked) or not max(drawn, marked) <= population or drawn <= 0 or marked <= 0:
        return NUM
    least = max(0, int(drawn - population + marked))
    if found < least or (cumulative and found - least > MOST_TERMS):
        return NUM
    first = least if cumulative else int(found)
    return math.fsum(_hypergeometric(count, drawn, marked, population) for count in range(first, int(found) + 1))


def _hypergeometric(found: float, drawn: float, marked: float, population: float) -> float:
    ways = _log_ways(marked, found) + _log_ways(population - marked, drawn - found) - _log_ways(population, drawn)
    return math.exp(ways)


def _log_ways(of: float, take: float) -> float:
    return math.lgamma(of + 1) - math.lgamma(take + 1) - math.lgamma(of - take + 1)


scalar("HYPGEOM.DIST", "integer integer integer integer number")(hypergeometric)


@scalar("HYPGEOMDIST", "integer integer integer integer")
def _hypgeomdist(found: float, drawn: float, marked: float, population: float) -> Scalar:
    return hypergeometric(found, drawn, marked, population, 0.0)


# The error function


@formula("ERF.PRECISE", "number!")
def _erf_precise(x: Term) -> Term:
    return x.op("erf")


@scalar("ERF", "number! number!?")
def _erf(low: float, high: float | None = None) -> Scalar:
    return math.erf(low) if high is None else math.erf(high) - math.erf(low)


@formula("ERFC ERFC.PRECISE", "number!")
def _erfc(x: Term) -> Term:
    return x.op("erfc")
