"""Monte Carlo simulation on Excel workbooks, without Excel.

Importing this loads no engine and sets nothing global.
"""

from ultramc.address import CellRef, RangeRef
from ultramc.checking import CheckReport, check
from ultramc.comparison import Comparison, compare
from ultramc.distributions import Bernoulli, Discrete, Distribution, Exponential, LogNormal, Normal, Triangular, Uniform, Weibull
from ultramc.engines.base import Engine
from ultramc.engines.registry import available_engines
from ultramc.errors import (
    CheckError,
    CircularReference,
    EngineError,
    EngineUnavailable,
    EngineValidationError,
    FormulaError,
    FormulaSyntaxError,
    GPUValidationError,
    InputError,
    LimitExceeded,
    MemoryLimitExceeded,
    MissingExtra,
    NoOutputs,
    ReferenceNotFound,
    RunError,
    SimulationCancelled,
    UltramcError,
    UnreadableResult,
    UnreadableWorkbook,
    UnsupportedFormula,
    UnsupportedOp,
    WorkbookError,
)
from ultramc.package import ReadLimits
from ultramc.results import Result
from ultramc.simulation import Simulation
from ultramc.storage import load
from ultramc.workbook import Workbook

__all__ = [
    "Bernoulli",
    "CellRef",
    "CheckError",
    "CheckReport",
    "CircularReference",
    "Comparison",
    "Discrete",
    "Distribution",
    "Engine",
    "EngineError",
    "EngineUnavailable",
    "EngineValidationError",
    "Exponential",
    "FormulaError",
    "FormulaSyntaxError",
    "GPUValidationError",
    "InputError",
    "LimitExceeded",
    "LogNormal",
    "MemoryLimitExceeded",
    "MissingExtra",
    "NoOutputs",
    "Normal",
    "RangeRef",
    "ReadLimits",
    "ReferenceNotFound",
    "Result",
    "RunError",
    "Simulation",
    "SimulationCancelled",
    "Triangular",
    "UltramcError",
    "Uniform",
    "UnreadableResult",
    "UnreadableWorkbook",
    "UnsupportedFormula",
    "UnsupportedOp",
    "Weibull",
    "Workbook",
    "WorkbookError",
    "available_engines",
    "check",
    "compare",
    "load",
]
