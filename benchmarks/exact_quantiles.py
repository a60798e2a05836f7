"""Quantiles of the continuous laws by mpmath, from their definitions, in 60 digits: `python benchmarks/exact_quantiles.py > …csv`.

Nothing of this package is used. mpmath is no dependency of it, so the 17 digits that this prints are kept beside it.
"""

import csv
import sys

from mpmath import betainc, erfc, exp, findroot, gammainc, log, mp, mpf, sqrt

mp.dps = 60
TAILS = [2.0**-53, 1e-15, 1e-12, 1e-9, 1e-6, 1e-4, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4]
POINTS = [*TAILS, 0.5, *(1 - tail for tail in reversed(TAILS))]


def solved(tail_of, target, low, high):
    """Where a tail, as a function of log x or x, is `target`: by its logarithm, which is nearly straight."""
    return findroot(lambda x: log(tail_of(x)) - log(target), (low, high), solver="anderson", tol=mpf(10) ** -90, maxsteps=500, verify=False)


def monotone(below, above, low, high):
    """u → the x with P(X ≤ x) = u, solved for in the smaller tail."""
    return lambda u: solved(below, u, low, high) if u <= 0.5 else solved(above, 1 - u, low, high)


def normal(u):
    tail = min(u, 1 - u)
    if u == 0.5:
        return mpf(0)
    size = solved(lambda x: erfc(x / sqrt(mpf(2))) / 2, tail, mpf("0.01"), 9)
    return -size if u < 0.5 else size


def gamma(shape):
    def below(t):
        return gammainc(shape, 0, exp(t), regularized=True)

    def above(t):
        return gammainc(shape, exp(t), mp.inf, regularized=True)

    inverse = monotone(below, above, log(shape) - 1, log(shape))
    return lambda u: exp(inverse(u))


def beta(a, b):
    """By the logarithm of x / (1 - x)."""

    def below(t):
        return betainc(a, b, 0, 1 / (1 + exp(-t)), regularized=True)

    def above(t):
        return betainc(b, a, 0, 1 / (1 + exp(t)), regularized=True)

    inverse = monotone(below, above, log(mpf(a) / b) - 1, log(mpf(a) / b))
    return lambda u: 1 / (1 + exp(-inverse(u)))


def student(degrees):
    """P(|T| > t) = I(degrees / 2, 1/2, degrees / (degrees + t²)): DLMF 8.17, NIST 1.3.6.6.4."""
    share = beta(mpf(degrees) / 2, mpf(1) / 2)

    def quantile(u):
        if u == 0.5:
            return mpf(0)
        y = share(2 * min(u, 1 - u))
        size = sqrt(degrees * (1 - y) / y)
        return -size if u < 0.5 else size

    return quantile


def lognormal(mean, std):
    sigma_squared = log(1 + (mpf(std) / mean) ** 2)
    return lambda u: mean * exp(sqrt(sigma_squared) * normal(u) - sigma_squared / 2)


def triangular(minimum, mode, maximum):
    width, rise, fall = (mpf(size) for size in (maximum - minimum, mode - minimum, maximum - mode))
    return lambda u: minimum + sqrt(u * width * rise) if u * width <= rise else maximum - sqrt((1 - u) * width * fall)


def pert(minimum, mode, maximum, gamma=4):
    width = mpf(maximum - minimum)
    share = beta(1 + gamma * (mode - minimum) / width, 1 + gamma * (maximum - mode) / width)
    return lambda u: minimum + width * share(u)


def broken_line(probabilities, values):
    """Straight between points (probability, value)."""

    def quantile(u):
        above = next(index for index, probability in enumerate(probabilities) if u <= probability and index)
        left, right = probabilities[above - 1], probabilities[above]
        return values[above - 1] + (u - left) / (right - left) * (values[above] - values[above - 1])

    return quantile


def truncated(quantile, below, above):
    """Of a law with P(X < minimum) = below and P(X > maximum) = above: at below + u · (1 - below - above)."""
    return lambda u: quantile(below + u * (1 - below - above))


