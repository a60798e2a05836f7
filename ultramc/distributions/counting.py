"""The quantile of a law on whole numbers from 0, from its distribution function: by bisection, for parameters that vary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ultramc.distributions.probability import Probability
from ultramc.program import Body, Builder, Known, Operand, Ref, broadcast_shape, interval_of, shape_of
from ultramc.terms import NUMBERS, Host, Term

NEGLIGIBLE = 42.0  # -ln of the probability that is left out on either side, 2^-60
LARGEST_WHOLE = 2.0**52
HALVINGS = 53  # leave one of 2^52 + 1 whole numbers

Share = Callable[..., Probability]


def last_count(mean: Term, variance: Term, reach: Term | float = 1.0) -> Term:
    """A whole number beyond which lies less than 2^-60, by Bernstein's inequality: see `discrete.Counted`."""
    return (mean + (2 * NEGLIGIBLE * variance).sqrt() + NEGLIGIBLE * reach).ceil()


def bracket(p: Probability, mean: Term, variance: Term, reach: Term | float = 1.0) -> tuple[Term, Term]:
    """Whole numbers with P(X ≤ low) < `below` ≤ P(X ≤ high), -1 at least, by the same inequality."""
    down, up = ((2 * variance * rarity).sqrt() + reach * rarity for rarity in (p.rarity, p.hazard))
    return ((mean - down).floor() - 1).most(-1.0), (mean + up).ceil()


def smallest_count(p: Probability, share: Share, parameters: Sequence[Term], ends: tuple[Term, Term]) -> Term:
    """The smallest whole number k with P(X ≤ k) ≥ `below`, by bisection between two ends (see `bracket`).

    `share(k, *parameters)` is P(X ≤ k) and P(X > k). In the upper half the latter is compared, where the former has lost its digits.
    """
    given = (p.below, p.above, *parameters)
    if any(isinstance(term.operand, Ref) for term in (*given, *ends)):
        return _emitted(share, given, ends)
    low, high = ends
    return Term(high.host, _found(share, [term.known for term in given], (low.known, high.known)))


def _found(share: Share, given: Sequence[Known], ends: tuple[Known, Known]) -> Known:
    for _ in range(HALVINGS):
        low, high, done = (term.known for term in _halved(NUMBERS, share, ends, given))
        ends = low, high
        if done.all():
            break
    return ends[1]


def _halved(host: Host, share: Share, state: Sequence[Operand], given: Sequence[Operand]) -> tuple[Term, Term, Term]:
    """The next ends, and whether they are neighbours. Of neighbours they are the same again: P(X ≤ -1) is 0."""
    low, high, below, above, *parameters = (Term(host, operand) for operand in (*state, *given))
    middle = ((low + high) * 0.5).floor()
    place = share(middle, *parameters)
    lower = below <= above
    reached = (lower & (place.below >= below)) | (~lower & (place.above <= above))
    low, high = reached.op("select", low, middle), reached.op("select", middle, high)
    return low, high, ~(high - low > 1)  # a NaN ends it too


def _emitted(share: Share, given: Sequence[Term], ends: tuple[Term, Term]) -> Term:
    low, high = ends
    builder = _builder_of(high.host)
    shape = broadcast_shape([shape_of(term.operand) for term in (*given, *ends)])
    between = (-1.0, interval_of(high.operand)[1])
    inner = builder.inside()
    parameters = tuple(inner.parameter(shape, interval=between) for _ in range(2))
    state = _halved(inner, share, parameters, [term.operand for term in given])
    body = Body(parameters, tuple(inner.instructions), tuple(term.operand for term in state))
    results = (*(builder.parameter(shape, interval=between) for _ in range(2)), builder.parameter(shape, kind="mask"))
    builder.emit_body("repeat", (low.operand, high.operand), results, body=body, limit=HALVINGS)
    return Term(high.host, results[1])


def _builder_of(host: Any) -> Builder:
    """The host itself, or that of a kit."""
    builder: Builder = getattr(host, "builder", host)
    return builder
