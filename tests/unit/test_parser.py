"""Formula text → tree: precedence and forms as Excel documents them, shifting as openpyxl's Translator does it."""

from __future__ import annotations

import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.formula.translate import Translator

from ultramc.address import MAX_COLUMN, MAX_ROW, CellRef
from ultramc.errors import FormulaSyntaxError
from ultramc.parser import MAX_NESTING, parse, relative_key
from ultramc.syntax import (
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
    equivalent,
    fold,
    format_formula,
    walk,
)
from ultramc.values import ERRORS, ExcelError, to_text

ROW, COLUMN = 10, 5


def tree(text: str) -> Node:
    return parse(text, ROW, COLUMN)


def cell(row: int, column: int, sheets: SheetSpan | None = None) -> Reference:
    """The cell in `row` and `column` as a formula in E10 refers to it without ``$``."""
    return area(row, column, row, column, sheets, single=True)


def area(top: int, left: int, bottom: int, right: int, sheets: SheetSpan | None = None, single: bool = False) -> Reference:
    rows = (Axis(row - ROW, False) for row in (top, bottom))
    columns = (Axis(column - COLUMN, False) for column in (left, right))
    (first_row, last_row), (first_column, last_column) = rows, columns
    return Reference(sheets, first_row, first_column, last_row, last_column, single=single)


A1, B1, C3 = cell(1, 1), cell(1, 2), cell(3, 3)
A1_B2, B1_C3 = area(1, 1, 2, 2), area(1, 2, 3, 3)

# ------------------------------------------------------------------------------------------------ precedence

ARITHMETIC = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "&": lambda left, right: to_text(left) + to_text(right),
}


def value_of(node: Node, operands: list[object]) -> object:
    """What constants and operators come to."""
    match node:
        case Binary():
            return ARITHMETIC[node.operator](*operands)
        case Unary():
            return -operands[0] if node.operator == "-" else operands[0]
        case Percent():
            return operands[0] / 100
    return node.value


@pytest.mark.parametrize(
    ("text", "value"),  # the values that Excel shows
    [
        ("-2^2", 4),
        ("0-2^2", -4),
        ("2^3^2", 64),
        ("2^-1", 0.5),
        ("2^-1^2", 0.25),
        ("50%^2", 0.25),
        ("2^50%", 2**0.5),
        ("-50%", -0.5),
        ("5%%", 0.0005),
        ("--3", 3),
        ("-+-3", 3),
        ("+3", 3),
        ("10-2-3", 5),
        ("100/10/2", 5),
        ("2*3^2", 18),
        ("1+2*3", 7),
        ("(1+2)*3", 9),
        ("6/2*3", 9),
        ("200*10%", 20),
        ("1+2&3+4", "37"),
        ('"1"&2="12"', True),
        ("1&2=12", False),
        ("1+1=2", True),
        ("3>2=TRUE", True),
        ("1<>2", True),
        ("2<=2", True),
        ("2>=3", False),
        ("1--1", 2),
        ("2*-3", -6),
        ("1 +\n 2", 3),
    ],
)
def test_operators_bind_as_in_excel(text: str, value: object) -> None:
    assert fold(tree(text), value_of) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A1:B2 B1:C3", Binary(" ", A1_B2, B1_C3)),
        ("A1:B2  B1 : C3", Binary(" ", A1_B2, B1_C3)),
        ("A1 (B1)", Binary(" ", A1, B1)),
        ("SUM((A1,B1))", Call("SUM", (Binary(",", A1, B1),))),
        ("SUM((A1,B1,C3),C3)", Call("SUM", (Binary(",", Binary(",", A1, B1), C3), C3))),
        ("A1,B1 C3", Binary(",", A1, Binary(" ", B1, C3))),
        ("-A1:B2", Unary("-", A1_B2)),
        ("-A1%", Percent(Unary("-", A1))),
        ("A1 -B1", Binary("-", A1, B1)),
        ("@A1:B2*2", Binary("*", Implicit(A1_B2), Number(2.0))),
        ("-@A1", Unary("-", Implicit(A1))),
        ("A1 @B1", Binary(" ", A1, Implicit(B1))),
        ("A1#", Spill(A1)),
        ("-A1#*2", Binary("*", Unary("-", Spill(A1)), Number(2.0))),
        ("A1#:B1#", Binary(":", Spill(A1), Spill(B1))),
        ("(A1:B2)#", Spill(A1_B2)),
        ("@A1#", Implicit(Spill(A1))),
        ("A1:B2:C3", Binary(":", A1_B2, C3)),
        ("A1:INDEX(B1,1)", Binary(":", A1, Call("INDEX", (B1, Number(1.0))))),
        ("INDEX(B1,1):INDEX(C3,1)", Binary(":", Call("INDEX", (B1, Number(1.0))), Call("INDEX", (C3, Number(1.0))))),
        ("OFFSET(A1,1,1):A1", Binary(":", Call("OFFSET", (A1, Number(1.0), Number(1.0))), A1)),
        ("(A1):(B2)", A1_B2),
        ("start:A1", Binary(":", Name("start"), A1)),
    ],
)
def test_reference_operators(text: str, expected: Node) -> None:
    assert equivalent(tree(text), expected), tree(text)


