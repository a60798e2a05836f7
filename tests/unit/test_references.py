"""What a reference points at from every cell of a block, relative names that leave the sheet among them."""

from __future__ import annotations

import io

import openpyxl
import pytest
from openpyxl.workbook.defined_name import DefinedName

from ultramc.address import RangeRef
from ultramc.errors import UnsupportedFormula
from ultramc.functions.kit import Area, Unroll
from ultramc.parser import parse
from ultramc.references import Resolver, extent, static_areas
from ultramc.workbook import Workbook


@pytest.fixture(scope="module")
def resolver() -> Resolver:
    file = openpyxl.Workbook()
    file.active.title = "S"
    file.create_sheet("T")
    file.create_sheet("U")
    file.active["A1"] = 1
    names = {"left": "S!XFD1", "corner": "S!$B$2:$C$3", "both": "corner,left", "loop": "loop+S!$A$1", "far": "S!$A$1:INDEX(S!$A:$A,9)"}
    for name, text in names.items():
        file.defined_names[name] = DefinedName(name, attr_text=text)
    stream = io.BytesIO()
    file.save(stream)
    return Resolver(Workbook(stream.getvalue()))


BLOCK = RangeRef("S", 5, 4, 7, 6)  # D5:F7


@pytest.mark.parametrize(
    ("formula", "seen"),
    [
        ("A1", ["S!A1:C3"]),
        ("$A$1", ["S!A1"]),
        ("A$1:B$2", ["S!A1:D2"]),
        ("SUM($A1:$B1)+T!$C$9", ["S!A1:B3", "T!C9"]),
        ("SUM(S:U!$A$1)", ["S!A1", "T!A1", "U!A1"]),
        ("SUM(B:B)", ["S!B1:D1048576"]),
        ("corner", ["S!B2:C3"]),
        ("loop", ["S!A1"]),
        ("SUM(far)", ["S!A1", "S!A1:A1048576"]),
        ("Nope!A1", []),
        ("unknown", []),
    ],
)
def test_static_areas(resolver: Resolver, formula: str, seen: list[str]) -> None:
    found = static_areas(resolver, parse(formula, 5, 4), BLOCK)
    assert sorted(str(extent(area, BLOCK)) for area in found) == sorted(seen)


def test_a_relative_name_goes_on_from_the_other_edge(resolver: Resolver) -> None:
    """`left` is the cell to the left of the one that uses it; in column A that is the last column (Excel's rule for names)."""
    for column, expected in ((4, "S!C5"), (1, "S!XFD5")):
        place = RangeRef("S", 5, column, 5, column)
        areas = static_areas(resolver, parse("SUM(both)", 5, column), place)
        assert {str(extent(area, place)) for area in areas} == {"S!B2:C3", expected}


def test_a_range_whose_ends_cross_within_the_block_is_taken_cell_by_cell(resolver: Resolver) -> None:
    node = parse("A5:A$6", 5, 4)
    with pytest.raises(Unroll):
        static_areas(resolver, node, BLOCK)
    (area,) = static_areas(resolver, node, RangeRef("S", 7, 4, 7, 4))
    assert isinstance(area, Area) and (area.top.at, area.bottom.at) == (6, 7)


def test_other_workbooks_are_never_opened(resolver: Resolver) -> None:
    node = parse("[1]S!A1", 1, 1)
    with pytest.raises(UnsupportedFormula, match="another workbook"):
        resolver.reference(node, RangeRef("S", 1, 1, 1, 1))
