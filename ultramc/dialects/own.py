"""Inputs whose parameters are cells: the functions by which the API writes them, ``ULTRAMC.NORMAL(Assumptions!B2, 0.1)``.

They are there in every dialect, one for each law, with the parameters of its class.
"""

from __future__ import annotations

from functools import cache

from attrs import fields

from ultramc.distributions import DISTRIBUTIONS
from ultramc.distributions.law import Distribution
from ultramc.drawing import Changes, Law, drawn
from ultramc.functions import Function, Signature
from ultramc.lowering import Call, Steps
from ultramc.syntax import Node

PREFIX = "ULTRAMC."


def _law(name: str, kind: type[Distribution]) -> Law:
    kinds = tuple("array" if "Sequence" in str(field.type) or "tuple" in str(field.type) else "number" for field in fields(kind))
    return Law(name, kinds, kind)


def _function(law: Law) -> Function:
    def body(call: Call, *nodes: Node) -> Steps:
        if len(nodes) != len(law.kinds):
            raise call.refuse(f"takes {len(law.kinds)} parameters, not {len(nodes)}")
        values = []
        for kind, node in zip(law.kinds, nodes, strict=True):
            values.append(call.argument(kind, (yield node, call.scope)))
        return drawn(call, law, values, Changes())

    return Function(PREFIX + law.name.upper(), Signature.parse("(node)+"), "lazy", body)


@cache
def functions() -> dict[str, Function]:
    """By name in capitals."""
    rows = [_function(_law(name, kind)) for name, kind in DISTRIBUTIONS.items() if isinstance(kind, type)]
    return {row.name: row for row in rows}
