"""Bodies of functions on simulated values: the instructions they emit give, iteration by iteration, what known values give."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ultramc import functions
from ultramc.engines.array import evaluate
from ultramc.functions.kit import BLANK, NUMBER, TEXT, Kit, Texts, Value, tag_of, tag_value
from ultramc.program import Builder, Ref
from ultramc.values import Kind

TABLE = functions.load()
ITERATIONS = 7
BLOCK = (2, 3)  # cells of a block of like formulas

# function, then for each argument the height and width of an array ("mixed": text and blanks among the numbers), or a number
CASES: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("NPV", (0.1, (1, 5))),
    ("NPV", (0.1, (3, 2, "mixed"))),
    ("MIRR", ((1, 6), 0.1, 0.12)),
    ("FVSCHEDULE", (100.0, (2, 2, "mixed"))),
    ("PMT", ((1, 1), 12.0, (1, 1))),
    ("DB", ((1, 1), 5.0, 6.0, 3.0)),
    ("STDEV.S", ((2, 3, "mixed"), (1, 4))),
    ("VARPA", ((2, 3, "mixed"),)),
    ("SKEW", ((3, 3, "mixed"),)),
    ("MEDIAN", ((2, 3, "mixed"), (1, 4))),
    ("LARGE", ((1, 6, "mixed"), 2.0)),
    ("PERCENTILE", ((3, 3, "mixed"), 0.4)),
    ("TRIMMEAN", ((3, 3, "mixed"), 0.5)),
    ("RANK", ((1, 1), (2, 4))),
    ("PERCENTRANK", ((3, 3), 0.5)),
    ("CORREL", ((5, 1, "mixed"), (5, 1))),
    ("STEYX", ((6, 1), (6, 1, "mixed"))),
    ("FORECAST", (0.5, (5, 1), (5, 1))),
    ("FREQUENCY", ((4, 1, "mixed"), np.array([0.2, 0.5, 0.9]))),
    ("NORM.INV", ((1, 1), 0.0, 2.0)),
    ("GAMMA.DIST", ((1, 1), 2.0, 3.0, 1.0)),
    ("T.INV", ((1, 1), 5.0)),
    ("BINOM.DIST", (2.0, 5.0, (1, 1), 0.0)),
    ("MMULT", ((2, 3), (3, 2))),
)


@pytest.mark.parametrize(("name", "shapes"), CASES, ids=[f"{name}-{place}" for place, (name, _) in enumerate(CASES)])
def test_instructions_give_what_known_values_give(name: str, shapes: tuple[Any, ...]) -> None:
    random = np.random.default_rng(len(name) + len(shapes))
    samples = [_sample(shape, random) for shape in shapes]
    builder = Builder()
    kit = Kit(builder, Texts())
    memory: dict[int, Any] = {}
    arguments = [_simulated(builder, sample, memory) for sample in samples]
    with np.errstate(all="ignore"):
        result = kit.settled(_called(kit, name, arguments))
        assert isinstance(result.payload, Ref)
        for instruction in builder.instructions:
            operands = [memory[operand.index] if isinstance(operand, Ref) else operand for operand in instruction.operands]
            memory[instruction.result.index] = evaluate(instruction.op, *operands, **instruction.attributes)
        payload, tag = (memory[part.index] if isinstance(part, Ref) else part for part in (result.payload, tag_of(result)))
        for iteration in range(ITERATIONS):
            known = Kit(Builder(), Texts())
            fixed = [_known(sample, iteration) for sample in samples]
            expected = kit.settled(_called(known, name, fixed))
            found = np.broadcast_to(tag, payload.shape)[..., iteration : iteration + 1]
            np.testing.assert_array_equal(found, np.broadcast_to(_array(tag_of(expected)), found.shape))
            numbers = np.broadcast_to(found == 0, found.shape)
            np.testing.assert_allclose(
                payload[..., iteration : iteration + 1][numbers],
                np.broadcast_to(_array(expected.payload), found.shape)[numbers],
                rtol=1e-12,
            )


def _array(operand: Any) -> np.ndarray[Any, Any]:
    assert isinstance(operand, np.ndarray)
    return operand


def _sample(shape: Any, random: np.random.Generator) -> tuple[Any, Any] | Any:
    """Payload and tag of a simulated argument; what is no shape stays."""
    if not isinstance(shape, tuple):
        return shape
    full = (*BLOCK, *shape[:2], ITERATIONS)
    payload = random.uniform(-0.3, 0.95, full) if shape[:2] != (1, 1) else random.uniform(0.05, 0.95, full)
    kinds = random.choice([Kind.NUMBER, Kind.NUMBER, Kind.TEXT, Kind.BLANK], full) if "mixed" in shape else np.zeros(full)
    return np.where(kinds == 0, payload, 0.0), kinds.astype(np.uint8)


def _simulated(builder: Builder, sample: Any, memory: dict[int, Any]) -> Value:
    if not isinstance(sample, tuple):
        return _fixed(sample)
    payload, tag = sample
    number = builder.parameter(payload.shape[:4])
    memory[number.index] = payload
    if not tag.any():
        return Value(number)
    kind = builder.parameter(tag.shape[:4], "tag")
    memory[kind.index] = tag
    return Value(number, kind, NUMBER | TEXT | BLANK)


def _known(sample: Any, iteration: int) -> Value:
    if not isinstance(sample, tuple):
        return _fixed(sample)
    payload, tag = (part[..., iteration : iteration + 1] for part in sample)
    return tag_value(payload, tag, 0)


def _fixed(sample: Any) -> Value:
    return Value(np.asarray(sample, dtype=np.float64).reshape(1, 1, 1, -1, 1))


def _called(kit: Kit, name: str, arguments: list[Value]) -> Any:
    row = TABLE[name]
    if row.style == "elementwise":
        return kit.elementwise(row.body, arguments)
    kinds = row.signature.kinds(name, len(arguments))
    given = [[(value, True)] if kind == "cells" else value for kind, value in zip(kinds, arguments, strict=True)]
    return row.body(SimpleNamespace(kit=kit, function=name), *given)
