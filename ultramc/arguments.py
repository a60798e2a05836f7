"""What callers pass, checked and resolved: inputs, outputs, numbers, memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from attrs import frozen

from ultramc import candidates
from ultramc.address import CellRef, RangeRef
from ultramc.compilation import Draw
from ultramc.correlation import Correlation
from ultramc.dialects.base import declared_outputs
from ultramc.distributions import ByCells, Distribution, FromSciPy, TimesBase
from ultramc.distributions.from_scipy import Frozen, is_of_scipy
from ultramc.errors import InputError, NoOutputs
from ultramc.graph import Graph
from ultramc.program import constant
from ultramc.sampling import whole
from ultramc.workbook import Cell, Workbook

Reference = str | CellRef | RangeRef
Uncertain = Distribution | TimesBase | ByCells | Frozen | float


@frozen(eq=False)
class InputCells:
    """An input as the caller named it: its cells, each with a law of its own or fixed to a number."""

    label: str
    cells: RangeRef
    laws: tuple[Distribution | ByCells | float, ...]

    def by_cell(self) -> dict[CellRef, Distribution | ByCells | float]:
        return dict(zip(self.cells.cells(), self.laws, strict=True))

    def draws(self) -> dict[RangeRef, Draw]:
        """What emits the values of each cell, or of all where they have one law; laws by cells are formulas of the sheet."""
        first = self.laws[0]
        if not isinstance(first, ByCells) and all(law is first for law in self.laws):
            return {self.cells: _law_of(first)}
        return {RangeRef.of(cell): _law_of(law) for cell, law in self.by_cell().items() if not isinstance(law, ByCells)}

    def described(self) -> str:
        laws = list(dict.fromkeys(str(law) for law in self.laws))
        return laws[0] if len(laws) == 1 else f"{laws[0]} and {len(laws) - 1} more"


def _law_of(law: Distribution | float) -> Draw:
    if isinstance(law, float):
        return lambda builder, probability: constant(law)
    return lambda builder, probability: law.at(probability()).operand


def refuse_until(until: object) -> None:
    if until is not None:
        raise InputError("until= is not supported yet; run a fixed number of iterations: sim.run(100_000)")


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InputError(f"{name}={value!r}: one of {', '.join(map(repr, allowed))}")


def iteration_count(iterations: object) -> int:
    if iterations is None:
        raise InputError("say how many iterations to run, sim.run(100_000) or -n 100000; the workbook stores no number")
    return at_least_one("iterations", iterations)


def at_least_one(name: str, value: object) -> int:
    number = whole(name, value)
    if number < 1:
        raise InputError(f"{name}={number}: a whole number of at least 1")
    return number


def resolved_inputs(book: Workbook, given: object) -> tuple[InputCells, ...]:
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise InputError(f"inputs={kind}: give a mapping from cells, ranges or names to distributions: {{'Costs!B4': mc.Normal(100, 10)}}")
    found: dict[CellRef, str] = {}
    made = []
    for key, law in given.items():
        place = book.resolve(key)
        for cell in place.cells():
            if cell in found:
                raise InputError(f"{cell} is given twice, as {found[cell]!r} and as {str(key)!r}; name it once")
            found[cell] = str(key)
        made.append(InputCells(str(key), place, tuple(_law(book, cell, str(key), law) for cell in place.cells())))
    return tuple(made)


def formulas_of(book: Workbook, inputs: Sequence[InputCells]) -> dict[CellRef, str]:
    """The laws by cells, as formulas. Raises `ReferenceNotFound` and `InputError`."""
    laws = ((cell, law) for given in inputs for cell, law in given.by_cell().items())
    return {cell: law.formula(partial(book.resolve, sheet=cell.sheet)) for cell, law in laws if isinstance(law, ByCells)}


def correlations(given: object) -> tuple[Correlation, ...]:
    """One correlation, or several."""
    listed = (given,) if isinstance(given, Correlation) else tuple(given) if isinstance(given, Iterable) else given
    if not isinstance(listed, tuple | None) or not all(isinstance(each, Correlation) for each in listed or ()):
        raise InputError(f"correlation={given!r}: mc.RankCorrelation(inputs, matrix), or a list of such")
    return listed or ()


def _law(book: Workbook, cell: CellRef, key: str, law: Uncertain) -> Distribution | ByCells | float:
    base = book.value(cell)
    is_formula = book.formula(cell) is not None
    if not is_formula and not (isinstance(base, (float, int)) and not isinstance(base, bool)):
        held = "is blank" if base is None else f"holds {base!r}"
        raise InputError(f"input {key!r}: {cell} {held}; an input must be a cell with a number{_nearby(book, cell)}")
    if isinstance(law, TimesBase):
        return law.resolve(base, str(cell))
    if isinstance(law, (Distribution, ByCells)):
        return law
    if is_of_scipy(law):
        return FromSciPy(law)
    if isinstance(law, (int, float, np.integer)) and not isinstance(law, bool) and np.isfinite(law):
        return float(law)
    raise InputError(f"input {key!r}: {law!r} is neither a distribution, such as mc.Normal(100, 10), nor a finite number")


def _nearby(book: Workbook, cell: CellRef) -> str:
    below = [CellRef(cell.sheet, cell.row, cell.column + 1), CellRef(cell.sheet, cell.row + 1, cell.column)]
    close = [str(other) for other in below if isinstance(book.value(other), float)]
    return f"; did you mean {close[0]}?" if close else ""


def resolved_outputs(book: Workbook, given: object, graph: Graph) -> dict[str, RangeRef]:
    if given is None and (declared := declared_outputs(graph)):
        return declared
    if given is None:
        listed = "\n".join(f"  {_candidate(cell)}" for cell in candidates.outputs(book, graph)[:10])
        hint = f"candidates are\n{listed}" if listed else "it has no formulas"
        raise NoOutputs(f"name the cells to collect: outputs=[…], -o on the command line. {book.file_name} declares none; {hint}")
    if isinstance(given, Mapping):
        items: Iterable[tuple[str, Any]] = ((str(label), reference) for label, reference in given.items())
    else:
        references = [given] if isinstance(given, (str, CellRef, RangeRef)) or not isinstance(given, Iterable) else list(given)
        items = ((str(reference), reference) for reference in references)
    found: dict[str, RangeRef] = {}
    for label, reference_ in items:
        if label in found:
            raise InputError(f"output {label!r} is named twice")
        found[label] = book.resolve(reference_)
    if not found:
        raise NoOutputs("outputs=[] names no cell to collect")
    return found


def _candidate(cell: Cell) -> str:
    return "  ".join(str(part) for part in (cell.ref, cell.label, cell.value) if part not in ("", None))


def bytes_of(limit: int | str) -> int:
    """2_000_000_000, "2GB", "500 MB" or "1.5GiB"."""
    number = _read_bytes(limit) if isinstance(limit, str) else limit
    if isinstance(number, bool) or not isinstance(number, (int, float, np.integer)) or not 0 < number < np.inf:
        raise InputError(f"memory_limit={limit!r}: bytes, or text such as '2GB'")
    return int(number)


UNITS = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def _read_bytes(text: str) -> float:
    from difflib import get_close_matches

    digits = text.strip().rstrip("abgikmtABGIKMT ")
    unit = text.strip()[len(digits) :].strip().upper() or "B"
    try:
        return float(digits) * UNITS[unit]
    except (ValueError, KeyError):
        close = [] if unit in UNITS else get_close_matches(unit, UNITS, 1)
        raise InputError(f"memory_limit={text!r}: bytes, or text such as '2GB'{f'; did you mean {close[0]}?' if close else ''}") from None


def free_memory() -> int:
    """Bytes that are free now, as the system says; 4 GB where it does not."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        return sizes["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        return 4_000_000_000
