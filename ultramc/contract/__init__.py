"""The contract that every engine keeps: `cases` are data, `engine_checks` turns them into checks. Needs no test framework.

>>> from ultramc.contract import engine_checks
>>> from ultramc.engines.on_numpy import NumPyEngine
>>> for name, check in engine_checks(NumPyEngine()):  # doctest: +SKIP
...     check()  # ContractViolation says what differs
"""

from ultramc.contract.cases import CASES, Case
from ultramc.contract.checks import ContractViolation, engine_checks

__all__ = ["CASES", "Case", "ContractViolation", "engine_checks"]
