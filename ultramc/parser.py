"""Formula text → tree.

Two steps. `relative_key` rewrites each address to its distance from the formula's cell, in one scan; the grammar then
runs on that key, so formulas that are the same in relative form are parsed once, wherever they stand.
The grammar is operator precedence on explicit stacks, because formulas come from strangers: nothing here recurses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple, NoReturn

from attrs import Factory, define

from ultramc.address import MAX_COLUMN, MAX_ROW, column_number
from ultramc.errors import FormulaSyntaxError
from ultramc.syntax import (
    BINARY,
    IMPLICIT,
    PERCENT,
    REFERENCE_OPERATORS,
    SPILL,
    TABLE_ITEMS,
    THIS_ROW,
    UNARY,
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
    ordered,
    spanned,
)
from ultramc.values import ERROR_NAMES, ExcelError, Scalar

MAX_NESTING = 256  # parentheses and calls together; Excel itself stops at 64 levels of functions
CACHED_FORMULAS = 100_000

# Letters, digits, _ . \ ? and what lies beyond ASCII but blanks and dashes (Python's \w lacks the vowel signs of Thai or Hindi).
_NAMELY = r"[\w.\\?\u00a1-\u1fff\u2070-\u2fff\u3001-\U0010ffff]"
_NAME = rf"(?![\d.?]){_NAMELY}++"
_QUOTED = r"'(?:[^']|'')*+'"
_STRING = r'"(?:[^"]|"")*+"'
# A structured reference nests one level; ' escapes. One that is never closed runs to the end, so that the scan stays linear.
_BRACKETED = r"\[(?:[^\[\]']|'.|\[(?:[^\[\]']|'.)*+(?:\]|\Z))*+(?:\]|\Z)"

_CELL = r"(\$?)([A-Za-z]{1,3})(\$?)([0-9]{1,7})"
_COLUMNS = r"(\$?)([A-Za-z]{1,3}) *: *(\$?)([A-Za-z]{1,3})"
_ROWS = r"(\$?)([0-9]{1,7}) *: *(\$?)([0-9]{1,7})"
_ADDRESS = re.compile(
    rf"{_STRING}|{_QUOTED}|{_BRACKETED}|(?=[$A-Za-z0-9])(?<!{_NAMELY})(?:{_CELL}|{_COLUMNS}|{_ROWS})(?!{_NAMELY}|[(!\[])",
    re.DOTALL,
)
_CELL_MATCHED, _COLUMNS_MATCHED, _ROWS_MATCHED = 4, 8, 12  # the last group of each
_MARK = "\0"  # begins an address in a key; XML cannot hold it, so no file can


def relative_key(text: str, row: int, column: int) -> str:
    """The formula with its addresses relative to that cell: equal exactly where two formulas are the same in R1C1 form.

    Text, quoted sheet names and structured references stay as they are. A key is for comparing, not for reading.
    """

    def relative(match: re.Match[str]) -> str:
        kind = match.lastindex
        if kind == _CELL_MATCHED:
            template, to_row, row_moves, to_column, column_moves = _cell_template(match[0])
            return template % (to_row - row * row_moves, to_column - column * column_moves)
        if kind == _COLUMNS_MATCHED:
            return _columns_key(match, column)
        return _rows_key(match, row) if kind == _ROWS_MATCHED else match[0]

    return _ADDRESS.sub(relative, text)


@lru_cache(maxsize=65_536)
def _cell_template(cell: str) -> tuple[str, int, bool, int, bool]:
    """What to write for a cell, and what to put in: row, whether it is relative, column, whether it is."""
    fixed_column, letters, fixed_row, digits = re.findall(_CELL, cell)[0]
    to_row, to_column = int(digits), column_number(letters)
    on_sheet = 1 <= to_row <= MAX_ROW and to_column <= MAX_COLUMN
    template = f"{_MARK}{fixed_row}%d,{fixed_column}%d" if on_sheet else f"{cell}%.0s%.0s"
    return template, to_row, not fixed_row, to_column, not fixed_column


def _columns_key(match: re.Match[str], column: int) -> str:
    ends = column_number(match[6]), column_number(match[8])
    if max(ends) > MAX_COLUMN:
        return match[0]
    return f"{_MARK}C{_axis_key(match[5], ends[0], column)},{_axis_key(match[7], ends[1], column)}"


def _rows_key(match: re.Match[str], row: int) -> str:
    ends = int(match[10]), int(match[12])
    if not 1 <= min(ends) <= max(ends) <= MAX_ROW:
        return match[0]
    return f"{_MARK}R{_axis_key(match[9], ends[0], row)},{_axis_key(match[11], ends[1], row)}"


def _axis_key(dollar: str, value: int, origin: int) -> str:
    return f"${value}" if dollar else str(value - origin)


def parse(text: str, row: int, column: int) -> Node:
    """The tree of a formula (no leading ``=``) that stands in that cell, in the grammar of files: English names, commas.

    Each distinct relative formula is parsed once; the tree is shared. Raises FormulaSyntaxError.
    """
    if _MARK in text:
        raise _syntax_error(text, text.index(_MARK), "a formula without NUL characters")
    try:
        return _tree(relative_key(text, row, column))
    except _Unexpected as problem:
        position = _position_in_text(text, row, column, problem.position)
        raise _syntax_error(text, position, problem.expected) from None


class _Unexpected(Exception):
    def __init__(self, position: int, expected: str) -> None:
        self.position = position
        self.expected = expected


def _position_in_text(text: str, row: int, column: int, position: int) -> int:
    """Where in the text a place of its key is: keys write addresses at other lengths."""
    longer = 0
    for match in _ADDRESS.finditer(text):
        if match.start() + longer >= position:
            break
        longer += len(relative_key(match[0], row, column)) - len(match[0])
    return position - longer


def _syntax_error(text: str, position: int, expected: str) -> FormulaSyntaxError:
    snippet = _SNIPPET.match(text, position)
    found = repr(snippet[0]) if snippet else "the end of the formula"
    return FormulaSyntaxError(f"expected {expected}, found {found} at character {position + 1}", formula=text)


_SNIPPET = re.compile(rf"\$?{_NAMELY}{{1,30}}|.", re.DOTALL)

# ------------------------------------------------------------------------------------------------------ tokens

_AXIS_KEY = r"\$?-?[0-9]+"
_ADDRESS_KEY = rf"{_MARK}[RC]?{_AXIS_KEY},{_AXIS_KEY}"
_NUMBER = r"(?:[0-9]+\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
_ERROR = "|".join(re.escape(name) for name in ERROR_NAMES)
_BOOK = r"\[[^\[\]]*+\]"

_PATTERNS = (
    ("blank", r"[ \t\r\n]+"),
    ("address", _ADDRESS_KEY),
    ("error", rf"(?:(?i:\#REF!))++(?:{_ADDRESS_KEY}|{_NAME})?|(?i:{_ERROR})"),
    ("text", _STRING),
    ("number", _NUMBER),
    ("call", rf"{_NAME}\("),
    ("table", rf"(?:{_NAME})?{_BRACKETED}"),
    ("name", _NAME),
    ("array", rf"\{{(?:[^{{}}\"]|{_STRING})*+\}}"),
    ("open", r"\("),
    ("close", r"\)"),
    ("comma", ","),
    ("operator", r"<>|<=|>=|[-+*/^&=<>%\#@:]"),
)
_SHEET = rf"{_QUOTED}!|(?:{_BOOK})?{_NAMELY}++(?::{_NAMELY}++)?!|{_BOOK}!"
_TOKEN = re.compile(
    rf"(?P<sheet>{_SHEET})?(?:{'|'.join(f'(?P<{kind}>{pattern})' for kind, pattern in _PATTERNS)})|(?P<stray>.)",
    re.DOTALL,
)
_MAY_FOLLOW_A_SHEET = frozenset(("address", "error", "call", "table", "name"))

_OPERAND, _OPERATOR = "a value, a reference or a function", "an operator"


class _Operator(NamedTuple):
    symbol: str
    strength: int
    position: int
    prefix: bool = False


class _Group(NamedTuple):
    """An open parenthesis; `call` makes the node of what it encloses, unless it only groups."""

    position: int
    start: int
    call: Callable[[tuple[Node, ...]], Node] | None


@lru_cache(maxsize=CACHED_FORMULAS)
def _tree(key: str) -> Node:
    parser = _Parser()
    for match in _TOKEN.finditer(key):
        parser.take(match)
    return parser.finish(len(key))


@define
class _Parser:
    """Dijkstra's shunting yard: operands wait in one stack, operators and open parentheses in another."""

    operands: list[Node] = Factory(list)
    waiting: list[_Operator | _Group] = Factory(list)
    groups: list[_Group] = Factory(list)
    complete: bool = False  # an operand has just ended
    blank_at: int | None = None
    closed_at: int | None = None  # where the last token ended, if it was a closing parenthesis
    position: int = 0

    def take(self, match: re.Match[str]) -> None:
        kind = match.lastgroup or "stray"
        self.position = match.start()
        if match["sheet"] and kind not in _MAY_FOLLOW_A_SHEET:
            self.fail("a reference or a name after the sheet", match.end("sheet"))
        if kind == "blank":
            self.blank_at = self.position
            return
        _TAKE[kind](self, match)
        self.blank_at = None
        self.closed_at = match.end() if kind == "close" else None

    def finish(self, end: int) -> Node:
        self.position = end
        if not self.complete:
            self.fail(_OPERAND)
        self.reduce(1)
        if self.groups:
            self.fail("')'")
        return self.operands.pop()

    def fail(self, expected: str, position: int | None = None) -> NoReturn:
        raise _Unexpected(self.position if position is None else position, expected)

    # ------------------------------------------------------------------------------------------------ operands

    def begin_operand(self, may_refer: bool) -> None:
        """Two operands in a row are an intersection if a blank stands between them."""
        if not self.complete:
            return
        if self.blank_at is None or not may_refer:
            self.fail(_OPERATOR)
        self.take_binary(" ", self.blank_at)

    def take_operand(self, node: Node, may_refer: bool = False) -> None:
        self.begin_operand(may_refer)
        self.operands.append(node)
        self.complete = True

    def take_address(self, match: re.Match[str]) -> None:
        self.take_operand(_reference(match["address"], match["sheet"]), may_refer=True)

    def take_error(self, match: re.Match[str]) -> None:
        error = ERROR_NAMES.get(match["error"].upper(), ExcelError.REF)  # what follows #REF! has lost its sheet
        if match["sheet"] and error is not ExcelError.REF:
            self.fail("a reference or a name after the sheet", match.end("sheet"))
        self.take_operand(ErrorLiteral(error), may_refer=error is ExcelError.REF)

    def take_text(self, match: re.Match[str]) -> None:
        self.take_operand(Text(_unquoted(match["text"])))

    def take_number(self, match: re.Match[str]) -> None:
        value = float(match["number"])
        if value == math.inf:
            self.fail("a number below 1.8E+308")
        self.take_operand(Number(value))

    def take_name(self, match: re.Match[str]) -> None:
        self.take_operand(_name(match["name"], _sheets(match["sheet"])), may_refer=True)

    def take_table(self, match: re.Match[str]) -> None:
        table, _, part = match["table"].partition("[")
        if not part.endswith("]"):
            self.fail("']' at the end of a structured reference")
        node = _structured(table or None, part[:-1], _sheets(match["sheet"]))
        if node is None:
            self.fail("a structured reference such as Table1[[#Headers],[first]:[last]]")
        self.take_operand(node, may_refer=True)

    def take_array(self, match: re.Match[str]) -> None:
        rows = _array_rows(match["array"])
        if not rows or any(abs(value) == math.inf for row in rows for value in row if isinstance(value, float)):
            self.fail("an array constant of numbers, text, TRUE, FALSE and errors, such as {1,2;3,4}")
        if len({len(row) for row in rows}) != 1:
            self.fail("an array constant with rows of equal length")
        self.take_operand(ArrayConstant(tuple(map(tuple, rows))))

    # ------------------------------------------------------------------------------------------------- groups

    def take_call(self, match: re.Match[str]) -> None:
        self.begin_operand(may_refer=True)
        self.open(partial(_call, match["call"][:-1], match["sheet"] or ""))

    def take_open(self, match: re.Match[str]) -> None:
        if self.complete and self.closed_at == self.position:
            self.open(partial(Invoke, self.operands.pop()))
        else:
            self.begin_operand(may_refer=True)
            self.open(None)

    def open(self, call: Callable[[tuple[Node, ...]], Node] | None) -> None:
        if len(self.groups) == MAX_NESTING:
            self.fail(f"at most {MAX_NESTING} levels of parentheses and functions")
        group = _Group(self.position, len(self.operands), call)
        self.groups.append(group)
        self.waiting.append(group)
        self.complete = False

    def take_close(self, _: re.Match[str]) -> None:
        if not self.groups:
            self.fail(f"{_OPERATOR} or the end of the formula" if self.complete else _OPERAND)
        group = self.groups.pop()
        if self.complete:
            self.reduce(1)
        elif group.call is None or self.waiting[-1] is not group:
            self.fail(_OPERAND)
        elif len(self.operands) > group.start:
            self.operands.append(Missing())
        self.waiting.pop()
        if group.call:
            self.operands[group.start :] = [group.call(tuple(self.operands[group.start :]))]
        self.complete = True

    def take_comma(self, _: re.Match[str]) -> None:
        if self.groups and self.groups[-1].call:
            self.end_argument()
            self.complete = False
        else:
            self.take_binary(",", self.position)

    def end_argument(self) -> None:
        if self.complete:
            self.reduce(1)
        elif self.waiting[-1] is self.groups[-1]:
            self.operands.append(Missing())
        else:
            self.fail(_OPERAND)

    # ---------------------------------------------------------------------------------------------- operators

    def take_stray(self, match: re.Match[str]) -> None:
        self.fail(_UNCLOSED.get(match["stray"]) or (_OPERATOR if self.complete else _OPERAND))

    def take_operator(self, match: re.Match[str]) -> None:
        symbol = match["operator"]
        if symbol in _POSTFIX:
            self.take_postfix(symbol)
        elif self.complete and symbol != "@":
            self.take_binary(symbol, self.position)
        elif symbol in _PREFIX:
            self.begin_operand(may_refer=True)
            self.waiting.append(_Operator(symbol, _PREFIX[symbol], self.position, prefix=True))
            self.complete = False
        else:
            self.fail(_OPERAND)

    def take_postfix(self, symbol: str) -> None:
        if not self.complete:
            self.fail(_OPERAND)
        self.reduce(_POSTFIX[symbol])
        operand = self.operands.pop()
        if symbol == "#" and not _may_refer(operand):
            self.fail("'#' only after a reference")
        self.operands.append(Spill(operand) if symbol == "#" else Percent(operand))

    def take_binary(self, symbol: str, position: int) -> None:
        if not self.complete:
            self.fail(_OPERAND)
        self.reduce(BINARY[symbol])
        self.waiting.append(_Operator(symbol, BINARY[symbol], position))
        self.complete = False

    def reduce(self, least: int) -> None:
        """Apply what waits and binds at least as tightly; an open parenthesis holds back."""
        while self.waiting and isinstance(last := self.waiting[-1], _Operator) and last.strength >= least:
            self.waiting.pop()
            self.apply(last)

    def apply(self, operator: _Operator) -> None:
        right = self.operands.pop()
        if operator.prefix:
            self.operands.append(Implicit(right) if operator.symbol == "@" else Unary(operator.symbol, right))
            return
        left = self.operands.pop()
        if operator.symbol in REFERENCE_OPERATORS and not (_may_refer(left) and _may_refer(right)):
            self.fail(f"references on both sides of {_SPELLED[operator.symbol]}", operator.position)
        self.operands.append(spanned(left, right) if operator.symbol == ":" else Binary(operator.symbol, left, right))


