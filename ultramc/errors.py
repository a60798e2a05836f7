"""Every accident that ultramc reports, as one tree. Outcomes such as ``#DIV/0!`` are values, not errors.

UltramcError
├─ WorkbookError
│   ├─ UnreadableWorkbook   (+OSError)              not an .xlsx, encrypted, truncated, malformed
│   ├─ LimitExceeded        (+ValueError)           a `ReadLimits` field, its value, how to raise it
│   └─ ReferenceNotFound    (+KeyError)             no such sheet, name or cell
├─ FormulaError                                     always has .cell and .formula
│   ├─ FormulaSyntaxError   (+ValueError)
│   ├─ UnsupportedFormula   (+NotImplementedError)  a function or feature that we do not have
│   └─ CircularReference    (+ValueError)           .path = [Sheet1!A1, Sheet1!B4, Sheet1!A1]
├─ InputError               (+ValueError)           a bad distribution, input, correlation or argument
│   ├─ NotACallback         (+TypeError)            progress= cannot be called here
│   └─ SamplesNotKept                               what needs the samples of a run with keep="summary"
├─ MissingExtra             (+ImportError)          an optional library, and the pip command that brings it
├─ UnreadableResult         (+OSError)              not a saved result, or one of another version
├─ CheckpointError          (+OSError)              cannot be written, is damaged or in use; .run holds what was done
│   └─ CheckpointMismatch   (+ValueError)           it is another run's: which field differs
├─ NoOutputs                (+ValueError)           lists candidates
├─ CheckError               (+ValueError)           the recalculation differs from Excel's cached values
├─ RunError                 (+RuntimeError)         every iteration failed, or on_error="raise"
├─ ExecutorError            (+RuntimeError)         an executor failed, a worker differs or is silent; .run holds what was done
├─ BatchError               (+ExceptionGroup)       every child of a batch failed; .exceptions, and .result
├─ SimulationCancelled                              .result holds what was done
│   └─ SimulationInterrupted (+KeyboardInterrupt)   Ctrl-C
├─ CallbackError            (+RuntimeError)         a callback raised, under strict_callbacks=True
└─ EngineError
    ├─ EngineUnavailable    (+ImportError)          what to install
    ├─ UnsupportedOp        (+NotImplementedError)  cell, function, engines that can
    ├─ EngineValidationError (+RuntimeError)        ├─ GPUValidationError
    ├─ DeviceError          (+RuntimeError)         the GPU failed; what to do
    └─ MemoryLimitExceeded  (+MemoryError)          bytes needed, bytes allowed, next step
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any


class UltramcError(Exception):
    """Root of every error that ultramc raises on purpose."""


class WorkbookError(UltramcError):
    """The workbook cannot be used as it is."""


class UnreadableWorkbook(WorkbookError, OSError):
    """The file is no workbook that we read: the message names the file, the reason and the next step."""


class LimitExceeded(WorkbookError, ValueError):
    """A limit that protects from hostile files: the message names the `ReadLimits` field and how to raise it."""


class ReferenceNotFound(WorkbookError, KeyError):
    """No such sheet, defined name or cell; the message suggests close matches."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class FormulaError(UltramcError):
    """Something about one formula. `cell` is its printed address, `formula` its text; both may be empty."""

    next_step = ""

    def __init__(self, message: str, *, cell: str = "", formula: str = "") -> None:
        self.reason = message
        self.cell = cell
        self.formula = formula
        place = f"{cell}: " if cell else ""
        text = f"  in  ={_shortened(formula)}" if formula else ""
        super().__init__(f"{place}{message}{text}{self.next_step if cell else ''}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.reason, self.cell, self.formula)

    def at(self, cell: str, formula: str) -> FormulaError:
        """The same error, placed in a cell; places that are already known stay."""
        return type(self)(self.reason, cell=self.cell or cell, formula=self.formula or formula)


class FormulaSyntaxError(FormulaError, ValueError):
    """The formula text is not a formula."""


class UnsupportedFormula(FormulaError, NotImplementedError):
    """A function or feature that ultramc does not have; it is refused by name, never ignored."""

    next_step = ". To do without this formula, give its cell a number or a distribution in inputs="


class CircularReference(FormulaError, ValueError):
    """A cell that needs itself. `path` lists printed addresses, the first repeated at the end."""

    next_step = ". To cut the circle, give one of its cells a number or a distribution in inputs="

    def __init__(self, path: Sequence[str]) -> None:
        self.path = list(path)
        super().__init__(f"circular reference {' → '.join(_middle_out(self.path))}", cell=self.path[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return CircularReference, (self.path,)

    def at(self, cell: str, formula: str) -> FormulaError:
        return self


class InputError(UltramcError, ValueError):
    """A distribution, input, correlation or argument that makes no sense; the message says what would."""


class NotACallback(InputError, TypeError):
    """What was given as `progress=` cannot be called, or not here; the message says what can."""


class SamplesNotKept(InputError):
    """What was asked needs samples, and the run was told to keep a summary; the message says how to keep them."""


class MissingExtra(UltramcError, ImportError):
    """An optional library is not installed; the message has the pip command that brings it."""


class UnreadableResult(UltramcError, OSError):
    """The file is no saved result of a version that we read; the message names the file and the reason."""


class CheckpointError(UltramcError, OSError):
    """A checkpoint cannot be written or read; `run` holds the result so far, or None. What the folder holds stays."""

    def __init__(self, message: str, run: Any = None) -> None:
        super().__init__(message)
        self.run = run


class CheckpointMismatch(CheckpointError, ValueError):
    """The checkpoint is of another run; the message names what differs."""


class NoOutputs(UltramcError, ValueError):
    """No output was named and the workbook declares none; the message lists candidates."""


class CheckError(UltramcError, ValueError):
    """Our recalculation differs from the values that Excel cached; `report` holds the comparison."""

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class RunError(UltramcError, RuntimeError):
    """The run failed; `run` holds its state and counts."""

    def __init__(self, message: str, run: Any = None) -> None:
        super().__init__(message)
        self.run = run


class ExecutorError(UltramcError, RuntimeError):
    """An executor or its workers cannot go on: the message says which and why; `run` holds the result so far, or None."""

    def __init__(self, message: str, run: Any = None) -> None:
        super().__init__(message)
        self.run = run


class BatchError(UltramcError, ExceptionGroup[Exception]):
    """Children of a batch failed: the message names each, `exceptions` holds their errors, `result` what the batch gave."""

    result: Any = None


class SimulationCancelled(UltramcError):
    """The run was cancelled; `result` holds the iterations done, or None where there are none."""

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class SimulationInterrupted(SimulationCancelled, KeyboardInterrupt):
    """Ctrl-C: cancelled, and a KeyboardInterrupt for all who wait for one."""


class CallbackError(UltramcError, RuntimeError):
    """A progress callback raised under `strict_callbacks=True`: that is the cause; `result` holds the iterations done, or None."""

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class EngineError(UltramcError):
    """Something about an engine."""


class EngineUnavailable(EngineError, ImportError):
    """The engine cannot run here; the message says why and what to install."""


class UnsupportedOp(EngineError, NotImplementedError):
    """The engine lacks an op that the program needs: refused at compile time with the cell and the engines that can."""


class EngineValidationError(EngineError, RuntimeError):
    """The engine disagrees with the reference; `statistics` holds both sides."""

    def __init__(self, message: str, statistics: Any = None) -> None:
        super().__init__(message)
        self.statistics = statistics


class GPUValidationError(EngineValidationError):
    """The message begins "GPU validation failed – simulation not executed"."""


class DeviceError(EngineError, RuntimeError):
    """The device of an engine failed while it was used; nothing of the run is kept."""


class MemoryLimitExceeded(EngineError, MemoryError):
    """The run would need more memory than allowed; refused before any work."""


def optional(module: str, extra: str) -> Any:
    """A module that the base install lacks. MissingExtra, with the pip command, where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f'{module.partition(".")[0]} is not installed here ({error}); pip install "ultramc[{extra}]"') from error


def _rebuild(kind: type[FormulaError], reason: str, cell: str, formula: str) -> FormulaError:
    return kind(reason, cell=cell, formula=formula)


def _shortened(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def _middle_out(path: list[str], limit: int = 12) -> list[str]:
    if len(path) <= limit:
        return path
    half = limit // 2
    return [*path[:half], f"… {len(path) - limit} more …", *path[-half:]]
