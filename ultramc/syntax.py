"""The tree of a formula: its nodes, walking it, printing it.

References are relative to the formula's cell, so that formulas that say the same in two cells are the same tree.
A tree may be as deep as its formula is long (``----…1``): nothing here recurses, and compound nodes compare by identity
(`equivalent` compares by structure).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from typing import Literal, TypeVar, get_args

from attrs import field, frozen

from ultramc.address import MAX_COLUMN, MAX_ROW, column_letters, column_number, quoted
from ultramc.values import ExcelError, Scalar

T = TypeVar("T")

# How tightly an operator binds: the order of Microsoft's "Calculation operators and precedence in Excel".
BINARY = {
    "=": 1, "<>": 1, "<": 1, ">": 1, "<=": 1, ">=": 1,
    "&": 2,
    "+": 3, "-": 3,
    "*": 4, "/": 4,
    "^": 5,
    ",": 9, " ": 10, ":": 11,
}  # fmt: skip
PERCENT, UNARY, IMPLICIT, SPILL, ATOM = 6, 7, 8, 12, 13
REFERENCE_OPERATORS = (",", " ", ":")

THIS_ROW = "#This Row"
TABLE_ITEMS = ("#All", "#Data", "#Headers", "#Totals", THIS_ROW)


@frozen
class Axis:
    """A row or a column: counted from 1 if absolute, else the distance from the formula's own."""

    value: int
    absolute: bool

    def at(self, origin: int) -> int:
        """The row or column meant by a formula in row or column `origin`; it may lie off the sheet."""
        return self.value if self.absolute else origin + self.value


@frozen
class SheetSpan:
    """What stands before ``!``.

    `book` is as written, with its brackets (``[1]``, ``C:\\plans\\[Book.xlsx]``); `first` is None in ``[1]!Name``;
    `last` is the other end of a 3-D reference.
    """

    book: str | None
    first: str | None
    last: str | None = None

    def __str__(self) -> str:
        names = [name for name in (self.first, self.last) if name is not None]
        plain = all(quoted(name) == name for name in names) and _PLAIN_BOOK.fullmatch(self.book or "")
        text = (self.book or "") + ":".join(names)
        return f"{text}!" if plain else "'" + text.replace("'", "''") + "'!"


_PLAIN_BOOK = re.compile(r"(\[[\w.]+\])?")


@frozen
class Number:
    value: float


@frozen
class Text:
    value: str


@frozen
class Boolean:
    value: bool


@frozen
class ErrorLiteral:
    error: ExcelError


@frozen
class Missing:
    """An argument that was left out: ``IF(A1,,2)``."""


def _typed(rows: tuple[tuple[Scalar, ...], ...]) -> tuple[tuple[tuple[type, Scalar], ...], ...]:
    return tuple(tuple((type(value), value) for value in row) for row in rows)  # True == 1.0, but {TRUE} is not {1}


@frozen
class ArrayConstant:
    """``{1,"a";TRUE,#N/A}``, row by row; rows are equally long."""

    rows: tuple[tuple[Scalar, ...], ...] = field(eq=_typed)


@frozen
class Reference:
    """A cell or a rectangle of cells; both ends included.

    Ends are in order where their axes are both absolute or both relative; ``B$9:B1`` is known only at a cell.
    `whole` is "rows" for ``2:3``, "columns" for ``A:C``; `single` is True where one cell was written (``B2``, not ``B2:B2``).
    """

    sheets: SheetSpan | None
    top: Axis
    left: Axis
    bottom: Axis
    right: Axis
    whole: Literal["", "rows", "columns"] = ""
    single: bool = False

    def area(self, row: int, column: int) -> tuple[int, int, int, int] | None:
        """(top, left, bottom, right) for a formula at that cell, in order; None where it lies off the sheet."""
        top, bottom = sorted((self.top.at(row), self.bottom.at(row)))
        left, right = sorted((self.left.at(column), self.right.at(column)))
        if top < 1 or left < 1 or bottom > MAX_ROW or right > MAX_COLUMN:
            return None
        return top, left, bottom, right


@frozen
class Name:
    """A defined name, or a variable of LET or LAMBDA: only its place in the workbook tells."""

    text: str
    sheets: SheetSpan | None = None


@frozen
class StructuredReference:
    """Part of a table: ``Table1[[#Headers],[a]:[b]]``. ``[@a]`` has no table and the item "#This Row"."""

    table: str | None
    items: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None
    sheets: SheetSpan | None = None


class _Compound:
    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {relative_text(self)}>"  # type: ignore[arg-type]


@frozen(eq=False, repr=False)
class Unary(_Compound):
    operator: str
    operand: Node


