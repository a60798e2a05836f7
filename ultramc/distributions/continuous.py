"""Continuous laws with a formula for their quantile.

Sources: the NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.6 (https://www.itl.nist.gov/div898/handbook),
and, where a class says so, Wikipedia. Each class names its SciPy counterpart.
"""

from __future__ import annotations

import math
import sys
from typing import final

import numpy as np
from attrs import frozen

from ultramc.distributions.law import Approximated, Distribution, Explicit, FloatArray, Restated, Rules, WithMoments, text_of
from ultramc.distributions.probability import Probability
from ultramc.terms import Term, where

APERY = 1.2020569031595943  # ζ(3)
SMALLEST_NORMAL = sys.float_info.min


def _normal_share(z: Term) -> Probability:
    return Probability(z.op("normal_cdf"), (-z).op("normal_cdf"))


def _normal_pdf(z: FloatArray) -> FloatArray:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


@final
@frozen(repr=False)
class Normal(Explicit):
    """mean + std · z, z the standard normal quantile. std > 0. NIST 1.3.6.6.1; ``scipy.stats.norm(mean, std)``."""

    mean: float
    std: float

    def _rules(self) -> Rules:
        yield self.std > 0, f"std must be above 0; for a value that does not vary give the number {text_of(self.mean)}"

    @staticmethod
    def quantile_formula(p: Probability, mean: Term, std: Term) -> Term:
        return mean + std * p.score

    @staticmethod
    def share_formula(x: Term, mean: Term, std: Term) -> Probability:
        return _normal_share((x - mean) / std)

    @staticmethod
    def allows(mean: Term, std: Term) -> Term:
        return std >= 0

    @property
    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    @property
    def variance(self) -> float:
        return self.std * self.std

    @property
    def skewness(self) -> float:
        return 0.0

    @property
    def kurtosis(self) -> float:
        return 0.0

    def _density(self, x: FloatArray) -> FloatArray:
        return _normal_pdf((x - self.mean) / self.std) / self.std


def _logarithmic(mean: Term, std: Term) -> tuple[Term, Term]:
    """How far mu, the mean of the logarithm, lies below ln(mean), and sigma, its standard deviation."""
    ratio = std / mean
    variance = (ratio * ratio).log1p()
    return 0.5 * variance, variance.sqrt()


def _lognormal_shape(t: float) -> tuple[float, float]:
    """Skewness and excess kurtosis, from t = (std / mean)² = exp(sigma²) - 1.

    (w + 2) · sqrt(t) and w⁴ + 2w³ + 3w² - 6 with w = 1 + t, expanded: nothing cancels where t is small.
    """
    return (t + 3) * math.sqrt(t), t * (16 + t * (15 + t * (6 + t)))


@final
@frozen(repr=False)
class LogNormal(Explicit):
    """exp(mu + sigma · z), by the *arithmetic* mean and standard deviation of the variable itself, both above 0.

    sigma² = ln(1 + (std / mean)²) and mu = ln(mean) - sigma² / 2; the median is exp(mu).
    NIST 1.3.6.6.9, parameters as in https://en.wikipedia.org/wiki/Log-normal_distribution#Arithmetic_moments;
    ``scipy.stats.lognorm(sigma, scale=exp(mu))``.
    """

    mean: float
    std: float

    def _rules(self) -> Rules:
        yield (
            self.mean > 0,
            "mean must be above 0: mean and std are those of the variable itself; from mu and sigma of its logarithm, "
            "mean = exp(mu + sigma²/2) and std = mean·sqrt(exp(sigma²) - 1)",
        )
        yield self.std > 0, f"std must be above 0; for a value that does not vary give the number {text_of(self.mean)}"

    @staticmethod
    def quantile_formula(p: Probability, mean: Term, std: Term) -> Term:
        lower, sigma = _logarithmic(mean, std)
        return mean * (sigma * p.score - lower).exp()  # the mean outside, exact where std is 0

    @staticmethod
    def share_formula(x: Term, mean: Term, std: Term) -> Probability:
        lower, sigma = _logarithmic(mean, std)
        return _normal_share(((x.most(0.0) / mean).log() + lower) / sigma)

    @staticmethod
    def allows(mean: Term, std: Term) -> Term:
        return (mean > 0) & (std >= 0)

    @property
    def mu(self) -> float:
        """The mean of the logarithm."""
        return math.log(self.mean) - 0.5 * self.sigma**2

    @property
    def sigma(self) -> float:
        """The standard deviation of the logarithm."""
        return math.sqrt(math.log1p(self._squared_variation))

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    def variance(self) -> float:
        return self.std * self.std

    @property
    def skewness(self) -> float:
        return _lognormal_shape(self._squared_variation)[0]

    @property
    def kurtosis(self) -> float:
        return _lognormal_shape(self._squared_variation)[1]

    @property
    def _squared_variation(self) -> float:
        ratio = self.std / self.mean
        return ratio * ratio

    def _density(self, x: FloatArray) -> FloatArray:
        return np.where(x > 0, _normal_pdf((np.log(x) - self.mu) / self.sigma) / (x * self.sigma), 0.0)


