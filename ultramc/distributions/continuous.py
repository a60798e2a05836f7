"""Continuous laws with a formula for their quantile.

Sources: the NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.6 (https://www.itl.nist.gov/div898/handbook),
and, where a class says so, Wikipedia. Each class names its SciPy counterpart.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np
from attrs import frozen

from ultramc.distributions.law import Distribution, Emit, FloatArray, Operand, Restated, Rules, WithMoments, text_of
from ultramc.sampling import SMALLEST_UNIFORM

APERY = 1.2020569031595943  # ζ(3)


def _op(name: str, *operands: Operand) -> FloatArray:
    from ultramc.engines.array import evaluate

    return np.asarray(evaluate(name, *operands))


def _normal_pdf(z: FloatArray) -> FloatArray:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


@final
@frozen(repr=False)
class Normal(Distribution):
    """mean + std · z, z the standard normal quantile. std > 0. NIST 1.3.6.6.1; ``scipy.stats.norm(mean, std)``."""

    mean: float
    std: float

    def _rules(self) -> Rules:
        yield self.std > 0, f"std must be above 0; for a value that does not vary give the number {text_of(self.mean)}"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        return emit("add", self.mean, emit("mul", self.std, emit("normal_quantile", u)))

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

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return _op("normal_cdf", (x - self.mean) / self.std)

    def _density(self, x: FloatArray) -> FloatArray:
        return _normal_pdf((x - self.mean) / self.std) / self.std


@final
@frozen(repr=False)
class LogNormal(Distribution):
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

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        return emit("exp", emit("add", self.mu, emit("mul", self.sigma, emit("normal_quantile", u))))

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
        return (self._squared_variation + 3) * self.std / self.mean

    @property
    def kurtosis(self) -> float:
        # w⁴ + 2w³ + 3w² - 6 with w = exp(sigma²) = 1 + t, expanded: nothing cancels when t is small
        t = self._squared_variation
        return t * (16 + t * (15 + t * (6 + t)))

    @property
    def _squared_variation(self) -> float:
        ratio = self.std / self.mean
        return ratio * ratio

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return np.where(x > 0, _op("normal_cdf", (np.log(x) - self.mu) / self.sigma), 0.0)

    def _density(self, x: FloatArray) -> FloatArray:
        return np.where(x > 0, _normal_pdf((np.log(x) - self.mu) / self.sigma) / (x * self.sigma), 0.0)


def _ordered(law: Triangular | PERT | ModPERT) -> Rules:
    least, middle, largest = map(text_of, sorted((law.minimum, law.mode, law.maximum)))
    meant = f"{type(law).__name__}({least}, {middle}, {largest})"
    yield law.minimum <= law.mode <= law.maximum, f"mode must lie between minimum and maximum; did you mean {meant}?"
    yield law.minimum < law.maximum, f"minimum and maximum are equal; for a value that does not vary give the number {least}"


@final
@frozen(repr=False)
class Triangular(Distribution):
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

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        rise = emit("sqrt", emit("mul", u, self._rising))
        fall = emit("sqrt", emit("mul", emit("sub", 1.0, u), self._falling))
        # Rounding could carry either side over the mode: held there, the quantile is monotone and inside its ends.
        lower = emit("min", self.mode, emit("add", self.minimum, emit("mul", self._width, rise)))
        upper = emit("max", self.mode, emit("sub", self.maximum, emit("mul", self._width, fall)))
        return emit("select", emit("less_equal", u, self._rising), lower, upper)

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

    def _cumulative(self, x: FloatArray) -> FloatArray:
        left = (x - self.minimum) / self._width
        right = (self.maximum - x) / self._width
        sides = [left <= 0, right <= 0, x < self.mode]
        return np.select(sides, [0.0, 1.0, left * left / self._rising], 1 - right * right / self._falling)

    def _density(self, x: FloatArray) -> FloatArray:
        left = (x - self.minimum) / (self.mode - self.minimum)
        right = (self.maximum - x) / (self.maximum - self.mode)
        height = np.select([x == self.mode, x < self.mode], [1.0, left], right)
        return 2 / self._width * np.where(height > 0, height, 0.0)


@final
@frozen(repr=False)
class Uniform(Distribution):
    """minimum + (maximum - minimum) · u, minimum < maximum. NIST 1.3.6.6.2; ``scipy.stats.uniform(minimum, maximum - minimum)``."""

    minimum: float
    maximum: float

    def _rules(self) -> Rules:
        least, largest = map(text_of, sorted((self.minimum, self.maximum)))
        yield self.minimum != self.maximum, f"minimum and maximum are equal; for a value that does not vary give the number {least}"
        yield self.minimum < self.maximum, f"minimum is above maximum; did you mean Uniform({least}, {largest})?"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        return emit("add", self.minimum, emit("mul", self._width, u))

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

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return np.clip((x - self.minimum) / self._width, 0.0, 1.0)

    def _density(self, x: FloatArray) -> FloatArray:
        return np.where((self.minimum <= x) & (x <= self.maximum), 1 / self._width, 0.0)


@final
@frozen(repr=False)
class Exponential(Distribution):
    """-mean · ln(1 - u), mean > 0: the waiting time at a rate of 1 / mean. NIST 1.3.6.6.7; ``scipy.stats.expon(scale=mean)``."""

    mean: float

    def _rules(self) -> Rules:
        yield self.mean > 0, "mean must be above 0; at a rate r per unit of time it is 1/r"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        return emit("mul", -self.mean, emit("log1p", emit("neg", u)))

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

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return -np.expm1(-np.maximum(x, 0.0) / self.mean)

    def _density(self, x: FloatArray) -> FloatArray:
        return np.where(x >= 0, np.exp(-x / self.mean) / self.mean, 0.0)


@final
@frozen(repr=False)
class Weibull(Distribution):
    """scale · (-ln(1 - u))^(1 / shape), shape and scale above 0. NIST 1.3.6.6.8; ``scipy.stats.weibull_min(shape, scale=scale)``."""

    shape: float
    scale: float

    def _rules(self) -> Rules:
        yield self.shape > 0, "shape must be above 0; 1 gives an exponential distribution"
        yield self.scale > 0, "scale must be above 0; 63.2 % of the values lie below it"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        hazard = emit("neg", emit("log1p", emit("neg", u)))
        return emit("mul", self.scale, emit("power", hazard, 1 / self.shape))

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

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return -np.expm1(-((np.maximum(x, 0.0) / self.scale) ** self.shape))

    def _density(self, x: FloatArray) -> FloatArray:
        z = np.maximum(x, 0.0) / self.scale
        return np.where(x >= 0, self.shape / self.scale * z ** (self.shape - 1) * np.exp(-(z**self.shape)), 0.0)


@final
@frozen(repr=False)
class Gamma(WithMoments):
    """scale · x with P(shape, x) = u, shape and scale above 0; above the median from 1 - u. The mean is shape · scale.

    NIST 1.3.6.6.11; ``scipy.stats.gamma(shape, scale=scale)``.
    """

    shape: float
    scale: float

    def _rules(self) -> Rules:
        yield self.shape > 0, "shape must be above 0; it is (mean / std)²"
        yield self.scale > 0, "scale must be above 0; it is std² / mean, and 1 / rate"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        lower = emit("gamma_p_inverse", self.shape, u)
        upper = emit("gamma_q_inverse", self.shape, emit("sub", 1.0, u))
        return emit("mul", self.scale, emit("select", emit("less_equal", u, 0.5), lower, upper))

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        mean = self.shape * self.scale
        return mean, mean * self.scale, 2 / math.sqrt(self.shape), 6 / self.shape

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return _op("gamma_p", self.shape, np.maximum(x, 0.0) / self.scale)

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

    @property
    def _law(self) -> Weibull:
        return Weibull(2.0, math.sqrt(2) * self.scale)


@final
@frozen(repr=False)
class Beta(WithMoments):
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

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        low = emit("less_equal", u, 0.5)
        near, far = emit("select", low, self.alpha, self.beta), emit("select", low, self.beta, self.alpha)
        step = emit("mul", self._width, emit("beta_i_inverse", near, far, emit("min", u, emit("sub", 1.0, u))))
        return emit("select", low, emit("add", self.minimum, step), emit("sub", self.maximum, step))

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

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return _op("beta_i", self.alpha, self.beta, np.clip((x - self.minimum) / self._width, 0.0, 1.0))

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

    @property
    def _law(self) -> Distribution:
        return ModPERT(self.minimum, self.mode, self.maximum)


@final
@frozen(repr=False)
class Logistic(WithMoments):
    """location + scale · ln(u / (1 - u)), scale > 0; in the middle, where the logarithm vanishes, by 2 · atanh(2u - 1).

    https://en.wikipedia.org/wiki/Logistic_distribution; ``scipy.stats.logistic(location, scale)``.
    """

    location: float
    scale: float

    def _rules(self) -> Rules:
        yield self.scale > 0, "scale must be above 0; it is std · sqrt(3) / π"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        rest = emit("sub", 1.0, u)
        tail = emit("min", u, rest)
        middle = emit("mul", 2.0, emit("atanh", emit("sub", u, rest)))
        outer = emit("mul", emit("sign", emit("sub", u, 0.5)), emit("log", emit("div", emit("sub", 1.0, tail), tail)))
        return emit("add", self.location, emit("mul", self.scale, emit("select", emit("less", tail, 0.25), outer, middle)))

    @property
    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        return self.location, (math.pi * self.scale) ** 2 / 3, 0.0, 1.2

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return 1 / (1 + np.exp((self.location - x) / self.scale))

    def _density(self, x: FloatArray) -> FloatArray:
        decay = np.exp(-np.abs(x - self.location) / self.scale)
        return decay / (self.scale * (1 + decay) ** 2)


@final
@frozen(repr=False)
class LogLogistic(WithMoments):
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

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        odds = emit("div", u, emit("sub", 1.0, u))
        return emit("add", self.location, emit("mul", self.scale, emit("power", odds, 1 / self.shape)))

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

    def _cumulative(self, x: FloatArray) -> FloatArray:
        z = (x - self.location) / self.scale
        return np.where(z > 0, 1 / (1 + np.maximum(z, 0.0) ** -self.shape), 0.0)

    def _density(self, x: FloatArray) -> FloatArray:
        z = np.maximum((x - self.location) / self.scale, 0.0)
        power = np.minimum(z, 1 / z) ** self.shape  # never above 1, for the square not to overflow
        height = np.where(z <= 1, z ** (self.shape - 1), power / z)
        return np.where(x >= self.location, self.shape / self.scale * height / (1 + power) ** 2, 0.0)


@final
@frozen(repr=False)
class Pareto(WithMoments):
    """scale · (1 - u)^(-1 / shape), scale and shape above 0; nothing lies below the scale.

    https://en.wikipedia.org/wiki/Pareto_distribution; ``scipy.stats.pareto(shape, scale=scale)``.
    """

    scale: float
    shape: float

    def _rules(self) -> Rules:
        yield self.scale > 0, "scale must be above 0; it is the smallest value"
        yield self.shape > 0, "shape must be above 0; above 1 there is a mean, above 2 a variance"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        return emit("mul", self.scale, emit("power", emit("sub", 1.0, u), -1 / self.shape))

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

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return -np.expm1(-self.shape * np.log(np.maximum(x / self.scale, 1.0)))

    def _density(self, x: FloatArray) -> FloatArray:
        return np.where(x >= self.scale, self.shape / x * (self.scale / x) ** self.shape, 0.0)


@final
@frozen(repr=False)
class Gumbel(WithMoments):
    """location - scale · ln(-ln u), scale > 0: the largest of many. NIST 1.3.6.6.16; ``scipy.stats.gumbel_r(location, scale)``."""

    location: float
    scale: float

    def _rules(self) -> Rules:
        yield self.scale > 0, "scale must be above 0; it is std · sqrt(6) / π"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        rarity = emit("log", emit("neg", emit("log", u)))
        return emit("sub", self.location, emit("mul", self.scale, rarity))

    @property
    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        variance = (math.pi * self.scale) ** 2 / 6
        return self.location + np.euler_gamma * self.scale, variance, 12 * math.sqrt(6) * APERY / math.pi**3, 2.4

    def _cumulative(self, x: FloatArray) -> FloatArray:
        return np.exp(-np.exp((self.location - x) / self.scale))

    def _density(self, x: FloatArray) -> FloatArray:
        z = (x - self.location) / self.scale
        return np.exp(-z - np.exp(-z)) / self.scale


@final
@frozen(repr=False)
class StudentT(WithMoments):
    """Student's t with `degrees` of freedom, any number from 1/8. NIST 1.3.6.6.4; ``scipy.stats.t(degrees)``.

    t² = degrees · y / (1 - y) with I(1/2, degrees/2, y) = |2u - 1|. Where y passes 1/2 its complement is solved for instead,
    so that neither of the two is a small difference (and below every draw, where 1 - 2u is no longer exact).
    """

    degrees: float

    def _rules(self) -> Rules:
        yield self.degrees >= 0.125, "degrees (of freedom) must be at least 1/8: the squares of its draws would leave the range of float64"

    def emit_quantile(self, emit: Emit, u: Operand) -> Operand:
        half = self.degrees / 2
        twice = emit("mul", 2.0, emit("min", u, emit("sub", 1.0, u)))
        outer = emit("less_equal", twice, max(float(_op("beta_i", half, 0.5, 0.5)), SMALLEST_UNIFORM))
        probability = emit("select", outer, twice, emit("sub", 1.0, twice))
        part = emit("beta_i_inverse", emit("select", outer, half, 0.5), emit("select", outer, 0.5, half), probability)
        rest = emit("sub", 1.0, part)
        square = emit("select", outer, emit("div", rest, part), emit("div", part, rest))
        size = emit("sqrt", emit("mul", self.degrees, square))
        return emit("select", emit("less_equal", u, 0.5), emit("neg", size), size)

    @property
    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    @property
    def _moments(self) -> tuple[float, float, float, float]:
        n = self.degrees
        variance = n / (n - 2) if n > 2 else math.inf if n > 1 else math.nan
        excess = 6 / (n - 4) if n > 4 else math.inf if n > 2 else math.nan
        return 0.0 if n > 1 else math.nan, variance, 0.0 if n > 3 else math.nan, excess

    def _cumulative(self, x: FloatArray) -> FloatArray:
        tail = 0.5 * _op("beta_i", self.degrees / 2, 0.5, 1 / (1 + x * x / self.degrees))
        return np.where(x < 0, tail, 1 - tail)

    def _density(self, x: FloatArray) -> FloatArray:
        from scipy.special import betaln

        logarithm = -0.5 * (self.degrees + 1) * np.log1p(x * x / self.degrees) - betaln(0.5, self.degrees / 2)
        return np.asarray(np.exp(logarithm) / math.sqrt(self.degrees))
