"""Excel's functions: a row each, with a signature and one body.

A signature is words between blanks, one a parameter:

    number    coerced to a number         integer   a number, towards zero      text   coerced to text
    any       one value as it is          array     a whole array, read         cells  what an aggregate counts over
    area      a reference, not read       node      not evaluated yet

``?`` marks a parameter that may be left out, ``(…)+`` a group that repeats, ``!`` a number that no boolean stands for
(``#VALUE!``, as in the functions that came with the Analysis ToolPak: ``integer!?``). A scalar parameter that is given an array
spreads the function over it; given a range in a formula that is no array formula, it takes the formula's own row or
column, as Excel does.

Bodies come in four styles, one decorator each:

    elementwise  payloads in, payload out: emits ops, says `kit.fail(mask, error)`; every parameter is a number
    scalar       Python values of one element in, one out; runs at scalar speed
    function     a `Call` and its evaluated arguments in, a value or area out
    lazy         a generator over a `Call` and unevaluated nodes: it decides what is evaluated
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from attrs import frozen

from ultramc.errors import FormulaSyntaxError

MODULES = (
    "arithmetic",
    "aggregate",
    "logic",
    "lookup",
    "text",
    "dates",
    "engineering",
    "units",
    "complex_numbers",
    "information",
    "finance",
    "securities",
    "accrued_interest",
    "cash_flows",
    "statistics",
    "order_statistics",
    "probability",
    "combinatorics",
    "trigonometry",
    "matrices",
    "hypothesis_tests",
    "aggregation",
    "chance",
    "dynamic_arrays",
    "database",
    "higher_order",
)

_SIGNATURE = re.compile(r"(?P<fixed>[^(]*)(?:\((?P<repeated>[^)]*)\)\+)?")


@frozen
class Signature:
    fixed: tuple[str, ...]
    optional: int
    repeated: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Signature:
        match = _SIGNATURE.fullmatch(text)
        assert match is not None, text
        words = match["fixed"].split()
        repeated = tuple((match["repeated"] or "").split())
        return cls(tuple(word.rstrip("?") for word in words), sum(word.endswith("?") for word in words), repeated)

    def kinds(self, name: str, count: int) -> list[str]:
        """The kind of each of `count` arguments. Raises FormulaSyntaxError where the count does not fit."""
        kinds = list(self.fixed)
        if self.repeated:
            extra = max(count - len(kinds), len(self.repeated) if not self.optional else 0)
            groups = -(-extra // len(self.repeated))
            kinds += self.repeated * groups
        if not len(kinds) - self.optional <= count <= len(kinds):
            raise FormulaSyntaxError(f"{name} takes {self.described()} arguments, not {count}")
        return kinds[:count]

    def described(self) -> str:
        least, most = len(self.fixed) - self.optional, len(self.fixed)
        if self.repeated:
            return f"at least {least + len(self.repeated)}"
        return str(most) if least == most else f"{least} to {most}"


@frozen(eq=False)
class Function:
    name: str
    signature: Signature
    style: str
    body: Callable[..., Any]
    text: bool = False  # a scalar body that may yield text

    def __call__(self, *arguments: Any) -> Any:
        return self.body(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the row of its name, since bodies may be closures."""
        return _row, (self.name,)


FUNCTIONS: dict[str, Function] = {}

_Body = Callable[..., Any]


def _register(style: str, names: str, signature: str, text: bool = False) -> Callable[[_Body], _Body]:
    def decorate(body: _Body) -> _Body:
        for name in names.split():
            if name in FUNCTIONS:
                raise ValueError(f"{name} has two bodies")
            FUNCTIONS[name] = Function(name, Signature.parse(signature), style, body, text)
        return body

    return decorate


def elementwise(names: str, signature: str) -> Callable[[_Body], _Body]:
    return _register("elementwise", names, signature)


def scalar(names: str, signature: str, *, text: bool = False) -> Callable[[_Body], _Body]:
    return _register("scalar", names, signature, text)


def function(names: str, signature: str) -> Callable[[_Body], _Body]:
    return _register("function", names, signature)


def lazy(names: str, signature: str) -> Callable[[_Body], _Body]:
    return _register("lazy", names, signature)


def _row(name: str) -> Function:
    return load()[name]


def load() -> dict[str, Function]:
    """The whole table; its modules are imported when first asked for."""
    for module in MODULES:
        importlib.import_module(f"ultramc.functions.{module}")
    return FUNCTIONS