@final
@frozen(repr=False)
class LogNormalOfLogarithm(Explicit, WithMoments):
    """exp(mu + sigma · z), sigma > 0: `LogNormal` by the mean and the standard deviation of its logarithm.

    ``scipy.stats.lognorm(sigma, scale=exp(mu))``.
    """

    mu: float
    sigma: float

    def _rules(self) -> Rules:
        yield self.sigma > 0, "sigma must be above 0; for a value that does not vary give the number exp(mu)"

    @staticmethod
    def quantile_formula(p: Probability, mu: Term, sigma: Term) -> Term:
        return (mu + sigma * p.score).exp()

    @staticmethod
    def share_formula(x: Term, mu: Term, sigma: Term) -> Probability:
        return _normal_share((x.most(0.0).log() - mu) / sigma)

    @staticmethod
    def allows(mu: Term, sigma: Term) -> Term:
        return sigma >= 0

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        with np.errstate(over="ignore"):
            mean, t = np.exp(self.mu + 0.5 * self.sigma**2), np.expm1(self.sigma**2)
            skewness, kurtosis = _lognormal_shape(t)
            return float(mean), float(mean * mean * t), float(skewness), float(kurtosis)

    def _density(self, x: FloatArray) -> FloatArray:
        return np.where(x > 0, _normal_pdf((np.log(x) - self.mu) / self.sigma) / (x * self.sigma), 0.0)


def _ordered(law: Triangular | PERT | ModPERT) -> Rules:
    least, middle, largest = map(text_of, sorted((law.minimum, law.mode, law.maximum)))
    meant = f"{type(law).__name__}({least}, {middle}, {largest})"
    yield law.minimum <= law.mode <= law.maximum, f"mode must lie between minimum and maximum; did you mean {meant}?"
    yield law.minimum < law.maximum, f"minimum and maximum are equal; for a value that does not vary give the number {least}"


def _shares_of_width(minimum: Term, mode: Term, maximum: Term) -> tuple[Term, Term]:
    """How much of the width lies below and above the mode; half each where there is no width."""
    width = maximum - minimum
    point = width.equals(0)
    divisor = where(point, 1.0, width)
    return where(point, 0.5, (mode - minimum) / divisor), where(point, 0.5, (maximum - mode) / divisor)


def _tail(share: Term, side: Term) -> Term:
    """Of a triangle, up to a share of its width, on a side of the mode that may have no width."""
    return share * share / side.most(SMALLEST_NORMAL)


def _beyond(tail: Term, share: Term, side: Term, rest: Term) -> Term:
    """1 - tail where that is no small difference; past a mode at the very end, that side and what has come since."""
    return where(tail < 0.5, 1 - tail, side + (share - side) * (1 + rest))


