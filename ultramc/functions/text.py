"""Text: taking it apart, putting it together, finding in it, and turning it into numbers and back.

Positions and lengths count UTF-16 units, as Excel does: an emoji has length 2. The functions whose names end in B count
bytes only where a double-byte language is the default, and else are the same.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from ultramc.functions import function, scalar
from ultramc.functions.criteria import wildcard_parts
from ultramc.functions.kit import BOOLEAN, Unroll, Value, broadcast
from ultramc.functions.number_format import decimal_of, formatted, grouped, rounded
from ultramc.functions.text_values import number_in_text, truth
from ultramc.lowering import Call
from ultramc.program import broadcast_shape
from ultramc.values import MAX_TEXT, ExcelError, Scalar, to_text


def units(text: str) -> str:
    """The text with each UTF-16 unit as one character."""
    if text.isascii() or max(text) <= "\uffff":
        return text
    data = text.encode("utf-16-le", "surrogatepass")
    return "".join(chr(int.from_bytes(data[index : index + 2], "little")) for index in range(0, len(data), 2))


def from_units(text: str) -> str:
    """The opposite; half of a pair becomes the replacement character."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def limited(text: str) -> str | ExcelError:
    """#VALUE! where a text is longer than a cell holds."""
    return text if len(text) <= MAX_TEXT else ExcelError.VALUE


# Parts


@scalar("LEN LENB", "text")
def _len(text: str) -> Scalar:
    return float(len(units(text)))


@scalar("LEFT LEFTB", "text integer?", text=True)
def _left(text: str, count: float = 1.0) -> Scalar:
    return ExcelError.VALUE if count < 0 else from_units(units(text)[: int(count)])


@scalar("RIGHT RIGHTB", "text integer?", text=True)
def _right(text: str, count: float = 1.0) -> Scalar:
    signs = units(text)
    return ExcelError.VALUE if count < 0 else from_units(signs[max(len(signs) - int(count), 0) :])


@scalar("MID MIDB", "text integer integer", text=True)
def _mid(text: str, start: float, count: float) -> Scalar:
    if start < 1 or count < 0:
        return ExcelError.VALUE
    return from_units(units(text)[int(start) - 1 : int(start) - 1 + int(count)])


@scalar("REPLACE REPLACEB", "text integer integer text", text=True)
def _replace(text: str, start: float, count: float, new: str) -> Scalar:
    if start < 1 or count < 0:
        return ExcelError.VALUE
    signs, first = units(text), int(start) - 1
    return limited(from_units(signs[:first] + units(new) + signs[first + int(count) :]))


@scalar("SUBSTITUTE", "text text text integer?", text=True)
def _substitute(text: str, old: str, new: str, instance: float | None = None) -> Scalar:
    if instance is not None and instance < 1:
        return ExcelError.VALUE
    if not old:
        return text
    if instance is None:
        return limited(text.replace(old, new))
    pieces = text.split(old)
    count = int(min(instance, len(pieces)))
    if count == len(pieces):
        return text
    return limited(old.join(pieces[:count]) + new + old.join(pieces[count:]))


# Case and blanks


def _mapped(name: str, change: Callable[[str], str]) -> None:
    scalar(name, "text", text=True)(change)


def _trim(text: str) -> str:
    return " ".join(word for word in text.split(" ") if word)


def _clean(text: str) -> str:
    return "".join(sign for sign in text if sign >= " ")


for _name, _change in (("UPPER", str.upper), ("LOWER", str.lower), ("PROPER", str.title), ("TRIM", _trim), ("CLEAN", _clean)):
    _mapped(_name, _change)


@scalar("REPT", "text integer", text=True)
def _rept(text: str, count: float) -> Scalar:
    return ExcelError.VALUE if count < 0 or count * len(text) > MAX_TEXT else text * int(count)


# Finding


@scalar("FIND FINDB", "text text integer?")
def _find(part: str, text: str, start: float = 1.0) -> Scalar:
    signs = units(text)
    if not 1 <= start <= max(len(signs), 1) + (not part):
        return ExcelError.VALUE
    position = signs.find(units(part), int(start) - 1)
    return ExcelError.VALUE if position < 0 else float(position + 1)


