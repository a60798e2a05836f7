"""Random programs: reused buffers change no bit, and the engine does what the reference says.

The oracle for the buffers carries out the same instructions one by one, each into an array of its own that nobody writes
to again.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import COUNT, JOB, ONES, program_with, programs

from ultramc import reference
from ultramc.contract.checks import differing
from ultramc.engines import array
from ultramc.engines.on_numpy import NumPyEngine, planned
from ultramc.program import Body, Builder, constant
from ultramc.sampling import Site, uniforms


def without_buffers(program, first, count):
    """Every instruction into a new array that is read-only from then on."""
    values = {}

    def known(operand):
        return operand if isinstance(operand, np.ndarray) else values[operand.index]

    def carry_out(instructions):
        for instruction in instructions:
            results = special[instruction.op](instruction) if instruction.op in special else [plain(instruction)]
            for ref, result in zip(instruction.results, results, strict=True):
                values[ref.index] = np.array(np.broadcast_to(result, (*ref.shape, count)))
                values[ref.index].flags.writeable = False

    def plain(instruction):
        return array.evaluate(instruction.op, *map(known, instruction.operands), **instruction.attributes)

    def draws(instruction):
        site, (rows, columns, _, _) = instruction.attributes["site"], instruction.result.shape
        cells = [
            uniforms(JOB.seed, Site(site.sheet, site.row + r, site.column + c, site.k), first, count)
            for r in range(rows)
            for c in range(columns)
        ]
        return [np.array(cells).reshape(rows, columns, 1, 1, count)]

    def body_of(instruction, parameters):
        body = instruction.attributes["body"]
        values.update((ref.index, value) for ref, value in zip(body.parameters, parameters, strict=True))
        carry_out(body.instructions)
        return [np.array(known(value)) for value in body.results]

    def loop(instruction):
        *state, block = [known(operand) for operand in instruction.operands]
        axis, steps = instruction.attributes["axis"], range(instruction.attributes["steps"])
        yields = {}
        for step in reversed(steps) if instruction.attributes["reverse"] else steps:
            results = body_of(instruction, [*state, np.take(block, [step], axis=axis)])
            state, yields[step] = results[:2], [np.broadcast_to(part, (*part.shape[:4], count)) for part in results[2:]]
        return [*state, *(np.concatenate(parts, axis=axis) for parts in zip(*(yields[step] for step in steps), strict=True))]

    def repeat(instruction):
        state, done = [known(operand) for operand in instruction.operands], np.zeros((*ONES, count), bool)
        for _ in range(instruction.attributes["limit"]):
            *following, finished = body_of(instruction, state)
            state = [np.where(done, old, new) for old, new in zip(state, following, strict=True)]
            done = done | finished
        return [*state, done]

    special = {
        "uniform": draws,
        "iteration": lambda instruction: [np.arange(first, first + count, dtype=float)],
        "loop": loop,
        "repeat": repeat,
    }
    carry_out(program.instructions)
    return [known(slot.payload).reshape(slot.cells.size, count) for slot in program.outputs]


@settings(max_examples=200)
@given(programs(), st.sampled_from([None, 1, 5, 32]), st.sampled_from([None, 1, 2, 5]))
def test_reused_buffers_change_no_bit(program, run, tile):
    """However many iterations at once and cells in a tile."""
    engine = NumPyEngine(run=run, tile=tile)
    executable = engine.compile(program)
    for first, count in ((0, COUNT), (7, 1), (0, COUNT), (5, 0)):
        found = engine.run(executable, JOB, first, count).payloads
        for one, other in zip(found, without_buffers(program, first, count), strict=True):
            assert not differing(one, other, 0.0).any(), str(program)


@settings(max_examples=60)
@given(programs(exact=True))
def test_random_programs_do_what_the_reference_says(program):
    found = NumPyEngine().run(planned(program), JOB, 0, 4).payloads
    for iteration in range(4):
        for got, (want, _) in zip(found, reference.evaluate(program, JOB, iteration), strict=True):
            # Which of two zeros is the smaller is left open, so zeros are compared as numbers.
            assert np.array_equal(got[:, iteration], want, equal_nan=True), str(program)


@pytest.mark.parametrize("op", ["transpose", "as_array", "window"])
def test_a_view_keeps_its_buffer_alive(op):
    """The value behind a view is read for the last time before the view is: its buffer is not free until then."""
    builder = Builder()
    block = builder.append("uniform", site=Site("S", 1, 1), shape=(2, 2, 1, 1))
    whole = builder.append("neg", builder.append("as_array", builder.append("neg", block)))
    moving = {"rows": 1, "columns": 1, "height": 2, "width": 2, "row_step": 0, "column_step": 0, "top": 0, "left": 0}
    view = builder.append(op, whole, **(moving if op == "window" else {}))
    noise = whole
    for _ in range(4):
        noise = builder.append("abs", builder.append("sub", noise, constant(0.5)))
    program = program_with(builder, [builder.append("add", view, noise)])
    found = NumPyEngine().run(planned(program), JOB, 0, COUNT).payloads[0]
    assert not differing(found, without_buffers(program, 0, COUNT)[0], 0.0).any()


def test_what_a_loop_carries_out_is_its_own():
    """Here it is a value from outside, whose buffer is free after the loop."""
    builder = Builder()
    u = builder.append("uniform", site=Site("S", 1, 1), shape=ONES)
    outside = builder.append("neg", u)
    inside, parameter = builder.inside(), builder.parameter(ONES)
    body = Body((parameter,), tuple(inside.instructions), (outside, parameter))
    results = [builder.parameter(ONES), builder.parameter((2, 1, 1, 1))]
    carried, _ = builder.emit_body("loop", (u,), results, body=body, carries=1, steps=2, axis=0)
    noise = builder.append("sub", builder.append("abs", u), u)
    program = program_with(builder, [carried, noise])
    found = NumPyEngine().run(planned(program), JOB, 0, COUNT).payloads[0]
    assert found.tolist() == [(-uniforms(JOB.seed, Site("S", 1, 1), 0, COUNT)).tolist()]


def test_buffers_are_reused():
    """A hundred steps in a row need one buffer."""
    builder = Builder()
    value = builder.append("uniform", site=Site("S", 1, 1), shape=ONES)
    for step in range(100):
        value = builder.append("add", value, constant(float(step)))
    assert len(planned(program_with(builder, [value])).layout.buffers) == 1
