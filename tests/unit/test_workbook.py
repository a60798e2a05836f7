"""Workbooks are written by openpyxl or as raw XML; expected values are what was written, ECMA-376, or openpyxl's own reading."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.styles.numbers import BUILTIN_FORMATS
from openpyxl.utils.datetime import CALENDAR_MAC_1904, to_excel
from openpyxl.workbook.defined_name import DefinedName as WrittenName
from openpyxl.worksheet.formula import ArrayFormula, DataTableFormula
from openpyxl.worksheet.table import Table as WrittenTable
from openpyxl.worksheet.table import TableColumn

from ultramc.address import CellRef, RangeRef
from ultramc.errors import InputError, LimitExceeded, ReferenceNotFound, UltramcError, UnreadableWorkbook
from ultramc.package import MAX_NAMES
from ultramc.values import ExcelError
from ultramc.workbook import DataTable, ReadLimits, Sheet, Workbook

TRANSITIONAL = (
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
)
STRICT = ("http://purl.oclc.org/ooxml/spreadsheetml/main", "http://purl.oclc.org/ooxml/officeDocument/relationships")

ONE_SHEET = '<sheets><sheet name="S" sheetId="1" r:id="a"/></sheets>'


def zipped(parts: dict[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return stream.getvalue()


def parts_of(
    rows: str = "",
    *,
    strings: str | None = "",
    styles: str = "",
    book: str = "",
    relationships: str = "",
    after: str = "",
    target: str = "worksheets/sheet1.xml",
    dialect: tuple[str, str] = TRANSITIONAL,
) -> dict[str, str | bytes]:
    """A package of one sheet, S, as raw XML; `strings` None leaves the shared strings out."""
    main, types = dialect
    listing = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>'
    arrow = f'<Relationship Id="{{}}" Type="{types}/{{}}" Target="{{}}"/>'
    arrows = (
        arrow.format("a", "worksheet", target)
        + arrow.format("b", "styles", "styles.xml")
        + arrow.format("c", "sharedStrings", "sharedStrings.xml")
    )
    parts = {
        "_rels/.rels": listing.format(arrow.format("m", "officeDocument", "/xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{types}">{ONE_SHEET}{book}</workbook>',
        "xl/_rels/workbook.xml.rels": listing.format(arrows + relationships),
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData>{after}</worksheet>',
        "xl/styles.xml": f'<styleSheet xmlns="{main}">{styles}</styleSheet>',
    }
    return {**parts, **({} if strings is None else {"xl/sharedStrings.xml": f'<sst xmlns="{main}">{strings}</sst>'})}


def raw(rows: str = "", **options: Any) -> Workbook:
    return Workbook(zipped(parts_of(rows, **options)))


def sheet(rows: str, **options: Any) -> Sheet:
    return raw(rows, **options).sheets[0]


def saved(fill: Callable[[openpyxl.Workbook], None]) -> bytes:
    book = openpyxl.Workbook()
    fill(book)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def fill_budget(book: openpyxl.Workbook) -> None:
    costs, plan = book.active, book.create_sheet("Anna's plan")
    assert costs is not None
    costs.title = "Costs"
    for row in (
        ["", "Unit price", "Quantity", "Total"],
        ["Steel", 12.5, 3, "=B2*C2"],
        ["Copper", 80, 2, "=B3*C3"],
        ["Sum", None, None, "=SUM(D2:D3)"],
    ):
        costs.append(row)
    costs["B2"].number_format, costs["B3"].number_format = "0.00%", "#,##0.00 [$EUR]"
    plan.append(["Growth rate", "p.a.", 0.03])
    plan.append([None, None, True])
    plan.sheet_state = "hidden"
    last = book.create_sheet("Very last")
    last.sheet_state = "veryHidden"
    names = {
        "growth": "'Anna''s plan'!$C$1",
        "alias": "Growth",
        "rate": "0.03",
        "block": "Costs!$B$2:$C$3",
        "circle": "circle",
        "sold": "Sales[Quantity]",
    }
    for name, text in names.items():
        book.defined_names[name] = WrittenName(name, attr_text=text)
    last.defined_names["local"] = WrittenName("local", attr_text="Costs!$D$4")
    table = WrittenTable(displayName="Sales", ref="A1:D4", totalsRowCount=1)
    table.tableColumns = [TableColumn(id=number, name=name) for number, name in enumerate(("Item", "Unit\nprice", "Quantity", "Total"), 1)]
    costs.add_table(table)
    book.create_chartsheet("Picture")


BUDGET_BYTES = saved(fill_budget)


@pytest.fixture(scope="module")
def budget() -> Workbook:
    return Workbook(BUDGET_BYTES)


# what a cell holds


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('<c r="B2"><v>1.5</v></c>', 1.5),
        ('<c r="B2" t="n"><v>-1E-3</v></c>', -0.001),
        ('<c r="B2"><v>3</v></c>', 3.0),
        ('<c r="B2"><v> 7 </v></c>', 7.0),
        ('<c r="B2"><v></v></c>', None),
        ('<c r="B2" s="0"/>', None),
        ('<c r="B2" t="b"><v>1</v></c>', True),
        ('<c r="B2" t="b"><v>false</v></c>', False),
        ('<c r="B2" t="s"><v>0</v></c>', "plain"),
        ('<c r="B2" t="s"><v>1</v></c>', "rich text"),
        ('<c r="B2" t="s"><v>2</v></c>', " kept "),
        ('<c r="B2" t="s"><v>3</v></c>', "line\rend_x000D_"),
        ('<c r="B2" t="s"><v>4</v></c>', ""),
        ('<c r="B2" t="str"><f>A1</f><v></v></c>', ""),
        ('<c r="B2" t="str"><v>a &amp; b</v></c>', "a & b"),
        ('<c r="B2" t="inlineStr"><is><t>in</t></is></c>', "in"),
        ('<c r="B2" t="inlineStr"><is><r><t>a</t></r><r><t>b</t></r><rPh sb="0" eb="1"><t>no</t></rPh></is></c>', "ab"),
        ('<c r="B2" t="e"><v>#DIV/0!</v></c>', ExcelError.DIV0),
        ('<c r="B2" t="e"><v>#SPILL!</v></c>', ExcelError.SPILL),
        ('<c r="B2" t="e"><v>#FUTURE!</v></c>', ExcelError.UNKNOWN),
    ],
)
def test_value(cell: str, expected: object) -> None:
    strings = (
        "<si><t>plain</t></si><si><r><t>rich</t></r><r><t xml:space='preserve'> text</t></r><rPh sb='0' eb='1'><t>no</t></rPh></si>"
        "<si><t xml:space='preserve'> kept </t></si><si><t>line_x000D_end_x005F_x000D_</t></si><si><t/></si>"
    )
    values = sheet(f'<row r="2">{cell}</row>', strings=strings).values
    found = values.get((2, 2))
    assert (found, type(found)) == (expected, type(expected))
    assert len(values) == (expected is not None)  # blank cells are absent


@pytest.mark.parametrize("date1904", [False, True])
@pytest.mark.parametrize("moment", [datetime(1900, 1, 31), datetime(1900, 3, 1), datetime(2024, 2, 29, 18, 30), datetime(1904, 1, 1, 6)])
def test_iso_dates_become_serial_numbers(moment: datetime, date1904: bool) -> None:
    rows = f'<row r="1"><c r="A1" t="d"><v>{moment.isoformat()}</v></c><c r="B1" t="d"><v>06:00:00</v></c></row>'
    book = raw(rows, book=f'<workbookPr date1904="{int(date1904)}"/>')
    expected = to_excel(moment, CALENDAR_MAC_1904) if date1904 else to_excel(moment)
    assert book.date1904 is date1904
    assert book.sheets[0].values == {(1, 1): pytest.approx(expected, rel=1e-15), (1, 2): 0.25}


@pytest.mark.parametrize(
    "cell",
    [
        '<c r="C7"><v>twelve</v></c>',
        '<c r="C7"><v>1_000</v></c>',
        '<c r="C7"><v>nan</v></c>',
        '<c r="C7"><v>1E999</v></c>',
        '<c r="C7" t="b"><v>maybe</v></c>',
        '<c r="C7" t="d"><v>2024-13-01</v></c>',
        '<c r="C7" t="s"><v>1</v></c>',
        '<c r="C7" t="s"><v>-1</v></c>',
        '<c r="C7" t="s"><v>x</v></c>',
        '<c r="C7" t="z"><v>1</v></c>',
        '<c r="C7"><f t="array" ref="A1:">1</f></c>',
    ],
)
def test_nonsense_is_refused_with_sheet_and_cell(cell: str) -> None:
    with pytest.raises(UnreadableWorkbook, match=r"S!C7.*open it in Excel and save it again"):
        sheet(f'<row r="7">{cell}</row>', strings="<si><t>one</t></si>")


def test_shared_strings_may_be_missing_unless_a_cell_refers_to_them() -> None:
    assert sheet('<row r="1"><c r="A1"><v>1</v></c></row>', strings=None).values == {(1, 1): 1.0}
    with pytest.raises(UnreadableWorkbook, match="S!A1: refers to shared string '0' of 0"):
        sheet('<row r="1"><c r="A1" t="s"><v>0</v></c></row>', strings=None)


def test_positions_count_on_where_the_file_leaves_them_out() -> None:
    found = sheet(
        '<row><c><v>1</v></c><c r="D1"><v>2</v></c><c><v>3</v></c></row><row r="5"><c><v>4</v></c></row><row><c r="AB6"><v>5</v></c></row>'
    )
    assert found.values == {(1, 1): 1, (1, 4): 2, (1, 5): 3, (5, 1): 4, (6, 28): 5}
    assert found.bounds == (1, 1, 6, 28)


@pytest.mark.parametrize(
    "rows",
    [
        '<row r="1"><c r="XFE1"><v>1</v></c></row>',
        '<row r="1048577"/>',
        '<row r="0"><c r="A0"><v>1</v></c></row>',
        '<row r="x"/>',
        '<row r="1"><c r="1A"><v>1</v></c></row>',
        '<row r="1"><c r="XFD1"><v>1</v></c><c><v>1</v></c></row>',
        '<c r="A1:B2"><v>1</v></c>',
        "<c><v>1</v></c>",
    ],
)
def test_cells_outside_the_sheet_are_refused(rows: str) -> None:
    with pytest.raises(UnreadableWorkbook, match="S"):
        sheet(rows)


def test_the_far_corner_costs_nothing() -> None:
    corner = sheet('<row r="1048576"><c r="XFD1048576"><v>2</v></c></row>')
    assert corner.bounds == (1_048_576, 16_384, 1_048_576, 16_384)
    assert list(corner.keys((1, 1, 1_048_576, 16_384))) == [(1_048_576, 16_384)]


def test_elements_after_the_cells_are_none_of_theirs() -> None:
    after = '<extLst><ext><x14:formula1 xmlns:x14="x"><xm:f xmlns:xm="y">B1:B9</xm:f></x14:formula1></ext></extLst>'
    found = sheet('<row r="1"><c r="A1"><v>1</v></c></row>', after=after)
    assert not found.formulas and found.values == {(1, 1): 1.0}


def test_prefixes_and_the_strict_dialect_read_the_same() -> None:
    rows = '<row r="1"><c r="A1" s="1"><f>1+1</f><v>2</v></c></row>'
    styles = '<cellXfs><xf numFmtId="0"/><xf numFmtId="10"/></cellXfs>'
    prefixed = parts_of('<x:row r="1"><x:c r="A1" s="1"><x:f>1+1</x:f><x:v>2</x:v></x:c></x:row>', styles=styles)
    text = str(prefixed["xl/worksheets/sheet1.xml"])
    for name in ("worksheet", "sheetData"):
        text = text.replace(f"<{name}", f"<x:{name}").replace(f"</{name}", f"</x:{name}")
    prefixed["xl/worksheets/sheet1.xml"] = text.replace("xmlns=", "xmlns:x=")
    for book in (raw(rows, styles=styles, dialect=STRICT), Workbook(zipped(prefixed))):
        assert book.value(CellRef("S", 1, 1)) == 2
        assert book.formula_text(CellRef("S", 1, 1)) == "1+1"
        assert book.number_format(CellRef("S", 1, 1)) == "0.00%"


# formulas


def test_formula_forms() -> None:
    found = sheet(
        '<row r="1"><c r="A1"><f>B1*2</f><v>4</v></c><c r="B1"><f/><v>2</v></c><c r="C1"><f>=B1&amp;"&lt;"</f></c>'
        '<c r="D1" cm="1"><f t="array" ref="D1:D3">SORT(A1:A3)</f><v>1</v></c></row>'
        '<row r="2"><c r="D2"><v>2</v></c><c r="E2"><f t="array" ref="E2">SUM(A1:A3*2)</f><v>8</v></c></row>'
    )
    texts = {key: (formula.text, formula.kind, formula.dynamic, formula.area) for key, formula in found.formulas.items()}
    assert texts == {
        (1, 1): ("B1*2", "cell", False, None),
        (1, 3): ('B1&"<"', "cell", False, None),
        (1, 4): ("SORT(A1:A3)", "array", True, (1, 4, 3, 4)),
        (2, 5): ("SUM(A1:A3*2)", "array", False, (2, 5, 2, 5)),
    }
    assert found.covered == {(2, 4): found.formulas[1, 4], (3, 4): found.formulas[1, 4]}
    assert found.values == {(1, 1): 4, (1, 2): 2, (1, 4): 1, (2, 4): 2, (2, 5): 8}


def test_data_tables() -> None:
    def fill(book: openpyxl.Workbook) -> None:
        active = book.active
        assert active is not None
        active["B2"] = DataTableFormula("B2:C3", dt2D=True, dtr=True, r1="A1", r2="A9")
        active["B6"] = DataTableFormula("B6:B7", dtr=False, r1="A1")
        active["B9"] = DataTableFormula("B9:B10", dtr=True, r1="A1", del1=True)

    book = Workbook(saved(fill))
    tables = {key: (formula.kind, formula.area, formula.data_table) for key, formula in book.sheets[0].formulas.items()}
    assert tables == {
        (2, 2): ("data_table", (2, 2, 3, 3), DataTable("A1", "A9", True, True)),
        (6, 2): ("data_table", (6, 2, 7, 2), DataTable("A1", None, False, False)),
        (9, 2): ("data_table", (9, 2, 10, 2), DataTable(None, None, False, True)),
    }
    assert book.formula(CellRef("Sheet", 3, 3)) is book.sheets[0].formulas[2, 2]
    assert [book.formula_text(CellRef("Sheet", row, 2)) for row in (3, 7, 10)] == ["TABLE(A1,A9)", "TABLE(,A1)", "TABLE(,)"]


def shared(cell: str, attributes: str, text: str = "") -> str:
    return f'<c r="{cell}"><f t="shared" {attributes}>{text}</f><v>1</v></c>'


def test_shared_formulas_hold_one_object() -> None:
    cells = [shared("B2", "ref='B2:B4' si='0'", "A2*$A$1"), shared("B3", "si='0'"), shared("B4", "si='0'")]
    rows = "".join(f"<row>{cell}</row>" for cell in cells)
    book = raw(rows)
    master = book.sheets[0].formulas[2, 2]
    assert (master.text, master.row, master.column, master.kind) == ("A2*$A$1", 2, 2, "shared")
    assert all(book.sheets[0].formulas[row, 2] is master for row in (3, 4))
    assert [book.formula_text(CellRef("S", row, 2)) for row in (2, 3, 4)] == ["A2*$A$1", "A3*$A$1", "A4*$A$1"]


def test_shared_master_may_follow_and_text_in_a_dependant_is_ignored() -> None:
    """ECMA-376 part 1, §18.3.1.40: the master's formula overrides."""
    cells = shared("A1", "si='3'"), shared("B1", "ref='A1:C1' si='3'", "A9"), shared("C1", "si='3'", "wrong")
    found = sheet(f"<row r='1'>{''.join(cells)}</row>")
    assert {formula.text for formula in found.formulas.values()} == {"A9"} and len(found.formulas) == 3
    assert {(formula.row, formula.column) for formula in found.formulas.values()} == {(1, 2)}


