"""A draw that a formula asks for: a law, by its parameters and what its properties change, at the probability of a call site.

Parameters that are the same in every iteration make a distribution, exactly as one given through the API. Parameters that
vary, by iteration or from cell to cell of a block, go through the law's formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from attrs import fields, frozen

from ultramc.distributions.law import Approximated, Distribution, Explicit
from ultramc.distributions.probability import Probability
from ultramc.distributions.variants import part_between
from ultramc.errors import InputError
from ultramc.functions.kit import ERROR, NUMBER, TEXT, ZERO, Unroll, Value, tag_of
from ultramc.lowering import Call
from ultramc.terms import Term
from ultramc.values import ExcelError

Given = float | tuple[float, ...]


@frozen(eq=False)
class Law:
    """A distribution function of a sheet: the kinds of its parameters (see `functions`), and what they make.

    `kind` is the class whose formulas serve parameters that vary, None where they must not; `order` brings the parameters into
    the order of its fields. `make` makes the distribution, where that takes more than calling `kind`.
    """

    name: str
    kinds: tuple[str, ...]
    kind: type[Distribution] | None
    order: tuple[int, ...] | None = None
    make: Callable[..., Distribution] | None = None

    def distribution(self, given: Sequence[Given]) -> Distribution:
        """Raises `InputError` where the parameters make none."""
        if self.make is not None:
            return self.make(*given)
        assert self.kind is not None
        return self.kind(*self._ordered(given))

    def terms(self, like: Term, values: Sequence[Value]) -> list[Term]:
        """The operands of the class's formulas: parameters in its order, then the defaults of its other fields."""
        assert self.kind is not None
        given = [Term(like.host, value.payload) for value in self._ordered(values)]
        return given + [like.lift(other.default) for other in fields(self.kind)[len(given) :]]

    def _ordered(self, given: Sequence[Any]) -> list[Any]:
        return [given[place] for place in self.order] if self.order else list(given)


@frozen(eq=False)
class Changes:
    """What properties change; limits are None where they are open. `after_shift`: the limits are those of the shifted law."""

    minimum: Value | None = None
    maximum: Value | None = None
    lower: Value | None = None
    upper: Value | None = None
    shift: Value | None = None
    static: Value | None = None
    after_shift: bool = False
    correlated: bool = False

    @property
    def numbers(self) -> list[Value]:
        return [value for value in (self.minimum, self.maximum, self.lower, self.upper, self.shift) if value is not None]

    @property
    def truncates(self) -> bool:
        return any(limit is not None for limit in (self.minimum, self.maximum, self.lower, self.upper))


def drawn(call: Call, law: Law, values: Sequence[Value], changes: Changes) -> Value:
    """The draws of one call site for each cell of the block. In the base case the static value, else the median."""
    p = call.probability(correlated=changes.correlated)
    if call.in_base_case and changes.static is not None:
        return changes.static
    errors = call.kit.error_tag([*(_one_tag(call, value) for value in values), *changes.numbers])
    if errors.kinds & ERROR and errors.known:
        return errors if call.place.size == 1 else _unrolled()
    known = all(value.known for value in (*values, *changes.numbers))
    if known and not _is_closed(law, changes) and not (call.in_base_case and _has_formula(law, changes)):
        return _of_constants(call, law, p, values, changes)
    return _by_formula(call, law, p, values, changes, errors)


def _one_tag(call: Call, value: Value) -> Value:
    """Of a list, with the first error in it."""
    if not value.kinds & ERROR or value.shape[2:] == (1, 1):
        return value
    return Value(ZERO, call.kit.emit("first_error_of", tag_of(value)), value.kinds & ERROR | NUMBER)


def _unrolled() -> Value:
    raise Unroll


def _is_closed(law: Law, changes: Changes) -> bool:
    """Whether a formula in closed form serves constants as well as a distribution does, to the bit."""
    kind = law.kind
    if kind is None or not issubclass(kind, Explicit) or issubclass(kind, Approximated):
        return False
    return not (kind.discrete and changes.truncates)


def _has_formula(law: Law, changes: Changes) -> bool:
    """A formula serves a whole block in the base case, where any of its median's digits would do."""
    return law.kind is not None and law.kind.quantile_formula is not None and not (law.kind.discrete and changes.truncates)


# Parameters that are constants


def _of_constants(call: Call, law: Law, p: Probability, values: Sequence[Value], changes: Changes) -> Value:
    given = [_constant(call, value, kind) for value, kind in zip(values, law.kinds, strict=True)]
    try:
        return Value(_changed(call, law.distribution(given), changes).at(p).operand)
    except InputError as problem:
        if law.kind is not None and _is_degenerate(law, p, values) and not changes.truncates:
            return _by_formula(call, law, p, values, changes, call.kit.number(0))
        raise call.refuse(f"makes no distribution: {problem}") from None


