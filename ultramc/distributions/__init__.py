"""The laws by name, and the text in which a command line or a file gives them."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable
from typing import Any

from ultramc.distributions.continuous import (
    PERT,
    Beta,
    ChiSquared,
    Erlang,
    Exponential,
    Gamma,
    Gumbel,
    Logistic,
    LogLogistic,
    LogNormal,
    ModPERT,
    Normal,
    Pareto,
    Rayleigh,
    StudentT,
    Triangular,
    Uniform,
    Weibull,
)
from ultramc.distributions.discrete import (
    Bernoulli,
    Binomial,
    Discrete,
    DiscreteUniform,
    Geometric,
    Hypergeometric,
    IntUniform,
    NegativeBinomial,
    Poisson,
)
from ultramc.distributions.from_scipy import FromSciPy
from ultramc.distributions.law import ByCells, Distribution, Scaled, TimesBase, finite, shown
from ultramc.distributions.piecewise import Cumulative, Empirical, General, Histogram
from ultramc.errors import InputError

__all__ = [
    "DISTRIBUTIONS",
    "PERT",
    "Bernoulli",
    "Beta",
    "Binomial",
    "ByCells",
    "ChiSquared",
    "Cumulative",
    "Discrete",
    "DiscreteUniform",
    "Distribution",
    "Empirical",
    "Erlang",
    "Exponential",
    "FromSciPy",
    "Gamma",
    "General",
    "Geometric",
    "Gumbel",
    "Histogram",
    "Hypergeometric",
    "IntUniform",
    "LogLogistic",
    "LogNormal",
    "Logistic",
    "ModPERT",
    "NegativeBinomial",
    "Normal",
    "Pareto",
    "Poisson",
    "Rayleigh",
    "Scaled",
    "StudentT",
    "TimesBase",
    "Triangular",
    "Uniform",
    "Weibull",
    "parse_distribution",
]

LONGEST_TEXT = 10_000  # characters that `parse_distribution` reads
MOST_VARIANTS = 20  # of one law
VARIANTS = frozenset(("scaled", "shifted", "truncated", "truncated_at_quantiles"))  # methods that it calls

DISTRIBUTIONS: dict[str, Callable[..., Distribution]] = {
    law.__name__: law
    for law in (
        Normal,
        LogNormal,
        Triangular,
        PERT,
        ModPERT,
        Uniform,
        Beta,
        Gamma,
        Erlang,
        ChiSquared,
        Exponential,
        Weibull,
        Rayleigh,
        Logistic,
        LogLogistic,
        Pareto,
        Gumbel,
        StudentT,
        Discrete,
        DiscreteUniform,
        IntUniform,
        Bernoulli,
        Binomial,
        Poisson,
        Geometric,
        NegativeBinomial,
        Hypergeometric,
        Cumulative,
        General,
        Histogram,
        Empirical,
    )
}


def parse_distribution(text: str) -> Distribution | TimesBase | float:
    """``Triangular(1, 2, 3)``, ``Normal(mean=1, std=0.1).truncated(0)``, ``Uniform(.9, 1.1).times_base()`` or a plain number.

    Nothing is evaluated: arguments are numbers or lists of numbers. Raises `InputError` for anything else.
    """
    number = _number(text)
    return _from_call(text, _syntax_tree(text)) if number is None else finite(number, "an input")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _syntax_tree(text: str) -> ast.expr:
    if len(text) > LONGEST_TEXT:
        raise InputError(f"{shown(text)} has {len(text)} characters, more than {LONGEST_TEXT}; build the distribution in Python")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as problem:
        raise _not_understood(text, f" ({problem.msg})") from None
    except (ValueError, MemoryError, RecursionError):
        raise _not_understood(text) from None


def _from_call(text: str, tree: ast.expr) -> Distribution | TimesBase:
    match tree:
        case ast.Call(func=ast.Attribute(value=inner, attr="times_base"), args=[], keywords=[]):
            return _distribution(text, inner).times_base()
    return _distribution(text, tree)


def _distribution(text: str, tree: ast.expr) -> Distribution:
    variants = []
    while isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute) and tree.func.attr in VARIANTS:
        variants.append((tree.func.attr, tree))
        tree = tree.func.value
    if not (isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and len(variants) <= MOST_VARIANTS):
        raise _not_understood(text)
    law = _called(text, tree.func.id, _law(tree.func.id), tree)
    for name, call in reversed(variants):
        law = _called(text, name, getattr(law, name), call)
    return law


def _law(name: str) -> Callable[..., Distribution]:
    if name in DISTRIBUTIONS:
        return DISTRIBUTIONS[name]
    known = {other.lower(): other for other in DISTRIBUTIONS}
    close = [known[match] for match in difflib.get_close_matches(name.lower(), known, n=1)]
    hint = f" did you mean {_signature(close[0], DISTRIBUTIONS[close[0]])}?" if close else ""
    raise InputError(f"there is no distribution {shown(name)};{hint} available: {_available()}")


def _called(text: str, name: str, function: Callable[..., Distribution], call: ast.Call) -> Distribution:
    arguments = [_literal(text, value) for value in call.args]
    named = {str(keyword.arg): _literal(text, keyword.value) for keyword in call.keywords}
    try:
        bound = inspect.signature(function).bind(*arguments, **named)
    except TypeError as problem:
        raise InputError(f"{shown(text)}: {problem}; expected {_signature(name, function)}") from None
    return function(*bound.args, **bound.kwargs)


def _literal(text: str, tree: ast.expr) -> Any:
    try:
        return ast.literal_eval(tree)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise InputError(f"{shown(text)}: arguments are numbers or lists of numbers, such as Discrete([1, 2], [0.4, 0.6])") from None


def _not_understood(text: str, reason: str = "") -> InputError:
    return InputError(f"{shown(text)} is neither a number nor a distribution{reason}; available: {_available()}")


def _available() -> str:
    return ", ".join(_signature(name, law) for name, law in DISTRIBUTIONS.items())


def _signature(name: str, function: Callable[..., Distribution]) -> str:
    parameters = inspect.signature(function).parameters.values()
    shown = (each.name if each.default is each.empty else f"{each.name}=…" for each in parameters)
    return f"{name}({', '.join(shown)})"
