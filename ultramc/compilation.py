"""Workbook, inputs and outputs → a program: only cells on a path from an input to an output are compiled.

All other cells keep what the base case has worked out. A cell is uncertain if it is an input, draws, or reads an uncertain
cell; it is needed if an output reads it, directly or not. What is both is lowered, in blocks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from functools import partial, reduce
from itertools import pairwise

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ultramc.address import CellRef, RangeRef
from ultramc.calculation import Calculation, reason_of
from ultramc.distributions.probability import Drawn, Probability, Scored
from ultramc.errors import CircularReference, FormulaError, UnsupportedFormula
from ultramc.functions.kit import Area, Kit, Unroll, Value
from ultramc.fusion import fused, trimmed
from ultramc.graph import Graph, Region
from ultramc.grid import Grid, Pending, rectangles
from ultramc.loops import lowered
from ultramc.lowering import Lowering
from ultramc.program import Builder, Operand, Program, Slot, constant
from ultramc.recurrences import DIRECTIONS, Direction, Loop, Member
from ultramc.references import extent, fixed_area, static_areas
from ultramc.sampling import Site, Tie
from ultramc.schedule import Cut, Schedule
from ultramc.syntax import Node
from ultramc.terms import Term

Draw = Callable[[Builder, Callable[[], Probability]], Operand]  # what an input cell holds, from where its call site draws
Masks = dict[str, NDArray[np.bool_]]
MOST_NAMED = 10  # cells
MOST_CUTS = 7  # through a block, so that its parts join the loops that they read


@frozen(eq=False)
class Compiled:
    """`lowered` counts the formula cells that the program computes, `looped` those among them that loops do.

    `unrolled` are cells of regions that are computed one by one, with the reason.
    """

    program: Program
    lowered: int
    looped: int
    unrolled: Mapping[RangeRef, str]
    grid: Grid = field(repr=False)

    def __str__(self) -> str:
        """The program, and which cells were taken one by one, and why."""
        by_reason: dict[str, list[str]] = defaultdict(list)
        for place, reason in self.unrolled.items():
            by_reason[reason].append(str(place))
        alone = [
            f"one by one: {', '.join(cells[:MOST_NAMED])}{' …' if len(cells) > MOST_NAMED else ''} ({reason})"
            for reason, cells in by_reason.items()
        ]
        return "\n".join([str(self.program), *alone])


@define(eq=False)
class ProgramDraws:
    """Where call sites draw, as instructions. A site that is tied to others is drawn with all of them, once.

    `only`: the cells that draw, None where all do; the others stay at the median.
    """

    builder: Builder
    ties: Sequence[Tie] = ()
    only: Container[CellRef] | None = None
    _tied: dict[Site, tuple[Tie, int]] = field(init=False)
    _scores: dict[Site, Term] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._tied = {site: (tie, member) for tie in self.ties for member, site in enumerate(tie.sites)}

    def probability(self, place: RangeRef, k: int, correlated: bool = False) -> Probability:
        """Of call site k of each cell of a block; `correlated`: it has to be tied. Raises Unroll where one of several cells is."""
        if self.only is not None and place.first not in self.only:
            return Drawn.of(Term(self.builder, constant(0.5)))
        if place.size > 1 and any(site_of(cell, k) in self._tied for cell in (place.cells() if self._tied else ())):
            raise Unroll
        site = site_of(place.first, k)
        if site in self._tied:
            return Scored.of(self._score(site))
        if correlated:
            raise UnsupportedFormula("a correlation that was not found when formulas were looked through")
        return Drawn.of(self._uniform(place, k))

    def element(self, place: RangeRef, k: int, number: int) -> Probability:
        """Of one element of the array that call site k of each cell draws. A draw of many numbers is tied to nothing."""
        if any(site_of(cell, k) in self._tied for cell in (place.cells() if self._tied else ())):
            raise UnsupportedFormula("a draw of an array is not correlated with others")
        return self.probability(place, site_of(place.first, k).element(number).k)

    def _uniform(self, place: RangeRef, k: int) -> Term:
        shape = (place.height, place.width, 1, 1)
        return Term(self.builder, self.builder.emit("uniform", site=site_of(place.first, k), shape=shape))

    def _score(self, site: Site) -> Term:
        if site not in self._scores:
            self._draw_together(self._tied[site][0])
        return self._scores[site]

    def _draw_together(self, tie: Tie) -> None:
        """Independent normal scores, combined; `permute` restores the strata where sampling has them."""
        cell = self.builder.cell
        independent = []
        for site in tie.sites:
            self.builder.cell = RangeRef(site.sheet, site.row, site.column, site.row, site.column)
            independent.append(self._uniform(self.builder.cell, site.k).op("normal_quantile"))
        for member, (site, weights) in enumerate(zip(tie.sites, tie.factor, strict=True)):
            self.builder.cell = RangeRef(site.sheet, site.row, site.column, site.row, site.column)
            parts = [weight * score for weight, score in zip(weights, independent, strict=True) if weight]
            self._scores[site] = reduce(Term.__add__, parts).op("permute", tie=tie, member=member)
        self.builder.cell = cell


def site_of(cell: CellRef, k: int) -> Site:
    return Site(cell.sheet, cell.row, cell.column, k)


@define(eq=False)
class Compilation:
    """One compilation of a calculated workbook.

    `in_sheet` tells whether draws written in the sheet are made or frozen; those of `drawn`, inputs that are formulas, are made.
    `ties` are the call sites that are correlated.
    """

    calculation: Calculation
    inputs: Mapping[RangeRef, Draw]
    outputs: Mapping[str, RangeRef]
    in_sheet: bool
    ties: Sequence[Tie] = ()
    drawn: Collection[CellRef] = ()
    given: Masks = field(init=False)  # the cells of inputs
    uncertain: Masks = field(init=False)
    needed: Masks = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.given, self.uncertain, self.needed = (self._blank_masks() for _ in range(3))
        for place in self.inputs:
            _cells(self.given, place)[...] = True
        self._mark_uncertain()
        self._mark_needed()

    @property
    def graph(self) -> Graph:
        return self.calculation.graph

    def _blank_masks(self) -> Masks:
        return {name: np.zeros((plane.height, plane.width), dtype=bool) for name, plane in self.calculation.grid.planes.items()}

    # Which cells

    def _mark_uncertain(self) -> None:
        for sheet, mask in self.given.items():
            self.uncertain[sheet] |= mask
        changed = True
        while changed:  # once more only where a condition had switched a path off in the base case
            changed = False
            for region, place in self.calculation.done:
                changed |= self._spread_uncertainty(region, place)

    def _spread_uncertainty(self, region: Region, place: RangeRef) -> bool:
        mask = _cells(self.uncertain, place)
        if mask.all():
            return False
        before = int(mask.sum())
        if region.index in self.calculation.drawing and (self.in_sheet or any(cell in place for cell in self.drawn)):
            mask[...] = True
        else:
            for cells, windows in self._seen(region, place):
                _cells(self.uncertain, cells)[...] |= windows(self.uncertain)
            for direction in self.calculation.recurrent.get(place, ()):
                _accumulate(mask, direction.axis, direction.backwards)
        return int(mask.sum()) > before

    def _seen(self, region: Region, place: RangeRef) -> Iterator[tuple[RangeRef, Callable[[Masks], NDArray[np.bool_] | bool]]]:
        """For each reference of a place: for which cells it holds, and whether a mask is set anywhere in what they see."""
        for cells, areas in self._areas(region, place):
            for area in areas:
                seen = extent(area, cells)
                rows = cells.height if area.top.moves and area.bottom.moves and not region.is_array else 1
                columns = cells.width if area.left.moves and area.right.moves and not region.is_array else 1
                size = (seen.height - rows + 1, seen.width - columns + 1)
                yield cells, lambda masks, seen=seen, size=size: _any_in_window(masks, seen, size)  # type: ignore[misc]
        for seen in self.calculation.reads.get(place, ()):
            yield place, lambda masks, seen=seen: bool(_cells(masks, seen).any())  # type: ignore[misc]

    def _areas(self, region: Region, place: RangeRef) -> list[tuple[RangeRef, list[Area]]]:
        if region.tree is None:
            return [(place, [fixed_area(_around(place))])] if region.formula.kind == "data_table" else []
        where = RangeRef.of(place.first) if region.is_array else place
        try:
            found = static_areas(self.graph.resolver, region.tree, where)
            if place.size == 1 or region.is_array or all(area.steady for area in found):
                return [(place, found)]
        except Unroll:
            pass
        cells = [RangeRef.of(cell) for cell in place.cells()]
        return [(cell, static_areas(self.graph.resolver, region.tree, cell)) for cell in cells]

    def _mark_needed(self) -> None:
        for place in self.outputs.values():
            _cells(self.needed, place)[...] = True
        changed = True
        while changed:
            changed = False
            for region, place in reversed(self.calculation.done):
                changed |= self._spread_need(region, place)

    def _spread_need(self, region: Region, place: RangeRef) -> bool:
        changed = False
        for direction in self.calculation.recurrent.get(place, ()):
            _accumulate(_cells(self.needed, place), direction.axis, not direction.backwards)
        for part in self.wanted(region, place):
            for cells, areas in self._areas(region, part):
                for area in areas:
                    changed |= _mark(self.needed, extent(area, cells))
            for seen in self.calculation.reads.get(place, ()):
                changed |= _mark(self.needed, seen)
        return changed

    def wanted(self, region: Region, place: RangeRef) -> list[RangeRef]:
        """The part of a place that the program computes, as rectangles; an array formula is computed as a whole."""
        mask = _cells(self.needed, place) & _cells(self.uncertain, place) & ~_cells(self.given, place)
        if not mask.any():
            return []
        return [place] if region.is_array else [_part(place, piece) for piece in rectangles(mask)]

    # Lowering

    def compile(self) -> Compiled:
        builder = Builder()
        kit = Kit(builder, self.calculation.grid.kit.texts)
        grid = self.calculation.grid.over(kit)
        draws = ProgramDraws(
            builder, self.ties, None if self.in_sheet else {*self.drawn, *(cell for place in self.inputs for cell in place.cells())}
        )
        lowering = Lowering(self.graph, grid, now=self.calculation.lowering.now, draws=draws)
        writer = _Writer(self, grid, lowering, draws, self._lost())
        with np.errstate(all="ignore"):
            writer.inputs()
            writer.formulas()
            slots = tuple(writer.slot(label, place) for label, place in self.outputs.items())
        program = Program(tuple(builder.instructions), slots, tuple(kit.texts.strings))
        return Compiled(
            trimmed(fused(trimmed(program), builder.fresh)), writer.lowered + writer.looped, writer.looped, writer.schedule.unrolled, grid
        )

    def _lost(self) -> dict[CellRef, FormulaError]:
        """Cells of which nothing is known: neither worked out, nor saved, nor simulated."""
        return {cell: error for cell, error in self.calculation.lost.items() if not self.is_uncertain(cell)}

    def is_uncertain(self, cell: CellRef) -> bool:
        return bool(self.uncertain[cell.sheet][cell.row - 1, cell.column - 1])


@define(eq=False)
class _Writer:
    """Writes the inputs, and the formulas that the plan wants, into a grid as instructions."""

    plan: Compilation
    grid: Grid
    lowering: Lowering
    draws: ProgramDraws
    lost: Mapping[CellRef, FormulaError]
    lowered: int = 0
    looped: int = 0
    schedule: Schedule = field(init=False)

    def inputs(self) -> None:
        for place, draw in self.plan.inputs.items():
            try:
                self._input(place, draw)
            except Unroll:  # some of the cells are tied to others
                for cell in place.cells():
                    self._input(RangeRef.of(cell), draw)

    def _input(self, place: RangeRef, draw: Draw) -> None:
        builder = self.grid.kit.builder
        builder.cell = place
        self.grid.write(place, self.grid.kit.settled(Value(draw(builder, partial(self.draws.probability, place, 0)))))

    def formulas(self) -> None:
        """What outputs need as far as the base case tells, and whatever else turns out to be read when branches are lowered."""
        regions = {region.index: region for region, _ in self.plan.calculation.done}
        parts = self.plan.graph.parts((region, part) for region in regions.values() for part in self.plan.wanted(region, region.place))
        for sheet, mask in self.plan.uncertain.items():
            self.grid.planes[sheet].pending |= mask & ~self.plan.given[sheet]
        for cell in self.lost:
            self.grid.set_pending(RangeRef.of(cell))
        self.schedule = Schedule(parts, self)
        self.schedule.run(parts.order())

    # As `schedule.Worker`

    def is_pending(self, place: RangeRef) -> bool:
        return self.grid.is_pending(place)

    def live_nodes(self, tree: Node, place: RangeRef) -> Iterator[Node]:
        return self.lowering.live_nodes(tree, place)

    def region_at(self, cell: CellRef) -> Region:
        region = self.plan.graph.region_at(cell)
        assert region is not None, cell
        return region

    def circle(self, circle: Sequence[Member]) -> None:
        names = [str(member.place.first) for member in circle]
        raise CircularReference([*names, names[0]])

    def is_settled(self, member: Member) -> bool:
        return False

    def attempt_loop(self, loop: Loop) -> None:
        try:
            values = lowered(loop, self.lowering, _in_loop)
        except FormulaError as reason:
            raise Unroll(reason.reason) from reason
        for member, value in values.items():
            self.grid.write(member.place, value, stepped=True)
            self.looped += member.place.size

    def attempt(self, member: Member) -> None:
        region, place = member.region, member.place
        if region.tree is None:
            assert region.error is not None
            raise self._refused(place, region.error)
        stepped = self._in_step(member)
        try:
            value = self.lowering.formula(place, region.tree, array=region.in_array_mode, spread=region.is_array)
        except Unroll:
            if place.size == 1 or region.is_array:
                reason = UnsupportedFormula("an array in an array, or one too large, with simulated values")
                raise self._refused(place, reason) from None
            raise
        except (FormulaError, Pending) as failure:
            error = reason_of(failure, self.lost)
            raise self._refused(place, error) from error
        self.grid.write(place, value, stepped=stepped)
        self.lowered += place.size

    def _in_step(self, member: Member) -> bool:
        """Whether a block reads cell by cell what loops make. Raises Cut where these are several, so that each part can join its loop."""
        region, place = member.region, member.place
        if region.tree is None or region.is_array or place.size == 1:
            return False
        try:
            areas = static_areas(self.plan.graph.resolver, region.tree, place)
        except Unroll:
            return False
        stepped = False
        for direction in DIRECTIONS[:2]:
            cuts: set[int] = set()
            for seen in _cell_by_cell(areas, place, direction):
                borders, is_stepped = self.grid.borders(seen, direction.axis)
                cuts |= borders
                stepped |= is_stepped
            if 0 < len(cuts) <= MOST_CUTS:
                raise Cut(_cut_at(member, direction, sorted(cuts)))
        return stepped

    def slot(self, label: str, place: RangeRef) -> Slot:
        try:
            value = self.grid.kit.settled(self.grid.read(place))
        except Pending as pending:
            raise reason_of(pending, self.lost) from None
        return Slot(label, place, value.payload, value.tag, value.kinds)

    def _refused(self, place: RangeRef, error: FormulaError) -> FormulaError:
        text = self.plan.graph.book.formula_text(place.first)
        return error.at(str(place.first), text or "")


def _cell_by_cell(areas: Sequence[Area], place: RangeRef, direction: Direction) -> Iterator[RangeRef]:
    """What a block sees along a direction by references that move with the cell and are one cell wide."""
    for area in areas:
        near, far = direction.edges(area)
        if near.moves and far.moves and near.at == far.at:
            yield extent(area, place)


def _cut_at(member: Member, direction: Direction, cuts: Sequence[int]) -> list[Member]:
    first, last = direction.span(member.place)
    starts = [0, *cuts, last - first + 1]
    return [Member(member.region, direction.steps(member.place, start, after - 1)) for start, after in pairwise(starts)]


def _in_loop(lowering: Lowering, member: Member) -> Value:
    region = member.region
    if region.tree is None:
        raise Unroll
    return lowering.formula(member.place, region.tree, array=region.in_array_mode)


def _cells(masks: Masks, place: RangeRef) -> NDArray[np.bool_]:
    return masks[place.sheet][place.top - 1 : place.bottom, place.left - 1 : place.right]


def _around(place: RangeRef) -> RangeRef:
    """A data table with the row above and the column to the left, which hold what it varies and what it computes."""
    return RangeRef(place.sheet, max(1, place.top - 1), max(1, place.left - 1), place.bottom, place.right)


def _part(place: RangeRef, piece: tuple[int, int, int, int]) -> RangeRef:
    top, left, bottom, right = piece
    return RangeRef(place.sheet, place.top + top, place.left + left, place.top + bottom, place.left + right)


def _mark(masks: Masks, seen: RangeRef) -> bool:
    part = _cells(masks, seen)
    if part.all():
        return False
    part[...] = True
    return True


def _any_in_window(masks: Masks, seen: RangeRef, size: tuple[int, int]) -> NDArray[np.bool_] | bool:
    """For each cell of a block whether a mask is set in the height × width that it sees."""
    part = _cells(masks, seen)
    if not part.any():
        return False
    if part.shape[0] < seen.height or part.shape[1] < seen.width:
        part = np.pad(part, ((0, seen.height - part.shape[0]), (0, seen.width - part.shape[1])))
    along = _any_along(part, size[0], 0)
    return _any_along(along, size[1], 1)


def _accumulate(mask: NDArray[np.bool_], axis: int, backwards: bool) -> None:
    """What holds at a step holds at all later ones: steps of a loop read each other, though some perhaps several steps apart."""
    steps = np.flip(mask, axis) if backwards else mask
    np.logical_or.accumulate(steps, axis=axis, out=steps)


def _any_along(part: NDArray[np.bool_], length: int, axis: int) -> NDArray[np.bool_]:
    """Whether any of `length` neighbours is set: by running counts, so that long windows cost no more."""
    counts = np.cumsum(part, axis=axis, dtype=np.int64)
    counts = np.concatenate([np.zeros_like(np.take(counts, [0], axis=axis)), counts], axis=axis)
    ends = np.take(counts, range(length, counts.shape[axis]), axis=axis)
    starts = np.take(counts, range(counts.shape[axis] - length), axis=axis)
    return ends > starts
