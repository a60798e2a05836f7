"""What ``engine="auto"`` stands for: NumPy, or native code where that pays and works here.

A choice before a run, never a rescue in it: an engine that was chosen is validated like one that was asked for, and where it fails
the run fails. It depends on the program, the number of iterations and what is installed; not on timings, nor on what was compiled
before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from attrs import frozen

from ultramc.address import RangeRef
from ultramc.engines import registry
from ultramc.engines.base import CANONICAL_BLOCK, Engine
from ultramc.errors import UltramcError
from ultramc.program import Builder, Instruction, Program, Slot
from ultramc.sampling import Site
from ultramc.segments import weight

AUTO = "auto"
# Native code saves 0.2 to 1.4 ns for each number that NumPy computes; its compiler takes 0.2 to 0.4 s, and half a millisecond for
# each instruction: measured on the models of benchmarks/.
FEWEST_NUMBERS = 1_000_000_000
FEWEST_FOR_EACH_INSTRUCTION = 1_000_000
FEWEST_ITERATIONS = 16 * CANONICAL_BLOCK  # NumPy computes the first block too


@frozen
class Choice:
    """The name of an engine, and why it was chosen."""

    engine: str
    reason: str


def chosen(program: Program, iterations: int) -> Choice:
    """The engine for a run of a program."""
    if iterations < FEWEST_ITERATIONS:
        return Choice("numpy", f"auto chose numpy: to compare another engine with it first pays from {FEWEST_ITERATIONS:,} iterations on")
    total, fewest = iterations * numbers(program.instructions), _fewest(program)
    size = f"{total:,} numbers to compute, and to compile pays from {fewest:,} on"
    against = size if total < fewest else _cannot(registry.made("native"), program)
    return Choice("numpy", f"auto chose numpy: {against}") if against else Choice("native", f"auto chose native: {size}")


def _fewest(program: Program) -> int:
    return FEWEST_NUMBERS + FEWEST_FOR_EACH_INSTRUCTION * sum(map(weight, program.instructions))


def numbers(instructions: Sequence[Instruction], cost: Callable[[Instruction], int] = lambda instruction: 1) -> int:
    """How many numbers an iteration computes: the cells of each result, those of a body at each step of its loop.

    `cost`: as how many one number of an instruction counts.
    """
    return sum(_numbers(instruction, cost) for instruction in instructions)


def _numbers(instruction: Instruction, cost: Callable[[Instruction], int]) -> int:
    if "body" in instruction.attributes:
        return int(instruction.attributes.get("steps", 1)) * numbers(instruction.attributes["body"].instructions, cost)
    return cost(instruction) * sum(math.prod(ref.shape) for ref in instruction.results)


def _cannot(engine: Engine, program: Program) -> str:
    """Why an engine cannot run a program here; empty where it can."""
    lacking = next(((op, each) for op, each in program.ops().items() if op not in engine.supports), None)
    if lacking:
        return f"{engine.name} has no op {lacking[0]!r}, which {lacking[1].cell} needs"
    availability = engine.availability()
    if not availability.available:
        return f"{engine.name} cannot run here: {availability.reason}"
    try:
        engine.compile(_smallest_program())
    except (UltramcError, OSError) as error:  # there is a compiler, but no header, no folder to write to, …
        return f"{engine.name} compiles nothing here: {str(error).splitlines()[0]}"
    return ""


def _smallest_program() -> Program:
    builder = Builder()
    builder.cell = RangeRef("Sheet1", 1, 1, 1, 1)
    draw = builder.append("uniform", site=Site("Sheet1", 1, 1), shape=(1, 1, 1, 1))
    return Program(tuple(builder.instructions), (Slot("draw", builder.cell, draw, 0, 1),), ())
