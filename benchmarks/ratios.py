"""How long each of several took for the same work, as a table of ratios."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ultramc.report import Table, number

SECONDS = pytest.StashKey[dict[tuple[str, str], float]]()  # (work, who): of the shortest round


def table(work: str, seconds: Mapping[str, float], *yardsticks: str) -> Table:
    """A row for each who, and a column for each yardstick: how many times as fast."""
    headers = ("", "shortest, ms", *(f"{other} = 1" for other in yardsticks))
    rows = [(who, number(1000 * taken, 3), *(_ratio(seconds.get(other), taken) for other in yardsticks)) for who, taken in seconds.items()]
    return Table(work, "shortest of all rounds", headers, tuple(rows))


def _ratio(other: float | None, taken: float) -> str:
    return "" if other is None else number(other / taken, 3)