# ------------------------------------------------------------------------------------------- calls and names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TRUE()", Call("TRUE", ())),
        ("PI( )", Call("PI", ())),
        ("IF(A1,,)", Call("IF", (A1, Missing(), Missing()))),
        ("IF(A1, ,B1)", Call("IF", (A1, Missing(), B1))),
        ("f(,)", Call("F", (Missing(), Missing()))),
        ("sum(A1)", Call("SUM", (A1,))),
        ("LOG10(A1)", Call("LOG10", (A1,))),
        ("DAYS360(A1,B1)", Call("DAYS360", (A1, B1))),
        ("T.TEST(A1)", Call("T.TEST", (A1,))),
        ("_my\\fn.2(A1)", Call("_MY\\FN.2", (A1,))),
        ("_xlfn.STDEV.S(A1)", Call("STDEV.S", (A1,))),
        ("_xlfn._xlws.SORT(A1)", Call("SORT", (A1,))),
        ("_xlws.FILTER(A1)", Call("FILTER", (A1,))),
        ("_xll.RiskNormal(0,1)", Call("RISKNORMAL", (Number(0.0), Number(1.0)), "_xll.")),
        ("[1]!Tax(A1)", Call("TAX", (A1,), "[1]!")),
        ("_xlfn.SINGLE(A1:B2)", Implicit(A1_B2)),
        ("_xlfn.SINGLE(A1*2)", Implicit(Binary("*", A1, Number(2.0)))),
        ("_xlfn.ANCHORARRAY(A1)", Spill(A1)),
        ("_xlfn.LAMBDA(_xlpm.x,_xlpm.x+1)(3)", Invoke(Call("LAMBDA", (Name("x"), Binary("+", Name("x"), Number(1.0)))), (Number(3.0),))),
        ("(make)(1)(2)", Invoke(Invoke(Name("make"), (Number(1.0),)), (Number(2.0),))),
        ("_xlfn.LAMBDA(_xlop.x,1)()", Invoke(Call("LAMBDA", (StructuredReference(None, first="x"), Number(1.0))), ())),
        ("_xlfn.BYROW(A1,_xleta.SUM)", Call("BYROW", (A1, Name("SUM")))),
        ("SUM(A1 , B1)", Call("SUM", (A1, B1))),
    ],
)
def test_calls(text: str, expected: Node) -> None:
    assert equivalent(tree(text), expected), tree(text)


NAMES = ["growth", "_x", "\\tax", "rate.2024?", "Umsatz_Größe", "売上高", "ยอดขายปี", "लाभ"]
NO_CELLS = ["XFE1", "A1048577", "A0", "ABCD1", "TRUES", "A1.x"]