@final
@frozen(repr=False)
class Triangular(Explicit):
    """minimum ≤ mode ≤ maximum, minimum < maximum; the density rises to the mode and falls in straight lines.

    With w = maximum - minimum and p = (mode - minimum) / w the quantile is minimum + w·sqrt(u·p) up to u = p, and
    maximum - w·sqrt((1 - u)·(1 - p)) beyond. https://en.wikipedia.org/wiki/Triangular_distribution;
    ``scipy.stats.triang(p, minimum, w)``.
    """

    minimum: float
    mode: float
    maximum: float

    def _rules(self) -> Rules:
        return _ordered(self)

    @staticmethod
    def quantile_formula(p: Probability, minimum: Term, mode: Term, maximum: Term) -> Term:
        width = maximum - minimum
        rising, falling = _shares_of_width(minimum, mode, maximum)
        # Rounding could carry either side over the mode: held there, the quantile is monotone and inside its ends.
        lower = mode.least(minimum + width * (p.below * rising).sqrt())
        upper = mode.most(maximum - width * (p.above * falling).sqrt())
        return where(p.below <= rising, lower, upper)

    @staticmethod
    def share_formula(x: Term, minimum: Term, mode: Term, maximum: Term) -> Probability:
        width = maximum - minimum
        rising, falling = _shares_of_width(minimum, mode, maximum)
        left, right = ((x - minimum) / width).most(0.0).least(1.0), ((maximum - x) / width).most(0.0).least(1.0)
        below, above = _tail(left, rising), _tail(right, falling)
        beyond_below, beyond_above = _beyond(above, left, rising, right / falling), _beyond(below, right, falling, left / rising)
        return Probability(where(x < mode, below, beyond_below), where(x < mode, beyond_above, above))

    @staticmethod
    def allows(minimum: Term, mode: Term, maximum: Term) -> Term:
        return (minimum <= mode) & (mode <= maximum)

    @property
    def _width(self) -> float:
        return self.maximum - self.minimum

    @property
    def _rising(self) -> float:
        return (self.mode - self.minimum) / self._width

    @property
    def _falling(self) -> float:
        return (self.maximum - self.mode) / self._width

    @property
    def support(self) -> tuple[float, float]:
        return self.minimum, self.maximum

    @property
    def mean(self) -> float:
        return (self.minimum + self.mode + self.maximum) / 3

    @property
    def variance(self) -> float:
        return self._width * self._width * self._spread / 18

    @property
    def _spread(self) -> float:
        return 1 - self._rising * self._falling

    @property
    def skewness(self) -> float:
        p, q = self._rising, self._falling
        return math.sqrt(2) * (q - p) * (1 + p) * (1 + q) / (5 * self._spread * math.sqrt(self._spread))

    @property
    def kurtosis(self) -> float:
        return -0.6

    def _density(self, x: FloatArray) -> FloatArray:
        left = (x - self.minimum) / (self.mode - self.minimum)
        right = (self.maximum - x) / (self.maximum - self.mode)
        height = np.select([x == self.mode, x < self.mode], [1.0, left], right)
        return 2 / self._width * np.where(height > 0, height, 0.0)


@final
@frozen(repr=False)
class Uniform(Explicit):
    """minimum + (maximum - minimum) · u, minimum < maximum. NIST 1.3.6.6.2; ``scipy.stats.uniform(minimum, maximum - minimum)``."""

    minimum: float
    maximum: float

    def _rules(self) -> Rules:
        least, largest = map(text_of, sorted((self.minimum, self.maximum)))
        yield self.minimum != self.maximum, f"minimum and maximum are equal; for a value that does not vary give the number {least}"
        yield self.minimum < self.maximum, f"minimum is above maximum; did you mean Uniform({least}, {largest})?"

    @staticmethod
    def quantile_formula(p: Probability, minimum: Term, maximum: Term) -> Term:
        return minimum + (maximum - minimum) * p.below

    @staticmethod
    def share_formula(x: Term, minimum: Term, maximum: Term) -> Probability:
        width = maximum - minimum
        return Probability(((x - minimum) / width).most(0.0).least(1.0), ((maximum - x) / width).most(0.0).least(1.0))

    @staticmethod
    def allows(minimum: Term, maximum: Term) -> Term:
        return minimum <= maximum

    @property
    def _width(self) -> float:
        return self.maximum - self.minimum

    @property
    def support(self) -> tuple[float, float]:
        return self.minimum, self.maximum

    @property
    def mean(self) -> float:
        return self.minimum + self._width / 2

    @property
    def variance(self) -> float:
        return self._width * self._width / 12

    @property
    def skewness(self) -> float:
        return 0.0

    @property
    def kurtosis(self) -> float:
        return -1.2

    def _density(self, x: FloatArray) -> FloatArray:
        return np.where((self.minimum <= x) & (x <= self.maximum), 1 / self._width, 0.0)


@final
@frozen(repr=False)
class Exponential(Explicit):
    """-mean · ln(1 - u), mean > 0: the waiting time at a rate of 1 / mean. NIST 1.3.6.6.7; ``scipy.stats.expon(scale=mean)``."""

    mean: float

    def _rules(self) -> Rules:
        yield self.mean > 0, "mean must be above 0; at a rate r per unit of time it is 1/r"

    @staticmethod
    def quantile_formula(p: Probability, mean: Term) -> Term:
        return mean * p.hazard

    @staticmethod
    def share_formula(x: Term, mean: Term) -> Probability:
        return Probability.of_hazard(x.most(0.0) / mean)

    @staticmethod
    def allows(mean: Term) -> Term:
        return mean > 0

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    def variance(self) -> float:
        return self.mean * self.mean

    @property
    def skewness(self) -> float:
        return 2.0

    @property
    def kurtosis(self) -> float:
        return 6.0

    def _density(self, x: FloatArray) -> FloatArray:
        return np.where(x >= 0, np.exp(-x / self.mean) / self.mean, 0.0)


