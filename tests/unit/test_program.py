"""Printing, legality, folding and intervals of programs."""

import math

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from ultramc.address import RangeRef
from ultramc.contract.cases import CASES, program_of
from ultramc.engines import array
from ultramc.ops import OPS
from ultramc.program import (
    FALSE,
    INTERVALS,
    TRUE,
    Body,
    Builder,
    Instruction,
    Program,
    Ref,
    Slot,
    constant,
    decided,
    interval_of,
    kind_of_operand,
    narrowed,
    shape_of,
)
from ultramc.sampling import Site

ONES = (1, 1, 1, 1)
CELL = RangeRef("Sheet1", 5, 4, 5, 26)


def drawn(builder, shape=ONES, row=1):
    return builder.emit("uniform", site=Site("Sheet1", row, 1), shape=shape)


def program(builder, *outputs):
    slots = (Slot(f"out{n}", RangeRef("Sheet1", 1, 1, value.shape[2], value.shape[3]), value, 0, 1) for n, value in enumerate(outputs))
    return Program(tuple(builder.instructions), tuple(slots), ())


# Printing


def compound():
    """C5 = B1, D5:Z5 = C5*(1+$B$2), filled right."""
    builder = Builder()
    builder.cell = CELL
    start, rate = drawn(builder), drawn(builder, row=2)
    factor = builder.emit("add", 1.0, rate)
    inside = builder.inside()
    x = inside.parameter(ONES)
    grown = inside.emit("mul", x, factor)
    body = Body((x,), tuple(inside.instructions), (grown, grown))
    results = [builder.parameter(ONES), builder.parameter((1, 23, 1, 1))]
    _, row = builder.emit_body("loop", (start,), results, body=body, carries=1, steps=23, axis=1)
    return program(builder, builder.emit("sum", builder.emit("as_array", row)))


def test_a_program_prints_as_its_instructions_with_their_cells():
    lines = str(compound()).splitlines()
    assert lines[2] == "%2 = add 1 %1                                                # Sheet1!D5:Z5  1×1"
    assert [line.split("#")[0].rstrip() for line in lines] == [
        "%0 = uniform  site=Site(sheet='Sheet1', row=1, column=1, k=0)",
        "%1 = uniform  site=Site(sheet='Sheet1', row=2, column=1, k=0)",
        "%2 = add 1 %1",
        "%5, %6 = loop %0 carries=1 steps=23 axis=1",
        "    given %3",
        "    %4 = mul %3 %2",
        "    yield %4 %4",
        "%7 = as_array %6",
        "%8 = sum %7",
        "output out0 = %8",
    ]


def test_constants_print_short():
    builder = Builder()
    u = drawn(builder)
    builder.append("add", u, np.arange(3.0).reshape(1, 3, 1, 1, 1))
    builder.append("add", u, np.arange(100.0).reshape(1, 1, 10, 10, 1))
    builder.append("select", builder.append("less", u, constant(0.5)), TRUE, np.ones((2, 3, 1, 1, 1), bool))
    text = str(program(builder, u))
    assert "[0 1 2]" in text
    assert "[0 … 99; 1×1 of 10×10]" in text
    assert "True [2×3 bool]" in text


def test_ops_are_listed_with_their_first_instruction_and_those_of_bodies():
    ops = compound().ops()
    assert set(ops) == {"uniform", "add", "loop", "mul", "as_array", "sum"}
    assert ops["uniform"].result.index == 0
    assert all(str(instruction.cell) == "Sheet1!D5:Z5" for instruction in ops.values())


# Legality


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op}, {case.id}")
def test_legal_programs_are_accepted(case):
    program_of(case).check_legal()


def test_the_narrow_way_gives_legal_programs():
    compound().check_legal()


def instruction(op, operands, result, **attributes):
    return Instruction(op, operands, (result,), CELL, attributes)