def test_shared_master_without_an_area() -> None:
    found = sheet("<row>" + shared("A1", "si='0'", "C1") + shared("B1", "si='0'") + "</row>")
    assert [formula.text for formula in found.formulas.values()] == ["C1", "C1"]


def test_a_lost_shared_formula_leaves_values_and_a_warning() -> None:
    book = raw("<row>" + shared("A1", "si='3'") + "</row>")
    assert not book.sheets[0].formulas and book.sheets[0].values == {(1, 1): 1.0}
    assert "1 cells have lost their shared formula" in book.warnings[0] and "S!A1" in book.warnings[0]


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        st.one_of(st.floats(-1e300, 1e300), st.booleans(), st.text('ab\n<&é𝄞"_x0041_=', max_size=8), st.just("=A1+1")),
        max_size=12,
    )
)
def test_what_openpyxl_writes_is_what_we_read(cells: dict[tuple[int, int], Any]) -> None:
    def fill(book: openpyxl.Workbook) -> None:
        for key, value in cells.items():
            cell = book.active.cell(*key, value)  # type: ignore[union-attr]
            if isinstance(value, str) and value != "=A1+1":
                cell.data_type = "s"

    data = saved(fill)
    found = Workbook(data).sheets[0]
    theirs = openpyxl.load_workbook(io.BytesIO(data)).active
    assert theirs is not None
    formulas = {key for key, value in cells.items() if value == "=A1+1"}
    assert set(found.formulas) == formulas
    escaped = {key: theirs.cell(*key).value for key, value in cells.items() if key not in formulas and value != ""}
    readable = {key: value for key, value in escaped.items() if "_x" not in str(value)}  # openpyxl leaves _x0041_ as it is
    assert {key: found.values[key] for key in readable} == readable


