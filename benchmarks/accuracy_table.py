"""Published results and exact quantiles beside ours: `python benchmarks/accuracy_table.py` prints both tables as Markdown.

A result agrees where it lies within half a unit of the last printed digit and four of our standard errors (the rule of the
demonstrations of R's package `propagate`).
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import numpy as np
import openpyxl
from attrs import field, frozen

import ultramc as mc
from ultramc.correlation import Correlation
from ultramc.distributions import Distribution, parse_distribution
from ultramc.results import Variable

ITERATIONS = 1_000_000  # as JCGM 101 used
SEED = 101
BATCHES = 50
EXACT_QUANTILES = Path(__file__).with_name("exact_quantiles.csv")

Estimated = tuple[float, float]  # a value and its standard error


@frozen
class Case:
    """A model, and what a source printed about it: (cell, statistic, the number as printed)."""

    source: str
    inputs: Mapping[str, Distribution]
    formulas: Mapping[str, str]
    printed: Sequence[tuple[str, str, str]]
    correlation: Sequence[Correlation] = ()

    def result(self) -> mc.Result:
        simulation = mc.Simulation(self.workbook(), inputs=self.inputs, outputs=list(self.formulas), correlation=self.correlation)
        return simulation.run(ITERATIONS, seed=SEED)

    def workbook(self) -> bytes:
        book = openpyxl.Workbook()
        for cell, law in self.inputs.items():
            book.active[cell] = law.mean
        for cell, formula in self.formulas.items():
            book.active[cell] = formula
        file = BytesIO()
        book.save(file)
        return file.getvalue()


@frozen
class Compared:
    """One printed number and ours."""

    source: str
    statistic: str
    printed: str
    ours: float
    standard_error: float
    difference: float = field(init=False)
    allowed: float = field(init=False)

    @difference.default
    def _difference(self) -> float:
        return self.ours - float(self.printed)

    @allowed.default
    def _allowed(self) -> float:
        return half_unit(self.printed) + 4 * self.standard_error

    @property
    def agrees(self) -> bool:
        return abs(self.difference) <= self.allowed


def half_unit(printed: str) -> float:
    """Of the last digit: 0.0005 of "0.071"."""
    return float(Decimal("0.5").scaleb(Decimal(printed).as_tuple().exponent))


def compared(case: Case) -> Iterator[Compared]:
    result = case.result()
    for cell, statistic, printed in case.printed:
        ours, standard_error = STATISTICS[statistic](result[cell])
        named = statistic if len(case.formulas) == 1 else f"{statistic} of {cell}"
        yield Compared(case.source, named, printed, ours, standard_error)


def estimate(name: str, *arguments: float) -> Callable[[Variable], Estimated]:
    """A statistic of the result with the standard error that it states."""

    def of(output: Variable) -> Estimated:
        found = getattr(output, name)
        found = found(*arguments) if arguments else found
        return float(found), found.standard_error

    return of


def shortest(end: int, share: float = 0.95) -> Callable[[Variable], Estimated]:
    """One end of the shortest interval with a share of the samples (JCGM 101, 5.3.4): the mean over batches and its standard error.

    An end of the whole sample converges with the cube root of its size only (Grübel, "The length of the shorth", Ann. Statist.
    16, 1988), so that batches would not tell its error; they tell that of their mean.
    """

    def of(output: Variable) -> Estimated:
        batches = np.sort(output.samples.reshape(BATCHES, -1), axis=1)
        inside = round(share * batches.shape[1])
        narrowest = np.argmin(batches[:, inside:] - batches[:, :-inside], axis=1)
        ends = batches[np.arange(BATCHES), narrowest + end * inside]
        return float(ends.mean()), float(ends.std(ddof=1) / math.sqrt(BATCHES))

    return of


STATISTICS: dict[str, Callable[[Variable], Estimated]] = {
    "mean": estimate("mean"),
    "std": estimate("std"),
    "variance": estimate("variance"),
    "shortest 95 %, lower end": shortest(0),
    "shortest 95 %, upper end": shortest(1),
    **{f"{percent} %": estimate("quantile", percent / 100) for percent in (0.5, 2.5, 5, 16, 84, 95, 97.5, 99.5)},
}


# Published results


def moments(mean: str, std: str, cell: str = "D1") -> list[tuple[str, str, str]]:
    return [(cell, "mean", mean), (cell, "std", std)]


def interval(lower: str, upper: str, names: tuple[str, str] = ("2.5 %", "97.5 %")) -> list[tuple[str, str, str]]:
    return [("D1", names[0], lower), ("D1", names[1], upper)]


SHORTEST = ("shortest 95 %, lower end", "shortest 95 %, upper end")


def rectangular(std: float, mean: float = 0.0) -> mc.Uniform:
    return mc.Uniform(mean - math.sqrt(3) * std, mean + math.sqrt(3) * std)


def additive(clause: str, laws: Iterable[Distribution], printed: list[tuple[str, str, str]]) -> Case:
    inputs = {f"A{row}": law for row, law in enumerate(laws, 1)}
    return Case(f"JCGM 101, {clause}: sum of four", inputs, {"D1": "=SUM(A1:A4)"}, printed)


def comparison_loss(x1: float, r: float, printed: list[tuple[str, str, str]]) -> Case:
    return Case(
        f"JCGM 101, 9.4: comparison loss, x1 = {x1}, r = {r}",
        {"A1": mc.Normal(x1, 0.005), "A2": mc.Normal(0, 0.005)},
        {"D1": "=1E6*(A1^2+A2^2)"},
        printed,
        [mc.NormalScoreCorrelation(["A1", "A2"], [[1, r], [r, 1]])] if r else [],
    )


def resistance() -> Case:
    """From the five observations: rounded means and correlations give another u(R) in the third digit."""
    observed = np.array(  # GUM table H.2: V in volts, I in milliamperes, the phase in radians
        [[5.007, 4.994, 5.005, 4.990, 4.999], [19.663, 19.639, 19.640, 19.685, 19.678], [1.0456, 1.0438, 1.0468, 1.0428, 1.0433]]
    )
    errors = observed.std(axis=1, ddof=1) / math.sqrt(5)
    inputs = {f"A{row}": mc.Normal(mean, std) for row, (mean, std) in enumerate(zip(observed.mean(axis=1), errors, strict=True), 1)}
    return Case(
        "JCGM 100 (GUM), H.2: resistance D1, reactance D2, impedance D3",
        inputs,
        {"D1": "=A1/(A2/1000)*COS(A3)", "D2": "=A1/(A2/1000)*SIN(A3)", "D3": "=A1/(A2/1000)"},
        [*moments("127.732", "0.071", "D1"), *moments("219.847", "0.295", "D2"), *moments("254.260", "0.236", "D3")],
        [mc.NormalScoreCorrelation(list(inputs), np.corrcoef(observed))],
    )


def student(location: float, std: float) -> Distribution:
    """With 3 degrees of freedom and this standard deviation, as the NIST Uncertainty Machine means it."""
    return mc.StudentT(3).scaled(std / math.sqrt(3)).shifted(location)


def lognormal(mu: float, sigma: float) -> mc.LogNormal:
    """By the mean and the standard deviation of the logarithm."""
    mean = math.exp(mu + sigma**2 / 2)
    return mc.LogNormal(mean, mean * math.sqrt(math.expm1(sigma**2)))


CASES = [
    additive("9.2.2", [mc.Normal(0, 1)] * 4, [*moments("0.00", "2.00"), *interval("-3.92", "3.92")]),
    additive("9.2.3", [rectangular(1)] * 4, [*moments("0.00", "2.00"), *interval("-3.88", "3.88")]),
    additive("9.2.4", [*[rectangular(1)] * 3, rectangular(10)], [*moments("0.0", "10.1"), *interval("-17.0", "17.0")]),
    Case(
        "JCGM 101, 9.3: mass calibration, mg",
        {
            "A1": mc.Normal(100_000, 0.050),
            "A2": mc.Normal(1.234, 0.020),
            "A3": mc.Uniform(1.1, 1.3),
            "A4": mc.Uniform(7000, 9000),
            "A5": mc.Uniform(7950, 8050),
        },
        {"D1": "=(A1+A2)*(1+(A3-1.2)*(1/A4-1/A5))-100000"},
        [*moments("1.2341", "0.0754"), *interval("1.0834", "1.3825", SHORTEST)],
    ),
    comparison_loss(0, 0, [*moments("50", "50"), *interval("0", "150", SHORTEST)]),
    comparison_loss(0.010, 0, [*moments("150", "112"), *interval("0", "367", SHORTEST)]),
    comparison_loss(0.050, 0, [*moments("2551", "502"), *interval("1590", "3543", SHORTEST)]),
    comparison_loss(0, 0.9, [*moments("50", "67"), *interval("0", "185", SHORTEST)]),
    comparison_loss(0.010, 0.9, [*moments("150", "121"), *interval("13", "398", SHORTEST)]),
    comparison_loss(0.050, 0.9, [*moments("2551", "505"), *interval("1628", "3555", SHORTEST)]),
    resistance(),
    Case(  # no std: the fourth moment of t with 3 degrees of freedom is infinite, so a std has no standard error
        "NIST TN 1900, E13: thermal expansion coefficient, 1/K",
        {"A1": student(1.4999, 0.0001), "A2": student(288.15, 0.02), "A3": student(1.5021, 0.0002), "A4": student(373.10, 0.05)},
        {"D1": "=(A3-A1)/(A1*(A4-A2))"},
        [("D1", "mean", "1.7268E-5")],
    ),
    Case(
        "NIST Uncertainty Machine manual, 10: Stefan-Boltzmann constant, W/(m² K⁴)",
        {
            "A1": mc.Normal(6.62606957e-34, 0.00000029e-34),
            "A2": mc.Normal(8.3144621, 0.0000075),
            "A3": mc.Normal(10973731.568539, 0.000055),
            "A4": mc.Normal(5.4857990946e-4, 0.0000000022e-4),
            "A5": mc.Normal(7.2973525698e-3, 0.0000000024e-3),
        },
        {"D1": "=32*PI()^5*A1*A2^4*A3^4/(15*A4^4*0.001^4*299792458^6*A5^8)"},
        [
            *moments("5.67037E-8", "2.05E-13"),
            *interval("5.67032E-8", "5.67043E-8", ("0.5 %", "99.5 %")),
            *interval("5.67035E-8", "5.67039E-8", ("16 %", "84 %")),
        ],
    ),
    Case(
        "NPL report DEM-ES-011, 9.2: ln X",
        {"A1": mc.Uniform(0.1, 1.1)},
        {"D1": "=LN(A1)"},
        [*moments("-0.665", "0.606"), *interval("-1.895", "0.095", SHORTEST)],
    ),
    Case(
        "Ishigami and Homma (1990), closed form",
        {f"A{row}": mc.Uniform(-math.pi, math.pi) for row in (1, 2, 3)},
        {"D1": "=SIN(A1)+7*SIN(A2)^2+0.1*A3^4*SIN(A1)"},
        [("D1", "mean", "3.5000000"), ("D1", "variance", "13.8445879")],
    ),
    Case(
        "Hull, Options, Futures, and Other Derivatives, 15.6: call D1, put D2; six digits by the Black-Scholes formula",
        {"A1": mc.Normal(0, 1)},
        {f"D{row}": f"=EXP(-0.05)*MAX({sign}(42*EXP(0.04+0.2*SQRT(0.5)*A1)-40),0)" for row, sign in ((1, ""), (2, "-"))},
        [("D1", "mean", "4.759422"), ("D2", "mean", "0.808599")],
    ),
    Case(
        "Borehole, Harper and Gupta (1983): by 2^18 Sobol points of SciPy, m³ a year",
        {
            "A1": mc.Normal(0.1, 0.0161812),
            "A2": lognormal(7.71, 1.0056),
            "A3": mc.Uniform(63070, 115600),
            "A4": mc.Uniform(990, 1110),
            "A5": mc.Uniform(63.1, 116),
            "A6": mc.Uniform(700, 820),
            "A7": mc.Uniform(1120, 1680),
            "A8": mc.Uniform(9855, 12045),
        },
        {"C1": "=LN(A2/A1)", "D1": "=2*PI()*A3*(A4-A6)/(C1*(1+2*A7*A3/(C1*A1^2*A8)+A3/A5))"},
        [*moments("73.74", "28.60"), *interval("34.39", "126.5", ("5 %", "95 %"))],
    ),
    Case("LogNormal(100, 10) by its own moments", {"A1": mc.LogNormal(100, 10)}, {"D1": "=A1"}, moments("100.0000", "10.0000")),
]


# Quantiles


@frozen
class WorstQuantile:
    """Where the quantile of a law is furthest from the exact one, relative to it."""

    law: str
    relative_error: float
    u: float


def exact_quantiles() -> dict[str, list[tuple[float, float]]]:
    """Of each law, by its text: (u, quantile)."""
    found = defaultdict(list)
    with EXACT_QUANTILES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["law"]].append((float(row["u"]), float(row["quantile"])))
    return dict(found)


def worst_quantile(law: str, points: Sequence[tuple[float, float]]) -> WorstQuantile:
    u, exact = np.array(points).T
    size = np.where(exact == 0, 1.0, np.abs(exact))
    errors = np.abs(parse_distribution(law).quantile(u) - exact) / size
    worst = int(np.argmax(errors))
    return WorstQuantile(law, float(errors[worst]), float(u[worst]))


# Markdown


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def published_table() -> str:
    head = ["Source", "Statistic", "Published", "Ours", "Difference", "Allowed"]
    found = (each for case in CASES for each in compared(case))
    return markdown(head, ([each.source, each.statistic, each.printed, *_figures(each)] for each in found))


def _figures(each: Compared) -> list[str]:
    return [f"{each.ours:.7g}", f"{each.difference:+.1e}", f"{each.allowed:.1e}"]


def quantile_table() -> str:
    found = (worst_quantile(law, points) for law, points in exact_quantiles().items())
    rows = ([f"`{each.law}`", f"{each.relative_error:.1e}", repr(each.u)] for each in found)
    return markdown(["Law", "Largest relative error", "at u ="], rows)


if __name__ == "__main__":
    print(published_table(), quantile_table(), sep="\n\n")