_UNCLOSED = {'"': "text that ends in a quotation mark", "'": "a quoted sheet name and '!'", "{": "an array constant that ends in '}'"}
_POSTFIX = {"%": PERCENT, "#": SPILL}
_PREFIX = {"-": UNARY, "+": UNARY, "@": IMPLICIT}
_SPELLED = {":": "':'", ",": "the union ','", " ": "the blank that intersects"}
_TAKE = {kind: getattr(_Parser, f"take_{kind}") for kind, _ in _PATTERNS if kind != "blank"}
_TAKE["stray"] = _Parser.take_stray

_REFERRING = (Reference, Name, StructuredReference, Call, Invoke, Spill, Implicit)


def _may_refer(node: Node) -> bool:
    """Whether a reference operator may take it; what a function or a name yields is known only later."""
    if isinstance(node, Binary):
        return node.operator in REFERENCE_OPERATORS
    return isinstance(node, _REFERRING) or node == ErrorLiteral(ExcelError.REF)


# ------------------------------------------------------------------------------------------------- leaves


def _unquoted(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote)


@lru_cache(maxsize=65_536)
def _reference(key: str, sheet: str | None) -> Reference:
    first, second = (Axis(int(axis.lstrip("$")), axis[0] == "$") for axis in key[1:].lstrip("RC").split(","))
    sheets = _sheets(sheet)
    if key[1] == "R":
        top, bottom = ordered(first, second)
        return Reference(sheets, top, _FIRST, bottom, Axis(MAX_COLUMN, True), whole="rows")
    if key[1] == "C":
        left, right = ordered(first, second)
        return Reference(sheets, _FIRST, left, Axis(MAX_ROW, True), right, whole="columns")
    return Reference(sheets, first, second, first, second, single=True)