# styles, names, tables, settings


def test_number_formats(budget: Workbook) -> None:
    assert [budget.number_format(CellRef("Costs", row, 2)) for row in (1, 2, 3)] == ["General", "0.00%", "#,##0.00 [$EUR]"]
    assert set(budget.sheet("Costs").styles) == {(2, 2), (3, 2)}


def test_builtin_number_formats() -> None:
    known = {index: code for index, code in BUILTIN_FORMATS.items() if index != 44}  # openpyxl's 44 lacks its semicolons
    styles = "".join(f"<xf numFmtId='{index}'/>" for index in known)
    cells = "".join(f"<c s='{place}'/>" for place in range(len(known)))
    book = raw(f"<row>{cells}</row>", styles=f"<cellXfs>{styles}</cellXfs>")
    assert [book.number_format(CellRef("S", 1, place + 1)) for place in range(len(known))] == list(known.values())


def test_sheets(budget: Workbook) -> None:
    assert [(found.name, found.index, found.visibility, found.bounds) for found in budget.sheets] == [
        ("Costs", 0, "visible", (1, 1, 4, 4)),
        ("Anna's plan", 1, "hidden", (1, 1, 2, 3)),
        ("Very last", 2, "veryHidden", None),
    ]
    assert budget.sheet("anna's PLAN").name == "Anna's plan"
    with pytest.raises(ReferenceNotFound, match="Did you mean 'Costs'"):
        budget.sheet("Cost")


