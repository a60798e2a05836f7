"""Formulas written as formulas: operands with Python's operators, each of which emits one op.

A `Term` is an operand together with its host, which emits: a `Kit` or a `Builder` puts an instruction into a program (and
folds what is known), `NUMBERS` computes at once.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ultramc.program import Operand, Ref, constant, decided
from ultramc.values import ExcelError


class Emit(Protocol):
    """Takes the name of an op and its operands: computes it at once, or appends it to a program."""

    def __call__(self, op: str, /, *operands: Any, **attributes: Any) -> Any: ...


class Host(Protocol):
    @property
    def emit(self) -> Emit: ...


class _Numbers:
    @staticmethod
    def emit(op: str, /, *operands: Any, **attributes: Any) -> Any:
        from ultramc.engines.array import evaluate

        return evaluate(op, *operands, **attributes)


NUMBERS: Host = _Numbers()


@frozen(eq=False)
class Term:
    """An operand and what emits ops for it. Comparisons give masks, which `&`, `|` and `~` combine."""

    host: Host
    operand: Operand

    def op(self, name: str, *others: Term | float, **attributes: Any) -> Term:
        """The result of one op, this term first."""
        return Term(self.host, self.host.emit(name, self.operand, *(_operand(other) for other in others), **attributes))

    def lift(self, value: Term | float) -> Term:
        return value if isinstance(value, Term) else Term(self.host, constant(value))

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
        """The call's result is `error` where this mask holds. Told first, wins. Only where the host is a kit."""
        self.host.fail(self.operand, error)  # type: ignore[attr-defined]

    @property
    def known(self) -> NDArray[Any]:
        """What it is, where that is known: always, if `NUMBERS` is the host."""
        assert not isinstance(self.operand, Ref), "a simulated value where a known one is needed"
        return np.asarray(self.operand)

    @property
    def verdict(self) -> bool | None:
        """Of a mask: True or False where it is the same everywhere and known, else None."""
        return decided(self.operand)

    def exp(self) -> Term:
        return self.op("exp")

    def log(self) -> Term:
        return self.op("log")

    def log1p(self) -> Term:
        return self.op("log1p")

    def floor(self) -> Term:
        return self.op("floor")

    def ceil(self) -> Term:
        return self.op("ceil")

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
