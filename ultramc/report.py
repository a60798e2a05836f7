"""How results look: one kind of table that prints as aligned text and as notebook HTML.

Labels come from strangers' workbooks: what a terminal or a browser would act upon is taken out here.
"""

from __future__ import annotations

import html
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from attrs import frozen

MAX_ROWS = 20
MAX_LABEL = 48
_BARS = " ▁▂▃▄▅▆▇█"
_STYLE = "border-collapse:collapse;font-variant-numeric:tabular-nums"


@frozen
class Shape:
    """Counts of a small histogram: a sparkline in text, an inline SVG in HTML."""

    counts: tuple[int, ...]

    def text(self) -> str:
        top = max(self.counts, default=0) or 1
        return "".join(_BARS[math.ceil(count / top * (len(_BARS) - 1))] for count in self.counts)

    def svg(self, width: int = 160, height: int = 28) -> str:
        top, step = max(self.counts, default=0) or 1, width / max(len(self.counts), 1)
        heights = [height * count / top for count in self.counts]
        bars = "".join(
            f'<rect x="{index * step:.1f}" y="{height - tall:.1f}" width="{step * 0.92:.1f}" height="{tall:.1f}"/>'
            for index, tall in enumerate(heights)
        )
        return f'<svg width="{width}" height="{height}" fill="#3b6fb6" role="img" aria-label="histogram">{bars}</svg>'


@frozen
class Bar:
    """A share from 0 to 1 as a bar."""

    share: float

    def text(self, width: int = 20) -> str:
        return ("█" * round(self.share * width)).ljust(width)

    def svg(self, width: int = 160, height: int = 12) -> str:
        bar = f'<rect width="{self.share * width:.1f}" height="{height}"/>'
        return f'<svg width="{width}" height="{height}" fill="#3b6fb6" role="img" aria-label="bar">{bar}</svg>'


Field = str | Shape | Bar


@frozen
class Table:
    """Rows of text under headers; the first column left-aligned, the others right. Beyond 20 rows the rest is counted."""

    title: str
    subtitle: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Field, ...], ...]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        rows = [self.headers, *([_text(field) for field in row] for row in self.rows[:MAX_ROWS])]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
        return "\n".join([f"{printable(self.title, 200)} · {self.subtitle}", *(lines if self.rows else ()), *self._remarks()])

    def html(self) -> str:
        head = "".join(f"<th>{html.escape(header)}</th>" for header in self.headers)
        body = "".join(f"<tr>{''.join(map(_html, row))}</tr>" for row in self.rows[:MAX_ROWS])
        remarks = "".join(f"<div>{html.escape(remark)}</div>" for remark in self._remarks())
        title = f"<strong>{html.escape(printable(self.title, 200))}</strong> · {html.escape(self.subtitle)}"
        return f'<div>{title}<table style="{_STYLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{remarks}</div>'

    def _remarks(self) -> list[str]:
        more = len(self.rows) - MAX_ROWS
        return [*([f"… {more:,} more"] if more > 0 else ()), *(printable(note, 400) for note in self.notes)]


class Shown(ABC):
    """Prints, and shows itself in a notebook, as its table."""

    __slots__ = ()

    @abstractmethod
    def table(self) -> Table: ...

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()


def number(value: float, digits: int = 6) -> str:
    """Significant digits with thousands separated, 1,018.43; a whole number without decimals; NaN is a dash."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    size = abs(value)
    if size != 0 and not 1e-4 <= size < 1e15:
        return f"{value:.{digits - 1}e}"
    decimals = 0 if value == int(value) else digits - 1 - math.floor(math.log10(size))
    return f"{value:,.{max(decimals, 0)}f}"


def error_text(standard_error: float | None) -> str:
    """Three digits; a dash where it is unknown."""
    return "–" if standard_error is None else number(standard_error, 3)


def counted(count: int, noun: str) -> str:
    """1 iteration, 12,000 iterations."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def printable(text: str, limit: int = MAX_LABEL) -> str:
    """On one line, without control characters or escape sequences, cut at `limit` characters."""
    shown = "".join(character if character.isprintable() else "·" for character in text[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def spreadsheet_text(text: str) -> str:
    """Text that a spreadsheet takes for text: an apostrophe before what it would run as a formula (OWASP, "CSV injection")."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _text(field: Field) -> str:
    return printable(field) if isinstance(field, str) else field.text()


def _html(field: Field) -> str:
    return f"<td>{html.escape(printable(field)) if isinstance(field, str) else field.svg()}</td>"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