def test_names_are_counted_with_charts() -> None:
    """ECMA-376 part 1, §18.2.5: localSheetId is the index in the list of all sheets."""
    chart = '<Relationship Id="k" Type="t/chartsheet" Target="chartsheets/sheet1.xml"/>'
    parts = parts_of(relationships=chart, book='<definedNames><definedName name="n" localSheetId="1">S!$B$2</definedName></definedNames>')
    text = str(parts["xl/workbook.xml"]).replace("<sheets>", '<sheets><sheet name="Chart" sheetId="9" r:id="k"/>')
    book = Workbook(zipped(parts | {"xl/workbook.xml": text}))
    assert [(found.name, found.index) for found in book.sheets] == [("S", 0)]
    assert str(book.resolve("n", "S")) == "S!B2"


def test_names(budget: Workbook) -> None:
    assert {name.name: name.sheet for name in budget.names}["local"] == "Very last"
    assert budget.name("LOCAL") is None
    local, growth = budget.name("LOCAL", "very last"), budget.name("Growth", "Costs")
    assert local is not None and local.text == "Costs!$D$4"
    assert growth is not None and growth.text == "'Anna''s plan'!$C$1"


def test_tables(budget: Workbook) -> None:
    table = budget.table("SALES")
    assert table is not None
    assert (table.sheet, table.area, table.header_rows, table.totals_rows) == ("Costs", (1, 1, 4, 4), 1, 1)
    assert table.columns == ("Item", "Unit\nprice", "Quantity", "Total")


