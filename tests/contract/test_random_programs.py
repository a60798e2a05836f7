"""Random programs: reused buffers change no bit, and the engine does what the reference says.

The oracle for the buffers carries out the same instructions one by one, each into an array of its own that nobody writes
to again.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultramc import reference
from ultramc.address import RangeRef
from ultramc.contract.checks import differing
from ultramc.engines import array
from ultramc.engines.base import Job
from ultramc.engines.on_numpy import NumPyEngine, planned
from ultramc.ops import OPS
from ultramc.program import Body, Builder, Program, Slot, along, constant
from ultramc.sampling import Site, uniforms

CELL = RangeRef("S", 1, 1, 1, 1)
COUNT = 33
JOB = Job(5, COUNT)
ONES = (1, 1, 1, 1)
UNARY = ("neg", "abs", "sign", "floor", "sqrt", "round_half", "mend", "sin", "erf", "normal_cdf")
BINARY = ("add", "sub", "mul", "div", "min", "max", "modulo")
COMPARED = ("less", "less_equal", "equal", "near")
REDUCED = ("sum", "product", "minimum", "maximum")


def sources(builder):
    blocks = [
        builder.append("uniform", site=Site("S", 1 + 10 * k, 1), shape=shape) for k, shape in enumerate([ONES, (2, 3, 1, 1), (3, 2, 1, 1)])
    ]
    arrays = [builder.append("as_array", block) for block in blocks[1:]]
    return [*blocks, *arrays, builder.append("iteration", shape=ONES), constant(1.5), np.arange(6.0).reshape(1, 1, 2, 3, 1)]


def of(values, kind, fits=lambda shape: True):
    return [value for value in values if not isinstance(value, np.ndarray) and value.kind == kind and fits(value.shape)]


def broadcastable(one, other):
    return all(a == b or 1 in (a, b) for a, b in zip(one, other, strict=True)) and np.prod(np.broadcast_shapes(one, other)) <= 36


@st.composite
def programs(draw):
    """Some instructions over what went before, with any values as outputs: views, bodies and their results among them."""
    builder = Builder()
    values = sources(builder)
    for _ in range(draw(st.integers(3, 25))):
        values += draw(st.sampled_from(STEPS))(draw, builder, values)
    outputs = draw(st.lists(st.sampled_from(of(values, "number")), min_size=1, max_size=5))
    return program_with(builder, outputs)


def program_with(builder, outputs):
    slots = []
    for number, value in enumerate(outputs):
        if value.shape[:2] != (1, 1):
            value = builder.append("as_array" if value.shape[2:] == (1, 1) else "sum", value)
            value = builder.append("as_array", value)
        slots.append(Slot(f"output {number}", RangeRef("S", 1, 1, value.shape[2], value.shape[3]), value, 0, 1))
    program = Program(tuple(builder.instructions), tuple(slots), ())
    program.check_legal()
    return program


def unary(draw, builder, values):
    return [builder.append(draw(st.sampled_from(UNARY)), draw(st.sampled_from(of(values, "number"))))]


def two(draw, values):
    one = draw(st.sampled_from(of(values, "number")))
    fitting = [v for v in values if isinstance(v, np.ndarray) or v.kind == "number"]
    other = draw(st.sampled_from([v for v in fitting if broadcastable(one.shape, v.shape[:4])]))
    return draw(st.permutations([one, other]))


def binary(draw, builder, values):
    return [builder.append(draw(st.sampled_from(BINARY)), *two(draw, values))]


def chosen(draw, builder, values):
    x, y = two(draw, values)
    mask = builder.append(draw(st.sampled_from(COMPARED)), x, y)
    return [mask, builder.append("select", builder.append("not", mask), x, y)]


def masked(draw, builder, values):
    masks = of(values, "mask")
    return [builder.append("count", draw(st.sampled_from(masks)))] if masks else []


def reduced(draw, builder, values):
    return [builder.append(draw(st.sampled_from(REDUCED)), draw(st.sampled_from(of(values, "number"))))]


def viewed(draw, builder, values):
    x = draw(st.sampled_from(of(values, "number")))
    if x.shape[:2] == (1, 1) and x.shape[2:] != (1, 1) and draw(st.booleans()):
        height, width = draw(st.integers(1, x.shape[2])), draw(st.integers(1, x.shape[3]))
        top, left = draw(st.integers(0, x.shape[2] - height)), draw(st.integers(0, x.shape[3] - width))
        rows = draw(st.integers(1, x.shape[2] - height - top + 1))
        moving = {"rows": rows, "columns": 1, "height": height, "width": width, "row_step": 1, "column_step": 0, "top": top, "left": left}
        return [builder.append("window", x, **moving)]
    return [builder.append(draw(st.sampled_from(("transpose", "as_array"))), x)]


def looked_up(draw, builder, values):
    position = draw(st.sampled_from(of(values, "number")))
    table = draw(st.sampled_from(of(values, "number", lambda shape: shape[:2] == (1, 1))))
    return [builder.append("gather", position, table), builder.append("sort", table)]


def looped(draw, builder, values):
    """Over rows or columns of a block, forwards or backwards. Carries are shifted, kept, or come from outside; yields are made or given."""
    block = draw(st.sampled_from(of(values, "number", lambda shape: shape in ((2, 3, 1, 1), (3, 2, 1, 1)))))
    other = draw(st.sampled_from(of(values, "number", lambda shape: shape == ONES)))
    axis = draw(st.integers(0, 1))
    part = along(block.shape, axis, 1)
    inside = builder.inside()
    one, two, cut = (inside.parameter(part) for _ in range(3))
    total = inside.append("add", two, inside.append("mul", cut, other))
    new = inside.append("sub", total, inside.append("maximum", inside.append("as_array", total)))
    made = st.sampled_from([new, total, one, two, cut, np.full((*part, 1), 0.5)])
    results = (draw(made), one, new, draw(made), draw(made))
    body = Body((one, two, cut), tuple(inside.instructions), results)
    shapes = [part, part, *[block.shape] * 3]
    start = np.arange(float(np.prod(part))).reshape(*part, 1)
    attributes = {"carries": 2, "steps": block.shape[axis], "axis": axis, "reverse": draw(st.booleans())}
    return list(
        builder.emit_body("loop", (start, start + 1, block), [builder.parameter(shape) for shape in shapes], body=body, **attributes)
    )


def repeated(draw, builder, values):
    """State that changes places at each step, until a value outside is passed."""
    one, other, limit = (draw(st.sampled_from(of(values, "number", lambda shape: shape == ONES))) for _ in range(3))
    inside, (x, y) = builder.inside(), (builder.parameter(ONES), builder.parameter(ONES))
    grown = inside.append("add", inside.append("abs", x), constant(0.25))
    body = Body((x, y), tuple(inside.instructions), (y, grown, inside.append("less", limit, grown)))
    body = Body(body.parameters, tuple(inside.instructions), body.results)
    results = [builder.parameter(ONES), builder.parameter(ONES), builder.parameter(ONES, "mask")]
    return list(builder.emit_body("repeat", (one, other), results, body=body, limit=5))


STEPS = [unary, binary, binary, binary, chosen, masked, reduced, viewed, viewed, looked_up, looped, repeated]


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
@given(programs())
def test_random_programs_do_what_the_reference_says(program):
    exact = all(OPS[op].tolerance == 0 for op in program.ops())
    found = NumPyEngine().run(planned(program), JOB, 0, 4).payloads
    for iteration in range(4 if exact else 0):
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
