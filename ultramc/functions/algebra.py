"""`formula` registers an elementwise body that is written with `Term`s:

``pv * growth``, ``where(rate.equals(0), a, b)``, ``(rate <= -1).fails(ExcelError.NUM)``.
"""

from __future__ import annotations

from collections.abc import Callable

from ultramc.functions import elementwise
from ultramc.functions.kit import Kit
from ultramc.program import Operand, constant
from ultramc.terms import Term, where

__all__ = ["Term", "formula", "where"]


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