def test_calculation_settings() -> None:
    assert raw().iterative is None and raw(book='<calcPr iterate="0"/>').iterative is None
    assert repr(raw(book='<calcPr iterate="1"/>').iterative) == "IterativeCalculation(iterations=100, change=0.001)"
    book = raw(book='<calcPr iterate="true" iterateCount="7" iterateDelta="1E-4" calcMode="manual" fullPrecision="0"/>')
    assert repr(book.iterative) == "IterativeCalculation(iterations=7, change=0.0001)"
    assert [word for word in ("manual", "precision as displayed") if word in " ".join(book.warnings)] == [
        "manual",
        "precision as displayed",
    ]
    with pytest.raises(UnreadableWorkbook, match="iterateCount"):
        raw(book='<calcPr iterate="1" iterateCount="many"/>')


def test_macros_and_links_are_warned_of_and_left_alone() -> None:
    arrows = "".join(f'<Relationship Id="x{kind}" Type="t/{kind}" Target="nowhere.bin"/>' for kind in ("vbaProject", "externalLink"))
    book = raw(relationships=arrows)
    assert [warning.split()[0] for warning in book.warnings] == ["macros", "links"]


def test_absolute_and_relative_part_names() -> None:
    assert raw("<row><c><v>1</v></c></row>", target="/xl/worksheets/sheet1.xml").sheets[0].values
    assert raw("<row><c><v>1</v></c></row>", target="./../xl/worksheets/SHEET1.xml").sheets[0].values


# finding one's way


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("costs!b2:c3", "Costs!B2:C3"),
        ("Costs!$B$4", "Costs!B4"),
        ("'Anna''s plan'!C1", "'Anna''s plan'!C1"),
        (CellRef("ANNA'S PLAN", 1, 3), "'Anna''s plan'!C1"),
        (RangeRef("costs", 1, 1, 2, 2), "Costs!A1:B2"),
        ("GROWTH", "'Anna''s plan'!C1"),
        ("alias", "'Anna''s plan'!C1"),
        ("Costs!growth", "'Anna''s plan'!C1"),
        ("block", "Costs!B2:C3"),
        ("'Very last'!local", "Costs!D4"),
        ("Sales", "Costs!A2:D3"),
        ("sales[unit\nprice]", "Costs!B2:B3"),
        ("sold", "Costs!C2:C3"),
    ],
)
def test_resolve(budget: Workbook, reference: Any, expected: str) -> None:
    assert str(budget.resolve(reference)) == expected


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("B4", "names no sheet and there are 3. Write, for example, 'Costs!B4'"),
        ("Cost!B4", "no sheet 'Cost'. Did you mean 'Costs'"),
        ("grwth", "Did you mean 'growth'"),
        ("rate", "stands for =0.03, which is no single range"),
        ("circle", "stands for =circle"),
        ("local", "belongs to a sheet. Write 'Very last'!local"),
        ("Sales[Quantty]", "Did you mean 'Sales\\[Quantity\\]'"),
        ("Costs!XFE1", "is no cell"),
        ("", "is no cell"),
    ],
)
def test_resolve_explains(budget: Workbook, reference: str, reason: str) -> None:
    with pytest.raises(ReferenceNotFound, match=reason):
        budget.resolve(reference)


def test_resolve_on_a_sheet(budget: Workbook) -> None:
    assert str(budget.resolve("B4", "costs")) == "Costs!B4"
    assert str(budget.resolve("local", "Very last")) == "Costs!D4"
    assert str(raw().resolve("B4")) == "S!B4"  # the only sheet


