"""Op → NumPy, held against plain slicing and loops, and against the reference element by element."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ultramc.engines import array
from ultramc.ops import OPS
from ultramc.reference import ELEMENTWISE, REDUCTIONS
from ultramc.values import FIRST_ERROR

EXACT_NUMBERS = [
    op
    for op, row in OPS.items()
    if row.shape == "elementwise"
    and row.tolerance == 0
    and row.kind in ("number", "mask")
    and op not in ("and", "or", "not", "select", "kind_is", "piecewise")
]
FIVE_AXES = st.tuples(*[st.integers(1, 3)] * 4, st.integers(0, 4))


def values(shape=FIVE_AXES, **limits):
    return hnp.arrays(np.float64, shape, elements=st.floats(**limits) if limits else st.floats())


def test_every_op_has_an_array_expression_or_belongs_to_the_engine():
    engines_own = {op for op, row in OPS.items() if row.shape in ("source", "tied", "loop", "repeat", "scalar_call")}
    assert set(OPS) - engines_own == {*array.UFUNCS, *array.SPECIAL, *array.EXPRESSIONS}


@pytest.mark.parametrize("op", EXACT_NUMBERS)
@given(data=st.data())
@settings(max_examples=40)
def test_elementwise_is_element_by_element(op, data):
    shape = data.draw(FIVE_AXES)
    operands = [data.draw(values(st.just(shape))) for _ in range(OPS[op].arity)]
    found = array.evaluate(op, *operands)
    want = [ELEMENTWISE[op](*elements) for elements in zip(*(operand.ravel().tolist() for operand in operands), strict=True)]
    assert np.array_equal(found.ravel(), np.array(want, dtype=float), equal_nan=True)


@pytest.mark.parametrize("op", ["sum", "product", "minimum", "maximum"])
@given(data=st.data())
def test_reductions_are_left_to_right_for_any_number_of_iterations(op, data):
    shape = data.draw(st.tuples(*[st.integers(1, 2)] * 2, st.integers(1, 12), st.integers(1, 12), st.integers(1, 4)))
    x = np.random.default_rng(data.draw(st.integers(0, 99))).lognormal(0, 20, shape)
    found = array.evaluate(op, x)
    for r, c, n in np.ndindex(shape[0], shape[1], shape[4]):
        assert found[r, c, 0, 0, n] == REDUCTIONS[op](x[r, c, :, :, n].ravel().tolist())
        alone = array.evaluate(op, x[..., n : n + 1])
        assert alone[r, c, 0, 0, 0] == found[r, c, 0, 0, n]


@pytest.mark.parametrize("op", ["any", "all", "count", "first_true", "last_true"])
@given(hnp.arrays(bool, FIVE_AXES))
def test_masks_are_reduced_array_by_array(op, mask):
    found = array.evaluate(op, mask)
    for r, c, n in np.ndindex(mask.shape[0], mask.shape[1], mask.shape[4]):
        assert found[r, c, 0, 0, n] == REDUCTIONS[op](mask[r, c, :, :, n].ravel().tolist())


@given(hnp.arrays(np.uint8, FIVE_AXES, elements=st.integers(0, 23)))
def test_the_first_error_of_an_array(tag):
    found = array.evaluate("first_error_of", tag)
    assert found.dtype == np.uint8
    for r, c, n in np.ndindex(tag.shape[0], tag.shape[1], tag.shape[4]):
        errors = [kind for kind in tag[r, c, :, :, n].ravel().tolist() if kind >= FIRST_ERROR]
        assert found[r, c, 0, 0, n] == (errors[0] if errors else 0)


@given(
    hnp.arrays(np.uint8, FIVE_AXES, elements=st.integers(0, 23)),
    st.integers(0, 2**24 - 1) | st.just(sum(1 << kind for kind in range(8, 24))),
)
def test_kinds_are_a_bit_set(tag, kinds):
    want = [bool(kinds >> kind & 1) for kind in tag.ravel().tolist()]
    assert array.evaluate("kind_is", tag, kinds=kinds).ravel().tolist() == want


@st.composite
def windows(draw):
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    tall, wide = draw(st.integers(1, height)), draw(st.integers(1, width))
    top, left = draw(st.integers(0, height - tall)), draw(st.integers(0, width - wide))
    row_step, column_step = draw(st.integers(-2, 2)), draw(st.integers(-2, 2))
    rows, columns = (
        draw(st.integers(1, cells_within(top, row_step, height - tall))),
        draw(st.integers(1, cells_within(left, column_step, width - wide))),
    )
    return (height, width), {
        "rows": rows,
        "columns": columns,
        "height": tall,
        "width": wide,
        "row_step": row_step,
        "column_step": column_step,
        "top": top,
        "left": left,
    }


def cells_within(start, step, last):
    return 3 if step == 0 else 1 + ((last - start) // step if step > 0 else start // -step)


@given(windows(), st.integers(0, 3))
def test_windows_are_slices(window, count):
    (height, width), a = window
    x = np.arange(height * width * count, dtype=float).reshape(1, 1, height, width, count)
    found = array.evaluate("window", x, **a)
    assert found.shape == (a["rows"] if a["row_step"] else 1, a["columns"] if a["column_step"] else 1, a["height"], a["width"], count)
    for r, c in np.ndindex(found.shape[:2]):
        top, left = a["top"] + r * a["row_step"], a["left"] + c * a["column_step"]
        assert np.array_equal(found[r, c], x[0, 0, top : top + a["height"], left : left + a["width"]])


INSIDE = {"rows": 2, "columns": 1, "height": 2, "width": 2, "row_step": 1, "column_step": 0, "top": 0, "left": 0}


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 3},
        {"height": 3},
        {"width": 4},
        {"top": 2},
        {"top": -1},
        {"left": 2},
        {"row_step": -1},
        {"row_step": 2},
        {"columns": 9, "column_step": 1},
    ],
)
def test_a_window_never_leaves_its_array(change):
    """It is a view by strides: outside lies memory of somebody else."""
    x = np.zeros((1, 1, 3, 3, 5))
    array.evaluate("window", x, **INSIDE)
    with pytest.raises(ValueError, match=r"a window of .* leaves its array of shape \(1, 1, 3, 3\)"):
        array.evaluate("window", x, **{**INSIDE, **change})


def test_a_window_moves_over_one_array_only():
    with pytest.raises(ValueError, match="leaves its array"):
        array.evaluate("window", np.zeros((2, 1, 3, 3, 5)), **INSIDE)


@given(hnp.arrays(np.float64, st.tuples(*[st.integers(1, 3)] * 5), elements=st.floats(allow_nan=False)), values(st.just((2, 3, 1, 1, 4))))
def test_gather_takes_elements_row_by_row_and_clamps(x, position):
    if not all(a == b or 1 in (a, b) for a, b in zip(x.shape, position.shape, strict=True) if a != x.shape[2]):
        return
    try:
        shape = np.broadcast_shapes((*x.shape[:2], x.shape[4]), (2, 3, 4))
    except ValueError:
        return
    found = np.broadcast_to(array.evaluate("gather", position, x), (shape[0], shape[1], 1, 1, shape[2]))
    whole, place = np.broadcast_to(x, (*shape[:2], *x.shape[2:4], shape[2])), np.broadcast_to(position, found.shape)
    for r, c, n in np.ndindex(shape):
        cells, at = whole[r, c, :, :, n].ravel(), place[r, c, 0, 0, n]
        assert found[r, c, 0, 0, n] == cells[0 if math.isnan(at) else int(min(max(at, 0), len(cells) - 1))]


@given(values(st.just((2, 1, 1, 1, 3))), hnp.arrays(np.float64, (1, 1, 4, 1, 1), elements=st.floats(allow_nan=False)))
def test_search_counts_what_is_less(x, table):
    ascending = np.sort(table, axis=2)
    want = [sum(item < value for item in ascending.ravel()) for value in x.ravel()]
    assert array.evaluate("search", x, ascending).ravel().tolist() == want
    moving = np.broadcast_to(ascending, (1, 1, 4, 1, 3))
    assert np.broadcast_to(array.evaluate("search", x, moving), x.shape).ravel().tolist() == want


@given(values())
def test_sort_is_row_by_row_with_nan_last(x):
    found = array.evaluate("sort", x)
    for r, c, n in np.ndindex(x.shape[0], x.shape[1], x.shape[4]):
        assert np.array_equal(found[r, c, :, :, n].ravel(), np.sort(x[r, c, :, :, n].ravel()), equal_nan=True)


def test_evaluation_is_silent():
    """Overflow and invalid operations are outcomes; warnings are errors in this suite."""
    one = np.ones((1, 1, 1, 1, 1))
    assert array.evaluate("div", one, one * 0).item() == math.inf
    assert math.isnan(array.evaluate("sqrt", -one).item())
    assert array.evaluate("exp", one * 1e9).item() == math.inf