@final
@frozen(repr=False)
class Weibull(Explicit):
    """scale · (-ln(1 - u))^(1 / shape), shape and scale above 0. NIST 1.3.6.6.8; ``scipy.stats.weibull_min(shape, scale=scale)``."""

    shape: float
    scale: float

    def _rules(self) -> Rules:
        yield self.shape > 0, "shape must be above 0; 1 gives an exponential distribution"
        yield self.scale > 0, "scale must be above 0; 63.2 % of the values lie below it"

    @staticmethod
    def quantile_formula(p: Probability, shape: Term, scale: Term) -> Term:
        return scale * p.hazard ** (1 / shape)

    @staticmethod
    def share_formula(x: Term, shape: Term, scale: Term) -> Probability:
        return Probability.of_hazard((x.most(0.0) / scale) ** shape)

    @staticmethod
    def allows(shape: Term, scale: Term) -> Term:
        return (shape > 0) & (scale > 0)

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    def mean(self) -> float:
        return self.scale * self._moment(1)

    @property
    def variance(self) -> float:
        return self.scale * self.scale * self._unit_variance

    @property
    def skewness(self) -> float:
        first, third, variance = self._moment(1), self._moment(3), self._unit_variance
        return (third - 3 * first * variance - first * first * first) / (variance * math.sqrt(variance))

    @property
    def kurtosis(self) -> float:
        first, third, fourth, variance = self._moment(1), self._moment(3), self._moment(4), self._unit_variance
        square = first * first
        return (fourth - 4 * first * third + 6 * square * variance + 3 * square * square) / (variance * variance) - 3

    @property
    def _unit_variance(self) -> float:
        first, second = self._moment(1), self._moment(2)
        return second - first * first if math.isfinite(second) else math.inf

    def _moment(self, order: int) -> float:
        """About 0, for scale 1."""
        try:
            return math.gamma(1 + order / self.shape)
        except OverflowError:
            return math.inf

    def _density(self, x: FloatArray) -> FloatArray:
        z = np.maximum(x, 0.0) / self.scale
        return np.where(x >= 0, self.shape / self.scale * z ** (self.shape - 1) * np.exp(-(z**self.shape)), 0.0)


@final
@frozen(repr=False)
class Gamma(Approximated, WithMoments):
    """scale · x with P(shape, x) = u, shape and scale above 0; above the median from 1 - u. The mean is shape · scale.

    NIST 1.3.6.6.11; ``scipy.stats.gamma(shape, scale=scale)``.
    """

    shape: float
    scale: float

    def _rules(self) -> Rules:
        yield self.shape > 0, "shape must be above 0; it is (mean / std)²"
        yield self.scale > 0, "scale must be above 0; it is std² / mean, and 1 / rate"

    shapes = 1

    @staticmethod
    def standard(p: Probability, shape: Term) -> Term:
        return where(p.is_lower, shape.op("gamma_p_inverse", p.below), shape.op("gamma_q_inverse", p.above))

    @staticmethod
    def placed(p: Probability, value: Term, scale: Term) -> Term:
        return scale * value

    @staticmethod
    def share_formula(x: Term, shape: Term, scale: Term) -> Probability:
        ratio = x.most(0.0) / scale
        return Probability(shape.op("gamma_p", ratio), shape.op("gamma_q", ratio))

    @staticmethod
    def allows(shape: Term, scale: Term) -> Term:
        return (shape > 0) & (scale > 0)

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        mean = self.shape * self.scale
        return mean, mean * self.scale, 2 / math.sqrt(self.shape), 6 / self.shape

    def _density(self, x: FloatArray) -> FloatArray:
        from scipy.special import gammaln, xlogy

        z = x / self.scale
        return np.where(z >= 0, np.exp(xlogy(self.shape - 1, z) - z - gammaln(self.shape)) / self.scale, 0.0)