_FIRST = Axis(1, True)


@lru_cache(maxsize=4_096)
def _sheets(text: str | None) -> SheetSpan | None:
    """What a prefix such as ``'C:\\plans\\[Book.xlsx]Jan:Mar'!`` says."""
    if text is None:
        return None
    inner = _unquoted(text[:-1]) if text[0] == "'" else text[:-1]
    before, bracket, names = inner.rpartition("]")
    if not bracket and _IS_PATH.search(names):
        return SheetSpan(names, None)  # a name of a whole book: 'C:\plans\Book.xlsx'!Rate
    first, _, last = names.partition(":")
    return SheetSpan(before + bracket or None, first or None, last or None)


_IS_PATH = re.compile(r"[\\/]")


# ---------------------------------------------------------------------------------------------------- names

# How files mark what came after Excel 2007: functions, variables of LET and LAMBDA, functions passed by name.
_MARKS = re.compile(r"\A(?:_xlfn\.|_xlws\.|_xlpm\.|_xleta\.)+(?=[^\d.?])", re.IGNORECASE)
_OPTIONAL = re.compile(r"_xlop\.(.+)", re.IGNORECASE | re.DOTALL)  # a parameter that Excel shows as [x]
_ADD_IN = "_XLL."
_BOOLEANS = {"TRUE": True, "FALSE": False}