U = Ref(0, ONES, "number")
DRAW = instruction("uniform", (), U, site=Site("Sheet1", 1, 1), shape=ONES)
NUMBER, MASK, TAG = (Ref(1, ONES, kind) for kind in ("number", "mask", "tag"))
BLOCK = Ref(1, (2, 1, 1, 1), "number")
ZEROS = np.zeros((1, 1, 3, 3, 1))
WINDOW = {"rows": 1, "columns": 1, "height": 3, "width": 3, "row_step": 0, "column_step": 0, "top": 1, "left": 0}
STEP = instruction("mul", (U, U), Ref(3, ONES, "number"))
PARAMETER, YIELDED, RESULT = Ref(2, ONES, "number"), Ref(3, ONES, "number"), Ref(4, (3, 1, 1, 1), "number")


def loop(body, *, results=(NUMBER, RESULT), steps=3):
    return Instruction("loop", (U,), results, CELL, {"body": body, "carries": 1, "steps": steps, "axis": 0})


ILLEGAL = {
    "no such op": instruction("ad", (U, U), NUMBER),
    "takes 2 operands, has 1": instruction("add", (U,), NUMBER),
    "%7 is not defined before it": instruction("neg", (Ref(7, ONES, "number"),), NUMBER),
    "five axes, the last of length 1": instruction("add", (U, np.zeros((1, 1, 1, 1, 4))), NUMBER),
    r"shape and kind \(\(2, 1, 1, 1\), 'number'\)": instruction("add", (U, U), BLOCK),
    r"shape and kind \(\(1, 1, 1, 1\), 'mask'\)": instruction("add", (U, U), MASK),
    "takes mask, mask; has number, number": instruction("and", (U, U), MASK),
    "takes mask, number, number; has number, number, number": instruction("select", (U, U, U), NUMBER),
    "takes mask, number, number; has mask, mask, number": instruction("select", (TRUE, TRUE, U), NUMBER),
    "takes tag; has number": instruction("kind_is", (U,), MASK, kinds=1),
    "give no shape": instruction("add", (np.zeros((2, 1, 1, 1, 1)), np.zeros((3, 1, 1, 1, 1))), BLOCK),
    "%0 is defined twice": instruction("neg", (U,), U),
    "leaves its array": instruction("window", (ZEROS,), Ref(1, (1, 1, 3, 3), "number"), **WINDOW),
    "2 elements of .* are left open": instruction("join", (U, U), Ref(1, (1, 1, 2, 2), "number"), size=(2, 2), places=((0, 0), (1, 1))),
    "of 0 steps": loop(Body((PARAMETER,), (STEP,), (YIELDED, YIELDED)), steps=0),
    "end of body: %9 is not defined": loop(Body((PARAMETER,), (STEP,), (YIELDED, Ref(9, ONES, "number")))),
    r"parameters, body results and results have shapes \(\(\),": loop(Body((), (STEP,), (YIELDED, YIELDED))),
    r"results have shapes .*\(\(1, 1, 1, 1\), \(2, 1, 1, 1\)\)\); ": loop(
        Body((PARAMETER,), (STEP,), (YIELDED, YIELDED)), results=(NUMBER, evolve(RESULT, shape=(2, 1, 1, 1)))
    ),
}


@pytest.mark.parametrize("reason", ILLEGAL)
def test_illegal_instructions_are_refused_with_their_cell(reason):
    with pytest.raises(ValueError, match=f"Sheet1!D5:Z5.*{reason}|{reason}"):
        Program((DRAW, ILLEGAL[reason]), (), ()).check_legal()


def test_a_legal_loop_is_accepted():
    Program((DRAW, loop(Body((PARAMETER,), (STEP,), (YIELDED, YIELDED)))), (), ()).check_legal()


@pytest.mark.parametrize(
    ("slot", "reason"),
    [
        (Slot("out", CELL, Ref(5, ONES, "number"), 0, 1), "output out: %5 is not defined"),
        (Slot("out", CELL, U, Ref(5, ONES, "tag"), 257), "output out: %5 is not defined"),
        (Slot("out", RangeRef("Sheet1", 1, 1, 1, 1), constant(0.0) + np.zeros((1, 1, 2, 1, 1)), 0, 1), "does not fit the cells Sheet1!A1"),
    ],
)
def test_outputs_are_checked(slot, reason):
    with pytest.raises(ValueError, match=reason):
        Program((DRAW,), (slot,), ()).check_legal()


# Folding