@pytest.mark.parametrize("text", NAMES + NO_CELLS)
def test_names(text: str) -> None:
    assert tree(text) == Name(text)


# -------------------------------------------------------------------------------------------------- literals


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", Number(1.0)),
        ("1.5", Number(1.5)),
        (".5", Number(0.5)),
        ("1.", Number(1.0)),
        ("1E5", Number(1e5)),
        ("1e-3", Number(0.001)),
        ("1.5E+300", Number(1.5e300)),
        ("TRUE", Boolean(True)),
        ("false", Boolean(False)),
        ('""', Text("")),
        ('"a ""quoted"" A1"', Text('a "quoted" A1')),
        ('"two\nlines"', Text("two\nlines")),
        ("{1}", ArrayConstant(((1.0,),))),
        ('{1,-2.5;"a;}""",TRUE}', ArrayConstant(((1.0, -2.5), ('a;}"', True)))),
        ("{ +1 ; #N/A }", ArrayConstant(((1.0,), (ExcelError.NA,)))),
        ("{true,1}", ArrayConstant(((True, 1.0),))),
    ],
)
def test_literals(text: str, expected: Node) -> None:
    assert tree(text) == expected


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_error_literals(error: ExcelError) -> None:
    assert tree(error.value) == tree(error.value.lower()) == ErrorLiteral(error)


# ------------------------------------------------------------------------------------------------ references


def absolute(value: int) -> Axis:
    return Axis(value, True)


