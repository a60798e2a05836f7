"""CONVERT: units of measurement, as listed on Microsoft's page of the function."""

from __future__ import annotations

from attrs import frozen

from ultramc.functions import scalar
from ultramc.values import ExcelError, Scalar


@frozen
class Unit:
    """A value x of it is `size` · x + `zero` of the dimension's first unit. `power`: a prefix counts so many times, 0 for none allowed."""

    dimension: str
    size: float
    power: int = 0
    zero: float = 0.0


FOOT, INCH, YARD, MILE, NAUTICAL, LIGHT_YEAR = 0.3048, 0.0254, 0.9144, 1609.344, 1852.0, 9.4607304725808e15
GALLON, POUND, PICA_POINT, ACCELERATION = 0.003785411784, 453.59237, 0.0254 / 72, 9.80665
HORSEPOWER = 550 * FOOT * POUND / 1000 * ACCELERATION
SURVEY_MILE = 6336000 / 3937

_ROWS: tuple[tuple[str, str, float, int], ...] = (
    # mass
    ("mass", "g", 1.0, 1),
    ("mass", "sg", POUND * ACCELERATION / FOOT, 0),
    ("mass", "lbm", POUND, 0),
    ("mass", "u", 1.660538782e-24, 1),
    ("mass", "ozm", POUND / 16, 0),
    ("mass", "grain", POUND / 7000, 0),
    ("mass", "cwt shweight", POUND * 100, 0),
    ("mass", "uk_cwt lcwt hweight", POUND * 112, 0),
    ("mass", "stone", POUND * 14, 0),
    ("mass", "ton", POUND * 2000, 0),
    ("mass", "uk_ton LTON brton", POUND * 2240, 0),
    # distance
    ("distance", "m", 1.0, 1),
    ("distance", "mi", MILE, 0),
    ("distance", "Nmi", NAUTICAL, 0),
    ("distance", "in", INCH, 0),
    ("distance", "ft", FOOT, 0),
    ("distance", "yd", YARD, 0),
    ("distance", "ang", 1e-10, 1),
    ("distance", "ell", 45 * INCH, 0),
    ("distance", "ly", LIGHT_YEAR, 1),
    ("distance", "parsec pc", 3.0856775812815532e16, 1),
    ("distance", "Picapt Pica", PICA_POINT, 0),
    ("distance", "pica", INCH / 6, 0),
    ("distance", "survey_mi", SURVEY_MILE, 0),
    # time
    ("time", "sec s", 1.0, 1),
    ("time", "mn min", 60.0, 0),
    ("time", "hr", 3600.0, 0),
    ("time", "day d", 86400.0, 0),
    ("time", "yr", 31557600.0, 0),
    # pressure
    ("pressure", "Pa p", 1.0, 1),
    ("pressure", "atm at", 101325.0, 1),
    ("pressure", "mmHg", 133.322, 1),
    ("pressure", "psi", POUND / 1000 * ACCELERATION / INCH**2, 0),
    ("pressure", "Torr", 101325 / 760, 0),
    # force
    ("force", "N", 1.0, 1),
    ("force", "dyn dy", 1e-5, 1),
    ("force", "lbf", POUND / 1000 * ACCELERATION, 0),
    ("force", "pond", ACCELERATION / 1000, 1),
    # energy
    ("energy", "J", 1.0, 1),
    ("energy", "e", 1e-7, 1),
    ("energy", "c", 4.184, 1),
    ("energy", "cal", 4.1868, 1),
    ("energy", "eV ev", 1.602176487e-19, 1),
    ("energy", "HPh hh", HORSEPOWER * 3600, 0),
    ("energy", "Wh wh", 3600.0, 1),
    ("energy", "flb", FOOT * POUND / 1000 * ACCELERATION, 0),
    ("energy", "BTU btu", 1055.05585262, 0),
    # power
    ("power", "W w", 1.0, 1),
    ("power", "HP h", HORSEPOWER, 0),
    ("power", "PS", 75 * ACCELERATION, 0),
    # magnetism
    ("magnetism", "T", 1.0, 1),
    ("magnetism", "ga", 1e-4, 1),
    # volume
    ("volume", "m3 m^3", 1.0, 3),
    ("volume", "tsp", GALLON / 768, 0),
    ("volume", "tspm", 5e-6, 0),
    ("volume", "tbs", GALLON / 256, 0),
    ("volume", "oz", GALLON / 128, 0),
    ("volume", "cup", GALLON / 16, 0),
    ("volume", "pt us_pt", GALLON / 8, 0),
    ("volume", "uk_pt", 0.00056826125, 1),
    ("volume", "qt", GALLON / 4, 0),
    ("volume", "uk_qt", 0.0011365225, 0),
    ("volume", "gal", GALLON, 0),
    ("volume", "uk_gal", 0.00454609, 0),
    ("volume", "l L lt", 0.001, 1),
    ("volume", "ang3 ang^3", 1e-30, 3),
    ("volume", "barrel", GALLON * 42, 0),
    ("volume", "bushel", 0.03523907016688, 0),
    ("volume", "ft3 ft^3", FOOT**3, 0),
    ("volume", "in3 in^3", INCH**3, 0),
    ("volume", "ly3 ly^3", LIGHT_YEAR**3, 0),
    ("volume", "mi3 mi^3", MILE**3, 0),
    ("volume", "yd3 yd^3", YARD**3, 0),
    ("volume", "Nmi3 Nmi^3", NAUTICAL**3, 0),
    ("volume", "Picapt3 Picapt^3 Pica3 Pica^3", PICA_POINT**3, 0),
    ("volume", "GRT regton", 100 * FOOT**3, 0),
    ("volume", "MTON", 40 * FOOT**3, 0),
    # area
    ("area", "m2 m^2", 1.0, 2),
    ("area", "uk_acre", 4840 * YARD**2, 0),
    ("area", "us_acre", SURVEY_MILE**2 / 640, 0),
    ("area", "ang2 ang^2", 1e-20, 2),
    ("area", "ar", 100.0, 1),
    ("area", "ft2 ft^2", FOOT**2, 0),
    ("area", "ha", 10000.0, 0),
    ("area", "in2 in^2", INCH**2, 0),
    ("area", "ly2 ly^2", LIGHT_YEAR**2, 0),
    ("area", "Morgen", 2500.0, 0),
    ("area", "mi2 mi^2", MILE**2, 0),
    ("area", "Nmi2 Nmi^2", NAUTICAL**2, 0),
    ("area", "Picapt2 Picapt^2 Pica2 Pica^2", PICA_POINT**2, 0),
    ("area", "yd2 yd^2", YARD**2, 0),
    # information
    ("information", "bit", 1.0, 1),
    ("information", "byte", 8.0, 1),
    # speed
    ("speed", "m/s m/sec", 1.0, 1),
    ("speed", "m/h m/hr", 1 / 3600, 1),
    ("speed", "kn", NAUTICAL / 3600, 0),
    ("speed", "admkn", 6080 * FOOT / 3600, 0),
    ("speed", "mph", MILE / 3600, 1),
)
_TEMPERATURES: tuple[tuple[str, float, int, float], ...] = (
    ("K kel", 1.0, 1, 0.0),
    ("C cel", 1.0, 0, 273.15),
    ("F fah", 5 / 9, 0, 273.15 - 160 / 9),
    ("Rank", 5 / 9, 0, 0.0),
    ("Reau", 1.25, 0, 273.15),
)
UNITS = {name: Unit(dimension, size, power) for dimension, names, size, power in _ROWS for name in names.split()} | {
    name: Unit("temperature", size, power, zero) for names, size, power, zero in _TEMPERATURES for name in names.split()
}
_DECIMAL = {sign: 10.0**power for power, sign in zip(range(-24, 25, 3), "yzafpnum.kMGTPEZY", strict=True)}
PREFIXES = _DECIMAL | {"c": 0.01, "d": 0.1, "da": 10.0, "e": 10.0, "h": 100.0}
BINARY_PREFIXES = {f"{sign}i": 2.0 ** (10 * power) for power, sign in enumerate("kMGTPEZY", 1)}


def unit(text: str) -> Unit | None:
    """A unit by its name, which may have a prefix; None where there is none."""
    if text in UNITS:
        return UNITS[text]
    for length in (1, 2):
        found, prefix = UNITS.get(text[length:]), text[:length]
        if found is None or not found.power or prefix == ".":
            continue
        factor = BINARY_PREFIXES.get(prefix) if found.dimension == "information" else None
        factor = PREFIXES.get(prefix) if factor is None else factor
        if factor is not None:
            return Unit(found.dimension, found.size * factor**found.power)
    return None


@scalar("CONVERT", "number! text text")
def _convert(number: float, source: str, target: str) -> Scalar:
    one, other = unit(source), unit(target)
    if one is None or other is None or one.dimension != other.dimension:
        return ExcelError.NA
    if one.dimension == "temperature":
        return (number * one.size + one.zero - other.zero) / other.size
    return number * (one.size / other.size)
