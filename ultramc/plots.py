"""Pictures of results. They are `Figure`s of their own: nothing is registered with pyplot, no global setting is touched."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ultramc import summary
from ultramc.errors import InputError, optional
from ultramc.report import counted, number, printable
from ultramc.summary import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ultramc.results import Variable
    from ultramc.sensitivity import Tornado

INK, FAINT, GRID = "#22303c", "#6b7a88", "#e3e8ed"
BLUE, PALE_BLUE, ORANGE = "#3b6fb6", "#9db9de", "#d9732a"
MAX_BARS = 20
MAX_BINS = 120
MAX_POINTS = 2_000
OF_A_SUMMARY = 200_000  # values that stand for all
PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}  # "$" in a workbook is money, not mathematics
MARKED = (0.05, 0.50, 0.95)


def histogram(variable: Variable) -> Figure:
    """Share of iterations per bin, with mean, P5, P50 and P95. InputError where no iteration ended in a number."""
    ordered = _ordered(variable)
    figure, axes = _framed(variable, ordered)
    counts, edges = _visible_bins(ordered)
    axes.stairs(100 * counts / len(ordered), edges, fill=True, color=PALE_BLUE)
    axes.stairs(100 * counts / len(ordered), edges, color=BLUE, linewidth=0.8)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, max(100 * counts.max() / len(ordered), 1e-9) * 1.06)
    axes.set_ylabel("share of iterations")
    _mark(axes, variable)
    return figure


def cdf(variable: Variable) -> Figure:
    """P(X ≤ x), with mean, P5, P50 and P95. InputError where no iteration ended in a number."""
    ordered = _ordered(variable)
    figure, axes = _framed(variable, ordered)
    picked = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), MAX_POINTS)).astype(np.int64))
    axes.step(ordered[picked], 100 * (picked + 1) / len(ordered), where="post", color=BLUE, linewidth=1.8)
    axes.set_xlim(*_visible_range(ordered))
    axes.set_ylim(0, 103)
    axes.set_ylabel("probability of at most this value")
    _mark(axes, variable)
    return figure


def _ordered(variable: Variable) -> Array:
    """The values in ascending order; of a summary as many as show its shape, at equal shares from the smallest to the largest."""
    ordered: Any = variable.statistics.ordered
    if isinstance(ordered, np.ndarray):
        return ordered
    count = min(len(ordered), OF_A_SUMMARY)
    drawn: Array = ordered[np.linspace(0, len(ordered) - 1, count).astype(np.int64)]
    return drawn


def tornado(table: Tornado) -> Figure:
    """Rank correlations as bars with 95 % intervals, the strongest on top, at most 20. InputError where no input has one."""
    shown = table.sensitivities[:MAX_BARS]
    if not shown:
        raise InputError(f"no tornado of {table.output!r}: no input has a rank correlation with it")
    figure = _picture()(figsize=(8, 1.7 + 0.34 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(shown))
    values = [float(row.correlation) for row in shown]
    axes.barh(places, values, height=0.68, color=[BLUE if value > 0 else ORANGE for value in values], xerr=_reach(shown), error_kw=_WHISKER)
    axes.set_yticks(places, [printable(row.input, 36) for row in shown], **PLAIN)
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_xlim(*_correlation_range(values))
    axes.set_xlabel("rank correlation" + (", with 95 % interval" if any(row.correlation.confidence_interval for row in shown) else ""))
    hidden = len(table.sensitivities) - len(shown)
    remarks = [counted(table.iterations, "iteration"), *([f"{hidden} weaker inputs not shown"] if hidden else ())]
    _titled(axes, f"What moves {printable(table.output, 60)}", " · ".join([*remarks, *_left_out(table)]))
    _dressed(axes, "x")
    return figure


def bars(values: Sequence[tuple[str, float]], title: str, unit: str) -> Figure:
    """One bar for each name, with its number."""
    figure = _picture()(figsize=(8, 1.7 + 0.34 * len(values)), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.barh(range(len(values)), [value for _, value in values], height=0.68, color=BLUE)
    axes.bar_label(drawn, [f" {number(round(value))}" for _, value in values], color=INK, fontsize=9)
    axes.set_yticks(range(len(values)), [printable(name, 36) for name, _ in values], **PLAIN)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18 * max(value for _, value in values))
    axes.xaxis.set_major_formatter(_thousands)
    _titled(axes, printable(title, 70), unit)
    _dressed(axes, "x")
    return figure


KINDS: dict[str, Callable[[Variable], Figure]] = {"histogram": histogram, "cdf": cdf}
_WHISKER = {"ecolor": INK, "elinewidth": 1.0, "capsize": 2.5}


@cache
def _picture() -> type[Figure]:
    """A Figure that a notebook shows although no pyplot backend has been set up."""
    base: type[Figure] = optional("matplotlib.figure", "plot").Figure

    class Picture(base):  # type: ignore[valid-type, misc]
        def _repr_png_(self) -> bytes:
            from io import BytesIO

            self.savefig(stream := BytesIO(), format="png", dpi=110)
            return stream.getvalue()

    return Picture


def _framed(variable: Variable, ordered: Array) -> tuple[Figure, Axes]:
    if len(ordered) == 0:
        held = "it is text, counted in .categories" if variable.categories else variable.exclusion or "there is no iteration"
        raise InputError(f"no picture of {variable.label!r}, no iteration ended in a number: {held}")
    figure = _picture()(figsize=(8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    remarks = [counted(variable.iterations, "iteration"), variable.exclusion, _beyond(ordered, len(variable.statistics.ordered))]
    _titled(axes, printable(variable.label, 70), " · ".join(filter(None, remarks)))
    _dressed(axes, "y")
    axes.locator_params(axis="x", nbins=7)
    axes.xaxis.set_major_formatter(_thousands)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:g} %")
    return figure, axes


def _titled(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=13, fontweight="bold", pad=38, **PLAIN)
    axes.annotate(
        printable(subtitle, 110), (0, 1), (0, 24), xycoords="axes fraction", textcoords="offset points", color=FAINT, fontsize=9, **PLAIN
    )


def _dressed(axes: Axes, grid: str) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def _mark(axes: Axes, variable: Variable) -> None:
    """Vertical lines, each with its name and value above the frame; names that would touch are moved apart."""
    marks = [(summary.interpolated(variable.statistics.ordered, q), f"P{100 * q:.0f}", INK, "--") for q in MARKED]
    marks = sorted([*marks, (float(variable.mean), "mean", ORANGE, "-")])
    low, high = axes.get_xlim()
    names = [f"{name} {_short(value, high - low)}" for value, name, _, _ in marks]
    shares = [(value - low) / (high - low) for value, _, _, _ in marks]
    for (value, _, color, style), name, share in zip(marks, names, _apart(shares, names), strict=True):
        axes.axvline(value, color=color, linestyle=style, linewidth=1.2)
        axes.annotate(
            name, (share, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", ha="center", color=color, fontsize=9, **PLAIN
        )


def _apart(shares: Iterable[float], names: list[str], per_character: float = 0.0122) -> list[float]:
    """Centers of labels, as shares of the width, in order: pushed right until they do not touch, then left into the frame."""
    halves = [len(name) * per_character / 2 for name in names]
    centers = [min(max(share, half), 1 - half) for share, half in zip(shares, halves, strict=True)]
    for index in range(1, len(centers)):
        centers[index] = max(centers[index], centers[index - 1] + halves[index - 1] + halves[index])
    centers[-1] = min(centers[-1], 1 - halves[-1])
    for index in reversed(range(len(centers) - 1)):
        centers[index] = min(centers[index], centers[index + 1] - halves[index + 1] - halves[index])
    return centers


def _visible_range(ordered: Array) -> tuple[float, float]:
    """All values; where a long tail would squeeze the rest, three times the width of the central 98 % around it."""
    low, high = summary.interpolated(ordered, 0.01), summary.interpolated(ordered, 0.99)
    reach = high - low if high > low else math.inf
    left, right = max(float(ordered[0]), low - reach), min(float(ordered[-1]), high + reach)
    margin = 0.0 if right > left else max(abs(left) * 1e-6, 0.5)
    return left - margin, right + margin


def _beyond(ordered: Array, count: int) -> str:
    """How many of `count` values lie beyond the axis, if `ordered` are all of them; else about how many. Empty where none does."""
    left, right = _visible_range(ordered)
    share = np.count_nonzero((ordered < left) | (ordered > right)) / max(1, len(ordered))
    return f"{'' if len(ordered) == count else 'about '}{round(share * count):,} values beyond the axis" if share else ""


def _visible_bins(ordered: Array) -> tuple[Array, Array]:
    left, right = _visible_range(ordered)
    visible = ordered[np.searchsorted(ordered, left) : np.searchsorted(ordered, right, side="right")]
    counts, edges = summary.histogram(visible)
    if len(counts) > MAX_BINS:
        counts, edges = summary.histogram(visible, MAX_BINS)
    return counts.astype(np.float64), edges


def _thousands(value: float, _: object = None) -> str:
    return f"{value:,.10g}" if abs(value) < 1e10 else f"{value:.4g}"


def _short(value: float, width: float) -> str:
    """With the decimals that tell a thousandth of the axis."""
    if not 1e-9 < width < 1e12 or abs(value) >= 1e12:
        return number(value)
    return f"{value:,.{max(0, 3 - math.ceil(math.log10(width)))}f}"


def _reach(rows: Iterable[Any]) -> Any:
    """Whiskers, shape (2, rows): below and above the bar's end; none where the interval is unknown."""
    return np.transpose([_whisker(row.correlation) for row in rows])


def _whisker(estimate: summary.Estimate) -> tuple[float, float]:
    low, high = estimate.confidence_interval or (float(estimate), float(estimate))
    return max(estimate - low, 0.0), max(high - estimate, 0.0)


def _correlation_range(values: list[float]) -> tuple[float, float]:
    return (-1.02 if min(values) < 0 else -0.02), (1.02 if max(values) > 0 else 0.02)


def _left_out(table: Tornado) -> Iterator[str]:
    if table.left_out:
        yield f"{counted(len(table.left_out), 'input')} without a correlation"
