"""Random programs, as a strategy: draws, arithmetic, choices, views, look-ups and bodies over what went before."""

import numpy as np
from hypothesis import strategies as st

from ultramc.address import RangeRef
from ultramc.engines.base import Job
from ultramc.program import Body, Builder, Program, Slot, along, constant
from ultramc.sampling import Site

CELL = RangeRef("S", 1, 1, 1, 1)
COUNT = 33
JOB = Job(5, COUNT)
ONES = (1, 1, 1, 1)
EXACT = ("neg", "abs", "sign", "floor", "sqrt", "round_half", "mend")
UNARY = (*EXACT, "sin", "erf", "normal_cdf")
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
def programs(draw, exact=False):
    """Some instructions with any values as outputs, views, bodies and their results among them. `exact`: of ops without tolerance."""
    builder = Builder()
    values = sources(builder)
    steps = [exactly, *STEPS[1:]] if exact else STEPS
    for _ in range(draw(st.integers(3, 25))):
        values += draw(st.sampled_from(steps))(draw, builder, values)
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


def exactly(draw, builder, values):
    return [builder.append(draw(st.sampled_from(EXACT)), draw(st.sampled_from(of(values, "number"))))]


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
