"""An .xlsx or .xlsm file → an immutable `Workbook`: formulas with their cached values, names, tables, and ways to find a cell."""

from __future__ import annotations

import hashlib
import os
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from html import escape
from itertools import chain, islice
from typing import Any, BinaryIO, Literal

from attrs import evolve, fields, frozen

from ultramc.address import MAX_COLUMN, CellRef, RangeRef, parse_area, quoted, split_sheet
from ultramc.errors import FormulaError, ReferenceNotFound
from ultramc.package import DEFAULT_LIMITS, Attributes, Element, Package, ReadLimits, read_bytes
from ultramc.report import counted
from ultramc.values import Scalar, to_text
from ultramc.worksheet import Area, DataTable, Formula, Key, Sheet, Surroundings, formula_text, is_true, read_cells, unescaped

__all__ = [
    "Cell",
    "CellList",
    "DataTable",
    "DefinedName",
    "Formula",
    "IterativeCalculation",
    "ReadLimits",
    "Sheet",
    "Table",
    "Workbook",
]

MAX_FORMATS = 65_536  # cell formats in a workbook (Excel specifications and limits: 65,490)
MAX_ALIASES = 64  # names that refer to names
MAX_FOUND = 1_000
MAX_SHOWN = 40
MAX_SUGGESTED = 5_000  # names that are looked at for close matches


@frozen
class Table:
    """A table of a sheet. `area` is (top, left, bottom, right) with the `header_rows` and `totals_rows`.

    `filtered`: its filter is at work.
    """

    name: str
    sheet: str
    area: Area
    columns: tuple[str, ...]
    header_rows: int
    totals_rows: int
    filtered: bool = False

    def data(self, column: str | None = None) -> RangeRef | None:
        """The rows between header and totals, of one column or of all; None where there is no such column or no row."""
        top, left, bottom, right = self.area
        top, bottom = top + self.header_rows, bottom - self.totals_rows
        if column is not None:
            lower = [name.lower() for name in self.columns]
            if column.lower() not in lower:
                return None
            left = right = left + lower.index(column.lower())
        return RangeRef(self.sheet, top, left, bottom, right) if top <= bottom else None


@frozen
class DefinedName:
    """A name and the formula `text` it stands for, without ``=``; `sheet` is None for a name of the whole workbook."""

    name: str
    sheet: str | None
    text: str
    hidden: bool


@frozen
class IterativeCalculation:
    """How the workbook asks for circular references to be iterated: at most `iterations`, until no cell changes by `change`."""

    iterations: int = 100
    change: float = 0.001


@frozen
class Cell:
    """A cell as `Workbook.cells` and `Workbook.find` list it; `formula` is its text as it stands there, None for a constant."""

    ref: CellRef
    label: str
    value: Scalar
    number_format: str
    formula: str | None


