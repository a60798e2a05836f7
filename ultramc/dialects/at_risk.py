"""@RISK, by Palisade (now Lumivero): functions, properties and stored settings.

Names and the order and meaning of parameters: https://help.palisade.com/v8/en/@RISK/Function/.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from attrs import evolve

from ultramc.dialects.base import Dialect, Settings
from ultramc.distributions import (
    PERT,
    Bernoulli,
    Beta,
    Binomial,
    ChiSquared,
    Cumulative,
    Discrete,
    DiscreteUniform,
    Distribution,
    Erlang,
    Exponential,
    Gamma,
    General,
    Geometric,
    Gumbel,
    Histogram,
    Hypergeometric,
    IntUniform,
    Logistic,
    LogLogistic,
    LogNormal,
    NegativeBinomial,
    Normal,
    Pareto,
    Poisson,
    Rayleigh,
    StudentT,
    Triangular,
    Uniform,
    Weibull,
)
from ultramc.distributions.continuous import LogNormalOfLogarithm
from ultramc.distributions.law import text_of
from ultramc.drawing import Changes, Law, drawn
from ultramc.errors import InputError
from ultramc.functions import Function, Signature
from ultramc.lowering import Call, Steps
from ultramc.sampling import RANDOM, LatinHypercube
from ultramc.syntax import Call as CallNode
from ultramc.syntax import Missing, Node
from ultramc.workbook import Workbook


def discrete(values: Sequence[float], weights: Sequence[float]) -> Distribution:
    """Weights need not add up to 1, nor values ascend."""
    return Discrete(values, weights=weights)


def histogram(minimum: float, maximum: float, weights: Sequence[float]) -> Distribution:
    """minimum = maximum is allowed."""
    return Discrete([minimum], [1.0]) if minimum == maximum else Histogram(minimum, maximum, weights)


def trigen(bottom: float, mode: float, top: float, bottom_percent: float, top_percent: float) -> Distribution:
    """The triangle whose percentiles, on a scale of 0 to 100, are bottom and top.

    With x and y the distances of its ends from the mode, P(X ≤ bottom) = p and P(X > top) = q say that
    x · (1 - sqrt(p (1 + y/x))) = mode - bottom and y · (1 - sqrt(q (1 + x/y))) = top - mode: one equation for y/x.
    """
    p, q = bottom_percent / 100, 1 - top_percent / 100
    if not (bottom <= mode <= top and bottom < top and p >= 0 and q >= 0 and p + q < 1):
        given = ", ".join(map(text_of, (bottom, mode, top, bottom_percent, top_percent)))
        raise InputError(f"RiskTrigen({given}): bottom ≤ most likely ≤ top, and percentiles of 0 to 100 in ascending order")
    left, right = mode - bottom, top - mode
    if p == left == 0:
        return Triangular(bottom, mode, mode + right / (1 - math.sqrt(q)))
    if q == right == 0:
        return Triangular(mode - left / (1 - math.sqrt(p)), mode, top)

    def shares(log_ratio: float) -> tuple[float, float]:
        ratio = math.exp(log_ratio)
        return 1 - math.sqrt(p * (1 + ratio)), 1 - math.sqrt(q * (1 + 1 / ratio))

    def excess(log_ratio: float) -> float:
        first, second = shares(log_ratio)
        return math.exp(log_ratio) * second * left - first * right

    from scipy.optimize import brentq

    # Both shares are above 0 where q / (1 - q) < y/x < 1/p - 1.
    low = math.log(q / (1 - q)) if q else -700.0
    high = math.log(1 / p - 1) if p else 700.0
    log_ratio = brentq(excess, low, high, xtol=1e-15, rtol=1e-15)
    first, second = shares(log_ratio)
    x = left / first if left else right / second * math.exp(-log_ratio)
    return Triangular(mode - x, mode, mode + x * math.exp(log_ratio))


NUMBER, LIST = ("number",), ("array",)

# Name, kinds of the parameters, class of the law; then, where the sheet's order is not that of its fields, their order.
LAWS = (
    Law("RiskBernoulli", NUMBER, Bernoulli),
    Law("RiskBeta", NUMBER * 2, Beta),
    Law("RiskBetaGeneral", NUMBER * 4, Beta),
    Law("RiskBinomial", NUMBER * 2, Binomial),
    Law("RiskChisq", NUMBER, ChiSquared),
    Law("RiskCumul", NUMBER * 2 + LIST * 2, Cumulative),
    Law("RiskDiscrete", LIST * 2, Discrete, make=discrete),
    Law("RiskDuniform", LIST, DiscreteUniform),
    Law("RiskErlang", NUMBER * 2, Erlang),
    Law("RiskExpon", NUMBER, Exponential),
    Law("RiskExtvalue", NUMBER * 2, Gumbel),
    Law("RiskGamma", NUMBER * 2, Gamma),
    Law("RiskGeneral", NUMBER * 2 + LIST * 2, General),
    Law("RiskGeomet", NUMBER, Geometric),
    Law("RiskHistogrm", NUMBER * 2 + LIST, Histogram, make=histogram),
    Law("RiskHypergeo", NUMBER * 3, Hypergeometric),
    Law("RiskIntuniform", NUMBER * 2, IntUniform),
    Law("RiskLogistic", NUMBER * 2, Logistic),
    Law("RiskLoglogistic", NUMBER * 3, LogLogistic),
    Law("RiskLognorm", NUMBER * 2, LogNormal),
    Law("RiskLognorm2", NUMBER * 2, LogNormalOfLogarithm),
    Law("RiskNegbin", NUMBER * 2, NegativeBinomial),
    Law("RiskNormal", NUMBER * 2, Normal),
    Law("RiskPareto", NUMBER * 2, Pareto, order=(1, 0)),
    Law("RiskPert", NUMBER * 3, PERT),
    Law("RiskPoisson", NUMBER, Poisson),
    Law("RiskRayleigh", NUMBER, Rayleigh),
    Law("RiskStudent", NUMBER, StudentT),
    Law("RiskTriang", NUMBER * 3, Triangular),
    Law("RiskTrigen", NUMBER * 5, None, make=trigen),
    Law("RiskUniform", NUMBER * 2, Uniform),
    Law("RiskWeibull", NUMBER * 2, Weibull),
)

# What each property changes, by its arguments. RiskTruncate's limits are those before a shift, RiskTruncate2's those after it.
PROPERTIES: dict[str, tuple[str, ...]] = {
    "RISKSHIFT": ("shift",),
    "RISKSTATIC": ("static",),
    "RISKTRUNCATE": ("minimum", "maximum"),
    "RISKTRUNCATE2": ("minimum", "maximum"),
    "RISKTRUNCATEP": ("lower", "upper"),
}
TRUNCATING = frozenset({"RISKTRUNCATE", "RISKTRUNCATE2", "RISKTRUNCATEP"})
CORRMAT, NAME, OUTPUT = "RISKCORRMAT", "RISKNAME", "RISKOUTPUT"
SAY_NOTHING_OF_NUMBERS = frozenset({NAME, "RISKCATEGORY", "RISKCOLLECT", "RISKISDATE", "RISKISDISCRETE", "RISKUNITS"})


def _function(law: Law) -> Function:
    count = len(law.kinds)

    def body(call: Call, *nodes: Node) -> Steps:
        if len(nodes) < count:
            raise call.refuse(f"takes {count} parameters, not {len(nodes)}")
        values = []
        for kind, node in zip(law.kinds, nodes, strict=False):
            values.append(call.argument(kind, (yield node, call.scope)))
        changes = yield from _changes(call, nodes[count:])
        return drawn(call, law, values, changes)

    return Function(law.name.upper(), Signature.parse("(node)+"), "lazy", body)


def _changes(call: Call, nodes: Sequence[Node]) -> Steps:
    changes = Changes()
    seen: set[str] = set()
    for node in nodes:
        found = _property(call, node)
        if found.name in seen:
            raise call.refuse(f"has {found.name} twice")
        seen.add(found.name)
        changes = yield from _changed(call, changes, found.name, found.arguments)
    if len(seen & TRUNCATING) > 1:
        raise call.refuse(f"is truncated twice, by {' and by '.join(sorted(seen & TRUNCATING))}")
    return changes


def _property(call: Call, node: Node) -> CallNode:
    if isinstance(node, CallNode) and (node.name in PROPERTIES or node.name in SAY_NOTHING_OF_NUMBERS or node.name == CORRMAT):
        return node
    name = node.name if isinstance(node, CallNode) else "another argument after its parameters"
    raise call.refuse(f"with {name} is not supported; it could change the numbers, so it is not ignored")


def _changed(call: Call, changes: Changes, name: str, arguments: Sequence[Node]) -> Steps:
    if name not in PROPERTIES:
        _skip(call, arguments)
        return evolve(changes, correlated=changes.correlated or name == CORRMAT)
    targets = PROPERTIES[name]
    if len(arguments) > len(targets):
        raise call.refuse(f"has {name} with {len(arguments)} arguments; it takes {len(targets)}")
    values: dict[str, Any] = {}
    for target, node in zip(targets, arguments, strict=False):
        if not isinstance(node, Missing):
            values[target] = call.argument("number", (yield node, call.scope))
    return evolve(changes, **values, after_shift=changes.after_shift or name == "RISKTRUNCATE2")


def _skip(call: Call, nodes: Sequence[Node]) -> None:
    for node in nodes:
        call.skip(node)


def _output(call: Call, *nodes: Node) -> Steps:
    """Worth 0: what stands beside it in the formula is the output. Its arguments are names."""
    for node in nodes:
        if isinstance(node, CallNode) and node.name.startswith("RISK") and node.name not in SAY_NOTHING_OF_NUMBERS:
            raise call.refuse(f"with {node.name} is not supported")
    _skip(call, nodes)
    yield from ()
    return call.kit.number(0)


# Settings, in hidden names

LATIN_HYPERCUBE = 3
SEEDS = 2**32  # those of @RISK are whole numbers of 32 bits with a sign, ours have none


def _settings(book: Workbook) -> Settings:
    stored = {name.name.lower(): name.text.strip() for name in book.names if name.sheet is None}
    iterations, seed, sampling = (_whole(stored.get(name)) for name in ("risknumiterations", "riskfixedseed", "risksamplingtype"))
    fixed = stored.get("riskusefixedseed", "").upper() == "TRUE"
    method = None if sampling is None else LatinHypercube(replicates=1) if sampling == LATIN_HYPERCUBE else RANDOM
    return Settings(
        iterations if iterations and iterations > 0 else None,
        seed % SEEDS if fixed and seed is not None else None,
        method,
        tuple(_notes(stored)),
    )


def _whole(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _notes(stored: dict[str, str]) -> list[str]:
    simulations = _whole(stored.get("risknumsimulations")) or 1
    return [f"the workbook asks for {simulations} simulations; one is run"] if simulations > 1 else []


DIALECT = Dialect(
    name="@RISK",
    functions={
        **{law.name.upper(): _function(law) for law in LAWS},
        OUTPUT: Function(OUTPUT, Signature.parse(" ".join(["node?"] * 8)), "lazy", _output),
    },
    draws=frozenset(law.name.upper() for law in LAWS),
    claims=lambda name: name.startswith("RISK"),
    settings=_settings,
    output=OUTPUT,
    naming=NAME,
    correlation=CORRMAT,
)
