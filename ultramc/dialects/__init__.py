"""The dialects by name, and which of them a workbook speaks."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from ultramc.errors import InputError

if TYPE_CHECKING:
    from ultramc.dialects.base import Dialect
    from ultramc.workbook import Workbook

PLAIN = "plain Excel"  # what a workbook without an add-in speaks


def known() -> dict[str, Dialect]:
    """Every dialect by its name; the modules are imported when first asked for."""
    from ultramc.dialects import at_risk, plain, xlrisk

    dialects: tuple[Dialect, ...] = (plain.DIALECT, xlrisk.DIALECT, at_risk.DIALECT)
    return {dialect.name: dialect for dialect in dialects}


def dialect_of(book: Workbook, functions: Collection[str], chosen: str | None) -> Dialect:
    """The dialect that is asked for by name, or that the functions called and the names defined in the workbook speak.

    Raises `InputError` for a name that does not exist.
    """
    dialects = known()
    if chosen is None:
        return next((dialect for dialect in dialects.values() if _spoken(dialect, book, functions)), dialects[PLAIN])
    matching = [dialect for name, dialect in dialects.items() if _plain(name) == _plain(chosen)]
    if not matching:
        raise InputError(f"dialect={chosen!r} is not supported; available: {', '.join(map(repr, dialects))}")
    return matching[0]


def dialect_by_text(book: Workbook) -> Dialect:
    """The dialect that formulas look like, found without parsing them."""
    texts = {formula.text for sheet in book.sheets for formula in sheet.formulas.values()} | {name.text for name in book.names}
    return dialect_of(book, {name.upper() for text in texts for name in _CALLED.findall(_QUOTED.sub("", text))}, None)


_QUOTED = re.compile(r'"[^"]*"')
_CALLED = re.compile(r"([A-Za-z][\w.]*)\(")


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower().removesuffix("excel")))


def _spoken(dialect: Dialect, book: Workbook, functions: Collection[str]) -> bool:
    from ultramc.dialects import xlrisk
    from ultramc.dialects.base import Settings

    if dialect is xlrisk.DIALECT:
        return any(sheet.name.lower() == xlrisk.SHEET for sheet in book.sheets)
    return any(dialect.claims(name) for name in functions) or dialect.settings(book) != Settings()