def relative(distance: int) -> Axis:
    return Axis(distance, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A1", Reference(None, relative(-9), relative(-4), relative(-9), relative(-4), single=True)),
        ("$a$1", Reference(None, absolute(1), absolute(1), absolute(1), absolute(1), single=True)),
        ("$A1", Reference(None, relative(-9), absolute(1), relative(-9), absolute(1), single=True)),
        ("XFD$9", Reference(None, absolute(9), relative(MAX_COLUMN - 5), absolute(9), relative(MAX_COLUMN - 5), single=True)),
        ("$A1048576", Reference(None, relative(MAX_ROW - 10), absolute(1), relative(MAX_ROW - 10), absolute(1), single=True)),
        ("A1:A1", area(1, 1, 1, 1)),
        ("B9:A1", area(1, 1, 9, 2)),
        ("B$9:A$1", Reference(None, absolute(1), relative(-4), absolute(9), relative(-3))),
        ("$B9:A1", Reference(None, relative(-9), absolute(2), relative(-1), relative(-4))),
        ("A:C", Reference(None, absolute(1), relative(-4), absolute(MAX_ROW), relative(-2), "columns")),
        ("$C:A", Reference(None, absolute(1), absolute(3), absolute(MAX_ROW), relative(-4), "columns")),
        ("C:A", Reference(None, absolute(1), relative(-4), absolute(MAX_ROW), relative(-2), "columns")),
        ("1:3", Reference(None, relative(-9), absolute(1), relative(-7), absolute(MAX_COLUMN), "rows")),
        ("$3:$1", Reference(None, absolute(1), absolute(1), absolute(3), absolute(MAX_COLUMN), "rows")),
        ("Sheet1!A1:B2", area(1, 1, 2, 2, SheetSpan(None, "Sheet1"))),
        ("Sheet1!A1:Sheet1!B2", area(1, 1, 2, 2, SheetSpan(None, "Sheet1"))),
        ("'Anna''s plan'!A1", cell(1, 1, SheetSpan(None, "Anna's plan"))),
        ("'2024'!A1", cell(1, 1, SheetSpan(None, "2024"))),
        ("2024!A1", cell(1, 1, SheetSpan(None, "2024"))),
        ("Größe!A1", cell(1, 1, SheetSpan(None, "Größe"))),
        ("Jan:Mar!A1", cell(1, 1, SheetSpan(None, "Jan", "Mar"))),
        ("'Q1 a:Q4 b'!A1", cell(1, 1, SheetSpan(None, "Q1 a", "Q4 b"))),
        ("[1]Sheet1!A1", cell(1, 1, SheetSpan("[1]", "Sheet1"))),
        ("[1]Jan:Mar!A1", cell(1, 1, SheetSpan("[1]", "Jan", "Mar"))),
        ("'C:\\plans\\[Book 1.xlsx]My sheet'!A1", cell(1, 1, SheetSpan("C:\\plans\\[Book 1.xlsx]", "My sheet"))),
        ("'C:\\a]b\\[c.xlsx]S'!A1", cell(1, 1, SheetSpan("C:\\a]b\\[c.xlsx]", "S"))),
        ("'https://host/[b.xlsx]S'!A1", cell(1, 1, SheetSpan("https://host/[b.xlsx]", "S"))),
        ("[1]!Rate", Name("Rate", SheetSpan("[1]", None))),
        ("'C:\\plans\\b.xlsx'!Rate", Name("Rate", SheetSpan("C:\\plans\\b.xlsx", None))),
        ("Sheet1!Rate", Name("Rate", SheetSpan(None, "Sheet1"))),
        ("Sheet1!TRUE", Name("TRUE", SheetSpan(None, "Sheet1"))),
        ("#REF!", ErrorLiteral(ExcelError.REF)),
        ("#REF!A1", ErrorLiteral(ExcelError.REF)),
        ("#REF!Rate", ErrorLiteral(ExcelError.REF)),
        ("Sheet1!#REF!", ErrorLiteral(ExcelError.REF)),
        ("'My sheet'!#REF!", ErrorLiteral(ExcelError.REF)),
        ("#REF!:B1", Binary(":", ErrorLiteral(ExcelError.REF), B1)),
        ("#REF!$A$1:B1", Binary(":", ErrorLiteral(ExcelError.REF), B1)),
        ("Sheet1!A1:Sheet2!B1", Binary(":", cell(1, 1, SheetSpan(None, "Sheet1")), cell(1, 2, SheetSpan(None, "Sheet2")))),
    ],
)
def test_references(text: str, expected: Node) -> None:
    assert equivalent(tree(text), expected), tree(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sales[]", StructuredReference("Sales")),
        ("Sales[Net price]", StructuredReference("Sales", first="Net price")),
        ("Sales[[Net price]]", StructuredReference("Sales", first="Net price")),
        ("Sales[[a]:[b]]", StructuredReference("Sales", first="a", last="b")),
        ("Sales[#All]", StructuredReference("Sales", ("#All",))),
        ("Sales[[#headers],[#Data],[a]]", StructuredReference("Sales", ("#Headers", "#Data"), "a")),
        ("Sales[ [#This Row] , [a] : [b] ]", StructuredReference("Sales", ("#This Row",), "a", "b")),
        ("Sales[@]", StructuredReference("Sales", ("#This Row",))),
        ("Sales[@a]", StructuredReference("Sales", ("#This Row",), "a")),
        ("Sales[@[a b]:[c]]", StructuredReference("Sales", ("#This Row",), "a b", "c")),
        ("[@a]", StructuredReference(None, ("#This Row",), "a")),
        ("[@[a b]]", StructuredReference(None, ("#This Row",), "a b")),
        ("[a]", StructuredReference(None, (), "a")),
        ("Sales['#Items '[kg']]", StructuredReference("Sales", (), "#Items [kg]")),
        ("Sales[['@ home]:[Anna''s]]", StructuredReference("Sales", (), "@ home", "Anna's")),
        ("Sales[A1]", StructuredReference("Sales", (), "A1")),
        ("[1]!Sales[a]", StructuredReference("Sales", (), "a", None, SheetSpan("[1]", None))),
    ],
)
def test_structured_references(text: str, expected: StructuredReference) -> None:
    assert tree(text) == expected


