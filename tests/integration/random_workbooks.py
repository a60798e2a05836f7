"""Random workbooks, as a strategy: filled regions of lines over periods, staggered, backwards, with exceptions, draws and circles."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import numpy as np
from attrs import field, frozen
from hypothesis import reject
from hypothesis import strategies as st
from workbooks import workbook

import ultramc as mc
from ultramc.address import column_letters, parse_area
from ultramc.engines.base import Engine, Job
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.tolerance import Tolerance, root_mean_square
from ultramc.values import FIRST_ERROR

# What formulas are made of. {v} a cell of any line at this or an earlier period, {p} one of the same line, {u} one of the line before
# or after at the same period where that may be read, {w} a window of some periods, {c} a range from a fixed
# period on, {f} a fixed cell, {h} a fixed range, {i} an input, {n} a number, {s} a switch that is off, {x} any cell, in a circle too.
FORMULAS = (
    "{v}",
    "{v}+{v}",
    "{v}+1",
    "{v}*{n}+{v}",
    "{v}-{v}",
    "{v}*{v}",
    "{v}/{v}",
    "{v}*{n}",
    "{v}*(1+{i}/10)",
    "{i}*{v}+{i}",
    "{v}^2-{v}",
    "EXP({v})",
    "SQRT({v})",
    "MAX({v},{v})",
    "MIN({v},{n})",
    "ROUND({v},1)",
    "IF({v}>{v},{v},{v})",
    "IF({v}>{n},{v})",
    "IF({v}>0,1/{v},{v})",
    "IF(AND({v}>0,{v}<{n}),{v},{v})",
    "IF(OR({v}=0,ISERROR({v})),{n},{v})",
    "IFERROR({v}/{v},{v})",
    "IFERROR({v},{n})",
    "IF(ISBLANK({v}),{i},{v})",
    "IF(ISNUMBER({v}),{v}+{v},0)",
    "N({v})+{v}",
    "AND({v}>0,{v}<9)",
    "{v}>{v}",
    "NOT({v}>0)",
    '{v}=""',
    'IF({v}>{n},"up","down")',
    'IF({v}="up",{v},{n})',
    'IF({v}>0,"",{v})',
    "SUM({w})",
    "SUM({w})+{v}",
    "MAX({w})",
    "AVERAGE({w})",
    "COUNT({w})*{v}",
    "SUM({w},{v})",
    "SUMPRODUCT({w},{w})",
    "SUM({c})",
    "SUM({c})*{n}",
    "MAX({c})+{v}",
    'COUNTIF({c},">0")',
    'SUMIF({c},">"&{n})+{v}',
    "AVERAGE({c})",
    "INDEX({c},1)+{v}",
    "{f}+{v}",
    "{v}/{f}",
    "{v}*{f}*{n}",
    "SUM({h})+{v}",
    "SUM({h})/{n}",
    'SUMIF({h},">1")',
    "SUMPRODUCT({h},{h})",
    "INDEX({h},1,{i})",
    "INDEX({h},1,1+ABS({v}))",
    "INDEX({h},1,{v})",
    "MATCH({v},{h},0)",
    "IFERROR(INDEX({h},MATCH({i},{h},0)),{v})",
    "VLOOKUP({v},{h},1,0)",
    "HLOOKUP({i},{h},1)",
    "CHOOSE({i},{v},{v},{v})",
    "IF({s}=0,{v},{x})",
    "IF({s}=0,{v}*{n},{x}+{x})",
    "{v}+{s}*{v}",
    "ROW()+{v}",
    "COLUMN()*{v}",
    "{v}+RAND()",
    "RAND()*{v}",
    "OFFSET({v},0,0)+1",
    "INT({v})",
    "MOD({v},{n})",
    "{p}+{v}",
    "{p}*{i}",
    "{p}*(1+{v})-{v}",
    "{p}*0.5+{v}",
    "{p}+{u}",
    "{p}*{u}",
    "{p}+{u}*{v}",
    "{u}*0.5+{v}",
    "{u}+{i}",
    "MAX({p},{u})+{i}",
    "MAX({p}-{v},0)",
    "IF({v}>0,{p}+{n},{p}*{n})",
    "IF({p}>{i},{n},{p}+1)",
    "IFERROR({p}/{v},{n})",
    "IFERROR(1/{p},{u})",
    'IF({p}="up","down","up")',
    'IF({p}>{n},"",{p}+{v})',
    "{p}+RAND()",
    "{p}+ROW()*{v}",
    "SUM({w})+{p}",
    "SUM({c})*{i}+{p}",
    "{p}/{f}+{v}",
    "IF({s}=0,{p}+{v},{x})",
    "INDEX({h},{p},1)",
    "INDEX({h},1+ABS({p}),1)",
    "VLOOKUP({p},{h},1)",
    "AND({p}>0,{u}>0)",
)

INPUTS: tuple[tuple[float, mc.Distribution], ...] = (
    (1.0, mc.Normal(1, 1)),
    (2.0, mc.Uniform(0.5, 3)),
    (1.0, mc.DiscreteUniform([0, 1])),
    (2.0, mc.DiscreteUniform([1, 2, 3, 4])),
    (1.0, mc.DiscreteUniform([1, 1e200])),
    (0.0, mc.Normal(0, 2)),
)
NUMBERS = ("0", "1", "2", "0.5", "-1", "1.05", "10", "1E200")
SWITCH = "A9"

# What stands in a row of constants, over and over
DATA: tuple[tuple[object, ...], ...] = (
    ("input", 1.0, 2.0),
    (1.0, 2.0, 3.0),
    (0, 1),
    (1, 0, 0),
    (5.0,),
    (2.0, "x", None, True, -1.0),
    (1e200, 1.0),
    (None,),
)

# What stands before a region, or in the middle of one
SINGLE: tuple[object, ...] = (3.0, 0, None, "text", "=1/0", "=NA()", True, "=A1", "=A2*2", "input", "input", "formula", "formula")


FREE = -99  # the nearest lag where all are allowed

# Where things stand: lines lie side by side across the periods


@frozen
class Layout:
    """A sheet whose periods run across it, or down; `backwards`: the first period is the last cell."""

    name: str
    down: bool
    backwards: bool
    start: int
    periods: int

    def address(self, line: int, period: int, fixed: tuple[bool, bool] = (False, False)) -> str:
        along = self.start + (self.periods - 1 - period if self.backwards else period)
        (row, column), (row_fixed, column_fixed) = ((along, line), fixed[::-1]) if self.down else ((line, along), fixed)
        return f"{'$' * column_fixed}{column_letters(column)}{'$' * row_fixed}{row}"

    def before(self, period: int) -> int:
        """How many cells there are before a period, the first of the sheet left out."""
        return 99 if self.backwards else self.start + period - 2


@frozen
class Line:
    """What a line may read: those of a lower layer; of its own those with `lead` earlier, or as early and of a lower rank."""

    sheet: int
    at: int
    layer: int = -1
    lead: int = 0
    rank: int = 0

    def lag(self, other: Line) -> int | None:
        """How many periods back the other may be read at the nearest."""
        if other.layer != self.layer:
            return FREE if other.layer < self.layer else None
        return other.lead - self.lead + (0 if other.rank < self.rank else 1)


@frozen
class Coordinate:
    at: int
    moves: bool = True

    def seen(self, origin: int) -> int:
        return origin + self.at if self.moves else self.at


@frozen
class Span:
    """A reference: lines and periods, from the reader on where they move."""

    sheet: int
    lines: tuple[Coordinate, ...]
    periods: tuple[Coordinate, ...]

    def text(self, layouts: Sequence[Layout], home: int, line: int, period: int) -> str:
        layout = layouts[self.sheet]
        corners = [
            layout.address(across.seen(line), along.seen(period), (not across.moves, not along.moves))
            for across, along in zip(self.lines, self.periods, strict=True)
        ]
        if layout.backwards:
            corners = corners[::-1]
        return ("" if self.sheet == home else f"{layout.name}!") + ":".join(corners)


@frozen
class Plan:
    """All lines of a workbook, and how to refer to them from some neighbouring lines that are filled from period `first` on."""

    layouts: tuple[Layout, ...]
    lines: dict[tuple[int, int], Line]
    readers: tuple[Line, ...] = ()
    first: int = 0

    def nearest(self, sheet: int, at: int, moves: bool) -> int | None:
        """Of a line, seen from the first reader: how many periods back it may be read at the nearest."""
        seen = (self.lines.get((sheet, at + (number if moves else 0))) for number in range(len(self.readers)))
        lags = [0 if other is None else reader.lag(other) for reader, other in zip(self.readers, seen, strict=True)]
        return None if None in lags else max(lag for lag in lags if lag is not None)

    @property
    def sources(self) -> list[tuple[int, int, bool, int]]:
        """Sheet and line, whether it moves with the reader, and the nearest lag: the nearest first."""
        found = [
            (sheet, at, moves, lag)
            for sheet, at in self.lines
            for moves in (True, False)[: len(self.readers)]
            if (lag := self.nearest(sheet, at, moves)) is not None
        ]
        return sorted(found, key=lambda source: abs(source[3]) % 99)

    def across(self, at: int, moves: bool) -> Coordinate:
        return Coordinate(at - self.readers[0].at if moves else at, moves)

    def back(self, sheet: int, lag: int) -> int:
        """A lag, as far as there are cells on either side."""
        layout = self.layouts[sheet]
        return max(lag, 1 - layout.start) if layout.backwards else min(lag, layout.start + self.first - 1)


Draw = Callable[..., object]
FURTHER = st.sampled_from((0, 0, 0, 0, 0, 1, 1, 2, 3, 11))  # periods beyond the nearest lag
ANYWHERE = st.sampled_from((0, 0, 0, 0, 1, -1, -2, 3))  # lags where all are allowed


def _lag(draw: Draw, plan: Plan, sheet: int, nearest: int) -> int:
    return plan.back(sheet, draw(ANYWHERE) if nearest == FREE else nearest + draw(FURTHER))


def _cell(draw: Draw, plan: Plan) -> Span:
    sheet, at, moves, nearest = draw(st.sampled_from(plan.sources))
    lag = _lag(draw, plan, sheet, nearest)
    return Span(sheet, (plan.across(at, moves),), (Coordinate(-lag),))


def _own(draw: Draw, plan: Plan) -> Span:
    own = plan.readers[0]
    return Span(own.sheet, (Coordinate(0),), (Coordinate(-plan.back(own.sheet, 1 + draw(FURTHER))),))


def _upper(draw: Draw, plan: Plan) -> Span:
    own = plan.readers[0]
    sides = [side for side in (-1, 1) if plan.nearest(own.sheet, own.at + side, True) in (0, -1, -2, FREE)]
    side = draw(st.sampled_from(sides)) if sides else 0
    return Span(own.sheet, (Coordinate(side),), (Coordinate(0 if side else -1),))


def _several(draw: Draw, plan: Plan) -> tuple[int, tuple[Coordinate, ...], int]:
    """One line or two next to each other, and the nearest lag of both."""
    sheet, at, moves, nearest = draw(st.sampled_from(plan.sources))
    other = plan.nearest(sheet, at + 1, moves) if draw(st.booleans()) else None
    lines = (plan.across(at, moves), plan.across(at if other is None else at + 1, moves))
    return sheet, lines, max(nearest, nearest if other is None else other)


def _window(draw: Draw, plan: Plan) -> Span:
    sheet, lines, nearest = _several(draw, plan)
    lag = _lag(draw, plan, sheet, nearest)
    return Span(sheet, lines, (Coordinate(-plan.back(sheet, lag + draw(st.integers(1, 3)))), Coordinate(-lag)))


def _cumulative(draw: Draw, plan: Plan) -> Span:
    sheet, lines, nearest = _several(draw, plan)
    begin, end = _lag(draw, plan, sheet, nearest), _lag(draw, plan, sheet, nearest)
    return Span(sheet, lines, (Coordinate(plan.first - begin, False), Coordinate(-end)))


def _fixed(draw: Draw, plan: Plan) -> Span:
    sheet, at, moves, nearest = draw(st.sampled_from(plan.sources))
    lag = _lag(draw, plan, sheet, nearest)
    return Span(sheet, (plan.across(at, moves),), (Coordinate(plan.first - lag, False),))


def _whole(draw: Draw, plan: Plan) -> Span:
    sheet, lines, nearest = _several(draw, plan)
    begin, end = (0, plan.layouts[sheet].periods - 1)
    if nearest != FREE:
        begin, end = (plan.first - plan.back(sheet, nearest + more) for more in (draw(FURTHER), 0))
    return Span(sheet, lines, (Coordinate(begin, False), Coordinate(end, False)))


def _any(draw: Draw, plan: Plan) -> Span:
    sheet, at = draw(st.sampled_from(sorted(plan.lines)))
    lag = plan.back(sheet, draw(st.integers(-3, 3)))
    return Span(sheet, (plan.across(at, True),), (Coordinate(-lag),))


SLOTS: Mapping[str, Callable[[Draw, Plan], Span | str]] = {
    "v": _cell,
    "p": _own,
    "u": _upper,
    "w": _window,
    "c": _cumulative,
    "f": _fixed,
    "h": _whole,
    "x": _any,
    "i": lambda draw, plan: f"{plan.layouts[0].name}!$A${draw(st.integers(1, len(INPUTS)))}",
    "n": lambda draw, plan: draw(st.sampled_from(NUMBERS)),
    "s": lambda draw, plan: f"{plan.layouts[0].name}!${SWITCH[0]}${SWITCH[1:]}",
}

Template = list[Span | str]


def _template(draw: Draw, plan: Plan) -> Template:
    pieces = re.split(r"\{(\w)\}", draw(st.sampled_from(FORMULAS)))
    return ["=", *(SLOTS[piece](draw, plan) if number % 2 else piece for number, piece in enumerate(pieces))]


def _text(template: Template, plan: Plan, line: Line, period: int) -> str:
    return "".join(part if isinstance(part, str) else part.text(plan.layouts, line.sheet, line.at, period) for part in template)


@frozen
class Model:
    """A workbook as a table of cells; `parts` are some of its formula cells, `outputs` cover them all."""

    cells: dict[str, object]
    inputs: dict[str, mc.Distribution]
    outputs: list[str]
    parts: list[str]
    file: bytes = field(repr=False, init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "file", workbook({cell: value for cell, value in self.cells.items() if value is not None}))


@st.composite
def models(draw: Draw) -> Model:
    layouts = draw(_layouts())
    plan, blocks = _planned(draw, layouts)
    cells: dict[str, object] = {f"Model!A{row}": value for row, (value, _) in enumerate(INPUTS, 1)} | {f"Model!{SWITCH}": 0}
    cells |= {f"{layout.name}!B1": "Period" for layout in layouts}
    inputs: dict[str, mc.Distribution] = {f"Model!A{row}": law for row, (_, law) in enumerate(INPUTS, 1)}

    def put(line: Line, period: int, content: object) -> None:
        layout = layouts[line.sheet]
        cell = f"{layout.name}!{layout.address(line.at, period)}"
        inputs.pop(cell, None)
        if content == "formula":
            single = Plan(layouts, plan.lines, (line,), period)
            content = _text(_template(draw, single), single, line, period)
        if content == "input":
            content, inputs[cell] = draw(st.sampled_from(INPUTS))
        cells[cell] = content

    for line in plan.lines.values():
        if line.layer < 0:
            values = draw(st.sampled_from(DATA))
            for period in range(layouts[0].periods):
                put(line, period, values[period % len(values)])
    for block in blocks:
        first, last = draw(st.integers(0, 2)), layouts[0].periods - 1 - draw(st.integers(0, 1))
        own = Plan(layouts, plan.lines, block, first)
        template = _template(draw, own)
        for line in block:
            for period in range(first, last + 1):
                put(line, period, _text(template, own, line, period))
        for line, period, content in draw(_exceptions(block, layouts, first, last)):
            put(line, period, content)
    formulas = [cell for cell, content in cells.items() if isinstance(content, str) and content.startswith("=")]
    parts = draw(st.lists(st.sampled_from(formulas), min_size=1, max_size=3, unique=True)) if formulas else []
    return Model(cells, inputs, _boxes(formulas), parts)


@st.composite
def _layouts(draw: Draw) -> tuple[Layout, ...]:
    down, backwards, periods = draw(st.booleans()), draw(st.booleans()), draw(st.integers(4, 14))
    starts = draw(st.lists(st.sampled_from((3, 4, 6, 16)), min_size=1, max_size=2))
    return tuple(Layout(name, down, backwards, start, periods) for name, start in zip(("Model", "Other"), starts, strict=False))


def _planned(draw: Draw, layouts: tuple[Layout, ...]) -> tuple[Plan, list[tuple[Line, ...]]]:
    """Lines of constants and blocks of formula lines, from the third line of each sheet on."""
    heights = draw(st.lists(st.sampled_from((1, 1, 1, 2, 3)), min_size=1, max_size=6))
    ranks = draw(st.permutations(range(len(heights))))
    free = [count(3) for _ in layouts]
    sheets = st.integers(0, len(layouts) - 1)
    data = [Line(sheet, next(free[sheet])) for sheet in draw(st.lists(sheets, min_size=1, max_size=2))]
    blocks = []
    for height, rank in zip(heights, ranks, strict=True):
        sheet, layer, lead = draw(sheets), draw(st.sampled_from((0, 0, 0, 1))), draw(st.sampled_from((0, 0, 0, 1, -1, 3)))
        order = range(height) if draw(st.booleans()) else range(height)[::-1]
        blocks.append(tuple(Line(sheet, next(free[sheet]), layer, lead, 10 * rank + own) for own in order))
        if draw(st.booleans()):
            next(free[sheet])
    return Plan(layouts, {(line.sheet, line.at): line for line in [*data, *(line for block in blocks for line in block)]}), blocks


@st.composite
def _exceptions(draw: Draw, block: tuple[Line, ...], layouts: tuple[Layout, ...], first: int, last: int) -> list[tuple[Line, int, object]]:
    """What stands before each line, and cells in the middle that are not like the others."""
    earliest = first - min(3, *(layouts[line.sheet].before(first) for line in block))
    before = [(line, first - 1, draw(st.sampled_from(SINGLE))) for line in block]
    earlier = st.tuples(st.sampled_from(block), st.integers(earliest, first - 1), st.sampled_from(SINGLE))
    within = st.tuples(st.sampled_from(block), st.integers(first, last), st.sampled_from(SINGLE))
    return [*before, *draw(st.lists(earlier, max_size=3)), *draw(st.lists(within, max_size=2))]


def _boxes(cells: Sequence[str]) -> list[str]:
    """One range for each sheet."""
    areas: dict[str, list[tuple[int, int, int, int]]] = {}
    for cell in cells:
        sheet, _, address = cell.partition("!")
        area = parse_area(address)
        assert area is not None
        areas.setdefault(sheet, []).append(area)
    return [
        f"{sheet}!{column_letters(min(lefts))}{min(tops)}:{column_letters(max(lefts))}{max(tops)}"
        for sheet, found in areas.items()
        for tops, lefts, _, _ in [zip(*found, strict=True)]
    ]


def agree_on(model: Model, engine: Engine) -> None:
    """The same kinds as on NumPy, and numbers within the tolerance of a run, in each iteration of each cell."""
    try:
        simulation = mc.Simulation(model.file, inputs=model.inputs, outputs=model.outputs)
    except mc.UltramcError:
        reject()
    program, job, numpy = simulation.compiled.program, Job(5, 64), NumPyEngine()
    chunks = [each.run(each.compile(program), job, 0, job.iterations) for each in (engine, numpy)]
    for found, want, tag, wanted_tag in zip(chunks[0].payloads, chunks[1].payloads, chunks[0].tags, chunks[1].tags, strict=True):
        numbers = np.ones(want.shape, dtype=bool) if wanted_tag is None else wanted_tag < FIRST_ERROR
        np.testing.assert_array_equal(tag, wanted_tag)
        assert Tolerance().allows(found[numbers], want[numbers], root_mean_square(want[numbers])).all()
