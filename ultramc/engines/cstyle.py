"""Programs as C-style source, for the processor and for the GPU: an iteration is a lane, cells and steps are loops.

On a processor `LANES` iterations go side by side in inner loops; on a GPU each is a thread. The text is the same but for
frames and for values of one cell, which a thread keeps in registers: what the words in capitals mean is in `lanes.h` and
`threads.h`, and what generated code calls in `prelude.h`.

A value lies in scratch as [cell][lane]; views are strides. Elementwise instructions of one shape that follow one another
become one loop over cells with one loop over lanes inside, and what only they read stays in a register. Numbers of the
program are arguments of the source, not part of it: programs that differ in numbers only have the same source.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import evolve, frozen

from ultramc.program import Body, Instruction, Known, Operand, Program, Ref, Segments, Shape, Slot
from ultramc.segments import Segment, segments_of
from ultramc.values import ERROR_KINDS, FIRST_ERROR

LARGEST_GROUP = 100  # instructions of one loop over lanes
LARGEST_FUNCTION = 400  # instructions
LARGEST_EXPONENT = 8  # of a power that is a product
SHORT = 16  # elements of a table that is compared with all at once
WORDS_OF_SITE = 5

# Elementwise ops as expressions: those that vectorise, and those that call a function for each lane
PLAIN: dict[str, str] = {
    "select": "{0} != 0 ? {1} : {2}",
    "and": "({0} != 0) & ({1} != 0)",
    "or": "({0} != 0) | ({1} != 0)",
    "not": "{0} == 0",
    "first_error": f"{{0}} >= {FIRST_ERROR} ? {{0}} : {{1}} >= {FIRST_ERROR} ? {{1}} : 0.0",
    "equal": "{0} == {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "near": "near({0}, {1})",
    "is_finite": "{0} - {0} == 0",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "abs": "fabs({0})",
    "sign": "sign({0})",
    "min": "minimum({0}, {1})",
    "max": "maximum({0}, {1})",
    "sqrt": "sqrt({0})",
    "modulo": "modulo({0}, {1})",
    "floor": "floor({0})",
    "ceil": "ceil({0})",
    "trunc": "trunc({0})",
    "round_half": "round_half({0})",
    "mend": "mend({0})",
}
_FUNCTIONS = "exp expm1 log log1p log10 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf erfc normal_cdf"
CALLS: dict[str, str] = {
    **{name: f"{name}({{0}})" for name in _FUNCTIONS.split()},
    "log_gamma": "lgamma({0})",
    "atan2": "atan2({0}, {1})",
    "power": "power({0}, {1})",
}
ELEMENTWISE = frozenset({*PLAIN, *CALLS, "kind_is", "snap", "piecewise", "gather", "iteration", "permute"})
VIEWS = frozenset({"window", "transpose", "as_array"})
# Reductions: what they begin with, and how the total t takes element x, number k
REDUCTIONS: dict[str, tuple[str, str]] = {
    "sum": ("-0.0", "t + x"),
    "product": ("1.0", "t * x"),
    "minimum": ("INFINITY", "minimum(t, x)"),
    "maximum": ("-INFINITY", "maximum(t, x)"),
    "any": ("0.0", "t != 0 || x != 0"),
    "all": ("1.0", "t != 0 && x != 0"),
    "count": ("0.0", "t + x"),
    "first_true": ("-1.0", "t < 0 && x != 0 ? (double)k : t"),
    "last_true": ("-1.0", "x != 0 ? (double)k : t"),
    "first_error_of": ("0.0", f"t < {FIRST_ERROR} && x >= {FIRST_ERROR} ? x : t"),
}
AXES = ("r", "c", "h", "w")


@frozen
class Target:
    """What differs between C for a processor and for a GPU.

    `lanes`: iterations come in multiples of it. `registers`: values of one cell are variables of a function. `begin` and `end` of
    each function, `frame` of them all.
    """

    lanes: int
    registers: bool
    begin: str
    end: str
    frame: Callable[[Sequence[str], int], str]


@frozen(eq=False)
class Source:
    """C source, and what it needs: constants, instructions that draw with their first cell, cells of scratch and of output.

    `functions`: how many there are, to be called one after the other. `heaviest`: instructions of the longest.
    """

    text: str
    constants: np.ndarray[Any, np.dtype[np.float64]]
    drawing: tuple[tuple[Instruction, int], ...]
    scratch: int
    outputs: int
    lanes: int
    functions: int
    heaviest: int

    @property
    def cells_drawn(self) -> int:
        return sum(math.prod(instruction.result.shape) for instruction, _ in self.drawing)


@frozen(eq=False)
class Place:
    """Where the cells of a value lie in an array: S scratch, K constants, D what the host drew, or a pointer into scratch.

    `moving`: loop variables, and how many cells a step is. `room`: where the room begins that it lies in, if that can be given back.
    `register`: the array is a variable, and the value one cell.
    """

    array: str
    offset: int
    shape: Shape
    strides: Shape
    moving: tuple[tuple[str, int], ...] = ()
    room: int | None = None
    register: bool = False

    def at(self, *indexes: str) -> str:
        """The element of the lane at hand; an axis of length one serves all."""
        axes = zip(indexes, self.shape, self.strides, strict=True)
        terms = [f"{index} * {stride}" for index, length, stride in axes if length > 1 and stride]
        return self.element(" + ".join((str(self.offset), *(f"{name} * {stride}" for name, stride in self.moving), *terms)))

    def element(self, cell: str) -> str:
        return self.array if self.register else _ELEMENT.get(self.array, f"AT({self.array}, {{}})").format(cell)

    def cell(self, number: str) -> str:
        """Element `number`, row by row, of the array of block cell r, c."""
        (rows, columns, _, width), (down, across, below, beside) = self.shape, self.strides
        own = [f"{index} * {stride}" for index, length, stride in (("r", rows, down), ("c", columns, across)) if length > 1]
        inside = f"({number}) / {width} * {below} + ({number}) % {width} * {beside}"
        if width == 1 or below == width * beside:
            inside = f"({number}) * {below if width == 1 else beside}"
        return self.element(" + ".join((str(self.offset), *(f"{name} * {stride}" for name, stride in self.moving), *own, inside)))

    def step(self, axis: int, variable: str) -> Place:
        """One step along an axis of the block."""
        if self.shape[axis] == 1:
            return self
        return evolve(self, shape=_replaced(self.shape, axis, 1), moving=(*self.moving, (variable, self.strides[axis])))


_ELEMENT = {"K": "K[{}]", "D": "GIVEN({})", "O": "{}"}


def _replaced(shape: Shape, axis: int, length: int) -> Shape:
    lengths = [*shape]
    lengths[axis] = length
    return lengths[0], lengths[1], lengths[2], lengths[3]


def _strides(shape: Shape) -> Shape:
    _, columns, height, width = shape
    return columns * height * width, height * width, width, 1


def render(program: Program, target: Target, limit: int = LARGEST_FUNCTION) -> Source:
    """Functions of at most `limit` instructions for n iterations from `first`: n a multiple of the target's lanes, `first` of 4.

    K: constants. W: for each instruction that draws the key (two words), row, column and k of its first site. D: what the host drew
    instead (cells, n), or null. S: scratch. O: outputs (cells, n), payload and tag of each slot.
    """
    return _Renderer(target).program(program, limit)


class _Pool:
    """Rooms of scratch, by their first cell, and how many values live in each."""

    def __init__(self) -> None:
        self.size = 0
        self._sizes: dict[int, int] = {}
        self._living: dict[int, int] = {}
        self._free: dict[int, list[int]] = defaultdict(list)

    def take(self, shape: Shape) -> Place:
        """Nothing lives there yet."""
        cells = math.prod(shape)
        room = self._free[cells].pop() if self._free[cells] else self._new(cells)
        self._living[room] = 0
        return Place("S", room, shape, _strides(shape), room=room)

    def _new(self, cells: int) -> int:
        self._sizes[self.size] = cells
        self.size += cells
        return self.size - cells

    def hold(self, place: Place) -> None:
        if place.room is not None:
            self._living[place.room] += 1

    def drop(self, place: Place) -> None:
        if place.room is not None:
            self._living[place.room] -= 1
            if not self._living[place.room]:
                self._free[self._sizes[place.room]].append(place.room)


class _Renderer:
    """What is common to a program: constants, scratch, lines of source."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.pool = _Pool()
        self.lines: list[str] = []
        self.drawing: list[tuple[Instruction, int]] = []
        self.places: dict[int, Place] = {}
        self.makers: Mapping[int, Instruction] = {}
        self.surviving: Collection[int] = ()  # what functions that follow read
        self._constants: list[np.ndarray[Any, np.dtype[np.float64]]] = []
        self._known: dict[int, tuple[Known, int]] = {}
        self._size = 0
        self._cells_drawn = 0
        self._names = 0

    def program(self, program: Program, limit: int) -> Source:
        """The last function also writes the outputs."""
        self.makers = program.makers()
        kept = {part.index for slot in program.outputs for part in (slot.payload, slot.tag) if isinstance(part, Ref)}
        segments = segments_of(program.instructions, kept, limit) or (Segment((), (), ()),)
        last = {ref.index: number for number, segment in enumerate(segments) for ref in (*segment.outputs, *segment.inputs)}
        cells = 0
        for number, segment in enumerate(segments):
            is_last = number == len(segments) - 1
            self.surviving = () if is_last else {ref.index for ref in segment.outputs}
            self.lines.append(self.target.begin.format(number))
            _Scope(self, segment.instructions, {ref.index for ref in segment.outputs}, "    ").carry_out()
            if is_last:
                cells = self._outputs(program.outputs)
            self.lines += [self.target.end.format(number), ""]
            self.forget(index for index, end in last.items() if end == number and index not in kept)
        constants = np.concatenate(self._constants) if self._constants else np.zeros(1)
        heaviest = max(segment.weight for segment in segments)
        return Source(
            text=self.target.frame(self.lines, len(segments)),
            constants=constants,
            drawing=tuple(self.drawing),
            scratch=self.pool.size,
            outputs=cells,
            lanes=self.target.lanes,
            functions=len(segments),
            heaviest=heaviest,
        )

    def _outputs(self, slots: Sequence[Slot]) -> int:
        """Payload and tag of each slot, one after the other."""
        cells = 0
        for slot in slots:
            for part in (slot.payload, slot.tag):
                if not isinstance(part, int):
                    shape = (1, 1, slot.cells.height, slot.cells.width)
                    cell, value = Place("O", cells, shape, _strides(shape)).at(*AXES), self.place(part).at(*AXES)
                    with_cells(self.lines, shape, "    ", [f"OUTPUT({cell}, {value});"])
                    cells += slot.cells.size
        return cells

    def room(self, ref: Ref, indent: str) -> Place:
        """For a value that is to be written next."""
        if self.target.registers and math.prod(ref.shape) == 1 and ref.index not in self.surviving:
            name = self.name("r")
            self.lines.append(f"{indent}double {name};")
            return Place(name, 0, ref.shape, _strides(ref.shape), register=True)
        return self.pool.take(ref.shape)

    def copy(self, operand: Operand, target: Place, indent: str) -> None:
        source = self.place(operand)
        with_cells(self.lines, target.shape, indent, [f"{target.at(*AXES)} = {source.at(*AXES)};"])

    def place(self, operand: Operand) -> Place:
        return self.places[operand.index] if isinstance(operand, Ref) else self.constant(operand)

    def constant(self, known: Known) -> Place:
        if id(known) not in self._known:
            self._known[id(known)] = known, self.table(known.reshape(-1))
        shape = (known.shape[0], known.shape[1], known.shape[2], known.shape[3])
        return Place("K", self._known[id(known)][1], shape, _strides(shape))

    def table(self, numbers: Any) -> int:
        """Where numbers begin among the constants."""
        flat = np.asarray(numbers, dtype=np.float64).reshape(-1)
        self._constants.append(flat)
        self._size += flat.size
        return self._size - flat.size

    def drawn(self, instruction: Instruction) -> tuple[int, Place]:
        """The number of an instruction that draws, and where the host's draws lie."""
        shape = instruction.result.shape
        self.drawing.append((instruction, self._cells_drawn))
        self._cells_drawn += math.prod(shape)
        return len(self.drawing) - 1, Place("D", self._cells_drawn - math.prod(shape), shape, _strides(shape))

    def bind(self, ref: Ref, place: Place) -> None:
        self.pool.hold(place)
        self.places[ref.index] = place

    def forget(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            place = self.places.pop(index, None)
            if place is not None:
                self.pool.drop(place)

    def name(self, letter: str) -> str:
        self._names += 1
        return f"{letter}{self._names}"


def with_cells(lines: list[str], shape: Shape, indent: str, statements: Sequence[str], *, vectorises: bool = True) -> None:
    """Statements for each lane of each cell."""
    lines += [_over(axis, length, indent) for axis, length in zip(AXES, shape, strict=True) if length > 1]
    with_lanes(lines, indent, statements, vectorises=vectorises)


def _over(axis: str, length: int, indent: str) -> str:
    return f"{indent}EACH({axis}, {length})"


def with_lanes(lines: list[str], indent: str, statements: Sequence[str], *, vectorises: bool = True) -> None:
    lines.append(f"{indent}{'SIDE_BY_SIDE' if vectorises else 'ONE_BY_ONE'} {{")
    lines += [f"{indent}    {statement}" for statement in statements]
    lines.append(f"{indent}}}")


class _Scope:
    """Instructions in a row: of a function, or of a body."""

    def __init__(
        self,
        renderer: _Renderer,
        instructions: Sequence[Instruction],
        kept: Collection[int],
        indent: str,
        targets: Mapping[int, Sequence[Place]] | None = None,
    ) -> None:
        self.renderer = renderer
        self.lines = renderer.lines
        self.instructions = instructions
        self.kept = kept
        self.indent = indent
        self.targets = targets or {}
        self.group: list[Instruction] = []
        self.last = {ref.index: position for position, each in enumerate(instructions) for ref in each.results}
        self.last |= {index: position for position, each in enumerate(instructions) for index in each.reads() if index in self.last}
        self.position = 0

    def carry_out(self) -> None:
        for position, instruction in enumerate(self.instructions):
            self.position = position
            if not self._joins(instruction):
                self.flush()
            if _is_elementwise(instruction):
                self.group.append(instruction)
            else:
                _RENDERED[instruction.op](self, instruction)
        self.position = len(self.instructions)
        self.flush()
        self.renderer.forget(index for index in self.last if index not in self.kept)

    def _joins(self, instruction: Instruction) -> bool:
        """Elementwise instructions of one shape; one that calls a function is apart, lest the others do not vectorise."""
        if not self.group:
            return True
        alike = _is_elementwise(instruction) and instruction.result.shape == self.group[0].result.shape
        return (
            alike
            and len(self.group) < LARGEST_GROUP
            and _calls(instruction) == _calls(self.group[0])
            and not (instruction.op == "gather" and self._is_pending(instruction.operands[1]))
        )

    def _is_pending(self, operand: Operand) -> bool:
        return isinstance(operand, Ref) and any(each.result.index == operand.index for each in self.group)

    # Room

    def out(self, ref: Ref) -> Place:
        """Where a result goes: its first target, or room of its own."""
        place = self.targets[ref.index][0] if ref.index in self.targets else self.renderer.room(ref, self.indent)
        self.renderer.bind(ref, place)
        return place

    def finish(self, ref: Ref) -> None:
        """Copies of a result that is wanted in several places."""
        for target in self.targets.get(ref.index, ())[1:]:
            self.renderer.copy(ref, target, self.indent)

    def is_needed(self, ref: Ref) -> bool:
        return ref.index in self.kept or ref.index in self.targets or self.last.get(ref.index, -1) >= self.position

    def flush(self) -> None:
        """Write the group; then what nobody reads from here on gives its room back."""
        if self.group:
            group, self.group = self.group, []
            self._write(group)
        ended = [index for index, last in self.last.items() if last < self.position and index not in self.kept]
        self.renderer.forget(ended)
        for index in ended:
            del self.last[index]

    def _write(self, group: Sequence[Instruction]) -> None:
        """Operands first, so that no store stands between loads."""
        made = {instruction.result.index for instruction in group}
        loads: dict[tuple[str, ...], str] = {}
        body = []
        for instruction in group:
            names = [self._loaded(operand, made, loads) for operand in instruction.operands[: _elementwise_operands(instruction)]]
            body.append(f"double v{instruction.result.index} = {self._expression(instruction, names)};")
        stores = []
        for instruction in group:
            ref = instruction.result
            if self.is_needed(ref):
                places = [self.out(ref), *self.targets.get(ref.index, ())[1:]]
                stores += [f"{place.at(*AXES)} = v{ref.index};" for place in places]
        read = [f"double {name} = {element};" for (element,), name in loads.items()]
        with_cells(self.lines, group[0].result.shape, self.indent, [*read, *body, *stores], vectorises=not _calls(group[0]))

    def _loaded(self, operand: Operand, made: Collection[int], loads: dict[tuple[str, ...], str]) -> str:
        if isinstance(operand, Ref) and operand.index in made:
            return f"v{operand.index}"
        element = self.renderer.place(operand).at(*AXES)
        return loads.setdefault((element,), f"x{len(loads)}")

    def _expression(self, instruction: Instruction, names: Sequence[str]) -> str:
        op = instruction.op
        if op in _EXPRESSED:
            return _EXPRESSED[op](self, instruction, names)
        return (PLAIN.get(op) or CALLS[op]).format(*names)

    # Each kind of instruction that is no expression

    def view(self, instruction: Instruction) -> None:
        seen = self.renderer.place(instruction.operands[0])
        self.renderer.bind(instruction.result, _VIEWED[instruction.op](seen, instruction.attributes))

    def uniform(self, instruction: Instruction) -> None:
        """By the source, or by the host where D is given."""
        out = self.out(instruction.result)
        number, given = self.renderer.drawn(instruction)
        with_cells(self.lines, out.shape, self.indent, [f"if (D) {out.at(*AXES)} = {given.at(*AXES)};"], vectorises=False)
        self.lines.append(f"{self.indent}if (!D)")
        self._blocks(out.shape)
        r, c = (index if length > 1 else "0" for index, length in zip("rc", out.shape[:2], strict=True))
        self.lines.append(f"{self.indent}DRAW({out.at(*AXES)}, W + {number} * {WORDS_OF_SITE}, {r}, {c});")
        self.finish(instruction.result)

    def reduce(self, instruction: Instruction) -> None:
        """Cell after cell, in the lanes' own totals."""
        (x,), out = [self.renderer.place(operand) for operand in instruction.operands], self.out(instruction.result)
        start, combined = REDUCTIONS[instruction.op]
        _, _, height, width = x.shape
        self._blocks(instruction.result.shape)
        self.lines.append(f"{self.indent}{{ double total[OWN];")
        with_lanes(self.lines, self.indent, [f"total[LANE] = {start};"])
        self.lines.append(f"{self.indent}EACH(k, {height * width})")
        with_lanes(self.lines, self.indent, [f"double t = total[LANE], x = {x.cell('k')};", f"total[LANE] = {combined};"])
        with_lanes(self.lines, self.indent, [f"{out.at(*AXES)} = total[LANE];"])
        self.lines.append(f"{self.indent}}}")
        self.finish(instruction.result)

    def _blocks(self, shape: Shape) -> None:
        """The loops over the cells of a block."""
        self.lines.extend(_over(axis, length, self.indent) for axis, length in zip("rc", shape[:2], strict=True))

    def normal_quantile(self, instruction: Instruction) -> None:
        """Seventeen of twenty lanes side by side; the tails one by one, afterwards."""
        (p,), out = [self.renderer.place(operand) for operand in instruction.operands], self.out(instruction.result)
        x, result = p.at(*AXES), out.at(*AXES)
        with_cells(self.lines, out.shape, self.indent, [f"{result} = normal_quantile_within({x});"])
        statement = f"if (!is_within({x})) {result} = normal_quantile_outside({x});"
        with_cells(self.lines, out.shape, self.indent, [statement], vectorises=False)
        self.finish(instruction.result)

    def search(self, instruction: Instruction) -> None:
        x, table = (self.renderer.place(operand) for operand in instruction.operands)
        out, size = self.out(instruction.result), table.shape[2] * table.shape[3]
        if table.array == "K" and table.shape[:2] == (1, 1):
            statement = f"{out.at(*AXES)} = search(K + {table.offset}, {size}, {x.at(*AXES)});"
            with_cells(self.lines, instruction.result.shape, self.indent, [statement], vectorises=False)
        else:
            counted = f"EACH(k, {size}) count += {table.cell('k')} < x;"
            statements = [f"double x = {x.at(*AXES)}, count = 0;", counted, f"{out.at(*AXES)} = count;"]
            with_cells(self.lines, instruction.result.shape, self.indent, statements, vectorises=False)
        self.finish(instruction.result)

    def sort(self, instruction: Instruction) -> None:
        out = self.out(instruction.result)
        self.renderer.copy(instruction.operands[0], out, self.indent)
        _, _, height, width = out.shape
        self._blocks(out.shape)
        with_lanes(self.lines, self.indent, [f"sort(&{out.at('r', 'c', '0', '0')}, BETWEEN, {height * width});"], vectorises=False)
        self.finish(instruction.result)

    def join(self, instruction: Instruction) -> None:
        out = self.out(instruction.result)
        for operand, (top, left) in zip(instruction.operands, instruction.attributes["places"], strict=True):
            height, width = self.renderer.place(operand).shape[2:]
            part = evolve(
                out,
                offset=out.offset + top * out.strides[2] + left * out.strides[3],
                shape=(out.shape[0], out.shape[1], height, width),
            )
            self.renderer.copy(operand, part, self.indent)
        self.finish(instruction.result)

    def segment_sum(self, instruction: Instruction) -> None:
        """The elements' numbers are constants too: where each segment begins, then all of them."""
        segments: Segments = instruction.attributes["segments"]
        x, out = self.renderer.place(instruction.operands[0]), self.out(instruction.result)
        starts = self.renderer.table(np.cumsum([0, *(each.size for each in segments.elements)]))
        elements = self.renderer.table(np.concatenate([*segments.elements, np.zeros(1)]))
        self._blocks(out.shape)
        self.lines += [
            f"{self.indent}{{ double total[OWN];",
            f"{self.indent}int64_t s = r * {segments.columns} + c, begin = (int64_t)K[{starts} + s], end = (int64_t)K[{starts} + s + 1];",
        ]
        with_lanes(self.lines, self.indent, ["total[LANE] = begin < end ? -0.0 : 0.0;"])
        self.lines.append(f"{self.indent}for (int64_t e = begin; e < end; e++) {{ int64_t k = (int64_t)K[{elements} + e];")
        with_lanes(self.lines, self.indent, [f"total[LANE] += {x.cell('k')};"])
        self.lines.append(f"{self.indent}}}")
        with_lanes(self.lines, self.indent, [f"{out.at(*AXES)} = total[LANE];"])
        self.lines.append(f"{self.indent}}}")
        self.finish(instruction.result)

    # Bodies

    def loop(self, instruction: Instruction) -> None:
        """Carried values have two places each: steps read one and write the other, and then they change roles."""
        a = instruction.attributes
        body: Body = a["body"]
        carries, axis, steps, inner = a["carries"], a["axis"], a["steps"], self.indent + "    "
        pairs = [self._pair(operand, ref) for operand, ref in zip(instruction.operands[:carries], body.parameters, strict=False)]
        wholes = [self.out(ref) for ref in instruction.results[carries:]]
        step = self.renderer.name("s")
        order = f"{steps - 1}; {step} >= 0; {step}--" if a.get("reverse") else f"0; {step} < {steps}; {step}++"
        self.lines.append(f"{self.indent}ROLLED for (int64_t {step} = {order}) {{")
        for ref, operand in zip(body.parameters[carries:], instruction.operands[carries:], strict=True):
            self.renderer.bind(ref, self.renderer.place(operand).step(axis, step))
        self._body(body, [*(pair.following for pair in pairs), *(whole.step(axis, step) for whole in wholes)], inner)
        self.lines.extend(f"{inner}{pair.exchange}" for pair in pairs)
        self.lines.append(f"{self.indent}}}")
        self.renderer.forget(ref.index for ref in body.parameters)
        for ref, pair in zip(instruction.results[:carries], pairs, strict=True):
            self._carried(ref, pair, steps)
        for ref in instruction.results[carries:]:
            self.finish(ref)

    def _carried(self, ref: Ref, pair: _Pair, steps: int) -> None:
        self.renderer.bind(ref, pair.after(steps))
        for room in pair.rooms:
            self.renderer.pool.drop(room)
        for target in self.targets.get(ref.index, ()):
            self.renderer.copy(ref, target, self.indent)

    def _pair(self, operand: Operand, ref: Ref) -> _Pair:
        rooms = self.renderer.room(ref, self.indent), self.renderer.room(ref, self.indent)
        for room in rooms:
            self.renderer.pool.hold(room)
        self.renderer.copy(operand, rooms[0], self.indent)
        pair = _Pair(rooms[0], rooms[1], rooms) if rooms[0].register else self._pointers(rooms)
        self.renderer.bind(ref, pair.now)
        return pair

    def _pointers(self, rooms: tuple[Place, Place]) -> _Pair:
        names = self.renderer.name("p"), self.renderer.name("q")
        self.lines.extend(f"{self.indent}double *{name} = ROOM({room.offset});" for name, room in zip(names, rooms, strict=True))
        now, following = (evolve(room, array=name, offset=0) for name, room in zip(names, rooms, strict=True))
        return _Pair(now, following, rooms)

    def _body(self, body: Body, wanted: Sequence[Place], indent: str) -> None:
        """Results that an instruction of the body makes go where they are wanted; others are copied there."""
        written = {ref.index for each in body.instructions if each.op not in VIEWS for ref in each.results}
        targets: dict[int, list[Place]] = defaultdict(list)
        copies: list[tuple[Operand, Place]] = []
        for result, place in zip(body.results, wanted, strict=True):
            if isinstance(result, Ref) and result.index in written:
                targets[result.index].append(place)
            else:
                copies.append((result, place))
        kept = {result.index for result in body.results if isinstance(result, Ref)}
        _Scope(self.renderer, body.instructions, kept, indent, targets).carry_out()
        for operand, place in copies:
            self.renderer.copy(operand, place, indent)

    def repeat(self, instruction: Instruction) -> None:
        """Until every lane is done; those that are keep what they have."""
        body: Body = instruction.attributes["body"]
        limit, done, inner = instruction.attributes["limit"], instruction.results[-1], self.indent + "    "
        state = [self.out(ref) for ref in instruction.results]
        for operand, place in zip(instruction.operands, state, strict=False):
            self.renderer.copy(operand, place, self.indent)
        with_cells(self.lines, done.shape, self.indent, [f"{state[-1].at(*AXES)} = 0.0;"])
        for ref, place in zip(body.parameters, state, strict=False):
            self.renderer.bind(ref, place)
        going, count = self.renderer.name("going"), self.renderer.name("k")
        self.lines += [
            f"{self.indent}int64_t {going} = 1;",
            f"{self.indent}ROLLED for (int64_t {count} = 0; {count} < {limit} && {going}; {count}++) {{",
        ]
        following = [self.renderer.room(ref, inner) for ref in instruction.results]
        for place in following:
            self.renderer.pool.hold(place)
        self._body(body, following, inner)
        for place, new in zip(state[:-1], following, strict=False):
            statement = f"if ({state[-1].at(*AXES)} == 0) {place.at(*AXES)} = {new.at(*AXES)};"
            with_cells(self.lines, place.shape, inner, [statement])
        self.lines.append(f"{inner}{going} = 0;")
        finished = f"{state[-1].at(*AXES)} != 0 || {following[-1].at(*AXES)} != 0"
        with_cells(self.lines, done.shape, inner, [f"{state[-1].at(*AXES)} = {finished};"])
        with_cells(self.lines, done.shape, inner, [f"{going} += {state[-1].at(*AXES)} == 0;"], vectorises=False)
        self.lines.append(f"{self.indent}}}")
        for place in following:
            self.renderer.pool.drop(place)
        self.renderer.forget(ref.index for ref in body.parameters)
        for ref in instruction.results:
            self.finish(ref)


@frozen(eq=False)
class _Pair:
    """The places of a carried value: pointers that are exchanged, and the rooms where these begin, or two registers."""

    now: Place
    following: Place
    rooms: tuple[Place, Place]

    @property
    def exchange(self) -> str:
        one, other = self.now.array, self.following.array
        return f"{one} = {other};" if self.now.register else f"{{ double *held = {one}; {one} = {other}; {other} = held; }}"

    def after(self, steps: int) -> Place:
        """In scratch a value is where it began after an even number of steps."""
        return self.now if self.now.register else self.rooms[steps % 2]


def _calls(instruction: Instruction) -> bool:
    if instruction.op == "power":
        return not _whole_exponent(instruction)
    return instruction.op in CALLS or instruction.op == "piecewise"


def _elementwise_operands(instruction: Instruction) -> int:
    """Look-ups have one: their tables are looked at by position."""
    return 1 if instruction.op in ("gather", "search") else len(instruction.operands)


def _is_elementwise(instruction: Instruction) -> bool:
    return instruction.op in ELEMENTWISE or _is_short_search(instruction)


# Expressions that need more than their operands


def _kind_is(scope: _Scope, instruction: Instruction, names: Sequence[str]) -> str:
    kinds = instruction.attributes["kinds"]
    if kinds == ERROR_KINDS:
        return f"{names[0]} >= {FIRST_ERROR}"
    return " || ".join(f"{names[0]} == {kind}" for kind in range(kinds.bit_length()) if kinds >> kind & 1) or "0"


def _piecewise(scope: _Scope, instruction: Instruction, names: Sequence[str]) -> str:
    pieces = instruction.attributes["pieces"]
    table = scope.renderer.table(pieces.coefficients)
    ends = scope.renderer.table(pieces.interval)
    rows, columns = pieces.coefficients.shape
    shape = f"{columns}, {rows - 1}, {pieces.parts}, {pieces.side}"
    return f"piecewise(K + {table}, {shape}, K[{ends}], K[{ends + 1}], {names[0]}, {names[1]})"


def _snap(scope: _Scope, instruction: Instruction, names: Sequence[str]) -> str:
    result, *operands = instruction.operands
    maker = scope.renderer.makers.get(result.index) if isinstance(result, Ref) else None
    is_sum = maker is not None and maker.op in ("add", "sub") and list(map(_identity, maker.operands)) == list(map(_identity, operands))
    return f"{'snap_sum' if is_sum else 'snap'}({', '.join(names)})"


def _identity(operand: Operand) -> int:
    return operand.index if isinstance(operand, Ref) else id(operand)


def _gather(scope: _Scope, instruction: Instruction, names: Sequence[str]) -> str:
    table = scope.renderer.place(instruction.operands[1])
    return table.cell(f"position({names[0]}, {table.shape[2] * table.shape[3]})")


def _iteration(scope: _Scope, instruction: Instruction, names: Sequence[str]) -> str:
    return "(double)(first + (uint64_t)l)"


def _permute(scope: _Scope, instruction: Instruction, names: Sequence[str]) -> str:
    """The host gives NaN where the sampling has no strata to restore."""
    _, given = scope.renderer.drawn(instruction)
    restored = given.at(*AXES)
    return f"D && {restored} == {restored} ? {restored} : {names[0]}"


def _power(scope: _Scope, instruction: Instruction, names: Sequence[str]) -> str:
    """A small whole exponent that does not vary is a product, within the tolerance of the op."""
    exponent = _whole_exponent(instruction)
    return " * ".join([names[0]] * exponent) if exponent else CALLS["power"].format(*names)


def _whole_exponent(instruction: Instruction) -> int:
    exponent = instruction.operands[1]
    if isinstance(exponent, Ref) or exponent.size > 1 or exponent.item() not in range(2, LARGEST_EXPONENT + 1):
        return 0
    return int(exponent.item())


def _search(scope: _Scope, instruction: Instruction, names: Sequence[str]) -> str:
    """How many elements of a short table are less: quicker than halving."""
    table = scope.renderer.place(instruction.operands[1])
    return " + ".join(f"(K[{table.offset + element}] < {names[0]})" for element in range(table.shape[2] * table.shape[3]))


def _is_short_search(instruction: Instruction) -> bool:
    if instruction.op != "search" or isinstance(instruction.operands[1], Ref):
        return False
    rows, columns, height, width, _ = instruction.operands[1].shape
    return (rows, columns) == (1, 1) and int(height * width) <= SHORT


_EXPRESSED: dict[str, Callable[[_Scope, Instruction, Sequence[str]], str]] = {
    "kind_is": _kind_is,
    "snap": _snap,
    "piecewise": _piecewise,
    "gather": _gather,
    "iteration": _iteration,
    "permute": _permute,
    "power": _power,
    "search": _search,
}


# Views


def _transposed(place: Place, a: Mapping[str, Any]) -> Place:
    (r, c, h, w), (down, across, below, beside) = place.shape, place.strides
    return evolve(place, shape=(r, c, w, h), strides=(down, across, beside, below))


def _as_array(place: Place, a: Mapping[str, Any]) -> Place:
    (r, c, h, w), (down, across, _, _) = place.shape, place.strides
    return evolve(place, shape=(1, 1, r, c), strides=(0, 0, down, across)) if (h, w) == (1, 1) else place


def _window(place: Place, a: Mapping[str, Any]) -> Place:
    _, _, below, beside = place.strides
    shape = (a["rows"] if a["row_step"] else 1, a["columns"] if a["column_step"] else 1, a["height"], a["width"])
    offset = place.offset + a["top"] * below + a["left"] * beside
    return evolve(place, offset=offset, shape=shape, strides=(below * a["row_step"], beside * a["column_step"], below, beside))


_VIEWED: dict[str, Callable[[Place, Mapping[str, Any]], Place]] = {"transpose": _transposed, "as_array": _as_array, "window": _window}
_RENDERED: dict[str, Callable[[_Scope, Instruction], None]] = {
    **dict.fromkeys(VIEWS, _Scope.view),
    **dict.fromkeys(REDUCTIONS, _Scope.reduce),
    "uniform": _Scope.uniform,
    "normal_quantile": _Scope.normal_quantile,
    "search": _Scope.search,
    "sort": _Scope.sort,
    "join": _Scope.join,
    "segment_sum": _Scope.segment_sum,
    "loop": _Scope.loop,
    "repeat": _Scope.repeat,
}
OPS = frozenset({*ELEMENTWISE, *_RENDERED})
