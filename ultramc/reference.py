"""What each op means, in slow plain Python, one iteration at a time: the living definition.

Engines are compared with this in the contract, and on a few iterations of every run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import product
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ultramc.engines.base import Job
from ultramc.errors import EngineValidationError
from ultramc.program import Body, Instruction, Operand, Program, Ref, Shape
from ultramc.sampling import Site, restored
from ultramc.tolerance import Tolerance, root_mean_square
from ultramc.values import FIRST_ERROR, ExcelError, Scalar

if TYPE_CHECKING:
    from ultramc.distributions.chebyshev import Pieces

MOST_ELEMENTS = 1_000_000  # of instructions; a program of more is confirmed on fewer iterations, one at least

Number = float | bool | int


@frozen(eq=False)
class Cells:
    """The elements of a value in one iteration, in row-major order of its shape."""

    shape: Shape
    items: list[Number]

    def at(self, r: int, c: int, h: int, w: int) -> Number:
        """An axis of length one serves every index."""
        rows, columns, height, width = self.shape
        r, c, h, w = r if rows > 1 else 0, c if columns > 1 else 0, h if height > 1 else 0, w if width > 1 else 0
        return self.items[((r * columns + c) * height + h) * width + w]

    def array(self, r: int, c: int) -> list[Number]:
        """The array that one cell of the block holds."""
        return [self.at(r, c, h, w) for h in range(self.shape[2]) for w in range(self.shape[3])]


def _safely(function: Callable[..., float], *, outside: float = math.nan) -> Callable[..., float]:
    """A function of `math`, with IEEE's NaN and infinity for Python's exceptions."""

    def call(*arguments: float) -> float:
        try:
            return function(*arguments)
        except ValueError:
            return outside
        except OverflowError:
            return math.inf

    return call


def _divide(x: float, y: float) -> float:
    if y == 0:
        return math.nan if x == 0 or math.isnan(x) else math.copysign(math.inf, x) * math.copysign(1, y)
    return x / y


def _power(x: float, y: float) -> float:
    if x == 0 and y < 0:
        return math.copysign(math.inf, x) if y % 2 == 1 else math.inf
    try:
        result = math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf
    except ValueError:
        return math.nan
    return result


def _log(function: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: -math.inf if x == 0 else _safely(function)(x)


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda x: math.copysign(float(function(x)), x) if math.isfinite(x) else x


def _round_half(x: float) -> float:
    size = abs(x)
    whole = _whole(math.floor)(size)
    return math.copysign(whole + (size - whole + min(2.0**-49 * size, 0.125) >= 0.5), x)


def _mend(x: float) -> float:
    nearest = _whole(round)(x)
    return nearest if abs(x - nearest) <= 2.0**-49 * abs(x) else x


def _smaller(x: float, y: float) -> float:
    return math.nan if math.isnan(x) or math.isnan(y) else min(x, y)


def _larger(x: float, y: float) -> float:
    return math.nan if math.isnan(x) or math.isnan(y) else max(x, y)


def _near(x: float, y: float) -> bool:
    return x == y or abs(x - y) <= 2.0**-51 * (abs(x) + abs(y))


def _snap(result: float, x: float, y: float) -> float:
    return 0.0 if abs(result) < 2.0**-49 * _larger(abs(x), abs(y)) else result


def _first_error(first: int, second: int) -> int:
    return first if first >= FIRST_ERROR else second if second >= FIRST_ERROR else 0


def _normal_quantile(u: float) -> float:
    return NormalDist().inv_cdf(u) if 0 < u < 1 else -math.inf if u == 0 else math.inf if u == 1 else math.nan


def _special(name: str) -> Callable[..., float]:
    def call(*arguments: float) -> float:
        import scipy.special

        return float(getattr(scipy.special, name)(*arguments))

    return call


ELEMENTWISE: dict[str, Callable[..., Number]] = {
    "select": lambda mask, yes, no: yes if mask else no,
    "and": lambda x, y: bool(x and y),
    "or": lambda x, y: bool(x or y),
    "not": lambda x: not x,
    "first_error": _first_error,
    "equal": lambda x, y: x == y,
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
    "near": _near,
    "is_finite": math.isfinite,
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": _divide,
    "snap": _snap,
    "neg": lambda x: -x,
    "abs": abs,
    "sign": lambda x: math.nan if math.isnan(x) else float((x > 0) - (x < 0)),
    "min": _smaller,
    "max": _larger,
    "power": _power,
    "sqrt": _safely(math.sqrt),
    "modulo": lambda x, y: x - y * _whole(math.floor)(_divide(x, y)),
    "floor": _whole(math.floor),
    "ceil": _whole(math.ceil),
    "trunc": _whole(math.trunc),
    "round_half": _round_half,
    "mend": _mend,
    "exp": _safely(math.exp),
    "expm1": _safely(math.expm1),
    "log": _log(math.log),
    "log1p": lambda x: -math.inf if x == -1 else _safely(math.log1p)(x),
    "log10": _log(math.log10),
    "sin": _safely(math.sin),
    "cos": _safely(math.cos),
    "tan": _safely(math.tan),
    "asin": _safely(math.asin),
    "acos": _safely(math.acos),
    "atan": math.atan,
    "atan2": math.atan2,
    "sinh": lambda x: math.copysign(_safely(math.sinh)(abs(x)), x),
    "cosh": _safely(math.cosh),
    "tanh": math.tanh,
    "asinh": math.asinh,
    "acosh": _safely(math.acosh),
    "atanh": lambda x: math.copysign(math.inf, x) if abs(x) == 1 else _safely(math.atanh)(x),
    "erf": math.erf,
    "erfc": math.erfc,
    "normal_cdf": lambda x: 0.5 * math.erfc(-x / math.sqrt(2)),
    "normal_quantile": _normal_quantile,
    "log_gamma": _safely(math.lgamma, outside=math.inf),
    "gamma_p": _special("gammainc"),
    "gamma_p_inverse": _special("gammaincinv"),
    "gamma_q": _special("gammaincc"),
    "gamma_q_inverse": _special("gammainccinv"),
    "beta_i": _special("betainc"),
    "beta_i_inverse": _special("betaincinv"),
    "beta_i_upper_inverse": _special("betainccinv"),
}


def _position(items: Sequence[Number], *, last: bool = False) -> float:
    places = [index for index, item in enumerate(items) if item]
    return float(places[-1 if last else 0]) if places else -1.0


REDUCTIONS: dict[str, Callable[[list[Any]], Number]] = {
    "sum": lambda items: reduce(lambda x, y: x + y, items),
    "product": lambda items: reduce(lambda x, y: x * y, items),
    "minimum": lambda items: reduce(_smaller, items),
    "maximum": lambda items: reduce(_larger, items),
    "any": any,
    "all": all,
    "count": lambda items: float(sum(map(bool, items))),
    "first_true": _position,
    "last_true": lambda items: _position(items, last=True),
    "first_error_of": lambda tags: next((tag for tag in tags if tag >= FIRST_ERROR), 0),
}


class Interpreter:
    """Walks a program for one iteration."""

    def __init__(self, job: Job, iteration: int) -> None:
        self.job = job
        self.iteration = iteration

    def run(self, instructions: Sequence[Instruction], values: dict[int, Cells]) -> None:
        for instruction in instructions:
            operands = [self.value(operand, values) for operand in instruction.operands]
            results = self.results(instruction, operands, values)
            values.update((ref.index, result) for ref, result in zip(instruction.results, results, strict=True))

    def value(self, operand: Operand, values: Mapping[int, Cells]) -> Cells:
        if isinstance(operand, Ref):
            return values[operand.index]
        return Cells(operand.shape[:4], operand.ravel().tolist())

    def results(self, instruction: Instruction, operands: list[Cells], values: dict[int, Cells]) -> list[Cells]:
        op, shape, attributes = instruction.op, instruction.result.shape, instruction.attributes
        if op in ELEMENTWISE:
            return [_each(shape, lambda *place: ELEMENTWISE[op](*(operand.at(*place) for operand in operands)))]
        if op in REDUCTIONS:
            return [_each(shape, lambda r, c, h, w: REDUCTIONS[op](operands[0].array(r, c)))]
        if op in _SHAPES:
            return [_SHAPES[op](shape, operands, attributes)]
        return _WITH_CONTEXT[op](self, instruction, operands, values)

    def _uniform(self, instruction: Instruction, operands: list[Cells], values: dict[int, Cells]) -> list[Cells]:
        site: Site = instruction.attributes["site"]

        def draw(r: int, c: int, h: int, w: int) -> float:
            place = Site(site.sheet, site.row + r, site.column + c, site.k)
            return float(self.job.uniforms(place, self.iteration, 1)[0])

        return [_each(instruction.result.shape, draw)]

    def _permute(self, instruction: Instruction, operands: list[Cells], values: dict[int, Cells]) -> list[Cells]:
        if not self.job.restores_strata:
            return operands
        score = np.empty(1)
        restored(self.job, instruction.attributes["tie"], instruction.attributes["member"], self.iteration, score)
        return [Cells((1, 1, 1, 1), score.tolist())]

    def _iteration(self, instruction: Instruction, operands: list[Cells], values: dict[int, Cells]) -> list[Cells]:
        return [Cells((1, 1, 1, 1), [float(self.iteration)])]

    def _body(self, body: Body, parameters: Sequence[Cells], values: dict[int, Cells]) -> list[Cells]:
        inner = dict(values)
        inner.update((ref.index, value) for ref, value in zip(body.parameters, parameters, strict=True))
        self.run(body.instructions, inner)
        return [self.value(operand, inner) for operand in body.results]

    def _loop(self, instruction: Instruction, operands: list[Cells], values: dict[int, Cells]) -> list[Cells]:
        attributes = instruction.attributes
        carries, axis = attributes["carries"], attributes["axis"]
        carried, cut = operands[:carries], operands[carries:]
        steps = range(attributes["steps"])
        yields: dict[int, list[Cells]] = {}
        for step in reversed(steps) if attributes.get("reverse") else steps:
            slices = [_slice(part, axis, step) for part in cut]
            results = self._body(attributes["body"], [*carried, *slices], values)
            carried, yields[step] = results[:carries], results[carries:]
        joined = [_stacked(list(parts), axis) for parts in zip(*(yields[step] for step in steps), strict=True)]
        return [*carried, *joined]

    def _repeat(self, instruction: Instruction, operands: list[Cells], values: dict[int, Cells]) -> list[Cells]:
        shape = instruction.results[-1].shape
        state = [_each(shape, operand.at) for operand in operands]
        done = _each(shape, lambda *place: False)
        for _ in range(instruction.attributes["limit"]):
            if all(done.items):
                break
            *following, finished = self._body(instruction.attributes["body"], state, values)
            state = [
                _each(shape, lambda *p, o=old, n=new, d=done: o.at(*p) if d.at(*p) else n.at(*p))
                for old, new in zip(state, following, strict=True)
            ]
            done = _each(shape, lambda *p, d=done, f=finished: bool(d.at(*p) or f.at(*p)))
        return [*state, done]

    def _scalar_call(self, instruction: Instruction, operands: list[Cells], values: dict[int, Cells]) -> list[Cells]:
        from ultramc.functions.kit import Kit, called
        from ultramc.program import Builder
        from ultramc.values import kind_of

        attributes = instruction.attributes
        kit = Kit(Builder(), attributes["texts"])

        def call(*place: int) -> Number:
            row = [
                kit.python(int(tag.at(*place)), float(payload.at(*place)))
                for payload, tag in zip(operands[::2], operands[1::2], strict=True)
            ]
            result = _finite(called(attributes["function"], row))
            if attributes.get("part") == "tag":
                return kind_of(result)
            return float(kit.texts.code(result)) if isinstance(result, str) else float(result) if isinstance(result, (int, float)) else 0.0

        return [_each(instruction.result.shape, call)]


_WITH_CONTEXT: dict[str, Callable[[Interpreter, Instruction, list[Cells], dict[int, Cells]], list[Cells]]] = {
    "uniform": Interpreter._uniform,
    "permute": Interpreter._permute,
    "iteration": Interpreter._iteration,
    "loop": Interpreter._loop,
    "repeat": Interpreter._repeat,
    "scalar_call": Interpreter._scalar_call,
}


def _finite(value: Scalar) -> Scalar:
    return ExcelError.NUM if isinstance(value, float) and not math.isfinite(value) else value


def _each(shape: Shape, element: Callable[..., Number]) -> Cells:
    return Cells(shape, [element(*place) for place in product(*map(range, shape))])


def _window(shape: Shape, operands: list[Cells], a: Mapping[str, Any]) -> Cells:
    x = operands[0]
    return _each(shape, lambda r, c, h, w: x.at(0, 0, a["top"] + r * a["row_step"] + h, a["left"] + c * a["column_step"] + w))


def _transpose(shape: Shape, operands: list[Cells], a: Mapping[str, Any]) -> Cells:
    return _each(shape, lambda r, c, h, w: operands[0].at(r, c, w, h))


def _as_array(shape: Shape, operands: list[Cells], a: Mapping[str, Any]) -> Cells:
    x = operands[0]
    return _each(shape, lambda r, c, h, w: x.at(h, w, 0, 0)) if x.shape[2:] == (1, 1) else x


def _join(shape: Shape, operands: list[Cells], a: Mapping[str, Any]) -> Cells:
    """Where parts overlap, the last counts."""
    placed = {
        (top + h, left + w): (part, h, w)
        for part, (top, left) in zip(operands, a["places"], strict=True)
        for h, w in product(*map(range, part.shape[2:]))
    }

    def element(r: int, c: int, h: int, w: int) -> Number:
        if (h, w) not in placed:
            raise ValueError(f"join leaves element {h}, {w} open")
        part, row, column = placed[h, w]
        return part.at(r, c, row, column)

    return _each(shape, element)


def _segment_sum(shape: Shape, operands: list[Cells], a: Mapping[str, Any]) -> Cells:
    items, elements = operands[0].array(0, 0), a["segments"].elements

    def element(r: int, c: int, h: int, w: int) -> Number:
        chosen = [items[place] for place in elements[r * shape[1] + c].tolist()]
        return REDUCTIONS["sum"](chosen) if chosen else 0.0

    return _each(shape, element)


def _gather(shape: Shape, operands: list[Cells], a: Mapping[str, Any]) -> Cells:
    position, x = operands

    def element(r: int, c: int, h: int, w: int) -> Number:
        cells, index = x.array(r, c), float(position.at(r, c, h, w))
        return cells[int(min(index, len(cells) - 1)) if index > 0 else 0]

    return _each(shape, element)


def _sort(shape: Shape, operands: list[Cells], a: Mapping[str, Any]) -> Cells:
    """NaN comes last."""
    width = shape[3]
    return _each(shape, lambda r, c, h, w: sorted(operands[0].array(r, c), key=lambda x: (math.isnan(x), x))[h * width + w])


def _search(shape: Shape, operands: list[Cells], a: Mapping[str, Any]) -> Cells:
    x, table = operands
    return _each(shape, lambda r, c, h, w: float(sum(item < x.at(r, c, h, w) for item in table.array(r, c))))


def _piecewise(shape: Shape, operands: list[Cells], a: Mapping[str, Any]) -> Cells:
    return _each(shape, lambda *place: _piece(float(operands[0].at(*place)), float(operands[1].at(*place)), a["pieces"]))


def _piece(below: float, above: float, pieces: Pieces) -> float:
    if math.isnan(below) or math.isnan(above):
        return math.nan
    tail = min(max(min(below, above), 2.0**-53), 0.5)
    mantissa, exponent = math.frexp(tail)  # 0.5 ≤ mantissa < 1, -52 ≤ exponent ≤ 0
    scaled = mantissa * 2 * pieces.parts
    part = math.floor(scaled)
    t = 2 * (scaled - part) - 1
    column = (exponent + 52) * pieces.parts + (part - pieces.parts) + (pieces.side if above < below else 0)
    coefficients: list[float] = pieces.coefficients[::-1, column].tolist()
    value = reduce(lambda total, coefficient: total * t + coefficient, coefficients)
    least, largest = pieces.interval
    return min(max(value, least), largest)


_SHAPES: dict[str, Callable[[Shape, list[Cells], Mapping[str, Any]], Cells]] = {
    "window": _window,
    "transpose": _transpose,
    "as_array": _as_array,
    "join": _join,
    "gather": _gather,
    "segment_sum": _segment_sum,
    "sort": _sort,
    "search": _search,
    "piecewise": _piecewise,
    "kind_is": lambda shape, operands, a: _each(shape, lambda *place: bool(a["kinds"] >> int(operands[0].at(*place)) & 1)),
}


def _slice(x: Cells, axis: int, step: int) -> Cells:
    shape = list(x.shape)
    shape[axis] = 1

    def element(*place: int) -> Number:
        moved = list(place)
        moved[axis] = step
        return x.at(*moved)

    return _each((shape[0], shape[1], shape[2], shape[3]), element)


def _stacked(parts: list[Cells], axis: int) -> Cells:
    shape = list(parts[0].shape)
    shape[axis] = len(parts)

    def element(*place: int) -> Number:
        inner = list(place)
        inner[axis] = 0
        return parts[place[axis]].at(*inner)

    return _each((shape[0], shape[1], shape[2], shape[3]), element)


def evaluate(program: Program, job: Job, iteration: int) -> list[tuple[list[Number], list[Number]]]:
    """Payloads and tags of each output in one iteration, in row-major order of its cells."""
    interpreter = Interpreter(job, iteration)
    values: dict[int, Cells] = {}
    interpreter.run(program.instructions, values)
    found = []
    for slot in program.outputs:
        shape = (1, 1, slot.cells.height, slot.cells.width)
        payload = _each(shape, interpreter.value(slot.payload, values).at).items
        tag: list[Number] = (
            [slot.tag] * len(payload) if isinstance(slot.tag, int) else _each(shape, interpreter.value(slot.tag, values).at).items
        )
        found.append((payload, tag))
    return found


def confirm(
    program: Program,
    job: Job,
    iterations: Sequence[int],
    samples: Mapping[str, NDArray[np.float64]],
    tags: Mapping[str, NDArray[np.uint8]],
    engine: str,
    tolerance: Tolerance,
) -> None:
    """Compare what an engine gave for some iterations with the definition of the ops. Raises EngineValidationError.

    `samples` and `tags`: of these iterations, (cells, iterations), by label.
    """
    elements = sum(math.prod(instruction.result.shape) for instruction in program.instructions) or 1
    for place, iteration in enumerate(iterations[: max(1, MOST_ELEMENTS // elements)]):
        for slot, (payload, tag) in zip(program.outputs, evaluate(program, job, iteration), strict=True):
            got = samples[slot.label]
            got_tag = tags[slot.label][:, place].tolist() if slot.label in tags else tag if isinstance(slot.tag, int) else [0] * len(tag)
            allowed = tolerance.atol * root_mean_square(got)
            for one, one_tag, want, want_tag in zip(got[:, place].tolist(), got_tag, payload, tag, strict=True):
                if one_tag != want_tag or (want_tag < FIRST_ERROR and not abs(one - want) <= tolerance.rtol * abs(want) + allowed):
                    raise EngineValidationError(
                        f"engine {engine!r} differs from the reference in iteration {iteration} of {slot.cells}: "
                        f"{one!r} (kind {one_tag}), not {want!r} (kind {want_tag}); simulation results discarded"
                    )