# ---------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("text", "expected", "found", "character"),
    [
        ("", "a value", "the end of the formula", 1),
        ("A1+", "a value", "the end of the formula", 4),
        ("$A$100+*2", "a value", "'*'", 8),
        ("SUM(A1,B1", "')'", "the end of the formula", 10),
        ("SUM(-)", "a value", "')'", 6),
        ("SUM(A1+,2)", "a value", "','", 8),
        ("()", "a value", "')'", 2),
        ("(A1))", "an operator or the end", "')'", 5),
        ("1 2", "an operator", "'2'", 3),
        ("A1B C$2 3", "an operator", "'3'", 9),
        ("A1;B1", "an operator", "';'", 3),
        ("A1:5", "references on both sides of ':'", "':'", 3),
        ("(A1,5)", "references on both sides of the union", "','", 4),
        ("5#", "'#' only after a reference", "'#'", 2),
        ("1E999", "a number below", "'1E999'", 1),
        ("{1,2;3}", "rows of equal length", "'{'", 1),
        ("{1,A1}", "an array constant of numbers", "'{'", 1),
        ("{}", "an array constant of numbers", "'{'", 1),
        ("{1,2", "ends in '}'", "'{'", 1),
        ('A1&"x', "ends in a quotation mark", "'\"'", 4),
        ("'Sheet 1", "a quoted sheet name", '"\'"', 1),
        ("Sheet1! A1", "a reference or a name after the sheet", "' '", 8),
        ("Sheet1!5", "a reference or a name after the sheet", "'5'", 8),
        ("Sheet1!#N/A", "a reference or a name after the sheet", "'#'", 8),
        ("Sales[a", "']'", "'Sales'", 1),
        ("1+Sales[#Foo]", "a structured reference such as", "'Sales'", 3),
        ("1+\0", "without NUL", r"'\x00'", 3),
        ("=1", "a value", "'='", 1),
    ],
)
def test_what_is_no_formula_is_refused_with_its_place(text: str, expected: str, found: str, character: int) -> None:
    with pytest.raises(FormulaSyntaxError) as caught:
        tree(text)
    assert f"expected {expected}" in str(caught.value) or expected in str(caught.value)
    assert f"found {found} at character {character}" in str(caught.value)
    assert caught.value.formula == text


# ----------------------------------------------------------------------------------------------------- depth


TOO_DEEP = {
    "parentheses": "(" * 4000 + "1" + ")" * 4000,
    "calls": "SUM(" * 4000 + "1" + ")" * 4000,
    "both": "SUM((" * 2000,
    "one": "(" * 257 + "1" + ")" * 257,
}


@pytest.mark.parametrize("text", TOO_DEEP.values(), ids=TOO_DEEP)
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(FormulaSyntaxError, match=f"at most {MAX_NESTING} levels"):
        tree(text)


@pytest.mark.parametrize("opening", ["(", "SUM("])
def test_nesting_within_the_limit(opening: str) -> None:
    text = opening * MAX_NESTING + "1" + ")" * MAX_NESTING
    assert sum(isinstance(node, Call) for node in walk(tree(text))) == (MAX_NESTING if opening == "SUM(" else 0)


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("-" * 8000 + "1", 8001),
        ("@" * 8000 + "A1", 8001),
        ("1" + "%" * 8000, 8001),
        ("A1" + "#" * 8000, 8001),
        ("+".join(["A1"] * 4000), 7999),
        ("^".join(["2"] * 4000), 7999),
        (" ".join(["A1"] * 4000), 7999),
        (",".join(["A1"] * 4000), 7999),
        ("f" + "(1)" * 4000, 8000),
    ],
    ids=["-", "@", "%", "#", "+", "^", "blank", "union", "calls"],
)
def test_long_chains_parse_and_print(text: str, nodes: int) -> None:
    node = tree(text)
    assert len(list(walk(node))) == nodes
    assert format_formula(node, ROW, COLUMN).upper() == text.upper()
    assert repr(node)


