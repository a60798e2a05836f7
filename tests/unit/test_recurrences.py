"""How regions that need each other are laid out: the pieces, their order, their directions and steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest
from openpyxl.formula.translate import Translator
from openpyxl.utils import rows_from_range
from workbooks import workbook

from ultramc.address import RangeRef
from ultramc.functions.kit import Area
from ultramc.graph import Graph
from ultramc.recurrences import (
    DIRECTIONS,
    Direction,
    Loop,
    Member,
    Need,
    Piece,
    directions_of,
    distance,
    laid_out,
    members,
    needs,
    pieces_of,
    split,
    strips,
)
from ultramc.references import extent, static_areas
from ultramc.workbook import Workbook

Fills = Mapping[str, str]  # range on the sheet Model, or on another, → formula of its first cell, filled over the rest
RIGHT, DOWN, LEFT, UP = DIRECTIONS


def _cells(fills: Fills) -> dict[str, str]:
    return {address: text for area, formula in fills.items() for address, text in _filled(area, formula)}


def _filled(area: str, formula: str) -> list[tuple[str, str]]:
    sheet, mark, cells = area.rpartition("!")
    origin = cells.partition(":")[0]
    addresses = [address for row in rows_from_range(cells) for address in row]
    return [(sheet + mark + address, Translator(formula, origin=origin).translate_formula(address)) for address in addresses]


class Layout:
    """The regions of a workbook as members, in sheet order."""

    def __init__(self, fills: Fills) -> None:
        self.graph = Graph.of(Workbook(workbook(_cells(fills))))
        self.group = [Member(region, region.place) for region in self.graph.regions]

    def areas(self, member: Member) -> Sequence[Area]:
        assert member.region.tree is not None
        return static_areas(self.graph.resolver, member.region.tree, member.place)

    @property
    def needs(self) -> list[Need]:
        return needs(self.group, self.areas)

    @property
    def pieces(self) -> list[str]:
        return [_shown(piece) for piece in pieces_of(self.group, self.areas)]


def _shown(piece: Piece) -> str:
    """Such as ``rightwards 4 [B2:E2, B3:E3]``."""
    if isinstance(piece, Loop):
        return f"{piece.direction} {piece.steps} [{', '.join(map(_shown, piece.body))}]"
    place = piece.place
    return place.a1 if place.sheet == "Model" else f"{place.sheet}!{place.a1}"


LAYOUTS: Mapping[str, tuple[Fills, list[str]]] = {
    "what needs nothing of the group is no loop, and comes first": (
        {"B2:M2": "=A2+B3", "B3:M3": "=$A$1*2"},
        ["B3:M3", "rightwards 12 [B2:M2]"],
    ),
    "a line that reads its last period": ({"B2:M2": "=A2*2"}, ["rightwards 12 [B2:M2]"]),
    "down": ({"B2:B13": "=B1*2"}, ["downwards 12 [B2:B13]"]),
    "to the left": ({"B2:M2": "=C2*2"}, ["leftwards 12 [B2:M2]"]),
    "up": ({"B2:B13": "=B3*2"}, ["upwards 12 [B2:B13]"]),
    "the corkscrew of a balance: opening, interest, closing": (
        {"B2:M2": "=A4", "B3:M3": "=B2*0.1", "B4:M4": "=B2+B3"},
        ["rightwards 12 [B2:M2, B3:M3, B4:M4]"],
    ),
    "within a step the order is that of need, not of the sheet": (
        {"B2:M2": "=B3+B4", "B3:M3": "=B4*0.1", "B4:M4": "=A2"},
        ["rightwards 12 [B4:M4, B3:M3, B2:M2]"],
    ),
    "a line that starts a period later has an end of its own": (
        {"B2:M2": "=A3+1", "C3:M3": "=C2*2"},
        ["B2", "rightwards 11 [C2:M2, C3:M3]"],
    ),
    "a line that ends earlier": (
        {"B2:M2": "=A3+1", "B3:K3": "=B2*2"},
        ["rightwards 10 [B2:K2, B3:K3]", "rightwards 2 [L2:M2]"],
    ),
    "a sheet that starts two columns further on is shifted, and no step is lost": (
        {"B2:M2": "=A2+Costs!C3", "Costs!D3:O3": "=Model!B2*2"},
        ["rightwards 12 [B2:M2, Costs!D3:O3]"],
    ),
    "a line that is read a period ahead runs a step before its reader": (
        {"B2:M2": "=A2+C3", "B3:M3": "=XX3+Z9"},
        ["B3:M3", "rightwards 12 [B2:M2]"],
    ),
    "leads and lags in one circle": (
        {"D2:O2": "=E3*2", "D3:O3": "=B2+1"},
        ["D3", "rightwards 11 [E3:O3, D2:N2]", "O2"],
    ),
    "a block whose rows step together": ({"B2:M4": "=A2*2"}, ["rightwards 12 [B2:M4]"]),
    "cells that read the left and the upper neighbour: a loop in a loop": (
        {"B2:M13": "=A2+B1"},
        ["rightwards 12 [downwards 12 [B2:M13]]"],
    ),
    "the left neighbour and the lower one": (
        {"B2:M13": "=A2+B3"},
        ["rightwards 12 [upwards 12 [B2:M13]]"],
    ),
    "the upper neighbour of the last period needs no second loop": ({"B2:M13": "=A1+A2"}, ["rightwards 12 [B2:M13]"]),
    "a fixed cell in the middle cuts the steps after it": (
        {"B2:M2": "=A3+1", "B3:E3": "=B2*2", "F3": "=F2*3", "G3:M3": "=G2+$F$3"},
        ["rightwards 4 [B2:E2, B3:E3]", "F2", "F3", "rightwards 7 [G2:M2, G3:M3]"],
    ),
    "a fixed range that the line itself computes first": (
        {"B2:E2": "=A2*2+A3", "F2:Q2": "=E2+E3", "B3:E3": "=B2*2", "F3:Q3": "=SUM($B$3:$E$3)+F2"},
        ["rightwards 4 [B2:E2, B3:E3]", "rightwards 12 [F2:Q2, F3:Q3]"],
    ),
    "an accumulation of what is above, over all columns so far": (
        {"B3:M3": "=SUM($B2:B2)", "B2:M2": "=A3*2"},
        ["rightwards 12 [B2:M2, B3:M3]"],
    ),
    "a running sum of itself": ({"B2:M2": "=SUM($A2:A2)"}, ["rightwards 12 [B2:M2]"]),
    "a window of three periods": ({"D2:O2": "=AVERAGE(A2:C2)"}, ["rightwards 12 [D2:O2]"]),
    "what nobody needs within the circle is apart": (
        {"B2:M2": "=A2*2", "B3:M3": "=B2+1", "B4:M4": "=A4+B3"},
        ["rightwards 12 [B2:M2]", "B3:M3", "rightwards 12 [B4:M4]"],
    ),
    "rows that need each other only as wholes are split": (
        {"B2:C4": "=B6+A2", "B6:C6": "=B3*2", "B7:C7": "=A3", "B8:C8": "=B3*3"},
        ["B7", "B3", "B6", "B2", "B8", "B4", "C7", "C3", "C6", "C2", "C8", "C4"],
    ),
    "columns that need each other only as wholes are split": (
        {"B2:D13": "=F2+B1", "F2:F13": "=C2*2", "G2:G13": "=A3", "H2:H13": "=C2*3"},
        ["G2:G13", "downwards 12 [C2:C13]", "F2:F13", "downwards 12 [B2:B13]", "H2:H13", "downwards 12 [D2:D13]"],
    ),
}

CIRCLES: Mapping[str, tuple[Fills, list[str]]] = {
    "two cells in a circle are given one by one": ({"B2": "=B3", "B3": "=B2"}, ["B2", "B3"]),
    "two lines in a circle are given cell by cell": ({"B2:C2": "=B3", "B3:C3": "=B2"}, ["B2", "B3", "C2", "C3"]),
    "a sum of the whole line, in each of its cells": ({"B2:C2": "=SUM($B$2:$C$2)"}, ["B2", "C2"]),
}


@pytest.mark.parametrize(("fills", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_pieces(fills: Fills, expected: list[str]) -> None:
    assert Layout(fills).pieces == expected


@pytest.mark.parametrize(("fills", "expected"), CIRCLES.values(), ids=CIRCLES)
def test_circles_are_left_to_their_cells(fills: Fills, expected: list[str]) -> None:
    assert sorted(Layout(fills).pieces) == expected


@pytest.mark.parametrize("fills", [fills for fills, _ in LAYOUTS.values()], ids=LAYOUTS)
def test_nothing_is_read_before_it_is_made(fills: Fills) -> None:
    layout = Layout(fills)
    missing = {cell for member in layout.group for cell in member.place.cells()}
    for batch in _batches(pieces_of(layout.group, layout.areas)):
        alone = [Member(batch.region, RangeRef.of(cell)) for cell in batch.place.cells()]
        read = {cell for member in alone for area in layout.areas(member) for cell in extent(area, member.place).cells()}
        assert not read & missing, batch.place
        missing -= {*batch.place.cells()}
    assert not missing


def _batches(pieces: Iterable[Piece]) -> Iterator[Member]:
    """Cells that are computed at once, in order."""
    for piece in pieces:
        if isinstance(piece, Loop):
            for step in range(piece.steps):
                yield from _batches(piece.between(step, step))
        else:
            yield piece


# The parts

DISTANCES = {
    "the last period": ("B2:F2", "=A2", {RIGHT: 1, LEFT: -1, DOWN: 0, UP: 0}),
    "twelve periods back": ("N2:Z2", "=B2", {RIGHT: 12, LEFT: -12, DOWN: 0, UP: 0}),
    "two rows further down": ("B2:B9", "=B4", {RIGHT: 0, LEFT: 0, DOWN: -2, UP: 2}),
    "the nearest of a window": ("E2:Z2", "=SUM(B2:C2)", {RIGHT: 2, LEFT: -3, DOWN: 0, UP: 0}),
    "a fixed cell, for the first that reads it": ("C2:F2", "=$C$2", {RIGHT: 0, LEFT: -3, DOWN: 0, UP: 0}),
    "all so far, of which the first step sees least or most": ("B2:F2", "=SUM($A2:A2)", {RIGHT: 1, LEFT: -4, DOWN: 0, UP: 0}),
}


@pytest.mark.parametrize(("place", "formula", "expected"), DISTANCES.values(), ids=DISTANCES)
def test_distance(place: str, formula: str, expected: Mapping[Direction, int]) -> None:
    layout = Layout({place: formula})
    (need,) = layout.needs
    assert {direction: distance(need, layout.group, direction) for direction in DIRECTIONS} == expected


STRIPS: Mapping[str, tuple[Fills, list[str] | None]] = {
    "a seasonal line of three years, by months": ({"N2:AW2": "=B2*1.02"}, ["N2:Y2", "Z2:AK2", "AL2:AW2"]),
    "the last is shorter": ({"F2:P2": "=B2*2"}, ["F2:I2", "J2:M2", "N2:P2"]),
    "too many of them": ({"D2:Z2": "=B2*2"}, None),
    "many, but long": ({"C33:C352": "=C1*2"}, [f"C{row}:C{row + 31}" for row in range(33, 353, 32)]),
    "backwards": ({"B2:I2": "=F2*2"}, ["F2:I2", "B2:E2"]),
    "a window that ends four periods back": ({"H2:S2": "=SUM(B2:D2)"}, ["H2:K2", "L2:O2", "P2:S2"]),
    "two lines": ({"F2:M2": "=B3", "F3:M3": "=B2"}, None),
}


@pytest.mark.parametrize(("fills", "expected"), STRIPS.values(), ids=STRIPS)
def test_strips(fills: Fills, expected: list[str] | None) -> None:
    layout = Layout(fills)
    found = strips(layout.group, layout.needs)
    assert (found and list(map(_shown, found))) == expected


ILLEGAL: Mapping[str, Fills] = {
    "a cell that reads itself": {"B2": "=B2+1"},
    "a line that reads itself": {"B2:M2": "=B2+1"},
    "a circle within each period": {"B2:M2": "=B3", "B3:M3": "=B2"},
    "forwards in one line, as far backwards in the other": {"B2:M2": "=A3", "B3:M3": "=C2"},
    "forwards and backwards in one line": {"B2:M2": "=A2+C2"},
    "the total of the line": {"B2:M2": "=SUM($B$2:$M$2)"},
}


@pytest.mark.parametrize("fills", ILLEGAL.values(), ids=ILLEGAL)
def test_what_has_no_direction_is_not_laid_out(fills: Fills) -> None:
    layout = Layout(fills)
    assert laid_out(layout.group, layout.needs) is None


def test_who_needs_whom() -> None:
    layout = Layout({"B2:M2": "=A2+$B$4", "B3:M3": "=SUM(B1:B2)", "B4:M4": "=A3+Z9"})
    assert {(need.reader, need.source) for need in layout.needs} == {(0, 0), (0, 2), (1, 0), (2, 1)}


def test_another_sheet_of_the_same_addresses_is_not_needed() -> None:
    assert Layout({"B2:M2": "=A2", "Costs!B2:M2": "=Model!A9"}).pieces == ["rightwards 12 [B2:M2]", "Costs!B2:M2"]


def test_parts_of_a_loop_that_lies_in_another() -> None:
    layout = Layout({"B2:M13": "=A2+B1"})
    (loop,) = pieces_of(layout.group, layout.areas)
    assert isinstance(loop, Loop)
    assert list(map(_shown, loop.between(0, 0))) == ["downwards 12 [B2:B13]"]
    assert list(map(_shown, loop.between(3, 11))) == ["rightwards 9 [downwards 12 [E2:M13]]"]
    (member,) = members(loop)
    assert directions_of(loop) == {member: (RIGHT, DOWN)}


@pytest.mark.parametrize(
    ("direction", "expected"),
    [(RIGHT, ["B2:B3", "C2:C3"]), (LEFT, ["C2:C3", "B2:B3"]), (DOWN, ["B2:C2", "B3:C3"]), (UP, ["B3:C3", "B2:C2"])],
    ids=str,
)
def test_split(direction: Direction, expected: list[str]) -> None:
    (member,) = Layout({"B2:C3": "=A9"}).group
    assert list(map(_shown, split(member, direction))) == expected