@scalar("SEARCH SEARCHB", "text text integer?")
def _search(pattern: str, text: str, start: float = 1.0) -> Scalar:
    signs = units(text)
    if not 1 <= start <= max(len(signs), 1) + (not pattern):
        return ExcelError.VALUE
    position, found = int(start) - 1, None
    for part in wildcard_parts(units(pattern)):
        match = re.compile(part, re.IGNORECASE | re.DOTALL).search(signs, position)
        if match is None:
            return ExcelError.VALUE
        found = match.start() if found is None else found
        position = match.end()
    return float((found or 0) + 1)


@scalar("EXACT", "text text")
def _exact(first: str, second: str) -> Scalar:
    return first == second


# Joining


@scalar("CONCATENATE", "(text)+", text=True)
def _concatenate(*texts: str) -> Scalar:
    return limited("".join(texts))


Cells = list[tuple[Value, bool]]


def known_blocks(call: Call, arguments: Sequence[Cells]) -> tuple[tuple[int, int], Iterator[list[list[Scalar]]]]:
    """For each cell of the block the elements of each array; and the block's rows and columns."""
    parts = [part for argument in arguments for part, _ in argument]
    if not all(part.known for part in parts):
        raise call.refuse("builds text from simulated values, which is not supported yet")
    rows, columns = broadcast_shape([(*part.shape[:2], 1, 1) for part in parts])[:2]
    lists = [call.kit.scalars(broadcast(part, (rows, columns, *part.shape[2:]))) for part in parts]
    sizes = [part.shape[2] * part.shape[3] for part in parts]
    cells = ([items[at * size : (at + 1) * size] for items, size in zip(lists, sizes, strict=True)] for at in range(rows * columns))
    return (rows, columns), cells


def _joined(delimiters: Sequence[str], items: Sequence[Scalar], *, skip_empty: bool = False) -> Scalar:
    """Items with the delimiters between them in turn. The first error passes."""
    texts: list[str] = []
    for item in items:
        text = to_text(item)
        if isinstance(text, ExcelError):
            return text
        if text or not skip_empty:
            texts.append(text)
    between = itertools.chain([""], itertools.cycle(delimiters))
    return limited("".join(part for pair in zip(between, texts, strict=False) for part in pair))


@function("CONCAT", "(cells)+")
def _concat(call: Call, *arguments: Cells) -> Value:
    size, blocks = known_blocks(call, arguments)
    return call.kit.from_scalars([_joined([""], list(itertools.chain(*arrays))) for arrays in blocks], (*size, 1, 1))


@function("TEXTJOIN", "cells any (cells)+")
def _textjoin(call: Call, delimiters: Cells, skip_empty: Value, *arguments: Cells) -> Value:
    mask, errors = call.kit.to_mask(skip_empty)
    flag = [(call.kit.with_tag(call.kit.boolean(mask).payload, errors), False)]
    size, blocks = known_blocks(call, [delimiters, flag, *arguments])
    split = len(delimiters)
    return call.kit.from_scalars([_text_joined(arrays, split) for arrays in blocks], (*size, 1, 1))


def _text_joined(arrays: Sequence[Sequence[Scalar]], split: int) -> Scalar:
    skip = arrays[split][0]
    if isinstance(skip, ExcelError):
        return skip
    between = [to_text(item) for item in itertools.chain(*arrays[:split])]
    wrong = [item for item in between if isinstance(item, ExcelError)]
    if wrong:
        return wrong[0]
    items = list(itertools.chain(*arrays[split + 1 :]))
    return _joined([str(item) for item in between], items, skip_empty=skip != 0)


@scalar("TEXTBEFORE", "text text integer? number? number? any?", text=True)
def _text_before(
    text: str, delimiter: str, instance: float = 1.0, mode: float = 0.0, end: float = 0.0, missing: Scalar = ExcelError.NA
) -> Scalar:
    place = _delimiter(text, delimiter, int(instance), mode, end)
    return missing if place is None else place if isinstance(place, ExcelError) else text[: place[0]]


@scalar("TEXTAFTER", "text text integer? number? number? any?", text=True)
def _text_after(
    text: str, delimiter: str, instance: float = 1.0, mode: float = 0.0, end: float = 0.0, missing: Scalar = ExcelError.NA
) -> Scalar:
    place = _delimiter(text, delimiter, int(instance), mode, end)
    return missing if place is None else place if isinstance(place, ExcelError) else text[place[1] :]