@frozen(eq=False, repr=False)
class Percent(_Compound):
    operand: Node


@frozen(eq=False, repr=False)
class Binary(_Compound):
    """`operator` is a key of `BINARY`: also the reference operators ``:``, blank and ``,``."""

    operator: str
    left: Node
    right: Node


@frozen(eq=False, repr=False)
class Spill(_Compound):
    """``A1#``: all that the formula in A1 spills."""

    operand: Node


@frozen(eq=False, repr=False)
class Implicit(_Compound):
    """``@A1:A9``: implicit intersection with the formula's own row and column."""

    operand: Node


@frozen(eq=False, repr=False)
class Call(_Compound):
    """`name` is in capitals and without ``_xlfn.`` and its like; `prefix` is what names an add-in or a book (``_xll.``, ``[1]!``)."""

    name: str
    arguments: tuple[Node, ...]
    prefix: str = ""


@frozen(eq=False, repr=False)
class Invoke(_Compound):
    """``LAMBDA(x,x+1)(3)``: a call of what an expression yields."""

    function: Node
    arguments: tuple[Node, ...]


Leaf = Number | Text | Boolean | ErrorLiteral | Missing | ArrayConstant | Reference | Name | StructuredReference
Node = Leaf | Unary | Percent | Binary | Spill | Implicit | Call | Invoke

_LEAVES = frozenset(get_args(Leaf))


def children(node: Node) -> tuple[Node, ...]:
    """Left to right, as written."""
    if type(node) in _LEAVES:
        return ()
    match node:
        case Binary():
            return node.left, node.right
        case Call():
            return node.arguments
        case Invoke():
            return node.function, *node.arguments
        case Unary() | Percent() | Spill() | Implicit():
            return (node.operand,)
    return ()


