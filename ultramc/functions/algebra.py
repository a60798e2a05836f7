"""Formulas written as formulas: operands with Python's operators, each of which emits one op.

`formula` registers an elementwise body that is written with `Term`s: ``pv * growth``, ``where(rate.equals(0), a, b)``,
``(rate <= -1).fails(ExcelError.NUM)``.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from ultramc.functions import elementwise
from ultramc.functions.kit import Kit
from ultramc.program import Operand, constant
from ultramc.values import ExcelError


@frozen(eq=False)
class Term:
    """An operand of a kit. Comparisons give masks, which `&`, `|` and `~` combine."""

    kit: Kit
    operand: Operand

    def op(self, name: str, *others: Term | float) -> Term:
        """The result of one op, this term first."""
        return Term(self.kit, self.kit.emit(name, self.operand, *(_operand(other) for other in others)))

    def lift(self, value: Term | float) -> Term:
        return value if isinstance(value, Term) else Term(self.kit, constant(value))

    def __add__(self, other: Term | float) -> Term:
        return self.op("add", other)

    def __radd__(self, other: float) -> Term:
        return self.lift(other).op("add", self)

    def __sub__(self, other: Term | float) -> Term:
        return self.op("sub", other)

    def __rsub__(self, other: float) -> Term:
        return self.lift(other).op("sub", self)

    def __mul__(self, other: Term | float) -> Term:
        return self.op("mul", other)

    def __rmul__(self, other: float) -> Term:
        return self.lift(other).op("mul", self)

    def __truediv__(self, other: Term | float) -> Term:
        return self.op("div", other)

    def __rtruediv__(self, other: float) -> Term:
        return self.lift(other).op("div", self)

    def __pow__(self, other: Term | float) -> Term:
        return self.op("power", other)

    def __rpow__(self, other: float) -> Term:
        return self.lift(other).op("power", self)

    def __neg__(self) -> Term:
        return self.op("neg")

    def __lt__(self, other: Term | float) -> Term:
        return self.op("less", other)

    def __le__(self, other: Term | float) -> Term:
        return self.op("less_equal", other)

    def __gt__(self, other: Term | float) -> Term:
        return self.lift(other).op("less", self)

    def __ge__(self, other: Term | float) -> Term:
        return self.lift(other).op("less_equal", self)

    def equals(self, other: Term | float) -> Term:
        return self.op("equal", other)

    def __and__(self, other: Term) -> Term:
        return self.op("and", other)

    def __or__(self, other: Term) -> Term:
        return self.op("or", other)

    def __invert__(self) -> Term:
        return self.op("not")

    def fails(self, error: ExcelError) -> None:
        """The call's result is `error` where this mask holds. Told first, wins."""
        self.kit.fail(self.operand, error)

    def exp(self) -> Term:
        return self.op("exp")

    def log(self) -> Term:
        return self.op("log")

    def sqrt(self) -> Term:
        return self.op("sqrt")

    def trunc(self) -> Term:
        return self.op("trunc")

    def least(self, other: Term | float) -> Term:
        return self.op("min", other)

    def most(self, other: Term | float) -> Term:
        return self.op("max", other)


def _operand(value: Term | float) -> Operand | float:
    return value.operand if isinstance(value, Term) else value


def where(mask: Term, yes: Term | float, no: Term | float) -> Term:
    """`yes` where the mask holds, else `no`."""
    return mask.op("select", yes, no)


def formula(names: str, signature: str, *defaults: float) -> Callable[[Callable[..., Term]], Callable[..., Term]]:
    """Register a function from Terms to a Term. `defaults` are those of the last parameters, which may be left out."""

    def decorate(body: Callable[..., Term]) -> Callable[..., Term]:
        count = body.__code__.co_argcount

        def with_operands(kit: Kit, *operands: Operand) -> Operand:
            left_out = defaults[len(defaults) - (count - len(operands)) :]
            given = [*operands, *(constant(value) for value in left_out)]
            return body(*(Term(kit, operand) for operand in given)).operand

        elementwise(names, signature)(with_operands)
        return body

    return decorate