def test_cells_carry_labels_values_formats_and_formulas(budget: Workbook) -> None:
    rows = [(str(cell.ref), cell.label, cell.value, cell.number_format, cell.formula) for cell in budget.cells("Costs!B2:D3")]
    assert rows[:3] == [
        ("Costs!B2", "Steel", 12.5, "0.00%", None),
        ("Costs!C2", "Steel", 3.0, "General", None),
        ("Costs!D2", "Steel", None, "General", "B2*C2"),
    ]
    assert len(rows) == 6
    assert [cell.ref.a1 for cell in budget.cells("Costs!A1:XFD1048576")] == [
        *("B1", "C1", "D1", "A2", "B2", "C2", "D2", "A3", "B3", "C3", "D3", "A4", "D4")  # row by row, blank ones left out
    ]
    assert budget.cells("Costs!Z99")[0].value is None


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("STEEL", ["Costs!B2", "Costs!C2", "Costs!D2"]),  # the row
        ("unit p", ["Costs!B2", "Costs!B3"]),  # a heading: the column below
        ("growth", ["'Anna''s plan'!C1"]),  # past the unit; and a defined name for the same cell
        ("block", ["Costs!B2", "Costs!C2", "Costs!B3", "Costs!C3"]),  # a defined name
        ("nothing like it", []),
    ],
)
def test_find(budget: Workbook, text: str, cells: list[str]) -> None:
    assert [str(cell.ref) for cell in budget.find(text)] == cells


def test_printing(budget: Workbook) -> None:
    lines = repr(budget.cells("Costs!B2:D2")).splitlines()
    assert lines[0].split() == ["cell", "label", "value", "number", "format", "formula"]
    assert lines[3].split() == ["Costs!D2", "Steel", "General", "=B2*C2"]
    assert len({line.index("General") for line in lines[2:]}) == 1  # aligned
    page = repr(budget)
    assert all(word in page for word in ("3 sheets", "3 formulas", "A1:C2 (hidden)", "growth", "Sales", "Unit price"))
    assert len(page.splitlines()) < 40


def test_printing_is_bounded_and_escaped() -> None:
    book = raw("<row>" + "<c t='inlineStr'><is><t>&lt;script&gt;</t></is></c>" * 60 + "</row>")
    cells = book.cells("A1:BH1")
    assert "… 20 more" in repr(cells) and "… 20 more" in cells._repr_html_()
    assert "<script>" not in cells._repr_html_() and "&lt;script&gt;" in cells._repr_html_()
    assert "<table>" in book._repr_html_()


def test_sources_agree(tmp_path: Path) -> None:
    path = tmp_path / "budget.xlsx"
    path.write_bytes(BUDGET_BYTES)
    with path.open("rb") as stream:
        books = [Workbook(path), Workbook(str(path)), Workbook(BUDGET_BYTES), Workbook(stream)]
    assert {book.sha256 for book in books} == {hashlib.sha256(BUDGET_BYTES).hexdigest()}
    assert [book.file_name for book in books] == ["budget.xlsx", "budget.xlsx", "workbook", "budget.xlsx"]
    assert [book.path for book in books] == [str(path), str(path), None, None]


def test_immutable_and_picklable(budget: Workbook) -> None:
    with pytest.raises(AttributeError):
        budget.date1904 = True  # type: ignore[misc]
    assert str(pickle.loads(pickle.dumps(budget)).resolve("growth")) == "'Anna''s plan'!C1"


# bad files

