"""Excel's number formats: ``#,##0.00;[Red](#,##0.00)``, ``0.0%``, ``# ?/?``, ``yyyy-mm-dd hh:mm``, ``General``.

A format is read once into sections of tokens (ECMA-376 part 1, 18.8.31); a value picks its section and is written token
by token. US conventions.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import lru_cache

from attrs import evolve, frozen

from ultramc.functions.serials import LAST_SERIAL, SHIFT_1904, civil
from ultramc.values import ExcelError, Scalar, to_text

LONGEST_FORMAT = 255  # characters that Excel takes as a format

MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
DAYS = ["Saturday", "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]  # by serial number modulo 7

_TOKEN = re.compile(
    r"""
      "(?P<quoted>[^"]*)"?
    | \\(?P<escaped>.)
    | _(?P<space>.)
    | \*(?P<fill>.)
    | \[(?P<elapsed>h+|m+|s+)\]
    | \[(?P<bracket>[^\]]*)\]
    | (?P<general>General)
    | (?P<half>AM/PM|A/P)
    | (?P<subsecond>(?<=s)\.0+|(?<=s\])\.0+)
    | (?P<date>y+|m+|d+|h+|s+|e+(?![+-])|b+)
    | (?P<exponent>E[+-])
    | (?P<digit>[0#?])
    | (?P<mark>[.,%/@;])
    | (?P<plain>.)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)\s*(-?\d*\.?\d+(?:E[+-]?\d+)?)", re.IGNORECASE)
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "<>": operator.ne,
}  # fmt: skip
_CURRENCY = re.compile(r"\$([^-]*)(-.*)?")


@frozen
class Token:
    """`kind` is a group of the token pattern, or "literal" for what is shown as it is."""

    kind: str
    text: str


@frozen
class Condition:
    comparison: str
    bound: float

    def holds(self, number: float) -> bool:
        return _COMPARISONS[self.comparison](number, self.bound)

    @property
    def only_negative(self) -> bool:
        return (self.comparison == "<" and self.bound <= 0) or (self.comparison in ("<=", "=") and self.bound < 0)


@frozen
class Section:
    tokens: tuple[Token, ...]
    condition: Condition | None = None

    def has(self, *kinds: str) -> bool:
        return any(token.kind in kinds for token in self.tokens)


def formatted(value: Scalar, pattern: str, *, date1904: bool = False) -> Scalar:
    """A value as a cell of that format would show it, or `#VALUE!` where it cannot (a date before 1900).

    >>> formatted(1234.567, "#,##0.00"), formatted(-0.25, "0%"), formatted(43861.75, "d mmm yyyy h:mm AM/PM"), formatted(2.5, "# ?/?")
    ('1,234.57', '-25%', '31 Jan 2020 6:00 PM', '2 1/2')
    """
    if isinstance(value, (bool, ExcelError)):
        return to_text(value)
    sections = sections_of(pattern)
    if sections is None:
        return ExcelError.VALUE
    if isinstance(value, str):
        return _text_shown(value, sections)
    return _number_shown(value or 0.0, sections, date1904)


@lru_cache(maxsize=4_096)
def sections_of(pattern: str) -> tuple[Section, ...] | None:
    """The sections of a format; None where Excel would not take it."""
    if len(pattern) > LONGEST_FORMAT:
        return None
    sections: list[list[Token]] = [[]]
    for match in _TOKEN.finditer(pattern):
        token = _token(match)
        if token == Token("mark", ";"):
            sections.append([])
        else:
            sections[-1].append(token)
    return tuple(map(_section, sections)) if len(sections) <= 4 else None


def _token(match: re.Match[str]) -> Token:
    kind = match.lastgroup or "plain"
    text = match[kind]
    if kind in ("quoted", "escaped", "plain"):
        return Token("literal", text)
    if kind == "space":
        return Token("literal", " ")
    if kind == "fill":
        return Token("literal", "")
    return Token(kind, text.lower() if kind in ("date", "elapsed") else text)


def _section(tokens: Sequence[Token]) -> Section:
    condition, kept = None, []
    for token in tokens:
        match = _CONDITION.fullmatch(token.text) if token.kind == "bracket" else None
        if match is not None:
            condition = Condition(match[1], float(match[2]))
        elif token.kind == "bracket":
            currency = _CURRENCY.fullmatch(token.text)
            kept += [Token("literal", currency[1])] if currency else []  # else a colour or a script, which do not show
        else:
            kept.append(token)
    section = Section(tuple(kept), condition)
    return evolve(section, tokens=_with_minutes(section.tokens)) if section.has("date", "elapsed") else section


