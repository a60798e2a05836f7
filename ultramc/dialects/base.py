"""What a dialect is: the functions by which an add-in writes uncertainty in a sheet, and the settings that it stores there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from typing import TYPE_CHECKING

from attrs import field, frozen

from ultramc import syntax
from ultramc.address import CellRef, RangeRef
from ultramc.functions.kit import Area
from ultramc.references import extent

if TYPE_CHECKING:
    from ultramc.functions import Function
    from ultramc.graph import Graph
    from ultramc.sampling import Sampling
    from ultramc.workbook import Workbook


@frozen
class Settings:
    """What the author of a workbook stored for its simulation; None where nothing is."""

    iterations: int | None = None
    seed: int | None = None
    sampling: Sampling | None = None
    notes: tuple[str, ...] = ()


def nothing_stored(book: Workbook) -> Settings:
    return Settings()


@frozen(eq=False)
class Dialect:
    """One way of writing uncertainty in a sheet.

    `functions` are what it adds to Excel's, by name in capitals; `draws` those among them that make a draw. `output` declares an
    output, the properties `naming` and `correlation` name an input and tie it to others: all "" where there is no such thing.
    `claims` says whether a function of that name can only be meant in this dialect, though it may not be supported.
    """

    name: str
    functions: Mapping[str, Function] = field(factory=dict, repr=False)
    draws: frozenset[str] = field(default=frozenset(), repr=False)
    claims: Callable[[str], bool] = field(default=lambda name: False, repr=False)
    settings: Callable[[Workbook], Settings] = field(default=nothing_stored, repr=False)
    output: str = field(default="", repr=False)
    naming: str = field(default="", repr=False)
    correlation: str = field(default="", repr=False)


def calls_of(graph: Graph, name: str) -> Iterator[tuple[CellRef, syntax.Call]]:
    """Every call of one function that is written in a cell."""
    for region in graph.regions if name else ():
        found = [node for node in syntax.walk(region.tree) if isinstance(node, syntax.Call) and node.name == name] if region.tree else []
        for cell in region.place.cells() if found else ():
            yield from ((cell, node) for node in found)


# How add-ins of other dialects name their functions, beside those that `_xll.` marks
_ADD_INS = ("RISK", "PSI", "VOSE", "CB.", "DRISK")


def speaks_of_chance(tree: syntax.Node | None, drawing: Container[str]) -> bool:
    """Whether a formula draws, or calls an add-in that may."""
    calls = [node for node in syntax.walk(tree) if isinstance(node, syntax.Call)] if tree is not None else []
    return any(call.name in drawing or call.prefix or call.name.startswith(_ADD_INS) for call in calls)


def text_of(graph: Graph, node: syntax.Node | None, cell: CellRef) -> str:
    """What a label says: a text, or the saved value of the cell that it refers to; "" for anything else."""
    if isinstance(node, syntax.Text):
        return node.value
    if not isinstance(node, syntax.Reference):
        return ""
    target = graph.resolver.reference(node, RangeRef.of(cell))
    value = graph.book.value(extent(target, RangeRef.of(cell)).first) if isinstance(target, Area) else None
    return "" if value is None else str(value)


def declared_outputs(graph: Graph) -> dict[str, RangeRef]:
    """The outputs that the sheet declares, by name; by address where they have none, and with it where others have the same."""
    dialect = graph.dialect
    named = [(text_of(graph, next(iter(node.arguments), None), cell), cell) for cell, node in calls_of(graph, dialect.output)]
    names = Counter(name for name, _ in named)
    labels = {cell: (name if names[name] == 1 else f"{name} ({cell})") if name else str(cell) for name, cell in named}
    return {label: RangeRef.of(cell) for cell, label in labels.items()}


def declared_names(graph: Graph) -> dict[CellRef, str]:
    """What the sheet calls the inputs in its cells. A name that occurs twice names none, nor do two names in one cell."""
    named = [(cell, text_of(graph, next(iter(node.arguments), None), cell)) for cell, node in calls_of(graph, graph.dialect.naming)]
    cells, names = Counter(cell for cell, _ in named), Counter(name for _, name in named)
    return {cell: name for cell, name in named if name and names[name] == cells[cell] == 1}