@final
@frozen(repr=False)
class Erlang(Restated):
    """The time to the event number `shape`, a whole number, `scale` apart on average: `Gamma` with these parameters.

    https://en.wikipedia.org/wiki/Erlang_distribution; ``scipy.stats.gamma(shape, scale=scale)``.
    """

    shape: float
    scale: float

    def _rules(self) -> Rules:
        yield self.shape >= 1 and self.shape.is_integer(), "shape must be a whole number from 1; Gamma takes any above 0"
        yield self.scale > 0, "scale must be above 0; it is the mean time between events"

    @staticmethod
    def quantile_formula(p: Probability, shape: Term, scale: Term) -> Term:
        return Gamma.quantile_formula(p, shape, scale)

    @staticmethod
    def share_formula(x: Term, shape: Term, scale: Term) -> Probability:
        return Gamma.share_formula(x, shape, scale)

    @staticmethod
    def allows(shape: Term, scale: Term) -> Term:
        return (shape >= 1) & shape.equals(shape.floor()) & (scale > 0)

    @property
    def _law(self) -> Gamma:
        return Gamma(self.shape, self.scale)


@final
@frozen(repr=False)
class ChiSquared(Restated):
    """The sum of `degrees` squared standard normal variables; any number above 0. NIST 1.3.6.6.6; ``scipy.stats.chi2(degrees)``."""

    degrees: float

    def _rules(self) -> Rules:
        yield self.degrees > 0, "degrees (of freedom) must be above 0"

    @staticmethod
    def quantile_formula(p: Probability, degrees: Term) -> Term:
        return Gamma.quantile_formula(p, degrees / 2, p.lift(2.0))

    @staticmethod
    def share_formula(x: Term, degrees: Term) -> Probability:
        return Gamma.share_formula(x, degrees / 2, x.lift(2.0))

    @staticmethod
    def allows(degrees: Term) -> Term:
        return degrees > 0

    @property
    def _law(self) -> Gamma:
        return Gamma(self.degrees / 2, 2.0)


@final
@frozen(repr=False)
class Rayleigh(Restated):
    """The distance from the origin of two independent normal variables of standard deviation `scale` > 0.

    https://en.wikipedia.org/wiki/Rayleigh_distribution; ``scipy.stats.rayleigh(scale=scale)``.
    """

    scale: float

    def _rules(self) -> Rules:
        yield self.scale > 0, "scale must be above 0; it is the mean divided by 1.2533"

    @staticmethod
    def quantile_formula(p: Probability, scale: Term) -> Term:
        return Weibull.quantile_formula(p, p.lift(2.0), math.sqrt(2) * scale)

    @staticmethod
    def share_formula(x: Term, scale: Term) -> Probability:
        return Weibull.share_formula(x, x.lift(2.0), math.sqrt(2) * scale)

    @staticmethod
    def allows(scale: Term) -> Term:
        return scale > 0

    @property
    def _law(self) -> Weibull:
        return Weibull(2.0, math.sqrt(2) * self.scale)


@final
@frozen(repr=False)
class Beta(Approximated, WithMoments):
    """minimum + (maximum - minimum) · x with I(alpha, beta, x) = u; above the median measured from the maximum, by 1 - u.

    alpha and beta above 0, minimum < maximum. NIST 1.3.6.6.17; ``scipy.stats.beta(alpha, beta, minimum, maximum - minimum)``.
    """

    alpha: float
    beta: float
    minimum: float = 0.0
    maximum: float = 1.0

    def _rules(self) -> Rules:
        yield self.alpha > 0, "alpha must be above 0"
        yield self.beta > 0, "beta must be above 0"
        yield self.minimum < self.maximum, "minimum must be below maximum"

    shapes = 2

    @staticmethod
    def standard(p: Probability, alpha: Term, beta: Term) -> Term:
        """The distance to the nearer end by probability, negative from the upper one: neither loses its digits in the other."""
        near, far = where(p.is_lower, alpha, beta), where(p.is_lower, beta, alpha)
        step = near.op("beta_i_inverse", far, p.below.least(p.above))
        return where(p.is_lower, step, -step)

    @staticmethod
    def placed(p: Probability, value: Term, minimum: Term, maximum: Term) -> Term:
        return (where(p.is_lower, minimum, maximum) + (maximum - minimum) * value).most(minimum).least(maximum)

    @staticmethod
    def share_formula(x: Term, alpha: Term, beta: Term, minimum: Term, maximum: Term) -> Probability:
        ends = Uniform.share_formula(x, minimum, maximum)
        return Probability(alpha.op("beta_i", beta, ends.below), beta.op("beta_i", alpha, ends.above))

    @staticmethod
    def allows(alpha: Term, beta: Term, minimum: Term, maximum: Term) -> Term:
        return (alpha > 0) & (beta > 0) & (minimum <= maximum)

    @property
    def _width(self) -> float:
        return self.maximum - self.minimum

    @property
    def support(self) -> tuple[float, float]:
        return self.minimum, self.maximum

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        a, b, total = self.alpha, self.beta, self.alpha + self.beta
        share = a / total
        variance = self._width * self._width * share * (b / total) / (total + 1)
        skewness = 2 * (b - a) / (total + 2) * math.sqrt((total + 1) / a / b)
        excess = 6 * ((a - b) / a * ((a - b) / b) * (total + 1) / (total + 2) - 1) / (total + 3)
        return self.minimum + self._width * share, variance, skewness, excess

    def _density(self, x: FloatArray) -> FloatArray:
        from scipy.special import betaln, xlogy

        left, right = (x - self.minimum) / self._width, (self.maximum - x) / self._width
        logarithm = xlogy(self.alpha - 1, left) + xlogy(self.beta - 1, right) - betaln(self.alpha, self.beta)
        return np.where((left >= 0) & (right >= 0), np.exp(logarithm) / self._width, 0.0)