class CellList(tuple[Cell, ...]):
    """Cells that print as a table, one line each."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join([*_aligned([_CELL_HEADINGS, *self._rows()]), *self._rest()])

    def _repr_html_(self) -> str:
        return _html_table(_CELL_HEADINGS, self._rows()) + "".join(map(escape, self._rest()))

    def _rows(self) -> list[tuple[str, ...]]:
        return [_row(cell) for cell in self[:MAX_SHOWN]]

    def _rest(self) -> list[str]:
        return [f"… {len(self) - MAX_SHOWN:,} more"] if len(self) > MAX_SHOWN else []


@frozen(init=False, eq=False, repr=False)
class Workbook:
    """A workbook as saved: it never changes, recalculates or follows a link.

    `source` is a path, the bytes of a file, or a binary file object (read from where it stands). `path` is None for the latter two.
    `sha256` is of the file's bytes, in hexadecimal. `warnings` says what was found and left alone: macros, external links and their like.

    Raises `UnreadableWorkbook` with the reason and the next step for a file that is no workbook, is encrypted, truncated or malformed,
    and `LimitExceeded` for one beyond `limits`.
    """

    path: str | None
    file_name: str
    sha256: str
    sheets: tuple[Sheet, ...]
    names: tuple[DefinedName, ...]
    tables: tuple[Table, ...]
    date1904: bool
    iterative: IterativeCalculation | None
    warnings: tuple[str, ...]
    _formats: dict[int, str]

    def __init__(self, source: str | os.PathLike[str] | bytes | BinaryIO, *, limits: ReadLimits = DEFAULT_LIMITS) -> None:
        path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
        file_name = os.path.basename(path or str(getattr(source, "name", ""))) or "workbook"
        data = read_bytes(source, path or file_name, limits)
        contents = _Contents(Package(data, path or file_name, limits))
        self.__attrs_init__(
            path,
            file_name,
            hashlib.sha256(data).hexdigest(),
            contents.sheets,
            contents.names,
            contents.tables,
            contents.date1904,
            contents.iterative,
            tuple(contents.warnings),
            contents.format_codes,
        )

    def sheet(self, name: str) -> Sheet:
        """Case does not matter. Raises `ReferenceNotFound` with close matches."""
        sheet = self._sheet_by_name.get(name.lower())
        if sheet is None:
            raise ReferenceNotFound(f"{self.file_name}: no sheet {name!r}. {_suggestion(name, [sheet.name for sheet in self.sheets])}")
        return sheet

    def name(self, name: str, sheet: str | None = None) -> DefinedName | None:
        """The name as a formula on `sheet` would understand it: the sheet's own first, then the workbook's."""
        own = self._name_by_scope.get((name.lower(), sheet.lower())) if sheet else None
        return own or self._name_by_scope.get((name.lower(), None))

    def table(self, name: str) -> Table | None:
        return self._table_by_name.get(name.lower())

    def filtered_rows(self, sheet: str) -> frozenset[int]:
        """The rows that a filter of the sheet, or of a table in it, hides."""
        return self._filtered_rows[sheet]

    def resolve(self, reference: str | CellRef | RangeRef, sheet: str | None = None) -> RangeRef:
        """The cells that a reference means, the sheet spelled as the workbook does.

        An address (``Costs!B2:B9``; without its sheet where `sheet` is given or there is only one), a defined name that
        refers to one area, ``Table`` or ``Table[Column]`` (without header and totals). Raises `ReferenceNotFound` otherwise.
        """
        found = self._area(str(reference), sheet)
        if found is None:
            raise ReferenceNotFound(f"{self.file_name}: {self._why_not(str(reference), sheet)}")
        return found

    def value(self, cell: CellRef) -> Scalar:
        """The constant or cached value; None for a blank cell."""
        return self.sheet(cell.sheet).values.get((cell.row, cell.column))

    def formula(self, cell: CellRef) -> Formula | None:
        """The cell's own formula, or the array formula or data table whose area covers it."""
        sheet, key = self.sheet(cell.sheet), (cell.row, cell.column)
        return sheet.formulas.get(key) or sheet.covered.get(key)

    def formula_text(self, cell: CellRef) -> str | None:
        """The formula as it reads in that cell, without ``=``; None for a constant. Raises `FormulaSyntaxError`."""
        formula = self.formula(cell)
        if formula is None:
            return None
        if formula.data_table:
            return _table_call(formula.data_table)
        if formula.kind != "shared" or (formula.row, formula.column) == (cell.row, cell.column):
            return formula.text
        from ultramc.parser import parse
        from ultramc.syntax import format_formula

        return format_formula(parse(formula.text, formula.row, formula.column), cell.row, cell.column)

    def with_formulas(self, texts: Mapping[CellRef, str]) -> Workbook:
        """The same workbook with other formulas in some cells, which keep their saved values. Texts are without ``=``."""
        changed: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(Workbook)}
        changed["sheets"] = tuple(_with_formulas(sheet, texts) for sheet in self.sheets)
        other: Workbook = object.__new__(Workbook)
        other.__attrs_init__(*changed.values())
        return other

    def number_format(self, cell: CellRef) -> str:
        """The format code, such as ``0.00%``."""
        format_id = self.sheet(cell.sheet).styles.get((cell.row, cell.column), 0)
        return self._formats.get(format_id) or BUILTIN_FORMATS.get(format_id, "General")

    def label(self, cell: CellRef) -> str:
        """The nearest text to the left in the row, else above in the column, else ""."""
        sheet = self.sheet(cell.sheet)
        by_row, by_column = sheet.texts
        column = _last_before(by_row.get(cell.row, []), cell.column)
        row = _last_before(by_column.get(cell.column, []), cell.row)
        key = (cell.row, column) if column else (row, cell.column)
        return _one_line(sheet.values.get(key))

    def cells(self, reference: str | CellRef | RangeRef) -> CellList:
        """The cells of a reference that are not blank; a single cell in any case. Raises `ReferenceNotFound`."""
        area = self.resolve(reference)
        return self.listed([area.first] if area.size == 1 else self._stored(area))

    def find(self, text: str) -> CellList:
        """The cells that a label or a defined name containing `text` points at, 1,000 at most; case does not matter.

        A label points at what follows it in its row up to the next text; else at what stands below it, up to the next text;
        else, past a text such as a unit, at what follows that.
        """
        labelled = (cell for sheet in self.sheets for label in _labels(sheet, text.lower()) for cell in _labelled(sheet, label))
        return self.listed(dict.fromkeys(islice(chain(self._named(text.lower()), labelled), MAX_FOUND)))

    def __repr__(self) -> str:
        return "\n".join([self._heading(), *_aligned(self._overview())])

    def _repr_html_(self) -> str:
        return f"<b>{escape(self._heading())}</b>{_html_table((), self._overview())}"

    @cached_property
    def _sheet_by_name(self) -> dict[str, Sheet]:
        return {sheet.name.lower(): sheet for sheet in self.sheets}

    @cached_property
    def _name_by_scope(self) -> dict[tuple[str, str | None], DefinedName]:
        return {(name.name.lower(), name.sheet and name.sheet.lower()): name for name in self.names}

    @cached_property
    def _filtered_rows(self) -> dict[str, frozenset[int]]:
        areas = [(sheet.name, sheet.filtered) for sheet in self.sheets if sheet.filtered is not None]
        areas += [(table.sheet, table.area) for table in self.tables if table.filtered]
        rows: dict[str, set[int]] = {sheet.name: set() for sheet in self.sheets}
        for name, (top, _, bottom, _) in areas:
            rows[name].update(row for row in self.sheet(name).hidden_rows if top < row <= bottom)
        return {name: frozenset(found) for name, found in rows.items()}

    @cached_property
    def _table_by_name(self) -> dict[str, Table]:
        return {table.name.lower(): table for table in self.tables}

    def _area(self, text: str, sheet: str | None) -> RangeRef | None:
        """What a reference means, through names that refer to names."""
        for _ in range(MAX_ALIASES):
            found = self._address(text, sheet) or self._table_data(text)
            if found:
                return found
            prefix, rest = split_sheet(text)
            name = self.name(rest, prefix or sheet)
            if name is None:
                return None
            text, sheet = name.text, name.sheet
        return None

    def _address(self, text: str, sheet: str | None) -> RangeRef | None:
        prefix, rest = split_sheet(text)
        area = parse_area(rest)
        only = self.sheets[0].name if len(self.sheets) == 1 else ""
        found = self._sheet_by_name.get((prefix or sheet or only).lower())
        return RangeRef(found.name, *area) if area and found else None

    def _table_data(self, text: str) -> RangeRef | None:
        match = _TABLE.fullmatch(text.strip())
        table = self.table(match[1]) if match else None
        if match is None or table is None:
            return None
        return table.data(match[2] and re.sub("'(.)", r"\1", match[2]))

    def _why_not(self, text: str, sheet: str | None) -> str:
        """The sentence that explains a reference without a meaning."""
        prefix, rest = split_sheet(text)
        if prefix and prefix.lower() not in self._sheet_by_name:
            return f"{text!r}: no sheet {prefix!r}. {_suggestion(prefix, [sheet.name for sheet in self.sheets])}"
        if parse_area(rest):
            return f"{text!r} names no sheet and there are {len(self.sheets)}. Write, for example, {str(self._example(rest))!r}"
        name = self.name(rest, prefix or sheet)
        if name:
            return f"the name {name.name!r} stands for ={name.text[:200]}, which is no single range. Give the cells you mean"
        scopes = [name.sheet for name in self.names if name.name.lower() == rest.lower() and name.sheet]
        if scopes:
            return f"the name {rest!r} belongs to a sheet. Write {quoted(scopes[0])}!{rest}"
        return f"{text!r} is no cell, defined name, table or Table[Column]. {_suggestion(rest, self._known())}"

    def _example(self, rest: str) -> str:
        return str(RangeRef(self.sheets[0].name, *(parse_area(rest) or (1, 1, 1, 1))))

    def _known(self) -> list[str]:
        columns = [f"{table.name}[{column}]" for table in self.tables for column in table.columns]
        return [*(name.name for name in self.names), *(table.name for table in self.tables), *columns]

    def _stored(self, area: RangeRef) -> Iterator[CellRef]:
        keys = self.sheet(area.sheet).keys((area.top, area.left, area.bottom, area.right))
        return (CellRef(area.sheet, *key) for key in keys)

    def _named(self, text: str) -> Iterator[CellRef]:
        for name in self.names:
            area = self._area(name.text, name.sheet) if text in name.name.lower() and not name.hidden else None
            if area:
                yield from self._stored(area)

    def candidate_outputs(self) -> CellList:
        """Formula cells that no formula reads, those that rest on most first."""
        from ultramc import candidates
        from ultramc.graph import Graph

        return candidates.outputs(self, Graph.of(self))

    def candidate_inputs(self, output: str | CellRef | RangeRef) -> CellList:
        """Numeric constants that reach a cell, the most influential first: each is moved by 1 %, one at a time."""
        from ultramc import candidates
        from ultramc.graph import Graph

        return candidates.inputs(self, Graph.of(self), self.resolve(output))

    def listed(self, cells: Iterable[CellRef]) -> CellList:
        """Cells with their labels, values and formulas."""
        return CellList(map(self._cell, cells))

    def _cell(self, cell: CellRef) -> Cell:
        return Cell(cell, self.label(cell), self.value(cell), self.number_format(cell), self._readable_formula(cell))

    def _readable_formula(self, cell: CellRef) -> str | None:
        """A list is worth more than an error about one of its formulas."""
        try:
            return self.formula_text(cell)
        except FormulaError as error:
            return f"{error.formula} (not readable: {error.reason})"

    def _heading(self) -> str:
        from ultramc.dialects import PLAIN, dialect_by_text

        cells, formulas = sum(len(sheet.values) for sheet in self.sheets), sum(len(sheet.formulas) for sheet in self.sheets)
        sizes = counted(len(self.sheets), "sheet"), f"{counted(cells, 'cell')} with values", counted(formulas, "formula")
        dialect = dialect_by_text(self).name
        return f"Workbook {self.file_name}: {', '.join(sizes)}{'' if dialect == PLAIN else f', dialect {dialect}'}"

    def _overview(self) -> list[tuple[str, ...]]:
        names = [name for name in self.names if not name.hidden and not name.name.startswith("_xlnm.")]
        return [
            *_shortened([("sheet", sheet.name, _used(sheet), counted(len(sheet.formulas), "formula")) for sheet in self.sheets], 20),
            *_shortened([("name", name.name, f"={name.text}", name.sheet or "") for name in names], 10),
            *_shortened(
                [("table", table.name, str(RangeRef(table.sheet, *table.area)), ", ".join(table.columns)) for table in self.tables], 10
            ),
            *_shortened([("warning", warning) for warning in self.warnings], 10),
        ]


