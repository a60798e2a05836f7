"""The NumPy engine's layout: what is bound, what is not copied, how much memory it takes; and what it relies on in NumPy."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ultramc as mc
from ultramc.address import RangeRef
from ultramc.contract.cases import CASES, program_of
from ultramc.engines import array, numpy_calls
from ultramc.engines.base import CANONICAL_BLOCK, Job, fitted
from ultramc.engines.on_numpy import MOST_MEMORY, SMALLEST_RUN, NumPyEngine, planned
from ultramc.program import Body, Builder, Program, Slot, along, constant
from ultramc.sampling import Site, uniforms

ONE = (1, 1, 1, 1)
SEED = 11
LOOPS = [case for case in CASES if case.op in ("loop", "repeat")]


def finished(builder, *values):
    slots = [Slot(str(number), RangeRef("S", 1, 1, 1, value.shape[3]), value, 0, 1) for number, value in enumerate(values)]
    program = Program(tuple(builder.instructions), tuple(slots), ())
    program.check_legal()
    return program


def drawn(builder, shape=ONE, row=1):
    return builder.append("uniform", site=Site("S", row, 1), shape=shape)


def loop(builder, starts, cut, body, *, axis=0, steps=10, **attributes):
    """The results of a loop whose body is a function of a builder, the carried values and the cut."""
    inside = builder.inside()
    parameters = [inside.parameter(start.shape[:4]) for start in starts] + [inside.parameter(along(cut.shape[:4], axis, 1))]
    yielded = body(inside, *parameters)
    shapes = [value.shape[:4] if index < len(starts) else along(value.shape[:4], axis, steps) for index, value in enumerate(yielded)]
    whole = Body(tuple(parameters), tuple(inside.instructions), tuple(yielded))
    results = [builder.parameter(shape) for shape in shapes]
    return builder.emit_body("loop", (*starts, cut), results, body=whole, carries=len(starts), steps=steps, axis=axis, **attributes)


def ring(lag):
    def body(builder, *parameters):
        *past, addend = parameters
        new = builder.append("add", builder.append("mul", past[-1], constant(0.5)), addend)
        return [new, *past[:-1], new]

    return body


# Reductions

STILL = {"rows": 1, "columns": 1, "height": 3, "width": 2, "row_step": 0, "column_step": 0, "top": 1, "left": 1}
ARRAYS = {  # a block, and the window of it that is reduced
    "column": ((131, 1, 1, 1), None),
    "row": ((1, 133, 1, 1), None),
    "array": ((19, 7, 1, 1), None),
    "window": ((5, 4, 1, 1), STILL),
    "moving": ((9, 4, 1, 1), {**STILL, "rows": 5, "row_step": 1, "height": 4}),
    "moving both ways": ((21, 8, 1, 1), {**STILL, "rows": 5, "columns": 3, "row_step": 2, "column_step": 2, "height": 12, "width": 3}),
    "moving up": ((9, 4, 1, 1), {**STILL, "rows": 5, "row_step": -1, "top": 5, "height": 4}),
}


def cells_of(x, window):
    """For each cell of the block its elements, row by row, from an array (rows, columns, iterations)."""
    if window is None:
        return [list(x.reshape(-1, x.shape[2]))]
    w = {**window}
    tops = [w["top"] + row * w["row_step"] for row in range(w["rows"])]
    lefts = [w["left"] + column * w["column_step"] for column in range(w["columns"])]
    parts = [x[top : top + w["height"], left : left + w["width"]] for top in tops for left in lefts]
    return [list(part.reshape(-1, x.shape[2])) for part in parts]


def left_to_right(cells, combine):
    total = cells[0].copy()
    for cell in cells[1:]:
        total = combine(total, cell)
    return total


@pytest.mark.parametrize("count", [1, 2, 3, 7, 4096])
@pytest.mark.parametrize("turned", [False, True], ids=["", "transposed"])
@pytest.mark.parametrize("name", ARRAYS)
def test_sums_and_products_are_left_to_right(name, turned, count):
    """`reduce` adds in pairs along the inner axis, and goes along memory: only where iterations are inner and cells in order is it used."""
    (block, window), site = ARRAYS[name], Site("S", 1, 1)
    draws = [uniforms(SEED, Site("S", 1 + r, 1 + c), 0, count) for r in range(block[0]) for c in range(block[1])]
    x = np.array(draws).reshape(block[0], block[1], count)
    builder = Builder()
    cells = builder.append("as_array", builder.append("uniform", site=site, shape=block))
    if turned and window is None:
        cells, x = builder.append("transpose", cells), x.swapaxes(0, 1)
    if window is not None:
        cells = builder.append("window", cells, **window)
    totals = [builder.append("as_array", builder.append(op, cells)) for op in ("sum", "product")]
    rows, columns = totals[0].shape[2:]
    slots = tuple(Slot(str(number), RangeRef("S", 1, 1, rows, columns), total, 0, 1) for number, total in enumerate(totals))
    program = Program(tuple(builder.instructions), slots, ())
    for run, tile in ((None, None), (5, 7)):
        engine = NumPyEngine(run=run, tile=tile)
        found = engine.run(engine.compile(program), Job(SEED, count), 0, count).payloads
        for payload, combine in zip(found, (np.add, np.multiply), strict=True):
            np.testing.assert_array_equal(payload, [left_to_right(parts, combine) for parts in cells_of(x, window)])


# Tiles


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op}, {case.id}")
def test_tiles_and_runs_change_no_bit(case):
    program, job = program_of(case), Job(SEED, case.iterations)
    whole = NumPyEngine(tile=10**6)
    want = whole.run(whole.compile(program), job, 0, case.iterations)
    for run, tile in ((None, 1), (3, 2)):
        engine = NumPyEngine(run=run, tile=tile)
        found = engine.run(engine.compile(program), job, 0, case.iterations)
        for one, other in zip((*found.payloads, *found.tags), (*want.payloads, *want.tags), strict=True):
            np.testing.assert_array_equal(one, other)


def portfolio(builder, rows):
    """Exposures by losses that are looked up, cell by cell, summed."""
    u = drawn(builder, (rows, 1, 1, 1))
    share = builder.append("gather", builder.append("mul", u, constant(4.0)), np.arange(4.0).reshape(1, 1, 4, 1, 1))
    exposure = np.linspace(1, 2, rows).reshape(rows, 1, 1, 1, 1)
    loss = builder.append("select", builder.append("less", u, constant(0.5)), builder.append("mul", exposure, share), constant(0.0))
    return builder.append("sum", builder.append("as_array", loss)), u


def test_what_dies_in_a_tile_is_not_materialised():
    builder = Builder()
    total, _ = portfolio(builder, 1000)
    plan = planned(finished(builder, total), tile=4)
    assert sum(buffer.bytes for buffer in plan.layout.buffers) < 8 * 20
    assert len(set(plan.layout.calls)) < len(plan.layout.calls)


def test_what_is_read_in_another_pattern_is_materialised():
    """Each draw is compared with the total of all, which is not there before the last tile is."""
    builder = Builder()
    total, u = portfolio(builder, 100)
    share = builder.append("sum", builder.append("as_array", builder.append("div", u, total)))
    plan = planned(finished(builder, share), tile=4)
    assert 8 * 100 <= sum(buffer.bytes for buffer in plan.layout.buffers) < 8 * 130
    draws = np.array([uniforms(SEED, Site("S", 1 + row, 1), 0, 50) for row in range(100)])
    exposure, share = np.linspace(1, 2, 100)[:, None], np.floor(draws * 4)
    total = left_to_right(np.where(draws < 0.5, exposure * share, 0.0), np.add)
    engine = NumPyEngine()
    assert engine.run(plan, Job(SEED, 50), 0, 50).payloads[0].tolist() == [left_to_right(draws / total, np.add).tolist()]


# Loops


@pytest.mark.parametrize("lag", [1, 2, 12])
def test_a_ring_copies_nothing(lag):
    """One call for each instruction of the body and step; shifting and yielding are views."""
    builder = Builder()
    starts = [drawn(builder, row=100 + index) for index in range(lag)]
    *_, new = loop(builder, starts, drawn(builder, (60, 1, 1, 1)), ring(lag), steps=60)
    plan = planned(finished(builder, builder.append("sum", builder.append("as_array", new))), tile=100)
    assert "copy" not in {call.instruction.op for call in plan.layout.calls}
    assert len(plan.layout.calls) == lag + 1 + 2 * 60 + 1


def test_steps_that_come_out_the_same_are_one_call():
    builder = Builder()
    start, rate = drawn(builder), drawn(builder, row=2)
    (last,) = loop(builder, [start], rate, lambda inside, x, y: [inside.append("mul", x, y)], steps=1000)
    calls = planned(finished(builder, last)).layout.calls
    assert len(calls) == 1002
    assert len(set(calls)) <= 5


@pytest.mark.parametrize("axis", [0, 1])
def test_each_step_of_a_yield_is_contiguous(axis):
    """Along columns too, where a step would lie scattered over the rows."""
    builder = Builder()
    start = drawn(builder, (3, 1, 1, 1) if axis else (1, 3, 1, 1))
    cut = drawn(builder, (3, 10, 1, 1) if axis else (10, 3, 1, 1), row=20)
    *_, grown = loop(builder, [start], cut, lambda inside, x, y: [inside.append("mul", x, y)] * 2, axis=axis)
    layout = planned(finished(builder, builder.append("sum", builder.append("as_array", grown))), tile=100).layout
    written = [call.outs[0] for call in layout.calls if call.instruction.op == "mul"]
    assert {(out.strides[1 - axis], out.offset % 3) for out in written} == {(1, 0)}


ALLOCATING = ("repeat", "transpose")  # np.where, and copies of what is not contiguous


@pytest.mark.parametrize(
    "case", [case for case in LOOPS if not any(op in program_of(case).ops() for op in ALLOCATING)], ids=lambda case: case.id
)
def test_a_hot_loop_allocates_nothing(case):
    """Buffers, views and scratch are there after the first run; what NumPy keeps for itself is small beside an output."""
    count = 8 * CANONICAL_BLOCK
    plan, job = planned(program_of(case), run=count), Job(SEED, count)
    plan.run(job, 0, count)
    bound = plan.workspace().bound(count)
    chunk = plan.run(job, 0, count)
    tracemalloc.start()
    bound.run(job, 0, chunk, slice(0, count))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 8 * count


# Snapping

NUMBERS = [0.0, -0.0, 5e-324, 1e-17, 0.1, 0.3, 0.1 + 0.2, 1.0, 1 + 2.0**-52, 1 + 2.0**-48, 1e30, math.inf, math.nan]
SIGNED = st.sampled_from([sign * number for number in NUMBERS for sign in (1, -1)])
CLOSE = st.sampled_from([(0.1 + 0.2, 0.3), (0.3, 0.1 + 0.2), (1.0, 1 + 2.0**-52), (-1.0, 1 + 2.0**-48), (-0.0, -0.0)])
PAIRS = st.one_of(st.tuples(SIGNED, SIGNED), SIGNED.map(lambda number: (number, number)), CLOSE)


@settings(max_examples=300, deadline=None)
@given(st.lists(PAIRS, min_size=1, max_size=12), st.sampled_from([np.add, np.subtract]), st.booleans())
def test_looks_at_a_line_miss_nothing_that_snaps(pairs, ufunc, is_bounded):
    """The quick looks against the definition, with and without bounds of the operands, bit for bit."""
    x, y = np.array(pairs).T
    with np.errstate(all="ignore"):
        results = ufunc(x, y)
    largest = max(np.abs(x).max(), np.abs(y).max()) if is_bounded and np.isfinite([x, y]).all() else math.inf
    line, room = [x, y, results.copy()], np.empty((3, len(x)))
    numpy_calls.snapped(line, numpy_calls.TINY * largest, True, bool((x >= 0).all()), room)
    want = array.evaluate("snap", results, x, y)
    np.testing.assert_array_equal(line[2].view(np.uint64), want.view(np.uint64))


# Memory


def wide(cells):
    """Blocks that must be there as a whole: each cell is compared with the largest."""
    builder = Builder()
    block = builder.append("as_array", drawn(builder, (cells, 1, 1, 1)))
    ratio = builder.append("div", block, builder.append("maximum", block))
    return finished(builder, builder.append("minimum", ratio))


def test_a_wide_program_runs_a_few_iterations_at_a_time():
    plan = planned(wide(100_000))
    assert SMALLEST_RUN <= plan.iterations < CANONICAL_BLOCK
    assert plan.iterations * plan.bytes_per_iteration <= MOST_MEMORY
    assert fitted(NumPyEngine(), plan, 2**30) == (plan, CANONICAL_BLOCK)


def test_memory_stays_within_the_limit():
    program, limit, count = wide(2_000), 8 * 2**20, 600
    engine = NumPyEngine(tile=100)
    plan = engine.compile(program)
    want = engine.run(engine.compile(program), Job(SEED, count), 0, count)
    plan, _ = fitted(engine, plan, limit)
    tracemalloc.start()
    found = engine.run(plan, Job(SEED, count), 0, count)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert plan.iterations < count
    assert plan.iterations * 2_000 * 8 < peak < limit + 2 * 2**20  # the calls take some memory themselves
    np.testing.assert_array_equal(found.payloads[0], want.payloads[0])


def test_too_wide_a_program_is_refused_with_what_to_do():
    engine, plan = NumPyEngine(threads=2), planned(wide(2_000))
    needed = 2 * SMALLEST_RUN * plan.bytes_per_iteration
    with pytest.raises(
        mc.MemoryLimitExceeded, match=rf"64 iterations at once need {needed:,} bytes.*, 1,000,000 are allowed; raise memory_limit="
    ):
        fitted(engine, plan, 1_000_000)
    assert fitted(engine, plan, needed)[1] == CANONICAL_BLOCK


def test_narrow_programs_run_in_large_chunks():
    builder = Builder()
    engine, plan = NumPyEngine(), planned(finished(builder, builder.append("neg", drawn(builder))))
    assert fitted(engine, plan, 2**30)[1] == plan.iterations == 8 * CANONICAL_BLOCK
    assert fitted(engine, plan, 5 * CANONICAL_BLOCK * plan.bytes_per_iteration)[1] == 5 * CANONICAL_BLOCK
