"""A small program whose bits are known, the same on every engine that rounds as IEEE 754 says. A GPU has to give them first."""

from __future__ import annotations

import hashlib

import numpy as np

from ultramc.address import RangeRef
from ultramc.engines.base import Chunk, Job
from ultramc.program import Body, Builder, Operand, Program, Ref, Slot, constant
from ultramc.sampling import Site

COUNT = 2**17  # more blocks than a device carries out at once
FIRST = 2**32 - COUNT // 2  # where indexes of 32 bits end
JOB = Job(20_26_11, FIRST + COUNT)
DIGEST = "6d9a864aaafd9eea749f632573c6d11f"  # of what NumPy gives: tests/unit/test_self_test.py
CELL = RangeRef("self-test", 1, 1, 1, 1)
ONE = (1, 1, 1, 1)


def digest(chunk: Chunk) -> str:
    """Of all bits of all outputs."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(payload).tobytes() for payload in chunk.payloads)).hexdigest()[:32]


def _program() -> Program:
    """Draws one by one and in a block, a loop that compounds, a table, a sum, a sort, and roundings; nothing that libraries differ in."""
    builder = Builder()
    builder.cell = CELL
    one = builder.append("uniform", site=Site("self-test", 1, 1), shape=ONE)
    many = builder.append("uniform", site=Site("self-test", 2, 1), shape=(5, 3, 1, 1))
    array = builder.append("as_array", many)
    column = builder.append("window", array, rows=5, row_step=1, columns=1, column_step=0, height=1, width=1, top=0, left=1)
    balance, balances = _compounded(builder, builder.append("mul", one, constant(100.0)), column)
    table = np.array([0.1, 0.2, 0.4, 0.8]).reshape(1, 1, 4, 1, 1)
    found = builder.append("gather", builder.append("search", one, table), table)
    middle = builder.append(
        "window", builder.append("sort", array), rows=1, row_step=0, columns=1, column_step=0, height=1, width=1, top=2, left=1
    )
    outputs = (
        balance,
        builder.append("sum", builder.append("as_array", balances)),
        builder.append("div", found, builder.append("sqrt", middle)),
        builder.append("round_half", builder.append("mul", balance, constant(100.0))),
        builder.append("snap", builder.append("sub", balance, one), balance, one),
        builder.append("select", builder.append("less", one, middle), constant(-0.0), builder.append("maximum", array)),
    )
    slots = tuple(Slot(f"output {number}", CELL, output, 0, 1) for number, output in enumerate(outputs))
    return Program(tuple(builder.instructions), slots, ())


def _compounded(builder: Builder, start: Operand, rates: Ref) -> tuple[Ref, ...]:
    """balance ← balance (1 + rate) - 1, which is two roundings where a device keeps them apart."""
    inside = builder.inside()
    balance, rate = inside.parameter(ONE), inside.parameter(ONE)
    grown = inside.append("sub", inside.append("mul", balance, inside.append("add", rate, constant(1.0))), constant(1.0))
    body = Body((balance, rate), tuple(inside.instructions), (grown, grown))
    results = [builder.parameter(ONE), builder.parameter((5, 1, 1, 1))]
    return builder.emit_body("loop", (start, rates), results, body=body, carries=1, steps=5, axis=0)


PROGRAM = _program()