def _delimiter(text: str, delimiter: str, instance: int, mode: float, end: float) -> tuple[int, int] | ExcelError | None:
    """From where to where the instance of a delimiter goes, counted from the end where it is negative; None where there is none."""
    if instance == 0 or abs(instance) > max(len(text), 1):
        return ExcelError.VALUE
    if not delimiter:
        return (0, 0) if instance > 0 else (len(text), len(text))
    pattern = re.compile(re.escape(delimiter), re.IGNORECASE if mode else 0)
    places = [match.span() for match in pattern.finditer(text)]
    if end:
        places = [*places, (len(text), len(text))] if instance > 0 else [(0, 0), *places]
    if abs(instance) > len(places):
        return None
    return places[instance - 1 if instance > 0 else instance]


@function("ARRAYTOTEXT", "cells number?")
def _array_to_text(call: Call, cells: Cells, layout: Value | None = None) -> Value:
    strict = call.constant(layout, "format") if layout is not None else 0.0
    if strict not in (0.0, 1.0):
        return call.kit.error(ExcelError.VALUE)
    size, blocks = known_blocks(call, [cells])
    width = cells[0][0].shape[3]
    texts = [_strict_array(arrays[0], width) if strict else limited(", ".join(map(_shown, arrays[0]))) for arrays in blocks]
    return call.kit.from_scalars(texts, (*size, 1, 1))


def _shown(item: Scalar) -> str:
    return str(to_text(item))


def _strict_array(items: Sequence[Scalar], width: int) -> Scalar:
    """As an array constant is written."""
    shown = [f'"{item.replace(chr(34), chr(34) * 2)}"' if isinstance(item, str) else _shown(item) for item in items]
    rows = [",".join(shown[start : start + width]) for start in range(0, len(shown), width)]
    return limited("{" + ";".join(rows) + "}")


@scalar("HYPERLINK", "text any?", text=True)
def _hyperlink(link: str, friendly: Scalar = None) -> Scalar:
    return link if friendly is None else friendly


# Characters


@scalar("CHAR", "integer", text=True)
def _char(code: float) -> Scalar:
    if not 1 <= code <= 255:
        return ExcelError.VALUE
    return bytes([int(code)]).decode("cp1252", "replace") if int(code) not in UNASSIGNED else chr(int(code))


UNASSIGNED = (0x81, 0x8D, 0x8F, 0x90, 0x9D)  # in Windows-1252


@scalar("CODE", "text")
def _code(text: str) -> Scalar:
    if not text:
        return ExcelError.VALUE
    if ord(text[0]) in UNASSIGNED:
        return float(ord(text[0]))
    return float(text[0].encode("cp1252", "replace")[0])


@scalar("UNICHAR", "integer", text=True)
def _unichar(code: float) -> Scalar:
    if not 1 <= code <= 0x10FFFF:
        return ExcelError.VALUE
    return ExcelError.NA if 0xD800 <= code <= 0xDFFF else chr(int(code))


@scalar("UNICODE", "text")
def _unicode(text: str) -> Scalar:
    return float(ord(text[0])) if text else ExcelError.VALUE


# Numbers as text, text as numbers


@function("VALUE", "any")
def _value(call: Call, value: Value) -> Value:
    kit = call.kit
    dated = kit.scalar_function(_with_year(call), (value,), "VALUE") if value.known else value
    return kit.fail_where(kit.to_number(dated), kit.is_kind(dated, BOOLEAN), ExcelError.VALUE)


def _with_year(call: Call) -> Callable[[Scalar], Scalar]:
    """Text to numbers; a date without a year is one of the year of the run's clock."""

    def read(value: Scalar) -> Scalar:
        if not isinstance(value, str):
            return value
        number = number_in_text(value, call.lowering.now.year)
        return ExcelError.VALUE if number is None else number

    return read


@scalar("NUMBERVALUE", "text text? text?")
def _numbervalue(text: str, point: str = ".", group: str = ",") -> Scalar:
    if not point or not group or point[0] == group[0]:
        return ExcelError.VALUE
    plain = "".join(text.split())
    whole, mark, fraction = plain.partition(point[0])
    if not plain:
        return 0.0
    if group[0] in fraction:
        return ExcelError.VALUE
    percents = len(plain) - len(plain.rstrip("%"))
    number = number_in_text((whole.replace(group[0], "") + ("." if mark else "") + fraction).rstrip("%"))
    return ExcelError.VALUE if number is None else number / 100.0**percents


