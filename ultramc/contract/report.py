"""The contract as text: which checks an engine passed, and the page that says which op each engine has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from ultramc.contract.checks import ContractViolation, engine_checks
from ultramc.engines import registry
from ultramc.engines.base import Engine
from ultramc.errors import UltramcError
from ultramc.ops import OPS
from ultramc.report import counted


@frozen
class Failure:
    """A check that an engine does not pass, and why."""

    check: str
    reason: str


@frozen
class EngineReport:
    """How many checks an engine passed, and those that it did not."""

    engine: str
    passed: int
    failures: tuple[Failure, ...]

    def __str__(self) -> str:
        lines = [f"{self.engine}: {each.check}: {each.reason}" for each in self.failures]
        return "\n".join((*lines, f"{self.engine}: {counted(self.passed, 'check')} passed, {len(self.failures)} failed"))


def report(name: str) -> EngineReport:
    """Run every check of one engine. One that is not there fails one check."""
    try:
        checks = list(engine_checks(registry.engine(name)))
    except UltramcError as error:
        return EngineReport(name, 0, (Failure("is_available", str(error)),))
    failures = []
    for title, check in checks:
        try:
            check()
        except (ContractViolation, UltramcError) as error:
            failures.append(Failure(title, str(error)))
        except Exception as error:  # an engine that fails in its own way must not hide the other checks
            failures.append(Failure(title, f"{type(error).__name__}: {error}"))
    return EngineReport(name, len(checks) - len(failures), tuple(failures))


def not_run(chosen: Sequence[str]) -> Iterator[str]:
    """Engines that were not asked for, and whether they could run here."""
    for info in registry.available_engines():
        if info.name not in chosen:
            yield f"{info.name}: not run ({info.reason or 'not asked for'})"


# The table


def table() -> str:
    """Which built-in engine has which op, as docs/engines.md shows it in Markdown. No engine's library is needed for it."""
    engines = [registry.made(name) for name in registry.BUILT_IN]
    head = ["op", "meaning", "tolerance", *(engine.name for engine in engines)]
    rows = [
        [f"`{op.name}`", op.meaning, _tolerance(op.tolerance), *(_answer(engine, op.name) for engine in engines)] for op in OPS.values()
    ]
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in (head, rule, *rows)) + "\n"


def _tolerance(tolerance: float) -> str:
    return f"{tolerance:g}" if tolerance else "bits"


def _answer(engine: Engine, op: str) -> str:
    if op in engine.supports:
        return "agrees"
    return f"refuses: {engine.lacks[op]}" if op in engine.lacks else "refuses"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