def _constant(call: Call, value: Value, kind: str) -> Given:
    if kind != "array":
        return call.constant(value, "parameter")
    if value.shape[:2] != (1, 1):
        raise Unroll
    if value.kinds & (ERROR | TEXT):
        raise call.refuse("has a list with a text or an error in it")
    return tuple(float(item or 0) for item in call.kit.scalars(value))  # type: ignore[arg-type]


def _is_degenerate(law: Law, p: Probability, values: Sequence[Value]) -> bool:
    """Parameters that leave one value, such as a triangle without width, are allowed in a sheet."""
    assert law.kind is not None
    if law.kind.allows is None or law.kind.quantile_formula is None or "array" in law.kinds:
        return False
    return law.kind.allows(*law.terms(p.below, values)).verdict is True


def _changed(call: Call, law: Distribution, changes: Changes) -> Distribution:
    def number(value: Value | None, otherwise: float) -> float:
        return otherwise if value is None else call.constant(value, "property")

    shift = number(changes.shift, 0.0)
    if changes.lower is not None or changes.upper is not None:
        law = law.truncated_at_quantiles(number(changes.lower, 0.0), number(changes.upper, 1.0))
    if changes.after_shift and shift:
        law, shift = law.shifted(shift), 0.0
    if changes.minimum is not None or changes.maximum is not None:
        law = law.truncated(number(changes.minimum, -float("inf")), number(changes.maximum, float("inf")))
    return law.shifted(shift) if shift else law


# Parameters that vary


def _by_formula(call: Call, law: Law, p: Probability, values: Sequence[Value], changes: Changes, errors: Value) -> Value:
    kind = law.kind
    if kind is None or kind.quantile_formula is None or kind.allows is None:
        raise call.refuse("with simulated parameters is not supported; this law needs constant ones")
    if changes.truncates and (kind.discrete or kind.share_formula is None):
        raise call.refuse("is truncated and has simulated parameters, which is not supported for this law")
    if len({math.prod(value.shape[2:]) for value, each in zip(values, law.kinds, strict=True) if each == "array"}) > 1:
        raise call.refuse("has lists of different lengths")
    terms = law.terms(p.below, values)
    low, high = (_before_shift(call, limit, changes) for limit in (changes.minimum, changes.maximum))
    allowed = kind.allows(*terms)
    if changes.truncates:
        below, inside, above = _part(call, kind, terms, (low, high), changes)
        p, allowed = p.part(below, inside, above), allowed & (inside > 0)
    if allowed.verdict is False or (allowed.verdict is None and _is_known(allowed)):
        return _not_allowed(call, law, values, changes)
    drawn = kind.quantile_formula(p, *terms)
    drawn = drawn if low is None else drawn.most(low)
    drawn = drawn if high is None else drawn.least(high)
    shifted = drawn if changes.shift is None else Term(call.kit, changes.shift.payload) + drawn
    return call.kit.fail_where(call.kit.with_tag(shifted.operand, errors), (~allowed).operand, ExcelError.VALUE)


def _before_shift(call: Call, limit: Value | None, changes: Changes) -> Term | None:
    if limit is None:
        return None
    term = Term(call.kit, limit.payload)
    return term - Term(call.kit, changes.shift.payload) if changes.after_shift and changes.shift is not None else term


def _part(
    call: Call, kind: type[Distribution], terms: Sequence[Term], limits: tuple[Term | None, Term | None], changes: Changes
) -> tuple[Term, Term, Term]:
    """The shares of the law below, between and above the limits."""
    assert kind.share_formula is not None
    zero, one = Term(call.kit, call.kit.number(0).payload), Term(call.kit, call.kit.number(1).payload)
    if limits == (None, None):
        lower = zero if changes.lower is None else Term(call.kit, changes.lower.payload)
        upper = one if changes.upper is None else Term(call.kit, changes.upper.payload)
        return lower, upper - lower, 1 - upper
    low = Probability(zero, one) if limits[0] is None else kind.share_formula(limits[0], *terms)
    high = Probability(one, zero) if limits[1] is None else kind.share_formula(limits[1], *terms)
    return part_between(low, high)


def _is_known(mask: Term) -> bool:
    return not hasattr(mask.operand, "index")


def _not_allowed(call: Call, law: Law, values: Sequence[Value], changes: Changes) -> Value:
    """Constant parameters that make no distribution: the distribution itself says why."""
    if call.place.size > 1:
        raise Unroll
    try:
        _changed(call, law.distribution([_constant(call, value, kind) for value, kind in zip(values, law.kinds, strict=True)]), changes)
    except InputError as problem:
        raise call.refuse(f"makes no distribution: {problem}") from None
    raise call.refuse("makes no distribution of these parameters")