class _Contents:
    """What the parts of a package say, before it becomes a `Workbook`."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.date1904 = False
        self.iterative: IterativeCalculation | None = None
        self.warnings: list[str] = []
        self.format_codes: dict[int, str] = {}
        self._sheet_rows: list[Attributes] = []
        self._name_rows: list[Element] = []
        main = package.main_part()
        self._relationships = {relationship.id: relationship for relationship in package.relationships(main)}
        self._read_main(main)
        self._warn()
        self.sheets, self.tables = self._read_sheets()
        self.names = tuple(self._name(row) for row in self._name_rows)

    def _read_main(self, part: str) -> None:
        readers = {
            "workbook/workbookPr": self._properties,
            "workbook/calcPr": self._calculation,
            "workbook/sheets/sheet": self._sheet_row,
            "workbook/definedNames/definedName": self._name_row,
        }
        for element in self.package.elements(part):
            read = readers.get(element.path)
            if read:
                read(element)

    def _properties(self, element: Element) -> None:
        self.date1904 = is_true(element.attributes, "date1904")

    def _calculation(self, element: Element) -> None:
        row = element.attributes
        if is_true(row, "iterate"):
            self.iterative = IterativeCalculation(int(self._number(row, "iterateCount", 100)), self._number(row, "iterateDelta", 0.001))
        if row.get("calcMode") == "manual":
            self.warnings.append("calculation is set to manual: the values that Excel cached may be out of date")
        if row.get("fullPrecision") in ("0", "false"):
            self.warnings.append("“precision as displayed” is set, which ultramc does not imitate: it calculates with full precision")

    def _sheet_row(self, element: Element) -> None:
        self._sheet_rows.append(element.attributes)
        self.package.limits.check("parts", len(self._sheet_rows), self.package.name)

    def _name_row(self, element: Element) -> None:
        self._name_rows.append(element)
        place = f"{self.package.name}, defined name {element.attributes.get('name', '')[:100]!r}"
        self.package.limits.check("names", len(self._name_rows), place)
        self.package.limits.check("formula_characters", len(element.text), place)

    def _name(self, element: Element) -> DefinedName:
        row = element.attributes
        scope = row.get("localSheetId")
        sheet = None if scope is None else self._scope(scope)
        return DefinedName(row.get("name", ""), sheet, formula_text(element.text), is_true(row, "hidden"))

    def _scope(self, index: str) -> str:
        """Sheets are counted with those that are not read, such as charts."""
        if not index.isdecimal() or len(index) > 9 or int(index) >= len(self._sheet_rows):
            raise self.package.damaged(f"a defined name belongs to sheet number {index[:40]!r}, which does not exist")
        return self._sheet_rows[int(index)].get("name", "")

    def _number(self, row: Attributes, name: str, default: float) -> float:
        try:
            return float(row.get(name, default))
        except ValueError:
            raise self.package.damaged(f"the calculation setting {name} is {row[name][:40]!r}, which is no number") from None

    def _warn(self) -> None:
        found = Counter(relationship.kind for relationship in self._relationships.values())
        self.warnings += [sentence.format(count=found[kind]) for kind, sentence in _LEFT_ALONE.items() if found[kind]]

    def _read_sheets(self) -> tuple[tuple[Sheet, ...], tuple[Table, ...]]:
        surroundings = Surroundings(self._strings(), self._styles(), self.date1904)
        sheets: list[Sheet] = []
        tables: list[Table] = []
        for row in self._sheet_rows:
            part = self._worksheet_part(row)
            if part:
                sheets.append(self._sheet(row, part, len(sheets), surroundings))
                tables += self._sheet_tables(part, sheets[-1].name)
        self._refuse_twins(sheets)
        return tuple(sheets), tuple(tables)

    def _worksheet_part(self, row: Attributes) -> str | None:
        """The part of a sheet with cells; None for charts, dialogs and macro sheets."""
        link = next((value for name, value in row.items() if name.endswith(":id")), "")
        if not link:  # a module sheet of Excel 5 macros
            self.warnings.append(f"sheet {row.get('name', '')!r} has no cells in the file and is left out")
            return None
        relationship = self._relationships.get(link)
        if relationship is None:
            raise self.package.damaged(f"sheet {row.get('name', '')!r} has no part")
        return relationship.target if relationship.kind == "worksheet" else None

    def _sheet(self, row: Attributes, part: str, index: int, surroundings: Surroundings) -> Sheet:
        name = row.get("name", "")
        cells = read_cells(self.package, part, name, surroundings)
        if cells.orphans:
            first = CellRef(name, *cells.orphans[0][0])
            self.warnings.append(
                f"{len(cells.orphans):,} cells have lost their shared formula; their cached values are used (first: {first})"
            )
        contents = (cells.values, cells.formulas, cells.covered, cells.styles, cells.bounds())
        return Sheet(name, index, _visibility(row), *contents, frozenset(cells.hidden_rows), cells.filtered)

    def _refuse_twins(self, sheets: Sequence[Sheet]) -> None:
        if not sheets:
            raise self.package.damaged("it has no worksheet")
        (name, count), *_ = Counter(sheet.name.lower() for sheet in sheets).most_common(1)
        if count > 1 or not name:
            raise self.package.damaged(f"{count} sheets are named {name!r}")

    def _strings(self) -> list[str]:
        part = self._part("sharedStrings")
        return list(self.package.limits.counted("shared_strings", _string_items(self.package, part), part)) if part else []

    def _styles(self) -> list[int]:
        """The number format id of each cell format."""
        part = self._part("styles")
        formats: list[int] = []
        for element in self.package.elements(part) if part else ():
            if element.path == "styleSheet/numFmts/numFmt":
                self.format_codes[_whole(element.attributes, "numFmtId")] = unescaped(element.attributes.get("formatCode", ""))
            elif element.path == "styleSheet/cellXfs/xf":
                formats.append(_whole(element.attributes, "numFmtId"))
            if max(len(formats), len(self.format_codes)) > MAX_FORMATS:
                raise self.package.damaged(f"it has more than {MAX_FORMATS:,} cell formats, Excel's own limit")
        return formats

    def _part(self, kind: str) -> str | None:
        targets = (relationship.target for relationship in self._relationships.values() if relationship.kind == kind)
        return next((target for target in targets if target in self.package), None)

    def _sheet_tables(self, part: str, sheet: str) -> list[Table]:
        targets = (relationship.target for relationship in self.package.relationships(part) if relationship.kind == "table")
        return [self._table(target, sheet) for target in targets]

    def _table(self, part: str, sheet: str) -> Table:
        columns: list[str] = []
        row: Attributes = {}
        filtered = False
        for element in self.package.elements(part):
            filtered |= element.path == "table/autoFilter/filterColumn"
            if len(columns) > MAX_COLUMN:
                raise self.package.damaged(f"part {part} describes a table with over {MAX_COLUMN:,} columns")
            if element.path == "table/tableColumns/tableColumn":
                columns.append(unescaped(element.attributes.get("name", "")))
            elif element.path == "table":
                row = element.attributes
        area = parse_area(row.get("ref", ""))
        name = row.get("displayName") or row.get("name", "")
        if area is None or not name:
            raise self.package.damaged(f"part {part} describes a table without name or range")
        return Table(name, sheet, area, tuple(columns), _whole(row, "headerRowCount", 1), _whole(row, "totalsRowCount", 0), filtered)


def _string_items(package: Package, part: str) -> Iterator[str]:
    pieces: list[str] = []
    for element in package.elements(part, "shared_string_bytes"):
        if element.path in ("sst/si/t", "sst/si/r/t"):  # phonetic guides, sst/si/rPh/t, are no part of the text
            pieces.append(element.text)
        elif element.path == "sst/si":
            yield unescaped("".join(pieces))
            pieces.clear()


def _visibility(row: Attributes) -> Literal["visible", "hidden", "veryHidden"]:
    state = row.get("state")
    return state if state in ("hidden", "veryHidden") else "visible"  # type: ignore[return-value]


def _whole(row: Attributes, name: str, default: int = 0) -> int:
    text = row.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else default


def _with_formulas(sheet: Sheet, texts: Mapping[CellRef, str]) -> Sheet:
    mine = {(cell.row, cell.column): Formula(text, cell.row, cell.column) for cell, text in texts.items() if cell.sheet == sheet.name}
    return evolve(sheet, formulas={**sheet.formulas, **mine}) if mine else sheet


def _table_call(table: DataTable) -> str:
    """As Excel shows it: TABLE(row input, column input)."""
    first, second = table.r1 or "", table.r2 or ""
    if not table.two_dimensional:
        first, second = (first, "") if table.row_input else ("", first)
    return f"TABLE({first},{second})"


def _last_before(places: list[int], place: int) -> int:
    index = bisect_left(places, place)
    return places[index - 1] if index else 0


def _first_after(places: list[int], place: int, end: int) -> int:
    index = bisect_right(places, place)
    return places[index] if index < len(places) else end + 1


def _labels(sheet: Sheet, text: str) -> Iterator[Key]:
    by_row, _ = sheet.texts
    keys = ((row, column) for row, columns in by_row.items() for column in columns)
    return (key for key in keys if text in str(sheet.values[key]).lower())


def _labelled(sheet: Sheet, label: Key) -> list[CellRef]:
    """See `Workbook.find`."""
    (row, column), (by_row, by_column) = label, sheet.texts
    *_, bottom, right = sheet.bounds or (0, 0, 0, 0)
    text_below = _first_after(by_column[column], row, bottom)
    text_right = _first_after(by_row[row], column, right)
    next_right = _first_after(by_row[row], text_right, right)
    areas = (row, column + 1, row, text_right - 1), (row + 1, column, text_below - 1, column), (row, text_right + 1, row, next_right - 1)
    runs = ([CellRef(sheet.name, *key) for key in islice(sheet.keys(area), MAX_FOUND)] for area in areas)
    return next((run for run in runs if run), [])


def _suggestion(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    lower = {each.lower(): each for each in islice(known, MAX_SUGGESTED)}
    close = [lower[match] for match in get_close_matches(name.lower()[:255], lower, n=3)]
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    some = ", ".join(map(repr, known[:10]))
    return f"There are: {some}{', …' if len(known) > 10 else ''}" if some else "The workbook has none"


def _row(cell: Cell) -> tuple[str, ...]:
    formula = "" if cell.formula is None else f"={_one_line(cell.formula)}"
    return str(cell.ref), _one_line(cell.label, 40), _one_line(cell.value, 30), _one_line(cell.number_format, 20), formula[:80]


def _one_line(value: Scalar, width: int = 160) -> str:
    text = " ".join(str(to_text(value)).split())
    printable = "".join(character if character.isprintable() else "�" for character in text[: width + 1])
    return printable if len(printable) <= width else printable[: width - 1] + "…"


def _used(sheet: Sheet) -> str:
    area = RangeRef(sheet.name, *sheet.bounds).a1 if sheet.bounds else "empty"
    return area if sheet.visibility == "visible" else f"{area} ({sheet.visibility})"


def _shortened(rows: list[tuple[str, ...]], count: int) -> list[tuple[str, ...]]:
    return rows if len(rows) <= count else [*rows[: count - 1], (rows[0][0], f"… {len(rows) - count + 1:,} more")]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    rows = [tuple(_one_line(text) for text in row) for row in rows]
    columns = max(map(len, rows), default=0)
    widths = [max((len(row[column]) for row in rows if column < len(row) - 1), default=0) for column in range(columns)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def _html_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "".join(f"<tr>{''.join(f'<td>{escape(_one_line(text))}</td>' for text in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


_CELL_HEADINGS = ("cell", "label", "value", "number format", "formula")
_TABLE = re.compile(r"([^\[\]!]+)(?:\[(.*)\])?", re.DOTALL)
_LEFT_ALONE = {
    "vbaProject": "macros are present; they are never read or run",
    "xlMacrosheet": "sheets with Excel 4 macros: {count}; they are not read",
    "externalLink": "links to other workbooks: {count}; they are never followed",
    "connections": "data connections are present; they are never opened",
}
BUILTIN_FORMATS = {  # ECMA-376 part 1, §18.8.30, spelled as Excel (United States) does
    0: "General",
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    5: '"$"#,##0_);("$"#,##0)',
    6: '"$"#,##0_);[Red]("$"#,##0)',
    7: '"$"#,##0.00_);("$"#,##0.00)',
    8: '"$"#,##0.00_);[Red]("$"#,##0.00)',
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    14: "mm-dd-yy",
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: "m/d/yy h:mm",
    37: "#,##0_);(#,##0)",
    38: "#,##0_);[Red](#,##0)",
    39: "#,##0.00_);(#,##0.00)",
    40: "#,##0.00_);[Red](#,##0.00)",
    41: '_(* #,##0_);_(* \\(#,##0\\);_(* "-"_);_(@_)',
    42: '_("$"* #,##0_);_("$"* \\(#,##0\\);_("$"* "-"_);_(@_)',
    43: '_(* #,##0.00_);_(* \\(#,##0.00\\);_(* "-"??_);_(@_)',
    44: '_("$"* #,##0.00_);_("$"* \\(#,##0.00\\);_("$"* "-"??_);_(@_)',
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mmss.0",
    48: "##0.0E+0",
    49: "@",
}
