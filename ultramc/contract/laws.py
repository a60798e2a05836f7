"""The distributions that the contract draws from, one at least of each kind; what they should give is worked out by `reference`."""

from __future__ import annotations

from ultramc.address import RangeRef
from ultramc.contract.cases import CELL
from ultramc.distributions import parse_distribution
from ultramc.distributions.law import Distribution
from ultramc.distributions.probability import Drawn
from ultramc.program import Builder, Program, Slot
from ultramc.sampling import Site
from ultramc.terms import Term

LAWS = (
    "Bernoulli(0.3)",
    "Beta(2, 3.5, -1, 4)",
    "Binomial(12, 0.35)",
    "ChiSquared(4)",
    "Cumulative(0, 10, [2, 5], [0.2, 0.7])",
    "Discrete([1, 2.5, 7], [0.2, 0.5, 0.3])",
    "DiscreteUniform([3, 1, 4, 1.5])",
    "Empirical([2.5, 1.25, 8, 4])",
    "Erlang(3, 2)",
    "Exponential(4)",
    "Gamma(2.5, 1.5)",
    "General(0, 10, [2, 5], [1, 3])",
    "Geometric(0.2)",
    "Gumbel(1, 2)",
    "Histogram(0, 9, [1, 4, 2])",
    "Hypergeometric(5, 8, 20)",
    "IntUniform(-2, 9)",
    "LogLogistic(1, 2, 3)",
    "LogNormal(10, 3)",
    "Logistic(1, 2)",
    "ModPERT(1, 2, 6, 3)",
    "NegativeBinomial(3, 0.4)",
    "Normal(100, 15)",
    "PERT(90, 100, 130)",
    "Pareto(1, 2.5)",
    "Poisson(3.5)",
    "Rayleigh(2)",
    "StudentT(5)",
    "Triangular(90, 100, 130)",
    "Uniform(-1, 3)",
    "Weibull(1.5, 2)",
)
VARIANTS = (  # truncated by values and by quantiles, shifted, scaled
    "Normal(0, 1).truncated(-1, 2)",
    "Normal(0, 1).truncated(8)",
    "Gamma(2, 1).truncated(maximum=0.5)",
    "LogNormal(10, 3).truncated_at_quantiles(0.05, 0.9)",
    "Exponential(4).shifted(100)",
    "Poisson(3.5).scaled(2.5)",
)


def program_of_law(text: str) -> Program:
    """One draw."""
    law = parse_distribution(text)
    assert isinstance(law, Distribution), text
    builder = Builder()
    builder.cell = CELL
    u = Term(builder, builder.emit("uniform", site=Site(CELL.sheet, CELL.top, CELL.left), shape=(1, 1, 1, 1)))
    payload = law.at(Drawn.of(u)).operand
    return Program(tuple(builder.instructions), (Slot(text, RangeRef.of(CELL.first), payload, 0, 1),), ())