@final
@frozen(repr=False)
class ModPERT(Restated):
    """`Beta` between minimum and maximum with its mean at (minimum + gamma · mode + maximum) / (gamma + 2), gamma > 0.

    alpha = 1 + gamma · (mode - minimum) / (maximum - minimum) and beta = 2 + gamma - alpha: the larger gamma, the narrower.
    D. Vose, Risk Analysis, third edition (Wiley 2008), and https://en.wikipedia.org/wiki/PERT_distribution;
    ``scipy.stats.beta(alpha, beta, minimum, maximum - minimum)``.
    """

    minimum: float
    mode: float
    maximum: float
    gamma: float = 4.0

    def _rules(self) -> Rules:
        yield from _ordered(self)
        yield self.gamma > 0, "gamma must be above 0; 4 is the PERT distribution, and the larger it is, the narrower the law"

    @staticmethod
    def quantile_formula(p: Probability, minimum: Term, mode: Term, maximum: Term, gamma: Term) -> Term:
        rising, falling = _shares_of_width(minimum, mode, maximum)
        return Beta.quantile_formula(p, 1 + gamma * rising, 1 + gamma * falling, minimum, maximum)

    @staticmethod
    def share_formula(x: Term, minimum: Term, mode: Term, maximum: Term, gamma: Term) -> Probability:
        rising, falling = _shares_of_width(minimum, mode, maximum)
        return Beta.share_formula(x, 1 + gamma * rising, 1 + gamma * falling, minimum, maximum)

    @staticmethod
    def allows(minimum: Term, mode: Term, maximum: Term, gamma: Term) -> Term:
        return (minimum <= mode) & (mode <= maximum) & (gamma > 0)

    @property
    def _law(self) -> Beta:
        width = self.maximum - self.minimum
        rising, falling = (self.mode - self.minimum) / width, (self.maximum - self.mode) / width
        return Beta(1 + self.gamma * rising, 1 + self.gamma * falling, self.minimum, self.maximum)


@final
@frozen(repr=False)
class PERT(Restated):
    """`ModPERT` with gamma = 4: the mean is (minimum + 4 · mode + maximum) / 6. https://en.wikipedia.org/wiki/PERT_distribution."""

    minimum: float
    mode: float
    maximum: float

    def _rules(self) -> Rules:
        return _ordered(self)

    @staticmethod
    def quantile_formula(p: Probability, minimum: Term, mode: Term, maximum: Term) -> Term:
        return ModPERT.quantile_formula(p, minimum, mode, maximum, p.lift(4.0))

    @staticmethod
    def share_formula(x: Term, minimum: Term, mode: Term, maximum: Term) -> Probability:
        return ModPERT.share_formula(x, minimum, mode, maximum, x.lift(4.0))

    @staticmethod
    def allows(minimum: Term, mode: Term, maximum: Term) -> Term:
        return Triangular.allows(minimum, mode, maximum)

    @property
    def _law(self) -> Distribution:
        return ModPERT(self.minimum, self.mode, self.maximum)


