"""Segments: nothing is lost, nothing is read before it is made, and none is too heavy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_programs import programs

from ultramc.contract.cases import CASES, program_of
from ultramc.program import Builder, Ref, constant
from ultramc.sampling import Site
from ultramc.segments import segments_of, weight

ONES = (1, 1, 1, 1)
LOOP = next(case for case in CASES if (case.op, case.id) == ("loop", "nested"))


def kept(program):
    return {slot.payload.index for slot in program.outputs if isinstance(slot.payload, Ref)}


@given(programs(), st.integers(1, 40))
def test_segments_are_the_program_in_order(program, limit):
    segments = segments_of(program.instructions, kept(program), limit)
    assert [each for segment in segments for each in segment.instructions] == list(program.instructions)
    assert all(segment.weight <= limit or len(segment.instructions) == 1 for segment in segments)


@given(programs(), st.integers(1, 40))
def test_what_a_segment_reads_was_handed_on(program, limit):
    handed, read = set(), kept(program)
    for segment in segments_of(program.instructions, kept(program), limit):
        inputs = {ref.index for ref in segment.inputs}
        assert inputs <= handed
        handed |= {ref.index for ref in segment.outputs}
        read |= inputs
    assert read == handed | kept(program)


def test_a_loop_weighs_as_much_as_its_body():
    loop = next(each for each in program_of(LOOP).instructions if each.op == "loop")
    body = loop.attributes["body"]
    assert weight(loop) == 1 + sum(map(weight, body.instructions)) > 1 + len(body.instructions)


def chain(width):
    """Two blocks live at once, and one number at the end."""
    builder = Builder()
    block = builder.append("uniform", site=Site("S", 1, 1), shape=(width, 1, 1, 1))
    mask = builder.append("less", block, constant(0.5))
    chosen = builder.append("select", mask, block, builder.append("neg", block))
    builder.append("sum", builder.append("as_array", chosen))
    return builder.instructions


@pytest.mark.parametrize(("width", "cache", "tile"), [(10, 1e9, 4096), (1000, 2.6e6, 64), (1000, 1, 1)])
def test_a_tile_fits_what_lives(width, cache, tile):
    """At most the draws, their mask, their negatives and the choice: 25 bytes a row."""
    (segment,) = segments_of(chain(width), {4}, 100)
    assert segment.bytes_per_iteration() <= 25 * width + 8
    assert segment.tile(4096, int(cache)) == tile


def test_constants_are_listed_once():
    builder = Builder()
    number = constant(2.5)
    u = builder.append("uniform", site=Site("S", 1, 1), shape=ONES)
    builder.append("mul", builder.append("add", u, number), number)
    (segment,) = segments_of(builder.instructions, {2}, 100)
    (found,) = segment.constants()
    assert found is number
    assert np.array_equal(found.ravel(), [2.5])