def test_what_is_known_is_worked_out_at_once():
    builder = Builder()
    assert builder.emit("add", 1.0, 2.0).item() == 3.0
    assert builder.emit("sum", np.arange(5.0).reshape(1, 1, 5, 1, 1)).item() == 10.0
    assert builder.instructions == []


def test_the_same_instruction_is_made_once():
    builder = Builder()
    u = drawn(builder)
    assert builder.emit("add", u, 1.0) is builder.emit("add", u, 1.0)
    assert builder.emit("mul", u, 0.0) is not builder.emit("mul", u, -0.0)
    assert drawn(builder) is u
    assert len(builder.instructions) == 4


def test_bodies_share_the_numbering_and_not_the_instructions():
    builder = Builder()
    u = drawn(builder)
    inside = builder.inside()
    x = inside.parameter(ONES)
    assert inside.emit("neg", x).index == 2
    assert builder.emit("neg", u).index == 3
    assert [len(each.instructions) for each in (builder, inside)] == [2, 1]


def test_what_is_the_same_at_every_step_is_emitted_outside_the_body():
    builder = Builder()
    u = drawn(builder)
    inside = builder.inside()
    x = inside.parameter(ONES)
    outside = inside.emit("neg", u)
    inside.emit("add", x, outside)
    assert [[instruction.op for instruction in each.instructions] for each in (builder, inside)] == [["uniform", "neg"], ["add"]]


def test_a_scalar_body_gives_payload_and_tag():
    builder = Builder()
    attributes = {"function": float, "name": "F", "shape": ONES, "texts": None}
    assert builder.append("scalar_call", **attributes).kind == "number"
    assert builder.append("scalar_call", **attributes, part="tag").kind == "tag"


@pytest.mark.parametrize(
    ("op", "known", "verdict"),
    [
        ("less", 2.0, True),
        ("less", -1.0, False),
        ("less_equal", 1.0, True),
        ("less_equal", 0.0, False),
        ("equal", 3.0, False),
        ("near", 1.1, False),
    ],
)
@pytest.mark.parametrize("shape", [ONES, (2, 3, 1, 1), (1, 1, 4, 1)])
def test_decided_masks_have_the_shape_of_their_cells(op, known, verdict, shape):
    """A mask of one cell for a block of six would be counted as one."""
    mask = Builder().emit(op, drawn(Builder(), shape), known)
    assert isinstance(mask, np.ndarray)
    assert decided(mask) is verdict
    assert shape_of(mask) == shape


@pytest.mark.parametrize(("op", "known", "verdict"), [("and", FALSE, False), ("or", TRUE, True)])
def test_an_absorbed_mask_has_the_shape_of_both(op, known, verdict):
    builder = Builder()
    mask = builder.emit("less", drawn(builder, (1, 1, 4, 1)), 0.5)
    for operands in ((mask, known), (known, mask)):
        found = builder.emit(op, *operands)
        assert decided(found) is verdict
        assert shape_of(found) == (1, 1, 4, 1)
    neutral = builder.emit(op, mask, FALSE if verdict else TRUE)
    assert neutral is mask


def test_a_decided_choice_is_what_was_chosen():
    builder = Builder()
    u, block = drawn(builder), drawn(builder, (2, 1, 1, 1), row=5)
    assert builder.emit("select", TRUE, u, constant(1.0)) is u
    assert shape_of(builder.emit("select", FALSE, block, constant(1.0))) == (2, 1, 1, 1)
    assert shape_of(builder.emit("select", TRUE, u, block)) == (2, 1, 1, 1)


def test_what_undoes_what_came_before_comes_back_to_it():
    builder = Builder()
    u = drawn(builder)
    mask = builder.emit("less", u, 0.5)
    assert builder.emit("not", builder.emit("not", mask)) is mask
    as_number = builder.emit("select", mask, 1.0, 0.0)
    assert builder.emit("equal", as_number, 0.0) is builder.emit("not", mask)
    block = drawn(builder, (2, 3, 1, 1), row=7)
    grid = builder.emit("as_array", block)
    cell_by_cell = {"rows": 2, "columns": 3, "height": 1, "width": 1, "row_step": 1, "column_step": 1, "top": 0, "left": 0}
    assert builder.emit("window", grid, **cell_by_cell) is block
    assert builder.emit("as_array", grid) is grid


