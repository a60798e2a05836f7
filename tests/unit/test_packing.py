"""Trees in a stream come back as they were, whatever is in them."""

import io

import numpy as np
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from ultramc import packing

KINDS = (np.float64, np.int64, np.uint8)
ARRAYS = st.sampled_from(KINDS).flatmap(
    lambda kind: of_numpy.arrays(kind, of_numpy.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4))
)
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5)
TREES = st.recursive(
    PLAIN | ARRAYS,
    lambda trees: st.lists(trees, max_size=4) | st.dictionaries(st.integers() | st.text(max_size=3), trees, max_size=3),
    max_leaves=12,
)


def there_and_back(tree):
    stream = io.BytesIO()
    packing.write(stream, tree)
    stream.seek(0)
    found = packing.read(stream)
    assert not stream.read()
    return found


def same(one, other):
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or one != one)


@given(TREES)
def test_trees_come_back(tree):
    assert same(tree, there_and_back(tree))


def test_tuples_and_attrs_classes_come_back_as_lists():
    @frozen(eq=False)
    class Pair:
        left: object
        right: object

    found = there_and_back((1, Pair(np.arange(3), [Pair("a", None)])))
    assert same(found, [1, [np.arange(3), [["a", None]]]])


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:5], lambda data: b"", lambda data: b"x" + data])
def test_what_is_cut_off_is_noticed(damage):
    stream = io.BytesIO()
    packing.write(stream, [1, np.arange(10)])
    with pytest.raises((ValueError, EOFError)):
        packing.read(io.BytesIO(damage(stream.getvalue())))


def test_objects_are_not_pickled():
    with pytest.raises((TypeError, ValueError)):
        packing.write(io.BytesIO(), [np.array([object()])])
    with pytest.raises(TypeError):
        packing.write(io.BytesIO(), [object()])
