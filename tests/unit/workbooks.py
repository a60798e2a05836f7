"""Small workbooks for tests, written by openpyxl; values that Excel would have saved beside the formulas are put in afterwards."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import openpyxl
from openpyxl.workbook.defined_name import DefinedName

SHEET = "Model"


def workbook(cells: Mapping[str, Any], *, cached: Mapping[str, Any] | None = None, names: Mapping[str, str] | None = None) -> bytes:
    """A file with `cells`, an address on the sheet Model ("B2") or on another ("Costs!B2") → what it holds.

    `cached`: saved values of formulas, errors as text such as "#DIV/0!". `names`: defined name → what it stands for.
    """
    book = openpyxl.Workbook()
    book.active.title = SHEET
    for address, content in cells.items():
        sheet, cell = _split(address)
        (book[sheet] if sheet in book.sheetnames else book.create_sheet(sheet))[cell] = content
    for name, text in (names or {}).items():
        book.defined_names[name] = DefinedName(name, attr_text=text)
    stream = io.BytesIO()
    book.save(stream)
    return with_cached(stream.getvalue(), cached or {})


def with_cached(data: bytes, cached: Mapping[str, Any]) -> bytes:
    """The same file with saved values beside some of its formulas."""
    order = openpyxl.load_workbook(io.BytesIO(data), read_only=True).sheetnames
    parts = _parts(data)
    for address, value in cached.items():
        sheet, cell = _split(address)
        part = f"xl/worksheets/sheet{order.index(sheet) + 1}.xml"
        parts[part] = _with_value(parts[part].decode(), cell, value).encode()
    return _zipped(parts)


def _split(address: str) -> tuple[str, str]:
    sheet, mark, cell = address.rpartition("!")
    return (sheet if mark else SHEET), cell


def _parts(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(parts: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _with_value(xml: str, cell: str, value: Any) -> str:
    kind, text = _written(value)
    pattern = re.compile(rf'<c r="{cell}"([^>]*?)( t="\w+")?>(<f.*?(?:</f>|/>))<v ?/?>(?:</v>)?</c>', re.DOTALL)
    changed, count = pattern.subn(lambda match: f'<c r="{cell}"{match[1]} t="{kind}">{match[3]}<v>{escape(text)}</v></c>', xml)
    assert count == 1, f"{cell} holds no formula"
    return changed


def _written(value: Any) -> tuple[str, str]:
    if isinstance(value, bool):
        return "b", str(int(value))
    if isinstance(value, str):
        return ("e" if value.startswith("#") else "str"), value
    return "n", repr(value)


def five_lines(seed: int, row: int, column: int, count: int, *, k: int = 0, sheet: str = SHEET) -> np.ndarray:
    """The first `count` uniforms of a call site by plain NumPy."""
    key = np.array([seed, int.from_bytes(blake2b(sheet.lower().encode(), digest_size=8).digest(), "little")], dtype=np.uint64)
    counter = np.array([0, row, column, k], dtype=np.uint64)
    raw = np.random.Philox(key=key, counter=counter).random_raw(count)
    return ((raw >> 12) + 0.5) * 2.0**-52
