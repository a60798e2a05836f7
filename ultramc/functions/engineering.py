"""Numbers in other bases, Roman numerals, bits, Bessel functions, and tests of a number."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

from ultramc.functions import elementwise, scalar
from ultramc.functions.kit import ONE, ZERO, Kit
from ultramc.program import Operand
from ultramc.values import ExcelError, Scalar, to_text

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LONGEST = 10  # digits of the numbers that BIN2DEC and its like take and give; negative ones are complements of so many

# name → base, and how many bits its ten digits hold
_BASES = {"BIN": (2, 10), "OCT": (8, 30), "HEX": (16, 40)}


def digits_of(number: int, base: int) -> str:
    """A number from 0 on in a base from 2 to 36."""
    text = ""
    while number or not text:
        number, digit = divmod(number, base)
        text = DIGITS[digit] + text
    return text


def _read(text: str, name: str) -> int | None:
    """A number of ten digits, the largest of which stand for negative numbers."""
    base, bits = _BASES[name]
    if len(text) > LONGEST or any(sign not in DIGITS[:base] for sign in text.upper()):
        return None
    number = int(text, base) if text else 0
    return number - (1 << bits) if number >> (bits - 1) else number


def _written(number: int, name: str, places: float | None) -> Scalar:
    base, bits = _BASES[name]
    if not -(1 << (bits - 1)) <= number < 1 << (bits - 1):
        return ExcelError.NUM
    if places is not None and not 1 <= places <= LONGEST:
        return ExcelError.NUM
    text = digits_of(number if number >= 0 else number + (1 << bits), base)
    if places is None or number < 0:
        return text
    return text.zfill(int(places)) if len(text) <= places else ExcelError.NUM


def _as_digits(value: Scalar) -> str | ExcelError:
    """An argument in another base: digits as text, or a number that shows them."""
    text = ExcelError.VALUE if isinstance(value, bool) else to_text(value)
    return text.strip() if isinstance(text, str) else text


def _to_decimal(name: str) -> None:
    @scalar(f"{name}2DEC", "any")
    def body(value: Scalar) -> Scalar:
        text = _as_digits(value)
        number = text if isinstance(text, ExcelError) else _read(text, name)
        return ExcelError.NUM if number is None else number if isinstance(number, ExcelError) else float(number)


def _from_decimal(name: str) -> None:
    @scalar(f"DEC2{name}", "number! integer!?", text=True)
    def body(number: float, places: float | None = None) -> Scalar:
        return _written(int(number), name, places)


def _between(source: str, target: str) -> None:
    @scalar(f"{source}2{target}", "any integer!?", text=True)
    def body(value: Scalar, places: float | None = None) -> Scalar:
        text = _as_digits(value)
        number = text if isinstance(text, ExcelError) else _read(text, source)
        if number is None or isinstance(number, ExcelError):
            return number or ExcelError.NUM
        return _written(number, target, places)


for _name in _BASES:
    _to_decimal(_name)
    _from_decimal(_name)
    for _other in _BASES:
        if _other != _name:
            _between(_name, _other)


LARGEST_WHOLE = 2**53  # the first whole number that BASE and DECIMAL refuse


@scalar("BASE", "number integer integer?", text=True)
def _base(number: float, base: float, width: float = 0.0) -> Scalar:
    if not (0 <= number < LARGEST_WHOLE and 2 <= base <= 36 and 0 <= width <= 255):
        return ExcelError.NUM
    return digits_of(int(number), int(base)).zfill(int(width))


@scalar("DECIMAL", "text integer")
def _decimal(text: str, base: float) -> Scalar:
    if len(text) > 255:
        return ExcelError.VALUE
    if not 2 <= base <= 36 or any(sign not in DIGITS[: int(base)] for sign in text.strip().upper()):
        return ExcelError.NUM
    return float(int(text, int(base))) if text.strip() else 0.0


# Roman numerals: for each form (0 is the classic one, 4 the shortest) the values that one sign or pair stands for

_CLASSIC = "M1000 CM900 D500 CD400 C100 XC90 L50 XL40 X10 IX9 V5 IV4 I1"
_SHORTER = ("", "LM950 LD450 VC95 VL45", "XM990 XD490 IC99 IL49", "VM995 VD495", "IM999 ID499")


def _symbols(form: int) -> list[tuple[str, int]]:
    words = " ".join((_CLASSIC, *_SHORTER[: form + 1])).split()
    pairs = [(word.rstrip("0123456789"), int(word.lstrip("CDILMVX"))) for word in words]
    return sorted(pairs, key=lambda pair: -pair[1])


_ROMAN = tuple(_symbols(form) for form in range(5))


@scalar("ROMAN", "integer any?", text=True)
def _roman(number: float, form: Scalar = 0.0) -> Scalar:
    kind = 0 if form is True else 4 if form is False else form or 0
    if not isinstance(kind, (int, float)) or not (0 <= number <= 3999 and 0 <= kind < 5):
        return ExcelError.VALUE
    text, rest = "", int(number)
    for sign, value in _ROMAN[int(kind)]:
        text += sign * (rest // value)
        rest %= value
    return text


_SIGNS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


@scalar("ARABIC", "text")
def _arabic(text: str) -> Scalar:
    signs = text.strip().upper()
    body = signs.removeprefix("-")
    if len(signs) > 255 or any(sign not in _SIGNS for sign in body):
        return ExcelError.VALUE
    values = [_SIGNS[sign] for sign in body]
    total = sum(-value if value < max(values[place:]) else value for place, value in enumerate(values))
    return float(-total if signs.startswith("-") else total)


# Tests of a number


def _flag(kit: Kit, mask: Operand) -> Operand:
    return kit.emit("select", mask, ONE, ZERO)


@elementwise("DELTA", "number! number!?")
def _delta(kit: Kit, x: Operand, y: Operand = ZERO) -> Operand:
    return _flag(kit, kit.emit("equal", x, y))


@elementwise("GESTEP", "number! number!?")
def _gestep(kit: Kit, x: Operand, step: Operand = ZERO) -> Operand:
    return _flag(kit, kit.emit("less_equal", step, x))


# Bits

LARGEST_BITS = 2**48


def _are_bits(*numbers: float) -> bool:
    return all(0 <= number < LARGEST_BITS and number == int(number) for number in numbers)


def _on_bits(name: str, combine: Callable[[int, int], int]) -> None:
    @scalar(name, "number! number!")
    def body(x: float, y: float) -> Scalar:
        return float(combine(int(x), int(y))) if _are_bits(x, y) else ExcelError.NUM


for _name, _combine in (("BITAND", operator.and_), ("BITOR", operator.or_), ("BITXOR", operator.xor)):
    _on_bits(_name, _combine)


def _shifted(number: float, places: float) -> Scalar:
    if not _are_bits(number) or abs(places) > 53:
        return ExcelError.NUM
    result = int(number) << int(places) if places >= 0 else int(number) >> -int(places)
    return float(result) if result < LARGEST_BITS else ExcelError.NUM


@scalar("BITLSHIFT", "number! integer!")
def _bit_left(number: float, places: float) -> Scalar:
    return _shifted(number, places)


@scalar("BITRSHIFT", "number! integer!")
def _bit_right(number: float, places: float) -> Scalar:
    return _shifted(number, -places)


# Bessel functions of whole order


def _bessel(name: str, function: str, *, positive: bool) -> None:
    """`positive`: the function has a pole at 0."""

    @scalar(name, "number! integer!")
    def body(x: float, order: float) -> Scalar:
        import scipy.special

        if order < 0 or (positive and x <= 0):
            return ExcelError.NUM
        value = float(getattr(scipy.special, function)(order, x))
        return value if math.isfinite(value) else ExcelError.NUM


for _name, _function, _pole in (("BESSELJ", "jv", False), ("BESSELI", "iv", False), ("BESSELY", "yv", True), ("BESSELK", "kv", True)):
    _bessel(_name, _function, positive=_pole)