OLE = bytes.fromhex("D0CF11E0A1B11AE1")
BAD_FILES = {
    "empty": (b"", "is empty"),
    "encrypted": (OLE + bytes(600) + "EncryptedPackage".encode("utf-16-le"), "encrypted with a password.*remove the password"),
    "xls": (OLE + bytes(600), r"\.xls.*save it as .xlsx"),
    "csv": (b"a,b\n1,2\n", "are zip files and this is none"),
    "xml": (b"<?xml version='1.0'?><Workbook/>", "is an XML file"),
    "html": (b"\n<HTML><table>", "is a web page"),
    "truncated": (BUDGET_BYTES[: len(BUDGET_BYTES) // 2], "cut short"),
    "xlsb": (zipped({"xl/workbook.bin": ""}), r"\.xlsb"),
    "ods": (zipped({"mimetype": "", "content.xml": ""}), r"\.ods"),
    "docx": (zipped({"word/document.xml": ""}), "Word"),
    "zip": (zipped({"readme.txt": ""}), "without a workbook"),
    "no sheet": (zipped(parts_of() | {"xl/workbook.xml": "<workbook/>"}), "no worksheet"),
    "no workbook part": (
        zipped({name: text for name, text in parts_of().items() if name != "xl/workbook.xml"}),
        "part xl/workbook.xml is missing",
    ),
    "no sheet part": (zipped({name: text for name, text in parts_of().items() if "sheet1" not in name}), "sheet1.xml is missing"),
    "no relationship": (zipped({name: text for name, text in parts_of().items() if "xl/_rels" not in name}), "sheet 'S' has no part"),
    "malformed": (zipped(parts_of() | {"xl/worksheets/sheet1.xml": "<worksheet><sheetData>"}), "sheet1.xml is not well-formed"),
    "encoding": (zipped(parts_of() | {"xl/styles.xml": '<?xml version="1.0" encoding="utf-7"?><a/>'}), "styles.xml is not well-formed"),
    "deep": (zipped(parts_of() | {"xl/styles.xml": "<a>" * 5000 + "</a>" * 5000}), "nests elements"),
    "many names": (zipped(parts_of(after="".join(f"<n{index}/>" for index in range(MAX_NAMES + 9)))), "different XML names"),
    "twice": (zipped(parts_of(book='<sheets><sheet name="T" sheetId="2" xmlns:r="r" r:id="a"/></sheets>')), "is used twice"),
    "method": (zipped(parts_of(), zipfile.ZIP_BZIP2), "compression method 12"),
    "doctype": (zipped(parts_of() | {"xl/sharedStrings.xml": '<!DOCTYPE l [<!ENTITY a "ha">]><sst><si><t>&a;</t></si></sst>'}), "DOCTYPE"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_files_end_in_one_clear_error(kind: str) -> None:
    data, reason = BAD_FILES[kind]
    with pytest.raises(UnreadableWorkbook, match=f"workbook: .*{reason}"):
        Workbook(data)


@pytest.mark.parametrize("index", ["1", "-1", "9" * 5000])
def test_names_of_sheets_that_do_not_exist_are_refused(index: str) -> None:
    with pytest.raises(UnreadableWorkbook, match="belongs to sheet number"):
        raw(book=f'<definedNames><definedName name="n" localSheetId="{index}">S!$B$2</definedName></definedNames>')


def test_an_endless_file_is_read_to_its_limit_only() -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            assert 0 <= size <= 1001
            return bytes(size)

    with pytest.raises(LimitExceeded, match="file_bytes"):
        Workbook(Endless(), limits=ReadLimits(file_bytes=1000))  # type: ignore[arg-type]


def test_bad_paths(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.xlsx"):
        with pytest.raises(UnreadableWorkbook, match=r"cannot be opened .*Check the path") as caught:
            Workbook(path)
        assert isinstance(caught.value, OSError)
    with pytest.raises(UnreadableWorkbook, match="binary mode"):
        Workbook(io.StringIO("text"))  # type: ignore[arg-type]


def test_two_parts_of_one_name_are_refused() -> None:
    stream = io.BytesIO(zipped(parts_of()))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("XL/Workbook.xml", "<workbook/>")
    with pytest.raises(UnreadableWorkbook, match=r"two parts are named XL/Workbook\.xml"):
        Workbook(stream.getvalue())


def test_a_damaged_part_is_named() -> None:
    data = bytearray(zipped(parts_of("<row><c><v>1</v></c></row>"), zipfile.ZIP_STORED))
    data[data.index(b"<v>1</v>") + 3] = ord("2")
    with pytest.raises(UnreadableWorkbook, match=r"sheet1\.xml cannot be unpacked"):
        Workbook(bytes(data))


# limits

CELLS = "<row>" + "<c><v>1</v></c>" * 20 + "</row>"
STRINGS = "<si><t>abc</t></si>" * 10
NAMES = "<definedNames>" + "".join(f'<definedName name="n{index}">S!$A$1</definedName>' for index in range(5)) + "</definedNames>"
LIMITED = {
    "file_bytes": (parts_of(), 100),
    "unpacked_bytes": (parts_of(), 500),
    "part_bytes": (parts_of(), 200),
    "parts": (parts_of(), 5),
    "ratio": (parts_of("<row/>" * 200_000), 200),
    "cells": (parts_of(CELLS), 19),
    "shared_strings": (parts_of(strings=STRINGS), 9),
    "shared_string_bytes": (parts_of(strings=STRINGS), 29),
    "formula_characters": (parts_of("<row><c><f>1234567890</f></c></row>"), 9),
    "names": (parts_of(book=NAMES), 4),
}


def test_every_limit_has_a_case() -> None:
    assert set(LIMITED) == {field.name for field in ReadLimits.__attrs_attrs__}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", LIMITED)
def test_limits_name_the_field_and_how_to_raise_it(name: str) -> None:
    parts, limit = LIMITED[name]
    roomy = ReadLimits(ratio=10**6)
    Workbook(zipped(parts), limits=roomy)
    with pytest.raises(LimitExceeded, match=rf"{name} is limited to {limit:,} and at least [\d,]+ was found.*ReadLimits\({name}=…\)"):
        Workbook(zipped(parts), limits=evolve(roomy, **{name: limit}))


@pytest.mark.parametrize(
    ("name", "limit", "rows"),
    [
        ("cells", 5_000_000, '<row><c><f t="array" ref="A1:XFD1048576">1</f></c></row>'),  # an area costs its cells
        ("shared_string_bytes", 50, f'<row><c t="inlineStr"><is><t>{"x" * 60}</t></is></c></row>'),
        ("shared_string_bytes", 50, '<row><c t="str"><v>abcdefghijk</v></c><c t="str"><v>é</v></c></row>' * 5),
        ("formula_characters", 50, f'<row><c><f t="shared" ref="A1" si="0">{"+1" * 30}</f></c></row>'),
    ],
)
def test_limits_inside_a_sheet(name: str, limit: int, rows: str) -> None:
    with pytest.raises(LimitExceeded, match=name):
        Workbook(zipped(parts_of(rows)), limits=ReadLimits(**{name: limit}))


def test_the_directory_is_not_trusted() -> None:
    """A part that claims to be small may not unpack to more than it claims."""
    part = "xl/worksheets/sheet1.xml"
    parts = parts_of("<row><c><v>1</v></c></row>" + " " * 100_000)
    size = len(str(parts[part])).to_bytes(4, "little")
    honest, claim = zipped(parts), (5_000).to_bytes(4, "little")
    assert honest.count(size) == 2
    with pytest.raises(UnreadableWorkbook, match=r"sheet1\.xml"):
        Workbook(honest.replace(size, claim))


def test_a_huge_tag_is_refused_before_expat_rescans_it() -> None:
    noise = "".join(f"{zlib.crc32(str(index).encode()):08x}" for index in range(400_000))
    with pytest.raises(UnreadableWorkbook, match="a tag of over"):
        raw(after=f"<!--{noise}-->")


def test_negative_limits_are_a_mistake() -> None:
    with pytest.raises(ValueError):
        ReadLimits(cells=-1)


FUZZ_PARTS = parts_of(
    '<row r="1"><c r="A1" s="1" t="s"><v>0</v></c><c r="B1" cm="1"><f t="array" ref="B1:B2">A1*2</f><v>2</v></c></row>'
    '<row r="2"><c r="A2" t="b"><f t="shared" ref="A2:A3" si="0">A1</f><v>1</v></c><c r="C2" t="inlineStr"><is><t>x</t></is></c></row>'
    '<row r="3"><c r="A3" t="e"><f t="shared" si="0"/><v>#N/A</v></c><c r="D3" t="d"><v>2024-01-02</v></c></row>',
    strings="<si><r><t>rich_x000D_</t></r><rPh><t>p</t></rPh></si>",
    styles='<numFmts><numFmt numFmtId="164" formatCode="0.0"/></numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="164"/></cellXfs>',
    book='<definedNames><definedName name="n" localSheetId="0">S!$A$1</definedName></definedNames><calcPr iterate="1" iterateCount="5"/>',
)


def read_or_refuse(data: bytes) -> None:
    try:
        book = Workbook(data, limits=ReadLimits(cells=10_000))
        repr(book), repr(book.cells(RangeRef(book.sheets[0].name, 1, 1, 9, 9))), book.find("r")
    except UltramcError as error:
        assert len(str(error)) > 20


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_files_are_read_or_refused(data: st.DataObject) -> None:
    """Inside a part, where checksums do not protect, and in the zip itself; also cut short."""
    parts = dict(FUZZ_PARTS)
    name = data.draw(st.sampled_from(sorted(parts)))
    changed = mutated(data, str(parts[name]).encode())
    read_or_refuse(zipped(parts | {name: changed}))
    whole = mutated(data, zipped(FUZZ_PARTS))
    read_or_refuse(whole[: data.draw(st.one_of(st.none(), st.integers(0, len(whole))))])


def mutated(data: st.DataObject, original: bytes) -> bytes:
    changed = bytearray(original)
    tokens = st.one_of(
        st.binary(max_size=3), st.sampled_from([b'"', b"<", b"</c>", b"<f>", b"-1", b"99999999999999999999", b'r="', b"&#0;", b"_xD800_"])
    )
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(original)))
        changed[start : start + data.draw(st.integers(0, 6))] = data.draw(tokens)
    return bytes(changed)


def test_reading_does_not_load_openpyxl() -> None:
    import subprocess
    import sys

    script = "import sys, ultramc.workbook; print([name for name in ('openpyxl', 'scipy', 'pandas') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_array_formulas_written_by_openpyxl() -> None:
    def fill(book: openpyxl.Workbook) -> None:
        book.active["E2"] = ArrayFormula("E2:E5", "=A2:A5*2")  # type: ignore[index]

    formula = Workbook(saved(fill)).formula(CellRef("Sheet", 4, 5))
    assert formula is not None and (formula.text, formula.area) == ("A2:A5*2", (2, 5, 5, 5))


@pytest.mark.parametrize("source", [None, 3])
def test_what_is_no_file_is_refused(source: Any) -> None:
    with pytest.raises(InputError, match=f"a path, bytes or a binary file object, not {source}"):
        Workbook(source)


def test_a_sheet_prints_its_size_and_not_its_cells() -> None:
    assert repr(raw('<row r="1"><c r="A1"><f>1+1</f><v>2</v></c><c r="B1"><v>3</v></c></row>').sheets[0]) == (
        "Sheet 'S': 2 cells with values, 1 formula"
    )
