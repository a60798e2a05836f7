"""The container of a workbook: a zip of XML parts, opened on the assumption that a stranger made it.

Every limit holds twice: on what the zip's directory claims, and on what really comes out while inflating.
Layout and relationships follow ECMA-376 part 2 (Open Packaging Conventions).
"""

from __future__ import annotations

import io
import os
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeVar
from xml.parsers import expat

from attrs import field, frozen, validators

from ultramc.errors import InputError, LimitExceeded, UltramcError, UnreadableWorkbook

MIB = 1 << 20
RATIO_FLOOR = MIB  # smaller parts may compress as well as they like
CHUNK = 1 << 16
MAX_DEPTH = 100
MAX_NAMES = 10_000  # distinct element and attribute names of one part; expat keeps each of them
MAX_TOKEN = 2 * MIB  # one tag or comment; expat rescans an unfinished one at every chunk

_ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, OverflowError)

Item = TypeVar("Item")
Attributes = dict[str, str]


def _limit(default: int) -> int:
    limit: int = field(default=default, validator=validators.ge(0))
    return limit


@frozen(kw_only=True)
class ReadLimits:
    """What a workbook may cost before it is refused with `LimitExceeded`. Sizes are in bytes.

    file_bytes
        the file as stored
    unpacked_bytes, part_bytes
        all parts, inflated; one of them
    parts
        files inside the zip
    ratio
        inflated to compressed size of any part above 1 MiB
    cells
        stored cells of all sheets, blank formatted ones and the areas of array formulas included
    shared_strings, shared_string_bytes
        entries of the shared string table; its text and all text stored in cells, as UTF-8
    formula_characters
        one formula or defined name as stored (Excel's own limit is 8,192)
    names
        defined names
    """

    file_bytes: int = _limit(50 * MIB)
    unpacked_bytes: int = _limit(512 * MIB)
    part_bytes: int = _limit(256 * MIB)
    parts: int = _limit(2_000)
    ratio: int = _limit(200)
    cells: int = _limit(5_000_000)
    shared_strings: int = _limit(2_000_000)
    shared_string_bytes: int = _limit(64 * MIB)
    formula_characters: int = _limit(8_192)
    names: int = _limit(200_000)

    def check(self, name: str, found: int, place: str) -> None:
        """Raises `LimitExceeded` where `found` is beyond the limit called `name`."""
        limit = getattr(self, name)
        if found > limit:
            raise LimitExceeded(
                f"{place}: {name} is limited to {limit:,} and at least {found:,} was found. "
                f"If you trust the file, pass ReadLimits({name}=…) with a larger number to raise it"
            )

    def counted(self, name: str, items: Iterable[Item], place: str) -> Iterator[Item]:
        for count, item in enumerate(items, 1):
            self.check(name, count, place)
            yield item


DEFAULT_LIMITS = ReadLimits()


@frozen
class Element:
    """One XML element at its end tag: names from the root without prefixes, ``sst/si/t``, and its own text."""

    path: str
    attributes: Attributes
    text: str


@frozen
class Relationship:
    """An arrow from one part to another; `kind` is the last word of its type, ``worksheet``."""

    id: str
    kind: str
    target: str


def local_name(name: str) -> str:
    return name.rpartition(":")[2]


def read_bytes(source: str | os.PathLike[str] | bytes | BinaryIO, name: str, limits: ReadLimits) -> bytes:
    """The whole file, never more than one byte beyond its limit."""
    try:
        data = _first_bytes(source, limits.file_bytes + 1)
    except OSError as error:
        raise UnreadableWorkbook(f"{name}: cannot be opened ({error.strerror or error}). Check the path and its permissions") from error
    if not isinstance(data, bytes):
        raise UnreadableWorkbook(f"{name}: the file object gives {type(data).__name__}, not bytes. Open it in binary mode, 'rb'")
    limits.check("file_bytes", len(data), name)
    return data


def _first_bytes(source: str | os.PathLike[str] | bytes | BinaryIO, count: int) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as stream:
            return stream.read(count)
    if not hasattr(source, "read"):
        raise InputError(f"a workbook is a path, bytes or a binary file object, not {source!r:.80}")
    return source.read(count)