def _name(text: str, sheets: SheetSpan | None) -> Node:
    if sheets is None and text.upper() in _BOOLEANS:
        return Boolean(_BOOLEANS[text.upper()])
    optional = _OPTIONAL.fullmatch(text)
    return StructuredReference(None, first=optional[1]) if optional else Name(_MARKS.sub("", text), sheets)


def _call(text: str, sheet: str, arguments: tuple[Node, ...]) -> Node:
    """Files write ``@x`` and ``A1#`` as calls."""
    if text.upper() == "_XLFN.SINGLE" and len(arguments) == 1:
        return Implicit(*arguments)
    if text.upper() == "_XLFN.ANCHORARRAY" and len(arguments) == 1 and _may_refer(arguments[0]):
        return Spill(*arguments)
    name = _MARKS.sub("", text).upper()
    if name.startswith(_ADD_IN) and name != _ADD_IN:
        return Call(name.removeprefix(_ADD_IN), arguments, sheet + _ADD_IN.lower())
    return Call(name, arguments, sheet)


# ----------------------------------------------------------------------------- tables and array constants

_COLUMN = r"\[((?:[^\[\]']|'.)*+)\]"
_TABLE_PART = re.compile(rf"((?:\s*+\[\#[^\]]*+\]\s*+,?)*+)\s*+(?:{_COLUMN}\s*+(?::\s*+{_COLUMN}\s*+)?)?", re.DOTALL)
_TABLE_ITEMS = {item.lower(): item for item in TABLE_ITEMS}


