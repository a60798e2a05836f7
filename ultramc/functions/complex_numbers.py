"""Complex numbers, which Excel writes as text: ``3+4i``."""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import chain

from attrs import frozen

from ultramc.functions import function, scalar
from ultramc.functions.kit import Value
from ultramc.functions.text import Cells, known_blocks
from ultramc.lowering import Call
from ultramc.values import ExcelError, Scalar, number_text

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]?\d+)?"
_COMPLEX = re.compile(rf"(?:(?P<real>[+-]?{_NUMBER})(?=[+-]|$))?(?:(?P<imaginary>[+-]?(?:{_NUMBER})?)(?P<unit>[ij]))?", re.ASCII)


@frozen
class Complex:
    value: complex
    unit: str = ""  # i or j, empty where nothing was imaginary


def parsed(text: Scalar) -> Complex | ExcelError:
    """A number or a text such as ``3+4i``; #NUM! where it is none, #VALUE! for a boolean."""
    if isinstance(text, bool):
        return ExcelError.VALUE
    if not isinstance(text, str):
        return Complex(complex(text or 0.0)) if not isinstance(text, ExcelError) else text
    match = _COMPLEX.fullmatch(text)
    if not match or not text:
        return ExcelError.NUM
    factor = match["imaginary"] if match["unit"] else "0"
    imaginary = float(f"{factor}1") if factor in ("", "+", "-") else float(factor)
    return Complex(complex(float(match["real"] or 0), imaginary), match["unit"] or "")


def written(number: complex, unit: str) -> Scalar:
    """As Excel writes it, 15 digits each; #NUM! where a part is not finite."""
    if not cmath.isfinite(number):
        return ExcelError.NUM
    if number.imag == 0:
        return number_text(number.real)
    factor = {1.0: "", -1.0: "-"}.get(number.imag, number_text(number.imag))
    if number.real == 0:
        return f"{factor}{unit or 'i'}"
    return f"{number_text(number.real)}{'' if number.imag < 0 else '+'}{factor}{unit or 'i'}"


def _joint(numbers: list[Complex]) -> str | ExcelError:
    """The unit of several numbers; #VALUE! where they differ."""
    units = {number.unit for number in numbers} - {""}
    return ExcelError.VALUE if len(units) > 1 else next(iter(units), "")


@scalar("COMPLEX", "number! number! text?", text=True)
def _complex(real: float, imaginary: float, unit: str = "i") -> Scalar:
    return written(complex(real, imaginary), unit or "i") if unit in ("i", "j", "") else ExcelError.VALUE


def _part(name: str, part: Callable[[complex], float]) -> None:
    @scalar(name, "any")
    def body(text: Scalar) -> Scalar:
        number = parsed(text)
        return number if isinstance(number, ExcelError) else part(number.value)


_part("IMREAL", lambda number: number.real)
_part("IMAGINARY", lambda number: number.imag)
_part("IMABS", abs)


@scalar("IMARGUMENT", "any")
def _imargument(text: Scalar) -> Scalar:
    number = parsed(text)
    if isinstance(number, ExcelError):
        return number
    return cmath.phase(number.value) if number.value else ExcelError.DIV0


def _mapped(name: str, change: Callable[[complex], complex]) -> None:
    @scalar(name, "any", text=True)
    def body(text: Scalar) -> Scalar:
        number = parsed(text)
        if isinstance(number, ExcelError):
            return number
        try:
            return written(change(number.value), number.unit)
        except ValueError:  # cmath's "math domain error", at a pole
            return ExcelError.NUM


def _inverse(change: Callable[[complex], complex]) -> Callable[[complex], complex]:
    return lambda number: 1 / change(number)


_MAPPED: tuple[tuple[str, Callable[[complex], complex]], ...] = (
    ("IMCONJUGATE", complex.conjugate),
    ("IMSQRT", cmath.sqrt),
    ("IMEXP", cmath.exp),
    ("IMLN", cmath.log),
    ("IMLOG10", cmath.log10),
    ("IMLOG2", lambda number: cmath.log(number) / math.log(2)),
    ("IMSIN", cmath.sin),
    ("IMCOS", cmath.cos),
    ("IMTAN", cmath.tan),
    ("IMSINH", cmath.sinh),
    ("IMCOSH", cmath.cosh),
    ("IMSEC", _inverse(cmath.cos)),
    ("IMCSC", _inverse(cmath.sin)),
    ("IMCOT", _inverse(cmath.tan)),
    ("IMSECH", _inverse(cmath.cosh)),
    ("IMCSCH", _inverse(cmath.sinh)),
)


def _total(name: str, start: complex, combine: Callable[[complex, complex], complex]) -> None:
    """Over all that ranges hold; a blank is 0."""

    @function(name, "(cells)+")
    def body(call: Call, *arguments: Cells) -> Value:
        size, blocks = known_blocks(call, arguments)
        return call.kit.from_scalars([_combined(list(chain(*arrays)), start, combine) for arrays in blocks], (*size, 1, 1))


def _combined(items: Sequence[Scalar], start: complex, combine: Callable[[complex, complex], complex]) -> Scalar:
    numbers = [parsed(item) for item in items]
    wrong = [number for number in numbers if isinstance(number, ExcelError)]
    if wrong:
        return wrong[0]
    right = [number for number in numbers if isinstance(number, Complex)]
    unit = _joint(right)
    return unit if isinstance(unit, ExcelError) else written(reduce(combine, [number.value for number in right], start), unit)


def _pair(name: str, combine: Callable[[complex, complex], complex]) -> None:
    @scalar(name, "any any", text=True)
    def body(first: Scalar, second: Scalar) -> Scalar:
        one, other = parsed(first), parsed(second)
        if isinstance(one, ExcelError):
            return one
        if isinstance(other, ExcelError):
            return other
        unit = _joint([one, other])
        return unit if isinstance(unit, ExcelError) else written(combine(one.value, other.value), unit)


for _name, _change in _MAPPED:
    _mapped(_name, _change)
_total("IMSUM", 0j, lambda x, y: x + y)
_total("IMPRODUCT", 1 + 0j, lambda x, y: x * y)
_pair("IMSUB", lambda x, y: x - y)
_pair("IMDIV", lambda x, y: x / y)


@scalar("IMPOWER", "any number!", text=True)
def _impower(text: Scalar, power: float) -> Scalar:
    number = parsed(text)
    if isinstance(number, ExcelError):
        return number
    return ExcelError.NUM if number.value == 0 and power <= 0 else written(number.value**power, number.unit)
