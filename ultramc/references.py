"""What a reference in a formula points at, seen from every cell of a block of like formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen

from ultramc import syntax
from ultramc.address import MAX_COLUMN, MAX_ROW, RangeRef
from ultramc.errors import UnsupportedFormula
from ultramc.functions.kit import Area, Areas, Edge, Unroll
from ultramc.parser import parse
from ultramc.syntax import Axis, Node, Reference, SheetSpan, StructuredReference
from ultramc.values import ExcelError
from ultramc.workbook import DefinedName, Sheet, Table, Workbook

Target = Area | Areas | ExcelError


def _edge(axis: Axis, origin: int) -> Edge:
    return Edge(axis.at(origin), not axis.absolute)


def _ordered(first: Edge, last: Edge, length: int) -> tuple[Edge, Edge]:
    """Sides in order for every cell of the block, or Unroll where that changes within it."""
    far_first = first.at + (length - 1 if first.moves else 0)
    far_last = last.at + (length - 1 if last.moves else 0)
    if first.at <= last.at and far_first <= far_last:
        return first, last
    if first.at >= last.at and far_first >= far_last:
        return last, first
    raise Unroll


@frozen(eq=False)
class Resolver:
    """Turns reference nodes into areas. `place` is always the block of cells whose formula holds the node."""

    book: Workbook

    def reference(self, node: Reference, place: RangeRef) -> Target:
        sheets = self.sheets(node.sheets, place)
        if isinstance(sheets, ExcelError):
            return sheets
        top, bottom = _ordered(_edge(node.top, place.top), _edge(node.bottom, place.top), place.height)
        left, right = _ordered(_edge(node.left, place.left), _edge(node.right, place.left), place.width)
        if _off_sheet(top, bottom, place.height, MAX_ROW) or _off_sheet(left, right, place.width, MAX_COLUMN):
            if place.size > 1:
                raise Unroll
            top, bottom = _wrapped(top, bottom, MAX_ROW)
            left, right = _wrapped(left, right, MAX_COLUMN)
        areas = [Area(sheet.name, top, left, bottom, right, node.whole) for sheet in sheets]
        return areas[0] if len(areas) == 1 else Areas(tuple(areas))

    def sheets(self, span: SheetSpan | None, place: RangeRef) -> list[Sheet] | ExcelError:
        if span is None or (span.book is None and span.first is None):
            return [self.book.sheet(place.sheet)]
        if span.book is not None:
            raise UnsupportedFormula(f"refers to another workbook, {span.book}, which is never opened")
        found = [self._sheet(name) for name in (span.first, span.last) if name is not None]
        if any(sheet is None for sheet in found):
            return ExcelError.REF
        indexes = sorted(sheet.index for sheet in found if sheet is not None)
        return [sheet for sheet in self.book.sheets if indexes[0] <= sheet.index <= indexes[-1]]

    def _sheet(self, name: str) -> Sheet | None:
        folded = name.casefold()
        return next((sheet for sheet in self.book.sheets if sheet.name.casefold() == folded), None)

    def structured(self, node: StructuredReference, place: RangeRef) -> Target:
        table = self._table(node, place)
        if table is None:
            return ExcelError.REF
        columns = _table_columns(table, node)
        if columns is None:
            return ExcelError.REF
        rows = _table_rows(table, node, place)
        if isinstance(rows, ExcelError):
            return rows
        return Area(table.sheet, rows[0], Edge(columns[0]), rows[1], Edge(columns[1]))

    def _table(self, node: StructuredReference, place: RangeRef) -> Table | None:
        if node.table is not None:
            return self.book.table(node.table)
        return next((table for table in self.book.tables if table.sheet == place.sheet and _holds(table, place)), None)

    def name(self, node: syntax.Name, place: RangeRef) -> DefinedName | None:
        sheet = node.sheets.first if node.sheets and node.sheets.first else place.sheet
        return self.book.name(node.text, sheet)

    def definition(self, name: DefinedName) -> Node:
        """What a defined name stands for; relative references in it are relative to A1."""
        return parse(name.text, 1, 1)


def _off_sheet(first: Edge, last: Edge, length: int, limit: int) -> bool:
    return first.at < 1 or last.at + (length - 1 if last.moves else 0) > limit


def _wrapped(first: Edge, last: Edge, limit: int) -> tuple[Edge, Edge]:
    """Only a relative reference of a defined name leaves the sheet: Excel goes on from the opposite side."""
    ends = sorted((edge.at - 1) % limit + 1 for edge in (first, last))
    return Edge(ends[0], first.moves), Edge(ends[1], last.moves)


def _holds(table: Table, place: RangeRef) -> bool:
    top, left, bottom, right = table.area
    return top <= place.top and place.bottom <= bottom and left <= place.left and place.right <= right


def _table_columns(table: Table, node: StructuredReference) -> tuple[int, int] | None:
    left, right = table.area[1], table.area[3]
    if node.first is None:
        return left, right
    names = [column.casefold() for column in table.columns]
    wanted = [text.casefold() for text in (node.first, node.last or node.first)]
    if any(name not in names for name in wanted):
        return None
    places = sorted(names.index(name) for name in wanted)
    return left + places[0], left + places[1]


def _table_rows(table: Table, node: StructuredReference, place: RangeRef) -> tuple[Edge, Edge] | ExcelError:
    top, bottom = table.area[0], table.area[2]
    first, last = top + table.header_rows, bottom - table.totals_rows
    parts = {"#All": (top, bottom), "#Data": (first, last), "#Headers": (top, first - 1), "#Totals": (last + 1, bottom)}
    if "#This Row" in node.items:
        if place.top < first or place.bottom > last:
            if place.height > 1:
                raise Unroll
            return ExcelError.VALUE
        return Edge(place.top, True), Edge(place.top, True)
    spans = [parts[item] for item in node.items or ("#Data",)]
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    return (Edge(start), Edge(end)) if start <= end else ExcelError.REF


def extent(area: Area, place: RangeRef) -> RangeRef:
    """Every cell that some cell of the block sees."""
    down, across = place.height - 1, place.width - 1
    return RangeRef(
        area.sheet,
        area.top.at,
        area.left.at,
        area.bottom.at + (down if area.bottom.moves else 0),
        area.right.at + (across if area.right.moves else 0),
    )


Walk = Callable[[Node], Iterable[Node]]


def static_areas(resolver: Resolver, tree: Node, place: RangeRef, walk: Walk = syntax.walk) -> list[Area]:
    """The areas that a formula names in its text, names expanded. Those that OFFSET or INDIRECT compute are not among them.

    `walk` gives the nodes of a tree that count.
    """
    areas: list[Area] = []
    expanded: set[str] = set()
    waiting = [tree]
    while waiting:
        for node in walk(waiting.pop()):
            match node:
                case Reference() if node.sheets is None or node.sheets.book is None:
                    areas += _parts(resolver.reference(node, place))
                case StructuredReference():
                    areas += _parts(resolver.structured(node, place))
                case syntax.Name() | syntax.Call():
                    definition = _definition(resolver, node, place)
                    if definition is not None and definition.text not in expanded:
                        expanded.add(definition.text)
                        waiting.append(resolver.definition(definition))
    return areas


def _definition(resolver: Resolver, node: syntax.Name | syntax.Call, place: RangeRef) -> DefinedName | None:
    if isinstance(node, syntax.Call):
        return resolver.book.name(node.name, place.sheet)
    return resolver.name(node, place)


def _parts(target: Target) -> list[Area]:
    if isinstance(target, Areas):
        return list(target.parts)
    return [target] if isinstance(target, Area) else []


def fixed_area(place: RangeRef) -> Area:
    return Area(place.sheet, Edge(place.top), Edge(place.left), Edge(place.bottom), Edge(place.right))
