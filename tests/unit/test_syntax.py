"""The formula tree: printing is undone by parsing; walking reaches everything, however deep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultramc.address import MAX_COLUMN, MAX_ROW
from ultramc.parser import parse
from ultramc.syntax import (
    BINARY,
    REFERENCE_OPERATORS,
    TABLE_ITEMS,
    ArrayConstant,
    Axis,
    Binary,
    Boolean,
    Call,
    ErrorLiteral,
    Implicit,
    Invoke,
    Missing,
    Name,
    Node,
    Number,
    Percent,
    Reference,
    SheetSpan,
    Spill,
    StructuredReference,
    Text,
    Unary,
    children,
    equivalent,
    fold,
    format_formula,
    ordered,
    spanned,
    walk,
)
from ultramc.values import ERRORS, ExcelError

ROW, COLUMN = 500, 300

# ------------------------------------------------------------------------------------------- trees at random

PRINTABLE = st.characters(codec="utf-8", exclude_characters="\0")
SHEET_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0[]:*?/\\"), min_size=1, max_size=8)
SPANS = st.one_of(
    st.builds(SheetSpan, st.sampled_from([None, "[1]", "[Book 1.xlsx]", "C:\\it's\\[b.xlsx]"]), SHEET_NAMES, st.none() | SHEET_NAMES),
    st.just(SheetSpan("[2]", None)),
)
SHEETS = st.none() | SPANS
NAMES = st.sampled_from(["x", "AB", "growth", "_rate", "\\tax", "umsatz.größe", "XFE1", "ราคา", "what?"])
NUMBERS = st.floats(min_value=0, allow_infinity=False, allow_subnormal=True)
VALUES = st.text(PRINTABLE, max_size=8)


def axes(limit: int) -> st.SearchStrategy[Axis]:
    return st.builds(Axis, st.integers(1, limit), st.just(True)) | st.builds(Axis, st.integers(-200, 200), st.just(False))


ROWS, COLUMNS = axes(MAX_ROW), axes(MAX_COLUMN)
CELLS = st.builds(lambda sheets, row, column: Reference(sheets, row, column, row, column, single=True), SHEETS, ROWS, COLUMNS)


def rectangle(sheets: SheetSpan | None, rows: tuple[Axis, Axis], columns: tuple[Axis, Axis]) -> Reference:
    (top, bottom), (left, right) = ordered(*rows), ordered(*columns)
    return Reference(sheets, top, left, bottom, right)


RECTANGLES = st.builds(rectangle, SHEETS, st.tuples(ROWS, ROWS), st.tuples(COLUMNS, COLUMNS))
ALL_ROWS, ALL_COLUMNS = (Axis(1, True), Axis(MAX_ROW, True)), (Axis(1, True), Axis(MAX_COLUMN, True))
WHOLE_ROWS = st.builds(rectangle, SHEETS, st.tuples(ROWS, ROWS), st.just(ALL_COLUMNS))
WHOLE_COLUMNS = st.builds(rectangle, SHEETS, st.just(ALL_ROWS), st.tuples(COLUMNS, COLUMNS))


def whole(kind: str, area: Reference) -> Reference:
    return Reference(area.sheets, area.top, area.left, area.bottom, area.right, whole=kind)


COLUMN_NAMES = st.text(PRINTABLE, min_size=1, max_size=6)
TABLE_PARTS = st.builds(
    lambda table, items, columns, sheets: StructuredReference(table, tuple(items), *columns, sheets),
    st.sampled_from(["Sales", "_t.1"]) | st.none(),
    st.lists(st.sampled_from(TABLE_ITEMS), max_size=2, unique=True),
    st.sampled_from([(None, None)]) | st.tuples(COLUMN_NAMES, st.none() | COLUMN_NAMES),
    st.none(),
)
REFERENCES = st.one_of(
    CELLS,
    RECTANGLES,
    WHOLE_ROWS.map(lambda area: whole("rows", area)),
    WHOLE_COLUMNS.map(lambda area: whole("columns", area)),
    st.builds(Name, NAMES, SHEETS),
    TABLE_PARTS,
    st.just(ErrorLiteral(ExcelError.REF)),
)
SCALARS = st.one_of(NUMBERS, NUMBERS.map(lambda value: -value), st.booleans(), VALUES, st.sampled_from(ERRORS))
ARRAYS = (
    st.integers(1, 3)
    .flatmap(lambda width: st.lists(st.tuples(*[SCALARS] * width), min_size=1, max_size=3))
    .map(lambda rows: ArrayConstant(tuple(rows)))
)
CONSTANTS = st.one_of(NUMBERS.map(Number), VALUES.map(Text), st.booleans().map(Boolean), st.sampled_from(ERRORS).map(ErrorLiteral), ARRAYS)


def arguments_of(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[tuple[Node, ...]]:
    """``F()`` has no argument, so that a single missing one cannot be written."""
    return st.lists(nodes | st.just(Missing()), max_size=3).map(tuple).filter(lambda arguments: arguments != (Missing(),))


def joined(symbol: str, left: Node, right: Node) -> Node:
    return spanned(left, right) if symbol == ":" else Binary(symbol, left, right)


def larger_references(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.one_of(
        st.builds(joined, st.sampled_from(REFERENCE_OPERATORS), nodes, nodes),
        st.builds(Spill, nodes),
        st.builds(Implicit, nodes),
        st.builds(Call, st.sampled_from(["INDEX", "LOG10", "F.X", "_F"]), arguments_of(nodes), st.sampled_from(["", "_xll.", "[1]!"])),
        st.builds(Invoke, nodes, arguments_of(nodes)),
    )


def larger(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.one_of(
        st.builds(Binary, st.sampled_from([symbol for symbol in BINARY if symbol not in REFERENCE_OPERATORS]), nodes, nodes),
        st.builds(Unary, st.sampled_from("+-"), nodes),
        st.builds(Percent, nodes),
        st.builds(Implicit, nodes),
        st.builds(Call, st.sampled_from(["SUM", "IF"]), arguments_of(nodes)),
        st.builds(Invoke, nodes, arguments_of(nodes)),
    )


# Functions without arguments have short names; Hypothesis warns against the spelled-out ones, which take a hundred kilobytes.
@st.composite
def references(draw: st.DrawFn) -> Node:
    return draw(REFERENCES)


@st.composite
def constants(draw: st.DrawFn) -> Node:
    return draw(CONSTANTS)


@st.composite
def trees(draw: st.DrawFn) -> Node:
    return draw(st.recursive(constants() | st.recursive(references(), larger_references, max_leaves=5), larger, max_leaves=8))


@given(trees())
def test_parsing_undoes_printing(tree: Node) -> None:
    text = format_formula(tree, ROW, COLUMN)
    assert equivalent(parse(text, ROW, COLUMN), tree), text


# ------------------------------------------------------------------------------------------- printing, by hand


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("((A1+(B1*2)))", "A1+B1*2"),
        ("(A1+B1)*2", "(A1+B1)*2"),
        ("A1-(B1-C1)", "A1-(B1-C1)"),
        ("(A1-B1)-C1", "A1-B1-C1"),
        ("A1^(B1^C1)", "A1^(B1^C1)"),
        ("-(A1^2)", "-(A1^2)"),
        ("(-A1)^2", "-A1^2"),
        ("(A1%)%", "A1%%"),
        ("-(A1%)", "-(A1%)"),
        ("SUM(-(A1,B1),C1)", "SUM(-(A1,B1),C1)"),
        ("SUM((A1,B1,C1))", "SUM((A1,B1,C1))"),
        ("(A1,(B1,C1))", "A1,(B1,C1)"),
        ("(@A1):B1", "(@A1):B1"),
        ("@(A1:B1)", "@A1:B1"),
        ("@(A1+B1)", "@(A1+B1)"),
        ("(x):(y)", "(x):(y)"),
        ("(A1,B1) (C1)", "(A1,B1) C1"),
        ('A1 & "x""y" = TRUE', 'A1&"x""y"=TRUE'),
        ("_xlfn.SINGLE(A1)", "@A1"),
        ("_xlfn.ANCHORARRAY(A1)", "A1#"),
        ("_xlfn.LAMBDA(_xlpm.x,_xlpm.x)(1)", "LAMBDA(x,x)(1)"),
        ("(rate)(1)", "(rate)(1)"),
        ("$b$2:a1", "$B$2:A1"),
        ("1e21+0.1+1e15+123456789012345", "1E+21+0.1+1000000000000000+123456789012345"),
        ("'Plain'!A1+'A1'!A1+'a b'!A1+'it''s'!A1", "Plain!A1+'A1'!A1+'a b'!A1+'it''s'!A1"),
        ("[1]S!A1+'[1]a b'!A1+[1]!n+'C:\\p\\[b.xlsx]S'!A1", "[1]S!A1+'[1]a b'!A1+[1]!n+'C:\\p\\[b.xlsx]S'!A1"),
        ("Jan:Mar!A1+'Q1:Q4'!A1", "Jan:Mar!A1+'Q1:Q4'!A1"),
        ("T[[a]]+T[[a b]:[c']]]+T[@]+T[['#x]]", "T[a]+T[[a b]:[c']]]+T[[#This Row]]+T[['#x]]"),
        ('{1,-2;"a",#n/a}', '{1,-2;"a",#N/A}'),
    ],
)
def test_printing_is_minimal_and_sufficient(text: str, printed: str) -> None:
    assert format_formula(parse(text, 1, 1), 1, 1) == printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("B2", "#REF!"),
        ("B2+$A$1", "#REF!+$A$1"),
        ("Sheet1!B2:C3", "#REF!"),
        ("SUM(B2:INDEX(C3,1))", "SUM(#REF!:INDEX(A1,1))"),
        ("2:2", "#REF!"),
        ("B:B", "#REF!"),
        ("$B$2:C3", "$B$2:A1"),
    ],
)
def test_what_falls_off_the_sheet_prints_as_an_error(text: str, printed: str) -> None:
    assert format_formula(parse(text, 3, 3), 1, 1) == printed


def test_the_last_cell_stays_on_the_sheet() -> None:
    tree = parse("B2", 1, 1)
    assert format_formula(tree, MAX_ROW - 1, MAX_COLUMN - 1) == "XFD1048576"
    assert format_formula(tree, MAX_ROW, 1) == format_formula(tree, 1, MAX_COLUMN) == "#REF!"


R1C1 = [
    ("A1+$B$2", "R[-2]C[-2]+R2C2"),
    ("C3", "RC"),
    ("A:$B", "C[-2]:C2"),
    ("2:$3", "R[-1]:R3"),
    ("B2:C$4", "R[-1]C[-1]:R4C"),
    ("SUM(S!B3)", "SUM(S!RC[-1])"),
]


@pytest.mark.parametrize(("text", "r1c1"), R1C1)
def test_a_compound_node_shows_itself_in_r1c1_form(text: str, r1c1: str) -> None:
    assert repr(Unary("-", parse(f"F({text})", 3, 3))) == f"<Unary -F({r1c1})>"


# -------------------------------------------------------------------------------------------------- structure


def test_areas_are_in_order_at_every_cell() -> None:
    mixed = parse("$B$5:C3", 4, 4)
    assert isinstance(mixed, Reference)
    assert mixed.area(4, 4) == (3, 2, 5, 3)
    assert mixed.area(9, 1) is None
    assert mixed.area(9, 4) == (5, 2, 8, 3)


def test_children_walk_and_fold_go_left_to_right() -> None:
    tree = parse("IF(1=2,-3,4%)(5)", 1, 1)
    assert [child.value for child in walk(tree) if isinstance(child, Number)] == [1, 2, 3, 4, 5]
    assert [type(node) for node in walk(tree)] == [Invoke, Call, Binary, Number, Number, Unary, Number, Percent, Number, Number]
    assert len(children(tree)) == 2
    assert fold(tree, lambda node, parts: str(int(node.value)) if isinstance(node, Number) else "".join(parts)) == "12345"


CALLS = [
    "F(1,2)",
    "F(1)",
    "F(1)+0",
    "G(1,2)",
    "F(1,3)",
    "F(1,TRUE)",
    'F(1,"2")',
    "_xll.F(1,2)",
    "F(,)",
    "F()",
    "f(1)(2)",
    "f(2)(1)",
    "F(F(1),2)",
    "F(F(1,2))",
]
OPERATIONS = ["1-2", "1+2", "2+1", "-1", "+1", "1%", "@A1", "A1#"]
LEAVES = ["A1", "A1:A1", "$A1", "S!A1", "A:A", "1:1", "{1}", "{TRUE}", "{1,1}", "{1;1}", "x", "S!x", "T[x]", "T[@x]"]
ALTERNATIVES = CALLS + OPERATIONS + LEAVES


@pytest.mark.parametrize("a", ALTERNATIVES)
def test_equivalence_tells_trees_apart(a: str) -> None:
    tree = parse(a, 1, 1)
    assert [b for b in ALTERNATIVES if equivalent(tree, parse(b, 1, 1))] == [a]
    assert equivalent(tree, parse(f" ({a}) ", 1, 1))


def test_equivalence_of_deep_trees() -> None:
    deep, other = parse("-" * 9000 + "1", 1, 1), parse("-" * 9000 + "2", 1, 1)
    assert equivalent(deep, deep)
    assert not equivalent(deep, other)