def _structured(table: str | None, part: str, sheets: SheetSpan | None) -> StructuredReference | None:
    """What stands in the outer brackets; None where it is nothing that Excel knows."""
    inner = part.strip().removeprefix("@").strip()
    match = _TABLE_PART.fullmatch(inner if inner[:1] in ("", "[") else f"[{inner}]")
    items = [_TABLE_ITEMS.get(item.lower()) for item in re.findall(r"\#[^\]]*", match[1])] if match else [None]
    if match is None or None in items:
        return None
    this_row = (THIS_ROW,) if part.strip().startswith("@") else ()
    first, last = (name and re.sub(r"'(.)", r"\1", name, flags=re.DOTALL) for name in match.group(2, 3))
    return StructuredReference(table, this_row + tuple(filter(None, items)), first, last, sheets)


_ELEMENT = re.compile(
    rf"\s*+(?:(?P<text>{_STRING})|(?P<number>[+-]?\s*+{_NUMBER})|(?i:(?P<boolean>TRUE|FALSE)|(?P<error>{_ERROR})))\s*+(?P<end>[,;}}])",
    re.DOTALL,
)


def _array_rows(text: str) -> list[list[Scalar]]:
    """The elements of ``{1,2;3,4}``; no rows where one is no constant."""
    rows: list[list[Scalar]] = [[]]
    position = 1
    while position < len(text):
        element = _ELEMENT.match(text, position)
        if element is None:
            return []
        rows[-1].append(_element_value(element))
        if element["end"] == ";":
            rows.append([])
        position = element.end()
    return rows


def _element_value(element: re.Match[str]) -> Scalar:
    if element["text"]:
        return _unquoted(element["text"])
    if element["number"]:
        return float("".join(element["number"].split()))
    return _BOOLEANS[element["boolean"].upper()] if element["boolean"] else ERROR_NAMES[element["error"].upper()]