# Intervals: what holds for random programs must hold for their samples

ARITHMETIC = sorted(op for op in INTERVALS if OPS[op].shape == "elementwise" and OPS[op].kind == "number")
BOUNDS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, -1.0, 709.5, 710.0, -745.0, 1e15, 1e300, -1e300, 5e-324])


@st.composite
def operand_values(draw, count):
    """An interval, and numbers in it: both ends and some between."""
    low, high = sorted((draw(BOUNDS), draw(BOUNDS)))
    between = [min(max(low + share * (high - low), low), high) for share in draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))]
    return (low, high), np.array([low, high, *between])


@pytest.mark.parametrize("op", ARITHMETIC)
@given(data=st.data())
@settings(max_examples=60)
def test_intervals_contain_every_number(op, data):
    drawn_operands = [data.draw(operand_values(3)) for _ in range(OPS[op].arity)]
    refs = [Ref(index, ONES, "number", interval) for index, (interval, _) in enumerate(drawn_operands)]
    low, high = interval_of(Builder().append(op, *refs))
    grids = np.meshgrid(*(values for _, values in drawn_operands))
    found = array.evaluate(op, *(grid.reshape(1, 1, 1, 1, -1) for grid in grids)).ravel()
    numbers = found[~np.isnan(found)]
    assert np.all((low <= numbers) & (numbers <= high)), (low, high, numbers)


@given(values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40), low=st.floats(-5, 5), width=st.floats(0, 3))
def test_a_sum_stays_in_its_interval(values, low, width):
    """Ten times 0.1 is not 1, added from left to right."""
    shares = np.abs(np.sin(values))
    numbers = np.minimum(low + shares * width, low + width)
    ref = Ref(0, (1, 1, len(numbers), 1), "number", (low, low + width))
    bounds = interval_of(Builder().append("sum", ref))
    for summands in (numbers, np.full(len(numbers), low), np.full(len(numbers), low + width)):
        assert bounds[0] <= np.add.accumulate(summands)[-1] <= bounds[1]


@pytest.mark.parametrize("op", ["equal", "near", "less", "less_equal", "is_finite"])
@given(data=st.data())
def test_decided_masks_are_true(op, data):
    drawn_operands = [data.draw(operand_values(3)) for _ in range(OPS[op].arity)]
    refs = [Ref(index, ONES, "number", interval) for index, (interval, _) in enumerate(drawn_operands)]
    verdict = Builder().emit(op, *refs)
    if isinstance(verdict, np.ndarray):
        grids = np.meshgrid(*(values for _, values in drawn_operands))
        assert (array.evaluate(op, *grids) == verdict.item()).all()


@given(st.lists(st.sampled_from(["add", "mul", "sub", "max", "floor", "exp", "abs"]), min_size=1, max_size=12), st.floats(-3, 3))
def test_intervals_stay_numbers_along_a_chain(ops, known):
    """However large they grow: whole numbers of Python's own would overflow later."""
    builder = Builder()
    value = drawn(builder)
    with np.errstate(all="ignore"):
        for op in [*ops, "exp", "exp", "floor", "mul", "add"]:
            value = builder.emit(op, value) if OPS[op].arity == 1 else builder.emit(op, value, value if known > 0 else known)
    assert all(isinstance(bound, float) and not math.isnan(bound) for bound in interval_of(value))


def test_constants_know_their_interval():
    assert interval_of(np.array([3.0, -1.0]).reshape(1, 2, 1, 1, 1)) == (-1.0, 3.0)
    assert interval_of(constant(math.nan)) == (-math.inf, math.inf)
    assert interval_of(narrowed(U, 0.0, 5.0)) == (0.0, 5.0)
    assert narrowed(TRUE, 0.0, 5.0) is TRUE
    assert [kind_of_operand(value) for value in (TRUE, constant(1.0), np.zeros((1,) * 5, np.uint8))] == ["mask", "number", "tag"]


def test_there_is_no_rule_for_an_op_that_is_not_in_the_table():
    assert set(INTERVALS) <= set(OPS)