def walk(node: Node) -> Iterator[Node]:
    """Every node, parents before children, left to right."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(children(node)))


def fold(node: Node, combine: Callable[[Node, list[T]], T]) -> T:
    """The tree from its leaves up: `combine` gets each node with the results of its children, left to right."""
    results: list[T] = []
    for part in reversed(list(walk(node))):
        results.append(combine(part, [results.pop() for _ in children(part)]))
    return results.pop()


def equivalent(a: Node, b: Node) -> bool:
    """The same structure, node by node."""
    return all(_label(x) == _label(y) for x, y in zip_longest(walk(a), walk(b)))


def _label(node: Node | None) -> object:
    """All of a node but its children, which follow in the walk."""
    match node:
        case Unary() | Binary():
            return type(node), node.operator
        case Call():
            return Call, node.prefix, node.name, len(node.arguments)
        case Invoke():
            return Invoke, len(node.arguments)
        case Percent() | Spill() | Implicit():
            return type(node)
    return node


def spanned(left: Node, right: Node) -> Node:
    """``left:right``: one reference where two cells of one sheet are joined, else the operator."""
    if not (isinstance(left, Reference) and isinstance(right, Reference) and left.single and right.single):
        return Binary(":", left, right)
    if right.sheets not in (None, left.sheets):
        return Binary(":", left, right)
    top, bottom = ordered(left.top, right.top)
    start, end = ordered(left.left, right.left)
    return Reference(left.sheets, top, start, bottom, end)


def ordered(a: Axis, b: Axis) -> tuple[Axis, Axis]:
    """Smaller first, where that is the same at every cell."""
    return (b, a) if a.absolute == b.absolute and b.value < a.value else (a, b)


def format_formula(node: Node, row: int, column: int) -> str:
    """The tree as formula text (no leading ``=``) at that cell; what falls off the sheet prints as ``#REF!``.

    Parsing the text there gives back an equivalent tree.
    """
    text: str = fold(node, partial(_printed, reference=partial(_a1_text, row=row, column=column)))
    return text


def relative_text(node: Node) -> str:
    """The formula with its references relative to the cell that holds it, in R1C1 notation."""
    text: str = fold(node, partial(_printed, reference=_relative_text))
    return text


def _printed(node: Node, parts: list[str], reference: Callable[[Reference], str]) -> str:
    """One node, its children printed already."""
    match node:
        case Reference():
            return reference(node)
        case Unary():
            return node.operator + _operand(node.operand, parts[0], UNARY)
        case Implicit():
            return "@" + _operand(node.operand, parts[0], IMPLICIT)
        case Percent():
            return _operand(node.operand, parts[0], PERCENT) + "%"
        case Spill():
            return _operand(node.operand, parts[0], SPILL) + "#"
        case Binary():
            return _binary_text(node, *parts)
        case Call():
            return f"{node.prefix}{node.name}({_arguments_text(node.arguments, parts)})"
        case Invoke():
            return f"{_function_text(node.function, parts[0])}({_arguments_text(node.arguments, parts[1:])})"
    return _leaf_text(node)


def _operand(node: Node, text: str, least: int) -> str:
    return text if _strength(node) >= least else f"({text})"


def _strength(node: Node) -> int:
    """How well a printed node holds together beside an operator."""
    match node:
        case Binary():
            return 0 if node.operator == "," else BINARY[node.operator]  # outside parentheses a comma separates arguments
        case Unary():
            return UNARY
        case Percent():
            return PERCENT
        case Implicit():
            return IMPLICIT
        case Spill():
            return SPILL
        case Reference():
            return ATOM if node.single or node.whole else BINARY[":"]
        case Number():
            return ATOM if node.value >= 0 else UNARY
        case Name():
            return BINARY[" "] if _is_column_like(node) else ATOM
    return ATOM


def _is_column_like(name: Name) -> bool:
    """``x:y`` would be whole columns."""
    return bool(_LETTERS.fullmatch(name.text)) and column_number(name.text) <= MAX_COLUMN


_LETTERS = re.compile(r"[A-Za-z]{1,3}")


def _binary_text(node: Binary, left: str, right: str) -> str:
    strength = BINARY[node.operator]
    chained_union = node.operator == "," and isinstance(node.left, Binary) and node.left.operator == ","
    before = left if chained_union else _operand(node.left, left, strength)
    return before + node.operator + _operand(node.right, right, strength + 1)


def _arguments_text(arguments: tuple[Node, ...], texts: list[str]) -> str:
    return ",".join(_operand(argument, text, 1) for argument, text in zip(arguments, texts, strict=True))


def _function_text(function: Node, text: str) -> str:
    return text if isinstance(function, (Call, Invoke)) else f"({text})"


def _leaf_text(node: Node) -> str:
    match node:
        case Number() | Text() | Boolean():
            return _scalar_text(node.value)
        case ErrorLiteral():
            return node.error.value
        case ArrayConstant():
            return "{" + ";".join(",".join(map(_scalar_text, row)) for row in node.rows) + "}"
        case Name():
            return f"{node.sheets or ''}{node.text}"
        case StructuredReference():
            return f"{node.sheets or ''}{node.table or ''}[{_table_part_text(node)}]"
    return ""


def _scalar_text(value: Scalar) -> str:
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case str():
            return '"' + value.replace('"', '""') + '"'
    return str(value).upper().removesuffix(".0")


def _table_part_text(node: StructuredReference) -> str:
    if not node.items and node.last is None and _PLAIN_TABLE_COLUMN.fullmatch(node.first or ""):
        return node.first or ""
    columns = [_ESCAPED_IN_TABLE.sub(r"'\g<0>", name) for name in (node.first, node.last) if name is not None]
    spanned_columns = [":".join(f"[{name}]" for name in columns)] if columns else []
    return ",".join([*(f"[{item}]" for item in node.items), *spanned_columns])


_PLAIN_TABLE_COLUMN = re.compile(r"(?:\w(?:[\w ]*\w)?)?")
_ESCAPED_IN_TABLE = re.compile(r"[\[\]#'@]")


def _a1_text(reference: Reference, row: int, column: int) -> str:
    if reference.area(row, column) is None:
        return ExcelError.REF.value
    rows = [_axis_text(axis, str(axis.at(row))) for axis in (reference.top, reference.bottom)]
    columns = [_axis_text(axis, column_letters(axis.at(column))) for axis in (reference.left, reference.right)]
    return f"{reference.sheets or ''}{_joined(reference, rows, columns)}"


def _axis_text(axis: Axis, text: str) -> str:
    return f"${text}" if axis.absolute else text


def _joined(reference: Reference, rows: list[str], columns: list[str]) -> str:
    if reference.whole:
        return ":".join(rows if reference.whole == "rows" else columns)
    if reference.single:
        return columns[0] + rows[0]
    return f"{columns[0]}{rows[0]}:{columns[1]}{rows[1]}"


def _relative_text(reference: Reference) -> str:
    """As R1C1 text: the form that holds at any cell."""
    top, bottom = (f"R{_offset_text(axis)}" for axis in (reference.top, reference.bottom))
    left, right = (f"C{_offset_text(axis)}" for axis in (reference.left, reference.right))
    ends = {"rows": (top, bottom), "columns": (left, right), "": (top + left, bottom + right)}[reference.whole]
    return f"{reference.sheets or ''}{ends[0] if reference.single else ':'.join(ends)}"


def _offset_text(axis: Axis) -> str:
    return str(axis.value) if axis.absolute else f"[{axis.value}]" if axis.value else ""