class Package:
    """The parts of one workbook file. `name` is the file as messages call it.

    Raises `UnreadableWorkbook` for what is no zip of an Excel workbook, `LimitExceeded` for what claims to be too large.
    """

    def __init__(self, data: bytes, name: str, limits: ReadLimits) -> None:
        self.name = name
        self.limits = limits
        self.spent = dict.fromkeys(("unpacked_bytes", "cells", "shared_string_bytes"), 0)
        self._read: set[str] = set()
        self._archive = _opened(data, name)
        self._parts = self._listed(self._archive.infolist())

    def unreadable(self, reason: str) -> UnreadableWorkbook:
        return UnreadableWorkbook(f"{self.name}: {reason}")

    def damaged(self, reason: str) -> UnreadableWorkbook:
        return self.unreadable(f"{reason}. The file is damaged or was not written by a spreadsheet; open it in Excel and save it again")

    def spend(self, name: str, amount: int, part: str) -> None:
        """Adds to what the whole file has used of the limit called `name`; raises `LimitExceeded` beyond it."""
        self.spent[name] += amount
        self.limits.check(name, self.spent[name], f"{self.name}, part {part}")

    def room(self, name: str) -> int:
        """What is left of the limit called `name`."""
        return int(getattr(self.limits, name)) - self.spent[name]

    def __contains__(self, part: str) -> bool:
        return part.lower() in self._parts

    def main_part(self) -> str:
        """The part that holds the workbook itself."""
        for part, reason in _OTHER_FORMATS.items():
            if part in self:
                raise self.unreadable(reason)
        for relationship in self.relationships(""):
            if relationship.kind == "officeDocument":
                return relationship.target
        raise self.unreadable("is a zip file without a workbook in it. Pass an .xlsx or .xlsm file")

    def relationships(self, part: str) -> tuple[Relationship, ...]:
        """Where a part points inside the package; none where it has no list of them. "" is the package itself."""
        folder, file = posixpath.split(part)
        listing = posixpath.join(folder, "_rels", f"{file}.rels")
        if listing not in self:
            return ()
        rows = (element.attributes for element in self.elements(listing) if element.path == "Relationships/Relationship")
        inside = (row for row in rows if row.get("TargetMode") != "External")
        return tuple(_relationship(row, folder) for row in self.limits.counted("parts", inside, listing))

    def elements(self, part: str, text_limit: str = "") -> Iterator[Element]:
        """Every element of a part at its end tag; its text is spent from the limit called `text_limit`, if any."""
        reader = _ElementReader(self, part, text_limit)
        for _ in self.parse(part, reader.start, reader.end, reader.text):
            yield from reader.take()

    def parse(
        self, part: str, start: Callable[[str, Attributes], None], end: Callable[[str], None], text: Callable[[str], None]
    ) -> Iterator[None]:
        """Streams a part through expat handlers; yields after each chunk, so that nothing piles up.

        Raises `UnreadableWorkbook` for malformed XML, and for any DOCTYPE: without one there are no entities to expand.
        """
        names: dict[str, str] = {}
        parser = expat.ParserCreate(intern=names)
        parser.buffer_text, parser.buffer_size = True, CHUNK
        parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        fed = 0
        for chunk in self._chunks(part):
            self._feed(parser, chunk, part)
            fed += len(chunk)
            if len(names) > MAX_NAMES or fed - parser.CurrentByteIndex > MAX_TOKEN:
                raise self.damaged(f"part {part} has over {MAX_NAMES:,} different XML names, or a tag of over {MAX_TOKEN:,} bytes")
            yield
        self._feed(parser, b"", part)
        yield

    def _feed(self, parser: expat.XMLParserType, chunk: bytes, part: str) -> None:
        try:
            parser.Parse(chunk, not chunk)
        except UltramcError:
            raise
        except (expat.ExpatError, LookupError, ValueError) as error:  # the last two: encodings that Python or expat lack
            raise self.damaged(f"part {part} is not well-formed XML ({error})") from error

    def _refuse_doctype(self, *_: object) -> None:
        raise self.unreadable("an XML part declares a DOCTYPE, which no spreadsheet writes and attacks need. Save the file again in Excel")

    def _chunks(self, part: str) -> Iterator[bytes]:
        """A part, inflated piece by piece, each part once."""
        info = self._parts.get(part.lower())
        if info is None:
            raise self.damaged(f"part {part} is missing")
        if part.lower() in self._read:
            raise self.damaged(f"part {part} is used twice")
        self._read.add(part.lower())
        size = 0
        with self._archive_errors(part), self._archive.open(info) as stream:
            while chunk := stream.read(CHUNK):
                size += len(chunk)
                self.spend("unpacked_bytes", len(chunk), part)
                self._check_part(info.filename, size, info.compress_size)
                yield chunk

    def _check_part(self, part: str, size: int, compressed: int) -> None:
        place = f"{self.name}, part {part}"
        self.limits.check("part_bytes", size, place)
        if size > RATIO_FLOOR:
            self.limits.check("ratio", size // max(1, compressed), place)

    def _listed(self, directory: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        """Parts by lower-case name (names compare so), after the directory's own claims were checked."""
        self.limits.check("parts", len(directory), self.name)
        self.limits.check("unpacked_bytes", sum(info.file_size for info in directory), self.name)
        parts: dict[str, zipfile.ZipInfo] = {}
        for info in directory:
            part = info.filename.replace("\\", "/").lstrip("/").lower()
            if part in parts:
                raise self.damaged(f"two parts are named {info.filename}")
            self._check_info(info)
            parts[part] = info
        return parts

    def _check_info(self, info: zipfile.ZipInfo) -> None:
        if info.flag_bits & 1:
            raise self.unreadable("is a zip file with a password. Save the workbook without one")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others inflate without bounds
            raise self.damaged(f"part {info.filename} uses compression method {info.compress_type}, which workbooks may not")
        self._check_part(info.filename, info.file_size, info.compress_size)

    @contextmanager
    def _archive_errors(self, part: str) -> Iterator[None]:
        try:
            yield
        except UltramcError:
            raise
        except _ARCHIVE_ERRORS as error:
            raise self.damaged(f"part {part} cannot be unpacked ({error})") from error


class _ElementReader:
    """Collects elements as they end; the stack is bounded by `MAX_DEPTH`, the text by a limit."""

    def __init__(self, package: Package, part: str, text_limit: str) -> None:
        self.package, self.part, self.text_limit = package, part, text_limit
        self.done: list[Element] = []
        self.open: list[tuple[str, Attributes, list[str]]] = [("", {}, [])]

    def start(self, name: str, attributes: Attributes) -> None:
        if len(self.open) > MAX_DEPTH:
            raise self.package.damaged(f"part {self.part} nests elements more than {MAX_DEPTH} deep")
        above = self.open[-1][0]
        path = f"{above}/{local_name(name)}" if above else local_name(name)
        self.open.append((path, attributes, []))

    def end(self, _: str) -> None:
        path, attributes, pieces = self.open.pop()
        self.done.append(Element(path, attributes, "".join(pieces)))

    def text(self, data: str) -> None:
        if self.text_limit:
            self.package.spend(self.text_limit, len(data.encode()), self.part)
        self.open[-1][2].append(data)

    def take(self) -> list[Element]:
        done, self.done = self.done, []
        return done


def _relationship(row: Attributes, folder: str) -> Relationship:
    target = row.get("Target", "").replace("\\", "/")
    part = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
    return Relationship(row.get("Id", ""), row.get("Type", "").rpartition("/")[2], part)


def _opened(data: bytes, name: str) -> zipfile.ZipFile:
    try:
        reason = _foreign(data)
        if not reason:
            return zipfile.ZipFile(io.BytesIO(data))
    except _ARCHIVE_ERRORS:
        reason = _TRUNCATED if data.startswith(b"PK") else _NO_ZIP
    raise UnreadableWorkbook(f"{name}: {reason}")


def _foreign(data: bytes) -> str:
    """Why these bytes are no zip file, where their beginning tells."""
    if not data:
        return "is empty. Copy or download it again"
    if data.startswith(_OLE):
        return _ENCRYPTED if "EncryptedPackage".encode("utf-16-le") in data else _LEGACY
    return next((reason for start, reason in _SIGNATURES.items() if data[:64].lstrip().lower().startswith(start)), "")


_OLE = bytes.fromhex("D0CF11E0A1B11AE1")
_ENCRYPTED = "is encrypted with a password. Open it in Excel, remove the password under File > Info > Protect Workbook, and save it"
_LEGACY = "is in the binary format of Excel 97-2003 (.xls) or another old Office program. Open it in Excel and save it as .xlsx"
_TRUNCATED = "is a zip file that is cut short or damaged. Copy or download it again"
_NO_ZIP = "is no Excel workbook: .xlsx and .xlsm files are zip files and this is none. Save it as .xlsx in a spreadsheet program"
_SIGNATURES = {
    b"<?xml": "is an XML file, not a zipped workbook. Open it in Excel and save it as .xlsx",
    b"<html": "is a web page under a workbook's name. Open it in Excel and save it as .xlsx",
}
_OTHER_FORMATS = {
    "xl/workbook.bin": "is a binary workbook (.xlsb). Open it in Excel and save it as .xlsx",
    "content.xml": "is an OpenDocument file (.ods). Open it in a spreadsheet program and save it as .xlsx",
    "word/document.xml": "is a Word document. Pass an .xlsx or .xlsm file",
    "ppt/presentation.xml": "is a PowerPoint presentation. Pass an .xlsx or .xlsm file",
    "index/document.iwa": "is an Apple Numbers document. Export it to Excel (.xlsx)",
}