HOSTILE = [*(character * 8191 for character in "\"'[{$#(\\"), "[[" + "[]" * 4000, "A" + " " * 8000, "a:" * 4000, "T[" + "[#All]" * 1300]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_ends_soon(text: str) -> None:
    try:
        tree(text)
    except FormulaSyntaxError as error:
        assert len(str(error)) < 600


# ------------------------------------------------------------------------------------- the same in R1C1 form

ADDRESSES = ["B$4", "$B4", "C5", "$D$6", "B2:C9", "D$3:$E9", "C:D", "3:4", "Sheet1!C3", "'A1 B2'!C3", "SUM(C4:D5)"]
OTHERS = ['"B2"', "LOG10(B3)", "Rate", "T1.x", "2.5E3"]
TEMPLATES = st.lists(st.sampled_from(ADDRESSES + OTHERS), min_size=1, max_size=6).map("+".join)
CELLS = st.tuples(st.integers(10, 60), st.integers(10, 60))


def moved(text: str, origin: tuple[int, int], destination: tuple[int, int]) -> str:
    """What Excel's copy and paste makes of a formula, by openpyxl."""
    addresses = [CellRef("", *place).a1 for place in (origin, destination)]
    translated: str = Translator(f"={text}", addresses[0]).translate_formula(addresses[1])
    return translated[1:]


@given(TEMPLATES, CELLS, CELLS)
def test_a_copied_formula_is_the_same_relative_formula(text: str, origin: tuple[int, int], destination: tuple[int, int]) -> None:
    shifted = (destination[0] + 60, destination[1] + 60)  # down and right, where nothing falls off the sheet
    copy = moved(text, origin, shifted)
    assert relative_key(copy, *shifted) == relative_key(text, *origin)
    assert parse(copy, *shifted) is parse(text, *origin)
    assert format_formula(parse(text, *origin), *shifted) == copy.replace("2.5E3", "2500")


@given(TEMPLATES, TEMPLATES, CELLS, CELLS)
def test_other_formulas_have_other_keys(one: str, other: str, origin: tuple[int, int], destination: tuple[int, int]) -> None:
    same = moved(one, origin, (200, 200)) == moved(other, destination, (200, 200))
    assert (relative_key(one, *origin) == relative_key(other, *destination)) == same


FIXED = ['"A1"', "'A1'!$B$2", "T[A1]", "T[[A1]:[B2]]", "LOG10($A$1)", "A1!$B$2", "Rate_A1", "A1.x", "1E5", "[1]A1!$B$2"]
MOVING = ["A1", "A:B", "1:2", "$A1", "A$1", "-A1", "Sheet1!A1", "A1:INDEX($B$1,1)", "'A1'!A1", '"A1"&A1', "#REF!A1"]


@pytest.mark.parametrize("text", FIXED)
def test_what_only_looks_like_an_address_stays(text: str) -> None:
    assert relative_key(text, 1, 1) == relative_key(text, 7, 9)


@pytest.mark.parametrize("text", MOVING)
def test_relative_addresses_make_the_key_depend_on_the_cell(text: str) -> None:
    assert relative_key(text, 1, 1) != relative_key(text, 7, 9)


# ------------------------------------------------------------------------------------------------- any text

OPERANDS = ["A1", "$B$2", "A:C", "1:3", "SUM(", "IF(", "Rate", "x", "Sheet1!", "'a b'!", "[1]", "T[a]", "[@a]", "#REF!", "#N/A", "1.5"]
FRAGMENTS = st.sampled_from([*"+-*/^&=<>%#@:,;(){}[]!' \"$", *OPERANDS])


@given(st.lists(FRAGMENTS, max_size=14).map("".join))
def test_any_text_is_refused_or_survives_printing(text: str) -> None:
    try:
        node = tree(text)
    except FormulaSyntaxError:
        return
    printed = format_formula(node, ROW, COLUMN)
    assert equivalent(tree(printed), node), printed


@given(st.text(max_size=30))
def test_no_text_makes_another_error(text: str) -> None:
    try:
        tree(text)
    except FormulaSyntaxError as error:
        assert error.formula == text
