"""What the JAX engine traces: for each op the expression in `jax.numpy`, and for a segment the function of its arrays.

Most ops are those of `array.EXPRESSIONS`. Here are those that would be unrolled, reordered or copied needlessly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import jax.scipy.special as special
import numpy as np
from attrs import field, frozen
from jax import lax

from ultramc.engines import array
from ultramc.program import Body, Instruction, Operand, Ref
from ultramc.segments import Segment

Array = Any

SPECIAL: dict[str, Callable[..., Array]] = {
    "erf": special.erf,
    "erfc": special.erfc,
    "normal_cdf": special.ndtr,
    "normal_quantile": special.ndtri,
    "log_gamma": special.gammaln,
    "gamma_p": special.gammainc,
    "gamma_q": special.gammaincc,
}


class Namespace:
    """`jax.numpy` with products and quotients that stay what they are.

    XLA makes one rounding of a product and the sum that it feeds, takes x / y / z for x / (y z), and x / y for x times 1 / y where y is
    the same for many x. So their bits pass through an exclusive or with a zero that the compiler does not know, and those of a divisor
    through one that is different for each x.
    """

    def __init__(self, zero: Array) -> None:
        self._zero = zero

    def __getattr__(self, name: str) -> Any:
        return getattr(jnp, name)

    def multiply(self, x: Array, y: Array) -> Array:
        return _changed(jnp.multiply(x, y), self._zero)

    def divide(self, x: Array, y: Array) -> Array:
        return _changed(jnp.divide(x, _changed(y, _bits(x) & self._zero)), self._zero)


def _bits(x: Array) -> Array:
    return lax.bitcast_convert_type(x, jnp.int64)


def _changed(x: Array, bits: Array) -> Array:
    return lax.bitcast_convert_type(_bits(x) ^ bits, jnp.float64)


@frozen(eq=False)
class Trace:
    """Values by number while instructions are traced. `given`: what the host makes; `constants`: arrays by identity."""

    xp: Namespace
    count: int
    given: Mapping[int, Array]
    constants: Mapping[int, Array]
    values: dict[int, Array] = field(factory=dict)

    def value(self, operand: Operand) -> Array:
        return self.values[operand.index] if isinstance(operand, Ref) else self.constants[id(operand)]

    def full(self, operand: Operand) -> Array:
        """With all its cells and iterations."""
        value = self.value(operand)
        shape = operand.shape if isinstance(operand, Ref) else operand.shape[:4]
        return jnp.broadcast_to(value, (*shape, self.count))

    def carry_out(self, instructions: Sequence[Instruction]) -> None:
        for instruction in instructions:
            made = _made(self, instruction)
            self.values.update((ref.index, value) for ref, value in zip(instruction.results, made, strict=True))

    def inside(self, body: Body, values: Sequence[Array]) -> tuple[Array, ...]:
        """The results of a body, given its parameters."""
        self.values.update((ref.index, value) for ref, value in zip(body.parameters, values, strict=True))
        self.carry_out(body.instructions)
        return tuple(self.full(result) for result in body.results)


def function_of(segment: Segment, given: Sequence[Ref], tile: int) -> Callable[..., tuple[Array, ...]]:
    """(zero, inputs, what the host gives, constants) → outputs, all with the same iterations, of which `tile` are worked on at once."""
    constants = segment.constants()

    def part(zero: Array, inputs: Sequence[Array], made: Sequence[Array], known: Sequence[Array], count: int) -> tuple[Array, ...]:
        trace = Trace(
            Namespace(zero),
            count,
            {ref.index: value for ref, value in zip(given, made, strict=True)},
            {id(constant): value for constant, value in zip(constants, known, strict=True)},
        )
        trace.values.update((ref.index, value) for ref, value in zip(segment.inputs, inputs, strict=True))
        trace.carry_out(segment.instructions)
        return tuple(trace.full(ref) for ref in segment.outputs)

    def whole(zero: Array, inputs: Sequence[Array], made: Sequence[Array], known: Sequence[Array], count: int) -> tuple[Array, ...]:
        if count <= tile:
            return part(zero, inputs, made, known, count)
        return _in_tiles(lambda cut, drawn: part(zero, cut, drawn, known, tile), (inputs, made), segment.outputs, tile, count)

    return whole


def _in_tiles(
    part: Callable[..., tuple[Array, ...]], given: Sequence[Sequence[Array]], outputs: Sequence[Ref], tile: int, count: int
) -> tuple[Array, ...]:
    """`tile` iterations at a time, of a `count` that it divides."""

    def one(number: Array, filled: tuple[Array, ...]) -> tuple[Array, ...]:
        start = number * tile
        results = part(*([lax.dynamic_slice_in_dim(value, start, tile, axis=-1) for value in values] for values in given))
        pairs = zip(filled, results, strict=True)
        return tuple(lax.dynamic_update_slice_in_dim(output, result, start, axis=-1) for output, result in pairs)

    empty = tuple(jnp.zeros((*ref.shape, count), DTYPES[ref.kind]) for ref in outputs)
    filled: tuple[Array, ...] = lax.fori_loop(0, count // tile, one, empty)
    return filled


DTYPES: dict[str, Any] = {"number": np.float64, "mask": np.bool_, "tag": np.uint8}


def _made(trace: Trace, instruction: Instruction) -> Sequence[Array]:
    if instruction.op in _WITH_BODY:
        return _WITH_BODY[instruction.op](trace, instruction)
    if instruction.op in HOST_MADE:
        return [HOST_MADE[instruction.op](trace, instruction)]
    operands = [trace.value(operand) for operand in instruction.operands]
    return [implementation(instruction.op)(trace.xp, *operands, **instruction.attributes)]


def implementation(op: str) -> Callable[..., Array]:
    if op in _EXPRESSIONS:
        return _EXPRESSIONS[op]
    if op in array.UFUNCS:
        return lambda xp, *operands: getattr(xp, array.UFUNCS[op])(*operands)
    if op in SPECIAL:
        return lambda xp, *operands: SPECIAL[op](*operands)
    return array.EXPRESSIONS[op]


# What the host makes


def _drawn(trace: Trace, instruction: Instruction) -> Array:
    return trace.given[instruction.result.index]


def _permuted(trace: Trace, instruction: Instruction) -> Array:
    """Restored scores where the sampling has strata; the host gives NaN where it has none."""
    restored = trace.given[instruction.result.index]
    return jnp.where(jnp.isnan(restored), trace.value(instruction.operands[0]), restored)


HOST_MADE: dict[str, Callable[[Trace, Instruction], Array]] = {"uniform": _drawn, "iteration": _drawn, "permute": _permuted}


# Bodies


def _loop(trace: Trace, instruction: Instruction) -> Sequence[Array]:
    """`lax.scan` has its steps on the first axis; here they lie along the rows or columns of a block."""
    a = instruction.attributes
    body, carries, axis = a["body"], a["carries"], a["axis"]
    starts = tuple(trace.full(operand) for operand in instruction.operands[:carries])
    cuts = tuple(jnp.moveaxis(_stepped(trace.value(operand), axis, a["steps"]), axis, 0) for operand in instruction.operands[carries:])

    def step(carried: tuple[Array, ...], parts: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        results = trace.inside(body, [*carried, *(jnp.expand_dims(part, axis) for part in parts)])
        return results[:carries], tuple(jnp.squeeze(result, axis) for result in results[carries:])

    last: tuple[Array, ...]
    yields: tuple[Array, ...]
    last, yields = lax.scan(step, starts, cuts, length=a["steps"], reverse=bool(a.get("reverse")))
    return [*last, *(jnp.moveaxis(each, 0, axis) for each in yields)]


def _stepped(value: Array, axis: int, steps: int) -> Array:
    shape = list(value.shape)
    shape[axis] = steps
    return jnp.broadcast_to(value, shape)


def _repeat(trace: Trace, instruction: Instruction) -> Sequence[Array]:
    """Each lane is frozen when it is done."""
    body, limit = instruction.attributes["body"], instruction.attributes["limit"]
    starts = tuple(trace.full(operand) for operand in instruction.operands)
    done = jnp.zeros((*instruction.results[-1].shape, trace.count), bool)

    def goes_on(state: tuple[Array, ...]) -> Array:
        return (state[0] < limit) & ~jnp.all(state[-1])

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        number, *values, done = state
        *following, finished = trace.inside(body, values)
        kept = [jnp.where(done, old, new) for old, new in zip(values, following, strict=True)]
        return (number + 1, *kept, done | finished)

    _, *last = tuple(lax.while_loop(goes_on, step, (jnp.zeros((), np.int64), *starts, done)))
    return last


_WITH_BODY: dict[str, Callable[[Trace, Instruction], Sequence[Array]]] = {"loop": _loop, "repeat": _repeat}


# Expressions


def _total(combine: Callable[[Array, Array], Array], neutral: float) -> Callable[..., Array]:
    """Cell after cell, from what changes nothing (-0 for a sum: 0 would change -0)."""

    def reduce(xp: Namespace, x: Array) -> Array:
        cells = jnp.moveaxis(array.flat_cells(x)[:, :, :, 0], 2, 0)
        total, _ = lax.scan(lambda carry, cell: (combine(carry, cell), None), jnp.full(cells.shape[1:], neutral), cells)
        return total[:, :, None, None]

    return reduce


def _product(xp: Namespace, x: Array) -> Array:
    return _total(xp.multiply, 1.0)(xp, x)


def _segment_sum(xp: Namespace, x: Array, *, segments: Any) -> Array:
    """One element of each segment at a time; shorter ones add -0, which changes nothing, and empty ones are 0."""
    flat = x.reshape(-1, x.shape[4])
    places = np.full((max(1, segments.longest), len(segments.elements)), -1)
    for number, elements in enumerate(segments.elements):
        places[: elements.size, number] = elements

    def add(total: Array, place: Array) -> tuple[Array, None]:
        return total + jnp.where((place >= 0)[:, None], flat[place], -0.0), None

    total, _ = lax.scan(add, jnp.full((len(segments.elements), flat.shape[1]), -0.0), jnp.asarray(places))
    is_empty = np.array([elements.size == 0 for elements in segments.elements])
    return jnp.where(is_empty[:, None], 0.0, total).reshape(segments.rows, segments.columns, 1, 1, flat.shape[1])


def _window(
    xp: Namespace,
    x: Array,
    *,
    rows: int,
    columns: int,
    height: int,
    width: int,
    row_step: int,
    column_step: int,
    top: int,
    left: int,
) -> Array:
    """A slice where the window is one cell or does not move; else its cells by their places."""
    down = _places(rows, row_step, height, top)
    across = _places(columns, column_step, width, left)
    part = _taken(_taken(x[0, 0], 0, down.ravel()), 1, across.ravel())
    return jnp.swapaxes(part.reshape(*down.shape, *across.shape, x.shape[4]), 1, 2)


def _places(steps: int, step: int, length: int, start: int) -> Any:
    """Where each cell of a block looks: (steps, length), or (1, length) where the window does not move."""
    return start + step * np.arange(steps if step else 1)[:, None] + np.arange(length)


def _taken(x: Array, axis: int, places: Any) -> Array:
    """A slice where places are evenly spaced."""
    steps = np.diff(places)
    if len(places) == 1 or ((steps > 0).all() and (steps == steps[0]).all()):
        return lax.slice_in_dim(x, int(places[0]), int(places[-1]) + 1, int(steps[0]) if len(steps) else 1, axis)
    return jnp.take(x, places, axis=axis)


def _join(xp: Namespace, *parts: Array, size: tuple[int, int], places: tuple[tuple[int, int], ...]) -> Array:
    """Side by side where they lie so; else one after the other into their places."""
    count = max(part.shape[4] for part in parts)
    blocks = np.broadcast_shapes(*(part.shape[:2] for part in parts))
    full = [jnp.broadcast_to(part, (*blocks, *part.shape[2:4], count)) for part in parts]
    for axis in (2, 3):
        if _side_by_side([part.shape for part in full], size, places, axis):
            return jnp.concatenate(full, axis=axis)
    whole = jnp.zeros((*blocks, *size, count), parts[-1].dtype)
    for part, (top, left) in zip(full, places, strict=True):
        whole = lax.dynamic_update_slice(whole, part, (0, 0, top, left, 0))
    return whole


def _side_by_side(shapes: Sequence[Any], size: tuple[int, int], places: Sequence[tuple[int, int]], axis: int) -> bool:
    """One after the other along an axis, and each as long as the whole along the other."""
    across = 5 - axis
    ends = np.cumsum([shape[axis] for shape in shapes])
    starts = [0, *ends[:-1]]
    return bool(
        ends[-1] == size[axis - 2]
        and all(shape[across] == size[across - 2] for shape in shapes)
        and all((place[axis - 2], place[across - 2]) == (start, 0) for place, start in zip(places, starts, strict=True))
    )


def _search(xp: Namespace, x: Array, table: Array) -> Array:
    cells = array.flat_cells(table)
    if cells.shape[0] == cells.shape[1] == cells.shape[4] == 1:
        return jnp.where(jnp.isnan(x), 0.0, jnp.searchsorted(cells[0, 0, :, 0, 0], x))
    elements = jnp.moveaxis(cells, 2, 0)[:, :, :, None]
    return jnp.sum(elements < x[None], axis=0, dtype=np.float64)


def _sign(xp: Namespace, x: Array) -> Array:
    return jnp.where(x == 0, 0.0, jnp.sign(x))


_EXPRESSIONS: dict[str, Callable[..., Array]] = {
    "sign": _sign,
    "minimum": _total(jnp.minimum, np.inf),  # XLA's own passes over NaN
    "maximum": _total(jnp.maximum, -np.inf),
    "sum": _total(jnp.add, -0.0),
    "product": _product,
    "segment_sum": _segment_sum,
    "window": _window,
    "join": _join,
    "search": _search,
}