@final
@frozen(repr=False)
class Logistic(Explicit, WithMoments):
    """location + scale · ln(u / (1 - u)), scale > 0; in the middle, where the logarithm vanishes, by 2 · atanh(2u - 1).

    https://en.wikipedia.org/wiki/Logistic_distribution; ``scipy.stats.logistic(location, scale)``.
    """

    location: float
    scale: float

    def _rules(self) -> Rules:
        yield self.scale > 0, "scale must be above 0; it is std · sqrt(3) / π"

    @staticmethod
    def quantile_formula(p: Probability, location: Term, scale: Term) -> Term:
        tail = p.below.least(p.above)
        middle = 2.0 * (p.below - p.above).op("atanh")
        outer = ((1 - tail) / tail).log()
        return location + scale * where(tail < 0.25, where(p.is_lower, -outer, outer), middle)

    @staticmethod
    def share_formula(x: Term, location: Term, scale: Term) -> Probability:
        z = (x - location) / scale
        return Probability(1 / (1 + (-z).exp()), 1 / (1 + z.exp()))

    @staticmethod
    def allows(location: Term, scale: Term) -> Term:
        return scale > 0

    @property
    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        return self.location, (math.pi * self.scale) ** 2 / 3, 0.0, 1.2

    def _density(self, x: FloatArray) -> FloatArray:
        decay = np.exp(-np.abs(x - self.location) / self.scale)
        return decay / (self.scale * (1 + decay) ** 2)


@final
@frozen(repr=False)
class LogLogistic(Explicit, WithMoments):
    """location + scale · (u / (1 - u))^(1 / shape), scale and shape above 0; location + scale is the median.

    The moment of order k about the location is scale^k · kb / sin(kb) with b = π / shape, where k < shape.
    https://en.wikipedia.org/wiki/Log-logistic_distribution; ``scipy.stats.fisk(shape, location, scale)``.
    """

    location: float
    scale: float
    shape: float

    def _rules(self) -> Rules:
        yield self.scale > 0, "scale must be above 0; location + scale is the median"
        yield self.shape > 0, "shape must be above 0; above 1 there is a mean, above 2 a variance"

    @staticmethod
    def quantile_formula(p: Probability, location: Term, scale: Term, shape: Term) -> Term:
        return location + scale * (p.below / p.above) ** (1 / shape)

    @staticmethod
    def share_formula(x: Term, location: Term, scale: Term, shape: Term) -> Probability:
        odds = ((x - location) / scale).most(0.0) ** shape
        return Probability(1 / (1 + 1 / odds), 1 / (1 + odds))

    @staticmethod
    def allows(location: Term, scale: Term, shape: Term) -> Term:
        return (scale > 0) & (shape > 0)

    @property
    def support(self) -> tuple[float, float]:
        return self.location, math.inf

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        first, second, third, fourth = map(self._moment, (1, 2, 3, 4))
        variance = second - first * first if math.isfinite(second) else second
        skewness = (third - 3 * first * variance - first**3) / variance**1.5
        excess = (fourth - 4 * first * third + 6 * first**2 * variance + 3 * first**4) / variance**2 - 3 if third < math.inf else third
        return self.location + self.scale * first, self.scale * self.scale * variance, skewness, excess

    def _moment(self, order: int) -> float:
        """About 0, for location 0 and scale 1."""
        angle = order * math.pi / self.shape
        return angle / math.sin(angle) if order < self.shape else math.inf

    def _density(self, x: FloatArray) -> FloatArray:
        z = np.maximum((x - self.location) / self.scale, 0.0)
        power = np.minimum(z, 1 / z) ** self.shape  # never above 1, for the square not to overflow
        height = np.where(z <= 1, z ** (self.shape - 1), power / z)
        return np.where(x >= self.location, self.shape / self.scale * height / (1 + power) ** 2, 0.0)


@final
@frozen(repr=False)
class Pareto(Explicit, WithMoments):
    """scale · (1 - u)^(-1 / shape), scale and shape above 0; nothing lies below the scale.

    https://en.wikipedia.org/wiki/Pareto_distribution; ``scipy.stats.pareto(shape, scale=scale)``.
    """

    scale: float
    shape: float

    def _rules(self) -> Rules:
        yield self.scale > 0, "scale must be above 0; it is the smallest value"
        yield self.shape > 0, "shape must be above 0; above 1 there is a mean, above 2 a variance"

    @staticmethod
    def quantile_formula(p: Probability, scale: Term, shape: Term) -> Term:
        return scale * p.above ** (-1 / shape)

    @staticmethod
    def share_formula(x: Term, scale: Term, shape: Term) -> Probability:
        return Probability.of_hazard(shape * (x / scale).most(1.0).log())

    @staticmethod
    def allows(scale: Term, shape: Term) -> Term:
        return (scale > 0) & (shape > 0)

    @property
    def support(self) -> tuple[float, float]:
        return self.scale, math.inf

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        a, none = self.shape, math.inf if self.shape > 2 else math.nan
        mean = self.scale * a / (a - 1) if a > 1 else math.inf
        variance = mean / (a - 1) * self.scale / (a - 2) if a > 2 else math.inf
        skewness = 2 * (1 + a) / (a - 3) * math.sqrt((a - 2) / a) if a > 3 else none
        excess = 6 * (a**3 + a**2 - 6 * a - 2) / (a * (a - 3) * (a - 4)) if a > 4 else none
        return mean, variance, skewness, excess

    def _density(self, x: FloatArray) -> FloatArray:
        return np.where(x >= self.scale, self.shape / x * (self.scale / x) ** self.shape, 0.0)


