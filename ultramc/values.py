"""What a cell may hold, and how Excel coerces it.

In Python a cell value is a float, a bool, a str, None (blank) or an `ExcelError`. In a program it is a float64 payload
beside a `Kind`: a boolean's payload is 0 or 1, a text's its code in the program's string table, any other's 0.
"""

from __future__ import annotations

import enum
import math

MAX_TEXT = 32_767  # characters in a cell (Excel specifications and limits)


class ExcelError(enum.Enum):
    """An error as an outcome: a value like any other."""

    NULL = "#NULL!"
    DIV0 = "#DIV/0!"
    VALUE = "#VALUE!"
    REF = "#REF!"
    NAME = "#NAME?"
    NUM = "#NUM!"
    NA = "#N/A"
    GETTING_DATA = "#GETTING_DATA"
    SPILL = "#SPILL!"
    CONNECT = "#CONNECT!"
    BLOCKED = "#BLOCKED!"
    UNKNOWN = "#UNKNOWN!"
    FIELD = "#FIELD!"
    CALC = "#CALC!"
    BUSY = "#BUSY!"
    PYTHON = "#PYTHON!"

    def __str__(self) -> str:
        return self.value

    @property
    def kind(self) -> int:
        return _KIND_OF_ERROR[self]


Scalar = float | bool | str | ExcelError | None

ERRORS = tuple(ExcelError)
ERROR_NAMES = {error.value: error for error in ERRORS}


class Kind(enum.IntEnum):
    """The tag of a value. Errors follow from `FIRST_ERROR` in the order of `ExcelError`."""

    NUMBER = 0
    BOOLEAN = 1
    TEXT = 2
    BLANK = 3
    ABSENT = 4


FIRST_ERROR = 8
_KIND_OF_ERROR = {error: FIRST_ERROR + index for index, error in enumerate(ERRORS)}
ERROR_KINDS = sum(1 << kind for kind in _KIND_OF_ERROR.values())  # all errors, as a bit set of kinds


def error_of(kind: int) -> ExcelError:
    return ERRORS[kind - FIRST_ERROR]


def kind_of(value: Scalar) -> int:
    """The tag of a Python cell value."""
    if value is None:
        return Kind.BLANK
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, str):
        return Kind.TEXT
    if isinstance(value, ExcelError):
        return value.kind
    return Kind.NUMBER


def number_text(value: float) -> str:
    """A number as ``&`` and General show it: up to 15 digits, E notation from 1E+21 and below 1E-4 where that is shorter.

    >>> number_text(0.1 + 0.2), number_text(1e21), number_text(-5.0), number_text(1234567.891)
    ('0.3', '1E+21', '-5', '1234567.891')
    """
    if value == 0:
        return "0"
    digits, _, exponent_text = f"{value:.14e}".partition("e")
    exponent = int(exponent_text)
    mantissa = digits.rstrip("0").rstrip(".")
    if -5 <= exponent < 0 or 0 <= exponent <= 20:
        return _plain(value, exponent)
    if exponent < 0 and len(mantissa.lstrip("-").replace(".", "")) - exponent <= 20:
        return _plain(value, exponent)
    return f"{mantissa}E{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _plain(value: float, exponent: int) -> str:
    if exponent >= 15:
        return f"{float(f'{value:.14e}'):.0f}"
    text = f"{value:.{14 - exponent}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_text(value: Scalar) -> str | ExcelError:
    """As an operand of ``&``."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (str, ExcelError)):
        return value
    return number_text(value)


def to_json(value: Scalar) -> object:
    """Numbers, text and booleans as they are, blank as None, an error as ``{"error": "#DIV/0!"}``."""
    if isinstance(value, ExcelError):
        return {"error": value.value}
    if isinstance(value, float) and not math.isfinite(value):
        return {"error": ExcelError.NUM.value}
    return value