def _with_minutes(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """``m`` beside hours or seconds stands for minutes."""
    times = [index for index, token in enumerate(tokens) if token.kind in ("date", "elapsed")]
    result = list(tokens)
    for place, index in enumerate(times):
        token = tokens[index]
        if token.kind == "date" and token.text in ("m", "mm"):
            before = tokens[times[place - 1]].text[0] if place else ""
            after = tokens[times[place + 1]].text[0] if place + 1 < len(times) else ""
            if before in ("h", "s") or after == "s":
                result[index] = Token("minute", token.text)
    return tuple(_elapsed_too(token, result) for token in result)


def _elapsed_too(token: Token, tokens: Sequence[Token]) -> Token:
    """Beside ``[h]`` a plain ``h`` counts all hours as well."""
    counted = {other.text[0] for other in tokens if other.kind == "elapsed"}
    hours_or_seconds = token.kind == "date" and token.text[0] in "hs"
    return Token("elapsed", token.text) if (hours_or_seconds or token.kind == "minute") and token.text[0] in counted else token


# Which section


def _text_shown(text: str, sections: Sequence[Section]) -> str:
    """By the fourth section, or the last one if it has ``@``."""
    tokens = sections[-1].tokens
    if len(sections) < 4 and AT not in tokens:
        return text
    return "".join(text if token == AT else token.text for token in tokens if token == AT or token.kind == "literal")


AT = Token("mark", "@")


def _number_shown(number: float, sections: Sequence[Section], date1904: bool) -> Scalar:
    section, signed = _chosen(number, _number_sections(sections))
    if section is None:
        return ExcelError.VALUE
    if section.has("date", "elapsed", "minute", "half"):
        shown = _date_shown(abs(number) if date1904 else number, section, SHIFT_1904 if date1904 else 0)
        return f"-{shown}" if date1904 and number < 0 and isinstance(shown, str) else shown
    if section.has("general") or AT in section.tokens:
        return _general_shown(number if signed else abs(number), section)
    shown = _figures_shown(abs(number), section)
    rounded_away = section.has("digit") and shown == _figures_shown(0.0, section)
    return f"-{shown}" if signed and number < 0 and not rounded_away else shown


def _number_sections(sections: Sequence[Section]) -> Sequence[Section]:
    """Without the section for text."""
    for_text = len(sections) == 4 or (len(sections) > 1 and AT in sections[-1].tokens)
    return sections[:-1] if for_text else sections


def _chosen(number: float, sections: Sequence[Section]) -> tuple[Section | None, bool]:
    """The section for a number, and whether its sign is to be written."""
    if any(section.condition for section in sections):
        return _by_condition(number, sections)
    if len(sections) == 1 or number > 0 or (number == 0 and len(sections) == 2):
        return sections[0], True
    return (sections[1], False) if number < 0 else (sections[2], True)


def _by_condition(number: float, sections: Sequence[Section]) -> tuple[Section | None, bool]:
    if len(sections) > 1 and sections[1].condition is None and len(sections) == 3:
        sections = [sections[0], evolve(sections[1], condition=Condition("<", 0.0)), sections[2]]
    for place, section in enumerate(sections):
        if section.condition is None:
            negative_only = place == 1 and sections[0].condition == Condition(">=", 0.0)
            return section, not negative_only
        if section.condition.holds(number):
            return section, not section.condition.only_negative
    return (GENERAL, True) if len(sections) == 1 else (None, True)


GENERAL = Section((Token("general", "General"),))


# Numbers


def decimal_of(number: float) -> Decimal:
    """The 15 digits that Excel works with."""
    return Decimal(f"{number:.14e}")


def grouped(digits: str) -> str:
    """A plain decimal with commas between thousands."""
    whole, point, fraction = digits.partition(".")
    return f"{int(whole):,}{point}{fraction}"


def general(number: float) -> str:
    """A number as a cell of format General shows it, in at most 11 characters beside the sign.

    >>> general(1 / 3), general(123456789012.0), general(-5.0), general(1.2345e-7)
    ('0.333333333', '1.23457E+11', '-5', '1.2345E-07')
    """
    if number == 0:
        return "0"
    size = abs(number)
    exponent = int(f"{size:.14e}".partition("e")[2])
    sign = "-" if number < 0 else ""
    plain = _plain(size, exponent) if -10 < exponent < 11 else ""
    if plain and (exponent >= -4 or (len(plain) <= GENERAL_WIDTH and float(plain) == size)):
        return sign + plain
    mantissa, _, power = f"{size:.5e}".partition("e")
    return f"{sign}{mantissa.rstrip('0').rstrip('.')}E{power[0]}{power[1:]:0>2}"


GENERAL_WIDTH = 11


def _plain(size: float, exponent: int) -> str:
    text = rounded(decimal_of(size), max(0, min(9, 9 - exponent)) if exponent >= -4 else 12)
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded(number: Decimal, places: int) -> str:
    """Halves away from zero."""
    scaled = number.scaleb(places).to_integral_value(ROUND_HALF_UP)
    return f"{scaled.scaleb(-places):.{places}f}"


def _general_shown(number: float, section: Section) -> str:
    text = general(number)
    return "".join(
        text if token == AT or token.kind == "general" else token.text for token in section.tokens if token.kind != "mark" or token == AT
    )


def _figures_shown(number: float, section: Section) -> str:
    tokens = section.tokens
    if not section.has("digit"):
        return "".join(token.text for token in tokens if token.kind == "literal" or token.text == "%")
    fraction = _FractionFormat.of(tokens)
    if fraction is not None:
        return _fraction_shown(number, fraction)
    exponent = next((index for index, token in enumerate(tokens) if token.kind == "exponent"), None)
    if exponent is not None:
        return _exponent_shown(decimal_of(number), tokens, exponent)
    return _decimal_shown(decimal_of(number).scaleb(2 * tokens.count(PERCENT)), tokens)


SLASH, PERCENT, COMMA, POINT = Token("mark", "/"), Token("mark", "%"), Token("mark", ","), Token("mark", ".")


def _decimal_shown(number: Decimal, tokens: Sequence[Token]) -> str:
    point = tokens.index(POINT) if POINT in tokens else len(tokens)
    whole, fraction = tokens[:point], tokens[point + 1 :]
    digits = [index for index, token in enumerate(tokens) if token.kind == "digit"]
    scale = _scale(tokens, digits, point)
    commas = COMMA in _inner(whole)
    places = sum(token.kind == "digit" for token in fraction)
    whole_digits, _, fraction_digits = rounded(number.scaleb(-3 * scale), places).partition(".")
    text = _whole_shown(whole_digits.lstrip("0"), whole, commas=commas)
    return text + ("." if point < len(tokens) else "") + _decimals_shown(fraction_digits, fraction)


def _inner(whole: Sequence[Token]) -> Sequence[Token]:
    """What stands before the last digit."""
    return whole[: max((index for index, token in enumerate(whole) if token.kind == "digit"), default=0)]


def _scale(tokens: Sequence[Token], digits: Sequence[int], point: int) -> int:
    """How many commas divide by a thousand: those right after the last digit of the whole part, or of all."""
    count = 0
    for end in {max((index for index in digits if index < point), default=-1), digits[-1]}:
        index = end + 1
        while 0 < index < len(tokens) and tokens[index] == COMMA:
            count, index = count + 1, index + 1
    return count


def _whole_shown(digits: str, tokens: Sequence[Token], *, commas: bool) -> str:
    """Digits dealt out to placeholders from the right; the first placeholder takes all that are left."""
    first = next((index for index, token in enumerate(tokens) if token.kind == "digit"), -1)
    left = list(digits)
    parts: list[str] = []  # from the right
    dealt = 0
    for index in range(len(tokens) - 1, -1, -1):
        token = tokens[index]
        if token.kind != "digit":
            parts.append("" if token == COMMA else token.text)
            continue
        for _ in range(max(len(left), 1) if index == first else 1):
            sign = left.pop() if left else _PADDING[token.text]
            parts += [_comma(sign)] if commas and dealt and dealt % 3 == 0 else []
            parts.append(sign)
            dealt += 1
    return "".join(reversed(parts))


def _comma(before: str) -> str:
    return "," if before.isdigit() else before


_PADDING = {"0": "0", "#": "", "?": " "}


def _decimals_shown(digits: str, tokens: Sequence[Token]) -> str:
    """Zeros at the end are left out where the placeholder is # and blank where it is ?."""
    significant = len(digits.rstrip("0"))
    parts, place = [], 0
    for token in tokens:
        if token.kind != "digit":
            parts.append("" if token == COMMA else token.text)
            continue
        parts.append(digits[place] if place < significant else _PADDING[token.text])
        place += 1
    return "".join(parts)


def _exponent_shown(number: Decimal, tokens: Sequence[Token], at: int) -> str:
    """Commas and percent signs do not scale here; the exponent is a multiple of the digits before the point."""
    mantissa, tail = tokens[:at], list(tokens[at + 1 :])
    point = mantissa.index(POINT) if POINT in mantissa else at
    wide = max(sum(token.kind == "digit" for token in mantissa[:point]), 1)
    places = sum(token.kind == "digit" for token in mantissa[point:])
    power = _power(number, wide, places)
    sign = "-" if power < 0 else "+" if tokens[at].text[1] == "+" else ""
    first = next((index for index, token in enumerate(tail) if token.kind == "digit"), len(tail))
    lead = _literals(tail[:first])
    digits = _whole_shown(str(abs(power)), tail[first:], commas=False)
    return f"{_mantissa_shown(number.scaleb(-power), mantissa, point, places)}{tokens[at].text[0]}{lead}{sign}{digits}"


def _mantissa_shown(number: Decimal, tokens: Sequence[Token], point: int, places: int) -> str:
    whole = [Token("digit", "0") if token.kind == "digit" and not number else token for token in tokens[:point]]
    digits, _, fraction = rounded(number, places).partition(".")
    text = _whole_shown(digits.lstrip("0"), whole, commas=COMMA in _inner(whole))
    return text + ("." if point < len(tokens) else "") + _decimals_shown(fraction, tokens[point + 1 :])


def _literals(tokens: Sequence[Token]) -> str:
    return "".join(token.text for token in tokens if token.kind == "literal")


def _power(number: Decimal, wide: int, places: int) -> int:
    if not number:
        return 0
    power = number.adjusted() // wide * wide
    carried = Decimal(rounded(number.scaleb(-power), places)).adjusted() >= wide  # 9.99 became 10.0
    return power + wide if carried else power


@frozen
class _FractionFormat:
    """What stands before the numerator, at it, after the slash, and behind; without a digit before, the fraction is improper."""

    whole: Sequence[Token]
    above: Sequence[Token]
    below: Sequence[Token]
    rest: Sequence[Token]

    @classmethod
    def of(cls, tokens: Sequence[Token]) -> _FractionFormat | None:
        slash = tokens.index(SLASH) if SLASH in tokens else 0
        first = slash
        while first and tokens[first - 1].kind == "digit":
            first -= 1
        last = slash + 1
        while last < len(tokens) and (tokens[last].kind == "digit" or tokens[last].text in _FIGURES):
            last += 1
        return cls(tokens[:first], tokens[first:slash], tokens[slash + 1 : last], tokens[last:]) if first < slash < last - 1 else None

    @property
    def mixed(self) -> bool:
        return any(token.kind == "digit" for token in self.whole)


_FIGURES = frozenset("123456789")


def _fraction_shown(number: float, form: _FractionFormat) -> str:
    units, rest = divmod(Fraction(decimal_of(number)), 1) if form.mixed else (0, Fraction(decimal_of(number)))
    top, bottom = _approximated(rest, form.below)
    if form.mixed and top == bottom:
        units, top = units + 1, 0
    shown = _whole_shown(str(units) if units or (form.mixed and not top) else "", form.whole, commas=False)
    return shown + _fraction_part(top, bottom, form) + _literals(form.rest)


def _fraction_part(top: int, bottom: int, form: _FractionFormat) -> str:
    """A fraction of 0 beside a whole part leaves blanks."""
    if form.mixed and not top:
        return " " * (len(form.above) + 1 + len(form.below))
    numerator = _whole_shown(str(top), form.above, commas=False)
    return f"{numerator}/{str(bottom).ljust(len(form.below) if form.below[0].text == '?' else 0)}"


def _approximated(value: Fraction, below: Sequence[Token]) -> tuple[int, int]:
    """The nearest fraction whose denominator is as written, or has no more digits than there are placeholders."""
    written = "".join(token.text for token in below)
    if written.isdigit() and written.strip("0"):
        return math.floor(value * int(written) + Fraction(1, 2)), int(written)
    nearest = value.limit_denominator(10 ** len(written) - 1)
    return nearest.numerator, nearest.denominator


# Dates and times


def _date_shown(serial: float, section: Section, shift: int) -> Scalar:
    if not 0 <= serial < LAST_SERIAL + 1 - shift or section.has("digit"):
        return ExcelError.VALUE
    places = max((len(token.text) - 1 for token in section.tokens if token.kind == "subsecond"), default=0)
    timed = any(token.kind in ("elapsed", "minute", "half") or token.text[:1] in ("h", "s") for token in section.tokens)
    day, seconds, fraction = _ticked(serial, places) if timed else (math.floor(serial), 0, "")
    return "".join(_date_part(token, _Clock(day, shift, seconds, fraction, section.has("half"))) for token in section.tokens)


def _ticked(serial: float, places: int) -> tuple[int, int, str]:
    """Days, seconds and digits of the fraction, rounded to what is shown."""
    ticks = int((decimal_of(serial) * 86_400).scaleb(places).to_integral_value(ROUND_HALF_UP))
    total, rest = divmod(ticks, 10**places)
    return total // 86_400, total % 86_400, f"{rest:0{places}d}" if places else ""


@frozen
class _Clock:
    day: int
    shift: int  # from the workbook's calendar to that of 1900
    seconds: int  # since midnight
    fraction: str  # of the second, as many digits as are shown
    halves: bool  # AM and PM

    @property
    def serial(self) -> int:
        return self.day + self.shift

    @property
    def hour(self) -> int:
        hour = self.seconds // 3600
        return (hour % 12 or 12) if self.halves else hour


def _date_part(token: Token, clock: _Clock) -> str:
    width = len(token.text)
    if token.kind == "elapsed":
        seconds = clock.day * 86_400 + clock.seconds
        return f"{seconds // {'h': 3600, 'm': 60, 's': 1}[token.text[0]]:0{width}d}"
    if token.kind == "minute":
        return f"{clock.seconds // 60 % 60:0{min(width, 2)}d}"
    if token.kind == "half":
        return _half(token.text, late=clock.seconds >= 43_200)
    if token.kind == "subsecond":
        return f".{clock.fraction}"
    return _DATE_PARTS[token.text[0]](clock, width) if token.kind == "date" else token.text


def _half(text: str, *, late: bool) -> str:
    return text.split("/")[late] if len(text) == 3 else ("PM" if late else "AM")


def _year_shown(clock: _Clock, width: int) -> str:
    year = civil(clock.serial)[0]
    return f"{year % 100:02d}" if width <= 2 else f"{year:04d}"


def _era_year_shown(clock: _Clock, width: int) -> str:
    return f"{civil(clock.serial)[0]:04d}"


def _buddhist_year_shown(clock: _Clock, width: int) -> str:
    year = civil(clock.serial)[0] + 543
    return f"{year % 100:02d}" if width <= 2 else f"{year:04d}"


def _month_shown(clock: _Clock, width: int) -> str:
    month = civil(clock.serial)[1]
    name = MONTHS[month - 1]
    return f"{month:0{width}d}" if width <= 2 else {3: name[:3], 5: name[:1]}.get(width, name)


def _day_shown(clock: _Clock, width: int) -> str:
    name = DAYS[clock.serial % 7]
    return f"{civil(clock.serial)[2]:0{width}d}" if width <= 2 else name[:3] if width == 3 else name


def _hour_shown(clock: _Clock, width: int) -> str:
    return f"{clock.hour:0{min(width, 2)}d}"


def _second_shown(clock: _Clock, width: int) -> str:
    return f"{clock.seconds % 60:0{min(width, 2)}d}"


_DATE_PARTS: dict[str, Callable[[_Clock, int], str]] = {
    "y": _year_shown,
    "e": _era_year_shown,
    "b": _buddhist_year_shown,
    "m": _month_shown,
    "d": _day_shown,
    "h": _hour_shown,
    "s": _second_shown,
}