@final
@frozen(repr=False)
class Gumbel(Explicit, WithMoments):
    """location - scale · ln(-ln u), scale > 0: the largest of many. NIST 1.3.6.6.16; ``scipy.stats.gumbel_r(location, scale)``."""

    location: float
    scale: float

    def _rules(self) -> Rules:
        yield self.scale > 0, "scale must be above 0; it is std · sqrt(6) / π"

    @staticmethod
    def quantile_formula(p: Probability, location: Term, scale: Term) -> Term:
        return location - scale * p.rarity.log()

    @staticmethod
    def share_formula(x: Term, location: Term, scale: Term) -> Probability:
        return Probability.of_hazard((-(x - location) / scale).exp()).turned

    @staticmethod
    def allows(location: Term, scale: Term) -> Term:
        return scale > 0

    @property
    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        variance = (math.pi * self.scale) ** 2 / 6
        return self.location + np.euler_gamma * self.scale, variance, 12 * math.sqrt(6) * APERY / math.pi**3, 2.4

    def _density(self, x: FloatArray) -> FloatArray:
        z = (x - self.location) / self.scale
        return np.exp(-z - np.exp(-z)) / self.scale


@final
@frozen(repr=False)
class StudentT(Approximated, WithMoments):
    """Student's t with `degrees` of freedom, any number from 1/8. NIST 1.3.6.6.4; ``scipy.stats.t(degrees)``.

    t² = degrees · y / (1 - y) with I(1/2, degrees/2, y) = |2u - 1|. Where y passes 1/2 its complement is solved for instead, and
    in the outer half y itself from the small probability 1 - |2u - 1|: no small difference is ever taken.
    """

    degrees: float

    def _rules(self) -> Rules:
        yield self.degrees >= 0.125, "degrees (of freedom) must be at least 1/8: the squares of its draws would leave the range of float64"

    shapes = 1

    @staticmethod
    def standard(p: Probability, degrees: Term) -> Term:
        half = degrees / 2
        twice = 2.0 * p.below.least(p.above)
        outer = twice <= half.op("beta_i", 0.5, 0.5)
        part = where(outer, half, 0.5).op("beta_i_inverse", where(outer, 0.5, half), where(outer, twice, 1 - twice))
        from_tail = p.lift(0.5).op("beta_i_upper_inverse", half, twice)
        part = where(outer | (twice >= 0.5), part, from_tail)
        rest = 1 - part
        size = (degrees * where(outer, rest / part, part / rest)).sqrt()
        return where(p.is_lower, -size, size)

    @staticmethod
    def placed(p: Probability, value: Term) -> Term:
        return value

    @staticmethod
    def share_formula(x: Term, degrees: Term) -> Probability:
        half, square = degrees / 2, x * x / degrees
        outer = 0.5 * half.op("beta_i", 0.5, 1 / (1 + square))
        inner = 0.5 - 0.5 * x.lift(0.5).op("beta_i", half, square / (1 + square))
        tail = where(square > 1, outer, inner)  # near 0 the outer one has lost x
        return Probability(where(x < 0, tail, 1 - tail), where(x < 0, 1 - tail, tail))

    @staticmethod
    def allows(degrees: Term) -> Term:
        return degrees >= 0.125

    @property
    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        n = self.degrees
        variance = n / (n - 2) if n > 2 else math.inf if n > 1 else math.nan
        excess = 6 / (n - 4) if n > 4 else math.inf if n > 2 else math.nan
        return 0.0 if n > 1 else math.nan, variance, 0.0 if n > 3 else math.nan, excess

    def _density(self, x: FloatArray) -> FloatArray:
        from scipy.special import betaln

        logarithm = -0.5 * (self.degrees + 1) * np.log1p(x * x / self.degrees) - betaln(0.5, self.degrees / 2)
        return np.asarray(np.exp(logarithm) / math.sqrt(self.degrees))
