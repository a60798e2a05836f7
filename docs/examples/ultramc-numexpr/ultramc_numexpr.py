"""An engine of ultramc that computes with numexpr: elementwise ops as expressions, the others as NumPy has them."""

from collections import ChainMap, Counter
from functools import partial
from importlib.util import find_spec
from math import prod

import numpy as np

from ultramc import Engine
from ultramc.engines.array import implementation
from ultramc.engines.base import Availability, Chunk, Executable, Job, empty_chunk
from ultramc.engines.host import MADE, Lot
from ultramc.ops import OPS
from ultramc.program import Program, Ref, kind_of_operand

OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "less": "<", "less_equal": "<=", "equal": "==", "and": "&", "or": "|"}
FUNCTIONS = ("abs", "sqrt", "floor", "ceil", "trunc", "exp", "expm1", "log", "log1p", "log10", "sin", "cos", "tan", "sinh", "cosh", "tanh")
EXPRESSIONS = {
    **{op: f"({{0}} {operator} {{1}})" for op, operator in OPERATORS.items()},
    **{op: f"{op}({{0}})" for op in FUNCTIONS},
    "not": "(~{0})",
    "neg": "(-{0})",
    "min": "minimum({0}, {1})",
    "max": "maximum({0}, {1})",
    "select": "where({0}, {1}, {2})",
    "snap": f"where(abs({{0}}) < {2**-49} * maximum(abs({{1}}), abs({{2}})), 0.0, {{0}})",
}
TYPES = {"number": np.float64, "mask": bool}
LACKING = {
    **dict.fromkeys(("loop", "repeat"), "an expression has no steps"),
    "permute": "it restores no strata",
    "scalar_call": "a Python function is no expression",
}
MOST_INPUTS = 10  # of an expression that goes into another: numexpr takes 31


class NumExprEngine(Engine):
    name = "numexpr"
    supports = frozenset(OPS) - LACKING.keys()
    lacks = LACKING

    def availability(self) -> Availability:
        return Availability(True) if find_spec("numexpr") else Availability(False, "numexpr is not installed: pip install numexpr")

    def compile(self, program: Program) -> Executable:
        self.refuse_unsupported(program)
        steps, pending = {}, {}  # by the name of a result: (function, names of its operands); (expression, its operands by name)
        reads = Counter(name_of(operand) for each in program.instructions for operand in each.operands)
        reads.update(name_of(part) for slot in program.outputs for part in (slot.payload, slot.tag))
        for each in program.instructions:
            operands = [(name_of(operand), operand) for operand in each.operands]
            for name, operand in operands:
                goes_inside = is_expression(each) and reads[name] == 1 and operand.shape[:4] == each.result.shape
                if name in pending and not (goes_inside and len(pending[name][1]) <= MOST_INPUTS):
                    steps[name] = compiled(*pending.pop(name))
            if is_expression(each):
                parts = [pending.pop(name, (name, {name: operand})) for name, operand in operands]
                text = EXPRESSIONS[each.op].format(*(text for text, _ in parts))
                pending[name_of(each.result)] = text, dict(ChainMap(*(inputs for _, inputs in parts)))
            elif each.op in MADE:
                steps[name_of(each.result)] = partial(MADE[each.op], instruction=each), ["lot"]
            else:
                steps[name_of(each.result)] = partial(implementation(each.op), **each.attributes), [name for name, _ in operands]
        return program, steps | {name: compiled(*expression) for name, expression in pending.items()}

    def run(self, executable: Executable, job: Job, first: int, count: int) -> Chunk:
        program, steps = executable
        chunk = empty_chunk(program.outputs, first, count)
        values = {name_of(known): known for each in program.instructions for known in each.operands if not isinstance(known, Ref)}
        values["lot"] = Lot(job, first, count, count or 1)  # numexpr gives an empty array another shape
        with np.errstate(all="ignore"):
            for name, (function, operands) in steps.items():
                values[name] = function(*(values[operand] for operand in operands))
        for slot, payload, tag in zip(program.outputs, chunk.payloads, chunk.tags, strict=True):
            for part, out in ((slot.payload, payload), (slot.tag, tag)):
                if out is not None:
                    value = values.get(name_of(part), part)[0, 0, ..., :count]
                    out[...] = np.broadcast_to(value, (slot.cells.height, slot.cells.width, count)).reshape(out.shape)
        return chunk

    def bytes_per_iteration(self, executable: Executable) -> int:
        return 8 + 8 * sum(prod(each.result.shape) for each in executable[0].instructions)


def name_of(operand):
    return f"v{operand.index}" if isinstance(operand, Ref) else f"c{id(operand)}"


def is_expression(instruction):
    """Not of tags: numexpr has no integers of one byte."""
    return instruction.op in EXPRESSIONS and "tag" not in map(kind_of_operand, (instruction.result, *instruction.operands))


def compiled(text, operands):
    import numexpr

    expression = numexpr.NumExpr(text, [(name, TYPES[kind_of_operand(operand)]) for name, operand in operands.items()])
    return expression, expression.input_names