UPPER_NORMAL = erfc(1 / sqrt(mpf(2))) / 2  # P(Z > 1)
LAWS = {
    "Normal(mean=100, std=10)": lambda u: 100 + 10 * normal(u),
    "Normal(mean=0, std=1)": normal,
    "LogNormal(mean=100, std=10)": lognormal(100, 10),
    "LogNormal(mean=0.5, std=2)": lognormal(0.5, 2),
    "Triangular(minimum=90, mode=100, maximum=130)": triangular(90, 100, 130),
    "PERT(minimum=90, mode=100, maximum=130)": pert(90, 100, 130),
    "ModPERT(minimum=-3, mode=1, maximum=7, gamma=6)": pert(-3, 1, 7, 6),
    "Uniform(minimum=-2, maximum=7)": lambda u: 9 * u - 2,
    "Beta(alpha=2, beta=3, minimum=0, maximum=1)": beta(2, 3),
    "Beta(alpha=0.5, beta=40, minimum=0, maximum=1)": beta(0.5, 40),
    "Gamma(shape=2.5, scale=4)": lambda u: 4 * gamma(mpf(2.5))(u),
    "Gamma(shape=0.3, scale=1)": gamma(mpf(0.3)),
    "Gamma(shape=400, scale=0.01)": lambda u: mpf(0.01) * gamma(400)(u),
    "Erlang(shape=3, scale=2)": lambda u: 2 * gamma(3)(u),
    "ChiSquared(degrees=5)": lambda u: 2 * gamma(mpf(2.5))(u),
    "Exponential(mean=4)": lambda u: -4 * log(1 - u),
    "Weibull(shape=0.8, scale=3)": lambda u: 3 * (-log(1 - u)) ** (1 / mpf(0.8)),
    "Rayleigh(scale=3)": lambda u: 3 * sqrt(-2 * log(1 - u)),
    "Logistic(location=100, scale=3)": lambda u: 100 + 3 * log(u / (1 - u)),
    "LogLogistic(location=0, scale=2, shape=5)": lambda u: 2 * (u / (1 - u)) ** (mpf(1) / 5),
    "Pareto(scale=2, shape=5.5)": lambda u: 2 * (1 - u) ** (-1 / mpf(5.5)),
    "Gumbel(location=100, scale=3)": lambda u: 100 - 3 * log(-log(u)),
    "StudentT(degrees=1.5)": student(1.5),
    "StudentT(degrees=5)": student(5),
    "StudentT(degrees=40)": student(40),
    "StudentT(degrees=1000)": student(1000),
    "Cumulative(minimum=0, maximum=10, values=[2, 6], probabilities=[0.25, 0.5])": broken_line([0, 0.25, 0.5, 1], [0, 2, 6, 10]),
    "General(minimum=90, maximum=130, values=[100], heights=[7])": triangular(90, 100, 130),
    "Histogram(minimum=-1, maximum=5, weights=[1, 3, 4])": broken_line([0, 0.125, 0.5, 1], [-1, 1, 3, 5]),
    "Empirical(values=[7, 1, 4, 5])": broken_line([0, mpf(1) / 3, mpf(2) / 3, 1], [1, 4, 5, 7]),
    "Normal(mean=0, std=1).truncated(minimum=1)": truncated(normal, 1 - UPPER_NORMAL, 0),
    "Gamma(shape=2.5, scale=4).shifted(-20)": lambda u: 4 * gamma(mpf(2.5))(u) - 20,
    "Gamma(shape=2.5, scale=4).truncated(minimum=2, maximum=30)": truncated(
        lambda u: 4 * gamma(mpf(2.5))(u),
        gammainc(2.5, 0, 0.5, regularized=True),
        gammainc(2.5, 7.5, mp.inf, regularized=True),
    ),
    "StudentT(degrees=5).scaled(-3)": lambda u: 3 * student(5)(u),
}

if __name__ == "__main__":
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["law", "u", "quantile"])
    for name, quantile in LAWS.items():
        table.writerows([name, repr(point), mp.nstr(quantile(mpf(point)), 17)] for point in POINTS)