@function("TEXT", "any text")
def _text(call: Call, value: Value, pattern: Value) -> Value:
    if not (value.known and pattern.known):
        raise call.refuse("builds text from simulated values, which is not supported yet")
    shift_1904 = call.lowering.graph.book.date1904

    def body(item: Scalar, form: str) -> Scalar:
        number = number_in_text(item, call.lowering.now.year) if isinstance(item, str) else item
        return formatted(item if number is None and isinstance(item, str) else number, form, date1904=shift_1904)

    return call.kit.scalar_function(body, call.kit.aligned((value, pattern)), "TEXT")


MAX_DECIMALS = 127  # of FIXED and DOLLAR (Microsoft's page on FIXED)


def _fixed_text(number: float, decimals: float) -> str | None:
    """The size of a number rounded to decimals, or to tens and hundreds where they are negative."""
    if decimals > MAX_DECIMALS:
        return None
    places = max(int(decimals), -400)
    if places >= 0:
        return rounded(decimal_of(abs(number)), places)
    return rounded(Decimal(rounded(decimal_of(abs(number)).scaleb(places), 0)).scaleb(-places), 0)


@scalar("FIXED", "number integer? any?", text=True)
def _fixed(number: float, decimals: float = 2.0, no_commas: Scalar = False) -> Scalar:
    text = _fixed_text(number, decimals)
    plain = truth(no_commas)
    if text is None or isinstance(plain, ExcelError):
        return ExcelError.VALUE
    sign = "-" if number < 0 and text.strip("0.") else ""
    return sign + (text if plain else grouped(text))


@scalar("DOLLAR", "number integer?", text=True)
def _dollar(number: float, decimals: float = 2.0) -> Scalar:
    text = _fixed_text(number, decimals)
    if text is None:
        return ExcelError.VALUE
    return f"(${grouped(text)})" if number < 0 and text.strip("0.") else f"${grouped(text)}"


# Splitting


@function("TEXTSPLIT", "text array array? any? any? any?")
def _textsplit(
    call: Call,
    text: Value,
    across: Value,
    down: Value | None = None,
    skip_empty: Value | None = None,
    mode: Value | None = None,
    pad: Value | None = None,
) -> Value:
    kit = call.kit
    given = [text, across, down, skip_empty, mode, pad]
    arguments = [kit.blank() if value is None else value for value in given]
    if not all(value.known for value in arguments):
        raise call.refuse("of simulated text is not supported yet")
    if any(value.shape[:2] != (1, 1) for value in arguments):
        raise Unroll
    scalars = [kit.scalars(value) for value in arguments]
    rows = _split_rows(scalars[0][0], scalars[1], scalars[2], scalars[3][0], scalars[4][0])
    return kit.error(rows) if isinstance(rows, ExcelError) else kit.array(_filled_up(rows, ExcelError.NA if pad is None else scalars[5][0]))


def _split_rows(
    text: Scalar, across: Sequence[Scalar], down: Sequence[Scalar], skip_empty: Scalar, mode: Scalar
) -> list[list[str]] | ExcelError:
    skip, loosely = truth(skip_empty), truth(mode)
    patterns = [_delimiters(delimiters, loosely is True) for delimiters in (across, down)]
    for item in (text, skip, loosely, *patterns):
        if isinstance(item, ExcelError):
            return item
    if patterns == [None, None] or not text:
        return ExcelError.VALUE
    lines = _pieces(str(text), patterns[1], skip is True)
    rows = [_pieces(line, patterns[0], skip is True) for line in lines]
    return rows if any(rows) else ExcelError.CALC


def _delimiters(values: Sequence[Scalar], loosely: bool) -> re.Pattern[str] | ExcelError | None:
    """What any of the delimiters matches, None where none is given; an empty one is #VALUE!."""
    texts = [to_text(value) for value in values if value is not None]
    wrong = [text if isinstance(text, ExcelError) else ExcelError.VALUE for text in texts if isinstance(text, ExcelError) or not text]
    if wrong or not texts:
        return wrong[0] if wrong else None
    longest_first = sorted((str(text) for text in texts), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE if loosely else 0)


def _pieces(text: str, pattern: re.Pattern[str] | ExcelError | None, skip_empty: bool) -> list[str]:
    pieces = pattern.split(text) if isinstance(pattern, re.Pattern) else [text]
    return [piece for piece in pieces if piece or not skip_empty]


def _filled_up(rows: list[list[str]], pad: Scalar) -> list[list[Scalar]]:
    width = max(map(len, rows))
    return [[*row, *[pad] * (width - len(row))] for row in rows]
